"""Sends datagrams in every way: datagrams.py ask NAME asks the name server of `resolv.conf` for a name, datagrams.py send
ADDRESS PORT sends to somebody else. Prints what came of each."""

import ctypes
import errno
import random
import socket
import struct
import sys
import time

SERVER = "127.0.0.53"
libc = ctypes.CDLL(None, use_errno=True)


def query(name, kind, size=0):
    head = struct.pack(">HHHHHH", random.randrange(1 << 16), 0x0100, 1, 0, 0, 1 if size else 0)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    extended = b"\0" + struct.pack(">HHIH", 41, size, 0, 0) if size else b""
    return head + labels + b"\0" + struct.pack(">HH", kind, 1) + extended


def read(answer, name):
    """Returns the code, whether it is cut, and the addresses."""
    flags, _, count = struct.unpack_from(">HHH", answer, 2)
    at, found = 12 + len(name) + 2 + 4, []
    for _ in range(count):
        kind, _, _, length = struct.unpack_from(">HHIH", answer, at + 2)
        data = answer[at + 12 : at + 12 + length]
        found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data))
        at += 12 + length
    return flags & 15, bool(flags & 0x0200), found


def udp(family=socket.AF_INET):
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.settimeout(20)
    return one


def raw_address(family, address, port):
    return struct.pack("=H", family) + struct.pack(">H", port) + socket.inet_aton(address) + bytes(8)


def many(one, messages, address):
    """Sends messages by one call, to an address or by the peer that there is."""
    held, headers = [], b""
    for message in messages:
        data, vector = ctypes.create_string_buffer(message, len(message)), None
        vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), len(message)))
        to = ctypes.create_string_buffer(address or b"", 16)
        held += [data, vector, to]
        headers += struct.pack(
            "=QIxxxxQQQQixxxxIxxxx", ctypes.addressof(to) if address else 0, 16 if address else 0,
            ctypes.addressof(vector), 1, 0, 0, 0, 0)
    sent = libc.sendmmsg(one.fileno(), headers, len(messages), 0)
    if sent < 0:
        raise OSError(ctypes.get_errno(), "sendmmsg")


def no_family(one, messages, to):
    for message in messages:
        if libc.sendto(one.fileno(), message, len(message), 0, raw_address(0, *to), 16) < 0:
            raise OSError(ctypes.get_errno(), "sendto")


def each(send):
    return lambda one, messages, to: [send(one, message, to) for message in messages]


def connected(send):
    def way(one, messages, to):
        one.connect(to)
        send(one, messages)

    return way


def bound(port):
    def way(one, messages, to):
        one.bind(("0.0.0.0", port))
        each(lambda one, message, to: one.sendto(message, to))(one, messages, to)

    return way


WAYS = {
    "sendto": each(lambda one, message, to: one.sendto(message, to)),
    "sendmsg": each(lambda one, message, to: one.sendmsg([message], [], 0, to)),
    "sendmmsg": lambda one, messages, to: many(one, messages, raw_address(socket.AF_INET, *to)),
    "no family": no_family,
    "connected": connected(lambda one, messages: [one.send(message) for message in messages]),
    "connected sendmmsg": connected(lambda one, messages: many(one, messages, None)),
    "bound": bound(0),
    "bound to a port": bound(random.randrange(20000, 30000)),
}
MAPPED = ("sendto", "sendmsg", "connected")


def ways(address, port):
    for name, way in WAYS.items():
        yield name, socket.AF_INET, way, (address, port)
    for name in MAPPED:
        yield "mapped " + name, socket.AF_INET6, WAYS[name], ("::ffff:" + address, port)


if sys.argv[1] == "ask":
    host = sys.argv[2]
    for way, family, send, to in ways(SERVER, 53):
        begun = time.monotonic()
        with udp(family) as one:
            messages = [query(host, 1), query(host, 28)]
            send(one, messages, to)
            answers = [one.recvfrom(65536) for _ in messages]
        assert time.monotonic() - begun < 10
        assert all(peer[:2] == to for _, peer in answers), answers
        by_id = {answer[:2]: read(answer, host) for answer, _ in answers}
        both = [by_id[message[:2]] for message in messages]
        print("%s:" % way, *[code for code, _, _ in both], *sorted(a for _, _, found in both for a in found))
    for size in (0, 900, 4096):
        with udp() as one:
            one.sendto(query(host, 1, size), (SERVER, 53))
            answer = one.recv(65536)
            _, is_cut, found = read(answer, host)
            print("size %d: cut %s, %d addresses" % (size, is_cut, len(found)))
            assert len(answer) <= max(size, 512)
else:
    for way, family, send, to in ways(sys.argv[2], int(sys.argv[3])):
        with udp(family) as one:
            try:
                send(one, [b"one", b"two"], to)
                print("%s: done" % way)
            except OSError as error:
                print("%s: %s" % (way, errno.errorcode[error.errno]))
