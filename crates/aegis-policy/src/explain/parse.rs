//! What the parser refuses: what was meant is looked for among the tokens.

use miette::Diagnostic;

use crate::explain::tokens::Tokens;
use crate::explain::{EXAMPLE, Explained, plain, raw};

mod body;
mod head;

/// The most problems that are told of one policy: one mistake often looks like several.
const TOLD_MAX: usize = 2;

/// The most of the parser's errors that are looked at.
const LOOKED_AT_MAX: usize = 20;

/// The most that one may expect in place of something else; more is no help.
const EXPECTED_MAX: usize = 3;

/// Explains why a policy can't be read.
pub(crate) fn parse<'e>(errors: impl Iterator<Item = &'e dyn Diagnostic>, text: &str) -> Vec<Explained> {
    let tokens = Tokens::new(text);
    let mut found = Mistakes { tokens: &tokens, all: Vec::new() };
    let head = head::look(&mut found);
    if let Some(end) = head {
        body::look(&mut found, end);
    }
    let mut told = found.all;
    if told.is_empty() {
        told.extend(errors.take(LOOKED_AT_MAX).map(|error| fallback(error, text, &tokens)));
    }
    told.sort_by_key(|one| one.at.as_ref().map_or(0, |at| at.start));
    told.dedup_by(|b, a| b.at == a.at || b.help.is_some() && b.help == a.help);
    told.truncate(TOLD_MAX);
    told
}

/// What was found in a policy.
struct Mistakes<'t> {
    tokens: &'t Tokens<'t>,
    all: Vec<Explained>,
}

impl<'t> Mistakes<'t> {
    /// Tells of tokens, from the first to the last; once where the same helps.
    fn tell(&mut self, first: usize, last: usize, message: impl Into<String>, help: impl Into<String>) {
        let help = help.into();
        if self.all.iter().any(|told| told.help.as_ref() == Some(&help)) {
            return;
        }
        let at = Some(self.tokens.span(first, last));
        self.all.push(Explained { at, message: message.into(), help: Some(help) });
    }

    fn word(&self, index: usize) -> &'t str {
        self.tokens.word(index)
    }
}

/// Explains an error where no mistake is known.
fn fallback(error: &dyn Diagnostic, text: &str, tokens: &Tokens<'_>) -> Explained {
    let Explained { at, message, help } = raw(error);
    let message = match message.split_once(": expected ") {
        Some((message, expected)) if expected.matches('`').count() > 2 * EXPECTED_MAX => plain(message),
        _ => plain(&message),
    };
    let is_end = at.as_ref().is_none_or(|at| at.start >= text.trim_end().len().saturating_sub(1));
    let help = if is_end && tokens.word(tokens.len().saturating_sub(1)) != ";" {
        Some("a policy ends with `;`".to_owned())
    } else if message.contains("multiple relational operators") {
        Some("write each comparison by itself, joined by `&&`".to_owned())
    } else if message.contains("is not supported") {
        Some("Cedar reckons with `+`, `-` and `*` only".to_owned())
    } else {
        help.map(|help| plain(&help)).or_else(|| (at.as_ref()?.start == 0).then(|| EXAMPLE.to_owned()))
    };
    Explained { at, message, help }
}
