//! The crate from outside: random policies against Cedar itself, and the texts that ship.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "tests fail where something is not as it should be"
)]

mod agree;
mod learn;
mod mistakes;
mod texts;
mod tools;
