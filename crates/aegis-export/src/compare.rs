//! What one session did that another did not.
//!
//! Sessions are compared by their facts: a file was read, a program was executed, an address was connected to.
//! A fact has no time, no number and no process, so that neither order nor repetition makes a difference.
//! What differs from run to run by chance is taken out of names ([`names`]).
//!
//! Facts are gathered while events stream: a fact is held once, however many events tell it, and once for both
//! sessions.
//!
//! **Read first:** [`Comparison::finish`].

mod fact;
mod names;
mod print;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use aegis_types::{Act, Action, Decision, Event, Outcome, PreImage, Resource, Text, What};

use fact::{End, Fact, Kind, Subject};
use names::{Made, Temporary};

/// One of the two sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// Returns the other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// Returns its letter.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Side::A => 'A',
            Side::B => 'B',
        }
    }
}

/// Something of each session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pair<T> {
    /// Of the first.
    pub a: T,
    /// Of the second.
    pub b: T,
}

impl<T> Pair<T> {
    /// Returns what is of this side.
    pub fn get(&self, side: Side) -> &T {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// Returns what is of this side, to be changed.
    pub fn get_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}

/// Ids of policies; equal sets are one allocation.
type Policies = Arc<BTreeSet<Arc<str>>>;

/// What was decided on a fact, with the policies that determined it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Decided {
    allow: Option<Policies>,
    deny: Option<Policies>,
}

impl Decided {
    fn is_none(&self) -> bool {
        self.allow.is_none() && self.deny.is_none()
    }

    /// Says whether another session decided otherwise. Where only one of them decided, it did not.
    fn flipped(&self, other: &Self) -> bool {
        let words = |of: &Self| (of.allow.is_some(), of.deny.is_some());
        !self.is_none() && !other.is_none() && words(self) != words(other)
    }

    /// Says whether no decision was made on both sides.
    fn is_apart(&self, other: &Self) -> bool {
        !(self.allow.is_some() && other.allow.is_some() || self.deny.is_some() && other.deny.is_some())
    }
}

/// How many command lines of an executed program are kept.
const COMMANDS_MAX: usize = 3;

/// Command lines of a program: the first few in the order of their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Commands {
    list: BTreeSet<Vec<Text>>,
    /// There were others.
    more: bool,
}

/// What one session tells of a fact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Story {
    /// Its target was there at least once.
    there: bool,
    decided: Decided,
    commands: Option<Box<Commands>>,
}

impl Story {
    fn add_command(&mut self, argv: Vec<Text>) {
        let commands = self.commands.get_or_insert_default();
        commands.list.insert(argv);
        if commands.list.len() > COMMANDS_MAX {
            commands.list.pop_last();
            commands.more = true;
        }
    }
}

/// The ports that the kernel chooses from (`ip_local_port_range` in `ip(7)`, and RFC 6335).
const CHOSEN: RangeInclusive<u16> = 32_768..=u16::MAX;

/// When a former content was looked at, and what it was: hash, size, whether it is kept.
type Former = (u64, Option<String>, u64, bool);

/// Two sessions, gathered from their events.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    facts: BTreeMap<Fact, Pair<Option<Story>>>,
    /// Names that look temporary, by path.
    temporary: Pair<BTreeMap<Vec<u8>, Temporary>>,
    /// Names that were removed and may be such.
    removed: Pair<BTreeSet<Vec<u8>>>,
    /// What changed files held before the first change, by path.
    former: BTreeMap<Text, Pair<Option<Former>>>,
    ended: Pair<bool>,
    policies: BTreeSet<Policies>,
}

impl Comparison {
    /// Takes in an event of a session; the order does not matter.
    pub fn add(&mut self, side: Side, event: &Event) {
        match &event.what {
            What::Action(act) => self.act(side, act, event.mono_us),
            What::Gap(gap) => self.simple(side, Fact::gap(gap)),
            What::Refusal(refusal) => self.simple(side, Fact::refusal(refusal)),
            What::SessionEnd(end) => {
                *self.ended.get_mut(side) = true;
                let how = End { ended: true, exit: end.exit.map(Into::into), failure: end.failure.clone() };
                self.simple(side, Fact { kind: Kind::End, subject: Subject::End(Box::new(how)) });
            }
            What::LedgerStart(_)
            | What::Seal(_)
            | What::Seam(_)
            | What::PolicyFault(_)
            | What::PolicySet(_)
            | What::PolicyText(_)
            | What::SessionStart(_) => {}
        }
    }

    fn simple(&mut self, side: Side, fact: Fact) {
        self.story(side, fact).there = true;
    }

    fn story(&mut self, side: Side, fact: Fact) -> &mut Story {
        self.facts.entry(fact).or_default().get_mut(side).get_or_insert_default()
    }

    fn act(&mut self, side: Side, act: &Act, mono_us: u64) {
        let Some(fact) = Fact::act(act) else { return };
        self.temporary(side, act);
        if let (Resource::Path(path), Some(pre)) = (&act.resource, &act.pre) {
            self.former(side, path, pre, mono_us);
        }
        let decision = if act.decision == Decision::Observed { act.would } else { Some(act.decision) };
        // Which file of a directory a folded entry names is chance, and so is whether it was there.
        let there = act.outcome != Outcome::Missing || act.folded;
        if let Some(decision) = decision.filter(|decision| *decision != Decision::Observed) {
            self.decide(side, &fact, decision, &act.policies);
        }
        let story = self.story(side, fact);
        story.there |= there;
        if let Resource::Program(program) = &act.resource
            && !program.argv.is_empty()
        {
            story.add_command(program.argv.clone());
        }
    }

    fn decide(&mut self, side: Side, fact: &Fact, decision: Decision, policies: &[Arc<str>]) {
        let known = self.facts.get(fact).and_then(|sides| sides.get(side).as_ref());
        let mut decided = known.map(|story| story.decided.clone()).unwrap_or_default();
        let of = if decision == Decision::Allow { &mut decided.allow } else { &mut decided.deny };
        *of = Some(self.with(of.take(), policies));
        self.story(side, fact.clone()).decided = decided;
    }

    /// Returns these policies and those, as one set.
    fn with(&mut self, before: Option<Policies>, more: &[Arc<str>]) -> Policies {
        if let Some(before) = &before
            && more.iter().all(|id| before.contains(id))
        {
            return Arc::clone(before);
        }
        let mut set = before.map(|before| (*before).clone()).unwrap_or_default();
        set.extend(more.iter().cloned());
        if let Some(known) = self.policies.get(&set) {
            return Arc::clone(known);
        }
        let set = Arc::new(set);
        self.policies.insert(Arc::clone(&set));
        set
    }

    /// Remembers a name that the session made itself and that looks temporary.
    fn temporary(&mut self, side: Side, act: &Act) {
        let Resource::Path(path) = &act.resource else { return };
        let has = |flag: &str| act.flags.iter().any(|known| known == flag);
        let made = match act.action {
            Action::DirCreate => Made::Otherwise,
            Action::FileWrite if has("EXCL") && has("CREAT") && has("RDWR") => Made::AsMkstemp,
            Action::FileWrite if has("EXCL") && has("CREAT") => Made::Otherwise,
            Action::FileDelete if names::temporary(path.as_bytes(), Made::AsMkstemp).is_some() => {
                self.removed.get_mut(side).insert(path.as_bytes().to_vec());
                return;
            }
            _ => return,
        };
        let Some(found) = names::temporary(path.as_bytes(), made) else { return };
        let known = self.temporary.get_mut(side);
        match known.get_mut(path.as_bytes()) {
            Some(known) if known.is_random || !found.is_random => {}
            Some(known) => *known = found,
            None => drop(known.insert(path.as_bytes().to_vec(), found)),
        }
    }

    /// Remembers the earliest of what a file held.
    fn former(&mut self, side: Side, path: &Text, pre: &PreImage, mono_us: u64) {
        let new = (mono_us, pre.sha256.clone(), pre.size, pre.kept);
        let known = self.former.entry(path.clone()).or_default().get_mut(side);
        if known.as_ref().is_none_or(|known| new < *known) {
            *known = Some(new);
        }
    }

    /// Returns how the sessions differ.
    #[must_use]
    pub fn finish(mut self) -> Difference {
        for side in [Side::A, Side::B] {
            if !self.ended.get(side) {
                let end = Subject::End(Box::default());
                self.simple(side, Fact { kind: Kind::End, subject: end });
            }
        }
        let temporary_names = self.unify();
        self.unify_ports();
        let folds = Folds::of(&self.facts);
        let mut difference = Difference { temporary_names, ..Difference::default() };
        for (fact, stories) in self.facts {
            difference.take(fact, stories, &folds);
        }
        difference.former_contents = other_contents(self.former);
        difference
    }

    /// Gives names that differ by their random part only the same name. Returns these names.
    fn unify(&mut self) -> BTreeSet<Text> {
        for side in [Side::A, Side::B] {
            let removed = std::mem::take(self.removed.get_mut(side));
            for (path, name) in self.temporary.get_mut(side) {
                name.is_random |= name.has_beginning() && removed.contains(path);
            }
        }
        let both = self.temporary.a.values().chain(self.temporary.b.values());
        let random: BTreeSet<Temporary> = both.filter(|name| name.is_random).cloned().collect();
        if random.is_empty() {
            return BTreeSet::new();
        }
        for known in [&mut self.temporary.a, &mut self.temporary.b] {
            known.retain(|_, name| random.contains(&Temporary { is_random: true, ..name.clone() }));
        }
        let temporary = std::mem::take(&mut self.temporary);
        self.rename(|side, fact| fact.renamed(temporary.get(side)));
        random.into_iter().map(|name| Text::new(names::plain(&name.unified))).collect()
    }

    /// Gives ports that a session listened on and that the kernel chose the number 0.
    fn unify_ports(&mut self) {
        let chosen = [Side::A, Side::B].map(|side| {
            let listened = || {
                let facts = self.facts.iter().filter(move |(_, stories)| stories.get(side).is_some());
                facts.filter(|(fact, _)| fact.kind == Kind::Listen).filter_map(|(fact, _)| fact.port())
            };
            let asked: BTreeSet<&str> = listened().filter(|(_, p)| *p == 0).map(|(to, _)| to).collect();
            let chosen = listened().filter(|(to, port)| CHOSEN.contains(port) && asked.contains(to));
            chosen.map(|(to, port)| (to.to_owned(), port)).collect::<BTreeSet<(String, u16)>>()
        });
        let [a, b] = chosen;
        if a.is_empty() && b.is_empty() {
            return;
        }
        let chosen = Pair { a, b };
        self.rename(|side, fact| fact.without_port(chosen.get(side)));
    }

    /// Gives facts the names that `rename` has for them in a session.
    fn rename(&mut self, rename: impl Fn(Side, &Fact) -> Option<Fact>) {
        let is_affected = |fact: &&Fact| [Side::A, Side::B].iter().any(|side| rename(*side, fact).is_some());
        let affected: Vec<Fact> = self.facts.keys().filter(is_affected).cloned().collect();
        for fact in affected {
            let Some(mut stories) = self.facts.remove(&fact) else { continue };
            for side in [Side::A, Side::B] {
                let Some(story) = stories.get_mut(side).take() else { continue };
                self.merge(side, rename(side, &fact).unwrap_or_else(|| fact.clone()), story);
            }
        }
    }

    fn merge(&mut self, side: Side, fact: Fact, story: Story) {
        let mut decided = story.decided;
        if let Some(known) = self.facts.get(&fact).and_then(|sides| sides.get(side).as_ref()) {
            let known = known.decided.clone();
            for (ours, theirs) in [(&mut decided.allow, known.allow), (&mut decided.deny, known.deny)] {
                if let Some(theirs) = theirs {
                    let more: Vec<Arc<str>> = theirs.iter().cloned().collect();
                    *ours = Some(self.with(ours.take(), &more));
                }
            }
        }
        let merged = self.story(side, fact);
        merged.there |= story.there;
        merged.decided = decided;
        if let Some(commands) = story.commands {
            commands.list.into_iter().for_each(|argv| merged.add_command(argv));
            merged.commands.get_or_insert_default().more |= commands.more;
        }
    }
}

/// Returns the files that both sessions changed, from different contents.
fn other_contents(former: BTreeMap<Text, Pair<Option<Former>>>) -> Vec<Contents> {
    let pre = |(_, sha256, size, kept): Former| PreImage { kept, sha256, size };
    let differ = |a: &PreImage, b: &PreImage| {
        a.size != b.size || (a.sha256.is_some() && b.sha256.is_some() && a.sha256 != b.sha256)
    };
    let both = former.into_iter().filter_map(|(path, former)| {
        let pre = Pair { a: pre(former.a?), b: pre(former.b?) };
        differ(&pre.a, &pre.b).then_some(Contents { path, pre })
    });
    both.collect()
}

/// Directories whose reads are folded in one session and listed in another: these can't be compared file by
/// file, and are the same where either read something there.
#[derive(Debug, Default)]
struct Folds {
    folded: BTreeMap<Text, Pair<bool>>,
    /// The same directories; whether single files of theirs are listed.
    listed: BTreeMap<Text, Pair<bool>>,
}

impl Folds {
    fn of(facts: &BTreeMap<Fact, Pair<Option<Story>>>) -> Self {
        let mut folds = Self::default();
        for (fact, stories) in facts {
            // Some files of this one are the system's own, and not the others.
            if let (Kind::ReadSystem, Subject::Path(folder)) = (fact.kind, &fact.subject)
                && folder.as_bytes() != b"/etc"
            {
                let sides = Pair { a: stories.a.is_some(), b: stories.b.is_some() };
                folds.folded.insert(folder.clone(), sides);
            }
        }
        if folds.folded.is_empty() {
            return folds;
        }
        for (fact, stories) in facts {
            if let (Kind::Read, Some(folder)) = (fact.kind, fact.folder())
                && folds.folded.contains_key(&folder)
            {
                let sides = folds.listed.entry(folder).or_default();
                sides.a |= stories.a.is_some();
                sides.b |= stories.b.is_some();
            }
        }
        folds
    }

    /// Says whether a session did this as well, as far as can be told.
    fn cover(&self, fact: &Fact, side: Side) -> bool {
        let is_in = |of: &BTreeMap<Text, Pair<bool>>, folder: &Text| {
            of.get(folder).is_some_and(|sides| *sides.get(side))
        };
        match (fact.kind, &fact.subject) {
            (Kind::ReadSystem, Subject::Path(folder)) => is_in(&self.listed, folder),
            (Kind::Read, _) => fact.folder().is_some_and(|folder| is_in(&self.folded, &folder)),
            _ => false,
        }
    }
}

/// A fact of one session only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Only {
    fact: Fact,
    story: Story,
    /// The other one tried, and the target was not there.
    missing_in_other: bool,
}

/// A fact of both sessions that was not decided alike.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flip {
    fact: Fact,
    decided: Pair<Decided>,
}

/// A file that both sessions changed, from different contents.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contents {
    path: Text,
    pre: Pair<PreImage>,
}

/// How two sessions differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// How many facts there are in all.
    facts: u64,
    only: Pair<Vec<Only>>,
    decided_otherwise: Vec<Flip>,
    former_contents: Vec<Contents>,
    temporary_names: BTreeSet<Text>,
}

impl Difference {
    /// Says whether neither session did or was decided anything that the other was not. What files held before
    /// is not what a session did.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.only.a.is_empty() && self.only.b.is_empty() && self.decided_otherwise.is_empty()
    }

    /// Takes in a fact, where it makes a difference.
    fn take(&mut self, fact: Fact, mut stories: Pair<Option<Story>>, folds: &Folds) {
        self.facts += 1;
        let (a, b) = (stories.a.as_ref(), stories.b.as_ref());
        if let (Some(a), Some(b)) = (a, b)
            && a.decided.flipped(&b.decided)
            // Which file of a directory was decided on is chance.
            && (fact.kind != Kind::ReadSystem || a.decided.is_apart(&b.decided))
        {
            let decided = Pair { a: a.decided.clone(), b: b.decided.clone() };
            self.decided_otherwise.push(Flip { fact: fact.clone(), decided });
        }
        let side = match (a, b) {
            (Some(a), Some(b)) if a.there == b.there => return,
            (Some(a), Some(_)) if !a.there => Side::B,
            (Some(_), _) => Side::A,
            (None, _) => Side::B,
        };
        if folds.cover(&fact, side.other()) {
            return;
        }
        let missing_in_other = stories.get(side.other()).is_some();
        if let Some(story) = stories.get_mut(side).take() {
            self.only.get_mut(side).push(Only { fact, story, missing_in_other });
        }
    }
}
