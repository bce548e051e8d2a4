//! The policy files of a session: where they are, reading them, and noticing that they changed.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aegis_policy::source::{FILE_MAX, STACK};
use aegis_policy::{Origin, Policies, Problem, Source};
use aegis_sys::files::{Unread, read_plain};

/// The most files of one folder.
pub const FILES_MAX: usize = 1_000;

/// The most bytes of all files together.
pub const BYTES_MAX: usize = 16 << 20;

/// Where a session's policies come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// The organisation's folder; nothing where there can be none. Only root may write to it.
    pub organisation: Option<PathBuf>,
    /// Folders and files of the configuration. The user and root may write to them, nobody else.
    pub places: Vec<PathBuf>,
    /// A place that need not be there.
    pub default_place: Option<PathBuf>,
    /// Texts that stand in no file of their own.
    pub texts: Vec<Source>,
}

/// Why a policy file was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// Why there is no policy set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// A file can't be read.
    Unreadable(Unreadable),
    /// What the files say is wrong.
    Wrong(Vec<Problem>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Unreadable(error) => error.fmt(f),
            LoadError::Wrong(problems) => {
                for (index, problem) in problems.iter().take(TOLD_MAX).enumerate() {
                    write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
                }
                match problems.len().saturating_sub(TOLD_MAX) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

/// How many problems are told in one line.
const TOLD_MAX: usize = 5;

/// Says whether there is any policy of what the agent may do: hosts alone are none.
#[must_use]
pub fn has_policies(sources: &[Source]) -> bool {
    sources.iter().any(|source| source.origin != Origin::Settings)
}

/// Does work on policies with as much stack as it can need, whatever the caller's own limit is.
pub fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("policies".into()).stack_size(STACK);
        match thread.spawn_scoped(scope, work) {
            Ok(thread) => match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            },
            // Without another thread the session could not be observed either.
            Err(error) => std::panic::resume_unwind(Box::new(error.to_string())),
        }
    })
}

/// What tells that files have changed: for each, where it is and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<(PathBuf, Option<[u64; 6]>)>);

impl PolicyFiles {
    /// Reads all that is there, the organisation's first.
    ///
    /// # Errors
    /// A file can't be read, is none, is too large, is not UTF-8, or others can write to it.
    pub fn read(&self) -> Result<Vec<Source>, Unreadable> {
        let mut sources = Vec::new();
        if let Some(folder) = &self.organisation {
            let reader = Reader { origin: Origin::Organisation, owners: vec![0] };
            reader.folder(folder, &mut sources, true)?;
        }
        let me = rustix::process::geteuid().as_raw();
        let reader = Reader { origin: Origin::Configuration, owners: vec![me, 0] };
        if let Some(folder) = &self.default_place {
            reader.folder(folder, &mut sources, true)?;
        }
        for place in &self.places {
            if place.is_dir() {
                reader.folder(place, &mut sources, false)?;
            } else {
                sources.push(reader.file(place)?);
            }
        }
        sources.extend(self.texts.iter().cloned());
        Ok(sources)
    }

    /// Reads and parses all that is there. It is not validated.
    ///
    /// # Errors
    /// As [`PolicyFiles::read`], or a file does not parse.
    pub fn load(&self) -> Result<Policies, LoadError> {
        Policies::parse(self.read().map_err(LoadError::Unreadable)?).map_err(LoadError::Wrong)
    }

    /// Returns what changes when a file does.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let mut stamp = Vec::new();
        let places = self.organisation.iter().chain(&self.default_place).chain(&self.places);
        for place in places {
            stamp.push((place.clone(), mark(place)));
            for file in list(place).unwrap_or_default() {
                let mark = mark(&file);
                stamp.push((file, mark));
            }
        }
        Stamp(stamp)
    }
}

fn mark(path: &Path) -> Option<[u64; 6]> {
    let meta = std::fs::metadata(path).ok()?;
    let time = |seconds: i64, nanos: i64| seconds.cast_unsigned().rotate_left(30) ^ nanos.cast_unsigned();
    Some([
        meta.dev(),
        meta.ino(),
        meta.size(),
        u64::from(meta.mode()) << 32 | u64::from(meta.uid()),
        time(meta.mtime(), meta.mtime_nsec()),
        time(meta.ctime(), meta.ctime_nsec()),
    ])
}

/// Lists the policy files of a folder, by name.
fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "cedar") && !is_hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

struct Reader {
    origin: Origin,
    /// Who may own what is read.
    owners: Vec<u32>,
}

impl Reader {
    fn folder(&self, folder: &Path, sources: &mut Vec<Source>, or_nothing: bool) -> Result<(), Unreadable> {
        let unreadable = |why: String| Unreadable { path: folder.to_owned(), why, hint: None };
        let meta = match std::fs::metadata(folder) {
            Ok(meta) => meta,
            Err(error) if or_nothing && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(format!("it can't be read: {error}"))),
        };
        if !meta.is_dir() {
            return Err(unreadable("it is no directory".to_owned()));
        }
        self.check(folder, &meta)?;
        let files = list(folder).map_err(|error| unreadable(format!("it can't be read: {error}")))?;
        if files.len() > FILES_MAX {
            return Err(unreadable(format!("it has more than {FILES_MAX} policy files")));
        }
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // A name is a line of what is hashed, and is shown.
            if name.chars().any(char::is_control) {
                return Err(unreadable(format!(
                    "the name of a policy file, {name:?}, has a control character"
                )));
            }
            sources.push(self.file(&file)?);
            if sources.iter().map(|source| source.text.len()).sum::<usize>() > BYTES_MAX {
                return Err(unreadable(format!(
                    "all policy files together have more than {BYTES_MAX} bytes"
                )));
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path) -> Result<Source, Unreadable> {
        let unreadable = |why: String| Unreadable { path: path.to_owned(), why, hint: None };
        let (bytes, meta) = match read_plain(path, FILE_MAX as u64) {
            Ok(found) => found,
            Err(Unread::Failed(error)) => return Err(unreadable(format!("it can't be read: {error}"))),
            Err(Unread::NotPlain) => return Err(unreadable("it is no plain file".to_owned())),
            Err(Unread::TooLarge) => {
                return Err(unreadable(format!("it has more than {FILE_MAX} bytes, which is the most")));
            }
        };
        self.check(path, &meta)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
            unreadable(format!("line {line}, byte {valid} of the file, is not UTF-8"))
        })?;
        Ok(Source { origin: self.origin, path: path.display().to_string(), text })
    }

    /// Refuses what others than its owner can write to.
    fn check(&self, path: &Path, meta: &std::fs::Metadata) -> Result<(), Unreadable> {
        let refuse =
            |why: String, hint: String| Err(Unreadable { path: path.to_owned(), why, hint: Some(hint) });
        if !self.owners.contains(&meta.uid()) {
            let owner = self.owners.first().copied().unwrap_or(0);
            let whose = if owner == 0 { "root".to_owned() } else { "you".to_owned() };
            return refuse(
                format!("it belongs to user {}, not to {whose}", meta.uid()),
                format!("sudo chown {owner} {}", path.display()),
            );
        }
        if meta.mode() & 0o022 != 0 {
            return refuse(
                "others than its owner can write to it".to_owned(),
                format!("chmod go-w {}", path.display()),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn files(folder: &Path) -> PolicyFiles {
        PolicyFiles { default_place: Some(folder.to_owned()), ..PolicyFiles::default() }
    }

    fn write(path: &Path, text: &[u8]) {
        aegis_sys::files::write_atomic(path, text).unwrap();
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn files_are_read_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(files(&folder.path().join("none")).read(), Ok(Vec::new()));
        for name in ["b.cedar", "a.cedar", ".hidden.cedar", "notes.txt", "c.cedar~"] {
            write(&folder.path().join(name), name.as_bytes());
        }
        let mut all = files(folder.path());
        all.texts = vec![Source { origin: Origin::Settings, path: "s".into(), text: "s".into() }];
        let texts: Vec<String> = all.read().unwrap().into_iter().map(|source| source.text).collect();
        assert_eq!(texts, ["a.cedar", "b.cedar", "s"]);
        let missing = PolicyFiles { places: vec!["/nonexistent/x".into()], ..PolicyFiles::default() };
        assert!(missing.read().unwrap_err().why.contains("No such file"));
    }

    #[test]
    fn what_is_no_policy_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.cedar");
        let why = || {
            let why = files(folder.path()).read().unwrap_err().why;
            drop(std::fs::remove_file(&path));
            why
        };
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        assert_eq!(why(), "it is no plain file");
        std::os::unix::fs::symlink("x.cedar", &path).unwrap();
        assert!(why().contains("symbolic links"));
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(why(), "it is no plain file");
        write(&path, b"a\n\xff");
        assert_eq!(why(), "line 2, byte 2 of the file, is not UTF-8");
        write(&path, &vec![b' '; FILE_MAX]);
        assert_eq!(files(folder.path()).read().unwrap()[0].text.len(), FILE_MAX);
        write(&path, &vec![b' '; FILE_MAX + 1]);
        assert_eq!(why(), "it has more than 1048576 bytes, which is the most");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(files(folder.path()).read().unwrap_err().why, "it is no plain file");
    }

    #[test]
    fn all_files_together_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..16 {
            write(&folder.path().join(format!("{n}.cedar")), &vec![b' '; FILE_MAX]);
        }
        assert_eq!(files(folder.path()).read().unwrap().len(), 16);
        write(&folder.path().join("one.cedar"), b" ");
        assert!(files(folder.path()).read().unwrap_err().why.contains("more than 16777216 bytes"));
    }

    #[test]
    fn what_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.cedar");
        write(&path, b"");
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(files(folder.path()).read().is_ok());
        for mode in [0o620, 0o602] {
            allow(&path, mode);
            let error = files(folder.path()).read().unwrap_err();
            assert_eq!(error.hint, Some(format!("chmod go-w {}", path.display())));
        }
        allow(&path, 0o644);
        assert!(files(folder.path()).read().is_ok());
        allow(folder.path(), 0o777);
        assert!(files(folder.path()).read().unwrap_err().why.contains("others"));
        allow(folder.path(), 0o755);
        // The organisation's must be root's.
        let theirs = PolicyFiles { organisation: Some(folder.path().to_owned()), ..PolicyFiles::default() };
        match theirs.read() {
            Ok(sources) => assert!(is_root() && sources[0].origin == Origin::Organisation),
            Err(error) => assert!(!is_root() && error.why.contains("not to root"), "{error}"),
        }
    }

    #[test]
    fn a_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let path = folder.path().join("x.cedar");
        let mut stamps = vec![files.stamp()];
        write(&path, b"a");
        stamps.push(files.stamp());
        write(&path, b"b");
        stamps.push(files.stamp());
        std::fs::remove_file(&path).unwrap();
        stamps.push(files.stamp());
        assert!(stamps.windows(2).all(|two| two[0] != two[1]));
        assert_eq!(files.stamp(), files.stamp());
    }
}
