//! Settings files are read with distrust: whatever stands at the path, reading ends, and soon.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use aegis_sys::files::{Unread, read_plain};

use crate::error::CliError;

/// The largest settings file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// A settings file as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its text.
    pub(crate) text: String,
    /// Whose it is, and who may write to it.
    pub(crate) meta: Metadata,
}

/// Reads a settings file; nothing where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Found>, CliError> {
    let unreadable = |why: String| CliError::failed(format!("{} can't be read: {why}", path.display()));
    let (bytes, meta) = match read_plain(path, FILE_MAX) {
        Ok(found) => found,
        Err(Unread::Failed(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(Unread::Failed(error)) => return Err(unreadable(error.to_string())),
        Err(Unread::NotPlain) => return Err(unreadable("it is no plain file".to_owned())),
        Err(Unread::TooLarge) => return Err(unreadable(format!("it has more than {FILE_MAX} bytes"))),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Found { text, meta })),
        Err(error) => Err(not_utf8(path, error.as_bytes(), error.utf8_error().valid_up_to())),
    }
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
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
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
