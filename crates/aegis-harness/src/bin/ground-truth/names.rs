//! Operations that change which names there are: rename, link, remove, directories.

use std::fs;
use std::io;
use std::path::Path;

use aegis_harness::truth::Action::{DirCreate, DirList, FileDelete, FileWrite};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, linkat, mkdirat, mknodat, open, openat, renameat,
    renameat_with, symlinkat, unlinkat,
};

use crate::raw;
use crate::worker::{OPEN_TO_ALL, PLAIN, PRIVATE, Worker};

/// Renames a file to a new name, to one that is there, and by descriptor.
pub(crate) fn rename(w: &mut Worker) -> io::Result<()> {
    let (old, new, last) = (w.make("a")?, w.spot("b"), w.spot("c"));
    if w.dice.one_in(2) {
        w.make_with(&new, b"replaced", PLAIN)?;
    }
    w.log.renamed("rename", &old.path, &new.path, fs::rename(&old.path, &new.path))?;
    w.log.renamed("renameat", &new.path, &last.path, renameat(&w.at, &new.name, CWD, &last.path))?;
    w.open("read after rename", &last.path, &last.path, OFlags::RDONLY).map(drop)
}

/// Renames a directory, and uses what is in it under its new name.
pub(crate) fn rename_directory(w: &mut Worker) -> io::Result<()> {
    let (old, new) = (w.make_directory("a")?, w.spot("b"));
    let (before, after) = (old.path.join("file"), new.path.join("file"));
    w.open("create in directory", &before, &before, OFlags::CREATE | OFlags::WRONLY)?;
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | PRIVATE;
    let held = w.log.note("open directory", DirList, &old.path, open(&old.path, flags, Mode::empty()))?;
    w.log.renamed("rename of directory", &old.path, &new.path, fs::rename(&old.path, &new.path))?;
    w.open("write after rename", &after, &after, OFlags::WRONLY)?;
    let made = openat(&held, "late", OFlags::CREATE | OFlags::WRONLY | PRIVATE, PLAIN);
    w.log.note("create in renamed directory", FileWrite, &new.path.join("late"), made).map(drop)
}

/// Exchanges two names.
pub(crate) fn exchange(w: &mut Worker) -> io::Result<()> {
    let (one, other) = (w.make("a")?, w.make("b")?);
    let done = renameat_with(&w.at, &one.name, CWD, &other.path, RenameFlags::EXCHANGE);
    let ok = done.is_ok();
    w.log.act("renameat2 RENAME_EXCHANGE", FileDelete, &other.path, ok);
    w.log.act("renameat2 RENAME_EXCHANGE", FileWrite, &one.path, ok);
    w.log.renamed("renameat2 RENAME_EXCHANGE", &one.path, &other.path, done)
}

/// Renames where nothing may be replaced; every third time something would be.
pub(crate) fn rename_without_replacing(w: &mut Worker) -> io::Result<()> {
    let (old, new) = (w.make("a")?, w.spot("b"));
    let in_the_way = w.dice.one_in(3);
    if in_the_way {
        w.make_with(&new, b"kept", PLAIN)?;
    }
    let done = renameat_with(&w.at, &old.name, &w.at, &new.name, RenameFlags::NOREPLACE);
    let done = w.log.renamed("renameat2 RENAME_NOREPLACE", &old.path, &new.path, done);
    if in_the_way { Ok(()) } else { done }
}

/// Gives a file two more names.
pub(crate) fn link(w: &mut Worker) -> io::Result<()> {
    let (old, new, other) = (w.make("a")?, w.spot("b"), w.spot("c"));
    w.log.note("link", FileWrite, &new.path, raw::link(&old.path, &new.path))?;
    let linked = linkat(&w.at, &old.name, &w.at, &other.name, AtFlags::empty());
    w.log.note("linkat", FileWrite, &other.path, linked)?;
    w.open("write of a link", &new.path, &new.path, OFlags::WRONLY).map(drop)
}

/// Makes symbolic links, moves one and removes one: what they point at stays as it is.
pub(crate) fn symlink(w: &mut Worker) -> io::Result<()> {
    let (target, one, other, moved) = (w.make("a")?, w.spot("b"), w.spot("c"), w.spot("d"));
    let linked = std::os::unix::fs::symlink(&target.path, &one.path);
    w.log.note("symlink", FileWrite, &one.path, linked)?;
    let linked = symlinkat("nothing/there", &w.at, &other.name);
    w.log.note("symlinkat", FileWrite, &other.path, linked)?;
    w.log.renamed("rename of symlink", &one.path, &moved.path, fs::rename(&one.path, &moved.path))?;
    w.log.note("unlink of symlink", FileDelete, &moved.path, fs::remove_file(&moved.path))
}

/// Removes files by absolute path, by descriptor, and by a path that goes up.
pub(crate) fn unlink(w: &mut Worker) -> io::Result<()> {
    let (one, other, third) = (w.make("a")?, w.make("b")?, w.make("c")?);
    w.log.note("unlink", FileDelete, &one.path, fs::remove_file(&one.path))?;
    let removed = unlinkat(&w.at, &other.name, AtFlags::empty());
    w.log.note("unlinkat", FileDelete, &other.path, removed)?;
    let up = Path::new("..").join(&w.dir_name).join(&third.name);
    let removed = w.inside(|| rustix::fs::unlink(&up));
    w.log.note("unlink through dots", FileDelete, &third.path, removed)
}

/// Makes directories.
pub(crate) fn make_directories(w: &mut Worker) -> io::Result<()> {
    let (one, other) = (w.make_directory("a")?, w.spot("b"));
    let made = mkdirat(&w.at, &other.name, OPEN_TO_ALL);
    w.log.note("mkdirat", DirCreate, &other.path, made)?;
    let below = other.path.join("sub");
    let made = fs::create_dir(one.path.join("..").join(&other.name).join("sub"));
    w.log.note("mkdir through dots", DirCreate, &below, made)
}

/// Removes directories; one that is not empty stays.
pub(crate) fn remove_directories(w: &mut Worker) -> io::Result<()> {
    let (one, other, full) = (w.make_directory("a")?, w.make_directory("b")?, w.make_directory("c")?);
    w.log.note("rmdir", FileDelete, &one.path, fs::remove_dir(&one.path))?;
    let removed = unlinkat(&w.at, &other.name, AtFlags::REMOVEDIR);
    w.log.note("unlinkat AT_REMOVEDIR", FileDelete, &other.path, removed)?;
    let inside = full.path.join("file");
    w.open("create in directory", &inside, &inside, OFlags::CREATE | OFlags::WRONLY)?;
    w.log.note("rmdir of what is not empty", FileDelete, &full.path, fs::remove_dir(&full.path)).ok();
    Ok(())
}

/// Makes a named pipe and opens it without waiting.
pub(crate) fn make_fifo(w: &mut Worker) -> io::Result<()> {
    let pipe = w.spot("a");
    let made = if w.dice.one_in(2) {
        mknodat(&w.at, &pipe.name, FileType::Fifo, PLAIN, 0)
    } else {
        mknodat(CWD, &pipe.path, FileType::Fifo, PLAIN, 0)
    };
    w.log.note("mknod of a FIFO", FileWrite, &pipe.path, made)?;
    w.open("open of a FIFO", &pipe.path, &pipe.path, OFlags::RDWR | OFlags::NONBLOCK)?;
    w.open("read of a FIFO", &pipe.path, &pipe.path, OFlags::RDONLY | OFlags::NONBLOCK).map(drop)
}

/// Lists a directory, opened in three ways.
pub(crate) fn list(w: &mut Worker) -> io::Result<()> {
    let dir = w.make_directory("a")?;
    let inside = dir.path.join("file");
    w.open("create in directory", &inside, &inside, OFlags::CREATE | OFlags::WRONLY)?;
    let entries = w.log.note("opendir", DirList, &dir.path, fs::read_dir(&dir.path))?;
    entries.count();
    let flags = OFlags::RDONLY | PRIVATE;
    let opened = openat(&w.at, &dir.name, flags | OFlags::DIRECTORY, Mode::empty());
    w.log.note("open directory", DirList, &dir.path, opened)?;
    let opened = openat(&w.at, &dir.name, flags, Mode::empty());
    w.log.note("open directory as a file", DirList, &dir.path, opened).map(drop)
}

/// Makes fresh directories with a file in the deepest, and removes all at once, again and again.
pub(crate) fn come_and_go(w: &mut Worker) -> io::Result<()> {
    let top = w.spot("a").path;
    let dirs = [top.clone(), top.join("b"), top.join("b/c")];
    let file = top.join("b/c/file");
    for _ in 0..3 {
        for dir in &dirs {
            w.log.note("nested mkdir", DirCreate, dir, fs::create_dir(dir))?;
        }
        w.open("nested create", &file, &file, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY)?;
        w.open("nested write", &file, &file, OFlags::WRONLY | OFlags::APPEND)?;
        w.log.note("nested unlink", FileDelete, &file, fs::remove_file(&file))?;
        for dir in dirs.iter().rev() {
            w.log.note("nested rmdir", FileDelete, dir, fs::remove_dir(dir))?;
        }
    }
    Ok(())
}
