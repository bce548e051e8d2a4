//! From the names that were used to the places that are permitted.
//!
//! Where several names of a directory were used, or where a name was made that may be another the next time, the
//! directory is permitted whole; where several directories of one are, that one. [`Bounds`] says where that ends.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::TMP;
use crate::learn::bounds::{Bounds, parent};
use crate::request::upwards;
use crate::secrets::is_normal;
use crate::templates::quoted;

/// The most places of one kind of action.
const PLACES_MAX: usize = 500;

/// The longest that their names together may be as they are written, in bytes.
const BYTES_MAX: usize = 64 << 10;

/// What is permitted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A directory with all that is in it.
    In(String),
    /// One name.
    At(String),
    /// What fits, where one part of a path stands between each two of these texts.
    Like(Vec<String>),
}

/// Names that were used by one kind of action.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Each with the directory that has to be whole for its sake.
    pub(super) names: BTreeMap<String, Option<String>>,
    /// Directories that have to be whole for the sake of what is not listed.
    pub(super) wholes: BTreeSet<String>,
}

/// How many names of a directory, and how many whole directories in it, make it whole.
#[derive(Debug, Clone, Copy)]
struct Step {
    names: usize,
    folders: usize,
}

/// The first is for what fits; the others for what would be too much to write.
const STEPS: [Step; 3] =
    [Step { names: 2, folders: 3 }, Step { names: 1, folders: 2 }, Step { names: 1, folders: 1 }];

/// Which place permits a name.
#[derive(Debug)]
pub(super) struct Plan {
    wholes: BTreeSet<String>,
    /// The places that are permitted.
    pub(super) places: BTreeSet<Place>,
}

impl Plan {
    /// Makes the plan for the names of one kind of action.
    pub(super) fn new(uses: &Uses, bounds: &Bounds) -> Self {
        let mut plan = Self { wholes: BTreeSet::new(), places: BTreeSet::new() };
        for step in STEPS {
            plan.wholes = wholes(uses, bounds, step);
            let names = uses.names.keys().map(|name| plan.place(name, bounds));
            plan.places = names.chain(uses.wholes.iter().map(|folder| plan.place(folder, bounds))).collect();
            if plan.shorten(false) {
                return plan;
            }
        }
        plan.shorten(true);
        plan
    }

    /// Returns the place that permits a name.
    fn place(&self, name: &str, bounds: &Bounds) -> Place {
        if bounds.is_temporary(name) {
            return Place::In(TMP.to_owned());
        }
        let mut whole = None;
        if is_normal(name) {
            upwards(name, |folder| {
                if self.wholes.contains(folder) {
                    whole = Some(folder.to_owned());
                }
            });
        }
        match whole {
            Some(folder) => Place::In(folder),
            None => of_process(name).map_or_else(|| Place::At(name.to_owned()), Place::Like),
        }
    }

    /// Says whether a name is permitted.
    pub(super) fn permits(&self, name: &str, bounds: &Bounds) -> bool {
        self.places.contains(&self.place(name, bounds))
    }

    /// Says whether the places are few enough to be written; leaves out the last of them if it may.
    fn shorten(&mut self, may: bool) -> bool {
        let mut bytes = 0;
        let fits = |(number, place): (usize, &Place)| {
            bytes += place.length();
            number < PLACES_MAX && bytes <= BYTES_MAX
        };
        let count = self.places.iter().enumerate().map(fits).take_while(|fits| *fits).count();
        let all = count == self.places.len();
        if may && !all {
            self.places = std::mem::take(&mut self.places).into_iter().take(count).collect();
        }
        all
    }
}

impl Place {
    /// Returns about how long it is where it is written, in bytes.
    fn length(&self) -> usize {
        match self {
            Place::In(name) | Place::At(name) => quoted(name).len(),
            // It is written once, and once for each gap.
            Place::Like(parts) => parts.iter().map(|part| quoted(part).len()).sum::<usize>() * parts.len(),
        }
    }
}

/// Returns the directories that are to be permitted whole; some may be in others.
fn wholes(uses: &Uses, bounds: &Bounds, step: Step) -> BTreeSet<String> {
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_depth: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut add = |folder: &str| {
        by_depth.entry(depth(folder)).or_default().insert(folder.to_owned());
    };
    uses.wholes.iter().for_each(|folder| add(folder));
    for (name, whole) in &uses.names {
        if bounds.is_temporary(name) || !is_normal(name) {
            continue;
        }
        whole.iter().for_each(|folder| add(folder));
        if let Some(folder) = parent(name) {
            *used.entry(folder).or_default() += 1;
        }
    }
    for (folder, names) in used {
        if names >= step.names && bounds.may_be_whole(folder) {
            add(folder);
        }
    }
    let mut wholes = BTreeSet::new();
    // From the deepest upwards: whether a directory is whole is known when its own are.
    while let Some((depth, folders)) = by_depth.pop_last() {
        let mut inner: BTreeMap<&str, usize> = BTreeMap::new();
        for folder in folders.iter().filter_map(|folder| parent(folder)) {
            *inner.entry(folder).or_default() += 1;
        }
        for (folder, count) in inner {
            if count >= step.folders && bounds.may_be_whole(folder) {
                by_depth.entry(depth.saturating_sub(1)).or_default().insert(folder.to_owned());
            }
        }
        wholes.extend(folders);
    }
    wholes
}

fn depth(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

/// Returns a path in `/proc` with the ids of processes, threads and descriptors left open; nothing where it has none.
pub(super) fn of_process(path: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut push = |text: &str, is_open: bool| {
        if let Some(last) = parts.last_mut() {
            last.push('/');
            if !is_open {
                last.push_str(text);
            }
        }
        if is_open {
            parts.push(String::new());
        }
    };
    let mut before = "";
    for (place, part) in path.strip_prefix("/proc/")?.split('/').enumerate() {
        if place == 0 {
            push("proc", false);
        }
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        push(part, is_number && (place == 0 || (place < 5 && matches!(before, "task" | "fdinfo"))));
        before = part;
    }
    (parts.len() > 1).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Places;

    fn bounds() -> Bounds {
        Bounds::new(Places {
            home: Some("/home/me".into()),
            directory: "/home/me/p".into(),
            tmp: Some("/tmp/own".into()),
            toolchains: Vec::new(),
        })
    }

    fn places(names: &[&str]) -> Vec<String> {
        let names = names.iter().map(|name| ((*name).to_owned(), None)).collect();
        let plan = Plan::new(&Uses { names, wholes: BTreeSet::new() }, &bounds());
        let shown = |place: &Place| match place {
            Place::In(folder) => format!("{folder}/**"),
            Place::At(name) => name.clone(),
            Place::Like(parts) => parts.join("*"),
        };
        plan.places.iter().map(shown).collect()
    }

    #[test]
    fn several_names_make_a_directory_whole() {
        assert_eq!(places(&["/home/me/p/a/x"]), ["/home/me/p/a/x"]);
        assert_eq!(places(&["/home/me/p/a/x", "/home/me/p/a/y"]), ["/home/me/p/a/**"]);
        assert_eq!(places(&["/home/me/x", "/home/me/y"]), ["/home/me/x", "/home/me/y"]);
        assert_eq!(places(&["/home/me/p/a", "/home/me/p/a/y", "/home/me/p/a/z"]), ["/home/me/p/a/**"]);
    }

    #[test]
    fn several_directories_make_the_one_above_whole() {
        let names = |folders: &[&str]| {
            let of = |folder: &&str| ["x", "y"].map(|name| format!("/home/me/p/{folder}/{name}"));
            let all: Vec<String> = folders.iter().flat_map(of).collect();
            places(&all.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(names(&["a", "b"]), ["/home/me/p/a/**", "/home/me/p/b/**"]);
        assert_eq!(names(&["a", "b", "c"]), ["/home/me/p/**"]);
        assert_eq!(names(&["s/a", "s/b", "s/c", "t"]), ["/home/me/p/s/**", "/home/me/p/t/**"]);
        assert_eq!(names(&["s/a", "s/b", "s/c", "t", "u"]), ["/home/me/p/**"]);
        assert_eq!(
            names(&["../.cache/a", "../.cache/b", "../.cache/c"]).len(),
            6,
            "what is not as the kernel writes it stays as it is"
        );
    }

    #[test]
    fn ids_of_processes_are_left_open() {
        assert_eq!(places(&["/proc/12/stat", "/proc/13/stat"]), ["/proc/*/stat"]);
        assert_eq!(places(&["/proc/12/task/13/comm"]), ["/proc/*/task/*/comm"]);
        assert_eq!(places(&["/proc/self/task/13/x"]), ["/proc/self/task/*/x"]);
        assert_eq!(places(&["/proc/12"]), ["/proc/*"]);
        assert_eq!(places(&["/proc/x/12", "/proc/self/12"]), ["/proc/self/12", "/proc/x/12"]);
    }

    #[test]
    fn the_sessions_own_directory_has_a_name() {
        assert_eq!(places(&["/tmp/own/a", "/tmp/own", "/tmp/b"]), ["session:tmp/**", "/tmp/b"]);
    }

    #[test]
    fn too_many_names_become_directories_and_then_none() {
        let many: Vec<String> = (0..PLACES_MAX + 1).map(|n| format!("/home/me/p/{n}/x")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(places(&many), ["/home/me/p/**"]);
        let apart: Vec<String> = (0..PLACES_MAX + 1).map(|n| format!("/home/me/{n:04}")).collect();
        let apart: Vec<&str> = apart.iter().map(String::as_str).collect();
        assert_eq!(places(&apart), apart.iter().take(PLACES_MAX).copied().collect::<Vec<_>>());
    }
}
