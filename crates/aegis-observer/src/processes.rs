//! The processes of the tree: who a thread belongs to, what it runs, and when it ends.
//!
//! Each process is held by a descriptor (`pidfd_open(2)`) from its first notified call on: that tells when it
//! ends, and whether an id still belongs to it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use aegis_sys::memory::Memory;
use aegis_sys::outside;
use aegis_sys::process::{Ended, is_there};
use aegis_types::{ExitStatus, Process, Text};
use foldhash::HashMap;
use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::fold::Folds;

/// For so long after it was looked at, an id that is known still belongs to the same: the kernel gives ids out
/// in turn, and does not get round in that time. In microseconds.
pub const FRESH_US: u64 = 400_000;

/// A process that has been seen.
#[derive(Debug)]
pub struct Known {
    /// Its descriptor.
    pub pidfd: Arc<OwnedFd>,
    /// Its memory, as of the program that it runs; the error where it can't be read.
    pub memory: Result<Arc<Memory>, i32>,
    /// Its parent when it was first seen.
    pub ppid: u32,
    /// What it runs.
    pub exe: Arc<Text>,
    /// An exec was let through that may not be over: what it runs has to be looked up again.
    pub executing: Option<Executing>,
    /// It can't be read; a gap says so.
    pub unreadable: bool,
    /// It has made calls of another architecture or ABI; a gap says so.
    pub foreign: bool,
    /// What it said as it ended itself.
    pub exit_code: Option<i32>,
    /// Reads of the system's files, counted.
    pub folds: Folds,
}

/// All processes that live, by id.
#[derive(Debug)]
pub struct Processes {
    known: HashMap<u32, Known>,
    /// Threads that are not the first of their process.
    threads: HashMap<u32, Thread>,
    ends: OwnedFd,
    /// The tree hangs below this process.
    supervisor: u32,
    /// How many can be held, so that descriptors are left for all else.
    most: usize,
}

/// Descriptors that are held for a process: its own and its memory's.
const FOR_EACH: usize = 2;

/// How many descriptors are kept for all else, where there are that many: directories, files that are looked at, the
/// spool, the ledger.
const RESERVE: usize = 1_024;

/// Returns how many processes can be held under the limit of descriptors.
fn most() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (limit - RESERVE.min(limit / 2)) / FOR_EACH
}

/// An exec that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executing {
    /// The thread that called it.
    pub tid: u32,
    /// Where the stack of the program before starts, where that could be read.
    pub stack: Option<u64>,
}

/// A thread that is not the first of its process.
#[derive(Debug, Clone, Copy)]
struct Thread {
    pid: u32,
    /// When it was last seen to be of that process, in microseconds.
    seen_us: u64,
}

/// A process that could not be identified.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    /// It has gone meanwhile.
    #[error("the process has gone")]
    Gone,
    /// It can't be held: too many descriptors are open.
    #[error("no more processes can be held: {0}")]
    Limit(rustix::io::Errno),
}

impl Processes {
    /// Starts with no process.
    ///
    /// # Errors
    /// That of `epoll_create1(2)`.
    pub fn new() -> rustix::io::Result<Self> {
        Ok(Self {
            known: HashMap::default(),
            threads: HashMap::default(),
            ends: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            supervisor: std::process::id(),
            most: most(),
        })
    }

    /// Returns the descriptor that is readable when a process has ended.
    #[must_use]
    pub fn ends(&self) -> BorrowedFd<'_> {
        self.ends.as_fd()
    }

    /// Returns the process that a thread belongs to; says whether it is new.
    ///
    /// `fresh` says that the ends of processes were collected a moment ago: an id that is known can then not
    /// have come to another process, since ids come again only after all others. The same holds of a thread
    /// that was looked for a moment ago.
    ///
    /// # Errors
    /// It has gone, or no more can be held.
    pub fn identify(&mut self, tid: u32, fresh: bool, now_us: u64) -> Result<(u32, bool), IdentifyError> {
        if let Some(known) = self.known.get(&tid) {
            if fresh || is_there(&known.pidfd) {
                return Ok((tid, false));
            }
            // Its end is still to be told under its own id; the new one is told from it by its descriptor.
            return Err(IdentifyError::Gone);
        }
        if let Some(Thread { pid, seen_us }) = self.threads.get(&tid).copied() {
            if fresh && now_us.saturating_sub(seen_us) < FRESH_US && self.known.contains_key(&pid) {
                return Ok((pid, false));
            }
            let there = outside::exists(&format!("{pid}/task/{tid}"));
            if there && self.known.get(&pid).is_some_and(|known| is_there(&known.pidfd)) {
                self.threads.insert(tid, Thread { pid, seen_us: now_us });
                return Ok((pid, false));
            }
            self.threads.remove(&tid);
        }
        let raw = i32::try_from(tid).ok().and_then(Pid::from_raw).ok_or(IdentifyError::Gone)?;
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(_) if self.known.len() >= self.most => Err(IdentifyError::Limit(rustix::io::Errno::MFILE)),
            Ok(pidfd) => {
                self.add(tid, pidfd)?;
                Ok((tid, true))
            }
            // No leader of a thread group.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => self.identify_thread(tid, now_us),
            Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                Err(IdentifyError::Limit(rustix::io::Errno::MFILE))
            }
            Err(_) => Err(IdentifyError::Gone),
        }
    }

    fn identify_thread(&mut self, tid: u32, now_us: u64) -> Result<(u32, bool), IdentifyError> {
        let pid = status_number(tid, "Tgid:").filter(|pid| *pid != tid).ok_or(IdentifyError::Gone)?;
        let (pid, new) = self.identify(pid, false, now_us)?;
        self.threads.insert(tid, Thread { pid, seen_us: now_us });
        Ok((pid, new))
    }

    fn add(&mut self, pid: u32, pidfd: OwnedFd) -> Result<(), IdentifyError> {
        let data = epoll::EventData::new_u64(u64::from(pid));
        epoll::add(&self.ends, &pidfd, data, epoll::EventFlags::IN).map_err(IdentifyError::Limit)?;
        let ppid = stat_number(pid, PPID).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let known = Known {
            pidfd: Arc::new(pidfd),
            memory: memory(pid),
            // An orphan is below us; who made it is not known any more.
            ppid: if ppid == self.supervisor { 0 } else { ppid },
            exe: Arc::new(exe(pid)),
            executing: None,
            unreadable: false,
            foreign: false,
            exit_code: None,
            folds: Folds::default(),
        };
        self.known.insert(pid, known);
        Ok(())
    }

    /// Returns a process that lives.
    pub fn get_mut(&mut self, pid: u32) -> Option<&mut Known> {
        self.known.get_mut(&pid)
    }

    /// Returns the memory of a thread that makes a call, and looks again at a process that was about to run
    /// another program.
    ///
    /// Until the exec is over, other threads of the process go on in the old program: nothing is held then.
    pub fn memory_of(&mut self, pid: u32, tid: u32) -> Result<Arc<Memory>, i32> {
        let Some(known) = self.known.get_mut(&pid) else { return memory(tid) };
        let Some(executing) = known.executing else { return known.memory.clone() };
        // The thread that called comes back where the exec failed; else its program's stack starts elsewhere.
        // That may be by chance where it did, which only costs time.
        // A thread that was killed by the exec while it waited has none.
        let stack = start_of_stack(tid);
        let exe = exe(tid);
        let over = tid == executing.tid || (stack.is_some() && stack != executing.stack) || exe != *known.exe;
        if !over {
            return memory(tid);
        }
        known.exe = Arc::new(exe);
        known.memory = memory(tid);
        known.executing = None;
        known.memory.clone()
    }

    /// Describes a thread of a process for a record.
    #[must_use]
    pub fn describe(&self, pid: u32, tid: u32) -> Process {
        match self.known.get(&pid) {
            Some(known) => Process { exe: Arc::clone(&known.exe), pid, ppid: known.ppid, tid },
            None => Process { exe: Arc::default(), pid, ppid: 0, tid },
        }
    }

    /// Says whether a process has been seen and lives.
    #[must_use]
    pub fn contains(&self, pid: u32) -> bool {
        self.known.contains_key(&pid)
    }

    /// Returns how many live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Says whether none lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns the ids of those that have ended, without waiting.
    pub fn ended(&mut self) -> Vec<u32> {
        let mut events = Vec::with_capacity(64);
        // A wait that fails finds nothing; the next one finds it.
        let _ = epoll::wait(&self.ends, rustix::buffer::spare_capacity(&mut events), Some(&NOW));
        events.iter().filter_map(|event: &epoll::Event| u32::try_from(event.data.u64()).ok()).collect()
    }

    /// Lets go of a process that has ended, and returns what was known of it.
    pub fn remove(&mut self, pid: u32) -> Option<Known> {
        let known = self.known.remove(&pid)?;
        // Closing the last descriptor of a pidfd takes it out of the set, too; here it may be shared.
        let _ = epoll::delete(&self.ends, &known.pidfd);
        self.threads.retain(|_, thread| thread.pid != pid);
        Some(known)
    }

    /// Forgets a thread that ends.
    pub fn forget_thread(&mut self, tid: u32) {
        self.threads.remove(&tid);
    }

    /// Returns the process of a thread that is known.
    #[must_use]
    pub fn of_thread(&self, tid: u32) -> Option<&Known> {
        self.known.get(&tid).or_else(|| self.known.get(&self.threads.get(&tid)?.pid))
    }

    /// Says whether an id is now that of a process that is known, or of a thread of one.
    #[must_use]
    pub fn is_known(&self, id: u32) -> bool {
        // It may have ended, and another outside of the tree have its id.
        self.of_thread(id).is_some_and(|known| is_there(&known.pidfd))
            && (self.known.contains_key(&id)
                || status_number(id, "Tgid:").is_some_and(|pid| self.known.contains_key(&pid)))
    }

    /// Says whether a thread belongs to a process, as far as is known.
    #[must_use]
    pub fn is_thread_of(&self, tid: u32, pid: u32) -> bool {
        tid == pid || self.threads.get(&tid).is_some_and(|thread| thread.pid == pid)
    }

    /// Returns the ids of all that are known.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.known.keys().copied().collect()
    }
}

const NOW: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };

impl Known {
    /// Returns how it ended: as the kernel tells of one that is not yet reaped or of one that is, else as it
    /// said itself.
    #[must_use]
    pub fn status(&self, pid: u32) -> Option<ExitStatus> {
        let waits = || {
            let status = stat_number(pid, EXIT_CODE).filter(|_| is_there(&self.pidfd))?;
            i32::try_from(status).ok().map(Ended::from_wait_status)
        };
        let reaped = || aegis_sys::process::ended(self.pidfd.as_fd());
        waits().or_else(reaped).map(status_of).or(self.exit_code.map(|code| ExitStatus::Code(code & 0xff)))
    }
}

fn memory(pid: u32) -> Result<Arc<Memory>, i32> {
    Memory::open(pid).map(Arc::new).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

/// Says how a process ended, in the words of records.
#[must_use]
pub fn status_of(ended: Ended) -> ExitStatus {
    match ended {
        Ended::Code(code) => ExitStatus::Code(code),
        Ended::Signal(signal) => ExitStatus::Signal(signal),
    }
}

/// Reads what a process runs; empty where it can't be read.
#[must_use]
pub fn exe(pid: u32) -> Text {
    outside::link(&format!("{pid}/exe")).map(Text::new).unwrap_or_default()
}

/// The parent, among the fields of `/proc/PID/stat` (`proc_pid_stat(5)`, field 4).
const PPID: usize = 4;

/// The controlling terminal (field 7).
const TERMINAL: usize = 7;

/// Where the stack of the program starts (field 28).
const START_STACK: usize = 28;

/// How a process ended, as `wait(2)` has it (field 52); it is that of a process that has ended and waits for
/// its parent.
const EXIT_CODE: usize = 52;

/// Reads a numeric field of `/proc/PID/stat`; the numbers are those of the manual, from 3 on.
fn stat_number(pid: u32, field: usize) -> Option<u64> {
    let text = outside::read(&format!("{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which can hold anything.
    let after = text.iter().rposition(|b| *b == b')')? + 2;
    let word = text.get(after..)?.split(|b| *b == b' ').nth(field.checked_sub(3)?)?;
    std::str::from_utf8(word).ok()?.trim_end().parse().ok()
}

/// Returns where the stack of the program that a thread runs starts, mostly another for each exec; nothing
/// where it can't be read.
pub(crate) fn start_of_stack(tid: u32) -> Option<u64> {
    stat_number(tid, START_STACK).filter(|start| *start != 0)
}

/// Says whether a thread waits, and in another system call than this one (`proc_pid_syscall(5)`), or has ended.
pub(crate) fn is_out_of(tid: u32, number: u32) -> bool {
    match outside::read(&format!("{tid}/syscall")) {
        // What is not a number is `running`: in which call is not known.
        Ok(text) => text
            .split(u8::is_ascii_whitespace)
            .next()
            .and_then(|word| std::str::from_utf8(word).ok()?.parse::<i64>().ok())
            .is_some_and(|now| now != i64::from(number)),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Reads a number of `/proc/PID/status`.
pub(crate) fn status_number(pid: u32, key: &str) -> Option<u32> {
    status_line(pid, key)?.split_whitespace().next()?.parse().ok()
}

/// Reads the last number of a line of `/proc/PID/status`.
#[must_use]
pub fn last_number(pid: u32, key: &str) -> Option<u32> {
    status_line(pid, key)?.split_whitespace().last()?.parse().ok()
}

fn status_line(pid: u32, key: &str) -> Option<String> {
    // The name of the program in the first line can hold bytes of any kind.
    let text = outside::read(&format!("{pid}/status")).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
}

/// Returns the first word of a line of `/proc/PID/status`.
#[must_use]
pub fn status_word(pid: u32, key: &str) -> Option<String> {
    status_line(pid, key)?.split_whitespace().next().map(str::to_owned)
}

/// Returns the numbers of a line of `/proc/PID/status`; none where it can't be read.
#[must_use]
pub fn status_numbers(pid: u32, key: &str) -> Vec<u32> {
    let line = status_line(pid, key).unwrap_or_default();
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Says whether a thread has a signal to handle that waits (`proc_pid_status(5)`: pending, not blocked, caught).
#[must_use]
pub fn waiting_signals(tid: u32) -> bool {
    let mask = |key| status_word(tid, key).and_then(|text| u64::from_str_radix(&text, 16).ok()).unwrap_or(0);
    (mask("SigPnd:") | mask("ShdPnd:")) & !mask("SigBlk:") & mask("SigCgt:") != 0
}

/// Returns the device number of a process' controlling terminal, 0 where it has none (`proc_pid_stat(5)`).
#[must_use]
pub fn terminal(pid: u32) -> Option<u32> {
    stat_number(pid, TERMINAL).and_then(|number| u32::try_from(number).ok())
}

/// Says whether a process is this one or below it.
#[must_use]
pub fn is_descendant(pid: u32, of: u32) -> bool {
    let mut at = pid;
    // A chain of parents has no loop, but it may change while it is walked.
    for _ in 0..10_000 {
        if at == of {
            return true;
        }
        match stat_number(at, PPID).and_then(|n| u32::try_from(n).ok()) {
            Some(parent) if parent > 0 => at = parent,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files and processes the plain way")]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_until_it_is_gone() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let mut processes = Processes::new().unwrap();
        let (pid, new) = processes.identify(child.id(), false, 0).unwrap();
        assert!(new && pid == child.id());
        assert!(!processes.identify(child.id(), false, 0).unwrap().1);
        assert!(processes.is_known(pid) && !processes.is_known(std::process::id()));
        assert!(is_descendant(pid, std::process::id()));
        assert!(!is_descendant(1, std::process::id()));
        child.kill().unwrap();
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&processes.ends(), rustix::event::PollFlags::IN)],
            None,
        )
        .unwrap();
        assert_eq!(processes.ended(), [pid]);
        assert!(processes.is_known(pid), "until it is waited for, nothing else has its id");
        child.wait().unwrap();
        assert!(!processes.is_known(pid));
        assert!(matches!(processes.identify(pid, false, 0), Err(IdentifyError::Gone)));
        let known = processes.remove(pid).unwrap();
        assert_eq!(known.status(pid), Some(ExitStatus::Signal(9)));
        assert!(processes.is_empty());
    }

    #[test]
    fn a_thread_that_waits_is_out_of_every_other_call() {
        let waits = libc::SYS_clock_nanosleep;
        let number = |call: i64| u32::try_from(call).unwrap();
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let deadline = aegis_sys::clock::monotonic_us() + 10_000_000;
        let waits_there = || std::fs::read_to_string(format!("/proc/{pid}/syscall"));
        while !waits_there().unwrap().starts_with(&format!("{waits} ")) {
            assert!(aegis_sys::clock::monotonic_us() < deadline, "it never slept");
            std::thread::yield_now();
        }
        assert!(is_out_of(pid, number(libc::SYS_chdir)));
        assert!(!is_out_of(pid, number(waits)), "it may be in that one still");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_out_of(pid, number(waits)), "who has gone is in none");
    }

    #[test]
    fn a_thread_belongs_to_its_process() {
        let mut processes = Processes::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tid = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
                assert_ne!(tid, std::process::id());
                assert_eq!(processes.identify(tid, false, 0).unwrap().0, std::process::id());
                assert_eq!(processes.identify(tid, false, 0).unwrap().0, std::process::id());
            });
        });
    }
}
