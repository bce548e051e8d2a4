"""Runs commands one at a time, and loses none of the processes they start."""

import collections
import ctypes
import os
import signal
import subprocess
import time

# How long processes that outlive their command are waited for.
STRAGGLER_SECONDS = 30.0


class RowFailed(Exception):
    """The row could not be measured; the others still can."""


class TimedOut(Exception):
    """A run took longer than it may."""


def process_table():
    """The parent and the name of every process: {pid: (ppid, comm)}."""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % entry, "rb") as file:
                text = file.read()
        except OSError:
            continue
        # The name stands in parentheses and may hold some itself.
        left, right = text.find(b"("), text.rfind(b")")
        if left < 0 or right < 0:
            continue
        fields = text[right + 1 :].split()
        if len(fields) > 1:
            name = text[left + 1 : right].decode("utf-8", "replace")
            table[int(entry)] = (int(fields[1]), name)
    return table


def descendants(table, root):
    """Every process below `root`, parents before children."""
    children = collections.defaultdict(list)
    for pid, (ppid, _) in table.items():
        children[ppid].append(pid)
    found, queue = [], collections.deque([root])
    while queue:
        for pid in children.get(queue.popleft(), ()):
            found.append(pid)
            queue.append(pid)
    return found


def adopt_orphans():
    """Makes this process the parent of orphans below it, so none gets lost."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return libc.prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    except (OSError, AttributeError):
        return False


def reap():
    """Collects children that ended. True when none is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False


def wait_for_stragglers(seconds):
    """True when every process that was started has ended in time."""
    deadline = time.monotonic() + seconds
    while not reap():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


def end_children():
    """Ends what this process started, each by its id: asked first, then killed."""
    for signum, grace in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
        deadline = time.monotonic() + grace
        asked = set()
        while not reap():
            for pid in descendants(process_table(), os.getpid()):
                if pid in asked:
                    continue
                asked.add(pid)
                try:
                    os.kill(pid, signum)
                except OSError:
                    pass
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return


Outcome = collections.namedtuple("Outcome", "ms outlived_ms")


class Runner:
    """Runs commands one at a time and measures each by the wall clock."""

    def __init__(self, temp, env, timeout):
        self.env = env
        self.timeout = timeout
        self.errors = os.path.join(temp, "stderr")

    def run(self, argv, cwd, stdout=os.devnull, sampler=None):
        """Starts `argv` in `cwd` and waits for it. Raises when it fails."""
        # posix_spawn knows no folder to start in, so this process goes there.
        os.chdir(cwd)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, self.errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        defaults = [signal.SIGPIPE, signal.SIGXFSZ]  # Python ignores these two
        if sampler is not None:
            sampler.start()
        try:
            signal.setitimer(signal.ITIMER_REAL, self.timeout)
            try:
                begin = time.perf_counter()
                pid = os.posix_spawn(
                    argv[0], argv, self.env, file_actions=actions, setsigdef=defaults
                )
                if sampler is not None:
                    sampler.spawned = pid
                _, status = os.waitpid(pid, 0)
                end = time.perf_counter()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            ended = wait_for_stragglers(STRAGGLER_SECONDS)
            outlived = (time.perf_counter() - end) * 1000
        except TimedOut:
            end_children()
            raise RowFailed(
                "%s did not end in %g seconds and was ended" % (shown(argv), self.timeout)
            ) from None
        except OSError as error:
            end_children()
            raise RowFailed("%s did not run: %s" % (shown(argv), error)) from None
        finally:
            if sampler is not None:
                sampler.stop()
        if not ended:
            end_children()
            raise RowFailed(
                "%s left processes that were still there after %g seconds"
                % (shown(argv), STRAGGLER_SECONDS)
            )
        if status != 0:
            raise RowFailed("%s %s%s" % (shown(argv), how_it_ended(status), self.last_words()))
        return Outcome((end - begin) * 1000, outlived)

    def last_words(self):
        try:
            with open(self.errors, "rb") as file:
                lines = file.read()[-2000:].decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        lines = [line.strip() for line in lines if line.strip()]
        return ": " + " / ".join(lines[-3:]) if lines else ""

    def tool(self, argv, cwd, stdin=b"", **variables):
        """A command that prepares something; not measured. Gives its output."""
        try:
            done = subprocess.run(
                argv, cwd=cwd, env={**self.env, **variables}, input=stdin, timeout=self.timeout,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            )
        except subprocess.TimeoutExpired:
            raise RowFailed("%s did not end in time" % shown(argv)) from None
        except OSError as error:
            raise RowFailed("%s did not run: %s" % (shown(argv), error)) from None
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
            raise RowFailed("%s failed: %s" % (shown(argv), words))
        return done.stdout


def shown(argv):
    text = " ".join([os.path.basename(argv[0])] + list(argv[1:])).replace("\n", " ")
    return "`%s`" % (text if len(text) <= 100 else text[:97] + "...")


def how_it_ended(status):
    if os.WIFSIGNALED(status):
        return "was ended by signal %d" % os.WTERMSIG(status)
    return "ended with status %d" % os.WEXITSTATUS(status)
