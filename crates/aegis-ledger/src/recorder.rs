//! The one way into a ledger for a live session.
//!
//! Observers call [`Recorder::observe`], which returns once the event is in the spool and never waits for the
//! ledger's disk. A writer thread takes events from the spool in group commits: as many as there are, after
//! a short wait in which more may come. An event about whose outcome evidence is expected is held back for
//! that long at most.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aegis_types::{Event, Gap, GapReason, Outcome, SessionId, What};

use crate::LedgerError;
use crate::spool::{Full, Kind, Next, Reader, Spool, Spooled};
use crate::store::{Class, Entry, Ledger, encode};

/// The producer of what is observed.
pub const OBSERVER: &str = "observer";

/// The producer of what a session says of itself.
pub const SESSION: &str = "session";

/// How long the writer waits for more before it commits.
const GATHER: Duration = Duration::from_millis(20);

/// How long an event is held back for evidence of its outcome.
const HOLD: Duration = Duration::from_millis(200);

/// The most events of one commit.
const BATCH: usize = 8_192;

/// How long to wait before a failed commit is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// What an event that was taken in can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It stands in the spool under this number: it survives the death of every process.
    Spooled(u64),
    /// It stands in the ledger under this number, in a synced commit: it survives a loss of power.
    Durable(u64),
}

/// What the writer tells of its trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The ledger can't be written for now; it is being tried again.
    Waiting(String),
    /// It can be written again.
    Over,
    /// It can't be written; what comes is lost to it but for what is spooled.
    Failed(String),
}

/// The writing side of a session's ledger.
pub struct Recorder {
    session: SessionId,
    spool: Mutex<Spooling>,
    shared: Arc<Shared>,
    trouble: Arc<dyn Fn(Trouble) + Send + Sync>,
    folder: PathBuf,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Spooling {
    spool: Spool,
    n: u64,
    buffer: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    /// It was said that the disk has no room for the spool.
    disk_told: AtomicBool,
    /// There is something that the writer has not looked for yet.
    dirty: AtomicBool,
    /// The first segment that is not yet in the ledger.
    oldest: AtomicU64,
    orders: Mutex<Orders>,
    /// Wakes the writer.
    wake: Condvar,
    /// Wakes those who wait for room in the spool.
    room: Condvar,
}

/// An event to be made durable, and where to say under which number it is.
type Order = (Entry, SyncSender<Result<u64, String>>);

#[derive(Debug, Default)]
struct Orders {
    durable: Vec<Order>,
    stop: bool,
    failed: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process; what is behind a lock is never half-changed by one that goes on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts recording a session: makes its spool in `folder` and starts the writer.
    ///
    /// `trouble` hears of a ledger that can't be written.
    ///
    /// # Errors
    /// The spool can't be made or the thread not started.
    pub fn start(
        ledger: Ledger,
        session: SessionId,
        folder: &Path,
        trouble: impl Fn(Trouble) + Send + Sync + 'static,
    ) -> Result<Self, LedgerError> {
        let explain = |e| LedgerError::from_io(folder, e);
        let spool = Spool::create(folder).map_err(explain)?;
        let reader = Reader::open(folder).map_err(explain)?;
        let trouble: Arc<dyn Fn(Trouble) + Send + Sync> = Arc::new(trouble);
        let shared = Arc::new(Shared { oldest: AtomicU64::new(1), ..Shared::default() });
        let writer = Writer {
            ledger,
            session,
            reader,
            shared: Arc::clone(&shared),
            trouble: Arc::clone(&trouble),
            pending: Vec::new(),
            held_since: None,
            expected: 1,
            folder: folder.to_path_buf(),
        };
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run());
        Ok(Self {
            session,
            spool: Mutex::new(Spooling { spool, n: 0, buffer: Vec::with_capacity(1024) }),
            shared,
            trouble,
            folder: folder.to_path_buf(),
            writer: Mutex::new(Some(thread.map_err(explain)?)),
        })
    }

    /// Records what was observed; returns once it is in the spool. Waits while the spool is full.
    ///
    /// # Errors
    /// The event has no canonical form or is too large, or the ledger has failed for good.
    pub fn observe(&self, event: &Event) -> Result<Receipt, LedgerError> {
        self.put(Kind::Event, event)
    }

    /// Records what was observed and is about to happen: evidence of its outcome may follow.
    ///
    /// # Errors
    /// As [`Recorder::observe`].
    pub fn observe_waiting(&self, event: &Event) -> Result<Receipt, LedgerError> {
        self.put(Kind::Waiting, event)
    }

    fn put(&self, kind: Kind, event: &Event) -> Result<Receipt, LedgerError> {
        let mut spooling = lock(&self.spool);
        let Spooling { spool, n, buffer } = &mut *spooling;
        buffer.clear();
        serde_json::to_writer(&mut *buffer, event).map_err(|e| LedgerError::Record(e.into()))?;
        if buffer.len() > EVENT_MAX {
            return Err(aegis_proof::RecordError::TooLarge(buffer.len()).into());
        }
        self.append(spool, kind, *n + 1, buffer)?;
        *n += 1;
        Ok(Receipt::Spooled(*n))
    }

    /// Says that there is evidence that the event of this number took effect.
    ///
    /// # Errors
    /// The ledger has failed for good.
    pub fn took_effect(&self, receipt: Receipt) -> Result<(), LedgerError> {
        let Receipt::Spooled(n) = receipt else { return Ok(()) };
        let mut spooling = lock(&self.spool);
        self.append(&mut spooling.spool, Kind::Took, n, &[])
    }

    fn append(&self, spool: &mut Spool, kind: Kind, n: u64, bytes: &[u8]) -> Result<(), LedgerError> {
        loop {
            let oldest = self.shared.oldest.load(Ordering::Acquire);
            match spool.append(kind, n, bytes, oldest) {
                Ok(()) => break,
                // Behind or out of space: the caller waits, and with it the agent, until there is room.
                Err(Full::Behind) => self.wait_for_room()?,
                Err(Full::Disk(error)) => {
                    self.tell_of_disk(&error);
                    self.wait_for_room()?;
                }
            }
        }
        if !self.shared.dirty.swap(true, Ordering::AcqRel) {
            drop(lock(&self.shared.orders));
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Says once that the spool can't grow.
    fn tell_of_disk(&self, error: &std::io::Error) {
        if !self.shared.disk_told.swap(true, Ordering::AcqRel) {
            let folder = self.folder.display();
            (self.trouble)(Trouble::Waiting(format!("no space is left for the spool in {folder} ({error})")));
        }
    }

    fn wait_for_room(&self) -> Result<(), LedgerError> {
        let orders = lock(&self.shared.orders);
        if let Some(why) = &orders.failed {
            return Err(LedgerError::Stopped(why.clone()));
        }
        self.shared.dirty.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        drop(self.shared.room.wait_timeout(orders, RETRY));
        Ok(())
    }

    /// Records what the session itself has to say; returns once it is in a synced commit, behind all that was
    /// observed before.
    ///
    /// # Errors
    /// It could not be recorded within `patience`.
    pub fn append_durable(&self, event: &Event, patience: Duration) -> Result<Receipt, LedgerError> {
        let entry = Entry::new(self.session, SESSION, event)?;
        let (send, receive) = sync_channel(1);
        self.order(entry, send);
        match receive.recv_timeout(patience) {
            Ok(Ok(seq)) => Ok(Receipt::Durable(seq)),
            Ok(Err(why)) => Err(LedgerError::Stopped(why)),
            Err(RecvTimeoutError::Timeout) => {
                Err(LedgerError::Stopped("the ledger could not be written in time".into()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(LedgerError::Stopped("it ended".into())),
        }
    }

    fn order(&self, entry: Entry, send: SyncSender<Result<u64, String>>) {
        let mut orders = lock(&self.shared.orders);
        if let Some(why) = &orders.failed {
            // The channel has room for the one answer.
            drop(send.try_send(Err(why.clone())));
            return;
        }
        orders.durable.push((entry, send));
        drop(orders);
        self.shared.wake.notify_one();
    }

    /// Ends the writer, after it has moved all that is spooled.
    pub fn stop(&self) {
        lock(&self.shared.orders).stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = lock(&self.writer).take() {
            // The writer reports its trouble by its channel; a panic has ended the process.
            drop(thread.join());
        }
    }
}

/// The largest event: what is left of a record beside the header.
const EVENT_MAX: usize = aegis_proof::RECORD_MAX - 512;

struct Writer {
    ledger: Ledger,
    session: SessionId,
    reader: Reader,
    shared: Arc<Shared>,
    trouble: Arc<dyn Fn(Trouble) + Send + Sync>,
    pending: Vec<Spooled>,
    /// When the event that holds the others back was first seen, in microseconds.
    held_since: Option<(u64, u64)>,
    expected: u64,
    folder: PathBuf,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (durable, stop) = self.wait();
            let urgent = stop || !durable.is_empty();
            if let Err(error) = self.drain(durable, urgent) {
                let why = error.to_string();
                lock(&self.shared.orders).failed = Some(why.clone());
                self.shared.room.notify_all();
                (self.trouble)(Trouble::Failed(why));
                return;
            }
            if stop {
                return;
            }
        }
    }

    /// Waits for work, then a little for more of it.
    fn wait(&self) -> (Vec<Order>, bool) {
        let mut orders = lock(&self.shared.orders);
        let idle = |o: &Orders| !self.shared.dirty.load(Ordering::Acquire) && o.durable.is_empty() && !o.stop;
        while idle(&orders) && self.pending.is_empty() {
            orders = self.shared.wake.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
        if orders.durable.is_empty() && !orders.stop {
            let waited =
                self.shared.wake.wait_timeout_while(orders, GATHER, |o| o.durable.is_empty() && !o.stop);
            orders = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.shared.dirty.store(false, Ordering::Release);
        (std::mem::take(&mut orders.durable), orders.stop)
    }

    /// Moves what is spooled, then what was ordered, into the ledger.
    fn drain(&mut self, mut durable: Vec<Order>, urgent: bool) -> Result<(), LedgerError> {
        loop {
            let more = self.read()?;
            let ready = self.ready(urgent || more);
            let mut batch = self.entries(ready)?;
            let last_round = !more;
            if last_round {
                batch.extend(durable.iter().map(|(entry, _)| entry.clone()));
            }
            if !batch.is_empty() {
                let seq = self.commit(&batch)?;
                if last_round {
                    let first = seq + 1 - durable.len() as u64;
                    for (index, (_, send)) in durable.drain(..).enumerate() {
                        // Who asked may have gone.
                        drop(send.try_send(Ok(first + index as u64)));
                    }
                }
            }
            if self.pending.is_empty() {
                self.release();
            }
            if last_round {
                return Ok(());
            }
        }
    }

    /// Reads from the spool; says whether there may be more than one batch.
    fn read(&mut self) -> Result<bool, LedgerError> {
        while self.pending.len() < BATCH {
            match self.reader.read_next().map_err(|e| LedgerError::from_io(&self.folder, e))? {
                Next::Entry(entry) if entry.kind == Kind::Took => {
                    let waiting = |e: &&mut Spooled| e.n == entry.n && e.kind == Kind::Waiting;
                    if let Some(event) = self.pending.iter_mut().rev().find(waiting) {
                        event.kind = Kind::Took;
                    }
                }
                Next::Entry(entry) => self.pending.push(entry),
                // The jump of the numbers that follow tells of it.
                Next::Damaged => {}
                Next::End => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Returns how many pending events go now: all up to the first that still waits for evidence.
    fn ready(&mut self, all: bool) -> usize {
        let waiting = self.pending.iter().position(|e| e.kind == Kind::Waiting);
        let (Some(first), false) = (waiting, all) else {
            self.held_since = None;
            return self.pending.len();
        };
        let n = self.pending.get(first).map_or(0, |e| e.n);
        let now = aegis_sys::clock::monotonic_us();
        let since = match self.held_since {
            Some((held, since)) if held == n => since,
            _ => now,
        };
        if Duration::from_micros(now.saturating_sub(since)) >= HOLD {
            self.held_since = None;
            return self.pending.len();
        }
        self.held_since = Some((n, since));
        first
    }

    fn entries(&mut self, count: usize) -> Result<Vec<Entry>, LedgerError> {
        let taken: Vec<Spooled> = self.pending.drain(..count).collect();
        let mut entries = Vec::with_capacity(taken.len());
        for spooled in taken {
            entries.extend(to_entries(self.session, spooled, &mut self.expected, false)?);
        }
        Ok(entries)
    }

    /// Commits, trying again for as long as that can help.
    fn commit(&mut self, batch: &[Entry]) -> Result<u64, LedgerError> {
        let mut told = false;
        loop {
            match self.ledger.append(batch) {
                Ok(seq) => {
                    if told {
                        (self.trouble)(Trouble::Over);
                    }
                    return Ok(seq);
                }
                Err(error) if error.is_transient() && !lock(&self.shared.orders).stop => {
                    if !told {
                        (self.trouble)(Trouble::Waiting(error.to_string()));
                        told = true;
                    }
                    let orders = lock(&self.shared.orders);
                    drop(self.shared.wake.wait_timeout(orders, RETRY));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives back the segments that are wholly in the ledger.
    fn release(&self) {
        let segment = self.reader.segment();
        if self.shared.oldest.swap(segment, Ordering::AcqRel) != segment {
            self.reader.discard_before(segment);
            drop(lock(&self.shared.orders));
            self.shared.room.notify_all();
        }
    }
}

/// Makes a spooled event an entry, with a gap before it where numbers are missing. What can't be read as an
/// event becomes a gap itself.
pub(crate) fn to_entries(
    session: SessionId,
    spooled: Spooled,
    expected: &mut u64,
    recovered: bool,
) -> Result<Vec<Entry>, LedgerError> {
    let mut entries = Vec::with_capacity(1);
    if spooled.n < *expected {
        return Ok(entries);
    }
    let Ok(mut event) = serde_json::from_slice::<Event>(&spooled.event) else {
        let lost = gap_event(session, *expected, spooled.n, recovered)?;
        *expected = spooled.n + 1;
        return Ok(vec![lost]);
    };
    if spooled.n > *expected {
        entries.push(gap_event(session, *expected, spooled.n - 1, recovered)?);
    }
    *expected = spooled.n + 1;
    let mut bytes = spooled.event;
    if let (Kind::Took, What::Action(act)) = (spooled.kind, &mut event.what) {
        act.outcome = Outcome::Ok;
        bytes = encode(&event)?;
    } else if encode(&event)? != bytes {
        // Not as Aegis writes it: somebody else wrote into the spool.
        bytes = encode(&event)?;
    }
    entries.push(Entry {
        session,
        producer: OBSERVER,
        n: Some(spooled.n),
        recovered,
        bytes,
        at: event.at.as_nanos(),
        class: Class::of(&event.what),
    });
    Ok(entries)
}

/// A gap in place of the observer's events `first` to `last`.
pub(crate) fn gap_event(
    session: SessionId,
    first: u64,
    last: u64,
    recovered: bool,
) -> Result<Entry, LedgerError> {
    let moment = aegis_types::Clock::now(&aegis_sys::clock::SystemClock);
    let detail = format!("events {first} to {last} of the observer were damaged in the spool and are lost");
    let gap = Gap { detail, process: None, reason: GapReason::SpoolDamaged };
    let event = Event { at: moment.wall, mono_us: moment.mono_us, what: What::Gap(gap) };
    let mut entry = Entry::new(session, OBSERVER, &event)?;
    entry.n = Some(last);
    entry.recovered = recovered;
    Ok(entry)
}
