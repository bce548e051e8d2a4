//! What its caller set up is as it was for the program, and nothing of that gets in the way of Aegis.

use std::io::Write as _;
use std::process::{Output, Stdio};

use rustix::process::Signal;

use crate::support::{Who, World, everybody, kill, marked, text, until};

/// Runs a shell script with `$AEGIS` for the program, in the world's working directory; what it prints goes to pipes.
fn script(world: &World, script: &str) -> Output {
    world.command("sh").env("AEGIS", world.path("bin/aegis")).args(["-c", script]).output().unwrap()
}

#[test]
fn the_callers_limits_and_mask_of_modes_are_the_programs() {
    for who in everybody() {
        let world = World::new(who);
        for (set, ask, expected) in [
            ("ulimit -S -f 0", "ulimit -f", "0\n"),
            ("umask 0777", "umask", "0777\n"),
            ("umask 0022", "umask", "0022\n"),
        ] {
            for _ in 0..2 {
                let output =
                    script(&world, &format!("{set}; $AEGIS wrap --quiet --name limits -- sh -c '{ask}'"));
                assert!(output.status.success(), "{who:?} {set}: {}", text(&output));
                assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{who:?} {set}");
            }
            std::fs::remove_dir_all(world.home()).unwrap();
        }
    }
}

#[test]
fn a_directory_that_is_gone_is_no_hindrance() {
    let world = World::new(Who::Me);
    let output = script(&world, "mkdir d; cd d; rmdir ../d; exec $AEGIS wrap --name gone -- sh -c 'exit 7'");
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    assert_eq!(world.verdict("gone").0, 0);
}

#[test]
fn the_environment_and_an_empty_path_are_passed_on() {
    let world = World::new(Who::Me);
    let output = world.aegis(&["wrap", "--quiet", "--", ""]).output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{}", text(&output));
    std::os::unix::fs::symlink("/bin/true", world.work().join("here")).unwrap();
    let output = world.aegis(&["wrap", "--quiet", "--", "here"]).env("PATH", "").output().unwrap();
    assert!(output.status.success(), "an empty PATH is the current directory: {}", text(&output));
}

#[test]
fn few_descriptors_make_no_program_fail_that_ends() {
    let world = World::new(Who::Me);
    // Two hundred live beside fifty that only end; Aegis can hold less than that.
    let program = "
import os, sys
lives = []
for _ in range(200):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(w)
        os.read(r, 1)
        os._exit(0)
    os.close(r)
    lives.append(w)
codes = []
for _ in range(50):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    codes.append(os.waitpid(pid, 0)[1])
for w in lives:
    os.close(w)
sys.exit(any(codes))";
    std::fs::write(world.work().join("many.py"), program).unwrap();
    let output =
        script(&world, "ulimit -n 256; exec $AEGIS wrap --quiet --name few -- python3 -S -E many.py");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(world.verdict("few").0, 0);
}

#[test]
fn a_signal_to_every_process_of_the_name_ends_the_program() {
    for signal in [Signal::TERM, Signal::HUP] {
        let world = World::new(Who::Me);
        let marker = format!("AEGIS_TEST_MARK=all-{}-{}", signal.as_raw(), std::process::id());
        let (name, value) = marker.split_once('=').unwrap();
        let mut child = world
            .aegis(&["wrap", "--quiet", "--name", "all", "--", "sh", "-c", "echo on; exec sleep 1000"])
            .env(name, value)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let is_aegis = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "aegis")
        };
        // The session process can't be read by its environment where it is not root's: its parents are known.
        let mut all = vec![child.id()];
        let mut at = 0;
        while let Some(pid) = all.get(at).copied() {
            all.extend(crate::support::children(pid).iter().filter(|pid| is_aegis(pid)));
            at += 1;
        }
        assert_eq!(all.len(), 3, "front, guard and session process");
        all.into_iter().for_each(|pid| kill(pid, signal));
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(128 + signal.as_raw()));
        until("nothing is left", || marked(&marker).is_empty());
    }
}

#[test]
fn the_end_of_the_terminal_ends_the_program() {
    let world = World::new(Who::Me);
    let marker = format!("AEGIS_TEST_MARK=hangup-{}", std::process::id());
    let (name, value) = marker.split_once('=').unwrap();
    let socket = world.path("tmux");
    let tmux = |arguments: &[&str]| -> Output {
        world
            .command("tmux")
            .env("SHELL", "/bin/sh")
            .env(name, value)
            .arg("-S")
            .arg(&socket)
            .args(arguments)
            .output()
            .unwrap()
    };
    let command = format!(
        "exec {} wrap --name hangup -- sh -c 'touch runs; exec sleep 1000'",
        world.path("bin/aegis").display()
    );
    let started = tmux(&["-f", "/dev/null", "new-session", "-d", &command]);
    assert!(started.status.success(), "{}", text(&started));
    until("the program runs", || world.work().join("runs").exists());
    let ended = tmux(&["kill-server"]);
    assert!(ended.status.success(), "{}", text(&ended));
    until("nothing of it is left", || marked(&marker).is_empty());
    let entries = world.entries("hangup");
    let end = entries.iter().find(|entry| entry["kind"] == "session_end").unwrap();
    assert_eq!(end["end"]["exit"]["signal"], Signal::HUP.as_raw(), "{end}");
}

#[test]
fn output_that_can_not_be_written_is_a_failure_and_a_reader_that_left_is_none() {
    let world = World::new(Who::Me);
    assert!(world.wrap("out", &["true"]).status.success());
    for arguments in [&["--help"][..], &["completions", "bash"], &["use"], &["list"], &["log", "out"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = world.aegis(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let (read, write) = rustix::pipe::pipe().unwrap();
        drop(read);
        let output = world.aegis(arguments).stdout(write).output().unwrap();
        assert_eq!(
            (output.status.code(), text(&output)),
            (Some(0), "exit status: 0\n\n".into()),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_reader_of_all_ledgers_meets_those_that_come() {
    let world = World::new(Who::Me);
    assert!(world.wrap("one", &["true"]).status.success());
    let mut follower =
        world.aegis(&["log", "--all", "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follower.stdout.take().unwrap()));
    // It reads by now.
    assert!(lines.next().unwrap().unwrap().contains("one"));
    assert!(world.wrap("two", &["sh", "-c", "exit 0"]).status.success());
    assert!(lines.any(|line| line.unwrap().contains(r#""agent":"two""#)));
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn one_damaged_ledger_does_not_hide_the_others() {
    let world = World::new(Who::Me);
    for name in ["bad", "good"] {
        assert!(world.wrap(name, &["true"]).status.success());
    }
    for suffix in ["-wal", "-shm"] {
        drop(std::fs::remove_file(world.home().join(format!("bad/audit.db{suffix}"))));
    }
    std::fs::File::create(world.home().join("bad/audit.db")).unwrap().write_all(&[7; 5000]).unwrap();
    let run = |arguments: &[&str]| -> (Option<i32>, String) {
        let output = world.aegis(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, list) = run(&["list"]);
    assert!(
        code == Some(0) && list.contains("good/audit.db") && list.contains("not an Aegis ledger"),
        "{list}"
    );
    assert_eq!(run(&["audit", "verify", "bad"]).0, Some(3));
    assert_eq!(run(&["status", "bad"]).0, Some(3));
    let (code, all) = run(&["audit", "verify", "--all", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!((code, &all[0]["good"], &all[1]["good"]), (Some(3), &false.into(), &true.into()), "{all}");
    assert_eq!(run(&["log", "good"]).0, Some(0));
}
