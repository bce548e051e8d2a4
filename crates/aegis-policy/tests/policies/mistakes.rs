//! Files with mistakes, each told of at its place and with what to write; and files without any.

use std::path::{Path, PathBuf};

use aegis_policy::Severity::{Error, Warning};
use aegis_policy::source::STACK;
use aegis_policy::{Origin, Policies, Problem, Severity, Source};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A file below `mistakes/`; the line, the column and the severity of its first problem; words of the message and of
/// the help.
type Mistake = (&'static str, usize, usize, Severity, &'static str, &'static str);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    ("action-is-string-in-condition", 1, 71, Error, "`action` is never a text", r#"`action == Aegis::Action::"FileDelete"`"#),
    ("action-strings-in-list", 1, 31, Error, r#""Read" is a text, not a name"#, r#"`action in [Aegis::Action::"Read", Aegis::Action::"Write"]`"#),
    ("actions-plural", 1, 30, Error, "`Aegis::Actions` is no type of actions", r#"`Aegis::Action::"Read"`"#),
    ("actions-without-list", 1, 53, Error, "several actions stand in brackets", r#"`action in [Aegis::Action::"Read", Aegis::Action::"Write"]`"#),
    ("address-without-port", 1, 88, Error, "no resource is named `127.0.0.1`: it has no port", r#""127.0.0.1:PORT""#),
    ("agent-star", 1, 36, Error, "no agent is named `*`", "`principal`"),
    ("allow-for-permit", 1, 1, Error, "`allow` begins no policy", "`permit`"),
    ("any-subdomain", 1, 88, Error, "no resource is named `*.example.com:443`: `*` has no meaning in a name", r#"`resource has host && resource.host like "*.example.com" && resource has port && resource.port == 443`"#),
    ("arguments-equal-set", 1, 78, Warning, "the arguments are exactly these, in any order; the program's name is one of them", r#"`context.arguments.contains("push")`"#),
    ("block-comment", 1, 1, Error, "`/*` begins no comment", "a comment begins with `//` and ends with the line"),
    ("braces", 1, 82, Warning, "`/home/me/project/{src,test}` is taken as it stands: `{` has no meaning in a name", r#"name each path: `resource in [Aegis::Resource::"/a", Aegis::Resource::"/b"]` in `when { }`"#),
    ("capital-keywords", 1, 1, Error, "`Permit` is written with small letters", "`permit`"),
    ("comma-for-and", 2, 30, Error, "`,` joins no conditions", "`&&`"),
    ("condition-in-head", 4, 51, Error, "in the head `resource` is compared once", r#"`when { resource in [Aegis::Resource::"/home/me/project", Aegis::Resource::"/usr"] }`"#),
    ("condition-in-string", 2, 70, Error, "`resource` is never a text", r#"`resource in Aegis::Resource::"/home/me/.ssh"`"#),
    ("contains-on-string", 2, 34, Error, "`resource.extension` is a text, not a set", r#"`["pem"].contains(resource.extension)`"#),
    ("context-command", 1, 100, Error, "the context has no attribute `command`", "`resource has command && resource.command ...`"),
    ("context-exe", 1, 76, Error, "the context has no attribute `exe`", "`context.process.exe`"),
    ("context-has-unknown", 2, 8, Error, "the context has no attribute `args`", "`context.arguments`"),
    ("context-in-head", 1, 102, Error, "a condition stands in the head", r#"write behind the head `when { context.mode == "run" }`"#),
    ("context-of-another-action", 2, 8, Error, "`context.arguments` is there for ProcessSpawn and ToolCall only", r#"`action in [Aegis::Action::"ProcessSpawn", Aegis::Action::"ToolCall"]`"#),
    ("context-user", 1, 76, Error, "the context has no attribute `user`", "the context has process, mode, session, time, direction (NetConnect), existed (FileWrite, FileDelete and DirCreate), setuid (FileWrite), arguments (ProcessSpawn and ToolCall), tool (ToolCall)"),
    ("contradiction", 1, 1, Warning, "this policy never holds", "its conditions contradict each other, or ask for what none of its actions has"),
    ("curly-quotes", 1, 82, Error, "typographic quotes begin no text", r#"a text stands in straight double quotes: "...""#),
    ("direction-outbound", 1, 97, Error, r#"`context.direction` is never "outbound""#, r#""connect""#),
    ("double-star-like", 2, 48, Warning, "`**` is the same as `*`", "only `*` is special: it stands for anything, `/` included"),
    ("duration-as-string", 1, 45, Error, r#"`context.time.toTime()` is a time of day, "22h" is a text"#, r#"`context.time.toTime() >= duration("22h")`"#),
    ("duration-without-quotes", 2, 33, Error, "`22h` is no number", r#"`duration("22h")`"#),
    ("empty-file", 1, 1, Warning, "there is no policy in it: nothing is permitted", "`permit (principal, action, resource);`"),
    ("empty-head", 1, 9, Error, "the head has no `principal`", r#"`permit (principal, action == Aegis::Action::"FileRead", "#),
    ("empty-name", 1, 82, Error, "no resource has an empty name", "`resource`"),
    ("ends-with", 2, 43, Error, "there is no `.endsWith(...)`", r#"`resource.name like "*.env"`"#),
    ("env-variable", 1, 82, Error, "no resource is named `$HOME/project`: variables are not replaced", r#"write the whole path: "/home/me/...""#),
    ("equals-set-of-actions", 1, 30, Error, "an action is not equal to several", r#"`action in [Aegis::Action::"FileRead", Aegis::Action::"FileWrite"]`"#),
    ("extension-of-two-parts", 2, 41, Error, "an extension is what follows the last dot", r#""gz""#),
    ("extension-with-dot", 1, 123, Error, "an extension is without its dot", r#""md""#),
    ("forbids-all", 3, 1, Warning, "this forbids everything: 2 policies that permit something here have no effect, since a forbid wins over any permit", "what no policy permits is denied anyway; remove this policy, or its file where it is the template `default-deny`"),
    ("function-style", 2, 8, Error, "there is no function `startsWith`", r#"`resource.path like "/home/me/project*"`"#),
    ("gitignore", 1, 1, Error, "this is a list of patterns, not a policy", "`permit (principal, action, resource);`"),
    ("glob-in-id", 1, 82, Error, "no resource is named `/home/me/project/**/*.rs`: `*` has no meaning in a name", r#"`resource has path && resource.path like "/home/me/project/*.rs"`"#),
    ("group-in-condition", 2, 18, Error, "`Write` is a group of actions, and no action is equal to it", r#"`action in Aegis::Action::"Write"`"#),
    ("has-as-method", 1, 83, Error, "there is no `.has(...)`", "`resource has extension`"),
    ("has-or", 2, 29, Error, "not every resource has the optional attribute `host`", "`&&`"),
    ("has-typo", 2, 8, Error, "no resource has the attribute `extention`", "`resource.extension`"),
    ("hash-comment", 1, 1, Error, "`#` begins no comment", "a comment begins with `//` and ends with the line"),
    ("host-in-id-no-port", 1, 88, Error, "no resource is named `api.example.com`: it has no port", r#""api.example.com:443""#),
    ("host-with-port", 1, 114, Error, "a host is without its port", r#"`resource.host == "api.example.com" && resource has port && resource.port == 443`"#),
    ("hour-of-time", 1, 113, Error, "`context.time` has no attribute `hour`", r#"`context.time.toTime() >= duration("8h")`"#),
    ("iam-json", 1, 1, Error, "this is JSON, not a policy", "`permit (principal, action, resource);`"),
    ("id-without-quotes", 1, 5, Error, "what `@id` says stands in double quotes", r#"`@id("read")`"#),
    ("if-then", 2, 1, Error, "`if` begins no conditions", "conditions stand in `when { ... }`"),
    ("in-set-of-strings", 2, 34, Error, "`resource.extension` is not a name, and `in` is of names", r#"`["pem", "key"].contains(resource.extension)`"#),
    ("index-of-arguments", 1, 95, Error, "a set has no order", r#"`context.arguments.contains("push")`"#),
    ("ip-as-string", 2, 59, Error, r#""10.0.0.0/8" is a text, not an address"#, r#"`resource.address.isInRange(ip("10.0.0.0/8"))`"#),
    ("ipaddr-for-ip", 2, 59, Error, "there is no function `ipaddr`", r#"`ip("10.0.0.0/8")`"#),
    ("ipv6-without-brackets", 1, 88, Error, "no resource is named `::1:3000`: it has no port", r#""[::1]:3000""#),
    ("is-wrong-type", 1, 22, Error, "there is no type `Aegis::User`", "`Aegis::Agent`"),
    ("like-on-resource", 1, 45, Error, "`like` is of texts, and `resource` is none", r#"`resource has path && resource.path like "*.md"`"#),
    ("like-on-set", 1, 78, Error, "`like` is of texts, and `context.arguments` is none", r#"`context.arguments.contains("push")`"#),
    ("missing-quotes", 1, 30, Error, "`Aegis::Action::FileRead` needs double quotes", r#"`action == Aegis::Action::"FileRead"`"#),
    ("missing-semicolon-at-end", 2, 56, Error, "the policy has no end", "a policy ends with `;`"),
    ("mode-production", 1, 61, Error, r#"`context.mode` is never "production""#, r#"it is one of "wrap", "pilot" and "run""#),
    ("name-with-slash", 2, 46, Error, "a name has no `/`", r#"`resource has path && resource.path like "*/.git/config"`"#),
    ("network-as-address", 2, 55, Error, "an address is never equal to a network", r#"`resource.address.isInRange(ip("10.0.0.0/8"))`"#),
    ("network-as-host", 2, 46, Error, "a host is no network", r#"`resource has address && resource.address.isInRange(ip("10.0.0.0/8"))`"#),
    ("no-leading-slash", 1, 82, Error, "no resource is named `home/me/project`: it is not absolute", r#"write the whole path: "/home/me/project""#),
    ("not-in", 1, 84, Error, "there is no `not in`", "`!(resource in ...)`"),
    ("not-like-without-parentheses", 2, 29, Error, "`!` is of `resource.name` alone, which is not true or false", r#"`!(resource.name like "*.env")`"#),
    ("not", 2, 8, Error, "`not` means nothing", "`!(...)`"),
    ("number-for-hour", 2, 8, Error, "`context.time.toTime()` is no number", r#"`duration("22h")`"#),
    ("or-of-actions", 1, 56, Error, "in the head `action` is compared once", r#"`action in [Aegis::Action::"FileRead", Aegis::Action::"FileWrite"]`"#),
    ("order-of-head", 1, 20, Error, "`resource` stands before `action`", r#"`permit (principal, action in Aegis::Action::"Read", "#),
    ("path-with-slash-at-its-end", 2, 46, Error, "a path has no `/` at its end", r#"`resource in Aegis::Resource::"/home/me/project"`"#),
    ("path-without-quotes", 2, 20, Error, "`/` begins no text", r#"a path stands in double quotes, and is absolute: `resource in Aegis::Resource::"/home/me/project"`"#),
    ("pattern-not-absolute", 2, 48, Error, "a path begins with `/`, so nothing fits", r#"`resource.path like "*/src/*"`"#),
    ("pattern-with-tilde", 2, 48, Error, "`~` stands for nothing here", r#"write the whole path: "/home/me/...""#),
    ("port-as-string", 2, 29, Error, r#"`resource.port` is a number, "443" is a text"#, "`resource.port == 443`"),
    ("port-in-list", 1, 97, Error, "`resource.port` is not a name, and `in` is of names", "`[80, 443].contains(resource.port)`"),
    ("port-range", 1, 88, Error, "no resource is named `127.0.0.1:3000-3010`: it has no single port", r#"`resource has host && resource.host == "127.0.0.1" && resource has port && resource.port >= 3000 && resource.port <= 3010`"#),
    ("principal-is-string-in-condition", 1, 74, Error, "`principal` is never a text", r#"`principal == Aegis::Agent::"reviewer"`"#),
    ("principal-is-string", 1, 22, Error, r#""claude" is a text, not a name"#, r#"`principal == Aegis::Agent::"claude"`"#),
    ("process-name", 2, 8, Error, "`context.process` is not a text", r#"`context.process.exe == "/usr/bin/cargo"`"#),
    ("program-of-process-by-name", 2, 31, Error, "a program is its absolute path", r#"`context.process.exe == "/usr/bin/cargo"`"#),
    ("program-with-arguments", 1, 90, Error, "no resource is named `git status`: a program is named by its absolute path, without arguments", r#"`resource has name && resource.name == "git" && context.arguments.contains("status")`"#),
    ("regex-escape", 2, 48, Error, r#"`\.` stands for nothing"#, r#"".env""#),
    ("regex-method", 2, 43, Error, "there is no `.matches(...)`", r#"`resource.name like "id_*"`"#),
    ("regex", 2, 43, Error, "`=~` compares nothing", r#"`resource.name like "id_*"`"#),
    ("rego", 1, 1, Error, "this is Rego, not a policy", "`permit (principal, action, resource);`"),
    ("reversed-actions", 1, 31, Error, "there is no action `WriteFile`", r#"`Aegis::Action::"FileWrite"`"#),
    ("semicolon-in-condition", 1, 75, Error, "`;` inside of braces", "one `;` ends a policy, after the last `}`; conditions are joined by `&&`"),
    ("set-in-head", 4, 15, Error, "in the head `resource` is compared with one name", r#"`when { resource in [Aegis::Resource::"/home/me/project", Aegis::Resource::"/usr"] }`"#),
    ("setuid-as-text", 2, 8, Error, r#"`context.setuid` is true or false, "true" is a text"#, "`context.setuid`"),
    ("socket-with-slashes", 1, 88, Error, "no resource is named `unix:///run/docker.sock`: `.`, `..` and `//` are resolved before a policy is asked", r#""unix:/run/docker.sock""#),
    ("star-everything", 1, 57, Error, "no resource is named `*`: `*` has no meaning in a name", "`resource`"),
    ("star-with-equals", 1, 113, Error, "`*` has a meaning in `like` only", r#"`resource.path like "/home/me/project/*"`"#),
    ("starts-with", 2, 43, Error, "there is no `.startsWith(...)`", r#"`resource.path like "/home/me/project*"`"#),
    ("tilde", 1, 82, Error, "no resource is named `~/.ssh`: `~` stands for nothing here", r#"write the whole path: "/home/me/...""#),
    ("time-as-string", 2, 8, Error, r#"`context.time` is a moment, "22:00" is a text"#, r#"`context.time.toTime() >= duration("22h")`"#),
    ("tool-pattern", 1, 86, Warning, "`Bash(npm:*)` is taken as it stands: `*` has no meaning in a name", r#"`context.tool == "Bash" && resource has command && resource.command like "npm*"`"#),
    ("tool-without-command", 1, 86, Error, "no resource is named `Bash`: it is no path, no host with a port and no call of a tool", r#""Bash(COMMAND)""#),
    ("true-capital", 1, 94, Error, "`True` is written with small letters", "`true`"),
    ("typo-in-action-list", 1, 54, Error, "there is no action `Wirte`", r#"`Aegis::Action::"Write"`"#),
    ("unknown-attribute", 2, 8, Error, "no resource has the attribute `filename`", "`resource.name`"),
    ("unknown-group", 1, 30, Error, "there is no action `Network`", r#"`Aegis::Action::"NetConnect"`"#),
    ("unquoted-string", 2, 54, Error, "`connect` stands for nothing", r#""connect""#),
    ("url", 1, 88, Error, "no resource is named `https://api.example.com/`: it is a URL", r#""api.example.com:443""#),
    ("when-parentheses", 2, 6, Error, "what follows `when` stands in braces", "a condition stands in braces: `when { resource has port && resource.port == 443 }`"),
    ("wildcard-action", 1, 30, Error, "there is no action `File*`", r#"`action in [Aegis::Action::"FileDelete", Aegis::Action::"FileRead", Aegis::Action::"FileWrite"]`"#),
    ("windows-path", 1, 87, Error, r#"no resource is named `C:\Users\me\project`: a path begins with `/` and has no `\`"#, r#"write the whole path: "/home/me/...""#),
    ("word-for-operator", 2, 26, Error, "`contains` compares nothing", r#"`context.arguments.contains("push")`"#),
    ("wrong-namespace", 1, 22, Error, "there is no type `User`", r#"`Aegis::Agent::"claude"`"#),
    ("yaml", 1, 1, Error, "this is YAML, not a policy", "`permit (principal, action, resource);`"),
];

/// Words of Cedar's own making, which mean nothing to who writes a policy.
const INSIDE: [&str; 6] =
    ["__cedar", "entity uid", "template slot", "policy scope", "OpenRecord", "for policy `"];

/// Returns the files of a folder, by name.
fn files(name: &str) -> Vec<(String, String)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies").join(name);
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// All that is wrong with a file.
fn problems(text: &str) -> Vec<Problem> {
    let source = Source { origin: Origin::Configuration, path: "x.cedar".into(), text: text.into() };
    match Policies::parse(vec![source]) {
        Ok(policies) => policies.validate(),
        Err(problems) => problems,
    }
}

#[test]
fn each_mistake_is_told_of_where_it_is_and_with_what_to_write() {
    let mut wrong = Vec::new();
    let texts = files("mistakes");
    let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
    let mut listed: Vec<&str> = MISTAKES.iter().map(|mistake| mistake.0).collect();
    listed.sort_unstable();
    assert_eq!(names, listed);
    for (name, line, column, severity, message, help) in MISTAKES {
        let text = &texts.iter().find(|(file, _)| file == name).unwrap().1;
        let problems = problems(text);
        let reports: String = problems.iter().map(Problem::report).collect();
        let fits = problems.first().is_some_and(|first| {
            (first.line, first.column, first.severity) == (*line, *column, *severity)
                && first.message.contains(message)
                && first.help.as_deref().unwrap_or_default().contains(help)
        });
        let inside = INSIDE.iter().any(|word| reports.contains(word));
        if !fits || problems.len() > 2 || inside {
            wrong.push(format!("{name}: {line}:{column} `{message}` `{help}`\n{reports}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_right_is_not_told_of() {
    for (name, text) in files("good") {
        let problems = problems(&text);
        assert!(problems.is_empty(), "{name}: {}", problems[0].report());
    }
    let head =
        |resource: &str| format!("permit (principal, action, resource == Aegis::Resource::\"{resource}\");");
    let when = |condition: &str| format!("permit (principal, action, resource) when {{ {condition} }};");
    let ids = [
        "/proc/self",
        "[::1]:443",
        "localhost:3000",
        "0.0.0.0:0",
        "Bash(npm test)",
        "mcp__x__y()",
        "unix:@/tmp/.X11-unix/X0",
        "/a b (c)",
        "session:tmp",
        "/home/me/[id].tsx",
    ];
    let conditions = [
        r#"resource has path && resource.path like "*""#,
        r#"resource has path && resource.path like "/a*""#,
        r#"resource has path && resource.path like "/a/\*""#,
        r#"resource has path && resource["path"] == "/a""#,
        r#"resource has "path" && !(resource.path like "*.md")"#,
        r#"resource has host && resource.host == "2001:db8::1""#,
        r#"resource has address && resource.address == ip("192.0.2.7/32")"#,
        r#"if resource has port then resource.port >= 0 else context["mode"] == "run""#,
        r#"context has process.exe && ["/bin/sh", ""].contains(context.process.exe)"#,
        r#"context has arguments && context.arguments.containsAny(["push"])"#,
        r#"context has direction && "listen" != context.direction"#,
        r#"{a: "x", b: 1}.a == "x" && resource is Aegis::Resource in Aegis::Resource::"/a""#,
        r#"principal in [Aegis::Agent::"a", Aegis::Agent::"b"] && action in Aegis::Action::"Read""#,
        r#"context.time.offset(duration("1h")) > datetime("2030-12-31") && context.time.toTime().toHours() > 3"#,
    ];
    for text in ids.into_iter().map(head).chain(conditions.into_iter().map(when)) {
        let problems = problems(&text);
        assert!(problems.is_empty(), "{text}: {}", problems[0].report());
    }
    assert!(problems("\u{feff}permit (principal, action, resource);\n").is_empty());
}

#[test]
fn problems_come_by_severity_file_and_place() {
    let file = |path: &str, text: &str| Source {
        origin: Origin::Configuration,
        path: path.into(),
        text: text.into(),
    };
    let wrong =
        "permit (principal, action in Aegis::Action::\"Raed\", resource) when { context.mode == \"x\" };\n";
    let doubtful =
        "permit (principal, action, resource) when { resource has path && resource.path like \"/**\" };\n";
    let set = Policies::parse(vec![
        file("b.cedar", &format!("\u{feff}{doubtful}{wrong}{wrong}")),
        file("a.cedar", wrong),
        file("c.cedar", "// Nothing.\n"),
    ])
    .unwrap();
    let places: Vec<String> = set
        .validate()
        .iter()
        .map(|p| format!("{}:{}:{} {}", p.file, p.line, p.column, p.severity.word()))
        .collect();
    assert_eq!(
        places,
        [
            "b.cedar:2:30 error",
            "b.cedar:2:86 error",
            "b.cedar:3:30 error",
            "b.cedar:3:86 error",
            "a.cedar:1:30 error",
            "a.cedar:1:86 error",
            "b.cedar:1:85 warning",
            "c.cedar:1:1 warning",
        ]
    );
}

/// Returns a text with a part of it taken out and another put in.
fn changed(text: &str, at: prop::sample::Index, length: usize, put: &str) -> String {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let from = at.index(ends.len());
    let to = (from + length).min(ends.len() - 1);
    format!("{}{put}{}", &text[..ends[from]], &text[ends[to]..])
}

/// Checks that all that is told of a text can be shown and stands in it.
fn is_told(text: &str) -> Result<(), TestCaseError> {
    let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').collect();
    for problem in problems(text) {
        prop_assert!(!problem.report().is_empty());
        prop_assert!((1..=lines.len()).contains(&problem.line), "{problem}");
        let length = lines[problem.line - 1].chars().count();
        prop_assert!((1..=length + 1).contains(&problem.column), "{problem}");
    }
    Ok(())
}

#[test]
fn whatever_a_file_says_is_told_of_within_it() {
    let texts: Vec<String> =
        files("good").into_iter().chain(files("mistakes")).map(|(_, text)| text).collect();
    let parts = [
        "",
        "\"",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ";",
        ",",
        ".",
        "::",
        "=",
        "==",
        "!",
        "&&",
        "||",
        "|",
        "*",
        "?",
        "/",
        "#",
        "\\",
        "'",
        "”",
        "é",
        "\n",
        "\0",
        "\u{feff}",
        "@id(",
        " has ",
        " like ",
        " in ",
        " and ",
        " not in ",
        "principal",
        "context.",
        "resource.",
        "Aegis::Action::",
        "\"/a\"",
        "\"*\"",
        "443",
        ".contains(",
        "ip(",
        "when {",
        "permit (",
    ];
    let change = (any::<prop::sample::Index>(), 0..40usize, prop::sample::select(parts.to_vec()));
    let mutated =
        (prop::sample::select(texts), prop::collection::vec(change, 1..5)).prop_map(|(text, changes)| {
            changes.into_iter().fold(text, |text, (at, length, put)| changed(&text, at, length, put))
        });
    let joined =
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..30).prop_map(|parts| parts.concat());
    let strategy = prop_oneof![4 => mutated, 1 => joined, 1 => any::<String>()];
    // The parser needs the stack that is promised.
    let run = move || {
        let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&strategy, |text| is_told(&text));
        result.unwrap_or_else(|error| panic!("{error}"));
    };
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}
