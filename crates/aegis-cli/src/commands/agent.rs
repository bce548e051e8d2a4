//! What the commands that run an agent have in common: from options and settings to a session, and the lines at its
//! end.

use std::ffi::{CString, OsStr, OsString};
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use aegis_export::shown;
use aegis_ledger::{Ledger, recovery};
use aegis_observer::execute::Arguments;
use aegis_observer::{Settings, mask};
use aegis_policy::{Policies, SandboxPlan, Source, Subject, Template, Tool};
use aegis_sandbox::grade::{Bound, Enforcement, Supervision, Trial};
use aegis_session::{Denied, Enforce, Finished, Plan, PolicyPlan, Report};
use aegis_sys::clock::SystemClock;
use aegis_types::elsewhere::UNNAMED;
use aegis_types::{Action, AgentName, Clock as _, ExitStatus, SessionId, SessionStart, Text};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::init;
use crate::config::{Configuration, Isolation, Observing, Platform};
use crate::error::CliError;
use crate::home::{Home, passwd, set_in_environment, user_home};
use crate::tools::{Agent, Tools};
use crate::{policies, surroundings, times};

/// What is to be run, and how.
pub(super) struct Wanted {
    /// The configuration; the command's base name where there is none.
    pub(super) name: Option<AgentName>,
    /// The option that names it.
    pub(super) name_option: &'static str,
    pub(super) dir: Option<PathBuf>,
    pub(super) policy: Option<String>,
    /// The tools that are wanted by name.
    pub(super) tools: Vec<String>,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    pub(super) allow_io_uring: bool,
    pub(super) command: Vec<OsString>,
    pub(super) mode: Mode,
}

/// How a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is observed.
    Wrap,
    /// Its policies are enforced.
    Run {
        /// They are not, but all else is as if they were.
        dry: bool,
        /// With what this kernel has.
        degraded: bool,
    },
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Wrap => "wrap",
            Mode::Run { .. } => "run",
        }
    }

    fn enforces(self) -> bool {
        matches!(self, Mode::Run { dry: false, .. })
    }
}

pub(super) fn run(home: &Home, wanted: Wanted) -> Result<u8, CliError> {
    let (quiet, mode) = (wanted.quiet, wanted.mode);
    let (plan, configuration) = prepare(home, wanted).map_err(|error| match error.code() {
        126 | 127 => error,
        _ => error.with_code(125),
    })?;
    let id = plan.id;
    let known = configuration.ledger.exists();
    let command = plan.start.argv.first().map(|name| shown(name.as_bytes())).unwrap_or_default();
    let tmp = plan.tmp.clone();
    // The process ends before it would be worth it to let go of them.
    let policies = ManuallyDrop::new(plan.policy.policies.clone());
    let finished = aegis_session::run(plan, say).inspect_err(|_| {
        // The session process may have died before it could.
        drop(tmp.map(std::fs::remove_dir_all));
    })?;
    if !quiet {
        let mut text = summary(&command, id, &configuration, &finished, mode, policies.as_deref());
        if !known && let Some(root) = trust_root(&configuration.ledger) {
            text.push_str(&root);
        }
        // The terminal may be gone with the agent.
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
    }
    Ok(match finished.exit {
        ExitStatus::Code(code) => u8::try_from(code & 0xff).unwrap_or(1),
        ExitStatus::Signal(signal) => u8::try_from(128 + signal).unwrap_or(255),
    })
}

fn say(notice: &str) {
    // The terminal may be gone.
    drop(writeln!(std::io::stderr().lock(), "aegis: {notice}"));
}

fn prepare(home: &Home, mut options: Wanted) -> Result<(Plan, Configuration), CliError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| CliError::failed(format!("{what}: {error}"));
    // What the caller has set itself is meant for the command, not for the files of Aegis.
    let limits = aegis_sys::process::raise_limits();
    let umask = rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077)).bits();
    refuse_nesting(home)?;
    if options.command.first().is_some_and(|name| name.is_empty()) {
        return Err(CliError::usage("the command is empty").with_code(127));
    }
    let name = match options.name {
        Some(name) => name,
        None => default_name(&options.command, options.name_option)?,
    };
    let start_in = match &options.dir {
        Some(dir) => std::fs::canonicalize(dir).map_err(|e| failed(&dir.display().to_string(), &e))?,
        None => here().map_err(|e| failed("the current directory can't be read", &e))?,
    };
    if options.dir.is_some() && !start_in.is_dir() {
        return Err(CliError::usage(format!("{} is no directory", start_in.display())));
    }
    let mut candidates = candidates(&options.command, &start_in)?;
    let mode = options.mode;
    if mode != Mode::Wrap {
        bound_streams()?;
    }
    let program = candidates.first().map(PathBuf::as_path);
    let tools = Tools::of(&options.tools, &options.command, program, &start_in)?;
    let word = options.policy.as_deref();
    // Without policies there is nothing to enforce: those of the template that `init` takes, then.
    let word =
        if mode == Mode::Wrap { word } else { word.or_else(|| default_policy(home, &name, &start_in)) };
    let asked = if mode == Mode::Wrap { &Tools::default() } else { &tools };
    let policy = choose_policy(home, &name, word, &start_in, asked)?;
    let configuration = home.configuration_or_new(&name)?;
    check_observer(&configuration)?;
    if mode != Mode::Wrap {
        if policy.is_none() {
            add_profiles(&configuration, &tools)?;
        }
        if let Some(agent) = &tools.agent {
            candidates = agent.program().map_or(candidates, |program| vec![program]);
            let how = agent.prepare(&mut options.command);
            if let Some(how) = how.filter(|_| !options.quiet) {
                say(&how);
            }
        }
        tools.make_directories();
    }
    let id = SessionId::at(SystemClock.now().wall);
    let own_tmp = match mode {
        Mode::Wrap => None,
        Mode::Run { .. } => Some(surroundings::OwnTmp::make(id)?),
    };
    let tmp_path = own_tmp.as_ref().map(surroundings::OwnTmp::path);
    // What can be enforced is tried while the policies are read: the process has one thread now.
    let trial = match mode {
        Mode::Run { .. } => {
            let root = rustix::process::geteuid().is_root();
            Some(Enforcement::begin(root).map_err(|e| failed("no process can be started", &e))?)
        }
        _ => None,
    };
    let policy = prepare_policy(home, &configuration, policy, tmp_path, (id, mode))?;
    let enforce = match trial {
        Some(trial) => enforced(home, &configuration, &start_in, &policy, trial, (mode, options.quiet))?,
        None => None,
    };
    home.recover(&configuration.ledger)?;
    let kept = match (&options.dir, &configuration.sandbox_dir) {
        (None, Some(dir)) => std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone()),
        _ => start_in.clone(),
    };
    let mut arguments = Arguments::of(options.command.iter().map(|argument| argument.as_bytes()));
    let masked = mask::arguments(&mut arguments.list);
    let start = SessionStart {
        argv: arguments.list,
        argv_omitted: (arguments.omitted > 0).then_some(arguments.omitted),
        cwd: Text::new(start_in.as_os_str().as_bytes()),
        dir: Text::new(kept.as_os_str().as_bytes()),
        io_uring: options.allow_io_uring,
        isolation: enforce
            .as_ref()
            .filter(|_| mode.enforces())
            .map_or_else(|| "none".to_owned(), |enforce| enforce.grade.clone()),
        masked,
        policy: policy.policies.as_ref().map(|set| set.hash().to_owned()),
        tool: tools.agent.as_ref().map(Agent::recorded),
        ..start_here(&configuration, mode)
    };
    let observer = Settings {
        dir: kept.into_os_string().into_vec(),
        verbose: options.verbose,
        allow_io_uring: options.allow_io_uring,
        enforce: mode.enforces(),
        ..observed(home, &configuration)?
    };
    let c_string =
        |bytes: Vec<u8>| CString::new(bytes).map_err(|_| CliError::usage("an argument has a zero byte"));
    let environment = match tmp_path {
        None => whole_environment()?,
        Some(tmp) => surroundings::environment(&configuration, tmp, &start_in, &tools)?,
    };
    let candidates = candidates
        .into_iter()
        .map(|path| c_string(path.into_os_string().into_vec()))
        .collect::<Result<_, _>>()?;
    let argv = options.command.into_iter().map(|a| c_string(a.into_vec())).collect::<Result<_, _>>()?;
    // What has a view of its own is not where it was before.
    let named = options.dir.is_some() || enforce.is_some();
    let directory = named.then(|| c_string(start_in.into_os_string().into_vec())).transpose()?;
    let custody = home.custody(&configuration.ledger)?;
    let plan = Plan {
        id,
        start,
        front: std::process::id(),
        ledger: configuration.ledger.clone(),
        custody,
        run: home.run(),
        observer,
        policy,
        candidates,
        argv,
        environment,
        enforce: enforce.map(|enforce| enforce.plan),
        tmp: own_tmp.map(surroundings::OwnTmp::keep),
        directory,
        limits,
        umask,
    };
    Ok((plan, configuration))
}

/// Says what is enforced, and tells the user; nothing where a dry run can only observe.
fn enforced(
    home: &Home,
    configuration: &Configuration,
    start_in: &Path,
    policy: &PolicyPlan,
    trial: Trial,
    (mode, quiet): (Mode, bool),
) -> Result<Option<Enforcing>, CliError> {
    let Mode::Run { dry, degraded } = mode else { return Ok(None) };
    let Some(engine) = &policy.engine else {
        let name = &configuration.name;
        return Err(CliError::failed(format!("`{name}` has no policies: everything would be denied"))
            .hint(format!("aegis init {name}   (or name some with --policy)")));
    };
    let wanted = if dry { policies::unlimited(engine.subject().clone())? } else { SandboxPlan::of(engine) };
    let found = trial.finish();
    let found = found.map_err(|e| CliError::failed(format!("what can be enforced can't be tried: {e}")))?;
    if dry && !can_execute(configuration, &found) {
        say("hosts are known by their addresses only: this system can't execute calls for the command");
        return Ok(None);
    }
    let enforcing = enforcement(home, configuration, start_in, (wanted, &found), (dry, degraded))?;
    if !quiet && !dry {
        // Without namespaces the grade says what becomes of them.
        let datagrams = if found.has_datagrams() {
            ", and datagrams (UDP) reach the session's own resolver only"
        } else {
            ""
        };
        say(&format!("{}; hosts are decided on by name{datagrams}", enforcing.sentence));
    }
    Ok(Some(enforcing))
}

/// Returns what the start of a session says of this machine, its user and the configuration.
fn start_here(configuration: &Configuration, mode: Mode) -> SessionStart {
    let uid = rustix::process::geteuid().as_raw();
    let uname = rustix::system::uname();
    SessionStart {
        agent: configuration.name.clone(),
        argv: Vec::new(),
        argv_omitted: None,
        cwd: Text::default(),
        dir: Text::default(),
        host: uname.nodename().to_string_lossy().into_owned(),
        ignore: configuration.observer.ignore.clone(),
        io_uring: false,
        isolation: "none".to_owned(),
        kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
        masked: false,
        mode: mode.word().to_owned(),
        observer: "seccomp".to_owned(),
        policy: None,
        tool: None,
        uid,
        user: passwd(uid).map(|(name, _)| name),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Returns what an observer is told of the configuration and the home.
fn observed(home: &Home, configuration: &Configuration) -> Result<Settings, CliError> {
    let root = home.root();
    Ok(Settings {
        dir: Vec::new(),
        objects: configuration.folder.join("objects"),
        home: user_home().map(|home| home.into_os_string().into_vec()).unwrap_or_default(),
        verbose: false,
        ignore: ignored(configuration)?,
        allow_io_uring: false,
        uid: rustix::process::geteuid().as_raw(),
        aegis_home: std::fs::canonicalize(root)
            .unwrap_or_else(|_| root.to_path_buf())
            .into_os_string()
            .into_vec(),
        own_files: aegis_ledger::files_of(&configuration.ledger),
        enforce: false,
        aegis: Vec::new(),
    })
}

/// Makes sure that nothing that the agent is handed sends to whom it likes.
fn bound_streams() -> Result<(), CliError> {
    match aegis_sandbox::streams::unbounded() {
        None => Ok(()),
        Some(stream) => Err(CliError::failed(format!(
            "{stream} is a socket by which a command could send to anybody: what no policy decides on"
        ))
        .hint("redirect it: from or to a file, or through `cat`")),
    }
}

/// Returns the policies that `--policy` names, to be taken in place of the configuration's; nothing where it names none,
/// or where they become those of a new configuration.
fn choose_policy(
    home: &Home,
    name: &AgentName,
    word: Option<&str>,
    directory: &Path,
    tools: &Tools,
) -> Result<Option<Vec<Source>>, CliError> {
    let Some(word) = word else { return Ok(None) };
    if home.settings_path(name).exists() {
        let mut sources = policies::chosen(word, directory)?;
        sources.extend(tools.sources(word == Template::Project.name())?);
        return Ok(Some(sources));
    }
    init::make_quietly(home, name, directory, word)?;
    Ok(None)
}

/// Puts the profiles of a session's tools beside the configuration's policies, and says so. What the user has there stays
/// as it is.
fn add_profiles(configuration: &Configuration, tools: &Tools) -> Result<(), CliError> {
    let files = policies::files(configuration, None);
    let folder = files.default_place.iter().chain(&files.places).find(|place| place.is_dir());
    let Some(folder) = folder else { return tools.refuse_named(&configuration.file) };
    for path in tools.add_to(folder)? {
        say(&format!("{} is added: `aegis policy list {}` shows it", path.display(), configuration.name));
    }
    for tool in tools.left_out(folder) {
        let Tool { name, title, .. } = tool;
        say(&format!("{title} has a profile that these policies do not have: `--tool {name}` adds it"));
    }
    Ok(())
}

/// Makes sure that the settings ask for what there is.
fn check_observer(configuration: &Configuration) -> Result<(), CliError> {
    let file = configuration.file.display();
    match configuration.observer.by {
        Observing::None => {
            Err(CliError::failed(format!("{file}: `observer` is `None`: there would be nothing to record"))
                .hint("write `observer = \"Auto\"`, or run the command without aegis"))
        }
        Observing::Fanotify => {
            Err(CliError::failed(format!("{file}: `observer` is `Fanotify`, which is not there yet"))
                .hint("write `observer = \"Auto\"`"))
        }
        by => {
            if let Some(note) = by.stand_in(Platform::HERE) {
                say(&format!("observer: {note}"));
            }
            Ok(())
        }
    }
}

/// Returns the patterns of reads that are not recorded.
fn ignored(configuration: &Configuration) -> Result<GlobSet, CliError> {
    let failed =
        |error: globset::Error| CliError::failed(format!("{}: {error}", configuration.file.display()));
    let mut set = GlobSetBuilder::new();
    for pattern in &configuration.observer.ignore {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(failed)?);
    }
    set.build().map_err(failed)
}

/// Reads the policies that the session asks; warns where one makes others worthless.
fn prepare_policy(
    home: &Home,
    configuration: &Configuration,
    instead: Option<Vec<Source>>,
    own_tmp: Option<&Path>,
    (id, mode): (SessionId, Mode),
) -> Result<PolicyPlan, CliError> {
    let files = policies::files(configuration, instead);
    // Before they are read: what changes meanwhile is read again.
    let stamp = files.stamp();
    let set = policies::valid(&files, configuration)?;
    let links = set.iter().flat_map(|set| policies::linked(set)).filter(|linked| linked.forbids);
    let links = links.map(|linked| linked.warning);
    for warning in set.iter().flat_map(|set| set.shadowed()).chain(links) {
        say(&warning.to_string());
    }
    let tmp = match own_tmp {
        Some(own) => own.to_str().map(str::to_owned),
        None => policies::temporary(),
    };
    let subject = Subject {
        agent: configuration.name.clone(),
        session: id.to_string(),
        mode: mode.word().to_owned(),
        tmp_is_shared: own_tmp.is_none() && tmp.as_deref().is_some_and(policies::is_shared),
        tmp,
        reserved: policies::reserved(home, configuration),
    };
    let engine = set.clone().map(|set| policies::ready(set, subject.clone())).transpose()?;
    Ok(PolicyPlan { files, stamp, policies: set, subject, engine })
}

/// Returns the current directory; as the kernel names it, ` (deleted)` and all, where it is not there any more.
fn here() -> std::io::Result<PathBuf> {
    std::env::current_dir().or_else(|_| std::fs::read_link("/proc/self/cwd"))
}

/// The environment goes on to the agent as it is, words that are no variables included.
fn whole_environment() -> Result<Vec<CString>, CliError> {
    if let Ok(bytes) = std::fs::read("/proc/self/environ") {
        // It is as it was at the start (proc_pid_environ(5)), and nothing here changes it.
        let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        return Ok(words.filter_map(|word| CString::new(word).ok()).collect());
    }
    let line = |(name, value): (OsString, OsString)| {
        let mut bytes = name.into_vec();
        bytes.push(b'=');
        bytes.extend(value.into_vec());
        CString::new(bytes).map_err(|_| CliError::failed("a variable of the environment has a zero byte"))
    };
    std::env::vars_os().map(line).collect()
}

/// A session can't run inside a session: the kernel has room for one listener.
fn refuse_nesting(home: &Home) -> Result<(), CliError> {
    let Ok(found) = recovery::find(&home.run()) else { return Ok(()) };
    let me = std::process::id();
    let outer =
        found.iter().find(|found| found.alive && aegis_observer::processes::is_descendant(me, found.pid));
    match outer {
        Some(outer) => Err(CliError::failed(format!(
            "this runs inside session {} already: a session can't run inside a session",
            outer.session
        ))
        .hint("run the command by itself: it is recorded there")),
        None => Ok(()),
    }
}

/// Returns the template that a configuration gets that has no policies.
fn default_policy(home: &Home, name: &AgentName, start_in: &Path) -> Option<&'static str> {
    if home.settings_path(name).exists() {
        return None;
    }
    let template = Template::Project.name();
    say(&format!(
        "there is no configuration `{name}` yet: it is made with the policies of `{template}` for {}",
        start_in.display()
    ));
    Some(template)
}

/// What enforces, and how that is said.
struct Enforcing {
    plan: Enforce,
    grade: String,
    sentence: String,
}

/// Finds out what this kernel can enforce; less than what is asked for only at the user's word.
/// Says whether calls can be executed for the command of a dry run; where not, they are observed.
fn can_execute(configuration: &Configuration, found: &Enforcement) -> bool {
    let is_wanted = !matches!(configuration.isolation, Isolation::None | Isolation::Process);
    is_wanted && !found.missing().iter().any(|one| one.needed)
}

fn enforcement(
    home: &Home,
    configuration: &Configuration,
    start_in: &Path,
    (wanted, found): (SandboxPlan, &Enforcement),
    (dry, degraded): (bool, bool),
) -> Result<Enforcing, CliError> {
    let file = configuration.file.display();
    match &configuration.isolation {
        Isolation::None | Isolation::Process => {
            let word = configuration.isolation.word();
            return Err(CliError::failed(format!(
                "{file}: `isolation` is `{word}`: nothing would be enforced"
            ))
            .hint("write `isolation = \"Auto\"`, or use `aegis wrap`, which enforces nothing"));
        }
        isolation => {
            if let Some(note) = isolation.stand_in(Platform::HERE) {
                say(&format!("isolation: {note}"));
            }
        }
    }
    let root = rustix::process::geteuid().is_root();
    let needed: Vec<_> = found.missing().into_iter().filter(|one| one.needed).collect();
    if let Some(first) =
        needed.first().filter(|_| !degraded || matches!(found.supervision, Supervision::Fails(_)))
    {
        let all: Vec<String> =
            needed.iter().map(|one| format!("without {}, {}", one.what, one.weaker)).collect();
        let hint = match found.supervision {
            Supervision::Fails(_) => first.mend.to_owned(),
            _ => format!("{}; or `--degraded`, to go on all the same", first.mend),
        };
        return Err(CliError::failed(format!("this system can't enforce the policies: {}", all.join("; ")))
            .hint(hint));
    }
    let reserved = policies::reserved(home, configuration);
    let home = (
        PathBuf::from(reserved.home.unwrap_or_default()),
        reserved.sandbox.map(PathBuf::from).filter(|path| path.is_dir()),
    );
    let plan = Enforce {
        plan: wanted,
        dry,
        landlock: found.landlock,
        root,
        namespaces: found.namespaces.is_ok(),
        home,
        start: start_in.to_owned(),
        group: found.bound == Bound::Group,
        limit: found.bound == Bound::Limit,
    };
    Ok(Enforcing { plan, grade: found.summary(), sentence: found.sentence() })
}

fn default_name(command: &[OsString], option: &str) -> Result<AgentName, CliError> {
    let base = command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    AgentName::new(&base.to_string_lossy()).map_err(|error| {
        CliError::usage(format!("the command's name can't be the configuration's: {error}"))
            .hint(format!("give one with {option} NAME"))
    })
}

/// Finds the files to execute, as `execvp(3)` does.
fn candidates(command: &[OsString], start_in: &Path) -> Result<Vec<PathBuf>, CliError> {
    let name = command.first().map(OsString::as_os_str).unwrap_or_default();
    let shown_name = shown(name.as_bytes());
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        // As the agent will see it, from where it starts.
        let seen = start_in.join(&path);
        return match std::fs::metadata(&seen) {
            Ok(meta) if meta.is_dir() => {
                Err(CliError::failed(format!("`{shown_name}` is a directory")).with_code(126))
            }
            Ok(_) => Ok(vec![path]),
            Err(error) => Err(CliError::failed(format!("`{shown_name}` can't be started: {error}"))
                .with_code(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 })),
        };
    }
    // As execvp(3): without PATH, the system's default; an empty one is the current directory.
    let path = set_in_environment("PATH").unwrap_or_else(|| OsStr::new("/bin:/usr/bin").to_owned());
    let found: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|folder| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder })
        .map(|folder| folder.join(name))
        .filter(|file| start_in.join(file).is_file())
        .collect();
    if found.is_empty() {
        return Err(CliError::failed(format!("`{shown_name}` was not found on PATH")).with_code(127));
    }
    Ok(found)
}

/// The lines at the end of a session.
fn summary(
    command: &str,
    id: SessionId,
    configuration: &Configuration,
    finished: &Finished,
    mode: Mode,
    policies: Option<&Policies>,
) -> String {
    let report = &finished.report;
    let name = &configuration.name;
    let more = format!("aegis audit session {name} --id {id}");
    let how = match finished.exit {
        ExitStatus::Code(code) => format!("exit code {code}"),
        ExitStatus::Signal(signal) => format!("ended by signal {}", aegis_sys::signals::name(signal)),
    };
    let mut lines = vec![format!(
        "aegis: {command}: {how} after {}, {} process{}",
        times::duration(report.duration_us),
        report.processes,
        if report.processes == 1 { "" } else { "es" }
    )];
    lines.extend(counts(report));
    for (title, (first, count)) in [("written", &report.written), ("deleted", &report.deleted)] {
        if !first.is_empty() {
            lines.push(format!("  {title:<12} {}", names(first, *count, &more)));
        }
    }
    if !report.hosts.is_empty() {
        let hosts: Vec<String> = report.hosts.iter().map(|host| shown(host.as_bytes())).collect();
        let others = if report.more_hosts { " and others" } else { "" };
        lines.push(format!("  {:<12} {}{others}", "connected to", hosts.join(", ")));
    }
    if let Some(denied) = &report.denied {
        lines.extend(denials(denied, name, id, mode, policies));
    }
    if report.gaps > 0 {
        lines.push(format!("  {:<12} {} in what could be seen", "gaps", report.gaps));
    }
    if finished.in_background {
        lines.push(format!(
            "  {:<12} {} process{} of it go on in the background, still observed",
            "running",
            report.remaining,
            if report.remaining == 1 { "" } else { "es" }
        ));
    }
    let state = match report.last_seq {
        Some(seq) => format!("sealed up to entry {seq}"),
        None => "the session goes on".to_owned(),
    };
    lines.push(format!("  {:<12} {}: {state}", "ledger", configuration.ledger.display()));
    lines.push(format!("  {:<12} {more}", "more"));
    lines.push(String::new());
    lines.join("\n")
}

/// How many denials are explained.
const EXPLAINED: usize = 3;

/// Says what was denied, by what, and how it would be allowed.
fn denials(
    denied: &Denied,
    name: &AgentName,
    id: SessionId,
    mode: Mode,
    policies: Option<&Policies>,
) -> Vec<String> {
    let Denied { first, distinct, all } = denied;
    let (title, option) =
        if mode.enforces() { ("denied", "--decision deny") } else { ("would deny", "--would deny") };
    if *all == 0 {
        return vec![format!("  {title:<12} nothing of it, by the policies")];
    }
    let things = if *distinct == 1 { "thing" } else { "different things" };
    let mut lines = vec![format!(
        "  {title:<12} {all}, {distinct} {things} (aegis audit query {name} --session {id} {option})"
    )];
    let (mut unpermitted, mut forbidding) = (false, Vec::new());
    for (what, ids) in first.iter().take(EXPLAINED) {
        let named: Vec<String> = ids
            .iter()
            .map(|id| match policies.and_then(|set| Some(set.place(set.rule(id)?))) {
                Some(place) => {
                    let place = shown(place.as_bytes());
                    let text = format!("{} ({place})", shown(id.as_bytes()));
                    if !forbidding.contains(&place) {
                        forbidding.push(place);
                    }
                    text
                }
                None if &**id == UNNAMED => {
                    format!("{UNNAMED}: a policy has to name it, since it has power over what is outside")
                }
                None if id.starts_with("aegis:") => {
                    format!("{}, which no policy can open", shown(id.as_bytes()))
                }
                // It has come into force meanwhile.
                None => shown(id.as_bytes()),
            })
            .collect();
        unpermitted |= ids.is_empty();
        let why = match named.as_slice() {
            [] => "no policy permits it".to_owned(),
            named => format!("denied by {}", named.join(", ")),
        };
        lines.push(format!("    {}: {why}", shown(what.as_bytes())));
    }
    if *distinct > EXPLAINED {
        lines.push(format!("    and {} more", distinct - EXPLAINED));
    }
    let mut ways = Vec::new();
    if mode != Mode::Wrap && (unpermitted || *distinct > EXPLAINED) {
        let option = if mode.enforces() { " --denied" } else { "" };
        ways.push(format!("aegis policy learn {id}{option}   (prints policies that permit it)"));
    }
    if mode != Mode::Wrap {
        ways.extend(forbidding.iter().map(|place| format!("{place}   (the policy to change)")));
    }
    let titles = std::iter::once("to allow").chain(std::iter::repeat(""));
    lines.extend(ways.iter().zip(titles).map(|(way, title)| format!("  {title:<12} {way}")));
    lines
}

/// Says the trust root of a ledger that was begun with this session.
fn trust_root(ledger: &Path) -> Option<String> {
    let root = Ledger::open_to_read(ledger).and_then(|ledger| ledger.trust_root()).ok()?;
    Some(format!(
        "  {:<12} {root}\n  {:<12} (a new ledger: keep this line elsewhere, `aegis audit verify --key` holds the ledger to it)\n",
        "trust root", ""
    ))
}

fn counts(report: &Report) -> Vec<String> {
    let line = |(action, [done, attempted, failed, missing, folded]): (&Action, &[u64; 5])| {
        let parts: Vec<String> = [
            (*done, "done"),
            (*attempted, "attempted"),
            (*failed, "failed"),
            (*missing, "not there"),
            (*folded, "more of the system's own files"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
        format!("  {:<12} {}", action.word(), parts.join(", "))
    };
    report.actions.iter().map(line).collect()
}

fn names(first: &[Text], count: usize, more: &str) -> String {
    let list: Vec<String> = first.iter().map(|name| shown(name.as_bytes())).collect();
    let rest = count.saturating_sub(first.len());
    if rest == 0 {
        return list.join(", ");
    }
    format!("{} and {rest} more ({more})", list.join(", "))
}
