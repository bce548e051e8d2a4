//! Real programs: they do under Aegis what they do without, and end with the same code.

use crate::support::{Who, World, everybody, on_path, text};

/// Runs a script plain and wrapped, each in a folder of its own; both must end alike and leave the same files.
fn alike(world: &World, name: &str, script: &str) {
    let run = |wrapped: bool| {
        let folder = world.work().join(if wrapped { "wrapped" } else { "plain" });
        drop(std::fs::remove_dir_all(&folder));
        assert!(world.command("mkdir").arg(&folder).status().unwrap().success());
        let mut command = if wrapped {
            world.aegis(&["wrap", "--quiet", "--name", name, "--", "sh"])
        } else {
            world.command("sh")
        };
        let output = command.args(["-c", script]).current_dir(&folder).env("HOME", &folder).output().unwrap();
        let listing = world
            .command("find")
            .args([".", "-printf", "%P %y %m\\n"])
            .current_dir(&folder)
            .output()
            .unwrap();
        let mut files: Vec<String> =
            String::from_utf8_lossy(&listing.stdout).lines().map(str::to_owned).collect();
        files.sort();
        (output, files)
    };
    let ((plain, plain_files), (wrapped, wrapped_files)) = (run(false), run(true));
    assert_eq!(
        plain.status.code(),
        wrapped.status.code(),
        "{name}: {}\nwrapped: {}",
        text(&plain),
        text(&wrapped)
    );
    assert!(plain.status.success(), "{name}: {}", text(&plain));
    assert_eq!(plain.stdout, wrapped.stdout, "{name}: {}", text(&wrapped));
    assert_eq!(plain_files, wrapped_files, "{name}");
    assert_eq!(world.verdict(name).0, 0);
}

#[test]
fn git_works_as_without() {
    for who in everybody() {
        let world = World::new(who);
        let identity = "git config --global user.name t; git config --global user.email t@t; git config --global init.defaultBranch main; export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z";
        let script = format!(
            "{identity}; git init -q a && cd a && echo x > f && git add f && git commit -qm one && cd .. && git clone -q a b && cd b && git log --format=%H && git status --short && git gc -q 2>/dev/null"
        );
        alike(&world, "git", &script);
    }
}

#[test]
fn compilers_archivers_and_editors_work_as_without() {
    let world = World::new(Who::Me);
    alike(&world, "gcc", "printf 'int main(void){return 0;}' > m.c && gcc -o m m.c && ./m && echo built");
    alike(
        &world,
        "tar",
        "mkdir d && echo a > d/a && ln -s a d/l && tar czf t.tgz d && rm -r d && tar xzf t.tgz && cat d/l",
    );
    alike(&world, "vim", "printf 'one\\ntwo\\n' > f; vim -u NONE -N -es -c '%s/one/three/' -c 'wq' f; cat f");
    alike(
        &world,
        "ssh",
        "ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -l -f key.pub | grep -c ED25519",
    );
}

#[test]
fn an_ssh_agent_goes_on_in_the_background() {
    let world = World::new(Who::Me);
    let script = format!(
        "ssh-keygen -q -t ed25519 -N '' -f key && eval \"$({} wrap --quiet --name ssh-agent -- ssh-agent)\" >/dev/null && ssh-add -q key && ssh-add -l | grep -c ED25519; ssh-agent -k >/dev/null",
        world.path("bin/aegis").display()
    );
    let output = world.command("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(&output.stdout[..], b"1\n", "{}", text(&output));
    crate::support::until("the session has ended", || {
        world.stdout(&["status", "ssh-agent"]).contains("live sessions  0")
    });
}

#[test]
fn a_python_environment_is_made_as_without() {
    let world = World::new(Who::Me);
    alike(
        &world,
        "venv",
        "python3 -m venv --without-pip v >/dev/null && v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'",
    );
}

#[test]
fn a_cargo_project_is_built_as_without() {
    let world = World::new(Who::Me);
    let script = "mkdir -p src && printf '[package]\\nname=\"p\"\\nversion=\"0.1.0\"\\nedition=\"2021\"\\n' > Cargo.toml && echo 'fn main(){println!(\"built\")}' > src/main.rs && cargo build -q --offline && ./target/debug/p && rm -r target";
    // The toolchain is the tests' own.
    let home = std::env::var_os("RUSTUP_HOME").unwrap_or_else(|| {
        std::path::PathBuf::from(std::env::var_os("HOME").unwrap_or_default())
            .join(".rustup")
            .into_os_string()
    });
    let script = format!("export RUSTUP_HOME={}; {script}", home.to_string_lossy());
    alike(&world, "cargo", &script);
}

#[test]
fn static_programs_and_scripts_are_seen() {
    let world = World::new(Who::Me);
    let source = "#include <stdio.h>\nint main(void){FILE*f=fopen(\"from-static\",\"w\");return !f||fputs(\"x\",f)<0||fclose(f);}";
    std::fs::write(world.work().join("s.c"), source).unwrap();
    let compiler =
        if world.command("musl-gcc").arg("--version").output().is_ok() { "musl-gcc" } else { "cc" };
    let built = world.command(compiler).args(["-static", "-o", "s", "s.c"]).output().unwrap();
    assert!(built.status.success(), "{}", text(&built));
    std::fs::write(world.work().join("script"), "#!/bin/sh\n./s\n").unwrap();
    let output = world.wrap("s", &["sh", "-c", "chmod +x script && ./script"]);
    assert!(output.status.success(), "{}", text(&output));
    let entries = world.entries("s");
    for (action, path) in [("ProcessSpawn", "script"), ("ProcessSpawn", "s"), ("FileWrite", "from-static")] {
        let found = on_path(&entries, action, &world.work().join(path));
        assert!(found.iter().any(|entry| entry["outcome"] == "ok"), "{action} {path}: {found:?}");
    }
}
