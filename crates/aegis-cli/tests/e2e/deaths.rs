//! Processes of Aegis killed in the middle of the work: no agent is left, and what it did is in the ledger.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::{World, children, everybody, kill, last, marked, until};

/// How often each process is killed, unless `AEGIS_TEST_DEATHS` says otherwise.
const TIMES: usize = 3;

/// Which of the three is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Front,
    Guard,
    Session,
}

/// How the agent is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It is observed.
    Wrap,
    /// Its policies are enforced.
    Run,
}

#[test]
fn nothing_outlives_a_killed_process_and_nothing_done_is_lost() {
    each(How::Wrap);
}

#[test]
fn nothing_confined_outlives_a_killed_process_and_nothing_done_is_lost() {
    each(How::Run);
}

fn each(how: How) {
    let times = std::env::var("AEGIS_TEST_DEATHS").ok().and_then(|text| text.parse().ok()).unwrap_or(TIMES);
    for who in everybody() {
        for victim in [Victim::Front, Victim::Guard, Victim::Session] {
            for round in 0..times {
                one(&World::new(who), how, victim, round);
            }
        }
    }
}

/// What makes files named after its argument, and says so after each.
const MAKES: &str = "i=0; while :; do : > made.$0.$i; echo $0.$i; i=$((i+1)); done";

/// The agent makes files in five processes, some of them in sessions of their own and left by their parents, and says so
/// after each; one process of Aegis is killed once it has said so a number of times.
fn one(world: &World, how: How, victim: Victim, round: usize) {
    let marker = format!("AEGIS_TEST_MARK={}", world.home().display());
    // What is confined has its variables from Aegis.
    let confined = format!("TMPDIR={}/aegis-", world.path("tmp").display());
    let script = "(while :; do :; done) & sh -c \"$0\" a & (sh -c \"$0\" b &)
        setsid sh -c 'sh -c \"$0\" c & exec sh -c \"$0\" d' \"$0\" & exec sh -c \"$0\" e";
    let arguments: &[&str] = match how {
        How::Wrap => &["wrap", "--quiet", "--name", "victim", "--"],
        How::Run => &["run", "--quiet", "--config", "victim", "--policy", "permit-all", "--"],
    };
    let mut front = world
        .aegis(arguments)
        .args(["sh", "-c", script, MAKES])
        .env("AEGIS_TEST_MARK", world.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(front.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    for _ in 0..50 + 40 * round {
        told.push(lines.next().unwrap().unwrap());
    }
    let guard = children(front.id())[0];
    let session = children(guard)[0];
    let pid = match victim {
        Victim::Front => front.id(),
        Victim::Guard => guard,
        Victim::Session => session,
    };
    kill(pid, Signal::KILL);
    // The pipe ends when the last process that could write to it has gone.
    told.extend(lines.map_while(Result::ok));
    front.wait().unwrap();
    until("no process is left", || marked(&marker).is_empty() && marked(&confined).is_empty());
    let entries = world.entries("victim");
    let recorded: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| entry["action"] == "FileWrite")
        .filter_map(|entry| entry["resource"]["path"].as_str())
        .collect();
    let is_recorded = |path: &Path| recorded.contains(path.to_str().unwrap());
    for name in told {
        let path = world.work().join(format!("made.{name}"));
        assert!(
            path.exists() && is_recorded(&path),
            "{how:?} {victim:?}: {} is not in the ledger",
            path.display()
        );
    }
    for entry in std::fs::read_dir(world.work()).unwrap() {
        let path = entry.unwrap().path();
        assert!(is_recorded(&path), "{how:?} {victim:?}: {} exists and is not in the ledger", path.display());
    }
    let (code, verdict) = world.verdict("victim");
    assert_eq!(code, 0, "{how:?} {victim:?}: {verdict}");
    // What was taken in, and that the session was lost, is said entry by entry, up to a thousand.
    for (count, listed) in [("gaps", "gap_entries"), ("recovered", "recovered_entries")] {
        let listed = verdict[listed].as_array().unwrap().len() as u64;
        assert_eq!(verdict[count].as_u64().unwrap().min(1_000), listed, "{how:?} {victim:?}: {verdict}");
        assert!(listed > 0 || !matches!(victim, Victim::Session), "{how:?} {victim:?}: {verdict}");
    }
    assert_eq!(verdict["sealed"], verdict["entries"], "{how:?} {victim:?}: {verdict}");
    assert_eq!(last(&entries)["kind"], "session_end");
    assert!(last(&entries)["end"]["failure"].is_string());
}
