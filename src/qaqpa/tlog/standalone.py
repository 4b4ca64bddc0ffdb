#!/usr/bin/env python3
# long: one file on purpose, copied out alone and read from top to bottom by somebody who trusts nothing else here.
"""Verify an exported ledger: `python3 verify.py FOLDER`. One file, Python 3.9 or newer, nothing to install.

The folder is a transparency log in the formats of C2SP (c2sp.org): tlog-tiles, tlog-checkpoint, signed-note,
tlog-cosignature, tlog-proof. Every entry is hashed again (RFC 6962: leaf SHA-256(0x00 || entry), node SHA-256(0x01 ||
left || right)), every tile of hashes is rebuilt and compared, and the root must be the one in the signed checkpoint.

Nothing in the folder is trusted, this file among it: take it, and the log's key (--vkey), from somewhere else. What no
folder can show by itself is that nothing was left out or rewritten before it was signed: keep each checkpoint that you
are given, and pass the old ones with --checkpoint; they show that this log still holds what it once held.
Exit code: 0 verified, 1 failed, 2 called wrongly.
"""

from __future__ import annotations

import argparse
import base64
import gc
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

KINDS = frozenset(
    {
        "intent",
        "outcome",
        "refusal",
        "consent",
        "withdrawal",
        "policy",
        "control",
        "erasure",
        "review",
        "reused",
        "receipt",
        "recall",
    }
)
MAX_ENTRY, MAX_NOTE, MAX_NOTES, MAX_SIGNATURES = 0xFFFF, 1 << 20, 1 << 26, 64


class Failed(Exception):
    """Something does not verify. `entry` is the first entry that may be bad, where one can be named."""

    def __init__(self, sentence: str, entry: int | None = None) -> None:
        super().__init__(sentence)
        self.entry = entry


def plain(text: str) -> str:
    """Text of others made safe for a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text[:200])


def read(path: Path, limit: int) -> bytes:
    """A regular file's bytes; nothing else is opened, followed or waited for."""
    flags = (getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    try:
        handle = os.open(path, os.O_RDONLY | sum(flags))
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise Failed(f"{plain(str(path))} is not a file")
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(min(found.st_size, limit) + 1)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise Failed(f"{plain(str(path))} is missing or cannot be read ({type(error).__name__})") from error
    if len(data) > limit:
        raise Failed(f"{plain(str(path))} is longer than it can be ({limit} bytes)")
    return data


# --- Ed25519, RFC 8032 section 5.1: points as (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z ----------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def add(one: Point, two: Point) -> Point:
    """The sum; the formula is complete, so it doubles as well."""
    a, b = (one[1] - one[0]) * (two[1] - two[0]) % P, (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def decompress(data: bytes) -> Point | None:
    """The point that 32 bytes stand for, None if they stand for none (5.1.3); no second spelling is accepted."""
    sign, y = data[31] >> 7, int.from_bytes(data, "little") & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else P - x
    return (x, y, 1, x * y % P)


BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little")) or NEUTRAL


def is_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key signed the message: [S]B - [h]A must be R, byte for byte (5.1.7, without the cofactor)."""
    key = decompress(public) if len(public) == 32 and len(signature) == 64 else None
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= ORDER:
        return False
    small = key
    for _ in range(3):
        small = add(small, small)
    if small[0] == 0:  # a key of order 1, 2, 4 or 8 "signs" anything
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    minus = (P - key[0], key[1], 1, P - key[3])
    sums = (NEUTRAL, BASE, minus, add(BASE, minus))
    at = NEUTRAL
    for bit in range(252, -1, -1):
        at = add(add(at, at), sums[s >> bit & 1 | (h >> bit & 1) << 1])
    x, y = (part * pow(at[2], -1, P) % P for part in at[:2])
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


# --- keys, signed notes, checkpoints ---------------------------------------------------------------------------------

LOG, WITNESS = 1, 4
"""Signature types of C2SP signed-note: Ed25519 over the note's text; time-stamped Ed25519 cosignature."""


class Key(NamedTuple):
    name: str
    id: bytes
    public: bytes
    text: str


def unbase64(text: str) -> bytes:
    """Standard base64, of which there is one spelling only. Raises ValueError."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 with stray bits")
    return data


def parse_key(text: str, kind: int) -> Key:
    """A verifier key: name+hash+base64(type || key). Raises ValueError."""
    name, _, rest = text.partition("+")
    given, _, encoded = rest.partition("+")
    data = unbase64(encoded)
    identity = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    if not name or re.search(r"\s", name) or len(data) != 33 or data[0] != kind or given != identity.hex():
        raise ValueError("not a verifier key of this kind")
    return Key(name, identity, data[1:], text)


class Checkpoint(NamedTuple):
    body: bytes
    size: int
    root: bytes
    signatures: list[tuple[str, bytes]]

    def by(self, key: Key) -> list[bytes]:
        """What stands under this key's name and id."""
        return [data[4:] for name, data in self.signatures if name == key.name and data[:4] == key.id]


def parse_checkpoint(data: bytes) -> Checkpoint:
    """A checkpoint whose signatures nobody has looked at yet. Raises ValueError."""
    note = data.decode("utf-8")
    body, blank, signed = note.rpartition("\n\n")
    lines, signatures = body.split("\n"), []
    if not blank or not signed.endswith("\n") or "" in lines or re.search(r"[\x00-\x09\x0b-\x1f]", note):
        raise ValueError("not a signed note")
    for line in signed[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        signatures.append((name, unbase64(encoded)))
        if dash != "\u2014" or not name or re.search(r"[\s+]", name) or len(signatures) > MAX_SIGNATURES:
            raise ValueError("not a line of a signature")
    if len(lines) < 3 or not re.fullmatch(r"0|[1-9][0-9]{0,17}", lines[1]) or len(unbase64(lines[2])) != 32:
        raise ValueError("not a checkpoint")
    return Checkpoint((body + "\n").encode(), int(lines[1]), unbase64(lines[2]), signatures)


def signed_checkpoint(what: str, data: bytes, key: Key) -> Checkpoint:
    """A checkpoint of this log, signed by its key."""
    try:
        checkpoint = parse_checkpoint(data)
    except ValueError as error:
        raise Failed(f"{what} is not a well-formed checkpoint") from error
    origin = checkpoint.body.decode().partition("\n")[0]
    if origin != key.name:
        raise Failed(f"{what} is of another log: {plain(origin)}, the key is of {plain(key.name)}")
    signatures = checkpoint.by(key)
    if not signatures or not all(is_signature(key.public, each, checkpoint.body) for each in signatures):
        raise Failed(f"{what} is not signed by the log's key")
    return checkpoint


def cosigned(known: Sequence[tuple[str, Checkpoint]], witness: Key) -> dict[str, Any]:
    """When a witness cosigned (C2SP tlog-cosignature, v1), and over how many entries: its largest checkpoint."""
    signed = [each for each in known if each[1].by(witness)]
    if not signed:
        raise Failed(f"the checkpoint is not cosigned by {plain(witness.name)}, nor is an older one")
    what, checkpoint = max(signed, key=lambda each: each[1].size)
    times = []
    for each in checkpoint.by(witness):
        time = int.from_bytes(each[:8], "big")
        message = b"cosignature/v1\ntime %d\n" % time + checkpoint.body
        if time >= 1 << 63 or not is_signature(witness.public, each[8:], message):
            raise Failed(f"{what}: the cosignature of {plain(witness.name)} is not valid")
        times.append(time)
    try:
        said = datetime.fromtimestamp(max(times), timezone.utc).isoformat()  # noqa: UP017 - Python 3.9 has no UTC
    except (ValueError, OverflowError, OSError):
        said = str(max(times))
    return {"witness": witness.name, "time": said, "size": checkpoint.size}


def notes_in(data: bytes) -> Iterator[bytes]:
    """The notes of checkpoints.txt: a line with the length in bytes, then so many bytes."""
    at = 0
    while at < len(data):
        line = re.compile(rb"([1-9][0-9]{0,6})\n").match(data, at)
        if line is None or line.end() + int(line[1]) > len(data):
            raise Failed(f"checkpoints.txt is broken at byte {at}")
        at = line.end() + int(line[1])
        yield data[line.end() : at]


# --- what the entries tell -------------------------------------------------------------------------------------------


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # two readers could read two different things
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


DECODE = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant).raw_decode


class Story:
    """Each entry is of a known kind; each outcome concludes one intent that stands before it and is still open. Rows of
    a handover are concluded together, by the outcome of their package, which says how many they are.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self.rows: dict[str, int] = {}
        self.last: dict[str, str] = {}
        self.whole: set[str] = set()
        self.open: dict[str, int] = {}
        self.wrong: Failed | None = None

    def see(self, index: int, body: bytes) -> None:
        """The next entry. The first that does not fit is kept in `wrong`; hashing goes on."""
        if self.wrong is None:
            try:
                self._take(index, str(body, "utf-8"))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                why = str(error) if type(error) is ValueError else "it is not the JSON of an entry"
                self.wrong = Failed(f"entry {index} does not fit the story: {why}", index)

    def _take(self, index: int, text: str) -> None:
        entry, end = DECODE(text)
        kind = entry["kind"]
        if end != len(text) or kind not in KINDS:
            raise ValueError("it is of no known kind, or not JSON alone")
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if "handover" in entry and kind == "intent":
            if entry["handover"] in self.whole:
                raise ValueError("it adds a row to a package that was whole before it")
            if entry["id"] <= self.last.get(entry["handover"], ""):  # ids of rows are in the order of their lines
                raise ValueError("it repeats a row of its handover, or is out of order")
            self.last[entry["handover"]] = entry["id"]
            self.open.setdefault(entry["handover"], index)
            self.rows[entry["handover"]] = self.rows.get(entry["handover"], 0) + 1
        elif "rows" in entry and kind in ("intent", "outcome"):
            handover = entry["id"] if kind == "intent" else entry["intent"]
            if handover not in self.open or self.rows.get(handover) != entry["rows"]:
                raise ValueError("its package has not as many rows before it as it says, or is over")
            if kind == "intent" and handover in self.whole:
                raise ValueError("its package was whole before it")
            if kind == "outcome" and entry["result"] in ("delivered", "rejected") and handover not in self.whole:
                raise ValueError("it says what became of a package that nobody was to send")
            self.whole.add(handover)
            if kind == "outcome":
                del self.open[handover], self.rows[handover], self.last[handover]
        elif kind == "intent":
            if type(entry["id"]) is not str or self.open.setdefault(entry["id"], index) != index:
                raise ValueError("an intent has no id of its own")
        elif kind == "outcome" and self.open.pop(entry["intent"], None) is None:
            raise ValueError("it concludes no intent that is open before it")


# --- the tree --------------------------------------------------------------------------------------------------------


def place(level: str, number: int, width: int) -> str:
    """The path of a tile or bundle, as C2SP tlog-tiles writes it: 1234067 is x001/x234/067."""
    path = f"{number % 1000:03}"
    while number >= 1000:
        number //= 1000
        path = f"x{number % 1000:03}/{path}"
    return f"tile/{level}/{path}" + (f".p/{width}" if width < 256 else "")


def fold(row: list[bytes]) -> bytes:
    """The root over hashes side by side; one that is left over goes up as it is."""
    sha256 = hashlib.sha256
    while len(row) > 1:
        paired = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row) - 1, 2)]
        row = paired + row[len(row) - 1 :] if len(row) & 1 else paired
    return row[0]


def root_of(rows: Sequence[list[bytes]]) -> bytes:
    """The root of a tree from its unfinished tiles, lowest level first."""
    root: list[bytes] = []
    for row in rows:
        if row or root:
            root = [fold(row + root)]
    return root[0] if root else hashlib.sha256().digest()


def read_bundle(folder: Path, number: int, width: int, story: Story) -> list[bytes]:
    """The leaf hashes of one bundle: `width` times a length of two bytes and the entry."""
    path, first = place("entries", number, width), number * 256
    try:
        data = read(folder / path, width * (2 + MAX_ENTRY))
    except Failed as failed:
        raise Failed(f"entry {first}: {failed}", first) from failed
    at, leaves, sha256, see = 0, [], hashlib.sha256, story.see
    for index in range(first, first + width):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise Failed(f"entry {index}: {path} ends before it does", index)
        body = data[start:at]
        leaves.append(sha256(b"\x00" + body).digest())
        see(index, body)
    if at != len(data):
        raise Failed(f"{path} has {len(data) - at} bytes after entry {first + width - 1}", first + width)
    return leaves


def compare_tile(folder: Path, level: int, number: int, row: list[bytes]) -> None:
    """The tile in the folder must hold the hashes that the entries make."""
    path, span = place(str(level), number, len(row)), 256**level
    first = number * 256 * span
    try:
        tile = read(folder / path, 32 * len(row))
    except Failed as failed:
        raise Failed(f"entries from {first} on: {failed}", first) from failed
    if tile == b"".join(row):
        return
    at = next(at for at, each in enumerate(row) if tile[32 * at : 32 * at + 32] != each)
    bad = first + at * span
    named = f"entry {bad} was changed, or its" if span == 1 else f"one of entries {bad} to {bad + span - 1}, or their"
    raise Failed(f"{named} hash in {path}: they do not fit each other", bad)


def rebuild(
    folder: Path, size: int, wanted: set[int], story: Story, progress: Callable[[int, int], None]
) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Hash all entries, compare all tiles. The roots at the sizes, and the leaf hashes at the indexes, in `wanted`."""
    rows: list[list[bytes]] = [[]]
    roots, kept = {0: root_of(rows)}, {}
    for number in range((size + 255) // 256):
        first = number * 256
        rows[0] = read_bundle(folder, number, min(256, size - first), story)
        compare_tile(folder, 0, number, rows[0])
        for at in wanted.intersection(range(first, first + len(rows[0]) + 1)):
            roots[at] = root_of([rows[0][: at - first], *rows[1:]])
            if at < first + len(rows[0]):
                kept[at] = rows[0][at - first]
        level = 0
        while len(rows[level]) == 256:
            if level > 0:
                compare_tile(folder, level, number >> 8 * level, rows[level])
            rows += [[]] if level + 1 == len(rows) else []
            rows[level + 1].append(fold(rows[level]))
            rows[level] = []
            level += 1
        progress(first + 256, size)
    for level, row in enumerate(rows[1:], 1):
        if row:
            compare_tile(folder, level, size >> 8 * (level + 1), row)
    return roots, kept


PARTS = {"checkpoint", "vkey.txt", "checkpoints.txt", "verify.py"}
TILE = re.compile(r"tile/(entries|0|[1-7])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def belongs(name: str, size: int) -> bool:
    """Whether a log of this size has a tile or bundle of this name."""
    match = TILE.fullmatch(name)
    if match is None:
        return False
    level, number, width = match[1], int(re.sub("[x/]", "", match[2])), int(match[3] or 256)
    full, partial = divmod(size >> 8 * int(level.replace("entries", "0")), 256)
    fits = number < full if match[3] is None else (number, width) == (full, partial)
    return fits and name == place(level, number, width)


def look_around(folder: Path, size: int) -> list[str]:
    """No link anywhere and nothing under tile/ that is not the log's. Returns what else lies in the folder."""
    others, waiting = [], [""]
    while waiting:
        inside = waiting.pop()
        try:
            found = list(os.scandir(folder / inside))
        except OSError as error:
            raise Failed(f"{plain(inside) or 'the folder'} cannot be listed ({type(error).__name__})") from error
        for each in found:
            name = inside + each.name
            if each.is_symlink():
                raise Failed(f"{plain(name)} is a link; an export has none")
            if name.partition("/")[0] == "tile" and each.is_dir(follow_symlinks=False) and name.count("/") < 12:
                waiting.append(name + "/")
            elif name.startswith("tile/") and not belongs(name, size):
                raise Failed(f"{plain(name)} does not belong to a log of {size} entries")
            elif not inside and name not in PARTS:
                others.append(plain(name))
    return sorted(others)


# --- one entry's proof -----------------------------------------------------------------------------------------------


class Proof(NamedTuple):
    entry: int
    hashes: list[bytes]
    checkpoint: Checkpoint

    def holds(self, leaf: bytes) -> bool:
        """RFC 9162 2.1.3.2, whose names these are."""
        fn, sn, r = self.entry, self.checkpoint.size - 1, leaf
        for p in self.hashes:
            if sn == 0:
                return False
            left = fn & 1 == 1 or fn == sn
            r = hashlib.sha256(b"\x01" + (p + r if left else r + p)).digest()
            while left and fn & 1 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
            fn, sn = fn >> 1, sn >> 1
        return sn == 0 and r == self.checkpoint.root


def parse_proof(data: bytes, key: Key) -> Proof:
    """A C2SP tlog-proof whose checkpoint is signed. Its `extra` line is signed by nobody and tells nothing."""
    head, _, note = data.partition(b"\n\n")
    pattern = r"c2sp\.org/tlog-proof@v1\n(?:extra ([^\n]*)\n)?index (0|[1-9][0-9]{0,17})((?:\n[^\n=]{43}=){0,63})"
    match = re.fullmatch(pattern, head.decode("latin-1"))
    try:
        extra, index, lines = match.groups() if match is not None else ("?", "", "")
        unbase64(extra or "")
        hashes = [unbase64(line) for line in lines.split("\n")[1:]]
    except ValueError as error:
        raise Failed("the proof is not a well-formed C2SP tlog-proof") from error
    proof = Proof(int(index), hashes, signed_checkpoint("the checkpoint in the proof", note, key))
    if proof.entry >= proof.checkpoint.size:
        raise Failed(f"the proof is of entry {index}, its checkpoint has {proof.checkpoint.size} entries")
    return proof


# --- the whole -------------------------------------------------------------------------------------------------------


class Report:
    """What was found. `facts` are for programs; nothing is verified unless `failures` stays empty."""

    def __init__(self) -> None:
        self.failures: list[Failed] = []
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> None:
        """`with report:` is a part whose failure does not stop the others."""

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        if isinstance(error, Failed):
            self.failures.append(error)
        return isinstance(error, Failed)

    def result(self) -> dict[str, Any]:
        entries = [failed.entry for failed in self.failures if failed.entry is not None]
        sentences = [str(failed) for failed in self.failures]
        first = min(entries) if entries else None
        return {"verified": not sentences, "failures": sentences, "first_bad_entry": first, **self.facts}


def key_of(folder: Path | None, given: Key | None) -> Key:
    """The log's key: the one given, which a key in the folder must not contradict, or else the folder's."""
    path = None if folder is None else folder / "vkey.txt"
    if path is None or not os.path.lexists(path):
        if given is None:
            raise Failed("there is no key: vkey.txt is missing from the folder and no --vkey was given")
        return given
    try:
        found = parse_key(re.sub(r"\n\Z", "", read(path, 4096).decode("utf-8")), LOG)
    except ValueError as error:
        raise Failed("vkey.txt is not a verifier key of type Ed25519") from error
    if given is not None and given != found:
        raise Failed("vkey.txt is another key than the one you gave: somebody else made this folder")
    return found


def compare_past(old: Checkpoint, what: str, head: Checkpoint, roots: dict[int, bytes] | None) -> None:
    """This log must still hold what a checkpoint of it once said."""
    if old.size > head.size:
        raise Failed(
            f"{what} is of {old.size} entries, this log has {head.size}: the past was changed (rolled back), unless "
            "this folder was exported before that checkpoint was made. Keep both, they are signed"
        )
    if roots is not None and roots[old.size] != old.root:
        raise Failed(
            f"{what} has another root over the first {old.size} entries than this log: the past was changed (forked). "
            "Keep both: both are signed, together they prove it"
        )


def verify_folder(
    folder: Path,
    head: Checkpoint,
    older: Sequence[tuple[str, Checkpoint]],
    proven: int,
    report: Report,
    progress: Callable[[int, int], None],
) -> bytes | None:
    """Everything in the folder. Returns the leaf hash of the entry with the index `proven`, if it got there."""
    report.facts.update(size=head.size, root=base64.b64encode(head.root).decode())
    story = Story()
    roots: dict[int, bytes] | None = None
    kept: dict[int, bytes] = {}
    with report:
        report.facts["not_checked"] = look_around(folder, head.size)
    with report:
        wanted = {head.size, proven, *(old.size for _, old in older)}
        roots, kept = rebuild(folder, head.size, wanted, story, progress)
    if story.wrong is not None:
        report.failures.append(story.wrong)
    elif roots is not None:
        left = [{"entry": index, "id": name} for name, index in story.open.items()]
        report.facts.update(kinds=story.kinds, open_intents=left)
    with report:
        if roots is not None and roots[head.size] != head.root:
            same = max((old.size for _, old in older if roots.get(old.size) == old.root), default=0)
            known = f"; the first {same} are as an older checkpoint has them" if same else ""
            raise Failed(f"the entries and tiles make another root than the checkpoint: they were changed{known}", same)
    for what, old in older:
        with report:
            compare_past(old, what, head, roots)
    report.facts["older_checkpoints"] = len(older)
    return kept.get(proven)


def verify(
    folder: Path | None,
    *,
    given: Key | None = None,
    checkpoints: Sequence[tuple[str, bytes]] = (),
    witnesses: Sequence[Key] = (),
    proof: bytes | None = None,
    entry: bytes | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """All that is asked for. `checkpoints` are older ones that were kept elsewhere, each with what to call it."""
    report, proven, leaf = Report(), None, None
    with report:
        key = key_of(folder, given)
        report.facts.update(key=key.text, key_from="folder" if given is None else "--vkey", cosigned=[])
        older: list[tuple[str, Checkpoint]] = []
        with report:
            proven = None if proof is None else parse_proof(proof, key)
        if proven is not None:
            older.append(("the checkpoint in the proof", proven.checkpoint))
        head = None if proven is None else proven.checkpoint
        if folder is not None:
            head = signed_checkpoint("checkpoint", read(folder / "checkpoint", MAX_NOTE), key)
            with report:
                stored = folder / "checkpoints.txt"
                for at, note in enumerate(notes_in(read(stored, MAX_NOTES)) if os.path.lexists(stored) else (), 1):
                    what = f"checkpoint {at} of checkpoints.txt"
                    older.append((what, signed_checkpoint(what, note, key)))
            for what, note in checkpoints:
                with report:
                    older.append((what, signed_checkpoint(what, note, key)))
            leaf = verify_folder(folder, head, older, 0 if proven is None else proven.entry, report, progress)
        for witness in witnesses:
            with report:
                if head is None:
                    raise Failed("there is no checkpoint that a witness could have cosigned")
                report.facts["cosigned"].append(cosigned([*older, ("the checkpoint", head)], witness))
        if proven is not None:
            leaf = leaf if entry is None else hashlib.sha256(b"\x00" + entry).digest()
            if leaf is None or not proven.holds(leaf):
                raise Failed(f"the proof does not show that this entry is entry {proven.entry} of the log")
            report.facts["proven_entry"] = proven.entry
    return report.result()


def told(result: dict[str, Any]) -> Iterator[str]:
    """The result in words, line by line."""
    yield "VERIFIED" if result["verified"] else "FAILED"
    yield from (f"  ! {sentence}" for sentence in result["failures"])
    if result["first_bad_entry"] is not None:
        yield f"  first bad entry  {result['first_bad_entry']}"
    if "key" in result:
        yours = "" if result["key_from"] == "folder" else " (given with --vkey)"
        yield f"  key              {plain(result['key'])}{yours}"
    if result.get("key_from") == "folder":
        yield "  CAUTION          this key came with the folder: whoever made the folder chose it. Compare it with the"
        yield "                   one that the organisation gave you another way, or pass that one with --vkey."
    if result.get("program_from") == "folder":
        yield "  CAUTION          this program came with the folder, too: run one that you have from somewhere else."
    if "size" in result:
        yield f"  checkpoint       {result['size']} entries, root {result['root']}"
    if "kinds" in result:
        yield "  entries          " + (
            ", ".join(f"{n} {kind}" for kind, n in sorted(result["kinds"].items())) or "none"
        )
        left = result["open_intents"]
        yield f"  open intents     {len(left)} (being sent at the time, or cut off: their data may have left)"
        yield from (f"                   entry {each['entry']}: {plain(each['id'])}" for each in left[:20])
        yield from [f"                   and {len(left) - 20} more (--json lists them all)"] if len(left) > 20 else []
    if result.get("older_checkpoints") and result["verified"]:
        yield f"  past             extends all {result['older_checkpoints']} older checkpoints that were compared"
    elif result.get("older_checkpoints") == 0:
        yield "  past             no older checkpoint to compare with: keep this one for the next time (--checkpoint)"
    for each in result.get("cosigned", ()):
        later = "" if each["size"] == result.get("size", each["size"]) else ": what came after is the log's word alone"
        yield f"  witness          {plain(each['witness'])} cosigned {each['size']} entries at {each['time']}{later}"
    if "proven_entry" in result:
        yield f"  proof            the entry is entry {result['proven_entry']} of the log"
    if result.get("not_checked"):
        yield f"  not checked      {', '.join(result['not_checked'][:20])}"


def arguments(given: Sequence[str] | None) -> dict[str, Any]:
    """What the command line asks for. Leaves with exit code 2 when it cannot be understood."""
    parser = argparse.ArgumentParser(prog="verify.py", description="Verify an exported ledger.")
    parser.add_argument("folder", nargs="?", type=Path, help="the exported folder; not needed with --proof and --entry")
    parser.add_argument("--vkey", metavar="KEY", help="the log's key, as the organisation gave it to you another way")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, action="append", default=[], help="one you kept")
    parser.add_argument("--witness", metavar="VKEY", action="append", default=[], help="who must have cosigned")
    parser.add_argument("--proof", metavar="FILE", type=Path, help="a C2SP tlog-proof to verify")
    parser.add_argument("--entry", metavar="FILE", type=Path, help="the proof's entry, byte for byte")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    asked = parser.parse_args(given)
    if asked.folder is None and (None in (asked.proof, asked.entry, asked.vkey) or asked.checkpoint):
        parser.error("give a FOLDER; or without one --vkey, --proof and --entry, and no --checkpoint")
    if asked.folder is not None and not asked.folder.is_dir():
        parser.error("FOLDER is not a directory")
    if asked.entry is not None and asked.proof is None:
        parser.error("--entry is the entry of a --proof")
    try:
        return {
            "folder": asked.folder,
            "given": None if asked.vkey is None else parse_key(asked.vkey.strip(), LOG),
            "checkpoints": [(plain(str(path)), read(path.resolve(), MAX_NOTE)) for path in asked.checkpoint],
            "witnesses": [parse_key(text.strip(), WITNESS) for text in asked.witness],
            "proof": None if asked.proof is None else read(asked.proof.resolve(), MAX_NOTE),
            "entry": None if asked.entry is None else read(asked.entry.resolve(), MAX_ENTRY),
            "json": asked.json,
        }
    except (ValueError, Failed) as error:
        parser.error(str(error))


def show_progress(done: int, of: int) -> None:
    """How far hashing has come, on a terminal."""
    if done >= of or done % 25_600 == 0:
        sys.stderr.write(f"\r{min(done, of)} of {of} entries" + ("\n" if done >= of else ""))


def main(given: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    asked = arguments(given)
    as_json = asked.pop("json")
    if sys.stderr.isatty():
        asked["progress"] = show_progress
    gc.disable()  # entries hold no circles; counting references frees them
    try:
        result = verify(**asked)
    except (ArithmeticError, LookupError, MemoryError, OSError, RecursionError, TypeError, ValueError) as error:
        # No folder is known to bring it here; if one does, that is a failure and not a crash.
        result = {"verified": False, "failures": [f"broken beyond reading: {type(error).__name__}"]}
        result["first_bad_entry"] = None
    if asked["folder"] is not None and Path(__file__).resolve().parent == asked["folder"].resolve():
        result["program_from"] = "folder"
    lines = [json.dumps(result)] if as_json else told(result)
    sys.stdout.buffer.write(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    return 0 if result["verified"] else 1


if __name__ == "__main__":
    sys.exit(main())
