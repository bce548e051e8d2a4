//! `aegis audit policy-history`: each policy set that was in force, from when, and what changed.

use std::collections::HashMap;
use std::io::Write as _;

use aegis_export::detail::content_diff;
use aegis_export::shown;
use aegis_policy::set::sha256;
use aegis_types::{PolicyFile, PolicySet, Timestamp, What};
use serde_json::{Value, json};

use super::follow::Source;
use crate::args::Named;
use crate::error::CliError;
use crate::home::Home;
use crate::{output, times};

/// A time in which one set was in force, or a fault.
struct Chapter {
    at: Timestamp,
    seq: u64,
    session: String,
    set: PolicySet,
    /// How many sessions began with it.
    sessions: u64,
}

/// A set that did not come into force.
struct Fault {
    at: Timestamp,
    seq: u64,
    session: String,
    detail: String,
    kept: String,
}

#[derive(Default)]
struct History {
    chapters: Vec<Chapter>,
    faults: Vec<Fault>,
    texts: HashMap<String, String>,
    /// Texts of which not all parts were seen, by session and hash.
    parts: HashMap<(String, String), String>,
}

pub(crate) fn run(home: &Home, named: &Named) -> Result<(), CliError> {
    let source = Source::open(home, home.meant(named.name.as_ref())?)?;
    let mut history = History::default();
    source.ledger.each_of_policies(|row| history.add(row))?;
    if named.json.json {
        return Ok(output::json(&history.as_json())?);
    }
    history.print(source.configuration.name.as_str())
}

impl History {
    fn add(&mut self, row: aegis_ledger::Row) {
        let (at, seq, session) = (row.event.at, row.header.seq, row.header.session);
        match row.event.what {
            What::PolicyText(text) => {
                let key = (session, text.sha256);
                let mut whole = self.parts.remove(&key).unwrap_or_default();
                if text.part == 1 {
                    whole.clear();
                }
                whole.push_str(&text.text);
                if text.part < text.parts {
                    self.parts.insert(key, whole);
                } else if sha256(whole.as_bytes()) == key.1 {
                    self.texts.insert(key.1, whole);
                }
            }
            What::PolicySet(set) => match self.chapters.last_mut() {
                Some(last) if last.set.sha256 == set.sha256 => last.sessions += 1,
                _ => self.chapters.push(Chapter { at, seq, session, set, sessions: 1 }),
            },
            What::PolicyFault(fault) => {
                self.faults.push(Fault { at, seq, session, detail: fault.detail, kept: fault.kept });
            }
            _ => {}
        }
    }

    /// Returns what a set changed: the names of its files, each with the old and the new text.
    fn changes(&self, index: usize) -> Vec<(String, String, String)> {
        let none = Vec::new();
        let before = index.checked_sub(1).and_then(|i| self.chapters.get(i)).map_or(&none, |c| &c.set.files);
        let now = self.chapters.get(index).map_or(&none, |chapter| &chapter.set.files);
        let text = |file: Option<&PolicyFile>| {
            file.map(|file| self.texts.get(&file.sha256).cloned().unwrap_or_default()).unwrap_or_default()
        };
        let mut names: Vec<&String> = before.iter().chain(now).map(|file| &file.name).collect();
        names.sort();
        names.dedup();
        let find = |files: &'_ [PolicyFile], name: &str| files.iter().find(|file| file.name == name).cloned();
        names
            .into_iter()
            .filter_map(|name| {
                let (old, new) = (find(before, name), find(now, name));
                let same = old.as_ref().map(|f| &f.sha256) == new.as_ref().map(|f| &f.sha256);
                (!same).then(|| (name.clone(), text(old.as_ref()), text(new.as_ref())))
            })
            .collect()
    }

    fn print(&self, name: &str) -> Result<(), CliError> {
        let mut out = output::out();
        if self.chapters.is_empty() && self.faults.is_empty() {
            writeln!(out, "no policy was in force in any session of `{name}`")?;
            return Ok(out.flush()?);
        }
        let mut faults = self.faults.iter().peekable();
        for (index, chapter) in self.chapters.iter().enumerate() {
            while let Some(fault) = faults.next_if(|fault| fault.seq < chapter.seq) {
                print_fault(&mut out, fault)?;
            }
            let Chapter { at, seq, session, set, sessions } = chapter;
            writeln!(out, "set {}", set.sha256)?;
            let how = match set.why {
                aegis_types::PolicyChange::Start => "with the start of",
                aegis_types::PolicyChange::Change => "while it ran, in",
            };
            writeln!(out, "  in force from {} (entry {seq}), {how} session {session}", times::local(*at))?;
            if *sessions > 1 {
                writeln!(out, "  and again {} times in a row", sessions - 1)?;
            }
            for file in &set.files {
                writeln!(
                    out,
                    "  file {}  {} bytes  {}",
                    shown(file.name.as_bytes()),
                    file.size,
                    file.sha256
                )?;
            }
            for (name, old, new) in self.changes(index) {
                for line in content_diff(old.as_bytes(), new.as_bytes(), &name).lines() {
                    writeln!(out, "    {line}")?;
                }
            }
            writeln!(out)?;
        }
        for fault in faults {
            print_fault(&mut out, fault)?;
        }
        Ok(out.flush()?)
    }

    fn as_json(&self) -> Value {
        let set = |(index, chapter): (usize, &Chapter)| {
            let changes: Vec<Value> = self
                .changes(index)
                .into_iter()
                .map(|(name, old, new)| json!({"file": name, "diff": content_diff(old.as_bytes(), new.as_bytes(), &name)}))
                .collect();
            json!({
                "sha256": chapter.set.sha256,
                "time": chapter.at.to_string(),
                "seq": chapter.seq,
                "session": chapter.session,
                "why": chapter.set.why.word(),
                "times": chapter.sessions,
                "files": chapter.set.files,
                "changes": changes,
            })
        };
        let fault = |fault: &Fault| {
            json!({
                "time": fault.at.to_string(),
                "seq": fault.seq,
                "session": fault.session,
                "detail": fault.detail,
                "kept": fault.kept,
            })
        };
        json!({
            "sets": self.chapters.iter().enumerate().map(set).collect::<Vec<_>>(),
            "faults": self.faults.iter().map(fault).collect::<Vec<_>>(),
        })
    }
}

fn print_fault(out: &mut impl std::io::Write, fault: &Fault) -> std::io::Result<()> {
    let kept: String = fault.kept.chars().take(12).collect();
    writeln!(
        out,
        "not taken at {} (entry {}), session {}",
        times::local(fault.at),
        fault.seq,
        fault.session
    )?;
    writeln!(out, "  {}", shown(fault.detail.as_bytes()))?;
    writeln!(out, "  {} stayed in force\n", if kept.is_empty() { "no set" } else { &kept })
}
