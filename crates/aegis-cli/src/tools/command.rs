//! Which agent a command line starts: by its program, or by what an interpreter or a package runner is told to run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use aegis_policy::Tool;

use super::installed::package_of;

/// An agent that a command starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Started {
    pub(super) tool: &'static Tool,
    /// How many words stand before its own arguments, where they can be told apart.
    pub(super) words: Option<usize>,
    /// The file that it is started by, where that is known.
    pub(super) file: Option<PathBuf>,
    /// That is the command's program.
    pub(super) is_program: bool,
    /// What fetches its package.
    pub(super) fetched_with: Option<&'static Tool>,
}

/// What runs a package that it may have to fetch, and the tool whose hosts that takes.
const RUNNERS: [(&[&str], &str); 10] = [
    (&["npx"], "node"),
    (&["pnpx"], "node"),
    (&["pnpm", "dlx"], "node"),
    (&["yarn", "dlx"], "node"),
    (&["bunx"], "node"),
    (&["bun", "x"], "node"),
    (&["npm", "exec"], "node"),
    (&["uvx"], "python"),
    (&["uv", "tool", "run"], "python"),
    (&["pipx", "run"], "python"),
];

/// Options of runners that name the package, so that the next word is the program.
const NAMING: [&str; 4] = ["-p", "--package", "--from", "--spec"];

/// Options of interpreters that take a word of their own.
const WITH_WORD: [&str; 8] = ["-r", "--require", "--import", "--loader", "-C", "--conditions", "-W", "-X"];

/// Options of interpreters after which no file is run.
const NO_FILE: [&str; 6] = ["-e", "--eval", "-p", "--print", "-c", "-"];

/// Finds the agent that a command starts; `program` is the file of its first word.
pub(super) fn started(command: &[OsString], program: &Path, start_in: &Path) -> Option<Started> {
    let words: Vec<&str> = command.iter().map_while(|word| word.to_str()).collect();
    let base = words.first()?.rsplit('/').next()?;
    let program = start_in.join(program);
    if let Some(tool) = by_file(base, &program) {
        return Some(Started {
            tool,
            words: Some(1),
            file: Some(program),
            is_program: true,
            fetched_with: None,
        });
    }
    if let Some((start, with)) = RUNNERS.iter().find(|(start, _)| {
        let [first, rest @ ..] = start else { return false };
        *first == base && words.get(1..start.len()).is_some_and(|next| next == rest)
    }) {
        return by_package(&words, start.len(), Tool::named(with));
    }
    let is_python = base.starts_with("python");
    if is_python || ["node", "nodejs", "bun"].contains(&base) {
        return by_script(&words, is_python, &program, start_in);
    }
    None
}

/// Returns the agent that a file is: by its package, else by its name where it is of no package.
fn by_file(name: &str, file: &Path) -> Option<&'static Tool> {
    let is_packed = std::fs::canonicalize(file)
        .is_ok_and(|file| file.components().any(|part| part.as_os_str() == "node_modules"));
    let package = if is_packed { package_of(file) } else { None };
    match package {
        Some((package, _)) => Tool::agents().find(|tool| tool.is_npm_package(&package)),
        None => Tool::agents().find(|tool| tool.programs.contains(&name)),
    }
}

/// Returns the agent whose package a runner is told to run.
fn by_package(words: &[&str], start: usize, with: Option<&'static Tool>) -> Option<Started> {
    let (at, word) = words.iter().enumerate().skip(start).find(|(_, word)| !word.starts_with('-'))?;
    let tool = Tool::agents().find(|tool| is_package(tool, word))?;
    let mut count = at + 1;
    if words.get(at - 1).is_some_and(|before| NAMING.contains(before)) {
        // The program of the package follows.
        count += 1;
    }
    if words.get(count) == Some(&"--") {
        count += 1;
    }
    // Without it, what follows would be npm's own options.
    let is_told_apart = words.get(1) != Some(&"exec") || words.get(count - 1) == Some(&"--");
    let words = is_told_apart.then_some(count);
    Some(Started { tool, words, file: None, is_program: false, fetched_with: with })
}

/// Says whether a word names a tool's package, in whatever version.
fn is_package(tool: &Tool, word: &str) -> bool {
    let is_npm = tool.npm.is_some_and(|npm| {
        word.strip_prefix(npm).is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
    });
    let is_python = tool.python.is_some_and(|(package, _)| {
        word.strip_prefix(package)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '=', '<', '>', '!', '~', '[']))
    });
    is_npm || is_python
}

/// Returns the agent whose file or module an interpreter is told to run.
fn by_script(words: &[&str], is_python: bool, program: &Path, start_in: &Path) -> Option<Started> {
    let mut at = 1;
    loop {
        let word = *words.get(at)?;
        if is_python && word == "-m" {
            let module = words.get(at + 1)?;
            let tool = Tool::agents().find(|tool| tool.python.is_some_and(|(_, own)| own == *module))?;
            let file = Some(program.to_owned());
            return Some(Started { tool, words: Some(at + 2), file, is_program: false, fetched_with: None });
        }
        if NO_FILE.contains(&word) {
            return None;
        }
        let is_run = word == "run" && at == 1 && !is_python;
        if !word.starts_with('-') && !is_run {
            break;
        }
        at += if WITH_WORD.contains(&word) { 2 } else { 1 };
    }
    let file = start_in.join(words.get(at)?);
    let tool = match is_python {
        true => Tool::agents().find(|tool| {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            tool.python.is_some() && tool.programs.contains(&name)
        }),
        false => {
            let (package, _) = package_of(&file)?;
            Tool::agents().find(|tool| tool.is_npm_package(&package))
        }
    }?;
    Some(Started { tool, words: Some(at + 1), file: Some(file), is_program: false, fetched_with: None })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files the plain way")]
mod tests {
    use super::*;

    /// What is found of a command line: the tool, the words before its arguments, what fetches it.
    fn found(line: &str, start_in: &Path) -> Option<(&'static str, Option<usize>, Option<&'static str>)> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let started = started(&words, Path::new("/nonexistent"), start_in)?;
        Some((started.tool.name, started.words, started.fetched_with.map(|tool| tool.name)))
    }

    #[test]
    fn an_agent_is_found_by_the_program() {
        let here = Path::new("/nonexistent");
        for (line, expected) in [
            ("claude -p hello", Some(("claude", Some(1), None))),
            ("/home/me/.local/bin/claude", Some(("claude", Some(1), None))),
            ("npx @anthropic-ai/claude-code -p x", Some(("claude", Some(2), Some("node")))),
            ("npx -y @openai/codex@0.1.0 exec", Some(("codex", Some(3), Some("node")))),
            ("npx --package @openai/codex codex exec", Some(("codex", Some(4), Some("node")))),
            ("npm exec @google/gemini-cli -- -p x", Some(("gemini", Some(4), Some("node")))),
            ("npm exec @google/gemini-cli -p x", Some(("gemini", None, Some("node")))),
            ("pnpm dlx opencode-ai", Some(("opencode", Some(3), Some("node")))),
            ("uvx --from aider-chat aider --model m", Some(("aider", Some(4), Some("python")))),
            ("pipx run aider-chat==0.86.2", Some(("aider", Some(3), Some("python")))),
            ("python3.12 -m aider --model m", Some(("aider", Some(3), None))),
            ("python3 -W ignore /opt/bin/aider", Some(("aider", Some(4), None))),
            ("python3 -c import,aider", None),
            ("npx @openai/codex-like", None),
            ("npx @openai/codexlike", None),
            ("npm install @openai/codex", None),
            ("sh -c claude", None),
            ("cat claude", None),
            ("node -e claude", None),
            ("node", None),
        ] {
            assert_eq!(found(line, here), expected, "{line}");
        }
    }

    #[test]
    fn a_script_is_known_by_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("node_modules/@anthropic-ai/claude-code");
        std::fs::create_dir_all(package.join("bin")).unwrap();
        std::fs::write(package.join("bin/cli.js"), "").unwrap();
        std::fs::write(package.join("package.json"), r#"{"name":"@anthropic-ai/claude-code"}"#).unwrap();
        let line = "node --require x node_modules/@anthropic-ai/claude-code/bin/cli.js -p";
        assert_eq!(found(line, folder.path()), Some(("claude", Some(4), None)));
        // A program of this name that is of another package.
        std::fs::write(package.join("package.json"), r#"{"name":"claude"}"#).unwrap();
        assert_eq!(found(line, folder.path()), None);
        let words = [OsString::from("claude")];
        assert_eq!(started(&words, &package.join("bin/cli.js"), folder.path()), None);
    }
}
