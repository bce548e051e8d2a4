//! The policy set of a configuration: where its files are, reading them, and knowing whether they are valid.
//!
//! Validation against the schema takes longer than all else at a start. So a set that was found valid is known by
//! its hash, in `NAME/validated`, together with the schema's; another set, or another schema, is validated anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_policy::set::sha256;
use aegis_policy::templates::{Places, SETTINGS};
use aegis_policy::{
    Engine, Linked, Origin, Policies, Problem, Reserved, SCHEMA, SandboxPlan, Severity, Source, Subject,
    Template,
};
use aegis_session::policies::{LoadError, PolicyFiles, Unreadable, has_policies, with_stack};

use crate::config::Configuration;
use crate::error::CliError;
use crate::home::{Home, environment, passwd, user_home};

/// The organisation's policies, in force for every user.
const ORGANISATION: &str = "/etc/aegis/policies";

/// How many sets are remembered as valid.
const REMEMBERED_MAX: usize = 16;

/// Returns where a configuration's policies are. `instead` takes the place of the configuration's own files.
pub(crate) fn files(configuration: &Configuration, instead: Option<Vec<Source>>) -> PolicyFiles {
    let mut files = PolicyFiles { organisation: Some(ORGANISATION.into()), ..PolicyFiles::default() };
    match instead {
        Some(texts) => files.texts = texts,
        None if configuration.lines.of("policy_paths").is_some() => {
            files.places = configuration.policy_paths.clone();
        }
        None => files.default_place = configuration.policy_paths.first().cloned(),
    }
    if let Some(text) = aegis_policy::network::policy_of(&configuration.allowed_network) {
        let path = format!("{}: allowed_network", configuration.file.display());
        files.texts.push(Source { origin: Origin::Settings, path, text });
    }
    files
}

/// Reads a set and makes sure that it is valid; nothing where there is no policy file at all.
pub(crate) fn valid(
    files: &PolicyFiles,
    configuration: &Configuration,
) -> Result<Option<Arc<Policies>>, CliError> {
    let sources = files.read().map_err(unreadable)?;
    if !has_policies(&sources) {
        return Ok(None);
    }
    let policies = with_stack(|| Policies::parse(sources)).map_err(wrong)?;
    let memory = configuration.folder.join("validated");
    let line = format!("{} {}", policies.hash(), sha256(SCHEMA.as_bytes()));
    let known = remembered(&memory);
    if !known.contains(&line) {
        let problems: Vec<Problem> = with_stack(|| policies.validate())
            .into_iter()
            .filter(|p| p.severity == Severity::Error)
            .collect();
        if !problems.is_empty() {
            return Err(wrong(problems));
        }
        remember(&memory, known, line);
    }
    Ok(Some(Arc::new(policies)))
}

/// Returns the lines of a file of sets that were found valid; what is not as it should be counts as none.
fn remembered(memory: &Path) -> Vec<String> {
    let text = crate::config::read(memory).ok().flatten().map(|found| found.text).unwrap_or_default();
    text.lines().take(REMEMBERED_MAX).map(str::to_owned).collect()
}

fn remember(memory: &Path, mut known: Vec<String>, line: String) {
    known.insert(0, line);
    known.truncate(REMEMBERED_MAX);
    known.push(String::new());
    // Without it the set is validated again.
    drop(aegis_sys::files::write_atomic(memory, known.join("\n").as_bytes()));
}

/// Prepares the answers to what is asked outside of a session.
pub(crate) fn engine(
    home: &Home,
    policies: Arc<Policies>,
    configuration: &Configuration,
    mode: &str,
    tmp: Option<String>,
) -> Result<Engine, CliError> {
    let subject = Subject {
        agent: configuration.name.clone(),
        session: String::new(),
        mode: mode.to_owned(),
        tmp_is_shared: mode != "run" && tmp.as_deref().is_some_and(is_shared),
        tmp,
        reserved: reserved(home, configuration),
    };
    ready(policies, subject)
}

/// Makes a set ready to be asked.
pub(crate) fn ready(policies: Arc<Policies>, subject: Subject) -> Result<Engine, CliError> {
    with_stack(|| Engine::new(policies, subject)).map_err(|error| CliError::failed(error.to_string()))
}

/// Returns what a kernel can be told where everything is permitted that some policy could permit.
pub(crate) fn unlimited(subject: Subject) -> Result<SandboxPlan, CliError> {
    let sources = chosen(Template::PermitAll.name(), Path::new("/"))?;
    let policies = with_stack(|| Policies::parse(sources)).map_err(wrong)?;
    Ok(SandboxPlan::of(&ready(Arc::new(policies), subject)?))
}

/// Returns what no policy can permit: the home but for the configuration's sandbox, and policies wherever they are.
pub(crate) fn reserved(home: &Home, configuration: &Configuration) -> Reserved {
    let text = |path: &Path| resolved(path).to_str().map(str::to_owned);
    let places = files(configuration, None);
    let places = places.places.iter().chain(&places.default_place).chain(&places.organisation);
    Reserved {
        home: text(home.root()),
        // Itself, and never where a link in its place would lead.
        sandbox: text(&configuration.folder).map(|folder| format!("{folder}/sandbox")),
        policies: places.filter_map(|place| text(place)).collect(),
    }
}

/// Returns the directory for temporary files of what `wrap` runs: it gives the command no other. One that holds the
/// user's home is not taken for it, nor the root.
pub(crate) fn temporary() -> Option<String> {
    let path = environment("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let path = std::fs::canonicalize(path).ok()?;
    let holds_home = real_home().is_none_or(|home| home.starts_with(&path));
    path.to_str().filter(|_| !holds_home).map(str::to_owned)
}

/// Says whether others put their files there as well.
pub(crate) fn is_shared(directory: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let me = rustix::process::geteuid().as_raw();
    std::fs::metadata(directory).is_ok_and(|meta| meta.uid() != me || meta.mode() & 0o022 != 0)
}

/// Returns the user's home with links resolved: that of `$HOME`, else of `passwd(5)`.
fn real_home() -> Option<PathBuf> {
    let me = rustix::process::geteuid().as_raw();
    let home = user_home().or_else(|| passwd(me).map(|(_, home)| home))?;
    // One that is neither there nor a full path is none that anything could be held against.
    Some(std::fs::canonicalize(&home).unwrap_or(home)).filter(|home| home.is_absolute())
}

/// Returns an absolute path as the kernel has it: links resolved as far as there is anything.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    for folder in path.ancestors() {
        if let Ok(found) = std::fs::canonicalize(folder) {
            return rest.iter().rev().fold(found, |path, name| path.join(name));
        }
        rest.extend(folder.file_name().map(std::ffi::OsStr::to_owned));
    }
    path.to_owned()
}

/// Finds names in policies that are links here and so match nothing.
pub(crate) fn linked(policies: &Policies) -> Vec<Linked> {
    policies.linked(&|path| resolved(Path::new(path)).to_str().map(str::to_owned))
}

/// Returns what `--policy` means: a template by its name, or a file.
pub(crate) fn chosen(word: &str, directory: &Path) -> Result<Vec<Source>, CliError> {
    if let Some(template) = Template::named(word) {
        let source = |file: aegis_policy::templates::TemplateFile| Source {
            origin: Origin::Configuration,
            path: format!("template {word}/{}", file.name),
            text: file.text,
        };
        return Ok(template_files(template, directory, None)?.into_iter().map(source).collect());
    }
    if word.contains('/') || word.ends_with(".cedar") {
        let files = PolicyFiles { places: vec![PathBuf::from(word)], ..PolicyFiles::default() };
        let sources = files.read().map_err(unreadable)?;
        if sources.is_empty() {
            return Err(CliError::usage(format!("there is no policy file (*.cedar) in {word}")));
        }
        return Ok(sources);
    }
    let known: Vec<&str> = Template::ALL.iter().map(|template| template.name()).collect();
    Err(CliError::usage(format!("there is no template `{word}`"))
        .hint(format!("the templates are {}; a file is given by its path", known.join(", "))))
}

/// Returns the files of a template for a directory, and for the configuration of a folder, where there is one.
pub(crate) fn template_files(
    template: Template,
    directory: &Path,
    folder: Option<&Path>,
) -> Result<Vec<aegis_policy::templates::TemplateFile>, CliError> {
    let directory = directory.to_str().ok_or_else(|| {
        CliError::failed(format!("{} is not UTF-8: a policy can't name it", directory.display()))
    })?;
    if template == Template::Project {
        check_project(Path::new(directory))?;
    }
    let toolchains: Vec<String> = toolchains().into_iter().map(|(_, path)| path).collect();
    let caches = folder.map(|folder| resolved(&crate::surroundings::caches(folder)));
    Ok(template.files(Places {
        directory,
        toolchains: &toolchains,
        settings: &settings(Path::new(directory)),
        caches: caches.as_deref().and_then(Path::to_str),
        agents: &crate::tools::own_places(Path::new(directory)),
    }))
}

/// Finds the settings of toolchains that are read from a directory in the user's home; those with a secret in them are
/// left out.
fn settings(directory: &Path) -> Vec<String> {
    let Some(home) = real_home().filter(|home| directory.starts_with(home)) else { return Vec::new() };
    let path = |name: &&str| {
        let path = std::fs::canonicalize(home.join(name)).ok()?;
        let text = std::fs::read_to_string(&path).ok()?.to_lowercase();
        let holds_secret = ["token", "password", "secret", "@"].iter().any(|word| text.contains(word));
        let is_open = path.starts_with(&home) && !holds_secret;
        path.to_str().filter(|_| is_open).map(str::to_owned)
    };
    SETTINGS.iter().filter_map(path).collect()
}

/// Directories of the system: a project in one would open what the template keeps closed.
const SYSTEM: [&str; 9] = ["/etc", "/usr", "/var", "/dev", "/proc", "/sys", "/boot", "/run", "/opt"];

/// Refuses a directory that the template `project` must not open to an agent.
fn check_project(directory: &Path) -> Result<(), CliError> {
    let refuse = |why: String| {
        Err(CliError::usage(format!(
            "{} {why}: `project` would open all of it to the agent",
            directory.display()
        ))
        .hint("give a directory of the project's own with --dir"))
    };
    match real_home() {
        None => return refuse("may hold your home (where it is, neither $HOME nor passwd says)".to_owned()),
        Some(home) if home.starts_with(directory) => {
            return refuse("holds your home, with its keys and passwords".to_owned());
        }
        Some(_) => {}
    }
    if SYSTEM.iter().any(|system| directory == Path::new(system)) || directory.starts_with("/etc") {
        return refuse("is the system's".to_owned());
    }
    Ok(())
}

/// Finds the toolchains of this user: what each is, and its directory with links resolved.
pub(crate) fn toolchains() -> Vec<(&'static str, String)> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for toolchain in aegis_policy::templates::TOOLCHAINS {
        let set = toolchain.variable.and_then(environment).map(PathBuf::from);
        let Some(root) = set.or_else(|| Some(user_home()?.join(toolchain.default))) else { continue };
        let parts: Vec<PathBuf> = if toolchain.parts.is_empty() {
            vec![root]
        } else {
            toolchain.parts.iter().map(|part| root.join(part)).collect()
        };
        for part in parts {
            let Ok(path) = std::fs::canonicalize(part) else { continue };
            let is_own = path.is_dir() && user_home().is_none_or(|home| !home.starts_with(&path));
            if let Some(path) = path.to_str().filter(|_| is_own)
                && !found.iter().any(|(_, known)| known == path)
            {
                found.push((toolchain.name, path.to_owned()));
            }
        }
    }
    found
}

/// Makes an error of a policy file that can't be read.
pub(crate) fn unreadable(error: Unreadable) -> CliError {
    let failed = CliError::failed(error.to_string());
    match error.hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// Makes an error of a set that is wrong.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(crate) fn wrong(problems: Vec<Problem>) -> CliError {
    let mut reports: Vec<String> = problems.iter().flat_map(|p| lines(&p.report())).collect();
    let count = problems.len();
    let first = if reports.is_empty() { String::new() } else { reports.remove(0) };
    CliError::failed(first).detail(reports).hint(if count > 1 {
        format!("{count} mistakes in all; `aegis policy validate --path FILE` checks a file")
    } else {
        "`aegis policy validate --path FILE` checks a file".to_owned()
    })
}

/// Makes an error of a set that could not be loaded.
pub(crate) fn not_loaded(error: LoadError) -> CliError {
    match error {
        LoadError::Unreadable(error) => unreadable(error),
        LoadError::Wrong(problems) => wrong(problems),
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
