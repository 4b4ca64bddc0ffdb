"""The catalogue: by what disclosures are found beyond their columns (`terms`), and how many there are (`counts`).

It follows the tree, a batch at a time. A block of entries has a term for each operation, purpose, ground, clause,
field, handover, reason and legal day that occurs in it, and for each result that its disclosures came to, whenever that
was. Nothing personal is in it. One gateway does it at a time, chosen by an advisory lock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from qaqpa.errors import StoreUnavailable
from qaqpa.ledger.entries import SETTLE, Kind
from qaqpa.ledger.integrate import BLOCK, integrated
from qaqpa.ledger.said import HOUR, Act, Dated, Days, Key, Reader
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection, Row, Store

BATCH = 4_096
AT_ONCE = 64
"""Batches of one turn: a ledger that stands already is caught up with over several."""
PREFIXES = (
    "operation", "purpose", "ground", "clause", "field", "handover", "reason", "day", "result", "of", "recall",
)  # fmt: skip
"""Of the catalogue's terms."""
_CATALOGUER = 7_101_706
"""Advisory lock of the gateway that is at it."""
_STATE = "SELECT size, zone, routes FROM catalogued WHERE id = 1"
_ROWS = (
    "SELECT idx, kind, request, subject IS NOT NULL, caller, recipient, time, body FROM entries "
    "WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT ?"
)
_ADD_TERM = "INSERT INTO terms (term, block) VALUES (?, ?) ON CONFLICT (term, block) DO NOTHING"
_KEYS = "what, day, caller, recipient, purpose, name"
_COUNT = (
    f"INSERT INTO counts ({_KEYS}, n) VALUES (?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants only
    f"ON CONFLICT ({_KEYS}) DO UPDATE SET n = counts.n + excluded.n"
)
_NONE_LEFT = (
    "DELETE FROM counts WHERE what = ? AND day = ? AND caller = ? AND recipient = ? AND purpose = ? AND name = ? "
    "AND n = 0"
)
_LEFT = "disclosure, day, caller, recipient, purpose, operation, fields"
_KEEP = (
    f"INSERT INTO concluding ({_LEFT}, block, n) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
    f"ON CONFLICT ({_LEFT}) DO UPDATE SET n = concluding.n + excluded.n"
)
_KEPT = "SELECT day, caller, recipient, purpose, operation, fields, block, n FROM concluding WHERE disclosure = ?"
_CONCLUDED = "DELETE FROM concluding WHERE disclosure = ?"
_BLOCKS = "SELECT block FROM terms WHERE term = ?"
_MONTHS = "SELECT month FROM archives WHERE first <= ? AND last >= ?"
_UNCATALOGUED = "INSERT INTO uncatalogued (month) VALUES (?) ON CONFLICT (month) DO NOTHING"
_MOVED = "UPDATE catalogued SET size = ?, zone = ?, routes = ? WHERE id = 1 AND size = ? RETURNING size"
_PLAIN = frozenset({"intent", "outcome", "refusal"})
"""Nearly all entries are of these kinds, and about somebody: they are not parsed each."""
_KIND, _KIND_AFTER_KDP, _RESULT = '","kind":"', '","kdp":true,"kind":"', '","kind":"outcome","result":"'


@dataclass(frozen=True, slots=True)
class Catalogued:
    """How far the catalogue came."""

    size: int
    """Entries that are in it."""
    zone: int
    """Of its days, in hours east of UTC."""
    routes: bool
    """Whether its counts hold by which operation something left."""


def catalogued(connection: Connection) -> Catalogued:
    """How far it came. Raises StoreUnavailable where nobody knows."""
    row = connection.execute(_STATE).first()
    if row is None:
        raise StoreUnavailable("how far the catalogue came is gone: run `qaqpa ledger verify`")
    return Catalogued(int(row[0]), int(row[1]), bool(row[2]))


def is_caught_up(connection: Connection, zone: int) -> bool:
    """Whether it holds all that is in the tree, by this zone's days."""
    found = catalogued(connection)
    return (found.size, found.zone) == (integrated(connection)[0], zone)


def catalogue(connection: Connection, zone: int) -> int:
    """Add up to BATCH entries that are in the tree; returns how many. 0 also while another gateway is at it.

    `zone` is the operator's, in hours east of UTC. Where it is another than before, all is counted anew; unless
    months lie in files, whose entries cannot be: then it stays as it was.
    """
    if not connection.try_lock(_CATALOGUER):
        return 0
    found = catalogued(connection)
    size, routes = found.size, found.routes
    if zone != found.zone and size and connection.execute("SELECT 1 FROM archives LIMIT 1").first() is not None:
        zone = found.zone
    start = 0 if zone != found.zone else size
    if start < size:
        _forget(connection)
    end = integrated(connection)[0]
    if start >= end:
        return 0
    rows = connection.execute(_ROWS, (start, end, BATCH)).all()
    after = rows[-1][0] + 1 if len(rows) == BATCH else end
    if after - start != len(rows):
        _note_files(connection, start, after, [row[0] for row in rows])
    routes = routes or not start
    batch = _Batch(connection, Reader(Days(zone), routes=routes))
    try:
        batch.read(rows)
    except (ValueError, TypeError, LookupError, AttributeError):
        raise StoreUnavailable("an entry is not one of ours: run `qaqpa ledger verify`") from None
    batch.write()
    if connection.execute(_MOVED, (after, zone, int(routes), size)).first() is None:
        raise StoreUnavailable("the catalogue grew meanwhile by somebody else's hand")  # the lock above forbids it
    return after - start


async def catalogue_more(store: Store, zone: int, at_most: int = AT_ONCE) -> bool:
    """Let the catalogue follow the tree, so many batches at most; whether it has caught up."""
    for _ in range(at_most):
        if await store.read(lambda connection: is_caught_up(connection, zone)):
            return True
        if not await store.write(lambda connection: catalogue(connection, zone), long=True):
            return True
    return False


def _forget(connection: Connection) -> None:
    for prefix in PREFIXES:
        connection.execute("DELETE FROM terms WHERE term >= ? AND term < ?", (f"{prefix}:", f"{prefix};"))
    for table in ("counts", "concluding", "uncatalogued"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours


def _note_files(connection: Connection, start: int, after: int, there: Iterable[int]) -> None:
    """Entries that lie in files are not catalogued: which months they are is noted."""
    expected = start
    for index in (*there, after):
        if expected < index:
            months = connection.execute(_MONTHS, (index - 1, expected)).all()
            if not months:
                raise StoreUnavailable("an entry is missing from the ledger: run `qaqpa ledger verify`")
            connection.execute_many(_UNCATALOGUED, months)
        expected = index + 1


@dataclass(frozen=True, slots=True)
class Left:
    """Disclosures that are alike, of which the last word is not said."""

    day: str
    caller: str
    recipient: str
    purpose: str
    operation: str
    """Empty where counts hold no routes."""
    fields: tuple[str, ...]
    block: int | None
    """Of a single one."""
    n: int = 1

    @classmethod
    def of(cls, dated: Dated, block: int | None, n: int = 1) -> Left:
        """Those that say this."""
        said = dated.said
        return cls(dated.day, said.caller, said.recipient, said.purpose, said.route, said.fields, block, n)

    def key(self, what: str, name: str) -> Key:
        """Of the count of that name."""
        return (what, self.day, self.caller, self.recipient, self.purpose, name)

    def columns(self) -> tuple[str, str, str, str, str, str, int | None, int]:
        """As the table keeps it."""
        fields = orjson.dumps(self.fields).decode()
        return (self.day, self.caller, self.recipient, self.purpose, self.operation, fields, self.block, self.n)


@dataclass(slots=True)
class _Batch:
    """What a batch of entries adds."""

    connection: Connection
    reader: Reader
    terms: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    counts: Counter[Key] = field(default_factory=Counter)
    singles: dict[str, tuple[Dated, int]] = field(default_factory=dict)
    """Disclosures that this batch opens, with their blocks."""
    rows: defaultdict[str, Counter[Dated]] = field(default_factory=lambda: defaultdict(Counter))
    """Of handovers, that this batch adds."""
    kept: dict[str, list[Left]] = field(default_factory=dict)
    """Taken out of the table or left by an unknown outcome: what must stand there afterwards."""
    taken: set[str] = field(default_factory=set)
    """Disclosures whose rows in the table are dealt with here."""

    def read(self, rows: list[Row]) -> None:
        """Take in entries in their order: first what is disclosed, then what came of it."""
        of, singles = self.reader.of, self.singles
        seen: defaultdict[int, list[Dated]] = defaultdict(list)
        ended: list[tuple[str, int, str | Act]] = []
        block, hour, day = -1, "none", ""
        for index, kind, request, about_somebody, caller, recipient, time, body in rows:
            if index // BLOCK != block or not time.startswith(hour):
                block, hour, day = index // BLOCK, time[:HOUR], self.reader.days.of(time)
                self.terms[block].add(f"day:{day}")
                here = seen[block]
            if not about_somebody or kind not in _PLAIN:
                entry = orjson.loads(body)
                if kind == Kind.REUSED:
                    here.append(self.reader.parsed(entry, day))
                ended.append((request, block, str(entry["result"]) if kind == Kind.OUTCOME else Act(entry, day)))
                continue
            text = body.decode()
            at = text.find(_KIND)
            if kind == "outcome":
                begin = at + len(_RESULT)
                if text[at:begin] != _RESULT:
                    raise ValueError("an outcome without a result")
                ended.append((request, block, text[begin : text.index('"', begin)]))
                continue
            dated = of(text, at if at >= 0 else text.find(_KIND_AFTER_KDP), caller, recipient, day)
            here.append(dated)
            if kind == "intent" and not dated.said.handover:
                singles[request] = (dated, block)
        for block, dateds in seen.items():
            self._disclosed(block, Counter(dateds))
        self._follow(ended)

    def _follow(self, ended: list[tuple[str, int, str | Act]]) -> None:
        """What came of disclosures, and what else was entered."""
        singles, known, marks = self.singles, Counter[tuple[Dated, str]](), set[tuple[int, str]]()
        for request, block, what in ended:
            if isinstance(what, Act):
                self._act(block, what)
            elif request in singles and what != OutcomeResult.UNKNOWN:
                dated, at = singles.pop(request)  # nearly all: told in the same batch
                known[dated, what] += 1
                marks.add((at, what))
            else:
                self._conclude(request, what)
        for (dated, result), n in known.items():
            self._come("", Left.of(dated, -1, n), result)
        for block, result in marks:
            self.terms[block].add(f"result:{result}")

    def _disclosed(self, block: int, dateds: Counter[Dated]) -> None:
        terms = self.terms[block]
        for dated, n in dateds.items():
            said = dated.said
            terms |= said.terms()
            for key in dated.counts():
                self.counts[key] += n
            if said.result:
                terms.add(f"result:{said.result}")
            if said.handover and said.kind == Kind.INTENT:
                self.rows[said.handover][dated] += n

    def _act(self, block: int, act: Act) -> None:
        self.terms[block] |= act.terms
        self.counts.update(act.counts())
        entry = act.entry
        if entry.get("kind") == Kind.RECEIPT and entry.get("handover"):
            if entry.get("result") == OutcomeResult.REJECTED or entry.get("rejected"):
                self._mark(str(entry["handover"]), OutcomeResult.REJECTED)
        elif entry.get("kind") == Kind.CONTROL and entry.get("act") == SETTLE:
            self._settle(str(entry["intent"]), str(entry["result"]))

    def _take(self, disclosure: str) -> list[Left]:
        """What waits for a word on it, taken out of where it waits."""
        lefts = self.kept.pop(disclosure, [])
        if disclosure in self.singles:
            lefts.append(Left.of(*self.singles.pop(disclosure)))
            return lefts
        lefts += [Left.of(dated, None, n) for dated, n in self.rows.pop(disclosure, Counter()).items()]
        if disclosure not in self.taken:
            self.taken.add(disclosure)
            rows = self.connection.execute(_KEPT, (disclosure,)).all()
            for day, caller, recipient, purpose, operation, fields, block, n in rows:
                paths = tuple(orjson.loads(fields))
                lefts.append(Left(day, caller, recipient, purpose, operation, paths, block, n))
        return lefts

    def _conclude(self, disclosure: str, result: str) -> None:
        """An outcome: of a disclosure, of a package, or of a notice about nobody, which is not counted."""
        lefts = self._take(disclosure)
        for left in lefts:
            self._come(disclosure, left, result)
        if result == OutcomeResult.UNKNOWN and lefts:
            self.kept[disclosure] = lefts

    def _settle(self, disclosure: str, result: str) -> None:
        for left in self._take(disclosure):
            self.counts[left.key("result", OutcomeResult.UNKNOWN)] -= left.n
            self._come(disclosure, left, result)

    def _come(self, disclosure: str, left: Left, result: str) -> None:
        self.counts[left.key("result", result)] += left.n
        if result == OutcomeResult.NOT_SENT:  # then none of its fields left
            for each in left.fields:
                self.counts[left.key("field", each)] -= left.n
            if left.operation:
                self.counts[left.key("route", left.operation)] -= left.n
                self.counts[left.key("kept", left.operation)] += left.n
        if left.block is None:
            self._mark(disclosure, result)
        elif left.block >= 0:
            self.terms[left.block].add(f"result:{result}")

    def _mark(self, handover: str, result: str) -> None:
        """Rows of a handover are found by what came of their package."""
        term = f"handover:{handover}"
        blocks = {row[0] for row in self.connection.execute(_BLOCKS, (term,)).all()}
        blocks.update(block for block, terms in self.terms.items() if term in terms)
        for block in blocks:
            self.terms[block].add(f"result:{result}")

    def write(self) -> None:
        """Into the tables."""
        execute_many = self.connection.execute_many
        execute_many(_ADD_TERM, sorted((term, block) for block, terms in self.terms.items() for term in terms))
        changed = sorted((key, n) for key, n in self.counts.items() if n)
        execute_many(_COUNT, [(*key, n) for key, n in changed])
        if fewer := [key for key, n in changed if n < 0]:
            execute_many(_NONE_LEFT, fewer)
        if self.taken:
            execute_many(_CONCLUDED, [(each,) for each in self.taken])
        left = [(each, Left.of(dated, block)) for each, (dated, block) in self.singles.items()]
        left += [(each, Left.of(dated, None, n)) for each, rows in self.rows.items() for dated, n in rows.items()]
        left += [(each, one) for each, lefts in self.kept.items() for one in lefts]
        if left:
            execute_many(_KEEP, [(each, *one.columns()) for each, one in left])
