//! What the front and the session process say to each other: JSON messages over a socket pair that keeps
//! their bounds (`SOCK_SEQPACKET`, `unix(7)`).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aegis_types::{Action, ExitStatus, Text};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// From the session process to the front.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToFront {
    /// Something that the user should read now.
    Notice(String),
    /// The agent's first process was stopped by this signal.
    Stopped(i32),
    /// The agent's first process has ended; others go on, in the background.
    Released(Box<Report>),
    /// The session has ended.
    Finished(Box<Report>),
    /// The session could not start, or was ended by Aegis.
    Failed {
        /// Why.
        why: String,
        /// The exit code for it.
        code: u8,
    },
}

/// From the front to the session process.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum ToSession {
    /// The front got this signal.
    Signal {
        /// Its number.
        number: i32,
        /// The process that sent it.
        sender: u32,
    },
}

/// What a session did, for the lines at its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// How the agent's first process ended.
    pub exit: Option<ExitStatus>,
    /// Microseconds from the start.
    pub duration_us: u64,
    /// By action: entries with evidence, those of whose outcome nothing is known, those that failed, those whose target
    /// was missing; and reads that are only counted.
    pub actions: BTreeMap<Action, [u64; 5]>,
    /// The first files that were written, and how many there were.
    pub written: (Vec<Text>, usize),
    /// The first files that were deleted, and how many there were.
    pub deleted: (Vec<Text>, usize),
    /// Where connections went.
    pub hosts: Vec<String>,
    /// There were more.
    pub more_hosts: bool,
    /// How many processes were seen.
    pub processes: u64,
    /// How many of them go on.
    pub remaining: usize,
    /// Gaps in what was seen.
    pub gaps: u64,
    /// What the policies denied, or would have; nothing where there are no policies.
    pub denied: Option<Denied>,
    /// The number of the session's last entry, where it is in the ledger for good.
    pub last_seq: Option<u64>,
}

/// What policies denied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Denied {
    /// The first things, each as an action and what it was on, with the policies that forbid it; without any where no
    /// policy permits it.
    pub first: Vec<(Text, Vec<String>)>,
    /// How many different ones there were.
    pub distinct: usize,
    /// How many in all.
    pub all: u64,
}

/// One end of the pair.
#[derive(Debug)]
pub struct Wire(OwnedFd);

/// The largest message, in bytes.
const MESSAGE_MAX: usize = 64 << 10;

impl Wire {
    /// Makes the two ends.
    ///
    /// # Errors
    /// That of `socketpair(2)`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(a), Self(b)))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The other end has gone.
    pub fn send<T: Serialize>(&self, message: &T) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Sends a message, unless the other end does not keep up with reading.
    ///
    /// # Errors
    /// The other end has gone, or has no room.
    pub fn try_send<T: Serialize>(&self, message: &T) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, &bytes, flags))?;
        Ok(())
    }

    /// Receives the next message; `None` where the other end has gone.
    ///
    /// # Errors
    /// The socket can't be read, or the message is none.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let mut buffer = vec![0; MESSAGE_MAX];
        let got = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())
        });
        let (_, length) = match got {
            Err(rustix::io::Errno::CONNRESET) | Ok((_, 0)) => return Ok(None),
            other => other?,
        };
        Ok(Some(serde_json::from_slice(buffer.get(..length).unwrap_or_default())?))
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
