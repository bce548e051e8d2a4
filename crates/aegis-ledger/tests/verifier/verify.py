#!/usr/bin/env python3
"""Independent verifier of an Aegis ledger, written from docs/ledger-format.md.

    verify.py LEDGER [--register FILE --ledger NAME] [--keys DIR]
                     [--against FILE]... [--key TRUSTROOT]
    verify.py --proof FILE --key TRUSTROOT

LEDGER is the SQLite file or the plain file of `export --format raw`. One JSON
object is printed. The exit code is 0 where there is no fault, 3 where there is
one, and 2 where the ledger, or what it is to be held to, can't be read.

Python 3.9 or later, standard library only.
"""

import argparse
import base64
import binascii
import collections
import datetime
import functools
import hashlib
import json
import os
import re
import sqlite3
import sys
import urllib.parse

MAX_RECORD = 65535
MAX_NOTE = 4096
MAX_SIGNATURES = 16
MAX_PROOF = 1 << 18
MAX_U64 = (1 << 64) - 1
MAX_DEPTH = 64

ZERO_HASH = "0" * 64
NIL_SESSION = "00000000-0000-0000-0000-000000000000"

OWN_KINDS = {"ledger_start", "seal", "seam"}
KINDS = OWN_KINDS | {"action", "gap", "refusal", "session_start", "session_end",
                     "policy_set", "policy_text", "policy_fault"}

SILENCE_US = 330 * 1000000
SET_BACK_NS = 1000000000

SQLITE_MAGIC = b"SQLite format 3\0"
APPLICATION_ID = 0x41656769
USER_VERSION = 2

DASH = "\u2014 ".encode()
PROOF_HEADER = b"c2sp.org/tlog-proof@v1"

TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{9}Z"
TIME_RE = re.compile(TIME)
HASH_RE = re.compile(r"[0-9a-f]{64}")
ORIGIN_RE = re.compile(r"aegis/[0-9a-f]{32}")
PRODUCER_RE = re.compile(r"[A-Za-z0-9_-]{1,32}")
SESSION_RE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|" + NIL_SESSION
)
KEY_RE = re.compile(r"[ !#-\[\]-~]*")
DECIMAL_RE = re.compile(r"0|[1-9][0-9]{0,19}")
SIGNATURE_RE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
CONTROL_RE = re.compile(r"[\x00-\x09\x0b-\x1f]")
REGISTER_RE = re.compile(
    rb"(aegis/[0-9a-f]{32}) (0|[1-9][0-9]{0,19}) ([A-Za-z0-9+/]{43}=) ("
    + TIME.encode()
    + rb") ((?:[!-$&-~]|%[0-9A-F]{2})+)"
)
EPOCH_FILE_RE = re.compile(
    rb"(aegis epoch keys 1\nepoch ([0-9]{20})\ncurrent ([A-Za-z0-9+/]{43}=)\n"
    rb"next ([A-Za-z0-9+/]{43}=)\n)check ([0-9a-f]{64})\n"
)


class Unreadable(Exception):
    """There is nothing on which a verdict could be given."""


class Malformed(ValueError):
    """Bytes that do not have the form they should have."""


class Fault(Exception):
    """The verdict: what is wrong, at which entry, and up to where it is right."""

    def __init__(self, kind, entry, held=0, head=ZERO_HASH):
        super().__init__(kind)
        self.kind = kind
        self.entry = entry
        self.held = held
        self.head = head


# --- Ed25519 (RFC 8032, section 5.1) ------------------------------------------
#
# A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z. The second operand of
# an addition is kept as (Y-X, Y+X, 2dT, 2Z), which saves work in the tables.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def prepared(point):
    x, y, z, t = point
    return ((y - x) % P, (y + x) % P, 2 * D * t % P, 2 * z % P)


def point_add(point, other):
    x, y, z, t = point
    minus, plus, t2d, z2 = other
    a = (y - x) * minus % P
    b = (y + x) * plus % P
    c = t * t2d % P
    d = z * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_double(point):
    x, y, z, _ = point
    a = x * x % P
    b = y * y % P
    h = a + b
    e = h - (x + y) * (x + y) % P
    g = a - b
    f = 2 * z * z % P + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_encode(point):
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def point_decode(data):
    """The point, or None where the bytes are the encoding of none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQRT_M1 % P
    if v * x * x % P != u:
        return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def multiples(point, count):
    """Prepared 0, 1, ... count-1 times the point."""
    step, current, table = prepared(point), NEUTRAL, []
    for _ in range(count):
        table.append(prepared(current))
        current = point_add(current, step)
    return table


@functools.lru_cache(maxsize=None)
def base_table():
    """For each hexadecimal digit of a scalar, its 16 multiples of the base point."""
    y = 4 * pow(5, P - 2, P) % P
    point, rows = point_decode(y.to_bytes(32, "little")), []
    for _ in range(64):
        rows.append(multiples(point, 16))
        for _ in range(4):
            point = point_double(point)
    return rows


def base_multiply(scalar):
    point = NEUTRAL
    for row in base_table():
        if scalar & 15:
            point = point_add(point, row[scalar & 15])
        scalar >>= 4
    return point


def multiply(scalar, table):
    point = NEUTRAL
    for shift in range(252, -1, -4):
        for _ in range(4):
            point = point_double(point)
        digit = scalar >> shift & 15
        if digit:
            point = point_add(point, table[digit])
    return point


@functools.lru_cache(maxsize=16)
def negated_multiples(public):
    point = point_decode(public)
    if point is None:
        return None
    x, y, z, t = point
    return multiples((-x % P, y, z, -t % P), 16)


def ed25519_verify(public, message, signature):
    """[S]B = R + [k]A, without the cofactor.

    R is not decoded: [S]B - [k]A is encoded instead. That is the same, since
    only the one right encoding of a point may be accepted for R.
    """
    if len(public) != 32 or len(signature) != 64:
        return False
    table = negated_multiples(public)
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if table is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L
    return point_encode(point_add(base_multiply(s), prepared(multiply(k, table)))) == r


def ed25519_public(seed):
    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    scalar = scalar & ((1 << 254) - 8) | 1 << 254
    return point_encode(base_multiply(scalar))


# --- Small parts ----------------------------------------------------------------


def from_base64(text, length=None):
    """Bytes of standard base64. Only the one right way to write them is taken."""
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    try:
        data = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("base64")
    if base64.b64encode(data) != raw or (length is not None and len(data) != length):
        raise Malformed("base64")
    return data


def from_decimal(text):
    if not DECIMAL_RE.fullmatch(text) or int(text) > MAX_U64:
        raise Malformed("decimal")
    return int(text)


def leaf_hash(record):
    return hashlib.sha256(b"\0" + record).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def origin_of(identity, key):
    digest = hashlib.sha256(b"aegis origin v1\n" + identity + key).hexdigest()
    return "aegis/" + digest[:32]


def key_id(name, key):
    return hashlib.sha256(name.encode() + b"\n\1" + key).digest()[:4]


def is_time(text):
    if type(text) is not str or not TIME_RE.fullmatch(text):
        return False
    try:
        datetime.date(int(text[:4]), int(text[5:7]), int(text[8:10]))
    except ValueError:
        return False
    return True


def nanoseconds(text):
    """Of a time whose form was checked."""
    day = datetime.date(int(text[:4]), int(text[5:7]), int(text[8:10])).toordinal()
    hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
    return (((day * 24 + hour) * 60 + minute) * 60 + second) * 10**9 + int(text[20:29])


TrustRoot = collections.namedtuple("TrustRoot", "origin identity")


def parse_trust_root(text):
    try:
        origin, identifier, key = text.strip().split("+", 2)
        data = from_base64(key, 33)
    except ValueError:
        raise Unreadable("the trust root is not a verifier key")
    identity = data[1:]
    if data[0] != 1 or not ORIGIN_RE.fullmatch(origin):
        raise Unreadable("the trust root is not that of a ledger")
    if identifier != key_id(origin, identity).hex():
        raise Unreadable("the key id of the trust root is not that of its key")
    return TrustRoot(origin, identity)


# --- Notes ------------------------------------------------------------------------

Note = collections.namedtuple("Note", "origin size root text signatures")


def parse_note(data):
    """A checkpoint of three lines and its signatures, none of them verified."""
    if len(data) > MAX_NOTE:
        raise Malformed("longer than a note may be")
    text = data.decode("utf-8")  # UnicodeDecodeError is a ValueError as Malformed is
    if CONTROL_RE.search(text):
        raise Malformed("control character")
    # The signatures stand behind the last empty line.
    body, _, tail = text.rpartition("\n\n")
    lines = body.split("\n")
    if len(lines) != 3 or not lines[0] or not tail.endswith("\n"):
        raise Malformed("not a checkpoint of three lines")
    signatures = tail[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise Malformed("too many signatures")
    return Note(
        lines[0],
        from_decimal(lines[1]),
        from_base64(lines[2], 32),
        (body + "\n").encode(),
        [parse_signature(line) for line in signatures],
    )


def parse_signature(line):
    match = SIGNATURE_RE.fullmatch(line)
    if not match:
        raise Malformed("not a signature line")
    data = from_base64(match.group(2))
    if len(data) <= 4:
        raise Malformed("no signature behind the key id")
    return match.group(1), data


def signed_by(note, name, key):
    """One bad signature of a known key spoils the note, as C2SP recommends."""
    identifier = key_id(name, key)
    signatures = [d[4:] for n, d in note.signatures if n == name and d[:4] == identifier]
    return bool(signatures) and all(ed25519_verify(key, note.text, s) for s in signatures)


def lines_of(file):
    """Lines without their line feed. What is too long for anything is cut."""
    limit = MAX_RECORD + 2
    while True:
        line = file.readline(limit)
        if not line:
            return
        if line.endswith(b"\n"):
            yield line[:-1]
            continue
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(limit)
        yield line


def plain_items(file):
    """("record", bytes) and ("note", bytes), in the order of the file.

    Lines without a signature that stand where a note should are no note. They
    are handed on as a record, which they are not either.
    """
    block, length, signed = [], 0, False

    def item():
        data = b"".join(line + b"\n" for line in block)
        return ("note" if signed else "record", data)

    for line in lines_of(file):
        is_record, is_signature = line.startswith(b"{"), line.startswith(DASH)
        if block and (is_record or (signed and not is_signature)):
            yield item()
            block, length, signed = [], 0, False
        if is_record:
            yield ("record", line)
        elif line or block:
            # One line more than fits is kept, so that too long a note is seen.
            if length <= MAX_NOTE:
                block.append(line)
            length += len(line) + 1
            signed = signed or is_signature
    if block:
        yield item()


# --- Records ----------------------------------------------------------------------

Record = collections.namedtuple(
    "Record", "seq prev session producer n lost kind body at mono_us recovered"
)


def unique_object(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("key stands twice")
    return result


def bounded_integer(text):
    # The length is looked at first: making a number of many digits is slow.
    if len(text) > 20 or not -(1 << 63) <= int(text) <= MAX_U64:
        raise Malformed("does not fit 64 bits")
    return int(text)


def refuse_number(text):
    raise Malformed("not an integer")


DECODER = json.JSONDecoder(
    object_pairs_hook=unique_object,
    parse_int=bounded_integer,
    parse_float=refuse_number,
    parse_constant=refuse_number,
)


def is_string(value):
    return type(value) is str


def is_object(value):
    return type(value) is dict


def is_number(value):
    return type(value) is int and 0 <= value <= MAX_U64


def is_count(value):
    return is_number(value) and value >= 1


def is_version(value):
    return type(value) is int and value == 1


def is_true(value):
    return value is True


def is_key(value):
    try:
        from_base64(value, 32)
    except (ValueError, TypeError):
        return False
    return type(value) is str


def matches(pattern):
    return lambda value: type(value) is str and pattern.fullmatch(value) is not None


RECORD_FIELDS = {
    "event": is_object,
    "prev": matches(HASH_RE),
    "producer": is_object,
    "seq": is_count,
    "session": matches(SESSION_RE),
    "v": is_version,
}
RECORD_OPTIONAL = {"recovered": is_true}
PRODUCER_FIELDS = {"id": matches(PRODUCER_RE), "n": is_count}
PRODUCER_OPTIONAL = {"lost": is_count}
EVENT_FIELDS = {"at": is_time, "mono_us": is_number, "what": is_object}
OWN_FIELDS = {
    "ledger_start": {"identity": is_key, "key": is_key, "origin": matches(ORIGIN_RE)},
    "seal": {"epoch": is_count, "next": is_key},
    "seam": {"detail": is_string, "epoch": is_count, "key": is_key},
}


def check_fields(value, fields, optional=None):
    """Exactly these fields, each of its form."""
    optional = optional or {}
    if not value.keys() >= fields.keys():
        raise Malformed("field missing")
    for name, content in value.items():
        check = fields.get(name) or optional.get(name)
        if check is None or not check(content):
            raise Malformed("field " + name)


def check_value(value, depth):
    """What canonical JSON has beyond being written in one way only."""
    if value is None:
        raise Malformed("null")
    if isinstance(value, (dict, list)):
        if depth == 0:
            raise Malformed("nested too deep")
        if isinstance(value, dict) and not all(KEY_RE.fullmatch(key) for key in value):
            raise Malformed("a key that is not plain")
        for inside in value.values() if isinstance(value, dict) else value:
            check_value(inside, depth - 1)


def parse_json(data):
    try:
        text = data.decode("utf-8")
        value = DECODER.decode(text)
        check_value(value, MAX_DEPTH)
        again = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        # Half of a surrogate pair is no text, and can't be encoded.
        again.encode("utf-8")
    except RecursionError:
        raise Malformed("nested too deep")
    if again != text:
        raise Malformed("not in canonical form")
    return value


def parse_record(data):
    if len(data) > MAX_RECORD:
        raise Malformed("longer than a record may be")
    value = parse_json(data)
    if type(value) is not dict:
        raise Malformed("not an object")
    check_fields(value, RECORD_FIELDS, RECORD_OPTIONAL)
    producer, event = value["producer"], value["event"]
    check_fields(producer, PRODUCER_FIELDS, PRODUCER_OPTIONAL)
    check_fields(event, EVENT_FIELDS)
    kind, body = parse_what(event["what"])
    return Record(
        value["seq"],
        value["prev"],
        value["session"],
        producer["id"],
        producer["n"],
        producer.get("lost", 0),
        kind,
        body,
        event["at"],
        event["mono_us"],
        "recovered" in value,
    )


def parse_what(what):
    if len(what) != 1:
        raise Malformed("not exactly one kind")
    (kind, body), = what.items()
    if kind not in KINDS or type(body) is not dict:
        raise Malformed("not a kind of event")
    if kind in OWN_FIELDS:
        check_fields(body, OWN_FIELDS[kind])
    return kind, body


# --- Tree ---------------------------------------------------------------------------


class Tree:
    """The roots of the perfect subtrees, from left to right: all that is needed."""

    def __init__(self):
        self.size = 0
        self.subtrees = []

    def append(self, leaf):
        size, node = self.size, leaf
        while size & 1:
            node = node_hash(self.subtrees.pop(), node)
            size >>= 1
        self.subtrees.append(node)
        self.size += 1

    def root(self):
        if not self.subtrees:
            return hashlib.sha256().digest()
        node = self.subtrees[-1]
        for left in reversed(self.subtrees[:-1]):
            node = node_hash(left, node)
        return node


# --- The ledger's own verification ----------------------------------------------------

Mark = collections.namedtuple("Mark", "seq at_ns mono_us lived")


class Chain:
    """Takes the records in order. The first that is wrong raises a Fault."""

    def __init__(self, wanted_sizes):
        self.size = 0
        self.head = ZERO_HASH
        self.before_head = ZERO_HASH
        self.counters = {}
        self.tree = Tree()
        self.wanted_sizes = wanted_sizes
        self.roots = {0: self.tree.root()}

        self.origin = ""
        self.identity = None
        self.started_at = None
        self.due_epoch = 1
        self.due_key = None
        self.seam_is_open = False

        self.checkpoints = 0
        self.sealed = 0
        self.sealed_head = ZERO_HASH

        self.seams = []
        self.gaps = 0
        self.recovered = 0
        self.silences = []
        self.clock_set_back = []
        self.live_sessions = set()
        self.last_mark = None

    def fault(self, kind):
        return Fault(kind, self.size + 1, self.size, self.head)

    def add(self, number, data, note, comes_later):
        """One record, the number under which it is stored, and its checkpoint.

        In a plain file nothing but its `seq` says a record's number: `number` is
        None, and comes_later() tells a record that was moved from one that is
        missing.
        """
        due = self.size + 1
        if number is not None and number > due:
            raise self.fault("removed")
        if number is not None and number < due:
            raise self.fault("reordered")
        record = self.parse(data)
        if record.seq != due:
            missing = number is None and record.seq > due and not comes_later(due)
            raise self.fault("removed" if missing else "reordered")
        if record.prev != self.head:
            # It may as well be the record before that is not what it was.
            raise Fault("altered", due, max(self.size - 1, 0), self.before_head)
        self.count(record)

        leaf = leaf_hash(data)
        self.tree.append(leaf)
        if due in self.wanted_sizes:
            self.roots[due] = self.tree.root()
        self.check_own(record)
        self.check_checkpoint(record, note)
        self.observe(record)
        self.before_head, self.head, self.size = self.head, leaf.hex(), due
        if self.sealed == due:
            self.sealed_head = self.head

    def parse(self, data):
        try:
            if data is None:
                raise Malformed("not bytes")
            return parse_record(data)
        except ValueError:
            raise self.fault("not_a_record")

    def count(self, record):
        pair = (record.session, record.producer)
        due = self.counters.get(pair, 0) + 1
        if record.n != due + record.lost or (record.lost and record.kind != "gap"):
            raise self.fault("lost")
        self.counters[pair] = record.n

    def check_own(self, record):
        """What the ledger says of itself: its start, its seals, its seams."""
        kind, body = record.kind, record.body
        is_own = kind in OWN_KINDS
        if (record.producer == "ledger") != is_own or (record.session == NIL_SESSION) != is_own:
            raise self.fault("not_a_record")
        if (kind == "ledger_start") != (record.seq == 1):
            raise self.fault("not_a_record")
        if self.seam_is_open and kind != "seal":
            raise self.fault("not_a_record")
        if kind in ("seal", "seam") and body["epoch"] != self.due_epoch:
            raise self.fault("not_a_record")

        self.seam_is_open = kind == "seam"
        if kind == "ledger_start":
            self.start(record)
        elif kind == "seam":
            self.due_key = from_base64(body["key"], 32)
            self.seams.append(record.seq)

    def start(self, record):
        identity = from_base64(record.body["identity"], 32)
        key = from_base64(record.body["key"], 32)
        if record.body["origin"] != origin_of(identity, key):
            raise self.fault("not_a_record")
        self.origin = record.body["origin"]
        self.identity = identity
        self.due_key = key
        self.started_at = record.at

    def check_checkpoint(self, record, note):
        if note is None:
            if record.kind == "seal":
                raise self.fault("checkpoint_missing")
            return
        checkpoint = self.signed_checkpoint(record, note)
        if checkpoint is None:
            raise self.fault("forged")
        if checkpoint.root != self.tree.root():
            # What lies behind the last checkpoint that holds is in doubt as a whole.
            raise Fault("rewritten", self.sealed + 1, self.sealed, self.sealed_head)
        self.due_epoch += 1
        self.due_key = from_base64(record.body["next"], 32)
        self.checkpoints += 1
        self.sealed = record.seq

    def signed_checkpoint(self, record, data):
        try:
            note = parse_note(data)
        except ValueError:
            return None
        good = (
            record.kind == "seal"
            and note.origin == self.origin
            and note.size == record.seq
            and signed_by(note, self.origin, self.identity)
            and signed_by(note, self.origin + "/epoch", self.due_key)
        )
        return note if good else None

    def observe(self, record):
        """What is reported without being a fault."""
        self.gaps += record.kind == "gap"
        self.recovered += record.recovered
        if record.kind == "session_start":
            self.live_sessions.add(record.session)
        elif record.kind == "session_end":
            self.live_sessions.discard(record.session)
        elif record.kind in ("ledger_start", "seal"):
            self.mark(record)

    def mark(self, record):
        mark = Mark(record.seq, nanoseconds(record.at), record.mono_us, bool(self.live_sessions))
        last, self.last_mark = self.last_mark, mark
        if last is None:
            return
        if last.lived and mark.mono_us - last.mono_us > SILENCE_US:
            self.silences.append([last.seq, mark.seq])
        if last.at_ns - mark.at_ns > SET_BACK_NS:
            self.clock_set_back.append(mark.seq)


# --- Where records and checkpoints come from --------------------------------------------


class SqliteLedger:
    """Two cursors over one snapshot. Only seq, record, size and note are read."""

    RECORDS = (
        "SELECT seq, CASE WHEN typeof(record) = 'blob' THEN substr(record, 1, %d) END"
        " FROM records ORDER BY seq" % (MAX_RECORD + 1)
    )
    CHECKPOINTS = (
        "SELECT size, CASE WHEN typeof(note) = 'text' AND length(note) <= %d THEN note END"
        " FROM checkpoints WHERE typeof(size) = 'integer' AND size > 0 ORDER BY size" % MAX_NOTE
    )

    def __init__(self, path):
        uri = "file://" + urllib.parse.quote(os.fsencode(os.path.abspath(path))) + "?mode=ro"
        self.database = sqlite3.connect(uri, uri=True, isolation_level=None)
        # Text as bytes, since it need not be UTF-8 if someone changed it.
        self.database.text_factory = bytes
        self.database.execute("BEGIN")
        if self.pragma("application_id") != APPLICATION_ID:
            raise Unreadable("not a ledger")
        if self.pragma("user_version") != USER_VERSION:
            raise Unreadable("not a ledger of this version")
        self.checkpoints = self.database.execute(self.CHECKPOINTS)
        self.pending = self.checkpoints.fetchone()

    def pragma(self, name):
        return self.database.execute("PRAGMA " + name).fetchone()[0]

    def rows(self):
        due = 0
        for number, record in self.database.execute(self.RECORDS):
            due += 1
            yield number, record, self.take_note(due)

    def take_note(self, size):
        while self.pending and self.pending[0] < size:
            self.pending = self.checkpoints.fetchone()
        if not self.pending or self.pending[0] != size:
            return None
        note = self.pending[1] or b""
        self.pending = self.checkpoints.fetchone()
        return note

    def has_larger_checkpoint(self):
        """Asked at the end, when those up to the last record were taken."""
        return self.pending is not None

    def comes_later(self, number):
        return False

    def close(self):
        self.database.close()


class PlainLedger:
    """Records as lines, each checkpoint behind the seal that it covers."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "rb")
        self.position = 0
        self.clear_notes()

    def clear_notes(self):
        self.note = None
        self.larger = False
        self.misplaced = False

    def rows(self):
        record = None
        for what, data in plain_items(self.file):
            if what == "note":
                self.keep_note(data)
                continue
            if self.position:
                yield None, record, self.take_note(at_end=False)
            elif self.note is not None or self.larger:
                # A note in front of all records can only be shown at the first.
                self.misplaced = True
            record = data
            self.position += 1
        if self.position:
            yield None, record, self.take_note(at_end=True)

    def keep_note(self, data):
        size = claimed_size(data)
        if size is not None and size > self.position:
            self.larger = True
        elif self.note is None and not self.larger:
            self.note = data
        else:
            self.misplaced = True

    def take_note(self, at_end):
        """The checkpoint of the record in hand; a bad one where others are in the way."""
        misplaced = self.misplaced or (self.larger and not at_end)
        note = b"" if misplaced else self.note
        larger = self.larger
        self.clear_notes()
        self.larger = larger and at_end
        return note

    def has_larger_checkpoint(self):
        # Any note covers something, so one without a record in front is enough.
        return self.larger or self.note is not None

    def comes_later(self, number):
        """The file is read anew, as only a fault asks for it."""
        with open(self.path, "rb") as file:
            for what, data in plain_items(file):
                try:
                    if what == "record" and parse_record(data).seq == number:
                        return True
                except ValueError:
                    continue
        return False

    def close(self):
        self.file.close()


def claimed_size(data):
    lines = data.split(b"\n", 2)
    try:
        return from_decimal(lines[1].decode("ascii"))
    except (IndexError, ValueError):
        return None


def open_ledger(path):
    with open(path, "rb") as file:
        is_sqlite = file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    return SqliteLedger(path) if is_sqlite else PlainLedger(path)


def read_chain(ledger, chain):
    for number, record, note in ledger.rows():
        chain.add(number, record, note, ledger.comes_later)
    if chain.seam_is_open:
        raise Fault("not_a_record", chain.size, chain.size, chain.head)
    if ledger.has_larger_checkpoint():
        raise chain.fault("truncated")


# --- What is kept elsewhere ---------------------------------------------------------------

Reference = collections.namedtuple("Reference", "size origin root")


class Register:
    """The lines about one ledger, and when the last of each origin was written."""

    def __init__(self, path=None, ledger=None):
        self.asked = path is not None
        self.references = []
        self.last_time = {}
        self.bad_lines = 0
        if self.asked:
            try:
                with open(path, "rb") as file:
                    self.read(file, os.fsencode(ledger))
            except FileNotFoundError:
                # No register is one that says nothing; the key file tells if it was cut.
                pass

    def read(self, file, ledger):
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                self.take(line[:-1], ledger)
            except ValueError:
                self.bad_lines += 1

    def take(self, line, ledger):
        match = REGISTER_RE.fullmatch(line)
        if not match:
            raise Malformed("not a line of a register")
        origin, size, time = (match.group(i).decode() for i in (1, 2, 4))
        size, root = from_decimal(size), from_base64(match.group(3), 32)
        if not is_time(time):
            raise Malformed("not a time")
        if match.group(5) == ledger:
            self.references.append(Reference(size, origin, root))
            self.last_time[origin] = max(time, self.last_time.get(origin, ""))


def read_anchors(paths):
    anchors = []
    for path in paths:
        with open(path, "rb") as file:
            for what, data in plain_items(file):
                try:
                    anchors.append(parse_note(data if what == "note" else b""))
                except ValueError:
                    print("verify: not a checkpoint in %s" % path, file=sys.stderr)
    return anchors


def read_key_files(folder):
    """Name to content of the epoch key files; None where it can't be read."""
    files = {}
    if folder is None or not os.path.isdir(folder):
        return files
    for name in os.listdir(folder):
        if name.endswith(".epoch"):
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    files[name] = file.read(MAX_NOTE)
            except OSError:
                files[name] = None
    return files


EpochKeys = collections.namedtuple("EpochKeys", "epoch current next")


def parse_epoch_keys(data):
    """The public keys of the file; None where it can't be read."""
    match = EPOCH_FILE_RE.fullmatch(data or b"")
    if not match or hashlib.sha256(match.group(1)).hexdigest().encode() != match.group(5):
        return None
    try:
        current, following = (from_base64(match.group(i), 32) for i in (3, 4))
    except ValueError:
        return None
    return EpochKeys(int(match.group(2)), ed25519_public(current), ed25519_public(following))


class Outside:
    """All that the ledger is held to. It is read before the ledger is, so that
    a ledger that is being written is never behind it."""

    def __init__(self, arguments):
        self.trust_root = parse_trust_root(arguments.key) if arguments.key is not None else None
        self.register = Register(arguments.register, arguments.ledger_name)
        self.key_files = read_key_files(arguments.keys)
        self.anchors = read_anchors(arguments.against)
        self.keys_behind = False

    def sizes(self):
        return {r.size for r in self.register.references} | {a.size for a in self.anchors}

    def counting_anchors(self, chain):
        """Those of this ledger: of its origin, and signed by its identity."""
        return [
            Reference(note.size, note.origin, note.root)
            for note in self.anchors
            if note.origin == chain.origin and signed_by(note, note.origin, chain.identity)
        ]

    def compare(self, chain, anchors):
        root = self.trust_root
        if root and (root.origin, root.identity) != (chain.origin, chain.identity):
            raise Fault("replaced", 1)
        if not chain.size:
            if self.anchors or self.register.references:
                raise Fault("rolled_back", 1)
            return
        self.compare_all(chain, anchors)
        if not anchors and any(note.origin != chain.origin for note in self.anchors):
            raise Fault("replaced", 1)
        others = [r.origin for r in self.register.references if r.origin != chain.origin]
        if others:
            # Times of this form are in the order of their letters.
            last = max(self.register.last_time[origin] for origin in others)
            raise Fault("begun_anew" if chain.started_at > last else "rewritten_whole", 1)
        self.compare_all(chain, self.register.references)
        self.compare_keys(chain)

    def compare_all(self, chain, references):
        for reference in sorted(references):
            if reference.size > chain.size:
                raise Fault("rolled_back", chain.size + 1)
            if reference.root != chain.roots[reference.size]:
                raise Fault("forked", reference.size)

    def compare_keys(self, chain):
        name = chain.origin.partition("/")[2] + ".epoch"
        if name not in self.key_files:
            return
        keys = parse_epoch_keys(self.key_files[name])
        if keys is None:
            return
        if keys.epoch > chain.due_epoch:
            raise Fault("rolled_back", chain.size + 1)
        due = {chain.due_epoch: keys.current, chain.due_epoch - 1: keys.next}
        self.keys_behind = due.get(keys.epoch) != chain.due_key
        # The line of the first seal is written before its key is destroyed.
        if keys.epoch > 1 and self.register.asked and not self.register.references:
            raise Fault("register_missing", 1)

    def grade(self, anchors):
        if self.trust_root or anchors:
            return "anchored"
        return "sealed" if self.register.references else "self-consistent"


# --- Proof of one entry -----------------------------------------------------------------------


def root_of_path(leaf, index, size, path):
    """RFC 6962, section 2.1.1, upwards. None where the path does not fit."""
    node, last = leaf, size - 1
    for sibling in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            node = node_hash(sibling, node)
            # No sibling on the right edge: such levels are not in the path.
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        index, last = index >> 1, last >> 1
    return node if last == 0 else None


class Proof:
    def __init__(self, data):
        self.entry = 0
        head, found, self.note = data.partition(b"\n\n")
        lines = head.split(b"\n")
        if len(data) > MAX_PROOF or not found or len(lines) < 3 or lines[0] != PROOF_HEADER:
            raise Malformed("not a proof")
        self.record = from_base64(self.after(b"extra ", lines[1]))
        self.index = from_decimal(self.after(b"index ", lines[2]).decode("ascii"))
        self.path = [from_base64(line, 32) for line in lines[3:]]

    @staticmethod
    def after(word, line):
        if not line.startswith(word):
            raise Malformed("not a proof")
        return line[len(word):]


def verify_proof(data, trust_root, result):
    """Fills in the result. The faults have the names that they have in a ledger."""
    try:
        proof = Proof(data)
    except ValueError:
        raise Fault("forged", 0)
    entry = result["entry"] = proof.index + 1
    leaf = leaf_hash(proof.record)
    result["hash"] = leaf.hex()
    try:
        record = parse_record(proof.record)
    except ValueError:
        raise Fault("not_a_record", entry)
    if record.seq != entry:
        raise Fault("reordered", entry)
    try:
        note = parse_note(proof.note)
    except ValueError:
        raise Fault("forged", entry)
    result["origin"], result["size"] = note.origin, note.size
    if note.origin != trust_root.origin:
        raise Fault("replaced", entry)
    if not signed_by(note, note.origin, trust_root.identity):
        raise Fault("forged", entry)
    fits = proof.index < note.size
    if not fits or root_of_path(leaf, proof.index, note.size, proof.path) != note.root:
        raise Fault("rewritten", entry)


# --- Command line -------------------------------------------------------------------------------


def fault_object(fault):
    return {"kind": fault.kind, "entry": fault.entry} if fault else None


def run_proof(arguments):
    trust_root = parse_trust_root(arguments.key)
    with open(arguments.proof, "rb") as file:
        data = file.read(MAX_PROOF + 1)
    result, fault = {"entry": 0, "hash": "", "origin": "", "size": 0}, None
    try:
        verify_proof(data, trust_root, result)
    except Fault as found:
        fault = found
    result["fault"] = fault_object(fault)
    return result


def run_ledger(arguments):
    outside = Outside(arguments)
    chain, fault = Chain(outside.sizes()), None
    ledger = open_ledger(arguments.ledger)
    try:
        read_chain(ledger, chain)
        held, head = chain.size, chain.head
    except Fault as found:
        fault, held, head = found, found.held, found.head
    finally:
        ledger.close()
    anchors = outside.counting_anchors(chain)
    if fault is None:
        try:
            outside.compare(chain, anchors)
        except Fault as found:
            fault = found
    return report(chain, outside, outside.grade(anchors), fault, held, head)


def report(chain, outside, grade, fault, held, head):
    return {
        "entries": held,
        "head": head,
        "origin": chain.origin,
        "checkpoints": chain.checkpoints,
        "sealed": chain.sealed,
        "fault": fault_object(fault),
        "grade": grade,
        "seams": chain.seams,
        "gaps": chain.gaps,
        "recovered": chain.recovered,
        "silences": chain.silences,
        "clock_set_back": chain.clock_set_back,
        "keys_behind": outside.keys_behind,
        "bad_register_lines": outside.register.bad_lines,
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description="Verify an Aegis ledger.", allow_abbrev=False)
    parser.add_argument("ledger", metavar="LEDGER", nargs="?")
    parser.add_argument("--register", metavar="FILE")
    parser.add_argument("--ledger", metavar="NAME", dest="ledger_name")
    parser.add_argument("--keys", metavar="DIR")
    parser.add_argument("--against", metavar="FILE", action="append", default=[])
    parser.add_argument("--key", metavar="TRUSTROOT")
    parser.add_argument("--proof", metavar="FILE")
    arguments = parser.parse_args()
    if (arguments.ledger is None) == (arguments.proof is None):
        parser.error("either LEDGER or --proof is needed")
    if arguments.proof is not None and arguments.key is None:
        parser.error("--proof needs --key")
    if (arguments.register is None) != (arguments.ledger_name is None):
        parser.error("--register and --ledger belong together")
    return arguments


def main():
    arguments = parse_arguments()
    try:
        result = run_ledger(arguments) if arguments.proof is None else run_proof(arguments)
    except (OSError, Unreadable, sqlite3.Error) as error:
        print("verify: %s" % error, file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 3 if result["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
