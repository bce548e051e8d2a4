//! The least policy that permits what sessions did.
//!
//! Each act is reduced to a fact: an action on a resource. Facts that are secrets, or that no policy can name, are
//! left out and told. Of the others, those that the template `project` permits outside of its directory are covered
//! by the policies of it that permit them; the rest is permitted by name, by directory where several names of one
//! were used. What the template `plants` forbids stays forbidden where no fact speaks against it.
//!
//! The text does not depend on the order of the acts, nor on how often one was done.
//!
//! **Read first:** [`Learner::finish`]; then `places`, how names become directories, and `bounds`, where that ends.

mod bounds;
mod fact;
mod hosts;
mod made;
mod places;
mod template;
mod text;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use aegis_types::{Act, Action};

use crate::learn::bounds::{Bounds, parent};
use crate::learn::fact::{Fact, On, Traits, fact_of};
use crate::learn::hosts::Hosts;
use crate::learn::made::{Chance, Made};
use crate::learn::places::{Place, Plan, Uses};
use crate::learn::template::{System, plants};
use crate::learn::text::paragraph;

/// Where the sessions ran. Paths are absolute, with links resolved, as the kernel has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The user's home.
    pub home: Option<String>,
    /// The directory that the sessions worked in.
    pub directory: String,
    /// Where the sessions' programs put temporary files. It is `session:tmp` in the policy, so what
    /// [`crate::Subject::tmp`] is to be for an engine that permits the same.
    pub tmp: Option<String>,
    /// The toolchains that the template `project` would be given.
    pub toolchains: Vec<String>,
}

/// Learns a policy from acts.
#[derive(Debug)]
pub struct Learner {
    bounds: Bounds,
    sessions: BTreeSet<String>,
    facts: BTreeMap<Fact, Traits>,
}

/// What was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// A policy file, with comments.
    pub text: String,
    /// What it does not permit though it was asked for, sorted. The text's comments tell it too, the first of it where
    /// it is much.
    pub left_out: Vec<LeftOut>,
}

/// Something that the sessions asked for and that is not permitted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The action.
    pub action: Action,
    /// The name of the resource, as policies have it, with a `*` for ids of processes and the like; it may hold any
    /// character.
    pub what: String,
    /// Why it is left out.
    pub why: String,
}

/// The most addresses of one kind.
const HOSTS_MAX: usize = 1_000;

/// Those that permit to read directories with files of any name.
const OPEN: [&str; 3] = ["temporary", "programs", "settings"];

/// An action with its way, for which places are planned.
type Kind = (Action, bool);

impl Learner {
    /// Makes a learner that knows nothing yet.
    #[must_use]
    pub fn new(places: Places) -> Self {
        Self { bounds: Bounds::new(places), sessions: BTreeSet::new(), facts: BTreeMap::new() }
    }

    /// Says that acts of this session are among those that are learned from; the text names it.
    pub fn session(&mut self, name: &str) {
        self.sessions.insert(name.to_owned());
    }

    /// Takes an act.
    pub fn add(&mut self, act: &Act) {
        let (fact, traits) = fact_of(act);
        self.facts.entry(fact).or_default().join(traits);
    }

    /// Makes the policy.
    #[must_use]
    pub fn finish(self) -> Learned {
        let mut sorted = Sorted::default();
        let system = System::new(&self.bounds);
        let made = Made::of(&self.facts);
        for (fact, traits) in &self.facts {
            match self.reason_against(fact, *traits) {
                Some(why) => sorted.leave_out(fact, *traits, why),
                None if system.covers(fact, *traits, &self.bounds, &mut sorted.covered) => {
                    sorted.permitted.push((fact, *traits));
                }
                None if traits.resembles => sorted.leave_out(fact, *traits, "its name is not UTF-8"),
                None => self.sort(fact, *traits, &made, &mut sorted),
            }
        }
        let plans: BTreeMap<Kind, Plan> =
            sorted.uses.iter().map(|(kind, uses)| (*kind, Plan::new(uses, &self.bounds))).collect();
        for (fact, traits) in std::mem::take(&mut sorted.planned) {
            let plan = plans.get(&(fact.action, fact.listen));
            let name = fact.path().or(match &fact.on {
                On::Unix(name) => Some(name),
                _ => None,
            });
            if name.zip(plan).is_some_and(|(name, plan)| plan.permits(name, &self.bounds)) {
                sorted.permitted.push((fact, traits));
            } else {
                sorted.leave_out(fact, traits, "there are more names than a policy should have");
            }
        }
        let left_out = sorted.left_out();
        let text = self.write(&sorted, &left_out, &system, &plans);
        Learned { text, left_out }
    }

    /// Says why a fact must not be permitted.
    fn reason_against(&self, fact: &Fact, traits: Traits) -> Option<String> {
        if let On::Nameless(_) = fact.on {
            return Some("no policy can name it".to_owned());
        }
        if !traits.done {
            return Some("it was denied".to_owned());
        }
        if let On::Unix(name) = &fact.on
            && let Some(power) = aegis_types::elsewhere::power_of(name)
        {
            return Some(format!(
                "it gives power over what is outside ({power}); permit it by hand if it is to have that"
            ));
        }
        // The end of a process is only recorded.
        let path = fact.path().filter(|_| fact.action != Action::ProcessExit)?;
        // Under another name the secrets of a directory would be none.
        let renames = fact.action == Action::FileDelete && self.bounds.has_secrets(path);
        let secret = self.bounds.secret(path).map(|reason| format!("a secret ({reason})"));
        secret.or(renames.then(|| "secrets lie in it".to_owned()))
    }

    /// Puts a fact where it belongs that is permitted by its name.
    fn sort<'a>(&self, fact: &'a Fact, traits: Traits, made: &Made<'_>, sorted: &mut Sorted<'a>) {
        match &fact.on {
            On::Host(address, port) => {
                let hosts = &mut sorted.hosts;
                let of_kind = if fact.listen { &mut hosts.listened } else { &mut hosts.connected };
                if of_kind.len() >= HOSTS_MAX {
                    return sorted.leave_out(
                        fact,
                        traits,
                        "there are more addresses than a policy should have",
                    );
                }
                of_kind.insert((address, *port));
                sorted.permitted.push((fact, traits));
            }
            On::Inside(folder) => {
                if !self.bounds.may_be_whole(folder) && !self.bounds.is_temporary(folder) {
                    let why = "its files were counted and not listed, and all of it would be too much";
                    return sorted.leave_out(fact, traits, why);
                }
                sorted.uses.entry((fact.action, false)).or_default().wholes.insert(folder.clone());
                sorted.planned.push((fact, traits));
            }
            On::Unix(name) if !name.starts_with('/') && !text::can_be_named(&format!("unix:{name}")) => {
                sorted.leave_out(fact, traits, "its name can't be written in a policy");
            }
            On::Path(name) | On::Program(name) | On::Unix(name) => {
                let whole = match made.place(name, &self.bounds) {
                    Chance::Whole(folder) => Some(folder.to_owned()),
                    Chance::TooWide(folder) => {
                        if !self.bounds.is_temporary(name) {
                            sorted.uncertain.insert(folder.to_owned());
                        }
                        None
                    }
                    Chance::Same if traits.folded => {
                        parent(name).filter(|folder| self.bounds.may_be_whole(folder)).map(str::to_owned)
                    }
                    Chance::Same => None,
                };
                let uses = sorted.uses.entry((fact.action, fact.listen)).or_default();
                uses.names.insert(name.clone(), whole);
                sorted.planned.push((fact, traits));
            }
            On::Nameless(_) => {}
        }
    }

    /// Writes it all.
    fn write(
        &self,
        sorted: &Sorted<'_>,
        left_out: &[LeftOut],
        system: &System,
        plans: &BTreeMap<Kind, Plan>,
    ) -> String {
        let mut parts = vec![self.head(sorted, left_out)];
        let covered = system.pieces.iter().filter(|piece| sorted.covered.contains(&piece.id));
        parts.extend(covered.map(|piece| piece.text.clone()));
        let (sockets, files): (Vec<_>, Vec<_>) =
            plans.iter().partition(|((action, _), _)| *action == Action::NetConnect);
        let mut groups: BTreeMap<&BTreeSet<Place>, BTreeSet<Action>> = BTreeMap::new();
        for ((action, _), plan) in files {
            groups.entry(&plan.places).or_default().insert(*action);
        }
        let mut groups: Vec<_> = groups.into_iter().map(|(places, actions)| (actions, places)).collect();
        groups.sort();
        parts.extend(groups.iter().map(|(actions, places)| text::files(actions, places)));
        match sockets.as_slice() {
            [(_, one), (_, other)] if one.places == other.places => {
                parts.push(text::sockets(None, &one.places));
            }
            _ => parts
                .extend(sockets.iter().map(|((_, listen), plan)| text::sockets(Some(*listen), &plan.places))),
        }
        parts.extend(sorted.hosts.write(&self.facts));
        let reads =
            |action: &Action| matches!(action, Action::FileRead | Action::FileWrite | Action::FileDelete);
        let whole = groups.iter().any(|(actions, places)| {
            actions.iter().any(reads) && places.iter().any(|place| !matches!(place, Place::At(_)))
        });
        if whole || OPEN.iter().any(|id| sorted.covered.contains(*id)) {
            let home = self.bounds.home();
            parts.push(text::secret_names(home, self.bounds.has_own_tmp()));
            let folders = system.folders.iter().map(String::as_str).chain(self.bounds.tmp());
            parts.extend(home.and_then(|home| text::secret_places(home, folders)));
        }
        parts.extend(plants(&sorted.permitted));
        parts.join("\n")
    }

    /// Writes the comment that the text begins with.
    fn head(&self, sorted: &Sorted<'_>, left_out: &[LeftOut]) -> String {
        let facts = self.facts.len();
        let of = match self.sessions.len() {
            0 => String::new(),
            1 => " in 1 session".to_owned(),
            more => format!(" in {more} sessions"),
        };
        let mut out = format!(
            "// What was done{of}, as a policy: {facts} different action{}.\n//\n\
             // Read it before you use it. It permits what was done, be it right or wrong, and directories as a whole where\n\
             // several files of one were used. What no policy permits is denied.\n",
            if facts == 1 { "" } else { "s" }
        );
        let told = self.sessions.iter().map(|session| text::shown(session)).collect();
        paragraph(&mut out, "Learned from:", told);
        let told =
            left_out.iter().map(|left| format!("{} {}: {}", left.action, text::shown(&left.what), left.why));
        paragraph(&mut out, "Left out:", told.collect());
        let told = sorted.uncertain.iter().map(|folder| text::shown(folder)).collect();
        paragraph(
            &mut out,
            "Names were made in these directories, which are too wide to be permitted as a whole. Where a name is\n\
             // another the next time, it is denied:",
            told,
        );
        out
    }
}

/// Facts by what becomes of them.
#[derive(Debug, Default)]
struct Sorted<'a> {
    /// Each with why, and whether it was there.
    left_out: BTreeMap<(Action, String), (String, bool)>,
    /// The policies of the template that permit some of them.
    covered: BTreeSet<String>,
    uses: BTreeMap<Kind, Uses>,
    /// Those that the uses are of.
    planned: Vec<(&'a Fact, Traits)>,
    hosts: Hosts<'a>,
    permitted: Vec<(&'a Fact, Traits)>,
    /// Directories that are not permitted whole though names were made in them.
    uncertain: BTreeSet<String>,
}

impl Sorted<'_> {
    fn leave_out(&mut self, fact: &Fact, traits: Traits, why: impl Into<String>) {
        let new = || (why.into(), false);
        let (_, there) = self.left_out.entry((fact.action, fact.name())).or_insert_with(new);
        *there |= traits.there;
    }

    fn left_out(&self) -> Vec<LeftOut> {
        let left = |((action, what), (why, there)): (&(Action, String), &(String, bool))| {
            let missing = if *there { "" } else { "; it was not there" };
            LeftOut { action: *action, what: what.clone(), why: format!("{why}{missing}") }
        };
        self.left_out.iter().map(left).collect()
    }
}

#[cfg(test)]
mod tests;
