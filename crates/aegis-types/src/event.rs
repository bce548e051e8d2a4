//! The shape of everything that is recorded.
//!
//! An [`Event`] is what one producer has to say at one moment. The ledger wraps it, unchanged, into a record
//! with its place in the chain. Every struct here declares its fields in the byte order of their JSON names
//! and leaves out what has no value: that makes plain serialisation the canonical one (RFC 8785), which
//! `aegis-proof` checks by test.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Action, AgentName, Assurance, Decision, Direction, Outcome, Text, Timestamp};

/// Something that happened, with when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Wall-clock time.
    pub at: Timestamp,
    /// Microseconds of the monotonic clock, since the machine's start.
    pub mono_us: u64,
    /// What happened.
    pub what: What,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The agent did something.
    Action(Box<Act>),
    /// Something could not be seen, or not in full.
    Gap(Gap),
    /// The ledger was begun.
    LedgerStart(LedgerStart),
    /// A changed policy set is not valid and did not come into force.
    PolicyFault(PolicyFault),
    /// A policy set came into force.
    PolicySet(PolicySet),
    /// The text of a policy file, or a part of it.
    PolicyText(PolicyText),
    /// Aegis did not let something happen.
    Refusal(Refusal),
    /// An epoch of the ledger ended: a signed checkpoint covers all up to here.
    Seal(Seal),
    /// A key of the ledger was lost, and another takes its place.
    Seam(Seam),
    /// A session ended.
    SessionEnd(Box<SessionEnd>),
    /// A session started.
    SessionStart(Box<SessionStart>),
}

impl What {
    /// Returns the word for the kind of event.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            What::Action(_) => "action",
            What::Gap(_) => "gap",
            What::LedgerStart(_) => "ledger_start",
            What::PolicyFault(_) => "policy_fault",
            What::PolicySet(_) => "policy_set",
            What::PolicyText(_) => "policy_text",
            What::Seal(_) => "seal",
            What::Seam(_) => "seam",
            What::Refusal(_) => "refusal",
            What::SessionEnd(_) => "session_end",
            What::SessionStart(_) => "session_start",
        }
    }
}

/// One action of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// What was done.
    pub action: Action,
    /// What stands behind this record.
    pub assurance: Assurance,
    /// The system call, by its name.
    pub call: Cow<'static, str>,
    /// For a folded entry: how many like it there were in all, this one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What was decided.
    pub decision: Decision,
    /// For a connection that is not an outward one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Flags of the call that matter, by their names in the manual without the prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Cow<'static, str>>,
    /// Reads like this one, in the same directory by the same process, are counted and not listed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub folded: bool,
    /// Ties together the entries of one call (the two halves of a rename).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The policies that determined `would` or `decision`, by their ids; none where no policy applies.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub policies: Arc<[Arc<str>]>,
    /// What the file held before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<PreImage>,
    /// Who did it.
    pub process: Process,
    /// What it was done to.
    pub resource: Resource,
    /// For an exit: with what status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ExitStatus>,
    /// What the policy would have decided, where a session has one and does not enforce it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Decision>,
}

impl Act {
    /// Makes an action that was seen, and of which no more is known than who did it, by which call, and to what.
    #[must_use]
    pub fn new(
        action: Action,
        call: impl Into<Cow<'static, str>>,
        process: Process,
        resource: Resource,
    ) -> Self {
        Self {
            action,
            assurance: Assurance::Observed,
            call: call.into(),
            count: None,
            decision: Decision::Observed,
            direction: None,
            flags: Vec::new(),
            folded: false,
            operation: None,
            outcome: Outcome::Unknown,
            policies: Arc::default(),
            pre: None,
            process,
            resource,
            status: None,
            would: None,
        }
    }

    /// Says whether policies deny it, or would where they are not enforced.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.decision == Decision::Deny || self.would == Some(Decision::Deny)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A process and the thread of it that acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The program it runs, as a path; empty where it could not be read.
    pub exe: Arc<Text>,
    /// Process id.
    pub pid: u32,
    /// Process id of the parent when the process was first seen.
    pub ppid: u32,
    /// Thread id; that of the process for its first thread.
    pub tid: u32,
}

/// What an action is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// An address of the internet families.
    Net(Endpoint),
    /// A file or directory by its absolute path, symbolic links resolved.
    Path(Text),
    /// A program with its arguments.
    Program(Program),
    /// A Unix socket: its path, or `@` and its name where it is abstract.
    Unix(Text),
    /// What it was on could not be read; the text says what is known.
    Unread(Text),
}

/// An address and a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The address as text, IPv6 without brackets; empty where a name is asked for.
    pub address: String,
    /// The name that it was found by, in small letters, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port; 0 where a name is asked for.
    pub port: u16,
    /// `tcp` or `udp`, where it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Cow<'static, str>>,
}

impl Endpoint {
    /// Makes one of an address.
    #[must_use]
    pub fn of(address: std::net::IpAddr, port: u16, transport: Option<&'static str>) -> Self {
        Self { address: address.to_string(), host: None, port, transport: transport.map(Cow::Borrowed) }
    }

    /// Returns the name, else the address.
    #[must_use]
    pub fn name(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.address)
    }
}

impl std::fmt::Display for Endpoint {
    /// Writes `NAME:PORT`, without the port where a name is asked for.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.name(), self.port) {
            (name, 0) if self.address.is_empty() => f.write_str(name),
            (name, port) if name.contains(':') => write!(f, "[{name}]:{port}"),
            (name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The arguments, the program's own name first; none for an exit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<Text>,
    /// How many arguments were left out because they are too many or too long to record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_omitted: Option<u64>,
    /// The program's file.
    pub exe: Text,
    /// Something that looked like a secret was replaced in `argv`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub masked: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It ended by itself with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// What a file held before it was first changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreImage {
    /// The content is kept in the configuration's `objects` folder under its hash.
    pub kept: bool,
    /// SHA-256 of the content in hexadecimal; absent where the file is too large to hash in the way of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Size in bytes.
    pub size: u64,
}

/// Something that could not be seen, or not in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// What is missing, in words.
    pub detail: String,
    /// The process concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Why.
    pub reason: GapReason,
}

/// Why something could not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// What io_uring does is not observed; the user allowed it.
    IoUring,
    /// A request went to a process that works for others, outside the observed tree.
    LeftTree,
    /// A program of another architecture: its calls are decoded by a smaller table.
    ForeignArchitecture,
    /// A process can't be read, so the names it uses are not known.
    Unreadable,
    /// An event that had been spooled was damaged.
    SpoolDamaged,
    /// The session ended before its end could be recorded.
    SessionLost,
    /// A bound of the observer was reached.
    Limit,
}

impl GapReason {
    /// Returns the word that stands in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            GapReason::IoUring => "io_uring",
            GapReason::LeftTree => "left_tree",
            GapReason::ForeignArchitecture => "foreign_architecture",
            GapReason::Unreadable => "unreadable",
            GapReason::SpoolDamaged => "spool_damaged",
            GapReason::SessionLost => "session_lost",
            GapReason::Limit => "limit",
        }
    }
}

/// Something that Aegis did not let happen, whatever the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The system call.
    pub call: Cow<'static, str>,
    /// What it means for the program, in words.
    pub detail: String,
    /// Who asked for it.
    pub process: Process,
}

/// The keys that a ledger begins with; keys are Ed25519 public keys in standard base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerStart {
    /// The identity key of the home.
    pub identity: String,
    /// The key of epoch 1.
    pub key: String,
    /// The ledger's name, which binds both.
    pub origin: String,
}

/// The end of an epoch of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The epoch that ends.
    pub epoch: u64,
    /// The key of the next.
    pub next: String,
}

/// A key in place of one that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seam {
    /// What was lost, in words.
    pub detail: String,
    /// The epoch.
    pub epoch: u64,
    /// The key that takes the place of the epoch's.
    pub key: String,
}

/// A policy set that came into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySet {
    /// Its files, in their order.
    pub files: Vec<PolicyFile>,
    /// SHA-256 of the set in hexadecimal: it names the set.
    pub sha256: String,
    /// When it came into force.
    pub why: PolicyChange,
}

/// When a policy set came into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChange {
    /// With the session's start.
    Start,
    /// While the session ran.
    Change,
}

impl PolicyChange {
    /// Returns the word that stands in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PolicyChange::Start => "start",
            PolicyChange::Change => "change",
        }
    }
}

/// A file of a policy set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name in the set, as the ids of its policies begin.
    pub name: String,
    /// SHA-256 of its text in hexadecimal.
    pub sha256: String,
    /// The length of its text in bytes.
    pub size: u64,
}

/// The text of a policy file: the whole, or a part of it where it is long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// The number of this part, from 1.
    pub part: u64,
    /// How many parts there are.
    pub parts: u64,
    /// SHA-256 of the whole text in hexadecimal.
    pub sha256: String,
    /// The text of this part.
    pub text: String,
}

/// A policy set that is not valid and did not come into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFault {
    /// What is wrong with it, with file, line and column.
    pub detail: String,
    /// SHA-256 of the set that stays in force.
    pub kept: String,
}

/// A session's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionStart {
    /// The configuration.
    pub agent: AgentName,
    /// The command line, secrets masked.
    pub argv: Vec<Text>,
    /// How many arguments were left out, whole or in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_omitted: Option<u64>,
    /// Working directory of the agent at its start.
    pub cwd: Text,
    /// The directory whose files' former contents are kept.
    pub dir: Text,
    /// The machine's name.
    pub host: String,
    /// Patterns of the system's own files whose reads are not recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Whether io_uring was let through, unobserved.
    #[serde(default, skip_serializing_if = "is_false")]
    pub io_uring: bool,
    /// What enforces: `none` where nothing does.
    pub isolation: String,
    /// Kernel name and release.
    pub kernel: String,
    /// Something that looked like a secret was replaced in `argv`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub masked: bool,
    /// `wrap`, `pilot` or `run`.
    pub mode: String,
    /// What observes.
    pub observer: String,
    /// SHA-256 of the policy set in force at the start, in hexadecimal; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The agent's program, where it is a known one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<SessionTool>,
    /// The user's id.
    pub uid: u32,
    /// The user's name, where the system knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Version of Aegis.
    pub version: String,
}

/// A known program that is an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionTool {
    /// Its name.
    pub name: String,
    /// Its version, where its files say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A session's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEnd {
    /// Entries by action.
    pub counts: BTreeMap<Action, u64>,
    /// Microseconds from the start.
    pub duration_us: u64,
    /// How the agent's first process ended; absent where it never ran or its end was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// How the session ended where it did not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Gaps in what was seen.
    pub gaps: u64,
}
