//! What the agent sees of the tree: the places that its policies name, and no others.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use aegis_policy::SandboxPlan;
use aegis_types::Action;

use super::oracle::Roots;

/// Returns the places of the twin that stand for what is seen of the tree; nothing where all is seen.
pub(crate) fn places(plan: &SandboxPlan, roots: &Roots) -> Option<Vec<PathBuf>> {
    // What is named, and whether it is to be changed.
    let mut named: BTreeMap<PathBuf, bool> = BTreeMap::new();
    let files = plan.files.iter().flat_map(|(action, regions)| {
        let changes = matches!(action, Action::FileWrite | Action::FileDelete | Action::DirCreate);
        regions.hull().into_iter().map(move |grant| (grant, changes))
    });
    for (grant, changes) in files.chain(plan.sockets[1].hull().into_iter().map(|grant| (grant, true))) {
        *named.entry(PathBuf::from(grant.path)).or_default() |= changes;
    }
    if named.contains_key(Path::new("/")) {
        return None;
    }
    let in_twin = |(path, changes): (PathBuf, bool)| {
        Some((roots.twin.join(path.strip_prefix(&roots.outer).ok()?), changes))
    };
    let named = outermost(named.into_iter().filter_map(in_twin).collect());
    let seen = named.iter().filter_map(|(path, changes)| Some((shown_for(path, *changes)?, ())));
    Some(outermost(seen.collect()).into_iter().map(|(path, ())| path).collect())
}

/// Leaves out what is below another.
fn outermost<T: Ord>(mut places: Vec<(PathBuf, T)>) -> Vec<(PathBuf, T)> {
    places.sort();
    let mut found: Vec<(PathBuf, T)> = Vec::new();
    for place in places {
        if !found.iter().any(|(above, _)| place.0.starts_with(above)) {
            found.push(place);
        }
    }
    found
}

/// What is to be changed and has no directory of its own, or is to be made, is seen with the directory that it is made in.
fn shown_for(path: &Path, changes: bool) -> Option<PathBuf> {
    let kind = path.symlink_metadata().map(|meta| meta.file_type());
    let is_alone =
        kind.as_ref().is_ok_and(|kind| kind.is_dir() || kind.is_symlink() || kind.is_char_device());
    if is_alone || !changes {
        return kind.is_ok().then(|| path.to_owned());
    }
    path.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned)
}
