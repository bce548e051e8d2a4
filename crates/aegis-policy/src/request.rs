//! A question to the policies: may this agent do this to that?

use std::borrow::Cow;
use std::net::IpAddr;

use aegis_types::{Action, Timestamp};

/// A question. Its agent, session and mode are those of the [`crate::Engine`] that is asked.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What is to be done.
    pub action: Action,
    /// What it is to be done to.
    pub resource: Resource<'a>,
    /// The program that acts, as a path; empty where it is not known.
    pub exe: &'a str,
    /// The process that acts, 0 where it is not known.
    pub pid: u32,
    /// When.
    pub time: Timestamp,
    /// For a connection: the address is a local one, to be bound or listened on.
    pub listen: bool,
    /// For a write: it is to become a file that runs as its owner or group.
    pub setuid: bool,
    /// For a path in `/proc`: it is of a process of the session.
    pub of_session: bool,
    /// For a change: says whether the name was there when the session started. Asked only where a policy reads it.
    pub existed: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { action, resource, exe, pid, listen, setuid, .. } = self;
        f.debug_struct("Request")
            .field("action", action)
            .field("resource", resource)
            .field("exe", exe)
            .field("pid", pid)
            .field("listen", listen)
            .field("setuid", setuid)
            .finish_non_exhaustive()
    }
}

/// What something is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A file or directory by its absolute path, links resolved.
    Path(&'a str),
    /// A program.
    Program {
        /// The path of its file.
        exe: &'a str,
        /// It with its arguments, as a shell would be given them.
        command: &'a str,
        /// Its arguments, its own name first.
        arguments: &'a [&'a str],
    },
    /// A network address.
    Host {
        /// The name that was asked for, else the address.
        host: &'a str,
        /// The address, where it is known.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// A Unix socket: its path, or `@` and its name where it is abstract.
    Unix(&'a str),
    /// A call of a tool of the agent.
    Tool {
        /// The tool.
        tool: &'a str,
        /// What it is to run or to work on.
        command: &'a str,
        /// Its arguments.
        arguments: &'a [&'a str],
    },
}

/// Names of policies that stand for folders of processes in `/proc`: the caller's own, and those of the session's others.
pub const OF_PROCESSES: [&str; 2] = ["/proc/self", "/proc/session"];

/// The longest name of a host (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 255;

impl<'a> Resource<'a> {
    /// Returns the id of the resource as an entity.
    #[must_use]
    pub fn id(&self) -> Cow<'a, str> {
        match *self {
            Resource::Path(path) | Resource::Program { exe: path, .. } => path.into(),
            Resource::Host { host, port, .. } if host.contains(':') => format!("[{host}]:{port}").into(),
            Resource::Host { host, port, .. } => format!("{host}:{port}").into(),
            Resource::Unix(name) => format!("unix:{name}").into(),
            Resource::Tool { tool, command, .. } => format!("{tool}({command})").into(),
        }
    }

    /// Returns its path, where it has one.
    #[must_use]
    pub fn path(&self) -> Option<&'a str> {
        match *self {
            Resource::Path(path) | Resource::Program { exe: path, .. } | Resource::Unix(path) => {
                path.starts_with('/').then_some(path)
            }
            Resource::Host { .. } | Resource::Tool { .. } => None,
        }
    }

    /// Says whether it is named as such a thing can be named. What is not is denied.
    pub(crate) fn is_plausible(&self) -> bool {
        match self {
            Resource::Path(path) | Resource::Program { exe: path, .. } => path.starts_with('/'),
            Resource::Unix(name) => name.starts_with('/') || name.starts_with('@'),
            Resource::Host { host, .. } => {
                let is_fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
                !host.is_empty() && host.len() <= HOST_MAX && host.bytes().all(is_fine)
            }
            Resource::Tool { tool, .. } => !tool.is_empty(),
        }
    }

    /// Returns a host as policies have it: in small letters, an IPv4 address that is written as an IPv6 one as what it is
    /// (RFC 4291, section 2.5.5.2).
    pub(crate) fn host_of(host: &'a str, address: Option<IpAddr>) -> Cow<'a, str> {
        match address.map(|address| (address, address.to_canonical())) {
            Some((written, canonical)) if written != canonical && host.parse() == Ok(written) => {
                canonical.to_string().into()
            }
            _ if host.bytes().any(|b| b.is_ascii_uppercase()) => host.to_ascii_lowercase().into(),
            _ => host.into(),
        }
    }

    /// Returns the resource as the process of this id has it: its own folder in `/proc` is `/proc/self`, and those of the
    /// session's other processes are in `/proc/session`.
    pub(crate) fn path_of(path: &'a str, pid: u32, of_session: bool) -> Cow<'a, str> {
        let [own, others] = OF_PROCESSES;
        let Some(whole) = path.strip_prefix("/proc/") else { return path.into() };
        let (number, rest) = whole.split_at(whole.find('/').unwrap_or(whole.len()));
        if number.bytes().all(|b| b.is_ascii_digit()) && number.parse() == Ok(pid) {
            return format!("{own}{rest}").into();
        }
        if of_session { format!("{others}/{whole}").into() } else { path.into() }
    }
}

/// Returns arguments as one text, as a shell would be given them (POSIX, "Quoting"): where one ends can be told.
#[must_use]
pub fn command(arguments: &[&str]) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "%+,-./:=@_^".contains(c);
    let quoted = |argument: &&str| -> Cow<'_, str> {
        if !argument.is_empty() && argument.chars().all(is_plain) {
            return (*argument).to_owned().into();
        }
        format!("'{}'", argument.replace('\'', "'\\''")).into()
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Returns the last part of a path; nothing for the root.
pub(crate) fn name_of(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

/// Returns what follows the last dot of a name, unless that begins it.
pub(crate) fn extension_of(path: &str) -> Option<&str> {
    let (stem, extension) = name_of(path)?.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

/// Calls `each` with a path and every directory above it.
pub(crate) fn upwards(path: &str, mut each: impl FnMut(&str)) {
    each(path);
    let mut rest = path;
    while let Some(at) = rest.rfind('/') {
        let parent = if at == 0 { "/" } else { rest.get(..at).unwrap_or("/") };
        if parent == rest {
            return;
        }
        each(parent);
        if at == 0 {
            return;
        }
        rest = parent;
    }
}

/// Says whether a path is a directory or below it.
#[must_use]
pub fn is_within(path: &str, folder: &str) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || (folder == "/" && path.starts_with('/')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_parts() {
        let up = |path: &str| {
            let mut all = Vec::new();
            upwards(path, |p| all.push(p.to_owned()));
            all
        };
        assert_eq!(up("/a/b"), ["/a/b", "/a", "/"]);
        assert_eq!(up("/"), ["/"]);
        assert_eq!(up("host:80"), ["host:80"]);
        assert_eq!(name_of("/"), None);
        assert_eq!(extension_of("/a.b/c.tar.gz"), Some("gz"));
        assert_eq!((extension_of("/.env"), extension_of("/a."), extension_of("/a.b/c")), (None, None, None));
        assert!(is_within("/a/b", "/a") && is_within("/a", "/") && is_within("/a", "/a"));
        assert!(!is_within("/ab", "/a") && !is_within("x", "/") && !is_within("/a", "/a/b"));
    }

    #[test]
    fn hosts_have_one_form() {
        let of = |host: &'static str| Resource::host_of(host, host.parse().ok()).into_owned();
        assert_eq!(of("API.Example.com"), "api.example.com");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::FFFF:a01:203"), "10.1.2.3");
        assert_eq!((of("::1"), of("10.0.0.1")), ("::1".into(), "10.0.0.1".into()));
    }

    #[test]
    fn a_command_says_where_each_argument_ends() {
        assert_eq!(command(&["git", "commit", "-m", "it's", ""]), "git commit -m 'it'\\''s' ''");
        assert_ne!(command(&["a b"]), command(&["a", "b"]));
    }

    #[test]
    fn the_callers_own_folder_is_its_self() {
        assert_eq!(Resource::path_of("/proc/12/status", 12, false), "/proc/self/status");
        assert_eq!(Resource::path_of("/proc/12", 12, true), "/proc/self");
        for other in ["/proc/123/status", "/proc/1/x", "/proc/12x", "/proc/", "/proc/self", "/x/proc/12"] {
            assert_eq!(Resource::path_of(other, 12, false), other);
        }
    }

    #[test]
    fn those_of_the_session_are_in_a_folder() {
        assert_eq!(Resource::path_of("/proc/13/stat", 12, true), "/proc/session/13/stat");
        assert_eq!(Resource::path_of("/proc/inner-3", 12, true), "/proc/session/inner-3");
        assert_eq!(Resource::path_of("/x/proc/13", 12, true), "/x/proc/13");
    }
}
