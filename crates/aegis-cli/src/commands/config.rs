//! `aegis config show` and `schema`: the effective settings with where each comes from; every key there is.

use aegis_export::shown;
use serde_json::{Map, Value, json};

use crate::args::Named;
use crate::config::{self, ORGANISATION, Organisation, Row};
use crate::error::CliError;
use crate::home::Home;
use crate::output;

pub(crate) fn show(home: &Home, named: &Named) -> Result<(), CliError> {
    let configuration = home.meant(named.name.as_ref())?;
    let organisation = Organisation::read(ORGANISATION.as_ref())?;
    let rows = config::rows(&configuration, (&home.global_path(), &home.global()?), &organisation);
    if named.json.json {
        let settings: Map<String, Value> = rows.into_iter().map(as_json).collect();
        return Ok(output::json(&settings.into())?);
    }
    let notes: Vec<String> =
        rows.iter().filter_map(|row| Some(format!("{}: {}", row.key, row.note.as_ref()?))).collect();
    let some_are_idle = rows.iter().any(|row| !row.used);
    output::table(
        ["SETTING", "VALUE", "FROM", "NOTE"],
        rows.iter().map(|row| as_cells(home, row)).collect(),
    )?;
    if some_are_idle {
        output::line("\nnot used yet: the value is checked, and no command of this version acts on it")?;
    }
    for note in notes {
        output::line(&note)?;
    }
    Ok(())
}

pub(crate) fn schema() -> Result<(), CliError> {
    Ok(output::json(&config::schema())?)
}

fn as_json(row: Row) -> (String, Value) {
    let mut fields = Map::new();
    fields.insert("value".to_owned(), row.value);
    let (from, line) = match row.from {
        Some((path, line)) => (path.to_string_lossy().into_owned(), Some(line)),
        None => ("default".to_owned(), None),
    };
    fields.insert("from".to_owned(), from.into());
    fields.extend(line.map(|line| ("line".to_owned(), line.into())));
    fields.insert("used".to_owned(), row.used.into());
    fields.extend(row.note.map(|note| ("note".to_owned(), note.into())));
    (row.key, json!(fields))
}

fn as_cells(home: &Home, row: &Row) -> [String; 4] {
    let from = match &row.from {
        Some((path, line)) => {
            // The home is the same in all lines: it would only take the room.
            let path = path.strip_prefix(home.root()).unwrap_or(path);
            format!("{}:{line}", shown(path.to_string_lossy().as_bytes()))
        }
        None => "default".to_owned(),
    };
    let note = if row.used { "" } else { "not used yet" };
    [row.key.clone(), value(&row.key, &row.value), from, note.to_owned()]
}

/// Returns a value in words.
fn value(key: &str, value: &Value) -> String {
    match (key, value) {
        ("sandbox_dir", Value::Null) => "the directory that the command starts in".to_owned(),
        ("pilot.tool", Value::Null) => "told from the command".to_owned(),
        (_, Value::Null) => "none".to_owned(),
        (_, Value::String(text)) if text.is_empty() => "none".to_owned(),
        (_, Value::String(text)) => shown(text.as_bytes()),
        (_, Value::Array(list)) if list.is_empty() => "none".to_owned(),
        (_, Value::Array(list)) => {
            list.iter().map(|entry| self::value("", entry)).collect::<Vec<_>>().join(", ")
        }
        // Where a secret is kept.
        (_, Value::Object(fields)) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name} = {}", shown(value.to_string().as_bytes())))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        (_, other) => other.to_string(),
    }
}
