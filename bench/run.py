#!/usr/bin/env python3
"""Measures what `aegis wrap` costs, against the same commands run plainly.

Every row runs its command plainly and wrapped in turns, so that a machine that
grows slower or faster during the run slows or quickens both. Only the standard
library is used. README.md beside this file says what each row means.
"""

import argparse
import collections
import ctypes
import json
import os
import random
import re
import shutil
import signal
import stat
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GROUPS = ("start", "policy", "cat", "git", "cargo", "strace", "events", "ledger")

START_FILES = 50_000
CAT_FILES = 6_000
CAT_BYTES = 700
GIT_COMMITS = 300
GIT_FILES = 400
CARGO_MODULES = 12
EVENT_FILES = 1_000
EVENT_PASSES = 1_000
STRACE_ROUNDS = 2

# How long processes that outlive their command are waited for.
STRAGGLER_SECONDS = 30.0
# Below this, what outlives a command is only the kernel's own delay.
STRAGGLER_NOTE_MS = 1.0
PEAK_ROLES = ("wrap", "child", "grandchild")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# name: (limit, unit, True if the value must stay at or below the limit)
BARS = {
    "start": (15.0, "ms", True),
    "policy": (20.0, "ms", True),
    "cat": (2.0, "x", True),
    "git": (1.3, "x", True),
    "cargo": (1.1, "x", True),
    "append": (50_000.0, "records/s", False),
    "verify": (300_000.0, "records/s", False),
    "memory": (64.0, "MiB", True),
}


class RowFailed(Exception):
    """The row could not be measured; the others still can."""


class TimedOut(Exception):
    """A run took longer than it may."""


class Stopped(BaseException):
    """A signal asked the benchmark to end."""

    def __init__(self, signum):
        super().__init__(signum)
        self.signum = signum


# ---------------------------------------------------------------------------
# Processes


def process_table():
    """The parent and the name of every process: {pid: (ppid, comm)}."""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % entry, "rb") as file:
                text = file.read()
        except OSError:
            continue
        # The name stands in parentheses and may hold some itself.
        left, right = text.find(b"("), text.rfind(b")")
        if left < 0 or right < 0:
            continue
        fields = text[right + 1 :].split()
        if len(fields) > 1:
            name = text[left + 1 : right].decode("utf-8", "replace")
            table[int(entry)] = (int(fields[1]), name)
    return table


def descendants(table, root):
    """Every process below `root`, parents before children."""
    children = collections.defaultdict(list)
    for pid, (ppid, _) in table.items():
        children[ppid].append(pid)
    found, queue = [], collections.deque([root])
    while queue:
        for pid in children.get(queue.popleft(), ()):
            found.append(pid)
            queue.append(pid)
    return found


def adopt_orphans():
    """Makes this process the parent of orphans below it, so none gets lost."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return libc.prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    except (OSError, AttributeError):
        return False


def reap():
    """Collects children that ended. True when none is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False


def wait_for_stragglers(seconds):
    """True when every process that was started has ended in time."""
    deadline = time.monotonic() + seconds
    while not reap():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


def end_children():
    """Ends what this process started, each by its id: asked first, then killed."""
    for signum, grace in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
        deadline = time.monotonic() + grace
        asked = set()
        while not reap():
            for pid in descendants(process_table(), os.getpid()):
                if pid in asked:
                    continue
                asked.add(pid)
                try:
                    os.kill(pid, signum)
                except OSError:
                    pass
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return


Outcome = collections.namedtuple("Outcome", "ms outlived_ms")


class Runner:
    """Runs commands one at a time and measures each by the wall clock."""

    def __init__(self, temp, env, timeout):
        self.env = env
        self.timeout = timeout
        self.errors = os.path.join(temp, "stderr")

    def run(self, argv, cwd, stdout=os.devnull, sampler=None):
        """Starts `argv` in `cwd` and waits for it. Raises when it fails."""
        # posix_spawn knows no folder to start in, so this process goes there.
        os.chdir(cwd)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, self.errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        defaults = [signal.SIGPIPE, signal.SIGXFSZ]  # Python ignores these two
        if sampler is not None:
            sampler.start()
        try:
            signal.setitimer(signal.ITIMER_REAL, self.timeout)
            try:
                begin = time.perf_counter()
                pid = os.posix_spawn(
                    argv[0], argv, self.env, file_actions=actions, setsigdef=defaults
                )
                if sampler is not None:
                    sampler.spawned = pid
                _, status = os.waitpid(pid, 0)
                end = time.perf_counter()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            ended = wait_for_stragglers(STRAGGLER_SECONDS)
            outlived = (time.perf_counter() - end) * 1000
        except TimedOut:
            end_children()
            raise RowFailed(
                "%s did not end in %g seconds and was ended" % (shown(argv), self.timeout)
            ) from None
        except OSError as error:
            end_children()
            raise RowFailed("%s did not run: %s" % (shown(argv), error)) from None
        finally:
            if sampler is not None:
                sampler.stop()
        if not ended:
            end_children()
            raise RowFailed(
                "%s left processes that were still there after %g seconds"
                % (shown(argv), STRAGGLER_SECONDS)
            )
        if status != 0:
            raise RowFailed("%s %s%s" % (shown(argv), how_it_ended(status), self.last_words()))
        return Outcome((end - begin) * 1000, outlived)

    def last_words(self):
        try:
            with open(self.errors, "rb") as file:
                lines = file.read()[-2000:].decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        lines = [line.strip() for line in lines if line.strip()]
        return ": " + " / ".join(lines[-3:]) if lines else ""

    def tool(self, argv, cwd, stdin=b""):
        """A command that prepares something; not measured. Gives its output."""
        try:
            done = subprocess.run(
                argv, cwd=cwd, env=self.env, input=stdin, timeout=self.timeout,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            )
        except subprocess.TimeoutExpired:
            raise RowFailed("%s did not end in time" % shown(argv)) from None
        except OSError as error:
            raise RowFailed("%s did not run: %s" % (shown(argv), error)) from None
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
            raise RowFailed("%s failed: %s" % (shown(argv), words))
        return done.stdout


def shown(argv):
    text = " ".join([os.path.basename(argv[0])] + list(argv[1:])).replace("\n", " ")
    return "`%s`" % (text if len(text) <= 100 else text[:97] + "...")


def how_it_ended(status):
    if os.WIFSIGNALED(status):
        return "was ended by signal %d" % os.WTERMSIG(status)
    return "ended with status %d" % os.WEXITSTATUS(status)


class Sampler(threading.Thread):
    """Reads the peak memory of every aegis process below this one.

    The kernel keeps the peak itself (VmHWM), so a sample only has to come after
    it. The processes are looked for now and then, their peaks are read often.
    """

    EARLY_SECONDS = 1.0  # new processes are looked for at every sample this long
    SCAN_SECONDS = 0.25
    SAMPLE_SECONDS = 0.01

    def __init__(self, aegis):
        super().__init__(daemon=True)
        self.aegis = os.path.realpath(aegis)
        self.spawned = None
        self.halt = threading.Event()
        self.tracked = {}  # pid: descriptor of its status
        self.depths = {}
        self.peaks = {}  # pid: KiB

    def run(self):
        begin = time.monotonic()
        scanned = None
        while not self.halt.wait(self.SAMPLE_SECONDS):
            now = time.monotonic()
            early = now - begin < self.EARLY_SECONDS
            if scanned is None or early or now - scanned >= self.SCAN_SECONDS:
                scanned = now
                self.scan()
            for pid in list(self.tracked):
                self.sample(pid)

    def stop(self):
        self.halt.set()
        if self.is_alive():
            self.join()
        for pid in list(self.tracked):
            self.forget(pid)

    def is_aegis(self, pid, name):
        if name.startswith("aegis"):
            return True
        try:
            return os.readlink("/proc/%d/exe" % pid) == self.aegis
        except OSError:
            return False

    def scan(self):
        table = process_table()
        own = os.getpid()
        for pid in descendants(table, own):
            if pid in self.tracked or not self.is_aegis(pid, table[pid][1]):
                continue
            try:
                self.tracked[pid] = os.open("/proc/%d/status" % pid, os.O_RDONLY)
            except OSError:
                continue
            depth, above = 0, table[pid][0]
            while above in table and above != own:
                depth += 1
                above = table[above][0]
            self.depths.setdefault(pid, depth)

    def sample(self, pid):
        try:
            text = os.pread(self.tracked[pid], 8192, 0)
        except OSError:
            self.forget(pid)
            return
        name = re.search(rb"^Name:\t(.*)$", text, re.M)
        if name and not self.is_aegis(pid, name.group(1).decode("utf-8", "replace")):
            # It was forked by aegis and has since become the command.
            self.forget(pid)
            self.peaks.pop(pid, None)
            return
        peak = re.search(rb"^VmHWM:\s+(\d+) kB$", text, re.M)
        if peak:
            self.peaks[pid] = max(self.peaks.get(pid, 0), int(peak.group(1)))

    def forget(self, pid):
        os.close(self.tracked.pop(pid))

    def result(self):
        """[(role, MiB)] of every process that was seen, the outermost first."""
        found = []
        for pid, kib in sorted(self.peaks.items(), key=lambda item: (self.depths[item[0]], item[0])):
            depth = self.depths[pid]
            if depth == 0 and pid != self.spawned:
                role = "orphan"  # what started it had ended before it was seen
            elif depth < len(PEAK_ROLES):
                role = PEAK_ROLES[depth]
            else:
                role = "depth %d" % depth
            found.append((role, kib / 1024))
        return found


# ---------------------------------------------------------------------------
# The table

COLUMNS = (
    ("row", 13, "<"), ("run", 20, "<"), ("rounds", 6, ">"), ("median", 18, ">"),
    ("fastest", 13, ">"), ("slowest", 13, ">"), ("to plain", 9, ">"),
    ("bar", 22, "<"), ("is", 4, "<"),
)


def print_line(cells):
    text = "  ".join(
        format(cell, "%s%d" % (align, width))
        for cell, (_, width, align) in zip(cells, COLUMNS)
    )
    print(text.rstrip(), flush=True)


def amount(value, unit):
    if unit == "x":
        return "%.3fx" % value
    if unit.endswith("/s"):
        return "{:,.0f} {}".format(value, unit)
    return "{:,.2f} {}".format(value, unit)


class Row:
    """One measured thing: the lines it has in the table and what is said of it."""

    def __init__(self, name):
        self.name = name
        self.state = "ran"
        self.lines = []
        self.notes = []
        self.void = False

    def line(self, run, value, unit, samples=None, ratio=None, bar=None, held=None):
        entry = {"run": run, "value": value, "unit": unit}
        if samples:
            entry.update(samples=samples, rounds=len(samples))
        if ratio is not None:
            entry["ratio"] = ratio
        if bar is not None:
            limit, of, below = BARS[bar]
            measured = value if held is None else held
            ok = measured <= limit if below else measured >= limit
            entry["bar"] = {
                "limit": limit, "unit": of, "at_most": below,
                "verdict": "void" if self.void else "ok" if ok else "over",
            }
        self.lines.append(entry)

    def note(self, text):
        self.notes.append(text)

    def check_home(self, size):
        """Without a ledger, nothing was observed and no bar was met."""
        if size == 0:
            self.void = True
            self.state = "not run"
            self.note("The home is empty after the wrapped runs: nothing was written to a ledger.")

    def print(self):
        for entry in self.lines:
            samples, bar = entry.get("samples"), entry.get("bar")
            limit = ""
            if bar:
                times = bar["unit"] == "x"
                number = "%.1fx" % bar["limit"] if times else "{:,.0f} {}".format(bar["limit"], bar["unit"])
                limit = "%s %s" % ("<=" if bar["at_most"] else ">=", number)
            print_line((
                self.name, entry["run"], str(len(samples)) if samples else "",
                amount(entry["value"], entry["unit"]),
                amount(min(samples), entry["unit"]) if samples else "",
                amount(max(samples), entry["unit"]) if samples else "",
                amount(entry["ratio"], "x") if "ratio" in entry else "",
                limit, bar["verdict"] if bar else "",
            ))
        for text in self.notes:
            print("%-13s  %s" % (self.name, text), flush=True)

    def json(self):
        return {"name": self.name, "state": self.state, "lines": self.lines, "notes": self.notes}


class Side:
    """One way to run a row's command.

    `argv` may be a list or a callable that prepares the run and gives one;
    `after` is called when the run has ended, with True for the warm-up.
    Neither counts.
    """

    def __init__(self, label, argv, after=None, optional=False):
        self.label = label
        self.argv = argv if callable(argv) else lambda: argv
        self.after = after or (lambda warming: None)
        self.optional = optional
        self.samples = []
        self.outlived = 0.0


# ---------------------------------------------------------------------------
# Files


def write(path, data):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def remove(path):
    """Removes a folder and everything in it, read-only folders as well."""
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    os.chmod(path, 0o700)
    for folder, names, _ in os.walk(path):
        for name in names:
            below = os.path.join(folder, name)
            if not os.path.islink(below):
                os.chmod(below, 0o700)
    shutil.rmtree(path)


def folder_bytes(path):
    """The bytes of the regular files below a folder."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                total += status.st_size
    return total


def filesystem(path):
    """The kind of file system a folder is on."""
    path, best, kind = os.path.realpath(path), "", "unknown"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return kind
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split()[4].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind


def pick(rng, things):
    # random() alone gives the same sequence in every version of Python.
    return things[int(rng.random() * len(things))]


WORDS = (
    "amber basin cedar delta ember fjord grove haven inlet jetty knoll ledge "
    "marsh north oasis plain quarry ridge slope tidal upland valley wharf yonder"
).split()


def text_line(rng):
    return " ".join(pick(rng, WORDS) for _ in range(8))


def git_stream():
    """A history for `git fast-import`, the same at every run."""
    rng = random.Random(20)
    paths = ["src/part%02d/file%03d.txt" % (n % 20, n) for n in range(GIT_FILES)]
    files = {path: [text_line(rng) for _ in range(60)] for path in paths}
    out = []
    for commit in range(GIT_COMMITS):
        if commit == 0:
            changed = paths
        else:
            changed = sorted({pick(rng, paths) for _ in range(6)})
            for path in changed:
                lines = files[path]
                for _ in range(3):
                    lines[int(rng.random() * len(lines))] = text_line(rng)
                lines.insert(int(rng.random() * len(lines)), text_line(rng))
        message = "Change %d: %s\n" % (commit, text_line(rng))
        person = "A Person <person@example.org> %d +0000" % (1_600_000_000 + commit * 3600)
        out.append("commit refs/heads/main\nauthor %s\ncommitter %s\n" % (person, person))
        out.append("data %d\n%s" % (len(message), message))
        for path in changed:
            body = "\n".join(files[path]) + "\n"
            out.append("M 100644 inline %s\ndata %d\n%s\n" % (path, len(body), body))
        out.append("\n")
    return "".join(out).encode("ascii")


MODULE = """\
use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Item{n} {{
    pub name: String,
    pub counts: Vec<u64>,
    pub inner: Option<Box<Item{n}>>,
}}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind{n} {{
    Small,
    Large(u32),
    Named {{ id: u64, weight: u16 }},
}}

impl fmt::Display for Item{n} {{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {{
        write!(f, "{{}}:", self.name)?;
        for count in &self.counts {{
            write!(f, " {{count:>4}}")?;
        }}
        match &self.inner {{
            Some(inner) => write!(f, " [{{inner}}]"),
            None => Ok(()),
        }}
    }}
}}

impl Kind{n} {{
    pub fn of(value: u64) -> Self {{
        match value % 3 {{
            0 => Kind{n}::Small,
            1 => Kind{n}::Large((value >> 1) as u32),
            _ => Kind{n}::Named {{ id: value, weight: (value & 0xff) as u16 }},
        }}
    }}
}}

pub fn tally(seed: u64) -> BTreeMap<String, Vec<Kind{n}>> {{
    let mut found: BTreeMap<String, Vec<Kind{n}>> = BTreeMap::new();
    for step in 0..16_u64 {{
        let value = helper::mix(seed.wrapping_add(step), {n});
        let item = Item{n} {{
            name: format!("item-{{}}", value % 5),
            counts: (0..4).map(|shift| value >> shift).collect(),
            inner: (step % 2 == 0).then(|| Box::new(Item{n}::default())),
        }};
        found.entry(item.to_string()).or_default().push(Kind{n}::of(value));
    }}
    found
}}
"""

HELPER = """\
pub fn mix(value: u64, salt: u64) -> u64 {
    let mut state = value ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..4 {
        state ^= state >> 29;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    state
}
"""


def make_crate(folder):
    """A crate of a dozen modules and one dependency beside it."""
    manifest = '[package]\nname = "%s"\nversion = "0.1.0"\nedition = "2021"\n'
    names = ["part%02d" % n for n in range(CARGO_MODULES)]
    main = "".join("mod %s;\n" % name for name in names) + "\nfn main() {\n"
    main += "".join('    println!("{:?}", %s::tally(%d));\n' % (name, n) for n, name in enumerate(names))
    os.makedirs(os.path.join(folder, "src"))
    os.makedirs(os.path.join(folder, "helper", "src"))
    files = {
        "Cargo.toml": manifest % "measured"
        + '\n[dependencies]\nhelper = { path = "helper" }\n\n[workspace]\nmembers = ["helper"]\n',
        "src/main.rs": main + "}\n",
        "helper/Cargo.toml": manifest % "helper",
        "helper/src/lib.rs": HELPER,
    }
    for n, name in enumerate(names):
        files["src/%s.rs" % name] = MODULE.format(n=n)
    for path, text in files.items():
        write(os.path.join(folder, path), text.encode("ascii"))


EVENTS_PROGRAM = """\
import os, sys
folder, files, passes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
paths = [os.path.join(folder, "file%04d" % n) for n in range(files)]
for _ in range(passes):
    for path in paths:
        os.close(os.open(path, os.O_RDONLY))
"""


# ---------------------------------------------------------------------------
# The rows


class Bench:
    def __init__(self, options, temp):
        self.options = options
        self.temp = temp
        self.rows = []
        self.runner = Runner(temp, environment(temp), options.timeout)
        self.made = {}

    def path(self, *parts):
        return os.path.join(self.temp, *parts)

    def program(self, name):
        found = shutil.which(name, path=self.runner.env.get("PATH"))
        if found is None:
            raise RowFailed("%s is not there" % name)
        return os.path.abspath(found)

    def wrapped(self, home, argv):
        return [self.options.aegis, "--home", home, "wrap", "--quiet", "--"] + argv

    def measure(self, row, sides, rounds, cwd, samplers=None):
        """Runs the sides in turns, the order turned round every other round."""
        for side in list(sides):
            try:
                self.runner.run(side.argv(), cwd)
            except RowFailed as error:
                if not side.optional:
                    raise
                row.note("%s cannot be compared here: %s." % (side.label, error))
                sides.remove(side)
                continue
            side.after(True)
        for number in range(rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                argv = side.argv()
                sampler = samplers(side) if samplers else None
                outcome = self.runner.run(argv, cwd, sampler=sampler)
                side.samples.append(outcome.ms)
                side.outlived = max(side.outlived, outcome.outlived_ms)
                side.after(False)

    def report(self, row, sides, bar=None, absolute=False):
        """One line for each side, the ratio being that of the medians."""
        plain = statistics.median(sides[0].samples)
        for side in sides:
            median = statistics.median(side.samples)
            ratio = None if side is sides[0] else median / plain
            held = side.label == "wrapped" and bar is not None
            row.line(
                side.label, median, "ms", samples=side.samples, ratio=ratio,
                bar=bar if held else None, held=None if absolute else ratio,
            )
        for side in sides:
            if side.outlived >= STRAGGLER_NOTE_MS:
                row.note(
                    "%s: something outlived the command by up to %.1f ms; "
                    "it is not in the time." % (side.label, side.outlived)
                )

    def compare(self, row, argv, cwd, bar, before=None):
        """Plain against wrapped, with a home that the warm-up makes."""
        home = self.path("homes", row.name.replace(" ", "-"))

        def ready(command):
            def make():
                if before is not None:
                    before()
                return command
            return make

        sides = [
            Side("plain", ready(argv)),
            Side("wrapped", ready(self.wrapped(home, argv))),
        ]
        if os.path.exists(self.options.answer_only):
            sides.append(Side("answered only", ready([self.options.answer_only] + argv)))
        else:
            row.note("%s is missing: what any observer costs is not shown." % self.options.answer_only)
        self.measure(row, sides, self.options.rounds, cwd)
        row.check_home(folder_bytes(home))
        self.report(row, sides, bar)
        remove_if_there(home)

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
        sides = [Side("plain", command), Side("wrapped", self.wrapped(home, command))]
        try:
            jail = [
                self.program("bwrap"), "--ro-bind", "/", "/", "--dev", "/dev",
                "--proc", "/proc", "--unshare-pid",
            ]
            sides.append(Side("bwrap", jail + command, optional=True))
        except RowFailed as error:
            row.note("%s, so it is not compared." % error)
        self.measure(row, sides, 3 * self.options.rounds, folder)
        row.check_home(folder_bytes(home))
        self.report(row, sides, "start", absolute=True)
        remove_if_there(home)

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
            Side("wrapped", self.wrapped(home, command)),
            Side("no policy", self.wrapped(self.path("homes", "no-policy"), command)),
        ]
        self.measure(row, sides, 3 * self.options.rounds, folder)
        row.check_home(folder_bytes(home))
        self.report(row, sides, "policy", absolute=True)

    def policy_cat(self, row):
        """Every read held against the template `project`, beside the same without policies."""
        argv, folder = self.cat_command(False)
        sides = [Side("plain", argv)]
        for label, options in (("no policy", []), ("policy", ["--policy", "project"])):
            home = self.path("homes", "cat-" + label.replace(" ", "-"))
            wrap = [self.options.aegis, "--home", home, "wrap", "--quiet"] + options
            sides.append(Side(label, wrap + ["--dir", folder, "--"] + argv))
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
                write(self.path("list-" + path), os.fsencode(listed))
            os.sync()
            self.made["cat"] = True
        listed = self.path("list-relative" if relative else "list-absolute")
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

    def all(self, wanted):
        if "start" in wanted:
            self.row("start", self.start)
            self.row("first start", self.first_start)
        if "policy" in wanted:
            self.row("policy", self.policy_start)
            self.row("policy cat", self.policy_cat)
        if "cat" in wanted:
            self.row("cat", self.cat, False)
            self.row("cat relative", self.cat, True)
        if "git" in wanted:
            self.row("git", self.git)
            self.row("git made", self.git_made)
        if "cargo" in wanted:
            self.row("cargo", self.cargo)
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


def remove_if_there(path):
    if os.path.lexists(path):
        remove(path)


def environment(temp):
    """What the commands are given: no settings of the person who runs this."""
    user = os.path.join(temp, "user")
    dropped = re.compile(
        r"AEGIS_|GIT_|XDG_(CONFIG|DATA|STATE|CACHE)_HOME$|CARGO|RUSTFLAGS$|RUSTC|RUSTDOC|OLDPWD$|PWD$"
    )
    env = {name: value for name, value in os.environ.items() if not dropped.match(name)}
    # A toolchain that rustup manages lies below the real home.
    rustup = os.environ.get("RUSTUP_HOME") or os.path.expanduser("~/.rustup")
    if os.path.isdir(rustup):
        env["RUSTUP_HOME"] = os.path.abspath(rustup)
    env.update(
        HOME=user, CARGO_HOME=os.path.join(user, "cargo"), TMPDIR=os.path.join(temp, "tmp"),
        GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull, LC_ALL="C",
    )
    return env


def say(text):
    print("run.py: %s" % text, file=sys.stderr, flush=True)


def load_average():
    return ["%.2f" % value for value in os.getloadavg()]


def parse(arguments):
    parser = argparse.ArgumentParser(
        description="Measures what `aegis wrap` costs, against plain execution.",
        epilog="Temporary files go below TMPDIR and are removed at the end. The exit "
        "status is 0 when every row ran, over its bar or not, and 1 when one did not.",
    )
    parser.add_argument(
        "--aegis", metavar="FILE", help="the program to measure (target/release/aegis)",
        default=os.path.join(ROOT, "target", "release", "aegis"),
    )
    parser.add_argument(
        "--answer-only", metavar="FILE",
        help="the program of the `answered only` lines (target/release/examples/answer-only)",
        default=os.path.join(ROOT, "target", "release", "examples", "answer-only"),
    )
    parser.add_argument(
        "--ledger-bench", metavar="FILE",
        help="the program of the ledger row (target/release/examples/ledger-bench)",
        default=os.path.join(ROOT, "target", "release", "examples", "ledger-bench"),
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds of a row (7)")
    parser.add_argument("--only", metavar="NAME,...", help="of " + ", ".join(GROUPS))
    parser.add_argument("--with-strace", action="store_true", help="compare with strace as well")
    parser.add_argument("--json", metavar="FILE", help="also write every sample to this file")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="of a single run (600)"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.timeout <= 0:
        parser.error("--timeout must be more than 0")
    if options.only is None:
        options.wanted = [name for name in GROUPS if name != "strace" or options.with_strace]
    else:
        options.wanted = [name.strip() for name in options.only.split(",") if name.strip()]
        for name in options.wanted:
            if name not in GROUPS:
                parser.error("no row is called %s; there are %s" % (name, ", ".join(GROUPS)))
        if not options.wanted:
            parser.error("--only names no row")
        if options.with_strace:
            options.wanted.append("strace")
    if not sys.platform.startswith("linux"):
        parser.error("the benchmark needs Linux")
    needs_aegis = set(options.wanted) - {"strace", "ledger"}
    if needs_aegis and not (os.path.isfile(options.aegis) and os.access(options.aegis, os.X_OK)):
        parser.error(
            "%s is not a program; build it with `cargo build --release`, or name one with --aegis"
            % os.path.relpath(options.aegis)
        )
    options.from_folder = os.getcwd()
    options.aegis = os.path.abspath(options.aegis)
    options.answer_only = os.path.abspath(options.answer_only)
    options.ledger_bench = os.path.abspath(options.ledger_bench)
    if options.json:
        options.json = os.path.abspath(options.json)
        if not os.path.isdir(os.path.dirname(options.json)):
            parser.error("the folder of --json is not there")
    below = os.path.realpath(tempfile.gettempdir())
    if (below + "/").startswith("/usr/"):
        parser.error("the temporary folder lies below /usr; name another with TMPDIR")
    return options


def stop(signum, _frame):
    # Once is enough: a second signal must not cut the cleaning up short.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped(signum)


def too_long(_signum, _frame):
    raise TimedOut()


def summary(rows):
    bars = [line["bar"]["verdict"] for row in rows for line in row.lines if "bar" in line]
    parts = ["%d bars: %d ok, %d over." % (len(bars), bars.count("ok"), bars.count("over"))]
    if "void" in bars:
        parts.append("%d void, because nothing was observed." % bars.count("void"))
    missing = [row.name for row in rows if row.state == "not run"]
    if missing:
        parts.append("Not measured in full: %s." % ", ".join(missing))
    return " ".join(parts)


def measure_all(options, temp):
    for name in ("homes", "tmp", "user"):
        os.mkdir(os.path.join(temp, name))
    system = os.uname()
    machine = {
        "kernel": "%s %s %s" % (system.sysname, system.release, system.machine),
        "cpus": os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0)),
        "filesystem": filesystem(temp),
        "load_at_start": load_average(),
    }
    print("kernel          %s" % machine["kernel"])
    print("CPUs            %d, of which %d usable" % (machine["cpus"], machine["usable_cpus"]))
    print("file system     %s" % machine["filesystem"])
    print("load at start   %s" % " ".join(machine["load_at_start"]))
    if float(machine["load_at_start"][0]) > machine["usable_cpus"] / 2:
        print("                The machine is busy; the times will be rough.")
    print("rounds          %d" % options.rounds)
    print()
    print_line([title for title, _, _ in COLUMNS])
    bench = Bench(options, temp)
    bench.all(options.wanted)
    machine["load_at_end"] = load_average()
    print()
    print("load at end     %s" % " ".join(machine["load_at_end"]))
    print(summary(bench.rows), flush=True)
    if options.json:
        whole = {
            "machine": machine, "rounds": options.rounds,
            "rows": [row.json() for row in bench.rows],
        }
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(whole, file, indent=1)
            file.write("\n")
    return 1 if any(row.state == "not run" for row in bench.rows) else 0


def main():
    options = parse(sys.argv[1:])
    temp = None
    try:
        for number in STOPPING:
            # What was ignored from the start, as below nohup, stays ignored.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, stop)
        signal.signal(signal.SIGALRM, too_long)
        if not adopt_orphans():
            say("processes that outlive their parent cannot be waited for here")
        temp = tempfile.mkdtemp(prefix="aegis-bench-")
        return measure_all(options, os.path.realpath(temp))
    except Stopped as stopped:
        say("ended by signal %d" % stopped.signum)
        return 128 + stopped.signum
    except BrokenPipeError:
        # Nobody reads the table any more; keep the last flush from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    finally:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        end_children()
        os.chdir("/")
        if temp is not None:
            remove(temp)


if __name__ == "__main__":
    sys.exit(main())
