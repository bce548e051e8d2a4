//! The calls that have no safe form: everything unsafe of this program.
#![expect(unsafe_code, reason = "these calls have no safe form; every block argues its safety")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Calls truncate(2).
pub(crate) fn truncate(path: &str, length: i64) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: the path ends with NUL and outlives the call.
    checked(unsafe { libc::truncate(path.as_ptr(), length) }.into())
}

/// Calls fchmodat2(2), of Linux 6.6, which follows no link.
pub(crate) fn chmod_link(base: BorrowedFd<'_>, path: &str, mode: u32) -> io::Result<()> {
    const FCHMODAT2: libc::c_long = 452;
    let (path, fd) = (CString::new(path)?, base.as_raw_fd());
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the path ends with NUL and outlives the call, which takes numbers otherwise.
    checked(unsafe { libc::syscall(FCHMODAT2, fd, path.as_ptr(), mode, flags) })
}

/// Calls unshare(2).
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: with the flags that make namespaces it touches no memory and no descriptor.
    checked(unsafe { libc::unshare(flags) }.into())
}
