//! `aegis audit checkpoint`, `prove` and `verify-proof`: what is given to others, and its check.

use std::io::Read as _;
use std::path::Path;

use aegis_ledger::{Ledger, Sealing};
use aegis_proof::inclusion::PROOF_MAX;
use aegis_proof::{Inclusion, TrustRoot};
use aegis_types::AgentName;
use serde_json::json;

use super::follow::Source;
use super::verify::trust_root;
use crate::args::Json;
use crate::error::CliError;
use crate::home::Home;
use crate::output;

pub(crate) fn checkpoint(home: &Home, name: Option<&AgentName>) -> Result<(), CliError> {
    let source = Source::open(home, home.meant(name)?)?;
    let path = source.configuration.ledger;
    let mut ledger = Ledger::open(&path, &home.custody(&path)?)?;
    let appended = ledger.append(&[], Sealing::Now { told: true })?;
    for trouble in appended.trouble {
        drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("aegis: {trouble}\n")));
    }
    match ledger.latest_checkpoint()? {
        Some((_, note)) => Ok(output::bytes(note.as_bytes())?),
        None => Err(CliError::failed(format!("{} has no checkpoint", path.display()))),
    }
}

pub(crate) fn prove(home: &Home, entry: u64, name: Option<&AgentName>) -> Result<(), CliError> {
    let source = Source::open(home, home.meant(name)?)?;
    let name = &source.configuration.name;
    let last = source.ledger.last_seq()?;
    if entry == 0 || entry > last {
        return Err(CliError::not_found(format!(
            "there is no entry {entry} in `{name}`: it has 1 to {last}"
        )));
    }
    match source.ledger.prove(entry)? {
        Some(proof) => Ok(output::bytes(proof.to_string().as_bytes())?),
        None => Err(CliError::failed(format!("entry {entry} is not sealed yet"))
            .hint(format!("wait for some seconds, or seal it: `aegis audit checkpoint {name}`"))),
    }
}

pub(crate) fn verify(home: &Home, file: &Path, key: Option<&str>, json: &Json) -> Result<u8, CliError> {
    let unreadable = |error: std::io::Error| CliError::failed(format!("{}: {error}", file.display()));
    let mut text = String::new();
    let limit = PROOF_MAX as u64 + 1;
    std::fs::File::open(file)
        .map_err(unreadable)?
        .take(limit)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let roots = match key {
        Some(key) => vec![trust_root(key)?],
        None => home.trust_roots()?.into_iter().map(|(_, root)| root).collect(),
    };
    let checked = Inclusion::parse(&text).map_err(|error| error.to_string()).and_then(|proof| {
        let checkpoint = first_that_holds(&proof, &roots)?;
        Ok((proof, checkpoint))
    });
    match checked {
        Ok((proof, (root, size))) => {
            let entry = proof.index + 1;
            if json.json {
                let record: serde_json::Value = serde_json::from_slice(&proof.record).unwrap_or_default();
                output::json(&json!({
                    "good": true, "entry": entry, "origin": root.origin.as_str(), "size": size, "record": record,
                }))?;
            } else {
                output::line(&format!(
                    "entry {entry} is in the ledger {}, whose checkpoint of {size} entries is signed by its identity key\n{}",
                    root.origin,
                    aegis_export::shown(&proof.record)
                ))?;
            }
            Ok(0)
        }
        Err(why) if json.json => {
            output::json(&json!({"good": false, "fault": why}))?;
            Ok(3)
        }
        Err(why) => Err(CliError::failed(format!("{}: {why}", file.display())).with_code(3)),
    }
}

/// Checks a proof by each trust root that may be meant.
fn first_that_holds(proof: &Inclusion, roots: &[TrustRoot]) -> Result<(TrustRoot, u64), String> {
    let mut why = "this home has no ledger; give the trust root of the proof's with --key".to_owned();
    for root in roots {
        match proof.verify(root) {
            Ok(checkpoint) => return Ok((root.clone(), checkpoint.size)),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}
