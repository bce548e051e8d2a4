//! Operations at random, each by one of many ways to write its path.

use std::sync::Arc;

use aegis_harness::operations::{Base, Call, Change, KEPT, Node, Spot, Step};
use proptest::prelude::*;

use super::tree::{FILES, FOLDERS};
use open_flags::*;

/// Directories that paths begin with: those that there may be, and links to such.
const PLACES: [&str; 5] = ["", "l", "a/l", "b/l", "a/a/l"];

/// Names.
const NAMES: [&str; 14] =
    ["f.rs", "k.pem", "a", "b", ".git", "hooks", "l", "m.rs", "p", "s", "q", "new", "n", ""];

fn folder() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        5 => prop::sample::select(&FOLDERS[..4]),
        5 => prop::sample::select([&[""][..], &FOLDERS[..]].concat()),
        1 => prop::sample::select(&PLACES[..]),
    ]
}

/// The components of a path below the root.
fn path() -> impl Strategy<Value = Vec<&'static str>> {
    // Where the first are moved away, not much is left to work on.
    let tree = prop::sample::select(&FOLDERS[2..]);
    let folder = || prop::sample::select([&[""][..], &FOLDERS[..]].concat());
    prop_oneof![
        2 => tree.prop_map(|folder| parts(folder, "")),
        6 => (folder(), prop::sample::select(&FILES[..])).prop_map(|(folder, name)| parts(folder, name)),
        2 => (self::folder(), prop::sample::select(&NAMES[..])).prop_map(|(folder, name)| parts(folder, name)),
    ]
}

fn parts(folder: &'static str, name: &'static str) -> Vec<&'static str> {
    folder.split('/').chain([name]).filter(|part| !part.is_empty()).collect()
}

/// A path that may well be there, or may well not be.
fn new() -> impl Strategy<Value = Vec<&'static str>> {
    let name = prop::sample::select(&["new", "new.pem", "n", "l", "a", "f.rs", "k.pem", ".git", "hooks"][..]);
    (folder(), name).prop_map(|(folder, name)| parts(folder, name))
}

/// How a path is written.
#[derive(Debug, Clone)]
struct Writing {
    way: usize,
    from: &'static str,
    noise: Vec<(prop::sample::Index, &'static str)>,
    end: &'static str,
    kept: usize,
}

fn writing() -> impl Strategy<Value = Writing> {
    let way = prop_oneof![
        8 => Just(0usize), 8 => Just(1), 6 => Just(2), 1 => Just(3), 1 => Just(4), 1 => Just(5), 1 => Just(6),
        1 => Just(7), 1 => Just(8), 1 => Just(9), 2 => Just(10), 1 => Just(11),
    ];
    let noise = prop::sample::select(&[".", "", "a/..", "b/..", "l/..", "../", "{same}"][..]);
    let noise = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((any::<prop::sample::Index>(), noise), 1..3),
    ];
    let end = prop_oneof![9 => Just(""), 1 => prop::sample::select(&["/", "/.", "/..", "//", "/"][..])];
    (way, folder(), noise, end, 0..KEPT).prop_map(|(way, from, noise, end, kept)| Writing {
        way,
        from,
        noise,
        end,
        kept,
    })
}

impl Writing {
    fn spot(&self, path: &[&'static str], cwd: &str) -> Spot {
        let held = || Base::Held(self.from.to_owned());
        let away = |from: &str| self.text(&relative(from, path));
        let (base, text) = match self.way {
            0 => (Base::Cwd, format!("{{root}}/{}", self.text(path))),
            1 => (Base::Cwd, away(cwd)),
            2 => (held(), away(self.from)),
            3 => (Base::Cwd, format!("/proc/self/cwd/{}", away(cwd))),
            4 => (held(), format!("/proc/self/fd/{{fd}}/{}", away(self.from))),
            5 => (Base::Held(path.join("/")), format!("/proc/self/fd/{{fd}}{}", self.end)),
            6 => (Base::Cwd, format!("/proc/{{pid}}/cwd/{}", away(cwd))),
            7 => (Base::Cwd, format!("/proc/thread-self/cwd/{}", away(cwd))),
            8 => (held(), format!("/dev/fd/{{fd}}/{}", away(self.from))),
            9 => (Base::Cwd, format!("/proc/self/root{{root}}/{}", self.text(path))),
            10 => (Base::Kept(self.kept), format!("/proc/self/fd/{{fd}}{}", self.end)),
            _ => (Base::Kept(self.kept), format!("{}{}", path.last().unwrap_or(&"."), self.end)),
        };
        Spot { base, text }
    }

    fn text(&self, path: &[&str]) -> String {
        let mut parts: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        if parts.is_empty() {
            parts.push(".".into());
        }
        for (index, noise) in &self.noise {
            let at = index.index(parts.len());
            let noise = match *noise {
                "{same}" => format!("{}/..", parts[at]),
                // Up, and down again.
                "../" if at > 0 && parts[at - 1] != ".." => format!("../{}", parts[at - 1]),
                "../" => ".".into(),
                other => other.to_owned(),
            };
            // Not at the beginning: that would be another root.
            if !(at == 0 && noise.is_empty()) {
                parts.insert(at, noise);
            }
        }
        format!("{}{}", parts.join("/"), self.end)
    }
}

/// Returns the way from one directory to a path.
fn relative<'p>(from: &str, path: &[&'p str]) -> Vec<&'p str> {
    let up = from.split('/').filter(|part| !part.is_empty()).count();
    std::iter::repeat_n("..", up).chain(path.iter().copied()).collect()
}

/// A spot whose working directory is not chosen yet.
type Unplaced = (Vec<&'static str>, Writing);

fn spot() -> impl Strategy<Value = Unplaced> {
    (path(), writing())
}

fn new_spot() -> impl Strategy<Value = Unplaced> {
    (prop_oneof![3 => new().boxed(), 1 => path().boxed()], writing())
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => prop::sample::select(&[0o644, 0o600, 0o755, 0o700, 0o4755, 0o2755, 0o444, 0o500, 0o000][..])
            .prop_map(Change::Mode),
        1 => Just(Change::Owner),
        1 => (1..1000i64).prop_map(Change::Times),
        2 => (0..30i64).prop_map(Change::Length),
        1 => Just(Change::SetAttribute("x".into())),
        1 => Just(Change::RemoveAttribute),
    ]
}

fn flags() -> impl Strategy<Value = i32> {
    let access = prop_oneof![3 => Just(RDONLY), 2 => Just(WRONLY), 2 => Just(RDWR)];
    let how = prop_oneof![
        5 => Just(0),
        2 => Just(CREAT),
        1 => Just(CREAT | EXCL),
        1 => Just(TRUNC),
        2 => Just(CREAT | TRUNC),
        1 => Just(APPEND),
        1 => Just(NOFOLLOW),
        1 => Just(CREAT | NOFOLLOW),
        1 => Just(DIRECTORY),
    ];
    prop_oneof![
        12 => (access, how).prop_map(|(access, how)| access | how),
        3 => Just(DIRECTORY),
        1 => prop::sample::select(&[WRONLY, RDWR][..]).prop_map(|access| TMPFILE | access),
        1 => Just(PATH),
    ]
}

/// `O_*` of `fcntl.h`, which differ between machines in some.
pub(crate) mod open_flags {
    use rustix::fs::OFlags;

    const fn of(flags: OFlags) -> i32 {
        flags.bits().cast_signed()
    }

    pub(crate) const RDONLY: i32 = 0;
    pub(crate) const WRONLY: i32 = of(OFlags::WRONLY);
    pub(crate) const RDWR: i32 = of(OFlags::RDWR);
    pub(crate) const CREAT: i32 = of(OFlags::CREATE);
    pub(crate) const EXCL: i32 = of(OFlags::EXCL);
    pub(crate) const TRUNC: i32 = of(OFlags::TRUNC);
    pub(crate) const APPEND: i32 = of(OFlags::APPEND);
    pub(crate) const NOFOLLOW: i32 = of(OFlags::NOFOLLOW);
    pub(crate) const DIRECTORY: i32 = of(OFlags::DIRECTORY);
    pub(crate) const TMPFILE: i32 = of(OFlags::TMPFILE);
    pub(crate) const PATH: i32 = of(OFlags::PATH);
}

/// Makes a call of three spots: two that may well be there, and one that may well not.
#[derive(Clone)]
struct Maker(Arc<dyn Fn(Spot, Spot, Spot) -> Call>);

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Maker")
    }
}

fn maker(make: impl Fn(Spot, Spot, Spot) -> Call + 'static) -> Maker {
    Maker(Arc::new(make))
}

fn open() -> impl Strategy<Value = Maker> {
    let mode = prop::sample::select(&[0o644, 0o600, 0o666, 0o755, 0o4755][..]);
    // RESOLVE_NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT.
    let resolve = prop::option::weighted(0.15, prop::sample::select(&[0u64, 1, 2, 4, 8, 16][..]));
    let keep = prop::option::weighted(0.6, 0..KEPT);
    let is_new = prop::bool::weighted(0.2);
    (flags(), mode, resolve, keep, any::<bool>(), is_new).prop_map(
        |(flags, mode, resolve, keep, old, is_new)| {
            // openat2(2) takes a mode only for what is made.
            let makes = flags & CREAT != 0 || flags & TMPFILE == TMPFILE;
            let mode = if makes { mode } else { 0 };
            maker(move |a, _, new| Call::Open {
                at: if is_new { new } else { a },
                flags,
                mode,
                resolve,
                keep,
                old,
            })
        },
    )
}

fn names() -> impl Strategy<Value = Maker> {
    // RENAME_NOREPLACE, RENAME_EXCHANGE.
    let renaming = prop_oneof![5 => Just(0u32), 1 => Just(1), 2 => Just(2)];
    let node = prop::sample::select(&[Node::Fifo, Node::File, Node::Socket][..]);
    let mode = || prop::sample::select(&[0o644, 0o600, 0o777, 0o4711][..]);
    let target = prop::sample::select(&["f.rs", "../a", "{root}/b", "{root}/a/new", "k.pem", "..", "l"][..]);
    prop_oneof![
        4 => (any::<bool>(), any::<bool>())
            .prop_map(|(directory, old)| maker(move |at, _, _| Call::Remove { at, directory, old })),
        7 => (renaming, prop::bool::weighted(0.6)).prop_map(|(flags, is_new)| {
            maker(move |from, b, new| Call::Rename { from, to: if is_new { new } else { b }, flags })
        }),
        3 => mode().prop_map(|mode| maker(move |_, _, at| Call::MakeDirectory { at, mode })),
        2 => (node, mode()).prop_map(|(node, mode)| maker(move |_, _, at| Call::MakeNode { at, node, mode })),
        2 => target.prop_map(|target| maker(move |_, _, at| Call::Symlink { target: target.into(), at })),
        4 => (any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(follow, is_new)| {
            maker(move |from, b, new| Call::Link { from, to: if is_new { new } else { b }, follow })
        }),
        1 => Just(maker(|at, _, to| Call::LinkUnnamed { at, to })),
    ]
}

fn others() -> impl Strategy<Value = Maker> {
    prop_oneof![
        4 => (change(), prop::bool::weighted(0.7)).prop_map(|(change, follow)| {
            // No call truncates a link.
            let follow = follow || matches!(change, Change::Length(_));
            maker(move |at, _, _| Call::Change { at, change: change.clone(), follow })
        }),
        2 => (0..KEPT, change()).prop_map(|(kept, change)| {
            maker(move |_, _, _| Call::ChangeKept { kept, change: change.clone() })
        }),
        3 => Just(maker(|at, _, _| Call::Execute { at })),
        2 => any::<bool>().prop_map(|follow| maker(move |at, _, _| Call::Watch { at, follow })),
        2 => Just(maker(|_, _, at| Call::Bind { at })),
        2 => any::<bool>().prop_map(|is_new| {
            maker(move |a, _, new| Call::Connect { at: if is_new { new } else { a } })
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let call = prop_oneof![9 => open().boxed(), 10 => names().boxed(), 8 => others().boxed()];
    let cwd = prop_oneof![2 => Just(""), 2 => prop::sample::select(&FOLDERS[..4]), 1 => folder()];
    let umask = prop::sample::select(&[0o022, 0o022, 0o077, 0][..]);
    (cwd, umask, call, spot(), spot(), new_spot()).prop_map(|(cwd, umask, call, a, b, new)| {
        let place = |(path, writing): Unplaced| writing.spot(&path, cwd);
        Step { cwd: cwd.to_owned(), umask, call: (call.0)(place(a), place(b), place(new)) }
    })
}

pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..=count)
}
