//! What came of a comparison: counts, and the first findings in words.

use std::collections::BTreeMap;
use std::fmt;

use super::line::Action;

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Up to 20 missed lines in words, of as many actions as possible.
    pub missed: Vec<String>,
    /// Up to 20 contradicted lines.
    pub contradicted: Vec<String>,
    /// Up to 20 invented records.
    pub invented: Vec<String>,
    /// The counts of each action.
    pub by_action: BTreeMap<Action, Totals>,
    /// Records by processes of the truth whose resource is none that can be compared.
    pub unreadable: usize,
}

/// The counts of one action, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Lines of the truth that say the kernel did it.
    pub done: usize,
    /// Lines of the truth that say it failed.
    pub failed: usize,
    /// Lines of `failed` for which there is a record, too.
    pub failed_seen: usize,
    /// Records by processes of the truth, wherever in the file system.
    pub recorded: usize,
    /// Lines of `done` without a record.
    pub missed: usize,
    /// Lines of `done` whose record says that they failed.
    pub contradicted: usize,
    /// Records that claim what was not done.
    pub invented: usize,
}

impl Totals {
    /// Adds the counts of `other`.
    pub(super) fn add(&mut self, other: Totals) {
        self.done += other.done;
        self.failed += other.failed;
        self.failed_seen += other.failed_seen;
        self.recorded += other.recorded;
        self.missed += other.missed;
        self.contradicted += other.contradicted;
        self.invented += other.invented;
    }
}

impl Report {
    /// Returns the counts of all actions together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        self.by_action.values().for_each(|totals| sum.add(*totals));
        sum
    }

    /// Tells whether there was something to compare and nothing was missed, contradicted or invented.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let totals = self.totals();
        totals.done > 0 && totals.missed + totals.contradicted + totals.invented == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "action           done  failed  failed seen  recorded  missed  contradicted  invented")?;
        for (action, totals) in &self.by_action {
            row(f, &action.to_string(), *totals)?;
        }
        row(f, "all", self.totals())?;
        if self.unreadable > 0 {
            writeln!(f, "{} records name nothing that can be compared", self.unreadable)?;
        }
        let lists =
            [("missed", &self.missed), ("contradicted", &self.contradicted), ("invented", &self.invented)];
        for (title, list) in lists {
            for text in list {
                writeln!(f, "{title}: {text}")?;
            }
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, totals: Totals) -> fmt::Result {
    let Totals { done, failed, failed_seen, recorded, missed, contradicted, invented } = totals;
    write!(f, "{name:<13}{done:>8}{failed:>8}{failed_seen:>13}{recorded:>10}")?;
    writeln!(f, "{missed:>8}{contradicted:>14}{invented:>10}")
}
