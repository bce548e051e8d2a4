//! A resolver of a session's own.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::book::{Book, canonical};
use crate::message::{self, Query, Refusal};
use crate::upstream::Upstream;

/// The address that programs find in `resolv.conf`. On this one, and not on another, since some resolvers drop answers
/// that come from elsewhere than they asked (c-ares).
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

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
    /// this many bytes.
    ///
    /// # Errors
    /// No socket or thread can be had.
    pub fn start(names: Box<dyn Names>, book: Arc<Book>, file: PathBuf, stack: usize) -> io::Result<Self> {
        let streams = TcpListener::bind((ADDRESS, 0))?;
        let served = Served { names, book, upstream: Upstream::new(file), stack };
        let resolver = Self { streams: streams.local_addr()?, served: Arc::new(served) };
        let served = Arc::clone(&resolver.served);
        resolver.served.thread("names", move || served.serve_streams(&streams))?;
        Ok(resolver)
    }

    /// Returns where queries by a stream are heard.
    #[must_use]
    pub fn streams(&self) -> SocketAddr {
        self.streams
    }

    /// Returns the `resolv.conf(5)` that programs are to find: this resolver, by a stream since they can send no datagrams,
    /// and all else as the machine has it.
    #[must_use]
    pub fn file(&self) -> String {
        self.served.upstream.text_for(IpAddr::V4(ADDRESS)) + "options use-vc\n"
    }
}

impl Served {
    fn thread(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        std::thread::Builder::new().name(name.into()).stack_size(self.stack).spawn(work).map(drop)
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
            drop(self.thread("name", move || {
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
            let answer = match self.admit(&bytes, from) {
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
    fn admit(&self, bytes: &[u8], from: SocketAddr) -> Option<Result<Query, Vec<u8>>> {
        let mut id = [0; 2];
        // It fails where the kernel has no random numbers yet.
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).ok()?;
        let refused = match Query::read(bytes, u16::from_ne_bytes(id))? {
            Ok(query) if self.names.may_know(Asked { name: &query.name, from }) => {
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
