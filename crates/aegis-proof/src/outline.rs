//! What verification has to know of an event: its kind, its times, and what the ledger says of itself.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::checkpoint::Origin;
use crate::note::PublicKey;

/// An event, as far as verification reads it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outline<'a> {
    /// Wall-clock time, as it is written.
    pub at: Moment<'a>,
    /// Microseconds of the monotonic clock.
    pub mono_us: u64,
    /// What happened.
    #[serde(borrow)]
    pub what: Kind<'a>,
}

/// The kinds of events.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind<'a> {
    /// The agent did something.
    #[serde(borrow)]
    Action(Act<'a>),
    /// Something could not be seen.
    Gap(IgnoredAny),
    /// Something was not let happen.
    Refusal(IgnoredAny),
    /// A session started.
    SessionStart(IgnoredAny),
    /// A session ended.
    SessionEnd(IgnoredAny),
    /// The ledger was begun.
    LedgerStart(LedgerStart),
    /// An epoch ended.
    Seal(Seal),
    /// A key was lost.
    Seam(Seam),
    /// A policy set came into force.
    PolicySet(IgnoredAny),
    /// The text of a policy file.
    PolicyText(IgnoredAny),
    /// A policy set is not valid.
    PolicyFault(IgnoredAny),
}

impl Kind<'_> {
    /// Says whether it is something that the ledger says of itself.
    #[must_use]
    pub fn is_of_ledger(&self) -> bool {
        matches!(self, Self::LedgerStart(_) | Self::Seal(_) | Self::Seam(_))
    }
}

/// An action, of which only the word counts here.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Act<'a> {
    /// The word for what was done.
    pub action: &'a str,
}

/// The keys that a ledger begins with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerStart {
    /// The identity key of the home.
    pub identity: PublicKey,
    /// The key of epoch 1.
    pub key: PublicKey,
    /// The ledger's name.
    pub origin: Origin,
}

/// The end of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The epoch that ends.
    pub epoch: u64,
    /// The key of the next.
    pub next: PublicKey,
}

/// A key in place of a lost one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seam {
    /// What was lost, in words.
    pub detail: String,
    /// The epoch.
    pub epoch: u64,
    /// The key that takes the place of the epoch's.
    pub key: PublicKey,
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Self::from_base64(text).ok_or_else(|| serde::de::Error::custom("32 bytes in base64 are due"))
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Self::parse(text).ok_or_else(|| serde::de::Error::custom("the name of a ledger is due"))
    }
}

/// A time as records have it: `2026-01-02T03:04:05.000000006Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment<'a> {
    text: &'a str,
    /// Nanoseconds since 1970.
    nanos: i128,
}

impl<'a> Moment<'a> {
    /// Reads a time.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, "."), (29, "Z")];
        if text.len() != 30 || marks.iter().any(|(at, mark)| text.get(*at..at + 1) != Some(mark)) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + i64::from(leap),
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        // Years begin in March, so that the day that may be missing is the last.
        let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let before = y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
        let date = y * 365 + before + (153 * m + 2) / 5 + day - 1 - 719_468;
        let seconds = ((date * 24 + hour) * 60 + minute) * 60 + second;
        Some(Self { text, nanos: i128::from(seconds) * 1_000_000_000 + i128::from(number(20, 29)?) })
    }

    /// Returns the time as it is written.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Returns nanoseconds since 1970.
    #[must_use]
    pub fn nanos(&self) -> i128 {
        self.nanos
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Moment<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&'de str>::deserialize(deserializer)?;
        Self::parse(text).ok_or_else(|| serde::de::Error::custom("a time is due"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_their_one_form() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00.000000000Z", 0),
            ("2000-02-29T12:00:00.000000001Z", 951_825_600_000_000_001),
            ("2026-11-25T03:28:08.133410257Z", 1_795_577_288_133_410_257),
            ("1969-12-31T23:59:59.999999999Z", -1),
        ] {
            assert_eq!(Moment::parse(text).unwrap().nanos(), nanos, "{text}");
        }
        for bad in [
            "",
            "2026-02-29T00:00:00.000000000Z",
            "2026-13-01T00:00:00.000000000Z",
            "2026-00-01T00:00:00.000000000Z",
            "2026-01-00T00:00:00.000000000Z",
            "2026-01-01T24:00:00.000000000Z",
            "2026-01-01T00:00:60.000000000Z",
            "2026-01-01T00:00:00.00000000Z",
            "2026-01-01 00:00:00.000000000Z",
            "2026-01-01T00:00:00.+00000000Z",
            "2026-01-01T00:00:00.000000000z",
        ] {
            assert!(Moment::parse(bad).is_none(), "{bad}");
        }
    }
}
