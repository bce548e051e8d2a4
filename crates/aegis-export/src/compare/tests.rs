use super::*;

use aegis_types::{Direction, Endpoint, ExitStatus, Gap, GapReason, Process, Program};
use aegis_types::{Refusal, SessionEnd, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

fn act(action: Action, resource: Resource) -> Act {
    Act::new(action, "x", process(7), resource)
}

fn process(pid: u32) -> Process {
    Process { exe: Text::from("/bin/sh").into(), pid, ppid: 1, tid: pid }
}

fn path(path: &str) -> Resource {
    Resource::Path(path.into())
}

fn read(name: &str) -> Act {
    act(Action::FileRead, path(name))
}

fn event(what: What) -> Event {
    Event { at: Timestamp::default(), mono_us: 0, what }
}

fn compared(a: &[Event], b: &[Event]) -> Difference {
    let mut comparison = Comparison::default();
    a.iter().for_each(|event| comparison.add(Side::A, event));
    b.iter().for_each(|event| comparison.add(Side::B, event));
    comparison.finish()
}

fn acts(a: Vec<Act>, b: Vec<Act>) -> Difference {
    let events = |acts: Vec<Act>| -> Vec<Event> {
        acts.into_iter().map(|act| event(What::Action(Box::new(act)))).collect()
    };
    compared(&events(a), &events(b))
}

fn text(difference: &Difference) -> String {
    let mut out = Vec::new();
    difference.write_text(&mut out, None).unwrap();
    String::from_utf8(out).unwrap()
}

fn as_json(difference: &Difference) -> Value {
    let mut out = Vec::new();
    difference.write_json(&mut out, &Pair { a: json!({}), b: json!({}) }).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn what_only_one_did_is_told_by_kind() {
    let program = |argv: &[&str]| {
        let argv = argv.iter().map(|argument| Text::from(*argument)).collect();
        Resource::Program(Program { argv, argv_omitted: None, exe: "/bin/git".into(), masked: false })
    };
    let net = Resource::Net(Endpoint {
        address: "::1".into(),
        host: None,
        port: 80,
        transport: Some("tcp".into()),
    });
    let mut listens = act(Action::NetConnect, Resource::Unix("@a\0b".into()));
    listens.direction = Some(Direction::Listen);
    let mut missing = read("/missing");
    missing.outcome = Outcome::Missing;
    let mut late = read("/late");
    late.outcome = Outcome::Missing;
    let difference = acts(
        vec![
            act(Action::NetConnect, net),
            act(Action::ProcessSpawn, program(&["git", "add", "a\x1b"])),
            act(Action::ProcessExit, program(&[])),
            missing,
            read("/late"),
            read("/both"),
        ],
        vec![act(Action::FileWrite, path("/w\n")), listens, late, read("/both")],
    );
    let expected = "
ONLY IN A
  NetConnect    [::1]:80/tcp
  ProcessSpawn  /bin/git  [git add a\\u{1b}]
  FileRead      /late  (was not there in B)
  FileRead      /missing  (was not there)

ONLY IN B
  NetConnect    listen unix:@a\\u{0}b
  FileWrite     /w\\n
";
    assert_eq!(text(&difference), expected);
    assert!(!difference.is_same());
    let value = as_json(&difference);
    assert_eq!(value["same"], false);
    assert_eq!(
        value["only_a"],
        json!([
            {"kind": "action", "action": "NetConnect",
             "resource": {"host": "::1", "address": "::1", "port": 80, "transport": "tcp"}},
            {"kind": "action", "action": "ProcessSpawn", "resource": {"exe": "/bin/git"},
             "commands": [["git", "add", "a\u{1b}"]]},
            {"kind": "action", "action": "FileRead", "resource": {"path": "/late"}, "missing_in_other": true},
            {"kind": "action", "action": "FileRead", "resource": {"path": "/missing"}, "missing": true},
        ])
    );
    assert_eq!(
        value["only_b"],
        json!([
            {"kind": "action", "action": "NetConnect", "direction": "listen", "resource": {"unix": "@a\0b"}},
            {"kind": "action", "action": "FileWrite", "resource": {"path": "/w\n"}},
        ])
    );
}

#[test]
fn lists_are_cut_where_that_is_asked_for() {
    let difference = acts((0..10).map(|n| read(&format!("/{n}"))).collect(), vec![]);
    let mut out = Vec::new();
    difference.write_text(&mut out, Some(3)).unwrap();
    let cut = String::from_utf8(out).unwrap();
    assert!(cut.ends_with("  FileRead      /2\n  and 7 more (--all lists them)\n"), "{cut}");
    assert_eq!(as_json(&difference)["only_a"].as_array().unwrap().len(), 10);
}

#[test]
fn ends_gaps_and_refusals_are_facts() {
    let end = |exit, failure: Option<&str>| {
        event(What::SessionEnd(Box::new(SessionEnd {
            counts: BTreeMap::default(),
            duration_us: 1,
            exit,
            failure: failure.map(str::to_owned),
            gaps: 0,
        })))
    };
    let gap = |pid, detail: &str| {
        let process = Some(process(pid));
        event(What::Gap(Gap { detail: detail.to_owned(), process, reason: GapReason::LeftTree }))
    };
    let refusal = event(What::Refusal(Refusal {
        call: "execve".into(),
        detail: "no set-uid".into(),
        process: process(3),
    }));
    let difference = compared(
        &[
            end(Some(ExitStatus::Code(0)), None),
            gap(1, "ptrace reaches into process 11 (x)"),
            gap(1, "docker is asked"),
        ],
        &[
            end(Some(ExitStatus::Signal(9)), Some("lost")),
            gap(2, "ptrace reaches into process 222 (x)"),
            refusal,
        ],
    );
    let expected = "
ONLY IN A
  End           exit 0
  Gap           /bin/sh: docker is asked (left_tree)

ONLY IN B
  End           signal 9; lost
  Refusal       /bin/sh: execve: no set-uid
";
    assert_eq!(text(&difference), expected);
    let running = compared(&[end(None, None)], &[]);
    assert_eq!(as_json(&running)["only_b"], json!([{"kind": "session_end", "ended": false}]));
}

#[test]
fn process_ids_are_no_difference() {
    let by = |pid: u32, name: &str| Act { process: process(pid), ..read(name) };
    let same = acts(
        vec![by(7, "/proc/7/maps"), by(7, "/proc/8/task/9/stat"), by(7, "/proc/meminfo")],
        vec![by(17, "/proc/17/maps"), by(17, "/proc/18/task/19/stat"), by(17, "/proc/meminfo")],
    );
    assert!(same.is_same(), "{}", text(&same));
    // To look at oneself, at others, and at the first process are three things.
    let other =
        acts(vec![by(7, "/proc/7/environ")], vec![by(7, "/proc/8/environ"), by(7, "/proc/1/environ")]);
    let expected = "
ONLY IN A
  FileRead      /proc/[self]/environ

ONLY IN B
  FileRead      /proc/[pid]/environ
  FileRead      /proc/1/environ
";
    assert_eq!(text(&other), expected);
    let unread = |text: &str| act(Action::FileRead, Resource::Unread(text.into()));
    let same = acts(vec![unread("/proc/8 (gone)")], vec![unread("/proc/9 (gone)")]);
    assert!(same.is_same(), "{}", text(&same));
    let same = acts(vec![read("pipe:[12]"), read("socket:[1]")], vec![read("socket:[2]"), read("pipe:[34]")]);
    assert!(same.is_same(), "{}", text(&same));
    // A name that only looks like a unified one.
    assert!(!acts(vec![by(7, "/proc/7/maps")], vec![by(7, "/proc/[self]/maps")]).is_same());
}

/// Opens as `mkstemp` does.
fn mkstemp(name: &str) -> Act {
    Act { flags: ["RDWR", "CREAT", "EXCL"].map(Into::into).to_vec(), ..act(Action::FileWrite, path(name)) }
}

fn mkdir(name: &str) -> Act {
    act(Action::DirCreate, path(name))
}

#[test]
fn temporary_names_are_one_where_the_session_made_them() {
    for (a, b) in [
        ("/tmp/ccAbCdEf.s", "/tmp/ccfedcba.s"),
        ("/tmp/tmpab_d3fgh", "/tmp/tmpdatabase"),
        ("/tmp/ab_d3fgh", "/tmp/database"),
        ("/tmp/sort1a34B6", "/tmp/sortABCDEF"),
        ("/tmp/ccAbCdEf.cdtor.c", "/tmp/ccFeDcBa.cdtor.c"),
        ("/g/.git/objects/4c/tmp_obj_AbCdEf", "/g/.git/objects/4c/tmp_obj_FeDcBa"),
        ("/dev/shm/x.AbCd12", "/dev/shm/x.zzzzzz"),
        ("/home/u/tmp/tmp.abcdefghij", "/home/u/tmp/tmp.0123456789"),
    ] {
        let used = |name: &str| vec![mkstemp(name), read(name), act(Action::FileDelete, path(name))];
        let difference = acts(used(a), used(b));
        assert!(difference.is_same(), "{a} {b}: {}", text(&difference));
        assert_eq!(difference.temporary_names.len(), 1);
        // A name that the session did not make is somebody's.
        assert!(!acts(used(a), vec![read(b)]).is_same(), "{b}");
    }
    for (a, b) in [
        ("/tmp/tmpabcd1234", "/tmp/tmp_zzzzzz9"),
        ("/tmp/build-Ab12Cd", "/tmp/build-abcdef"),
        ("/tmp/pip-install-a1b2c3d4", "/tmp/pip-install-abcdefgh"),
        ("/tmp/go-build123456789", "/tmp/go-build9876543210"),
        ("/tmp/.tmpAbCdEf", "/tmp/.tmpabcdef"),
    ] {
        let used = |name: &str| vec![mkdir(name), act(Action::FileWrite, path(&format!("{name}/in/f")))];
        let difference = acts(used(a), used(b));
        assert!(difference.is_same(), "{a} {b}: {}", text(&difference));
    }
    // What was made and removed was temporary, whatever it looks like.
    let gone = |name: &str| vec![mkdir(name), act(Action::FileDelete, path(name))];
    assert!(acts(gone("/tmp/x-database"), gone("/tmp/x-projects")).is_same());
    assert!(!acts(gone("/tmp/database"), gone("/tmp/projects")).is_same());
    let shown = text(&acts(vec![mkstemp("/tmp/ccAbCdEf.s")], vec![]));
    assert!(shown.contains("  FileWrite     /tmp/cc[temp].s\n"), "{shown}");
}

#[test]
fn names_that_may_mean_something_stay() {
    for (a, b) in [
        ("/tmp/report", "/tmp/result"),
        ("/tmp/Report", "/tmp/Result"),
        ("/tmp/database", "/tmp/projects"),
        ("/tmp/my-report", "/tmp/my-result"),
        ("/tmp/output1", "/tmp/output2"),
        ("/tmp/my-out001", "/tmp/my-out002"),
        ("/tmp/x-20240131", "/tmp/x-20240201"),
        ("/tmp/x-2024Q1", "/tmp/x-2024Q2"),
        ("/tmp/a-my_files", "/tmp/a-my_other"),
        ("/home/u/build-Ab12Cd", "/home/u/build-Xy34Zt"),
        ("/tmp/a/build-Ab12Cd", "/tmp/a/build-Xy34Zt"),
    ] {
        assert!(!acts(vec![mkdir(a)], vec![mkdir(b)]).is_same(), "{a} {b}");
    }
    // Another beginning, another end, another place.
    for (a, b) in [
        ("/tmp/ccAbCdEf.s", "/tmp/cdAbCdEf.s"),
        ("/tmp/ccAbCdEf.s", "/tmp/ccAbCdEf.o"),
        ("/tmp/xAbCdEf", "/var/tmp/xAbCdEf"),
        ("/home/u/xAbCdEf", "/home/u/xFeDcBa"),
        ("/tmp/config.lock", "/tmp/master.lock"),
    ] {
        assert!(!acts(vec![mkstemp(a)], vec![mkstemp(b)]).is_same(), "{a} {b}");
    }
    assert!(!acts(vec![mkstemp("/tmp/ccAbCdEf.s")], vec![read("/tmp/cc[temp].s")]).is_same());
}

#[test]
fn ports_that_the_kernel_chose_are_no_difference() {
    let net = |address: &str, port| {
        act(
            Action::NetConnect,
            Resource::Net(Endpoint { address: address.into(), host: None, port, transport: None }),
        )
    };
    let listen = |address: &str, port| Act { direction: Some(Direction::Listen), ..net(address, port) };
    let served = |port| vec![listen("0.0.0.0", 0), listen("0.0.0.0", port), net("127.0.0.1", port)];
    let same = acts(served(40_001), served(50_002));
    assert!(same.is_same(), "{}", text(&same));
    // A port that was asked for, that is nobody's own here, or that is elsewhere.
    assert!(!acts(vec![listen("0.0.0.0", 40_001)], vec![listen("0.0.0.0", 40_002)]).is_same());
    assert!(!acts(vec![net("127.0.0.1", 40_001)], vec![net("127.0.0.1", 40_002)]).is_same());
    let elsewhere = |port| [served(port), vec![net("10.0.0.1", port)]].concat();
    assert!(!acts(elsewhere(40_001), elsewhere(40_002)).is_same());
}

fn folded(name: &str, count: Option<u64>) -> Act {
    Act { folded: true, count, ..read(name) }
}

#[test]
fn folded_reads_are_compared_by_directory() {
    let same = acts(
        vec![folded("/usr/lib/a", None), folded("/usr/lib", Some(3))],
        vec![Act { outcome: Outcome::Missing, ..folded("/usr/lib/b", None) }],
    );
    assert!(same.is_same(), "{}", text(&same));
    // One session was verbose.
    let verbose = acts(vec![read("/usr/lib/a"), read("/usr/lib/b")], vec![folded("/usr/lib/c", None)]);
    assert!(verbose.is_same(), "{}", text(&verbose));
    let other = acts(vec![folded("/usr/lib/a", None)], vec![folded("/usr/share/a", None)]);
    assert_eq!(as_json(&other)["only_a"][0]["resource"], json!({"path": "/usr/lib"}));
    // The system's own files of /etc are not all of them.
    let etc = acts(vec![folded("/etc/localtime", None)], vec![read("/etc/shadow")]);
    assert_eq!(text(&etc).matches("FileRead").count(), 2, "{}", text(&etc));
}

fn decided(name: &str, would: Decision, policies: &[&str]) -> Act {
    let policies = policies.iter().map(|id| Arc::from(*id)).collect();
    Act { would: Some(would), policies, ..read(name) }
}

#[test]
fn decisions_that_flipped_are_told_with_their_policies() {
    let difference = acts(
        vec![
            decided("/f", Decision::Allow, &["base.cedar#0"]),
            decided("/once", Decision::Deny, &[]),
            decided("/other-policy", Decision::Allow, &["p"]),
            decided("/mixed", Decision::Allow, &["p"]),
            decided("/mixed", Decision::Deny, &["q"]),
        ],
        vec![
            decided("/f", Decision::Deny, &["lock.cedar#1"]),
            decided("/f", Decision::Deny, &["lock\x1b#2"]),
            read("/once"),
            decided("/other-policy", Decision::Allow, &["q"]),
            Act { would: None, decision: Decision::Deny, ..decided("/mixed", Decision::Deny, &[]) },
        ],
    );
    let expected = "
DECIDED OTHERWISE
  FileRead      /f  allow -> deny  (A: allow by base.cedar#0; B: deny by lock\\u{1b}#2, lock.cedar#1)
  FileRead      /mixed  allow and deny -> deny  (A: allow by p and deny by q; B: deny by no policy)
";
    assert_eq!(text(&difference), expected);
    assert_eq!(
        as_json(&difference)["decided_otherwise"][0],
        json!({"kind": "action", "action": "FileRead", "resource": {"path": "/f"},
               "a": {"allow": ["base.cedar#0"]}, "b": {"deny": ["lock\u{1b}#2", "lock.cedar#1"]}})
    );
    assert!(!difference.is_same());
    // Which file of a directory was decided on is chance, unless all decisions there are others.
    let fold = |would, name: &str| Act { would: Some(would), ..folded(name, None) };
    let mixed = vec![fold(Decision::Allow, "/usr/a"), fold(Decision::Deny, "/usr/b")];
    assert!(acts(mixed, vec![fold(Decision::Allow, "/usr/a")]).is_same());
    assert!(!acts(vec![fold(Decision::Deny, "/usr/a")], vec![fold(Decision::Allow, "/usr/b")]).is_same());
}

#[test]
fn changes_from_other_contents_are_told_and_do_not_count() {
    let changed = |name: &str, content: &str| Act {
        pre: Some(PreImage { kept: true, sha256: Some(content.repeat(64)), size: 3 }),
        ..act(Action::FileWrite, path(name))
    };
    let difference = acts(
        vec![changed("/f", "a"), changed("/same", "c"), changed("/one", "a")],
        vec![changed("/f", "b"), changed("/same", "c"), act(Action::FileWrite, path("/one"))],
    );
    assert!(difference.is_same());
    let shown = text(&difference);
    assert!(shown.contains("no difference"), "{shown}");
    assert!(
        shown.contains("  /f  (before A: 3 bytes, aaaaaaaaaaaa; before B: 3 bytes, bbbbbbbbbbbb)\n"),
        "{shown}"
    );
    assert_eq!(as_json(&difference)["former_contents"].as_array().unwrap().len(), 1);
}

const NAMES: [&str; 16] = [
    "/f",
    "/w/a",
    "/proc/7/maps",
    "/proc/8/maps",
    "/proc/8/task/8",
    "/tmp/tmpabcdefgh",
    "/tmp/tmphgfedcba/x",
    "/tmp/tmphgfedcba",
    "/tmp/ccAbCdEf.s",
    "/tmp/ccabcdef.s",
    "/tmp/x-Ab12Cd",
    "/tmp/x-result",
    "/usr/lib/a",
    "/usr/lib/b",
    "/usr/lib",
    "/etc/localtime",
];

fn some_event() -> impl Strategy<Value = Event> {
    let flags = prop_oneof![
        Just(vec![]),
        Just(vec!["RDWR".into(), "CREAT".into(), "EXCL".into()]),
        Just(vec!["CREAT".into(), "EXCL".into()]),
    ];
    let ids = proptest::collection::vec(prop_oneof![Just("p"), Just("q"), Just("r")], 0..3);
    let one = |all: &'static [Decision]| proptest::sample::select(all);
    let who = (7..9u32, 0..4u64, any::<bool>(), proptest::option::of(1..3u64));
    let what = (proptest::sample::select(Action::ALL), proptest::sample::select(&NAMES[..]), 0..5u8);
    let pre = proptest::option::of((0..3u64, any::<bool>()));
    let decided = (one(Decision::ALL), proptest::option::of(one(Decision::ALL)), ids);
    let outcome = proptest::sample::select(
        ["ok", "missing", "unknown", "EACCES"].map(|w| Outcome::from_word(w).unwrap()).to_vec(),
    );
    (who, what, flags, decided, pre, outcome).prop_map(|(who, what, flags, decided, pre, outcome)| {
        let ((pid, mono_us, folded, count), (action, name, form)) = (who, what);
        let argv = (0..mono_us).map(|n| Text::from(n.to_string().as_str())).collect();
        let program = Program { argv, argv_omitted: None, exe: name.into(), masked: false };
        let resource = match form {
            0 => Resource::Program(program),
            1 => Resource::Unix(name.into()),
            _ => path(name),
        };
        let (decision, would, ids) = decided;
        let act = Act {
            flags,
            folded,
            count: count.filter(|_| folded),
            outcome,
            decision,
            would,
            policies: ids.into_iter().map(Arc::from).collect(),
            pre: pre.map(|(size, kept)| PreImage { kept, sha256: None, size }),
            process: process(pid),
            direction: (form == 2).then_some(Direction::Listen),
            ..act(action, resource)
        };
        let gap = Gap { detail: name.to_owned(), process: None, reason: GapReason::Limit };
        let what = match form {
            3 if folded => What::Gap(gap),
            _ => What::Action(Box::new(act)),
        };
        Event { mono_us, ..event(what) }
    })
}

fn some_session() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(some_event(), 0..40)
}

fn swapped(difference: Difference) -> Difference {
    let decided_otherwise = difference.decided_otherwise.into_iter();
    let former_contents = difference.former_contents.into_iter();
    Difference {
        only: Pair { a: difference.only.b, b: difference.only.a },
        decided_otherwise: decided_otherwise
            .map(|flip| Flip { decided: Pair { a: flip.decided.b, b: flip.decided.a }, ..flip })
            .collect(),
        former_contents: former_contents
            .map(|contents| Contents { pre: Pair { a: contents.pre.b, b: contents.pre.a }, ..contents })
            .collect(),
        ..difference
    }
}

proptest! {
    #[test]
    fn order_and_repetition_make_no_difference(
        (events, others) in some_session().prop_flat_map(|events| {
            let times = proptest::collection::vec(1..4usize, events.len());
            let repeated = (Just(events.clone()), times).prop_map(|(events, times)| {
                let many = events.into_iter().zip(times);
                many.flat_map(|(event, times)| std::iter::repeat_n(event, times)).collect::<Vec<_>>()
            });
            (Just(events), repeated.prop_shuffle())
        }),
        third in some_session(),
    ) {
        let difference = compared(&events, &others);
        prop_assert!(difference.is_same(), "{}", text(&difference));
        prop_assert!(difference.former_contents.is_empty());
        prop_assert_eq!(compared(&events, &third), compared(&others, &third));
    }

    #[test]
    fn the_difference_turned_round_is_that_of_the_sessions_turned_round(
        a in some_session(),
        b in some_session(),
    ) {
        let difference = compared(&a, &b);
        prop_assert_eq!(&compared(&b, &a), &swapped(difference.clone()));
        prop_assert!(!text(&difference).replace('\n', "").chars().any(char::is_control));
        let value = as_json(&difference);
        prop_assert_eq!(value["only_a"].as_array().unwrap().len(), difference.only.a.len());
        prop_assert_eq!(&value["same"], &json!(difference.is_same()));
    }
}
