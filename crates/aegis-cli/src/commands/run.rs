//! `aegis run`: runs a command that can do what its policies permit, and nothing else.

use super::agent::{self, Mode, Wanted};
use crate::args::Run;
use crate::error::CliError;
use crate::home::Home;

pub(crate) fn run(home: &Home, options: Run) -> Result<u8, CliError> {
    agent::run(
        home,
        Wanted {
            name: options.config,
            name_option: "--config",
            dir: options.dir,
            policy: options.policy,
            tools: options.tool,
            quiet: options.quiet,
            verbose: options.verbose,
            allow_io_uring: false,
            command: options.command,
            mode: Mode::Run { dry: options.dry_run, degraded: options.degraded },
        },
    )
}
