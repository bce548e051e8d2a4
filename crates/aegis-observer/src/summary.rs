//! What a session did, in numbers and a few names; for the lines at its end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use aegis_types::{Action, Outcome};

/// How many names are kept of each sort.
const NAMES_MAX: usize = 5;

/// How many hosts are kept.
const HOSTS_MAX: usize = 20;

/// How many different names are told apart; beyond, the count says "more than".
pub const DISTINCT_MAX: usize = 100_000;

/// Names, the first few of them kept and the different ones counted.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The first few.
    pub first: Vec<Vec<u8>>,
    seen: HashSet<u64>,
}

impl Names {
    /// Says whether it is the first of its name and one of the few that are kept.
    fn add(&mut self, name: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let is_kept = self.seen.len() < DISTINCT_MAX
            && self.seen.insert(hasher.finish())
            && self.first.len() < NAMES_MAX;
        if is_kept {
            self.first.push(name.to_vec());
        }
        is_kept
    }

    /// Returns how many different ones there were, up to [`DISTINCT_MAX`].
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.len()
    }
}

/// Entries of one action, by what is known of their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub entries: u64,
    /// Those with evidence that they took effect.
    pub done: u64,
    /// Those whose target was not there.
    pub missing: u64,
    /// Those that failed otherwise.
    pub failed: u64,
    /// Reads that are in no entry of their own.
    pub folded: u64,
    /// Entries that tell of those.
    pub sums: u64,
}

impl Tally {
    /// Returns how many entries there are of whose outcome nothing is known.
    #[must_use]
    pub fn attempted(&self) -> u64 {
        self.entries.saturating_sub(self.done + self.missing + self.failed + self.sums)
    }

    fn ended(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ok => self.done += 1,
            Outcome::Missing => self.missing += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Unknown => {}
        }
    }
}

/// What a session did.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// By action.
    pub actions: BTreeMap<Action, Tally>,
    /// Files written, for which there is evidence.
    pub written: Names,
    /// Files deleted, for which there is evidence.
    pub deleted: Names,
    /// Where connections went.
    pub hosts: BTreeSet<String>,
    /// There were more hosts than are kept.
    pub more_hosts: bool,
    /// How many processes were seen.
    pub processes: u64,
    /// Gaps in what was seen.
    pub gaps: u64,
    /// What the policies would have denied, each as an action and what it was on.
    pub denied: Names,
    /// For each of the first of those: the policies that forbid it; none where no policy permits it.
    pub denied_by: Vec<Arc<[Arc<str>]>>,
    /// How many entries they would have denied.
    pub denials: u64,
}

impl Summary {
    /// Counts an entry as it is recorded.
    pub fn entry(&mut self, action: Action, outcome: Outcome, folded: u64) {
        let tally = self.actions.entry(action).or_default();
        tally.entries += 1;
        tally.folded += folded;
        tally.sums += u64::from(folded > 0);
        tally.ended(outcome);
    }

    /// Counts how something ended that was counted before.
    pub fn ended(&mut self, action: Action, name: &[u8], outcome: Outcome) {
        self.actions.entry(action).or_default().ended(outcome);
        match action {
            _ if outcome != Outcome::Ok => {}
            Action::FileWrite => drop(self.written.add(name)),
            Action::FileDelete => drop(self.deleted.add(name)),
            _ => {}
        }
    }

    /// Notes what the policies would have denied.
    pub fn deny(&mut self, action: Action, what: &str, policies: &Arc<[Arc<str>]>) {
        self.denials += 1;
        if self.denied.add(format!("{action} {what}").as_bytes()) {
            self.denied_by.push(Arc::clone(policies));
        }
    }

    /// Notes where a connection went.
    pub fn host(&mut self, host: String) {
        if self.hosts.len() < HOSTS_MAX {
            self.hosts.insert(host);
        } else if !self.hosts.contains(&host) {
            self.more_hosts = true;
        }
    }

    /// Returns the entries by action.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Action, u64> {
        self.actions.iter().map(|(action, tally)| (*action, tally.entries)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_counted_once() {
        let mut summary = Summary::default();
        for n in 0..10 {
            summary.entry(Action::FileWrite, Outcome::Unknown, 0);
            summary.ended(Action::FileWrite, format!("/f{}", n % 7).as_bytes(), Outcome::Ok);
        }
        assert_eq!(summary.written.count(), 7);
        assert_eq!(summary.written.first.len(), NAMES_MAX);
        assert_eq!(summary.actions[&Action::FileWrite], Tally { entries: 10, done: 10, ..Tally::default() });
    }
}
