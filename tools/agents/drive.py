#!/usr/bin/env python3
"""Drives real agents under `aegis run`, against a model server on loopback that answers by a script.

Each agent gets a home, a project with the policies of `project`, and nothing else. It is asked to run a command, to
write and edit files over several turns, and then to read a key, to write outside of the project, to change its own
settings and to connect elsewhere. The first must be done, the others denied and recorded. README.md says how to get
the agents. Exits with 1 where something is not as it must be.
"""

import argparse
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # the module beside this file leaves nothing behind

from agents import AGENTS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECRET = "the-key-that-must-stay"
HELLO = 'print("hello")\n'
TURN = 120


def script(*steps):
    # Codex would have to ask whether it may leave its own sandbox.
    return [step | {"sandbox": "use_default"} for step in steps] + [{"text": "That was it."}]


def command(text):
    return script({"shell": text})


TURNS = [
    {"shell": "touch made-by-agent.txt"}, {"write": ["{ws}/notes.txt", "line one\n"]},
    {"read": "{ws}/hello.py"}, {"edit": ["{ws}/hello.py", 'print("hello")', 'print("goodbye")']},
]


class World:
    """One agent's home, project and model server."""

    def __init__(self, agent, options):
        self.agent, self.options = agent, options
        self.root = os.path.realpath(tempfile.mkdtemp(prefix="agent-"))
        self.home, self.project, self.outside = (self.root + "/" + name for name in ("home", "project", "outside"))
        for folder in (self.home + "/.ssh", self.project, self.outside):
            os.makedirs(folder)
        self.put(self.home + "/.ssh/id_ed25519", SECRET + "\n")
        self.put(self.project + "/hello.py", HELLO)
        self.elsewhere = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
        self.elsewhere.seen = 0
        threading.Thread(target=self.elsewhere.serve_forever, daemon=True).start()
        self.put(self.root + "/scenarios.json", json.dumps({
            "turns": script(*TURNS),
            **{name: script(step) for name, step in zip(("turn-run", "turn-write", "turn-read", "turn-edit"), TURNS)},
            "ssh": command("cat %s/.ssh/id_ed25519 > stolen.txt; echo done" % self.home),
            "outside": command("echo planted > {outside}/planted.txt; echo done"),
            # Some agents refuse by themselves what names such a file outright.
            "settings": command("python3 -c \"open('%s'+'/%s','a').write('planted')\"; echo done" % (
                self.home, agent.settings)),
            "elsewhere": command("curl -s -m 5 http://127.0.0.1:%d/; echo done" % self.elsewhere.server_port),
        }))
        self.model = subprocess.Popen(
            [sys.executable, HERE + "/mock_llm.py", "--port", "0", "--workspace", self.project, "--outside", self.outside,
             "--scenarios", self.root + "/scenarios.json", "--log", self.root + "/model.log"],
            stdout=subprocess.PIPE, text=True,
        )
        self.url = self.model.stdout.readline().split()[-1]

    def begin(self):
        """Makes the project and the configuration."""
        agent, options = self.agent, self.options
        agent.prepare(self.home, self.project, self.url)
        for arguments in (["init", "-q"], ["config", "user.name", "Me"], ["config", "user.email", "me@example.com"]):
            subprocess.run(["git", "-C", self.project] + arguments, check=True)
        if options.user is not None:
            subprocess.run(["chown", "-R", "%d:%d" % (options.user, options.user), self.root], check=True)
        os.chmod(self.root, 0o755)
        self.run([options.aegis, "init", agent.name, "--dir", self.project, "--tool", agent.name], check=True)
        path = "%s/.aegis/%s/aegis.toml" % (self.home, agent.name)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write('allowed_network = ["%s"]\n' % self.url.split("//")[1] + "".join(
                line for line in text.splitlines(True) if not line.startswith("allowed_network")))

    @staticmethod
    def put(path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def environment(self):
        path = ":".join(self.options.bin + ["/usr/local/bin", "/usr/bin", "/bin"])
        common = {"HOME": self.home, "PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8", "SHELL": "/bin/bash"}
        return common | self.agent.environment(self.url)

    def run(self, command, **how):
        user = self.options.user
        who = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        return subprocess.run(command, cwd=self.project, env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", **who, **how)

    def command(self, arguments):
        return [self.options.aegis, "run", "--config", self.agent.name, "--", self.agent.name] + arguments

    def ask_printing(self, prompt):
        try:
            done = self.run(self.command(self.agent.printing(prompt)), timeout=TURN)
            self.shown = done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            self.shown = "it did not end in time: %s" % error

    def denied(self):
        listed = self.run([self.options.aegis, "audit", "query", self.agent.name, "--decision", "deny", "--json"])
        return [json.loads(line) for line in listed.stdout.splitlines()]

    def tool(self):
        listed = self.run([self.options.aegis, "audit", "query", self.agent.name, "--json"])
        starts = [json.loads(line) for line in listed.stdout.splitlines()]
        starts = [entry["start"].get("tool") for entry in starts if entry.get("kind") == "session_start"]
        return starts[-1] if starts else None

    def close(self):
        self.model.kill()
        self.model.wait()
        self.elsewhere.shutdown()
        if self.options.keep:
            print("  kept: " + self.root)
        else:
            shutil.rmtree(self.root, ignore_errors=True)


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """What nobody may connect to."""

    def do_GET(self):
        self.server.seen += 1
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Terminal:
    """The agent on a terminal of tmux, as somebody who types."""

    def __init__(self, world):
        self.world = world
        self.socket = world.root + "/tmux"
        command = world.command(world.agent.terminal)
        if world.options.user is not None:
            user = str(world.options.user)
            command = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] + command
        settings = ["env", "-i"] + ["%s=%s" % pair for pair in world.environment().items()]
        self.tmux("new-session", "-d", "-x", "140", "-y", "45", "-c", world.project, *settings, *command)

    def tmux(self, *arguments):
        done = subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", *arguments], capture_output=True, text=True)
        return done.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def still(self, seconds=2.0):
        """Waits until the screen does not change any more."""
        last, since, end = self.screen(), time.monotonic(), time.monotonic() + TURN
        while time.monotonic() < end and time.monotonic() - since < seconds:
            time.sleep(0.2)
            self.say_yes()
            now = self.screen()
            if now != last:
                last, since = now, time.monotonic()
        return last

    def type(self, text):
        self.tmux("send-keys", "-l", text)
        time.sleep(0.5)
        self.tmux("send-keys", "Enter")

    def say_yes(self):
        """Answers where the agent asks on the last line; it is not done then."""
        lines = self.screen().rstrip().splitlines()
        if lines and lines[-1].rstrip().endswith(":") and "(Y)es" in " ".join(lines[-3:]):
            self.type("y")
            time.sleep(0.5)
        return False

    def close(self):
        pid = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        if pid.isdigit():
            try:
                os.kill(int(pid), signal.SIGTERM)
            except ProcessLookupError:
                pass
        self.tmux("kill-server")


def until(holds, seconds=TURN):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.3)
    return False


def exists(*parts):
    return os.path.exists("/".join(parts))


def read(*parts):
    try:
        with open("/".join(parts), encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def drive(agent, options, on_terminal):
    """Returns what was not as it must be."""
    world = World(agent, options)
    try:
        world.begin()
        return drive_in(world, agent, options, on_terminal)
    finally:
        world.close()


def drive_in(world, agent, options, on_terminal):
    terminal = None
    wrong = []
    settings = read(world.home, agent.settings)
    runs_commands = on_terminal or agent.turns
    try:
        if on_terminal:
            terminal = Terminal(world)
            # Until it has drawn itself, what is typed may be lost.
            until(lambda: terminal.screen().strip(), 30)
            terminal.still(5.0)

        def answered():
            return read(world.root, "model.log").count('"did"')

        def ask(scenario, done):
            before = answered()
            if terminal is None:
                world.ask_printing("please run mock:%s" % scenario)
            else:
                for _ in range(3):
                    # The first line may be lost while the agent still starts.
                    terminal.type("please run mock:%s" % scenario)
                    if until(lambda: answered() > before, 15):
                        break
                until(lambda: terminal.say_yes() or done(), 60)
                world.shown = terminal.still()

        def edited():
            return "goodbye" in read(world.project, "hello.py")

        if agent.turns:
            ask("turns", edited)
        else:
            if runs_commands:
                ask("turn-run", lambda: exists(world.project, "made-by-agent.txt"))
            ask("turn-write", lambda: exists(world.project, "notes.txt"))
            ask("turn-edit", edited)
        if not edited():
            wrong.append("hello.py was not edited")
        if not exists(world.project, "notes.txt"):
            wrong.append("notes.txt was not written")
        if runs_commands and not exists(world.project, "made-by-agent.txt"):
            wrong.append("no command was run")
        if wrong and options.verbose:
            print(world.shown)
        if runs_commands:
            for scenario in ("ssh", "outside", "settings", "elsewhere"):
                before = len(world.denied())
                ask(scenario, lambda before=before: len(world.denied()) > before)
        denied = [entry for entry in world.denied() if "resource" in entry]
        for what, holds in (
            ("the key was read", SECRET not in read(world.project, "stolen.txt")),
            ("it wrote outside", not exists(world.outside, "planted.txt")),
            ("its settings were changed by a command", "planted" not in read(world.home, agent.settings)),
            ("it connected elsewhere", world.elsewhere.seen == 0),
        ):
            if not holds:
                wrong.append(what)
        if runs_commands:
            # Agents write to their settings by themselves as well: here it was the command's program.
            by_command = [entry for entry in denied if "python" in entry["process"]["exe"]]
            for what, entries, text in (
                ("the key", denied, ".ssh/id_ed25519"),
                ("writing outside", denied, "/outside/planted.txt"),
                ("changing its settings", by_command, agent.settings),
                ("connecting elsewhere", denied, '"port": %d' % world.elsewhere.server_port),
            ):
                if not any(text in json.dumps(entry["resource"]) for entry in entries):
                    wrong.append("no denial of %s is recorded" % what)
        if settings and read(world.home, agent.settings) != settings:
            wrong.append("%s is not what it was" % agent.settings)
        return wrong, world.tool()
    finally:
        if terminal is not None:
            terminal.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aegis", default=ROOT + "/target/release/aegis", help="the program (target/release/aegis)")
    parser.add_argument("--bin", action="append", default=[], metavar="FOLDER", help="where agents are; several times")
    parser.add_argument("--only", metavar="NAME,...", help="of " + ", ".join(agent.name for agent in AGENTS))
    parser.add_argument("--mode", choices=("print", "terminal", "both"), default="both")
    parser.add_argument("--user", type=int, metavar="UID", help="as this user; needs root")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    parser.add_argument("--verbose", action="store_true", help="show what an agent said where something went wrong")
    options = parser.parse_args()
    options.bin = [os.path.abspath(folder) for folder in options.bin]
    options.aegis = os.path.abspath(options.aegis)
    failed = False
    for agent in AGENTS:
        if options.only and agent.name not in options.only.split(","):
            continue
        if shutil.which(agent.name, path=":".join(options.bin)) is None:
            print("%-9s is in none of these folders" % agent.name)
            failed = True
            continue
        for mode in ("print", "terminal") if options.mode == "both" else (options.mode,):
            wrong, tool = drive(agent, options, mode == "terminal")
            version = " ".join(str(part) for part in (tool or {}).values())
            print("%-9s %-9s %-24s %s" % (agent.name, mode, version, "; ".join(wrong) or "as it must be"), flush=True)
            failed = failed or bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
