//! `aegis setup`: what this system offers, what it means, and how to mend what is missing.

use std::borrow::Cow;
use std::path::Path;

use aegis_proof::TrustRoot;
use aegis_sandbox::{Enforcement, Grade};
use aegis_sys::probe::{self, Answer};
use aegis_types::AgentName;
use serde_json::json;

use crate::args::Json;
use crate::error::CliError;
use crate::home::{Home, environment};
use crate::output;

/// A line of the check.
struct Line {
    what: Cow<'static, str>,
    state: State,
    meaning: String,
    mend: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Degraded,
    Missing,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Degraded => "degraded",
            State::Missing => "missing",
        }
    }
}

pub(crate) fn run(home: &Home, options: &Json) -> Result<u8, CliError> {
    let lines = check(home);
    // Without user notification nothing works; the rest is for later commands.
    let usable = lines.iter().all(|line| line.state != State::Missing || line.what != NOTIFY);
    if options.json {
        let values: Vec<serde_json::Value> = lines
            .iter()
            .map(|line| json!({"check": line.what, "state": line.state.word(), "meaning": line.meaning, "mend": line.mend}))
            .collect();
        output::json(&values.into())?;
    } else {
        let rows = lines
            .into_iter()
            .map(|line| {
                [line.what.into_owned(), line.state.word().to_owned(), line.meaning, line.mend.to_owned()]
            })
            .collect();
        output::table(["CHECK", "STATE", "WHAT IT MEANS", "HOW TO MEND IT"], rows)?;
    }
    Ok(u8::from(!usable))
}

const NOTIFY: &str = "seccomp user notification";

fn check(home: &Home) -> Vec<Line> {
    let uname = rustix::system::uname();
    let mut lines = vec![Line {
        what: "platform".into(),
        state: State::Ok,
        meaning: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
        mend: "",
    }];
    lines.extend(notification());
    lines.push(Line {
        what: "exit status of any process".into(),
        state: if probe::exit_information() { State::Ok } else { State::Degraded },
        meaning: if probe::exit_information() {
            "every process' end is recorded with its status".into()
        } else {
            "a process that a signal ended and that is not the agent's own child has no status".into()
        },
        mend: if probe::exit_information() { "" } else { "a kernel from 6.15 on" },
    });
    let landlock = probe::landlock();
    lines.push(Line {
        what: "Landlock".into(),
        state: if landlock.is_some() { State::Ok } else { State::Missing },
        meaning: landlock.map_or_else(
            || "the kernel can't enforce file rules".into(),
            |abi| format!("ABI {abi}: {}", landlock_features(abi)),
        ),
        mend: if landlock.is_some() { "" } else { "boot with lsm=...,landlock on a kernel from 5.13 on" },
    });
    lines.extend(enforcement());
    let fanotify = probe::fanotify();
    lines.push(Line {
        what: "fanotify".into(),
        state: if fanotify { State::Ok } else { State::Degraded },
        meaning: if fanotify {
            "a whole file system can be marked; not needed to observe".into()
        } else {
            "a whole file system can't be marked by this user; not needed to observe".into()
        },
        mend: if fanotify { "" } else { "only root can" },
    });
    lines.push(home_line(home));
    lines.push(agents_line());
    lines.extend(trust_lines(home));
    lines
}

/// The trust root of each ledger, to be kept elsewhere.
fn trust_lines(home: &Home) -> Vec<Line> {
    let roots = home.trust_roots().unwrap_or_default();
    if roots.is_empty() {
        let meaning = "made with the first session of a configuration; keep it elsewhere then".to_owned();
        return vec![Line { what: "trust root".into(), state: State::Ok, meaning, mend: "" }];
    }
    let line = |(name, root): (AgentName, TrustRoot)| Line {
        what: format!("trust root of {name}").into(),
        state: State::Ok,
        meaning: format!("{root}: keep this line elsewhere, `aegis audit verify --key` takes it"),
        mend: "",
    };
    roots.into_iter().map(line).collect()
}

fn notification() -> Vec<Line> {
    match probe::notification() {
        Answer::Works { features } => {
            let mut lines = vec![Line {
                what: NOTIFY.into(),
                state: State::Ok,
                meaning: "a call was asked about and answered".into(),
                mend: "",
            }];
            lines.push(Line {
                what: "calls are asked about once".into(),
                state: if features.wait_killable { State::Ok } else { State::Degraded },
                meaning: if features.wait_killable {
                    "a signal does not make a call be recorded twice".into()
                } else {
                    "a call that a signal interrupts may be recorded twice".into()
                },
                mend: if features.wait_killable { "" } else { "a kernel from 5.19 on" },
            });
            lines.push(Line {
                what: "one CPU for caller and observer".into(),
                state: if features.sync_wake_up { State::Ok } else { State::Degraded },
                meaning: if features.sync_wake_up {
                    "observing costs least".into()
                } else {
                    "observing costs more than twice as much".into()
                },
                mend: if features.sync_wake_up { "" } else { "a kernel from 6.6 on" },
            });
            lines
        }
        Answer::Fails(error) => vec![Line {
            what: NOTIFY.into(),
            state: State::Missing,
            meaning: format!("nothing can be observed: {error}"),
            mend: "a kernel from 5.6 on with CONFIG_SECCOMP_FILTER; in a container, a seccomp profile that permits seccomp(2)",
        }],
    }
}

/// What `aegis run` can enforce here: a line for what is there, one for each thing that is missing.
fn enforcement() -> Vec<Line> {
    let found = Enforcement::probe(rustix::process::geteuid().is_root());
    let state = match found.grade() {
        Grade::Full => State::Ok,
        Grade::Partial => State::Degraded,
        Grade::Insufficient => State::Missing,
    };
    let mut lines = vec![Line { what: ENFORCEMENT.into(), state, meaning: found.summary(), mend: "" }];
    lines.extend(found.missing().into_iter().map(|one| Line {
        what: one.what.into(),
        state: if one.needed { State::Missing } else { State::Degraded },
        meaning: format!("in `aegis run`, {}", one.weaker),
        mend: one.mend,
    }));
    lines
}

const ENFORCEMENT: &str = "enforcement";

fn landlock_features(abi: u32) -> String {
    let names = [
        (1, "files"),
        (2, "renames across directories"),
        (3, "truncation"),
        (4, "TCP ports"),
        (5, "device ioctls"),
        (6, "signal and socket scopes"),
        (7, "audit"),
    ];
    let has: Vec<&str> = names.iter().filter(|(from, _)| abi >= *from).map(|(_, name)| *name).collect();
    has.join(", ")
}

fn home_line(home: &Home) -> Line {
    // It was checked when it was found: a home that others can write to ends the command.
    let meaning = if home.root().exists() {
        format!("{}: only you can write to it", home.root().display())
    } else {
        format!("{}: made when it is needed", home.root().display())
    };
    Line { what: "home".into(), state: State::Ok, meaning, mend: "" }
}

const AGENTS: [&str; 8] = ["claude", "codex", "gemini", "opencode", "copilot", "aider", "qwen", "cline"];

fn agents_line() -> Line {
    let path = environment("PATH").unwrap_or_default();
    let on_path =
        |name: &&&str| std::env::split_paths(&path).any(|folder| Path::new(&folder).join(name).is_file());
    let found: Vec<&str> = AGENTS.iter().filter(on_path).copied().collect();
    let meaning = if found.is_empty() {
        "none that Aegis knows by name; any command can be run".to_owned()
    } else {
        found.join(", ")
    };
    Line { what: "agents on PATH".into(), state: State::Ok, meaning, mend: "" }
}
