//! What the files of an installation say: which package and version it is, and where all of it is.

use std::path::{Path, PathBuf};

use aegis_policy::Tool;
use aegis_sys::files::read_plain;

use crate::home::user_home;
use crate::policies::toolchains;

/// The most bytes of a `package.json` that are read.
const PACKAGE_MAX: u64 = 1 << 20;

/// How far above a program its `package.json` is looked for.
const LEVELS: usize = 8;

/// Directories whose programs `project` permits anyway.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"];

/// Returns the name and version of the npm package that a file is of.
pub(super) fn package_of(file: &Path) -> Option<(String, Option<String>)> {
    let file = std::fs::canonicalize(file).ok()?;
    file.ancestors().skip(1).take(LEVELS).find_map(|folder| {
        let (bytes, _) = read_plain(&folder.join("package.json"), PACKAGE_MAX).ok()?;
        let package: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let field = |name: &str| package.get(name)?.as_str().map(str::to_owned);
        Some((field("name")?, field("version")))
    })
}

/// Returns the version of a tool that is started by a file.
pub(super) fn version(tool: &Tool, file: &Path) -> Option<String> {
    let of_package = || {
        let (name, version) = package_of(file)?;
        version.filter(|_| tool.is_npm_package(&name))
    };
    // As installers of single programs keep them: one file for each version, named by it.
    let of_name = || {
        let file = std::fs::canonicalize(file).ok()?;
        let is_version = file.parent()?.file_name()? == "versions";
        file.file_name()?.to_str().filter(|_| is_version).map(str::to_owned)
    };
    let of_distribution = || {
        let (distribution, _) = tool.python?;
        distributions(file, distribution).into_iter().map(|(_, version)| version).next()
    };
    let version = of_package().or_else(of_name).or_else(of_distribution)?;
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && version.len() <= 64
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+_".contains(c));
    is_version.then_some(version)
}

/// Finds a package of Python that is installed where a program or an interpreter looks for it: the folder of packages,
/// and the version.
fn distributions(file: &Path, name: &str) -> Vec<(PathBuf, String)> {
    let start = format!("{}-", name.replace('-', "_"));
    let prefix = |file: &Path| file.parent().and_then(Path::parent).map(Path::to_owned);
    // The link of a virtual environment leads out of it.
    let resolved = std::fs::canonicalize(file).ok().and_then(|file| prefix(&file));
    let of_user = user_home().map(|home| home.join(".local"));
    let mut found = Vec::new();
    for prefix in [prefix(file), resolved, of_user].into_iter().flatten() {
        let pythons = listed(&prefix.join("lib"), "python3");
        for packages in pythons.iter().flat_map(|lib| ["site-packages", "dist-packages"].map(|n| lib.join(n)))
        {
            for info in listed(&packages, &start) {
                let name = info.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let version = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(".dist-info"));
                found.extend(version.map(|version| (packages.clone(), version.to_owned())));
            }
        }
    }
    found
}

/// Returns what is in a folder and begins so, by name.
fn listed(folder: &Path, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start))
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    found
}

/// Returns where a tool is installed that is started by a file, links resolved: what is to be read and executed beside the
/// system's programs.
pub(super) fn places(tool: &Tool, file: &Path) -> Vec<PathBuf> {
    let Ok(resolved) = std::fs::canonicalize(file) else { return Vec::new() };
    let mut found = Vec::new();
    let modules = resolved.ancestors().filter(|folder| folder.ends_with("node_modules")).last();
    let prefix = resolved.parent().and_then(Path::parent);
    let versions = resolved.parent().filter(|folder| folder.ends_with("versions"));
    if let Some(modules) = modules {
        // With the packages that it needs, which stand beside it.
        found.push(modules.to_owned());
    } else if let Some(versions) = versions {
        found.push(versions.to_owned());
    } else if let Some(prefix) = prefix.filter(|prefix| prefix.join("pyvenv.cfg").exists()) {
        found.push(prefix.to_owned());
    } else {
        found.push(resolved.clone());
        let python = tool.python.iter().flat_map(|(name, _)| distributions(file, name));
        found.extend(python.filter_map(|(packages, _)| std::fs::canonicalize(packages).ok()));
    }
    let toolchains = toolchains();
    let is_permitted = |path: &PathBuf| {
        SYSTEM.iter().any(|system| path.starts_with(system))
            || toolchains.iter().any(|(_, toolchain)| path.starts_with(toolchain))
    };
    found.retain(|path| !is_permitted(path));
    found.dedup();
    found
}
