//! `aegis audit`: entries that match, sessions, verification, export.

use std::io::Write as _;
use std::ops::ControlFlow;

use aegis_ledger::query::PathPattern;
use aegis_ledger::{Filter, LedgerError, Verdict};
use aegis_sys::clock::SystemClock;
use aegis_types::{AgentName, Clock as _};
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
    let Format::Jsonl = export.format;
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

pub(crate) fn verify(home: &Home, which: &Which, json: &Json) -> Result<u8, CliError> {
    let mut values = Vec::new();
    let mut all_good = true;
    let mut out = output::out();
    let names = if which.all { home.names()? } else { vec![home.meant(which.name.as_ref())?.name] };
    for name in names {
        let checked = check(home, &name);
        let (source, verdict) = match checked {
            Ok(Some(checked)) => checked,
            Ok(None) if which.all => continue,
            Ok(None) => return Err(LedgerError::Missing(home.configuration(&name)?.ledger).into()),
            // A file that can't be read as a ledger is a verdict as well, and the others are checked all the same.
            Err(error) if error.is_damage() || which.all => {
                all_good = false;
                if json.json {
                    let problem = error.to_string();
                    values.push(json!({"name": name.as_str(), "good": false, "fault": problem}));
                } else {
                    writeln!(out, "{name}: {error}")?;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        all_good &= verdict.is_good();
        if json.json {
            values.push(verdict_json(&source, &verdict));
        } else {
            write_verdict(&mut out, &source, &verdict)?;
        }
    }
    if json.json {
        let value = if which.all { values.into() } else { values.pop().unwrap_or_default() };
        output::json(&value)?;
    }
    out.flush()?;
    Ok(if all_good { 0 } else { 3 })
}

/// Checks the ledger of a configuration; nothing where it was not begun yet.
fn check(home: &Home, name: &AgentName) -> Result<Option<(Source, Verdict)>, CliError> {
    let configuration = home.configuration(name)?;
    if !configuration.ledger.exists() {
        return Ok(None);
    }
    let source = Source::open(home, configuration)?;
    let verdict = source.ledger.verify()?;
    Ok(Some((source, verdict)))
}

fn verdict_json(source: &Source, verdict: &Verdict) -> serde_json::Value {
    json!({
        "name": source.configuration.name.as_str(),
        "ledger": source.configuration.ledger.to_string_lossy(),
        "good": verdict.is_good(),
        "entries": verdict.records,
        "head": verdict.head.to_string(),
        "recovered": verdict.recovered,
        "gaps": verdict.gaps,
        "first_bad_entry": verdict.fault.as_ref().map(|fault| fault.seq),
        "fault": verdict.fault.as_ref().map(ToString::to_string),
        "first_bad_index": verdict.index_fault,
    })
}

fn write_verdict(out: &mut impl std::io::Write, source: &Source, verdict: &Verdict) -> std::io::Result<()> {
    let path = source.configuration.ledger.display();
    match (&verdict.fault, verdict.index_fault) {
        (None, None) => writeln!(out, "{path}: {} entries, the chain holds", verdict.records)?,
        (Some(fault), _) => {
            writeln!(out, "{path}: DAMAGED: {fault}; the {} before it hold", verdict.records)?;
        }
        (None, Some(seq)) => writeln!(
            out,
            "{path}: DAMAGED: the index of entry {seq} does not say what the entry says; the {} entries themselves hold",
            verdict.records
        )?,
    }
    writeln!(out, "  head       {}", verdict.head)?;
    writeln!(out, "  gaps       {}", verdict.gaps)?;
    writeln!(out, "  recovered  {}", verdict.recovered)?;
    writeln!(
        out,
        "  grade      self-consistent: nothing outside the ledger was compared; whoever can write the file"
    )?;
    writeln!(out, "             could have rewritten it as a whole or cut its end")
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
