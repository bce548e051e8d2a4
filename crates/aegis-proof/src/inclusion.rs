//! One entry with its proof, for a third party: a `c2sp.org/tlog-proof` whose extra data is the record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, TrustRoot, root_from_base64, root_to_base64};
use crate::note::Note;
use crate::record::{Hash, leaf, parse_header};
use crate::tree::is_included;

/// The first line.
const MAGIC: &str = "c2sp.org/tlog-proof@v1";

/// The largest file that is read, in bytes: a record in base64, 64 hashes and a note.
pub const PROOF_MAX: usize = 128 << 10;

/// An entry with what proves that it is in a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// The record.
    pub record: Vec<u8>,
    /// Its place in the tree, from 0.
    pub index: u64,
    /// The hashes from its sibling up.
    pub path: Vec<Hash>,
    /// The checkpoint, as a note.
    pub note: String,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// The text is not of the form.
    #[error("line {0} is not that of a proof")]
    Shape(usize),
    /// The record is none, or stands elsewhere.
    #[error("the record is not that of the index")]
    Record,
    /// The note is no checkpoint.
    #[error("the checkpoint can't be read")]
    Checkpoint,
    /// It is of another ledger.
    #[error("the proof is of the ledger {0}, not of the one that was asked for")]
    Origin(String),
    /// The checkpoint is not signed by the identity key.
    #[error("the checkpoint is not signed by the ledger's identity key")]
    Signature,
    /// The path does not lead to the checkpoint's root.
    #[error("the entry is not in the tree of the checkpoint: it, the proof or the checkpoint was altered")]
    Root,
}

impl Inclusion {
    /// Reads a proof.
    ///
    /// # Errors
    /// It is not of the form.
    pub fn parse(text: &str) -> Result<Self, InclusionError> {
        if text.len() > PROOF_MAX {
            return Err(InclusionError::Shape(0));
        }
        let (head, note) = text.split_once("\n\n").ok_or(InclusionError::Shape(1))?;
        let mut lines = (1..).zip(head.split('\n'));
        let mut line = |prefix: &str| -> Result<&str, InclusionError> {
            let (number, line) = lines.next().ok_or(InclusionError::Shape(0))?;
            line.strip_prefix(prefix).ok_or(InclusionError::Shape(number))
        };
        if !line(MAGIC)?.is_empty() {
            return Err(InclusionError::Shape(1));
        }
        let record = STANDARD.decode(line("extra ")?).map_err(|_| InclusionError::Shape(2))?;
        let number = line("index ")?;
        let index: u64 = number.parse().map_err(|_| InclusionError::Shape(3))?;
        if index.to_string() != number {
            return Err(InclusionError::Shape(3));
        }
        let path = lines
            .map(|(number, line)| root_from_base64(line).ok_or(InclusionError::Shape(number)))
            .collect::<Result<_, _>>()?;
        Ok(Self { record, index, path, note: note.to_owned() })
    }

    /// Checks that the entry is in the ledger of this trust root, and returns the checkpoint that says so.
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify(&self, trust: &TrustRoot) -> Result<Checkpoint, InclusionError> {
        let header = parse_header(&self.record).map_err(|_| InclusionError::Record)?;
        if header.seq.checked_sub(1) != Some(self.index) {
            return Err(InclusionError::Record);
        }
        let note = Note::parse(&self.note).ok_or(InclusionError::Checkpoint)?;
        let checkpoint = Checkpoint::parse(note.text).ok_or(InclusionError::Checkpoint)?;
        if checkpoint.origin != trust.origin {
            return Err(InclusionError::Origin(checkpoint.origin.to_string()));
        }
        if !note.is_signed_by(checkpoint.origin.as_str(), &trust.identity) {
            return Err(InclusionError::Signature);
        }
        let leaf = leaf(&self.record);
        if !is_included(&leaf, self.index, checkpoint.size, &self.path, &checkpoint.root) {
            return Err(InclusionError::Root);
        }
        Ok(checkpoint)
    }
}

impl std::fmt::Display for Inclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{MAGIC}\nextra {}\nindex {}", STANDARD.encode(&self.record), self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", root_to_base64(hash)))?;
        write!(f, "\n{}", self.note)
    }
}
