//! Directories that were looked at a moment ago: their descriptors by path, and threads' working directories.
//!
//! Most calls come in runs on the same few directories. An entry is good as long as nothing can have made its
//! path mean something else: whatever the tree does that could (making, removing or renaming a directory or
//! link, changing the working directory, mounts) is notified, empties this cache, and keeps it empty until the
//! call is over: the same thread makes its next one, or the kernel says that it waits in another
//! (`/proc/PID/syscall`), as a shell does that has changed its directory and waits for what it started. For what
//! others do, an entry lives for [`LIFE_US`] only.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;

use crate::processes;

/// How long an entry lives, in microseconds.
pub const LIFE_US: u64 = 100_000;

/// When a call that could change a path's meaning is over in any case, in microseconds after it went on.
const SETTLED_US: u64 = 2_000_000;

/// How long a call may take before it is looked whether it is over, and then from look to look, in microseconds.
const LOOK_US: u64 = 1_000;

/// The most threads that are looked at in the way of one call.
const LOOKS_MAX: usize = 8;

/// The most directories, and the most threads, that are held.
const ENTRIES_MAX: usize = 256;

/// The cache.
#[derive(Debug, Default)]
pub struct Places {
    inner: Mutex<Inner>,
    /// Some thread is unsettled; changed under the lock.
    unsettled: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    directories: HashMap<Vec<u8>, (Arc<OwnedFd>, u64)>,
    working: HashMap<u32, (Vec<u8>, u64)>,
    /// Threads whose last call could change what a path means.
    unsettled: HashMap<u32, Unsettled>,
    /// When it was last looked whether such calls are over.
    looked_us: u64,
}

/// A call that could change what a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unsettled {
    number: u32,
    /// When it went on.
    at_us: u64,
}

impl Inner {
    fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// Returns some of the threads whose call has gone on a while ago, if it is time to look at them.
    fn doubtful(&mut self, now_us: u64) -> Vec<(u32, Unsettled)> {
        if now_us.saturating_sub(self.looked_us) < LOOK_US {
            return Vec::new();
        }
        let is_late = |call: &Unsettled| now_us.saturating_sub(call.at_us) >= LOOK_US;
        let late = self.unsettled.iter().filter(|(_, call)| is_late(call));
        let late: Vec<_> = late.map(|(tid, call)| (*tid, *call)).take(LOOKS_MAX).collect();
        if !late.is_empty() {
            self.looked_us = now_us;
        }
        late
    }
}

impl Places {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the directory of a path that was proven to have no links in it.
    pub fn directory(&self, path: &[u8], now_us: u64) -> Option<Arc<OwnedFd>> {
        let inner = self.inner();
        let (fd, at) = inner.directories.get(path)?;
        (now_us.saturating_sub(*at) < LIFE_US).then(|| Arc::clone(fd))
    }

    /// Remembers a directory whose path was proven to have no links in it at this time.
    pub fn remember_directory(&self, path: &[u8], fd: &Arc<OwnedFd>, now_us: u64) {
        let mut inner = self.inner();
        if inner.is_settled() {
            if inner.directories.len() >= ENTRIES_MAX {
                inner.directories.clear();
            }
            inner.directories.insert(path.to_vec(), (Arc::clone(fd), now_us));
        }
    }

    /// Returns a thread's working directory.
    pub fn working(&self, tid: u32, now_us: u64) -> Option<Vec<u8>> {
        let inner = self.inner();
        let (path, at) = inner.working.get(&tid)?;
        (now_us.saturating_sub(*at) < LIFE_US).then(|| path.clone())
    }

    /// Remembers a thread's working directory.
    pub fn remember_working(&self, tid: u32, path: &[u8], now_us: u64) {
        let mut inner = self.inner();
        if inner.is_settled() {
            if inner.working.len() >= ENTRIES_MAX {
                inner.working.clear();
            }
            inner.working.insert(tid, (path.to_vec(), now_us));
        }
    }

    /// A thread makes a call: its last one is over. Those of others may be, too.
    pub fn settle(&self, tid: u32, now_us: u64) {
        // What a thread's last call did is seen by whoever is told of its next one.
        if !self.unsettled.load(Ordering::Acquire) {
            return;
        }
        let doubtful = {
            let mut inner = self.inner();
            inner.unsettled.remove(&tid);
            self.drop_old(&mut inner, now_us);
            inner.doubtful(now_us)
        };
        // No lock is held while the kernel is asked.
        let over: Vec<_> =
            doubtful.into_iter().filter(|(tid, call)| processes::is_out_of(*tid, call.number)).collect();
        if !over.is_empty() {
            let mut inner = self.inner();
            // Unless it makes another meanwhile.
            inner.unsettled.retain(|tid, call| !over.contains(&(*tid, *call)));
            self.unsettled.store(!inner.is_settled(), Ordering::Release);
        }
    }

    fn drop_old(&self, inner: &mut Inner, now_us: u64) {
        inner.unsettled.retain(|_, call| now_us.saturating_sub(call.at_us) < SETTLED_US);
        self.unsettled.store(!inner.is_settled(), Ordering::Release);
    }

    /// A thread's call can change what paths mean: everything is forgotten, and nothing remembered until it is
    /// over. `number` is that of the call.
    pub fn unsettle(&self, tid: u32, number: u32, now_us: u64) {
        let mut inner = self.inner();
        inner.directories.clear();
        inner.working.clear();
        inner.unsettled.insert(tid, Unsettled { number, at_us: now_us });
        self.unsettled.store(true, Ordering::Release);
    }

    /// Lets go of what is too old to be used: a directory that is held keeps its mount busy.
    pub fn sweep(&self, now_us: u64) {
        let mut inner = self.inner();
        inner.directories.retain(|_, (_, at)| now_us.saturating_sub(*at) < LIFE_US);
        inner.working.retain(|_, (_, at)| now_us.saturating_sub(*at) < LIFE_US);
        self.drop_old(&mut inner, now_us);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare processes the plain way")]
mod tests {
    use super::*;

    /// No call's number.
    const NUMBER: u32 = 0xffff;

    fn root() -> Arc<OwnedFd> {
        let flags = rustix::fs::OFlags::PATH;
        Arc::new(rustix::fs::open("/", flags, rustix::fs::Mode::empty()).unwrap())
    }

    #[test]
    fn an_entry_lives_until_it_is_old_or_something_happens() {
        let places = Places::default();
        places.remember_directory(b"/", &root(), 1_000);
        places.remember_working(7, b"/x", 1_000);
        assert!(places.directory(b"/", LIFE_US + 999).is_some());
        assert!(places.directory(b"/", LIFE_US + 1_000).is_none());
        assert_eq!(places.working(7, 1_000).as_deref(), Some(&b"/x"[..]));
        places.unsettle(8, NUMBER, 2_000);
        assert!(places.directory(b"/", 2_000).is_none() && places.working(7, 2_000).is_none());
        places.remember_directory(b"/", &root(), 2_001);
        assert!(places.directory(b"/", 2_001).is_none(), "nothing is remembered before the call is over");
        places.settle(9, 2_002);
        places.remember_directory(b"/", &root(), 2_003);
        assert!(places.directory(b"/", 2_003).is_none(), "another thread's call says nothing about it");
        places.settle(8, 2_004);
        places.remember_directory(b"/", &root(), 2_005);
        assert!(places.directory(b"/", 2_005).is_some());
        places.sweep(2_005 + LIFE_US);
        assert!(places.directory(b"/", 2_005).is_none());
    }

    #[test]
    fn a_thread_that_never_calls_again_does_not_hold_the_rest_up() {
        // It runs, so nothing shows that its call is over.
        let mut runs = std::process::Command::new("/bin/sh")
            .args(["-c", "ulimit -t 60; while :; do :; done"])
            .spawn()
            .unwrap();
        let deadline = aegis_sys::clock::monotonic_us() + 10_000_000;
        let state = format!("/proc/{}/syscall", runs.id());
        while !std::fs::read_to_string(&state).unwrap().starts_with("running") {
            assert!(aegis_sys::clock::monotonic_us() < deadline, "it never ran");
        }
        let places = Places::default();
        places.unsettle(runs.id(), NUMBER, 0);
        for at in [LOOK_US, SETTLED_US - 1, SETTLED_US] {
            places.settle(9, at);
            places.remember_working(9, b"/", at);
            assert_eq!(places.working(9, at).is_some(), at == SETTLED_US);
        }
        runs.kill().unwrap();
        runs.wait().unwrap();
    }

    #[test]
    fn a_thread_that_has_gone_is_looked_at_after_a_while() {
        let places = Places::default();
        let remembers = |at| {
            places.settle(9, at);
            places.remember_working(9, b"/", at);
            places.working(9, at).is_some()
        };
        // Ids end at 2^22 (`proc_sys_kernel(5)`).
        places.unsettle(u32::MAX, NUMBER, 5_000);
        assert!(!remembers(5_000 + LOOK_US - 1));
        assert!(remembers(5_000 + LOOK_US));
    }
}
