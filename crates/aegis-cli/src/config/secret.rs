//! Values that are never printed.
//!
//! They have no way to a screen, a log or an error but through the words here: `Debug`, `Display` and
//! `Serialize` say that there is one, not which.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

/// What stands where a secret would be printed.
pub(crate) const SET: &str = "(set)";

/// A secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

/// An address to post to. Whoever knows its path may post; so only scheme and host are printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Webhook(String);

/// A secret, or where it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum KeptSecret {
    /// The secret itself.
    Plain(Secret),
    /// In a variable of the environment.
    Environment {
        /// Its name.
        env: String,
    },
    /// In a file.
    File {
        /// Its path.
        file: PathBuf,
    },
}

impl KeptSecret {
    /// Says whether it is the empty text, which stands for none.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::Plain(secret) if secret.0.is_empty())
    }
}

impl Webhook {
    /// Takes an address over.
    pub(super) fn new(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// Returns scheme, host and port.
    fn origin(&self) -> &str {
        let host = self.0.find("://").map_or(0, |at| at + 3);
        let rest = self.0.get(host..).unwrap_or_default();
        let end = rest.find(['/', '?', '#']).map_or(self.0.len(), |at| host + at);
        self.0.get(..end).unwrap_or_default()
    }

    /// Returns the host in small letters.
    pub(crate) fn host(&self) -> String {
        let origin = self.origin();
        let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        host.to_ascii_lowercase()
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(empty)" } else { SET })
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin();
        if origin.len() == self.0.len() {
            return f.write_str(origin);
        }
        write!(f, "{origin}/{SET}")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Webhook {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let secret = Secret("hunter2".to_owned());
        let kept = KeptSecret::Plain(secret.clone());
        for said in [
            format!("{secret} {secret:?} {kept:?} {:#?}", Some(&kept)),
            serde_json::to_string(&kept).unwrap(),
            serde_json::to_string(&secret).unwrap(),
        ] {
            assert!(said.contains("(set)") && !said.contains("hunter"), "{said}");
        }
        assert_eq!(Secret(String::new()).to_string(), "(empty)");
    }

    #[test]
    fn of_an_address_only_the_host_is_printed() {
        for (url, said, host) in [
            ("https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/(set)", "hooks.slack.com"),
            ("http://H:81?key=x", "http://H:81/(set)", "h"),
            ("http://h#x", "http://h/(set)", "h"),
            ("https://[::1]:8443/x", "https://[::1]:8443/(set)", "[::1]"),
            ("https://h", "https://h", "h"),
        ] {
            let url = Webhook(url.to_owned());
            assert_eq!((url.to_string().as_str(), url.host().as_str()), (said, host));
            assert_eq!(format!("{url:?}"), said);
            assert_eq!(serde_json::to_value(&url).unwrap(), said);
        }
    }
}
