//! Taking in what a session that died left in its spool.
//!
//! A live session holds a lock on `lock` in its folder. Where the lock can be had, the session is dead: what
//! its spool holds beyond the ledger is appended, marked `recovered`, then a gap that names the death, then
//! the session's end; then the folder goes.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use aegis_types::{Clock as _, Event, Gap, GapReason, Outcome, SessionEnd, SessionId, What};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::LedgerError;
use crate::custody::Custody;
use crate::recorder::{OBSERVER, SESSION};
use crate::spool::{Kind, Next, Reader, Spooled, outcome_of};
use crate::store::{Class, Entry, Ledger, Sealing, encode};

/// The folder of a live session, held by its lock.
#[derive(Debug)]
pub struct LiveFolder {
    path: PathBuf,
    /// Held for as long as the session lives.
    _lock: File,
}

/// The file that is locked while the session lives. It says who it is: the id of its process, a line feed, the path of
/// its ledger.
const LOCK: &str = "lock";

/// The longest file beside the spool: a number and a path (`PATH_MAX`).
const SMALL_MAX: u64 = 16 + 4096;

/// The file that says what of its policies takes effect at the next start only.
const PENDING: &str = "pending";

impl LiveFolder {
    /// Makes the folder of a session below `run`, with its lock held before it can be seen.
    ///
    /// # Errors
    /// It can't be made.
    pub fn create(run: &Path, session: SessionId, ledger: &Path) -> io::Result<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        let name = session.to_string();
        let temporary = run.join(format!(".new-{name}"));
        let folder_mode = Mode::RWXU;
        rustix::fs::mkdir(&temporary, folder_mode)?;
        let lock = open_lock(&temporary, OFlags::CREATE)?;
        if !try_lock(&lock)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let pid = std::process::id().to_string();
        (&lock).write_all(&[pid.as_bytes(), b"\n", ledger.as_os_str().as_bytes()].concat())?;
        let path = run.join(name);
        std::fs::rename(&temporary, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says for what places the policies permit something that takes effect at the next start only; of many, the first.
    ///
    /// # Errors
    /// It can't be written.
    pub fn tell_pending(&self, places: &[String]) -> io::Result<()> {
        let path = self.path.join(PENDING);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut text = String::new();
        for place in places {
            if text.len() + place.len() + 1 > SMALL_MAX as usize {
                break;
            }
            text.push_str(place);
            text.push('\0');
        }
        if text.is_empty() { Ok(()) } else { aegis_sys::files::write_plain(&path, text.as_bytes()) }
    }

    /// Removes the folder at the session's end.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.path)
    }
}

fn open_lock(folder: &Path, extra: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | extra;
    Ok(rustix::fs::open(folder.join(LOCK), flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn try_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A session folder that was found.
#[derive(Debug)]
pub struct Found {
    /// The session.
    pub session: SessionId,
    /// Its folder.
    pub folder: PathBuf,
    /// The ledger it writes.
    pub ledger: PathBuf,
    /// It is alive.
    pub alive: bool,
    /// The id of its process.
    pub pid: u32,
    /// Places for which its policies permit something that takes effect at the next start only; the first of many.
    pub pending: Vec<String>,
    lock: Option<File>,
}

/// Lists the session folders below `run`; those that are dead are held by their lock while the value lives.
///
/// # Errors
/// `run` can't be read; not where there is none.
pub fn find(run: &Path) -> io::Result<Vec<Found>> {
    use std::os::unix::ffi::OsStringExt as _;
    let entries = match std::fs::read_dir(run) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
        let Some(session) = name else { continue };
        // A session that ends meanwhile removes its folder: that is no error.
        let Ok(who) = read_small(&folder.join(LOCK)) else { continue };
        let Some(end) = who.iter().position(|byte| *byte == b'\n') else { continue };
        let (pid, ledger) = who.split_at(end);
        let pid = std::str::from_utf8(pid).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let ledger = ledger.get(1..).unwrap_or_default().to_vec();
        let pending = read_small(&folder.join(PENDING)).unwrap_or_default();
        let pending = pending.split(|byte| *byte == 0).filter(|place| !place.is_empty());
        let pending = pending.map(|place| String::from_utf8_lossy(place).into_owned()).collect();
        let Ok(lock) = open_lock(&folder, OFlags::empty()) else { continue };
        let alive = !try_lock(&lock)?;
        let ledger = PathBuf::from(std::ffi::OsString::from_vec(ledger));
        found.push(Found { session, folder, ledger, alive, pid, pending, lock: (!alive).then_some(lock) });
    }
    found.sort_by_key(|f| f.session);
    Ok(found)
}

/// Reads a file of a session's folder, whatever stands in its place: never more than a path's length, and never
/// waiting.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    file.take(SMALL_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes in what the dead sessions below `run` left for the ledger at `path`; returns how many there were.
///
/// # Errors
/// The ledger or a spool can't be read or written; what was not taken in stays where it is.
pub fn recover(run: &Path, path: &Path, custody: &Custody) -> Result<usize, LedgerError> {
    let found = find(run).map_err(|e| LedgerError::from_io(run, e))?;
    let dead: Vec<Found> = found.into_iter().filter(|f| !f.alive && f.ledger == path).collect();
    if dead.is_empty() {
        return Ok(0);
    }
    let mut ledger = Ledger::open(path, custody)?;
    for session in &dead {
        take_in(&mut ledger, session)?;
        std::fs::remove_dir_all(&session.folder).map_err(|e| LedgerError::from_io(&session.folder, e))?;
        // The lock goes with `dead`, after the folder.
        debug_assert!(session.lock.is_some());
    }
    Ok(dead.len())
}

/// How many entries go into one commit.
const BATCH: usize = 4_096;

fn take_in(ledger: &mut Ledger, found: &Found) -> Result<(), LedgerError> {
    let explain = |e| LedgerError::from_io(&found.folder, e);
    let session = found.session;
    if ledger.last_number(session, SESSION)? == 0 {
        // It died before its start was in the ledger: nothing was run.
        return Ok(());
    }
    let outcomes = outcomes(&found.folder).map_err(explain)?;
    let mut reader = Reader::open(&found.folder).map_err(explain)?;
    let mut expected = ledger.last_number(session, OBSERVER)? + 1;
    let mut batch = Vec::new();
    let mut torn = false;
    loop {
        match reader.read_next().map_err(explain)? {
            Next::Entry(Spooled { kind: Kind::Ended, .. }) => {}
            Next::Entry(entry) => {
                torn = false;
                let at = outcomes.binary_search_by_key(&entry.n, |(n, _)| *n).ok();
                let outcome = at.and_then(|at| outcomes.get(at)).map(|(_, outcome)| *outcome);
                batch.extend(to_entries(session, &entry, outcome, &mut expected)?);
            }
            Next::Damaged => torn = true,
            Next::End => break,
        }
        if batch.len() >= BATCH {
            ledger.append(&batch, Sealing::WhenMany)?;
            batch.clear();
        }
    }
    if torn {
        batch.push(gap_event(session, expected, expected, true)?);
    }
    if !batch.is_empty() {
        ledger.append(&batch, Sealing::WhenMany)?;
    }
    if !ledger.has_ended(session)? {
        ledger.append(&the_end(session)?, Sealing::WhenMany)?;
    }
    // What its process had committed and not sealed, too.
    ledger.append(&[], Sealing::Now { told: true })?;
    Ok(())
}

/// How events ended, by their numbers, sorted.
fn outcomes(folder: &Path) -> io::Result<Vec<(u64, Outcome)>> {
    let mut reader = Reader::open(folder)?;
    let mut numbers = Vec::new();
    loop {
        match reader.read_next()? {
            Next::Entry(Spooled { kind: Kind::Ended, n, event }) => {
                numbers.extend(outcome_of(&event).map(|outcome| (n, outcome)));
            }
            Next::Entry(_) | Next::Damaged => {}
            Next::End => break,
        }
    }
    numbers.sort_by_key(|(n, _)| *n);
    Ok(numbers)
}

fn the_end(session: SessionId) -> Result<[Entry<'static>; 2], LedgerError> {
    let moment = aegis_sys::clock::SystemClock.now();
    let event = |what| Event { at: moment.wall, mono_us: moment.mono_us, what };
    let detail = "the session's process died, or could not write its end".to_owned();
    let gap = What::Gap(Gap { detail: detail.clone(), process: None, reason: GapReason::SessionLost });
    let end = What::SessionEnd(Box::new(SessionEnd {
        counts: Default::default(),
        duration_us: 0,
        exit: None,
        failure: Some(detail),
        gaps: 1,
    }));
    let mut entries =
        [Entry::new(session, SESSION, &event(gap))?, Entry::new(session, SESSION, &event(end))?];
    for entry in &mut entries {
        entry.recovered = true;
    }
    Ok(entries)
}

/// Makes a spooled event an entry, with a gap before it where numbers are missing. What can't be read as an
/// event becomes a gap itself.
fn to_entries(
    session: SessionId,
    spooled: &Spooled,
    outcome: Option<Outcome>,
    expected: &mut u64,
) -> Result<Vec<Entry<'static>>, LedgerError> {
    let mut entries = Vec::with_capacity(1);
    if spooled.n < *expected {
        return Ok(entries);
    }
    let Ok(mut event) = serde_json::from_slice::<Event>(&spooled.event) else {
        let lost = gap_event(session, *expected, spooled.n, true)?;
        *expected = spooled.n + 1;
        return Ok(vec![lost]);
    };
    if spooled.n > *expected {
        entries.push(gap_event(session, *expected, spooled.n - 1, true)?);
    }
    *expected = spooled.n + 1;
    if let (Some(outcome), What::Action(act)) = (outcome, &mut event.what)
        && act.outcome == Outcome::Unknown
    {
        act.outcome = outcome;
    }
    // In canonical form, whoever wrote it into the spool.
    let bytes = Cow::Owned(encode(&event)?);
    entries.push(Entry {
        session,
        producer: OBSERVER,
        n: Some(spooled.n),
        recovered: true,
        bytes,
        at: event.at.as_nanos(),
        class: Class::of(&event.what),
    });
    Ok(entries)
}

/// A gap in place of the observer's events `first` to `last`.
fn gap_event(
    session: SessionId,
    first: u64,
    last: u64,
    recovered: bool,
) -> Result<Entry<'static>, LedgerError> {
    let moment = aegis_sys::clock::SystemClock.now();
    let detail = format!("events {first} to {last} of the observer were damaged in the spool and are lost");
    let gap = Gap { detail, process: None, reason: GapReason::SpoolDamaged };
    let event = Event { at: moment.wall, mono_us: moment.mono_us, what: What::Gap(gap) };
    let mut entry = Entry::new(session, OBSERVER, &event)?;
    entry.n = Some(last);
    entry.recovered = recovered;
    Ok(entry)
}
