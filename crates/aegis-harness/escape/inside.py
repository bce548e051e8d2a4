"""The part of the battery that runs inside the sandbox: one process for each probe, one line for each result."""
import json
import os
import select
import sys
import time
from types import SimpleNamespace

from core import PROBES, Blocked, NotApplicable
from syscalls import PR_SET_PDEATHSIG, prctl

import probes_sanity  # noqa: F401  (the imports fill PROBES; their order is the order of the report)
import probes_read  # noqa: F401
import probes_write  # noqa: F401
import probes_meta  # noqa: F401
import probes_plants  # noqa: F401
import probes_process  # noqa: F401
import probes_net  # noqa: F401
import probes_ipc  # noqa: F401
import probes_exec  # noqa: F401
import probes_kernel  # noqa: F401
import probes_terminal  # noqa: F401
import probes_race  # noqa: F401

FACTS = ".fixture.json"
RESULT, END = "@@P ", "@@END"
FINISHED = ".probes_finished"


def chosen(x):
    """Returns the probes of this run."""
    return [p for p in PROBES if (not x.only or p.name in x.only or p.group in x.only)
            and p.name not in x.skip and p.group not in x.skip]


def attempt(probe, x):
    """Runs a probe and returns [outcome, detail, evidence]."""
    try:
        if probe.root and os.geteuid():
            raise NotApplicable("needs root")
        x.own = "%s/own/%s" % (x.W, probe.name)
        os.makedirs(x.own, exist_ok=True)
        evidence = probe.run(x)
        return ["OK", "", evidence if isinstance(evidence, str) else ""]
    except NotApplicable as error:
        return ["NA", str(error), ""]
    except Blocked as error:
        return ["NO", str(error), ""]
    except OSError as error:
        return ["NO", str(error.strerror or error), ""]
    except Exception as error:  # a fault of the probe is a result, too
        return ["ERR", "%s: %s" % (type(error).__name__, error), ""]


def run_probe(probe, x):
    """Runs a probe in a process of its own, which is killed when its time is over."""
    receive, send = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(receive)
            prctl(PR_SET_PDEATHSIG, 9)
            if os.getppid() == parent:
                os.write(send, json.dumps(attempt(probe, x)).encode())
        finally:
            os._exit(0)
    os.close(send)
    answer, ended, deadline = b"", None, time.monotonic() + x.timeout
    while time.monotonic() < deadline:
        if select.select([receive], [], [], 0.05)[0]:
            part = os.read(receive, 65536)
            if not part:
                break
            answer += part
            continue  # what the probe wrote is read before its end is looked at
        if ended is None:
            ended = collect(child)
        elif not select.select([receive], [], [], 0)[0]:
            break  # a process that the probe left behind holds the pipe open
    os.close(receive)
    for _ in range(50):
        ended = collect(child) if ended is None else ended
        if ended is not None:
            break
        time.sleep(0.01)
    if ended is None:
        os.kill(child, 9)
        os.waitpid(child, 0)
    if answer:
        return json.loads(answer)
    if ended is None:
        return ["ERR", "timeout", ""]
    if os.WIFSIGNALED(ended):
        return ["NO", "killed by signal %d" % os.WTERMSIG(ended), ""]
    return ["ERR", "no answer", ""]


def collect(child):
    """Returns the wait status of a child that has ended, else None."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return status if pid else None


def main(work):
    """Runs all probes of the run that the facts in the work directory describe."""
    with open(os.path.join(work, FACTS)) as file:
        x = SimpleNamespace(**json.load(file))
    x.runner = os.getpid()
    for probe in chosen(x):
        print(RESULT + json.dumps([probe.name] + run_probe(probe, x)), flush=True)
    open(os.path.join(work, FINISHED), "w").close()
    print(END, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
