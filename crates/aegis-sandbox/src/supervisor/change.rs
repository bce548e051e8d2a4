//! Calls that change a file's metadata or length: on the object that was decided on.

use std::io;
use std::os::fd::AsFd as _;

use aegis_observer::arguments::Arguments;
use aegis_observer::calls::{At, Links};
use aegis_observer::look::owner_flags;
use aegis_observer::{Draft, Met, Sink};
use aegis_types::{Action, Clock};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, PidfdGetfdFlags, Uid, pidfd_getfd};

use super::{Done, Supervisor, unresolved};
use crate::place::{Found, Object, descriptor, find, open_descriptor};

/// `AT_SYMLINK_NOFOLLOW`, `AT_EMPTY_PATH` (`fcntl.h`).
const NOFOLLOW: u64 = 0x100;
const EMPTY_PATH: u64 = 0x1000;

/// The longest name and value of an extended attribute (`xattr(7)`).
const XATTR_NAME_MAX: usize = 255;
const XATTR_SIZE_MAX: usize = 65_536;

/// A change, with its arguments copied.
enum Change {
    Mode(Mode),
    Owner(Option<Uid>, Option<Gid>),
    Times(Timestamps),
    Length(u64),
    SetAttribute { name: Vec<u8>, value: Vec<u8>, flags: XattrFlags },
    RemoveAttribute { name: Vec<u8> },
}

impl<S: Sink, C: Clock> Supervisor<S, C> {
    pub(super) fn change(&self, met: Met<'_>, at: At, links: Links) -> io::Result<()> {
        let arguments = met.arguments();
        let change = match self.copied(&met, at.path + 1) {
            Ok(change) => change,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        let flags = match links {
            Links::Unless(index) | Links::Only(index) => u64::from(arguments.int(index)),
            Links::Follow | Links::Keep => 0,
        };
        if flags & !(NOFOLLOW | EMPTY_PATH) != 0 {
            return met.notification.refuse(libc::EINVAL);
        }
        let follow = match links {
            Links::Keep => false,
            _ => flags & NOFOLLOW == 0,
        };
        // utimensat(2) takes a null path for the descriptor itself.
        let base = at.dirfd.map_or(libc::AT_FDCWD, |index| arguments.descriptor(index));
        let is_null = arguments.number(at.path) == 0;
        let itself = is_null && met.call.name.starts_with("utimensat") && base != libc::AT_FDCWD;
        let path = if itself {
            Vec::new()
        } else {
            match self.path(&met, at) {
                Ok(path) if path.is_empty() && flags & EMPTY_PATH == 0 => {
                    return met.notification.refuse(libc::ENOENT);
                }
                Ok(path) => path,
                Err(errno) => return met.notification.refuse(errno.raw_os_error()),
            }
        };
        let caller = self.caller(&met);
        let object = if itself {
            if flags == 0 { open_descriptor(&caller, base) } else { Err(Errno::INVAL) }
        } else if path.is_empty() {
            descriptor(&caller, base)
        } else {
            match find(&caller, arguments.base(at), &path, follow, ResolveFlags::empty()) {
                Ok(Found::There(object)) => Ok(object),
                Ok(Found::Missing(path, _)) => {
                    return self.absent(met, vec![Draft::on(Action::FileWrite, &path)], Errno::NOENT);
                }
                Err(errno) => Err(errno),
            }
        };
        match object {
            Ok(object) => self.change_object(met, &object, &change),
            // It names nothing.
            Err(errno) if path.is_empty() => met.notification.refuse(errno.raw_os_error()),
            Err(errno) => self.fail(met, Some(unresolved(Action::FileWrite, &path)), errno),
        }
    }

    pub(super) fn change_open(&self, met: Met<'_>, fd: u8) -> io::Result<()> {
        let number = met.arguments().descriptor(fd);
        let change = match self.copied(&met, fd + 1) {
            Ok(change) => change,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        match open_descriptor(&self.caller(&met), number) {
            Ok(object) => self.change_object(met, &object, &change),
            Err(errno) => met.notification.refuse(errno.raw_os_error()),
        }
    }

    fn change_object(&self, met: Met<'_>, object: &Object, change: &Change) -> io::Result<()> {
        if super::is_nameless(object) {
            // Of what it made itself and nobody else finds by a name.
            return match execute(object, change) {
                Ok(value) => met.notification.value(value),
                Err(errno) => met.notification.refuse(errno.raw_os_error()),
            };
        }
        let mut draft = Draft::on(Action::FileWrite, &object.path);
        match change {
            Change::Mode(mode) if !object.is_directory() => {
                draft.flags = owner_flags(u64::from(mode.bits())).collect();
            }
            // Rights that a program has whoever runs it, as one that is set-uid has.
            Change::SetAttribute { name, .. } if name == b"security.capability" => {
                draft.flags = vec!["SETUID".into()];
            }
            _ => {}
        }
        let mut ruling = self.rule(&met, vec![draft]);
        if ruling.allowed
            && matches!(change, Change::Length(_))
            && let Some(act) = ruling.acts.first_mut()
        {
            act.pre = self.observer.former(&object.path, &object.fd, &object.stat);
        }
        self.effect(met, ruling, || execute(object, change))
    }

    /// Copies what is to be changed from the caller's arguments; the first of them that tells is `next`.
    fn copied(&self, met: &Met<'_>, next: u8) -> Result<Change, Errno> {
        let arguments = met.arguments();
        let unread = |error: io::Error| self.unread(met, &error);
        let attribute_name = || match arguments.string(arguments.number(next), XATTR_NAME_MAX) {
            Ok(name) if name.is_empty() => Err(Errno::RANGE),
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => Err(Errno::RANGE),
            name => name.map_err(unread),
        };
        Ok(match met.call.name {
            "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => {
                Change::Mode(Mode::from_bits_truncate(arguments.int(next) & 0o7777))
            }
            "chown" | "lchown" | "fchown" | "fchownat" => Change::Owner(
                Some(arguments.int(next)).filter(|id| *id != u32::MAX).map(Uid::from_raw),
                Some(arguments.int(next + 1)).filter(|id| *id != u32::MAX).map(Gid::from_raw),
            ),
            "truncate" => {
                let length = arguments.number(next).cast_signed();
                Change::Length(u64::try_from(length).map_err(|_| Errno::INVAL)?)
            }
            "utime" | "utimes" | "futimesat" | "utimensat" => {
                Change::Times(times(&arguments, met.call.name, arguments.number(next)).map_err(unread)??)
            }
            "setxattr" | "lsetxattr" | "fsetxattr" => {
                let size = usize::try_from(arguments.number(next + 2)).unwrap_or(usize::MAX);
                if size > XATTR_SIZE_MAX {
                    return Err(Errno::TOOBIG);
                }
                let mut value = vec![0; size];
                arguments.bytes(arguments.number(next + 1), &mut value).map_err(unread)?;
                Change::SetAttribute {
                    name: attribute_name()?,
                    value,
                    flags: XattrFlags::from_bits_retain(arguments.int(next + 3)),
                }
            }
            "removexattr" | "lremovexattr" | "fremovexattr" => {
                Change::RemoveAttribute { name: attribute_name()? }
            }
            // No other call has the shape.
            _ => return Err(Errno::NOSYS),
        })
    }

    /// Watches a file or directory: who may list or read it may hear of its changes.
    pub(super) fn watch(&self, met: Met<'_>, fd: u8, at: At) -> io::Result<()> {
        let arguments = met.arguments();
        let mask = arguments.int(2);
        let path = match self.path(&met, at) {
            Ok(path) => path,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        // IN_DONT_FOLLOW (inotify(7)).
        let follow = mask & 0x0200_0000 == 0;
        let found = find(&self.caller(&met), arguments.base(at), &path, follow, ResolveFlags::empty());
        let object = match found.map(Self::there) {
            Ok(Ok(object)) => object,
            Ok(Err((errno, path))) => {
                return self.absent(met, vec![Draft::on(Action::FileRead, &path)], errno);
            }
            Err(errno) => return self.fail(met, Some(unresolved(Action::FileRead, &path)), errno),
        };
        let action = if object.is_directory() { Action::DirList } else { Action::FileRead };
        let ruling = self.rule(&met, vec![Draft::on(action, &object.path)]);
        if !ruling.allowed {
            return self.deny(met, ruling);
        }
        let watcher = match pidfd_getfd(&*met.pidfd, arguments.descriptor(fd), PidfdGetfdFlags::empty()) {
            Ok(watcher) => watcher,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        let flags = rustix::fs::inotify::WatchFlags::from_bits_retain(mask & !0x0200_0000);
        let added = rustix::fs::inotify::add_watch(watcher.as_fd(), object.link(), flags);
        let outcome = match added {
            Ok(_) => aegis_types::Outcome::Ok,
            Err(errno) => super::failed(errno.raw_os_error()),
        };
        match (self.observer.write(&met, ruling, Some(outcome)), added) {
            (Err(_), _) => met.notification.refuse(libc::EIO),
            (Ok(_), Ok(number)) => met.notification.value(i64::from(number)),
            (Ok(_), Err(errno)) => met.notification.refuse(errno.raw_os_error()),
        }
    }
}

/// Reads the times of a call, in the form that it has; none means now.
fn times(arguments: &Arguments<'_>, call: &str, address: u64) -> io::Result<Result<Timestamps, Errno>> {
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    if address == 0 {
        return Ok(Ok(Timestamps { last_access: now, last_modification: now }));
    }
    let mut bytes = [0; 32];
    let length = if call == "utime" { 16 } else { 32 };
    arguments.bytes(address, bytes.get_mut(..length).unwrap_or_default())?;
    let word = |at: usize| {
        bytes.get(at * 8..at * 8 + 8).and_then(|b| b.try_into().ok()).map(i64::from_ne_bytes).unwrap_or(0)
    };
    let pair = match call {
        // struct utimbuf: seconds.
        "utime" => [(word(0), 0), (word(1), 0)],
        // struct timeval: seconds and microseconds.
        "utimes" | "futimesat" => {
            let is_wrong = |micros: i64| !(0..1_000_000).contains(&micros);
            if is_wrong(word(1)) || is_wrong(word(3)) {
                return Ok(Err(Errno::INVAL));
            }
            [(word(0), word(1) * 1_000), (word(2), word(3) * 1_000)]
        }
        _ => [(word(0), word(1)), (word(2), word(3))],
    };
    let [access, modification] = pair.map(|(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec });
    Ok(Ok(Timestamps { last_access: access, last_modification: modification }))
}

fn execute(object: &Object, change: &Change) -> Done {
    let link = object.link();
    let is_link = object.kind() == FileType::Symlink;
    match change {
        // Links have no mode of their own.
        Change::Mode(_) if is_link => Err(Errno::OPNOTSUPP),
        Change::Mode(mode) => rustix::fs::chmodat(CWD, link, *mode, AtFlags::empty()),
        Change::Owner(user, group) => rustix::fs::chownat(&object.fd, "", *user, *group, AtFlags::EMPTY_PATH),
        Change::Times(times) => rustix::fs::utimensat(&object.fd, "", times, AtFlags::EMPTY_PATH),
        Change::Length(length) => {
            if object.is_directory() {
                return Err(Errno::ISDIR);
            }
            if object.kind() != FileType::RegularFile {
                return Err(Errno::INVAL);
            }
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            rustix::fs::open(link, flags, Mode::empty()).and_then(|fd| rustix::fs::ftruncate(&fd, *length))
        }
        // The kernel has no form for a link itself by descriptor, and user attributes are not on links.
        Change::SetAttribute { .. } | Change::RemoveAttribute { .. } if is_link => Err(Errno::PERM),
        Change::SetAttribute { name, value, flags } => {
            rustix::fs::setxattr(link, name.as_slice(), value, *flags)
        }
        Change::RemoveAttribute { name } => rustix::fs::removexattr(link, name.as_slice()),
    }
    .map(|()| 0)
}
