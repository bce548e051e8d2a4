//! Two sessions compared: the same where the command is the same, and what differs where it is not.

use serde_json::Value;

use crate::support::{Who, World, everybody, text};

/// Wraps a command and returns the id of its session.
fn session(world: &World, name: &str, command: &[&str]) -> String {
    let output = world.wrap(name, command);
    assert!(output.status.code().is_some_and(|code| code < 125), "{}", text(&output));
    let sessions = world.stdout(&["audit", "sessions", name, "--json"]);
    let sessions: Vec<Value> = serde_json::from_str(&sessions).unwrap();
    sessions.last().unwrap()["id"].as_str().unwrap().to_owned()
}

/// Runs `aegis diff`; returns its exit code, what it printed, and what it said of trouble.
fn diff(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let output = world.aegis(&["diff"]).args(arguments).output().unwrap();
    let code = output.status.code().unwrap();
    (code, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Wraps a command several times and expects that it was the same each time.
fn always_the_same(world: &World, name: &str, command: &[&str]) {
    // The first run may find less: caches that it fills itself.
    session(world, name, command);
    let first = session(world, name, command);
    for _ in 0..5 {
        let other = session(world, name, command);
        let (code, out, err) = diff(world, &[&first, &other, "--all"]);
        assert_eq!(code, 0, "{command:?}: {out}{err}");
        assert!(out.contains("no difference"), "{out}");
    }
}

#[test]
fn the_same_command_is_the_same_each_time() {
    for who in everybody() {
        let world = World::new(who);
        let script = "cat /proc/self/status /proc/1/stat > seen; ls / > /dev/null; mkdir -p d; \
            t=$(mktemp); echo x > $t; sort $t > sorted; rm $t; (cat sorted | wc -l) & wait; cat missing; exit 3";
        always_the_same(&world, "sh", &["sh", "-c", script]);
    }
}

#[test]
fn a_port_that_the_kernel_chose_and_a_pipe_are_no_difference() {
    let world = World::new(Who::Me);
    let script = "
import os, socket
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); socket.create_connection(s.getsockname())
r, w = os.pipe(); open('/proc/self/fd/%d' % r)
";
    always_the_same(&world, "python", &["python3", "-c", script]);
}

#[test]
fn git_status_is_the_same_each_time() {
    let world = World::new(Who::Me);
    let made = world.command("git").args(["init", "-q"]).status().unwrap();
    assert!(made.success());
    std::fs::write(world.work().join("f"), "x").unwrap();
    always_the_same(&world, "git", &["git", "status"]);
}

#[test]
fn temporary_names_of_python_are_no_difference() {
    let world = World::new(Who::Me);
    let script = "
import tempfile, os
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(prefix='pip-x-') as other:
    open(os.path.join(folder, 'f'), 'w').write('x')
    open(os.path.join(other, 'f'), 'w').write('x')
with tempfile.NamedTemporaryFile(suffix='.txt') as file:
    file.write(b'x')
open('done', 'w').write('x')
";
    std::fs::write(world.work().join("script.py"), script).unwrap();
    always_the_same(&world, "python", &["python3", "script.py"]);
    let id = session(&world, "python", &["python3", "script.py"]);
    let (_, out, _) = diff(&world, &[&id, &id]);
    for name in ["/tmp/tmp[temp]\n", "/tmp/pip-x-[temp]\n", "/tmp/tmp[temp].txt\n"] {
        assert!(out.contains(name), "{name}: {out}");
    }
}

#[test]
fn different_commands_differ_in_what_they_did() {
    let world = World::new(Who::Me);
    std::fs::write(world.work().join("f"), "one").unwrap();
    std::fs::write(world.work().join("gone"), "x").unwrap();
    let listen = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 48_711)); s.listen()";
    let a = session(&world, "a", &["sh", "-c", "cat f; echo two > f; rm gone; exit 1"]);
    let script = format!("mkdir 'd\u{1b}'; echo three > f; python3 -c \"{listen}\"");
    let b = session(&world, "b", &["sh", "-c", &script]);
    let work = world.work();
    let on = |action: &str, name: &str| format!("  {action:<12}  {}/{name}\n", work.display());
    let (code, out, err) = diff(&world, &[&a, &b, "--all"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let (only_a, only_b) = out.split_once("\nONLY IN B\n").unwrap();
    for part in ["End           exit 1\n".to_owned(), on("FileRead", "f"), on("FileDelete", "gone")] {
        assert!(only_a.contains(&part), "{part}: {out}");
    }
    assert!(only_a.contains("/cat  [cat f]\n"), "{out}");
    for part in
        ["NetConnect    listen 127.0.0.1:48711", "End           exit 0\n", &on("DirCreate", "d\\u{1b}")]
    {
        assert!(only_b.contains(part), "{part}: {out}");
    }
    assert!(!out.contains(&on("FileWrite", "f")), "both wrote it: {out}");
    let (_, contents) = out.split_once("CHANGED IN BOTH, FROM DIFFERENT CONTENTS").unwrap();
    assert!(contents.contains(&format!("{}/f  (before A: 3 bytes", work.display())), "{out}");
    // Turned round, and as JSON.
    let (code, out, _) = diff(&world, &[&b, &a, "--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["same"]), (1, &false.into()));
    assert_eq!((&value["a"]["id"], &value["b"]["name"]), (&b.into(), &"a".into()));
    let deleted = |entry: &&Value| entry["action"] == "FileDelete";
    let gone = value["only_b"].as_array().unwrap().iter().find(deleted).unwrap();
    assert_eq!(gone["resource"]["path"], work.join("gone").to_str().unwrap());
}

#[test]
fn long_lists_are_cut_and_a_reader_may_go() {
    let world = World::new(Who::Me);
    let a = session(&world, "a", &["true"]);
    let b = session(&world, "b", &["sh", "-c", "i=0; while [ $i -lt 99 ]; do : > f$i; i=$((i+1)); done"]);
    let (code, out, _) = diff(&world, &[&a, &b]);
    assert_eq!((code, out.contains(" more (--all lists them)\n")), (1, true), "{out}");
    let (_, all, _) = diff(&world, &[&a, &b, "--all"]);
    assert!(all.lines().filter(|line| line.contains("FileWrite")).count() >= 99, "{all}");
    let script = format!("{} diff {a} {b} --json | head -n 1", world.path("bin/aegis").display());
    let output = world.command("sh").args(["-c", &script]).output().unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"{\n"[..], &b""[..]));
}

#[test]
fn trouble_is_told_apart_from_a_difference() {
    let world = World::new(Who::Me);
    let (code, _, err) = diff(&world, &["01234567", "01234568"]);
    assert_eq!((code, err.contains("there is no session `01234567`")), (2, true), "{err}");
    let (a, b) = (session(&world, "a", &["true"]), session(&world, "b", &["true"]));
    let shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let beginning = |digits: usize| a.chars().take(digits.max(8)).collect::<String>();
    for (key, expected) in [
        ("0123456", "at least 8 digits"),
        ("not-an-id", "32 hexadecimal digits"),
        (&beginning(shared), "is the beginning of 2 sessions"),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", "audit sessions --all"),
    ] {
        if expected.contains("2 sessions") && !b.starts_with(key) {
            continue;
        }
        let (code, out, err) = diff(&world, &[&a, key]);
        assert_eq!((code, out.as_str()), (2, ""), "{key}: {err}");
        assert!(err.contains(expected), "{key}: {err}");
    }
    assert_eq!(diff(&world, &[&a]).0, 2);
    // A beginning that is clear, in either case and without dashes.
    let short = beginning(shared + 1).to_uppercase();
    let (code, out, err) = diff(&world, &[&short, &a.replace('-', "")]);
    assert_eq!(code, 0, "{out}{err}");
    // A damaged ledger is in the way only of what is in it.
    for suffix in ["-wal", "-shm"] {
        drop(std::fs::remove_file(world.home().join(format!("b/audit.db{suffix}"))));
    }
    std::fs::write(world.home().join("b/audit.db"), "no ledger at all, but long enough for one").unwrap();
    let (code, out, err) = diff(&world, &[&a, &a]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = diff(&world, &[&a, &b]);
    assert_eq!((code, err.contains("`b` was not looked into")), (2, true), "{err}");
    let help = world.stdout(&["diff", "--help"]);
    assert!(help.contains("Exit code: 0") && help.contains("Example:"), "{help}");
}
