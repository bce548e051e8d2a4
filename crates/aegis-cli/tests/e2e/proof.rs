//! What holds a ledger to its past: checkpoints kept elsewhere, trust roots, anchors, proofs of one entry.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use serde_json::Value;

use crate::support::{Who, World, everybody, text};

/// Runs `aegis`, and returns its exit code and what it printed.
fn run(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = world.aegis(arguments).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

fn verify(world: &World, arguments: &[&str]) -> (i32, Value) {
    let arguments = [&["audit", "verify", "--json"], arguments].concat();
    let output = world.aegis(&arguments).output().unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), value)
}

#[test]
fn a_ledger_is_held_to_what_was_kept_elsewhere() {
    for who in everybody() {
        let world = World::new(who);
        let first = world.wrap("x", &["sh", "-c", "echo x > x"]);
        let summary = String::from_utf8_lossy(&first.stderr);
        let root = summary.lines().find_map(|line| line.trim().strip_prefix("trust root")).unwrap().trim();
        let second = world.wrap("x", &["true"]);
        assert!(!String::from_utf8_lossy(&second.stderr).contains("trust root"), "it is printed once");
        assert!(run(&world, &["setup"]).1.contains(root));
        let (_, checkpoint) = run(&world, &["audit", "checkpoint", "x"]);
        let kept = world.work().join("kept");
        std::fs::write(&kept, &checkpoint).unwrap();
        let kept = kept.to_str().unwrap();
        assert_eq!(run(&world, &["audit", "checkpoint", "x"]).1, checkpoint, "nothing new is sealed");
        for (arguments, grade) in [
            (&["x"][..], "sealed"),
            (&["x", "--against", kept], "anchored"),
            (&["x", "--key", root], "anchored"),
        ] {
            let (code, verdict) = verify(&world, arguments);
            assert_eq!((code, &verdict["grade"]), (0, &grade.into()), "{who:?} {arguments:?}: {verdict}");
            assert_eq!((&verdict["sealed"], &verdict["trust_root"]), (&verdict["entries"], &root.into()));
        }
        // Another ledger in its place.
        std::fs::remove_dir_all(world.home().join("x")).unwrap();
        assert!(world.wrap("x", &["true"]).status.success());
        for (arguments, kind) in [
            (&["x"][..], "begun_anew"),
            (&["x", "--against", kept], "replaced"),
            (&["x", "--key", root], "replaced"),
        ] {
            let (code, verdict) = verify(&world, arguments);
            assert_eq!((code, &verdict["fault_kind"]), (3, &kind.into()), "{who:?} {arguments:?}: {verdict}");
        }
        assert_eq!(run(&world, &["status", "x"]).0, 3);
    }
}

#[test]
fn what_is_given_to_verify_must_be_what_it_should() {
    let world = World::new(Who::Me);
    assert!(world.wrap("x", &["true"]).status.success());
    std::fs::write(world.work().join("empty"), "").unwrap();
    std::fs::write(world.work().join("noise"), "nothing\nof the kind\n").unwrap();
    for (arguments, code, expected) in [
        (&["audit", "verify", "x", "--against", "none"][..], 1, "none: No such file"),
        (&["audit", "verify", "x", "--against", "empty"], 1, "empty holds no checkpoint"),
        (&["audit", "verify", "x", "--key", "x"], 2, "`x` is no trust root"),
        (&["audit", "verify", "--all", "--key", "x"], 2, "cannot be used with"),
        (&["audit", "prove", "0", "x"], 4, "there is no entry 0 in `x`: it has 1 to"),
        (&["audit", "prove", "9999", "x"], 4, "there is no entry 9999"),
        (&["audit", "verify-proof", "noise"], 3, "noise: line 1 is not that of a proof"),
        (&["audit", "verify-proof", "none"], 1, "none: No such file"),
        (&["audit", "export", "x", "--format", "raw", "--follow"], 2, "without --follow"),
    ] {
        let (got, said) = run(&world, arguments);
        assert!(got == code && said.contains(expected), "{arguments:?}: {got} {said}");
    }
    // A file without checkpoints of this ledger does not raise the grade.
    let (code, verdict) = verify(&world, &["x", "--against", "noise"]);
    assert_eq!(
        (code, &verdict["grade"], &verdict["bad_anchors"]),
        (0, &"sealed".into(), &1.into()),
        "{verdict}"
    );
}

#[test]
fn one_entry_is_proven_to_a_third_party() {
    let world = World::new(Who::Me);
    let other = World::new(Who::Me);
    assert!(world.wrap("x", &["true"]).status.success());
    assert!(other.wrap("x", &["true"]).status.success());
    let proof = world.stdout(&["audit", "prove", "3", "x"]);
    let path = world.work().join("p");
    std::fs::write(&path, &proof).unwrap();
    let path = path.to_str().unwrap();
    assert!(run(&world, &["audit", "verify-proof", path]).1.contains("entry 3 is in the ledger aegis/"));
    let (_, verdict) = verify(&world, &["x"]);
    let root = verdict["trust_root"].as_str().unwrap();
    // Without the ledger, with what was kept; and not with another's.
    let (code, said) = run(&other, &["audit", "verify-proof", path, "--key", root, "--json"]);
    assert!(code == 0 && said.contains("\"record\""), "{said}");
    assert_eq!(run(&other, &["audit", "verify-proof", path]).0, 3);
    std::fs::write(path, proof.replacen("extra e", "extra f", 1)).unwrap();
    assert_eq!(run(&world, &["audit", "verify-proof", path]).0, 3);
}

#[test]
fn the_exact_records_verify_elsewhere() {
    let world = World::new(Who::Me);
    for _ in 0..2 {
        assert!(world.wrap("x", &["sh", "-c", "echo x > x; rm x"]).status.success());
    }
    let raw = world.work().join("raw");
    std::fs::write(&raw, world.stdout(&["audit", "export", "x", "--format", "raw"])).unwrap();
    let verifier = concat!(env!("CARGO_MANIFEST_DIR"), "/../aegis-ledger/tests/verifier");
    let (_, verdict) = verify(&world, &["x"]);
    for (file, entries) in [(raw.to_str().unwrap(), verdict["entries"].clone()), ("example.raw", 8.into())] {
        let output =
            Command::new("python3").args(["verify.py", file]).current_dir(verifier).output().unwrap();
        let theirs: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!((&theirs["fault"], &theirs["entries"]), (&Value::Null, &entries), "{file}: {theirs}");
        assert_eq!(theirs["sealed"], theirs["entries"], "{file}");
    }
}

#[test]
fn checkpoints_are_taken_to_the_anchors_of_the_home() {
    let world = World::new(Who::Me);
    assert!(world.wrap("x", &["true"]).status.success());
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let sockets = ["syslog", "journal"].map(|name| UnixDatagram::bind(path(name)).unwrap());
    let settings = format!(
        "[[anchors]]\nfile = \"{}\"\n[[anchors]]\nsyslog = \"{}\"\n[[anchors]]\njournald = \"{}\"\n",
        path("anchor"),
        path("syslog"),
        path("journal")
    );
    std::fs::write(world.home().join("config.toml"), settings).unwrap();
    assert!(world.wrap("x", &["true"]).status.success());
    assert!(world.wrap("y", &["true"]).status.success());
    for socket in &sockets {
        let mut bytes = [0; 4096];
        socket.set_nonblocking(true).unwrap();
        let length = socket.recv(&mut bytes).unwrap();
        assert!(String::from_utf8_lossy(&bytes[..length]).contains("aegis/"));
    }
    // One file serves all ledgers of the home.
    for name in ["x", "y"] {
        let (code, verdict) = verify(&world, &[name]);
        assert_eq!(
            (code, &verdict["grade"], &verdict["bad_anchors"]),
            (0, &"anchored".into(), &0.into()),
            "{verdict}"
        );
    }
    // The ledger and the register are put back together; the anchor is out of reach.
    let home = world.home();
    let copy = world.path("copy");
    assert!(Command::new("cp").arg("-a").args([&home, &copy]).status().unwrap().success());
    assert!(world.wrap("x", &["true"]).status.success());
    std::fs::remove_dir_all(&home).unwrap();
    std::fs::rename(&copy, &home).unwrap();
    let (code, verdict) = verify(&world, &["x"]);
    assert_eq!((code, &verdict["fault_kind"]), (3, &"rolled_back".into()), "{verdict}");
    // An anchor that is not there is told of, and no more than that.
    std::fs::write(home.join("config.toml"), "[[anchors]]\nfile = \"/nowhere/at/all\"\n").unwrap();
    let output = world.wrap("y", &["true"]);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all"),
        "{}",
        text(&output)
    );
    for (text, expected) in [
        ("[[anchors]]\nfile = \"here\"\n", ":2:8: `file` must be an absolute path, `here` is none"),
        ("[[anchors]]\nfil = \"/x\"\n", ":2:1: unknown key `fil`, did you mean `file`?"),
        ("anchors = 1\n", ":1:11: `anchors` is written `[[anchors]]`"),
    ] {
        std::fs::write(home.join("config.toml"), text).unwrap();
        let (code, said) = run(&world, &["audit", "verify", "y"]);
        assert!(code == 1 && said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn the_organisations_anchors_hold_for_everybody() {
    // The file stands in /etc: a mount namespace of the test's own has another there.
    let world = World::new(Who::Me);
    let etc = world.path("etc");
    let anchor = world.path("anchor");
    let script = format!(
        "set -e; cp -a /etc {etc}; mkdir -p {etc}/aegis; mount --bind {etc} /etc
         printf '[[anchors]]\\nfile = \"{anchor}\"\\n' > /etc/aegis/aegis.toml
         {aegis} wrap --quiet --name x -- true
         {aegis} audit verify x
         chmod go+w /etc/aegis/aegis.toml
         ! {aegis} wrap --quiet --name x -- true",
        etc = etc.display(),
        anchor = anchor.display(),
        aegis = world.path("bin/aegis").display(),
    );
    let unshare: &[&str] = if rustix::process::geteuid().is_root() { &["-m"] } else { &["-rm"] };
    let output = world.command("unshare").args(unshare).args(["sh", "-c", &script]).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("anchored: it agrees with what was kept elsewhere"), "{said}");
    assert!(said.contains("can be written by others than root") && said.contains("chmod go-w"), "{said}");
    assert!(std::fs::read_to_string(anchor).unwrap().starts_with("aegis/"));
}

#[test]
fn without_the_identity_key_no_session_begins() {
    let world = World::new(Who::Me);
    assert!(world.wrap("x", &["true"]).status.success());
    std::fs::remove_dir_all(world.home().join("keys")).unwrap();
    let output = world.wrap("x", &["touch", "ran"]);
    let said = text(&output);
    assert!(output.status.code() == Some(125) && said.contains("identity key"), "{said}");
    assert!(!world.work().join("ran").exists());
    // It can still be read and verified.
    let (code, verdict) = verify(&world, &["x"]);
    assert_eq!((code, &verdict["grade"]), (0, &"sealed".into()), "{verdict}");
}

#[test]
fn a_first_session_that_seals_meanwhile_is_not_accused() {
    for _ in 0..8 {
        let world = World::new(Who::Me);
        let mut session =
            world.aegis(&["wrap", "--quiet", "--name", "x", "--", "sleep", "0.2"]).spawn().unwrap();
        let mut verdicts = 0;
        while session.try_wait().unwrap().is_none() {
            let output = world.aegis(&["audit", "verify", "x"]).output().unwrap();
            // Before the ledger is begun there is none.
            assert_ne!(output.status.code(), Some(3), "{}", text(&output));
            verdicts += u32::from(output.status.success());
        }
        assert!(session.wait().unwrap().success() && verdicts > 0);
    }
}
