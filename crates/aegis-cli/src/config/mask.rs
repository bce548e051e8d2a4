//! Finds what of a settings file may not be shown, whether the file can be parsed or not.
//!
//! A line with a mistake is shown to its writer, and through a screen or a log to others. The mistake may be
//! in the very line that holds a secret, or in the quotes that say where it ends. So this reads the text more
//! loosely than TOML, and shows a value only where the last key before it is one that holds no secret.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::shape::{Key, Kind, walk};
use super::{hints, keys};

/// Every name of a key or a choice, and whether what it holds may be shown.
static NAMES: LazyLock<BTreeMap<&'static str, bool>> = LazyLock::new(|| {
    let mut names = BTreeMap::new();
    for table in [&keys::CONFIGURATION, &keys::GLOBAL, &keys::ORGANISATION] {
        walk(table.keys, &mut |_, key: &'static Key| {
            // A name that holds a secret in one table holds one in all.
            let shows = names.entry(key.name).or_insert(true);
            *shows = *shows && !key.kind.is_secret();
            if let Kind::Choice { options, .. } = &key.kind {
                names.extend(options.iter().map(|choice| (choice.word, true)));
            }
        });
    }
    names
});

/// How many unknown keys are held to the known ones: each takes its time.
const GUESSES: usize = 1000;

/// Words in whose company nothing is shown.
const TELLING: [&str; 8] = ["key", "token", "secret", "hook", "passw", "pwd", "auth", "credential"];

/// Says whether a text has a word that goes with secrets.
pub(crate) fn is_telling(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    TELLING.iter().any(|word| text.contains(word))
}

/// Returns the ranges of a text that may not be shown, in order.
pub(crate) fn hidden(text: &str) -> Vec<Range<usize>> {
    let mut reader =
        Reader { text, ranges: Vec::new(), pending: None, shows: false, depth: 0, guesses: GUESSES };
    reader.read();
    reader.ranges
}

/// A loose reader of TOML.
struct Reader<'t> {
    text: &'t str,
    ranges: Vec<Range<usize>>,
    /// A word or quoted text of which is not known yet whether it is a key.
    pending: Option<Range<usize>>,
    /// What comes may be shown.
    shows: bool,
    /// Open brackets since the last key outside of any.
    depth: usize,
    /// How many unknown keys may still be held to the known ones.
    guesses: usize,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        let mut begins_line = true;
        while let Some(byte) = self.text.as_bytes().get(at).copied() {
            // A look back for the line's start would make a long line quadratic.
            let is_first = begins_line;
            begins_line = byte == b'\n' || (is_first && matches!(byte, b' ' | b'\t' | b'\r'));
            at = match byte {
                b' ' | b'\t' | b'\r' => at + 1,
                b'\n' | b',' => self.value_ends(at),
                b'#' => self.comment(at),
                b'"' | b'\'' => self.token(at, quoted(self.text, at)),
                b'=' => self.key(at),
                b'[' if self.depth == 0 && is_first => self.header(at),
                b'[' | b'{' => {
                    self.depth += 1;
                    self.value_ends(at)
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.value_ends(at)
                }
                _ => self.token(at, bare(self.text, at)),
            };
        }
        self.value_ends(at);
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// A token that waits is a value.
    fn value_ends(&mut self, at: usize) -> usize {
        if let Some(token) = self.pending.take() {
            let text = self.slice(&token);
            let is_known = NAMES.contains_key(text);
            if is_telling(text) && !is_known {
                // Quotes out of step make a value of the next key: what follows may then belong to it.
                self.shows = false;
            }
            if !self.shows && !is_known {
                self.ranges.push(token);
            }
        }
        at + 1
    }

    fn token(&mut self, at: usize, end: usize) -> usize {
        self.value_ends(at);
        self.pending = Some(at..end);
        end
    }

    /// The token that waits is a key.
    fn key(&mut self, at: usize) -> usize {
        let key = self.pending.take().map(|token| self.slice(&token).to_owned()).unwrap_or_default();
        let last = key.trim_matches(['"', '\'']).rsplit('.').next().unwrap_or_default();
        self.shows = self.may_show(last) && (NAMES.contains_key(last) || !is_telling(&key));
        at + 1
    }

    /// Says whether a key's value may be shown: it is known to be no secret, or most like one that is known so.
    fn may_show(&mut self, key: &str) -> bool {
        if let Some(shows) = NAMES.get(key) {
            return *shows;
        }
        self.guesses = self.guesses.saturating_sub(1);
        let near = if self.guesses > 0 { hints::nearest(NAMES.keys().copied(), key) } else { None };
        near.is_some_and(|near| NAMES.get(near) == Some(&true))
    }

    fn comment(&mut self, at: usize) -> usize {
        self.value_ends(at);
        let end = self.line_end(at);
        if end > at + 1 {
            self.ranges.push(at + 1..end);
        }
        end
    }

    /// A table's header: names only.
    fn header(&mut self, at: usize) -> usize {
        self.value_ends(at);
        self.shows = false;
        let end = self.line_end(at);
        self.text.get(at..end).and_then(|line| line.rfind(']')).map_or(at + 1, |close| at + close + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text.get(at..).and_then(|rest| rest.find('\n')).map_or(self.text.len(), |end| at + end)
    }
}

/// Returns where a bare word ends.
fn bare(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let ends = |c: char| c.is_ascii_whitespace() || "=,[]{}#\"'".contains(c);
    // Never nothing: the reader must go on, whatever it looks at.
    rest.find(ends)
        .filter(|length| *length > 0)
        .map_or_else(|| if rest.starts_with(ends) { at + 1 } else { text.len() }, |length| at + length)
}

/// Returns where a quoted text ends: behind its closing quotes, else with the line, else with the text.
fn quoted(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let quote = bytes.get(at).copied().unwrap_or_default();
    let triple = bytes.get(at..at + 3).is_some_and(|three| three.iter().all(|byte| *byte == quote));
    let mut here = at + if triple { 3 } else { 1 };
    while let Some(byte) = bytes.get(here).copied() {
        match byte {
            b'\\' if quote == b'"' => here += 1,
            b'\n' if !triple => return here,
            _ if byte != quote => {}
            _ if !triple => return here + 1,
            _ if bytes.get(here..here + 3).is_some_and(|three| three.iter().all(|b| *b == quote)) => {
                let more = bytes.iter().skip(here + 3).take(2).take_while(|byte| **byte == quote).count();
                return here + 3 + more;
            }
            _ => {}
        }
        here += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut out = text.to_owned();
        for range in hidden(text).into_iter().rev() {
            out.replace_range(range, "*");
        }
        out
    }

    #[test]
    fn values_of_known_keys_are_shown_and_others_not() {
        for (text, expected) in [
            ("name = \"a\"", "name = \"a\""),
            ("api_key = \"sk\"", "api_key = *"),
            ("apikey = \"sk\"", "apikey = *"),
            ("bottoken = 1", "bottoken = *"),
            ("nam = \"x\"", "nam = \"x\""),
            ("other = \"x\"", "other = *"),
            ("pilot.control.api_key = 'sk'", "pilot.control.api_key = *"),
            ("pilot.\"api_key\" = 'sk'", "*\"api_key\" = *"),
            (
                "control = { http_listen = \"\", api_key = \"sk\" }",
                "control = { http_listen = \"\", api_key = * }",
            ),
            ("api_key = { env = \"NAME\" }", "api_key = { env = \"NAME\" }"),
            ("bot_token = 123:sk", "bot_token = *"),
            ("bot_token =\n  123:sk", "bot_token =\n  *"),
            ("secret = \"\"\"\nsk\nsk\"\"\"\nname = 1", "secret = *\nname = 1"),
            ("secret = [\n[ \"sk\" ], 'x']", "secret = [\n[ * ], *]"),
            ("secret = \"sk", "secret = *"),
            ("secret = \"\"\"sk\nsk", "secret = *"),
            ("name = 1 # was sk", "name = 1 #*"),
            ("[pilot.stall]\nmax_nudges = 0", "[pilot.stall]\nmax_nudges = 0"),
            ("[pilot] sk", "[pilot] *"),
            ("sk-loose", "*"),
            ("isolation", "isolation"),
            ("name = \"x\" sk", "name = \"x\" sk"),
            ("name = \"\"\"x\"\napi_key = \"\"\"\nsk-1\n\"\"\"", "name = *\n*\n*"),
            ("path = \"\\\"\" secret = \"sk\"", "path = \"\\\"\" secret = *"),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }
}
