//! Chance that is the same on every run, and the names made of it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// A generator of numbers (SplitMix64), seeded by the number of the worker.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Makes the dice of one worker.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns a number below `sides`, which is not 0.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed % sides as u64) as usize
    }

    /// Returns true once in `sides` times.
    pub(crate) fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    /// Puts the items into another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Returns `plain`, one time in four with bytes after it that are easily got wrong.
    pub(crate) fn name(&mut self, plain: &str) -> OsString {
        let mut name = OsString::from(plain);
        if self.one_in(4) {
            let which = self.below(ODD.len());
            name.push(OsStr::from_bytes(ODD.get(which).copied().unwrap_or_default()));
        }
        name
    }
}

const ODD: &[&[u8]] = &[
    b" with spaces ",
    b"\nnewline\n",
    b"\ttab",
    b"'single\"double",
    b"\xff\xfe",
    b"half-\xe6\xbc",
    "ä漢字\u{202e}".as_bytes(),
    b"back\\slash\\n",
    b"$(x)`y`;*?",
    b"%41%00{}",
    b"\x01\x1b[31m\x7f",
    b" (deleted)",
];
