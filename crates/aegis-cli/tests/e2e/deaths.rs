//! Processes of Aegis killed in the middle of the work: no agent is left, and what it did is in the ledger.

use std::io::{BufRead as _, BufReader};
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

#[test]
fn nothing_outlives_a_killed_process_and_nothing_done_is_lost() {
    let times = std::env::var("AEGIS_TEST_DEATHS").ok().and_then(|text| text.parse().ok()).unwrap_or(TIMES);
    for who in everybody() {
        for victim in [Victim::Front, Victim::Guard, Victim::Session] {
            for round in 0..times {
                one(&World::new(who), victim, round);
            }
        }
    }
}

/// The agent makes files and says so after each; one process is killed once it has said so a number of times.
fn one(world: &World, victim: Victim, round: usize) {
    let marker = format!("AEGIS_TEST_MARK={}", world.home().display());
    let script = "(while :; do :; done) & i=0; while :; do : > made.$i; echo $i; i=$((i+1)); done";
    let mut front = world
        .aegis(&["wrap", "--quiet", "--name", "victim", "--", "sh", "-c", script])
        .env("AEGIS_TEST_MARK", world.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(front.stdout.take().unwrap()).lines();
    for _ in 0..50 + 40 * round {
        lines.next().unwrap().unwrap();
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
    let told = 50 + 40 * round + lines.map_while(Result::ok).count();
    front.wait().unwrap();
    until("no process of the agent is left", || marked(&marker).is_empty());
    let entries = world.entries("victim");
    for number in 0..told {
        let path = world.work().join(format!("made.{number}"));
        let there = entries.iter().any(|entry| {
            entry["action"] == "FileWrite" && entry["resource"]["path"] == path.to_str().unwrap()
        });
        assert!(there, "{victim:?}: {} of {told} is not in the ledger", path.display());
    }
    for entry in std::fs::read_dir(world.work()).unwrap() {
        let path = entry.unwrap().path();
        let there = entries.iter().any(|entry| entry["resource"]["path"] == path.to_str().unwrap());
        assert!(there, "{victim:?}: {} exists and is not in the ledger", path.display());
    }
    let (code, verdict) = world.verdict("victim");
    assert_eq!(code, 0, "{victim:?}: {verdict}");
    // What was taken in, and that the session was lost, is said entry by entry.
    for (count, listed) in [("gaps", "gap_entries"), ("recovered", "recovered_entries")] {
        let listed = verdict[listed].as_array().unwrap().len() as u64;
        assert_eq!(verdict[count], listed, "{victim:?}: {verdict}");
        assert!(listed > 0 || !matches!(victim, Victim::Session), "{victim:?}: {verdict}");
    }
    assert_eq!(verdict["sealed"], verdict["entries"], "{victim:?}: {verdict}");
    assert_eq!(last(&entries)["kind"], "session_end");
    assert!(last(&entries)["end"]["failure"].is_string());
}
