//! Reading ledgers: which ones are meant, their entries, and what comes while one reads.

use std::collections::HashMap;
use std::ops::ControlFlow;

use aegis_export::Entry;
use aegis_ledger::{Filter, Ledger, Row};
use aegis_types::AgentName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use crate::args::Which;
use crate::config::Configuration;
use crate::error::CliError;
use crate::home::Home;

/// A ledger that is being read.
pub(crate) struct Source {
    /// Its configuration.
    pub(crate) configuration: Configuration,
    /// The ledger.
    pub(crate) ledger: Ledger,
    agents: HashMap<String, AgentName>,
}

impl Source {
    /// Opens a configuration's ledger, after what dead sessions left for it was taken in.
    pub(crate) fn open(home: &Home, configuration: Configuration) -> Result<Self, CliError> {
        home.recover(&configuration.ledger)?;
        let ledger = Ledger::open_to_read(&configuration.ledger)?;
        Ok(Self { configuration, ledger, agents: HashMap::new() })
    }

    /// Returns an entry as JSON.
    pub(crate) fn json(&mut self, row: &Row) -> Value {
        if let aegis_types::What::SessionStart(start) = &row.event.what {
            self.agents.insert(row.header.session.clone(), start.agent.clone());
        }
        // The start of the session may lie before the part that is read.
        let agent = self.agents.get(&row.header.session).unwrap_or(&self.configuration.name);
        aegis_export::record(&Entry { header: &row.header, hash: &row.hash, event: &row.event, agent })
    }
}

/// Opens the ledgers that are meant.
pub(crate) fn sources(home: &Home, which: &Which) -> Result<Vec<Source>, CliError> {
    if !which.all {
        return Ok(vec![Source::open(home, home.meant(which.name.as_ref())?)?]);
    }
    others(home, &[])
}

/// Opens the ledgers of a home but for those of these names.
fn others(home: &Home, known: &[AgentName]) -> Result<Vec<Source>, CliError> {
    let mut sources = Vec::new();
    for name in home.names()?.into_iter().filter(|name| !known.contains(name)) {
        let configuration = home.configuration(&name)?;
        if configuration.ledger.exists() {
            sources.push(Source::open(home, configuration)?);
        }
    }
    Ok(sources)
}

/// What is followed: ledgers, each with the number of the last entry that was given.
pub(crate) struct Following<'h> {
    sources: Vec<(Source, u64)>,
    /// The home whose new ledgers are followed, too.
    all_of: Option<&'h Home>,
}

impl<'h> Following<'h> {
    pub(crate) fn new(home: &'h Home, which: &Which, sources: Vec<(Source, u64)>) -> Self {
        Self { sources, all_of: which.all.then_some(home) }
    }

    /// Adds ledgers that were begun meanwhile. One that is only half made is found the next time.
    fn look_for_others(&mut self) {
        let Some(home) = self.all_of else { return };
        let known: Vec<AgentName> =
            self.sources.iter().map(|(source, _)| source.configuration.name.clone()).collect();
        if home.names().is_ok_and(|names| names.iter().any(|name| !known.contains(name)))
            && let Ok(others) = others(home, &known)
        {
            self.sources.extend(others.into_iter().map(|source| (source, 0)));
        }
    }
}

/// How often is looked for new entries.
const INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Gives each entry from `after` on to `each`, then what comes, until the reader of standard output has gone.
/// No entry is missed and none comes twice: the position is the number of the last one given.
pub(crate) fn follow(
    mut following: Following<'_>,
    mut each: impl FnMut(&mut Source, &Row) -> std::io::Result<()>,
    mut pause: impl FnMut() -> std::io::Result<()>,
) -> Result<(), CliError> {
    loop {
        following.look_for_others();
        for (source, after) in &mut following.sources {
            let filter = Filter { after: *after, ..Filter::default() };
            let mut rows = Vec::new();
            source.ledger.each(&filter, |row| {
                rows.push(row);
                if rows.len() < CHUNK { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            for row in rows {
                *after = row.header.seq;
                each(source, &row)?;
            }
        }
        pause()?;
        if reader_has_gone() {
            return Ok(());
        }
    }
}

/// How many entries are held at a time.
const CHUNK: usize = 1_000;

/// Waits a moment; says whether the reader of standard output has gone.
fn reader_has_gone() -> bool {
    let stdout = std::io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    // An interrupted wait is a short one.
    let _ = poll(&mut fds, Some(&INTERVAL));
    let [fd] = fds;
    fd.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}
