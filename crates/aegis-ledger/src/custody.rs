//! What a home keeps beside a ledger, to hold it to later: keys, the register, and anchors elsewhere.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use aegis_proof::checkpoint::split_notes;
use aegis_proof::{Anchor, Line, register};
use rustix::fs::{Mode, OFlags};

use crate::LedgerError;
use crate::keys::Keys;

/// Where checkpoints are taken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorTarget {
    /// A file to which notes are appended.
    File(PathBuf),
    /// The socket of a syslog daemon (RFC 3164, as `syslog(3)` writes it).
    Syslog(PathBuf),
    /// The socket of the systemd journal (`systemd.journal-fields(7)`).
    Journald(PathBuf),
}

/// What a home keeps beside a ledger.
#[derive(Debug, Clone)]
pub struct Custody {
    /// Its keys.
    pub keys: Keys,
    register: PathBuf,
    /// The ledger's name in the register.
    ledger: String,
    anchors: Vec<AnchorTarget>,
}

/// The largest file of anchors that is read, in bytes.
const ANCHORS_MAX: u64 = 64 << 20;

/// The longest line of the register.
const LINE_MAX: usize = 16 << 10;

impl Custody {
    /// Returns what a home keeps beside a ledger.
    #[must_use]
    pub fn of(home: &Path, ledger: &Path, anchors: Vec<AnchorTarget>) -> Self {
        let place = ledger.strip_prefix(home).unwrap_or(ledger);
        Self {
            keys: Keys::new(home.join("keys")),
            register: home.join("register"),
            ledger: register::escape(place.as_os_str().as_bytes()),
            anchors,
        }
    }

    /// Adds a line to the register.
    pub(crate) fn enter(&self, line: &Line) -> Result<(), LedgerError> {
        append(&self.register, &format!("{line}\n")).map_err(|e| LedgerError::from_io(&self.register, e))
    }

    /// Returns the ledger's name in the register.
    #[must_use]
    pub fn ledger(&self) -> &str {
        &self.ledger
    }

    /// Takes a checkpoint to all anchors; returns what went wrong.
    pub(crate) fn anchor(&self, note: &str) -> Vec<String> {
        let send = |target: &AnchorTarget| {
            let sent = match target {
                AnchorTarget::File(path) => append(path, &format!("{note}\n")),
                AnchorTarget::Syslog(socket) => datagram(socket, &syslog(note)),
                AnchorTarget::Journald(socket) => datagram(socket, &journal(note)),
            };
            let (AnchorTarget::File(path) | AnchorTarget::Syslog(path) | AnchorTarget::Journald(path)) =
                target;
            sent.err().map(|error| format!("{}: {error}", path.display()))
        };
        self.anchors.iter().filter_map(send).collect()
    }

    /// Reads the register's lines about this ledger, and counts those that are damaged.
    ///
    /// # Errors
    /// The register is there and can't be read.
    pub fn lines(&self) -> Result<(Vec<Line>, u64), LedgerError> {
        let explain = |error| LedgerError::from_io(&self.register, error);
        let file = match open_plain(&self.register) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(error) => return Err(explain(error)),
        };
        let mut reader = BufReader::new(file);
        let (mut lines, mut bad) = (Vec::new(), 0);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let got = reader.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut bytes).map_err(explain)?;
            if got == 0 {
                return Ok((lines, bad));
            }
            // The last one may be half written: its writer died.
            let Some(text) = bytes.strip_suffix(b"\n") else {
                bad += u64::from(got == LINE_MAX);
                continue;
            };
            match std::str::from_utf8(text).ok().and_then(Line::parse) {
                Some(line) if line.ledger == self.ledger => lines.push(line),
                Some(_) => {}
                None => bad += 1,
            }
        }
    }

    /// Reads the checkpoints of the anchors that are files.
    ///
    /// # Errors
    /// One is there and can't be read.
    pub fn anchored(&self) -> Result<Vec<Anchor>, LedgerError> {
        let mut anchors = Vec::new();
        for target in &self.anchors {
            if let AnchorTarget::File(path) = target {
                match read_anchors(path, false) {
                    Ok(found) => anchors.extend(found),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(LedgerError::from_io(path, error)),
                }
            }
        }
        Ok(anchors)
    }
}

/// Reads the checkpoints of a file. `named` says that the user gave it as one of this ledger.
///
/// # Errors
/// It can't be read.
pub fn read_anchors(path: &Path, named: bool) -> io::Result<Vec<Anchor>> {
    let mut bytes = Vec::new();
    open_plain(path)?.take(ANCHORS_MAX).read_to_end(&mut bytes)?;
    let kept = path.display().to_string();
    let notes = split_notes(&String::from_utf8_lossy(&bytes));
    Ok(notes.into_iter().map(|note| Anchor { note, kept: kept.clone(), named }).collect())
}

fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Appends in one write, so that lines of several writers never mix.
fn append(path: &Path, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let mut file: File = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into();
    file.write_all(text.as_bytes())
}

fn datagram(socket: &Path, message: &[u8]) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    // A daemon that does not read must not hold the ledger up.
    sender.set_nonblocking(true)?;
    sender.send_to(message, socket).map(drop)
}

/// Priority: facility 10 (security), severity 5 (notice).
const PRIORITY: u8 = 10 * 8 + 5;

/// The note in one line: syslog daemons end a message at a line feed.
fn syslog(note: &str) -> Vec<u8> {
    format!("<{PRIORITY}>aegis[{}]: checkpoint {}", std::process::id(), note.trim_end().replace('\n', "|"))
        .into_bytes()
}

fn journal(note: &str) -> Vec<u8> {
    let mut lines = note.lines();
    let (origin, size) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let head = format!(
        "MESSAGE=Aegis ledger {origin} is sealed up to entry {size}\nPRIORITY=5\nSYSLOG_IDENTIFIER=aegis\n\
         AEGIS_ORIGIN={origin}\nAEGIS_SIZE={size}\nAEGIS_CHECKPOINT\n"
    );
    // A value with line feeds: its length as 64 little-endian bits, then the bytes (the native protocol).
    let mut message = head.into_bytes();
    message.extend_from_slice(&(note.len() as u64).to_le_bytes());
    message.extend_from_slice(note.as_bytes());
    message.push(b'\n');
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_reach_every_anchor() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let sockets = ["syslog", "journal"].map(|name| UnixDatagram::bind(path(name)).unwrap());
        let anchors = vec![
            AnchorTarget::File(path("file")),
            AnchorTarget::Syslog(path("syslog")),
            AnchorTarget::Journald(path("journal")),
            AnchorTarget::File(path("none/file")),
        ];
        let custody = Custody::of(folder.path(), &path("a b/audit.db"), anchors);
        assert_eq!(custody.ledger(), "a%20b/audit.db");
        let note = "origin\n12\nroot\n\n\u{2014} origin AAAA\n";
        let failed = custody.anchor(note);
        assert!(failed.len() == 1 && failed[0].contains("none/file"), "{failed:?}");
        custody.anchor(note);
        let read = read_anchors(&path("file"), true).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].note.as_str(), read[0].named), (note, true));
        assert_eq!(custody.anchored().unwrap().len(), 2);
        let message = sockets.map(|socket| {
            let mut bytes = [0; 4096];
            let length = socket.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        });
        assert!(message[0].starts_with("<85>aegis["), "{}", message[0]);
        assert!(message[0].ends_with("]: checkpoint origin|12|root||\u{2014} origin AAAA"), "{}", message[0]);
        assert!(message[1].contains("AEGIS_SIZE=12\nAEGIS_CHECKPOINT\n"), "{}", message[1]);
        assert!(message[1].ends_with(&format!("{note}\n")));
    }

    #[test]
    fn damaged_lines_of_the_register_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let custody = Custody::of(folder.path(), &folder.path().join("x/audit.db"), Vec::new());
        assert_eq!(custody.lines().unwrap(), (Vec::new(), 0));
        let origin = aegis_proof::Origin::parse("aegis/00112233445566778899aabbccddeeff").unwrap();
        let line = |ledger: &str| Line {
            origin: origin.clone(),
            size: 3,
            root: aegis_proof::leaf(b"x"),
            at: "2026-01-02T03:04:05.000000006Z".into(),
            ledger: ledger.into(),
        };
        custody.enter(&line("x/audit.db")).unwrap();
        custody.enter(&line("y/audit.db")).unwrap();
        append(&folder.path().join("register"), "nonsense\nhalf a li").unwrap();
        assert_eq!(custody.lines().unwrap(), (vec![line("x/audit.db")], 1));
    }
}
