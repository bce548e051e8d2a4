//! The programs of the harness, run as they are: no Aegis watches.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests prepare files and processes the plain way, say what they leave out, and fail where something is wrong"
)]

mod flip;
mod ground_truth;
mod scratch;
