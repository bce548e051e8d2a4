//! Single values of a settings file: whether one is of its kind, and possible.
//!
//! A complaint goes on from the key's name (`NAME must be ...`). It repeats the value only where that can be
//! no secret.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use aegis_export::shown;
use aegis_policy::AllowedHost;
use aegis_types::AgentName;
use toml::de::{DeInteger, DeValue};

use super::check::a_type;
use super::hints;
use super::shape::Kind;

/// The longest pattern, in bytes: one of many alternatives makes a machine of megabytes.
const GLOB_MAX: usize = 1024;

/// The longest secret and the longest address to post to, in bytes.
const SECRET_MAX: usize = 4096;

/// Checks a value that is no table and no list.
pub(super) fn check(kind: &Kind, value: &DeValue<'_>) -> Result<(), String> {
    match (kind, value) {
        (Kind::Flag, DeValue::Boolean(_)) => Ok(()),
        (Kind::Flag, other) => Err(format!("must be `true` or `false`, not {}", a_type(other))),
        (Kind::Number(least, most), DeValue::Integer(number)) => {
            match integer(number).is_some_and(|number| (*least..=*most).contains(&number)) {
                true => Ok(()),
                false => Err(format!("must be from {least} to {most}")),
            }
        }
        (Kind::Chat, DeValue::Integer(number)) => match integer(number) {
            Some(0) => Err("can't be 0".to_owned()),
            Some(_) => Ok(()),
            None => Err("is too large".to_owned()),
        },
        (Kind::Number(..) | Kind::Chat, other) => {
            Err(format!("must be a whole number, not {}", a_type(other)))
        }
        (kind, DeValue::String(text)) => string(kind, text),
        (_, other) => Err(format!("must be a string, not {}", a_type(other))),
    }
}

/// Checks one entry of a list.
pub(super) fn check_entry(kind: &Kind, value: &DeValue<'_>) -> Result<(), String> {
    match (kind, value) {
        (Kind::Users, DeValue::Integer(number)) if integer(number).is_some_and(|number| number > 0) => Ok(()),
        (Kind::Users, _) => Err("has whole numbers above 0".to_owned()),
        (Kind::Paths, DeValue::String(text)) => path(text),
        (Kind::Hosts, DeValue::String(text)) => host(text),
        (Kind::Globs, DeValue::String(text)) => glob(text),
        (Kind::Words(words), DeValue::String(text)) => word(words, text),
        (_, other) => Err(format!("has strings, not {}", a_type(other))),
    }
}

/// Returns a whole number, where it is not beyond any bound.
pub(super) fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn string(kind: &Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Name => AgentName::new(text).map(drop).map_err(|error| format!("is no name: {error}")),
        Kind::Path => path(text),
        Kind::AbsolutePath if !text.starts_with('/') => {
            Err(format!("must be an absolute path, `{}` is none", shown(text.as_bytes())))
        }
        Kind::AbsolutePath => path(text),
        Kind::Glob => glob(text),
        Kind::Text(most) => plain_text(text, *most),
        Kind::Variable => variable(text),
        Kind::Word(words) => word(words, text),
        Kind::Secret => secret(text),
        Kind::Webhook => webhook(text),
        Kind::Listen => listen(text).map(drop),
        _ => Ok(()),
    }
}

fn path(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("can't be empty".to_owned());
    }
    if text.contains('\0') {
        return Err("has a zero character".to_owned());
    }
    match text.strip_prefix('~') {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => {
            Err("begins with `~` and a name; `~/` is your own home, write that of others in full".to_owned())
        }
        Some(_) if crate::home::user_home().is_none() => {
            Err("begins with `~`, and HOME is not set".to_owned())
        }
        _ => Ok(()),
    }
}

fn host(text: &str) -> Result<(), String> {
    text.parse::<AllowedHost>()
        .map(drop)
        .map_err(|error| format!("has a wrong entry: {}", shown(error.to_string().as_bytes())))
}

fn glob(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > GLOB_MAX {
        return Err(format!("must be a pattern of 1 to {GLOB_MAX} bytes"));
    }
    let glob = globset::GlobBuilder::new(text).literal_separator(true).build();
    // The set is made because only that says where a pattern is too large; a matcher alone would panic.
    glob.and_then(|glob| globset::GlobSetBuilder::new().add(glob).build())
        .map(drop)
        .map_err(|error| format!("is no pattern for paths: {}", shown(error.kind().to_string().as_bytes())))
}

fn plain_text(text: &str, most: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("can't be empty".to_owned());
    }
    if text.len() > most {
        return Err(format!("has {} bytes, at most {most} are allowed", text.len()));
    }
    // An escape sequence would be typed into the agent's terminal, or printed on the user's.
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err("has a control character".to_owned());
    }
    Ok(())
}

fn variable(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(fits) {
        return Err("must be the name of a variable: letters, digits and `_`".to_owned());
    }
    Ok(())
}

/// Checks a word against those that are known.
pub(super) fn word(words: &[&'static str], text: &str) -> Result<(), String> {
    if words.contains(&text) {
        return Ok(());
    }
    let all = hints::list(words);
    match hints::nearest(words.iter().copied(), text) {
        Some(near) => Err(format!("can't be `{}`, did you mean `{near}`? It is {all}", hints::quoted(text))),
        None => Err(format!("can't be `{}`; it is {all}", hints::quoted(text))),
    }
}

fn secret(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("can't be empty".to_owned());
    }
    secret_or_none(text)
}

/// Checks a secret that may be empty.
pub(super) fn secret_or_none(text: &str) -> Result<(), String> {
    if text.len() > SECRET_MAX {
        return Err(format!("has more than {SECRET_MAX} bytes"));
    }
    // It goes into a header or an address.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("has a space or a control character".to_owned());
    }
    Ok(())
}

fn webhook(text: &str) -> Result<(), String> {
    if text.len() > SECRET_MAX {
        return Err(format!("has more than {SECRET_MAX} bytes"));
    }
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let rest = if lower.starts_with("https://") {
        text.get(8..)
    } else if lower.starts_with("http://") {
        text.get(7..)
    } else {
        return Err("must begin with `https://` or `http://`".to_owned());
    };
    let rest = rest.unwrap_or_default();
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("has a space or a control character".to_owned());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("can't have a user name or password".to_owned());
    }
    if authority.starts_with('*') || authority.parse::<AllowedHost>().is_err() {
        return Err("has no valid host".to_owned());
    }
    Ok(())
}

/// Reads an address to listen on; nothing where the text is empty.
pub(crate) fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => text.parse().ok(),
    };
    match address {
        Some(address) if address.port() == 0 => Err("must have a port from 1 to 65535".to_owned()),
        Some(address) => Ok(Some(address)),
        None => {
            Err("must be an address and port, as `127.0.0.1:7878`, `[::1]:7878` or `localhost:7878`"
                .to_owned())
        }
    }
}
