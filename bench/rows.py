"""The rows: what is run, and how its sides are compared."""

import json
import os
import random
import re
import shutil
import socket
import statistics
import sys

from content import EVENTS_PROGRAM, GIT_COMMITS, git_stream, make_crate, text_line
from files import ROOT, folder_bytes, remove_if_there, write
from memory import Sampler
from processes import RowFailed, Runner
from table import BARS, Row, say

START_FILES = 50_000
CAT_FILES = 6_000
CAT_BYTES = 700
EVENT_FILES = 1_000
EVENT_PASSES = 1_000
STEP_CALLS = 4_000
# What the queue of a server holds (`net.core.somaxconn`).
CONNECTIONS = 4_096
STRACE_ROUNDS = 2

# The name of the configuration that `run` is given.
CONFIGURATION = "bench"
ENFORCED = "enforced"

# Below this, what outlives a command is only the kernel's own delay.
STRAGGLER_NOTE_MS = 1.0


def drain(server):
    """Takes the connections that wait, and closes them."""
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return


class Side:
    """One way to run a row's command.

    `argv` may be a list or a callable that prepares the run and gives one;
    `after` is called when the run has ended, with True for the warm-up.
    Neither counts. A side that is optional is left out where it does not run.
    The row is not measured in full then if the side is one of `run`.
    """

    def __init__(self, label, argv, bar=None, after=None, optional=False):
        self.label = label
        self.argv = argv if callable(argv) else lambda: argv
        self.bar = bar
        self.after = after or (lambda warming: None)
        self.optional = optional
        self.samples = []
        self.outlived = 0.0


class Bench:
    """Measures rows, one after another."""

    def __init__(self, options, temp, env):
        self.options = options
        self.temp = temp
        self.rows = []
        self.runner = Runner(temp, env, options.timeout)
        self.made = {}

    def path(self, *parts):
        return os.path.join(self.temp, *parts)

    def program(self, name):
        found = shutil.which(name, path=self.runner.env.get("PATH"))
        if found is None:
            raise RowFailed("%s is not there" % name)
        return os.path.abspath(found)

    def wrapped(self, home, argv, *options):
        return [self.options.aegis, "--home", home, "wrap", "--quiet", *options, "--"] + argv

    def enforced(self, row, home, folder, argv, bar=None, ready=lambda command: command):
        """Makes a configuration for the folder. Gives the side below `run`, where there can be one."""
        side = Side(ENFORCED, [], bar=bar, optional=True)
        # The programs of Cargo are where the user has them; all else of its home is the sandbox's own.
        cargo = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
        aegis = [self.options.aegis, "--home", home]
        try:
            self.runner.tool(aegis + ["init", CONFIGURATION, "--dir", folder], folder, CARGO_HOME=cargo)
        except RowFailed as error:
            self.leave_out(row, side, error)
            return []
        command = ready(aegis + ["run", "--config", CONFIGURATION, "--quiet", "--"] + argv)
        side.argv = command if callable(command) else lambda: command
        return [side]

    def check_enforced(self, row, sides, home):
        """Says whether the enforced runs were recorded, and what they were denied."""
        if all(side.label != ENFORCED for side in sides):
            return
        ledger = os.path.join(home, CONFIGURATION, "audit.db")
        row.check_home(os.path.getsize(ledger) if os.path.exists(ledger) else 0, "enforced")
        if row.void:
            return
        query = ["audit", "query", CONFIGURATION, "--decision", "deny", "--json"]
        lines = self.runner.tool([self.options.aegis, "--home", home] + query, home).splitlines()
        # What is not there is denied where it could not be seen; the command is told so either way.
        denied = [entry for entry in map(json.loads, lines) if entry.get("outcome") != "missing"]
        if denied:
            row.note(
                "enforced: %d calls were denied in all runs, the first of them %s of %s."
                % (len(denied), denied[0].get("action"), json.dumps(denied[0].get("resource")))
            )

    def grade(self):
        """What `run` can enforce on this machine, in its own words."""
        setup = [self.options.aegis, "--home", self.path("homes", "setup"), "setup", "--json"]
        try:
            for line in json.loads(self.runner.tool(setup, self.temp)):
                if line.get("check") == "enforcement":
                    return line.get("meaning")
        except (RowFailed, ValueError):
            pass
        return "`aegis setup` does not say"

    def measure(self, row, sides, rounds, cwd, samplers=None, stdout=os.devnull):
        """Runs the sides in turns, the order turned round every other round."""
        for side in list(sides):
            try:
                self.runner.run(side.argv(), cwd, stdout)
            except RowFailed as error:
                if not side.optional:
                    raise
                self.leave_out(row, side, error)
                sides.remove(side)
                continue
            side.after(True)
        for number in range(rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                argv = side.argv()
                sampler = samplers(side) if samplers else None
                outcome = self.runner.run(argv, cwd, stdout, sampler)
                side.samples.append(outcome.ms)
                side.outlived = max(side.outlived, outcome.outlived_ms)
                side.after(False)

    def leave_out(self, row, side, error):
        row.note("%s cannot be compared here: %s." % (side.label, error))
        if side.label == ENFORCED:
            row.state = "not run"

    def report(self, row, sides):
        """One line for each side, the ratio being that of the medians."""
        plain = statistics.median(sides[0].samples)
        for side in sides:
            median = statistics.median(side.samples)
            ratio = None if side is sides[0] else median / plain
            row.line(side.label, median, "ms", samples=side.samples, ratio=ratio, bar=side.bar)
        self.report_stragglers(row, sides)

    def report_stragglers(self, row, sides):
        for side in sides:
            if side.outlived >= STRAGGLER_NOTE_MS:
                row.note(
                    "%s: something outlived the command by up to %.1f ms; "
                    "it is not in the time." % (side.label, side.outlived)
                )

    def compare(self, row, argv, cwd, group, before=None):
        """Plain against wrapped and enforced, as far as they are wanted."""
        home = self.path("homes", row.name.replace(" ", "-"))
        run_home = home + "-run"

        def ready(command):
            def make():
                if before is not None:
                    before()
                return command
            return make

        sides = [Side("plain", ready(argv))]
        if group in self.options.wanted:
            sides.append(Side("wrapped", ready(self.wrapped(home, argv)), bar=group))
            sides += self.answered_only(row, argv, ready)
        if "run-" + group in self.options.wanted:
            sides += self.enforced(row, run_home, cwd, argv, "run-" + group, ready)
        self.measure(row, sides, self.options.rounds, cwd)
        if group in self.options.wanted:
            row.check_home(folder_bytes(home))
        self.check_enforced(row, sides, run_home)
        self.report(row, sides)
        for path in (home, run_home):
            remove_if_there(path)

    def answered_only(self, row, argv, ready=lambda command: command):
        if os.path.exists(self.options.answer_only):
            return [Side("answered only", ready([self.options.answer_only] + argv))]
        row.note("%s is missing: what any observer costs is not shown." % self.options.answer_only)
        return []

    def row(self, name, action, *arguments):
        """Measures one row. What goes wrong with it is said in its place."""
        row = Row(name)
        self.rows.append(row)
        say("measuring %s" % name)
        try:
            action(row, *arguments)
        except (RowFailed, OSError) as error:
            row.state = "not run"
            row.note("not run: %s" % error)
        row.print()

    # start

    def start_folder(self):
        folder = self.path("start")
        if "start" not in self.made:
            say("making %d files" % START_FILES)
            os.mkdir(folder)
            for number in range(START_FILES):
                write(os.path.join(folder, "file%05d" % number), b"%016d" % number)
            os.sync()
            self.made["start"] = True
        return folder

    def start(self, row):
        folder, command = self.start_folder(), [self.program("true")]
        home = self.path("homes", "start")
        sides = [Side("plain", command), Side("wrapped", self.wrapped(home, command), bar="start")]
        jail = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid"]
        sides += self.bwrap(row, jail, command)
        self.measure(row, sides, 3 * self.options.rounds, folder)
        row.check_home(folder_bytes(home))
        self.report(row, sides)
        remove_if_there(home)

    def bwrap(self, row, jail, command):
        """The same below another wrapper, where that is there."""
        try:
            return [Side("bwrap", [self.program("bwrap")] + jail + command, optional=True)]
        except RowFailed as error:
            row.note("%s, so it is not compared." % error)
            return []

    def first_start(self, row):
        folder, command = self.start_folder(), [self.program("true")]
        home, homes = self.path("homes", "first-start"), []

        def after(warming):
            homes.append(folder_bytes(home))
            remove_if_there(home)

        sides = [
            Side("plain", command),
            Side("wrapped", self.wrapped(home, command), after=after),
        ]
        self.measure(row, sides, 3 * self.options.rounds, folder)
        row.check_home(min(homes))
        self.report(row, sides)

    def run_start(self, row):
        folder, command = self.start_folder(), [self.program("true")]
        home = self.path("homes", "run-start")
        sides = [Side("plain", command)]
        sides += self.enforced(row, home, folder, command, "run-start")
        jail = ["--dev-bind", "/", "/", "--unshare-user", "--unshare-pid"]
        sides += self.bwrap(row, jail, command)
        self.measure(row, sides, 3 * self.options.rounds, folder)
        self.check_enforced(row, sides, home)
        self.report(row, sides)
        remove_if_there(home)

    def run_connect(self, row):
        """Connections to a server outside, one after another, timed by the program that makes them."""
        folder, home, output = self.path("connects"), self.path("homes", "run-connect"), self.path("connects-output")
        os.mkdir(folder)
        client = os.path.join(folder, "connects")
        source = os.path.join(ROOT, "bench", "connects.c")
        self.runner.tool([self.program("cc"), "-O2", "-o", client, source], folder)
        # The kernel completes connections that wait in the queue, so nobody has to take them while time is measured.
        with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as server:
            server.setblocking(False)
            port = server.getsockname()[1]
            argv = [client, str(port), str(CONNECTIONS // 2)]
            sides = [Side("plain", argv)] + self.enforced(row, home, folder, argv, "run-connect")
            settings = os.path.join(home, CONFIGURATION, "aegis.toml")
            if os.path.exists(settings):
                with open(settings) as file:
                    text = file.read()
                allowed = 'allowed_network = ["127.0.0.1:%d"]' % port
                write(settings, text.replace("allowed_network = []", allowed).encode())
            each = {}

            def reader(label):
                def read(warming):
                    drain(server)
                    if not warming:
                        with open(output, encoding="ascii") as file:
                            each.setdefault(label, []).append(float(file.read()))
                return read

            for side in sides:
                side.after = reader(side.label)
            self.measure(row, sides, 3 * self.options.rounds, folder, stdout=output)
        self.check_enforced(row, sides, home)
        plain = statistics.median(each["plain"])
        for side in sides:
            median = statistics.median(each[side.label])
            ratio = None if side is sides[0] else median / plain
            row.line(side.label, median, "us", samples=each[side.label], ratio=ratio, bar=side.bar)
        self.report_stragglers(row, sides)
        remove_if_there(home)

    # policy

    def policy_start(self, row):
        """A start with a set of 50 policies, as they are written for projects, hosts and names."""
        folder, command = self.start_folder(), [self.program("true")]
        home = self.path("homes", "policy-start")
        policies = os.path.join(home, "true", "policies")
        os.makedirs(policies, mode=0o700)
        for path in (home, os.path.join(home, "true"), policies):
            os.chmod(path, 0o700)
        kinds = (
            'permit (principal, action in Aegis::Action::"Read", resource in Aegis::Resource::"/srv/p%d");',
            'permit (principal, action in Aegis::Action::"Write", resource in Aegis::Resource::"/srv/p%d");',
            'permit (principal, action == Aegis::Action::"FileRead", resource) '
            'when { resource has path && resource.path like "/data/%d/*" };',
            'forbid (principal, action, resource) when { resource has extension && resource.extension == "k%d" };',
            'permit (principal, action == Aegis::Action::"NetConnect", resource) '
            'when { resource has host && resource.host == "h%d.example.com" };',
        )
        text = "\n".join(kinds[number % len(kinds)] % number for number in range(50)) + "\n"
        write(os.path.join(policies, "fifty.cedar"), text.encode("ascii"))
        os.chmod(os.path.join(policies, "fifty.cedar"), 0o600)
        write(os.path.join(home, "true", "aegis.toml"), b'name = "true"\n')
        sides = [
            Side("plain", command),
            Side("wrapped", self.wrapped(home, command), bar="policy"),
            Side("no policy", self.wrapped(self.path("homes", "no-policy"), command)),
        ]
        self.measure(row, sides, 3 * self.options.rounds, folder)
        row.check_home(folder_bytes(home))
        self.report(row, sides)

    def policy_cat(self, row):
        """Every read held against the template `project`, beside the same without policies."""
        argv, folder = self.cat_command(False)
        sides = [Side("plain", argv)]
        for label, options in (("no policy", []), ("policy", ["--policy", "project"])):
            home = self.path("homes", "cat-" + label.replace(" ", "-"))
            sides.append(Side(label, self.wrapped(home, argv, *options, "--dir", folder)))
        self.measure(row, sides, self.options.rounds, folder)
        self.report(row, sides)

    # cat

    def cat_command(self, relative):
        """One `cat` that is given every file. Gives (argv, folder)."""
        folder = self.path("cat")
        if "cat" not in self.made:
            say("making %d files" % CAT_FILES)
            rng, names = random.Random(6), []
            for number in range(CAT_FILES):
                leaf = number // 100
                below = "a%d/b%d/c%02d/d/e/f/g/h" % (leaf % 3, leaf // 3 % 4, leaf // 12)
                if number % 100 == 0:
                    os.makedirs(os.path.join(folder, below))
                name = "%s/file%04d.txt" % (below, number)
                body = "\n".join(text_line(rng) for _ in range(20)).encode("ascii")
                write(os.path.join(folder, name), body[: CAT_BYTES - 1].ljust(CAT_BYTES - 1) + b"\n")
                names.append(name)
            names.sort()
            for path, prefix in (("relative", ""), ("absolute", folder + "/")):
                listed = "".join("%s%s\n" % (prefix, name) for name in names)
                write(os.path.join(folder, "list-" + path), os.fsencode(listed))
            os.sync()
            self.made["cat"] = True
        listed = os.path.join(folder, "list-relative" if relative else "list-absolute")
        room = str(os.path.getsize(listed) + 4096)
        xargs = [
            self.program("xargs"), "-x", "-d", "\\n", "-n", str(CAT_FILES), "-s", room, "-a", listed,
        ]
        counted = self.runner.tool(xargs + [self.program("sh"), "-c", "echo $#", "sh"], folder)
        if counted.split() != [b"%d" % CAT_FILES]:
            raise RowFailed("xargs does not give all %d files to one command" % CAT_FILES)
        return xargs + [self.program("cat")], folder

    def cat(self, row, relative):
        argv, folder = self.cat_command(relative)
        if relative:
            # A shell that changes its directory and waits, as agents start most commands.
            argv = [self.program("sh"), "-c", 'cd "$0" && "$@" && true', folder] + argv
        self.compare(row, argv, folder, "cat")

    # git

    def git_command(self):
        """`git status` and `git log -p`. Gives (argv, folder)."""
        folder, git = self.path("git"), self.program("git")
        if "git" not in self.made:
            say("making a repository of %d commits" % GIT_COMMITS)
            os.mkdir(folder)
            tool = self.runner.tool
            tool([git, "init", "--quiet", "--template="], folder)
            for key, value in (
                ("gc.auto", "0"), ("maintenance.auto", "false"), ("core.fsmonitor", "false"),
                ("core.untrackedCache", "false"), ("core.autocrlf", "false"),
            ):
                tool([git, "config", key, value], folder)
            tool([git, "symbolic-ref", "HEAD", "refs/heads/main"], folder)
            tool([git, "fast-import", "--quiet"], folder, stdin=git_stream())
            tool([git, "reset", "--quiet", "--hard"], folder)
            count = tool([git, "rev-list", "--count", "HEAD"], folder).strip()
            if count != b"%d" % GIT_COMMITS:
                raise RowFailed("the repository did not come out whole")
            os.sync()
            self.made["git"] = True
        script = "git status >/dev/null && git log -p >/dev/null"
        return [self.program("sh"), "-c", script], folder

    def git(self, row):
        """In a clone of the repository that this file is in."""
        git, folder = self.program("git"), self.path("own")
        tool = self.runner.tool
        tool([git, "clone", "--quiet", "--no-hardlinks", ROOT, folder], self.path())
        tool([git, "config", "gc.auto", "0"], folder)
        script = "git status >/dev/null && git log -p >/dev/null"
        self.compare(row, [self.program("sh"), "-c", script], folder, "git")

    def git_made(self, row):
        argv, folder = self.git_command()
        self.compare(row, argv, folder, "git")

    # cargo

    def cargo(self, row):
        folder, cargo = self.path("crate"), self.program("cargo")
        make_crate(folder)
        self.runner.tool([cargo, "generate-lockfile", "--offline"], folder)
        target = os.path.join(folder, "target")
        self.compare(
            row, [cargo, "build", "--offline", "--quiet"], folder, "cargo",
            before=lambda: remove_if_there(target),
        )

    # steps

    def run_steps(self, row):
        """One call at a time, timed by the program that makes it."""
        folder, output = self.path("steps"), self.path("steps-output")
        home, policy_home, run_home = (
            self.path("homes", "steps" + kind) for kind in ("", "-policy", "-run")
        )
        os.mkdir(folder)
        for name in ["same"] + ["new%d" % number for number in range(STEP_CALLS)]:
            write(os.path.join(folder, name), b"%16s" % name.encode("ascii"))
        program = os.path.join(folder, "calls")
        source = os.path.join(ROOT, "bench", "calls.c")
        self.runner.tool([self.program("cc"), "-O2", "-o", program, source], folder)
        os.sync()
        argv = [program, folder, str(STEP_CALLS)]
        sides = [Side("plain", argv)] + self.answered_only(row, argv) + [
            Side("wrapped", self.wrapped(home, argv)),
            Side("policy", self.wrapped(policy_home, argv, "--policy", "project")),
        ]
        sides += self.enforced(row, run_home, folder, argv)
        kinds = {}  # name: {label: [microseconds]}

        def reader(label):
            def read(warming):
                if warming:
                    return
                with open(output, encoding="ascii") as file:
                    for line in file:
                        name, value = line.split()
                        kinds.setdefault(name, {}).setdefault(label, []).append(float(value))
            return read

        for side in sides:
            side.after = reader(side.label)
        self.measure(row, sides, self.options.rounds, folder, stdout=output)
        row.check_home(min(folder_bytes(home), folder_bytes(policy_home)))
        self.check_enforced(row, sides, run_home)
        for name, samples in kinds.items():
            plain = statistics.median(samples["plain"])
            for side in sides:
                median = statistics.median(samples[side.label])
                row.line(
                    "%s, %s" % (name, side.label), median, "us", samples=samples[side.label],
                    ratio=None if side.label == "plain" else median / plain,
                )
        self.report_stragglers(row, sides)
        for path in (home, policy_home, run_home):
            remove_if_there(path)

    # strace

    def strace(self, row, command, *arguments):
        tracer = [self.program("strace"), "-f", "-qq", "-e", "trace=file", "-o", os.devnull]
        argv, folder = command(*arguments)
        sides = [Side("plain", argv), Side("strace", tracer + argv)]
        self.measure(row, sides, STRACE_ROUNDS, folder)
        self.report(row, sides)

    # events

    def events(self, row):
        folder, home = self.path("events"), self.path("homes", "events")
        os.mkdir(folder)
        for number in range(EVENT_FILES):
            write(os.path.join(folder, "file%04d" % number), b"%04d\n" % number)
        os.sync()
        opens = EVENT_FILES * EVENT_PASSES
        warm = [True, True]  # of the plain and of the wrapped side
        sampled, homes = [], []

        def command(side):
            passes = 1 if warm[side] else EVENT_PASSES
            warm[side] = False
            return [
                os.path.abspath(sys.executable), "-I", "-S", "-c", EVENTS_PROGRAM,
                folder, str(EVENT_FILES), str(passes),
            ]

        def samplers(side):
            if side.label != "wrapped":
                return None
            sampled.append(Sampler(self.options.aegis))
            return sampled[-1]

        def after(warming):
            if not warming:
                homes.append(folder_bytes(home))
            remove_if_there(home)

        sides = [
            Side("plain", lambda: command(0)),
            Side("wrapped", lambda: self.wrapped(home, command(1)), after=after),
        ]
        self.measure(row, sides, max(1, self.options.rounds // 3), folder, samplers)
        row.check_home(min(homes))
        self.report(row, sides)
        seconds = statistics.median(sides[1].samples) / 1000
        row.line("rate", opens / seconds, "events/s")
        row.line("home afterwards", statistics.median(homes) / 2**20, "MiB")
        results = [sampler.result() for sampler in sampled]
        if not any(results):
            row.state = "not run"
            row.note("memory not measured: no process of aegis was seen below the wrapped run.")
            return
        # Of the rounds, the one that took most memory in all is shown.
        worst = max(results, key=lambda result: sum(mib for _, mib in result))
        for role, mib in worst:
            row.line("peak, %s" % role, mib, "MiB")
        row.line("peak, together", sum(mib for _, mib in worst), "MiB", bar="memory")

    # ledger

    def ledger(self, row):
        program = self.options.ledger_bench
        if not os.access(program, os.X_OK):
            raise RowFailed("%s is not there" % os.path.relpath(program, self.options.from_folder))
        folder, output = self.path("ledger"), self.path("ledger-output")
        os.mkdir(folder)
        self.runner.run([program], folder, stdout=output)
        with open(output, encoding="utf-8", errors="replace") as file:
            text = file.read()
        bars = {"append": "append", "verify": "verify", "peak": "memory"}
        seen = set()
        for line in text.splitlines():
            match = re.match(r"\s*(\w+)\s+([0-9][0-9.,_]*)\s*(\S+)\s*$", line)
            if match and match.group(1) in bars and match.group(1) not in seen:
                seen.add(match.group(1))
                value = float(re.sub("[,_]", "", match.group(2)))
                bar = bars[match.group(1)]
                if match.group(3) != BARS[bar][1]:
                    raise RowFailed("ledger-bench gives %s in %s" % match.group(1, 3))
                row.line(match.group(1), value, match.group(3), bar=bar)
            elif line.strip():
                row.note(line.strip())
        missing = [name for name in bars if name not in seen]
        if missing:
            raise RowFailed("ledger-bench did not say %s" % ", ".join(missing))

    def all(self):
        wanted = self.options.wanted
        if "start" in wanted:
            self.row("start", self.start)
            self.row("first start", self.first_start)
        if "policy" in wanted:
            self.row("policy", self.policy_start)
            self.row("policy cat", self.policy_cat)
        if "run-start" in wanted:
            self.row("run start", self.run_start)
        if "cat" in wanted or "run-cat" in wanted:
            self.row("cat", self.cat, False)
            self.row("cat relative", self.cat, True)
        if "git" in wanted or "run-git" in wanted:
            self.row("git", self.git)
            self.row("git made", self.git_made)
        if "cargo" in wanted or "run-cargo" in wanted:
            self.row("cargo", self.cargo)
        if "run-connect" in wanted:
            if shutil.which("cc"):
                self.row("run connect", self.run_connect)
            else:
                self.skip("run connect", "cc is not there, so connections are not measured.")
        if "run-steps" in wanted:
            if shutil.which("cc"):
                self.row("run steps", self.run_steps)
            else:
                self.skip("run steps", "cc is not there, so single calls are not measured.")
        if "strace" in wanted:
            if shutil.which("strace"):
                self.row("strace cat", self.strace, self.cat_command, False)
                self.row("strace cat r", self.strace, self.cat_command, True)
                self.row("strace git", self.strace, self.git_command)
            else:
                self.skip("strace", "strace is not there, so it is not compared.")
        if "events" in wanted:
            self.row("events", self.events)
        if "ledger" in wanted:
            self.row("ledger", self.ledger)

    def skip(self, name, why):
        row = Row(name)
        row.state = "skipped"
        row.note(why)
        self.rows.append(row)
        row.print()
