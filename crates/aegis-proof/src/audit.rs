//! The whole check of a ledger: its chain, its tree, the signatures of its checkpoints, and what is kept elsewhere.
//!
//! [`Audit::push`] takes records one after the other, each with the checkpoint that covers it as its last, if there is
//! one. [`Audit::finish`] compares with what lies outside and says how far the ledger can be trusted.

use std::collections::HashSet;

use crate::chain::Chain;
use crate::checkpoint::{Checkpoint, Origin, TrustRoot};
use crate::fault::{Fault, FaultKind};
use crate::note::{Note, PublicKey};
use crate::outline::{Kind, LedgerStart, Moment, Outline};
use crate::record::{Hash, NIL_SESSION, Place};
use crate::register::Line;
use crate::tree::Frontier;

/// The producer of what the ledger says of itself.
pub const LEDGER: &str = "ledger";

/// Two seals that lie further apart, in microseconds, while a session lived are silence: a heartbeat is due each five
/// minutes.
const SILENCE_US: u64 = 330_000_000;

/// A clock that goes back by more, in nanoseconds, was set back.
const SET_BACK_NS: i128 = 1_000_000_000;

/// How many findings of a kind are listed.
const LISTED_MAX: usize = 1_000;

/// How far a ledger was held to something outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// To nothing.
    SelfConsistent,
    /// To the register and the keys of the home.
    Sealed,
    /// To a trust root or a checkpoint that is kept elsewhere.
    Anchored,
}

impl Grade {
    /// Returns the word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SelfConsistent => "self-consistent",
            Self::Sealed => "sealed",
            Self::Anchored => "anchored",
        }
    }
}

/// A checkpoint that is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The note.
    pub note: String,
    /// Where it is kept, in words.
    pub kept: String,
    /// The user named it as being of this ledger; otherwise notes of other ledgers may stand beside it.
    pub named: bool,
}

/// The public halves of the keys that a home has for a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochKeys {
    /// The epoch of `current`.
    pub epoch: u64,
    /// Its key.
    pub current: PublicKey,
    /// The key of the epoch after.
    pub next: PublicKey,
}

/// What lies outside the ledger and is compared with it.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// What the user kept.
    pub trust: Option<TrustRoot>,
    /// Checkpoints that are kept elsewhere.
    pub anchors: Vec<Anchor>,
    /// The register's lines about this ledger's place, in their order.
    pub register: Vec<Line>,
    /// The keys.
    pub keys: Option<EpochKeys>,
}

/// What is worth knowing and no fault.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Entries that join a new key where one was lost.
    pub seams: Vec<u64>,
    /// How many entries are gaps in what was seen.
    pub gaps: u64,
    /// How many entries were taken in from dead sessions.
    pub recovered: u64,
    /// Pairs of entries between which a session lived and nothing was sealed.
    pub silences: Vec<(u64, u64)>,
    /// Seals whose clock was set back.
    pub clock_set_back: Vec<u64>,
    /// The keys of the home are not those that are due; the next writer makes a seam.
    pub keys_behind: bool,
    /// Anchors of this ledger that are not signed by it.
    pub bad_anchors: u64,
}

/// What the check of a whole ledger found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How many records were read and hold.
    pub records: u64,
    /// The leaf hash of the last of them.
    pub head: Hash,
    /// The ledger's name and identity key.
    pub trust: Option<TrustRoot>,
    /// How many checkpoints hold.
    pub checkpoints: u64,
    /// How many records the last of them covers.
    pub sealed: u64,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
    /// What it was held to.
    pub grade: Grade,
    /// What is no fault.
    pub findings: Findings,
}

/// A root that is known from outside.
#[derive(Debug)]
struct Reference {
    size: u64,
    root: Hash,
    kept: String,
    /// Whether the ledger's tree had this root at that size; nothing where it is not that large.
    agrees: Option<bool>,
}

/// A check in progress.
#[derive(Debug)]
pub struct Audit {
    chain: Chain,
    tree: Frontier,
    outside: Outside,
    /// Sorted by size.
    references: Vec<Reference>,
    /// The first of them that is not yet compared.
    reference: usize,
    start: Option<(LedgerStart, String)>,
    due_epoch: u64,
    due_key: PublicKey,
    /// The record before was a seam.
    after_seam: bool,
    checkpoints: u64,
    sealed: u64,
    findings: Findings,
    /// Entry, monotonic and wall-clock time of the last seal or start.
    mark: Option<(u64, u64, i128)>,
    /// Sessions that have begun and not ended.
    live: HashSet<String>,
    /// A session lived at the last seal or start.
    lived: bool,
}

impl Audit {
    /// Begins the check of a ledger that will be held to this.
    #[must_use]
    pub fn new(outside: Outside) -> Self {
        let of_anchor = |anchor: &Anchor| {
            let text = Note::parse(&anchor.note)?.text;
            let Checkpoint { size, root, .. } = Checkpoint::parse(text)?;
            Some(Reference { size, root, kept: anchor.kept.clone(), agrees: None })
        };
        let of_line = |line: &Line| Reference {
            size: line.size,
            root: line.root,
            kept: "the home's register".to_owned(),
            agrees: None,
        };
        let anchors = outside.anchors.iter().filter_map(of_anchor);
        let mut references: Vec<Reference> = anchors.chain(outside.register.iter().map(of_line)).collect();
        // Stable: of the same size, anchors stay first.
        references.sort_by_key(|reference| reference.size);
        Self {
            chain: Chain::default(),
            tree: Frontier::default(),
            outside,
            references,
            reference: 0,
            start: None,
            due_epoch: 1,
            due_key: PublicKey::from_bytes([0; 32]),
            after_seam: false,
            checkpoints: 0,
            sealed: 0,
            findings: Findings::default(),
            mark: None,
            live: HashSet::new(),
            lived: false,
        }
    }

    /// Takes the record that is stored under the number `seq`, and the checkpoint of that size.
    ///
    /// # Errors
    /// The first fault; nothing more is to be pushed then.
    pub fn push<'r>(
        &mut self,
        seq: u64,
        record: &'r [u8],
        note: Option<&str>,
    ) -> Result<(Place<'r>, Outline<'r>), Fault> {
        let fault = |kind| Fault { seq, kind };
        let (place, event) = self.chain.push_with::<Outline<'r>>(seq, record)?;
        let (_, leaf) = self.chain.head();
        self.tree.push(leaf);
        self.compare();
        let outcome = self.take(&place, &event).map_err(|why| FaultKind::NotARecord(why.into()));
        outcome.map_err(fault)?;
        match (note, &event.what) {
            (Some(note), Kind::Seal(seal)) => {
                self.check(seq, note)?;
                self.checkpoints += 1;
                self.sealed = seq;
                self.due_epoch += 1;
                self.due_key = seal.next;
            }
            (Some(_), _) => return Err(fault(FaultKind::Forged("no seal stands there".into()))),
            (None, Kind::Seal(_)) => return Err(fault(FaultKind::CheckpointMissing)),
            (None, _) => {}
        }
        Ok((place, event))
    }

    /// Compares the tree with what is known of it at this size.
    fn compare(&mut self) {
        while let Some(reference) = self.references.get_mut(self.reference) {
            if reference.size > self.tree.size() {
                break;
            }
            if reference.size == self.tree.size() {
                reference.agrees = Some(reference.root == self.tree.root());
            }
            self.reference += 1;
        }
    }

    /// Takes note of an event; says what is wrong with it as a record of a ledger.
    fn take(&mut self, place: &Place<'_>, event: &Outline<'_>) -> Result<(), &'static str> {
        let seq = place.seq;
        let of_ledger = place.producer == LEDGER && place.session == NIL_SESSION;
        if event.what.is_of_ledger() != of_ledger || (place.producer == LEDGER) != of_ledger {
            return Err(
                "what a ledger says of itself is of the producer `ledger` and the nil session, and nothing else is",
            );
        }
        if place.session == NIL_SESSION && !of_ledger {
            return Err("the nil session is the ledger's own");
        }
        if (seq == 1) != matches!(event.what, Kind::LedgerStart(_)) {
            return Err("a ledger begins with its start, and has one only");
        }
        if self.after_seam && !matches!(event.what, Kind::Seal(_)) {
            return Err("behind a seam stands a seal");
        }
        self.after_seam = false;
        self.findings.recovered += u64::from(place.recovered);
        match &event.what {
            Kind::LedgerStart(start) => {
                if Origin::of(&start.identity, &start.key) != start.origin {
                    return Err("the origin is not that of the keys");
                }
                self.due_key = start.key;
                self.start = Some((start.clone(), event.at.as_str().to_owned()));
                self.mark(seq, event);
            }
            Kind::Seal(seal) => {
                if seal.epoch != self.due_epoch {
                    return Err("the epoch is not the one that was due");
                }
                self.mark(seq, event);
            }
            Kind::Seam(seam) => {
                if seam.epoch != self.due_epoch {
                    return Err("the epoch is not the one that was due");
                }
                self.due_key = seam.key;
                self.after_seam = true;
                list(&mut self.findings.seams, seq);
            }
            Kind::Gap(_) => self.findings.gaps += 1,
            Kind::SessionStart(_) => {
                self.live.insert(place.session.to_owned());
            }
            Kind::SessionEnd(_) => {
                self.live.remove(place.session);
            }
            Kind::Action(_) | Kind::Refusal(_) => {}
        }
        Ok(())
    }

    /// Looks at the times of a seal or start.
    fn mark(&mut self, seq: u64, event: &Outline<'_>) {
        if let Some((last, mono_us, wall)) = self.mark {
            // A smaller number is that of another start of the machine: nothing is known of the time between.
            if self.lived && event.mono_us.saturating_sub(mono_us) > SILENCE_US {
                list(&mut self.findings.silences, (last, seq));
            }
            if event.at.nanos() < wall - SET_BACK_NS {
                list(&mut self.findings.clock_set_back, seq);
            }
        }
        self.mark = Some((seq, event.mono_us, event.at.nanos()));
        self.lived = !self.live.is_empty();
    }

    /// Checks a checkpoint that covers all that was read so far.
    fn check(&self, seq: u64, note: &str) -> Result<(), Fault> {
        let forged = |why: &str| Fault { seq, kind: FaultKind::Forged(why.to_owned()) };
        let note = Note::parse(note).ok_or_else(|| forged("it is no signed note"))?;
        let checkpoint = Checkpoint::parse(note.text).ok_or_else(|| forged("it is no checkpoint"))?;
        let Some((start, _)) = &self.start else { return Err(forged("the ledger has no start")) };
        if checkpoint.origin != start.origin || checkpoint.size != seq {
            return Err(forged("it is of another ledger or size"));
        }
        if !note.is_signed_by(checkpoint.origin.as_str(), &start.identity) {
            return Err(forged("it is not signed by the ledger's identity key"));
        }
        if !note.is_signed_by(&checkpoint.origin.epoch_name(), &self.due_key) {
            let due = self.due_epoch;
            return Err(forged(&format!("it is not signed by the key of epoch {due}, which was due")));
        }
        if checkpoint.root != self.tree.root() {
            return Err(Fault { seq: self.sealed + 1, kind: FaultKind::Rewritten(seq) });
        }
        Ok(())
    }

    /// Says where each session that has not ended stands: how many there are.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Ends the check. `beyond` is the size of the first checkpoint that covers more than there is.
    #[must_use]
    pub fn finish(mut self, fault: Option<Fault>, beyond: Option<u64>) -> Verdict {
        let (records, head) = self.chain.head();
        let mut fault = fault;
        if fault.is_none() && self.after_seam {
            let why = "behind a seam stands a seal".to_owned();
            fault = Some(Fault { seq: records, kind: FaultKind::NotARecord(why) });
        }
        if fault.is_none() {
            fault = beyond.map(|size| Fault { seq: records + 1, kind: FaultKind::Truncated(size) });
        }
        let (grade, outer) = if fault.is_none() { self.hold(records) } else { (Grade::SelfConsistent, None) };
        let trust = self.start.map(|(start, _)| TrustRoot { origin: start.origin, identity: start.identity });
        Verdict {
            records,
            head,
            trust,
            checkpoints: self.checkpoints,
            sealed: self.sealed,
            fault: fault.or(outer),
            grade,
            findings: self.findings,
        }
    }

    /// Holds a ledger that is good in itself to what lies outside.
    fn hold(&mut self, records: u64) -> (Grade, Option<Fault>) {
        let Some((start, begun)) = self.start.clone() else {
            return (Grade::SelfConsistent, self.hold_nothing());
        };
        let whole = |kind| Some(Fault { seq: 1, kind });
        let mut grade = Grade::SelfConsistent;
        if let Some(trust) = &self.outside.trust {
            if trust.origin != start.origin || trust.identity != start.identity {
                return (grade, whole(FaultKind::Replaced(trust.origin.to_string())));
            }
            grade = Grade::Anchored;
        }
        match self.hold_to_anchors(&start, records) {
            Ok(true) => grade = Grade::Anchored,
            Ok(false) => {}
            Err(fault) => return (grade, Some(fault)),
        }
        match self.hold_to_register(&start, &begun, records) {
            Ok(true) => grade = grade.max(Grade::Sealed),
            Ok(false) => {}
            Err(fault) => return (grade, Some(fault)),
        }
        (grade, self.hold_to_keys(records))
    }

    /// A ledger without a single record, where something outside knows of some.
    fn hold_nothing(&self) -> Option<Fault> {
        if let Some(trust) = &self.outside.trust {
            return Some(Fault { seq: 1, kind: FaultKind::Replaced(trust.origin.to_string()) });
        }
        let known = self.references.iter().map(|reference| (reference.size, reference.kept.clone())).max()?;
        Some(Fault { seq: 1, kind: FaultKind::RolledBack(known.0, known.1) })
    }

    fn hold_to_anchors(&mut self, start: &LedgerStart, records: u64) -> Result<bool, Fault> {
        let mut held = false;
        let mut other = None;
        let mut checkpoints = Vec::new();
        for anchor in &self.outside.anchors {
            let note = Note::parse(&anchor.note);
            let parsed = note.as_ref().and_then(|note| Some((note, Checkpoint::parse(note.text)?)));
            match parsed {
                Some((_, checkpoint)) if checkpoint.origin != start.origin => {
                    other = other.or(anchor.named.then(|| checkpoint.origin.to_string()));
                }
                Some((note, checkpoint))
                    if note.is_signed_by(checkpoint.origin.as_str(), &start.identity) =>
                {
                    checkpoints.push((checkpoint, anchor.kept.clone()));
                }
                _ => self.findings.bad_anchors += 1,
            }
        }
        checkpoints.sort_by_key(|(checkpoint, _)| checkpoint.size);
        for (checkpoint, kept) in checkpoints {
            self.hold_to(checkpoint.size, checkpoint.root, kept, records)?;
            held = true;
        }
        match other {
            Some(origin) if !held => Err(Fault { seq: 1, kind: FaultKind::Replaced(origin) }),
            _ => Ok(held),
        }
    }

    /// Compares with one root that is known from outside.
    fn hold_to(&self, size: u64, root: Hash, kept: String, records: u64) -> Result<(), Fault> {
        if size > records {
            return Err(Fault { seq: records + 1, kind: FaultKind::RolledBack(size, kept) });
        }
        let known = self.references.iter().filter(|r| r.size == size && r.root == root);
        let agrees = if size == 0 {
            root == Frontier::default().root()
        } else {
            known.clone().any(|r| r.agrees == Some(true))
        };
        if agrees { Ok(()) } else { Err(Fault { seq: size, kind: FaultKind::Forked(kept) }) }
    }

    fn hold_to_register(&self, start: &LedgerStart, begun: &str, records: u64) -> Result<bool, Fault> {
        let mut held = false;
        let lines = &self.outside.register;
        let foreign = lines.iter().filter(|line| line.origin != start.origin);
        if let Some(last) = foreign.max_by_key(|line| Moment::parse(&line.at).map(|at| at.nanos())) {
            let old = last.origin.to_string();
            // Both are of one form, whose order is that of time.
            let kind = if begun > last.at.as_str() {
                FaultKind::BegunAnew(old)
            } else {
                FaultKind::RewrittenWhole(old)
            };
            return Err(Fault { seq: 1, kind });
        }
        let mut own: Vec<&Line> = lines.iter().collect();
        own.sort_by_key(|line| line.size);
        for line in own {
            self.hold_to(line.size, line.root, "the home's register".to_owned(), records)?;
            held = true;
        }
        Ok(held)
    }

    fn hold_to_keys(&mut self, records: u64) -> Option<Fault> {
        let keys = self.outside.keys?;
        let (due, key) = (self.due_epoch, self.due_key);
        if keys.epoch > due {
            let kept = format!("the home's key file is at epoch {}, the ledger at {due}: it", keys.epoch);
            return Some(Fault { seq: records + 1, kind: FaultKind::RolledBack(records + 1, kept) });
        }
        let fits = (keys.epoch == due && keys.current == key) || (keys.epoch + 1 == due && keys.next == key);
        self.findings.keys_behind = !fits;
        // Its line is written before the first key is destroyed.
        let cut = keys.epoch > 1 && self.outside.register.is_empty();
        cut.then_some(Fault { seq: 1, kind: FaultKind::RegisterMissing })
    }
}

/// Adds a finding to a list, as long as that is short.
fn list<T>(findings: &mut Vec<T>, finding: T) {
    if findings.len() < LISTED_MAX {
        findings.push(finding);
    }
}
