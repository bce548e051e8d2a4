//! `aegis status`: the health of a configuration.

use std::io::Write as _;

use aegis_export::shown;
use aegis_ledger::{Held, Ledger, recovery};
use serde_json::json;

use crate::args::Named;
use crate::error::CliError;
use crate::home::Home;
use crate::{output, policies, times, tools};

pub(crate) fn run(home: &Home, named: &Named) -> Result<u8, CliError> {
    show(home, named).map_err(|error| if error.is_damage() { error.with_code(3) } else { error })
}

fn show(home: &Home, named: &Named) -> Result<u8, CliError> {
    let configuration = home.meant(named.name.as_ref())?;
    home.recover(&configuration.ledger)?;
    let found = recovery::find(&home.run())
        .map_err(|e| CliError::failed(format!("{}: {e}", home.run().display())))?;
    let live: Vec<_> =
        found.into_iter().filter(|found| found.alive && found.ledger == configuration.ledger).collect();
    let pending: Vec<_> = live.iter().filter(|found| !found.pending.is_empty()).collect();
    let ledger = Ledger::open_to_read(&configuration.ledger)?;
    let custody = Some(home.custody(&configuration.ledger)?);
    let verdict = ledger.verify(&Held { custody, ..Held::default() })?;
    let last = ledger.sessions()?.pop();
    let problem = super::verify::problem(&verdict);
    let proof = &verdict.proof;
    let set = policies::valid(&policies::files(&configuration, None), &configuration);
    let code = if problem.is_some() || set.is_err() { 3 } else { 0 };
    if named.json.json {
        output::json(&json!({
            "name": configuration.name.as_str(),
            "settings": configuration.file.to_string_lossy(),
            "ledger": configuration.ledger.to_string_lossy(),
            "entries": proof.records,
            "sealed": proof.sealed,
            "grade": proof.grade.word(),
            "verified": problem.is_none(),
            "problem": problem,
            "gaps": proof.findings.gaps,
            "policies": match &set {
                Ok(None) => json!({"valid": true, "count": 0}),
                Ok(Some(set)) => json!({"valid": true, "count": set.rules().len(), "sha256": set.hash()}),
                Err(error) => json!({"valid": false, "problem": error.to_string()}),
            },
            "live_sessions": live.len(),
            "pending": pending.iter().map(|found| json!({
                "session": found.session.to_string(),
                "places": found.pending,
            })).collect::<Vec<_>>(),
            "last_session": last.as_ref().map(|session| json!({
                "id": session.id.to_string(),
                "started": session.started_at.to_string(),
                "ended": session.end.as_ref().map(|(at, _)| at.to_string()),
                "tool": session.start.tool,
            })),
        }))?;
        return Ok(code);
    }
    let mut out = output::out();
    writeln!(out, "configuration  {}", configuration.name)?;
    writeln!(out, "settings       {}: valid", configuration.file.display())?;
    match &set {
        Ok(None) => writeln!(out, "policies       none: nothing is asked")?,
        Ok(Some(set)) => {
            let of = set.files().len();
            writeln!(out, "policies       {} in {of} files, valid: set {}", set.rules().len(), set.hash())?;
        }
        Err(error) => writeln!(out, "policies       not valid: {}", shown(error.to_string().as_bytes()))?,
    }
    match &problem {
        None => writeln!(
            out,
            "ledger         {}: {} entries hold, {} of them sealed ({})",
            configuration.ledger.display(),
            proof.records,
            proof.sealed,
            proof.grade.word()
        )?,
        Some(problem) => writeln!(out, "ledger         {}: {problem}", configuration.ledger.display())?,
    }
    writeln!(out, "gaps           {}", proof.findings.gaps)?;
    match last {
        Some(session) => {
            let end = match &session.end {
                Some((_, end)) => end.exit.map_or_else(|| "ended".to_owned(), output::status_text),
                None => "running".to_owned(),
            };
            let tool = session.start.tool.as_ref();
            let tool = tool.map(|tool| format!(", {}", tools::title(tool))).unwrap_or_default();
            let at = times::local(session.started_at);
            writeln!(out, "last session   {} at {at}, {end}{tool}", session.id)?;
        }
        None => writeln!(out, "last session   none")?,
    }
    writeln!(out, "live sessions  {}", live.len())?;
    for found in pending {
        let places: Vec<String> = found.pending.iter().map(|place| shown(place.as_bytes())).collect();
        writeln!(
            out,
            "pending        session {}: what the policies permit anew on {} takes effect at the next start",
            found.session,
            places.join(", ")
        )?;
    }
    out.flush()?;
    Ok(code)
}
