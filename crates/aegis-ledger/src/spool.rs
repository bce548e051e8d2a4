//! The spool: where an event stands before the call it tells of goes on.
//!
//! Files `spool-00000001`, `spool-00000002` ... in the session's folder, each a
//! [`Segment`]. An entry is a kind byte, the event's number as eight
//! little-endian bytes, and the event's canonical bytes; [`Kind::Ended`] has the word of an outcome in place of an
//! event, or nothing for `ok`, and says how the event of that number ended.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aegis_sys::segment::{ENTRY_HEADER, Mapping, Segment};
use aegis_types::Outcome;

/// The first segment is small, so that a short session does not reserve what it never uses.
const FIRST_SEGMENT: usize = 256 << 10;
const SEGMENT: usize = 1 << 20;

/// How many segments may be waiting for the ledger: then the agent is slowed.
const SEGMENTS_MAX: u64 = 64;

/// What an entry of the spool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event, complete.
    Event,
    /// An event about whose outcome there may soon be evidence.
    Waiting,
    /// An event whose outcome will be told: it is just being executed.
    Executing,
    /// How the event of this number ended.
    Ended,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Event => b'E',
            Kind::Waiting => b'W',
            Kind::Executing => b'X',
            Kind::Ended => b'T',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Kind::Event, Kind::Waiting, Kind::Executing, Kind::Ended]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// Returns the outcome that the bytes of a [`Kind::Ended`] say.
#[must_use]
pub fn outcome_of(bytes: &[u8]) -> Option<Outcome> {
    match std::str::from_utf8(bytes) {
        Ok("") => Some(Outcome::Ok),
        Ok(word) => Outcome::from_word(word),
        Err(_) => None,
    }
}

const PREFIX: usize = 9;

/// The writing end.
#[derive(Debug)]
pub struct Spool {
    active: Segment,
    /// The number of the active segment.
    number: u64,
}

/// The next segment, made ahead of need. Whoever appends may not be able to make one: a thread that enforces has no
/// way into the Aegis home.
#[derive(Debug)]
pub struct Spare {
    folder: PathBuf,
    /// The number that it has or will have.
    number: u64,
    segment: Option<Segment>,
    /// Why it could not be made.
    failed: Option<io::Error>,
}

/// Why an entry could not be taken.
#[derive(Debug)]
pub enum Full {
    /// The ledger is behind by all the segments there may be.
    Behind,
    /// The disk has no room for another segment.
    Disk(io::Error),
    /// The next segment is being made by another thread.
    NotReady,
}

/// Removes the segments of a folder before this one: their events are in the ledger.
pub fn discard_before(folder: &Path, number: u64) {
    for old in (1..number).rev() {
        if std::fs::remove_file(segment_path(folder, old)).is_err() {
            break;
        }
    }
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("spool-{number:08}"))
}

impl Spare {
    /// Makes the segment, if it is not there, and returns its memory to get that ready.
    ///
    /// # Errors
    /// It could not be made. It is tried again when it is needed.
    pub fn make(&mut self) -> io::Result<Option<Arc<Mapping>>> {
        if self.segment.is_some() {
            return Ok(None);
        }
        let segment = Segment::create(&segment_path(&self.folder, self.number), SEGMENT)?;
        let mapping = segment.mapping();
        self.segment = Some(segment);
        Ok(Some(mapping))
    }

    /// Makes the segment for those who can't, and keeps for them why it could not be made.
    pub fn make_for_others(&mut self) -> Option<Arc<Mapping>> {
        match self.make() {
            Ok(mapping) => mapping,
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    /// Says whether it is there.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.segment.is_some()
    }
}

impl Spool {
    /// Makes a spool in a folder that has none.
    ///
    /// # Errors
    /// The first segment could not be made.
    pub fn create(folder: &Path) -> io::Result<(Self, Spare)> {
        let active = Segment::create(&segment_path(folder, 1), FIRST_SEGMENT)?;
        let spare = Spare { folder: folder.to_path_buf(), number: 2, segment: None, failed: None };
        Ok((Self { active, number: 1 }, spare))
    }

    /// Returns the number of the segment that is in use.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the memory of the segment that is in use.
    #[must_use]
    pub fn mapping(&self) -> Arc<Mapping> {
        self.active.mapping()
    }

    /// Says whether the next segment should be there: making it takes a while, and the one in use is half full.
    #[must_use]
    pub fn wants_spare(&self) -> bool {
        self.active.is_half_used()
    }

    /// Appends an entry. `oldest` is the number of the first segment that is not yet in the ledger; `spare` gives the
    /// next one, which is made here where `may_make` says that it can be.
    ///
    /// # Errors
    /// There is no room; nothing was appended and the same call can be made again.
    pub fn append(
        &mut self,
        kind: Kind,
        n: u64,
        event: &[u8],
        oldest: u64,
        spare: &Mutex<Spare>,
        may_make: bool,
    ) -> Result<(), Full> {
        let mut head = [0; PREFIX];
        let (byte, number) = head.split_at_mut(1);
        byte.copy_from_slice(&[kind.byte()]);
        number.copy_from_slice(&n.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head);
        hasher.update(event);
        let checksum = hasher.finalize();
        if self.active.append(&head, event, checksum) {
            return Ok(());
        }
        if self.number + 1 >= oldest + SEGMENTS_MAX {
            return Err(Full::Behind);
        }
        let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
        if may_make {
            spare.make().map_err(Full::Disk)?;
        }
        self.active = match (spare.segment.take(), spare.failed.take()) {
            (Some(next), _) => next,
            (None, Some(error)) => return Err(Full::Disk(error)),
            (None, None) => return Err(Full::NotReady),
        };
        spare.number += 1;
        self.number += 1;
        // A record has at most 65,535 bytes: it fits an empty segment.
        if self.active.append(&head, event, checksum) { Ok(()) } else { Err(Full::Behind) }
    }
}

/// One entry, as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    /// What it is.
    pub kind: Kind,
    /// The event's number.
    pub n: u64,
    /// The event's bytes; for [`Kind::Ended`] the word of the outcome, none for `ok`.
    pub event: Vec<u8>,
}

/// What the reading end found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// An entry.
    Entry(Spooled),
    /// Nothing more yet.
    End,
    /// An entry that is damaged; the rest of its segment can't be read.
    Damaged,
}

/// Opens a plain file; what stands in its place is not waited for.
fn open_plain(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The reading end; also over the spool of a session that is gone.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    number: u64,
    file: Option<File>,
    /// Where in the segment the next entry begins.
    offset: u64,
    /// What was read from there on, in `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// How much is read from a segment at a time.
const CHUNK: usize = 256 << 10;

impl Reader {
    /// Reads a folder's spool from its first segment that is still there.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut first = None::<u64>;
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("spool-")).and_then(|n| n.parse().ok());
            first = match (first, number) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let number = first.unwrap_or(1);
        Ok(Self {
            folder: folder.to_path_buf(),
            number,
            file: None,
            offset: 0,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
        })
    }

    /// Returns the next entry.
    ///
    /// # Errors
    /// A segment can't be read.
    pub fn read_next(&mut self) -> io::Result<Next> {
        loop {
            if self.file.is_none() {
                match open_plain(&segment_path(&self.folder, self.number)) {
                    Ok(file) => self.file = Some(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Next::End),
                    Err(error) => return Err(error),
                }
            }
            match self.entry()? {
                Next::End => {
                    // The active segment ends here for now; a full one, for good: then the next exists and is
                    // in use, or is a spare that is empty.
                    let after = segment_path(&self.folder, self.number + 1);
                    let begun = open_plain(&after).and_then(|next| {
                        let mut word = [0; 4];
                        next.read_exact_at(&mut word, 0)?;
                        Ok(word != [0; 4])
                    });
                    if !begun.unwrap_or(false) {
                        return Ok(Next::End);
                    }
                    // An entry may have come between the two looks.
                    match self.entry()? {
                        Next::End => self.advance(),
                        other => return Ok(other),
                    }
                }
                Next::Damaged => {
                    self.advance();
                    return Ok(Next::Damaged);
                }
                entry => return Ok(entry),
            }
        }
    }

    fn advance(&mut self) {
        self.number += 1;
        self.file = None;
        self.offset = 0;
        self.forget();
    }

    /// Forgets what was read ahead.
    fn forget(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Reads on until `want` bytes are there, or all there are.
    fn fill(&mut self, want: usize) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        if self.end - self.start >= want {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        let at = self.offset + self.end as u64;
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        self.end += file.read_at(room, at)?;
        Ok(self.end >= want)
    }

    fn entry(&mut self) -> io::Result<Next> {
        if !self.fill(ENTRY_HEADER)? {
            return Ok(Next::End);
        }
        let number = |bytes: Option<&[u8]>| {
            bytes.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes).unwrap_or(0)
        };
        let header = self.buffer.get(self.start..).unwrap_or_default();
        let (len, checksum) = (number(header.get(..4)) as usize, number(header.get(4..8)));
        if len == 0 {
            // What was read ahead may be stale: the next look reads again.
            self.forget();
            return Ok(Next::End);
        }
        let whole = Segment::entry_size(len);
        if len > PREFIX + aegis_proof::RECORD_MAX || !self.fill(whole)? {
            return Ok(Next::Damaged);
        }
        let from = self.start + ENTRY_HEADER;
        let payload = self.buffer.get(from..from + len).unwrap_or_default();
        self.offset += whole as u64;
        self.start += whole;
        if crc32fast::hash(payload) != checksum {
            return Ok(Next::Damaged);
        }
        let (Some(kind), Some(n), Some(event)) = (
            payload.first().copied().and_then(Kind::from_byte),
            payload.get(1..PREFIX).and_then(|n| n.try_into().ok()).map(u64::from_le_bytes),
            payload.get(PREFIX..),
        ) else {
            return Ok(Next::Damaged);
        };
        Ok(Next::Entry(Spooled { kind, n, event: event.to_vec() }))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files and processes the plain way")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(folder: &Path) -> Vec<Next> {
        let mut reader = Reader::open(folder).unwrap();
        let mut found = Vec::new();
        loop {
            match reader.read_next().unwrap() {
                Next::End => return found,
                next => found.push(next),
            }
        }
    }

    #[test]
    fn what_is_written_is_read_while_it_is_written_and_after() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, spare) = Spool::create(folder.path()).unwrap();
        let spare = Mutex::new(spare);
        let mut reader = Reader::open(folder.path()).unwrap();
        // Enough for the first segment, the second, and some more.
        let event = vec![b'x'; 60_000];
        for n in 1..=30 {
            spool.append(Kind::Event, n, &event, 1, &spare, true).unwrap();
            let expected = Spooled { kind: Kind::Event, n, event: event.clone() };
            assert_eq!(reader.read_next().unwrap(), Next::Entry(expected));
            assert_eq!(reader.read_next().unwrap(), Next::End);
        }
        assert_eq!((spool.number(), all(folder.path()).len()), (3, 30));
        discard_before(folder.path(), 3);
        assert!(all(folder.path()).len() < 10);
    }

    #[test]
    fn a_spool_that_nobody_reads_is_full_at_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, spare) = Spool::create(folder.path()).unwrap();
        let spare = Mutex::new(spare);
        let event = vec![b'x'; 65_000];
        let mut n = 0;
        while spool.append(Kind::Event, n, &event, 1, &spare, true).is_ok() {
            n += 1;
            assert!(n < 2_000, "never full");
        }
        assert!(matches!(spool.append(Kind::Event, n, &event, 1, &spare, true), Err(Full::Behind)));
        spool.append(Kind::Event, n, &event, 2, &spare, true).unwrap();
    }

    proptest! {
        #[test]
        fn a_torn_spool_gives_a_prefix_and_no_panic(cut in 0usize..8192, noise in proptest::collection::vec(any::<u8>(), 0..64)) {
            let folder = tempfile::tempdir().unwrap();
            let (mut spool, spare) = Spool::create(folder.path()).unwrap();
        let spare = Mutex::new(spare);
            for n in 1..=50 {
                spool.append(Kind::Event, n, &[b'y'; 100], 1, &spare, true).unwrap();
            }
            let path = segment_path(folder.path(), 1);
            let mut bytes = std::fs::read(&path).unwrap();
            for (index, byte) in noise.iter().enumerate() {
                bytes[cut + index] = *byte;
            }
            std::fs::write(&path, &bytes).unwrap();
            let numbers: Vec<u64> = all(folder.path()).into_iter().filter_map(|next| match next {
                Next::Entry(entry) => Some(entry.n),
                _ => None,
            }).collect();
            prop_assert!(numbers.iter().copied().eq(1..=numbers.len() as u64) );
        }
    }
}
