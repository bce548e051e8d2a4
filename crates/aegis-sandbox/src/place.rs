//! What a path means to a caller, as descriptors: what is decided on is what is acted on.
//!
//! A path is resolved once. What is there is held by an `O_PATH` descriptor, whose name the kernel tells; what is not
//! there by the directory that would hold it.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use aegis_observer::resolve::{Base, Caller, Named, PATH_MAX, normalise, path_of};
use aegis_sys::outside;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// How many links the kernel follows (`path_resolution(7)`).
const LINKS_MAX: u8 = 40;

const O_PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A file that is there.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// An `O_PATH` descriptor of it.
    pub(crate) fd: Arc<OwnedFd>,
    /// Its name.
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) stat: Stat,
}

impl Object {
    fn new(fd: impl Into<Arc<OwnedFd>>, path: Vec<u8>) -> Result<Self, Errno> {
        let fd = fd.into();
        let stat = rustix::fs::fstat(&fd)?;
        if is_another_proc(&fd, &stat, &path) {
            // It tells of processes by other ids, and leads to those of Aegis by a name that says nothing of it.
            return Err(Errno::ACCESS);
        }
        let path = without_mark(path, &stat);
        Ok(Self { fd, path, stat })
    }

    /// Holds what an absolute path names that has no `..` in it: without a link on the way, that is its name.
    ///
    /// # Errors
    /// That of `openat2(2)`, ELOOP where there is a link; EACCES where it is in another procfs.
    pub(crate) fn at(path: Vec<u8>) -> Result<Self, Errno> {
        let how = ResolveFlags::NO_SYMLINKS;
        let fd = rustix::fs::openat2(CWD, path.as_slice(), O_PATH, Mode::empty(), how)?;
        let stat = rustix::fs::fstat(&fd)?;
        if is_another_proc(&fd, &stat, &path) {
            return Err(Errno::ACCESS);
        }
        Ok(Self { fd: Arc::new(fd), path, stat })
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Returns a path by which calls without a form for descriptors reach exactly this file. It is relative to
    /// `/proc/self/fd`, the working directory of every thread that executes calls.
    pub(crate) fn link(&self) -> String {
        self.fd.as_raw_fd().to_string()
    }
}

/// The magic number of procfs (`statfs(2)`).
pub(crate) const PROC: i64 = 0x9fa0;

/// Says whether a file is of a procfs that is mounted elsewhere than at `/proc`.
pub(crate) fn is_another_proc(fd: &OwnedFd, stat: &Stat, path: &[u8]) -> bool {
    // Its files have no size and no device; so have few others, which are looked at more closely.
    rustix::fs::major(stat.st_dev) == 0
        && !is_proc(path)
        && path.starts_with(b"/")
        && rustix::fs::fstatfs(fd).is_ok_and(|found| found.f_type == PROC)
}

/// Returns the name of a file, or that which it had.
fn name_of(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    Ok(without_mark(path_of(fd)?, &rustix::fs::fstat(fd)?))
}

/// What the kernel puts behind the name of a file that was removed.
const REMOVED: &[u8] = b" (deleted)";

/// Takes that from a path: a file that was removed is decided on by the name that it had. A file can have a name that
/// ends so.
fn without_mark(mut path: Vec<u8>, stat: &Stat) -> Vec<u8> {
    if path.starts_with(b"/") && path.ends_with(REMOVED) && !path.starts_with(b"/memfd:") {
        let named = rustix::fs::statat(CWD, path.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
        let same = |found: Stat| (found.st_dev, found.st_ino) == (stat.st_dev, stat.st_ino);
        if !named.is_ok_and(same) {
            path.truncate(path.len() - REMOVED.len());
        }
    }
    path
}

/// A name in a directory, for calls that act on names and don't follow them.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The directory.
    pub(crate) folder: Arc<OwnedFd>,
    /// The last component as the caller wrote it, slashes behind it included.
    pub(crate) name: Vec<u8>,
    /// The whole path.
    pub(crate) path: Vec<u8>,
}

impl Slot {
    /// Returns what stands there.
    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.folder, self.bare_name(), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Holds what stands there; a link is not followed.
    pub(crate) fn object(&self) -> Result<Object, Errno> {
        let flags = O_PATH | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.folder, self.bare_name(), flags, Mode::empty())?;
        Object::new(fd, self.path.clone())
    }

    /// Says whether it is a name that a directory can hold.
    pub(crate) fn is_name(&self) -> bool {
        !matches!(self.bare_name(), b"." | b"..")
    }

    fn bare_name(&self) -> &[u8] {
        let end = self.name.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        self.name.get(..end).filter(|name| !name.is_empty()).unwrap_or(b".")
    }
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is there.
    There(Object),
    /// It is not; where its directory is, that.
    Missing(Vec<u8>, Option<Slot>),
}

/// Returns the path as absolute text, where no more is needed to know what it means if it holds no links: no `..`, no
/// slash at the end, nothing of `/proc`, and a base that has a name.
pub(crate) fn plain(caller: &Caller<'_>, base: Base, path: &[u8]) -> Option<Vec<u8>> {
    if path.is_empty() || path.ends_with(b"/") || path.ends_with(b"/.") || path == b"." {
        return None;
    }
    let start = if path.starts_with(b"/") {
        Vec::new()
    } else {
        let start = caller.start_name(base).ok()?;
        if !start.starts_with(b"/") || start.ends_with(b" (deleted)") {
            return None;
        }
        if start == b"/" { Vec::new() } else { start }
    };
    let text = normalise(start, path)?;
    // The root itself is a directory that is opened in its own right; links of `/proc` mean another to us.
    (text.len() < PATH_MAX && text != b"/" && !is_proc(&text)).then_some(text)
}

fn is_proc(path: &[u8]) -> bool {
    path == b"/proc" || path.starts_with(b"/proc/")
}

/// Finds what a path means; `follow` says whether a link at its end is followed.
///
/// # Errors
/// It can't be resolved, for another reason than that it is not there.
pub(crate) fn find(
    caller: &Caller<'_>,
    base: Base,
    path: &[u8],
    follow: bool,
    how: ResolveFlags,
) -> Result<Found, Errno> {
    find_by_links(caller, base, path, (follow, how), LINKS_MAX)
}

/// As [`find`], by no more links that lead to nothing than so many.
fn find_by_links(
    caller: &Caller<'_>,
    base: Base,
    path: &[u8],
    (follow, how): (bool, ResolveFlags),
    links: u8,
) -> Result<Found, Errno> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let flags = if follow { O_PATH } else { O_PATH | OFlags::NOFOLLOW };
    let start = start(caller, base, path, how)?;
    let from = start.as_ref();
    let failed = match open(from, path, flags, how) {
        Ok(fd) => {
            let name = path_of(&fd)?;
            if !is_proc(&name) {
                return Object::new(fd, name).map(Found::There);
            }
            // `self` and its kin led to us.
            None
        }
        Err(Errno::NOENT) => match missing(from, path, how)? {
            Some(Missing::Is(found)) => return Ok(found),
            Some(Missing::Behind(path)) if follow => {
                let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
                return find_by_links(caller, base, &path, (follow, how), links);
            }
            _ => Some(Errno::NOENT),
        },
        // A link of `/proc`, perhaps, or too many.
        Err(Errno::LOOP) => Some(Errno::LOOP),
        Err(error) => return Err(error),
    };
    if !how.is_empty() {
        // What it is confined to is not left by such links.
        let own = how.intersects(ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS);
        return Err(match failed {
            Some(Errno::LOOP) if !own => open_as_asked(from, path, flags, how).err().unwrap_or(Errno::XDEV),
            Some(errno) => errno,
            None => Errno::XDEV,
        });
    }
    walked(caller.walk(base, path, follow)?, path)
}

fn start(caller: &Caller<'_>, base: Base, path: &[u8], how: ResolveFlags) -> Result<Option<OwnedFd>, Errno> {
    if path.starts_with(b"/") && !how.contains(ResolveFlags::IN_ROOT) {
        return Ok(None);
    }
    caller.start(base).map(Some).map_err(|error| match error {
        // No such descriptor.
        Errno::NOENT => Errno::BADF,
        other => other,
    })
}

fn open(from: Option<&OwnedFd>, path: &[u8], flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    open_as_asked(from, path, flags, how | ResolveFlags::NO_MAGICLINKS)
}

fn open_as_asked(
    from: Option<&OwnedFd>,
    path: &[u8],
    flags: OFlags,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    match from {
        Some(from) => rustix::fs::openat2(from, path, flags, Mode::empty(), how),
        None => rustix::fs::openat2(CWD, path, flags, Mode::empty(), how),
    }
}

/// What is not there.
enum Missing {
    Is(Found),
    /// A link leads to it, by this path from where the other began.
    Behind(Vec<u8>),
}

/// Finds the directory of what is not there; nothing where that takes more than one look.
fn missing(from: Option<&OwnedFd>, path: &[u8], how: ResolveFlags) -> Result<Option<Missing>, Errno> {
    let (folder, name) = split(path);
    if matches!(name, b"" | b"." | b"..") {
        return Ok(None);
    }
    let Ok(directory) = open(from, folder, O_PATH | OFlags::DIRECTORY, how) else { return Ok(None) };
    let at = name_of(&directory)?;
    if is_proc(&at) && how.is_empty() {
        return Ok(None);
    }
    match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {
            let path = join(&at, name);
            let slot = Slot { folder: Arc::new(directory), name: name.to_vec(), path: path.clone() };
            Ok(Some(Missing::Is(Found::Missing(path, Some(slot)))))
        }
        // A link that leads nowhere; or it has come meanwhile.
        _ if how.is_empty() => Ok(None),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            let text = rustix::fs::readlinkat(&directory, name, Vec::new())?.into_bytes();
            let path = if text.starts_with(b"/") { text } else { join(folder, &text) };
            Ok(Some(Missing::Behind(path)))
        }
        _ => Err(Errno::NOENT),
    }
}

fn walked(named: Named, asked: &[u8]) -> Result<Found, Errno> {
    let Named { mut path, file, folder } = named;
    if let Some(found) = file {
        let object = Object::new(found.fd.ok_or(Errno::NOENT)?, path)?;
        let named_as_directory = asked.ends_with(b"/") || asked.ends_with(b"/.");
        return if named_as_directory && !object.is_directory() {
            Err(Errno::NOTDIR)
        } else {
            Ok(Found::There(object))
        };
    }
    // Only whether a file stands where a directory is named: what is decided on is held.
    let within_file = match &folder {
        Some(folder) => {
            let stat = rustix::fs::fstat(folder)?;
            let (at, name) = split(&path);
            let at = at.strip_suffix(b"/").filter(|at| !at.is_empty()).unwrap_or(at);
            path = join(&without_mark(at.to_vec(), &stat), name);
            FileType::from_raw_mode(stat.st_mode) != FileType::Directory
        }
        None => {
            let looked = rustix::fs::openat(CWD, path.as_slice(), O_PATH | OFlags::NOFOLLOW, Mode::empty());
            looked.err() == Some(Errno::NOTDIR)
        }
    };
    if within_file {
        return Err(Errno::NOTDIR);
    }
    // What is not there is no directory that would be in itself.
    let is_name = !matches!(split(asked).1, b"." | b"..");
    let slot = folder.filter(|_| is_name).map(|folder| Slot {
        folder,
        name: split(&path).1.to_vec(),
        path: path.clone(),
    });
    Ok(Found::Missing(path, slot))
}

/// Finds the directory that a call acts in, and the name in it.
///
/// # Errors
/// The directory is not there, or can't be resolved.
pub(crate) fn slot(caller: &Caller<'_>, base: Base, path: &[u8], how: ResolveFlags) -> Result<Slot, Errno> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let (folder, name) = split(path);
    let slashes = path.ends_with(b"/");
    let directory = match find(caller, base, folder, true, how)? {
        Found::There(object) if object.is_directory() => object,
        Found::There(_) => return Err(Errno::NOTDIR),
        Found::Missing(..) => return Err(Errno::NOENT),
    };
    let full = match name {
        // What these name can't be removed, made or moved: the call fails by itself.
        b"" | b"." | b".." => directory.path.clone(),
        _ => join(&directory.path, name),
    };
    let mut name = if name.is_empty() { b".".to_vec() } else { name.to_vec() };
    if slashes {
        name.push(b'/');
    }
    Ok(Slot { folder: directory.fd, name, path: full })
}

/// Holds what a descriptor of the caller's is of.
///
/// # Errors
/// EBADF where it is not open.
pub(crate) fn descriptor(caller: &Caller<'_>, fd: i32) -> Result<Object, Errno> {
    let base = if fd == libc::AT_FDCWD { Base::Directory } else { Base::Descriptor(fd) };
    let found = caller.start(base);
    let held = found.map_err(|error| if error == Errno::NOENT { Errno::BADF } else { error })?;
    let path = path_of(&held)?;
    Object::new(held, path)
}

/// As [`descriptor`], for a call that takes no descriptor which only names a file.
///
/// # Errors
/// EBADF where it is not open, or with `O_PATH`.
pub(crate) fn open_descriptor(caller: &Caller<'_>, fd: i32) -> Result<Object, Errno> {
    let object = descriptor(caller, fd)?;
    let text = outside::read(&format!("{}/fdinfo/{fd}", caller.tid)).map_err(|_| Errno::BADF)?;
    // "flags:", in octal (proc_pid_fdinfo(5)).
    let text = String::from_utf8_lossy(&text);
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).ok_or(Errno::BADF)?;
    if flags & OFlags::PATH.bits() == 0 { Ok(object) } else { Err(Errno::BADF) }
}

/// Splits a path into its directory, `.` where it has none, and its last component without the slashes behind it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let trimmed = path.get(..end).unwrap_or_default();
    match trimmed.iter().rposition(|byte| *byte == b'/') {
        // With its slash: what stands before it must be a directory.
        Some(at) => (path.get(..=at).unwrap_or(b"/"), trimmed.get(at + 1..).unwrap_or_default()),
        None if trimmed.is_empty() => (b"/", b""),
        None => (b".", trimmed),
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = folder.to_vec();
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
