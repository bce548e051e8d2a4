//! Taking away from root what no agent needs, and what would let it look behind the sandbox.

use rustix::io;
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities};

/// What is taken away. With SYS_ADMIN, PERFMON or SYS_PTRACE, a process of root reads the environment and the memory
/// map of the session process through Landlock (measured on Linux 6.18).
const TAKEN: &[CapabilitySet] = &[
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::PERFMON,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::BPF,
    CapabilitySet::CHECKPOINT_RESTORE,
    CapabilitySet::DAC_READ_SEARCH,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::SYS_TIME,
    CapabilitySet::SYS_TTY_CONFIG,
    CapabilitySet::SYSLOG,
    CapabilitySet::MAC_ADMIN,
    CapabilitySet::MAC_OVERRIDE,
    CapabilitySet::AUDIT_CONTROL,
    CapabilitySet::AUDIT_READ,
    CapabilitySet::NET_ADMIN,
    CapabilitySet::NET_RAW,
    CapabilitySet::MKNOD,
    CapabilitySet::LINUX_IMMUTABLE,
    CapabilitySet::BLOCK_SUSPEND,
    CapabilitySet::WAKE_ALARM,
];

/// Takes every privilege away from this thread and what it starts: what a user has in a user namespace of its own.
///
/// # Errors
/// That of `capset(2)`.
pub fn drop_all() -> io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
}

/// Takes them away from this thread and what it starts, for good.
///
/// # Errors
/// That of `prctl(2)` or `capset(2)`.
pub fn drop_most() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    for one in TAKEN {
        // The bounding set can only be lowered by who may; what is not permitted can't come back by an exec either,
        // for nobody gains anything with no_new_privs.
        if sets.effective.contains(CapabilitySet::SETPCAP) {
            match remove_capability_from_bounding_set(*one) {
                // A kernel that does not know it.
                Ok(()) | Err(io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
    }
    for one in TAKEN {
        sets.effective.remove(*one);
        sets.permitted.remove(*one);
        sets.inheritable.remove(*one);
    }
    set_capabilities(None, sets)
}
