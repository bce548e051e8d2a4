//! Each kind of mistake with its exact words, and each bound at its edge.

use std::path::Path;

use super::parse;
use crate::config::Configuration;

/// Returns the error without the file's name.
fn said(text: &str) -> String {
    let error = parse(text).expect_err(text).to_string();
    error.strip_prefix("/h/a/aegis.toml:").expect("an error has its place").to_owned()
}

#[test]
fn unknown_keys_and_wrong_types_are_told_with_what_was_meant() {
    for (text, expected) in [
        ("", "1:1: `name` is missing"),
        ("x", "1:2: key with no value, expected `=`"),
        ("name = \"a\"\nledger = \"x\"", "2:1: unknown key `ledger`, did you mean `ledger_path`?"),
        ("name = \"a\"\nname = \"b\"", "2:1: duplicate key"),
        ("name = 7", "1:8: `name` must be a string, not a whole number"),
        ("name = \"\"", "1:8: `name` is no name: a name can't be empty"),
        ("name = \"daemon\"", "1:8: `name` is no name: `daemon` is a name that the Aegis home uses itself"),
        (
            "name = \"a\"\nzzzz = 1",
            "2:1: unknown key `zzzz`; known above the tables are `name`, `sandbox_dir`, `policy_paths`, `ledger_path`, `allowed_network`, `isolation`, `observer`, `pilot`, `alerts` and `channel`",
        ),
        (
            "name = \"a\"\n[pilot]\nisolation = \"Auto\"",
            "3:1: `isolation` does not stand in `pilot`: it belongs to the top, above the first table",
        ),
        (
            "name = \"a\"\nmax_nudges = 3",
            "2:1: `max_nudges` does not stand above the tables: it belongs into `[pilot.stall]`",
        ),
        (
            "name = \"a\"\n[pilot.stall]\ntimeout = 3",
            "3:1: unknown key `timeout`, did you mean `timeout_secs`?",
        ),
        ("name = \"a\"\n[pilot.stal]", "2:8: unknown key `stal`, did you mean `stall`?"),
        ("name = \"a\"\n[chanel]\ntype = \"telegram\"", "2:2: unknown key `chanel`, did you mean `channel`?"),
        ("name = \"a\"\n[isolation]\nLandlok = {}", "3:1: unknown key `Landlok`, did you mean `Landlock`?"),
        (
            "name = \"a\"\n[isolation]\nSeatbelt = { profile = \"x\" }",
            "3:14: unknown key `profile`, did you mean `profile_overrides`?",
        ),
        (
            "name = \"a\"\n[isolation]\nLandlock = { x = 1 }",
            "3:14: unknown key `x`; `isolation.Landlock` has no keys",
        ),
        (
            "name = \"a\"\nisolation = \"seatbelt\"",
            "2:13: `isolation` can't be `seatbelt`, did you mean `Seatbelt`? It is `Auto`, `Seatbelt`, `Landlock`, `Process` or `None`",
        ),
        ("name = \"a\"\nisolation = 1", "2:13: `isolation` must be a string or a table, not a whole number"),
        (
            "name = \"a\"\n[isolation]",
            "2:1: `isolation` is empty; it is `Auto`, `Seatbelt`, `Landlock`, `Process` or `None`",
        ),
        (
            "name = \"a\"\n[isolation]\nAuto = {}\nNone = {}",
            "4:1: `isolation` is one of its words, here are 2",
        ),
        (
            "name = \"a\"\n[isolation]\nAuto = true",
            "3:8: `Auto` must be a table, `{}`, not `true` or `false`",
        ),
        ("name = \"a\"\npilot = []", "2:9: `pilot` is there once: `[pilot]`"),
        ("name = \"a\"\n[[pilot]]", "2:1: `pilot` is there once: `[pilot]`"),
        ("name = \"a\"\npilot = 1.5", "2:9: `pilot` must be a table, not a number with a fraction"),
        ("name = \"a\"\n[alerts]\nname = \"x\"", "2:1: `alerts` is written `[[alerts]]`"),
        ("name = \"a\"\nalerts = [1]", "2:11: `alerts` is written `[[alerts]]`"),
        (
            "name = \"a\"\nallowed_network = \"x\"",
            "2:19: `allowed_network` must be a list, `[...]`, not a string",
        ),
        ("name = \"a\"\npolicy_paths = [1]", "2:17: `policy_paths` has strings, not a whole number"),
        (
            "name = \"a\"\n[pilot]\ndry_run = \"yes\"",
            "3:11: `dry_run` must be `true` or `false`, not a string",
        ),
        (
            "name = \"a\"\n[pilot.stall]\ntimeout_secs = 1.5",
            "3:16: `timeout_secs` must be a whole number, not a number with a fraction",
        ),
        (
            "name = \"a\"\n[pilot.stall]\nnudge_message = 1979-05-27",
            "3:17: `nudge_message` must be a string, not a date or time",
        ),
        ("name = \"a\"\n[[alerts]]", "2:1: `name` is missing in `alerts`"),
        (
            "name = \"a\"\n[channel]\ntype = \"telegram\"\nchat_id = 1",
            "2:1: `bot_token` is missing in `channel`",
        ),
    ] {
        assert_eq!(said(text), expected, "{text}");
    }
}

#[test]
fn impossible_values_are_refused_at_their_edges() {
    let key = |line: &str| format!("name = \"a\"\n{line}");
    let stall = |line: &str| format!("name = \"a\"\n[pilot.stall]\n{line}");
    let pilot = |line: &str| format!("name = \"a\"\n[pilot]\n{line}");
    let long = |count: usize| "x".repeat(count);
    for (text, expected) in [
        (key("sandbox_dir = \"\""), Some("2:15: `sandbox_dir` can't be empty")),
        (key("ledger_path = \"a\\u0000\""), Some("2:15: `ledger_path` has a zero character")),
        (
            key("sandbox_dir = \"~me/x\""),
            Some(
                "2:15: `sandbox_dir` begins with `~` and a name; `~/` is your own home, write that of others in full",
            ),
        ),
        (key("policy_paths = [\"a\", \"a\"]"), Some("2:22: `policy_paths` has this twice")),
        (
            key("allowed_network = [\"a.b\", \"https://x\"]"),
            Some(
                "2:27: `allowed_network` has a wrong entry: `https://x` is no host: it is a URL; write `api.example.com`, `*.example.com`, `192.0.2.7` or `10.0.0.0/8`, each with `:PORT` or without, IPv6 with a port as `[2001:db8::1]:443`",
            ),
        ),
        (
            key("allowed_network = [\"a.b:0\"]"),
            Some(
                "2:20: `allowed_network` has a wrong entry: `a.b:0` is no host: its port is not from 1 to 65535; write `api.example.com`, `*.example.com`, `192.0.2.7` or `10.0.0.0/8`, each with `:PORT` or without, IPv6 with a port as `[2001:db8::1]:443`",
            ),
        ),
        (key("allowed_network = [\"a.b:65535\", \"*.c\", \"10.0.0.0/8\"]"), None),
        (
            key("[observer]\nignore = [\"/a[\"]"),
            Some("3:11: `ignore` is no pattern for paths: unclosed character class; missing ']'"),
        ),
        (key(&format!("[observer]\nignore = [\"{}\"]", long(1024))), None),
        (
            key(&format!("[observer]\nignore = [\"{}\"]", long(1025))),
            Some("3:11: `ignore` must be a pattern of 1 to 1024 bytes"),
        ),
        (key("[observer]\nignore = [\"\"]"), Some("3:11: `ignore` must be a pattern of 1 to 1024 bytes")),
        (stall("timeout_secs = 0"), Some("3:16: `timeout_secs` must be from 1 to 86400")),
        (stall("timeout_secs = 1"), None),
        (stall("timeout_secs = 86_400"), None),
        (stall("timeout_secs = 86401"), Some("3:16: `timeout_secs` must be from 1 to 86400")),
        (stall("timeout_secs = -1"), Some("3:16: `timeout_secs` must be from 1 to 86400")),
        (stall("timeout_secs = 99999999999999999999"), Some("3:16: `timeout_secs` must be from 1 to 86400")),
        (stall("timeout_secs = 0x10"), None),
        (stall("max_nudges = 0"), None),
        (stall("max_nudges = 1000"), None),
        (stall("max_nudges = 1001"), Some("3:14: `max_nudges` must be from 0 to 1000")),
        (stall("max_nudges = -1"), Some("3:14: `max_nudges` must be from 0 to 1000")),
        (stall("nudge_message = \" \""), Some("3:17: `nudge_message` can't be empty")),
        (stall(&format!("nudge_message = \"{}\"", long(4096))), None),
        (
            stall(&format!("nudge_message = \"{}\"", long(4097))),
            Some("3:17: `nudge_message` has 4097 bytes, at most 4096 are allowed"),
        ),
        (stall("nudge_message = \"a\\u001b[2J\""), Some("3:17: `nudge_message` has a control character")),
        (stall("nudge_message = \"a\\nb\\tc\""), None),
        (
            pilot("tool = \"Claude\""),
            Some(
                "3:8: `tool` can't be `Claude`, did you mean `ClaudeCode`? It is `ClaudeCode`, `Codex`, `GeminiCli`, `OpenCode`, `CopilotCli`, `Aider` or `Generic`",
            ),
        ),
        (pilot("uncertain = \"allow\""), Some("3:13: `uncertain` can't be `allow`; it is `ask` or `deny`")),
        (
            key("[isolation]\nSeatbelt = { profile_overrides = \"\" }"),
            Some("3:34: `profile_overrides` can't be empty"),
        ),
    ] {
        match expected {
            Some(expected) => assert_eq!(said(&text), expected, "{text}"),
            None => drop(parse(&text).expect(&text)),
        }
    }
}

#[test]
fn impossible_listeners_alerts_and_channels_are_refused() {
    let control = |lines: &str| format!("name = \"a\"\n[pilot.control]\n{lines}");
    let alert = |lines: &str| format!("name = \"a\"\n[[alerts]]\nname = \"r\"\nevent = \"any\"\n{lines}");
    let to = |url: &str| alert(&format!("webhook_url = \"{url}\""));
    let channel =
        |lines: &str| format!("name = \"a\"\n[channel]\ntype = \"telegram\"\nbot_token = \"1:x\"\n{lines}");
    let no_host = Some("5:15: `webhook_url` has no valid host");
    for (text, expected) in [
        (control("http_listen = \"127.0.0.1:1\"\napi_key = \"k\""), None),
        (control("http_listen = \"localhost:65535\"\napi_key = { env = \"K\" }"), None),
        (control("http_listen = \"[::1]:1\"\napi_key = { file = \"~/k\" }"), None),
        (
            control("http_listen = \"127.0.0.1:0\""),
            Some("3:15: `http_listen` must have a port from 1 to 65535"),
        ),
        (
            control("http_listen = \"127.0.0.1:65536\""),
            Some(
                "3:15: `http_listen` must be an address and port, as `127.0.0.1:7878`, `[::1]:7878` or `localhost:7878`",
            ),
        ),
        (
            control("http_listen = \"127.0.0.1:1\"\napi_key = \"\""),
            Some("3:15: `http_listen` needs an `api_key` that is not empty"),
        ),
        (
            control("http_listen = \"127.0.0.1:1\""),
            Some("3:15: `http_listen` needs an `api_key` that is not empty"),
        ),
        (
            control("http_listen = \"0.0.0.0:1\"\napi_key = \"k\""),
            Some(
                "3:15: `http_listen` is beyond loopback: it needs `tls_cert` and `tls_key`, or `insecure = true`",
            ),
        ),
        (control("http_listen = \"0.0.0.0:1\"\napi_key = \"k\"\ninsecure = true"), None),
        (control("http_listen = \"0.0.0.0:1\"\napi_key = \"k\"\ntls_cert = \"c\"\ntls_key = \"k\""), None),
        (control("tls_cert = \"c\""), Some("3:12: `tls_cert` needs `tls_key`")),
        (control("tls_key = \"c\""), Some("3:11: `tls_key` needs `tls_cert`")),
        (control("api_key = 1"), Some("3:11: `api_key` must be a string or a table, not a whole number")),
        (control("api_key = \"a b\""), Some("3:11: `api_key` has a space or a control character")),
        (control("api_key = {}"), Some("3:11: `pilot.control.api_key` has exactly one of `env`, `file`")),
        (
            control("api_key = { env = \"A\", file = \"b\" }"),
            Some("3:11: `pilot.control.api_key` has exactly one of `env`, `file`"),
        ),
        (
            control("api_key = { env = \"1A\" }"),
            Some("3:19: `env` must be the name of a variable: letters, digits and `_`"),
        ),
        (control("api_key = { enf = \"A\" }"), Some("3:13: unknown key `enf`, did you mean `env`?")),
        (to("https://h/x"), None),
        (to("http://192.0.2.1:80"), None),
        (to("HTTPS://[::1]/x?y#z"), None),
        (to("ftp://h/x"), Some("5:15: `webhook_url` must begin with `https://` or `http://`")),
        (to(""), Some("5:15: `webhook_url` must begin with `https://` or `http://`")),
        (to("https://"), no_host),
        (to("https:///x"), no_host),
        (to("https://*.x/"), no_host),
        (to("https://h:0/"), no_host),
        (to("https://h:65536/"), no_host),
        (to("https://exa mple/"), Some("5:15: `webhook_url` has a space or a control character")),
        (to("https://me:pw@h/"), Some("5:15: `webhook_url` can't have a user name or password")),
        (
            to("https://events.pagerduty.com/v2/enqueue"),
            Some("2:1: `routing_key` is missing in `alerts`: PagerDuty needs it"),
        ),
        (alert("webhook_url = \"https://h\"\nformat = \"pagerduty\"\nrouting_key = \"k\""), None),
        (
            alert("webhook_url = \"https://h\"\nrouting_key = \"k\""),
            Some("6:15: `routing_key` is for PagerDuty; this alert goes elsewhere"),
        ),
        (
            alert("webhook_url = \"https://hooks.slack.com/x\"\nsecret = \"k\""),
            Some("6:10: `secret` signs messages of the format `generic`; this alert has another"),
        ),
        (
            alert("webhook_url = \"https://h\"\ncooldown_secs = 86401"),
            Some("6:17: `cooldown_secs` must be from 0 to 86400"),
        ),
        (
            alert("webhook_url = \"https://h\"\naction = \"FileRaed\""),
            Some(
                "6:10: `action` can't be `FileRaed`, did you mean `FileRead`? It is `FileRead`, `FileWrite`, `FileDelete`, `DirCreate`, `DirList`, `NetConnect`, `ToolCall`, `ProcessSpawn` or `ProcessExit`",
            ),
        ),
        (
            alert("webhook_url = \"https://h\"\ndecision = \"maybe\""),
            Some("6:12: `decision` can't be `maybe`; it is `allow`, `deny` or `observed`"),
        ),
        (
            alert(
                "webhook_url = \"https://h\"\n[[alerts]]\nname = \"q\"\nevent = \"denied\"\nwebhook_url = \"https://h\"",
            ),
            Some(
                "8:9: `event` can't be `denied`; it is `deny`, `allow`, `pending`, `stall`, `exit`, `crash`, `integrity`, `policy-change` or `any`",
            ),
        ),
        (
            alert(
                "webhook_url = \"https://h\"\n[[alerts]]\nname = \"r\"\nevent = \"deny\"\nwebhook_url = \"https://h\"",
            ),
            Some("7:8: `name` is that of another alert, too"),
        ),
        (channel("chat_id = 0"), Some("5:11: `chat_id` can't be 0")),
        (channel("chat_id = 1"), None),
        (channel("chat_id = 9223372036854775808"), Some("5:11: `chat_id` is too large")),
        (channel("chat_id = -1"), Some("5:11: `chat_id` is a group: it needs `users` that are listened to")),
        (channel("chat_id = -1\nusers = [7]"), None),
        (channel("chat_id = -1\nusers = [0]"), Some("6:10: `users` has whole numbers above 0")),
        (
            channel("chat_id = 1\nusers = [7]"),
            Some("6:9: `users` is for groups; `chat_id` is a private chat"),
        ),
        (
            channel("chat_id = 1\nevents = [\"pendin\"]"),
            Some(
                "6:11: `events` can't be `pendin`, did you mean `pending`? It is `pending`, `stall`, `attention` or `exit`",
            ),
        ),
        (channel("chat_id = \"1\""), Some("5:11: `chat_id` must be a whole number, not a string")),
    ] {
        match expected {
            Some(expected) => assert_eq!(said(&text), expected, "{text}"),
            None => drop(parse(&text).expect(&text)),
        }
    }
}

#[test]
fn the_name_is_that_of_the_folder() {
    let error = Configuration::parse(Path::new("/h/a/aegis.toml"), "name = \"b\"", Path::new("/h/a"));
    assert_eq!(error.unwrap_err().to_string(), "/h/a/aegis.toml:1:8: `name` is `b`, the folder has another");
}

#[test]
fn nesting_without_end_is_refused() {
    for text in [
        format!("name = {}", "[".repeat(10_000)),
        format!("name = {}", "{a=".repeat(10_000)),
        format!("[{}]", ["a"; 10_000].join(".")),
        format!("{} = 1", ["a"; 10_000].join(".")),
        format!("name = {}1{}", "[".repeat(10_000), "]".repeat(10_000)),
    ] {
        assert!(said(&text).ends_with("it is nested too deeply"), "{}", said(&text));
    }
}

#[test]
fn no_error_has_a_secret_in_it() {
    for line in [
        "api_key = \"hunter2\" x",
        "api_key = \"hunter2",
        "api_key = hunter2",
        "api_key = 'hunter2 is it'",
        "api_key = [\"hunter2\"]",
        "api_key = { env = 1, key = \"hunter2\" }",
        "apikey = \"hunter2\"",
        "key = \"hunter2\"",
        "password = \"hunter2\"",
        "http_listen = \"\" # hunter2\nhttp_listen = 1 # hunter2",
        "api_key = \"\"\"\nhunter2\\q\n\"\"\"",
        "api_key = \"hunter2\"\napi_key = \"hunter2\"",
    ] {
        let text = format!("name = \"a\"\n[pilot.control]\n{line}\n");
        let error = parse(&text).expect_err(&text);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let alert =
        "name = \"a\"\n[[alerts]]\nname = \"x\"\nevent = \"deny\"\nwebhook_url = \"ftp://hunter2/\"\n";
    assert!(!format!("{:?}", parse(alert).unwrap_err()).contains("hunter2"));
}
