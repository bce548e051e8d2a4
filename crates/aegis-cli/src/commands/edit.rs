//! `aegis config edit`: a settings file in the user's editor, taken over only when it is valid.
//!
//! The editor has a copy. Until that has passed the check, the file itself is as it was; and a copy with the
//! user's work in it is never removed unless the work is in the file.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use aegis_sys::files::{write_atomic, write_plain};
use aegis_sys::process::{Ended, run_in_foreground};
use aegis_types::AgentName;

use crate::config::{self, Configuration};
use crate::error::CliError;
use crate::home::{Home, environment};
use crate::output;

pub(crate) fn run(home: &Home, name: Option<&AgentName>) -> Result<(), CliError> {
    let name = home.meant_name(name)?;
    let folder = home.folder(&name);
    // A link stays one: what it leads to is changed.
    let settings = home.settings_path(&name);
    let file = std::fs::canonicalize(&settings)
        .map_err(|error| CliError::failed(format!("{} can't be read: {error}", settings.display())))?;
    let before = text_of(&file)?;
    let copy = copy_of(&file, &before)?;
    let edit = Edit { file, copy, folder, before };
    loop {
        match edit.once() {
            Ok(()) => return Ok(()),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Invalid(error)) => match ask_again(&error) {
                Some(true) => {}
                Some(false) => {
                    return Err(CliError::failed("the settings were not changed").hint(edit.untouched()));
                }
                None => return Err(error),
            },
        }
    }
}

/// Why an edit did not come to its end.
enum Stop {
    /// The text has a mistake, which can be mended.
    Invalid(CliError),
    /// Something else.
    Failed(CliError),
}

struct Edit {
    file: PathBuf,
    copy: PathBuf,
    folder: PathBuf,
    before: String,
}

impl Edit {
    fn once(&self) -> Result<(), Stop> {
        let ended = start_editor(&self.copy).map_err(|error| Stop::Failed(self.drop_unchanged(error)))?;
        if let Some(why) = ended {
            return Err(Stop::Failed(self.drop_unchanged(CliError::failed(why))));
        }
        let kept = |error: CliError| error.hint(self.untouched());
        let after = text_of(&self.copy).map_err(|error| Stop::Invalid(kept(error)))?;
        if after == self.before {
            self.remove_copy();
            return output::line("nothing was changed").map_err(|error| Stop::Failed(error.into()));
        }
        Configuration::parse(&self.copy, &after, &self.folder).map_err(|error| Stop::Invalid(kept(error)))?;
        if text_of(&self.file).map_err(|error| Stop::Failed(kept(error)))? != self.before {
            let message = format!(
                "{} was changed by somebody else meanwhile, so it was left alone",
                self.file.display()
            );
            return Err(Stop::Failed(
                CliError::failed(message).hint(format!("yours is {}", self.copy.display())),
            ));
        }
        write_atomic(&self.file, after.as_bytes()).map_err(|error| {
            Stop::Failed(kept(CliError::failed(format!("{} can't be written: {error}", self.file.display()))))
        })?;
        self.remove_copy();
        let said = match config::difference(&self.before, &after) {
            None => "it can be read now".to_owned(),
            Some(names) if names.is_empty() => "only comments and layout".to_owned(),
            Some(names) => names.join(", "),
        };
        output::line(&format!("changed: {}", aegis_export::shown(said.as_bytes())))
            .map_err(|error| Stop::Failed(error.into()))
    }

    fn untouched(&self) -> String {
        let was = format!("{} is as it was", self.file.display());
        // An editor may have taken the copy away.
        if self.copy.exists() { format!("{was}; yours is {}", self.copy.display()) } else { was }
    }

    /// Removes the copy where nothing of the user's is in it; otherwise says where it is.
    fn drop_unchanged(&self, error: CliError) -> CliError {
        if text_of(&self.copy).is_ok_and(|text| text == self.before) {
            self.remove_copy();
            return error;
        }
        let said = format!("{}\n       {}", error.hint_text().unwrap_or_default(), self.untouched());
        error.hint(said.trim_start().to_owned())
    }

    fn remove_copy(&self) {
        // It may be gone: editors rename.
        drop(std::fs::remove_file(&self.copy));
    }
}

fn text_of(path: &Path) -> Result<String, CliError> {
    let found = config::read(path)?;
    found.map(|found| found.text).ok_or_else(|| CliError::failed(format!("{} has gone", path.display())))
}

/// Makes a copy beside the file, under a name that nothing has yet. It ends in `.toml` for the editor's sake.
fn copy_of(file: &Path, text: &str) -> Result<PathBuf, CliError> {
    for number in 0..100 {
        let copy = file.with_file_name(format!("aegis.edit-{}-{number}.toml", std::process::id()));
        match write_plain(&copy, text.as_bytes()) {
            Ok(()) => return Ok(copy),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(CliError::failed(format!("{} can't be written: {error}", copy.display())));
            }
        }
    }
    Err(CliError::failed(format!("there are too many copies beside {}", file.display())))
}

/// Runs the editor and says what went wrong with it, if anything.
fn start_editor(copy: &Path) -> Result<Option<String>, CliError> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| environment(name));
    let editor = editor.unwrap_or_else(|| "vi".into());
    let name = aegis_export::shown(editor.to_string_lossy().as_bytes());
    // The shell splits `code -w` and what is quoted in it, as it does for git and crontab.
    let mut script = editor.clone();
    script.push(" \"$@\"");
    let arguments = ["-c".into(), script, "sh".into(), copy.as_os_str().to_owned()];
    let ended = run_in_foreground("/bin/sh".as_ref(), &arguments)
        .map_err(|error| CliError::failed(format!("/bin/sh can't be started: {error}")))?;
    // A shell says 128+N of what was ended by signal N.
    let (code, signal) = match ended {
        Ended::Code(0) => return Ok(None),
        Ended::Code(code @ 129..=192) => (code, Some(code - 128)),
        Ended::Code(code) => (code, None),
        Ended::Signal(signal) => (0, Some(signal)),
    };
    if let Some(signal) = signal {
        let signal = aegis_sys::signals::name(signal);
        return Ok(Some(format!("the editor `{name}` was ended by signal {signal}")));
    }
    if matches!(code, 126 | 127) {
        return Err(CliError::failed(format!("the editor `{name}` can't be started"))
            .hint("VISUAL or EDITOR names the editor"));
    }
    Ok(Some(format!("the editor `{name}` ended with exit code {code}")))
}

/// Shows the mistake and asks whether to edit again; without a terminal there is nobody to ask.
fn ask_again(error: &CliError) -> Option<bool> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return None;
    }
    error.print();
    let asked = write!(stderr, "edit again? [Y/n] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    // The end of the input is no yes.
    let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "" | "y" | "yes");
    Some(asked.is_ok() && read.is_ok_and(|length| length > 0) && is_yes)
}
