//! A worker: the table of operations, and what they have in common.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aegis_harness::truth::{Action, write_truth};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::process::{chdir, umask};

use crate::dice::Dice;
use crate::log::Log;
use crate::main_process::Plan;
use crate::raw::Ring;
use crate::{files, metadata, names, processes, sockets};

/// One operation: makes what it needs below the worker's directory, acts, and notes every act.
type Operation = fn(&mut Worker) -> io::Result<()>;

/// All operations, by the word that their files are named after. Each is done equally often.
const OPERATIONS: &[(&str, Operation)] = &[
    ("create", files::create),
    ("read", files::read),
    ("openat2", files::read_by_openat2),
    ("symlink-read", files::read_through_symlink),
    ("dirlink-read", files::read_through_linked_directory),
    ("dots", files::read_through_dots),
    ("proc-fd", files::reopen_by_descriptor),
    ("thread", files::act_in_threads),
    ("truncate", files::truncate),
    ("tmpfile", files::link_unnamed_file),
    ("mmap", files::write_through_mapping),
    ("uring", files::open_by_ring),
    ("fail", files::fail),
    ("rename", names::rename),
    ("rename-dir", names::rename_directory),
    ("exchange", names::exchange),
    ("noreplace", names::rename_without_replacing),
    ("link", names::link),
    ("symlink", names::symlink),
    ("unlink", names::unlink),
    ("mkdir", names::make_directories),
    ("rmdir", names::remove_directories),
    ("fifo", names::make_fifo),
    ("list", names::list),
    ("nested", names::come_and_go),
    ("chmod", metadata::change_mode),
    ("chown", metadata::change_owner),
    ("utimens", metadata::change_times),
    ("xattr", metadata::set_attribute),
    ("script", processes::execute_script),
    ("binary", processes::execute_binary),
    ("exec-fd", processes::execute_descriptor),
    ("fork", processes::fork_and_work),
    ("end", processes::end_in_many_ways),
    ("orphan", processes::leave_orphan),
    ("refused4", sockets::connect_in_vain_4),
    ("refused6", sockets::connect_in_vain_6),
    ("accepted", sockets::connect_and_accept),
    ("unix", sockets::connect_unix),
    ("unix-missing", sockets::connect_unix_in_vain),
    ("udp", sockets::send_datagrams),
    ("listen", sockets::listen),
];

/// What every file descriptor of a worker is opened with.
pub(crate) const PRIVATE: OFlags = OFlags::CLOEXEC;

/// The mode of plain files.
pub(crate) const PLAIN: Mode = Mode::from_raw_mode(0o644);

/// The mode of directories and programs.
pub(crate) const OPEN_TO_ALL: Mode = Mode::from_raw_mode(0o755);

/// A name below the worker's directory that nothing else has.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    /// The name.
    pub(crate) name: OsString,
    /// The absolute path.
    pub(crate) path: PathBuf,
}

/// The state of a worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// What was done so far.
    pub(crate) log: Log,
    /// The worker's chance.
    pub(crate) dice: Dice,
    /// The worker's directory: absolute, links resolved.
    pub(crate) dir: PathBuf,
    /// Its name in the root.
    pub(crate) dir_name: String,
    /// A descriptor of it.
    pub(crate) at: OwnedFd,
    /// The worker's copy of `/bin/true`.
    pub(crate) program: PathBuf,
    /// This program.
    pub(crate) exe: PathBuf,
    /// An io_uring, where there is one to be had.
    pub(crate) ring: Option<Ring>,
    /// The number of the operation at work, of all operations of all workers.
    pub(crate) turn: u32,
    word: &'static str,
}

/// Does the share of worker `index` and writes down what was done.
pub(crate) fn run(plan: &Plan, index: u32) -> io::Result<()> {
    let mut worker = Worker::new(plan, index)?;
    let share = plan.share(index);
    let table = OPERATIONS.iter().cycle().skip(share.start as usize % OPERATIONS.len());
    let mut turns: Vec<_> = share.zip(table).collect();
    worker.dice.shuffle(&mut turns);
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
    for (turn, (word, operation)) in turns {
        worker.turn = turn;
        worker.word = word;
        if let Err(error) = operation(&mut worker) {
            *failures.entry(format!("{word}: {error}")).or_default() += 1;
        }
    }
    for (what, count) in failures {
        // In one piece: other workers write as well.
        let line = format!("worker {index}: not expected, {count} times: {what}\n");
        io::stderr().write_all(line.as_bytes())?;
    }
    write_truth(&plan.out.join(format!("truth.{index}.jsonl")), &worker.log.lines)
}

impl Worker {
    fn new(plan: &Plan, index: u32) -> io::Result<Self> {
        umask(Mode::from_raw_mode(0o022));
        chdir("/")?;
        let mut log = Log::new();
        let dir_name = format!("w{index}");
        let dir = plan.root.join(&dir_name);
        log.note("mkdir", Action::DirCreate, &dir, fs::create_dir(&dir))?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | PRIVATE;
        let at = log.note("open directory", Action::DirList, &dir, open(&dir, flags, Mode::empty()))?;
        let mut worker = Self {
            log,
            dice: Dice::new(u64::from(index) + 1),
            program: dir.join("true"),
            dir,
            dir_name,
            at,
            exe: std::env::current_exe()?,
            ring: Ring::new().ok(),
            turn: 0,
            word: "start",
        };
        let program = Spot { name: "true".into(), path: worker.program.clone() };
        worker.make_with(&program, &fs::read("/bin/true")?, OPEN_TO_ALL)?;
        Ok(worker)
    }

    /// Returns a new name; `tag` tells apart those of one operation.
    pub(crate) fn spot(&mut self, tag: &str) -> Spot {
        let name = self.dice.name(&format!("{:05}-{}-{tag}", self.turn, self.word));
        let path = self.dir.join(&name);
        Spot { name, path }
    }

    /// Makes a small file under a new name.
    pub(crate) fn make(&mut self, tag: &str) -> io::Result<Spot> {
        let spot = self.spot(tag);
        self.make_with(&spot, b"data", PLAIN)?;
        Ok(spot)
    }

    /// Makes a directory under a new name.
    pub(crate) fn make_directory(&mut self, tag: &str) -> io::Result<Spot> {
        let spot = self.spot(tag);
        self.log.note("mkdir", Action::DirCreate, &spot.path, fs::create_dir(&spot.path))?;
        Ok(spot)
    }

    /// Makes a file with a content and a mode, named in one of three ways.
    pub(crate) fn make_with(&mut self, spot: &Spot, content: &[u8], mode: Mode) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | PRIVATE;
        let (via, made) = match self.dice.below(3) {
            0 => ("create by absolute path", open(&spot.path, flags, mode)),
            1 => ("create by descriptor", openat(&self.at, &spot.name, flags, mode)),
            _ => ("create by relative path", self.inside(|| open(&spot.name, flags, mode))),
        };
        let made = self.log.note(via, Action::FileWrite, &spot.path, made)?;
        File::from(made).write_all(content)
    }

    /// Runs `act` with the worker's directory as the working directory.
    pub(crate) fn inside<T, E: From<Errno>>(&self, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        chdir(&self.dir)?;
        let result = act();
        chdir("/")?;
        result
    }

    /// Opens a file in the way `flags` says, notes it as the action that follows from them.
    pub(crate) fn open(
        &mut self,
        via: &str,
        named: &Path,
        real: &Path,
        flags: OFlags,
    ) -> io::Result<OwnedFd> {
        let writes = OFlags::WRONLY | OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let action = if flags.intersects(writes) { Action::FileWrite } else { Action::FileRead };
        self.log.note(via, action, real, open(named, flags | PRIVATE, PLAIN))
    }
}
