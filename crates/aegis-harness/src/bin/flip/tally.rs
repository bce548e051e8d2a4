//! The count of what became of the tries.

use std::collections::BTreeMap;
use std::io;

use aegis_harness::race::Report;
use rustix::io::Errno;

use crate::Plan;

/// The errors that are counted by their names.
const NAMES: [(Errno, &str); 18] = [
    (Errno::AGAIN, "EAGAIN"),
    (Errno::BADF, "EBADF"),
    (Errno::BUSY, "EBUSY"),
    (Errno::EXIST, "EEXIST"),
    (Errno::INTR, "EINTR"),
    (Errno::INVAL, "EINVAL"),
    (Errno::IO, "EIO"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::LOOP, "ELOOP"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NOENT, "ENOENT"),
    (Errno::NOSYS, "ENOSYS"),
    (Errno::NOTDIR, "ENOTDIR"),
    (Errno::NOTSUP, "ENOTSUP"),
    (Errno::ROFS, "EROFS"),
    (Errno::STALE, "ESTALE"),
    (Errno::TXTBSY, "ETXTBSY"),
    (Errno::XDEV, "EXDEV"),
];

/// Counts so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    allowed: u64,
    denied: u64,
    other: BTreeMap<String, u64>,
    escapes: u64,
}

impl Tally {
    /// Counts one try.
    pub(crate) fn count(&mut self, result: io::Result<bool>) {
        match result {
            Ok(escaped) => {
                self.allowed += 1;
                self.escapes += u64::from(escaped);
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::ACCESS | Errno::PERM) => self.denied += 1,
                errno => *self.other.entry(name(errno, &error)).or_default() += 1,
            },
        }
    }

    /// Returns the report.
    pub(crate) fn report(self, plan: &Plan, flips: u64) -> Report {
        let (kind, target, tries) = (plan.kind.to_string(), plan.target.to_string(), plan.tries as u64);
        let Self { allowed, denied, other, escapes } = self;
        Report { kind, target, tries, flips, allowed, denied, other, escapes }
    }
}

fn name(errno: Option<Errno>, error: &io::Error) -> String {
    let known = NAMES.iter().find(|(known, _)| Some(*known) == errno);
    known.map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
}
