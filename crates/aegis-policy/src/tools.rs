//! The tools that Aegis knows: agents, and what fetches the packages of a language. For each, a table says how it is
//! called, where its things are and what it reads of the environment, and a policy file what it may do with them.

use std::collections::BTreeSet;

use crate::templates::quoted;

/// A tool with a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its name, as `--tool` takes it.
    pub name: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// It is an agent: a session says that it ran, and commands are taken for it.
    pub is_agent: bool,
    /// The names of its program.
    pub programs: &'static [&'static str],
    /// Its package in the npm registry. Those for single platforms begin with this name.
    pub npm: Option<&'static str>,
    /// Its package in the Python index, and the module that `python -m` runs.
    pub python: Option<(&'static str, &'static str)>,
    /// Where its things are.
    pub places: &'static [Place],
    /// The variables of the environment that it reads.
    pub variables: &'static [&'static str],
    /// Variables that it gets.
    pub set: &'static [(&'static str, &'static str)],
    /// Arguments that it gets before its own.
    pub arguments: &'static [&'static str],
    /// Arguments beside which it does not get those.
    pub unless: &'static [&'static str],
    /// How its own sandbox is switched off, where it has one: it can't start inside another.
    pub sandbox: Option<&'static str>,
    /// The name of the file that its policies stand in.
    pub file: &'static str,
    /// Its policies.
    template: &'static str,
}

/// A place of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What the policies call it.
    pub key: &'static str,
    /// The variable of the environment that says where it is, and what of it is below that.
    pub variable: Option<(&'static str, &'static str)>,
    /// Where it is otherwise, below the user's home.
    pub default: &'static str,
    /// What is there.
    pub kind: Kind,
}

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory that the tool writes to. It has to be there when a session starts: what is made later could not be
    /// read in it.
    State,
    /// A file or directory that it only reads.
    Settings,
}

/// What is filled into a tool's policies, all of it absolute paths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found<'a> {
    /// The tool's places, by their keys.
    pub places: &'a [(&'static str, String)],
    /// Where the tool is installed, as far as it is not where the system's programs are.
    pub programs: &'a [String],
}

/// A directory of state in the user's home.
const fn state(variable: &'static str, default: &'static str) -> Place {
    Place { key: "state", variable: Some((variable, "")), default, kind: Kind::State }
}

/// A settings file in the user's home.
const fn settings(key: &'static str, default: &'static str) -> Place {
    Place { key, variable: None, default, kind: Kind::Settings }
}

const CLAUDE: Tool = Tool {
    name: "claude",
    title: "Claude Code",
    is_agent: true,
    programs: &["claude"],
    npm: Some("@anthropic-ai/claude-code"),
    python: None,
    places: &[
        state("CLAUDE_CONFIG_DIR", ".claude"),
        Place {
            key: "account",
            variable: Some(("CLAUDE_CONFIG_DIR", ".claude.json")),
            default: ".claude.json",
            kind: Kind::Settings,
        },
    ],
    variables: &[
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_BEDROCK_BASE_URL",
        "ANTHROPIC_CUSTOM_HEADERS",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_FOUNDRY_API_KEY",
        "ANTHROPIC_FOUNDRY_BASE_URL",
        "ANTHROPIC_FOUNDRY_RESOURCE",
        "ANTHROPIC_MODEL",
        "ANTHROPIC_SMALL_FAST_MODEL",
        "ANTHROPIC_VERTEX_BASE_URL",
        "ANTHROPIC_VERTEX_PROJECT_ID",
        "API_TIMEOUT_MS",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_REGION",
        "BASH_DEFAULT_TIMEOUT_MS",
        "BASH_MAX_OUTPUT_LENGTH",
        "BASH_MAX_TIMEOUT_MS",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "CLAUDE_CODE_EFFORT_LEVEL",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_SUBAGENT_MODEL",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_USE_VERTEX",
        "CLAUDE_CONFIG_DIR",
        "CLOUD_ML_REGION",
        "DISABLE_ERROR_REPORTING",
        "DISABLE_TELEMETRY",
        "MAX_THINKING_TOKENS",
        "MCP_TIMEOUT",
        "MCP_TOOL_TIMEOUT",
        "NODE_EXTRA_CA_CERTS",
    ],
    set: &[("DISABLE_AUTOUPDATER", "1")],
    arguments: &["--settings", r#"{"sandbox":{"enabled":false}}"#],
    unless: &["--settings"],
    sandbox: Some("--settings"),
    file: "tool-claude.cedar",
    template: include_str!("../templates/tools/claude.cedar"),
};

const CODEX: Tool = Tool {
    name: "codex",
    title: "Codex",
    is_agent: true,
    programs: &["codex"],
    npm: Some("@openai/codex"),
    python: None,
    places: &[state("CODEX_HOME", ".codex")],
    variables: &[
        "CODEX_API_KEY",
        "CODEX_CA_CERTIFICATE",
        "CODEX_HOME",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_ORGANIZATION",
        "OPENAI_PROJECT",
        "RUST_LOG",
        "SSL_CERT_FILE",
    ],
    set: &[],
    arguments: &["-c", r#"sandbox_mode="danger-full-access""#],
    unless: &[],
    sandbox: Some("-c sandbox_mode"),
    file: "tool-codex.cedar",
    template: include_str!("../templates/tools/codex.cedar"),
};

const GEMINI: Tool = Tool {
    name: "gemini",
    title: "Gemini CLI",
    is_agent: true,
    programs: &["gemini"],
    npm: Some("@google/gemini-cli"),
    python: None,
    places: &[Place {
        key: "state",
        variable: Some(("GEMINI_CLI_HOME", ".gemini")),
        default: ".gemini",
        kind: Kind::State,
    }],
    variables: &[
        "GEMINI_API_KEY",
        "GEMINI_CLI_HOME",
        "GEMINI_CLI_NO_RELAUNCH",
        "GEMINI_MODEL",
        "GEMINI_TELEMETRY_ENABLED",
        "GOOGLE_API_KEY",
        "GOOGLE_CLOUD_ACCESS_TOKEN",
        "GOOGLE_CLOUD_LOCATION",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_CLOUD_PROJECT_ID",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_GENAI_USE_GCA",
        "GOOGLE_GENAI_USE_VERTEXAI",
        "GOOGLE_VERTEX_BASE_URL",
        "NODE_EXTRA_CA_CERTS",
        "NO_BROWSER",
    ],
    set: &[("GEMINI_SANDBOX", "false")],
    arguments: &[],
    unless: &[],
    sandbox: Some("GEMINI_SANDBOX=false"),
    file: "tool-gemini.cedar",
    template: include_str!("../templates/tools/gemini.cedar"),
};

const QWEN: Tool = Tool {
    name: "qwen",
    title: "Qwen Code",
    is_agent: true,
    programs: &["qwen"],
    npm: Some("@qwen-code/qwen-code"),
    python: None,
    places: &[
        state("QWEN_HOME", ".qwen"),
        Place {
            key: "runtime",
            variable: Some(("QWEN_RUNTIME_DIR", "")),
            default: ".qwen",
            kind: Kind::State,
        },
    ],
    variables: &[
        "BAILIAN_CODING_PLAN_API_KEY",
        "DASHSCOPE_API_KEY",
        "NODE_EXTRA_CA_CERTS",
        "NO_BROWSER",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_MODEL",
        "QWEN_CODE_NO_RELAUNCH",
        "QWEN_HOME",
        "QWEN_MODEL",
        "QWEN_RUNTIME_DIR",
    ],
    set: &[("QWEN_SANDBOX", "false"), ("GEMINI_SANDBOX", "false")],
    arguments: &[],
    unless: &[],
    sandbox: Some("QWEN_SANDBOX=false"),
    file: "tool-qwen.cedar",
    template: include_str!("../templates/tools/qwen.cedar"),
};

const COPILOT: Tool = Tool {
    name: "copilot",
    title: "GitHub Copilot CLI",
    is_agent: true,
    programs: &["copilot"],
    npm: Some("@github/copilot"),
    python: None,
    places: &[state("COPILOT_HOME", ".copilot")],
    variables: &[
        "COPILOT_CUSTOM_INSTRUCTIONS_DIRS",
        "COPILOT_GITHUB_TOKEN",
        "COPILOT_HOME",
        "COPILOT_MODEL",
        "COPILOT_OFFLINE",
        "COPILOT_PROVIDER_API_KEY",
        "COPILOT_PROVIDER_AZURE_API_VERSION",
        "COPILOT_PROVIDER_BASE_URL",
        "COPILOT_PROVIDER_BEARER_TOKEN",
        "COPILOT_PROVIDER_MAX_OUTPUT_TOKENS",
        "COPILOT_PROVIDER_MAX_PROMPT_TOKENS",
        "COPILOT_PROVIDER_MODEL_ID",
        "COPILOT_PROVIDER_TYPE",
        "COPILOT_PROVIDER_WIRE_API",
        "GH_HOST",
        "GH_TOKEN",
        "GITHUB_TOKEN",
        "NODE_EXTRA_CA_CERTS",
    ],
    set: &[("COPILOT_AUTO_UPDATE", "false")],
    arguments: &[],
    unless: &[],
    sandbox: None,
    file: "tool-copilot.cedar",
    template: include_str!("../templates/tools/copilot.cedar"),
};

const OPENCODE: Tool = Tool {
    name: "opencode",
    title: "OpenCode",
    is_agent: true,
    programs: &["opencode"],
    npm: Some("opencode-ai"),
    python: None,
    places: &[
        Place {
            key: "data",
            variable: Some(("XDG_DATA_HOME", "opencode")),
            default: ".local/share/opencode",
            kind: Kind::State,
        },
        Place {
            key: "state",
            variable: Some(("XDG_STATE_HOME", "opencode")),
            default: ".local/state/opencode",
            kind: Kind::State,
        },
        Place {
            key: "config",
            variable: Some(("XDG_CONFIG_HOME", "opencode")),
            default: ".config/opencode",
            kind: Kind::Settings,
        },
    ],
    variables: &[
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "GITHUB_TOKEN",
        "GOOGLE_GENERATIVE_AI_API_KEY",
        "GROQ_API_KEY",
        "MISTRAL_API_KEY",
        "OPENAI_API_KEY",
        "OPENCODE_API_KEY",
        "OPENCODE_CONFIG_CONTENT",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_PERMISSION",
        "OPENROUTER_API_KEY",
        "XAI_API_KEY",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
    ],
    set: &[("OPENCODE_DISABLE_AUTOUPDATE", "1")],
    arguments: &[],
    unless: &[],
    sandbox: None,
    file: "tool-opencode.cedar",
    template: include_str!("../templates/tools/opencode.cedar"),
};

const AIDER: Tool = Tool {
    name: "aider",
    title: "Aider",
    is_agent: true,
    programs: &["aider"],
    npm: None,
    python: Some(("aider-chat", "aider")),
    places: &[
        Place { key: "state", variable: None, default: ".aider", kind: Kind::State },
        settings("settings", ".aider.conf.yml"),
        settings("models", ".aider.model.settings.yml"),
        settings("metadata", ".aider.model.metadata.json"),
    ],
    variables: &[
        "AIDER_ANALYTICS",
        "AIDER_EDIT_FORMAT",
        "AIDER_MODEL",
        "AIDER_WEAK_MODEL",
        "ANTHROPIC_API_BASE",
        "ANTHROPIC_API_KEY",
        "DEEPSEEK_API_KEY",
        "GEMINI_API_KEY",
        "GROQ_API_KEY",
        "OLLAMA_API_BASE",
        "OPENAI_API_BASE",
        "OPENAI_API_KEY",
        "OPENROUTER_API_KEY",
        "XAI_API_KEY",
    ],
    set: &[("AIDER_CHECK_UPDATE", "false"), ("LITELLM_LOCAL_MODEL_COST_MAP", "True")],
    arguments: &[],
    unless: &[],
    sandbox: None,
    file: "tool-aider.cedar",
    template: include_str!("../templates/tools/aider.cedar"),
};

/// A language's packages.
const fn work(
    name: &'static str,
    title: &'static str,
    variables: &'static [&'static str],
    (file, template): (&'static str, &'static str),
) -> Tool {
    Tool {
        name,
        title,
        is_agent: false,
        programs: &[],
        npm: None,
        python: None,
        places: &[],
        variables,
        set: &[],
        arguments: &[],
        unless: &[],
        sandbox: None,
        file,
        template,
    }
}

/// Every tool.
pub static TOOLS: [Tool; 11] = [
    CLAUDE,
    CODEX,
    GEMINI,
    COPILOT,
    OPENCODE,
    QWEN,
    AIDER,
    work(
        "node",
        "Node packages",
        &["NODE_ENV", "NODE_EXTRA_CA_CERTS", "npm_config_registry"],
        ("tool-node.cedar", include_str!("../templates/tools/node.cedar")),
    ),
    work(
        "python",
        "Python packages",
        &["PIP_INDEX_URL", "PYTHONUNBUFFERED", "UV_DEFAULT_INDEX", "UV_PYTHON"],
        ("tool-python.cedar", include_str!("../templates/tools/python.cedar")),
    ),
    work(
        "rust",
        "Rust packages",
        &["CARGO_BUILD_JOBS", "CARGO_TERM_COLOR", "RUSTFLAGS", "RUST_BACKTRACE", "RUST_LOG"],
        ("tool-rust.cedar", include_str!("../templates/tools/rust.cedar")),
    ),
    work(
        "go",
        "Go modules",
        &["CGO_ENABLED", "GOARCH", "GOFLAGS", "GONOSUMDB", "GOOS", "GOPRIVATE", "GOPROXY", "GOTOOLCHAIN"],
        ("tool-go.cedar", include_str!("../templates/tools/go.cedar")),
    ),
];

impl Tool {
    /// Returns the tool of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    /// Returns the agents.
    pub fn agents() -> impl Iterator<Item = &'static Self> {
        TOOLS.iter().filter(|tool| tool.is_agent)
    }

    /// Says whether a package of the npm registry is the tool's: its own, or that for a platform.
    #[must_use]
    pub fn is_npm_package(&self, name: &str) -> bool {
        let rest = self.npm.and_then(|npm| name.strip_prefix(npm));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("-linux-"))
    }

    /// Returns its policies for what was found.
    #[must_use]
    pub fn policies(&self, found: Found<'_>) -> String {
        let mut text = self.template.to_owned();
        for (key, path) in found.places {
            text = fill(&text, key, path);
        }
        if !found.programs.is_empty() {
            let names: Vec<String> =
                found.programs.iter().map(|path| format!("Aegis::Resource::{}", quoted(path))).collect();
            let program = include_str!("../templates/tools/program.cedar");
            text.push_str(&program.replace("{{programs}}", &names.join(", ")));
        }
        text
    }
}

/// Puts a path where a string of a policy names it.
fn fill(text: &str, key: &str, path: &str) -> String {
    let quoted = quoted(path);
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    text.replace(&format!("{{{{{key}}}}}"), inner)
}

/// Returns where agents have things of their own in the user's home, by what is found of each place. No policy about a
/// project means them.
#[must_use]
pub fn own_places(find: &dyn Fn(&Place) -> Option<String>) -> Vec<String> {
    let found: BTreeSet<String> = Tool::agents().flat_map(|tool| tool.places).filter_map(find).collect();
    found.into_iter().collect()
}
