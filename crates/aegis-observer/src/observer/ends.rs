//! Entries that no call stands behind: how processes ended, and how calls did of which that shows later.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use aegis_types::{Act, Action, Clock, Outcome, Process, Program, Resource, Text, What};

use super::{Follows, Observer, Sink, State};
use crate::evidence::{Check, Sign};
use crate::processes::{Known, exe};

/// For so long after a call, evidence of its effect is taken, in microseconds.
const EVIDENCE_US: u64 = 500_000;

/// After so long, evidence is not waited for any longer: it is looked for now or never, in microseconds. What is
/// held for it keeps mounts busy.
const EVIDENCE_DUE_US: u64 = 250_000;

impl<S: Sink, C: Clock> Observer<S, C> {
    /// Records the end of each process that has ended. To be called when [`Observer::ends`] is readable, and
    /// from time to time: calls are checked more closely where it was not.
    pub fn collect_ends(&self) {
        // Held until all is recorded: who comes after finds nothing half told.
        let _collecting = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().mono_us;
        let ended: Vec<(u32, Known)> = {
            let mut state = self.state();
            let ids = state.processes.ended();
            for pid in &ids {
                drop(state.checks_of(*pid));
            }
            ids.into_iter().filter_map(|pid| Some((pid, state.processes.remove(pid)?))).collect()
        };
        for (pid, known) in ended {
            self.tell_end(pid, known);
        }
        self.look_for_evidence(now);
        self.places.sweep(now);
        self.collected_us.store(now, Ordering::Relaxed);
    }

    /// Looks for what the calls of a while ago should have changed, of threads that have made none since.
    fn look_for_evidence(&self, now_us: u64) {
        let due: Vec<(Arc<OwnedFd>, Vec<Check>)> = {
            let State { checks, processes, .. } = &mut *self.state();
            let is_due = |of: &mut Vec<Check>| {
                of.iter().all(|check| now_us.saturating_sub(check.at_us) >= EVIDENCE_DUE_US)
            };
            let due: Vec<(u32, Vec<Check>)> = checks.extract_if(|_, of| is_due(of)).collect();
            due.into_iter()
                .filter_map(|(tid, checks)| Some((Arc::clone(&processes.of_thread(tid)?.pidfd), checks)))
                .collect()
        };
        for (pidfd, checks) in due {
            self.evaluate(checks, &pidfd);
        }
    }

    pub(super) fn evaluate(&self, checks: Vec<Check>, pidfd: &OwnedFd) {
        if checks.is_empty() {
            return;
        }
        let now_us = self.clock.now().mono_us;
        for check in checks {
            // Later, the entry stands in the ledger as it is.
            if now_us.saturating_sub(check.at_us) > EVIDENCE_US || !check.sign.shows(pidfd) {
                continue;
            }
            if check.acts.iter().any(|(_, _, name)| self.is_kept(name))
                && let Sign::Appeared(folder, name) = &check.sign
            {
                self.preimages.made(folder, name);
            }
            for (ticket, action, name) in check.acts {
                // May wait for room: no lock is held.
                self.sink.ended(ticket, Outcome::Ok);
                self.state().summary.ended(action, &name, Outcome::Ok);
            }
        }
    }

    /// Records the end of a process that was let go, with what it read of the system.
    pub(super) fn tell_end(&self, pid: u32, known: Known) {
        known.folds.give_back(&mut self.state().fold_memory);
        let status = known.status(pid);
        let exe = if known.executing.is_some() { Arc::new(exe(pid)) } else { Arc::clone(&known.exe) };
        let exe = if exe.as_bytes().is_empty() { known.exe } else { exe };
        let process = Process { exe, pid, ppid: known.ppid, tid: pid };
        let act = |action, resource| Act::new(action, "exit", process.clone(), resource);
        for (folder, count) in known.folds.into_counts() {
            for (action, number) in [(Action::FileRead, count.reads), (Action::DirList, count.lists)] {
                if number > 1 {
                    let resource = Resource::Path(Text::new(folder.clone()));
                    let mut act = act(action, resource);
                    act.folded = true;
                    act.count = Some(number);
                    self.tell(act, number - 1);
                }
            }
        }
        let program =
            Program { argv: Vec::new(), argv_omitted: None, exe: (*process.exe).clone(), masked: false };
        let mut end = act(Action::ProcessExit, Resource::Program(program));
        end.outcome = Outcome::Ok;
        end.status = status;
        self.judge(&mut end, Vec::new(), self.clock.now());
        if self.settings.enforce {
            // Nobody can be kept from ending.
            end.would = None;
        }
        self.tell(end, 0);
    }

    fn tell(&self, act: Act, folded: u64) {
        self.state().summary.entry(act.action, act.outcome, folded);
        let event = self.event(What::Action(Box::new(act)));
        // What has happened can't be refused any more; a sink that takes no more has ended the session.
        drop(self.sink.record(&event, Follows::Nothing));
    }

    /// Records the end of every process that is still known; for when none is left.
    pub fn finish(&self) {
        self.collect_ends();
        let rest: Vec<(u32, Known)> = {
            let mut state = self.state();
            let ids = state.processes.ids();
            ids.into_iter().filter_map(|pid| Some((pid, state.processes.remove(pid)?))).collect()
        };
        for (pid, known) in rest {
            self.tell_end(pid, known);
        }
    }
}
