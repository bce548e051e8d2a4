//! Operations that open files, by every way there is to name one.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use aegis_harness::truth::Action::{DirCreate, DirList, FileDelete, FileRead, FileWrite};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, linkat, open, openat, openat2, symlinkat};
use rustix::process::chdir;

use crate::log::Log;
use crate::raw;
use crate::worker::{PLAIN, PRIVATE, Worker};

const READ: OFlags = OFlags::RDONLY.union(PRIVATE);

/// Makes files anew and opens one that is there in a way that could have made it.
pub(crate) fn create(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    w.open("open O_CREAT of what is there", &made.path, &made.path, OFlags::CREATE | OFlags::WRONLY)?;
    let other = w.spot("b");
    w.log.note("creat", FileWrite, &other.path, raw::creat(&other.path, 0o644)).map(drop)
}

/// Reads by absolute path, by descriptor and by relative path.
pub(crate) fn read(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    let file = w.open("read by absolute path", &made.path, &made.path, OFlags::RDONLY)?;
    rustix::io::read(file, &mut [0; 4])?;
    let opened = openat(&w.at, &made.name, READ, Mode::empty());
    w.log.note("read by descriptor", FileRead, &made.path, opened)?;
    let opened = w.inside(|| open(&made.name, READ, Mode::empty()));
    w.log.note("read by relative path", FileRead, &made.path, opened).map(drop)
}

/// Reads by `openat2`, resolved in several ways.
pub(crate) fn read_by_openat2(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    let how =
        [ResolveFlags::empty(), ResolveFlags::BENEATH, ResolveFlags::NO_SYMLINKS, ResolveFlags::IN_ROOT];
    let how = how.get(w.dice.below(how.len())).copied().unwrap_or(ResolveFlags::empty());
    let opened = openat2(&w.at, &made.name, READ, Mode::empty(), how);
    w.log.note("read by openat2", FileRead, &made.path, opened)?;
    let opened = openat2(CWD, &made.path, READ, Mode::empty(), ResolveFlags::empty());
    w.log.note("read by openat2", FileRead, &made.path, opened).map(drop)
}

/// Reads through a symbolic link to a file.
pub(crate) fn read_through_symlink(w: &mut Worker) -> io::Result<()> {
    let (made, link) = (w.make("a")?, w.spot("link"));
    let text = if w.dice.one_in(2) { made.path.as_os_str() } else { made.name.as_os_str() };
    w.log.note("symlinkat", FileWrite, &link.path, symlinkat(text, &w.at, &link.name))?;
    w.open("read through symlink", &link.path, &made.path, OFlags::RDONLY)?;
    w.open("write through symlink", &link.path, &made.path, OFlags::WRONLY).map(drop)
}

/// Makes and reads a file through a symbolic link to its directory.
pub(crate) fn read_through_linked_directory(w: &mut Worker) -> io::Result<()> {
    let (dir, link) = (w.make_directory("d")?, w.spot("link"));
    let linked = std::os::unix::fs::symlink(&dir.name, &link.path);
    w.log.note("symlink", FileWrite, &link.path, linked)?;
    let (named, real) = (link.path.join("file"), dir.path.join("file"));
    w.open("create through linked directory", &named, &real, OFlags::CREATE | OFlags::WRONLY)?;
    w.open("read through linked directory", &named, &real, OFlags::RDONLY).map(drop)
}

/// Reads by paths that go up and down, and stay.
pub(crate) fn read_through_dots(w: &mut Worker) -> io::Result<()> {
    let (made, dir) = (w.make("a")?, w.make_directory("d")?);
    let up = Path::new("..").join(&w.dir_name).join(".").join(&made.name);
    w.open("read through dots", &w.dir.join(&up), &made.path, OFlags::RDONLY)?;
    let opened = openat(&w.at, &up, READ, Mode::empty());
    w.log.note("read through dots", FileRead, &made.path, opened)?;
    let round = dir.path.join("..//./").join(&made.name);
    w.open("write through dots", &round, &made.path, OFlags::RDWR).map(drop)
}

/// Opens again what a descriptor is open on.
pub(crate) fn reopen_by_descriptor(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    let held = if w.dice.one_in(2) {
        w.open("read by absolute path", &made.path, &made.path, OFlags::RDONLY)?
    } else {
        open(&made.path, OFlags::PATH | PRIVATE, Mode::empty())?
    };
    let fd = held.as_raw_fd();
    let names = [
        format!("/proc/self/fd/{fd}"),
        format!("/dev/fd/{fd}"),
        format!("/proc/thread-self/fd/{fd}"),
        format!("/proc/{}/fd/{fd}", std::process::id()),
    ];
    let named = names.get(w.dice.below(names.len())).map_or(Path::new(""), Path::new);
    w.open("reopen by descriptor", named, &made.path, OFlags::RDONLY)?;
    w.open("reopen by descriptor", named, &made.path, OFlags::RDWR)?;
    let named = PathBuf::from(format!("/proc/self/fd/{}", w.at.as_raw_fd())).join(&made.name);
    w.open("read below a descriptor", &named, &made.path, OFlags::RDONLY).map(drop)
}

/// Has two threads, each with a working directory of its own, use the same relative names.
pub(crate) fn act_in_threads(w: &mut Worker) -> io::Result<()> {
    let dirs = [w.make_directory("one")?, w.make_directory("two")?];
    std::thread::scope(|scope| {
        let threads: Vec<_> = dirs
            .iter()
            .map(|dir| std::thread::Builder::new().spawn_scoped(scope, || act_in(&dir.path)))
            .collect();
        for thread in threads {
            let (log, result) = thread?.join().map_err(|_| io::Error::other("a thread failed"))?;
            w.log.lines.extend(log.lines);
            result?;
        }
        Ok(())
    })
}

fn act_in(dir: &Path) -> (Log, io::Result<()>) {
    let mut log = Log::new();
    let result = raw::unshare_cwd().and_then(|()| Ok(chdir(dir)?)).and_then(|()| act_here(&mut log, dir));
    (log, result)
}

fn act_here(log: &mut Log, dir: &Path) -> io::Result<()> {
    let (file, sub, moved) = (dir.join("file"), dir.join("sub"), dir.join("sub/moved"));
    let made = open("file", OFlags::CREATE | OFlags::WRONLY | PRIVATE, PLAIN);
    log.note("create in thread", FileWrite, &file, made)?;
    log.note("read in thread", FileRead, &file, open("./file", READ, Mode::empty()))?;
    log.note("mkdir in thread", DirCreate, &sub, fs::create_dir("sub"))?;
    log.renamed("rename in thread", &file, &moved, fs::rename("file", "sub/moved"))?;
    chdir("sub")?;
    log.note("unlink in thread", FileDelete, &moved, fs::remove_file("moved"))?;
    log.note("rmdir in thread", FileDelete, &sub, fs::remove_dir("../sub"))
}

/// Shortens a file by name and by opening it.
pub(crate) fn truncate(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    w.log.note("truncate", FileWrite, &made.path, raw::truncate(&made.path, 1))?;
    w.open("open O_TRUNC", &made.path, &made.path, OFlags::WRONLY | OFlags::TRUNC).map(drop)
}

/// Makes a file without a name and gives it one.
pub(crate) fn link_unnamed_file(w: &mut Worker) -> io::Result<()> {
    let (dir, named) = (w.dir.clone(), w.spot("a"));
    let file = w.open("open O_TMPFILE", &dir, &dir, OFlags::TMPFILE | OFlags::RDWR)?;
    rustix::io::write(&file, b"data")?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let linked = linkat(CWD, unnamed, &w.at, &named.name, AtFlags::SYMLINK_FOLLOW);
    w.log.note("linkat of O_TMPFILE", FileWrite, &named.path, linked)?;
    w.open("read by absolute path", &named.path, &named.path, OFlags::RDONLY).map(drop)
}

/// Changes a file through a shared mapping.
pub(crate) fn write_through_mapping(w: &mut Worker) -> io::Result<()> {
    let made = w.make("a")?;
    let file = w.open("open O_RDWR for mmap", &made.path, &made.path, OFlags::RDWR)?;
    raw::write_through_mapping(&file)
}

/// Opens through an io_uring, where there is one.
pub(crate) fn open_by_ring(w: &mut Worker) -> io::Result<()> {
    let (made, other) = (w.make("a")?, w.spot("b"));
    let Some(ring) = &w.ring else { return Ok(()) };
    let by_ring =
        |path: &Path, flags: OFlags| ring.open(&raw::c_string(path)?, (flags | PRIVATE).bits(), 0o644);
    let opened: io::Result<OwnedFd> = by_ring(&made.path, OFlags::RDONLY);
    w.log.note("read by io_uring", FileRead, &made.path, opened)?;
    let opened = by_ring(&other.path, OFlags::CREATE | OFlags::WRONLY);
    w.log.note("create by io_uring", FileWrite, &other.path, opened).map(drop)
}

/// Does what can't succeed.
pub(crate) fn fail(w: &mut Worker) -> io::Result<()> {
    let (made, dir, missing) = (w.make("a")?, w.make_directory("d")?, w.spot("missing"));
    let exclusive = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    w.open("open what is missing", &missing.path, &missing.path, OFlags::RDONLY).ok();
    w.open("open below a file", &made.path.join("x"), &made.path.join("x"), OFlags::RDONLY).ok();
    w.open("create below what is missing", &missing.path.join("x"), &missing.path.join("x"), exclusive).ok();
    w.open("create what is there", &made.path, &made.path, exclusive).ok();
    w.log.note("mkdir of what is there", DirCreate, &dir.path, fs::create_dir(&dir.path)).ok();
    w.log.note("opendir of what is missing", DirList, &missing.path, fs::read_dir(&missing.path)).ok();
    w.log.note("unlink of what is missing", FileDelete, &missing.path, fs::remove_file(&missing.path)).ok();
    w.log.note("rmdir of a file", FileDelete, &made.path, fs::remove_dir(&made.path)).ok();
    let renamed = fs::rename(&missing.path, &dir.path);
    w.log.renamed("rename of what is missing", &missing.path, &dir.path, renamed).ok();
    w.log.note("truncate of what is missing", FileWrite, &missing.path, raw::truncate(&missing.path, 0)).ok();
    Ok(())
}
