"""The tables of handovers, held against the entries: which rows were to go, how far each handover has come. They decide
what goes into a package after a crash, which rows a receipt or a recall speaks of, and what is still to be sent; so
nobody turns a refused row into one that goes, or a handover that was sent into one that was not, in silence.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from qaqpa.errors import VerificationFailed
from qaqpa.model.handover import HandoverState, RowResult
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection

_HANDOVERS = "SELECT id, caller, recipient, state FROM handovers"
_CHUNKS = "SELECT handover, number, results, figures FROM handover_chunks ORDER BY handover, number"
_PRIME = 2**61 - 1
_BEFORE = frozenset({HandoverState.DECIDING, HandoverState.PACKAGED})
_NO_ROW_YET = frozenset({HandoverState.QUEUED, HandoverState.DECIDING, HandoverState.CANCELLED})
_AFTER = {
    OutcomeResult.DELIVERED: HandoverState.SENT,
    OutcomeResult.REJECTED: HandoverState.REJECTED,
    OutcomeResult.NOT_SENT: HandoverState.CANCELLED,
    OutcomeResult.UNKNOWN: HandoverState.UNKNOWN,
}


def place_of(disclosure: str) -> int:
    """What the id of a row's disclosure says of its line (see `model.handover.row_id`): `place` of that."""
    return int(disclosure[15:18] + disclosure[19:23] + disclosure[24:26], 16) >> 2


def place(line: int) -> int:
    """A line of a register, with the two bits of a UUID's variant (RFC 9562) in it."""
    return line >> 20 << 22 | 0x200000 | line & 0xFFFFF


def line_of(disclosure: str) -> int:
    """The line that the id of a row's disclosure tells."""
    found = place_of(disclosure)
    return found >> 22 << 20 | found & 0xFFFFF


@dataclass(slots=True)
class Said:
    """What the entries say of one handover."""

    index: int
    """Of its first row."""
    caller: str
    recipient: str
    rows: int = 0
    last: str = ""
    """Id of the last of them."""
    mark: int = 0
    """Of the lines of its rows, in their order."""
    whole: bool = False
    result: OutcomeResult | None = None
    receipt: str | None = None

    @property
    def states(self) -> frozenset[HandoverState]:
        """Where it may stand."""
        if self.receipt is not None:
            return frozenset({HandoverState.REJECTED if self.receipt == "rejected" else HandoverState.ACKNOWLEDGED})
        if self.result is not None:
            return frozenset({_AFTER[self.result]})
        return frozenset({HandoverState.SENDING}) if self.whole else _BEFORE


@dataclass(slots=True)
class HandedOver:
    """Collects what the entries say of handovers, in their order, to compare it at the end.

    Of the lines of rows only a sum is kept, a polynomial over a secret of this one run: nobody can choose other lines
    that have the same.
    """

    said: dict[str, Said] = field(default_factory=dict)
    _secret: int = field(default_factory=lambda: secrets.randbelow(_PRIME - 2) + 2)

    def row(self, found: Said, disclosure: str) -> None:
        """The next row that goes."""
        found.last = disclosure
        found.rows += 1
        found.mark = (found.mark * self._secret + place_of(disclosure)) % _PRIME

    def told(self, handover: str, entry: Mapping[str, Any]) -> None:
        """The intent or outcome of its package, its receipt, or what a person found out."""
        found = self.said.get(handover)
        if found is None:
            return  # a disclosure of one person
        if entry.get("kind") == "receipt":
            found.receipt = str(entry.get("result"))
        elif entry.get("kind") == "intent":
            found.whole = True
        else:
            found.result = OutcomeResult(str(entry.get("result")))

    def compare(self, connection: Connection) -> None:
        """Hold the tables against the entries, once. Raises VerificationFailed."""
        marks = dict(self._marks(connection))
        for name, caller, recipient, state in connection.stream(_HANDOVERS):
            said, mark = self.said.pop(name, None), marks.pop(name, 0)
            if said is None:
                if state not in _NO_ROW_YET or mark:
                    raise _changed(f"{name} is {state}, and no row of it is an entry")
                continue
            if (caller, recipient) != (said.caller, said.recipient):
                raise _changed(f"{name} is not by whom or to whom its rows say", said.index)
            if state not in said.states:
                expected = " or ".join(sorted(said.states))
                raise _changed(f"{name} is {state}, by the entries it is {expected}", said.index)
            if mark != said.mark:
                raise _changed(f"the rows of {name} that go are not those that were entered", said.index)
        for name, said in self.said.items():
            raise _changed(f"{name} of entry {said.index} is missing", said.index)
        for name in marks:
            raise _changed(f"there are rows of {name}, which is none")

    def _marks(self, connection: Connection) -> Iterator[tuple[str, int]]:
        """Of each handover in the tables, the same sum; 0 where no row of it goes."""
        handover, expected, mark = "", 0, 0
        for name, number, found, figures in connection.stream(_CHUNKS):
            if name != handover:
                if handover:
                    yield handover, mark
                handover, expected, mark = name, 0, 0
            if number != expected:
                raise _changed(f"a chunk of {name} is missing")
            expected += 1
            lines, results = orjson.loads(figures)["lines"], bytes(found)
            if len(lines) != len(results):  # first and last of lines that follow each other
                lines = range(lines[0], lines[-1] + 1)
            for line, result in zip(lines, results, strict=True):
                if result == RowResult.PERMIT:
                    mark = (mark * self._secret + place(line)) % _PRIME
        if handover:
            yield handover, mark


def _changed(how: str, index: int | None = None) -> VerificationFailed:
    return VerificationFailed(f"the register of handovers was changed: {how}", index=index)
