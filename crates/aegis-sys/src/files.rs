//! Files that are never half-written, and files that are read with distrust.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Writes a file so that a crash leaves the old content or the new, never a part: temporary file, fsync,
/// rename, fsync of the directory. The file's mode is 0600.
///
/// # Errors
/// That of the step that failed; the temporary file is then gone.
pub fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let folder =
        rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(&folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
    let written = fill(file.into(), content)
        .and_then(|()| Ok(rustix::fs::renameat(&folder, &temporary, &folder, name)?))
        .and_then(|()| Ok(rustix::fs::fsync(&folder)?));
    if written.is_err() {
        // The error that matters is the first; a left-over has a name that is never read.
        let _ = rustix::fs::unlinkat(&folder, &temporary, rustix::fs::AtFlags::empty());
    }
    written
}

/// Writes a new file of mode 0600 that nobody else looks at yet. A file that exists is an error.
///
/// # Errors
/// That of the step that failed.
pub fn write_plain(path: &Path, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?).write_all(content)
}

fn fill(mut file: File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}

/// Why a plain file was not read.
#[derive(Debug)]
pub enum Unread {
    /// It is something else: a pipe, a device, a directory.
    NotPlain,
    /// It has more bytes than it may.
    TooLarge,
    /// That of the system call.
    Failed(io::Error),
}

/// Reads a plain file of at most so many bytes. Whatever stands at the path, reading ends, and soon: what is opened is
/// what is looked at, and a pipe or a terminal is neither waited for nor taken (`O_NONBLOCK`, `O_NOCTTY`).
///
/// # Errors
/// It is no such file.
pub fn read_plain(path: &Path, most: u64) -> Result<(Vec<u8>, std::fs::Metadata), Unread> {
    let failed = |error: io::Error| Unread::Failed(error);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A socket, or a device without a driver.
        Err(rustix::io::Errno::NXIO | rustix::io::Errno::NODEV) => return Err(Unread::NotPlain),
        Err(error) => return Err(failed(error.into())),
    };
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(Unread::NotPlain);
    }
    let mut bytes = Vec::new();
    // The size that is told may be wrong (procfs) or grow.
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(Unread::TooLarge);
    }
    Ok((bytes, meta))
}

/// Makes `target` share the content of `source` where the file system can (`FICLONE`).
///
/// # Errors
/// That of the call: EOPNOTSUPP or EXDEV where it can't be done.
pub fn clone_content(source: impl AsFd, target: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(target, source)?)
}

/// Replaces a standard descriptor by `/dev/null`.
///
/// # Errors
/// That of the system calls.
pub fn drop_standard(fd: u8) -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    match fd {
        0 => rustix::stdio::dup2_stdin(null)?,
        1 => rustix::stdio::dup2_stdout(null)?,
        _ => rustix::stdio::dup2_stderr(null)?,
    }
    Ok(())
}

/// Closes every descriptor from 3 on that was handed down by the caller.
///
/// A descriptor that came through an exec has no close-on-exec flag; every one that Aegis opens has it.
///
/// # Errors
/// `/proc/self/fd` can't be read.
pub fn close_inherited() -> io::Result<()> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        open.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: reads a flag. A descriptor without close-on-exec is owned by no Rust value of this process
        // (all of those are opened with the flag), so closing it can't pull it from under one.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(fd);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomic(&folder.path().join("no/f"), b"x").is_err());
    }
}
