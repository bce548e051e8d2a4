//! The first process: starts the workers, waits for them, and sums up what they wrote.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command};

use aegis_harness::truth::{self, Action, TruthLine};

use crate::log::{Log, status_of};

/// What is to be done, and where.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The directory of all work.
    pub(crate) root: PathBuf,
    /// The directory for the truth.
    pub(crate) out: PathBuf,
    /// How many operations, by all workers together.
    pub(crate) ops: u32,
    /// How many workers.
    pub(crate) processes: u32,
}

impl Plan {
    /// Puts a plan together.
    pub(crate) fn new(root: PathBuf, out: PathBuf, ops: u32, processes: u32) -> Self {
        Self { root, out, ops, processes }
    }

    /// Returns the numbers of the operations that worker `index` does, of all.
    pub(crate) fn share(&self, index: u32) -> std::ops::Range<u32> {
        let start = |index: u32| u64::from(self.ops) * u64::from(index) / u64::from(self.processes.max(1));
        start(index) as u32..start(index + 1) as u32
    }
}

/// Has the plan carried out.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    fs::create_dir_all(&plan.out)?;
    let (root, out) = (fs::canonicalize(&plan.root)?, fs::canonicalize(&plan.out)?);
    let plan = Plan { root, out, ..*plan };
    if plan.out.starts_with(&plan.root) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "OUT is below ROOT"));
    }
    let mut log = Log::new();
    let mut there = log.note("opendir", Action::DirList, &plan.root, fs::read_dir(&plan.root))?;
    if there.next().is_some() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "ROOT is not empty"));
    }
    drop(there);

    let started: Vec<_> = (0..plan.processes).map(|index| start(&plan, &mut log, index)).collect();
    let ended: Vec<_> = started.into_iter().map(|child| wait(&mut log, child?)).collect();
    let all_well = ended.into_iter().collect::<io::Result<Vec<bool>>>()?.into_iter().all(|well| well);
    truth::write_truth(&plan.out.join("truth.main.jsonl"), &log.lines)?;
    sum_up(&truth::load_truth(&plan.out)?)?;
    if all_well { Ok(()) } else { Err(io::Error::other("a worker failed")) }
}

/// Starts a worker.
fn start(plan: &Plan, log: &mut Log, index: u32) -> io::Result<(Child, PathBuf)> {
    let exe = std::env::current_exe()?;
    #[expect(clippy::disallowed_methods, reason = "a program to be observed, no part of Aegis")]
    let mut command = Command::new(&exe);
    let numbers = [index, plan.ops, plan.processes].map(|number| number.to_string());
    let child = command.arg(crate::WORKER).args(numbers).arg(&plan.root).arg(&plan.out).spawn()?;
    log.act_of(child.id(), "worker", Action::ProcessSpawn, &exe, true);
    Ok((child, exe))
}

fn wait(log: &mut Log, (mut child, exe): (Child, PathBuf)) -> io::Result<bool> {
    let status = child.wait()?;
    log.ended(child.id(), "worker", &exe, status_of(status));
    Ok(status.success())
}

/// Prints how often each action was done, and each way of doing it.
fn sum_up(lines: &[TruthLine]) -> io::Result<()> {
    let mut by_action: BTreeMap<Action, (usize, usize)> = BTreeMap::new();
    let mut by_way: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for line in lines {
        for (done, failed) in
            [by_action.entry(line.action).or_default(), by_way.entry(&line.via).or_default()]
        {
            *if line.ok { done } else { failed } += 1;
        }
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{:<34}{:>8}{:>8}", "", "done", "failed")?;
    for (way, (done, failed)) in by_way {
        writeln!(stdout, "{way:<34}{done:>8}{failed:>8}")?;
    }
    writeln!(stdout)?;
    for (action, (done, failed)) in by_action {
        writeln!(stdout, "{action:<34}{done:>8}{failed:>8}")?;
    }
    writeln!(stdout, "{:<34}{:>8}", "lines", lines.len())
}
