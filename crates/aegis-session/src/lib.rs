//! One session: an agent, started, observed and recorded, and the processes that watch over it.
//!
//! Three processes. The *front* is the `aegis` that was typed: it passes signals on, stops when the agent
//! stops, prints what it is told and ends with the agent's status. The *guard* is its child: it waits for the
//! session process and, should that die, kills every descendant. The *session process* is the guard's child
//! and the agent's parent: it owns the launcher, the listener, the observer and the ledger's recorder. Each
//! is a subreaper, so the whole tree is always below all that live.
//!
//! The front may end before the session does: where the agent's first process has ended and left others
//! behind (an `ssh-agent`, a `tmux` server), the session goes on in the background until they have.
//!
//! A session asks the policies about what it observes, records the answer, and stops nothing for it. This crate reads no environment and no home, and prints nothing.
//!
//! **Read first:** [`plan`], what a session is told; [`front`], where it starts; [`process`], where the work is.
#![forbid(unsafe_code)]

mod foreman;
pub mod front;
pub mod guard;
mod judge;
mod network;
pub mod plan;
pub mod policies;
mod policy;
pub mod process;
pub mod wire;
mod workers;

pub use front::{Finished, run};
pub use plan::{Enforce, Plan, PolicyPlan, SessionError};
pub use policies::PolicyFiles;
pub use wire::{Denied, Report};
