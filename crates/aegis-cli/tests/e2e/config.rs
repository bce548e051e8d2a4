//! Settings through the binary: shown, edited, described; and files that are none.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Who, World, everybody, text};

const FULL: &str = include_str!("../fixtures/aegis.toml");

/// A world with a configuration of these settings.
fn world(name: &str, settings: &str) -> World {
    let world = World::new(Who::Me);
    let folder = world.home().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for path in [world.home(), folder.clone()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    std::fs::write(folder.join("aegis.toml"), settings).unwrap();
    world
}

fn file(world: &World, name: &str) -> PathBuf {
    world.home().join(name).join("aegis.toml")
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Edits a configuration by a script, to which the copy is `$1`.
fn edit(world: &World, name: &str, script: &str) -> Output {
    let editor = world.path("editor");
    std::fs::write(&editor, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.aegis(&["config", "edit", name]).env("EDITOR", editor).output().unwrap()
}

/// The copies that an edit left.
fn copies(world: &World, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.home().join(name)).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("aegis.edit-"))
        .collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn settings_are_shown_with_where_they_come_from() {
    let world = world("my-agent", FULL);
    std::fs::write(world.home().join("config.toml"), "\n[[anchors]]\nfile = \"/a\"\n").unwrap();
    let shown = world.stdout(&["config", "show", "my-agent"]);
    let path = file(&world, "my-agent");
    for (setting, value, from) in [
        ("name", "my-agent", "my-agent/aegis.toml:1"),
        ("pilot.stall.timeout_secs", "120", "my-agent/aegis.toml:14"),
        ("pilot.uncertain", "ask", "default"),
        ("channel.bot_token", "(set)", "my-agent/aegis.toml:29"),
        ("alerts[0].webhook_url", "https://hooks.slack.com/(set)", "my-agent/aegis.toml:25"),
        ("anchors[0].file", "/a", "config.toml:3"),
    ] {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(setting));
        let line = line.unwrap_or_else(|| panic!("{setting} is not in {shown}"));
        assert!(line.contains(value) && line.contains(from), "{line}");
        assert_eq!(line.ends_with("not used yet"), !["name", "anchors[0].file"].contains(&setting), "{line}");
    }
    assert!(!shown.contains("ABC-DEF") && !shown.contains("services"), "{shown}");
    if cfg!(target_os = "linux") {
        for line in [
            "isolation: `Seatbelt` is of macOS; on Linux, `Landlock` takes its place",
            "observer: `FsEvents` is of macOS; on Linux, `Seccomp` takes its place",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{shown}");
        }
    }
    let json: Value = serde_json::from_str(&world.stdout(&["config", "show", "my-agent", "--json"])).unwrap();
    assert_eq!(
        json["pilot.stall.timeout_secs"],
        serde_json::json!({ "value": 120, "from": path, "line": 14, "used": false })
    );
    assert_eq!(
        json["pilot.dry_run"],
        serde_json::json!({ "value": false, "from": "default", "used": false })
    );
    assert!(!json.to_string().contains("ABC-DEF"));
}

#[test]
fn an_edit_that_is_valid_is_taken_over() {
    for who in everybody() {
        let world = World::new(who);
        assert!(world.wrap("x", &["true"]).status.success());
        let script = "test \"$(stat -c %a \"$1\")\" = 600 && printf '# mine\\n[pilot.stall]\\nmax_nudges = 3\\n' >> \"$1\"";
        let output = edit(&world, "x", script);
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(0), &b"changed: pilot.stall.max_nudges\n"[..]),
            "{}",
            text(&output)
        );
        let path = file(&world, "x");
        assert!(read(&path).ends_with("# mine\n[pilot.stall]\nmax_nudges = 3\n"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for (script, said) in [
            ("true", "nothing was changed\n"),
            ("echo '# x' >> \"$1\"", "changed: only comments and layout\n"),
        ] {
            let output = edit(&world, "x", script);
            assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{}", text(&output));
        }
        assert!(copies(&world, "x").is_empty());
    }
}

#[test]
fn an_edit_that_is_not_valid_changes_nothing_and_loses_nothing() {
    let world = world("x", "name = \"x\"\n");
    let output = edit(&world, "x", "printf '[pilot.stall]\\ntimeout = 3\\n' >> \"$1\"");
    let said = stderr(&output);
    let copies = copies(&world, "x");
    let copy = copies.first().unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = format!(
        "aegis: {0}:3:1: unknown key `timeout`, did you mean `timeout_secs`?\n   |\n 3 | timeout = 3\n   | ^^^^^^^\n       {1} is as it was; yours is {0}\n",
        copy.display(),
        file(&world, "x").display()
    );
    assert_eq!(said, expected);
    assert_eq!(read(&file(&world, "x")), "name = \"x\"\n");
    assert_eq!(read(copy), "name = \"x\"\n[pilot.stall]\ntimeout = 3\n");
    // Another name than the folder's is none, either.
    let said = stderr(&edit(&world, "x", "echo 'name = \"y\"' > \"$1\""));
    assert!(said.contains(":1:8: `name` is `y`, the folder has another"), "{said}");
}

#[test]
fn an_edit_does_not_write_over_anothers() {
    let world = world("x", "name = \"x\"\n");
    let script = format!("echo '# mine' >> \"$1\"; echo '# theirs' >> {}", file(&world, "x").display());
    let output = edit(&world, "x", &script);
    let said = stderr(&output);
    assert!(
        output.status.code() == Some(1) && said.contains("was changed by somebody else meanwhile"),
        "{said}"
    );
    assert_eq!(read(&file(&world, "x")), "name = \"x\"\n# theirs\n");
    assert_eq!(read(&copies(&world, "x")[0]), "name = \"x\"\n# mine\n");
}

#[test]
fn a_file_that_is_not_valid_can_be_mended() {
    let world = world("x", "name = \"x\"\nnam = 1\n");
    let output = edit(&world, "x", "sed -i 2d \"$1\"");
    assert_eq!(read(&file(&world, "x")), "name = \"x\"\n", "{}", text(&output));
    // A syntax error, too, and through the active name.
    std::fs::write(file(&world, "x"), "name = \"x\"\n[\n").unwrap();
    std::fs::write(world.home().join("config.toml"), "active = \"x\"\n").unwrap();
    let output =
        world.aegis(&["config", "edit"]).env("VISUAL", "sed -i 2d").env("EDITOR", "false").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "changed: it can be read now\n", "{}", text(&output));
}

#[test]
fn an_editor_that_fails_changes_nothing() {
    let world = world("x", "name = \"x\"\n");
    for (editor, said, left) in [
        ("/no/such/editor", "the editor `/no/such/editor` can't be started", 0),
        ("false", "the editor `false` ended with exit code 1", 0),
        ("sh -c 'kill -TERM $$'", "ended by signal TERM", 0),
        ("sh -c 'echo \"# mine\" >> \"$1\"; exit 3' sh", "is as it was; yours is", 1),
        ("rm", "has gone", 1),
    ] {
        let output = world.aegis(&["config", "edit", "x"]).env("EDITOR", editor).output().unwrap();
        let error = stderr(&output);
        assert!(output.status.code() == Some(1) && error.contains(said), "{editor}: {error}");
        assert_eq!(read(&file(&world, "x")), "name = \"x\"\n");
        assert_eq!(copies(&world, "x").len(), left, "{editor}");
    }
    assert_eq!(world.aegis(&["config", "edit", "none"]).output().unwrap().status.code(), Some(4));
}

#[test]
fn a_link_stays_one() {
    let world = world("x", "");
    let target = world.work().join("dotfile.toml");
    std::fs::write(&target, "name = \"x\"\n").unwrap();
    std::fs::remove_file(file(&world, "x")).unwrap();
    std::os::unix::fs::symlink(&target, file(&world, "x")).unwrap();
    let output = edit(&world, "x", "echo '# more' >> \"$1\"");
    assert!(output.status.success(), "{}", text(&output));
    assert!(std::fs::symlink_metadata(file(&world, "x")).unwrap().is_symlink());
    assert_eq!(read(&target), "name = \"x\"\n# more\n");
}

#[test]
fn the_schema_is_printed() {
    let world = World::new(Who::Me);
    let schema: Value = serde_json::from_str(&world.stdout(&["config", "schema"])).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(
        schema["properties"]["pilot"]["properties"]["stall"]["properties"]["timeout_secs"]["default"],
        120
    );
    for command in ["show", "edit", "schema"] {
        assert!(world.stdout(&["config", command, "--help"]).contains("Example:\n  aegis config"));
    }
}

/// Whatever stands where a settings file should be: an error that says what, soon.
#[test]
fn hostile_files_are_refused() {
    let world = world("x", "name = \"x\"\n");
    let path = file(&world, "x");
    let many = |part: &str| part.repeat(10_000);
    let big = |part: &str| part.repeat((1 << 20) / part.len());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("too large", vec![b'#'; (1 << 20) + 1], "can't be read: it has more than 1048576 bytes"),
        ("not UTF-8", b"name = \"\xff\"".to_vec(), ":1:9: byte 8 is not UTF-8"),
        ("a zero", b"name = \"x\"\0".to_vec(), ":1:11: "),
        ("brackets", format!("a = {}", many("[")).into(), "it is nested too deeply"),
        ("tables", format!("a = {}", many("{a=")).into(), "it is nested too deeply"),
        ("dots", format!("{}a = 1", many("a.")).into(), "it is nested too deeply"),
        ("header", format!("[{}a]", many("a.")).into(), "it is nested too deeply"),
        ("an escape", b"\x1b[2J = 1".to_vec(), ":1:2: "),
        ("an escape in a key", b"\"\\u001b[2J\" = 1".to_vec(), ":1:1: unknown key `\\u{1b}[2J`"),
        (
            "many keys",
            (0..60_000).map(|n| format!("key{n} = 1\n")).collect::<String>().into(),
            ":1:1: unknown key `key0`",
        ),
        ("many tables", big("[[alerts]]\n").into(), ":1:1: `alerts` has at most 1000 entries"),
        (
            "one long line",
            format!("name = \"{}", big("x").trim_end_matches("xxxxxxxx")).into(),
            ": invalid basic string",
        ),
        ("one long list", format!("allowed_network = [{}]", big("\"a\",").split_at(900_000).0).into(), ""),
        ("unclosed quotes", big("'''\n").into(), ":2:4: "),
        ("brackets on a line", format!("a = {}", big("[]").split_at(1_000_000).0).into(), ":1:7: "),
        (
            "no width",
            format!("a = \"{}", big("\u{301}").split_at(1_000_000).0).into(),
            ": invalid basic string",
        ),
        ("many comments", format!("{}name = 1", big("#\n").split_at(1_000_000).0).into(), ":500001:8: "),
        (
            "many patterns",
            {
                let pattern = |n: u32| format!("'{n}{}'", "[!a]{b,c?}*".repeat(80));
                let patterns: Vec<String> = (0..1000).map(pattern).collect();
                format!("name = \"x\"\nx = 1\n[observer]\nignore = [{}]", patterns.join(",\n")).into()
            },
            ":2:1: unknown key `x`",
        ),
        ("equals", big("=").into(), ":1:2: "),
        ("a byte order mark", b"\xef\xbb\xbfnam = \"x\"".to_vec(), "unknown key `nam`"),
    ];
    for (what, bytes, expected) in cases {
        std::fs::write(&path, bytes).unwrap();
        let start = Instant::now();
        let output = world.aegis(&["config", "show", "x"]).output().unwrap();
        let said = stderr(&output);
        let first: String = said.chars().take(300).collect();
        assert!(output.status.code() == Some(1) && said.contains(expected), "{what}: {first}");
        assert!(said.starts_with(&format!("aegis: {}", path.display())), "{what}: {first}");
        assert!(!said.contains('\u{1b}') && said.len() < 20_000, "{what}: {first}");
        assert!(start.elapsed() < Duration::from_secs(20), "{what} takes {:?}", start.elapsed());
    }
    std::fs::remove_file(&path).unwrap();
    let refused = |what: &str, expected: &str| {
        let output = world
            .command("timeout")
            .arg("20")
            .arg(world.path("bin/aegis"))
            .args(["config", "show", "x"])
            .output();
        let output = output.unwrap();
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && said.contains(expected), "{what}: {}", text(&output));
    };
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    refused("FIFO", "it is no plain file");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused("directory", "it is no plain file");
    std::fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    refused("device", "it is no plain file");
}

#[test]
fn a_loop_of_links_is_told_as_one() {
    let world = world("x", "");
    let path = file(&world, "x");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    for command in [&["config", "show", "x"][..], &["config", "edit", "x"]] {
        let output = world.aegis(command).output().unwrap();
        assert!(stderr(&output).contains("Too many levels of symbolic links"), "{}", text(&output));
        assert_eq!(output.status.code(), Some(1));
    }
    // It is not written over, either.
    let output = world.wrap("x", &["true"]);
    assert!(output.status.code() == Some(125) && std::fs::symlink_metadata(&path).unwrap().is_symlink());
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/no/such/file", &path).unwrap();
    let output = world.aegis(&["config", "show", "x"]).output().unwrap();
    assert!(stderr(&output).contains("can't be read: it is not there"), "{}", text(&output));
}

#[test]
fn a_secret_is_in_no_output() {
    for broken in [
        "bot_token = \"hunter2\" x",
        "bot_token = hunter2",
        "bot_tokn = \"hunter2\"",
        "chat_id = 0\nbot_token = \"hunter2\"",
    ] {
        let world = world("x", &format!("name = \"x\"\n[channel]\ntype = \"telegram\"\n{broken}\n"));
        for command in [
            &["config", "show", "x"][..],
            &["list"],
            &["status", "x"],
            &["wrap", "--name", "x", "--", "true"],
        ] {
            let output = world.aegis(command).output().unwrap();
            assert!(!text(&output).contains("hunter2"), "{broken}: {}", text(&output));
        }
    }
}

#[test]
fn what_the_observer_is_told_takes_effect() {
    let ignoring = world(
        "me",
        "name = \"me\"\n[observer]\nignore = [\"/etc/ld.so.cache\", \"/usr/lib/**\", \"/tmp/**\"]\n",
    );
    std::fs::write(ignoring.work().join("note"), "").unwrap();
    let output =
        ignoring.aegis(&["wrap", "--name", "me", "--verbose", "--", "cat", "note"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let entries = ignoring.entries("me");
    let paths: Vec<&str> = entries.iter().filter_map(|entry| entry["resource"]["path"].as_str()).collect();
    assert!(
        !paths.iter().any(|path| path.starts_with("/usr/lib/") || *path == "/etc/ld.so.cache"),
        "{paths:?}"
    );
    // No file of the system's own: it stays.
    assert!(paths.contains(&ignoring.work().join("note").to_str().unwrap()), "{paths:?}");
    let start = entries.iter().find(|entry| entry["kind"] == "session_start").unwrap();
    assert_eq!(start["start"]["ignore"][1], "/usr/lib/**");
    for (settings, code, words) in [
        ("observer = \"None\"", 125, "there would be nothing to record"),
        ("observer = \"Fanotify\"", 125, "which is not there yet"),
        ("observer = \"Seccomp\"", 0, ""),
        (
            "observer = \"FsEvents\"",
            0,
            "observer: `FsEvents` is of macOS; on Linux, `Seccomp` takes its place",
        ),
    ] {
        let world = world("me", &format!("name = \"me\"\n{settings}\n"));
        let output = world.aegis(&["wrap", "--name", "me", "--", "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{settings}: {}", text(&output));
        assert!(text(&output).contains(words), "{settings}: {}", text(&output));
    }
}
