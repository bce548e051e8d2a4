//! A policy's conditions, as far as they speak of the resource: what can be told of them without Cedar.
//!
//! A [`Sketch`] is made of a policy for one action of one agent. Held against a [`View`], it says which of three
//! things its conditions can come to: true, false, an error. Where it says "false" and nothing else, the policy has
//! no part in a decision, and Cedar need not be asked. Held against a whole region of paths instead of one, it says
//! what a kernel can be told of that region (`plan`).
//!
//! It never decides: whatever it can't tell is "any of the three".

mod make;
mod pattern;
mod reads;

use std::fmt;

pub(crate) use self::make::{Sketcher, groups};
pub(crate) use self::pattern::Pattern;
pub(crate) use self::reads::Reads;

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
