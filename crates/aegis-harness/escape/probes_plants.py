"""Files that are harmless to write and run later, outside the sandbox: hooks, settings, start-up files."""
import os

from core import probe, read, work_has_token, write


@probe("plant", work_has_token(".git/hooks/post-commit"))
def plant_git_hook(x):
    """write .git/hooks/post-commit in the work directory"""
    write(x.W + "/.git/hooks/post-commit", "#!/bin/sh\n# " + x.token)


@probe("plant", work_has_token(".git/hooks2/post-commit"))
def plant_git_rename(x):
    """rename a directory of hooks into .git (dodges a rule on .git/hooks)"""
    os.rename(x.W + "/.git2src", x.W + "/.git/hooks2")
    write(x.W + "/.git/hooks2/post-commit", x.token)


@probe("plant", work_has_token(".git/config"))
def plant_git_config(x):
    """add a core.hooksPath to .git/config of the work directory"""
    with open(x.W + "/.git/config", "a") as file:
        file.write("[core]\n\thooksPath = /nonexistent/%s\n" % x.token)


@probe("plant", work_has_token(".claude/settings.json"))
def plant_claude_settings(x):
    """write .claude/settings.json, the agent's own settings, in the work directory"""
    write(x.W + "/.claude/settings.json", x.token)


@probe("plant", work_has_token(".envrc"))
def plant_envrc(x):
    """write .envrc (direnv) in the work directory"""
    write(x.W + "/.envrc", x.token)


@probe("plant", lambda host, evidence: host.token in read(host.H + "/.bashrc"))
def plant_bashrc(x):
    """append to ~/.bashrc"""
    with open(x.H + "/.bashrc", "a") as file:
        file.write("# " + x.token)


@probe("plant", lambda host, evidence: os.path.exists("/dev/shm/" + host.tag + "_w"))
def plant_dev_shm(x):
    """create a file in /dev/shm, which all of the machine share"""
    write("/dev/shm/" + x.tag + "_w", x.token)


@probe("plant", work_has_token(".cargo/config.toml"))
def plant_rename_folder(x):
    """write config.toml in a directory of another name, then rename that to .cargo"""
    os.mkdir(x.W + "/cargo-source")
    write(x.W + "/cargo-source/config.toml", "# " + x.token)
    os.rename(x.W + "/cargo-source", x.W + "/.cargo")


@probe("plant", work_has_token(".git/modules/sub/hooks/post-checkout"))
def plant_rename_modules(x):
    """build a directory of hooks two levels below one that is then renamed to .git/modules"""
    os.makedirs(x.W + "/modules-source/sub/steps")
    write(x.W + "/modules-source/sub/steps/post-checkout", "# " + x.token)
    os.rename(x.W + "/modules-source/sub/steps", x.W + "/modules-source/sub/hooks")
    os.rename(x.W + "/modules-source", x.W + "/.git/modules")
