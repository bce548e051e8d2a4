//! End-to-end tests: the binary `aegis` on real programs, as the user who runs the tests and, where that is
//! root, as an ordinary user as well.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests prepare files and processes the plain way, say what came out, and fail where something is wrong"
)]

mod battery;
mod config;
mod damage;
mod deaths;
mod diff;
mod enforce;
mod grade;
mod ground_truth;
mod hostile;
mod network;
mod plain;
mod policy;
mod programs;
mod proof;
mod races;
mod random;
mod readme;
mod session;
mod support;
mod terminal;
mod tools;
mod work;
