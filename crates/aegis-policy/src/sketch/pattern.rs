//! Patterns of `like`.

use cedar_policy::pst::PatternElem;

/// What a text has met of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Met {
    /// The part that it is at.
    part: usize,
    /// How much of that part its end may be, in bytes, ascending; a part behind a `*` begins anywhere. Empty where it can't
    /// fit any more.
    lengths: Vec<usize>,
}

/// A pattern of `like`: texts with anything between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The literal parts; between two stands a `*`.
    parts: Vec<String>,
}

impl Pattern {
    pub(super) fn new(elements: &[PatternElem]) -> Self {
        let mut parts = vec![String::new()];
        for element in elements {
            match (element, parts.last_mut()) {
                (PatternElem::Char(c), Some(part)) => part.push(*c),
                _ => parts.push(String::new()),
            }
        }
        Self { parts }
    }

    pub(crate) fn fits(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return text == first };
        let Some(text) = text.strip_prefix(first.as_str()) else { return false };
        let Some(mut text) = text.strip_suffix(last.as_str()) else { return false };
        for part in middle {
            let Some(at) = text.find(part.as_str()) else { return false };
            text = text.get(at + part.len()..).unwrap_or_default();
        }
        true
    }

    /// What every text that fits begins with.
    pub(crate) fn prefix(&self) -> &str {
        self.parts.first().map(String::as_str).unwrap_or_default()
    }

    /// Says whether two texts are alike whatever follows them: they have both met the same of the pattern.
    pub(crate) fn are_alike(&self, one: &str, other: &str) -> bool {
        let common = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let (both, one) = one.as_bytes().split_at(common);
        let mut met = Met { part: 0, lengths: vec![0] };
        self.close(&mut met);
        self.go_on(&mut met, both);
        let mut met_too = met.clone();
        self.go_on(&mut met, one);
        self.go_on(&mut met_too, other.as_bytes().get(common..).unwrap_or_default());
        met == met_too
    }

    fn go_on(&self, met: &mut Met, text: &[u8]) {
        for byte in text {
            let Some(part) = self.parts.get(met.part).filter(|_| !met.lengths.is_empty()) else { return };
            met.lengths.retain_mut(|length| {
                let fits = part.as_bytes().get(*length) == Some(byte);
                *length += 1;
                fits
            });
            // Behind a `*`, what does not fit is passed over.
            if met.part > 0 {
                met.lengths.insert(0, 0);
            }
            self.close(met);
        }
    }

    /// Goes on over each `*` that is reached. What is before the last of them matters no more: the rest can be met from
    /// there whenever it can be met at all.
    fn close(&self, met: &mut Met) {
        while met.part + 1 < self.parts.len()
            && self.parts.get(met.part).is_some_and(|part| met.lengths.contains(&part.len()))
        {
            *met = Met { part: met.part + 1, lengths: vec![0] };
        }
    }

    /// The directory of which the pattern means everything below: `/a/*` means all below `/a`.
    pub(crate) fn directory(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [prefix, end] if end.is_empty() => match prefix.strip_suffix('/') {
                Some("") => Some("/"),
                other => other.filter(|folder| folder.starts_with('/')),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        let element = |c| if c == '*' { PatternElem::Wildcard } else { PatternElem::Char(c) };
        Pattern::new(&text.chars().map(element).collect::<Vec<_>>())
    }

    #[test]
    fn texts_that_are_alike_fit_alike_whatever_follows() {
        let texts = |symbols: &str, longest: u32| -> Vec<String> {
            let symbols: Vec<char> = symbols.chars().collect();
            let all = |length: u32| (0..symbols.len().pow(length)).map(move |number| (number, length));
            let text = |(mut number, length): (usize, u32)| {
                let mut symbol = || {
                    let symbol = symbols[number % symbols.len()];
                    number /= symbols.len();
                    symbol
                };
                (0..length).map(|_| symbol()).collect()
            };
            (0..=longest).flat_map(all).map(text).collect()
        };
        let (beginnings, ends) = (texts("ab", 3), texts("ab", 4));
        let (mut alike, mut fit) = (0, 0);
        for pattern in texts("ab*", 4).iter().map(|text| pattern(text)) {
            for one in &beginnings {
                for other in &beginnings {
                    let fits = |beginning: &str, end: &String| pattern.fits(&format!("{beginning}{end}"));
                    if pattern.are_alike(one, other) {
                        assert!(
                            ends.iter().all(|end| fits(one, end) == fits(other, end)),
                            "{pattern:?} {one} {other}"
                        );
                        alike += 1;
                    } else {
                        fit += usize::from(ends.iter().any(|end| fits(one, end) != fits(other, end)));
                    }
                }
            }
        }
        // Neither says the same of everything.
        assert!(alike > 10_000 && fit > 10_000, "{alike} {fit}");
    }

    #[test]
    fn patterns_fit_as_in_cedar() {
        for (text, fits, fits_not) in [
            ("/a/*", &["/a/", "/a/b/c"][..], &["/a", "/ab"][..]),
            ("*", &["", "x"], &[]),
            ("a", &["a"], &["", "aa"]),
            ("*.rs", &[".rs", "/x.rs"], &["x.rs2"]),
            ("a*b*a", &["aba", "axbya"], &["ab", "aa", "a"]),
            ("a*a", &["aa", "axa"], &["a"]),
            ("**", &["", "x"], &[]),
        ] {
            let pattern = pattern(text);
            assert!(fits.iter().all(|t| pattern.fits(t)), "{text}");
            assert!(!fits_not.iter().any(|t| pattern.fits(t)), "{text}");
        }
        assert_eq!(pattern("/a/*").directory(), Some("/a"));
        assert_eq!(pattern("/*").directory(), Some("/"));
        for none in ["/a*", "/a/**", "*", "/a/*/b", "/a"] {
            assert_eq!(pattern(none).directory(), None, "{none}");
        }
    }
}
