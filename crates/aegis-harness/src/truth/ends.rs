//! Whether records say how acts ended, where whoever records executes the calls.

use std::collections::BTreeMap;

use super::{Action, Key, Outcome, Record, TruthLine};

/// What came of a comparison of ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ends {
    /// How many acts have a record.
    pub compared: usize,
    /// Those whose record says that they ended otherwise, or does not say it, in words.
    pub unlike: Vec<String>,
}

/// The ends of one key.
#[derive(Default)]
struct Ends1 {
    lines: BTreeMap<String, usize>,
    records: BTreeMap<String, usize>,
    /// Lines and records that fit every end.
    free: usize,
}

impl Ends1 {
    fn unlike(&self) -> (usize, usize) {
        let count = |ends: &BTreeMap<String, usize>| ends.values().sum::<usize>();
        let pairs = count(&self.lines).min(count(&self.records));
        let same = |(end, lines): (&String, &usize)| *lines.min(self.records.get(end).unwrap_or(&0));
        let same: usize = self.lines.iter().map(same).sum();
        (pairs, pairs.saturating_sub(same + self.free))
    }
}

/// Compares how acts ended with what was recorded of it: each act that has a record has one with its end. What the
/// kernel executes by itself, programs, `listen(2)` and sending, may have none.
#[must_use]
pub fn compare_ends(truth: &[TruthLine], records: &[Record]) -> Ends {
    let mut groups: BTreeMap<Key<'_>, Ends1> = BTreeMap::new();
    for line in truth {
        let group = groups.entry(Key::of_line(line)).or_default();
        let end = if line.ok { "ok".to_owned() } else { line.errno.map(name).unwrap_or_default() };
        group.free += usize::from(end.is_empty());
        *group.lines.entry(end).or_default() += 1;
    }
    for record in records {
        // Whom no line is about is of no interest here.
        let Some(group) = groups.get_mut(&Key::of_record(record)) else { continue };
        let end = match &record.outcome {
            Outcome::Ok => "ok",
            Outcome::Missing => "ENOENT",
            Outcome::Unknown => "unknown",
            Outcome::Failed(name) => name,
        };
        let by_kernel = ["listen", "sendto", "sendmsg", "sendmmsg"];
        let may_be_unknown =
            record.action == Action::ProcessSpawn || by_kernel.contains(&record.call.as_str());
        group.free += usize::from(record.outcome == Outcome::Unknown && may_be_unknown);
        *group.records.entry(end.to_owned()).or_default() += 1;
    }
    let mut ends = Ends::default();
    for (key, group) in &groups {
        let (pairs, unlike) = group.unlike();
        ends.compared += pairs;
        if unlike > 0 {
            let resource = key.resource.map(ToString::to_string).unwrap_or_default();
            let (lines, records) = (&group.lines, &group.records);
            let text =
                format!("{} {resource} by pid {}: {lines:?}, in records {records:?}", key.action, key.pid);
            ends.unlike.push(text);
        }
    }
    ends
}

/// Returns the name of an error (`errno.h` of Linux), as records have it.
fn name(errno: i32) -> String {
    const NAMES: &[(i32, &str)] = &[
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::ENXIO, "ENXIO"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::EACCES, "EACCES"),
        (libc::EEXIST, "EEXIST"),
        (libc::EXDEV, "EXDEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EISDIR, "EISDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::ETXTBSY, "ETXTBSY"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::ELOOP, "ELOOP"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::EADDRINUSE, "EADDRINUSE"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
    ];
    let known = NAMES.iter().find(|(number, _)| *number == errno);
    known.map_or_else(|| format!("errno {errno}"), |(_, name)| (*name).to_owned())
}
