//! Random policies and operations, on the real kernel: what happens is what Cedar says, for every operation.
//!
//! A tree of files is made twice. In one, a program does what it is told under `aegis run`, with policies that were
//! made at random. In the other, its twin, nothing is denied: there the same program does those operations that the
//! policies allow, and only those. Each operation must come to the same in both, or be refused; nothing that is
//! refused may change anything, so that at the end both trees are the same; and the ledger must say so.
//!
//! Half of the sets let the agent see everything. Where it sees the places that its policies name and no others, the
//! program in the twin sees those of the twin, which are mounts as well ([`view`]).
//!
//! What an operation asks for is foretold by [`oracle`], from the documents; what the policies say of it by Cedar
//! itself, with the whole set ([`cedar`]). What Landlock refuses beyond that is foretold by [`kernel`].
//!
//! A failure prints the seed of its case: `AEGIS_TEST_SEED` at build time begins with that.

mod cedar;
mod kernel;
mod oracle;
mod policies;
mod steps;
mod tree;
mod view;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use aegis_harness::operations::{Base, Call, Change, Node, Report, Spot, Step};
use aegis_policy::{Engine, Origin, Policies, SandboxPlan, Source, Subject};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use self::cedar::Cedar;
use self::kernel::Kernel;
use self::oracle::{Course, Oracle, Part, Roots, Twin, own_proc};
use self::steps::open_flags;
use self::tree::{Tree, masked, snapshot};
use crate::support::{Who, World, everybody, text, until};

/// How many sets each user tries; `AEGIS_TEST_CASES` at build time asks for more.
const CASES: &str = match option_env!("AEGIS_TEST_CASES") {
    Some(cases) => cases,
    None => "20",
};

/// The seed of the first.
const SEED: &str = match option_env!("AEGIS_TEST_SEED") {
    Some(seed) => seed,
    None => "1",
};

/// How many operations a set is tried on, on the average.
const STEPS: usize = 60;

/// How many sessions one ledger takes: reading it takes longer the longer it is.
const SESSIONS: u64 = 25;

/// How often a case that fails is tried with less in it.
const TRIALS: usize = 150;

/// What is counted where the ledger did not hear of an outcome in time.
const LATE: &str = "outcome told late";

/// A case.
type Case = (Tree, Vec<String>, Vec<Step>);

/// What was tried, by what came of it.
type Tally = BTreeMap<String, u64>;

#[test]
fn what_happens_is_what_cedar_says_as_me() {
    try_all(Who::Me);
}

#[test]
fn what_happens_is_what_cedar_says_as_an_ordinary_user() {
    if everybody().contains(&Who::Nobody) {
        try_all(Who::Nobody);
    }
}

fn step(call: Call) -> Step {
    Step { cwd: String::new(), umask: 0o22, call }
}

fn at(text: &str) -> Spot {
    Spot { base: Base::Cwd, text: text.to_owned() }
}

/// What is kept as the first.
fn held(text: &str) -> Spot {
    Spot { base: Base::Kept(0), text: text.to_owned() }
}

/// The first that is kept, by its link in `/proc`.
const LINK: &str = "/proc/self/fd/{fd}";

fn open(at: Spot, flags: i32) -> Step {
    step(Call::Open { at, flags, mode: 0, resolve: None, keep: None, old: false })
}

/// Opens something only to name it, and keeps that as the first.
fn hold(path: &str) -> Step {
    let call = Call::Open {
        at: at(path),
        flags: open_flags::PATH,
        mode: 0,
        resolve: None,
        keep: Some(0),
        old: false,
    };
    step(call)
}

fn remove(path: &str, directory: bool) -> Step {
    step(Call::Remove { at: at(path), directory, old: false })
}

fn rename(from: &str, to: &str) -> Step {
    step(Call::Rename { from: at(from), to: at(to), flags: 0 })
}

fn make_directory(path: &str) -> Step {
    step(Call::MakeDirectory { at: at(path), mode: 0o755 })
}

/// Tries steps as everybody, on a tree of a key and something beside it; returns how often these things came of them.
fn try_steps<const N: usize>(policies: &[&str], steps: &[Step], of: [&str; N]) -> [u64; N] {
    let mut told = Vec::new();
    for who in everybody() {
        let policies = policies.iter().map(|text| (*text).to_owned()).collect();
        let tree = Tree::of(&["a/", "a/k.pem", "b/", "b/g"]);
        let tally = Stage::new(who).trial(&(tree, policies, steps.to_vec())).unwrap();
        told.push(of.map(|what| tally.get(what).copied().unwrap_or_default()));
    }
    let all = told.pop().unwrap();
    assert!(told.iter().all(|other| *other == all), "{told:?} and {all:?}");
    all
}

/// Permits everything in the tree.
const ALL: &str = "permit (principal, action, resource in Aegis::Resource::\"{root}\");";

/// Forbids to read and to execute keys.
const NO_KEYS: &str = "forbid (principal, action in [Aegis::Action::\"Read\", Aegis::Action::\"Process\"], resource) \
                       when { resource has extension && resource.extension == \"pem\" };";

#[test]
fn a_file_that_has_lost_its_name_is_decided_on_by_it() {
    let steps = [
        hold("a/k.pem"),
        open(held(LINK), open_flags::RDONLY),
        remove("a/k.pem", false),
        open(held(LINK), open_flags::RDONLY),
        open(held(LINK), open_flags::RDWR),
        open(held(LINK), open_flags::WRONLY),
        step(Call::Execute { at: held(LINK) }),
    ];
    assert_eq!(try_steps(&[ALL, NO_KEYS], &steps, ["denied"]), [4]);
}

#[test]
fn a_file_that_cannot_be_looked_up_is_decided_on_by_its_name() {
    let close = step(Call::Change { at: at("a"), change: Change::Mode(0), follow: true });
    let steps = [hold("a/k.pem"), close, open(held(LINK), open_flags::RDONLY)];
    assert_eq!(try_steps(&[ALL, NO_KEYS], &steps, ["denied"]), [1]);
}

#[test]
fn a_directory_stays_that_has_what_a_pattern_means() {
    let no_keys = "forbid (principal, action in Aegis::Action::\"Read\", resource) when \
                   { resource has path && resource.path like \"{root}/a/k*\" };";
    let steps = [rename("a", "n"), open(at("n/k.pem"), open_flags::RDONLY)];
    assert_eq!(try_steps(&[ALL, no_keys], &steps, ["pinned", "absent"]), [1, 1]);
}

#[test]
fn calls_fail_as_the_kernel_lets_them() {
    use open_flags::{CREAT, DIRECTORY, RDONLY, WRONLY};
    let link = |from: &str, to: &str| step(Call::Link { from: at(from), to: at(to), follow: false });
    let steps = [
        // Nobody reads from it.
        step(Call::MakeNode { at: at("a/q"), node: Node::Fifo, mode: 0o644 }),
        open(at("a/q"), WRONLY),
        // A descriptor that only names a file.
        hold("a/k.pem"),
        step(Call::ChangeKept { kept: 0, change: Change::Times(7) }),
        step(Call::ChangeKept { kept: 0, change: Change::Mode(0o600) }),
        // Files are no directories, and nothing is made in what is not there.
        open(at("/proc/self/cwd/a/k.pem/"), RDONLY),
        open(at("/proc/self/cwd/a/k.pem/."), RDONLY),
        open(at("/proc/self/cwd/a/k.pem/x"), RDONLY),
        open(at("/proc/self/cwd/a/new/."), CREAT | WRONLY),
        open(at("a/new/"), CREAT | WRONLY),
        open(at("a/new"), DIRECTORY),
        // A link with something behind it is followed.
        step(Call::Symlink { target: "../b".into(), at: at("a/l") }),
        step(Call::Watch { at: at("/proc/self/cwd/a/l/."), follow: false }),
        // Names that are none, and directories that have no other name.
        rename("a/..", "n"),
        rename("none", "b/."),
        link("a", "b/g"),
        link("a", "b/new/"),
        // What is in a directory that is gone.
        make_directory("a/d"),
        hold("a/d"),
        remove("a/d", true),
        open(held("x"), RDONLY),
        open(held("x"), CREAT | WRONLY),
        open(held(&format!("{LINK}/x")), CREAT | WRONLY),
        // Through a link that leads nowhere, under a rule of openat2(2).
        step(Call::Symlink { target: "../b/made".into(), at: at("a/m") }),
        step(Call::Open {
            at: at("a/m"),
            flags: CREAT | WRONLY,
            mode: 0o644,
            resolve: Some(2),
            keep: None,
            old: false,
        }),
        // A socket's own path is known when it is listened on.
        step(Call::Bind { at: at("a/s") }),
        // A directory that can't be searched has no `.` either.
        step(Call::Change { at: at("b"), change: Change::Mode(0o644), follow: true }),
        open(at("/proc/self/cwd/b/./"), DIRECTORY),
        make_directory("/proc/self/cwd/b/./n"),
        open(at("b/n/"), CREAT | WRONLY),
    ];
    try_steps(&[ALL], &steps, []);
}

#[test]
fn what_is_not_there_is_missing_and_what_is_hidden_is_denied() {
    let in_a = ALL.replace("{root}", "{root}/a");
    let steps = [
        rename("a/none", "b/g"),
        rename("b/none", "a/k.pem"),
        open(at("b/g"), open_flags::RDONLY),
        step(Call::Execute { at: at("b/g") }),
        step(Call::Execute { at: at("b/none") }),
    ];
    let count = |policies: &[&str]| try_steps(policies, &steps, ["absent", "hidden", "denied"]);
    assert_eq!(count(&[&in_a, policies::ALL_SEEN]), [3, 0, 2]);
    // There, not even the directory is seen.
    assert_eq!(count(&[&in_a]), [1, 2, 0]);
}

fn try_all(who: Who) {
    let (cases, seed): (u64, u64) = (CASES.parse().unwrap(), SEED.parse().unwrap());
    let stage = Stage::new(who);
    let mut tally = Tally::new();
    for number in seed..seed + cases {
        stage.try_one(number, &mut tally);
    }
    // Figures, for whoever asked for a long run.
    let mut out = std::io::stdout();
    writeln!(out, "{who:?}: {cases} sets from {seed} on: {tally:?}").unwrap();
    let count = |what: &str| tally.get(what).copied().unwrap_or_default();
    assert!(count("done") > cases && count("denied") > cases, "{tally:?}");
    assert!(count(LATE) * 20 <= count("done"), "{tally:?}");
}

/// Where everything happens.
struct Stage {
    world: World,
    who: Who,
    roots: Roots,
    /// How many there have been.
    sessions: Cell<u64>,
}

impl Stage {
    fn new(who: Who) -> Self {
        let world = World::new(who);
        // Below some directories, since paths may lead out of the tree.
        let [outer, twin] = ["work", "twin"].map(|name| world.path(name));
        let twin_root = twin.join("1/2/t").to_str().unwrap().to_owned();
        Self { roots: Roots { outer, twin, twin_root }, world, who, sessions: Cell::new(0) }
    }

    fn try_one(&self, seed: u64, tally: &mut Tally) {
        let config = Config { failure_persistence: None, ..Config::default() };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let strategy = (tree::tree(), policies::policies(), steps::steps(2 * STEPS));
        let case = strategy.new_tree(&mut runner).unwrap().current();
        match self.trial(&case) {
            Ok(trial) => {
                for (what, count) in trial {
                    *tally.entry(what).or_default() += count;
                }
            }
            Err(why) => {
                let ((tree, policies, steps), why) = self.shrink(case, why);
                let steps: Vec<String> =
                    steps.iter().map(|step| serde_json::to_string(step).unwrap()).collect();
                let (policies, steps) = (policies.join("\n"), steps.join("\n"));
                panic!("seed {seed}, as {:?}: {why}\n\n{policies}\n\n{steps}\n\n{tree:?}", self.who);
            }
        }
    }

    /// Leaves out what the failure does not need.
    fn shrink(&self, mut case: Case, mut why: String) -> (Case, String) {
        let mut left = TRIALS;
        for of_steps in [true, false, true] {
            let count = |case: &Case| if of_steps { case.2.len() } else { case.1.len() };
            let mut size = count(&case).div_ceil(2).max(1);
            loop {
                let mut at = 0;
                while at < count(&case) && left > 0 {
                    left -= 1;
                    let mut less = case.clone();
                    let end = count(&case).min(at + size);
                    if of_steps {
                        less.2.drain(at..end);
                    } else {
                        less.1.drain(at..end);
                    }
                    match self.trial(&less) {
                        Err(other) => (case, why) = (less, other),
                        Ok(_) => at += size,
                    }
                }
                if size == 1 || left == 0 {
                    break;
                }
                size = size.div_ceil(2);
            }
        }
        (case, why)
    }

    /// Tries one case.
    fn trial(&self, (tree, policies, steps): &Case) -> Result<Tally, String> {
        let Roots { outer, twin, twin_root } = &self.roots;
        let operate = self.world.path("bin/operate").to_str().unwrap().to_owned();
        let root = outer.join("1/2/t").to_str().unwrap().to_owned();
        let sessions = self.sessions.get();
        self.sessions.set(sessions + 1);
        if sessions.is_multiple_of(SESSIONS) {
            drop(std::fs::remove_dir_all(self.world.home()));
        }
        let policies = [&[policies::BASE.to_owned()], policies.as_slice()].concat().join("\n");
        let policies = policies.replace("{root}", &root).replace("{operate}", &operate);
        let policies = policies.replace("{outer}", outer.to_str().unwrap());
        let owner = (self.who == Who::Nobody).then_some(crate::support::NOBODY);
        for (outer, root) in [(outer, &root), (twin, twin_root)] {
            drop(std::fs::remove_dir_all(outer));
            for folder in [outer.to_owned(), outer.join("1"), outer.join("1/2"), PathBuf::from(root)] {
                std::fs::create_dir(&folder).unwrap();
                std::os::unix::fs::chown(&folder, owner, owner).unwrap();
            }
            tree.make(root.as_ref(), owner);
        }
        let plan = plan(&policies);
        let kernel = Kernel::new(&plan, outer, twin);
        let places = view::places(&plan, &self.roots);
        let happened = self.run(&policies, &root, &operate, steps)?;
        let mut cedar = Cedar::new(&policies, &operate);
        let operate = |places: Option<&[PathBuf]>| {
            let mut command = self.world.command(&operate);
            command.arg(twin_root).stderr(Stdio::inherit());
            if let Some(places) = places {
                command.arg(twin).args(places);
            }
            Twin::new(command)
        };
        let mut twin_program = operate(places.as_deref());
        let mut outside = places.map(|_| operate(None));
        let mut oracle = Oracle {
            roots: &self.roots,
            twin: &mut twin_program,
            outside: outside.as_mut(),
            cedar: &mut cedar,
            kernel: &kernel,
            plan: &plan,
        };
        let (mut tally, mut folds) = (Tally::new(), Folds::default());
        for (number, (step, (report, entries))) in steps.iter().zip(&happened).enumerate() {
            let judged = judge(&mut oracle, step, report, entries, &root, &mut folds);
            let (what, late) = judged.map_err(|why| {
                format!(
                    "step {number}: {}: {why}\nit came to {report:?} with {:#?}",
                    serde_json::to_string(step).unwrap(),
                    entries.iter().map(brief).collect::<Vec<_>>()
                )
            })?;
            *tally.entry(what).or_default() += 1;
            if late {
                *tally.entry(LATE.into()).or_default() += 1;
            }
        }
        let is = snapshot(outer, root.as_ref());
        let should = snapshot(twin, twin_root.as_ref());
        let differ: Vec<_> = is
            .iter()
            .chain(&should)
            .filter(|(path, _)| is.get(*path) != should.get(*path))
            .map(|(path, _)| format!("{path}: is {:?}, should be {:?}", is.get(path), should.get(path)))
            .collect();
        if differ.is_empty() { Ok(tally) } else { Err(format!("the trees differ: {differ:#?}")) }
    }

    /// Lets the program do the steps under the policies; returns for each what it told, and what the ledger says.
    fn run(
        &self,
        policies: &str,
        root: &str,
        operate: &str,
        steps: &[Step],
    ) -> Result<Vec<(Report, Vec<Value>)>, String> {
        let (file, input) = (self.world.path("set.cedar"), self.world.path("steps"));
        std::fs::write(&file, policies).unwrap();
        let lines: Vec<String> = steps.iter().map(|step| serde_json::to_string(step).unwrap()).collect();
        std::fs::write(&input, lines.join("\n")).unwrap();
        let file = file.to_str().unwrap();
        let mut command =
            self.world.aegis(&["run", "--config", "x", "--policy", file, "--quiet", "--", operate, root]);
        command.current_dir(&self.roots.outer).stdin(std::fs::File::open(&input).unwrap());
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(text(&output));
        }
        let told = String::from_utf8(output.stdout.clone()).unwrap();
        let reports: Vec<Report> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(reports.len(), steps.len(), "{}", text(&output));
        let mut entries = Vec::new();
        let place = |entries: &[Value], kind| entries.iter().rposition(|entry| entry["kind"] == kind);
        // `aegis run` may end before the session does.
        until("the session ends", || {
            entries = self.world.entries("x");
            place(&entries, "session_end") > place(&entries, "session_start")
        });
        let start = place(&entries, "session_start").unwrap();
        let mut by_step: Vec<Vec<Value>> = Vec::new();
        for entry in &entries[start..] {
            let path = entry["resource"]["path"].as_str().unwrap_or_default();
            if path.starts_with("/step/") {
                by_step.push(Vec::new());
            } else if let Some(last) = by_step.last_mut()
                && entry["kind"] == "action"
                && entry["call"] != "exit"
            {
                last.push(entry.clone());
            }
        }
        if by_step.len() != steps.len() {
            return Err(format!("the ledger has {} of {} steps", by_step.len(), steps.len()));
        }
        Ok(reports.into_iter().zip(by_step).collect())
    }
}

fn plan(policies: &str) -> SandboxPlan {
    let source =
        Source { origin: Origin::Configuration, path: "set.cedar".into(), text: policies.to_owned() };
    let policies = Policies::parse(vec![source]).unwrap_or_else(|problems| panic!("{problems:?}"));
    let subject = Subject {
        agent: aegis_types::AgentName::new("x").unwrap(),
        session: "s".into(),
        mode: "run".into(),
        tmp: None,
        tmp_is_shared: false,
        reserved: Default::default(),
    };
    SandboxPlan::of(&Engine::new(Arc::new(policies), subject).unwrap())
}

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EXDEV: i32 = 18;
const EROFS: i32 = 30;

/// What the ledger should say of a part.
struct Expected {
    part: Part,
    decision: Option<&'static str>,
    outcome: String,
}

/// Judges what came of a step, and keeps the twin in step. Returns a word for it, and whether the ledger was late.
fn judge(
    oracle: &mut Oracle<'_>,
    step: &Step,
    report: &Report,
    entries: &[Value],
    root: &str,
    folds: &mut Folds,
) -> Result<(String, bool), String> {
    let courses = if report.lost { Vec::new() } else { oracle.foretell(step) };
    let mut expected: Vec<Expected> = Vec::new();
    let mut word = "free";
    let mut denied = false;
    let mut copied = false;
    let mut needs = Vec::new();
    let mut courses = courses.into_iter().peekable();
    while let Some(course) = courses.next() {
        match course {
            Course::Free => {}
            Course::Refused(errno) => {
                return match (report.errno, entries) {
                    (Some(is), []) if is == errno => Ok(("refused".into(), false)),
                    _ => Err(format!("it should be refused with {errno}")),
                };
            }
            Course::Unlike => {
                let plain = oracle.twin.act(step);
                return match (report.errno, plain.errno) {
                    (Some(_), Some(_)) => Ok(("unlike".into(), false)),
                    _ => Err(format!("it should come to {plain:?}")),
                };
            }
            Course::FailsSomehow { part, decision } => {
                word = "failed somehow";
                expected.push(Expected { part, decision, outcome: failed(report) });
                break;
            }
            Course::Fails(part) => {
                word = "failed";
                expected.push(Expected { part, decision: Some("observed"), outcome: failed(report) });
                break;
            }
            Course::Absent(parts) => {
                let allowed: Vec<Option<bool>> = parts.iter().map(|part| oracle.allows(part)).collect();
                denied = allowed.contains(&Some(false)) && parts.iter().any(|part| oracle.hides(part));
                // What is there and not to be seen is denied as it would be.
                word = if denied { "hidden" } else { "absent" };
                let outcome = if denied { "EACCES" } else { "missing" };
                for (part, allowed) in parts.into_iter().zip(allowed) {
                    let decision = allowed.map(decided);
                    expected.push(Expected { part, decision, outcome: outcome.into() });
                }
                break;
            }
            Course::Asks { parts, needs: more, renamed } => {
                word = "done";
                let allowed: Vec<bool> =
                    parts.iter().map(|part| oracle.allows(part).unwrap_or(false)).collect();
                let pinned = renamed.as_ref().is_some_and(|renamed| oracle.pins(renamed));
                denied = pinned || allowed.contains(&false);
                if let Some(renamed) = renamed.filter(|_| !denied) {
                    if report.errno.is_none() {
                        let loosened = oracle.loosened(&renamed.names);
                        if !loosened.is_empty() {
                            return Err(format!(
                                "what was denied is allowed where it was moved to: {loosened:#?}"
                            ));
                        }
                    }
                    copied = oracle.copies(&renamed);
                }
                needs.extend(more);
                // The first of two calls comes to nothing by the second.
                let first = courses.peek().is_some() && entries.len() > parts.len();
                let outcome = match (denied, first) {
                    (true, _) => "EACCES".into(),
                    (_, true) => "ok".into(),
                    _ => failed(report),
                };
                for (part, allowed) in parts.into_iter().zip(allowed) {
                    let decision = Some(decided(allowed && !pinned));
                    expected.push(Expected { part, decision, outcome: outcome.clone() });
                }
                if denied {
                    word = if pinned && !expected.iter().any(|e| e.decision == Some("allow")) {
                        "pinned"
                    } else {
                        "denied"
                    };
                    break;
                }
                if !first && report.errno.is_some() {
                    break;
                }
            }
        }
    }
    if denied {
        if report.lost || report.errno != Some(EACCES) {
            return Err("it is denied, and must fail with EACCES".into());
        }
    } else if copied {
        // As the documents say: what is moved is decided on one by one.
        word = "copied";
        if report.errno != Some(EXDEV) {
            return Err("it must fail with EXDEV".into());
        }
    } else if matches!(report.errno, Some(EACCES | EXDEV)) && oracle.kernel.lacks(&needs) {
        // Stricter than Cedar, as the documents say.
        let late = told(entries, &expected)?;
        if let Call::Open { at, flags, mode, resolve, old, .. } = &step.call
            && flags & open_flags::CREAT != 0
            && oracle.kernel.makes(&needs)
        {
            // It is made, and then not opened.
            let flags = flags & (open_flags::CREAT | open_flags::NOFOLLOW | open_flags::EXCL);
            let (at, keep) = (at.clone(), None);
            let call = Call::Open { at, flags, mode: *mode, resolve: *resolve, keep, old: *old };
            oracle.twin.act(&Step { call, ..step.clone() });
        }
        let kind = kind_of(step);
        return Ok((format!("stricter: {kind} {}", failed(report)), late));
    } else {
        let mut plain = oracle.twin.act(step);
        if word == "absent" && matches!(plain.errno, Some(EROFS | EXDEV)) {
            // What is not there is missing, on other mounts and read-only ones as well.
            plain.errno = Some(ENOENT);
        }
        let same = |report: &Report, root: &str| Report {
            text: report.text.as_ref().map(|text| masked(text, root)),
            ..report.clone()
        };
        let (is, mut should) = (same(report, root), same(&plain, &oracle.roots.twin_root));
        let may_differ = word == "failed somehow" || expected.iter().any(changes_proc);
        if may_differ && is.errno.is_some() && should.errno.is_some() {
            should.errno = is.errno;
        }
        if is != should {
            return Err(format!("it should come to {should:?}"));
        }
        if word == "done" && report.errno.is_some() {
            word = "failed by itself";
        }
    }
    expected.retain(|expected| !folds.counts(expected));
    Ok((word.to_owned(), told(entries, &expected)?))
}

/// Says whether a name in `/proc` would be changed: whose folder it is says with which error that fails, and who executes
/// the call is not the program.
fn changes_proc(expected: &Expected) -> bool {
    let reads = ["FileRead", "DirList", "ProcessSpawn"].contains(&expected.part.action);
    !reads && expected.part.resource.as_ref().is_some_and(|path| path.starts_with("/proc/self"))
}

/// The reads of the program's own folder in `/proc` of which there is an entry: the first of each directory and kind.
#[derive(Default)]
struct Folds(HashSet<(PathBuf, &'static str)>);

impl Folds {
    /// Says whether something is only counted, and has no entry.
    fn counts(&mut self, expected: &Expected) -> bool {
        let Part { action, resource: Some(path), .. } = &expected.part else { return false };
        let path = Path::new(path);
        let is_folded = expected.decision == Some("allow")
            && ["FileRead", "DirList"].contains(action)
            && path.starts_with("/proc/self");
        let folder = if *action == "DirList" { path } else { path.parent().unwrap_or(path) };
        is_folded && !self.0.insert((folder.to_owned(), action))
    }
}

fn kind_of(step: &Step) -> String {
    let text = format!("{:?}", step.call);
    text.split([' ', '{']).next().unwrap().to_owned()
}

fn decided(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

fn failed(report: &Report) -> String {
    match report.errno {
        None => "ok".into(),
        Some(errno) => aegis_sys::errno::name(errno).word().to_owned(),
    }
}

/// An entry, as far as it matters here.
fn brief(entry: &Value) -> String {
    let of = |name: &str| entry[name].to_string();
    ["action", "call", "resource", "decision", "outcome", "policies"].map(of).join(" ")
}

/// Holds what the ledger says against what it should say; says whether it had to be written before the outcome was
/// known, since that took too long.
fn told(entries: &[Value], expected: &[Expected]) -> Result<bool, String> {
    let list = |all: &[Expected]| {
        let one =
            |e: &Expected| format!("{} {:?} {:?} {}", e.part.action, e.part.resource, e.decision, e.outcome);
        all.iter().map(one).collect::<Vec<_>>()
    };
    if entries.len() != expected.len() {
        return Err(format!("the ledger should have {:#?}", list(expected)));
    }
    let mut late = false;
    for (entry, expected) in entries.iter().zip(expected) {
        let resource = &entry["resource"];
        let name = resource["path"]
            .as_str()
            .or(resource["exe"].as_str())
            .map(own_proc)
            .or(resource["unix"].as_str().map(|path| format!("unix:{}", own_proc(path))));
        let outcome = entry["outcome"].as_str().unwrap_or_default();
        let same_name =
            expected.part.resource.as_ref().is_none_or(|resource| Some(resource) == name.as_ref());
        // What leads to it is not there.
        let lost = match expected.decision {
            Some(decision) => decision == "observed" && expected.outcome == "ENOENT",
            None => outcome == "missing",
        };
        let should = if lost { "missing" } else { &expected.outcome };
        // What the kernel executes is known by its evidence only.
        let is_run = outcome == "unknown" && ["execve", "listen"].map(Value::from).contains(&entry["call"]);
        let fits = entry["action"] == expected.part.action
            && same_name
            && expected.decision.is_none_or(|decision| entry["decision"] == decision)
            && (outcome == should || outcome == "unknown");
        late |= outcome == "unknown" && !is_run;
        if !fits {
            return Err(format!("the ledger should have {:#?}", list(std::slice::from_ref(expected))));
        }
    }
    Ok(late)
}
