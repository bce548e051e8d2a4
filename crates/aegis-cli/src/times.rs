//! Points in time as a user gives and reads them.

use std::str::FromStr;

use aegis_types::Timestamp;
use jiff::tz::TimeZone;

/// A time or an age, as given on the command line.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    /// A point in time.
    At(Timestamp),
    /// So many nanoseconds ago.
    Ago(i64),
}

impl Moment {
    /// Returns the point in time.
    pub(crate) fn as_of(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(time) => time,
            Moment::Ago(age) => Timestamp::from_nanos(now.as_nanos().saturating_sub(age)),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(age) = age(text) {
            return Ok(Moment::Ago(age));
        }
        let nanos = text
            .parse::<jiff::Timestamp>()
            .ok()
            .or_else(|| {
                let civil: jiff::civil::DateTime = text.parse().ok()?;
                civil.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp())
            })
            .and_then(|stamp| i64::try_from(stamp.as_nanosecond()).ok());
        nanos.map(|nanos| Moment::At(Timestamp::from_nanos(nanos))).ok_or_else(|| {
            "neither a time (2026-01-31, 2026-01-31T12:00:00Z) nor an age (90s, 15m, 2h, 3d)".to_owned()
        })
    }
}

/// Reads an age, in nanoseconds.
fn age(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number = text.strip_suffix(unit)?;
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let count: i64 = plain.then(|| number.parse().ok())??;
    count.checked_mul(seconds)?.checked_mul(1_000_000_000)
}

/// Returns a time in the user's time zone, to the millisecond.
pub(crate) fn local(time: Timestamp) -> String {
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).unwrap_or_default();
    stamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Returns a duration in a few words.
pub(crate) fn duration(us: u64) -> String {
    let seconds = us / 1_000_000;
    match seconds {
        0..60 => format!("{seconds}.{:02} s", us % 1_000_000 / 10_000),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_read() {
        let now = Timestamp::from_nanos(10_000_000_000_000);
        let at = |text: &str| text.parse::<Moment>().unwrap().as_of(now).as_nanos();
        assert_eq!(at("2s"), 9_998_000_000_000);
        assert_eq!(at("1970-01-01T01:00:00Z"), 3_600_000_000_000);
        for wrong in ["", "s", "-2s", "2w", "yesterday", "99999999999999999d"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(1_230_000), "1.23 s");
        assert_eq!(duration(61_000_000), "1 min 1 s");
        assert_eq!(duration(7_260_000_000), "2 h 1 min");
    }
}
