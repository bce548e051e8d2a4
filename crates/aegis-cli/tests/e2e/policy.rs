//! Policies through the binary: made, checked, asked, recorded, changed while a session runs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Who, World, everybody, on_path, text, until};

/// Makes a configuration of a template for the working directory.
fn made(who: Who, template: &str) -> World {
    let world = World::new(who);
    let work = world.work();
    world.stdout(&["init", "me", "--policy", template, "--dir", work.to_str().unwrap()]);
    world
}

fn policies(world: &World) -> PathBuf {
    world.home().join("me/policies")
}

/// Writes a policy file as its owner.
fn write(world: &World, path: &Path, content: &str) {
    let script = "cat > \"$0.new\" && chmod 600 \"$0.new\" && mv \"$0.new\" \"$0\"";
    let mut child = world.command("sh").args(["-c", script]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), content.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn json(world: &World, arguments: &[&str]) -> Value {
    serde_json::from_str(&world.stdout(arguments)).unwrap()
}

fn would<'e>(entries: &'e [Value], action: &str, path: &Path) -> Vec<(&'e str, Vec<&'e str>)> {
    on_path(entries, action, path)
        .into_iter()
        .map(|entry| {
            let ids = entry["policies"].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
            (entry["would"].as_str().unwrap(), ids.collect())
        })
        .collect()
}

#[test]
fn a_wrap_says_what_the_policies_would_decide_and_denies_nothing() {
    for who in everybody() {
        let world = made(who, "project");
        let work = world.work();
        let outside = world.path("outside");
        let script = format!(
            "echo a > inside; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit; cat /etc/passwd > /dev/null; \
             cat {} 2>/dev/null; chmod u+s inside; true",
            outside.display()
        );
        let output = world.aegis(&["wrap", "--name", "me", "--", "sh", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let summary = String::from_utf8(output.stderr).unwrap();
        assert!(summary.contains("would deny"), "{summary}");
        assert!(std::fs::read_to_string(work.join(".git/hooks/pre-commit")).unwrap() == "x\n");
        let entries = world.entries("me");
        let inside = would(&entries, "FileWrite", &work.join("inside"));
        assert_eq!(inside[0], ("allow", vec!["project:directory"]));
        assert_eq!(inside[1], ("deny", vec!["plants:setuid"]), "{inside:?}");
        let hook = work.join(".git/hooks/pre-commit");
        assert_eq!(would(&entries, "FileWrite", &hook), [("deny", vec!["plants:git-hooks"])]);
        assert_eq!(would(&entries, "FileRead", &outside), [("deny", vec![])]);
        let settings = would(&entries, "FileRead", Path::new("/etc/passwd"));
        assert_eq!(settings, [("allow", vec!["project:settings"])]);
        // Every action was asked about, and what is counted only was allowed.
        for entry in entries.iter().filter(|entry| entry["kind"] == "action") {
            assert!(entry["would"].is_string() || entry["count"].is_number(), "{entry}");
            assert_eq!(entry["decision"], "observed");
        }
        let detail = world.stdout(&["audit", "session", "me"]);
        let line = format!("  FileWrite {}: plants:git-hooks", hook.display());
        assert!(detail.contains("WOULD BE DENIED BY THE POLICIES") && detail.contains(&line), "{detail}");
        let denied = world.stdout(&["audit", "query", "me", "--would", "deny"]);
        assert_eq!(denied.lines().count(), 3, "{denied}");
        assert!(denied.contains("would be denied by plants:git-hooks"), "{denied}");
        assert_eq!(world.verdict("me").0, 0);
    }
}

#[test]
fn a_repository_that_was_there_is_told_from_a_new_one() {
    let world = made(Who::Me, "project");
    let config = world.work().join("old/.git/config");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, "x").unwrap();
    let script = "echo y > old/.git/config; mkdir -p new/.git; echo y > new/.git/config; echo z >> new/.git/config; \
                  mv old/.git gone";
    assert!(world.wrap("me", &["sh", "-c", script]).status.success());
    let entries = world.entries("me");
    assert_eq!(would(&entries, "FileWrite", &config), [("deny", vec!["plants:git-settings"])]);
    let new = would(&entries, "FileWrite", &world.work().join("new/.git/config"));
    assert_eq!(new, [("allow", vec!["project:directory"]), ("allow", vec!["project:directory"])]);
    let gone = would(&entries, "FileDelete", &world.work().join("old/.git"));
    assert_eq!(gone, [("deny", vec!["plants:git-settings"])]);
}

#[test]
fn a_policy_for_one_run_stays_out_of_the_configuration() {
    let world = made(Who::Me, "permit-all");
    let output =
        world.aegis(&["wrap", "--name", "me", "--policy", "default-deny", "--", "true"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let own = world.work().join("own.cedar");
    std::fs::write(&own, "@id(\"mine\") permit (principal, action, resource);").unwrap();
    let run = |policy: &str, name: &str| {
        let output =
            world.aegis(&["wrap", "--name", name, "--policy", policy, "--", "true"]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    };
    run("./own.cedar", "me");
    assert!(world.wrap("me", &["true"]).status.success());
    let spawned = would(&world.entries("me"), "ProcessSpawn", &std::fs::canonicalize("/bin/true").unwrap())
        .into_iter()
        .map(|(would, ids)| format!("{would} {}", ids.join(" ")))
        .collect::<Vec<_>>();
    let expected = ["deny default-deny:everything", "allow own:mine", "allow permit-all:everything"];
    assert_eq!(spawned, expected);
    // Where there is no configuration yet, they become its own.
    run("default-deny", "new");
    assert_eq!(
        json(&world, &["policy", "list", "new", "--json"])["policies"][0]["id"],
        "default-deny:everything"
    );
    let unknown =
        world.aegis(&["wrap", "--name", "x", "--policy", "nothing", "--", "true"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(125));
    assert!(text(&unknown).contains("the templates are project"), "{}", text(&unknown));
    assert!(!world.home().join("x").exists());
}

#[test]
fn without_a_policy_nothing_is_said() {
    let world = World::new(Who::Me);
    assert!(world.wrap("me", &["true"]).status.success());
    let entries = world.entries("me");
    assert!(entries.iter().all(|entry| entry.get("would").is_none() && entry.get("policies").is_none()));
    assert!(world.stdout(&["audit", "policy-history", "me"]).contains("no policy was in force"));
    assert!(world.stdout(&["policy", "list", "me"]).contains("no policy is in force"));
    // What wrap made is completed.
    let output = world.stdout(&["init", "me"]);
    assert!(output.contains("completed configuration `me`"), "{output}");
    let again = world.aegis(&["init", "me"]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("there is a configuration `me` already"), "{}", text(&again));
}

/// A session that runs until it is let go.
struct Held {
    child: std::process::Child,
    go: PathBuf,
}

fn hold(world: &World) -> Held {
    let (started, go) = (world.work().join("started"), world.work().join("go"));
    let script = "touch started; while ! test -e go; do sleep 0.02; done; cat marker; true";
    let child = world
        .aegis(&["wrap", "--name", "me", "--", "sh", "-c", script])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the session runs", || started.exists());
    Held { child, go }
}

impl Held {
    /// Lets the agent go on, and returns what was told on standard error.
    fn finish(self) -> String {
        std::fs::write(&self.go, "").unwrap();
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn a_change_takes_effect_while_a_session_runs_and_an_invalid_one_does_not() {
    for who in everybody() {
        let world = made(who, "permit-all");
        let file = policies(&world).join("permit-all.cedar");
        let held = hold(&world);
        let recorded = |kind: &str| {
            let entries = world.entries("me");
            entries.iter().filter(|entry| entry["kind"] == kind).count()
        };
        until("the first set is recorded", || recorded("policy_set") == 1);
        write(&world, &file, "permit (principal, action, resource)\npermit");
        until("the mistake is recorded", || recorded("policy_fault") == 1);
        write(
            &world,
            &file,
            "@id(\"no-marker\")\nforbid (principal, action, resource) when { resource has name && resource.name == \"marker\" };\npermit (principal, action, resource);\n",
        );
        until("the change is recorded", || recorded("policy_set") == 2);
        let told = held.finish();
        assert!(
            told.contains("the policies have changed and are not valid; what was in force stays"),
            "{told}"
        );
        assert!(told.contains("permit-all.cedar:2:1: error: `permit` inside of a policy"), "{told}");
        assert!(told.contains("the policies have changed: set "), "{told}");
        let entries = world.entries("me");
        let marker = would(&entries, "FileRead", &world.work().join("marker"));
        assert_eq!(marker, [("deny", vec!["permit-all:no-marker"])]);
        let fault = entries.iter().find(|entry| entry["kind"] == "policy_fault").unwrap();
        let sets: Vec<&Value> = entries.iter().filter(|entry| entry["kind"] == "policy_set").collect();
        assert_eq!(fault["policy_fault"]["kept"], sets[0]["policy_set"]["sha256"]);
        let start = entries.iter().find(|entry| entry["kind"] == "session_start").unwrap();
        assert_eq!(start["start"]["policy"], sets[0]["policy_set"]["sha256"]);
        assert_eq!(world.verdict("me").0, 0);
        let history = world.stdout(&["audit", "policy-history", "me"]);
        for line in ["+@id(\"no-marker\")", "not taken at", "while it ran, in session"] {
            assert!(history.contains(line), "{line}: {history}");
        }
    }
}

#[test]
fn policies_that_go_away_deny_and_those_that_come_are_taken() {
    let world = made(Who::Me, "permit-all");
    let file = policies(&world).join("permit-all.cedar");
    let held = hold(&world);
    let sets = || world.entries("me").iter().filter(|entry| entry["kind"] == "policy_set").count();
    std::fs::remove_file(&file).unwrap();
    until("the empty set is in force", || sets() == 2);
    held.finish();
    let entries = world.entries("me");
    assert_eq!(would(&entries, "FileRead", &world.work().join("marker")), [("deny", vec![])]);
    // A session that began without.
    std::fs::remove_file(world.work().join("go")).unwrap();
    std::fs::remove_file(world.work().join("started")).unwrap();
    let held = hold(&world);
    write(&world, &file, "permit (principal, action, resource);");
    until("they are in force", || sets() == 3);
    held.finish();
    let marker = world.work().join("marker");
    assert_eq!(would_of_last(&world, &marker), ("allow".to_owned(), vec!["permit-all:1".to_owned()]));
}

fn would_of_last(world: &World, path: &Path) -> (String, Vec<String>) {
    let entries = world.entries("me");
    let entry = on_path(&entries, "FileRead", path).pop().unwrap().clone();
    let ids = entry["policies"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
    (entry["would"].as_str().unwrap().to_owned(), ids.collect())
}

#[test]
fn the_history_has_every_text_once_and_in_full() {
    let world = made(Who::Me, "permit-all");
    // Longer than a record.
    let comment = format!("// {}\n", "\"quoted\" text, a word, \u{e9}\t".repeat(40));
    let long = format!("{}permit (principal, action, resource);\n", comment.repeat(100));
    write(&world, &policies(&world).join("long.cedar"), &long);
    for _ in 0..3 {
        assert!(world.wrap("me", &["true"]).status.success());
    }
    let entries = world.entries("me");
    let texts: Vec<&Value> = entries.iter().filter_map(|entry| entry.get("policy_text")).collect();
    let hash = sha256(&world, &long);
    let whole: String = texts
        .iter()
        .filter(|text| text["sha256"] == hash.as_str())
        .map(|text| text["text"].as_str().unwrap())
        .collect();
    assert_eq!(whole, long);
    assert!(texts.len() > 2 && texts.len() < 12, "{}", texts.len());
    let history = json(&world, &["audit", "policy-history", "me", "--json"]);
    assert_eq!(history["sets"].as_array().unwrap().len(), 1);
    assert_eq!(history["sets"][0]["times"], 3);
    // As the page on the format says, by `sha256sum`.
    let files = history["sets"][0]["files"].as_array().unwrap();
    let list: String = files
        .iter()
        .map(|file| format!("{}  {}\n", file["sha256"].as_str().unwrap(), file["name"].as_str().unwrap()))
        .collect();
    assert_eq!(history["sets"][0]["sha256"], sha256(&world, &list).as_str());
    assert_eq!(world.verdict("me").0, 0);
}

fn sha256(world: &World, content: &str) -> String {
    let mut child = world.command("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), content.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_valid_set_is_known_by_its_hash() {
    let world = made(Who::Me, "permit-all");
    let known = world.home().join("me/validated");
    assert!(world.wrap("me", &["true"]).status.success());
    let lines = std::fs::read_to_string(&known).unwrap();
    assert_eq!(lines.lines().count(), 1);
    let status = world.stdout(&["status", "me"]);
    assert!(status.contains("policies       1 in 1 files, valid: set "), "{status}");
    // What the schema refuses and the parser does not: taken where its hash is known, which shows that it is not
    // validated again; refused where it is not.
    let file = policies(&world).join("permit-all.cedar");
    write(&world, &file, "permit (principal, action, resource) when { resource.nothing };");
    let status = world.aegis(&["status", "me"]).output().unwrap();
    assert_eq!(status.status.code(), Some(3), "{}", text(&status));
    let refused = world.wrap("me", &["true"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused).contains("attribute `nothing`"), "{}", text(&refused));
    let set = {
        let list = format!("{}  permit-all\n", sha256(&world, &std::fs::read_to_string(&file).unwrap()));
        sha256(&world, &list)
    };
    let schema = lines.split_whitespace().nth(1).unwrap();
    write(&world, &known, &format!("{set} {schema}\n"));
    let taken = world.wrap("me", &["true"]);
    assert!(taken.status.success(), "{}", text(&taken));
    assert!(text(&taken).contains("can't be evaluated, so what it is about is denied"), "{}", text(&taken));
    write(&world, &known, &format!("{set} {}\n", "0".repeat(64)));
    assert_eq!(world.wrap("me", &["true"]).status.code(), Some(125));
}

#[test]
fn hosts_of_the_settings_are_policies() {
    let world = made(Who::Me, "project");
    let settings = world.home().join("me/aegis.toml");
    let written = std::fs::read_to_string(&settings).unwrap();
    let with = |hosts: &str| {
        write(
            &world,
            &settings,
            &written.replace("allowed_network = []", &format!("allowed_network = {hosts}")),
        );
    };
    with("[\"api.example.com:443\", \"*.example.org\", \"10.0.0.0/8\"]");
    let decision = |resource: &str| {
        let answer = json(
            &world,
            &["policy", "check", "me", "--action", "NetConnect", "--resource", resource, "--json"],
        );
        answer["decision"].as_str().unwrap().to_owned()
    };
    for (resource, expected) in [
        ("api.example.com:443", "allow"),
        ("api.example.com:80", "deny"),
        ("a.b.example.org:1", "allow"),
        ("example.org:1", "deny"),
        ("10.1.2.3:22", "allow"),
        ("11.1.2.3:22", "deny"),
        ("[::1]:22", "deny"),
    ] {
        assert_eq!(decision(resource), expected, "{resource}");
    }
    let list = world.stdout(&["policy", "list", "me"]);
    assert!(list.contains("allowed_network") && list.contains("settings"), "{list}");
}

#[test]
fn a_check_says_who_decided_and_where_that_stands() {
    let world = made(Who::Me, "project");
    let shown =
        world.stdout(&["policy", "check", "me", "--action", "FileWrite", "--resource", ".git/hooks/x"]);
    assert!(
        shown.starts_with(&format!("deny: FileWrite {}/.git/hooks/x\n", world.work().display())),
        "{shown}"
    );
    assert!(
        shown.contains(&format!(
            "forbidden by plants:git-hooks ({}:8)",
            policies(&world).join("plants.cedar").display()
        )),
        "{shown}"
    );
    for (action, resource, expected) in [
        ("FileRead", "/etc/shadow", "no policy permits it"),
        ("ProcessSpawn", "sh -c ls", "permitted by project:programs"),
        ("ToolCall", "Bash(npm test)", "no policy permits it"),
        ("NetConnect", "unix:/run/docker.sock", "no policy permits it"),
        ("FileRead", "x", "permitted by project:directory"),
    ] {
        let shown = world.stdout(&["policy", "check", "me", "--action", action, "--resource", resource]);
        assert!(shown.contains(expected), "{resource}: {shown}");
    }
    for (action, resource) in [("NetConnect", "example.com"), ("ToolCall", "Bash"), ("NetConnect", "a:70000")]
    {
        let output = world
            .aegis(&["policy", "check", "me", "--action", action, "--resource", resource])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{resource}");
    }
}

#[test]
fn a_plan_is_printed_for_every_template() {
    for template in ["project", "allow-read-only", "default-deny", "permit-all"] {
        let world = made(Who::Me, template);
        let shown = world.stdout(&["policy", "compile", "me", "--target", "landlock"]);
        let plan = json(&world, &["policy", "compile", "me", "--json"]);
        let work = world.work();
        let hull = |action: &str| plan["files"][action]["hull"].as_array().unwrap().clone();
        let holds = |action: &str, path: &str| hull(action).iter().any(|grant| grant["path"] == path);
        match template {
            "project" => {
                assert!(holds("FileWrite", work.to_str().unwrap()) && !holds("FileWrite", "/"), "{plan}");
                assert!(shown.contains("plants:git-hooks: it asks for resource.name"), "{shown}");
                assert!(shown.contains("/etc/shadow"), "{shown}");
            }
            "allow-read-only" => assert!(holds("FileRead", "/") && hull("FileWrite").is_empty()),
            "default-deny" => assert!(hull("FileRead").is_empty() && shown.contains("nothing is granted")),
            _ => assert!(
                holds("FileWrite", "/") && plan["files"]["FileWrite"]["residuals"] == serde_json::json!([])
            ),
        }
    }
}

#[test]
fn a_forbid_of_everything_is_warned_of_at_each_start() {
    let world = made(Who::Me, "default-deny");
    assert!(!text(&world.wrap("me", &["true"])).contains("warning"));
    write(&world, &policies(&world).join("more.cedar"), "permit (principal, action, resource);");
    let warned = text(&world.wrap("me", &["true"]));
    assert!(warned.contains("default-deny.cedar:5:1: warning: this forbids everything"), "{warned}");
    assert!(world.stdout(&["policy", "list", "me"]).contains("this forbids everything"));
    let valid = world.stdout(&["policy", "validate", "--path", policies(&world).to_str().unwrap()]);
    assert!(valid.contains("1 warning") && valid.contains("this forbids everything"), "{valid}");
}

#[test]
fn what_is_generated_is_valid() {
    let world = World::new(Who::Me);
    for template in ["project", "allow-read-only", "default-deny", "permit-all"] {
        let printed = world.stdout(&["policy", "generate", "--template", template]);
        let file = world.work().join("x.cedar");
        std::fs::write(&file, printed).unwrap();
        let shown = world.stdout(&["policy", "validate", "--path", "x.cedar"]);
        assert!(shown.starts_with("x.cedar: valid, "), "{shown}");
    }
    assert!(world.stdout(&["policy", "schema"]).contains("namespace Aegis"));
}

#[test]
fn mistakes_are_shown_with_a_caret_and_a_code_of_their_own() {
    let world = World::new(Who::Me);
    let validate = |arguments: &[&str]| {
        let output = world
            .aegis(&[&["policy", "validate", "--path", "x.cedar"], arguments].concat())
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    std::fs::write(
        world.work().join("x.cedar"),
        "permit (\n  principal,\n  action == Aegis::Action::\"Read\",\n  resource\n);\n",
    )
    .unwrap();
    let (code, shown) = validate(&[]);
    assert_eq!(code, 3);
    for part in [
        "x.cedar:3:13: error: ",
        "3 |   action == Aegis::Action::\"Read\",\n  |             ^",
        "help: `Read` is a group of actions: write `action in Aegis::Action::\"Read\"`",
        "not valid, 1 error",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (code, shown) = validate(&["--json"]);
    let value: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &value["valid"], &value["problems"][0]["line"]), (3, &false.into(), &3.into()));
    std::fs::remove_file(world.work().join("x.cedar")).unwrap();
    assert_eq!(validate(&[]).0, 4);
}

/// Runs a command that has a second, of which a debug build takes a part.
fn soon(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    if child.try_wait().unwrap().is_none() {
        child.kill().unwrap();
    }
    child.wait_with_output().unwrap()
}

#[test]
fn hostile_policy_files_are_refused_and_nothing_hangs() {
    let world = made(Who::Me, "permit-all");
    let file = policies(&world).join("x.cedar");
    let expect = |what: &str, words: &str| {
        let validated = soon(&mut world.aegis(&["policy", "validate", "--path", file.to_str().unwrap()]));
        assert_eq!(validated.status.code(), Some(3), "{what}: {}", text(&validated));
        assert!(text(&validated).contains(words), "{what}: {}", text(&validated));
        let wrapped = soon(&mut world.aegis(&["wrap", "--name", "me", "--", "touch", "ran"]));
        assert_eq!(wrapped.status.code(), Some(125), "{what}: {}", text(&wrapped));
        assert!(text(&wrapped).contains(words), "{what}: {}", text(&wrapped));
        assert!(!world.work().join("ran").exists(), "{what}");
        std::fs::remove_file(&file).unwrap();
    };
    let content = |what: &str, bytes: &[u8], words: &str| {
        std::fs::write(&file, bytes).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        expect(what, words);
    };
    content("10 MB", &vec![b' '; 10 << 20], "it has more than 1048576 bytes");
    content("no UTF-8", b"permit (\n\xff\xfe", "line 2, byte 9 of the file, is not UTF-8");
    let nested = format!(
        "permit (principal, action, resource) when {{ {}true{} }};",
        "(".repeat(100_000),
        ")".repeat(100_000)
    );
    content("nested", nested.as_bytes(), "brackets are nested deeper than 20");
    let chained =
        format!("permit (principal, action, resource) when {{ true{} }};", " && true".repeat(100_000));
    content("chained", chained.as_bytes(), "more than 100 operators");
    content(
        "many",
        "permit(principal,action,resource);".repeat(30_000).as_bytes(),
        "more than 5000 policies",
    );
    let parts =
        format!("permit (principal, action, resource) when {{ context{} }};", "[\"a\"]".repeat(60_000));
    content("parts", parts.as_bytes(), "follow each other");
    let clauses = format!("permit (principal, action, resource){};", " when { true }".repeat(10_000));
    content("clauses", clauses.as_bytes(), "more than 100 operators");
    content("zero bytes", &vec![0; 1 << 20], "x.cedar:1:1: error");
    content("brackets", &vec![b'('; 1 << 20], "nested deeper");
    content("open string", format!("permit(\"{}", "a".repeat(1 << 19)).as_bytes(), "a string is not closed");
    let words = "permit forbid ".repeat(70_000);
    content("words", words.as_bytes(), "`forbid` inside of a policy");
    let junk = "permit x;".repeat(4_000);
    content("mistakes", junk.as_bytes(), "x.cedar:1:8: error");
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    expect("a pipe", "it is no plain file");
    std::os::unix::fs::symlink(&file, &file).unwrap();
    expect("a loop", "symbolic links");
    std::fs::create_dir(&file).unwrap();
    // As a set of its own it is an empty one; in a folder of policies it is no file.
    let wrapped = soon(&mut world.aegis(&["wrap", "--name", "me", "--", "true"]));
    assert!(text(&wrapped).contains("it is no plain file"), "{}", text(&wrapped));
    std::fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    expect("a device", "it is no plain file");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    expect("written by others", "others than its owner can write to it");
    assert!(world.wrap("me", &["true"]).status.success());
}

#[test]
fn a_configuration_that_could_not_be_made_is_not_there() {
    let world = World::new(Who::Me);
    let work = world.work().display().to_string();
    std::fs::write(
        world.work().join("bad.cedar"),
        "permit (principal, action, resource) when { resource.x };",
    )
    .unwrap();
    for (arguments, code, words) in [
        (vec!["init", "me", "--policy", "nothing"], 2, "there is no template `nothing`"),
        (vec!["init", "me", "--policy", "bad.cedar"], 1, "attribute `x`"),
        (vec!["init", "me", "--dir", "/nonexistent"], 2, "there is no directory /nonexistent"),
        (vec!["init", "me", "--dir", "/etc/passwd"], 2, "is no directory"),
        (vec!["init", "me", "--dir", "/"], 2, "holds your home"),
        (vec!["init", "me", "--dir", &format!("{work}/../user")], 2, "holds your home"),
        (vec!["init", "run"], 2, "run"),
        (vec!["init"], 2, "without a terminal"),
    ] {
        let output = world.aegis(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(words), "{arguments:?}: {}", text(&output));
    }
    assert!(!world.home().join("me").exists());
    assert!(world.wrap("x", &["true"]).status.success());
}

#[test]
fn a_name_that_is_a_link_is_told() {
    let world = made(Who::Me, "permit-all");
    std::fs::create_dir(world.work().join("real")).unwrap();
    std::os::unix::fs::symlink("real", world.work().join("alias")).unwrap();
    let alias = world.work().join("alias").display().to_string();
    let forbid = format!("forbid (principal, action, resource in Aegis::Resource::\"{alias}\");");
    write(&world, &policies(&world).join("more.cedar"), &forbid);
    let told = text(&world.wrap("me", &["true"]));
    let real = world.work().join("real").display().to_string();
    assert!(told.contains(&format!("warning: `{alias}` is `{real}` on this machine")), "{told}");
    let listed = world.stdout(&["policy", "list", "me"]);
    assert!(listed.contains(&format!("help: write \"{real}\"")), "{listed}");
}

#[test]
fn a_check_asks_as_a_session_would() {
    let world = made(Who::Me, "permit-all");
    let content = "@id(\"push\") forbid (principal, action, resource) when { context has arguments && context.arguments.contains(\"push\") };\n\
                   @id(\"line\") forbid (principal, action, resource) when { resource has command && resource.command like \"*git status*\" };\n\
                   @id(\"own\") forbid (principal, action, resource in Aegis::Resource::\"/proc/self\");\n\
                   @id(\"tmp\") forbid (principal, action, resource in Aegis::Resource::\"session:tmp\");\n\
                   @id(\"host\") forbid (principal, action, resource) when { resource has host && resource.host == \"api.example.com\" };\n\
                   @id(\"inner\") forbid (principal, action, resource) when { resource has address && resource.address.isInRange(ip(\"10.0.0.0/8\")) };";
    write(&world, &policies(&world).join("more.cedar"), content);
    for (action, resource, expected) in [
        ("ProcessSpawn", "git push", "more:push"),
        ("ProcessSpawn", "git status -s", "more:line"),
        ("ToolCall", "Bash(git push)", "more:push"),
        ("FileRead", "/proc/self/maps", "more:own"),
        ("FileWrite", "session:tmp/x", "more:tmp"),
        ("NetConnect", "API.example.com:1", "more:host"),
        ("NetConnect", "[::ffff:10.1.2.3]:443", "more:inner"),
    ] {
        let answer =
            json(&world, &["policy", "check", "me", "--action", action, "--resource", resource, "--json"]);
        assert_eq!(answer["policies"][0]["id"], expected, "{resource}: {answer}");
    }
    let unknown = world
        .aegis(&["policy", "check", "me", "--action", "ProcessSpawn", "--resource", "nosuchprogram"])
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn what_was_learned_permits_what_was_done() {
    for who in everybody() {
        let world = made(who, "default-deny");
        let work = world.work();
        let secret = world.path("user/.ssh");
        let made_ready = world.command("sh").args(["-c", "mkdir -p \"$0\" && echo k > \"$0/id_ed25519\" && echo h > \"$0/../notes\" && mkdir -p src && for n in 1 2 3; do echo $n > src/$n; done"]).arg(&secret).status().unwrap();
        assert!(made_ready.success());
        let script = "cat src/1 src/2 \"$HOME/notes\" \"$HOME/.ssh/id_ed25519\" > /dev/null; mkdir -p out; \
                      t=$(mktemp); echo x > \"$t\"; rm \"$t\"; for n in a b; do echo $n > out/$n; done; git init -q r; \
                      git -C r -c user.name=t -c user.email=t@t commit -q --allow-empty -m x; true";
        let run = |name: &str, policy: Option<&str>| {
            let mut arguments = vec!["wrap", "--name", name];
            arguments.extend(policy.iter().flat_map(|policy| ["--policy", policy]));
            arguments.extend(["--", "sh", "-c", script]);
            let output = world.aegis(&arguments).output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
        };
        run("me", None);
        let sessions = json(&world, &["audit", "sessions", "me", "--json"]);
        let id = sessions[0]["id"].as_str().unwrap();
        let learned = world.aegis(&["policy", "learn", id.get(..13).unwrap()]).output().unwrap();
        assert!(learned.status.success(), "{}", text(&learned));
        let told = String::from_utf8(learned.stderr).unwrap();
        assert!(told.contains(&format!("left out: FileRead {}/id_ed25519", secret.display())), "{told}");
        let policy = String::from_utf8(learned.stdout).unwrap();
        assert!(policy.contains(&format!("{}/src", work.display())), "{policy}");
        write(&world, &work.join("learned.cedar"), &policy);
        assert!(
            world
                .stdout(&["policy", "validate", "--path", "learned.cedar"])
                .starts_with("learned.cedar: valid, ")
        );
        run("again", Some("learned.cedar"));
        let denied = world.stdout(&["audit", "query", "again", "--would", "deny"]);
        assert_eq!(denied.lines().count(), 1, "{denied}\n{policy}");
        assert!(denied.contains("id_ed25519"), "{denied}");
    }
    let world = World::new(Who::Me);
    let nothing = world.aegis(&["policy", "learn", "0197c0de"]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(4), "{}", text(&nothing));
}

#[test]
fn decisions_that_flipped_are_told_with_the_policies_that_did_it() {
    let world = made(Who::Me, "permit-all");
    let own = "@id(\"no-x\") forbid (principal, action, resource) when { resource has name && resource.name == \"x\" };\n\
               @id(\"all\") permit (principal, action, resource);";
    std::fs::write(world.work().join("own.cedar"), own).unwrap();
    std::fs::write(world.work().join("x"), "").unwrap();
    let run = |arguments: &[&str]| {
        let arguments = [&["wrap", "--name", "me"], arguments, &["--", "cat", "x"]].concat();
        assert!(world.aegis(&arguments).output().unwrap().status.success());
    };
    run(&[]);
    run(&["--policy", "./own.cedar"]);
    let sessions = json(&world, &["audit", "sessions", "me", "--json"]);
    let ids: Vec<&str> =
        sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap()).collect();
    let output = world.aegis(&["diff", ids[0], ids[1]]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in ["allow", "deny", "permit-all:everything", "own:no-x"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let same = world.aegis(&["diff", ids[0], ids[0]]).output().unwrap();
    assert_eq!(same.status.code(), Some(0));
}

#[test]
fn an_act_that_is_more_than_one_has_to_be_permitted_as_each() {
    let world = made(Who::Me, "permit-all");
    let content = "@id(\"read\") forbid (principal, action == Aegis::Action::\"FileRead\", resource) when { resource has name && resource.name == \"key\" };\n\
                   @id(\"sh\") forbid (principal, action == Aegis::Action::\"ProcessSpawn\", resource) when { resource has name && resource.name like \"perl*\" };\n\
                   @id(\"git\") forbid (principal, action in Aegis::Action::\"Write\", resource) when { resource has path && resource.path like \"*/.git\" };";
    write(&world, &policies(&world).join("more.cedar"), content);
    let script = "import os\n\
                  os.close(os.open('key', os.O_RDWR | os.O_CREAT))\n\
                  os.close(os.open('key', os.O_WRONLY))\n\
                  os.link('key', 'other')\n\
                  os.makedirs('repo/.git')\n\
                  os.rename('repo', 'moved')\n\
                  os.system('./script')\n\
                  os.system('echo x > /dev/stderr | cat')\n";
    std::fs::write(world.work().join("script"), "#!/usr/bin/perl\n").unwrap();
    std::fs::set_permissions(world.work().join("script"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = world.wrap("me", &["python3", "-c", script]);
    assert!(output.status.success(), "{}", text(&output));
    let entries = world.entries("me");
    let said = |action: &str, name: &str| {
        let all = would(&entries, action, &world.work().join(name));
        all.into_iter().map(|(would, ids)| format!("{would} {}", ids.join(" "))).collect::<Vec<_>>()
    };
    assert_eq!(said("FileWrite", "key"), ["deny more:read", "allow permit-all:everything"]);
    assert_eq!(said("FileWrite", "other"), ["deny more:read"]);
    assert_eq!(said("FileDelete", "repo"), ["deny more:git"]);
    assert_eq!(said("FileWrite", "moved"), ["deny more:git"]);
    assert_eq!(said("ProcessSpawn", "script"), ["deny more:sh"]);
    let pipes: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["resource"]["path"].as_str().is_some_and(|path| path.starts_with("pipe:")))
        .collect();
    assert!(pipes.iter().all(|entry| entry.get("would").is_none()), "{pipes:?}");
}

#[test]
fn what_is_aegis_own_no_policy_can_permit() {
    let world = made(Who::Me, "permit-all");
    let settings = world.home().join("me/aegis.toml");
    let written = std::fs::read_to_string(&settings).unwrap();
    let places = world.work().join("rules");
    std::fs::create_dir(&places).unwrap();
    write(&world, &places.join("all.cedar"), "permit (principal, action, resource);");
    write(
        &world,
        &settings,
        &written.replace(
            "# policy_paths = [\"policies\"]",
            &format!("policy_paths = [{:?}]", places.to_str().unwrap()),
        ),
    );
    let home = world.home().display().to_string();
    let script = format!(
        "cat {home}/me/aegis.toml {home}/me/sandbox/x rules/all.cedar 2>/dev/null; echo >> rules/new; mv rules gone; mv gone rules; true"
    );
    let output = world.wrap("me", &["sh", "-c", &script]);
    assert!(output.status.success(), "{}", text(&output));
    let entries = world.entries("me");
    let said = |action: &str, path: &Path| {
        let all = would(&entries, action, path);
        all.into_iter().map(|(would, ids)| format!("{would} {}", ids.join(" "))).collect::<Vec<_>>()
    };
    assert_eq!(said("FileRead", &settings), ["deny aegis:home"]);
    assert_eq!(said("FileRead", &world.home().join("me/sandbox/x")), ["allow all:1"]);
    assert_eq!(said("FileRead", &places.join("all.cedar")), ["allow all:1"]);
    assert_eq!(said("FileWrite", &places.join("new")), ["deny aegis:policies"]);
    assert_eq!(said("FileDelete", &places), ["deny aegis:policies"]);
    let checked = world.stdout(&[
        "policy",
        "check",
        "me",
        "--action",
        "FileRead",
        "--resource",
        settings.to_str().unwrap(),
    ]);
    assert!(checked.contains("forbidden by aegis:home: it is Aegis' own"), "{checked}");
}

#[test]
fn a_name_that_existed_stays_one_whatever_becomes_of_it() {
    let world = made(Who::Me, "project");
    let config = world.work().join(".git/config");
    std::fs::create_dir(config.parent().unwrap()).unwrap();
    std::fs::write(&config, "x").unwrap();
    let script =
        "echo y > new; mv new .git/config; echo z >> .git/config; rm .git/config; echo w > .git/config";
    assert!(world.wrap("me", &["sh", "-c", script]).status.success());
    let entries = world.entries("me");
    let all = would(&entries, "FileWrite", &config);
    assert!(
        all.len() >= 3 && all.iter().all(|said| *said == ("deny", vec!["plants:git-settings"])),
        "{all:?}"
    );
}

#[test]
fn a_folder_full_of_other_files_hides_no_policy() {
    let world = made(Who::Me, "permit-all");
    for n in 0..12_000 {
        std::fs::File::create(policies(&world).join(format!("{n}.txt"))).unwrap();
    }
    for n in 0..5 {
        let forbid = format!(
            "forbid (principal, action, resource) when {{ resource has name && resource.name == \"x{n}\" }};"
        );
        write(&world, &policies(&world).join(format!("f{n}.cedar")), &forbid);
    }
    let list = json(&world, &["policy", "list", "me", "--json"]);
    assert_eq!(list["policies"].as_array().unwrap().len(), 6);
    std::fs::File::create(policies(&world).join("a\u{1b}]0;b\u{7}.cedar")).unwrap();
    let refused = world.wrap("me", &["true"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused).contains("has a control character"), "{}", text(&refused));
    assert!(!text(&refused).contains('\u{1b}'), "{}", text(&refused));
}

#[test]
fn a_short_stack_is_no_obstacle() {
    let world = made(Who::Me, "permit-all");
    let chain = vec!["resource has path"; 101].join(" && ");
    let deep = format!("{}{chain}{}", "(".repeat(19), ")".repeat(19));
    write(
        &world,
        &policies(&world).join("deep.cedar"),
        &format!("permit (principal, action, resource) when {{ {deep} }};"),
    );
    let run = |script: &str| {
        let script = format!("ulimit -s 512; exec \"$0\" {script}");
        world.command("sh").args(["-c", &script]).arg(world.path("bin/aegis")).output().unwrap()
    };
    for script in ["policy validate --path \"$AEGIS_HOME/me/policies\"", "wrap --name me -- true"] {
        let output = run(script);
        assert!(output.status.success(), "{script}: {}", text(&output));
    }
    let denied = world.stdout(&["audit", "query", "me", "--would", "deny", "--json"]);
    assert!(denied.is_empty(), "{denied}");
}

#[test]
fn a_directory_of_temporary_files_that_holds_the_home_is_none() {
    let world = made(Who::Me, "project");
    let home = world.path("user");
    std::fs::write(home.join("secret"), "").unwrap();
    for tmp in ["/", home.parent().unwrap().to_str().unwrap(), home.to_str().unwrap()] {
        let output = world
            .aegis(&["wrap", "--name", "me", "--", "cat", home.join("secret").to_str().unwrap()])
            .env("TMPDIR", tmp)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
    let entries = world.entries("me");
    assert_eq!(would(&entries, "FileRead", &home.join("secret")), vec![("deny", vec![]); 3]);
}

/// Runs `aegis` where `/etc` is a folder of the world's: in a namespace in which the user is root.
fn with_etc(world: &World, arguments: &[&str]) -> Output {
    let script = "mount --bind \"$0\" /etc && exec \"$@\"";
    let mut command = world.command("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(world.path("etc"));
    command.arg(world.path("bin/aegis")).args(arguments).output().unwrap()
}

#[test]
fn the_organisations_policies_are_in_force_for_everyone() {
    for who in everybody() {
        let world = made(who, "permit-all");
        let folder = world.path("etc/aegis/policies");
        let make =
            "mkdir -p \"$0\" && chmod 755 \"$0\"/.. \"$0\" && cp /etc/passwd /etc/ld.so.cache \"$0/../..\"";
        assert!(world.command("sh").args(["-c", make]).arg(&folder).status().unwrap().success());
        let file = folder.join("base.cedar");
        write(
            &world,
            &file,
            "@id(\"no-x\") forbid (principal, action, resource) when { resource has name && resource.name == \"x\" };",
        );
        let listed = with_etc(&world, &["policy", "list", "me"]);
        let shown = text(&listed);
        assert!(listed.status.success(), "{shown}");
        let line = shown.lines().find(|line| line.starts_with("organisation/base:no-x")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1..3], ["organisation", "/etc/aegis/policies/base.cedar:1"], "{line}");
        // Whatever the configuration is, also for one run, and also where it has no policy of its own.
        for arguments in [
            &["wrap", "--name", "me", "--", "cat", "x"][..],
            &["wrap", "--name", "me", "--policy", "permit-all", "--", "cat", "x"],
            &["wrap", "--name", "other", "--", "cat", "x"],
        ] {
            let output = with_etc(&world, arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
        }
        for name in ["me", "other"] {
            let all = world.entries(name);
            let said = would(&all, "FileRead", &world.work().join("x"));
            assert!(
                !said.is_empty() && said.iter().all(|s| *s == ("deny", vec!["organisation/base:no-x"])),
                "{said:?}"
            );
        }
        // Who else can write to it could undo it: then nothing starts.
        assert!(world.command("chmod").arg("o+w").arg(&file).status().unwrap().success());
        let refused = with_etc(&world, &["wrap", "--name", "me", "--", "true"]);
        assert_eq!(refused.status.code(), Some(125), "{}", text(&refused));
        assert!(text(&refused).contains("chmod go-w /etc/aegis/policies/base.cedar"), "{}", text(&refused));
    }
}
