//! Operations that connect, send and listen, on this machine only.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aegis_harness::truth::Action::FileDelete;
use aegis_harness::truth::{Direction, Resource};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::sockopt::{set_socket_reuseaddr, socket_error};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    connect, sendmsg_addr, sendto, socket_with,
};

use crate::worker::{Spot, Worker};

/// The longest path that a Unix socket's address has room for.
const LONGEST: usize = 107;

/// Returns an address of this machine, the port of the operation's own: below those the kernel gives away.
fn address(w: &Worker, ip: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), 10_000 + (w.turn % 20_000) as u16)
}

/// Returns an address of either family.
fn any_address(w: &mut Worker) -> SocketAddr {
    if w.dice.one_in(2) { address(w, Ipv4Addr::LOCALHOST) } else { address(w, Ipv6Addr::LOCALHOST) }
}

fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

fn socket_for(to: &SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket(family, kind)
}

/// Connects without a listener by the IPv4 address.
pub(crate) fn connect_in_vain_4(w: &mut Worker) -> io::Result<()> {
    connect_in_vain(w, Ipv4Addr::LOCALHOST.into())
}

/// Connects without a listener by the IPv6 address.
pub(crate) fn connect_in_vain_6(w: &mut Worker) -> io::Result<()> {
    connect_in_vain(w, Ipv6Addr::LOCALHOST.into())
}

fn connect_in_vain(w: &mut Worker, ip: IpAddr) -> io::Result<()> {
    let to = address(w, ip);
    let connected = connect(socket_for(&to, SocketType::STREAM)?, &to);
    let via = if to.is_ipv4() { "connect to a closed port" } else { "connect to a closed port, IPv6" };
    w.log.reached(via, Resource::Net(to), None, connected).ok();
    Ok(())
}

/// Binds a socket to `first` or, where another program has that, to one of the next ports; listens if it is TCP.
fn serve(w: &mut Worker, first: SocketAddr, kind: SocketType) -> io::Result<(OwnedFd, SocketAddr)> {
    let stream = kind == SocketType::STREAM;
    let mut at = first;
    loop {
        let socket = socket_for(&at, kind)?;
        set_socket_reuseaddr(&socket, stream)?;
        let mut served =
            w.log.reached("bind", Resource::Net(at), Some(Direction::Listen), bind(&socket, &at));
        if served.is_ok() && stream {
            // Two may be bound to one port that may be used again; one of them listens.
            let listening = rustix::net::listen(&socket, 8);
            served = w.log.reached("listen on TCP", Resource::Net(at), Some(Direction::Listen), listening);
        }
        match served {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && at.port() < first.port() + 100 => {
                at.set_port(at.port() + 1);
            }
            served => return served.map(|()| (socket, at)),
        }
    }
}

/// Connects to a listener, waiting in the call and not.
pub(crate) fn connect_and_accept(w: &mut Worker) -> io::Result<()> {
    let first = any_address(w);
    let (listener, to) = serve(w, first, SocketType::STREAM)?;
    let waiting = socket_for(&to, SocketType::STREAM)?;
    w.log.reached("connect", Resource::Net(to), None, connect(&waiting, &to))?;
    let ready = socket_for(&to, SocketType::STREAM)?;
    ioctl_fionbio(&ready, true)?;
    w.log.reached("connect without waiting", Resource::Net(to), None, connect_later(&ready, &to))?;
    accept(&listener)?;
    accept(&listener)?;
    Ok(())
}

fn connect_later(socket: &OwnedFd, to: &SocketAddr) -> rustix::io::Result<()> {
    match connect(socket, to) {
        Err(Errno::INPROGRESS) => {
            poll(&mut [PollFd::new(socket, PollFlags::OUT)], None)?;
            socket_error(socket)?
        }
        result => result,
    }
}

/// Sends datagrams to an address in three ways.
pub(crate) fn send_datagrams(w: &mut Worker) -> io::Result<()> {
    let to = any_address(w);
    let there = || Resource::Net(to);
    let sent = sendto(socket_for(&to, SocketType::DGRAM)?, b"data", SendFlags::empty(), &to);
    w.log.reached("sendto", there(), None, sent)?;
    let data = [IoSlice::new(b"data")];
    let no_control = &mut SendAncillaryBuffer::default();
    let socket = socket_for(&to, SocketType::DGRAM)?;
    let sent = sendmsg_addr(socket, &to, &data, no_control, SendFlags::empty());
    w.log.reached("sendmsg", there(), None, sent)?;
    let connected = connect(socket_for(&to, SocketType::DGRAM)?, &to);
    w.log.reached("connect of a datagram socket", there(), None, connected)
}

/// Listens on a TCP port, binds a UDP one.
pub(crate) fn listen(w: &mut Worker) -> io::Result<()> {
    let first = any_address(w);
    serve(w, first, SocketType::STREAM)?;
    serve(w, first, SocketType::DGRAM).map(drop)
}

/// Returns what `act` does with the address of a Unix socket, by absolute path or, half the time and where that
/// is too long, by name in the working directory.
fn with_path<T>(
    w: &mut Worker,
    spot: &Spot,
    act: impl FnOnce(&SocketAddrUnix) -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    if spot.path.as_os_str().len() > LONGEST || w.dice.one_in(2) {
        w.inside(|| act(&SocketAddrUnix::new(&spot.name)?))
    } else {
        act(&SocketAddrUnix::new(&spot.path)?)
    }
}

fn unix(path: &Path) -> Resource {
    Resource::Unix(path.as_os_str().as_bytes().to_vec())
}

/// Listens on Unix sockets and reaches them: by path, by path with a datagram, by abstract name.
pub(crate) fn connect_unix(w: &mut Worker) -> io::Result<()> {
    connect_unix_stream(w)?;
    send_unix_datagram(w)?;
    connect_abstract(w)
}

fn connect_unix_stream(w: &mut Worker) -> io::Result<()> {
    let spot = w.spot("a");
    let new = || socket(AddressFamily::UNIX, SocketType::STREAM);
    let (listener, client) = (new()?, new()?);
    let bound = with_path(w, &spot, |at| bind(&listener, at));
    w.log.reached("bind of a Unix path", unix(&spot.path), Some(Direction::Listen), bound)?;
    let listening = rustix::net::listen(&listener, 8);
    w.log.reached("listen on a Unix path", unix(&spot.path), Some(Direction::Listen), listening)?;
    let connected = with_path(w, &spot, |to| connect(&client, to));
    w.log.reached("connect to a Unix path", unix(&spot.path), None, connected)?;
    accept(&listener)?;
    let removed = std::fs::remove_file(&spot.path);
    w.log.note("unlink of a socket", FileDelete, &spot.path, removed)
}

fn send_unix_datagram(w: &mut Worker) -> io::Result<()> {
    let spot = w.spot("b");
    let new = || socket(AddressFamily::UNIX, SocketType::DGRAM);
    let (receiver, sender) = (new()?, new()?);
    let bound = with_path(w, &spot, |at| bind(&receiver, at));
    w.log.reached("bind of a Unix path", unix(&spot.path), Some(Direction::Listen), bound)?;
    let sent = with_path(w, &spot, |to| sendto(&sender, b"data", SendFlags::empty(), to));
    w.log.reached("sendto a Unix path", unix(&spot.path), None, sent).map(drop)
}

fn connect_abstract(w: &mut Worker) -> io::Result<()> {
    let name = format!("aegis-ground-truth-{}-{}", std::process::id(), w.turn);
    let resource = || Resource::Unix(format!("@{name}").into_bytes());
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let new = || socket(AddressFamily::UNIX, SocketType::STREAM);
    let (listener, client) = (new()?, new()?);
    w.log.reached(
        "bind of an abstract name",
        resource(),
        Some(Direction::Listen),
        bind(&listener, &address),
    )?;
    let listening = rustix::net::listen(&listener, 8);
    w.log.reached("listen on an abstract name", resource(), Some(Direction::Listen), listening)?;
    w.log.reached("connect to an abstract name", resource(), None, connect(&client, &address))?;
    accept(&listener)?;
    Ok(())
}

/// Connects to a Unix path that is not there, and to one that is no socket.
pub(crate) fn connect_unix_in_vain(w: &mut Worker) -> io::Result<()> {
    let (missing, file) = (w.spot("missing"), w.make("b")?);
    for spot in [missing, file] {
        let client = socket(AddressFamily::UNIX, SocketType::STREAM)?;
        let connected = with_path(w, &spot, |to| connect(&client, to));
        w.log.reached("connect to no Unix socket", unix(&spot.path), None, connected).ok();
    }
    Ok(())
}
