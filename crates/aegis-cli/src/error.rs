//! Errors as the user reads them: what happened, why, and what to do next.

use std::fmt;
use std::io::Write as _;

use aegis_ledger::LedgerError;
use aegis_session::SessionError;
use aegis_types::NameError;

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    /// Lines that show the place of it.
    detail: Vec<String>,
    hint: Option<String>,
    code: u8,
    /// What should be a ledger is none.
    damage: bool,
}

impl CliError {
    /// Something failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), detail: Vec::new(), hint: None, code: 1, damage: false }
    }

    /// The command was used wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, ..Self::failed(message) }
    }

    /// What was asked for is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { code: 4, ..Self::failed(message) }
    }

    /// Shows the place of it, below the message.
    pub(crate) fn detail(self, detail: Vec<String>) -> Self {
        Self { detail, ..self }
    }

    /// Says what to do next.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Returns what is to be done next.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Gives it another exit code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Says whether a file is damaged that should be a ledger: for verification, that is a verdict.
    pub(crate) fn is_damage(&self) -> bool {
        self.damage
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Prints it to standard error.
    pub(crate) fn print(&self) {
        let mut err = std::io::stderr().lock();
        // Where nobody reads it, there is nobody to tell.
        drop(writeln!(err, "aegis: {}", self.message));
        for line in &self.detail {
            drop(writeln!(err, "{line}"));
        }
        if let Some(hint) = &self.hint {
            drop(writeln!(err, "       {hint}"));
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<LedgerError> for CliError {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Missing(_) => {
                Self::not_found(error.to_string()).hint("`aegis list` shows the configurations")
            }
            LedgerError::Pattern { .. } => Self::usage(error.to_string()),
            LedgerError::NotALedger(_) | LedgerError::Corrupt { .. } => {
                Self { damage: true, ..Self::failed(error.to_string()) }
            }
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<NameError> for CliError {
    fn from(error: NameError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        let code = error.code();
        Self::failed(error.to_string()).with_code(code)
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        // The reader has gone (`| head`): that ends the output and is no failure.
        let code = u8::from(error.kind() != std::io::ErrorKind::BrokenPipe);
        Self::failed(format!("the output can't be written: {error}")).with_code(code)
    }
}
