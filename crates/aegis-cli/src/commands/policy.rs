//! `aegis policy`: checks policies, shows which are in force, explains what they decide and what a kernel is told.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_export::shown;
use aegis_policy::plan::{Port, Regions, Residual, State, Why};
use aegis_policy::request::OF_PROCESSES;
use aegis_policy::set::is_permit;
use aegis_policy::templates::quoted;
use aegis_policy::{
    Origin, Policies, Problem, Request, Resource, Rule, SandboxPlan, Severity, Template, Verdict,
};
use aegis_session::policies::{LoadError, PolicyFiles, with_stack};
use aegis_sys::clock::SystemClock;
use aegis_types::{Action, AgentName, Clock as _, Decision, elsewhere};
use serde_json::{Value, json};

use crate::args::{Check, Json, Named};
use crate::config::Configuration;
use crate::error::CliError;
use crate::home::{Home, user_home};
use crate::{output, policies, tools};

/// What `policy validate` exits with where anything is wrong.
const INVALID: u8 = 3;

pub(crate) fn validate(path: &Path, options: &Json) -> Result<u8, CliError> {
    if !path.exists() && !path.is_symlink() {
        return Err(CliError::not_found(format!(
            "{}: there is no such file",
            shown(path.as_os_str().as_encoded_bytes())
        )));
    }
    let files = PolicyFiles { places: vec![path.to_owned()], ..PolicyFiles::default() };
    let (problems, count) = match with_stack(|| files.load()) {
        Ok(policies) => {
            let mut problems = with_stack(|| policies.validate());
            problems.extend(policies::linked(&policies).into_iter().map(|linked| linked.warning));
            (problems, policies.rules().len())
        }
        Err(LoadError::Wrong(problems)) => (problems, 0),
        // What can't be read is not valid.
        Err(error) => return Err(policies::not_loaded(error).with_code(INVALID)),
    };
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if options.json {
        output::json(&json!({
            "valid": errors == 0,
            "policies": count,
            "problems": problems.iter().map(problem).collect::<Vec<_>>(),
        }))?;
    } else {
        let mut out = output::out();
        for problem in &problems {
            writeln!(out, "{}", problem.report())?;
        }
        let path = path.display();
        match (errors, problems.len() - errors) {
            (0, 0) => writeln!(out, "{path}: valid, {}", counted(count, "policy", "policies"))?,
            (0, warnings) => writeln!(
                out,
                "{path}: valid, {}, {}",
                counted(count, "policy", "policies"),
                counted(warnings, "warning", "warnings")
            )?,
            (errors, _) => writeln!(out, "{path}: not valid, {}", counted(errors, "error", "errors"))?,
        }
        out.flush()?;
    }
    Ok(if errors == 0 { 0 } else { INVALID })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn problem(problem: &Problem) -> Value {
    let mut value = json!({
        "severity": problem.severity.word(),
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "width": problem.width,
        "message": problem.message,
    });
    if let (Some(help), Some(fields)) = (&problem.help, value.as_object_mut()) {
        fields.insert("help".to_owned(), help.clone().into());
    }
    value
}

/// Reads the set that is in force for a configuration; an empty one where there is no policy file.
fn in_force(home: &Home, name: Option<&AgentName>) -> Result<(Configuration, Arc<Policies>), CliError> {
    let configuration = home.meant(name)?;
    let files = policies::files(&configuration, None);
    let set = policies::valid(&files, &configuration)?;
    let empty = || Policies::parse(Vec::new()).map(Arc::new).map_err(policies::wrong);
    Ok((configuration, set.map_or_else(empty, Ok)?))
}

pub(crate) fn list(home: &Home, named: &Named) -> Result<(), CliError> {
    let (configuration, set) = in_force(home, named.name.as_ref())?;
    if named.json.json {
        let rules: Vec<Value> = set
            .rules()
            .iter()
            .map(|rule| {
                json!({
                    "id": &*rule.id,
                    "effect": if is_permit(&rule.policy) { "permit" } else { "forbid" },
                    "origin": origin(&set, rule).word(),
                    "file": set.sources().get(rule.source).map(|source| source.path.as_str()),
                    "line": rule.line,
                })
            })
            .collect();
        return Ok(output::json(&json!({
            "name": configuration.name.as_str(),
            "sha256": set.hash(),
            "policies": rules,
            "warnings": set.shadowed().iter().map(problem).collect::<Vec<_>>(),
        }))?);
    }
    if set.rules().is_empty() {
        return Ok(output::line(&format!(
            "no policy is in force for `{}`: `run` denies everything, `wrap` asks nothing; `aegis policy generate` prints one",
            configuration.name
        ))?);
    }
    let rows = set
        .rules()
        .iter()
        .map(|rule| {
            [
                shown(rule.id.as_bytes()),
                origin(&set, rule).word().to_owned(),
                shown(set.place(rule).as_bytes()),
                shown(rule.summary().as_bytes()),
            ]
        })
        .collect();
    output::table(["POLICY", "ORIGIN", "FILE", "SAYS"], rows)?;
    output::line(&format!("\nset {}", set.hash()))?;
    let links = policies::linked(&set).into_iter().map(|linked| linked.warning);
    for warning in set.shadowed().into_iter().chain(links) {
        output::line(&format!("\n{}", warning.report().trim_end()))?;
    }
    Ok(())
}

fn origin(set: &Policies, rule: &Rule) -> Origin {
    set.sources().get(rule.source).map_or(Origin::Configuration, |source| source.origin)
}

pub(crate) fn generate(
    template: Option<&str>,
    tool: Option<&str>,
    directory: Option<&Path>,
) -> Result<(), CliError> {
    if let Some(tool) = tool {
        for tool in tools::named(&[tool.to_owned()])? {
            output::bytes(tools::policy_file(tool, None)?.text.as_bytes())?;
        }
        return Ok(());
    }
    let name = template.unwrap_or_default();
    let Some(template) = Template::named(name) else {
        let known: Vec<&str> = Template::ALL.iter().map(|template| template.name()).collect();
        return Err(CliError::usage(format!("there is no template `{name}`"))
            .hint(format!("the templates are {}", known.join(", "))));
    };
    let directory = directory.unwrap_or(Path::new("."));
    let directory = std::fs::canonicalize(directory)
        .map_err(|error| CliError::usage(format!("{}: {error}", directory.display())))?;
    let mut out = output::out();
    for (index, file) in policies::template_files(template, &directory, None)?.into_iter().enumerate() {
        if index > 0 {
            writeln!(out, "\n// ---- {}\n", file.name)?;
        }
        out.write_all(file.text.as_bytes())?;
    }
    Ok(out.flush()?)
}

pub(crate) fn schema() -> Result<(), CliError> {
    Ok(output::bytes(aegis_policy::SCHEMA.as_bytes())?)
}

pub(crate) fn check(home: &Home, options: &Check) -> Result<(), CliError> {
    let (configuration, set) = in_force(home, options.name.as_ref())?;
    let engine =
        policies::engine(home, Arc::clone(&set), &configuration, &options.mode, policies::temporary())?;
    let asked = Asked::read(options)?;
    let is_there = asked.path.as_ref().is_some_and(|path| path.symlink_metadata().is_ok());
    let arguments: Vec<&str> = asked.arguments.iter().map(String::as_str).collect();
    let resource = asked.resource(options.action, &arguments);
    let request = Request {
        action: options.action,
        resource,
        exe: options.exe.as_deref().unwrap_or_default(),
        pid: 0,
        time: SystemClock.now().wall,
        listen: options.listen,
        setuid: false,
        of_session: false,
        existed: &|| is_there,
    };
    let verdict = engine.decide(&request);
    if verdict.decision == Decision::Allow
        && !options.listen
        && let Some(power) = power_of(resource).filter(|_| !engine.is_named(&verdict.policies, &resource))
    {
        return unnamed(options, resource, power, &verdict);
    }
    let rules: Vec<&Rule> = verdict.policies.iter().filter_map(|id| set.rule(id)).collect();
    let own: Vec<&str> =
        verdict.policies.iter().map(|id| &**id).filter(|id| set.rule(id).is_none()).collect();
    if options.json.json {
        return Ok(output::json(&json!({
            "decision": verdict.decision.word(),
            "action": options.action.word(),
            "resource": resource.id(),
            "policies": rules.iter().map(|rule| json!({"id": &*rule.id, "place": set.place(rule)})).collect::<Vec<_>>(),
            "errors": verdict.errors,
            "set": &*verdict.set,
        }))?);
    }
    let mut out = output::out();
    writeln!(out, "{}: {} {}", verdict.decision, options.action, shown(asked.whole(resource).as_bytes()))?;
    for rule in &rules {
        let word = match (verdict.errors.is_empty(), is_permit(&rule.policy)) {
            (false, _) => "denied since it can't be evaluated,",
            (true, true) => "permitted",
            (true, false) => "forbidden",
        };
        writeln!(out, "\n{word} by {} ({})", shown(rule.id.as_bytes()), shown(set.place(rule).as_bytes()))?;
        for line in set.text(rule).lines() {
            writeln!(out, "  {}", shown(line.as_bytes()))?;
        }
    }
    for error in &verdict.errors {
        writeln!(out, "\n{}", shown(error.as_bytes()))?;
    }
    for id in &own {
        writeln!(out, "\nforbidden by {id}: it is Aegis' own, and no policy can permit it")?;
    }
    if verdict.policies.is_empty() && verdict.errors.is_empty() {
        writeln!(out, "\nno policy permits it")?;
    }
    writeln!(out, "\nasked as: {}", assumed(&configuration, options, is_there).join(", "))?;
    Ok(out.flush()?)
}

/// Returns what a connection would give power over, where that is known.
fn power_of(resource: Resource<'_>) -> Option<&'static str> {
    match resource {
        Resource::Unix(name) => elsewhere::power_of(name),
        Resource::Host { host, port, .. } => elsewhere::on_port(host.parse().ok()?, port),
        _ => None,
    }
}

/// Answers that what is permitted is denied all the same, until a policy names it.
fn unnamed(options: &Check, resource: Resource<'_>, power: &str, verdict: &Verdict) -> Result<(), CliError> {
    let id = resource.id();
    if options.json.json {
        return Ok(output::json(&json!({
            "decision": Decision::Deny.word(),
            "action": options.action.word(),
            "resource": id,
            "policies": [{"id": elsewhere::UNNAMED}],
            "errors": verdict.errors,
            "set": &*verdict.set,
        }))?);
    }
    let mut out = output::out();
    let shown_id = shown(id.as_bytes());
    writeln!(out, "{}: {} {shown_id}", Decision::Deny, options.action)?;
    writeln!(
        out,
        "\nforbidden by {}: it is {power}, and the policies that permit it do not name it",
        elsewhere::UNNAMED
    )?;
    if let Resource::Unix(_) = resource {
        writeln!(out, "name it by `resource == Aegis::Resource::{}`", quoted(&id))?;
    }
    Ok(out.flush()?)
}

/// Says what a request was taken to be beside what was typed.
fn assumed(configuration: &Configuration, options: &Check, is_there: bool) -> Vec<String> {
    let exe = options.exe.as_deref().unwrap_or("a program that is not known (--exe)");
    let mut assumed = vec![
        format!("agent {}", configuration.name),
        format!("mode {}", options.mode),
        format!("by {}", shown(exe.as_bytes())),
        "now".to_owned(),
    ];
    match options.action {
        Action::NetConnect => {
            assumed.push(if options.listen { "listening" } else { "connecting" }.to_owned());
        }
        Action::FileWrite | Action::FileDelete | Action::DirCreate => {
            let there =
                if is_there { "a name that existed at the start" } else { "a name that did not exist" };
            assumed.push(format!("{there}, not set-uid"));
        }
        _ => {}
    }
    assumed
}

/// A resource as it was typed, read for its action.
struct Asked {
    path: Option<PathBuf>,
    text: String,
    tool: String,
    arguments: Vec<String>,
    command: String,
    port: u16,
}

impl Asked {
    fn read(options: &Check) -> Result<Self, CliError> {
        let text = options.resource.as_str();
        let mut asked = Self {
            path: None,
            text: text.to_owned(),
            tool: String::new(),
            arguments: Vec::new(),
            command: String::new(),
            port: 0,
        };
        match options.action {
            Action::NetConnect => match text.strip_prefix("unix:") {
                Some(name) if name.starts_with('@') => {}
                Some(path) => {
                    let path = resolved(path)?;
                    asked.text = format!("unix:{}", utf8(&path)?);
                    asked.path = Some(path);
                }
                None => {
                    let wrong = || {
                        CliError::usage(format!("`{text}` is no address"))
                            .hint("write HOST:PORT, [ADDRESS]:PORT, unix:/PATH or unix:@NAME")
                    };
                    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
                    asked.port = port.parse().map_err(|_| wrong())?;
                    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                    asked.text = inner.unwrap_or(host).to_owned();
                }
            },
            Action::ToolCall => {
                let wrong = || {
                    CliError::usage(format!("`{text}` is no call of a tool"))
                        .hint("write TOOL(COMMAND), as `Bash(npm test)`")
                };
                let (tool, rest) = text.split_once('(').ok_or_else(wrong)?;
                asked.text = rest.strip_suffix(')').ok_or_else(wrong)?.to_owned();
                asked.arguments = asked.text.split_whitespace().map(str::to_owned).collect();
                tool.clone_into(&mut asked.tool);
            }
            Action::ProcessSpawn | Action::ProcessExit => {
                asked.arguments = text.split_whitespace().map(str::to_owned).collect();
                let program = asked.arguments.first().cloned().unwrap_or_default();
                let file = if program.contains('/') { program } else { on_path(&program)? };
                let path = resolved(&file)?;
                asked.text = utf8(&path)?;
                asked.path = Some(path);
                let words: Vec<&str> = asked.arguments.iter().map(String::as_str).collect();
                asked.command = aegis_policy::request::command(&words);
            }
            _ => {
                let path = resolved(text)?;
                asked.text = utf8(&path)?;
                asked.path = Some(path);
            }
        }
        Ok(asked)
    }

    fn resource<'a>(&'a self, action: Action, arguments: &'a [&'a str]) -> Resource<'a> {
        match action {
            Action::NetConnect => match self.text.strip_prefix("unix:") {
                Some(name) => Resource::Unix(name),
                None => {
                    let address: Option<IpAddr> = self.text.parse().ok();
                    Resource::Host { host: &self.text, address, port: self.port }
                }
            },
            Action::ToolCall => Resource::Tool { tool: &self.tool, command: &self.text, arguments },
            Action::ProcessSpawn | Action::ProcessExit => {
                Resource::Program { exe: &self.text, command: &self.command, arguments }
            }
            _ => Resource::Path(&self.text),
        }
    }

    /// Returns the resource with its arguments.
    fn whole(&self, resource: Resource<'_>) -> String {
        match self.command.as_str() {
            "" => resource.id().into_owned(),
            command => format!("{} [{command}]", resource.id()),
        }
    }
}

fn utf8(path: &Path) -> Result<String, CliError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| CliError::usage(format!("{} is not UTF-8", path.display())))
}

/// Finds a program as a shell does.
fn on_path(program: &str) -> Result<String, CliError> {
    let path = crate::home::environment("PATH").unwrap_or_default();
    let mut found =
        std::env::split_paths(&path).map(|folder| folder.join(program)).filter(|file| file.is_file());
    match found.next() {
        Some(file) => utf8(&file),
        None => {
            Err(CliError::usage(format!("there is no program `{program}` on PATH")).hint("give its path"))
        }
    }
}

/// Returns a path as policies are asked about it: absolute, `~` and `session:tmp` taken, links resolved as far as
/// there is anything.
fn resolved(text: &str) -> Result<PathBuf, CliError> {
    let typed = match (text.strip_prefix("~/"), text.strip_prefix("session:tmp")) {
        (Some(rest), _) => user_home().unwrap_or_default().join(rest),
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('/') => {
            let tmp = policies::temporary().ok_or_else(|| {
                CliError::usage("there is no directory for temporary files here: TMPDIR is none")
            })?;
            PathBuf::from(tmp + rest)
        }
        _ => PathBuf::from(text),
    };
    let whole = std::path::absolute(&typed).map_err(|error| CliError::usage(format!("{text}: {error}")))?;
    if policies::resolved(&whole).components().any(|part| part == std::path::Component::ParentDir)
        || whole.components().any(|part| part == std::path::Component::ParentDir) && !whole.exists()
    {
        return Err(CliError::usage(format!("{text}: `..` behind what is not there leads nowhere")));
    }
    // That of the agent's process is meant, not that of this one.
    if is_of_processes(&whole) {
        return Ok(whole);
    }
    Ok(policies::resolved(&whole))
}

pub(crate) fn compile(home: &Home, name: Option<&AgentName>, options: &Json) -> Result<(), CliError> {
    let (configuration, set) = in_force(home, name)?;
    // Each session has a temporary directory of its own: it stands for itself.
    let engine = policies::engine(home, set, &configuration, "run", Some(tmp_place()))?;
    let plan = SandboxPlan::of(&engine);
    if options.json {
        return Ok(output::json(&plan_as_json(&plan))?);
    }
    let mut out = output::out();
    writeln!(
        out,
        "What Landlock is told for `{}`. Its rules grant rights on a directory with all below it, or on a",
        configuration.name
    )?;
    writeln!(
        out,
        "port, and take nothing away below. Where the policies say more, each request is decided when it comes."
    )?;
    let mut told: Vec<(Vec<&str>, &Regions)> = Vec::new();
    for (action, regions) in &plan.files {
        match told.iter_mut().find(|(_, known)| *known == regions) {
            Some((words, _)) => words.push(action.word()),
            None => told.push((vec![action.word()], regions)),
        }
    }
    for (words, regions) in told {
        print_regions(&mut out, &words.join(", "), regions)?;
    }
    let [connect, listen] = &plan.sockets;
    if connect == listen {
        print_regions(&mut out, "NetConnect by Unix socket, connecting and listening", connect)?;
    } else {
        print_regions(&mut out, "NetConnect by Unix socket, connecting", connect)?;
        print_regions(&mut out, "NetConnect by Unix socket, listening", listen)?;
    }
    for (listen, word) in [(false, "connecting"), (true, "listening")] {
        print_ports(&mut out, word, plan.ports.iter().filter(|port| port.listen == listen))?;
    }
    writeln!(
        out,
        "\nNot in the kernel's reach: ToolCall, ProcessExit, hosts by name or address (it knows TCP ports only),"
    )?;
    writeln!(out, "UDP, and Unix sockets by their path. They are decided when they are asked for.")?;
    Ok(out.flush()?)
}

/// What stands for a session's own temporary directory in a plan: it will be in the user's.
fn tmp_place() -> String {
    format!("{}/session:tmp", policies::temporary().unwrap_or_else(|| "/tmp".to_owned()))
}

fn place(path: &str) -> String {
    shown(named(path).as_bytes())
}

/// Says whether a path means another folder for each process: a rule of the kernel would mean certain ones.
fn is_of_processes(path: &Path) -> bool {
    OF_PROCESSES.iter().any(|name| path.starts_with(name))
}

/// Returns a path of a plan as policies name it.
fn named(path: &str) -> String {
    match path.strip_prefix(&tmp_place()) {
        Some(rest) => format!("session:tmp{rest}"),
        None => path.to_owned(),
    }
}

fn print_regions(out: &mut impl std::io::Write, word: &str, regions: &Regions) -> std::io::Result<()> {
    let hull = regions.hull();
    writeln!(out, "\n{word}")?;
    if hull.is_empty() {
        return writeln!(out, "  nothing is granted: no policy permits it anywhere");
    }
    let list = |subtree| {
        let of =
            hull.iter().filter(|grant| grant.subtree == subtree && !is_of_processes(grant.path.as_ref()));
        of.map(|grant| place(&grant.path)).collect::<Vec<_>>().join(", ")
    };
    for (title, places) in [("granted, with all below:", list(true)), ("granted:", list(false))] {
        if !places.is_empty() {
            writeln!(out, "  {title} {places}")?;
        }
    }
    let of = |name: &&str| hull.iter().any(|grant| Path::new(&grant.path).starts_with(name));
    let of_processes: Vec<&str> = OF_PROCESSES.into_iter().filter(of).collect();
    if !of_processes.is_empty() {
        let names = of_processes.join(", ");
        writeln!(out, "  decided at each request, since it depends on the process: {names}")?;
    }
    // What is said of several places is said once.
    let mut groups: Vec<(State, Vec<String>)> = Vec::new();
    for residual in regions.residuals() {
        let Residual { path, at, below, state } = residual;
        let place = match (at, below) {
            (true, true) => place(&path),
            (true, false) => format!("{} itself", place(&path)),
            _ => format!("all below {}", place(&path)),
        };
        match groups.iter_mut().find(|(known, _)| *known == state) {
            Some((_, places)) => places.push(place),
            None => groups.push((state, vec![place])),
        }
    }
    for (state, places) in groups {
        let places = places.join(", ");
        match state {
            State::Check(whys) => {
                writeln!(out, "  decided at each request: {places}")?;
                for why in whys {
                    writeln!(out, "      {}", because(&why))?;
                }
            }
            State::Deny(policies) if policies.is_empty() => {
                writeln!(out, "  within that, denied at each request since no policy permits it: {places}")?;
            }
            State::Deny(policies) => {
                writeln!(out, "  within that, denied at each request by {}: {places}", policies.join(", "))?;
            }
            State::Allow => {}
        }
    }
    Ok(())
}

fn because(why: &Why) -> String {
    if why.reads.is_empty() {
        return format!("{}: it names hosts or sockets", why.policy);
    }
    format!("{}: it asks for {}", why.policy, why.reads.join(", "))
}

fn print_ports<'a>(
    out: &mut impl std::io::Write,
    word: &str,
    ports: impl Iterator<Item = &'a Port>,
) -> std::io::Result<()> {
    writeln!(out, "\nNetConnect by address, {word}")?;
    let ports: Vec<&Port> = ports.collect();
    let mut any = false;
    for port in &ports {
        let name = match port.port {
            Some(port) => format!("port {port}"),
            None if ports.len() > 1 => "all other ports".to_owned(),
            None => "all ports".to_owned(),
        };
        match &port.state {
            State::Deny(_) => continue,
            State::Allow => writeln!(out, "  granted: {name}")?,
            State::Check(whys) => {
                writeln!(out, "  granted, and decided at each request: {name}")?;
                for why in whys {
                    writeln!(out, "      {}", because(why))?;
                }
            }
        }
        any = true;
    }
    if !any {
        writeln!(out, "  nothing is granted: no policy permits it for any port")?;
    }
    Ok(())
}

fn plan_as_json(plan: &SandboxPlan) -> Value {
    let regions = |regions: &Regions| {
        json!({
            "hull": regions.hull().iter().map(|grant| json!({"path": named(&grant.path), "subtree": grant.subtree})).collect::<Vec<_>>(),
            "residuals": regions.residuals().iter().map(|r| {
                let mut value = state(&r.state);
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("path".to_owned(), named(&r.path).into());
                    fields.insert("at".to_owned(), r.at.into());
                    fields.insert("below".to_owned(), r.below.into());
                }
                value
            }).collect::<Vec<_>>(),
        })
    };
    let files: serde_json::Map<String, Value> =
        plan.files.iter().map(|(action, of)| (action.word().to_owned(), regions(of))).collect();
    let ports: Vec<Value> = plan
        .ports
        .iter()
        .map(|port| {
            let mut value = state(&port.state);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("listen".to_owned(), port.listen.into());
                fields.insert("port".to_owned(), port.port.into());
            }
            value
        })
        .collect();
    let [connect, listen] = &plan.sockets;
    let [connect_abstract, listen_abstract] = &plan.abstract_sockets;
    json!({
        "target": "landlock",
        "files": files,
        "ports": ports,
        "unix": {"connect": regions(connect), "listen": regions(listen)},
        "unix_abstract": {"connect": state(connect_abstract), "listen": state(listen_abstract)},
    })
}

fn state(state: &State) -> Value {
    match state {
        State::Allow => json!({"state": "allow"}),
        State::Check(whys) => json!({
            "state": "check",
            "policies": whys.iter().map(|why| json!({"id": &*why.policy, "reads": why.reads})).collect::<Vec<_>>(),
        }),
        State::Deny(policies) => {
            json!({"state": Decision::Deny.word(), "policies": policies.iter().map(|id| json!({"id": &**id})).collect::<Vec<_>>()})
        }
    }
}
