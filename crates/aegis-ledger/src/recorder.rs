//! The one way into a ledger for a live session.
//!
//! Observers call [`Recorder::observe`], which returns once the event is in the spool and never waits for the
//! ledger's disk. A writer thread takes the events from a queue in memory, in group commits: as many as there are, after
//! a short wait in which more may come. An event about whose outcome evidence is expected is held back for
//! that long at most.

mod queue;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aegis_sys::clock::monotonic_us;
use aegis_types::{Event, Outcome, SessionId};

use self::queue::{About, Queue, Queued};
use self::writer::Writer;
use crate::LedgerError;
use crate::schedule::Seals;
use crate::spool::{Full, Kind, Spare, Spool};
use crate::store::{Class, Entry, Ledger};

/// The producer of what is observed.
pub const OBSERVER: &str = "observer";

/// The producer of what a session says of itself.
pub const SESSION: &str = "session";

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
    /// It is written and sealed, but a checkpoint could not be taken to where it is kept, or a used key not destroyed.
    Custody(String),
    /// It can't be written; what comes is lost to it but for what is spooled.
    Failed(String),
}

/// The writing side of a session's ledger.
pub struct Recorder {
    session: SessionId,
    shared: Arc<Shared>,
    trouble: Arc<dyn Fn(Trouble) + Send + Sync>,
    folder: PathBuf,
    writer: Mutex<Option<JoinHandle<Ledger>>>,
}

#[derive(Debug)]
struct Spooling {
    spool: Spool,
    n: u64,
    /// The session's end is on its way: nothing may come behind it.
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    /// Held by who appends, also while that waits for room: the writer must not wait for it.
    spool: Mutex<Spooling>,
    /// It was said that the disk has no room for the spool.
    disk_told: AtomicBool,
    /// There is something that the writer has not looked for yet.
    dirty: AtomicBool,
    /// The spool's next segment has been asked for.
    prepare: AtomicBool,
    spare: Mutex<Spare>,
    /// Another thread makes the spool's segments, and is woken by this.
    maker: Option<Condvar>,
    /// The first segment that is not yet in the ledger.
    oldest: AtomicU64,
    orders: Mutex<Orders>,
    /// When waiting for room ends, in microseconds of the monotonic clock.
    give_up_us: AtomicU64,
    /// What the writer has not taken yet.
    queue: Mutex<Queue>,
    /// Wakes the writer.
    wake: Condvar,
    /// Wakes those who wait for room in the spool.
    room: Condvar,
}

/// An event to be made durable, and where to say under which number it is.
type Order = (Entry<'static>, SyncSender<Result<u64, String>>);

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
    /// `trouble` hears of a ledger that can't be written. `confined` says that who records can't make files in
    /// `folder`: then a thread of its own does.
    ///
    /// # Errors
    /// The spool can't be made or a thread not started.
    pub fn start(
        ledger: Ledger,
        session: SessionId,
        folder: &Path,
        confined: bool,
        trouble: impl Fn(Trouble) + Send + Sync + 'static,
    ) -> Result<Self, LedgerError> {
        let explain = |e| LedgerError::from_io(folder, e);
        let (spool, spare) = Spool::create(folder).map_err(explain)?;
        let trouble: Arc<dyn Fn(Trouble) + Send + Sync> = Arc::new(trouble);
        let unprepared = Some(spool.mapping());
        let shared = Arc::new(Shared {
            spool: Mutex::new(Spooling { spool, n: 0, ended: false }),
            disk_told: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            prepare: AtomicBool::new(false),
            spare: Mutex::new(spare),
            maker: confined.then(Condvar::new),
            oldest: AtomicU64::new(1),
            orders: Mutex::default(),
            give_up_us: AtomicU64::new(u64::MAX),
            queue: Mutex::default(),
            wake: Condvar::new(),
            room: Condvar::new(),
        });
        let writer = Writer {
            ledger,
            session,
            shared: Arc::clone(&shared),
            trouble: Arc::clone(&trouble),
            pending: Queue::default(),
            taken: Queue::default(),
            unprepared,
            held_since: None,
            executing_since: None,
            folder: folder.to_path_buf(),
            seals: Seals::begin(monotonic_us()),
        };
        if confined {
            let shared = Arc::clone(&shared);
            let maker = std::thread::Builder::new().name("spool".into()).stack_size(64 << 10);
            maker.spawn(move || shared.make_segments()).map_err(explain)?;
        }
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run());
        Ok(Self {
            session,
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

    /// Records what is about to be executed here: [`Recorder::ended`] is to tell its outcome. The ledger waits for that.
    ///
    /// # Errors
    /// As [`Recorder::observe`].
    pub fn observe_executing(&self, event: &Event) -> Result<Receipt, LedgerError> {
        self.put(Kind::Executing, event)
    }

    fn put(&self, kind: Kind, event: &Event) -> Result<Receipt, LedgerError> {
        let mut spooling = lock(&self.shared.spool);
        if spooling.ended {
            return Err(LedgerError::Stopped("the session has ended".into()));
        }
        let n = spooling.n + 1;
        let about = About { kind, n, at: event.at.as_nanos(), class: Class::of(&event.what) };
        self.append(&mut spooling.spool, about, |arena| {
            let start = arena.len();
            serde_json::to_writer(&mut *arena, event).map_err(|e| LedgerError::Record(e.into()))?;
            match arena.len() - start {
                size if size > EVENT_MAX => Err(aegis_proof::RecordError::TooLarge(size).into()),
                _ => Ok(()),
            }
        })?;
        spooling.n = n;
        Ok(Receipt::Spooled(n))
    }

    /// Says how the event of this number ended: there is evidence, or it was seen.
    ///
    /// # Errors
    /// The ledger has failed for good.
    pub fn ended(&self, receipt: Receipt, outcome: Outcome) -> Result<(), LedgerError> {
        let Receipt::Spooled(n) = receipt else { return Ok(()) };
        let mut spooling = lock(&self.shared.spool);
        let about = About { kind: Kind::Ended, n, at: 0, class: Class { kind: 0, action: None } };
        let word = if outcome == Outcome::Ok { "" } else { outcome.word() };
        self.append(&mut spooling.spool, about, |arena| {
            arena.extend_from_slice(word.as_bytes());
            Ok(())
        })
    }

    /// Appends what `write` writes to the spool and to the queue, or to neither.
    fn append(
        &self,
        spool: &mut Spool,
        about: About,
        write: impl Fn(&mut Vec<u8>) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        loop {
            let mut queue = lock(&self.shared.queue);
            if queue.arena.len() > QUEUE_MAX {
                drop(queue);
                self.wait_for_room()?;
                continue;
            }
            let Queue { arena, events } = &mut *queue;
            let start = arena.len();
            if let Err(error) = write(arena) {
                arena.truncate(start);
                return Err(error);
            }
            let bytes = arena.get(start..).unwrap_or_default();
            let oldest = self.shared.oldest.load(Ordering::Acquire);
            let may_make = self.shared.maker.is_none();
            match spool.append(about.kind, about.n, bytes, oldest, &self.shared.spare, may_make) {
                Ok(()) => {
                    let bytes = start..arena.len();
                    events.push(Queued { about, outcome: None, segment: spool.number(), bytes });
                    break;
                }
                // Behind or out of space: the caller waits, and with it the agent, until there is room.
                Err(full) => {
                    arena.truncate(start);
                    drop(queue);
                    match full {
                        Full::Behind => {}
                        Full::NotReady => self.shared.want_segment(),
                        Full::Disk(error) if is_want_of_room(&error) => self.tell_of_disk(&error),
                        Full::Disk(error) => return Err(self.fail(&error)),
                    }
                    self.wait_for_room()?;
                }
            }
        }
        let wants_spare = spool.wants_spare() && self.shared.wants_spare();
        if wants_spare && self.shared.maker.is_some() {
            self.shared.want_segment();
        }
        if !self.shared.dirty.swap(true, Ordering::AcqRel) || wants_spare {
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

    /// The spool can't be written, and waiting does not help.
    fn fail(&self, error: &std::io::Error) -> LedgerError {
        let why = format!("the spool in {} can't be written: {error}", self.folder.display());
        let first = lock(&self.shared.orders).failed.replace(why.clone()).is_none();
        self.shared.wake.notify_one();
        self.shared.room.notify_all();
        if first {
            (self.trouble)(Trouble::Failed(why.clone()));
        }
        LedgerError::Stopped(why)
    }

    /// The session is at its end: whoever waits for room then waits for so long at most.
    pub fn end_within(&self, patience: Duration) {
        let at = monotonic_us() + u64::try_from(patience.as_micros()).unwrap_or(u64::MAX / 2);
        self.shared.give_up_us.store(at, Ordering::Release);
        self.shared.room.notify_all();
    }

    fn wait_for_room(&self) -> Result<(), LedgerError> {
        if monotonic_us() >= self.shared.give_up_us.load(Ordering::Acquire) {
            return Err(LedgerError::Stopped("there was no room for what happened last".into()));
        }
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
        self.begin_durable(event)?.wait(patience)
    }

    /// Records the session's end as [`Recorder::append_durable`] does. Nothing is taken in behind it.
    ///
    /// # Errors
    /// As [`Recorder::append_durable`].
    pub fn append_end(&self, event: &Event, patience: Duration) -> Result<Receipt, LedgerError> {
        // Who waits for room holds the spool until then, for as long as `end_within` lets it.
        lock(&self.shared.spool).ended = true;
        self.append_durable(event, patience)
    }

    /// Begins what [`Recorder::append_durable`] does, for who has something else to do meanwhile.
    ///
    /// # Errors
    /// The event has no canonical form.
    pub fn begin_durable(&self, event: &Event) -> Result<Pending, LedgerError> {
        let entry = Entry::new(self.session, SESSION, event)?;
        let (send, receive) = sync_channel(1);
        self.order(entry, send);
        Ok(Pending(receive))
    }

    fn order(&self, entry: Entry<'static>, send: SyncSender<Result<u64, String>>) {
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

    /// Ends the writer, after it has moved all that is spooled, and returns the ledger that it wrote; nothing
    /// where it was ended before.
    pub fn stop(&self) -> Option<Ledger> {
        lock(&self.shared.orders).stop = true;
        self.shared.wake.notify_one();
        // The writer reports its trouble by its channel; a panic has ended the process.
        lock(&self.writer).take()?.join().ok()
    }
}

/// An event on its way into a synced commit.
#[derive(Debug)]
pub struct Pending(Receiver<Result<u64, String>>);

impl Pending {
    /// Says whether it is there by now; nothing while it is on its way.
    #[must_use]
    pub fn poll(&self) -> Option<Result<Receipt, LedgerError>> {
        match self.0.try_recv() {
            Ok(Ok(seq)) => Some(Ok(Receipt::Durable(seq))),
            Ok(Err(why)) => Some(Err(LedgerError::Stopped(why))),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(LedgerError::Stopped("it ended".into()))),
        }
    }

    /// Waits until it is there.
    ///
    /// # Errors
    /// It could not be recorded within `patience`.
    pub fn wait(self, patience: Duration) -> Result<Receipt, LedgerError> {
        match self.0.recv_timeout(patience) {
            Ok(Ok(seq)) => Ok(Receipt::Durable(seq)),
            Ok(Err(why)) => Err(LedgerError::Stopped(why)),
            Err(RecvTimeoutError::Timeout) => {
                Err(LedgerError::Stopped("the ledger could not be written in time".into()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(LedgerError::Stopped("it ended".into())),
        }
    }
}

impl Shared {
    /// Says whether the next segment is still to be asked for.
    fn wants_spare(&self) -> bool {
        let is_made = self.spare.try_lock().map_or(true, |spare| spare.is_made());
        !is_made && !self.prepare.swap(true, Ordering::AcqRel)
    }

    /// Asks the thread that makes segments for the next one.
    fn want_segment(&self) {
        if let Some(maker) = &self.maker {
            let _spare = lock(&self.spare);
            self.prepare.store(true, Ordering::Release);
            maker.notify_one();
        }
    }

    /// Makes segments as they are asked for; for as long as this process lives.
    fn make_segments(&self) {
        let Some(maker) = &self.maker else { return };
        let mut spare = lock(&self.spare);
        loop {
            let idle = |_: &mut Spare| !self.prepare.swap(false, Ordering::AcqRel);
            spare = maker.wait_while(spare, idle).unwrap_or_else(PoisonError::into_inner);
            let mapping = spare.make_for_others();
            drop(spare);
            // Who waits looks again under this lock.
            drop(lock(&self.orders));
            self.room.notify_all();
            if let Some(mapping) = mapping {
                mapping.populate();
            }
            spare = lock(&self.spare);
        }
    }
}

/// Says whether there is no room on a file system or for another descriptor, which may change.
fn is_want_of_room(error: &std::io::Error) -> bool {
    let no_descriptor = matches!(
        rustix::io::Errno::from_io_error(error),
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    );
    no_descriptor
        || matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// How many bytes may wait for the writer in memory; beyond, the agent waits.
const QUEUE_MAX: usize = 8 << 20;

/// The largest event: what is left of a record beside the header.
const EVENT_MAX: usize = aegis_proof::RECORD_MAX - 512;
