//! `aegis audit`: entries that match, sessions, verification, export.

use std::io::Write as _;
use std::ops::ControlFlow;

use aegis_ledger::Filter;
use aegis_ledger::query::PathPattern;
use aegis_ledger::raw::Piece;
use aegis_sys::clock::SystemClock;
use aegis_types::Clock as _;
use serde_json::json;

use super::follow::{self, Source};
use crate::args::{Export, Format, Json, Query, Which};
use crate::error::CliError;
use crate::home::Home;
use crate::{output, times};

pub(crate) fn query(home: &Home, query: &Query) -> Result<(), CliError> {
    let now = SystemClock.now().wall;
    let filter = Filter {
        after: 0,
        session: query.session,
        action: query.action,
        since: query.since.map(|moment| moment.as_of(now)),
        until: query.until.map(|moment| moment.as_of(now)),
        pid: query.pid,
        path: query.path.as_deref().map(PathPattern::new).transpose()?,
        decision: query.decision,
        would: query.would,
    };
    let mut out = output::out();
    for mut source in follow::sources(home, &query.which)? {
        let mut print = |source: &mut Source, row: &aegis_ledger::Row| {
            if query.json.json {
                writeln!(out, "{}", source.json(row))
            } else {
                writeln!(out, "{}", output::fitted(output::entry_line(&row.event)))
            }
        };
        if let Some(last) = query.last {
            for row in source.ledger.last(&filter, last)? {
                print(&mut source, &row)?;
            }
        } else {
            stream(&mut source, &filter, &mut print)?;
        }
    }
    Ok(out.flush()?)
}

/// Gives all entries that match to `print`, in constant memory.
fn stream(
    source: &mut Source,
    filter: &Filter,
    print: &mut impl FnMut(&mut Source, &aegis_ledger::Row) -> std::io::Result<()>,
) -> Result<(), CliError> {
    let mut after = filter.after;
    loop {
        let part = Filter { after, ..filter.clone() };
        let mut rows = Vec::new();
        source.ledger.each(&part, |row| {
            rows.push(row);
            if rows.len() < 1_000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.header.seq;
        for row in &rows {
            print(source, row)?;
        }
    }
}

pub(crate) fn export(home: &Home, export: &Export) -> Result<(), CliError> {
    if let Format::Raw = export.format {
        return export_raw(home, export);
    }
    let out = std::cell::RefCell::new(output::out());
    let mut print =
        |source: &mut Source, row: &aegis_ledger::Row| writeln!(out.borrow_mut(), "{}", source.json(row));
    let sources = follow::sources(home, &export.which)?;
    if export.follow {
        let sources = sources.into_iter().map(|source| (source, export.after)).collect();
        let following = follow::Following::new(home, &export.which, sources);
        return follow::follow(following, print, || out.borrow_mut().flush());
    }
    let filter = Filter { after: export.after, ..Filter::default() };
    for mut source in sources {
        stream(&mut source, &filter, &mut print)?;
    }
    Ok(out.borrow_mut().flush()?)
}

/// Writes the records and checkpoints of a ledger as they are.
fn export_raw(home: &Home, export: &Export) -> Result<(), CliError> {
    if export.follow || export.after > 0 || export.which.all {
        return Err(CliError::usage(
            "`--format raw` is of one whole ledger: without --follow, --after and --all",
        ));
    }
    let source = Source::open(home, home.meant(export.which.name.as_ref())?)?;
    let mut out = output::out();
    source.ledger.pieces(|piece| -> Result<(), CliError> {
        match piece {
            Piece::Record(record) => {
                out.write_all(record)?;
                out.write_all(b"\n")?;
            }
            Piece::Checkpoint(note) => out.write_all(note.as_bytes())?,
        }
        Ok(())
    })?;
    Ok(out.flush()?)
}

pub(crate) fn sessions(home: &Home, which: &Which, json: &Json) -> Result<(), CliError> {
    let mut values = Vec::new();
    let mut rows = Vec::new();
    for source in follow::sources(home, which)? {
        for session in source.ledger.sessions()? {
            let (counts, gaps) = source.ledger.counts(session.id)?;
            let entries: u64 = counts.values().sum();
            let command = aegis_export::shown::command_line(&session.start.argv);
            let (length, end) = match &session.end {
                Some((_, end)) if end.failure.is_some() => {
                    (times::duration(end.duration_us), "failed".to_owned())
                }
                Some((_, end)) => (
                    times::duration(end.duration_us),
                    end.exit.map_or_else(|| "not seen".to_owned(), output::status_text),
                ),
                None => (String::new(), "running".to_owned()),
            };
            if json.json {
                values.push(json!({
                    "id": session.id.to_string(),
                    "name": source.configuration.name.as_str(),
                    "started": session.started_at.to_string(),
                    "ended": session.end.as_ref().map(|(at, _)| at.to_string()),
                    "start": session.start,
                    "end": session.end.as_ref().map(|(_, end)| end),
                    "first_entry": session.span.0,
                    "last_entry": session.span.1,
                    "counts": counts,
                    "gaps": gaps,
                }));
            }
            rows.push([
                session.id.to_string(),
                times::local(session.started_at),
                length,
                end,
                entries.to_string(),
                command,
            ]);
        }
    }
    if json.json {
        return Ok(output::json(&values.into())?);
    }
    Ok(output::table(["SESSION", "STARTED", "TIME", "END", "ACTIONS", "COMMAND"], rows)?)
}
