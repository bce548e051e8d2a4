//! The calls of sockets: who is connected to, sent to, listened on.

use std::borrow::Cow;
use std::net::IpAddr;

use aegis_types::{Action, Clock, Direction, Endpoint, Outcome, Resource, Text};

use super::{Look, Looked, Unread};
use crate::arguments::low;
use crate::calls::{NATIVE, Shape};
use crate::evidence::{self, Sign};
use crate::network::{self, Address};
use crate::observer::Sink;
use crate::resolve::Base;
use aegis_types::elsewhere;

/// A peer for a record, and whether it is there as far as that shows.
type Peer = (Resource, bool);

impl<S: Sink, C: Clock> Look<'_, S, C> {
    pub(super) fn socket_call(&self, looked: &mut Looked, shape: Shape, arguments: [u64; 6]) {
        let [fd, first, second, _, address, length] = arguments;
        let fd = low(fd).cast_signed();
        match shape {
            Shape::Connect => self.to_address(looked, fd, first, second, true),
            Shape::Bind => self.bind(looked, fd, first, second),
            Shape::Listen => self.listen(looked, fd),
            Shape::SendTo => self.to_address(looked, fd, address, length, false),
            Shape::SendMessage => self.message(looked, fd, first),
            Shape::SendMessages => {
                // struct mmsghdr: a message header and a length, padded.
                let stride = if self.wide() { 64 } else { 32 };
                // UIO_MAXIOV, sendmmsg(2).
                for index in 0..u64::from(low(second)).min(1024) {
                    self.message(looked, fd, first.wrapping_add(index * stride));
                }
            }
            _ => {}
        }
    }

    pub(super) fn wide(&self) -> bool {
        self.raw.architecture == NATIVE
    }

    /// `socketcall(2)`: a number, and the arguments in memory as 32-bit words.
    pub(super) fn multiplexed(&self, looked: &mut Looked) {
        let shape = match self.argument(0) {
            2 => Shape::Bind,
            3 => Shape::Connect,
            4 => Shape::Listen,
            11 => Shape::SendTo,
            16 => Shape::SendMessage,
            20 => Shape::SendMessages,
            _ => return,
        };
        let count = match shape {
            Shape::Listen => 2,
            Shape::SendTo => 6,
            Shape::SendMessages => 4,
            _ => 3,
        };
        let mut bytes = [0; 24];
        let part = bytes.get_mut(..count * 4).unwrap_or_default();
        if let Err(error) = self.read_exact(self.argument(1), part) {
            return self.unread(looked, Action::NetConnect, Unread::Memory(error));
        }
        let mut arguments = [0; 6];
        for (argument, word) in arguments.iter_mut().zip(bytes.chunks_exact(4)) {
            *argument = word.try_into().map(u32::from_ne_bytes).map(u64::from).unwrap_or(0);
        }
        if shape == Shape::SendTo && arguments.get(4) == Some(&0) {
            return;
        }
        self.socket_call(looked, shape, arguments);
    }

    fn read_address(&self, pointer: u64, length: u64) -> std::io::Result<Address> {
        let length = usize::try_from(low(length)).unwrap_or(0).min(network::ADDRESS_MAX);
        let mut bytes = [0; network::ADDRESS_MAX];
        let part = bytes.get_mut(..length).unwrap_or_default();
        self.read_exact(pointer, part)?;
        Ok(network::parse(part))
    }

    /// Reads where something is sent to. An address of no family is taken for one of the socket's by IPv4
    /// sockets (`udp_sendmsg` and `raw_sendmsg` of Linux), and sockets of packets never look at it.
    fn read_target(&self, fd: i32, pointer: u64, length: u64) -> std::io::Result<Address> {
        let address = self.read_address(pointer, length)?;
        if address != Address::None || low(length) == 0 {
            return Ok(address);
        }
        let domain = evidence::socket(self.pidfd, fd)
            .and_then(|socket| rustix::net::sockopt::socket_domain(&socket).ok())
            .map_or(libc::AF_INET, |domain| i32::from(domain.as_raw()));
        let family = u16::try_from(domain).unwrap_or(0);
        match domain {
            libc::AF_INET => {
                let mut bytes = [0; 8];
                let whole = low(length) >= 8 && self.read_exact(pointer, &mut bytes).is_ok();
                Ok(if whole { network::parse_as(family, &bytes) } else { Address::None })
            }
            // No address is meant, or none is taken.
            libc::AF_INET6 | libc::AF_UNIX => Ok(Address::None),
            libc::AF_NETLINK => Ok(Address::Kernel),
            _ => Ok(Address::Other(family)),
        }
    }

    fn to_address(&self, looked: &mut Looked, fd: i32, pointer: u64, length: u64, connects: bool) {
        let address =
            if connects { self.read_address(pointer, length) } else { self.read_target(fd, pointer, length) };
        let address = match address {
            Ok(address) => address,
            Err(error) => return self.unread(looked, Action::NetConnect, Unread::Memory(error)),
        };
        let Some((resource, there)) = self.peer(looked, fd, address.clone()) else { return };
        let outcome = if there { Outcome::Unknown } else { Outcome::Missing };
        looked.add(Action::NetConnect, resource, outcome);
        if connects {
            looked.sign(self.sign_of_connection(fd, address));
        }
    }

    /// Says what will show that a socket was connected: nothing can where it has that peer already.
    fn sign_of_connection(&self, fd: i32, address: Address) -> Option<Sign> {
        let socket = evidence::socket(self.pidfd, fd)?;
        let inode = rustix::fs::fstat(&socket).ok()?.st_ino;
        let sign = Sign::Connected(fd, inode, address);
        (!sign.shows(self.pidfd)).then_some(sign)
    }

    fn peer(&self, looked: &mut Looked, fd: i32, address: Address) -> Option<Peer> {
        match address {
            Address::Internet(ip, port) => {
                if let Some(who) = elsewhere::on_port(ip, port) {
                    looked.left_tree(who, &format!("{ip} port {port}"));
                }
                Some((self.endpoint(fd, ip, port), true))
            }
            Address::Path(path) => {
                let named = self.caller.object(Base::Directory, &path, true);
                let (path, there) = named.map_or((path, true), |named| (named.path, named.file.is_some()));
                if there {
                    self.who_listens(looked, &path);
                }
                Some((Resource::Unix(Text::new(path)), there))
            }
            Address::Abstract(name) => {
                let mut path = b"@".to_vec();
                path.extend(name);
                self.who_listens(looked, &path);
                Some((Resource::Unix(Text::new(path)), true))
            }
            Address::Other(family) => {
                let text = format!("an address of family {family}");
                Some((Resource::Unread(Text::from(text.as_str())), true))
            }
            Address::None | Address::Kernel => None,
        }
    }

    fn who_listens(&self, looked: &mut Looked, path: &[u8]) {
        if let Some(who) = elsewhere::on_socket(path)
            && !self.observer.is_own_socket(path)
        {
            looked.left_tree(who, &String::from_utf8_lossy(path));
        }
    }

    fn endpoint(&self, fd: i32, ip: IpAddr, port: u16) -> Resource {
        let transport = evidence::socket(self.pidfd, fd).and_then(|socket| {
            match rustix::net::sockopt::socket_type(&socket).ok()? {
                rustix::net::SocketType::STREAM => Some(Cow::Borrowed("tcp")),
                rustix::net::SocketType::DGRAM => Some(Cow::Borrowed("udp")),
                _ => None,
            }
        });
        Resource::Net(Endpoint { address: ip.to_string(), host: None, port, transport })
    }

    fn message(&self, looked: &mut Looked, fd: i32, header: u64) {
        // struct msghdr begins with the address and its length, which may be unset.
        let width: usize = if self.wide() { 8 } else { 4 };
        let mut bytes = [0; 12];
        let part = bytes.get_mut(..width + 4).unwrap_or_default();
        if let Err(error) = self.read_exact(header, part) {
            return self.unread(looked, Action::NetConnect, Unread::Memory(error));
        }
        let word = |from: usize, to: usize| {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(bytes.get(from..to).unwrap_or_default()) {
                *to = *from;
            }
            u64::from_le_bytes(word)
        };
        let (name, length) = (word(0, width), word(width, width + 4));
        if name != 0 && length != 0 {
            self.to_address(looked, fd, name, length, false);
        }
    }

    fn bind(&self, looked: &mut Looked, fd: i32, pointer: u64, length: u64) {
        let address = match self.read_address(pointer, length) {
            Ok(address) => address,
            Err(error) => return self.unread(looked, Action::NetConnect, Unread::Memory(error)),
        };
        let named = address.clone();
        let resource = match address {
            Address::Internet(ip, port) => self.endpoint(fd, ip, port),
            Address::Path(path) => {
                let path = self.caller.name(Base::Directory, &path).map_or(path, |named| named.path);
                looked.own_socket = Some((path.clone(), self.socket_inode(fd)));
                Resource::Unix(Text::new(path))
            }
            Address::Abstract(name) => {
                let mut path = b"@".to_vec();
                path.extend(name);
                looked.own_socket = Some((path.clone(), None));
                Resource::Unix(Text::new(path))
            }
            Address::Other(family) => {
                Resource::Unread(Text::from(format!("an address of family {family}").as_str()))
            }
            Address::None | Address::Kernel => return,
        };
        looked.push(Action::NetConnect, resource, Outcome::Unknown).direction = Some(Direction::Listen);
        looked.sign(Some(Sign::Bound(fd, named)));
    }

    fn socket_inode(&self, fd: i32) -> Option<u64> {
        let socket = evidence::socket(self.pidfd, fd)?;
        rustix::fs::fstat(&socket).ok().map(|stat| stat.st_ino)
    }

    fn listen(&self, looked: &mut Looked, fd: i32) {
        let Some(socket) = evidence::socket(self.pidfd, fd) else {
            // Not open, or the process can't be read.
            let text = Text::from(format!("the address of descriptor {fd}").as_str());
            looked.push(Action::NetConnect, Resource::Unread(text), Outcome::Unknown).direction =
                Some(Direction::Listen);
            return;
        };
        let Ok(address) = rustix::net::getsockname(&socket) else { return };
        let resource = if let Ok(inet) = std::net::SocketAddr::try_from(address.clone()) {
            self.endpoint(fd, inet.ip(), inet.port())
        } else if let Ok(unix) = rustix::net::SocketAddrUnix::try_from(address) {
            let path = match (unix.path_bytes(), unix.abstract_name()) {
                (Some(path), _) => {
                    // The path as it was given to bind(2): relative to the directory of then.
                    let bound = rustix::fs::fstat(&socket)
                        .ok()
                        .and_then(|stat| self.observer.bound_path(stat.st_ino));
                    let named =
                        || self.caller.name(Base::Directory, path).map_or(path.to_vec(), |named| named.path);
                    bound.unwrap_or_else(named)
                }
                (None, Some(name)) => [b"@", name].concat(),
                (None, None) => return,
            };
            Resource::Unix(Text::new(path))
        } else {
            Resource::Unread(Text::from("an address of another family"))
        };
        looked.push(Action::NetConnect, resource, Outcome::Unknown).direction = Some(Direction::Listen);
        looked.sign(Some(Sign::Listens(fd)));
    }
}
