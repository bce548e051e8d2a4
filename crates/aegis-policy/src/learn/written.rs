//! Places as conditions of policies.

use std::collections::BTreeSet;

use crate::learn::places::Place;
use crate::learn::text::{can_be_named, list, literal, scoped};
use crate::source::OPERATORS_MAX;

/// The operators that the patterns of one policy may take; what one place and the rest of the policy take is left.
const OPERATORS: usize = OPERATORS_MAX - 20;

/// Places, by how they are written.
#[derive(Debug, Default)]
struct Written {
    /// Directories, as entities.
    folders: Vec<String>,
    /// Names, as entities.
    names: Vec<String>,
    /// Conditions on the path.
    likes: Vec<String>,
}

impl Written {
    fn add(&mut self, place: &Place, prefix: &str) {
        match place {
            Place::In(folder) if can_be_named(folder) => self.folders.push(literal(folder)),
            Place::In(folder) => {
                self.likes.push(exactly(folder));
                self.likes.push(format!("resource.path like \"{}/*\"", pattern(folder)));
            }
            Place::At(name) => {
                let id = format!("{prefix}{name}");
                if can_be_named(&id) { self.names.push(literal(&id)) } else { self.likes.push(exactly(name)) }
            }
            Place::Like(parts) => self.likes.push(like(parts)),
        }
    }

    /// Returns how many operators the patterns take, with one that joins each to the next.
    fn operators(&self) -> usize {
        self.likes.iter().map(|like| like.matches("&&").count() + like.matches('!').count() + 1).sum()
    }

    /// Returns what stands in the scope for the resource, and what is a condition.
    fn conditions(&self) -> (String, Option<String>) {
        if self.likes.is_empty() {
            match (self.folders.as_slice(), self.names.as_slice()) {
                ([folder], []) => return (format!("resource in {folder}"), None),
                ([], [name]) => return (format!("resource == {name}"), None),
                _ => {}
            }
        }
        let mut any = Vec::new();
        if !self.folders.is_empty() {
            any.push(format!("resource in {}", list(&self.folders)));
        }
        if !self.names.is_empty() {
            any.push(format!("{}.contains(resource)", list(&self.names)));
        }
        if !self.likes.is_empty() {
            any.push(format!("(resource has path &&\n    ({}))", self.likes.join(" ||\n    ")));
        }
        ("resource".to_owned(), Some(any.join(" ||\n  ")))
    }
}

/// Writes policies for places; several where there are more patterns than one may have.
pub(super) fn permits(
    id: &str,
    action: &str,
    comment: &dyn Fn(&str) -> String,
    condition: Option<&str>,
    prefix: &str,
    places: &BTreeSet<Place>,
) -> String {
    let mut parts = vec![(Written::default(), Vec::new())];
    for place in places {
        if parts.last().is_some_and(|(written, _)| written.operators() > OPERATORS) {
            parts.push((Written::default(), Vec::new()));
        }
        if let Some((written, of)) = parts.last_mut() {
            written.add(place, prefix);
            of.push(place);
        }
    }
    let mut out = String::new();
    for (number, (written, places)) in parts.iter().enumerate().filter(|(_, (_, places))| !places.is_empty())
    {
        let id = if number == 0 { id.to_owned() } else { format!("{id}-{}", number + 1) };
        let (resource, any) = written.conditions();
        let when = match (condition, any) {
            (Some(condition), Some(any)) => Some(format!("{condition} &&\n  ({any})")),
            (Some(condition), None) => Some(condition.to_owned()),
            (None, any) => any,
        };
        if number > 0 {
            out.push('\n');
        }
        let comment = [comment(&counted(places))];
        out.push_str(&scoped(&id, "permit", &comment, action, &resource, when.as_deref(), None));
    }
    out
}

/// Says how many places of which kind.
fn counted(places: &[&Place]) -> String {
    let count = |is: fn(&Place) -> bool, one: &str, more: &str| {
        let count = places.iter().filter(|place| is(place)).count();
        let word = if count == 1 { one } else { more };
        (count > 0).then(|| format!("{count} {word}"))
    };
    let all = [
        count(
            |p| matches!(p, Place::In(_)),
            "directory with all that is in it",
            "directories with all that is in them",
        ),
        count(|p| matches!(p, Place::At(_)), "name", "names"),
        count(|p| matches!(p, Place::Like(_)), "name of any process", "names of any process"),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Writes the condition that the path is this one, which can't be written as an entity.
fn exactly(path: &str) -> String {
    format!("resource.path like \"{}\"", pattern(path))
}

/// Returns a text as a part of a pattern.
fn pattern(text: &str) -> String {
    text.escape_debug().to_string().replace('*', "\\*")
}

/// Writes the condition that a path fits, with no `/` where a part is left open: `*` would take one.
fn like(parts: &[String]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| pattern(part)).collect();
    let fits = format!("resource.path like \"{}\"", parts.join("*"));
    let deeper = (1..parts.len()).map(|gap| {
        let (before, after) = parts.split_at(gap);
        format!(" && !(resource.path like \"{}*/*{}\")", before.join("*"), after.join("*"))
    });
    format!("({fits}{})", deeper.collect::<String>())
}

#[cfg(test)]
mod tests {
    use aegis_types::Action;

    use super::*;
    use crate::learn::template::set;
    use crate::learn::text::{files, sockets};

    #[test]
    fn places_are_written_as_they_can_be() {
        let places = BTreeSet::from([
            Place::In("/a".into()),
            Place::In("/s*r".into()),
            Place::At("/b\"".into()),
            Place::At("/c*".into()),
            Place::Like(vec!["/proc/".into(), "/stat".into()]),
        ]);
        let text = files(&BTreeSet::from([Action::FileRead]), &places);
        let expected = r#"// Reads files: 2 directories with all that is in them, 2 names, 1 name of any process.
@id("read")
permit (
  principal,
  action == Aegis::Action::"FileRead",
  resource
) when {
  resource in [
    Aegis::Resource::"/a"
  ] ||
  [
    Aegis::Resource::"/b\""
  ].contains(resource) ||
  (resource has path &&
    (resource.path like "/s\*r" ||
    resource.path like "/s\*r/*" ||
    resource.path like "/c\*" ||
    (resource.path like "/proc/*/stat" && !(resource.path like "/proc/*/*/stat"))))
};
"#;
        assert_eq!(text, expected);
        let one = BTreeSet::from([Place::In("/a".into())]);
        assert!(sockets(Some(true), &one).contains(
            "resource in Aegis::Resource::\"/a\"\n) when {\n  context.direction == \"listen\"\n};"
        ));
    }

    #[test]
    fn many_patterns_are_several_policies() {
        let places = (0..28).map(|n| Place::Like(vec!["/proc/".into(), format!("/{n}")])).collect();
        let text = files(&BTreeSet::from([Action::FileRead]), &places);
        assert!(
            text.contains("@id(\"read\")")
                && text.contains("\n\n// Reads files: 1 name of any process.\n@id(\"read-2\")")
        );
        let policies = set(text).unwrap();
        assert!(policies.rules().len() == 2 && policies.validate().is_empty());
    }
}
