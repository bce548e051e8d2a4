//! Seeing what a process tree does: system calls in, events out.
//!
//! One seccomp listener covers the whole tree. Each notified call is read, its paths are resolved as the
//! caller would have them, its events are handed to a [`Sink`], and then it goes on: this crate observes and
//! never decides. It knows no ledger and no policy, and prints nothing.
//!
//! An event's way: [`Observer::handle`] takes the notification; [`calls`] says what the call is;
//! [`resolve`] names the file; [`fold`] leaves out what is counted only; [`preimage`] keeps what is about to be
//! overwritten; then the sink has it, and the caller goes on. What becomes of it is looked up at the next
//! call of the same thread ([`evidence`]).
//!
//! **Read first:** [`calls`], the table of what is seen; then [`observer`].
#![forbid(unsafe_code)]

pub mod arguments;
pub mod calls;
pub mod evidence;
pub mod execute;
pub mod fold;
pub mod look;
pub mod mask;
pub mod network;
pub mod observer;
pub mod places;
pub mod preimage;
pub mod processes;
pub mod resolve;
pub mod summary;

pub use calls::filter;
pub use look::Draft;
pub use observer::{Follows, Met, Observer, Settings, Sink, SinkError, Ticket};
pub use summary::Summary;
