//! The network, by host name, for programs that know nothing of it.
//!
//! Policies speak of hosts, the kernel of addresses. So an agent's programs are given a resolver of the session's own
//! ([`resolver`]): it asks whether a name may be known, asks the machine's name servers for those that may, and
//! remembers which addresses each name stood for ([`book`]). A connection to one of those is decided on by the name. A
//! name that may not be known is answered as one that does not exist, and nothing about it leaves the machine.
//!
//! Datagrams reach that resolver and nobody else: sockets for them are opened in a network of their own ([`datagrams`]).
//!
//! Connections are executed on the caller's own socket by whoever answers its calls; those that take time are waited
//! for by one thread for all of them ([`connector`]).
//!
//! This crate never decides and never records: who uses it is asked, and told. It reads no configuration but the
//! machine's own of names (`resolv.conf(5)`, `hosts(5)`), and prints nothing.
//!
//! **Read first:** [`resolver`], then [`book`].
#![forbid(unsafe_code)]

pub mod book;
pub mod connector;
mod datagrams;
mod message;
pub mod resolver;
mod upstream;

pub use book::Book;
pub use connector::Connector;
pub use resolver::{Asked, Names, Resolver};
