//! `aegis init`: makes a configuration, with its policies; asks where nothing is said.
//!
//! The policies are written first, the settings last: a configuration is there once its settings are, and until
//! then nothing that was there before has changed.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use aegis_export::shown;
use aegis_policy::templates::TemplateFile;
use aegis_policy::tools::TOOLS;
use aegis_policy::{AllowedHost, Origin, Policies, Severity, Source, Template, Tool};
use aegis_session::policies::with_stack;
use aegis_types::AgentName;

use crate::args::Init;
use crate::config;
use crate::error::CliError;
use crate::home::{Home, make_private, user_home};
use crate::{output, policies, tools};

/// What is to be made.
struct Wanted {
    name: AgentName,
    directory: PathBuf,
    policy: String,
    tools: Vec<&'static Tool>,
    hosts: Vec<AllowedHost>,
    active: bool,
}

pub(crate) fn run(home: &Home, options: Init) -> Result<(), CliError> {
    let wanted = match options.name {
        Some(name) => {
            free(home, &name)?;
            let directory = directory(options.dir.as_deref().unwrap_or(Path::new(".")))?;
            let policy = options.policy.unwrap_or_else(|| Template::Project.name().to_owned());
            let tools = tools::named(&options.tool)?;
            Wanted { name, directory, policy, tools, hosts: Vec::new(), active: false }
        }
        None => ask(home, &options)?,
    };
    let made = make(home, &wanted)?;
    report(&wanted, &made)
}

/// Makes sure that nothing is written over, and that nothing that is there stays in force unseen.
fn free_place(place: &Path) -> Result<(), CliError> {
    let Ok(meta) = std::fs::symlink_metadata(place) else { return Ok(()) };
    let is_empty = || std::fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none());
    if meta.is_dir() && is_empty() {
        return Ok(());
    }
    let what = if meta.is_dir() { "is not empty" } else { "is no directory" };
    Err(CliError::failed(format!("{} {what}", place.display())).hint("move it away"))
}

/// Says that a name can be taken: there is no configuration of it, or one without policies.
fn free(home: &Home, name: &AgentName) -> Result<(), CliError> {
    if !home.settings_path(name).exists() {
        return Ok(());
    }
    let configuration = home.configuration(name)?;
    let files = policies::files(&configuration, None);
    let has_own = files.default_place.iter().chain(&files.places).any(|place| {
        place.is_file() || std::fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some())
    });
    if has_own || configuration.lines.of("policy_paths").is_some() {
        return Err(CliError::failed(format!("there is a configuration `{name}` already")).hint(format!(
            "`aegis config edit {name}` changes its settings, `aegis policy list {name}` shows its policies"
        )));
    }
    Ok(())
}

/// Returns a directory with its links resolved, as policies name it.
fn directory(path: &Path) -> Result<PathBuf, CliError> {
    let found = std::fs::canonicalize(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::usage(format!("there is no directory {}", path.display()))
            .hint(format!("mkdir -p {}", path.display())),
        _ => CliError::usage(format!("{}: {error}", path.display())),
    })?;
    if !found.is_dir() {
        return Err(CliError::usage(format!("{} is no directory", found.display())));
    }
    Ok(found)
}

/// What was made.
struct Made {
    settings: PathBuf,
    is_new: bool,
    policies: Vec<PathBuf>,
    toolchains: Vec<String>,
}

fn make(home: &Home, wanted: &Wanted) -> Result<Made, CliError> {
    let Wanted { name, directory, .. } = wanted;
    let (mut files, toolchains) = policy_files(wanted, &home.folder(name))?;
    files.extend(profiles(&wanted.tools)?);
    home.create()?;
    let folder = home.make_folder(name)?;
    let place = folder.join("policies");
    free_place(&place)?;
    make_private(&place)?;
    let mut written = Vec::new();
    for file in &files {
        let path = place.join(&file.name);
        write(&path, &file.text)?;
        written.push(path);
    }
    let settings = home.settings_path(name);
    let (text, is_new) = if settings.exists() {
        // Made by `wrap`, without policies: what stands there stays.
        (config::with_directory(&settings, directory, &wanted.hosts)?, false)
    } else {
        (config::new_file(name, Some(directory), &wanted.hosts)?, true)
    };
    // What is written is read back as any other time.
    config::Configuration::parse(&settings, &text, &folder)?;
    write(&settings, &text)?;
    if wanted.active {
        home.set_active(name)?;
    }
    Ok(Made { settings, is_new, policies: written, toolchains })
}

/// Makes a configuration with policies and says nothing of it.
pub(super) fn make_quietly(
    home: &Home,
    name: &AgentName,
    directory: &Path,
    policy: &str,
) -> Result<(), CliError> {
    let directory = self::directory(directory)?;
    let wanted = Wanted {
        name: name.clone(),
        directory,
        policy: policy.to_owned(),
        tools: Vec::new(),
        hosts: Vec::new(),
        active: false,
    };
    make(home, &wanted).map(drop)
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    aegis_sys::files::write_atomic(path, text.as_bytes())
        .map_err(|error| CliError::failed(format!("{} can't be written: {error}", path.display())))
}

/// A policy file to be written.
struct NewFile {
    name: String,
    text: String,
}

impl NewFile {
    fn of(file: TemplateFile) -> Self {
        Self { name: file.name.to_owned(), text: file.text }
    }
}

/// Returns the policy files, checked, and the toolchains that they name.
fn policy_files(wanted: &Wanted, folder: &Path) -> Result<(Vec<NewFile>, Vec<String>), CliError> {
    let Some(template) = Template::named(&wanted.policy) else {
        let sources = policies::chosen(&wanted.policy, &wanted.directory)?;
        check(&sources)?;
        let file = |source: Source| {
            let base = source.path.rsplit('/').next().unwrap_or_default().to_owned();
            let base = base.trim_start_matches('.').to_owned();
            let name = if base.ends_with(".cedar") { base } else { format!("{base}.cedar") };
            NewFile { name, text: source.text }
        };
        return Ok((sources.into_iter().map(file).collect(), Vec::new()));
    };
    let files: Vec<TemplateFile> = policies::template_files(template, &wanted.directory, Some(folder))?;
    check(&files.iter().map(source).collect::<Vec<_>>())?;
    let found = if template == Template::Project {
        policies::toolchains().into_iter().map(|(name, path)| format!("{name} ({path})")).collect()
    } else {
        Vec::new()
    };
    Ok((files.into_iter().map(NewFile::of).collect(), found))
}

/// Returns the profiles of the tools, checked.
fn profiles(tools: &[&'static Tool]) -> Result<Vec<NewFile>, CliError> {
    let files =
        tools.iter().map(|tool| tools::policy_file(tool, None)).collect::<Result<Vec<TemplateFile>, _>>()?;
    check(&files.iter().map(source).collect::<Vec<_>>())?;
    Ok(files.into_iter().map(NewFile::of).collect())
}

fn source(file: &TemplateFile) -> Source {
    Source { origin: Origin::Configuration, path: file.name.to_owned(), text: file.text.clone() }
}

fn check(sources: &[Source]) -> Result<(), CliError> {
    let problems = with_stack(|| match Policies::parse(sources.to_vec()) {
        Ok(set) => set.validate().into_iter().filter(|p| p.severity == Severity::Error).collect(),
        Err(problems) => problems,
    });
    if problems.is_empty() { Ok(()) } else { Err(policies::wrong(problems)) }
}

fn report(wanted: &Wanted, made: &Made) -> Result<(), CliError> {
    let Made { settings, is_new, policies: written, toolchains } = made;
    let Wanted { name, directory, policy, tools, .. } = wanted;
    let mut out = output::out();
    writeln!(out, "{} configuration `{name}`", if *is_new { "made" } else { "completed" })?;
    writeln!(out, "  settings    {}", settings.display())?;
    for path in written {
        writeln!(out, "  policies    {}", path.display())?;
    }
    writeln!(out, "  directory   {}", shown(directory.as_os_str().as_encoded_bytes()))?;
    if let Some(template) = Template::named(policy) {
        writeln!(out, "  permits     {}", template.summary())?;
    }
    if !toolchains.is_empty() {
        writeln!(out, "  toolchains  {}", toolchains.join(", "))?;
    }
    if !tools.is_empty() {
        let titles: Vec<&str> = tools.iter().map(|tool| tool.title).collect();
        writeln!(out, "  tools       {}", titles.join(", "))?;
    }
    if !wanted.hosts.is_empty() {
        let hosts: Vec<String> = wanted.hosts.iter().map(ToString::to_string).collect();
        writeln!(out, "  hosts       {}", hosts.join(", "))?;
    }
    writeln!(
        out,
        "try it        aegis run --config {name} --dry-run -- CMD   (denies nothing, says what would be)"
    )?;
    writeln!(out, "then          aegis run --config {name} -- CMD")?;
    Ok(out.flush()?)
}

/// Asks what is not said.
fn ask(home: &Home, options: &Init) -> Result<Wanted, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage("without a terminal there is nobody to ask").hint("aegis init NAME"));
    }
    output::line(
        "A configuration says what an agent may do. Return takes what stands in brackets; ^C ends.\n",
    )?;
    let name = question("Its name", &default_name(home)?, |text| {
        let name = AgentName::new(text)?;
        free(home, &name)?;
        Ok(name)
    })?;
    let directory = match &options.dir {
        Some(path) => directory(path)?,
        None => {
            let here = directory(Path::new("."))?;
            question("The directory that it works in", &here.display().to_string(), |text| {
                let path = match (text.strip_prefix("~/"), user_home()) {
                    (Some(rest), Some(home)) => home.join(rest),
                    _ => PathBuf::from(text),
                };
                directory(&path)
            })?
        }
    };
    let policy = match &options.policy {
        Some(policy) => policy.clone(),
        None => {
            for template in Template::ALL {
                output::line(&format!("  {:<16} {}", template.name(), template.summary()))?;
            }
            question("Its policies", Template::Project.name(), |text| {
                policies::chosen(text, &directory)?;
                let wanted = Wanted {
                    name: name.clone(),
                    directory: directory.clone(),
                    policy: text.to_owned(),
                    tools: Vec::new(),
                    hosts: Vec::new(),
                    active: false,
                };
                policy_files(&wanted, &home.folder(&wanted.name))?;
                Ok(text.to_owned())
            })?
        }
    };
    let tools = if options.tool.is_empty() { ask_for_tools(&name)? } else { tools::named(&options.tool)? };
    let hosts = question("Hosts that it may connect to, as `api.example.com:443`", "none", |text| {
        if text == "none" {
            return Ok(Vec::new());
        }
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        words
            .map(|word| {
                word.parse().map_err(|e: aegis_policy::network::HostError| CliError::usage(e.to_string()))
            })
            .collect()
    })?;
    let active =
        question("Make it the one that commands take where none is named", "yes", |text| {
            match text.to_lowercase().as_str() {
                "y" | "yes" => Ok(true),
                "n" | "no" => Ok(false),
                _ => Err(CliError::usage("yes or no")),
            }
        })?;
    Ok(Wanted { name, directory, policy, tools, hosts, active })
}

/// Asks for the tools; shows those that there are.
fn ask_for_tools(name: &AgentName) -> Result<Vec<&'static Tool>, CliError> {
    let agents = tools::agents_on_path();
    for agent in &agents {
        output::line(&format!("  {:<16} {}", agent.tool.name, agent.title()))?;
    }
    for tool in TOOLS.iter().filter(|tool| !tool.is_agent) {
        output::line(&format!("  {:<16} {}", tool.name, tool.title))?;
    }
    let default = agents.iter().find(|agent| agent.tool.name == name.as_str());
    let default = default.map_or("none", |agent| agent.tool.name);
    question("The agent and the packages that it works with, as `claude, node`", default, |text| {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        tools::named(&words.map(str::to_owned).collect::<Vec<_>>())
    })
}

/// Asks until the answer will do.
fn question<T>(
    text: &str,
    default: &str,
    check: impl Fn(&str) -> Result<T, CliError>,
) -> Result<T, CliError> {
    loop {
        output::bytes(format!("{text} [{}]: ", shown(default.as_bytes())).as_bytes())?;
        let mut line = String::new();
        let got = match std::io::stdin().lock().read_line(&mut line) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                CliError::usage("the answer is not UTF-8").print();
                continue;
            }
            got => got.map_err(|error| CliError::failed(format!("the answer can't be read: {error}")))?,
        };
        if got == 0 {
            output::line("")?;
            return Err(CliError::failed("nothing was made"));
        }
        let answer = line.trim();
        match check(if answer.is_empty() { default } else { answer }) {
            Ok(answer) => return Ok(answer),
            Err(error) => error.print(),
        }
    }
}

/// Returns a name that is free: that of the directory, else with a number.
fn default_name(home: &Home) -> Result<String, CliError> {
    let here = directory(Path::new("."))?;
    let base: String = here
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .collect();
    let base = if AgentName::new(&base).is_ok() { base } else { "agent".to_owned() };
    let candidates = std::iter::once(base.clone()).chain((2..100).map(|n| format!("{base}-{n}")));
    let is_free = |name: &String| AgentName::new(name).is_ok_and(|name| !home.settings_path(&name).exists());
    Ok(candidates.into_iter().find(is_free).unwrap_or(base))
}
