//! Cedar's errors in words that tell the author of a policy what to write instead.

use std::ops::Range;

use miette::Diagnostic;

/// An error with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// Where in the policy's own text; nothing where Cedar does not say.
    pub(crate) at: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// What to do about a policy that forbids everything.
pub(crate) const SHADOW: &str = "what no policy permits is denied anyway; remove this policy, or its file where it \
     is the template `default-deny`";

/// Explains an error of the parser.
pub(crate) fn parse(error: &dyn Diagnostic, text: &str) -> Explained {
    let mut explained = raw(error);
    let at = explained.at.clone().unwrap_or(0..1);
    let found = text.get(at.start..).unwrap_or_default();
    let before = text.get(..at.start).unwrap_or_default().trim_end();
    let word: String = found.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let help = if explained.message.contains("expected single entity uid") {
        Some("before the conditions only one may stand; write `resource) when { resource in [..., ...] }`")
    } else if found.starts_with('\'') || before.ends_with('\'') || explained.message.contains("invalid token")
    {
        match found.chars().next() {
            Some('&') => Some("Cedar writes `&&`"),
            Some('|') => Some("Cedar writes `||`"),
            Some('\'') => Some("strings stand in double quotes: \"...\""),
            Some('~' | '/' | '\\' | '$') => {
                Some("a path stands in double quotes, and is absolute: \"/home/me/project\"")
            }
            _ => None,
        }
    } else if matches!(word.as_str(), "permit" | "forbid") && !before.is_empty() {
        Some("the policy before this one needs a `;` at its end")
    } else if matches!(word.as_str(), "and" | "or" | "not") {
        Some("Cedar writes `&&`, `||` and `!`")
    } else if found.starts_with('&') && !found.starts_with("&&")
        || before.ends_with('&') && !before.ends_with("&&")
    {
        Some("Cedar writes `&&`")
    } else if found.starts_with('|') {
        Some("Cedar writes `||`")
    } else if before.ends_with("when") || before.ends_with("unless") {
        Some("a condition stands in braces: `when { ... }`")
    } else if at.start >= text.trim_end().len().saturating_sub(1) && !text.trim_end().ends_with(';') {
        Some("a policy ends with `;`")
    } else if word == "allow" || word == "deny" || text.starts_with("allow") || text.starts_with("deny") {
        Some("a policy begins with `permit` or `forbid`")
    } else {
        None
    };
    if let Some(help) = help {
        explained.help = Some(help.to_owned());
    }
    if explained.message.contains("?principal")
        || explained.message.contains("?resource")
        || text.contains("?principal")
        || text.contains("?resource")
    {
        explained.help = Some(
            "templates with `?principal` or `?resource` are not linked by Aegis: write the value itself"
                .to_owned(),
        );
    }
    explained
}

/// Explains an error or a warning of the validator.
pub(crate) fn validation(error: &dyn Diagnostic, text: &str) -> Explained {
    let mut explained = raw(error);
    // The policy is named by its place.
    if let Some((_, message)) = explained.message.split_once("`, ")
        && explained.message.starts_with("for policy `")
    {
        explained.message = message.to_owned();
    }
    let message = explained.message.clone();
    let help = if message.contains("unable to guarantee safety of access to optional attribute") {
        let attribute = message.split('`').nth(1).unwrap_or("path").to_owned();
        let attribute = attribute.rsplit('.').next().unwrap_or_default().to_owned();
        Some(format!(
            "not every resource has it; ask first: `resource has {attribute} && resource.{attribute} ...`"
        ))
    } else if message.contains("unable to find an applicable action") {
        Some(group_help(text))
    } else if message.contains("unrecognized action") {
        Some(match nearest(message.split('"').nth(1).unwrap_or_default()) {
            Some(action) => {
                format!("did you mean `Aegis::Action::\"{action}\"`? The actions are {}", actions())
            }
            None => format!("the actions are {}", actions()),
        })
    } else if message.contains("unrecognized entity type") {
        Some("the types are `Aegis::Agent` (principal), `Aegis::Action` (action) and `Aegis::Resource` (resource)".to_owned())
    } else if message.contains("attribute `") && message.contains("not found")
        || message.contains("attribute `") && message.contains("in the context")
    {
        explained.help.take().map(|help| format!("{help}; `aegis policy schema` lists them")).or_else(|| {
            Some(
                "`aegis policy schema` lists the attributes, and what `context` has for each action"
                    .to_owned(),
            )
        })
    } else if message.contains("always evaluates to false") || message.contains("policy is impossible") {
        Some(
            "it never applies: its conditions contradict each other, or ask for what none of its actions has"
                .to_owned(),
        )
    } else {
        None
    };
    if help.is_some() {
        explained.help = help;
    }
    explained
}

fn actions() -> String {
    let all: Vec<&str> = aegis_types::Action::ALL.iter().map(|action| action.word()).collect();
    format!("{}; the groups are Read, Write and Process", all.join(", "))
}

/// The groups of actions.
const GROUPS: [&str; 3] = ["Read", "Write", "Process"];

/// How alike two words must be for one to be meant for the other, from 0 to 1 (Jaro and Winkler).
const ALIKE: f64 = 0.8;

fn nearest(word: &str) -> Option<&'static str> {
    let known = aegis_types::Action::ALL.iter().map(|action| action.word()).chain(GROUPS);
    known
        .map(|action| (strsim::jaro_winkler(&word.to_lowercase(), &action.to_lowercase()), action))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, action)| action)
}

fn group_help(text: &str) -> String {
    for group in GROUPS {
        let literal = format!("Aegis::Action::\"{group}\"");
        if text.contains(&literal) && !text.contains(&format!("in {literal}")) {
            return format!("`{group}` is a group of actions: write `action in {literal}`");
        }
    }
    "the principal is an `Aegis::Agent`, the resource an `Aegis::Resource`, for every action".to_owned()
}

fn raw(error: &dyn Diagnostic) -> Explained {
    let at = error.labels().and_then(|mut labels| labels.next()).map(|label| {
        let start = label.offset();
        start..start + label.len().max(1)
    });
    let label = error
        .labels()
        .and_then(|mut labels| labels.next())
        .and_then(|label| label.label().map(str::to_owned));
    let mut message = error.to_string();
    if let Some(label) = label.filter(|label| !message.contains(label.as_str())) {
        message = format!("{message}: {label}");
    }
    Explained { at, message, help: error.help().map(|help| help.to_string()) }
}

/// Says what is wrong with a name that no request can have; nothing where it is fine.
pub(crate) fn literal(kind: &str, id: &str) -> Option<(String, String)> {
    if kind != "Aegis::Resource" {
        return None;
    }
    let path = id.strip_prefix("unix:").unwrap_or(id);
    let say = |what: &str, help: String| Some((format!("no resource is named `{id}`: {what}"), help));
    if path.starts_with('~') || path.starts_with("$HOME") {
        return say("`~` stands for nothing here", "write the whole path: \"/home/me/...\"".to_owned());
    }
    if id.contains('*') && !id.contains('(') {
        return say(
            "`*` has no meaning in a name",
            "for all in a directory write `resource in Aegis::Resource::\"/the/directory\"`, for a pattern `resource has path && resource.path like \"...\"`".to_owned(),
        );
    }
    if path.starts_with("./") || path.starts_with("../") || path == "." || path == ".." {
        return say("it is relative", "paths are absolute: \"/home/me/...\"".to_owned());
    }
    if !path.starts_with('/') {
        return None;
    }
    if path.len() > 1 && path.ends_with('/') {
        let right = path.trim_end_matches('/');
        let right = if right.is_empty() { "/" } else { right };
        return say(
            "a path has no `/` at its end",
            format!("write `resource in Aegis::Resource::\"{right}\"`"),
        );
    }
    if path.split('/').any(|part| part == "." || part == "..") || path.contains("//") {
        return say(
            "`.`, `..` and `//` are resolved before a policy is asked",
            "write the path as it resolves".to_owned(),
        );
    }
    None
}
