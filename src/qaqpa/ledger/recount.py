"""The catalogue made anew from the entries, while they are verified: nobody hides a disclosure from a search, or
changes a figure, in the tables that are derived from them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.catalogue import Left
from qaqpa.ledger.entries import ARCHIVE, SETTLE, Kind
from qaqpa.ledger.integrate import BLOCK
from qaqpa.ledger.said import RESULTS, Act, Dated, Days, Key, Reader, Said
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection

Single = tuple[Dated, int]
"""What a single disclosure says, and its block."""
Told = Mapping[str, Any] | tuple[Single | None, str, str]
"""An entry that is no plain disclosure; or of an outcome its intent, the result, the id."""

_STATE = "SELECT size, zone, routes FROM catalogued"
_COUNTS = "SELECT what, day, caller, recipient, purpose, name, n FROM counts"
_CONCLUDING = "SELECT disclosure, day, caller, recipient, purpose, operation, fields, block, n FROM concluding"
_UNCATALOGUED = "SELECT month FROM uncatalogued"
_BITS = {result: 1 << at for at, result in enumerate(RESULTS)}
_REMEMBERED = 100_000


def uncatalogued(connection: Connection) -> set[int]:
    """Months that the catalogue does not hold: they lay in files before it came to them."""
    return {row[0] for row in connection.execute(_UNCATALOGUED).all()}


class Recount:
    """Sums, for each block, the hashes of its terms, and for each day those of its counts, each as often as it counts.

    The sums are over the secret of `Found`, as its own are: nobody can choose rows that have the same.
    """

    def __init__(self, connection: Connection, in_tree: int, secret: str) -> None:
        states = connection.execute(_STATE).all()
        size, zone, routes = states[0] if len(states) == 1 else (-1, 0, 0)
        if not (isinstance(size, int) and 0 <= size <= in_tree and -12 <= zone <= 14 and routes in {0, 1}):
            raise VerificationFailed(
                "the table catalogued was changed: it does not say how far the catalogue came, by which zone, and "
                "whether it holds routes"
            )
        self.size = size
        """Entries from this index on are not in the catalogue yet."""
        self.reader = Reader(Days(zone), lead=1, routes=bool(routes))
        self.saying: dict[str, Single] = {}
        """What single disclosures without an outcome say."""
        self._apart = uncatalogued(connection)
        self._moved_early: set[int] = set()
        """Months that were moved to files by a version that had no catalogue."""
        self._secret = secret
        self._sums: dict[int, int] = {}
        self._block = -1
        self._terms: set[str] = set()
        self._results = bytearray()
        """For each block, which results its disclosures came to."""
        self._days: defaultdict[str, int] = defaultdict(int)
        self._weights: dict[Dated, int] = {}
        self._terms_of: dict[Said, set[str]] = {}
        self._rows: defaultdict[str, Counter[Dated]] = defaultdict(Counter)
        """Of handovers that have no outcome."""
        self._unknown: dict[str, list[tuple[Dated, int | None, int]]] = {}
        self._blocks: defaultdict[str, set[int]] = defaultdict(set)
        """In which the rows of handovers lie."""

    def see(self, index: int, day: str, dateds: Sequence[Dated], told: Sequence[Told]) -> None:
        """What the next entries say, which are of one block and one day; `index` is of the first."""
        block = index // BLOCK
        if block != self._block:
            self._close(block)
        self._terms.add(f"{self._secret}day:{day}")
        for dated, n in Counter(dateds).items():
            said = dated.said
            self._terms |= self._terms_of.get(said) or self._learn(said)
            self._days[day] += n * (self._weights.get(dated) or self._weigh(dated))
            if said.result:
                self._results[block] |= _BITS[said.result]
            if said.handover:
                self._blocks[said.handover].add(block)
                if said.kind == Kind.INTENT:
                    self._rows[said.handover][dated] += n
        known: Counter[tuple[Dated, str]] = Counter()
        for each in told:
            if not isinstance(each, tuple):
                self._act(each, day)
                continue
            single, result, disclosure = each
            if single is not None:
                of, block_of = single
                self._results[block_of] |= _BITS[result]
                known[of, result] += 1
                if result == OutcomeResult.UNKNOWN:
                    self._unknown[disclosure] = [(of, block_of, 1)]
        for (concluded, result), n in known.items():
            self._come(concluded, result, n)

    def _close(self, following: int) -> None:
        if self._terms:
            self._sums[self._block] = self._sums.get(self._block, 0) + sum(map(hash, self._terms))
            self._terms = set()
        self._block = following
        self._results.extend(bytes(max(0, following + 1 - len(self._results))))

    def _learn(self, said: Said) -> set[str]:
        if len(self._terms_of) > _REMEMBERED:
            self._terms_of.clear()
        made = self._terms_of[said] = {self._secret + term for term in said.terms()}
        return made

    def _hash(self, key: Key) -> int:
        return hash("\x1f".join((self._secret, *key)))

    def _weigh(self, dated: Dated) -> int:
        if len(self._weights) > _REMEMBERED:
            self._weights.clear()
        made = self._weights[dated] = sum(map(self._hash, dated.counts()))
        return made

    def _come(self, dated: Dated, result: str, n: int) -> None:
        self._days[dated.day] += n * self._hash(dated.key("result", result))
        if result == OutcomeResult.NOT_SENT:
            self._days[dated.day] -= n * sum(map(self._hash, dated.left()))
            self._days[dated.day] += n * sum(map(self._hash, dated.kept()))

    def _act(self, entry: Mapping[str, Any], day: str) -> None:
        act, kind = Act(entry, day), entry.get("kind")
        self._terms |= {self._secret + term for term in act.terms}
        for key, n in act.counts().items():
            self._days[day] += n * self._hash(key)
        if kind == Kind.OUTCOME:
            self._package(str(entry["intent"]), str(entry["result"]))
        elif kind == Kind.RECEIPT and entry.get("handover"):
            if entry.get("result") == OutcomeResult.REJECTED or entry.get("rejected"):
                self._mark(str(entry["handover"]), OutcomeResult.REJECTED)
        elif kind == Kind.CONTROL and entry.get("act") == SETTLE:
            self._settle(str(entry["intent"]), str(entry["result"]))
        elif kind == Kind.CONTROL and entry.get("act") == ARCHIVE and not entry.get("catalogued"):
            self._moved_early.add(int(entry["month"]))

    def _package(self, handover: str, result: str) -> None:
        rows = self._rows.pop(handover, None)
        if rows is None:
            return  # a notice of recall about nobody
        for dated, n in rows.items():
            self._come(dated, result, n)
        self._mark(handover, result)
        if result == OutcomeResult.UNKNOWN:
            self._unknown[handover] = [(dated, None, n) for dated, n in rows.items()]

    def _mark(self, handover: str, result: str) -> None:
        for block in self._blocks[handover]:
            self._results[block] |= _BITS[result]

    def _settle(self, disclosure: str, result: str) -> None:
        for dated, block, n in self._unknown.pop(disclosure, ()):
            self._come(dated, result, n)
            self._days[dated.day] -= n * self._hash(dated.key("result", OutcomeResult.UNKNOWN))
            if block is None:
                self._mark(disclosure, result)
            else:
                self._results[block] |= _BITS[result]

    # --- comparing -------------------------------------------------------------------------------

    def sums(self) -> dict[int, int]:
        """For each block the sum of its terms' hashes, once everything was seen."""
        self._close(self._block)
        made = dict(self._sums)
        hashes = [(bit, hash(f"{self._secret}result:{result}")) for result, bit in _BITS.items()]
        for block, bits in enumerate(self._results):
            if bits:
                made[block] = made.get(block, 0) + sum(each for bit, each in hashes if bits & bit)
        return made

    def compare(self, connection: Connection) -> None:
        """Hold counts, and what waits for a last word, against what was seen. Raises VerificationFailed."""
        found: defaultdict[str, int] = defaultdict(int)
        for *key, n in connection.stream(_COUNTS):
            if n < 1:
                raise VerificationFailed(f"the table counts was changed: it counts {n} of something on {key[1]}")
            found[key[1]] += n * self._hash(tuple(key))
        for day in sorted(found.keys() | self._days.keys()):
            if found.get(day, 0) != self._days.get(day, 0):
                raise VerificationFailed(
                    f"the table counts was changed: its figures of {day} are not those of the entries"
                )
        if self._left() != {tuple(row[:8]): row[8] for row in connection.stream(_CONCLUDING)}:
            raise VerificationFailed(
                "the table concluding was changed: it does not hold just the disclosures of which the last word is "
                "not said"
            )
        if early := sorted(self._apart - self._moved_early):
            raise VerificationFailed(
                f"the table uncatalogued was changed: month {early[0]} was in the catalogue before it was moved"
            )

    def _left(self) -> Counter[tuple[Any, ...]]:
        """What must stand in `concluding`: its columns, and how many."""
        lefts: dict[str, list[tuple[Dated, int | None, int]]] = dict(self._unknown)
        for each, (dated, block) in self.saying.items():
            lefts[each] = [(dated, block, 1)]
        for each, rows in self._rows.items():
            lefts[each] = [(dated, None, n) for dated, n in rows.items()]
        made: Counter[tuple[Any, ...]] = Counter()
        for disclosure, few in lefts.items():
            for dated, at, n in few:
                made[disclosure, *Left.of(dated, at).columns()[:-1]] += n
        return made
