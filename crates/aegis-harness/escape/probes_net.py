"""Attacks over the network. All servers are the battery's own, on the loopback interface or this host's address."""
import ctypes
import errno
import os
import select
import socket
import struct

from core import Blocked, NotApplicable, heard, message, probe, write
from syscalls import Compat, Uring, sc

IPPROTO_MPTCP, MSG_FASTOPEN, SO_BINDTODEVICE = 262, 0x20000000, 25
UNKNOWN = (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT)


def open_socket(*kind):
    """Opens a socket; a kind that the kernel does not have is not applicable."""
    try:
        return socket.socket(*kind)
    except OSError as error:
        if error.errno in UNKNOWN and not sandbox_refuses(kind):
            raise NotApplicable("the kernel has no such socket")
        raise


def sandbox_refuses(kind):
    """Returns whether plain TCP is refused too, so that the error says nothing about the kernel."""
    try:
        socket.socket().close()
        return False
    except OSError:
        return True


def tcp(family, address, data):
    """Connects and sends."""
    with socket.socket(family) as peer:
        peer.settimeout(2)
        peer.connect(address)
        peer.sendall(data)


def udp():
    """Returns a socket for datagrams."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@probe("net", heard("tcp4"))
def net_tcp_loopback(x):
    """TCP to 127.0.0.1"""
    tcp(socket.AF_INET, ("127.0.0.1", x.tcp), message(x, "tcp4"))


@probe("net", heard("tcpext"))
def net_tcp_hostaddr(x):
    """TCP to this host's own address that is not a loopback one"""
    if not x.hostip:
        raise NotApplicable("no such address")
    tcp(socket.AF_INET, (x.hostip, x.tcpany), message(x, "tcpext"))


@probe("net", heard("tcp6"))
def net_tcp6(x):
    """TCP to ::1"""
    if not x.tcp6:
        raise NotApplicable("no IPv6")
    tcp(socket.AF_INET6, ("::1", x.tcp6), message(x, "tcp6"))


@probe("net", heard("mapped"))
def net_tcp_mapped(x):
    """TCP to ::ffff:127.0.0.1, an IPv4 address in an IPv6 socket"""
    if not x.tcp6:
        raise NotApplicable("no IPv6")
    tcp(socket.AF_INET6, ("::ffff:127.0.0.1", x.tcp), message(x, "mapped"))


@probe("net", heard("zero"))
def net_tcp_zero(x):
    """TCP to 0.0.0.0, which is the loopback interface"""
    tcp(socket.AF_INET, ("0.0.0.0", x.tcp), message(x, "zero"))


@probe("net", heard("loop127"))
def net_tcp_other_loopback(x):
    """TCP from another address of 127.0.0.0/8"""
    with socket.socket() as peer:
        peer.bind(("127.3.2.1", 0))
        peer.settimeout(2)
        peer.connect(("127.0.0.1", x.tcp))
        peer.sendall(message(x, "loop127"))


@probe("net", heard("nonblock"))
def net_tcp_nonblocking(x):
    """TCP by a connect that does not wait"""
    with socket.socket() as peer:
        peer.setblocking(False)
        try:
            peer.connect(("127.0.0.1", x.tcp))
        except BlockingIOError:
            select.select([], [peer], [], 2)
        peer.send(message(x, "nonblock"))


@probe("net", heard("fastopen"))
def net_tcp_fastopen(x):
    """TCP fast open: sendto with MSG_FASTOPEN, without connect"""
    with socket.socket() as peer:
        peer.sendto(message(x, "fastopen"), MSG_FASTOPEN, ("127.0.0.1", x.tcp))


@probe("net", heard("mptcp"))
def net_mptcp(x):
    """MPTCP (dodges rules on IPPROTO_TCP)"""
    with open_socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as peer:
        peer.settimeout(2)
        peer.connect(("127.0.0.1", x.tcp))
        peer.sendall(message(x, "mptcp"))


@probe("net", heard("mpfast"))
def net_mptcp_fastopen(x):
    """MPTCP by sendto with MSG_FASTOPEN (dodges rules on IPPROTO_TCP and on connect)"""
    with open_socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as peer:
        peer.sendto(message(x, "mpfast"), MSG_FASTOPEN, ("127.0.0.1", x.tcp))


@probe("net", heard("udp4"))
def net_udp_loopback(x):
    """UDP by sendto"""
    udp().sendto(message(x, "udp4"), ("127.0.0.1", x.udp))


@probe("net", heard("udpmsg"))
def net_udp_sendmsg(x):
    """UDP by sendmsg with an address"""
    udp().sendmsg([message(x, "udpmsg")], [], 0, ("127.0.0.1", x.udp))


@probe("net", heard("udpmmsg"))
def net_udp_sendmmsg(x):
    """UDP by sendmmsg with an address"""
    peer = udp()
    address = ctypes.create_string_buffer(struct.pack("<H", 2) + struct.pack(">H", x.udp) + bytes([127, 0, 0, 1]), 16)
    data = ctypes.create_string_buffer(message(x, "udpmmsg"))
    vector = ctypes.create_string_buffer(struct.pack("<QQ", ctypes.addressof(data), len(data.value)))
    header = struct.pack("<QIxxxxQQQQiIIxxxx", ctypes.addressof(address), 16, ctypes.addressof(vector), 1,
                         0, 0, 0, 0, 0)
    sc(307, peer.fileno(), ctypes.create_string_buffer(header), 1, 0)


@probe("net", heard("udpconn"))
def net_udp_connect(x):
    """UDP by connect and send"""
    peer = udp()
    peer.connect(("127.0.0.1", x.udp))
    peer.send(message(x, "udpconn"))


@probe("net", heard("udp6"))
def net_udp_mapped(x):
    """UDP to ::ffff:127.0.0.1"""
    if not x.tcp6:
        raise NotApplicable("no IPv6")
    peer = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    peer.sendto(message(x, "udp6"), ("::ffff:127.0.0.1", x.udp))


@probe("net", heard("device"))
def net_bind_device(x):
    """UDP from a socket that SO_BINDTODEVICE ties to the loopback interface"""
    peer = udp()
    peer.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
    peer.sendto(message(x, "device"), ("127.0.0.1", x.udp))


@probe("net", heard("udplite"))
def net_udplite(x):
    """a connect and datagram by UDP-Lite"""
    peer = open_socket(socket.AF_INET, socket.SOCK_DGRAM, 136)
    peer.sendto(message(x, "udplite"), ("127.0.0.1", x.udplite or 9))


@probe("net", heard("uring"))
def net_io_uring_connect(x):
    """socket, connect and send by io_uring (dodges seccomp rules on them)"""
    ring = Uring()
    fd = ring.op(ring.SOCKET, fd=socket.AF_INET, off=socket.SOCK_STREAM)
    address = ctypes.create_string_buffer(struct.pack("<H", 2) + struct.pack(">H", x.tcp) + bytes([127, 0, 0, 1]), 16)
    ring.op(ring.CONNECT, fd=fd, addr=ctypes.addressof(address), off=16)
    data = ctypes.create_string_buffer(message(x, "uring"))
    ring.op(ring.SEND, fd=fd, addr=ctypes.addressof(data), length=len(data.value))


@probe("compat", heard("compat"))
def compat_connect(x):
    """socket, connect and send by socketcall of int 0x80"""
    entry = Compat()

    def socketcall(number, *arguments):
        return entry.call(entry.SOCKETCALL, number, entry.put(struct.pack("<%dI" % len(arguments), *arguments)))
    fd = socketcall(1, socket.AF_INET, socket.SOCK_STREAM, 0)
    address = struct.pack("<H", 2) + struct.pack(">H", x.tcp) + bytes([127, 0, 0, 1]) + bytes(8)
    socketcall(3, fd, entry.put(address, 64), 16)
    data = message(x, "compat")
    socketcall(9, fd, entry.put(data, 128), len(data), 0)


def be_called(x, name, listener):
    """Tells the host the port and waits for its call."""
    listener.settimeout(3)
    write("%s/.listen/%s.new" % (x.W, name), str(listener.getsockname()[1]))
    os.rename("%s/.listen/%s.new" % (x.W, name), "%s/.listen/%s" % (x.W, name))
    try:
        peer, _ = listener.accept()
    except socket.timeout:
        raise Blocked("listens, but the host cannot reach it")
    peer.sendall(message(x, name))
    peer.close()


@probe("net", heard("bindin"))
def net_bind_listen(x):
    """listen on a port that the host reaches"""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    be_called(x, "bindin", listener)


@probe("net", heard("autobind"))
def net_listen_unbound(x):
    """listen without bind, on a port that the kernel picks"""
    listener = socket.socket()
    listener.listen(1)
    be_called(x, "autobind", listener)


@probe("net", heard("mpbind"))
def net_mptcp_listen(x):
    """listen by MPTCP"""
    listener = open_socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    be_called(x, "mpbind", listener)


@probe("net")
def net_raw_netlink(x):
    """open and bind a netlink route socket"""
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))


@probe("net", lambda host, evidence: str(host.tcp) in evidence.split())
def net_sock_diag(x):
    """see by netlink on which ports processes outside listen"""
    peer = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
    peer.settimeout(2)
    body = struct.pack("<BBBBI", socket.AF_INET, 6, 0, 0, 1 << 10) + bytes(48)
    peer.send(struct.pack("<IHHII", 16 + len(body), 20, 0x301, 1, 0) + body)
    ports = []
    while True:
        data = peer.recv(65536)
        while len(data) >= 16:
            length, kind = struct.unpack_from("<IH", data)
            if kind == 2:
                code = -struct.unpack_from("<i", data, 16)[0]
                raise OSError(code, os.strerror(code))
            if kind == 3:
                return " ".join(ports)
            ports.append(str(struct.unpack_from(">H", data, 20)[0]))
            data = data[(length + 3) & ~3:]


@probe("net", root=True)
def net_raw_ip(x):
    """open a raw IP socket"""
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


@probe("net", root=True)
def net_packet(x):
    """open a packet socket, which sees all that goes over the interfaces"""
    open_socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()


@probe("net")
def net_ping(x):
    """open a socket for ICMP echo"""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    except PermissionError:
        try:
            with open("/proc/sys/net/ipv4/ping_group_range") as file:
                low, high = map(int, file.read().split())
        except OSError:
            raise Blocked("refused, and /proc/sys is hidden")
        if not low <= os.getegid() <= high:
            raise NotApplicable("this host lets no such group ping")
        raise


@probe("net")
def net_vsock(x):
    """open a socket to the hypervisor; nothing is connected"""
    open_socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


@probe("net")
def net_alg(x):
    """open a socket of the kernel's cryptography"""
    open_socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0).close()
