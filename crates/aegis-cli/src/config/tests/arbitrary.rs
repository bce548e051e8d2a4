//! Arbitrary files, and valid ones with something changed: a value or an error with its place, never a panic.

use std::path::Path;

use proptest::prelude::*;

use super::{FULL, parse, shown};
use crate::config::{Configuration, difference};

/// A file with every key.
const MOST: &str = r#"
name = "a"
sandbox_dir = "~/x"
policy_paths = ["p", "/q.cedar"]
ledger_path = "l.db"
allowed_network = ["a.b", "*.c:443", "10.0.0.0/8"]
isolation = { Seatbelt = { profile_overrides = "(x)" } }
[observer]
Fanotify = {}
ignore = ["/usr/**"]
[pilot]
tool = "Codex"
uncertain = "deny"
dry_run = true
[pilot.stall]
timeout_secs = 7
nudge_message = """go
on"""
max_nudges = 0
[pilot.control]
http_listen = "0.0.0.0:80"
api_key = { env = "K" }
tls_cert = "c"
tls_key = "k"
insecure = false
[[alerts]]
name = "x"
event = "policy-change"
action = "FileRead"
decision = "deny"
path = "/etc/**"
agent = "a"
webhook_url = "https://h/hunter2"
format = "generic"
secret = "hunter2"
cooldown_secs = 0
allow_private = true
[[alerts]]
name = "y"
event = "any"
webhook_url = "https://events.pagerduty.com/hunter2"
routing_key = "hunter2"
[channel]
type = "telegram"
bot_token = "hunter2"
chat_id = -7
users = [1, 2]
events = ["exit"]
"#;

/// Reads a text; what comes is whole, or has its place.
fn hold(text: &str) {
    match parse(text) {
        Ok(configuration) => {
            assert!(!shown(&configuration).is_empty());
            assert_eq!(difference(text, text), Some(Vec::new()));
        }
        Err(error) => {
            let said = error.to_string();
            let place = said.strip_prefix("/h/a/aegis.toml:").expect("an error has its place");
            let numbers: Vec<&str> = place.splitn(3, ':').collect();
            assert!(numbers[0].parse::<usize>().is_ok() && numbers[1].parse::<usize>().is_ok(), "{said}");
            assert!(!said.contains("it is not as it should be"), "check and types disagree: {text}");
            assert!(!said.chars().any(char::is_control), "{said:?}");
        }
    }
}

#[test]
fn a_file_with_every_key_is_read() {
    assert!(parse(MOST).is_ok(), "{:?}", parse(MOST));
    let said = format!("{:?}", parse(MOST).unwrap()) + &format!("{:?}", shown(&parse(MOST).unwrap()));
    assert!(!said.contains("hunter2"), "{said}");
}

/// Without one of its lines, or with one twice, a file is read or refused; and no secret is told.
#[test]
fn each_line_can_be_missing_twice_or_broken() {
    let lines: Vec<&str> = MOST.lines().collect();
    for at in 0..lines.len() {
        for change in 0..4 {
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            match change {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => drop(lines[at].pop()),
                _ => lines[at].push_str(" hunter2"),
            }
            let text = lines.join("\n");
            hold(&text);
            if let Err(error) = parse(&text)
                && change < 3
            {
                assert!(!format!("{error:?}").contains("hunter2"), "{text}\n{error:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        hold(&text);
    }

    #[test]
    fn text_of_tomls_own_characters_is_read_or_refused(
        text in "(name|api_key|pilot|alerts|isolation|[\\[\\]{}=.,\"'#\n\\\\ a1-]){0,60}"
    ) {
        hold(&text);
    }

    #[test]
    fn a_changed_file_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        length in 0..12usize,
        with in "([\\[\\]{}=.,\"'#\n\\\\ a1é-]|true|0|\"\"\"|api_key|\u{1b}){0,6}",
        full in any::<bool>(),
    ) {
        let text = if full { FULL } else { MOST };
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        let changed = [&text.as_bytes()[..start], with.as_bytes(), &text.as_bytes()[end..]].concat();
        hold(&String::from_utf8_lossy(&changed));
    }

    #[test]
    fn swapped_values_are_read_or_refused(
        line in any::<prop::sample::Index>(),
        value in prop::sample::select(vec!["1", "-1", "1.5", "true", "\"x\"", "[]", "[1]", "{}", "1979-05-27", "nan", "{ env = 1 }", "[\"x\"]", "[{}]"]),
    ) {
        let mut lines: Vec<String> = MOST.lines().map(ToOwned::to_owned).collect();
        let at = line.index(lines.len());
        if let Some((key, _)) = lines[at].clone().split_once('=') {
            lines[at] = format!("{key}= {value}");
        }
        hold(&lines.join("\n"));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aegis.toml");
        aegis_sys::files::write_plain(&path, &bytes).unwrap();
        if let Err(error) = Configuration::read(&path, Path::new("/h/..")) {
            let said = error.to_string();
            let prefix = format!("{}:", path.display());
            prop_assert!(said.starts_with(&prefix), "{}", said);
        }
    }
}
