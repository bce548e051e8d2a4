//! What is cut and kept for speed changes no answer, and what a kernel is told fits what Cedar says.

use std::sync::Arc;

use aegis_policy::plan::State;
use aegis_policy::{Engine, Origin, Policies, Request, Resource, SandboxPlan, Severity, Source, Subject};
use aegis_types::{Action, AgentName, Decision, Timestamp};
use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request as CedarRequest,
    RestrictedExpression,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// How many cases each property is tried on; `AEGIS_TEST_CASES` at build time asks for more.
const CASES: &str = match option_env!("AEGIS_TEST_CASES") {
    Some(cases) => cases,
    None => "500",
};

const PATHS: [&str; 12] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c.rs",
    "/a/.env",
    "/a/x.pem",
    "/b",
    "/b/a/b",
    "/tmp/t",
    "/tmp",
    "/proc/7/x",
    "/ab",
];

const FOLDERS: [&str; 10] =
    ["/", "/a", "/a/b", "/b", "/tmp", "session:tmp", "/proc/self", "/proc/session", "/proc", "/a/b/c.rs"];

fn atom() -> impl Strategy<Value = String> {
    let folder = prop::sample::select(&FOLDERS[..]);
    let path = prop::sample::select(&PATHS[..]);
    prop_oneof![
        folder.clone().prop_map(|f| format!("resource in Aegis::Resource::\"{f}\"")),
        (folder.clone(), folder.clone())
            .prop_map(|(a, b)| format!("resource in [Aegis::Resource::\"{a}\", Aegis::Resource::\"{b}\"]")),
        path.clone().prop_map(|p| format!("resource == Aegis::Resource::\"{p}\"")),
        path.clone().prop_map(|p| format!("Aegis::Resource::\"{p}\" != resource")),
        path.clone().prop_map(|p| format!("[Aegis::Resource::\"{p}\"].contains(resource)")),
        path.clone().prop_map(|p| format!("resource has path && resource.path == \"{p}\"")),
        prop::sample::select(&["/a/*", "/*", "*", "/a*", "*.rs", "/*/b/*", "/a/b/*", "/tmp/**"][..])
            .prop_map(|p| format!("resource has path && resource.path like \"{p}\"")),
        prop::sample::select(&["rs", "pem", ""][..])
            .prop_map(|e| format!("resource has extension && resource.extension == \"{e}\"")),
        Just("resource has extension && [\"rs\", \"md\"].contains(resource.extension)".to_owned()),
        prop::sample::select(&["b", ".env", "x.pem"][..])
            .prop_map(|n| format!("resource has name && resource.name == \"{n}\"")),
        Just("resource has host".to_owned()),
        Just("resource has host && resource.host like \"*.example.com\"".to_owned()),
        Just("resource has port && resource.port == 443".to_owned()),
        Just("resource has port && [80, 443].contains(resource.port)".to_owned()),
        Just("resource has port && resource.port < 1024".to_owned()),
        Just("resource has address && resource.address.isLoopback()".to_owned()),
        Just("resource in Aegis::Resource::\"example.com:443\"".to_owned()),
        Just("resource in Aegis::Resource::\"unix:/a/b\"".to_owned()),
        Just("resource == Aegis::Resource::\"unix:@name\"".to_owned()),
        Just("resource has command && resource.command like \"git *\"".to_owned()),
        Just("context.mode == \"run\"".to_owned()),
        Just("context.process.exe == \"/bin/sh\"".to_owned()),
        Just("context.process.pid == 7".to_owned()),
        Just("context.process.pid * 9223372036854775807 > 3".to_owned()),
        Just("context.time.toTime() < duration(\"12h\")".to_owned()),
        Just("principal == Aegis::Agent::\"one\"".to_owned()),
        Just("principal in Aegis::Agent::\"two\"".to_owned()),
        Just("action == Aegis::Action::\"FileRead\"".to_owned()),
        Just("action in [Aegis::Action::\"Write\", Aegis::Action::\"NetConnect\"]".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("resource is Aegis::Resource".to_owned()),
        Just("resource is Aegis::Resource in Aegis::Resource::\"/a\"".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(if ({a}) then ({b}) else ({c}))")),
        ]
    })
}

/// A condition that only some actions have.
fn of_action(action: &str) -> Vec<&'static str> {
    match action {
        "action == Aegis::Action::\"FileWrite\"" => vec!["context.setuid", "!context.existed"],
        "action == Aegis::Action::\"FileDelete\"" => vec!["context.existed"],
        "action == Aegis::Action::\"NetConnect\"" => {
            vec![
                "context.direction == \"listen\"",
                "context.direction == \"connect\"",
                "context.direction != \"x\"",
            ]
        }
        "action == Aegis::Action::\"ProcessSpawn\"" => vec!["context.arguments.contains(\"push\")"],
        "action == Aegis::Action::\"ToolCall\"" => vec!["context.tool == \"Bash\""],
        _ => vec!["true"],
    }
}

fn policy() -> impl Strategy<Value = String> {
    let principal = prop::sample::select(
        &["principal", "principal == Aegis::Agent::\"one\"", "principal in Aegis::Agent::\"two\""][..],
    );
    let action = prop::sample::select(
        &[
            "action",
            "action == Aegis::Action::\"FileRead\"",
            "action == Aegis::Action::\"FileWrite\"",
            "action == Aegis::Action::\"FileDelete\"",
            "action == Aegis::Action::\"NetConnect\"",
            "action == Aegis::Action::\"ProcessSpawn\"",
            "action == Aegis::Action::\"ToolCall\"",
            "action in Aegis::Action::\"Read\"",
            "action in [Aegis::Action::\"Write\", Aegis::Action::\"ProcessSpawn\"]",
        ][..],
    );
    let resource = prop_oneof![
        3 => Just("resource".to_owned()),
        3 => prop::sample::select(&FOLDERS[..]).prop_map(|f| format!("resource in Aegis::Resource::\"{f}\"")),
        1 => prop::sample::select(&PATHS[..]).prop_map(|p| format!("resource == Aegis::Resource::\"{p}\"")),
        1 => Just("resource is Aegis::Resource in Aegis::Resource::\"/b\"".to_owned()),
    ];
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    (
        effect,
        principal,
        action,
        resource,
        prop::option::of(condition()),
        prop::option::of(condition()),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(effect, principal, action, resource, when, unless, index)| {
            let own = *index.get(&of_action(action));
            let when = when.map(|c| format!(" when {{ {c} }}")).unwrap_or_default();
            let unless = unless.map(|c| format!(" unless {{ {c} }}")).unwrap_or_default();
            let own = if index.index(3) == 0 { format!(" when {{ {own} }}") } else { String::new() };
            format!("{effect} ({principal}, {action}, {resource}){when}{unless}{own};")
        })
}

/// What a request is made of.
#[derive(Debug, Clone)]
struct Made {
    action: Action,
    kind: usize,
    path: String,
    host: &'static str,
    port: u16,
    exe: &'static str,
    pid: u32,
    nanos: i64,
    flags: [bool; 4],
    command: usize,
}

const COMMANDS: [&[&str]; 3] = [&["git", "push"], &["ls"], &["git", "status", "push"]];

fn made() -> impl Strategy<Value = Made> {
    (
        prop::sample::select(Action::ALL),
        0..5usize,
        prop::sample::select(&PATHS[..]),
        prop::option::of(prop::sample::select(&["b", "c.rs", ".env", "x.pem", "d"][..])),
        prop::sample::select(&["example.com", "api.example.com", "127.0.0.1", "::1"][..]),
        prop::sample::select(&[80u16, 443, 8080][..]),
        prop::sample::select(&["/bin/sh", "/usr/bin/git"][..]),
        prop::sample::select(&[7u32, 8][..]),
        prop::sample::select(&[0i64, 50_000_000_000_000][..]),
        any::<[bool; 4]>(),
        0..COMMANDS.len(),
    )
        .prop_map(|(action, kind, path, below, host, port, exe, pid, nanos, flags, command)| {
            let path =
                below.map_or(path.to_owned(), |below| format!("{}/{below}", path.trim_end_matches('/')));
            Made { action, kind, path, host, port, exe, pid, nanos, flags, command }
        })
}

impl Made {
    fn ask<T>(&self, asked: impl FnOnce(&Request<'_>) -> T) -> T {
        let arguments = COMMANDS[self.command];
        let command = arguments.join(" ");
        let resource = match (self.action, self.kind) {
            (Action::NetConnect, 0) => Resource::Unix(&self.path),
            (Action::NetConnect, 1) => Resource::Unix("@name"),
            (Action::NetConnect, _) => {
                Resource::Host { host: self.host, address: self.host.parse().ok(), port: self.port }
            }
            (Action::ProcessSpawn | Action::ProcessExit, _) => {
                Resource::Program { exe: &self.path, command: &command, arguments }
            }
            (Action::ToolCall, _) => Resource::Tool { tool: "Bash", command: &command, arguments },
            _ => Resource::Path(&self.path),
        };
        let [listen, setuid, existed, of_session] = self.flags;
        let existed = || existed;
        asked(&Request {
            action: self.action,
            resource,
            exe: self.exe,
            pid: self.pid,
            time: Timestamp::from_nanos(self.nanos),
            listen,
            setuid,
            of_session,
            existed: &existed,
        })
    }
}

fn subject() -> Subject {
    Subject {
        agent: AgentName::new("one").unwrap(),
        session: "s".into(),
        mode: "run".into(),
        tmp: Some("/tmp/t".into()),
        tmp_is_shared: false,
        reserved: Default::default(),
    }
}

fn engine(texts: &[String]) -> Engine {
    let half = texts.len() / 2;
    let source =
        |origin, path: &str, texts: &[String]| Source { origin, path: path.into(), text: texts.join("\n") };
    let sources = vec![
        source(Origin::Configuration, "a.cedar", &texts[..half]),
        source(Origin::Organisation, "a.cedar", &texts[half..]),
    ];
    let policies = Policies::parse(sources).unwrap_or_else(|problems| panic!("{problems:?}"));
    let wrong: Vec<_> = policies.validate().into_iter().filter(|p| p.severity == Severity::Error).collect();
    assert!(wrong.is_empty(), "{}", wrong[0].report());
    Engine::new(Arc::new(policies), subject()).unwrap()
}

/// Returns a path with the names that stand for the caller's own process and the session's others.
fn as_the_caller_has_it(path: &str, request: &Request<'_>) -> String {
    match path.strip_prefix(&format!("/proc/{}", request.pid)) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("/proc/self{rest}"),
        _ => match path.strip_prefix("/proc/") {
            Some(rest) if request.of_session => format!("/proc/session/{rest}"),
            _ => path.to_owned(),
        },
    }
}

/// Cedar with the whole set, every ancestor, every attribute, all of the context.
fn plainly(policies: &Policies, request: &Request<'_>) -> (Decision, Vec<String>) {
    let uid = |kind: &str, id: &str| -> EntityUid {
        EntityUid::from_type_name_and_id(kind.parse().unwrap(), cedar_policy::EntityId::new(id))
    };
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mut id = request.resource.id().into_owned();
    let mut path = request.resource.path().map(str::to_owned);
    if let Resource::Path(asked) = request.resource {
        id = as_the_caller_has_it(asked, request);
        path = Some(id.clone());
    }
    let mut attributes = std::collections::HashMap::new();
    let mut parents = std::collections::HashSet::new();
    if let Some(path) = &path {
        attributes.insert("path".to_owned(), text(path));
        let folders = std::path::Path::new(path).ancestors();
        for folder in folders {
            let folder = folder.to_str().unwrap();
            if folder != id {
                parents.insert(uid("Aegis::Resource", folder));
            }
            if folder == "/tmp/t" {
                parents.insert(uid("Aegis::Resource", "session:tmp"));
            }
        }
        let path = std::path::Path::new(path);
        if let Some(name) = path.file_name() {
            attributes.insert("name".to_owned(), text(name.to_str().unwrap()));
        }
        if let Some(extension) = path.extension().filter(|e| !e.is_empty()) {
            attributes.insert("extension".to_owned(), text(extension.to_str().unwrap()));
        }
    }
    match request.resource {
        Resource::Host { host, address, port } => {
            attributes.insert("host".to_owned(), text(host));
            attributes.insert("port".to_owned(), RestrictedExpression::new_long(port.into()));
            if let Some(address) = address {
                attributes.insert("address".to_owned(), RestrictedExpression::new_ip(address.to_string()));
            }
        }
        Resource::Program { command, .. } => {
            attributes.insert("command".to_owned(), text(command));
        }
        Resource::Tool { tool, command, .. } => {
            attributes.insert("tool".to_owned(), text(tool));
            attributes.insert("command".to_owned(), text(command));
        }
        _ => {}
    }
    let process = RestrictedExpression::new_record([
        ("exe".to_owned(), text(request.exe)),
        ("pid".to_owned(), RestrictedExpression::new_long(request.pid.into())),
    ])
    .unwrap();
    let millis = request.time.as_nanos() / 1_000_000;
    let time = RestrictedExpression::new_datetime(format!(
        "1970-01-01T{:02}:{:02}:{:02}.{:03}Z",
        millis / 3_600_000,
        millis / 60_000 % 60,
        millis / 1_000 % 60,
        millis % 1_000
    ));
    let mut context = vec![
        ("session".to_owned(), text("s")),
        ("mode".to_owned(), text("run")),
        ("time".to_owned(), time),
        ("process".to_owned(), process),
    ];
    let arguments = |arguments: &[&str]| RestrictedExpression::new_set(arguments.iter().copied().map(text));
    match (request.action, request.resource) {
        (Action::FileWrite | Action::FileDelete | Action::DirCreate, _) => {
            context.push(("existed".into(), RestrictedExpression::new_bool((request.existed)())));
            if request.action == Action::FileWrite {
                context.push(("setuid".into(), RestrictedExpression::new_bool(request.setuid)));
            }
        }
        (Action::NetConnect, _) => {
            context.push(("direction".into(), text(if request.listen { "listen" } else { "connect" })));
        }
        (Action::ProcessSpawn, Resource::Program { arguments: a, .. }) => {
            context.push(("arguments".into(), arguments(a)));
        }
        (Action::ToolCall, Resource::Tool { tool, arguments: a, .. }) => {
            context.push(("arguments".into(), arguments(a)));
            context.push(("tool".into(), text(tool)));
        }
        _ => {}
    }
    let action = uid("Aegis::Action", request.action.word());
    let group = match request.action {
        Action::FileRead | Action::DirList => Some("Read"),
        Action::FileWrite | Action::FileDelete | Action::DirCreate => Some("Write"),
        Action::ProcessSpawn | Action::ProcessExit => Some("Process"),
        _ => None,
    };
    let groups = group.into_iter().map(|g| uid("Aegis::Action", g)).collect();
    let resource = uid("Aegis::Resource", &id);
    let entities = Entities::from_entities(
        [
            Entity::new(resource.clone(), attributes, parents).unwrap(),
            Entity::new_no_attrs(action.clone(), groups),
        ],
        None,
    )
    .unwrap();
    let asked = CedarRequest::new(
        uid("Aegis::Agent", "one"),
        action,
        resource,
        Context::from_pairs(context).unwrap(),
        None,
    )
    .unwrap();
    let set = PolicySet::from_policies(policies.rules().iter().map(|rule| rule.policy.clone())).unwrap();
    let response = Authorizer::new().is_authorized(&asked, &set, &entities);
    let failed = response.diagnostics().errors().next().is_some();
    let allowed = response.decision() == cedar_policy::Decision::Allow && !failed;
    let errors = response.diagnostics().errors().map(|error| match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
    });
    let mut ids: Vec<String> = if failed {
        errors.collect()
    } else {
        response.diagnostics().reason().map(ToString::to_string).collect()
    };
    ids.sort();
    (if allowed { Decision::Allow } else { Decision::Deny }, ids)
}

fn try_all<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let cases = CASES.parse().unwrap();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(strategy, test).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn an_answer_is_that_of_cedar_with_the_whole_set() {
    let strategy = (prop::collection::vec(policy(), 1..10), prop::collection::vec(made(), 12));
    try_all(&strategy, |(texts, requests)| {
        let engine = engine(&texts);
        // Each twice, with others between: the second time from what is kept.
        for made in requests.iter().chain(&requests) {
            made.ask(|request| {
                let verdict = engine.decide(request);
                let mut ids: Vec<String> = verdict.policies.iter().map(ToString::to_string).collect();
                ids.sort();
                let expected = plainly(engine.policies(), request);
                prop_assert_eq!((verdict.decision, ids), expected, "{:?}\n{}", request, texts.join("\n"));
                Ok(())
            })?;
        }
        Ok(())
    });
}

#[test]
fn a_plan_holds_what_is_permitted_and_what_it_settles_is() {
    let strategy = (prop::collection::vec(policy(), 1..10), prop::collection::vec(made(), 12));
    try_all(&strategy, |(texts, requests)| {
        let engine = engine(&texts);
        let plan = SandboxPlan::of(&engine);
        for made in &requests {
            made.ask(|request| {
                let allowed = plainly(engine.policies(), request).0 == Decision::Allow;
                let (held, state) = match (request.action, request.resource) {
                    (Action::NetConnect, Resource::Unix(name)) if name.starts_with('@') => {
                        let state = &plan.abstract_sockets[usize::from(request.listen)];
                        (state.may_allow(), state)
                    }
                    (Action::NetConnect, Resource::Unix(path)) => {
                        let regions = &plan.sockets[usize::from(request.listen)];
                        (regions.hull_holds(path), regions.state(path))
                    }
                    (Action::NetConnect, Resource::Host { port, .. }) => {
                        let of = |p: Option<u16>| {
                            plan.ports.iter().find(|s| s.listen == request.listen && s.port == p)
                        };
                        let state = &of(Some(port)).or_else(|| of(None)).unwrap().state;
                        (state.may_allow(), state)
                    }
                    (Action::ToolCall | Action::ProcessExit, _) => return Ok(()),
                    (action, resource) => {
                        let path = resource.path().unwrap();
                        let path = match resource {
                            Resource::Path(_) => as_the_caller_has_it(path, request),
                            _ => path.to_owned(),
                        };
                        let regions = plan.regions(action).unwrap();
                        // The hull as it is granted, and the residuals as they are told, say the same.
                        let granted = regions.hull().iter().any(|grant| {
                            path == grant.path
                                || (grant.subtree && std::path::Path::new(&path).starts_with(&grant.path))
                        });
                        prop_assert_eq!(granted, regions.hull_holds(&path));
                        (granted, regions.state(&path))
                    }
                };
                prop_assert!(!allowed || held, "not in the hull: {:?}\n{}", request, texts.join("\n"));
                let settled = *state == State::Allow;
                prop_assert!(!settled || allowed, "not allowed: {:?}\n{}", request, texts.join("\n"));
                if matches!(state, State::Deny(_)) {
                    prop_assert!(!allowed, "not denied: {:?}\n{}", request, texts.join("\n"));
                }
                Ok(())
            })?;
        }
        Ok(())
    });
}
