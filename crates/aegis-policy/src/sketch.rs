//! A policy's conditions, as far as they speak of the resource: what can be told of them without Cedar.
//!
//! A [`Sketch`] is made of a policy for one action of one agent. Held against a [`View`], it says which of three
//! things its conditions can come to: true, false, an error. Where it says "false" and nothing else, the policy has
//! no part in a decision, and Cedar need not be asked. Held against a whole region of paths instead of one, it says
//! what a kernel can be told of that region (`plan`).
//!
//! It never decides: whatever it can't tell is "any of the three".

use std::fmt;

use aegis_types::{Action, AgentName};
use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, EntityUID, Expr, Literal, PatternElem,
    PrincipalConstraint, ResourceConstraint, Template, UnaryOp, Var,
};

/// What a condition can come to: any of true, false, error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Outcomes(u8);

impl Outcomes {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const TRUE: Self = Self(1);
    pub(crate) const FALSE: Self = Self(2);
    pub(crate) const ERROR: Self = Self(4);
    pub(crate) const EITHER: Self = Self(3);
    pub(crate) const ANY: Self = Self(7);

    pub(crate) fn of(value: bool) -> Self {
        if value { Self::TRUE } else { Self::FALSE }
    }

    pub(crate) fn may_be(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The same without `what`.
    fn without(self, what: Self) -> Self {
        Self(self.0 & !what.0)
    }

    fn not(self) -> Self {
        let swapped = (self.0 & 1) << 1 | (self.0 & 2) >> 1;
        Self(swapped | self.0 & 4)
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |bit: u8, c: char| if self.0 & bit == 0 { '-' } else { c };
        write!(f, "{}{}{}", word(1, 't'), word(2, 'f'), word(4, 'e'))
    }
}

/// An attribute of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    Path,
    Name,
    Extension,
    Host,
    Port,
    Tool,
    Address,
    Command,
}

impl Attribute {
    pub(crate) const ALL: [Self; 8] = [
        Self::Path,
        Self::Name,
        Self::Extension,
        Self::Host,
        Self::Port,
        Self::Tool,
        Self::Address,
        Self::Command,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Name => "name",
            Self::Extension => "extension",
            Self::Host => "host",
            Self::Port => "port",
            Self::Tool => "tool",
            Self::Address => "address",
            Self::Command => "command",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.word() == word)
    }
}

/// A question about one attribute.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// It is one of these texts.
    OneOf(Vec<String>),
    /// It fits the pattern.
    Like(Pattern),
    /// It is one of these numbers.
    Number(Vec<i64>),
}

impl Test {
    pub(crate) fn text(&self, value: &str) -> Outcomes {
        match self {
            Test::OneOf(values) => Outcomes::of(values.iter().any(|v| v == value)),
            Test::Like(pattern) => Outcomes::of(pattern.fits(value)),
            Test::Number(_) => Outcomes::ANY,
        }
    }

    pub(crate) fn number(&self, value: i64) -> Outcomes {
        match self {
            Test::Number(values) => Outcomes::of(values.contains(&value)),
            Test::OneOf(_) | Test::Like(_) => Outcomes::ANY,
        }
    }
}

/// What a text has met of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Met {
    /// The part that it is at.
    part: usize,
    /// How much of that part its end may be, in bytes, ascending; a part behind a `*` begins anywhere. Empty where it can't
    /// fit any more.
    lengths: Vec<usize>,
}

/// A pattern of `like`: texts with anything between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The literal parts; between two stands a `*`.
    parts: Vec<String>,
}

impl Pattern {
    fn new(elements: &[PatternElem]) -> Self {
        let mut parts = vec![String::new()];
        for element in elements {
            match (element, parts.last_mut()) {
                (PatternElem::Char(c), Some(part)) => part.push(*c),
                _ => parts.push(String::new()),
            }
        }
        Self { parts }
    }

    pub(crate) fn fits(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return text == first };
        let Some(text) = text.strip_prefix(first.as_str()) else { return false };
        let Some(mut text) = text.strip_suffix(last.as_str()) else { return false };
        for part in middle {
            let Some(at) = text.find(part.as_str()) else { return false };
            text = text.get(at + part.len()..).unwrap_or_default();
        }
        true
    }

    /// What every text that fits begins with.
    pub(crate) fn prefix(&self) -> &str {
        self.parts.first().map(String::as_str).unwrap_or_default()
    }

    /// Says whether two texts are alike whatever follows them: they have both met the same of the pattern.
    pub(crate) fn are_alike(&self, one: &str, other: &str) -> bool {
        let common = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let (both, one) = one.as_bytes().split_at(common);
        let mut met = Met { part: 0, lengths: vec![0] };
        self.close(&mut met);
        self.go_on(&mut met, both);
        let mut met_too = met.clone();
        self.go_on(&mut met, one);
        self.go_on(&mut met_too, other.as_bytes().get(common..).unwrap_or_default());
        met == met_too
    }

    fn go_on(&self, met: &mut Met, text: &[u8]) {
        for byte in text {
            let Some(part) = self.parts.get(met.part).filter(|_| !met.lengths.is_empty()) else { return };
            met.lengths.retain_mut(|length| {
                let fits = part.as_bytes().get(*length) == Some(byte);
                *length += 1;
                fits
            });
            // Behind a `*`, what does not fit is passed over.
            if met.part > 0 {
                met.lengths.insert(0, 0);
            }
            self.close(met);
        }
    }

    /// Goes on over each `*` that is reached. What is before the last of them matters no more: the rest can be met from
    /// there whenever it can be met at all.
    fn close(&self, met: &mut Met) {
        while met.part + 1 < self.parts.len()
            && self.parts.get(met.part).is_some_and(|part| met.lengths.contains(&part.len()))
        {
            *met = Met { part: met.part + 1, lengths: vec![0] };
        }
    }

    /// The directory of which the pattern means everything below: `/a/*` means all below `/a`.
    pub(crate) fn directory(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [prefix, end] if end.is_empty() => match prefix.strip_suffix('/') {
                Some("") => Some("/"),
                other => other.filter(|folder| folder.starts_with('/')),
            },
            _ => None,
        }
    }
}

/// What a condition asks of the resource.
#[derive(Debug, Clone)]
pub(crate) enum Atom {
    /// It is one of these or in one.
    In(Vec<String>),
    /// It is one of these.
    Same(Vec<String>),
    Has(Attribute),
    Test(Attribute, Test),
    /// `context.direction` is `listen`.
    Listen,
}

/// A resource, or a region of them.
pub(crate) trait View {
    fn is_in(&self, id: &str) -> Outcomes;
    fn is(&self, id: &str) -> Outcomes;
    fn has(&self, attribute: Attribute) -> Outcomes;
    fn test(&self, attribute: Attribute, test: &Test) -> Outcomes;
    fn listens(&self) -> Outcomes;
}

/// Any resource whatever.
pub(crate) struct Anything;

impl View for Anything {
    fn is_in(&self, _: &str) -> Outcomes {
        Outcomes::EITHER
    }

    fn is(&self, _: &str) -> Outcomes {
        Outcomes::EITHER
    }

    fn has(&self, _: Attribute) -> Outcomes {
        Outcomes::EITHER
    }

    fn test(&self, _: Attribute, _: &Test) -> Outcomes {
        Outcomes::ANY
    }

    fn listens(&self) -> Outcomes {
        Outcomes::EITHER
    }
}

/// The conditions of a policy for one action of one agent.
#[derive(Debug, Clone)]
pub(crate) enum Sketch {
    Is(Outcomes),
    Not(Box<Sketch>),
    All(Vec<Sketch>),
    Any(Vec<Sketch>),
    If(Box<[Sketch; 3]>),
    Atom(Atom),
}

impl Sketch {
    /// Says what the conditions can come to.
    pub(crate) fn look(&self, view: &impl View) -> Outcomes {
        match self {
            Sketch::Is(outcomes) => *outcomes,
            Sketch::Not(inner) => inner.look(view).not(),
            Sketch::All(all) => chain(all, view, Outcomes::TRUE),
            Sketch::Any(any) => chain(any, view, Outcomes::FALSE),
            Sketch::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = condition.look(view);
                let mut outcomes = Outcomes(condition.0 & Outcomes::ERROR.0);
                if condition.may_be(Outcomes::TRUE) {
                    outcomes = outcomes.or(then.look(view));
                }
                if condition.may_be(Outcomes::FALSE) {
                    outcomes = outcomes.or(otherwise.look(view));
                }
                outcomes
            }
            Sketch::Atom(atom) => match atom {
                Atom::In(ids) => first_true(ids, |id| view.is_in(id)),
                Atom::Same(ids) => first_true(ids, |id| view.is(id)),
                Atom::Has(attribute) => view.has(*attribute),
                Atom::Test(attribute, test) => view.test(*attribute, test),
                Atom::Listen => view.listens(),
            },
        }
    }

    /// Calls `each` with everything that is asked of the resource.
    pub(crate) fn atoms<'a>(&'a self, each: &mut impl FnMut(&'a Atom)) {
        match self {
            Sketch::Is(_) => {}
            Sketch::Not(inner) => inner.atoms(each),
            Sketch::All(all) | Sketch::Any(all) => all.iter().for_each(|one| one.atoms(each)),
            Sketch::If(parts) => parts.iter().for_each(|one| one.atoms(each)),
            Sketch::Atom(atom) => each(atom),
        }
    }
}

/// `&&` and `||`: goes on while a part is `go_on`, ends with the first that is not.
fn chain(parts: &[Sketch], view: &impl View, go_on: Outcomes) -> Outcomes {
    let mut outcomes = Outcomes::NONE;
    for part in parts {
        let one = part.look(view);
        outcomes = outcomes.or(one.without(go_on));
        if !one.may_be(go_on) {
            return outcomes;
        }
    }
    outcomes.or(go_on)
}

/// True where it is for one, false where it is for none; either where that is not known of one.
fn first_true(ids: &[String], is: impl Fn(&str) -> Outcomes) -> Outcomes {
    let mut outcomes = Outcomes::FALSE;
    for id in ids {
        match is(id) {
            Outcomes::TRUE => return Outcomes::TRUE,
            Outcomes::FALSE => {}
            other => outcomes = outcomes.or(other),
        }
    }
    outcomes
}

/// What a policy reads beside the name of the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reads(u32);

impl Reads {
    pub(crate) const EXE: Self = Self(1 << 8);
    pub(crate) const PID: Self = Self(1 << 9);
    pub(crate) const TIME: Self = Self(1 << 10);
    pub(crate) const ARGUMENTS: Self = Self(1 << 11);
    pub(crate) const DIRECTION: Self = Self(1 << 12);
    pub(crate) const EXISTED: Self = Self(1 << 13);
    pub(crate) const SETUID: Self = Self(1 << 14);
    pub(crate) const TOOL: Self = Self(1 << 15);
    pub(crate) const SESSION: Self = Self(1 << 16);
    pub(crate) const MODE: Self = Self(1 << 17);
    const CONTEXT: Self = Self(0x3ff << 8);

    pub(crate) const fn attribute(attribute: Attribute) -> Self {
        Self(1 << attribute as u32)
    }

    /// Returns what is read, as it is written in a policy.
    pub(crate) fn words(self) -> Vec<&'static str> {
        let context = [
            (Self::EXE, "context.process.exe"),
            (Self::PID, "context.process.pid"),
            (Self::TIME, "context.time"),
            (Self::ARGUMENTS, "context.arguments"),
            (Self::DIRECTION, "context.direction"),
            (Self::EXISTED, "context.existed"),
            (Self::SETUID, "context.setuid"),
            (Self::TOOL, "context.tool"),
            (Self::SESSION, "context.session"),
            (Self::MODE, "context.mode"),
        ];
        let resource = [
            (Attribute::Path, "resource.path"),
            (Attribute::Name, "resource.name"),
            (Attribute::Extension, "resource.extension"),
            (Attribute::Host, "resource.host"),
            (Attribute::Port, "resource.port"),
            (Attribute::Tool, "resource.tool"),
            (Attribute::Address, "resource.address"),
            (Attribute::Command, "resource.command"),
        ];
        resource
            .into_iter()
            .map(|(attribute, word)| (Self::attribute(attribute), word))
            .chain(context)
            .filter(|(bit, _)| self.has(*bit))
            .map(|(_, word)| word)
            .collect()
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns those that are in `other` as well.
    pub(crate) fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn context(word: &str) -> Self {
        match word {
            "time" => Self::TIME,
            "arguments" => Self::ARGUMENTS,
            "direction" => Self::DIRECTION,
            "existed" => Self::EXISTED,
            "setuid" => Self::SETUID,
            "tool" => Self::TOOL,
            "session" => Self::SESSION,
            "mode" => Self::MODE,
            "process" => Self::EXE.and(Self::PID),
            _ => Self::CONTEXT,
        }
    }
}

/// Makes sketches for one action of one agent.
pub(crate) struct Sketcher<'a> {
    pub(crate) agent: &'a AgentName,
    pub(crate) action: Action,
    pub(crate) reads: Reads,
}

/// Returns the groups that an action is in.
pub(crate) fn groups(action: Action) -> &'static [&'static str] {
    match action {
        Action::FileRead | Action::DirList => &["Read"],
        Action::FileWrite | Action::FileDelete | Action::DirCreate => &["Write"],
        Action::ProcessSpawn | Action::ProcessExit => &["Process"],
        Action::NetConnect | Action::ToolCall => &[],
    }
}

impl Sketcher<'_> {
    /// Makes the sketch of a policy; nothing where its scope excludes the action or the agent.
    pub(crate) fn policy(&mut self, policy: &Template) -> Option<Sketch> {
        let in_scope = match &policy.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => self.is_action(uid, false),
            ActionConstraint::In(uids) => uids.iter().any(|uid| self.is_action(uid, true)),
        };
        let in_scope = in_scope
            && match &policy.principal {
                PrincipalConstraint::Eq(EntityOrSlot::Entity(uid))
                | PrincipalConstraint::In(EntityOrSlot::Entity(uid))
                | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => self.is_agent(uid),
                _ => true,
            };
        if !in_scope {
            return None;
        }
        let mut all = Vec::new();
        match &policy.resource {
            ResourceConstraint::Eq(EntityOrSlot::Entity(uid)) => all.push(same(std::slice::from_ref(uid))),
            ResourceConstraint::In(EntityOrSlot::Entity(uid))
            | ResourceConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => {
                all.push(inside(std::slice::from_ref(uid)));
            }
            ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
            _ => all.push(Sketch::Is(Outcomes::ANY)),
        }
        for clause in policy.clauses() {
            all.push(match clause {
                Clause::When(expression) => self.condition(expression),
                Clause::Unless(expression) => Sketch::Not(Box::new(self.condition(expression))),
            });
        }
        Some(Sketch::All(all))
    }

    fn is_action(&self, uid: &EntityUID, or_group: bool) -> bool {
        let id = uid.eid.as_str();
        id == self.action.word() || (or_group && groups(self.action).contains(&id))
    }

    fn is_agent(&self, uid: &EntityUID) -> bool {
        uid.eid.as_str() == self.agent.as_str()
    }

    fn condition(&mut self, expression: &Expr) -> Sketch {
        match expression {
            Expr::Literal(Literal::Bool(value)) => Sketch::Is(Outcomes::of(*value)),
            Expr::UnaryOp { op: UnaryOp::Not, expr } => Sketch::Not(Box::new(self.condition(expr))),
            Expr::BinaryOp { op: BinaryOp::And, left, right } => {
                Sketch::All(vec![self.condition(left), self.condition(right)])
            }
            Expr::BinaryOp { op: BinaryOp::Or, left, right } => {
                Sketch::Any(vec![self.condition(left), self.condition(right)])
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => Sketch::If(Box::new([
                self.condition(cond),
                self.condition(then_expr),
                self.condition(else_expr),
            ])),
            _ => {
                self.note(expression);
                match self.atom(expression) {
                    Some(sketch) => sketch,
                    None => unknown(expression),
                }
            }
        }
    }

    fn atom(&self, expression: &Expr) -> Option<Sketch> {
        match expression {
            Expr::BinaryOp { op: BinaryOp::Eq, left, right } => {
                self.equal(left, right).or_else(|| self.equal(right, left))
            }
            Expr::BinaryOp { op: BinaryOp::NotEq, left, right } => {
                let equal = self.equal(left, right).or_else(|| self.equal(right, left))?;
                Some(Sketch::Not(Box::new(equal)))
            }
            Expr::BinaryOp { op: BinaryOp::In, left, right } => {
                let uids = uids(right)?;
                match &**left {
                    Expr::Var(Var::Resource) => Some(inside(&uids)),
                    Expr::Var(Var::Principal) => {
                        Some(Sketch::Is(Outcomes::of(uids.iter().any(|uid| self.is_agent(uid)))))
                    }
                    Expr::Var(Var::Action) => {
                        Some(Sketch::Is(Outcomes::of(uids.iter().any(|uid| self.is_action(uid, true)))))
                    }
                    _ => None,
                }
            }
            Expr::BinaryOp { op: BinaryOp::Contains, left, right } => {
                if matches!(&**right, Expr::Var(Var::Resource)) {
                    return Some(same(&uids(left)?));
                }
                Some(Sketch::Atom(Atom::Test(attribute(right)?, one_of(left)?)))
            }
            Expr::HasAttr { expr, attrs } if is_resource(expr) && attrs.tail.is_empty() => {
                Some(Sketch::Atom(Atom::Has(Attribute::named(&attrs.head)?)))
            }
            Expr::Like { expr, pattern } => {
                Some(Sketch::Atom(Atom::Test(attribute(expr)?, Test::Like(Pattern::new(pattern)))))
            }
            Expr::Is { expr, in_expr, .. } if is_resource(expr) => match in_expr {
                Some(uid) => Some(inside(&uids(uid)?)),
                None => Some(Sketch::Is(Outcomes::TRUE)),
            },
            _ => None,
        }
    }

    fn equal(&self, left: &Expr, right: &Expr) -> Option<Sketch> {
        let Expr::Literal(literal) = right else { return None };
        match (left, literal) {
            (Expr::Var(Var::Resource), Literal::EntityUID(uid)) => Some(same(std::slice::from_ref(uid))),
            (Expr::Var(Var::Principal), Literal::EntityUID(uid)) => {
                Some(Sketch::Is(Outcomes::of(self.is_agent(uid))))
            }
            (Expr::Var(Var::Action), Literal::EntityUID(uid)) => {
                Some(Sketch::Is(Outcomes::of(self.is_action(uid, false))))
            }
            (Expr::GetAttr { expr, attr }, Literal::String(value))
                if is_context(expr) && attr == "direction" && self.action == Action::NetConnect =>
            {
                match value.as_str() {
                    "listen" => Some(Sketch::Atom(Atom::Listen)),
                    "connect" => Some(Sketch::Not(Box::new(Sketch::Atom(Atom::Listen)))),
                    _ => Some(Sketch::Is(Outcomes::FALSE)),
                }
            }
            (left, Literal::String(_) | Literal::Long(_)) => {
                let set = Expr::Set(vec![std::sync::Arc::new(right.clone())]);
                Some(Sketch::Atom(Atom::Test(attribute(left)?, one_of(&set)?)))
            }
            _ => None,
        }
    }

    /// Takes note of an attribute of `resource` or `context` that is read.
    fn read(&mut self, of: &Expr, attr: &str) {
        let reads = match Attribute::named(attr) {
            Some(attribute) if is_resource(of) => Reads::attribute(attribute),
            _ => Reads::context(attr),
        };
        self.reads = self.reads.and(reads);
    }

    /// Takes note of what an expression reads.
    fn note(&mut self, expression: &Expr) {
        match expression {
            Expr::HasAttr { expr, attrs } if is_resource(expr) || is_context(expr) => {
                self.read(expr, &attrs.head);
            }
            Expr::GetAttr { expr, attr } if is_resource(expr) || is_context(expr) => self.read(expr, attr),
            Expr::GetAttr { expr, attr } => match (&**expr, attr.as_str()) {
                (Expr::GetAttr { expr, attr: process }, "exe")
                    if is_context(expr) && process == "process" =>
                {
                    self.reads = self.reads.and(Reads::EXE);
                }
                (Expr::GetAttr { expr, attr: process }, "pid")
                    if is_context(expr) && process == "process" =>
                {
                    self.reads = self.reads.and(Reads::PID);
                }
                _ => self.note(expr),
            },
            Expr::Var(Var::Context) => self.reads = self.reads.and(Reads::CONTEXT),
            Expr::Literal(_) | Expr::Var(_) | Expr::Slot(_) => {}
            Expr::UnaryOp { expr, .. } | Expr::HasAttr { expr, .. } | Expr::Like { expr, .. } => {
                self.note(expr);
            }
            Expr::BinaryOp { left, right, .. } => {
                self.note(left);
                self.note(right);
            }
            Expr::Is { expr, in_expr, .. } => {
                self.note(expr);
                if let Some(inner) = in_expr {
                    self.note(inner);
                }
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.note(cond);
                self.note(then_expr);
                self.note(else_expr);
            }
            Expr::Set(values) => values.iter().for_each(|value| self.note(value)),
            Expr::Record(fields) => fields.values().for_each(|value| self.note(value)),
            _ => self.reads = Reads(u32::MAX),
        }
    }
}

/// What is not of the resource's name can come to true or false, and to an error only where it reckons.
fn unknown(expression: &Expr) -> Sketch {
    Sketch::Is(if may_fail(expression) { Outcomes::ANY } else { Outcomes::EITHER })
}

/// Says whether a validated expression can end in an error: arithmetic can overflow (Cedar, "Error semantics").
fn may_fail(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(_) | Expr::Var(_) => false,
        Expr::UnaryOp { op, expr } => {
            matches!(op, UnaryOp::Neg | UnaryOp::ToDate)
                || (matches!(op, UnaryOp::Datetime | UnaryOp::Decimal | UnaryOp::Duration | UnaryOp::Ip)
                    && !matches!(&**expr, Expr::Literal(_)))
                || may_fail(expr)
        }
        Expr::BinaryOp { op, left, right } => {
            matches!(
                op,
                BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::GetTag
                    | BinaryOp::Offset
                    | BinaryOp::DurationSince
            ) || may_fail(left)
                || may_fail(right)
        }
        // Of an entity that is written in the policy nothing is known.
        Expr::GetAttr { expr, .. } => matches!(&**expr, Expr::Literal(_)) || may_fail(expr),
        Expr::HasAttr { expr, .. } | Expr::Like { expr, .. } => may_fail(expr),
        Expr::Is { expr, in_expr, .. } => may_fail(expr) || in_expr.as_deref().is_some_and(may_fail),
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            may_fail(cond) || may_fail(then_expr) || may_fail(else_expr)
        }
        Expr::Set(values) => values.iter().any(|value| may_fail(value)),
        Expr::Record(fields) => fields.values().any(|value| may_fail(value)),
        _ => true,
    }
}

fn is_resource(expression: &Expr) -> bool {
    matches!(expression, Expr::Var(Var::Resource))
}

fn is_context(expression: &Expr) -> bool {
    matches!(expression, Expr::Var(Var::Context))
}

/// Returns the attribute of the resource that an expression reads, where its value follows from the name.
fn attribute(expression: &Expr) -> Option<Attribute> {
    let Expr::GetAttr { expr, attr } = expression else { return None };
    let attribute = Attribute::named(attr).filter(|_| is_resource(expr))?;
    (!matches!(attribute, Attribute::Address | Attribute::Command)).then_some(attribute)
}

/// Reads a set of texts or of numbers.
fn one_of(expression: &Expr) -> Option<Test> {
    let Expr::Set(values) = expression else { return None };
    let text = |value: &std::sync::Arc<Expr>| match &**value {
        Expr::Literal(Literal::String(text)) => Some(text.to_string()),
        _ => None,
    };
    let number = |value: &std::sync::Arc<Expr>| match &**value {
        Expr::Literal(Literal::Long(number)) => Some(*number),
        _ => None,
    };
    let texts: Option<Vec<String>> = values.iter().map(text).collect();
    texts.map(Test::OneOf).or_else(|| values.iter().map(number).collect::<Option<_>>().map(Test::Number))
}

/// Reads an entity or a set of them.
fn uids(expression: &Expr) -> Option<Vec<EntityUID>> {
    match expression {
        Expr::Literal(Literal::EntityUID(uid)) => Some(vec![uid.clone()]),
        Expr::Set(values) => values
            .iter()
            .map(|value| match &**value {
                Expr::Literal(Literal::EntityUID(uid)) => Some(uid.clone()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// The ids of resources among these: nothing else is or contains a resource.
fn ids(uids: &[EntityUID]) -> Vec<String> {
    let is_resource = |uid: &&EntityUID| uid.ty.0.id.to_string() == "Resource";
    uids.iter().filter(is_resource).map(|uid| uid.eid.to_string()).collect()
}

fn same(uids: &[EntityUID]) -> Sketch {
    Sketch::Atom(Atom::Same(ids(uids)))
}

fn inside(uids: &[EntityUID]) -> Sketch {
    Sketch::Atom(Atom::In(ids(uids)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        let element = |c| if c == '*' { PatternElem::Wildcard } else { PatternElem::Char(c) };
        Pattern::new(&text.chars().map(element).collect::<Vec<_>>())
    }

    #[test]
    fn texts_that_are_alike_fit_alike_whatever_follows() {
        let texts = |symbols: &str, longest: u32| -> Vec<String> {
            let symbols: Vec<char> = symbols.chars().collect();
            let all = |length: u32| (0..symbols.len().pow(length)).map(move |number| (number, length));
            let text = |(mut number, length): (usize, u32)| {
                let mut symbol = || {
                    let symbol = symbols[number % symbols.len()];
                    number /= symbols.len();
                    symbol
                };
                (0..length).map(|_| symbol()).collect()
            };
            (0..=longest).flat_map(all).map(text).collect()
        };
        let (beginnings, ends) = (texts("ab", 3), texts("ab", 4));
        let (mut alike, mut fit) = (0, 0);
        for pattern in texts("ab*", 4).iter().map(|text| pattern(text)) {
            for one in &beginnings {
                for other in &beginnings {
                    let fits = |beginning: &str, end: &String| pattern.fits(&format!("{beginning}{end}"));
                    if pattern.are_alike(one, other) {
                        assert!(
                            ends.iter().all(|end| fits(one, end) == fits(other, end)),
                            "{pattern:?} {one} {other}"
                        );
                        alike += 1;
                    } else {
                        fit += usize::from(ends.iter().any(|end| fits(one, end) != fits(other, end)));
                    }
                }
            }
        }
        // Neither says the same of everything.
        assert!(alike > 10_000 && fit > 10_000, "{alike} {fit}");
    }

    #[test]
    fn patterns_fit_as_in_cedar() {
        for (text, fits, fits_not) in [
            ("/a/*", &["/a/", "/a/b/c"][..], &["/a", "/ab"][..]),
            ("*", &["", "x"], &[]),
            ("a", &["a"], &["", "aa"]),
            ("*.rs", &[".rs", "/x.rs"], &["x.rs2"]),
            ("a*b*a", &["aba", "axbya"], &["ab", "aa", "a"]),
            ("a*a", &["aa", "axa"], &["a"]),
            ("**", &["", "x"], &[]),
        ] {
            let pattern = pattern(text);
            assert!(fits.iter().all(|t| pattern.fits(t)), "{text}");
            assert!(!fits_not.iter().any(|t| pattern.fits(t)), "{text}");
        }
        assert_eq!(pattern("/a/*").directory(), Some("/a"));
        assert_eq!(pattern("/*").directory(), Some("/"));
        for none in ["/a*", "/a/**", "*", "/a/*/b", "/a"] {
            assert_eq!(pattern(none).directory(), None, "{none}");
        }
    }
}
