//! Programs that deceive, starve or stop Aegis, or only do what is rare.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Who, World, children, everybody, kill, last, marked, on_path, text, until};

/// Builds one of the programs beside this file into the world's working directory.
fn build(world: &World, name: &str, options: &[&str]) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/hostile").join(format!("{name}.c"));
    let program = world.work().join(name);
    let built = Command::new("cc")
        .args(options)
        .args(["-O1", "-pthread", "-o"])
        .args([&program, &source])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", text(&built));
    program.to_str().unwrap().to_owned()
}

/// Runs a Python program under a name; it must succeed.
fn python(world: &World, name: &str, script: &str) -> Output {
    let output = world.wrap(name, &["python3", "-c", script]);
    assert!(output.status.success(), "{name}: {}", text(&output));
    output
}

fn path(entry: &Value) -> &str {
    entry["resource"]["path"].as_str().unwrap_or_default()
}

/// Waits for a child for so long, then kills it and fails.
fn ended(child: &mut Child, what: &str) -> Option<i32> {
    let deadline = std::time::Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            use std::os::unix::process::ExitStatusExt as _;
            return status.code().or(status.signal().map(|signal| 128 + signal));
        }
        let late = std::time::Instant::now() > deadline;
        if late {
            // Its end ends the rest.
            kill(child.id(), Signal::KILL);
        }
        assert!(!late, "{what}: it did not end in 40 seconds");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn names_are_right_while_a_program_is_replaced() {
    for who in everybody() {
        let world = World::new(who);
        let program = build(&world, "threads", &[]);
        for mode in ["exec", "leader"] {
            for round in 0..8 {
                let read = world.work().join("read");
                std::fs::write(&read, "").unwrap();
                let made = world.work().join(format!("made-{mode}-{round}"));
                let name = format!("{mode}-{round}");
                let arguments = [&program, mode, read.to_str().unwrap(), made.to_str().unwrap()];
                let output = world.wrap(&name, &arguments);
                assert!(made.exists(), "{who:?} {name}: {}", text(&output));
                let entries = world.entries(&name);
                assert_eq!(on_path(&entries, "FileRead", &read).len(), 1, "{who:?} {name}");
                assert_eq!(on_path(&entries, "FileWrite", &made).len(), 1, "{who:?} {name}");
            }
        }
    }
}

#[test]
fn registers_of_32_bit_calls_are_read_as_the_kernel_reads_them() {
    let world = World::new(Who::Me);
    let program = build(&world, "registers", &["-static"]);
    std::fs::write(world.work().join("secret"), "").unwrap();
    let secret = world.work().join("secret");
    let output = world.wrap("x", &[&program, secret.to_str().unwrap(), "/harmless"]);
    if output.status.code() == Some(38) {
        // This kernel runs no 32-bit calls: nothing happened that could be seen.
        return;
    }
    assert!(output.status.success(), "{}", text(&output));
    let entries = world.entries("x");
    assert_eq!(on_path(&entries, "FileRead", &secret).len(), 1);
    assert!(on_path(&entries, "FileRead", Path::new("/harmless")).is_empty());
}

#[test]
fn a_datagram_to_an_address_of_no_family_is_seen() {
    let world = World::new(Who::Me);
    let script = "
import ctypes, socket
r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(('127.0.0.1', 0)); r.settimeout(20)
port = r.getsockname()[1]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
address = b'\\0\\0' + port.to_bytes(2, 'big') + bytes([127, 0, 0, 1]) + bytes(8)
assert ctypes.CDLL(None).sendto(s.fileno(), b'out', 3, 0, address, 16) == 3
assert r.recv(9) == b'out'
print(port)";
    let output = python(&world, "udp", script);
    let port: u16 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let sent = |entry: &&Value| {
        entry["action"] == "NetConnect" && entry["call"] == "sendto" && entry["resource"]["port"] == port
    };
    let entries = world.entries("udp");
    let sent: Vec<_> = entries.iter().filter(sent).collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["resource"]["address"], "127.0.0.1");
}

#[test]
fn a_bind_that_fails_is_not_told_as_done() {
    let world = World::new(Who::Me);
    let script = "
import socket
open('taken', 'w')
s = socket.socket(socket.AF_UNIX)
try: s.bind('taken'); raise SystemExit('bound')
except OSError: pass
s = socket.socket(socket.AF_UNIX); s.bind('free'); s.listen()
open('end', 'w')";
    python(&world, "bind", script);
    let entries = world.entries("bind");
    let outcome = |name: &str| {
        let name = world.work().join(name);
        let name = name.to_str().unwrap();
        let fits = |entry: &&Value| entry["call"] == "bind" && entry["resource"].to_string().contains(name);
        entries.iter().find(fits).unwrap()["outcome"].clone()
    };
    assert_eq!(outcome("taken"), "unknown");
    assert_eq!(outcome("free"), "ok");
}

#[test]
fn the_working_directory_is_named_where_a_call_means_it_by_an_empty_path() {
    let world = World::new(Who::Me);
    let script = "
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
assert c.fchownat(-100, b'', -1, -1, 0x1000) == 0
assert c.utimensat(-100, b'', None, 0x1000) == 0";
    python(&world, "empty", script);
    let entries = world.entries("empty");
    let calls: Vec<_> = on_path(&entries, "FileWrite", &world.work())
        .into_iter()
        .map(|entry| entry["call"].clone())
        .collect();
    assert_eq!(calls, ["fchownat", "utimensat"]);
}

#[test]
fn a_file_that_is_reached_through_another_view_is_not_told_as_missing() {
    for who in everybody() {
        let world = World::new(who);
        let script = "
mkdir secret k; echo old > secret/key
mkfifo ready done
unshare -Urm sh -c 'mount --bind secret k && echo $$ > ready && read x < done' &
read child < ready || exit 9
python3 -c '
import os, sys
folder = os.open(\"/proc/%s/root%s/k\" % (sys.argv[1], os.getcwd()), os.O_PATH)
os.open(\"key\", os.O_WRONLY | os.O_TRUNC, dir_fd=folder)
' $child
code=$?
echo x > done
wait
exit $code";
        let output = world.wrap("view", &["sh", "-c", script]);
        assert!(output.status.success(), "{who:?}: {}", text(&output));
        assert_eq!(std::fs::read_to_string(world.work().join("secret/key")).unwrap(), "");
        let entries = world.entries("view");
        let truncated = |entry: &&Value| {
            entry["action"] == "FileWrite"
                && entry["resource"].to_string().contains("/key")
                && entry["flags"].to_string().contains("TRUNC")
        };
        let found: Vec<_> = entries.iter().filter(truncated).collect();
        let last = found.last().unwrap();
        assert_ne!(last["outcome"], "missing", "{who:?}: {last}");
        assert!(path(last).contains("not there in the session's view"), "{who:?}: {last}");
    }
}

#[test]
fn the_own_folder_is_found_in_the_procfs_of_another_pid_namespace() {
    for who in everybody() {
        let world = World::new(who);
        let script = "mkdir d; unshare -Urmpf sh -c 'mount -t proc proc d && read x < d/self/status && read y < d/self/cwd/own'";
        std::fs::write(world.work().join("own"), "line\n").unwrap();
        let output = world.wrap("proc", &["sh", "-c", script]);
        assert!(output.status.success(), "{who:?}: {}", text(&output));
        let entries = world.entries("proc");
        let reads = |end: &str| -> Vec<Value> {
            let fits = |e: &&Value| e["action"] == "FileRead" && e["resource"].to_string().contains(end);
            entries.iter().filter(fits).map(|entry| entry["outcome"].clone()).collect()
        };
        assert_eq!(reads("/status"), ["unknown"], "{who:?}");
        assert_eq!(reads("/own"), ["unknown"], "{who:?}");
    }
}

#[test]
fn an_agent_that_reads_the_ledger_takes_nothing_from_it() {
    for who in everybody() {
        let world = World::new(who);
        // The kept directory holds the home.
        let home = world.work().join("home");
        let script = "
import glob, sqlite3
for name in glob.glob('home/*/audit.db*') * 2:
    open(name, 'r+b').close()
c = sqlite3.connect(glob.glob('home/*/audit.db')[0]); c.execute('select count(*) from records').fetchone(); c.close()
for n in range(5): open('after%d' % n, 'w').write('x')";
        let run = |arguments: &[&str]| {
            let output = world.aegis(arguments).env("AEGIS_HOME", &home).output().unwrap();
            assert!(output.status.success(), "{who:?}: {}", text(&output));
            String::from_utf8(output.stdout).unwrap()
        };
        run(&["wrap", "--name", "db", "--", "python3", "-c", script]);
        let exported = run(&["audit", "export", "db", "--format", "jsonl"]);
        let entries: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for n in 0..5 {
            let file = world.work().join(format!("after{n}"));
            assert_eq!(on_path(&entries, "FileWrite", &file).len(), 1, "{who:?}");
        }
        assert_eq!(last(&entries)["kind"], "session_end", "{who:?}");
        let kept = entries.iter().filter(|e| path(e).contains("audit.db") && e["pre"].is_object());
        assert_eq!(kept.count(), 0, "{who:?}: nothing of the home is kept");
    }
}

#[test]
fn a_ledger_that_is_replaced_during_a_session_is_told() {
    let world = World::new(Who::Me);
    let script = "rm -f \"$AEGIS_HOME\"/gone/audit.db*; echo x > f";
    let output = world.wrap("gone", &["sh", "-c", script]);
    assert_eq!(output.status.code(), Some(125), "{}", text(&output));
    assert!(text(&output).contains("audit.db"), "{}", text(&output));
}

#[test]
fn former_contents_are_kept_where_an_inode_or_a_name_deceives() {
    let world = World::new(Who::Me);
    std::fs::write(world.path("outside"), "precious").unwrap();
    let script = format!("ln {} linked && echo new > linked", world.path("outside").display());
    let output = world.wrap("link", &["sh", "-c", &script]);
    assert!(output.status.success(), "{}", text(&output));
    let entries = world.entries("link");
    let linked = on_path(&entries, "FileWrite", &world.work().join("linked"));
    let kept: Vec<_> = linked.iter().filter(|entry| entry["pre"]["kept"] == true).collect();
    assert_eq!(kept.len(), 1, "{linked:?}");
    assert_eq!(kept[0]["pre"]["size"], 8);
}

#[test]
fn a_caller_that_ignores_the_end_of_children_changes_nothing() {
    let world = World::new(Who::Me);
    let script = "
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])";
    let mut child = world
        .command("python3")
        .args(["-c", script])
        .arg(world.path("bin/aegis"))
        .args(["wrap", "--quiet", "--name", "chld", "--", "grep", "SigIgn", "/proc/self/status"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(ended(&mut child, "SIGCHLD ignored"), Some(0));
    let mut line = String::new();
    child.stdout.take().unwrap().read_to_string(&mut line).unwrap();
    let mask = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
    assert_ne!(mask & (1 << 16), 0, "the agent has SIGCHLD ignored, as without Aegis: {line}");
}

#[test]
fn alarms_and_aborts_of_the_front_reach_the_agent() {
    let world = World::new(Who::Me);
    let script = "
import os, signal, sys
signal.setitimer(signal.ITIMER_REAL, 0.3)
os.execv(sys.argv[1], sys.argv[1:])";
    let mut child = world
        .command("python3")
        .args(["-c", script])
        .arg(world.path("bin/aegis"))
        .args(["wrap", "--quiet", "--name", "alarm", "--", "sleep", "60"])
        .spawn()
        .unwrap();
    assert_eq!(ended(&mut child, "alarm"), Some(128 + 14));
    let mut child = world
        .aegis(&["wrap", "--quiet", "--name", "abort", "--", "bash", "-c"])
        .arg("trap 'exit 7' ABRT; echo ready; while :; do :; done")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    kill(child.id(), Signal::ABORT);
    assert_eq!(ended(&mut child, "abort"), Some(7));
}

#[test]
fn the_front_goes_on_where_somebody_else_continues_the_agent() {
    let world = World::new(Who::Me);
    let script = "(sleep 0.3; kill -CONT $$) & kill -STOP $$; wait; exit 5";
    let mut child =
        world.aegis(&["wrap", "--quiet", "--name", "cont", "--", "sh", "-c", script]).spawn().unwrap();
    assert_eq!(ended(&mut child, "continued by another"), Some(5));
    assert_eq!(last(&world.entries("cont"))["kind"], "session_end");
}

#[test]
fn processes_of_aegis_can_not_be_reached_into() {
    for who in everybody() {
        let world = World::new(who);
        let script = "
import ctypes, glob, os, resource
session = int(open(glob.glob(os.environ['AEGIS_HOME'] + '/run/*/lock')[0]).readline())
stat = lambda pid: int(open('/proc/%d/stat' % pid).read().rsplit(')')[1].split()[1])
guard = stat(session); front = stat(guard)
c = ctypes.CDLL(None, use_errno=True)
for pid in [session, guard, front] + [int(t) for t in os.listdir('/proc/%d/task' % session)]:
    try: resource.prlimit(pid, resource.RLIMIT_NOFILE, (16, 16)); raise SystemExit('limited %d' % pid)
    except PermissionError: pass
    assert c.ptrace(0x4206, pid, None, None) == -1, pid
try: c.syscall(438, os.pidfd_open(session), 3, 0) >= 0 and print('got a descriptor')
except OSError: pass
resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE, (64, 64))
open('after', 'w')";
        let output = python(&world, "reach", script);
        assert_eq!(output.stdout, b"", "{who:?}");
        let entries = world.entries("reach");
        let refused =
            |call: &str| entries.iter().filter(|e| e["kind"] == "refusal" && e["call"] == call).count();
        assert!(
            refused("prlimit64") >= 3 && refused("ptrace") >= 3 && refused("pidfd_getfd") == 1,
            "{who:?}"
        );
        assert_eq!(on_path(&entries, "FileWrite", &world.work().join("after")).len(), 1);
    }
}

#[test]
fn a_stopped_guard_does_not_save_the_agent() {
    let world = World::new(Who::Me);
    let marker = format!("AEGIS_TEST_MARK={}", world.home().display());
    let mut front = world
        .aegis(&["wrap", "--quiet", "--name", "guard", "--", "sh", "-c", "echo up; while :; do :; done"])
        .env("AEGIS_TEST_MARK", world.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(front.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let guard = children(front.id())[0];
    let session = children(guard)[0];
    kill(guard, Signal::STOP);
    kill(session, Signal::KILL);
    assert_eq!(ended(&mut front, "stopped guard"), Some(125));
    until("no process of the agent is left", || marked(&marker).is_empty());
}

#[test]
fn a_chain_of_forks_does_not_flee() {
    let world = World::new(Who::Me);
    let program = build(&world, "flee", &[]);
    let marker = format!("AEGIS_TEST_MARK={}", world.home().display());
    let mut front = world
        .aegis(&["wrap", "--quiet", "--name", "flee", "--", &program])
        .env("AEGIS_TEST_MARK", world.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(front.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let started = std::time::Instant::now();
    kill(children(children(front.id())[0])[0], Signal::KILL);
    assert!(ended(&mut front, "chain of forks").is_some());
    until("no process of the chain is left", || marked(&marker).is_empty());
    assert!(started.elapsed() < Duration::from_secs(15), "it ended by itself");
}

#[test]
fn a_spool_that_is_gone_ends_the_session() {
    let world = World::new(Who::Me);
    // More than the first segment holds.
    let script = "rm -rf \"$AEGIS_HOME\"/run/*; i=0; while [ $i -lt 5000 ]; do : > f; i=$((i+1)); done";
    let mut child = world
        .aegis(&["wrap", "--quiet", "--name", "spool", "--", "sh", "-c", script])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(ended(&mut child, "no spool"), Some(125));
}

#[test]
fn limits_are_the_agents_alone() {
    let world = World::new(Who::Me);
    let script = "ulimit -S -f 8; ulimit -S -n 64; exec \"$@\"";
    let inner = "i=0; while [ $i -lt 2000 ]; do : > f; i=$((i+1)); done; ulimit -S -f; ulimit -S -n";
    let output = world
        .command("bash")
        .args(["-c", script, "bash"])
        .arg(world.path("bin/aegis"))
        .args(["wrap", "--quiet", "--name", "limits", "--", "bash", "-c", inner])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "8\n64\n");
    assert_eq!(on_path(&world.entries("limits"), "FileWrite", &world.work().join("f")).len(), 2000);
}

#[test]
fn what_stands_in_place_of_a_sessions_files_is_not_waited_for() {
    let world = World::new(Who::Me);
    assert!(world.wrap("one", &["true"]).status.success());
    let folder = world.home().join("run/01a20000-0000-7000-8000-000000000000");
    std::fs::create_dir(&folder).unwrap();
    let fifo = |name: &str| {
        let made = Command::new("mkfifo").arg(folder.join(name)).status().unwrap();
        assert!(made.success());
    };
    fifo("lock");
    let mut child = world.aegis(&["log", "one"]).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(ended(&mut child, "a FIFO for the lock"), Some(0));
    std::fs::remove_file(folder.join("lock")).unwrap();
    let ledger = world.home().join("one/audit.db");
    std::fs::write(folder.join("lock"), format!("1\n{}", ledger.display())).unwrap();
    fifo("spool-00000001");
    let mut child = world.aegis(&["log", "one"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(ended(&mut child, "a FIFO for the spool").is_some());
}

#[test]
fn a_long_command_line_is_recorded_as_far_as_it_goes() {
    let world = World::new(Who::Me);
    let arguments: Vec<String> = (0..6_000).map(|n| format!("{n:040}")).collect();
    let mut command = vec!["true"];
    command.extend(arguments.iter().map(String::as_str));
    let output = world.wrap("long", &command);
    assert!(output.status.success(), "{}", text(&output));
    let entries = world.entries("long");
    let start = entries.iter().find(|entry| entry["kind"] == "session_start").unwrap();
    let listed = start["start"]["argv"].as_array().unwrap().len() as u64;
    let omitted = start["start"]["argv_omitted"].as_u64().unwrap();
    // The last that is listed may be a part, and then counts as left out, too.
    assert!((6_001..=6_002).contains(&(listed + omitted)), "{listed} {omitted}");
    assert_eq!(last(&entries)["kind"], "session_end");
}

#[test]
fn a_connection_that_failed_is_never_one_that_was_made() {
    let world = World::new(Who::Me);
    let script = "
import socket
def bound(name):
    s = socket.socket(socket.AF_UNIX); s.bind(name); s.listen(); return s
a, b = bound('a.s'), bound('b.s')
c = socket.socket(socket.AF_UNIX); c.connect('a.s')
try: c.connect('b.s')
except OSError: pass
bound('dead.s').close()
s = socket.socket(socket.AF_UNIX)
try: s.connect('dead.s')
except OSError: pass
s.close()
x, y = socket.socketpair()
open('/dev/null').close()";
    python(&world, "unix", script);
    let entries = world.entries("unix");
    let outcome = |name: &str| {
        let path = world.work().join(name);
        let to = |entry: &&Value| {
            entry["call"] == "connect" && entry["resource"]["unix"] == path.to_str().unwrap()
        };
        entries.iter().find(to).unwrap()["outcome"].clone()
    };
    assert_eq!(
        (outcome("a.s"), outcome("b.s"), outcome("dead.s")),
        ("ok".into(), "unknown".into(), "unknown".into())
    );
}

#[test]
fn what_is_created_within_bounds_has_its_own_name() {
    let world = World::new(Who::Me);
    let script = "
import ctypes, os, struct
os.makedirs('r/sub'); os.symlink('sub', 'r/link')
c = ctypes.CDLL(None, use_errno=True)
for path, resolve in [(b'link/one', 8), (b'/link/two', 16), (b'link/../three', 8)]:
    how = struct.pack('QQQ', os.O_CREAT | os.O_WRONLY, 0o600, resolve)
    directory = os.open('r', os.O_PATH)
    fd = c.syscall(437, directory, path, how, len(how))
    assert fd >= 0, os.strerror(ctypes.get_errno())
    os.close(fd)";
    python(&world, "within", script);
    let entries = world.entries("within");
    for made in ["r/sub/one", "r/sub/two", "r/three"] {
        let path = world.work().join(made);
        assert!(path.exists());
        assert_eq!(on_path(&entries, "FileWrite", &path).len(), 1, "{made}");
    }
}

#[test]
fn an_empty_path_is_no_path() {
    let world = World::new(Who::Me);
    let script = "
import os
for call in [os.unlink, os.rmdir, os.mkdir, lambda p: os.open(p, os.O_RDONLY), lambda p: os.open(p, os.O_CREAT | os.O_WRONLY),
             lambda p: os.chmod(p, 0o600), lambda p: os.truncate(p, 0), lambda p: os.utime(p), lambda p: os.rename(p, 'x'),
             lambda p: os.execv(p, ['x'])]:
    try: call('')
    except OSError as e: assert e.errno == 2, e
    else: assert False, call";
    python(&world, "empty", script);
    let entries = world.entries("empty");
    let changes = |entry: &&Value| {
        ["FileDelete", "FileWrite", "DirCreate"].contains(&entry["action"].as_str().unwrap_or_default())
    };
    let work = world.work();
    assert!(entries.iter().filter(changes).all(|entry| path(entry) != work.to_str().unwrap()));
    let empty = entries.iter().filter(changes).filter(|entry| entry["outcome"] == "missing").count();
    assert_eq!(empty, 9, "unlink, rmdir, mkdir, open, chmod, truncate, utime, and both halves of rename");
}
