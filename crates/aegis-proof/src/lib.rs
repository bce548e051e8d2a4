//! What a third party needs to check a ledger: canonical bytes, leaf hash, the chain and its verification.
//!
//! Pure: no SQLite, no clock, no files. Records come in as bytes, verdicts go out. The format is described in
//! `docs/ledger-format.md`; this crate and that page say the same.
//!
//! **Read first:** [`record`], how a record is laid out; then [`chain`], how a sequence of them is checked.
#![forbid(unsafe_code)]

pub mod canonical;
pub mod chain;
pub mod record;

pub use canonical::{CanonicalError, canonical, is_canonical};
pub use chain::{Chain, Fault, FaultKind};
pub use record::{Hash, Header, Place, Producer, RECORD_MAX, RecordError, Sealed, leaf, seal};
