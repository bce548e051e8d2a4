//! What an agent can do, what was decided about it, and how much a record of it is worth.

use serde::{Deserialize, Serialize};

use crate::errno::ErrnoName;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// Returns the word that stands for the value in records, options and output.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            /// Returns the value that `word` stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// An action of an agent. Policies, records and output use these nine and no others. They stand in the
    /// order of their words, so that a map by action is written in canonical order.
    Action {
        /// A directory is made.
        DirCreate = "DirCreate",
        /// A directory is opened, to be listed.
        DirList = "DirList",
        /// A name is removed: unlink, rmdir, the source of a rename.
        FileDelete = "FileDelete",
        /// A file is opened for reading, or its content is read in another way.
        FileRead = "FileRead",
        /// A file is opened for writing, made, linked, or its metadata is changed.
        FileWrite = "FileWrite",
        /// A connection is made, a datagram is sent to an address, or an address is listened on.
        NetConnect = "NetConnect",
        /// A process has ended.
        ProcessExit = "ProcessExit",
        /// A program is executed.
        ProcessSpawn = "ProcessSpawn",
        /// A tool of the agent is called.
        ToolCall = "ToolCall",
    }
}

words! {
    /// What stands behind a record.
    Assurance {
        /// The kernel refused or granted it under our rule.
        Enforced = "enforced",
        /// Aegis answered a question about it.
        Mediated = "mediated",
        /// Seen as it happened, not governed.
        Observed = "observed",
        /// Concluded from a comparison of before and after.
        Inferred = "inferred",
    }
}

words! {
    /// What was decided.
    Decision {
        /// A policy permits it.
        Allow = "allow",
        /// No policy permits it, or one forbids it.
        Deny = "deny",
        /// Nothing was asked of a policy.
        Observed = "observed",
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It took effect; there is evidence.
    Ok,
    /// Its target was not there.
    Missing,
    /// It was attempted; the kernel's answer is not known.
    Unknown,
    /// It failed with this errno.
    Failed(ErrnoName),
}

impl Outcome {
    /// Returns the word that stands for it in records and output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Missing => "missing",
            Outcome::Unknown => "unknown",
            Outcome::Failed(errno) => errno.word(),
        }
    }

    /// Returns the outcome that `word` stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "ok" => Some(Outcome::Ok),
            "missing" => Some(Outcome::Missing),
            "unknown" => Some(Outcome::Unknown),
            _ => ErrnoName::from_word(word).map(Outcome::Failed),
        }
    }

    /// Says whether it is certain that nothing was done: its target was not there, or it failed.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Outcome::Missing | Outcome::Failed(_))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

impl Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_word(&word)
            .ok_or_else(|| serde::de::Error::invalid_value(serde::de::Unexpected::Str(&word), &"an outcome"))
    }
}

words! {
    /// The way a connection is opened, where it is not outward.
    Direction {
        /// The address is a local one that is bound or listened on.
        Listen = "listen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for action in Action::ALL {
            assert_eq!(Action::from_word(action.word()), Some(*action));
        }
        assert_eq!(Action::from_word("fileread"), None);
        for word in ["ok", "missing", "unknown", "EACCES", "ENOENT"] {
            assert_eq!(Outcome::from_word(word).map(Outcome::word), Some(word));
        }
        assert_eq!(Outcome::from_word("EWHATEVER"), None);
        assert!(Action::ALL.is_sorted_by_key(|action| action.word()));
    }
}
