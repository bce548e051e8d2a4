"""Connects in every way; prints what came of each, without times and numbers that differ."""

import errno
import os
import select
import signal
import socket
import sys
import threading
import time

HERE = sys.argv[1]


def name(error):
    return errno.errorcode.get(error.errno, str(error))


def tcp():
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def case(what):
    def run(function):
        try:
            print(what, function(), flush=True)
        except OSError as error:
            print(what, name(error), flush=True)

    return run


def server(backlog=8):
    listener = tcp()
    listener.bind((HERE, 0))
    listener.listen(backlog)
    return listener, listener.getsockname()


def full():
    """A server that takes nobody in any more: who connects waits."""
    listener, at = server(0)
    held = []
    for _ in range(4):
        one = tcp()
        one.setblocking(False)
        one.connect_ex(at)
        held.append(one)
    return listener, at, held


FREE = tcp()
FREE.bind((HERE, 0))
CLOSED = FREE.getsockname()
FREE.close()


@case("blocking")
def _():
    listener, at = server()
    client = tcp()
    client.connect(at)
    taken, peer = listener.accept()
    assert peer == client.getsockname() and client.getpeername() == at
    client.sendall(b"x")
    return taken.recv(1), client.getblocking()


@case("refused")
def _():
    return tcp().connect(CLOSED)


@case("not blocking")
def _():
    listener, at = server()
    client = tcp()
    client.setblocking(False)
    first = client.connect_ex(at)
    select.select([], [client], [], 10)
    return errno.errorcode[first], client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), client.connect_ex(at)


@case("not blocking, refused")
def _():
    client = tcp()
    client.setblocking(False)
    first = client.connect_ex(CLOSED)
    select.select([], [client], [], 10)
    return errno.errorcode[first], errno.errorcode[client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]


@case("in an epoll before")
def _():
    listener, at = server()
    client = tcp()
    client.setblocking(False)
    poll = select.epoll()
    poll.register(client, select.EPOLLOUT | select.EPOLLET)
    poll.poll(0)
    client.connect_ex(at)
    return [events for _, events in poll.poll(10)] == [select.EPOLLOUT]


@case("twice")
def _():
    listener, at = server()
    client = tcp()
    client.connect(at)
    return errno.errorcode[client.connect_ex(at)]


@case("of six by four")
def _():
    listener, at = server()
    client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    client.connect(("::ffff:" + at[0], at[1]))
    return client.getpeername()[0] == "::ffff:" + at[0]


@case("no socket")
def _():
    with open("/dev/null") as file:
        return socket.socket(fileno=os.dup(file.fileno()))


@case("a closed one")
def _():
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    address = b"\x02\0\x1f\x90\x7f\0\0\1" + bytes(8)
    libc.connect(999, address, 16)
    first = ctypes.get_errno()
    libc.connect(0, address, 16)
    second = ctypes.get_errno()
    client = tcp()
    libc.connect(client.fileno(), address, 4)
    return errno.errorcode[first], errno.errorcode[second], errno.errorcode[ctypes.get_errno()]


@case("a time limit")
def _():
    listener, at, held = full()
    client = tcp()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, b"\0" * 8 + (300_000).to_bytes(8, "little"))
    begun = time.monotonic()
    error = client.connect_ex(at)
    took = time.monotonic() - begun
    return errno.errorcode[error], 0.2 < took < 5


@case("a signal")
def _():
    listener, at, held = full()
    client = tcp()
    heard = []
    signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.3)

    # Python goes on after EINTR by itself; the handler ends it.
    class Heard(Exception):
        pass

    def handler(*_):
        raise Heard

    signal.signal(signal.SIGALRM, handler)
    try:
        client.connect(at)
    except Heard:
        return "interrupted"


@case("killed while it waits")
def _():
    listener, at, held = full()
    child = os.fork()
    if child == 0:
        tcp().connect(at)
        os._exit(1)
    time.sleep(0.2)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


@case("others go on meanwhile")
def _():
    hanging, nowhere, held = full()
    waiting = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            tcp().connect(nowhere)
            os._exit(1)
        waiting.append(child)
    listener, at = server(64)

    def many():
        for _ in range(50):
            with tcp() as client:
                client.connect(at)
                listener.accept()[0].close()

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in waiting:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return "done"
