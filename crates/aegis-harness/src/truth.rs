//! Compares what a program knows it did with what Aegis recorded of it.
//!
//! The program `ground-truth` writes what it did, one line an act; `aegis audit export --format jsonl` gives
//! what was recorded. [`compare`] finds what is in one and not in the other:
//!
//! - *missed*: a line that says the kernel did it, and no record of the same action, resource and process (for
//!   a connection also of the same direction; for an exit, process and status only). A record serves one line.
//! - *contradicted*: such a line has a record, but one that says it failed or its target was not there.
//! - *invented*: a record that claims success, by a process of the truth and on something below the root, and
//!   no line that says so.
//!
//! Acts that failed owe no record; how many have one is counted all the same ([`Totals::failed_seen`]). The
//! order of records is not compared. Nothing here uses the code of the product: a mistake it makes in a format
//! must not be made by its judge, too.

mod base64;
mod ends;
mod line;
mod load;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

pub use ends::{Ends, compare_ends};
pub use line::{Action, Actor, Direction, Outcome, Record, Resource, Status, TruthLine};
pub use load::{load_records, load_truth, parse_record, write_truth};
pub use report::{Report, Totals};

/// How many findings of each sort a report spells out.
const LISTED: usize = 20;

/// Compares the lines of `truth` with those of `records` that are by processes of the truth.
///
/// `root` is the directory the program worked in, with links resolved.
#[must_use]
pub fn compare(truth: &[TruthLine], records: &[Record], root: &Path) -> Report {
    let pids: HashSet<u32> = truth.iter().map(|line| line.pid).collect();
    let mut groups: BTreeMap<Key<'_>, Group<'_>> = BTreeMap::new();
    let mut unreadable = 0;
    for line in truth {
        groups.entry(Key::of_line(line)).or_default().take_line(line);
    }
    let comparable = |record: &&Record| record.action != Action::Other && pids.contains(&record.process.pid);
    for record in records.iter().filter(comparable) {
        let key = Key::of_record(record);
        unreadable += usize::from(key.resource == Some(&Resource::Other));
        groups.entry(key).or_default().take_record(record);
    }

    let mut by_action: BTreeMap<Action, Totals> = BTreeMap::new();
    let mut found = Vec::new();
    for (key, group) in &groups {
        let totals = group.totals(root);
        by_action.entry(key.action).or_default().add(totals);
        found.push((key, group, totals));
    }
    Report {
        missed: listed(
            &found,
            |totals| totals.missed,
            |key, group, count| format!("{}{}{}", group.line_text(), times(count), nearest(&groups, key)),
        ),
        contradicted: listed(
            &found,
            |totals| totals.contradicted,
            |_, group, count| format!("{}{}", group.line_text(), times(count)),
        ),
        invented: listed(
            &found,
            |totals| totals.invented,
            |_, group, count| format!("{}{}", group.record_text(), times(count)),
        ),
        by_action,
        unreadable,
    }
}

/// What has to be equal for a record to be about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    action: Action,
    resource: Option<&'a Resource>,
    direction: Option<Direction>,
    status: Option<Status>,
    pid: u32,
}

impl<'a> Key<'a> {
    fn of_line(line: &'a TruthLine) -> Self {
        let whole = Self {
            action: line.action,
            resource: Some(&line.resource),
            direction: line.direction,
            status: line.status,
            pid: line.pid,
        };
        whole.without_the_irrelevant()
    }

    fn of_record(record: &'a Record) -> Self {
        let whole = Self {
            action: record.action,
            resource: Some(&record.resource),
            direction: record.direction,
            status: record.status,
            pid: record.process.pid,
        };
        whole.without_the_irrelevant()
    }

    fn without_the_irrelevant(self) -> Self {
        match self.action {
            Action::ProcessExit => Self { resource: None, direction: None, ..self },
            Action::NetConnect => Self { status: None, ..self },
            _ => Self { direction: None, status: None, ..self },
        }
    }
}

/// All lines and records of one key.
#[derive(Default)]
struct Group<'a> {
    line: Option<&'a TruthLine>,
    done: usize,
    failed: usize,
    record: Option<&'a Record>,
    recorded_ok: usize,
    recorded_unknown: usize,
    recorded_failed: usize,
}

impl<'a> Group<'a> {
    fn take_line(&mut self, line: &'a TruthLine) {
        if line.ok {
            self.line = Some(line);
            self.done += 1;
        } else {
            self.line = self.line.or(Some(line));
            self.failed += 1;
        }
    }

    fn take_record(&mut self, record: &'a Record) {
        self.record = Some(record);
        match record.outcome {
            Outcome::Ok => self.recorded_ok += 1,
            Outcome::Unknown => self.recorded_unknown += 1,
            Outcome::Missing | Outcome::Failed(_) => self.recorded_failed += 1,
        }
    }

    fn totals(&self, root: &Path) -> Totals {
        let recorded = self.recorded_ok + self.recorded_unknown + self.recorded_failed;
        let served = self.done.min(recorded);
        let below_root = self.record.is_some_and(|record| record.resource.is_below(root));
        Totals {
            done: self.done,
            failed: self.failed,
            failed_seen: self.failed.min(recorded - served),
            recorded,
            missed: self.done - served,
            contradicted: served.saturating_sub(self.recorded_ok + self.recorded_unknown),
            invented: if below_root { self.recorded_ok.saturating_sub(self.done) } else { 0 },
        }
    }

    fn line_text(&self) -> String {
        self.line.map(ToString::to_string).unwrap_or_default()
    }

    fn record_text(&self) -> String {
        self.record.map(ToString::to_string).unwrap_or_default()
    }
}

/// Returns the texts of the first findings: one of each action, then a second of each, and so on.
fn listed<'a>(
    found: &[(&Key<'a>, &Group<'a>, Totals)],
    count: impl Fn(&Totals) -> usize,
    text: impl Fn(&Key<'a>, &Group<'a>, usize) -> String,
) -> Vec<String> {
    let mut seen: BTreeMap<Action, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    for (key, group, totals) in found.iter().filter(|(_, _, totals)| count(totals) > 0) {
        let nth = seen.entry(key.action).or_default();
        *nth += 1;
        chosen.push((*nth, key.action, key, group, count(totals)));
    }
    chosen.sort_by_key(|(nth, action, ..)| (*nth, *action));
    chosen.into_iter().take(LISTED).map(|(.., key, group, count)| text(key, group, count)).collect()
}

fn times(count: usize) -> String {
    if count == 1 { String::new() } else { format!(" ({count} times)") }
}

/// Says which record comes nearest to a missed line, as a hint at what went wrong.
fn nearest(groups: &BTreeMap<Key<'_>, Group<'_>>, key: &Key<'_>) -> String {
    let other = |alike: &dyn Fn(&Key<'_>) -> bool| {
        let near =
            groups.iter().find(|(other, group)| *other != key && group.record.is_some() && alike(other));
        near.map(|(_, group)| format!("; but there is {}", group.record_text()))
    };
    let same_act =
        |k: &Key<'_>| k.action == key.action && k.resource == key.resource && key.resource.is_some();
    let same_thing = |k: &Key<'_>| k.pid == key.pid && k.resource == key.resource && key.resource.is_some();
    let same_end =
        |k: &Key<'_>| k.action == Action::ProcessExit && k.action == key.action && k.pid == key.pid;
    other(&same_act).or_else(|| other(&same_thing)).or_else(|| other(&same_end)).unwrap_or_default()
}
