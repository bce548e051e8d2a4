//! Time, passed in and never read here.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since 1970-01-01 UTC.
///
/// In a record it is RFC 3339 with nine digits of fraction and `Z`, so that text sorts as time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// Microseconds of the monotonic clock, since the machine's start (`CLOCK_MONOTONIC`).
    pub mono_us: u64,
}

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Reads both clocks.
    fn now(&self) -> Moment;
}

impl Timestamp {
    /// Makes a time of nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since 1970.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Reads the one form that records use, `2026-01-02T03:04:05.000000006Z`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let nanos = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
        let stamp = Self(i64::try_from(nanos).ok()?);
        (stamp.to_string() == text).then_some(stamp)
    }
}

/// How long the part before the fraction is, `2026-01-02T03:04:05.`.
const SECOND_LENGTH: usize = 20;

thread_local! {
    /// The second that was written last, as text: times are mostly written in order.
    static SECOND: Cell<(i64, [u8; SECOND_LENGTH])> = const { Cell::new((i64::MIN, [b'0'; SECOND_LENGTH])) };
}

impl Timestamp {
    /// Writes the form that records use into a buffer.
    fn text(self) -> [u8; SECOND_LENGTH + 10] {
        let (second, nanos) = (self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000));
        let (mut known, mut start) = SECOND.get();
        if known != second {
            // Every i64 of nanoseconds (1677 to 2262) is inside what jiff can show.
            let stamp = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
            for (to, from) in start.iter_mut().zip(stamp.bytes()) {
                *to = from;
            }
            if let Some(dot) = start.last_mut() {
                *dot = b'.';
            }
            known = second;
            SECOND.set((known, start));
        }
        let mut text = [b'Z'; SECOND_LENGTH + 10];
        let mut rest = nanos;
        let (head, tail) = text.split_at_mut(SECOND_LENGTH);
        head.copy_from_slice(&start);
        for digit in tail.iter_mut().rev().skip(1) {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("not a time of the form 2026-01-02T03:04:05.000000006Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NANOS: i64 = 1_000_000_000;

    #[test]
    fn known_days() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400 * NANOS, "2000-02-29T00:00:00.000000000Z"),
            (1_798_761_599 * NANOS + 1, "2026-12-31T23:59:59.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(Timestamp(nanos).to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp(nanos)));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in
            ["", "2026-02-30T00:00:00.000000000Z", "2026-01-01T24:00:00.000000000Z", "2026-01-01T00:00:00Z"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_back(nanos: i64) {
            prop_assert_eq!(Timestamp::parse(&Timestamp(nanos).to_string()), Some(Timestamp(nanos)));
        }
    }
}
