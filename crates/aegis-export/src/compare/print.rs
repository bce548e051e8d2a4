//! A difference as text and as JSON, written piece by piece: it may be long.

use std::io::{self, Write};

use aegis_types::{PreImage, Text};
use serde_json::{Map, Value, json};

use super::fact::{Exit, Fact, Kind, Subject};
use super::{Commands, Contents, Decided, Difference, Flip, Only, Pair, Policies, Side};
use crate::shown::command_line;
use crate::{json as records, resource_text, shown};

impl Difference {
    /// Writes it as text, at most so many lines of each group.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_text(&self, out: &mut impl Write, most: Option<usize>) -> io::Result<()> {
        if self.is_same() {
            writeln!(out, "\nno difference: {} facts, the same in both", self.facts)?;
        }
        for side in [Side::A, Side::B] {
            let lines = self.only.get(side).iter().map(|only| only.line(side.other()));
            group(out, &format!("ONLY IN {}", side.letter()), lines, most)?;
        }
        group(out, "DECIDED OTHERWISE", self.decided_otherwise.iter().map(Flip::line), most)?;
        let title = "CHANGED IN BOTH, FROM DIFFERENT CONTENTS (not counted as a difference)";
        group(out, title, self.former_contents.iter().map(Contents::line), most)?;
        let title = "TEMPORARY NAMES, EACH TAKEN AS ONE WHATEVER ITS RANDOM PART";
        group(out, title, self.temporary_names.iter().map(|name| shown(name.as_bytes())), most)
    }

    /// Writes it as a JSON object; `sessions` says which sessions they are.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_json(&self, out: &mut impl Write, sessions: &Pair<Value>) -> io::Result<()> {
        writeln!(out, "{{\n  \"a\": {},\n  \"b\": {},", sessions.a, sessions.b)?;
        writeln!(out, "  \"same\": {},\n  \"facts\": {},", self.is_same(), self.facts)?;
        array(out, "only_a", self.only.a.iter().map(Only::json))?;
        array(out, "only_b", self.only.b.iter().map(Only::json))?;
        array(out, "decided_otherwise", self.decided_otherwise.iter().map(Flip::json))?;
        array(out, "former_contents", self.former_contents.iter().map(Contents::json))?;
        let names: Value = self.temporary_names.iter().map(text).collect();
        writeln!(out, "  \"temporary_names\": {names}\n}}")
    }
}

/// Writes a group of lines under a title, where there are any.
fn group(
    out: &mut impl Write,
    title: &str,
    lines: impl ExactSizeIterator<Item = String>,
    most: Option<usize>,
) -> io::Result<()> {
    let number = lines.len();
    if number == 0 {
        return Ok(());
    }
    let most = most.unwrap_or(number);
    writeln!(out, "\n{title}")?;
    for line in lines.take(most) {
        writeln!(out, "  {line}")?;
    }
    if number > most {
        writeln!(out, "  and {} more (--all lists them)", number - most)?;
    }
    Ok(())
}

/// Writes a field of an object that others follow.
fn array(out: &mut impl Write, key: &str, values: impl Iterator<Item = Value>) -> io::Result<()> {
    write!(out, "  \"{key}\": [")?;
    for (place, value) in values.enumerate() {
        write!(out, "{}\n    {value}", if place == 0 { "" } else { "," })?;
    }
    writeln!(out, "],")
}

impl Only {
    fn line(&self, other: Side) -> String {
        let mut line = self.fact.line();
        if let Some(commands) = &self.story.commands {
            line.push_str(&commands.line());
        }
        if !self.story.there {
            line.push_str("  (was not there)");
        } else if self.missing_in_other {
            line.push_str(&format!("  (was not there in {})", other.letter()));
        }
        if !self.story.decided.is_none() {
            line.push_str(&format!("  ({})", self.story.decided.line(true)));
        }
        line
    }

    fn json(&self) -> Value {
        let mut object = self.fact.json();
        let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        if let Some(commands) = &self.story.commands {
            let lists = commands.list.iter().map(|argv| argv.iter().map(text).collect());
            put("commands", lists.collect::<Vec<Value>>().into());
            if commands.more {
                put("more_commands", true.into());
            }
        }
        if !self.story.there {
            put("missing", true.into());
        }
        if self.story.there && self.missing_in_other {
            put("missing_in_other", true.into());
        }
        if !self.story.decided.is_none() {
            put("decided", self.story.decided.json());
        }
        object.into()
    }
}

impl Flip {
    fn line(&self) -> String {
        let Pair { a, b } = &self.decided;
        let (before, after) = (a.line(false), b.line(false));
        format!("{}  {before} -> {after}  (A: {}; B: {})", self.fact.line(), a.line(true), b.line(true))
    }

    fn json(&self) -> Value {
        let mut object = self.fact.json();
        object.insert("a".to_owned(), self.decided.a.json());
        object.insert("b".to_owned(), self.decided.b.json());
        object.into()
    }
}

impl Contents {
    fn line(&self) -> String {
        let content = |pre: &PreImage| match &pre.sha256 {
            Some(hash) => format!("{} bytes, {}", pre.size, hash.chars().take(12).collect::<String>()),
            None => format!("{} bytes", pre.size),
        };
        let path = shown(self.path.as_bytes());
        format!("{path}  (before A: {}; before B: {})", content(&self.pre.a), content(&self.pre.b))
    }

    fn json(&self) -> Value {
        let pre = |pre: &PreImage| serde_json::to_value(pre).unwrap_or_default();
        json!({"path": text(&self.path), "a": pre(&self.pre.a), "b": pre(&self.pre.b)})
    }
}

impl Decided {
    fn line(&self, with_policies: bool) -> String {
        let part = |word: &str, policies: &Policies| {
            let ids: Vec<String> = policies.iter().map(|id| shown(id.as_bytes())).collect();
            match (with_policies, ids.is_empty()) {
                (false, _) => word.to_owned(),
                (true, true) => format!("{word} by no policy"),
                (true, false) => format!("{word} by {}", ids.join(", ")),
            }
        };
        let parts = [("allow", &self.allow), ("deny", &self.deny)];
        let parts = parts.into_iter().filter_map(|(word, policies)| Some(part(word, policies.as_ref()?)));
        parts.collect::<Vec<_>>().join(" and ")
    }

    fn json(&self) -> Value {
        let ids = |policies: &Policies| policies.iter().map(|id| Value::from(id.as_ref())).collect();
        let mut object = Map::new();
        for (word, policies) in [("allow", &self.allow), ("deny", &self.deny)] {
            if let Some(policies) = policies {
                object.insert(word.to_owned(), ids(policies));
            }
        }
        object.into()
    }
}

/// The longest command line that is shown, in characters.
const COMMAND_MAX: usize = 200;

impl Commands {
    fn line(&self) -> String {
        let mut line = String::new();
        for argv in &self.list {
            let whole = command_line(argv);
            let cut: String = whole.chars().take(COMMAND_MAX).collect();
            let dots = if cut.len() < whole.len() { "…" } else { "" };
            line.push_str(&format!("  [{cut}{dots}]"));
        }
        if self.more {
            line.push_str("  and with other arguments");
        }
        line
    }
}

impl Fact {
    fn line(&self) -> String {
        let word = match self.kind {
            Kind::End => "End",
            Kind::Gap => "Gap",
            Kind::Refusal => "Refusal",
            other => other.action().map_or("", aegis_types::Action::word),
        };
        let what = match (&self.subject, self.resource()) {
            (Subject::Gap(gap), _) => {
                let exe = gap.exe.as_ref().map(|exe| format!("{}: ", shown(exe.as_bytes())));
                format!("{}{} ({})", exe.unwrap_or_default(), shown(gap.detail.as_bytes()), gap.reason)
            }
            (Subject::Refusal(refusal), _) => {
                let exe = shown(refusal.exe.as_bytes());
                format!("{exe}: {}: {}", shown(refusal.call.as_bytes()), shown(refusal.detail.as_bytes()))
            }
            (Subject::End(end), _) => {
                let how = match end.exit {
                    _ if !end.ended => "none yet".to_owned(),
                    Some(Exit::Code(code)) => format!("exit {code}"),
                    Some(Exit::Signal(signal)) => format!("signal {signal}"),
                    None => "not seen".to_owned(),
                };
                let failure = end.failure.as_ref().map(|why| format!("; {}", shown(why.as_bytes())));
                format!("{how}{}", failure.unwrap_or_default())
            }
            (_, Some(resource)) => resource_text(&resource),
            (_, None) => String::new(),
        };
        match self.kind {
            Kind::Listen => format!("{word:<12}  listen {what}"),
            Kind::ReadSystem => format!("{word:<12}  {what}  (the system's own files in it)"),
            _ => format!("{word:<12}  {what}"),
        }
    }

    fn json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        match (&self.subject, self.kind.action(), self.resource()) {
            (Subject::Gap(gap), ..) => {
                put("kind", "gap".into());
                put("reason", gap.reason.into());
                put("detail", gap.detail.as_str().into());
                if let Some(exe) = &gap.exe {
                    put("exe", text(exe));
                }
            }
            (Subject::Refusal(refusal), ..) => {
                put("kind", "refusal".into());
                put("call", refusal.call.as_str().into());
                put("detail", refusal.detail.as_str().into());
                put("exe", text(&refusal.exe));
            }
            (Subject::End(end), ..) => {
                put("kind", "session_end".into());
                put("ended", end.ended.into());
                match end.exit {
                    Some(Exit::Code(code)) => put("exit", json!({"code": code})),
                    Some(Exit::Signal(signal)) => put("exit", json!({"signal": signal})),
                    None => {}
                }
                if let Some(failure) = &end.failure {
                    put("failure", failure.as_str().into());
                }
            }
            (_, action, resource) => {
                put("kind", "action".into());
                put("action", action.map_or("", aegis_types::Action::word).into());
                put("resource", resource.as_ref().map(records::resource).unwrap_or_default());
                if self.kind == Kind::Listen {
                    put("direction", "listen".into());
                }
                if self.kind == Kind::ReadSystem {
                    put("folded", true.into());
                }
                if self.is_unified() {
                    put("unified", true.into());
                }
            }
        }
        object
    }
}

/// Bytes as a string, or as `{"b64": ...}`.
fn text(text: &Text) -> Value {
    serde_json::to_value(text).unwrap_or_default()
}
