//! What Cedar accepts and what yet can never hold: values that no request has.
//!
//! A forbid of the kind protects nothing, so these are errors. The walk is over each policy's syntax tree, which
//! knows no places; a finding is placed by looking for its words among the tokens of the policy's text.

use std::collections::HashSet;
use std::ops::Range;

use cedar_policy::Policy;
use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityUID, Expr, Literal, PatternElem, UnaryOp, Var,
};

use crate::explain::literal::{self, ACTION, AGENT, RESOURCE, shown};
use crate::explain::tokens::{Tokens, is_string};
use crate::explain::{Explained, words};
use crate::problem::Severity;

mod attributes;
mod place;
mod values;

use values::Told;

/// Looks at a policy for what can never hold.
pub(crate) fn lint(policy: &Policy, text: &str) -> Vec<(Severity, Explained)> {
    let tokens = Tokens::new(text);
    let mut linter = Linter { tokens, used: HashSet::new(), named: HashSet::new(), found: Vec::new() };
    linter.names(policy);
    // What Cedar has parsed has a tree; without one, Cedar's own validation is left.
    if let Ok(tree) = policy.to_pst() {
        let tree = tree.body();
        if let ActionConstraint::Eq(uid) = &tree.action {
            linter.group(uid);
        }
        for clause in tree.clauses() {
            let (Clause::When(expression) | Clause::Unless(expression)) = clause;
            linter.walk(expression);
        }
    }
    linter.found
}

/// The most that is looked for in one policy: each finding is searched for in its text.
const FOUND_MAX: usize = 20;

/// What kind of value an expression has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Truth,
    Address,
    Time,
    Span,
    Set,
    Record,
    Entity,
    Unknown,
}

/// A literal, as it is looked for in the text; nothing stands for the `*` of a pattern.
type Key = Vec<Option<char>>;

/// What a finding is about.
#[derive(Debug, Clone, Copy)]
enum About<'k> {
    /// Words that follow each other.
    Words,
    /// A literal beside them.
    Literal(&'k Key),
    /// All from the words to the literal.
    Both(&'k Key),
}

struct Linter<'a> {
    tokens: Tokens<'a>,
    /// Tokens that a finding is placed at: of two that look alike, each has its own.
    used: HashSet<usize>,
    /// Attributes that were told to be unknown: once is enough.
    named: HashSet<String>,
    found: Vec<(Severity, Explained)>,
}

impl Linter<'_> {
    fn tell(&mut self, severity: Severity, at: Option<Range<usize>>, message: String, help: String) {
        self.found.push((severity, Explained { at, message, help: Some(help) }));
    }

    fn told(&mut self, chain: &str, about: About<'_>, told: Told) {
        let at = self.place(chain, about);
        self.tell(told.severity, at, told.message, told.help);
    }

    fn error(&mut self, chain: &str, about: About<'_>, message: impl Into<String>, help: impl Into<String>) {
        let at = self.place(chain, about);
        self.tell(Severity::Error, at, message.into(), help.into());
    }

    /// Looks at each name of a type: those that nothing can have are mistakes.
    fn names(&mut self, policy: &Policy) {
        let mut seen = HashSet::new();
        for index in 0..self.tokens.len() {
            if self.found.len() >= FOUND_MAX {
                return;
            }
            if !is_string(self.tokens.word(index)) || self.tokens.before(index) != "::" {
                continue;
            }
            let Some(id) = self.tokens.string(index) else { continue };
            let mut first = index;
            while first >= 2 && self.tokens.word(first - 1) == "::" {
                first -= 2;
            }
            let kind: String =
                (first..index.saturating_sub(1)).map(|index| self.tokens.word(index)).collect();
            if let Some(wrong) = literal::literal(&kind, &id) {
                // Of agents and resources the name is wrong, of others the type may be.
                let is_name = matches!(kind.as_str(), RESOURCE | AGENT);
                let at = if is_name { self.tokens.at(index) } else { self.tokens.span(first, index) };
                self.tell(wrong.severity, Some(at), wrong.message, wrong.help);
            }
            seen.insert((kind, id));
        }
        for uid in policy.entity_literals() {
            let (kind, id) = (uid.type_name().to_string(), uid.id().unescaped().to_owned());
            if let Some(wrong) = literal::literal(&kind, &id).filter(|_| !seen.contains(&(kind, id))) {
                self.tell(wrong.severity, None, wrong.message, wrong.help);
            }
        }
    }

    /// Tells of a group that an action is compared with: no action is its group.
    fn group(&mut self, uid: &EntityUID) {
        let id = uid.eid.as_str();
        if uid.ty.to_string() != ACTION || !words::GROUPS.contains(&id) {
            return;
        }
        let action = words::action(id);
        let key: Key = id.chars().map(Some).collect();
        let last = self.literal_of(&key).into_iter().find(|index| {
            self.tokens.before(*index) == "::"
                && index.checked_sub(6).is_some_and(|at| self.tokens.word(at) == "==")
        });
        let at = last.map(|last| self.tokens.span(last.saturating_sub(4), last)).or_else(|| {
            let last = *self.literal_of(&key).first()?;
            Some(self.tokens.span(last.saturating_sub(4), last))
        });
        self.tell(
            Severity::Error,
            at,
            format!("`{id}` is a group of actions, and no action is equal to it"),
            format!("`{id}` is a group of actions: write `action in {action}`"),
        );
    }

    fn walk(&mut self, expression: &Expr) {
        if self.found.len() >= FOUND_MAX {
            return;
        }
        match expression {
            Expr::UnaryOp { op, expr } => {
                self.unary(*op, expr);
                self.walk(expr);
            }
            Expr::BinaryOp { op, left, right } => {
                self.binary(*op, left, right);
                self.walk(left);
                self.walk(right);
            }
            Expr::GetAttr { expr, attr } => {
                self.attribute(expr, attr);
                self.walk(expr);
            }
            Expr::HasAttr { expr, attrs } => {
                self.has(expr, &attrs.head);
                self.walk(expr);
            }
            Expr::Like { expr, pattern } => {
                self.like(expr, pattern);
                self.walk(expr);
            }
            Expr::Is { expr, in_expr, .. } => {
                self.walk(expr);
                if let Some(inner) = in_expr {
                    self.walk(inner);
                }
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.walk(cond);
                self.walk(then_expr);
                self.walk(else_expr);
            }
            Expr::Set(all) => all.iter().for_each(|one| self.walk(one)),
            Expr::Record(fields) => fields.values().for_each(|one| self.walk(one)),
            _ => {}
        }
    }

    fn unary(&mut self, op: UnaryOp, inner: &Expr) {
        let Expr::Literal(Literal::String(text)) = inner else { return };
        let Some((word, message, help)) = values::of_function(op, text) else { return };
        let key = key(text);
        self.error(word, About::Both(&key), message, help);
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) {
        use BinaryOp::{
            Contains, ContainsAll, ContainsAny, Eq, Greater, GreaterEq, In, IsInRange, Less, LessEq, NotEq,
        };
        match op {
            Eq | NotEq | Less | LessEq | Greater | GreaterEq => {
                if self.negated(left, values::sign(op)) {
                    return;
                }
                self.compare(op, left, right);
                self.compare(op, right, left);
            }
            In if self.negated(left, "in") => {}
            In => self.inside(left, right),
            Contains | ContainsAll | ContainsAny => self.contains(left, right),
            IsInRange => {
                if let (Some(chain), Expr::Literal(Literal::String(text))) = (chain(left), right) {
                    let help = format!("write `{chain}.isInRange(ip(\"{}\"))`", shown(text));
                    self.error(
                        &chain,
                        About::Literal(&key(text)),
                        format!("\"{}\" is a text, not an address", shown(text)),
                        help,
                    );
                }
            }
            _ => {}
        }
    }

    /// Tells of `!a == b`, which is `(!a) == b`.
    fn negated(&mut self, left: &Expr, sign: &str) -> bool {
        let Expr::UnaryOp { op: UnaryOp::Not, expr } = left else { return false };
        let Some(chain) = chain(expr).filter(|_| !matches!(kind(expr), Kind::Truth | Kind::Unknown)) else {
            return false;
        };
        let message = format!("`!` is of `{chain}` alone, which is not true or false");
        let at = self.place(&chain, About::Words).map(|at| {
            let before = (0..self.tokens.len()).find(|index| self.tokens.at(*index).end == at.start);
            let bang = before.filter(|index| self.tokens.word(*index) == "!");
            bang.map_or(at.clone(), |index| self.tokens.at(index).start..at.end)
        });
        self.tell(Severity::Error, at, message, format!("write `!({chain} {sign} ...)`"));
        true
    }

    fn compare(&mut self, op: BinaryOp, subject: &Expr, other: &Expr) {
        let Some(chain) = chain(subject) else { return };
        match other {
            Expr::Literal(Literal::String(text)) => {
                let key = key(text);
                match kind(subject) {
                    Kind::Text => {
                        if let Some(told) = values::text(&chain, text) {
                            self.told(&chain, About::Literal(&key), told);
                        }
                    }
                    kind => {
                        if let Some(told) = values::no_text(&chain, kind, values::sign(op), text) {
                            self.told(&chain, About::Both(&key), told);
                        }
                    }
                }
            }
            Expr::Literal(Literal::Long(number)) if kind(subject) == Kind::Number => {
                if let Some(told) = values::number(&chain, *number) {
                    self.told(&chain, About::Words, told);
                }
            }
            Expr::Literal(Literal::Long(number)) => {
                let help = match kind(subject) {
                    Kind::Text => format!("write `{chain} {} \"{number}\"`", values::sign(op)),
                    Kind::Time => {
                        format!(
                            "for an hour of each day, in UTC, write `context.time.toTime() {} duration(\"{number}h\")`",
                            values::sign(op)
                        )
                    }
                    Kind::Span => format!("write `duration(\"{number}h\")`"),
                    _ => return,
                };
                self.error(&chain, About::Words, format!("`{chain}` is no number"), help);
            }
            Expr::Literal(Literal::EntityUID(uid))
                if chain == "action" && matches!(op, BinaryOp::Eq | BinaryOp::NotEq) =>
            {
                self.group(uid);
            }
            Expr::UnaryOp { op: UnaryOp::Ip, expr } if kind(subject) == Kind::Address => {
                if let Expr::Literal(Literal::String(text)) = &**expr
                    && let Some(told) = values::network(&chain, text)
                {
                    self.told(&chain, About::Literal(&key(text)), told);
                }
            }
            Expr::Set(items)
                if chain == "context.arguments" && matches!(op, BinaryOp::Eq | BinaryOp::NotEq) =>
            {
                let told = values::all_arguments(&texts(items));
                self.told(&chain, About::Words, told);
            }
            Expr::Set(items) if matches!(kind(subject), Kind::Text | Kind::Number) => {
                self.one_of(&chain, items);
            }
            _ => {}
        }
    }

    /// Tells of `x in [...]` of what is no entity.
    fn one_of(&mut self, chain: &str, items: &[std::sync::Arc<Expr>]) {
        let before_list = |(first, last): &(usize, usize)| {
            let is_free = !self.used.contains(first);
            (is_free && self.tokens.word(last + 2) == "[").then(|| (*first, self.tokens.closing(last + 2)))
        };
        let at = self.chains(chain).iter().find_map(before_list).map(|(first, last)| {
            self.used.insert(first);
            self.tokens.span(first, last)
        });
        let list = literals(items);
        self.tell(
            Severity::Error,
            at,
            format!("`{chain}` is not a name, and `in` is of names"),
            format!("write `[{list}].contains({chain})`"),
        );
    }

    fn inside(&mut self, left: &Expr, right: &Expr) {
        match (chain(left), right) {
            (Some(chain), Expr::Literal(Literal::String(text))) => {
                let told = match kind(left) {
                    Kind::Text => Told::error(
                        format!("`{chain}` is not a name, and `in` is of names"),
                        format!("write `{chain} == \"{}\"`", shown(text)),
                    ),
                    kind => match values::no_text(&chain, kind, "in", text) {
                        Some(told) => told,
                        None => return,
                    },
                };
                self.told(&chain, About::Both(&key(text)), told);
            }
            (Some(chain), Expr::Set(items)) => match (kind(left), items.first().map(|item| &**item)) {
                (Kind::Text | Kind::Number, _) => self.one_of(&chain, items),
                (Kind::Entity, Some(Expr::Literal(Literal::String(text)))) => {
                    if let Some(told) = values::no_text(&chain, Kind::Entity, "in", text) {
                        self.told(&chain, About::Both(&key(text)), told);
                    }
                }
                _ => {}
            },
            (None, _) => {
                let (Expr::Literal(Literal::String(text)), Some(chain)) = (left, chain(right)) else {
                    return;
                };
                if kind(right) == Kind::Set {
                    self.error(
                        &chain,
                        About::Both(&key(text)),
                        "`in` is of names, not of texts",
                        format!("write `{chain}.contains(\"{}\")`", shown(text)),
                    );
                }
            }
            _ => {}
        }
    }

    fn contains(&mut self, left: &Expr, right: &Expr) {
        if let (Expr::Set(items), Some(chain)) = (left, chain(right)) {
            let is_text = kind(right) == Kind::Text;
            for text in texts(items) {
                if self.found.len() >= FOUND_MAX {
                    return;
                }
                if let Some(told) = values::text(&chain, &text).filter(|_| is_text) {
                    self.told(&chain, About::Literal(&key(&text)), told);
                }
            }
            return;
        }
        let Some(chain) = chain(left).filter(|_| kind(left) == Kind::Text) else { return };
        let listed = match right {
            Expr::Literal(Literal::String(text)) => vec![text.to_string()],
            Expr::Set(items) => texts(items),
            _ => return,
        };
        let Some(last) = listed.last() else { return };
        let list: Vec<String> = listed.iter().map(|text| format!("\"{}\"", shown(text))).collect();
        let help = format!(
            "for one of several write `[{}].contains({chain})`, for a part `{chain} like \"*{}*\"`",
            list.join(", "),
            shown(last)
        );
        self.error(&chain, About::Both(&key(last)), format!("`{chain}` is a text, not a set"), help);
    }

    fn like(&mut self, subject: &Expr, pattern: &[PatternElem]) {
        let key: Key = pattern
            .iter()
            .map(|element| match element {
                PatternElem::Char(c) => Some(*c),
                PatternElem::Wildcard => None,
            })
            .collect();
        // As it is written, but for escapes.
        let text: String = key.iter().map(|c| c.unwrap_or('*')).collect();
        if let Expr::UnaryOp { op: UnaryOp::Not, expr } = subject {
            if let Some(chain) = chain(expr) {
                let at = self.place(&chain, About::Both(&key)).map(|at| at.start.saturating_sub(1)..at.end);
                self.tell(
                    Severity::Error,
                    at,
                    format!("`!` is of `{chain}` alone, which is not true or false"),
                    format!("write `!({chain} like \"{}\")`", shown(&text)),
                );
            }
            return;
        }
        let Some(chain) = chain(subject) else { return };
        if kind(subject) == Kind::Text {
            if let Some(told) = values::pattern(&chain, &key) {
                self.told(&chain, About::Literal(&key), told);
            }
        } else if let Some(help) = values::like_help(&chain, &text) {
            self.error(&chain, About::Both(&key), format!("`like` is of texts, and `{chain}` is none"), help);
        }
    }

    fn has(&mut self, of: &Expr, attribute: &str) {
        match of {
            Expr::Var(Var::Resource | Var::Context | Var::Principal | Var::Action) => {
                self.attribute_of(of, attribute, "has");
            }
            _ => {
                let Some(chain) = chain(of).filter(|_| !matches!(kind(of), Kind::Record | Kind::Unknown))
                else {
                    return;
                };
                let help = format!("attributes are the resource's: write `resource has {attribute}`");
                self.error(
                    &format!("{chain} has {attribute}"),
                    About::Words,
                    format!("`{chain}` has no attributes"),
                    help,
                );
            }
        }
    }

    fn attribute(&mut self, of: &Expr, attribute: &str) {
        match of {
            Expr::Var(_) => self.attribute_of(of, attribute, "."),
            Expr::GetAttr { .. } => {
                let Some(chain) = chain(of) else { return };
                let known = chain == "context.process" && matches!(attribute, "exe" | "pid");
                if known || kind(of) == Kind::Unknown {
                    return;
                }
                let told = attributes::no_attribute(&chain, attribute);
                self.told(&format!("{chain}.{attribute}"), About::Words, told);
            }
            _ => {}
        }
    }

    /// Tells of an attribute that `principal`, `action`, `resource` or `context` never has.
    fn attribute_of(&mut self, of: &Expr, attribute: &str, sign: &str) {
        let Some(chain) = chain(of) else { return };
        let Some(told) = attributes::unknown(&chain, attribute) else { return };
        if self.named.insert(format!("{chain}.{attribute}")) {
            let words = if sign == "has" {
                format!("{chain} has {attribute}")
            } else {
                format!("{chain}.{attribute}")
            };
            self.told(&words, About::Words, told);
        }
    }
}

fn key(text: &str) -> Key {
    text.chars().map(Some).collect()
}

/// Returns an expression as it is written, where it is a variable with attributes, or a time of one.
fn chain(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Var(var) => Some(var_word(var).to_owned()),
        Expr::GetAttr { expr, attr } => Some(format!("{}.{attr}", chain(expr)?)),
        Expr::UnaryOp { op: UnaryOp::ToTime, expr } => Some(format!("{}.toTime()", chain(expr)?)),
        _ => None,
    }
}

fn var_word(var: &Var) -> &'static str {
    match var {
        Var::Principal => "principal",
        Var::Action => "action",
        Var::Resource => "resource",
        Var::Context => "context",
    }
}

fn kind(expression: &Expr) -> Kind {
    match expression {
        Expr::Literal(Literal::Bool(_)) | Expr::HasAttr { .. } | Expr::Like { .. } | Expr::Is { .. } => {
            Kind::Truth
        }
        Expr::Literal(Literal::Long(_)) => Kind::Number,
        Expr::Literal(Literal::String(_)) => Kind::Text,
        Expr::Literal(Literal::EntityUID(_)) => Kind::Entity,
        Expr::Var(Var::Context) | Expr::Record(_) => Kind::Record,
        Expr::Var(_) => Kind::Entity,
        Expr::Set(_) => Kind::Set,
        Expr::GetAttr { .. } => match chain(expression).as_deref() {
            Some(
                "resource.path"
                | "resource.name"
                | "resource.extension"
                | "resource.host"
                | "resource.tool"
                | "resource.command"
                | "context.session"
                | "context.mode"
                | "context.direction"
                | "context.tool"
                | "context.process.exe",
            ) => Kind::Text,
            Some("resource.port" | "context.process.pid") => Kind::Number,
            Some("context.existed" | "context.setuid") => Kind::Truth,
            Some("resource.address") => Kind::Address,
            Some("context.time") => Kind::Time,
            Some("context.arguments") => Kind::Set,
            Some("context.process") => Kind::Record,
            _ => Kind::Unknown,
        },
        Expr::UnaryOp { op, .. } => match op {
            UnaryOp::Not | UnaryOp::IsEmpty | UnaryOp::IsLoopback => Kind::Truth,
            UnaryOp::Ip => Kind::Address,
            UnaryOp::Datetime | UnaryOp::ToDate => Kind::Time,
            UnaryOp::Duration | UnaryOp::ToTime => Kind::Span,
            UnaryOp::Neg => Kind::Number,
            _ => Kind::Unknown,
        },
        _ => Kind::Unknown,
    }
}

/// Returns the texts among these.
fn texts(items: &[std::sync::Arc<Expr>]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| match &**item {
            Expr::Literal(Literal::String(text)) => Some(text.to_string()),
            _ => None,
        })
        .collect()
}

/// Returns the texts and numbers among these as they are written.
fn literals(items: &[std::sync::Arc<Expr>]) -> String {
    let all: Vec<String> = items
        .iter()
        .filter_map(|item| match &**item {
            Expr::Literal(Literal::String(text)) => Some(format!("\"{}\"", shown(text))),
            Expr::Literal(Literal::Long(number)) => Some(number.to_string()),
            _ => None,
        })
        .collect();
    all.join(", ")
}
