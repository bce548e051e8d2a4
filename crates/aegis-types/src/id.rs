//! Names and ids, each with one constructor that refuses what may not be.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name of a configuration and of the agent that runs under it.
///
/// Letters, digits, `.`, `_` and `-`; starts with a letter or digit; at most 64 bytes; none of the names that
/// the home keeps for itself. So it can be a folder's name without any further check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName(String);

/// Names that the home uses itself.
const RESERVED: [&str; 3] = ["daemon", "run", "keys"];

/// The longest name, in bytes.
const NAME_MAX: usize = 64;

/// Says why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("a name can't be empty")]
    Empty,
    /// It is too long.
    #[error("a name has at most {NAME_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// It has a character that may not be there.
    #[error(
        "a name is made of letters, digits, `.`, `_` and `-` and starts with a letter or digit, `{0}` is not"
    )]
    Character(String),
    /// It is one that the home keeps for itself.
    #[error("`{0}` is a name that the Aegis home uses itself")]
    Reserved(String),
}

impl AgentName {
    /// Checks a name.
    ///
    /// # Errors
    /// A [`NameError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_MAX {
            return Err(NameError::TooLong(name.chars().count().max(NAME_MAX + 1)));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(fits) {
            return Err(NameError::Character(name.to_owned()));
        }
        if RESERVED.contains(&name) {
            return Err(NameError::Reserved(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for AgentName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl TryFrom<String> for AgentName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        name.0
    }
}

/// The id of a session: a version 7 UUID (RFC 9562), so that ids sort by time of start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Makes a new id for a session that starts at this time.
    #[must_use]
    pub fn at(start: crate::Timestamp) -> Self {
        let nanos = u64::try_from(start.as_nanos()).unwrap_or(0);
        let sub = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, nanos / 1_000_000_000, sub)))
    }

    /// The session of what a ledger says of itself: the nil UUID (RFC 9562, section 5.9).
    pub const NIL: Self = Self(Uuid::nil());

    /// Returns the id of a UUID that is known to be a session's.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl FromStr for SessionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = Uuid::encode_buffer();
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_their_bounds() {
        let longest = "a".repeat(64);
        for good in ["a", "0", "my-agent", "a.b_c-d", longest.as_str(), "Daemon", "runs"] {
            assert_eq!(AgentName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            ".a",
            "-a",
            "_a",
            "a/b",
            "a b",
            "ä",
            "a\0",
            "daemon",
            "run",
            "keys",
            &"a".repeat(65),
        ] {
            assert!(AgentName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_sort_by_time() {
        let early = SessionId::at(crate::Timestamp::from_nanos(1_000_000_000));
        let late = SessionId::at(crate::Timestamp::from_nanos(2_000_000_000));
        assert!(early < late);
        assert_eq!(early.to_string().parse::<SessionId>().unwrap(), early);
    }
}
