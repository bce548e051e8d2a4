//! Mistakes in a settings file, each with its place: as an error with the line and a caret below it.

use std::ops::Range;
use std::path::Path;

use aegis_export::shown;
use unicode_width::UnicodeWidthStr as _;

use super::mask;
use crate::error::CliError;

/// How many mistakes are shown at once.
const MOST: usize = 5;

/// The columns of a line that are shown.
const WIDTH: usize = 100;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Which bytes of the file.
    pub(crate) span: Range<usize>,
    /// In words. What the file says is in it only where it is no secret.
    pub(crate) what: String,
}

impl Mistake {
    pub(crate) fn new(span: Range<usize>, what: impl Into<String>) -> Self {
        Self { span, what: what.into() }
    }
}

/// Makes one error of the mistakes in a file; nothing where there are none.
pub(crate) fn error(path: &Path, text: &str, mut mistakes: Vec<Mistake>) -> Option<CliError> {
    mistakes.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
    let hidden = mask::hidden(text);
    let headline = |mistake: &Mistake| {
        let (line, column) = place(text, mistake.span.start);
        format!("{}:{line}:{column}: {}", path.display(), mistake.what)
    };
    let (first, others) = mistakes.split_first()?;
    let mut detail = snippet(text, &first.span, &hidden);
    for mistake in others.iter().take(MOST - 1) {
        detail.push(headline(mistake));
        detail.extend(snippet(text, &mistake.span, &hidden));
    }
    if others.len() >= MOST {
        detail.push(format!("and {} more", others.len() + 1 - MOST));
    }
    Some(CliError::failed(headline(first)).detail(detail))
}

/// Returns line and column of a place in a text, both from 1; a column is a character.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..floor(text, at)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Returns the end of the last whole character at or before a place.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Returns the line of a place with a caret below it.
fn snippet(text: &str, span: &Range<usize>, hidden: &[Range<usize>]) -> Vec<String> {
    let at = floor(text, span.start);
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let number = (before.matches('\n').count() + 1).to_string();
    let (line, caret, length) = Drawn::of(line, start, hidden).with_caret(at..span.end.max(at + 1));
    let gutter = " ".repeat(number.len());
    vec![
        format!(" {gutter} |"),
        format!(" {number} | {line}").trim_end().to_owned(),
        format!(" {gutter} | {}{}", " ".repeat(caret), "^".repeat(length)),
    ]
}

/// A line as it is shown: parts, each with where it stands in the text.
struct Drawn {
    parts: Vec<(Range<usize>, String)>,
    end: usize,
}

impl Drawn {
    fn of(line: &str, start: usize, hidden: &[Range<usize>]) -> Self {
        let end = start + line.len();
        let mut parts: Vec<(Range<usize>, String)> = Vec::new();
        // A line with a word that goes with secrets shows nothing behind its first `=`, whatever was made of it.
        let from = if mask::is_telling(line) && !line.trim_start().starts_with('[') {
            line.find('=').map_or(start, |equals| start + equals + 1)
        } else {
            end
        };
        let first = hidden.partition_point(|range| range.end <= start);
        let hidden = hidden.get(first..).unwrap_or_default();
        let mut next = hidden.iter().peekable();
        for (offset, c) in line.char_indices() {
            let at = start + offset;
            while next.peek().is_some_and(|range| range.end <= at) {
                next.next();
            }
            let is_hidden = (at >= from && c != ' ') || next.peek().is_some_and(|range| range.contains(&at));
            let range = at..at + c.len_utf8();
            match parts.last_mut() {
                Some((last, mask)) if is_hidden && mask == "***" => last.end = range.end,
                _ if is_hidden => parts.push((range, "***".to_owned())),
                _ => parts.push((range, visible(c))),
            }
        }
        Self { parts, end }
    }

    /// Returns the line, cut to what fits, with column and length of the caret.
    fn with_caret(self, span: Range<usize>) -> (String, usize, usize) {
        let width =
            |parts: &[(Range<usize>, String)]| -> usize { parts.iter().map(|(_, part)| part.width()).sum() };
        let first = self.parts.iter().position(|(range, _)| range.end > span.start);
        let first = first.unwrap_or(self.parts.len());
        let past = self.parts.iter().position(|(range, _)| range.start >= span.end.min(self.end));
        let past = past.unwrap_or(self.parts.len()).max(first);
        // What stands far left of the caret is left out, then what no longer fits.
        let mut room = WIDTH / 2;
        let fits = |(_, part): &&(Range<usize>, String)| match room.checked_sub(part.width()) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        let kept =
            self.parts.get(..first).unwrap_or_default().iter().rev().take(WIDTH).take_while(fits).count();
        let cut = first - kept;
        let lead = if cut > 0 { "…" } else { "" };
        let mut line = lead.to_owned();
        let mut columns = line.width();
        // Characters without a width are counted as well: there can be any number of them.
        for (count, (_, part)) in self.parts.iter().skip(cut).enumerate() {
            columns += part.width();
            if columns > WIDTH || count > 2 * WIDTH {
                line.push('…');
                break;
            }
            line.push_str(part);
        }
        let caret = lead.width() + width(self.parts.get(cut..first).unwrap_or_default());
        let length = width(self.parts.get(first..past).unwrap_or_default());
        (line, caret, length.clamp(1, WIDTH.saturating_sub(caret).max(1)))
    }
}

/// Returns a character as it may stand on a terminal.
fn visible(c: char) -> String {
    match c {
        '\t' => "    ".to_owned(),
        '\\' => "\\".to_owned(),
        c => shown(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, span: Range<usize>) -> String {
        snippet(text, &span, &mask::hidden(text)).join("\n")
    }

    #[test]
    fn a_caret_stands_below_the_mistake() {
        assert_eq!(drawn("name = 7\n", 7..8), "   |\n 1 | name = 7\n   |        ^");
        assert_eq!(drawn("x\nname = \"ab\"\r\n", 9..13), "   |\n 2 | name = \"ab\"\n   |        ^^^^");
        // A tab is four columns, a wide character two, and what is not seen is written out.
        assert_eq!(
            drawn("\tname = \"日\" 7", 14..15),
            "   |\n 1 |     name = \"日\" 7\n   |                 ^"
        );
        assert_eq!(drawn("name = \"\u{1b}\"", 7..10), "   |\n 1 | name = \"\\u{1b}\"\n   |        ^^^^^^^^");
        // Beyond the end, and within a character.
        assert_eq!(drawn("name = ", 7..7), "   |\n 1 | name =\n   |        ^");
        assert_eq!(drawn("", 0..0), "   |\n 1 |\n   | ^");
        assert_eq!(drawn("ä", 1..2), "   |\n 1 | ***\n   | ^^^");
        // A mistake over several lines is shown by its first.
        assert_eq!(drawn("name = [\n1]\n", 7..11), "   |\n 1 | name = [\n   |        ^");
    }

    #[test]
    fn a_secret_is_not_drawn() {
        let text = "a = 1\napi_key = \"sk-1\" # sk-0\n";
        assert_eq!(
            drawn(text, 16..22),
            "   |\n 2 | api_key = ***\n   |           ^^^".replace(" = ***", " = *** ***")
        );
        assert_eq!(
            drawn("nudge_message = \"my token\" x", 27..28),
            "   |\n 1 | nudge_message = *** ***\n   |                     ^^^"
        );
    }

    #[test]
    fn a_long_line_is_cut() {
        let text = format!("name = \"{}\" 7", "x".repeat(500));
        let shown = drawn(&text, 510..511);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].starts_with(" 1 | …") && lines[1].ends_with("\" 7"), "{shown}");
        assert_eq!(lines[1].chars().position(|c| c == '7'), lines[2].find('^'));
        let shown = drawn(&text, 7..509);
        assert!(shown.lines().all(|line| line.chars().count() < 110), "{shown}");
    }

    #[test]
    fn the_first_mistakes_are_told_in_order() {
        let text = "name = 1\n".repeat(7);
        let mistakes: Vec<Mistake> = (0..7).rev().map(|n| Mistake::new(9 * n..9 * n + 4, "wrong")).collect();
        let error = error(Path::new("/f"), &text, mistakes).unwrap();
        assert_eq!(error.to_string(), "/f:1:1: wrong");
        let all = format!("{error:?}");
        assert!(
            all.contains("/f:5:1: wrong") && !all.contains("/f:6:1") && all.contains("and 2 more"),
            "{all}"
        );
        assert!(super::error(Path::new("/f"), "", Vec::new()).is_none());
    }
}
