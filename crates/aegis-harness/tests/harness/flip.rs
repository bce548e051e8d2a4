//! The races of `flip` where nobody decides: they must reach the forbidden side, or they would prove nothing
//! of a supervisor. Where the kernel refuses all of it, they must reach nothing and say so.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aegis_harness::race::{Kind, Report, Snapshot, Target, exit_program, prepare_forbidden};

use crate::scratch::Scratch;

/// The id of an ordinary user.
const NOBODY: u32 = 65_534;

/// How often a race is run, with how many tries, until it has reached the forbidden side.
const ROUNDS: [u32; 4] = [2_000, 2_000, 20_000, 100_000];

/// The users to run as, other than the one of the tests: root runs as an ordinary one, too.
fn everybody() -> Vec<Option<u32>> {
    if rustix::process::geteuid().is_root() { vec![None, Some(NOBODY)] } else { vec![None] }
}

/// The two sides of a race, and the program.
struct Sides {
    scratch: Scratch,
    user: Option<u32>,
}

impl Sides {
    fn new(name: &str, user: Option<u32>) -> Self {
        let scratch = Scratch::new(name).unwrap();
        let sides = Self { scratch, user };
        fs::create_dir(sides.work()).unwrap();
        prepare_forbidden(&sides.forbidden()).unwrap();
        let (built, program) = (env!("CARGO_BIN_EXE_flip"), sides.path("flip"));
        fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
        sides.give(&sides.work());
        sides
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.0.canonicalize().unwrap().join(name)
    }

    fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// One byte from `work`: a path that is half one and half the other would be neither.
    fn forbidden(&self) -> PathBuf {
        self.path("fork")
    }

    fn give(&self, path: &Path) {
        chown(path, self.user, self.user).unwrap();
    }

    /// Gives the forbidden side to the user, too.
    fn give_forbidden(&self) {
        for entry in fs::read_dir(self.forbidden()).unwrap() {
            self.give(&entry.unwrap().path());
        }
        self.give(&self.forbidden());
    }

    fn flip(&self, kind: &str, target: &str, tries: u32) -> Output {
        let mut command = Command::new(self.path("flip"));
        command.args([kind, target]).args([self.work(), self.forbidden()]).arg(tries.to_string());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.output().unwrap()
    }
}

/// What a run said, or why it could not run.
fn report(output: &Output) -> Result<Report, String> {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.stdout.is_empty() { Err(errors) } else { Ok(serde_json::from_slice(&output.stdout).unwrap()) }
}

/// Says visibly that a race is left out where WORK has no extended attributes, and fails for other reasons.
fn skip(target: Target, reason: &str) {
    assert!(target == Target::Setxattr && reason.contains("os error 95"), "{reason}");
    eprintln!("skipped: {reason}");
}

fn reaches_what_nobody_forbids(kind: Kind) {
    for user in everybody() {
        for target in Target::ALL.into_iter().filter(|target| kind.can_race(*target)) {
            assert!(
                ROUNDS.iter().any(|tries| reaches(kind, target, user, *tries)),
                "{kind} {target} {user:?}"
            );
        }
    }
}

/// Says whether a race reached the forbidden side, both as seen from inside and from outside.
fn reaches(kind: Kind, target: Target, user: Option<u32>, tries: u32) -> bool {
    let sides = Sides::new(&format!("{kind}-{target}"), user);
    sides.give_forbidden();
    let before = Snapshot::take(&sides.forbidden()).unwrap();
    let output = sides.flip(kind.word(), target.word(), tries);
    let report = match report(&output) {
        Ok(report) => report,
        Err(reason) => {
            skip(target, &reason);
            return true;
        }
    };
    let differences = before.differences().unwrap();
    println!("{user:?} {report:?}, {} differences", differences.len());
    let sum = report.allowed + report.denied + report.other.values().sum::<u64>();
    assert_eq!((report.tries, sum, report.denied), (tries.into(), tries.into(), 0));
    assert_eq!(output.status.code(), Some(if report.escapes > 0 { 3 } else { 0 }));
    // Whether a read leaves a time of access depends on how the file system is mounted.
    let shows_outside = !matches!(target, Target::OpenRead | Target::Exec);
    (report.escapes > 0 || !target.shows_inside()) && (!differences.is_empty() || !shows_outside)
}

#[test]
fn flipped_bytes_reach_what_nobody_forbids() {
    reaches_what_nobody_forbids(Kind::Bytes);
}

#[test]
fn a_flipped_directory_reaches_what_nobody_forbids() {
    reaches_what_nobody_forbids(Kind::Directory);
}

#[test]
fn a_flipped_symlink_reaches_what_nobody_forbids() {
    reaches_what_nobody_forbids(Kind::Symlink);
}

#[test]
fn a_renamed_directory_reaches_what_nobody_forbids() {
    reaches_what_nobody_forbids(Kind::Rename);
}

#[test]
fn a_flipped_working_directory_reaches_what_nobody_forbids() {
    reaches_what_nobody_forbids(Kind::Cwd);
}

#[test]
fn a_flipped_descriptor_reaches_what_nobody_forbids() {
    reaches_what_nobody_forbids(Kind::Descriptor);
}

#[test]
fn a_flipped_descriptor_above_a_link_reaches_what_nobody_forbids() {
    reaches_what_nobody_forbids(Kind::DescriptorLink);
}

/// The kernel decides and acts in one: what belongs to root is out of an ordinary user's reach.
#[test]
fn nothing_is_reached_where_the_kernel_refuses() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root, who can make what an ordinary user can't reach");
        return;
    }
    let links_to_all = fs::read_to_string("/proc/sys/fs/protected_hardlinks").unwrap().trim() == "0";
    for kind in Kind::ALL {
        for target in Target::ALL.into_iter().filter(|target| kind.can_race(*target)) {
            if target == Target::Link && links_to_all {
                eprintln!("skipped: {kind} {target}: everybody may link to everything here");
                continue;
            }
            let sides = Sides::new(&format!("refused-{kind}-{target}"), Some(NOBODY));
            for entry in fs::read_dir(sides.forbidden()).unwrap() {
                fs::set_permissions(entry.unwrap().path(), PermissionsExt::from_mode(0o600)).unwrap();
            }
            let before = Snapshot::take(&sides.forbidden()).unwrap();
            let output = sides.flip(kind.word(), target.word(), 1_000);
            match report(&output) {
                Ok(report) => assert_eq!((report.escapes, output.status.code()), (0, Some(0)), "{report:?}"),
                Err(reason) => skip(target, &reason),
            }
            assert_eq!(before.differences().unwrap(), Vec::<String>::new(), "{kind} {target}");
        }
    }
}

#[test]
fn every_difference_shows() {
    let sides = Sides::new("differences", None);
    let path = sides.forbidden();
    let before = Snapshot::take(&path).unwrap();
    assert_eq!(before.differences().unwrap(), Vec::<String>::new());
    fs::remove_file(path.join("victim-00")).unwrap();
    fs::write(path.join("victim-01"), "").unwrap();
    fs::set_permissions(path.join("victim-02"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::hard_link(path.join("victim-03"), path.join("fresh-03")).unwrap();
    chown(path.join("victim-04"), Some(rustix::process::geteuid().as_raw()), None).unwrap();
    let differences = before.differences().unwrap();
    let about = |name: &str| {
        let of_name = differences.iter().filter(|line| line.starts_with(&format!("`{name}`")));
        of_name.map(|line| line.split(" -> ").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(about("victim-00"), ["`victim-00` is gone"]);
    let emptied = about("victim-01").join(" ");
    assert!(["content", "size", "modification"].iter().all(|what| emptied.contains(what)), "{emptied}");
    assert!(about("victim-02").contains(&"`victim-02`: mode 100644".to_owned()), "{differences:?}");
    assert_eq!(about("fresh-03"), ["`fresh-03` is new"]);
    assert!(about("victim-03").contains(&"`victim-03`: links 1".to_owned()), "{differences:?}");
    assert!(about("victim-04").iter().all(|line| line.contains("time of change")), "{differences:?}");
    assert_eq!(about("victim-04").len(), 1);
    assert_eq!(about("victim-05"), Vec::<String>::new());
}

#[test]
fn the_smallest_program_ends_as_it_should() {
    let scratch = Scratch::new("program").unwrap();
    let path = scratch.0.join("program");
    fs::write(&path, exit_program(77)).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(Command::new(path).status().unwrap().code(), Some(77));
}

#[test]
fn wrong_usage_and_what_is_missing_are_told_apart() {
    let sides = Sides::new("usage", None);
    let code = |kind: &str, target: &str| sides.flip(kind, target, 1).status.code();
    assert_eq!(code("no kind", "unlink"), Some(2));
    assert_eq!(code("bytes", "no target"), Some(2));
    assert_eq!(code("symlink", "unlink"), Some(2));
    fs::write(sides.work().join("out"), "in the way").unwrap();
    assert_eq!(code("bytes", "unlink"), Some(1));
}
