//! Checking a whole ledger: the chain, its seals and what lies outside, and the index against it.

use std::collections::HashMap;

use aegis_proof::outline::{Kind, Outline};
use aegis_proof::{Anchor, Audit, Outside, TrustRoot};
use aegis_types::Action;

use crate::LedgerError;
use crate::custody::Custody;
use crate::store::Ledger;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the records and checkpoints say.
    pub proof: aegis_proof::Verdict,
    /// The first entry whose index does not say what the record says. The records hold; the index can be
    /// made again.
    pub index_fault: Option<u64>,
    /// How many lines of the register are damaged.
    pub bad_register_lines: u64,
}

impl Verdict {
    /// Says whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.proof.fault.is_none() && self.index_fault.is_none()
    }
}

/// What a ledger is to be held to.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// What its home keeps beside it.
    pub custody: Option<Custody>,
    /// What the user kept of it.
    pub trust: Option<TrustRoot>,
    /// Checkpoints that the user kept elsewhere.
    pub anchors: Vec<Anchor>,
}

impl Ledger {
    /// Checks every record, one after the other; memory does not grow with their number.
    ///
    /// # Errors
    /// The file, or something that it is held to, can't be read; damage is no error but a verdict.
    pub fn verify(&self, held: &Held) -> Result<Verdict, LedgerError> {
        let mut outside =
            Outside { trust: held.trust.clone(), anchors: held.anchors.clone(), ..Outside::default() };
        let mut bad_register_lines = 0;
        if let Some(custody) = &held.custody {
            // In the order that is the reverse of a writer's, which commits, tells the register, changes the key: a
            // session that seals meanwhile must not look like damage. A start that can't be read is found below.
            outside.keys = self.trust_root().ok().and_then(|trust| custody.keys.epoch_public(&trust.origin));
            (outside.register, bad_register_lines) = custody.lines()?;
            outside.anchors.extend(custody.anchored()?);
        }
        let (proof, index_fault) = self.check(outside)?;
        Ok(Verdict { proof, index_fault, bad_register_lines })
    }

    fn check(&self, outside: Outside) -> Result<(aegis_proof::Verdict, Option<u64>), LedgerError> {
        let mut audit = Audit::new(outside);
        let (mut fault, mut index_fault) = (None, None);
        let get = |e| self.explain(e);
        // One view of all tables, whoever writes meanwhile.
        let _view = self.connection.unchecked_transaction().map_err(get)?;
        let mut sessions = self.session_index()?;
        let mut notes =
            self.connection.prepare("SELECT size, note FROM checkpoints ORDER BY size").map_err(get)?;
        let mut notes = Notes { rows: notes.query([]).map_err(get)?, next: None };
        let sql = "SELECT seq, record, session, at, kind, action FROM records ORDER BY seq";
        let mut statement = self.connection.prepare(sql).map_err(get)?;
        let mut rows = statement.query([]).map_err(get)?;
        while let Some(row) = rows.next().map_err(get)? {
            let seq = row.get::<_, i64>(0).map_err(get)?;
            let record = row.get_ref(1).map_err(get)?.as_blob().unwrap_or_default();
            let number = u64::try_from(seq).unwrap_or(0);
            let note = notes.of(seq).map_err(get)?;
            let (place, event) = match audit.push(number, record, note.as_deref()) {
                Ok(read) => read,
                Err(found) => {
                    fault = Some(found);
                    break;
                }
            };
            if index_fault.is_none() {
                let number_of = |at: usize| row.get::<_, Option<i64>>(at).map_err(get);
                let (kind, action) = class(&event);
                let session = number_of(2)?.unwrap_or(-1);
                let agrees = match (event.what.is_of_ledger(), sessions.get_mut(&session)) {
                    (true, _) => session == 0,
                    (false, Some(indexed)) => indexed.agrees(place.session, kind, seq),
                    (false, None) => false,
                };
                let agrees = agrees
                    && number_of(3)?.map(i128::from) == Some(event.at.nanos())
                    && number_of(4)? == Some(kind)
                    && number_of(5)? == action;
                if !agrees {
                    index_fault = Some(number);
                }
            }
        }
        if fault.is_none() && index_fault.is_none() {
            let wrong = sessions.values().filter(|indexed| indexed.end != indexed.last_end);
            let first =
                wrong.filter_map(|indexed| indexed.end.into_iter().chain(indexed.last_end).min()).min();
            index_fault = first.and_then(|seq| u64::try_from(seq).ok());
        }
        let beyond = notes.next_size().map_err(get)?;
        Ok((audit.finish(fault, beyond), index_fault))
    }

    /// Reads the table of sessions.
    fn session_index(&self) -> Result<HashMap<i64, Indexed>, LedgerError> {
        let get = |e| self.explain(e);
        let sql = "SELECT id, uuid, start_seq, end_seq FROM sessions";
        let mut statement = self.connection.prepare(sql).map_err(get)?;
        let rows = statement.query_map([], |row| {
            let indexed = Indexed { uuid: row.get(1)?, start: row.get(2)?, end: row.get(3)?, last_end: None };
            Ok((row.get(0)?, indexed))
        });
        rows.map_err(get)?.collect::<Result<_, _>>().map_err(get)
    }
}

/// A session, as the table has it.
struct Indexed {
    uuid: String,
    start: Option<i64>,
    end: Option<i64>,
    /// Its latest end among the records that were read.
    last_end: Option<i64>,
}

impl Indexed {
    /// Says whether the table says of a record's session what the record says.
    fn agrees(&mut self, session: &str, kind: i64, seq: i64) -> bool {
        if kind == END {
            self.last_end = Some(seq);
        }
        self.uuid == session
            && self.start.is_none_or(|start| start <= seq)
            && self.end.is_none_or(|end| seq <= end)
            && (kind != START || self.start == Some(seq))
    }
}

/// The checkpoints, in the order of their sizes.
struct Notes<'s> {
    rows: rusqlite::Rows<'s>,
    /// The first that was not asked for yet.
    next: Option<(i64, String)>,
}

impl Notes<'_> {
    fn fill(&mut self) -> rusqlite::Result<()> {
        if self.next.is_none()
            && let Some(row) = self.rows.next()?
        {
            // What is no text is no note, which is found where it is read.
            self.next = Some((row.get(0)?, row.get(1).unwrap_or_default()));
        }
        Ok(())
    }

    /// Returns the checkpoint of this size. Those of sizes that no record has are passed over: they are of records that
    /// were removed, which the chain tells.
    fn of(&mut self, size: i64) -> rusqlite::Result<Option<String>> {
        loop {
            self.fill()?;
            match self.next.take() {
                Some((at, _)) if at < size => {}
                Some((at, note)) if at == size => return Ok(Some(note)),
                other => {
                    self.next = other;
                    return Ok(None);
                }
            }
        }
    }

    /// Returns the size of the next checkpoint.
    fn next_size(&mut self) -> rusqlite::Result<Option<u64>> {
        self.fill()?;
        Ok(self.next.as_ref().and_then(|(size, _)| u64::try_from(*size).ok()))
    }
}

/// Places in [`crate::store::KINDS`].
const START: i64 = 3;
const END: i64 = 4;

/// Returns kind and action as the index has them.
fn class(event: &Outline<'_>) -> (i64, Option<i64>) {
    match &event.what {
        Kind::Action(act) => {
            let place = Action::ALL.iter().position(|action| action.word() == act.action);
            (0, place.and_then(|place| i64::try_from(place).ok()))
        }
        Kind::Gap(_) => (1, None),
        Kind::Refusal(_) => (2, None),
        Kind::SessionStart(_) => (START, None),
        Kind::SessionEnd(_) => (END, None),
        Kind::LedgerStart(_) => (5, None),
        Kind::Seal(_) => (6, None),
        Kind::Seam(_) => (7, None),
        Kind::PolicySet(_) => (8, None),
        Kind::PolicyText(_) => (9, None),
        Kind::PolicyFault(_) => (10, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Class, Entry, KINDS, Sealing, encode};
    use aegis_types::{
        Event, Gap, GapReason, LedgerStart, Seal, Seam, SessionEnd, SessionId, Timestamp, What,
    };

    fn event(what: What) -> Event {
        Event { at: Timestamp::from_nanos(7), mono_us: 7, what }
    }

    fn gap() -> What {
        What::Gap(Gap { detail: "x".into(), process: None, reason: GapReason::Limit })
    }

    fn key() -> String {
        aegis_proof::PublicKey::from_bytes([7; 32]).to_base64()
    }

    fn start() -> What {
        let origin = "aegis/00112233445566778899aabbccddeeff".to_owned();
        What::LedgerStart(LedgerStart { identity: key(), key: key(), origin })
    }

    fn seal() -> What {
        What::Seal(Seal { epoch: 1, next: key() })
    }

    fn seam() -> What {
        What::Seam(Seam { detail: "x".into(), epoch: 1, key: key() })
    }

    fn end() -> What {
        let counts = Action::ALL.iter().map(|action| (*action, 1)).collect();
        What::SessionEnd(Box::new(SessionEnd { counts, duration_us: 1, exit: None, failure: None, gaps: 0 }))
    }

    #[test]
    fn outlines_have_the_places_of_the_kinds() {
        for what in [gap(), end(), start(), seal(), seam()] {
            let bytes = encode(&event(what.clone())).unwrap();
            let outline: Outline<'_> = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(class(&outline).0, i64::from(Class::of(&what).kind), "{what:?}");
        }
        assert_eq!(KINDS[usize::try_from(START).unwrap()], "session_start");
    }

    #[test]
    fn every_event_is_written_in_canonical_form() {
        for what in [gap(), end(), start(), seal(), seam()] {
            let bytes = encode(&event(what)).unwrap();
            assert!(aegis_proof::is_canonical(&bytes), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn an_index_that_lies_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let custody = Custody::of(folder.path(), &path, Vec::new());
        let mut ledger = Ledger::open(&path, &custody).unwrap();
        let session = SessionId::at(Timestamp::from_nanos(7));
        let entries: Vec<Entry> = [gap(), end()]
            .into_iter()
            .map(|what| Entry::new(session, "observer", &event(what)).unwrap())
            .collect();
        ledger.append(&entries, Sealing::Now { told: true }).unwrap();
        let held = Held { custody: Some(custody), ..Held::default() };
        let good = ledger.verify(&held).unwrap();
        assert!(good.is_good() && good.proof.grade == aegis_proof::Grade::Sealed, "{good:?}");
        for (lie, truth) in [
            ("UPDATE records SET session = 9 WHERE seq = 2", "UPDATE records SET session = 1 WHERE seq = 2"),
            ("UPDATE records SET session = 1 WHERE seq = 4", "UPDATE records SET session = 0 WHERE seq = 4"),
            ("UPDATE sessions SET end_seq = 2", "UPDATE sessions SET end_seq = 3"),
            ("UPDATE sessions SET end_seq = 4", "UPDATE sessions SET end_seq = 3"),
            ("UPDATE sessions SET end_seq = NULL", "UPDATE sessions SET end_seq = 3"),
            ("UPDATE sessions SET start_seq = 3", "UPDATE sessions SET start_seq = NULL"),
            ("UPDATE records SET kind = 0 WHERE seq = 2", "UPDATE records SET kind = 1 WHERE seq = 2"),
            ("UPDATE records SET at = 9 WHERE seq = 2", "UPDATE records SET at = 7 WHERE seq = 2"),
            ("DELETE FROM sessions", "SELECT 1"),
        ] {
            ledger.connection.execute(lie, []).unwrap();
            let found = ledger.verify(&held).unwrap();
            assert!(found.index_fault.is_some() && found.proof.fault.is_none(), "{lie}");
            ledger.connection.execute_batch(truth).unwrap();
        }
    }
}
