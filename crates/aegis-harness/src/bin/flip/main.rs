//! A program that tries to have a supervisor decide about one path and act on another.
//!
//! `flip KIND TARGET WORK FORBIDDEN TRIES` calls TARGET that often on a path which other means flip meanwhile,
//! as fast as they can, between the directories WORK, which it may use, and FORBIDDEN, which it may not. KIND
//! says what flips. The words are those of `aegis_harness::race`, which says what they mean.
//!
//! WORK must exist; its files are made here, under names that must be free. FORBIDDEN is what
//! `aegis_harness::race::prepare_forbidden` makes; whoever starts this program prepares it, and looks at it
//! afterwards from outside (`Snapshot`). Both are absolute. For `bytes` they are of one length and no mixture
//! of them exists; best they differ in one byte, as `/tmp/x/work` and `/tmp/x/fork`: mixtures cost tries.
//!
//! The flips of `directory`, `symlink` and `rename` are calls of this program too, within WORK. `cwd` needs
//! that FORBIDDEN can be changed to, `descriptor` that it can be opened with `O_PATH`: neither gives access to
//! anything in it.
//!
//! Prints an `aegis_harness::race::Report` as one line of JSON. What is counted as an escape is what can be
//! told from inside, which for `chown` is nothing. Exit codes: 0 done, 1 a prerequisite failed (the call does
//! not succeed even without flips, or nothing flipped), 2 wrong usage, 3 escaped.
//!
//! Read `scene.rs` first, then `attempt.rs`.

mod attempt;
mod raw;
mod scene;
mod tally;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use aegis_harness::race::{Kind, Report, Target};

use attempt::Attempt;
use scene::{Motion, Scene};
use tally::Tally;

const USAGE: &str = "usage: flip KIND TARGET WORK FORBIDDEN TRIES";

/// How many flips may fail before the first that succeeds.
const PATIENCE: u64 = 1000;

/// What is asked for.
#[derive(Debug)]
struct Plan {
    kind: Kind,
    target: Target,
    work: PathBuf,
    forbidden: PathBuf,
    tries: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let plan = match parse(&arguments) {
        Ok(plan) => plan,
        Err(what) => {
            writeln!(io::stderr(), "flip: {what}").ok();
            return ExitCode::from(2);
        }
    };
    match race(&plan).and_then(|report| print(&report).map(|()| report)) {
        Ok(report) => ExitCode::from(if report.escapes > 0 { 3 } else { 0 }),
        Err(error) => {
            writeln!(io::stderr(), "flip: {} {} can't be raced here: {error}", plan.kind, plan.target).ok();
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<Plan, &'static str> {
    let [kind, target, work, forbidden, tries] = arguments else { return Err(USAGE) };
    let text = |argument: &OsString| argument.to_str().unwrap_or_default().to_owned();
    let kind: Kind = text(kind).parse().map_err(|_| "no such KIND")?;
    let target: Target = text(target).parse().map_err(|_| "no such TARGET")?;
    let tries = text(tries).parse().map_err(|_| USAGE)?;
    let plan = Plan { kind, target, work: work.into(), forbidden: forbidden.into(), tries };
    if !kind.can_race(target) {
        return Err("this TARGET never follows a link in the last component");
    }
    if !(plan.work.is_absolute() && plan.forbidden.is_absolute() && work != forbidden) {
        return Err("WORK and FORBIDDEN must be two absolute paths");
    }
    if kind == Kind::Bytes && work.len() != forbidden.len() {
        return Err("WORK and FORBIDDEN must be of one length");
    }
    Ok(plan)
}

fn print(report: &Report) -> io::Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string(report)?)
}

/// What the threads of a race tell each other.
#[derive(Debug, Default)]
struct State {
    turn: AtomicUsize,
    flips: AtomicU64,
    failures: AtomicU64,
    stop: AtomicBool,
}

fn race(plan: &Plan) -> io::Result<Report> {
    let (scene, mut motion) = Scene::prepare(plan)?;
    Attempt::new(plan, &scene, 0).run()?;
    let (state, mut tally) = (State::default(), Tally::default());
    let failure = thread::scope(|scope| {
        let flipper = scope.spawn(|| flip(&mut motion, &scene, &state));
        while state.flips.load(Ordering::Relaxed) == 0 && state.failures.load(Ordering::Relaxed) < PATIENCE {
            thread::yield_now();
        }
        if state.flips.load(Ordering::Relaxed) > 0 {
            for turn in 0..plan.tries {
                state.turn.store(turn, Ordering::Relaxed);
                tally.count(Attempt::new(plan, &scene, turn).run());
            }
        }
        state.stop.store(true, Ordering::Relaxed);
        flipper.join().unwrap_or_else(|_| Some(io::Error::other("the flipping thread panicked")))
    });
    match (state.flips.into_inner(), failure) {
        (0, failure) => Err(failure.unwrap_or_else(|| io::Error::other("nothing flipped"))),
        (flips, _) => Ok(tally.report(plan, flips)),
    }
}

/// Flips until it is told to stop, and returns the last failure.
fn flip(motion: &mut Motion, scene: &Scene, state: &State) -> Option<io::Error> {
    let (mut there, mut failure) = (true, None);
    while !state.stop.load(Ordering::Relaxed) {
        match motion.flip(scene, there, state.turn.load(Ordering::Relaxed)) {
            Ok(()) => state.flips.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                failure = Some(error);
                state.failures.fetch_add(1, Ordering::Relaxed)
            }
        };
        there = !there;
    }
    failure
}
