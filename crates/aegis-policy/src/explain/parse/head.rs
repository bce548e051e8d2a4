//! Mistakes in a policy's annotations, effect and head.

use std::ops::Range;

use crate::explain::literal::{ACTION, AGENT, RESOURCE, shown};
use crate::explain::parse::Mistakes;
use crate::explain::tokens::{is_name, is_string};
use crate::explain::{EXAMPLE, words};

/// What a head has, in this order.
const PARTS: [&str; 3] = ["principal", "action", "resource"];

/// Looks at all up to the end of the head; returns where what follows begins, where there is a head.
pub(super) fn look(found: &mut Mistakes<'_>) -> Option<usize> {
    let effect = annotations(found)?;
    if !is_effect(found, effect) {
        return None;
    }
    let open = effect + 1;
    if found.word(open) != "(" {
        let help = "who, what and on what stand in parentheses: `permit (principal, action, resource)`";
        found.tell(open, open, format!("a `(` is missing behind `{}`", found.word(effect)), help);
        return None;
    }
    let close = found.tokens.closing(open);
    let parts = parts(found, open + 1, close);
    if small_letters(found, &parts) {
        return Some(close + 1);
    }
    for part in &parts {
        if looked_at(found, part) {
            return Some(close + 1);
        }
    }
    order(found, open, &parts);
    Some(close + 1)
}

/// Skips annotations; returns nothing where one is wrong.
fn annotations(found: &mut Mistakes<'_>) -> Option<usize> {
    let mut at = 0;
    while found.word(at) == "@" {
        let name = found.word(at + 1);
        if found.word(at + 2) != "(" {
            if is_string(found.word(at + 2)) {
                let help = format!("write `@{name}({})`", found.word(at + 2));
                found.tell(at + 2, at + 2, format!("what `@{name}` says stands in parentheses"), help);
                return None;
            }
            at += 2;
            continue;
        }
        let close = found.tokens.closing(at + 2);
        if !is_string(found.word(at + 3)) || close != at + 4 {
            let said = shown(found.tokens.text(at + 3, close)).replace("\\\"", "");
            let last = close.saturating_sub(1).max(at + 3);
            found.tell(
                at + 3,
                last,
                format!("what `@{name}` says stands in double quotes"),
                format!("write `@{name}(\"{said}\")`"),
            );
            return None;
        }
        at = close + 1;
    }
    Some(at)
}

fn is_effect(found: &mut Mistakes<'_>, at: usize) -> bool {
    let word = found.word(at);
    let meant = match word.to_lowercase().as_str() {
        "permit" | "allow" | "grant" | "accept" => "permit",
        "forbid" | "deny" | "block" | "reject" | "prohibit" | "disallow" => "forbid",
        _ if is_name(word) && found.word(at + 1) == "(" => {
            found.tell(
                at,
                at,
                format!("`{word}` begins no policy"),
                "a policy begins with `permit` or `forbid`",
            );
            return false;
        }
        _ if word.is_empty() => return false,
        _ => {
            found.tell(at, at, "here begins no policy", EXAMPLE);
            return false;
        }
    };
    if word == meant {
        return true;
    }
    if word.to_lowercase() == meant {
        let help = "write `permit`, `forbid`, `principal`, `action` and `resource` with small letters";
        found.tell(at, at, format!("`{word}` is written with small letters"), help);
    } else {
        let help = format!("a policy begins with `permit` or `forbid`: write `{meant}`");
        found.tell(at, at, format!("`{word}` begins no policy"), help);
    }
    false
}

/// Cuts the head at its commas.
fn parts(found: &Mistakes<'_>, first: usize, end: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (first, first);
    while at < end {
        match found.word(at) {
            "(" | "[" | "{" => at = found.tokens.closing(at),
            "," => {
                parts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if start < end {
        parts.push(start..end);
    }
    parts
}

fn small_letters(found: &mut Mistakes<'_>, parts: &[Range<usize>]) -> bool {
    let wrong = parts.iter().map(|part| part.start).find(|at| {
        let word = found.word(*at);
        !PARTS.contains(&word) && PARTS.contains(&word.to_lowercase().as_str())
    });
    if let Some(at) = wrong {
        let word = found.word(at);
        let help = "write `permit`, `forbid`, `principal`, `action` and `resource` with small letters";
        found.tell(at, at, format!("`{word}` is written with small letters"), help);
    }
    wrong.is_some()
}

/// Looks at one part of the head; says whether something was found.
fn looked_at(found: &mut Mistakes<'_>, part: &Range<usize>) -> bool {
    let name = found.word(part.start);
    let Some(of) = PARTS.into_iter().find(|known| *known == name) else { return false };
    let sign = found.word(part.start + 1);
    let value = part.start + 2;
    if let Some(joint) = joint(found, part) {
        joined(found, of, part, joint);
        return true;
    }
    match sign {
        "==" | "in" => value_of(found, of, sign, value..part.end),
        "=" => {
            found.tell(part.start + 1, part.start + 1, "`=` compares nothing", "Cedar writes `==`");
            true
        }
        "!=" | "<" | ">" | "<=" | ">=" | "has" | "like" | "." | "=~" => condition(found, part),
        _ if sign == ":" && found.word(value) != ":" => {
            let help = format!("write `{of} is {}`", found.tokens.text(value, part.end));
            found.tell(part.start + 1, part.start + 1, "`:` says no type", help);
            true
        }
        _ => false,
    }
}

/// Finds `&&`, `||` and words for them.
fn joint(found: &Mistakes<'_>, part: &Range<usize>) -> Option<usize> {
    let mut at = part.start;
    while at < part.end {
        match found.word(at) {
            "(" | "[" | "{" => at = found.tokens.closing(at),
            "&&" | "||" | "&" | "|" => return Some(at),
            word if matches!(word.to_lowercase().as_str(), "and" | "or") => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn joined(found: &mut Mistakes<'_>, of: &str, part: &Range<usize>, joint: usize) {
    let names = names(found, part);
    let is_or = matches!(found.word(joint).to_lowercase().as_str(), "||" | "|" | "or");
    let text = found.tokens.text(part.start, part.end);
    let help = if is_or && of == "action" && !names.is_empty() {
        format!("write `action in [{}]`", names.join(", "))
    } else if is_or && names.len() > 1 {
        format!("write `{of}` alone, and behind the head `when {{ {of} in [{}] }}`", names.join(", "))
    } else {
        format!("write `{of}` alone, and behind the head `when {{ {text} }}`")
    };
    found.tell(joint, joint, format!("in the head `{of}` is compared once"), help);
}

/// Returns the names of entities in a part, as they are written.
fn names(found: &Mistakes<'_>, part: &Range<usize>) -> Vec<String> {
    part.clone()
        .filter(|at| is_string(found.word(*at)) && found.tokens.before(*at) == "::")
        .map(|at| {
            let mut first = at;
            while first >= 2 && found.word(first - 1) == "::" {
                first -= 2;
            }
            found.tokens.text(first, at + 1).to_owned()
        })
        .collect()
}

fn condition(found: &mut Mistakes<'_>, part: &Range<usize>) -> bool {
    let text = found.tokens.text(part.start, part.end);
    let name = found.word(part.start);
    let own = if PARTS.contains(&name) { format!("`{name}` alone, and ") } else { String::new() };
    let help = format!("write {own}behind the head `when {{ {text} }}`");
    found.tell(part.start, part.end.saturating_sub(1), "a condition stands in the head", help);
    true
}

/// Looks at what a variable is compared with.
fn value_of(found: &mut Mistakes<'_>, of: &str, sign: &str, value: Range<usize>) -> bool {
    if found.word(value.start) == "[" {
        return list_of(found, of, sign, value);
    }
    one_of(found, of, sign, value, None)
}

fn list_of(found: &mut Mistakes<'_>, of: &str, sign: &str, value: Range<usize>) -> bool {
    let close = found.tokens.closing(value.start);
    if of == "action" {
        let items = parts(found, value.start + 1, close);
        let list: Vec<String> = items.iter().map(|item| meant(found, item)).collect();
        let list = list.join(", ");
        for item in items {
            if one_of(found, of, "in", item, Some(&list)) {
                return true;
            }
        }
        if sign == "in" {
            return false;
        }
    }
    let text = found.tokens.text(value.start, close + 1);
    let last = close.min(value.end.saturating_sub(1));
    if of == "action" {
        let help = format!("write `action in {text}`");
        found.tell(value.start, last, "an action is not equal to several", help);
    } else {
        let help = format!(
            "before the conditions only one may stand; write `{of}` alone, and behind the head `when {{ {of} in {text} }}`"
        );
        found.tell(value.start, last, format!("in the head `{of}` is compared with one name"), help);
    }
    true
}

/// Looks at one name.
fn one_of(found: &mut Mistakes<'_>, of: &str, sign: &str, value: Range<usize>, list: Option<&str>) -> bool {
    let first = value.start;
    let last = value.end.saturating_sub(1).max(first);
    let word = found.word(first);
    if is_string(word) && last == first {
        let text = found.tokens.string(first).unwrap_or_default();
        let (head, right) = right(of, sign, &text);
        let help = list
            .map_or_else(|| format!("write `{head} {right}`"), |list| format!("write `action in [{list}]`"));
        found.tell(first, first, format!("{word} is a text, not a name"), help);
        return true;
    }
    if word == "?" {
        let help =
            "templates with `?principal` or `?resource` are not linked by Aegis: write the value itself";
        found.tell(first, last, format!("`{}` stands for nothing", found.tokens.text(first, last + 1)), help);
        return true;
    }
    if matches!(word, "/" | "~" | "$" | "*" | "." | "\\") {
        let (head, _) = right(of, sign, "");
        let kind = kind_of(of);
        found.tell(
            first,
            first,
            "a path stands in double quotes",
            format!("write `{head} {kind}::\"/home/me/project\"`"),
        );
        return true;
    }
    if !is_name(word) || of == "action" && word == "action" {
        return false;
    }
    // A type and, in quotes, a name.
    let is_path = (first..=last).all(|at| if (at - first) % 2 == 1 { found.word(at) == "::" } else { true });
    if !is_path {
        return false;
    }
    if !is_string(found.word(last)) {
        let (head, right) = right(of, sign, found.word(last));
        let help = list
            .map_or_else(|| format!("write `{head} {right}`"), |list| format!("write `action in [{list}]`"));
        found.tell(
            first,
            last,
            format!("`{}` needs double quotes", found.tokens.text(first, last + 1)),
            help,
        );
        return true;
    }
    let kind: String = (first..last.saturating_sub(1)).map(|at| found.word(at)).collect();
    // The parser takes any type whose last part is `Action`; the validator tells of the others.
    if of == "action" && !kind.ends_with("Action") {
        let text = found.tokens.string(last).unwrap_or_default();
        let (_, right) = right(of, sign, &text);
        found.tell(first, last, format!("`{kind}` is no type of actions"), format!("write `{right}`"));
        return true;
    }
    false
}

fn kind_of(of: &str) -> &'static str {
    match of {
        "principal" => AGENT,
        "action" => ACTION,
        _ => RESOURCE,
    }
}

/// Returns both sides of a comparison as they should be.
fn right(of: &str, sign: &str, text: &str) -> (String, String) {
    if of != "action" {
        return (format!("{of} {sign}"), format!("{}::\"{}\"", kind_of(of), shown(text)));
    }
    let meant = words::nearest_action(text).unwrap_or(text);
    let sign = if words::GROUPS.contains(&meant) { "in" } else { sign };
    (format!("action {sign}"), words::action(meant))
}

/// Looks at what the head has: `principal`, `action` and `resource`, each once.
fn order(found: &mut Mistakes<'_>, open: usize, parts: &[Range<usize>]) {
    let names: Vec<&str> = parts.iter().map(|part| found.word(part.start)).collect();
    if names == PARTS {
        return;
    }
    let order = "the head is `(principal, action, resource)`, in this order";
    for (index, part) in parts.iter().enumerate() {
        let name = names.get(index).copied().unwrap_or_default();
        let is_again = names.iter().take(index).any(|before| *before == name);
        let follows_action = index > 0 && names.iter().take(index).any(|before| *before == "action");
        if PARTS.contains(&name) && !is_again {
            continue;
        }
        let is_entity = is_string(found.word(part.end.saturating_sub(1)))
            && (part.len() == 1 || is_name(name) && found.word(part.start + 1) == "::");
        if is_entity && follows_action {
            return list_without_brackets(found, parts, index);
        }
        if name == "context" || part.len() > 1 {
            condition(found, part);
            return;
        }
        found.tell(
            part.start,
            part.end.saturating_sub(1),
            format!("`{name}` does not belong in the head"),
            order,
        );
        return;
    }
    let missing: Vec<&str> = PARTS.into_iter().filter(|part| !names.contains(part)).collect();
    let wrong = PARTS.iter().zip(&names).position(|(right, name)| right != name).unwrap_or(names.len());
    let at = parts.get(wrong).map_or_else(|| found.tokens.closing(open), |part| part.start);
    let message = if missing.is_empty() {
        format!("`{}` stands before `{}`", found.word(at), PARTS.get(wrong).copied().unwrap_or_default())
    } else {
        let list: Vec<String> = missing.iter().map(|part| format!("`{part}`")).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        format!("the head has no {}", words::in_words(&list))
    };
    let own: Vec<&str> = PARTS
        .into_iter()
        .map(|part| {
            let own = names.iter().position(|name| *name == part).and_then(|index| parts.get(index));
            own.map_or(part, |own| found.tokens.text(own.start, own.end))
        })
        .collect();
    let effect = found.word(open.saturating_sub(1));
    found.tell(at, at, message, format!("{order}: write `{effect} ({})`", own.join(", ")));
}

/// Returns the action that is most likely meant by the last word of a name.
fn meant(found: &Mistakes<'_>, part: &Range<usize>) -> String {
    let last = part.end.saturating_sub(1);
    let text = found.tokens.string(last).unwrap_or_else(|| found.word(last).to_owned());
    words::action(words::nearest_action(&text).unwrap_or(&text))
}

/// Tells of `action in A, B`.
fn list_without_brackets(found: &mut Mistakes<'_>, parts: &[Range<usize>], index: usize) {
    let is_name_of_action = |part: &&Range<usize>| is_string(found.word(part.end.saturating_sub(1)));
    let list: Vec<String> = parts
        .iter()
        .take(index + 1)
        .skip(1)
        .filter(is_name_of_action)
        .map(|part| meant(found, part))
        .collect();
    let Some(part) = parts.get(index) else { return };
    found.tell(
        part.start,
        part.end.saturating_sub(1),
        "several actions stand in brackets",
        format!("write `action in [{}]`", list.join(", ")),
    );
}
