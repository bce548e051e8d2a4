//! Starting the agent: a thread puts the filter on itself, then forks.
//!
//! The filter is on the launcher thread and what it starts, never on the rest of the process: the listener is
//! at once in this process' table and nothing has to be handed over. The launcher lives as long as the
//! process, since the parent-death signal of the agent is bound to it.

use std::ffi::CString;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::fs::Mode;
use rustix::process::{Pid, Signal};

use crate::bpf::Program;
use crate::group::Door;
use crate::landlock::Layer;
use crate::process::Limits;
use crate::seccomp::{self, Listener};
use crate::{inherited, signals};

/// What to start, with everything prepared: nothing is allocated between fork and exec.
#[derive(Debug)]
pub struct Command {
    /// Files to try, in this order, as `execvp(3)` does.
    pub candidates: Vec<CString>,
    /// Arguments, the program's name first.
    pub argv: Vec<CString>,
    /// The environment, as `NAME=value`.
    pub environment: Vec<CString>,
    /// The directory to start in; the current one where there is none.
    pub directory: Option<CString>,
    /// The signal mask to give it.
    pub mask: signals::Mask,
    /// The limits to give it.
    pub limits: Limits,
    /// The mask of modes to give it (`umask(2)`).
    pub umask: u32,
    /// What it is confined by; nothing where it is only observed.
    pub confinement: Option<Confinement>,
}

/// What only the agent is confined by, beside what the launcher's thread is.
#[derive(Debug)]
pub struct Confinement {
    /// The Landlock layer of its own; nothing where there is no Landlock.
    pub layer: Option<Layer>,
    /// How it comes into a control group.
    pub group: Option<Door>,
    /// It is in a process id namespace that its parent is not in.
    pub own_processes: bool,
}

/// A step of starting that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The fork.
    Fork,
    /// Going to the directory.
    Directory,
    /// Confining it.
    Confine,
    /// The exec.
    Exec,
}

const STEPS: [Step; 4] = [Step::Fork, Step::Directory, Step::Confine, Step::Exec];

/// Why the agent did not start.
#[derive(Debug)]
pub struct LaunchError {
    /// Where.
    pub step: Step,
    /// The error.
    pub error: io::Error,
}

type Answer = Result<u32, LaunchError>;

/// The thread that starts the agent.
#[derive(Debug)]
pub struct Launcher {
    orders: SyncSender<Prepared>,
    answers: Receiver<Answer>,
}

/// A launcher whose thread has begun.
#[derive(Debug)]
#[must_use = "the thread ends when nobody waits for it"]
pub struct Starting<T> {
    ready: Receiver<io::Result<(Listener, T)>>,
    launcher: Launcher,
}

impl<T> Starting<T> {
    /// Waits until the filter is on the thread.
    ///
    /// # Errors
    /// As [`seccomp::listen`], or that of what was to be run before.
    pub fn ready(self) -> io::Result<(Launcher, Listener, T)> {
        let gone = |_| io::Error::other("the launcher thread ended");
        let (listener, prepared) = self.ready.recv().map_err(gone)??;
        Ok((self.launcher, listener, prepared))
    }
}

impl Launcher {
    /// Starts the thread, which puts the filter on itself. Before that, it runs `prepare`: what that puts on it is on the
    /// agent as well, and on the threads that it starts.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn begin<T: Send + 'static>(
        program: Program,
        prepare: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<Starting<T>> {
        let (ready, is_ready) = sync_channel(1);
        let (orders, take_order) = sync_channel::<Prepared>(1);
        let (answer, answers) = sync_channel(1);
        std::thread::Builder::new().name("launcher".into()).stack_size(256 << 10).spawn(move || {
            let listening = seccomp::no_new_privileges().and_then(|()| {
                let prepared = prepare()?;
                let (listener, _) = seccomp::listen(&program)?;
                Ok((listener, prepared))
            });
            let failed = listening.is_err();
            if ready.send(listening).is_err() || failed {
                return;
            }
            if let Ok(order) = take_order.recv() {
                // The receiver may be gone; then the whole process is about to be.
                drop(answer.send(order.start()));
            }
            loop {
                std::thread::park();
            }
        })?;
        Ok(Starting { ready: is_ready, launcher: Self { orders, answers } })
    }

    /// Starts the agent and returns its process id once the exec has succeeded.
    ///
    /// # Errors
    /// The step that failed; no process is left.
    pub fn launch(&self, command: Command) -> Answer {
        let gone = || LaunchError { step: Step::Fork, error: io::Error::other("the launcher thread ended") };
        let prepared = Prepared::new(command).map_err(|error| LaunchError { step: Step::Fork, error })?;
        self.orders.send(prepared).map_err(|_| gone())?;
        self.answers.recv().map_err(|_| gone())?
    }
}

/// Pointers to a list of strings, ended by null.
struct Vector {
    /// Owns what `pointers` points to; never changed after.
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Vector {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }
}

struct Prepared {
    candidates: Vec<CString>,
    argv: Vector,
    /// For each candidate, how a shell runs it where it is a script without `#!`.
    shell: Vec<Vector>,
    environment: Vector,
    directory: Option<CString>,
    mask: signals::Mask,
    limits: Limits,
    umask: u32,
    confinement: Option<Confinement>,
    report: (std::os::fd::OwnedFd, std::os::fd::OwnedFd),
}

// SAFETY: the pointers point into strings that the same value owns, on the heap; moving it to another thread
// moves neither.
unsafe impl Send for Prepared {}

impl Confinement {
    /// Runs in the child: keeps back every descriptor but the standard ones, then puts the layer on it. Both allocate
    /// nothing.
    fn confine(&self) -> io::Result<()> {
        // SAFETY: sets the flag of descriptors; none is closed under anybody.
        let kept = unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
        if kept != 0 {
            return Err(io::Error::last_os_error());
        }
        if let Some(group) = &self.group {
            group.pass()?;
        }
        self.layer.as_ref().map_or(Ok(()), Layer::enforce)
    }
}

impl Prepared {
    fn new(command: Command) -> io::Result<Self> {
        let shell = command
            .candidates
            .iter()
            .map(|file| {
                let rest = command.argv.iter().skip(1).cloned();
                Vector::new([c"/bin/sh".to_owned(), file.clone()].into_iter().chain(rest).collect())
            })
            .collect();
        Ok(Self {
            shell,
            candidates: command.candidates,
            argv: Vector::new(command.argv),
            environment: Vector::new(command.environment),
            directory: command.directory,
            mask: command.mask,
            limits: command.limits,
            umask: command.umask,
            confinement: command.confinement,
            report: rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?,
        })
    }

    fn start(self) -> Answer {
        let parent = rustix::process::getpid();
        // SAFETY: until its exec the child calls only async-signal-safe functions and allocates nothing, as a
        // child of a process with threads must (fork(2)).
        let started = unsafe { Door::fork(self.confinement.as_ref().and_then(|it| it.group.as_ref())) };
        if matches!(started, Ok(0)) {
            let (step, errno) = self.become_agent(parent);
            let message = [step as u8, u8::try_from(errno).unwrap_or(0)];
            let _ = rustix::io::write(&self.report.1, &message);
            crate::process::exit_now(127);
        }
        let failed = |step, error| LaunchError { step, error };
        let child = started.map_err(|error| failed(Step::Fork, error))?;
        let (read, write) = self.report;
        drop(write);
        let mut message = [0; 2];
        match rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut message)) {
            // Closed by a successful exec, or by the child's death, which shows as its exit.
            Ok(0) => Ok(child),
            Ok(_) => {
                // It ends at once; what it says was said.
                drop(crate::process::wait_for(child, true));
                let step = STEPS.into_iter().find(|step| *step as u8 == message[0]).unwrap_or(Step::Exec);
                Err(failed(step, io::Error::from_raw_os_error(i32::from(message[1]))))
            }
            Err(error) => Err(failed(Step::Exec, error.into())),
        }
    }

    /// Runs in the child; returns only where something failed.
    fn become_agent(&self, parent: Pid) -> (Step, i32) {
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(0);
        let died = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        // From within a namespace of its own, its parent has no id.
        let own_processes = self.confinement.as_ref().is_some_and(|confinement| confinement.own_processes);
        let expected = if own_processes { None } else { Some(parent) };
        if died.is_err() || rustix::process::getppid() != expected {
            return (Step::Fork, libc::ESRCH);
        }
        // A process that is not dumpable can't be read: what it executes could not be named.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
        for (resource, limit) in &self.limits.0 {
            let _ = rustix::process::setrlimit(*resource, *limit);
        }
        rustix::process::umask(Mode::from_bits_truncate(self.umask));
        if let Some(directory) = &self.directory {
            // SAFETY: the string ends with a zero byte and lives in `self`.
            if unsafe { libc::chdir(directory.as_ptr()) } != 0 {
                return (Step::Directory, errno());
            }
        }
        for fd in 0..3u8 {
            if inherited::was_closed(fd) {
                // SAFETY: the descriptor was opened by the runtime in place of a closed one; this process is
                // about to be another program.
                unsafe { libc::close(i32::from(fd)) };
            }
        }
        for (signal, ignored) in
            [(libc::SIGPIPE, inherited::sigpipe_ignored()), (libc::SIGCHLD, inherited::sigchld_ignored())]
        {
            // SAFETY: sets no handler, only one of the two constants.
            unsafe { libc::signal(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL }) };
        }
        drop(signals::restore(&self.mask));
        if let Some(confinement) = &self.confinement
            && let Err(error) = confinement.confine()
        {
            return (Step::Confine, error.raw_os_error().unwrap_or(0));
        }
        let mut result = libc::ENOENT;
        for (file, shell) in self.candidates.iter().zip(&self.shell) {
            // SAFETY: all vectors end with null and own their strings.
            unsafe {
                let environment = self.environment.pointers.as_ptr();
                libc::execve(file.as_ptr(), self.argv.pointers.as_ptr(), environment);
                if errno() == libc::ENOEXEC {
                    libc::execve(c"/bin/sh".as_ptr(), shell.pointers.as_ptr(), environment);
                }
            }
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                // As execvp(3): a file that may not be executed does not end the search, but is remembered.
                libc::EACCES => result = libc::EACCES,
                other => return (Step::Exec, other),
            }
        }
        (Step::Exec, result)
    }
}
