//! Policies that change while they are enforced.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::{World, everybody, make_folder, until, work, write};

/// An agent that opens what it is told to, and says how that ended.
struct Asked {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Asked {
    fn start(world: &World, name: &str, errors: &std::path::Path) -> Self {
        let script = "
import errno, sys
for line in sys.stdin:
    try:
        open(line.rstrip())
        print('ok', flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
";
        let mut child = world
            .aegis(&["run", "--quiet", "--config", name, "--", "/usr/bin/python3", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(errors).unwrap())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn open(&mut self, path: &str) -> String {
        writeln!(self.input, "{path}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn end(self) -> Option<i32> {
        let Self { mut child, input, output } = self;
        drop((input, output));
        child.wait().unwrap().code()
    }
}

#[test]
fn policies_that_change_are_enforced_as_they_are() {
    for who in everybody() {
        let world = World::new(who);
        world.stdout(&["init", "live", "--policy", "permit-all", "--dir", world.work().to_str().unwrap()]);
        let file = world.home().join("live/policies/permit-all.cedar");
        assert!(file.exists());
        // Written elsewhere and renamed: half of it is never read.
        let change = |text: &str| {
            let new = world.path("new.cedar");
            write(&world, &new, text);
            std::fs::rename(&new, &file).unwrap();
        };
        let errors = world.path("errors");
        let told = |text: &str| std::fs::read_to_string(&errors).unwrap().contains(text);
        let outside = world.path("outside");
        make_folder(&world, &outside);
        for path in [world.work().join("a"), world.work().join("b"), outside.join("c")] {
            write(&world, &path, "text");
        }
        let beyond = outside.join("c").to_str().unwrap().to_owned();
        let narrow = format!(
            "{}@id(\"no-a\") forbid (principal, action, resource) when {{ resource has name && resource.name == \"a\" }};",
            work(&world)
        );
        change(&work(&world));
        let mut agent = Asked::start(&world, "live", &errors);
        assert_eq!(
            [agent.open("a"), agent.open("b"), agent.open(&beyond)],
            ["ok", "ok", "EACCES"],
            "{who:?}"
        );
        change(&narrow);
        until("less is permitted", || agent.open("a") == "EACCES");
        assert_eq!(agent.open("b"), "ok");
        // One that is not valid changes nothing.
        change("permit (principal");
        until("what is wrong is told", || told("not valid") || told("can't be") || told("line 1"));
        assert_eq!([agent.open("a"), agent.open("b")], ["EACCES", "ok"], "{who:?}");
        // Within the kernel's rules, more is permitted at once.
        change(&work(&world));
        until("more is permitted", || agent.open("a") == "ok");
        // Beyond them, at the next start.
        change(&format!(
            "{}permit (principal, action, resource in Aegis::Resource::\"{}\");",
            work(&world),
            outside.display()
        ));
        until("it is told", || told("takes effect at the next start"));
        assert!(told(outside.to_str().unwrap()), "{who:?}");
        let status = || world.stdout(&["status", "live", "--json"]).parse::<serde_json::Value>().unwrap();
        assert_eq!(status()["pending"][0]["places"], serde_json::json!([outside]), "{who:?}");
        assert_eq!(agent.open("a"), "ok", "{who:?}");
        assert_ne!(agent.open(&beyond), "ok", "{who:?}");
        // None at all: nothing is permitted.
        change("// Nothing.\n");
        until("nothing is permitted", || agent.open("b") == "EACCES");
        assert_eq!(status()["pending"], serde_json::json!([]), "{who:?}");
        change(&work(&world));
        until("it is permitted again", || agent.open("b") == "ok");
        assert_eq!(agent.end(), Some(0));
        let entries = world.entries("live");
        let denied = super::on_path(&entries, "FileRead", &world.work().join("a"));
        assert!(denied.iter().any(|entry| {
            entry["decision"] == "deny"
                && entry["policies"] == serde_json::json!(["permit-all:no-a"])
                && entry["outcome"] == "EACCES"
        }));
        assert!(entries.iter().filter(|entry| entry["kind"] == "policy_set").count() >= 5);
        // The next start has it.
        change(&format!(
            "{}permit (principal, action, resource in Aegis::Resource::\"{}\");",
            work(&world),
            outside.display()
        ));
        let mut agent = Asked::start(&world, "live", &errors);
        assert_eq!(agent.open(&beyond), "ok", "{who:?}");
        assert_eq!(agent.end(), Some(0));
        assert_eq!(world.verdict("live").0, 0);
    }
}
