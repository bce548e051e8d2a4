//! Policy files as text: where each policy of one stands, and bounds that hold before Cedar's parser sees it.
//!
//! The parser and all that walks its tree recurse. What a file may nest or chain is bounded here, so that no file
//! can exhaust the stack.

use std::ops::Range;

/// The largest policy file, in bytes.
pub const FILE_MAX: usize = 1 << 20;

/// The most policies of a set.
pub const POLICIES_MAX: usize = 5_000;

/// The deepest nesting of brackets in one policy.
pub const NESTING_MAX: usize = 20;

/// The most operators that can chain in one policy: `&&`, `||`, `+`, `-`, `*`, `!`, `if`, and clauses.
pub const OPERATORS_MAX: usize = 100;

/// The longest run of `.` and of `[...]` behind a value in one policy.
pub const DOTS_MAX: usize = 40;

/// How much stack a thread needs that reads or asks policies which keep these bounds, in bytes. A build without
/// optimisation takes 40 KiB for an operator and 100 KiB for a bracket, one with it an eighth of that. Where the stack
/// is short, Cedar's evaluator ends in an error, which is a denial; its parser overflows.
pub const STACK: usize = 8 << 20;

/// The byte-order mark.
pub(crate) const BOM: char = '\u{feff}';

/// Where a policy file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The organisation's folder: in force for everyone.
    Organisation,
    /// The configuration's own.
    Configuration,
    /// Made of the configuration's settings.
    Settings,
}

impl Origin {
    /// Returns the word that stands for it in output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Origin::Organisation => "organisation",
            Origin::Configuration => "configuration",
            Origin::Settings => "settings",
        }
    }
}

/// A policy file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it comes from.
    pub origin: Origin,
    /// Its path, as it is shown.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A fault that the text itself has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFault {
    /// Where, in bytes.
    pub(crate) at: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Splits a text into its policies: the range of each, from its first token to its `;`.
///
/// It knows strings, comments and brackets (Cedar grammar, `policies ::= {policy}`) and nothing else; each piece is
/// parsed by itself. A last piece without `;` is a piece as well.
pub(crate) fn split(text: &str) -> Result<Vec<Range<usize>>, TextFault> {
    let mut pieces = Vec::new();
    let mut scan = Scan::new(text);
    let mut piece = Piece::default();
    while let Some(token) = scan.next_token()? {
        let word = text.get(token.clone()).unwrap_or_default();
        let start = *piece.start.get_or_insert(token.start);
        piece.take(word, &token)?;
        if word == ";" && piece.open.is_empty() {
            if pieces.len() >= POLICIES_MAX {
                return Err(TextFault {
                    at: token,
                    message: format!("there are more than {POLICIES_MAX} policies"),
                    help: Some("name many paths in one policy: `resource in [A, B, C]`".to_owned()),
                });
            }
            pieces.push(start..token.end);
            piece = Piece::default();
        }
    }
    if let Some(start) = piece.start {
        if let Some((at, word)) = piece.open.last() {
            return Err(TextFault { at: at.clone(), message: format!("`{word}` is not closed"), help: None });
        }
        pieces.push(start..text.trim_end().len().max(start));
    }
    Ok(pieces)
}

/// Returns the tokens of a text, up to the first that can't be one.
pub(crate) fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut scan = Scan::new(text);
    let mut tokens = Vec::new();
    while let Ok(Some(token)) = scan.next_token() {
        tokens.push(token);
    }
    tokens
}

/// What was seen of a policy so far.
#[derive(Debug, Default)]
struct Piece<'a> {
    start: Option<usize>,
    /// Brackets that are open, with their places.
    open: Vec<(Range<usize>, &'a str)>,
    operators: usize,
    dots: usize,
    /// Its `permit` or `forbid` was seen.
    begun: bool,
    /// A clause was seen.
    has_clause: bool,
    /// The token before ends a value, so a `[` behind it takes a part of that.
    is_value: bool,
}

impl<'a> Piece<'a> {
    fn take(&mut self, word: &'a str, at: &Range<usize>) -> Result<(), TextFault> {
        let fault = |message: String, help: &str| {
            Err(TextFault { at: at.clone(), message, help: Some(help.to_owned()) })
        };
        match word {
            "permit" | "forbid" if self.open.is_empty() && std::mem::replace(&mut self.begun, true) => {
                return fault(
                    format!("`{word}` inside of a policy"),
                    "the policy before this one needs a `;` at its end",
                );
            }
            "(" | "[" | "{" => {
                if self.open.len() >= NESTING_MAX {
                    return fault(
                        format!("brackets are nested deeper than {NESTING_MAX}"),
                        "split the policy into several",
                    );
                }
                self.open.push((at.clone(), word));
            }
            ")" | "]" | "}" => {
                let opens = match word {
                    ")" => "(",
                    "]" => "[",
                    _ => "{",
                };
                match self.open.pop() {
                    Some((_, open)) if open == opens => {}
                    Some((_, open)) => {
                        return fault(
                            format!("`{word}` does not close `{open}`"),
                            "the brackets do not match",
                        );
                    }
                    None => return fault(format!("`{word}` closes nothing"), "the brackets do not match"),
                }
            }
            // It ends a policy and stands nowhere else.
            ";" => match self.open.last() {
                Some((_, "{")) => {
                    return fault(
                        "`;` inside of braces".to_owned(),
                        "one `;` ends a policy, after the last `}`; conditions are joined by `&&`",
                    );
                }
                Some((open, word)) => {
                    return Err(TextFault {
                        at: open.clone(),
                        message: format!("`{word}` is not closed"),
                        help: None,
                    });
                }
                None => {}
            },
            "&" | "|" | "+" | "-" | "*" | "!" | "if" | "when" | "unless" => {
                // `&&` and `||` come as two; a first clause chains with nothing.
                self.operators += match word {
                    "&" | "|" => 1,
                    "when" | "unless" if !std::mem::replace(&mut self.has_clause, true) => 0,
                    _ => 2,
                };
                if self.operators > 2 * OPERATORS_MAX {
                    return fault(
                        format!("a policy has more than {OPERATORS_MAX} operators"),
                        "split it into several, or name many values in a set: `resource in [A, B]`, `[\"a\", \"b\"].contains(...)`",
                    );
                }
            }
            _ => {}
        }
        match word {
            "." => self.dots += 1,
            "[" if self.is_value => self.dots += 1,
            "&" | "|" | "," | ";" | "=" | "<" | ">" | "[" | "{" => self.dots = 0,
            _ => {}
        }
        self.is_value = matches!(word, ")" | "]")
            || word.starts_with(|c: char| c == '"' || c == '_' || c.is_alphanumeric());
        if self.dots > DOTS_MAX {
            return fault(format!("more than {DOTS_MAX} `.` follow each other"), "split the policy");
        }
        Ok(())
    }
}

/// A reader of tokens: words, strings, and single characters for all else.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Editors may put a byte-order mark at the beginning (Unicode, section 23.8); it is no part of the text.
    fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: if text.starts_with(BOM) { BOM.len_utf8() } else { 0 } }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, is: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&is) {
            self.at += 1;
        }
    }

    fn next_token(&mut self) -> Result<Option<Range<usize>>, TextFault> {
        loop {
            self.skip_while(|b| b.is_ascii_whitespace());
            if self.peek(0) == Some(b'/') && self.peek(1) == Some(b'/') {
                self.skip_while(|b| b != b'\n' && b != b'\r');
            } else {
                break;
            }
        }
        let start = self.at;
        let Some(first) = self.peek(0) else { return Ok(None) };
        self.foreign(first)?;
        self.at += 1;
        match first {
            b'"' => loop {
                match self.peek(0) {
                    Some(b'\\') => self.at += 2,
                    Some(b'"') => {
                        self.at += 1;
                        break;
                    }
                    Some(_) => self.at += 1,
                    None => {
                        let message = "a string is not closed".to_owned();
                        let help = Some("it begins here and needs a `\"` at its end".to_owned());
                        return Err(TextFault { at: start..start + 1, message, help });
                    }
                }
            },
            b if is_word(b) => self.skip_while(is_word),
            _ => {}
        }
        Ok(Some(start..self.at.min(self.bytes.len())))
    }

    /// Finds what begins a comment or a text elsewhere, but not here. To read on would find all kinds of things in it.
    fn foreign(&self, first: u8) -> Result<(), TextFault> {
        let quotes = "a text stands in straight double quotes: \"...\"";
        let comment = "a comment begins with `//` and ends with the line";
        let (length, message, help) = match (first, self.peek(1), self.peek(2)) {
            (b'#', ..) => (1, "`#` begins no comment", comment),
            (b'/', Some(b'*'), _) => (2, "`/*` begins no comment", comment),
            (b'\'', ..) => (1, "`'` begins no text", quotes),
            (b'`', ..) => (1, "a back-tick begins no text", quotes),
            // U+2018 to U+201F.
            (0xe2, Some(0x80), Some(0x98..=0x9f)) => (3, "typographic quotes begin no text", quotes),
            _ => return Ok(()),
        };
        Err(TextFault {
            at: self.at..self.at + length,
            message: message.to_owned(),
            help: Some(help.to_owned()),
        })
    }
}

/// Bytes of names; those beyond ASCII too, so that a character is never cut.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        split(text).unwrap().into_iter().map(|range| text.get(range).unwrap()).collect()
    }

    #[test]
    fn policies_are_told_apart() {
        let text = "// permit;\n@id(\"a;b\") permit(principal, action, resource) when { \"\\\";\" == \"//\" };\n\n  forbid (x);// end";
        assert_eq!(
            pieces(text),
            ["@id(\"a;b\") permit(principal, action, resource) when { \"\\\";\" == \"//\" };", "forbid (x);"]
        );
        assert_eq!(pieces("permit(a)  "), ["permit(a)"]);
        assert_eq!(pieces(" // nothing\n"), Vec::<&str>::new());
        assert_eq!(pieces("ä;ö;"), ["ä;", "ö;"]);
        assert_eq!(pieces("\u{feff}a;"), ["a;"]);
    }

    #[test]
    fn what_is_not_closed_is_found() {
        for (text, at, message) in [
            ("permit(\"abc", 7, "a string is not closed"),
            ("permit(\"abc\\", 7, "a string is not closed"),
            ("permit(a", 6, "`(` is not closed"),
            ("permit(a]", 8, "`]` does not close `(`"),
            ("}", 0, "`}` closes nothing"),
            ("permit(a) forbid(b);", 10, "`forbid` inside of a policy"),
            ("permit(a;", 6, "`(` is not closed"),
            ("when { true; }", 11, "`;` inside of braces"),
            ("# x", 0, "`#` begins no comment"),
            ("a /* x */", 2, "`/*` begins no comment"),
            ("a == 'b'", 5, "`'` begins no text"),
            ("a == “b”", 5, "typographic quotes begin no text"),
        ] {
            let fault = split(text).unwrap_err();
            assert_eq!((fault.at.start, fault.message.as_str()), (at, message), "{text}");
        }
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        let nested = |depth: usize| format!("{}{};", "(".repeat(depth), ")".repeat(depth));
        assert!(split(&nested(NESTING_MAX)).is_ok());
        assert!(split(&nested(NESTING_MAX + 1)).unwrap_err().message.contains("nested deeper"));
        let chained = |count: usize| format!("a{};", " && a".repeat(count));
        assert!(split(&chained(OPERATORS_MAX)).is_ok());
        assert!(split(&chained(OPERATORS_MAX + 1)).unwrap_err().message.contains("operators"));
        let dotted = |count: usize| format!("a{};", ".a".repeat(count));
        assert!(split(&dotted(DOTS_MAX)).is_ok());
        assert!(split(&dotted(DOTS_MAX + 1)).unwrap_err().message.contains("follow each other"));
        let indexed = |count: usize| format!("a{};", "[\"a\"]".repeat(count));
        assert!(split(&indexed(DOTS_MAX)).is_ok());
        assert!(split(&indexed(DOTS_MAX + 1)).unwrap_err().message.contains("follow each other"));
        let sets = format!("in [{}];", "[1], ".repeat(DOTS_MAX * 3));
        assert!(split(&sets).is_ok());
        let clauses = |count: usize| format!("permit(a){};", " when { b }".repeat(count));
        assert!(split(&clauses(OPERATORS_MAX + 1)).is_ok());
        assert!(split(&clauses(OPERATORS_MAX + 2)).unwrap_err().message.contains("operators"));
        assert_eq!(split(&";".repeat(POLICIES_MAX)).unwrap().len(), POLICIES_MAX);
        assert!(split(&";".repeat(POLICIES_MAX + 1)).unwrap_err().message.contains("more than 5000"));
    }
}
