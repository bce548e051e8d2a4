//! Asking the policies about what was observed.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aegis_policy::{Engine, Request, Resource};
use aegis_types::{Act, Decision, Direction, Resource as On, Text, Timestamp};

/// The policies in force, as a session asks them. What it says is recorded and stops nothing.
#[derive(Debug)]
pub(crate) struct Judge {
    engine: RwLock<Option<Arc<Engine>>>,
    /// When the session started.
    started: Timestamp,
    /// What could not be evaluated and was told.
    told: Mutex<HashSet<Arc<str>>>,
}

/// The most policies that are told of as not evaluated.
const TOLD_MAX: usize = 20;

/// What the policies say of an action.
pub(crate) struct Opinion {
    pub(crate) would: Decision,
    pub(crate) policies: Arc<[Arc<str>]>,
    /// What the user should read: a policy could not be evaluated, for the first time.
    pub(crate) notice: Option<String>,
}

impl Judge {
    /// Makes a judge that has no opinion yet.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self { engine: RwLock::new(None), started, told: Mutex::default() }
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

    fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what would be decided about an action, and by which policies.
    pub(crate) fn would(&self, act: &Act, at: Timestamp) -> Option<Opinion> {
        let engine = self.engine()?;
        let exe = act.process.exe.to_string_lossy();
        let flag = |name: &str| act.flags.iter().any(|flag| flag == name);
        let existed = || match &act.resource {
            On::Path(path) => self.existed(path),
            _ => false,
        };
        let ask = |resource| {
            let verdict = engine.decide(&Request {
                action: act.action,
                resource,
                exe: &exe,
                pid: act.process.pid,
                time: at,
                listen: act.direction == Some(Direction::Listen),
                setuid: flag("SETUID") || flag("SETGID"),
                existed: &existed,
            });
            Opinion {
                would: verdict.decision,
                policies: Arc::clone(&verdict.policies),
                notice: verdict.errors.first().and_then(|error| self.tell(&verdict.policies, error)),
            }
        };
        Some(match &act.resource {
            On::Path(path) => ask(Resource::Path(&path.to_string_lossy())),
            On::Unix(name) => ask(Resource::Unix(&name.to_string_lossy())),
            On::Net(to) => {
                let address = to.address.parse().ok();
                ask(Resource::Host { host: &to.address, address, port: to.port })
            }
            On::Program(program) => {
                let arguments: Vec<Cow<'_, str>> = program.argv.iter().map(Text::to_string_lossy).collect();
                let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
                let command = aegis_policy::request::command(&arguments);
                let exe = program.exe.to_string_lossy();
                ask(Resource::Program { exe: &exe, command: &command, arguments: &arguments })
            }
            // What is not known can't be permitted.
            On::Unread(_) => Opinion { would: Decision::Deny, policies: Arc::default(), notice: None },
        })
    }

    /// Returns what to tell of a policy that could not be evaluated, where it was not told yet.
    fn tell(&self, policies: &[Arc<str>], error: &str) -> Option<String> {
        let policy = policies.first()?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.len() < TOLD_MAX && told.insert(Arc::clone(policy));
        is_new.then(|| format!("policy {policy} can't be evaluated, so what it is about is denied: {error}"))
    }

    /// Says whether a name was there when the session started: it is there, and was not made since (`statx(2)`).
    fn existed(&self, path: &Text) -> bool {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let Ok(found) = statx(CWD, path.as_bytes(), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME) else {
            return false;
        };
        if found.stx_mask & StatxFlags::BTIME.bits() == 0 {
            // A file system that does not know: it may have been.
            return true;
        }
        let made = i128::from(found.stx_btime.tv_sec) * 1_000_000_000 + i128::from(found.stx_btime.tv_nsec);
        made < i128::from(self.started.as_nanos())
    }
}
