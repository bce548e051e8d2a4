//! The front: the `aegis` that was typed. It behaves as the agent would in its place.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd as _;

use aegis_sys::process::{self, Change};
use aegis_sys::signals::{self, Signals};
use aegis_types::ExitStatus;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::DumpableBehavior;

use crate::guard;
use crate::plan::{Plan, SessionError};
use crate::wire::{Report, ToFront, ToSession, Wire};

/// How a session ended, as far as the front waits for it.
#[derive(Debug)]
pub struct Finished {
    /// How the agent's first process ended.
    pub exit: ExitStatus,
    /// What was done.
    pub report: Report,
    /// Others of its processes go on, and so does the session, in the background.
    pub in_background: bool,
}

/// Runs a session; `notice` is given what the user should read while it runs.
///
/// This process must have one thread. Signals stay blocked in it.
///
/// # Errors
/// The agent could not be started, or Aegis failed and has ended it.
pub fn run(mut plan: Plan, mut notice: impl FnMut(&str)) -> Result<Finished, SessionError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| SessionError::Failed(format!("{what}: {error}"))
    };
    signals::hear_children();
    let mask = signals::block_all().map_err(failed("signals can't be blocked"))?;
    // The agent has our user: it must not be able to read or trace us. Children inherit it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(io::Error::from)
        .map_err(failed("prctl"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(io::Error::from)
        .map_err(failed("this process can't be made a subreaper"))?;
    plan.front = std::process::id();
    plan.observer.aegis.push(plan.front);
    let (ours, theirs) = Wire::pair().map_err(failed("a socket pair can't be made"))?;
    let mut ends = Some((ours, theirs));
    // To let go of it here would copy every page that it is in, which the guard has as well.
    let plan = ManuallyDrop::new(plan);
    let in_guard = || {
        let Some((ours, theirs)) = ends.take() else { return 1 };
        // Held by nobody but the front, so that its death shows at the other end.
        drop(ours);
        i32::from(guard::run(ManuallyDrop::into_inner(plan), theirs, mask).is_err())
    };
    let guard = process::fork(in_guard).map_err(failed("the guard can't be started"))?;
    let Some((wire, theirs)) = ends else {
        return Err(SessionError::Failed("the socket pair is gone".to_owned()));
    };
    drop(theirs);
    let front = Front { wire, guard, signals: Signals::new().map_err(failed("signals can't be read"))? };
    // Pipes that were handed down belong to the agent alone from now on; standard error is ours, too.
    for fd in 0..2 {
        aegis_sys::files::drop_standard(fd).map_err(failed("/dev/null can't be opened"))?;
    }
    aegis_sys::files::close_inherited().map_err(failed("/proc/self/fd can't be read"))?;
    front.attend(&mut notice).map_err(failed("the session can't be attended"))?
}

struct Front {
    wire: Wire,
    guard: u32,
    signals: Signals,
}

impl Front {
    fn attend(&self, notice: &mut impl FnMut(&str)) -> io::Result<Result<Finished, SessionError>> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.wire.as_fd(), PollFlags::IN),
            ];
            rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            let [signal, message] = fds.map(|fd| !fd.revents().is_empty());
            if message {
                match self.wire.receive()? {
                    Some(ToFront::Notice(text)) => notice(&text),
                    // Whoever continues us is heard of, and passed on, as any other signal.
                    Some(ToFront::Stopped(number)) => signals::stop_with(number)?,
                    Some(ToFront::Released(report)) => return Ok(finished(*report, true)),
                    Some(ToFront::Finished(report)) => return Ok(finished(*report, false)),
                    Some(ToFront::Failed { why, code }) => return Ok(Err(failure(why, code))),
                    None => return self.bereaved(),
                }
            }
            if signal {
                self.signals()?;
            }
        }
    }

    fn signals(&self) -> io::Result<()> {
        while let Some(signal) = self.signals.next()? {
            match signal.number {
                libc::SIGCHLD => {
                    // The guard's end shows at the wire, by the session's end or its own account.
                    while let Ok(Some(_)) = process::wait_for(self.guard, false) {}
                }
                // From the terminal: the agent has it, too, where it is meant for it. Others are for us in its
                // place, an alarm that was set before we were executed among them.
                number if signal.by_kernel && signals::is_of_terminal(number) && !is_for_leader(number) => {}
                number => self.pass_on(number, signal.sender)?,
            }
        }
        Ok(())
    }

    fn pass_on(&self, number: i32, sender: u32) -> io::Result<()> {
        match self.wire.send(&ToSession::Signal { number, sender }) {
            // The session has ended; what it said last is still to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// The session process died without a word: whatever is left is ended, by the guard or by us.
    fn bereaved(&self) -> io::Result<Result<Finished, SessionError>> {
        // It would do the same, unless somebody has stopped it.
        drop(signals::send(self.guard.cast_signed(), libc::SIGKILL));
        while !matches!(process::wait_for(self.guard, true), Ok(Some(Change::Ended(_))) | Err(_)) {}
        process::kill_descendants()?;
        let why = "the session's process died; the agent was ended. What it did until then is in the ledger or \
                   will be taken in by the next `aegis` command";
        Ok(Err(SessionError::Failed(why.to_owned())))
    }
}

/// Says whether a signal of the terminal came to us alone: at its end the kernel tells the session's leader only
/// (`setsid(2)`), and the group in front hears of it when the leader ends, which we do after the agent.
fn is_for_leader(number: i32) -> bool {
    let leads = || rustix::process::getsid(None).is_ok_and(|leader| leader == rustix::process::getpid());
    matches!(number, libc::SIGHUP | libc::SIGCONT) && leads()
}

fn finished(report: Report, in_background: bool) -> Result<Finished, SessionError> {
    match report.exit {
        Some(exit) => Ok(Finished { exit, report, in_background }),
        None => Err(SessionError::Failed("the agent's end was not seen".to_owned())),
    }
}

fn failure(why: String, code: u8) -> SessionError {
    match code {
        126 => SessionError::NotExecutable(why),
        127 => SessionError::NotFound(why),
        _ => SessionError::Failed(why),
    }
}
