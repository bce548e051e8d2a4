"""A program on a terminal, and what stands on the screen.

Screen is as much of a terminal as full-screen agents draw with: text, cursor, erasing, scrolling, the alternate
screen. It has no colours. Terminal runs a program on a pseudoterminal, draws its output on a Screen, and answers the
questions that programs ask of a terminal.
"""
import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata

TOKEN = re.compile(
    r"\x1b\[(?P<mark>[<=>?]?)(?P<numbers>[0-9;:]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    r"|\x1b\](?P<command>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b[PX^_].*?\x1b\\"
    r"|\x1b(?P<escape>[ -/]*[0-OQ-WYZ`-~])"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x1f\x7f]+)", re.DOTALL)
LONGEST_SEQUENCE = 65536


class Screen:
    """The cells of a terminal and its cursor."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.answers = []
        self.pending = ""
        self.reset()

    def reset(self):
        self.cells = [self.blank() for _ in range(self.rows)]
        self.other = None
        self.saved = (0, 0)
        self.row = self.column = 0
        self.top, self.bottom = 0, self.rows - 1

    def blank(self):
        return [" "] * self.columns

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells).rstrip()

    def feed(self, text):
        """Draws; a sequence that isn't complete waits for the rest."""
        text, position = self.pending + text, 0
        while position < len(text):
            token = TOKEN.match(text, position)
            if token:
                self.take(token)
                position = token.end()
            elif len(text) - position < LONGEST_SEQUENCE:
                break
            else:
                position += 1
        self.pending = text[position:]

    def take(self, token):
        if token["text"] is not None:
            for char in token["text"]:
                self.put(char)
        elif token["control"] is not None:
            self.control(token["control"])
        elif token["final"] is not None:
            self.sequence(token["mark"], token["numbers"], token["between"], token["final"])
        elif token["escape"] is not None:
            self.escape(token["escape"])
        elif token["command"] in ("10;?", "11;?"):
            self.answers.append("\x1b]%s;rgb:%s\x1b\\" % (token["command"][:2], "/".join(
                ["ffff" if token["command"].startswith("10") else "0000"] * 3)))

    def put(self, char):
        if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn"):
            return
        width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if self.column + width > self.columns:
            self.column = 0
            self.line_feed()
        row = self.cells[self.row]
        row[self.column] = char
        if width == 2:
            row[self.column + 1] = ""
        self.column += width

    def line_feed(self):
        if self.row == self.bottom:
            self.scroll(1)
        elif self.row < self.rows - 1:
            self.row += 1

    def scroll(self, count, top=None):
        """Moves the lines from `top` to the bottom margin up, or down where `count` is negative."""
        top = self.top if top is None else top
        for _ in range(min(abs(count), self.rows)):
            out, into = (top, self.bottom) if count > 0 else (self.bottom, top)
            del self.cells[out]
            self.cells.insert(into, self.blank())

    def control(self, char):
        if char == "\r":
            self.column = 0
        elif char in "\n\v\f":
            self.line_feed()
        elif char == "\b":
            self.column = max(0, min(self.column, self.columns - 1) - 1)
        elif char == "\t":
            self.column = min(self.columns - 1, (self.column // 8 + 1) * 8)

    def escape(self, kind):
        if kind == "7":
            self.saved = (self.row, self.column)
        elif kind == "8":
            self.row, self.column = self.saved
        elif kind == "M" and self.row == self.top:
            self.scroll(-1)
        elif kind == "M":
            self.row = max(0, self.row - 1)
        elif kind in "DE":
            self.column = 0 if kind == "E" else self.column
            self.line_feed()
        elif kind == "c":
            self.reset()

    def sequence(self, mark, numbers, between, final):
        given = [int(n) if n.isdigit() else 0 for n in numbers.split(";")]
        if mark or between:
            return self.special(mark, given, between, final)
        first = given[0]
        count = max(1, first)
        if final in "ABCDEFG`Hfd":
            self.move(final, count, max(1, given[1]) if len(given) > 1 else 1)
        elif final in "JKPX@":
            self.erase(final, first)
        elif final in "ST":
            self.scroll(count if final == "S" else -count)
        elif final in "LM" and self.top <= self.row <= self.bottom:
            self.scroll(-count if final == "L" else count, top=self.row)
        elif final == "r":
            self.top = count - 1
            self.bottom = min(self.rows, given[1] if len(given) > 1 and given[1] else self.rows) - 1
            self.row = self.column = 0
        elif final in "su":
            self.escape("7" if final == "s" else "8")
        elif final == "n" and first == 6:
            self.answers.append("\x1b[%d;%dR" % (self.row + 1, min(self.column, self.columns - 1) + 1))
        elif final == "n" and first == 5:
            self.answers.append("\x1b[0n")
        elif final == "c":
            self.answers.append("\x1b[?62;22c")

    def special(self, mark, given, between, final):
        """Takes the sequences that are private or have an intermediate byte."""
        if mark == "?" and final in "hl" and given[0] in (47, 1047, 1049):
            self.alternate(final == "h")
        elif mark == "?" and between == "$" and final == "p":
            self.answers.append("\x1b[?%d;0$y" % given[0])

    def alternate(self, on):
        if on and self.other is None:
            self.other = (self.cells, self.row, self.column)
            self.cells = [self.blank() for _ in range(self.rows)]
        elif not on and self.other is not None:
            (self.cells, self.row, self.column), self.other = self.other, None

    def move(self, final, count, second):
        column = min(self.column, self.columns - 1)
        if final in "AF":
            self.row -= count
        elif final in "BE":
            self.row += count
        elif final == "C":
            column += count
        elif final == "D":
            column -= count
        elif final in "G`":
            column = count - 1
        elif final == "d":
            self.row = count - 1
        else:
            self.row, column = count - 1, second - 1
        if final in "EF":
            column = 0
        self.row = max(0, min(self.row, self.rows - 1))
        self.column = max(0, min(column, self.columns - 1))

    def erase(self, final, first):
        row, column = self.cells[self.row], min(self.column, self.columns - 1)
        count = max(1, first)
        if final == "P":
            row[column:] = (row[column + count:] + self.blank())[:self.columns - column]
        elif final == "@":
            row[column:] = ([" "] * count + row[column:])[:self.columns - column]
        elif final == "X":
            end = min(self.columns, column + count)
            row[column:end] = [" "] * (end - column)
        else:
            start, end = ((column, self.columns), (0, column + 1), (0, self.columns))[min(first, 2)]
            row[start:end] = [" "] * (end - start)
            if final == "J":
                whole = (range(self.row + 1, self.rows), range(self.row), range(self.rows))[min(first, 2)]
                for index in whole:
                    self.cells[index] = self.blank()


class Terminal:
    """A program that runs on a pseudoterminal of its own, as leader of a session."""

    def __init__(self, argv, rows=40, columns=120, owner=None, **how):
        """`owner` is the user id that the terminal belongs to; `how` is for Popen."""
        self.screen = Screen(rows, columns)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.last_output = time.monotonic()
        self.ended = False
        self.master, slave = os.openpty()
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            if owner is not None:
                os.fchown(slave, owner, -1)
            self.process = subprocess.Popen(
                argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **how)
        except BaseException:
            os.close(self.master)
            raise
        finally:
            os.close(slave)

    def close(self):
        os.close(self.master)

    def pump(self, seconds):
        """Draws what the program has written, waiting at most that long for it; returns whether there was any."""
        if self.ended:
            time.sleep(seconds)
            return False
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.ended = not data
        self.last_output = time.monotonic()
        self.screen.feed(self.decoder.decode(data))
        answers, self.screen.answers = self.screen.answers, []
        for answer in answers:
            self.write(answer)
        return not self.ended

    def write(self, text):
        try:
            os.write(self.master, text.encode())
        except OSError:
            self.ended = True

    def wait(self, condition, seconds):
        """Returns whether `condition` came to hold within that time; the end of the program ends the wait too."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                while self.pump(0) and time.monotonic() < deadline:
                    pass
                return condition()
            if time.monotonic() > deadline:
                return False
            self.pump(0.05)
        return True

    def wait_text(self, pattern, seconds):
        return self.wait(lambda: re.search(pattern, self.screen.text()), seconds)

    def wait_quiet(self, quiet, seconds):
        """Waits until the program has written nothing for `quiet` seconds from here on."""
        start = time.monotonic()
        return self.wait(lambda: time.monotonic() - max(start, self.last_output) > quiet, seconds)
