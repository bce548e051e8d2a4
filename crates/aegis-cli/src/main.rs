//! The binary `aegis`: command line, environment and home in; text and exit codes out.
//!
//! The only place that reads arguments, the environment and HOME, and the only one that prints. It decides
//! and observes nothing itself: each command hands typed values to the crates below.
//!
//! **Read first:** [`args`], the table of commands; then [`commands`], a file for each.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod config;
mod error;
mod home;
mod output;
mod policies;
mod surroundings;
mod times;
mod tools;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are no error.
            let code = u8::from(error.use_stderr()) * 2;
            let printed = error.print();
            // A reader that has gone has read enough; help that could not be written is a failure.
            let failed = printed.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
            return ExitCode::from(if code == 0 { u8::from(failed) } else { code });
        }
    };
    match commands::run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // A reader that has gone (`| head`) is not told about it.
            if error.code() != 0 {
                error.print();
            }
            ExitCode::from(error.code())
        }
    }
}
