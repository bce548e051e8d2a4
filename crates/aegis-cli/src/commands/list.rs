//! `aegis list` and `aegis use`: the configurations, and which one is active.

use std::path::Path;

use aegis_ledger::{Ledger, LedgerError, SessionRow};
use aegis_types::AgentName;
use serde_json::json;

use crate::args::Json;
use crate::error::CliError;
use crate::home::Home;
use crate::{output, times};

pub(crate) fn list(home: &Home, options: &Json) -> Result<(), CliError> {
    let active = home.global()?.active;
    let mut values = Vec::new();
    let mut rows = Vec::new();
    for name in home.names()? {
        let is_active = active.as_ref() == Some(&name);
        // One that is damaged does not hide the others.
        let (ledger, sessions, problem) = match home.configuration(&name) {
            Ok(configuration) => {
                let (sessions, problem) = match sessions(&configuration.ledger) {
                    Ok(sessions) => (sessions, None),
                    Err(error) => (Vec::new(), Some(error.to_string())),
                };
                (Some(configuration.ledger), sessions, problem)
            }
            Err(error) => (None, Vec::new(), Some(error.to_string())),
        };
        let last = sessions.last().map(|session| session.started_at);
        let mut value = json!({
            "name": name.as_str(),
            "active": is_active,
            "sessions": sessions.len(),
            "last_session": last.map(|at| at.to_string()),
            "ledger": ledger.as_ref().map(|ledger| ledger.to_string_lossy()),
        });
        if let (Some(problem), Some(fields)) = (&problem, value.as_object_mut()) {
            fields.insert("problem".to_owned(), problem.as_str().into());
        }
        values.push(value);
        rows.push([
            if is_active { format!("{name} *") } else { name.to_string() },
            sessions.len().to_string(),
            last.map(times::local).unwrap_or_default(),
            problem.or(ledger.map(|ledger| ledger.display().to_string())).unwrap_or_default(),
        ]);
    }
    if options.json {
        return Ok(output::json(&values.into())?);
    }
    if rows.is_empty() {
        return Ok(output::line("no configuration yet; `aegis wrap -- CMD` makes one")?);
    }
    Ok(output::table(["NAME", "SESSIONS", "LAST SESSION", "LEDGER"], rows)?)
}

/// Reads the sessions of a ledger; none where it was not begun yet.
fn sessions(ledger: &Path) -> Result<Vec<SessionRow>, LedgerError> {
    match Ledger::open_to_read(ledger) {
        Ok(ledger) => ledger.sessions(),
        Err(LedgerError::Missing(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub(crate) fn make_active(home: &Home, name: Option<&AgentName>, options: &Json) -> Result<(), CliError> {
    if let Some(name) = name {
        home.configuration(name)?;
        home.set_active(name)?;
    }
    let active = home.global()?.active;
    if options.json {
        return Ok(output::json(&json!({"active": active.as_ref().map(AgentName::as_str)}))?);
    }
    let text = active.map(|active| active.to_string());
    Ok(output::line(text.as_deref().unwrap_or("none is set; commands take that of the latest session"))?)
}
