//! Calls on a path that another thread rewrites meanwhile: everything unsafe of this program.
#![expect(unsafe_code, reason = "safe forms take a text that stands still; every block argues its safety")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

/// A path that is read and written by several threads at once.
///
/// Invariant: the last byte is NUL for ever, so that whoever reads the text finds an end.
#[derive(Debug)]
pub(crate) struct SharedText(Box<[AtomicU8]>);

impl SharedText {
    /// Makes one.
    pub(crate) fn new(text: &OsStr) -> Self {
        Self(text.as_bytes().iter().chain(b"\0").copied().map(AtomicU8::new).collect())
    }

    /// Writes `bytes` from `offset` on, as far as the text reaches.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let Some((_end, cells)) = self.0.split_last() else { return };
        for (cell, byte) in cells.iter().skip(offset).zip(bytes) {
            cell.store(*byte, Ordering::Relaxed);
        }
    }

    fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

/// A path as a call takes it: a number of a directory, and the text below it.
///
/// The number is not a borrowed descriptor: another thread changes what it stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The number, or `AT_FDCWD`.
    pub(crate) at: RawFd,
    /// The text.
    pub(crate) text: &'a SharedText,
}

fn checked(result: c_long) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        c_int::try_from(result).map_err(io::Error::other)
    }
}

/// Calls openat(2).
pub(crate) fn open(place: Place<'_>, flags: c_int) -> io::Result<OwnedFd> {
    let (text, flags) = (place.text.as_ptr(), flags | libc::O_CLOEXEC);
    // SAFETY: the text ends with NUL and outlives the call; the kernel copies it once.
    let fd = checked(unsafe { libc::syscall(libc::SYS_openat, place.at, text, flags, 0o644) })?;
    // SAFETY: the call has just returned this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls unlinkat(2).
pub(crate) fn unlink(place: Place<'_>) -> io::Result<()> {
    // SAFETY: the text ends with NUL and outlives the call; the kernel copies it once.
    checked(unsafe { libc::syscall(libc::SYS_unlinkat, place.at, place.text.as_ptr(), 0) }).map(drop)
}

/// Calls renameat2(2), away from the place.
pub(crate) fn rename(place: Place<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let (text, to, name) = (place.text.as_ptr(), to.as_raw_fd(), name.as_ptr());
    // SAFETY: both texts end with NUL and outlive the call; the kernel copies them once.
    checked(unsafe { libc::syscall(libc::SYS_renameat2, place.at, text, to, name, 0) }).map(drop)
}

/// Calls renameat2(2), to the place.
pub(crate) fn rename_to(from: BorrowedFd<'_>, name: &CStr, place: Place<'_>) -> io::Result<()> {
    let (text, from, name) = (place.text.as_ptr(), from.as_raw_fd(), name.as_ptr());
    // SAFETY: both texts end with NUL and outlive the call; the kernel copies them once.
    checked(unsafe { libc::syscall(libc::SYS_renameat2, from, name, place.at, text, 0) }).map(drop)
}

/// Calls linkat(2), of what is at the place.
pub(crate) fn link(place: Place<'_>, to: BorrowedFd<'_>, name: &CStr, flags: c_int) -> io::Result<()> {
    let (text, to, name) = (place.text.as_ptr(), to.as_raw_fd(), name.as_ptr());
    // SAFETY: both texts end with NUL and outlive the call; the kernel copies them once.
    checked(unsafe { libc::syscall(libc::SYS_linkat, place.at, text, to, name, flags) }).map(drop)
}

/// Calls linkat(2), to the place.
pub(crate) fn link_to(from: BorrowedFd<'_>, name: &CStr, place: Place<'_>) -> io::Result<()> {
    let (text, from, name) = (place.text.as_ptr(), from.as_raw_fd(), name.as_ptr());
    // SAFETY: both texts end with NUL and outlive the call; the kernel copies them once.
    checked(unsafe { libc::syscall(libc::SYS_linkat, from, name, place.at, text, 0) }).map(drop)
}

/// Calls symlinkat(2).
pub(crate) fn symlink(to: &CStr, place: Place<'_>) -> io::Result<()> {
    let (to, text) = (to.as_ptr(), place.text.as_ptr());
    // SAFETY: both texts end with NUL and outlive the call; the kernel copies them once.
    checked(unsafe { libc::syscall(libc::SYS_symlinkat, to, place.at, text) }).map(drop)
}

/// Calls mkdirat(2).
pub(crate) fn mkdir(place: Place<'_>) -> io::Result<()> {
    // SAFETY: the text ends with NUL and outlives the call; the kernel copies it once.
    checked(unsafe { libc::syscall(libc::SYS_mkdirat, place.at, place.text.as_ptr(), 0o755) }).map(drop)
}

/// Calls fchmodat(2).
pub(crate) fn chmod(place: Place<'_>, mode: u32) -> io::Result<()> {
    // SAFETY: the text ends with NUL and outlives the call; the kernel copies it once.
    checked(unsafe { libc::syscall(libc::SYS_fchmodat, place.at, place.text.as_ptr(), mode) }).map(drop)
}

/// Calls fchownat(2).
pub(crate) fn chown(place: Place<'_>, user: u32, group: u32) -> io::Result<()> {
    let text = place.text.as_ptr();
    // SAFETY: the text ends with NUL and outlives the call; the kernel copies it once.
    checked(unsafe { libc::syscall(libc::SYS_fchownat, place.at, text, user, group, 0) }).map(drop)
}

/// Calls truncate(2), which takes no number.
pub(crate) fn truncate(text: &SharedText, length: c_long) -> io::Result<()> {
    // SAFETY: the text ends with NUL and outlives the call; the kernel copies it once.
    checked(unsafe { libc::syscall(libc::SYS_truncate, text.as_ptr(), length) }).map(drop)
}

/// Calls utimensat(2) with the same second for both times.
pub(crate) fn utimes(place: Place<'_>, second: i64) -> io::Result<()> {
    let times = [libc::timespec { tv_sec: second, tv_nsec: 0 }; 2];
    let text = place.text.as_ptr();
    // SAFETY: the text ends with NUL, there are two times, and both outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_utimensat, place.at, text, times.as_ptr(), 0) }).map(drop)
}

/// Calls setxattr(2), which takes no number.
pub(crate) fn setxattr(text: &SharedText, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (text, name, length) = (text.as_ptr(), name.as_ptr(), value.len());
    // SAFETY: both texts end with NUL, the value is as long as said, and all outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_setxattr, text, name, value.as_ptr(), length, 0) }).map(drop)
}

/// Words of the stack of a child that executes.
const STACK: usize = 4096;

/// What a child that executes needs, and what became of it.
struct Execution<'a> {
    place: Place<'a>,
    error: c_int,
}

/// Executes the program at the place in a child and waits for its end.
///
/// The child shares memory, descriptors and working directory with this process until it executes: what is
/// flipped here flips for the child too, which a fork would see standing still.
pub(crate) fn execute(place: Place<'_>) -> io::Result<WaitStatus> {
    let mut stack = vec![0_u128; STACK];
    let mut execution = Execution { place, error: 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FS | libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: the stack is aligned, its own and larger than the child needs; it grows down from its end. This
    // thread stands still until the child has executed or ended (CLONE_VFORK), so that both structures outlive
    // the child's use, nobody else touches them meanwhile, and the child may use this thread's `errno`.
    let pid = checked(
        unsafe {
            let top = stack.as_mut_ptr().add(STACK).cast::<c_void>();
            libc::clone(become_program, top, flags, (&raw mut execution).cast())
        }
        .into(),
    )?;
    let child = Pid::from_raw(pid).ok_or_else(|| io::Error::other("no child"))?;
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
    match (execution.error, ended) {
        (0, Some((_, status))) => Ok(status),
        (0, None) => Err(io::Error::other("the child did not end")),
        (error, _) => Err(io::Error::from_raw_os_error(error)),
    }
}

/// What the child does: executes, or leaves the error behind and ends.
extern "C" fn become_program(execution: *mut c_void) -> c_int {
    let none = [ptr::null::<c_char>()];
    // SAFETY: `execute` passed its structure, which lives and is not touched until this child has executed or
    // ended. The text ends with NUL, both arrays with a null pointer.
    unsafe {
        let execution = execution.cast::<Execution<'_>>();
        let Place { at, text } = (*execution).place;
        let (text, arguments) = (text.as_ptr(), [c"program".as_ptr(), ptr::null()]);
        if at == libc::AT_FDCWD {
            libc::syscall(libc::SYS_execve, text, arguments.as_ptr(), none.as_ptr());
        } else {
            libc::syscall(libc::SYS_execveat, at, text, arguments.as_ptr(), none.as_ptr(), 0);
        }
        (*execution).error = *libc::__errno_location();
    }
    127
}
