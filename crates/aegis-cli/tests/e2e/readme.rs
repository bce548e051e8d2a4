//! The README's commands, each on the same empty home, in order.

use crate::support::{Who, World, text};

/// How the README starts the binary.
const PREFIX: &str = "cargo run --release -- ";

#[test]
fn every_command_of_the_readme_works() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let world = World::new(Who::Me);
    let clone = world.work().join("clone");
    // A clone with a history, as a newcomer has it; where the tests run from an archive, a new one.
    let made = world.command("git").args(["init", "-q"]).arg(&clone).status().unwrap();
    assert!(made.success());
    let commit =
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "first"];
    assert!(world.command("git").args(commit).current_dir(&clone).status().unwrap().success());
    std::fs::create_dir(clone.join("target")).unwrap();
    std::fs::copy(root.join("README.md"), clone.join("README.md")).unwrap();
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = !inside && line == "```sh";
        } else if inside && !line.trim().is_empty() && !line.starts_with('#') {
            commands.push(line.to_owned());
        }
    }
    assert!(commands.len() >= 8, "{commands:?}");
    assert!(
        commands[0].starts_with(PREFIX) && commands[1] == "make check",
        "the first two are the set-up: {commands:?}"
    );
    for command in commands.iter().filter(|command| *command != "make check" && *command != "make install") {
        let command = command.replace(PREFIX, &format!("{} ", world.path("bin/aegis").display()));
        let output = world.command("sh").args(["-c", &command]).current_dir(&clone).output().unwrap();
        assert!(output.status.success(), "{command}: {}", text(&output));
    }
}
