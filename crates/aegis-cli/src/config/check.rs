//! Holds a parsed settings file to its shape: unknown keys, wrong types, what is missing or impossible.
//!
//! Every mistake is collected with its place. What passes here can be taken over as typed values without
//! another error.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::hints;
use super::mistake::Mistake;
use super::shape::{Choice, Key, Kind, Rule, Table, find, join};
use super::{rules, values};

/// How many mistakes are looked for: a file of a megabyte can have many.
const MOST: usize = 20;

/// The most entries of a list.
const ENTRIES_MAX: usize = 1000;

/// A value with its place.
pub(super) type Placed<'d> = &'d Spanned<DeValue<'d>>;

/// Returns the mistakes of a file.
pub(crate) fn mistakes(root: &'static Table, document: &Spanned<DeTable<'_>>) -> Vec<Mistake> {
    let mut check = Check { root, mistakes: Vec::new() };
    check.table("", root, document.get_ref(), &(0..0));
    check.mistakes
}

/// The mistakes so far.
pub(super) struct Check {
    root: &'static Table,
    mistakes: Vec<Mistake>,
}

impl Check {
    /// Notes a mistake.
    pub(super) fn wrong(&mut self, span: Range<usize>, what: impl Into<String>) {
        if self.mistakes.len() < MOST {
            self.mistakes.push(Mistake::new(span, what));
        }
    }

    fn is_full(&self) -> bool {
        self.mistakes.len() >= MOST
    }

    /// Checks a table that stands at `place`; `span` is where it begins.
    fn table(&mut self, place: &str, table: &'static Table, given: &DeTable<'_>, span: &Range<usize>) {
        let before = self.mistakes.len();
        self.keys(place, table.keys, given, &[]);
        for key in table.keys.iter().filter(|key| key.required && !given.contains_key(key.name)) {
            self.wrong(span.clone(), format!("`{}` is missing{}", key.name, in_table(place)));
        }
        // What holds between keys is of no interest where the keys themselves are wrong.
        if self.mistakes.len() == before {
            match table.rule {
                Rule::Free => {}
                Rule::One => self.one(place, table.keys, given, span),
                Rule::Control => rules::control(self, given),
                Rule::Alert => rules::alert(self, given, span),
                Rule::Channel => rules::channel(self, given),
            }
        }
    }

    /// Checks the keys of a table; those in `other` are somebody else's.
    fn keys(&mut self, place: &str, keys: &'static [Key], given: &DeTable<'_>, other: &[&'static str]) {
        let mut entries: Vec<_> = given.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            if self.is_full() {
                return;
            }
            match find(keys, name.get_ref()) {
                Some(key) => self.value(&join(place, key.name), key, value),
                None if other.contains(&name.get_ref().as_ref()) => {}
                None => {
                    let what = hints::unknown_key(self.root, place, keys, other, name.get_ref());
                    self.wrong(name.span(), what);
                }
            }
        }
    }

    /// Exactly one of the keys is there.
    fn one(&mut self, place: &str, keys: &'static [Key], given: &DeTable<'_>, span: &Range<usize>) {
        if given.len() != 1 {
            let names: Vec<String> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
            self.wrong(span.clone(), format!("`{place}` has exactly one of {}", names.join(", ")));
        }
    }

    fn value(&mut self, place: &str, key: &'static Key, value: Placed<'_>) {
        let name = key.name;
        match &key.kind {
            Kind::Table(table) => match value.get_ref() {
                DeValue::Table(given) => self.table(place, table, given, &value.span()),
                DeValue::Array(_) => self.wrong(value.span(), format!("`{name}` is there once: `[{place}]`")),
                other => self.wrong(value.span(), format!("`{name}` must be a table, not {}", a_type(other))),
            },
            Kind::Tables(table) => self.tables(place, key, table, value),
            Kind::Choice { options, beside } => self.choice(place, key, options, beside, value),
            Kind::KeptSecret(table) => match value.get_ref() {
                DeValue::Table(given) => self.table(place, table, given, &value.span()),
                DeValue::String(text) => self.is_fine(name, value, values::secret_or_none(text)),
                other => {
                    let what = format!("`{name}` must be a string or a table, not {}", a_type(other));
                    self.wrong(value.span(), what);
                }
            },
            Kind::Paths | Kind::Hosts | Kind::Globs | Kind::Words(_) | Kind::Users => {
                self.list(name, &key.kind, value);
            }
            kind => self.is_fine(name, value, values::check(kind, value.get_ref())),
        }
    }

    fn is_fine(&mut self, name: &str, value: Placed<'_>, result: Result<(), String>) {
        if let Err(what) = result {
            self.wrong(value.span(), format!("`{name}` {what}"));
        }
    }

    fn tables(&mut self, place: &str, key: &Key, table: &'static Table, value: Placed<'_>) {
        let DeValue::Array(list) = value.get_ref() else {
            return self.wrong(value.span(), format!("`{}` is written `[[{place}]]`", key.name));
        };
        if !self.is_not_too_long(key.name, list.len(), value) {
            return;
        }
        for entry in list.iter() {
            match entry.get_ref() {
                DeValue::Table(given) => self.table(place, table, given, &entry.span()),
                _ => self.wrong(entry.span(), format!("`{}` is written `[[{place}]]`", key.name)),
            }
        }
        if table.rule == Rule::Alert {
            rules::names_differ(self, list.iter());
        }
    }

    fn list(&mut self, name: &str, kind: &'static Kind, value: Placed<'_>) {
        let DeValue::Array(list) = value.get_ref() else {
            let what = format!("`{name}` must be a list, `[...]`, not {}", a_type(value.get_ref()));
            return self.wrong(value.span(), what);
        };
        if !self.is_not_too_long(name, list.len(), value) {
            return;
        }
        let mut seen = BTreeSet::new();
        for entry in list.iter() {
            self.is_fine(name, entry, values::check_entry(kind, entry.get_ref()));
            if let DeValue::String(text) = entry.get_ref()
                && !seen.insert(text.as_ref())
            {
                self.wrong(entry.span(), format!("`{name}` has this twice"));
            }
        }
    }

    fn is_not_too_long(&mut self, name: &str, entries: usize, value: Placed<'_>) -> bool {
        if entries > ENTRIES_MAX {
            self.wrong(
                value.span(),
                format!("`{name}` has at most {ENTRIES_MAX} entries, here are {entries}"),
            );
        }
        entries <= ENTRIES_MAX
    }

    fn choice(
        &mut self,
        place: &str,
        key: &Key,
        options: &'static [Choice],
        beside: &'static [Key],
        value: Placed<'_>,
    ) {
        let name = key.name;
        let words: Vec<&'static str> = options.iter().map(|choice| choice.word).collect();
        let given = match value.get_ref() {
            DeValue::String(word) => return self.is_fine(name, value, values::word(&words, word)),
            DeValue::Table(given) => given,
            other => {
                let what = format!("`{name}` must be a string or a table, not {}", a_type(other));
                return self.wrong(value.span(), what);
            }
        };
        self.keys(place, beside, given, &words);
        let chosen: Vec<_> =
            given.iter().filter(|(word, _)| words.contains(&word.get_ref().as_ref())).collect();
        match chosen.as_slice() {
            [(word, value)] => {
                let options = options.iter().find(|choice| choice.word == word.get_ref().as_ref());
                let options = options.map_or(&[][..], |choice| choice.options);
                match value.get_ref() {
                    DeValue::Table(given) => self.keys(&join(place, word.get_ref()), options, given, &[]),
                    other => {
                        let what =
                            format!("`{}` must be a table, `{{}}`, not {}", word.get_ref(), a_type(other));
                        self.wrong(value.span(), what);
                    }
                }
            }
            [] if given.keys().any(|key| find(beside, key.get_ref()).is_some()) || self.is_full() => {}
            [] if !given.is_empty() => {}
            [] => self.wrong(value.span(), format!("`{name}` is empty; it is {}", hints::list(&words))),
            [_, (second, _), ..] => {
                let what = format!("`{name}` is one of its words, here are {}", chosen.len());
                self.wrong(second.span(), what);
            }
        }
    }
}

fn in_table(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" in `{place}`") }
}

/// Returns what a value is, with its article.
pub(super) fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
