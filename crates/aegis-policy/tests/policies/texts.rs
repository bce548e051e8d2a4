//! The texts that ship, and texts with mistakes.

use std::sync::Arc;

use aegis_policy::templates::{Places, quoted};
use aegis_policy::{
    Engine, Origin, Policies, Problem, Request, Resource, Severity, Source, Subject, Template,
};
use aegis_types::{Action, AgentName, Decision, Timestamp};
use cedar_policy::Policy;

fn set(files: &[(&str, &str)]) -> Result<Policies, Vec<Problem>> {
    let source = |(path, text): &(&str, &str)| Source {
        origin: Origin::Configuration,
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    Policies::parse(files.iter().map(source).collect())
}

/// All that is wrong with one file.
fn problems(text: &str) -> Vec<Problem> {
    match set(&[("x.cedar", text)]) {
        Ok(policies) => policies.validate(),
        Err(problems) => problems,
    }
}

fn template(template: Template, directory: &str, toolchains: &[String]) -> Policies {
    let files = template.files(Places { directory, toolchains, ..Places::default() });
    let files: Vec<(&str, &str)> = files.iter().map(|file| (file.name, file.text.as_str())).collect();
    let policies = set(&files).unwrap_or_else(|problems| panic!("{}", problems[0].report()));
    let wrong = policies.validate();
    assert!(wrong.is_empty(), "{}", wrong[0].report());
    for rule in policies.rules() {
        // A file is read at once; each policy is what it is by itself.
        let alone = Policy::parse(Some(rule.policy.id().clone()), policies.text(rule)).unwrap();
        assert_eq!(alone, rule.policy);
        assert_eq!(rule.policy.entity_literals().len(), alone.entity_literals().len());
    }
    policies
}

fn engine(policies: Policies) -> Engine {
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

fn decide(engine: &Engine, action: Action, resource: Resource<'_>, existed: bool, listen: bool) -> String {
    let verdict = engine.decide(&Request {
        action,
        resource,
        exe: "/bin/sh",
        pid: 7,
        time: Timestamp::from_nanos(0),
        listen,
        setuid: false,
        of_session: false,
        existed: &|| existed,
    });
    assert_eq!(verdict.errors, Vec::<String>::new());
    let ids: Vec<&str> = verdict.policies.iter().map(|id| &**id).collect();
    format!("{} {}", verdict.decision, ids.join(" ")).trim().to_owned()
}

#[test]
fn every_template_is_valid_whatever_the_paths_are() {
    for one in Template::ALL {
        assert_eq!(Template::named(one.name()), Some(one));
        for directory in ["/home/me/project", "/a \"b\\c'dé", "/"] {
            template(one, directory, &["/home/me/.rustup".into(), "/x\"y".into()]);
        }
    }
}

#[test]
fn what_is_fetched_may_have_settings_in_it() {
    let caches = "/home/me/.aegis/x/sandbox/cache";
    let files = Template::Project.files(Places {
        directory: "/home/me/p",
        caches: Some(caches),
        ..Places::default()
    });
    let files: Vec<(&str, &str)> = files.iter().map(|file| (file.name, file.text.as_str())).collect();
    let engine = engine(set(&files).unwrap());
    let written = |folder: &str, name: &str| {
        let path = format!("{folder}/{name}");
        decide(&engine, Action::FileWrite, Resource::Path(&path), false, false)
    };
    for name in ["registry/src/a/.vscode/tasks.json", "b/.mcp.json", "_npx/c/.claude/settings.json"] {
        assert_eq!(written(caches, name), "allow project:caches", "{name}");
        assert!(written("/home/me/p", name).starts_with("deny plants:"), "{name}");
    }
}

#[test]
fn the_small_templates_do_what_they_say() {
    let deny = engine(template(Template::DefaultDeny, "/", &[]));
    let read = engine(template(Template::AllowReadOnly, "/", &[]));
    let all = engine(template(Template::PermitAll, "/", &[]));
    let program = Resource::Program { exe: "/bin/ls", command: "ls", arguments: &["ls"] };
    for action in Action::ALL {
        let resource = match action {
            Action::ProcessSpawn | Action::ProcessExit => program,
            Action::NetConnect => Resource::Host { host: "example.com", address: None, port: 443 },
            Action::ToolCall => Resource::Tool { tool: "Bash", command: "ls", arguments: &[] },
            _ => Resource::Path("/a"),
        };
        let looks =
            matches!(action, Action::FileRead | Action::DirList | Action::ProcessSpawn | Action::ProcessExit);
        assert_eq!(decide(&deny, *action, resource, false, false), "deny default-deny:everything");
        assert_eq!(decide(&all, *action, resource, false, false), "allow permit-all:everything");
        let expected = if looks { "allow allow-read-only:look" } else { "deny" };
        assert_eq!(decide(&read, *action, resource, false, false), expected, "{action}");
    }
}

#[test]
fn the_project_template_does_what_it_says() {
    use Action::{DirCreate, DirList, FileDelete, FileRead, FileWrite, NetConnect, ProcessSpawn};
    let engine = engine(template(Template::Project, "/home/me/p", &["/home/me/.rustup".into()]));
    let at = |action, path| decide(&engine, action, Resource::Path(path), false, false);
    let old = |action, path| decide(&engine, action, Resource::Path(path), true, false);
    for (action, path, expected) in [
        (FileRead, "/home/me/p/a", "allow project:directory"),
        (FileWrite, "/home/me/p", "allow project:directory"),
        (FileWrite, "/home/me/pp", "deny"),
        (FileRead, "/home/me/.ssh/id_ed25519", "deny"),
        (DirList, "/home/me", "deny"),
        (FileRead, "/home/me/.rustup/x", "allow project:programs"),
        (FileWrite, "/home/me/.rustup/x", "deny"),
        (FileRead, "/usr/lib/x", "allow project:programs"),
        (FileRead, "/etc/passwd", "allow project:settings"),
        (FileRead, "/etc/ssl/certs/x.pem", "allow project:settings"),
        (FileRead, "/etc/shadow", "deny"),
        (FileRead, "/etc/ssh/ssh_host_rsa_key", "deny"),
        (FileRead, "/etc/nginx/tls.key", "deny"),
        (FileRead, "/proc/7/maps", "allow project:machine"),
        (FileRead, "/proc/8/maps", "deny"),
        (FileRead, "/proc/8/environ", "deny"),
        (FileWrite, "/proc/7/task/9/comm", "allow project:own-threads"),
        (FileWrite, "/proc/7/mem", "deny"),
        (FileWrite, "/dev/null", "allow project:devices"),
        (FileRead, "/dev/sda", "deny"),
        (FileRead, "/dev/pts/3", "deny"),
        (FileRead, "/etc/foo/key.pem", "deny"),
        (FileWrite, "/home/me/p/.git/commondir", "deny plants:git-elsewhere"),
        (FileWrite, "/home/me/p/.git/worktrees/w/commondir", "allow project:directory"),
        (FileWrite, "/home/me/p/bare/hooks/post-receive", "deny plants:git-hooks"),
        (FileWrite, "/home/me/p/.cargo/config.toml", "deny plants:editor-settings"),
        (FileWrite, "/tmp/own/x", "allow project:temporary"),
        (FileWrite, "/tmp/x", "deny"),
        (FileWrite, "/home/me/p/.git/hooks/pre-commit", "deny plants:git-hooks"),
        (FileWrite, "/home/me/p/.git/hooks/pre-commit.sample", "allow project:directory"),
        (FileWrite, "/home/me/p/x.git/hooks/update", "deny plants:git-hooks"),
        (FileWrite, "/home/me/p/src/hooks/use.ts", "allow project:directory"),
        (DirCreate, "/home/me/p/.git/hooks", "allow project:directory"),
        (FileWrite, "/home/me/p/.git/hooks", "deny plants:git-hooks-folder"),
        (FileWrite, "/home/me/p/.git/config", "allow project:directory"),
        (FileWrite, "/home/me/p/.git/index", "allow project:directory"),
        (FileWrite, "/home/me/p/.claude/settings.json", "deny plants:agent-settings"),
        (DirCreate, "/home/me/p/.vscode", "deny plants:editor-settings"),
        (FileWrite, "/home/me/p/sub/.envrc", "deny plants:editor-settings"),
        (FileWrite, "/home/me/p/.bashrc", "deny plants:shell-startup"),
    ] {
        assert_eq!(at(action, path), expected, "{action} {path}");
    }
    for (action, path, expected) in [
        (FileWrite, "/home/me/p/.git/config", "deny plants:git-settings"),
        (FileDelete, "/home/me/p/.git", "deny plants:git-settings"),
        (FileDelete, "/home/me/p/sub/.git/hooks", "deny plants:git-settings"),
        (FileWrite, "/home/me/p/.git/index", "allow project:directory"),
    ] {
        assert_eq!(old(action, path), expected, "{action} {path}");
    }
    let program = |exe| Resource::Program { exe, command: "x", arguments: &["x"] };
    for (exe, expected) in [
        ("/usr/bin/git", "allow project:programs"),
        ("/home/me/.rustup/bin/rustc", "allow project:programs"),
        ("/home/me/p/target/debug/x", "allow project:directory"),
        ("/home/me/bin/x", "deny"),
        ("/tmp/own/x", "deny"),
    ] {
        assert_eq!(decide(&engine, ProcessSpawn, program(exe), false, false), expected, "{exe}");
    }
    let host = |host: &'static str| Resource::Host { host, address: host.parse().ok(), port: 8080 };
    for (resource, listen, expected) in [
        (host("127.0.0.1"), true, "allow project:listen"),
        (host("::1"), true, "allow project:listen"),
        (host("0.0.0.0"), true, "deny"),
        (host("127.0.0.1"), false, "deny"),
        (host("example.com"), false, "deny"),
        (Resource::Unix("/home/me/p/s"), false, "allow project:sockets"),
        (Resource::Unix("/tmp/own/s"), true, "allow project:sockets"),
        (Resource::Unix("/run/docker.sock"), false, "deny"),
        (Resource::Unix("@x"), false, "deny"),
    ] {
        assert_eq!(decide(&engine, NetConnect, resource, false, listen), expected, "{resource:?}");
    }
}

#[test]
fn a_forbid_of_everything_is_warned_of_beside_permits() {
    let files = Template::DefaultDeny.files(Places { directory: "/", ..Places::default() });
    let both =
        set(&[("default-deny.cedar", &files[0].text), ("b.cedar", "permit (principal, action, resource);")])
            .unwrap();
    let warnings = both.validate();
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].severity, warnings[0].line), (Severity::Warning, 5));
    assert!(
        warnings[0].message.contains("1 policy that permits something here has no effect"),
        "{}",
        warnings[0]
    );
    assert!(both.shadowed()[0].help.as_deref().unwrap().contains("remove this policy"));
    assert!(set(&[("a", &files[0].text)]).unwrap().validate().is_empty());
}

#[test]
fn several_files_are_one_set_with_one_name() {
    let permit = "permit (principal, action, resource);";
    let policies =
        set(&[("d/a.cedar", permit), ("e/a.cedar", &format!("\n{permit}{permit}\n@id(\"x\"){permit}"))])
            .unwrap();
    let ids: Vec<&str> = policies.rules().iter().map(|rule| &*rule.id).collect();
    assert_eq!(ids, ["a:1", "a~2:2", "a~2:2:38", "a~2:x"]);
    assert_eq!(policies.place(policies.rule("a~2:x").unwrap()), "e/a.cedar:3");
    // As `sha256sum` prints it, and that hashed again.
    let line = |name: &str, text: &str| format!("{}  {name}\n", aegis_policy::set::sha256(text.as_bytes()));
    let list = line("a", permit) + &line("a~2", &policies.sources()[1].text);
    assert_eq!(policies.hash(), aegis_policy::set::sha256(list.as_bytes()));
    assert_eq!(policies.files()[0].size, permit.len() as u64);
    let empty = set(&[]).unwrap();
    assert!(empty.validate().is_empty());
    assert_eq!(decide(&engine(empty), Action::FileRead, Resource::Path("/a"), false, false), "deny");
}

#[test]
fn an_error_in_a_policy_is_a_denial() {
    let text = "permit (principal, action, resource);\n\
                permit (principal, action, resource) when { context.process.pid * 9223372036854775807 > 0 };";
    let policies = set(&[("x.cedar", text)]).unwrap();
    assert!(policies.validate().is_empty());
    let engine = engine(policies);
    let verdict = engine.decide(&Request {
        action: Action::FileRead,
        resource: Resource::Path("/a"),
        exe: "",
        pid: 7,
        time: Timestamp::from_nanos(0),
        listen: false,
        setuid: false,
        of_session: false,
        existed: &|| false,
    });
    assert_eq!(verdict.decision, Decision::Deny);
    assert_eq!((verdict.errors.len(), &*verdict.policies[0]), (1, "x:2"));
}

#[test]
fn policies_at_the_bounds_are_read_and_asked_on_the_stack_that_is_promised() {
    use aegis_policy::source::{DOTS_MAX, NESTING_MAX, OPERATORS_MAX, STACK};
    let with = |condition: String| format!("permit (principal, action, resource) when {{ {condition} }};");
    let name = "resource has name && resource.name == \"x\"";
    let texts = [
        // The parentheses of the head and the braces are brackets as well.
        with(format!("{}true{}", "(".repeat(NESTING_MAX - 1), ")".repeat(NESTING_MAX - 1))),
        with(format!("resource has path{}", " || context.mode == \"run\"".repeat(OPERATORS_MAX))),
        with(vec![format!("({name})"); OPERATORS_MAX / 2].join(" || ")),
        with(format!("{}0 > 1", "1 + ".repeat(OPERATORS_MAX))),
        with(format!("{}true", "if context.mode == \"run\" then true else ".repeat(OPERATORS_MAX))),
        with(format!(
            "{}false{}{}",
            "(".repeat(NESTING_MAX - 1),
            " || context.mode == \"run\"".repeat(OPERATORS_MAX),
            ")".repeat(NESTING_MAX - 1)
        )),
        with(format!("context.time{} == context.time", ".toDate()".repeat(DOTS_MAX - 1))),
        with("!!!!".to_owned() + "true"),
        format!(
            "permit (principal, action, resource){};",
            " when { context.mode == \"run\" }".repeat(OPERATORS_MAX)
        ),
    ];
    let ask = move || {
        for text in texts {
            let start: String = text.chars().take(90).collect();
            let policies = match set(&[("x.cedar", &text)]) {
                Ok(policies) => policies,
                Err(problems) => panic!("{}", problems[0]),
            };
            let problems = policies.validate();
            let wrong: Vec<_> = problems.iter().filter(|p| p.severity == Severity::Error).collect();
            assert!(wrong.is_empty(), "{}", wrong[0]);
            let engine = engine(policies);
            for action in Action::ALL {
                let verdict = engine.decide(&Request {
                    action: *action,
                    resource: Resource::Path("/a"),
                    exe: "",
                    pid: 0,
                    time: Timestamp::from_nanos(0),
                    listen: false,
                    setuid: false,
                    of_session: false,
                    existed: &|| false,
                });
                assert_eq!(verdict.errors, Vec::<String>::new(), "{start}");
            }
            drop(aegis_policy::SandboxPlan::of(&engine));
        }
    };
    std::thread::Builder::new().stack_size(STACK).spawn(ask).unwrap().join().unwrap();
}

#[test]
fn what_can_not_be_named_is_denied() {
    let engine = engine(template(Template::PermitAll, "/", &[]));
    for resource in [
        Resource::Path("relative"),
        Resource::Path(""),
        Resource::Unix("x"),
        Resource::Host { host: "/etc", address: None, port: 1 },
        Resource::Host { host: "", address: None, port: 1 },
        Resource::Tool { tool: "", command: "", arguments: &[] },
    ] {
        let verdict = engine.decide(&Request {
            action: Action::FileRead,
            resource,
            exe: "",
            pid: 0,
            time: Timestamp::from_nanos(0),
            listen: false,
            setuid: false,
            of_session: false,
            existed: &|| false,
        });
        assert_eq!((verdict.decision, verdict.errors.len()), (Decision::Deny, 1), "{resource:?}");
    }
}

#[test]
fn mistakes_are_placed_and_explained() {
    let permit = |rest: &str| format!("permit (principal, action, resource)\n  {rest};");
    let mut wrong = Vec::new();
    for (text, line, column, message, help) in [
        ("permit (principal, action, resource)".to_owned(), 1, 37, "", "ends with `;`"),
        ("permit (principal, action, resource)\npermit (principal, action, resource);".into(), 2, 1, "", "before this one needs a `;`"),
        ("allow (principal, action, resource);".into(), 1, 1, "", "`permit` or `forbid`"),
        (permit("when resource in Aegis::Resource::\"/a\""), 2, 8, "", "stands in braces"),
        (permit("when { resource has path and resource.path like \"x\" }"), 2, 28, "", "`&&`"),
        (permit("when { resource has path & resource.path like \"x\" }"), 2, 28, "", "`&&`"),
        (permit("when { resource in Aegis::Resource::'/a' }"), 2, 39, "", "double quotes"),
        (permit("when { resource in /a }"), 2, 22, "", ""),
        (permit("when { resource.port = 443 }"), 2, 24, "", "=="),
        ("permit (principal, action == Aegis::Action::\"FileReed\", resource);".into(), 1, 30, "FileReed", "FileRead"),
        ("permit (principal, action == Aegis::Action::\"Read\", resource);".into(), 1, 30, "a group", "`Read` is a group of actions: write `action in Aegis::Action::\"Read\"`"),
        ("permit (principal, action == Action::\"FileRead\", resource);".into(), 1, 30, "Action", "Aegis::Action"),
        ("permit (principal, action, resource in Aegis::File::\"/a\");".into(), 1, 40, "Aegis::File", "Aegis::Resource"),
        ("permit (principal, action, resource in \"/a\");".into(), 1, 40, "", ""),
        (permit("when { resource.path like \"/a/*\" }"), 2, 10, "optional attribute", "resource has path && resource.path"),
        (permit("when { resource has port && resource.port == \"443\" }"), 2, 31, "", ""),
        (permit("when { context.process.name == \"x\" }"), 2, 10, "name", "policy schema"),
        (permit("when { context.direction == \"listen\" }"), 2, 10, "direction", ""),
        ("permit (principal, action, resource in Aegis::Resource::\"/a/\");".into(), 1, 57, "no `/` at its end", "Aegis::Resource::\"/a\""),
        ("permit (principal, action, resource in Aegis::Resource::\"~/a\");".into(), 1, 57, "`~` stands for nothing", "whole path"),
        ("permit (principal, action, resource in Aegis::Resource::\"/a/*.rs\");".into(), 1, 57, "`*` has no meaning", "like"),
        ("permit (principal, action, resource in Aegis::Resource::\"../a\");".into(), 1, 57, "relative", "absolute"),
        ("permit (principal, action, resource in Aegis::Resource::\"/a/../b\");".into(), 1, 57, "resolved", "as it resolves"),
        ("permit (principal, action, resource == ?resource);".into(), 1, 40, "", "write the value itself"),
        ("@id(\"a b\") permit (principal, action, resource);".into(), 1, 1, "`@id`", ""),
        ("@id(\"a\") permit (principal, action, resource); @id(\"a\") permit (principal, action, resource);".into(), 1, 48, "another policy", "own `@id`"),
        ("permit (principal, action, resource in [Aegis::Resource::\"/a\", Aegis::Resource::\"/b\"]);".into(), 1, 40, "", "when { resource in ["),
        (";".into(), 1, 1, "without a policy", "remove"),
        ("permit (principal, action, resource in Aegis::Resource::\"/a);".into(), 1, 57, "a string is not closed", "needs a `\"`"),
    ] {
        let problems = problems(&text);
        let Some(first) = problems.first() else { panic!("nothing is wrong with {text}") };
        let report = first.report();
        let fits = first.severity == Severity::Error
            && (first.line, first.column) == (line, column)
            && first.message.contains(message)
            && first.help.as_deref().unwrap_or_default().contains(help);
        if !fits {
            wrong.push(format!("{text}\nexpected {line}:{column} `{message}` `{help}`\n{report}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn strings_are_quoted_so_that_they_are_read_back() {
    for text in ["/a", "a\"b\\c'd", "\n\t\0\u{7f}\u{202e}", "é\u{301}😀"] {
        let policy = format!("permit (principal, action, resource == Aegis::Resource::{});", quoted(text));
        let policies = set(&[("x", &policy)]).unwrap();
        assert_eq!(policies.rules()[0].policy.entity_literals()[0].id().unescaped(), text);
    }
}

#[test]
fn the_examples_of_the_guide_are_valid() {
    let guide = include_str!("../../../../docs/policies.md");
    let mut blocks =
        guide.split("```cedar\n").skip(1).map(|rest| rest.split("```").next().unwrap()).peekable();
    assert!(blocks.peek().is_some());
    for block in blocks {
        let wrong = problems(block);
        assert!(wrong.is_empty(), "{}", wrong[0].report());
    }
    // What stands in the text as an example of a condition.
    let conditions = guide.split('`').filter(|code| {
        code.contains(" && resource.") && !code.contains(['\n', '{']) && !code.contains("...")
    });
    for condition in conditions {
        let wrong = problems(&format!("permit (principal, action, resource) when {{ {condition} }};"));
        assert!(wrong.is_empty(), "{}", wrong[0].report());
    }
}

#[test]
fn answers_are_right_when_more_is_asked_than_is_kept() {
    // Each path concerns two policies, and no two paths the same: more sets and answers than are kept.
    let text: String = (0..150)
        .map(|n| {
            let effect = if n % 7 == 0 { "forbid" } else { "permit" };
            format!("{effect} (principal, action, resource) when {{ resource has name && resource.name like \"*-{n}-*\" }};\n")
        })
        .collect();
    let engine = engine(set(&[("x.cedar", &text)]).unwrap());
    for _ in 0..2 {
        for n in 0..150 {
            for m in (n % 3..150).step_by(3) {
                let told = decide(
                    &engine,
                    Action::FileRead,
                    Resource::Path(&format!("/a/-{n}-+-{m}-")),
                    false,
                    false,
                );
                let expected = if n % 7 == 0 || m % 7 == 0 { "deny" } else { "allow" };
                assert!(told.starts_with(expected), "{n} {m}: {told}");
            }
        }
    }
}
