//! Operations on a tree of files, as the program `operate` takes them and tells of them.
//!
//! One [`Step`] is one line of JSON, and so is its [`Report`]. Paths are texts with words in braces, which the
//! program fills in: `{root}` is the tree, `{pid}` its process, `{fd}` the descriptor of the spot's [`Base`].
//! So the same steps mean the same in every copy of a tree.

use serde::{Deserialize, Serialize};

/// What a step begins from, and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The working directory, below the tree; empty for the tree itself.
    pub cwd: String,
    /// The mask of modes.
    pub umask: u32,
    /// What is done.
    pub call: Call,
}

/// What a path that is not absolute starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// The working directory.
    Cwd,
    /// A descriptor of this directory, or other file, below the tree: opened with `O_PATH` for the step.
    Held(String),
    /// The descriptor that an earlier step kept under this number.
    Kept(usize),
}

/// A path as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// What it starts from.
    pub base: Base,
    /// The text.
    pub text: String,
}

/// How many descriptors can be kept.
pub const KEPT: usize = 3;

/// What is changed on a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Its mode.
    Mode(u32),
    /// Its owner: to whom the program belongs.
    Owner,
    /// Its times: to this second.
    Times(i64),
    /// Its length.
    Length(i64),
    /// Sets the extended attribute `user.a`.
    SetAttribute(String),
    /// Removes it.
    RemoveAttribute,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A named pipe.
    Fifo,
    /// A plain file.
    File,
    /// A socket that nobody listens on.
    Socket,
}

/// What is done. `old` asks for the call without a descriptor, where there is one (`open`, not `openat`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Opens, and reads, lists or writes as far as the descriptor is for that. `resolve` asks for `openat2`.
    Open {
        /// What.
        at: Spot,
        /// `O_*`.
        flags: i32,
        /// The mode of what is made.
        mode: u32,
        /// `RESOLVE_*`.
        resolve: Option<u64>,
        /// Keeps the descriptor under this number.
        keep: Option<usize>,
        /// As above.
        old: bool,
    },
    /// Removes a name.
    Remove {
        /// What.
        at: Spot,
        /// As a directory.
        directory: bool,
        /// As above.
        old: bool,
    },
    /// Renames.
    Rename {
        /// The old name.
        from: Spot,
        /// The new one.
        to: Spot,
        /// `RENAME_*`.
        flags: u32,
    },
    /// Makes a directory.
    MakeDirectory {
        /// What.
        at: Spot,
        /// Its mode.
        mode: u32,
    },
    /// Makes a node.
    MakeNode {
        /// What.
        at: Spot,
        /// What it is.
        node: Node,
        /// Its mode.
        mode: u32,
    },
    /// Makes a symbolic link.
    Symlink {
        /// Where it leads.
        target: String,
        /// What.
        at: Spot,
    },
    /// Makes a link, to what `from` means: itself, or where it leads.
    Link {
        /// What is linked.
        from: Spot,
        /// The new name.
        to: Spot,
        /// `AT_SYMLINK_FOLLOW`.
        follow: bool,
    },
    /// Makes a file without a name, and gives it one.
    LinkUnnamed {
        /// The directory that it is made in.
        at: Spot,
        /// The name.
        to: Spot,
    },
    /// Changes a file by a path.
    Change {
        /// What.
        at: Spot,
        /// How.
        change: Change,
        /// A link at the end is followed.
        follow: bool,
    },
    /// Changes a file that an earlier step kept.
    ChangeKept {
        /// Its number.
        kept: usize,
        /// How.
        change: Change,
    },
    /// Executes a program and waits for its end.
    Execute {
        /// What.
        at: Spot,
    },
    /// Watches a file or directory for changes.
    Watch {
        /// What.
        at: Spot,
        /// A link at the end is followed.
        follow: bool,
    },
    /// Binds a socket, and listens on it from then on.
    Bind {
        /// The name.
        at: Spot,
    },
    /// Connects to a socket.
    Connect {
        /// What.
        at: Spot,
    },
    /// Finds what a path means: see [`Found`]. Asks nobody, since it opens with `O_PATH`.
    Find {
        /// What.
        at: Spot,
        /// A link at the end is followed.
        follow: bool,
        /// It has to be a directory.
        directory: bool,
        /// `RESOLVE_*`.
        resolve: u64,
    },
    /// Finds what a kept descriptor is of; EBADF where it is open with `O_PATH` only.
    FindKept {
        /// Its number.
        kept: usize,
    },
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The errno.
    pub errno: Option<i32>,
    /// What the step begins from could not be had: nothing was called.
    pub lost: bool,
    /// What was read, the names that were listed, or the code that a program ended with.
    pub text: Option<String>,
    /// What was found.
    pub found: Option<Found>,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The kernel's name for it; one that it has lost, if it has no name by now.
    pub path: String,
    /// It has lost that name.
    pub removed: bool,
    /// `st_mode`.
    pub mode: u32,
    /// `st_ino`.
    pub inode: u64,
}
