//! What the policies say of what is observed, and the entries of it.

use std::sync::Arc;

use aegis_types::{
    Act, Action, Assurance, Clock, Decision, Endpoint, GapReason, Moment, Outcome, Process, Resource,
    elsewhere,
};

use super::{Follows, Met, Observer, Sink, SinkError, Ticket, host_of};
use crate::calls::Call;
use crate::look::{Also, Draft};

/// What the policies say of a call.
#[derive(Debug)]
pub struct Ruling {
    /// What it does, with the decision about each.
    pub acts: Vec<Act>,
    /// All of it is permitted, or nothing is enforced.
    pub allowed: bool,
}

impl Ruling {
    /// Denies all of it, for a reason that is no policy.
    pub fn forbid(&mut self, id: &str) {
        let policies: Arc<[Arc<str>]> = Arc::from([Arc::from(id)]);
        for act in &mut self.acts {
            act.decision = Decision::Deny;
            act.policies = Arc::clone(&policies);
        }
        self.allowed = false;
    }

    /// Says whether the policies permit all of it, enforced or not.
    #[must_use]
    pub fn is_permitted(&self) -> bool {
        self.acts.iter().all(|act| act.decision != Decision::Deny && act.would != Some(Decision::Deny))
    }

    /// Permits all of it, for a reason that is no policy.
    pub fn permit(&mut self, id: &str) {
        let policies: Arc<[Arc<str>]> = Arc::from([Arc::from(id)]);
        for act in &mut self.acts {
            match act.would {
                Some(_) => act.would = Some(Decision::Allow),
                None => act.decision = Decision::Allow,
            }
            act.policies = Arc::clone(&policies);
        }
        self.allowed = true;
    }
}

/// What was recorded of a call whose outcome is still to be told.
#[derive(Debug, Default)]
pub struct Written(Vec<(Ticket, Action, Vec<u8>)>);

impl Written {
    /// Lets go of it: its outcome was told with it.
    pub fn forget(self) {}
}

/// How the folder in `/proc` of a process is named whose id here is not known: by this and its id in the tree's own
/// namespace.
pub const INNER: &str = "inner-";

impl<S: Sink, C: Clock> Observer<S, C> {
    /// Says what the policies decide about what a call is about to do: all of it has to be permitted.
    pub fn rule(&self, met: &Met<'_>, drafts: Vec<Draft>) -> Ruling {
        let operation = (drafts.len() > 1).then(|| self.next_operation());
        let act = |draft| self.act(met.now, &met.process, &met.call, draft, operation, Assurance::Enforced);
        let acts: Vec<Act> = drafts.into_iter().map(act).collect();
        let allowed = acts.iter().all(|act| act.decision != Decision::Deny);
        Ruling { acts, allowed }
    }

    /// Records what was ruled on. Where the outcome is not known yet, it is told by [`Observer::settle`].
    ///
    /// # Errors
    /// It could not be recorded: then it must not happen.
    pub fn write(
        &self,
        met: &Met<'_>,
        ruling: Ruling,
        outcome: Option<Outcome>,
    ) -> Result<Written, SinkError> {
        let mut written = Vec::with_capacity(ruling.acts.len());
        for mut act in ruling.acts {
            act.outcome = outcome.unwrap_or(Outcome::Unknown);
            let name = match &act.resource {
                Resource::Path(path) if outcome.is_none() => path.as_bytes().to_vec(),
                _ => Vec::new(),
            };
            let action = act.action;
            let follows = if outcome.is_none() { Follows::Outcome } else { Follows::Nothing };
            if let Some(ticket) = self.record_act(met.now, act, follows)? {
                written.push((ticket, action, name));
            }
        }
        Ok(Written(written))
    }

    /// Tells how something ended that was recorded before.
    pub fn settle(&self, written: Written, outcome: Outcome) {
        for (ticket, action, name) in written.0 {
            self.sink.ended(ticket, outcome);
            self.state().summary.ended(action, &name, outcome);
        }
    }

    /// Records what fails whatever the policies say.
    ///
    /// # Errors
    /// It could not be recorded.
    pub fn note(&self, met: &Met<'_>, draft: Draft) -> Result<(), SinkError> {
        let act = Act {
            direction: draft.direction,
            flags: draft.flags,
            outcome: draft.outcome,
            ..Act::new(draft.action, met.call.name, met.process.clone(), draft.resource)
        };
        self.record_act(met.now, act, Follows::Nothing).map(drop)
    }

    /// Says whether a process may know where a name leads; where the policies say no, that is recorded. Names that they let
    /// it know are told of by the connections that follow.
    pub fn may_know(&self, process: Process, name: &str) -> bool {
        let now = self.clock.now();
        let to = Endpoint { address: String::new(), host: Some(name.to_owned()), port: 0, transport: None };
        let mut act = Act {
            assurance: Assurance::Enforced,
            outcome: Outcome::Failed(aegis_sys::errno::name(libc::EACCES)),
            ..Act::new(Action::NetConnect, "resolve", process, Resource::Net(to))
        };
        self.judge(&mut act, Vec::new(), now);
        let enforce = self.settings.enforce;
        match act.would.unwrap_or(Decision::Deny) {
            Decision::Deny if enforce => act.decision = act.would.take().unwrap_or(Decision::Deny),
            Decision::Deny => act.outcome = Outcome::Unknown,
            _ => return true,
        }
        // Its answer is the same whether this is recorded or not.
        drop(self.record_act(now, act, Follows::Nothing));
        !enforce
    }

    /// Records that a permitted connection leads out of the tree, where it does.
    ///
    /// # Errors
    /// It could not be recorded.
    pub fn note_leaving(&self, met: &Met<'_>, to: &Resource) -> Result<(), SinkError> {
        let Some(who) = self.broker(to) else { return Ok(()) };
        self.gap(GapReason::LeftTree, elsewhere::told(who, &host_of(to)), Some(met.process.clone()))
    }

    /// Makes the act of a draft, with what the policies say of it.
    pub(super) fn act(
        &self,
        now: Moment,
        process: &Process,
        call: &Call,
        draft: Draft,
        operation: Option<u64>,
        assurance: Assurance,
    ) -> Act {
        let mut act = Act {
            assurance,
            direction: draft.direction,
            flags: draft.flags,
            operation,
            outcome: draft.outcome,
            pre: draft.pre,
            ..Act::new(draft.action, call.name, process.clone(), draft.resource)
        };
        self.judge(&mut act, draft.also, now);
        if self.settings.enforce {
            act.decision = act.would.take().unwrap_or(Decision::Observed);
        }
        act
    }

    /// Notes what the policies would decide: they have to permit the act, and what comes with it.
    pub(super) fn judge(&self, act: &mut Act, also: Vec<Also>, now: Moment) {
        let ask = |act: &Act| self.sink.would(act, now.wall, self.is_of_session(&act.resource));
        let Some((mut would, mut policies)) = ask(act) else { return };
        for (action, resource) in also {
            if would == Decision::Deny {
                break;
            }
            let other = Act { action, resource, flags: Vec::new(), direction: None, ..act.clone() };
            if let Some((Decision::Deny, by)) = ask(&other) {
                (would, policies) = (Decision::Deny, by);
            }
        }
        if would == Decision::Allow
            && act.action == Action::NetConnect
            && act.direction.is_none()
            && self.broker(&act.resource).is_some()
            && !self.sink.is_named(&policies, &act.resource)
        {
            (would, policies) = (Decision::Deny, Arc::from([Arc::from(elsewhere::UNNAMED)]));
        }
        act.would = Some(would);
        act.policies = policies;
    }

    /// Returns what is connected to, where it is known to run work for others, use keys or share a screen, and is not of
    /// the tree.
    fn broker(&self, to: &Resource) -> Option<&'static str> {
        match to {
            Resource::Unix(path) => {
                let power = elsewhere::power_of(&path.to_string_lossy())?;
                (!self.is_own_socket(path.as_bytes())).then_some(power)
            }
            Resource::Net(to) => elsewhere::on_port(to.address.parse().ok()?, to.port),
            _ => None,
        }
    }

    /// Says whether something is in the folder in `/proc` of a process of the tree.
    fn is_of_session(&self, resource: &Resource) -> bool {
        let Resource::Path(path) = resource else { return false };
        let Some(rest) = path.as_bytes().strip_prefix(b"/proc/") else { return false };
        let name = rest.split(|byte| *byte == b'/').next().and_then(|name| std::str::from_utf8(name).ok());
        match name.map(|name| (name.parse(), name.strip_prefix(INNER))) {
            Some((Ok(id), _)) => self.state().processes.is_known(id),
            // In a namespace of its own are no others, but for the first, which is of Aegis.
            Some((_, Some(inner))) => inner != "1",
            _ => false,
        }
    }
}
