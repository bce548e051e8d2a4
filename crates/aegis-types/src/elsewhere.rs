//! Sockets of programs that run work for others: what is asked of them happens outside the observed tree.
//!
//! They are known by their usual names. One that is not known is a socket like any other: a policy has to permit it, and
//! may do so without naming it.

/// The id that stands among policies for this: one permits a connection to such a place without naming it, so it is
/// denied.
pub const UNNAMED: &str = "aegis:broker";

/// A place where work can be handed to, by the end or the beginning of a socket's path.
const SOCKETS: [(&str, &str); 22] = [
    ("/docker.sock", "a container engine"),
    ("/podman.sock", "a container engine"),
    ("/containerd.sock", "a container engine"),
    ("/crio.sock", "a container engine"),
    ("/buildkitd.sock", "a container engine"),
    ("/system_bus_socket", "the system's message bus"),
    ("/systemd/private", "the service manager"),
    ("/systemd/notify", "the service manager"),
    ("/io.systemd.Manager", "the service manager"),
    ("/io.systemd.Machine", "the machine manager"),
    ("/initctl/fifo", "the service manager"),
    ("/libvirt-sock", "a machine manager"),
    ("/lxd/unix.socket", "a container engine"),
    ("/incus/unix.socket", "a container engine"),
    ("/snapd.socket", "the package manager"),
    ("/packagekitd", "the package manager"),
    ("/nix/var/nix/daemon-socket/socket", "the build daemon"),
    ("/cups/cups.sock", "the print server"),
    ("/gpg-agent.extra", "the key agent"),
    ("/watchman/sock", "a file watcher that runs commands"),
    ("/bazel/server.socket", "a build daemon"),
    ("/control.sock", "a control socket"),
];

/// Parts of paths that name such a socket wherever they stand.
const PARTS: [(&str, &str); 11] = [
    ("/tmux-", "a terminal server"),
    ("/screen/S-", "a terminal server"),
    ("/zellij/", "a terminal server"),
    ("/kitty-", "a terminal"),
    ("/wezterm/", "a terminal server"),
    ("/codex-daemon-", "an agent's own daemon"),
    ("/app-server-daemon", "an agent's own daemon"),
    ("/.cline/", "an agent's own daemon"),
    ("/emacs", "an editor that runs commands"),
    ("/vscode-ipc-", "an editor that runs commands"),
    ("/dbus-", "a message bus"),
];

/// Local ports on which a daemon takes work, with what it is.
const PORTS: [(u16, &str); 3] =
    [(2375, "a container engine"), (2376, "a container engine"), (25463, "an agent's own daemon")];

/// Says who listens on a Unix socket, if it is known to run work for others.
#[must_use]
pub fn on_socket(path: &[u8]) -> Option<&'static str> {
    let path = String::from_utf8_lossy(path);
    let by_end = SOCKETS.iter().find(|(end, _)| path.ends_with(end)).map(|(_, who)| *who);
    let user_bus = || {
        // /run/user/UID/bus: on it the user's service manager takes orders.
        let rest = path.strip_prefix("/run/user/")?;
        rest.ends_with("/bus").then_some("the user's message bus")
    };
    by_end
        .or_else(user_bus)
        .or_else(|| PARTS.iter().find(|(part, _)| path.contains(part)).map(|(_, who)| *who))
}

/// Parts of names of sockets by which keys are used, or a screen and keyboard are shared with others.
const POWERS: [(&str, &str); 8] = [
    ("/agent.", "a key agent"),
    // Key agents, and connections of the user's to other machines (`ControlPath` of ssh_config(5)).
    ("/.ssh/", "what the user has open by SSH"),
    ("/S.gpg-agent", "a key agent"),
    ("/keyring/", "a key agent"),
    (".X11-unix/", "the screen and keyboard of the user"),
    ("/wayland-", "the screen and keyboard of the user"),
    ("/pulse/native", "the sound of the user"),
    ("/pipewire-", "the sound and the screen of the user"),
];

/// Says what a Unix socket gives power over, if it is known to: it runs work for others, uses keys, or shares a screen.
#[must_use]
pub fn power_of(name: &str) -> Option<&'static str> {
    let power = || POWERS.iter().find(|(part, _)| name.contains(part)).map(|(_, what)| *what);
    on_socket(name.as_bytes()).or_else(power)
}

/// Tells of a program that is asked to run work, at this place.
#[must_use]
pub fn told(who: &str, place: &str) -> String {
    format!("{who} is asked ({place}): what it then does is not observed")
}

/// Says who listens on a local port, if it is known to run work for others.
#[must_use]
pub fn on_port(address: std::net::IpAddr, port: u16) -> Option<&'static str> {
    if !address.is_loopback() {
        return None;
    }
    PORTS.iter().find(|(known, _)| *known == port).map(|(_, who)| *who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_places_are_named() {
        for (path, known) in [
            ("/var/run/docker.sock", true),
            ("/run/user/1000/bus", true),
            ("/tmp/tmux-1000/default", true),
            ("/run/systemd/private", true),
            ("/tmp/my.sock", false),
            ("/run/nscd/socket", false),
            ("@/tmp/.X11-unix/X0", false),
            ("@/tmp/dbus-1a2b3c", true),
            ("/run/user/1000/vscode-ipc-1.sock", true),
        ] {
            assert_eq!(on_socket(path.as_bytes()).is_some(), known, "{path}");
        }
        assert_eq!(power_of("/tmp/ssh-x/agent.12"), Some("a key agent"));
        for name in [
            "/run/user/1000/wayland-0",
            "/home/me/.ssh/agent/s.x.agent.y",
            "/run/user/1000/gnupg/S.gpg-agent.ssh",
            "/run/user/1000/keyring/ssh",
            "/run/user/1000/pipewire-0",
            "/run/user/1000/systemd/private",
        ] {
            assert!(power_of(name).is_some(), "{name}");
        }
        assert!(power_of("@/tmp/.X11-unix/X0").is_some() && power_of("/tmp/my.sock").is_none());
        assert!(on_port([127, 0, 0, 1].into(), 2375).is_some());
        assert!(on_port([10, 0, 0, 1].into(), 2375).is_none());
    }
}
