//! What is Aegis' own is out of reach, whatever the policies permit.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::{PRELUDE, World};
use super::{ends_of, everybody, make_folder, write};

/// All that is below a folder, but for the sandbox of a configuration.
fn all_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("sandbox") {
            continue;
        }
        if path.is_dir() {
            all_below(&path, found);
        }
        found.push(path);
    }
}

#[test]
fn the_home_is_out_of_reach() {
    for who in everybody() {
        let world = World::new(who);
        world.stdout(&["init", "all", "--policy", "permit-all", "--dir", world.work().to_str().unwrap()]);
        let run = |script: &str, arguments: &[&Path]| {
            let script = format!("{PRELUDE}{script}");
            let mut command =
                world.aegis(&["run", "--quiet", "--config", "all", "--", "/usr/bin/python3", "-c"]);
            ends_of(&command.arg(script).args(arguments).output().unwrap())
        };
        // A ledger, with keys, a spool's folder and all else that a session leaves.
        run("", &[]);
        let _listener = UnixListener::bind(world.home().join("socket")).unwrap();
        world.give(&world.home().join("socket"));
        std::os::unix::fs::symlink(world.home(), world.work().join("link")).unwrap();
        let mut paths = vec![world.home()];
        all_below(&world.home(), &mut paths);
        let names: Vec<&str> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        for name in ["all", "audit.db", "aegis.toml", "policies", "socket"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let script = "
home, world = sys.argv[1], os.path.dirname(sys.argv[1])
def unix():
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
os.mkdir('free'), put('mine')
for number, path in enumerate(sys.argv[1:]):
    below = path[len(home):]
    for way in (path, '/proc/self/root' + path, '/proc/self/cwd/../home' + below, os.path.abspath('link') + below,
                world + '/work/../home' + below):
        label = str(number) + ' ' + way + ' '
        end(label + 'read', os.open, way, os.O_RDONLY)
        end(label + 'write', os.open, way, os.O_WRONLY)
        end(label + 'empty', os.open, way, os.O_WRONLY | os.O_TRUNC)
        end(label + 'both', os.open, way, os.O_RDWR | os.O_CREAT)
        end(label + 'list', os.listdir, way)
        end(label + 'chmod', os.chmod, way, 0o777)
        end(label + 'chown', os.chown, way, os.getuid(), os.getgid())
        end(label + 'utime', os.utime, way)
        end(label + 'truncate', os.truncate, way, 0)
        end(label + 'make', os.open, way + '/new', os.O_CREAT | os.O_WRONLY)
        end(label + 'mkdir', os.mkdir, way + '/new')
        end(label + 'symlink', os.symlink, 'x', way + '/new')
        end(label + 'link in', os.link, 'mine', way + '/new')
        end(label + 'bind', unix().bind, os.path.relpath(way) + '/new' if len(way) < 90 else '/proc/self/root' + home)
        end(label + 'connect', lambda: unix().connect('/proc/self/fd/%d' % os.open(way, os.O_PATH)))
        end(label + 'execute', os.execv, way, ['x'])
        if way != os.path.abspath('link'):
            end(label + 'link', os.link, way, 'linked')
            end(label + 'unlink', os.unlink, way)
            end(label + 'rmdir', os.rmdir, way)
            end(label + 'rename', os.rename, way, 'taken')
            end(label + 'rename over', os.rename, 'mine', way)
            end(label + 'rename folder over', os.rename, 'free', way)
end('rename parent', os.rename, world, world + '-moved')
end('sandbox', put, os.environ['XDG_CACHE_HOME'] + '/x')
end('elsewhere', put, world + '/user/x')
";
        let arguments: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let content = |path: &PathBuf| std::fs::read(path).unwrap_or_default();
        let before: Vec<Vec<u8>> = paths.iter().map(content).collect();
        let mut ends = run(script, &arguments);
        assert_eq!(ends.remove("sandbox").unwrap(), "ok");
        assert_eq!(ends.remove("elsewhere").unwrap(), "ok");
        assert_eq!(ends.remove("rename parent").unwrap(), "EACCES", "{who:?}");
        assert!(ends.len() > 1_000, "{}", ends.len());
        // What fails by itself tells nothing but what stat(2) tells.
        let by_itself =
            ["ENOTDIR", "EISDIR", "EEXIST", "EPERM", "ENOTEMPTY", "EADDRINUSE", "EINVAL", "ENOENT"];
        let reached: Vec<_> =
            ends.iter().filter(|(_, end)| *end != "EACCES" && !by_itself.contains(&end.as_str())).collect();
        assert!(reached.is_empty(), "{who:?}: {reached:#?}");
        let denied = ends.values().filter(|end| *end == "EACCES").count();
        assert!(denied * 2 > ends.len(), "{denied} of {}", ends.len());
        for (path, before) in paths.iter().zip(before) {
            assert!(path.exists(), "{who:?}: {path:?}");
            // Each session changes the ledger and the keys.
            let is_plain =
                path.extension().is_some_and(|extension| extension == "cedar" || extension == "toml");
            assert!(!is_plain || content(path) == before, "{who:?}: {path:?}");
        }
        assert_eq!(world.verdict("all").0, 0);
        let entries = world.entries("all");
        let by_home = entries.iter().filter(|entry| entry["policies"] == serde_json::json!(["aegis:home"]));
        assert!(by_home.count() > 100);
    }
}

#[test]
fn policies_elsewhere_are_read_and_not_written() {
    for who in everybody() {
        let world = World::new(who);
        world.stdout(&["init", "all", "--policy", "permit-all", "--dir", world.work().to_str().unwrap()]);
        let folder = world.path("elsewhere");
        make_folder(&world, &folder);
        write(&world, &folder.join("all.cedar"), "permit (principal, action, resource);\n");
        let settings = world.home().join("all/aegis.toml");
        let text = std::fs::read_to_string(&settings).unwrap();
        let line = format!("policy_paths = [\"{}\"]", folder.display());
        let changed = text.replace("# policy_paths = [\"policies\"]", &line);
        assert_ne!(text, changed);
        std::fs::write(&settings, changed).unwrap();
        let script = format!(
            "{PRELUDE}
folder = sys.argv[1]
file = folder + '/all.cedar'
os.symlink(folder, 'link')
put('mine')
end('read', open, file)
end('list', os.listdir, folder)
for way in (folder, '/proc/self/root' + folder, os.path.abspath('link')):
    file = way + '/all.cedar'
    end(way + ' write', open, file, 'r+')
    end(way + ' empty', os.open, file, os.O_WRONLY | os.O_TRUNC)
    end(way + ' unlink', os.unlink, file)
    end(way + ' rename', os.rename, file, 'taken')
    end(way + ' over', os.rename, 'mine', file)
    end(way + ' chmod', os.chmod, file, 0o666)
    end(way + ' link', os.link, file, 'linked')
    end(way + ' make', put, way + '/more.cedar')
    end(way + ' chmod folder', os.chmod, way, 0o777)
    if way != os.path.abspath('link'):
        end(way + ' rename folder', os.rename, way, way + '-moved')
end('rename parent', os.rename, os.path.dirname(folder), os.path.dirname(folder) + '-moved')
"
        );
        let mut command = world.aegis(&["run", "--quiet", "--config", "all", "--", "/usr/bin/python3", "-c"]);
        let mut ends = ends_of(&command.arg(script).arg(&folder).output().unwrap());
        assert_eq!(ends.remove("read").unwrap(), "ok");
        assert_eq!(ends.remove("list").unwrap(), "ok");
        let reached: Vec<_> = ends.iter().filter(|(_, end)| *end != "EACCES").collect();
        assert!(reached.is_empty() && ends.len() > 25, "{who:?}: {reached:#?}");
        let entries = world.entries("all");
        assert!(entries.iter().any(|entry| entry["policies"] == serde_json::json!(["aegis:policies"])));
    }
}
