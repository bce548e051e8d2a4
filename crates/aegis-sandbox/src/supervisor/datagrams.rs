//! Datagrams: sockets in a network of their own, and to whom they are sent.
//!
//! The network of these sockets has nobody in it but the session's resolver and other such sockets. So nothing hangs on
//! what a call says about where a datagram is to go, which can change as it is read: it is read for the record, and to
//! say no at once to what would find no way.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use aegis_observer::calls::Shape;
use aegis_observer::network::{self, Address};
use aegis_observer::observer::Ruling;
use aegis_observer::{Draft, Met, Sink};
use aegis_types::{Action, Clock, Direction, Endpoint, Outcome, Resource};
use rustix::io::Errno;
use rustix::net::sockopt::{set_ip_freebind, set_ipv6_v6only, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, connect_unspec, socket_with};

use super::sockets::socket_address;
use super::{Supervisor, UNGOVERNED, ids};
use crate::network::{Network, is_resolver, meant, own_address};

impl<S: Sink, C: Clock> Supervisor<S, C> {
    /// Opens a socket for datagrams of the internet; refuses families and kinds that nothing governs.
    pub(super) fn socket(&self, met: Met<'_>) -> io::Result<()> {
        /// The bits of a socket's kind that are no flags (`socket(2)`).
        const KIND: u32 = 0xf;
        let arguments = met.arguments();
        let (kind, protocol) = (arguments.int(1), arguments.descriptor(2));
        let is_datagram = met.call.name == "socket"
            && kind & KIND == libc::SOCK_DGRAM.cast_unsigned()
            && [0, libc::IPPROTO_UDP].contains(&protocol);
        let family = match arguments.descriptor(0) {
            libc::AF_INET if is_datagram => AddressFamily::INET,
            libc::AF_INET6 if is_datagram => AddressFamily::INET6,
            _ => return self.refuse(met, UNGOVERNED, libc::EACCES),
        };
        let flags = SocketFlags::from_bits_retain(kind & !KIND);
        match self.network.open_datagram(family, flags | SocketFlags::CLOEXEC) {
            Some(Ok(socket)) => {
                met.notification.hand_over(socket, flags.contains(SocketFlags::CLOEXEC)).map(drop)
            }
            Some(Err(errno)) => met.notification.refuse(errno.raw_os_error()),
            None => self.refuse(met, NO_DATAGRAMS, libc::EACCES),
        }
    }

    /// Gives a socket a peer. To one outside of the session there is no way: that is denied, but for addresses that may be
    /// connected to otherwise or that a name led to. Programs put those in order by it, and are told what they want to know.
    pub(super) fn connect_datagram(
        &self,
        met: Met<'_>,
        network: &Network,
        socket: OwnedFd,
        to: SocketAddr,
    ) -> io::Result<()> {
        if is_resolver(to) {
            let done = connect(&socket, &to);
            network.asks(&socket, false, &met.process);
            return answer(met, socket, done);
        }
        let ruling = self.rule_host(&met, network, to, "udp");
        let ip = meant(to.ip());
        if !ip.is_loopback() && (ruling.is_permitted() || network.book.was_told(ip)) {
            let found = look_for_way(&socket, &to);
            return answer(met, socket, found);
        }
        self.effect(met, reaching(ruling, to), move || connect(&socket, &to).map(|()| 0))
    }

    /// Gives a socket an address of its own: nobody finds it there but the session's own programs. The kernel gives a port
    /// of its choice to whoever sends, unasked, and so it is here.
    pub(super) fn bind_datagram(&self, met: Met<'_>, socket: OwnedFd, at: SocketAddr) -> io::Result<()> {
        if at.port() == 0 {
            let done = bind(&socket, &at);
            return answer(met, socket, done);
        }
        let mut draft =
            Draft::new(Action::NetConnect, Resource::Net(Endpoint::of(at.ip(), at.port(), Some("udp"))));
        draft.direction = Some(Direction::Listen);
        let mut ruling = self.rule(&met, vec![draft]);
        if !ruling.is_permitted() {
            ruling.permit(ids::OWN_DATAGRAMS);
        }
        self.effect(met, ruling, move || bind(&socket, &at).map(|()| 0))
    }

    /// Sends, by the kernel: where an address outside of the session is named, nothing is.
    pub(super) fn send(&self, met: Met<'_>) -> io::Result<()> {
        let named = match self.named(&met) {
            Ok(named) => named,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        if named.is_empty() {
            return met.notification.proceed();
        }
        let socket = match self.own_socket(&met) {
            Ok(socket) => socket,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        if socket_type(&socket) != Ok(SocketType::DGRAM) {
            // A stream has its peer; the filter refuses those calls that give it one.
            return met.notification.proceed();
        }
        let is_ipv4 = socket_domain(&socket) == Ok(AddressFamily::INET);
        let mut seen: Vec<SocketAddr> = Vec::new();
        let mut rulings: Vec<Ruling> = Vec::new();
        for to in named.iter().filter_map(|bytes| target(bytes, is_ipv4)) {
            if is_resolver(to) || seen.contains(&to) {
                continue;
            }
            seen.push(to);
            let ruling = reaching(self.rule_host(&met, &self.network, to, "udp"), to);
            if !ruling.allowed {
                return self.deny(met, ruling);
            }
            rulings.push(ruling);
        }
        for ruling in rulings {
            // How it ends, the caller hears from the kernel.
            if self.observer.write(&met, ruling, Some(Outcome::Unknown)).is_err() {
                return met.notification.refuse(libc::EIO);
            }
        }
        take_port(&socket);
        self.network.asks(&socket, false, &met.process);
        drop(socket);
        met.notification.proceed()
    }

    /// Reads the addresses that a call sends to, as far as it names any.
    fn named(&self, met: &Met<'_>) -> Result<Vec<Vec<u8>>, Errno> {
        let arguments = met.arguments();
        let read = |(pointer, length): (u64, u32)| -> io::Result<Option<Vec<u8>>> {
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(network::ADDRESS_MAX);
            if pointer == 0 || length == 0 {
                return Ok(None);
            }
            let mut bytes = vec![0; length];
            arguments.bytes(pointer, &mut bytes).map(|()| Some(bytes))
        };
        // `struct msghdr` begins with the address and its length (sendmsg(2)).
        let message = |at: u64| -> io::Result<Option<Vec<u8>>> {
            let mut bytes = [0; 12];
            arguments.bytes(at, &mut bytes)?;
            let (pointer, length) = bytes.split_at(8);
            let pointer = pointer.try_into().map_or(0, u64::from_ne_bytes);
            read((pointer, length.try_into().map_or(0, u32::from_ne_bytes)))
        };
        let mut found = Vec::new();
        match met.call.shape {
            Shape::SendTo => {
                found
                    .extend(read((arguments.number(4), arguments.int(5))).map_err(|e| self.unread(met, &e))?);
            }
            Shape::SendMessage => {
                found.extend(message(arguments.number(1)).map_err(|e| self.unread(met, &e))?);
            }
            _ => {
                for index in 0..arguments.int(2).min(MESSAGES_MAX) {
                    match message(arguments.number(1).wrapping_add(u64::from(index) * MESSAGE_SIZE)) {
                        Ok(address) => found.extend(address),
                        // The kernel sends those before it.
                        Err(_) if index > 0 => break,
                        Err(error) => return Err(self.unread(met, &error)),
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The size of a `struct mmsghdr`: a message header and a length, padded; and how many the kernel takes (sendmmsg(2)).
const MESSAGE_SIZE: u64 = 64;
const MESSAGES_MAX: u32 = 1024;

/// Answers what was done on a socket, which is let go of before: what the caller then closes is closed.
fn answer(met: Met<'_>, socket: OwnedFd, done: Result<(), Errno>) -> io::Result<()> {
    drop(socket);
    match done {
        Ok(()) => met.notification.value(0),
        Err(errno) => met.notification.refuse(errno.raw_os_error()),
    }
}

/// Says what comes of a ruling for datagrams: they reach the session's own programs, whatever policies say of this
/// machine, and nobody else.
fn reaching(mut ruling: Ruling, to: SocketAddr) -> Ruling {
    if !meant(to.ip()).is_loopback() {
        ruling.forbid(ids::DATAGRAMS);
    } else if !ruling.is_permitted() {
        ruling.permit(ids::OWN_DATAGRAMS);
    }
    ruling
}

/// Returns the address that a call sends to, where it is one.
fn target(bytes: &[u8], is_ipv4: bool) -> Option<SocketAddr> {
    let address = match network::parse(bytes) {
        // Such a socket takes one of no family for one of its own (`udp_sendmsg` of Linux).
        Address::None if is_ipv4 => {
            network::parse_as(u16::try_from(libc::AF_INET).unwrap_or_default(), bytes)
        }
        other => other,
    };
    match address {
        Address::Internet(ip, port) => Some(socket_address(ip, port, bytes)),
        _ => None,
    }
}

/// Lets a socket have the port that it would be given as it sends, so that who asks the resolver from there is known.
fn take_port(socket: &OwnedFd) {
    if let Ok(address) = own_address(socket)
        && address.port() == 0
    {
        // The kernel tries again, and tells the caller.
        let _ = bind(socket, &address);
    }
}

/// Asks the machine's network whether there is a way to an address, and gives the socket the address that it would be sent
/// from. That is what the C library and others ask for when they put addresses in order (RFC 6724): nothing is sent.
fn look_for_way(socket: &OwnedFd, to: &SocketAddr) -> Result<(), Errno> {
    let family = socket_domain(socket)?;
    let probe = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    connect(&probe, to)?;
    let mut from = own_address(&probe)?;
    from.set_port(0);
    // It lets go of the port that it was given, and of the address that the last look left it with.
    connect_unspec(socket)?;
    if family == AddressFamily::INET6 && to.ip().to_canonical().is_ipv4() {
        // An address of IPv6 that was left to it has made it one for IPv6 only.
        set_ipv6_v6only(socket, false)?;
    }
    set_ip_freebind(socket, true)?;
    let bound = bind(socket, &from);
    set_ip_freebind(socket, false)?;
    match bound {
        // One that the program has bound itself stays as it is.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}

const NO_DATAGRAMS: &str = "datagrams (UDP) are refused: there is no network namespace to be had, in which they would \
                            reach the session's own resolver and nobody else";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_no_family_is_one_of_ipv4_where_the_kernel_takes_it_for_one() {
        let address = |family: u8| [family, 0, 0, 53, 127, 0, 0, 53, 0, 0, 0, 0, 0, 0, 0, 0];
        let expected = Some("127.0.0.53:53".parse().unwrap());
        assert_eq!((target(&address(2), true), target(&address(2), false)), (expected, expected));
        assert_eq!((target(&address(0), true), target(&address(0), false)), (expected, None));
        assert_eq!((target(&address(2)[..7], true), target(&address(1), true)), (None, None));
    }
}
