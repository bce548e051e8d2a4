//! Evidence that a call took effect, looked for at the next call of the same thread.
//!
//! The kernel does not tell an observer how a call ended. What can be seen later is what it changed: a name
//! that is there now, or gone, or stands for the file that had another; a file whose change time moved; a
//! program that runs; a socket with a peer. Somebody else may have done the same in between, which is why it
//! is evidence and not proof.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use aegis_types::Action;
use rustix::fs::{AtFlags, Stat};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use crate::network::Address;
use crate::observer::Ticket;
use crate::processes::start_of_stack;

/// What would show that an event took effect.
#[derive(Debug)]
pub struct Check {
    /// The events that it would show, each with its action and the name that it is on.
    pub acts: Vec<(Ticket, Action, Vec<u8>)>,
    /// What to look at.
    pub sign: Sign,
    /// When the call was made, in microseconds of the monotonic clock.
    pub at_us: u64,
}

/// Something that can be looked at.
#[derive(Debug)]
pub enum Sign {
    /// There is a file of this name; there was none.
    Appeared(Arc<OwnedFd>, Vec<u8>),
    /// The name is gone, or stands for another file.
    Vanished(Arc<OwnedFd>, Vec<u8>, FileId),
    /// The name stands for this file.
    Became(Arc<OwnedFd>, Vec<u8>, FileId),
    /// The file's change time is another.
    Changed(Arc<OwnedFd>, ChangeTime),
    /// The file of this name has another change time, or is another.
    ChangedName(Arc<OwnedFd>, Vec<u8>, FileId, ChangeTime),
    /// The process' stack starts elsewhere: it runs another program.
    Executed(u32, u64),
    /// The socket of this inode, at this descriptor, has this peer.
    Connected(i32, u64, Address),
    /// The socket has this local address.
    Bound(i32, Address),
    /// The socket listens.
    Listens(i32),
}

/// A file's identity: device and inode.
pub type FileId = (u64, u64);

/// A file's change time (`st_ctime`).
pub type ChangeTime = (i64, u64);

/// Returns a file's identity.
#[must_use]
pub fn file_id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

/// Returns a file's change time.
#[must_use]
pub fn change_time(stat: &Stat) -> ChangeTime {
    (stat.st_ctime, stat.st_ctime_nsec)
}

/// File systems that are served from elsewhere (`statfs(2)`): FUSE, NFS, SMB, CIFS, 9P, Ceph, AFS.
const SERVED: [i64; 7] =
    [0x6573_5546, 0x6969, 0xfe53_4d42, 0xff53_4d42, 0x0102_1997, 0x00c3_6400, 0x5346_414f];

impl Sign {
    /// Says whether the look may wait for somebody else.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        match self {
            Sign::Appeared(file, _)
            | Sign::Vanished(file, ..)
            | Sign::Became(file, ..)
            | Sign::Changed(file, _)
            | Sign::ChangedName(file, ..) => rustix::fs::fstatfs(file).is_ok_and(|found| {
                SERVED.iter().any(|served| i128::from(found.f_type) == i128::from(*served))
            }),
            Sign::Executed(..) | Sign::Connected(..) | Sign::Bound(..) | Sign::Listens(_) => false,
        }
    }

    /// Looks; `pidfd` is the process that made the call.
    #[must_use]
    pub fn shows(&self, pidfd: &OwnedFd) -> bool {
        let now = |folder: &OwnedFd, name: &[u8]| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        match self {
            Sign::Appeared(folder, name) => now(folder, name).is_ok(),
            Sign::Vanished(folder, name, id) => match now(folder, name) {
                Ok(stat) => file_id(&stat) != *id,
                Err(error) => error == rustix::io::Errno::NOENT,
            },
            Sign::Became(folder, name, id) => now(folder, name).is_ok_and(|stat| file_id(&stat) == *id),
            Sign::Changed(file, before) => {
                rustix::fs::fstat(file).is_ok_and(|stat| change_time(&stat) != *before)
            }
            Sign::ChangedName(folder, name, id, before) => {
                now(folder, name).is_ok_and(|stat| file_id(&stat) == *id && change_time(&stat) != *before)
            }
            Sign::Executed(pid, before) => start_of_stack(*pid).is_some_and(|start| start != *before),
            Sign::Connected(fd, inode, peer) => socket(pidfd, *fd).is_some_and(|socket| {
                let same = rustix::fs::fstat(&socket).is_ok_and(|stat| stat.st_ino == *inode);
                let found = rustix::net::getpeername(&socket).ok().flatten();
                same && found.is_some_and(|found| is_peer(found, peer))
            }),
            Sign::Bound(fd, local) => socket(pidfd, *fd)
                .and_then(|socket| rustix::net::getsockname(&socket).ok())
                .is_some_and(|found| is_address(found, local)),
            Sign::Listens(fd) => socket(pidfd, *fd)
                .is_some_and(|socket| rustix::net::sockopt::socket_acceptconn(&socket).unwrap_or(false)),
        }
    }
}

/// Takes a look at a socket of the process; it is closed again at once, so that the process' own closing is
/// the last.
pub(crate) fn socket(pidfd: &OwnedFd, fd: i32) -> Option<OwnedFd> {
    pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty()).ok()
}

/// Says whether a socket's peer is the one that was named. The path of a Unix socket is that which its listener was
/// bound to, maybe relative to another directory: its last component has to be the same.
fn is_peer(found: rustix::net::SocketAddrAny, named: &Address) -> bool {
    let last = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
    match named {
        Address::Path(path) => rustix::net::SocketAddrUnix::try_from(found)
            .is_ok_and(|found| found.path_bytes().is_some_and(|found| last(found) == last(path))),
        _ => is_address(found, named),
    }
}

/// Says whether an address of a socket is the one that was named.
fn is_address(found: rustix::net::SocketAddrAny, named: &Address) -> bool {
    let unix = || rustix::net::SocketAddrUnix::try_from(found.clone()).ok();
    match named {
        Address::Internet(address, port) => SocketAddr::try_from(found).is_ok_and(|found| {
            // A socket of the IPv6 family shows an IPv4 address as mapped, and names such an one so, too.
            found.ip().to_canonical() == address.to_canonical() && (found.port() == *port || *port == 0)
        }),
        Address::Path(path) => unix().is_some_and(|found| found.path_bytes() == Some(path)),
        Address::Abstract(name) => unix().is_some_and(|found| found.abstract_name() == Some(name)),
        // Of other families no address is read.
        Address::None | Address::Kernel | Address::Other(_) => false,
    }
}
