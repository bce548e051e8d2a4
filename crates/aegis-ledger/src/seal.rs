//! Sealing: a record that ends an epoch, and the checkpoint that covers it, in one transaction.
//!
//! The order of steps, and what a machine that stops between them leaves, is in `docs/ledger-format.md`.

use std::path::Path;

use aegis_proof::outline::{Kind, Outline};
use aegis_proof::record::parse;
use aegis_proof::{Checkpoint, Frontier, Hash, Line, Origin, PublicKey, TrustRoot, leaf};
use aegis_types::{Seal as SealEvent, Seam, What};
use rusqlite::{OptionalExtension as _, params};

use crate::LedgerError;
use crate::custody::Custody;
use crate::keys::{Epoch, EpochFile, generate};
use crate::store::{Ledger, PATIENCE, SEAL_RECORDS, Sealer, Sealing, Writer, ledger_entry};

/// The steps of a seal, behind each of which a machine may stop. Tests let it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    KeysRead,
    KeysWritten,
    Signed,
    Committed,
    Entered,
    Advanced,
}

/// A seal in the making.
pub(crate) struct Seal<'a> {
    pub(crate) sealer: &'a Sealer,
    pub(crate) path: &'a Path,
    /// Where it stops, in tests.
    pub(crate) fails_at: Option<Step>,
}

/// A seal that is committed, and what is still to be done about it.
pub(crate) struct Sealed {
    file: EpochFile,
    epoch: Epoch,
    note: String,
    line: Line,
}

impl Seal<'_> {
    fn explain(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::from_sqlite(self.path, error)
    }

    /// Seals all up to the head, where that is due.
    pub(crate) fn seal(
        &self,
        writer: &mut Writer<'_>,
        head: &mut (u64, Hash),
        tree: &mut Option<Frontier>,
        sealing: Sealing,
    ) -> Result<Option<Sealed>, LedgerError> {
        let last: Option<i64> = writer
            .tx
            .prepare_cached("SELECT max(size) FROM checkpoints")
            .and_then(|mut query| query.query_row([], |row| row.get(0)))
            .map_err(|e| self.explain(e))?;
        let last = last.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        let open = head.0.saturating_sub(last);
        let due = match sealing {
            Sealing::WhenMany => open >= SEAL_RECORDS,
            Sealing::Now { .. } => open > 0,
            Sealing::Heartbeat => true,
        };
        if !due {
            return Ok(None);
        }
        let (due_epoch, due_key) = self.due(writer, last)?;
        let file = self.sealer.custody.keys.epoch(&self.sealer.origin, PATIENCE)?;
        self.step(Step::KeysRead)?;
        let (epoch, seam) = self.keys(&file, due_epoch, due_key)?;
        self.step(Step::KeysWritten)?;
        if let Some(detail) = seam {
            let key = epoch.current.public().to_base64();
            let entry = ledger_entry(What::Seam(Seam { detail, epoch: due_epoch, key }))?;
            *head = writer.append(&entry, *head).map_err(|e| e.explained(self.path))?;
        }
        let next = epoch.next.public().to_base64();
        let entry = ledger_entry(What::Seal(SealEvent { epoch: due_epoch, next }))?;
        *head = writer.append(&entry, *head).map_err(|e| e.explained(self.path))?;
        let frontier = self.tree(writer, tree.take(), last, head.0)?;
        let checkpoint =
            Checkpoint { origin: self.sealer.origin.clone(), size: head.0, root: frontier.root() };
        let note = checkpoint.sign(&self.sealer.identity, &epoch.current);
        let size = i64::try_from(head.0).unwrap_or(i64::MAX);
        writer
            .tx
            .prepare_cached("INSERT INTO checkpoints (size, note, frontier) VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| insert.execute(params![size, note, frontier.to_bytes()]))
            .map_err(|e| self.explain(e))?;
        *tree = Some(frontier);
        self.step(Step::Signed)?;
        let line = Line {
            origin: checkpoint.origin,
            size: checkpoint.size,
            root: checkpoint.root,
            at: aegis_types::Timestamp::from_nanos(entry.at).to_string(),
            ledger: self.sealer.custody.ledger().to_owned(),
        };
        Ok(Some(Sealed { file, epoch, note, line }))
    }

    /// Returns the epoch that is due, and its key, as the last seal says.
    fn due(&self, writer: &Writer<'_>, last: u64) -> Result<(u64, PublicKey), LedgerError> {
        let at = i64::try_from(last.max(1)).unwrap_or(i64::MAX);
        let record: Option<Vec<u8>> = writer
            .tx
            .prepare_cached("SELECT record FROM records WHERE seq = ?1")
            .and_then(|mut query| query.query_row([at], |row| row.get(0)).optional())
            .map_err(|e| self.explain(e))?;
        let damaged = || LedgerError::Unreadable {
            seq: last.max(1),
            detail: "it should say with which key the next seal is signed".to_owned(),
        };
        let record = record.ok_or_else(damaged)?;
        match parse::<Outline<'_>>(&record).map(|parsed| parsed.event.what) {
            Ok(Kind::Seal(seal)) => Ok((seal.epoch + 1, seal.next)),
            Ok(Kind::LedgerStart(start)) => Ok((1, start.key)),
            _ => Err(damaged()),
        }
    }

    /// Returns the keys to seal with, which are on the disk; and why, where they are not those that were due.
    fn keys(
        &self,
        file: &EpochFile,
        number: u64,
        due: PublicKey,
    ) -> Result<(Epoch, Option<String>), LedgerError> {
        let explain = |e| LedgerError::from_io(self.path, e);
        let lost = match file.read()? {
            Some(epoch) if epoch.number == number && epoch.current.public() == due => {
                return Ok((epoch, None));
            }
            // The machine stopped between the commit of a seal and this file's overwriting.
            Some(epoch) if epoch.number + 1 == number && epoch.next.public() == due => {
                let epoch = Epoch { number, current: epoch.next, next: generate().map_err(explain)? };
                file.write(&epoch)?;
                return Ok((epoch, None));
            }
            Some(epoch) => {
                format!("the keys of the home are of epoch {}, not the ones that are due", epoch.number)
            }
            None => "the keys of the home were lost or damaged".to_owned(),
        };
        let epoch = Epoch::first(number).map_err(explain)?;
        file.write(&epoch)?;
        Ok((epoch, Some(lost)))
    }

    /// Returns the tree over the first `size` records: goes on from what is known, at the least from the last
    /// checkpoint.
    fn tree(
        &self,
        writer: &Writer<'_>,
        known: Option<Frontier>,
        last: u64,
        size: u64,
    ) -> Result<Frontier, LedgerError> {
        let mut tree = match known {
            Some(known) => known,
            None => self.checkpointed(writer, last)?.unwrap_or_default(),
        };
        let from = i64::try_from(tree.size()).unwrap_or(i64::MAX);
        let mut query = writer
            .tx
            .prepare_cached("SELECT record FROM records WHERE seq > ?1 ORDER BY seq")
            .map_err(|e| self.explain(e))?;
        let mut rows = query.query([from]).map_err(|e| self.explain(e))?;
        while let Some(row) = rows.next().map_err(|e| self.explain(e))? {
            let record = row.get_ref(0).map_err(|e| self.explain(e))?.as_blob().unwrap_or_default();
            tree.push(leaf(record));
        }
        if tree.size() == size {
            return Ok(tree);
        }
        Err(LedgerError::Corrupt {
            path: self.path.to_path_buf(),
            detail: format!("{size} entries should be there, {} are", tree.size()),
        })
    }

    /// Reads the tree that a checkpoint left, if it is the one that was signed.
    fn checkpointed(&self, writer: &Writer<'_>, size: u64) -> Result<Option<Frontier>, LedgerError> {
        let at = i64::try_from(size).unwrap_or(i64::MAX);
        let found: Option<(String, Vec<u8>)> = writer
            .tx
            .prepare_cached("SELECT note, frontier FROM checkpoints WHERE size = ?1")
            .and_then(|mut query| query.query_row([at], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(|e| self.explain(e))?;
        let Some((note, bytes)) = found else { return Ok(None) };
        let signed = Checkpoint::verified(&note, &self.sealer.identity.public());
        let tree = Frontier::from_bytes(size, &bytes);
        Ok(tree.filter(|tree| signed.is_some_and(|signed| signed.root == tree.root())))
    }

    fn step(&self, step: Step) -> Result<(), LedgerError> {
        if self.fails_at == Some(step) { Err(LedgerError::Stopped(format!("{step:?}"))) } else { Ok(()) }
    }
}

impl Ledger {
    /// Prepares a writer's sealing: the ledger's start says with which identity.
    pub(crate) fn sealer(&self, custody: &Custody) -> Result<Sealer, LedgerError> {
        let trust = self.trust_root()?;
        let identity = custody.keys.identity()?;
        match identity {
            Some(identity) if identity.public() == trust.identity => {
                Ok(Sealer { custody: custody.clone(), identity, origin: trust.origin })
            }
            _ => Err(LedgerError::NoIdentity(custody.keys.identity_path())),
        }
    }

    /// Returns the ledger's name and identity key, as its first record says.
    ///
    /// # Errors
    /// The record can't be read or is none of a ledger's start.
    pub fn trust_root(&self) -> Result<TrustRoot, LedgerError> {
        let damaged = |detail: String| LedgerError::Unreadable { seq: 1, detail };
        let record: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT record FROM records WHERE seq = 1", [], |row| row.get(0))
            .optional()
            .map_err(|e| self.explain(e))?;
        let record = record.ok_or_else(|| damaged("it is missing".to_owned()))?;
        match parse::<Outline<'_>>(&record).map(|parsed| parsed.event.what) {
            Ok(Kind::LedgerStart(start)) if Origin::of(&start.identity, &start.key) == start.origin => {
                Ok(TrustRoot { origin: start.origin, identity: start.identity })
            }
            Ok(_) => Err(damaged("it should be the ledger's start".to_owned())),
            Err(error) => Err(damaged(error.to_string())),
        }
    }

    /// Does what follows a committed seal: the key is destroyed, the register and the anchors are told. Returns what went
    /// wrong: the seal stands all the same, and the next one makes up for it.
    pub(crate) fn after_seal(&self, sealed: Sealed, told: bool) -> Vec<String> {
        let Some(sealer) = &self.sealer else { return Vec::new() };
        let stops = |step| self.fails_at == Some(step);
        if stops(Step::Committed) {
            return Vec::new();
        }
        // Before all else: a home whose keys have gone on has a line in its register.
        if told && let Err(error) = sealer.custody.enter(&sealed.line) {
            return vec![error.to_string()];
        }
        if stops(Step::Entered) {
            return Vec::new();
        }
        let explain = |error| LedgerError::from_io(&self.path, error);
        let advanced = sealed.epoch.advance().map_err(explain).and_then(|epoch| sealed.file.write(&epoch));
        let mut trouble: Vec<String> = advanced.err().map(|error| error.to_string()).into_iter().collect();
        if told && !stops(Step::Advanced) {
            trouble.extend(sealer.custody.anchor(&sealed.note));
        }
        trouble
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files and processes the plain way")]
mod tests;
