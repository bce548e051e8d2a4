//! Signals, as data: blocked everywhere, read from a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};

/// A set of blocked signals.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

/// Every signal that can be blocked, but those of a fault that Rust's runtime reports (a full stack).
fn catchable() -> libc::sigset_t {
    // SAFETY: sigfillset initialises the whole set; sigdelset changes an initialised one.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        for fault in [libc::SIGSEGV, libc::SIGBUS] {
            libc::sigdelset(&raw mut set, fault);
        }
        set
    }
}

/// Lets children be waited for, whatever the caller did with SIGCHLD: where it is ignored, nobody hears of them.
pub fn hear_children() {
    // SAFETY: sets no handler, only the default.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Blocks every signal but SIGSEGV and SIGBUS, for this thread and those it starts, and
/// returns the mask that was in force.
///
/// # Errors
/// That of `pthread_sigmask(3)`.
pub fn block_all() -> io::Result<Mask> {
    set(libc::SIG_BLOCK, &catchable())
}

pub(crate) fn restore(mask: &Mask) -> io::Result<()> {
    set(libc::SIG_SETMASK, &mask.0).map(drop)
}

fn set(how: libc::c_int, mask: &libc::sigset_t) -> io::Result<Mask> {
    // SAFETY: both sets are valid for the call; a zeroed old set is overwritten.
    unsafe {
        let mut old = std::mem::zeroed();
        match libc::pthread_sigmask(how, mask, &raw mut old) {
            0 => Ok(Mask(old)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// The process that sent it; 0 where the kernel did, and where the process has no id here (it is in an outer pid
    /// namespace).
    pub sender: u32,
    /// The kernel sent it: a key of the terminal, its end, a timer.
    pub by_kernel: bool,
}

/// The descriptor from which blocked signals are read: `signalfd(2)`.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Opens it for every signal that [`block_all`] blocks.
    ///
    /// # Errors
    /// That of the system call.
    pub fn new() -> io::Result<Self> {
        let set = catchable();
        // SAFETY: the set is initialised; -1 asks for a new descriptor, which is then owned here alone.
        unsafe {
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                fd if fd >= 0 => Ok(Self(OwnedFd::from_raw_fd(fd))),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Returns the next signal that came, if any.
    ///
    /// # Errors
    /// That of `read(2)`, other than that there is none.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        let info = loop {
            let mut bytes = [0u8; size_of::<libc::signalfd_siginfo>()];
            match rustix::io::read(&self.0, &mut bytes) {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // SAFETY: the structure is plain integers, so any bytes are a value of it; it is read unaligned.
            let info: libc::signalfd_siginfo = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
            if info.ssi_code != libc::SI_QUEUE || info.ssi_int != WAKE_UP {
                break info;
            }
        };
        let from_kernel = info.ssi_code == libc::SI_KERNEL;
        Ok(Some(Signal {
            number: i32::try_from(info.ssi_signo).unwrap_or(0),
            sender: if from_kernel { 0 } else { info.ssi_pid },
            by_kernel: from_kernel,
        }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Stops this process as the signal does, and returns when it was continued.
///
/// # Errors
/// That of the system calls.
pub fn stop_with(number: i32) -> io::Result<()> {
    let number = match number {
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => number,
        _ => libc::SIGSTOP,
    };
    // SAFETY: raise has no memory effects; the signal is pending until the mask below lets it through.
    if unsafe { libc::raise(number) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the set is initialised before it is used.
    let only = unsafe {
        let mut only = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, number);
        only
    };
    let old = set(libc::SIG_UNBLOCK, &only)?;
    restore(&old)
}

/// Says whether a signal is one that the kernel sends to a whole process group of a terminal.
#[must_use]
pub fn is_of_terminal(number: i32) -> bool {
    matches!(
        number,
        libc::SIGINT
            | libc::SIGQUIT
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
            | libc::SIGWINCH
            | libc::SIGHUP
            | libc::SIGCONT
    )
}

/// What tells our own SIGCONT from others' ("Aegi").
const WAKE_UP: libc::c_int = 0x4165_6769;

/// Continues a process of Aegis that may be stopped; it is not told that there was a signal.
///
/// # Errors
/// That of `sigqueue(3)`.
pub fn wake_up(pid: u32) -> io::Result<()> {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(WAKE_UP as usize) };
    // SAFETY: sends a signal with a number beside it; nothing is pointed to.
    if unsafe { libc::sigqueue(pid.cast_signed(), libc::SIGCONT, value) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends a signal to a process, or to a process group where the id is negative.
///
/// # Errors
/// That of `kill(2)`.
pub fn send(pid: i32, number: i32) -> io::Result<()> {
    // SAFETY: kill has no memory effects.
    if unsafe { libc::kill(pid, number) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the name of a signal without `SIG`, or its number.
#[must_use]
pub fn name(number: i32) -> String {
    let known = match number {
        libc::SIGHUP => "HUP",
        libc::SIGINT => "INT",
        libc::SIGQUIT => "QUIT",
        libc::SIGILL => "ILL",
        libc::SIGTRAP => "TRAP",
        libc::SIGABRT => "ABRT",
        libc::SIGBUS => "BUS",
        libc::SIGFPE => "FPE",
        libc::SIGKILL => "KILL",
        libc::SIGUSR1 => "USR1",
        libc::SIGSEGV => "SEGV",
        libc::SIGUSR2 => "USR2",
        libc::SIGPIPE => "PIPE",
        libc::SIGALRM => "ALRM",
        libc::SIGTERM => "TERM",
        _ => return number.to_string(),
    };
    known.to_owned()
}

extern "C" fn nothing(_: libc::c_int) {}

/// Lets blocking calls of this thread be interrupted by [`interrupt`], and returns the thread's id for it.
///
/// # Errors
/// That of `sigaction(2)` or `pthread_sigmask(3)`.
pub fn be_interruptible() -> io::Result<u32> {
    let number = libc::SIGRTMAX();
    // SAFETY: the handler does nothing, and whatever an all-zero action leaves open is empty; without SA_RESTART a call
    // that waits ends. The set is initialised before it is used.
    let only = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        if libc::sigaction(number, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut only = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, number);
        only
    };
    set(libc::SIG_UNBLOCK, &only)?;
    Ok(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned())
}

/// Interrupts what a thread of this process waits in, where it is interruptible.
///
/// # Errors
/// That of `tgkill(2)`: ESRCH where it has gone.
pub fn interrupt(tid: u32) -> io::Result<()> {
    let me = std::process::id().cast_signed();
    // SAFETY: sends a signal whose handler does nothing to a thread of this process.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, me, tid.cast_signed(), libc::SIGRTMAX()) };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
