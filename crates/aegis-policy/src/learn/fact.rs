//! What an act says to a policy: the action and its resource, without when, by whom and how often.

use aegis_types::{Act, Action, Decision, Direction, Outcome, Resource as Recorded, Text, Timestamp};

use crate::decide::{Engine, Verdict};
use crate::learn::places::of_process;
use crate::request::{Request, Resource};

/// Calls that make a name, beside those that open with `CREAT`.
const MAKING: [&str; 9] =
    ["link", "linkat", "mknod", "mknodat", "rename", "renameat", "renameat2", "symlink", "symlinkat"];

/// An action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fact {
    pub(super) action: Action,
    pub(super) on: On,
    /// The address is one that was listened on.
    pub(super) listen: bool,
}

/// What was acted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum On {
    /// A file or directory; the acting process' own folder in `/proc` is `/proc/self`.
    Path(String),
    /// Files of a directory that were counted and not listed.
    Inside(String),
    Program(String),
    /// A Unix socket by its path, or `@` and its name.
    Unix(String),
    Host(String, u16),
    /// What no policy can name.
    Nameless(String),
}

/// What else is known of all acts that are one fact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// It was done; else it was denied each time.
    pub(super) done: bool,
    /// Its target was there.
    pub(super) there: bool,
    /// The name may have been made by it.
    pub(super) made: bool,
    /// More files of its directory were read than are listed.
    pub(super) folded: bool,
    pub(super) setuid: bool,
    /// Its name is not UTF-8, and the one here only resembles it.
    pub(super) resembles: bool,
}

impl Traits {
    pub(super) fn join(&mut self, other: Self) {
        self.done |= other.done;
        self.there |= other.there;
        self.made |= other.made;
        self.folded |= other.folded;
        self.setuid |= other.setuid;
        self.resembles |= other.resembles;
    }
}

/// Returns what an act says.
pub(super) fn fact_of(act: &Act) -> (Fact, Traits) {
    let flag = |name: &str| act.flags.iter().any(|flag| flag == name);
    let listen = act.action == Action::NetConnect && act.direction == Some(Direction::Listen);
    let mut traits = Traits {
        done: act.decision != Decision::Deny,
        there: act.outcome != Outcome::Missing,
        setuid: flag("SETUID") || flag("SETGID"),
        folded: act.folded && act.action == Action::FileRead,
        ..Traits::default()
    };
    traits.made = match act.action {
        // `mkdir -p` asks for what is there as well.
        Action::DirCreate => act.outcome == Outcome::Ok,
        // A file without a name (TMPFILE) is asked for by its directory, the next time as well.
        Action::FileWrite => flag("CREAT") || MAKING.contains(&&*act.call),
        Action::NetConnect => listen,
        _ => false,
    };
    let mut text = |text: &Text| {
        traits.resembles |= text.as_str().is_none();
        text.to_string_lossy().into_owned()
    };
    let on = match (&act.resource, act.action) {
        (Recorded::Path(path), action) if is_on_paths(action) => {
            let path = text(path);
            let path = Resource::path_of(&path, act.process.pid, false).into_owned();
            let counted = act.count.is_some() && action == Action::FileRead;
            if counted { On::Inside(path) } else { On::Path(path) }
        }
        (Recorded::Program(program), Action::ProcessSpawn | Action::ProcessExit) => {
            On::Program(text(&program.exe))
        }
        (Recorded::Unix(name), Action::NetConnect) => On::Unix(text(name)),
        (Recorded::Net(to), Action::NetConnect) => On::Host(to.name().to_owned(), to.port),
        (Recorded::Path(path) | Recorded::Unix(path), _) => On::Nameless(text(path)),
        (Recorded::Program(program), _) => On::Nameless(text(&program.exe)),
        (Recorded::Net(to), _) => On::Nameless(format!("{} port {}", to.address, to.port)),
        (Recorded::Unread(text), _) => On::Nameless(text.to_string_lossy().into_owned()),
    };
    let mut fact = Fact { action: act.action, on, listen };
    if !matches!(fact.on, On::Nameless(_)) && !fact.resource().is_plausible() {
        // `pipe:[4711]` and the like; the next time the number is another.
        fact.on = On::Nameless(without_numbers(&fact.resource().id()));
    }
    (fact, traits)
}

fn is_on_paths(action: Action) -> bool {
    matches!(
        action,
        Action::FileRead | Action::DirList | Action::FileWrite | Action::FileDelete | Action::DirCreate
    )
}

fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('*') {
            out.push('*');
        }
    }
    out
}

impl Fact {
    /// Returns the resource as a request has it.
    pub(super) fn resource(&self) -> Resource<'_> {
        match &self.on {
            On::Path(path) | On::Inside(path) | On::Nameless(path) => Resource::Path(path),
            On::Program(exe) => Resource::Program { exe, command: "", arguments: &[] },
            On::Unix(name) => Resource::Unix(name),
            On::Host(host, port) => Resource::Host { host, address: host.parse().ok(), port: *port },
        }
    }

    /// Asks about it.
    pub(super) fn ask(&self, engine: &Engine, traits: Traits) -> std::sync::Arc<Verdict> {
        engine.decide(&Request {
            action: self.action,
            resource: self.resource(),
            exe: "",
            // No process: its own folder is `/proc/self` already.
            pid: u32::MAX,
            time: Timestamp::from_nanos(0),
            listen: self.listen,
            setuid: traits.setuid,
            of_session: false,
            // What was there is guarded more.
            existed: &|| true,
        })
    }

    /// Returns its name, as it is told.
    pub(super) fn name(&self) -> String {
        match &self.on {
            On::Inside(folder) => crate::secrets::below(folder, "*"),
            On::Nameless(text) => text.clone(),
            On::Path(path) => of_process(path).map_or_else(|| path.clone(), |parts| parts.join("*")),
            _ => self.resource().id().into_owned(),
        }
    }

    /// Says whether it is an action on files.
    pub(super) fn is_on_files(&self) -> bool {
        is_on_paths(self.action)
    }

    /// Returns its path, where it has one.
    pub(super) fn path(&self) -> Option<&str> {
        self.resource().path().filter(|_| !matches!(self.on, On::Nameless(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::tests::act;

    fn path(path: &str) -> Recorded {
        Recorded::Path(path.into())
    }

    #[test]
    fn an_act_is_a_fact() {
        let of = |action, resource| fact_of(&act(action, resource)).0.on;
        assert_eq!(of(Action::FileRead, path("/proc/7/maps")), On::Path("/proc/self/maps".into()));
        assert_eq!(of(Action::FileRead, path("/proc/8/maps")), On::Path("/proc/8/maps".into()));
        assert_eq!(of(Action::FileWrite, path("pipe:[471]")), On::Nameless("pipe:[*]".into()));
        assert_eq!(of(Action::ToolCall, path("/a")), On::Nameless("/a".into()));
        assert_eq!(of(Action::NetConnect, Recorded::Unix("@x".into())), On::Unix("@x".into()));
        assert_eq!(
            of(Action::FileRead, Recorded::Unread("a handle".into())),
            On::Nameless("a handle".into())
        );
    }

    #[test]
    fn made_names_are_known_by_flags_and_calls() {
        let mut one = act(Action::FileWrite, path("/a"));
        assert!(!fact_of(&one).1.made);
        one.flags = vec!["WRONLY".into(), "CREAT".into()];
        assert!(fact_of(&one).1.made);
        one.flags = vec!["TMPFILE".into()];
        assert!(!fact_of(&one).1.made);
        one.call = "renameat2".into();
        assert!(fact_of(&one).1.made);
        one.action = Action::FileDelete;
        assert!(!fact_of(&one).1.made);
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_told() {
        let (fact, traits) = fact_of(&act(Action::FileRead, Recorded::Path(Text::new(*b"/a/\xff"))));
        assert_eq!((fact.name().as_str(), traits.resembles), ("/a/\u{fffd}", true));
    }
}
