//! Printing: tables that fit the terminal, entries in one line, JSON.

use std::io::{self, IsTerminal as _, Write};

use aegis_export::shown::command_line;
use aegis_export::{resource_text, shown};
use aegis_types::{Decision, Direction, Event, ExitStatus, Outcome, PolicyChange, What};
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use serde_json::Value;

use crate::times;

/// Returns standard output, buffered.
pub(crate) fn out() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Prints a line.
pub(crate) fn line(text: &str) -> io::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = out();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a JSON value, on several lines for a person.
pub(crate) fn json(value: &Value) -> io::Result<()> {
    let mut out = out();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// Prints a table: as wide as the terminal at most, as wide as it needs where there is none.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width().unwrap_or(u16::MAX));
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    if let Some(first) = table.column_mut(0) {
        // Names and ids are there to be copied: they stay in one piece.
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut out = out();
    for line in table.lines() {
        // The padding at a line's end is of no use to anybody.
        writeln!(out, "{}", line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()))?;
    }
    out.flush()
}

/// Returns the terminal's width, where standard output is one.
fn width() -> Option<u16> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&stdout).ok().map(|size| size.ws_col).filter(|columns| *columns > 0)
}

/// Returns an entry in one line: time, process, what, how it ended, on what.
pub(crate) fn entry_line(event: &Event) -> String {
    let (pid, what, outcome, on) = match &event.what {
        What::Action(act) => {
            let direction = if act.direction == Some(Direction::Listen) { "listen " } else { "" };
            let status = act.status.map(|status| format!(" {}", status_text(status))).unwrap_or_default();
            let folded = match (act.folded, act.count) {
                (true, Some(count)) => format!(" ({count} in this directory)"),
                (true, None) => " (and others there are counted)".to_owned(),
                _ => String::new(),
            };
            let outcome = if act.outcome == Outcome::Unknown { "?" } else { act.outcome.word() };
            let would =
                if act.would == Some(Decision::Deny) { would_deny(&act.policies) } else { String::new() };
            let on = format!("{direction}{}{status}{folded}{would}", resource_text(&act.resource));
            (act.process.pid, act.action.word(), outcome, on)
        }
        What::Gap(gap) => {
            let pid = gap.process.as_ref().map_or(0, |process| process.pid);
            (pid, "Gap", "", shown(gap.detail.as_bytes()))
        }
        What::Refusal(refusal) => (
            refusal.process.pid,
            "Refusal",
            "",
            format!("{}: {}", refusal.call, shown(refusal.detail.as_bytes())),
        ),
        What::LedgerStart(start) => {
            (0, "Ledger", "", format!("begins as {}", shown(start.origin.as_bytes())))
        }
        What::Seal(seal) => (0, "Seal", "", format!("epoch {} ends", seal.epoch)),
        What::Seam(seam) => (
            0,
            "Seam",
            "",
            format!("epoch {} has another key: {}", seam.epoch, shown(seam.detail.as_bytes())),
        ),
        What::PolicySet(set) => {
            let files: Vec<String> = set.files.iter().map(|file| shown(file.name.as_bytes())).collect();
            let when = if set.why == PolicyChange::Change { "changed to" } else { "in force:" };
            let hash: String = set.sha256.chars().take(12).collect();
            (0, "Policy", "", format!("{when} {hash} ({})", files.join(", ")))
        }
        What::PolicyText(text) => {
            let hash: String = text.sha256.chars().take(12).collect();
            (0, "PolicyText", "", format!("file {hash}, part {} of {}", text.part, text.parts))
        }
        What::PolicyFault(fault) => {
            (0, "Policy", "", format!("not taken: {}", shown(fault.detail.as_bytes())))
        }
        What::SessionStart(start) => {
            let tool = start.tool.as_ref().map(|tool| format!("  ({})", crate::tools::title(tool)));
            let command = command_line(&start.argv);
            (0, "Start", "", format!("{} {command}{}", start.mode, tool.unwrap_or_default()))
        }
        What::SessionEnd(end) => {
            let how = end.exit.map_or_else(|| "not seen".to_owned(), status_text);
            let failure =
                end.failure.as_deref().map(|why| format!("; {}", shown(why.as_bytes()))).unwrap_or_default();
            (0, "End", "", format!("{how} after {}{failure}", times::duration(end.duration_us)))
        }
    };
    let pid = if pid == 0 { String::new() } else { pid.to_string() };
    format!("{}  {pid:>7}  {what:<12}  {outcome:<7}  {on}", times::local(event.at))
}

/// Says that the policies would have denied it, and which.
fn would_deny(policies: &[std::sync::Arc<str>]) -> String {
    if policies.is_empty() {
        return "  (would be denied: no policy permits it)".to_owned();
    }
    let ids: Vec<String> = policies.iter().map(|id| shown(id.as_bytes())).collect();
    format!("  (would be denied by {})", ids.join(", "))
}

/// Returns an entry in one line, cut to the terminal's width.
pub(crate) fn fitted(line: String) -> String {
    let Some(width) = width() else { return line };
    let columns = |c: char| unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
    let total: usize = line.chars().map(columns).sum();
    if total <= usize::from(width) {
        return line;
    }
    let mut room = usize::from(width).saturating_sub(1);
    let mut cut: String = line
        .chars()
        .take_while(|c| {
            let fits = columns(*c) <= room;
            room = room.saturating_sub(columns(*c));
            fits
        })
        .collect();
    cut.push('…');
    cut
}

/// Says how a process ended.
pub(crate) fn status_text(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exit {code}"),
        ExitStatus::Signal(signal) => format!("signal {}", aegis_sys::signals::name(signal)),
    }
}
