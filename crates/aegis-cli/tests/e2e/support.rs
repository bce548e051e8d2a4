//! A home of its own for each test, and `aegis` run in it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Who runs `aegis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The user of the tests.
    Me,
    /// An ordinary user.
    Nobody,
}

/// The users to test as: both where the tests run as root.
pub(crate) fn everybody() -> Vec<Who> {
    if rustix::process::geteuid().is_root() { vec![Who::Me, Who::Nobody] } else { vec![Who::Me] }
}

/// The id of the ordinary user.
pub(crate) const NOBODY: u32 = 65_534;

/// A folder with an Aegis home, a working directory and copies of the programs that are tested.
pub(crate) struct World {
    folder: tempfile::TempDir,
    who: Who,
}

impl World {
    pub(crate) fn new(who: Who) -> Self {
        let folder = tempfile::Builder::new().prefix("aegis-e2e-").tempdir().unwrap();
        let world = Self { folder, who };
        for name in ["work", "user", "tmp", "bin"] {
            std::fs::create_dir(world.path(name)).unwrap();
        }
        let built = Path::new(env!("CARGO_BIN_EXE_aegis")).parent().unwrap();
        for name in ["aegis", "flip", "ground-truth", "operate", "without"] {
            let (from, to) = (built.join(name), world.path("bin").join(name));
            assert!(
                from.exists(),
                "{} is missing: `cargo build --workspace --bins` makes it",
                from.display()
            );
            std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop)).unwrap();
        }
        if who == Who::Nobody {
            for path in ["", "work", "user", "tmp"].map(|name| world.path(name)) {
                world.give(&path);
            }
        }
        world
    }

    pub(crate) fn who(&self) -> Who {
        self.who
    }

    /// Gives a file to the world's user.
    pub(crate) fn give(&self, path: &Path) {
        if self.who == Who::Nobody {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// A program, run as the world's user in its working directory, with nothing of the tests' environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.work()).env_clear().env("HOME", self.path("user")).env("LANG", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TERM", "xterm");
        command.env("TMPDIR", self.path("tmp"));
        command.env("AEGIS_HOME", self.home()).env("CARGO_HOME", self.work().join(".cargo"));
        if self.who == Who::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    pub(crate) fn aegis(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(self.path("bin/aegis"));
        command.args(arguments);
        command
    }

    /// Runs `aegis` and returns what it printed; it must succeed.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.aegis(arguments).output().unwrap();
        assert!(output.status.success(), "aegis {arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Wraps a command under a name.
    pub(crate) fn wrap(&self, name: &str, command: &[&str]) -> Output {
        self.aegis(&["wrap", "--name", name, "--"]).args(command).output().unwrap()
    }

    /// Returns all entries of a ledger.
    pub(crate) fn entries(&self, name: &str) -> Vec<Value> {
        let lines = self.stdout(&["audit", "export", name, "--format", "jsonl"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Says whether a ledger verifies, and returns the verdict.
    pub(crate) fn verdict(&self, name: &str) -> (i32, Value) {
        let output = self.aegis(&["audit", "verify", name, "--json"]).output().unwrap();
        let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), value)
    }
}

/// What a program printed, for messages.
pub(crate) fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

/// The last entry but for the seal behind it.
pub(crate) fn last(entries: &[Value]) -> &Value {
    assert_eq!(entries.last().unwrap()["kind"], "seal", "an end is sealed");
    &entries[entries.len() - 2]
}

/// The entries with this action whose resource has this path.
pub(crate) fn on_path<'e>(entries: &'e [Value], action: &str, path: &Path) -> Vec<&'e Value> {
    let fits = |entry: &&Value| {
        entry["action"] == action
            && [&entry["resource"]["path"], &entry["resource"]["exe"]]
                .contains(&&Value::from(path.to_str().unwrap()))
    };
    entries.iter().filter(fits).collect()
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "in a minute it did not come about that {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The processes whose environment has this marker.
pub(crate) fn marked(marker: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|all| all.windows(marker.len()).any(|part| part == marker.as_bytes()))
    };
    processes().into_iter().filter(has).collect()
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let parent = |child: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    processes().into_iter().filter(|child| parent(child) == Some(pid)).collect()
}

/// Sends a signal.
pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may be gone.
    let _ = rustix::process::kill_process(pid, signal);
}
