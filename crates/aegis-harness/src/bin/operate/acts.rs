//! Doing a step.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::Command;

use aegis_harness::operations::{Base, Call, Change, Found, KEPT, Node, Report, Spot, Step};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::raw;

/// How much of a file is read.
const READ_MAX: usize = 200;

/// How often what has to be called again is called again.
const TRIES: usize = 1_000;

/// What is written to a file that is open for writing.
const WRITTEN: &[u8] = b"written\n";

/// The extended attribute that is set and removed.
const ATTRIBUTE: &str = "user.a";

/// What the kernel puts behind the name of a file that has lost it (`d_path` of Linux).
const REMOVED: &str = " (deleted)";

/// The program's state.
#[derive(Debug)]
pub(crate) struct Actor {
    root: String,
    kept: [Option<OwnedFd>; KEPT],
    /// Those that listen.
    sockets: Vec<OwnedFd>,
}

/// What a spot's path starts from.
enum Start<'a> {
    Cwd,
    Held(OwnedFd),
    Kept(BorrowedFd<'a>),
}

/// A spot that is ready for a call.
struct Place<'a> {
    start: Start<'a>,
    text: String,
}

impl Place<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match &self.start {
            Start::Cwd => CWD,
            Start::Held(fd) => fd.as_fd(),
            Start::Kept(fd) => *fd,
        }
    }

    /// Returns the path for a call that takes no descriptor.
    fn plain(&self) -> String {
        if matches!(self.start, Start::Cwd) || self.text.starts_with('/') {
            return self.text.clone();
        }
        format!("/proc/self/fd/{}/{}", self.fd().as_raw_fd(), self.text)
    }

    fn is_fifo(&self) -> bool {
        rustix::fs::statat(self.fd(), &self.text, AtFlags::empty())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
    }
}

/// Why nothing came of a step.
enum Failure {
    /// What it begins from could not be had.
    Lost(io::Error),
    /// The call failed.
    Call(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Call(error)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Call(error.into())
    }
}

type Done = Result<Report, Failure>;

impl Actor {
    pub(crate) fn new(root: String) -> Self {
        Self { root, kept: Default::default(), sockets: Vec::new() }
    }

    /// Does a step.
    pub(crate) fn act(&mut self, step: &Step) -> Report {
        let failed = |error: &io::Error, lost| Report {
            errno: Some(error.raw_os_error().unwrap_or(-1)),
            lost,
            ..Report::default()
        };
        match self.begin(step).and_then(|()| self.call(&step.call)) {
            Ok(report) => report,
            Err(Failure::Lost(error)) => failed(&error, true),
            Err(Failure::Call(error)) => failed(&error, false),
        }
    }

    fn begin(&self, step: &Step) -> Result<(), Failure> {
        rustix::process::umask(Mode::from_bits_truncate(step.umask));
        rustix::process::chdir(self.below(&step.cwd)).map_err(|error| Failure::Lost(error.into()))
    }

    fn below(&self, path: &str) -> String {
        if path.is_empty() { self.root.clone() } else { format!("{}/{path}", self.root) }
    }

    fn place(&self, spot: &Spot) -> Result<Place<'_>, Failure> {
        let start = match &spot.base {
            Base::Cwd => Start::Cwd,
            Base::Held(path) => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let held = rustix::fs::open(self.below(path), flags, Mode::empty());
                Start::Held(held.map_err(|error| Failure::Lost(error.into()))?)
            }
            Base::Kept(number) => Start::Kept(self.kept(*number)?),
        };
        let place = Place { start, text: String::new() };
        let text = spot
            .text
            .replace("{root}", &self.root)
            .replace("{pid}", &std::process::id().to_string())
            .replace("{fd}", &place.fd().as_raw_fd().to_string());
        Ok(Place { text, ..place })
    }

    fn kept(&self, number: usize) -> Result<BorrowedFd<'_>, Failure> {
        let kept = self.kept.get(number).and_then(Option::as_ref);
        kept.map(|fd| fd.as_fd()).ok_or_else(|| Failure::Lost(Errno::BADF.into()))
    }

    fn call(&mut self, call: &Call) -> Done {
        match call {
            Call::Open { at, flags, mode, resolve, keep, old } => {
                let opened = open(&self.place(at)?, *flags, *mode, *resolve, *old)?;
                let text = use_up(&opened, *flags)?;
                if let Some(slot) = keep.and_then(|number| self.kept.get_mut(number)) {
                    *slot = Some(opened);
                }
                Ok(Report { text, ..Report::default() })
            }
            Call::Bind { at } => {
                let (place, socket) = (self.place(at)?, socket()?);
                rustix::net::bind(&socket, &SocketAddrUnix::new(place.plain())?)?;
                drop(place);
                self.sockets.push(socket);
                rustix::net::listen(self.sockets.last().ok_or(Errno::BADF)?, 64)?;
                Ok(Report::default())
            }
            Call::Execute { at } => execute(&self.place(at)?),
            Call::Find { at, follow, directory, resolve } => {
                let place = self.place(at)?;
                let mut flags = OFlags::PATH | OFlags::CLOEXEC;
                flags.set(OFlags::NOFOLLOW, !follow);
                flags.set(OFlags::DIRECTORY, *directory);
                let how = ResolveFlags::from_bits_retain(*resolve);
                found(&patiently(|| rustix::fs::openat2(place.fd(), &place.text, flags, Mode::empty(), how))?)
            }
            Call::FindKept { kept } => {
                let kept = self.kept(*kept)?;
                if rustix::fs::fcntl_getfl(kept)?.contains(OFlags::PATH) {
                    return Err(Errno::BADF.into());
                }
                found(kept)
            }
            _ => self.plain_call(call).map(|()| Report::default()),
        }
    }

    /// Makes one of the calls that return nothing.
    fn plain_call(&self, call: &Call) -> Result<(), Failure> {
        match call {
            Call::Remove { at, directory, old } => {
                let place = self.place(at)?;
                match (*old, *directory) {
                    (true, true) => rustix::fs::rmdir(place.plain()),
                    (true, false) => rustix::fs::unlink(place.plain()),
                    (false, true) => rustix::fs::unlinkat(place.fd(), &place.text, AtFlags::REMOVEDIR),
                    (false, false) => rustix::fs::unlinkat(place.fd(), &place.text, AtFlags::empty()),
                }?;
            }
            Call::Rename { from, to, flags } => {
                let (from, to) = (self.place(from)?, self.place(to)?);
                let flags = RenameFlags::from_bits_retain(*flags);
                rustix::fs::renameat_with(from.fd(), &from.text, to.fd(), &to.text, flags)?;
            }
            Call::MakeDirectory { at, mode } => {
                let place = self.place(at)?;
                rustix::fs::mkdirat(place.fd(), &place.text, mode_of(*mode))?;
            }
            Call::MakeNode { at, node, mode } => {
                let place = self.place(at)?;
                let kind = match node {
                    Node::Fifo => FileType::Fifo,
                    Node::File => FileType::RegularFile,
                    Node::Socket => FileType::Socket,
                };
                rustix::fs::mknodat(place.fd(), &place.text, kind, mode_of(*mode), 0)?;
            }
            Call::Symlink { target, at } => {
                let place = self.place(at)?;
                rustix::fs::symlinkat(target.replace("{root}", &self.root), place.fd(), &place.text)?;
            }
            Call::Link { from, to, follow } => {
                let (from, to) = (self.place(from)?, self.place(to)?);
                let mut flags = AtFlags::empty();
                flags.set(AtFlags::SYMLINK_FOLLOW, *follow);
                rustix::fs::linkat(from.fd(), &from.text, to.fd(), &to.text, flags)?;
            }
            Call::LinkUnnamed { at, to } => {
                let (place, to) = (self.place(at)?, self.place(to)?);
                let file = open(&place, libc::O_TMPFILE | libc::O_RDWR, 0o644, None, false)?;
                let from = format!("/proc/self/fd/{}", file.as_raw_fd());
                rustix::fs::linkat(CWD, from, to.fd(), &to.text, AtFlags::SYMLINK_FOLLOW)?;
            }
            Call::Change { at, change, follow } => change_path(&self.place(at)?, change, *follow)?,
            Call::ChangeKept { kept, change } => change_open(self.kept(*kept)?, change)?,
            Call::Watch { at, follow } => {
                let watcher = inotify::init(CreateFlags::CLOEXEC)?;
                let mut flags = WatchFlags::MODIFY;
                flags.set(WatchFlags::DONT_FOLLOW, !follow);
                let place = self.place(at)?;
                inotify::add_watch(&watcher, place.plain(), flags)?;
            }
            Call::Connect { at } => {
                let place = self.place(at)?;
                rustix::net::connect(socket()?, &SocketAddrUnix::new(place.plain())?)?;
            }
            // Answered before.
            Call::Open { .. }
            | Call::Bind { .. }
            | Call::Execute { .. }
            | Call::Find { .. }
            | Call::FindKept { .. } => {}
        }
        Ok(())
    }
}

fn mode_of(mode: u32) -> Mode {
    Mode::from_bits_retain(mode)
}

fn open(place: &Place<'_>, flags: i32, mode: u32, resolve: Option<u64>, old: bool) -> io::Result<OwnedFd> {
    let mut flags = OFlags::from_bits_retain(flags.cast_unsigned()) | OFlags::CLOEXEC;
    // A pipe would wait for its other end.
    flags.set(OFlags::NONBLOCK, place.is_fifo());
    let mode = mode_of(mode);
    Ok(match resolve {
        Some(how) => {
            let how = ResolveFlags::from_bits_retain(how);
            patiently(|| rustix::fs::openat2(place.fd(), &place.text, flags, mode, how))
        }
        None if old => rustix::fs::open(place.plain(), flags, mode),
        None => rustix::fs::openat(place.fd(), &place.text, flags, mode),
    }?)
}

/// Opens with `openat2(2)`, which wants to be called again where anybody renames anything meanwhile.
fn patiently(open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let mut opened = open();
    for _ in 0..TRIES {
        if !matches!(opened, Err(Errno::AGAIN)) {
            break;
        }
        opened = open();
    }
    opened
}

/// Reads, lists and writes as far as a descriptor is for that.
fn use_up(opened: &OwnedFd, flags: i32) -> io::Result<Option<String>> {
    if flags & libc::O_PATH != 0 {
        return Ok(None);
    }
    let mut text = None;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(opened)?.st_mode);
    if kind == FileType::Directory {
        let mut names = Vec::new();
        for entry in Dir::new(opened.try_clone()?)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        return Ok(Some(names.join(" ")));
    }
    if kind != FileType::RegularFile {
        return Ok(None);
    }
    if flags & libc::O_ACCMODE != libc::O_WRONLY {
        let mut bytes = [0; READ_MAX];
        let count = rustix::io::read(opened, &mut bytes)?;
        text = Some(String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned());
    }
    if flags & libc::O_ACCMODE != libc::O_RDONLY {
        rustix::io::write(opened, WRITTEN)?;
    }
    Ok(text)
}

fn times(second: i64) -> Timestamps {
    let time = Timespec { tv_sec: second, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn change_path(place: &Place<'_>, change: &Change, follow: bool) -> io::Result<()> {
    let (fd, text) = (place.fd(), &place.text);
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let attributes = XattrFlags::empty();
    match change {
        Change::Mode(mode) if follow => rustix::fs::chmodat(fd, text, mode_of(*mode), flags)?,
        Change::Mode(mode) => raw::chmod_link(fd, text, *mode)?,
        Change::Owner => {
            let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
            rustix::fs::chownat(fd, text, Some(user), Some(group), flags)?;
        }
        Change::Times(second) => rustix::fs::utimensat(fd, text, &times(*second), flags)?,
        Change::Length(length) => raw::truncate(&place.plain(), *length)?,
        Change::SetAttribute(value) if follow => {
            rustix::fs::setxattr(place.plain(), ATTRIBUTE, value.as_bytes(), attributes)?;
        }
        Change::SetAttribute(value) => {
            rustix::fs::lsetxattr(place.plain(), ATTRIBUTE, value.as_bytes(), attributes)?;
        }
        Change::RemoveAttribute if follow => rustix::fs::removexattr(place.plain(), ATTRIBUTE)?,
        Change::RemoveAttribute => rustix::fs::lremovexattr(place.plain(), ATTRIBUTE)?,
    }
    Ok(())
}

fn change_open(fd: BorrowedFd<'_>, change: &Change) -> io::Result<()> {
    match change {
        Change::Mode(mode) => rustix::fs::fchmod(fd, mode_of(*mode))?,
        Change::Owner => {
            let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
            rustix::fs::fchown(fd, Some(user), Some(group))?;
        }
        Change::Times(second) => rustix::fs::futimens(fd, &times(*second))?,
        Change::SetAttribute(value) => {
            rustix::fs::fsetxattr(fd, ATTRIBUTE, value.as_bytes(), XattrFlags::empty())?;
        }
        Change::RemoveAttribute => rustix::fs::fremovexattr(fd, ATTRIBUTE)?,
        // Not observed: who may write to it may do so.
        Change::Length(_) => {}
    }
    Ok(())
}

fn execute(place: &Place<'_>) -> Done {
    let path = place.plain();
    // Else it would be looked for.
    let path = if path.contains('/') { path } else { format!("./{path}") };
    #[expect(clippy::disallowed_methods, reason = "a program to be observed, no part of Aegis")]
    let mut command = Command::new(path);
    let status = command.status()?;
    let code = status.code().map_or_else(|| status.to_string(), |code| code.to_string());
    Ok(Report { text: Some(code), ..Report::default() })
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

fn found(fd: impl std::os::fd::AsFd) -> Done {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let mut path = rustix::fs::readlink(&link, Vec::new())?.to_string_lossy().into_owned();
    let stat = rustix::fs::fstat(&fd)?;
    // Unless that is its name.
    let is_there = || {
        rustix::fs::lstat(&path).is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino))
    };
    let removed = path.ends_with(REMOVED) && !is_there();
    if removed {
        path.truncate(path.len() - REMOVED.len());
    }
    let found = Found { path, removed, mode: stat.st_mode, inode: stat.st_ino };
    Ok(Report { found: Some(found), ..Report::default() })
}
