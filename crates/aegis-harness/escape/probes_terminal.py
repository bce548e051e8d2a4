"""Attacks by the terminal, by what the launcher's environment has, by numbers of processes and by staying alive."""
import ctypes
import errno
import fcntl
import os
import signal
import socket
import termios
import time

from core import Blocked, NotApplicable, heard, message, probe, secret
from syscalls import sc

TIOCLINUX = 0x541C


@probe("tty", heard("sti"))
def tty_tiocsti(x):
    """TIOCSTI: type into the launcher's terminal"""
    fd = os.open("/dev/tty", os.O_RDWR)
    for byte in message(x, "sti"):
        fcntl.ioctl(fd, termios.TIOCSTI, bytes([byte]))


@probe("tty", heard("sti0"))
def tty_tiocsti_inherited(x):
    """the same on the terminal that is standard input, with upper bits of the request set, which the kernel ignores"""
    for byte in message(x, "sti0"):
        sc(16, 0, ctypes.c_ulong(termios.TIOCSTI | 1 << 32), bytes([byte]))


@probe("tty")
def tty_tioclinux(x):
    """TIOCLINUX: paste the selection of a console"""
    fd = os.open("/dev/tty", os.O_RDWR)
    try:
        fcntl.ioctl(fd, TIOCLINUX, b"\x06" + bytes(16))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            raise NotApplicable("a pseudoterminal has no TIOCLINUX")
        raise


@probe("tty", heard("ptswrite"))
def tty_other_write(x):
    """write to the terminal of another session by /dev/pts/N"""
    fd = os.open(x.pts, os.O_WRONLY | os.O_NOCTTY)
    os.write(fd, message(x, "ptswrite"))


@probe("tty", lambda host, evidence: host.terminal_lost(), root=True)
def tty_other_steal(x):
    """TIOCSCTTY with 1: take another session's terminal away"""
    os.setsid()
    fd = os.open(x.pts_owned, os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(fd, termios.TIOCSCTTY, 1)


@probe("env", secret("awskey"))
def env_secret(x):
    """AWS_SECRET_ACCESS_KEY of the launcher"""
    value = os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not value:
        raise Blocked("not in the environment")
    return value


@probe("env")
def env_bash(x):
    """BASH_ENV of the launcher, a file that each non-interactive bash would run"""
    if x.tag not in os.environ.get("BASH_ENV", ""):
        raise Blocked("not in the environment")


@probe("env", heard("agent"))
def env_ssh_agent(x):
    """connect to the agent that SSH_AUTH_SOCK of the launcher names (a server of the battery)"""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise Blocked("not in the environment")
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(message(x, "agent"))


@probe("limits")
def lim_fork_512(x):
    """have 512 processes at once"""
    children = []
    try:
        for _ in range(512):
            child = os.fork()
            if child == 0:
                try:
                    signal.alarm(20)
                    signal.pause()
                finally:
                    os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


def leave(x, *ignored):
    """Leaves a process behind that writes the time to a file; it ends some seconds after all probes."""
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    try:
        for fd in range(3):  # the terminal: who holds it open may be waited for
            os.close(fd)
        os.closerange(3, 256)
        finished, end = None, time.monotonic() + 300
        while time.monotonic() < end and (finished is None or time.monotonic() < finished + 15):
            if finished is None and os.path.exists(x.W + "/.probes_finished"):
                finished = time.monotonic()
            with open(x.own + "/late.new", "w") as file:
                file.write(str(time.time()))
            os.rename(x.own + "/late.new", x.own + "/late")
            time.sleep(0.1)
    finally:
        os._exit(0)


def alive(host, evidence):
    """The file still changes after the tool has ended."""
    return host.changes(host.own + "/late")


@probe("leftover", alive)
def left_daemon(x):
    """leave a process behind that still works when the tool has ended"""
    leave(x)


@probe("leftover", alive)
def left_deaf_daemon(x):
    """the same with a process that ignores the signals that can be ignored"""
    leave(x, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
