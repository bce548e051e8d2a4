//! Settings: `config.toml` of the home, `aegis.toml` of a configuration and of the organisation.
//!
//! A file goes through four steps, each a file here: [`mod@file`] reads it, [`check`] holds it to the shape that
//! [`keys`] describes, [`settings`] are its typed values, and [`Configuration`] is what comes of them with
//! paths made absolute. A mistake in any step is an error with its place ([`mistake`]).
//!
//! **Read first:** [`keys`], the table of every key; then [`settings`].

mod check;
mod choices;
mod configuration;
mod file;
mod hints;
mod home_files;
mod keys;
mod mask;
mod mistake;
mod new;
mod rules;
mod schema;
mod secret;
mod settings;
mod shape;
mod show;
#[cfg(test)]
mod tests;
mod values;

use std::path::Path;

use serde::Deserialize;
use toml::de::DeTable;

use crate::error::CliError;
use mistake::Mistake;
use shape::Table;

pub(crate) use choices::{Isolation, Observing, Platform};
pub(crate) use configuration::Configuration;
pub(crate) use file::read;
pub(crate) use home_files::{Global, ORGANISATION, Organisation};
pub(crate) use new::{new_file, with_directory};
pub(crate) use schema::schema;
pub(crate) use show::{Row, difference, rows};

/// Reads typed values from the text of a settings file, and says on which line each key stands.
fn parse<T: for<'de> Deserialize<'de>>(
    path: &Path,
    text: &str,
    table: &'static Table,
) -> Result<(T, show::Lines), CliError> {
    let failed = |mistakes| {
        let unplaced = || CliError::failed(format!("{}:1:1: it can't be read", path.display()));
        mistake::error(path, text, mistakes).unwrap_or_else(unplaced)
    };
    // What the parser says of itself never repeats the file's own words.
    let broken = |error: &toml::de::Error| {
        let span = error.span().unwrap_or(0..0);
        let what = match error.message().trim_end() {
            "recursion limit" | "cannot recurse further; max recursion depth met" => {
                "it is nested too deeply"
            }
            said => said,
        };
        Mistake::new(span, what)
    };
    let document = DeTable::parse(text).map_err(|error| failed(vec![broken(&error)]))?;
    let mistakes = check::mistakes(table, &document);
    if !mistakes.is_empty() {
        return Err(failed(mistakes));
    }
    let value = toml::from_str(text).map_err(|error| {
        // The check has passed what the types refuse; a value may be in their words, so these are not repeated.
        let span = error.span().unwrap_or(0..0);
        failed(vec![Mistake::new(span, "it is not as it should be")])
    })?;
    Ok((value, show::lines(text, document.get_ref())))
}
