//! What has power over things outside is reached where a policy names it.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::{PRELUDE, World};
use super::{ends_of, everybody, make_folder, run_with};
use crate::support::text;

/// Usual names of sockets, below a folder.
const SOCKETS: [&str; 9] = [
    "run/docker.sock",
    "run/systemd/private",
    "run/dbus/system_bus_socket",
    "tmux-1000/default",
    "ssh-XXXXabcd/agent.17",
    "me/.ssh/agent/s.abc.agent.def",
    "gnupg/S.gpg-agent",
    ".X11-unix/X0",
    "user/wayland-0",
];

const EVERYTHING: &str = "permit (principal, action, resource);";

#[test]
fn brokers_are_reached_only_where_a_policy_names_them() {
    for who in everybody() {
        let world = World::new(who);
        let outside = world.work().join("outside");
        let listeners: Vec<UnixListener> = SOCKETS
            .iter()
            .map(|name| {
                let path = outside.join(name);
                make_folder(&world, path.parent().unwrap());
                let listener = UnixListener::bind(&path).unwrap();
                world.give(&path);
                listener
            })
            .collect();
        let path = |name: &str| outside.join(name).to_str().unwrap().to_owned();
        let script = format!(
            "{PRELUDE}
for path in sys.argv[1:]:
    end(path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect, path)
"
        );
        let mut command = vec!["/usr/bin/python3", "-c", &script];
        let paths: Vec<String> = SOCKETS.iter().map(|name| path(name)).collect();
        command.extend(paths.iter().map(String::as_str));
        let ends = ends_of(&run_with(&world, "all", EVERYTHING, &[], &command));
        assert_eq!(ends.len(), SOCKETS.len(), "{who:?}: {ends:?}");
        assert!(ends.values().all(|end| end == "EACCES"), "{who:?}: {ends:?}");
        let entries = world.entries("all");
        for path in &paths {
            let of: Vec<_> = entries.iter().filter(|entry| entry["resource"]["unix"] == **path).collect();
            assert_eq!(of.len(), 1, "{who:?}: {path}");
            assert_eq!((&of[0]["decision"], &of[0]["policies"]), (&json!("deny"), &json!(["aegis:broker"])));
        }

        let docker = path(SOCKETS[0]);
        let named = format!(
            "{EVERYTHING} permit (principal, action == Aegis::Action::\"NetConnect\", resource == Aegis::Resource::\"unix:{docker}\");"
        );
        let ends = ends_of(&run_with(&world, "named", &named, &[], &command));
        for (name, end) in &ends {
            assert_eq!(end == "ok", *name == docker, "{who:?}: {name} {end}");
        }
        let entries = world.entries("named");
        let gaps: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "gap").collect();
        assert_eq!(gaps.len(), 1, "{who:?}: {gaps:?}");
        assert_eq!(gaps[0]["reason"], "left_tree", "{who:?}");
        assert!(gaps[0]["detail"].as_str().unwrap().contains("a container engine"), "{who:?}: {gaps:?}");
        drop(listeners);

        // What is asked beforehand is told the same.
        let asked = |name: &str| {
            let socket = format!("unix:{docker}");
            let check = ["policy", "check", name, "--action", "NetConnect", "--resource", &socket];
            text(&world.aegis(&check).output().unwrap())
        };
        let [denied, allowed] = [asked("all"), asked("named")];
        assert!(denied.contains("deny:") && denied.contains("aegis:broker"), "{who:?}: {denied}");
        assert!(allowed.contains("allow:"), "{who:?}: {allowed}");
    }
}

#[test]
fn what_the_session_serves_itself_is_no_broker() {
    for who in everybody() {
        let world = World::new(who);
        let script = format!(
            "{PRELUDE}
for name in ('docker.sock', 'tmux-0', '@' + os.getcwd() + '/docker.sock'):
    path = name if name[0] != '@' else '\\0' + name[1:]
    if name == 'tmux-0':
        os.mkdir(name)
        path = name + '/default'
    served = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    served.bind(path)
    served.listen()
    end(name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect, path)
"
        );
        let ends = ends_of(&run_with(&world, "own", EVERYTHING, &[], &["/usr/bin/python3", "-c", &script]));
        assert_eq!(ends.len(), 3, "{who:?}: {ends:?}");
        assert!(ends.values().all(|end| end == "ok"), "{who:?}: {ends:?}");
        let agent = ["ssh-agent", "ssh-add", "-l"];
        let shown = text(&run_with(&world, "own", EVERYTHING, &[], &agent));
        assert!(shown.contains("The agent has no identities."), "{who:?}: {shown}");
    }
}

#[test]
fn ports_of_brokers_are_named_by_number() {
    // Whoever has the port serves it just as well.
    let _listener = TcpListener::bind("127.0.0.1:2375");
    let script = format!("{PRELUDE}end('engine', socket.create_connection, ('127.0.0.1', 2375))");
    let command = ["/usr/bin/python3", "-c", script.as_str()];
    for who in everybody() {
        let world = World::new(who);
        let ends = ends_of(&run_with(&world, "all", EVERYTHING, &[], &command));
        assert_eq!(ends["engine"], "EACCES", "{who:?}");
        let named = format!(
            "{EVERYTHING} permit (principal, action == Aegis::Action::\"NetConnect\", resource) when {{ resource has port && resource.port == 2375 }};"
        );
        let ends = ends_of(&run_with(&world, "named", &named, &[], &command));
        assert_eq!(ends["engine"], "ok", "{who:?}");
    }
}
