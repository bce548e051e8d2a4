//! Attributes that nothing has, and what is meant by them.

use crate::explain::literal::{AGENT, RESOURCE};
use crate::explain::words;
use crate::lint::values::Told;

/// Looks at an attribute of what is no record.
pub(super) fn no_attribute(chain: &str, attribute: &str) -> Told {
    let message = format!("`{chain}` has no attribute `{attribute}`");
    let help = match chain {
        "context.time" => {
            "for a time of each day, in UTC, write `context.time.toTime() >= duration(\"8h\")`".to_owned()
        }
        "context.process" => {
            "`context.process` has `exe`, the program as an absolute path, and `pid`: `context.process.exe like \"*/cargo\"`; what it has, `aegis policy schema` lists".to_owned()
        }
        _ => "it is a single value: compare it as it is".to_owned(),
    };
    Told::error(message, help)
}

/// Looks at an attribute of a variable; nothing where some request has it.
pub(super) fn unknown(chain: &str, attribute: &str) -> Option<Told> {
    match chain {
        "resource" if words::OF_RESOURCE.contains(&attribute) => None,
        "context" if words::actions_with(attribute).is_some() => None,
        "resource" => {
            let message = format!("no resource has the attribute `{attribute}`");
            Some(Told::error(message, of_resource(attribute)))
        }
        "context" => {
            let message = format!("the context has no attribute `{attribute}`");
            Some(Told::error(message, of_context(attribute)))
        }
        "principal" => {
            let help = format!("write `principal == {AGENT}::\"NAME\"`");
            Some(Told::error("an agent has no attributes", help))
        }
        "action" => {
            let help = format!("write `action == {}`", words::action("FileRead"));
            Some(Told::error("an action has no attributes", help))
        }
        _ => None,
    }
}

fn of_resource(attribute: &str) -> String {
    let plain = attribute.to_lowercase();
    if words::actions_with(&plain).is_some() {
        return format!("`{plain}` is the context's: write `context.{plain}`");
    }
    let list = format!("the attributes are {}", words::OF_RESOURCE.join(", "));
    match plain.as_str() {
        "id" | "uid" => format!("write `resource == {RESOURCE}::\"/the/path\"`"),
        "dir" | "directory" | "folder" | "parent" | "dirname" => {
            format!("write `resource in {RESOURCE}::\"/the/directory\"`")
        }
        "args" | "argv" => "write `context.arguments`, on `ProcessSpawn` and `ToolCall`".to_owned(),
        "exe" | "program" => {
            "on `ProcessSpawn` the program is `resource.path`; the one that acts is `context.process.exe`"
                .to_owned()
        }
        _ => match words::nearest_of_resource(attribute) {
            Some(meant) => format!("did you mean `resource.{meant}`? {}", capital(&list)),
            None => list,
        },
    }
}

fn of_context(attribute: &str) -> String {
    let plain = attribute.to_lowercase();
    let all: Vec<String> = words::of_context()
        .map(|(name, actions)| match actions {
            [] => name.to_owned(),
            actions => format!("{name} ({})", words::in_words(actions)),
        })
        .collect();
    let list = format!("the context has {}", all.join(", "));
    match plain.as_str() {
        "exe" | "program" | "executable" | "binary" => "write `context.process.exe`".to_owned(),
        "pid" => "write `context.process.pid`".to_owned(),
        "args" | "argv" | "argument" => {
            "write `context.arguments`, on `ProcessSpawn` and `ToolCall`".to_owned()
        }
        "agent" | "principal" => format!("write `principal == {AGENT}::\"NAME\"`"),
        "action" => format!("write `action == {}`", words::action("FileRead")),
        "now" | "date" | "datetime" | "timestamp" | "hour" => {
            "write `context.time`; a time of each day, in UTC, is `context.time.toTime() >= duration(\"8h\")`"
                .to_owned()
        }
        _ => {
            let of_resource =
                words::OF_RESOURCE.into_iter().find(|known| *known == plain).or(match plain.as_str() {
                    "hostname" | "filename" | "cmd" => words::nearest_of_resource(&plain),
                    _ => None,
                });
            match (of_resource, words::nearest_of_context(attribute)) {
                (Some(meant), _) => {
                    format!(
                        "`{meant}` is the resource's: write `resource has {meant} && resource.{meant} ...`"
                    )
                }
                (None, Some(meant)) => format!("did you mean `context.{meant}`? {}", capital(&list)),
                (None, None) => list,
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
