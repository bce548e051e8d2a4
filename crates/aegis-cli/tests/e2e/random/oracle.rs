//! What should come of a step, from what stands in the twin, and from Cedar.
//!
//! What a call asks for is what `docs/observation.md` and `docs/policies.md` say. What a path means, the kernel
//! says, in the twin, where nothing is denied.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use aegis_harness::operations::{Base, Call, Change, Found, Node, Report, Spot, Step};
use aegis_policy::SandboxPlan;

use super::cedar::{Asked, Cedar};
use super::kernel::{Kernel, Need, Rights};
use super::steps::open_flags::{CREAT, DIRECTORY, EXCL, NOFOLLOW, PATH, RDWR, TMPFILE, TRUNC, WRONLY};

/// The program that does to the twin what should be done.
pub(crate) struct Twin {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Twin {
    pub(crate) fn new(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    pub(crate) fn act(&mut self, step: &Step) -> Report {
        writeln!(self.to, "{}", serde_json::to_string(step).unwrap()).unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?} to {step:?}"))
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // It ends with its input.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Something that is asked for, and makes an entry.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) action: &'static str,
    /// The path, of the tree and not of its twin, or `unix:` and one; nothing where it is not foretold.
    pub(crate) resource: Option<String>,
    /// What has to be allowed as well.
    also: Vec<(&'static str, String)>,
    setuid: bool,
    listen: bool,
}

/// What should come of a call.
#[derive(Debug)]
pub(crate) enum Course {
    /// Nobody is asked, and nothing recorded.
    Free,
    /// It is refused with this errno, and nothing recorded.
    Refused(i32),
    /// What is on the way differs between the tree and its twin: it fails, and nothing else is foretold.
    Unlike,
    /// It fails, whatever the policies say: with an entry that says of what.
    Fails(Part),
    /// As that; with which errno, or even what is decided, is not foretold.
    FailsSomehow { part: Part, decision: Option<&'static str> },
    /// It fails, since its target is not there: with what the policies say of it.
    Absent(Vec<Part>),
    /// The policies are asked.
    Asks {
        parts: Vec<Part>,
        /// What the kernel must let.
        needs: Vec<Need>,
        /// What would be renamed.
        renamed: Option<Renamed>,
    },
}

/// What takes one name in place of another.
#[derive(Debug)]
pub(crate) struct Renamed {
    /// The old one and the new one.
    pub(crate) names: [String; 2],
    /// It is a directory, or changes places with one.
    pub(crate) is_directory: bool,
}

/// The paths that the tree and its twin have.
pub(crate) struct Roots {
    pub(crate) outer: PathBuf,
    pub(crate) twin: PathBuf,
    /// That of the tree itself in the twin.
    pub(crate) twin_root: String,
}

pub(crate) struct Oracle<'a> {
    pub(crate) roots: &'a Roots,
    pub(crate) twin: &'a mut Twin,
    /// One that sees all of the twin, where the other does not.
    pub(crate) outside: Option<&'a mut Twin>,
    pub(crate) cedar: &'a mut Cedar,
    pub(crate) kernel: &'a Kernel,
    pub(crate) plan: &'a SandboxPlan,
}

const ENOSYS: i32 = 38;

/// `RESOLVE_NO_XDEV` (`openat2(2)`).
const NO_XDEV: u64 = 1;

/// What a look in the twin comes to.
type Seen = Result<Found, Report>;

/// A name in a directory.
struct Slot {
    /// The twin's path.
    path: String,
    /// The directory's.
    folder: String,
    /// What stands there; a link is not followed.
    there: Option<Found>,
    /// That can't be told.
    barred: bool,
}

impl Slot {
    fn needs(&self, rights: Rights) -> Need {
        Need::On(PathBuf::from(&self.folder), rights)
    }
}

/// Returns a path that leads to what was found and nothing else: nowhere, where it has lost its name.
fn place(found: &Found) -> String {
    if found.removed { format!("{} (deleted)", found.path) } else { found.path.clone() }
}

fn is_directory(found: &Found) -> bool {
    found.mode & 0o170_000 == 0o040_000
}

fn is_link(found: &Found) -> bool {
    found.mode & 0o170_000 == 0o120_000
}

fn is_setuid(mode: u32) -> bool {
    mode & 0o6000 != 0
}

impl Oracle<'_> {
    /// Returns the tree's name for a path of the twin.
    fn named(&self, path: &str) -> String {
        if let Ok(rest) = Path::new(path).strip_prefix(&self.roots.twin) {
            let tree = self.roots.outer.join(rest);
            return own_proc(tree.to_str().unwrap().trim_end_matches('/'));
        }
        own_proc(path)
    }

    fn part(&self, action: &'static str, path: &str) -> Part {
        Part { action, resource: Some(self.named(path)), also: Vec::new(), setuid: false, listen: false }
    }

    fn socket_part(&self, path: Option<&str>, listen: bool) -> Part {
        let resource = path.map(|path| format!("unix:{}", self.named(path)));
        Part { action: "NetConnect", resource, also: Vec::new(), setuid: false, listen }
    }

    fn find(&mut self, cwd: &str, at: &Spot, follow: bool, directory: bool, resolve: u64) -> Seen {
        let call = Call::Find { at: at.clone(), follow, directory, resolve };
        let report = self.twin.act(&Step { cwd: cwd.to_owned(), umask: 0o22, call });
        report.found.clone().ok_or(report)
    }

    /// Finds the directory that holds the last component, and the name.
    fn slot(&mut self, cwd: &str, at: &Spot) -> Result<Slot, Report> {
        self.slot_within(cwd, at, 0)
    }

    fn slot_within(&mut self, cwd: &str, at: &Spot, resolve: u64) -> Result<Slot, Report> {
        let text = at.text.replace("{root}", &self.roots.twin_root);
        let trimmed = text.trim_end_matches('/');
        let (folder, name) = split(trimmed);
        let spot = |text: &str| Spot { base: at.base.clone(), text: text.to_owned() };
        let folder = self.find(cwd, &spot(&folder), true, true, resolve)?.path;
        let (there, barred) = match self.find(cwd, &spot(trimmed), false, false, 0) {
            Ok(there) => (Some(there), false),
            Err(report) => (None, report.errno != Some(2)),
        };
        let path = match name {
            "" | "." | ".." => folder.clone(),
            _ => join(&folder, name),
        };
        Ok(Slot { path, folder, there, barred })
    }

    /// Names what is not there, behind the last directory that is, and says whether that is its own: then it could be
    /// made.
    fn missing(&mut self, cwd: &str, at: &Spot, resolve: u64) -> Option<(String, bool)> {
        let text = at.text.replace("{root}", &self.roots.twin_root);
        let text = text.trim_end_matches('/');
        let (folder, name) = split(text);
        let spot = |text: &str| Spot { base: at.base.clone(), text: text.to_owned() };
        let above = match self.find(cwd, &spot(&folder), true, true, resolve) {
            Ok(found) => found.path,
            Err(report) if report.errno == Some(2) && resolve == 0 => {
                let (path, _) = self.missing(cwd, &spot(&folder), 0)?;
                let path = if matches!(name, "" | ".") { path } else { join(&path, name) };
                return Some((path, false));
            }
            Err(_) => return None,
        };
        let Ok(there) = self.find(cwd, &spot(text), false, false, resolve) else {
            return Some((join(&above, name), true));
        };
        if !is_link(&there) {
            return None;
        }
        // A link that leads nowhere.
        let target = std::fs::read_link(&there.path).ok()?;
        if resolve != 0 {
            // By the same rules, from where it begins.
            return self.missing(cwd, &spot(Path::new(&folder).join(target).to_str()?), resolve);
        }
        let target = Path::new(&above).join(target);
        self.missing(cwd, &Spot { base: Base::Cwd, text: target.to_str()?.to_owned() }, 0)
    }

    /// Returns what should come of each call of a step, in order.
    pub(crate) fn foretell(&mut self, step: &Step) -> Vec<Course> {
        let lost = |report: &Report| report.lost;
        match self.courses(&step.cwd, &step.call) {
            Ok(courses) => courses,
            Err(report) if lost(&report) => vec![Course::Free],
            Err(report) => panic!("{step:?}: {report:?}"),
        }
    }

    fn courses(&mut self, cwd: &str, call: &Call) -> Result<Vec<Course>, Report> {
        let failed = |report: Report, action| {
            if report.lost { Err(report) } else { Ok(unread(action)) }
        };
        let one = |course| Ok(vec![course]);
        match call {
            Call::Open { at, flags, mode, resolve, .. } => one(self.open(cwd, at, *flags, *mode, *resolve)?),
            Call::Remove { at, directory, .. } => match self.slot(cwd, at) {
                Err(report) => one(failed(report, "FileDelete")?),
                Ok(slot) => {
                    let part = self.part("FileDelete", &slot.path);
                    let right = if *directory { Rights::REMOVE_DIR } else { Rights::REMOVE_FILE };
                    one(match slot.there {
                        None if slot.barred => Course::Fails(part),
                        None => Course::Absent(vec![part]),
                        Some(_) => asks(vec![part], vec![slot.needs(right)]),
                    })
                }
            },
            Call::Rename { from, to, flags } => one(self.rename(cwd, from, to, *flags)?),
            Call::MakeDirectory { at, .. } => match self.slot(cwd, at) {
                Err(report) => one(failed(report, "DirCreate")?),
                Ok(slot) => one(made(self.part("DirCreate", &slot.path), &slot, Rights::MAKE_DIR)),
            },
            Call::MakeNode { at, node, mode } => match self.slot(cwd, at) {
                Err(report) => one(failed(report, "FileWrite")?),
                Ok(slot) => {
                    let mut part = self.part("FileWrite", &slot.path);
                    part.setuid = is_setuid(*mode);
                    let right = match node {
                        Node::Fifo => Rights::MAKE_FIFO,
                        Node::File => Rights::MAKE_REG,
                        Node::Socket => Rights::MAKE_SOCK,
                    };
                    one(made(part, &slot, right))
                }
            },
            Call::Symlink { at, .. } => match self.slot(cwd, at) {
                Err(report) => one(failed(report, "FileWrite")?),
                Ok(slot) => one(made(self.part("FileWrite", &slot.path), &slot, Rights::MAKE_SYM)),
            },
            Call::Link { from, to, follow } => {
                let source = match self.find(cwd, from, *follow, false, 0) {
                    Ok(source) => source,
                    Err(report) => return one(failed(report, "FileWrite")?),
                };
                let to = match self.slot(cwd, to) {
                    Ok(to) => to,
                    Err(report) => return one(failed(report, "FileWrite")?),
                };
                one(self.link(&source, &to))
            }
            Call::LinkUnnamed { at, to } => {
                let first = self.open(cwd, at, TMPFILE | RDWR, 0o644, None)?;
                let folder = match self.find(cwd, at, true, false, 0) {
                    Ok(folder) => folder.path,
                    Err(report) if report.lost => return Err(report),
                    Err(_) => return one(first),
                };
                // Its name is made of its inode.
                let path = join(&folder, "#0");
                let second = match self.slot(cwd, to) {
                    Err(report) => failed(report, "FileWrite")?,
                    Ok(to) => self.link(&Found { path, removed: true, mode: 0o100_644, inode: 0 }, &to),
                };
                Ok(vec![first, second])
            }
            Call::Change { at, change, follow } => match self.find(cwd, at, *follow, false, 0) {
                Ok(found) => one(self.change(&found, change)),
                Err(report) if report.lost => Err(report),
                Err(report) if report.errno == Some(2) => {
                    let path = self.missing(cwd, at, 0);
                    one(Course::Absent(vec![self.perhaps("FileWrite", path)]))
                }
                Err(_) => one(unread("FileWrite")),
            },
            Call::ChangeKept { kept, change } => {
                let call = Call::FindKept { kept: *kept };
                let report = self.twin.act(&Step { cwd: cwd.to_owned(), umask: 0o22, call });
                match (report.found.clone(), change) {
                    (None, _) if report.lost => Err(report),
                    (None, _) => one(Course::Free),
                    // It calls nothing.
                    (_, Change::Length(_)) => one(Course::Free),
                    (Some(found), _) => one(self.change(&found, change)),
                }
            }
            Call::Execute { at } => one(self.execute(cwd, at)?),
            Call::Watch { at, follow } => match self.find(cwd, at, *follow, false, 0) {
                Ok(found) => {
                    let action = if is_directory(&found) { "DirList" } else { "FileRead" };
                    one(asks(vec![self.part(action, &found.path)], vec![]))
                }
                Err(report) if report.lost => Err(report),
                Err(report) if report.errno == Some(2) => {
                    let path = self.missing(cwd, at, 0);
                    one(Course::Absent(vec![self.perhaps("FileRead", path)]))
                }
                Err(_) => one(unread("FileRead")),
            },
            Call::Bind { at } => match self.slot(cwd, at) {
                Err(report) => one(failed(report, "NetConnect")?),
                Ok(slot) => {
                    let mut part = self.socket_part(Some(&slot.path), true);
                    if slot.there.is_some() {
                        return one(Course::Fails(part));
                    }
                    let listen = asks(vec![part.clone()], vec![]);
                    // The name is made as that of a file.
                    part.also.push(("FileWrite", self.named(&slot.path)));
                    Ok(vec![asks(vec![part], vec![slot.needs(Rights::MAKE_SOCK)]), listen])
                }
            },
            Call::Connect { at } => match self.find(cwd, at, true, false, 0) {
                Ok(found) => one(asks(vec![self.socket_part(Some(&found.path), false)], vec![])),
                Err(report) if report.lost => Err(report),
                Err(report) if report.errno == Some(2) => {
                    let path = self.missing(cwd, at, 0);
                    one(Course::Absent(vec![self.socket_part(path.as_ref().map(|(path, _)| &**path), false)]))
                }
                Err(_) => one(unread("NetConnect")),
            },
            Call::Find { .. } | Call::FindKept { .. } => one(Course::Free),
        }
    }

    /// A part whose path may not be known.
    fn perhaps(&self, action: &'static str, path: Option<(String, bool)>) -> Part {
        let resource = path.map(|(path, _)| self.named(&path));
        Part { action, resource, also: Vec::new(), setuid: false, listen: false }
    }

    fn open(
        &mut self,
        cwd: &str,
        at: &Spot,
        flags: i32,
        mode: u32,
        how: Option<u64>,
    ) -> Result<Course, Report> {
        if flags & PATH != 0 {
            // It is opened by nobody else, but its start may be missing.
            return Ok(if how.is_some() { Course::Refused(ENOSYS) } else { Course::Free });
        }
        let resolve = how.unwrap_or(0);
        let temporary = flags & TMPFILE == TMPFILE;
        let creates = flags & CREAT != 0 && !temporary;
        let writes = flags & (WRONLY | RDWR | TRUNC) != 0 || creates || temporary;
        let reads = flags & WRONLY == 0;
        let exclusive = creates && flags & EXCL != 0;
        let follow = flags & NOFOLLOW == 0 && !exclusive;
        let found = self.find(cwd, at, follow, false, resolve);
        if resolve == NO_XDEV && self.outside.is_some() && at.text.starts_with("{root}") {
            // On the way to the tree, other mounts are crossed than on the way to the twin.
            return match found {
                Err(report) if !report.lost => Ok(Course::Unlike),
                Err(report) => Err(report),
                Ok(found) => panic!("{found:?}"),
            };
        }
        if resolve != 0 && (at.text.starts_with("/proc/") || at.text.starts_with("/dev/")) {
            // What is confined follows no such links. Who executes the call has others there, so errors differ.
            return match found {
                Err(report) if report.lost => Err(report),
                Ok(found) if !own_proc(&found.path).starts_with("/proc/") => panic!("{found:?}"),
                _ => {
                    let part = self.perhaps(if writes { "FileWrite" } else { "FileRead" }, None);
                    Ok(Course::FailsSomehow { part, decision: None })
                }
            };
        }
        if creates && at.text.ends_with('/') {
            // open(2): EISDIR, whatever is there.
            return match self.slot_within(cwd, at, resolve) {
                Err(report) if report.lost => Err(report),
                Err(_) => Ok(unread("FileWrite")),
                Ok(slot) => Ok(Course::Fails(self.part("FileWrite", &slot.path))),
            };
        }
        let part = |oracle: &Self, path: Option<(String, bool)>, directory: bool| {
            let read = if directory { "DirList" } else { "FileRead" };
            let mut part = oracle.perhaps(if writes { "FileWrite" } else { read }, path);
            part.setuid = (creates || temporary) && is_setuid(mode);
            if let (true, true, Some(path)) = (writes, reads, part.resource.clone()) {
                part.also.push(("FileRead", path));
            }
            part
        };
        let mut rights = Rights::NONE;
        if writes {
            rights = rights | if flags & (WRONLY | RDWR) != 0 { Rights::WRITE_FILE } else { Rights::NONE };
            rights = rights | if flags & TRUNC != 0 { Rights::TRUNCATE } else { Rights::NONE };
        }
        let need = |path: &str, directory: bool| {
            let mut rights = rights;
            if reads {
                rights = rights | if directory { Rights::READ_DIR } else { Rights::READ_FILE };
            }
            Need::On(PathBuf::from(path), rights)
        };
        match found {
            Ok(found) => {
                let directory = is_directory(&found);
                let part = part(self, Some((found.path.clone(), true)), directory);
                let wrong = exclusive
                    || is_link(&found)
                    || (flags & DIRECTORY != 0 && !directory)
                    || (directory && writes && !temporary);
                Ok(if wrong {
                    Course::Fails(part)
                } else {
                    asks(vec![part], vec![need(&place(&found), directory && !temporary)])
                })
            }
            Err(report) if report.lost => Err(report),
            Err(report) if report.errno == Some(2) => {
                let path = self.missing(cwd, at, resolve);
                let part = part(self, path.clone(), flags & DIRECTORY != 0);
                Ok(match path {
                    Some((path, true)) if creates => {
                        let folder = Path::new(&path).parent().unwrap().to_owned();
                        asks(vec![part], vec![need(&path, false), Need::On(folder, Rights::MAKE_REG)])
                    }
                    None if resolve != 0 => unread(if writes { "FileWrite" } else { "FileRead" }),
                    _ => Course::Absent(vec![part]),
                })
            }
            Err(_) => Ok(unread(if writes { "FileWrite" } else { "FileRead" })),
        }
    }

    fn rename(&mut self, cwd: &str, from: &Spot, to: &Spot, flags: u32) -> Result<Course, Report> {
        // RENAME_EXCHANGE.
        let exchange = flags & 2 != 0;
        // Where one can't be had, nothing is called.
        for at in [from, to] {
            if let Err(report) = self.find(cwd, at, false, false, 0)
                && report.lost
            {
                return Err(report);
            }
        }
        let Ok(from) = self.slot(cwd, from) else { return Ok(unread("FileDelete")) };
        let Ok(to) = self.slot(cwd, to) else { return Ok(unread("FileWrite")) };
        let mut parts = vec![self.part("FileDelete", &from.path), self.part("FileWrite", &to.path)];
        if exchange {
            parts.push(self.part("FileDelete", &to.path));
            parts.push(self.part("FileWrite", &from.path));
        }
        let (moves, replaces) =
            (from.there.as_ref().is_some_and(is_directory), to.there.as_ref().is_some_and(is_directory));
        self.reading((&from, moves), &to, &mut parts[0]);
        if exchange {
            self.reading((&to, replaces), &from, &mut parts[2]);
        }
        if moves {
            self.repository(&from, &to, &mut parts[..2]);
        }
        if exchange && replaces {
            self.repository(&to, &from, &mut parts[2..]);
        }
        let is_odd = |slot: &Slot| slot.path == slot.folder;
        let is_absent = from.there.is_none() || (exchange && to.there.is_none());
        if is_absent && ![&from, &to].into_iter().any(|slot| is_odd(slot) || slot.barred) {
            return Ok(Course::Absent(parts));
        }
        let names = [self.named(&from.path), self.named(&to.path)];
        let mut needs = self.moving(&from, &to);
        if to.there.is_some() {
            needs.push(to.needs(if replaces { Rights::REMOVE_DIR } else { Rights::REMOVE_FILE }));
        }
        if exchange {
            needs.extend(self.moving(&to, &from));
        }
        let renamed = Some(Renamed { names, is_directory: moves || (exchange && replaces) });
        Ok(Course::Asks { parts, needs, renamed })
    }

    fn moving(&self, from: &Slot, to: &Slot) -> Vec<Need> {
        let directory = from.there.as_ref().is_some_and(is_directory);
        let removing = if directory { Rights::REMOVE_DIR } else { Rights::REMOVE_FILE };
        let mode = from.there.as_ref().map_or(0, |there| there.mode);
        let mut needs = vec![from.needs(removing), to.needs(making(mode))];
        if from.folder != to.folder {
            needs.push(from.needs(Rights::REFER));
            needs.push(to.needs(Rights::REFER));
            needs.push(Need::NoMore(PathBuf::from(&from.path), PathBuf::from(&to.folder)));
        }
        needs
    }

    /// Adds that who may read the new name has to be one who may read the old one.
    fn reading(&mut self, (from, is_directory): (&Slot, bool), to: &Slot, leaving: &mut Part) {
        let action = if is_directory { "DirList" } else { "FileRead" };
        let of = |slot: &Slot| self.named(&slot.path);
        let (from, to) = (of(from), of(to));
        if self.cedar.allows(&Asked { action, resource: to, setuid: false, listen: false }) {
            leaving.also.push((action, from));
        }
    }

    /// Adds the parts of a repository that are moved with a directory.
    fn repository(&self, from: &Slot, to: &Slot, parts: &mut [Part]) {
        let there = from.there.as_ref().unwrap();
        for name in [".git", "hooks", "config"] {
            if Path::new(&there.path).join(name).symlink_metadata().is_ok() {
                parts[0].also.push(("FileDelete", self.named(&join(&from.path, name))));
                parts[1].also.push(("FileWrite", self.named(&join(&to.path, name))));
            }
        }
    }

    fn link(&self, source: &Found, to: &Slot) -> Course {
        let mut part = self.part("FileWrite", &to.path);
        let origin = self.named(&source.path);
        part.also = vec![("FileRead", origin.clone()), ("FileWrite", origin)];
        if to.there.is_some() {
            return Course::Fails(part);
        }
        if is_directory(source) {
            // EPERM, unless nothing could be made there by anybody.
            return Course::FailsSomehow { part, decision: Some("observed") };
        }
        let mut needs = vec![to.needs(making(source.mode))];
        let folder = Path::new(&source.path).parent().unwrap();
        if folder != Path::new(&to.folder) {
            needs.push(Need::On(folder.to_owned(), Rights::REFER));
            needs.push(to.needs(Rights::REFER));
            needs.push(Need::NoMore(place(source).into(), PathBuf::from(&to.folder)));
        }
        asks(vec![part], needs)
    }

    fn change(&self, found: &Found, change: &Change) -> Course {
        let mut part = self.part("FileWrite", &found.path);
        let mut needs = Vec::new();
        match change {
            Change::Mode(mode) if !is_directory(found) => part.setuid = is_setuid(*mode),
            Change::Length(_) => {
                needs.push(Need::On(place(found).into(), Rights::WRITE_FILE | Rights::TRUNCATE));
            }
            _ => {}
        }
        asks(vec![part], needs)
    }

    fn execute(&mut self, cwd: &str, at: &Spot) -> Result<Course, Report> {
        let found = match self.find(cwd, at, true, false, 0) {
            Ok(found) => found,
            Err(report) if report.lost => return Err(report),
            Err(report) if report.errno == Some(2) => {
                let path = self.missing(cwd, at, 0);
                return Ok(Course::Absent(vec![self.perhaps("ProcessSpawn", path)]));
            }
            Err(_) => {
                // A file where a directory is named: the policies may be asked about it, and the kernel says no.
                let part = self.perhaps("ProcessSpawn", None);
                return Ok(Course::FailsSomehow { part, decision: None });
            }
        };
        let rights = Rights::EXECUTE | Rights::READ_FILE;
        // The ledger has the kernel's name.
        let mut part = self.part("ProcessSpawn", &place(&found));
        part.also.push(("ProcessSpawn", self.named(&found.path)));
        let mut needs = vec![Need::On(place(&found).into(), rights)];
        let mut file = place(&found);
        // execve(2), "Interpreter scripts": as many as the kernel follows.
        for _ in 0..5 {
            let Some(next) = interpreter(&file) else { break };
            let at = Spot { base: Base::Cwd, text: next };
            let Ok(found) = self.find(cwd, &at, true, false, 0) else {
                if let Some((path, _)) = self.missing(cwd, &at, 0) {
                    part.also.push(("ProcessSpawn", self.named(&path)));
                }
                break;
            };
            part.also.push(("ProcessSpawn", self.named(&found.path)));
            needs.push(Need::On(place(&found).into(), rights));
            file = place(&found);
        }
        Ok(asks(vec![part], needs))
    }

    /// Says whether something is there that the agent does not see.
    pub(crate) fn hides(&mut self, part: &Part) -> bool {
        let Some(resource) = &part.resource else { return false };
        let path = resource.strip_prefix("unix:").unwrap_or(resource);
        let Ok(rest) = Path::new(path).strip_prefix(&self.roots.outer) else { return false };
        let text = self.roots.twin.join(rest).to_str().unwrap().to_owned();
        let at = Spot { base: Base::Cwd, text };
        let call = Call::Find { at, follow: false, directory: false, resolve: 0 };
        // The twin's own directory is there for both.
        let step = Step { cwd: "../../..".into(), umask: 0o22, call };
        let Some(outside) = &mut self.outside else { return false };
        outside.act(&step).found.is_some() && self.twin.act(&step).found.is_none()
    }

    /// Says what the policies say of a part; nothing where it is not foretold.
    pub(crate) fn allows(&mut self, part: &Part) -> Option<bool> {
        let asked = Asked {
            action: part.action,
            resource: part.resource.clone()?,
            setuid: part.setuid,
            listen: part.listen,
        };
        let also = part.also.iter().map(|(action, path)| Asked {
            action,
            resource: path.clone(),
            setuid: false,
            listen: false,
        });
        Some(also.chain([asked]).all(|asked| self.cedar.allows(&asked)))
    }

    /// Returns what is renamed, or lies below, and can be used where it comes to in a way in which it could not be before,
    /// though the directory itself could.
    pub(crate) fn loosened(&mut self, [from, to]: &[String; 2]) -> Vec<String> {
        if from == to {
            // It stays where it is.
            return Vec::new();
        }
        let Ok(rest) = Path::new(from).strip_prefix(&self.roots.outer) else {
            return vec![format!("{from} is not of the tree")];
        };
        let mut below = Vec::new();
        descend(&self.roots.twin.join(rest), "", &mut below);
        let mut found = Vec::new();
        for action in ["FileRead", "FileWrite", "FileDelete", "DirCreate", "DirList", "ProcessSpawn"] {
            let mut allows = |resource: String| {
                self.cedar.allows(&Asked { action, resource, setuid: false, listen: false })
            };
            if !allows(format!("{from}/any")) {
                continue;
            }
            for path in &below {
                if !allows(format!("{from}{path}")) && allows(format!("{to}{path}")) {
                    found.push(format!("{action} {from}{path} -> {to}{path}"));
                }
            }
        }
        found
    }

    /// Says whether a directory must stay.
    pub(crate) fn pins(&self, renamed: &Renamed) -> bool {
        renamed.is_directory && renamed.names.iter().any(|path| self.plan.pins(path))
    }

    /// Says whether what is in a directory has to be moved one by one, since the policies say something else where it
    /// comes to.
    pub(crate) fn copies(&self, renamed: &Renamed) -> bool {
        let [from, to] = &renamed.names;
        !self.plan.are_alike(from, to)
    }
}

fn descend(folder: &Path, path: &str, all: &mut Vec<String>) {
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            descend(&entry.path(), &path, all);
        }
        all.push(path);
    }
}

/// Splits a path into its directory and the last component.
fn split(path: &str) -> (String, &str) {
    path.rsplit_once('/').map_or((".".to_owned(), path), |(folder, name)| (format!("{folder}/"), name))
}

fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// Returns the path with the folder of a process in `/proc` named as its own, and without the numbers that
/// are not foretold.
pub(crate) fn own_proc(path: &str) -> String {
    if let Some(rest) = path.strip_prefix("/proc/") {
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        if let Some(number) = rest.strip_prefix("/fd/")
            && (number == "{fd}" || number.bytes().all(|byte| byte.is_ascii_digit()))
        {
            // Which number it has is not foretold.
            return "/proc/self/fd/N".to_owned();
        }
        if rest.is_empty() || rest.starts_with('/') {
            return format!("/proc/self{rest}");
        }
    }
    // Of a file that never had a name: its inode.
    if let Some((folder, name)) = path.rsplit_once("/#")
        && name.bytes().all(|byte| byte.is_ascii_digit())
    {
        return format!("{folder}/#N");
    }
    path.to_owned()
}

/// The right that making something of this mode takes.
fn making(mode: u32) -> Rights {
    match mode & 0o170_000 {
        0o040_000 => Rights::MAKE_DIR,
        0o120_000 => Rights::MAKE_SYM,
        0o010_000 => Rights::MAKE_FIFO,
        0o140_000 => Rights::MAKE_SOCK,
        _ => Rights::MAKE_REG,
    }
}

fn interpreter(path: &str) -> Option<String> {
    if !Path::new(path).is_file() {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).trim().to_owned();
    line.split_whitespace().next().map(str::to_owned)
}

fn asks(parts: Vec<Part>, needs: Vec<Need>) -> Course {
    Course::Asks { parts, needs, renamed: None }
}

/// What makes a name that is not to be there yet.
fn made(part: Part, slot: &Slot, right: Rights) -> Course {
    if slot.there.is_some() { Course::Fails(part) } else { asks(vec![part], vec![slot.needs(right)]) }
}

/// A call whose path can't be resolved.
fn unread(action: &'static str) -> Course {
    Course::Fails(Part { action, resource: None, also: Vec::new(), setuid: false, listen: false })
}
