//! The layers of the workspace: who may depend on whom, and where unsafe code may stand.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The crates that ship, with their layers: an edge points to a lower one. Layers without a crate yet are
/// kept free for those that `docs/ARCHITECTURE.md` names.
const LAYERS: [(&str, u8); 11] = [
    ("aegis-types", 0),
    ("aegis-proof", 0),
    ("aegis-policy", 1),
    ("aegis-export", 1),
    ("aegis-sys", 1),
    ("aegis-observer", 2),
    ("aegis-ledger", 2),
    ("aegis-proxy", 2),
    ("aegis-sandbox", 3),
    ("aegis-session", 4),
    ("aegis-cli", 6),
];

/// Crates that no crate that ships may depend on.
const DEVELOPMENT: [&str; 2] = ["aegis-harness", "xtask"];

/// What only certain crates may link, and which.
const CONFINED: [(&str, &[&str]); 5] = [
    ("cedar-policy", &["aegis-policy"]),
    ("rusqlite", &["aegis-ledger"]),
    ("clap", &["aegis-cli"]),
    ("domain", &["aegis-proxy"]),
    ("libc", &["aegis-sys", "aegis-observer", "aegis-sandbox", "aegis-session", "aegis-harness"]),
];

/// Crates that see no system: neither files nor sockets, clocks nor threads.
const PURE: [&str; 4] = ["aegis-types", "aegis-proof", "aegis-policy", "aegis-export"];

/// What a pure crate may not link, and may not name.
const EFFECTS: [&str; 4] = ["rustix", "libc", "rusqlite", "tokio"];
const EFFECT_WORDS: [&str; 6] =
    ["std::fs", "std::net::Tcp", "std::process", "SystemTime::now", "Instant::now", "std::thread"];

/// Where unsafe code may stand, as paths below the root.
const UNSAFE: [&str; 5] = [
    "crates/aegis-sys/src",
    "crates/aegis-harness/src/bin/flip/raw.rs",
    "crates/aegis-harness/src/bin/ground-truth/raw.rs",
    "crates/aegis-harness/src/bin/operate/raw.rs",
    "crates/aegis-harness/src/bin/without/raw.rs",
];

/// The dependencies of a crate by their kind.
#[derive(Debug, Default)]
struct Manifest {
    normal: Vec<String>,
}

/// Checks the workspace below `root` and says what is wrong.
pub(crate) fn check(root: &Path) -> io::Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut manifests = BTreeMap::new();
    let mut folders: Vec<_> = fs::read_dir(root.join("crates"))?.collect::<io::Result<_>>()?;
    folders.sort_by_key(fs::DirEntry::file_name);
    for folder in &folders {
        let name = folder.file_name().to_string_lossy().into_owned();
        manifests.insert(name, read(&folder.path().join("Cargo.toml"))?);
    }
    faults.extend(edges(&manifests));
    for folder in &folders {
        let name = folder.file_name().to_string_lossy().into_owned();
        sources(root, &folder.path(), &mut |path, text| faults.extend(source_faults(&name, path, text)))?;
    }
    Ok(faults)
}

fn read(path: &Path) -> io::Result<Manifest> {
    let text = fs::read_to_string(path)?;
    let value: toml::Table =
        text.parse().map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    let mut manifest = Manifest::default();
    let mut take = |table: Option<&toml::Value>| {
        if let Some(table) = table.and_then(toml::Value::as_table) {
            manifest.normal.extend(table.keys().cloned());
        }
    };
    take(value.get("dependencies"));
    take(value.get("build-dependencies"));
    if let Some(targets) = value.get("target").and_then(toml::Value::as_table) {
        for target in targets.values() {
            take(target.get("dependencies"));
        }
    }
    Ok(manifest)
}

/// Checks who depends on whom.
fn edges(manifests: &BTreeMap<String, Manifest>) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer);
    let mut faults = Vec::new();
    for (name, manifest) in manifests {
        let ships = !DEVELOPMENT.contains(&name.as_str());
        if ships && layer(name).is_none() {
            faults.push(format!("{name} stands in no layer; give it one in xtask/src/graph.rs"));
        }
        for dependency in &manifest.normal {
            if ships && DEVELOPMENT.contains(&dependency.as_str()) {
                faults.push(format!("{name} depends on {dependency}, which is for development only"));
            }
            if let (Some(from), Some(to)) = (layer(name), layer(dependency))
                && to >= from
            {
                faults.push(format!(
                    "{name} (layer {from}) depends on {dependency} (layer {to}): edges point down"
                ));
            }
            for (library, may) in CONFINED {
                if dependency == library && !may.contains(&name.as_str()) {
                    faults.push(format!("{name} links {library}; only {} may", may.join(", ")));
                }
            }
            if PURE.contains(&name.as_str()) && EFFECTS.contains(&dependency.as_str()) {
                faults.push(format!("{name} is pure and links {dependency}"));
            }
        }
    }
    faults
}

/// Calls `each` with every Rust source below a folder, its path relative to the root.
fn sources(root: &Path, folder: &Path, each: &mut impl FnMut(&str, &str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(root, &path, each)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            each(&relative, &fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Checks one source file.
fn source_faults(name: &str, path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let may_be_unsafe = UNSAFE.iter().any(|place| path.starts_with(place));
    let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let exempt = ["aegis-sys", "aegis-harness"].contains(&name);
    if is_root && !exempt && !text.contains("#![forbid(unsafe_code)]") {
        faults.push(format!("{path} does not say #![forbid(unsafe_code)]"));
    }
    if !may_be_unsafe && text.contains("unsafe_code,") {
        faults.push(format!("{path} permits itself unsafe code"));
    }
    if is_root && !text.starts_with("//!") {
        faults.push(format!("{path} does not begin by saying what the crate is for"));
    }
    // Tests may use what they like.
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    if PURE.contains(&name) && path.contains("/src/") {
        for word in EFFECT_WORDS {
            if code.contains(word) {
                faults.push(format!("{path} names {word}, and {name} is pure"));
            }
        }
    }
    if ships_below_cli(name)
        && path.contains("/src/")
        && code.contains("std::env::")
        && !code.contains("std::env::consts")
    {
        faults.push(format!("{path} reads the environment; only aegis-cli may"));
    }
    faults
}

fn ships_below_cli(name: &str) -> bool {
    LAYERS.iter().any(|(known, layer)| *known == name && *layer < 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, dependencies: &[&str]) -> Vec<String> {
        let normal = dependencies.iter().map(|d| (*d).to_owned()).collect();
        edges(&BTreeMap::from([(name.to_owned(), Manifest { normal })]))
    }

    #[test]
    fn an_edge_that_points_up_or_aside_is_found() {
        assert_eq!(with("aegis-session", &["aegis-ledger", "aegis-observer", "libc"]), Vec::<String>::new());
        assert!(with("aegis-observer", &["aegis-ledger"])[0].contains("edges point down"));
        assert!(with("aegis-types", &["aegis-session"])[0].contains("edges point down"));
        assert!(with("aegis-export", &["aegis-cli"])[0].contains("edges point down"));
    }

    #[test]
    fn what_is_confined_stays_where_it_is() {
        assert!(with("aegis-session", &["rusqlite"])[0].contains("only aegis-ledger may"));
        assert!(with("aegis-ledger", &["aegis-harness"])[0].contains("development only"));
        assert!(with("aegis-proof", &["rustix"])[0].contains("is pure"));
        assert!(with("aegis-new", &[])[0].contains("stands in no layer"));
    }

    #[test]
    fn sources_are_looked_into() {
        assert!(
            source_faults("aegis-ledger", "crates/aegis-ledger/src/lib.rs", "//! x\n")[0].contains("forbid")
        );
        assert!(
            source_faults("aegis-ledger", "crates/aegis-ledger/src/x.rs", "#[expect(unsafe_code, reason)]")
                [0]
            .contains("permits")
        );
        assert!(
            source_faults("aegis-proof", "crates/aegis-proof/src/x.rs", "use std::fs;")[0]
                .contains("is pure")
        );
        assert!(
            source_faults("aegis-ledger", "crates/aegis-ledger/src/x.rs", "std::env::args()")[0]
                .contains("environment")
        );
    }

    #[test]
    fn this_workspace_is_as_it_should_be() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(check(root).unwrap(), Vec::<String>::new());
    }
}
