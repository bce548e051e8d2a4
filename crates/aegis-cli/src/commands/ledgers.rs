//! Sessions by their ids, wherever in the home they are recorded.

use aegis_export::shown::command_line;
use aegis_ledger::SessionRow;

use super::follow::Source;
use crate::args::SessionKey;
use crate::error::CliError;
use crate::home::Home;

/// The ledgers of a home with their sessions.
pub(super) struct Ledgers {
    open: Vec<(Source, Vec<SessionRow>)>,
    /// Why others could not be read: one that is not needed is no obstacle.
    unread: Vec<String>,
}

impl Ledgers {
    /// Opens every ledger that can be read.
    pub(super) fn open(home: &Home) -> Result<Self, CliError> {
        let mut ledgers = Self { open: Vec::new(), unread: Vec::new() };
        let mut known = Vec::new();
        for name in home.names()? {
            let sessions = home.configuration(&name).and_then(|configuration| {
                let path = std::fs::canonicalize(&configuration.ledger).ok();
                // Several configurations may write one ledger.
                if path.is_none() || known.contains(&path) {
                    return Ok(None);
                }
                known.push(path);
                let source = Source::open(home, configuration)?;
                let sessions = source.ledger.sessions()?;
                Ok(Some((source, sessions)))
            });
            match sessions {
                Ok(sessions) => ledgers.open.extend(sessions),
                Err(error) => ledgers.unread.push(format!("`{name}` was not looked into: {error}")),
            }
        }
        Ok(ledgers)
    }

    /// Returns the one session that is meant.
    pub(super) fn find(&self, key: &SessionKey) -> Result<(&Source, SessionRow), CliError> {
        let all = self.open.iter().flat_map(|(source, sessions)| sessions.iter().map(move |s| (source, s)));
        let fits: Vec<(&Source, &SessionRow)> =
            all.filter(|(_, session)| key.fits(&session.id.to_string())).collect();
        match fits.as_slice() {
            [(source, session)] => Ok((source, (*session).clone())),
            [] => {
                let hint = ["`aegis audit sessions --all` lists the sessions".to_owned()];
                let hint: Vec<String> = self.unread.iter().cloned().chain(hint).collect();
                let error = CliError::not_found(format!("there is no session `{key}` in this home"));
                Err(error.hint(hint.join("\n       ")))
            }
            several => {
                Err(CliError::usage(format!("`{key}` is the beginning of {} sessions", several.len()))
                    .hint(candidates(several)))
            }
        }
    }
}

/// How many sessions are named where it is not clear which is meant.
const CANDIDATES_MAX: usize = 10;

fn candidates(sessions: &[(&Source, &SessionRow)]) -> String {
    let line = |(source, session): &(&Source, &SessionRow)| {
        format!("{} {} {}", session.id, source.configuration.name, command_line(&session.start.argv))
    };
    let mut lines: Vec<String> = sessions.iter().take(CANDIDATES_MAX).map(line).collect();
    if sessions.len() > CANDIDATES_MAX {
        lines.push(format!("and {} more", sessions.len() - CANDIDATES_MAX));
    }
    lines.push("give more of the id".to_owned());
    lines.join("\n       ")
}
