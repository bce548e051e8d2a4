//! Ledgers made at random, whole and damaged, judged by both verifiers: this crate's, and the one in Python that was
//! written from `docs/ledger-format.md`.

mod corrupt;
mod make;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aegis_proof::{Grade, TrustRoot};
use aegis_types::{Clock as _, Event, SessionId};
use serde_json::Value;

use crate::custody::read_anchors;
use crate::recorder::Recorder;
use crate::store::{Ledger, Sealing};
use crate::verify::{Held, Verdict};
use make::{Dice, Home, STEPS};

/// How many ledgers are made; many more in a long run, which is built with `AEGIS_TEST_LEDGERS`.
fn rounds(short: u64) -> u64 {
    option_env!("AEGIS_TEST_LEDGERS").and_then(|count| count.parse().ok()).unwrap_or(short)
}

/// What is kept elsewhere.
#[derive(Debug, Clone, Default)]
struct Kept {
    against: Option<PathBuf>,
    trust: Option<TrustRoot>,
}

/// Judges a ledger, held to its home or not.
fn judge(home: &Home, sealed: bool, kept: &Kept) -> Verdict {
    let held = Held {
        custody: sealed.then(|| home.custody()),
        trust: kept.trust.clone(),
        anchors: kept.against.iter().flat_map(|path| read_anchors(path, true).unwrap()).collect(),
    };
    Ledger::open_to_read(&home.ledger()).unwrap().verify(&held).unwrap()
}

/// Asks the other verifier the same.
fn other(home: &Home, sealed: bool, kept: &Kept) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifier/verify.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(home.ledger());
    if sealed {
        let custody = home.custody();
        command.arg("--keys").arg(home.root().join("keys")).args(["--ledger", custody.ledger()]);
        command.arg("--register").arg(home.root().join("register"));
    }
    if let Some(path) = &kept.against {
        command.arg("--against").arg(path);
    }
    if let Some(trust) = &kept.trust {
        command.args(["--key", &trust.to_string()]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let value: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"));
    let code = output.status.code();
    assert_eq!(code, Some(if value["fault"].is_null() { 0 } else { 3 }), "{value} {text}");
    value
}

/// The verdict in the words of the other verifier; where something is wrong, that alone.
fn words(verdict: &Verdict) -> Value {
    let proof = &verdict.proof;
    let findings = &proof.findings;
    let fault = proof.fault.as_ref();
    let fault = fault.map(|fault| serde_json::json!({"kind": fault.kind.word(), "entry": fault.seq}));
    if fault.is_some() {
        return serde_json::json!({"fault": fault});
    }
    serde_json::json!({
        "entries": proof.records,
        "head": proof.head.to_string(),
        "origin": proof.trust.as_ref().unwrap().origin.as_str(),
        "checkpoints": proof.checkpoints,
        "sealed": proof.sealed,
        "fault": fault,
        "grade": proof.grade.word(),
        "seams": findings.seams,
        "gaps": findings.gaps,
        "recovered": findings.recovered,
        "silences": findings.silences,
        "clock_set_back": findings.clock_set_back,
        "keys_behind": findings.keys_behind,
        "bad_register_lines": verdict.bad_register_lines,
    })
}

/// Expects both verifiers to say the same, and returns it.
fn agreed(home: &Home, sealed: bool, kept: &Kept, what: &str) -> Verdict {
    let verdict = judge(home, sealed, kept);
    let theirs = other(home, sealed, kept);
    for (key, ours) in words(&verdict).as_object().unwrap() {
        assert_eq!(&theirs[key], ours, "{what}: `{key}` of {theirs} and {verdict:?}");
    }
    verdict
}

/// The kind of fault, or nothing.
fn kind(verdict: &Verdict) -> &'static str {
    verdict.proof.fault.as_ref().map_or("", |fault| fault.kind.word())
}

#[test]
fn a_good_ledger_is_never_accused() {
    for seed in 0..rounds(150) {
        let mut dice = Dice::new(seed);
        let home = Home::new();
        let lost_keys = home.grow(&mut dice);
        let kept = Kept { trust: Some(home.trust_root()), ..Kept::default() };
        // The other verifier takes far longer: it sees some.
        let verdict = if seed % 10 == 0 {
            agreed(&home, true, &kept, &format!("seed {seed}"))
        } else {
            judge(&home, true, &kept)
        };
        assert!(verdict.is_good(), "seed {seed}: {verdict:?}");
        assert_eq!(verdict.proof.grade, Grade::Anchored, "seed {seed}");
        assert_eq!(verdict.proof.findings.seams.len() as u64, lost_keys, "seed {seed}");
        let at_home = judge(&home, true, &Kept::default());
        assert!(at_home.is_good() && at_home.proof.grade == Grade::Sealed, "seed {seed}: {at_home:?}");
    }
}

#[test]
fn eight_writers_make_one_ledger() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let home = &home;
            scope.spawn(move || home.session(&mut Dice::new(writer), 40, &mut None));
        }
    });
    let verdict = agreed(&home, true, &Kept::default(), "eight writers");
    assert!(verdict.is_good(), "{verdict:?}");
    assert!(verdict.proof.checkpoints >= 8 && verdict.proof.findings.seams.is_empty(), "{verdict:?}");
}

#[test]
fn a_machine_may_stop_at_any_step_of_a_seal() {
    for step in STEPS {
        for earlier in [0, 1, 3] {
            let home = Home::new();
            let mut dice = Dice::new(earlier);
            for _ in 0..earlier {
                home.session(&mut dice, 5, &mut None);
            }
            home.session(&mut dice, 5, &mut Some(step));
            let stopped = agreed(&home, true, &Kept::default(), &format!("{step:?} after {earlier}"));
            assert!(stopped.is_good() && !stopped.proof.findings.keys_behind, "{step:?}: {stopped:?}");
            home.session(&mut dice, 5, &mut None);
            let goes_on = agreed(&home, true, &Kept::default(), &format!("{step:?} after {earlier}, and on"));
            assert!(goes_on.is_good() && goes_on.proof.findings.seams.is_empty(), "{step:?}: {goes_on:?}");
            assert_eq!(goes_on.proof.sealed, goes_on.proof.records);
        }
    }
}

#[test]
fn damage_is_found_and_told_apart() {
    for seed in 0..rounds(3).min(200) {
        for damage in corrupt::ALL {
            let home = Home::new();
            let mut dice = Dice::new(seed);
            let mut kept = Kept { trust: Some(home.begin(&mut dice)), ..Kept::default() };
            let checkpoint = home.root().join("kept");
            std::fs::write(&checkpoint, home.checkpoint()).unwrap();
            let past = home.copy();
            home.session(&mut dice, 12, &mut None);
            home.unsealed(&mut dice);
            (damage.inflict)(&home, &past, &mut dice);
            let what = format!("{} with seed {seed}", damage.name);
            let alone = agreed(&home, false, &Kept::default(), &what);
            assert_eq!(kind(&alone), damage.found[0], "{what}, by itself: {alone:?}");
            let sealed = agreed(&home, true, &Kept::default(), &what);
            assert_eq!(kind(&sealed), damage.found[1], "{what}, held to its home: {sealed:?}");
            kept.against = Some(checkpoint);
            let anchored = agreed(&home, false, &kept, &what);
            assert_eq!(kind(&anchored), damage.found[2], "{what}, held to what was kept: {anchored:?}");
            assert_eq!(
                sealed.index_fault.is_some() && damage.found == [""; 3],
                damage.name == corrupt::INDEX,
                "{what}: {sealed:?}"
            );
            assert_eq!(alone.proof.findings.seams.is_empty(), !damage.seam, "{what}: {alone:?}");
        }
    }
}

#[test]
fn two_machines_with_one_key_are_told_from_each_other() {
    let here = Home::new();
    let mut dice = Dice::new(1);
    here.session(&mut dice, 9, &mut None);
    let there = here.copy();
    here.session(&mut dice, 9, &mut None);
    there.session(&mut dice, 7, &mut None);
    // Each is good for itself and at its home.
    for home in [&here, &there] {
        let verdict = agreed(home, true, &Kept::default(), "a copied home");
        assert!(verdict.is_good() && verdict.proof.grade == Grade::Sealed, "{verdict:?}");
    }
    let shorter = there.root().join("kept");
    std::fs::write(&shorter, there.checkpoint()).unwrap();
    let kept = Kept { against: Some(shorter), ..Kept::default() };
    assert_eq!(kind(&agreed(&here, true, &kept, "the other's checkpoint")), "forked");
    let longer = here.root().join("kept");
    std::fs::write(&longer, here.checkpoint()).unwrap();
    let kept = Kept { against: Some(longer), ..Kept::default() };
    assert_eq!(kind(&agreed(&there, true, &kept, "a longer one")), "rolled_back");
    // A checkpoint of quite another ledger.
    let stranger = Home::new();
    stranger.session(&mut dice, 3, &mut None);
    let path = stranger.root().join("kept");
    std::fs::write(&path, stranger.checkpoint()).unwrap();
    let kept = Kept { against: Some(path), ..Kept::default() };
    assert_eq!(kind(&agreed(&here, true, &kept, "a stranger's checkpoint")), "replaced");
    let kept = Kept { trust: Some(stranger.trust_root()), ..Kept::default() };
    assert_eq!(kind(&agreed(&here, true, &kept, "a stranger's trust root")), "replaced");
}

#[test]
fn lost_keys_make_a_seam_that_is_named() {
    let home = Home::new();
    let mut dice = Dice::new(5);
    home.session(&mut dice, 9, &mut None);
    home.lose_keys(&mut dice);
    home.session(&mut dice, 9, &mut None);
    let verdict = agreed(&home, true, &Kept::default(), "a lost key");
    assert!(verdict.is_good() && verdict.proof.findings.seams.len() == 1, "{verdict:?}");
    // Without the identity nothing is sealed, and nothing is begun.
    std::fs::remove_file(home.root().join("keys/identity")).unwrap();
    let error = Ledger::open(&home.ledger(), &home.custody()).unwrap_err();
    assert!(error.to_string().contains("identity key"), "{error}");
}

#[test]
fn one_entry_is_proven_without_the_ledger() {
    let home = Home::new();
    let mut dice = Dice::new(6);
    for _ in 0..3 {
        home.session(&mut dice, 9, &mut None);
    }
    home.unsealed(&mut dice);
    let ledger = Ledger::open_to_read(&home.ledger()).unwrap();
    let (sealed, _) = ledger.latest_checkpoint().unwrap().unwrap();
    let trust = home.trust_root();
    for seq in 1..=sealed {
        let text = ledger.prove(seq).unwrap().unwrap().to_string();
        let proof = aegis_proof::Inclusion::parse(&text).unwrap();
        assert!(proof.verify(&trust).unwrap().size >= seq);
        let altered = text.replace("\nindex ", "\nindex 1");
        assert!(aegis_proof::Inclusion::parse(&altered).is_ok_and(|proof| proof.verify(&trust).is_err()));
    }
    assert!(ledger.prove(sealed + 1).unwrap().is_none() && ledger.prove(0).unwrap().is_none());
    let path = home.root().join("proof");
    std::fs::write(&path, ledger.prove(3).unwrap().unwrap().to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifier/verify.py");
    let run = |trust: &str| {
        Command::new("python3")
            .arg(&script)
            .arg("--proof")
            .arg(&path)
            .args(["--key", trust])
            .output()
            .unwrap()
    };
    assert_eq!(run(&trust.to_string()).status.code(), Some(0));
    assert_eq!(run(&Home::new().trust_root().to_string()).status.code(), Some(3));
}

#[test]
fn a_heartbeat_seals_what_is_sealed_already() {
    let home = Home::new();
    let mut ledger = Ledger::open(&home.ledger(), &home.custody()).unwrap();
    for (sealing, sealed) in [
        (Sealing::WhenMany, None),
        (Sealing::Now { told: false }, Some(2)),
        (Sealing::Now { told: true }, None),
        (Sealing::Heartbeat, Some(3)),
    ] {
        assert_eq!(ledger.append(&[], sealing).unwrap().sealed, sealed, "{sealing:?}");
    }
    assert_eq!(home.custody().lines().unwrap().0.len(), 1);
}

#[test]
fn what_was_being_executed_stands_before_the_end() {
    let home = Home::new();
    let mut dice = Dice::new(1);
    let ledger = Ledger::open(&home.ledger(), &home.custody()).unwrap();
    let id = SessionId::at(aegis_sys::clock::SystemClock.now().wall);
    let recorder = Recorder::start(ledger, id, home.root(), false, |_| {}).unwrap();
    let event = |what| {
        let now = aegis_sys::clock::SystemClock.now();
        Event { at: now.wall, mono_us: now.mono_us, what }
    };
    let patience = Duration::from_secs(60);
    recorder.append_durable(&event(make::start()), patience).unwrap();
    // Whoever executes it is killed before it can tell.
    recorder.observe_executing(&event(make::action(&mut dice))).unwrap();
    recorder.observe(&event(make::action(&mut dice))).unwrap();
    recorder.append_end(&event(make::end()), patience).unwrap();
    assert!(recorder.observe(&event(make::action(&mut dice))).is_err());
    drop(recorder.stop());
    let verdict = judge(&home, true, &Kept::default());
    assert!(verdict.is_good(), "{verdict:?}");
    assert_eq!(verdict.proof.findings.gaps, 0);
}
