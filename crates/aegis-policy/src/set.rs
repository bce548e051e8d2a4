//! A policy set: several files as one, with where each policy stands.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aegis_types::PolicyFile;
use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use sha2::{Digest as _, Sha256};

use crate::explain::{self, Explained, foreign, parse, validation};
use crate::lint::lint;
use crate::problem::{Problem, Severity};
use crate::source::{FILE_MAX, Origin, POLICIES_MAX, Source, split};

/// The schema that every policy is validated against.
pub const SCHEMA: &str = include_str!("../schema/aegis.cedarschema");

/// The longest name that `@id` may give, in characters.
const ID_MAX: usize = 64;

/// The most problems that are told of one file.
const PROBLEMS_MAX: usize = 20;

static PARSED_SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| SCHEMA.parse().map_err(|error| format!("the schema can't be read: {error}")));

/// A policy of a set.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its id: the file's name without `.cedar`, then `:` and what `@id` says, else the line.
    pub id: Arc<str>,
    /// The policy, under that id; the places in its tree are those of the file's text, or of its own.
    pub policy: Policy,
    /// The file's place in [`Policies::sources`].
    pub source: usize,
    /// Where it stands in the file's text, in bytes.
    pub at: Range<usize>,
    /// The line that it begins in, from 1.
    pub line: usize,
}

impl Rule {
    /// Returns what the policy is about in a line: its effect, actions, resource and agent; not its conditions.
    #[must_use]
    pub fn summary(&self) -> String {
        use cedar_policy::{ActionConstraint, EntityUid, PrincipalConstraint, ResourceConstraint};
        let name = |uid: &EntityUid| uid.id().unescaped().to_owned();
        let actions = match self.policy.action_constraint() {
            ActionConstraint::Any => "anything".to_owned(),
            ActionConstraint::Eq(uid) => name(&uid),
            ActionConstraint::In(uids) => uids.iter().map(name).collect::<Vec<_>>().join(", "),
        };
        let resource = match self.policy.resource_constraint() {
            ResourceConstraint::Eq(uid) => format!(" on {}", name(&uid)),
            ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => format!(" in {}", name(&uid)),
            ResourceConstraint::Any | ResourceConstraint::Is(_) => String::new(),
        };
        let agent = match self.policy.principal_constraint() {
            PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::In(uid)
            | PrincipalConstraint::IsIn(_, uid) => format!(", to {}", name(&uid)),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => String::new(),
        };
        let conditions = if self.policy.has_non_scope_constraint() { ", with conditions" } else { "" };
        let effect = if is_permit(&self.policy) { "permits" } else { "forbids" };
        format!("{effect} {actions}{resource}{agent}{conditions}")
    }
}

/// Several policy files as one set.
#[derive(Debug, Clone)]
pub struct Policies {
    sources: Vec<Source>,
    names: Vec<String>,
    rules: Vec<Rule>,
    hash: String,
}

impl Policies {
    /// Reads a set. Files of the organisation come first, each kind in the order given.
    ///
    /// # Errors
    /// What is wrong, for all files; never empty.
    pub fn parse(mut sources: Vec<Source>) -> Result<Self, Vec<Problem>> {
        sources.sort_by_key(|source| source.origin);
        let names = names(&sources);
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        let mut parsed = together(&sources).into_iter();
        for (index, (source, name)) in sources.iter().zip(&names).enumerate() {
            let before = problems.len();
            let parsed = parsed.next().unwrap_or_default();
            read((index, source, name), parsed, &mut rules, &mut problems);
            problems.truncate(before + PROBLEMS_MAX);
        }
        if rules.len() > POLICIES_MAX
            && let Some(source) = sources.last()
        {
            let message = format!("the set has more than {POLICIES_MAX} policies");
            problems.push(Problem::at(Severity::Error, &source.path, &source.text, 0..1, message));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let hash = hash(&sources, &names);
        Ok(Self { sources, names, rules, hash })
    }

    /// Returns the files, in their order.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the policies, in the order of the files.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the policy of an id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| &*rule.id == id)
    }

    /// Returns where a policy stands, as `FILE:LINE`.
    #[must_use]
    pub fn place(&self, rule: &Rule) -> String {
        let path = self.sources.get(rule.source).map(|source| source.path.as_str()).unwrap_or_default();
        format!("{path}:{}", rule.line)
    }

    /// Returns the SHA-256 that names the set, in hexadecimal: of a line `SHA256  NAME` for each file.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Says what was hashed: the files by name, hash and size.
    #[must_use]
    pub fn files(&self) -> Vec<PolicyFile> {
        self.sources
            .iter()
            .zip(&self.names)
            .map(|(source, name)| PolicyFile {
                name: name.clone(),
                sha256: sha256(source.text.as_bytes()),
                size: source.text.len() as u64,
            })
            .collect()
    }

    /// Validates the set against the schema, strictly; errors first.
    ///
    /// Of a set without errors it is known that no policy reads an attribute that is not there.
    #[must_use]
    pub fn validate(&self) -> Vec<Problem> {
        let schema = match &*PARSED_SCHEMA {
            Ok(schema) => schema.clone(),
            Err(error) => {
                return vec![Problem::at(Severity::Error, "aegis.cedarschema", SCHEMA, 0..1, error.clone())];
            }
        };
        let mut set = PolicySet::new();
        // With places in its own text, and in that text's own words.
        let spelled = self.rules.iter().map(|rule| {
            let spelled = Policy::parse(Some(rule.policy.id().clone()), self.text(rule));
            // It was parsed before.
            spelled.unwrap_or_else(|_| rule.policy.clone())
        });
        let spelled: Vec<Policy> = spelled.collect();
        let mut found: Vec<Found> = self
            .rules
            .iter()
            .zip(&spelled)
            .map(|(rule, policy)| Found { told: lint(policy, self.text(rule)), whole: Vec::new() })
            .collect();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (index, ((rule, policy), found)) in self.rules.iter().zip(spelled).zip(&mut found).enumerate() {
            places.insert(&rule.id, index);
            // Ids are unique, so it can't be refused; were it, the set would not be what is validated.
            if let Err(error) = set.add(policy) {
                found
                    .told
                    .push((Severity::Error, Explained { at: None, message: error.to_string(), help: None }));
            }
        }
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        let errors = result
            .validation_errors()
            .map(|error| (error.policy_id(), error as &dyn Diagnostic, Severity::Error));
        let warnings = result.validation_warnings().map(|warning| {
            let severity =
                if validation::is_never_asked(warning) { Severity::Error } else { Severity::Warning };
            (warning.policy_id(), warning as &dyn Diagnostic, severity)
        });
        let mut ordered: Vec<_> = errors
            .chain(warnings)
            .filter_map(|(id, error, severity)| {
                let index = *places.get(<PolicyId as AsRef<str>>::as_ref(id))?;
                let explained = validation::validation(error, self.text(self.rules.get(index)?));
                Some((index, validation::is_of_whole(error), severity, explained))
            })
            .collect();
        // Cedar tells in no order. One place may be wrong for several kinds of requests.
        ordered.sort_by_key(|(.., explained)| {
            let at = explained.at.clone().unwrap_or_default();
            (at.start, at.end, explained.message.clone())
        });
        for (index, is_whole, severity, explained) in ordered {
            let Some(found) = found.get_mut(index) else { continue };
            let list = if is_whole { &mut found.whole } else { &mut found.told };
            list.push((severity, explained));
        }
        let mut told: Vec<(usize, &Rule, Severity, Explained)> = Vec::new();
        for (rule, found) in self.rules.iter().zip(found) {
            let kept = found.kept().into_iter();
            told.extend(kept.map(|(severity, explained)| (rule.source, rule, severity, explained)));
        }
        told.sort_by_key(|(source, rule, severity, explained)| {
            (*source, *severity, rule.at.start + explained.at.as_ref().map_or(0, |at| at.start))
        });
        // Each has a line of the file.
        let mut problems = Vec::new();
        for one in told.chunk_by(|(a, ..), (b, ..)| a == b) {
            problems.extend(one.iter().take(PROBLEMS_MAX).map(|(_, rule, severity, explained)| {
                self.problem(rule, *severity, explained.at.clone(), explained.message.clone())
                    .help(explained.help.clone())
            }));
        }
        problems.extend(self.shadowed());
        problems.extend(self.empty());
        let file = |problem: &Problem| self.sources.iter().position(|source| source.path == problem.file);
        problems
            .sort_by_cached_key(|problem| (problem.severity, file(problem), problem.line, problem.column));
        problems
    }

    /// Warns of files without a policy: they are more likely a mistake than meant.
    fn empty(&self) -> Vec<Problem> {
        let message = if self.rules.is_empty() {
            "there is no policy in it: nothing is permitted"
        } else {
            "there is no policy in it"
        };
        let is_empty = |index: usize| self.rules.iter().all(|rule| rule.source != index);
        self.sources
            .iter()
            .enumerate()
            .filter(|(index, _)| is_empty(*index))
            .map(|(_, source)| {
                Problem::at(Severity::Warning, &source.path, &source.text, 0..1, message.to_owned())
                    .help(explain::EXAMPLE.to_owned())
            })
            .collect()
    }

    /// Warns of a policy that forbids everything, which makes all that permit worthless.
    #[must_use]
    pub fn shadowed(&self) -> Vec<Problem> {
        let permits = self.rules.iter().filter(|rule| is_permit(&rule.policy)).count();
        let forbids_all = |rule: &&Rule| !is_permit(&rule.policy) && is_unconditional(&rule.policy);
        if permits == 0 {
            return Vec::new();
        }
        let warn = |rule: &Rule| {
            let these = match permits {
                1 => "1 policy that permits something here has".to_owned(),
                _ => format!("{permits} policies that permit something here have"),
            };
            let message =
                format!("this forbids everything: {these} no effect, since a forbid wins over any permit");
            self.problem(rule, Severity::Warning, None, message).help(explain::SHADOW.to_owned())
        };
        self.rules.iter().filter(forbids_all).take(PROBLEMS_MAX).map(warn).collect()
    }

    /// Returns the text of a policy.
    #[must_use]
    pub fn text(&self, rule: &Rule) -> &str {
        self.sources.get(rule.source).and_then(|s| s.text.get(rule.at.clone())).unwrap_or_default()
    }

    /// Makes a problem of a place in a policy, of its first token where there is none.
    pub(crate) fn problem(
        &self,
        rule: &Rule,
        severity: Severity,
        at: Option<Range<usize>>,
        message: String,
    ) -> Problem {
        let (path, text) = self.sources.get(rule.source).map_or(("", ""), |s| (&*s.path, &*s.text));
        let at = at.unwrap_or(0..first_word(self.text(rule)));
        Problem::at(severity, path, text, rule.at.start + at.start..rule.at.start + at.end, message)
    }
}

/// What was found in a policy.
struct Found {
    told: Vec<(Severity, Explained)>,
    /// What is of the policy as a whole, and follows from an error where there is one.
    whole: Vec<(Severity, Explained)>,
}

impl Found {
    /// Keeps one for each place, an error before a warning, and what was found earlier before what was found later.
    fn kept(mut self) -> Vec<(Severity, Explained)> {
        self.told.sort_by_key(|(severity, _)| *severity);
        let mut kept: Vec<(Severity, Explained)> = Vec::new();
        for (severity, told) in self.told {
            if kept.len() >= PROBLEMS_MAX {
                break;
            }
            let is_again = kept.iter().any(|(_, other)| match (&told.at, &other.at) {
                (Some(at), Some(other)) => at.start < other.end && other.start < at.end,
                (None, None) => told.message == other.message,
                _ => false,
            });
            if !is_again {
                kept.push((severity, told));
            }
        }
        if kept.iter().all(|(severity, _)| *severity == Severity::Warning) {
            self.whole.sort_by_key(|(severity, _)| *severity);
            kept.extend(self.whole.into_iter().take(1));
        }
        kept
    }
}

/// Says whether a policy permits.
#[must_use]
pub fn is_permit(policy: &Policy) -> bool {
    policy.effect() == cedar_policy::Effect::Permit
}

/// Says whether a policy holds for every request.
#[must_use]
pub fn is_unconditional(policy: &Policy) -> bool {
    use cedar_policy::{ActionConstraint, PrincipalConstraint, ResourceConstraint};
    matches!(policy.principal_constraint(), PrincipalConstraint::Any)
        && matches!(policy.action_constraint(), ActionConstraint::Any)
        && matches!(policy.resource_constraint(), ResourceConstraint::Any)
        && !policy.has_non_scope_constraint()
}

fn first_word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '@').unwrap_or(text.len()).max(1)
}

/// Returns the SHA-256 of bytes, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(sources: &[Source], names: &[String]) -> String {
    let mut list = String::new();
    for (source, name) in sources.iter().zip(names) {
        list.push_str(&format!("{}  {name}\n", sha256(source.text.as_bytes())));
    }
    sha256(list.as_bytes())
}

/// Returns the names of the files in the set: the last part of the path; the organisation's are below
/// `organisation/`. Where two are the same, the later gets a number.
fn names(sources: &[Source]) -> Vec<String> {
    let mut taken = HashSet::new();
    let name = |source: &Source| {
        let base = source.path.rsplit('/').next().unwrap_or_default();
        let base = base.strip_suffix(".cedar").unwrap_or(base);
        let prefix = if source.origin == Origin::Organisation { "organisation/" } else { "" };
        let mut name = format!("{prefix}{base}");
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{prefix}{base}~{number}");
            number += 1;
        }
        name
    };
    sources.iter().map(name).collect()
}

/// Reads the policies of a file; where they were parsed already, what is left is to name them.
fn read(
    (index, source, name): (usize, &Source, &str),
    parsed: Vec<Policy>,
    rules: &mut Vec<Rule>,
    problems: &mut Vec<Problem>,
) {
    let Source { path, text, .. } = source;
    if text.len() > FILE_MAX {
        let message = format!("the file has {} bytes, at most {FILE_MAX} are allowed", text.len());
        problems.push(Problem::at(Severity::Error, path, "", 0..1, message));
        return;
    }
    if let Some(fault) = foreign::foreign(text) {
        problems.push(Problem::at(Severity::Error, path, text, fault.at, fault.message).help(fault.help));
        return;
    }
    let pieces = match split(text) {
        Ok(pieces) => pieces,
        Err(fault) => {
            problems.push(Problem::at(Severity::Error, path, text, fault.at, fault.message).help(fault.help));
            return;
        }
    };
    let mut taken = HashSet::new();
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut parsed = parsed.into_iter();
    for at in pieces {
        let line = lines.of(at.start);
        let piece = text.get(at.clone()).unwrap_or_default();
        match parsed.next().map_or_else(|| policy(piece), Ok) {
            Ok(policy) => {
                let own = match own_id(&policy) {
                    Ok(own) => own,
                    Err(message) => {
                        problems.push(Problem::at(Severity::Error, path, text, at, message));
                        continue;
                    }
                };
                let mut id = format!("{name}:{}", own.as_deref().unwrap_or(&line.to_string()));
                if taken.contains(&id) {
                    if own.is_some() {
                        let message = format!("another policy of this file has the id `{id}`");
                        problems.push(
                            Problem::at(Severity::Error, path, text, at, message)
                                .help("give each its own `@id`".to_owned()),
                        );
                        continue;
                    }
                    let column = Problem::at(Severity::Error, path, text, at.clone(), String::new()).column;
                    id = format!("{id}:{column}");
                }
                taken.insert(id.clone());
                let policy = policy.new_id(PolicyId::new(&id));
                rules.push(Rule { id: id.into(), policy, source: index, at, line });
            }
            Err(faults) => {
                for fault in faults {
                    let inside = fault.at.unwrap_or(0..first_word(piece));
                    let place = at.start + inside.start..at.start + inside.end;
                    problems.push(
                        Problem::at(Severity::Error, path, text, place, fault.message).help(fault.help),
                    );
                }
            }
        }
        if problems.len() > PROBLEMS_MAX {
            return;
        }
    }
}

/// Counts lines while places only grow.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, at: usize) -> usize {
        self.line += self.text.get(self.at..at).unwrap_or_default().matches('\n').count();
        self.at = at;
        self.line
    }
}

/// Parses all files as one text: the policies of each, in their order. Nothing where there is a fault, or where Cedar
/// finds other pieces in it than [`split`] did. Cedar's lexer warms up at each text anew, which takes longer than most
/// policies do.
fn together(sources: &[Source]) -> Vec<Vec<Policy>> {
    let pieces =
        |source: &Source| Some(split(&source.text).ok()?.len()).filter(|_| source.text.len() <= FILE_MAX);
    let Some(counts) = sources.iter().map(pieces).collect::<Option<Vec<usize>>>() else { return Vec::new() };
    // What is not closed in one file must not be closed by another: the pieces tell.
    let text = sources.iter().map(|source| source.text.as_str()).collect::<Vec<_>>().join("\n");
    let (Ok(set), Ok(pieces)) = (text.parse::<PolicySet>(), split(&text)) else { return Vec::new() };
    // `FromStr` of `PolicySet` numbers them.
    let numbered = |policy| {
        let number =
            AsRef::<str>::as_ref(Policy::id(policy)).strip_prefix("policy")?.parse::<usize>().ok()?;
        Some((number, policy))
    };
    let mut found: Vec<(usize, &Policy)> = set.policies().filter_map(numbered).collect();
    found.sort_by_key(|(number, _)| *number);
    let is_same = |(policy, at): (&Policy, &Range<usize>)| text.get(at.clone()) == Some(&policy.to_string());
    if found.len() != pieces.len()
        || found.len() != counts.iter().sum::<usize>()
        || !found.iter().map(|(_, policy)| *policy).zip(&pieces).all(is_same)
    {
        return Vec::new();
    }
    // Without its text: what is made of it later is made of its tree, not of a text that is parsed again.
    let mut found = found.into_iter().map(|(_, policy)| policy.as_ref().clone().into());
    counts.into_iter().map(|count| found.by_ref().take(count).collect()).collect()
}

fn policy(piece: &str) -> Result<Policy, Vec<Explained>> {
    if piece == ";" {
        return Err(vec![Explained {
            at: Some(0..1),
            message: "a `;` without a policy before it".to_owned(),
            help: Some("remove it".to_owned()),
        }]);
    }
    Policy::parse(None, piece)
        .map_err(|errors| parse::parse(errors.iter().map(|error| error as &dyn Diagnostic), piece))
}

/// Returns what `@id` says.
fn own_id(policy: &Policy) -> Result<Option<String>, String> {
    let Some(id) = policy.annotation("id") else { return Ok(None) };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if id.is_empty() || id.len() > ID_MAX || !id.chars().all(is_fine) {
        return Err(format!("what `@id` says must be 1 to {ID_MAX} letters, digits, `-`, `_`, `.` or `/`"));
    }
    if id.chars().all(|c| c.is_ascii_digit()) {
        return Err("what `@id` says must not be a number: it would look like a line".to_owned());
    }
    Ok(Some(id.to_owned()))
}
