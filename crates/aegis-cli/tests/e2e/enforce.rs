//! `aegis run`: what the policies do not permit does not happen, and what they permit happens as without.

mod brokers;
mod home;
mod live;
mod ways;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::{Who, World, everybody, on_path, text, until};

/// What a program of the system needs: its files, and what it reads of the system and of itself.
const SYSTEM: &str = r#"
@id("system")
permit (principal, action in [Aegis::Action::"Read", Aegis::Action::"ProcessSpawn"], resource)
when { resource in [Aegis::Resource::"/usr", Aegis::Resource::"/lib", Aegis::Resource::"/lib64", Aegis::Resource::"/bin"] };
@id("reads")
permit (principal, action in Aegis::Action::"Read", resource)
when { resource in [Aegis::Resource::"/etc", Aegis::Resource::"/proc/self", Aegis::Resource::"/dev/null"] };
@id("exits")
permit (principal, action == Aegis::Action::"ProcessExit", resource);
"#;

/// Begins a program that says as JSON how its calls ended.
const PRELUDE: &str = "
import errno, json, os, socket, sys
ends = {}
def end(label, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except OSError as error:
        ends[label] = errno.errorcode[error.errno]
    else:
        ends[label] = 'ok'
def put(path, text='text'):
    with open(path, 'w') as file:
        file.write(text)
def get(path):
    with open(path) as file:
        return file.read()
import atexit
atexit.register(lambda: print(json.dumps(ends)))
";

/// Permits everything in the world's working directory, under the id `work`.
fn work(world: &World) -> String {
    format!(
        "@id(\"work\")\npermit (principal, action, resource in Aegis::Resource::\"{}\");\n{SYSTEM}",
        world.work().display()
    )
}

/// Writes a file as the world's user.
fn write(world: &World, path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    world.give(path);
}

fn make_folder(world: &World, path: &Path) {
    std::fs::create_dir_all(path).unwrap();
    world.give(path);
}

/// Runs a command under a name with policies of its own.
fn run_with(world: &World, name: &str, policies: &str, options: &[&str], command: &[&str]) -> Output {
    let file = world.path(&format!("{name}.cedar"));
    write(world, &file, policies);
    let arguments = ["run", "--quiet", "--config", name, "--policy", file.to_str().unwrap()];
    world.aegis(&arguments).args(options).arg("--").args(command).output().unwrap()
}

/// Runs a Python program that says how its calls ended.
fn ends_with(
    world: &World,
    name: &str,
    policies: &str,
    options: &[&str],
    script: &str,
) -> BTreeMap<String, String> {
    let script = format!("{PRELUDE}{script}");
    let output = run_with(world, name, policies, options, &["/usr/bin/python3", "-c", &script]);
    ends_of(&output)
}

fn ends_of(output: &Output) -> BTreeMap<String, String> {
    assert!(output.status.success(), "{}", text(output));
    let ends = serde_json::from_slice(&output.stdout);
    assert!(ends.is_ok(), "{}", text(output));
    ends.unwrap()
}

/// Says for each pair which is not as it should be.
fn expect(who: Who, ends: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    let unlike: Vec<_> = expected
        .iter()
        .filter(|(label, end)| ends.get(*label).map(String::as_str) != Some(end))
        .map(|(label, end)| format!("{label}: {:?}, not {end}", ends.get(*label)))
        .collect();
    assert!(unlike.is_empty(), "{who:?}: {unlike:#?}");
}

#[test]
fn what_is_denied_fails_and_stands_in_the_ledger() {
    for who in everybody() {
        let world = World::new(who);
        let policies = format!(
            r#"{}
@id("glob") forbid (principal, action, resource) when {{ resource has name && resource.name like "secret*" }};
@id("extension") forbid (principal, action, resource) when {{ resource has extension && resource.extension == "pem" }};
@id("exact") forbid (principal, action, resource == Aegis::Resource::"{work}/exact");
@id("nested") forbid (principal, action, resource in Aegis::Resource::"{work}/dir/private");
"#,
            work(&world),
            work = world.work().display()
        );
        make_folder(&world, &world.work().join("dir"));
        make_folder(&world, &world.work().join("dir/private"));
        make_folder(&world, &world.path("outside"));
        let forbidden = [
            ("secret-1", "glob"),
            ("key.pem", "extension"),
            ("exact", "exact"),
            ("dir/private/file", "nested"),
            ("../outside/file", ""),
        ];
        for (path, _) in forbidden {
            write(&world, &world.work().join(path), "text");
        }
        write(&world, &world.work().join("dir/plain"), "text");
        let script = "
paths = ['secret-1', 'key.pem', 'exact', 'dir/private/file', '../outside/file']
for path in paths:
    end(path + ' read', open, path)
    end(path + ' write', open, path, 'r+')
    end(path + ' empty', os.open, path, os.O_WRONLY | os.O_TRUNC)
    end(path + ' unlink', os.unlink, path)
    end(path + ' chmod', os.chmod, path, 0o600)
    end(path + ' truncate', os.truncate, path, 0)
    end(path + ' rename', os.rename, path, 'taken')
    end(path + ' link', os.link, path, 'linked')
    end(path + ' over', os.rename, 'dir/plain', path)
    end(path + ' exec', os.execv, path, ['x'])
    os.symlink(os.path.abspath(path), 'a-link')
    end(path + ' by link', open, 'a-link')
    end(path + ' by procfs', open, '/proc/self/root' + os.path.abspath(path))
    end(path + ' by descriptor', os.open, path, os.O_RDONLY, dir_fd=os.open('.', os.O_PATH))
    os.unlink('a-link')
end('list', os.listdir, 'dir/private')
end('make', os.mkdir, 'dir/private/new')
end('plain', open, 'dir/plain', 'r+')";
        let ends = ends_with(&world, "denied", &policies, &[], script);
        // What is in no place that a policy names is not there where the agent has a view of its own.
        let is_denied =
            |label: &str, end: &str| end == "EACCES" || (label.starts_with("..") && end == "ENOENT");
        let wrong: Vec<_> =
            ends.iter().filter(|(label, end)| *label != "plain" && !is_denied(label, end)).collect();
        assert!(wrong.is_empty(), "{who:?}: {wrong:?}");
        assert_eq!(ends["plain"], "ok");
        let entries = world.entries("denied");
        let plain = on_path(&entries, "FileWrite", &world.work().join("dir/plain"));
        let pid = &plain[0]["process"]["pid"];
        for (path, id) in forbidden {
            let full = world.work().join(path);
            assert_eq!(std::fs::read_to_string(&full).unwrap(), "text", "{who:?} {path}");
            let full = full.canonicalize().unwrap();
            let policies: Vec<String> = if id.is_empty() { vec![] } else { vec![format!("denied:{id}")] };
            for (action, calls) in [("FileRead", 4), ("FileWrite", 5), ("FileDelete", 2), ("ProcessSpawn", 1)]
            {
                let found = on_path(&entries, action, &full);
                assert!(found.len() >= calls || id.is_empty(), "{who:?} {path} {action}: {found:?}");
                for entry in found {
                    assert_eq!(entry["decision"], "deny", "{who:?}: {entry}");
                    let outcome = entry["outcome"].as_str().unwrap();
                    assert!(
                        outcome == "EACCES" || (id.is_empty() && outcome == "missing"),
                        "{who:?}: {entry}"
                    );
                    assert_eq!(entry["policies"], serde_json::json!(policies), "{who:?}: {entry}");
                    assert_eq!(&entry["process"]["pid"], pid, "{who:?}: {entry}");
                    assert!(entry["process"]["exe"].as_str().unwrap().contains("python"), "{who:?}: {entry}");
                    let assured = if action == "ProcessSpawn" { "mediated" } else { "enforced" };
                    assert_eq!(entry["assurance"], assured, "{who:?}: {entry}");
                }
            }
        }
        assert!(
            plain.iter().any(|entry| {
                entry["decision"] == "allow"
                    && entry["outcome"] == "ok"
                    && entry["policies"] == serde_json::json!(["denied:work"])
            }),
            "{who:?}: {plain:?}"
        );
        assert_eq!(world.verdict("denied").0, 0);
    }
}

#[test]
fn what_is_permitted_stands_in_the_ledger_as_it_ended() {
    for who in everybody() {
        let world = World::new(who);
        let script = "
put('there'), os.mkdir('dir'), put('dir/in'), os.symlink('loop', 'loop')
end('missing', open, 'missing')
end('mkdir', os.mkdir, 'dir')
end('exclusive', os.open, 'there', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
end('below', open, 'there/x')
end('directory', open, 'dir', 'w')
end('loop', open, 'loop')
end('full', os.rmdir, 'dir')
end('rename', os.rename, 'there', 'moved')
end('rename over', os.rename, 'moved', 'dir')
end('replace', os.rename, 'dir', 'moved')
end('unlink', os.unlink, 'moved')
end('gone', os.unlink, 'moved')";
        let ends = ends_with(&world, "ends", &work(&world), &[], script);
        expect(
            who,
            &ends,
            &[
                ("missing", "ENOENT"),
                ("mkdir", "EEXIST"),
                ("exclusive", "EEXIST"),
                ("below", "ENOTDIR"),
                ("directory", "EISDIR"),
                ("loop", "ELOOP"),
                ("full", "ENOTEMPTY"),
                ("rename", "ok"),
                ("rename over", "EISDIR"),
                ("replace", "ENOTDIR"),
                ("unlink", "ok"),
                ("gone", "ENOENT"),
            ],
        );
        let entries = world.entries("ends");
        let outcomes = |action: &str, name: &str| -> Vec<String> {
            let found = on_path(&entries, action, &world.work().join(name));
            // What fails by itself is decided on by nobody.
            for entry in &found {
                assert!(entry["decision"] == "allow" || entry["decision"] == "observed", "{entry}");
            }
            found.iter().map(|entry| entry["outcome"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(outcomes("FileRead", "missing"), ["missing"]);
        assert_eq!(outcomes("DirCreate", "dir"), ["ok", "EEXIST"]);
        assert_eq!(outcomes("FileWrite", "there"), ["ok", "EEXIST"]);
        assert_eq!(outcomes("FileWrite", "dir"), ["EISDIR", "EISDIR"]);
        assert_eq!(outcomes("FileDelete", "dir"), ["ENOTEMPTY", "ENOTDIR"]);
        assert_eq!(outcomes("FileDelete", "moved"), ["EISDIR", "ok", "missing"]);
        let unread = |outcome: &str| {
            entries.iter().any(|entry| entry["outcome"] == outcome && entry["resource"]["unread"].is_string())
        };
        assert!(unread("ENOTDIR") && unread("ELOOP"));
        // Both halves of a rename are one operation.
        let moved: Vec<&Value> =
            entries.iter().filter(|entry| entry["call"] == "rename" && entry["outcome"] == "ok").collect();
        assert_eq!(moved.len(), 2, "{moved:?}");
        assert!(moved[0]["operation"].is_u64() && moved[0]["operation"] == moved[1]["operation"]);
        assert_eq!((&moved[0]["action"], &moved[1]["action"]), (&"FileDelete".into(), &"FileWrite".into()));
    }
}

#[test]
fn calls_end_as_without() {
    for who in everybody() {
        let world = World::new(who);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/enforce/calls.py");
        std::fs::copy(script, world.path("calls.py")).unwrap();
        let ends = |confined: bool| {
            let folder = world.work().join(if confined { "run" } else { "plain" }).join("same");
            make_folder(&world, folder.parent().unwrap());
            make_folder(&world, &folder);
            let mut command = if confined {
                world.aegis(&["run", "--quiet", "--config", "calls", "--policy", "permit-all", "--", "sh"])
            } else {
                world.command("sh")
            };
            let out = folder.with_extension("out");
            command.args(["-c", "OUT=$0 exec /usr/bin/python3 $1"]).arg(out).arg(world.path("calls.py"));
            ends_of(&command.current_dir(folder).output().unwrap())
        };
        let (plain, confined) = (ends(false), ends(true));
        assert!(plain.len() > 1_300, "{}", plain.len());
        let unlike: Vec<_> = plain
            .iter()
            .filter(|(label, end)| confined.get(*label) != Some(end))
            // openat2(2) with rules finds nothing of a process' own in procfs, and says so otherwise.
            .filter(|(label, _)| !label.starts_with("openat2 magic /proc/self/"))
            .map(|(label, end)| format!("{label}: {end}, in `run` {:?}", confined.get(label)))
            .collect();
        assert!(unlike.is_empty(), "{who:?}: {unlike:#?}");
    }
}

#[test]
fn a_directory_above_a_forbidden_name_stays_where_it_is() {
    for who in everybody() {
        let world = World::new(who);
        let policies = format!(
            "{}@id(\"private\") forbid (principal, action, resource in Aegis::Resource::\"{}/a/b/private\");",
            work(&world),
            world.work().display()
        );
        for folder in ["a", "a/b", "a/b/private", "free"] {
            make_folder(&world, &world.work().join(folder));
        }
        let script = "
end('parent', os.rename, 'a/b', 'c')
end('above', os.rename, 'a', 'c')
end('itself', os.rename, 'a/b/private', 'c')
end('onto', os.rename, 'free', 'a/b/private')
end('free', os.rename, 'free', 'c')
end('onto parent', os.rename, 'c', 'a/b')
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def exchange(a, b):
    if libc.renameat2(-100, a, -100, b, 2):
        raise OSError(ctypes.get_errno(), 'renameat2')
end('exchange', exchange, b'a/b', b'c')
end('exchange back', exchange, b'c', b'a/b')";
        let ends = ends_with(&world, "pinned", &policies, &[], script);
        for label in ["parent", "above", "itself", "onto", "onto parent", "exchange", "exchange back"] {
            assert_eq!(ends[label], "EACCES", "{who:?} {label}");
        }
        assert_eq!(ends["free"], "ok");
        let entries = world.entries("pinned");
        let moved = on_path(&entries, "FileDelete", &world.work().join("a"));
        assert_eq!(moved.len(), 1);
        assert_eq!(moved[0]["policies"], serde_json::json!(["aegis:pinned"]));
        assert_eq!((&moved[0]["decision"], &moved[0]["outcome"]), (&"deny".into(), &"EACCES".into()));
    }
}

#[test]
fn no_policy_permits_nothing() {
    for who in everybody() {
        let world = World::new(who);
        let output = run_with(&world, "none", "// Nothing.\n", &[], &["/usr/bin/true"]);
        // What no policy names is not there where the agent has a view of its own.
        assert!(matches!(output.status.code(), Some(126 | 127)), "{who:?}: {}", text(&output));
        let output = run_with(&world, "system", SYSTEM, &[], &["sh", "-c", ": > made"]);
        assert!(
            !output.status.success() && !world.work().join("made").exists(),
            "{who:?}: {}",
            text(&output)
        );
        let entries = world.entries("system");
        let made = on_path(&entries, "FileWrite", &world.work().join("made"));
        assert_eq!(made.len(), 1);
        assert_eq!((&made[0]["decision"], &made[0]["policies"]), (&"deny".into(), &serde_json::json!([])));
    }
}

#[test]
fn a_dry_run_denies_nothing_and_says_what_would_be() {
    for who in everybody() {
        let world = World::new(who);
        let output =
            run_with(&world, "dry", SYSTEM, &["--dry-run"], &["sh", "-c", "echo x > made; cat made; env"]);
        let shown = text(&output);
        assert!(output.status.success() && world.work().join("made").exists(), "{who:?}: {shown}");
        assert!(shown.contains("TMPDIR=") && shown.contains("/aegis-"), "{who:?}: {shown}");
        let entries = world.entries("dry");
        let made = on_path(&entries, "FileWrite", &world.work().join("made"));
        assert_eq!(made.len(), 1);
        assert_eq!((&made[0]["decision"], &made[0]["would"]), (&"observed".into(), &"deny".into()));
        assert!(entries.iter().all(|entry| entry["decision"] != "deny" && entry["decision"] != "allow"));
    }
}

#[test]
fn flags_in_memory_are_read_once() {
    for who in everybody() {
        let world = World::new(who);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/hostile/how.c");
        let program = world.work().join("how");
        let built = std::process::Command::new("cc")
            .args(["-O1", "-pthread", "-o"])
            .args([&program, &source])
            .output();
        assert!(built.as_ref().unwrap().status.success(), "{}", text(&built.unwrap()));
        let secret = world.work().join("secret.pem");
        write(&world, &secret, "secret");
        write(&world, &world.work().join("plain"), "plain");
        let policies = format!(
            "{}@id(\"pem\") forbid (principal, action, resource) when {{ resource has extension && resource.extension == \"pem\" }};",
            work(&world)
        );
        let count = |file: &str| -> Vec<u64> {
            let output = run_with(&world, "how", &policies, &[], &["./how", file]);
            assert!(output.status.success(), "{who:?}: {}", text(&output));
            let line = String::from_utf8(output.stdout).unwrap();
            line.split_whitespace().map(|word| word.parse().unwrap()).collect()
        };
        // How often it was read, and not.
        let [permitted, forbidden] = [count("plain"), count("secret.pem")];
        assert!(permitted[0] > 100 && permitted[1] > 100, "{who:?}: {permitted:?}");
        assert_eq!(forbidden[0], 0, "{who:?}: {forbidden:?}");
    }
}
