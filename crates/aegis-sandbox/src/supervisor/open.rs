//! Opening: the descriptor of what was decided on goes to the caller.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aegis_observer::calls::{At, OpenFlags};
use aegis_observer::look::{open_flag_names, owner_flags};
use aegis_observer::observer::Ruling;
use aegis_observer::resolve::{Base, path_of};
use aegis_observer::{Draft, Met, Sink};
use aegis_sys::outside;
use aegis_types::{Action, Clock, Outcome, Resource, Text};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Supervisor, failed, ids, is_nameless, lock, unresolved};
use crate::place::{Found, Object, PROC, Slot, find, plain, slot};

/// An open, as it was asked for.
struct Asked {
    flags: OFlags,
    mode: u64,
    base: Base,
    path: Vec<u8>,
    how: ResolveFlags,
}

/// The length of `struct open_how` in its first version, and the most that the kernel takes of a later one.
const HOW: usize = 24;
const PAGE: usize = 4_096;

/// `__O_TMPFILE` without the `O_DIRECTORY` that comes with it (`fcntl.h`).
const TMPFILE: u32 = OFlags::TMPFILE.bits() & !OFlags::DIRECTORY.bits();

/// How often a name is looked at again that changes while it is opened.
const TRIES: usize = 40;

/// Flags that are about finding or making the file, which is found or made already.
const FINDING: OFlags = OFlags::CREATE.union(OFlags::EXCL).union(OFlags::NOFOLLOW);

/// What every descriptor of ours has.
const OURS: OFlags = OFlags::CLOEXEC.union(OFlags::NOCTTY);

/// `/dev/tty` and `/dev/ptmx` (Documentation/admin-guide/devices.txt of Linux).
const TTY: u64 = 5 << 8;
const PTMX: u64 = (5 << 8) | 2;

/// The memory and the ports of the machine, and the kernel's log: `/dev/mem`, `kmem`, `port`, `kmsg`.
const MEMORY: [u64; 4] = [(1 << 8) | 1, (1 << 8) | 2, (1 << 8) | 4, (1 << 8) | 11];

/// File systems by which the kernel is told what to do, programs to start among it (`statfs(2)`): sysfs, debugfs,
/// tracefs, control groups (both versions), binfmt_misc, securityfs, configfs, efivarfs, BPF, SELinux, Smack.
const KERNEL: [i64; 12] = [
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x0027_e0eb,
    0x6367_7270,
    0x4249_4e4d,
    0x7363_6673,
    0x6265_6570,
    0xde5e_81e4,
    0xcafe_4a11,
    0xf97c_ff8c,
    0x4341_5d53,
];

/// Says whether writing to a file tells the kernel what to do: what that is reaches beyond every policy. In procfs, only
/// the processes' own files are something else.
fn is_of_kernel(object: &Object) -> bool {
    let Ok(found) = rustix::fs::fstatfs(&object.fd) else { return true };
    let magic = found.f_type & 0xffff_ffff;
    if magic == PROC {
        let number = object.path.strip_prefix(b"/proc/").and_then(|rest| rest.split(|b| *b == b'/').next());
        return !number.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_digit));
    }
    KERNEL.contains(&magic)
}

impl Asked {
    fn creates(&self) -> bool {
        self.flags.contains(OFlags::CREATE) && !self.is_temporary()
    }

    fn is_temporary(&self) -> bool {
        self.flags.contains(OFlags::TMPFILE)
    }

    fn writes(&self) -> bool {
        self.flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC)
            || self.creates()
            || self.is_temporary()
    }

    fn is_exclusive(&self) -> bool {
        self.creates() && self.flags.contains(OFlags::EXCL)
    }

    fn follows(&self) -> bool {
        !self.flags.contains(OFlags::NOFOLLOW) && !self.is_exclusive()
    }

    /// Drafts the open of a path.
    fn draft(&self, path: &[u8], is_directory: bool) -> Vec<Draft> {
        let mut names = open_flag_names(self.flags);
        if !self.writes() {
            let action = if is_directory { Action::DirList } else { Action::FileRead };
            let mut draft = Draft::on(action, path);
            draft.flags = names;
            return vec![draft];
        }
        if self.creates() || self.is_temporary() {
            names.extend(owner_flags(self.mode));
        }
        let mut draft = Draft::on(Action::FileWrite, path);
        draft.flags = names;
        if !self.flags.contains(OFlags::WRONLY) {
            // What is opened for both is read as well.
            draft.also.push((Action::FileRead, Resource::Path(Text::new(path))));
        }
        vec![draft]
    }

    /// Says whether opening waits until another comes (`fifo(7)`).
    fn may_wait(&self, object: &Object) -> bool {
        object.kind() == FileType::Fifo && !self.flags.intersects(OFlags::RDWR | OFlags::NONBLOCK)
    }

    fn close_on_exec(&self) -> bool {
        self.flags.contains(OFlags::CLOEXEC)
    }
}

impl<S: Sink, C: Clock> Supervisor<S, C> {
    pub(super) fn open(&self, met: Met<'_>, at: At, place: OpenFlags) -> io::Result<()> {
        let asked = match self.asked(&met, at, place) {
            Ok(asked) => asked,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        if asked.flags.contains(OFlags::PATH) {
            return match place {
                // Existence only: what is done with it is asked about by its name.
                OpenFlags::Argument(_) | OpenFlags::Creat => met.notification.proceed(),
                // The flags are in memory: until the kernel reads them, they can become others. Nor can such a
                // descriptor be handed over. Programs that find no openat2(2) take openat(2).
                OpenFlags::How(_) => met.notification.refuse(libc::ENOSYS),
            };
        }
        let action = if asked.writes() { Action::FileWrite } else { Action::FileRead };
        if asked.creates() && ends_with_slash(&asked.path) {
            // No file has such a name, whatever is there.
            return match slot(&self.caller(&met), asked.base, &asked.path, asked.how) {
                Ok(slot) => {
                    let barred = slot.stat().err().filter(|errno| *errno == Errno::ACCESS);
                    let draft = asked.draft(&slot.path, false).into_iter().next();
                    self.fail(met, draft, barred.unwrap_or(Errno::ISDIR))
                }
                Err(errno) => self.fail(met, Some(unresolved(action, &asked.path)), errno),
            };
        }
        let mut met = met;
        if !asked.writes()
            && asked.how.is_empty()
            && let Some(text) = plain(&self.caller(&met), asked.base, &asked.path)
        {
            match self.read_plain(met, &asked, text)? {
                Some(unanswered) => met = unanswered,
                None => return Ok(()),
            }
        }
        for _ in 0..TRIES {
            let found = find(&self.caller(&met), asked.base, &asked.path, asked.follows(), asked.how);
            let found = match found {
                Ok(found) => found,
                Err(errno) => return self.fail(met, Some(unresolved(action, &asked.path)), errno),
            };
            match found {
                Found::There(object) => return self.open_object(met, &asked, &object),
                Found::Missing(path, slot) => {
                    let Some(slot) = slot.filter(|_| asked.creates()) else {
                        let is_directory = asked.flags.contains(OFlags::DIRECTORY);
                        return self.absent(met, asked.draft(&path, is_directory), Errno::NOENT);
                    };
                    match self.create(met, &asked, &slot)? {
                        Some(again) => met = again,
                        None => return Ok(()),
                    }
                }
            }
        }
        self.fail(met, Some(unresolved(action, &asked.path)), Errno::LOOP)
    }

    fn asked(&self, met: &Met<'_>, at: At, place: OpenFlags) -> Result<Asked, Errno> {
        let arguments = met.arguments();
        let (flags, mode, how) = match place {
            OpenFlags::Argument(index) => {
                (arguments.int(index), arguments.number(index + 1), ResolveFlags::empty())
            }
            OpenFlags::Creat => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
                (flags.bits(), arguments.number(1), ResolveFlags::empty())
            }
            OpenFlags::How(index) => {
                let unread = |error: io::Error| self.unread(met, &error);
                self.only_zero_behind(met, arguments.number(index), arguments.number(index + 1))?;
                let (flags, mode, how) = arguments.open_how(index).map_err(unread)?;
                let flags = u32::try_from(flags).map_err(|_| Errno::INVAL)?;
                let creates = flags & (OFlags::CREATE.bits() | TMPFILE) != 0;
                let wrong_mode = if creates { mode & !0o7777 != 0 } else { mode != 0 };
                if how.bits() & !KNOWN_HOW.bits() != 0
                    || how.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT)
                    || flags & !known_flags() != 0
                    || wrong_mode
                {
                    return Err(Errno::INVAL);
                }
                // What is in memory only can't be promised.
                (flags, mode, how & !ResolveFlags::CACHED)
            }
        };
        let flags = OFlags::from_bits_retain(flags);
        if !flags.contains(OFlags::PATH) && contradict(flags) {
            return Err(Errno::INVAL);
        }
        let path = self.path(met, at)?;
        Ok(Asked { flags, mode, base: arguments.base(at), path, how })
    }

    /// Makes sure that a structure for `openat2(2)` is as long as its first version, and says nothing more.
    fn only_zero_behind(&self, met: &Met<'_>, address: u64, length: u64) -> Result<(), Errno> {
        let more =
            usize::try_from(length).ok().and_then(|length| length.checked_sub(HOW)).ok_or(Errno::INVAL)?;
        if more > PAGE - HOW {
            return Err(Errno::TOOBIG);
        }
        let mut bytes = vec![0; more];
        let behind = address.saturating_add(HOW as u64);
        met.arguments().bytes(behind, &mut bytes).map_err(|error| self.unread(met, &error))?;
        if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Errno::TOOBIG) }
    }

    /// Reads a path whose text names the file, if there is no link in it: it is decided on by that text, which nothing has
    /// to be asked for. Gives the call back where it takes more than that.
    fn read_plain<'n>(&self, met: Met<'n>, asked: &Asked, text: Vec<u8>) -> io::Result<Option<Met<'n>>> {
        let mut is_directory = asked.flags.contains(OFlags::DIRECTORY);
        let mut ruling = self.rule(&met, asked.draft(&text, is_directory));
        if !ruling.allowed {
            return Ok(Some(met));
        }
        let object = match Object::at(text) {
            Ok(object) => object,
            Err(Errno::NOENT) => {
                return self.absent_as_ruled(met, ruling, Errno::NOENT).map(|()| None);
            }
            Err(_) => return Ok(Some(met)),
        };
        match object.kind() {
            FileType::RegularFile => {}
            FileType::Directory => {
                if !is_directory {
                    is_directory = true;
                    ruling = self.rule(&met, asked.draft(&object.path, is_directory));
                    if !ruling.allowed {
                        return self.deny(met, ruling).map(|()| None);
                    }
                }
            }
            // What may block, or is more than a file.
            _ => return Ok(Some(met)),
        }
        let Ok(fd) = open_again(asked, &object) else { return Ok(Some(met)) };
        if !met.fresh && !met.notification.is_valid() {
            return met.notification.proceed().map(|()| None);
        }
        match (self.observer.write(&met, ruling, Some(Outcome::Ok)), self.in_place_of(&object.path, fd)) {
            (Ok(_), Ok(fd)) => self.give(met, asked, fd).map(|()| None),
            _ => met.notification.refuse(libc::EIO).map(|()| None),
        }
    }

    /// Returns the file that the agent is to read in place of one that it reads.
    fn in_place_of(&self, path: &[u8], fd: OwnedFd) -> io::Result<OwnedFd> {
        self.network.stands_for(path).unwrap_or(Ok(fd))
    }

    /// Hands an open file over.
    fn give(&self, met: Met<'_>, asked: &Asked, fd: OwnedFd) -> io::Result<()> {
        // Where the caller has no room for it, its call fails though the file was opened.
        let close_on_exec = asked.close_on_exec();
        if asked.writes() {
            met.notification.hand_over(fd, close_on_exec).map(drop)
        } else {
            met.notification.give(fd.as_fd(), close_on_exec).map(drop)
        }
    }

    /// Opens what is there.
    fn open_object(&self, met: Met<'_>, asked: &Asked, object: &Object) -> io::Result<()> {
        let is_directory = object.is_directory();
        let wrong = if asked.is_exclusive() {
            Some(Errno::EXIST)
        } else if object.kind() == FileType::Symlink {
            Some(Errno::LOOP)
        } else if asked.flags.contains(OFlags::DIRECTORY) && !is_directory {
            Some(Errno::NOTDIR)
        } else if is_directory && asked.writes() && !asked.is_temporary() {
            Some(Errno::ISDIR)
        } else {
            None
        };
        let drafts = asked.draft(&object.path, is_directory);
        if let Some(errno) = wrong {
            return self.fail(met, drafts.into_iter().next(), errno);
        }
        if is_nameless(object) {
            return self.reopen(met, asked, object);
        }
        if object.kind() == FileType::CharacterDevice {
            return self.open_device(met, asked, object, drafts);
        }
        let mut ruling = self.rule(&met, drafts);
        if object.kind() == FileType::BlockDevice || (asked.writes() && is_of_kernel(object)) {
            ruling.forbid(ids::KERNEL);
        }
        if !ruling.allowed {
            return self.deny(met, ruling);
        }
        if asked.may_wait(object) {
            // How it ends is known when it does, and by then the entry stands.
            return match self.observer.write(&met, ruling, Some(Outcome::Unknown)) {
                Ok(_) => self.reopen(met, asked, object),
                Err(_) => met.notification.refuse(libc::EIO),
            };
        }
        if asked.writes() && !asked.is_temporary() {
            let pre = self.observer.former(&object.path, &object.fd, &object.stat);
            if let Some(act) = ruling.acts.first_mut() {
                act.pre = pre;
            }
        }
        let changes = asked.flags.contains(OFlags::TRUNC) || asked.is_temporary();
        if !changes {
            return match open_again(asked, object) {
                Ok(fd) => {
                    let fd = if asked.writes() { Ok(fd) } else { self.in_place_of(&object.path, fd) };
                    match (self.observer.write(&met, ruling, Some(Outcome::Ok)), fd) {
                        (Ok(_), Ok(fd)) => self.give(met, asked, fd),
                        _ => met.notification.refuse(libc::EIO),
                    }
                }
                Err(errno) => {
                    let errno = errno.raw_os_error();
                    match self.observer.write(&met, ruling, Some(failed(errno))) {
                        Ok(_) => met.notification.refuse(errno),
                        Err(_) => met.notification.refuse(libc::EIO),
                    }
                }
            };
        }
        if !met.notification.is_valid() {
            return met.notification.proceed();
        }
        let Ok(written) = self.observer.write(&met, ruling, None) else {
            return met.notification.refuse(libc::EIO);
        };
        let opened = if asked.is_temporary() {
            self.masked(&met, || {
                let flags = asked.flags | OURS;
                rustix::fs::openat(&object.fd, ".", flags, mode_of(asked.mode))
            })
        } else {
            open_again(asked, object)
        };
        match opened {
            Ok(fd) => {
                self.observer.settle(written, Outcome::Ok);
                self.give(met, asked, fd)
            }
            Err(errno) => {
                self.observer.settle(written, failed(errno.raw_os_error()));
                met.notification.refuse(errno.raw_os_error())
            }
        }
    }

    /// Opens what may block until another comes, and what has no name, in the caller's place.
    fn reopen(&self, met: Met<'_>, asked: &Asked, object: &Object) -> io::Result<()> {
        if !asked.may_wait(object) {
            return match open_again(asked, object) {
                Ok(fd) => self.give(met, asked, fd),
                Err(errno) => met.notification.refuse(errno.raw_os_error()),
            };
        }
        let (link, flags, held) = (object.link(), (asked.flags - FINDING) | OURS, object.clone());
        let work = move || {
            let opened = rustix::fs::open(link, flags, Mode::empty());
            drop(held);
            opened
        };
        let close_on_exec = asked.close_on_exec();
        self.blocking.run(met.notification.park(), Box::new(work), close_on_exec);
        Ok(())
    }

    /// Opens a device: a terminal is the caller's own, not that of the thread that executes the call.
    fn open_device(
        &self,
        met: Met<'_>,
        asked: &Asked,
        object: &Object,
        drafts: Vec<Draft>,
    ) -> io::Result<()> {
        let device = object.stat.st_rdev;
        let mut ruling = self.rule(&met, drafts);
        if MEMORY.contains(&device) {
            ruling.forbid(ids::KERNEL);
            return self.deny(met, ruling);
        }
        if !ruling.is_permitted()
            && (self.is_own_terminal(object) || self.is_permitted_terminal(&met, asked, object, &ruling))
        {
            ruling.permit(OWN_TERMINAL);
        }
        if !ruling.allowed {
            return self.deny(met, ruling);
        }
        let opened = if device == TTY {
            controlling_terminal(met.notification.tid).and_then(|name| open_outside(asked, &name))
        } else if device == PTMX {
            // It looks for its file system beside itself, which is not so where it stands alone in a view.
            open_outside(asked, "ptmx")
        } else {
            open_again(asked, object)
        };
        let outcome = match &opened {
            Ok(_) => Outcome::Ok,
            Err(errno) => failed(errno.raw_os_error()),
        };
        if self.observer.write(&met, ruling, Some(outcome)).is_err() {
            return met.notification.refuse(libc::EIO);
        }
        match opened {
            Ok(fd) => {
                if device == PTMX {
                    self.remember_terminal(&fd);
                }
                self.give(met, asked, fd)
            }
            Err(errno) => met.notification.refuse(errno.raw_os_error()),
        }
    }

    /// Remembers the terminal that belongs to a master that was just opened.
    fn remember_terminal(&self, master: &OwnedFd) {
        let Ok(name) = rustix::pty::ptsname(master, Vec::new()) else { return };
        let Ok(fd) = rustix::fs::open(&name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { return };
        let (Ok(path), Ok(stat)) = (path_of(&fd), rustix::fs::fstat(&fd)) else { return };
        let number = rustix::fs::minor(stat.st_rdev);
        let mut terminals = lock(&self.terminals);
        // Those that have gone make room.
        terminals.retain(|_, object| path_of(&object.fd).is_ok_and(|now| now == object.path));
        if terminals.len() < TERMINALS_MAX {
            terminals.insert(number, Object { fd: std::sync::Arc::new(fd), path, stat });
        }
    }

    /// Says whether a terminal's other end was opened within the tree. Its number is given out again when it has gone;
    /// then the name that was held is gone as well.
    fn is_own_terminal(&self, object: &Object) -> bool {
        let terminals = lock(&self.terminals);
        let Some(known) = terminals.get(&rustix::fs::minor(object.stat.st_rdev)) else { return false };
        (known.stat.st_rdev, known.stat.st_dev, known.stat.st_ino)
            == (object.stat.st_rdev, object.stat.st_dev, object.stat.st_ino)
            && path_of(&known.fd).is_ok_and(|now| now == known.path)
    }

    /// Says whether a terminal that no policy speaks of is the caller's controlling one, which it may open as `/dev/tty`:
    /// `/dev/stderr` and the name that `tty` prints lead to it.
    fn is_permitted_terminal(&self, met: &Met<'_>, asked: &Asked, object: &Object, ruling: &Ruling) -> bool {
        let is_forbidden = ruling.acts.iter().any(|act| act.is_denied() && !act.policies.is_empty());
        let is_it = |name: String| object.path == [b"/dev/", name.as_bytes()].concat();
        !is_forbidden
            && controlling_terminal(met.notification.tid).is_ok_and(is_it)
            && self.rule(met, asked.draft(b"/dev/tty", false)).is_permitted()
    }

    /// Makes a file and opens it. Gives the call back where something has come in its place.
    fn create<'n>(&self, met: Met<'n>, asked: &Asked, slot: &Slot) -> io::Result<Option<Met<'n>>> {
        let ruling = self.rule(&met, asked.draft(&slot.path, false));
        if !ruling.allowed {
            return self.deny(met, ruling).map(|()| None);
        }
        if !met.notification.is_valid() {
            return met.notification.proceed().map(|()| None);
        }
        let Ok(written) = self.observer.write(&met, ruling, None) else {
            return met.notification.refuse(libc::EIO).map(|()| None);
        };
        // What is made exclusively is not found through a link either.
        let flags = asked.flags | OFlags::CREATE | OFlags::EXCL | OURS;
        let made =
            self.masked(&met, || rustix::fs::openat(&slot.folder, &slot.name, flags, mode_of(asked.mode)));
        match made {
            Ok(fd) => {
                self.observer.settle(written, Outcome::Ok);
                self.observer.made(&slot.path, &slot.folder, &slot.name);
                self.give(met, asked, fd).map(|()| None)
            }
            Err(errno) => {
                self.observer.settle(written, failed(errno.raw_os_error()));
                if errno == Errno::EXIST && !asked.is_exclusive() {
                    return Ok(Some(met));
                }
                met.notification.refuse(errno.raw_os_error()).map(|()| None)
            }
        }
    }
}

/// The id that stands for terminals of the tree's own.
const OWN_TERMINAL: &str = "aegis:own-terminal";

/// The most terminals of the tree's own that are remembered.
const TERMINALS_MAX: usize = 1_024;

/// What `openat2(2)` can be asked for.
const KNOWN_HOW: ResolveFlags = ResolveFlags::NO_XDEV
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::BENEATH)
    .union(ResolveFlags::IN_ROOT)
    .union(ResolveFlags::CACHED);

/// Returns the flags that the kernel knows (`VALID_OPEN_FLAGS` of Linux).
fn known_flags() -> u32 {
    let known = OFlags::RWMODE
        | OFlags::CREATE
        | OFlags::EXCL
        | OFlags::NOCTTY
        | OFlags::TRUNC
        | OFlags::APPEND
        | OFlags::NONBLOCK
        | OFlags::SYNC
        | OFlags::DSYNC
        | OFlags::DIRECT
        | OFlags::LARGEFILE
        | OFlags::NOFOLLOW
        | OFlags::NOATIME
        | OFlags::CLOEXEC
        | OFlags::PATH
        | OFlags::TMPFILE;
    known.bits() | libc::O_ASYNC.cast_unsigned()
}

/// Says whether flags contradict each other, so that the kernel takes them for none (`build_open_flags` of Linux).
fn contradict(flags: OFlags) -> bool {
    let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR);
    flags.contains(OFlags::CREATE | OFlags::DIRECTORY)
        || (flags.bits() & TMPFILE != 0 && !(flags.contains(OFlags::TMPFILE) && writes))
}

/// Says whether a path ends with a name that has a slash behind it.
fn ends_with_slash(path: &[u8]) -> bool {
    let named = path.iter().rposition(|byte| *byte != b'/').and_then(|end| path.get(..=end));
    let last = named.and_then(|path| path.rsplit(|byte| *byte == b'/').next());
    path.ends_with(b"/") && last.is_some_and(|last| last != b"." && last != b"..")
}

fn mode_of(mode: u64) -> Mode {
    Mode::from_bits_truncate(u32::try_from(mode & 0o7777).unwrap_or(0))
}

/// Opens exactly the file that is held.
fn open_again(asked: &Asked, object: &Object) -> Result<OwnedFd, Errno> {
    rustix::fs::open(object.link(), (asked.flags - FINDING) | OURS, Mode::empty())
}

/// Opens a device by its name below `/dev`.
fn open_outside(asked: &Asked, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(outside::dev(), name, (asked.flags - FINDING) | OURS, Mode::empty())
}

/// Returns the name below `/dev` of a thread's controlling terminal (`proc_pid_stat(5)`, field 7; ENXIO where it has none).
fn controlling_terminal(tid: u32) -> Result<String, Errno> {
    let number = aegis_observer::processes::terminal(tid).filter(|number| *number != 0).ok_or(Errno::NXIO)?;
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00));
    match major {
        // Unix98 pseudo-terminals: eight majors of 256 each, of which Linux uses the first with wide minors.
        136..=143 => Ok(format!("pts/{}", (major - 136) * 256 + minor)),
        4 if minor < 64 => Ok(format!("tty{minor}")),
        4 => Ok(format!("ttyS{}", minor - 64)),
        5 if minor == 1 => Ok("console".to_owned()),
        _ => Err(Errno::NXIO),
    }
}
