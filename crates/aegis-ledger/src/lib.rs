//! The ledger: one SQLite file per configuration, append-only, written by any number of sessions at once.
//!
//! What counts is the chain of records ([`aegis_proof`]); the tables beside it are an index that can be made
//! again from the records. This crate is the only one that links SQLite. It never decides anything, never
//! prints, and never changes or removes a record.
//!
//! An event's way: [`Recorder::observe`] puts it into the [`spool`], where it survives the death of every
//! process, and into a queue; a writer thread moves the queue into the [`store`] in group commits. [`Recorder::append_durable`]
//! returns once the commit that holds the event is synced. What a dead session left in its spool is taken in
//! by [`recovery`].
//!
//! **Read first:** [`store`], then [`recorder`].
#![forbid(unsafe_code)]

pub mod custody;
pub mod error;
pub mod keys;
pub mod query;
pub mod raw;
pub mod recorder;
pub mod recovery;
mod schedule;
pub mod seal;
pub mod spool;
pub mod store;
pub mod verify;

pub use aegis_proof::RecordError;
pub use custody::{AnchorTarget, Custody};
pub use error::LedgerError;
pub use query::{Filter, Row, SessionRow};
pub use recorder::{Pending, Receipt, Recorder};
pub use store::{Appended, Ledger, Sealing, files_of};
pub use verify::{Held, Verdict};
