//! What the kernel really offers, by trying it.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::bpf::{Program, Rule, Section, Verdict};
use crate::landlock::{Governs, Layer, Rights};
use crate::process;
use crate::seccomp::{self, Features};
use crate::{namespaces, outside};

/// Whether user notification works.
#[derive(Debug)]
pub enum Answer {
    /// A call was asked about and answered.
    Works {
        /// What there is beyond that.
        features: Features,
    },
    /// It does not.
    Fails(io::Error),
}

/// `AUDIT_ARCH_*` of this machine.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
/// `AUDIT_ARCH_*` of this machine.
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Makes a round trip: a thread calls `getppid`, which is answered with an errno of our own.
#[must_use]
pub fn notification() -> Answer {
    match round_trip() {
        Ok(features) => Answer::Works { features },
        Err(error) => Answer::Fails(error),
    }
}

fn round_trip() -> io::Result<Features> {
    const OWN: i32 = libc::EXDEV;
    let number = u32::try_from(libc::SYS_getppid).unwrap_or(0);
    let rule = Rule { number, conditions: vec![], verdict: Verdict::Notify };
    let program = Program::assemble(&[Section { architecture: ARCHITECTURE, from: None, rules: vec![rule] }]);
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::spawn(move || {
        let listening = seccomp::no_new_privileges().and_then(|()| seccomp::listen(&program));
        let works = listening.is_ok();
        // The receiver waits for exactly this.
        drop(send.send(listening));
        // SAFETY: getppid has no arguments and no memory effects.
        let answer = unsafe { if works { libc::syscall(libc::SYS_getppid) } else { 0 } };
        (answer, io::Error::last_os_error().raw_os_error())
    });
    let gone = || io::Error::other("the probe's thread ended");
    let (listener, features) = receive.recv().map_err(|_| gone())??;
    listener.receive()?.refuse(OWN)?;
    match thread.join() {
        Ok((-1, Some(OWN))) => Ok(features),
        Ok(_) => Err(io::Error::other("the answer did not arrive")),
        Err(_) => Err(gone()),
    }
}

/// Returns the Landlock ABI, where there is one.
#[must_use]
pub fn landlock() -> Option<u32> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag and a null attribute the call only returns a number (landlock_create_ruleset(2)).
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    u32::try_from(abi).ok().filter(|abi| *abi > 0)
}

/// Says whether a Landlock layer holds, by trying one on a thread.
#[must_use]
pub fn landlock_holds(abi: u32) -> bool {
    let refused = move || -> io::Result<bool> {
        seccomp::no_new_privileges()?;
        let governs = Governs { files: Rights::READ_FILE, ..Governs::default() };
        Layer::new(abi, governs)?.enforce()?;
        let opened = outside::open("self/status", rustix::fs::OFlags::RDONLY);
        Ok(opened.is_err_and(|error| error == rustix::io::Errno::ACCESS))
    };
    std::thread::spawn(refused).join().is_ok_and(|refused| refused.unwrap_or(false))
}

/// Runs a probe in a process of its own, where what it does changes nothing here.
fn in_child(probe: impl FnOnce() -> bool) -> bool {
    let Ok(child) = process::fork(|| i32::from(!probe())) else { return false };
    matches!(process::wait_for(child, true), Ok(Some(process::Change::Ended(process::Ended::Code(0)))))
}

/// Says whether a user namespace can be made.
#[must_use]
pub fn user_namespaces() -> bool {
    // SAFETY: unshare affects only the child that runs it, which has one thread and ends at once.
    in_child(|| unsafe { libc::unshare(libc::CLONE_NEWUSER) == 0 })
}

/// What a process can have of its own, each with what is refused first.
#[derive(Debug)]
pub struct Own {
    /// Mounts, processes and System V objects, with a `/proc` that shows them.
    pub view: io::Result<()>,
    /// A network, beside them.
    pub network: io::Result<()>,
}

/// Tries what a process can have of its own; for `root` without a user namespace. To be called by a process with one
/// thread.
///
/// # Errors
/// It can't be tried.
pub fn namespaces(root: bool) -> io::Result<Own> {
    let (told, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    outside::hold();
    let child = process::fork(|| {
        let made = if root { Ok(()) } else { namespaces::enter_user_namespace() };
        let view = made.and_then(|()| namespaces::unshare_view()).and_then(|()| {
            let private =
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private)?;
            // It ends as it is let go.
            namespaces::First::start(c"/proc").and_then(|first| first.enter())
        });
        // Where there is no view, none is made for a network alone.
        let network = if view.is_ok() { namespaces::unshare_network() } else { Ok(()) };
        let errno = |made: io::Result<()>| {
            made.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO)).to_ne_bytes()
        };
        let _ = rustix::io::write(&tell, &[errno(view), errno(network)].concat());
        0
    })?;
    drop(tell);
    let mut message = [0; 8];
    let got = rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut message))?;
    process::wait_for(child, true)?;
    if got != message.len() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let mut made =
        message.chunks_exact(4).map(|bytes| match bytes.try_into().map_or(0, i32::from_ne_bytes) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        });
    let mut next = || made.next().unwrap_or(Ok(()));
    Ok(Own { view: next(), network: next() })
}

/// Says whether a whole file system can be marked.
#[must_use]
pub fn fanotify() -> bool {
    const REPORT_DFID_NAME: libc::c_uint = 0x400 | 0x800;
    // SAFETY: the descriptor is new and owned here alone; the mark's path is a literal.
    unsafe {
        let fd = libc::fanotify_init(libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | REPORT_DFID_NAME, 0);
        if fd < 0 {
            return false;
        }
        let group = OwnedFd::from_raw_fd(fd);
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        libc::fanotify_mark(group.as_raw_fd(), flags, libc::FAN_CREATE, libc::AT_FDCWD, c"/".as_ptr()) == 0
    }
}

/// Says whether the kernel tells how a process ended that was reaped by another.
#[must_use]
pub fn exit_information() -> bool {
    let Ok(child) = process::fork(|| 7) else { return false };
    let pid = i32::try_from(child).ok().and_then(rustix::process::Pid::from_raw);
    let pidfd =
        pid.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    let waited = process::wait_for(child, true);
    waited.is_ok() && pidfd.is_some_and(|fd| process::ended(fd.as_fd()) == Some(process::Ended::Code(7)))
}
