//! Answering the calls of a tree whose policies are enforced.
//!
//! [`Supervisor::handle`] takes a notification, and answers it on every way through. A call that names a file goes
//! through four steps: its arguments are copied, its path is resolved to descriptors, the policies are asked about the
//! names that the kernel has for those, and the call is executed on them. It is recorded before it has an effect, and
//! the outcome behind it.
//!
//! All of this runs on threads in the agent's hull, whose ids are those of the agent.

mod change;
mod datagrams;
mod hosts;
mod names;
mod open;
mod processes;
mod sockets;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use aegis_observer::arguments::is_own_mistake;
use aegis_observer::calls::Shape;
use aegis_observer::observer::{INNER, Ruling, Written};
use aegis_observer::places::Places;
use aegis_observer::resolve::Caller;
use aegis_observer::{Draft, Met, Observer, Sink};
use aegis_policy::plan::SandboxPlan;
use aegis_sys::seccomp::{Notification, Parked};
use aegis_types::{Action, Assurance, Clock, Outcome, Resource, Text};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::network::Network;
use crate::place::{Found, Object};

/// Runs what may block for long, each on a thread of its own in the agent's hull.
pub trait Blocking: Send + Sync {
    /// Executes `work` for a caller that waits; its answer goes to the caller. The work is interrupted when the caller
    /// dies or has a signal to handle.
    fn run(
        &self,
        parked: Parked,
        work: Box<dyn FnOnce() -> Result<OwnedFd, Errno> + Send>,
        close_on_exec: bool,
    );

    /// Answers a call that was put aside.
    fn answer(&self, parked: Parked, done: Result<i64, Errno>);
}

/// The ids that stand for what no policy can open.
pub mod ids {
    /// Processes of Aegis itself.
    pub const PROCESSES: &str = "aegis:process";
    /// Datagrams to others than the session's resolver and programs.
    pub const DATAGRAMS: &str = "aegis:datagrams";
    /// Datagrams among the session's own programs.
    pub const OWN_DATAGRAMS: &str = "aegis:own-datagrams";
    /// Sockets of families that no policy speaks of.
    pub const NETWORK: &str = "aegis:network";
    /// What tells the kernel itself what to do.
    pub const KERNEL: &str = "aegis:kernel";
    /// A directory above a name that a policy says something else about.
    pub const PINNED: &str = "aegis:pinned";
}

/// Answers the calls of one session.
pub struct Supervisor<S, C> {
    observer: Arc<Observer<S, C>>,
    blocking: Arc<dyn Blocking>,
    network: Network,
    /// What may be moved hangs on it.
    plan: RwLock<Arc<SandboxPlan>>,
    /// The terminals whose other end was opened within the tree, by their number.
    terminals: Mutex<HashMap<u32, Object>>,
    /// Masks of modes, by process.
    umasks: Mutex<HashMap<u32, Umask>>,
    /// Never used: nothing is remembered of paths.
    places: Places,
    /// The session process.
    me: u32,
    /// The tree has process ids of its own.
    own_processes: bool,
}

impl<S, C> std::fmt::Debug for Supervisor<S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("me", &self.me).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process; what is behind a lock is never half-changed by one that goes on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an executed call returns.
type Done = Result<i64, Errno>;

impl<S: Sink, C: Clock> Supervisor<S, C> {
    /// Makes a supervisor over an observer that enforces.
    #[must_use]
    pub fn new(
        observer: Arc<Observer<S, C>>,
        plan: SandboxPlan,
        blocking: Arc<dyn Blocking>,
        network: Network,
        own_processes: bool,
    ) -> Self {
        Self {
            observer,
            blocking,
            network,
            plan: RwLock::new(Arc::new(plan)),
            terminals: Mutex::default(),
            umasks: Mutex::default(),
            places: Places::default(),
            me: std::process::id(),
            own_processes,
        }
    }

    /// Takes the plan of another policy set.
    pub fn take_plan(&self, plan: SandboxPlan) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
    }

    fn plan(&self) -> Arc<SandboxPlan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a call.
    ///
    /// # Errors
    /// The listener does not work any more.
    pub fn handle(&self, notification: Notification<'_>) -> io::Result<()> {
        let Some(met) = self.observer.meet(notification)? else { return Ok(()) };
        match met.call.shape {
            Shape::Open(at, flags) => self.open(met, at, flags),
            Shape::Remove(at) => self.remove(met, at),
            Shape::Rename(from, to, flags) => self.rename(met, from, to, flags),
            Shape::MakeDirectory(at) => self.make_directory(met, at),
            Shape::Make(at) => self.make(met, at),
            Shape::Link(from, to, links) => self.link(met, from, to, links),
            Shape::Change(at, links) => self.change(met, at, links),
            Shape::ChangeOpen(fd) => self.change_open(met, fd),
            Shape::Watch(fd, at) => self.watch(met, fd, at),
            Shape::Execute(..) => self.execute(met),
            Shape::Connect => self.connect(met),
            Shape::Bind => self.bind(met),
            Shape::Listen => self.listen(met),
            Shape::Socket => self.socket(met),
            Shape::MemoryFile => self.memory_file(met),
            Shape::Umask => {
                self.umask_changes(&met);
                met.notification.proceed()
            }
            Shape::Identity(count) => self.identity(met, count),
            Shape::Steer(argument) => self.steer(met, argument),
            Shape::Reach(argument, is_descriptor) => self.reach(met, argument, is_descriptor),
            Shape::Exit | Shape::ExitThread => {
                lock(&self.umasks).remove(&met.pid);
                self.observer.observe(met, Assurance::Observed, &|_| false)
            }
            Shape::ChangeDirectory => met.notification.proceed(),
            Shape::OwnListener | Shape::IoUring => {
                self.observer.observe(met, Assurance::Observed, &|_| false)
            }
            Shape::ChangeView | Shape::Mount | Shape::Unmount => self.refuse(met, VIEWS, libc::EPERM),
            Shape::OpenHandle | Shape::TypeIntoTerminal => self.refuse(met, REACHES, libc::EPERM),
            Shape::SendTo | Shape::SendMessage | Shape::SendMessages => self.send(met),
            Shape::SocketCall => self.refuse(met, UNGOVERNED, libc::EACCES),
        }
    }
}

impl<S: Sink, C: Clock> Supervisor<S, C> {
    fn caller(&self, met: &Met<'_>) -> Caller<'_> {
        // The agent can't have another view than the thread that answers: what changes it is refused.
        Caller {
            pid: met.pid,
            tid: met.notification.tid,
            other_view: false,
            places: &self.places,
            now_us: met.now.mono_us,
        }
    }

    /// Reads a path; a call that names none that can be read fails by itself.
    fn path(&self, met: &Met<'_>, at: aegis_observer::calls::At) -> Result<Vec<u8>, Errno> {
        met.arguments().path(at).map_err(|error| self.unread(met, &error))
    }

    /// Returns the errno of a call whose arguments can't be read.
    fn unread(&self, met: &Met<'_>, error: &io::Error) -> Errno {
        if is_own_mistake(error) {
            return match error.raw_os_error() {
                Some(libc::ENAMETOOLONG) => Errno::NAMETOOLONG,
                _ => Errno::FAULT,
            };
        }
        // What can't be read can't be decided on.
        self.observer.note_unreadable(met.pid, &met.process);
        Errno::ACCESS
    }

    /// Asks the policies, and says no by itself about what is Aegis' own.
    fn rule(&self, met: &Met<'_>, mut drafts: Vec<Draft>) -> Ruling {
        if self.own_processes {
            for draft in &mut drafts {
                if let Resource::Path(path) = &mut draft.resource
                    && let Some(outside) = self.outside_name(met, path.as_bytes())
                {
                    *path = Text::new(outside);
                }
            }
        }
        let mut ruling = self.observer.rule(met, drafts);
        let own = ruling.acts.iter().any(|act| match &act.resource {
            Resource::Path(path) => self.is_of_aegis(met, path.as_bytes()),
            _ => false,
        });
        if own {
            ruling.forbid(ids::PROCESSES);
        }
        ruling
    }

    /// Says whether a path is of a process of Aegis, in procfs.
    fn is_of_aegis(&self, met: &Met<'_>, path: &[u8]) -> bool {
        let Some(rest) = path.strip_prefix(b"/proc/") else { return false };
        let number = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        if number == FIRST {
            return true;
        }
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse::<u32>().ok());
        number.is_some_and(|number| number != met.pid && self.observer.is_of_aegis(number))
    }

    /// Names a path of procfs by the ids that processes have outside of the tree's own namespace; nothing where it is no
    /// path of a process.
    fn outside_name(&self, met: &Met<'_>, path: &[u8]) -> Option<Vec<u8>> {
        let rest = path.strip_prefix(b"/proc/")?;
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (number, rest) = rest.split_at_checked(end)?;
        let inner: u32 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let id = self.observer.outside_id(met.pid, inner);
        let id = id.map_or_else(|| format!("{INNER}{inner}"), |outer| outer.to_string());
        Some([b"/proc/", id.as_bytes(), rest].concat())
    }

    /// Answers a call that fails whatever the policies say, as it would by itself; what it was about is recorded where it
    /// is known.
    fn fail(&self, met: Met<'_>, draft: Option<Draft>, errno: Errno) -> io::Result<()> {
        let errno = errno.raw_os_error();
        if let Some(mut draft) = draft {
            draft.outcome = if errno == libc::ENOENT { Outcome::Missing } else { failed(errno) };
            if self.observer.note(&met, draft).is_err() {
                return met.notification.refuse(libc::EIO);
            }
        }
        met.notification.refuse(errno)
    }

    /// Answers a call whose target is not there: it says so, whatever the policies say.
    fn absent(&self, met: Met<'_>, drafts: Vec<Draft>, errno: Errno) -> io::Result<()> {
        let ruling = self.rule(&met, drafts);
        self.absent_as_ruled(met, ruling, errno)
    }

    fn absent_as_ruled(&self, met: Met<'_>, ruling: Ruling, errno: Errno) -> io::Result<()> {
        if !ruling.allowed && self.own_processes && ruling.acts.iter().any(|act| is_hidden(&act.resource)) {
            // It is there, and not to be seen: denied as it would be without a view.
            return self.deny(met, ruling);
        }
        match self.observer.write(&met, ruling, Some(Outcome::Missing)) {
            Ok(_) => met.notification.refuse(errno.raw_os_error()),
            Err(_) => met.notification.refuse(libc::EIO),
        }
    }

    /// Answers a call that the policies do not permit.
    fn deny(&self, met: Met<'_>, ruling: Ruling) -> io::Result<()> {
        // It is denied whether this is recorded or not.
        drop(self.observer.write(&met, ruling, Some(failed(libc::EACCES))).map(Written::forget));
        met.notification.refuse(libc::EACCES)
    }

    /// Answers a call that has an effect: where it is permitted, it is recorded, executed, and its outcome told.
    fn effect(&self, met: Met<'_>, ruling: Ruling, execute: impl FnOnce() -> Done) -> io::Result<()> {
        if !ruling.allowed {
            return self.deny(met, ruling);
        }
        if !met.notification.is_valid() {
            // Killed meanwhile: nothing happens any more.
            return met.notification.proceed();
        }
        let Ok(written) = self.observer.write(&met, ruling, None) else {
            // No record, no effect.
            return met.notification.refuse(libc::EIO);
        };
        match execute() {
            Ok(value) => {
                self.observer.settle(written, Outcome::Ok);
                met.notification.value(value)
            }
            Err(errno) => {
                self.observer.settle(written, failed(errno.raw_os_error()));
                met.notification.refuse(errno.raw_os_error())
            }
        }
    }

    /// Refuses what no policy can permit.
    fn refuse(&self, met: Met<'_>, why: &'static str, errno: i32) -> io::Result<()> {
        // It is refused whether this is recorded or not.
        drop(self.observer.refuse(met.call.name, why, &met.process));
        met.notification.refuse(errno)
    }

    /// Returns the mask of modes that the caller has.
    fn umask(&self, met: &Met<'_>) -> Mode {
        let known = {
            let umasks = lock(&self.umasks);
            // An id that was given out again is of another process.
            umasks.get(&met.pid).filter(|known| known.is_of(met)).map(|known| known.state)
        };
        if let Some(State::Is(mask)) = known {
            return mask;
        }
        let text = aegis_observer::processes::status_word(met.notification.tid, "Umask:");
        let bits = text.and_then(|text| u32::from_str_radix(&text, 8).ok());
        // One that can't be read gives nobody else anything.
        let mask = Mode::from_bits_truncate(bits.unwrap_or(0o077));
        self.remember_umask(met, State::Is(mask));
        mask
    }

    /// A process sets its mask of modes: with it, those that share it.
    fn umask_changes(&self, met: &Met<'_>) {
        lock(&self.umasks).retain(|_, known| matches!(known.state, State::Changes(_)));
        self.remember_umask(met, State::Changes(met.notification.tid));
    }

    fn remember_umask(&self, met: &Met<'_>, state: State) {
        let mut umasks = lock(&self.umasks);
        if let Some(known) = umasks.get(&met.pid).filter(|known| known.is_of(met))
            && let (State::Changes(tid), State::Is(_)) = (known.state, state)
            && tid != met.notification.tid
        {
            // Until the thread that sets another makes its next call, it may not be set yet.
            return;
        }
        if umasks.len() >= UMASKS_MAX {
            umasks.clear();
        }
        umasks.insert(met.pid, Umask { process: Arc::downgrade(&met.pidfd), state });
    }

    /// Runs what makes a file with the caller's mask of modes. Each thread that executes calls has one of its own.
    fn masked<T>(&self, met: &Met<'_>, make: impl FnOnce() -> T) -> T {
        rustix::process::umask(self.umask(met));
        make()
    }

    /// Returns an object, where it is there.
    fn there(found: Found) -> Result<Object, (Errno, Vec<u8>)> {
        match found {
            Found::There(object) => Ok(object),
            Found::Missing(path, _) => Err((Errno::NOENT, path)),
        }
    }

    /// Says whether a directory must stay where it is: below it are names about which the policies say something else.
    fn is_pinned(&self, path: &[u8]) -> bool {
        // As the policies are asked about it.
        self.plan().pins(&String::from_utf8_lossy(path))
    }

    /// Says whether a directory may have the other's name.
    fn are_alike(&self, one: &[u8], other: &[u8]) -> bool {
        // As the policies are asked about it.
        self.plan().are_alike(&String::from_utf8_lossy(one), &String::from_utf8_lossy(other))
    }
}

/// The first process of the tree's own namespace, which is of Aegis, as paths of procfs name it.
const FIRST: &[u8] = b"inner-1";

/// The mask of modes of a process.
struct Umask {
    process: Weak<OwnedFd>,
    state: State,
}

impl Umask {
    fn is_of(&self, met: &Met<'_>) -> bool {
        Weak::ptr_eq(&self.process, &Arc::downgrade(&met.pidfd))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// This.
    Is(Mode),
    /// A thread is about to set another.
    Changes(u32),
}

/// The most processes whose masks are remembered.
const UMASKS_MAX: usize = 4_096;

const VIEWS: &str = "namespaces, mounts and other roots are refused: paths would mean something else to the program than \
                     to who decides about them";
const REACHES: &str = "files by handle and typing into a terminal are refused";
const UNGOVERNED: &str = "sockets of other kinds than TCP, UDP and Unix streams (raw packets, Unix datagrams, other families) are refused";

/// Says whether something is there outside of the agent's view and not in it.
fn is_hidden(resource: &Resource) -> bool {
    let path = match resource {
        Resource::Path(path) | Resource::Unix(path) => path,
        Resource::Program(program) => &program.exe,
        _ => return false,
    };
    // What procfs tells of the tree's processes is seen, by other ids.
    if path.as_bytes().starts_with(b"/proc/") || rustix::fs::lstat(path.as_bytes()).is_ok() {
        return false;
    }
    let inside = path.as_bytes().strip_prefix(b"/").filter(|rest| !rest.is_empty());
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    inside.is_some_and(|inside| {
        rustix::fs::openat2(aegis_sys::outside::root(), inside, flags, Mode::empty(), how).is_ok()
    })
}

/// The outcome of a call that failed.
fn failed(errno: i32) -> Outcome {
    Outcome::Failed(aegis_sys::errno::name(errno))
}

/// Drafts what could not be resolved.
fn unresolved(action: Action, path: &[u8]) -> Draft {
    Draft::new(action, Resource::Unread(Text::new(path)))
}

/// Says whether something stands in the place of a name that has none: pipes, sockets, files in memory. Nothing is had
/// by opening again what one has open.
fn is_nameless(object: &Object) -> bool {
    let path = &object.path;
    // A file in memory has no name; one of the root directory may be called just so.
    let is_in_memory =
        path.starts_with(b"/memfd:") && path.ends_with(b" (deleted)") && object.stat.st_nlink == 0;
    !path.starts_with(b"/") || is_in_memory
}
