//! Mistakes in a policy's conditions.

use crate::explain::literal::{RESOURCE, shown, type_help};
use crate::explain::parse::{Mistakes, TOLD_MAX};
use crate::explain::tokens::{is_name, is_string};
use crate::explain::words;

/// Words that mean something to Cedar.
const KEYWORDS: [&str; 17] = [
    "true",
    "false",
    "if",
    "then",
    "else",
    "in",
    "like",
    "has",
    "is",
    "principal",
    "action",
    "resource",
    "context",
    "when",
    "unless",
    "permit",
    "forbid",
];

/// Looks at what follows the head.
pub(super) fn look(found: &mut Mistakes<'_>, start: usize) {
    let mut at = start;
    // Clauses, each with its braces.
    while at < found.tokens.len() && found.word(at) != ";" {
        match clause(found, at) {
            Some(open) => {
                let close = found.tokens.closing(open);
                conditions(found, open, close);
                at = close + 1;
            }
            None => return,
        }
    }
    if at >= found.tokens.len() && found.all.is_empty() {
        found.tell(at, at, "the policy has no end", "a policy ends with `;`");
    }
}

/// Looks at how conditions begin; returns their brace.
fn clause(found: &mut Mistakes<'_>, at: usize) -> Option<usize> {
    let word = found.word(at);
    let next = found.word(at + 1);
    match word {
        "when" | "unless" if next == "{" => return Some(at + 1),
        "when" | "unless" => {
            let end = if next == "(" { found.tokens.closing(at + 1) } else { at };
            let inner = if end > at { found.tokens.text(at + 2, end) } else { "..." };
            found.tell(
                at + 1,
                at + 1,
                format!("what follows `{word}` stands in braces"),
                format!("a condition stands in braces: `{word} {{ {inner} }}`"),
            );
        }
        "{" => found.tell(at, at, "`when` or `unless` is missing", "write `when { ... }`"),
        "permit" | "forbid" => {
            found.tell(
                at,
                at,
                format!("`{word}` inside of a policy"),
                "the policy before this one needs a `;` at its end",
            );
        }
        "&&" | "||" | "," => {
            let help = "conditions stand behind the head in braces: `when { ... }`, joined by `&&` and `||`";
            found.tell(at, at, format!("`{word}` joins nothing here"), help);
        }
        ")" | "]" | "}" | "" => {}
        _ => {
            let meant = if word.eq_ignore_ascii_case("unless") { "unless" } else { "when" };
            let help = format!("conditions stand in `{meant} {{ ... }}`");
            found.tell(at, at, format!("`{word}` begins no conditions"), help);
        }
    }
    None
}

/// Looks at the conditions in braces.
fn conditions(found: &mut Mistakes<'_>, open: usize, close: usize) {
    let mut brackets = Vec::new();
    for at in open..close {
        if found.all.len() >= TOLD_MAX {
            return;
        }
        match found.word(at) {
            "(" | "[" | "{" => brackets.push(at),
            ")" | "]" | "}" => {
                brackets.pop();
            }
            _ => {}
        }
        if found.word(at) == "," && brackets.last() == Some(&open) {
            found.tell(at, at, "`,` joins no conditions", "write `&&`, so that both must hold");
        }
        token(found, at);
    }
}

fn token(found: &mut Mistakes<'_>, at: usize) {
    let word = found.word(at);
    let before = found.tokens.before(at);
    let next = found.word(at + 1);
    match word {
        "=~" | "!~" | "~" if is_string(next) => regex(found, at, word),
        "=" => found.tell(at, at, "`=` compares nothing", "Cedar writes `==`"),
        "===" => found.tell(at, at, "`===` compares nothing", "Cedar writes `==`"),
        "!==" | "<>" => found.tell(at, at, format!("`{word}` compares nothing"), "Cedar writes `!=`"),
        "&" => found.tell(at, at, "`&` joins nothing", "Cedar writes `&&`"),
        "|" => found.tell(at, at, "`|` joins nothing", "Cedar writes `||`"),
        "?" if matches!(next, "principal" | "resource") => {
            let help =
                "templates with `?principal` or `?resource` are not linked by Aegis: write the value itself";
            found.tell(at, at + 1, format!("`?{next}` stands for nothing"), help);
        }
        "?" => found.tell(at, at, "`?` chooses nothing", "Cedar writes `if ... then ... else ...`"),
        "/" | "~" | "$" | "\\" => {
            let help = format!(
                "a path stands in double quotes, and is absolute: `resource in {RESOURCE}::\"/home/me/project\"`"
            );
            found.tell(at, at, format!("`{word}` begins no text"), help);
        }
        "*" if matches!(before, "like" | "==" | "!=" | "in" | "(" | "&&" | "||" | "{") => {
            found.tell(at, at, "`*` begins no text", "a pattern stands in double quotes: `like \"*.md\"`");
        }
        "[" if number(found.word(at + 1)) && is_name(before) => index(found, at),
        "." if is_name(next) && found.word(at + 2) == "(" => method(found, at + 1),
        _ if is_string(word) && found.tokens.string(at).is_none() => escape(found, at, word, before),
        _ if is_name(word) => name(found, at, word, before, next),
        _ if number(word) => digits(found, at, word, before, next),
        _ => {}
    }
}

fn number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns what stands before a token as it is written: `resource.name` of `resource.name =~`.
fn subject<'a>(found: &Mistakes<'a>, end: usize) -> Option<&'a str> {
    let mut first = end;
    while let Some(last) = first.checked_sub(1) {
        if !is_name(found.word(last)) || KEYWORDS.iter().skip(2).take(7).any(|word| *word == found.word(last))
        {
            break;
        }
        first = last;
        match first.checked_sub(1) {
            Some(dot) if found.word(dot) == "." => first = dot,
            _ => break,
        }
    }
    (first < end).then(|| found.tokens.text(first, end))
}

/// Returns a regular expression as the pattern that it means.
fn pattern_of(regex: &str) -> String {
    let is_open =
        |start: &str, end: bool| if end { !regex.ends_with(start) } else { !regex.starts_with(start) };
    let middle = regex.trim_start_matches('^').trim_end_matches('$').replace("\\.", ".").replace(".*", "*");
    let start = if is_open("^", false) && !middle.starts_with('*') { "*" } else { "" };
    let end = if is_open("$", true) && !middle.ends_with('*') { "*" } else { "" };
    shown(&format!("{start}{middle}{end}").replace('\\', ""))
}

const NO_REGEX: &str =
    "there are no regular expressions: in `like` only `*` is special, it stands for anything";

/// Returns a string without its quotes, whatever its escapes.
fn inner(word: &str) -> &str {
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}

fn regex(found: &mut Mistakes<'_>, at: usize, sign: &str) {
    let subject = subject(found, at).unwrap_or("resource.name");
    let pattern = pattern_of(inner(found.word(at + 1)));
    let like = format!("{subject} like \"{pattern}\"");
    let help = if sign == "!~" { format!("!({like})") } else { like };
    found.tell(at, at + 1, format!("`{sign}` compares nothing"), format!("write `{help}`; {NO_REGEX}"));
}

fn escape(found: &mut Mistakes<'_>, at: usize, word: &str, before: &str) {
    let mut chars = inner(word).chars();
    let mut wrong = '\\';
    while let Some(c) = chars.next() {
        if c == '\\' {
            let next = chars.next().unwrap_or('\\');
            let is_known = matches!(next, 'n' | 'r' | 't' | '0' | '\\' | '\'' | '"' | 'x' | 'u');
            if !(is_known || next == '*' && before == "like") {
                wrong = next;
                break;
            }
        }
    }
    // `\*` is an escape in patterns only.
    if wrong == '\\' {
        return;
    }
    let help = if wrong.is_alphanumeric() && !matches!(wrong, 'd' | 'w' | 's' | 'b' | 'S' | 'W' | 'D') {
        "a `\\` itself is written `\\\\`; paths have `/`".to_owned()
    } else {
        format!("write \"{}\"; {NO_REGEX}", pattern_or_same(inner(word)))
    };
    found.tell(at, at, format!("`\\{wrong}` stands for nothing"), help);
}

fn pattern_or_same(text: &str) -> String {
    let plain = text.trim_start_matches('^').trim_end_matches('$').replace(".*", "*");
    shown(&plain.replace('\\', ""))
}

fn index(found: &mut Mistakes<'_>, at: usize) {
    let Some(subject) = subject(found, at) else { return };
    let value = (at..at + 6).map(|at| found.word(at)).find(|word| is_string(word)).unwrap_or("\"push\"");
    let help = if subject == "context.arguments" {
        format!(
            "write `context.arguments.contains({value})`; for the order compare `resource.command like \"git push*\"`"
        )
    } else {
        format!("write `{subject}.contains({value})`")
    };
    found.tell(at, at + 2, "a set has no order", help);
}

/// Looks at a method; `at` is its name.
fn method(found: &mut Mistakes<'_>, at: usize) {
    let name = found.word(at);
    let subject = subject(found, at.saturating_sub(1)).unwrap_or("resource.path");
    let close = found.tokens.closing(at + 1);
    let given = found.word(at + 2);
    let text = if is_string(given) { inner(given) } else { "..." };
    let Some(help) = method_help(name, subject, text) else { return };
    found.tell(at, close, format!("there is no `.{name}(...)`"), help);
}

/// Says what to write in place of a method; nothing where Cedar has it.
fn method_help(name: &str, subject: &str, text: &str) -> Option<String> {
    let like = |pattern: String| format!("write `{subject} like \"{pattern}\"`");
    Some(match name.to_lowercase().replace('_', "").as_str() {
        "matches" | "match" | "regex" | "regexp" | "test" | "search" | "glob" => {
            format!("{}; {NO_REGEX}", like(pattern_of(text)))
        }
        "startswith" | "hasprefix" | "beginswith" => match subject {
            "resource.path" => format!("{}; for a directory with all below it `resource in {RESOURCE}::\"{text}\"`", like(format!("{text}*"))),
            _ => like(format!("{text}*")),
        },
        "endswith" | "hassuffix" => like(format!("*{text}")),
        "includes" | "indexof" | "containssubstring" => like(format!("*{text}*")),
        "equals" | "eq" => format!("write `{subject} == \"{text}\"`"),
        "has" | "hasattr" | "hasattribute" | "exists" => format!("write `{subject} has {text}`"),
        "in" | "isin" | "within" => format!("write `{subject} in {RESOURCE}::\"{text}\"`"),
        "tolowercase" | "tolower" | "lower" | "toupper" | "touppercase" | "trim" => {
            "texts are compared as they are; for both spellings join two comparisons by `||`".to_owned()
        }
        "length" | "size" | "len" => "texts and sets have no length; a set has `.isEmpty()`".to_owned(),
        "hour" | "gethour" | "hours" | "gethours" => {
            "write `context.time.toTime() >= duration(\"8h\")`".to_owned()
        }
        "contains" | "containsall" | "containsany" | "isempty" | "gettag" | "hastag" | "isipv4" | "isipv6"
        | "isloopback" | "ismulticast" | "isinrange" | "offset" | "durationsince" | "todate" | "totime"
        | "tomilliseconds" | "toseconds" | "tominutes" | "tohours" | "todays" | "lessthan" | "lessthanorequal"
        | "greaterthan" | "greaterthanorequal" => return None,
        _ => "sets have `.contains(...)`, `.containsAny(...)` and `.containsAll(...)`, addresses `.isInRange(...)` and `.isLoopback()`, `context.time` has `.toTime()`; texts are compared by `==` and `like`".to_owned(),
    })
}

/// Looks at a number that is not one.
fn digits(found: &mut Mistakes<'_>, at: usize, word: &str, before: &str, next: &str) {
    if word.contains(|c: char| !c.is_ascii_digit() && c != '_') {
        found.tell(at, at, format!("`{word}` is no number"), format!("a duration is `duration(\"{word}\")`"));
    } else if next == "." && number(found.word(at + 2)) && before != "." {
        found.tell(at, at + 2, "an address stands in quotes", "write `ip(\"10.0.0.0/8\")`");
    } else if next == ":" && number(found.word(at + 2)) {
        let span = format!("{word}h");
        found.tell(
            at,
            at + 2,
            "a time of day stands in quotes",
            format!("write `context.time.toTime() >= duration(\"{span}\")`"),
        );
    }
}

/// Looks at a word that stands by itself.
fn name(found: &mut Mistakes<'_>, at: usize, word: &str, before: &str, next: &str) {
    if KEYWORDS.contains(&word) {
        if word == "like" && !is_string(next) {
            found.tell(
                at + 1,
                at + 1,
                "a pattern is missing behind `like`",
                "a pattern stands in double quotes: `like \"*.md\"`",
            );
        }
        return;
    }
    // What follows `/` belongs to a path that was told of.
    if matches!(before, "." | "has" | "@" | "/" | "~" | "$" | "\\")
        || (next == ":" && found.word(at + 1) == ":" && before != "?" && matches!(before, "{" | ","))
    {
        return;
    }
    if next == "::" {
        return;
    }
    if before == "::" {
        if next != "(" {
            unquoted(found, at);
        }
        return;
    }
    let small = word.to_lowercase();
    match small.as_str() {
        "and" => found.tell(at, at, format!("`{word}` joins nothing"), "Cedar writes `&&`, `||` and `!`"),
        "or" => found.tell(at, at, format!("`{word}` joins nothing"), "Cedar writes `||`, `&&` and `!`"),
        "not" => not(found, at, next),
        "true" | "false" => {
            found.tell(at, at, format!("`{word}` is written with small letters"), format!("write `{small}`"));
        }
        "null" | "nil" | "none" | "undefined" => {
            found.tell(
                at,
                at,
                format!("there is no `{word}`"),
                "ask whether something is there: `resource has path`",
            );
        }
        _ if next == "(" => function(found, at, word),
        _ if before == "is" => {
            let help = type_help(word, None);
            // A type that there may be: the validator tells.
            if !word.starts_with(|c: char| c.is_uppercase()) {
                found.tell(at, at, format!("there is no type `{word}`"), help);
            }
        }
        _ if is_string(next) => operator(found, at, word),
        _ => bare(found, at, word, &small, next),
    }
}

fn not(found: &mut Mistakes<'_>, at: usize, next: &str) {
    if matches!(next, "in" | "like" | "has") {
        let subject = subject(found, at).unwrap_or("resource");
        found.tell(
            at,
            at + 1,
            format!("there is no `not {next}`"),
            format!("write `!({subject} {next} ...)`"),
        );
    } else if found.tokens.before(at) == "is" {
        found.tell(at, at, "there is no `is not`", "write `!=`, or `!(...)`");
    } else {
        found.tell(at, at, "`not` means nothing", "write `!(...)`; Cedar writes `&&`, `||` and `!`");
    }
}

/// Tells of a name of a type without quotes; what follows `is` is a type alone.
fn unquoted(found: &mut Mistakes<'_>, at: usize) {
    let mut first = at;
    while first >= 2 && found.word(first - 1) == "::" {
        first -= 2;
    }
    if found.tokens.before(first) == "is" {
        return;
    }
    let kind: String = (first..at.saturating_sub(1)).map(|at| found.word(at)).collect();
    let word = found.word(at);
    let (kind, word) = match kind.as_str() {
        "Aegis::Action" => (kind.as_str(), words::nearest_action(word).unwrap_or(word)),
        kind => (kind, word),
    };
    let help = format!("write `{kind}::\"{word}\"`");
    found.tell(first, at, format!("`{}` needs double quotes", found.tokens.text(first, at + 1)), help);
}

fn function(found: &mut Mistakes<'_>, at: usize, word: &str) {
    let close = found.tokens.closing(at + 1);
    let given = found.tokens.text(at + 2, close);
    let text = (at..close).map(|at| found.word(at)).find(|word| is_string(word)).map_or("...", inner);
    let first = found.word(at + 2);
    let subject = if is_name(first) && !KEYWORDS.iter().take(9).any(|word| *word == first) {
        let end = (at + 2..close).find(|at| found.word(*at) == ",").unwrap_or(close);
        found.tokens.text(at + 2, end)
    } else {
        "resource.path"
    };
    let help = match word.to_lowercase().replace('_', "").as_str() {
        "ip" | "datetime" | "duration" | "decimal" if word == word.to_lowercase() => return,
        "ip" | "ipaddr" | "ipaddress" | "cidr" | "inet" | "net" | "address" => format!("write `ip({given})`"),
        "date" | "time" | "timestamp" | "datetime" => {
            format!(
                "write `datetime(\"2030-12-31\")`, or for a time of each day `context.time.toTime() >= duration(\"22h\")`, in place of `{word}({given})`"
            )
        }
        "long" | "int" | "integer" | "number" => format!("write `{text}`, without quotes"),
        "string" | "str" => format!("write \"{text}\""),
        "has" => format!("write `{subject} has {text}`"),
        "contains" => format!(
            "write `{subject}.contains(\"{text}\")` of a set, `{subject} like \"*{text}*\"` of a text"
        ),
        other => match method_help(other, subject, text) {
            Some(help) if help.starts_with("write ") => help,
            _ => "there are `ip(\"10.0.0.0/8\")`, `datetime(\"2030-12-31\")` and `duration(\"22h\")`"
                .to_owned(),
        },
    };
    found.tell(at, close, format!("there is no function `{word}`"), help);
}

fn contains(subject: &str, text: &str) -> String {
    match subject {
        "context.arguments" => format!("write `{subject}.contains(\"{text}\")`"),
        _ => format!("write `{subject} like \"*{text}*\"`"),
    }
}

/// Tells of a word in the place of an operator: `resource.path contains "x"`.
fn operator(found: &mut Mistakes<'_>, at: usize, word: &str) {
    let subject = subject(found, at).unwrap_or("resource.path");
    let text = inner(found.word(at + 1));
    let help = match word.to_lowercase().as_str() {
        "contains" => Some(contains(subject, text)),
        _ => method_help(word, subject, text).filter(|help| help.starts_with("write ")),
    };
    let help = help.unwrap_or_else(|| {
        "comparisons are `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `like` and `has`".to_owned()
    });
    found.tell(at, at, format!("`{word}` compares nothing"), help);
}

fn bare(found: &mut Mistakes<'_>, at: usize, word: &str, small: &str, next: &str) {
    let help = if matches!(small, "principal" | "action" | "resource" | "context") {
        format!("write `{small}`")
    } else if matches!(
        small,
        "request" | "input" | "req" | "self" | "this" | "subject" | "object" | "user" | "agent"
    ) {
        "there are `principal`, `action`, `resource` and `context`".to_owned()
    } else if next != "." && words::is_action(word) {
        format!("write `{}`", words::action(word))
    } else if words::OF_RESOURCE.contains(&word) {
        format!("write `resource has {word} && resource.{word} ...`, or \"{word}\" for the text")
    } else if words::actions_with(word).is_some() {
        format!("write `context.{word}`, or \"{word}\" for the text")
    } else {
        format!("write \"{word}\" for the text; there are `principal`, `action`, `resource` and `context`")
    };
    found.tell(at, at, format!("`{word}` stands for nothing"), help);
}
