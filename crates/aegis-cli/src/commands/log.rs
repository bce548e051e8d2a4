//! `aegis log`: recent entries.

use std::io::Write as _;

use aegis_ledger::Filter;

use super::follow;
use crate::args::Log;
use crate::error::CliError;
use crate::home::Home;
use crate::output;

pub(crate) fn run(home: &Home, options: &Log) -> Result<(), CliError> {
    let sources = follow::sources(home, &options.which)?;
    let mut rows = Vec::new();
    let mut following = Vec::new();
    for mut source in sources {
        let end = source.ledger.last_seq()?;
        let last = source.ledger.last(&Filter::default(), options.last)?;
        let after = last.last().map_or(end, |row| row.header.seq);
        for row in last {
            let json = options.json.json.then(|| source.json(&row));
            rows.push((row.event, json));
        }
        following.push((source, after));
    }
    rows.sort_by_key(|(event, _)| event.at);
    let skip = rows.len().saturating_sub(options.last);
    let out = std::cell::RefCell::new(output::out());
    for (event, json) in rows.iter().skip(skip) {
        match json {
            Some(json) => writeln!(out.borrow_mut(), "{json}")?,
            None => writeln!(out.borrow_mut(), "{}", output::fitted(output::entry_line(event)))?,
        }
    }
    out.borrow_mut().flush()?;
    if !options.follow {
        return Ok(());
    }
    follow::follow(
        follow::Following::new(home, &options.which, following),
        |source, row| {
            let line = if options.json.json {
                source.json(row).to_string()
            } else {
                output::fitted(output::entry_line(&row.event))
            };
            writeln!(out.borrow_mut(), "{line}")
        },
        || out.borrow_mut().flush(),
    )
}
