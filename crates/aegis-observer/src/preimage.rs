//! What a file held before it was first changed.
//!
//! Kept in a folder of objects named by the SHA-256 of their content. The call that would change the file
//! waits meanwhile. An object survives the death of every process; it is not synced, so a loss of power can
//! take it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use aegis_sys::outside;
use aegis_types::PreImage;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use sha2::{Digest as _, Sha256};

use crate::evidence::{FileId, file_id};

/// The largest content that is kept, in bytes.
pub const KEEP_MAX: u64 = 16 << 20;

/// The largest content that is hashed, in bytes: more would hold the call up for too long.
pub const HASH_MAX: u64 = 256 << 20;

/// The most files of one session that are remembered as seen; beyond, contents are not kept any more.
const FILES_MAX: usize = 1_000_000;

/// Keeps contents for one session. Any number of threads may call everything here; none waits for a file system
/// under a lock, for that may be one that the agent's own tree serves.
#[derive(Debug)]
pub struct PreImages {
    objects: PathBuf,
    /// Files that must never be opened: closing one would give up the locks that this process holds on it
    /// (`fcntl_locking(2)`).
    own: Vec<PathBuf>,
    inner: Mutex<Inner>,
    /// Wakes those who wait for a copy.
    copied: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// The files that were changed or made in this session.
    seen: HashSet<Identity>,
    /// Those that are being copied.
    copying: HashSet<Identity>,
    counter: u64,
}

/// A file: inodes are used again, so that its time of birth belongs to it, where the file system has one.
type Identity = (FileId, Option<(i64, u32)>);

impl PreImages {
    /// Keeps objects in this folder, which is made when the first one comes. The files of `own` are never opened.
    #[must_use]
    pub fn new(objects: PathBuf, own: Vec<PathBuf>) -> Self {
        Self { objects, own, inner: Mutex::default(), copied: Condvar::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that a file is this session's own: what it holds was written by it.
    pub fn made(&self, folder: &OwnedFd, name: &[u8]) {
        let Some(file) = identity(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        let mut inner = self.inner();
        if inner.seen.len() < FILES_MAX {
            inner.seen.insert(file);
        }
    }

    /// Keeps what a file holds, where this session has neither made nor changed it before. `file` is an `O_PATH`
    /// descriptor of it. Waits where another thread is at the same file.
    pub fn before_change(&self, file: &OwnedFd, size: u64) -> Option<PreImage> {
        let id = identity(file, b"", AtFlags::EMPTY_PATH)?;
        if self.is_own(id) {
            return None;
        }
        let number = {
            let mut inner = self.inner();
            while inner.copying.contains(&id) {
                inner = self.copied.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
            if inner.seen.len() >= FILES_MAX || !inner.seen.insert(id) {
                return None;
            }
            inner.copying.insert(id);
            inner.counter += 1;
            inner.counter
        };
        let nothing = PreImage { kept: false, sha256: None, size };
        let image = if size > HASH_MAX { None } else { self.keep(file, size, number).ok() };
        self.inner().copying.remove(&id);
        self.copied.notify_all();
        Some(image.unwrap_or(nothing))
    }

    /// Says whether a file is known as made or changed by this session, and nothing of it is still to be copied.
    pub fn has_seen(&self, file: &OwnedFd) -> bool {
        identity(file, b"", AtFlags::EMPTY_PATH).is_some_and(|id| {
            let inner = self.inner();
            inner.seen.contains(&id) && !inner.copying.contains(&id)
        })
    }

    fn is_own(&self, (id, _): Identity) -> bool {
        self.own.iter().any(|path| rustix::fs::stat(path).is_ok_and(|stat| file_id(&stat) == id))
    }

    fn keep(&self, file: &OwnedFd, size: u64, number: u64) -> io::Result<PreImage> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut source: File = outside::open(&format!("self/fd/{}", file.as_raw_fd()), flags)?.into();
        if size > KEEP_MAX {
            let (sha256, size) = copy(&mut source, None)?;
            return Ok(PreImage { kept: false, sha256: Some(sha256), size });
        }
        make_folder(&self.objects)?;
        let temporary = self.objects.join(format!(".new-{}-{number}", std::process::id()));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut target: File = rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)?.into();
        let copied = if aegis_sys::files::clone_content(source.as_fd(), target.as_fd()).is_ok() {
            copy(&mut target, None)
        } else {
            copy(&mut source, Some(&mut target))
        };
        let stored = copied.and_then(|(sha256, size)| {
            let path = object_path(&self.objects, &sha256);
            if let Some(folder) = path.parent() {
                make_folder(folder)?;
            }
            std::fs::rename(&temporary, path)?;
            Ok(PreImage { kept: true, sha256: Some(sha256), size })
        });
        if stored.is_err() {
            let _ = rustix::fs::unlink(&temporary);
        }
        stored
    }
}

/// Keeps contents for threads that can't reach where they are kept.
#[derive(Debug)]
pub struct Clerk(SyncSender<Job>);

/// A file to be looked at, and where to say what was kept.
#[derive(Debug)]
pub struct Job {
    file: Arc<OwnedFd>,
    size: u64,
    answer: SyncSender<Option<PreImage>>,
}

/// How many files may wait.
const JOBS: usize = 64;

impl Clerk {
    /// Makes one; what it is asked comes out of the other end.
    #[must_use]
    pub fn new() -> (Self, Receiver<Job>) {
        let (send, receive) = sync_channel(JOBS);
        (Self(send), receive)
    }

    /// As [`PreImages::before_change`].
    #[must_use]
    pub fn before_change(&self, file: &Arc<OwnedFd>, size: u64) -> Option<PreImage> {
        let (answer, answered) = sync_channel(1);
        self.0.send(Job { file: Arc::clone(file), size, answer }).ok()?;
        answered.recv().ok()?
    }
}

impl Job {
    /// Does it.
    pub fn answer(self, keep: impl FnOnce(&OwnedFd, u64) -> Option<PreImage>) {
        // Who asked waits for exactly this.
        drop(self.answer.send(keep(&self.file, self.size)));
    }
}

fn identity(folder: &OwnedFd, name: &[u8], flags: AtFlags) -> Option<Identity> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = rustix::fs::statx(folder, name, flags, wanted).ok()?;
    let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    let has_birth = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    let birth = has_birth.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec));
    Some(((device, found.stx_ino), birth))
}

fn make_folder(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns where an object is kept.
#[must_use]
pub fn object_path(objects: &Path, sha256: &str) -> PathBuf {
    let (folder, name) = sha256.split_at_checked(2).unwrap_or((sha256, ""));
    objects.join(folder).join(name)
}

/// Reads to the end, with a copy if asked for; returns the hash and the length.
fn copy(source: &mut File, mut target: Option<&mut File>) -> io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        let got = source.read(&mut buffer)?;
        let part = buffer.get(..got).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        hasher.update(part);
        if let Some(target) = &mut target {
            target.write_all(part)?;
        }
        size += got as u64;
        if size > HASH_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    let digest = hasher.finalize();
    Ok((digest.iter().map(|byte| format!("{byte:02x}")).collect(), size))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files and processes the plain way")]
mod tests {
    use super::*;

    fn opath(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn the_content_is_kept_once_under_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path().join("objects");
        let file = folder.path().join("f");
        File::create(&file).unwrap().write_all(b"old").unwrap();
        let images = PreImages::new(objects.clone(), vec![folder.path().join("own")]);
        let image = images.before_change(&opath(&file), 3).unwrap();
        assert!(image.kept);
        let hash = image.sha256.unwrap();
        assert_eq!(hash, "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4");
        assert_eq!(std::fs::read(object_path(&objects, &hash)).unwrap(), b"old");
        assert_eq!(images.before_change(&opath(&file), 3), None);
        File::create(folder.path().join("made")).unwrap();
        images.made(&opath(folder.path()), b"made");
        assert_eq!(images.before_change(&opath(&folder.path().join("made")), 0), None);
        File::create(folder.path().join("own")).unwrap();
        std::fs::hard_link(folder.path().join("own"), folder.path().join("alias")).unwrap();
        assert_eq!(images.before_change(&opath(&folder.path().join("alias")), 0), None, "never opened");
    }

    #[test]
    fn what_is_too_large_is_hashed_only_or_named_only() {
        let folder = tempfile::tempdir().unwrap();
        let images = PreImages::new(folder.path().join("objects"), Vec::new());
        for (size, kept, hashed) in
            [(KEEP_MAX, true, true), (KEEP_MAX + 1, false, true), (HASH_MAX + 1, false, false)]
        {
            let file = folder.path().join(size.to_string());
            File::create(&file).unwrap().set_len(size).unwrap();
            let image = images.before_change(&opath(&file), size).unwrap();
            assert_eq!((image.kept, image.sha256.is_some(), image.size), (kept, hashed, size));
        }
    }
}
