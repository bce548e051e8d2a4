//! Operations that change what a file is called to be: mode, owner, times, attributes.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown};

use aegis_harness::truth::Action::FileWrite;
use rustix::fs::{
    AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags, chmodat, chownat, setxattr, utimensat,
};
use rustix::process::{getegid, geteuid};

use crate::worker::Worker;

/// Changes the mode of a file.
pub(crate) fn change_mode(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    let changed = fs::set_permissions(&made.path, Permissions::from_mode(0o600));
    w.log.note("chmod", FileWrite, &made.path, changed)?;
    let changed = chmodat(&w.at, &made.name, Mode::from_raw_mode(0o640), AtFlags::empty());
    w.log.note("fchmodat", FileWrite, &made.path, changed)
}

/// Gives a file, and a symbolic link itself, to whom they belong already.
pub(crate) fn change_owner(w: &mut Worker) -> io::Result<()> {
    let (made, link) = (w.make("a")?, w.spot("b"));
    let (user, group) = (geteuid(), getegid());
    let (uid, gid) = (Some(user.as_raw()), Some(group.as_raw()));
    w.log.note("chown", FileWrite, &made.path, chown(&made.path, uid, gid))?;
    let linked = std::os::unix::fs::symlink(&made.name, &link.path);
    w.log.note("symlink", FileWrite, &link.path, linked)?;
    w.log.note("chown through symlink", FileWrite, &made.path, chown(&link.path, uid, gid))?;
    w.log.note("lchown", FileWrite, &link.path, lchown(&link.path, uid, gid))?;
    let changed = chownat(&w.at, &made.name, Some(user), Some(group), AtFlags::empty());
    w.log.note("fchownat", FileWrite, &made.path, changed)
}

/// Changes the times of a file.
pub(crate) fn change_times(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    let then = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
    let times = Timestamps { last_access: then, last_modification: then };
    let changed = utimensat(&w.at, &made.name, &times, AtFlags::empty());
    w.log.note("utimensat", FileWrite, &made.path, changed)?;
    let changed = utimensat(CWD, &made.path, &times, AtFlags::SYMLINK_NOFOLLOW);
    w.log.note("utimensat", FileWrite, &made.path, changed)
}

/// Sets an extended attribute; not every file system has them.
pub(crate) fn set_attribute(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    let set = setxattr(&made.path, "user.aegis", b"value", XattrFlags::empty());
    match w.log.note("setxattr", FileWrite, &made.path, set) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        result => result,
    }
}
