//! Starting a process in a control group (`cgroups(7)`).

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use crate::process::{self, Change, Ended};

/// How a process comes into a control group without waiting: moving one that has been started, by `cgroup.procs`, waits
/// until every processor has passed through the scheduler, 10 ms and more where nothing else is moved.
#[derive(Debug)]
pub enum Door {
    /// Of version 1: the group's file `tasks`, to which a thread writes `0` for itself.
    Tasks(OwnedFd),
    /// Of version 2: the group's directory, in which a process is started (`clone3(2)`, from Linux 5.7 on).
    Folder(OwnedFd),
}

impl Door {
    /// As `fork(2)`; the child is in the group where that is done by starting it there.
    ///
    /// # Safety
    /// As for `fork(2)`: in a process with threads, the child calls only async-signal-safe functions.
    pub(crate) unsafe fn fork(door: Option<&Self>) -> io::Result<u32> {
        let pid = match door {
            Some(Self::Folder(folder)) => {
                // SAFETY: the structure is plain integers, and all zero is a valid one.
                let mut wanted: libc::clone_args = unsafe { std::mem::zeroed() };
                wanted.flags = CLONE_INTO_CGROUP;
                wanted.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
                wanted.cgroup = u64::from(folder.as_raw_fd().unsigned_abs());
                let size = size_of::<libc::clone_args>();
                // SAFETY: without CLONE_VM the child has memory of its own and goes on on a copy of this stack; the
                // structure lives throughout. The rest is up to the caller.
                unsafe { libc::syscall(libc::SYS_clone3, &raw const wanted, size) }
            }
            // SAFETY: up to the caller.
            _ => unsafe { libc::c_long::from(libc::fork()) },
        };
        u32::try_from(pid).map_err(|_| io::Error::last_os_error())
    }

    /// Runs in the child, where it has to come into the group by itself; allocates nothing.
    pub(crate) fn pass(&self) -> io::Result<()> {
        match self {
            Self::Tasks(tasks) => rustix::io::write(tasks, b"0").map(drop).map_err(io::Error::from),
            Self::Folder(_) => Ok(()),
        }
    }

    /// Lets a process that ends at once come into the group.
    ///
    /// # Errors
    /// The group does not let this user's processes in.
    pub fn try_it(&self) -> io::Result<()> {
        // SAFETY: the child writes to a descriptor and ends; it allocates nothing.
        let child = unsafe { Self::fork(Some(self)) }?;
        if child == 0 {
            let errno = self.pass().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
            process::exit_now(errno);
        }
        match process::wait_for(child, true)? {
            Some(Change::Ended(Ended::Code(0))) => Ok(()),
            Some(Change::Ended(Ended::Code(errno))) => Err(io::Error::from_raw_os_error(errno)),
            _ => Err(io::Error::other("a process that should have come into a control group was killed")),
        }
    }
}

/// `linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns where groups of each version can be made, those of version 1 of processes.
    fn hierarchies() -> Vec<std::path::PathBuf> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let fit = fields.filter(|fields| {
            fields[2] == "cgroup2"
                || fields[2] == "cgroup" && fields[3].split(',').any(|option| option == "pids")
        });
        fit.map(|fields| fields[1].into()).collect()
    }

    #[test]
    fn a_process_starts_in_the_group() {
        if !rustix::process::geteuid().is_root() {
            let line = "SKIPPED: only root is sure to be able to make control groups\n";
            io::Write::write_all(&mut io::stderr(), line.as_bytes()).unwrap();
            return;
        }
        let hierarchies = hierarchies();
        assert!(!hierarchies.is_empty(), "no control groups are mounted");
        for hierarchy in hierarchies {
            let folder = hierarchy.join(format!("aegis-test-{}", std::process::id()));
            std::fs::create_dir(&folder).unwrap();
            let door = match std::fs::OpenOptions::new().write(true).open(folder.join("tasks")) {
                Ok(tasks) => Door::Tasks(tasks.into()),
                Err(_) => Door::Folder(std::fs::File::open(&folder).unwrap().into()),
            };
            let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            let ((held, hold), (is_in, say)) = (pipe(), pipe());
            // SAFETY: the child reads and writes pipes and ends; it allocates nothing.
            let child = unsafe { Door::fork(Some(&door)) }.unwrap();
            if child == 0 {
                let passed = door.pass().is_ok();
                let _ = rustix::io::write(&say, &[u8::from(passed)]);
                // SAFETY: only this process' own copy is closed.
                unsafe { libc::close(hold.as_raw_fd()) };
                let _ = rustix::io::read(&held, &mut [0; 1]);
                process::exit_now(0);
            }
            let mut passed = [0; 1];
            assert_eq!(rustix::io::read(&is_in, &mut passed), Ok(1));
            let members = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap();
            drop(hold);
            process::wait_for(child, true).unwrap();
            let tried = door.try_it();
            std::fs::remove_dir(&folder).unwrap();
            assert_eq!((passed, members.trim()), ([1], child.to_string().as_str()), "{}", folder.display());
            tried.unwrap();
        }
    }

    #[test]
    fn what_is_no_group_lets_nobody_in() {
        let folder = Door::Folder(std::fs::File::open("/").unwrap().into());
        assert!(folder.try_it().is_err());
        let (read, _write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        assert_eq!(Door::Tasks(read).try_it().unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
