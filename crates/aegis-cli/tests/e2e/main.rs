//! End-to-end tests: the binary `aegis` on real programs, as the user who runs the tests and, where that is
//! root, as an ordinary user as well.
#![expect(clippy::disallowed_methods, reason = "tests prepare files and processes the plain way")]

mod damage;
mod deaths;
mod ground_truth;
mod programs;
mod readme;
mod session;
mod support;
mod terminal;
