//! What this system can enforce, found out by trying it, and what is weaker where something is missing.

use std::io;
use std::os::fd::OwnedFd;

use aegis_sys::probe::{self, Answer};
use aegis_sys::process;

use crate::cgroup::{Group, PROCESSES_MAX};

/// What was found.
#[derive(Debug)]
pub struct Enforcement {
    /// Calls can be asked about and answered, each once.
    pub supervision: Supervision,
    /// The ABI of Landlock, where a layer was tried and held.
    pub landlock: Option<u32>,
    /// Why the agent can't have a view and processes of its own, where it can't.
    pub namespaces: Result<(), io::Error>,
    /// Why it can't have a network of its own beside them, where it can't.
    pub network: Result<(), io::Error>,
    /// What bounds the number of processes.
    pub bound: Bound,
}

/// How calls can be asked about.
#[derive(Debug)]
pub enum Supervision {
    /// Each call once.
    Works,
    /// A call that a signal interrupts may be executed twice (before Linux 5.19).
    Repeats,
    /// Not at all.
    Fails(io::Error),
}

/// What bounds the number of processes of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A control group.
    Group,
    /// The user's own limit, in a user namespace of its own.
    Limit,
    /// Nothing.
    None,
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What.
    pub what: &'static str,
    /// What is weaker without it, as the end of a sentence.
    pub weaker: String,
    /// How to mend it.
    pub mend: &'static str,
    /// Without it, policies are not enforced but at the user's word.
    pub needed: bool,
}

/// How much is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// All that there is.
    Full,
    /// The policies, but something beside them is weaker.
    Partial,
    /// Not the policies, or not all of them.
    Insufficient,
}

impl Grade {
    /// Returns its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Grade::Full => "full",
            Grade::Partial => "partial",
            Grade::Insufficient => "insufficient",
        }
    }
}

/// A trial that has begun, in a process of its own.
#[derive(Debug)]
#[must_use = "what was found is to be asked for"]
pub struct Trial {
    process: u32,
    told: OwnedFd,
}

impl Trial {
    /// Waits for what was found.
    ///
    /// # Errors
    /// The process that tried it was killed.
    pub fn finish(self) -> io::Result<Enforcement> {
        let mut message = [0; MESSAGE];
        let got = rustix::io::retry_on_intr(|| rustix::io::read(&self.told, &mut message))?;
        drop(process::wait_for(self.process, true));
        if got == message.len() {
            Ok(Enforcement::told(message))
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
}

/// The length of a message about what was found: five words.
const MESSAGE: usize = 20;

impl Enforcement {
    /// Begins to try what there is, in another process, so that other things can be done meanwhile. To be called by a
    /// process with one thread; `root` says that it has the rights of root.
    ///
    /// # Errors
    /// No process can be started.
    pub fn begin(root: bool) -> io::Result<Trial> {
        let (told, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let process = process::fork(|| {
            let _ = rustix::io::write(&tell, &Self::probe(root).tell());
            0
        })?;
        Ok(Trial { process, told })
    }

    /// Puts what was found into a message to the process that asked for it.
    fn tell(&self) -> [u8; MESSAGE] {
        let errno = |error: &io::Error| error.raw_os_error().unwrap_or(libc::EIO);
        let words = [
            match &self.supervision {
                Supervision::Works => 0,
                Supervision::Repeats => -1,
                Supervision::Fails(error) => errno(error),
            },
            self.landlock.map_or(0, u32::cast_signed),
            self.namespaces.as_ref().err().map_or(0, errno),
            self.network.as_ref().err().map_or(0, errno),
            match self.bound {
                Bound::Group => 0,
                Bound::Limit => 1,
                Bound::None => 2,
            },
        ];
        let mut message = [0; MESSAGE];
        for (bytes, word) in message.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        message
    }

    fn told(message: [u8; MESSAGE]) -> Self {
        let mut words = message.chunks_exact(4).map(|bytes| bytes.try_into().map_or(0, i32::from_ne_bytes));
        let mut word = || words.next().unwrap_or(0);
        let works = |errno| if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) };
        Self {
            supervision: match word() {
                0 => Supervision::Works,
                -1 => Supervision::Repeats,
                errno => Supervision::Fails(io::Error::from_raw_os_error(errno)),
            },
            landlock: Some(word().cast_unsigned()).filter(|abi| *abi > 0),
            namespaces: works(word()),
            network: works(word()),
            bound: match word() {
                0 => Bound::Group,
                1 => Bound::Limit,
                _ => Bound::None,
            },
        }
    }

    /// Tries what there is. To be called by a process with one thread; `root` says that it has the rights of root.
    #[must_use]
    pub fn probe(root: bool) -> Self {
        let supervision = match probe::notification() {
            Answer::Works { features } if features.wait_killable => Supervision::Works,
            Answer::Works { .. } => Supervision::Repeats,
            Answer::Fails(error) => Supervision::Fails(error),
        };
        let probe::Own { view: namespaces, network } =
            probe::namespaces(root).unwrap_or_else(|error| probe::Own { view: Err(error), network: Ok(()) });
        let group = Group::make(&format!("aegis-probe-{}", std::process::id()));
        let bound = if group.is_ok_and(|group| group.door().and_then(|door| door.try_it()).is_ok()) {
            Bound::Group
        } else if namespaces.is_ok() && !root {
            Bound::Limit
        } else {
            Bound::None
        };
        Self {
            supervision,
            landlock: probe::landlock().filter(|abi| probe::landlock_holds(*abi)),
            namespaces,
            network,
            bound,
        }
    }

    /// Says whether the agent can have sockets for datagrams.
    #[must_use]
    pub fn has_datagrams(&self) -> bool {
        self.namespaces.is_ok() && self.network.is_ok()
    }

    /// Returns what is missing, the worst first.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut lacks =
            |what, weaker: String, mend, needed| missing.push(Missing { what, weaker, mend, needed });
        match &self.supervision {
            Supervision::Works => {}
            Supervision::Repeats => lacks(
                "calls that are asked about once",
                "a call that a signal interrupts may be executed twice".into(),
                "a kernel from 5.19 on",
                true,
            ),
            Supervision::Fails(error) => lacks(
                "seccomp user notification",
                format!("nothing can be enforced ({error})"),
                "a kernel from 5.19 on; in a container, a seccomp profile that permits seccomp(2)",
                true,
            ),
        }
        let landlock = "boot with lsm=...,landlock on a kernel from 6.12 on";
        match self.landlock {
            None => lacks(
                "Landlock",
                "executing is not bound by the kernel, and the agent can kill who answers for it, which ends it".into(),
                landlock,
                true,
            ),
            Some(0..=2) => lacks(
                "Landlock's rights to move and truncate files (ABI 3)",
                "the kernel's own rules bind those less than the policies do; the supervisor does".into(),
                landlock,
                false,
            ),
            Some(3..=5) => lacks(
                "Landlock's scopes (ABI 6)",
                "the agent can send signals to processes of the same user, which can end the session and it".into(),
                landlock,
                false,
            ),
            Some(_) => {}
        }
        if let Err(error) = &self.namespaces {
            lacks(
                "namespaces",
                format!(
                    "names, sizes, link targets and attributes of files that may not be read can be seen, and other \
                     processes, and datagrams (UDP) are refused ({error})"
                ),
                "sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; in a container, a profile \
                 that permits them",
                false,
            );
        }
        if let (Ok(()), Err(error)) = (&self.namespaces, &self.network) {
            lacks(
                "a network namespace",
                format!("datagrams (UDP) are refused ({error})"),
                "sysctl user.max_net_namespaces; in a container, a profile that permits it",
                false,
            );
        }
        if self.bound == Bound::None {
            lacks(
                "a bound on processes",
                "the agent can start as many processes as the user may".into(),
                "a control group that this user may make groups in (systemd: Delegate=yes), or user namespaces",
                false,
            );
        }
        missing
    }

    /// Returns how much is enforced.
    #[must_use]
    pub fn grade(&self) -> Grade {
        let missing = self.missing();
        if missing.iter().any(|one| one.needed) {
            Grade::Insufficient
        } else if missing.is_empty() {
            Grade::Full
        } else {
            Grade::Partial
        }
    }

    /// Says in a few words what enforces, as it stands in the ledger.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut words = vec!["supervised".to_owned()];
        words.extend(self.landlock.map(|abi| format!("landlock {abi}")));
        if self.namespaces.is_ok() {
            words.push("namespaces".to_owned());
        }
        match self.bound {
            Bound::Group => words.push(format!("cgroup of {PROCESSES_MAX} processes")),
            Bound::Limit => words.push(format!("limit of {PROCESSES_MAX} processes")),
            Bound::None => {}
        }
        format!("{}: {}", self.grade().word(), words.join(", "))
    }

    /// Says in a sentence what enforces and what is weaker.
    #[must_use]
    pub fn sentence(&self) -> String {
        let weaker: Vec<String> =
            self.missing().into_iter().map(|one| format!("without {}, {}", one.what, one.weaker)).collect();
        match self.grade() {
            Grade::Full => "files and programs are enforced in full".to_owned(),
            Grade::Partial => format!("files and programs are enforced; weaker: {}", weaker.join("; ")),
            Grade::Insufficient => {
                format!("files and programs are not enforced in full: {}", weaker.join("; "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }

    fn found(landlock: Option<u32>, namespaces: bool, bound: Bound) -> Enforcement {
        let namespaces = if namespaces { Ok(()) } else { refused() };
        Enforcement { supervision: Supervision::Works, landlock, namespaces, network: Ok(()), bound }
    }

    #[test]
    fn what_was_found_is_told_whole() {
        for landlock in [None, Some(1), Some(7)] {
            for (namespaces, bound) in [(true, Bound::Group), (false, Bound::Limit), (false, Bound::None)] {
                let one = found(landlock, namespaces, bound);
                let again = Enforcement::told(one.tell());
                assert_eq!(format!("{one:?}"), format!("{again:?}"));
                for supervision in
                    [Supervision::Repeats, Supervision::Fails(io::Error::from_raw_os_error(libc::EBUSY))]
                {
                    let one =
                        Enforcement { supervision, network: refused(), ..found(landlock, namespaces, bound) };
                    assert_eq!(format!("{one:?}"), format!("{:?}", Enforcement::told(one.tell())));
                }
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let full = found(Some(7), true, Bound::Group);
        assert_eq!((full.grade(), full.missing().len()), (Grade::Full, 0));
        assert_eq!(full.summary(), "full: supervised, landlock 7, namespaces, cgroup of 500 processes");
        let no_network = Enforcement { network: refused(), ..found(Some(7), true, Bound::Group) };
        assert_eq!((no_network.grade(), no_network.has_datagrams()), (Grade::Partial, false));
        assert!(no_network.sentence().contains("datagrams (UDP) are refused"));
        let container = found(Some(7), false, Bound::None);
        assert_eq!(container.grade(), Grade::Partial);
        let said = container.sentence();
        assert!(said.contains("names, sizes") && said.contains("as many processes"), "{said}");
        assert_eq!(found(None, true, Bound::Limit).grade(), Grade::Insufficient);
        assert_eq!(found(Some(5), true, Bound::Limit).missing().len(), 1);
        assert_eq!(found(Some(6), true, Bound::Limit).missing().len(), 0);
    }
}
