//! Files that are no Cedar at all.

use crate::explain::EXAMPLE;
use crate::explain::tokens::{Tokens, is_name, is_string};
use crate::source::{BOM, TextFault};

/// Says what a file is where it is not Cedar; nothing where it may be.
pub(crate) fn foreign(text: &str) -> Option<TextFault> {
    let start = text.find(|c: char| !c.is_whitespace() && c != BOM)?;
    let body = text.get(start..).unwrap_or_default();
    if ["permit", "forbid", "@"].iter().any(|begin| body.starts_with(begin)) {
        return None;
    }
    let tokens = Tokens::new(body);
    let has_policy = (0..tokens.len())
        .any(|index| matches!(tokens.word(index), "permit" | "forbid") && tokens.word(index + 1) == "(");
    if has_policy {
        return None;
    }
    let what = kind(body, &tokens)?;
    let at = tokens.at(0);
    Some(TextFault {
        at: start + at.start..start + at.end,
        message: format!("this is {what}, not a policy"),
        help: Some(EXAMPLE.to_owned()),
    })
}

fn kind(body: &str, tokens: &Tokens<'_>) -> Option<&'static str> {
    let (first, second, third) = (tokens.word(0), tokens.word(1), tokens.word(2));
    let line = body.lines().next().unwrap_or_default().trim_end();
    let is_sign = |sign: &str| body.starts_with(sign);
    Some(match first {
        "{" if is_string(second) || second == "}" => "JSON",
        "[" if is_string(second) || matches!(second, "{" | "[") => "JSON",
        "[" if line.ends_with(']') => "a settings file",
        "<" => "XML",
        "-" if is_sign("- ") || is_sign("---") => "YAML",
        "package" | "import" | "default" if is_name(second) => "Rego",
        "namespace" | "entity" if is_name(second) => "a schema",
        "action" if is_string(second) => "a schema",
        _ if is_name(first) && second == ":" => "YAML",
        _ if is_name(first) && second == "=" && third != "=" => "a settings file",
        "*" | "!" | "/" | "." => "a list of patterns",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_languages_are_told() {
        for (text, what) in [
            ("{ \"Version\": 1 }", "JSON"),
            ("[{}]", "JSON"),
            ("package aegis\n", "Rego"),
            ("- effect: allow\n", "YAML"),
            ("allow:\n  - read\n", "YAML"),
            ("[aegis]\nx = 1\n", "a settings file"),
            ("*.pem\n", "a list of patterns"),
            ("namespace Aegis {}", "a schema"),
        ] {
            assert_eq!(foreign(text).unwrap().message, format!("this is {what}, not a policy"));
        }
        for text in
            ["", " // x", "permit (principal, action, resource);", "@id(\"x\") permit", "x;", "[ permit ("]
        {
            assert_eq!(foreign(text), None, "{text}");
        }
    }
}
