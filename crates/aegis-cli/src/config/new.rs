//! The settings file of a new configuration: short, with a word on each line that its owner is to know.

use std::path::{Path, PathBuf};

use aegis_types::AgentName;

use crate::error::CliError;

/// Returns the text of a new configuration's settings file.
///
/// Where there are no policy paths, the folder `policies` beside the file holds the policies.
///
/// # Errors
/// A path is not UTF-8: TOML has no way to write it.
#[cfg_attr(not(test), expect(dead_code, reason = "for the command that makes configurations"))]
pub(crate) fn new_file(
    name: &AgentName,
    sandbox_dir: Option<&Path>,
    policy_paths: &[PathBuf],
) -> Result<String, CliError> {
    let sandbox_dir = match sandbox_dir {
        Some(dir) => format!("sandbox_dir = {}", quoted(dir)?),
        None => "# sandbox_dir = \"~/project\"".to_owned(),
    };
    let policy_paths = if policy_paths.is_empty() {
        "# policy_paths = [\"policies\"]".to_owned()
    } else {
        let paths: Vec<String> = policy_paths.iter().map(|path| quoted(path)).collect::<Result<_, _>>()?;
        format!("policy_paths = [{}]", paths.join(", "))
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
         {policy_paths}\n\
         \n\
         # Hosts that the agent may connect to, beside what policies permit: \"api.example.com:443\".\n\
         allowed_network = []\n"
    ))
}

fn quoted(path: &Path) -> Result<String, CliError> {
    let text = path.to_str().ok_or_else(|| {
        CliError::failed(format!("{} is not UTF-8; a settings file can't name it", path.display()))
    })?;
    Ok(toml_edit::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::config::Configuration;

    #[test]
    fn a_new_file_reads_back() {
        let name = AgentName::new("my-agent").unwrap();
        let folder = Path::new("/home/my-agent");
        let read = |text: &str| Configuration::parse(&folder.join("aegis.toml"), text, folder).unwrap();
        let least = read(&new_file(&name, None, &[]).unwrap());
        assert_eq!((&least.name, &least.sandbox_dir), (&name, &None));
        assert_eq!(least.policy_paths, [folder.join("policies")]);
        for odd in ["/a/b", "/with \"quotes\" and \\", "/line\nbreak\t'\u{1b}", "/日本"] {
            let paths = [PathBuf::from(odd), PathBuf::from("/p.cedar")];
            let full = read(&new_file(&name, Some(Path::new(odd)), &paths).unwrap());
            assert_eq!(
                (full.sandbox_dir.as_deref(), &full.policy_paths[..]),
                (Some(Path::new(odd)), &paths[..])
            );
        }
        let bad = Path::new(std::ffi::OsStr::from_bytes(b"/\xff"));
        assert!(new_file(&name, Some(bad), &[]).is_err());
    }
}
