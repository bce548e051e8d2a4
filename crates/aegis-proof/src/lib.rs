//! What a third party needs to check a ledger: canonical bytes, hash chain, Merkle tree, signed checkpoints, and the
//! verification of all of it.
//!
//! Pure: no SQLite, no clock, no files. Records and notes come in as bytes, verdicts go out. The format is described
//! in `docs/ledger-format.md`; this crate and that page say the same.
//!
//! **Read first:** [`record`], how a record is laid out; [`chain`], how a sequence of them is checked; then
//! [`audit`], which holds it to the signed checkpoints and to what is kept elsewhere.
#![forbid(unsafe_code)]

pub mod audit;
pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod fault;
pub mod inclusion;
pub mod note;
pub mod outline;
pub mod record;
pub mod register;
pub mod tree;

pub use audit::{Anchor, Audit, EpochKeys, Findings, Grade, Outside, Verdict};
pub use canonical::{CanonicalError, canonical, is_canonical};
pub use chain::Chain;
pub use checkpoint::{Checkpoint, Origin, TrustRoot};
pub use fault::{Fault, FaultKind};
pub use inclusion::Inclusion;
pub use note::{PublicKey, SecretKey};
pub use record::{Hash, Header, Place, Producer, RECORD_MAX, RecordError, Sealed, leaf, seal};
pub use register::Line;
pub use tree::Frontier;
