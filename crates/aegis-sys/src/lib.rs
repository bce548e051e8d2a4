//! The system calls that Aegis needs and that no library offers safely.
//!
//! The only crate with `unsafe`. Everything it exports is safe to call: a precondition is a type, or is
//! checked and answered with an error. It knows nothing of agents, events, policies or ledgers, reads no
//! environment and prints nothing. Where `rustix` has a safe form of a call, callers use that instead.
//!
//! **Read first:** [`seccomp`] (the filter and its notifications), then [`launch`] (how the agent starts).
#![expect(unsafe_code, reason = "the one place for it; every block argues its safety")]

pub mod bpf;
pub mod clock;
pub mod errno;
pub mod files;
pub mod group;
pub mod inherited;
pub mod landlock;
pub mod launch;
pub mod memory;
pub mod namespaces;
pub mod outside;
pub mod probe;
pub mod process;
pub mod seccomp;
pub mod segment;
pub mod signals;
