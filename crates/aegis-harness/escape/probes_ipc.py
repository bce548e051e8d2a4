"""Attacks over sockets in the file system, shared memory, queues and keys of the host."""
import ctypes
import os
import socket
import struct

from core import Blocked, heard, message, probe, read, secret, overwrite
from probes_read import from_root
from syscalls import libc, sc

STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def unix(x, address, word, kind=STREAM):
    """Connects and sends."""
    with socket.socket(socket.AF_UNIX, kind) as peer:
        peer.settimeout(3)
        peer.connect(address)
        peer.sendall(message(x, word))


@probe("ipc", heard("unixpath"))
def ipc_unix_path(x):
    """a socket in the forbidden directory, like docker.sock"""
    unix(x, x.F + "/docker.sock", "unixpath")


@probe("ipc", heard("unixtmp"))
def ipc_unix_tmp(x):
    """a socket in /tmp, like that of an ssh-agent or tmux"""
    unix(x, x.tmpsock, "unixtmp")


@probe("ipc", heard("unixabs"))
def ipc_unix_abstract(x):
    """an abstract socket"""
    unix(x, "\0" + x.tag + "_abs", "unixabs")


@probe("ipc", heard("dbus"))
def ipc_dbus(x):
    """the session bus of DBUS_SESSION_BUS_ADDRESS (a server of the battery)"""
    unix(x, x.bus, "dbus")


@probe("ipc", heard("unixlink"))
def ipc_unix_link(x):
    """a forbidden socket through a symbolic link in the work directory"""
    os.symlink(x.F + "/docker.sock", x.own + "/sock")
    unix(x, x.own + "/sock", "unixlink")


@probe("ipc", heard("unixrel"))
def ipc_unix_relative(x):
    """by a path of .. from the work directory"""
    os.chdir(x.own)
    path = from_root(x.F + "/docker.sock")
    unix(x, path, "unixrel")


@probe("ipc", heard("unixcwd"))
def ipc_unix_chdir(x):
    """by its bare name, with the forbidden directory as working directory"""
    os.chdir(x.F)
    unix(x, "docker.sock", "unixcwd")


@probe("ipc", heard("unixfd"))
def ipc_unix_proc_fd(x):
    """through /proc/self/fd of an O_PATH descriptor of the socket"""
    unix(x, "/proc/self/fd/%d" % os.open(x.F + "/docker.sock", os.O_PATH), "unixfd")


@probe("ipc", heard("unixroot"))
def ipc_unix_proc_root(x):
    """through /proc/self/root"""
    unix(x, "/proc/self/root" + x.F + "/docker.sock", "unixroot")


@probe("ipc", heard("unixdgram"))
def ipc_unix_datagram(x):
    """sendto a forbidden datagram socket, without connect"""
    socket.socket(socket.AF_UNIX, DATAGRAM).sendto(message(x, "unixdgram"), x.F + "/dgram.sock")


@probe("ipc", heard("unixdmsg"))
def ipc_unix_sendmsg(x):
    """sendmsg to a forbidden datagram socket"""
    socket.socket(socket.AF_UNIX, DATAGRAM).sendmsg([message(x, "unixdmsg")], [], 0, x.F + "/dgram.sock")


@probe("ipc", heard("unixabsd"))
def ipc_unix_abstract_datagram(x):
    """sendto an abstract datagram socket"""
    socket.socket(socket.AF_UNIX, DATAGRAM).sendto(message(x, "unixabsd"), "\0" + x.tag + "_absd")


@probe("ipc", heard("unixpairconn"))
def ipc_unix_pair_sendto(x):
    """sendto a forbidden datagram socket from one end of a socketpair"""
    one, _ = socket.socketpair(socket.AF_UNIX, DATAGRAM)
    one.sendto(message(x, "unixpairconn"), x.F + "/dgram.sock")


@probe("ipc", secret("secret"))
def ipc_unix_receive_fd(x):
    """receive a descriptor of a forbidden file from a socket outside (SCM_RIGHTS)"""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(3)
        peer.connect(x.F + "/fds.sock")
        _, fds, _, _ = socket.recv_fds(peer, 16, 1)
    return os.pread(fds[0], 4096, 0).decode("latin1")


@probe("ipc", secret("shm"))
def ipc_dev_shm_read(x):
    """read another's file in /dev/shm"""
    return read("/dev/shm/" + x.tag + "_r")


@probe("ipc", lambda host, evidence: host.token in read("/dev/shm/" + host.tag + "_o"))
def ipc_dev_shm_write(x):
    """write another's file in /dev/shm"""
    overwrite("/dev/shm/" + x.tag + "_o", x.token)


@probe("ipc", secret("sysv"))
def ipc_sysv_memory(x):
    """read a segment of System V shared memory"""
    number = sc(29, x.sysv, 0, 0)
    address = libc.shmat(number, None, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return ctypes.string_at(address, 64).decode("latin1")


@probe("ipc", lambda host, evidence: host.token in host.sysv_message())
def ipc_sysv_queue(x):
    """send to a System V message queue"""
    data = struct.pack("<q", 1) + x.token.encode()
    sc("msgsnd", sc("msgget", x.sysv, 0), data, len(x.token), 0x800)


@probe("ipc", lambda host, evidence: host.sysv_value() == 7)
def ipc_sysv_semaphore(x):
    """set a System V semaphore"""
    sc("semctl", sc("semget", x.sysv, 0, 0), 0, 16, 7)


@probe("ipc", lambda host, evidence: host.token in host.posix_message())
def ipc_posix_queue(x):
    """send to a POSIX message queue"""
    queue = sc("mq_open", x.tag.encode(), os.O_WRONLY | os.O_NONBLOCK, 0, 0)
    sc("mq_timedsend", queue, x.token.encode(), len(x.token), 0, 0)


@probe("ipc", lambda host, evidence: host.token in host.keys())
def ipc_keyring(x):
    """add a key to the user's keyring, which all of the user's sessions share"""
    sc("add_key", b"user", x.token.encode(), b"payload", 7, -4)


@probe("ipc", secret("key"))
def ipc_keyring_read(x):
    """read a key of the user's keyring"""
    try:
        sc("keyctl", 8, -4, -3)  # KEYCTL_LINK of the user's keyring to the session's gives possession
    except OSError:
        pass
    key = sc("keyctl", 10, -4, b"user", x.tag.encode(), 0)
    data = ctypes.create_string_buffer(128)
    sc("keyctl", 11, key, data, 128)
    if not data.value:
        raise Blocked("the key is empty")
    return data.value.decode("latin1")
