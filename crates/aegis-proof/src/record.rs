//! One record: an event with its place in the chain, as exact bytes.
//!
//! ```json
//! {"event":{...},"prev":"<64 hex digits>","producer":{"id":"observer","n":7},"seq":12,"session":"<uuid>","v":1}
//! ```
//!
//! `producer.lost` is there where numbers of that producer are missing, which only a gap may say. `recovered` is there, and true, where the record was taken in from the spool of a session that died.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The largest record, in bytes: what a 16-bit length can hold.
pub const RECORD_MAX: usize = 65_535;

/// The version of the format that this crate writes.
pub const VERSION: u64 = 1;

/// The session of what the ledger says of itself: the nil UUID (RFC 9562, section 5.9).
pub const NIL_SESSION: &str = "00000000-0000-0000-0000-000000000000";

/// The longest name of a producer, in bytes.
const PRODUCER_MAX: usize = 32;

/// What is no hexadecimal digit.
const NO_DIGIT: u8 = 0x80;

/// The value of each byte as a lower-case hexadecimal digit: each record has 64 of them.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        digits[digit as usize] = value;
        value += 1;
    }
    digits
};

/// A SHA-256 hash; hexadecimal in records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands in place of a hash before the first record.
    pub const ZERO: Hash = Hash([0; 32]);

    /// Makes a hash of its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut bytes = [0; 32];
        let mut wrong = 0;
        let digit = |byte: u8| DIGITS.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT);
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (digit(*high), digit(*low));
            wrong |= high | low;
            *byte = high << 4 | low & 15;
        }
        (wrong & NO_DIGIT == 0).then_some(Self(bytes))
    }

    /// Appends the 64 hexadecimal digits.
    fn push_hex(&self, out: &mut Vec<u8>) {
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
            }
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hashes a record: SHA-256 of a zero byte and the record (the leaf hash of RFC 6962, section 2.1).
#[must_use]
pub fn leaf(record: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(record);
    Hash(hasher.finalize().into())
}

/// Who numbered an event, and its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// The producer's name within its session.
    pub id: String,
    /// How many numbers before this one were lost; only a gap may say so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// The number, from 1 without a jump.
    pub n: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What a record says of its own place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Leaf hash of the record before, or zeros.
    pub prev: Hash,
    /// Who numbered the event.
    pub producer: Producer,
    /// It was taken in from the spool of a session that died.
    pub recovered: bool,
    /// Its number in the ledger, from 1 without a jump.
    pub seq: u64,
    /// The session, as the text of a UUID.
    pub session: String,
}

/// Says why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Larger than [`RECORD_MAX`].
    #[error("a record has at most {RECORD_MAX} bytes, this one has {0}")]
    TooLarge(usize),
    /// Not JSON of the right shape.
    #[error("not a record: {0}")]
    Shape(#[from] serde_json::Error),
    /// Written by a version that this one does not know.
    #[error("format version {0} is not known to this version of Aegis")]
    Version(u64),
    /// Not the canonical bytes.
    #[error("not in canonical form")]
    NotCanonical,
    /// A field has a value that it can't have.
    #[error("`{0}` has a value that it can't have")]
    Field(&'static str),
}

/// A record with its leaf hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// Their leaf hash, the `prev` of the next record.
    pub leaf: Hash,
}

/// Wraps an event, given as its canonical bytes, into a record.
///
/// # Errors
/// The record would be too large, or the header has a value that it can't have.
pub fn seal(header: &Header, event: &[u8]) -> Result<Sealed, RecordError> {
    if !is_producer(&header.producer.id) {
        return Err(RecordError::Field("producer.id"));
    }
    if !is_session(&header.session) {
        return Err(RecordError::Field("session"));
    }
    let mut bytes = Vec::with_capacity(event.len() + 240);
    bytes.extend_from_slice(b"{\"event\":");
    bytes.extend_from_slice(event);
    bytes.extend_from_slice(b",\"prev\":\"");
    header.prev.push_hex(&mut bytes);
    bytes.extend_from_slice(b"\",\"producer\":{\"id\":\"");
    bytes.extend_from_slice(header.producer.id.as_bytes());
    bytes.push(b'"');
    if header.producer.lost > 0 {
        bytes.extend_from_slice(b",\"lost\":");
        bytes.extend_from_slice(header.producer.lost.to_string().as_bytes());
    }
    bytes.extend_from_slice(b",\"n\":");
    bytes.extend_from_slice(header.producer.n.to_string().as_bytes());
    bytes.push(b'}');
    if header.recovered {
        bytes.extend_from_slice(b",\"recovered\":true");
    }
    bytes.extend_from_slice(b",\"seq\":");
    bytes.extend_from_slice(header.seq.to_string().as_bytes());
    bytes.extend_from_slice(b",\"session\":\"");
    bytes.extend_from_slice(header.session.as_bytes());
    bytes.extend_from_slice(b"\",\"v\":1}");
    if bytes.len() > RECORD_MAX {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    let leaf = leaf(&bytes);
    Ok(Sealed { bytes, leaf })
}

/// How a record reads, with the event in the type that the reader wants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parsed<'a, E> {
    /// The event.
    pub event: E,
    prev: &'a str,
    #[serde(borrow)]
    producer: ProducerRef<'a>,
    recovered: Option<bool>,
    seq: u64,
    session: &'a str,
    v: u64,
}

/// A [`Producer`] within the bytes of its record.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProducerRef<'a> {
    id: &'a str,
    lost: Option<u64>,
    n: u64,
}

/// Says whether a name may be a producer's.
fn is_producer(name: &str) -> bool {
    !name.is_empty() && name.len() <= PRODUCER_MAX && name.bytes().all(is_plain)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Says whether a text is a session's: a version 7 UUID, or the nil one (RFC 9562).
fn is_session(text: &str) -> bool {
    let digit = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        14 => byte == b'7',
        19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text == NIL_SESSION || (text.len() == 36 && text.bytes().enumerate().all(digit))
}

/// What a record says of its own place, within its bytes: as [`Header`], without a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Leaf hash of the record before, or zeros.
    pub prev: Hash,
    /// Who numbered the event.
    pub producer: &'a str,
    /// How many numbers of the producer before this one were lost.
    pub lost: u64,
    /// The producer's number.
    pub n: u64,
    /// It was taken in from the spool of a session that died.
    pub recovered: bool,
    /// Its number in the ledger.
    pub seq: u64,
    /// The session, as the text of a UUID.
    pub session: &'a str,
}

impl<'a, E> Parsed<'a, E> {
    /// Returns the record's own place, checked.
    ///
    /// # Errors
    /// A field has a value that it can't have, or the version is another.
    pub fn place(&self) -> Result<Place<'a>, RecordError> {
        if self.v != VERSION {
            return Err(RecordError::Version(self.v));
        }
        // What has no meaning is absent.
        let checks = [
            (is_producer(self.producer.id), "producer.id"),
            (self.producer.lost != Some(0), "producer.lost"),
            (self.producer.n > 0, "producer.n"),
            (self.recovered != Some(false), "recovered"),
            (self.seq > 0, "seq"),
            (is_session(self.session), "session"),
        ];
        if let Some((_, field)) = checks.into_iter().find(|(good, _)| !good) {
            return Err(RecordError::Field(field));
        }
        Ok(Place {
            prev: Hash::from_hex(self.prev).ok_or(RecordError::Field("prev"))?,
            producer: self.producer.id,
            lost: self.producer.lost.unwrap_or(0),
            n: self.producer.n,
            recovered: self.recovered.unwrap_or(false),
            seq: self.seq,
            session: self.session,
        })
    }

    /// Returns the record's own place, copied.
    ///
    /// # Errors
    /// As [`Parsed::place`].
    pub fn header(&self) -> Result<Header, RecordError> {
        let place = self.place()?;
        Ok(Header {
            prev: place.prev,
            producer: Producer { id: place.producer.to_owned(), lost: place.lost, n: place.n },
            recovered: place.recovered,
            seq: place.seq,
            session: place.session.to_owned(),
        })
    }
}

/// Reads a record with its event.
///
/// # Errors
/// The bytes are no record, or their event is not of the type `E`.
pub fn parse<'a, E: Deserialize<'a>>(bytes: &'a [u8]) -> Result<Parsed<'a, E>, RecordError> {
    if bytes.len() > RECORD_MAX {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Says whether a record's event is a gap.
#[must_use]
pub fn is_gap(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event {
        what: What,
    }
    #[derive(Deserialize)]
    struct What {
        gap: Option<IgnoredAny>,
    }
    parse::<Event>(bytes).is_ok_and(|record| record.event.what.gap.is_some())
}

/// Reads a record's place and leaves its event unread.
///
/// # Errors
/// The bytes are no record.
pub fn parse_header(bytes: &[u8]) -> Result<Header, RecordError> {
    parse::<IgnoredAny>(bytes)?.header()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::is_canonical;
    use proptest::prelude::*;

    fn header(recovered: bool, n: u64, seq: u64) -> Header {
        Header {
            prev: leaf(b"x"),
            producer: Producer { id: "observer".into(), lost: n % 3, n },
            recovered,
            seq,
            session: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        }
    }

    #[test]
    fn hexadecimal_digits_are_lower_case_and_sixty_four() {
        let hash = leaf(b"x");
        assert_eq!(Hash::from_hex(&hash.to_string()), Some(hash));
        let text = hash.to_string();
        for bad in [
            text.get(1..).unwrap(),
            &format!("{text}0"),
            &text.to_uppercase(),
            &text.replacen('0', "g", 1),
            "",
        ] {
            assert_eq!(Hash::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_leaf_hash_is_that_of_rfc_6962() {
        // SHA-256 of one zero byte: the leaf hash of the empty string.
        assert_eq!(leaf(b"").to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn the_size_is_bounded_at_its_edge() {
        let room = RECORD_MAX - seal(&header(false, 1, 1), b"\"\"").unwrap().bytes.len();
        let event = |len: usize| format!("\"{}\"", "a".repeat(len)).into_bytes();
        assert_eq!(seal(&header(false, 1, 1), &event(room)).unwrap().bytes.len(), RECORD_MAX);
        assert!(matches!(seal(&header(false, 1, 1), &event(room + 1)), Err(RecordError::TooLarge(65_536))));
    }

    #[test]
    fn a_header_that_would_break_the_json_is_refused() {
        for id in ["", "a\"b", "ä", &"a".repeat(33)] {
            let mut bad = header(false, 1, 1);
            bad.producer.id = (*id).to_owned();
            assert!(matches!(seal(&bad, b"{}"), Err(RecordError::Field("producer.id"))), "{id}");
        }
        let mut bad = header(false, 1, 1);
        bad.session.push('"');
        assert!(matches!(seal(&bad, b"{}"), Err(RecordError::Field("session"))));
    }

    #[test]
    fn another_version_is_named() {
        let text = seal(&header(false, 1, 1), b"{}").unwrap().bytes;
        let text = String::from_utf8(text).unwrap().replace("\"v\":1", "\"v\":2");
        assert!(matches!(parse_header(text.as_bytes()), Err(RecordError::Version(2))));
    }

    proptest! {
        #[test]
        fn a_sealed_record_is_canonical_and_reads_back(recovered: bool, n: u64, seq: u64, text: String) {
            let event = crate::canonical(&text).unwrap();
            let sealed = seal(&header(recovered, n, seq), &event).unwrap();
            prop_assert!(is_canonical(&sealed.bytes));
            prop_assert_eq!(parse_header(&sealed.bytes).unwrap(), header(recovered, n, seq));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            prop_assert!(parse_header(&bytes).is_err());
        }
    }
}
