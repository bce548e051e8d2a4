//! The seccomp filter of a session whose policies are enforced.
//!
//! What names a file, makes a connection or executes a program is notified, as where it is only observed. What would
//! get around that, or reach out of the tree, is refused, here or (where a record tells more) by the supervisor.

use aegis_observer::calls::{NATIVE, X32, enforced, notified, table};
use aegis_sys::bpf::{Condition, Program, Rule, Section, Verdict};

const EPERM: Verdict = Verdict::Errno(1);
const ENOSYS: Verdict = Verdict::Errno(38);

/// What the filter is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choices {
    /// The agent has the rights of root: other ids that it takes on would not be those of who executes its calls.
    pub root: bool,
    /// The tree has its own System V and POSIX queues, semaphores and shared memory.
    pub own_ipc: bool,
}

/// Calls that are refused whatever their arguments: they reach files by other means than a path, change what paths
/// mean, load code into the kernel or into another process, or change the machine.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_vhangup,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    // open_tree_attr (6.15).
    467,
];

/// Calls that newer kernels have and that do what others do: without them, programs take those.
const UNKNOWN: &[libc::c_long] = &[
    // All flags of clone3 are in memory, where they can change.
    libc::SYS_clone3,
    // setxattrat, removexattrat (6.13), file_setattr (6.17).
    463,
    466,
    469,
];

/// System V and POSIX queues, semaphores and shared memory: they have no names in the file system.
const IPC: &[libc::c_long] = &[
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Every `CLONE_NEW*` flag that `clone(2)` takes.
const NAMESPACES: u32 = 0x7e02_0000;

/// `CLONE_NEWTIME`: of `unshare(2)` only, in `clone(2)` it is a part of a signal's number.
const NEW_TIME: u32 = 0x80;

/// `MSG_FASTOPEN` (`send(2)`): connects as it sends.
const FAST_OPEN: u32 = 0x2000_0000;

fn number(call: libc::c_long) -> u32 {
    // Numbers of calls are small and positive.
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn rule(call: libc::c_long, conditions: Vec<Condition>, verdict: Verdict) -> Rule {
    Rule { number: number(call), conditions, verdict }
}

fn is(argument: u8, value: u32) -> Condition {
    Condition::Masked { argument, mask: u32::MAX, value }
}

/// Makes the filter. The first rule that fits holds.
#[must_use]
pub fn filter(choices: Choices) -> Program {
    let mut rules: Vec<Rule> = Vec::new();
    rules.extend(REFUSED.iter().map(|call| rule(*call, vec![], EPERM)));
    rules.extend(UNKNOWN.iter().map(|call| rule(*call, vec![], ENOSYS)));
    if !choices.own_ipc {
        rules.extend(IPC.iter().map(|call| rule(*call, vec![], EPERM)));
    }
    for (call, more) in [(libc::SYS_clone, 0), (libc::SYS_unshare, NEW_TIME)] {
        rules.push(rule(call, vec![Condition::AnyBit { argument: 0, mask: NAMESPACES | more }], EPERM));
    }
    // A layer of the agent's own would not bind those who execute its calls: it is told that there is none to be had.
    rules.push(rule(libc::SYS_landlock_create_ruleset, vec![], Verdict::Errno(95)));
    rules.extend(limits());
    rules.extend(sockets());
    rules.extend(controls());
    if choices.root {
        rules.push(rule(libc::SYS_capset, vec![], EPERM));
        rules.push(rule(libc::SYS_setgroups, vec![], EPERM));
    }
    let dumpable = u32::try_from(libc::PR_SET_DUMPABLE).unwrap_or(4);
    // A process that can't be read could not be supervised.
    rules.push(rule(libc::SYS_prctl, vec![is(0, dumpable), is(1, 0)], Verdict::Errno(0)));
    let identity =
        |call: &aegis_observer::calls::Call| matches!(call.shape, aegis_observer::calls::Shape::Identity(_));
    let calls: Vec<_> = table()
        .into_iter()
        .chain(enforced().into_iter().filter(|call| choices.root || !identity(call)))
        .collect();
    rules.extend(notified(&calls, |call| call.native));
    // Programs of another architecture are killed: they have no section.
    let from = cfg!(target_arch = "x86_64").then_some((X32, Verdict::Notify));
    Program::assemble(&[Section { architecture: NATIVE, from, rules }])
}

/// A core dump is a file that the kernel writes and nobody was asked about: there is none, and a limit that would permit
/// it is taken and not set. What a process runs is not for it to say either.
fn limits() -> [Rule; 3] {
    const CORE: u32 = 4;
    // PR_SET_MM (`PR_SET_MM(2const)`).
    const MEMORY_MAP: u32 = 35;
    [
        rule(libc::SYS_setrlimit, vec![is(0, CORE)], Verdict::Errno(0)),
        rule(libc::SYS_prlimit64, vec![is(1, CORE), Condition::NonZero { argument: 2 }], Verdict::Errno(0)),
        rule(libc::SYS_prctl, vec![is(0, MEMORY_MAP)], EPERM),
    ]
}

/// Sockets: only such as are connected before anything is sent, since an address beside each message can change while
/// it is looked at. Those for datagrams, the supervisor opens in a network in which that does not matter.
fn sockets() -> Vec<Rule> {
    const STREAM: u32 = 1;
    const SEQPACKET: u32 = 5;
    let kind = |value| Condition::Masked { argument: 1, mask: 0xf, value };
    let family = |family: libc::c_int| is(0, family.cast_unsigned());
    let mut rules = Vec::new();
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        for kind_of in [STREAM, SEQPACKET] {
            rules.push(rule(call, vec![family(libc::AF_UNIX), kind(kind_of)], Verdict::Allow));
        }
    }
    for family_of in [libc::AF_INET, libc::AF_INET6] {
        for protocol in [0, libc::IPPROTO_TCP.cast_unsigned()] {
            let conditions = vec![family(family_of), kind(STREAM), is(2, protocol)];
            rules.push(rule(libc::SYS_socket, conditions, Verdict::Allow));
        }
    }
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.push(rule(call, vec![Condition::AnyBit { argument: flags, mask: FAST_OPEN }], EPERM));
    }
    rules
}

/// `ioctl(2)`: what types into a terminal, and what changes a file system by a descriptor that is open for reading.
fn controls() -> Vec<Rule> {
    let control = |conditions, verdict| rule(libc::SYS_ioctl, conditions, verdict);
    // FICLONE, FICLONERANGE, FIDEDUPERANGE: they write to what is open for writing.
    const CLONES: [u32; 3] = [0x4004_9409, 0x4020_940d, 0xc018_9436];
    let mut rules: Vec<Rule> = CLONES.iter().map(|n| control(vec![is(1, *n)], Verdict::Allow)).collect();
    // What tells of a file: FS_IOC_GETFLAGS (two widths), EXT4_IOC_GETVERSION, FS_IOC_FIEMAP, FS_IOC_FSGETXATTR,
    // XFS_IOC_DIOINFO.
    for reads in [0x8008_6601, 0x8004_6601, 0x8008_6603, 0xc020_660b, 0x801c_581f, 0x800c_581e] {
        rules.push(control(vec![is(1, reads)], Verdict::Allow));
    }
    // TIOCSTI, TIOCLINUX, TIOCCONS, FS_IOC_SETVERSION (two widths), FAT_IOCTL_SET_ATTRIBUTES.
    for refused in [0x5412, 0x541c, 0x541d, 0x4008_7602, 0x4004_7602, 0x4004_7211] {
        rules.push(control(vec![is(1, refused)], EPERM));
    }
    // All else that file systems have: of ext4 and of all ('f'), of XFS and of all ('X'), and of btrfs, which make,
    // remove and take in whole trees.
    for family in [0x6600, 0x5800, 0x9400] {
        rules.push(control(vec![Condition::Masked { argument: 1, mask: 0xff00, value: family }], EPERM));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_fits_the_kernel() {
        for (root, own_ipc) in [(false, false), (true, false), (false, true), (true, true)] {
            assert!(filter(Choices { root, own_ipc }).len() < 4096);
        }
    }
}
