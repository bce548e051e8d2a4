"""A network of its own, with a name server and a web server, and one command in it.

lab.py SETTINGS COMMAND...: SETTINGS is a JSON object with `uid`, `folder` (where `queries` is written to, a line for
each query that came: its name and `udp` or `tcp`), `names` (addresses by name) and `addresses` (those of this machine).
The web server is on port 8080 of each address. It serves what is in `folder`/site, an index.html for a folder with one,
and answers with the host that was asked for otherwise. Where `folder` has a host_key, an SSH server is on port 2222, on
which root logs in by the keys of `folder`/client_key.pub. Datagrams to port 7002 are written to `heard`, a line for each.
"""

import ctypes
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import threading

settings = json.loads(sys.argv[1])
NEWNS, NEWNET = 0x00020000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(NEWNS | NEWNET) != 0:
    raise OSError(ctypes.get_errno(), "unshare")


def do(*command):
    subprocess.run(command, check=True)


do("mount", "--make-rprivate", "/")
do("ip", "link", "set", "lo", "up")
for address in settings["addresses"]:
    # Until nobody else is found to have it (RFC 4862), an address can't be bound to.
    do("ip", "addr", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
folder = settings["folder"]
with open(folder + "/resolv.conf", "w") as file:
    file.write("nameserver 127.0.0.99\n")
# Where it is a link, what it leads to.
do("mount", "--bind", folder + "/resolv.conf", os.path.realpath("/etc/resolv.conf"))
queries = open(folder + "/queries", "a", buffering=1)


def answer(query, by):
    name, at = [], 12
    while query[at]:
        name.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
    question = query[12 : at + 5]
    name = ".".join(name).lower()
    queries.write("%s %s\n" % (name, by))
    found = settings["names"].get(name)
    data = []
    for address in found or []:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if kind == {socket.AF_INET: 1, socket.AF_INET6: 28}[family]:
            data.append(socket.inet_pton(family, address))
    flags = 0x8180 | (0 if found is not None else 3)
    if by == "udp" and name.startswith("long."):
        # It does not fit a datagram.
        flags, data = flags | 0x0200, []
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(data), 0, 0)
    records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(one)) + one for one in data)
    return head + question + records


def by_datagram(server):
    while True:
        query, client = server.recvfrom(4096)
        server.sendto(answer(query, "udp"), client)


def by_stream(server):
    while True:
        client, _ = server.accept()
        threading.Thread(target=conversation, args=(client,), daemon=True).start()


def conversation(client):
    with client, client.makefile("rb") as stream:
        while length := stream.read(2):
            said = answer(stream.read(struct.unpack(">H", length)[0]), "tcp")
            client.sendall(struct.pack(">H", len(said)) + said)


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        text = ("host %s\n" % self.headers.get("Host")).encode()
        path = settings["folder"] + "/site" + self.path.split("?")[0].replace("..", "")
        for path in (path, path.rstrip("/") + "/index.html"):
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    text = file.read()
        self.send_response_only(200)
        if path.endswith("/index.html"):
            self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Site(http.server.ThreadingHTTPServer):
    def server_bind(self):
        # Without asking for its own name, as the class above does.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]


class SiteSix(Site):
    address_family = socket.AF_INET6


for kind, serve in ((socket.SOCK_DGRAM, by_datagram), (socket.SOCK_STREAM, by_stream)):
    server = socket.socket(socket.AF_INET, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.99", 53))
    if kind == socket.SOCK_STREAM:
        server.listen(64)
    threading.Thread(target=serve, args=(server,), daemon=True).start()
for address in ["127.0.0.1"] + [one.split("/")[0] for one in settings["addresses"]]:
    server = (SiteSix if ":" in address else Site)((address, 8080), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
sshd = None
if os.path.exists(folder + "/host_key"):
    os.makedirs("/run/sshd", exist_ok=True)
    options = ["PermitRootLogin=yes", "StrictModes=no", "UsePAM=no", "PidFile=none", "ListenAddress=93.184.216.34"]
    options += ["AuthorizedKeysFile=" + folder + "/client_key.pub", "PrintMotd=no", "PrintLastLog=no"]
    options = [word for option in options for word in ("-o", option)]
    sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-q", "-p", "2222", "-f", "/dev/null", "-h", folder + "/host_key", *options])
    while True:
        with socket.socket() as client:
            if client.connect_ex(("93.184.216.34", 2222)) == 0:
                break
ears = []
for address in ["127.0.0.1"] + [one.split("/")[0] for one in settings["addresses"]]:
    ears.append(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM))
    ears[-1].bind((address, 7002))
    ears[-1].setblocking(False)
uid = settings["uid"]
options = {"user": uid, "group": uid, "extra_groups": []} if uid else {}
code = subprocess.run(sys.argv[2:], **options).returncode
with open(folder + "/heard", "a") as file:
    for ear in ears:
        try:
            while True:
                data, peer = ear.recvfrom(4096)
                file.write("%r from %s to %s\n" % (data, peer[0], ear.getsockname()[0]))
        except BlockingIOError:
            pass
if sshd:
    sshd.kill()
sys.exit(code)
