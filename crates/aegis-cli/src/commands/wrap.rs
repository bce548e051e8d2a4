//! `aegis wrap`: runs a command and records what it does.

use super::agent::{self, Mode, Wanted};
use crate::args::Wrap;
use crate::error::CliError;
use crate::home::Home;

pub(crate) fn run(home: &Home, options: Wrap) -> Result<u8, CliError> {
    agent::run(
        home,
        Wanted {
            name: options.name,
            name_option: "--name",
            dir: options.dir,
            policy: options.policy,
            tools: Vec::new(),
            quiet: options.quiet,
            verbose: options.verbose,
            allow_io_uring: options.allow_io_uring,
            command: options.command,
            mode: Mode::Wrap,
        },
    )
}
