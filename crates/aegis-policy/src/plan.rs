//! What a kernel can be told of a policy set before anything runs.
//!
//! A kernel's rules (Landlock, Seatbelt) grant rights on whole directories, or on ports. A policy can ask for more:
//! a name, a time, a program. So for each action a plan has a **hull**, directory-shaped and never too small, and
//! **residuals**: the parts of the hull where the kernel grants more than the policies do, and each request has to be
//! decided when it comes. In the hull and in no residual, Cedar allows.
//!
//! It is made by holding the policies' sketches against regions in place of resources. The names that the policies
//! write divide all paths into such regions: each name itself, and what is below it and below no deeper name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aegis_types::Action;

use crate::decide::{Engine, Sketched, TMP};
use crate::request::{extension_of, is_within, name_of, upwards};
use crate::set::is_permit;
use crate::sketch::{Atom, Attribute, Outcomes, Pattern, Reads, Test, View};

/// What a kernel can be told, for each action that it could know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxPlan {
    /// Actions on paths: all but `NetConnect`, `ToolCall` and `ProcessExit`.
    pub files: Vec<(Action, Regions)>,
    /// Connections, and addresses listened on, by port.
    pub ports: Vec<Port>,
    /// Unix sockets that have a path: connected to, and listened on.
    pub sockets: [Regions; 2],
    /// Unix sockets that have none: connected to, and listened on.
    pub abstract_sockets: [State; 2],
    /// What paths are held against.
    patterns: Vec<Pattern>,
}

/// What the policies say of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Everything in it is allowed.
    Allow,
    /// It depends: these policies have to be asked when a request comes.
    Check(Vec<Why>),
    /// Nothing in it is allowed; these policies forbid it, or there are none and nothing permits it.
    Deny(Vec<Arc<str>>),
}

/// What is said of what is no path.
static NOTHING: State = State::Deny(Vec::new());

impl State {
    /// Says whether anything may be allowed.
    #[must_use]
    pub fn may_allow(&self) -> bool {
        !matches!(self, State::Deny(_))
    }
}

/// A policy that has to be asked, with what its answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The policy.
    pub policy: Arc<str>,
    /// What it reads that a kernel's rule can't, as it is written in the policy.
    pub reads: Vec<&'static str>,
}

/// All paths, divided by the names that the policies write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    /// For each name: what is said of it, and of what is below it and below no deeper name here. `/` is always there.
    cells: BTreeMap<String, [State; 2]>,
}

/// A right on a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The path.
    pub path: String,
    /// With all that is below it.
    pub subtree: bool,
}

/// A part of the hull in which the policies have to be asked, or allow nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residual {
    /// The name that the part begins at.
    pub path: String,
    /// It is the name itself.
    pub at: bool,
    /// It is what is below it.
    pub below: bool,
    /// What the policies say.
    pub state: State,
}

/// A port, or all that no policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// It is listened on.
    pub listen: bool,
    /// The port; nothing for all others.
    pub port: Option<u16>,
    /// What the policies say.
    pub state: State,
}

/// The actions on paths that a kernel can know.
const ON_PATHS: [Action; 6] = [
    Action::FileRead,
    Action::DirList,
    Action::FileWrite,
    Action::FileDelete,
    Action::DirCreate,
    Action::ProcessSpawn,
];

impl SandboxPlan {
    /// Makes the plan of an engine's policies.
    #[must_use]
    pub fn of(engine: &Engine) -> Self {
        let files = ON_PATHS.into_iter().map(|action| (action, regions(engine, action, None))).collect();
        let sockets = [false, true].map(|listen| regions(engine, Action::NetConnect, Some(listen)));
        let abstract_sockets = [false, true]
            .map(|listen| state(engine, Action::NetConnect, &Net { listen, kind: Kind::Abstract }));
        Self { files, ports: ports(engine), sockets, abstract_sockets, patterns: patterns(engine) }
    }

    /// Returns what is said of paths for an action.
    #[must_use]
    pub fn regions(&self, action: Action) -> Option<&Regions> {
        self.files.iter().find(|(of, _)| *of == action).map(|(_, regions)| regions)
    }
}

impl SandboxPlan {
    /// Says whether there are programs about which a kernel's rules can't say what the policies do.
    #[must_use]
    pub fn mediates_programs(&self) -> bool {
        self.regions(Action::ProcessSpawn).is_some_and(|regions| {
            regions.residuals().iter().any(|residual| matches!(residual.state, State::Check(_)))
        })
    }

    /// Says whether a directory must stay where it is: the policies name something at or below it about which they do
    /// not simply allow everything, and which would be moved out of that.
    #[must_use]
    pub fn pins(&self, directory: &str) -> bool {
        self.files.iter().any(|(_, regions)| {
            let named = |(path, states): (&String, &[State; 2])| {
                is_within(path, directory) && states.iter().any(|state| *state != State::Allow)
            };
            regions.cells.iter().any(named)
        })
    }

    /// Says whether the policies say the same of all that could be below either of two directories: then one may take
    /// the other's name. Otherwise what is in it would get out of what they say, or into what they would not have let
    /// it be made in.
    #[must_use]
    pub fn are_alike(&self, one: &str, other: &str) -> bool {
        let below = |directory: &str| format!("{}/", directory.trim_end_matches('/'));
        let (one, other) = (below(one), below(other));
        let patterns = self.patterns.iter().all(|pattern| pattern.are_alike(&one, &other));
        // What may be executed can be copied as well.
        let mut on_files = self.files.iter().filter(|(action, _)| *action != Action::ProcessSpawn);
        patterns
            && on_files.all(|(_, regions)| {
                let same = match (regions.state(&one), regions.state(&other)) {
                    (State::Deny(_), State::Deny(_)) => true,
                    (one, other) => one == other,
                };
                let is_special = |path: &str, states: &[State; 2]| {
                    (path.starts_with(&one) || path.starts_with(&other))
                        && states.iter().any(|state| *state != State::Allow)
                };
                same && !regions.cells.iter().any(|(path, states)| is_special(path, states))
            })
    }
}

/// Returns the patterns that paths of files are held against.
fn patterns(engine: &Engine) -> Vec<Pattern> {
    let mut found: Vec<Pattern> = Vec::new();
    let on_files = ON_PATHS.into_iter().filter(|action| *action != Action::ProcessSpawn);
    for rule in on_files.flat_map(|action| engine.sketches(action)) {
        rule.sketch.atoms(&mut |atom| {
            if let Atom::Test(Attribute::Path, Test::Like(pattern)) = atom
                && pattern.directory().is_none()
                && !found.contains(pattern)
            {
                found.push(pattern.clone());
            }
        });
    }
    found
}

impl Regions {
    /// Returns what is said of a path.
    #[must_use]
    pub fn state(&self, path: &str) -> &State {
        let mut found = None;
        upwards(path, |name| {
            if found.is_none()
                && let Some([at, below]) = self.cells.get(name)
            {
                found = Some(if name == path { at } else { below });
            }
        });
        found.unwrap_or(&NOTHING)
    }

    /// Returns the hull: the fewest grants that hold everything that may be allowed.
    #[must_use]
    pub fn hull(&self) -> Vec<Grant> {
        let mut grants: Vec<Grant> = Vec::new();
        for (path, [at, below]) in &self.cells {
            if self.is_covered(path, true) || !(at.may_allow() || below.may_allow()) {
                continue;
            }
            grants.push(Grant { path: path.clone(), subtree: below.may_allow() });
        }
        grants
    }

    /// Says whether a directory above has a grant for all below it.
    fn is_covered(&self, path: &str, strictly: bool) -> bool {
        let mut covered = false;
        upwards(path, |name| {
            let above = name != path || !strictly;
            covered |= above && self.cells.get(name).is_some_and(|[_, below]| below.may_allow());
        });
        covered
    }

    /// Says whether the hull holds a path.
    #[must_use]
    pub fn hull_holds(&self, path: &str) -> bool {
        self.is_covered(path, true)
            || self.cells.get(path).is_some_and(|[at, below]| at.may_allow() || below.may_allow())
    }

    /// Returns the parts of the hull where more is granted than the policies allow.
    #[must_use]
    pub fn residuals(&self) -> Vec<Residual> {
        let mut residuals = Vec::new();
        for (path, [at, below]) in &self.cells {
            let above = self.is_covered(path, true);
            let open = |state: &State, held: bool| held && *state != State::Allow;
            let part =
                |at, below, state: &State| Residual { path: path.clone(), at, below, state: state.clone() };
            let here = open(at, above || at.may_allow() || below.may_allow());
            let under = open(below, above || below.may_allow());
            if here && under && at == below {
                residuals.push(part(true, true, at));
            } else {
                if here {
                    residuals.push(part(true, false, at));
                }
                if under {
                    residuals.push(part(false, true, below));
                }
            }
        }
        residuals
    }
}

/// Returns what the policies say of a view.
fn state(engine: &Engine, action: Action, view: &impl View) -> State {
    let (mut permitted, mut permits, mut doubts, mut forbids) = (false, Vec::new(), Vec::new(), Vec::new());
    for rule in engine.sketches(action) {
        let Some(policy) = engine.policies().rules().get(rule.index) else { continue };
        let outcomes = rule.sketch.look(view);
        let why = || Why { policy: Arc::clone(&policy.id), reads: beyond_paths(rule) };
        if outcomes == Outcomes::FALSE {
            continue;
        }
        if outcomes == Outcomes::ERROR {
            // Where one can't be evaluated, the answer is Deny.
            forbids.push(Arc::clone(&policy.id));
        } else if is_permit(&policy.policy) {
            if outcomes == Outcomes::TRUE {
                permitted = true;
            } else if outcomes.may_be(Outcomes::ERROR) {
                doubts.push(why());
            }
            if outcomes.may_be(Outcomes::TRUE) {
                permits.push(why());
            }
        } else if outcomes == Outcomes::TRUE {
            forbids.push(Arc::clone(&policy.id));
        } else {
            doubts.push(why());
        }
    }
    if !forbids.is_empty() || permits.is_empty() {
        return State::Deny(forbids);
    }
    if permitted {
        return if doubts.is_empty() { State::Allow } else { State::Check(doubts) };
    }
    permits.extend(doubts.into_iter().filter(|doubt| !permits.contains(doubt)).collect::<Vec<_>>());
    State::Check(permits)
}

/// Returns what a policy reads that is not a path.
fn beyond_paths(rule: &Sketched) -> Vec<&'static str> {
    let all = rule.reads.words();
    if rule.reads.has(Reads::attribute(Attribute::Path)) && all.len() > 1 {
        return all.into_iter().filter(|word| *word != "resource.path").collect();
    }
    all
}

/// Returns every path that a policy of the action writes.
fn names(engine: &Engine, action: Action) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["/".to_owned()]);
    let mut add = |id: &str| {
        let path = id.strip_prefix("unix:").unwrap_or(id);
        if path.starts_with('/') {
            names.insert(path.to_owned());
        } else if let (TMP, Some(tmp)) = (id, &engine.subject().tmp) {
            names.insert(tmp.clone());
        }
    };
    for rule in engine.sketches(action) {
        rule.sketch.atoms(&mut |atom| match atom {
            Atom::In(ids) | Atom::Same(ids) => ids.iter().for_each(|id| add(id)),
            Atom::Test(Attribute::Path, Test::OneOf(paths)) => paths.iter().for_each(|path| add(path)),
            Atom::Test(Attribute::Path, Test::Like(pattern)) => {
                // What begins as the pattern does is in this directory.
                let folder = pattern.prefix().rsplit_once('/').map(|(folder, _)| folder);
                if let Some(folder) = pattern.directory().or(folder) {
                    add(folder);
                }
            }
            Atom::Has(_) | Atom::Test(..) | Atom::Listen => {}
        });
    }
    names
}

fn regions(engine: &Engine, action: Action, socket: Option<bool>) -> Regions {
    let tmp = engine.subject().tmp.as_deref();
    let cells = names(engine, action)
        .into_iter()
        .map(|path| {
            let view =
                |exact| Paths { path: &path, exact, socket, tmp, program: action == Action::ProcessSpawn };
            let states = [state(engine, action, &view(true)), state(engine, action, &view(false))];
            (path, states)
        })
        .collect();
    Regions { cells }
}

/// Returns the ports that policies name.
pub(crate) fn named_ports(engine: &Engine) -> BTreeSet<u16> {
    let mut numbers = BTreeSet::new();
    for rule in engine.sketches(Action::NetConnect) {
        rule.sketch.atoms(&mut |atom| match atom {
            Atom::In(ids) | Atom::Same(ids) => numbers.extend(ids.iter().filter_map(|id| port_of(id))),
            Atom::Test(Attribute::Port, Test::Number(ports)) => {
                numbers.extend(ports.iter().filter_map(|port| u16::try_from(*port).ok()));
            }
            _ => {}
        });
    }
    numbers
}

fn ports(engine: &Engine) -> Vec<Port> {
    let each = named_ports(engine).into_iter().map(Some).chain([None]);
    let both = each.flat_map(|port| [(false, port), (true, port)]);
    both.map(|(listen, port)| {
        let view = Net { listen, kind: Kind::Port(port) };
        Port { listen, port, state: state(engine, Action::NetConnect, &view) }
    })
    .collect()
}

/// Returns the port of a name that is `HOST:PORT`.
fn port_of(id: &str) -> Option<u16> {
    let (host, port) = id.rsplit_once(':')?;
    (!host.starts_with('/') && host != "unix").then(|| port.parse().ok())?
}

/// A path, or all that is below it and below no deeper name.
struct Paths<'a> {
    path: &'a str,
    exact: bool,
    /// They are Unix sockets, to be connected to or listened on.
    socket: Option<bool>,
    tmp: Option<&'a str>,
    /// They are programs.
    program: bool,
}

impl View for Paths<'_> {
    fn is_in(&self, id: &str) -> Outcomes {
        let folder = match (id, self.tmp) {
            (TMP, Some(tmp)) => tmp,
            (TMP, None) => return Outcomes::FALSE,
            _ => id,
        };
        // A deeper name has a region of its own.
        Outcomes::of(is_within(self.path, folder) || self.is(id) == Outcomes::TRUE)
    }

    fn is(&self, id: &str) -> Outcomes {
        let path = if self.socket.is_some() { id.strip_prefix("unix:") } else { Some(id) };
        Outcomes::of(self.exact && path == Some(self.path))
    }

    fn has(&self, attribute: Attribute) -> Outcomes {
        match attribute {
            Attribute::Path => Outcomes::TRUE,
            Attribute::Name if !self.exact => Outcomes::TRUE,
            Attribute::Name => Outcomes::of(name_of(self.path).is_some()),
            Attribute::Extension if !self.exact => Outcomes::EITHER,
            Attribute::Extension => Outcomes::of(extension_of(self.path).is_some()),
            Attribute::Host | Attribute::Port | Attribute::Tool | Attribute::Address => Outcomes::FALSE,
            Attribute::Command => Outcomes::of(self.program),
        }
    }

    fn test(&self, attribute: Attribute, test: &Test) -> Outcomes {
        let text = match attribute {
            Attribute::Path => Some(self.path),
            Attribute::Name => name_of(self.path),
            Attribute::Extension => extension_of(self.path),
            _ => return Outcomes::ANY,
        };
        if self.exact {
            return text.map_or(Outcomes::ERROR, |text| test.text(text));
        }
        match (attribute, test) {
            // Each has a region of its own.
            (Attribute::Path, Test::OneOf(_)) => Outcomes::FALSE,
            (Attribute::Path, Test::Like(pattern)) => match pattern.directory() {
                Some(folder) => Outcomes::of(is_within(self.path, folder)),
                None => {
                    let below = if self.path == "/" { "/".to_owned() } else { format!("{}/", self.path) };
                    let prefix = pattern.prefix();
                    let can_fit = prefix.starts_with(&below) || below.starts_with(prefix);
                    if can_fit { Outcomes::EITHER } else { Outcomes::FALSE }
                }
            },
            _ => Outcomes::EITHER,
        }
    }

    fn listens(&self) -> Outcomes {
        self.socket.map_or(Outcomes::ANY, Outcomes::of)
    }
}

/// Addresses by their port, or Unix sockets without a path.
struct Net {
    listen: bool,
    kind: Kind,
}

enum Kind {
    /// This port, or all that no policy names.
    Port(Option<u16>),
    Abstract,
}

impl View for Net {
    fn is_in(&self, id: &str) -> Outcomes {
        self.is(id)
    }

    fn is(&self, id: &str) -> Outcomes {
        match self.kind {
            Kind::Port(port) if port.is_some() && port == port_of(id) => Outcomes::EITHER,
            Kind::Port(_) => Outcomes::FALSE,
            Kind::Abstract if id.starts_with("unix:@") => Outcomes::EITHER,
            Kind::Abstract => Outcomes::FALSE,
        }
    }

    fn has(&self, attribute: Attribute) -> Outcomes {
        match (attribute, &self.kind) {
            (Attribute::Host | Attribute::Port, Kind::Port(_)) => Outcomes::TRUE,
            (Attribute::Address, Kind::Port(_)) => Outcomes::EITHER,
            _ => Outcomes::FALSE,
        }
    }

    fn test(&self, attribute: Attribute, test: &Test) -> Outcomes {
        match (attribute, &self.kind) {
            (Attribute::Port, Kind::Port(Some(port))) => test.number(i64::from(*port)),
            (Attribute::Port, Kind::Port(None)) => Outcomes::FALSE,
            (Attribute::Host, Kind::Port(_)) => Outcomes::EITHER,
            _ => Outcomes::ANY,
        }
    }

    fn listens(&self) -> Outcomes {
        Outcomes::of(self.listen)
    }
}
