//! One look at a call: what it is about to do, as drafts of events and signs of their effect.

mod sockets;

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use aegis_sys::memory::Memory;
use aegis_sys::seccomp::RawCall;
use aegis_types::{Action, Clock, Direction, GapReason, Outcome, PreImage, Program, Resource, Text};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::arguments::{Arguments, is_own_mistake, low};
use crate::calls::{At, Call, Links, OpenFlags, Shape};
use crate::evidence::{Sign, change_time, file_id};
use crate::execute;
use crate::mask;
use crate::observer::{Observer, Sink};
use crate::processes::{self, Executing, start_of_stack};
use crate::resolve::{Base, Caller, Found, Named};

/// An action on a resource that comes with another.
pub type Also = (Action, Resource);

/// An event in the making.
#[derive(Debug)]
pub struct Draft {
    /// What is done.
    pub action: Action,
    /// What it is done to.
    pub resource: Resource,
    /// How it ends, as far as is known.
    pub outcome: Outcome,
    /// Flags of the call that matter.
    pub flags: Vec<Cow<'static, str>>,
    /// For a connection that is not an outward one.
    pub direction: Option<Direction>,
    /// What the file held before.
    pub pre: Option<PreImage>,
    /// What policies have to permit as well for it to be permitted, though it makes no entry of its own.
    pub also: Vec<Also>,
}

impl Draft {
    /// Drafts an action on a path.
    #[must_use]
    pub fn on(action: Action, path: &[u8]) -> Self {
        Self::new(action, Resource::Path(Text::new(path)))
    }

    /// Drafts an action.
    #[must_use]
    pub fn new(action: Action, resource: Resource) -> Self {
        Self {
            action,
            resource,
            outcome: Outcome::Unknown,
            flags: Vec::new(),
            direction: None,
            pre: None,
            also: Vec::new(),
        }
    }
}

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) drafts: Vec<Draft>,
    /// Signs of effect, each with the drafts that it is of.
    pub(crate) signs: Vec<(Vec<usize>, Sign)>,
    pub(crate) gaps: Vec<(GapReason, String)>,
    /// What Aegis takes away from the program, and whether the call is refused or merely without its power.
    pub(crate) refusal: Option<&'static str>,
    /// The errno to refuse the call with.
    pub(crate) errno: Option<i32>,
    /// The process is about to run another program.
    pub(crate) executes: Option<Executing>,
    /// Paths may mean something else from now on.
    pub(crate) view_changes: bool,
    /// What paths mean may change by this call.
    pub(crate) unsettles: bool,
    /// Files that are held open have to be let go.
    pub(crate) unmounts: bool,
    /// A Unix socket that is bound: the path that it gets and, where it could be had, its inode.
    pub(crate) own_socket: Option<(Vec<u8>, Option<u64>)>,
    /// The code with which the process ends itself.
    pub(crate) exit_code: Option<i32>,
    /// The thread ends itself.
    pub(crate) thread_ends: bool,
    /// The caller's memory could not be read.
    pub(crate) unreadable: bool,
    /// Something of the caller could not be read: it may have gone.
    pub(crate) failed: bool,
}

pub(crate) const SETUID: &str = "a set-uid or set-gid program, or one with file capabilities, runs without them under Aegis (no_new_privs): sudo and the like do not work";
pub(crate) const IO_URING: &str = "io_uring is refused under Aegis, programs fall back to plain calls; --allow-io-uring lets it through unobserved";
pub(crate) const AEGIS: &str = "Aegis' own processes can't be traced, read or limited by what it runs";
pub(crate) const LISTENER: &str =
    "a seccomp listener of the program's own is refused under Aegis: there can be one only";

/// `AT_SYMLINK_NOFOLLOW`, `AT_SYMLINK_FOLLOW`, `AT_EMPTY_PATH` (`fcntl.h`).
const NOFOLLOW: u64 = 0x100;
const FOLLOW: u64 = 0x400;
const EMPTY_PATH: u64 = 0x1000;
/// `RENAME_EXCHANGE` (`rename(2)`).
const EXCHANGE: u64 = 2;

/// A look in progress.
pub(crate) struct Look<'a, S, C> {
    pub(crate) observer: &'a Observer<S, C>,
    pub(crate) caller: Caller<'a>,
    pub(crate) call: &'a Call,
    pub(crate) raw: RawCall,
    pub(crate) pidfd: &'a OwnedFd,
    pub(crate) memory: &'a Result<Arc<Memory>, i32>,
}

/// Why a name could not be had.
enum Unread {
    /// The caller's memory can't be read.
    Memory(std::io::Error),
    /// The path can't be resolved.
    Path(Vec<u8>, Errno),
}

impl<S: Sink, C: Clock> Look<'_, S, C> {
    fn arguments(&self) -> Arguments<'_> {
        Arguments { tid: self.caller.tid, raw: self.raw, memory: self.memory }
    }

    fn argument(&self, index: u8) -> u64 {
        self.arguments().number(index)
    }

    fn read<T>(&self, read: impl FnMut(&Memory) -> std::io::Result<T>) -> std::io::Result<T> {
        self.arguments().read(read)
    }

    fn read_exact(&self, address: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.arguments().bytes(address, buffer)
    }

    fn descriptor(&self, index: u8) -> i32 {
        self.arguments().descriptor(index)
    }

    pub(crate) fn look(&self) -> Looked {
        let mut looked = Looked::default();
        match self.call.shape {
            Shape::Open(at, flags) => self.open(&mut looked, at, flags),
            Shape::OpenHandle => self.open_handle(&mut looked),
            Shape::Remove(at) => self.remove(&mut looked, at),
            Shape::Rename(from, to, flags) => self.rename(&mut looked, from, to, flags),
            Shape::MakeDirectory(at) => self.make(&mut looked, at, Action::DirCreate),
            Shape::Make(at) => self.make(&mut looked, at, Action::FileWrite),
            Shape::Link(from, to, links) => self.link(&mut looked, from, to, links),
            Shape::Change(at, links) => self.change(&mut looked, at, links),
            Shape::ChangeOpen(fd) => self.change_open(&mut looked, self.descriptor(fd)),
            Shape::Execute(at, argv, flags) => self.execute(&mut looked, at, argv, flags),
            Shape::Connect
            | Shape::Bind
            | Shape::Listen
            | Shape::SendTo
            | Shape::SendMessage
            | Shape::SendMessages => {
                self.socket_call(&mut looked, self.call.shape, self.raw.arguments);
            }
            Shape::SocketCall => self.multiplexed(&mut looked),
            Shape::Exit => looked.exit_code = Some(self.descriptor(0)),
            Shape::ExitThread => {
                looked.exit_code = (self.caller.tid == self.caller.pid).then(|| self.descriptor(0));
                looked.thread_ends = true;
            }
            Shape::ChangeView => {
                looked.view_changes = self.changes_view();
                looked.unsettles = looked.view_changes;
            }
            Shape::ChangeDirectory => looked.unsettles = true,
            Shape::Mount => {
                // It may be in a view of the caller's own, however that was got.
                looked.view_changes = true;
                looked.unsettles = true;
            }
            Shape::Unmount => {
                looked.unmounts = true;
                looked.unsettles = true;
            }
            Shape::IoUring if self.observer.settings.allow_io_uring => {
                looked
                    .gaps
                    .push((GapReason::IoUring, "what this process does by io_uring is not observed".into()));
            }
            Shape::IoUring => {
                looked.refusal = Some(IO_URING);
                looked.errno = Some(libc::EPERM);
            }
            Shape::OwnListener => looked.refusal = Some(LISTENER),
            Shape::Reach(argument, is_descriptor) => self.reach(&mut looked, argument, is_descriptor),
            Shape::TypeIntoTerminal => {
                let detail =
                    "characters are put into the terminal's input (TIOCSTI): whoever reads it may run them";
                looked.gaps.push((GapReason::LeftTree, detail.into()));
            }
            // Not notified but where policies are enforced, and answered there.
            Shape::Umask
            | Shape::MemoryFile
            | Shape::Socket
            | Shape::Identity(_)
            | Shape::Steer(_)
            | Shape::Watch(..) => {}
        }
        looked
    }

    // ---- paths

    fn base(&self, at: At) -> Base {
        self.arguments().base(at)
    }

    fn read_path(&self, at: At) -> Result<Vec<u8>, Unread> {
        self.arguments().path(at).map_err(Unread::Memory)
    }

    fn object(&self, at: At, follow: bool) -> Result<Named, Unread> {
        let path = self.read_path(at)?;
        self.resolve(at, path, follow)
    }

    fn resolve(&self, at: At, path: Vec<u8>, follow: bool) -> Result<Named, Unread> {
        self.caller.object(self.base(at), &path, follow).map_err(|error| Unread::Path(path, error))
    }

    fn name(&self, at: At) -> Result<Named, Unread> {
        let path = self.read_path(at)?;
        self.caller.name(self.base(at), &path).map_err(|error| Unread::Path(path, error))
    }

    /// Says what is known of a name that could not be had.
    fn unread(&self, looked: &mut Looked, action: Action, why: Unread) {
        looked.failed = true;
        let text = match why {
            Unread::Memory(error) => {
                looked.unreadable |= !is_own_mistake(&error);
                Text::from(format!("{}: the path could not be read ({error})", self.call.name).as_str())
            }
            Unread::Path(path, error) => {
                let mut text = path;
                text.extend_from_slice(format!(" (could not be resolved: {error})").as_bytes());
                Text::new(text)
            }
        };
        looked.add(action, Resource::Unread(text), Outcome::Unknown);
    }

    // ---- files

    fn open(&self, looked: &mut Looked, at: At, place: OpenFlags) {
        let (bits, mode, resolve) = match place {
            OpenFlags::Argument(index) => {
                (low(self.argument(index)), self.argument(index + 1), ResolveFlags::empty())
            }
            OpenFlags::Creat => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
                (flags.bits(), self.argument(1), ResolveFlags::empty())
            }
            OpenFlags::How(index) => match self.arguments().open_how(index) {
                Ok((flags, mode, resolve)) => (low(flags), mode, resolve),
                Err(error) => return self.unread(looked, Action::FileRead, Unread::Memory(error)),
            },
        };
        let flags = OFlags::from_bits_retain(bits);
        if flags.contains(OFlags::PATH) {
            // Existence only; what is done with it later is notified.
            return;
        }
        let is_temporary = flags.contains(OFlags::TMPFILE);
        let creates = flags.contains(OFlags::CREATE) && !is_temporary;
        let writes =
            flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC) || creates || is_temporary;
        let action = if writes { Action::FileWrite } else { Action::FileRead };
        let follow = !(flags.contains(OFlags::NOFOLLOW) || (creates && flags.contains(OFlags::EXCL)));
        let named = self.read_path(at).and_then(|path| {
            let confined = ResolveFlags::IN_ROOT | ResolveFlags::BENEATH;
            if resolve.intersects(confined) {
                let base = self.base(at);
                let found = self.caller.object_within(base, &path, resolve & confined, follow);
                return found.map_err(|error| Unread::Path(path, error));
            }
            self.resolve(at, path, follow)
        });
        let named = match named {
            Ok(named) => named,
            Err(why) => return self.unread(looked, action, why),
        };
        let mut names = open_flag_names(flags);
        if creates || is_temporary {
            names.extend(owner_flags(mode));
        }
        if !writes {
            let is_list = named.file.as_ref().is_some_and(|f| f.kind() == FileType::Directory);
            let action = if is_list { Action::DirList } else { Action::FileRead };
            let outcome = if named.file.is_some() { Outcome::Unknown } else { Outcome::Missing };
            return looked.push(action, Resource::Path(Text::new(named.path)), outcome).flags = names;
        }
        let missing = named.file.is_none() && (!creates || named.path.is_empty());
        let pre = if is_temporary { None } else { self.before_change(&named) };
        let outcome = if missing { Outcome::Missing } else { Outcome::Unknown };
        let path = named.path.clone();
        let draft = looked.push(Action::FileWrite, Resource::Path(Text::new(path.clone())), outcome);
        draft.flags = names;
        draft.pre = pre;
        if !flags.contains(OFlags::WRONLY) {
            // What is opened for both is read as well.
            draft.also.push((Action::FileRead, Resource::Path(Text::new(path))));
        }
        if is_temporary {
            return;
        }
        let sign = match &named.file {
            // Exclusive creation of what is there fails.
            Some(_) if creates && flags.contains(OFlags::EXCL) => None,
            Some(_) => changed(named),
            None if creates => self.folder_of(&named).map(|(folder, name)| Sign::Appeared(folder, name)),
            None => None,
        };
        looked.sign(sign);
    }

    /// Opens the folder of a name that is not there, if it was not opened on the way.
    fn folder_of(&self, named: &Named) -> Option<(Arc<OwnedFd>, Vec<u8>)> {
        named.place().or_else(|| self.caller.name(Base::Directory, &named.path).ok()?.place())
    }

    fn open_handle(&self, looked: &mut Looked) {
        let mount = self.caller.descriptor(self.descriptor(0)).map(|named| named.path).unwrap_or_default();
        let flags = OFlags::from_bits_retain(low(self.argument(2)));
        let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC);
        let mut text = b"a file by its handle, on the mount of ".to_vec();
        text.extend_from_slice(&mount);
        let action = if writes { Action::FileWrite } else { Action::FileRead };
        looked.add(action, Resource::Unread(Text::new(text)), Outcome::Unknown);
    }

    fn remove(&self, looked: &mut Looked, at: At) {
        let named = match self.name(at) {
            Ok(named) => named,
            Err(why) => return self.unread(looked, Action::FileDelete, why),
        };
        let pre = self.before_change(&named);
        looked.unsettles = !is_plain(named.file.as_ref());
        let outcome = if named.file.is_some() { Outcome::Unknown } else { Outcome::Missing };
        let sign = vanished(&named);
        looked.push(Action::FileDelete, Resource::Path(Text::new(named.path)), outcome).pre = pre;
        looked.sign(sign);
    }

    fn rename(&self, looked: &mut Looked, from: At, to: At, flags: Option<u8>) {
        looked.unsettles = true;
        let exchange = flags.is_some_and(|index| self.argument(index) & EXCHANGE != 0);
        let (from, to) = match (self.name(from), self.name(to)) {
            (Ok(from), Ok(to)) => (from, to),
            (from, to) => {
                for (action, half) in [(Action::FileDelete, from), (Action::FileWrite, to)] {
                    match half {
                        Ok(named) => {
                            looked.add(action, Resource::Path(Text::new(named.path)), Outcome::Unknown);
                        }
                        Err(why) => self.unread(looked, action, why),
                    }
                }
                return;
            }
        };
        looked.unsettles =
            !(is_plain(from.file.as_ref()) && (to.file.is_none() || is_plain(to.file.as_ref())));
        let (from_pre, to_pre) = (self.before_change(&from), self.before_change(&to));
        let there = from.file.is_some() && (to.file.is_some() || !exchange);
        let outcome = if there { Outcome::Unknown } else { Outcome::Missing };
        let path = |named: &Named| Resource::Path(Text::new(named.path.clone()));
        let (leaving, coming) = self.repository_in(&from, &to);
        let draft = looked.push(Action::FileDelete, path(&from), outcome);
        draft.pre = from_pre;
        draft.also = leaving;
        let draft = looked.push(Action::FileWrite, path(&to), outcome);
        draft.pre = to_pre;
        draft.also = coming;
        if exchange {
            looked.add(Action::FileDelete, path(&to), outcome);
            looked.add(Action::FileWrite, path(&from), outcome);
        }
        let halves: Vec<usize> = (0..looked.drafts.len()).collect();
        if let (Some(file), Some((folder, name))) = (from.file, to.place()) {
            // A rename onto another name of the same file does nothing (rename(2)).
            let same = to.file.is_some_and(|other| file_id(&other.stat) == file_id(&file.stat));
            if !same {
                looked.signs.push((halves, Sign::Became(folder, name, file_id(&file.stat))));
            }
        }
    }

    /// Returns what a rename of a directory does to the repository in it, or to that which it becomes: what git runs
    /// is moved with it.
    fn repository_in(&self, from: &Named, to: &Named) -> (Vec<Also>, Vec<Also>) {
        let (mut leaving, mut coming) = (Vec::new(), Vec::new());
        if self.observer.sink().has_policies()
            && from.file.as_ref().is_some_and(|file| file.kind() == FileType::Directory)
        {
            for part in [&b".git"[..], b"hooks", b"config"] {
                let below = |named: &Named| [&named.path, &b"/"[..], part].concat();
                let is_there = self
                    .caller
                    .object(Base::Directory, &below(from), false)
                    .is_ok_and(|found| found.file.is_some());
                if is_there {
                    leaving.push((Action::FileDelete, Resource::Path(Text::new(below(from)))));
                    coming.push((Action::FileWrite, Resource::Path(Text::new(below(to)))));
                }
            }
        }
        (leaving, coming)
    }

    fn make(&self, looked: &mut Looked, at: At, action: Action) {
        // A directory, or a link to one.
        looked.unsettles = !self.call.name.starts_with("mknod");
        let named = match self.name(at) {
            Ok(named) => named,
            Err(why) => return self.unread(looked, action, why),
        };
        // Without its folder nothing can be made.
        let outcome = if named.folder.is_some() { Outcome::Unknown } else { Outcome::Missing };
        looked.push(action, Resource::Path(Text::new(named.path.clone())), outcome).flags =
            self.owner_flags();
        if named.file.is_none() {
            looked.sign(named.place().map(|(folder, name)| Sign::Appeared(folder, name)));
        }
    }

    fn link(&self, looked: &mut Looked, from: At, to: At, links: Links) {
        let named = match self.name(to) {
            Ok(named) => named,
            Err(why) => return self.unread(looked, Action::FileWrite, why),
        };
        // The file can be changed by its new name from now on.
        let source = self.object(from, self.follows(links));
        let origin = source.as_ref().ok().map(|source| Resource::Path(Text::new(source.path.clone())));
        let pre = source.as_ref().ok().and_then(|source| self.before_change(source));
        let source = source.ok().and_then(|source| source.file).map(|file| file_id(&file.stat));
        let there = source.is_some() || self.is_empty_path(from);
        let outcome = if there && named.folder.is_some() { Outcome::Unknown } else { Outcome::Missing };
        let draft = looked.push(Action::FileWrite, Resource::Path(Text::new(named.path.clone())), outcome);
        draft.pre = pre;
        // Whoever may use the new name may do so to the file.
        draft.also.extend(
            [Action::FileRead, Action::FileWrite].into_iter().filter_map(|a| Some((a, origin.clone()?))),
        );
        if named.file.is_none() {
            looked.sign(named.place().map(|(folder, name)| match source {
                Some(id) => Sign::Became(folder, name, id),
                None => Sign::Appeared(folder, name),
            }));
        }
    }

    fn is_empty_path(&self, at: At) -> bool {
        matches!(self.read_path(at).as_deref(), Ok(b""))
    }

    /// Says whether an empty path means the descriptor itself (`AT_EMPTY_PATH`).
    fn takes_empty(&self, links: Links) -> bool {
        match links {
            Links::Follow | Links::Keep => false,
            Links::Unless(index) | Links::Only(index) => self.argument(index) & EMPTY_PATH != 0,
        }
    }

    fn follows(&self, links: Links) -> bool {
        match links {
            Links::Follow => true,
            Links::Keep => false,
            Links::Unless(index) => self.argument(index) & NOFOLLOW == 0,
            Links::Only(index) => self.argument(index) & FOLLOW != 0,
        }
    }

    fn change(&self, looked: &mut Looked, at: At, links: Links) {
        // utimensat(2) takes a null path for the descriptor itself.
        if self.argument(at.path) == 0
            && let Some(index) = at.dirfd
        {
            return self.change_open(looked, self.descriptor(index));
        }
        let path = match self.read_path(at) {
            Ok(path) => path,
            Err(why) => return self.unread(looked, Action::FileWrite, why),
        };
        if path.is_empty()
            && self.takes_empty(links)
            && let Some(index) = at.dirfd
        {
            return self.change_open(looked, self.descriptor(index));
        }
        let named = match self.resolve(at, path, self.follows(links)) {
            Ok(named) => named,
            Err(why) => return self.unread(looked, Action::FileWrite, why),
        };
        let truncates = self.call.name.starts_with("truncate");
        let pre = if truncates { self.before_change(&named) } else { None };
        let outcome = if named.file.is_some() { Outcome::Unknown } else { Outcome::Missing };
        let draft = looked.push(Action::FileWrite, Resource::Path(Text::new(named.path.clone())), outcome);
        draft.pre = pre;
        if !is_directory(&named) {
            draft.flags = self.owner_flags();
        }
        looked.sign(changed(named));
    }

    /// Says whether a call's mode makes a file run as its owner or group.
    fn owner_flags(&self) -> Vec<Cow<'static, str>> {
        let index = match self.call.name {
            "chmod" | "fchmod" | "mknod" => 1,
            "fchmodat" | "fchmodat2" | "mknodat" => 2,
            _ => return Vec::new(),
        };
        owner_flags(self.argument(index)).collect()
    }

    fn change_open(&self, looked: &mut Looked, fd: i32) {
        match self.caller.descriptor(fd) {
            Ok(named) => {
                let path = Resource::Path(Text::new(named.path.clone()));
                let draft = looked.push(Action::FileWrite, path, Outcome::Unknown);
                if !is_directory(&named) {
                    draft.flags = self.owner_flags();
                }
                looked.sign(changed(named));
            }
            // A descriptor that is not open: the call fails.
            Err(Errno::NOENT) => {}
            Err(error) => {
                let why = Unread::Path(format!("descriptor {fd}").into_bytes(), error);
                self.unread(looked, Action::FileWrite, why);
            }
        }
    }

    // ---- former contents

    /// Keeps what a file holds, where it is a plain file of the kept directory.
    fn before_change(&self, named: &Named) -> Option<PreImage> {
        if !self.observer.is_kept(&named.path) {
            return None;
        }
        let found = named.file.as_ref()?;
        if found.kind() != FileType::RegularFile {
            return None;
        }
        let size = u64::try_from(found.stat.st_size).unwrap_or(0);
        let fd = named.open()?;
        self.observer.preimages().before_change(&fd, size)
    }

    // ---- programs

    fn execute(&self, looked: &mut Looked, at: At, argv: u8, flags: Option<u8>) {
        // Whatever is seen of it, it may succeed: another thread can make the file in time.
        let start = start_of_stack(self.caller.tid);
        looked.executes = Some(Executing { tid: self.caller.tid, stack: start });
        let flags = flags.map_or(0, |index| self.argument(index));
        let named = match self.read_path(at) {
            Ok(path) if path.is_empty() && flags & EMPTY_PATH != 0 => {
                let fd = at.dirfd.map_or(-1, |index| self.descriptor(index));
                self.caller
                    .descriptor(fd)
                    .map_err(|error| Unread::Path(format!("descriptor {fd}").into_bytes(), error))
            }
            Ok(path) => self.resolve(at, path, flags & NOFOLLOW == 0),
            Err(why) => Err(why),
        };
        let vector = self.read(|memory| execute::arguments(memory, self.argument(argv), self.wide()));
        let mut arguments = vector.unwrap_or_default();
        let masked = mask::arguments(&mut arguments.list);
        let named = match named {
            Ok(named) => named,
            Err(why) => return self.unread(looked, Action::ProcessSpawn, why),
        };
        let interpreters = self.interpreters(&named);
        let path = named.path;
        let program = Program {
            argv: arguments.list,
            argv_omitted: (arguments.omitted > 0).then_some(arguments.omitted),
            exe: Text::new(path.clone()),
            masked,
        };
        let outcome = if named.file.is_some() { Outcome::Unknown } else { Outcome::Missing };
        let also = interpreters.into_iter().map(|exe| {
            let program = Program { exe: Text::new(exe), ..program.clone() };
            (Action::ProcessSpawn, Resource::Program(program))
        });
        let also = also.collect();
        looked.push(Action::ProcessSpawn, Resource::Program(program), outcome).also = also;
        let Some(found) = named.file else { return };
        if self.gains_privileges(&found, &path) {
            looked.refusal = Some(SETUID);
        }
        looked.sign(start.map(|start| Sign::Executed(self.caller.pid, start)));
    }

    /// Returns the programs that a script names in its first line to be run by, and those that these name
    /// (`execve(2)`, "Interpreter scripts").
    fn interpreters(&self, script: &Named) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        if !self.observer.sink().has_policies() {
            return found;
        }
        let first_line = |named: &Named| match named.file.as_ref()?.fd.as_ref() {
            Some(fd) => execute::interpreter(fd),
            // Only its folder was opened.
            None => {
                let (folder, name) = named.place()?;
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                execute::interpreter(&rustix::fs::openat(&*folder, name, flags, Mode::empty()).ok()?)
            }
        };
        let mut next = first_line(script);
        while let Some(path) = next.take() {
            let Ok(named) = self.caller.object(Base::Directory, &path, true) else { break };
            next = first_line(&named);
            found.push(named.path);
            if found.len() >= execute::INTERPRETERS_MAX {
                break;
            }
        }
        found
    }

    /// Says whether a program would run with more than its caller has, were it not for `no_new_privs`.
    fn gains_privileges(&self, found: &Found, path: &[u8]) -> bool {
        let mode = found.stat.st_mode;
        let set_uid = mode & 0o4000 != 0 && found.stat.st_uid != self.observer.settings.uid;
        let set_gid = mode & 0o2010 == 0o2010 && found.stat.st_gid != rustix::process::getgid().as_raw();
        let capable = || {
            let mut value = [0u8; 64];
            rustix::fs::getxattr(path, "security.capability", &mut value).is_ok_and(|length| length > 0)
        };
        found.kind() == FileType::RegularFile
            && (set_uid || set_gid || (self.observer.settings.uid != 0 && capable()))
    }

    // ---- the rest

    fn changes_view(&self) -> bool {
        if self.call.name != "clone3" {
            return true;
        }
        // struct clone_args begins with the flags: CLONE_NEWNS, CLONE_NEWUSER.
        let mut bytes = [0; 8];
        let read = self.read_exact(self.argument(0), &mut bytes);
        read.is_err() || u64::from_ne_bytes(bytes) & 0x1002_0000 != 0
    }

    fn reach(&self, looked: &mut Looked, argument: u8, is_descriptor: bool) {
        let number = low(self.argument(argument));
        let target = if is_descriptor {
            aegis_sys::outside::read(&format!("{}/fdinfo/{number}", self.caller.tid))
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .and_then(|text| text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok()))
        } else {
            Some(number)
        };
        // 0 means the caller itself.
        let Some(target) = target.filter(|pid| *pid != self.caller.pid && *pid != 0) else { return };
        let owner = processes::status_number(target, "Tgid:").unwrap_or(target);
        if self.observer.settings.aegis.contains(&owner) {
            looked.refusal = Some(AEGIS);
            looked.errno = Some(libc::EPERM);
        } else if !processes::is_descendant(target, std::process::id()) {
            let exe = processes::exe(target);
            let detail = format!(
                "{} reaches into process {target} ({}), outside the tree",
                self.call.name,
                exe.to_string_lossy()
            );
            looked.gaps.push((GapReason::LeftTree, detail));
        }
    }
}

impl Looked {
    fn push(&mut self, action: Action, resource: Resource, outcome: Outcome) -> &mut Draft {
        let resource = match resource {
            Resource::Path(path) if path.as_bytes().is_empty() => Resource::Unread("an empty path".into()),
            other => other,
        };
        self.drafts.push(Draft { outcome, ..Draft::new(action, resource) });
        let last = self.drafts.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "it was pushed in the line above")]
        &mut self.drafts[last]
    }

    fn add(&mut self, action: Action, resource: Resource, outcome: Outcome) {
        self.push(action, resource, outcome);
    }

    /// Adds a sign of the last draft's effect.
    fn sign(&mut self, sign: Option<Sign>) {
        if let (Some(sign), Some(last)) = (sign, self.drafts.len().checked_sub(1)) {
            self.signs.push((vec![last], sign));
        }
    }

    fn left_tree(&mut self, who: &str, place: &str) {
        self.gaps.push((GapReason::LeftTree, aegis_types::elsewhere::told(who, place)));
    }
}

/// Says whether a file is there that is neither a directory nor a link: what paths mean does not hang on it.
fn is_plain(file: Option<&Found>) -> bool {
    file.is_some_and(|found| !matches!(found.kind(), FileType::Directory | FileType::Symlink))
}

fn changed(named: Named) -> Option<Sign> {
    let place = named.place();
    let found = named.file?;
    let before = change_time(&found.stat);
    match (found.fd, place) {
        (Some(fd), _) => Some(Sign::Changed(fd, before)),
        (None, Some((folder, name))) => Some(Sign::ChangedName(folder, name, file_id(&found.stat), before)),
        (None, None) => None,
    }
}

fn vanished(named: &Named) -> Option<Sign> {
    let (folder, name) = named.place()?;
    Some(Sign::Vanished(folder, name, file_id(&named.file.as_ref()?.stat)))
}

/// Returns `S_ISUID` and `S_ISGID` of a mode, by name (`inode(7)`).
pub fn owner_flags(mode: u64) -> impl Iterator<Item = Cow<'static, str>> {
    [(0o4000, "SETUID"), (0o2000, "SETGID")]
        .into_iter()
        .filter(move |(bit, _)| mode & bit != 0)
        .map(|(_, name)| name.into())
}

/// Set-gid on a directory gives the group to what is made in it, and runs nothing.
fn is_directory(named: &Named) -> bool {
    named.file.as_ref().is_some_and(|file| file.kind() == FileType::Directory)
}

/// Returns the flags of an open that matter to a record, by name.
#[must_use]
pub fn open_flag_names(flags: OFlags) -> Vec<Cow<'static, str>> {
    [
        (OFlags::RDWR, "RDWR"),
        (OFlags::WRONLY, "WRONLY"),
        (OFlags::CREATE, "CREAT"),
        (OFlags::EXCL, "EXCL"),
        (OFlags::TRUNC, "TRUNC"),
        (OFlags::APPEND, "APPEND"),
        (OFlags::TMPFILE, "TMPFILE"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| Cow::Borrowed(name))
    .collect()
}
