//! Settings files as a whole: the full example, each kind of mistake with its words, bounds at their edges,
//! the schema, and arbitrary files.

mod arbitrary;
mod mistakes;
mod schema;

use std::path::{Path, PathBuf};

use super::choices::{Isolation, Observing};
use super::keys;
use super::settings::{AlertEvent, Format, Uncertain};
use super::shape::walk;
use super::{Configuration, Global, Organisation, Row, difference, rows};

/// The page for users.
const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// The full example.
const FULL: &str = include_str!("../../tests/fixtures/aegis.toml");

fn parse(text: &str) -> Result<Configuration, crate::error::CliError> {
    // A folder that ends in `..` has no name to hold the configuration's to.
    Configuration::parse(Path::new("/h/a/aegis.toml"), text, Path::new("/h/a/.."))
}

fn shown(configuration: &Configuration) -> Vec<Row> {
    rows(configuration, (Path::new("/h/config.toml"), &Global::default()), &Organisation::default())
}

#[test]
fn the_full_example_is_read() {
    let it = parse(FULL).unwrap();
    assert_eq!(it.name.as_str(), "my-agent");
    assert_eq!(it.sandbox_dir.as_deref(), Some(Path::new("/Users/me/.aegis/my-agent/sandbox")));
    assert_eq!(it.policy_paths, [PathBuf::from("/Users/me/.aegis/my-agent/policies")]);
    assert_eq!(it.ledger, Path::new("/Users/me/.aegis/my-agent/audit.db"));
    assert!(it.allowed_network.is_empty());
    assert_eq!(
        it.isolation,
        Isolation::Seatbelt { profile_overrides: Some("(allow sysctl-write)".to_owned()) }
    );
    assert_eq!(it.observer.by, Observing::FsEvents { enable_snapshots: true });
    assert_eq!((it.pilot.stall.timeout_secs, it.pilot.stall.max_nudges), (120, 5));
    assert_eq!((it.pilot.control.http_listen, &it.pilot.control.api_key), (None, &None));
    assert_eq!((it.alerts[0].event, it.alerts[0].format), (AlertEvent::Deny, Format::Slack));
    assert_eq!(it.channel.map(|channel| (channel.chat_id, channel.events.len())), Some((987_654_321, 4)));
}

#[test]
fn what_is_not_written_has_a_default() {
    let it = parse("name = \"a\"").unwrap();
    assert_eq!((it.sandbox_dir, it.policy_paths), (None, vec![PathBuf::from("/h/a/../policies")]));
    assert_eq!(it.ledger, Path::new("/h/a/../audit.db"));
    assert_eq!((it.isolation, it.observer.by), (Isolation::Auto, Observing::Auto));
    assert_eq!((it.pilot.uncertain, it.pilot.dry_run, it.pilot.tool), (Uncertain::Ask, false, None));
    assert_eq!(it.pilot.stall.nudge_message, "Continue working on the task.");
    assert!(it.alerts.is_empty() && it.channel.is_none());
}

#[test]
fn choices_have_two_forms() {
    for (text, isolation) in [
        ("isolation = \"Seatbelt\"", Isolation::Seatbelt { profile_overrides: None }),
        ("isolation = \"Landlock\"", Isolation::Landlock),
        ("isolation = { Landlock = {} }", Isolation::Landlock),
        ("[isolation]\nNone = {}", Isolation::None),
        ("[isolation.Process]", Isolation::Process),
        (
            "isolation.Seatbelt.profile_overrides = \"x\"",
            Isolation::Seatbelt { profile_overrides: Some("x".to_owned()) },
        ),
    ] {
        assert_eq!(parse(&format!("name = \"a\"\n{text}")).unwrap().isolation, isolation, "{text}");
    }
    for (text, by, ignore) in [
        ("observer = \"FsEvents\"", Observing::FsEvents { enable_snapshots: false }, 0),
        ("observer = { Seccomp = {} }", Observing::Seccomp, 0),
        ("[observer]\nFanotify = {}\nignore = [\"/usr/**\", \"/lib*\"]", Observing::Fanotify, 2),
        ("[observer]\nignore = [\"/usr/**\"]", Observing::Auto, 1),
        ("observer = \"EndpointSecurity\"", Observing::EndpointSecurity, 0),
    ] {
        let observer = parse(&format!("name = \"a\"\n{text}")).unwrap().observer;
        assert_eq!((observer.by, observer.ignore.len()), (by, ignore), "{text}");
    }
}

#[test]
fn every_setting_is_shown_with_where_it_comes_from() {
    let it = parse(FULL).unwrap();
    let all = shown(&it);
    let row = |key: &str| all.iter().find(|row| row.key == key).expect(key);
    for (key, value, line) in [
        ("name", serde_json::json!("my-agent"), Some(1)),
        ("isolation", "Seatbelt".into(), Some(7)),
        ("isolation.Seatbelt.profile_overrides", "(allow sysctl-write)".into(), Some(8)),
        ("observer", "FsEvents".into(), Some(10)),
        ("observer.FsEvents.enable_snapshots", true.into(), Some(11)),
        ("observer.ignore", serde_json::json!([]), None),
        ("pilot.uncertain", "ask".into(), None),
        ("pilot.stall.timeout_secs", 120.into(), Some(14)),
        ("pilot.control.http_listen", "".into(), Some(19)),
        ("pilot.control.api_key", serde_json::Value::Null, Some(20)),
        ("alerts[0].webhook_url", "https://hooks.slack.com/(set)".into(), Some(25)),
        ("alerts[0].format", "slack".into(), None),
        ("channel.bot_token", "(set)".into(), Some(29)),
        ("channel.chat_id", 987_654_321.into(), Some(30)),
    ] {
        let row = row(key);
        assert_eq!((&row.value, row.from.as_ref().map(|from| from.1)), (&value, line), "{key}");
    }
    assert!(row("name").used && !row("pilot.uncertain").used);
    assert!(row("isolation").note.is_some() == cfg!(target_os = "linux"));
    let plain = shown(&parse("name = \"a\"").unwrap());
    assert!(plain.iter().any(|row| row.key == "channel" && row.value.is_null()));
    assert!(plain.iter().all(|row| row.from.is_none() || row.key == "name"));
}

#[test]
fn a_difference_is_told_by_key() {
    let new = FULL.replace("120", "121").replace("123456:ABC-DEF...", "other").replace("987654321", "1");
    assert_eq!(
        difference(FULL, &new).unwrap(),
        ["channel.bot_token", "channel.chat_id", "pilot.stall.timeout_secs"]
    );
    assert!(difference(FULL, &format!("# more\n{FULL}")).unwrap().is_empty());
    assert_eq!(difference("", "[pilot]\n[[alerts]]\nname = \"x\"").unwrap(), ["alerts[0].name", "pilot"]);
    assert!(difference("x", FULL).is_none());
}

#[test]
fn the_page_is_right() {
    let blocks: Vec<&str> =
        PAGE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let read = parse(block);
        assert!(read.is_ok(), "{read:?}\n{block}");
    }
    for table in [&keys::CONFIGURATION, &keys::GLOBAL, &keys::ORGANISATION] {
        walk(table.keys, &mut |place, key| {
            let name = format!("`{}`", key.name);
            let is_there = [
                name.as_str(),
                &format!("`[{}", key.name),
                &format!("`[[{}", key.name),
                &format!(".{}]`", key.name),
                &format!("{{ {} = ", key.name),
            ]
            .iter()
            .any(|form| PAGE.contains(form));
            assert!(is_there, "{place}.{} is not on the page", key.name);
        });
    }
}
