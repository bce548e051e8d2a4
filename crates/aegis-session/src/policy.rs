//! The policies of a live session: recorded, in force, and changed while it runs.

use std::collections::HashSet;
use std::sync::Arc;

use aegis_ledger::{LedgerError, Pending, Recorder};
use aegis_policy::{Engine, Policies, Severity, Subject};
use aegis_sys::clock::SystemClock;
use aegis_types::{Clock, PolicyChange, PolicyFault, PolicySet, PolicyText, What};

use crate::judge::Judge;
use crate::plan::PolicyPlan;
use crate::policies::{LoadError, PolicyFiles, Stamp, has_policies, with_stack};
use crate::process::event;

/// How often is looked whether files have changed, in microseconds.
const LOOK_US: u64 = 200_000;

/// The longest text in one record, in bytes as JSON has them: with all else a record stays below its bound.
const PART_MAX: usize = 48_000;

/// Files that keep changing are read after so long all the same, in microseconds.
const SETTLE_US: u64 = 1_000_000;

/// A set that is on its way into the ledger: it is in force once it is there.
struct Coming {
    pending: Pending,
    policies: Arc<Policies>,
    engine: Engine,
}

/// What a session knows of its policies.
pub(crate) struct SessionPolicy {
    /// Who is asked.
    pub(crate) judge: Arc<Judge>,
    files: PolicyFiles,
    /// The set in force.
    policies: Option<Arc<Policies>>,
    subject: Subject,
    /// The files as they were last looked at, and whether what they say has been dealt with.
    stamp: Stamp,
    settled: bool,
    looked_us: u64,
    /// Since when they have kept changing.
    unsettled_us: Option<u64>,
    /// A set that is on its way into the ledger.
    coming: Option<Coming>,
    /// The fault that was told last.
    fault: Option<String>,
    /// Texts that the ledger has.
    known: HashSet<String>,
    /// What the session starts with, until it is in force.
    engine: Option<Engine>,
}

impl SessionPolicy {
    /// Takes the texts that the ledger has, beside what is planned.
    pub(crate) fn new(plan: PolicyPlan, known: HashSet<String>, enforces: bool) -> Self {
        let PolicyPlan { files, stamp, policies, subject, engine } = plan;
        Self {
            judge: Arc::new(Judge::new(SystemClock.now().wall, enforces)),
            files,
            policies,
            subject,
            stamp,
            settled: true,
            looked_us: 0,
            unsettled_us: None,
            coming: None,
            fault: None,
            known,
            engine,
        }
    }

    /// Records the set that the session starts with; nothing where it has none.
    pub(crate) fn begin(&mut self, recorder: &Recorder) -> Result<Option<Pending>, LedgerError> {
        let Some(policies) = self.policies.clone() else { return Ok(None) };
        self.record(recorder, &policies, PolicyChange::Start).map(Some)
    }

    /// Puts that set in force.
    pub(crate) fn put_in_force(&mut self) {
        if let Some(engine) = self.engine.take() {
            self.judge.take(engine);
        }
    }

    /// Records a set, with those texts that the ledger has not yet.
    fn record(
        &mut self,
        recorder: &Recorder,
        policies: &Policies,
        why: PolicyChange,
    ) -> Result<Pending, LedgerError> {
        let files = policies.files();
        for (file, source) in files.iter().zip(policies.sources()) {
            if !self.known.insert(file.sha256.clone()) {
                continue;
            }
            let parts = parts(&source.text);
            let count = parts.len() as u64;
            for (index, part) in parts.into_iter().enumerate() {
                let text = PolicyText {
                    part: index as u64 + 1,
                    parts: count,
                    sha256: file.sha256.clone(),
                    text: part.to_owned(),
                };
                // The last entry is waited for, and with it those before.
                drop(recorder.begin_durable(&event(What::PolicyText(text)))?);
            }
        }
        let set = PolicySet { files, sha256: policies.hash().to_owned(), why };
        recorder.begin_durable(&event(What::PolicySet(set)))
    }

    /// Looks whether the files have changed, and deals with it; returns what the user should read. It never waits.
    pub(crate) fn look(&mut self, recorder: &Recorder, now_us: u64) -> Option<String> {
        if let Some(coming) = self.coming.take() {
            return self.settle(coming);
        }
        if now_us.saturating_sub(self.looked_us) < LOOK_US {
            return None;
        }
        self.looked_us = now_us;
        let stamp = self.files.stamp();
        if stamp != self.stamp {
            // They may be in the middle of being written: what they say is read when they stay as they are.
            self.stamp = stamp;
            self.settled = false;
            let since = *self.unsettled_us.get_or_insert(now_us);
            if now_us.saturating_sub(since) < SETTLE_US {
                return None;
            }
        }
        self.unsettled_us = None;
        if std::mem::replace(&mut self.settled, true) {
            return None;
        }
        let (files, current, subject) = (&self.files, self.policies.as_deref(), &self.subject);
        match with_stack(|| reload(files, current, subject)) {
            Ok(None) => {
                self.fault = None;
                None
            }
            Ok(Some((policies, engine))) => {
                self.fault = None;
                match self.record(recorder, &policies, PolicyChange::Change) {
                    Ok(pending) => {
                        self.coming = Some(Coming { pending, policies, engine });
                        None
                    }
                    Err(error) => Some(self.not_recorded(&error)),
                }
            }
            Err(why) => {
                if self.fault.as_ref() == Some(&why) {
                    return None;
                }
                self.fault = Some(why.clone());
                let kept = self.policies.as_ref().map(|set| set.hash().to_owned()).unwrap_or_default();
                let detail: String = why.chars().take(4_000).collect();
                let fault = What::PolicyFault(PolicyFault { detail, kept });
                // It changes nothing, so nothing waits for it.
                drop(recorder.begin_durable(&event(fault)));
                Some(format!("the policies have changed and are not valid; what was in force stays: {why}"))
            }
        }
    }

    /// Says whether a set is on its way: it is to be looked after soon, since it is in force as soon as it is recorded.
    pub(crate) fn is_coming(&self) -> bool {
        self.coming.is_some()
    }

    /// Puts a set in force that is in the ledger by now.
    fn settle(&mut self, coming: Coming) -> Option<String> {
        match coming.pending.poll() {
            None => {
                self.coming = Some(coming);
                None
            }
            Some(Err(error)) => Some(self.not_recorded(&error)),
            Some(Ok(_)) => {
                let Coming { policies, engine, .. } = coming;
                let hash: String = policies.hash().chars().take(12).collect();
                let warning =
                    policies.shadowed().first().map(|warning| format!("; {warning}")).unwrap_or_default();
                self.policies = Some(policies);
                self.judge.take(engine);
                Some(format!("the policies have changed: set {hash} is in force{warning}"))
            }
        }
    }

    /// No record, no change: the files are read again, and their texts recorded again, since what was thought to be
    /// known may not be there.
    fn not_recorded(&mut self, error: &LedgerError) -> String {
        self.known.clear();
        self.settled = false;
        format!("the policies have changed; it could not be recorded, so it has no effect yet: {error}")
    }
}

/// Reads the files; returns the set they make, where it is another than the current one.
fn reload(
    files: &PolicyFiles,
    current: Option<&Policies>,
    subject: &Subject,
) -> Result<Option<(Arc<Policies>, Engine)>, String> {
    let sources = files.read().map_err(|error| error.to_string())?;
    if current.is_none() && !has_policies(&sources) {
        return Ok(None);
    }
    let policies = Policies::parse(sources).map_err(|problems| LoadError::Wrong(problems).to_string())?;
    if current.is_some_and(|current| current.hash() == policies.hash()) {
        return Ok(None);
    }
    let mut problems = policies.validate();
    problems.retain(|problem| problem.severity == Severity::Error);
    if !problems.is_empty() {
        return Err(LoadError::Wrong(problems).to_string());
    }
    let policies = Arc::new(policies);
    let engine = Engine::new(Arc::clone(&policies), subject.clone()).map_err(|error| error.to_string())?;
    Ok(Some((policies, engine)))
}

/// Cuts a text into parts that fit a record each; an empty text is one part.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, c) in text.char_indices() {
        // As JSON has it: `\u0000` for control characters.
        let length = match c {
            '"' | '\\' => 2,
            c if c.is_control() => 6,
            c => c.len_utf8(),
        };
        if size + length > PART_MAX {
            parts.push(text.get(start..at).unwrap_or_default());
            (start, size) = (at, 0);
        }
        size += length;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_parts_that_fit() {
        assert_eq!(parts(""), [""]);
        for text in
            ["a".repeat(PART_MAX), "ä".repeat(PART_MAX), "\u{1}\"".repeat(PART_MAX), "x".repeat(PART_MAX + 1)]
        {
            let parts = parts(&text);
            assert_eq!(parts.concat(), text);
            assert!(parts.iter().all(|part| serde_json::to_string(part).unwrap().len() <= PART_MAX + 2));
        }
        assert_eq!(parts(&"a".repeat(PART_MAX)).len(), 1);
        assert_eq!(parts(&"a".repeat(PART_MAX + 1)).len(), 2);
    }
}
