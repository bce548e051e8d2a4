//! Settings of git for an agent: those of the user that hold no secret and name no program of theirs.
//!
//! Git ends where it can't read a settings file that is there, and the user's own may hold passwords and name programs.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::home::{environment as variable, user_home};

/// Settings that are handed down, as `git config` names them. What `git lfs install` sets names a program that is run in
/// the sandbox as any other; without it, files would be committed whole.
const HANDED_DOWN: &[&str] = &[
    "user.name",
    "user.email",
    "author.name",
    "author.email",
    "committer.name",
    "committer.email",
    "user.useconfigonly",
    "init.defaultbranch",
    "safe.directory",
    "core.autocrlf",
    "core.eol",
    "core.safecrlf",
    "core.whitespace",
    "core.quotepath",
    "core.abbrev",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.filemode",
    "core.symlinks",
    "core.commentchar",
    "color.ui",
    "column.ui",
    "branch.autosetupmerge",
    "branch.autosetuprebase",
    "branch.sort",
    "commit.verbose",
    "commit.cleanup",
    "diff.algorithm",
    "diff.mnemonicprefix",
    "diff.renames",
    "diff.colormoved",
    "fetch.prune",
    "help.autocorrect",
    "log.date",
    "merge.conflictstyle",
    "merge.ff",
    "merge.renamelimit",
    "pull.ff",
    "pull.rebase",
    "push.default",
    "push.autosetupremote",
    "push.followtags",
    "rebase.autosquash",
    "rebase.autostash",
    "rebase.updaterefs",
    "rerere.enabled",
    "status.showuntrackedfiles",
    "tag.sort",
    "filter.lfs.clean",
    "filter.lfs.smudge",
    "filter.lfs.process",
    "filter.lfs.required",
];

/// The most that is read of a file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// How deep files include others.
const DEPTH_MAX: usize = 4;

/// What of a user's settings an agent gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Name and value of each, in their order.
    handed_down: Vec<(String, String)>,
    /// The file with the names that git is to ignore everywhere.
    ignore: Option<PathBuf>,
}

impl Settings {
    /// Reads the user's settings; a file that can't be read says nothing.
    pub(super) fn of_user() -> Self {
        let mut settings = Self::default();
        let home = user_home();
        let folder = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(".config")))
            .map(|folder| folder.join("git"));
        settings.ignore = folder.as_ref().map(|folder| folder.join("ignore"));
        let files = match variable("GIT_CONFIG_GLOBAL") {
            Some(file) => vec![Some(PathBuf::from(file))],
            None => {
                vec![folder.map(|folder| folder.join("config")), home.as_ref().map(|h| h.join(".gitconfig"))]
            }
        };
        for file in files.into_iter().flatten() {
            settings.read(&file, home.as_deref(), DEPTH_MAX);
        }
        settings
    }

    fn read(&mut self, file: &Path, home: Option<&Path>, depth: usize) {
        let Some(bytes) = content(file) else { return };
        let path = |value: &str| match (value.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => file.parent().unwrap_or(Path::new("/")).join(value),
        };
        for (name, value) in parse(&String::from_utf8_lossy(&bytes)) {
            match name.as_str() {
                "include.path" if depth > 0 => self.read(&path(&value), home, depth - 1),
                "core.excludesfile" => self.ignore = Some(path(&value)),
                name if HANDED_DOWN.contains(&name) => self.handed_down.push((name.to_owned(), value)),
                _ => {}
            }
        }
    }

    /// Returns the names to be ignored, as the user's file has them.
    pub(super) fn ignored(&self) -> Option<Vec<u8>> {
        content(self.ignore.as_ref()?)
    }

    /// Returns the settings as git reads them, with this file of names to be ignored.
    pub(super) fn text(&self, ignore: &str) -> String {
        // Git would look for these beside the user's settings.
        let files = [("core.excludesfile", ignore), ("core.attributesfile", "/dev/null")];
        let own = files.into_iter();
        let all = own.chain(self.handed_down.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut text = String::from(
            "# Of the user's settings, those without secrets; made by aegis for this session.\n",
        );
        for (name, value) in all {
            let (section, key) = name.rsplit_once('.').unwrap_or_default();
            let section = match section.split_once('.') {
                Some((section, part)) => format!("{section} \"{}\"", escaped(part)),
                None => section.to_owned(),
            };
            // Writing to a string can't fail.
            let _ = writeln!(text, "[{section}]\n\t{key} = \"{}\"", escaped(value));
        }
        text
    }
}

/// Reads a plain file, up to a size.
fn content(file: &Path) -> Option<Vec<u8>> {
    // A FIFO would keep us waiting.
    let meta = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    std::fs::File::open(file).ok()?.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    (meta.len() < FILE_MAX).then_some(bytes)
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars().filter(|c| *c != '\0' && *c != '\r') {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text
}

/// Returns the settings of a text, names in lower case but for the part in quotes (`git-config(1)`, "Syntax").
fn parse(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut section = String::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '#' | ';' => while rest.next_if(|c| *c != '\n').is_some() {},
            '[' => section = header(&mut rest),
            c if c.is_ascii_alphabetic() => {
                let mut name = format!("{section}.{}", c.to_ascii_lowercase());
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '-') {
                    name.push(c.to_ascii_lowercase());
                }
                while rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
                // A name alone is true.
                let value =
                    if rest.next_if_eq(&'=').is_some() { value(&mut rest) } else { "true".to_owned() };
                found.push((name, value));
            }
            _ => {}
        }
    }
    found
}

type Rest<'t> = std::iter::Peekable<std::str::Chars<'t>>;

/// Reads what stands behind `[`, up to its end.
fn header(rest: &mut Rest<'_>) -> String {
    let mut section = String::new();
    let mut quoted = false;
    while let Some(c) = rest.next_if(|c| *c != '\n') {
        match c {
            ']' if !quoted => break,
            '"' if !quoted => {
                quoted = true;
                section.push('.');
            }
            '"' => quoted = false,
            '\\' if quoted => section.extend(rest.next()),
            c if quoted => section.push(c),
            c if c.is_whitespace() => {}
            c => section.push(c.to_ascii_lowercase()),
        }
    }
    section
}

/// Reads what stands behind `=`, up to the end of the line.
fn value(rest: &mut Rest<'_>) -> String {
    let mut value = String::new();
    // How much of it stands, however much space is at the end.
    let mut kept = 0;
    let mut quoted = false;
    while let Some(c) = rest.next() {
        match c {
            '\n' => break,
            '#' | ';' if !quoted => {
                while rest.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            '"' => {
                quoted = !quoted;
                kept = value.len();
                continue;
            }
            '\\' => match rest.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('\n') => continue,
                Some(c) => value.push(c),
                None => break,
            },
            c if c.is_whitespace() && !quoted => {
                if kept > 0 {
                    value.push(c);
                }
                continue;
            }
            c => value.push(c),
        }
        kept = value.len();
    }
    value.truncate(kept);
    value
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files the plain way")]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_git_reads_them() {
        let text = "; x\n[User]\n\tname = A  B # c\n\temail = \"a # b\" \n[filter \"lfs\"] required\nclean = a \\\n b\n\
                    [core]\r\n\tautocrlf=input\r\n[a \"b\\\"c.D\"]x=\"\\\"\\\\\\t\"";
        let found: Vec<_> = parse(text);
        let expected = [
            ("user.name", "A  B"),
            ("user.email", "a # b"),
            ("filter.lfs.required", "true"),
            ("filter.lfs.clean", "a  b"),
            ("core.autocrlf", "input"),
            ("a.b\"c.D.x", "\"\\\t"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_could_be_a_secret_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(folder.path().join("more"), "[user]\nname=\"N \\\"q\\\"\"\n[include]path=more")
            .unwrap();
        let text = "[include]path=more\n[user]\nemail=e\nsigningkey=k\n[url \"https://t@h\"]insteadOf=x\n\
                    [credential]helper=h\n[http]extraHeader=s\n[core]editor=e\nexcludesFile=ig\n[alias]x=!y";
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("ig"), "*.o\n").unwrap();
        let mut settings = Settings::default();
        settings.read(&file, None, DEPTH_MAX);
        assert_eq!(settings.ignored().unwrap(), b"*.o\n");
        settings.handed_down.dedup();
        let text = settings.text("/t/ignore");
        let named: Vec<_> = parse(&text);
        let expected = [
            ("core.excludesfile", "/t/ignore"),
            ("core.attributesfile", "/dev/null"),
            ("user.name", "N \"q\""),
            ("user.email", "e"),
        ];
        assert_eq!(named, expected.map(|(name, value)| (name.to_owned(), value.to_owned())), "{text}");
    }

    #[test]
    fn what_is_no_plain_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        assert_eq!(content(&fifo), None);
        assert_eq!(content(folder.path()), None);
    }
}
