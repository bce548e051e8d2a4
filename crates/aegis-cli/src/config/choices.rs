//! `isolation` and `observer`: written as a word, or as a table with one key; and what stands in where a
//! choice belongs to the other platform.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    /// Linux.
    Linux,
    /// macOS.
    MacOs,
}

impl Platform {
    /// The platform that this runs on.
    pub(crate) const HERE: Self = if cfg!(target_os = "macos") { Self::MacOs } else { Self::Linux };

    /// Returns its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::MacOs => "macOS",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Linux => Self::MacOs,
            Self::MacOs => Self::Linux,
        }
    }
}

/// How the kernel enforces policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written")]
pub(crate) enum Isolation {
    /// What this system has.
    #[default]
    Auto,
    /// The sandbox of macOS.
    Seatbelt {
        /// SBPL text that is added.
        profile_overrides: Option<String>,
    },
    /// The sandbox of Linux.
    Landlock,
    /// Processes are tracked.
    Process,
    /// Nothing.
    None,
}

/// How an agent is observed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Observing {
    /// What this system has.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// File events of macOS.
    FsEvents {
        /// Compares before and after.
        enable_snapshots: bool,
    },
    /// Endpoint Security of macOS.
    EndpointSecurity,
    /// User notification of Linux.
    Seccomp,
    /// File events of Linux.
    Fanotify,
}

/// How an agent is observed, and which reads are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written")]
pub(crate) struct Observer {
    /// How.
    pub(crate) by: Observing,
    /// Patterns of system files whose reads are not recorded.
    pub(crate) ignore: Vec<String>,
}

/// Either form, as written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Table(WrittenTable),
}

#[derive(Deserialize)]
struct WrittenTable {
    #[serde(default)]
    ignore: Vec<String>,
    #[serde(flatten)]
    chosen: BTreeMap<String, Options>,
}

/// The options of every choice.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    profile_overrides: Option<String>,
    enable_snapshots: bool,
}

impl Written {
    /// Returns the word with its options, and what stands beside it.
    fn split(self) -> (String, Options, Vec<String>) {
        match self {
            Self::Word(word) => (word, Options::default(), Vec::new()),
            Self::Table(table) => {
                let chosen = table.chosen.into_iter().next();
                let (word, options) = chosen.unwrap_or_else(|| ("Auto".to_owned(), Options::default()));
                (word, options, table.ignore)
            }
        }
    }
}

impl TryFrom<Written> for Isolation {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (word, options, _) = written.split();
        Ok(match word.as_str() {
            "Auto" => Self::Auto,
            "Seatbelt" => Self::Seatbelt { profile_overrides: options.profile_overrides },
            "Landlock" => Self::Landlock,
            "Process" => Self::Process,
            "None" => Self::None,
            _ => return Err("no isolation".to_owned()),
        })
    }
}

impl TryFrom<Written> for Observer {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (word, options, ignore) = written.split();
        let by = match word.as_str() {
            "Auto" => Observing::Auto,
            "None" => Observing::None,
            "FsEvents" => Observing::FsEvents { enable_snapshots: options.enable_snapshots },
            "EndpointSecurity" => Observing::EndpointSecurity,
            "Seccomp" => Observing::Seccomp,
            "Fanotify" => Observing::Fanotify,
            _ => return Err("no observer".to_owned()),
        };
        Ok(Self { by, ignore })
    }
}

impl Isolation {
    /// Returns its word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Seatbelt { .. } => "Seatbelt",
            Self::Landlock => "Landlock",
            Self::Process => "Process",
            Self::None => "None",
        }
    }

    /// Says what is used on a platform where this is the other's.
    pub(crate) fn stand_in(&self, here: Platform) -> Option<String> {
        match (self, here) {
            (Self::Seatbelt { .. }, Platform::Linux) => Some(told(self.word(), here, "Landlock")),
            (Self::Landlock, Platform::MacOs) => Some(told(self.word(), here, "Seatbelt")),
            _ => None,
        }
    }
}

impl Observing {
    /// Returns its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::None => "None",
            Self::FsEvents { .. } => "FsEvents",
            Self::EndpointSecurity => "EndpointSecurity",
            Self::Seccomp => "Seccomp",
            Self::Fanotify => "Fanotify",
        }
    }

    /// Says what is used on a platform where this is the other's.
    pub(crate) fn stand_in(self, here: Platform) -> Option<String> {
        match (self, here) {
            (Self::FsEvents { .. } | Self::EndpointSecurity, Platform::Linux) => {
                Some(told(self.word(), here, "Seccomp"))
            }
            (Self::Seccomp | Self::Fanotify, Platform::MacOs) => Some(told(self.word(), here, "FsEvents")),
            _ => None,
        }
    }
}

fn told(word: &str, here: Platform, instead: &str) -> String {
    format!("`{word}` is of {}; on {}, `{instead}` takes its place", here.other().name(), here.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_elsewhere_has_a_stand_in() {
        use Platform::{Linux, MacOs};
        let seatbelt = Isolation::Seatbelt { profile_overrides: None };
        assert_eq!(
            seatbelt.stand_in(Linux).as_deref(),
            Some("`Seatbelt` is of macOS; on Linux, `Landlock` takes its place")
        );
        assert_eq!(seatbelt.stand_in(MacOs), None);
        assert!(
            Isolation::Landlock.stand_in(MacOs).is_some_and(|said| said.contains("on macOS, `Seatbelt`"))
        );
        for free in [Isolation::Auto, Isolation::Process, Isolation::None] {
            assert_eq!((free.stand_in(Linux), free.stand_in(MacOs)), (None, None));
        }
        let events = Observing::FsEvents { enable_snapshots: true };
        for (by, on_linux, on_macos) in [
            (events, true, false),
            (Observing::EndpointSecurity, true, false),
            (Observing::Seccomp, false, true),
            (Observing::Fanotify, false, true),
            (Observing::Auto, false, false),
            (Observing::None, false, false),
        ] {
            assert_eq!((by.stand_in(Linux).is_some(), by.stand_in(MacOs).is_some()), (on_linux, on_macos));
        }
    }
}
