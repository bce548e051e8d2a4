//! The Aegis home: where everything is kept, who may write to it, and what is in it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aegis_ledger::{Custody, Ledger, recovery};
use aegis_proof::TrustRoot;
use aegis_types::AgentName;
use rustix::fs::Mode;

use crate::config::{Configuration, Global, ORGANISATION, Organisation};
use crate::error::CliError;

/// An Aegis home, checked.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Finds the home: the option, else `$AEGIS_HOME`, else `~/.aegis`. It need not be there yet.
    pub(crate) fn find(option: Option<PathBuf>) -> Result<Self, CliError> {
        let given = option.or_else(|| environment("AEGIS_HOME").map(PathBuf::from));
        let root = match given {
            Some(root) => root,
            None => user_home()
                .ok_or_else(|| {
                    CliError::failed("HOME is not set, so there is no Aegis home")
                        .hint("give one with --home DIR")
                })?
                .join(".aegis"),
        };
        let root = std::path::absolute(&root)
            .map_err(|e| CliError::failed(format!("{} can't be used as a home: {e}", root.display())))?;
        // Links are resolved once, here: one folder has one name from then on.
        let resolved = match (std::fs::canonicalize(&root), root.parent(), root.file_name()) {
            (Ok(resolved), ..) => Some(resolved),
            (Err(_), Some(parent), Some(name)) => {
                std::fs::canonicalize(parent).ok().map(|parent| parent.join(name))
            }
            _ => None,
        };
        let home = Self { root: resolved.unwrap_or(root) };
        if home.root.exists() {
            check_private(&home.root)?;
        }
        Ok(home)
    }

    /// Makes the home and the folder of live sessions, if they are not there.
    pub(crate) fn create(&self) -> Result<(), CliError> {
        make_private(&self.root)?;
        make_private(&self.run())
    }

    /// Returns where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of live sessions.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Returns the folder of a configuration.
    pub(crate) fn folder(&self, name: &AgentName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Returns the file of the global settings.
    pub(crate) fn global_path(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Returns the settings file of a configuration.
    pub(crate) fn settings_path(&self, name: &AgentName) -> PathBuf {
        self.folder(name).join("aegis.toml")
    }

    /// Reads the global settings.
    pub(crate) fn global(&self) -> Result<Global, CliError> {
        Global::read(&self.global_path())
    }

    /// Makes a configuration the active one.
    pub(crate) fn set_active(&self, name: &AgentName) -> Result<(), CliError> {
        self.create()?;
        Global::set_active(&self.global_path(), name)
    }

    /// Lists the configurations, by name.
    pub(crate) fn names(&self) -> Result<Vec<AgentName>, CliError> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CliError::failed(format!("{}: {error}", self.root.display()))),
        };
        let mut names: Vec<AgentName> = entries
            .flatten()
            .filter_map(|entry| AgentName::new(entry.file_name().to_str()?).ok())
            .filter(|name| is_there(&self.settings_path(name)))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Returns a configuration that is there.
    pub(crate) fn configuration(&self, name: &AgentName) -> Result<Configuration, CliError> {
        let folder = self.there(name)?;
        Configuration::read(&self.settings_path(name), &folder)
    }

    /// Returns the folder of a configuration that is there, whether its settings can be read or not.
    fn there(&self, name: &AgentName) -> Result<PathBuf, CliError> {
        let folder = self.folder(name);
        if !is_there(&self.settings_path(name)) {
            let known = self.names()?;
            let list: Vec<&str> = known.iter().map(AgentName::as_str).collect();
            let hint = if list.is_empty() {
                "there is none yet: `aegis wrap -- CMD` makes one".to_owned()
            } else {
                format!("there are: {}", list.join(", "))
            };
            return Err(CliError::not_found(format!(
                "there is no configuration `{name}` in {}",
                self.root.display()
            ))
            .hint(hint));
        }
        check_private(&folder)?;
        Ok(folder)
    }

    /// Makes the folder of a configuration, if it is not there.
    pub(crate) fn make_folder(&self, name: &AgentName) -> Result<PathBuf, CliError> {
        let folder = self.folder(name);
        make_private(&folder)?;
        Ok(folder)
    }

    /// Returns a configuration; makes it, with the least settings, where it is not there.
    pub(crate) fn configuration_or_new(&self, name: &AgentName) -> Result<Configuration, CliError> {
        self.create()?;
        let folder = self.folder(name);
        make_private(&folder)?;
        let path = self.settings_path(name);
        if !is_there(&path) {
            let text = format!("name = \"{name}\"\n");
            aegis_sys::files::write_atomic(&path, text.as_bytes())
                .map_err(|e| CliError::failed(format!("{} can't be written: {e}", path.display())))?;
        }
        self.configuration(name)
    }

    /// Returns the configuration that is meant: the one named, else the active one, else that of the latest
    /// session.
    pub(crate) fn meant(&self, name: Option<&AgentName>) -> Result<Configuration, CliError> {
        if let Some(name) = name {
            return self.configuration(name);
        }
        if let Some(active) = self.global()?.active {
            return self.configuration(&active);
        }
        let mut latest = None::<(std::time::SystemTime, AgentName)>;
        for name in self.names()? {
            let ledger = self.configuration(&name)?.ledger;
            // The log is written at each commit; the file itself only now and then.
            let mut log = ledger.clone().into_os_string();
            log.push("-wal");
            let changed = [PathBuf::from(log), ledger]
                .iter()
                .filter_map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
                .max();
            if let Some(changed) = changed
                && latest.as_ref().is_none_or(|(time, _)| changed > *time)
            {
                latest = Some((changed, name));
            }
        }
        match latest {
            Some((_, name)) => self.configuration(&name),
            None => Err(CliError::not_found(format!("there is no session yet in {}", self.root.display()))
                .hint("`aegis wrap -- CMD` runs and records a command")),
        }
    }

    /// Returns the name of the configuration that is meant; its settings need not be readable where it is named
    /// or active.
    pub(crate) fn meant_name(&self, name: Option<&AgentName>) -> Result<AgentName, CliError> {
        let active = if name.is_none() { self.global()?.active } else { None };
        match name.or(active.as_ref()) {
            Some(name) => self.there(name).map(|_| name.clone()),
            None => Ok(self.meant(None)?.name),
        }
    }

    /// Takes in what dead sessions have left for a ledger.
    pub(crate) fn recover(&self, ledger: &Path) -> Result<(), CliError> {
        recovery::recover(&self.run(), ledger, &self.custody(ledger)?).map(drop).map_err(CliError::from)
    }

    /// Returns what this home keeps beside a ledger.
    pub(crate) fn custody(&self, ledger: &Path) -> Result<Custody, CliError> {
        let mut anchors = self.global()?.anchors;
        anchors.extend(Organisation::read(Path::new(ORGANISATION))?.anchors);
        Ok(Custody::of(&self.root, ledger, anchors))
    }

    /// Returns the trust roots of the home's ledgers, by configuration; damaged ledgers have none.
    pub(crate) fn trust_roots(&self) -> Result<Vec<(AgentName, TrustRoot)>, CliError> {
        let root = |name: AgentName| {
            let ledger = Ledger::open_to_read(&self.configuration(&name).ok()?.ledger).ok()?;
            Some((name, ledger.trust_root().ok()?))
        };
        Ok(self.names()?.into_iter().filter_map(root).collect())
    }
}

/// Returns a variable of the environment that is not empty.
pub(crate) fn environment(name: &str) -> Option<std::ffi::OsString> {
    set_in_environment(name).filter(|value| !value.is_empty())
}

/// Returns a variable of the environment.
#[expect(clippy::disallowed_methods, reason = "this is the one crate that reads the environment")]
pub(crate) fn set_in_environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// Returns the user's home.
pub(crate) fn user_home() -> Option<PathBuf> {
    environment("HOME").map(PathBuf::from)
}

/// Returns a user's name and home, as `passwd(5)` has them.
pub(crate) fn passwd(uid: u32) -> Option<(String, PathBuf)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, id, _, _, home, _] = fields.as_slice() else { return None };
        (id.parse() == Ok(uid)).then(|| ((*name).to_owned(), PathBuf::from(home)))
    })
}

/// Says whether there is anything of this name, a link that leads nowhere included.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Makes a folder that only the user can enter, or checks that it is one.
pub(crate) fn make_private(path: &Path) -> Result<(), CliError> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        // The mask of modes may have taken some of it away.
        Ok(()) => rustix::fs::chmod(path, Mode::RWXU)
            .map_err(|error| CliError::failed(format!("{} can't be made: {error}", path.display()))),
        Err(rustix::io::Errno::EXIST) => check_private(path),
        Err(error) => Err(CliError::failed(format!("{} can't be made: {error}", path.display()))),
    }
}

/// Refuses a folder that others can write to or that belongs to somebody else.
fn check_private(path: &Path) -> Result<(), CliError> {
    let meta = std::fs::metadata(path).map_err(|e| CliError::failed(format!("{}: {e}", path.display())))?;
    if !meta.is_dir() {
        return Err(CliError::failed(format!("{} is no directory", path.display())).hint("move it away"));
    }
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Err(CliError::failed(format!(
            "{} belongs to user {}, not to you",
            path.display(),
            meta.uid()
        ))
        .hint(format!("sudo chown -R {me} {}", path.display())));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(CliError::failed(format!("others can write to {}", path.display()))
            .hint(format!("chmod go-w {}", path.display())));
    }
    Ok(())
}
