//! Names that may be others the next time.

use std::collections::{BTreeMap, BTreeSet};

use aegis_types::Action;

use crate::learn::bounds::{Bounds, parent};
use crate::learn::fact::{Fact, Traits};
use crate::request::name_of;

/// Names that were made.
pub(super) struct Made<'a> {
    names: BTreeSet<&'a str>,
    /// Directories that were made and removed again, with names that look chosen by a program.
    passing: BTreeSet<&'a str>,
}

/// What is known of a name the next time.
pub(super) enum Chance<'a> {
    /// It is the same.
    Same,
    /// It may be another in this directory.
    Whole(&'a str),
    /// The same, but the directory is too wide to be permitted whole.
    TooWide(&'a str),
}

impl<'a> Made<'a> {
    /// Looks for them.
    pub(super) fn of(facts: &'a BTreeMap<Fact, Traits>) -> Self {
        let of = |is: fn(&Fact, &Traits) -> bool| -> BTreeSet<&'a str> {
            let done = facts.iter().filter(|(fact, traits)| traits.done && is(fact, traits));
            done.filter_map(|(fact, _)| fact.path()).collect()
        };
        let names = of(|_, traits| traits.made);
        let folders = of(|fact, _| fact.action == Action::DirCreate);
        let removed = of(|fact, _| fact.action == Action::FileDelete);
        let passing = folders.intersection(&removed).copied();
        Self { names, passing: passing.filter(|path| name_of(path).is_some_and(looks_chosen)).collect() }
    }

    /// Says what is known of a name.
    pub(super) fn place<'b>(&self, name: &'b str, bounds: &Bounds) -> Chance<'b> {
        let mut found = Chance::Same;
        let mut at = Some(name);
        // The topmost directory that passes decides.
        while let Some(path) = at {
            let folder = parent(path);
            let may_change = (path == name && self.names.contains(path)) || self.passing.contains(path);
            if let (true, Some(folder)) = (may_change, folder) {
                found = match found {
                    Chance::Whole(inner) if !bounds.may_be_whole(folder) => Chance::Whole(inner),
                    _ if bounds.may_be_whole(folder) => Chance::Whole(folder),
                    _ => Chance::TooWide(folder),
                };
            }
            at = folder;
        }
        found
    }
}

/// Says whether a name looks as if a program had chosen it: `build` is removed and made again, `tmp.0HImd5` is another
/// each time.
fn looks_chosen(name: &str) -> bool {
    let has = |is: fn(&char) -> bool| name.chars().any(|c| is(&c));
    has(char::is_ascii_digit)
        || (has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase))
        || name.contains("tmp")
        || name.contains("temp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_names_are_told_from_given_ones() {
        for yes in ["tmp.0HImd5", "conf123.dir", "rustcAbCdEf", "tmpabcdxyz"] {
            assert!(looks_chosen(yes), "{yes}");
        }
        for no in ["build", "target", "node_modules", "__pycache__"] {
            assert!(!looks_chosen(no), "{no}");
        }
    }
}
