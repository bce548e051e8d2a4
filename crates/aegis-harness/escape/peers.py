"""What is outside the sandbox during a run: servers, victims, terminals, and the kernel's queues and keys."""
import ctypes
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

from core import read, write
from syscalls import PR_SET_CHILD_SUBREAPER, libc, prctl, sc

VICTIM = r"""
import ctypes, json, os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_DFL)
def heard(number, _):
    os.write(1, ("%s:sig%d\n" % (sys.argv[1], number)).encode())
for number in range(36, 60):
    signal.signal(number, heard)
secret = ctypes.create_string_buffer(sys.stdin.readline().strip().encode(), 128)
words = (ctypes.c_int64 * 8)()
fds = os.open(sys.argv[2] + "/secret", os.O_RDONLY), os.open(sys.argv[2] + "/v_victim_fd", os.O_RDWR)
print(json.dumps([ctypes.addressof(secret), ctypes.addressof(words), *fds]), flush=True)
while True:
    signal.pause()
"""
OWNER = r"""
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(os.open(sys.argv[1], os.O_RDWR), termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""
KEYS = r"""
import ctypes, sys
call = ctypes.CDLL(None, use_errno=True).syscall
user = ctypes.c_int(-4)
def find(name):
    return call(250, 10, user, b"user", name, 0)
if sys.argv[1] == "add":
    key = call(248, b"user", sys.argv[2].encode(), sys.argv[3].encode(), len(sys.argv[3]), user)
    call(250, 5, key, ctypes.c_uint(0x3f3f0000))
elif sys.argv[1] == "remove":
    for name in sys.argv[2:]:
        key = find(name.encode())
        if key > 0:
            call(250, 9, key, user)
else:
    print(open("/proc/keys").read())
"""


class Children:
    """All that a run has started, however far it went: orphans come to this process."""

    def __init__(self):
        prctl(PR_SET_CHILD_SUBREAPER, 1)

    @staticmethod
    def living():
        """Returns the ids of all descendants that have not ended."""
        parents, states = {}, {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                state, parent = read("/proc/%s/stat" % name).rpartition(")")[2].split()[:2]
            except OSError:
                continue
            parents[int(name)], states[int(name)] = int(parent), state
        inside, size = {os.getpid()}, 0
        while len(inside) > size:
            size = len(inside)
            inside |= {pid for pid, parent in parents.items() if parent in inside}
        return [pid for pid in inside - {os.getpid()} if states[pid] not in "ZX"]

    def end(self):
        """Kills them all and collects them."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            living = self.living()
            for pid in living:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                if not living:
                    return
            time.sleep(0.01)
        print("# processes are left: %s" % self.living(), file=sys.stderr)


class Servers:
    """Sockets of the host that write down what they are told."""

    def __init__(self, host, undo):
        self.host, self.undo = host, undo
        host.tcp = self.tcp(socket.AF_INET, "127.0.0.1")
        try:
            host.tcp6 = self.tcp(socket.AF_INET6, "::1")
        except OSError:
            host.tcp6 = 0
        host.hostip, host.tcpany = "", 0
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("192.0.2.1", 9))  # nothing is sent; this only chooses the address
                address = probe.getsockname()[0]
            host.hostip, host.tcpany = address, self.tcp(socket.AF_INET, address)
        except OSError:
            pass
        host.udp = self.udp(0)
        try:
            host.udplite = self.udp(136)
        except OSError:
            host.udplite = 0
        for name, kind in (("docker.sock", 1), ("bus", 1), ("agent.sock", 1), ("dgram.sock", 2)):
            self.unix(host.F + "/" + name, kind)
        self.unix("\0" + host.tag + "_abs", 1)
        self.unix("\0" + host.tag + "_absd", 2)
        host.tmpsock = "/tmp/%s.sock" % host.tag
        self.unix(host.tmpsock, 1)
        undo.callback(os.unlink, host.tmpsock)
        self.give_descriptors(host.F + "/fds.sock", host.F + "/secret")

    def serve(self, server, act):
        self.undo.callback(server.close)

        def loop():
            try:
                while True:
                    act(server)
            except OSError:
                pass
        threading.Thread(target=loop, daemon=True).start()

    def listen(self, server):
        def act(server):
            peer, _ = server.accept()
            with peer:
                peer.settimeout(2)
                try:
                    self.host.hits.append(peer.recv(4096).decode("latin1"))
                except OSError:
                    pass
        server.listen(16)
        self.serve(server, act)

    def receive(self, server):
        self.serve(server, lambda server: self.host.hits.append(server.recv(4096).decode("latin1")))

    def tcp(self, family, address):
        server = socket.socket(family)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        server.bind((address, 0))
        self.listen(server)
        return server.getsockname()[1]

    def udp(self, protocol):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, protocol)
        server.bind(("127.0.0.1", 0))
        self.receive(server)
        return server.getsockname()[1]

    def unix(self, path, kind):
        server = socket.socket(socket.AF_UNIX, kind)
        server.bind(path)
        if path[0] != "\0":
            os.chmod(path, 0o777)
        (self.listen if kind == socket.SOCK_STREAM else self.receive)(server)

    def give_descriptors(self, path, file):
        def act(server):
            peer, _ = server.accept()
            with peer, open(file) as given:
                socket.send_fds(peer, [b"x"], [given.fileno()])
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        os.chmod(path, 0o777)
        server.listen(4)
        self.serve(server, act)


class Victims:
    """Processes of the tool's user, outside the sandbox."""

    def __init__(self, host):
        environment = dict(host.environment, AEGIS_PROBE_SECRET=host.secrets["env"])
        victim = subprocess.Popen([host.python, "-c", VICTIM, host.tag, host.F], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, cwd=host.F, env=environment,
                                  start_new_session=True, **host.drop)
        victim.stdin.write(host.secrets["mem"] + "\n")
        victim.stdin.flush()
        host.victim = victim.pid
        host.secret_at, host.words_at, host.victim_fd, host.victim_rw = json.loads(victim.stdout.readline())
        threading.Thread(target=lambda: host.hits.extend(victim.stdout), daemon=True).start()
        self.kept = [victim]
        host.killed = self.sleeper(host)
        host.stopped, host.tuned = self.sleeper(host).pid, self.sleeper(host).pid

    def sleeper(self, host):
        process = subprocess.Popen(["sleep", "900"], env=host.environment, start_new_session=True, **host.drop)
        self.kept.append(process)
        return process


class Terminals:
    """The tool's terminal, and those of two other sessions."""

    def __init__(self, host, undo):
        self.host = host
        self.master, self.slave = self.make(undo)
        self.other, slave = self.make(undo)
        host.pts = os.ttyname(slave)
        _, slave = self.make(undo)
        host.pts_owned = os.ttyname(slave)
        self.owner = subprocess.Popen([host.python, "-c", OWNER, host.pts_owned], stdout=subprocess.PIPE, text=True)
        self.owner.stdout.readline()

    def make(self, undo):
        """Returns master and slave of a pseudoterminal that changes nothing of what passes."""
        master, slave = pty.openpty()
        undo.callback(os.close, master)
        undo.callback(os.close, slave)
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.OPOST
        attributes[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        termios.tcsetwinsize(slave, (40, 200)) if hasattr(termios, "tcsetwinsize") else fcntl.ioctl(
            slave, termios.TIOCSWINSZ, b"\x28\0\xc8\0\0\0\0\0")
        if self.host.drop:
            os.fchown(slave, self.host.uid, self.host.uid)
        return master, slave

    def listen(self):
        """Adds to the hits what was typed into the tool's terminal and written to the other session's."""
        for fd in (self.slave, self.other):
            text = b""
            while select.select([fd], [], [], 0)[0]:
                text += os.read(fd, 4096)
            self.host.hits.append(text.decode("latin1"))

    def lost(self):
        """Returns whether the other session has lost its terminal."""
        return read("/proc/%d/stat" % self.owner.pid).rpartition(")")[2].split()[4] == "0"


class Kernel:
    """Shared memory, queues, semaphores and keys of the host."""

    def __init__(self, host, undo):
        self.host = host
        self.shared_files(undo)
        self.memory(undo)
        self.messages = sc("msgget", host.sysv, 0o1666)
        undo.callback(libc.msgctl, self.messages, 0, None)
        self.semaphores = sc("semget", host.sysv, 1, 0o1666)
        undo.callback(libc.semctl, self.semaphores, 0, 0)
        self.posix = self.queue(undo)
        self.key("add", host.tag, host.secrets["key"])
        undo.callback(lambda: self.key("remove", host.tag, host.token))
        host.sysv_message, host.sysv_value, host.posix_message = self.sysv_message, self.sysv_value, self.posix_message
        host.keys = lambda: self.key("show")

    def shared_files(self, undo):
        for end, text in (("_r", self.host.secrets["shm"]), ("_o", "x")):
            path = "/dev/shm/" + self.host.tag + end
            write(path, text)
            if self.host.drop:
                os.chown(path, self.host.uid, self.host.uid)
        undo.callback(lambda: [os.unlink("/dev/shm/" + name) for name in os.listdir("/dev/shm")
                               if name.startswith(self.host.tag)])

    def memory(self, undo):
        segment = libc.shmget(self.host.sysv, ctypes.c_size_t(4096), 0o1666)
        address = libc.shmat(segment, None, 0)
        secret = self.host.secrets["sysv"].encode()
        ctypes.memmove(address, secret, len(secret))
        undo.callback(libc.shmctl, segment, 0, None)

    def queue(self, undo):
        mask = os.umask(0)
        try:
            queue = sc("mq_open", self.host.tag.encode(), os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o666, 0)
        except OSError:
            return None
        finally:
            os.umask(mask)
        undo.callback(lambda: (os.close(queue), sc("mq_unlink", self.host.tag.encode())))
        return queue

    def key(self, *arguments):
        return subprocess.run([self.host.python, "-c", KEYS, *arguments], capture_output=True, text=True,
                              **self.host.drop).stdout

    def sysv_message(self):
        data = ctypes.create_string_buffer(1024)
        sc("msgrcv", self.messages, data, 1000, 0, 0x800)
        return data.raw.decode("latin1")

    def sysv_value(self):
        return sc("semctl", self.semaphores, 0, 12, 0)

    def posix_message(self):
        data = ctypes.create_string_buffer(65536)
        sc("mq_timedreceive", self.posix, data, 65536, 0, 0)
        return data.raw.decode("latin1")


def set_uid_program(host, undo):
    """Makes a set-uid program of root, for a tool that runs as another user."""
    host.suid = None
    if host.drop:
        folder = "/opt/" + host.tag
        undo.callback(shutil.rmtree, folder, True)
        os.makedirs(folder)
        host.suid = folder + "/id"
        shutil.copy("/usr/bin/id", host.suid)
        os.chmod(host.suid, 0o4755)
