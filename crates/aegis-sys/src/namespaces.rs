//! Namespaces: an own view of files, processes and System V objects, an own network (`namespaces(7)`,
//! `user_namespaces(7)`, `pid_namespaces(7)`, `network_namespaces(7)`).

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};

use crate::outside;

/// Puts this process, which must have one thread, into a user namespace of its own. It keeps its ids, and can make
/// other namespaces from then on. Files of users other than its own seem to belong to nobody in there.
///
/// # Errors
/// That of `unshare(2)`: EPERM, ENOSPC or EUSERS where no user namespace can be had; or of writing its maps.
pub fn enter_user_namespace() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let dumpable = rustix::process::dumpable_behavior()?;
    // SAFETY: changes what this one thread may do; no memory or descriptor is touched.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The files belong to root where the process is not dumpable.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    let maps = write(c"setgroups", "deny")
        .and_then(|()| write(c"uid_map", &format!("{uid} {uid} 1")))
        .and_then(|()| write(c"gid_map", &format!("{gid} {gid} 1")));
    set_dumpable_behavior(dumpable)?;
    maps
}

fn write(name: &CStr, text: &str) -> io::Result<()> {
    let name = format!("self/{}", name.to_string_lossy());
    File::from(outside::open(&name, rustix::fs::OFlags::WRONLY)?).write_all(text.as_bytes())
}

/// Gives this thread, and what it starts, mounts and System V objects of its own.
///
/// # Errors
/// That of `unshare(2)`.
pub fn unshare_view() -> io::Result<()> {
    // SAFETY: changes what paths and ids mean to this thread; no memory or descriptor is touched.
    if unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWIPC) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives this thread, and what it starts, a network of its own, in which there is nothing but the loopback device. What is
/// open already stays where it is.
///
/// # Errors
/// That of `unshare(2)`, or of bringing the device up.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: changes in which network this thread opens sockets; no memory or descriptor is touched.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: the structure is integers and arrays of them, of which all zero is a valid one.
    let mut device: libc::ifreq = unsafe { std::mem::zeroed() };
    for (at, byte) in device.ifr_name.iter_mut().zip(*b"lo") {
        *at = byte.cast_signed();
    }
    device.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: the kernel reads one such structure, which names a device and has its flags (netdevice(7)).
    let up = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const device) };
    if up == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The first process of a process id namespace. It takes in what loses its parent, and ends when it is let go and
/// nothing is left; with it everything in the namespace is killed.
#[derive(Debug)]
pub struct First {
    /// Its id here.
    pub pid: u32,
    /// Its namespace. Who may enter it by the process alone is not who may enter it by this: a thread in a Landlock
    /// domain may not look at it any more.
    namespace: OwnedFd,
    /// Its end shows that it may end.
    _hold: OwnedFd,
}

impl First {
    /// Starts a process id namespace, whose first process puts a `/proc` of it at a path. It is a child of this process.
    ///
    /// # Errors
    /// It can't be started, or the mount is refused, as in a container that hides parts of its own `/proc`.
    pub fn start(proc: &CStr) -> io::Result<Self> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let ((told, tell), (held, hold), (born, bear)) = (pipe()?, pipe()?, pipe()?);
        // A thread that is to have children in another namespace can't start threads any more: so another process prepares
        // it, gives its child away, and leaves the namespace behind: it shares our descriptors.
        // SAFETY: the children call only async-signal-safe functions and allocate nothing, as a child of a process with
        // threads must (fork(2)); with these flags clone(2) takes no stack. The helper opens one descriptor and closes
        // none.
        let helper = unsafe {
            let helper = libc::syscall(libc::SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0);
            if helper == 0 {
                let mut child: libc::c_long = -1;
                if libc::unshare(libc::CLONE_NEWPID) == 0 {
                    child = libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0);
                    if child == 0 {
                        be_first(proc, &tell, &held);
                    }
                }
                let flags = libc::O_RDONLY | libc::O_CLOEXEC;
                let name = c"self/ns/pid_for_children".as_ptr();
                let mut namespace = -1;
                if child > 0 {
                    namespace = libc::openat(outside::proc().as_raw_fd(), name, flags);
                }
                let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
                let answer =
                    [i32::try_from(child).unwrap_or(-1), if namespace >= 0 { namespace } else { -errno }];
                let bytes = std::slice::from_raw_parts(answer.as_ptr().cast::<u8>(), 8);
                let _ = rustix::io::write(&bear, bytes);
                libc::_exit(0);
            }
            helper
        };
        let helper = u32::try_from(helper).map_err(|_| io::Error::last_os_error())?;
        // It writes by our own descriptor: that is closed behind its end.
        drop(crate::process::wait_for(helper, true));
        drop(bear);
        let answer = heard(&born).and_then(|pid| Ok((pid, heard(&born)?)));
        drop((tell, held));
        let (pid, namespace) = answer?;
        // SAFETY: where it is no negative errno, the number is that of a descriptor that the helper has left to us alone.
        let namespace = (namespace >= 0).then(|| unsafe { OwnedFd::from_raw_fd(namespace) }).ok_or(namespace);
        if pid <= 0 {
            return Err(io::Error::from_raw_os_error(namespace.err().map_or(libc::EIO, |errno| -errno)));
        }
        let failed = match (heard(&told), namespace) {
            (Ok(0), Ok(namespace)) => {
                return Ok(Self { pid: pid.cast_unsigned(), namespace, _hold: hold });
            }
            (Ok(0), Err(errno)) => io::Error::from_raw_os_error(-errno),
            (Ok(errno), _) => io::Error::from_raw_os_error(errno),
            (Err(error), _) => error,
        };
        drop(hold);
        drop(crate::process::wait_for(pid.cast_unsigned(), true));
        Err(failed)
    }

    /// Lets what this thread starts from then on be in the namespace. It can start no threads then.
    ///
    /// # Errors
    /// That of `setns(2)`.
    pub fn enter(&self) -> io::Result<()> {
        // SAFETY: takes a descriptor; no memory is touched.
        if unsafe { libc::setns(self.namespace.as_raw_fd(), libc::CLONE_NEWPID) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// Reads a number from a pipe whose other end may close without one.
fn heard(pipe: &OwnedFd) -> io::Result<i32> {
    let mut message = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut message))? {
        4 => Ok(i32::from_ne_bytes(message)),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Runs in the first process; does not return.
fn be_first(proc: &CStr, tell: &OwnedFd, held: &OwnedFd) -> ! {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: all strings end with a zero byte.
    let mounted =
        unsafe { libc::mount(c"proc".as_ptr(), proc.as_ptr(), c"proc".as_ptr(), flags, std::ptr::null()) };
    let errno = if mounted == 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) };
    // It must not outlive who answers for the agent; and it holds nothing of that.
    let bound = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    let _ = rustix::io::write(tell, &if bound { errno } else { libc::EIO }.to_ne_bytes());
    if errno != 0 || !bound {
        crate::process::exit_now(1);
    }
    // SAFETY: this process has one thread and goes on with three descriptors of its own; nothing else is used again. The
    // set is initialised before it is used, and the structures are plain integers.
    unsafe {
        let mut children = std::mem::zeroed();
        libc::sigemptyset(&raw mut children);
        libc::sigaddset(&raw mut children, libc::SIGCHLD);
        libc::dup2(held.as_raw_fd(), 0);
        let ended = libc::signalfd(-1, &raw const children, libc::SFD_NONBLOCK);
        libc::dup2(ended, 1);
        libc::close_range(2, u32::MAX, 0);
        let mut watched = [
            libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 },
            libc::pollfd { fd: 1, events: libc::POLLIN, revents: 0 },
        ];
        let mut let_go = false;
        loop {
            let mut none_left = false;
            loop {
                match libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) {
                    0 => break,
                    -1 => {
                        none_left = true;
                        break;
                    }
                    _ => {}
                }
            }
            if let_go && none_left {
                libc::_exit(0);
            }
            let [hold, signals] = &mut watched;
            if let_go {
                // Its end stays readable.
                hold.fd = -1;
            }
            libc::poll(std::ptr::from_mut(hold), 2, -1);
            let_go |= hold.revents != 0;
            if signals.revents != 0 {
                let mut bytes = [0u8; 128];
                libc::read(1, bytes.as_mut_ptr().cast(), bytes.len());
            }
        }
    }
}
