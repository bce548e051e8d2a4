//! A program that does many things an agent might do, and writes down exactly what it did.
//!
//! `ground-truth ROOT OUT [--ops N] [--processes P]` starts P workers (8) which together perform N operations
//! (10,000) below the empty directory ROOT: files by every way the kernel has to name one, directories,
//! programs, connections, sockets, processes that end in several ways. Chance is seeded: every run does the
//! same. After the work each worker writes `OUT/truth.N.jsonl` and the first process `OUT/truth.main.jsonl`;
//! their lines are `aegis_harness::truth::TruthLine`, which `aegis_harness::truth::compare` holds against what
//! Aegis recorded. OUT lies outside ROOT, so that writing it is no part of the truth.
//!
//! Read `worker.rs` first (the table of operations), then `files.rs`, `processes.rs`, `sockets.rs`.
//!
//! Left out of the truth, because no comparison should hang on it: what happens outside ROOT before and after
//! the work (loading of libraries, `/bin/true`, OUT), opens with `O_PATH`, and the end of the first process,
//! which can't tell it. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod dice;
mod files;
mod log;
mod main_process;
mod metadata;
mod names;
mod processes;
mod raw;
mod sockets;
mod worker;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use main_process::Plan;

const USAGE: &str = "usage: ground-truth ROOT OUT [--ops N] [--processes P]";

/// The hidden subcommands: what the program is when it executes itself.
const WORKER: &str = "@worker";
const END: &str = "@end";
const FOSTER: &str = "@foster";
const ORPHAN: &str = "@orphan";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            let usage = error.kind() == io::ErrorKind::InvalidInput;
            writeln!(io::stderr(), "ground-truth: {error}").ok();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn run(arguments: &[OsString]) -> io::Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect();
    match (words.as_slice(), arguments) {
        ([WORKER, index, ops, processes, ..], [_, _, _, _, root, out]) => {
            let plan = Plan::new(root.into(), out.into(), number(ops)?, number(processes)?);
            worker::run(&plan, number(index)?).map(|()| ExitCode::SUCCESS)
        }
        ([END, how], _) => processes::end(how),
        ([FOSTER, how], _) => processes::foster(how).map(|()| ExitCode::SUCCESS),
        ([ORPHAN, how], _) => processes::orphan(how),
        _ => main_process::run(&parse(arguments)?).map(|()| ExitCode::SUCCESS),
    }
}

fn parse(arguments: &[OsString]) -> io::Result<Plan> {
    let (mut places, mut ops, mut processes) = (Vec::new(), 10_000, 8);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = argument.to_str().unwrap_or_default();
        let (option, joined) =
            text.split_once('=').map_or((text, None), |(option, value)| (option, Some(value)));
        let mut value = || joined.or_else(|| rest.next().and_then(|value| value.to_str())).ok_or_else(usage);
        match option {
            "--ops" => ops = number(value()?)?,
            "--processes" => processes = number(value()?)?,
            _ if option.starts_with("--") => return Err(usage()),
            _ => places.push(PathBuf::from(argument)),
        }
    }
    let [root, out] = <[PathBuf; 2]>::try_from(places).map_err(|_| usage())?;
    if processes == 0 {
        return Err(usage());
    }
    Ok(Plan::new(root, out, ops, processes))
}

fn number(text: &str) -> io::Result<u32> {
    text.parse().map_err(|_| usage())
}

fn usage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, USAGE)
}
