//! Checking a whole ledger: the chain, and the index against it.

use aegis_proof::{Chain, Fault, Hash};
use aegis_types::Event;

use crate::LedgerError;
use crate::store::{Class, KINDS, Ledger};

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
        let sql = "SELECT seq, record, at, kind, action, uuid, start_seq, end_seq FROM records
                   LEFT JOIN sessions ON id = session ORDER BY seq";
        let mut statement = self.connection.prepare(sql).map_err(|e| self.explain(e))?;
        let mut rows = statement.query([]).map_err(|e| self.explain(e))?;
        while let Some(row) = rows.next().map_err(|e| self.explain(e))? {
            let get = |e| self.explain(e);
            let seq = row.get::<_, i64>(0).map_err(get)?;
            let record = row.get_ref(1).map_err(get)?.as_blob().unwrap_or_default();
            let number = u64::try_from(seq).unwrap_or(0);
            let header = match chain.push(number, record) {
                Ok(header) => header,
                Err(fault) => {
                    verdict.fault = Some(fault);
                    break;
                }
            };
            verdict.recovered += u64::from(header.recovered);
            let kind: i64 = row.get(3).map_err(get)?;
            let action: Option<i64> = row.get(4).map_err(get)?;
            verdict.gaps += u64::from(kind == 1);
            if verdict.index_fault.is_none() {
                let at: i64 = row.get(2).map_err(get)?;
                let session: Option<String> = row.get(5).map_err(get)?;
                // The session's row names its first and last record.
                let bounds: [Option<i64>; 2] = [row.get(6).map_err(get)?, row.get(7).map_err(get)?];
                let named = match KINDS.get(usize::try_from(kind).unwrap_or(usize::MAX)) {
                    Some(&"session_start") => bounds[0] == Some(seq),
                    Some(&"session_end") => bounds[1] == Some(seq),
                    _ => true,
                };
                let agrees = named && session.as_deref() == Some(&header.session);
                if !agrees || !index_agrees(record, at, kind, action) {
                    verdict.index_fault = Some(number);
                }
            }
        }
        (verdict.records, verdict.head) = chain.head();
        Ok(verdict)
    }
}

fn index_agrees(record: &[u8], at: i64, kind: i64, action: Option<i64>) -> bool {
    let Ok(parsed) = aegis_proof::record::parse::<Event>(record) else { return false };
    let class = Class::of(&parsed.event.what);
    parsed.event.at.as_nanos() == at && i64::from(class.kind) == kind && class.action.map(i64::from) == action
}
