//! A ledger as it is stored: records and checkpoints as exact bytes, and the proof of one entry.

use aegis_proof::{Hash, Inclusion, leaf, tree};
use rusqlite::OptionalExtension as _;

use crate::LedgerError;
use crate::store::Ledger;

/// A piece of a ledger.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// A record.
    Record(&'a [u8]),
    /// A checkpoint, as a note; behind the record that it covers as its last.
    Checkpoint(&'a str),
}

impl Ledger {
    /// Gives all records and checkpoints, in order; constant memory.
    ///
    /// # Errors
    /// The ledger can't be read, or `each` fails.
    pub fn pieces<E: From<LedgerError>>(
        &self,
        mut each: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let get = |e| E::from(self.explain(e));
        // One view of both tables, whoever writes meanwhile.
        let _view = self.connection.unchecked_transaction().map_err(get)?;
        // Where the numbers are the same, the record comes first.
        let sql = "SELECT seq, 0, record FROM records UNION ALL SELECT size, 1, note FROM checkpoints ORDER BY 1, 2";
        let mut statement = self.connection.prepare(sql).map_err(get)?;
        let mut rows = statement.query([]).map_err(get)?;
        while let Some(row) = rows.next().map_err(get)? {
            let bytes = row.get_ref(2).map_err(get)?.as_bytes().unwrap_or_default();
            if row.get::<_, i64>(1).map_err(get)? == 0 {
                each(Piece::Record(bytes))?;
            } else {
                each(Piece::Checkpoint(&String::from_utf8_lossy(bytes)))?;
            }
        }
        Ok(())
    }

    /// Returns the latest checkpoint, as a note, and how many records it covers.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub fn latest_checkpoint(&self) -> Result<Option<(u64, String)>, LedgerError> {
        let sql = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1";
        self.checkpoint(sql, [])
    }

    fn checkpoint(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Option<(u64, String)>, LedgerError> {
        let found = self
            .connection
            .query_row(sql, parameters, |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
            .optional()
            .map_err(|e| self.explain(e))?;
        Ok(found.map(|(size, note)| (u64::try_from(size).unwrap_or(0), note)))
    }

    /// Makes the proof that an entry is in the ledger, by the first checkpoint that covers it; nothing where none does
    /// yet, or there is no such entry.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub fn prove(&self, seq: u64) -> Result<Option<Inclusion>, LedgerError> {
        let get = |e| self.explain(e);
        let number = i64::try_from(seq).unwrap_or(i64::MAX);
        let _view = self.connection.unchecked_transaction().map_err(get)?;
        let record: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT record FROM records WHERE seq = ?1", [number], |row| row.get(0))
            .optional()
            .map_err(get)?;
        let sql = "SELECT size, note FROM checkpoints WHERE size >= ?1 ORDER BY size LIMIT 1";
        let (Some(record), Some((size, note))) = (record, self.checkpoint(sql, [number])?) else {
            return Ok(None);
        };
        let mut statement =
            self.connection.prepare("SELECT record FROM records ORDER BY seq").map_err(get)?;
        let mut rows = statement.query([]).map_err(get)?;
        let mut next = || -> Result<Hash, LedgerError> {
            let missing =
                || LedgerError::Unreadable { seq: size, detail: "entries before it are missing".into() };
            let row = rows.next().map_err(get)?.ok_or_else(missing)?;
            Ok(leaf(row.get_ref(0).map_err(get)?.as_blob().unwrap_or_default()))
        };
        let index = seq.saturating_sub(1);
        let path = tree::inclusion(index, size, &mut next)?;
        Ok(Some(Inclusion { record, index, path, note }))
    }
}
