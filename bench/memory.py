"""The peak memory of the processes of Aegis."""

import os
import re
import threading
import time

from processes import descendants, process_table

ROLES = ("wrap", "child", "grandchild")


class Sampler(threading.Thread):
    """Reads the peak memory of every aegis process below this one.

    The kernel keeps the peak itself (VmHWM), so a sample only has to come after
    it. The processes are looked for now and then, their peaks are read often.
    """

    EARLY_SECONDS = 1.0  # new processes are looked for at every sample this long
    SCAN_SECONDS = 0.25
    SAMPLE_SECONDS = 0.01

    def __init__(self, aegis):
        super().__init__(daemon=True)
        self.aegis = os.path.realpath(aegis)
        self.spawned = None
        self.halt = threading.Event()
        self.tracked = {}  # pid: descriptor of its status
        self.depths = {}
        self.peaks = {}  # pid: KiB

    def run(self):
        begin = time.monotonic()
        scanned = None
        while not self.halt.wait(self.SAMPLE_SECONDS):
            now = time.monotonic()
            early = now - begin < self.EARLY_SECONDS
            if scanned is None or early or now - scanned >= self.SCAN_SECONDS:
                scanned = now
                self.scan()
            for pid in list(self.tracked):
                self.sample(pid)

    def stop(self):
        self.halt.set()
        if self.is_alive():
            self.join()
        for pid in list(self.tracked):
            self.forget(pid)

    def is_aegis(self, pid, name):
        if name.startswith("aegis"):
            return True
        try:
            return os.readlink("/proc/%d/exe" % pid) == self.aegis
        except OSError:
            return False

    def scan(self):
        table = process_table()
        own = os.getpid()
        for pid in descendants(table, own):
            if pid in self.tracked or not self.is_aegis(pid, table[pid][1]):
                continue
            try:
                self.tracked[pid] = os.open("/proc/%d/status" % pid, os.O_RDONLY)
            except OSError:
                continue
            depth, above = 0, table[pid][0]
            while above in table and above != own:
                depth += 1
                above = table[above][0]
            self.depths.setdefault(pid, depth)

    def sample(self, pid):
        try:
            text = os.pread(self.tracked[pid], 8192, 0)
        except OSError:
            self.forget(pid)
            return
        name = re.search(rb"^Name:\t(.*)$", text, re.M)
        if name and not self.is_aegis(pid, name.group(1).decode("utf-8", "replace")):
            # It was forked by aegis and has since become the command.
            self.forget(pid)
            self.peaks.pop(pid, None)
            return
        peak = re.search(rb"^VmHWM:\s+(\d+) kB$", text, re.M)
        if peak:
            self.peaks[pid] = max(self.peaks.get(pid, 0), int(peak.group(1)))

    def forget(self, pid):
        os.close(self.tracked.pop(pid))

    def result(self):
        """[(role, MiB)] of every process that was seen, the outermost first."""
        found = []
        for pid, kib in sorted(self.peaks.items(), key=lambda item: (self.depths[item[0]], item[0])):
            depth = self.depths[pid]
            if depth == 0 and pid != self.spawned:
                role = "orphan"  # what started it had ended before it was seen
            elif depth < len(ROLES):
                role = ROLES[depth]
            else:
                role = "depth %d" % depth
            found.append((role, kib / 1024))
        return found
