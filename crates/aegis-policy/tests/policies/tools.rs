//! The profiles of tools.

use std::sync::Arc;

use aegis_policy::templates::Places;
use aegis_policy::tools::{Found, Kind, TOOLS};
use aegis_policy::{Engine, Origin, Policies, Request, Resource, Severity, Source, Subject, Template, Tool};
use aegis_types::{Action, AgentName, Decision, Timestamp};

/// A home whose name has what means something in a policy.
const HOMES: [&str; 3] = ["/home/me", "/home/a \"b\" \\ c", "/"];

/// The profile of a tool for a home.
fn profile(tool: &Tool, home: &str) -> String {
    let places: Vec<(&str, String)> =
        tool.places.iter().map(|place| (place.key, below(home, place.default))).collect();
    let programs = [below(home, "lib/node_modules")];
    tool.policies(Found { places: &places, programs: &programs })
}

fn below(home: &str, path: &str) -> String {
    format!("{}/{path}", home.trim_end_matches('/'))
}

fn source(path: &str, text: String) -> Source {
    Source { origin: Origin::Configuration, path: path.to_owned(), text }
}

fn engine(sources: Vec<Source>) -> Engine {
    let policies = Policies::parse(sources).unwrap_or_else(|problems| panic!("{}", problems[0].report()));
    let wrong = policies.validate();
    assert!(wrong.iter().all(|problem| problem.severity != Severity::Error), "{}", wrong[0].report());
    let subject = Subject {
        agent: AgentName::new("me").unwrap(),
        session: String::new(),
        mode: "run".into(),
        tmp: Some("/tmp/own".into()),
        tmp_is_shared: false,
        reserved: Default::default(),
    };
    Engine::new(Arc::new(policies), subject).unwrap()
}

/// The policies of `project` for a directory in a home, with the profile of a tool.
fn with_project(tool: &Tool, home: &str) -> Engine {
    let agents: Vec<String> =
        Tool::agents().flat_map(|tool| tool.places).map(|place| below(home, place.default)).collect();
    let directory = below(home, "p");
    let files =
        Template::Project.files(Places { directory: &directory, agents: &agents, ..Places::default() });
    let mut sources: Vec<Source> = files.into_iter().map(|file| source(file.name, file.text)).collect();
    sources.push(source(tool.file, profile(tool, home)));
    engine(sources)
}

fn decide(engine: &Engine, action: Action, path: &str) -> Decision {
    let request = Request {
        action,
        resource: Resource::Path(path),
        exe: "/bin/sh",
        pid: 7,
        time: Timestamp::from_nanos(0),
        listen: false,
        setuid: false,
        of_session: false,
        existed: &|| true,
    };
    let verdict = engine.decide(&request);
    assert_eq!(verdict.errors, Vec::<String>::new());
    verdict.decision
}

#[test]
fn every_profile_is_valid_whatever_the_paths_are() {
    for tool in &TOOLS {
        for home in HOMES {
            let text = profile(tool, home);
            assert!(!text.contains("{{"), "{}: {text}", tool.name);
            engine(vec![source(tool.file, text)]);
        }
        assert_eq!(Tool::named(tool.name), Some(tool));
    }
}

#[test]
fn state_is_written_and_settings_are_not_in_the_home_nor_in_the_project() {
    for tool in Tool::agents() {
        for home in HOMES {
            let engine = with_project(tool, home);
            for place in tool.places {
                let path = below(home, place.default);
                let expected = if place.kind == Kind::State { Decision::Allow } else { Decision::Deny };
                let inner = if place.kind == Kind::State { format!("{path}/some/file") } else { path };
                assert_eq!(decide(&engine, Action::FileWrite, &inner), expected, "{} {inner}", tool.name);
                assert_eq!(decide(&engine, Action::FileRead, &inner), Decision::Allow, "{}", tool.name);
            }
            // Another agent's things.
            let other = if tool.name == "claude" { ".codex/auth.json" } else { ".claude/.credentials.json" };
            for action in [Action::FileRead, Action::FileWrite] {
                assert_eq!(decide(&engine, action, &below(home, other)), Decision::Deny, "{}", tool.name);
            }
            for name in [".claude/settings.json", ".codex/config.toml", ".gemini/x", ".mcp.json"] {
                let path = below(home, &format!("p/{name}"));
                assert_eq!(decide(&engine, Action::FileWrite, &path), Decision::Deny, "{} {path}", tool.name);
            }
            assert_eq!(decide(&engine, Action::FileWrite, &below(home, "p/main.rs")), Decision::Allow);
        }
    }
}

#[test]
fn a_settings_file_is_forbidden_even_where_everything_is_permitted() {
    let files = [
        ("claude", ".claude/settings.json"),
        ("claude", ".claude/hooks/h.sh"),
        ("claude", ".claude.json"),
        ("claude", ".claude/statusline.sh"),
        ("codex", ".codex/config.toml"),
        ("codex", ".codex/hooks.json"),
        ("gemini", ".gemini/settings.json"),
        ("copilot", ".copilot/hooks/h.json"),
        ("opencode", ".config/opencode/plugin/p.js"),
        ("qwen", ".qwen/settings.json"),
        ("aider", ".aider.conf.yml"),
    ];
    for (name, file) in files {
        let everything = source("all.cedar", "permit (principal, action, resource);".to_owned());
        let tool = Tool::named(name).unwrap();
        let engine = engine(vec![everything, source(tool.file, profile(tool, "/home/me"))]);
        let path = below("/home/me", file);
        for action in [Action::FileWrite, Action::FileDelete, Action::DirCreate] {
            assert_eq!(decide(&engine, action, &path), Decision::Deny, "{file}");
        }
        assert_eq!(decide(&engine, Action::FileRead, &path), Decision::Allow, "{file}");
    }
    let engine = with_project(Tool::named("claude").unwrap(), "/home/me");
    let snapshot = "/home/me/.claude/shell-snapshots/s.sh";
    assert_eq!(decide(&engine, Action::FileWrite, snapshot), Decision::Allow);
}
