//! The templates, policy by policy: what of them is taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aegis_types::{AgentName, Decision};

use crate::decide::{Engine, Subject};
use crate::learn::bounds::Bounds;
use crate::learn::fact::{Fact, Traits};
use crate::learn::text::{paragraph, shown};
use crate::problem::Problem;
use crate::set::Policies;
use crate::source::{Origin, Source, split};
use crate::templates::{Places, Template};

/// The policies of the template `project` that are learned anew.
const OF_PROJECT: [&str; 2] = ["directory", "sockets"];

/// Its policy for the session's temporary directory.
const TEMPORARY: &str = "temporary";

/// A policy of a text, with the comment before it.
#[derive(Debug)]
pub(super) struct Piece {
    /// What `@id` says.
    pub(super) id: String,
    pub(super) text: String,
}

/// Takes a template's text apart; nothing of it where it is not valid, which a template is.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let Ok(ranges) = split(text) else { return Vec::new() };
    let piece = |at: Range<usize>| {
        let before = text.get(..at.start)?;
        let own = text.get(at)?;
        let id = own.strip_prefix("@id(\"")?.split('"').next()?;
        let lines: Vec<&str> = before.lines().rev().take_while(|line| line.starts_with("//")).collect();
        let mut piece: String = lines.into_iter().rev().map(|line| format!("{line}\n")).collect();
        piece.push_str(own);
        piece.push('\n');
        Some(Piece { id: id.to_owned(), text: piece })
    };
    ranges.into_iter().filter_map(piece).collect()
}

/// Reads a text as a set of its own; what `@id` says follows `x:`.
pub(super) fn set(text: String) -> Result<Arc<Policies>, Vec<Problem>> {
    let source = Source { origin: Origin::Configuration, path: "x".to_owned(), text };
    Policies::parse(vec![source]).map(Arc::new)
}

/// The template's policies for the system and the toolchains.
pub(super) struct System {
    pub(super) pieces: Vec<Piece>,
    engine: Option<Engine>,
    /// The directories that they name.
    pub(super) folders: Vec<String>,
}

impl System {
    /// Takes them from the template.
    pub(super) fn new(bounds: &Bounds) -> Self {
        // The directory is named by none of those that are kept.
        let files = Template::Project.files(Places {
            directory: "/",
            toolchains: &bounds.toolchains,
            ..Places::default()
        });
        let text = files.iter().find(|file| file.name == "project.cedar").map(|file| file.text.as_str());
        let mut pieces = pieces(text.unwrap_or_default());
        pieces.retain(|piece| !OF_PROJECT.contains(&piece.id.as_str()));
        let text: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        let engine = engine(text);
        let folders = engine.iter().flat_map(|engine| engine.policies().rules()).flat_map(|rule| {
            rule.policy.entity_literals().into_iter().map(|literal| literal.id().unescaped().to_owned())
        });
        Self { pieces, folders: folders.filter(|id| id.starts_with('/')).collect(), engine }
    }

    /// Says whether it permits a fact, and takes note of the policies that do.
    pub(super) fn covers(
        &self,
        fact: &Fact,
        traits: Traits,
        bounds: &Bounds,
        covered: &mut BTreeSet<String>,
    ) -> bool {
        if fact.path().is_some_and(|path| bounds.is_temporary(path)) && fact.is_on_files() {
            covered.insert(TEMPORARY.to_owned());
            return true;
        }
        let Some(engine) = &self.engine else { return false };
        let verdict = fact.ask(engine, traits);
        let allows = verdict.decision == Decision::Allow;
        if allows {
            covered.extend(verdict.policies.iter().filter_map(|id| id.strip_prefix("x:")).map(str::to_owned));
        }
        allows
    }
}

/// Makes an engine to which no directory is temporary: a project may lie in one.
fn engine(text: String) -> Option<Engine> {
    let agent = AgentName::new("learned").ok()?;
    let subject = Subject {
        agent,
        session: String::new(),
        mode: String::new(),
        tmp: None,
        tmp_is_shared: false,
        reserved: Default::default(),
    };
    Engine::new(set(text).ok()?, subject).ok()
}

/// The policies of the template `plants`.
struct Plants {
    pieces: Vec<Piece>,
    /// Forbids what they forbid, and nothing else.
    engine: Option<Engine>,
}

static PLANTS: LazyLock<Plants> = LazyLock::new(|| {
    let files = Template::Project.files(Places { directory: "/", ..Places::default() });
    let text = files.iter().find(|file| file.name == "plants.cedar").map(|file| file.text.as_str());
    let pieces = pieces(text.unwrap_or_default());
    let all = format!("{}\npermit (principal, action, resource);", text.unwrap_or_default());
    Plants { pieces, engine: engine(all) }
});

/// Returns those of them that forbid nothing of what was done.
pub(super) fn plants(permitted: &[(&Fact, Traits)]) -> Vec<String> {
    let Plants { pieces, engine: Some(engine) } = &*PLANTS else { return Vec::new() };
    let mut broken: BTreeMap<String, String> = BTreeMap::new();
    for (fact, traits) in permitted {
        let verdict = fact.ask(engine, *traits);
        if verdict.decision == Decision::Deny {
            for id in verdict.policies.iter().filter_map(|id| id.strip_prefix("x:")) {
                broken
                    .entry(id.to_owned())
                    .or_insert_with(|| format!("{id}: {} {}", fact.action, shown(&fact.name())));
            }
        }
    }
    let kept = pieces.iter().filter(|piece| !broken.contains_key(&piece.id)).map(|piece| piece.text.clone());
    let kept: Vec<String> = kept.collect();
    let mut head = String::from(
        "// Files that would run code later, outside of any sandbox. A forbid wins over any permit.\n",
    );
    paragraph(
        &mut head,
        "Not forbidden, since it was done; put the policy back from the template where it should not be:",
        broken.into_values().collect(),
    );
    std::iter::once(head).chain(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_taken_apart() {
        let pieces =
            pieces("// Of all.\n\n// One,\n// two.\n@id(\"a\")\npermit (x);\n@id(\"b\") permit (y);");
        let texts: Vec<(&str, &str)> = pieces.iter().map(|p| (p.id.as_str(), p.text.as_str())).collect();
        let first = "// One,\n// two.\n@id(\"a\")\npermit (x);\n";
        assert_eq!(texts, [("a", first), ("b", "@id(\"b\") permit (y);\n")]);
    }
}
