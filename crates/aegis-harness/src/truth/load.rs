//! Reads and writes lines of truth, and reads what Aegis exported.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::line::{Record, TruthLine};

/// Writes `lines` to a new file, one JSON object a line.
///
/// # Errors
///
/// Fails where the file is there already or can't be written.
pub fn write_truth(path: &Path, lines: &[TruthLine]) -> io::Result<()> {
    let mut file = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(path)?);
    for line in lines {
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Reads every `truth.*.jsonl` of a folder.
///
/// # Errors
///
/// Fails where the folder can't be read, holds no such file, or a line is none of truth.
pub fn load_truth(folder: &Path) -> io::Result<Vec<TruthLine>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("truth.") && name.ends_with(".jsonl")) {
            files.push(folder.join(name));
        }
    }
    if files.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no truth in `{}`", folder.display())));
    }
    files.sort();
    let mut lines = Vec::new();
    for path in files {
        for_each_line(&path, |text| {
            lines.push(serde_json::from_str(text)?);
            Ok(())
        })?;
    }
    Ok(lines)
}

/// Reads the records of kind `action` from a file of `aegis audit export --format jsonl`.
///
/// # Errors
///
/// Fails where the file can't be read or a line is no record.
pub fn load_records(path: &Path) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for_each_line(path, |text| {
        records.extend(parse_record(text)?);
        Ok(())
    })?;
    Ok(records)
}

/// Returns the record of a line, or nothing where it is of another kind than `action`.
///
/// # Errors
///
/// Fails where the line is no record.
pub fn parse_record(text: &str) -> serde_json::Result<Option<Record>> {
    #[derive(Deserialize)]
    struct Head {
        kind: String,
    }
    if serde_json::from_str::<Head>(text)?.kind == "action" {
        serde_json::from_str(text).map(Some)
    } else {
        Ok(None)
    }
}

fn for_each_line(path: &Path, mut take: impl FnMut(&str) -> serde_json::Result<()>) -> io::Result<()> {
    for (number, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        let line = line?;
        if !line.is_empty() {
            take(&line).map_err(|error| damaged(path.to_owned(), number + 1, &error))?;
        }
    }
    Ok(())
}

fn damaged(path: PathBuf, number: usize, error: &serde_json::Error) -> io::Error {
    let path = path.into_os_string().to_string_lossy().into_owned();
    io::Error::new(io::ErrorKind::InvalidData, format!("{path}:{number}: {error}"))
}
