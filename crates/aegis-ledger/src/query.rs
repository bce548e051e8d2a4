//! Reading a ledger: entries that match, sessions, and what comes in while one reads.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use aegis_proof::{Header, leaf};
use aegis_types::{Action, Event, Resource, SessionEnd, SessionId, SessionStart, Timestamp, What};
use globset::GlobMatcher;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use crate::LedgerError;
use crate::store::{KINDS, Ledger};

/// One entry, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place in the chain.
    pub header: Header,
    /// Its leaf hash.
    pub hash: aegis_proof::Hash,
    /// What it says.
    pub event: Event,
}

/// Which entries are wanted; what is not set does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those with a larger number.
    pub after: u64,
    /// Only those of this session.
    pub session: Option<SessionId>,
    /// Only actions, of this kind.
    pub action: Option<Action>,
    /// Only those from this time on.
    pub since: Option<Timestamp>,
    /// Only those before this time.
    pub until: Option<Timestamp>,
    /// Only those of this process.
    pub pid: Option<u32>,
    /// Only those on a path that fits.
    pub path: Option<PathPattern>,
    /// Only those about which the policies would have decided so.
    pub would: Option<aegis_types::Decision>,
    /// Only those with this decision.
    pub decision: Option<aegis_types::Decision>,
}

/// A pattern for paths: `*` within a component, `**` across, `?`, `[...]`, `{a,b}`.
#[derive(Debug, Clone)]
pub struct PathPattern(GlobMatcher);

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is none.
    pub fn new(pattern: &str) -> Result<Self, LedgerError> {
        globset::GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map(|glob| Self(glob.compile_matcher()))
            .map_err(|e| LedgerError::Pattern { pattern: pattern.to_owned(), detail: e.kind().to_string() })
    }

    fn matches(&self, path: &aegis_types::Text) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        self.0.is_match(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }
}

/// The entries of a session; its id is to be given three times. They stand between its start and its end, among
/// those of others; without a start or an end, from or up to wherever.
const OF_SESSION: &str = "session = (SELECT id FROM sessions WHERE uuid = ?)
    AND seq >= coalesce((SELECT start_seq FROM sessions WHERE uuid = ?), 0)
    AND seq <= coalesce((SELECT end_seq FROM sessions WHERE uuid = ?), 9223372036854775807)";

/// What a ledger says of policies: kinds by their places in [`KINDS`]. `+seq` keeps SQLite to the index; in the order of
/// the table it would read all of it, at each start of a session.
const OF_POLICIES: &str = "SELECT seq, record FROM records WHERE kind >= 8 ORDER BY +seq";

/// The texts alone, of which there are few however many sessions there were. The first condition is the index's own.
const OF_TEXTS: &str = "SELECT seq, record FROM records WHERE kind >= 8 AND kind = 9 ORDER BY +seq";

impl Filter {
    fn accepts(&self, event: &Event) -> bool {
        let (process, resource, decision, would) = match &event.what {
            What::Action(act) => (Some(&act.process), Some(&act.resource), Some(act.decision), act.would),
            What::Gap(gap) => (gap.process.as_ref(), None, None, None),
            What::Refusal(refusal) => (Some(&refusal.process), None, None, None),
            What::LedgerStart(_)
            | What::Seal(_)
            | What::Seam(_)
            | What::PolicyFault(_)
            | What::PolicySet(_)
            | What::PolicyText(_)
            | What::SessionEnd(_)
            | What::SessionStart(_) => (None, None, None, None),
        };
        let path = match resource {
            Some(Resource::Path(path) | Resource::Unix(path)) => Some(path),
            Some(Resource::Program(program)) => Some(&program.exe),
            _ => None,
        };
        self.pid.is_none_or(|pid| process.is_some_and(|p| p.pid == pid))
            && self.would.is_none_or(|wanted| would == Some(wanted))
            && self.decision.is_none_or(|wanted| decision == Some(wanted))
            && self.path.as_ref().is_none_or(|pattern| path.is_some_and(|p| pattern.matches(p)))
    }

    /// The part that SQL can decide.
    fn sql(&self) -> (String, Vec<Value>) {
        let mut clauses = vec!["seq > ?"];
        let number = |n: u64| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let mut values = vec![number(self.after)];
        if let Some(session) = self.session {
            clauses.push(OF_SESSION);
            values.extend(std::iter::repeat_n(Value::Text(session.to_string()), 3));
        }
        if let Some(action) = self.action {
            let place = Action::ALL.iter().position(|a| *a == action).unwrap_or(usize::MAX);
            clauses.push("action = ?");
            values.push(number(place as u64));
        }
        if let Some(since) = self.since {
            clauses.push("at >= ?");
            values.push(Value::Integer(since.as_nanos()));
        }
        if let Some(until) = self.until {
            clauses.push("at < ?");
            values.push(Value::Integer(until.as_nanos()));
        }
        (clauses.join(" AND "), values)
    }
}

fn read(seq: i64, record: &[u8]) -> Result<Row, LedgerError> {
    let bad = |detail: String| LedgerError::Unreadable { seq: u64::try_from(seq).unwrap_or(0), detail };
    let parsed = aegis_proof::record::parse::<Event>(record).map_err(|e| bad(e.to_string()))?;
    let header = parsed.header().map_err(|e| bad(e.to_string()))?;
    Ok(Row { header, hash: leaf(record), event: parsed.event })
}

impl Ledger {
    /// Gives each entry that matches to `each`, in order, until it says to stop; constant memory.
    ///
    /// # Errors
    /// The ledger or an entry can't be read.
    pub fn each(
        &self,
        filter: &Filter,
        mut each: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        self.scan(filter, "ASC", |row| Ok(each(row)))
    }

    /// Returns the last `count` entries that match, in order.
    ///
    /// # Errors
    /// The ledger or an entry can't be read.
    pub fn last(&self, filter: &Filter, count: usize) -> Result<Vec<Row>, LedgerError> {
        let mut rows = Vec::new();
        if count == 0 {
            return Ok(rows);
        }
        self.scan(filter, "DESC", |row| {
            rows.push(row);
            Ok(if rows.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        rows.reverse();
        Ok(rows)
    }

    fn scan(
        &self,
        filter: &Filter,
        order: &str,
        mut each: impl FnMut(Row) -> Result<ControlFlow<()>, LedgerError>,
    ) -> Result<(), LedgerError> {
        let (clauses, values) = filter.sql();
        let sql = format!("SELECT seq, record FROM records WHERE {clauses} ORDER BY seq {order}");
        let mut statement = self.connection.prepare(&sql).map_err(|e| self.explain(e))?;
        let mut rows = statement.query(params_from_iter(values)).map_err(|e| self.explain(e))?;
        while let Some(row) = rows.next().map_err(|e| self.explain(e))? {
            let seq: i64 = row.get(0).map_err(|e| self.explain(e))?;
            let record = row.get_ref(1).map_err(|e| self.explain(e))?.as_blob().unwrap_or_default();
            let row = read(seq, record)?;
            if filter.accepts(&row.event) && each(row)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the number of the last entry, 0 where there is none.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub fn last_seq(&self) -> Result<u64, LedgerError> {
        let last: Option<i64> = self
            .connection
            .query_row("SELECT max(seq) FROM records", [], |row| row.get(0))
            .map_err(|e| self.explain(e))?;
        Ok(last.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
    }

    /// Returns a number that changes when another connection commits.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub fn data_version(&self) -> Result<i64, LedgerError> {
        self.connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(|e| self.explain(e))
    }

    /// Returns the sessions, oldest first.
    ///
    /// # Errors
    /// The ledger or an entry can't be read.
    pub fn sessions(&self) -> Result<Vec<SessionRow>, LedgerError> {
        let sql = "SELECT uuid, s.record, s.seq, e.record, e.seq FROM sessions
                   JOIN records s ON s.seq = start_seq LEFT JOIN records e ON e.seq = end_seq ORDER BY start_seq";
        let mut statement = self.connection.prepare(sql).map_err(|e| self.explain(e))?;
        let mut rows = statement.query([]).map_err(|e| self.explain(e))?;
        let mut sessions = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.explain(e))? {
            let get = |e| self.explain(e);
            let record = |at: usize| -> Result<Option<Row>, LedgerError> {
                let seq: Option<i64> = row.get(at + 1).map_err(get)?;
                let bytes = row.get_ref(at).map_err(get)?.as_blob_or_null().unwrap_or_default();
                seq.zip(bytes).map(|(seq, bytes)| read(seq, bytes)).transpose()
            };
            if let Some(session) = SessionRow::new(record(1)?, record(3)?) {
                sessions.push(session);
            }
        }
        Ok(sessions)
    }

    /// Gives what the ledger says of policies to `each`, in order: sets, texts, faults.
    ///
    /// # Errors
    /// The ledger or an entry can't be read.
    pub fn each_of_policies(&self, each: impl FnMut(Row)) -> Result<(), LedgerError> {
        self.each_of(OF_POLICIES, each)
    }

    fn each_of(&self, sql: &str, mut each: impl FnMut(Row)) -> Result<(), LedgerError> {
        let mut statement = self.connection.prepare(sql).map_err(|e| self.explain(e))?;
        let mut rows = statement.query([]).map_err(|e| self.explain(e))?;
        while let Some(row) = rows.next().map_err(|e| self.explain(e))? {
            let seq: i64 = row.get(0).map_err(|e| self.explain(e))?;
            let record = row.get_ref(1).map_err(|e| self.explain(e))?.as_blob().unwrap_or_default();
            each(read(seq, record)?);
        }
        Ok(())
    }

    /// Returns the SHA-256 of every policy text that is in the ledger as a whole.
    ///
    /// # Errors
    /// The ledger or an entry can't be read.
    pub fn policy_texts(&self) -> Result<HashSet<String>, LedgerError> {
        let mut texts = HashSet::new();
        // Parts of several sessions may stand among each other.
        let mut parts: HashMap<(String, String), u64> = HashMap::new();
        self.each_of(OF_TEXTS, |row| {
            if let What::PolicyText(text) = row.event.what {
                let seen = parts.entry((row.header.session, text.sha256.clone())).or_default();
                *seen = if text.part == *seen + 1 { text.part } else { 0 };
                if *seen == text.parts {
                    texts.insert(text.sha256);
                }
            }
        })?;
        Ok(texts)
    }

    /// Returns how many entries of each action and of gaps a session has so far.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub fn counts(
        &self,
        session: SessionId,
    ) -> Result<(std::collections::BTreeMap<Action, u64>, u64), LedgerError> {
        let sql =
            format!("SELECT kind, action, count(*) FROM records WHERE {OF_SESSION} GROUP BY kind, action");
        let mut statement = self.connection.prepare(&sql).map_err(|e| self.explain(e))?;
        let uuid = session.to_string();
        let mut rows = statement.query([&uuid, &uuid, &uuid]).map_err(|e| self.explain(e))?;
        let (mut counts, mut gaps) = (std::collections::BTreeMap::new(), 0);
        while let Some(row) = rows.next().map_err(|e| self.explain(e))? {
            let get = |e| self.explain(e);
            let kind: u8 = row.get(0).map_err(get)?;
            let count = u64::try_from(row.get::<_, i64>(2).map_err(get)?).unwrap_or(0);
            let action: Option<u8> = row.get(1).map_err(get)?;
            if let Some(action) = action.and_then(|place| Action::ALL.get(usize::from(place))) {
                counts.insert(*action, count);
            }
            if KINDS.get(usize::from(kind)) == Some(&"gap") {
                gaps += count;
            }
        }
        Ok((counts, gaps))
    }
}

/// A session, as its own records tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// When it started.
    pub started_at: Timestamp,
    /// What it said at its start.
    pub start: SessionStart,
    /// When it ended, and what it said then; nothing while it lives.
    pub end: Option<(Timestamp, SessionEnd)>,
    /// Numbers of its first entry, and of its last where it has ended.
    pub span: (u64, Option<u64>),
}

impl SessionRow {
    fn new(start: Option<Row>, end: Option<Row>) -> Option<Self> {
        let Row { header, event, .. } = start?;
        let What::SessionStart(said) = event.what else { return None };
        let end_seq = end.as_ref().map(|row| row.header.seq);
        let end = end.and_then(|row| match row.event.what {
            What::SessionEnd(said) => Some((row.event.at, *said)),
            _ => None,
        });
        Some(Self {
            id: header.session.parse().ok()?,
            started_at: event.at,
            start: *said,
            end,
            span: (header.seq, end_seq),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Custody;

    #[test]
    fn what_is_said_of_policies_is_found_by_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let ledger = Ledger::open(&path, &Custody::of(folder.path(), &path, Vec::new())).unwrap();
        for sql in [OF_POLICIES, OF_TEXTS] {
            let plan = format!("EXPLAIN QUERY PLAN {sql}");
            let step: String = ledger.connection.query_row(&plan, [], |row| row.get(3)).unwrap();
            assert!(step.contains("USING INDEX policies"), "{step}");
        }
        assert_eq!(KINDS[9], "policy_text");
        assert!(KINDS[8..].iter().all(|kind| kind.starts_with("policy_")));
    }
}
