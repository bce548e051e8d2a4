//! A view of a directory in which some places are there and no others, each a mount of its own.
//!
//! A mount is no place to rename across or to remove; so what comes of a call there is what the kernel says.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, mount_remount,
    move_mount, open_tree,
};
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::raw;

/// What stands at a place.
enum Thing {
    Directory(OwnedFd),
    File(OwnedFd),
    Link(Vec<u8>),
}

/// Lets this process, which must have one thread, see these places in a directory and no others.
pub(crate) fn enter(folder: &Path, places: &[PathBuf]) -> io::Result<()> {
    let is_root = geteuid().is_root();
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    raw::unshare(if is_root { libc::CLONE_NEWNS } else { libc::CLONE_NEWNS | libc::CLONE_NEWUSER })?;
    if !is_root {
        // Else the files below belong to root.
        set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        for (name, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{user} {user} 1")),
            ("gid_map", format!("{group} {group} 1")),
        ] {
            let file = rustix::fs::open(format!("/proc/self/{name}"), OFlags::WRONLY, Mode::empty())?;
            rustix::io::write(&file, text.as_bytes())?;
        }
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    show(folder, places)?;
    if !is_root {
        // An ordinary user has none.
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    }
    Ok(())
}

fn show(folder: &Path, places: &[PathBuf]) -> io::Result<()> {
    let taken: Vec<Thing> = places.iter().map(|path| take(path)).collect::<io::Result<_>>()?;
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "mode", "755")?;
    fsconfig_create(context.as_fd())?;
    let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let whole = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&root, "", CWD, folder, whole)?;
    for (path, thing) in places.iter().zip(taken) {
        let inside = path.strip_prefix(folder).map_err(io::Error::other)?;
        make_directories(&root, inside.parent().unwrap_or(Path::new("")))?;
        match thing {
            Thing::Link(text) => rustix::fs::symlinkat(OsStr::from_bytes(&text), &root, inside)?,
            Thing::Directory(tree) => {
                make_directories(&root, inside)?;
                move_mount(tree, "", &root, inside, whole)?;
            }
            Thing::File(tree) => {
                drop(rustix::fs::openat(&root, inside, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR)?);
                move_mount(tree, "", &root, inside, whole)?;
            }
        }
    }
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount_remount(folder, flags, "")?)
}

fn take(path: &Path) -> io::Result<Thing> {
    let held = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&held)?.st_mode);
    if kind == FileType::Symlink {
        return Ok(Thing::Link(rustix::fs::readlinkat(&held, "", Vec::new())?.into_bytes()));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&held, "", flags)?;
    Ok(if kind == FileType::Directory { Thing::Directory(tree) } else { Thing::File(tree) })
}

fn make_directories(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let mut above: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    above.reverse();
    for folder in above {
        match rustix::fs::mkdirat(root, folder, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
