//! Every key of the settings files, as data.
//!
//! A key that a command begins to act on goes from `idle` to `new` here; `config show` then no longer marks it.

use super::shape::{Choice, Key, Kind, Rule, Table};

/// A day, in seconds: the longest time that a setting takes.
const DAY: i64 = 86_400;

/// `aegis.toml` of a configuration.
pub(crate) static CONFIGURATION: Table = Table::free(&[
    Key::required("name", Kind::Name, "Name of the configuration. It is that of its folder.", true),
    Key::new(
        "sandbox_dir",
        Kind::Path,
        "Directory that the agent works in. `wrap` keeps the former contents of the files below it.",
    ),
    Key::new("policy_paths", Kind::Paths, "Policy files, and folders of them (`*.cedar`)."),
    Key::new("ledger_path", Kind::Path, "File of the ledger."),
    Key::new(
        "allowed_network",
        Kind::Hosts,
        "Hosts that the agent may connect to, beside what policies permit: a name, `*.` and a name, an address or \
         a network, each with `:PORT` or without.",
    ),
    Key::new("isolation", ISOLATION, "How the kernel enforces policies."),
    Key::new("observer", OBSERVER, "How the agent is observed."),
    Key::idle("pilot", Kind::Table(&PILOT), "How the agent is supervised."),
    Key::idle("alerts", Kind::Tables(&ALERT), "Who is told of what."),
    Key::idle("channel", Kind::Table(&CHANNEL), "Where requests can be seen and answered from afar."),
]);

const ISOLATION: Kind = Kind::Choice {
    options: &[
        plain("Auto", "What this system's kernel has: Landlock on Linux, Seatbelt on macOS."),
        Choice {
            word: "Seatbelt",
            about: "The sandbox of macOS.",
            options: &[Key::idle(
                "profile_overrides",
                Kind::Text(65_536),
                "SBPL text that is added at the end of the profile.",
            )],
        },
        plain("Landlock", "The sandbox of Linux."),
        plain("Process", "Nothing is enforced; processes are tracked."),
        plain("None", "Nothing is enforced."),
    ],
    beside: &[],
};

const OBSERVER: Kind = Kind::Choice {
    options: &[
        plain("Auto", "What this system has: Seccomp on Linux, FsEvents on macOS."),
        plain("None", "Nothing is observed."),
        Choice {
            word: "FsEvents",
            about: "File events of macOS.",
            options: &[Key::idle(
                "enable_snapshots",
                Kind::Flag,
                "Compares the directory before and after, for what the events leave out.",
            )],
        },
        plain("EndpointSecurity", "Endpoint Security of macOS, as root."),
        plain("Seccomp", "User notification of Linux: each call before it goes on."),
        plain("Fanotify", "File events of Linux."),
    ],
    beside: &[Key::new(
        "ignore",
        Kind::Globs,
        "Patterns of system files whose reads are not recorded. Writes are, always.",
    )],
};

const fn plain(word: &'static str, about: &'static str) -> Choice {
    Choice { word, about, options: &[] }
}

static PILOT: Table = Table::free(&[
    Key::idle("tool", Kind::Word(&TOOLS), "Which agent it is. By default told from the command."),
    Key::idle(
        "uncertain",
        Kind::Word(&["ask", "deny"]),
        "What happens to a request that no policy settles: a person is asked, or it is denied.",
    ),
    Key::idle("dry_run", Kind::Flag, "Says what would be answered, and answers nothing."),
    Key::idle("stall", Kind::Table(&STALL), "What happens when the agent stops working."),
    Key::idle("control", Kind::Table(&CONTROL), "Steering the agent over HTTP."),
]);

/// The agents whose dialogs are known.
const TOOLS: [&str; 7] = ["ClaudeCode", "Codex", "GeminiCli", "OpenCode", "CopilotCli", "Aider", "Generic"];

static STALL: Table = Table::free(&[
    Key::idle(
        "timeout_secs",
        Kind::Number(1, DAY),
        "Seconds without output or request until the agent is nudged.",
    ),
    Key::idle("nudge_message", Kind::Text(4096), "What is typed to nudge it."),
    Key::idle(
        "max_nudges",
        Kind::Number(0, 1000),
        "How often it is nudged until a person is called. 0: a person is called at once.",
    ),
]);

static CONTROL: Table = Table {
    rule: Rule::Control,
    keys: &[
        Key::idle("http_listen", Kind::Listen, "Address and port to listen on. Empty: none."),
        Key::idle(
            "api_key",
            Kind::KeptSecret(&KEPT_SECRET),
            "Key that a caller must show: the text itself, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`. Needed with `http_listen`.",
        ),
        Key::idle("tls_cert", Kind::Path, "Certificate chain, PEM. Needed beyond loopback."),
        Key::idle("tls_key", Kind::Path, "Private key of the certificate, PEM."),
        Key::idle("insecure", Kind::Flag, "Listens beyond loopback without TLS."),
    ],
};

static KEPT_SECRET: Table = Table {
    rule: Rule::One,
    keys: &[
        Key::idle("env", Kind::Variable, "Variable of the environment that holds it."),
        Key::idle("file", Kind::Path, "File that holds it."),
    ],
};

/// What an alert can be about.
const EVENTS: [&str; 9] =
    ["deny", "allow", "pending", "stall", "exit", "crash", "integrity", "policy-change", "any"];

/// The actions, as `aegis_types::Action` has them.
const ACTIONS: [&str; 9] = [
    "FileRead",
    "FileWrite",
    "FileDelete",
    "DirCreate",
    "DirList",
    "NetConnect",
    "ToolCall",
    "ProcessSpawn",
    "ProcessExit",
];

static ALERT: Table = Table {
    rule: Rule::Alert,
    keys: &[
        Key::required("name", Kind::Text(64), "Name of the rule. No two rules have the same.", false),
        Key::required("event", Kind::Word(&EVENTS), "What it is about.", false),
        Key::idle("action", Kind::Word(&ACTIONS), "Only this action."),
        Key::idle("decision", Kind::Word(&["allow", "deny", "observed"]), "Only this decision."),
        Key::idle("path", Kind::Glob, "Only paths that fit this pattern."),
        Key::idle("agent", Kind::Name, "Only this agent."),
        Key::required("webhook_url", Kind::Webhook, "Address to post to, `https://` or `http://`.", false),
        Key::idle(
            "format",
            Kind::Word(&["slack", "pagerduty", "generic"]),
            "Form of the message. By default told from the host.",
        ),
        Key::idle("routing_key", Kind::Secret, "Integration key of PagerDuty. Needed with its format."),
        Key::idle("secret", Kind::Secret, "Key that a generic message is signed with (HMAC)."),
        Key::idle(
            "cooldown_secs",
            Kind::Number(0, DAY),
            "Seconds after a message in which the rule sends no other.",
        ),
        Key::idle("allow_private", Kind::Flag, "Lets the address be a private or link-local one."),
    ],
};

static CHANNEL: Table = Table {
    rule: Rule::Channel,
    keys: &[
        Key::required("type", Kind::Word(&["telegram"]), "Kind of channel.", false),
        Key::required("bot_token", Kind::Secret, "Token of the bot.", false),
        Key::required(
            "chat_id",
            Kind::Chat,
            "The one chat that is listened to. A negative number is a group.",
            false,
        ),
        Key::idle(
            "users",
            Kind::Users,
            "Users of a group that are listened to. A group without them is refused.",
        ),
        Key::idle(
            "events",
            Kind::Words(&["pending", "stall", "attention", "exit"]),
            "What is told. By default all.",
        ),
    ],
};

/// `config.toml` of the home.
pub(crate) static GLOBAL: Table = Table::free(&[
    Key::new("active", Kind::Name, "The active configuration."),
    Key::new("anchors", Kind::Tables(&ANCHOR), ANCHORS),
]);

/// `aegis.toml` of the organisation.
pub(crate) static ORGANISATION: Table = Table::free(&[Key::new("anchors", Kind::Tables(&ANCHOR), ANCHORS)]);

const ANCHORS: &str = "Where checkpoints are taken to.";

static ANCHOR: Table = Table {
    rule: Rule::One,
    keys: &[
        Key::new("file", Kind::AbsolutePath, "A file that a line is added to."),
        Key::new("syslog", Kind::AbsolutePath, "The socket of a system log."),
        Key::new("journald", Kind::AbsolutePath, "The socket of the journal."),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shape::walk;

    #[test]
    fn the_words_of_actions_are_those_of_the_ledger() {
        let mut words: Vec<&str> = aegis_types::Action::ALL.iter().map(|action| action.word()).collect();
        words.sort_by_key(|word| ACTIONS.iter().position(|known| known == word));
        assert_eq!(words, ACTIONS);
    }

    #[test]
    fn every_key_says_what_it_is() {
        for table in [&CONFIGURATION, &GLOBAL, &ORGANISATION] {
            walk(table.keys, &mut |place, key| {
                assert!(key.about.len() > 5 && key.about.ends_with('.'), "{place} {}", key.name);
            });
        }
    }
}
