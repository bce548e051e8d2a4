//! Checking a whole ledger: the chain, and the index against it.

use std::collections::HashMap;

use aegis_proof::{Chain, Fault, Hash};
use aegis_types::{Action, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::LedgerError;
use crate::store::Ledger;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How many records were checked and found good.
    pub records: u64,
    /// The hash of the last good one.
    pub head: Hash,
    /// How many say that they were taken in from a dead session's spool.
    pub recovered: u64,
    /// How many are gaps in what was seen.
    pub gaps: u64,
    /// The first thing that is wrong with the chain.
    pub fault: Option<Fault>,
    /// The first entry whose index does not say what the record says. The records hold; the index can be
    /// made again.
    pub index_fault: Option<u64>,
}

impl Verdict {
    /// Says whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.fault.is_none() && self.index_fault.is_none()
    }
}

impl Ledger {
    /// Checks every record, one after the other; memory does not grow with their number.
    ///
    /// # Errors
    /// The file can't be read; damage of the chain is no error but a verdict.
    pub fn verify(&self) -> Result<Verdict, LedgerError> {
        let mut chain = Chain::default();
        let mut verdict =
            Verdict { records: 0, head: Hash::ZERO, recovered: 0, gaps: 0, fault: None, index_fault: None };
        let get = |e| self.explain(e);
        // One view of both tables, whoever writes meanwhile.
        let _view = self.connection.unchecked_transaction().map_err(get)?;
        let mut sessions = self.session_index()?;
        let sql = "SELECT seq, record, session, at, kind, action FROM records ORDER BY seq";
        let mut statement = self.connection.prepare(sql).map_err(get)?;
        let mut rows = statement.query([]).map_err(get)?;
        while let Some(row) = rows.next().map_err(get)? {
            let seq = row.get::<_, i64>(0).map_err(get)?;
            let record = row.get_ref(1).map_err(get)?.as_blob().unwrap_or_default();
            let number = u64::try_from(seq).unwrap_or(0);
            let (place, event) = match chain.push_with::<Outline<'_>>(number, record) {
                Ok(read) => read,
                Err(fault) => {
                    verdict.fault = Some(fault);
                    break;
                }
            };
            verdict.recovered += u64::from(place.recovered);
            let (kind, action) = event.what.class();
            verdict.gaps += u64::from(kind == GAP);
            if verdict.index_fault.is_none() {
                let number_of = |at: usize| row.get::<_, Option<i64>>(at).map_err(get);
                let indexed = sessions.get_mut(&number_of(2)?.unwrap_or(0));
                let agrees = indexed.is_some_and(|indexed| indexed.agrees(place.session, kind, seq))
                    && number_of(3)? == Timestamp::parse(event.at).map(Timestamp::as_nanos)
                    && number_of(4)? == Some(kind)
                    && number_of(5)? == action;
                if !agrees {
                    verdict.index_fault = Some(number);
                }
            }
        }
        (verdict.records, verdict.head) = chain.head();
        if verdict.fault.is_none() && verdict.index_fault.is_none() {
            let wrong = sessions.values().filter(|indexed| indexed.end != indexed.last_end);
            let first =
                wrong.filter_map(|indexed| indexed.end.into_iter().chain(indexed.last_end).min()).min();
            verdict.index_fault = first.and_then(|seq| u64::try_from(seq).ok());
        }
        Ok(verdict)
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

/// Of an event, what the index holds.
#[derive(Deserialize)]
struct Outline<'a> {
    at: &'a str,
    what: OutlineOfWhat,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutlineOfWhat {
    Action(OutlineOfAct),
    Gap(IgnoredAny),
    Refusal(IgnoredAny),
    SessionStart(IgnoredAny),
    SessionEnd(IgnoredAny),
}

#[derive(Deserialize)]
struct OutlineOfAct {
    action: Action,
}

/// Places in [`crate::store::KINDS`].
const GAP: i64 = 1;
const START: i64 = 3;
const END: i64 = 4;

impl OutlineOfWhat {
    /// Returns kind and action as the index has them.
    fn class(&self) -> (i64, Option<i64>) {
        match self {
            Self::Action(act) => {
                let place = Action::ALL.iter().position(|action| *action == act.action);
                (0, place.and_then(|place| i64::try_from(place).ok()))
            }
            Self::Gap(_) => (GAP, None),
            Self::Refusal(_) => (2, None),
            Self::SessionStart(_) => (START, None),
            Self::SessionEnd(_) => (END, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Class, Entry, KINDS, encode};
    use aegis_types::{Event, Gap, GapReason, SessionEnd, SessionId, What};

    fn event(what: What) -> Event {
        Event { at: Timestamp::from_nanos(7), mono_us: 7, what }
    }

    fn gap() -> What {
        What::Gap(Gap { detail: "x".into(), process: None, reason: GapReason::Limit })
    }

    fn end() -> What {
        let counts = Action::ALL.iter().map(|action| (*action, 1)).collect();
        What::SessionEnd(Box::new(SessionEnd { counts, duration_us: 1, exit: None, failure: None, gaps: 0 }))
    }

    #[test]
    fn outlines_have_the_places_of_the_kinds() {
        for (what, kind) in [(gap(), GAP), (end(), END)] {
            assert_eq!(i64::from(Class::of(&what).kind), kind);
        }
        assert_eq!(KINDS[usize::try_from(START).unwrap()], "session_start");
    }

    #[test]
    fn every_event_is_written_in_canonical_form() {
        for what in [gap(), end()] {
            let bytes = encode(&event(what)).unwrap();
            assert!(aegis_proof::is_canonical(&bytes), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn an_index_that_lies_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&folder.path().join("audit.db")).unwrap();
        let session = SessionId::at(Timestamp::from_nanos(7));
        let entries: Vec<Entry> = [gap(), end()]
            .into_iter()
            .map(|what| Entry::new(session, "observer", &event(what)).unwrap())
            .collect();
        ledger.append(&entries).unwrap();
        assert!(ledger.verify().unwrap().is_good());
        for (lie, truth) in [
            ("UPDATE records SET session = 9 WHERE seq = 1", "UPDATE records SET session = 1 WHERE seq = 1"),
            ("UPDATE sessions SET end_seq = 1", "UPDATE sessions SET end_seq = 2"),
            ("UPDATE sessions SET end_seq = 3", "UPDATE sessions SET end_seq = 2"),
            ("UPDATE sessions SET end_seq = NULL", "UPDATE sessions SET end_seq = 2"),
            ("UPDATE sessions SET start_seq = 2", "UPDATE sessions SET start_seq = NULL"),
            ("UPDATE records SET kind = 0 WHERE seq = 1", "UPDATE records SET kind = 1 WHERE seq = 1"),
            ("DELETE FROM sessions", "SELECT 1"),
        ] {
            ledger.connection.execute(lie, []).unwrap();
            assert!(ledger.verify().unwrap().index_fault.is_some(), "{lie}");
            ledger.connection.execute_batch(truth).unwrap();
        }
    }
}
