//! `aegis policy learn`: the least policy that permits what sessions did.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aegis_export::shown;
use aegis_ledger::Filter;
use aegis_policy::Learner;
use aegis_policy::learn::Places;
use aegis_types::{Act, Decision, Outcome, Text, What};

use super::ledgers::Ledgers;
use crate::args::SessionKey;
use crate::error::CliError;
use crate::home::{Home, user_home};
use crate::{output, policies};

pub(crate) fn run(
    home: &Home,
    keys: &[SessionKey],
    file: Option<&Path>,
    denied: bool,
) -> Result<(), CliError> {
    let ledgers = Ledgers::open(home)?;
    let mut found = Vec::new();
    for key in keys {
        found.push(ledgers.find(key)?);
    }
    let Some((_, first)) = found.first() else { return Ok(()) };
    let directory = &first.start.dir;
    if let Some((_, other)) = found.iter().find(|(_, session)| session.start.dir != *directory) {
        return Err(CliError::usage(format!(
            "the sessions worked in different directories: {} and {}",
            shown(directory.as_bytes()),
            shown(other.start.dir.as_bytes())
        ))
        .hint("learn from those of one directory at a time"));
    }
    let mut learner = Learner::new(Places {
        home: user_home().and_then(|home| utf8(&std::fs::canonicalize(home).ok()?)),
        directory: text(directory)?,
        tmp: policies::temporary(),
        toolchains: policies::toolchains().into_iter().map(|(_, path)| path).collect(),
    });
    for (source, session) in found {
        learner.session(&session.id.to_string());
        let filter = Filter { session: Some(session.id), ..Filter::default() };
        source.ledger.each(&filter, |row| {
            match &row.event.what {
                What::Action(act) if denied && is_unpermitted(act) => {
                    learner.add(&Act { decision: Decision::Observed, ..(**act).clone() });
                }
                What::Action(act) if !needs_no_policy(act) => learner.add(act),
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
    }
    let learned = learner.finish();
    match file {
        Some(file) => aegis_sys::files::write_atomic(file, learned.text.as_bytes())
            .map_err(|error| CliError::failed(format!("{} can't be written: {error}", file.display())))?,
        None => output::bytes(learned.text.as_bytes())?,
    }
    let mut err = std::io::stderr().lock();
    for left_out in &learned.left_out {
        let what = shown(left_out.what.as_bytes());
        // Nobody may be there to read it; it stands in the policy as well.
        drop(writeln!(err, "aegis: left out: {} {what}: {}", left_out.action, left_out.why));
    }
    Ok(())
}

/// Says whether an act was denied for no other reason than that no policy permits it. What was not there is none: the
/// agent was told so.
fn is_unpermitted(act: &Act) -> bool {
    act.decision == Decision::Deny && act.policies.is_empty() && act.outcome != Outcome::Missing
}

/// Says whether an act is permitted whatever the policies say.
fn needs_no_policy(act: &Act) -> bool {
    !act.is_denied() && act.policies.iter().any(|id| id.starts_with("aegis:"))
}

fn utf8(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}

fn text(path: &Text) -> Result<String, CliError> {
    utf8(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))).ok_or_else(|| {
        CliError::failed(format!("{} is not UTF-8: a policy can't name it", shown(path.as_bytes())))
    })
}
