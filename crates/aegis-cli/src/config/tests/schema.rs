//! The schema: it describes every key, and the full example is valid under it.

use serde_json::Value;

use super::{FULL, parse, shown};
use crate::config::schema;

/// Checks a value by the words of JSON Schema that ours uses, as far as keys and kinds go.
fn faults(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(forms) = schema["oneOf"].as_array() {
        let good = forms.iter().filter(|form| faults(form, value, place).is_empty()).count();
        return if good == 1 { Vec::new() } else { vec![format!("{place}: {good} forms fit")] };
    }
    let mut found = Vec::new();
    let mut hold = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("{place}: {what}"));
        }
    };
    if let Some(words) = schema["enum"].as_array() {
        hold(words.contains(value), "no such word");
    }
    if let Some(word) = schema.get("const") {
        hold(word == value, "another word");
    }
    hold(value.as_i64() >= schema["minimum"].as_i64() || schema["minimum"].is_null(), "too small");
    hold(value.as_i64() <= schema["maximum"].as_i64() || schema["maximum"].is_null(), "too large");
    match schema["type"].as_str() {
        Some("string") => hold(value.is_string(), "no string"),
        Some("integer") => hold(value.is_i64(), "no integer"),
        Some("boolean") => hold(value.is_boolean(), "no boolean"),
        Some("array") => match value.as_array() {
            Some(list) => list.iter().for_each(|entry| found.extend(faults(&schema["items"], entry, place))),
            None => hold(false, "no array"),
        },
        Some("object") => match value.as_object() {
            Some(fields) => {
                for name in schema["required"].as_array().into_iter().flatten() {
                    hold(fields.contains_key(name.as_str().unwrap()), &format!("{name} is missing"));
                }
                let most = schema["maxProperties"].as_u64().unwrap_or(u64::MAX);
                hold(fields.len() as u64 <= most, "too many properties");
                for (name, value) in fields {
                    match schema["properties"].get(name) {
                        Some(schema) => found.extend(faults(schema, value, &format!("{place}.{name}"))),
                        None => found.push(format!("{place}.{name}: unknown")),
                    }
                }
            }
            None => hold(false, "no object"),
        },
        _ => {}
    }
    found
}

fn json(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn the_full_example_is_valid_under_it() {
    assert_eq!(faults(&schema(), &json(FULL), ""), Vec::<String>::new());
    for bad in [
        FULL.replace("max_nudges", "max_nudge"),
        FULL.replace("120", "0"),
        FULL.replace("\"deny\"", "\"denied\""),
        FULL.replace("name = \"deny-alert\"", ""),
        FULL.replace("enable_snapshots = true", "enable_snapshots = 1"),
    ] {
        assert!(!faults(&schema(), &json(&bad), "").is_empty() && parse(&bad).is_err(), "{bad}");
    }
}

#[test]
fn it_agrees_with_the_check_on_both_forms() {
    for (text, is_good) in [
        ("isolation = \"Auto\"", true),
        ("isolation = \"auto\"", false),
        ("isolation = { Landlock = {} }", true),
        ("isolation = { Landlock = {}, None = {} }", false),
        ("observer = { Seccomp = {}, ignore = [\"/usr/**\"] }", true),
        ("observer = { ignore = [\"/usr/**\"] }", true),
        ("pilot.control.api_key = { env = \"A\" }", true),
        ("pilot.control.api_key = { env = \"A\", file = \"b\" }", false),
        ("pilot.control.api_key = 1", false),
    ] {
        let text = format!("name = \"a\"\n{text}");
        assert_eq!(faults(&schema(), &json(&text), "").is_empty(), is_good, "{text}");
        assert_eq!(parse(&text).is_ok(), is_good, "{text}");
    }
}

#[test]
fn every_key_is_described_and_has_the_default_that_holds() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    fn walk(schema: &Value, place: &str, seen: &mut Vec<(String, Value)>) {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            assert!(below["description"].as_str().is_some_and(|said| said.ends_with('.')), "{place}.{name}");
            seen.push((
                format!("{place}.{name}").trim_start_matches('.').to_owned(),
                below["default"].clone(),
            ));
            walk(below, &format!("{place}.{name}"), seen);
        }
        for form in schema["oneOf"].as_array().into_iter().flatten() {
            walk(form, place, seen);
        }
        if schema["items"].is_object() {
            walk(&schema["items"], &format!("{place}[0]"), seen);
        }
    }
    let mut seen = Vec::new();
    walk(&schema, "", &mut seen);
    // What is shown where the least is written is what the schema says.
    let least = "name = \"a\"\n[[alerts]]\nname = \"x\"\nevent = \"any\"\nwebhook_url = \"https://h\"\n\
         [channel]\ntype = \"telegram\"\nbot_token = \"x\"\nchat_id = 1\n[observer.FsEvents]\n[isolation.Seatbelt]\n";
    let rows = shown(&parse(least).unwrap());
    for row in &rows {
        let (_, default) = seen.iter().find(|(key, _)| *key == row.key).expect(&row.key);
        let is_path = ["policy_paths", "ledger_path"].contains(&row.key.as_str());
        let is_told = ["alerts[0].format", "pilot.control.http_listen"].contains(&row.key.as_str());
        if row.from.is_none() && !row.value.is_null() && !is_path && !is_told {
            assert_eq!(&row.value, default, "{}", row.key);
        }
    }
    assert!(rows.len() > 30 && seen.len() > rows.len());
}
