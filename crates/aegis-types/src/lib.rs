//! The vocabulary that every layer of Aegis shares: ids, actions, resources, events, time.
//!
//! A type enters this crate only when two layers use it. The crate is pure: it never opens a file, reads a
//! clock, knows SQLite or prints.
//!
//! **Read first:** [`event`], the shape of everything that is ever recorded.
#![forbid(unsafe_code)]

pub mod action;
pub mod bytes;
pub mod elsewhere;
pub mod errno;
pub mod event;
pub mod id;
pub mod time;

pub use action::{Action, Assurance, Decision, Direction, Outcome};
pub use bytes::Text;
pub use errno::ErrnoName;
pub use event::{
    Act, Endpoint, Event, ExitStatus, Gap, GapReason, LedgerStart, PolicyChange, PolicyFault, PolicyFile,
    PolicySet, PolicyText, PreImage, Process, Program, Refusal, Resource, Seal, Seam, SessionEnd,
    SessionStart, SessionTool, What,
};
pub use id::{AgentName, NameError, SessionId};
pub use time::{Clock, Moment, Timestamp};
