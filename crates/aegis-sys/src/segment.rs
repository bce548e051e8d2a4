//! A file of fixed size, mapped for appending: what is in it survives the death of every process.
//!
//! Entries stand one behind the other: length and checksum as little-endian 32-bit numbers, then the bytes,
//! padded to a multiple of eight. The length is stored last, with release ordering, so that a reader of the
//! file sees an entry whole or not at all; the checksum is for what an abrupt end of the machine leaves.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FallocateFlags, Mode, OFlags};

/// Bytes before each entry.
pub const ENTRY_HEADER: usize = 8;

/// A mapped segment, open for appending.
#[derive(Debug)]
pub struct Segment {
    mapping: Arc<Mapping>,
    used: usize,
}

/// The memory of a segment.
#[derive(Debug)]
pub struct Mapping {
    base: *mut u8,
    size: usize,
}

// SAFETY: the mapping is not tied to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference the memory is neither read nor written.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Gets the memory ready for writing, so that who writes does not have to wait for it page by page
    /// (`madvise(2)`, `MADV_POPULATE_WRITE`, since Linux 5.14). May be called while another thread appends.
    pub fn populate(&self) {
        // SAFETY: the range is that of the mapping, which lives as long as this value. The advice changes no
        // content. Where it is not taken, pages come as they are written to.
        unsafe {
            libc::madvise(self.base.cast(), self.size, libc::MADV_POPULATE_WRITE);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what was mapped; no reference into it outlives this value.
        unsafe {
            libc::munmap(self.base.cast(), self.size);
        }
    }
}

impl Segment {
    /// Makes the file, reserves its blocks and maps it. A file that exists is an error.
    ///
    /// # Errors
    /// ENOSPC where the disk is full: nothing is then left behind.
    pub fn create(path: &Path, size: usize) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
        let made = reserve(&file, size).and_then(|()| Self::map(&file.into(), size));
        if made.is_err() {
            // The first error is the one to report.
            drop(std::fs::remove_file(path));
        }
        made
    }

    fn map(file: &File, size: usize) -> io::Result<Self> {
        // SAFETY: a new shared mapping at an address of the kernel's choice aliases nothing; the blocks are
        // reserved, so that writing can't raise SIGBUS for want of space.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                std::os::fd::AsRawFd::as_raw_fd(&file.as_fd()),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { mapping: Arc::new(Mapping { base: base.cast(), size }), used: 0 })
    }

    /// Returns the memory, to get it ready from another thread.
    #[must_use]
    pub fn mapping(&self) -> Arc<Mapping> {
        Arc::clone(&self.mapping)
    }

    /// Says whether more than half of it is used.
    #[must_use]
    pub fn is_half_used(&self) -> bool {
        self.used > self.mapping.size / 2
    }

    /// Returns how many bytes an entry of this length takes.
    #[must_use]
    pub fn entry_size(len: usize) -> usize {
        (ENTRY_HEADER + len).next_multiple_of(8)
    }

    /// Appends an entry, given in two parts, or returns false where it has no room.
    pub fn append(&mut self, head: &[u8], body: &[u8], checksum: u32) -> bool {
        let whole = head.len() + body.len();
        let need = Self::entry_size(whole);
        // The length word of the entry behind must stay inside: it is what says "nothing more".
        let Ok(len) = u32::try_from(whole) else { return false };
        if len == 0 || self.used + need + ENTRY_HEADER > self.mapping.size {
            return false;
        }
        // SAFETY: `used + need` is within the mapping, checked above; the mapping is writable, and this value
        // alone writes to it; the bytes come from slices that can't overlap it. The length word is aligned:
        // entries start at multiples of eight from a page-aligned base.
        unsafe {
            let at = self.mapping.base.add(self.used);
            at.add(4).cast::<u32>().write(checksum.to_le());
            at.add(ENTRY_HEADER).copy_from_nonoverlapping(head.as_ptr(), head.len());
            at.add(ENTRY_HEADER + head.len()).copy_from_nonoverlapping(body.as_ptr(), body.len());
            AtomicU32::from_ptr(at.cast()).store(len.to_le(), Ordering::Release);
        }
        self.used += need;
        true
    }
}

fn reserve(file: impl AsFd, size: usize) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size as u64)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_takes_what_fits_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut segment = Segment::create(&path, 4096).unwrap();
        segment.mapping().populate();
        assert!(!segment.is_half_used());
        assert!(Segment::create(&path, 4096).is_err(), "an existing file is not taken over");
        assert!(!segment.append(&[1; 9], &[1; 4096 - 2 * ENTRY_HEADER - 8], 7));
        assert!(segment.append(&[1; 9], &[2; 4096 - 2 * ENTRY_HEADER - 9], 7));
        assert!(!segment.append(b"x", b"", 7));
        assert!(segment.is_half_used());
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..8], [0xf0, 0x0f, 0, 0, 7, 0, 0, 0]);
        assert_eq!(bytes[8..18], [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
        assert_eq!(bytes[4087..], [2, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
