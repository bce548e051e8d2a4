//! `aegis setup --self-test`: tries on this machine what is enforced and what is recorded.
//!
//! Two trials, each a Python program run under `aegis run` in a temporary home. The *battery* attacks: it tries to read,
//! change and reach what the policies do not permit, and checks from outside whether it did. The *truth* does known
//! things and says which; every one must be in the ledger, with the outcome that it had.

use std::collections::HashMap;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use aegis_ledger::{Filter, Ledger};
use aegis_sandbox::grade::{Bound, Enforcement};
use aegis_sys::process::{Ended, run_in_foreground};
use aegis_types::{Resource, What};
use serde::Deserialize;
use serde_json::json;

use crate::error::CliError;
use crate::home::{Home, environment};
use crate::output;

/// The programs of the trials, by their names.
const PROGRAMS: &[(&str, &str)] = &[
    ("battery.py", include_str!("../../../aegis-harness/escape/battery.py")),
    ("core.py", include_str!("../../../aegis-harness/escape/core.py")),
    ("fixtures.py", include_str!("../../../aegis-harness/escape/fixtures.py")),
    ("host.py", include_str!("../../../aegis-harness/escape/host.py")),
    ("inside.py", include_str!("../../../aegis-harness/escape/inside.py")),
    ("peers.py", include_str!("../../../aegis-harness/escape/peers.py")),
    ("syscalls.py", include_str!("../../../aegis-harness/escape/syscalls.py")),
    ("truth.py", include_str!("../../../aegis-harness/escape/truth.py")),
    ("probes_exec.py", include_str!("../../../aegis-harness/escape/probes_exec.py")),
    ("probes_ipc.py", include_str!("../../../aegis-harness/escape/probes_ipc.py")),
    ("probes_kernel.py", include_str!("../../../aegis-harness/escape/probes_kernel.py")),
    ("probes_meta.py", include_str!("../../../aegis-harness/escape/probes_meta.py")),
    ("probes_net.py", include_str!("../../../aegis-harness/escape/probes_net.py")),
    ("probes_plants.py", include_str!("../../../aegis-harness/escape/probes_plants.py")),
    ("probes_process.py", include_str!("../../../aegis-harness/escape/probes_process.py")),
    ("probes_race.py", include_str!("../../../aegis-harness/escape/probes_race.py")),
    ("probes_read.py", include_str!("../../../aegis-harness/escape/probes_read.py")),
    ("probes_sanity.py", include_str!("../../../aegis-harness/escape/probes_sanity.py")),
    ("probes_terminal.py", include_str!("../../../aegis-harness/escape/probes_terminal.py")),
    ("probes_write.py", include_str!("../../../aegis-harness/escape/probes_write.py")),
];

/// Attacks that the policies of the trial permit.
const PERMITTED: [&str; 6] = [
    "exec_from_work",
    "sys_ptrace_child",
    "net_bind_listen",
    "leak_proc_net",
    "left_daemon",
    "left_deaf_daemon",
];

/// Attacks that namespaces close, and the one that a bound on processes does.
const SEEN: [&str; 4] = ["fs_stat_forbidden", "leak_readlink", "leak_getxattr", "proc_list"];
const UNBOUND: &str = "lim_fork_512";

/// How often the known things are done.
const ROUNDS: usize = 300;

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    group: String,
    verdict: String,
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Told {
    action: String,
    path: String,
    outcome: String,
}

/// The folder of the trials, removed with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in a temporary directory.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn run(json: bool) -> Result<u8, CliError> {
    let found = Enforcement::probe(rustix::process::geteuid().is_root());
    let python = python()?;
    let folder = folder()?;
    let place = |name: &str| folder.0.join(name);
    for name in ["programs", "work", "truth", "forbidden"] {
        make(&place(name))?;
    }
    for (name, text) in PROGRAMS {
        write(&place("programs").join(name), text)?;
    }
    let home = Home::find(Some(place("home")))?;
    let aegis = std::env::current_exe().map_err(|error| CliError::failed(format!("aegis: {error}")))?;
    for (name, directory) in [("battery", "work"), ("truth", "truth")] {
        let name = aegis_types::AgentName::new(name).map_err(|error| CliError::failed(error.to_string()))?;
        super::init::make_quietly(&home, &name, &place(directory), "project")?;
    }
    let (tried, open) = battery(&folder.0, &python, &aegis, &found)?;
    let (acts, wrong) = truth(&folder.0, &python, &aegis, &home)?;
    let passed = open.is_empty() && wrong.is_empty();
    if json {
        output::json(&json!({
            "grade": found.grade().word(), "enforcement": found.summary(), "attacks": tried, "not_blocked": open,
            "acts": acts, "not_recorded": wrong, "passed": passed,
        }))?;
        return Ok(u8::from(!passed));
    }
    output::line(&format!("enforcement  {}", found.summary()))?;
    for missing in found.missing() {
        output::line(&format!("  without {}, {}", missing.what, missing.weaker))?;
    }
    output::line(&format!(
        "battery      {tried} attacks and honest works tried, {} not as they should be",
        open.len()
    ))?;
    for line in &open {
        output::line(&format!("  {line}"))?;
    }
    output::line(&format!("ledger       {acts} acts done, {} not recorded as they were", wrong.len()))?;
    for line in wrong.iter().take(20) {
        output::line(&format!("  {line}"))?;
    }
    output::line(if passed { "passed" } else { "failed" })?;
    Ok(u8::from(!passed))
}

fn python() -> Result<OsString, CliError> {
    let path = environment("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.is_file());
    found.map(PathBuf::into_os_string).ok_or_else(|| {
        CliError::failed("the self-test needs Python 3.9 or newer, and there is no `python3` on PATH")
            .hint("install python3")
    })
}

fn folder() -> Result<Folder, CliError> {
    let tmp = environment("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let tmp = std::fs::canonicalize(&tmp).unwrap_or(tmp);
    let path = tmp.join(format!("aegis-self-test-{}", std::process::id()));
    make(&path)?;
    Ok(Folder(path))
}

fn make(path: &Path) -> Result<(), CliError> {
    rustix::fs::mkdir(path, rustix::fs::Mode::RWXU)
        .map_err(|error| CliError::failed(format!("{} can't be made: {error}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    aegis_sys::files::write_plain(path, text.as_bytes())
        .map_err(|error| CliError::failed(format!("{} can't be written: {error}", path.display())))
}

/// Runs a command with its output in a file.
fn run_into(file: &Path, command: Vec<OsString>) -> Result<(), CliError> {
    let script = "out=$1; shift; exec \"$@\" >\"$out\" 2>&1 </dev/null";
    let mut arguments: Vec<OsString> = vec!["-c".into(), script.into(), "sh".into(), file.into()];
    arguments.extend(command);
    let ended = run_in_foreground("/bin/sh".as_ref(), &arguments);
    match ended.map_err(|error| CliError::failed(format!("the self-test can't be run: {error}")))? {
        Ended::Code(0) => Ok(()),
        other => {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            Err(CliError::failed(format!(
                "a trial of the self-test failed ({other:?}): {}",
                last.join(" / ")
            )))
        }
    }
}

fn battery(
    folder: &Path,
    python: &OsString,
    aegis: &Path,
    found: &Enforcement,
) -> Result<(usize, Vec<String>), CliError> {
    let (home, results) = (folder.join("home"), folder.join("results.json"));
    let mut command: Vec<OsString> =
        vec![python.clone(), folder.join("programs/battery.py").into(), "run".into()];
    for (option, value) in [
        ("--work", folder.join("work")),
        ("--forbidden", folder.join("forbidden")),
        ("--state", home.clone()),
        ("--json", results.clone()),
    ] {
        command.extend([option.into(), value.into_os_string()]);
    }
    command.extend(["--".into(), aegis.into(), "--home".into(), home.into_os_string()]);
    command.extend(["run", "--quiet", "--config", "battery", "--"].map(OsString::from));
    run_into(&folder.join("battery.log"), command)?;
    let text = std::fs::read_to_string(&results)
        .map_err(|error| CliError::failed(format!("the battery left no results: {error}")))?;
    let rows: Vec<Row> = serde_json::from_str(&text)
        .map_err(|error| CliError::failed(format!("the battery's results can't be read: {error}")))?;
    let is_right = |row: &Row| {
        let known = PERMITTED.contains(&row.name.as_str())
            || (found.namespaces.is_err() && SEEN.contains(&row.name.as_str()))
            || (found.bound == Bound::None && row.name == UNBOUND);
        match row.verdict.as_str() {
            // It could not be tried here.
            "ERROR" => row.detail.starts_with("n/a"),
            "ALLOWED" => row.group == "sanity" || known,
            _ => row.group != "sanity",
        }
    };
    let tried = rows.iter().filter(|row| row.verdict != "ERROR").count();
    let open = rows.iter().filter(|row| !is_right(row));
    Ok((tried, open.map(|row| format!("{} {} {}", row.name, row.verdict, row.detail)).collect()))
}

fn truth(
    folder: &Path,
    python: &OsString,
    aegis: &Path,
    home: &Home,
) -> Result<(usize, Vec<String>), CliError> {
    let work = folder.join("truth");
    // Where the agent can read it.
    let program = work.join("truth.py");
    let (_, text) = PROGRAMS.iter().find(|(name, _)| *name == "truth.py").copied().unwrap_or(("", ""));
    write(&program, text)?;
    let told = folder.join("truth.log");
    let mut command: Vec<OsString> = vec![aegis.into(), "--home".into(), home.root().into()];
    command.extend(["run", "--quiet", "--config", "truth", "--"].map(OsString::from));
    command.extend([python.clone(), program.into(), work.into(), ROUNDS.to_string().into()]);
    run_into(&told, command)?;
    let text = std::fs::read_to_string(&told).unwrap_or_default();
    let acts: Vec<Told> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut recorded: HashMap<(String, String), Vec<&'static str>> = HashMap::new();
    let name = aegis_types::AgentName::new("truth").map_err(|error| CliError::failed(error.to_string()))?;
    let ledger = Ledger::open_to_read(&home.configuration(&name)?.ledger)?;
    ledger.each(&Filter::default(), |row| {
        if let What::Action(act) = row.event.what {
            let path = match &act.resource {
                Resource::Path(path) => path.to_string_lossy().into_owned(),
                Resource::Program(program) => program.exe.to_string_lossy().into_owned(),
                _ => return ControlFlow::Continue(()),
            };
            recorded.entry((act.action.word().to_owned(), path)).or_default().push(act.outcome.word());
        }
        ControlFlow::Continue(())
    })?;
    let is_right = |told: &Told| {
        let path = std::fs::canonicalize(&told.path)
            .ok()
            .filter(|_| told.action == "ProcessSpawn")
            .map_or(told.path.clone(), |path| path.to_string_lossy().into_owned());
        let outcome = if told.outcome == "ENOENT" { "missing" } else { &told.outcome };
        recorded.get(&(told.action.clone(), path)).is_some_and(|outcomes| {
            // How the kernel executed a program is known by evidence.
            outcomes.contains(&outcome) || (told.action == "ProcessSpawn" && outcomes.contains(&"unknown"))
        })
    };
    let wrong = acts.iter().filter(|told| !is_right(told));
    let wrong: Vec<String> =
        wrong.map(|told| format!("{} {}: {}", told.action, told.path, told.outcome)).collect();
    if acts.is_empty() {
        return Err(CliError::failed("the self-test did nothing that could be compared"));
    }
    Ok((acts.len(), wrong))
}
