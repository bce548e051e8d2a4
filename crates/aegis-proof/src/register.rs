//! The register of a home: a text file with a line for checkpoints of all its ledgers.
//!
//! ```text
//! <origin> <size> <base64 root> <time> <ledger>
//! ```

use crate::checkpoint::{Origin, root_from_base64, root_to_base64};
use crate::outline::Moment;
use crate::record::Hash;

/// A line of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The ledger's name.
    pub origin: Origin,
    /// How many records there were.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// The time of the seal, as records have it.
    pub at: String,
    /// Where the ledger is, as [`escape`] writes it.
    pub ledger: String,
}

impl Line {
    /// Reads a line, without its line feed.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut next = || words.next();
        let read = Self {
            origin: Origin::parse(next()?)?,
            size: next()?.parse().ok()?,
            root: root_from_base64(next()?)?,
            at: Moment::parse(next()?)?.as_str().to_owned(),
            ledger: next()?.to_owned(),
        };
        (read.to_string() == line).then_some(read)
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { origin, size, root, at, ledger } = self;
        write!(f, "{origin} {size} {} {at} {ledger}", root_to_base64(root))
    }
}

/// Writes a path so that it is one word.
#[must_use]
pub fn escape(path: &[u8]) -> String {
    path.iter()
        .map(|byte| match byte {
            b'!'..=b'~' if *byte != b'%' => char::from(*byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "aegis/00112233445566778899aabbccddeeff 12 bjQLnP+zepicpUTma3gKLHiQHT+zNzh2hRGjBhevoB0= 2026-01-02T03:04:05.000000006Z a%20b/audit.db";

    #[test]
    fn a_line_reads_back() {
        assert_eq!(Line::parse(LINE).unwrap().to_string(), LINE);
        for bad in [
            "",
            &LINE.replace(" 12 ", " 012 "),
            &LINE.replace("a%20b", "a b"),
            &format!("{LINE} "),
            LINE.trim_start_matches('a'),
        ] {
            assert!(Line::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(escape(b"a b/\xff%.db"), "a%20b/%FF%25.db");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line: String) {
            drop(Line::parse(&line));
        }
    }
}
