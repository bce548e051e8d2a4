//! `aegis diff`: what one session did that another did not.

use std::io::Write as _;
use std::ops::ControlFlow;

use aegis_export::Comparison;
use aegis_export::compare::{Pair, Side};
use aegis_export::shown::command_line;
use aegis_ledger::{Filter, SessionRow};
use serde_json::{Value, json};

use super::follow::Source;
use super::ledgers::Ledgers;
use crate::args::Diff;
use crate::error::CliError;
use crate::home::Home;
use crate::{output, times};

/// The exit code of anything that went wrong: 1 says that the sessions differ.
pub(crate) const TROUBLE: u8 = 2;

/// How many lines of each group are printed, unless all are asked for.
const LINES_MAX: usize = 40;

/// Compares two sessions and prints how they differ; 1 where they do.
pub(crate) fn run(home: &Home, options: &Diff) -> Result<u8, CliError> {
    let ledgers = Ledgers::open(home)?;
    let found = Pair { a: ledgers.find(&options.first)?, b: ledgers.find(&options.second)? };
    let mut comparison = Comparison::default();
    for side in [Side::A, Side::B] {
        let (source, session) = found.get(side);
        let filter = Filter { session: Some(session.id), ..Filter::default() };
        source.ledger.each(&filter, |row| {
            comparison.add(side, &row.event);
            ControlFlow::Continue(())
        })?;
    }
    let difference = comparison.finish();
    let mut out = output::out();
    let printed = if options.json.json {
        let sessions = Pair { a: as_json(&found.a), b: as_json(&found.b) };
        difference.write_json(&mut out, &sessions)
    } else {
        [Side::A, Side::B]
            .iter()
            .try_for_each(|side| writeln!(out, "{}", output::fitted(title(*side, found.get(*side)))))
            .and_then(|()| difference.write_text(&mut out, (!options.all).then_some(LINES_MAX)))
    };
    match printed.and_then(|()| out.flush()) {
        // The reader has read enough; the answer is the same.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(u8::from(!difference.is_same())),
    }
}

fn title(side: Side, (source, session): &(&Source, SessionRow)) -> String {
    format!(
        "{}  {}  {}  {}  {}",
        side.letter(),
        session.id,
        times::local(session.started_at),
        source.configuration.name,
        command_line(&session.start.argv)
    )
}

fn as_json((source, session): &(&Source, SessionRow)) -> Value {
    json!({
        "id": session.id.to_string(),
        "name": source.configuration.name.as_str(),
        "started": session.started_at.to_string(),
        "ended": session.end.as_ref().map(|(at, _)| at.to_string()),
        "start": session.start,
    })
}
