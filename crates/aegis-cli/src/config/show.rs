//! What is in force, setting by setting: its value, where it comes from, and whether anything acts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use aegis_ledger::AnchorTarget;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::choices::Platform;
use super::keys;
use super::shape::{Choice, Key, Kind, join};
use super::{Configuration, Global, ORGANISATION, Organisation};

/// Where the keys of a file stand: `pilot.stall.timeout_secs`, `alerts[0].name`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(BTreeMap<String, (usize, Range<usize>)>);

impl Lines {
    /// Returns the line of a key, from 1.
    pub(crate) fn of(&self, key: &str) -> Option<usize> {
        self.0.get(key).map(|(line, _)| *line)
    }

    /// Returns which bytes of the file are the value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<Range<usize>> {
        self.0.get(key).map(|(_, span)| span.clone())
    }
}

/// Finds where the keys of a document stand.
pub(super) fn lines(text: &str, document: &DeTable<'_>) -> Lines {
    let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut lines = Lines::default();
    note("", document, &newlines, &mut lines);
    lines
}

fn note(place: &str, table: &DeTable<'_>, newlines: &[usize], lines: &mut Lines) {
    for (name, value) in table.iter() {
        let here = join(place, name.get_ref());
        let line = newlines.partition_point(|newline| *newline < name.span().start) + 1;
        lines.0.insert(here.clone(), (line, value.span()));
        match value.get_ref() {
            DeValue::Table(below) => note(&here, below, newlines, lines),
            DeValue::Array(list) => {
                for (index, entry) in list.iter().enumerate() {
                    if let DeValue::Table(below) = entry.get_ref() {
                        note(&format!("{here}[{index}]"), below, newlines, lines);
                    }
                }
            }
            _ => {}
        }
    }
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its dotted name.
    pub(crate) key: String,
    /// Its value; a secret only says that it is set.
    pub(crate) value: Value,
    /// The file and line that sets it; otherwise it is the default.
    pub(crate) from: Option<(PathBuf, usize)>,
    /// A command acts on it.
    pub(crate) used: bool,
    /// What else is to be said.
    pub(crate) note: Option<String>,
}

/// Returns every setting that holds for a configuration.
pub(crate) fn rows(
    configuration: &Configuration,
    home: (&Path, &Global),
    organisation: &Organisation,
) -> Vec<Row> {
    let mut list = List { configuration, rows: Vec::new() };
    list.keys("", keys::CONFIGURATION.keys, &values(configuration));
    let mut rows = list.rows;
    let mut anchors = |path: &Path, targets: &[AnchorTarget], lines: &Lines| {
        for (index, target) in targets.iter().enumerate() {
            let (word, to) = match target {
                AnchorTarget::File(path) => ("file", path),
                AnchorTarget::Syslog(path) => ("syslog", path),
                AnchorTarget::Journald(path) => ("journald", path),
            };
            let line = lines.of(&format!("anchors[{index}].{word}")).unwrap_or(1);
            let count = rows.iter().filter(|row| row.key.starts_with("anchors[")).count();
            rows.push(Row {
                key: format!("anchors[{count}].{word}"),
                value: text(to),
                from: Some((path.to_path_buf(), line)),
                used: true,
                note: None,
            });
        }
    };
    anchors(home.0, &home.1.anchors, &home.1.lines);
    anchors(Path::new(ORGANISATION), &organisation.anchors, &organisation.lines);
    rows
}

fn text(path: &Path) -> Value {
    path.to_string_lossy().into()
}

/// Returns the values as JSON in the shape of the file; the types see to it that no secret is among them.
fn values(configuration: &Configuration) -> Value {
    let typed = |value: Result<Value, serde_json::Error>| value.unwrap_or_default();
    let paths: Vec<Value> = configuration.policy_paths.iter().map(|path| text(path)).collect();
    let hosts: Vec<String> = configuration.allowed_network.iter().map(ToString::to_string).collect();
    json!({
        "name": configuration.name.as_str(),
        "sandbox_dir": configuration.sandbox_dir.as_deref().map(text),
        "policy_paths": paths,
        "ledger_path": text(&configuration.ledger),
        "allowed_network": hosts,
        "isolation": typed(serde_json::to_value(&configuration.isolation)),
        "observer": typed(serde_json::to_value(&configuration.observer)),
        "pilot": typed(serde_json::to_value(&configuration.pilot)),
        "alerts": typed(serde_json::to_value(&configuration.alerts)),
        "channel": typed(serde_json::to_value(&configuration.channel)),
    })
}

struct List<'c> {
    configuration: &'c Configuration,
    rows: Vec<Row>,
}

impl List<'_> {
    fn keys(&mut self, place: &str, keys: &'static [Key], values: &Value) {
        for key in keys {
            let here = join(place, key.name);
            let value = values.get(key.name).cloned().unwrap_or_default();
            match (&key.kind, &value) {
                (Kind::Table(table), Value::Object(_)) => self.keys(&here, table.keys, &value),
                (Kind::Tables(table), Value::Array(list)) if !list.is_empty() => {
                    for (index, value) in list.iter().enumerate() {
                        self.keys(&format!("{here}[{index}]"), table.keys, value);
                    }
                }
                (Kind::Choice { options, beside }, _) => self.choice(&here, key, options, beside, &value),
                _ => self.row(here, key, value, None),
            }
        }
    }

    fn choice(
        &mut self,
        here: &str,
        key: &'static Key,
        options: &'static [Choice],
        beside: &'static [Key],
        value: &Value,
    ) {
        let (word, note) = if key.name == "isolation" {
            let isolation = &self.configuration.isolation;
            (isolation.word(), isolation.stand_in(Platform::HERE))
        } else {
            let observing = self.configuration.observer.by;
            (observing.word(), observing.stand_in(Platform::HERE))
        };
        self.row(here.to_owned(), key, word.into(), note);
        let chosen = value.get("by").unwrap_or(value).get(word);
        if let (Some(choice), Some(values)) = (options.iter().find(|choice| choice.word == word), chosen) {
            self.keys(&join(here, word), choice.options, values);
        }
        self.keys(here, beside, value);
    }

    fn row(&mut self, name: String, key: &'static Key, value: Value, note: Option<String>) {
        let line = self.configuration.lines.of(&name);
        let from = line.map(|line| (self.configuration.file.clone(), line));
        self.rows.push(Row { key: name, value, from, used: key.used, note });
    }
}

/// Returns the names of the settings that differ between two texts; nothing where one can't be read.
pub(crate) fn difference(old: &str, new: &str) -> Option<Vec<String>> {
    let flat = |text: &str| {
        let table: toml::Table = text.parse().ok()?;
        let mut all = BTreeMap::new();
        flatten("", toml::Value::Table(table), &mut all);
        Some(all)
    };
    let (old, new) = (flat(old)?, flat(new)?);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    Some(names.into_iter().filter(|name| old.get(*name) != new.get(*name)).cloned().collect())
}

fn flatten(place: &str, value: toml::Value, all: &mut BTreeMap<String, toml::Value>) {
    match value {
        toml::Value::Table(table) if place.is_empty() || !table.is_empty() => {
            for (name, value) in table {
                flatten(&join(place, &name), value, all);
            }
        }
        toml::Value::Array(list) if list.first().is_some_and(toml::Value::is_table) => {
            for (index, value) in list.into_iter().enumerate() {
                flatten(&format!("{place}[{index}]"), value, all);
            }
        }
        value => {
            all.insert(place.to_owned(), value);
        }
    }
}
