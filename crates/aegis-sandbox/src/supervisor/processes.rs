//! Programs, files in memory, and other processes.

use std::io;

use aegis_observer::calls::Shape;
use aegis_observer::{Met, Sink, processes};
use aegis_types::{Assurance, Clock, Resource};
use rustix::fs::MemfdFlags;

use super::{Supervisor, is_hidden};

/// `MFD_CLOEXEC`, `MFD_NOEXEC_SEAL`, `MFD_EXEC` (`memfd_create(2)`).
const CLOEXEC: u32 = 1;
const NOEXEC_SEAL: u32 = 8;
const EXEC: u32 = 16;

impl<S: Sink, C: Clock> Supervisor<S, C> {
    /// The kernel executes it, with arguments that can change until then. What the policies say of the path holds all
    /// the same where Landlock says so, too.
    pub(super) fn execute(&self, met: Met<'_>) -> io::Result<()> {
        let mediated = self.plan().mediates_programs();
        let assurance = if mediated { Assurance::Mediated } else { Assurance::Enforced };
        // One that is there and not to be seen is denied as it would be without a view.
        let is_hidden = |resource: &Resource| self.own_processes && is_hidden(resource);
        self.observer.observe(met, assurance, &is_hidden)
    }

    /// A file in memory is never executed: it has no name that a policy could speak of.
    pub(super) fn memory_file(&self, met: Met<'_>) -> io::Result<()> {
        let arguments = met.arguments();
        let name = match arguments.string(arguments.number(0), 249) {
            Ok(name) => name,
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
                return met.notification.refuse(libc::EINVAL);
            }
            Err(error) => {
                let errno = self.unread(&met, &error);
                return met.notification.refuse(errno.raw_os_error());
            }
        };
        let asked = arguments.int(1);
        let flags = MemfdFlags::from_bits_retain((asked & !EXEC) | CLOEXEC | NOEXEC_SEAL);
        match rustix::fs::memfd_create(name, flags) {
            Ok(fd) => met.notification.hand_over(fd, asked & CLOEXEC != 0).map(drop),
            Err(errno) => met.notification.refuse(errno.raw_os_error()),
        }
    }

    /// Other ids would not be those of the threads that execute calls: only what changes nothing goes on.
    pub(super) fn identity(&self, met: Met<'_>, count: u8) -> io::Result<()> {
        let key = if met.call.name.contains("gid") { "Gid:" } else { "Uid:" };
        let own = processes::status_numbers(met.notification.tid, key);
        let same = own.first().is_some_and(|first| own.iter().all(|id| id == first))
            && (0..count).all(|index| {
                let asked = met.arguments().int(index);
                own.first() == Some(&asked) || (asked == u32::MAX && count > 1)
            });
        if same { met.notification.proceed() } else { self.refuse(met, IDENTITY, libc::EPERM) }
    }

    /// How others are scheduled is not the agent's to say.
    pub(super) fn steer(&self, met: Met<'_>, argument: u8) -> io::Result<()> {
        // Of a process only: processes of Aegis are of the same user and may be in the same group (setpriority(2),
        // ioprio_set(2)).
        let of_others = match met.call.name {
            "setpriority" => met.arguments().int(0) != 0,
            "ioprio_set" => met.arguments().int(0) != 1,
            _ => false,
        };
        let target = met.arguments().int(argument);
        if !of_others && (target == 0 || self.is_of_tree(target)) {
            return met.notification.proceed();
        }
        self.refuse(met, OTHERS, libc::EPERM)
    }

    fn is_of_tree(&self, pid: u32) -> bool {
        if self.own_processes {
            // Nothing else has an id there, but for the first, which is of Aegis.
            return pid != 1;
        }
        !self.observer.is_of_aegis(pid) && processes::is_descendant(pid, self.me)
    }

    /// Nobody reaches into another process: what was decided about one would hold for the other.
    pub(super) fn reach(&self, met: Met<'_>, argument: u8, is_descriptor: bool) -> io::Result<()> {
        debug_assert!(matches!(met.call.shape, Shape::Reach(..)));
        let target = met.arguments().int(argument);
        let own = if self.own_processes {
            processes::last_number(met.pid, "NStgid:").unwrap_or(met.pid)
        } else {
            met.pid
        };
        if !is_descriptor && (target == 0 || target == own) {
            return met.notification.proceed();
        }
        // The limits of its own children a shell may set.
        if met.call.name == "prlimit64" && self.is_of_tree(target) {
            return met.notification.proceed();
        }
        self.refuse(met, REACH, libc::EPERM)
    }
}

const IDENTITY: &str = "other user and group ids are refused: files would be opened with those of before";
const OTHERS: &str = "how processes outside of the session are scheduled can't be changed";
const REACH: &str =
    "other processes can't be traced, read or limited in `aegis run`: debuggers work on what they start";
