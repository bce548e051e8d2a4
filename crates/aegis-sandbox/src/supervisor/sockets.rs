//! Sockets: which family a call means, Unix sockets, binding and listening.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use aegis_observer::arguments::low;
use aegis_observer::network::{self, Address};
use aegis_observer::observer::Ruling;
use aegis_observer::resolve::Base;
use aegis_observer::{Draft, Met, Sink, SinkError};
use aegis_types::{Action, Clock, Direction, Endpoint, Resource, Text};
use rustix::fs::{FileType, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{SocketAddrUnix, SocketType};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::{Supervisor, ids, unresolved};
use crate::place::{Found, find, slot};

impl<S: Sink, C: Clock> Supervisor<S, C> {
    fn address(&self, met: &Met<'_>) -> Result<(Address, Vec<u8>), Errno> {
        let arguments = met.arguments();
        let length = usize::try_from(low(arguments.number(2))).unwrap_or(usize::MAX);
        if length > network::ADDRESS_MAX {
            return Err(Errno::INVAL);
        }
        let mut bytes = vec![0; length];
        arguments.bytes(arguments.number(1), &mut bytes).map_err(|error| self.unread(met, &error))?;
        Ok((network::parse(&bytes), bytes))
    }

    /// Takes the caller's own socket: what is done to it is done to the caller's. It is let go of before the caller goes
    /// on: once that has closed its own, the address is free again.
    pub(super) fn own_socket(&self, met: &Met<'_>) -> Result<OwnedFd, Errno> {
        let fd = met.arguments().descriptor(0);
        let held = pidfd_getfd(&*met.pidfd, fd, PidfdGetfdFlags::empty())?;
        let stat = rustix::fs::fstat(&held)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Socket { Ok(held) } else { Err(Errno::NOTSOCK) }
    }

    pub(super) fn connect(&self, met: Met<'_>) -> io::Result<()> {
        let (address, bytes) = match self.address(&met) {
            Ok(address) => address,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        let path = match address {
            Address::Path(path) => path,
            Address::Abstract(name) => return self.connect_abstract(met, &name),
            Address::Internet(ip, port) => {
                return self.connect_host(met, &self.network, socket_address(ip, port, &bytes));
            }
            Address::None => return self.disconnect(met, &bytes),
            Address::Kernel | Address::Other(_) => {
                return self.other_family(met, Resource::Unread(Text::from("an address of another family")));
            }
        };
        let found = find(&self.caller(&met), Base::Directory, &path, true, ResolveFlags::empty());
        let object = match found {
            Ok(Found::There(object)) => object,
            Ok(Found::Missing(path, _)) => {
                let draft = Draft::new(Action::NetConnect, Resource::Unix(Text::new(path)));
                return self.absent(met, vec![draft], Errno::NOENT);
            }
            Err(errno) => return self.fail(met, Some(unresolved(Action::NetConnect, &path)), errno),
        };
        let draft = Draft::new(Action::NetConnect, Resource::Unix(Text::new(object.path.clone())));
        let ruling = self.rule(&met, vec![draft]);
        if !ruling.allowed {
            return self.deny(met, ruling);
        }
        if self.note_leaving(&met, &ruling).is_err() {
            return met.notification.refuse(libc::EIO);
        }
        let link = object.link();
        let (socket, address) = match (self.own_socket(&met), SocketAddrUnix::new(link.as_str())) {
            (Ok(socket), Ok(address)) => (socket, address),
            (Err(errno), _) | (_, Err(errno)) => return met.notification.refuse(errno.raw_os_error()),
        };
        self.effect(met, ruling, move || patiently(&socket, || rustix::net::connect(&socket, &address)))
    }

    /// Takes a socket's peer away, where an address says that none is meant (`connect(2)`).
    fn disconnect(&self, met: Met<'_>, address: &[u8]) -> io::Result<()> {
        let is_unspecified = address.get(..2).is_some_and(|family| family == [0, 0]);
        let done = if is_unspecified {
            self.own_socket(&met).and_then(|socket| rustix::net::connect_unspec(&socket))
        } else {
            Err(Errno::INVAL)
        };
        match done {
            Ok(()) => met.notification.value(0),
            Err(errno) => met.notification.refuse(errno.raw_os_error()),
        }
    }

    fn connect_abstract(&self, met: Met<'_>, name: &[u8]) -> io::Result<()> {
        let shown = [b"@", name].concat();
        let ruling = self.rule(&met, vec![Draft::new(Action::NetConnect, Resource::Unix(Text::new(shown)))]);
        if !ruling.allowed {
            return self.deny(met, ruling);
        }
        if self.note_leaving(&met, &ruling).is_err() {
            return met.notification.refuse(libc::EIO);
        }
        let (socket, address) = match (self.own_socket(&met), SocketAddrUnix::new_abstract_name(name)) {
            (Ok(socket), Ok(address)) => (socket, address),
            (Err(errno), _) | (_, Err(errno)) => return met.notification.refuse(errno.raw_os_error()),
        };
        self.effect(met, ruling, move || patiently(&socket, || rustix::net::connect(&socket, &address)))
    }

    /// Records that what is about to be connected to is outside of what is observed, where that is known of it.
    pub(super) fn note_leaving(&self, met: &Met<'_>, ruling: &Ruling) -> Result<(), SinkError> {
        ruling.acts.iter().try_for_each(|act| self.observer.note_leaving(met, &act.resource))
    }

    fn other_family(&self, met: Met<'_>, to: Resource) -> io::Result<()> {
        let mut ruling = self.rule(&met, vec![Draft::new(Action::NetConnect, to)]);
        ruling.forbid(ids::NETWORK);
        self.observer.tell_once(OTHER_FAMILY);
        self.deny(met, ruling)
    }

    pub(super) fn bind(&self, met: Met<'_>) -> io::Result<()> {
        let (address, bytes) = match self.address(&met) {
            Ok(address) => address,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        let socket = match self.own_socket(&met) {
            Ok(socket) => socket,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        let listens = |resource| {
            let mut draft = Draft::new(Action::NetConnect, resource);
            draft.direction = Some(Direction::Listen);
            vec![draft]
        };
        match address {
            Address::Path(path) => {
                let slot = match slot(&self.caller(&met), Base::Directory, &path, ResolveFlags::empty()) {
                    Ok(slot) => slot,
                    Err(errno) => {
                        return self.fail(met, Some(unresolved(Action::NetConnect, &path)), errno);
                    }
                };
                let mut draft = listens(Resource::Unix(Text::new(slot.path.clone())));
                // The name is made as that of a file.
                for one in &mut draft {
                    one.also.push((Action::FileWrite, Resource::Path(Text::new(slot.path.clone()))));
                }
                if slot.stat().is_ok() {
                    return self.fail(met, draft.into_iter().next(), Errno::ADDRINUSE);
                }
                let ruling = self.rule(&met, draft);
                let umask = self.umask(&met);
                let inode = rustix::fs::fstat(&socket).ok().map(|stat| stat.st_ino);
                self.effect(met, ruling, move || {
                    rustix::process::umask(umask);
                    let done = bind_in(&socket, &slot.folder, &slot.name)?;
                    // Before the caller goes on, and listens on it.
                    self.observer.remember_socket(slot.path, inode);
                    Ok(done)
                })
            }
            Address::Abstract(name) => {
                let shown = [b"@", &name[..]].concat();
                let ruling = self.rule(&met, listens(Resource::Unix(Text::new(shown.clone()))));
                let address = match SocketAddrUnix::new_abstract_name(&name) {
                    Ok(address) => address,
                    Err(errno) => return met.notification.refuse(errno.raw_os_error()),
                };
                self.effect(met, ruling, move || {
                    rustix::net::bind(&socket, &address)?;
                    self.observer.remember_socket(shown, None);
                    Ok(0)
                })
            }
            Address::Internet(ip, port) => {
                let address = socket_address(ip, port, &bytes);
                if socket_type(&socket) == Ok(SocketType::DGRAM) {
                    return self.bind_datagram(met, socket, address);
                }
                let to = Endpoint::of(ip, port, Some("tcp"));
                let ruling = self.rule(&met, listens(Resource::Net(to)));
                self.effect(met, ruling, move || rustix::net::bind(&socket, &address).map(|()| 0))
            }
            // A name that the kernel chooses, which nobody finds (unix(7)).
            Address::None => met.notification.refuse(libc::EACCES),
            Address::Kernel | Address::Other(_) => {
                self.other_family(met, Resource::Unread(Text::from("an address of another family")))
            }
        }
    }
}

impl<S: Sink, C: Clock> Supervisor<S, C> {
    /// Listens on the caller's own socket, by the address that it has: by its descriptor, the caller could put another
    /// one in its place.
    pub(super) fn listen(&self, met: Met<'_>) -> io::Result<()> {
        let socket = match self.own_socket(&met) {
            Ok(socket) => socket,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        let backlog = met.arguments().descriptor(1);
        let resource = match self.listened(&socket) {
            Ok(resource) => resource,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        let mut draft = Draft::new(Action::NetConnect, resource);
        draft.direction = Some(Direction::Listen);
        let ruling = self.rule(&met, vec![draft]);
        self.effect(met, ruling, move || rustix::net::listen(&socket, backlog).map(|()| 0))
    }

    /// Returns what a socket would be listened on.
    fn listened(&self, socket: &OwnedFd) -> Result<Resource, Errno> {
        let address = rustix::net::getsockname(socket)?;
        if let Ok(inet) = SocketAddr::try_from(address.clone()) {
            let transport = match socket_type(socket)? {
                SocketType::STREAM => Some("tcp".into()),
                _ => None,
            };
            let to = Endpoint { address: inet.ip().to_string(), host: None, port: inet.port(), transport };
            return Ok(Resource::Net(to));
        }
        let Ok(unix) = SocketAddrUnix::try_from(address) else {
            return Ok(Resource::Unread(Text::from("an address of another family")));
        };
        let name = match (unix.path_bytes(), unix.abstract_name()) {
            (_, Some(name)) => [b"@", name].concat(),
            // It was bound by us, by its name in a folder; one that was handed in has the path that it was given.
            (Some(path), None) => {
                let inode = rustix::fs::fstat(socket)?.st_ino;
                self.observer.bound_path(inode).unwrap_or_else(|| path.to_vec())
            }
            // Not bound (listen(2)).
            (None, None) => return Err(Errno::INVAL),
        };
        Ok(Resource::Unix(Text::new(name)))
    }
}

/// Returns an address with all that is in its bytes only: the zone of a link-local one, and the flow.
pub(super) fn socket_address(ip: IpAddr, port: u16, bytes: &[u8]) -> SocketAddr {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default();
    match ip {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => {
            let (flow, zone) = (u32::from_be_bytes(number(4)), u32::from_ne_bytes(number(24)));
            SocketAddrV6::new(ip, port, flow, zone).into()
        }
    }
}

/// Binds a socket to a name in a directory, which this thread goes to for it: a path can be too long for an address.
fn bind_in(socket: &OwnedFd, folder: &OwnedFd, name: &[u8]) -> Result<i64, Errno> {
    let address = SocketAddrUnix::new(name)?;
    rustix::process::fchdir(folder)?;
    let bound = rustix::net::bind(socket, &address);
    // The place of every thread that executes calls.
    aegis_sys::outside::enter_descriptors()?;
    bound.map(|()| 0)
}

/// Connects without waiting, as long as a queue that is full may be looked at again.
fn patiently(socket: &OwnedFd, connect: impl Fn() -> Result<(), Errno>) -> Result<i64, Errno> {
    let flags = rustix::fs::fcntl_getfl(socket)?;
    let blocks = !flags.contains(OFlags::NONBLOCK);
    if blocks {
        rustix::fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    }
    let mut done = connect();
    let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    // Its queue is full: another place comes free as the server takes one.
    for _ in 0..2_000 {
        if !(blocks && done == Err(Errno::AGAIN)) {
            break;
        }
        let mut none = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::empty())];
        let _ = rustix::event::poll(&mut none, Some(&pause));
        done = connect();
    }
    if blocks {
        rustix::fs::fcntl_setfl(socket, flags)?;
    }
    done.map(|()| 0)
}

const OTHER_FAMILY: &str = "sockets of other families than IPv4, IPv6 and Unix are refused";
