//! Paths that change while it is decided about them: nothing of what the policies do not permit is reached.

use std::path::{Path, PathBuf};

use aegis_harness::race::{Kind, Report, Snapshot, Target, prepare_forbidden};
use serde_json::Value;

use crate::support::{World, everybody, text};

/// How often each target is tried, all kinds together.
const TRIES: usize = 10_000;

/// How often each target is tried with each kind; `AEGIS_TEST_FLIPS` at build time asks for it.
const FLIPS: Option<&str> = option_env!("AEGIS_TEST_FLIPS");

fn tries(target: Target) -> usize {
    let each = FLIPS.map(|text| text.parse().unwrap());
    each.unwrap_or_else(|| TRIES / Kind::ALL.iter().filter(|kind| kind.can_race(target)).count())
}

/// The side that is permitted and the one that is not: they differ in one byte.
fn sides(world: &World, kind: Kind, target: Target) -> (PathBuf, PathBuf) {
    let name = format!("{kind}-{target}");
    (world.work().join(&name), world.path("fork").join(name))
}

/// Writes the policies of a race. What is forbidden lies within what is permitted, so that the kernel's rules grant it
/// to those who execute calls: nothing stands behind their decisions, but for programs.
fn policies(world: &World) -> PathBuf {
    let path = world.path("race.cedar");
    let text = format!(
        r#"
permit (principal, action in [Aegis::Action::"Read", Aegis::Action::"Write"], resource in Aegis::Resource::"{all}");
forbid (principal, action, resource in Aegis::Resource::"{all}/fork");
permit (principal, action == Aegis::Action::"ProcessSpawn", resource)
when {{ resource in [Aegis::Resource::"{all}/work", Aegis::Resource::"{all}/bin"] }};
permit (principal, action in [Aegis::Action::"Read", Aegis::Action::"ProcessSpawn"], resource)
when {{ resource in [Aegis::Resource::"/usr", Aegis::Resource::"/lib", Aegis::Resource::"/lib64", Aegis::Resource::"/bin"] }};
permit (principal, action in Aegis::Action::"Read", resource)
when {{ resource in [Aegis::Resource::"/etc", Aegis::Resource::"/proc/self", Aegis::Resource::"/sys/fs/cgroup"] }};
permit (principal, action == Aegis::Action::"ProcessExit", resource);
"#,
        all = world.path("").display().to_string().trim_end_matches('/'),
    );
    std::fs::write(&path, text).unwrap();
    world.give(&path);
    path
}

/// Races the targets one after another in one session, and looks at the forbidden sides before and afterwards.
fn race(world: &World, kind: Kind, targets: &[Target], tries: impl Fn(Target) -> usize) -> Vec<Report> {
    std::fs::create_dir_all(world.path("fork")).unwrap();
    let mut script = String::new();
    let mut snapshots = Vec::new();
    for target in targets {
        let (work, forbidden) = sides(world, kind, *target);
        std::fs::create_dir(&work).unwrap();
        world.give(&work);
        prepare_forbidden(&forbidden).unwrap();
        // It is forbidden by the policies and by nothing else.
        for entry in std::fs::read_dir(&forbidden).unwrap() {
            world.give(&entry.unwrap().path());
        }
        world.give(&forbidden);
        let (work, forbidden_text) = (work.display(), forbidden.display());
        let tries = tries(*target);
        script += &format!("\"$0\" {kind} {target} {work} {forbidden_text} {tries} || echo $? >&2\n");
        snapshots.push((target, Snapshot::take(&forbidden).unwrap()));
    }
    let (policies, flip) = (policies(world), world.path("bin/flip"));
    let name = kind.word();
    let arguments = ["run", "--quiet", "--config", name, "--policy", policies.to_str().unwrap(), "--"];
    let output = world.aegis(&arguments).args(["sh", "-c", &script]).arg(flip).output().unwrap();
    assert!(output.status.success(), "{kind}: {}", text(&output));
    let reports: Vec<Report> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    for (target, before) in snapshots {
        let mut differences = before.differences().unwrap();
        // Whoever decides about a program looks for the interpreter that it names.
        let is_look = |line: &str| *target == Target::Exec && line.starts_with("`program`: time of access");
        differences.retain(|line| !is_look(line));
        assert_eq!(differences, Vec::<String>::new(), "{kind} {target}: {}", text(&output));
        let raced = reports.iter().any(|report| report.target == target.word());
        // Not every file system has extended attributes.
        let may_lack = *target == Target::Setxattr && text(&output).contains("os error 95");
        assert!(raced || may_lack, "{kind} {target}: {}", text(&output));
    }
    reports
}

/// Says what came out of a race, and that nothing escaped.
fn check(who: &str, report: &Report) {
    println!("{who} {report:?}");
    let sum = report.allowed + report.denied + report.other.values().sum::<u64>();
    assert_eq!((report.escapes, sum), (0, report.tries), "{who}: {report:?}");
    assert!(report.flips > 0, "{who}: {report:?}");
}

fn targets(kind: Kind) -> Vec<Target> {
    Target::ALL.into_iter().filter(|target| kind.can_race(*target)).collect()
}

fn nothing_is_reached(kind: Kind) {
    for who in everybody() {
        let world = World::new(who);
        let reports = race(&world, kind, &targets(kind), tries);
        for report in &reports {
            check(&format!("{who:?}"), report);
        }
        // Both answers came often: it was a race.
        let count = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
        let [tries, allowed, denied] = [count(|r| r.tries), count(|r| r.allowed), count(|r| r.denied)];
        assert!(allowed.min(denied) > tries / 50, "{who:?} {kind}: {allowed} and {denied} of {tries}");
    }
}

#[test]
fn flipped_bytes_reach_nothing() {
    nothing_is_reached(Kind::Bytes);
}

#[test]
fn a_flipped_directory_reaches_nothing() {
    nothing_is_reached(Kind::Directory);
}

#[test]
fn a_flipped_symlink_reaches_nothing() {
    nothing_is_reached(Kind::Symlink);
}

#[test]
fn a_renamed_directory_reaches_nothing() {
    nothing_is_reached(Kind::Rename);
}

#[test]
fn a_flipped_working_directory_reaches_nothing() {
    nothing_is_reached(Kind::Cwd);
}

#[test]
fn a_flipped_descriptor_reaches_nothing() {
    nothing_is_reached(Kind::Descriptor);
}

#[test]
fn a_flipped_descriptor_above_a_link_reaches_nothing() {
    nothing_is_reached(Kind::DescriptorLink);
}

/// What the ledger says of a try is what became of it.
#[test]
fn the_path_in_the_ledger_is_the_one_that_was_used() {
    for who in everybody() {
        let world = World::new(who);
        for kind in Kind::ALL {
            let targets = [Target::OpenWrite, Target::OpenCreate];
            let reports = race(&world, kind, &targets, |_| 400);
            let entries = world.entries(kind.word());
            for (target, report) in targets.into_iter().zip(reports) {
                check(&format!("{who:?}"), &report);
                let (work, forbidden) = sides(&world, kind, target);
                let below = |entry: &&Value, folder: &Path| {
                    entry["resource"]["path"].as_str().is_some_and(|path| Path::new(path).starts_with(folder))
                };
                let of = |folder: &Path| -> Vec<&Value> {
                    entries.iter().filter(|entry| below(entry, folder)).collect()
                };
                let reached: Vec<&Value> = of(&forbidden)
                    .into_iter()
                    .filter(|entry| entry["outcome"] == "ok" || entry["decision"] == "allow")
                    .collect();
                assert!(reached.is_empty(), "{who:?} {kind} {target}: {reached:?}");
                // Each try was one open, and so was the one before the race; the flips of directories are renames.
                let opens = |entries: Vec<&Value>, key: &str, value: &str| {
                    let fits = |entry: &&&Value| {
                        entry["action"] == "FileWrite"
                            && entry[key] == value
                            && entry["call"] == "openat"
                            && !entry["flags"].as_array().is_some_and(|all| all.contains(&"EXCL".into()))
                    };
                    entries.iter().filter(fits).count() as u64
                };
                let done = opens(of(&work), "outcome", "ok");
                assert_eq!(done, report.allowed + 1, "{who:?} {kind} {target}: {report:?}");
                let denied = opens(of(&forbidden), "decision", "deny");
                assert_eq!(denied, report.denied, "{who:?} {kind} {target}: {report:?}");
            }
        }
    }
}
