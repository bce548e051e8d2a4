//! What can be wrong with a ledger, told apart.

use std::fmt;

/// What is wrong with a ledger, at its first bad entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The number of the entry where it shows.
    pub seq: u64,
    /// What it is.
    pub kind: FaultKind,
}

/// The kinds of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// The bytes are no record.
    NotARecord(String),
    /// The hash of the entry before is another: that one was altered, or entries were exchanged.
    Altered,
    /// Entries are missing from this one on, up to the number given.
    Removed(u64),
    /// The record stands in another place than it says.
    Reordered(u64),
    /// A producer's events are missing: it counted to the first number, this one is the second.
    Lost {
        /// The producer, with its session.
        producer: String,
        /// The number that was due.
        due: u64,
        /// The number that came.
        came: u64,
    },
    /// A checkpoint that was not signed by the keys that were due, or stands where none may be.
    Forged(String),
    /// Entries, from this one on and up to the number given, are not those that a checkpoint was signed over.
    Rewritten(u64),
    /// A seal without its checkpoint.
    CheckpointMissing,
    /// Entries at the end are missing: a checkpoint covers so many.
    Truncated(u64),
    /// Something kept outside the ledger knows of more entries: their number, and what it is.
    RolledBack(u64, String),
    /// Something kept outside knows another history; what it is.
    Forked(String),
    /// Another ledger stands in its place, begun after the last that is known of the former.
    BegunAnew(String),
    /// Another ledger stands in its place, which says that it is as old.
    RewrittenWhole(String),
    /// Another ledger than the one that was asked for.
    Replaced(String),
    /// The home has keys of this ledger, and its register has no line of it.
    RegisterMissing,
}

impl FaultKind {
    /// Returns the word for it, as JSON output has it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotARecord(_) => "not_a_record",
            Self::Altered => "altered",
            Self::Removed(_) => "removed",
            Self::Reordered(_) => "reordered",
            Self::Lost { .. } => "lost",
            Self::Forged(_) => "forged",
            Self::Rewritten(_) => "rewritten",
            Self::CheckpointMissing => "checkpoint_missing",
            Self::Truncated(_) => "truncated",
            Self::RolledBack(..) => "rolled_back",
            Self::Forked(_) => "forked",
            Self::BegunAnew(_) => "begun_anew",
            Self::RewrittenWhole(_) => "rewritten_whole",
            Self::Replaced(_) => "replaced",
            Self::RegisterMissing => "register_missing",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match &self.kind {
            FaultKind::NotARecord(why) => write!(f, "entry {seq} is no record: {why}"),
            FaultKind::Altered => {
                let before = seq.saturating_sub(1);
                write!(f, "entry {seq} does not follow from entry {before}: one of the two was altered")
            }
            FaultKind::Removed(last) if *last == seq => write!(f, "entry {seq} was removed"),
            FaultKind::Removed(last) => write!(f, "entries {seq} to {last} were removed"),
            FaultKind::Reordered(says) => write!(f, "entry {seq} says that it is entry {says}"),
            FaultKind::Lost { producer, due, came } => {
                write!(f, "entry {seq}: events {due} to {} of {producer} are missing", came.saturating_sub(1))
            }
            FaultKind::Forged(why) => write!(f, "the checkpoint at entry {seq} is forged: {why}"),
            FaultKind::Rewritten(last) => {
                write!(f, "entries {seq} to {last} are not those that were sealed: they were rewritten")
            }
            FaultKind::CheckpointMissing => {
                write!(f, "the checkpoint of the seal at entry {seq} was removed")
            }
            FaultKind::Truncated(size) => {
                write!(
                    f,
                    "the end was cut off: a checkpoint covers {size} entries, those from {seq} on are missing"
                )
            }
            FaultKind::RolledBack(size, by) => write!(
                f,
                "the ledger was rolled back to an earlier state, or its end was cut off: {by} knows of {size} \
                 entries, those from {seq} on are missing"
            ),
            FaultKind::Forked(by) => write!(
                f,
                "up to entry {seq}, the ledger has another history than {by}: one of the two was forked off, or \
                 was rewritten by someone who had the keys"
            ),
            FaultKind::BegunAnew(old) => {
                write!(f, "the ledger was removed and begun anew: the register knows {old} in its place")
            }
            FaultKind::RewrittenWhole(old) => {
                write!(
                    f,
                    "the ledger was rewritten as a whole, with other keys: the register knows {old} in its place"
                )
            }
            FaultKind::Replaced(due) => {
                write!(f, "this is another ledger than the one that it is to be held to, {due}")
            }
            FaultKind::RegisterMissing => write!(
                f,
                "the home's register has no line of this ledger, though the home has its keys: the register was \
                 removed or cut"
            ),
        }
    }
}
