//! The ground truth program, its truth, and the comparison with what a perfect observer would record.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aegis_harness::truth::{Action, Actor, Outcome, Record, Resource, TruthLine, compare, load_truth};

use crate::scratch::Scratch;

fn ground_truth(arguments: &[&OsStr]) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_ground-truth")).args(arguments).output()
}

/// Runs the program in a fresh directory below `scratch` and returns its truth and its root.
fn run(scratch: &Path) -> io::Result<(Vec<TruthLine>, PathBuf)> {
    let (root, out) = (scratch.join("root"), scratch.join("out"));
    fs::create_dir(&root)?;
    let options = ["--ops", "168", "--processes=3"].map(OsStr::new);
    let output = ground_truth(&[&[root.as_os_str(), out.as_os_str()], options.as_slice()].concat())?;
    if output.status.success() && output.stderr.is_empty() {
        Ok((load_truth(&out)?, fs::canonicalize(root)?))
    } else {
        Err(io::Error::other(format!("{output:?}")))
    }
}

/// Returns what a perfect observer would have recorded.
fn recorded(line: &TruthLine) -> Record {
    Record {
        action: line.action,
        resource: line.resource.clone(),
        direction: line.direction,
        outcome: if line.ok { Outcome::Ok } else { Outcome::Failed("EACCES".to_owned()) },
        status: line.status,
        process: Actor { pid: line.pid, tid: line.tid },
        call: String::new(),
    }
}

#[test]
fn it_does_everything_and_only_what_should_fail_fails() {
    let scratch = Scratch::new("all").unwrap();
    let (lines, _) = run(&scratch.0).unwrap();
    let done: BTreeSet<Action> = lines.iter().filter(|line| line.ok).map(|line| line.action).collect();
    assert_eq!(done.len(), 8, "{done:?}");
    let failed: BTreeSet<&str> = lines.iter().filter(|line| !line.ok).map(|line| line.via.as_str()).collect();
    let may_fail = [
        "what is",
        "below a file",
        "of a file",
        "closed port",
        "no Unix socket",
        "NOREPLACE",
        "setxattr",
        "TCP",
        "datagram",
    ];
    assert!(failed.iter().all(|via| may_fail.iter().any(|part| via.contains(part))), "{failed:?}");
}

#[test]
fn what_it_leaves_behind_is_what_it_says() {
    let scratch = Scratch::new(OsStr::new("odd \"root\"\n")).unwrap();
    let (lines, root) = run(&scratch.0).unwrap();
    let written: BTreeSet<&Resource> = lines
        .iter()
        .filter(|line| line.ok && line.action != Action::FileDelete)
        .map(|line| &line.resource)
        .collect();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let bound = Resource::Unix(path.as_os_str().as_encoded_bytes().to_vec());
            assert!(written.contains(&Resource::path(&path)) || written.contains(&bound), "{path:?}");
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
}

#[test]
fn it_does_the_same_every_time() {
    let acts = |name: &str| {
        let scratch = Scratch::new(name).unwrap();
        let (lines, root) = run(&scratch.0).unwrap();
        let of = |line: &TruthLine| match &line.resource {
            Resource::Path(path) => {
                let below = path.strip_prefix(root.as_os_str().as_encoded_bytes()).map(<[u8]>::to_vec);
                (line.action, line.via.clone(), line.ok, below)
            }
            _ => (line.action, line.via.clone(), line.ok, None),
        };
        // Ports are shared with whatever else runs on this machine.
        lines.iter().filter(|line| line.action != Action::NetConnect).map(of).collect::<Vec<_>>()
    };
    assert!(acts("one") == acts("two"));
}

#[test]
fn a_perfect_observer_is_exact_and_a_worse_one_is_not() {
    let scratch = Scratch::new("observer").unwrap();
    let (lines, root) = run(&scratch.0).unwrap();
    let mut records: Vec<Record> = lines.iter().map(recorded).collect();
    let report = compare(&lines, &records, &root);
    assert!(report.is_exact(), "{report}");
    assert_eq!(report.totals().failed_seen, report.totals().failed);

    let forgotten = records.iter().position(|record| record.action == Action::FileDelete).unwrap();
    records.remove(forgotten);
    records.push(records.iter().find(|record| record.resource.is_below(&root)).unwrap().clone());
    let totals = compare(&lines, &records, &root).totals();
    assert_eq!((totals.missed, totals.invented), (1, 1));
}

#[test]
fn it_refuses_what_would_spoil_the_truth() {
    let scratch = Scratch::new("wrong").unwrap();
    let (root, below) = (scratch.0.as_os_str(), scratch.0.join("out"));
    let out_below_root: &[&OsStr] = &[root, below.as_os_str()];
    let wrong: [&[&OsStr]; 4] = [&[], &[root], out_below_root, &["--ops".as_ref(), "x".as_ref()]];
    for arguments in wrong {
        assert_eq!(ground_truth(arguments).unwrap().status.code(), Some(2), "{arguments:?}");
    }
}
