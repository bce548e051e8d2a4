//! A policy's text as tokens: words, strings, operators.

use std::ops::Range;

use crate::source;

/// Operators of more than one character; the longer before those that begin alike. Not all are Cedar's own.
const OPERATORS: [&str; 13] =
    ["===", "!==", "==", "!=", "<=", ">=", "&&", "||", "::", "=~", "!~", "<>", "=>"];

/// A text's tokens. Beyond either end there are empty ones.
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    text: &'a str,
    all: Vec<Range<usize>>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let single = source::tokens(text);
        let mut all: Vec<Range<usize>> = Vec::with_capacity(single.len());
        let mut skip = 0;
        for token in single {
            if token.start < skip {
                continue;
            }
            let rest = text.get(token.start..).unwrap_or_default();
            let operator = rest
                .starts_with(['=', '!', '<', '>', '&', '|', ':'])
                .then(|| OPERATORS.iter().find(|operator| rest.starts_with(**operator)))
                .flatten();
            let end = operator.map_or(token.end, |operator| token.start + operator.len());
            let token = token.start..end;
            skip = end;
            all.push(token);
        }
        Self { text, all }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns a token; an empty text where there is none.
    pub(crate) fn word(&self, index: usize) -> &'a str {
        self.all.get(index).and_then(|at| self.text.get(at.clone())).unwrap_or_default()
    }

    /// Returns the token before.
    pub(crate) fn before(&self, index: usize) -> &'a str {
        index.checked_sub(1).map_or("", |index| self.word(index))
    }

    /// Returns where a token stands; the end where there is none.
    pub(crate) fn at(&self, index: usize) -> Range<usize> {
        self.all.get(index).cloned().unwrap_or_else(|| {
            let end = self.text.trim_end().len();
            end..end + 1
        })
    }

    /// Returns where tokens stand, from the first to the last.
    pub(crate) fn span(&self, first: usize, last: usize) -> Range<usize> {
        self.at(first).start..self.at(last).end.max(self.at(first).end)
    }

    /// Returns the text of tokens, from the first to the one before `end`.
    pub(crate) fn text(&self, first: usize, end: usize) -> &'a str {
        self.text.get(self.span(first, end.saturating_sub(1).max(first))).unwrap_or_default()
    }

    /// Returns the bracket that closes the one at `open`; the end where none does.
    pub(crate) fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for index in open..self.len() {
            match self.word(index) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return index;
                    }
                }
                _ => {}
            }
        }
        self.len()
    }

    /// Returns what a string stands for; nothing where the token is none, or an escape in it is none of Cedar's.
    pub(crate) fn string(&self, index: usize) -> Option<String> {
        unescaped(self.word(index), false)?.into_iter().collect()
    }

    /// Returns what a string stands for as a pattern; nothing stands for `*`.
    pub(crate) fn pattern(&self, index: usize) -> Option<Vec<Option<char>>> {
        unescaped(self.word(index), true)
    }
}

/// Says whether a token is a string.
pub(crate) fn is_string(word: &str) -> bool {
    word.starts_with('"')
}

/// Says whether a token is a name.
pub(crate) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads a string with its quotes (Cedar grammar, `STR`; the escapes are Rust's, and `\*` in patterns).
fn unescaped(quoted: &str, as_pattern: bool) -> Option<Vec<Option<char>>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::new();
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push((!as_pattern || c != '*').then_some(c));
            continue;
        }
        out.push(Some(match rest.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            '*' if as_pattern => '*',
            c @ ('\\' | '\'' | '"') => c,
            'x' => {
                let digits: String = rest.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).ok().filter(u8::is_ascii)?.into()
            }
            'u' => {
                let (digits, after) = rest.as_str().strip_prefix('{')?.split_once('}')?;
                let digits = digits.replace('_', "");
                rest = after.chars();
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
            }
            _ => return None,
        }));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_tokens() {
        let tokens = Tokens::new("a::\"b\\\"\" ==(x[0]) // c\n=~ && ä");
        let words: Vec<&str> = (0..tokens.len()).map(|index| tokens.word(index)).collect();
        assert_eq!(words, ["a", "::", "\"b\\\"\"", "==", "(", "x", "[", "0", "]", ")", "=~", "&&", "ä"]);
        assert_eq!((tokens.closing(4), tokens.closing(6)), (9, 8));
        assert_eq!(tokens.text(0, 3), "a::\"b\\\"\"");
        assert_eq!((tokens.word(99), tokens.before(0)), ("", ""));
    }

    #[test]
    fn strings_are_read() {
        let tokens = Tokens::new(r#""a\n\x41\u{e9}\\" "\." "\*" x"#);
        assert_eq!(tokens.string(0).unwrap(), "a\nAé\\");
        assert_eq!((tokens.string(1), tokens.string(2), tokens.string(3)), (None, None, None));
        assert_eq!(tokens.pattern(2).unwrap(), [Some('*')]);
        assert_eq!(Tokens::new("\"a*\"").pattern(0).unwrap(), [Some('a'), None]);
    }
}
