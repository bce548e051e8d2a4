//! From a plan to Landlock layers.
//!
//! Two layers. The **hull** is on the threads that execute calls for the agent and on the agent; it has every right
//! that the policies may permit, and what those threads need to look at the agent and to open terminals for it. The **own** layer is
//! on the agent alone: what the policies may permit and no more, executing included, no signals out of it, no abstract
//! sockets made outside it. A layer that only the agent has keeps it, root included, from tracing or signalling those
//! threads (measured on Linux 6.18).
//!
//! Rights of Landlock are coarser than actions: renaming over a file needs the right to remove it. The hull is never
//! smaller than the policies, with one exception that is stricter: a directory that a policy names is not itself
//! removed or renamed, since that right belongs to the directory above.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use aegis_observer::resolve::path_of;
use aegis_policy::plan::{Grant, SandboxPlan};
use aegis_policy::request::{OF_PROCESSES, is_within};
use aegis_sys::landlock::{Governs, Layer, Rights};
use aegis_sys::outside;
use aegis_types::Action;
use rustix::fs::{FileType, Mode, OFlags};

/// What a kernel's rules grant, by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hull {
    /// For each path: the rights on it, and on all below it.
    places: BTreeMap<String, Rights>,
    /// The ports that may be listened on; nothing where all may.
    listen: Option<Vec<u16>>,
    /// Some program may be executed.
    executes: bool,
}

/// The two layers.
#[derive(Debug)]
pub struct Layers {
    /// That of the threads that execute calls, and of the agent.
    pub hull: Layer,
    /// That of the agent alone.
    pub own: Layer,
}

/// What must be there to make, replace and change files in a directory.
fn writing() -> Rights {
    Rights::WRITE_FILE
        | Rights::TRUNCATE
        | Rights::MAKE_REG
        | Rights::MAKE_SYM
        | Rights::MAKE_SOCK
        | Rights::MAKE_FIFO
        // A directory that is renamed is made where it comes to, and takes the place of another.
        | Rights::MAKE_DIR
        | removing()
}

fn removing() -> Rights {
    Rights::REMOVE_FILE | Rights::REMOVE_DIR | Rights::REFER
}

fn rights_of(action: Action) -> Rights {
    match action {
        Action::FileRead => Rights::READ_FILE,
        Action::DirList => Rights::READ_DIR,
        Action::FileWrite => writing(),
        Action::FileDelete => removing(),
        Action::DirCreate => Rights::MAKE_DIR | Rights::REFER,
        // The kernel opens a program for reading, too.
        Action::ProcessSpawn => Rights::EXECUTE | Rights::READ_FILE,
        Action::NetConnect | Action::ToolCall | Action::ProcessExit => Rights::NONE,
    }
}

/// Rights that belong to the directory that a name stands in.
fn of_directory() -> Rights {
    (writing() | removing()).without(Rights::WRITE_FILE | Rights::TRUNCATE)
}

/// What loads a program that is linked dynamically: the kernel executes it for each of them.
const LOADERS: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];

impl Hull {
    /// Makes the hull of a plan.
    #[must_use]
    pub fn of(plan: &SandboxPlan) -> Self {
        let mut hull = Self::default();
        for (action, regions) in &plan.files {
            let grants = regions.hull();
            hull.executes |= *action == Action::ProcessSpawn && !grants.is_empty();
            for grant in grants {
                hull.add(&grant, rights_of(*action));
            }
        }
        let [_, listened] = &plan.sockets;
        for grant in listened.hull() {
            hull.add(&grant, Rights::MAKE_SOCK);
        }
        let listens: Vec<_> =
            plan.ports.iter().filter(|port| port.listen && port.state.may_allow()).collect();
        if listens.iter().all(|port| port.port.is_some()) {
            hull.listen = Some(listens.iter().filter_map(|port| port.port).collect());
        }
        hull
    }

    fn add(&mut self, grant: &Grant, rights: Rights) {
        // Which process is meant is not known before it asks.
        let of_processes = |own: &&str| is_within(&grant.path, own);
        let path = if OF_PROCESSES.iter().any(of_processes) { "/proc" } else { grant.path.as_str() };
        let at = self.places.entry(path.to_owned()).or_default();
        *at = *at | rights;
    }

    /// Makes one that lets these paths be read.
    #[cfg(test)]
    pub(crate) fn granting(paths: &[&str]) -> Self {
        let places = paths.iter().map(|path| ((*path).to_owned(), Rights::READ_FILE)).collect();
        Self { places, ..Self::default() }
    }

    /// Returns the paths on which this grants what the other does not.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Vec<String> {
        let held = |path: &str| {
            let above = other.places.iter().filter(|(place, _)| is_within(path, place));
            above.fold(Rights::NONE, |all, (_, rights)| all | *rights)
        };
        let new = self.places().filter(|(path, rights)| !rights.without(held(path)).is_none());
        new.map(|(path, _)| path.to_owned()).collect()
    }

    /// Returns the paths with their rights.
    pub fn places(&self) -> impl Iterator<Item = (&str, Rights)> {
        self.places.iter().map(|(path, rights)| (path.as_str(), *rights))
    }
}

impl Layers {
    /// Makes the layers for a kernel of this Landlock ABI. Paths that are not there grant nothing but for making them,
    /// where the directory is that would hold them; a path that leads elsewhere by a link grants nothing, since no
    /// policy is asked about such a name.
    ///
    /// # Errors
    /// That of Landlock's calls.
    pub fn make(hull: &Hull, abi: u32) -> io::Result<Self> {
        let files = Rights::known(abi);
        let bind = hull.listen.is_some();
        // The agent itself connects nowhere: whoever executes calls does, where the policies permit it.
        let governs = Governs { files: files.without(Rights::EXECUTE), bind, connect: false, scopes: false };
        let outer = Layer::new(abi, governs)?;
        let own = Layer::new(abi, Governs { files, bind, connect: true, scopes: true })?;
        for (path, rights) in hull.places() {
            let Some(place) = Place::find(path) else {
                make_room(path, rights, &[&outer, &own])?;
                continue;
            };
            outer.grant(&place.fd, place.is_directory, rights)?;
            own.grant(&place.fd, place.is_directory, rights)?;
            let above = rights.and(of_directory());
            if !place.is_directory && !above.is_none() {
                make_room(path, above, &[&outer, &own])?;
            }
        }
        if hull.executes {
            for path in LOADERS {
                // It stands behind links.
                if let Ok(fd) = rustix::fs::open(*path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                    own.grant(&fd, false, Rights::EXECUTE | Rights::READ_FILE)?;
                    outer.grant(&fd, false, Rights::READ_FILE)?;
                }
            }
        }
        // What those who execute calls need and the agent does not have: they look at it in procfs, and open its
        // terminals for it.
        outer.grant(outside::proc(), true, Rights::READ_FILE | Rights::READ_DIR)?;
        if let Some(terminals) = Place::find("/dev/pts") {
            outer.grant(&terminals.fd, true, Rights::READ_FILE | Rights::WRITE_FILE)?;
        }
        for port in hull.listen.iter().flatten() {
            outer.grant_port(*port, true)?;
            own.grant_port(*port, true)?;
        }
        Ok(Self { hull: outer, own })
    }
}

/// Grants what making a name takes in the directory that would hold it. Executing is left out: what is not there yet is
/// executed only where a whole directory may be.
fn make_room(path: &str, rights: Rights, layers: &[&Layer]) -> io::Result<()> {
    let rights = rights.without(Rights::EXECUTE | Rights::READ_FILE | Rights::READ_DIR);
    if rights.is_none() {
        return Ok(());
    }
    let mut folder = path;
    while let Some(at) = folder.rfind('/') {
        folder = folder.get(..at.max(1)).unwrap_or("/");
        if let Some(place) = Place::find(folder).filter(|place| place.is_directory) {
            for layer in layers {
                layer.grant(&place.fd, true, rights)?;
            }
            return Ok(());
        }
        if folder == "/" {
            break;
        }
    }
    Ok(())
}

/// A path that is there.
struct Place {
    fd: OwnedFd,
    is_directory: bool,
}

impl Place {
    fn find(path: &str) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        if path_of(&fd).ok()? != path.as_bytes() {
            return None;
        }
        let stat = rustix::fs::fstat(&fd).ok()?;
        Some(Self { is_directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory, fd })
    }
}
