//! The shape of a settings file: which keys there are, what each may hold, and what is said of it.
//!
//! One description serves the check, the JSON Schema, `config show` and the hints of mistakes. The keys
//! themselves stand in [`super::keys`].

/// A key of a settings file.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it may hold.
    pub(crate) kind: Kind,
    /// What it means, in a sentence or two.
    pub(crate) about: &'static str,
    /// A file without it is refused.
    pub(crate) required: bool,
    /// A command acts on it; otherwise it is checked only.
    pub(crate) used: bool,
}

/// What a key may hold.
#[derive(Debug)]
pub(crate) enum Kind {
    /// The name of a configuration.
    Name,
    /// A path: absolute, from `~` on, or relative to the file.
    Path,
    /// A path that does not hang on where a command is started.
    AbsolutePath,
    /// Paths.
    Paths,
    /// Entries of `allowed_network`.
    Hosts,
    /// A pattern for paths.
    Glob,
    /// Patterns for paths.
    Globs,
    /// A text of at most this many bytes.
    Text(usize),
    /// The name of a variable of the environment.
    Variable,
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Number(i64, i64),
    /// The id of a chat: any whole number but zero.
    Chat,
    /// Ids of users: whole numbers above zero.
    Users,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words.
    Words(&'static [&'static str]),
    /// A text that is never printed.
    Secret,
    /// A secret, or a table that says where it is kept; empty: none.
    KeptSecret(&'static Table),
    /// An address to post to; only its host is printed.
    Webhook,
    /// An address and port to listen on; empty: none.
    Listen,
    /// A word, or a table that has one of these words as a key and its options below; beside it may stand keys
    /// that are no choice.
    Choice {
        /// The words, each with its options.
        options: &'static [Choice],
        /// The other keys of the table form.
        beside: &'static [Key],
    },
    /// A table.
    Table(&'static Table),
    /// Tables that each begin with `[[NAME]]`.
    Tables(&'static Table),
}

/// One word of a choice.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The word.
    pub(crate) word: &'static str,
    /// What it means.
    pub(crate) about: &'static str,
    /// What can be set with it.
    pub(crate) options: &'static [Key],
}

/// A table's keys, and what holds between them.
#[derive(Debug)]
pub(crate) struct Table {
    /// The keys.
    pub(crate) keys: &'static [Key],
    /// What holds between them.
    pub(crate) rule: Rule,
}

/// What holds between the keys of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing.
    Free,
    /// There is exactly one.
    One,
    /// Those of an HTTP listener.
    Control,
    /// Those of an alert.
    Alert,
    /// Those of a channel.
    Channel,
}

impl Key {
    /// A key that can be left out and that a command acts on.
    pub(crate) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, about, required: false, used: true }
    }

    /// A key that can be left out and that no command acts on.
    pub(crate) const fn idle(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, about, required: false, used: false }
    }

    /// The same, but it must be there.
    pub(crate) const fn required(name: &'static str, kind: Kind, about: &'static str, used: bool) -> Self {
        Self { name, kind, about, required: true, used }
    }
}

impl Table {
    /// A table between whose keys nothing holds.
    pub(crate) const fn free(keys: &'static [Key]) -> Self {
        Self { keys, rule: Rule::Free }
    }
}

impl Kind {
    /// Says whether what it holds may not be printed.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret | Self::KeptSecret(_) | Self::Webhook)
    }

    /// Returns the tables below, each with the name of the key that leads there where it has one.
    fn below(&self) -> Vec<(Option<&'static str>, &'static [Key])> {
        match self {
            Self::Table(table) | Self::Tables(table) | Self::KeptSecret(table) => vec![(None, table.keys)],
            Self::Choice { options, beside } => {
                let mut all = vec![(None, *beside)];
                all.extend(options.iter().map(|choice| (Some(choice.word), choice.options)));
                all
            }
            _ => Vec::new(),
        }
    }
}

/// Calls `each` with every key at and below these, and where it stands: `pilot.stall` for what stands in
/// `[pilot.stall]`, nothing for what stands above all tables.
pub(crate) fn walk(keys: &'static [Key], each: &mut impl FnMut(&str, &'static Key)) {
    walk_below("", keys, each);
}

fn walk_below(place: &str, keys: &'static [Key], each: &mut impl FnMut(&str, &'static Key)) {
    for key in keys {
        each(place, key);
        let here = join(place, key.name);
        for (word, keys) in key.kind.below() {
            walk_below(&word.map_or_else(|| here.clone(), |word| join(&here, word)), keys, each);
        }
    }
}

/// Returns the dotted name of a key in a table.
pub(crate) fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

/// Returns the key of a name.
pub(crate) fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}
