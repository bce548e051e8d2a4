//! The session process: starts the agent, answers the kernel's questions, records.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aegis_ledger::recorder::Trouble;
use aegis_ledger::recovery::LiveFolder;
use aegis_ledger::{Ledger, LedgerError, Receipt, RecordError, Recorder};
use aegis_observer::{Follows, Observer, Sink, SinkError, Ticket};
use aegis_sandbox::{Group, Hull, Layers, Supervisor, View, cgroup, filter, privileges};
use aegis_sys::clock::{SystemClock, monotonic_us};
use aegis_sys::landlock::Layer;
use aegis_sys::launch::{self, Launcher, Starting, Step};
use aegis_sys::namespaces::{self, First};
use aegis_sys::process::{self, Change};
use aegis_sys::signals::{self, Mask, Signal, Signals};
use aegis_types::{
    Act, Clock as _, Decision, Event, ExitStatus, Outcome, Resource, SessionEnd, SessionId, Text, Timestamp,
    What,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};

use crate::foreman::{Foreman, Waiting};
use crate::judge::Judge;
use crate::network;
use crate::plan::{Enforce, Plan};
use crate::policies::with_stack;
use crate::policy::SessionPolicy;
use crate::wire::{Denied, Report, ToFront, ToSession, Wire};
use crate::workers::Workers;

/// How long the session's start may take to be synced: the time another program may hold the ledger.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// How long the end may take.
const END_PATIENCE: Duration = Duration::from_secs(15);

/// How long processes that the agent left behind are waited for before the front is let go.
const STRAGGLERS: Duration = Duration::from_millis(50);

/// For how many descriptors room is made: two for each process, and those of directories in use.
const DESCRIPTORS: u32 = 2_048;

/// How often is looked after threads that are stuck in a file system that the tree itself serves.
const TICK: Duration = Duration::from_millis(250);

/// How often is looked after a policy set that is on its way into the ledger.
const SOON: Duration = Duration::from_millis(2);

/// How often is looked whether callers that wait have gone or have a signal to handle.
const SWEEP: Duration = Duration::from_millis(20);

/// The sink of a session: its recorder, and the front for notices.
#[derive(Debug)]
pub(crate) struct SessionSink {
    recorder: Arc<Recorder>,
    front: Arc<Wire>,
    judge: Arc<Judge>,
}

impl Sink for SessionSink {
    fn record(&self, event: &Event, follows: Follows) -> Result<Ticket, SinkError> {
        let receipt = match follows {
            Follows::Nothing => self.recorder.observe(event),
            Follows::Evidence => self.recorder.observe_waiting(event),
            Follows::Outcome => self.recorder.observe_executing(event),
        };
        match receipt {
            Ok(Receipt::Spooled(n) | Receipt::Durable(n)) => Ok(Ticket(n)),
            Err(LedgerError::Record(RecordError::TooLarge(_))) => Err(SinkError::TooLarge),
            Err(error) => Err(SinkError::Stopped(error.to_string())),
        }
    }

    fn has_policies(&self) -> bool {
        self.judge.is_asked()
    }

    fn would(&self, act: &Act, at: Timestamp, of_session: bool) -> Option<(Decision, Arc<[Arc<str>]>)> {
        let opinion = self.judge.would(act, at, of_session)?;
        if let Some(notice) = opinion.notice {
            self.notice(&notice);
        }
        Some((opinion.would, opinion.policies))
    }

    fn is_named(&self, policies: &[Arc<str>], resource: &Resource) -> bool {
        self.judge.is_named(policies, resource)
    }

    fn ended(&self, ticket: Ticket, outcome: Outcome) {
        // Without it the outcome stays unknown, which is true as well.
        drop(self.recorder.ended(Receipt::Spooled(ticket.0), outcome));
    }

    fn notice(&self, text: &str) {
        // The front may have gone.
        drop(self.front.try_send(&ToFront::Notice(text.to_owned())));
    }
}

pub(crate) type SessionObserver = Observer<SessionSink, SystemClock>;

/// Runs in the session process and returns its exit code, which nobody looks at.
pub(crate) fn run(plan: Plan, wire: Wire, mask: Mask, guard: OwnedFd) -> i32 {
    let wire = Arc::new(wire);
    let tmp = plan.tmp.clone();
    let failed = match Session::start(plan, Arc::clone(&wire), mask, guard) {
        Ok(mut session) => match session.attend() {
            Ok(()) => return 0,
            Err(error) => {
                let why = format!("the session can't go on: {error}");
                session.abandon(&why);
                Failure { why, code: 125 }
            }
        },
        Err(failure) => failure,
    };
    remove_tmp(tmp);
    // The front may have gone.
    drop(wire.send(&ToFront::Failed { why: failed.why, code: failed.code }));
    1
}

/// Why the session did not start.
struct Failure {
    why: String,
    code: u8,
}

impl Failure {
    #[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
    fn new(why: impl ToString) -> Self {
        Self { why: why.to_string(), code: 125 }
    }
}

/// Removes the temporary directory of a session that is over; what can't be removed stays, which harms nobody.
fn remove_tmp(tmp: Option<PathBuf>) {
    // Links in it are removed, never followed.
    drop(tmp.map(std::fs::remove_dir_all));
}

/// What enforces the policies.
struct Enforced {
    supervisor: Arc<Supervisor<SessionSink, SystemClock>>,
    waiting: Waiting,
    /// The hull of the set that the session started with: it stays. In a dry run it is that of none.
    hull: Hull,
    dry: bool,
    /// The first process of the agent's namespace; let go of when the agent has ended.
    first: Option<First>,
    /// Removed when the session is over.
    group: Option<Group>,
}

/// What confines the agent, while a thread of its own makes it.
struct Confining {
    enforce: Enforce,
    hull: Hull,
    starting: Starting<(Foreman, Option<Layer>, Option<First>)>,
}

impl Confining {
    /// Begins to put the thread that is to start the agent into the hull of the policies, with all that it starts.
    fn begin(enforce: Enforce, tmp: Option<PathBuf>) -> io::Result<Self> {
        let hull = Hull::of(&enforce.plan);
        let Enforce { landlock, root, namespaces, .. } = enforce;
        let view = namespaces.then(|| View::of(&hull, Some(enforce.home.clone()), &enforce.start, tmp));
        let inside = hull.clone();
        let prepare = move || {
            let first = view.map(|view| view.enter()).transpose()?;
            let layers = landlock.map(|abi| Layers::make(&inside, abi)).transpose()?;
            // What a user namespace gave a user, or whoever started it.
            let drop_privileges = move || if root { privileges::drop_most() } else { privileges::drop_all() };
            if let Some(layers) = &layers {
                layers.hull.enforce()?;
            }
            let foreman = Foreman::start(drop_privileges)?;
            if let Some(first) = &first {
                first.enter()?;
            }
            drop_privileges()?;
            Ok((foreman, layers.map(|layers| layers.own), first))
        };
        let choices = filter::Choices { root, own_ipc: namespaces };
        let starting = Launcher::begin(filter::filter(choices), prepare)?;
        Ok(Self { enforce, hull, starting })
    }
}

struct Session {
    id: SessionId,
    ledger: PathBuf,
    wire: Arc<Wire>,
    guard: OwnedFd,
    signals: Signals,
    recorder: Arc<Recorder>,
    observer: Arc<SessionObserver>,
    policy: SessionPolicy,
    workers: Workers,
    enforced: Option<Enforced>,
    folder: Option<LiveFolder>,
    /// A temporary directory that goes with the session.
    tmp: Option<PathBuf>,
    /// Readable when the ledger has failed.
    failed: Arc<OwnedFd>,
    /// The agent's first process.
    agent: u32,
    /// The `aegis` that was typed.
    front: u32,
    started_us: u64,
    /// Signals that we got ourselves and that the front has not told of: they were sent to the group.
    heard: Vec<Signal>,
    exit: Option<ExitStatus>,
    /// Until when stragglers are waited for, in microseconds.
    release_at: Option<u64>,
    /// The front has been let go.
    released: bool,
}

impl Session {
    fn start(mut plan: Plan, wire: Arc<Wire>, mask: Mask, guard: OwnedFd) -> Result<Self, Failure> {
        aegis_sys::outside::hold();
        if plan.enforce.as_ref().is_some_and(|enforce| enforce.namespaces && !enforce.root) {
            namespaces::enter_user_namespace()
                .map_err(|error| Failure::new(format!("no user namespace can be had: {error}")))?;
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(Failure::new)?;
        // It only saves time; a limit that is lower is no reason not to start.
        drop(process::make_room_for_descriptors(DESCRIPTORS));
        // What confines the agent is made while the ledger is opened.
        let confining = plan.enforce.take().map(|enforce| Confining::begin(enforce, plan.tmp.clone()));
        let confining = confining.transpose().map_err(|error| not_listening(&error))?;
        let enforces = confining.is_some();
        let ledger = Ledger::open(&plan.ledger, &plan.custody).map_err(Failure::new)?;
        let known = ledger.policy_texts().map_err(Failure::new)?;
        let folder = LiveFolder::create(&plan.run, plan.id, &plan.ledger)
            .map_err(|error| Failure::new(format!("{}: {error}", plan.run.display())))?;
        let failed = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).map_err(Failure::new)?;
        let failed = Arc::new(failed);
        let trouble = tell_trouble(Arc::clone(&wire), Arc::clone(&failed));
        let recorder = Arc::new(
            Recorder::start(ledger, plan.id, folder.path(), enforces, trouble).map_err(Failure::new)?,
        );
        let policy = SessionPolicy::new(plan.policy, known, enforces);
        let sink = SessionSink {
            recorder: Arc::clone(&recorder),
            front: Arc::clone(&wire),
            judge: Arc::clone(&policy.judge),
        };
        plan.observer.aegis.push(std::process::id());
        let allow_io_uring = plan.observer.allow_io_uring;
        let observer = Arc::new(Observer::new(plan.observer, sink, SystemClock).map_err(Failure::new)?);
        let mut session = Self {
            id: plan.id,
            ledger: plan.ledger,
            wire,
            guard,
            signals: Signals::new().map_err(Failure::new)?,
            recorder,
            workers: Workers::observing(Arc::clone(&observer)),
            enforced: None,
            observer,
            policy,
            folder: Some(folder),
            tmp: plan.tmp,
            failed,
            agent: 0,
            front: plan.front,
            started_us: monotonic_us(),
            heard: Vec::new(),
            exit: None,
            release_at: None,
            released: false,
        };
        let command = launch::Command {
            candidates: plan.candidates,
            argv: plan.argv,
            environment: plan.environment,
            directory: plan.directory,
            mask,
            limits: plan.limits,
            umask: plan.umask,
            confinement: None,
        };
        session.launch(confining, allow_io_uring, command, plan.start)?;
        Ok(session)
    }

    /// Records the start, durably, then starts the agent.
    fn launch(
        &mut self,
        confining: Option<Confining>,
        allow_io_uring: bool,
        mut command: launch::Command,
        start: aegis_types::SessionStart,
    ) -> Result<(), Failure> {
        let name = command.argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let start = self.recorder.begin_durable(&event(What::SessionStart(Box::new(start))));
        let start = start.and_then(|start| Ok((start, self.policy.begin(&self.recorder)?)));
        // While the disk writes, all else is made ready.
        self.policy.put_in_force();
        let ready = match confining {
            None => self.listen(allow_io_uring),
            Some(confining) => self.confine(confining, &mut command),
        };
        let start = start.and_then(|(start, policy)| {
            start.wait(START_PATIENCE)?;
            policy.map_or(Ok(()), |policy| policy.wait(START_PATIENCE).map(drop))
        });
        if let Err(error) = start {
            // The folder stays: should the start have come into the ledger after all, its end is added.
            self.recorder.stop();
            return Err(Failure::new(error));
        }
        let launcher = match ready {
            Ok(launcher) => launcher,
            Err(failure) => {
                self.abandon(&failure.why);
                return Err(failure);
            }
        };
        match launcher.launch(command) {
            Ok(pid) => self.agent = pid,
            Err(error) => {
                let why = format!("`{name}` can't be started: {}", error.error);
                let code = match (error.step, error.error.kind()) {
                    (Step::Exec, io::ErrorKind::NotFound) => 127,
                    (Step::Exec, _) => 126,
                    _ => 125,
                };
                self.abandon(&why);
                return Err(Failure { why, code });
            }
        }
        self.let_go_of_descriptors().map_err(Failure::new)
    }

    /// Lets the observer answer.
    fn listen(&mut self, allow_io_uring: bool) -> Result<Launcher, Failure> {
        let filter = aegis_observer::filter(allow_io_uring);
        let launched = Launcher::begin(filter, || Ok(())).and_then(Starting::ready);
        let (launcher, listener, ()) = launched.map_err(|error| not_listening(&error))?;
        self.workers.start(Arc::new(listener)).map_err(Failure::new)?;
        Ok(launcher)
    }

    /// Lets a supervisor answer for the agent, which is in the hull of the policies as is who executes calls for it.
    fn confine(&mut self, confining: Confining, command: &mut launch::Command) -> Result<Launcher, Failure> {
        let Confining { enforce, hull, starting } = confining;
        if enforce.plan.mediates_programs() {
            // The front may have gone.
            drop(self.wire.try_send(&ToFront::Notice(MEDIATED.to_owned())));
        }
        let group = enforce.group.then(|| Group::make(&format!("aegis-{}", self.id)).ok()).flatten();
        let door = group.as_ref().map(Group::door).transpose().map_err(Failure::new)?;
        let (launcher, listener, (foreman, layer, first)) =
            starting.ready().map_err(|error| not_listening(&error))?;
        let limits = std::mem::take(&mut command.limits).without_core();
        command.limits = if enforce.limit { limits.with_processes(cgroup::PROCESSES_MAX) } else { limits };
        command.confinement =
            Some(launch::Confinement { layer, group: door, own_processes: first.is_some() });
        let listener = Arc::new(listener);
        let waiting = Waiting::new(foreman.clone());
        waiting.listen(Arc::clone(&listener));
        self.observer.employ_clerk().map_err(Failure::new)?;
        let network = network::start(&self.observer, &listener, enforce.namespaces)
            .map_err(|error| Failure::new(format!("names can't be resolved for the agent: {error}")))?;
        let blocking = Arc::new(waiting.clone());
        let Enforce { plan, dry, namespaces, .. } = enforce;
        let supervisor = Supervisor::new(Arc::clone(&self.observer), plan, blocking, network, namespaces);
        let supervisor = Arc::new(supervisor);
        let answering = Arc::clone(&supervisor);
        self.workers.let_answer(Arc::new(move |notification| answering.handle(notification)), foreman);
        self.workers.start(listener).map_err(Failure::new)?;
        self.enforced = Some(Enforced { supervisor, waiting, hull, dry, first, group });
        Ok(launcher)
    }

    /// What was handed down belongs to the agent alone from now on.
    fn let_go_of_descriptors(&self) -> io::Result<()> {
        for fd in 0..3 {
            aegis_sys::files::drop_standard(fd)?;
        }
        aegis_sys::files::close_inherited()
    }

    /// Attends to the agent until nothing is left of its tree.
    fn attend(&mut self) -> io::Result<()> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.failed.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.guard.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.wire.as_fd(), PollFlags::IN),
            ];
            let watched = if self.released { 3 } else { 4 };
            let watched = fds.get_mut(..watched).unwrap_or_default();
            rustix::io::retry_on_intr(|| poll(watched, Some(&self.patience())))?;
            let [signal, failed, guard, front] = fds.map(|fd| !fd.revents().is_empty());
            if failed {
                self.end_agent("the ledger can't be written")?;
            }
            if guard {
                self.end_agent("the guard died")?;
            }
            if front && !self.released {
                self.hear_front()?;
            }
            if (signal || failed || guard) && self.reap()? {
                return self.finish();
            }
            self.workers.relieve()?;
            if let Some(enforced) = &self.enforced {
                enforced.waiting.sweep();
            }
            self.look_at_policies();
            self.release();
        }
    }

    /// Takes policies that have changed into force, where they are valid.
    fn look_at_policies(&mut self) {
        let Some(mut notice) = self.policy.look(&self.recorder, monotonic_us()) else { return };
        if let Some(enforced) = self.enforced.as_ref().filter(|enforced| !enforced.dry)
            && let Some(plan) = self.policy.judge.plan()
        {
            let beyond = Hull::of(&plan).beyond(&enforced.hull);
            enforced.supervisor.take_plan(plan);
            // It is told as well, and it changes nothing.
            drop(self.folder.as_ref().map(|folder| folder.tell_pending(&beyond)));
            if let Some(first) = beyond.first() {
                let more =
                    if beyond.len() > 1 { format!(" and {} more", beyond.len() - 1) } else { String::new() };
                notice.push_str(&format!(
                    "; what they permit anew on {first}{more} takes effect at the next start, since the kernel's rules \
                     can't be widened"
                ));
            }
        }
        // The front may have gone.
        drop(self.wire.try_send(&ToFront::Notice(notice)));
    }

    fn patience(&self) -> Timespec {
        let wait = match self.release_at {
            Some(at) if !self.released => Duration::from_micros(at.saturating_sub(monotonic_us())).min(TICK),
            _ => TICK,
        };
        let wait = if self.policy.is_coming() { wait.min(SOON) } else { wait };
        let waits = self.enforced.as_ref().is_some_and(|enforced| enforced.waiting.any());
        let wait = if waits { wait.min(SWEEP) } else { wait };
        Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: i64::from(wait.subsec_nanos()) }
    }

    /// Hears what the front has to say: signals, or that it died.
    fn hear_front(&mut self) -> io::Result<()> {
        let Some(ToSession::Signal { number, sender }) = self.wire.receive()? else {
            return self.end_agent("the `aegis` that was started died");
        };
        self.hear_signals()?;
        let same = |heard: &Signal| heard.number == number && heard.sender == sender;
        if let Some(at) = self.heard.iter().position(same) {
            // Sent to the whole group, and the agent has it as well; or to each process of this name, and it has
            // not. Where a signal is to end it, twice is better than never.
            self.heard.remove(at);
            if !matches!(number, libc::SIGCONT | libc::SIGTERM | libc::SIGHUP | libc::SIGINT | libc::SIGQUIT)
            {
                return Ok(());
            }
        }
        // It may have ended meanwhile.
        drop(signals::send(self.agent.cast_signed(), number));
        Ok(())
    }

    fn hear_signals(&mut self) -> io::Result<bool> {
        let mut child = false;
        while let Some(signal) = self.signals.next()? {
            match signal.number {
                libc::SIGCHLD => child = true,
                _ if !signal.by_kernel && self.heard.len() < HEARD_MAX => self.heard.push(signal),
                _ => {}
            }
        }
        Ok(child)
    }

    /// Takes note of children that changed; says whether none is left.
    fn reap(&mut self) -> io::Result<bool> {
        self.hear_signals()?;
        loop {
            match process::wait_any(false) {
                Ok(None) => return Ok(false),
                Ok(Some((pid, change))) if pid == self.agent => self.agent_changed(change),
                Ok(Some(_)) => {}
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn agent_changed(&mut self, change: Change) {
        // The front may have gone.
        match change {
            Change::Stopped(number) => drop(self.wire.try_send(&ToFront::Stopped(number))),
            Change::Continued => self.wake_front(),
            Change::Ended(ended) => {
                self.wake_front();
                if let Some(enforced) = &mut self.enforced {
                    // It ends with the last of the others.
                    enforced.first = None;
                }
                self.exit = Some(aegis_observer::processes::status_of(ended));
                self.release_at = Some(monotonic_us() + u64::try_from(STRAGGLERS.as_micros()).unwrap_or(0));
            }
        }
    }

    /// The front stopped with the agent; who continued or ended that may not have known of the front.
    fn wake_front(&self) {
        if !self.released {
            // It may have gone.
            drop(signals::wake_up(self.front));
        }
    }

    /// Lets the front go, where the agent has ended and others of its processes have not.
    fn release(&mut self) {
        if !self.released && self.release_at.is_some_and(|at| monotonic_us() >= at) {
            self.released = true;
            let report = self.report(None);
            drop(self.wire.send(&ToFront::Released(Box::new(report))));
        }
    }

    fn report(&self, last_seq: Option<u64>) -> Report {
        let summary = self.observer.summary();
        let short = |name: &[u8]| Text::new(name.get(..NAME_MAX).unwrap_or(name).to_vec());
        let names = |names: &aegis_observer::summary::Names| {
            (names.first.iter().map(|name| short(name)).collect(), names.count())
        };
        Report {
            exit: self.exit,
            duration_us: monotonic_us().saturating_sub(self.started_us),
            actions: summary
                .actions
                .iter()
                .map(|(action, tally)| {
                    (*action, [tally.done, tally.attempted(), tally.failed, tally.missing, tally.folded])
                })
                .collect(),
            written: names(&summary.written),
            deleted: names(&summary.deleted),
            hosts: summary.hosts.iter().map(|host| host.chars().take(HOST_MAX).collect()).collect(),
            more_hosts: summary.more_hosts,
            processes: summary.processes,
            remaining: if last_seq.is_some() { 0 } else { self.observer.living() },
            gaps: summary.gaps,
            denied: self.policy.judge.hash().map(|_| Denied {
                first: summary
                    .denied
                    .first
                    .iter()
                    .zip(&summary.denied_by)
                    .map(|(what, ids)| {
                        (short(what), ids.iter().take(IDS_MAX).map(|id| short_id(id)).collect())
                    })
                    .collect(),
                distinct: summary.denied.count(),
                all: summary.denials,
            }),
            last_seq,
        }
    }

    /// Nothing is left of the tree: the end is recorded, durably, and told.
    fn finish(&mut self) -> io::Result<()> {
        remove_tmp(self.tmp.take());
        self.recorder.end_within(END_PATIENCE);
        self.tell_ends();
        let last = match self.record_end(None) {
            Ok(last) => last,
            Err(error) => {
                self.recorder.stop();
                let why = format!(
                    "{error}; what is not in the ledger yet waits in {} and is taken in by the next `aegis` command",
                    self.folder.as_ref().map(|f| f.path().display().to_string()).unwrap_or_default()
                );
                drop(self.wire.send(&ToFront::Failed { why, code: 125 }));
                return Ok(());
            }
        };
        // While the writer holds the ledger, another look at it costs little.
        if let Err(why) = self.confirm() {
            self.recorder.stop();
            // The folder stays, with what the spool still holds.
            drop(self.wire.send(&ToFront::Failed { why, code: 125 }));
            return Ok(());
        }
        let ledger = self.clean_up();
        drop(self.wire.send(&ToFront::Finished(Box::new(self.report(Some(last))))));
        // It is all there already.
        drop(ledger.map(|ledger| ledger.tidy()));
        Ok(())
    }

    /// Records the end of what is still known; policies are asked about it.
    fn tell_ends(&self) {
        let observer = &self.observer;
        with_stack(|| observer.finish());
    }

    fn record_end(&self, failure: Option<String>) -> Result<u64, LedgerError> {
        let summary = self.observer.summary();
        let end = SessionEnd {
            counts: summary.counts(),
            duration_us: monotonic_us().saturating_sub(self.started_us),
            exit: self.exit,
            failure,
            gaps: summary.gaps,
        };
        match self.recorder.append_end(&event(What::SessionEnd(Box::new(end))), END_PATIENCE)? {
            Receipt::Durable(seq) | Receipt::Spooled(seq) => Ok(seq),
        }
    }

    /// Says whether the ledger, opened anew, holds the session's end: it may have been replaced or cut meanwhile.
    fn confirm(&self) -> Result<(), String> {
        let ledger = self.ledger.display();
        match Ledger::open_to_read(&self.ledger).and_then(|ledger| ledger.has_ended(self.id)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!(
                "{ledger} does not hold this session's end, though it was written: something else has replaced or \
                 changed the file while the session ran"
            )),
            Err(error) => Err(format!("{ledger} could not be read at the session's end: {error}")),
        }
    }

    /// The spool is empty and the session over: its folder goes.
    fn clean_up(&mut self) -> Option<Ledger> {
        let ledger = self.recorder.stop();
        if let Some(enforced) = &mut self.enforced {
            enforced.group = None;
        }
        if let Some(folder) = self.folder.take() {
            // A folder that stays is taken for a session that died, and taken in: nothing is lost by it.
            drop(folder.remove());
        }
        ledger
    }

    /// Kills the whole tree and ends the session; does not return.
    fn end_agent(&mut self, why: &str) -> io::Result<()> {
        process::kill_descendants()?;
        let why = format!("{why}: the agent was ended");
        self.abandon(&why);
        drop(self.wire.send(&ToFront::Failed { why, code: 125 }));
        process::exit_now(1);
    }

    /// Ends a session that can't go on.
    fn abandon(&mut self, why: &str) {
        drop(process::kill_descendants());
        remove_tmp(self.tmp.take());
        self.recorder.end_within(END_PATIENCE);
        self.tell_ends();
        if self.record_end(Some(why.to_owned())).is_ok() {
            self.clean_up();
        }
    }
}

/// What is said where the kernel's rules can't say all that the policies do about programs.
const MEDIATED: &str = "policies about executing that go beyond paths (a name, arguments, a time) are asked when a \
                        program is executed, and the kernel does not hold a hostile program to the answer; \
                        `aegis policy compile` shows which";

/// How much of a name or host goes into the report, in bytes and characters: all of them fit one message,
/// whatever they look like in JSON.
const NAME_MAX: usize = 400;
const HOST_MAX: usize = 120;

/// How many policies are named of each denial, and how much of each id, in characters.
const IDS_MAX: usize = 3;
const ID_MAX: usize = 200;

fn short_id(id: &str) -> String {
    id.chars().take(ID_MAX).collect()
}

/// How many signals are remembered that the front has not told of.
const HEARD_MAX: usize = 64;

/// Says why nothing can be supervised.
fn not_listening(error: &io::Error) -> Failure {
    Failure::new(match error.raw_os_error() {
        Some(libc::EBUSY) => {
            "another supervisor already listens to this process' system calls (a session of another \
                              Aegis home, or a container tool): one can't run inside the other"
                .to_owned()
        }
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) => {
            format!("this kernel lacks what is needed ({error}); `aegis setup` says what is missing")
        }
        _ => format!("the agent can't be confined or observed: {error}"),
    })
}

pub(crate) fn event(what: What) -> Event {
    let now = SystemClock.now();
    Event { at: now.wall, mono_us: now.mono_us, what }
}

fn tell_trouble(wire: Arc<Wire>, failed: Arc<OwnedFd>) -> impl Fn(Trouble) + Send + Sync + 'static {
    move |trouble| {
        let text = match trouble {
            Trouble::Waiting(why) => {
                format!("{why}: it is tried again, and an agent waits once its spool is full")
            }
            Trouble::Over => "the ledger can be written again".to_owned(),
            Trouble::Custody(why) => {
                format!(
                    "entries are recorded and sealed, but what should hold the ledger to it could not be kept: {why}"
                )
            }
            Trouble::Failed(why) => {
                // Eight bytes always fit a new eventfd.
                let _ = rustix::io::write(&*failed, &1u64.to_ne_bytes());
                why
            }
        };
        drop(wire.try_send(&ToFront::Notice(text)));
    }
}
