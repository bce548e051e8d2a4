//! Seccomp user notification: a filter on one thread and what it starts, and the questions it asks.
//!
//! `seccomp(2)`, `seccomp_unotify(2)`. A [`Notification`] must be answered; one that is dropped is refused.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use crate::bpf::Program;

/// Runs the supervisor on the CPU of the caller, as a function call does (Linux 6.6).
const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: u64 = 1;

/// What the kernel has beyond the basics of user notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// A caller that waits for its answer is interrupted by fatal signals only (5.19): no call is asked twice.
    pub wait_killable: bool,
    /// Caller and supervisor take turns on one CPU (6.6).
    pub sync_wake_up: bool,
}

/// Sets `no_new_privs` on this thread and what it starts. It can't be unset.
///
/// # Errors
/// That of `prctl(2)`.
pub fn no_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Puts a filter with a listener on this thread, and on what it starts from then on.
///
/// # Errors
/// EBUSY where a filter with a listener is in force already, EACCES without `no_new_privs`, ENOSYS or EINVAL
/// where the kernel lacks it.
pub fn listen(program: &Program) -> io::Result<(Listener, Features)> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let mut features = Features { wait_killable: true, sync_wake_up: false };
    let fd = match install(program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            features.wait_killable = false;
            install(program, flags)?
        }
        other => other?,
    };
    // SAFETY: sets a flag of the descriptor; the value is passed by value.
    let sync = unsafe {
        libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
    };
    features.sync_wake_up = sync == 0;
    Ok((Listener(fd), features))
}

fn install(program: &Program, flags: libc::c_ulong) -> io::Result<OwnedFd> {
    program.with_raw(|raw| {
        // SAFETY: the program is valid for the call and copied by the kernel; the descriptor that comes back
        // is new and owned here alone.
        unsafe {
            let fd = libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                std::ptr::from_ref(raw),
            );
            match i32::try_from(fd) {
                Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    })
}

/// Where notifications come from.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A call as the caller made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawCall {
    /// `AUDIT_ARCH_*`.
    pub architecture: u32,
    /// The number, in that architecture's table.
    pub number: u32,
    /// The arguments.
    pub arguments: [u64; 6],
}

/// A caller that waits for an answer.
#[derive(Debug)]
#[must_use = "the caller waits until it is answered"]
pub struct Notification<'l> {
    listener: &'l Listener,
    id: u64,
    answered: bool,
    /// The calling thread.
    pub tid: u32,
    /// What it calls.
    pub call: RawCall,
}

impl Listener {
    /// Waits for the next notification.
    ///
    /// # Errors
    /// That of the ioctl; not where the caller went away or the wait was interrupted, which is waited on.
    pub fn receive(&self) -> io::Result<Notification<'_>> {
        loop {
            // SAFETY: the structure is plain integers and must be zero for the call.
            let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the kernel writes one such structure.
            let got =
                unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut raw) };
            if got == 0 {
                return Ok(Notification {
                    listener: self,
                    id: raw.id,
                    answered: false,
                    tid: raw.pid,
                    call: RawCall {
                        architecture: raw.data.arch,
                        number: raw.data.nr.cast_unsigned(),
                        arguments: raw.data.args,
                    },
                });
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::EINTR) => {}
                _ => return Err(error),
            }
        }
    }

    /// Says whether the caller of a notification that was put aside still waits.
    #[must_use]
    pub fn waits(&self, id: u64) -> bool {
        self.is_valid(id)
    }

    fn is_valid(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one 64-bit number.
        let valid =
            unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
        // Nothing else says that the caller has gone.
        valid == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOENT)
    }

    /// Takes up again a notification that was put aside.
    #[expect(clippy::needless_pass_by_value, reason = "what was put aside is taken up once")]
    pub fn resume(&self, parked: Parked) -> Notification<'_> {
        let Parked { id, tid, call } = parked;
        Notification { listener: self, id, answered: false, tid, call }
    }

    fn answer(&self, id: u64, error: i32, value: i64, flags: u32) -> io::Result<()> {
        let mut response = libc::seccomp_notif_resp { id, val: value, error, flags };
        loop {
            // SAFETY: the kernel reads one such structure.
            let sent =
                unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
            if sent == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // The caller was killed or interrupted meanwhile; nobody waits any more.
                Some(libc::ENOENT) => return Ok(()),
                Some(libc::EINTR) => {}
                _ => return Err(error),
            }
        }
    }
}

impl Notification<'_> {
    /// Says whether the caller still waits; what was read of it before is then the caller's and not that of
    /// another process with its id.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.listener.is_valid(self.id)
    }

    /// Lets the kernel execute the call, with whatever its arguments are by then.
    ///
    /// # Errors
    /// That of the ioctl; not where the caller went away.
    pub fn proceed(mut self) -> io::Result<()> {
        self.answered = true;
        let flag = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1);
        self.listener.answer(self.id, 0, 0, flag)
    }

    /// Makes the call fail with this errno.
    ///
    /// # Errors
    /// That of the ioctl; not where the caller went away.
    pub fn refuse(mut self, errno: i32) -> io::Result<()> {
        self.answered = true;
        self.listener.answer(self.id, -errno, 0, 0)
    }

    /// Makes the call return this, without executing it.
    ///
    /// # Errors
    /// That of the ioctl; not where the caller went away.
    pub fn value(mut self, value: i64) -> io::Result<()> {
        self.answered = true;
        self.listener.answer(self.id, 0, value, 0)
    }

    /// Gives the caller a descriptor of the same open file, and makes the call return its number, in one step
    /// (Linux 5.14). Where the caller can't take it, its call fails with that errno, which is returned.
    ///
    /// # Errors
    /// That of the ioctl; not where the caller went away.
    pub fn give(mut self, fd: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<Result<(), i32>> {
        match self.add(fd, close_on_exec, libc::SECCOMP_ADDFD_FLAG_SEND) {
            Ok(_) => {
                self.answered = true;
                Ok(Ok(()))
            }
            Err(error) => self.refuse(error).map(|()| Err(error)),
        }
    }

    /// As [`Notification::give`], and nobody but the caller has the file open when its call returns: a file that is still
    /// open for writing elsewhere can't be executed, and a pipe has no end.
    ///
    /// # Errors
    /// As [`Notification::give`].
    pub fn hand_over(self, fd: OwnedFd, close_on_exec: bool) -> io::Result<Result<(), i32>> {
        match self.add(fd.as_fd(), close_on_exec, 0) {
            Ok(number) => {
                drop(fd);
                self.value(i64::from(number)).map(Ok)
            }
            Err(error) => self.refuse(error).map(|()| Err(error)),
        }
    }

    /// Adds a descriptor to those of the caller; returns its number. Where the caller has gone, that is as good as done.
    fn add(&self, fd: BorrowedFd<'_>, close_on_exec: bool, flags: libc::c_ulong) -> Result<i32, i32> {
        let request = libc::seccomp_notif_addfd {
            id: self.id,
            flags: u32::try_from(flags).unwrap_or(0),
            srcfd: fd.as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        loop {
            // SAFETY: the kernel reads one such structure.
            let given = unsafe {
                libc::ioctl(self.listener.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const request)
            };
            if given >= 0 {
                return Ok(given);
            }
            match io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) {
                libc::EINTR => {}
                // The caller was killed meanwhile; nobody waits any more.
                libc::ENOENT | libc::EINPROGRESS => return Ok(0),
                error => return Err(error),
            }
        }
    }

    /// Puts it aside: the caller waits until it is taken up again and answered.
    pub fn park(mut self) -> Parked {
        self.answered = true;
        Parked { id: self.id, tid: self.tid, call: self.call }
    }
}

/// An answer that no caller ever sees: the kernel makes EINTR or a restart of the call of it (ERESTARTSYS, `errno.h` of
/// Linux).
pub const RESTART: i32 = 512;

/// A notification that was put aside; see [`Listener::resume`].
#[derive(Debug)]
#[must_use = "the caller waits until it is taken up again"]
pub struct Parked {
    /// Its number.
    pub id: u64,
    /// The calling thread.
    pub tid: u32,
    /// What it calls.
    pub call: RawCall,
}

impl Drop for Notification<'_> {
    fn drop(&mut self) {
        if !self.answered {
            // Nothing more can be done where even this fails; the listener is then closed.
            drop(self.listener.answer(self.id, -libc::EPERM, 0, 0));
        }
    }
}
