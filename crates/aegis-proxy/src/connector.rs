//! Connections that take time: one thread waits for all of them.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aegis_sys::clock::monotonic_us;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;

/// The most connections that are waited for at once: each holds a descriptor.
const WAITING_MAX: usize = 4_096;

/// How often is looked whether callers have gone or have a signal to handle, where that takes no time.
const SWEEP_US: u64 = 20_000;

/// What part of the time that may take: one in so many.
const SWEEP_SHARE: u64 = 5;

/// Who knows of the callers that wait.
pub trait Callers: Send + Sync {
    /// Says whether the caller of a call with this number still waits for its answer.
    fn waits(&self, id: u64) -> bool;

    /// Says whether a thread has a signal to handle.
    fn has_signal(&self, tid: u32) -> bool;
}

/// How a connection that was waited for came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It stands.
    Connected,
    /// It failed so.
    Failed(Errno),
    /// The time that its socket gives a connection is over (`SO_SNDTIMEO`, `socket(7)`).
    TimedOut,
    /// Its caller has gone.
    Gone,
    /// Its caller has a signal to handle.
    Interrupted,
}

/// A connection that has begun.
pub struct Waiting {
    /// The caller's own socket.
    pub socket: OwnedFd,
    /// The number of the call.
    pub id: u64,
    /// The thread that waits.
    pub tid: u32,
    /// How long it does at most.
    pub patience: Option<Duration>,
    /// What is to be done when it has come out.
    pub then: Then,
}

/// What is to be done with a socket when it is known how its connection came out. It lets go of it before the caller goes
/// on: what the caller then closes is closed.
pub type Then = Box<dyn FnOnce(OwnedFd, Finished) + Send>;

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("id", &self.id).field("tid", &self.tid).finish_non_exhaustive()
    }
}

/// Waits for connections.
#[derive(Debug)]
pub struct Connector {
    epoll: OwnedFd,
    /// Written to where a connection has come that is due sooner than those before.
    wake: OwnedFd,
    waiting: Mutex<HashMap<u64, (Waiting, Option<u64>)>>,
}

/// What the epoll calls `wake`; no call has this number.
const WAKE: u64 = u64::MAX;

impl Connector {
    /// Starts the thread that waits; it lives as long as the process.
    ///
    /// # Errors
    /// No descriptor or thread can be had.
    pub fn start(callers: Box<dyn Callers>) -> io::Result<Arc<Self>> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let connector = Arc::new(Self { epoll: poll, wake, waiting: Mutex::default() });
        let own = Arc::clone(&connector);
        let work = move || own.attend(&*callers);
        std::thread::Builder::new().name("connector".into()).stack_size(256 << 10).spawn(work)?;
        Ok(connector)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, (Waiting, Option<u64>)>> {
        // Nothing is half-done where it could panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a connection; what is to be done then is done on the thread that waits, also where it can't be waited
    /// for, which is an error of the connection then.
    pub fn wait(&self, waiting: Waiting) {
        let id = waiting.id;
        let due = waiting.patience.map(|patience| {
            monotonic_us().saturating_add(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX))
        });
        let failed = {
            let mut table = self.waiting();
            if table.len() >= WAITING_MAX {
                Some((waiting, Errno::AGAIN))
            } else {
                let flags = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
                match epoll::add(&self.epoll, &waiting.socket, epoll::EventData::new_u64(id), flags) {
                    Ok(()) => {
                        table.insert(id, (waiting, due));
                        None
                    }
                    Err(errno) => Some((waiting, errno)),
                }
            }
        };
        match failed {
            Some((waiting, errno)) => (waiting.then)(waiting.socket, Finished::Failed(errno)),
            // It is read before the next look; one write more does no harm.
            None => {
                let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
            }
        }
    }

    fn finish(&self, id: u64, how: Finished) {
        let Some((waiting, _)) = self.waiting().remove(&id) else { return };
        // The caller holds the same socket, so it would stay in the epoll.
        let _ = epoll::delete(&self.epoll, &waiting.socket);
        (waiting.then)(waiting.socket, how);
    }

    fn attend(&self, callers: &dyn Callers) {
        let mut events = Vec::with_capacity(256);
        let mut next_sweep = monotonic_us();
        loop {
            let until = {
                let table = self.waiting();
                let due = table.values().filter_map(|(_, due)| *due).min();
                (!table.is_empty()).then(|| due.map_or(next_sweep, |due| due.min(next_sweep)))
            };
            let patience = until.map(|until| {
                // A microsecond late, and never early.
                let left = Duration::from_micros(until.saturating_sub(monotonic_us()) + 1);
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) }
            });
            events.clear();
            // It can be interrupted, and is called again.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), patience.as_ref());
            for event in events.drain(..) {
                let id = event.data.u64();
                if id == WAKE {
                    let _ = rustix::io::read(&self.wake, &mut [0; 8]);
                    continue;
                }
                let error = self.waiting().get(&id).map(|(waiting, _)| socket_error(&waiting.socket));
                match error {
                    Some(Ok(Ok(()))) => self.finish(id, Finished::Connected),
                    Some(Ok(Err(errno)) | Err(errno)) => self.finish(id, Finished::Failed(errno)),
                    None => {}
                }
            }
            let now = monotonic_us();
            let over: Vec<u64> = {
                let table = self.waiting();
                table
                    .iter()
                    .filter(|(_, (_, due))| due.is_some_and(|due| due <= now))
                    .map(|(id, _)| *id)
                    .collect()
            };
            for id in over {
                self.finish(id, Finished::TimedOut);
            }
            if now >= next_sweep {
                self.sweep(callers);
                let took = monotonic_us().saturating_sub(now);
                next_sweep = monotonic_us() + SWEEP_US.max(took * SWEEP_SHARE);
            }
        }
    }

    /// Looks after callers that wait no more, or should not.
    fn sweep(&self, callers: &dyn Callers) {
        let all: Vec<(u64, u32)> =
            self.waiting().iter().map(|(id, (waiting, _))| (*id, waiting.tid)).collect();
        for (id, tid) in all {
            if !callers.waits(id) {
                self.finish(id, Finished::Gone);
            } else if callers.has_signal(tid) {
                self.finish(id, Finished::Interrupted);
            }
        }
    }
}
