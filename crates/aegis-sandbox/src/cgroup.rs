//! A control group of the session's own, where one can be had: it bounds how many processes the tree has, also where they
//! run as root, and leaves none behind (`cgroups(7)`).

use std::io;
use std::path::{Path, PathBuf};

use aegis_sys::group::Door;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The most processes and threads that a tree has at once.
pub const PROCESSES_MAX: u64 = 500;

/// A control group; it is removed with the value, if it is empty by then.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
}

impl Group {
    /// Makes one with a bound on processes, below the group of this process or above that.
    ///
    /// # Errors
    /// None can be had: this user may make none, or the controller of processes is not there.
    pub fn make(name: &str) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for folder in candidates() {
            let folder = folder.join(name);
            if let Err(error) = rustix::fs::mkdir(&folder, Mode::RWXU) {
                last = error.into();
                continue;
            }
            // Removed again where it is no use.
            let group = Self { folder };
            match write(&group.folder.join("pids.max"), PROCESSES_MAX.to_string().as_bytes()) {
                Ok(()) => return Ok(group),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Opens that by which a process comes into the group.
    ///
    /// # Errors
    /// That of `open(2)`.
    pub fn door(&self) -> io::Result<Door> {
        // Only version 1 has it.
        match rustix::fs::open(self.folder.join("tasks"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(tasks) => Ok(Door::Tasks(tasks)),
            Err(Errno::NOENT) => {
                let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
                Ok(Door::Folder(rustix::fs::open(&self.folder, flags, Mode::empty())?))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Where something is left in it, it stays.
        let _ = rustix::fs::rmdir(&self.folder);
    }
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text)?;
    Ok(())
}

/// Returns the folders in which a group may be made, the nearest first: those of the hierarchy of processes (version 1),
/// then those of the unified one (version 2).
fn candidates() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let root = if controllers.split(',').any(|name| name == "pids") {
            "/sys/fs/cgroup/pids"
        } else if number == "0" {
            "/sys/fs/cgroup"
        } else {
            continue;
        };
        let own = Path::new(path).strip_prefix("/").unwrap_or(Path::new(""));
        found.extend(own.ancestors().map(|path| Path::new(root).join(path)));
    }
    found
}
