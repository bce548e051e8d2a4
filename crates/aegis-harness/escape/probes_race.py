"""Attacks that change a name, or what it stands for, between the check and the use. Each lasts a second at most."""
import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import threading
import time

from core import Blocked, gone, has_token, mode, probe, secret, read_fd, write
from probes_write import exchange
from syscalls import AT_FDCWD, CLONE_FS, PR_SET_PDEATHSIG, libc, prctl, sc

DURATION = 1.0
OPEN, UNLINK, RENAME, CHMOD, LINK = 2, 87, 82, 90, 86


class Rival:
    """A process beside the probe that does something again and again until the race is over."""

    def __init__(self, act):
        self.act = act

    def __enter__(self):
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                end = time.monotonic() + 3 * DURATION
                while time.monotonic() < end and os.getppid() == parent:
                    self.act()
            finally:
                os._exit(0)
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Flip(Rival):
    """A path in shared memory, one byte of which another process flips between `a` and `b`."""

    def __init__(self, before, after=""):
        self.memory = mmap.mmap(-1, 8192)
        path = (before + "a" + after).encode()
        self.memory[:len(path)] = path
        self.at = len(before)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        super().__init__(self.flip)

    def flip(self):
        for _ in range(1000):
            self.memory[self.at] = 98
            self.memory[self.at] = 97


def race(attempt):
    """Repeats an attempt until it returns something true or the time is over."""
    end, last = time.monotonic() + DURATION, None
    while time.monotonic() < end:
        try:
            result = attempt()
            if result:
                return result
        except OSError as error:
            last = error if last is None or error.errno != errno.ENOENT else last
    raise Blocked("lost the race; last error: %s" % last)


def two_ways(x, target):
    """Makes own/a, a directory with a harmless `secret`, and own/b, a link to a forbidden directory."""
    os.mkdir(x.own + "/a")
    write(x.own + "/a/secret", "harmless")
    os.symlink(target, x.own + "/b")


def read_forbidden(fd):
    """Returns what is behind the descriptor if that is the forbidden file."""
    text = read_fd(fd)
    return text if text.startswith("SECRET") else None


@probe("race", secret("secret"))
def race_open_flip(x):
    """a byte of the path flips during open"""
    two_ways(x, x.F)
    with Flip(x.own + "/", "/secret") as path:
        return race(lambda: read_forbidden(sc(OPEN, path.address, os.O_RDONLY, 0)))


@probe("race", secret("secret"))
def race_openat2_flip(x):
    """the flags of openat2 stay, a byte of the path flips"""
    two_ways(x, x.F)
    how = struct.pack("<QQQ", os.O_RDONLY, 0, 0)
    with Flip(x.own + "/", "/secret") as path:
        return race(lambda: read_forbidden(sc("openat2", AT_FDCWD, path.address, how, len(how))))


def race_until(attempt):
    """Repeats an attempt for the whole time unless the probe itself can see that it worked."""
    end, succeeded, last = time.monotonic() + DURATION, 0, None
    while time.monotonic() < end:
        try:
            if attempt():
                return
            succeeded += 1
        except OSError as error:
            last = error
    if not succeeded:
        raise Blocked("lost the race; last error: %s" % last)


@probe("race", has_token("v_race_create/file"), folders=["v_race_create"])
def race_create_flip(x):
    """a byte of the path flips during the creation of a file"""
    two_ways(x, x.F + "/v_race_create")

    def attempt():
        fd = sc(OPEN, path.address, os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, x.token.encode())
        os.close(fd)
        return os.path.exists(x.own + "/b/file")
    with Flip(x.own + "/", "/file") as path:
        race_until(attempt)


@probe("race", gone("v_race_unlink/file"), files=["v_race_unlink/file"])
def race_unlink_flip(x):
    """a byte of the path flips during unlink"""
    two_ways(x, x.F + "/v_race_unlink")

    def attempt():
        write(x.own + "/a/file", "")
        sc(UNLINK, path.address)
        return os.path.exists(x.own + "/a/file")
    with Flip(x.own + "/", "/file") as path:
        race_until(attempt)


@probe("race", has_token("v_race_rename/file"), folders=["v_race_rename"])
def race_rename_flip(x):
    """a byte of the new path flips during rename"""
    two_ways(x, x.F + "/v_race_rename")

    def attempt():
        write(x.own + "/source", x.token)
        sc(RENAME, (x.own + "/source").encode(), path.address)
        landed = not os.path.exists(x.own + "/a/file")
        return landed or os.unlink(x.own + "/a/file")
    with Flip(x.own + "/", "/file") as path:
        race_until(attempt)


@probe("race", mode("v_race_chmod", 0o777), files=["v_race_chmod"])
def race_chmod_flip(x):
    """a byte of the path flips during chmod"""
    write(x.own + "/a", "")
    os.symlink(x.F + "/v_race_chmod", x.own + "/b")
    with Flip(x.own + "/") as path:
        race_until(lambda: sc(CHMOD, path.address, 0o777))


@probe("race", secret("secret"))
def race_link_flip(x):
    """a byte of the old path flips during link; the new name is then read"""
    two_ways(x, x.F)

    def attempt():
        sc(LINK, path.address, (x.own + "/hard").encode())
        try:
            return read_forbidden(os.open(x.own + "/hard", os.O_RDONLY))
        finally:
            os.unlink(x.own + "/hard")
    with Flip(x.own + "/", "/secret") as path:
        return race(attempt)


@probe("race", secret("secret"))
def race_swap_read(x):
    """a directory is exchanged with a link to the forbidden one during open"""
    two_ways(x, x.F)
    with Rival(lambda: exchange(x.own + "/a", x.own + "/b")):
        return race(lambda: read_forbidden(os.open(x.own + "/a/secret", os.O_RDONLY)))


@probe("race", secret("secret"))
def race_swap_last(x):
    """a file is exchanged with a link to the forbidden one during open"""
    write(x.own + "/a", "harmless")
    os.symlink(x.F + "/secret", x.own + "/b")
    with Rival(lambda: exchange(x.own + "/a", x.own + "/b")):
        return race(lambda: read_forbidden(os.open(x.own + "/a", os.O_RDONLY)))


@probe("race", gone("v_race_swap/file"), files=["v_race_swap/file"])
def race_swap_unlink(x):
    """a directory is exchanged with a link to the forbidden one during unlink"""
    two_ways(x, x.F + "/v_race_swap")

    def attempt():
        os.unlink(x.own + "/a/file")
        return True
    with Rival(lambda: exchange(x.own + "/a", x.own + "/b")):
        race_until(attempt)


@probe("race", mode("v_race_swap_chmod", 0o777), files=["v_race_swap_chmod"])
def race_swap_chmod(x):
    """a file is exchanged with a link to the forbidden one during chmod"""
    write(x.own + "/a", "")
    os.symlink(x.F + "/v_race_swap_chmod", x.own + "/b")
    with Rival(lambda: exchange(x.own + "/a", x.own + "/b")):
        race_until(lambda: os.chmod(x.own + "/a", 0o777))


def repeat(act):
    """Runs something again and again in a thread; returns the event that ends it."""
    over = threading.Event()

    def work():
        while not over.is_set():
            act()
    threading.Thread(target=work, daemon=True).start()
    return over


@probe("race", secret("secret"))
def race_thread_cwd(x):
    """a thread with a working directory of its own (unshared) opens by a relative path"""
    os.chdir(x.own)
    found = []

    def work():
        try:
            sc("unshare", CLONE_FS)
            os.chdir(x.F)
            found.append(read_fd(os.open("secret", os.O_RDONLY)))
        except OSError as error:
            found.append(error)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


@probe("race", secret("secret"))
def race_main_cwd(x):
    """the first thread leaves the shared working directory, another keeps it: which one does a check look at?"""
    os.chdir(x.F)
    found, moved, kept = [], threading.Event(), threading.Event()

    def work():
        try:
            sc("unshare", CLONE_FS)
            kept.set()
            moved.wait(5)
            found.append(read_fd(os.open("secret", os.O_RDONLY)))
        except OSError as error:
            found.append(error)
            kept.set()
    thread = threading.Thread(target=work)
    thread.start()
    kept.wait(5)
    os.chdir(x.own)
    moved.set()
    thread.join(5)
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


@probe("race", secret("secret"))
def race_cwd_flip(x):
    """a thread changes the working directory that all share while another opens by a relative path"""
    two_ways(x, x.F)

    def act():
        for name in ("/a", "/b"):
            try:
                os.chdir(x.own + name)
            except OSError:
                pass
    over = repeat(act)
    try:
        return race(lambda: read_forbidden(os.open("secret", os.O_RDONLY)))
    finally:
        over.set()


@probe("race", secret("secret"))
def race_fd_flip(x):
    """a thread has a descriptor stand for one directory and for the other while another opens below it"""
    two_ways(x, x.F)
    folders = [os.open(x.own + "/a", os.O_PATH), os.open(x.F, os.O_PATH)]
    fd = os.dup(folders[0])

    def act():
        for folder in folders:
            os.dup2(folder, fd)
    over = repeat(act)
    try:
        return race(lambda: read_forbidden(os.open("secret", os.O_RDONLY, dir_fd=fd)))
    finally:
        over.set()


@probe("race", secret("secret"))
def race_openat2_flags(x):
    """the path stays, the flags in memory flip between O_PATH and reading"""
    memory = mmap.mmap(-1, 4096)
    struct.pack_into("<QQQ", memory, 0, os.O_PATH, 0, 0)
    how = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    path = (x.F + "/secret").encode()

    def act():
        for _ in range(1000):
            struct.pack_into("<Q", memory, 0, os.O_RDONLY)
            struct.pack_into("<Q", memory, 0, os.O_PATH)

    def attempt():
        fd = sc("openat2", AT_FDCWD, path, how, 24)
        try:
            return read_forbidden(fd)
        except OSError as error:
            # Of an O_PATH descriptor nothing can be read.
            if error.errno != errno.EBADF:
                raise
            os.close(fd)
            return None
    with Rival(act):
        return race(attempt)


@probe("race")
def race_listen_other(x):
    """a socket that is bound to the loopback gives way to one that is not bound, by dup2, during listen"""
    bound, free = socket.socket(), socket.socket()
    bound.bind(("127.0.0.1", 0))
    fd = os.dup(bound.fileno())

    def act():
        for one in (free, bound):
            os.dup2(one.fileno(), fd)
    over = repeat(act)

    def attempt():
        libc.listen(fd, 1)
        if free.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return "listens on %s:%d" % free.getsockname()
        return None
    try:
        return race(attempt)
    finally:
        over.set()


@probe("race", secret("secret"))
def race_link_text(x):
    """a symbolic link is replaced by another, by rename, during open"""
    write(x.own + "/harmless", "harmless")
    os.symlink(x.own + "/harmless", x.own + "/link")

    def act():
        for target in (x.F + "/secret", x.own + "/harmless"):
            os.symlink(target, x.own + "/next")
            os.rename(x.own + "/next", x.own + "/link")
    with Rival(act):
        return race(lambda: read_forbidden(os.open(x.own + "/link", os.O_RDONLY)))


@probe("race", secret("secret"))
def race_swap_program(x):
    """another program, `cat`, opens while a directory is exchanged with a link to the forbidden one"""
    two_ways(x, x.F)
    os.symlink("/bin/cat", x.own + "/cat")

    def attempt():
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(send, 1)
            try:
                os.execv(x.own + "/cat", ["cat", x.own + "/a/secret"])
            finally:
                os._exit(1)
        os.close(send)
        text = read_fd(receive)
        os.waitpid(child, 0)
        return text if text.startswith("SECRET") else None
    with Rival(lambda: (exchange(x.own + "/a", x.own + "/b"), time.sleep(0.001))):
        return race(attempt)
