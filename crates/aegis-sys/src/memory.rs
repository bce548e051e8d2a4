//! Reading another process' memory: `/proc/PID/mem` (`proc_pid_mem(5)`), opened once for each program that a
//! process runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::OFlags;

use crate::outside;

/// The memory of a process, as of its last exec: after another, it has to be opened anew.
#[derive(Debug)]
pub struct Memory(File);

impl Memory {
    /// Opens the memory of a process.
    ///
    /// # Errors
    /// That of `open(2)`: EACCES or EPERM where the process can't be read.
    pub fn open(pid: u32) -> io::Result<Self> {
        Ok(Self(outside::open(&format!("{pid}/mem"), OFlags::RDONLY)?.into()))
    }

    /// Reads into a buffer and returns how much could be read: never across a page that is not there.
    ///
    /// # Errors
    /// EIO where the first byte is not mapped, ESRCH where the process has gone or runs another program.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        // Offsets of files are signed; no address of a program has the highest bit set.
        if i64::try_from(address).is_err() {
            return Err(fault());
        }
        match self.0.read_at(buffer, address)? {
            0 if !buffer.is_empty() => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            got => Ok(got),
        }
    }

    /// Reads exactly the buffer's length.
    ///
    /// # Errors
    /// As [`Memory::read`]; EFAULT where only a part is there.
    pub fn read_exact(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() || self.read(address, buffer)? == buffer.len() {
            return Ok(());
        }
        Err(fault())
    }

    /// Reads a string that ends with a zero byte, without it, into `out`.
    ///
    /// # Errors
    /// As [`Memory::read`]; ENAMETOOLONG where no zero byte comes within `max` bytes.
    pub fn read_string(&self, address: u64, max: usize, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        let mut at = address;
        let mut chunk = [0u8; 256];
        while out.len() <= max {
            let to_page_end = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
            let want = to_page_end.min(chunk.len());
            let Some(buffer) = chunk.get_mut(..want) else { break };
            let got = self.read(at, buffer)?;
            let part = buffer.get(..got).unwrap_or_default();
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                out.extend_from_slice(part.get(..end).unwrap_or_default());
                if out.len() > max {
                    break;
                }
                return Ok(());
            }
            out.extend_from_slice(part);
            at = at.checked_add(got as u64).ok_or_else(fault)?;
        }
        Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
    }
}

fn fault() -> io::Error {
    io::Error::from_raw_os_error(libc::EFAULT)
}

/// The size of a page, or less: reads that end at such a bound never cross into an unmapped page needlessly.
const PAGE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_read_and_bounded() {
        let text = b"hello\0world";
        let address = text.as_ptr() as u64;
        let mut out = Vec::new();
        let me = Memory::open(std::process::id()).unwrap();
        me.read_string(address, 5, &mut out).unwrap();
        assert_eq!(out, b"hello");
        let error = me.read_string(address, 4, &mut out).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
        assert_eq!(me.read(1, &mut [0; 8]).unwrap_err().raw_os_error(), Some(libc::EIO));
        assert_eq!(me.read(u64::MAX, &mut [0; 8]).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    }
}
