//! Cedar's errors in words that tell the author of a policy what to write instead.
//!
//! What the parser refuses is looked at again as tokens ([`parse`]), since the parser knows what it expected and not
//! what was meant. What the validator refuses is put in plain words ([`validation`]). Names that nothing can have are
//! told of in [`literal`].

use std::ops::Range;

use miette::Diagnostic;

pub(crate) mod foreign;
pub(crate) mod literal;
pub(crate) mod parse;
pub(crate) mod tokens;
pub(crate) mod validation;
pub(crate) mod words;

/// An error with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// Where in the policy's own text; nothing where that is not known.
    pub(crate) at: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// What to do about a policy that forbids everything.
pub(crate) const SHADOW: &str = "what no policy permits is denied anyway; remove this policy, or its file where it \
     is the template `default-deny`";

/// What to write in place of something that is no Cedar at all.
pub(crate) const EXAMPLE: &str = "a policy is `permit (principal, action, resource);`; \
     `aegis policy generate --template project` prints a whole file";

/// Returns what Cedar says, where it says it.
fn raw(error: &dyn Diagnostic) -> Explained {
    let at = error.labels().and_then(|mut labels| labels.next()).map(|label| {
        let start = label.offset();
        start..start + label.len().max(1)
    });
    let label = error
        .labels()
        .and_then(|mut labels| labels.next())
        .and_then(|label| label.label().map(str::to_owned));
    let mut message = error.to_string();
    if let Some(label) = label.filter(|label| !message.contains(label.as_str())) {
        message = format!("{message}: {label}");
    }
    Explained { at, message, help: error.help().map(|help| help.to_string()) }
}

/// Words of Cedar's own making, and what they mean.
const PLAIN: [(&str, &str); 28] = [
    ("Aegis::Resource", "a resource"),
    ("Aegis::Agent", "an agent"),
    (
        "Set<__cedar::internal::AnyEntity>, or __cedar::internal::AnyEntity",
        "a name in double quotes behind its type, or a set of such names",
    ),
    ("__cedar::internal::AnyEntity, or __cedar::internal::OpenRecord{}", "something with attributes"),
    ("Set<__cedar::internal::AnyEntity>", "a set of names"),
    ("Set<__cedar::internal::Any>", "a set"),
    ("__cedar::internal::AnyEntity", "a name in double quotes behind its type"),
    ("__cedar::internal::OpenRecord{}", "a record"),
    ("__cedar::internal::", ""),
    ("{exe: String,pid: Long,}", "a process"),
    ("Set<String>", "a set of texts"),
    ("Set<Long>", "a set of numbers"),
    (" but saw ", ", not "),
    ("unexpected type: expected", "this must be"),
    ("String", "a text"),
    ("Long", "a number"),
    ("Bool", "true or false"),
    ("ipaddr", "an address"),
    ("datetime value", "moment"),
    ("duration value", "duration"),
    ("an entity uid or matching template slot", "a name in double quotes behind its type"),
    ("single entity uid or template slot", "one name"),
    ("set of entity uids", "a set of them"),
    ("entity uid", "name"),
    ("template slot", "placeholder"),
    ("policy scopes", "heads"),
    ("policy scope", "head"),
    ("in the scope", "in the head"),
];

/// Puts Cedar's words in plain ones.
fn plain(message: &str) -> String {
    // What stands in back-ticks is the author's own.
    let mut out = String::new();
    for (index, part) in message.split('`').enumerate() {
        let part = if index % 2 == 0 {
            PLAIN.iter().fold(part.to_owned(), |text, (from, to)| text.replace(from, to))
        } else {
            part.to_owned()
        };
        if index > 0 {
            out.push('`');
        }
        out.push_str(&part);
    }
    out
}
