//! Which directories may be permitted whole.

use crate::explain::literal::is_possible;
use crate::learn::Places;
use crate::request::{is_within, upwards};
use crate::secrets::{below, has_secrets, is_normal, secret, touches_secrets};

/// Directories that belong to the system or to everyone: nothing that a session does makes them its own.
const WIDE: &[&str] = &[
    "/",
    "/Applications",
    "/Library",
    "/System",
    "/Users",
    "/Volumes",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/lost+found",
    "/media",
    "/mnt",
    "/nix",
    "/opt",
    "/private",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/snap",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Temporary directories of everyone.
const SHARED: &[&str] = &["/dev/shm", "/private/tmp", "/tmp", "/var/tmp"];

/// Directories whose folders belong to different programs, users or disks.
const OF_MANY: &[&str] = &[
    "/Library",
    "/System",
    "/Volumes",
    "/media",
    "/mnt",
    "/nix",
    "/private",
    "/private/var",
    "/run",
    "/run/media",
    "/run/user",
    "/sys",
    "/usr",
    "/usr/local",
    "/var",
];

/// The same below a user's home.
const OF_MANY_IN_HOME: &[&str] = &[
    ".cache",
    ".config",
    ".local",
    ".local/lib",
    ".local/share",
    ".local/state",
    ".var",
    ".var/app",
    "Desktop",
    "Documents",
    "Downloads",
    "Library",
    "Library/Application Support",
    "Library/Caches",
    "Library/Preferences",
    "Movies",
    "Music",
    "Pictures",
    "Videos",
    "snap",
];

/// Where the sessions worked, as far as it says what may be permitted whole.
#[derive(Debug)]
pub(super) struct Bounds {
    home: Option<String>,
    directory: String,
    tmp: Option<String>,
    pub(super) toolchains: Vec<String>,
}

impl Bounds {
    pub(super) fn new(places: Places) -> Self {
        let Places { home, directory, tmp, mut toolchains } = places;
        let home = home.map(trimmed).filter(|home| is_normal(home));
        let mut bounds = Self { home, directory: trimmed(directory), tmp: None, toolchains: Vec::new() };
        bounds.tmp = tmp.map(trimmed).filter(|tmp| SHARED.contains(&tmp.as_str()) || bounds.is_apart(tmp));
        toolchains.sort();
        toolchains.dedup();
        toolchains.retain(|path| bounds.is_apart(path) && is_possible(path));
        bounds.toolchains = toolchains;
        bounds
    }

    /// Returns the user's home.
    pub(super) fn home(&self) -> Option<&str> {
        self.home.as_deref()
    }

    /// Says whether a directory has neither secrets nor somebody's home in it.
    fn is_apart(&self, folder: &str) -> bool {
        is_normal(folder) && folder != "/" && !touches_secrets(folder, self.home())
    }

    /// Says whether a path is in the temporary directory, and not in the project or the home that may lie there.
    pub(super) fn is_temporary(&self, path: &str) -> bool {
        let Some(tmp) = self.tmp.as_deref() else { return false };
        let is_inner = |folder: &str| is_within(folder, tmp) && is_within(path, folder);
        is_within(path, tmp)
            && is_normal(path)
            && !is_inner(&self.directory)
            && !self.home().is_some_and(is_inner)
    }

    /// Returns the temporary directory.
    pub(super) fn tmp(&self) -> Option<&str> {
        self.tmp.as_deref()
    }

    /// Says whether what is in it was made by the sessions.
    pub(super) fn has_own_tmp(&self) -> bool {
        self.tmp().is_some_and(|tmp| !SHARED.contains(&tmp) && !is_within(&self.directory, tmp))
    }

    /// Says why a path is a secret. What a session made in its own temporary directory is none.
    pub(super) fn secret(&self, path: &str) -> Option<&'static str> {
        if self.has_own_tmp() && self.is_temporary(path) { None } else { secret(path, self.home()) }
    }

    /// Says whether places of secrets lie in a directory, or it is one.
    pub(super) fn has_secrets(&self, folder: &str) -> bool {
        has_secrets(folder, self.home())
    }

    /// Says whether a directory may be permitted with all that is in it.
    pub(super) fn may_be_whole(&self, folder: &str) -> bool {
        if !self.is_apart(folder) || WIDE.contains(&folder) {
            return false;
        }
        if is_within(folder, &self.directory) {
            return true;
        }
        // What is asked for in the directories above the project is mostly looked for and not there.
        let above = is_within(&self.directory, folder);
        let parent = parent(folder).unwrap_or("/");
        let of_many = parent == "/"
            || OF_MANY.contains(&parent)
            || is_users_disk(folder)
            || self.is_of_many_in_home(folder);
        // Names in /proc are those of processes, names in /dev those of devices.
        let of_kernel =
            is_within(folder, "/proc") || (is_within(folder, "/dev") && !is_shared_memory(folder));
        !(above || of_many || of_kernel)
    }

    fn is_of_many_in_home(&self, folder: &str) -> bool {
        let of_many = |home: &str| OF_MANY_IN_HOME.iter().any(|part| below(home, part) == folder);
        if self.home().is_some_and(of_many) || of_many("/root") {
            return true;
        }
        let mut found = false;
        upwards(folder, |home| {
            found |= matches!(parent(home), Some("/home" | "/Users")) && of_many(home);
        });
        found
    }
}

/// A disk that was put in, mounted below a folder of the user's name.
fn is_users_disk(folder: &str) -> bool {
    matches!(parent(folder).and_then(parent), Some("/media" | "/run/media"))
}

/// A folder that was made in `/dev/shm`.
fn is_shared_memory(folder: &str) -> bool {
    folder != "/dev/shm" && is_within(folder, "/dev/shm")
}

fn trimmed(mut path: String) -> String {
    while path.len() > 1 && path.ends_with('/') {
        path.pop();
    }
    path
}

/// Returns the directory that a path is in; nothing for the root.
pub(super) fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        ("", "") => None,
        ("", _) => Some("/"),
        (folder, _) => Some(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(home: &str, directory: &str, tmp: Option<&str>) -> Bounds {
        Bounds::new(Places {
            home: Some(home.into()),
            directory: directory.into(),
            tmp: tmp.map(str::to_owned),
            toolchains: vec![
                "/home/me/.cargo".into(),
                "/home/me/.cargo/bin".into(),
                "/a*b".into(),
                "/".into(),
            ],
        })
    }

    #[test]
    fn wide_directories_stay_closed() {
        let bounds = bounds("/home/me/", "/home/me/src/p", None);
        for no in [
            "/",
            "/usr",
            "/usr/share",
            "/usr/local/lib",
            "/var",
            "/var/lib",
            "/var/www",
            "/run/user",
            "/run/user/1000",
            "/tmp",
            "/workspace",
            "/home",
            "/home/me",
            "/home/me/src",
            "/home/me/.config",
            "/home/me/.local/share",
            "/home/other/.cache",
            "/home/me/.cargo",
            "/home/me/.ssh/config.d",
            "/root",
            "/root/.cache",
            "/proc/self",
            "/proc/sys",
            "/dev/shm",
            "/dev/pts",
            "/mnt/c",
            "/media/me/disk",
            "/run/media/me/disk",
            "/a/../b",
        ] {
            assert!(!bounds.may_be_whole(no), "{no}");
        }
        for yes in [
            "/home/me/src/p",
            "/home/me/src/p/.config",
            "/home/me/src/q",
            "/home/me/.config/nvim",
            "/home/me/.cache/x",
            "/tmp/x",
            "/var/lib/x",
            "/usr/share/x",
            "/workspace/x",
            "/dev/shm/x",
            "/mnt/c/x",
        ] {
            assert!(bounds.may_be_whole(yes), "{yes}");
        }
        assert_eq!(bounds.toolchains, ["/home/me/.cargo/bin"]);
    }

    #[test]
    fn the_directory_itself_is_open_unless_it_is_everyones() {
        for yes in ["/workspace", "/var/www", "/mnt/data", "/srv/x", "/home/me/Documents"] {
            assert!(bounds("/home/me", yes, None).may_be_whole(yes), "{yes}");
        }
        for no in ["/", "/tmp", "/home/me", "/home", "/usr", "/home/me/.config"] {
            assert!(!bounds("/home/me", no, None).may_be_whole(no), "{no}");
        }
    }

    #[test]
    fn the_temporary_directory_holds_no_project_and_no_home() {
        for no in ["/", "/home", "/home/me", "relative", "/home/me/.ssh"] {
            assert_eq!(bounds("/home/me", "/home/me/p", Some(no)).tmp(), None, "{no}");
        }
        let own = bounds("/home/me", "/p", Some("/tmp/own/"));
        assert!(own.is_temporary("/tmp/own/x") && !own.is_temporary("/tmp/own/../x"));
        assert_eq!(own.secret("/tmp/own/a.key"), None);
        assert!(own.secret("/tmp/a.key").is_some());
        let shared = bounds("/tmp/me", "/tmp/p", Some("/tmp"));
        assert!(shared.is_temporary("/tmp/x") && shared.secret("/tmp/a.key").is_some());
        assert!(!shared.is_temporary("/tmp/p/x") && !shared.is_temporary("/tmp/me/x"));
    }

    #[test]
    fn paths_have_parents() {
        assert_eq!([parent("/"), parent("/a"), parent("/a/b")], [None, Some("/"), Some("/a")]);
    }
}
