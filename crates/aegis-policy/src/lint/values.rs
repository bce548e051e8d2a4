//! The values that attributes can have, and what is meant by others.

use std::net::IpAddr;

use cedar_policy::pst::{BinaryOp, UnaryOp};

use super::Kind;
use crate::explain::literal::{AGENT, RESOURCE, shown as quoted};
use crate::explain::words;
use crate::problem::Severity;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) help: String,
}

impl Told {
    pub(super) fn error(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), help: help.into() }
    }

    fn warning(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, message: message.into(), help: help.into() }
    }
}

/// Returns a comparison as it is written.
pub(super) fn sign(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::NotEq => "!=",
        BinaryOp::Less => "<",
        BinaryOp::LessEq => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterEq => ">=",
        BinaryOp::In => "in",
        _ => "==",
    }
}

/// Looks at a text that an attribute is compared with.
pub(super) fn text(chain: &str, value: &str) -> Option<Told> {
    match chain {
        "resource.extension" => extension(value),
        "resource.name" => name(value),
        "resource.path" => path(chain, value),
        "resource.host" => host(value),
        "context.process.exe" if value.is_empty() => None,
        "context.process.exe" => program(value).or_else(|| path(chain, value)),
        "context.direction" => one_of(chain, value, &["connect", "listen"]),
        "context.mode" => one_of(chain, value, &["wrap", "pilot", "run"]),
        _ => None,
    }
}

fn extension(value: &str) -> Option<Told> {
    let last = value.rsplit('.').next().unwrap_or_default();
    if value.is_empty() {
        return Some(Told::warning(
            "an extension is never empty",
            "for names without one write `!(resource has extension)`",
        ));
    }
    if value.contains('*') {
        let help = format!("write `resource has name && resource.name like \"{}\"`", quoted(value));
        return Some(Told::error("`*` has a meaning in `like` only", help));
    }
    if value.starts_with('.') && value.matches('.').count() == 1 {
        return Some(Told::error("an extension is without its dot", format!("write \"{}\"", quoted(last))));
    }
    if value.contains('.') {
        let help = format!(
            "write \"{}\", or `resource.name like \"*.{}\"`",
            quoted(last),
            quoted(value.trim_start_matches('.'))
        );
        return Some(Told::error("an extension is what follows the last dot", help));
    }
    value.contains('/').then(|| Told::error("an extension has no `/`", "compare `resource.path`".to_owned()))
}

fn name(value: &str) -> Option<Told> {
    if value.contains('/') {
        let pattern = if value.starts_with('/') { quoted(value) } else { format!("*/{}", quoted(value)) };
        let help = format!(
            "it is the last part of the path; for the path write `resource has path && resource.path like \"{pattern}\"`"
        );
        return Some(Told::error("a name has no `/`", help));
    }
    if value.contains('*') {
        return Some(Told::error("`*` has a meaning in `like` only", pattern_for("resource.name", value)));
    }
    value
        .is_empty()
        .then(|| Told::error("a name is never empty", "for the root write `!(resource has name)`"))
}

/// Says to write `like`, with a regular expression taken for the pattern that it means.
fn pattern_for(chain: &str, value: &str) -> String {
    let plain = value.trim_start_matches('^').trim_end_matches('$').replace(".*", "*").replace("\\.", ".");
    format!("write `{chain} like \"{}\"`; there is no other special character", quoted(&plain))
}

fn path(chain: &str, value: &str) -> Option<Told> {
    if value.contains('*') {
        return Some(Told::error("`*` has a meaning in `like` only", pattern_for(chain, value)));
    }
    if let Some(told) = not_absolute(value) {
        return Some(told);
    }
    if value.split('/').any(|part| part == "." || part == "..") || value.contains("//") {
        return Some(Told::error(
            "`.`, `..` and `//` are resolved before a policy is asked",
            "write the path as it resolves",
        ));
    }
    if value.len() > 1 && value.ends_with('/') {
        let right = quoted(value.trim_end_matches('/'));
        return Some(Told::error(
            "a path has no `/` at its end",
            format!("for all in a directory write `resource in {RESOURCE}::\"{right}\"`"),
        ));
    }
    None
}

fn not_absolute(value: &str) -> Option<Told> {
    if value.starts_with('/') {
        return None;
    }
    let whole = "write the whole path: \"/home/me/...\"";
    Some(if value.starts_with('~') {
        Told::error("`~` stands for nothing here", whole)
    } else if value.starts_with(['$', '%']) {
        Told::error("variables are not replaced", whole)
    } else {
        let end = quoted(value.trim_start_matches("./"));
        Told::error("a path is absolute", format!("{whole}, or `like \"*/{end}\"` for any that ends so"))
    })
}

fn program(value: &str) -> Option<Told> {
    (!value.is_empty() && !value.contains(['/', '*', '~', '$'])).then(|| {
        let value = quoted(value);
        Told::error(
            "a program is its absolute path",
            format!("write `context.process.exe == \"/usr/bin/{value}\"` or `context.process.exe like \"*/{value}\"`"),
        )
    })
}

fn host(value: &str) -> Option<Told> {
    let after = value.split_once("://").map(|(_, rest)| rest);
    if let Some(rest) = after {
        let host = rest.split(['/', ':']).next().unwrap_or_default().to_lowercase();
        return Some(Told::error("a host is no URL", format!("write \"{}\"", quoted(&host))));
    }
    if let Some((network, _)) = value.split_once('/') {
        return Some(if network.parse::<IpAddr>().is_ok() {
            let help = format!("write `resource has address && resource.address.isInRange(ip(\"{value}\"))`");
            Told::error("a host is no network", help)
        } else {
            Told::error("a host has no `/`", format!("write \"{}\"", quoted(network)))
        });
    }
    if value.contains('*') {
        let help = format!("write `resource.host like \"{}\"`", quoted(value));
        return Some(Told::error("`*` has a meaning in `like` only", help));
    }
    if value.parse::<IpAddr>().is_err()
        && let Some((host, port)) = value.rsplit_once(':')
    {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
        let help = format!(
            "write `resource.host == \"{}\" && resource has port && resource.port == {}`",
            quoted(&host),
            quoted(port)
        );
        return Some(Told::error("a host is without its port", help));
    }
    if value.contains(|c: char| c.is_ascii_uppercase()) {
        return Some(Told::error("hosts have small letters", format!("write \"{}\"", value.to_lowercase())));
    }
    value.is_empty().then(|| Told::error("a host is never empty", "for any host write `resource has host`"))
}

fn one_of(chain: &str, value: &str, known: &[&'static str]) -> Option<Told> {
    if known.contains(&value) {
        return None;
    }
    let meant = match value.to_lowercase().as_str() {
        "outbound" | "outgoing" | "out" | "egress" | "send" => Some("connect"),
        "inbound" | "incoming" | "in" | "ingress" | "bind" | "accept" | "server" => Some("listen"),
        _ => words::nearest_of(value, known),
    }
    .filter(|meant| known.contains(meant));
    let list: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let values = format!("it is one of {}", words::in_words(&list));
    Some(Told::error(
        format!("`{chain}` is never \"{}\"", quoted(value)),
        meant.map_or(values.clone(), |meant| format!("write \"{meant}\"; {values}")),
    ))
}

/// Looks at a text that something is compared with that is no text.
pub(super) fn no_text(chain: &str, kind: Kind, sign: &str, text: &str) -> Option<Told> {
    let shown = quoted(text);
    let is = |what: &str| format!("`{chain}` is {what}, \"{shown}\" is a text");
    let told = match kind {
        Kind::Number => Told::error(
            is("a number"),
            match text.trim().parse::<i64>() {
                Ok(number) => format!("write `{chain} {sign} {number}`, without quotes"),
                Err(_) => "numbers stand without quotes".to_owned(),
            },
        ),
        Kind::Truth => {
            let not = matches!(text.to_lowercase().as_str(), "false" | "no" | "0");
            Told::error(is("true or false"), format!("write `{}{chain}`", if not { "!" } else { "" }))
        }
        Kind::Address => {
            let help = if text.contains('/') {
                format!("write `{chain}.isInRange(ip(\"{shown}\"))`")
            } else if text.parse::<IpAddr>().is_ok() {
                format!("write `{chain} {sign} ip(\"{shown}\")`")
            } else {
                format!(
                    "for the name of a host write `resource has host && resource.host {sign} \"{shown}\"`"
                )
            };
            Told::error(is("an address"), help)
        }
        Kind::Time => Told::error(is("a moment"), time_help(sign, text)),
        Kind::Span => {
            let span = hours(text).unwrap_or_else(|| text.to_owned());
            Told::error(
                is("a time of day"),
                format!("write `{chain} {sign} duration(\"{}\")`", quoted(&span)),
            )
        }
        Kind::Set => Told::error(is("a set"), format!("write `{chain}.contains(\"{shown}\")`")),
        Kind::Record if chain == "context.process" => {
            let exe = if text.starts_with('/') { shown.clone() } else { format!("/usr/bin/{shown}") };
            let name = text.rsplit('/').next().unwrap_or_default();
            Told::error(
                format!("`{chain}` is not a text"),
                format!(
                    "write `context.process.exe == \"{exe}\"` or `context.process.exe like \"*/{}\"`",
                    quoted(name)
                ),
            )
        }
        Kind::Entity => entity(chain, sign, text)?,
        _ => return None,
    };
    Some(told)
}

fn time_help(sign: &str, text: &str) -> String {
    match hours(text) {
        Some(span) => format!(
            "for a time of each day, in UTC, write `context.time.toTime() {sign} duration(\"{span}\")`"
        ),
        None => format!(
            "write `context.time {sign} datetime(\"{}\")`; a time of each day is `context.time.toTime() {sign} duration(\"22h\")`",
            quoted(text)
        ),
    }
}

/// Reads a time of day, `HH:MM` or hours, as a duration is written.
fn hours(text: &str) -> Option<String> {
    let text = text.trim();
    let (hours, rest) = text.split_once(':').unwrap_or((text, "00"));
    let minutes = rest.split(':').next().unwrap_or_default();
    let hours: u8 = hours.trim_end_matches('h').parse().ok().filter(|hours| *hours <= 24)?;
    let minutes: u8 = minutes.parse().ok().filter(|minutes| *minutes < 60)?;
    Some(if minutes == 0 { format!("{hours}h") } else { format!("{hours}h{minutes}m") })
}

fn entity(chain: &str, sign: &str, text: &str) -> Option<Told> {
    let message = format!("`{chain}` is never a text");
    let right = match chain {
        "principal" if text == "*" => return Some(Told::error(message, "for any agent leave it out")),
        "principal" => format!("{AGENT}::\"{}\"", quoted(text)),
        "resource" => format!("{RESOURCE}::\"{}\"", quoted(text)),
        "action" => {
            let Some(meant) = words::nearest_action(text) else {
                return Some(Told::error(message, words::action_help(text)));
            };
            let sign = if words::GROUPS.contains(&meant) { "in" } else { sign };
            return Some(Told::error(message, format!("write `action {sign} {}`", words::action(meant))));
        }
        _ => return None,
    };
    Some(Told::error(message, format!("write `{chain} {sign} {right}`")))
}

/// Looks at a number that an attribute is compared with.
pub(super) fn number(chain: &str, number: i64) -> Option<Told> {
    (chain == "resource.port" && !(0..=65_535).contains(&number))
        .then(|| Told::error(format!("no port is {number}"), "a port is a number from 1 to 65535"))
}

/// Looks at an address that an address is compared with.
pub(super) fn network(chain: &str, text: &str) -> Option<Told> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let all = if address.is_ipv4() { "32" } else { "128" };
    (bits != all).then(|| {
        Told::error(
            "an address is never equal to a network",
            format!("write `{chain}.isInRange(ip(\"{}\"))`", quoted(text)),
        )
    })
}

/// Doubts that all arguments, in any order, are meant.
pub(super) fn all_arguments(texts: &[String]) -> Told {
    let list: Vec<String> = texts.iter().map(|text| format!("\"{}\"", quoted(text))).collect();
    let help = match list.as_slice() {
        [one] => format!("for one among others write `context.arguments.contains({one})`"),
        _ => format!("for these among others write `context.arguments.containsAll([{}])`", list.join(", ")),
    };
    Told::warning("the arguments are exactly these, in any order; the program's name is one of them", help)
}

/// Looks at a pattern of `like`.
pub(super) fn pattern(chain: &str, key: &[Option<char>]) -> Option<Told> {
    let text: String = key.iter().map(|c| c.unwrap_or('*')).collect();
    never_fits(chain, key, &text).or_else(|| doubtful(chain, key, &text))
}

/// Finds patterns that nothing fits.
fn never_fits(chain: &str, key: &[Option<char>], text: &str) -> Option<Told> {
    let has = |wanted: char| key.contains(&Some(wanted));
    if key.iter().all(Option::is_some) && !matches!(chain, "resource.path" | "context.process.exe") {
        // It is as `==`, but that `\*` is meant as it stands.
        return self::text(chain, &text.replace('*', "x")).filter(|told| told.severity == Severity::Error);
    }
    match chain {
        "resource.path" | "context.process.exe" if !matches!(key.first(), Some(None | Some('/'))) => {
            if key.is_empty() && chain == "context.process.exe" {
                return None;
            }
            let mut told = not_absolute(text)?;
            if told.message == "a path is absolute" {
                told.message = "a path begins with `/`, so nothing fits".to_owned();
                told.help = format!(
                    "write `{chain} like \"*/{0}\"`, or with the whole path \"/home/me/project/{0}\"",
                    quoted(text.trim_start_matches("./").trim_start_matches('^'))
                );
            }
            Some(told)
        }
        "resource.name" if has('/') => {
            let start = if text.starts_with(['*', '/']) { "" } else { "*/" };
            let help = format!("write `resource has path && resource.path like \"{start}{}\"`", quoted(text));
            Some(Told::error("a name has no `/`", help))
        }
        "resource.extension" if has('.') || has('/') => {
            let help = format!("write `resource has name && resource.name like \"{}\"`", quoted(text));
            Some(Told::error("an extension is what follows the last dot, without it", help))
        }
        "resource.host" if has('/') => {
            Some(Told::error("a host has no `/`", "it is a name or an address, without scheme and path"))
        }
        "resource.host" if key.iter().flatten().any(char::is_ascii_uppercase) => {
            let help = format!("write \"{}\"", quoted(&text.to_lowercase()));
            Some(Told::error("hosts have small letters", help))
        }
        "resource.host" => {
            let (host, port) = text.rsplit_once(':').filter(|(host, _)| host.contains('.'))?;
            let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit() || b == b'*');
            is_port.then(|| {
                let end = if port.contains('*') {
                    String::new()
                } else {
                    format!(" && resource has port && resource.port == {port}")
                };
                Told::error(
                    "a host is without its port",
                    format!("write `resource.host like \"{}\"{end}`", quoted(host)),
                )
            })
        }
        _ => None,
    }
}

/// Finds patterns with signs that are special elsewhere.
fn doubtful(chain: &str, key: &[Option<char>], text: &str) -> Option<Told> {
    if chain == "resource.path" && key.len() > 1 && key.last() == Some(&Some('/')) {
        let help = format!("for all below a directory write \"{}*\"", quoted(text));
        return Some(Told::warning("a path has no `/` at its end", help));
    }
    let is_name = matches!(
        chain,
        "resource.path" | "resource.name" | "resource.extension" | "resource.host" | "context.process.exe"
    );
    let special = if key.windows(2).any(|two| two == [None, None]) {
        "**"
    } else {
        ["[", "{", "?"].into_iter().find(|sign| is_name && text.contains(*sign))?
    };
    let message = match special {
        "**" => "`**` is the same as `*`".to_owned(),
        sign => format!("`{sign}` stands for itself"),
    };
    let help = "only `*` is special: it stands for anything, `/` included";
    Some(Told::warning(message, help))
}

/// Says what to write in place of `like` on what is no text; nothing where that is not known.
pub(super) fn like_help(chain: &str, text: &str) -> Option<String> {
    let pattern = quoted(text);
    let plain = quoted(text.trim_matches('*'));
    Some(match chain {
        "resource" => format!("write `resource has path && resource.path like \"{pattern}\"`"),
        "principal" => format!("write `principal == {AGENT}::\"NAME\"`; for several `principal in [..., ...]`"),
        "action" => format!("write `action in {}`", words::list_of_actions(&["FileRead", "FileWrite"])),
        "context.arguments" => format!(
            "for an argument write `context.arguments.contains(\"{plain}\")`, for a part of the command line `resource has command && resource.command like \"{pattern}\"`"
        ),
        "context.process" => format!("write `context.process.exe like \"{pattern}\"`"),
        "resource.port" => "compare numbers: `resource.port >= 8000 && resource.port < 9000`".to_owned(),
        "resource.address" => {
            "write `resource.address.isInRange(ip(\"10.0.0.0/8\"))`, or `resource has host && resource.host like \"*.example.com\"`".to_owned()
        }
        "context.time" => "write `context.time.toTime() >= duration(\"22h\")`".to_owned(),
        _ => return None,
    })
}

/// Looks at the text that is given to a function.
pub(super) fn of_function(op: UnaryOp, text: &str) -> Option<(&'static str, String, String)> {
    let shown = quoted(text);
    match op {
        UnaryOp::Datetime => {
            let span = hours(text)?;
            let help = format!(
                "a moment has a date: `datetime(\"2030-12-31\")`; for a time of each day, in UTC, write `context.time.toTime() >= duration(\"{span}\")`"
            );
            Some(("datetime", format!("\"{shown}\" is no date"), help))
        }
        UnaryOp::Duration => {
            let span = text.contains(':').then(|| hours(text))??;
            Some(("duration", format!("\"{shown}\" is no duration"), format!("write `duration(\"{span}\")`")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pattern: &str) -> Vec<Option<char>> {
        pattern.chars().map(|c| (c != '*').then_some(c)).collect()
    }

    #[test]
    fn values_that_can_be_are_fine() {
        for (chain, value) in [
            ("resource.extension", "md"),
            ("resource.name", ".env"),
            ("resource.name", "[id].tsx"),
            ("resource.path", "/"),
            ("resource.path", "/a b"),
            ("resource.host", "::1"),
            ("resource.host", "127.0.0.1"),
            ("resource.host", "api.example.com"),
            ("context.process.exe", ""),
            ("context.process.exe", "/bin/sh"),
            ("context.mode", "run"),
            ("context.tool", "X"),
        ] {
            assert_eq!(text(chain, value), None, "{chain} {value}");
        }
        for (chain, value) in [
            ("resource.path", "*"),
            ("resource.path", "/a*"),
            ("resource.path", "*.rs"),
            ("resource.host", "*.example.com"),
            ("resource.host", "2001:db8:*"),
            ("context.process.exe", "*/git"),
            ("resource.command", "git log --format=%{x} ?"),
        ] {
            assert_eq!(pattern(chain, &key(value)), None, "{chain} {value}");
        }
    }

    #[test]
    fn others_are_explained() {
        for (chain, value, message, help) in [
            ("resource.extension", ".md", "without its dot", "\"md\""),
            ("resource.extension", "tar.gz", "last dot", "\"gz\""),
            ("resource.name", "a/b", "no `/`", "\"*/a/b\""),
            ("resource.name", "^id_.*$", "in `like` only", "like \"id_*\""),
            ("resource.path", "/a/", "no `/` at its end", "resource in Aegis::Resource::\"/a\""),
            ("resource.path", "~/a", "`~` stands for nothing", "whole path"),
            ("resource.path", "$HOME/a", "not replaced", "whole path"),
            ("resource.path", "src", "absolute", "*/src"),
            ("resource.host", "API.example.com", "small letters", "api.example.com"),
            ("resource.host", "a.example:443", "without its port", "resource.port == 443"),
            ("resource.host", "[::1]:443", "without its port", "resource.host == \"::1\""),
            ("resource.host", "https://a.example/x", "no URL", "\"a.example\""),
            ("resource.host", "10.0.0.0/8", "no network", "isInRange"),
            ("context.direction", "outbound", "never \"outbound\"", "write \"connect\""),
            ("context.mode", "production", "never", "\"wrap\", \"pilot\" and \"run\""),
            ("context.process.exe", "cargo", "absolute path", "*/cargo"),
        ] {
            let told = text(chain, value).unwrap();
            let fits = told.severity == Severity::Error
                && told.message.contains(message)
                && told.help.contains(help);
            assert!(fits, "{chain} {value}: {told:?}");
        }
        for (chain, value, severity) in [
            ("resource.path", "~/x/*", Severity::Error),
            ("resource.path", "src/*", Severity::Error),
            ("resource.path", "", Severity::Error),
            ("resource.path", "/a/", Severity::Warning),
            ("resource.name", "*/x", Severity::Error),
            ("resource.extension", "*.md", Severity::Error),
            ("resource.host", "*.Example.com", Severity::Error),
            ("resource.host", "*.example.com:443", Severity::Error),
            ("resource.path", "/a/**/b", Severity::Warning),
            ("resource.name", "[a-z]*", Severity::Warning),
        ] {
            assert_eq!(pattern(chain, &key(value)).unwrap().severity, severity, "{chain} {value}");
        }
        assert_eq!(hours("22:30").as_deref(), Some("22h30m"));
        assert_eq!(hours("2030-01-01"), None);
        assert!(network("resource.address", "10.0.0.0/8").is_some());
        assert!(network("resource.address", "10.0.0.1/32").is_none());
    }
}
