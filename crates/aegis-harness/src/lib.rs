//! What the tests of Aegis need and the product does not: a program whose doings are known, the comparison of
//! what it did with what was recorded, a program that races whoever decides about its calls, and one that does
//! what it is told.
//!
//! Nothing of it ships. It never links the crates that it tests: it looks at their output.
//!
//! **Read first:** [`truth`]; then `src/bin/ground-truth/`, the program. For the races, [`race`]; for
//! operations on a tree that somebody else chooses, [`operations`].

pub mod operations;
pub mod race;
pub mod truth;
