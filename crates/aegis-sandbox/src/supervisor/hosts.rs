//! Connections to hosts, on the caller's own socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use aegis_observer::observer::Ruling;
use aegis_observer::{Draft, Met, Sink};
use aegis_proxy::connector::{Finished, Waiting};
use aegis_types::{Action, Clock, Endpoint, Outcome, Resource};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::SocketType;
use rustix::net::sockopt::{Timeout, socket_timeout, socket_type};

use super::{Done, Supervisor, failed};
use crate::network::{Network, meant};

const RESTART: Errno = Errno::from_raw_os_error(aegis_sys::seccomp::RESTART);

impl<S: Sink, C: Clock> Supervisor<S, C> {
    pub(super) fn connect_host(&self, met: Met<'_>, network: &Network, to: SocketAddr) -> io::Result<()> {
        let (socket, kind) = match self.own_socket(&met).and_then(|socket| {
            let kind = socket_type(&socket)?;
            Ok((socket, kind))
        }) {
            Ok(found) => found,
            Err(errno) => return met.notification.refuse(errno.raw_os_error()),
        };
        if kind != SocketType::STREAM {
            return self.connect_datagram(met, network, socket, to);
        }
        if let Some(resolver) = network.streams_at(to) {
            // It is of the session: it is not decided on whether names are asked for, but which.
            let process = met.process.clone();
            let done = self.connect_now(&socket, &resolver);
            network.asks(&socket, true, &process);
            drop(socket);
            return match done {
                // It is on this machine, and takes no time.
                (Ok(()) | Err(Errno::INPROGRESS), _) => met.notification.value(0),
                (Err(errno), _) => met.notification.refuse(errno.raw_os_error()),
            };
        }
        let ruling = self.rule_host(&met, network, to, "tcp");
        if !ruling.allowed {
            return self.deny(met, ruling);
        }
        if !met.notification.is_valid() {
            // Killed meanwhile: nothing happens any more.
            return met.notification.proceed();
        }
        if self.note_leaving(&met, &ruling).is_err() {
            return met.notification.refuse(libc::EIO);
        }
        let Ok(written) = self.observer.write(&met, ruling, None) else {
            // No record, no effect.
            return met.notification.refuse(libc::EIO);
        };
        let (done, blocks) = self.connect_now(&socket, &to);
        match done {
            Ok(()) => {
                self.observer.settle(written, Outcome::Ok);
                // What the caller then closes is closed.
                drop(socket);
                met.notification.value(0)
            }
            Err(Errno::INPROGRESS | Errno::ALREADY) if blocks => {
                let patience = socket_timeout(&socket, Timeout::Send).ok().flatten();
                let (observer, answers) = (Arc::clone(&self.observer), Arc::clone(&self.blocking));
                let parked = met.notification.park();
                let (id, tid) = (parked.id, parked.tid);
                let then = move |socket: OwnedFd, how: Finished| {
                    let done: Done = match how {
                        // The socket takes note of it only now (`connect(2)`).
                        Finished::Connected => match rustix::net::connect(&socket, &to) {
                            Ok(()) | Err(Errno::ISCONN) => Ok(0),
                            Err(errno) => Err(errno),
                        },
                        Finished::Failed(errno) => Err(errno),
                        Finished::TimedOut => Err(Errno::INPROGRESS),
                        Finished::Gone | Finished::Interrupted => Err(RESTART),
                    };
                    let outcome = match done {
                        Ok(_) => Outcome::Ok,
                        Err(RESTART) => failed(libc::EINTR),
                        Err(errno) => failed(errno.raw_os_error()),
                    };
                    observer.settle(written, outcome);
                    drop(socket);
                    answers.answer(parked, done);
                };
                network.connector.wait(Waiting { socket, id, tid, patience, then: Box::new(then) });
                Ok(())
            }
            Err(errno) => {
                // How one that is not waited for comes out, the caller hears from its socket. It has a peer once it stands,
                // which may be now; to ask for more would take the answer away.
                let outcome = match errno {
                    Errno::INPROGRESS if rustix::net::getpeername(&socket).is_ok() => Outcome::Ok,
                    Errno::INPROGRESS => Outcome::Unknown,
                    errno => failed(errno.raw_os_error()),
                };
                self.observer.settle(written, outcome);
                drop(socket);
                met.notification.refuse(errno.raw_os_error())
            }
        }
    }

    /// Connects without waiting; says whether the caller would have waited.
    #[expect(clippy::unused_self, reason = "it is a step of what the supervisor does")]
    fn connect_now(&self, socket: &OwnedFd, to: &SocketAddr) -> (Result<(), Errno>, bool) {
        let flags = match rustix::fs::fcntl_getfl(socket) {
            Ok(flags) => flags,
            Err(errno) => return (Err(errno), false),
        };
        let blocks = !flags.contains(OFlags::NONBLOCK);
        if blocks && let Err(errno) = rustix::fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK) {
            return (Err(errno), blocks);
        }
        let mut done = rustix::net::connect(socket, to);
        if blocks && done == Err(Errno::INPROGRESS) {
            // On this machine the answer is there as soon as the socket is let go of; the first call never sees it.
            done = match rustix::net::connect(socket, to) {
                Ok(()) | Err(Errno::ISCONN) => Ok(()),
                Err(Errno::ALREADY) => Err(Errno::INPROGRESS),
                Err(errno) => Err(errno),
            };
        }
        if blocks {
            // It was set before.
            let _ = rustix::fs::fcntl_setfl(socket, flags);
        }
        (done, blocks)
    }

    /// Asks the policies about an address by each name that stood for it, then by itself. The first that is permitted
    /// holds; where none is, the name that was asked for last says what was denied.
    pub(super) fn rule_host(
        &self,
        met: &Met<'_>,
        network: &Network,
        to: SocketAddr,
        transport: &'static str,
    ) -> Ruling {
        let ip = meant(to.ip());
        let rule = |host: Option<String>| {
            let endpoint = Endpoint { host, ..Endpoint::of(ip, to.port(), Some(transport)) };
            self.rule(met, vec![Draft::new(Action::NetConnect, Resource::Net(endpoint))])
        };
        let mut denied = None;
        for name in network.book.names(ip) {
            let ruling = rule(Some(name.as_ref().to_owned()));
            if ruling.is_permitted() {
                return ruling;
            }
            denied.get_or_insert(ruling);
        }
        let by_itself = rule(None);
        if by_itself.is_permitted() { by_itself } else { denied.unwrap_or(by_itself) }
    }
}
