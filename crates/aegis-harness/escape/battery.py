#!/usr/bin/env python3
"""An escape battery for process sandboxes on Linux, x86-64.

    battery.py run --work W --forbidden F [--uid N] [--state DIR] [--policy FILE] [--json FILE] -- TOOL ARGS...

Runs outside the sandbox. It makes fixtures in W, which the sandbox must let read and write, and in F, which it must
forbid; F/home is the tool's $HOME. It starts servers and victims on this machine, then

    TOOL ARGS... python3 W/.battery/battery.py probe --work W

on a pseudoterminal, and judges from outside what each probe has reached. In ARGS {W}, {F} and {H} stand for the work,
the forbidden and the home directory. Without TOOL there is no sandbox: the baseline, in which attacks work.

    battery.py probe --work W        what `run` starts inside the sandbox
    battery.py list                  names, groups and a line on each probe

A line for each probe: NAME VERDICT DETAIL.

    ALLOWED  the attack worked: the secret was read, the host's file has changed, the server got the message
    BLOCKED  it did not; "contained": the call succeeded inside, and the host saw nothing of it
    ERROR    not applicable here, or the probe itself failed

Probes of the group "sanity" are honest work and must be ALLOWED. All is aimed at fixtures of this script and at the
loopback interface; no real secret is read. All processes and files that a run makes are removed at its end.
"""
import argparse
import os
import sys

sys.dont_write_bytecode = True  # the folder that this stands in stays as it is


def parser():
    """Returns the parser of the command line, up to `--`."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--work", required=True)
    run.add_argument("--forbidden", required=True)
    run.add_argument("--home", default="", help="$HOME of the tool (default F/home)")
    run.add_argument("--uid", type=int, default=0, help="run tool and victims as this user and group (as root only)")
    run.add_argument("--user", default="aegis-probe", help="$USER of the tool")
    run.add_argument("--state", default="", help="the tool's own state: database, sessions (default: a fixture)")
    run.add_argument("--policy", default="", help="the tool's policy file (default: a fixture)")
    run.add_argument("--json", default="", help="write [{name, group, verdict, detail}] to this file")
    run.add_argument("--only", default="", help="names of probes or groups, separated by commas")
    run.add_argument("--skip", default="", help="the same, left out")
    run.add_argument("--env", action="append", default=[], help="K=V for the tool's environment")
    run.add_argument("--timeout", type=float, default=12.0, help="seconds for each probe")
    run.add_argument("--total", type=float, default=300.0, help="seconds for all")
    run.add_argument("--python", default="/usr/bin/python3")
    run.add_argument("--self", default="", help="path of battery.py inside the sandbox (default: a copy in W)")
    run.add_argument("--shell-join", action="store_true", help="give the inner command as one word of a shell")
    run.add_argument("--raw", default="", help="write what the tool printed to this file")
    run.add_argument("--keep", action="store_true", help="leave the files in W and F")
    inner = commands.add_parser("probe")
    inner.add_argument("--work", required=True)
    commands.add_parser("list")
    return top


def main():
    arguments, tool = sys.argv[1:], []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, tool = arguments[:cut], arguments[cut + 1:]
    options = parser().parse_args(arguments)
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
    if options.command == "run":
        import host
        return host.run(options, tool)
    import inside
    if options.command == "probe":
        return inside.main(options.work)
    for probe in inside.PROBES:
        print("%-28s %-10s %s" % (probe.name, probe.group, probe.doc))
    return 0


if __name__ == "__main__":
    sys.exit(main())
