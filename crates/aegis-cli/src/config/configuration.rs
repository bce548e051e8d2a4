//! A configuration: its settings with paths made absolute and what is not written filled in.

use std::path::{Path, PathBuf};

use aegis_policy::AllowedHost;
use aegis_types::AgentName;

use super::choices::{Isolation, Observer};
use super::mistake::{self, Mistake};
use super::secret::KeptSecret;
use super::settings::{Alert, Channel, Pilot, Written};
use super::show::Lines;
use super::{file, keys, parse};
use crate::error::CliError;
use crate::home::user_home;

/// A configuration.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// Its name.
    pub(crate) name: AgentName,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The directory whose files' former contents are kept, where it is set.
    pub(crate) sandbox_dir: Option<PathBuf>,
    /// Policy files, and folders of them.
    pub(crate) policy_paths: Vec<PathBuf>,
    /// Its ledger.
    pub(crate) ledger: PathBuf,
    /// Hosts that the agent may connect to, beside what policies permit.
    pub(crate) allowed_network: Vec<AllowedHost>,
    /// How the kernel enforces policies.
    pub(crate) isolation: Isolation,
    /// How the agent is observed.
    pub(crate) observer: Observer,
    /// How the agent is supervised.
    pub(crate) pilot: Pilot,
    /// Who is told of what.
    pub(crate) alerts: Vec<Alert>,
    /// Where requests can be seen and answered from afar.
    pub(crate) channel: Option<Channel>,
    /// The file.
    pub(crate) file: PathBuf,
    /// On which line of it each key stands.
    pub(crate) lines: Lines,
}

impl Configuration {
    /// Reads the settings file of a configuration in its folder.
    pub(crate) fn read(path: &Path, folder: &Path) -> Result<Self, CliError> {
        let missing = || CliError::failed(format!("{} can't be read: it is not there", path.display()));
        Self::parse(path, &file::read(path)?.ok_or_else(missing)?.text, folder)
    }

    /// Reads the text of a settings file that is or will be in a configuration's folder.
    pub(crate) fn parse(path: &Path, text: &str, folder: &Path) -> Result<Self, CliError> {
        let (written, lines): (Written, Lines) = parse(path, text, &keys::CONFIGURATION)?;
        if folder.file_name().is_some_and(|folder| folder != written.name.as_str()) {
            let what = format!("`name` is `{}`, the folder has another", written.name);
            let span = lines.value("name").unwrap_or(0..0);
            let error = mistake::error(path, text, vec![Mistake::new(span, what.clone())]);
            return Err(error.unwrap_or_else(|| CliError::failed(what)).hint("they must be the same"));
        }
        let absolute = |path: &Path| resolve(folder, path);
        let mut pilot = written.pilot;
        for path in [&mut pilot.control.tls_cert, &mut pilot.control.tls_key].into_iter().flatten() {
            *path = absolute(path);
        }
        if let Some(KeptSecret::File { file }) = &mut pilot.control.api_key {
            *file = absolute(file);
        }
        Ok(Self {
            name: written.name,
            folder: folder.to_path_buf(),
            sandbox_dir: written.sandbox_dir.as_deref().map(absolute),
            policy_paths: match written.policy_paths {
                Some(paths) => paths.iter().map(|path| absolute(path)).collect(),
                None => vec![folder.join("policies")],
            },
            ledger: match written.ledger_path {
                Some(path) => one_name(&absolute(&path)),
                None => folder.join("audit.db"),
            },
            allowed_network: written.allowed_network.into_iter().map(|host| host.0).collect(),
            isolation: written.isolation,
            observer: written.observer,
            pilot,
            alerts: written.alerts,
            channel: written.channel,
            file: path.to_path_buf(),
            lines,
        })
    }
}

/// Returns the name of a file in a folder whose links are resolved: one ledger has one name.
fn one_name(path: &Path) -> PathBuf {
    match (path.parent().and_then(|folder| std::fs::canonicalize(folder).ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}

/// Makes a path of a settings file absolute: `~` is the user's home, the rest is relative to the file.
fn resolve(folder: &Path, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), user_home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder.join(path),
    }
}
