//! The settings that are of no single configuration: the home's `config.toml`, and the organisation's file.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aegis_ledger::AnchorTarget;
use aegis_types::AgentName;
use serde::Deserialize;

use super::show::Lines;
use super::{file, keys, parse};
use crate::error::CliError;

/// The home's global settings.
#[derive(Debug, Default)]
pub(crate) struct Global {
    /// The active configuration.
    pub(crate) active: Option<AgentName>,
    /// Where checkpoints are taken to.
    pub(crate) anchors: Vec<AnchorTarget>,
    /// Where its keys stand.
    pub(crate) lines: Lines,
}

/// The organisation's settings, which hold for every user and can't be undone by one.
pub(crate) const ORGANISATION: &str = "/etc/aegis/aegis.toml";

/// What the organisation's settings say.
#[derive(Debug, Default)]
pub(crate) struct Organisation {
    /// Where checkpoints are taken to, beside what the home says.
    pub(crate) anchors: Vec<AnchorTarget>,
    /// Where its keys stand.
    pub(crate) lines: Lines,
}

/// Either file, as written: what one of them may not have, its shape refuses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    active: Option<AgentName>,
    #[serde(default)]
    anchors: Vec<WrittenAnchor>,
}

/// An anchor, as written: a table with one key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenAnchor {
    File(PathBuf),
    Syslog(PathBuf),
    Journald(PathBuf),
}

fn anchors(written: Vec<WrittenAnchor>) -> Vec<AnchorTarget> {
    let target = |written| match written {
        WrittenAnchor::File(path) => AnchorTarget::File(path),
        WrittenAnchor::Syslog(path) => AnchorTarget::Syslog(path),
        WrittenAnchor::Journald(path) => AnchorTarget::Journald(path),
    };
    written.into_iter().map(target).collect()
}

impl Organisation {
    /// Reads the file. Only root may write to it.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let Some(found) = file::read(path)? else { return Ok(Self::default()) };
        if found.meta.uid() != 0 || found.meta.mode() & 0o022 != 0 {
            return Err(CliError::failed(format!("{} can be written by others than root", path.display()))
                .hint(format!("sudo chown root {0} && sudo chmod go-w {0}", path.display())));
        }
        let (written, lines): (Written, _) = parse(path, &found.text, &keys::ORGANISATION)?;
        Ok(Self { anchors: anchors(written.anchors), lines })
    }
}

impl Global {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        file::read(path)?.map_or_else(|| Ok(Self::default()), |found| Self::parse(path, &found.text))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, CliError> {
        let (written, lines): (Written, _) = parse(path, text, &keys::GLOBAL)?;
        Ok(Self { active: written.active, anchors: anchors(written.anchors), lines })
    }

    /// Writes the active configuration; comments and order stay.
    pub(crate) fn set_active(path: &Path, name: &AgentName) -> Result<(), CliError> {
        let text = file::read(path)?.map(|found| found.text).unwrap_or_default();
        // What can't be read is not written over.
        Self::parse(path, &text)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn mistakes_are_placed() {
        let path = Path::new("/config.toml");
        for (text, expected) in [
            ("activ = \"a\"", "/config.toml:1:1: unknown key `activ`, did you mean `active`?"),
            (
                "active = \"run\"",
                "/config.toml:1:10: `active` is no name: `run` is a name that the Aegis home uses itself",
            ),
            (
                "[[anchors]]\nfile = \"here\"",
                "/config.toml:2:8: `file` must be an absolute path, `here` is none",
            ),
            ("anchors = 1", "/config.toml:1:11: `anchors` is written `[[anchors]]`"),
            ("[anchors]\nfile = \"/x\"", "/config.toml:1:1: `anchors` is written `[[anchors]]`"),
            ("[[anchors]]", "/config.toml:1:1: `anchors` has exactly one of `file`, `syslog`, `journald`"),
            (
                "[[anchors]]\nfile = \"/a\"\nsyslog = \"/b\"",
                "/config.toml:1:1: `anchors` has exactly one of `file`, `syslog`, `journald`",
            ),
        ] {
            assert_eq!(Global::parse(path, text).unwrap_err().to_string(), expected);
        }
    }
}
