//! What the agent sees of the file system, where it can have mounts of its own: the places that its policies name, and
//! no others.
//!
//! Calls that name a file are decided one by one anyway. But the kernel answers others by itself (`stat`, `readlink`,
//! `chdir`), and those would tell of everything that is there. So a new root is made of bind mounts, each place at the
//! path it has outside. Where the policies may permit something everywhere, the root stays as it is; the Aegis home is
//! covered in any case. The threads that execute calls are in the same view: a path means the same to all.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use aegis_sys::namespaces::{First, unshare_view};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};

use crate::hull::Hull;

/// What is to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The places that are there, and whether they are to be changed; nothing where all are.
    shown: Option<Vec<(PathBuf, bool)>>,
    /// A directory that is covered, and one in it that is not.
    covered: Option<(PathBuf, Option<PathBuf>)>,
    /// A directory that is there in any case, though perhaps empty: where the agent starts.
    start: PathBuf,
    /// The session's own temporary directory.
    tmp: Option<PathBuf>,
}

/// Where the new root is put together; any directory that is always there.
const WORKSHOP: &str = "/proc";

/// Places that belong together: one alone would not do.
const WHOLE: [&str; 1] = ["/dev/pts"];

/// Links that programs expect in `/dev` (`proc_pid_fd(5)`).
const LINKS: [(&str, &str); 4] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
];

/// Where the C library keeps shared memory and semaphores that have names.
const SHARED_MEMORY: &str = "dev/shm";

impl View {
    /// Says what is seen under a hull. `home` is the Aegis home with the directory in it that can be reached; `tmp` the
    /// session's own temporary directory, in which shared memory (`shm_overview(7)`) and named semaphores are then, too.
    #[must_use]
    pub fn of(
        hull: &Hull,
        home: Option<(PathBuf, Option<PathBuf>)>,
        start: &Path,
        tmp: Option<PathBuf>,
    ) -> Self {
        let mut shown: Vec<(PathBuf, bool)> =
            hull.places().map(|(path, rights)| (PathBuf::from(path), !rights.reads_only())).collect();
        let covered = home.filter(|(home, _)| shown.iter().any(|(path, _)| home.starts_with(path)));
        let everything = shown.iter().any(|(path, _)| path == Path::new("/"));
        for (path, _) in &mut shown {
            if let Some(whole) = WHOLE.iter().find(|whole| path.starts_with(whole)) {
                *path = PathBuf::from(whole);
            }
        }
        let shown = (!everything).then(|| least(shown, |(path, _)| path));
        Self { shown, covered, start: start.to_owned(), tmp }
    }

    /// Says whether places that the policies do not name are hidden.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.shown.is_some()
    }

    /// Gives this thread, and what it starts, the view, and System V objects of its own. The first process of another
    /// process id namespace is started, which the view's `/proc` shows.
    ///
    /// # Errors
    /// That of the system calls.
    pub fn enter(&self) -> io::Result<First> {
        unshare_view()?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private)?;
        match &self.shown {
            Some(shown) => self.enter_new_root(shown),
            None => {
                if let Some((home, open)) = &self.covered {
                    cover(home, open.as_deref())?;
                }
                First::start(c"/proc")
            }
        }
    }

    fn enter_new_root(&self, shown: &[(PathBuf, bool)]) -> io::Result<First> {
        // Before anything is hidden.
        let wanted = shown.iter().filter_map(|(path, is_changed)| shown_for(path, *is_changed));
        let least = least(wanted.filter(|path| path != Path::new("/")).collect(), |path| path);
        let places: Vec<(&Path, Place)> =
            least.iter().filter_map(|path| Some((path.as_path(), Place::take(path)?))).collect();
        let root = scratch(WORKSHOP)?;
        make_directories(&root, &inside(&self.start))?;
        make_directories(&root, Path::new("proc"))?;
        for (path, place) in &places {
            if *path == Path::new("/proc") || path.starts_with("/proc") {
                continue;
            }
            place.put(&root, &inside(path))?;
        }
        if places.iter().any(|(path, _)| path.starts_with("/dev")) {
            for (link, target) in LINKS {
                // What was named by a policy is there already.
                let _ = rustix::fs::symlinkat(target, &root, link);
            }
            if let Some(tmp) = &self.tmp {
                let _ = rustix::fs::symlinkat(tmp, &root, SHARED_MEMORY);
            }
        }
        rustix::process::fchdir(&root)?;
        // While the old one is still there: in a user namespace, a new one shows no more than one that is seen already.
        let first = First::start(c"proc")?;
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")?;
        if let Some((home, open)) = &self.covered {
            cover(home, open.as_deref())?;
        }
        mount_remount(
            "/",
            MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
            "",
        )?;
        Ok(first)
    }
}

/// Leaves out what is below another: it comes with it.
fn least<T: Ord>(mut places: Vec<T>, path: impl Fn(&T) -> &Path) -> Vec<T> {
    places.sort();
    let mut least: Vec<T> = Vec::new();
    for place in places {
        if !least.iter().any(|above| path(&place).starts_with(path(above))) {
            least.push(place);
        }
    }
    least
}

/// Returns what has to be seen for a place; nothing where it is not there and is not to be made. A plain file is made,
/// removed and replaced in its directory, and what is not there yet is made in the nearest that is: a mount on the name
/// alone would not let that be done.
fn shown_for(path: &Path, is_changed: bool) -> Option<PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;
    let found = std::fs::symlink_metadata(path);
    let stands_alone = found.as_ref().is_ok_and(|meta| {
        let kind = meta.file_type();
        kind.is_dir() || kind.is_symlink() || kind.is_char_device() || kind.is_block_device()
    });
    let of_kernel = ["/proc", "/sys", "/dev"].iter().any(|place| path.starts_with(place));
    if stands_alone || of_kernel || !is_changed {
        return found.is_ok().then(|| path.to_owned());
    }
    let above = path.ancestors().skip(1).find(|folder| folder.is_dir());
    let above = above.filter(|folder| *folder != Path::new("/"));
    above.or(found.is_ok().then_some(path)).map(Path::to_owned)
}

/// A path without the slash before it.
fn inside(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Mounts an empty file system in memory at a path, and returns its root.
fn scratch(path: &str) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Directories that lead to places, and nothing else, are ever made in it.
    fsconfig_set_string(context.as_fd(), "size", "1m")?;
    fsconfig_set_string(context.as_fd(), "mode", "755")?;
    fsconfig_create(context.as_fd())?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    move_mount(&mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(mount)
}

fn make_directories(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let mut so_far = PathBuf::new();
    for part in path.components() {
        so_far.push(part);
        let mode = Mode::from_bits_truncate(0o755);
        match rustix::fs::mkdirat(root, &so_far, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Something that is to be seen.
enum Place {
    Directory(OwnedFd),
    Other(OwnedFd),
    Link(Vec<u8>),
}

impl Place {
    /// Takes a place as it is now; nothing where it is not there.
    fn take(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&held).ok()?.st_mode);
        if kind == FileType::Symlink {
            return rustix::fs::readlinkat(&held, "", Vec::new())
                .ok()
                .map(|text| Self::Link(text.into_bytes()));
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = open_tree(&held, "", flags).ok()?;
        Some(if kind == FileType::Directory { Self::Directory(tree) } else { Self::Other(tree) })
    }

    /// Puts it where it is outside.
    fn put(&self, root: &OwnedFd, path: &Path) -> io::Result<()> {
        if let Some(above) = path.parent() {
            make_directories(root, above)?;
        }
        let tree = match self {
            Self::Link(text) => {
                return match rustix::fs::symlinkat(text.as_slice(), root, path) {
                    Ok(()) | Err(Errno::EXIST) => Ok(()),
                    Err(error) => Err(error.into()),
                };
            }
            Self::Directory(tree) => {
                make_directories(root, path)?;
                tree
            }
            Self::Other(tree) => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(rustix::fs::openat(root, path, flags, Mode::RUSR)?);
                tree
            }
        };
        Ok(move_mount(tree, "", root, path.as_os_str().as_bytes(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }
}

/// Covers a directory with an empty one, but for a directory in it.
fn cover(home: &Path, open: Option<&Path>) -> io::Result<()> {
    let open = open.and_then(|path| Some((path.strip_prefix(home).ok()?.to_owned(), Place::take(path)?)));
    let Some(text) = home.to_str().filter(|_| home.is_dir()) else { return Ok(()) };
    let root = scratch(text)?;
    if let Some((name, place)) = open {
        place.put(&root, &name)?;
    }
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount_remount(home, flags, "")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_another_place_comes_with_it() {
        let view = |paths: &[&str]| View::of(&Hull::granting(paths), None, Path::new("/w"), None);
        let shown = view(&["/usr", "/usr/lib", "/w/x", "/dev/pts/ptmx", "/dev/null"]);
        let expected =
            ["/dev/null", "/dev/pts", "/usr", "/w/x"].map(|path| (PathBuf::from(path), false)).to_vec();
        assert_eq!(shown.shown, Some(expected));
        assert!(!view(&["/", "/usr"]).is_partial());
    }
}
