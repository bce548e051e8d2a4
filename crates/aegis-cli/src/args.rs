//! The table of commands, with their options and examples.

use std::ffi::OsString;
use std::path::PathBuf;

use aegis_types::{Action, AgentName, Decision, SessionId};
use clap::{Args, Parser, Subcommand};

use crate::times::Moment;

/// Runs AI agents so that everything they do is seen and recorded.
#[derive(Debug, Parser)]
#[command(name = "aegis", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "Example:\n  aegis wrap -- claude\n  aegis log")]
pub(crate) struct Arguments {
    /// The Aegis home [default: $AEGIS_HOME, else ~/.aegis]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a configuration: settings, and policies that say what its agent may do
    #[command(
        after_help = "Without NAME, it asks six questions.\n\nExample:\n  aegis init\n  aegis init claude --dir ~/project --tool claude"
    )]
    Init(Init),
    /// Runs a command and records everything that it and its processes do
    #[command(
        after_help = "Exit code: that of CMD, or 128+N where signal N ended it; 125 where Aegis failed, 126 where \
        CMD can't be executed, 127 where it was not found.\n\nExample:\n  aegis wrap -- cat README.md"
    )]
    Wrap(Wrap),
    /// Runs a command that can do what its policies permit, and nothing else: the kernel enforces it
    #[command(
        after_help = "A configuration that does not exist is made, with the policies of `project` for the directory. Where the \
        command starts an agent that Aegis knows, that agent's profile is added.\n\n\
        Exit code: that of CMD, or 128+N where signal N ended it; 125 where Aegis failed, 126 where CMD can't be \
        executed, 127 where it was not found.\n\nExample:\n  aegis run -- make test\n  aegis run --config claude --dry-run -- claude"
    )]
    Run(Run),
    /// Shows recent entries of a ledger
    #[command(after_help = "Example:\n  aegis log --last 50\n  aegis log claude --follow")]
    Log(Log),
    /// Shows what one session did that the other did not: files, programs, hosts, refusals, decisions
    #[command(
        after_help = "Exit code: 0 where both did the same, 1 where they differ, 2 where anything went wrong or a \
        session was not found.\n\nExample:\n  aegis diff 0197c0de-0000-7000-8000-000000000000 0197c0df-12"
    )]
    Diff(Diff),
    /// Lists the configurations
    #[command(after_help = "Example:\n  aegis list")]
    List(Json),
    /// Sets the active configuration, or shows it
    #[command(after_help = "Example:\n  aegis use claude")]
    Use {
        /// The configuration
        name: Option<AgentName>,
        #[command(flatten)]
        json: Json,
    },
    /// Shows the health of a configuration: settings, ledger, last session
    #[command(after_help = "Example:\n  aegis status claude")]
    Status(Named),
    /// Checks what this system offers to Aegis, and how to mend what is missing
    #[command(after_help = "Example:\n  aegis setup\n  aegis setup --self-test")]
    Setup(Setup),
    /// Shows, edits and describes settings
    #[command(subcommand)]
    Config(Config),
    /// Checks, explains, makes and learns policies
    #[command(subcommand)]
    Policy(Policy),
    /// Reads, checks and exports ledgers
    #[command(subcommand)]
    Audit(Audit),
    /// Prints a shell's completions
    #[command(
        after_help = "Example:\n  aegis completions bash > ~/.local/share/bash-completion/completions/aegis"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Json {
    /// Prints JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Tries what is enforced and recorded on this machine: some 350 attacks, and known acts that must all be in the
    /// ledger; takes half a minute and needs python3
    #[arg(long)]
    pub(crate) self_test: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The configuration [default: the active one, else that of the latest session]
    pub(crate) name: Option<AgentName>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration, with its policies [default: the command's base name]
    #[arg(long, value_name = "NAME")]
    pub(crate) config: Option<AgentName>,
    /// A template or a policy file, in place of the configuration's policies for this run
    #[arg(long, value_name = "TPL")]
    pub(crate) policy: Option<String>,
    /// The directory to start in, whose files' former contents are kept [default: the current one]
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// A tool whose profile is added to the policies: claude, codex, gemini, copilot, opencode, qwen, aider, node, python,
    /// rust or go; may be given several times. `none` takes the command for no agent [default: the agent that the command starts]
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Vec<String>,
    /// Denies nothing and says what would be denied
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Goes on where this system can enforce only a part of what it should, and says which
    #[arg(long)]
    pub(crate) degraded: bool,
    /// Prints no summary at the end
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Records every read of the system's own files, not only the first of each directory
    #[arg(long)]
    pub(crate) verbose: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Wrap {
    /// The directory to start in, whose files' former contents are kept [default: the current one]
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// The configuration to record under [default: the command's base name]
    #[arg(long)]
    pub(crate) name: Option<AgentName>,
    /// A template or a policy file: each entry also says what it would decide; nothing is denied [default: the
    /// configuration's policies]
    #[arg(long, value_name = "TPL")]
    pub(crate) policy: Option<String>,
    /// Prints no summary at the end
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Records every read of the system's own files, not only the first of each directory
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Lets io_uring through, unobserved; the ledger says so
    #[arg(long)]
    pub(crate) allow_io_uring: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The name: letters, digits, `.`, `_` and `-`
    pub(crate) name: Option<AgentName>,
    /// A template (project, allow-read-only, default-deny, permit-all) or a policy file [default: project]
    #[arg(long, value_name = "TPL")]
    pub(crate) policy: Option<String>,
    /// The directory that the agent works in [default: the current one]
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// A tool whose profile is added to the policies: claude, codex, gemini, copilot, opencode, qwen, aider, node, python,
    /// rust or go; may be given several times
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Parses a file or folder and checks it against the schema; exit code 3 where anything is wrong
    #[command(after_help = "Example:\n  aegis policy validate --path project.cedar")]
    Validate {
        /// A policy file, or a folder of them: one set
        #[arg(long, value_name = "FILE")]
        path: PathBuf,
        #[command(flatten)]
        json: Json,
    },
    /// Lists the policies in force for a configuration, and where each stands
    #[command(after_help = "Example:\n  aegis policy list claude")]
    List(Named),
    /// Prints a template, or the profile of a tool
    #[command(
        after_help = "Example:\n  aegis policy generate --template project > project.cedar\n  aegis policy generate --tool claude"
    )]
    #[command(group = clap::ArgGroup::new("what").required(true))]
    Generate {
        /// project, allow-read-only, default-deny or permit-all
        #[arg(long, value_name = "NAME", group = "what")]
        template: Option<String>,
        /// claude, codex, gemini, copilot, opencode, qwen, aider, node, python, rust or go
        #[arg(long, value_name = "TOOL", group = "what")]
        tool: Option<String>,
        /// The directory that the agent works in [default: the current one]
        #[arg(long, value_name = "PATH")]
        dir: Option<PathBuf>,
    },
    /// Prints the schema that every policy is validated against
    #[command(after_help = "Example:\n  aegis policy schema")]
    Schema,
    /// Says what would be decided, and by which policies
    #[command(
        after_help = "A resource is a path, HOST:PORT, unix:PATH, a program with its arguments, or TOOL(COMMAND).\n\n\
        Example:\n  aegis policy check claude --action FileWrite --resource ~/project/.git/hooks/pre-commit"
    )]
    Check(Check),
    /// Shows what the kernel will be told, and what has to be decided while the agent runs
    #[command(after_help = "Example:\n  aegis policy compile claude --target landlock")]
    Compile {
        /// The configuration [default: the active one, else that of the latest session]
        name: Option<AgentName>,
        /// What enforces
        #[arg(long, value_enum, default_value_t = Target::Landlock)]
        target: Target,
        #[command(flatten)]
        json: Json,
    },
    /// Writes the least policy that permits what sessions did
    #[command(
        after_help = "What it left out, and why, is told on standard error and in the policy's comments.\n\nExample:\n  \
        aegis policy learn 0197c0de-0000-7000-8000-000000000000 --output learned.cedar"
    )]
    Learn {
        /// The sessions: ids, or enough of their beginnings
        #[arg(required = true, value_name = "SESSION")]
        sessions: Vec<SessionKey>,
        /// Writes to this file in place of standard output: as a whole or not at all, for you alone to read
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Permits as well what was denied since no policy permits it; what one forbids stays forbidden
        #[arg(long)]
        denied: bool,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Target {
    /// Linux
    Landlock,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration [default: the active one, else that of the latest session]
    pub(crate) name: Option<AgentName>,
    /// What is to be done
    #[arg(long, value_name = "A", value_parser = action)]
    pub(crate) action: Action,
    /// What it is to be done to
    #[arg(long, value_name = "R")]
    pub(crate) resource: String,
    /// The program that acts [default: not known]
    #[arg(long, value_name = "PATH")]
    pub(crate) exe: Option<String>,
    /// wrap, pilot or run
    #[arg(long, value_name = "MODE", default_value = "run", value_parser = ["wrap", "pilot", "run"])]
    pub(crate) mode: String,
    /// Of a connection: the address is a local one, to be listened on
    #[arg(long)]
    pub(crate) listen: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// One ledger by its name, or all.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The configuration [default: the active one, else that of the latest session]
    #[arg(conflicts_with = "all")]
    pub(crate) name: Option<AgentName>,
    /// Every ledger of the home
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many entries
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) last: usize,
    /// Goes on with what comes, until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The id of one session, A, or at least 8 characters of its beginning
    #[arg(value_name = "SESSION1")]
    pub(crate) first: SessionKey,
    /// The same of the other session, B
    #[arg(value_name = "SESSION2")]
    pub(crate) second: SessionKey,
    /// Prints all of each group, however long it is
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// The id of a session or the beginning of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionKey(String);

/// The least beginning of an id, in digits.
const KEY_MIN: usize = 8;

/// An id, in digits.
const KEY_MAX: usize = 32;

impl SessionKey {
    /// Says whether it is this id, or the beginning of it.
    pub(crate) fn fits(&self, id: &str) -> bool {
        let mut digits = id.bytes().filter(|byte| *byte != b'-');
        self.0.bytes().filter(|byte| *byte != b'-').all(|byte| digits.next() == Some(byte))
    }
}

impl std::fmt::Display for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SessionKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().filter(|byte| *byte != b'-').count();
        if !text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) || digits > KEY_MAX {
            return Err("an id has 32 hexadecimal digits, and `-`".to_owned());
        }
        if digits < KEY_MIN {
            return Err(format!("at least {KEY_MIN} digits of the id are needed"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Shows the effective settings, with where each value comes from
    #[command(after_help = "Example:\n  aegis config show claude\n  aegis config show claude --json")]
    Show(Named),
    /// Opens a settings file in $VISUAL, else $EDITOR, else vi, and takes it over if it is valid
    #[command(
        after_help = "The editor has a copy. The file is changed only when the copy is valid and nobody else has \
        changed the file meanwhile. Exit code 1 where it was not changed for such a reason; the copy is then \
        kept.\n\nExample:\n  aegis config edit claude\n  EDITOR='code -w' aegis config edit"
    )]
    Edit {
        /// The configuration [default: the active one, else that of the latest session]
        name: Option<AgentName>,
    },
    /// Prints the JSON Schema of aegis.toml, with every key, its values and its default
    #[command(after_help = "Example:\n  aegis config schema > aegis.schema.json")]
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Shows the entries that match
    #[command(
        after_help = "Example:\n  aegis audit query claude --action FileWrite --path '/home/me/project/**' --since 2h"
    )]
    Query(Query),
    /// Recomputes the whole chain and checks the signed checkpoints; exit code 3 where anything is wrong
    #[command(
        after_help = "Example:\n  aegis audit verify claude\n  aegis audit verify claude --against claude.checkpoint"
    )]
    Verify(Verify),
    /// Seals what is not sealed yet and prints the signed checkpoint, to be kept elsewhere
    #[command(after_help = "Example:\n  aegis audit checkpoint claude > claude.checkpoint")]
    Checkpoint {
        /// The configuration [default: the active one, else that of the latest session]
        name: Option<AgentName>,
    },
    /// Prints one entry with the proof that it is in the ledger, for a third party
    #[command(after_help = "Example:\n  aegis audit prove 4711 claude > entry.tlog-proof")]
    Prove {
        /// The number of the entry
        entry: u64,
        /// The configuration [default: the active one, else that of the latest session]
        name: Option<AgentName>,
    },
    /// Checks a proof without the ledger; exit code 3 where it does not hold
    #[command(after_help = "Example:\n  aegis audit verify-proof entry.tlog-proof --key 'aegis/...+...+...'")]
    VerifyProof {
        /// The proof
        file: PathBuf,
        /// The trust root of the ledger, or a file with it [default: those of this home]
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Lists sessions
    #[command(after_help = "Example:\n  aegis audit sessions claude")]
    Sessions {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        json: Json,
    },
    /// Shows one session: processes as a tree, files and what changed in them, hosts, gaps
    #[command(
        after_help = "Example:\n  aegis audit session claude --id 0197c0de-0000-7000-8000-000000000000"
    )]
    Session {
        /// The configuration [default: the active one, else that of the latest session]
        name: Option<AgentName>,
        /// The session [default: the latest]
        #[arg(long, value_name = "UUID")]
        id: Option<SessionId>,
        #[command(flatten)]
        json: Json,
    },
    /// Shows each policy set that was in force, from when, and what changed
    #[command(after_help = "Example:\n  aegis audit policy-history claude")]
    PolicyHistory(Named),
    /// Writes entries for other programs
    #[command(after_help = "Example:\n  aegis audit export claude --format jsonl > claude.jsonl")]
    Export(Export),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) which: Which,
    /// A file of checkpoints of this ledger that was kept elsewhere; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    pub(crate) against: Vec<PathBuf>,
    /// The ledger's trust root that was kept elsewhere, or a file with it
    #[arg(long, value_name = "KEY", conflicts_with = "all")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only the last N that match
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<usize>,
    /// Only this action
    #[arg(long, value_name = "KIND", value_parser = action)]
    pub(crate) action: Option<Action>,
    /// Only this decision: allow, deny or observed
    #[arg(long, value_name = "D", value_parser = decision)]
    pub(crate) decision: Option<Decision>,
    /// Only what the policies would have decided so: allow or deny
    #[arg(long, value_name = "D", value_parser = decision)]
    pub(crate) would: Option<Decision>,
    /// Only paths that fit: `*` within a component, `**` across
    #[arg(long, value_name = "GLOB")]
    pub(crate) path: Option<String>,
    /// Only this session
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// Only from then on: a time (2026-01-31, 2026-01-31T12:00:00Z) or an age (90s, 15m, 2h, 3d)
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<Moment>,
    /// Only before then
    #[arg(long, value_name = "T")]
    pub(crate) until: Option<Moment>,
    /// Only this process
    #[arg(long, value_name = "P")]
    pub(crate) pid: Option<u32>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The format
    #[arg(long, value_enum)]
    pub(crate) format: Format,
    /// Goes on with what comes, until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only entries with a larger number: resumes an earlier export
    #[arg(long, value_name = "SEQ", default_value_t = 0, conflicts_with = "all")]
    pub(crate) after: u64,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Format {
    /// JSON Lines: an object a line
    Jsonl,
    /// The exact records and signed checkpoints, for an independent verifier
    Raw,
}

fn action(word: &str) -> Result<Action, String> {
    Action::from_word(word).ok_or_else(|| {
        let all: Vec<&str> = Action::ALL.iter().map(|action| action.word()).collect();
        format!("one of {}", all.join(", "))
    })
}

fn decision(word: &str) -> Result<Decision, String> {
    Decision::from_word(word).ok_or_else(|| "one of allow, deny, observed".to_owned())
}
