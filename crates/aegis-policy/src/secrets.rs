//! What is a secret by where it lies or by what it is called.
//!
//! It is told of names alone, no file is looked into. So a key in `notes.txt` is not found, and a test's `server.key`
//! is. The lists are for what learns a policy and for reports; a policy that is written by hand may permit what it
//! likes.

use std::borrow::Cow;

use crate::request::{is_within, name_of};

/// Places below a user's home, each with all that is below it.
pub(crate) const IN_HOME: &[(&str, &str)] = &[
    // Keys, and what unlocks them.
    (".ssh", "keys of SSH"),
    (".gnupg", "keys of GnuPG"),
    (".pki", "private certificates"),
    (".age", "keys of age"),
    (".config/age", "keys of age"),
    (".config/sops", "keys of sops"),
    (".password-store", "passwords"),
    (".local/share/password-store", "passwords"),
    (".local/share/gopass", "passwords"),
    (".config/gopass", "passwords"),
    (".config/keepassxc", "passwords"),
    (".config/1Password", "passwords"),
    (".config/op", "passwords"),
    (".config/Bitwarden", "passwords"),
    (".config/Bitwarden CLI", "passwords"),
    (".local/share/keyrings", "a keyring"),
    (".gnome2/keyrings", "a keyring"),
    (".local/share/kwalletd", "a keyring"),
    (".kde/share/apps/kwallet", "a keyring"),
    ("Library/Keychains", "a keyring"),
    (".bitcoin", "a wallet"),
    (".ethereum/keystore", "a wallet"),
    (".electrum", "a wallet"),
    (".config/solana", "a wallet"),
    // Clouds and clusters.
    (".aws", "credentials of a cloud"),
    (".azure", "credentials of a cloud"),
    (".config/gcloud", "credentials of a cloud"),
    (".config/doctl", "credentials of a cloud"),
    (".config/hcloud", "credentials of a cloud"),
    (".oci", "credentials of a cloud"),
    (".fly", "credentials of a cloud"),
    (".boto", "credentials of a cloud"),
    (".s3cfg", "credentials of a cloud"),
    (".config/rclone", "credentials of a cloud"),
    (".databrickscfg", "credentials of a cloud"),
    (".pulumi/credentials.json", "credentials of a cloud"),
    (".terraform.d/credentials.tfrc.json", "credentials of a cloud"),
    (".terraformrc", "credentials of a cloud"),
    (".vault-token", "a token of Vault"),
    (".kube", "credentials of a cluster"),
    (".docker/config.json", "credentials of a registry of images"),
    (".config/containers/auth.json", "credentials of a registry of images"),
    // Hosts of code and of packages.
    (".config/git/credentials", "credentials of git"),
    (".config/gh/hosts.yml", "credentials of GitHub"),
    (".config/hub", "credentials of GitHub"),
    (".config/glab-cli", "credentials of GitLab"),
    (".config/github-copilot", "credentials of an agent"),
    (".npmrc", "credentials of npm"),
    (".yarnrc.yml", "credentials of Yarn"),
    (".pypirc", "credentials of PyPI"),
    (".cargo/credentials", "credentials of Cargo"),
    (".cargo/credentials.toml", "credentials of Cargo"),
    (".gem/credentials", "credentials of RubyGems"),
    (".m2/settings.xml", "credentials of Maven"),
    (".m2/settings-security.xml", "credentials of Maven"),
    (".gradle/gradle.properties", "credentials of Gradle"),
    (".composer/auth.json", "credentials of Composer"),
    (".config/composer/auth.json", "credentials of Composer"),
    (".nuget/NuGet/NuGet.Config", "credentials of NuGet"),
    (".huggingface/token", "a token of Hugging Face"),
    (".cache/huggingface/token", "a token of Hugging Face"),
    // Agents.
    (".claude/.credentials.json", "credentials of an agent"),
    (".codex/auth.json", "credentials of an agent"),
    (".gemini/oauth_creds.json", "credentials of an agent"),
    (".qwen/oauth_creds.json", "credentials of an agent"),
    (".local/share/opencode/auth.json", "credentials of an agent"),
    // Databases and mail.
    (".my.cnf", "a password of a database"),
    (".mylogin.cnf", "a password of a database"),
    (".msmtprc", "a password of a mailbox"),
    (".mbsyncrc", "a password of a mailbox"),
    (".fetchmailrc", "a password of a mailbox"),
    (".thunderbird", "mail and its passwords"),
    // Browsers: passwords, cookies, what was visited.
    (".mozilla", "a browser's profile"),
    (".librewolf", "a browser's profile"),
    (".config/google-chrome", "a browser's profile"),
    (".config/google-chrome-beta", "a browser's profile"),
    (".config/chromium", "a browser's profile"),
    (".config/BraveSoftware", "a browser's profile"),
    (".config/microsoft-edge", "a browser's profile"),
    (".config/vivaldi", "a browser's profile"),
    (".config/opera", "a browser's profile"),
    (".var/app/org.mozilla.firefox", "a browser's profile"),
    (".var/app/com.google.Chrome", "a browser's profile"),
    ("snap/firefox", "a browser's profile"),
    ("snap/chromium", "a browser's profile"),
    ("Library/Application Support/Firefox", "a browser's profile"),
    ("Library/Application Support/Google/Chrome", "a browser's profile"),
    ("Library/Application Support/BraveSoftware", "a browser's profile"),
    ("Library/Safari", "a browser's profile"),
    ("Library/Cookies", "a browser's profile"),
    // What was typed.
    (".bash_history", "a history of commands"),
    (".zsh_history", "a history of commands"),
    (".zsh_sessions", "a history of commands"),
    (".histfile", "a history of commands"),
    (".history", "a history of commands"),
    (".sh_history", "a history of commands"),
    (".ksh_history", "a history of commands"),
    (".local/share/fish/fish_history", "a history of commands"),
    (".local/share/atuin", "a history of commands"),
    (".python_history", "a history of commands"),
    (".node_repl_history", "a history of commands"),
    (".irb_history", "a history of commands"),
    (".psql_history", "a history of commands"),
    (".mysql_history", "a history of commands"),
    (".sqlite_history", "a history of commands"),
    (".rediscli_history", "a history of commands"),
    (".viminfo", "a history of commands"),
];

/// What is no secret among them.
pub(crate) const PUBLIC_IN_HOME: &[&str] =
    &[".ssh/known_hosts", ".ssh/known_hosts.old", ".ssh/config", ".ssh/config.d"];

/// The end of the names of public keys, which lie beside the private ones.
pub(crate) const PUBLIC_KEY: &str = ".pub";

/// Places of the system, each with all that is below it: what the template `project` leaves out, and more.
const IN_SYSTEM: &[(&str, &str)] = &[
    ("/etc/shadow", "hashes of passwords"),
    ("/etc/shadow-", "hashes of passwords"),
    ("/etc/gshadow", "hashes of passwords"),
    ("/etc/gshadow-", "hashes of passwords"),
    ("/etc/master.passwd", "hashes of passwords"),
    ("/etc/security/opasswd", "hashes of passwords"),
    ("/etc/sudoers", "who may become another user"),
    ("/etc/sudoers.d", "who may become another user"),
    ("/etc/doas.conf", "who may become another user"),
    ("/etc/ssl/private", "private keys"),
    ("/etc/pki/tls/private", "private keys"),
    ("/etc/letsencrypt", "private keys"),
    ("/etc/wireguard", "keys of a tunnel"),
    ("/etc/openvpn", "keys of a tunnel"),
    ("/etc/ipsec.d", "keys of a tunnel"),
    ("/etc/ipsec.secrets", "keys of a tunnel"),
    ("/etc/NetworkManager/system-connections", "passwords of networks"),
    ("/etc/wpa_supplicant", "passwords of networks"),
    ("/etc/kubernetes", "credentials of a cluster"),
    ("/etc/rancher", "credentials of a cluster"),
    ("/etc/krb5.keytab", "keys of Kerberos"),
    ("/etc/machine-id", "what tells this machine from all others"),
    ("/run/secrets", "secrets of a container"),
    ("/var/run/secrets", "secrets of a container"),
    ("/proc/kcore", "the machine's memory"),
    ("/dev/mem", "the machine's memory"),
    ("/dev/kmem", "the machine's memory"),
    ("/dev/port", "the machine's memory"),
    ("/dev/mapper", "a whole disk"),
];

/// What the names of disks in `/dev` begin with.
const DISKS: [&str; 6] = ["sd", "nvme", "vd", "xvd", "dm-", "mmcblk"];

/// Names of files, in whatever directory; one `*` stands for anything.
pub(crate) const NAMES: &[(&str, &str)] = &[
    (".env", "an environment with secrets"),
    (".env.*", "an environment with secrets"),
    (".netrc", "passwords"),
    (".git-credentials", "credentials of git"),
    (".pgpass", "a password of a database"),
    ("id_rsa", "a private key"),
    ("id_dsa", "a private key"),
    ("id_ecdsa", "a private key"),
    ("id_ecdsa_sk", "a private key"),
    ("id_ed25519", "a private key"),
    ("id_ed25519_sk", "a private key"),
    ("ssh_host_*_key", "a private key"),
    ("key.pem", "a private key"),
    ("privkey*.pem", "a private key"),
    ("*-key.pem", "a private key"),
    ("*_key.pem", "a private key"),
    ("*.key", "a private key"),
    ("*.ppk", "a private key"),
    ("*.p12", "a store of keys"),
    ("*.pfx", "a store of keys"),
    ("*.jks", "a store of keys"),
    ("*.keystore", "a store of keys"),
    ("*.keytab", "a store of keys"),
    ("*.kdbx", "a store of passwords"),
];

/// What is no secret among them.
pub(crate) const PUBLIC_NAMES: &[&str] =
    &[".env.example", ".env.sample", ".env.template", ".env.dist", ".env.schema"];

/// Directories of the system's own files, which are the same everywhere: there a name says nothing. `/usr/local` is
/// not among them.
pub(crate) const COMMON: &[&str] = &[
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/sbin",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/libx32",
    "/usr/sbin",
    "/usr/share",
    "/usr/src",
];

/// What of another process shows its memory, its environment or where things lie in it (`proc(5)`).
const OF_PROCESS: &[&str] = &[
    "auxv",
    "environ",
    "maps",
    "mem",
    "numa_maps",
    "pagemap",
    "smaps",
    "smaps_rollup",
    "stack",
    "syscall",
    "cwd",
    "map_files",
    "root",
];

/// Says why what is at a path is a secret; nothing where it is none that is known.
///
/// The path is absolute with links resolved, and so is the user's home. Homes of other users below `/home`, `/Users`
/// and `/root` are looked at as well. The acting process' own folder in `/proc` is to be given as `/proc/self`, as
/// policies have it: only in another's are there secrets.
#[must_use]
pub fn secret(path: &str, home: Option<&str>) -> Option<&'static str> {
    let there = path.strip_suffix(" (deleted)").unwrap_or(path);
    let plain = normal(there);
    [path, there, &plain]
        .into_iter()
        .find_map(|path| by_place(path, home).or_else(|| by_process(path)).or_else(|| by_name(path, home)))
}

/// Says whether a directory is, has or lies in a place of secrets; names are not looked at.
pub(crate) fn touches_secrets(folder: &str, home: Option<&str>) -> bool {
    has_secrets(folder, home)
        || IN_SYSTEM.iter().any(|(place, _)| is_within(folder, place))
        || in_homes(folder, home).any(|rest| IN_HOME.iter().any(|(place, _)| is_within(rest, place)))
}

/// Says whether a directory is or has a place of secrets; names are not looked at.
pub(crate) fn has_secrets(folder: &str, home: Option<&str>) -> bool {
    homes(home).any(|home| is_within(home, folder))
        || IN_SYSTEM.iter().any(|(place, _)| is_within(place, folder))
        || in_homes(folder, home)
            .any(|rest| rest.is_empty() || IN_HOME.iter().any(|(place, _)| is_within(place, rest)))
}

/// Returns the directories where a name says nothing, for a user with this home.
pub(crate) fn common(home: Option<&str>) -> impl Iterator<Item = &'static str> {
    COMMON.iter().copied().filter(move |folder| home.is_none_or(|home| !is_within(home, folder)))
}

/// Returns the path of something below a directory.
pub(crate) fn below(folder: &str, rest: &str) -> String {
    format!("{}/{rest}", folder.trim_end_matches('/'))
}

/// Folders that homes are in or that are one.
fn homes(home: Option<&str>) -> impl Iterator<Item = &str> {
    home.into_iter().chain(["/root", "/home", "/Users"])
}

/// Returns what a path is below each of the homes that it may be in; empty for a home itself.
fn in_homes<'a>(path: &'a str, home: Option<&str>) -> impl Iterator<Item = &'a str> {
    let below = |folder: &str| {
        let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    };
    let own = home.and_then(below);
    let of_others = ["/home", "/Users"].into_iter().filter_map(below).filter(|rest| !rest.is_empty());
    let of_others: Vec<&str> =
        of_others.map(|rest| rest.split_once('/').map_or("", |(_, rest)| rest)).collect();
    own.into_iter().chain(below("/root")).chain(of_others)
}

fn by_place(path: &str, home: Option<&str>) -> Option<&'static str> {
    let is_public = |rest: &str| {
        PUBLIC_IN_HOME.iter().any(|public| is_within(rest, public))
            || (is_within(rest, ".ssh") && rest.ends_with(PUBLIC_KEY))
    };
    let of_home = in_homes(path, home)
        .filter(|rest| !is_public(rest))
        .find_map(|rest| IN_HOME.iter().find(|(place, _)| is_within(rest, place)).map(|(_, reason)| *reason));
    let of_system = || {
        let found = IN_SYSTEM.iter().find(|(place, _)| is_within(path, place));
        found.map(|(_, reason)| *reason)
    };
    let of_disk = || {
        let name = path.strip_prefix("/dev/")?;
        DISKS.iter().any(|disk| name.starts_with(disk)).then_some("a whole disk")
    };
    of_home.or_else(of_system).or_else(of_disk)
}

fn by_process(path: &str) -> Option<&'static str> {
    let (process, rest) = path.strip_prefix("/proc/")?.split_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(process) {
        return None;
    }
    let rest = match rest.strip_prefix("task/").and_then(|rest| rest.split_once('/')) {
        Some((thread, rest)) if is_number(thread) => rest,
        _ => rest,
    };
    let (first, more) = rest.split_once('/').map_or((rest, false), |(first, _)| (first, true));
    let shows = OF_PROCESS.contains(&first) || (first == "fd" && more);
    shows.then_some("the inside of another process")
}

fn by_name(path: &str, home: Option<&str>) -> Option<&'static str> {
    let name = name_of(path)?;
    if PUBLIC_NAMES.contains(&name) || common(home).any(|folder| is_within(path, folder)) {
        return None;
    }
    NAMES.iter().find(|(pattern, _)| fits(pattern, name)).map(|(_, reason)| *reason)
}

/// Says whether a name fits a pattern with at most one `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

/// Returns a path without `.`, `..` and empty parts: what it leads to where no link is on the way.
fn normal(path: &str) -> Cow<'_, str> {
    if is_normal(path) {
        return path.into();
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/")).into()
}

/// Says whether a path is as the kernel writes paths.
pub(crate) fn is_normal(path: &str) -> bool {
    path == "/"
        || path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Option<&str> = Some("/home/me");

    #[test]
    fn secrets_are_known_by_their_place() {
        for yes in [
            "/home/me/.ssh",
            "/home/me/.ssh/id_work",
            "/home/me/.ssh/authorized_keys",
            "/home/me/.ssh/known_hosts2",
            "/home/me/.gnupg/S.gpg-agent",
            "/home/me/.aws/config",
            "/home/me/.cargo/credentials.toml",
            "/home/me/.docker/config.json",
            "/home/me/.bash_history",
            "/home/me/.config/gcloud",
            "/home/other/.aws/credentials",
            "/root/.ssh/key",
            "/Users/x/Library/Keychains/login.keychain-db",
            "/etc/shadow",
            "/etc/ssl/private/x",
            "/run/secrets/token",
            "/proc/12/environ",
            "/proc/12/task/13/mem",
            "/proc/12/fd/3",
            "/proc/12/root/etc/passwd",
            "/proc/kcore",
            "/dev/sda1",
            "/p/../home/me/.ssh/x",
            "/home/me//.ssh/./x",
            "/home/me/.netrc (deleted)",
            "/p/.env.example (deleted)",
        ] {
            assert!(secret(yes, HOME).is_some(), "{yes}");
        }
        for no in [
            "/home/me",
            "/home/me/.sshx",
            "/home/me/p/.ssh/x",
            "/home/me/.ssh/known_hosts",
            "/home/me/.ssh/config",
            "/home/me/.ssh/config.d/work",
            "/home/me/.ssh/id_rsa.pub",
            "/home/me/.docker/contexts",
            "/home/me/.cargo/config.toml",
            "/home/me/.config/gh/config.yml",
            "/home/me/.gitconfig",
            "/etc/passwd",
            "/etc/shadow.txt",
            "/proc/self/environ",
            "/proc/12/status",
            "/proc/12/fd",
            "/proc/12",
            "/proc/sys/mem",
            "/dev/stdin",
            "/dev/shm/x",
            "/home/.ssh/x",
        ] {
            assert_eq!(secret(no, HOME), None, "{no}");
        }
    }

    #[test]
    fn secrets_are_known_by_their_name() {
        for yes in [
            "/p/.env",
            "/p/.env.local",
            "/.env",
            "/p/.env.example.local",
            "/p/id_rsa",
            "/p/tls.key",
            "/p/.key",
            "/p/privkey.pem",
            "/p/privkey1.pem",
            "/p/server-key.pem",
            "/p/server_key.pem",
            "/etc/ssh/ssh_host_rsa_key",
            "/usr/local/etc/x.key",
            "/home/me/x.kdbx",
        ] {
            assert!(secret(yes, HOME).is_some(), "{yes}");
        }
        for no in [
            "/p/.env.example",
            "/p/.env.sample",
            "/p/.env.template",
            "/p/.environment",
            "/p/env",
            "/p/.env/bin/python",
            "/p/id_rsa.pub",
            "/p/key",
            "/p/cert.pem",
            "/p/keys",
            "/usr/share/x/test.key",
            "/usr/lib/python3/test/key.pem",
            "/p/privkey.pe",
            "/",
        ] {
            assert_eq!(secret(no, HOME), None, "{no}");
        }
        // Where the home is among the system's own files, a name says something.
        assert!(secret("/usr/share/me/.env", Some("/usr/share/me")).is_some());
    }

    #[test]
    fn a_home_may_be_anywhere() {
        for home in ["/", "/me", "/opt/a b/me"] {
            let place = below(home, ".ssh/x");
            assert_eq!(secret(&place, Some(home)), Some("keys of SSH"), "{place}");
            assert!(touches_secrets(home, Some(home)));
            assert!(touches_secrets(&below(home, ".config"), Some(home)));
        }
        assert_eq!(secret("/opt/me/.ssh/x", None), None);
        assert!(secret("/home/me/.ssh/x", None).is_some());
    }

    #[test]
    fn directories_with_secrets_are_known() {
        for yes in [
            "/",
            "/home",
            "/home/me",
            "/home/other",
            "/home/me/.config",
            "/home/me/.config/gcloud",
            "/home/me/.ssh/config.d",
            "/home/me/.cargo",
            "/etc",
            "/etc/ssl",
            "/run",
            "/dev",
        ] {
            assert!(touches_secrets(yes, HOME), "{yes}");
        }
        assert!(has_secrets("/home/me/.config", HOME) && !has_secrets("/home/me/.ssh/config.d", HOME));
        for no in ["/home/me/p", "/home/me/.cargo/bin", "/home/me/.config/nvim", "/usr", "/etc/ssl/certs"] {
            assert!(!touches_secrets(no, HOME), "{no}");
        }
    }

    #[test]
    fn what_the_template_leaves_out_is_a_secret() {
        let text = include_str!("../templates/project.cedar");
        let (_, settings) = text.split_once("@id(\"settings\")").unwrap();
        let (settings, _) = settings.split_once("};").unwrap();
        let (_, left_out) = settings.split_once("unless").unwrap();
        let literals: Vec<&str> = left_out.split('"').skip(1).step_by(2).collect();
        assert!(literals.len() > 20);
        for literal in literals {
            let path = if literal.starts_with('/') {
                literal.to_owned()
            } else {
                format!("/etc/{}", literal.replace('*', "x"))
            };
            assert!(secret(&path, HOME).is_some(), "{path}");
        }
    }

    #[test]
    fn paths_are_made_normal() {
        assert_eq!(normal("/a/./b//c/../d/"), "/a/b/d");
        assert_eq!(normal("/../.."), "/");
        for fine in ["/", "/a", "/a/..b"] {
            assert!(is_normal(fine) && normal(fine) == fine);
        }
        for not in ["", "a", "/a/", "//a", "/a/.", "/a/../b"] {
            assert!(!is_normal(not), "{not}");
        }
    }
}
