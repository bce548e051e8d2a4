//! Calls that act on names: removing, renaming, making, linking.

use std::io;

use aegis_observer::calls::{At, Links};
use aegis_observer::look::owner_flags;
use aegis_observer::{Draft, Met, Sink};
use aegis_types::{Action, Clock, Resource, Text};
use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Supervisor, ids, unresolved};
use crate::place::{Found, Object, Slot, descriptor, find, slot};

/// `AT_SYMLINK_FOLLOW`, `AT_EMPTY_PATH` (`fcntl.h`).
const FOLLOW: u64 = 0x400;
const EMPTY_PATH: u64 = 0x1000;

/// What stands in a repository for what git runs.
const REPOSITORY: [&[u8]; 3] = [b".git", b"hooks", b"config"];

impl<S: Sink, C: Clock> Supervisor<S, C> {
    /// Finds the directory and the name that a call acts on.
    fn slot(&self, met: &Met<'_>, at: At) -> Result<Slot, (Errno, Vec<u8>)> {
        let path = self.path(met, at).map_err(|errno| (errno, Vec::new()))?;
        let found = slot(&self.caller(met), met.arguments().base(at), &path, ResolveFlags::empty());
        found.map_err(|errno| (errno, path))
    }

    /// Answers a call whose names can't be resolved.
    fn lost(&self, met: Met<'_>, action: Action, (errno, path): (Errno, Vec<u8>)) -> io::Result<()> {
        let draft = (!path.is_empty()).then(|| unresolved(action, &path));
        self.fail(met, draft, errno)
    }

    pub(super) fn remove(&self, met: Met<'_>, at: At) -> io::Result<()> {
        let directory = match met.call.name {
            "rmdir" => true,
            "unlinkat" => match met.arguments().int(2) {
                0 => false,
                flags if flags == AtFlags::REMOVEDIR.bits() => true,
                _ => return met.notification.refuse(libc::EINVAL),
            },
            _ => false,
        };
        let slot = match self.slot(&met, at) {
            Ok(slot) => slot,
            Err(why) => return self.lost(met, Action::FileDelete, why),
        };
        let draft = Draft::on(Action::FileDelete, &slot.path);
        let stat = match slot.stat() {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return self.absent(met, vec![draft], Errno::NOENT),
            Err(errno) => return self.fail(met, Some(draft), errno),
        };
        let mut ruling = self.rule(&met, vec![draft]);
        if ruling.allowed && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            self.keep(&mut ruling, 0, &slot);
        }
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        self.effect(met, ruling, || rustix::fs::unlinkat(&slot.folder, &slot.name, flags).map(|()| 0))
    }

    /// Keeps what a name's file holds, for the act of this number.
    fn keep(&self, ruling: &mut aegis_observer::observer::Ruling, index: usize, slot: &Slot) {
        if let (Ok(object), Some(act)) = (slot.object(), ruling.acts.get_mut(index)) {
            act.pre = self.observer.former(&object.path, &object.fd, &object.stat);
        }
    }

    pub(super) fn rename(&self, met: Met<'_>, from: At, to: At, flags: Option<u8>) -> io::Result<()> {
        let flags = flags.map_or(0, |index| met.arguments().int(index));
        let flags = RenameFlags::from_bits_retain(flags);
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let from = match self.slot(&met, from) {
            Ok(slot) => slot,
            Err(why) => return self.lost(met, Action::FileDelete, why),
        };
        let to = match self.slot(&met, to) {
            Ok(slot) => slot,
            Err(why) => return self.lost(met, Action::FileWrite, why),
        };
        let (source, target) = (from.stat(), to.stat());
        let is_directory = |stat: &Result<rustix::fs::Stat, Errno>| {
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        };
        let (moves, replaces) = (is_directory(&source), is_directory(&target));
        let mut drafts =
            vec![Draft::on(Action::FileDelete, &from.path), Draft::on(Action::FileWrite, &to.path)];
        if exchange {
            drafts.push(Draft::on(Action::FileDelete, &to.path));
            drafts.push(Draft::on(Action::FileWrite, &from.path));
        }
        self.with_reading(&met, (&from, moves), &to, &mut drafts, 0);
        if exchange {
            self.with_reading(&met, (&to, replaces), &from, &mut drafts, 2);
        }
        if moves {
            self.with_repository(&from, &to, &mut drafts, 0);
        }
        if exchange && replaces {
            self.with_repository(&to, &from, &mut drafts, 2);
        }
        let absent = matches!(source, Err(Errno::NOENT)) || (exchange && matches!(target, Err(Errno::NOENT)));
        let barred = [&source, &target].iter().any(|stat| matches!(stat, Err(Errno::ACCESS)));
        // `.` and `..` are not renamed, nor renamed over, whatever is there.
        if absent && !barred && from.is_name() && to.is_name() {
            return self.absent(met, drafts, Errno::NOENT);
        }
        let mut ruling = self.rule(&met, drafts);
        // What stands below it would be moved out of the policies that name it.
        if (moves && (self.is_pinned(&from.path) || self.is_pinned(&to.path)))
            || (replaces && exchange && (self.is_pinned(&to.path) || self.is_pinned(&from.path)))
        {
            ruling.forbid(ids::PINNED);
        }
        // Whether it is a directory can change until it is renamed; where that matters, the caller is told to copy: each
        // file is asked about then.
        if ruling.allowed && !self.are_alike(&from.path, &to.path) {
            let outcome = super::failed(Errno::XDEV.raw_os_error());
            return match self.observer.write(&met, ruling, Some(outcome)) {
                Ok(_) => met.notification.refuse(libc::EXDEV),
                Err(_) => met.notification.refuse(libc::EIO),
            };
        }
        if ruling.allowed {
            for (index, slot, is_directory) in [(0, &from, moves), (1, &to, replaces)] {
                if !is_directory {
                    self.keep(&mut ruling, index, slot);
                }
            }
        }
        self.effect(met, ruling, || {
            rustix::fs::renameat_with(&from.folder, &from.name, &to.folder, &to.name, flags).map(|()| 0)
        })
    }

    /// Adds that who may read the new name must be one who may read the old one: else a rename would get around that.
    fn with_reading(
        &self,
        met: &Met<'_>,
        (from, is_directory): (&Slot, bool),
        to: &Slot,
        drafts: &mut [Draft],
        index: usize,
    ) {
        let action = if is_directory { Action::DirList } else { Action::FileRead };
        if let Some(leaving) = drafts.get_mut(index)
            && self.rule(met, vec![Draft::on(action, &to.path)]).allowed
        {
            leaving.also.push((action, Resource::Path(Text::new(from.path.clone()))));
        }
    }

    /// Adds what a rename of a directory does to the repository in it, or to that which it becomes: what git runs is
    /// moved with it.
    fn with_repository(&self, from: &Slot, to: &Slot, drafts: &mut [Draft], first: usize) {
        let Ok(object) = from.object() else { return };
        for part in REPOSITORY {
            if rustix::fs::statat(&object.fd, part, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                continue;
            }
            let below = |slot: &Slot| Resource::Path(Text::new([&slot.path[..], b"/", part].concat()));
            if let Some(leaving) = drafts.get_mut(first) {
                leaving.also.push((Action::FileDelete, below(from)));
            }
            if let Some(coming) = drafts.get_mut(first + 1) {
                coming.also.push((Action::FileWrite, below(to)));
            }
        }
    }

    pub(super) fn make_directory(&self, met: Met<'_>, at: At) -> io::Result<()> {
        let slot = match self.slot(&met, at) {
            Ok(slot) => slot,
            Err(why) => return self.lost(met, Action::DirCreate, why),
        };
        let draft = Draft::on(Action::DirCreate, &slot.path);
        if slot.stat().is_ok() {
            // As it would fail: that it is there is no secret, and programs go on from it.
            return self.fail(met, Some(draft), Errno::EXIST);
        }
        let mode = self.mode(&met, at.path + 1);
        let ruling = self.rule(&met, vec![draft]);
        let umask = self.umask(&met);
        self.effect(met, ruling, || {
            rustix::process::umask(umask);
            rustix::fs::mkdirat(&slot.folder, &slot.name, mode).map(|()| 0)
        })
    }

    fn mode(&self, met: &Met<'_>, index: u8) -> Mode {
        Mode::from_bits_truncate(met.arguments().int(index) & 0o7777)
    }

    pub(super) fn make(&self, met: Met<'_>, at: At) -> io::Result<()> {
        let slot = match self.slot(&met, at) {
            Ok(slot) => slot,
            Err(why) => return self.lost(met, Action::FileWrite, why),
        };
        let mut draft = Draft::on(Action::FileWrite, &slot.path);
        let umask = self.umask(&met);
        if met.call.name.starts_with("symlink") {
            let target = met.arguments().string(met.arguments().number(0), aegis_observer::resolve::PATH_MAX);
            let target = match target {
                Ok(target) => target,
                Err(error) => {
                    let errno = self.unread(&met, &error);
                    return met.notification.refuse(errno.raw_os_error());
                }
            };
            if slot.stat().is_ok() {
                return self.fail(met, Some(draft), Errno::EXIST);
            }
            let ruling = self.rule(&met, vec![draft]);
            return self.effect(met, ruling, || {
                rustix::fs::symlinkat(&target, &slot.folder, &slot.name).map(|()| 0)
            });
        }
        let mode = met.arguments().int(at.path + 1);
        draft.flags = owner_flags(u64::from(mode)).collect();
        let kind = match mode & 0o170_000 {
            // No type means a plain file (mknod(2)).
            0 | 0o100_000 => FileType::RegularFile,
            0o010_000 => FileType::Fifo,
            0o140_000 => FileType::Socket,
            // A device is a way around every name.
            0o020_000 | 0o060_000 => return self.refuse(met, DEVICES, libc::EPERM),
            0o040_000 => return self.fail(met, None, Errno::PERM),
            _ => return self.fail(met, None, Errno::INVAL),
        };
        if slot.stat().is_ok() {
            return self.fail(met, Some(draft), Errno::EXIST);
        }
        let ruling = self.rule(&met, vec![draft]);
        self.effect(met, ruling, || {
            rustix::process::umask(umask);
            let mode = Mode::from_bits_truncate(mode & 0o7777);
            rustix::fs::mknodat(&slot.folder, &slot.name, kind, mode, 0).map(|()| 0)
        })
    }

    pub(super) fn link(&self, met: Met<'_>, from: At, to: At, links: Links) -> io::Result<()> {
        let flags = match links {
            Links::Only(index) => u64::from(met.arguments().int(index)),
            _ => 0,
        };
        if flags & !(FOLLOW | EMPTY_PATH) != 0 {
            return met.notification.refuse(libc::EINVAL);
        }
        let source = match self.source(&met, from, flags) {
            Ok(source) => source,
            Err(why) => return self.lost(met, Action::FileWrite, why),
        };
        let to = match self.slot(&met, to) {
            Ok(slot) => slot,
            Err(why) => return self.lost(met, Action::FileWrite, why),
        };
        let mut draft = Draft::on(Action::FileWrite, &to.path);
        // Whoever may use the new name may do so to the file.
        let origin = Resource::Path(Text::new(source.path.clone()));
        draft.also = vec![(Action::FileRead, origin.clone()), (Action::FileWrite, origin)];
        if to.stat().is_ok() {
            return self.fail(met, Some(draft), Errno::EXIST);
        }
        if source.is_directory() {
            let errno = if to.name.ends_with(b"/") { Errno::NOENT } else { Errno::PERM };
            return self.fail(met, Some(draft), errno);
        }
        let mut ruling = self.rule(&met, vec![draft]);
        if ruling.allowed
            && let Some(act) = ruling.acts.first_mut()
        {
            act.pre = self.observer.former(&source.path, &source.fd, &source.stat);
        }
        self.effect(met, ruling, || {
            rustix::fs::linkat(CWD, source.link(), &to.folder, &to.name, AtFlags::SYMLINK_FOLLOW).map(|()| 0)
        })
    }

    fn source(&self, met: &Met<'_>, from: At, flags: u64) -> Result<Object, (Errno, Vec<u8>)> {
        let path = self.path(met, from).map_err(|errno| (errno, Vec::new()))?;
        let caller = self.caller(met);
        if path.is_empty() && flags & EMPTY_PATH != 0 {
            let fd = from.dirfd.map_or(libc::AT_FDCWD, |index| met.arguments().descriptor(index));
            return descriptor(&caller, fd).map_err(|errno| (errno, path));
        }
        let follow = flags & FOLLOW != 0;
        let found = find(&caller, met.arguments().base(from), &path, follow, ResolveFlags::empty());
        match found {
            Ok(Found::There(object)) => Ok(object),
            Ok(Found::Missing(path, _)) => Err((Errno::NOENT, path)),
            Err(errno) => Err((errno, path)),
        }
    }
}

const DEVICES: &str = "devices are not made in `aegis run`: one is a way around every name";
