//! Races against a supervisor that decides about a path and then acts on it: what is raced, what is forbidden
//! meanwhile, and what came out.
//!
//! The program `flip` makes one call again and again while another thread changes what the call's path means,
//! between a directory that it may use and one that it may not. Read first: [`Kind`] and [`Target`]; then
//! `src/bin/flip/`, the program. [`prepare_forbidden`] and [`Snapshot`] are for whoever runs it: outside the
//! sandbox they tell whether the forbidden side was reached.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod forbidden;
mod program;

pub use forbidden::{Snapshot, prepare_forbidden};
pub use program::exit_program;

/// How many names a race goes through, so that one that was reached is not the last.
pub const NAMES: usize = 100;

/// What the forbidden files begin with.
pub const SECRET: &[u8] = b"SECRET";

/// What the forbidden program ends with.
pub const ESCAPED: u8 = 77;

/// What flips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text of the path, in memory.
    Bytes,
    /// A directory of the path, exchanged with a link to the forbidden one.
    Directory,
    /// The last component, exchanged with a link to a forbidden file.
    Symlink,
    /// A directory of the path, renamed away with a link renamed to its place.
    Rename,
    /// The working directory of a relative path.
    Cwd,
    /// What the number of a descriptor stands for that the path starts from: one directory or the other.
    Descriptor,
    /// The same, between two permitted directories, of which one has a link to the forbidden one.
    DescriptorLink,
}

/// What is called meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Opens a file to read it, and reads it.
    OpenRead,
    /// Opens a file to write to it, and writes to it.
    OpenWrite,
    /// Opens a file and empties it by that.
    OpenTruncate,
    /// Makes a file by opening it.
    OpenCreate,
    /// Removes a file.
    Unlink,
    /// Renames the raced path to one that is not raced.
    Rename,
    /// Renames a path that is not raced to the raced one.
    RenameTo,
    /// Links the raced path to one that is not raced.
    Link,
    /// Links a path that is not raced to the raced one.
    LinkTo,
    /// Makes a symbolic link.
    Symlink,
    /// Makes a directory.
    Mkdir,
    /// Changes the mode of a file.
    Chmod,
    /// Gives a file to whom it belongs already.
    Chown,
    /// Changes the length of a file.
    Truncate,
    /// Changes the times of a file.
    Utimes,
    /// Sets an extended attribute of a file.
    Setxattr,
    /// Executes a program.
    Exec,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Bytes,
        Self::Directory,
        Self::Symlink,
        Self::Rename,
        Self::Cwd,
        Self::Descriptor,
        Self::DescriptorLink,
    ];

    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Rename => "rename",
            Self::Cwd => "cwd",
            Self::Descriptor => "descriptor",
            Self::DescriptorLink => "descriptor-link",
        }
    }

    /// Says whether a flip of this kind can change what `target` acts on.
    ///
    /// Calls that act on a name, not on what it leads to, never follow a link in its last component.
    #[must_use]
    pub const fn can_race(self, target: Target) -> bool {
        !(matches!(self, Self::Symlink) && target.acts_on_name())
    }
}

impl Target {
    /// All targets.
    pub const ALL: [Self; 17] = [
        Self::OpenRead,
        Self::OpenWrite,
        Self::OpenTruncate,
        Self::OpenCreate,
        Self::Unlink,
        Self::Rename,
        Self::RenameTo,
        Self::Link,
        Self::LinkTo,
        Self::Symlink,
        Self::Mkdir,
        Self::Chmod,
        Self::Chown,
        Self::Truncate,
        Self::Utimes,
        Self::Setxattr,
        Self::Exec,
    ];

    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::OpenRead => "open-read",
            Self::OpenWrite => "open-write",
            Self::OpenTruncate => "open-truncate",
            Self::OpenCreate => "open-create",
            Self::Unlink => "unlink",
            Self::Rename => "rename",
            Self::RenameTo => "rename-to",
            Self::Link => "link",
            Self::LinkTo => "link-to",
            Self::Symlink => "symlink",
            Self::Mkdir => "mkdir",
            Self::Chmod => "chmod",
            Self::Chown => "chown",
            Self::Truncate => "truncate",
            Self::Utimes => "utimes",
            Self::Setxattr => "setxattr",
            Self::Exec => "exec",
        }
    }

    /// Returns the last component of the raced path at a turn: an existing file or program of the forbidden
    /// directory, or a name that is free there.
    #[must_use]
    pub fn name(self, turn: usize) -> String {
        match self {
            Self::Exec => forbidden::PROGRAM.to_owned(),
            _ if self.creates() => format!("fresh-{:02}", turn % NAMES),
            _ => forbidden::victim(turn % NAMES),
        }
    }

    /// Says whether the call makes the name that it is given.
    #[must_use]
    pub const fn creates(self) -> bool {
        matches!(self, Self::OpenCreate | Self::RenameTo | Self::LinkTo | Self::Symlink | Self::Mkdir)
    }

    const fn acts_on_name(self) -> bool {
        let makes_name = self.creates() && !matches!(self, Self::OpenCreate);
        makes_name || matches!(self, Self::Unlink | Self::Rename)
    }

    /// Says whether `flip` can see for itself that the forbidden side was reached.
    ///
    /// To give a file to its owner changes nothing but a time that not every kernel keeps precisely.
    #[must_use]
    pub const fn shows_inside(self) -> bool {
        !matches!(self, Self::Chown)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or(UnknownWord)
    }
}

impl FromStr for Target {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|target| target.word() == text).ok_or(UnknownWord)
    }
}

/// A word that names no kind and no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownWord;

/// What came out of a race: the line that `flip` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The word of the [`Kind`].
    pub kind: String,
    /// The word of the [`Target`].
    pub target: String,
    /// How often the call was made.
    pub tries: u64,
    /// How often its path was flipped meanwhile.
    pub flips: u64,
    /// How many calls succeeded, escapes among them.
    pub allowed: u64,
    /// How many calls failed with `EACCES` or `EPERM`.
    pub denied: u64,
    /// How many calls failed otherwise, by the name of the error.
    pub other: BTreeMap<String, u64>,
    /// How many calls reached the forbidden side, as far as that shows inside.
    pub escapes: u64,
}
