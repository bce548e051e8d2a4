//! The thread that takes what is queued into the ledger, in group commits.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aegis_sys::clock::monotonic_us;
use aegis_sys::segment::Mapping;
use aegis_types::{Outcome, SessionId};

use super::queue::{Queue, Queued};
use super::{OBSERVER, Order, Orders, RETRY, Shared, Trouble, lock};
use crate::LedgerError;
use crate::schedule::Seals;
use crate::spool::{Kind, discard_before, outcome_of};
use crate::store::{Appended, Entry, KINDS, Ledger, SEAL_RECORDS, Sealing};

/// How long the writer waits for more before it commits, in microseconds.
const GATHER_US: u64 = 20_000;

/// How long an event is held back for evidence of its outcome.
const HOLD: Duration = Duration::from_millis(500);

/// How long an event is held back that is being executed: what takes longer has an outcome that nobody knows.
const EXECUTE: Duration = Duration::from_secs(10);

/// The most events of one commit: as many as may be unsealed.
const BATCH: usize = SEAL_RECORDS as usize;

/// The thread that writes.
pub(super) struct Writer {
    pub(super) ledger: Ledger,
    pub(super) session: SessionId,
    pub(super) shared: Arc<Shared>,
    pub(super) trouble: Arc<dyn Fn(Trouble) + Send + Sync>,
    pub(super) pending: Queue,
    /// Empty between two looks: its memory takes turns with that of the shared queue.
    pub(super) taken: Queue,
    /// The memory of the spool's first segment, until there is time for it.
    pub(super) unprepared: Option<Arc<Mapping>>,
    /// When the event that holds the others back was first seen, in microseconds.
    pub(super) held_since: Option<(u64, u64)>,
    /// When the first event that is being executed was first seen, in microseconds.
    pub(super) executing_since: Option<(u64, u64)>,
    pub(super) folder: PathBuf,
    pub(super) seals: Seals,
}

impl Writer {
    pub(super) fn run(mut self) -> Ledger {
        loop {
            let (durable, stop) = self.wait();
            let urgent = stop || !durable.is_empty();
            if let Err(error) = self.drain(durable, urgent, stop) {
                let why = error.to_string();
                lock(&self.shared.orders).failed = Some(why.clone());
                self.shared.room.notify_all();
                (self.trouble)(Trouble::Failed(why));
                return self.ledger;
            }
            if stop {
                return self.ledger;
            }
            // Behind the session's start, which everybody waits for.
            if let Some(mapping) = self.unprepared.take() {
                mapping.populate();
            }
        }
    }

    /// Waits for work, then a little for more of it.
    fn wait(&self) -> (Vec<Order>, bool) {
        let mut orders = lock(&self.shared.orders);
        let idle = |o: &Orders| !self.shared.dirty.load(Ordering::Acquire) && o.durable.is_empty() && !o.stop;
        while idle(&orders) && self.pending.events.is_empty() {
            let left = self.seals.due_us().saturating_sub(monotonic_us());
            if left == 0 {
                return (Vec::new(), false);
            }
            let waited = self.shared.wake.wait_timeout(orders, Duration::from_micros(left));
            orders = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let until = monotonic_us() + GATHER_US;
        loop {
            let left = Duration::from_micros(until.saturating_sub(monotonic_us()));
            let more = |o: &Orders| o.durable.is_empty() && !o.stop;
            if left.is_zero() || !more(&orders) {
                break;
            }
            if self.wants_segment() {
                drop(orders);
                self.prepare();
                orders = lock(&self.shared.orders);
                continue;
            }
            let idle = |o: &mut Orders| more(o) && !self.wants_segment();
            let waited = self.shared.wake.wait_timeout_while(orders, left, idle);
            orders = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.shared.dirty.store(false, Ordering::Release);
        (std::mem::take(&mut orders.durable), orders.stop)
    }

    /// Says whether the spool's next segment is to be made here.
    fn wants_segment(&self) -> bool {
        self.shared.maker.is_none() && self.shared.prepare.load(Ordering::Acquire)
    }

    /// Makes the spool's next segment, so that who appends need not.
    fn prepare(&self) {
        let made = lock(&self.shared.spare).make();
        self.shared.prepare.store(false, Ordering::Release);
        // What went wrong is met and told by who appends.
        if let Ok(Some(mapping)) = made {
            mapping.populate();
        }
    }

    /// Moves what is queued, then what was ordered, into the ledger.
    fn drain(&mut self, mut durable: Vec<Order>, urgent: bool, stop: bool) -> Result<(), LedgerError> {
        self.read();
        let is_end = |(entry, _): &Order| KINDS.get(usize::from(entry.class.kind)) == Some(&"session_end");
        let ended = durable.iter().any(is_end);
        // At the end, what is there is all there will be, and stands before it: also what was being executed when all
        // was killed, and whose outcome nobody knows.
        let ready = if stop || ended { self.pending.events.len() } else { self.ready(urgent) };
        let mut at = 0;
        loop {
            let end = ready.min(at + BATCH);
            let last_round = end == ready;
            let mut batch = entries(&self.pending, self.session, at..end);
            if last_round {
                batch.extend(durable.iter().map(|(entry, _)| entry.clone()));
            }
            let sealing = self.seals.sealing(monotonic_us(), last_round && ended);
            if !batch.is_empty() || sealing != Sealing::WhenMany {
                let appended = commit(&mut self.ledger, &self.shared, &*self.trouble, &batch, sealing)?;
                let seq = appended.seq;
                self.seals.committed(&appended, &batch, sealing, monotonic_us());
                if !appended.trouble.is_empty() && !std::mem::replace(&mut self.seals.trouble_told, true) {
                    (self.trouble)(Trouble::Custody(appended.trouble.join("; ")));
                }
                if last_round {
                    let first = seq + 1 - durable.len() as u64;
                    for (index, (_, send)) in durable.drain(..).enumerate() {
                        // Who asked may have gone.
                        drop(send.try_send(Ok(first + index as u64)));
                    }
                }
            }
            at = end;
            if last_round {
                break;
            }
        }
        self.release(ready);
        self.pending.drop_first(ready);
        Ok(())
    }

    /// Takes what is queued, and notes for which events there is evidence.
    fn read(&mut self) {
        std::mem::swap(&mut self.taken, &mut *lock(&self.shared.queue));
        self.shared.room.notify_all();
        self.pending.take_from(&mut self.taken);
        // How an event ended comes behind it, mostly close.
        let Queue { events, arena } = &self.pending;
        let ended: Vec<(u64, Outcome)> = events
            .iter()
            .filter(|event| event.about.kind == Kind::Ended)
            .filter_map(|event| Some((event.about.n, outcome_of(arena.get(event.bytes.clone())?)?)))
            .collect();
        self.pending.events.retain(|event| event.about.kind != Kind::Ended);
        for (n, outcome) in ended {
            if let Ok(at) = self.pending.events.binary_search_by_key(&n, |event| event.about.n)
                && let Some(event) = self.pending.events.get_mut(at)
                && matches!(event.about.kind, Kind::Waiting | Kind::Executing)
            {
                event.about.kind = Kind::Event;
                event.outcome = Some(outcome);
            }
        }
    }

    /// Returns how many pending events go now: all up to the first that is being executed, or that still waits for
    /// evidence where there is time for that.
    fn ready(&mut self, all: bool) -> usize {
        let executing = self.pending.events.iter().position(|e| e.about.kind == Kind::Executing);
        let most = match executing.and_then(|at| Some((at, self.pending.events.get(at)?.about.n))) {
            Some((at, n)) => {
                let now = monotonic_us();
                let since = match self.executing_since {
                    Some((held, since)) if held == n => since,
                    _ => now,
                };
                self.executing_since = Some((n, since));
                if Duration::from_micros(now.saturating_sub(since)) < EXECUTE {
                    at
                } else {
                    self.pending.events.len()
                }
            }
            None => self.pending.events.len(),
        };
        self.seen(all).min(most)
    }

    /// Returns how many pending events go now, as far as evidence is concerned.
    fn seen(&mut self, all: bool) -> usize {
        let waiting = self.pending.events.iter().position(|e| e.about.kind == Kind::Waiting);
        let (Some(first), false) = (waiting, all || self.pending.events.len() >= BATCH) else {
            self.held_since = None;
            return self.pending.events.len();
        };
        let n = self.pending.events.get(first).map_or(0, |e| e.about.n);
        let now = monotonic_us();
        let since = match self.held_since {
            Some((held, since)) if held == n => since,
            _ => now,
        };
        if Duration::from_micros(now.saturating_sub(since)) >= HOLD {
            self.held_since = None;
            return self.pending.events.len();
        }
        self.held_since = Some((n, since));
        first
    }

    /// Gives back the segments whose events are all in the ledger, but for the last: it is in use.
    fn release(&self, committed: usize) {
        let next = self.pending.events.get(committed).or(self.pending.events.last());
        let Some(segment) = next.map(|event| event.segment) else { return };
        if self.shared.oldest.swap(segment, Ordering::AcqRel) != segment {
            discard_before(&self.folder, segment);
            drop(lock(&self.shared.orders));
            self.shared.room.notify_all();
        }
    }
}

/// Makes entries of queued events.
fn entries(queue: &Queue, session: SessionId, range: Range<usize>) -> Vec<Entry<'_>> {
    let entry = |event: &Queued| {
        let bytes = queue.arena.get(event.bytes.clone()).unwrap_or_default();
        Entry {
            session,
            producer: OBSERVER,
            n: Some(event.about.n),
            recovered: false,
            bytes: match event.outcome {
                Some(outcome) => with_outcome(bytes, outcome),
                None => Cow::Borrowed(bytes),
            },
            at: event.about.at,
            class: event.about.class,
        }
    };
    queue.events.get(range).unwrap_or_default().iter().map(entry).collect()
}

/// Commits, trying again for as long as that can help.
fn commit(
    ledger: &mut Ledger,
    shared: &Shared,
    trouble: &(dyn Fn(Trouble) + Send + Sync),
    batch: &[Entry<'_>],
    sealing: Sealing,
) -> Result<Appended, LedgerError> {
    let mut told = false;
    loop {
        match ledger.append(batch, sealing) {
            Ok(appended) => {
                if told {
                    trouble(Trouble::Over);
                }
                return Ok(appended);
            }
            Err(error) if error.is_transient() && !lock(&shared.orders).stop => {
                if !told {
                    trouble(Trouble::Waiting(error.to_string()));
                    told = true;
                }
                let orders = lock(&shared.orders);
                drop(shared.wake.wait_timeout(orders, RETRY));
            }
            Err(error) => return Err(error),
        }
    }
}

/// What an action says of its outcome while that is not known. Before it in an event stand only words of our
/// own, so the first place is the one.
const UNKNOWN: &[u8] = b"\"outcome\":\"unknown\"";

/// Returns an event's bytes with this outcome in place of `unknown`.
fn with_outcome(bytes: &[u8], outcome: Outcome) -> Cow<'_, [u8]> {
    let Some(at) = bytes.windows(UNKNOWN.len()).position(|part| part == UNKNOWN) else {
        return Cow::Borrowed(bytes);
    };
    let (before, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let known = format!("\"outcome\":\"{}\"", outcome.word());
    Cow::Owned([before, known.as_bytes(), rest.get(UNKNOWN.len()..).unwrap_or_default()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_outcome_takes_the_place_of_the_unknown_one() {
        let event = br#"{"flags":["X"],"outcome":"unknown","path":"\"outcome\":\"unknown\""}"#;
        let expected = br#"{"flags":["X"],"outcome":"ENOSPC","path":"\"outcome\":\"unknown\""}"#;
        let failed = outcome_of(b"ENOSPC").unwrap();
        assert_eq!(with_outcome(event, failed), &expected[..]);
        assert_eq!(with_outcome(b"{}", Outcome::Ok), &b"{}"[..]);
        assert_eq!((outcome_of(b""), outcome_of(b"nonsense")), (Some(Outcome::Ok), None));
    }
}
