//! What is enforced where the system lacks something, and how that is said.

use serde_json::Value;

use crate::support::{Who, World, everybody, text};

/// The lines of `aegis setup` about enforcement, on a system that lacks things.
fn lines(world: &World, lacking: &[&str]) -> Vec<(String, String, String)> {
    let mut command = world.command(world.path("bin/without"));
    let output =
        command.args(lacking).arg("--").arg(world.path("bin/aegis")).args(["setup", "--json"]).output();
    let output = output.unwrap();
    let value = serde_json::from_slice::<Value>(&output.stdout);
    assert!(value.is_ok(), "{}", text(&output));
    let value = value.unwrap();
    let field = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let lines = value.as_array().unwrap().iter();
    lines.map(|line| (field(line, "check"), field(line, "state"), field(line, "meaning"))).collect()
}

fn run(world: &World, lacking: &[&str], options: &[&str]) -> std::process::Output {
    let mut command = world.command(world.path("bin/without"));
    command.args(lacking).arg("--").arg(world.path("bin/aegis")).arg("run").args(options);
    command.args(["--config", "graded", "--", "sh", "-c", "cat /etc/shadow ../user/secret; echo done > f"]);
    command.output().unwrap()
}

#[test]
fn what_the_system_lacks_is_named_and_the_rest_holds() {
    for who in everybody() {
        let world = World::new(who);
        world.stdout(&["init", "graded", "--dir", world.work().to_str().unwrap()]);
        std::fs::write(world.path("user/secret"), "s3cret").unwrap();
        for (lacking, grade, said) in [
            (&[][..], "full", "enforced in full"),
            (&["namespaces"][..], "partial", "names, sizes, link targets"),
            (&["networks"][..], "partial", "without a network namespace, datagrams (UDP) are refused"),
            (&["mounts"][..], "partial", "names, sizes, link targets"),
            (&["docker"][..], "partial", "names, sizes, link targets"),
        ] {
            let found = lines(&world, lacking);
            let line = found.iter().find(|(check, ..)| check == "enforcement").unwrap();
            assert!(line.2.starts_with(&format!("{grade}: supervised, landlock")), "{lacking:?}: {line:?}");
            assert_eq!(line.1 == "ok", grade == "full", "{lacking:?}: {line:?}");
            let output = run(&world, lacking, &[]);
            let shown = text(&output);
            assert!(output.status.success(), "{who:?} {lacking:?}: {shown}");
            assert!(shown.contains(said) && !shown.contains("s3cret"), "{who:?} {lacking:?}: {shown}");
            assert_eq!(std::fs::read_to_string(world.work().join("f")).unwrap(), "done\n");
            std::fs::remove_file(world.work().join("f")).unwrap();
            let last = world.entries("graded");
            let start = last.iter().rev().find(|entry| entry["kind"] == "session_start").unwrap();
            let isolation = start["start"]["isolation"].as_str().unwrap();
            assert!(isolation.starts_with(grade), "{lacking:?}: {isolation}");
        }
    }
}

#[test]
fn without_landlock_it_does_not_start_but_at_the_users_word() {
    for who in everybody() {
        let world = World::new(who);
        world.stdout(&["init", "graded", "--dir", world.work().to_str().unwrap()]);
        std::fs::write(world.path("user/secret"), "s3cret").unwrap();
        let refused = run(&world, &["landlock"], &[]);
        assert_eq!(refused.status.code(), Some(125), "{}", text(&refused));
        let shown = text(&refused);
        assert!(shown.contains("without Landlock") && shown.contains("--degraded"), "{shown}");
        assert!(!world.work().join("f").exists());
        let degraded = run(&world, &["landlock"], &["--degraded"]);
        let shown = text(&degraded);
        assert!(degraded.status.success() && shown.contains("not enforced in full"), "{shown}");
        // Files are decided on all the same.
        assert!(!shown.contains("s3cret") && world.work().join("f").exists(), "{shown}");
    }
}

#[test]
fn a_configuration_that_asks_for_nothing_is_not_run() {
    let world = World::new(Who::Me);
    world.stdout(&["init", "off", "--dir", world.work().to_str().unwrap()]);
    let path = world.home().join("off/aegis.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    for word in ["None", "Process"] {
        std::fs::write(&path, format!("isolation = \"{word}\"\n{settings}")).unwrap();
        let output = world.aegis(&["run", "--config", "off", "--", "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{}", text(&output));
        assert!(text(&output).contains("nothing would be enforced"), "{}", text(&output));
    }
}
