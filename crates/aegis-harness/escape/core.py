"""What probes are made of: the registry, the three ways to end, and the checks that the host makes."""
import os
import stat
import time
from collections import namedtuple

Probe = namedtuple("Probe", "name group doc run check files folders root")
PROBES = []


class Blocked(Exception):
    """The attack did not work."""


class NotApplicable(Exception):
    """The attack cannot be tried here, with or without a sandbox."""


def probe(group, check=None, files=(), folders=(), root=False):
    """Registers a probe.

    The function gets the facts of the run. To return means that the attack worked as seen from inside; the returned
    text is the evidence. OSError and Blocked mean that it did not. `check(host, evidence)` has the last word, outside.
    `files` and `folders` are made in the forbidden directory before. `root`: it works for the superuser only.
    """
    def register(run):
        doc = " ".join((run.__doc__ or "").split())
        PROBES.append(Probe(run.__name__, group, doc, run, check, tuple(files), tuple(folders), root))
        return run
    return register


def read(path):
    """Returns the first 4 KiB of a file."""
    with open(path, "rb") as file:
        return file.read(4096).decode("latin1")


def read_fd(fd):
    """Returns the first 4 KiB behind a descriptor and closes it."""
    with open(fd, "rb") as file:
        return file.read(4096).decode("latin1")


def write(path, text):
    """Makes a file or replaces what is in it."""
    with open(path, "w") as file:
        file.write(text)


def overwrite(path, text):
    """Writes to a file that is there."""
    with open(path, "r+") as file:
        file.write(text)


# Checks: what the host must see for an attack to count.

def secret(key):
    """The evidence has the secret that only the host knew."""
    return lambda host, evidence: host.secrets[key] in evidence


def _has(path, text):
    try:
        return text in read(path)
    except OSError:
        return False


def has_token(name):
    """The file in the forbidden directory has what the probe wrote."""
    return lambda host, evidence: _has(host.F + "/" + name, host.token)


def work_has_token(name):
    """The file in the work directory has what the probe wrote."""
    return lambda host, evidence: _has(host.W + "/" + name, host.token)


def gone(name):
    """Nothing of that name is left in the forbidden directory."""
    return lambda host, evidence: not os.path.lexists(host.F + "/" + name)


def exists(name):
    """Something of that name is in the forbidden directory."""
    return lambda host, evidence: os.path.lexists(host.F + "/" + name)


def status(name, good):
    """The status of the file in the forbidden directory satisfies `good`."""
    return lambda host, evidence: good(os.stat(host.F + "/" + name))


def mode(name, bits):
    """The file in the forbidden directory has these permissions."""
    return status(name, lambda found: stat.S_IMODE(found.st_mode) == bits)


def own_has(name, bits):
    """The file in the probe's own directory has one of these mode bits."""
    return lambda host, evidence: bool(os.stat(host.own + "/" + name).st_mode & bits)


def heard(word):
    """A server, a victim or a terminal of the host has got the probe's message."""
    def check(host, evidence):
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            if any("%s:%s\n" % (host.tag, word) in hit for hit in list(host.hits)):
                return True
            time.sleep(0.02)
        return False
    return check


def message(x, word):
    """Returns the bytes that `heard(word)` looks for."""
    return ("%s:%s\n" % (x.tag, word)).encode()
