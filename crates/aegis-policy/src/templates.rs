//! The policies that ship, ready to be written into a configuration.

/// A template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Forbids everything.
    DefaultDeny,
    /// Permits to look and to execute.
    AllowReadOnly,
    /// Permits everything.
    PermitAll,
    /// Permits to work in one directory.
    Project,
}

/// A file of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFile {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: String,
}

/// A toolchain in a user's home: how to find it, and what of it is read and executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toolchain {
    /// What it is.
    pub name: &'static str,
    /// The variable of the environment that says where it is.
    pub variable: Option<&'static str>,
    /// Where it is otherwise, below the user's home.
    pub default: &'static str,
    /// The parts of it that programs and libraries are in; the whole where there is none.
    pub parts: &'static [&'static str],
}

/// The toolchains that the template `project` knows.
///
/// Of Cargo's home only the programs: its credentials are beside them, and the caches are the configuration's own.
pub const TOOLCHAINS: [Toolchain; 6] = [
    Toolchain { name: "rustup", variable: Some("RUSTUP_HOME"), default: ".rustup", parts: &[] },
    Toolchain { name: "cargo", variable: Some("CARGO_HOME"), default: ".cargo", parts: &["bin"] },
    Toolchain { name: "nvm", variable: Some("NVM_DIR"), default: ".nvm", parts: &[] },
    Toolchain { name: "pyenv", variable: Some("PYENV_ROOT"), default: ".pyenv", parts: &[] },
    Toolchain { name: "go", variable: Some("GOROOT"), default: "sdk", parts: &[] },
    Toolchain { name: "go programs", variable: Some("GOPATH"), default: "go", parts: &["bin"] },
];

/// Settings below a user's home that Cargo reads from wherever it is in there, and stops where it can't.
pub const SETTINGS: [&str; 2] = [".cargo/config.toml", ".cargo/config"];

/// What is put into a template, all of it absolute paths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places<'a> {
    /// The directory to work in.
    pub directory: &'a str,
    /// The toolchains that were found.
    pub toolchains: &'a [String],
    /// Their settings that may be read ([`SETTINGS`]).
    pub settings: &'a [String],
    /// The folder of the configuration's own caches, where it is known.
    pub caches: Option<&'a str>,
    /// Where agents have things of their own in the user's home ([`crate::tools::own_places`]).
    pub agents: &'a [String],
}

impl Template {
    /// Every template, the one that is taken where none is named first.
    pub const ALL: [Template; 4] =
        [Template::Project, Template::AllowReadOnly, Template::DefaultDeny, Template::PermitAll];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Template::DefaultDeny => "default-deny",
            Template::AllowReadOnly => "allow-read-only",
            Template::PermitAll => "permit-all",
            Template::Project => "project",
        }
    }

    /// Returns the template of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// Says what it permits, in a line.
    #[must_use]
    pub fn summary(self) -> &'static str {
        match self {
            Template::DefaultDeny => "nothing; to be replaced by policies of your own",
            Template::AllowReadOnly => {
                "reads any file and executes any program; writes nothing, connects nowhere"
            }
            Template::PermitAll => "everything",
            Template::Project => {
                "works in one directory with the system's programs; no secrets, no writing outside, no hooks planted"
            }
        }
    }

    /// Returns its files.
    #[must_use]
    pub fn files(self, places: Places<'_>) -> Vec<TemplateFile> {
        let Places { directory, toolchains, settings, caches, agents } = places;
        match self {
            Template::DefaultDeny => {
                vec![file("default-deny.cedar", include_str!("../templates/default-deny.cedar"))]
            }
            Template::AllowReadOnly => {
                vec![file("allow-read-only.cedar", include_str!("../templates/allow-read-only.cedar"))]
            }
            Template::PermitAll => {
                vec![file("permit-all.cedar", include_str!("../templates/permit-all.cedar"))]
            }
            Template::Project => {
                let list: String = toolchains
                    .iter()
                    .map(|path| format!(",\n    Aegis::Resource::{}", quoted(path)))
                    .collect();
                let mut text = include_str!("../templates/project.cedar")
                    .replace("{{toolchains}}", &list)
                    .replace("{{directory}}", &quoted(directory));
                if !settings.is_empty() {
                    let names: Vec<String> =
                        settings.iter().map(|path| format!("Aegis::Resource::{}", quoted(path))).collect();
                    let list = names.join(", ");
                    text.push_str(
                        &include_str!("../templates/settings.cedar").replace("{{settings}}", &list),
                    );
                }
                if let Some(caches) = caches {
                    text.push_str(
                        &include_str!("../templates/caches.cedar").replace("{{caches}}", &quoted(caches)),
                    );
                }
                // What is fetched has such files, too, and is used nowhere else.
                let caches: Vec<String> = caches.map(str::to_owned).into_iter().collect();
                let agents: Vec<String> = agents.iter().chain(&caches).cloned().collect();
                let plants = include_str!("../templates/plants.cedar");
                let plants = [("agents", agents), ("caches", caches)].into_iter().fold(
                    plants.to_owned(),
                    |text, (key, paths)| {
                        text.replace(
                            &format!("}}\n// {{{{{key}}}}}\n;"),
                            &format!("}}{};", unless_in(&paths)),
                        )
                    },
                );
                vec![
                    TemplateFile { name: "project.cedar", text },
                    TemplateFile { name: "plants.cedar", text: plants },
                ]
            }
        }
    }
}

/// Returns the condition that leaves paths out; nothing where there are none.
fn unless_in(paths: &[String]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let names: Vec<String> =
        paths.iter().map(|path| format!("    Aegis::Resource::{}", quoted(path))).collect();
    format!(" unless {{\n  resource in [\n{}\n  ]\n}}", names.join(",\n"))
}

fn file(name: &'static str, text: &str) -> TemplateFile {
    TemplateFile { name, text: text.to_owned() }
}

/// Returns a text as a string of Cedar, in its quotes (the escapes are those of Rust).
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
