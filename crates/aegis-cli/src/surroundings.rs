//! What an agent of `run` finds around it: an environment without secrets, a temporary directory of its own, caches that
//! nobody else uses.

mod git;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use aegis_types::SessionId;

use crate::config::Configuration;
use crate::error::CliError;
use crate::home::{environment as variable, make_private, set_in_environment};
use crate::tools::Tools;

/// Variables that are handed down. What is not here could hold a secret, or name code that a program loads.
const HANDED_DOWN: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "COLORTERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_ADDRESS",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
    "TZ",
    "COLUMNS",
    "LINES",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "CI",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "NVM_DIR",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "GOROOT",
    "JAVA_HOME",
    "VIRTUAL_ENV",
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
    "SOURCE_DATE_EPOCH",
];

/// Variables that say where a package manager keeps what it fetched or installed for the user, and the folder of the
/// cache that is.
const CACHES: &[(&str, &str)] = &[
    ("XDG_CACHE_HOME", "xdg"),
    ("CARGO_HOME", "cargo"),
    ("npm_config_cache", "npm"),
    ("PIP_CACHE_DIR", "pip"),
    ("PYTHONUSERBASE", "python"),
    ("GOPATH", "go"),
    ("GOCACHE", "go-build"),
    ("GOMODCACHE", "go-mod"),
    ("GOTMPDIR", "go-tmp"),
];

/// The temporary directory of a session that is not there yet: it goes with this, unless it is kept.
pub(crate) struct OwnTmp {
    path: PathBuf,
    kept: bool,
}

impl OwnTmp {
    /// Makes it.
    pub(crate) fn make(id: SessionId) -> Result<Self, CliError> {
        let place = variable("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let failed = |path: &Path, error: &dyn std::fmt::Display| {
            CliError::failed(format!("no temporary directory can be made in {}: {error}", path.display()))
                .hint("set TMPDIR to a directory that you can write to")
        };
        let place = std::fs::canonicalize(&place).map_err(|error| failed(&place, &error))?;
        let path = place.join(format!("aegis-{id}"));
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkdir(&path, mode).map_err(|error| failed(&place, &error))?;
        Ok(Self { path, kept: false })
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves its end to the session.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.kept = true;
        std::mem::take(&mut self.path)
    }
}

impl Drop for OwnTmp {
    fn drop(&mut self) {
        if !self.kept {
            // What stays harms nobody.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// Returns the folder of a configuration's own caches.
pub(crate) fn caches(folder: &Path) -> PathBuf {
    folder.join("sandbox").join("cache")
}

/// Makes a folder in what agents can write to: one of them may have put a link in its place.
fn make_own(path: &Path) -> Result<(), CliError> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
        return Err(CliError::failed(format!("{} is a link, which Aegis never made", path.display()))
            .hint("an agent may have put it there: remove it"));
    }
    make_private(path)
}

/// Returns the environment of an agent, as `NAME=value`: with what its tools read.
pub(crate) fn environment(
    configuration: &Configuration,
    tmp: &Path,
    start_in: &Path,
    tools: &Tools,
) -> Result<Vec<CString>, CliError> {
    let read: BTreeSet<&str> = tools.all().flat_map(|tool| tool.variables).copied().collect();
    let names =
        HANDED_DOWN.iter().copied().chain(read.into_iter().filter(|name| !HANDED_DOWN.contains(name)));
    let mut all: Vec<(String, OsString)> =
        names.filter_map(|name| Some((name.to_owned(), set_in_environment(name)?))).collect();
    let set: BTreeMap<&str, &str> = tools.all().flat_map(|tool| tool.set).copied().collect();
    all.extend(set.into_iter().map(|(name, value)| (name.to_owned(), value.into())));
    let mut set = |name: &str, value: &Path| all.push((name.to_owned(), value.as_os_str().to_owned()));
    for name in ["TMPDIR", "TMP", "TEMP"] {
        set(name, tmp);
    }
    set("PWD", start_in);
    set("GIT_CONFIG_GLOBAL", &git_settings(tmp)?);
    let caches = caches(&configuration.folder);
    make_own(&configuration.folder.join("sandbox"))?;
    make_own(&caches)?;
    for (name, folder) in CACHES {
        let folder = caches.join(folder);
        make_own(&folder)?;
        set(name, &folder);
    }
    let line = |(name, value): (String, OsString)| {
        let bytes = [name.as_bytes(), b"=", &value.into_vec()].concat();
        CString::new(bytes).map_err(|_| CliError::failed("a variable of the environment has a zero byte"))
    };
    all.into_iter().map(line).collect()
}

/// Writes the settings that git takes for the user's: into the session's own directory, where nobody else has put
/// anything yet. The agent may change them, for itself.
fn git_settings(tmp: &Path) -> Result<PathBuf, CliError> {
    let write = |name: &str, content: &[u8]| {
        let path = tmp.join(name);
        aegis_sys::files::write_plain(&path, content)
            .map_err(|error| CliError::failed(format!("{} can't be written: {error}", path.display())))?;
        Ok::<_, CliError>(path)
    };
    let settings = git::Settings::of_user();
    let ignore = match settings.ignored() {
        Some(names) => write("gitignore", &names)?,
        None => PathBuf::from("/dev/null"),
    };
    write("gitconfig", settings.text(&ignore.to_string_lossy()).as_bytes())
}
