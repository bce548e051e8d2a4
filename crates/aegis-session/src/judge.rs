//! Asking the policies about what was observed.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aegis_observer::resolve::ELSEWHERE;
use aegis_policy::{Engine, Request, Resource, SandboxPlan};
use aegis_types::{Act, Decision, Direction, Resource as On, Text, Timestamp};

/// The policies in force, as a session asks them. What it says is recorded; whether it is done is up to who asks.
#[derive(Debug)]
pub(crate) struct Judge {
    engine: RwLock<Option<Arc<Engine>>>,
    /// What it says is done: where there is no policy, no.
    enforces: bool,
    /// When the session started.
    started: Timestamp,
    /// Whether a name was there when the session started, as it was found when this was first asked.
    existed: Mutex<HashMap<Vec<u8>, bool>>,
    /// What could not be evaluated and was told.
    told: Mutex<HashSet<Arc<str>>>,
}

/// The most policies that are told of as not evaluated.
const TOLD_MAX: usize = 20;

/// The most names of which is remembered whether they existed.
const EXISTED_MAX: usize = 100_000;

/// The magic number of overlayfs (`statfs(2)`): what is changed there becomes a new file.
const OVERLAYFS: u64 = 0x794c_7630;

/// What the policies say of an action.
pub(crate) struct Opinion {
    pub(crate) would: Decision,
    pub(crate) policies: Arc<[Arc<str>]>,
    /// What the user should read: a policy could not be evaluated, for the first time.
    pub(crate) notice: Option<String>,
}

impl Opinion {
    fn denied() -> Self {
        Self { would: Decision::Deny, policies: Arc::default(), notice: None }
    }
}

impl Judge {
    /// Makes a judge that has no opinion yet.
    pub(crate) fn new(started: Timestamp, enforces: bool) -> Self {
        Self {
            engine: RwLock::new(None),
            enforces,
            started,
            existed: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Puts policies in force.
    pub(crate) fn take(&self, engine: Engine) {
        // What is behind it is whole at every moment.
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(engine));
    }

    /// Returns the SHA-256 of the set in force.
    pub(crate) fn hash(&self) -> Option<String> {
        self.engine().map(|engine| engine.policies().hash().to_owned())
    }

    /// Returns what a kernel can be told of the set in force.
    pub(crate) fn plan(&self) -> Option<SandboxPlan> {
        self.engine().map(|engine| SandboxPlan::of(&engine))
    }

    /// Says whether there are policies.
    pub(crate) fn is_asked(&self) -> bool {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what would be decided about an action, and by which policies.
    pub(crate) fn would(&self, act: &Act, at: Timestamp, of_session: bool) -> Option<Opinion> {
        if is_nameless(&act.resource) {
            return None;
        }
        let Some(engine) = self.engine() else {
            return self.enforces.then(Opinion::denied);
        };
        let exe = act.process.exe.to_string_lossy();
        let flag = |name: &str| act.flags.iter().any(|flag| flag == name);
        let existed = || match &act.resource {
            On::Path(path) => self.existed(path),
            _ => false,
        };
        let ask = |resource: Resource<'_>| {
            let request = Request {
                action: act.action,
                resource,
                exe: &exe,
                pid: act.process.pid,
                time: at,
                listen: act.direction == Some(Direction::Listen),
                setuid: flag("SETUID") || flag("SETGID"),
                of_session,
                existed: &existed,
            };
            // Where it leads is asked for first.
            let is_name = matches!(&act.resource, On::Net(to) if to.address.is_empty());
            let verdict = if is_name { engine.may_know(&request) } else { engine.decide(&request) };
            Opinion {
                would: verdict.decision,
                policies: Arc::clone(&verdict.policies),
                notice: verdict.errors.first().and_then(|error| self.tell(&verdict.policies, error)),
            }
        };
        // Who executes calls takes the kernel's mark off, where it is one.
        let of_files = if self.enforces { &BEHIND[..1] } else { &BEHIND };
        Some(match &act.resource {
            On::Path(path) => by_names(&path.to_string_lossy(), of_files, &|path| ask(Resource::Path(path))),
            On::Unix(name) => by_names(&name.to_string_lossy(), of_files, &|name| ask(Resource::Unix(name))),
            On::Net(to) => {
                let address = to.address.parse().ok();
                ask(Resource::Host { host: to.name(), address, port: to.port })
            }
            On::Program(program) => {
                let arguments: Vec<Cow<'_, str>> = program.argv.iter().map(Text::to_string_lossy).collect();
                let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
                let command = aegis_policy::request::command(&arguments);
                by_names(&program.exe.to_string_lossy(), &BEHIND, &|exe| {
                    ask(Resource::Program { exe, command: &command, arguments: &arguments })
                })
            }
            // What is not known can't be permitted.
            On::Unread(_) => Opinion::denied(),
        })
    }

    /// Says whether one of these policies names a socket or a port, and not only what it is in.
    pub(crate) fn is_named(&self, policies: &[Arc<str>], on: &On) -> bool {
        self.engine().is_some_and(|engine| match on {
            On::Unix(name) => engine.is_named(policies, &Resource::Unix(&name.to_string_lossy())),
            On::Net(to) => {
                let address = to.address.parse().ok();
                engine.is_named(policies, &Resource::Host { host: to.name(), address, port: to.port })
            }
            _ => false,
        })
    }

    /// Returns what to tell of a policy that could not be evaluated, where it was not told yet.
    fn tell(&self, policies: &[Arc<str>], error: &str) -> Option<String> {
        let policy = policies.first()?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.len() < TOLD_MAX && told.insert(Arc::clone(policy));
        is_new.then(|| format!("policy {policy} can't be evaluated, so what it is about is denied: {error}"))
    }

    /// Says whether a name was there when the session started. Once it was asked about, the answer stays, whatever
    /// becomes of the name; but what is older than the session and was not there before has been brought there.
    fn existed(&self, path: &Text) -> bool {
        let mut known = self.existed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(existed) = known.get_mut(path.as_bytes()) {
            *existed = *existed || self.was_made_before(path) == Some(true);
            return *existed;
        }
        let existed = match self.was_made_before(path) {
            Some(older) => older,
            // Where that can't be told, it may have been.
            None => rustix::fs::lstat(path.as_bytes()).is_ok(),
        };
        // Where there are too many, what is not remembered is looked at each time.
        if known.len() < EXISTED_MAX {
            known.insert(path.as_bytes().to_vec(), existed);
        }
        existed
    }

    /// Says whether what stands at a path was made before the session started (`statx(2)`); nothing where the file system
    /// can't tell, or there is nothing.
    fn was_made_before(&self, path: &Text) -> Option<bool> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let found = statx(CWD, path.as_bytes(), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME).ok()?;
        let is_overlay = || {
            let folder = path.as_bytes().rsplitn(2, |byte| *byte == b'/').nth(1).unwrap_or(b"/");
            let folder = if folder.is_empty() { b"/" } else { folder };
            rustix::fs::statfs(folder).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(OVERLAYFS))
        };
        if found.stx_mask & StatxFlags::BTIME.bits() == 0 || is_overlay() {
            return None;
        }
        let made = i128::from(found.stx_btime.tv_sec) * 1_000_000_000 + i128::from(found.stx_btime.tv_nsec);
        Some(made < i128::from(self.started.as_nanos()))
    }
}

/// What stands behind a name by which another file may be reached, and behind that of a file that has lost it (`d_path`
/// of Linux).
const BEHIND: [&str; 2] = [ELSEWHERE, " (deleted)"];

/// Asks about a path. Where that is a name with something behind it, the name itself has to be permitted as well: the
/// file holds what it held under it.
fn by_names(path: &str, behind: &[&str], ask: &dyn Fn(&str) -> Opinion) -> Opinion {
    let opinion = ask(path);
    let name = behind.iter().find_map(|behind| path.strip_suffix(behind));
    match name {
        Some(name) if opinion.would == Decision::Allow => by_names(name, behind, ask),
        _ => opinion,
    }
}

/// Pipes, sockets and the like that a process has open and names by its descriptor: they have no name that a policy
/// could speak of, and nothing is had by opening them again.
fn is_nameless(resource: &On) -> bool {
    let On::Path(path) = resource else { return false };
    [&b"pipe:["[..], b"socket:[", b"anon_inode:"].iter().any(|start| path.as_bytes().starts_with(start))
}
