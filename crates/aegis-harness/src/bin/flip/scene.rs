//! The scene of a race: what lies in WORK, the path that is raced, and the motion that flips it.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use aegis_harness::race::{Kind, NAMES, Target, exit_program};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat, renameat_with};
use rustix::io::{dup, dup2};
use rustix::process::chdir;

use crate::Plan;
use crate::raw::{Place, SharedText};

/// What WORK's own files hold.
const HARMLESS: &[u8] = b"harmless\n";

/// What a race is run on.
#[derive(Debug)]
pub(crate) struct Scene {
    at: RawFd,
    text: SharedText,
    /// Where the last component begins in the text.
    name_at: usize,
    /// The directory that holds WORK's side of the race, whatever its path is at the moment.
    pub(crate) base: OwnedFd,
    /// A directory of WORK that nobody races.
    pub(crate) out: OwnedFd,
    /// WORK's files, by their numbers, where the target needs any.
    pub(crate) files: Vec<OwnedFd>,
}

/// What flips, and how.
#[derive(Debug)]
pub(crate) enum Motion {
    /// Bytes of the text, each by its place with how it is here and there.
    Bytes(Vec<(usize, u8, u8)>),
    /// `spot` and `spare` of this directory are exchanged.
    Directory(OwnedFd),
    /// The name of the turn is exchanged between these directories: files, links.
    Symlink(OwnedFd, OwnedFd, Vec<CString>),
    /// `spot` of this directory is renamed away, and `spare` to its place.
    Rename(OwnedFd),
    /// The process is here or there.
    Cwd(PathBuf, PathBuf),
    /// A number stands for here or there.
    Descriptor(OwnedFd, OwnedFd, OwnedFd),
}

/// The two sides of a race.
struct Sides {
    /// WORK's side.
    here: PathBuf,
    at: RawFd,
    /// The raced path up to its last component.
    prefix: PathBuf,
    motion: Motion,
}

impl Scene {
    /// Prepares WORK and says how it flips.
    pub(crate) fn prepare(plan: &Plan) -> io::Result<(Self, Motion)> {
        fs::create_dir(plan.work.join("out"))?;
        let Sides { here, at, prefix, motion } = match plan.kind {
            Kind::Directory | Kind::Rename => directories(plan)?,
            Kind::Descriptor | Kind::DescriptorLink => descriptors(plan)?,
            Kind::Bytes => absolute(plan, Motion::Bytes(differing_bytes(&plan.work, &plan.forbidden))),
            Kind::Symlink => absolute(plan, links(plan)?),
            Kind::Cwd => {
                chdir(&plan.work)?;
                let motion = Motion::Cwd(plan.work.clone(), plan.forbidden.clone());
                Sides { prefix: PathBuf::new(), ..absolute(plan, motion) }
            }
        };
        let (base, out) = (directory(&here)?, directory(&plan.work.join("out"))?);
        let name = plan.target.name(0);
        let path = prefix.join(&name);
        let name_at = path.as_os_str().len() - name.len();
        let text = SharedText::new(path.as_os_str());
        let files = files(plan, &base, &out)?;
        Ok((Self { at, text, name_at, base, out, files }, motion))
    }

    /// Turns to another name and returns the raced path.
    pub(crate) fn place(&self, name: &str) -> Place<'_> {
        self.text.write(self.name_at, name.as_bytes());
        Place { at: self.at, text: &self.text }
    }
}

impl Motion {
    /// Flips once, to the forbidden side or back.
    pub(crate) fn flip(&mut self, scene: &Scene, there: bool, turn: usize) -> io::Result<()> {
        match self {
            Self::Bytes(changes) => {
                for (place, here, beyond) in changes {
                    scene.text.write(*place, &[if there { *beyond } else { *here }]);
                }
            }
            Self::Directory(work) => {
                renameat_with(&*work, c"spot", &*work, c"spare", RenameFlags::EXCHANGE)?;
            }
            Self::Symlink(files, links, names) => {
                if let Some(name) = names.get(turn % NAMES) {
                    renameat_with(&*files, name, &*links, name, RenameFlags::EXCHANGE)?;
                }
            }
            // The second is tried whatever came of the first: so an end in the middle mends itself.
            Self::Rename(work) => {
                let (away, to_spot) = if there { (c"aside", c"spare") } else { (c"spare", c"aside") };
                let first = renameat(&*work, c"spot", &*work, away);
                renameat(&*work, to_spot, &*work, c"spot")?;
                first?;
            }
            Self::Cwd(here, beyond) => chdir(if there { &*beyond } else { &*here })?,
            Self::Descriptor(number, here, beyond) => dup2(if there { &*beyond } else { &*here }, number)?,
        }
        Ok(())
    }
}

/// Makes a plain file of WORK that is not there yet, and returns it.
pub(crate) fn make_harmless(place: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    make(place, name, HARMLESS, 0o644)
}

/// Makes a file that is not there yet, and returns it.
fn make(place: impl AsFd, name: &str, content: &[u8], mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(openat(place, name, flags, Mode::from_raw_mode(mode))?);
    file.write_all(content)?;
    Ok(file.into())
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Makes WORK's side of what the target acts on.
fn files(plan: &Plan, base: &OwnedFd, out: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let make_all =
        |place: &OwnedFd| (0..NAMES).map(|turn| make_harmless(place, &plan.target.name(turn))).collect();
    match plan.target {
        Target::Exec => {
            // Closed at once: a program that is open for writing can't be executed.
            drop(make(base, &plan.target.name(0), &exit_program(0), 0o755)?);
            Ok(Vec::new())
        }
        Target::RenameTo | Target::LinkTo => make_all(out),
        // A link to a name that is free, exchanged with a file.
        Target::OpenCreate if plan.kind == Kind::Symlink => make_all(base),
        target if target.creates() => Ok(Vec::new()),
        _ => make_all(base),
    }
}

/// Makes the links that WORK's files are exchanged with.
fn links(plan: &Plan) -> io::Result<Motion> {
    let folder = plan.work.join("links");
    fs::create_dir(&folder)?;
    let names: Vec<_> = (0..NAMES).map(|turn| plan.target.name(turn)).collect();
    for name in BTreeSet::from_iter(&names) {
        symlink(plan.forbidden.join(name), folder.join(name))?;
    }
    let names = names.into_iter().map(CString::new).collect::<Result<_, _>>()?;
    Ok(Motion::Symlink(directory(&plan.work)?, directory(&folder)?, names))
}

/// The raced path is below WORK itself.
fn absolute(plan: &Plan, motion: Motion) -> Sides {
    Sides { here: plan.work.clone(), at: libc::AT_FDCWD, prefix: plan.work.clone(), motion }
}

/// The raced path is below a directory of WORK, which gives its name to a link.
fn directories(plan: &Plan) -> io::Result<Sides> {
    let here = plan.work.join("spot");
    fs::create_dir(&here)?;
    symlink(&plan.forbidden, plan.work.join("spare"))?;
    let work = directory(&plan.work)?;
    let motion = if plan.kind == Kind::Rename { Motion::Rename(work) } else { Motion::Directory(work) };
    Ok(Sides { prefix: here.clone(), here, ..absolute(plan, motion) })
}

/// The raced path is relative to a number: of WORK or FORBIDDEN, or of one of two directories of WORK, of
/// which one has a directory where the other has a link.
fn descriptors(plan: &Plan) -> io::Result<Sides> {
    let (mut here, mut below) = (plan.work.clone(), "");
    let (first, second) = if plan.kind == Kind::Descriptor {
        (directory(&here)?, directory(&plan.forbidden)?)
    } else {
        let (real, linked) = (plan.work.join("real"), plan.work.join("linked"));
        (here, below) = (real.join("side"), "side");
        fs::create_dir_all(&here)?;
        fs::create_dir(&linked)?;
        symlink(&plan.forbidden, linked.join("side"))?;
        (directory(&real)?, directory(&linked)?)
    };
    let number = dup(&first)?;
    let raw = number.as_raw_fd();
    let (at, prefix) = if matches!(plan.target, Target::Truncate | Target::Setxattr) {
        // These take no number but in a path.
        (libc::AT_FDCWD, Path::new("/proc/self/fd").join(raw.to_string()).join(below))
    } else {
        (raw, below.into())
    };
    Ok(Sides { here, at, prefix, motion: Motion::Descriptor(number, first, second) })
}

/// Returns where two texts of one length differ.
fn differing_bytes(here: &Path, there: &Path) -> Vec<(usize, u8, u8)> {
    let pairs = here.as_os_str().as_bytes().iter().zip(there.as_os_str().as_bytes());
    pairs.enumerate().filter(|(_, (a, b))| a != b).map(|(place, (a, b))| (place, *a, *b)).collect()
}
