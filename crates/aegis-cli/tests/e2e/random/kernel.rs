//! What Landlock refuses though Cedar allows it, since its rights are on directories that are there at the start.
//!
//! A right of Landlock's is on an inode and on what is below it; so what it holds is asked of the twin, whose inodes
//! stand for those of the tree.

use std::collections::HashMap;
use std::fs::File;
use std::ops::BitOr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aegis_policy::SandboxPlan;
use aegis_types::Action;

/// Rights of Landlock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights(pub(crate) u32);

impl Rights {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const EXECUTE: Self = Self(1);
    pub(crate) const WRITE_FILE: Self = Self(1 << 1);
    pub(crate) const READ_FILE: Self = Self(1 << 2);
    pub(crate) const READ_DIR: Self = Self(1 << 3);
    pub(crate) const REMOVE_DIR: Self = Self(1 << 4);
    pub(crate) const REMOVE_FILE: Self = Self(1 << 5);
    pub(crate) const MAKE_DIR: Self = Self(1 << 7);
    pub(crate) const MAKE_REG: Self = Self(1 << 8);
    pub(crate) const MAKE_SOCK: Self = Self(1 << 9);
    pub(crate) const MAKE_FIFO: Self = Self(1 << 10);
    pub(crate) const MAKE_SYM: Self = Self(1 << 12);
    pub(crate) const REFER: Self = Self(1 << 13);
    pub(crate) const TRUNCATE: Self = Self(1 << 14);

    /// Those that are of a file itself.
    const OF_FILES: Self = Self(1 | 1 << 1 | 1 << 2 | 1 << 14);

    fn holds(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a kernel is told for an action.
fn rights_of(action: Action) -> Rights {
    let removing = Rights::REMOVE_FILE | Rights::REMOVE_DIR | Rights::REFER;
    match action {
        Action::FileRead => Rights::READ_FILE,
        Action::DirList => Rights::READ_DIR,
        Action::FileWrite => {
            let making = Rights::MAKE_REG
                | Rights::MAKE_SYM
                | Rights::MAKE_SOCK
                | Rights::MAKE_FIFO
                | Rights::MAKE_DIR;
            Rights::WRITE_FILE | Rights::TRUNCATE | making | removing
        }
        Action::FileDelete => removing,
        Action::DirCreate => Rights::MAKE_DIR | Rights::REFER,
        Action::ProcessSpawn => Rights::EXECUTE | Rights::READ_FILE,
        Action::NetConnect | Action::ToolCall | Action::ProcessExit => Rights::NONE,
    }
}

/// What a step needs of the kernel.
#[derive(Debug, Clone)]
pub(crate) enum Need {
    /// Rights on what is, or comes to be, at this path of the twin.
    On(PathBuf, Rights),
    /// That what is at the first path may come to the directory: nothing can be done to it there that could not be
    /// before.
    NoMore(PathBuf, PathBuf),
}

/// The rules of a session.
pub(crate) struct Kernel {
    everywhere: Rights,
    rules: HashMap<(u64, u64), Rights>,
    /// Keeps the inodes of rules from being given out again.
    held: Vec<File>,
}

impl Kernel {
    /// Makes the rules of a plan. `outer` is the tree's directory and `twin` that of its twin, which is as the tree is
    /// when the session starts.
    pub(crate) fn new(plan: &SandboxPlan, outer: &Path, twin: &Path) -> Self {
        let mut kernel = Self { everywhere: Rights::NONE, rules: HashMap::new(), held: Vec::new() };
        for (action, regions) in &plan.files {
            for grant in regions.hull() {
                kernel.add(Path::new(&grant.path), rights_of(*action), outer, twin);
            }
        }
        for grant in plan.sockets[1].hull() {
            kernel.add(Path::new(&grant.path), Rights::MAKE_SOCK, outer, twin);
        }
        kernel
    }

    fn add(&mut self, path: &Path, rights: Rights, outer: &Path, twin: &Path) {
        if outer.starts_with(path) {
            self.everywhere = self.everywhere | rights;
            return;
        }
        let Ok(rest) = path.strip_prefix(outer) else { return };
        let path = twin.join(rest);
        let of_directory = rights.without(Rights::OF_FILES | Rights::READ_DIR);
        match place(&path) {
            Some(true) => self.put(&path, rights),
            Some(false) => {
                self.put(&path, rights.and(Rights::OF_FILES));
                self.room(&path, of_directory, twin);
            }
            None => {
                self.room(&path, of_directory | rights.and(Rights::WRITE_FILE | Rights::TRUNCATE), twin);
            }
        }
    }

    /// Grants what making a name takes in the directory that would hold it.
    fn room(&mut self, path: &Path, rights: Rights, twin: &Path) {
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(twin)) {
            if place(folder) == Some(true) {
                return self.put(folder, rights);
            }
        }
    }

    fn put(&mut self, path: &Path, rights: Rights) {
        let meta = path.symlink_metadata().unwrap();
        if !meta.is_symlink() {
            use std::os::unix::fs::OpenOptionsExt as _;
            let flags = rustix::fs::OFlags::PATH.bits().cast_signed();
            self.held.push(File::options().read(true).custom_flags(flags).open(path).unwrap());
        }
        let at = self.rules.entry((meta.dev(), meta.ino())).or_default();
        *at = *at | rights;
    }

    fn on(&self, path: &Path) -> Rights {
        let rule = |place: &Path| {
            let meta = place.symlink_metadata().ok()?;
            self.rules.get(&(meta.dev(), meta.ino())).copied()
        };
        path.ancestors().filter_map(rule).fold(self.everywhere, Rights::bitor)
    }

    /// Says whether files can be made, as far as that is needed.
    pub(crate) fn makes(&self, needs: &[Need]) -> bool {
        let made: Vec<Need> = needs
            .iter()
            .filter(|need| matches!(need, Need::On(_, rights) if *rights == Rights::MAKE_REG))
            .cloned()
            .collect();
        !made.is_empty() && !self.lacks(&made)
    }

    /// Says whether something that is needed is not there.
    pub(crate) fn lacks(&self, needs: &[Need]) -> bool {
        needs.iter().any(|need| match need {
            Need::On(path, rights) => !self.on(path).holds(*rights),
            Need::NoMore(path, folder) => {
                let is_directory = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
                let mask = if is_directory { Rights(u32::MAX) } else { Rights::OF_FILES };
                let before = path.parent().map_or(Rights::NONE, |parent| self.on(parent));
                !before.holds(self.on(folder).and(mask))
            }
        })
    }
}

/// Says whether a path is a directory; nothing where it is not there, or leads elsewhere.
fn place(path: &Path) -> Option<bool> {
    let parent = path.parent()?;
    let meta = path.symlink_metadata().ok()?;
    (parent.canonicalize().ok()? == parent).then(|| meta.is_dir())
}
