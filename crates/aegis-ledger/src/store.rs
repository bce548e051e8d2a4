//! The SQLite file: its tables, opening it, appending to it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_proof::audit::LEDGER;
use aegis_proof::{Frontier, Hash, Header, Origin, Producer, SecretKey, leaf, seal};
use aegis_types::{Action, Clock as _, Event, LedgerStart, SessionId, What};
use rusqlite::config::DbConfig;
use rusqlite::{
    CachedStatement, Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use crate::LedgerError;
use crate::custody::Custody;
use crate::keys::Epoch;
use crate::seal::Seal;

/// "Aegi" as a number: marks the file as ours (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x4165_6769;

/// The layout of the tables.
const FORMAT: i64 = 2;

const TABLES: &str = "
CREATE TABLE records (
    seq     INTEGER PRIMARY KEY,
    record  BLOB    NOT NULL,
    session INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    action  INTEGER
) STRICT;
CREATE TABLE checkpoints (
    size     INTEGER PRIMARY KEY,
    note     TEXT    NOT NULL,
    frontier BLOB    NOT NULL
) STRICT;
CREATE TABLE sessions (
    id        INTEGER PRIMARY KEY,
    uuid      TEXT    NOT NULL UNIQUE,
    start_seq INTEGER,
    end_seq   INTEGER
) STRICT;
CREATE TABLE producers (
    session INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (session, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX policies ON records (kind) WHERE kind >= 8;
";

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    /// The last record that this connection wrote or saw, so that the next batch need not read it again.
    head: Option<(u64, Hash)>,
    /// The tree over the first records, as many as this connection has seen.
    pub(crate) tree: Option<Frontier>,
    /// What a writer seals with; a reader has none.
    pub(crate) sealer: Option<Sealer>,
    /// Where sealing stops, in tests.
    pub(crate) fails_at: Option<crate::seal::Step>,
}

/// What a writer seals with.
#[derive(Debug)]
pub(crate) struct Sealer {
    pub(crate) custody: Custody,
    pub(crate) identity: SecretKey,
    pub(crate) origin: Origin,
}

/// Whether a commit seals all up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// Where [`SEAL_RECORDS`] are not sealed yet.
    WhenMany,
    /// Where anything is not.
    Now {
        /// The register and the anchors are told.
        told: bool,
    },
    /// In any case: silence is evidence.
    Heartbeat,
}

/// So many records are sealed at the latest.
pub const SEAL_RECORDS: u64 = 4_096;

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appended {
    /// The number of the last of the entries.
    pub seq: u64,
    /// How many records are sealed, where this commit sealed.
    pub sealed: Option<u64>,
    /// What could not be done behind a seal: a key that was not destroyed, an anchor that was not reached.
    pub trouble: Vec<String>,
}

/// An event on its way into the store, with what the index needs of it.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The session.
    pub session: SessionId,
    /// Who numbered it.
    pub producer: &'static str,
    /// Its number; `None` for the next one of its producer.
    pub n: Option<u64>,
    /// It was taken in from the spool of a session that died.
    pub recovered: bool,
    /// Its canonical bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Nanoseconds since 1970.
    pub at: i64,
    /// The kind and the action, as the index has them.
    pub class: Class,
}

/// Kind and action of an event as small numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// The kind's place in [`KINDS`].
    pub kind: u8,
    /// The action's place in [`Action::ALL`].
    pub action: Option<u8>,
}

/// Kinds of events; their places are what the index stores.
pub const KINDS: [&str; 11] = [
    "action",
    "gap",
    "refusal",
    "session_start",
    "session_end",
    "ledger_start",
    "seal",
    "seam",
    "policy_set",
    "policy_text",
    "policy_fault",
];

impl Class {
    /// Returns the class of what an event says.
    #[must_use]
    pub fn of(what: &What) -> Self {
        let place = |index: Option<usize>| index.and_then(|i| u8::try_from(i).ok());
        let action = match what {
            What::Action(act) => place(Action::ALL.iter().position(|a| *a == act.action)),
            _ => None,
        };
        Self { kind: place(KINDS.iter().position(|k| *k == what.kind())).unwrap_or(u8::MAX), action }
    }
}

impl Entry<'static> {
    /// Makes an entry of an event that is not yet numbered.
    ///
    /// # Errors
    /// The event has no canonical form.
    pub fn new(session: SessionId, producer: &'static str, event: &Event) -> Result<Self, LedgerError> {
        Ok(Self {
            session,
            producer,
            n: None,
            recovered: false,
            bytes: Cow::Owned(encode(event)?),
            at: event.at.as_nanos(),
            class: Class::of(&event.what),
        })
    }
}

/// Writes an event in canonical form: its fields are declared in that order.
pub(crate) fn encode(event: &Event) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(event).map_err(|e| LedgerError::Record(e.into()))
}

/// Returns the files that SQLite opens for a ledger. It holds locks on them that belong to the whole process: one
/// that opens and closes any of them gives them up (`fcntl_locking(2)`).
#[must_use]
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    ["", "-wal", "-shm"]
        .into_iter()
        .map(|end| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        })
        .collect()
}

/// How many pages the write-ahead log may have at the end of a session: beyond, opening it takes longer than
/// moving it.
const LOG_PAGES: i64 = 32;

/// How many pages the log may have before a commit moves it, in the way of what is to be recorded.
const LOG_PAGES_MAX: i64 = 4_096;

/// How many pages a writer keeps in memory. It appends, so it comes back to the last few only; a larger cache is
/// memory that is touched once.
const CACHE_PAGES: i64 = 64;

/// How often, and with what between, is looked for tables in a file that has none yet.
const BEGINNING_LOOKS: u32 = 30;
const BEGINNING_LOOK: Duration = Duration::from_millis(10);

/// How long to wait for another writer's commit.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

impl Ledger {
    /// Opens a ledger for writing; begins one where there is none.
    ///
    /// # Errors
    /// The file is something else, damaged, locked, or can't be written; or the home has not the identity key that the
    /// ledger was begun with.
    pub fn open(path: &Path, custody: &Custody) -> Result<Self, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        make_private(path)?;
        let mut ledger = Self::connect(path, flags)?;
        ledger.prepare_for_writing().map_err(|e| ledger.explain(e))?;
        if ledger.check_identity()? == Identity::Empty {
            ledger.begin(custody)?;
        }
        ledger.sealer = Some(ledger.sealer(custody)?);
        Ok(ledger)
    }

    /// Opens a ledger for reading.
    ///
    /// # Errors
    /// There is none, or as [`Ledger::open`].
    pub fn open_to_read(path: &Path) -> Result<Self, LedgerError> {
        if !path.exists() {
            return Err(LedgerError::Missing(path.to_path_buf()));
        }
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        // Reading a WAL needs its shared index, which a reader may have to make; a folder that can't be
        // written is still readable where nobody writes.
        let ledger = Self::connect(path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)
            .or_else(|_| Self::connect(path, flags | OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        // A first session makes the file and then begins the ledger in it: that is waited for, for a moment.
        for _ in 0..BEGINNING_LOOKS {
            if ledger.check_identity()? == Identity::Ours {
                return Ok(ledger);
            }
            std::thread::park_timeout(BEGINNING_LOOK);
        }
        Err(LedgerError::NotALedger(path.to_path_buf()))
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, LedgerError> {
        let explain = |e| LedgerError::from_sqlite(path, e);
        let connection = Connection::open_with_flags(path, flags).map_err(explain)?;
        connection.busy_timeout(PATIENCE).map_err(explain)?;
        let hostile_schema = [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
            // The write-ahead log is taken over by the next writer; doing so at each close would cost every
            // short session two more syncs.
            (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        ];
        for (option, on) in hostile_schema {
            connection.set_db_config(option, on).map_err(explain)?;
        }
        Ok(Self {
            connection,
            path: path.to_path_buf(),
            head: None,
            tree: None,
            sealer: None,
            fails_at: None,
        })
    }

    fn prepare_for_writing(&self) -> rusqlite::Result<()> {
        let mode: String = self.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode != "wal" {
            self.connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        }
        self.connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)?;
        self.connection.pragma_update(None, "cache_size", CACHE_PAGES)?;
        self.connection.pragma_update(None, "synchronous", "FULL")
    }

    fn check_identity(&self) -> Result<Identity, LedgerError> {
        let number = |pragma: &str| -> Result<i64, LedgerError> {
            self.connection.pragma_query_value(None, pragma, |row| row.get(0)).map_err(|e| self.explain(e))
        };
        match (number("application_id")?, number("user_version")?) {
            (APPLICATION_ID, FORMAT) => Ok(Identity::Ours),
            (APPLICATION_ID, found) => {
                Err(LedgerError::Version { path: self.path.clone(), found, known: FORMAT })
            }
            (0, 0) if number("schema_version")? == 0 => Ok(Identity::Empty),
            _ => Err(LedgerError::NotALedger(self.path.clone())),
        }
    }

    /// Begins a ledger: its tables, and its start, which says the keys. Those are on the disk before.
    fn begin(&mut self, custody: &Custody) -> Result<(), LedgerError> {
        let path = self.path.clone();
        let explain = |e| LedgerError::from_sqlite(&path, e);
        let identity = custody.keys.identity_or_new()?.public();
        let epoch = Epoch::first(1).map_err(|e| LedgerError::from_io(&path, e))?;
        let first = epoch.current.public();
        let origin = Origin::of(&identity, &first);
        let start = LedgerStart {
            identity: identity.to_base64(),
            key: first.to_base64(),
            origin: origin.to_string(),
        };
        let entry = ledger_entry(What::LedgerStart(start))?;
        let tx =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
        // Another process may have begun it meanwhile.
        let there: i64 = tx.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(explain)?;
        if there == 0 {
            custody.keys.epoch(&origin, PATIENCE)?.write(&epoch)?;
            custody.keys.sync()?;
            tx.execute_batch(TABLES).map_err(explain)?;
            let mut writer = Writer::new(&tx).map_err(explain)?;
            writer.append(&entry, (0, Hash::ZERO)).map_err(|e| e.explained(&path))?;
            writer.finish().map_err(explain)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(explain)?;
            tx.pragma_update(None, "user_version", FORMAT).map_err(explain)?;
        }
        tx.commit().map_err(explain)
    }

    pub(crate) fn explain(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::from_sqlite(&self.path, error)
    }

    /// Returns where the ledger is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends entries as one synced commit, and seals them where that is due.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn append(&mut self, entries: &[Entry<'_>], sealing: Sealing) -> Result<Appended, LedgerError> {
        let path = self.path.clone();
        let explain = |e| LedgerError::from_sqlite(&path, e);
        let (known, tree) = (self.head.take(), self.tree.take());
        let tx =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
        let mut head = head(&tx, known).map_err(explain)?;
        let mut tree = tree.filter(|tree| tree.size() == head.0);
        let mut writer = Writer::new(&tx).map_err(explain)?;
        for entry in entries {
            head = writer.append(entry, head).map_err(|e| e.explained(&path))?;
            if let Some(tree) = &mut tree {
                tree.push(head.1);
            }
        }
        let last = head.0;
        let sealed = match &self.sealer {
            Some(sealer) => Seal { sealer, path: &path, fails_at: self.fails_at }.seal(
                &mut writer,
                &mut head,
                &mut tree,
                sealing,
            )?,
            None => None,
        };
        writer.finish().map_err(explain)?;
        tx.commit().map_err(explain)?;
        self.head = Some(head);
        self.tree = tree;
        let mut appended = Appended { seq: last, ..Appended::default() };
        if let Some(sealed) = sealed {
            appended.sealed = Some(head.0);
            appended.trouble = self.after_seal(sealed, sealing != Sealing::Now { told: false });
        }
        Ok(appended)
    }

    /// Moves the write-ahead log into the file where it has grown: whoever opens the ledger next reads all of the
    /// log. For when nobody waits.
    ///
    /// # Errors
    /// The file can't be written; nothing is lost by that.
    pub fn tidy(&self) -> Result<(), LedgerError> {
        let frames = |mode: &str| {
            let pragma = format!("PRAGMA wal_checkpoint({mode})");
            self.connection.query_row(&pragma, [], |row| row.get::<_, i64>(1)).map_err(|e| self.explain(e))
        };
        if frames("NOOP")? > LOG_PAGES {
            // Only an empty log is known for one that has been moved. Who uses the ledger is not waited for.
            self.connection.busy_timeout(Duration::ZERO).map_err(|e| self.explain(e))?;
            frames("TRUNCATE")?;
        }
        Ok(())
    }

    /// Says whether a session's end is in the ledger, with nothing of it behind.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub fn has_ended(&self, session: SessionId) -> Result<bool, LedgerError> {
        let sql = "SELECT end_seq IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM records WHERE session = sessions.id AND seq > end_seq)
                   FROM sessions WHERE uuid = ?1";
        let ended = self.connection.query_row(sql, [session.to_string()], |row| row.get(0)).optional();
        ended.map(|ended| ended.unwrap_or(false)).map_err(|e| self.explain(e))
    }

    /// Returns the last number that a producer of a session has in the ledger, 0 where it has none.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub fn last_number(&self, session: SessionId, producer: &str) -> Result<u64, LedgerError> {
        let sql = "SELECT n FROM producers JOIN sessions ON id = session WHERE uuid = ?1 AND name = ?2";
        self.connection
            .query_row(sql, params![session.to_string(), producer], |row| row.get::<_, i64>(0))
            .optional()
            .map(|n| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
            .map_err(|e| self.explain(e))
    }
}

/// Makes an entry of what the ledger says of itself.
pub(crate) fn ledger_entry(what: What) -> Result<Entry<'static>, LedgerError> {
    let now = aegis_sys::clock::SystemClock.now();
    Entry::new(SessionId::NIL, LEDGER, &Event { at: now.wall, mono_us: now.mono_us, what })
}

/// Makes the file, for its owner only, where it is not there; SQLite gives its other files the same mode.
fn make_private(path: &Path) -> Result<(), LedgerError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(LedgerError::from_io(path, error.into())),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Ours,
    Empty,
}

/// Number and hash of the last record.
fn head(tx: &Transaction<'_>, known: Option<(u64, Hash)>) -> rusqlite::Result<(u64, Hash)> {
    let last: Option<i64> = tx.query_row("SELECT max(seq) FROM records", [], |row| row.get(0))?;
    let Some(last) = last else { return Ok((0, Hash::ZERO)) };
    let seq = u64::try_from(last).unwrap_or(0);
    if let Some((known_seq, hash)) = known
        && known_seq == seq
    {
        return Ok((seq, hash));
    }
    let record: Vec<u8> =
        tx.query_row("SELECT record FROM records WHERE seq = ?1", [last], |row| row.get(0))?;
    Ok((seq, leaf(&record)))
}

/// The state of one batch.
pub(crate) struct Writer<'t> {
    pub(crate) tx: &'t Transaction<'t>,
    insert: CachedStatement<'t>,
    sessions: Vec<Known>,
    /// The session and producer of the last entry: mostly, the next is of the same, and their texts stay.
    of: Option<(i64, &'static str)>,
    header: Header,
}

/// Why an entry was not appended.
#[derive(Debug)]
pub(crate) enum NotAppended {
    Store(rusqlite::Error),
    Record(aegis_proof::RecordError),
}

impl From<rusqlite::Error> for NotAppended {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

impl NotAppended {
    pub(crate) fn explained(self, path: &Path) -> LedgerError {
        match self {
            Self::Store(error) => LedgerError::from_sqlite(path, error),
            Self::Record(error) => error.into(),
        }
    }
}

/// A session of the batch, with its row and the counters of its producers.
struct Known {
    uuid: SessionId,
    id: i64,
    counters: Vec<(&'static str, u64)>,
}

impl<'t> Writer<'t> {
    fn new(tx: &'t Transaction<'t>) -> rusqlite::Result<Self> {
        let insert = tx.prepare_cached(
            "INSERT INTO records (seq, record, session, at, kind, action) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let producer = Producer { id: String::new(), lost: 0, n: 0 };
        let header = Header { prev: Hash::ZERO, producer, recovered: false, seq: 0, session: String::new() };
        Ok(Self { tx, insert, sessions: Vec::new(), of: None, header })
    }

    /// Appends an entry behind the head, and returns the new one.
    pub(crate) fn append(
        &mut self,
        entry: &Entry<'_>,
        head: (u64, Hash),
    ) -> Result<(u64, Hash), NotAppended> {
        let session = self.session(entry.session)?;
        let (n, lost) = self.count(session, entry)?;
        if self.of.replace((session, entry.producer)) != Some((session, entry.producer)) {
            entry.producer.clone_into(&mut self.header.producer.id);
            self.header.session = entry.session.to_string();
        }
        self.header.seq = head.0 + 1;
        self.header.prev = head.1;
        self.header.recovered = entry.recovered;
        self.header.producer.n = n;
        self.header.producer.lost = lost;
        let sealed = seal(&self.header, &entry.bytes).map_err(NotAppended::Record)?;
        self.insert(self.header.seq, session, entry, &sealed.bytes)?;
        Ok((self.header.seq, sealed.leaf))
    }

    fn session(&mut self, uuid: SessionId) -> rusqlite::Result<i64> {
        if uuid == SessionId::NIL && !self.sessions.iter().any(|known| known.uuid == uuid) {
            // What the ledger says of itself is of no session that the table has.
            self.sessions.push(Known { uuid, id: 0, counters: Vec::new() });
        }
        if let Some(known) = self.sessions.iter().find(|known| known.uuid == uuid) {
            return Ok(known.id);
        }
        let text = uuid.to_string();
        self.tx.prepare_cached("INSERT OR IGNORE INTO sessions (uuid) VALUES (?1)")?.execute([&text])?;
        let id = self
            .tx
            .prepare_cached("SELECT id FROM sessions WHERE uuid = ?1")?
            .query_row([&text], |row| row.get(0))?;
        self.sessions.push(Known { uuid, id, counters: Vec::new() });
        Ok(id)
    }

    /// Returns the entry's number and how many before it are missing, and moves its producer's counter there.
    fn count(&mut self, session: i64, entry: &Entry<'_>) -> rusqlite::Result<(u64, u64)> {
        let sql = "SELECT n FROM producers WHERE session = ?1 AND name = ?2";
        let known = self.sessions.iter_mut().find(|known| known.id == session);
        let counters = known.map(|known| &mut known.counters);
        let at = counters.as_ref().and_then(|c| c.iter().position(|(name, _)| *name == entry.producer));
        let Some(counters) = counters else { return Ok((0, 0)) };
        let last = match at.and_then(|at| counters.get(at)) {
            Some((_, last)) => *last,
            None => {
                let mut query = self.tx.prepare_cached(sql)?;
                let last: Option<i64> =
                    query.query_row(params![session, entry.producer], |row| row.get(0)).optional()?;
                last.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
            }
        };
        let n = entry.n.unwrap_or(last + 1);
        match at.and_then(|at| counters.get_mut(at)) {
            Some((_, counter)) => *counter = n,
            None => counters.push((entry.producer, n)),
        }
        Ok((n, n.saturating_sub(last + 1)))
    }

    fn insert(&mut self, seq: u64, session: i64, entry: &Entry<'_>, record: &[u8]) -> rusqlite::Result<()> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        self.insert.execute(params![seq, record, session, entry.at, entry.class.kind, entry.class.action])?;
        let column = match KINDS.get(usize::from(entry.class.kind)) {
            Some(&"session_start") => "start_seq",
            Some(&"session_end") => "end_seq",
            _ => return Ok(()),
        };
        self.tx
            .execute(&format!("UPDATE sessions SET {column} = ?1 WHERE id = ?2"), params![seq, session])?;
        Ok(())
    }

    fn finish(self) -> rusqlite::Result<()> {
        let mut put = self
            .tx
            .prepare_cached("INSERT OR REPLACE INTO producers (session, name, n) VALUES (?1, ?2, ?3)")?;
        for known in &self.sessions {
            for (name, n) in &known.counters {
                put.execute(params![known.id, name, i64::try_from(*n).unwrap_or(i64::MAX)])?;
            }
        }
        Ok(())
    }
}
