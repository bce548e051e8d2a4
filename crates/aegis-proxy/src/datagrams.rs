//! A network of its own for datagrams.
//!
//! An address beside a message can change while somebody looks at it, so nothing is decided on addresses of datagrams:
//! the sockets that an agent sends them by are opened in a network in which there is nobody but the session's resolver,
//! at the address and the port that programs expect. Whatever is sent, and to whom it says, it reaches the resolver or
//! other sockets that were opened here.

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use aegis_sys::namespaces::unshare_network;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::resolver::{ADDRESS, PORT, thread};

/// A socket that is to be opened there. Where there is no such network to be had, it is let go of without an answer.
struct Order {
    family: AddressFamily,
    flags: SocketFlags,
    answer: SyncSender<Result<OwnedFd, Errno>>,
}

/// The network, by the thread that is in it.
#[derive(Debug)]
pub(crate) struct Datagrams(SyncSender<Order>);

impl Datagrams {
    /// Starts the thread, with a stack of this many bytes. The network is made when it is first used: it takes the kernel
    /// milliseconds, and many programs have no use for it. `serve` answers the queries that come to a socket, on a thread
    /// that is in the network of who calls this.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(
        stack: usize,
        serve: impl FnOnce(&Arc<UdpSocket>) + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, taken) = sync_channel::<Order>(16);
        thread("datagrams", stack, move || {
            let Ok(first) = taken.recv() else { return };
            // Whoever waits is told by its order being let go of.
            if enter(stack, serve).is_ok() {
                for Order { family, flags, answer } in std::iter::once(first).chain(taken) {
                    // Who asked waits for exactly this.
                    drop(answer.send(socket_with(family, SocketType::DGRAM, flags, None)));
                }
            }
        })?;
        Ok(Self(orders))
    }

    /// Opens a socket; nothing where there is no such network to be had.
    pub(crate) fn open(&self, family: AddressFamily, flags: SocketFlags) -> Option<Result<OwnedFd, Errno>> {
        let (answer, answered) = sync_channel(1);
        self.0.send(Order { family, flags, answer }).ok()?;
        answered.recv().ok()
    }
}

/// Puts this thread into a network of its own with the resolver in it, and takes every privilege from it.
fn enter(stack: usize, serve: impl FnOnce(&Arc<UdpSocket>) + Send + 'static) -> io::Result<()> {
    let (hand, handed) = sync_channel(1);
    // A thread is in the network of who starts it, and from here the machine's name servers can be asked.
    thread("names-datagram", stack, move || {
        // Nothing comes where there is no network.
        if let Ok(socket) = handed.recv() {
            serve(&Arc::new(socket));
        }
    })?;
    unshare_network()?;
    let socket = UdpSocket::bind((ADDRESS, PORT))?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    hand.send(socket).map_err(|_| io::Error::other("the thread that answers queries ended"))
}
