//! Eight processes do thousands of things of every kind, and say what; nothing of it may be missed, and
//! nothing be there that was not done.

use std::collections::BTreeMap;

use aegis_harness::truth;

use crate::support::{Who, World, everybody, text};

#[test]
fn nothing_is_missed_and_nothing_invented() {
    for who in everybody() {
        let world = World::new(who);
        for folder in ["root", "out"] {
            assert!(world.command("mkdir").arg(world.path(folder)).status().unwrap().success());
        }
        let program = world.path("bin/ground-truth");
        let (root, out) = (world.path("root"), world.path("out"));
        let operations = ["--ops", "4000"];
        let arguments = [program.to_str().unwrap(), root.to_str().unwrap(), out.to_str().unwrap()];
        let output = world.wrap("truth", &[&arguments[..], &operations].concat());
        assert!(output.status.success(), "{}", text(&output));
        let export = world.path("export.jsonl");
        std::fs::write(&export, world.stdout(&["audit", "export", "truth", "--format", "jsonl"])).unwrap();
        let lines = truth::load_truth(&out).unwrap();
        let records = truth::load_records(&export).unwrap();
        let report = truth::compare(&lines, &records, &root);
        assert!(lines.len() > 15_000, "{} lines of truth", lines.len());
        assert!(report.is_exact(), "{who:?}: {report}");
        let (code, verdict) = world.verdict("truth");
        assert_eq!((code, &verdict["gaps"]), (0, &0.into()), "{verdict}");
    }
}

/// What `run` refuses, whatever the policies permit: the work that needs it can't be done. Datagrams of the internet need a
/// network of their own.
fn refused(namespaces: bool) -> &'static [&'static str] {
    if namespaces { &["unix"] } else { &["listen", "udp", "unix"] }
}

/// Does the work under `run`, where everything is permitted that can be. Without namespaces, processes are known by the
/// same ids inside and outside.
fn enforced(who: Who, own_processes: bool) {
    let world = World::new(who);
    for folder in ["root", "out"] {
        assert!(world.command("mkdir").arg(world.path(folder)).status().unwrap().success());
    }
    let (program, root, out) = (world.path("bin/ground-truth"), world.path("root"), world.path("out"));
    let mut command = if own_processes {
        world.command(world.path("bin/aegis"))
    } else {
        let mut command = world.command(world.path("bin/without"));
        command.args(["namespaces", "--"]).arg(world.path("bin/aegis"));
        command
    };
    command.args(["run", "--config", "truth", "--policy", "permit-all", "--"]);
    let output = command.arg(program).args([&root, &out]).args(["--ops", "4000"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let export = world.path("export.jsonl");
    std::fs::write(&export, world.stdout(&["audit", "export", "truth", "--format", "jsonl"])).unwrap();
    let mut lines = truth::load_truth(&out).unwrap();
    let mut records = truth::load_records(&export).unwrap();
    if own_processes {
        // It knows itself and its children by other ids than those outside: names tell its acts apart.
        lines.iter_mut().for_each(|line| line.pid = 1);
        records.iter_mut().for_each(|record| record.process.pid = 1);
    }
    let report = truth::compare(&lines, &records, &root);
    assert!(lines.len() > 14_000, "{} lines of truth", lines.len());
    assert!(report.is_exact(), "{who:?}: {report}");
    let ends = truth::compare_ends(&lines, &records);
    assert!(
        ends.unlike.is_empty(),
        "{who:?}: {} of {}: {:#?}",
        ends.unlike.len(),
        ends.compared,
        ends.unlike
    );
    assert!(ends.compared > 14_000, "{who:?}: {}", ends.compared);
    // What was not done was refused, and that is in the ledger.
    let mut not_done: BTreeMap<String, usize> = BTreeMap::new();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in errors.lines().filter_map(|line| line.split_once("not expected, ")) {
        let (count, what) = line.1.split_once(" times: ").unwrap();
        let (word, error) = what.split_once(": ").unwrap();
        let known = refused(own_processes).contains(&word) && error.starts_with("Permission denied");
        assert!(known, "{who:?}: {what}");
        *not_done.entry(word.to_owned()).or_default() += count.parse::<usize>().unwrap();
    }
    let entries = world.entries("truth");
    let refusals = entries.iter().filter(|entry| entry["kind"] == "refusal").count();
    println!("{who:?} {report}\n{} ends compared; not done {not_done:?}; {refusals} refusals", ends.compared);
    let refused: usize = not_done.values().sum();
    assert!(refused > 50, "{who:?}: {not_done:?}");
    assert!(refusals >= refused, "{who:?}: {refusals} of {refused}");
    let (code, verdict) = world.verdict("truth");
    assert_eq!((code, &verdict["gaps"]), (0, &0.into()), "{verdict}");
}

#[test]
fn what_is_enforced_is_recorded_as_it_ended() {
    for who in everybody() {
        enforced(who, false);
    }
}

#[test]
fn what_is_enforced_in_a_view_of_its_own_is_recorded_as_it_ended() {
    for who in everybody() {
        enforced(who, true);
    }
}
