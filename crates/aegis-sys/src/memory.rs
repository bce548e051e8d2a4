//! Reading another process' memory: `process_vm_readv(2)`.

use std::io;

/// Reads from the memory of a thread's process into a buffer and returns how much could be read.
///
/// Never reads across a page that is not there: what lies before it is returned.
///
/// # Errors
/// That of the system call: EPERM where the process can't be read, ESRCH where it is gone, EFAULT where the
/// first byte is not mapped.
pub fn read(tid: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let Ok(address) = usize::try_from(address) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let Ok(pid) = libc::pid_t::try_from(tid) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: buffer.len() };
    // SAFETY: `local` names exactly the buffer, which is borrowed for writing; the remote side is only an
    // address for the kernel and is never dereferenced here.
    let got = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Reads exactly the buffer's length.
///
/// # Errors
/// As [`read`]; EFAULT where only a part is there.
pub fn read_exact(tid: u32, address: u64, buffer: &mut [u8]) -> io::Result<()> {
    if buffer.is_empty() || read(tid, address, buffer)? == buffer.len() {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::EFAULT))
}

/// The size of a page, or less: reads that end at such a bound never cross into an unmapped page needlessly.
const PAGE: u64 = 4096;

/// Reads a string that ends with a zero byte, without it, into `out`.
///
/// # Errors
/// As [`read`]; ENAMETOOLONG where no zero byte comes within `max` bytes.
pub fn read_string(tid: u32, address: u64, max: usize, out: &mut Vec<u8>) -> io::Result<()> {
    out.clear();
    let mut at = address;
    let mut chunk = [0u8; 512];
    while out.len() <= max {
        let to_page_end = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
        let want = to_page_end.min(chunk.len());
        let Some(buffer) = chunk.get_mut(..want) else { break };
        let got = read(tid, at, buffer)?;
        let part = buffer.get(..got).unwrap_or_default();
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            out.extend_from_slice(part.get(..end).unwrap_or_default());
            if out.len() > max {
                break;
            }
            return Ok(());
        }
        if got == 0 {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        out.extend_from_slice(part);
        at = at.checked_add(got as u64).ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))?;
    }
    Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_read_and_bounded() {
        let text = b"hello\0world";
        let address = text.as_ptr() as u64;
        let mut out = Vec::new();
        let me = std::process::id();
        read_string(me, address, 5, &mut out).unwrap();
        assert_eq!(out, b"hello");
        let error = read_string(me, address, 4, &mut out).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
        assert_eq!(read(me, 1, &mut [0; 8]).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    }
}
