//! Tests of the comparison: that it finds what it is for, and accepts what it should.

use super::*;

const ROOT: &str = "/r";

fn truth(text: &str) -> Vec<TruthLine> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn records(text: &str) -> Vec<Record> {
    text.lines().filter_map(|line| parse_record(line).unwrap()).collect()
}

fn report(truth_text: &str, record_text: &str) -> Report {
    compare(&truth(truth_text), &records(record_text), Path::new(ROOT))
}

fn line(action: &str, path: &str, pid: u32, ok: bool) -> String {
    format!(r#"{{"pid":{pid},"tid":{pid},"action":"{action}","resource":{{"path":"{path}"}},"ok":{ok}}}"#)
        + "\n"
}

fn record(action: &str, path: &str, pid: u32, outcome: &str) -> String {
    let process = format!(r#"{{"pid":{pid},"tid":{pid},"ppid":1,"exe":"/bin/x"}}"#);
    format!(
        r#"{{"seq":1,"kind":"action","action":"{action}","resource":{{"path":"{path}"}},"outcome":"{outcome}","process":{process}}}"#
    ) + "\n"
}

/// What the report counts of all actions: missed, contradicted, invented.
fn verdict(report: &Report) -> (usize, usize, usize) {
    let totals = report.totals();
    (totals.missed, totals.contradicted, totals.invented)
}

#[test]
fn equal_is_exact_and_empty_is_not() {
    let both = report(&line("FileRead", "/r/a", 7, true), &record("FileRead", "/r/a", 7, "unknown"));
    assert!(both.is_exact(), "{both}");
    assert!(!report("", "").is_exact());
}

#[test]
fn a_missing_record_is_missed() {
    let told = line("FileRead", "/r/a", 7, true) + &line("FileDelete", "/r/a", 7, true);
    let report = report(&told, &record("FileRead", "/r/a", 7, "unknown"));
    assert_eq!(verdict(&report), (1, 0, 0));
    assert_eq!(report.missed, ["FileDelete /r/a by pid 7; but there is FileRead /r/a by pid 7"]);
}

#[test]
fn a_record_of_another_process_does_not_serve() {
    let told = line("FileRead", "/r/a", 7, true) + &line("FileRead", "/r/b", 8, true);
    let seen = record("FileRead", "/r/a", 8, "unknown") + &record("FileRead", "/r/b", 8, "unknown");
    let report = report(&told, &seen);
    assert_eq!(verdict(&report), (1, 0, 0));
    assert_eq!(report.missed, ["FileRead /r/a by pid 7; but there is FileRead /r/a by pid 8"]);
}

#[test]
fn one_record_serves_one_line() {
    let told = line("DirCreate", "/r/a", 7, true).repeat(3);
    let report = report(&told, &record("DirCreate", "/r/a", 7, "ok").repeat(2));
    assert_eq!(verdict(&report), (1, 0, 0));
}

#[test]
fn a_claim_without_a_line_is_invented() {
    let told = line("FileRead", "/r/a", 7, true) + &line("FileDelete", "/r/b", 7, false);
    let seen = record("FileRead", "/r/a", 7, "ok") + &record("FileDelete", "/r/b", 7, "ok");
    let report = report(&told, &(seen + &record("FileRead", "/r/a", 7, "ok")));
    assert_eq!(verdict(&report), (0, 0, 2));
    assert_eq!(report.invented, ["FileRead /r/a by pid 7", "FileDelete /r/b by pid 7"]);
}

#[test]
fn only_claims_below_the_root_by_known_processes_are_invented() {
    let told = line("FileRead", "/r/a", 7, true);
    let seen = record("FileRead", "/r/a", 7, "ok")
        + &record("FileRead", "/etc/passwd", 7, "ok")
        + &record("FileRead", "/root2/a", 7, "ok")
        + &record("FileWrite", "/r/a", 9, "ok")
        + &record("FileWrite", "/r/a", 7, "unknown");
    let report = report(&told, &seen);
    assert!(report.is_exact(), "{report}");
    assert_eq!(report.totals().recorded, 4);
}

#[test]
fn a_record_that_says_it_failed_contradicts() {
    let told = line("FileRead", "/r/a", 7, true).repeat(2);
    let seen = record("FileRead", "/r/a", 7, "missing") + &record("FileRead", "/r/a", 7, "ok");
    assert_eq!(verdict(&report(&told, &seen)), (0, 1, 0));
    assert_eq!(verdict(&report(&told, &record("FileRead", "/r/a", 7, "EACCES").repeat(2))), (0, 2, 0));
}

#[test]
fn what_failed_owes_no_record_but_is_counted() {
    let told = line("FileRead", "/r/a", 7, false) + &line("FileRead", "/r/b", 7, false);
    let told = told + &line("FileRead", "/r/c", 7, true);
    let seen = record("FileRead", "/r/a", 7, "missing") + &record("FileRead", "/r/c", 7, "unknown");
    let report = report(&told, &seen);
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.totals().failed, report.totals().failed_seen), (2, 1));
}

#[test]
fn ends_are_compared_where_there_is_a_record() {
    let failed = line("FileRead", "/r/a", 7, false).replace("\"ok\":false", "\"ok\":false,\"errno\":20");
    let told = failed.clone() + &line("FileRead", "/r/a", 7, true) + &line("FileRead", "/r/b", 7, false);
    let unlike = |seen: &str| {
        let ends = compare_ends(&truth(&told), &records(seen));
        (ends.compared, ends.unlike.len())
    };
    let one = |outcome: &str| record("FileRead", "/r/a", 7, outcome);
    assert_eq!(unlike(""), (0, 0));
    assert_eq!(unlike(&(one("ok") + &one("ENOTDIR"))), (2, 0));
    assert_eq!(unlike(&one("ok")), (1, 0));
    // One that was tried again, and one whose error is not known.
    assert_eq!(unlike(&(one("EEXIST") + &one("ok") + &one("ENOTDIR"))), (2, 0));
    assert_eq!(unlike(&record("FileRead", "/r/b", 7, "EISDIR")), (1, 0));
    for wrong in ["unknown", "missing", "EACCES"] {
        assert_eq!(unlike(&(one("ok") + &one(wrong))), (2, 1), "{wrong}");
    }
    let executed = compare_ends(
        &truth(&line("ProcessSpawn", "/r/a", 7, true)),
        &records(&record("ProcessSpawn", "/r/a", 7, "unknown")),
    );
    assert_eq!(executed, Ends { compared: 1, unlike: vec![] });
}

#[test]
fn an_exit_is_compared_by_process_and_status() {
    let told = r#"{"pid":7,"tid":7,"action":"ProcessExit","resource":{"path":"/r/x"},"status":{"code":3},"ok":true}
{"pid":8,"tid":8,"action":"ProcessExit","resource":{"path":"/r/y"},"status":{"signal":9},"ok":true}
"#;
    let seen = r#"{"kind":"action","action":"ProcessExit","resource":{"exe":"/bin/dash"},"outcome":"ok","status":{"code":3},"process":{"pid":7,"tid":7,"ppid":1,"exe":""}}
{"kind":"action","action":"ProcessExit","outcome":"ok","status":{"code":9},"process":{"pid":8}}
"#;
    let report = report(told, seen);
    assert_eq!(verdict(&report), (1, 0, 0));
    assert_eq!(
        report.missed,
        [
            "ProcessExit /r/y with signal 9 by pid 8; but there is ProcessExit (unreadable) by pid 8 with code 9"
        ]
    );
}

#[test]
fn a_connection_is_compared_with_its_direction() {
    let told = r#"{"pid":7,"tid":7,"action":"NetConnect","resource":{"address":"::1","port":80},"ok":true}
{"pid":7,"tid":7,"action":"NetConnect","resource":{"address":"::1","port":81},"direction":"listen","ok":true}
{"pid":7,"tid":7,"action":"NetConnect","resource":{"unix":"@a"},"ok":true}
"#;
    let seen = r#"{"kind":"action","action":"NetConnect","resource":{"address":"0:0::1","port":80,"transport":"tcp"},"outcome":"unknown","process":{"pid":7}}
{"kind":"action","action":"NetConnect","resource":{"address":"::1","port":81},"outcome":"unknown","process":{"pid":7}}
{"kind":"action","action":"NetConnect","resource":{"unix":"@a"},"outcome":"unknown","process":{"pid":7}}
"#;
    assert_eq!(verdict(&report(told, seen)), (1, 0, 0));
}

#[test]
fn forms_of_a_resource_are_one() {
    let forms = [
        (r#"{"path_b64":"L3Iv//4="}"#, Resource::Path(b"/r/\xff\xfe".to_vec())),
        (r#"{"path":{"b64":"L3Iv//4="}}"#, Resource::Path(b"/r/\xff\xfe".to_vec())),
        (r#"{"exe":{"b64":"L3Iv//4="},"argv":["x"]}"#, Resource::Path(b"/r/\xff\xfe".to_vec())),
        (r#"{"exe":"/r/x","argv":["x",{"b64":"/w=="}],"masked":true}"#, Resource::Path(b"/r/x".to_vec())),
        (r#"{"unix":{"b64":"L3Iv//4="}}"#, Resource::Unix(b"/r/\xff\xfe".to_vec())),
        (r#"{"host":"h","address":"127.0.0.1","port":5}"#, Resource::Net(([127, 0, 0, 1], 5).into())),
        (r#"{"unread":"?"}"#, Resource::Other),
    ];
    for (text, resource) in forms {
        assert_eq!(serde_json::from_str::<Resource>(text).unwrap(), resource, "{text}");
        let written = serde_json::to_string(&resource).unwrap();
        assert_eq!(serde_json::from_str::<Resource>(&written).unwrap(), resource, "{written}");
    }
}

#[test]
fn other_kinds_and_actions_are_passed_over_and_damage_is_not() {
    assert!(parse_record(r#"{"kind":"gap","reason":"limit"}"#).unwrap().is_none());
    assert!(parse_record("{").is_err());
    let told = line("FileRead", "/r/a", 7, true);
    let tool = r#"{"kind":"action","action":"ToolCall","resource":{"tool":"Bash"},"outcome":"ok","process":{"pid":7}}"#;
    let report = report(&told, &(record("FileRead", "/r/a", 7, "ok") + tool));
    assert!(report.is_exact(), "{report}");
}

#[test]
fn a_list_holds_twenty_of_many_actions() {
    let mut told: String = (0..50).map(|n| line("FileRead", &format!("/r/{n}"), 7, true)).collect();
    told += &line("FileDelete", "/r/0", 7, true);
    let report = report(&told, "");
    assert_eq!((report.missed.len(), report.totals().missed), (20, 51));
    assert!(report.missed.iter().any(|text| text.starts_with("FileDelete")));
}

#[test]
fn a_folder_is_read_back() {
    let folder = std::env::temp_dir().join(format!("aegis-truth-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let lines = truth(&(line("FileRead", "/r/a\\n", 7, true) + &line("FileWrite", "/r/b", 8, false)));
    write_truth(&folder.join("truth.0.jsonl"), &lines).unwrap();
    let read = load_truth(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(read.unwrap(), lines);
}
