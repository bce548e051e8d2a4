//! Homes, ledgers and disks that are not as they should be: a clear word, no half state, no agent unobserved.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::{Who, World, everybody, kill, text};

/// Wraps a command that leaves a trace if it runs, and expects that Aegis refuses.
fn refused(world: &World, expected: &str) {
    let output = world.wrap("w", &["touch", "ran"]);
    assert_eq!(output.status.code(), Some(125), "{}", text(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{expected}: {}", text(&output));
    assert!(!world.work().join("ran").exists(), "the command ran all the same");
}

#[test]
fn a_wrong_file_in_the_ledgers_place_is_refused_and_left_alone() {
    let world = World::new(Who::Me);
    assert!(world.wrap("w", &["true"]).status.success());
    let ledger = world.home().join("w/audit.db");
    for (content, expected) in [
        (
            &b"my notes, not a database at all, and long enough to be taken for one"[..],
            "is not an Aegis ledger",
        ),
        (&[0; 5000], "is not an Aegis ledger"),
    ] {
        for suffix in ["-wal", "-shm"] {
            drop(std::fs::remove_file(world.home().join(format!("w/audit.db{suffix}"))));
        }
        std::fs::write(&ledger, content).unwrap();
        refused(&world, expected);
        assert_eq!(std::fs::read(&ledger).unwrap(), content);
    }
    // A database of another program.
    std::fs::remove_file(&ledger).unwrap();
    let script = format!(
        "import sqlite3; c = sqlite3.connect('{}'); c.execute('create table t (x)'); c.commit()",
        ledger.display()
    );
    assert!(world.command("python3").args(["-c", &script]).status().unwrap().success());
    refused(&world, "is not an Aegis ledger");
}

#[test]
fn a_damaged_database_is_said_to_be_damaged() {
    let world = World::new(Who::Me);
    for _ in 0..3 {
        assert!(
            world
                .wrap("w", &["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do cat /etc/passwd >/dev/null; done"])
                .status
                .success()
        );
    }
    let ledger = world.home().join("w/audit.db");
    // The log is moved into the file, then the file's pages are written over.
    let script = format!(
        "import sqlite3; c = sqlite3.connect('{}'); c.execute('pragma wal_checkpoint(truncate)')",
        ledger.display()
    );
    assert!(world.command("python3").args(["-c", &script]).status().unwrap().success());
    let mut bytes = std::fs::read(&ledger).unwrap();
    for byte in bytes.iter_mut().skip(4096) {
        *byte = 0xa5;
    }
    std::fs::write(&ledger, &bytes).unwrap();
    refused(&world, "is damaged");
    let output = world.aegis(&["audit", "verify", "w"]).output().unwrap();
    assert_ne!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_changed_record_is_named() {
    let world = World::new(Who::Me);
    assert!(world.wrap("w", &["sh", "-c", "echo x > a; echo y > b"]).status.success());
    let ledger = world.home().join("w/audit.db");
    let change = |sql: &str| {
        let script = format!(
            "import sqlite3; c = sqlite3.connect('{}'); c.execute(\"{sql}\"); c.commit()",
            ledger.display()
        );
        assert!(world.command("python3").args(["-c", &script]).status().unwrap().success());
    };
    change("update records set at = at + 1 where seq = 4");
    let (code, verdict) = world.verdict("w");
    assert_eq!((code, &verdict["first_bad_index"]), (3, &4.into()), "{verdict}");
    change("update records set at = at - 1 where seq = 4");
    assert_eq!(world.verdict("w").0, 0);
    change(
        "update records set record = cast(replace(cast(record as text), 'observed', 'enforced') as blob) where seq = 3",
    );
    let (code, verdict) = world.verdict("w");
    assert_eq!(code, 3, "{verdict}");
    assert_eq!(verdict["first_bad_entry"], 4, "the entry after it does not follow: {verdict}");
    change("delete from records where seq = 2");
    let (_, verdict) = world.verdict("w");
    assert_eq!(verdict["fault"], "entry 2 was removed", "{verdict}");
}

#[test]
fn a_home_that_others_can_write_to_is_refused_with_the_command_that_mends_it() {
    let world = World::new(Who::Me);
    assert!(world.wrap("w", &["true"]).status.success());
    std::fs::set_permissions(world.home(), std::fs::Permissions::from_mode(0o777)).unwrap();
    refused(&world, "chmod go-w");
    std::fs::set_permissions(world.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(world.wrap("w", &["true"]).status.success());
}

#[test]
fn a_home_that_cannot_be_written_is_refused() {
    // Root writes wherever it likes.
    let Some(who) =
        everybody().into_iter().find(|who| *who == Who::Nobody || !rustix::process::geteuid().is_root())
    else {
        return;
    };
    let world = World::new(who);
    assert!(world.wrap("w", &["true"]).status.success());
    for folder in [world.home().join("w"), world.home().join("run")] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
    }
    let ledger = world.home().join("w/audit.db");
    std::fs::set_permissions(&ledger, std::fs::Permissions::from_mode(0o400)).unwrap();
    refused(&world, "Permission denied");
}

#[test]
fn a_ledger_that_is_locked_is_waited_for_and_then_refused() {
    let world = World::new(Who::Me);
    assert!(world.wrap("w", &["true"]).status.success());
    let script = format!(
        "import sqlite3, sys; c = sqlite3.connect('{}', isolation_level=None); c.execute('begin immediate'); print('locked', flush=True); sys.stdin.read()",
        world.home().join("w/audit.db").display()
    );
    let mut holder = world
        .command("python3")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut line)
        .unwrap();
    refused(&world, "locked by another program");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(world.wrap("w", &["touch", "ran"]).status.success());
}

#[test]
fn a_torn_spool_is_taken_in_with_a_gap() {
    let world = World::new(Who::Me);
    let mut front = world
        .aegis(&[
            "wrap",
            "--quiet",
            "--name",
            "w",
            "--",
            "sh",
            "-c",
            "for i in 1 2 3 4 5 6 7 8; do : > f$i; done; echo ready; read x",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(front.stdout.take().unwrap()), &mut line)
        .unwrap();
    let session = crate::support::children(crate::support::children(front.id())[0])[0];
    // The ledger's writer is held up by stopping the process, then all is killed.
    kill(session, Signal::STOP);
    let run = world.home().join("run");
    let folder = std::fs::read_dir(&run).unwrap().next().unwrap().unwrap().path();
    kill(session, Signal::KILL);
    front.wait().unwrap();
    let spool = folder.join("spool-00000001");
    let mut bytes = std::fs::read(&spool).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    std::fs::write(&spool, &bytes).unwrap();
    let entries = world.entries("w");
    assert_eq!(world.verdict("w").0, 0);
    assert!(entries.iter().any(|entry| entry["kind"] == "gap"), "{entries:?}");
    assert!(!folder.exists());
}

#[test]
fn a_full_disk_holds_the_agent_and_loses_nothing() {
    if !rustix::process::geteuid().is_root() {
        // Only root can mount a small file system.
        return;
    }
    let world = World::new(Who::Me);
    std::fs::create_dir(world.home()).unwrap();
    std::fs::set_permissions(world.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let home = world.home();
    let mount = world
        .command("mount")
        .args(["-t", "tmpfs", "-o", "size=12m,mode=0700", "tmpfs"])
        .arg(&home)
        .status()
        .unwrap();
    assert!(mount.success());
    let script = "exec 2>/dev/null; i=0; while [ $i -lt 60000 ]; do true < a.$i; i=$((i+1)); done";
    let mut child = world
        .aegis(&["wrap", "--name", "full", "--", "sh", "-c", script])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut err, &mut line).unwrap();
    assert!(line.contains("no space is left"), "{line}");
    // Room is made: it goes on, and nothing was lost.
    assert!(world.command("mount").args(["-o", "remount,size=400m"]).arg(&home).status().unwrap().success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut err, &mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    let missing = world.stdout(&["audit", "query", "full", "--path", "**/a.*"]).lines().count();
    let verdict = world.verdict("full");
    assert!(world.command("umount").arg(&home).status().unwrap().success());
    assert_eq!((missing, verdict.0), (60_000, 0), "{verdict:?}");
}
