//! What can go wrong with a ledger, in words for the person who has to mend it.

use std::io;
use std::path::{Path, PathBuf};

use aegis_proof::RecordError;
use rusqlite::ErrorCode;

/// Why a ledger could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// There is no such file.
    #[error("there is no ledger at {}", .0.display())]
    Missing(PathBuf),
    /// The file is something else.
    #[error("{} is not an Aegis ledger; move it away, a new ledger is then begun", .0.display())]
    NotALedger(PathBuf),
    /// The file was written by another version.
    #[error("{} has format {found}, this version of Aegis knows {known}; use the version that wrote it", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The latest known.
        known: i64,
    },
    /// The home has not the identity key of the ledger.
    #[error("the identity key in {} is not that of the ledger: nothing can be sealed; put the key back, or move the ledger away, a new one is then begun", .0.display())]
    NoIdentity(PathBuf),
    /// What stands in place of a key is none.
    #[error("{} is not a key of Aegis; put the key back, or move all of the folder and the ledgers away", .0.display())]
    BadKey(PathBuf),
    /// The file is damaged.
    #[error("{} is damaged ({detail}); keep a copy of it and of its -wal file, then move it away", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// Another program holds the lock.
    #[error("{} is locked by another program; end that program and try again", .0.display())]
    Locked(PathBuf),
    /// No space is left.
    #[error("no space is left for {}", .0.display())]
    Full(PathBuf),
    /// It can't be written.
    #[error("{} can't be written: {detail}", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// Another error of SQLite.
    #[error("{}: {source}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The error.
        source: rusqlite::Error,
    },
    /// An error of the file system.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// An event can't be made a record.
    #[error("an event can't be recorded: {0}")]
    Record(#[from] RecordError),
    /// A stored record can't be read.
    #[error("entry {seq} can't be read: {detail}; `aegis audit verify` tells more")]
    Unreadable {
        /// Its number.
        seq: u64,
        /// Why.
        detail: String,
    },
    /// A pattern is no glob.
    #[error("`{pattern}` is no path pattern: {detail}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        detail: String,
    },
    /// The writer has stopped; what it said before.
    #[error("the ledger's writer has stopped: {0}")]
    Stopped(String),
}

impl LedgerError {
    /// Says in this crate's words what SQLite said of a file.
    pub(crate) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        let detail = || source.to_string();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotALedger(path),
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { path, detail: detail() },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(path),
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { path, detail: detail() }
            }
            _ => Self::Sqlite { path, source },
        }
    }

    /// Says in this crate's words what the system said of a file.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            _ => Self::Io { path, source },
        }
    }

    /// Says whether trying again later can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::Full(_))
    }
}
