//! Eight processes do thousands of things of every kind, and say what; nothing of it may be missed, and
//! nothing be there that was not done.

use aegis_harness::truth;

use crate::support::{World, everybody, text};

#[test]
fn nothing_is_missed_and_nothing_invented() {
    for who in everybody() {
        let world = World::new(who);
        for folder in ["root", "out"] {
            assert!(world.command("mkdir").arg(world.path(folder)).status().unwrap().success());
        }
        let program = world.path("bin/ground-truth");
        let (root, out) = (world.path("root"), world.path("out"));
        let operations = ["--ops", "4000"];
        let arguments = [program.to_str().unwrap(), root.to_str().unwrap(), out.to_str().unwrap()];
        let output = world.wrap("truth", &[&arguments[..], &operations].concat());
        assert!(output.status.success(), "{}", text(&output));
        let export = world.path("export.jsonl");
        std::fs::write(&export, world.stdout(&["audit", "export", "truth", "--format", "jsonl"])).unwrap();
        let lines = truth::load_truth(&out).unwrap();
        let records = truth::load_records(&export).unwrap();
        let report = truth::compare(&lines, &records, &root);
        assert!(lines.len() > 15_000, "{} lines of truth", lines.len());
        assert!(report.is_exact(), "{who:?}: {report}");
        let (code, verdict) = world.verdict("truth");
        assert_eq!((code, &verdict["gaps"]), (0, &0.into()), "{verdict}");
    }
}
