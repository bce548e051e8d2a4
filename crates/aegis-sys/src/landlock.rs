//! Landlock: what a thread, and what it starts, can still do to files, ports and other processes.
//!
//! `landlock(7)`, `landlock_create_ruleset(2)`, `landlock_add_rule(2)`, `landlock_restrict_self(2)`. A layer takes
//! away and never gives: what it names and no rule grants is refused with EACCES, on this thread and what it starts,
//! for good.

use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

/// Rights on files and directories; the bits are those of the kernel (`LANDLOCK_ACCESS_FS_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u64);

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// To execute a file.
    pub const EXECUTE: Self = Self(1);
    /// To open a file for writing.
    pub const WRITE_FILE: Self = Self(1 << 1);
    /// To open a file for reading.
    pub const READ_FILE: Self = Self(1 << 2);
    /// To open a directory.
    pub const READ_DIR: Self = Self(1 << 3);
    /// To remove an empty directory, or to rename one.
    pub const REMOVE_DIR: Self = Self(1 << 4);
    /// To remove a file, or to rename one.
    pub const REMOVE_FILE: Self = Self(1 << 5);
    /// To make a character device.
    pub const MAKE_CHAR: Self = Self(1 << 6);
    /// To make a directory.
    pub const MAKE_DIR: Self = Self(1 << 7);
    /// To make a regular file.
    pub const MAKE_REG: Self = Self(1 << 8);
    /// To make a Unix socket.
    pub const MAKE_SOCK: Self = Self(1 << 9);
    /// To make a FIFO.
    pub const MAKE_FIFO: Self = Self(1 << 10);
    /// To make a block device.
    pub const MAKE_BLOCK: Self = Self(1 << 11);
    /// To make a symbolic link.
    pub const MAKE_SYM: Self = Self(1 << 12);
    /// To link or rename from one directory to another (ABI 2).
    pub const REFER: Self = Self(1 << 13);
    /// To change a file's length (ABI 3).
    pub const TRUNCATE: Self = Self(1 << 14);

    /// Every right that a kernel of this ABI knows.
    #[must_use]
    pub fn known(abi: u32) -> Self {
        let count = match abi {
            0 => 0,
            1 => 13,
            2 => 14,
            _ => 15,
        };
        Self((1 << count) - 1)
    }

    /// Says whether nothing can be changed by these.
    #[must_use]
    pub fn reads_only(self) -> bool {
        self.without(Self::READ_FILE | Self::READ_DIR | Self::EXECUTE).is_none()
    }

    /// Returns what is in either.
    #[must_use]
    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns what is in this and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

/// The rights that a rule on something that is no directory may have.
const ON_FILES: Rights = Rights(1 | 1 << 1 | 1 << 2 | 1 << 14);

/// What a layer governs: all of it is refused but for what a rule grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Governs {
    /// These rights on files.
    pub files: Rights,
    /// To bind a TCP socket to a port (ABI 4).
    pub bind: bool,
    /// To connect a TCP socket to a port (ABI 4).
    pub connect: bool,
    /// Signals to processes outside, and connections to abstract Unix sockets that were made outside (ABI 6).
    pub scopes: bool,
}

/// A layer in the making.
#[derive(Debug)]
pub struct Layer {
    ruleset: OwnedFd,
    governs: Governs,
}

#[repr(C)]
struct RulesetAttribute {
    fs: u64,
    net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    rights: u64,
    parent: i32,
}

#[repr(C)]
struct NetPort {
    rights: u64,
    port: u64,
}

const NET_BIND: u64 = 1;
const NET_CONNECT: u64 = 2;
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
const SCOPE_SIGNAL: u64 = 2;

impl Layer {
    /// Makes a layer. What this kernel (of `abi`) does not know is left out; [`Layer::governs`] says what is left.
    ///
    /// # Errors
    /// That of `landlock_create_ruleset(2)`: ENOSYS or EOPNOTSUPP where there is no Landlock.
    pub fn new(abi: u32, wanted: Governs) -> io::Result<Self> {
        let governs = Governs {
            files: wanted.files.and(Rights::known(abi)),
            bind: wanted.bind && abi >= 4,
            connect: wanted.connect && abi >= 4,
            scopes: wanted.scopes && abi >= 6,
        };
        let net = if governs.bind { NET_BIND } else { 0 } | if governs.connect { NET_CONNECT } else { 0 };
        let scoped = if governs.scopes { SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL } else { 0 };
        let attribute = RulesetAttribute { fs: governs.files.0, net, scoped };
        // The structure grew with the ABI; what is behind what the kernel knows must be left out or zero.
        let size = match abi {
            0..=3 => 8,
            4 | 5 => 16,
            _ => size_of::<RulesetAttribute>(),
        };
        // SAFETY: the kernel reads `size` bytes of the structure; the descriptor that comes back is new and owned
        // here alone.
        unsafe {
            let fd = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attribute, size, 0);
            match i32::try_from(fd) {
                Ok(fd) if fd >= 0 => Ok(Self { ruleset: OwnedFd::from_raw_fd(fd), governs }),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Returns what it governs.
    #[must_use]
    pub fn governs(&self) -> Governs {
        self.governs
    }

    /// Grants rights on a file, or on a directory and all below it, by an `O_PATH` descriptor. Rights that the layer
    /// does not govern, or that mean nothing on a plain file, are left out.
    ///
    /// # Errors
    /// That of `landlock_add_rule(2)`.
    pub fn grant(&self, place: impl AsFd, is_directory: bool, rights: Rights) -> io::Result<()> {
        let rights = rights.and(self.governs.files);
        let rights = if is_directory { rights } else { rights.and(ON_FILES) };
        if rights.is_none() {
            return Ok(());
        }
        let rule = PathBeneath { rights: rights.0, parent: place.as_fd().as_raw_fd() };
        const PATH_BENEATH: u32 = 1;
        self.add(PATH_BENEATH, (&raw const rule).cast())
    }

    /// Grants a port, to bind or to connect to.
    ///
    /// # Errors
    /// That of `landlock_add_rule(2)`.
    pub fn grant_port(&self, port: u16, bind: bool) -> io::Result<()> {
        let governed = if bind { self.governs.bind } else { self.governs.connect };
        if !governed {
            return Ok(());
        }
        let rule = NetPort { rights: if bind { NET_BIND } else { NET_CONNECT }, port: u64::from(port) };
        const NET_PORT: u32 = 2;
        self.add(NET_PORT, (&raw const rule).cast())
    }

    fn add(&self, kind: u32, rule: *const u8) -> io::Result<()> {
        // SAFETY: `rule` points to a structure of that kind, which the kernel reads.
        let added =
            unsafe { libc::syscall(libc::SYS_landlock_add_rule, self.ruleset.as_raw_fd(), kind, rule, 0) };
        if added == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Puts the layer on this thread and what it starts from then on. The thread must have `no_new_privs`.
    ///
    /// # Errors
    /// That of `landlock_restrict_self(2)`: E2BIG where sixteen layers are in force already.
    pub fn enforce(&self) -> io::Result<()> {
        // SAFETY: takes a descriptor and no memory.
        let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.ruleset.as_raw_fd(), 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn a_layer_takes_away_what_no_rule_grants() {
        let Some(abi) = crate::probe::landlock() else { panic!("this kernel has no Landlock") };
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            rustix::fs::open(folder.path().join(name), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
        };
        for name in ["in/f", "out/f"] {
            std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            std::fs::copy("/etc/passwd", folder.path().join(name)).unwrap();
        }
        let path = folder.path().to_owned();
        let inside = open("in");
        std::thread::spawn(move || {
            let governs = Governs { files: Rights::known(abi), ..Governs::default() };
            let layer = Layer::new(abi, governs).unwrap();
            layer.grant(&inside, true, Rights::READ_FILE).unwrap();
            crate::seccomp::no_new_privileges().unwrap();
            layer.enforce().unwrap();
            assert!(std::fs::read(path.join("in/f")).is_ok());
            let refused = std::fs::read(path.join("out/f")).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
            let refused = std::fs::remove_file(path.join("in/f")).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
        })
        .join()
        .unwrap();
        assert!(std::fs::read(folder.path().join("out/f")).is_ok(), "only that thread");
    }

    #[test]
    fn an_older_kernel_is_asked_for_what_it_knows() {
        assert_eq!(Rights::known(0), Rights::NONE);
        assert_eq!(Rights::known(1).and(Rights::REFER), Rights::NONE);
        assert_eq!(Rights::known(2).without(Rights::known(1)), Rights::REFER);
        assert_eq!(Rights::known(3), Rights::known(9));
    }
}
