//! Agents that Aegis knows, as small programs that write where the real ones do: what their profiles let them do, and what
//! a session says of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Who, World, everybody, text};

/// Where programs are beside the stand-ins.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An agent: its npm package, what it writes to in the home, and what of its own it must not change.
struct Agent {
    name: &'static str,
    package: &'static str,
    state: &'static [&'static str],
    settings: &'static [&'static str],
    host: &'static str,
}

const AGENTS: [Agent; 7] = [
    Agent {
        name: "claude",
        package: "@anthropic-ai/claude-code",
        state: &[".claude/projects/p/s.jsonl", ".claude/history.jsonl", ".claude/.credentials.json"],
        settings: &[".claude/settings.json", ".claude/hooks/h.sh", ".claude.json", ".claude/CLAUDE.md"],
        host: "api.anthropic.com",
    },
    Agent {
        name: "codex",
        package: "@openai/codex",
        state: &[".codex/sessions/2026/r.jsonl", ".codex/history.jsonl", ".codex/auth.json"],
        settings: &[".codex/config.toml", ".codex/hooks.json", ".codex/rules/default.rules"],
        host: "api.openai.com",
    },
    Agent {
        name: "gemini",
        package: "@google/gemini-cli",
        state: &[".gemini/tmp/p/logs.json", ".gemini/oauth_creds.json"],
        settings: &[".gemini/settings.json", ".gemini/trustedFolders.json", ".gemini/extensions/e/x.json"],
        host: "generativelanguage.googleapis.com",
    },
    Agent {
        name: "copilot",
        package: "@github/copilot",
        state: &[".copilot/session-state/s/events.jsonl", ".copilot/logs/l.log"],
        settings: &[".copilot/mcp-config.json", ".copilot/hooks/h.json", ".copilot/settings.json"],
        host: "api.githubcopilot.com",
    },
    Agent {
        name: "opencode",
        package: "opencode-ai",
        state: &[".local/share/opencode/storage/s.json", ".local/state/opencode/kv.json"],
        settings: &[".config/opencode/opencode.json", ".config/opencode/plugin/p.js"],
        host: "models.dev",
    },
    Agent {
        name: "qwen",
        package: "@qwen-code/qwen-code",
        state: &[".qwen/tmp/p/logs.json", ".qwen/oauth_creds.json"],
        settings: &[".qwen/settings.json", ".qwen/extensions/e/x.json"],
        host: "dashscope.aliyuncs.com",
    },
    Agent {
        name: "aider",
        package: "",
        state: &[".aider/caches/versions.json", ".aider/analytics.json"],
        settings: &[".aider.conf.yml"],
        host: "api.openai.com",
    },
];

/// What every stand-in does: it writes its state by a temporary name, as agents do, works in its directory, and tries what
/// it must not do. It says what went wrong.
const SCRIPT: &str = r#"#!/bin/sh
try() { "$@" 2> /dev/null || echo "failed: $*"; }
refused() { "$@" 2> /dev/null && echo "went on: $*"; }
for file in $STATE; do
  mkdir -p "$(dirname "$HOME/$file")"; try sh -c 'echo x > "$1.tmp" && mv "$1.tmp" "$1" && cat "$1" > /dev/null' - "$HOME/$file"
done
for file in $SETTINGS; do
  try cat "$HOME/$file" > /dev/null
  refused sh -c 'echo x >> "$1"' - "$HOME/$file"
  refused rm -f "$HOME/$file"
  refused mv "$HOME/$file" "$HOME/$file.old"
  refused sh -c 'echo x > new && mv new "$1"' - "$HOME/$file"
done
try sh -c 'echo work > written && cat written > /dev/null'
refused cat "$HOME/.ssh/id_ed25519"
refused sh -c 'echo x > ../outside'
refused sh -c 'echo x > "$HOME/.bashrc"'
refused sh -c 'mkdir -p .git/hooks && echo x > .git/hooks/pre-commit'
echo "arguments: $*"
env | grep -E '_API_KEY=|_TOKEN=|SANDBOX|UPDATE' | sort
"#;

/// A world with the stand-ins, each installed as by npm, and with what users have in their homes.
fn made(who: Who) -> World {
    let world = World::new(who);
    for agent in &AGENTS {
        let folder = world.path("agents/node_modules").join(match agent.package {
            "" => "none",
            package => package,
        });
        std::fs::create_dir_all(&folder).unwrap();
        let variables =
            format!("#!/bin/sh\nSTATE='{}' SETTINGS='{}'\n", agent.state.join(" "), agent.settings.join(" "));
        let program = folder.join(format!("{}.sh", agent.name));
        std::fs::write(&program, SCRIPT.replacen("#!/bin/sh\n", &variables, 1)).unwrap();
        executable(&program);
        if !agent.package.is_empty() {
            let package = json!({"name": agent.package, "version": "1.2.3-test"});
            std::fs::write(folder.join("package.json"), package.to_string()).unwrap();
        }
        let link = world.path("agents/bin").join(agent.name);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&program, &link).unwrap();
        for file in agent.settings {
            in_home(&world, file, "of the user\n");
        }
    }
    in_home(&world, ".ssh/id_ed25519", "key");
    world
}

fn executable(path: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

/// Writes a file into the user's home, as the user.
fn in_home(world: &World, name: &str, content: &str) {
    let path = world.path("user").join(name);
    let script = "mkdir -p \"$(dirname \"$0\")\" && printf %s \"$1\" > \"$0\"";
    assert!(world.command("sh").args(["-c", script]).arg(path).arg(content).status().unwrap().success());
}

fn aegis(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.aegis(arguments);
    command.env("PATH", format!("{}:{PATH}", world.path("agents/bin").display()));
    for name in
        ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "COPILOT_GITHUB_TOKEN", "SOME_TOKEN"]
    {
        command.env(name, "secret");
    }
    command
}

fn output(world: &World, arguments: &[&str]) -> Output {
    let output = aegis(world, arguments).output().unwrap();
    assert!(output.status.success(), "aegis {arguments:?}: {}", text(&output));
    output
}

fn policies(world: &World, name: &str) -> PathBuf {
    world.home().join(name).join("policies")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What was denied, as its action and what it was on.
fn denied(world: &World, name: &str) -> Vec<(String, String)> {
    let entries = world.stdout(&["audit", "query", name, "--decision", "deny", "--json"]);
    let entries = entries.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let pair = |entry: Value| {
        let action = entry["action"].as_str().unwrap().to_owned();
        Some((action, entry["resource"]["path"].as_str()?.to_owned()))
    };
    entries.filter_map(pair).collect()
}

#[test]
fn agents_write_their_state_and_not_their_settings() {
    for who in everybody() {
        let world = made(who);
        // As an ordinary user, those that are most alike are left out.
        for agent in
            AGENTS.iter().filter(|agent| who == Who::Me || ["claude", "opencode"].contains(&agent.name))
        {
            let name = agent.name;
            let ran = output(&world, &["run", "--", name, "do it"]);
            let said = out(&ran);
            assert!(!said.contains("failed:") && !said.contains("went on:"), "{name}: {said}\n{}", err(&ran));
            for file in agent.settings {
                let path = world.path("user").join(file);
                assert_eq!(std::fs::read_to_string(&path).unwrap(), "of the user\n", "{file}");
                let path = path.to_str().unwrap().to_owned();
                assert!(denied(&world, name).contains(&("FileWrite".to_owned(), path)), "{name}: {file}");
            }
            for file in agent.state {
                assert!(world.path("user").join(file).exists(), "{name}: {file}");
            }
            let on = |path: PathBuf| path.to_str().unwrap().to_owned();
            for expected in [
                ("FileRead", on(world.path("user/.ssh/id_ed25519"))),
                ("FileWrite", on(world.path("outside"))),
                ("FileWrite", on(world.path("user/.bashrc"))),
                ("FileWrite", on(world.work().join(".git/hooks/pre-commit"))),
            ] {
                let expected = (expected.0.to_owned(), expected.1);
                assert!(denied(&world, name).contains(&expected), "{name}: {expected:?}");
            }
            let connects = |host: &str| {
                let asked = ["policy", "check", name, "--action", "NetConnect", "--resource", host, "--json"];
                let answer: Value = serde_json::from_str(&world.stdout(&asked)).unwrap();
                answer["decision"].as_str().unwrap().to_owned()
            };
            assert_eq!(connects(&format!("{}:443", agent.host)), "allow", "{name}");
            assert_eq!(connects(&format!("{}:80", agent.host)), "deny", "{name}");
            assert_eq!(connects("elsewhere.example:443"), "deny", "{name}");
            assert_eq!(world.verdict(name).0, 0);
        }
    }
}

#[test]
fn an_agent_gets_the_variables_that_it_reads_and_no_others() {
    let world = made(Who::Me);
    let lines = |name: &str| {
        let said = out(&output(&world, &["run", "--quiet", "--", name, "-x"]));
        let lines = said.lines().skip_while(|line| !line.starts_with("arguments:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        lines("claude"),
        [
            r#"arguments: --settings {"sandbox":{"enabled":false}} -x"#,
            "ANTHROPIC_API_KEY=secret",
            "DISABLE_AUTOUPDATER=1"
        ]
    );
    assert_eq!(
        lines("codex"),
        [r#"arguments: -c sandbox_mode="danger-full-access" -x"#, "OPENAI_API_KEY=secret"]
    );
    assert_eq!(lines("gemini"), ["arguments: -x", "GEMINI_API_KEY=secret", "GEMINI_SANDBOX=false"]);
    assert_eq!(
        lines("copilot"),
        ["arguments: -x", "COPILOT_AUTO_UPDATE=false", "COPILOT_GITHUB_TOKEN=secret"]
    );
    // A user's own `--settings` stays the only one.
    let said = output(&world, &["run", "--", "claude", "--settings", "{}"]);
    assert!(out(&said).contains("arguments: --settings {}\n"), "{}", out(&said));
    let told = "Claude Code's own sandbox can't start inside this one: switch it off where it is on";
    assert!(err(&said).contains(told), "{}", err(&said));
    // Without a tool, there is nothing for it.
    let plain =
        ["run", "--tool", "none", "--config", "claude", "--policy", "permit-all", "--", "claude", "-x"];
    let said = output(&world, &plain);
    assert!(out(&said).ends_with("arguments: -x\n"), "{}", out(&said));
}

#[test]
fn a_profile_is_added_visibly_and_never_written_over() {
    let world = made(Who::Me);
    let file = policies(&world, "claude").join("tool-claude.cedar");
    let ran = output(&world, &["run", "--", "claude"]);
    assert!(err(&ran).contains(&format!("aegis: {} is added", file.display())), "{}", err(&ran));
    let switched = "Claude Code's own sandbox can't start inside this one: it is switched off (--settings)";
    assert!(err(&ran).contains(switched), "{}", err(&ran));
    let listed = world.stdout(&["policy", "list", "claude"]);
    for id in ["tool-claude:state", "tool-claude:settings", "tool-claude:hosts", "tool-claude:program"] {
        assert!(listed.contains(id), "{id}: {listed}");
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(!written.contains("{{"), "{written}");
    let valid = world.stdout(&["policy", "validate", "--path", policies(&world, "claude").to_str().unwrap()]);
    assert!(valid.contains("valid") && !valid.contains("warning"), "{valid}");
    // What the user makes of it stays, nothing at all included: its program is not executed then.
    for (kept, code) in [(format!("{written}// mine\n"), 0), (String::new(), 126)] {
        std::fs::write(&file, &kept).unwrap();
        let ran = aegis(&world, &["run", "--", "claude"]).output().unwrap();
        assert_eq!(ran.status.code(), Some(code), "{}", text(&ran));
        assert!(!err(&ran).contains("is added"), "{}", err(&ran));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), kept);
    }
    // Where it is missing, it is made again.
    std::fs::remove_file(&file).unwrap();
    assert!(err(&output(&world, &["run", "--", "claude"])).contains("is added"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}

#[test]
fn policies_of_another_kind_get_a_profile_by_name_only() {
    let world = made(Who::Me);
    world.stdout(&["init", "mine", "--policy", "allow-read-only"]);
    let files = || {
        let entries = std::fs::read_dir(policies(&world, "mine")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let ran = output(&world, &["run", "--config", "mine", "--", "claude"]);
    let told = "Claude Code has a profile that these policies do not have: `--tool claude` adds it";
    assert!(err(&ran).contains(told), "{}", err(&ran));
    assert_eq!(files(), ["allow-read-only.cedar"]);
    output(&world, &["run", "--config", "mine", "--tool", "claude", "--tool", "rust", "--", "claude"]);
    assert_eq!(files(), ["allow-read-only.cedar", "tool-claude.cedar", "tool-rust.cedar"]);
    // What is for one run only writes nothing.
    world.stdout(&["init", "other", "--policy", "default-deny"]);
    let ran = output(&world, &["run", "--config", "other", "--policy", "project", "--", "codex"]);
    assert!(!out(&ran).contains("failed:") && !out(&ran).contains("went on:"), "{}", out(&ran));
    assert!(!policies(&world, "other").join("tool-codex.cedar").exists());
    let wrong = aegis(&world, &["run", "--tool", "clude", "--", "true"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(125));
    assert!(text(&wrong).contains("no tool `clude` is known"), "{}", text(&wrong));
}

#[test]
fn a_session_names_the_agent_and_its_version() {
    let world = made(Who::Me);
    let script = world.path("agents/node_modules/@anthropic-ai/claude-code/cli.js");
    std::fs::write(&script, "process.exit(0)\n").unwrap();
    let known = json!({"name": "claude", "version": "1.2.3-test"});
    let unknown = Value::Null;
    for (name, command, expected) in [
        ("a", vec!["wrap", "--name", "a", "--", "claude"], &known),
        ("b", vec!["run", "--config", "b", "--", "claude"], &known),
        ("c", vec!["wrap", "--name", "c", "--", "node", script.to_str().unwrap()], &known),
        ("d", vec!["wrap", "--name", "d", "--", "true", "claude"], &unknown),
        (
            "e",
            vec!["run", "--config", "e", "--policy", "permit-all", "--tool", "none", "--", "claude"],
            &unknown,
        ),
        ("f", vec!["wrap", "--name", "f", "--", "aider"], &json!({"name": "aider"})),
    ] {
        output(&world, &command);
        let entries = world.entries(name);
        let start = entries.iter().find(|entry| entry["kind"] == "session_start").unwrap();
        assert_eq!(&start["start"]["tool"], expected, "{command:?}");
        assert_eq!(world.verdict(name).0, 0);
    }
    assert!(world.stdout(&["audit", "session", "a"]).contains("\ntool       Claude Code 1.2.3-test\n"));
    assert!(world.stdout(&["status", "a"]).contains(", exit 0, Claude Code 1.2.3-test\n"));
    assert!(world.stdout(&["log", "a", "--last", "1000"]).contains("wrap claude  (Claude Code 1.2.3-test)"));
    let status: Value = serde_json::from_str(&world.stdout(&["status", "a", "--json"])).unwrap();
    assert_eq!(status["last_session"]["tool"], known);
}

#[test]
fn profiles_are_made_with_a_configuration() {
    let world = made(Who::Me);
    let made = output(&world, &["init", "me", "--tool", "claude", "--tool", "node"]);
    assert!(out(&made).contains("  tools       Claude Code, Node packages\n"), "{}", out(&made));
    for file in ["tool-claude.cedar", "tool-node.cedar"] {
        assert!(out(&made).contains(&format!("policies/{file}")), "{}", out(&made));
    }
    let printed = out(&output(&world, &["policy", "generate", "--tool", "claude"]));
    let written = std::fs::read_to_string(policies(&world, "me").join("tool-claude.cedar")).unwrap();
    assert_eq!(printed, written);
    let installed = format!("Aegis::Resource::\"{}\"", world.path("agents/node_modules").display());
    assert!(written.contains(&installed), "{written}");
    let both =
        world.aegis(&["policy", "generate", "--tool", "go", "--template", "project"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
}
