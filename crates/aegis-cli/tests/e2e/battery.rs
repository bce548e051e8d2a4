//! The escape battery of the harness, fought under `aegis run` with the policies of the template `project`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::support::{Who, World, everybody, marked, text, until};

/// Attacks that work, and why that is so. One that is closed is to be taken out.
const WORKING: &[(&str, &str)] = &[
    ("exec_from_work", "the policies permit to execute what is in the directory"),
    ("sys_ptrace_child", "a debugger works on what it starts"),
    ("net_bind_listen", "the policies permit to listen on loopback"),
    ("leak_proc_net", "the policies permit /proc/self, and the network is the host's"),
    ("left_daemon", "a session goes on until its last process has ended"),
    ("left_deaf_daemon", "a session goes on until its last process has ended"),
];

/// Attacks that work as well where there are no namespaces.
const SEEN: &[(&str, &str)] = &[
    ("fs_stat_forbidden", "metadata is hidden by a namespace only"),
    ("leak_readlink", "metadata is hidden by a namespace only"),
    ("leak_getxattr", "metadata is hidden by a namespace only"),
];

/// And where nothing bounds the number of processes.
const UNBOUND: &[(&str, &str)] =
    &[("lim_fork_512", "processes are counted by a cgroup or in a namespace only")];

/// So many attacks and honest works must have been tried at least: the rest is what a kernel lacks.
const ATTACKS: usize = 290;
const WORKS: usize = 36;

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    group: String,
    verdict: String,
    detail: String,
}

impl Row {
    fn is_applicable(&self) -> bool {
        !(self.verdict == "ERROR" && self.detail.starts_with("n/a"))
    }
}

fn rows(world: &World, who: Who, lacking: &[&str]) -> Vec<Row> {
    let battery = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aegis-harness/escape/battery.py");
    let (work, home) = (world.work(), world.home());
    world.stdout(&["init", "battery", "--dir", work.to_str().unwrap()]);
    let results = world.path("results.json");
    // It prepares what only root can, and drops that for the tool.
    let mut command = Command::new("python3");
    command.arg(battery).arg("run").arg("--work").arg(&work).arg("--forbidden").arg(world.path("forbidden"));
    command.arg("--state").arg(&home).arg("--json").arg(&results);
    for (name, value) in [("AEGIS_HOME", &home), ("AEGIS_TEST_MARK", &home), ("TMPDIR", &world.path("tmp"))] {
        command.arg("--env").arg(format!("{name}={}", value.display()));
    }
    if who == Who::Nobody {
        command.args(["--uid", "65534"]);
    }
    command.arg("--");
    if !lacking.is_empty() {
        command.arg(world.path("bin/without")).args(lacking).arg("--");
    }
    command.arg(world.path("bin/aegis")).args(["run", "--quiet", "--config", "battery", "--"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{who:?}: {}", text(&output));
    serde_json::from_slice(&std::fs::read(results).unwrap()).unwrap()
}

fn fight(who: Who, lacking: &[&str]) {
    if !everybody().contains(&who) {
        return;
    }
    let world = World::new(who);
    let rows = rows(&world, who, lacking);
    let (works, attacks): (Vec<&Row>, Vec<&Row>) =
        rows.iter().filter(|row| row.is_applicable()).partition(|row| row.group == "sanity");
    let unlike = |rows: &[&Row], verdict: &str| -> BTreeMap<String, String> {
        let others = rows.iter().filter(|row| row.verdict != verdict);
        others.map(|row| (row.name.clone(), format!("{}: {}", row.verdict, row.detail))).collect()
    };
    assert_eq!(unlike(&works, "ALLOWED"), BTreeMap::new(), "{who:?}: honest work");
    let not_blocked = unlike(&attacks, "BLOCKED");
    let failed: Vec<_> = not_blocked.iter().filter(|(_, why)| !why.starts_with("ALLOWED")).collect();
    assert!(failed.is_empty(), "{who:?}: {failed:?}");
    let working: BTreeSet<&str> = not_blocked.keys().map(String::as_str).collect();
    let (seen, unbound) = if lacking.is_empty() { (&[][..], &[][..]) } else { (SEEN, UNBOUND) };
    // Root has a cgroup all the same.
    let unbound = if who == Who::Nobody { unbound } else { &[][..] };
    let names = |list: &'static [(&str, &str)]| list.iter().map(|(name, _)| *name);
    let expected: BTreeSet<&str> = names(WORKING).chain(names(seen)).chain(names(unbound)).collect();
    let escaped: Vec<_> = working.difference(&expected).collect();
    assert!(escaped.is_empty(), "{who:?}: {escaped:?} of {not_blocked:?}");
    let closed: Vec<_> = expected.difference(&working).collect();
    assert!(closed.is_empty(), "{who:?}: {closed:?} work no more: take them out of the list");
    assert!(attacks.len() >= ATTACKS && works.len() >= WORKS, "{} {}", attacks.len(), works.len());
    // The battery kills what is left, the session process among it; what was done is in the ledger all the same.
    let marker = format!("AEGIS_TEST_MARK={}", world.home().display());
    until("the session has ended", || marked(&marker).is_empty());
    let (code, verdict) = world.verdict("battery");
    assert_eq!(code, 0, "{who:?}: {verdict}");
}

#[test]
fn attacks_are_blocked_and_honest_work_is_not() {
    fight(Who::Me, &[]);
}

#[test]
fn attacks_of_an_ordinary_user_are_blocked() {
    fight(Who::Nobody, &[]);
}

#[test]
fn attacks_are_blocked_without_namespaces() {
    fight(Who::Me, &["docker"]);
}

#[test]
fn attacks_of_an_ordinary_user_are_blocked_without_namespaces() {
    fight(Who::Nobody, &["docker"]);
}
