//! What is wrong with a policy, where, and what to do about it.

use std::fmt;
use std::ops::Range;

use crate::source::BOM;

/// How grave a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The set can't be used.
    Error,
    /// The set can be used; it may not mean what its author thinks.
    Warning,
}

impl Severity {
    /// Returns the word that stands for it in output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something wrong with a policy file.
///
/// Displayed it is one line, `FILE:LINE:COLUMN: SEVERITY: MESSAGE`; [`Problem::report`] shows the line with a caret.
/// Neither has a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How grave it is.
    pub severity: Severity,
    /// The file, as it is shown.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of the line it is about, at least 1.
    pub width: usize,
    /// The line itself.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// The longest line that is shown with a caret, in characters.
const LINE_MAX: usize = 200;

impl Problem {
    /// Makes a problem of a place in a text.
    pub(crate) fn at(severity: Severity, file: &str, text: &str, at: Range<usize>, message: String) -> Self {
        let mut start = at.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = text.get(..start).unwrap_or_default();
        // A byte-order mark is shown nowhere, so it takes no column.
        let first = if text.starts_with(BOM) { BOM.len_utf8() } else { 0 };
        let line_start = before.rfind('\n').map_or(first, |newline| newline + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let width = text
            .get(start..at.end.clamp(start, text.len()))
            .map_or(1, |part| part.split('\n').next().unwrap_or_default().chars().count())
            .max(1);
        Self {
            severity,
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            width: width.min((line.chars().count() + 2).saturating_sub(column).max(1)),
            text: line.to_owned(),
            message,
            help: None,
        }
    }

    pub(crate) fn help(self, help: impl Into<Option<String>>) -> Self {
        Self { help: help.into(), ..self }
    }

    /// Returns the problem with its line, a caret below it, and what to do.
    #[must_use]
    pub fn report(&self) -> String {
        let mut out = format!("{self}\n");
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // Of a long line, the part around the place.
        let skip = if self.text.chars().count() > LINE_MAX { self.column.saturating_sub(60) } else { 0 };
        let shown: String = self.text.chars().skip(skip).take(LINE_MAX).map(plain).collect();
        let indent = " ".repeat((self.column - 1).saturating_sub(skip));
        let carets = "^".repeat(self.width.min(LINE_MAX));
        out.push_str(&format!("{margin} |\n{number} | {shown}\n{margin} | {indent}{carets}\n"));
        if let Some(help) = &self.help {
            out.push_str(&format!("{margin} = help: {}\n", clean(help)));
        }
        out
    }
}

fn plain(c: char) -> char {
    if c == '\t' {
        ' '
    } else if c.is_control() || is_bidi(c) {
        '\u{fffd}'
    } else {
        c
    }
}

/// Characters that change the direction of what follows (UAX #9) could make a line look like another.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

fn clean(text: &str) -> String {
    text.chars().map(plain).collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, severity, message, .. } = self;
        write!(f, "{}:{line}:{column}: {}: {}", clean(file), severity.word(), clean(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_a_caret() {
        let text = "permit (\n\tä, foo\x1b[31m)\n";
        let at = text.find("foo").unwrap();
        let problem = Problem::at(Severity::Error, "a.cedar", text, at..at + 3, "unknown `foo`".into())
            .help("say bar".to_owned());
        assert_eq!(
            problem.report(),
            "a.cedar:2:5: error: unknown `foo`\n  |\n2 |  ä, foo\u{fffd}[31m)\n  |     ^^^\n  = help: say bar\n"
        );
        let end = Problem::at(Severity::Warning, "a", "x", 5..9, "m".into());
        assert_eq!((end.line, end.column, end.width), (1, 2, 1));
        let marked = Problem::at(Severity::Error, "a", "\u{feff}x y", 5..6, "m".into());
        assert_eq!((marked.line, marked.column, marked.text.as_str()), (1, 3, "x y"));
    }
}
