//! Directories that were looked at a moment ago: their descriptors by path, and threads' working directories.
//!
//! Most calls come in runs on the same few directories. An entry is good as long as nothing can have made its
//! path mean something else: whatever the tree does that could (making, removing or renaming a directory or
//! link, changing the working directory, mounts) is notified, empties this cache, and keeps it empty until the
//! call must be over, that is, until the same thread makes its next one. For what others do, an entry lives
//! for [`LIFE_US`] only.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;

/// How long an entry lives, in microseconds.
pub const LIFE_US: u64 = 100_000;

/// When a call that could change a path's meaning is over in any case, in microseconds after it went on.
const SETTLED_US: u64 = 2_000_000;

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
    /// Threads whose last call could change what a path means, with when it went on.
    unsettled: HashMap<u32, u64>,
}

impl Inner {
    fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
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

    /// A thread makes a call: its last one is over.
    pub fn settle(&self, tid: u32, now_us: u64) {
        // What a thread's last call did is seen by whoever is told of its next one.
        if !self.unsettled.load(Ordering::Acquire) {
            return;
        }
        let mut inner = self.inner();
        inner.unsettled.remove(&tid);
        inner.unsettled.retain(|_, at| now_us.saturating_sub(*at) < SETTLED_US);
        self.unsettled.store(!inner.is_settled(), Ordering::Release);
    }

    /// A thread's call can change what paths mean: everything is forgotten, and nothing remembered until it is
    /// over.
    pub fn unsettle(&self, tid: u32, now_us: u64) {
        let mut inner = self.inner();
        inner.directories.clear();
        inner.working.clear();
        inner.unsettled.insert(tid, now_us);
        self.unsettled.store(true, Ordering::Release);
    }

    /// Lets go of what is too old to be used: a directory that is held keeps its mount busy.
    pub fn sweep(&self, now_us: u64) {
        let mut inner = self.inner();
        inner.directories.retain(|_, (_, at)| now_us.saturating_sub(*at) < LIFE_US);
        inner.working.retain(|_, (_, at)| now_us.saturating_sub(*at) < LIFE_US);
        inner.unsettled.retain(|_, at| now_us.saturating_sub(*at) < SETTLED_US);
        self.unsettled.store(!inner.is_settled(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        places.unsettle(8, 2_000);
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
        let places = Places::default();
        places.unsettle(8, 0);
        places.settle(9, SETTLED_US);
        places.remember_working(9, b"/", SETTLED_US);
        assert!(places.working(9, SETTLED_US).is_some());
    }
}
