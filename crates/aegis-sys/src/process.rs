//! Processes: making them, waiting for them, ending them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::time::Duration;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// Reads a status as `wait(2)` lays it out.
    #[must_use]
    pub fn from_wait_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// Runs a program in the foreground of this terminal and waits until it ends. It has this process' standard
/// streams, working directory and environment, and is for programs that the user asked for, not for agents.
///
/// # Errors
/// It can't be started, or not be waited for.
pub fn run_in_foreground(program: &OsStr, arguments: &[OsString]) -> io::Result<Ended> {
    use std::os::unix::process::CommandExt as _;
    use std::os::unix::process::ExitStatusExt as _;
    crate::signals::hear_children();
    // The keys of the terminal are for the program; whoever started it goes on, as system(3) does.
    // SAFETY: ignores two signals; no handler is set, and what was set is put back below.
    let old =
        unsafe { [libc::SIGINT, libc::SIGQUIT].map(|number| (number, libc::signal(number, libc::SIG_IGN))) };
    #[expect(clippy::disallowed_methods, reason = "this is the crate that starts processes")]
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    // SAFETY: the closure calls signal(2) only, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            for (number, handler) in old {
                libc::signal(number, handler);
            }
            Ok(())
        });
    }
    let status = command.status();
    for (number, handler) in old {
        // SAFETY: puts back what was in force.
        unsafe { libc::signal(number, handler) };
    }
    Ok(Ended::from_wait_status(status?.into_raw()))
}

/// What `wait` says of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended and is gone.
    Ended(Ended),
    /// It was stopped by this signal.
    Stopped(i32),
    /// It goes on after a stop.
    Continued,
}

/// Splits this process in two; the child runs the closure and ends with the code that it returns.
///
/// # Errors
/// That of `fork(2)`; `Unsupported` where this process has other threads, for the child could then find
/// locks held for ever.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<u32> {
    if !is_alone()? {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "fork of a process with threads"));
    }
    // SAFETY: this is the only thread, so the child finds every lock free and every invariant whole.
    match unsafe { libc::fork() } {
        0 => {
            let code = child();
            // SAFETY: ends the process at once; no destructor of the parent's values may run twice.
            unsafe { libc::_exit(code) }
        }
        pid => u32::try_from(pid).map_err(|_| io::Error::last_os_error()),
    }
}

/// Says whether this is the only thread. One that was joined is counted for a moment longer: who joins it is woken before
/// the kernel lets go of it (`mm_release()`, then `release_task()` of Linux).
fn is_alone() -> io::Result<bool> {
    for _ in 0..JOINED_TRIES {
        // A directory's link count is two and one for each folder in it.
        if crate::outside::stat("self/task")?.st_nlink == 3 {
            return Ok(true);
        }
        // Nothing tells of it.
        std::thread::park_timeout(JOINED_PAUSE);
    }
    Ok(false)
}

/// How often, and how far apart, it is looked whether a thread that was joined has gone: for a second and more in all,
/// since it may need a turn on a busy processor for that.
const JOINED_TRIES: u32 = 5_000;
const JOINED_PAUSE: Duration = Duration::from_micros(200);

/// Gives this thread a mask of modes and a working directory of its own, which no other thread shares.
///
/// # Errors
/// That of `unshare(2)`.
pub fn own_umask() -> io::Result<()> {
    // SAFETY: with this flag the call changes nothing but what umask(2) and chdir(2) of this thread act on; no memory or
    // descriptor is touched.
    if unsafe { libc::unshare(libc::CLONE_FS) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process at once: no destructors, no flushing. For processes made by [`fork`].
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(code) }
}

/// Waits for a change of any child, threads' children included; `None` where there is none yet.
///
/// # Errors
/// ECHILD where there is no child at all.
pub fn wait_any(block: bool) -> io::Result<Option<(u32, Change)>> {
    wait(-1, block)
}

/// Waits for a change of this child.
///
/// # Errors
/// ECHILD where it is no child.
pub fn wait_for(pid: u32, block: bool) -> io::Result<Option<Change>> {
    let pid = i32::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(wait(pid, block)?.map(|(_, change)| change))
}

fn wait(pid: i32, block: bool) -> io::Result<Option<(u32, Change)>> {
    let mut status = 0;
    let flags = libc::WUNTRACED | libc::WCONTINUED | if block { 0 } else { libc::WNOHANG };
    #[cfg(target_os = "linux")]
    let flags = flags | libc::__WALL;
    loop {
        // SAFETY: the kernel writes one integer.
        let got = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        let change = || {
            if libc::WIFSTOPPED(status) {
                Change::Stopped(libc::WSTOPSIG(status))
            } else if libc::WIFCONTINUED(status) {
                Change::Continued
            } else {
                Change::Ended(Ended::from_wait_status(status))
            }
        };
        match u32::try_from(got) {
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((pid, change()))),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// What the kernel says of a process by its descriptor (`PIDFD_GET_INFO`, Linux 6.13).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// Returns how a process ended, by its descriptor, where the kernel keeps that (6.15) and it has ended.
#[must_use]
pub fn ended(pidfd: BorrowedFd<'_>) -> Option<Ended> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request number carries the structure's size, which the kernel fills at most.
    let got = unsafe { libc::ioctl(pidfd.as_raw_fd(), pidfd_get_info(), &raw mut info) };
    (got == 0 && info.mask & PIDFD_INFO_EXIT != 0).then(|| Ended::from_wait_status(info.exit_code))
}

/// `_IOWR(0xFF, 11, struct pidfd_info)`.
fn pidfd_get_info() -> libc::Ioctl {
    libc::_IOWR::<PidfdInfo>(0xff, 11)
}

/// Says whether the process of this descriptor is not yet reaped: its id then belongs to it.
#[must_use]
pub fn is_there(pidfd: impl AsFd) -> bool {
    // SAFETY: signal 0 only checks.
    unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), 0, std::ptr::null::<u8>(), 0)
            == 0
    }
}

/// Kills every process below this one, until none is left. This process must be a subreaper, so that what
/// loses its parent becomes its child: children are killed for as long as there are any, faster than they can
/// make others.
///
/// # Errors
/// `/proc` can't be read.
pub fn kill_descendants() -> io::Result<()> {
    match wait_any(false) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
        _ => kill_all(&descendants(std::process::id())?),
    }
    loop {
        loop {
            match wait_any(false) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match children() {
            Ok(children) => kill_all(&children),
            // A kernel without the list (CONFIG_PROC_CHILDREN).
            Err(_) => kill_all(&descendants(std::process::id())?),
        }
        match wait_any(true) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn kill_all(processes: &[u32]) {
    for pid in processes {
        // It may have ended meanwhile.
        drop(crate::signals::send(pid.cast_signed(), libc::SIGKILL));
    }
}

/// Lists the children of all threads of this process (`proc_tid_children(5)`).
fn children() -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(thread?.path().join("children"))?;
        found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(found)
}

/// Lists the processes below one, by a walk of `/proc`.
fn descendants(root: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        parents.extend(parent(pid).map(|parent| (pid, parent)));
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(next) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, parent)| *parent == next).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    Ok(found)
}

/// Returns a process' parent, as `/proc/PID/stat` has it; nothing where it has gone.
fn parent(pid: u32) -> Option<u32> {
    let text = crate::outside::read(&format!("{pid}/stat")).ok()?;
    // The name before it is in brackets and can hold anything.
    let after = text.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(text.get(after..)?).ok()?;
    rest.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// Lets this process use what the system permits, where its caller has set itself lower limits, and returns
/// those: what they are meant for is the agent, not the process that records for a whole tree.
#[must_use]
pub fn raise_limits() -> Limits {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let mut old = Vec::new();
    for resource in
        [Resource::Nofile, Resource::Fsize, Resource::As, Resource::Data, Resource::Cpu, Resource::Nproc]
    {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum {
            let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
            if setrlimit(resource, raised).is_ok() {
                old.push((resource, limit));
            }
        }
    }
    Limits(old)
}

/// Limits that were raised, to be put back.
#[derive(Debug, Clone, Default)]
pub struct Limits(pub(crate) Vec<(rustix::process::Resource, rustix::process::Rlimit)>);

impl Limits {
    /// Adds that nothing is written when a process crashes.
    #[must_use]
    pub fn without_core(mut self) -> Self {
        use rustix::process::{Resource, Rlimit};
        self.0.push((Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }));
        self
    }

    /// Adds a bound on how many processes and threads the user has, where that is lower than what is in force.
    #[must_use]
    pub fn with_processes(mut self, most: u64) -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit};
        let now = getrlimit(Resource::Nproc);
        let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
        self.0.retain(|(resource, _)| *resource != Resource::Nproc);
        self.0.push((Resource::Nproc, Rlimit { current: least(now.current), maximum: least(now.maximum) }));
        self
    }
}

/// Makes room for this many descriptors at once. In a process with threads, each doubling of the table waits
/// for all CPUs, for milliseconds; so this is for before the first thread.
///
/// # Errors
/// That of `fcntl(2)`: EINVAL or EMFILE beyond the limit.
pub fn make_room_for_descriptors(count: u32) -> io::Result<()> {
    let last = i32::try_from(count).unwrap_or(i32::MAX) - 1;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    drop(rustix::io::fcntl_dupfd_cloexec(&null, last)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_size_of_its_first_version() {
        assert_eq!(size_of::<PidfdInfo>(), 64);
    }

    #[test]
    fn a_program_in_the_foreground_is_waited_for() {
        let sh = |script: &str| run_in_foreground("/bin/sh".as_ref(), &["-c".into(), script.into()]).unwrap();
        assert_eq!(sh("exit 7"), Ended::Code(7));
        assert_eq!(sh("kill -INT $$; exit 7"), Ended::Signal(libc::SIGINT));
        assert!(run_in_foreground("/no/such/program".as_ref(), &[]).is_err());
    }

    #[test]
    fn descendants_are_those_below() {
        let all = descendants(parent(std::process::id()).unwrap()).unwrap();
        assert!(all.contains(&std::process::id()));
        assert!(!descendants(std::process::id()).unwrap().contains(&1));
    }

    #[test]
    fn a_process_with_threads_does_not_fork() {
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::sync_channel::<()>(0);
            scope.spawn(move || receive.recv().ok());
            assert_eq!(fork(|| 0).unwrap_err().kind(), io::ErrorKind::Unsupported);
            drop(send);
        });
    }

    #[test]
    fn a_process_whose_threads_have_ended_forks() {
        // The threads of a test are left behind by splitting it first.
        // SAFETY: what the child does is allocate, which the C library makes safe in it, start threads and end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let start_and_fork = || {
                std::thread::Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok())
                    && fork(|| 0).is_ok_and(|child| wait_for(child, true).is_ok())
            };
            exit_now(i32::from(!(0..5000).all(|_| start_and_fork())));
        }
        assert_eq!(wait_for(child.cast_unsigned(), true).unwrap(), Some(Change::Ended(Ended::Code(0))));
    }
}
