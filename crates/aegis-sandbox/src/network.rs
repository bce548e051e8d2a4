//! What a session has for its network: a resolver, the names that were asked for, and who waits for connections.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aegis_proxy::resolver::{ADDRESS, PORT};
use aegis_proxy::{Book, Connector, Resolver};
use aegis_sys::outside;
use aegis_types::Process;
use rustix::fs::{MemfdFlags, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags};

/// The machine's own file of name servers, and that of hosts (`resolv.conf(5)`, `hosts(5)`).
pub const SERVERS: &str = "/etc/resolv.conf";
/// The machine's own file of hosts.
pub const HOSTS: &str = "/etc/hosts";

/// The most of those who ask for names that are remembered; beyond, all are forgotten.
const ASKERS_MAX: usize = 4_096;

/// Which process asks for names from where: by a stream or not, with which address and port.
#[derive(Debug, Default)]
pub struct Askers(Mutex<HashMap<(bool, IpAddr, u16), Process>>);

impl Askers {
    fn add(&self, by_stream: bool, from: SocketAddr, process: Process) {
        let mut askers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if askers.len() >= ASKERS_MAX {
            askers.clear();
        }
        askers.insert((by_stream, from.ip().to_canonical(), from.port()), process);
    }

    /// Returns who asks from there, where that is known.
    #[must_use]
    pub fn of(&self, by_stream: bool, from: SocketAddr) -> Option<Process> {
        let askers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What sends without being connected has no address but in what it sends.
        let any = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let mut ips = std::iter::once(from.ip().to_canonical()).chain(any);
        ips.find_map(|ip| askers.get(&(by_stream, ip, from.port()))).cloned()
    }
}

/// The network of a session.
#[derive(Debug)]
pub struct Network {
    /// Which names stood for which addresses.
    pub(crate) book: Arc<Book>,
    pub(crate) connector: Arc<Connector>,
    resolver: Resolver,
    askers: Arc<Askers>,
    /// The paths of the file of name servers, links resolved and not.
    files: Vec<Vec<u8>>,
}

impl Network {
    /// Makes one of its parts.
    #[must_use]
    pub fn new(resolver: Resolver, book: Arc<Book>, askers: Arc<Askers>, connector: Arc<Connector>) -> Self {
        let mut files = vec![SERVERS.as_bytes().to_vec()];
        files.extend(std::fs::canonicalize(SERVERS).ok().map(|path| path.into_os_string().into_vec()));
        Self { book, connector, resolver, askers, files }
    }

    /// Returns what a file holds for the agent, where that is not what it holds: the one that names the resolver.
    pub(crate) fn stands_for(&self, path: &[u8]) -> Option<io::Result<OwnedFd>> {
        self.files.iter().any(|file| file == path).then(|| in_memory(path, self.resolver.file().as_bytes()))
    }

    /// Returns where the session's resolver hears streams, for the address by which it is known.
    pub(crate) fn streams_at(&self, to: SocketAddr) -> Option<SocketAddr> {
        if !is_resolver(to) {
            return None;
        }
        let at = self.resolver.streams();
        Some(match to {
            SocketAddr::V4(_) => at,
            SocketAddr::V6(_) => (ADDRESS.to_ipv6_mapped(), at.port()).into(),
        })
    }

    /// Opens a socket for datagrams, which reach the session's resolver and other such sockets; nothing where there are
    /// none to be had.
    pub(crate) fn open_datagram(
        &self,
        family: AddressFamily,
        flags: SocketFlags,
    ) -> Option<Result<OwnedFd, Errno>> {
        self.resolver.open_datagram(family, flags)
    }

    /// Remembers who asks by a socket.
    pub(crate) fn asks(&self, socket: &OwnedFd, by_stream: bool, process: &Process) {
        if let Ok(from) = own_address(socket) {
            self.askers.add(by_stream, from, process.clone());
        }
    }
}

/// Says whether an address is the one by which the session's resolver is known.
pub(crate) fn is_resolver(to: SocketAddr) -> bool {
    to.ip().to_canonical() == IpAddr::V4(ADDRESS) && to.port() == PORT
}

/// Returns the address that a socket of the internet has itself.
pub(crate) fn own_address(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(rustix::net::getsockname(socket)?)
}

/// Returns the address that the kernel takes one for: none at all is this machine (`ip(7)`).
pub(crate) fn meant(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// Makes a file that is only read and only in memory.
fn in_memory(path: &[u8], content: &[u8]) -> io::Result<OwnedFd> {
    let name = Path::new(OsStr::from_bytes(path)).file_name().unwrap_or_default();
    let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(outside::open(&format!("self/fd/{}", file.as_raw_fd()), flags)?)
}

#[cfg(test)]
mod tests {
    use aegis_types::Text;

    use super::*;

    #[test]
    fn who_asks_is_known_by_what_it_asks_from() {
        let askers = Askers::default();
        let process = |pid| Process { exe: Arc::new(Text::from("/x")), pid, ppid: 1, tid: pid };
        for (pid, by_stream, from) in [
            (1, false, "0.0.0.0:7"),
            (2, false, "127.0.0.2:7"),
            (3, true, "127.0.0.1:7"),
            (4, false, "[::]:8"),
            (5, false, "[::ffff:127.0.0.1]:9"),
        ] {
            askers.add(by_stream, from.parse().unwrap(), process(pid));
        }
        let of = |by_stream, from: &str| askers.of(by_stream, from.parse().unwrap()).map(|found| found.pid);
        assert_eq!([of(false, "127.0.0.1:7"), of(false, "127.0.0.2:7")], [Some(1), Some(2)]);
        assert_eq!([of(true, "127.0.0.1:7"), of(true, "127.0.0.2:7")], [Some(3), None]);
        assert_eq!([of(false, "127.0.0.1:8"), of(false, "127.0.0.1:9")], [Some(4), Some(5)]);
        assert_eq!([of(true, "127.0.0.1:9"), of(false, "127.0.0.1:10")], [None, None]);
    }
}
