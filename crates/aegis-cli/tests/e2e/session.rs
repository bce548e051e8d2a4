//! A session: it behaves as the command would by itself, and says what it did.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Who, World, children, everybody, kill, last, marked, on_path, text, until};

#[test]
fn a_file_that_is_read_is_in_the_log() {
    for who in everybody() {
        let world = World::new(who);
        std::fs::write(world.work().join("f"), "hello\n").unwrap();
        let output = world.aegis(&["wrap", "--", "cat", "f"]).output().unwrap();
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(0), &b"hello\n"[..]),
            "{}",
            text(&output)
        );
        let summary = String::from_utf8_lossy(&output.stderr);
        for line in
            ["cat: exit code 0", "FileRead", "ledger", "sealed up to entry", "aegis audit session cat --id"]
        {
            assert!(summary.contains(line), "{line}: {summary}");
        }
        let log = world.stdout(&["log"]);
        assert!(log.contains(world.work().join("f").to_str().unwrap()), "{log}");
        let entries = world.entries("cat");
        assert_eq!(
            (&entries[1]["kind"], &entries[1]["start"]["mode"]),
            (&"session_start".into(), &"wrap".into())
        );
        let spawn = on_path(&entries, "ProcessSpawn", &std::fs::canonicalize("/bin/cat").unwrap());
        assert_eq!(
            (spawn[0]["outcome"].as_str(), &spawn[0]["resource"]["argv"][1]),
            (Some("ok"), &"f".into())
        );
        let end = last(&entries);
        assert_eq!((&end["kind"], &end["end"]["exit"]["code"]), (&"session_end".into(), &0.into()));
    }
}

#[test]
fn what_was_written_and_deleted_is_told_with_its_former_content() {
    let world = World::new(Who::Me);
    std::fs::write(world.work().join("f"), "old line\n").unwrap();
    std::fs::write(world.work().join("gone"), "was here\n").unwrap();
    let script = "echo 'new line' > f; rm gone; mkdir d; echo x > d/made; mv d/made d/moved; chmod 600 f";
    let output = world.wrap("sh", &["sh", "-c", script]);
    assert!(output.status.success(), "{}", text(&output));
    let entries = world.entries("sh");
    for (action, path) in [
        ("FileWrite", "f"),
        ("FileDelete", "gone"),
        ("DirCreate", "d"),
        ("FileDelete", "d/made"),
        ("FileWrite", "d/moved"),
    ] {
        let found = on_path(&entries, action, &world.work().join(path));
        assert!(found.iter().any(|entry| entry["outcome"] == "ok"), "{action} {path}: {found:?}");
    }
    let detail = world.stdout(&["audit", "session", "sh"]);
    for part in ["-old line", "+new line", "-was here", "DELETED", "WRITTEN", "sh -c"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
}

#[test]
fn exit_codes_are_those_of_the_command() {
    let world = World::new(Who::Me);
    std::fs::write(world.work().join("plain"), "no program").unwrap();
    for (command, code) in [
        (&["sh", "-c", "exit 0"][..], 0),
        (&["sh", "-c", "exit 77"], 77),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["no-such-program-anywhere"], 127),
        (&["./no-such-file"], 127),
        (&["./plain"], 126),
        (&["/"], 126),
    ] {
        let output = world.wrap("codes", command);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", text(&output));
    }
    assert_eq!(world.aegis(&["wrap"]).output().unwrap().status.code(), Some(2));
    assert_eq!(world.aegis(&["log", "nobody-of-that-name"]).output().unwrap().status.code(), Some(4));
    assert_eq!(world.aegis(&["log", "../x"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn standard_streams_and_descriptors_pass_through() {
    let world = World::new(Who::Me);
    let mut child = world
        .aegis(&["wrap", "--quiet", "--name", "tr", "--", "tr", "a-z", "A-Z"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"THROUGH"[..], &b""[..]));
    // A closed standard input stays closed, an inherited descriptor is there, none of ours leaks.
    let script = format!(
        "exec 7<>{0}/seven; {1} wrap --quiet --name fds -- sh -c 'ls -l /proc/self/fd | grep -c /; echo seven >&7' <&-; cat {0}/seven",
        world.work().display(),
        world.path("bin/aegis").display()
    );
    let output = world.command("sh").args(["-c", &script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.ends_with("seven\n"), "{}", text(&output));
    let plain = world
        .command("sh")
        .args([
            "-c",
            &script
                .replace(&format!("{} wrap --quiet --name fds -- ", world.path("bin/aegis").display()), ""),
        ])
        .output()
        .unwrap();
    assert_eq!(told, String::from_utf8_lossy(&plain.stdout), "as without");
}

#[test]
fn a_reader_that_goes_away_ends_a_writer() {
    let world = World::new(Who::Me);
    let script = format!("{} wrap --quiet --name yes -- yes | head -n 1", world.path("bin/aegis").display());
    let output = world.command("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(&output.stdout[..], b"y\n", "{}", text(&output));
    let entries = world.entries("yes");
    let end = last(&entries);
    assert_eq!(end["end"]["exit"]["signal"], 13, "{end}");
}

#[test]
fn signals_reach_the_agent_and_ignored_ones_stay_ignored() {
    let world = World::new(Who::Me);
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1), (Signal::USR1, 10)] {
        let mut child = world
            .aegis(&["wrap", "--quiet", "--name", "s", "--", "sh", "-c"])
            .arg(format!("trap 'echo got {number}; exit 5' {number}; echo ready; while :; do read x; done"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill(child.id(), signal);
        // `read` goes on after a caught signal in some shells until its line comes.
        drop(child.stdin.take().unwrap().write_all(b"\n"));
        assert_eq!(child.wait().unwrap().code(), Some(5), "{signal:?}");
        line.clear();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert_eq!(line, format!("got {number}\n"));
    }
    let script = format!(
        "trap '' HUP USR2; {} wrap --quiet --name ign -- grep SigIgn /proc/self/status",
        world.path("bin/aegis").display()
    );
    let wrapped = world.command("sh").args(["-c", &script]).output().unwrap();
    let plain =
        world.command("sh").args(["-c", "trap '' HUP USR2; grep SigIgn /proc/self/status"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&wrapped.stdout), String::from_utf8_lossy(&plain.stdout));
}

#[test]
fn a_program_sees_no_other_process_state_than_by_itself() {
    let world = World::new(Who::Me);
    let state = "grep -E '^(Sig(Pnd|Blk|Ign|Cgt)|ShdPnd|Umask|Groups|Uid|Gid)' /proc/self/status; ulimit -n; ulimit -c; nice; umask; pwd; env | sort";
    let plain = world.command("sh").args(["-c", state]).output().unwrap();
    let wrapped =
        world.aegis(&["wrap", "--quiet", "--name", "state", "--", "sh", "-c", state]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&wrapped.stdout), String::from_utf8_lossy(&plain.stdout));
}

#[test]
fn what_stays_in_the_background_is_observed_to_its_end() {
    let world = World::new(Who::Me);
    let marker = format!("AEGIS_TEST_MARK={}", world.home().display());
    let script = "(read x < go; echo late > late) >/dev/null 2>&1 & echo done";
    assert!(world.command("mkfifo").arg("go").status().unwrap().success());
    let output = world
        .aegis(&["wrap", "--name", "bg", "--", "sh", "-c", script])
        .env("AEGIS_TEST_MARK", world.home())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(&output.stdout[..], b"done\n", "{}", text(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("go on in the background"), "{}", text(&output));
    // The guard, the session process and the one that waits.
    assert_eq!(marked(&marker).len(), 3);
    assert!(world.stdout(&["status", "bg"]).contains("live sessions  1"));
    std::fs::write(world.work().join("go"), "\n").unwrap();
    until("the session has ended", || world.stdout(&["status", "bg"]).contains("live sessions  0"));
    let entries = world.entries("bg");
    assert_eq!(on_path(&entries, "FileWrite", &world.work().join("late")).len(), 1);
    assert_eq!(last(&entries)["kind"], "session_end");
    assert_eq!(world.verdict("bg").0, 0);
}

#[test]
fn a_session_inside_a_session_is_refused_by_name() {
    for who in everybody() {
        let world = World::new(who);
        let inner = format!("{} wrap -- true", world.path("bin/aegis").display());
        let output = world.wrap("outer", &["sh", "-c", &inner]);
        assert_eq!(output.status.code(), Some(125), "{}", text(&output));
        let outer = world.entries("outer")[1]["session"].as_str().unwrap().to_owned();
        assert!(String::from_utf8_lossy(&output.stderr).contains(&outer), "{}", text(&output));
        let other = format!("AEGIS_HOME={}/other {inner}", world.work().display());
        let output = world.wrap("outer", &["sh", "-c", &other]);
        assert_eq!(output.status.code(), Some(125), "{}", text(&output));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("one can't run inside the other"),
            "{}",
            text(&output)
        );
    }
}

#[test]
fn secrets_do_not_reach_the_ledger() {
    let world = World::new(Who::Me);
    let output = world
        .wrap("sh", &["sh", "-c", "/bin/echo --password hunter2 >/dev/null", "sk-abcdefghijklmnopqrstuv"]);
    assert!(output.status.success(), "{}", text(&output));
    let all = world.stdout(&["audit", "export", "sh", "--format", "jsonl"]);
    assert!(!all.contains("abcdefghijklmnopqrstuv"), "{all}");
    let spawn = world.entries("sh").into_iter().find(|e| e["resource"]["argv"][1] == "--password").unwrap();
    assert_eq!((&spawn["resource"]["argv"][2], &spawn["resource"]["masked"]), (&"***".into(), &true.into()));
}

#[test]
fn names_that_are_not_text_are_recorded_and_shown_safely() {
    let world = World::new(Who::Me);
    let script = "printf x > \"$(printf 'a\\377\\033[2Jb')\"; printf y > 'new\nline'";
    assert!(world.wrap("sh", &["sh", "-c", script]).status.success());
    let entries = world.entries("sh");
    assert!(
        entries.iter().any(|entry| entry["resource"]["path_b64"].is_string()),
        "base64 where it is not UTF-8"
    );
    assert_eq!(on_path(&entries, "FileWrite", &world.work().join("new\nline")).len(), 1);
    let shown = world.stdout(&["log", "sh"]) + &world.stdout(&["audit", "session", "sh"]);
    assert!(shown.contains("a\\xff\\u{1b}[2Jb") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn io_uring_and_listeners_are_refused_and_said_once() {
    let world = World::new(Who::Me);
    // io_uring_setup (425), twice; then seccomp with a listener.
    let script = "import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
params = ctypes.create_string_buffer(120)
print([libc.syscall(425, 4, params) for _ in range(2)], ctypes.get_errno())";
    let output = world.wrap("py", &["python3", "-c", script]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[-1, -1] 1\n", "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stderr).matches("io_uring is refused").count(), 1);
    let refusals = world.entries("py").into_iter().filter(|entry| entry["kind"] == "refusal").count();
    assert_eq!(refusals, 2);
    let allowed = script.replace("120)", "120)\n");
    let output = world
        .aegis(&["wrap", "--name", "py", "--allow-io-uring", "--", "python3", "-c", &allowed])
        .output()
        .unwrap();
    if !String::from_utf8_lossy(&output.stdout).contains("-1") {
        let gap = world
            .entries("py")
            .into_iter()
            .any(|entry| entry["kind"] == "gap" && entry["reason"] == "io_uring");
        assert!(gap, "what is let through unobserved is a gap");
    }
}

#[test]
fn a_process_that_asks_not_to_be_dumpable_stays_readable() {
    for who in everybody() {
        let world = World::new(who);
        let script = "import ctypes
libc = ctypes.CDLL(None)
print(libc.prctl(4, 0, 0, 0, 0))
open('seen', 'w').close()";
        let output = world.wrap("py", &["python3", "-c", script]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{}", text(&output));
        assert_eq!(on_path(&world.entries("py"), "FileWrite", &world.work().join("seen")).len(), 1);
    }
}

#[test]
fn what_is_followed_comes_once_and_in_order() {
    let world = World::new(Who::Me);
    assert!(world.wrap("f", &["true"]).status.success());
    let mut follower = world
        .aegis(&["audit", "export", "f", "--format", "jsonl", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..3 {
        assert!(world.wrap("f", &["sh", "-c", "echo x > x"]).status.success());
    }
    let total = world.entries("f").len();
    let out = std::io::BufReader::new(follower.stdout.take().unwrap());
    let numbers: Vec<u64> = std::io::BufRead::lines(out)
        .take(total)
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap()["seq"].as_u64().unwrap()
        })
        .collect();
    assert!(numbers.iter().copied().eq(1..=total as u64), "{numbers:?}");
    follower.kill().unwrap();
    follower.wait().unwrap();
    let rest =
        world.stdout(&["audit", "export", "f", "--format", "jsonl", "--after", &(total - 1).to_string()]);
    assert_eq!(rest.lines().count(), 1);
}

#[test]
fn settings_and_lists_say_what_is() {
    let world = World::new(Who::Me);
    assert!(world.wrap("one", &["true"]).status.success());
    assert!(world.wrap("two", &["true"]).status.success());
    assert_eq!(world.stdout(&["use", "one"]), "one\n");
    let list: serde_json::Value = serde_json::from_str(&world.stdout(&["list", "--json"])).unwrap();
    assert_eq!(
        (&list[0]["name"], &list[0]["active"], &list[1]["active"]),
        (&"one".into(), &true.into(), &false.into())
    );
    assert!(world.stdout(&["config", "show"]).contains("one"));
    assert_eq!(world.stdout(&["audit", "sessions", "--all", "--json"]).matches("\"first_entry\"").count(), 2);
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.stdout(&["completions", shell]).contains("wrap"));
    }
    let setup: serde_json::Value = serde_json::from_str(&world.stdout(&["setup", "--json"])).unwrap();
    assert!(
        setup
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line["check"] == "seccomp user notification" && line["state"] == "ok")
    );
}

#[test]
fn the_front_stops_when_the_agent_stops_and_goes_on_with_it() {
    let world = World::new(Who::Me);
    let mut child = world
        .aegis(&["wrap", "--quiet", "--name", "stop", "--", "sh", "-c", "kill -STOP $$; exit 6"])
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let options = rustix::process::WaitOptions::UNTRACED;
    let (_, status) = rustix::process::waitpid(Some(pid), options).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
    kill(child.id(), Signal::CONT);
    assert_eq!(child.wait().unwrap().code(), Some(6));
    assert!(children(child.id()).is_empty());
}

#[test]
fn eight_sessions_write_one_chain() {
    let world = World::new(Who::Me);
    let script = "i=0; while [ $i -lt 200 ]; do echo $i > f.$$.$i; rm f.$$.$i; i=$((i+1)); done";
    let children: Vec<_> = (0..8)
        .map(|_| {
            world.aegis(&["wrap", "--quiet", "--name", "eight", "--", "sh", "-c", script]).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let (code, verdict) = world.verdict("eight");
    assert_eq!(code, 0, "{verdict}");
    let entries = world.entries("eight");
    for action in ["FileWrite", "FileDelete"] {
        let done = entries.iter().filter(|entry| {
            entry["action"] == action
                && entry["resource"]["path"].as_str().is_some_and(|path| path.contains("/f."))
        });
        assert_eq!(done.count(), 1_600);
    }
    assert_eq!(entries.iter().filter(|entry| entry["kind"] == "session_end").count(), 8);
}

#[test]
fn a_32_bit_program_is_seen() {
    let world = World::new(Who::Me);
    // open("seen32", O_CREAT|O_WRONLY) and exit, by the calls of 32-bit x86 from a 64-bit program.
    let source = "int main(void){ int r; static char *p; p = \"seen32\";
        void *low = (void*)__builtin_extract_return_addr(0);
        (void)low; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"0\"(5), \"b\"((unsigned long)p), \"c\"(0101), \"d\"(0644) : \"memory\");
        return r < 0; }";
    std::fs::write(world.work().join("x.c"), source).unwrap();
    let built = Command::new("cc")
        .args(["-static", "-no-pie", "-o", "x", "x.c"])
        .current_dir(world.work())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", text(&built));
    let output = world.wrap("x", &["./x"]);
    if output.status.code() == Some(1) {
        // This kernel runs no 32-bit calls: nothing happened that could be seen.
        return;
    }
    assert!(output.status.success(), "{}", text(&output));
    let entries = world.entries("x");
    assert_eq!(on_path(&entries, "FileWrite", &world.work().join("seen32")).len(), 1);
    assert!(entries.iter().any(|entry| entry["reason"] == "foreign_architecture"));
}
