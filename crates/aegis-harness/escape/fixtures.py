"""The files of a run: what stands in the work and in the forbidden directory before, and how both are emptied."""
import contextlib
import json
import os
import re
import shutil

from core import write

SECRETS = ("id_rsa", "secret", "sibling", "script", "link", "xattr", "name", "env", "awskey", "mem", "shm", "sysv",
           "key")
MARKER = ".escape-battery"
PARTS = ("battery.py", "core.py", "inside.py", "syscalls.py")


def place(path, text="x" * 64, mode=0o644):
    """Makes a file and the directories above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(path, text)
    os.chmod(path, mode)


@contextlib.contextmanager
def swept(forbidden, *others):
    """Removes at the end what was not in the directories at the beginning; also what a killed run has left."""
    folders = (forbidden,) + others
    marker = forbidden + "/" + MARKER
    if os.path.exists(marker):
        sweep(folders, marker)
    write(marker, json.dumps([os.listdir(folder) for folder in folders]))
    try:
        yield
    finally:
        sweep(folders, marker)


def sweep(folders, marker):
    """Removes all that the marker does not name, the marker included."""
    with open(marker) as file:
        before = json.load(file)
    for folder, names in zip(folders, before):
        for name in set(os.listdir(folder)) - set(names) - {MARKER}:
            path = folder + "/" + name
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
    os.unlink(marker)


def forbidden(host, probes):
    """Fills the forbidden directory and the home."""
    F, H, secrets = host.F, host.H, host.secrets
    place(F + "/secret", secrets["secret"])
    place(H + "/.ssh/id_rsa", secrets["id_rsa"], 0o600)
    place(H + "/.bashrc", "# start-up file\n")
    for probe in probes:
        for name in probe.files:
            place(F + "/" + name)
        for name in probe.folders:
            os.makedirs(F + "/" + name, exist_ok=True)
    for name in ("v_through", "v_watched"):
        os.makedirs(F + "/" + name, exist_ok=True)
    place(F + "/v_xattr_read")
    os.symlink(secrets["link"], F + "/v_link")
    os.symlink("nothing", F + "/v_link_time")
    place(F + "/script.sh", "echo %s\n" % secrets["script"])
    os.makedirs(F + "/bin")
    os.makedirs(F + "/lib")
    shutil.copy("/bin/echo", F + "/bin/echo")
    with open("/proc/self/maps") as file:
        libraries = set(re.findall(r"\S*/lib[cm]\.so\.6$", file.read(), re.MULTILINE))
    for path in libraries | {os.path.dirname(path) + "/libm.so.6" for path in libraries}:
        shutil.copy(path, F + "/lib")
    if not host.state_given:
        place(F + "/state/ledger.db", "ledger")
    if not host.policy_given:
        place(host.policy, "{}")


def sibling(host, undo):
    """Makes a forbidden directory whose name begins with that of the work directory."""
    undo.callback(shutil.rmtree, host.sibling, True)
    place(host.sibling + "/secret", host.secrets["sibling"])
    if host.drop:
        give(host.uid, host.sibling)


def attributes(host, probes):
    """Sets what a change of owner would take away: extended attributes and set-id bits."""
    for probe in probes:
        for name in probe.files:
            path = host.F + "/" + name
            if name.endswith(".suid"):
                os.chmod(path, 0o4755)
            if name.endswith(".xattr"):
                set_xattr(path, "user.mark", b"1")
    set_xattr(host.F + "/v_xattr_read", "user.secret", host.secrets["xattr"].encode())


def set_xattr(path, name, value):
    """Sets an extended attribute, where the file system has them; probes that need it tell by themselves."""
    with contextlib.suppress(OSError):
        os.setxattr(path, name, value)


def work(host):
    """Fills the work directory: a repository to plant in, and the probes."""
    W = host.W
    place(W + "/.git/config", "[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
    place(W + "/.git/HEAD", "ref: refs/heads/main\n")
    for name in (".git/hooks", ".git/objects", ".git/refs", ".claude", ".git2src", ".listen", "own", ".battery"):
        os.makedirs(W + "/" + name)
    here = os.path.dirname(os.path.realpath(__file__))
    for name in os.listdir(here):
        if name in PARTS or name.startswith("probes_") and name.endswith(".py"):
            shutil.copyfile(here + "/" + name, W + "/.battery/" + name)


def give(uid, *folders):
    """Makes a user the owner of all that is in the directories."""
    for folder in folders:
        os.lchown(folder, uid, uid)
        for root, below, names in os.walk(folder):
            for name in below + names:
                os.lchown(os.path.join(root, name), uid, uid)
