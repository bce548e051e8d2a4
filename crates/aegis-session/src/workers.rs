//! The threads that answer notifications.
//!
//! One is enough, and fastest: it takes turns with the caller on one CPU. But looking at a path can block:
//! the file system may be one that the agent's own tree serves, and then the server's calls wait behind the
//! look. So a thread that is stuck gets another beside it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aegis_sys::clock::monotonic_us;
use aegis_sys::seccomp::{Listener, Notification};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::foreman::Foreman;
use crate::process::SessionObserver;

/// The most threads: so many calls of the tree may wait for one another, by a file system that the tree serves.
const WORKERS_MAX: usize = 512;

/// A thread that is busy with one call for so long is stuck, in microseconds.
const STUCK_US: u64 = 200_000;

/// How often the ends of processes are collected at least.
const INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Who answers a call.
pub(crate) type Handler = Arc<dyn Fn(Notification<'_>) -> io::Result<()> + Send + Sync>;

/// The threads that answer notifications.
pub(crate) struct Workers {
    observer: Arc<SessionObserver>,
    /// Who answers, and on what kind of thread: an own one, or one in the agent's hull.
    handler: Handler,
    foreman: Option<Foreman>,
    listener: Option<Arc<Listener>>,
    /// For each thread, since when it is busy; 0 while it waits.
    busy: Vec<Arc<AtomicU64>>,
    broken: Arc<AtomicBool>,
}

impl Workers {
    /// Lets the observer answer, on threads of this process.
    pub(crate) fn observing(observer: Arc<SessionObserver>) -> Self {
        let answering = Arc::clone(&observer);
        let handler: Handler = Arc::new(move |notification| answering.handle(notification));
        Self {
            observer,
            handler,
            foreman: None,
            listener: None,
            busy: Vec::new(),
            broken: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Lets another answer, on threads that the foreman starts.
    pub(crate) fn let_answer(&mut self, handler: Handler, foreman: Foreman) {
        self.handler = handler;
        self.foreman = Some(foreman);
    }

    /// Starts the first thread; where it is in the hull, a second: each call there can take longer.
    pub(crate) fn start(&mut self, listener: Arc<Listener>) -> io::Result<()> {
        self.listener = Some(listener);
        self.collect()?;
        self.add()?;
        if self.foreman.is_some() { self.add() } else { Ok(()) }
    }

    /// Starts the thread that records the ends of processes. It may have to wait for room in the spool, which
    /// whoever hears signals must not.
    fn collect(&self) -> io::Result<()> {
        let observer = Arc::clone(&self.observer);
        let ends = observer.ends()?;
        observer.collect_ends();
        std::thread::Builder::new().name("ends".into()).stack_size(aegis_policy::source::STACK).spawn(
            move || {
                loop {
                    let mut fds = [PollFd::new(&ends, PollFlags::IN)];
                    // An interrupted wait is a short one.
                    let _ = poll(&mut fds, Some(&INTERVAL));
                    observer.collect_ends();
                }
            },
        )?;
        Ok(())
    }

    fn add(&mut self) -> io::Result<()> {
        let Some(listener) = self.listener.clone() else { return Ok(()) };
        let busy = Arc::new(AtomicU64::new(0));
        let known = Arc::clone(&busy);
        let handler = Arc::clone(&self.handler);
        let broken = Arc::clone(&self.broken);
        let work = move || {
            while let Ok(notification) = listener.receive() {
                busy.store(monotonic_us(), Ordering::Relaxed);
                if handler(notification).is_err() {
                    break;
                }
                busy.store(0, Ordering::Relaxed);
            }
            broken.store(true, Ordering::Release);
        };
        match &self.foreman {
            Some(foreman) => foreman.run("opener", work)?,
            None => {
                let thread = std::thread::Builder::new().name("observer".into());
                thread.stack_size(aegis_policy::source::STACK).spawn(work)?;
            }
        }
        self.busy.push(known);
        Ok(())
    }

    /// Adds threads where all are stuck.
    ///
    /// # Errors
    /// The listener does not work any more: nothing would be answered.
    pub(crate) fn relieve(&mut self) -> io::Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(io::Error::other("the listener does not work any more"));
        }
        let now = monotonic_us();
        let stuck = |busy: &Arc<AtomicU64>| {
            let since = busy.load(Ordering::Relaxed);
            since != 0 && now.saturating_sub(since) > STUCK_US
        };
        if self.listener.is_some() && self.busy.iter().all(stuck) {
            // As many again: what waits behind them may get stuck just so.
            for _ in 0..self.busy.len().min(WORKERS_MAX - self.busy.len()) {
                // No thread can be had now: those that are there go on, and it is tried again.
                if self.add().is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}
