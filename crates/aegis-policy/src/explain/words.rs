//! The words that a policy can use, and what is meant by others.

use aegis_types::Action;

/// The groups of actions.
pub(crate) const GROUPS: [&str; 3] = ["Read", "Write", "Process"];

/// The attributes of a resource.
pub(crate) const OF_RESOURCE: [&str; 8] =
    ["path", "name", "extension", "host", "address", "port", "tool", "command"];

/// The attributes of the context, and the actions that have each; nothing where all have it.
pub(crate) const OF_CONTEXT: [(&str, &[&str]); 8] = [
    ("process", &[]),
    ("mode", &[]),
    ("session", &[]),
    ("time", &[]),
    ("direction", &["NetConnect"]),
    ("existed", &["FileWrite", "FileDelete", "DirCreate"]),
    ("setuid", &["FileWrite"]),
    ("arguments", &["ProcessSpawn", "ToolCall"]),
];

/// `context.tool`; apart, since `resource.tool` says the same.
const OF_TOOL_CALL: (&str, &[&str]) = ("tool", &["ToolCall"]);

/// How alike two words must be for one to be meant for the other, from 0 to 1 (Jaro and Winkler).
const ALIKE: f64 = 0.8;

/// What other systems call the actions, in small letters and without what is no letter.
const MEANT: [(&str, &str); 51] = [
    ("readfile", "FileRead"),
    ("open", "FileRead"),
    ("openfile", "FileRead"),
    ("view", "FileRead"),
    ("get", "FileRead"),
    ("writefile", "FileWrite"),
    ("edit", "FileWrite"),
    ("editfile", "FileWrite"),
    ("modify", "FileWrite"),
    ("update", "FileWrite"),
    ("append", "FileWrite"),
    ("create", "FileWrite"),
    ("createfile", "FileWrite"),
    ("filecreate", "FileWrite"),
    ("rename", "FileWrite"),
    ("delete", "FileDelete"),
    ("deletefile", "FileDelete"),
    ("remove", "FileDelete"),
    ("removefile", "FileDelete"),
    ("fileremove", "FileDelete"),
    ("unlink", "FileDelete"),
    ("mkdir", "DirCreate"),
    ("createdir", "DirCreate"),
    ("makedir", "DirCreate"),
    ("createdirectory", "DirCreate"),
    ("list", "DirList"),
    ("ls", "DirList"),
    ("listdir", "DirList"),
    ("listdirectory", "DirList"),
    ("readdir", "DirList"),
    ("dirread", "DirList"),
    ("network", "NetConnect"),
    ("net", "NetConnect"),
    ("connect", "NetConnect"),
    ("networkconnect", "NetConnect"),
    ("connectnet", "NetConnect"),
    ("listen", "NetConnect"),
    ("bind", "NetConnect"),
    ("http", "NetConnect"),
    ("exec", "ProcessSpawn"),
    ("execute", "ProcessSpawn"),
    ("fileexecute", "ProcessSpawn"),
    ("processexec", "ProcessSpawn"),
    ("run", "ProcessSpawn"),
    ("spawn", "ProcessSpawn"),
    ("spawnprocess", "ProcessSpawn"),
    ("shell", "ProcessSpawn"),
    ("exit", "ProcessExit"),
    ("tool", "ToolCall"),
    ("calltool", "ToolCall"),
    ("mcp", "ToolCall"),
];

/// What else is said for an attribute of a resource.
const MEANT_OF_RESOURCE: [(&str, &str); 15] = [
    ("filename", "name"),
    ("file", "name"),
    ("basename", "name"),
    ("ext", "extension"),
    ("suffix", "extension"),
    ("type", "extension"),
    ("hostname", "host"),
    ("domain", "host"),
    ("url", "host"),
    ("ip", "address"),
    ("cidr", "address"),
    ("cmd", "command"),
    ("commandline", "command"),
    ("filepath", "path"),
    ("uri", "path"),
];

/// Says whether an action or a group has this name.
pub(crate) fn is_action(word: &str) -> bool {
    GROUPS.contains(&word) || Action::ALL.iter().any(|action| action.word() == word)
}

/// Lists the actions and the groups.
pub(crate) fn actions() -> String {
    let all: Vec<&str> = Action::ALL.iter().map(|action| action.word()).collect();
    format!("{}; the groups are Read, Write and Process", all.join(", "))
}

/// Returns an action as it is written.
pub(crate) fn action(word: &str) -> String {
    format!("Aegis::Action::\"{word}\"")
}

/// Returns actions as they are written in a list.
pub(crate) fn list_of_actions(words: &[&str]) -> String {
    let all: Vec<String> = words.iter().map(|word| action(word)).collect();
    format!("[{}]", all.join(", "))
}

/// Returns the action or group that is most likely meant.
pub(crate) fn nearest_action(word: &str) -> Option<&'static str> {
    let word = word.rsplit("::").next().unwrap_or_default();
    let plain: String = word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let known = || Action::ALL.iter().map(|action| action.word()).chain(GROUPS);
    known()
        .find(|action| action.eq_ignore_ascii_case(&plain))
        .or_else(|| MEANT.iter().find(|(said, _)| *said == plain).map(|(_, action)| *action))
        .or_else(|| nearest(&plain, known()))
}

/// Says what to write for an action that is not known.
pub(crate) fn action_help(word: &str) -> String {
    if let Some(start) = word.strip_suffix('*') {
        let all: Vec<&str> = Action::ALL
            .iter()
            .map(|action| action.word())
            .filter(|action| action.starts_with(start))
            .collect();
        return match all.as_slice() {
            [] => format!("`*` has no meaning here; the actions are {}", actions()),
            _ if start.is_empty() => "for any action write `action` alone".to_owned(),
            all => format!("`*` has no meaning here; write `action in {}`", list_of_actions(all)),
        };
    }
    match nearest_action(word) {
        Some(meant) => {
            format!("did you mean `{}`? The actions are {}", action(meant), actions())
        }
        None => format!("the actions are {}", actions()),
    }
}

/// Returns the attribute of a resource that is most likely meant.
pub(crate) fn nearest_of_resource(word: &str) -> Option<&'static str> {
    let plain: String = word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    MEANT_OF_RESOURCE
        .iter()
        .find(|(said, _)| *said == plain)
        .map(|(_, attribute)| *attribute)
        .or_else(|| nearest(&plain, OF_RESOURCE.into_iter()))
}

/// Returns the attribute of the context that is most likely meant.
pub(crate) fn nearest_of_context(word: &str) -> Option<&'static str> {
    nearest(&word.to_lowercase(), of_context().map(|(attribute, _)| attribute))
}

/// Returns the attributes of the context, with the actions that have each.
pub(crate) fn of_context() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    OF_CONTEXT.into_iter().chain([OF_TOOL_CALL])
}

/// Returns the actions that have an attribute of the context: none where all have it; nothing where none has.
pub(crate) fn actions_with(attribute: &str) -> Option<&'static [&'static str]> {
    of_context().find(|(name, _)| *name == attribute).map(|(_, actions)| actions)
}

fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known
        .map(|other| (strsim::jaro_winkler(word, &other.to_lowercase()), other))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other)
}

/// Returns the nearest of these words.
pub(crate) fn nearest_of(word: &str, known: &[&'static str]) -> Option<&'static str> {
    nearest(&word.to_lowercase(), known.iter().copied())
}

/// Returns words as a list in a sentence: `A, B and C`.
pub(crate) fn in_words(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_found() {
        for (word, meant) in [
            ("ReadFile", Some("FileRead")),
            ("WriteFile", Some("FileWrite")),
            ("DeleteFile", Some("FileDelete")),
            ("Network", Some("NetConnect")),
            ("Exec", Some("ProcessSpawn")),
            ("Execute", Some("ProcessSpawn")),
            ("List", Some("DirList")),
            ("file_read", Some("FileRead")),
            ("Aegis::Action::FileRead", Some("FileRead")),
            ("FileReed", Some("FileRead")),
            ("Wirte", Some("Write")),
            ("read", Some("Read")),
            ("banana", None),
        ] {
            assert_eq!(nearest_action(word), meant, "{word}");
        }
        assert!(action_help("File*").contains("action in [Aegis::Action::\"FileDelete\", "));
        assert_eq!(action_help("*"), "for any action write `action` alone");
        assert_eq!(nearest_of_resource("fileName"), Some("name"));
        assert_eq!(nearest_of_context("directon"), Some("direction"));
        assert_eq!(in_words(&["a", "b", "c"]), "a, b and c");
    }
}
