//! A resolver of a session's own. What is asked for is decided on in one place, whether it is asked by a stream or in a
//! datagram ([`Served::admit`]).

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags};

use crate::book::{Book, canonical};
use crate::datagrams::Datagrams;
use crate::message::{self, MESSAGE_MAX, Query, Refusal};
use crate::upstream::Upstream;

/// The address that programs find in `resolv.conf`. On this one, and not on another, since some resolvers drop answers
/// that come from elsewhere than they asked (c-ares).
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// The port of name servers.
pub const PORT: u16 = 53;

/// The most queries in datagrams that wait for the machine's name servers at once.
const WAITING_MAX: usize = 128;

/// The most streams of queries at once.
const STREAMS_MAX: usize = 32;

/// How long a stream may be silent (RFC 7766 leaves it to the server).
const SILENCE: Duration = Duration::from_secs(10);

/// A name that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The name, in small letters, with no dot at its end.
    pub name: &'a str,
    /// Where the query came from.
    pub from: SocketAddr,
    /// It came by a stream. Datagrams come from a network of their own, with the same numbers for other ports.
    pub by_stream: bool,
}

/// Who knows what may be known.
pub trait Names: Send + Sync {
    /// Says whether a name may be known. One that may not is for the callee to record: it is answered as one that does
    /// not exist.
    fn may_know(&self, asked: Asked<'_>) -> bool;
}

/// A resolver that serves, on threads of its own that live as long as the process.
#[derive(Debug)]
pub struct Resolver {
    streams: SocketAddr,
    datagrams: Option<Datagrams>,
    served: Arc<Served>,
}

struct Served {
    names: Box<dyn Names>,
    book: Arc<Book>,
    upstream: Upstream,
    stack: usize,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Resolver {
    /// Starts one. `file` names the machine's name servers (`resolv.conf(5)`); `names` is asked on threads with a stack of
    /// this many bytes. With `datagrams`, this thread may make a network, and queries in datagrams are heard, too.
    ///
    /// # Errors
    /// No socket or thread can be had.
    pub fn start(
        names: Box<dyn Names>,
        book: Arc<Book>,
        file: PathBuf,
        stack: usize,
        datagrams: bool,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((ADDRESS, 0))?;
        let streams = listener.local_addr()?;
        let served = Arc::new(Served { names, book, upstream: Upstream::new(file), stack });
        let serving = Arc::clone(&served);
        thread("names", stack, move || serving.serve_streams(&listener))?;
        let serving = Arc::clone(&served);
        let start = || Datagrams::start(stack, move |socket| serving.serve_datagrams(socket));
        let datagrams = datagrams.then(start).transpose()?;
        Ok(Self { streams, datagrams, served })
    }

    /// Returns where queries by a stream are heard.
    #[must_use]
    pub fn streams(&self) -> SocketAddr {
        self.streams
    }

    /// Opens a socket for datagrams, which reach this resolver at [`ADDRESS`] and [`PORT`], and other such sockets; nothing
    /// where there are none to be had.
    pub fn open_datagram(&self, family: AddressFamily, flags: SocketFlags) -> Option<Result<OwnedFd, Errno>> {
        self.datagrams.as_ref()?.open(family, flags)
    }

    /// Returns the `resolv.conf(5)` that programs are to find: this resolver, and all else as the machine has it. Who can
    /// is to ask by a stream, which loses and cuts nothing and needs no network of its own.
    #[must_use]
    pub fn file(&self) -> String {
        self.served.upstream.text_for(IpAddr::V4(ADDRESS)) + "options use-vc\n"
    }
}

/// Does work on a thread of its own.
pub(crate) fn thread(name: &str, stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).stack_size(stack).spawn(work).map(drop)
}

impl Served {
    fn serve_datagrams(self: &Arc<Self>, socket: &Arc<UdpSocket>) {
        let waiting = Arc::new(());
        let mut buffer = vec![0; MESSAGE_MAX];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let bytes = buffer.get(..length).unwrap_or_default();
            // An answer that its asker does not wait for any more is lost, as on any network.
            let query = match self.admit(bytes, from, false) {
                Some(Ok(query)) => query,
                Some(Err(answer)) => {
                    drop(socket.send_to(&answer, from));
                    continue;
                }
                None => continue,
            };
            let failed = message::refuse(bytes, Refusal::Failed).unwrap_or_default();
            let held = Arc::clone(&waiting);
            // One for us and one for this.
            if Arc::strong_count(&waiting) > WAITING_MAX + 1 {
                drop(socket.send_to(&failed, from));
                continue;
            }
            let (work, socket) = (Arc::clone(self), Arc::clone(socket));
            // Without a thread it gets no answer, as from a server that has too much to do.
            drop(thread("name", self.stack, move || {
                let answer = work.answer(&query).map_or(failed, |answer| message::cut(answer, query.room));
                drop(socket.send_to(&answer, from));
                drop(held);
            }));
        }
    }

    fn serve_streams(self: &Arc<Self>, listener: &TcpListener) {
        let open = Arc::new(());
        loop {
            let Ok((stream, from)) = listener.accept() else { continue };
            let held = Arc::clone(&open);
            // One for us and one for this.
            if Arc::strong_count(&open) > STREAMS_MAX + 1 {
                continue;
            }
            let work = Arc::clone(self);
            drop(thread("name-stream", self.stack, move || {
                // It ends as the other end has it.
                drop(work.serve_stream(stream, from));
                drop(held);
            }));
        }
    }

    fn serve_stream(&self, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes)?;
            let answer = match self.admit(&bytes, from, true) {
                Some(Ok(query)) => self.answer(&query).or_else(|| message::refuse(&bytes, Refusal::Failed)),
                Some(Err(answer)) => Some(answer),
                None => None,
            };
            let Some(answer) = answer else { return Ok(()) };
            let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
            stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat())?;
        }
    }

    /// Returns a query that may be handed on, or the answer to one that may not; nothing where it is none.
    fn admit(&self, bytes: &[u8], from: SocketAddr, by_stream: bool) -> Option<Result<Query, Vec<u8>>> {
        let mut id = [0; 2];
        // It fails where the kernel has no random numbers yet.
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).ok()?;
        let refused = match Query::read(bytes, u16::from_ne_bytes(id))? {
            Ok(query) if self.names.may_know(Asked { name: &query.name, from, by_stream }) => {
                return Some(Ok(query));
            }
            Ok(_) => Refusal::NoSuchName,
            Err(why) => why,
        };
        message::refuse(bytes, refused).map(Err)
    }

    /// Asks the machine's name servers, and remembers what they say.
    fn answer(&self, query: &Query) -> Option<Vec<u8>> {
        let answer = self.upstream.ask(query).ok()?;
        if let Some(name) = canonical(&query.name) {
            // Before the caller has it, and connects.
            for address in message::addresses(&answer) {
                self.book.learn(&name, address);
            }
        }
        Some(query.hand_back(answer))
    }
}
