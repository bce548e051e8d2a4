//! Settings files are read with distrust: whatever stands at the path, reading ends, and soon.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat};

use crate::error::CliError;

/// The largest settings file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// A settings file as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its text.
    pub(crate) text: String,
    /// Whose it is, and who may write to it.
    pub(crate) stat: Stat,
}

/// Reads a settings file; nothing where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Found>, CliError> {
    let unreadable = |why: String| CliError::failed(format!("{} can't be read: {why}", path.display()));
    let (bytes, stat) = match read_bytes(path) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(why) => return Err(unreadable(why)),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Found { text, stat })),
        Err(error) => Err(not_utf8(path, error.as_bytes(), error.utf8_error().valid_up_to())),
    }
}

fn read_bytes(path: &Path) -> Result<Option<(Vec<u8>, Stat)>, String> {
    let no_plain_file = || "it is no plain file".to_owned();
    // What is opened is what is looked at: nobody can put another file there in between. Without O_NONBLOCK a
    // FIFO would be waited for; O_NOCTTY keeps a terminal from becoming ours.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        // A socket, or a device without a driver.
        Err(rustix::io::Errno::NXIO | rustix::io::Errno::NODEV) => return Err(no_plain_file()),
        Err(error) => return Err(io::Error::from(error).to_string()),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| io::Error::from(error).to_string())?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(no_plain_file());
    }
    let mut bytes = Vec::new();
    // The size that is told may be wrong (procfs) or grow.
    let read = File::from(file).take(FILE_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("it has more than {FILE_MAX} bytes"));
    }
    Ok(Some((bytes, stat)))
}

fn not_utf8(path: &Path, bytes: &[u8], at: usize) -> CliError {
    let before = bytes.get(..at).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default()).chars().count() + 1;
    CliError::failed(format!("{}:{line}:{column}: byte {at} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| read(path).unwrap_err().to_string();
        assert!(read(&folder.path().join("none")).unwrap().is_none());
        assert!(said(folder.path()).ends_with("can't be read: it is no plain file"));
        assert!(said(Path::new("/dev/zero")).ends_with("can't be read: it is no plain file"));
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(said(&fifo).ends_with("can't be read: it is no plain file"));
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(said(&socket).ends_with("can't be read: it is no plain file"));
        let ring = folder.path().join("ring");
        std::os::unix::fs::symlink(&ring, &ring).unwrap();
        assert!(said(&ring).contains("ring can't be read: Too many levels of symbolic links"));
    }

    #[test]
    fn size_is_bounded_at_its_edge() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut text = vec![b'#'; 1 << 20];
        aegis_sys::files::write_atomic(&path, &text).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().text.len(), 1 << 20);
        text.push(b'#');
        aegis_sys::files::write_atomic(&path, &text).unwrap();
        assert!(
            read(&path).unwrap_err().to_string().ends_with("can't be read: it has more than 1048576 bytes")
        );
    }

    #[test]
    fn what_is_not_utf8_is_placed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        aegis_sys::files::write_atomic(&path, b"\xc3\xa4\n\xc3\xa4b\xffc").unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.ends_with("f:2:3: byte 6 is not UTF-8"), "{said}");
    }
}
