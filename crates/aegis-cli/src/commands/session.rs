//! `aegis audit session`: one session in detail.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aegis_export::detail::{FileStory, content_diff};
use aegis_export::shown::command_line;
use aegis_export::{Detail, shown};
use aegis_ledger::{Filter, SessionRow};
use aegis_observer::preimage::{KEEP_MAX, object_path};
use aegis_types::{AgentName, PreImage, SessionId, Text};
use serde_json::json;

use super::follow::Source;
use crate::args::Json;
use crate::error::CliError;
use crate::home::Home;
use crate::{output, times, tools};

pub(crate) fn run(
    home: &Home,
    name: Option<&AgentName>,
    id: Option<SessionId>,
    json: &Json,
) -> Result<(), CliError> {
    let source = Source::open(home, home.meant(name)?)?;
    let mut sessions = source.ledger.sessions()?;
    let session = match id {
        Some(id) => sessions.into_iter().find(|session| session.id == id),
        None => sessions.pop(),
    };
    let Some(session) = session else {
        let what = id.map_or_else(|| "session".to_owned(), |id| format!("session {id}"));
        return Err(CliError::not_found(format!("there is no {what} in `{}`", source.configuration.name))
            .hint(format!("`aegis audit sessions {}` lists them", source.configuration.name)));
    };
    let mut detail = Detail::default();
    let filter = Filter { session: Some(session.id), ..Filter::default() };
    source.ledger.each(&filter, |row| {
        detail.add(&row.event);
        ControlFlow::Continue(())
    })?;
    let objects = source.configuration.folder.join("objects");
    if json.json {
        return Ok(output::json(&as_json(&session, &detail, &objects))?);
    }
    Ok(print(&session, &detail, &objects)?)
}

fn as_json(session: &SessionRow, detail: &Detail, objects: &Path) -> serde_json::Value {
    let files: Vec<serde_json::Value> = detail
        .files
        .iter()
        .map(|(path, story)| {
            json!({
                "path": path,
                "reads": story.reads,
                "writes": story.writes,
                "writes_done": story.writes_done,
                "deletes": story.deletes,
                "deletes_done": story.deletes_done,
                "pre": story.pre,
                "diff": story.pre.as_ref().and_then(|pre| difference(path, pre, objects)),
            })
        })
        .collect();
    json!({
        "id": session.id.to_string(),
        "started": session.started_at.to_string(),
        "ended": session.end.as_ref().map(|(at, _)| at.to_string()),
        "start": session.start,
        "end": session.end.as_ref().map(|(_, end)| end),
        "processes": detail.process_tree().lines().collect::<Vec<_>>(),
        "files": files,
        "hosts": detail.hosts,
        "gaps": detail.gaps,
        "refusals": detail.refusals,
        "would_deny": detail.denied.iter().map(|(what, (times, policies))| {
            json!({"what": what, "times": times, "policies": policies})
        }).collect::<Vec<_>>(),
    })
}

fn print(session: &SessionRow, detail: &Detail, objects: &Path) -> std::io::Result<()> {
    let mut out = output::out();
    let start = &session.start;
    writeln!(out, "session    {}", session.id)?;
    writeln!(out, "command    {}", command_line(&start.argv))?;
    if let Some(tool) = &start.tool {
        writeln!(out, "tool       {}", tools::title(tool))?;
    }
    writeln!(out, "directory  {}", shown(start.cwd.as_bytes()))?;
    let user = start.user.clone().unwrap_or_else(|| start.uid.to_string());
    writeln!(
        out,
        "who        {} on {} ({})",
        shown(user.as_bytes()),
        shown(start.host.as_bytes()),
        start.kernel
    )?;
    writeln!(out, "mode       {}, observer {}, isolation {}", start.mode, start.observer, start.isolation)?;
    if let Some(policy) = &start.policy {
        writeln!(out, "policies   {policy}")?;
    }
    writeln!(out, "started    {}", times::local(session.started_at))?;
    match &session.end {
        Some((_, end)) => {
            let how = end.exit.map_or_else(|| "its end was not seen".to_owned(), output::status_text);
            writeln!(out, "ended      after {}: {how}", times::duration(end.duration_us))?;
            if let Some(why) = &end.failure {
                writeln!(out, "failed     {}", shown(why.as_bytes()))?;
            }
        }
        None => writeln!(out, "ended      not yet")?,
    }
    writeln!(out, "\nPROCESSES")?;
    write!(out, "{}", indented(&detail.process_tree()))?;
    files(&mut out, detail, objects)?;
    let denied = |(what, (times, policies)): (&String, &(u64, BTreeSet<String>))| {
        let often = if *times > 1 { format!(", {times} times") } else { String::new() };
        match policies.iter().map(String::as_str).collect::<Vec<_>>().join(", ") {
            by if by.is_empty() => format!("{what}{often}: no policy permits it"),
            by => format!("{what}{often}: {by}"),
        }
    };
    for (title, lines) in [
        ("WOULD BE DENIED BY THE POLICIES", detail.denied.iter().map(denied).collect()),
        ("CONNECTIONS", detail.hosts.iter().cloned().collect::<Vec<_>>()),
        ("GAPS", detail.gaps.clone()),
        ("TAKEN AWAY BY AEGIS", detail.refusals.iter().cloned().collect()),
    ] {
        if !lines.is_empty() {
            writeln!(out, "\n{title}")?;
            write!(out, "{}", indented(&lines.join("\n")))?;
        }
    }
    out.flush()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Says whether a file belongs to a sort.
type Fits = fn(&FileStory) -> bool;

/// Prints files by what happened to them.
fn files(out: &mut impl Write, detail: &Detail, objects: &Path) -> std::io::Result<()> {
    let sorts: [(&str, Fits); 6] = [
        ("DELETED", |f| f.deletes_done > 0 && f.writes_done == 0),
        ("WRITTEN AND DELETED (in either order)", |f| f.deletes_done > 0 && f.writes_done > 0),
        ("WRITTEN", |f| f.writes_done > 0 && f.deletes_done == 0),
        ("DELETION ATTEMPTED (outcome not known)", |f| {
            f.deletes > 0 && f.deletes_done == 0 && f.writes_done == 0
        }),
        ("WRITING ATTEMPTED (outcome not known)", |f| f.writes > 0 && f.writes_done == 0 && f.deletes == 0),
        ("READ (opened for reading)", |f| f.reads > 0 && f.writes == 0 && f.deletes == 0),
    ];
    for (title, fits) in sorts {
        let mut listed = detail.files.iter().filter(|(_, story)| fits(story)).peekable();
        if listed.peek().is_none() {
            continue;
        }
        writeln!(out, "\n{title}")?;
        for (path, story) in listed {
            writeln!(out, "  {}", shown(path.as_bytes()))?;
            if let Some(diff) = story.pre.as_ref().and_then(|pre| difference(path, pre, objects)) {
                write!(out, "{}", indented(&indented(&diff)))?;
            }
        }
    }
    Ok(())
}

/// Compares what a file held before the session's first change with what it holds now.
fn difference(path: &Text, pre: &PreImage, objects: &Path) -> Option<String> {
    let Some(sha256) = pre.sha256.as_deref().filter(|_| pre.kept) else {
        return Some(format!("the former content was not kept ({} bytes)\n", pre.size));
    };
    let name = shown(path.as_bytes());
    let Ok(before) = std::fs::read(object_path(objects, sha256)) else {
        return Some("the kept content is gone\n".to_owned());
    };
    let file = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
    match std::fs::symlink_metadata(file) {
        Ok(meta) if meta.is_file() && meta.len() <= KEEP_MAX => {
            let now = std::fs::read(file).ok()?;
            (before != now).then(|| content_diff(&before, &now, &name))
        }
        Ok(_) => Some("it is no plain file now, or too large to compare\n".to_owned()),
        Err(_) => Some(content_diff(&before, b"", &name)),
    }
}
