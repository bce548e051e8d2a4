//! Where a finding stands: its words are looked for among the tokens of the policy's text.

use std::ops::Range;

use crate::explain::tokens::{Tokens, is_string};
use crate::lint::{About, Key, Linter};

impl Linter<'_> {
    /// Finds the place of words with, maybe, a literal that is near to them.
    pub(super) fn place(&mut self, words: &str, about: About<'_>) -> Option<Range<usize>> {
        let chains: Vec<(usize, usize)> = self.chains(words);
        let (About::Literal(key) | About::Both(key)) = about else {
            let free = chains.iter().find(|(first, _)| !self.used.contains(first));
            let (first, last) = *free.or(chains.first())?;
            self.used.insert(first);
            return Some(self.tokens.span(first, last));
        };
        let mut literals = self.literal_of(key);
        literals.retain(|index| !self.used.contains(index));
        let distance = |(first, last): &(usize, usize), index: usize| {
            if index > *last { index - last } else { first.saturating_sub(index) }
        };
        let nearest = literals
            .iter()
            .flat_map(|index| chains.iter().map(move |chain| (*index, *chain)))
            .min_by_key(|(index, chain)| distance(chain, *index));
        let Some((index, (first, last))) = nearest else {
            let index = *literals.first()?;
            self.used.insert(index);
            return Some(self.tokens.at(index));
        };
        self.used.insert(index);
        Some(match about {
            About::Both(_) => self.tokens.span(first.min(index), last.max(index)),
            _ => self.tokens.at(index),
        })
    }

    /// Returns the first and the last token of each place where these words stand.
    pub(super) fn chains(&self, words: &str) -> Vec<(usize, usize)> {
        let wanted = Tokens::new(words);
        let wanted: Vec<&str> = (0..wanted.len()).map(|index| wanted.word(index)).collect();
        (0..self.tokens.len())
            .filter(|first| !matches!(self.tokens.before(*first), "." | "::"))
            .filter_map(|first| Some((first, self.chain_at(first, &wanted)?)))
            .collect()
    }

    /// Follows words from a token on; an attribute may be written `["x"]` or in quotes.
    fn chain_at(&self, first: usize, wanted: &[&str]) -> Option<usize> {
        let mut at = first;
        let mut wanted = wanted.iter().peekable();
        while let Some(word) = wanted.next() {
            if *word == "." && self.tokens.word(at) == "[" {
                let name = wanted.next()?;
                if self.tokens.string(at + 1)? != **name || self.tokens.word(at + 2) != "]" {
                    return None;
                }
                at += 3;
                continue;
            }
            let found = self.tokens.word(at);
            let is_same = found == *word || (is_string(found) && self.tokens.string(at)? == **word);
            if !is_same {
                return None;
            }
            at += 1;
        }
        at.checked_sub(1)
    }

    /// Returns the tokens that are this literal.
    pub(super) fn literal_of(&self, key: &Key) -> Vec<usize> {
        let is_it = |index: &usize| {
            is_string(self.tokens.word(*index))
                && (self.tokens.pattern(*index).as_ref() == Some(key)
                    || self
                        .tokens
                        .string(*index)
                        .is_some_and(|text| text.chars().map(Some).eq(key.iter().copied())))
        };
        (0..self.tokens.len()).filter(is_it).collect()
    }
}
