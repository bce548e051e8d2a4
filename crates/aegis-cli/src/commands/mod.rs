//! The commands, a file for each.

mod agent;
mod audit;
mod config;
mod diff;
mod edit;
mod follow;
mod history;
mod init;
mod learn;
mod ledgers;
mod list;
mod log;
mod policy;
mod proof;
mod run;
mod self_test;
mod session;
mod setup;
mod status;
mod verify;
mod wrap;

use clap::CommandFactory as _;

use crate::args::{Arguments, Audit, Command, Config, Policy, Target};
use crate::error::CliError;
use crate::home::Home;

/// Runs a command and returns its exit code.
pub(crate) fn run(arguments: Arguments) -> Result<u8, CliError> {
    if let Command::Completions { shell } = arguments.command {
        let mut command = Arguments::command();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "aegis", &mut script);
        crate::output::bytes(&script)?;
        return Ok(0);
    }
    let home = Home::find(arguments.home).map_err(|error| match &arguments.command {
        Command::Wrap(_) | Command::Run(_) => error.with_code(125),
        Command::Diff(_) => error.with_code(diff::TROUBLE),
        _ => error,
    })?;
    match arguments.command {
        Command::Init(options) => init::run(&home, options).map(|()| 0),
        Command::Wrap(options) => wrap::run(&home, options),
        Command::Run(options) => run::run(&home, options),
        Command::Log(options) => log::run(&home, &options).map(|()| 0),
        Command::Diff(options) => diff::run(&home, &options).map_err(|error| error.with_code(diff::TROUBLE)),
        Command::List(json) => list::list(&home, &json).map(|()| 0),
        Command::Use { name, json } => list::make_active(&home, name.as_ref(), &json).map(|()| 0),
        Command::Status(named) => status::run(&home, &named),
        Command::Setup(options) if options.self_test => self_test::run(options.json.json),
        Command::Setup(options) => setup::run(&home, &options.json),
        Command::Config(Config::Show(named)) => config::show(&home, &named).map(|()| 0),
        Command::Config(Config::Edit { name }) => edit::run(&home, name.as_ref()).map(|()| 0),
        Command::Config(Config::Schema) => config::schema().map(|()| 0),
        Command::Policy(Policy::Validate { path, json }) => policy::validate(&path, &json),
        Command::Policy(Policy::List(named)) => policy::list(&home, &named).map(|()| 0),
        Command::Policy(Policy::Generate { template, tool, dir }) => {
            policy::generate(template.as_deref(), tool.as_deref(), dir.as_deref()).map(|()| 0)
        }
        Command::Policy(Policy::Schema) => policy::schema().map(|()| 0),
        Command::Policy(Policy::Check(options)) => policy::check(&home, &options).map(|()| 0),
        Command::Policy(Policy::Compile { name, target: Target::Landlock, json }) => {
            policy::compile(&home, name.as_ref(), &json).map(|()| 0)
        }
        Command::Policy(Policy::Learn { sessions, output, denied }) => {
            learn::run(&home, &sessions, output.as_deref(), denied).map(|()| 0)
        }
        Command::Audit(Audit::PolicyHistory(named)) => history::run(&home, &named).map(|()| 0),
        Command::Audit(Audit::Query(query)) => audit::query(&home, &query).map(|()| 0),
        Command::Audit(Audit::Verify(options)) => verify::run(&home, &options),
        Command::Audit(Audit::Checkpoint { name }) => proof::checkpoint(&home, name.as_ref()).map(|()| 0),
        Command::Audit(Audit::Prove { entry, name }) => proof::prove(&home, entry, name.as_ref()).map(|()| 0),
        Command::Audit(Audit::VerifyProof { file, key, json }) => {
            proof::verify(&home, &file, key.as_deref(), &json)
        }
        Command::Audit(Audit::Sessions { which, json }) => audit::sessions(&home, &which, &json).map(|()| 0),
        Command::Audit(Audit::Session { name, id, json }) => {
            session::run(&home, name.as_ref(), id, &json).map(|()| 0)
        }
        Command::Audit(Audit::Export(export)) => audit::export(&home, &export).map(|()| 0),
        Command::Completions { .. } => Ok(0),
    }
}
