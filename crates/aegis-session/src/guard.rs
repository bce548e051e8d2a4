//! The guard: between the front and the session process, so that the tree outlives neither.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;

use aegis_sys::process;

use crate::plan::Plan;
use crate::wire::Wire;

/// Runs in the guard: starts the session process, waits for it, and kills what it leaves behind.
///
/// # Errors
/// The session process can't be started.
pub(crate) fn run(mut plan: Plan, wire: Wire, mask: aegis_sys::signals::Mask) -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let me: OwnedFd =
        rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())?;
    plan.observer.aegis.push(std::process::id());
    // To let go of it here would copy every page that it is in, which the session process has as well.
    let plan = ManuallyDrop::new(plan);
    let session = process::fork(|| crate::process::run(ManuallyDrop::into_inner(plan), wire, mask, me))?;
    // The session process has its own; while the guard holds these, nobody sees them closed.
    for fd in 0..3 {
        aegis_sys::files::drop_standard(fd)?;
    }
    aegis_sys::files::close_inherited()?;
    loop {
        match process::wait_any(true) {
            Ok(Some((pid, process::Change::Ended(_)))) if pid == session => break,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    process::kill_descendants()
}
