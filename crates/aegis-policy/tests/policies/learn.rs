//! What is learned permits what was done, and no secret, whatever was done.

use std::sync::Arc;

use aegis_policy::learn::Places;
use aegis_policy::request::command;
use aegis_policy::secrets::secret;
use aegis_policy::{
    Engine, Learned, Learner, LeftOut, Origin, Policies, Request, Resource, Severity, Source, Subject,
};
use aegis_types::{
    Act, Action, AgentName, Assurance, Decision, Direction, Endpoint, Outcome, Process, Program,
    Resource as Recorded, Text, Timestamp,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// How many cases are tried; `AEGIS_TEST_CASES` at build time asks for more.
const CASES: &str = match option_env!("AEGIS_TEST_CASES") {
    Some(cases) => cases,
    None => "150",
};

const HOMES: [&str; 7] =
    ["/home/me", "/root", "/opt/me", "/", "/usr/share/me", "/data/u \"ser*", "/tmp/home"];

/// Temporary directories: one of the session's own, and everyone's.
const TMPS: [&str; 2] = ["/tmp/own", "/tmp"];

/// Directories; `~` is the home.
const FOLDERS: [&str; 34] = [
    "~",
    "~/p",
    "~/p/src",
    "~/p/src/a",
    "~/p/src/b",
    "~/p/src/c",
    "~/p/.git/hooks",
    "~/p/s*r",
    "~/p/q\"\\uote",
    "~/.config",
    "~/.config/tool",
    "~/.cargo",
    "~/.cargo/bin",
    "~/.ssh",
    "~/.local/share",
    "~/.rustup",
    "/home/other/.aws",
    "/tmp",
    "/tmp/x1",
    "/tmp/own",
    "/tmp/own/d",
    "/usr/lib",
    "/usr/local/etc",
    "/opt/tool",
    "/etc",
    "/etc/ssl",
    "/var/lib",
    "/var/lib/x",
    "/sys/class/net",
    "/proc/7",
    "/proc/8",
    "/proc/9/task/9",
    "/dev",
    "/mnt/c",
];

const NAMES: [&str; 24] = [
    "",
    "a",
    "b",
    "c.rs",
    "x y",
    "s*r",
    "new\nline",
    "\"quo\\te'",
    "é",
    "..",
    "~",
    ".env",
    ".env.local",
    ".env.example",
    "id_rsa",
    "tls.key",
    "x.key (deleted)",
    "config",
    "environ",
    "comm",
    "shadow",
    "credentials.toml",
    "hosts.yml",
    "null",
];

/// Names and places of secrets, apart from the lists that are tested.
const SECRET_NAMES: [&str; 7] =
    [".env", ".env.prod", "id_ed25519", "x.key", "x.p12", "privkey2.pem", "a_key.pem"];

const SECRET_PLACES: [&str; 12] = [
    "~/.ssh/id_work",
    "~/.gnupg/private-keys-v1.d/x",
    "~/.aws/credentials",
    "~/.config/gcloud/x/y",
    "~/.kube/config",
    "~/.docker/config.json",
    "~/.cargo/credentials",
    "~/.config/gh/hosts.yml",
    "~/.mozilla/firefox/x",
    "~/.bash_history",
    "/etc/shadow",
    "/proc/77/environ",
];

fn at_home(path: &str, home: &str) -> String {
    match path.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) => format!("{}{rest}", home.trim_end_matches('/')),
        None => path.to_owned(),
    }
}

/// What an act is made of, with `~` where the home is to stand.
#[derive(Debug, Clone)]
struct Made {
    action: Action,
    path: String,
    kind: usize,
    host: &'static str,
    port: u16,
    flags: Vec<&'static str>,
    denied: bool,
    missing: bool,
    listen: bool,
    folded: bool,
    count: Option<u64>,
}

fn made() -> impl Strategy<Value = Made> {
    let flags = prop::sample::subsequence(&["WRONLY", "CREAT", "TMPFILE", "SETUID"][..], 0..3);
    let path = (prop::sample::select(&FOLDERS[..]), prop::sample::select(&NAMES[..]));
    let path = path.prop_map(|(folder, name)| {
        let slash = if name.is_empty() || folder == "/" { "" } else { "/" };
        format!("{folder}{slash}{name}")
    });
    (
        prop::sample::select(Action::ALL),
        path,
        0..12usize,
        prop::sample::select(&["127.0.0.1", "::1", "0.0.0.0", "192.0.2.1", "no/host"][..]),
        prop::sample::select(&[0u16, 443, 40_000, 50_000][..]),
        flags,
        (prop::bool::weighted(0.1), any::<bool>(), any::<bool>(), prop::bool::weighted(0.2)),
        prop::option::weighted(0.1, 2..9u64),
    )
        .prop_map(|(action, path, kind, host, port, flags, (denied, missing, listen, folded), count)| {
            Made { action, path, kind, host, port, flags, denied, missing, listen, folded, count }
        })
}

impl Made {
    fn act(&self, home: &str) -> Act {
        let path = at_home(&self.path, home);
        let text = Text::from(path.as_str());
        let resource = match (self.action, self.kind) {
            (_, 0) => Recorded::Unread("what could not be read".into()),
            (_, 1) => Recorded::Path(Text::new([path.as_bytes(), b"\xff"].concat())),
            (_, 2) => Recorded::Path("pipe:[12]".into()),
            (Action::NetConnect, 3..5) => Recorded::Unix(text),
            (Action::NetConnect, 5) => Recorded::Unix("@name".into()),
            (Action::NetConnect, _) => Recorded::Net(Endpoint {
                address: self.host.into(),
                host: None,
                port: self.port,
                transport: None,
            }),
            (Action::ProcessSpawn | Action::ProcessExit, _) => Recorded::Program(Program {
                argv: vec!["x".into()],
                argv_omitted: None,
                exe: text,
                masked: false,
            }),
            _ => Recorded::Path(text),
        };
        Act {
            action: self.action,
            assurance: Assurance::Observed,
            call: "call".into(),
            count: self.count,
            decision: if self.denied { Decision::Deny } else { Decision::Observed },
            direction: self.listen.then_some(Direction::Listen),
            flags: self.flags.iter().map(|flag| (*flag).into()).collect(),
            folded: self.folded,
            operation: None,
            outcome: if self.missing { Outcome::Missing } else { Outcome::Unknown },
            policies: Arc::default(),
            pre: None,
            process: Process { exe: Arc::new("/bin/sh".into()), pid: 7, ppid: 1, tid: 7 },
            resource,
            status: None,
            would: None,
        }
    }
}

fn places(home: &str, tmp: &str) -> Places {
    let toolchains = ["~/.rustup", "~/.cargo", "~/.cargo/bin", "~"].map(|path| at_home(path, home));
    Places {
        home: Some(home.to_owned()),
        directory: at_home("~/p", home),
        tmp: Some(tmp.to_owned()),
        toolchains: toolchains.to_vec(),
    }
}

fn learn<'a>(home: &str, tmp: &str, acts: impl Iterator<Item = &'a Act>) -> Learned {
    let mut learner = Learner::new(places(home, tmp));
    acts.for_each(|act| learner.add(act));
    learner.finish()
}

fn engine(learned: &Learned, tmp: &str) -> Engine {
    let text = learned.text.clone();
    let source = Source { origin: Origin::Configuration, path: "learned.cedar".into(), text };
    let policies = Policies::parse(vec![source])
        .unwrap_or_else(|problems| panic!("{}\n{}", problems[0].report(), learned.text));
    for problem in policies.validate() {
        // Names may be strange; Cedar says so.
        let of_characters = problem.message.contains("character") || problem.message.contains("script");
        assert!(
            problem.severity == Severity::Warning && of_characters,
            "{}\n{}",
            problem.report(),
            learned.text
        );
    }
    let subject = Subject {
        agent: AgentName::new("me").unwrap(),
        session: "s".into(),
        mode: "wrap".into(),
        tmp: Some(tmp.into()),
        tmp_is_shared: false,
        reserved: Default::default(),
    };
    Engine::new(Arc::new(policies), subject).unwrap()
}

/// Asks as a session does that observes.
fn would(engine: &Engine, act: &Act, existed: bool) -> Decision {
    let flag = |name: &str| act.flags.iter().any(|flag| flag == name);
    let ask = |resource| {
        let verdict = engine.decide(&Request {
            action: act.action,
            resource,
            exe: "/bin/sh",
            pid: act.process.pid,
            time: Timestamp::from_nanos(0),
            listen: act.direction == Some(Direction::Listen),
            setuid: flag("SETUID") || flag("SETGID"),
            of_session: false,
            existed: &|| existed,
        });
        verdict.decision
    };
    match &act.resource {
        Recorded::Path(path) => ask(Resource::Path(&path.to_string_lossy())),
        Recorded::Unix(name) => ask(Resource::Unix(&name.to_string_lossy())),
        Recorded::Net(to) => {
            ask(Resource::Host { host: &to.address, address: to.address.parse().ok(), port: to.port })
        }
        Recorded::Program(program) => {
            let exe = program.exe.to_string_lossy();
            ask(Resource::Program { exe: &exe, command: &command(&["x"]), arguments: &["x"] })
        }
        Recorded::Unread(_) => Decision::Deny,
    }
}

/// The name under which an act is left out, with the process' own id in it.
fn name_of(act: &Act) -> String {
    match &act.resource {
        Recorded::Path(path) | Recorded::Unread(path) => {
            let path = path.to_string_lossy();
            let counted = act.count.is_some() && act.action == Action::FileRead && path.starts_with('/');
            if counted { format!("{}/*", path.trim_end_matches('/')) } else { path.into_owned() }
        }
        Recorded::Unix(name) => format!("unix:{}", name.to_string_lossy()),
        Recorded::Net(to) if to.address.contains(':') => format!("[{}]:{}", to.address, to.port),
        Recorded::Net(to) => format!("{}:{}", to.address, to.port),
        Recorded::Program(program) => program.exe.to_string_lossy().into_owned(),
    }
}

fn is_left_out(learned: &Learned, act: &Act) -> bool {
    let what = name_of(act);
    let own = what.replacen("/proc/7", "/proc/self", 1);
    let is_it = |left: &LeftOut| left.action == act.action && (same(&left.what, &what) || left.what == own);
    learned.left_out.iter().any(is_it)
}

/// What is no path, and what belongs to processes, is told with its numbers left open.
fn same(left: &str, right: &str) -> bool {
    let plain = |text: &str| text.replace(|c: char| c.is_ascii_digit() || c == '*', "");
    let is_open = left.starts_with("/proc/") || !left.starts_with('/');
    left == right || (is_open && plain(left) == plain(right))
}

/// The text without the policies that are always there.
fn shown(learned: &Learned) -> &str {
    learned.text.split("// Files that would run code later").next().unwrap_or_default()
}

fn asked(action: Action, path: &str) -> Act {
    let made = Made {
        action,
        path: path.to_owned(),
        kind: 11,
        host: "",
        port: 0,
        flags: Vec::new(),
        denied: false,
        missing: false,
        listen: false,
        folded: false,
        count: None,
    };
    made.act("/")
}

fn check(home: &str, tmp: &str, acts: &[Act]) {
    let learned = learn(home, tmp, acts.iter());
    if acts.len().is_multiple_of(4) {
        assert_eq!(
            learned,
            learn(home, tmp, acts.iter().rev().chain(acts)),
            "the order and the number are nothing"
        );
    }
    let engine = engine(&learned, tmp);
    for act in acts {
        for existed in [false, true] {
            let would = would(&engine, act, existed);
            assert!(
                would == Decision::Allow || is_left_out(&learned, act),
                "{act:?}\n{:?}\n{}",
                learned.left_out,
                shown(&learned)
            );
        }
    }
    let folders = FOLDERS.iter().filter(|folder| !folder.starts_with("/tmp/own") && **folder != "/usr/lib");
    // No process has such files in its own folder.
    let folders = folders.filter(|folder| **folder != "/proc/7");
    let by_name = folders.zip(SECRET_NAMES.iter().cycle().skip(acts.len()));
    let by_name = by_name.map(|(folder, name)| format!("{folder}/{name}"));
    for path in by_name.chain(SECRET_PLACES.map(str::to_owned)) {
        let path = at_home(&path, home);
        assert!(secret(&path, Some(home)).is_some(), "{path}");
        for action in [Action::FileRead, Action::FileWrite] {
            let would = would(&engine, &asked(action, &path), true);
            assert_eq!(would, Decision::Deny, "{action} {path}\n{}", shown(&learned));
        }
    }
    for untouched in ["~/untouched/x", "~/.profile", "/usr/bin/x", "/untouched", "/var/lib/untouched"] {
        let path = at_home(untouched, home);
        if path.starts_with(&format!("{tmp}/")) {
            continue;
        }
        let would = would(&engine, &asked(Action::FileWrite, &path), false);
        assert_eq!(would, Decision::Deny, "{path}\n{}", shown(&learned));
    }
}

#[test]
fn what_is_learned_permits_what_was_done_and_no_secret() {
    let cases = CASES.parse().unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let cases = (
        prop::sample::select(&HOMES[..]),
        prop::sample::select(&TMPS[..]),
        prop::collection::vec(made(), 0..30),
    );
    runner
        .run(&cases, |(home, tmp, made)| {
            let acts: Vec<Act> = made.iter().map(|made| made.act(home)).collect();
            check(home, tmp, &acts);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_used_in_bulk_is_learned_within_bounds() {
    let of = |number: usize| {
        let folder = format!("/data/{}/x/{}", number % 40, number % 700);
        let names =
            [format!("{folder}/{number}"), format!("/home/me/{number:0200}"), format!("/proc/1/{number}")];
        names.map(|name| asked(Action::FileRead, &name))
    };
    let acts: Vec<Act> = (0..2_000).flat_map(of).collect();
    let learned = learn("/home/me", "/tmp/own", acts.iter());
    assert!(!learned.left_out.is_empty() && learned.text.len() < 400_000, "{}", learned.text.len());
    let engine = engine(&learned, "/tmp/own");
    for act in &acts {
        let name = name_of(act).replace("/proc/1/", "/proc/*/");
        let left_out = learned.left_out.iter().any(|left| left.what == name);
        assert_eq!(would(&engine, act, true) == Decision::Deny, left_out, "{name}");
    }
}
