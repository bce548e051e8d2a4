//! The JSON Schema (2020-12) of `aegis.toml`, made from the table of keys: for editors that complete and
//! check while one types.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::keys;
use super::settings::{Pilot, all_events, cooldown};
use super::shape::{Choice, Key, Kind, Rule, Table, join};

/// Returns the schema.
pub(crate) fn schema() -> Value {
    let defaults = defaults();
    let mut schema = table("", &keys::CONFIGURATION, &defaults);
    let head = [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "aegis.toml"),
        ("description", "Settings of a configuration of Aegis."),
    ];
    if let Some(fields) = schema.as_object_mut() {
        let rest = std::mem::take(fields);
        fields.extend(head.map(|(name, text)| (name.to_owned(), text.into())));
        fields.extend(rest);
    }
    schema
}

/// Returns what holds where a key is not written, by its dotted name.
fn defaults() -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (name, value) in [
        ("policy_paths", json!(["policies"])),
        ("ledger_path", json!("audit.db")),
        ("allowed_network", json!([])),
        ("isolation", json!("Auto")),
        ("observer", json!("Auto")),
        ("observer.FsEvents.enable_snapshots", json!(false)),
        ("observer.ignore", json!([])),
        ("alerts", json!([])),
        ("alerts.cooldown_secs", json!(cooldown())),
        ("alerts.allow_private", json!(false)),
        ("channel.users", json!([])),
        ("channel.events", serde_json::to_value(all_events()).unwrap_or_default()),
    ] {
        all.insert(name.to_owned(), value);
    }
    flatten("pilot", serde_json::to_value(Pilot::default()).unwrap_or_default(), &mut all);
    all
}

fn flatten(place: &str, value: Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            fields.into_iter().for_each(|(name, value)| flatten(&join(place, &name), value, all));
        }
        Value::Null => {}
        value => {
            all.insert(place.to_owned(), value);
        }
    }
}

type Defaults = BTreeMap<String, Value>;

fn table(place: &str, table: &'static Table, defaults: &Defaults) -> Value {
    let mut schema = object(place, table.keys, defaults);
    if let Some(fields) = schema.as_object_mut() {
        match table.rule {
            Rule::One => fields
                .extend([("minProperties".to_owned(), 1.into()), ("maxProperties".to_owned(), 1.into())]),
            Rule::Control => {
                let pair = json!({ "tls_cert": ["tls_key"], "tls_key": ["tls_cert"] });
                fields.insert("dependentRequired".to_owned(), pair);
            }
            Rule::Free | Rule::Alert | Rule::Channel => {}
        }
    }
    schema
}

fn object(place: &str, keys: &'static [Key], defaults: &Defaults) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(&join(place, key.name), key, defaults)))
        .collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let (false, Some(fields)) = (required.is_empty(), schema.as_object_mut()) {
        fields.insert("required".to_owned(), required.into());
    }
    schema
}

fn property(place: &str, key: &Key, defaults: &Defaults) -> Value {
    let mut schema = json!({ "description": key.about });
    let kind = of_kind(place, &key.kind, defaults);
    if let (Some(fields), Value::Object(kind)) = (schema.as_object_mut(), kind) {
        fields.extend(kind);
        if let Some(default) = defaults.get(place) {
            fields.insert("default".to_owned(), default.clone());
        }
    }
    schema
}

fn of_kind(place: &str, kind: &Kind, defaults: &Defaults) -> Value {
    let list =
        |items: Value| json!({ "type": "array", "items": items, "maxItems": 1000, "uniqueItems": true });
    match kind {
        Kind::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }),
        Kind::Path | Kind::Glob => json!({ "type": "string", "minLength": 1 }),
        Kind::AbsolutePath => json!({ "type": "string", "pattern": "^/" }),
        Kind::Paths | Kind::Hosts | Kind::Globs => list(json!({ "type": "string", "minLength": 1 })),
        Kind::Text(most) => json!({ "type": "string", "minLength": 1, "maxLength": most }),
        Kind::Variable => json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Chat => json!({ "type": "integer", "not": { "const": 0 } }),
        Kind::Users => list(json!({ "type": "integer", "minimum": 1 })),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Words(words) => list(json!({ "enum": words })),
        Kind::Secret => json!({ "type": "string", "minLength": 1, "pattern": "^\\S*$" }),
        Kind::KeptSecret(kept) => {
            json!({ "oneOf": [{ "type": "string", "pattern": "^\\S*$" }, table(place, kept, defaults)] })
        }
        Kind::Webhook => json!({ "type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://" }),
        Kind::Listen => json!({ "type": "string" }),
        Kind::Choice { options, beside } => choice(place, options, beside, defaults),
        Kind::Table(below) => table(place, below, defaults),
        Kind::Tables(below) => {
            json!({ "type": "array", "maxItems": 1000, "items": table(place, below, defaults) })
        }
    }
}

fn choice(place: &str, options: &'static [Choice], beside: &'static [Key], defaults: &Defaults) -> Value {
    let words: Vec<Value> =
        options.iter().map(|choice| json!({ "const": choice.word, "description": choice.about })).collect();
    let mut properties: Map<String, Value> = options
        .iter()
        .map(|choice| {
            let mut schema = object(&join(place, choice.word), choice.options, defaults);
            if let Some(fields) = schema.as_object_mut() {
                fields.insert("description".to_owned(), choice.about.into());
            }
            (choice.word.to_owned(), schema)
        })
        .collect();
    properties.extend(
        beside.iter().map(|key| (key.name.to_owned(), property(&join(place, key.name), key, defaults))),
    );
    json!({ "oneOf": [{ "oneOf": words }, {
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1 + beside.len(),
    }] })
}
