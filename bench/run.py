#!/usr/bin/env python3
"""Measures what `aegis wrap` and `aegis run` cost, against the same commands run plainly.

Every row runs its command plainly and below Aegis in turns, so that a machine
that grows slower or faster during the run slows or quickens all. Only the standard
library is used. README.md beside this file says what each row means.
"""

import argparse
import json
import os
import re
import signal
import sys
import tempfile

sys.dont_write_bytecode = True  # the modules beside this file leave nothing behind

from files import ROOT, filesystem, remove
from processes import TimedOut, adopt_orphans, end_children
from rows import Bench
from table import COLUMNS, print_line, say

GROUPS = (
    "start", "policy", "cat", "git", "cargo",
    "run-start", "run-cat", "run-git", "run-cargo", "run-connect", "run-steps",
    "strace", "events", "ledger",
)
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the benchmark to end."""

    def __init__(self, signum):
        super().__init__(signum)
        self.signum = signum


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


def load_average():
    return ["%.2f" % value for value in os.getloadavg()]


def parse(arguments):
    parser = argparse.ArgumentParser(
        description="Measures what `aegis wrap` and `aegis run` cost, against plain execution.",
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
    bench = Bench(options, temp, environment(temp))
    if any(name.startswith("run-") for name in options.wanted):
        machine["enforcement"] = bench.grade()
        print("enforcement     %s" % machine["enforcement"])
    print("rounds          %d" % options.rounds)
    print()
    print_line([title for title, _, _ in COLUMNS])
    bench.all()
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
