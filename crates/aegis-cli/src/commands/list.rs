//! `aegis list` and `aegis use`: the configurations, and which one is active.

use std::io::Write as _;

use aegis_ledger::{Ledger, LedgerError};
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
        let configuration = home.configuration(&name)?;
        let sessions = match Ledger::open_to_read(&configuration.ledger) {
            Ok(ledger) => ledger.sessions()?,
            Err(LedgerError::Missing(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let last = sessions.last().map(|session| session.started_at);
        let is_active = active.as_ref() == Some(&name);
        values.push(json!({
            "name": name.as_str(),
            "active": is_active,
            "sessions": sessions.len(),
            "last_session": last.map(|at| at.to_string()),
            "ledger": configuration.ledger.to_string_lossy(),
        }));
        rows.push([
            if is_active { format!("{name} *") } else { name.to_string() },
            sessions.len().to_string(),
            last.map(times::local).unwrap_or_default(),
            configuration.ledger.display().to_string(),
        ]);
    }
    if options.json {
        return Ok(output::json(&values.into())?);
    }
    if rows.is_empty() {
        writeln!(output::out(), "no configuration yet; `aegis wrap -- CMD` makes one")?;
        return Ok(());
    }
    Ok(output::table(["NAME", "SESSIONS", "LAST SESSION", "LEDGER"], rows)?)
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
    match active {
        Some(active) => writeln!(output::out(), "{active}")?,
        None => writeln!(output::out(), "none is set; commands take that of the latest session")?,
    }
    Ok(())
}
