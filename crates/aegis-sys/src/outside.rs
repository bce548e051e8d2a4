//! The root, `/proc` and `/dev` as this process found them at its start.
//!
//! A thread can come to have another view of the file system: other mounts, a `/proc` that shows other processes. What
//! it then wants to know of processes by their ids here it finds by descriptors that were opened before.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, Stat};

static ROOT: OnceLock<Option<OwnedFd>> = OnceLock::new();
static PROC: OnceLock<Option<OwnedFd>> = OnceLock::new();
static DEV: OnceLock<Option<OwnedFd>> = OnceLock::new();

fn held(place: &'static OnceLock<Option<OwnedFd>>, path: &str) -> BorrowedFd<'static> {
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).ok()
    };
    // Without it, nothing is found there: no call that needs it succeeds.
    place.get_or_init(open).as_ref().map_or(CWD, |fd| fd.as_fd())
}

/// Holds them. To be called before any thread changes its view.
pub fn hold() {
    let _ = (root(), proc(), dev());
}

/// Returns the root.
#[must_use]
pub fn root() -> BorrowedFd<'static> {
    held(&ROOT, "/")
}

/// Returns the directory of `/proc`.
#[must_use]
pub fn proc() -> BorrowedFd<'static> {
    held(&PROC, "/proc")
}

/// Returns the directory of `/dev`.
#[must_use]
pub fn dev() -> BorrowedFd<'static> {
    held(&DEV, "/dev")
}

/// Opens a name below `/proc`.
///
/// # Errors
/// That of `openat(2)`.
pub fn open(name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(proc(), name, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Makes the folder of this process' descriptors the working directory of this thread, which has one of its own: a
/// descriptor's number is then a path of the file that it holds (`proc_pid_fd(5)`).
///
/// # Errors
/// That of `openat(2)` or `fchdir(2)`.
pub fn enter_descriptors() -> rustix::io::Result<()> {
    rustix::process::fchdir(open("self/fd", OFlags::PATH | OFlags::DIRECTORY)?)
}

/// Reads a file below `/proc`.
///
/// # Errors
/// That of the system calls.
pub fn read(name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(open(name, OFlags::RDONLY)?), &mut bytes)?;
    Ok(bytes)
}

/// Reads a link below `/proc`.
///
/// # Errors
/// That of `readlinkat(2)`.
pub fn link(name: &str) -> rustix::io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(proc(), name, Vec::new())?.into_bytes())
}

/// Looks at a name below `/proc`, following links.
///
/// # Errors
/// That of `fstatat(2)`.
pub fn stat(name: &str) -> rustix::io::Result<Stat> {
    rustix::fs::statat(proc(), name, AtFlags::empty())
}

/// Says whether a name is there below `/proc`.
#[must_use]
pub fn exists(name: &str) -> bool {
    rustix::fs::accessat(proc(), name, Access::EXISTS, AtFlags::empty()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_below_proc() {
        hold();
        let me = std::process::id();
        assert!(exists(&format!("{me}/task")) && !exists("no-such-name"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(link(&format!("{me}/cwd")).unwrap(), here.as_os_str().as_encoded_bytes());
        assert!(read(&format!("{me}/status")).unwrap().starts_with(b"Name:"));
    }
}
