//! A program that does to a tree of files what it is told, and tells what came of it.
//!
//! `operate ROOT` reads steps (`aegis_harness::operations`), a line each, from standard input and prints a
//! report of each. Before each step it opens `/step/N`, which is not there, so that whoever observes it can
//! tell the steps apart. It makes no other call that names a file but with `O_PATH`.
//!
//! `operate ROOT FOLDER PLACE...` does so in a view of the folder in which these places are there and no others.
//!
//! Exit codes: 0 done, 1 it can't read or print, 2 wrong usage.

mod acts;
mod raw;
mod view;

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use aegis_harness::operations::Step;
use rustix::fs::{Mode, OFlags};

use acts::Actor;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(root) = arguments.next() else {
        writeln!(io::stderr(), "usage: operate ROOT [FOLDER PLACE...]").ok();
        return ExitCode::from(2);
    };
    let seen = match arguments.next() {
        Some(folder) => view::enter(folder.as_ref(), &arguments.map(PathBuf::from).collect::<Vec<_>>()),
        None => Ok(()),
    };
    match seen.and_then(|()| operate(root)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "operate: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn operate(root: String) -> io::Result<()> {
    let mut actor = Actor::new(root);
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let step: Step = serde_json::from_str(&line?)?;
        // It is not there.
        drop(rustix::fs::open(format!("/step/{number}"), OFlags::CLOEXEC, Mode::empty()));
        let report = actor.act(&step);
        let mut out = io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        out.flush()?;
    }
    Ok(())
}
