//! The network of a session whose policies are enforced.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use aegis_observer::processes::waiting_signals;
use aegis_policy::source::STACK;
use aegis_proxy::connector::Callers;
use aegis_proxy::{Asked, Book, Connector, Names, Resolver};
use aegis_sandbox::network::{Askers, HOSTS, Network, SERVERS};
use aegis_sys::seccomp::Listener;

use crate::process::SessionObserver;

/// Starts what resolves names and waits for connections, on threads outside of the agent's hull. With `namespaces`, this
/// thread may make a network.
pub(crate) fn start(
    observer: &Arc<SessionObserver>,
    listener: &Arc<Listener>,
    namespaces: bool,
) -> io::Result<Network> {
    // A machine without that file has no names of its own.
    let hosts = std::fs::read(HOSTS).unwrap_or_default();
    let book = Arc::new(Book::with_hosts(&String::from_utf8_lossy(&hosts)));
    let askers = Arc::new(Askers::default());
    let names = Known { observer: Arc::clone(observer), askers: Arc::clone(&askers) };
    let servers = PathBuf::from(SERVERS);
    let resolver = Resolver::start(Box::new(names), Arc::clone(&book), servers, STACK, namespaces)?;
    let connector = Connector::start(Box::new(Tree(Arc::clone(listener))))?;
    Ok(Network::new(resolver, book, askers, connector))
}

/// What the policies let be known.
struct Known {
    observer: Arc<SessionObserver>,
    askers: Arc<Askers>,
}

impl Names for Known {
    fn may_know(&self, asked: Asked<'_>) -> bool {
        // The socket for streams is open to every program of this machine. Who is of the session was seen by its supervisor
        // before it could ask.
        let process = self.askers.of(asked.by_stream, asked.from);
        process.is_some_and(|process| self.observer.may_know(process, asked.name))
    }
}

/// The callers of the agent's tree.
struct Tree(Arc<Listener>);

impl Callers for Tree {
    fn waits(&self, id: u64) -> bool {
        self.0.waits(id)
    }

    fn has_signal(&self, tid: u32) -> bool {
        waiting_signals(tid)
    }
}
