//! Answering a request.
//!
//! Cedar evaluates every policy of the set it is given. So for each request it is given few: those whose scope and
//! conditions can hold for the resource at all ([`crate::sketch`]), as a set that is kept for the next request that
//! needs the same. The answer is kept as well, with what it depended on; and where the resource's name makes each of
//! those policies true for certain, the answer is that of the set, whatever the resource.
//!
//! That this changes no answer is held by a property test against Cedar with the whole set.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use aegis_types::{Action, AgentName, Decision};
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request as CedarRequest, RestrictedExpression,
};
use foldhash::{HashMap, HashSet};

use crate::plan;
use crate::request::{Request, Resource, extension_of, is_within, name_of, upwards};
use crate::set::Policies;
use crate::sketch::{Anything, Attribute, Outcomes, Reads, Sketch, Sketcher, Test, View, groups};

/// The name that stands for the session's own temporary directory.
pub const TMP: &str = "session:tmp";

/// How many answers are kept for each action: as many again are on their way out.
const ANSWERS_MAX: usize = 2_048;

/// The longest id whose answer is kept, in bytes.
const ID_MAX: usize = 512;

/// How many policies the sets that are kept for an action may have together.
const SETS_MAX: usize = 10_000;

/// What [`One`] looks at beside the resource's name.
const EARLY: Reads = Reads::DIRECTION.and(Reads::attribute(Attribute::Address));

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Allow or Deny.
    pub decision: Decision,
    /// The policies that determined it, by id, in the order of the set: those that permit or forbid, or could not be
    /// evaluated; none where no policy permits.
    pub policies: Arc<[Arc<str>]>,
    /// Policies that could not be evaluated, each with why. Where there is one, the answer is Deny.
    pub errors: Vec<String>,
    /// The SHA-256 of the policy set that answered.
    pub set: Arc<str>,
}

/// For whom an engine answers.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The principal.
    pub agent: AgentName,
    /// The session's id.
    pub session: String,
    /// `wrap`, `pilot` or `run`.
    pub mode: String,
    /// The session's own temporary directory.
    pub tmp: Option<String>,
    /// Others put their sockets there as well: those are not the session's own.
    pub tmp_is_shared: bool,
    /// What no policy can permit.
    pub reserved: Reserved,
}

/// What is Aegis' own: no policy can permit to touch it. Paths are absolute, links resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved {
    /// The Aegis home: nothing in it can be reached.
    pub home: Option<String>,
    /// A directory in it that can be.
    pub sandbox: Option<String>,
    /// Policy files and folders of them: they can't be written to, wherever they are.
    pub policies: Vec<String>,
}

/// The id that stands for what keeps the Aegis home out of reach.
pub const HOME: &str = "aegis:home";

/// The id that stands for what keeps policies from being written to.
pub const POLICIES: &str = "aegis:policies";

impl Reserved {
    /// Returns what forbids an action on a path.
    fn forbids(&self, action: Action, path: &str) -> Option<&'static str> {
        let within =
            |folder: &Option<String>| folder.as_deref().is_some_and(|folder| is_within(path, folder));
        let writes = matches!(action, Action::FileWrite | Action::FileDelete | Action::DirCreate);
        // In its place, another could lead elsewhere.
        let is_sandbox = self.sandbox.as_deref() == Some(path);
        if within(&self.home) && (!within(&self.sandbox) || (writes && is_sandbox)) {
            return Some(HOME);
        }
        // A folder above them could be renamed away.
        let touches = |place: &String| {
            is_within(path, place) || (action == Action::FileDelete && is_within(place, path))
        };
        (writes && self.policies.iter().any(touches)).then_some(POLICIES)
    }
}

/// Answers requests of one agent in one session by one policy set. Any number of threads may ask.
pub struct Engine {
    policies: Arc<Policies>,
    subject: Subject,
    set: Arc<str>,
    slices: [Slice; Action::ALL.len()],
    authorizer: Authorizer,
    principal: EntityUid,
    /// The answer where no policy is concerned.
    unconcerned: Arc<Verdict>,
    /// Ports of which each stands for those that policies tell apart from others.
    ports: OnceLock<Vec<u16>>,
}

/// Ports that stand for all that no policy names.
const OTHER_PORTS: [u16; 6] = [1, 80, 443, 1_024, 8_080, 65_535];

/// What concerns one action.
struct Slice {
    action: Action,
    uid: EntityUid,
    entity: Entity,
    rules: Vec<Sketched>,
    /// Every name that a policy writes.
    folders: HashMap<Box<str>, EntityUid>,
    /// What is read before it is known which policies are concerned, and is not in the resource's name.
    early: Reads,
    kept: Mutex<Kept>,
}

/// A policy of a slice.
pub(crate) struct Sketched {
    /// Its place in the set.
    pub(crate) index: usize,
    pub(crate) sketch: Sketch,
    pub(crate) reads: Reads,
}

#[derive(Default)]
struct Kept {
    young: HashMap<Box<str>, Answer>,
    old: HashMap<Box<str>, Answer>,
    sets: HashMap<Box<[u32]>, KeptSet>,
    /// How many policies these have together.
    in_sets: usize,
}

/// A set of policies that are concerned.
struct KeptSet {
    set: Arc<PolicySet>,
    /// Cedar's answer where each of them is true.
    when_all_hold: Option<Arc<Verdict>>,
}

struct Answer {
    inputs: Inputs,
    verdict: Arc<Verdict>,
}

/// What an answer depended on beside the name of the resource.
#[derive(Debug, Default, PartialEq, Eq)]
struct Inputs {
    exe: Option<Box<str>>,
    pid: Option<u32>,
    command: Option<Box<str>>,
    address: Option<Option<IpAddr>>,
    listen: Option<bool>,
    setuid: Option<bool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("subject", &self.subject)
            .field("set", &self.set)
            .finish_non_exhaustive()
    }
}

struct Types {
    agent: EntityTypeName,
    action: EntityTypeName,
    resource: EntityTypeName,
}

static TYPES: LazyLock<Option<Types>> = LazyLock::new(|| {
    Some(Types {
        agent: "Aegis::Agent".parse().ok()?,
        action: "Aegis::Action".parse().ok()?,
        resource: "Aegis::Resource".parse().ok()?,
    })
});

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// Why there is no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy set can't be prepared: {0}")]
pub struct EngineError(String);

impl Engine {
    /// Prepares a set for an agent and a session. The set has been validated, now or before.
    ///
    /// # Errors
    /// A policy can't be taken apart, which a validated one can.
    pub fn new(policies: Arc<Policies>, subject: Subject) -> Result<Self, EngineError> {
        let types = TYPES.as_ref().ok_or_else(|| EngineError("its types".into()))?;
        let mut trees = Vec::with_capacity(policies.rules().len());
        for rule in policies.rules() {
            let tree = rule.policy.to_pst().map_err(|error| EngineError(error.to_string()))?;
            trees.push(tree);
        }
        let slices = std::array::from_fn(|at| {
            let action = Action::ALL.get(at).copied().unwrap_or(Action::FileRead);
            let mut rules = Vec::new();
            let mut folders = HashMap::default();
            let mut early = Reads::default();
            for (index, tree) in trees.iter().enumerate() {
                let mut sketcher = Sketcher { agent: &subject.agent, action, reads: Reads::default() };
                let Some(sketch) = sketcher.policy(tree.body()) else { continue };
                // What is false whatever the resource has no part.
                if sketch.look(&Anything) == Outcomes::FALSE {
                    continue;
                }
                let mut reads = sketcher.reads;
                for literal in rule_literals(&policies, index) {
                    folders.insert(literal.id().unescaped().into(), literal);
                }
                if matches!(action, Action::ToolCall) {
                    reads = reads.and(Reads::attribute(Attribute::Command));
                }
                early = early.and(reads.only(EARLY));
                rules.push(Sketched { index, sketch, reads });
            }
            let own = uid(&types.action, action.word());
            let parents = groups(action).iter().map(|group| uid(&types.action, group)).collect();
            Slice {
                action,
                entity: Entity::new_no_attrs(own.clone(), parents),
                uid: own,
                rules,
                folders,
                early,
                kept: Mutex::default(),
            }
        });
        let principal = uid(&types.agent, subject.agent.as_str());
        let set: Arc<str> = policies.hash().into();
        let unconcerned = Arc::new(Verdict {
            decision: Decision::Deny,
            policies: Arc::default(),
            errors: Vec::new(),
            set: Arc::clone(&set),
        });
        let (authorizer, ports) = (Authorizer::new(), OnceLock::new());
        Ok(Self { policies, subject, set, slices, authorizer, principal, unconcerned, ports })
    }

    /// Returns the policy set.
    #[must_use]
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Returns for whom it answers.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns the policies that concern an action, as far as they speak of the resource.
    pub(crate) fn sketches(&self, action: Action) -> &[Sketched] {
        self.slice(action).map_or(&[], |slice| &slice.rules)
    }

    fn slice(&self, action: Action) -> Option<&Slice> {
        self.slices.iter().find(|slice| slice.action == action)
    }

    /// Says whether the name of a host may be known: whether a connection to it is permitted on any port, as far as that
    /// can be said before it is known where the name leads. The port that the request has says nothing.
    #[must_use]
    pub fn may_know(&self, request: &Request<'_>) -> Arc<Verdict> {
        let Resource::Host { host, address, .. } = request.resource else { return self.decide(request) };
        let ports = self.ports.get_or_init(|| {
            let mut ports = plan::named_ports(self);
            ports.extend(OTHER_PORTS);
            ports.into_iter().collect()
        });
        let on = |port: &u16| {
            self.decide(&Request { resource: Resource::Host { host, address, port: *port }, ..*request })
        };
        let mut answers = ports.iter().map(on);
        let mut denied = None;
        let allowed = answers.find(|verdict| {
            denied.get_or_insert_with(|| Arc::clone(verdict));
            verdict.decision == Decision::Allow
        });
        allowed.or(denied).unwrap_or_else(|| self.refuse("no port".into()))
    }

    /// Says whether one of these policies names a socket by itself, or a host's port: what has power over others is not
    /// reached by a permission for everything.
    #[must_use]
    pub fn is_named(&self, policies: &[Arc<str>], resource: &Resource<'_>) -> bool {
        let id = resource.id();
        let port = match resource {
            Resource::Host { port, .. } => Some(port.to_string()),
            _ => None,
        };
        policies.iter().filter_map(|id| self.policies.rule(id)).any(|rule| match &port {
            Some(port) => {
                let text = self.policies.text(rule);
                text.split(|c: char| !c.is_ascii_digit()).any(|number| number == port)
            }
            None => rule.policy.entity_literals().iter().any(|literal| *literal.id().unescaped() == *id),
        })
    }

    /// Answers a request. What goes wrong is an answer as well: Deny, with why.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Arc<Verdict> {
        let Some(slice) = self.slice(request.action) else { return self.refuse("no such action".into()) };
        if !request.resource.is_plausible() {
            return self.refuse(format!("no resource can be named `{}`", request.resource.id()));
        }
        if let Some(path) = request.resource.path()
            && let Some(id) = self.subject.reserved.forbids(request.action, path)
        {
            return self.verdict(Decision::Deny, vec![id.into()], Vec::new());
        }
        let own;
        let request = match request.resource {
            Resource::Path(path) if path.starts_with("/proc/") => {
                own = Resource::path_of(path, request.pid, request.of_session);
                &Request { resource: Resource::Path(&own), ..*request }
            }
            Resource::Host { host, address, port } => {
                own = Resource::host_of(host, address);
                let address = address.map(|address| address.to_canonical());
                &Request { resource: Resource::Host { host: &own, address, port }, ..*request }
            }
            _ => request,
        };
        let id = request.resource.id();
        if let Some(verdict) = slice.kept().answer(&id, request) {
            return verdict;
        }
        let view = One { request, id: &id, tmp: self.tmp_for(request.resource) };
        let mut reads = slice.early;
        let mut concerned: Vec<u32> = Vec::new();
        let mut all_hold = true;
        for rule in &slice.rules {
            let outcomes = rule.sketch.look(&view);
            if outcomes != Outcomes::FALSE {
                concerned.push(u32::try_from(rule.index).unwrap_or(u32::MAX));
                reads = reads.and(rule.reads);
                all_hold &= outcomes == Outcomes::TRUE;
            }
        }
        let known = match concerned.as_slice() {
            [] => Some(Arc::clone(&self.unconcerned)),
            concerned if all_hold => slice.kept().when_all_hold(concerned),
            _ => None,
        };
        if let Some(verdict) = known {
            return self.keep(slice, &id, request, reads, verdict);
        }
        let verdict = match self.ask(slice, &concerned, &id, request, reads) {
            Ok(verdict) => verdict,
            Err(error) => return self.refuse(error),
        };
        if all_hold && let Some(kept) = slice.kept().sets.get_mut(concerned.as_slice()) {
            kept.when_all_hold = Some(Arc::clone(&verdict));
        }
        self.keep(slice, &id, request, reads, verdict)
    }

    /// Returns the session's temporary directory, where it is its own for this resource.
    fn tmp_for(&self, resource: Resource<'_>) -> Option<&str> {
        let is_shared = self.subject.tmp_is_shared && matches!(resource, Resource::Unix(_));
        self.subject.tmp.as_deref().filter(|_| !is_shared)
    }

    /// Asks Cedar, with the policies that are concerned.
    fn ask(
        &self,
        slice: &Slice,
        concerned: &[u32],
        id: &str,
        request: &Request<'_>,
        reads: Reads,
    ) -> Result<Arc<Verdict>, String> {
        let types = TYPES.as_ref().ok_or("no types")?;
        let set = self.policy_set(slice, concerned)?;
        let own = uid(&types.resource, id);
        let mut parents = HashSet::default();
        let mut up = |name: &str| {
            if let Some(folder) = slice.folders.get(name).filter(|_| name != id) {
                parents.insert(folder.clone());
            }
            if self.tmp_for(request.resource) == Some(name)
                && let Some(folder) = slice.folders.get(TMP)
            {
                parents.insert(folder.clone());
            }
        };
        if let Some(path) = request.resource.path() {
            upwards(path, &mut up);
        }
        let attributes = attributes(request, reads).collect();
        let resource = Entity::new(own.clone(), attributes, parents.into_iter().collect())
            .map_err(|error| error.to_string())?;
        let entities =
            Entities::from_entities([resource, slice.entity.clone()], None).map_err(|e| e.to_string())?;
        let context = Context::from_pairs(self.context(request, reads)).map_err(|error| error.to_string())?;
        let asked = CedarRequest::new(self.principal.clone(), slice.uid.clone(), own, context, None)
            .map_err(|error| error.to_string())?;
        let response = self.authorizer.is_authorized(&asked, &set, &entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let failed = response.diagnostics().errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => error.policy_id().as_ref(),
        });
        let reasons: HashSet<&str> = if errors.is_empty() {
            response.diagnostics().reason().map(AsRef::as_ref).collect()
        } else {
            failed.collect()
        };
        let determining = concerned
            .iter()
            .filter_map(|index| self.policies.rules().get(usize::try_from(*index).ok()?))
            .filter(|rule| reasons.contains(&*rule.id))
            .map(|rule| Arc::clone(&rule.id))
            .collect();
        let decision = match response.decision() {
            cedar_policy::Decision::Allow if errors.is_empty() => Decision::Allow,
            _ => Decision::Deny,
        };
        Ok(self.verdict(decision, determining, errors))
    }

    fn policy_set(&self, slice: &Slice, concerned: &[u32]) -> Result<Arc<PolicySet>, String> {
        if let Some(kept) = slice.kept().sets.get(concerned) {
            return Ok(Arc::clone(&kept.set));
        }
        let rules =
            concerned.iter().filter_map(|index| self.policies.rules().get(usize::try_from(*index).ok()?));
        let set =
            PolicySet::from_policies(rules.map(|rule| rule.policy.clone())).map_err(|e| e.to_string())?;
        let set = Arc::new(set);
        let mut kept = slice.kept();
        if kept.in_sets + concerned.len() > SETS_MAX {
            kept.sets.clear();
            kept.in_sets = 0;
        }
        kept.in_sets += concerned.len();
        kept.sets.insert(concerned.into(), KeptSet { set: Arc::clone(&set), when_all_hold: None });
        Ok(set)
    }

    /// Returns what the context has, as far as it is read.
    fn context(&self, request: &Request<'_>, reads: Reads) -> Vec<(String, RestrictedExpression)> {
        let mut pairs = Vec::new();
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let mut put = |reads_it: bool, name: &str, value: &dyn Fn() -> Option<RestrictedExpression>| {
            if reads_it && let Some(value) = value() {
                pairs.push((name.to_owned(), value));
            }
        };
        let bool = |value| Some(RestrictedExpression::new_bool(value));
        put(reads.has(Reads::SESSION), "session", &|| Some(text(&self.subject.session)));
        put(reads.has(Reads::MODE), "mode", &|| Some(text(&self.subject.mode)));
        put(reads.has(Reads::TIME), "time", &|| Some(RestrictedExpression::new_datetime(datetime(request))));
        put(reads.has(Reads::EXE.and(Reads::PID)), "process", &|| {
            let pid = RestrictedExpression::new_long(i64::from(request.pid));
            RestrictedExpression::new_record([("exe".to_owned(), text(request.exe)), ("pid".to_owned(), pid)])
                .ok()
        });
        match request.action {
            Action::FileWrite | Action::FileDelete | Action::DirCreate => {
                put(reads.has(Reads::EXISTED), "existed", &|| bool((request.existed)()));
                if request.action == Action::FileWrite {
                    put(reads.has(Reads::SETUID), "setuid", &|| bool(request.setuid));
                }
            }
            Action::NetConnect => put(reads.has(Reads::DIRECTION), "direction", &|| {
                Some(text(if request.listen { "listen" } else { "connect" }))
            }),
            Action::ProcessSpawn | Action::ToolCall => {
                put(reads.has(Reads::ARGUMENTS), "arguments", &|| match request.resource {
                    Resource::Program { arguments, .. } | Resource::Tool { arguments, .. } => {
                        Some(RestrictedExpression::new_set(arguments.iter().copied().map(text)))
                    }
                    _ => Some(RestrictedExpression::new_set([])),
                });
                if let (Action::ToolCall, Resource::Tool { tool, .. }) = (request.action, request.resource) {
                    put(reads.has(Reads::TOOL), "tool", &|| Some(text(tool)));
                }
            }
            Action::FileRead | Action::DirList | Action::ProcessExit => {}
        }
        pairs
    }

    fn verdict(&self, decision: Decision, policies: Vec<Arc<str>>, errors: Vec<String>) -> Arc<Verdict> {
        Arc::new(Verdict { decision, policies: policies.into(), errors, set: Arc::clone(&self.set) })
    }

    fn refuse(&self, why: String) -> Arc<Verdict> {
        self.verdict(Decision::Deny, Vec::new(), vec![why])
    }

    /// Keeps an answer for the next request that has the same inputs.
    fn keep(
        &self,
        slice: &Slice,
        id: &str,
        request: &Request<'_>,
        reads: Reads,
        verdict: Arc<Verdict>,
    ) -> Arc<Verdict> {
        if id.len() <= ID_MAX
            && let Some(inputs) = Inputs::of(request, reads)
        {
            slice.kept().keep(id, Answer { inputs, verdict: Arc::clone(&verdict) });
        }
        verdict
    }
}

fn rule_literals(policies: &Policies, index: usize) -> Vec<EntityUid> {
    let of_resource = |uid: &EntityUid| uid.type_name().basename() == "Resource";
    policies
        .rules()
        .get(index)
        .map(|rule| rule.policy.entity_literals().into_iter().filter(of_resource).collect())
        .unwrap_or_default()
}

impl Slice {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What is behind it is whole at every moment.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn answer(&mut self, id: &str, request: &Request<'_>) -> Option<Arc<Verdict>> {
        if let Some(answer) = self.young.get(id) {
            return answer.inputs.fit(request).then(|| Arc::clone(&answer.verdict));
        }
        let (id, answer) = self.old.remove_entry(id)?;
        let verdict = answer.inputs.fit(request).then(|| Arc::clone(&answer.verdict));
        self.put(id, answer);
        verdict
    }

    fn when_all_hold(&self, concerned: &[u32]) -> Option<Arc<Verdict>> {
        self.sets.get(concerned)?.when_all_hold.clone()
    }

    fn keep(&mut self, id: &str, answer: Answer) {
        self.put(id.into(), answer);
    }

    fn put(&mut self, id: Box<str>, answer: Answer) {
        if self.young.len() >= ANSWERS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, answer);
    }
}

impl Inputs {
    /// Returns what an answer depended on; nothing where it must not be kept.
    fn of(request: &Request<'_>, reads: Reads) -> Option<Self> {
        let is_call = matches!(request.resource, Resource::Tool { .. });
        if is_call || reads.has(Reads::TIME.and(Reads::EXISTED)) {
            return None;
        }
        let mut inputs = Self::default();
        if reads.has(Reads::EXE) {
            inputs.exe = Some(request.exe.into());
        }
        if reads.has(Reads::PID) {
            inputs.pid = Some(request.pid);
        }
        if let Resource::Program { command, .. } = request.resource
            && reads.has(Reads::attribute(Attribute::Command).and(Reads::ARGUMENTS))
        {
            // It says the arguments, with where each ends.
            inputs.command = Some(command.into());
        }
        if let Resource::Host { address, .. } = request.resource
            && reads.has(Reads::attribute(Attribute::Address))
        {
            inputs.address = Some(address);
        }
        if reads.has(Reads::DIRECTION) {
            inputs.listen = Some(request.listen);
        }
        if reads.has(Reads::SETUID) {
            inputs.setuid = Some(request.setuid);
        }
        Some(inputs)
    }

    /// Says whether a request has the same.
    fn fit(&self, request: &Request<'_>) -> bool {
        self.exe.as_deref().is_none_or(|exe| exe == request.exe)
            && self.pid.is_none_or(|pid| pid == request.pid)
            && self.listen.is_none_or(|listen| listen == request.listen)
            && self.setuid.is_none_or(|setuid| setuid == request.setuid)
            && self.command.as_deref().is_none_or(
                |kept| matches!(request.resource, Resource::Program { command, .. } if command == kept),
            )
            && self.address.is_none_or(
                |kept| matches!(request.resource, Resource::Host { address, .. } if address == kept),
            )
    }
}

/// Returns the attributes of a resource, as far as they are read.
fn attributes<'a>(
    request: &'a Request<'a>,
    reads: Reads,
) -> impl Iterator<Item = (String, RestrictedExpression)> + 'a {
    let value = |attribute| {
        let text = |text: &str| Some(RestrictedExpression::new_string(text.to_owned()));
        match (attribute, request.resource) {
            (Attribute::Path, resource) => text(resource.path()?),
            (Attribute::Name, resource) => text(name_of(resource.path()?)?),
            (Attribute::Extension, resource) => text(extension_of(resource.path()?)?),
            (Attribute::Host, Resource::Host { host, .. }) => text(host),
            (Attribute::Port, Resource::Host { port, .. }) => {
                Some(RestrictedExpression::new_long(i64::from(port)))
            }
            (Attribute::Address, Resource::Host { address, .. }) => {
                Some(RestrictedExpression::new_ip(address?.to_string()))
            }
            (Attribute::Tool, Resource::Tool { tool, .. }) => text(tool),
            (Attribute::Command, Resource::Program { command, .. } | Resource::Tool { command, .. }) => {
                text(command)
            }
            _ => None,
        }
    };
    Attribute::ALL
        .into_iter()
        .filter(move |attribute| reads.has(Reads::attribute(*attribute)))
        .filter_map(move |attribute| Some((attribute.word().to_owned(), value(attribute)?)))
}

/// Returns the time of a request as Cedar reads it: milliseconds, UTC.
fn datetime(request: &Request<'_>) -> String {
    // RFC 3339 with nanoseconds; Cedar takes three digits of the fraction.
    let text = request.time.to_string();
    let whole = text.get(..19).unwrap_or("1970-01-01T00:00:00");
    format!("{whole}.{}Z", text.get(20..23).unwrap_or("000"))
}

/// One resource, as a request has it.
struct One<'a> {
    request: &'a Request<'a>,
    id: &'a str,
    tmp: Option<&'a str>,
}

impl View for One<'_> {
    fn is_in(&self, id: &str) -> Outcomes {
        let within = |folder| self.request.resource.path().is_some_and(|path| is_within(path, folder));
        Outcomes::of(match (id, self.tmp) {
            (TMP, Some(tmp)) => within(tmp),
            (TMP, None) => false,
            _ => id == self.id || within(id),
        })
    }

    fn is(&self, id: &str) -> Outcomes {
        Outcomes::of(id == self.id)
    }

    fn has(&self, attribute: Attribute) -> Outcomes {
        let resource = &self.request.resource;
        Outcomes::of(match attribute {
            Attribute::Path => resource.path().is_some(),
            Attribute::Name => resource.path().and_then(name_of).is_some(),
            Attribute::Extension => resource.path().and_then(extension_of).is_some(),
            Attribute::Host | Attribute::Port => matches!(resource, Resource::Host { .. }),
            Attribute::Address => matches!(resource, Resource::Host { address: Some(_), .. }),
            Attribute::Tool => matches!(resource, Resource::Tool { .. }),
            Attribute::Command => matches!(resource, Resource::Program { .. } | Resource::Tool { .. }),
        })
    }

    fn test(&self, attribute: Attribute, test: &Test) -> Outcomes {
        let resource = &self.request.resource;
        // Without the attribute, Cedar says what happens.
        let text = |text: Option<&str>| text.map_or(Outcomes::ERROR, |text| test.text(text));
        match (attribute, resource) {
            (Attribute::Path, _) => text(resource.path()),
            (Attribute::Name, _) => text(resource.path().and_then(name_of)),
            (Attribute::Extension, _) => text(resource.path().and_then(extension_of)),
            (Attribute::Host, Resource::Host { host, .. }) => text(Some(host)),
            (Attribute::Port, Resource::Host { port, .. }) => test.number(i64::from(*port)),
            (Attribute::Tool, Resource::Tool { tool, .. }) => text(Some(tool)),
            _ => Outcomes::ANY,
        }
    }

    fn listens(&self) -> Outcomes {
        Outcomes::of(self.request.listen)
    }
}
