//! The observer: from a notification to its events, then the caller goes on.
//!
//! Any number of threads may call everything here. A
//! lock is held while tables are looked at, never while a file system is.

mod ends;
mod ruling;

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aegis_sys::memory::Memory;
use aegis_sys::seccomp::{Notification, RawCall};
use aegis_types::{
    Act, Action, Assurance, Clock, Decision, Event, Gap, GapReason, Moment, Outcome, PreImage, Process,
    Refusal, Resource, Timestamp, What,
};

use foldhash::HashMap;
use globset::GlobSet;

use crate::arguments::Arguments;
use crate::calls::{Call, I386, Shape, Table};
use crate::evidence::Check;
use crate::fold;
use crate::fold::Fold;
use crate::look::{Look, Looked};
use crate::places::Places;
use crate::preimage::{Clerk, PreImages};
use crate::processes::{FRESH_US, IdentifyError, Processes, status_number};
use crate::resolve::{Caller, is_below};
use crate::summary::Summary;

pub use self::ruling::{INNER, Ruling, Written};

/// Names a recorded event until its outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// Why a sink does not take an event.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The event is too large for a record.
    #[error("an event is too large for a record")]
    TooLarge,
    /// It takes no more.
    #[error("{0}")]
    Stopped(String),
}

/// What is to come of an event's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Nothing.
    Nothing,
    /// Perhaps evidence.
    Evidence,
    /// The outcome itself, soon.
    Outcome,
}

/// Where events go.
pub trait Sink: Send + Sync + 'static {
    /// Takes an event; returns once it is safe.
    ///
    /// # Errors
    /// It could not be taken: what it tells of must then not happen.
    fn record(&self, event: &Event, follows: Follows) -> Result<Ticket, SinkError>;

    /// Says whether there are policies, so that there is something to be asked.
    fn has_policies(&self) -> bool {
        false
    }

    /// Says what the policies would decide about an action, and which; nothing where there are none. `of_session` says that
    /// it is on the entries in `/proc` of a process of the session.
    fn would(&self, act: &Act, at: Timestamp, of_session: bool) -> Option<(Decision, Arc<[Arc<str>]>)> {
        let _ = (act, at, of_session);
        None
    }

    /// Says whether one of these policies names what an action is on, and not only a pattern or a place that it is in.
    fn is_named(&self, policies: &[Arc<str>], resource: &Resource) -> bool {
        let _ = (policies, resource);
        false
    }

    /// Takes how an event ended that was recorded as waiting.
    fn ended(&self, ticket: Ticket, outcome: Outcome);

    /// Tells the user something once.
    fn notice(&self, text: &str);
}

/// What an observer is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory whose files' former contents are kept.
    pub dir: Vec<u8>,
    /// Where they are kept.
    pub objects: PathBuf,
    /// The user's home: nothing in it is the system's own.
    pub home: Vec<u8>,
    /// Record every read.
    pub verbose: bool,
    /// Reads of the system's own files that fit are not recorded.
    pub ignore: GlobSet,
    /// Let io_uring through.
    pub allow_io_uring: bool,
    /// The user's id.
    pub uid: u32,
    /// The home of Aegis: what is in it is never kept.
    pub aegis_home: Vec<u8>,
    /// Files that this process must not open but for its own use of them: the ledger's.
    pub own_files: Vec<PathBuf>,
    /// What the policies deny does not happen.
    pub enforce: bool,
    /// The processes of Aegis itself, which nothing of the tree may reach into.
    pub aegis: Vec<u32>,
}

/// A call whose caller is known.
#[derive(Debug)]
pub struct Met<'n> {
    /// The call, to be answered.
    pub notification: Notification<'n>,
    /// What kind of call it is.
    pub call: Call,
    /// Its arguments, as the kernel would take them.
    pub raw: RawCall,
    /// The caller's process.
    pub pid: u32,
    /// The caller, for a record.
    pub process: Process,
    /// The caller's process, held.
    pub pidfd: Arc<OwnedFd>,
    /// Its memory, or why that can't be read.
    pub memory: Result<Arc<Memory>, i32>,
    /// When the call came.
    pub now: Moment,
    /// The ends of processes were collected a moment ago: the ids are certain.
    pub fresh: bool,
    /// Somebody may have another view of the file system than we have.
    pub other_views: bool,
}

impl Met<'_> {
    /// Returns the call's arguments.
    #[must_use]
    pub fn arguments(&self) -> Arguments<'_> {
        Arguments { tid: self.notification.tid, raw: self.raw, memory: &self.memory }
    }
}

/// Sees what a process tree does.
pub struct Observer<S, C> {
    pub(crate) settings: Settings,
    sink: S,
    clock: C,
    table: Table,
    state: Mutex<State>,
    preimages: PreImages,
    /// Who keeps former contents where those who answer calls can't.
    clerk: OnceLock<Clerk>,
    places: Places,
    /// Held while ends are collected.
    collecting: Mutex<()>,
    /// When the ends of processes were last collected, in microseconds of the monotonic clock.
    collected_us: AtomicU64,
}

pub(crate) struct State {
    processes: Processes,
    /// What each thread's last calls should have changed.
    checks: HashMap<u32, Vec<Check>>,
    summary: Summary,
    /// Paths of Unix sockets that processes of the tree have bound.
    own_sockets: HashSet<Vec<u8>>,
    /// The same by the sockets' inodes.
    bound: HashMap<u64, Vec<u8>>,
    /// Notices that were given.
    told: HashSet<&'static str>,
    /// Somebody may have another root or other mounts than we have.
    views_differ: bool,
    operations: u64,
    /// What the counts of reads take.
    fold_memory: fold::Memory,
}

impl<S, C> std::fmt::Debug for Observer<S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A look that takes longer may be told of a caller that was killed meanwhile, in microseconds.
const SLOW_US: u64 = 10_000;

/// The most threads for which files are held open to see later what became of them.
const CHECKS_MAX: usize = 4_096;

/// The most Unix sockets that are remembered as the tree's own.
const SOCKETS_MAX: usize = 10_000;

impl State {
    /// Takes the checks of all threads of a process.
    fn checks_of(&mut self, pid: u32) -> Vec<Check> {
        let processes = &self.processes;
        let of = self.checks.extract_if(|tid, _| processes.is_thread_of(*tid, pid));
        of.flat_map(|(_, checks)| checks).collect()
    }
}

impl<S: Sink, C: Clock> Observer<S, C> {
    /// Makes an observer that has seen nothing.
    ///
    /// # Errors
    /// That of `epoll_create1(2)`.
    pub fn new(settings: Settings, sink: S, clock: C) -> std::io::Result<Self> {
        let state = State {
            processes: Processes::new()?,
            checks: HashMap::default(),
            summary: Summary::default(),
            own_sockets: HashSet::new(),
            bound: HashMap::default(),
            told: HashSet::new(),
            views_differ: false,
            operations: 0,
            fold_memory: fold::Memory::default(),
        };
        let preimages = PreImages::new(settings.objects.clone(), settings.own_files.clone());
        Ok(Self {
            settings,
            sink,
            clock,
            table: Table::default(),
            state: Mutex::new(state),
            preimages,
            clerk: OnceLock::new(),
            places: Places::default(),
            collecting: Mutex::new(()),
            collected_us: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread ends the process; the state is never half-changed by one that goes on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn preimages(&self) -> &PreImages {
        &self.preimages
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.state().summary.clone()
    }

    /// Returns how many processes are known to live.
    #[must_use]
    pub fn living(&self) -> usize {
        self.state().processes.len()
    }

    /// Returns the sink.
    #[must_use]
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Returns a descriptor that is readable when a process has ended and [`Observer::collect_ends`] is due.
    ///
    /// # Errors
    /// That of `dup(2)`.
    pub fn ends(&self) -> std::io::Result<OwnedFd> {
        self.state().processes.ends().try_clone_to_owned()
    }

    /// Records what a notification tells of, then lets the caller go on, or refuses what can't be observed.
    ///
    /// # Errors
    /// The listener does not work any more.
    pub fn handle(&self, notification: Notification<'_>) -> std::io::Result<()> {
        match self.meet(notification)? {
            Some(met) => self.observe(met, Assurance::Observed, &|_| false),
            None => Ok(()),
        }
    }

    /// Finds out who makes a call. What needs no more than that is answered at once: then there is nothing.
    ///
    /// # Errors
    /// The listener does not work any more.
    pub fn meet<'n>(&self, notification: Notification<'n>) -> std::io::Result<Option<Met<'n>>> {
        let done = |answered: std::io::Result<()>| answered.map(|()| None);
        let tid = notification.tid;
        let raw = as_executed(notification.call);
        let RawCall { architecture, number, .. } = raw;
        let call = self.table.get(architecture, number).cloned();
        let now = self.clock.now();
        let now_us = now.mono_us;
        let fresh = now_us.saturating_sub(self.collected_us.load(Ordering::Relaxed)) < FRESH_US;
        self.places.settle(tid, now_us);
        let (pid, pidfd, memory, process, checks, other_views) = {
            let mut state = self.state();
            let pid = match state.processes.identify(tid, fresh, now_us) {
                Ok((pid, new)) => {
                    state.summary.processes += u64::from(new);
                    pid
                }
                // It was killed while it waited.
                Err(IdentifyError::Gone) if !notification.is_valid() => return done(notification.proceed()),
                Err(IdentifyError::Gone) => {
                    drop(state);
                    return self.meet_successor(notification);
                }
                // It can't be kept from ending, and what it did before stands already.
                Err(IdentifyError::Limit(_))
                    if call.as_ref().is_some_and(|c| matches!(c.shape, Shape::Exit | Shape::ExitThread)) =>
                {
                    return done(notification.proceed());
                }
                Err(error @ IdentifyError::Limit(_)) => {
                    drop(state);
                    // What can't be attributed must not happen.
                    // What takes no record is refused all the same.
                    drop(self.gap(GapReason::Limit, error.to_string(), None));
                    return done(notification.refuse(libc::EAGAIN));
                }
            };
            let mut checks = state.checks.remove(&tid).unwrap_or_default();
            if call.as_ref().is_some_and(|call| call.shape == Shape::Exit) {
                checks.append(&mut state.checks_of(pid));
            }
            let memory = state.processes.memory_of(pid, tid);
            let Some(known) = state.processes.get_mut(pid) else { return done(notification.proceed()) };
            let pidfd = Arc::clone(&known.pidfd);
            (pid, pidfd, memory, state.processes.describe(pid, tid), checks, state.views_differ)
        };
        self.evaluate(checks, &pidfd);
        let Some(call) = call else { return done(self.unknown_abi(notification, process)) };
        if architecture == I386 && self.first_foreign(pid, &process).is_err() {
            return done(notification.refuse(libc::EIO));
        }
        Ok(Some(Met { notification, call, raw, pid, process, pidfd, memory, now, fresh, other_views }))
    }

    /// Records what a call is about to do, and lets it go on; where policies are enforced, only what they permit. What
    /// it does then is up to its arguments, which can change in between: `assurance` says what stands behind that. What is
    /// missing is denied where `is_hidden` says that it is there, and not for the caller to see.
    ///
    /// # Errors
    /// The listener does not work any more.
    pub fn observe(
        &self,
        met: Met<'_>,
        assurance: Assurance,
        is_hidden: &dyn Fn(&Resource) -> bool,
    ) -> std::io::Result<()> {
        let Met { notification, call, raw, pid, process, pidfd, memory, now, fresh, other_views } = met;
        let (tid, now_us) = (notification.tid, now.mono_us);
        let other_view = other_views && Caller::has_other_view(pid, tid);
        let caller = Caller { pid, tid, other_view, places: &self.places, now_us };
        let look = Look { observer: self, caller, call: &call, raw, pidfd: &pidfd, memory: &memory };
        let looked = look.look();
        let slow = self.clock.now().mono_us.saturating_sub(now_us) > SLOW_US;
        if (looked.failed || !fresh || slow) && !notification.is_valid() {
            // Killed meanwhile: what was read may be another process', and nothing happens any more.
            return notification.proceed();
        }
        if looked.unsettles {
            self.places.unsettle(tid, raw.number, now_us);
        }
        match self.record(caller, now, &process, &call, looked, (assurance, is_hidden)) {
            Ok(None) => notification.proceed(),
            Ok(Some(errno)) => notification.refuse(errno),
            // No record, no grant.
            Err(_) => notification.refuse(libc::EIO),
        }
    }

    /// The id belongs to another process than before: the end of the first is told, then the second is met.
    fn meet_successor<'n>(&self, notification: Notification<'n>) -> std::io::Result<Option<Met<'n>>> {
        self.collect_ends();
        let tid = notification.tid;
        let now_us = self.clock.now().mono_us;
        let gone = {
            let mut state = self.state();
            state
                .processes
                .identify(tid, false, now_us)
                .is_err()
                .then(|| state.processes.remove(tid))
                .flatten()
        };
        if let Some(known) = gone {
            self.tell_end(tid, known);
        }
        if self.state().processes.identify(tid, false, now_us).is_err() {
            let answered = if notification.is_valid() {
                notification.refuse(libc::EAGAIN)
            } else {
                notification.proceed()
            };
            return answered.map(|()| None);
        }
        self.meet(notification)
    }

    /// A call by the numbers of x32: refused, and said.
    fn unknown_abi(&self, notification: Notification<'_>, process: Process) -> std::io::Result<()> {
        if notification.call.number == u32::MAX {
            // No call at all: what tracers put in place of one, and what the kernel answers with ENOSYS.
            return notification.proceed();
        }
        let detail = format!("call {:#x} of an unsupported ABI was refused", notification.call.number);
        // It is refused whether this is recorded or not.
        drop(self.refusal("syscall", detail, process));
        notification.refuse(libc::ENOSYS)
    }

    fn first_foreign(&self, pid: u32, process: &Process) -> Result<(), SinkError> {
        let first = self
            .state()
            .processes
            .get_mut(pid)
            .is_some_and(|known| !std::mem::replace(&mut known.foreign, true));
        if !first {
            return Ok(());
        }
        let detail = "a 32-bit program: its calls are decoded by the 32-bit table".to_owned();
        self.gap(GapReason::ForeignArchitecture, detail, Some(process.clone()))
    }

    fn event(&self, what: What) -> Event {
        let now = self.clock.now();
        Event { at: now.wall, mono_us: now.mono_us, what }
    }

    /// Records what was looked at; returns the errno to refuse with, if any.
    fn record(
        &self,
        caller: Caller<'_>,
        now: Moment,
        process: &Process,
        call: &Call,
        mut looked: Looked,
        (assurance, is_hidden): (Assurance, &dyn Fn(&Resource) -> bool),
    ) -> Result<Option<i32>, SinkError> {
        if looked.unreadable {
            self.first_unreadable(caller.pid, process)?;
        }
        for (reason, detail) in looked.gaps {
            self.gap(reason, detail, Some(process.clone()))?;
        }
        if let Some(why) = looked.refusal {
            self.refusal(call.name, why.to_owned(), process.clone())?;
            self.tell_once(why);
        }
        let operation = (looked.drafts.len() > 1).then(|| self.next_operation());
        let act = |draft| self.act(now, process, call, draft, operation, assurance);
        let mut acts: Vec<Act> = looked.drafts.into_iter().map(act).collect();
        if acts.iter().any(|act| act.decision == Decision::Deny) {
            let refused = Outcome::Failed(aegis_sys::errno::name(libc::EACCES));
            for act in &mut acts {
                if act.outcome == Outcome::Unknown
                    || (act.outcome == Outcome::Missing && is_hidden(&act.resource))
                {
                    act.outcome = refused;
                }
            }
            looked.signs.clear();
            looked.executes = None;
            // What is not there is said to be missing, as it would be without policies.
            let missing = acts.iter().all(|act| act.outcome == Outcome::Missing);
            looked.errno = looked.errno.or(Some(if missing { libc::ENOENT } else { libc::EACCES }));
        }
        // A look at a file system that another process serves may never end, least of all once that has gone.
        looked.signs.retain(|(_, sign)| !sign.may_wait());
        let waiting: Vec<usize> =
            looked.signs.iter().flat_map(|(drafts, _)| drafts.iter().copied()).collect();
        let mut tickets = Vec::with_capacity(acts.len());
        for (index, act) in acts.into_iter().enumerate() {
            let waits = waiting.contains(&index);
            let name = match &act.resource {
                Resource::Path(path) if waits => path.as_bytes().to_vec(),
                _ => Vec::new(),
            };
            let action = act.action;
            let follows = if waits { Follows::Evidence } else { Follows::Nothing };
            let ticket = self.record_act(now, act, follows)?;
            tickets.push((ticket, action, name));
        }
        let checks: Vec<Check> = looked
            .signs
            .into_iter()
            .map(|(drafts, sign)| {
                let of = |index: &usize| {
                    let (ticket, action, name) = tickets.get(*index)?;
                    Some(((*ticket)?, *action, name.clone()))
                };
                Check { acts: drafts.iter().filter_map(of).collect(), sign, at_us: now.mono_us }
            })
            .collect();
        if let Some((path, inode)) = looked.own_socket {
            self.remember_socket(path, inode);
        }
        let mut state = self.state();
        if !checks.is_empty() {
            if state.checks.len() >= CHECKS_MAX {
                state.checks.clear();
            }
            // After an exec, the thread that did it has the process' id.
            let tid = if looked.executes.is_some() { caller.pid } else { caller.tid };
            state.checks.insert(tid, checks);
        }
        if looked.thread_ends {
            state.processes.forget_thread(caller.tid);
        }
        state.views_differ |= looked.view_changes;
        if looked.unmounts {
            // A file that is held keeps its mount busy.
            state.checks.clear();
        }
        if let Some(known) = state.processes.get_mut(caller.pid) {
            known.executing = looked.executes.or(known.executing);
            known.exit_code = looked.exit_code.or(known.exit_code);
        }
        Ok(looked.errno)
    }

    fn next_operation(&self) -> u64 {
        let mut state = self.state();
        state.operations += 1;
        state.operations
    }

    /// Keeps what a file holds before it is changed, where it is one whose contents are kept.
    pub fn former(&self, path: &[u8], file: &Arc<OwnedFd>, stat: &rustix::fs::Stat) -> Option<PreImage> {
        let is_plain = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile;
        if !is_plain || !self.is_kept(path) {
            return None;
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        match self.clerk.get() {
            // Most of what is changed was made or changed by the session before: no other thread is waited for then.
            Some(_) if self.preimages.has_seen(file) => None,
            Some(clerk) => clerk.before_change(file, size),
            None => self.preimages.before_change(file, size),
        }
    }

    /// Remembers that a file is this session's own, where contents are kept.
    pub fn made(&self, path: &[u8], folder: &OwnedFd, name: &[u8]) {
        if self.is_kept(path) {
            self.preimages.made(folder, name);
        }
    }

    /// Lets a thread keep former contents for those that can't reach where they are kept. To be called by one that can.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn employ_clerk(self: &Arc<Self>) -> std::io::Result<()> {
        let (clerk, jobs) = Clerk::new();
        let observer = Arc::clone(self);
        std::thread::Builder::new().name("clerk".into()).stack_size(256 << 10).spawn(move || {
            while let Ok(job) = jobs.recv() {
                job.answer(|file, size| observer.preimages.before_change(file, size));
            }
        })?;
        drop(self.clerk.set(clerk));
        Ok(())
    }

    /// Says whether a process is one of Aegis itself.
    #[must_use]
    pub fn is_of_aegis(&self, pid: u32) -> bool {
        let aegis = &self.settings.aegis;
        aegis.contains(&pid) || status_number(pid, "Tgid:").is_some_and(|owner| aegis.contains(&owner))
    }

    /// Returns the id here of a process of the tree, by its id in the namespace that it is in, where it is known; that of
    /// the caller is looked at first.
    #[must_use]
    pub fn outside_id(&self, caller: u32, inner: u32) -> Option<u32> {
        let is = |pid: &u32| crate::processes::last_number(*pid, "NStgid:") == Some(inner);
        if is(&caller) {
            return Some(caller);
        }
        let known = self.state().processes.ids();
        known.into_iter().find(is)
    }

    /// Remembers that a process of the tree has bound a Unix socket to this path.
    pub fn remember_socket(&self, path: Vec<u8>, inode: Option<u64>) {
        let mut state = self.state();
        if state.own_sockets.len() >= SOCKETS_MAX || state.bound.len() >= SOCKETS_MAX {
            // What is forgotten is at worst taken for a socket outside the tree.
            state.own_sockets.clear();
            state.bound.clear();
        }
        if let Some(inode) = inode {
            state.bound.insert(inode, path.clone());
        }
        state.own_sockets.insert(path);
    }

    /// Records that something was refused whatever the policies say, and tells of it, once for each reason.
    ///
    /// # Errors
    /// It could not be recorded.
    pub fn refuse(&self, call: &'static str, why: &'static str, process: &Process) -> Result<(), SinkError> {
        self.refusal(call, why.to_owned(), process.clone())?;
        self.tell_once(why);
        Ok(())
    }

    /// Records that a process can't be read, once for each.
    pub fn note_unreadable(&self, pid: u32, process: &Process) {
        // Its call is refused whether this is recorded or not.
        drop(self.first_unreadable(pid, process));
    }

    /// Records one act, unless it is only counted.
    fn record_act(&self, now: Moment, mut act: Act, follows: Follows) -> Result<Option<Ticket>, SinkError> {
        let denied = act.is_denied();
        // What is denied is not folded away.
        if !denied {
            act.folded = match self.fold(act.process.pid, &act) {
                Fold::Counted => return Ok(None),
                Fold::First => true,
                Fold::No => false,
            };
        }
        {
            let mut state = self.state();
            state.summary.entry(act.action, act.outcome, 0);
            let reached = act.direction.is_none() && !act.outcome.is_failure();
            if act.action == Action::NetConnect && reached {
                state.summary.host(host_of(&act.resource));
            }
            if denied && act.outcome != Outcome::Missing {
                state.summary.deny(act.action, &host_of(&act.resource), &act.policies);
            }
        }
        let mut event = Event { at: now.wall, mono_us: now.mono_us, what: What::Action(Box::new(act)) };
        match self.sink.record(&event, follows) {
            Err(SinkError::TooLarge) => {
                // Paths alone always fit; arguments can be many times longer in a record than they are.
                if let What::Action(act) = &mut event.what
                    && let Resource::Program(program) = &mut act.resource
                {
                    let all = program.argv.len() as u64 + program.argv_omitted.unwrap_or(0);
                    program.argv.clear();
                    program.argv_omitted = Some(all);
                }
                self.sink.record(&event, follows).map(Some)
            }
            other => other.map(Some),
        }
    }

    fn fold(&self, pid: u32, act: &Act) -> Fold {
        let is_read = matches!(act.action, Action::FileRead | Action::DirList);
        let Resource::Path(path) = &act.resource else { return Fold::No };
        let settings = &self.settings;
        if !is_read || !fold::is_system(path.as_bytes(), pid, &settings.home, &settings.dir) {
            return Fold::No;
        }
        if settings.ignore.is_match(std::ffi::OsStr::from_bytes(path.as_bytes())) {
            return Fold::Counted;
        }
        if settings.verbose {
            return Fold::No;
        }
        let mut state = self.state();
        let State { processes, fold_memory, .. } = &mut *state;
        let Some(known) = processes.get_mut(pid) else { return Fold::No };
        known.folds.count(path.as_bytes(), act.action == Action::DirList, fold_memory)
    }

    /// Says whether a file is of the directory whose former contents are kept.
    pub(crate) fn is_kept(&self, path: &[u8]) -> bool {
        let dir = &self.settings.dir;
        let home = &self.settings.aegis_home;
        !dir.is_empty() && is_below(path, dir) && (home.is_empty() || !is_below(path, home))
    }

    /// Returns the path that a socket was bound to.
    #[must_use]
    pub fn bound_path(&self, inode: u64) -> Option<Vec<u8>> {
        self.state().bound.get(&inode).cloned()
    }

    pub(crate) fn is_own_socket(&self, path: &[u8]) -> bool {
        self.state().own_sockets.contains(path)
    }

    fn first_unreadable(&self, pid: u32, process: &Process) -> Result<(), SinkError> {
        let first = self
            .state()
            .processes
            .get_mut(pid)
            .is_some_and(|known| !std::mem::replace(&mut known.unreadable, true));
        if !first {
            return Ok(());
        }
        let detail = "the process could not be read: the names that its calls used are not known".to_owned();
        self.gap(GapReason::Unreadable, detail, Some(process.clone()))
    }

    fn gap(&self, reason: GapReason, detail: String, process: Option<Process>) -> Result<(), SinkError> {
        self.state().summary.gaps += 1;
        let event = self.event(What::Gap(Gap { detail, process, reason }));
        self.sink.record(&event, Follows::Nothing).map(drop)
    }

    fn refusal(&self, call: &'static str, detail: String, process: Process) -> Result<(), SinkError> {
        let event = self.event(What::Refusal(Refusal { call: call.into(), detail, process }));
        self.sink.record(&event, Follows::Nothing).map(drop)
    }

    /// Tells the user something, once.
    pub fn tell_once(&self, text: &'static str) {
        if self.state().told.insert(text) {
            self.sink.notice(text);
        }
    }
}

/// Returns a call as the kernel executes it: of a 32-bit call's registers it takes the low halves only, while a
/// 64-bit program that makes one (`int 0x80`) may have anything in the high ones.
fn as_executed(mut call: RawCall) -> RawCall {
    if call.architecture == I386 {
        for argument in &mut call.arguments {
            *argument &= 0xffff_ffff;
        }
    }
    call
}

/// Returns a connection's target as one word.
fn host_of(resource: &Resource) -> String {
    match resource {
        Resource::Net(to) => to.to_string(),
        Resource::Unix(path) => format!("unix:{}", path.to_string_lossy()),
        Resource::Unread(text) | Resource::Path(text) => text.to_string_lossy().into_owned(),
        Resource::Program(program) => program.exe.to_string_lossy().into_owned(),
    }
}
