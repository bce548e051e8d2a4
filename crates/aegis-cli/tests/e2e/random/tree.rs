//! The tree that is worked on: made at random, and compared.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use aegis_harness::race::exit_program;
use proptest::prelude::*;

/// The directories that there may be, each behind that which it is in. The first four are always there.
pub(crate) const FOLDERS: [&str; 12] =
    ["a", "b", "a/a", "b/a", "a/b", "a/.git", "a/hooks", "b/c", "a/a/b", "b/a/b", "b/a/b/a", "b/a/b/.git"];

/// The names of plain files.
pub(crate) const FILES: [&str; 6] = ["f.rs", "k.pem", ".env", "g", "config", "h.rs"];

/// Where links lead, as seen from where they are.
const TARGETS: [&str; 9] =
    ["f.rs", "../b", "{root}/a", "{root}/a/k.pem", "../a/f.rs", "new.pem", "b", "l", "{root}/b/a/b"];

/// What the program `p` ends with.
const CODE: u8 = 7;

/// What stands under a name.
#[derive(Debug, Clone)]
enum Thing {
    Folder,
    File,
    Link(&'static str),
    Program,
    Script(&'static str),
    Fifo,
}

/// A tree, as what stands under each path below its root.
#[derive(Debug, Clone)]
pub(crate) struct Tree(Vec<(String, Thing)>);

fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let folder = || prop::sample::select([&[""][..], &FOLDERS[..]].concat());
    let files: Vec<String> = [&[""][..], &FOLDERS[..]]
        .concat()
        .iter()
        .flat_map(|folder| FILES.map(|name| below(folder, name)))
        .collect();
    let half = files.len() / 2;
    let link = (folder(), prop::sample::select(&["l", "m.rs"][..]), prop::sample::select(&TARGETS[..]));
    let links = prop::collection::vec(link, 0..6);
    let program = (folder(), prop::sample::select(&["{root}/p", "{root}/a/p", "{root}/b/s"][..]));
    let programs = prop::collection::vec(program, 0..4);
    let fifos = prop::collection::vec(folder(), 0..2);
    let (first, rest) = FOLDERS.split_at(4);
    let folders = prop::sample::subsequence(rest, rest.len() - 4..=rest.len())
        .prop_map(move |more| [first, &more].concat());
    let files = prop::sample::subsequence(files, half..=2 * half);
    (folders, files, links, programs, fifos).prop_map(|(folders, files, links, programs, fifos)| {
        let mut all: Vec<(String, Thing)> = Vec::new();
        all.extend(folders.into_iter().map(|path| (path.to_owned(), Thing::Folder)));
        all.extend(files.into_iter().map(|path| (path, Thing::File)));
        for (folder, name, target) in links {
            all.push((below(folder, name), Thing::Link(target)));
        }
        for (folder, interpreter) in programs {
            all.push((below(folder, "p"), Thing::Program));
            all.push((below(folder, "s"), Thing::Script(interpreter)));
        }
        all.extend(fifos.into_iter().map(|folder| (below(folder, "q"), Thing::Fifo)));
        Tree(all)
    })
}

impl Tree {
    /// A tree of directories, whose paths end with a slash, and plain files.
    pub(crate) fn of(paths: &[&str]) -> Self {
        let thing = |path: &&str| match path.strip_suffix('/') {
            Some(folder) => (folder.to_owned(), Thing::Folder),
            None => ((*path).to_owned(), Thing::File),
        };
        Self(paths.iter().map(thing).collect())
    }

    /// Makes it. What has no directory to stand in, or whose place is taken, is left out.
    pub(crate) fn make(&self, root: &Path, owner: Option<u32>) {
        let text = root.to_str().unwrap();
        for (path, thing) in &self.0 {
            let at = root.join(path);
            if at.symlink_metadata().is_ok() || !at.parent().unwrap().is_dir() || !has_folder(root, path) {
                continue;
            }
            match thing {
                Thing::Folder => std::fs::create_dir(&at).unwrap(),
                Thing::File => std::fs::write(&at, format!("of {path}\n")).unwrap(),
                Thing::Link(target) => symlink(target.replace("{root}", text), &at).unwrap(),
                Thing::Program => std::fs::write(&at, exit_program(CODE)).unwrap(),
                Thing::Script(interpreter) => {
                    std::fs::write(&at, format!("#!{}\n", interpreter.replace("{root}", text))).unwrap();
                }
                Thing::Fifo => {
                    use rustix::fs::{CWD, FileType, Mode, mknodat};
                    mknodat(CWD, &at, FileType::Fifo, Mode::from_bits_retain(0o644), 0).unwrap();
                }
            }
            if matches!(thing, Thing::Program | Thing::Script(_)) {
                std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            std::os::unix::fs::lchown(&at, owner, owner).unwrap();
        }
    }
}

/// Says whether the directory of a path is one of the tree's, and no link to one.
fn has_folder(root: &Path, path: &str) -> bool {
    let folder = Path::new(path).parent().unwrap();
    root.join(folder).canonicalize().is_ok_and(|real| real == root.join(folder))
}

/// Replaces what tells a tree's root from its twin's in a text, also where that was cut off or written over in part.
pub(crate) fn masked(text: &str, root: &str) -> String {
    // Before the last four, both are the same.
    let own = root.rmatch_indices('/').nth(3).and_then(|(at, _)| root.get(at..)).unwrap_or(root);
    let text = text.replace(own, "{root}");
    let cut = (2..own.len()).rev().find_map(|length| {
        let rest = text.strip_suffix(own.get(..length)?)?;
        Some(format!("{rest}{{{length}}}"))
    });
    cut.unwrap_or(text)
}

/// Returns what stands below a directory, each thing with all that can be told of it. The text of `root` in a file or
/// link is replaced.
pub(crate) fn snapshot(outer: &Path, root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    look(outer, outer, root.to_str().unwrap(), &mut all);
    all
}

fn look(folder: &Path, outer: &Path, root: &str, all: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let kind = meta.file_type();
        let mut told = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if meta.mtime() < 1_000_000 {
            // Set by a call.
            told.push_str(&format!(" at {}", meta.mtime()));
        }
        if kind.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            told.push_str(&format!(" -> {}", masked(target.to_str().unwrap(), root)));
        } else if kind.is_file() {
            let content = std::fs::read(&path).unwrap();
            let content = masked(&String::from_utf8_lossy(&content), root);
            told.push_str(&format!(" links {} {content:?}", meta.nlink()));
        }
        let mut value = [0; 64];
        if let Ok(length) = rustix::fs::lgetxattr(&path, "user.a", &mut value) {
            told.push_str(&format!(" user.a={}", String::from_utf8_lossy(&value[..length])));
        }
        if kind.is_dir() {
            look(&path, outer, root, all);
        }
        all.insert(path.strip_prefix(outer).unwrap().to_str().unwrap().to_owned(), told);
    }
}
