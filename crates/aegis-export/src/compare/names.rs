//! Names without what is chance in them: process ids and the random part of temporary names.
//!
//! What stands in place of such a part begins with [`MARK`], a byte that no path has: a program can't choose a
//! name that is taken for a unified one.
//!
//! **Process ids.** `/proc/123` is `/proc/[self]` where a process names itself, and `/proc/[pid]` otherwise, so
//! that looking at oneself is never taken for looking at others. `/proc/1` is always the same process and stays.
//!
//! **Pipes and sockets** have no path but a number, `pipe:[123]`. It goes.
//!
//! **Temporary names.** A name is one only where all of this holds; anything else is compared as it is:
//!
//! - it is directly in a directory for such names: one called `tmp` or `.tmp`, `/dev/shm`, and the `T` below
//!   `/var/folders` of macOS; or it is a file that was opened as `mkstemp(3)` does, exclusively for reading and
//!   writing, and what stands before the random part says `tmp`;
//! - the session made it itself: a directory, or a file by an exclusive opening;
//! - it has the form that `mkstemp(3)` and `mkdtemp(3)` (six letters or digits), `mktemp(1)` (`tmp.` and ten),
//!   Python (eight small letters, digits or `_`) or Go (nine or ten digits) give, at its end or before a suffix
//!   like `.txt`;
//! - it, or another such name of either session with the same beginning and end, is no word and no numbered
//!   word, or has something before the random part and was removed by the session that made it. Forms that
//!   nothing else has, as Python's behind `tmp`, need not show that.

use std::collections::BTreeMap;

/// Stands before what replaces a part of a name.
pub(super) const MARK: u8 = 0;

/// Returns a name as it is shown: without marks.
pub(super) fn plain(name: &[u8]) -> Vec<u8> {
    name.iter().copied().filter(|byte| *byte != MARK).collect()
}

/// Returns a path without process ids; `own` is the process that names it.
pub(super) fn without_ids(path: &[u8], own: u32) -> Vec<u8> {
    if let Some(kind) = [b"pipe:[".as_slice(), b"socket:["].into_iter().find(|kind| path.starts_with(kind)) {
        return [kind.get(..kind.len() - 1).unwrap_or_default(), b"\0[n]"].concat();
    }
    let Some((id, rest)) = path.strip_prefix(b"/proc/").and_then(number) else { return path.to_vec() };
    let who: &[u8] = if id == own.to_string().as_bytes() {
        b"\0[self]"
    } else if id == b"1" {
        b"1"
    } else {
        b"\0[pid]"
    };
    match rest.strip_prefix(b"/task/").and_then(number) {
        Some((_, rest)) => [b"/proc/", who, b"/task/\0[tid]", rest].concat(),
        None => [b"/proc/", who, rest].concat(),
    }
}

/// Splits off a number that is a whole component, or the last thing before a blank.
fn number(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (digits, rest) = bytes.split_at(bytes.iter().take_while(|byte| byte.is_ascii_digit()).count());
    (!digits.is_empty() && matches!(rest.first(), None | Some(b'/' | b' '))).then_some((digits, rest))
}

/// Returns words without the numbers that stand alone between blanks: ids and counts.
pub(super) fn without_numbers(words: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let replaced: Vec<&str> =
        words.split(' ').map(|word| if is_number(word) { "[n]" } else { word }).collect();
    replaced.join(" ")
}

/// How a name was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// A file, opened exclusively for reading and writing.
    AsMkstemp,
    /// A directory, or a file that was opened exclusively in another way.
    Otherwise,
}

/// A name with a part that may be random.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Temporary {
    /// The path with a mark in place of that part.
    pub(super) unified: Vec<u8>,
    /// The length of that part.
    pub(super) length: usize,
    /// It was not chosen by a person.
    pub(super) is_random: bool,
}

/// How many dots a suffix may have (`.cdtor.c`).
const DOTS_MAX: usize = 2;

impl Temporary {
    /// Says whether something stands before the random part.
    pub(super) fn has_beginning(&self) -> bool {
        !self.unified.windows(2).any(|pair| pair == [b'/', MARK])
    }
}

/// Returns what a name that a session made is without its random part, where it may have one.
pub(super) fn temporary(path: &[u8], made: Made) -> Option<Temporary> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    let (folder, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    let dots = name.iter().enumerate().skip(1).rev().filter(|(_, byte)| **byte == b'.');
    let ends = [name.len()].into_iter().chain(dots.take(DOTS_MAX).map(|(at, _)| at));
    let (end, (length, is_random)) = ends
        .into_iter()
        .find_map(|end| Some((end, random_part(name.get(..end)?, end == name.len(), made)?)))?;
    let before = name.get(..end.checked_sub(length)?)?;
    let is_named_so = made == Made::AsMkstemp && says_temporary(before);
    if !is_named_so && !is_temporary_folder(folder) {
        return None;
    }
    let unified = [folder, b"/", before, b"\0[temp]", name.get(end..)?].concat();
    Some(Temporary { unified, length, is_random })
}

/// Says whether a name's beginning tells that it is temporary, as `tmp_obj_` of git does.
fn says_temporary(before: &[u8]) -> bool {
    before.windows(3).any(|part| part.eq_ignore_ascii_case(b"tmp"))
}

fn is_temporary_folder(folder: &[u8]) -> bool {
    let name = folder.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_macos = || folder.windows(13).any(|part| part == b"/var/folders/");
    matches!(name, b"tmp" | b".tmp") || folder == b"/dev/shm" || (name == b"T" && is_macos())
}

/// Returns the length of the random part at the end of a name without its suffix, and whether it is surely one.
fn random_part(name: &[u8], is_whole: bool, made: Made) -> Option<(usize, bool)> {
    let tail = |length: usize| name.split_at_checked(name.len().checked_sub(length)?);
    let all = |part: &[u8], fits: fn(&u8) -> bool| part.iter().all(fits);
    if let Some((b"tmp.", part)) = tail(10)
        && all(part, u8::is_ascii_alphanumeric)
    {
        return Some((10, true));
    }
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    if matches!(digits, 9 | 10) {
        return Some((digits, true));
    }
    let is_separator = |byte: Option<&u8>| matches!(byte, Some(b'-' | b'_' | b'.'));
    if let Some((before, part)) = tail(8)
        && all(part, |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        // With a suffix it may as well be two letters and six random ones (`ccAbCdEf.s`).
        && ((before.is_empty() && is_whole) || before == b"tmp" || is_separator(before.last()))
    {
        return Some((8, before == b"tmp" || made == Made::AsMkstemp || looks_random(part)));
    }
    let (before, part) = tail(6).filter(|(_, part)| all(part, u8::is_ascii_alphanumeric))?;
    let may_end = before.is_empty() || before == b".tmp" || is_separator(before.last());
    (may_end || made == Made::AsMkstemp).then(|| (6, before == b".tmp" || looks_random(part)))
}

/// Says whether something is no word, no word with a number behind it, and no date.
fn looks_random(part: &[u8]) -> bool {
    let digits = part.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let word = part.get(..part.len() - digits).unwrap_or_default();
    let is_small = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_';
    let is_word = word.iter().skip(1).all(is_small) || word.iter().all(u8::is_ascii_uppercase);
    let has_date = part.windows(4).any(|four| four.iter().all(u8::is_ascii_digit));
    !is_word && !has_date
}

/// Returns a path with the random part of a temporary name in it replaced, where there is one.
pub(super) fn unified(path: &[u8], known: &BTreeMap<Vec<u8>, Temporary>) -> Option<Vec<u8>> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.chain([path.len()]).find_map(|end| {
        let (name, rest) = path.split_at_checked(end)?;
        Some([&known.get(name)?.unified, rest].concat())
    })
}
