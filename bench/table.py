"""The table of what was measured, and the bars it is held to."""

import sys

# name: (limit, unit, True if the value must stay at or below the limit)
BARS = {
    "start": (15.0, "ms", True),
    "policy": (20.0, "ms", True),
    "cat": (2.0, "x", True),
    "git": (1.3, "x", True),
    "cargo": (1.1, "x", True),
    "run-start": (25.0, "ms", True),
    "run-cat": (3.3, "x", True),
    "run-git": (1.35, "x", True),
    "run-cargo": (1.15, "x", True),
    "run-connect": (2.0, "x", True),
    "append": (50_000.0, "records/s", False),
    "verify": (300_000.0, "records/s", False),
    "memory": (64.0, "MiB", True),
}

COLUMNS = (
    ("row", 13, "<"), ("run", 22, "<"), ("rounds", 6, ">"), ("median", 18, ">"),
    ("fastest", 13, ">"), ("slowest", 13, ">"), ("to plain", 9, ">"),
    ("bar", 22, "<"), ("is", 4, "<"),
)


def say(text):
    print("run.py: %s" % text, file=sys.stderr, flush=True)


def print_line(cells):
    text = "  ".join(
        format(cell, "%s%d" % (align, width))
        for cell, (_, width, align) in zip(cells, COLUMNS)
    )
    print(text.rstrip(), flush=True)


def amount(value, unit):
    if unit == "x":
        return "%.3fx" % value
    if unit.endswith("/s"):
        return "{:,.0f} {}".format(value, unit)
    return "{:,.2f} {}".format(value, unit)


class Row:
    """One measured thing: the lines it has in the table and what is said of it."""

    def __init__(self, name):
        self.name = name
        self.state = "ran"
        self.lines = []
        self.notes = []
        self.void = False

    def line(self, run, value, unit, samples=None, ratio=None, bar=None):
        entry = {"run": run, "value": value, "unit": unit}
        if samples:
            entry.update(samples=samples, rounds=len(samples))
        if ratio is not None:
            entry["ratio"] = ratio
        if bar is not None:
            limit, of, below = BARS[bar]
            measured = ratio if of == "x" else value
            ok = measured <= limit if below else measured >= limit
            entry["bar"] = {
                "limit": limit, "unit": of, "at_most": below,
                "verdict": "void" if self.void else "ok" if ok else "over",
            }
        self.lines.append(entry)

    def note(self, text):
        self.notes.append(text)

    def check_home(self, size, runs="wrapped"):
        """Without a ledger, nothing was observed and no bar was met."""
        if size == 0:
            self.void = True
            self.state = "not run"
            self.note("The home is empty after the %s runs: nothing was written to a ledger." % runs)

    def print(self):
        for entry in self.lines:
            samples, bar = entry.get("samples"), entry.get("bar")
            limit = ""
            if bar:
                times = bar["unit"] == "x"
                number = "%gx" % bar["limit"] if times else "{:,.0f} {}".format(bar["limit"], bar["unit"])
                limit = "%s %s" % ("<=" if bar["at_most"] else ">=", number)
            print_line((
                self.name, entry["run"], str(len(samples)) if samples else "",
                amount(entry["value"], entry["unit"]),
                amount(min(samples), entry["unit"]) if samples else "",
                amount(max(samples), entry["unit"]) if samples else "",
                amount(entry["ratio"], "x") if "ratio" in entry else "",
                limit, bar["verdict"] if bar else "",
            ))
        for text in self.notes:
            print("%-13s  %s" % (self.name, text), flush=True)

    def json(self):
        return {"name": self.name, "state": self.state, "lines": self.lines, "notes": self.notes}
