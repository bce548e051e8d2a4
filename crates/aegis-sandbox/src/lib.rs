//! Enforcing what policies say, for a whole process tree, by the kernel.
//!
//! Two mechanisms, neither of which needs a privilege. **Landlock** layers hold what a kernel's rules can say: the
//! *hull* of the policies ([`hull`]). They need nobody to answer and stay when everything else fails. The
//! **supervisor** ([`supervisor`]) answers every call that names a file: it copies the call's arguments once, resolves
//! them once, asks the policies about what was resolved, and executes the call itself on that; the caller gets the
//! result. Nothing is decided on a call that the kernel then executes with arguments that can change, but for
//! programs, where Landlock stands behind the answer.
//!
//! Whoever executes calls for the agent is a thread of the session process in the agent's own hull: a mistake of the
//! supervisor can't reach beyond it.
//!
//! This crate never decides: a sink of the observer asks the policies. It knows no ledger and prints nothing.
//!
//! **Read first:** [`supervisor`], then [`hull`] and [`filter`].
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod filter;
pub mod grade;
pub mod hull;
pub mod network;
mod place;
pub mod privileges;
pub mod streams;
pub mod supervisor;
pub mod view;

pub use cgroup::Group;
pub use grade::{Enforcement, Grade, Trial};
pub use hull::{Hull, Layers};
pub use network::{Askers, Network};
pub use supervisor::{Blocking, Supervisor};
pub use view::View;
