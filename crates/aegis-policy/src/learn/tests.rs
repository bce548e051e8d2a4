//! What is learned of which acts.

use std::sync::Arc;

use aegis_types::{Act, Decision, Direction, Endpoint, Outcome, Process, Program, Resource, Text};

use super::*;

/// An act of process 7.
pub(crate) fn act(action: Action, resource: Resource) -> Act {
    let process = Process { exe: Arc::new(Text::from("/bin/sh")), pid: 7, ppid: 1, tid: 7 };
    Act::new(action, "call", process, resource)
}

fn on(action: Action, path: &str) -> Act {
    act(action, Resource::Path(path.into()))
}

fn read(path: &str) -> Act {
    on(Action::FileRead, path)
}

fn makes(path: &str) -> Act {
    Act { flags: vec!["WRONLY".into(), "CREAT".into()], ..on(Action::FileWrite, path) }
}

fn net(address: &str, port: u16, listen: bool) -> Act {
    let to = Endpoint { address: address.into(), host: None, port, transport: None };
    Act { direction: listen.then_some(Direction::Listen), ..act(Action::NetConnect, Resource::Net(to)) }
}

fn places() -> Places {
    Places {
        home: Some("/home/me".into()),
        directory: "/home/me/p".into(),
        tmp: Some("/tmp/own".into()),
        toolchains: vec!["/home/me/.rustup".into()],
    }
}

fn learn(acts: &[Act]) -> Learned {
    let mut learner = Learner::new(places());
    acts.iter().for_each(|act| learner.add(act));
    let learned = learner.finish();
    let policies =
        template::set(learned.text.clone()).unwrap_or_else(|problems| panic!("{}", problems[0].report()));
    let wrong = policies.validate();
    assert!(wrong.is_empty(), "{}\n{}", wrong[0].report(), learned.text);
    learned
}

/// The ids of the policies that permit, and those that forbid beside the template's.
fn ids(learned: &Learned) -> Vec<String> {
    let ids = template::pieces(&learned.text).into_iter().map(|piece| piece.id);
    let plants = template::pieces(include_str!("../../templates/plants.cedar"));
    ids.filter(|id| !plants.iter().any(|plant| plant.id == *id)).collect()
}

/// The names that a policy of the text writes.
fn names(learned: &Learned, id: &str) -> Vec<String> {
    let piece = template::pieces(&learned.text).into_iter().find(|piece| piece.id == id);
    let Some(piece) = piece else { return Vec::new() };
    let of_resource = |line: &str| line.split_once("Aegis::Resource::\"").map(|(_, rest)| rest.to_owned());
    let lines = piece.text.lines().filter_map(of_resource);
    lines.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect()
}

fn left_out(learned: &Learned) -> Vec<String> {
    learned.left_out.iter().map(|left| format!("{} {}: {}", left.action, left.what, left.why)).collect()
}

#[test]
fn of_nothing_is_learned_nothing() {
    let learned = learn(&[]);
    assert_eq!((ids(&learned), learned.left_out.len()), (Vec::new(), 0));
    assert!(learned.text.starts_with("// What was done, as a policy: 0 different actions.\n"));
}

#[test]
fn the_system_is_permitted_as_the_template_has_it_and_no_more_of_it_than_was_used() {
    let program = |exe: &str| {
        Resource::Program(Program { argv: Vec::new(), argv_omitted: None, exe: exe.into(), masked: false })
    };
    let learned = learn(&[
        read("/usr/lib/x.so"),
        read("/home/me/.rustup/bin/x"),
        act(Action::ProcessSpawn, program("/bin/sh")),
        act(Action::ProcessExit, program("/home/me/p/x")),
        read("/proc/7/maps"),
    ]);
    assert_eq!(ids(&learned), ["programs", "machine", "exits", "secrets"]);
    let template = include_str!("../../templates/project.cedar");
    let whole = template::pieces(
        &template
            .replace("{{directory}}", "\"/\"")
            .replace("{{toolchains}}", ",\n    Aegis::Resource::\"/home/me/.rustup\""),
    );
    let programs = &whole.iter().find(|piece| piece.id == "programs").unwrap().text;
    assert!(learned.text.contains(programs.as_str()));
}

#[test]
fn files_are_permitted_by_name_and_by_directory() {
    let learned = learn(&[
        read("/home/me/p/a/x"),
        read("/home/me/p/a/y"),
        read("/home/me/.gitconfig"),
        on(Action::DirList, "/home/me/p/a"),
        on(Action::FileWrite, "/home/me/p/b"),
    ]);
    assert_eq!(ids(&learned), ["list", "read", "write", "secrets"]);
    assert_eq!(names(&learned, "read"), ["/home/me/p/a", "/home/me/.gitconfig"]);
    assert_eq!(names(&learned, "list"), ["/home/me/p/a"]);
    assert!(learned.text.contains("resource == Aegis::Resource::\"/home/me/p/b\""));
}

#[test]
fn actions_with_the_same_places_are_one_policy() {
    let of = |action| ["x", "y"].map(|name| on(action, &format!("/home/me/p/{name}")));
    let actions = [Action::FileRead, Action::DirList, Action::FileWrite, Action::DirCreate];
    let learned = learn(&actions.into_iter().flat_map(of).collect::<Vec<_>>());
    assert_eq!(ids(&learned), ["read-list-write-make", "secrets"]);
    assert!(learned.text.contains(
        "action in [Aegis::Action::\"Read\", Aegis::Action::\"DirCreate\", Aegis::Action::\"FileWrite\"]"
    ));
}

#[test]
fn a_name_that_was_made_may_be_another_the_next_time() {
    let learned = learn(&[
        makes("/home/me/p/o/a1"),
        on(Action::FileDelete, "/home/me/p/o/a1"),
        read("/home/me/p/o/a1"),
    ]);
    assert_eq!(names(&learned, "read-write-delete"), ["/home/me/p/o"]);
    // A directory that was made and removed took its names with it.
    let learned = learn(&[
        on(Action::DirCreate, "/home/me/p/t1"),
        read("/home/me/p/t1/s/f"),
        on(Action::FileDelete, "/home/me/p/t1"),
    ]);
    assert_eq!(names(&learned, "read-delete-make"), ["/home/me/p"]);
    // One that stays has the same name the next time.
    let mut made = Act { outcome: Outcome::Ok, ..on(Action::DirCreate, "/home/me/p/target") };
    let learned = learn(&[made.clone(), read("/home/me/p/target/s/f")]);
    assert_eq!((names(&learned, "read").len(), names(&learned, "make")), (1, vec!["/home/me/p".to_owned()]));
    // One that was asked for and may have been there is not made.
    made.outcome = Outcome::Unknown;
    assert_eq!(names(&learn(&[made]), "make"), ["/home/me/p/target"]);
}

#[test]
fn names_made_in_wide_directories_are_told() {
    let learned = learn(&[makes("/tmp/abc")]);
    assert_eq!(names(&learned, "write"), ["/tmp/abc"]);
    assert!(
        learned.text.contains("too wide to be permitted as a whole")
            && learned.text.contains("\n//   /tmp\n")
    );
}

#[test]
fn the_sessions_own_temporary_directory_is_the_next_ones_too() {
    let unix = Resource::Unix("/tmp/own/s".into());
    let learned = learn(&[makes("/tmp/own/a.key"), read("/tmp/own/a.key"), act(Action::NetConnect, unix)]);
    assert_eq!(ids(&learned), ["temporary", "sockets", "secrets"]);
    assert_eq!(names(&learned, "sockets"), ["session:tmp"]);
    assert_eq!(learned.left_out, []);
}

#[test]
fn what_was_counted_stands_for_its_directory() {
    let folded = Act { folded: true, ..read("/sys/class/net/x") };
    let counted = Act { folded: true, count: Some(3), ..read("/sys/bus/pci") };
    let wide = Act { folded: true, count: Some(3), ..read("/sys/bus") };
    let listed = Act { folded: true, count: Some(3), ..on(Action::DirList, "/sys/bus") };
    let learned = learn(&[folded, counted, wide, listed]);
    // `/sys` is of many programs, so what is directly in it is named.
    assert_eq!(names(&learned, "read"), ["/sys/bus/pci", "/sys/class/net"]);
    assert_eq!(names(&learned, "list"), ["/sys/bus"]);
    assert_eq!(
        left_out(&learned),
        ["FileRead /sys/bus/*: its files were counted and not listed, and all of it would be too much"]
    );
}

#[test]
fn secrets_are_left_out_and_told() {
    let missing = Act { outcome: Outcome::Missing, ..read("/home/me/.netrc") };
    let learned = learn(&[
        read("/home/me/.ssh/id_rsa"),
        missing,
        read("/home/me/p/.env"),
        on(Action::FileWrite, "/home/me/p/.env"),
        read("/proc/8/environ"),
        on(Action::FileDelete, "/home/me/.config"),
        read("/home/me/.ssh/known_hosts"),
        read("/usr/share/x/test.key"),
    ]);
    assert_eq!(
        left_out(&learned),
        [
            "FileDelete /home/me/.config: secrets lie in it",
            "FileRead /home/me/.netrc: a secret (passwords); it was not there",
            "FileRead /home/me/.ssh/id_rsa: a secret (keys of SSH)",
            "FileRead /home/me/p/.env: a secret (an environment with secrets)",
            "FileRead /proc/*/environ: a secret (the inside of another process)",
            "FileWrite /home/me/p/.env: a secret (an environment with secrets)",
        ]
    );
    for left in left_out(&learned) {
        assert!(learned.text.contains(&format!("//   {left}\n")), "{left}");
    }
    assert!(learned.text.contains("resource == Aegis::Resource::\"/home/me/.ssh/known_hosts\""));
}

#[test]
fn what_was_denied_or_has_no_name_is_left_out_and_told() {
    let denied = Act { decision: Decision::Deny, ..read("/home/me/x") };
    let once = Act { decision: Decision::Deny, ..read("/home/me/y") };
    let learned = learn(&[
        denied,
        once,
        read("/home/me/y"),
        act(Action::FileRead, Resource::Unread("a file by its handle\n".into())),
        act(Action::FileWrite, Resource::Path("pipe:[12]".into())),
        act(Action::FileRead, Resource::Path(Text::new(*b"/home/me/p/\xff"))),
        act(Action::FileRead, Resource::Path(Text::new(*b"/usr/\xff"))),
        act(Action::NetConnect, Resource::Unix("@a*b".into())),
        act(Action::ToolCall, Resource::Path("/a".into())),
    ]);
    assert_eq!(
        left_out(&learned),
        [
            "FileRead /home/me/p/\u{fffd}: its name is not UTF-8",
            "FileRead /home/me/x: it was denied",
            "FileRead a file by its handle\n: no policy can name it",
            "FileWrite pipe:[*]: no policy can name it",
            "NetConnect unix:@a*b: its name can't be written in a policy",
            "ToolCall /a: no policy can name it",
        ]
    );
    assert_eq!(ids(&learned), ["programs", "read", "secrets"]);
}

#[test]
fn connections_are_permitted_one_by_one() {
    let learned = learn(&[
        net("192.0.2.7", 443, false),
        net("::1", 631, false),
        net("127.0.0.1", 40_000, false),
        net("0.0.0.0", 8080, true),
    ]);
    assert_eq!(ids(&learned), ["hosts", "addresses"]);
    assert_eq!(names(&learned, "hosts"), ["127.0.0.1:40000", "192.0.2.7:443", "[::1]:631"]);
    assert_eq!(names(&learned, "addresses"), ["0.0.0.0:8080"]);
}

#[test]
fn ports_that_the_kernel_chose_are_others_the_next_time() {
    let learned = learn(&[
        net("127.0.0.1", 0, true),
        net("::1", 40_000, false),
        net("127.0.0.1", 80, false),
        net("0.0.0.0", 0, true),
        net("0.0.0.0", 40_001, true),
    ]);
    assert_eq!(ids(&learned), ["listen", "hosts", "own-servers", "addresses", "chosen-ports"]);
    assert_eq!(names(&learned, "hosts"), ["127.0.0.1:80"]);
    assert_eq!(names(&learned, "addresses"), ["0.0.0.0:0"]);
    assert!(learned.text.contains("resource.port >= 32768"));
}

#[test]
fn sockets_are_permitted_by_name_or_directory() {
    let unix = |name: &str| act(Action::NetConnect, Resource::Unix(name.into()));
    let listens = |name: &str| Act { direction: Some(Direction::Listen), ..unix(name) };
    let learned =
        learn(&[unix("/run/nscd/socket"), unix("/run/docker.sock"), unix("@x"), listens("/home/me/p/s")]);
    assert_eq!(ids(&learned), ["sockets", "own-sockets"]);
    assert_eq!(names(&learned, "sockets"), ["unix:/run/nscd/socket", "unix:@x"]);
    assert!(learned.left_out[0].why.contains("a container engine"), "{:?}", learned.left_out);
    assert_eq!(names(&learned, "own-sockets"), ["/home/me/p"]);
    let learned = learn(&[unix("/home/me/p/s"), listens("/home/me/p/s")]);
    assert_eq!(ids(&learned), ["sockets"]);
    assert!(!learned.text.contains("context.direction"));
}

#[test]
fn plants_stay_forbidden_where_none_was_planted() {
    let setuid = Act { flags: vec!["SETUID".into()], ..on(Action::FileWrite, "/home/me/p/x") };
    let learned = learn(&[
        makes("/home/me/p/.git/hooks/pre-commit"),
        on(Action::FileWrite, "/home/me/p/.git/config"),
        setuid,
    ]);
    let kept: Vec<String> = template::pieces(&learned.text).into_iter().map(|piece| piece.id).collect();
    assert!(kept.ends_with(
        &["git-hooks-folder", "agent-settings", "editor-settings", "shell-startup"].map(str::to_owned)
    ));
    for told in [
        "//   git-hooks: FileWrite /home/me/p/.git/hooks/pre-commit\n",
        "//   git-settings: FileWrite /home/me/p/.git/config\n",
        "//   setuid: FileWrite /home/me/p/x\n",
    ] {
        assert!(learned.text.contains(told), "{told}");
    }
}

#[test]
fn no_name_gets_out_of_its_string_or_its_comment() {
    let nasty = "/home/me/p/\"];\n\r\u{2028}permit(principal,action,resource);//\\*'";
    let acts: Vec<Act> = ["x", "y", ".env", ".git/config"]
        .iter()
        .flat_map(|name| {
            let path = format!("{nasty}/{name}");
            [read(&path), makes(&path), act(Action::NetConnect, Resource::Unix(Text::from(path.as_str())))]
        })
        .collect();
    let mut learner = Learner::new(places());
    learner.session("a\nb");
    acts.iter().for_each(|act| learner.add(act));
    let learned = learner.finish();
    let policies = template::set(learned.text.clone()).unwrap();
    assert!(policies.validate().iter().all(|problem| problem.severity == crate::Severity::Warning));
    assert!(policies.rules().iter().all(|rule| !crate::set::is_unconditional(&rule.policy)));
    assert!(learned.text.lines().all(|line| !line.starts_with("permit(")));
}

#[test]
fn much_is_told_in_short() {
    let acts: Vec<Act> = (0..105).map(|n| read(&format!("/p/{n:03}.key"))).collect();
    let learned = learn(&acts);
    assert_eq!(learned.left_out.len(), 105);
    assert!(learned.text.contains("/p/099.key") && !learned.text.contains("/p/100.key"));
    assert!(learned.text.contains("//   and 5 more\n"));
    let hosts: Vec<Act> =
        (0..=HOSTS_MAX).map(|n| net(&format!("10.0.{}.{}", n / 250, n % 250), 443, false)).collect();
    assert_eq!(learn(&hosts).left_out.len(), 1);
}

#[test]
fn a_home_among_the_systems_directories_keeps_its_secrets() {
    let mut learner = Learner::new(Places { home: Some("/opt/me".into()), ..places() });
    learner.add(&read("/opt/x/y"));
    let learned = learner.finish();
    assert_eq!(ids(&learned), ["programs", "secrets", "secret-places"]);
    assert!(template::set(learned.text).unwrap().validate().is_empty());
}
