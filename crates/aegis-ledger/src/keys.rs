//! The private keys of a home: its identity, and for each ledger the keys of its current and next epoch.
//!
//! The files are described in `docs/ledger-format.md`. A key of an epoch is destroyed once its seal is synced: the
//! file is overwritten in place, so that no older copy of it stays behind on the disk's own terms.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_proof::{EpochKeys, Hash, Origin, SecretKey};
use aegis_sys::clock::monotonic_us;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use sha2::{Digest as _, Sha256};

use crate::LedgerError;

/// The folder of the keys.
#[derive(Debug, Clone)]
pub struct Keys(PathBuf);

/// The keys of a ledger's current and next epoch.
#[derive(Debug)]
pub struct Epoch {
    /// The number of the current epoch.
    pub number: u64,
    /// Its key.
    pub current: SecretKey,
    /// The key of the one after.
    pub next: SecretKey,
}

const IDENTITY: &str = "identity";
const IDENTITY_MAGIC: &str = "aegis identity key 1";
const EPOCH_MAGIC: &str = "aegis epoch keys 1";

/// No key file is larger, in bytes.
const FILE_MAX: u64 = 1_024;

/// Makes a key of the system's random numbers (`getrandom(2)`).
///
/// # Errors
/// That of the system call.
pub fn generate() -> io::Result<SecretKey> {
    let mut seed = [0; 32];
    let mut filled = 0;
    while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::io::retry_on_intr(|| {
            rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())
        })?;
    }
    Ok(SecretKey::from_seed(&seed))
}

impl Epoch {
    /// Begins with two new keys.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn first(number: u64) -> io::Result<Self> {
        Ok(Self { number, current: generate()?, next: generate()? })
    }

    /// Goes on to the next epoch.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn advance(self) -> io::Result<Self> {
        Ok(Self { number: self.number + 1, current: self.next, next: generate()? })
    }

    /// Returns the public halves.
    #[must_use]
    pub fn public(&self) -> EpochKeys {
        EpochKeys { epoch: self.number, current: self.current.public(), next: self.next.public() }
    }

    fn text(&self) -> String {
        let seed = |key: &SecretKey| STANDARD.encode(key.seed());
        let lines = format!(
            "{EPOCH_MAGIC}\nepoch {:020}\ncurrent {}\nnext {}\n",
            self.number,
            seed(&self.current),
            seed(&self.next)
        );
        format!("{lines}check {}\n", check(&lines))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut value = |prefix: &str| lines.next()?.strip_prefix(prefix);
        if !value(EPOCH_MAGIC)?.is_empty() {
            return None;
        }
        let number = value("epoch ")?.parse().ok()?;
        let epoch = Self { number, current: seed_key(value("current ")?)?, next: seed_key(value("next ")?)? };
        // Every byte is as it would be written: a torn file is none.
        (epoch.text() == text).then_some(epoch)
    }
}

fn check(lines: &str) -> Hash {
    Hash::from_bytes(Sha256::digest(lines).into())
}

fn seed_key(text: &str) -> Option<SecretKey> {
    let seed: [u8; 32] = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(SecretKey::from_seed(&seed))
}

/// The keys of a ledger, held by their lock.
#[derive(Debug)]
pub struct EpochFile {
    file: File,
    path: PathBuf,
}

impl EpochFile {
    /// Reads the keys; nothing where they are damaged or were never written.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read(&self) -> Result<Option<Epoch>, LedgerError> {
        let text = read_text(&self.file).map_err(|error| LedgerError::from_io(&self.path, error))?;
        Ok(Epoch::parse(&text))
    }

    /// Overwrites the keys in place, and syncs them.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, epoch: &Epoch) -> Result<(), LedgerError> {
        let text = epoch.text();
        self.file
            .write_all_at(text.as_bytes(), 0)
            .and_then(|()| self.file.set_len(text.len() as u64))
            .and_then(|()| self.file.sync_data())
            .map_err(|error| LedgerError::from_io(&self.path, error))
    }
}

fn read_text(file: &File) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read_at(room, length as u64)? {
            0 => break,
            got => length += got,
        }
    }
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}

impl Keys {
    /// Names the folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Reads the identity key; makes it, with the folder, where there is none.
    ///
    /// # Errors
    /// It can't be read or made, or what stands in its place is no key.
    pub fn identity_or_new(&self) -> Result<SecretKey, LedgerError> {
        let explain = |error: rustix::io::Errno| LedgerError::from_io(&self.0, error.into());
        match rustix::fs::mkdir(&self.0, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(explain(error)),
        }
        if let Some(key) = self.identity()? {
            return Ok(key);
        }
        let path = self.0.join(IDENTITY);
        let failed = |error: io::Error| LedgerError::from_io(&path, error);
        let key = generate().map_err(failed)?;
        // A name that nobody else takes.
        let public: String = key.public().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let temporary = self.0.join(format!(".{IDENTITY}-{public}"));
        let text = format!("{IDENTITY_MAGIC}\nseed {}\n", STANDARD.encode(key.seed()));
        aegis_sys::files::write_atomic(&temporary, text.as_bytes()).map_err(failed)?;
        // Of several that begin at once, the first is the one.
        let linked = rustix::fs::linkat(CWD, &temporary, CWD, &path, AtFlags::empty());
        drop(std::fs::remove_file(&temporary));
        match linked {
            Ok(()) => Ok(key),
            Err(rustix::io::Errno::EXIST) => {
                self.identity()?.ok_or_else(|| LedgerError::NoIdentity(path.clone()))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Reads the identity key; nothing where there is none.
    ///
    /// # Errors
    /// It can't be read, or what stands in its place is no key.
    pub fn identity(&self) -> Result<Option<SecretKey>, LedgerError> {
        let path = self.0.join(IDENTITY);
        let mut text = String::new();
        match open(&path, OFlags::RDONLY) {
            Ok(file) => file
                .take(FILE_MAX)
                .read_to_string(&mut text)
                .map_err(|error| LedgerError::from_io(&path, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LedgerError::from_io(&path, error)),
        };
        let seed = text.strip_prefix(IDENTITY_MAGIC).and_then(|rest| rest.strip_prefix("\nseed "));
        match seed.and_then(|seed| seed_key(seed.strip_suffix('\n')?)) {
            Some(key) => Ok(Some(key)),
            None => Err(LedgerError::BadKey(path)),
        }
    }

    /// Returns where the identity key is.
    #[must_use]
    pub fn identity_path(&self) -> PathBuf {
        self.0.join(IDENTITY)
    }

    fn epoch_path(&self, origin: &Origin) -> PathBuf {
        self.0.join(format!("{}.epoch", origin.digits()))
    }

    /// Opens the keys of a ledger for sealing; makes the file where there is none.
    ///
    /// # Errors
    /// It can't be opened, or somebody holds its lock for longer than that.
    pub fn epoch(&self, origin: &Origin, patience: Duration) -> Result<EpochFile, LedgerError> {
        let path = self.epoch_path(origin);
        let explain = |error| LedgerError::from_io(&path, error);
        let file = open(&path, OFlags::RDWR | OFlags::CREATE).map_err(explain)?;
        if lock(&file, patience).map_err(explain)? {
            Ok(EpochFile { file, path })
        } else {
            Err(LedgerError::Locked(path))
        }
    }

    /// Syncs the folder, so that a new file in it survives a loss of power.
    ///
    /// # Errors
    /// That of `fsync(2)`.
    pub fn sync(&self) -> Result<(), LedgerError> {
        File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| LedgerError::from_io(&self.0, error))
    }

    /// Reads the public halves of the keys of a ledger; nothing where there are none, or none that can be read.
    #[must_use]
    pub fn epoch_public(&self, origin: &Origin) -> Option<EpochKeys> {
        let file = open(&self.epoch_path(origin), OFlags::RDONLY).ok()?;
        Some(Epoch::parse(&read_text(&file).ok()?)?.public())
    }
}

/// Waits for the lock of a file: another writer holds it for as long as its seal takes. Says whether it was had.
fn lock(file: &File, patience: Duration) -> io::Result<bool> {
    let until = monotonic_us() + u64::try_from(patience.as_micros()).unwrap_or(u64::MAX / 2);
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) if monotonic_us() < until => {
                // A wait that is interrupted is a short one.
                let _ = rustix::event::poll(&mut [], Some(&LOOK));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How often is looked whether a lock can be had.
const LOOK: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 500_000 };

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into();
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path().join("keys"));
        assert!(keys.identity().unwrap().is_none());
        let made = keys.identity_or_new().unwrap();
        assert_eq!(keys.identity_or_new().unwrap().seed(), made.seed());
        let first = Epoch::first(1).unwrap();
        let origin = Origin::of(&made.public(), &first.current.public());
        assert!(keys.epoch_public(&origin).is_none());
        let file = keys.epoch(&origin, Duration::ZERO).unwrap();
        assert!(matches!(keys.epoch(&origin, Duration::from_millis(1)), Err(LedgerError::Locked(_))));
        assert!(file.read().unwrap().is_none());
        file.write(&first).unwrap();
        assert_eq!(file.read().unwrap().unwrap().public(), first.public());
        let next = first.next.public();
        let second = first.advance().unwrap();
        assert_eq!((second.number, second.current.public()), (2, next));
        file.write(&second).unwrap();
        assert_eq!(keys.epoch_public(&origin), Some(second.public()));
        // Nothing of the mode is left to the mask.
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            |name: &str| folder.path().join("keys").join(name).metadata().unwrap().permissions().mode();
        assert_eq!((mode("identity") & 0o777, mode(".") & 0o777), (0o600, 0o700));
    }

    #[test]
    fn a_torn_file_holds_no_keys() {
        let epoch = Epoch::first(7).unwrap();
        let text = epoch.text();
        assert!(Epoch::parse(&text).is_some());
        for end in 0..text.len() {
            assert!(Epoch::parse(text.get(..end).unwrap()).is_none());
        }
        assert!(Epoch::parse(&text.replace("07\n", "08\n")).is_none());
        assert!(Epoch::parse(&format!("{text}x")).is_none());
    }
}
