//! A session in detail: its processes as a tree, its files by what happened to them, its connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use aegis_types::{
    Act, Action, Decision, Direction, Event, ExitStatus, Outcome, PreImage, Resource, Text, What,
};

use crate::shown::{command_line, resource_text, shown};

/// What happened to one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileStory {
    /// Times opened for reading.
    pub reads: u64,
    /// Times opened for writing, made or changed.
    pub writes: u64,
    /// Those for which there is evidence.
    pub writes_done: u64,
    /// Times its name was removed.
    pub deletes: u64,
    /// Those for which there is evidence.
    pub deletes_done: u64,
    /// What it held before the first change.
    pub pre: Option<PreImage>,
}

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ProcessStory {
    parent: u32,
    /// What it executed, in order.
    programs: Vec<String>,
    exe: String,
    exit: Option<ExitStatus>,
    ended: bool,
}

/// A session, gathered from its events.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    processes: BTreeMap<(u32, u32), ProcessStory>,
    /// How many processes have had an id before: ids come again.
    generations: BTreeMap<u32, u32>,
    /// Files, by path.
    pub files: BTreeMap<Text, FileStory>,
    /// Where connections went, and what was listened on.
    pub hosts: BTreeSet<String>,
    /// Gaps, in words.
    pub gaps: Vec<String>,
    /// What Aegis took away.
    pub refusals: BTreeSet<String>,
    /// What the policies would have denied, each as an action and what it was on: how often, and by which policies.
    pub denied: BTreeMap<String, (u64, BTreeSet<String>)>,
}

/// How many executions of one process are listed.
const PROGRAMS_MAX: usize = 20;

impl Detail {
    /// Takes in the next event of the session.
    pub fn add(&mut self, event: &Event) {
        match &event.what {
            What::Action(act) => self.act(act),
            What::Gap(gap) => {
                let who = gap.process.as_ref().map(|p| format!("process {}: ", p.pid)).unwrap_or_default();
                self.gaps.push(format!("{who}{} ({})", shown(gap.detail.as_bytes()), gap.reason.word()));
            }
            What::Refusal(refusal) => {
                self.refusals.insert(shown(refusal.detail.as_bytes()));
            }
            What::LedgerStart(_)
            | What::Seal(_)
            | What::Seam(_)
            | What::PolicyFault(_)
            | What::PolicySet(_)
            | What::PolicyText(_)
            | What::SessionStart(_)
            | What::SessionEnd(_) => {}
        }
    }

    fn act(&mut self, act: &Act) {
        self.process(act);
        if act.would == Some(Decision::Deny) && act.outcome != Outcome::Missing {
            let key = format!("{} {}", act.action, resource_text(&act.resource));
            let (times, policies) = self.denied.entry(key).or_default();
            *times += 1;
            policies.extend(act.policies.iter().map(|id| shown(id.as_bytes())));
        }
        let number = act.count.unwrap_or(1);
        let done = u64::from(act.outcome == Outcome::Ok);
        match (&act.resource, act.action) {
            _ if act.outcome == Outcome::Missing => {}
            (Resource::Path(path), Action::FileRead) if act.count.is_none() => {
                self.file(path).reads += number;
            }
            (Resource::Path(path), Action::FileWrite | Action::DirCreate) => {
                let file = self.file(path);
                file.writes += 1;
                file.writes_done += done;
                file.pre = file.pre.take().or_else(|| act.pre.clone());
            }
            (Resource::Path(path), Action::FileDelete) => {
                let file = self.file(path);
                file.deletes += 1;
                file.deletes_done += done;
                file.pre = file.pre.take().or_else(|| act.pre.clone());
            }
            (resource, Action::NetConnect) => {
                let word = if act.direction == Some(Direction::Listen) { "listened on " } else { "" };
                self.hosts.insert(format!("{word}{}", resource_text(resource)));
            }
            _ => {}
        }
    }

    fn file(&mut self, path: &Text) -> &mut FileStory {
        self.files.entry(path.clone()).or_default()
    }

    fn process(&mut self, act: &Act) {
        let pid = act.process.pid;
        let generation = self.generations.entry(pid).or_insert(0);
        if self.processes.get(&(pid, *generation)).is_some_and(|known| known.ended) {
            *generation += 1;
        }
        let story = self.processes.entry((pid, *generation)).or_default();
        if story.exe.is_empty() {
            story.parent = act.process.ppid;
        }
        story.exe = shown(act.process.exe.as_bytes());
        match (&act.resource, act.action) {
            (Resource::Program(program), Action::ProcessSpawn)
                if act.outcome != Outcome::Missing && story.programs.len() < PROGRAMS_MAX =>
            {
                story.programs.push(command_line(&program.argv));
            }
            (_, Action::ProcessExit) => {
                story.exit = act.status;
                story.ended = true;
            }
            _ => {}
        }
    }

    /// Returns the processes as an indented tree.
    #[must_use]
    pub fn process_tree(&self) -> String {
        let mut out = String::new();
        // A parent that is not of the session, or not known, makes a root.
        let is_root = |story: &ProcessStory| !self.processes.keys().any(|(pid, _)| *pid == story.parent);
        let mut stack: Vec<(&(u32, u32), usize)> = self
            .processes
            .iter()
            .filter(|(_, story)| is_root(story))
            .map(|(key, _)| (key, 0))
            .rev()
            .collect();
        let mut printed = BTreeSet::new();
        while let Some((key, depth)) = stack.pop() {
            let Some(story) = self.processes.get(key).filter(|_| printed.insert(*key)) else { continue };
            let what = story.programs.last().cloned().unwrap_or_else(|| format!("({})", story.exe));
            let end = match story.exit {
                Some(ExitStatus::Code(0)) => String::new(),
                Some(ExitStatus::Code(code)) => format!("  exit {code}"),
                Some(ExitStatus::Signal(signal)) => format!("  signal {signal}"),
                None if story.ended => "  ended".to_owned(),
                None => "  running".to_owned(),
            };
            let _ = writeln!(out, "{:indent$}{} {what}{end}", "", key.0, indent = 2 * depth);
            let children =
                self.processes.iter().filter(|(child, story)| story.parent == key.0 && *child != key);
            stack.extend(children.map(|(child, _)| (child, depth + 1)).collect::<Vec<_>>().into_iter().rev());
        }
        out
    }
}

/// Returns the difference between two contents as a unified diff, or says that they are not text.
#[must_use]
pub fn content_diff(old: &[u8], new: &[u8], name: &str) -> String {
    let (Ok(before), Ok(after)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else {
        return format!("{name}: not text; {} bytes before, {} bytes now\n", old.len(), new.len());
    };
    let diff = similar::TextDiff::from_lines(before, after);
    let text = diff
        .unified_diff()
        .context_radius(3)
        .header(&format!("{name} (before)"), &format!("{name} (now)"))
        .to_string();
    text.lines().fold(String::new(), |mut out, line| {
        out.push_str(&shown(line.as_bytes()));
        out.push('\n');
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use aegis_types::{Process, Program, Timestamp};

    fn event(action: Action, pid: u32, ppid: u32, resource: Resource, status: Option<ExitStatus>) -> Event {
        let process = Process { exe: Text::from("/bin/sh").into(), pid, ppid, tid: pid };
        let act = Act { outcome: Outcome::Ok, status, ..Act::new(action, "x", process, resource) };
        Event { at: Timestamp::default(), mono_us: 0, what: What::Action(Box::new(act)) }
    }

    fn program(argv: &[&str]) -> Resource {
        let argv = argv.iter().map(|a| Text::from(*a)).collect();
        Resource::Program(Program { argv, argv_omitted: None, exe: "/x".into(), masked: false })
    }

    #[test]
    fn processes_make_a_tree_even_where_ids_come_again() {
        let mut detail = Detail::default();
        detail.add(&event(Action::ProcessSpawn, 10, 1, program(&["sh", "-c", "a b"]), None));
        for code in [0, 3] {
            detail.add(&event(Action::ProcessSpawn, 11, 10, program(&["child"]), None));
            detail.add(&event(Action::ProcessExit, 11, 10, program(&[]), Some(ExitStatus::Code(code))));
        }
        detail.add(&event(Action::FileWrite, 12, 0, Resource::Path("/f".into()), None));
        let expected = "10 sh -c 'a b'  running\n  11 child\n  11 child  exit 3\n12 (/bin/sh)  running\n";
        assert!(detail.process_tree().contains("12 (/bin/sh)  running\n"));
        assert_eq!(detail.process_tree().len(), expected.len());
        assert_eq!(detail.files[&Text::from("/f")].writes_done, 1);
    }

    #[test]
    fn what_would_be_denied_is_listed_once_with_its_policies() {
        let mut detail = Detail::default();
        let mut denied = event(Action::FileRead, 1, 0, Resource::Path("/a".into()), None);
        for by in ["x:1", "x:2"] {
            if let What::Action(act) = &mut denied.what {
                act.would = Some(Decision::Deny);
                act.policies = [by.into()].into();
            }
            detail.add(&denied);
        }
        let expected = (2, BTreeSet::from(["x:1".to_owned(), "x:2".to_owned()]));
        assert_eq!(detail.denied, BTreeMap::from([("FileRead /a".to_owned(), expected)]));
    }

    #[test]
    fn a_diff_shows_text_and_counts_bytes() {
        let diff = content_diff(b"a\nb\n", b"a\nc\x1b\n", "f");
        assert!(diff.contains("-b\n+c\\u{1b}\n"), "{diff}");
        assert!(content_diff(b"\xff", b"", "f").contains("not text; 1 bytes before, 0 bytes now"));
    }
}
