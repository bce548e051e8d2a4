//! `aegis audit verify`: the whole check of a ledger, and what it was held to.

use std::io::Write as _;
use std::path::Path;

use aegis_ledger::custody::read_anchors;
use aegis_ledger::{Held, LedgerError, Verdict};
use aegis_proof::{Grade, TrustRoot};
use aegis_types::AgentName;
use serde_json::json;

use super::follow::Source;
use crate::args::Verify;
use crate::error::CliError;
use crate::home::Home;
use crate::output;

pub(crate) fn run(home: &Home, options: &Verify) -> Result<u8, CliError> {
    let which = &options.which;
    let mut kept = Held { trust: options.key.as_deref().map(trust_root).transpose()?, ..Held::default() };
    for path in &options.against {
        let anchors = read_anchors(path, true)
            .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
        if anchors.is_empty() {
            return Err(CliError::failed(format!("{} holds no checkpoint", path.display())));
        }
        kept.anchors.extend(anchors);
    }
    let mut values = Vec::new();
    let mut all_good = true;
    let mut out = output::out();
    let names = if which.all { home.names()? } else { vec![home.meant(which.name.as_ref())?.name] };
    for name in names {
        let (source, verdict) = match check(home, &name, &kept) {
            Ok(Some(checked)) => checked,
            Ok(None) if which.all => continue,
            Ok(None) => return Err(LedgerError::Missing(home.configuration(&name)?.ledger).into()),
            // A file that can't be read as a ledger is a verdict as well, and the others are checked all the same.
            Err(error) if error.is_damage() || which.all => {
                all_good = false;
                if options.json.json {
                    values.push(json!({"name": name.as_str(), "good": false, "fault": error.to_string()}));
                } else {
                    writeln!(out, "{name}: DAMAGED: {error}")?;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        all_good &= verdict.is_good();
        if options.json.json {
            values.push(verdict_json(&source, &verdict));
        } else {
            write_verdict(&mut out, &source, &verdict)?;
        }
    }
    if options.json.json {
        let value = if which.all { values.into() } else { values.pop().unwrap_or_default() };
        output::json(&value)?;
    }
    out.flush()?;
    Ok(if all_good { 0 } else { 3 })
}

/// Reads a trust root, given as itself or as a file that holds it.
pub(crate) fn trust_root(given: &str) -> Result<TrustRoot, CliError> {
    if let Some(root) = TrustRoot::parse(given) {
        return Ok(root);
    }
    let text = std::fs::read_to_string(Path::new(given)).unwrap_or_default();
    text.lines().find_map(|line| TrustRoot::parse(line.trim())).ok_or_else(|| {
        CliError::usage(format!("`{given}` is no trust root, and no file that holds one"))
            .hint("`aegis setup` prints the trust roots of a home's ledgers")
    })
}

/// Checks the ledger of a configuration; nothing where it was not begun yet.
fn check(home: &Home, name: &AgentName, kept: &Held) -> Result<Option<(Source, Verdict)>, CliError> {
    let configuration = home.configuration(name)?;
    let custody = home.custody(&configuration.ledger)?;
    if !configuration.ledger.exists() && custody.lines()?.0.is_empty() {
        return Ok(None);
    }
    let source = Source::open(home, configuration)?;
    let held = Held { custody: Some(custody), ..kept.clone() };
    let verdict = source.ledger.verify(&held)?;
    Ok(Some((source, verdict)))
}

/// What is wrong, in words.
pub(crate) fn problem(verdict: &Verdict) -> Option<String> {
    match (&verdict.proof.fault, verdict.index_fault) {
        (Some(fault), _) => Some(fault.to_string()),
        (None, Some(seq)) => Some(format!(
            "the index of entry {seq} does not say what the entry says; the entries themselves hold"
        )),
        (None, None) => None,
    }
}

fn verdict_json(source: &Source, verdict: &Verdict) -> serde_json::Value {
    let proof = &verdict.proof;
    let findings = &proof.findings;
    json!({
        "name": source.configuration.name.as_str(),
        "ledger": source.configuration.ledger.to_string_lossy(),
        "good": verdict.is_good(),
        "grade": proof.grade.word(),
        "entries": proof.records,
        "head": proof.head.to_string(),
        "origin": proof.trust.as_ref().map(|trust| trust.origin.as_str()),
        "trust_root": proof.trust.as_ref().map(ToString::to_string),
        "checkpoints": proof.checkpoints,
        "sealed": proof.sealed,
        "recovered": findings.recovered,
        "recovered_entries": findings.recovered_entries,
        "gaps": findings.gaps,
        "gap_entries": findings.gap_entries,
        "seams": findings.seams,
        "silences": findings.silences,
        "clock_set_back": findings.clock_set_back,
        "keys_behind": findings.keys_behind,
        "bad_anchors": findings.bad_anchors,
        "bad_register_lines": verdict.bad_register_lines,
        "first_bad_entry": proof.fault.as_ref().map(|fault| fault.seq),
        "fault_kind": proof.fault.as_ref().map(|fault| fault.kind.word()),
        "fault": proof.fault.as_ref().map(ToString::to_string),
        "first_bad_index": verdict.index_fault,
    })
}

fn write_verdict(out: &mut impl std::io::Write, source: &Source, verdict: &Verdict) -> std::io::Result<()> {
    let path = source.configuration.ledger.display();
    let proof = &verdict.proof;
    let findings = &proof.findings;
    match problem(verdict) {
        None => writeln!(out, "{path}: {} entries hold", proof.records)?,
        Some(problem) => writeln!(out, "{path}: DAMAGED: {problem}")?,
    }
    let mut line = |what: &str, text: String| writeln!(out, "  {what:<12} {text}");
    if proof.fault.is_none() {
        line("grade", grade(proof.grade).to_owned())?;
    }
    let tail = match proof.records - proof.sealed {
        0 => String::new(),
        _ => format!("; entries {} to {} are not sealed yet", proof.sealed + 1, proof.records),
    };
    line("checkpoints", format!("{}, up to entry {}{tail}", proof.checkpoints, proof.sealed))?;
    line("head", proof.head.to_string())?;
    line("gaps", counted(findings.gaps, &findings.gap_entries))?;
    line("recovered", counted(findings.recovered, &findings.recovered_entries))?;
    let list = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    if !findings.seams.is_empty() {
        let text = "a key was lost, the identity key alone vouches for the next";
        line("seams", format!("entries {}: {text}", list(&findings.seams)))?;
    }
    for (from, to) in &findings.silences {
        line(
            "silence",
            format!("nothing was sealed between entries {from} and {to}, though a session lived"),
        )?;
    }
    if !findings.clock_set_back.is_empty() {
        line("clock", format!("was set back before entries {}", list(&findings.clock_set_back)))?;
    }
    if findings.keys_behind {
        line(
            "keys",
            "those of the home are not the ones that are due; the next session makes a seam".into(),
        )?;
    }
    if findings.bad_anchors > 0 {
        line(
            "anchors",
            format!("{} checkpoints are not signed by this ledger and were left out", findings.bad_anchors),
        )?;
    }
    if verdict.bad_register_lines > 0 {
        line("register", format!("{} of its lines are damaged", verdict.bad_register_lines))?;
    }
    Ok(())
}

/// How many of a number of entries are named for a person; JSON output has more.
const NAMED: usize = 12;

/// Says how many entries there are, and which are the first.
fn counted(count: u64, entries: &[u64]) -> String {
    let named: Vec<String> = entries.iter().take(NAMED).map(u64::to_string).collect();
    let more = if count > named.len() as u64 { " ..." } else { "" };
    if named.is_empty() { count.to_string() } else { format!("{count}: entries {}{more}", named.join(", ")) }
}

/// Says what a grade means.
fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Anchored => "anchored: it agrees with what was kept elsewhere",
        Grade::Sealed => "sealed: it agrees with the register and the keys of this home",
        Grade::SelfConsistent => {
            "self-consistent: nothing outside the ledger was compared; whoever has its keys could have rewritten it"
        }
    }
}
