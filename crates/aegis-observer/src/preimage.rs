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

use aegis_types::PreImage;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use crate::evidence::FileId;

/// The largest content that is kept, in bytes.
pub const KEEP_MAX: u64 = 16 << 20;

/// The largest content that is hashed, in bytes: more would hold the call up for too long.
pub const HASH_MAX: u64 = 256 << 20;

/// The most files of one session that are remembered as seen; beyond, contents are not kept any more.
const FILES_MAX: usize = 1_000_000;

/// Keeps contents for one session.
#[derive(Debug)]
pub struct PreImages {
    objects: PathBuf,
    /// The files that were changed or made in this session.
    seen: HashSet<FileId>,
    counter: u64,
}

impl PreImages {
    /// Keeps objects in this folder, which is made when the first one comes.
    #[must_use]
    pub fn new(objects: PathBuf) -> Self {
        Self { objects, seen: HashSet::new(), counter: 0 }
    }

    /// Remembers that a file is this session's own: what it holds was written by it.
    pub fn made(&mut self, file: FileId) {
        if self.seen.len() < FILES_MAX {
            self.seen.insert(file);
        }
    }

    /// Keeps what a file holds, where this session has neither made nor changed it before.
    pub fn before_change(&mut self, id: FileId, file: &OwnedFd, size: u64) -> Option<PreImage> {
        if self.seen.len() >= FILES_MAX || !self.seen.insert(id) {
            return None;
        }
        let nothing = PreImage { kept: false, sha256: None, size };
        if size > HASH_MAX {
            return Some(nothing);
        }
        Some(self.keep(file, size).unwrap_or(nothing))
    }

    fn keep(&mut self, file: &OwnedFd, size: u64) -> io::Result<PreImage> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut source: File =
            rustix::fs::open(format!("/proc/self/fd/{}", file.as_raw_fd()), flags, Mode::empty())?.into();
        if size > KEEP_MAX {
            let (sha256, size) = copy(&mut source, None)?;
            return Ok(PreImage { kept: false, sha256: Some(sha256), size });
        }
        self.counter += 1;
        make_folder(&self.objects)?;
        let temporary = self.objects.join(format!(".new-{}-{}", std::process::id(), self.counter));
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
        let mut images = PreImages::new(objects.clone());
        let image = images.before_change((1, 1), &opath(&file), 3).unwrap();
        assert!(image.kept);
        let hash = image.sha256.unwrap();
        assert_eq!(hash, "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4");
        assert_eq!(std::fs::read(object_path(&objects, &hash)).unwrap(), b"old");
        assert_eq!(images.before_change((1, 1), &opath(&file), 3), None);
        images.made((1, 2));
        assert_eq!(images.before_change((1, 2), &opath(&file), 3), None);
    }

    #[test]
    fn what_is_too_large_is_hashed_only_or_named_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let handle = File::create(&file).unwrap();
        let mut images = PreImages::new(folder.path().join("objects"));
        for (size, kept, hashed) in
            [(KEEP_MAX, true, true), (KEEP_MAX + 1, false, true), (HASH_MAX + 1, false, false)]
        {
            handle.set_len(size).unwrap();
            let image = images.before_change((2, size), &opath(&file), size).unwrap();
            assert_eq!((image.kept, image.sha256.is_some(), image.size), (kept, hashed, size));
        }
    }
}
