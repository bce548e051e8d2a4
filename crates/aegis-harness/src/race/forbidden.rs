//! The forbidden directory, as seen from outside the sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, lgetxattr, llistxattr, open};

use super::{ESCAPED, NAMES, SECRET, exit_program};

/// The name of the forbidden program.
pub(super) const PROGRAM: &str = "program";

/// Returns the name of a forbidden file.
pub(super) fn victim(number: usize) -> String {
    format!("victim-{number:02}")
}

/// Makes the directory `path` with what the races are about: the files `victim-00` to `victim-99`, which begin
/// with [`SECRET`], and a `program` that ends with [`ESCAPED`]. All belong to the caller.
///
/// # Errors
///
/// Fails where something can't be made, or is there already.
pub fn prepare_forbidden(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    for number in 0..NAMES {
        make(&path.join(victim(number)), &[SECRET, b" of the forbidden side\n"].concat(), 0o644)?;
    }
    make(&path.join(PROGRAM), &exit_program(ESCAPED), 0o755)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn make(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    // Long ago: then the first read shows in the time of access, also where that is kept lazily (`relatime`).
    let then = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_times(FileTimes::new().set_accessed(then).set_modified(then))
}

/// What is to be known of a file, by what it is called.
type Facts = BTreeMap<&'static str, String>;

/// A directory and its entries as they were.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    entries: BTreeMap<OsString, Facts>,
}

impl Snapshot {
    /// Looks at everything there is to see of the directory `path` and its entries, without a trace.
    ///
    /// # Errors
    ///
    /// Fails where the directory can't be listed or an entry not be looked at.
    pub fn take(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), entries: look(path)? })
    }

    /// Returns every difference between how it was and how it is, in words.
    ///
    /// Times tell more than they seem to: every change of a file changes its time of change, which nobody can
    /// set, and a read of a file its time of access, where the file system keeps that.
    ///
    /// # Errors
    ///
    /// Fails where the directory can't be listed or an entry not be looked at.
    pub fn differences(&self) -> io::Result<Vec<String>> {
        let now = look(&self.path)?;
        let names: BTreeSet<_> = self.entries.keys().chain(now.keys()).collect();
        let mut differences = Vec::new();
        for name in names {
            let shown = name.display();
            match (self.entries.get(name), now.get(name)) {
                (Some(before), Some(after)) => {
                    let both: BTreeSet<_> = before.keys().chain(after.keys()).collect();
                    for what in both.into_iter().filter(|what| before.get(*what) != after.get(*what)) {
                        let side = |facts: &Facts| facts.get(what).cloned().unwrap_or_default();
                        differences.push(format!("`{shown}`: {what} {} -> {}", side(before), side(after)));
                    }
                }
                (Some(_), None) => differences.push(format!("`{shown}` is gone")),
                (None, _) => differences.push(format!("`{shown}` is new")),
            }
        }
        Ok(differences)
    }
}

fn look(path: &Path) -> io::Result<BTreeMap<OsString, Facts>> {
    let mut entries = BTreeMap::from([(OsString::from("."), facts(path)?)]);
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        entries.insert(entry.file_name(), facts(&entry.path())?);
    }
    Ok(entries)
}

fn facts(path: &Path) -> io::Result<Facts> {
    let meta = fs::symlink_metadata(path)?;
    let mut facts = Facts::from([
        ("mode", format!("{:o}", meta.mode())),
        ("owner", format!("{}:{}", meta.uid(), meta.gid())),
        ("links", meta.nlink().to_string()),
        ("size", meta.size().to_string()),
        ("inode", meta.ino().to_string()),
        ("time of modification", format!("{}.{:09}", meta.mtime(), meta.mtime_nsec())),
        ("time of change", format!("{}.{:09}", meta.ctime(), meta.ctime_nsec())),
        ("attributes", attributes(path)),
    ]);
    if meta.is_file() {
        facts.insert("time of access", format!("{}.{:09}", meta.atime(), meta.atime_nsec()));
        let content = content(path).map_or_else(|error| error.to_string(), |bytes| shown(&bytes));
        facts.insert("content", content);
    }
    Ok(facts)
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::CLOEXEC;
    let mut bytes = Vec::new();
    File::from(open(path, flags, Mode::empty())?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the extended attributes of a file, or why there are none.
fn attributes(path: &Path) -> String {
    let (mut names, mut value) = ([0; 4096], [0; 4096]);
    let names = match llistxattr(path, &mut names) {
        Ok(length) => names.get(..length).unwrap_or_default(),
        Err(error) => return error.to_string(),
    };
    let mut all = String::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let value = match lgetxattr(path, name, &mut value) {
            Ok(length) => shown(value.get(..length).unwrap_or_default()),
            Err(error) => error.to_string(),
        };
        all += &format!("{}={value} ", shown(name));
    }
    all
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
