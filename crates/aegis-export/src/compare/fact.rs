//! One thing that a session did, as it is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aegis_types::{
    Act, Action, Direction, Endpoint, ExitStatus, Gap, GapReason, Program, Refusal, Resource, Text,
};

use super::names::{self, MARK, Temporary};

/// What kind of thing. They stand in the order in which they are listed: what matters most comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The session ended in this way.
    End,
    /// Something was not seen.
    Gap,
    /// Aegis did not let something happen.
    Refusal,
    /// A connection was made.
    Connect,
    /// An address was listened on.
    Listen,
    /// A tool was called.
    Tool,
    /// A program was executed.
    Execute,
    /// A name was removed.
    Delete,
    /// A file was written.
    Write,
    /// A directory was made.
    MakeDirectory,
    /// A file was read.
    Read,
    /// A directory was listed.
    List,
    /// Files of the system in this directory were read.
    ReadSystem,
}

impl Kind {
    /// Returns the action, where it is one.
    pub(super) fn action(self) -> Option<Action> {
        Some(match self {
            Kind::End | Kind::Gap | Kind::Refusal => return None,
            Kind::Connect | Kind::Listen => Action::NetConnect,
            Kind::Tool => Action::ToolCall,
            Kind::Execute => Action::ProcessSpawn,
            Kind::Delete => Action::FileDelete,
            Kind::Write => Action::FileWrite,
            Kind::MakeDirectory => Action::DirCreate,
            Kind::Read | Kind::ReadSystem => Action::FileRead,
            Kind::List => Action::DirList,
        })
    }
}

/// What it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Path(Text),
    Unix(Text),
    Unread(Text),
    /// A program, by its file.
    Program(Text),
    /// Address, port, transport.
    Net(Box<(String, u16, Option<String>)>),
    Gap(Box<Missed>),
    Refusal(Box<Refused>),
    End(Box<End>),
}

/// A gap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missed {
    pub(super) reason: &'static str,
    pub(super) detail: String,
    /// The program concerned.
    pub(super) exe: Option<Text>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refused {
    pub(super) call: String,
    pub(super) detail: String,
    pub(super) exe: Text,
}

/// How a session ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    /// It did; otherwise nothing else is set.
    pub(super) ended: bool,
    pub(super) exit: Option<Exit>,
    pub(super) failure: Option<String>,
}

/// [`ExitStatus`], with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Code(code) => Exit::Code(code),
            ExitStatus::Signal(signal) => Exit::Signal(signal),
        }
    }
}

/// One thing that a session did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fact {
    pub(super) kind: Kind,
    pub(super) subject: Subject,
}

impl Fact {
    /// Returns what an action tells; nothing for the end of a process.
    pub(super) fn act(act: &Act) -> Option<Self> {
        let kind = match act.action {
            Action::FileRead if act.folded => Kind::ReadSystem,
            Action::FileRead => Kind::Read,
            Action::FileWrite => Kind::Write,
            Action::FileDelete => Kind::Delete,
            Action::DirCreate => Kind::MakeDirectory,
            Action::DirList => Kind::List,
            Action::ProcessSpawn => Kind::Execute,
            Action::ToolCall => Kind::Tool,
            Action::NetConnect if act.direction == Some(Direction::Listen) => Kind::Listen,
            Action::NetConnect => Kind::Connect,
            Action::ProcessExit => return None,
        };
        let without_ids = |path: &Text| Text::new(names::without_ids(path.as_bytes(), act.process.pid));
        let subject = match &act.resource {
            // The first names a file, the count its directory.
            Resource::Path(path) if kind == Kind::ReadSystem && act.count.is_none() => {
                Subject::Path(folder(&without_ids(path)))
            }
            Resource::Path(path) => Subject::Path(without_ids(path)),
            Resource::Unix(name) if is_abstract(name) => Subject::Unix(name.clone()),
            Resource::Unix(path) => Subject::Unix(without_ids(path)),
            Resource::Unread(text) => Subject::Unread(without_ids(text)),
            Resource::Program(program) => Subject::Program(without_ids(&program.exe)),
            Resource::Net(to) => Subject::Net(Box::new((
                to.name().to_owned(),
                to.port,
                to.transport.as_ref().map(ToString::to_string),
            ))),
        };
        Some(Self { kind, subject })
    }

    pub(super) fn gap(gap: &Gap) -> Self {
        let missed = Missed {
            reason: GapReason::word(gap.reason),
            detail: names::without_numbers(&gap.detail),
            exe: gap.process.as_ref().map(|process| (*process.exe).clone()),
        };
        Self { kind: Kind::Gap, subject: Subject::Gap(Box::new(missed)) }
    }

    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let refused = Refused {
            call: refusal.call.clone().into_owned(),
            detail: names::without_numbers(&refusal.detail),
            exe: (*refusal.process.exe).clone(),
        };
        Self { kind: Kind::Refusal, subject: Subject::Refusal(Box::new(refused)) }
    }

    /// Returns the directory of a path.
    pub(super) fn folder(&self) -> Option<Text> {
        match &self.subject {
            Subject::Path(path) => Some(folder(path)),
            _ => None,
        }
    }

    /// Returns the fact without the random part of a temporary name, where it has one.
    pub(super) fn renamed(&self, known: &BTreeMap<Vec<u8>, Temporary>) -> Option<Self> {
        let renamed = |path: &Text| names::unified(path.as_bytes(), known).map(Text::new);
        let subject = match &self.subject {
            Subject::Path(path) => Subject::Path(renamed(path)?),
            Subject::Unix(path) => Subject::Unix(renamed(path)?),
            Subject::Program(path) => Subject::Program(renamed(path)?),
            _ => return None,
        };
        Some(Self { kind: self.kind, subject })
    }

    /// Returns an internet address and its port.
    pub(super) fn port(&self) -> Option<(&str, u16)> {
        match &self.subject {
            Subject::Net(to) => Some((&to.0, to.1)),
            _ => None,
        }
    }

    /// Returns the fact with 0 for its port, where the session's own listener has that port: it is listened on,
    /// or connected to on this machine.
    pub(super) fn without_port(&self, chosen: &BTreeSet<(String, u16)>) -> Option<Self> {
        let Subject::Net(to) = &self.subject else { return None };
        let own = (to.0.clone(), to.1);
        let is_loopback = || to.0.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        let fits = match self.kind {
            Kind::Connect if is_loopback() => chosen.iter().any(|(_, port)| *port == own.1),
            _ => chosen.contains(&own),
        };
        let subject = || Subject::Net(Box::new((own.0.clone(), 0, to.2.clone())));
        fits.then(|| Self { kind: self.kind, subject: subject() })
    }

    /// Says whether a part of its name was replaced.
    pub(super) fn is_unified(&self) -> bool {
        match &self.subject {
            Subject::Unix(name) if is_abstract(name) => false,
            Subject::Path(text) | Subject::Unix(text) | Subject::Unread(text) | Subject::Program(text) => {
                text.as_bytes().contains(&MARK)
            }
            _ => false,
        }
    }

    /// Returns what it is on, as it is shown, where it is an action.
    pub(super) fn resource(&self) -> Option<Resource> {
        let plain = |text: &Text| Text::new(names::plain(text.as_bytes()));
        Some(match &self.subject {
            Subject::Path(path) => Resource::Path(plain(path)),
            Subject::Unix(name) if is_abstract(name) => Resource::Unix(name.clone()),
            Subject::Unix(path) => Resource::Unix(plain(path)),
            Subject::Unread(text) => Resource::Unread(plain(text)),
            Subject::Program(exe) => Resource::Program(Program {
                argv: Vec::new(),
                argv_omitted: None,
                exe: plain(exe),
                masked: false,
            }),
            Subject::Net(to) => {
                let (address, port, transport) = (**to).clone();
                Resource::Net(Endpoint { address, host: None, port, transport: transport.map(Into::into) })
            }
            Subject::Gap(_) | Subject::Refusal(_) | Subject::End(_) => return None,
        })
    }
}

/// Says whether a Unix socket has no path: such a name may have any bytes.
fn is_abstract(name: &Text) -> bool {
    name.as_bytes().starts_with(b"@")
}

fn folder(path: &Text) -> Text {
    let end = path.as_bytes().iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    Text::new(path.as_bytes().get(..end.max(1)).unwrap_or_default())
}
