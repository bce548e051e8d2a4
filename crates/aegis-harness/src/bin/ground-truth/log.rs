//! What a worker, or a thread of it, knows it did.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use aegis_harness::truth::{Action, Direction, Resource, Status, TruthLine};

/// The lines of one thread, kept in memory until the work is done.
#[derive(Debug)]
pub(crate) struct Log {
    pid: u32,
    tid: u32,
    /// The lines so far.
    pub(crate) lines: Vec<TruthLine>,
}

impl Log {
    /// Makes an empty log of the calling thread.
    pub(crate) fn new() -> Self {
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        Self { pid: std::process::id(), tid, lines: Vec::new() }
    }

    /// Notes an act on a path with its result, and returns the result.
    pub(crate) fn note<T, E: Into<io::Error>>(
        &mut self,
        via: &str,
        action: Action,
        path: &Path,
        result: Result<T, E>,
    ) -> io::Result<T> {
        let result = result.map_err(Into::into);
        let line = self.line(via, action, Resource::path(path), &result);
        self.lines.push(line);
        result
    }

    /// Notes an act on a path.
    pub(crate) fn act(&mut self, via: &str, action: Action, path: &Path, ok: bool) {
        let line = self.line(via, action, Resource::path(path), &told(ok));
        self.lines.push(line);
    }

    /// Notes a change of name from `old` to `new` with its result, and returns the result.
    pub(crate) fn renamed<E: Into<io::Error>>(
        &mut self,
        via: &str,
        old: &Path,
        new: &Path,
        result: Result<(), E>,
    ) -> io::Result<()> {
        let result = result.map_err(Into::into);
        let line = self.line(via, Action::FileDelete, Resource::path(old), &result);
        self.lines.push(line);
        self.note(via, Action::FileWrite, new, result)
    }

    /// Notes an attempt to reach `resource`, or to be reached there, with its result, and returns the result.
    pub(crate) fn reached<T, E: Into<io::Error>>(
        &mut self,
        via: &str,
        resource: Resource,
        direction: Option<Direction>,
        result: Result<T, E>,
    ) -> io::Result<T> {
        let result = result.map_err(Into::into);
        let line = self.line(via, Action::NetConnect, resource, &result);
        self.lines.push(TruthLine { direction, ..line });
        result
    }

    /// Notes an act of the first thread of process `pid`.
    pub(crate) fn act_of(&mut self, pid: u32, via: &str, action: Action, path: &Path, ok: bool) {
        let line = self.line(via, action, Resource::path(path), &told(ok));
        self.lines.push(TruthLine { pid, tid: pid, ..line });
    }

    /// Notes that process `pid`, started from the file `exe`, has ended.
    pub(crate) fn ended(&mut self, pid: u32, via: &str, exe: &Path, status: Option<Status>) {
        let line = self.line(via, Action::ProcessExit, Resource::path(exe), &told(status.is_some()));
        self.lines.push(TruthLine { pid, tid: pid, status, ..line });
    }

    fn line<T>(&self, via: &str, action: Action, resource: Resource, result: &io::Result<T>) -> TruthLine {
        let (pid, tid, via) = (self.pid, self.tid, via.to_owned());
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        TruthLine {
            pid,
            tid,
            action,
            resource,
            direction: None,
            status: None,
            ok: result.is_ok(),
            errno,
            via,
        }
    }
}

/// Returns a result of which only that much is known.
fn told(ok: bool) -> io::Result<()> {
    if ok { Ok(()) } else { Err(io::Error::other("failed")) }
}

/// Returns how a process ended in the form of the truth.
pub(crate) fn status_of(status: ExitStatus) -> Option<Status> {
    status.code().map(Status::Code).or_else(|| status.signal().map(Status::Signal))
}
