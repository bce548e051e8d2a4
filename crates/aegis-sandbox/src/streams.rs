//! The standard streams that an agent is handed. What holds for sockets that it opens does not hold for those.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, fstat};
use rustix::net::sockopt::{socket_domain, socket_protocol, socket_type};
use rustix::net::{AddressFamily, SocketType, ipproto};

/// Returns the name of a standard stream by which an agent could send to whom it likes: a socket that takes an address
/// beside each message.
#[must_use]
pub fn unbounded() -> Option<&'static str> {
    let streams = [
        ("standard input", rustix::stdio::stdin()),
        ("standard output", rustix::stdio::stdout()),
        ("standard error", rustix::stdio::stderr()),
    ];
    streams.into_iter().find(|(_, stream)| !is_bounded(*stream)).map(|(name, _)| name)
}

/// Says whether all that is sent goes to one peer, which a call that is decided on gives.
fn is_bounded(stream: BorrowedFd<'_>) -> bool {
    // One that is closed sends nothing.
    let Ok(stat) = fstat(stream) else { return true };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return true;
    }
    let known = (socket_domain(stream), socket_type(stream), socket_protocol(stream));
    let (Ok(family), Ok(kind), Ok(protocol)) = known else { return false };
    match (family, kind) {
        (AddressFamily::UNIX, SocketType::STREAM | SocketType::SEQPACKET)
        | (AddressFamily::VSOCK, SocketType::STREAM) => true,
        // Others of that kind connect as they send (sctp(7)).
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM) => {
            [Some(ipproto::TCP), Some(ipproto::MPTCP)].contains(&protocol)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    #[test]
    fn what_sends_to_one_peer_only_is_told_from_what_does_not() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixStream::pair().unwrap());
        for bounded in [file.as_fd(), tcp.as_fd(), unix.0.as_fd()] {
            assert!(is_bounded(bounded));
        }
        let (udp, unix) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UnixDatagram::pair().unwrap());
        let netlink = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None);
        for unbounded in [udp.as_fd(), unix.0.as_fd(), netlink.unwrap().as_fd()] {
            assert!(!is_bounded(unbounded));
        }
    }
}
