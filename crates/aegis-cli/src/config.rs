//! Settings: `config.toml` of the home, `aegis.toml` of a configuration.

use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aegis_ledger::AnchorTarget;
use aegis_types::AgentName;
use serde::Deserialize;

use crate::error::CliError;
use crate::home::user_home;

/// The largest settings file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// The home's global settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Global {
    /// The active configuration.
    pub(crate) active: Option<AgentName>,
    /// Where checkpoints are taken to.
    #[serde(default, deserialize_with = "anchors")]
    pub(crate) anchors: Vec<AnchorTarget>,
}

/// The organisation's settings, which hold for every user and can't be undone by one.
pub(crate) const ORGANISATION: &str = "/etc/aegis/aegis.toml";

/// What the organisation's settings say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Organisation {
    /// Where checkpoints are taken to, beside what the home says.
    #[serde(default, deserialize_with = "anchors")]
    pub(crate) anchors: Vec<AnchorTarget>,
}

impl Organisation {
    /// Reads the file. Only root may write to it.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let Some(text) = read(path)? else { return Ok(Self::default()) };
        let meta = std::fs::metadata(path)
            .map_err(|error| CliError::failed(format!("{} can't be read: {error}", path.display())))?;
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Err(CliError::failed(format!("{} can be written by others than root", path.display()))
                .hint(format!("sudo chown root {0} && sudo chmod go-w {0}", path.display())));
        }
        parse(path, &text)
    }
}

/// An anchor, as written: a table with one key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenAnchor {
    File(Absolute),
    Syslog(Absolute),
    Journald(Absolute),
}

/// A path that does not hang on where a command is started.
#[derive(Debug, Deserialize)]
#[serde(try_from = "PathBuf")]
struct Absolute(PathBuf);

impl TryFrom<PathBuf> for Absolute {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        if path.is_absolute() {
            return Ok(Self(path));
        }
        Err(format!("the path `{}` must be absolute", path.display()))
    }
}

fn anchors<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<AnchorTarget>, D::Error> {
    let target = |written| match written {
        WrittenAnchor::File(Absolute(path)) => AnchorTarget::File(path),
        WrittenAnchor::Syslog(Absolute(path)) => AnchorTarget::Syslog(path),
        WrittenAnchor::Journald(Absolute(path)) => AnchorTarget::Journald(path),
    };
    Ok(Vec::<WrittenAnchor>::deserialize(deserializer)?.into_iter().map(target).collect())
}

/// A configuration's file, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: AgentName,
    sandbox_dir: Option<PathBuf>,
    ledger_path: Option<PathBuf>,
}

/// A configuration, with what is not written filled in.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// Its name.
    pub(crate) name: AgentName,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The directory whose files' former contents are kept, where it is set.
    pub(crate) sandbox_dir: Option<PathBuf>,
    /// Its ledger.
    pub(crate) ledger: PathBuf,
    /// The ledger's path is written in the file.
    pub(crate) ledger_is_set: bool,
    /// The file.
    pub(crate) file: PathBuf,
}

fn read(path: &Path) -> Result<Option<String>, CliError> {
    let unreadable = |why: String| CliError::failed(format!("{} can't be read: {why}", path.display()));
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    if !meta.is_file() {
        return Err(unreadable("it is no plain file".to_owned()));
    }
    if meta.len() > FILE_MAX {
        return Err(unreadable(format!("it has {} bytes, at most {FILE_MAX} are allowed", meta.len())));
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Some(text)),
        Ok(Err(error)) => Err(unreadable(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, CliError> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| place(text, &span)).unwrap_or_default();
        CliError::failed(format!("{}{place}: {}", path.display(), error.message().trim_end()))
    })
}

/// Returns `:line:column` of a place in a text.
fn place(text: &str, span: &Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(":{line}:{column}")
}

impl Global {
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        read(path)?.map_or_else(|| Ok(Self::default()), |text| parse(path, &text))
    }

    /// Writes the active configuration; comments and order stay.
    pub(crate) fn set_active(path: &Path, name: &AgentName) -> Result<(), CliError> {
        let text = read(path)?.unwrap_or_default();
        // What can't be read is not written over.
        drop(parse::<Global>(path, &text)?);
        let mut document: toml_edit::DocumentMut =
            text.parse().map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
        let mut value = toml_edit::Value::from(name.as_str());
        match document.get_mut("active") {
            Some(item) => {
                if let Some(old) = item.as_value() {
                    // What stands around the value, a comment perhaps.
                    *value.decor_mut() = old.decor().clone();
                }
                *item = toml_edit::Item::Value(value);
            }
            None => {
                document.insert("active", toml_edit::Item::Value(value));
            }
        }
        aegis_sys::files::write_atomic(path, document.to_string().as_bytes())
            .map_err(|error| CliError::failed(format!("{} can't be written: {error}", path.display())))
    }
}

impl Configuration {
    pub(crate) fn read(path: &Path, folder: &Path) -> Result<Self, CliError> {
        let text = read(path)?.unwrap_or_default();
        let written: Written = parse(path, &text)?;
        if folder.file_name().is_some_and(|folder| folder != written.name.as_str()) {
            let message = format!("{}: `name` is `{}`, the folder has another", path.display(), written.name);
            return Err(CliError::failed(message).hint("they must be the same"));
        }
        let ledger_is_set = written.ledger_path.is_some();
        let ledger = match written.ledger_path {
            Some(path) => one_name(&resolve(folder, &path)),
            None => folder.join("audit.db"),
        };
        let sandbox_dir = written.sandbox_dir.map(|dir| resolve(folder, &dir));
        Ok(Self {
            name: written.name,
            folder: folder.to_path_buf(),
            sandbox_dir,
            ledger,
            ledger_is_set,
            file: path.to_path_buf(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_placed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aegis.toml");
        for (text, expected) in [
            (
                "name = \"a\"\nledger = \"x\"\n",
                ":2:1: unknown field `ledger`, expected one of `name`, `sandbox_dir`, `ledger_path`",
            ),
            ("name = 7\n", ":1:8: invalid type: integer `7`"),
            ("name = \"daemon\"\n", ":1:8: `daemon` is a name that the Aegis home uses itself"),
            ("x", ":1:2: "),
        ] {
            aegis_sys::files::write_atomic(&path, text.as_bytes()).unwrap();
            let error = Configuration::read(&path, folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        aegis_sys::files::write_atomic(&path, b"\xff").unwrap();
        assert!(
            Configuration::read(&path, folder.path())
                .unwrap_err()
                .to_string()
                .contains("byte 0 is not UTF-8")
        );
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        assert!(Configuration::read(&fifo, folder.path()).unwrap_err().to_string().contains("no plain file"));
    }

    #[test]
    fn comments_stay_where_the_active_name_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        aegis_sys::files::write_atomic(&path, b"# mine\nactive = \"a\" # this one\n").unwrap();
        Global::set_active(&path, &AgentName::new("b").unwrap()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# mine\nactive = \"b\" # this one\n");
        aegis_sys::files::write_atomic(&path, b"activ = 1\n").unwrap();
        assert!(Global::set_active(&path, &AgentName::new("b").unwrap()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"activ = 1\n");
    }
}
