//! The two kinds of line that are compared: what a program knows it did, and what Aegis recorded.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::base64;

/// What was done. The words are those of the export format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// A file was opened for reading.
    FileRead,
    /// A file was opened for writing, made, linked, or its metadata was changed.
    FileWrite,
    /// A name was removed.
    FileDelete,
    /// A directory was made.
    DirCreate,
    /// A directory was opened.
    DirList,
    /// A program was executed.
    ProcessSpawn,
    /// A process ended.
    ProcessExit,
    /// An address was connected to, sent to, or bound.
    NetConnect,
    /// Anything else a record may say; never compared.
    #[serde(other)]
    Other,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Action::FileRead => "FileRead",
            Action::FileWrite => "FileWrite",
            Action::FileDelete => "FileDelete",
            Action::DirCreate => "DirCreate",
            Action::DirList => "DirList",
            Action::ProcessSpawn => "ProcessSpawn",
            Action::ProcessExit => "ProcessExit",
            Action::NetConnect => "NetConnect",
            Action::Other => "other",
        })
    }
}

/// What an action was on.
///
/// A program (`{"exe", "argv"}` in a record) is its path: arguments are not compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub enum Resource {
    /// An absolute path, links resolved, as the bytes the kernel has.
    Path(Vec<u8>),
    /// An address of the internet families.
    Net(SocketAddr),
    /// A Unix socket: its absolute path, or `@` and its name where it is abstract.
    Unix(Vec<u8>),
    /// None of these, or not readable.
    #[default]
    Other,
}

impl Resource {
    /// Returns the resource for a path.
    #[must_use]
    pub fn path(path: &Path) -> Self {
        Resource::Path(path.as_os_str().as_encoded_bytes().to_vec())
    }

    /// Tells whether it is `root` or something below it.
    #[must_use]
    pub fn is_below(&self, root: &Path) -> bool {
        let (Resource::Path(bytes) | Resource::Unix(bytes)) = self else { return false };
        bytes
            .strip_prefix(root.as_os_str().as_encoded_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Path(bytes) => f.write_str(&readable(bytes)),
            Resource::Net(address) => write!(f, "{address}"),
            Resource::Unix(bytes) => write!(f, "unix:{}", readable(bytes)),
            Resource::Other => f.write_str("(unreadable)"),
        }
    }
}

/// Returns `bytes` on one line, whatever is in them.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// A resource as it stands in a line.
#[derive(Default, Serialize, Deserialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exe: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unix: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unix_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

/// Bytes that are mostly text: a string where they are UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Encoded { b64: String },
}

impl Bytes {
    fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Bytes::Text(text),
            Err(error) => Bytes::Encoded { b64: base64::encode(error.as_bytes()) },
        }
    }

    fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Bytes::Text(text) => Some(text.into_bytes()),
            Bytes::Encoded { b64 } => base64::decode(&b64),
        }
    }
}

impl From<Wire> for Resource {
    fn from(wire: Wire) -> Self {
        let address = wire.address.and_then(|address| address.parse::<IpAddr>().ok());
        let path = wire.path.or(wire.exe).and_then(Bytes::into_bytes);
        let path = path.or_else(|| wire.path_b64.as_deref().and_then(base64::decode));
        let unix = wire.unix.and_then(Bytes::into_bytes);
        let unix = unix.or_else(|| wire.unix_b64.as_deref().and_then(base64::decode));
        match (path, unix, address, wire.port) {
            (Some(path), ..) => Resource::Path(path),
            (_, Some(unix), ..) => Resource::Unix(unix),
            (.., Some(address), Some(port)) => Resource::Net(SocketAddr::new(address, port)),
            _ => Resource::Other,
        }
    }
}

impl From<Resource> for Wire {
    fn from(resource: Resource) -> Self {
        let mut wire = Wire::default();
        match resource {
            Resource::Path(bytes) => match String::from_utf8(bytes) {
                Ok(text) => wire.path = Some(Bytes::Text(text)),
                Err(error) => wire.path_b64 = Some(base64::encode(error.as_bytes())),
            },
            Resource::Net(address) => {
                wire.address = Some(address.ip().to_string());
                wire.port = Some(address.port());
            }
            Resource::Unix(bytes) => wire.unix = Some(Bytes::new(bytes)),
            Resource::Other => {}
        }
        wire
    }
}

/// The way of a connection that is not an outward one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The address is a local one that is bound or listened on.
    Listen,
    /// Anything else a record may say.
    #[serde(other)]
    Other,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Code(code) => write!(f, "code {code}"),
            Status::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// One thing that a program knows it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthLine {
    /// The process that did it.
    pub pid: u32,
    /// The thread that did it; that of the process for its first thread.
    pub tid: u32,
    /// What was done.
    pub action: Action,
    /// What it was done to.
    pub resource: Resource,
    /// For a connection that is not an outward one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// For an exit: with what status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Whether the kernel did it.
    pub ok: bool,
    /// Where it did not: the number of the error, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// How it was done, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub via: String,
}

impl fmt::Display for TruthLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.resource)?;
        if self.direction.is_some() {
            f.write_str(" (listen)")?;
        }
        if let Some(status) = self.status {
            write!(f, " with {status}")?;
        }
        write!(f, " by pid {}", self.pid)?;
        if self.tid != self.pid {
            write!(f, " tid {}", self.tid)?;
        }
        if self.via.is_empty() { Ok(()) } else { write!(f, " [{}]", self.via) }
    }
}

/// One record of kind `action` as `aegis audit export --format jsonl` gives it. Fields that are not compared
/// are not read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Record {
    /// What was done.
    pub action: Action,
    /// What it was done to.
    #[serde(default)]
    pub resource: Resource,
    /// For a connection that is not an outward one.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// What Aegis says about how it ended.
    pub outcome: Outcome,
    /// For an exit: with what status.
    #[serde(default)]
    pub status: Option<Status>,
    /// Who did it.
    pub process: Actor,
    /// By which call.
    #[serde(default)]
    pub call: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} by pid {}", self.action, self.resource, self.process.pid)?;
        if let Some(status) = self.status {
            write!(f, " with {status}")?;
        }
        Ok(())
    }
}

/// What a record says about the end of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
pub enum Outcome {
    /// It took effect.
    Ok,
    /// Its target was not there.
    Missing,
    /// It was attempted; the kernel's answer is not known.
    Unknown,
    /// It failed, with the name of an error.
    Failed(String),
}

impl From<String> for Outcome {
    fn from(word: String) -> Self {
        match word.as_str() {
            "ok" => Outcome::Ok,
            "missing" => Outcome::Missing,
            "unknown" => Outcome::Unknown,
            _ => Outcome::Failed(word),
        }
    }
}

/// The process of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Actor {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    #[serde(default)]
    pub tid: u32,
}
