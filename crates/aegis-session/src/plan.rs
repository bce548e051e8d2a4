//! What a session is told before it starts.

use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;

use aegis_ledger::Custody;
use aegis_observer::Settings;
use aegis_policy::{Engine, Policies, SandboxPlan, Subject};
use aegis_sys::process::Limits;
use aegis_types::{SessionId, SessionStart};

use crate::policies::{PolicyFiles, Stamp};

/// Everything that a session needs to know; all paths are absolute.
#[derive(Debug)]
pub struct Plan {
    /// Its id.
    pub id: SessionId,
    /// What is recorded at its start.
    pub start: SessionStart,
    /// The `aegis` that was typed.
    pub front: u32,
    /// The ledger.
    pub ledger: PathBuf,
    /// What the home keeps beside it.
    pub custody: Custody,
    /// The folder with the live sessions of the home.
    pub run: PathBuf,
    /// What the observer is told.
    pub observer: Settings,
    /// The policies that are asked.
    pub policy: PolicyPlan,
    /// What enforces the policies; nothing where they are only asked.
    pub enforce: Option<Enforce>,
    /// A temporary directory that was made for the session; it is removed when the session is over.
    pub tmp: Option<PathBuf>,
    /// Files to execute, in this order, as `execvp(3)` does.
    pub candidates: Vec<CString>,
    /// The arguments, the program's name first.
    pub argv: Vec<CString>,
    /// The environment, as `NAME=value`.
    pub environment: Vec<CString>,
    /// The directory to start in, where it is not the current one.
    pub directory: Option<CString>,
    /// The caller's own limits, where they were raised for Aegis.
    pub limits: Limits,
    /// The caller's mask of modes (`umask(2)`).
    pub umask: u32,
}

/// What enforces a session's policies.
#[derive(Debug, Clone)]
pub struct Enforce {
    /// What a kernel can be told of them; of a dry run, that all is permitted.
    pub plan: SandboxPlan,
    /// A dry run: calls are executed as if the policies were enforced, and what they deny is done all the same.
    pub dry: bool,
    /// The ABI of Landlock that this kernel has; nothing where it has none.
    pub landlock: Option<u32>,
    /// The agent runs as root.
    pub root: bool,
    /// It gets a view, processes and System V objects of its own.
    pub namespaces: bool,
    /// The Aegis home, and the directory in it that the agent can reach.
    pub home: (PathBuf, Option<PathBuf>),
    /// Where the agent starts.
    pub start: PathBuf,
    /// It comes into a control group of its own, where one can be had.
    pub group: bool,
    /// The number of its processes is bounded by the user's limit.
    pub limit: bool,
}

/// The policies of a session.
#[derive(Debug)]
pub struct PolicyPlan {
    /// Where they come from.
    pub files: PolicyFiles,
    /// What they were when they were read.
    pub stamp: Stamp,
    /// The set, validated; nothing where there is no policy file.
    pub policies: Option<Arc<Policies>>,
    /// For whom they are asked.
    pub subject: Subject,
    /// The set, ready to be asked: it takes a while, and is best done while nothing waits for it.
    pub engine: Option<Engine>,
}

/// Why a session did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Aegis itself failed.
    #[error("{0}")]
    Failed(String),
    /// The program can't be executed.
    #[error("{0}")]
    NotExecutable(String),
    /// The program was not found.
    #[error("{0}")]
    NotFound(String),
}

impl SessionError {
    /// Returns the exit code that `env(1)` and `timeout(1)` give for the like.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            SessionError::Failed(_) => 125,
            SessionError::NotExecutable(_) => 126,
            SessionError::NotFound(_) => 127,
        }
    }
}
