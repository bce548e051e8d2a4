//! The tools of a session: which agent a command starts, what profiles go with it, and what these name on this machine.
//!
//! What a tool is stands in `aegis_policy::tools`. Here is what has to be looked at for it: the command line, the files
//! of its installation, the user's home. No tool is ever run for that.

mod command;
mod installed;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use aegis_policy::templates::TemplateFile;
use aegis_policy::tools::{Found, Kind, Place, TOOLS};
use aegis_policy::{Origin, Source, Tool};
use aegis_types::SessionTool;

use crate::error::CliError;
use crate::home::{environment, user_home};
use crate::policies::resolved;

/// The word of `--tool` for none.
const NONE: &str = "none";

/// The agent that a session runs.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) tool: &'static Tool,
    pub(crate) version: Option<String>,
    /// How many words of the command stand before its own arguments; nothing where the command is none of its own.
    words: Option<usize>,
    /// The file that it is started by.
    file: Option<PathBuf>,
    /// It is the command's program, and not started by another.
    is_program: bool,
}

/// The tools of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tools {
    /// Those that are wanted by name.
    named: Vec<&'static Tool>,
    /// Those that were found by the command.
    found: Vec<&'static Tool>,
    pub(crate) agent: Option<Agent>,
}

/// Reads the words of `--tool`.
pub(crate) fn named(words: &[String]) -> Result<Vec<&'static Tool>, CliError> {
    let mut tools: Vec<&'static Tool> = Vec::new();
    for word in words.iter().filter(|word| *word != NONE) {
        let Some(tool) = Tool::named(word) else {
            let known: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
            return Err(CliError::usage(format!("no tool `{word}` is known"))
                .hint(format!("the tools are {}; `{NONE}` is for any other", known.join(", "))));
        };
        if !tools.contains(&tool) {
            tools.push(tool);
        }
    }
    Ok(tools)
}

impl Tools {
    /// Finds the tools of a command. `program` is the file that it starts.
    pub(crate) fn of(
        words: &[String],
        command: &[OsString],
        program: Option<&Path>,
        start_in: &Path,
    ) -> Result<Self, CliError> {
        let named = named(words)?;
        if words.iter().any(|word| word == NONE) {
            return Ok(Self { named, ..Self::default() });
        }
        let started = program.and_then(|program| command::started(command, program, start_in));
        let Some(started) = started else {
            let agent = named.iter().find(|tool| tool.is_agent).map(|tool| Agent {
                tool,
                version: None,
                words: None,
                file: None,
                is_program: false,
            });
            return Ok(Self { named, found: Vec::new(), agent });
        };
        let version = started.file.as_deref().and_then(|file| installed::version(started.tool, file));
        let found = [Some(started.tool), started.fetched_with].into_iter().flatten();
        let found = found.filter(|tool| !named.contains(tool)).collect();
        let agent = Agent {
            tool: started.tool,
            version,
            words: started.words,
            file: started.file,
            is_program: started.is_program,
        };
        Ok(Self { named, found, agent: Some(agent) })
    }

    /// Returns all of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Tool> {
        self.named.iter().chain(&self.found).copied()
    }

    /// Returns those whose profiles go with policies: what was found by the command goes with `project` only, which is
    /// there for agents.
    pub(crate) fn for_policies(&self, of_project: bool) -> Vec<&'static Tool> {
        let found = self.found.iter().filter(|_| of_project);
        self.named.iter().chain(found).copied().collect()
    }

    /// Returns the policy file of a tool.
    pub(crate) fn file_of(&self, tool: &'static Tool) -> Result<TemplateFile, CliError> {
        let file =
            self.agent.as_ref().filter(|agent| agent.tool == tool).and_then(|agent| agent.file.as_deref());
        policy_file(tool, file)
    }

    /// Refuses tools that are wanted by name where there is no folder for their profiles.
    pub(crate) fn refuse_named(&self, settings: &Path) -> Result<(), CliError> {
        let Some(tool) = self.named.first() else { return Ok(()) };
        let name = tool.name;
        Err(CliError::failed(format!(
            "{}: `policy_paths` names no folder to put a profile into",
            settings.display()
        ))
        .hint(format!("aegis policy generate --tool {name} > FILE, and name the file there")))
    }

    /// Puts the profiles that are not there into a folder of policies. Returns the files.
    pub(crate) fn add_to(&self, folder: &Path) -> Result<Vec<PathBuf>, CliError> {
        let of_project = folder.join("project.cedar").exists();
        let mut added = Vec::new();
        for tool in self.for_policies(of_project) {
            let path = folder.join(tool.file);
            // Whatever stands there is the user's.
            if std::fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            aegis_sys::files::write_atomic(&path, self.file_of(tool)?.text.as_bytes())
                .map_err(|error| CliError::failed(format!("{} can't be written: {error}", path.display())))?;
            added.push(path);
        }
        Ok(added)
    }

    /// Returns the tools whose profiles a folder of policies does not have, nor gets.
    pub(crate) fn left_out(&self, folder: &Path) -> Vec<&'static Tool> {
        let is_there = |tool: &Tool| std::fs::symlink_metadata(folder.join(tool.file)).is_ok();
        self.found.iter().filter(|tool| !is_there(tool)).copied().collect()
    }

    /// Returns the profiles as policies that stand in no file.
    pub(crate) fn sources(&self, of_project: bool) -> Result<Vec<Source>, CliError> {
        let source = |tool: &'static Tool| {
            let file = self.file_of(tool)?;
            let path = format!("tool {}/{}", tool.name, file.name);
            Ok(Source { origin: Origin::Configuration, path, text: file.text })
        };
        self.for_policies(of_project).into_iter().map(source).collect()
    }

    /// Makes the directories that the tools keep their state in: what is made later in a session can't be read in it.
    pub(crate) fn make_directories(&self) {
        let places = self.all().flat_map(|tool| tool.places).filter(|place| place.kind == Kind::State);
        for path in places.filter_map(place) {
            // Where it can't be made, the tool says so.
            drop(std::fs::create_dir_all(path));
        }
    }
}

impl Agent {
    /// Returns what the ledger says of it.
    pub(crate) fn recorded(&self) -> SessionTool {
        SessionTool { name: self.tool.name.to_owned(), version: self.version.clone() }
    }

    /// Returns what it is called, with its version.
    pub(crate) fn title(&self) -> String {
        title(&self.recorded())
    }

    /// Returns the file that is to be executed in place of what was found on PATH: a link to it need not be there in the
    /// session.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        self.file.as_deref().filter(|_| self.is_program).and_then(|file| std::fs::canonicalize(file).ok())
    }

    /// Gives it the arguments of its profile; returns how its own sandbox is switched off by that, in words.
    pub(crate) fn prepare(&self, command: &mut Vec<OsString>) -> Option<String> {
        let Tool { title, arguments, unless, sandbox, .. } = self.tool;
        let how = (*sandbox)?;
        let needed = !arguments.is_empty();
        let given = self.words.and_then(|words| command.get(words..)).is_some_and(|own| {
            own.iter().filter_map(|word| word.to_str()).any(|word| {
                unless.iter().any(|option| word == *option || word.starts_with(&format!("{option}=")))
            })
        });
        let words = self.words.filter(|words| *words <= command.len() && !given);
        Some(match words {
            _ if !needed => {
                format!("{title}'s own sandbox can't start inside this one: it is switched off ({how})")
            }
            Some(words) => {
                let own = command.split_off(words);
                command.extend(arguments.iter().map(OsString::from));
                command.extend(own);
                format!("{title}'s own sandbox can't start inside this one: it is switched off ({how})")
            }
            None => format!(
                "{title}'s own sandbox can't start inside this one: switch it off where it is on ({})",
                arguments.join(" ")
            ),
        })
    }
}

/// Returns what a recorded tool is called, with its version.
pub(crate) fn title(tool: &SessionTool) -> String {
    let title = Tool::named(&tool.name).map_or(tool.name.as_str(), |known| known.title);
    let text = match &tool.version {
        Some(version) => format!("{title} {version}"),
        None => title.to_owned(),
    };
    aegis_export::shown(text.as_bytes())
}

/// Returns the policy file of a tool, which is started by a file where that is known.
pub(crate) fn policy_file(tool: &'static Tool, file: Option<&Path>) -> Result<TemplateFile, CliError> {
    if user_home().is_none() {
        return Err(
            CliError::failed(format!("where {} keeps its things can't be said", tool.title)).hint("set HOME")
        );
    }
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            CliError::failed(format!("{} is not UTF-8: a policy can't name it", path.display()))
        })
    };
    let places = tool
        .places
        .iter()
        .filter_map(|one| Some((one.key, place(one)?)))
        .map(|(key, path)| Ok((key, text(&path)?)))
        .collect::<Result<Vec<_>, CliError>>()?;
    let on_path = || tool.programs.iter().find_map(|name| on_path(name));
    let file = file.map(Path::to_owned).or_else(on_path);
    let programs = file.map(|file| installed::places(tool, &file)).unwrap_or_default();
    let programs = programs.iter().map(|path| text(path)).collect::<Result<Vec<_>, CliError>>()?;
    let found = Found { places: &places, programs: &programs };
    Ok(TemplateFile { name: tool.file, text: tool.policies(found) })
}

/// Returns where agents have things of their own that are not in a directory.
pub(crate) fn own_places(directory: &Path) -> Vec<String> {
    aegis_policy::tools::own_places(&|one| {
        let path = place(one).filter(|path| !path.starts_with(directory) && !directory.starts_with(path))?;
        path.to_str().map(str::to_owned)
    })
}

/// Returns where a place is, links resolved.
fn place(place: &Place) -> Option<PathBuf> {
    let given = place.variable.and_then(|(variable, below)| {
        let root = PathBuf::from(environment(variable)?);
        Some(if below.is_empty() { root } else { root.join(below) })
    });
    let path = given.filter(|path| path.is_absolute());
    let path = path.or_else(|| Some(user_home()?.join(place.default)))?;
    Some(resolved(&path)).filter(|path| path.is_absolute())
}

/// Finds a program on PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = environment("PATH")?;
    let mut found = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|f| f.join(name));
    found.find(|file| file.is_file())
}

/// Returns the agents that are on PATH, each with its version.
pub(crate) fn agents_on_path() -> Vec<Agent> {
    let agent = |tool: &'static Tool| {
        let file = tool.programs.iter().find_map(|name| on_path(name))?;
        let version = installed::version(tool, &file);
        Some(Agent { tool, version, words: None, file: Some(file), is_program: true })
    };
    Tool::agents().filter_map(agent).collect()
}
