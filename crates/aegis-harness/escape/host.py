"""The part of the battery outside the sandbox: sets everything up, runs the tool, and judges."""
import contextlib
import fcntl
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import uuid
from types import SimpleNamespace

import fixtures
import inside
from core import read, write
from peers import Children, Kernel, Servers, Terminals, Victims, set_uid_program

FACTS = ("W", "F", "H", "sibling", "tag", "token", "tcp", "tcp6", "tcpany", "hostip", "udp", "udplite", "tmpsock",
         "bus", "victim", "secret_at", "words_at", "victim_fd", "victim_rw", "stopped", "tuned", "sysv", "suid",
         "state", "policy", "pidns", "pts", "pts_owned", "only", "skip", "timeout")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def names(text):
    """Returns the words of a list with commas."""
    return [word for word in text.split(",") if word]


def describe(options):
    """Returns what is known before anything has been made."""
    host = SimpleNamespace(W=os.path.realpath(options.work), F=os.path.realpath(options.forbidden), hits=[])
    host.H = os.path.realpath(options.home) if options.home else host.F + "/home"
    host.tag, host.token = "aegisprobe" + uuid.uuid4().hex[:10], "TOKEN-" + uuid.uuid4().hex
    host.secrets = {key: "SECRET-%s-%s" % (key, uuid.uuid4().hex) for key in fixtures.SECRETS}
    host.sibling = "%s-%s" % (host.W, host.tag)
    host.sysv = int(uuid.uuid4().hex[:7], 16) + 1
    host.uid, host.python, host.timeout = options.uid, options.python, options.timeout
    host.drop = {"user": host.uid, "group": host.uid, "extra_groups": []} if host.uid and not os.getuid() else {}
    host.state_given, host.policy_given = bool(options.state), bool(options.policy)
    host.state = os.path.realpath(options.state) if options.state else host.F + "/state"
    host.policy = os.path.realpath(options.policy) if options.policy else host.F + "/state/policy.json"
    host.only, host.skip = names(options.only), names(options.skip)
    host.pidns = os.readlink("/proc/self/ns/pid")
    host.bus = host.F + "/bus"
    host.environment = {"PATH": PATH, "HOME": host.H, "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    host.state_files = lambda: [os.path.join(root, name) for root, _, found in os.walk(host.state) for name in found]
    host.state_of = lambda pid: read("/proc/%d/stat" % pid).rpartition(")")[2].split()[0]
    host.changes = changes
    host.victim_word = lambda slot: victim_word(host, slot)
    return host


def changes(path):
    """Returns whether a file still changes; it has a second for that."""
    try:
        first = read(path)
        for _ in range(50):
            time.sleep(0.02)
            if read(path) != first:
                return True
    except OSError:
        pass
    return False


def victim_word(host, slot):
    """Returns a word of the victim's memory."""
    with open("/proc/%d/mem" % host.victim, "rb", buffering=0) as file:
        file.seek(host.words_at + 8 * slot)
        return int.from_bytes(file.read(8), "little")


def prepare(host, probes, undo):
    """Makes files, servers and victims."""
    fixtures.forbidden(host, probes)
    fixtures.work(host)
    fixtures.sibling(host, undo)
    if host.drop:
        fixtures.give(host.uid, host.W, host.F, host.H)
    fixtures.attributes(host, probes)
    set_uid_program(host, undo)
    Servers(host, undo)
    host.victims = Victims(host)
    Kernel(host, undo)
    host.terminals = Terminals(host, undo)
    host.terminal_lost = host.terminals.lost
    facts = {key: getattr(host, key) for key in FACTS}
    facts["killed"] = host.killed.pid
    write(host.W + "/" + inside.FACTS, json.dumps(facts))


def command(host, options, tool):
    """Returns the tool's command line."""
    def fill(word):
        return word.replace("{W}", host.W).replace("{F}", host.F).replace("{H}", host.H)
    battery = options.self or host.W + "/.battery/battery.py"
    inner = [host.python, "-B", battery, "probe", "--work", host.W]
    return [fill(word) for word in tool] + ([shlex.join(inner)] if options.shell_join else inner)


def environment(host, options):
    """Returns the tool's environment, with things that should not get to an agent."""
    values = dict(host.environment, AWS_SECRET_ACCESS_KEY=host.secrets["awskey"], BASH_ENV="/nonexistent/" + host.tag,
                  DBUS_SESSION_BUS_ADDRESS="unix:path=" + host.bus, SSH_AUTH_SOCK=host.F + "/agent.sock",
                  USER=options.user, LOGNAME=options.user)
    values.update(pair.split("=", 1) for pair in options.env)
    return values


def start(host, options, tool, undo):
    """Starts the tool on its terminal, with descriptors that it should not pass on."""
    kept = ((77, os.open(host.F + "/secret", os.O_RDONLY)), (78, os.open(host.F + "/v_inhfd", os.O_RDWR)),
            (79, os.open(host.F, os.O_RDONLY | os.O_DIRECTORY)))
    for number, fd in kept:
        os.dup2(fd, number)
        undo.callback(os.close, number)
        os.close(fd)

    def own_session():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    slave = host.terminals.slave
    return subprocess.Popen(command(host, options, tool), stdin=slave, stdout=slave, stderr=slave, cwd=host.W,
                            env=environment(host, options), preexec_fn=own_session, pass_fds=(77, 78, 79), **host.drop)


def call_back(host, called):
    """Connects to the ports on which probes listen."""
    def call(port):
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as peer:
                peer.settimeout(3)
                host.hits.append(peer.recv(100).decode("latin1"))
        except OSError:
            pass
    for name in set(os.listdir(host.W + "/.listen")) - called:
        if not name.endswith(".new"):
            called.add(name)
            threading.Thread(target=call, args=(int(read(host.W + "/.listen/" + name)),), daemon=True).start()


def follow(host, process, seconds):
    """Reads what the tool prints until it ends, and does meanwhile what probes wait for."""
    output, called, deadline = b"", set(), time.monotonic() + seconds
    watched = host.F + "/v_watched/" + host.secrets["name"]
    master = host.terminals.master
    while time.monotonic() < deadline:
        call_back(host, called)
        write(watched, "")
        os.unlink(watched)
        if select.select([master], [], [], 0.05)[0]:
            output += os.read(master, 65536)
        elif process.poll() is not None:
            break
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    return output


def answers(output):
    """Returns what the probes have said, by name."""
    found = {}
    for line in output.decode("utf8", "replace").replace("\r", "").split("\n"):
        begin = line.find(inside.RESULT + "[")
        if begin >= 0:
            with contextlib.suppress(ValueError):
                name, *answer = json.loads(line[begin + len(inside.RESULT):])
                found[name] = answer
    return found


def judge(host, probe, answer, code):
    """Returns verdict and detail for a probe."""
    if answer is None:
        return "ERROR", "no answer from inside (the tool ended with %s)" % code
    outcome, detail, evidence = answer
    if outcome == "NO":
        return "BLOCKED", detail
    if outcome != "OK":
        return "ERROR", ("n/a: " if outcome == "NA" else "probe: ") + detail
    host.own = "%s/own/%s" % (host.W, probe.name)
    try:
        confirmed, why = probe.check is None or bool(probe.check(host, evidence)), ""
    except Exception as error:  # what the check looks for is not there
        confirmed, why = False, "; check: %s" % error
    if not confirmed:
        return "BLOCKED", "contained: the call succeeded inside, the host saw nothing of it" + why
    return "ALLOWED", "secret read" if "SECRET" in evidence else "".join(
        letter if letter.isprintable() else " " for letter in evidence[:60])


def report(results, options, tool, code, seconds):
    """Prints the results and writes them to a file."""
    for row in results:
        print("%s %s %s" % (row["name"], row["verdict"], row["detail"].replace("\n", " ")[:140]))
    for title, rows in (("sanity, must be allowed", [r for r in results if r["group"] == "sanity"]),
                        ("attacks", [r for r in results if r["group"] != "sanity"])):
        count = [sum(row["verdict"] == verdict for row in rows) for verdict in ("ALLOWED", "BLOCKED", "ERROR")]
        print("# %s: %d, of which allowed %d, blocked %d, error %d" % (title, len(rows), *count))
    print("# the tool ended with %s after %.1f s; uid %d; %s" % (code, seconds, options.uid or os.getuid(),
                                                                " ".join(tool) or "no sandbox"))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")


def run(options, tool):
    """Does a whole run and returns the exit code: 0 when the probes came to their end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is removed
    host = describe(options)
    folders = [host.F, host.W] + ([host.H] if options.home else [])
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
    probes = inside.chosen(host)
    children = Children()
    with contextlib.ExitStack() as undo:
        if not options.keep:
            undo.enter_context(fixtures.swept(*folders))
        undo.callback(children.end)
        prepare(host, inside.PROBES, undo)
        began = time.monotonic()
        process = start(host, options, tool, undo)
        write(host.W + "/.tool_pid", str(process.pid))
        output = follow(host, process, options.total)
        seconds = time.monotonic() - began
        host.terminals.listen()
        found = answers(output)
        results = []
        for probe in probes:
            verdict, detail = judge(host, probe, found.get(probe.name), process.returncode)
            results.append({"name": probe.name, "group": probe.group, "verdict": verdict, "detail": detail})
        for path in host.state_files():
            if path.endswith("/aegis_tamper"):
                os.unlink(path)
    if options.raw:
        with open(options.raw, "wb") as file:
            file.write(output)
    report(results, options, tool, process.returncode, seconds)
    if inside.END.encode() not in output:
        print("# the probes did not come to an end; last output: %r" % output[-600:])
        return 1
    return 0
