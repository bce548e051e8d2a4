//! The whole check of a ledger: its chain, its tree, the signatures of its checkpoints, and what is kept elsewhere.
//!
//! [`Audit::push`] takes records one after the other, each with the checkpoint that covers it as its last, if there is
//! one. [`Audit::finish`] compares with what lies outside and says how far the ledger can be trusted.

use std::collections::{BTreeMap, HashSet};

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
    /// The first of them.
    pub gap_entries: Vec<u64>,
    /// How many entries were taken in from dead sessions.
    pub recovered: u64,
    /// The first of them.
    pub recovered_entries: Vec<u64>,
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

/// A check in progress.
#[derive(Debug)]
pub struct Audit {
    chain: Chain,
    tree: Frontier,
    outside: Outside,
    /// The ledger's own root at each size at which one is known from outside; nothing where it is not that large.
    roots: BTreeMap<u64, Option<Hash>>,
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
        let size = |anchor: &Anchor| Some(Checkpoint::parse(Note::parse(&anchor.note)?.text)?.size);
        let anchors = outside.anchors.iter().filter_map(size);
        let sizes = anchors.chain(outside.register.iter().map(|line| line.size));
        let mut roots: BTreeMap<u64, Option<Hash>> = sizes.map(|size| (size, None)).collect();
        if let Some(empty) = roots.get_mut(&0) {
            *empty = Some(Frontier::default().root());
        }
        Self {
            chain: Chain::default(),
            tree: Frontier::default(),
            outside,
            roots,
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
        if let Some(root) = self.roots.get_mut(&seq) {
            *root = Some(self.tree.root());
        }
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
        if place.recovered {
            self.findings.recovered += 1;
            list(&mut self.findings.recovered_entries, seq);
        }
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
            Kind::Gap(_) => {
                self.findings.gaps += 1;
                list(&mut self.findings.gap_entries, seq);
            }
            Kind::SessionStart(_) => {
                self.live.insert(place.session.to_owned());
            }
            Kind::SessionEnd(_) => {
                self.live.remove(place.session);
            }
            Kind::Action(_)
            | Kind::Refusal(_)
            | Kind::PolicySet(_)
            | Kind::PolicyText(_)
            | Kind::PolicyFault(_) => {}
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
        let (size, _) = self.roots.last_key_value()?;
        let kept = "what is kept outside".to_owned();
        Some(Fault { seq: 1, kind: FaultKind::RolledBack(*size, kept) })
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
        if self.roots.get(&size) == Some(&Some(root)) {
            return Ok(());
        }
        Err(Fault { seq: size, kind: FaultKind::Forked(kept) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Header, Producer, seal};
    use crate::{SecretKey, canonical};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const SESSION: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    /// Writes a ledger as the format says, with times of the test's choice.
    struct Pen {
        records: Vec<(Vec<u8>, Option<String>)>,
        tree: Frontier,
        prev: Hash,
        counters: [u64; 2],
        identity: SecretKey,
        origin: Origin,
        epoch: u64,
    }

    fn key(epoch: u64) -> SecretKey {
        let mut seed = [9; 32];
        seed[0] = u8::try_from(epoch).unwrap();
        SecretKey::from_seed(&seed)
    }

    impl Pen {
        fn new() -> Self {
            let identity = SecretKey::from_seed(&[1; 32]);
            let origin = Origin::of(&identity.public(), &key(1).public());
            let (prev, tree) = (Hash::ZERO, Frontier::default());
            let mut pen =
                Self { records: Vec::new(), tree, prev, counters: [0; 2], identity, origin, epoch: 1 };
            let start = json!({"ledger_start": {
                "identity": pen.identity.public().to_base64(),
                "key": key(1).public().to_base64(),
                "origin": pen.origin.as_str(),
            }});
            pen.write(0, 0, &start);
            pen
        }

        fn write(&mut self, second: u32, mono_us: u64, what: &Value) {
            let of_ledger = ["ledger_start", "seal", "seam"].iter().any(|kind| what.get(kind).is_some());
            let counter = &mut self.counters[usize::from(of_ledger)];
            *counter += 1;
            let producer =
                Producer { id: if of_ledger { LEDGER } else { "session" }.into(), lost: 0, n: *counter };
            let session = if of_ledger { NIL_SESSION } else { SESSION }.to_owned();
            let seq = self.records.len() as u64 + 1;
            let header = Header { prev: self.prev, producer, recovered: false, seq, session };
            let at = format!("2026-01-02T03:04:{second:02}.000000000Z");
            let event = canonical(&json!({"at": at, "mono_us": mono_us, "what": what})).unwrap();
            let sealed = seal(&header, &event).unwrap();
            self.prev = sealed.leaf;
            self.tree.push(sealed.leaf);
            self.records.push((sealed.bytes, None));
        }

        fn seal(&mut self, second: u32, mono_us: u64) {
            let next = key(self.epoch + 1).public().to_base64();
            self.write(second, mono_us, &json!({"seal": {"epoch": self.epoch, "next": next}}));
            let size = self.tree.size();
            let checkpoint = Checkpoint { origin: self.origin.clone(), size, root: self.tree.root() };
            self.records.last_mut().unwrap().1 = Some(checkpoint.sign(&self.identity, &key(self.epoch)));
            self.epoch += 1;
        }
    }

    fn judge(records: &[(Vec<u8>, Option<String>)], outside: Outside) -> Verdict {
        let mut audit = Audit::new(outside);
        for (seq, (record, note)) in (1..).zip(records) {
            if let Err(fault) = audit.push(seq, record, note.as_deref()) {
                return audit.finish(Some(fault), None);
            }
        }
        audit.finish(None, None)
    }

    #[test]
    fn silence_and_a_clock_that_was_set_back_are_no_fault_and_told() {
        let mut pen = Pen::new();
        pen.seal(1, 1_000_000_000);
        pen.write(2, 1_000_000_000, &json!({"session_start": {}}));
        pen.seal(10, 1_000_000_100);
        // Exactly as long as may be, then a moment longer; then the machine starts anew.
        pen.seal(10, 1_000_000_100 + SILENCE_US);
        pen.seal(9, 1_000_000_101 + 2 * SILENCE_US);
        pen.seal(7, 5);
        pen.write(8, 6, &json!({"session_end": {}}));
        pen.seal(8, 7);
        pen.seal(8, 8 + SILENCE_US);
        let verdict = judge(&pen.records, Outside::default());
        assert_eq!(verdict.fault, None);
        assert_eq!((verdict.findings.gaps, verdict.findings.gap_entries.len()), (0, 0));
        assert_eq!(verdict.findings.silences, [(5, 6)]);
        assert_eq!(verdict.findings.clock_set_back, [7], "by two seconds, not by one");
        assert_eq!((verdict.checkpoints, verdict.sealed, verdict.grade), (7, 10, Grade::SelfConsistent));
    }

    #[test]
    fn what_a_ledger_says_of_itself_stands_in_its_place() {
        let mut pen = Pen::new();
        pen.write(1, 1, &json!({"seam": {"detail": "x", "epoch": 1, "key": key(5).public().to_base64()}}));
        let word = |pen: &Pen| {
            judge(&pen.records, Outside::default()).fault.map(|fault| (fault.seq, fault.kind.word()))
        };
        assert_eq!(word(&pen), Some((2, "not_a_record")), "a seam at the end");
        pen.write(1, 1, &json!({"gap": {}}));
        assert_eq!(word(&pen), Some((3, "not_a_record")), "something else behind a seam");
        let mut pen = Pen::new();
        pen.epoch = 2;
        pen.seal(1, 1);
        assert_eq!(word(&pen), Some((2, "not_a_record")), "another epoch");
        let mut pen = Pen::new();
        pen.write(1, 1, &json!({"ledger_start": {
            "identity": pen.identity.public().to_base64(), "key": key(1).public().to_base64(), "origin": pen.origin.as_str(),
        }}));
        assert_eq!(word(&pen), Some((2, "not_a_record")), "another start");
        let mut pen = Pen::new();
        pen.write(1, 1, &json!({"gap": {}}));
        pen.seal(1, 1);
        let note = pen.records[2].1.take();
        pen.records[1].1 = note;
        assert_eq!(word(&pen), Some((2, "forged")), "a checkpoint where no seal is");
    }

    proptest! {
        #[test]
        fn a_changed_byte_anywhere_is_found(at in any::<prop::sample::Index>(), in_note: bool, bit in 0u8..8) {
            let mut pen = Pen::new();
            pen.write(1, 1, &json!({"session_start": {}}));
            pen.seal(1, 2);
            pen.write(1, 3, &json!({"gap": {}}));
            pen.seal(2, 4);
            let record = at.index(5);
            let (bytes, note) = &mut pen.records[record];
            match note {
                Some(note) if in_note => {
                    let mut changed = note.clone().into_bytes();
                    let place = at.index(changed.len());
                    changed[place] ^= 1 << bit;
                    *note = String::from_utf8_lossy(&changed).into_owned();
                }
                _ => {
                    let place = at.index(bytes.len());
                    bytes[place] ^= 1 << bit;
                }
            }
            prop_assert!(judge(&pen.records, Outside::default()).fault.is_some());
        }

        #[test]
        fn any_bytes_are_judged_without_panic(record: Vec<u8>, note: Option<String>, line: String) {
            let anchor = Anchor { note: line.clone(), kept: String::new(), named: true };
            let register = Line::parse(&line).into_iter().collect();
            let outside = Outside { anchors: vec![anchor], register, ..Outside::default() };
            drop(judge(&[(record, note)], outside));
        }
    }
}
