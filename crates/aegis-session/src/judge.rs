//! Asking the policies about what was observed.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use aegis_policy::{Engine, Request, Resource};
use aegis_types::{Act, Decision, Direction, Resource as On, Text, Timestamp};

/// The policies in force, as a session asks them. What it says is recorded and stops nothing.
#[derive(Debug)]
pub(crate) struct Judge {
    engine: RwLock<Option<Arc<Engine>>>,
    /// When the session started.
    started: Timestamp,
}

impl Judge {
    /// Makes a judge that has no opinion yet.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self { engine: RwLock::new(None), started }
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
    pub(crate) fn would(&self, act: &Act, at: Timestamp) -> Option<(Decision, Arc<[Arc<str>]>)> {
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
            (verdict.decision, Arc::clone(&verdict.policies))
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
            On::Unread(_) => (Decision::Deny, Arc::default()),
        })
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
