"""A child holds many connections that never come about, and is killed; then prints `killed`, waits for a line, and works
on."""

import os
import resource
import signal
import socket
import sys
import threading

HERE = "127.0.0.1"
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tcp():
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


hanging = tcp()
hanging.bind((HERE, 0))
hanging.listen(0)
full = []
for _ in range(4):
    one = tcp()
    one.setblocking(False)
    one.connect_ex(hanging.getsockname())
    full.append(one)
ready, tell = os.pipe()
child = os.fork()
if child == 0:
    held = []
    for _ in range(1700):
        one = tcp()
        one.setblocking(False)
        one.connect_ex(hanging.getsockname())
        held.append(one)

    def wait():
        tcp().connect(hanging.getsockname())

    for _ in range(300):
        threading.Thread(target=wait, daemon=True).start()
    os.write(tell, b"x")
    signal.pause()
os.read(ready, 1)
# While they wait, everybody else is served.
server = tcp()
server.bind((HERE, 0))
server.listen(64)


def work():
    for turn in range(100):
        with tcp() as client:
            client.connect(server.getsockname())
            server.accept()[0].close()
        with open("made", "w") as file:
            file.write(str(turn))


work()
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print("killed", flush=True)
sys.stdin.readline()
work()
print("done", flush=True)
