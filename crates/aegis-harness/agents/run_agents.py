#!/usr/bin/env python3
"""Runs Claude Code and Codex as they are, plain and under `aegis wrap`, and checks that they work the same.

    run_agents.py --claude PATH --codex PATH [--aegis PATH]

The agents talk to mock_model.py and to nothing else. Each runs in print mode, in print mode with a model that refuses,
and with its full screen on a pseudoterminal, where the prompt is typed and the questions are answered as a user would.
Each run has a home, a workspace and a model of its own. With --aegis every run is done a second time with
`aegis --home H wrap --quiet --name X --` in front; then exit code, output and files must be those of the plain run,
and the exported ledger must have what the agent did.

Needs Linux and Python 3.9; Codex's own sandbox needs user namespaces. As root the agents run as another user, because
Claude Code refuses some of its modes to root. Prints a line for each check; exits with 1 if one failed.
"""
import argparse
import contextlib
import ctypes
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # the folder that this stands in stays as it is

from mock_model import COMMAND, FINAL_TEXT, WRITTEN
from terminal import Terminal

MADE = {WRITTEN["name"]: WRITTEN["content"], "shell.txt": "from-shell\n"}
MARK = COMMAND.partition(" >")[0]
OTHER_USER = 65534
PAUSE = 0.7  # between a text and Enter: together they would be taken for a paste
PR_SET_CHILD_SUBREAPER = 36


class Claude:
    """How Claude Code is set up, called and spoken to."""

    name = "claude"
    key = "sk-ant-api03-mock-key-for-tests-0000000000000000"
    print_orders, screen_orders = "write,shell", "write,shell"
    idle = r"(?m)^❯\s*$(?s:.*)\? for shortcuts"
    questions = [r"(?s)Do you want to create hello\.txt\?.*Esc to cancel",
                 r"(?s)Do you want to proceed\?.*Esc to cancel"]
    once = r"(?m)^\W*(\d)\. Yes$"
    leave = "/exit"

    def prepare(self, home, workspace, url):
        """Writes the configuration and returns the environment that goes with it."""
        state = {"hasCompletedOnboarding": True, "theme": "dark",
                 "customApiKeyResponses": {"approved": [self.key[-20:]], "rejected": []},
                 "projects": {str(workspace): {"hasTrustDialogAccepted": True}}}
        (home / ".claude.json").write_text(json.dumps(state))
        return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": self.key, "DISABLE_AUTOUPDATER": "1",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}

    def print_arguments(self, prompt):
        return ["-p", "--permission-mode", "acceptEdits", "--allowedTools", "Bash(echo:*)", "--", prompt]

    def screen_arguments(self):
        return []


class Codex:
    """How Codex is set up, called and spoken to."""

    name = "codex"
    print_orders, screen_orders = "write,shell", "write,escape"
    idle = r"(?m)\A(?!(?s:.*)^\s*loading$)(?s:.*)^› Ask Codex to do anything"
    questions = [r"(?s)Would you like to run the following command\?.*Press enter to confirm"]
    once = r"(?m)^\W*\d\. Yes, proceed \((\w)\)$"
    leave = "/quit"

    def __init__(self, daemon):
        self.daemon = daemon

    def prepare(self, home, workspace, url):
        """Writes the configuration and returns the environment that goes with it."""
        config = """
            model_provider = "mock"
            check_for_update_on_startup = false
            approval_policy = "on-request"
            sandbox_mode = "workspace-write"
            [sandbox_workspace_write]
            exclude_slash_tmp = true
            exclude_tmpdir_env_var = true
            [analytics]
            enabled = false
            [model_providers.mock]
            name = "mock"
            base_url = %s
            env_key = "MOCK_API_KEY"
            wire_api = "responses"
            request_max_retries = 0
            stream_max_retries = 0
            [projects.%s]
            trust_level = "trusted"
            """ % (json.dumps(url + "/v1"), json.dumps(str(workspace)))
        (home / ".codex").mkdir()
        (home / ".codex/config.toml").write_text(config)
        return {"MOCK_API_KEY": "mock-key"}

    def print_arguments(self, prompt):
        return ["exec", "--skip-git-repo-check", prompt]

    def screen_arguments(self):
        return [] if self.daemon else ["--no-daemon"]


class Processes:
    """What this script has started, however far it went: orphans come to this process."""

    def __init__(self):
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")

    @staticmethod
    def table():
        """Returns (parent, state, name) of each process of the machine by its id."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                before, _, after = path.read_text(errors="replace").rpartition(")")
                state, parent = after.split()[:2]
                found[int(path.parent.name)] = (int(parent), state, before.partition("(")[2])
        return found

    def living(self, but):
        """Returns the names of the descendants by their ids, without `but`; collects the dead ones."""
        table, inside = self.table(), {os.getpid()}
        while True:
            more = {pid for pid, (parent, _, _) in table.items() if parent in inside} - inside - {but}
            if not more:
                break
            inside |= more
        living = {}
        for pid in inside - {os.getpid()}:
            parent, state, name = table[pid]
            if state not in "ZX":
                living[pid] = name
            elif parent == os.getpid():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        return living

    def end_rest(self, but, grace=3.0):
        """Ends what is still there after some grace; returns the names."""
        deadline, left = time.monotonic() + grace, None
        while True:
            living = self.living(but)
            if not living:
                return sorted(left or [])
            if time.monotonic() > deadline:
                left = left or list(living.values())
                for pid in living:
                    kill(pid)
            time.sleep(0.02)


def kill(pid):
    """Kills the process that has the id at this moment, not one that comes to have it."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


class Stuck(Exception):
    """An agent did not come to where it should; the text says where, and what was seen."""


class Run:
    """One run of one agent and what came of it."""

    def __init__(self, setting, agent, mode, wrapped):
        self.setting, self.agent, self.mode = setting, agent, mode
        self.label = "%s %s %s" % (agent.name, mode, "wrapped" if wrapped else "plain")
        self.place = Path(tempfile.mkdtemp(prefix="agent-")).resolve()
        self.workspace = self.place / "ws"
        self.ledger_name = "%s-%s" % (agent.name, mode)
        self.front = [setting.aegis, "--home", str(self.place / "aegis"), "wrap", "--quiet",
                      "--name", self.ledger_name, "--"] if wrapped else []
        self.code = self.output = self.trouble = None
        self.seconds, self.left, self.records = 0.0, [], []

    def do(self):
        for name in ("home", "ws", "tmp"):
            (self.place / name).mkdir()
        model = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("mock_model.py")), "--workspace", str(self.workspace),
             "--log", str(self.place / "model.log")], stdout=subprocess.PIPE, text=True)
        try:
            if not select.select([model.stdout], [], [], self.setting.timeout)[0]:
                raise Stuck("the model did not start")
            how = self.prepare("http://127.0.0.1:%d" % int(model.stdout.readline()))
            start = time.monotonic()
            try:
                (self.on_screen if self.mode == "tui" else self.in_print_mode)(how)
            finally:
                self.seconds = time.monotonic() - start
            if self.front:
                self.export(how)
        except Stuck as stuck:
            self.trouble = str(stuck)
        finally:
            self.left = self.setting.processes.end_rest(but=model.pid)
            model.kill()
            model.communicate()
        self.files = {str(path.relative_to(self.workspace)): path.read_text(errors="replace")
                      for path in sorted(self.workspace.rglob("*")) if path.is_file()}

    def prepare(self, url):
        """Returns what Popen needs to know. A proxy that proxies nothing keeps the agent off other machines."""
        environment = {"HOME": str(self.place / "home"), "TMPDIR": str(self.place / "tmp"), "LANG": "C.UTF-8",
                       "PATH": "/usr/local/bin:/usr/bin:/bin", "SHELL": "/bin/bash", "TERM": "xterm-256color",
                       "HTTPS_PROXY": url, "https_proxy": url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        environment.update(self.agent.prepare(self.place / "home", self.workspace, url))
        user = self.setting.user
        if user is None:
            return {"env": environment, "cwd": self.workspace}
        for path in [self.place, *self.place.rglob("*")]:
            os.chown(path, user, user)
        return {"env": environment, "cwd": self.workspace, "user": user, "group": user, "extra_groups": []}

    def command(self, arguments):
        return self.front + [self.setting.paths[self.agent.name]] + arguments

    def in_print_mode(self, how):
        orders = "fail" if self.mode == "refused" else self.agent.print_orders
        command = self.command(self.agent.print_arguments("please mock:" + orders))
        with open(self.place / "stdout", "wb") as out, open(self.place / "stderr", "wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                                       start_new_session=True, **how)
            try:
                self.code = process.wait(self.setting.timeout)
            except subprocess.TimeoutExpired:
                raise Stuck("it did not end\n" + self.errors()) from None
            finally:
                process.kill()
                process.wait()
        self.output = (self.place / "stdout").read_text(errors="replace")

    def errors(self):
        with contextlib.suppress(OSError):
            return (self.place / "stderr").read_text(errors="replace")
        return ""

    def on_screen(self, how):
        terminal = Terminal(self.command(self.agent.screen_arguments()), owner=self.setting.user, **how)
        try:
            self.converse(terminal)
            self.code = terminal.process.returncode
        finally:
            terminal.process.kill()
            terminal.process.wait()
            terminal.close()

    def converse(self, terminal):
        def expect(what, came):
            if not came:
                raise Stuck("%s did not come; the screen:\n%s" % (what, terminal.screen.text()))

        def enter(text):
            terminal.write(text)
            expect("the typed text", terminal.wait_text(re.escape(text), limit))
            terminal.wait_quiet(PAUSE, 3 * PAUSE)
            terminal.write("\r")

        limit, agent = self.setting.timeout, self.agent
        expect("the idle screen", terminal.wait_text(agent.idle, limit))
        terminal.wait_quiet(PAUSE, 3 * PAUSE)
        enter("please mock:" + agent.screen_orders)
        for question in agent.questions:
            expect("the question %r" % question, terminal.wait_text(question, limit))
            terminal.wait_quiet(PAUSE, 3 * PAUSE)
            option = re.search(agent.once, terminal.screen.text())
            expect("the option %r" % agent.once, option)
            terminal.write(option.group(1))
            expect("the question's end",
                   terminal.wait(lambda q=question: not re.search(q, terminal.screen.text()), limit))
        expect("the last file", terminal.wait(lambda: all((self.workspace / name).exists() for name in MADE), limit))
        expect("the answer", terminal.wait_text(re.escape(FINAL_TEXT), limit))
        self.output = FINAL_TEXT
        expect("the idle screen", terminal.wait_text(agent.idle, limit))
        enter(agent.leave)
        expect("the end", terminal.wait(lambda: terminal.process.poll() is not None, limit))

    def export(self, how):
        command = [self.setting.aegis, "--home", str(self.place / "aegis"), "audit", "export", self.ledger_name,
                   "--format", "jsonl"]
        try:
            result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    timeout=self.setting.timeout, **how)
            (self.place / "export.jsonl").write_bytes(result.stdout)
            if result.returncode:
                raise Stuck("exit code %d\n%s" % (result.returncode, result.stderr.decode(errors="replace")))
            self.records = [json.loads(line) for line in result.stdout.splitlines()]
        except (subprocess.TimeoutExpired, ValueError, Stuck) as error:
            raise Stuck("the agent's exit code was %s; the export of the ledger failed: %s\n%s" % (
                self.code, error, self.errors())) from None


class Tree:
    """The processes of a session, by what its records say of them."""

    def __init__(self, records, agent):
        self.parents, self.root = {}, None
        for record in records:
            process = record.get("process")
            if process:
                self.parents.setdefault(process["pid"], process["ppid"])
            exe = text(resource(record, "ProcessSpawn").get("exe"))
            if self.root is None and exe and os.path.realpath(exe) == os.path.realpath(agent):
                self.root = process["pid"]

    def line(self, pid):
        """Returns the process and what is known of those above it."""
        line = [pid]
        while self.parents.get(line[-1]) not in (None, *line):
            line.append(self.parents[line[-1]])
        return line

    def has(self, pid):
        return self.root is not None and self.root in self.line(pid)


def resource(record, action):
    """Returns the resource of a record of that action; of another one nothing."""
    return record.get("resource", {}) if record.get("action") == action else {}


def text(value):
    """Returns a text of a record where it is one; bytes that are no text are not looked for here."""
    return value if isinstance(value, str) else ""


class Report:
    """The lines of the report."""

    failed = 0

    def check(self, run, what, good, detail=""):
        print("%-4s %s: %s" % ("ok" if good else "FAIL", run.label, what), flush=True)
        if not good:
            self.failed += 1
            print("".join("       %s\n" % line for line in str(detail).splitlines()), end="", flush=True)
        return good

    def done(self, run):
        print("--   %s: %.1f s%s" % (run.label, run.seconds, ", left behind: " + ", ".join(run.left) if run.left else ""))
        return self.check(run, "comes to its end", run.trouble is None, run.trouble)

    def plain(self, run):
        refused = run.mode == "refused"
        self.check(run, "exit code", run.code == (1 if refused else 0), "%s\n%s" % (run.code, run.errors()))
        self.check(run, "files", run.files == ({} if refused else MADE), run.files)
        if not refused:
            self.check(run, "answer", FINAL_TEXT in (run.output or ""), run.output)

    def wrapped(self, run, plain):
        for what, value, other in (("exit code", run.code, plain.code), ("files", run.files, plain.files),
                                   ("answer", run.output, plain.output)):
            self.check(run, what + " as without aegis", value == other, "%r, not %r\n%s" % (value, other, run.errors()))
        more = list(run.left)
        for name in plain.left:
            if name in more:
                more.remove(name)
        self.check(run, "no process left that isn't left without aegis", not more, more)
        self.audit(run)

    def audit(self, run):
        tree = Tree(run.records, run.setting.paths[run.agent.name])
        self.check(run, "a ProcessSpawn of the agent", tree.root is not None, "in %d records" % len(run.records))
        for name in run.files:
            path = str(run.workspace / name)
            found = [record for record in run.records if resource(record, "FileWrite").get("path") == path]
            self.lineage(run, "a FileWrite of %s by the agent or a process below it" % name, found, tree)
        if run.files:
            found = [record for record in run.records if MARK in spawned(resource(record, "ProcessSpawn"))
                     and record["process"]["pid"] != tree.root]
            self.lineage(run, "a ProcessSpawn of `%s` below the agent" % MARK, found, tree)

    def lineage(self, run, what, found, tree):
        detail = "no such record among %d" % len(run.records) if not found else "the agent is %s; found %s" % (
            tree.root, [tree.line(record["process"]["pid"]) for record in found])
        self.check(run, what, any(tree.has(record["process"]["pid"]) for record in found), detail)


def spawned(program):
    """Returns the command line of a program."""
    return " ".join([text(program.get("exe"))] + [text(argument) for argument in program.get("argv", [])])


@contextlib.contextmanager
def running(setting, report, agent, mode, wrapped):
    """Gives a run that is over, and removes its folder in the end."""
    run, before = Run(setting, agent, mode, wrapped), report.failed
    try:
        run.do()
        yield run
    finally:
        if setting.keep and report.failed > before:
            print("     %s: kept in %s" % (run.label, run.place))
        else:
            shutil.rmtree(run.place, ignore_errors=True)


def compare(setting, report, agent, mode):
    """Runs an agent plain and, where that came to its end and there is an aegis, wrapped."""
    with running(setting, report, agent, mode, wrapped=False) as plain:
        if report.done(plain):
            report.plain(plain)
    if setting.aegis and not plain.trouble:
        with running(setting, report, agent, mode, wrapped=True) as run:
            if report.done(run):
                report.wrapped(run, plain)


def options():
    parser = argparse.ArgumentParser(description="runs real agents plain and under `aegis wrap`, and compares")
    parser.add_argument("--claude", metavar="PATH", help="the program of Claude Code")
    parser.add_argument("--codex", metavar="PATH", help="the program of Codex")
    parser.add_argument("--aegis", metavar="PATH", help="the program of Aegis; without it the agents run plain only")
    parser.add_argument("--mode", action="append", choices=("print", "refused", "tui"), help="only this, repeatable")
    parser.add_argument("--daemon", action="store_true", help="let Codex's full screen start its daemon; it shares a "
                        "folder under /tmp with every Codex of the same user")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS", help="for each thing that is waited for")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a run that failed")
    chosen = parser.parse_args()
    if not chosen.claude and not chosen.codex:
        parser.error("give --claude, --codex or both")
    for name in ("claude", "codex", "aegis"):
        path = getattr(chosen, name)
        if path and not os.access(path, os.X_OK):
            parser.error("--%s: can't be executed: %s" % (name, path))
        setattr(chosen, name, path and os.path.abspath(path))
    return chosen


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    setting, report = options(), Report()
    setting.processes = Processes()
    setting.user = OTHER_USER if os.geteuid() == 0 else None
    setting.paths = {name: getattr(setting, name) for name in ("claude", "codex") if getattr(setting, name)}
    for agent in (Claude(), Codex(setting.daemon)):
        for mode in setting.mode or ("print", "refused", "tui"):
            if agent.name in setting.paths:
                compare(setting, report, agent, mode)
    print("%d failed" % report.failed if report.failed else "all passed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
