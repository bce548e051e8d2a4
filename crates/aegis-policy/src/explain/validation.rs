//! Errors and warnings of the validator.

use miette::Diagnostic;

use crate::explain::tokens::Tokens;
use crate::explain::{Explained, literal, plain, raw, words};

/// Says whether an error or a warning is of a policy as a whole, and follows from another where there is one.
pub(crate) fn is_of_whole(error: &dyn Diagnostic) -> bool {
    is_never_asked(error) || is_impossible(&error.to_string())
}

/// Says whether a warning is of a policy whose head fits no request: a forbid of the kind would protect nothing.
pub(crate) fn is_never_asked(error: &dyn Diagnostic) -> bool {
    error.to_string().contains("unable to find an applicable action")
}

fn is_impossible(message: &str) -> bool {
    message.contains("policy is impossible") || message.contains("always evaluates to false")
}

/// Explains an error or a warning of the validator.
pub(crate) fn validation(error: &dyn Diagnostic, text: &str) -> Explained {
    let Explained { at, message, help } = raw(error);
    // The policy is named by its place.
    let message = match message.split_once("`, ") {
        Some((_, rest)) if message.starts_with("for policy `") => rest.to_owned(),
        _ => message,
    };
    let found = at.clone().and_then(|at| text.get(at)).unwrap_or_default();
    let (message, help) = explained(&message, help, found, text, at.as_ref().map_or(0, |at| at.start));
    Explained { at, message, help }
}

fn explained(
    message: &str,
    help: Option<String>,
    found: &str,
    text: &str,
    start: usize,
) -> (String, Option<String>) {
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let attribute = quoted.rsplit('.').next().unwrap_or_default();
    if message.contains("access to optional attribute") {
        return optional(attribute, found, text, start);
    }
    if message.contains("attribute `") && message.contains("in context") {
        return elsewhere(attribute);
    }
    if message.contains("unable to find an applicable action") {
        let help = "the principal is an `Aegis::Agent`, the resource an `Aegis::Resource`, for every action";
        return ("the head of this policy fits no request".to_owned(), Some(help.to_owned()));
    }
    if message.contains("unrecognized entity type") {
        return (format!("there is no type `{quoted}`"), Some(literal::type_help(quoted, None)));
    }
    if is_impossible(message) {
        let help = "its conditions contradict each other, or ask for what none of its actions has";
        return ("this policy never holds".to_owned(), Some(help.to_owned()));
    }
    if message.contains("failed to parse as a") {
        return unread(message, found);
    }
    let told = match message {
        message if message.starts_with("the types ") => {
            plain(message).replace("the types ", "").replace("are not compatible", "are never compared")
        }
        message => plain(message),
    };
    let help = help.map(|help| match help {
        // Its end is of types, as the message.
        help if help.contains("for policy `") => "both sides must be of the same kind".to_owned(),
        help => plain(&help),
    });
    (told, help)
}

fn optional(attribute: &str, found: &str, text: &str, start: usize) -> (String, Option<String>) {
    let tokens = Tokens::new(text.get(..start).unwrap_or_default());
    let last = tokens.len();
    let asked = |at: usize| tokens.word(at) == "has" && tokens.word(at + 1) == attribute;
    let message = format!("not every resource has the optional attribute `{attribute}`");
    if tokens.before(last) == "||" && last.checked_sub(3).is_some_and(asked) {
        let help = format!("write `&&` in place of `||`: `resource has {attribute} && {found} ...`");
        return (message, Some(help));
    }
    let help = format!("ask first: `resource has {attribute} && resource.{attribute} ...`");
    (message, Some(help))
}

fn elsewhere(attribute: &str) -> (String, Option<String>) {
    let actions = words::actions_with(attribute).unwrap_or_default();
    let head = match actions {
        [one] => format!("action == {}", words::action(one)),
        several => format!("action in {}", words::list_of_actions(several)),
    };
    let these = words::in_words(actions);
    (
        format!("`context.{attribute}` is there for {these} only"),
        Some(format!("write `{head}` in the head, or ask first: `context has {attribute} && ...`")),
    )
}

fn unread(message: &str, found: &str) -> (String, Option<String>) {
    let help = if message.contains("datetime") {
        "a moment is `datetime(\"2030-12-31\")` or `datetime(\"2030-12-31T22:00:00Z\")`"
    } else if message.contains("duration") {
        "a duration is `duration(\"22h\")`, `duration(\"1h30m\")` or `duration(\"2d\")`"
    } else if message.contains("IP") || found.starts_with("ip") {
        "an address is `ip(\"192.0.2.7\")`, a network `ip(\"10.0.0.0/8\")`; no names, no ports"
    } else {
        return (plain(message), None);
    };
    let value = found.split_once('(').map_or(found, |(_, rest)| rest.trim_end_matches(')'));
    (format!("{} can't be read", value.trim()), Some(help.to_owned()))
}
