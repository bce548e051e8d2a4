//! Cedar policies: what an agent may do, decided; what of it a kernel can be told beforehand; and the policy that
//! permits what was done.
//!
//! The crate is pure: texts and requests in, problems, verdicts and plans out. It opens no file, knows no clock (a
//! request brings its time) and enforces nothing.
//!
//! **Read first:** `schema/aegis.cedarschema`, what a policy can speak of; then [`set`], how files become one set,
//! and [`decide`], how a request is answered.
#![forbid(unsafe_code)]

pub mod decide;
mod explain;
pub mod learn;
mod links;
mod lint;
pub mod network;
pub mod plan;
pub mod problem;
pub mod request;
pub mod secrets;
pub mod set;
mod sketch;
pub mod source;
pub mod templates;
pub mod tools;

pub use decide::{Engine, EngineError, Reserved, Subject, Verdict};
pub use learn::{Learned, Learner, LeftOut};
pub use links::Linked;
pub use network::AllowedHost;
pub use plan::SandboxPlan;
pub use problem::{Problem, Severity};
pub use request::{Request, Resource};
pub use set::{Policies, Rule, SCHEMA};
pub use source::{Origin, Source};
pub use templates::Template;
pub use tools::Tool;
