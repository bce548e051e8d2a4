//! The programs of the harness, run as they are: no Aegis watches.
#![expect(clippy::disallowed_methods, reason = "tests start processes the plain way")]

mod ground_truth;
mod scratch;
