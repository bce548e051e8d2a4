//! Policies as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aegis_types::Action;

use crate::decide::TMP;
use crate::explain::literal::is_possible;
use crate::learn::places::Place;
use crate::learn::written::permits;
use crate::request::is_within;
use crate::secrets::{IN_HOME, NAMES, PUBLIC_IN_HOME, PUBLIC_KEY, PUBLIC_NAMES, below, common};
use crate::templates::quoted;

/// The longest that a comment shows of a name, in characters.
const SHOWN_MAX: usize = 200;

/// How much of what was left out, and of the rest that is told, the text lists.
const LISTED_MAX: usize = 100;

/// Writes a list into a comment.
pub(super) fn paragraph(out: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    // Writing to a string can't fail.
    let _ = write!(out, "//\n// {title}\n");
    let more = lines.len().saturating_sub(LISTED_MAX);
    for line in lines.into_iter().take(LISTED_MAX) {
        let _ = writeln!(out, "//   {line}");
    }
    if more > 0 {
        let _ = writeln!(out, "//   and {more} more");
    }
}

/// Returns a name in a form that fits into a comment: it has no end of line, and nothing that is not seen.
pub(super) fn shown(name: &str) -> String {
    let mut out: String = name.chars().take(SHOWN_MAX).collect::<String>().escape_debug().to_string();
    if name.chars().nth(SHOWN_MAX).is_some() {
        out.push_str("...");
    }
    // Quotes need no escape here.
    out.replace("\\'", "'").replace("\\\"", "\"")
}

/// Returns the policies that permit actions in places.
pub(super) fn files(actions: &BTreeSet<Action>, places: &BTreeSet<Place>) -> String {
    let (word, id) = words(actions);
    permits(&id, &scope_of(actions), &|count| format!("{word}: {count}."), None, "", places)
}

/// Returns the policies that permit to connect to Unix sockets, or to listen on them, or both.
pub(super) fn sockets(listen: Option<bool>, places: &BTreeSet<Place>) -> String {
    let (id, word, condition) = match listen {
        None => ("sockets", "Connects to Unix sockets and listens on them", None),
        Some(false) => ("sockets", "Connects to Unix sockets", Some(direction(false))),
        Some(true) => ("own-sockets", "Listens on Unix sockets", Some(direction(true))),
    };
    let scope = scope_of(&BTreeSet::from([Action::NetConnect]));
    permits(id, &scope, &|count| format!("{word}: {count}."), condition.as_deref(), "unix:", places)
}

/// Returns the condition on the way of a connection.
pub(super) fn direction(listen: bool) -> String {
    format!("context.direction == \"{}\"", if listen { "listen" } else { "connect" })
}

/// Returns the policy that keeps files closed that are secrets by their name.
pub(super) fn secret_names(home: Option<&str>, has_own_tmp: bool) -> String {
    let (likes, names): (Vec<&str>, Vec<&str>) =
        NAMES.iter().map(|(name, _)| *name).partition(|name| name.contains('*'));
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let likes: Vec<String> = likes.iter().map(|name| format!("resource.name like \"{name}\"")).collect();
    let condition = format!(
        "resource has name &&\n  ({}.contains(resource.name) ||\n    {})",
        list(&names),
        likes.join(" ||\n    ")
    );
    let public: Vec<String> = PUBLIC_NAMES.iter().map(|name| quoted(name)).collect();
    let own = has_own_tmp.then_some(TMP);
    let folders: Vec<String> = own.into_iter().chain(common(home)).map(literal).collect();
    let exception = format!(
        "(resource has name && {}.contains(resource.name)) ||\n  resource in {}",
        list(&public),
        list(&folders)
    );
    let comment = [
        "Secrets by their name, in whatever directory: a forbid wins over any permit. Writing and deleting too, since",
        "a file may be opened for both, and has another name once it was renamed.",
    ];
    let scope = scope_of(&BTreeSet::from([Action::FileRead, Action::FileWrite, Action::FileDelete]));
    policy("secrets", "forbid", &comment.map(str::to_owned), &scope, Some(&condition), Some(&exception))
}

/// Returns the policy that keeps the secrets of a home closed that is in one of these directories.
pub(super) fn secret_places<'a>(home: &str, mut permitted: impl Iterator<Item = &'a str>) -> Option<String> {
    permitted.find(|folder| is_within(home, folder))?;
    let literals = |places: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        places.map(|place| below(home, place)).filter(|id| can_be_named(id)).map(|id| literal(&id)).collect()
    };
    let condition = format!("resource in {}", list(&literals(&mut IN_HOME.iter().map(|(place, _)| *place))));
    let keys = below(home, ".ssh");
    let mut exception = format!("resource in {}", list(&literals(&mut PUBLIC_IN_HOME.iter().copied())));
    if can_be_named(&keys) {
        let _ = write!(
            exception,
            " ||\n  (resource in {} && resource has name && resource.name like \"*{PUBLIC_KEY}\")",
            literal(&keys)
        );
    }
    let actions = Action::ALL.iter().copied().filter(|action| *action != Action::ProcessExit).collect();
    let comment = "Secrets by their place, in a home that is among the system's directories.".to_owned();
    Some(policy(
        "secret-places",
        "forbid",
        &[comment],
        &scope_of(&actions),
        Some(&condition),
        Some(&exception),
    ))
}

/// Says whether a name can be written as an entity; else it has to be compared as a text.
pub(super) fn can_be_named(id: &str) -> bool {
    is_possible(id)
}

pub(super) fn literal(id: &str) -> String {
    format!("Aegis::Resource::{}", quoted(id))
}

pub(super) fn list(values: &[String]) -> String {
    format!("[\n    {}\n  ]", values.join(",\n    "))
}

/// Returns actions in a comment, and as an id.
fn words(actions: &BTreeSet<Action>) -> (String, String) {
    let word = |action: &Action| match action {
        Action::FileRead => ("Reads files", "read"),
        Action::DirList => ("lists directories", "list"),
        Action::FileWrite => ("writes and makes files", "write"),
        Action::FileDelete => ("deletes and renames", "delete"),
        Action::DirCreate => ("makes directories", "make"),
        Action::ProcessSpawn => ("executes programs", "execute"),
        Action::NetConnect => ("connects", "connect"),
        Action::ProcessExit => ("ends", "exit"),
        Action::ToolCall => ("calls tools", "call"),
    };
    let order = |action: &Action| match action {
        Action::FileRead => 0,
        Action::DirList => 1,
        Action::FileWrite => 2,
        Action::FileDelete => 3,
        Action::DirCreate => 4,
        _ => 5,
    };
    let mut sorted: Vec<&Action> = actions.iter().collect();
    sorted.sort_by_key(|action| order(action));
    let (long, short): (Vec<&str>, Vec<&str>) = sorted.into_iter().map(word).unzip();
    let mut long = long.join(", ");
    if let Some(first) = long.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    (long, short.join("-"))
}

/// Returns actions as the scope of a policy has them, groups where all of one is there.
pub(super) fn scope_of(actions: &BTreeSet<Action>) -> String {
    let group = |word: &str, of: &[Action]| {
        let all = of.iter().all(|action| actions.contains(action));
        all.then(|| (format!("Aegis::Action::\"{word}\""), of.to_vec()))
    };
    let groups: Vec<(String, Vec<Action>)> = [
        group("Read", &[Action::FileRead, Action::DirList]),
        group("Write", &[Action::FileWrite, Action::FileDelete, Action::DirCreate]),
    ]
    .into_iter()
    .flatten()
    .collect();
    let single = actions.iter().filter(|action| !groups.iter().any(|(_, of)| of.contains(action)));
    let singles = single.map(|action| format!("Aegis::Action::\"{action}\""));
    let names: Vec<String> = groups.iter().map(|(name, _)| name.clone()).chain(singles).collect();
    match (names.as_slice(), groups.is_empty()) {
        ([one], true) => format!("action == {one}"),
        ([one], false) => format!("action in {one}"),
        _ => format!("action in [{}]", names.join(", ")),
    }
}

/// Writes a policy.
pub(super) fn policy(
    id: &str,
    effect: &str,
    comment: &[String],
    action: &str,
    when: Option<&str>,
    unless: Option<&str>,
) -> String {
    scoped(id, effect, comment, action, "resource", when, unless)
}

pub(super) fn scoped(
    id: &str,
    effect: &str,
    comment: &[String],
    action: &str,
    resource: &str,
    when: Option<&str>,
    unless: Option<&str>,
) -> String {
    let mut out: String = comment.iter().map(|line| format!("// {line}\n")).collect();
    // Writing to a string can't fail.
    let _ = write!(out, "@id(\"{id}\")\n{effect} (\n  principal,\n  {action},\n  {resource}\n)");
    if let Some(when) = when {
        let _ = write!(out, " when {{\n  {when}\n}}");
    }
    if let Some(unless) = unless {
        let _ = write!(out, " unless {{\n  {unless}\n}}");
    }
    out.push_str(";\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_ends_no_line() {
        assert_eq!(shown("/a \"b\" 'c'\n\r\u{2028}\u{202e}é"), "/a \"b\" 'c'\\n\\r\\u{2028}\\u{202e}é");
        assert_eq!(shown(&"x".repeat(201)), format!("{}...", "x".repeat(200)));
    }

    #[test]
    fn actions_are_groups_where_all_of_one_is_there() {
        let scope = |actions: &[Action]| scope_of(&actions.iter().copied().collect());
        assert_eq!(scope(&[Action::FileRead]), "action == Aegis::Action::\"FileRead\"");
        assert_eq!(scope(&[Action::DirList, Action::FileRead]), "action in Aegis::Action::\"Read\"");
        assert_eq!(
            scope(&[Action::DirList, Action::FileRead, Action::FileWrite]),
            "action in [Aegis::Action::\"Read\", Aegis::Action::\"FileWrite\"]"
        );
    }
}
