//! Naming the file that a call means: absolute, symbolic links resolved, as the caller sees the file system.
//!
//! Three ways, tried in this order. A path whose text holds no link and no `..` names itself: one `openat2`
//! that refuses links proves it. Otherwise the kernel resolves it for us and the descriptor's name is read.
//! Where that would go wrong (links of `/proc`, which mean us and not the caller; another root), the path is
//! walked component by component as the caller would.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use aegis_sys::outside;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags};
use rustix::io::Errno;

use crate::places::Places;
use crate::processes;

/// The longest path, in bytes (`PATH_MAX`).
pub const PATH_MAX: usize = 4096;

/// As many links as the kernel follows in one path (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// What stands behind a path that means something else in our view of the file system.
pub const ELSEWHERE: &str = " (on a mount that is not there in the session's view)";

/// The caller, as far as paths depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'p> {
    /// Process id.
    pub pid: u32,
    /// Thread id: directory and root belong to the thread.
    pub tid: u32,
    /// It may have another root directory or other mounts than we have.
    pub other_view: bool,
    /// Directories that were looked at a moment ago.
    pub places: &'p Places,
    /// Microseconds of the monotonic clock.
    pub now_us: u64,
}

/// What a relative path starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The working directory.
    Directory,
    /// This descriptor of the caller's.
    Descriptor(i32),
}

/// A file that was named.
#[derive(Debug)]
pub struct Named {
    /// Its path.
    pub path: Vec<u8>,
    /// The file, where it is there.
    pub file: Option<Found>,
    /// The directory that holds the path's last component, where that is there.
    pub folder: Folder,
}

/// An `O_PATH` descriptor of a directory, where there is one.
pub type Folder = Option<Arc<OwnedFd>>;

/// A file that is there.
#[derive(Debug)]
pub struct Found {
    /// An `O_PATH` descriptor of it; absent where only its directory was opened.
    pub fd: Option<Arc<OwnedFd>>,
    /// What it is.
    pub stat: Stat,
}

impl Named {
    /// Returns the directory that holds the file and its name in it.
    #[must_use]
    pub fn place(&self) -> Option<(Arc<OwnedFd>, Vec<u8>)> {
        let (folder, name) = self.place_ref()?;
        Some((Arc::clone(folder), name.to_vec()))
    }

    fn place_ref(&self) -> Option<(&Arc<OwnedFd>, &[u8])> {
        Some((self.folder.as_ref()?, split(&self.path)?.1))
    }

    /// Returns an `O_PATH` descriptor of the file; a link at its end is not followed.
    #[must_use]
    pub fn open(&self) -> Option<Arc<OwnedFd>> {
        if let Some(fd) = &self.file.as_ref()?.fd {
            return Some(Arc::clone(fd));
        }
        let (folder, name) = self.place_ref()?;
        let fd = rustix::fs::openat(folder, name, O_PATH | OFlags::NOFOLLOW, Mode::empty());
        fd.ok().map(Arc::new)
    }
}

impl Found {
    /// Returns its type.
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

const O_PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

impl Caller<'_> {
    /// Returns the name below `/proc` of the link to what a relative path starts from.
    fn base_link(&self, base: Base) -> String {
        match base {
            Base::Directory => format!("{}/cwd", self.tid),
            Base::Descriptor(fd) => format!("{}/fd/{fd}", self.tid),
        }
    }

    /// Holds what a relative path starts from, by an `O_PATH` descriptor.
    ///
    /// # Errors
    /// ENOENT where the descriptor is not open.
    pub fn start(&self, base: Base) -> Result<OwnedFd, Errno> {
        outside::open(&self.base_link(base), O_PATH)
    }

    /// Returns the path of what a relative path starts from, as the kernel has it.
    ///
    /// # Errors
    /// As [`Caller::start`].
    pub fn start_name(&self, base: Base) -> Result<Vec<u8>, Errno> {
        outside::link(&self.base_link(base))
    }

    /// Names a descriptor of the caller's.
    ///
    /// # Errors
    /// It is not open, or the caller can't be read.
    pub fn descriptor(&self, fd: i32) -> Result<Named, Errno> {
        let base = if fd == libc::AT_FDCWD { Base::Directory } else { Base::Descriptor(fd) };
        named(self.start(base)?)
    }

    /// Names the file that a path means; `follow` says whether a link at its end is followed.
    ///
    /// # Errors
    /// It can't be resolved, for another reason than that it is not there.
    pub fn object(&self, base: Base, path: &[u8], follow: bool) -> Result<Named, Errno> {
        if path.is_empty() {
            // It means nothing (path_resolution(7)).
            return Ok(missing(Vec::new()));
        }
        if !follow && !path.ends_with(b"/") {
            return self.name(base, path);
        }
        if !self.other_view
            && let Some(text) = self.plain_text(base, path)
        {
            match self.without_links(&text) {
                Ok(Some((file, folder))) => return Ok(Named { path: text, file: Some(file), folder }),
                // A link would have been met before: up to what is missing, the text is the path.
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(missing(text)),
                _ => {}
            }
            if let Some(found) = resolved_by_kernel(&text, self) {
                return Ok(found);
            }
        }
        self.walk(base, path, true)
    }

    /// Finds the file of a text that holds no links, and its folder; nothing where the last component is one.
    fn without_links(&self, text: &[u8]) -> Result<Option<(Found, Folder)>, Errno> {
        let Some((folder, name)) = split(text) else {
            let fd = Arc::new(open_without_links(text)?);
            let stat = rustix::fs::fstat(&fd)?;
            return Ok(Some((Found { fd: Some(fd), stat }, None)));
        };
        let directory = self.directory(folder)?;
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Ok(None);
        }
        Ok(Some((Found { fd: None, stat }, Some(directory))))
    }

    /// Opens the directory of a text that holds no links, or takes the one that was opened a moment ago.
    fn directory(&self, text: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(known) = self.places.directory(text, self.now_us) {
            return Ok(known);
        }
        let flags = O_PATH | OFlags::DIRECTORY;
        let fd = rustix::fs::openat2(CWD, text, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        let fd = Arc::new(fd);
        self.places.remember_directory(text, &fd, self.now_us);
        Ok(fd)
    }

    /// Names what a path means where the call acts on the name: a link at its end stays a link.
    ///
    /// # Errors
    /// As [`Caller::object`].
    pub fn name(&self, base: Base, path: &[u8]) -> Result<Named, Errno> {
        if path.is_empty() {
            return Ok(missing(Vec::new()));
        }
        let trimmed = trim_slashes(path);
        let (folder, last) = match trimmed.iter().rposition(|b| *b == b'/') {
            Some(0) => (&b"/"[..], trimmed.get(1..).unwrap_or_default()),
            Some(at) => (trimmed.get(..at).unwrap_or_default(), trimmed.get(at + 1..).unwrap_or_default()),
            None => (&b"."[..], trimmed),
        };
        if matches!(last, b"" | b"." | b"..") {
            return self.walk(base, path, false);
        }
        let plain = if self.other_view { None } else { self.plain_text(base, folder) };
        let known = plain.and_then(|text| Some((self.directory(&text).ok()?, text)));
        let (directory, full) = match known {
            Some((directory, text)) => (directory, join(&text, last)),
            None => {
                let parent = self.object(base, folder, true)?;
                let full = join(&parent.path, last);
                let Some(directory) = parent.open() else { return Ok(missing(full)) };
                (directory, full)
            }
        };
        let file = match rustix::fs::statat(&directory, last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(Found { fd: None, stat }),
            Err(_) => None,
        };
        Ok(Named { path: full, file, folder: Some(directory) })
    }

    /// Names what `openat2(2)` means with flags that confine or change how a path is resolved.
    ///
    /// # Errors
    /// As [`Caller::object`].
    pub fn object_within(
        &self,
        base: Base,
        path: &[u8],
        how: ResolveFlags,
        follow: bool,
    ) -> Result<Named, Errno> {
        if path.is_empty() {
            return Ok(missing(Vec::new()));
        }
        let directory = self.start(base)?;
        let flags = if follow { O_PATH } else { O_PATH | OFlags::NOFOLLOW };
        match rustix::fs::openat2(&directory, path, flags, Mode::empty(), how) {
            Ok(fd) => {
                let found = named(fd)?;
                // There, `self` led to us and not to the caller.
                if found.path.starts_with(b"/proc/") { self.walk(base, path, follow) } else { Ok(found) }
            }
            Err(Errno::NOENT | Errno::NOTDIR) => missing_within(&directory, path, how),
            Err(error) => Err(error),
        }
    }

    /// Returns the path as absolute text, where it needs no more than that: no `..`, and a base that has a
    /// name.
    fn plain_text(&self, base: Base, path: &[u8]) -> Option<Vec<u8>> {
        if path.starts_with(b"/") {
            return normalise(Vec::new(), path);
        }
        let known = (base == Base::Directory).then(|| self.places.working(self.tid, self.now_us)).flatten();
        let start = match known {
            Some(start) => start,
            None => {
                let start = self.base_text(base)?;
                if base == Base::Directory {
                    self.places.remember_working(self.tid, &start, self.now_us);
                }
                start
            }
        };
        normalise(if start == b"/" { Vec::new() } else { start }, path)
    }

    /// Returns the path of what a relative path starts from, where that path leads to it for us as well: it may be
    /// on a mount that is in another view, in none any more, or behind another mount.
    fn base_text(&self, base: Base) -> Option<Vec<u8>> {
        let start = self.start_name(base).ok()?;
        if !start.starts_with(b"/") || start.ends_with(b" (deleted)") {
            return None;
        }
        let there = identity(outside::proc(), self.base_link(base).as_bytes(), AtFlags::empty()).ok()?;
        let held = self.directory(&start).ok()?;
        (identity_of(&held).ok()? == there).then_some(start)
    }

    /// Walks a path as the caller would.
    ///
    /// # Errors
    /// As [`Caller::object`].
    pub fn walk(&self, base: Base, path: &[u8], follow: bool) -> Result<Named, Errno> {
        let root = outside::open(&format!("{}/root", self.tid), O_PATH)?;
        let mut at = if path.starts_with(b"/") {
            root.try_clone().map_err(|_| Errno::MFILE)?
        } else {
            self.start(base)?
        };
        let must_be_directory = path.ends_with(b"/");
        let mut rest: VecDeque<Vec<u8>> = components(path);
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == b"." {
                // A directory, and one that may be searched.
                at = rustix::fs::openat(&at, ".", O_PATH, Mode::empty())?;
                continue;
            }
            if part == b".." {
                if identity_of(&at)? != identity_of(&root)? {
                    at = rustix::fs::openat(&at, "..", O_PATH, Mode::empty())?;
                }
                continue;
            }
            let next =
                match rustix::fs::openat(&at, part.as_slice(), O_PATH | OFlags::NOFOLLOW, Mode::empty()) {
                    Ok(next) => next,
                    // What is not there for us may be there for the caller.
                    Err(Errno::NOENT) if self.other_view && is_foreign_proc(&at) => return Err(Errno::XDEV),
                    Err(Errno::NOENT | Errno::NOTDIR) => return self.not_there(at, &part, &rest),
                    Err(error) => return Err(error),
                };
            let stat = rustix::fs::fstat(&next)?;
            let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
            let last = rest.is_empty() && !must_be_directory;
            if !is_link || (last && !follow) {
                at = next;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP);
            }
            match self.read_link(&at, &part)? {
                Link::Text(text) => {
                    if text.starts_with(b"/") {
                        at = root.try_clone().map_err(|_| Errno::MFILE)?;
                    }
                    let mut parts = components(&text);
                    parts.append(&mut rest);
                    rest = parts;
                }
                Link::Object(object) => at = object,
            }
        }
        let mut named = named(at)?;
        if let Some(Found { fd: Some(fd), .. }) = &named.file {
            named.path = self.claimed(named.path, fd);
        }
        Ok(named)
    }

    /// Returns the kernel's name for what was walked to; says so where it leads elsewhere in our view.
    fn claimed(&self, mut path: Vec<u8>, fd: &OwnedFd) -> Vec<u8> {
        let has_name = path.starts_with(b"/") && !path.ends_with(b" (deleted)");
        if has_name && !self.other_view {
            // By whichever mount: what a session was given was opened outside the mounts of its view.
            let file = |(device, inode, _): Identity| (device, inode);
            let is_it = match identity(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => identity_of(fd).is_ok_and(|own| file(own) == file(found)),
                // A directory on the way can't be searched: that says nothing.
                Err(error) => error == Errno::ACCESS,
            };
            if !is_it {
                path.extend_from_slice(ELSEWHERE.as_bytes());
            }
        }
        path
    }

    /// Names what is not there: behind the last directory that is.
    fn not_there(&self, at: OwnedFd, part: &[u8], rest: &VecDeque<Vec<u8>>) -> Result<Named, Errno> {
        // A folder whose path is too long to be had must not look like the root.
        let folder = self.claimed(path_of(&at)?, &at);
        let mut path = join(&folder, part);
        for more in rest.iter().filter(|more| *more != b".") {
            path = join(&path, more);
        }
        let folder = rest.is_empty().then(|| Arc::new(at));
        Ok(Named { path, file: None, folder })
    }

    /// Reads a link as it is for the caller.
    fn read_link(&self, directory: &OwnedFd, name: &[u8]) -> Result<Link, Errno> {
        if !is_proc(directory)? {
            return Ok(Link::Text(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes()));
        }
        // proc(5): `self` and `thread-self` are text, made for whoever asks; links inside a process' folder
        // lead to the object itself whatever their text says.
        let root_of_proc = rustix::fs::fstat(directory)?.st_ino == 1;
        match name {
            b"self" if root_of_proc => Ok(Link::Text(self.ids_in(directory)?.0.to_string().into_bytes())),
            b"thread-self" if root_of_proc => {
                let (pid, tid) = self.ids_in(directory)?;
                Ok(Link::Text(format!("{pid}/task/{tid}").into_bytes()))
            }
            _ if root_of_proc => {
                Ok(Link::Text(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes()))
            }
            _ => Ok(Link::Object(rustix::fs::openat(directory, name, O_PATH, Mode::empty())?)),
        }
    }

    /// Returns the caller's process and thread id as a procfs has them. One that is not ours is taken for that of
    /// the caller's own pid namespace (`pid_namespaces(7)`).
    fn ids_in(&self, proc: &OwnedFd) -> Result<(u32, u32), Errno> {
        if !is_foreign_proc(proc) {
            return Ok((self.pid, self.tid));
        }
        let innermost = |key| processes::last_number(self.tid, key).ok_or(Errno::XDEV);
        Ok((innermost("NStgid:")?, innermost("NSpid:")?))
    }

    /// Says whether the caller's root or mounts are not ours.
    #[must_use]
    pub fn has_other_view(pid: u32, tid: u32) -> bool {
        let ours = |of: &str| -> Option<(Vec<u8>, (u64, u64))> {
            let mounts = outside::link(&format!("{of}/ns/mnt")).ok()?;
            let root = outside::stat(&format!("{of}/root")).ok()?;
            Some((mounts, (root.st_dev, root.st_ino)))
        };
        ours(&format!("{pid}/task/{tid}")) != ours("self")
    }
}

enum Link {
    Text(Vec<u8>),
    Object(OwnedFd),
}

fn open_without_links(text: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(CWD, text, O_PATH, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// Lets the kernel resolve the path, where it means the same for us as for the caller.
fn resolved_by_kernel(text: &[u8], caller: &Caller<'_>) -> Option<Named> {
    let fd = rustix::fs::openat2(CWD, text, O_PATH, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()?;
    let result = named(fd).ok()?;
    // `/proc/self` is not a magic link: it led to our own folder.
    let in_proc = result.path.starts_with(b"/proc/");
    (!in_proc && !caller.other_view && result.path.starts_with(b"/")).then_some(result)
}

fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Appends a path's components to a start that has no slash at its end; `None` where it has a `..`.
#[must_use]
pub fn normalise(mut start: Vec<u8>, path: &[u8]) -> Option<Vec<u8>> {
    start.reserve(path.len() + 1);
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            _ => {
                start.push(b'/');
                start.extend_from_slice(part);
            }
        }
    }
    if start.is_empty() {
        start.push(b'/');
    }
    Some(start)
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    path.get(..end).unwrap_or_default()
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = folder.to_vec();
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Splits an absolute path into its folder and the name in it; nothing for the root.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().rposition(|b| *b == b'/')?;
    let name = text.get(at + 1..).filter(|name| !name.is_empty())?;
    let folder = text.get(..at)?;
    Some((if folder.is_empty() { b"/" } else { folder }, name))
}

/// Names what is not there below a directory that confines the path: its own folder may be, and by links.
fn missing_within(directory: &OwnedFd, path: &[u8], how: ResolveFlags) -> Result<Named, Errno> {
    let inside = path.iter().position(|b| *b != b'/').and_then(|at| path.get(at..)).unwrap_or_default();
    let inside = trim_slashes(inside);
    let (parent, last) = match inside.iter().rposition(|b| *b == b'/') {
        Some(at) => (inside.get(..at).unwrap_or_default(), inside.get(at + 1..).unwrap_or_default()),
        None => (&b"."[..], inside),
    };
    let flags = O_PATH | OFlags::DIRECTORY;
    if !matches!(last, b"" | b"." | b"..")
        && let Ok(folder) = rustix::fs::openat2(directory, parent, flags, Mode::empty(), how)
    {
        let path = join(&path_of(&folder)?, last);
        return Ok(Named { path, file: None, folder: Some(Arc::new(folder)) });
    }
    let folder = path_of(directory)?;
    let text = normalise(if folder == b"/" { Vec::new() } else { folder }, inside).ok_or(Errno::NOENT)?;
    Ok(missing(text))
}

fn missing(path: Vec<u8>) -> Named {
    Named { path, file: None, folder: None }
}

/// Returns the name that the kernel has for a descriptor of ours.
///
/// # Errors
/// That of `readlink(2)`.
pub fn path_of(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    outside::link(&format!("self/fd/{}", fd.as_raw_fd()))
}

fn named(fd: OwnedFd) -> Result<Named, Errno> {
    let path = path_of(&fd)?;
    let stat = rustix::fs::fstat(&fd)?;
    Ok(Named { path, file: Some(Found { fd: Some(Arc::new(fd)), stat }), folder: None })
}

/// A file on a mount: device, inode and mount; the last is 0 before Linux 5.8.
type Identity = ((u32, u32), u64, u64);

fn identity(folder: impl AsFd, name: &[u8], flags: AtFlags) -> Result<Identity, Errno> {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let found = rustix::fs::statx(folder, name, flags, wanted)?;
    let mount = if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 { 0 } else { found.stx_mnt_id };
    Ok(((found.stx_dev_major, found.stx_dev_minor), found.stx_ino, mount))
}

fn identity_of(fd: &OwnedFd) -> Result<Identity, Errno> {
    identity(fd, b"", AtFlags::EMPTY_PATH)
}

/// Says whether a directory is of a procfs that is not ours: it shows other processes under other ids.
fn is_foreign_proc(directory: &OwnedFd) -> bool {
    is_proc(directory) == Ok(true)
        && match (rustix::fs::fstat(directory), rustix::fs::fstat(outside::proc())) {
            (Ok(there), Ok(ours)) => there.st_dev != ours.st_dev,
            _ => true,
        }
}

fn is_proc(fd: impl AsFd) -> Result<bool, Errno> {
    // PROC_SUPER_MAGIC, statfs(2).
    Ok(rustix::fs::fstatfs(fd)?.f_type == 0x9fa0)
}

/// Says whether a path is the folder or below it.
#[must_use]
pub fn is_below(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || folder.ends_with(b"/"),
        None => false,
    }
}

/// Returns the bytes of a path.
#[must_use]
pub fn bytes(path: &std::path::Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files and processes the plain way")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn caller(pid: u32, tid: u32) -> Caller<'static> {
        // Another time for each: nothing is remembered from one to the next.
        static PLACES: LazyLock<Places> = LazyLock::new(Places::default);
        static TIME: AtomicU64 = AtomicU64::new(1);
        let now_us = TIME.fetch_add(crate::places::LIFE_US, Ordering::Relaxed);
        Caller { pid, tid, other_view: false, places: &PLACES, now_us }
    }

    fn me() -> Caller<'static> {
        let pid = std::process::id();
        caller(pid, rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned())
    }

    fn object(path: &Path) -> String {
        let by_text = me().object(Base::Directory, bytes(path), true).unwrap().path;
        let walked = me().walk(Base::Directory, bytes(path), true).unwrap().path;
        assert_eq!(by_text, walked, "the quick way and the long way differ on {}", path.display());
        String::from_utf8(by_text).unwrap()
    }

    #[test]
    fn every_spelling_gives_the_same_path() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::File::create(root.join("a/b/f")).unwrap();
        symlink("a/b", root.join("short")).unwrap();
        symlink(root.join("a/b/f"), root.join("to-f")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let f = root.join("a/b/f");
        let f = f.to_str().unwrap();
        for spelling in ["a/b/f", "a//b/./f", "a/../a/b/f", "short/f", "short/../b/f", "to-f"] {
            assert_eq!(object(&root.join(spelling)), f, "{spelling}");
        }
        for (spelling, path) in [("a/none", "a/none"), ("dangling", "nowhere"), ("short/x/y", "a/b/x/y")] {
            let named = me().object(Base::Directory, bytes(&root.join(spelling)), true).unwrap();
            assert!(named.file.is_none());
            assert_eq!(named.path, bytes(&root.join(path)), "{spelling}");
        }
        assert_eq!(me().object(Base::Directory, bytes(&root.join("loop")), true).unwrap_err(), Errno::LOOP);
        for spelling in ["to-f", "dangling", "loop", "a/../to-f/"] {
            let named = me().name(Base::Directory, bytes(&root.join(spelling)));
            let named = named.unwrap_or_else(|e| panic!("{spelling}: {e}"));
            let wanted = if spelling.starts_with("a/..") { "to-f" } else { spelling };
            assert_eq!(named.path, bytes(&root.join(wanted)));
            assert!(named.file.is_some());
        }
    }

    #[test]
    fn links_of_proc_lead_to_the_caller() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("f");
        let file = std::fs::File::create(&path).unwrap();
        let fd = file.as_raw_fd();
        for spelling in [
            format!("/proc/self/fd/{fd}"),
            format!("/proc/thread-self/fd/{fd}"),
            format!("/dev/fd/{fd}"),
            format!("/proc/self/root{}", path.display()),
            format!("/proc/{}/task/{}/root{}", me().pid, me().tid, path.display()),
        ] {
            assert_eq!(object(Path::new(&spelling)), path.to_str().unwrap(), "{spelling}");
        }
        // A caller that is not us: the folder that is named is its own.
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let other = caller(child.id(), child.id());
        let named = other.object(Base::Directory, b"/proc/self/status", true).unwrap();
        assert_eq!(named.path, format!("/proc/{}/status", child.id()).into_bytes());
        let named = other.object(Base::Directory, b"/proc/thread-self", true).unwrap();
        assert_eq!(named.path, format!("/proc/{0}/task/{0}", child.id()).into_bytes());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn below_means_whole_components() {
        assert!(is_below(b"/a/b", b"/a"));
        assert!(is_below(b"/a", b"/a"));
        assert!(is_below(b"/a", b"/"));
        assert!(!is_below(b"/ab", b"/a"));
    }

    mod any {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn path_is_resolved_without_panic(path in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>().prop_filter("no zero", |b| *b != 0)], 0..64)) {
                drop(me().object(Base::Directory, &path, true));
                drop(me().name(Base::Descriptor(-1), &path));
            }
        }
    }
}
