//! The arguments of a call: numbers, and what they point to in the caller's memory.

use std::sync::Arc;

use aegis_sys::memory::Memory;
use aegis_sys::seccomp::RawCall;
use rustix::fs::ResolveFlags;

use crate::calls::At;
use crate::resolve::{Base, PATH_MAX};

/// A call's arguments. Memory is read anew each time: it can change in between.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    /// The calling thread.
    pub tid: u32,
    /// The call, as the kernel would take it.
    pub raw: RawCall,
    /// The memory of the caller's process, or why it can't be read.
    pub memory: &'a Result<Arc<Memory>, i32>,
}

impl Arguments<'_> {
    /// Returns an argument; 0 where the call has no such.
    #[must_use]
    pub fn number(&self, index: u8) -> u64 {
        self.raw.arguments.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Returns the low 32 bits of an argument, which is all that a call with an `int` looks at.
    #[must_use]
    pub fn int(&self, index: u8) -> u32 {
        low(self.number(index))
    }

    /// Returns the low 32 bits of an argument, as a descriptor.
    #[must_use]
    pub fn descriptor(&self, index: u8) -> i32 {
        self.int(index).cast_signed()
    }

    /// Reads the caller's memory; once more by the calling thread, where what was held is that of a program
    /// that the process does not run any more.
    ///
    /// # Errors
    /// That of the last read.
    pub fn read<T>(&self, mut read: impl FnMut(&Memory) -> std::io::Result<T>) -> std::io::Result<T> {
        let held = self.memory.as_deref().map_err(|errno| std::io::Error::from_raw_os_error(*errno));
        match held.and_then(&mut read) {
            Err(error) if !is_own_mistake(&error) => read(&Memory::open(self.tid)?),
            other => other,
        }
    }

    /// Reads exactly so much of the caller's memory.
    ///
    /// # Errors
    /// As [`Memory::read_exact`].
    pub fn bytes(&self, address: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.read(|memory| memory.read_exact(address, buffer))
    }

    /// Reads a string of at most so many bytes.
    ///
    /// # Errors
    /// As [`Memory::read_string`].
    pub fn string(&self, address: u64, most: usize) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(256);
        self.read(|memory| memory.read_string(address, most, &mut text))?;
        Ok(text)
    }

    /// Reads the path of a call.
    ///
    /// # Errors
    /// As [`Memory::read_string`].
    pub fn path(&self, at: At) -> std::io::Result<Vec<u8>> {
        self.string(self.number(at.path), PATH_MAX)
    }

    /// Returns what a relative path of the call starts from.
    #[must_use]
    pub fn base(&self, at: At) -> Base {
        match at.dirfd.map(|index| self.descriptor(index)) {
            Some(fd) if fd != libc::AT_FDCWD => Base::Descriptor(fd),
            _ => Base::Directory,
        }
    }

    /// Reads a `struct open_how` (`openat2(2)`): flags, mode, and how the path is to be resolved.
    ///
    /// # Errors
    /// As [`Memory::read_exact`].
    pub fn open_how(&self, index: u8) -> std::io::Result<(u64, u64, ResolveFlags)> {
        let mut bytes = [0; 24];
        self.bytes(self.number(index), &mut bytes)?;
        let word = |at: usize| -> u64 {
            bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_ne_bytes).unwrap_or(0)
        };
        Ok((word(0), word(8), ResolveFlags::from_bits_retain(word(16))))
    }
}

/// Says whether what a caller named can't be read because it is not there: its call fails just so.
#[must_use]
pub fn is_own_mistake(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EFAULT | libc::EIO | libc::ENAMETOOLONG))
}

/// Returns the low half of an argument.
#[must_use]
pub fn low(argument: u64) -> u32 {
    u32::try_from(argument & 0xffff_ffff).unwrap_or(0)
}
