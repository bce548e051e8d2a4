//! Making sketches of policies.

use aegis_types::{Action, AgentName};
use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, EntityUID, Expr, Literal, PrincipalConstraint,
    ResourceConstraint, Template, UnaryOp, Var,
};

use super::{Atom, Attribute, Outcomes, Pattern, Reads, Sketch, Test};

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
            _ => self.reads = Reads::EVERYTHING,
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
