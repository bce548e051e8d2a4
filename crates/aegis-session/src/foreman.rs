//! Threads in the agent's hull: started by a thread that is in it, for no other could start them there.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aegis_observer::processes::waiting_signals;
use aegis_sandbox::Blocking;
use aegis_sys::seccomp::{Listener, Parked, RESTART};
use aegis_sys::{outside, process, signals};
use rustix::io::Errno;

/// What a thread is to do.
type Work = Box<dyn FnOnce() + Send>;

/// Starts threads in the agent's hull.
#[derive(Debug, Clone)]
pub(crate) struct Foreman(SyncSender<(String, Work)>);

impl Foreman {
    /// Starts the thread that starts the others, after it has run `prepare`. To be called by a thread in the hull.
    pub(crate) fn start(
        prepare: impl FnOnce() -> rustix::io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (send, receive) = sync_channel::<(String, Work)>(16);
        let (ready, is_ready) = sync_channel(1);
        std::thread::Builder::new().name("foreman".into()).stack_size(64 << 10).spawn(move || {
            let prepared = prepare();
            let failed = prepared.is_err();
            if ready.send(prepared).is_err() || failed {
                return;
            }
            while let Ok((name, work)) = receive.recv() {
                let thread = std::thread::Builder::new().name(name).stack_size(aegis_policy::source::STACK);
                // None can be had: whoever waits for it is told by what the work holds being let go of.
                drop(thread.spawn(move || {
                    // Without a mask of its own it would make files with that of another caller.
                    // Files that are held are found from there.
                    let placed = process::own_umask().and_then(|()| Ok(outside::enter_descriptors()?));
                    if placed.is_ok() {
                        work();
                    }
                }));
            }
        })?;
        is_ready.recv().map_err(|_| io::Error::other("the thread that starts others ended"))??;
        Ok(Self(send))
    }

    /// Does work on a thread of its own in the hull.
    pub(crate) fn run(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let gone = |_| io::Error::other("the thread that starts others ended");
        self.0.send((name.to_owned(), Box::new(work))).map_err(gone)
    }
}

/// The most calls that wait at once for another process to come: to the other end of a FIFO, say.
const WAITING_MAX: usize = 256;

/// Calls that wait, each on a thread of its own.
#[derive(Debug, Clone)]
pub(crate) struct Waiting(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    foreman: Foreman,
    listener: OnceLock<Arc<Listener>>,
    /// By the number of the notification.
    calls: Mutex<HashMap<u64, Call>>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    /// The caller.
    tid: u32,
    /// The thread that executes it, once it can be interrupted.
    thread: Option<u32>,
}

impl Waiting {
    pub(crate) fn new(foreman: Foreman) -> Self {
        Self(Arc::new(Inner { foreman, listener: OnceLock::new(), calls: Mutex::default() }))
    }

    /// Says where the answers go.
    pub(crate) fn listen(&self, listener: Arc<Listener>) {
        drop(self.0.listener.set(listener));
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, Call>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether any call waits.
    pub(crate) fn any(&self) -> bool {
        !self.calls().is_empty()
    }

    /// Interrupts the calls whose callers have gone or have a signal to handle.
    pub(crate) fn sweep(&self) {
        let Some(listener) = self.0.listener.get() else { return };
        let calls: Vec<(u64, Call)> = self.calls().iter().map(|(id, call)| (*id, *call)).collect();
        for (id, call) in calls {
            let Some(thread) = call.thread else { continue };
            if listener.waits(id) && !waiting_signals(call.tid) {
                continue;
            }
            // It may just be done: who has left the table answers, and must not be interrupted.
            let calls = self.calls();
            if calls.contains_key(&id) {
                // It may have gone all the same.
                drop(signals::interrupt(thread));
            }
        }
    }
}

impl Blocking for Waiting {
    fn run(
        &self,
        parked: Parked,
        work: Box<dyn FnOnce() -> Result<OwnedFd, Errno> + Send>,
        close_on_exec: bool,
    ) {
        let Some(listener) = self.0.listener.get().cloned() else { return };
        let id = parked.id;
        {
            let mut calls = self.calls();
            if calls.len() >= WAITING_MAX {
                drop(calls);
                // Nothing more can be done where even this fails.
                drop(listener.resume(parked).refuse(libc::EAGAIN));
                return;
            }
            calls.insert(id, Call { tid: parked.tid, thread: None });
        }
        let answer = Answer { waiting: self.clone(), listener, parked: Some(parked) };
        let waiting = self.clone();
        // Where no thread can be had, the answer is let go of, and says so.
        drop(self.0.foreman.run("waiting", move || {
            let mut answer = answer;
            let opened = match signals::be_interruptible() {
                Ok(thread) => {
                    if let Some(call) = waiting.calls().get_mut(&id) {
                        call.thread = Some(thread);
                    }
                    work()
                }
                Err(_) => Err(Errno::AGAIN),
            };
            answer.give(opened, close_on_exec);
        }));
    }

    fn answer(&self, parked: Parked, done: Result<i64, Errno>) {
        let Some(listener) = self.0.listener.get() else { return };
        let notification = listener.resume(parked);
        // A listener that does not work any more is met by those who receive.
        match done {
            Ok(value) => drop(notification.value(value)),
            Err(errno) => drop(notification.refuse(errno.raw_os_error())),
        }
    }
}

/// The answer to a call that waits; given once, also where the thread could not be started.
struct Answer {
    waiting: Waiting,
    listener: Arc<Listener>,
    parked: Option<Parked>,
}

impl Answer {
    fn give(&mut self, opened: Result<OwnedFd, Errno>, close_on_exec: bool) {
        let Some(parked) = self.parked.take() else { return };
        self.waiting.calls().remove(&parked.id);
        // Were the answer interrupted, the caller would get 0 for a descriptor (seccomp_notify_addfd() of Linux). Nobody
        // interrupts from here on; what was sent before stays pending.
        drop(signals::block_all());
        let notification = self.listener.resume(parked);
        // A listener that does not work any more is met by those who receive.
        match opened {
            Ok(fd) => drop(notification.hand_over(fd, close_on_exec)),
            Err(Errno::INTR) => drop(notification.refuse(RESTART)),
            Err(errno) => drop(notification.refuse(errno.raw_os_error())),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(Err(Errno::AGAIN), false);
    }
}
