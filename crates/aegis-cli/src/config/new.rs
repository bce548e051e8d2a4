//! Writing settings files: a new one, short, with a word on each line that its owner is to know; and the directory
//! into one that is there.

use std::path::Path;

use aegis_policy::AllowedHost;
use aegis_types::AgentName;
use toml_edit::{Array, DocumentMut, Item, Value};

use super::{Configuration, read};
use crate::error::CliError;

/// Returns the text of a new configuration's settings file.
///
/// Policies are in the folder `policies` beside the file.
///
/// # Errors
/// The directory's path is not UTF-8: TOML has no way to write it.
pub(crate) fn new_file(
    name: &AgentName,
    sandbox_dir: Option<&Path>,
    hosts: &[AllowedHost],
) -> Result<String, CliError> {
    let sandbox_dir = match sandbox_dir {
        Some(dir) => format!("sandbox_dir = {}", Value::from(utf8(dir)?)),
        None => "# sandbox_dir = \"~/project\"".to_owned(),
    };
    Ok(format!(
        "# Settings of `{name}`. `aegis config edit {name}` opens this file and checks it;\n\
         # `aegis config schema` prints every key. Relative paths start at this file's folder.\n\
         \n\
         name = \"{name}\"\n\
         \n\
         # The directory that the agent works in.\n\
         {sandbox_dir}\n\
         \n\
         # Policy files, and folders of them (*.cedar).\n\
         # policy_paths = [\"policies\"]\n\
         \n\
         # Hosts that the agent may connect to, beside what policies permit: \"api.example.com:443\".\n\
         allowed_network = {}\n",
        list(hosts)
    ))
}

/// Returns the text of a settings file with the directory and the hosts in it, where it does not say them itself.
/// Comments and order stay.
///
/// # Errors
/// The file can't be read or is wrong, or the path is not UTF-8.
pub(crate) fn with_directory(
    path: &Path,
    directory: &Path,
    hosts: &[AllowedHost],
) -> Result<String, CliError> {
    let text = read(path)?.map(|found| found.text).unwrap_or_default();
    // What can't be read is not written over.
    Configuration::parse(path, &text, path.parent().unwrap_or(path))?;
    let mut document: DocumentMut =
        text.parse().map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    if !document.contains_key("sandbox_dir") {
        document.insert("sandbox_dir", Item::Value(utf8(directory)?.into()));
    }
    if !hosts.is_empty() && !document.contains_key("allowed_network") {
        document.insert("allowed_network", Item::Value(Value::Array(list(hosts))));
    }
    Ok(document.to_string())
}

fn list(hosts: &[AllowedHost]) -> Array {
    hosts.iter().map(ToString::to_string).collect()
}

fn utf8(path: &Path) -> Result<&str, CliError> {
    path.to_str().ok_or_else(|| {
        CliError::failed(format!("{} is not UTF-8; a settings file can't name it", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_new_file_reads_back() {
        let name = AgentName::new("my-agent").unwrap();
        let folder = Path::new("/home/my-agent");
        let read = |text: &str| Configuration::parse(&folder.join("aegis.toml"), text, folder).unwrap();
        let least = read(&new_file(&name, None, &[]).unwrap());
        assert_eq!((&least.name, &least.sandbox_dir), (&name, &None));
        assert_eq!(least.policy_paths, [folder.join("policies")]);
        let hosts: Vec<AllowedHost> =
            ["a.example:443", "10.0.0.0/8"].iter().map(|host| host.parse().unwrap()).collect();
        for odd in ["/a/b", "/with \"quotes\" and \\", "/line\nbreak\t'\u{1b}", "/日本"] {
            let full = read(&new_file(&name, Some(Path::new(odd)), &hosts).unwrap());
            assert_eq!((full.sandbox_dir.as_deref(), &full.allowed_network), (Some(Path::new(odd)), &hosts));
        }
        let bad = Path::new(std::ffi::OsStr::from_bytes(b"/\xff"));
        assert!(new_file(&name, Some(bad), &[]).is_err());
    }

    #[test]
    fn what_a_file_says_stays() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("aegis.toml");
        let with = |text: &str| {
            aegis_sys::files::write_atomic(&path, text.as_bytes()).unwrap();
            with_directory(&path, Path::new("/d"), &["x.example".parse().unwrap()])
        };
        assert_eq!(
            with("# mine\nname = \"a\" # this\n\n[pilot]\ndry_run = true\n").unwrap(),
            "# mine\nname = \"a\" # this\nsandbox_dir = \"/d\"\nallowed_network = [\"x.example\"]\n\n[pilot]\ndry_run = true\n"
        );
        let own = "name = \"a\"\nsandbox_dir = \"/e\"\nallowed_network = []\n";
        assert_eq!(with(own).unwrap(), own);
        assert!(with("nam = 1\n").is_err());
    }
}
