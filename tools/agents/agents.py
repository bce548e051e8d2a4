"""How each agent is pointed at the model server, and how its print mode and its terminal are started."""

import json
import os

KEY = "sk-ant-api03-mock-key-for-tests-0000000000000000"


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content if isinstance(content, str) else json.dumps(content, indent=1))


class Agent:
    """`settings` is a file of the agent's own in the home that it must not change. One without `turns` does one thing
    when it is asked, and runs commands on a terminal only, where it is told to."""

    def __init__(self, name, settings, prepare, environment, printing, terminal, turns=True):
        self.name, self.settings, self.prepare = name, settings, prepare
        self.environment, self.printing, self.terminal, self.turns = environment, printing, terminal, turns


def prepare_claude(home, project, _url):
    write(home + "/.claude.json", {
        "hasCompletedOnboarding": True, "lastOnboardingVersion": "99.0.0", "theme": "dark", "numStartups": 5,
        "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
        "projects": {project: {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
    })
    write(home + "/.claude/settings.json", {})


def prepare_codex(home, project, url):
    write(home + "/.codex/config.toml", "\n".join((
        'model = "gpt-5.1-codex"', 'model_provider = "mock"', "check_for_update_on_startup = false",
        'approval_policy = "never"', "[model_providers.mock]", 'name = "mock"',
        'base_url = "%s/a/codex/v1"' % url, 'env_key = "OPENAI_API_KEY"', 'wire_api = "responses"',
        '[projects."%s"]' % project, 'trust_level = "trusted"', "",
    )))


def prepare_gemini(home, project, _url):
    write(home + "/.gemini/settings.json", {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": True}},
        "general": {"enableAutoUpdate": False, "disableAutoUpdate": True}, "ui": {"theme": "Default"},
        "privacy": {"usageStatisticsEnabled": False}, "ide": {"hasSeenNudge": True},
    })
    write(home + "/.gemini/trustedFolders.json", {project: "TRUST_FOLDER"})


def prepare_qwen(home, _project, _url):
    write(home + "/.qwen/settings.json", {
        "security": {"auth": {"selectedType": "openai"}, "folderTrust": {"enabled": False}},
        "general": {"enableAutoUpdate": False}, "privacy": {"usageStatisticsEnabled": False},
        "ui": {"theme": "Default"}, "model": {"name": "mock-1"},
    })


def prepare_opencode(home, _project, url):
    write(home + "/.config/opencode/opencode.json", {
        "$schema": "https://opencode.ai/config.json", "autoupdate": False, "share": "disabled",
        "model": "mock/mock-1", "small_model": "mock/mock-1",
        "permission": {"edit": "allow", "bash": "allow", "webfetch": "allow", "external_directory": "allow"},
        "provider": {"mock": {
            "npm": "@ai-sdk/openai-compatible", "name": "Mock",
            "options": {"baseURL": url + "/a/opencode/v1", "apiKey": "mock-key"},
            "models": {"mock-1": {"name": "Mock 1", "tool_call": True, "limit": {"context": 100000, "output": 8000}}},
        }},
    })


def prepare_copilot(home, project, _url):
    write(home + "/.copilot/config.json", {
        "banner": "never", "trustedFolders": [project], "firstLaunchAt": "2026-03-11T00:00:00.000Z",
    })


def prepare_aider(home, _project, _url):
    write(home + "/.aider.conf.yml", "analytics-disable: true\n")


AIDER = [
    "--model", "openai/mock-1", "--no-check-update", "--no-show-model-warnings", "--no-show-release-notes",
    "--no-gitignore", "--map-tokens", "0", "--edit-format", "diff",
]
CLAUDE = ["--permission-mode", "acceptEdits", "--allowedTools", "Bash,Write,Edit,Read"]
COPILOT = ["--allow-all-tools", "--allow-all-paths"]

AGENTS = [
    Agent(
        "claude", ".claude/settings.json", prepare_claude,
        lambda url: {"ANTHROPIC_BASE_URL": url + "/a/claude", "ANTHROPIC_API_KEY": KEY, "DISABLE_TELEMETRY": "1"},
        lambda prompt: CLAUDE + ["-p", prompt], CLAUDE,
    ),
    Agent(
        "codex", ".codex/config.toml", prepare_codex, lambda _: {"OPENAI_API_KEY": "mock-key"},
        lambda prompt: ["exec", "--skip-git-repo-check", prompt], [],
    ),
    Agent(
        "gemini", ".gemini/settings.json", prepare_gemini,
        lambda url: {"GEMINI_API_KEY": "mock-key-000000000000000000000000000000", "GOOGLE_GEMINI_BASE_URL": url + "/a/gemini"},
        lambda prompt: ["-y", "-p", prompt], ["-y"],
    ),
    Agent(
        "copilot", ".copilot/config.json", prepare_copilot,
        lambda url: {
            "COPILOT_PROVIDER_BASE_URL": url + "/a/copilot/v1", "COPILOT_PROVIDER_TYPE": "openai",
            "COPILOT_PROVIDER_API_KEY": "mock-key", "COPILOT_MODEL": "mock-1", "COPILOT_OFFLINE": "true",
        },
        lambda prompt: COPILOT + ["-p", prompt], COPILOT,
    ),
    Agent(
        "opencode", ".config/opencode/opencode.json", prepare_opencode,
        lambda _: {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"},
        lambda prompt: ["run", prompt], [],
    ),
    Agent(
        "qwen", ".qwen/settings.json", prepare_qwen,
        lambda url: {"OPENAI_API_KEY": "mock-key", "OPENAI_BASE_URL": url + "/a/qwen/v1", "OPENAI_MODEL": "mock-1"},
        lambda prompt: ["-y", "-p", prompt], ["-y"],
    ),
    Agent(
        "aider", ".aider.conf.yml", prepare_aider,
        lambda url: {"OPENAI_API_KEY": "mock-key", "OPENAI_API_BASE": url + "/a/aider/v1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        lambda prompt: AIDER + ["--yes-always", "--message", prompt], AIDER, turns=False,
    ),
]
