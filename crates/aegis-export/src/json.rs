//! The public form of a record. Names and meanings are stable; fields that have no meaning are absent.

use aegis_proof::{Hash, Header};
use aegis_types::{Act, AgentName, Decision, Event, Process, Resource, Text, What};
use serde_json::{Map, Value, json};

/// An entry with what its record alone does not say.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its place in the chain.
    pub header: &'a Header,
    /// Its leaf hash.
    pub hash: &'a Hash,
    /// What it says.
    pub event: &'a Event,
    /// The configuration that its session ran under.
    pub agent: &'a AgentName,
}

/// Returns an entry as a JSON object.
#[must_use]
pub fn record(entry: &Entry<'_>) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    put("seq", entry.header.seq.into());
    put("time", entry.event.at.to_string().into());
    put("mono_us", entry.event.mono_us.into());
    // What a ledger says of itself is of no session.
    if entry.header.session != aegis_proof::record::NIL_SESSION {
        put("session", entry.header.session.clone().into());
    }
    put("agent", entry.agent.as_str().into());
    put("kind", entry.event.what.kind().into());
    if entry.header.recovered {
        put("recovered", true.into());
    }
    put("hash", entry.hash.to_string().into());
    match &entry.event.what {
        What::Action(act) => action(act, &mut put),
        What::Gap(gap) => {
            put("reason", gap.reason.word().into());
            put("detail", gap.detail.clone().into());
            if let Some(who) = &gap.process {
                put("process", process(who));
            }
        }
        What::Refusal(refusal) => {
            put("call", refusal.call.clone().into());
            put("detail", refusal.detail.clone().into());
            put("process", process(&refusal.process));
        }
        // Their fields are documented as they are recorded.
        What::LedgerStart(start) => put("ledger", serde_json::to_value(start).unwrap_or_default()),
        What::Seal(seal) => put("seal", serde_json::to_value(seal).unwrap_or_default()),
        What::Seam(seam) => put("seam", serde_json::to_value(seam).unwrap_or_default()),
        What::PolicyFault(fault) => put("policy_fault", serde_json::to_value(fault).unwrap_or_default()),
        What::PolicySet(set) => put("policy_set", serde_json::to_value(set).unwrap_or_default()),
        What::PolicyText(text) => put("policy_text", serde_json::to_value(text).unwrap_or_default()),
        What::SessionStart(start) => put("start", serde_json::to_value(start).unwrap_or_default()),
        What::SessionEnd(end) => put("end", serde_json::to_value(end).unwrap_or_default()),
    }
    Value::Object(object)
}

fn action(act: &Act, put: &mut impl FnMut(&str, Value)) {
    put("action", act.action.word().into());
    put("call", act.call.clone().into());
    put("resource", resource(&act.resource));
    put("decision", act.decision.word().into());
    if let Some(would) = act.would {
        put("would", would.word().into());
    }
    if act.would.is_some() || act.decision != Decision::Observed {
        put("policies", act.policies.iter().map(|id| Value::from(id.as_ref())).collect());
    }
    put("assurance", act.assurance.word().into());
    put("outcome", act.outcome.word().into());
    put("process", process(&act.process));
    if let Some(direction) = act.direction {
        put("direction", direction.word().into());
    }
    if !act.flags.is_empty() {
        put("flags", act.flags.iter().map(|flag| Value::from(flag.as_ref())).collect());
    }
    if act.folded {
        put("folded", true.into());
    }
    if let Some(count) = act.count {
        put("count", count.into());
    }
    if let Some(operation) = act.operation {
        put("operation", operation.into());
    }
    if let Some(status) = &act.status {
        put("status", serde_json::to_value(status).unwrap_or_default());
    }
    if let Some(pre) = &act.pre {
        put("pre", serde_json::to_value(pre).unwrap_or_default());
    }
}

fn process(process: &Process) -> Value {
    json!({"pid": process.pid, "tid": process.tid, "ppid": process.ppid, "exe": plain(&process.exe)})
}

/// Bytes as a string, or as `{"b64": ...}`.
fn plain(text: &Text) -> Value {
    serde_json::to_value(text).unwrap_or_default()
}

/// Returns a resource as a JSON object.
#[must_use]
pub fn resource(resource: &Resource) -> Value {
    let named = |key: &str, text: &Text| match text.as_str() {
        Some(text) => json!({key: text}),
        None => json!({format!("{key}_b64"): text.to_base64()}),
    };
    match resource {
        Resource::Path(path) => named("path", path),
        Resource::Unix(path) => named("unix", path),
        Resource::Unread(text) => named("unread", text),
        Resource::Net(to) => {
            let mut object = json!({"host": to.name()});
            if let Some(object) = object.as_object_mut() {
                if !to.address.is_empty() {
                    object.insert("address".to_owned(), to.address.as_str().into());
                    object.insert("port".to_owned(), to.port.into());
                }
                if let Some(transport) = &to.transport {
                    object.insert("transport".to_owned(), transport.as_ref().into());
                }
            }
            object
        }
        Resource::Program(program) => {
            let mut object = json!({"exe": plain(&program.exe)});
            if let Some(object) = object.as_object_mut() {
                if !program.argv.is_empty() {
                    object.insert("argv".to_owned(), program.argv.iter().map(plain).collect());
                }
                if let Some(omitted) = program.argv_omitted {
                    object.insert("argv_omitted".to_owned(), omitted.into());
                }
                if program.masked {
                    object.insert("masked".to_owned(), true.into());
                }
            }
            object
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_text_have_a_key_of_their_own() {
        assert_eq!(resource(&Resource::Path("/a".into())), json!({"path": "/a"}));
        assert_eq!(resource(&Resource::Path(Text::new([0xff]))), json!({"path_b64": "/w=="}));
    }
}
