//! The table of system calls that are seen, and the filter that is made of it.
//!
//! A call that is not here goes by unseen: it names no file, makes no connection and executes nothing
//! (reads and writes of what is open), or only reveals names and sizes (`stat`, `access`, `readlink`,
//! `getdents`), which is no action. Some are no action either and only change what paths mean (`chdir`, `mount`). Numbers are those of `syscalls(2)`; 32-bit x86 programs have their own.

use aegis_sys::bpf::{Condition, Program, Rule, Section, Verdict};

/// Where a call has a path: the argument with the directory's descriptor, if any, and that with the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The argument with the directory's descriptor.
    pub dirfd: Option<u8>,
    /// The argument with the path.
    pub path: u8,
}

/// Where an opening call has its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFlags {
    /// In an argument.
    Argument(u8),
    /// Those of `creat(2)`.
    Creat,
    /// In a `struct open_how` that an argument points to.
    How(u8),
}

/// Whether a call follows a symbolic link at the end of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Always.
    Follow,
    /// Never.
    Keep,
    /// Unless the argument has `AT_SYMLINK_NOFOLLOW`.
    Unless(u8),
    /// Only where the argument has `AT_SYMLINK_FOLLOW`.
    Only(u8),
}

/// What a call does, as far as it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Opens a file.
    Open(At, OpenFlags),
    /// Opens a file by a handle, relative to a mount.
    OpenHandle,
    /// Removes a name.
    Remove(At),
    /// Gives a file another name; the argument with the flags.
    Rename(At, At, Option<u8>),
    /// Makes a directory.
    MakeDirectory(At),
    /// Makes another kind of file, a symbolic link among them.
    Make(At),
    /// Gives a file a further name.
    Link(At, At, Links),
    /// Changes a file's size or metadata.
    Change(At, Links),
    /// Changes metadata of an open file.
    ChangeOpen(u8),
    /// Executes a program: path, argument vector, flags.
    Execute(At, u8, Option<u8>),
    /// Connects a socket.
    Connect,
    /// Binds a socket to a local address.
    Bind,
    /// Listens on a socket.
    Listen,
    /// Sends to an address.
    SendTo,
    /// Sends a message, perhaps to an address.
    SendMessage,
    /// Sends messages, perhaps to addresses.
    SendMessages,
    /// Any of the socket calls of 32-bit x86.
    SocketCall,
    /// Ends the process.
    Exit,
    /// Ends the thread.
    ExitThread,
    /// Changes what paths mean to the caller from then on.
    ChangeView,
    /// Changes the working directory.
    ChangeDirectory,
    /// Puts a mount somewhere.
    Mount,
    /// Takes a mount away.
    Unmount,
    /// Sets up io_uring.
    IoUring,
    /// Asks for a listener of the program's own.
    OwnListener,
    /// Reaches into another process: the argument with its id, and whether that is a descriptor.
    Reach(u8, bool),
    /// Puts characters into a terminal's input.
    TypeIntoTerminal,
    /// Sets the mask of modes.
    Umask,
    /// Makes a file in memory: its name, the flags.
    MemoryFile,
    /// Makes sockets of a kind that has no peer before it sends, or that can't be governed.
    Socket,
    /// Takes on other user or group ids; how many the call names.
    Identity(u8),
    /// Steers how another process is scheduled: the argument with its id.
    Steer(u8),
    /// Watches a file or directory for changes: the descriptor, and the path.
    Watch(u8, At),
}

/// A call of the table.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name in the manual.
    pub name: &'static str,
    /// Its number on this machine, where it has one.
    pub native: Option<u32>,
    /// Its number for 32-bit x86 programs, where that has one.
    pub i386: Option<u32>,
    /// What it does.
    pub shape: Shape,
    /// Only where these hold.
    pub conditions: &'static [Condition],
}

const fn at(dirfd: u8, path: u8) -> At {
    At { dirfd: Some(dirfd), path }
}

const fn plain(path: u8) -> At {
    At { dirfd: None, path }
}

/// A number that only x86-64 has: newer architectures never had these calls.
macro_rules! legacy {
    ($name:ident) => {{
        #[cfg(target_arch = "x86_64")]
        {
            Some(libc::$name)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            None
        }
    }};
}

fn call(name: &'static str, native: Option<libc::c_long>, i386: u32, shape: Shape) -> Call {
    when(name, native, i386, shape, &[])
}

fn when(
    name: &'static str,
    native: Option<libc::c_long>,
    i386: u32,
    shape: Shape,
    conditions: &'static [Condition],
) -> Call {
    let native = native.and_then(|number| u32::try_from(number).ok());
    Call { name, native, i386: (i386 != 0).then_some(i386), shape, conditions }
}

/// `CLONE_NEWNS | CLONE_NEWUSER`: what makes paths mean something else.
const VIEW_FLAGS: u32 = 0x0002_0000 | 0x1000_0000;

/// Calls since 5.17, 6.6 and 6.13, which not every libc names.
const SYS_FCHMODAT2: libc::c_long = 452;
const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_REMOVEXATTRAT: libc::c_long = 466;

/// Returns the table.
#[must_use]
pub fn table() -> Vec<Call> {
    use Shape::*;
    let follow = Links::Follow;
    let keep = Links::Keep;
    vec![
        call("open", legacy!(SYS_open), 5, Open(plain(0), OpenFlags::Argument(1))),
        call("creat", legacy!(SYS_creat), 8, Open(plain(0), OpenFlags::Creat)),
        call("openat", Some(libc::SYS_openat), 295, Open(at(0, 1), OpenFlags::Argument(2))),
        call("openat2", Some(libc::SYS_openat2), 437, Open(at(0, 1), OpenFlags::How(2))),
        call("open_by_handle_at", Some(libc::SYS_open_by_handle_at), 342, OpenHandle),
        call("unlink", legacy!(SYS_unlink), 10, Remove(plain(0))),
        call("rmdir", legacy!(SYS_rmdir), 40, Remove(plain(0))),
        call("unlinkat", Some(libc::SYS_unlinkat), 301, Remove(at(0, 1))),
        call("rename", legacy!(SYS_rename), 38, Rename(plain(0), plain(1), None)),
        call("renameat", Some(libc::SYS_renameat), 302, Rename(at(0, 1), at(2, 3), None)),
        call("renameat2", Some(libc::SYS_renameat2), 353, Rename(at(0, 1), at(2, 3), Some(4))),
        call("mkdir", legacy!(SYS_mkdir), 39, MakeDirectory(plain(0))),
        call("mkdirat", Some(libc::SYS_mkdirat), 296, MakeDirectory(at(0, 1))),
        call("mknod", legacy!(SYS_mknod), 14, Make(plain(0))),
        call("mknodat", Some(libc::SYS_mknodat), 297, Make(at(0, 1))),
        call("symlink", legacy!(SYS_symlink), 83, Make(plain(1))),
        call("symlinkat", Some(libc::SYS_symlinkat), 304, Make(at(1, 2))),
        call("link", legacy!(SYS_link), 9, Link(plain(0), plain(1), keep)),
        call("linkat", Some(libc::SYS_linkat), 303, Link(at(0, 1), at(2, 3), Links::Only(4))),
        call("truncate", Some(libc::SYS_truncate), 92, Change(plain(0), follow)),
        call("truncate64", None, 193, Change(plain(0), follow)),
        call("chmod", legacy!(SYS_chmod), 15, Change(plain(0), follow)),
        call("fchmodat", Some(libc::SYS_fchmodat), 306, Change(at(0, 1), follow)),
        call("fchmodat2", Some(SYS_FCHMODAT2), 452, Change(at(0, 1), Links::Unless(3))),
        call("chown", legacy!(SYS_chown), 182, Change(plain(0), follow)),
        call("chown32", None, 212, Change(plain(0), follow)),
        call("lchown", legacy!(SYS_lchown), 16, Change(plain(0), keep)),
        call("lchown32", None, 198, Change(plain(0), keep)),
        call("fchownat", Some(libc::SYS_fchownat), 298, Change(at(0, 1), Links::Unless(4))),
        call("utime", legacy!(SYS_utime), 30, Change(plain(0), follow)),
        call("utimes", legacy!(SYS_utimes), 271, Change(plain(0), follow)),
        call("futimesat", legacy!(SYS_futimesat), 299, Change(at(0, 1), follow)),
        call("utimensat", Some(libc::SYS_utimensat), 320, Change(at(0, 1), Links::Unless(3))),
        call("utimensat_time64", None, 412, Change(at(0, 1), Links::Unless(3))),
        call("setxattr", Some(libc::SYS_setxattr), 226, Change(plain(0), follow)),
        call("lsetxattr", Some(libc::SYS_lsetxattr), 227, Change(plain(0), keep)),
        call("removexattr", Some(libc::SYS_removexattr), 235, Change(plain(0), follow)),
        call("lremovexattr", Some(libc::SYS_lremovexattr), 236, Change(plain(0), keep)),
        call("setxattrat", Some(SYS_SETXATTRAT), 463, Change(at(0, 1), Links::Unless(2))),
        call("removexattrat", Some(SYS_REMOVEXATTRAT), 466, Change(at(0, 1), Links::Unless(2))),
        call("fchmod", Some(libc::SYS_fchmod), 94, ChangeOpen(0)),
        call("fchown", Some(libc::SYS_fchown), 95, ChangeOpen(0)),
        call("fchown32", None, 207, ChangeOpen(0)),
        call("fsetxattr", Some(libc::SYS_fsetxattr), 228, ChangeOpen(0)),
        call("fremovexattr", Some(libc::SYS_fremovexattr), 237, ChangeOpen(0)),
        call("execve", Some(libc::SYS_execve), 11, Execute(plain(0), 1, None)),
        call("execveat", Some(libc::SYS_execveat), 358, Execute(at(0, 1), 2, Some(4))),
        call("connect", Some(libc::SYS_connect), 362, Connect),
        call("bind", Some(libc::SYS_bind), 361, Bind),
        call("listen", Some(libc::SYS_listen), 363, Listen),
        when("sendto", Some(libc::SYS_sendto), 369, SendTo, &[Condition::NonZero { argument: 4 }]),
        call("sendmsg", Some(libc::SYS_sendmsg), 370, SendMessage),
        call("sendmmsg", Some(libc::SYS_sendmmsg), 345, SendMessages),
        call("socketcall", None, 102, SocketCall),
        call("exit_group", Some(libc::SYS_exit_group), 252, Exit),
        call("exit", Some(libc::SYS_exit), 1, ExitThread),
        call("clone3", Some(libc::SYS_clone3), 435, ChangeView),
        when(
            "clone",
            Some(libc::SYS_clone),
            120,
            ChangeView,
            &[Condition::AnyBit { argument: 0, mask: VIEW_FLAGS }],
        ),
        when(
            "unshare",
            Some(libc::SYS_unshare),
            310,
            ChangeView,
            &[Condition::AnyBit { argument: 0, mask: VIEW_FLAGS }],
        ),
        call("setns", Some(libc::SYS_setns), 346, ChangeView),
        call("chroot", Some(libc::SYS_chroot), 61, ChangeView),
        call("pivot_root", Some(libc::SYS_pivot_root), 217, ChangeView),
        call("chdir", Some(libc::SYS_chdir), 12, ChangeDirectory),
        call("fchdir", Some(libc::SYS_fchdir), 133, ChangeDirectory),
        call("mount", Some(libc::SYS_mount), 21, Mount),
        call("move_mount", Some(libc::SYS_move_mount), 429, Mount),
        call("umount2", Some(libc::SYS_umount2), 52, Unmount),
        call("io_uring_setup", Some(libc::SYS_io_uring_setup), 425, IoUring),
        when(
            "seccomp",
            Some(libc::SYS_seccomp),
            354,
            OwnListener,
            // SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_NEW_LISTENER.
            &[
                Condition::Masked { argument: 0, mask: u32::MAX, value: 1 },
                Condition::AnyBit { argument: 1, mask: 8 },
            ],
        ),
        // PTRACE_ATTACH and PTRACE_SEIZE.
        when(
            "ptrace",
            Some(libc::SYS_ptrace),
            26,
            Reach(1, false),
            &[Condition::Masked { argument: 0, mask: u32::MAX, value: 16 }],
        ),
        when(
            "ptrace",
            Some(libc::SYS_ptrace),
            26,
            Reach(1, false),
            &[Condition::Masked { argument: 0, mask: u32::MAX, value: 0x4206 }],
        ),
        // With an id and new limits: those of another process.
        when(
            "prlimit64",
            Some(libc::SYS_prlimit64),
            340,
            Reach(0, false),
            &[Condition::NonZero { argument: 0 }, Condition::NonZero { argument: 2 }],
        ),
        call("process_vm_readv", Some(libc::SYS_process_vm_readv), 347, Reach(0, false)),
        call("process_vm_writev", Some(libc::SYS_process_vm_writev), 348, Reach(0, false)),
        call("pidfd_getfd", Some(libc::SYS_pidfd_getfd), 438, Reach(0, true)),
        // TIOCSTI.
        when(
            "ioctl",
            Some(libc::SYS_ioctl),
            54,
            TypeIntoTerminal,
            &[Condition::Masked { argument: 1, mask: u32::MAX, value: 0x5412 }],
        ),
    ]
}

/// Returns the calls that are notified where policies are enforced, beside those of [`table`]. Programs of other
/// architectures don't run there.
#[must_use]
pub fn enforced() -> Vec<Call> {
    use Shape::*;
    let only = |name, number, shape| call(name, Some(number), 0, shape);
    vec![
        only("umask", libc::SYS_umask, Umask),
        only("memfd_create", libc::SYS_memfd_create, MemoryFile),
        only("socket", libc::SYS_socket, Socket),
        only("socketpair", libc::SYS_socketpair, Socket),
        only("setuid", libc::SYS_setuid, Identity(1)),
        only("setgid", libc::SYS_setgid, Identity(1)),
        only("setreuid", libc::SYS_setreuid, Identity(2)),
        only("setregid", libc::SYS_setregid, Identity(2)),
        only("setresuid", libc::SYS_setresuid, Identity(3)),
        only("setresgid", libc::SYS_setresgid, Identity(3)),
        only("setfsuid", libc::SYS_setfsuid, Identity(1)),
        only("setfsgid", libc::SYS_setfsgid, Identity(1)),
        only("sched_setaffinity", libc::SYS_sched_setaffinity, Steer(0)),
        only("sched_setscheduler", libc::SYS_sched_setscheduler, Steer(0)),
        only("sched_setparam", libc::SYS_sched_setparam, Steer(0)),
        only("sched_setattr", libc::SYS_sched_setattr, Steer(0)),
        only("setpriority", libc::SYS_setpriority, Steer(1)),
        only("ioprio_set", libc::SYS_ioprio_set, Steer(1)),
        only("inotify_add_watch", libc::SYS_inotify_add_watch, Watch(0, plain(1))),
    ]
}

/// The table, by architecture and number.
#[derive(Debug)]
pub struct Table {
    native: Vec<Option<Call>>,
    i386: Vec<Option<Call>>,
}

impl Default for Table {
    fn default() -> Self {
        let mut index = Self { native: Vec::new(), i386: Vec::new() };
        for call in table().into_iter().chain(enforced()) {
            put(&mut index.native, call.native, &call);
            put(&mut index.i386, call.i386, &call);
        }
        index
    }
}

fn put(calls: &mut Vec<Option<Call>>, number: Option<u32>, call: &Call) {
    let Some(at) = number.and_then(|number| usize::try_from(number).ok()) else { return };
    if calls.len() <= at {
        calls.resize(at + 1, None);
    }
    if let Some(place) = calls.get_mut(at) {
        *place = Some(call.clone());
    }
}

impl Table {
    /// Returns the call of a number.
    #[must_use]
    pub fn get(&self, architecture: u32, number: u32) -> Option<&Call> {
        let calls = match architecture {
            NATIVE => &self.native,
            I386 => &self.i386,
            _ => return None,
        };
        calls.get(usize::try_from(number).ok()?)?.as_ref()
    }
}

/// `AUDIT_ARCH_*` of this machine.
#[cfg(target_arch = "x86_64")]
pub const NATIVE: u32 = 0xc000_003e;
/// `AUDIT_ARCH_*` of this machine.
#[cfg(target_arch = "aarch64")]
pub const NATIVE: u32 = 0xc000_00b7;

/// `AUDIT_ARCH_I386`.
pub const I386: u32 = 0x4000_0003;

/// From here on, numbers are those of the x32 ABI.
pub const X32: u32 = 0x4000_0000;

/// Makes the filter: what the table names is notified, everything else goes by. Answered without asking:
/// `prctl(PR_SET_DUMPABLE, 0)` with success (a process that can't be read blinds the observer), and, unless
/// io_uring is allowed, its use with EPERM.
#[must_use]
pub fn filter(allow_io_uring: bool) -> Program {
    let mut sections = vec![section(NATIVE, allow_io_uring, |call| call.native)];
    if cfg!(target_arch = "x86_64") {
        sections.push(section(I386, allow_io_uring, |call| call.i386));
        if let Some(native) = sections.first_mut() {
            native.from = Some((X32, Verdict::Notify));
        }
    }
    Program::assemble(&sections)
}

/// Returns the rules by which calls are notified.
#[must_use]
pub fn notified(calls: &[Call], number: impl Fn(&Call) -> Option<u32>) -> Vec<Rule> {
    let rule = |call: &Call| {
        Some(Rule { number: number(call)?, conditions: call.conditions.to_vec(), verdict: Verdict::Notify })
    };
    calls.iter().filter_map(rule).collect()
}

fn section(architecture: u32, allow_io_uring: bool, number: impl Fn(&Call) -> Option<u32>) -> Section {
    let native = architecture == NATIVE;
    let mut rules = notified(&table(), number);
    let prctl = if native { u32::try_from(libc::SYS_prctl).unwrap_or(0) } else { 172 };
    let dumpable = u32::try_from(libc::PR_SET_DUMPABLE).unwrap_or(4);
    rules.push(Rule {
        number: prctl,
        conditions: vec![
            Condition::Masked { argument: 0, mask: u32::MAX, value: dumpable },
            Condition::Masked { argument: 1, mask: u32::MAX, value: 0 },
        ],
        verdict: Verdict::Errno(0),
    });
    if !allow_io_uring {
        // io_uring_enter and io_uring_register, on every architecture.
        for number in [426, 427] {
            rules.push(Rule { number, conditions: vec![], verdict: Verdict::Errno(1) });
        }
    }
    Section { architecture, from: None, rules }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_number_stands_twice() {
        let mut seen = HashSet::new();
        for call in table() {
            let key = |n| (n, format!("{:?}", call.conditions));
            assert!(call.native.is_none_or(|n| seen.insert((NATIVE, key(n)))), "{}", call.name);
            assert!(call.i386.is_none_or(|n| seen.insert((I386, key(n)))), "{}", call.name);
        }
    }

    #[test]
    fn the_filter_fits_the_kernel() {
        assert!(filter(false).len() < 4096);
    }
}
