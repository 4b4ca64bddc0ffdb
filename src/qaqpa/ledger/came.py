"""What came of disclosures: outcomes, settlements and receipts, found for many entries at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import orjson

from qaqpa.ledger.catalogue import catalogued
from qaqpa.ledger.entries import SETTLE, Kind
from qaqpa.ledger.integrate import BLOCK, indexed, integrated
from qaqpa.ledger.listed import DisclosureResult, Listed
from qaqpa.ledger.read import Entry, as_entry
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection

_ABOUT = "SELECT block FROM terms WHERE term = ? ORDER BY block"
_STATE = "SELECT disclosure, state FROM unsettled WHERE disclosure IN ({})"
_REJECTED = "SELECT row, reasons FROM handover_findings WHERE handover = ? AND result = 'rejected' AND row IN ({})"
_RANGES = 16
"""Stretches of entries that one query reads."""
_TAIL = 16_384
"""Entries that the catalogue does not hold yet and that are looked through for what refers to an earlier one."""


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


@dataclass(frozen=True, slots=True)
class _Ended:
    """The last word on a disclosure, or on a package."""

    outcome: Entry | None = None
    settlement: Entry | None = None
    result: DisclosureResult | None = None


@dataclass
class Came:
    """Finds what came of disclosures, in one view of the database; packages are looked up once."""

    connection: Connection
    _packages: dict[str, _Ended] = field(default_factory=dict)
    _receipts: dict[str, Entry | None] = field(default_factory=dict)

    def of(self, entries: Sequence[Entry]) -> list[Listed]:
        """Each with what came of it. They are intents, refusals and reused ones about somebody, in any order."""
        contents = [entry.content for entry in entries]
        singles = [
            (entry.index, str(content["id"]))
            for entry, content in zip(entries, contents, strict=True)
            if content["kind"] == Kind.INTENT and "handover" not in content
        ]
        ended = self._ended(singles)
        rejected = self._rejected(contents)
        return [self._listed(entry, content, ended, rejected) for entry, content in zip(entries, contents, strict=True)]

    def _listed(
        self,
        entry: Entry,
        content: dict[str, Any],
        ended: dict[str, _Ended],
        rejected: dict[tuple[str, int], tuple[str, ...]],
    ) -> Listed:
        if content["kind"] == Kind.REUSED:
            return Listed(entry, DisclosureResult.REUSED)
        if content["kind"] == Kind.REFUSAL:
            return Listed(entry, DisclosureResult(content["result"]))
        handover = content.get("handover")
        if handover is None:
            one = ended[str(content["id"])]
            return Listed(entry, one.result, one.outcome, None, one.settlement)
        package = self.package(handover)
        codes = rejected.get((handover, content["row"]))
        if package.result is DisclosureResult.DELIVERED and codes is None and self._all_rejected(handover):
            codes = ()
        return Listed(entry, package.result, package.outcome, codes, package.settlement)

    def package(self, handover: str) -> _Ended:
        """What came of a package."""
        if handover not in self._packages:
            self._packages[handover] = self._ended([(0, handover)])[handover]
        return self._packages[handover]

    def receipt(self, handover: str) -> Entry | None:
        """The receipt for a package."""
        if handover not in self._receipts:
            found = self.about(handover, Kind.RECEIPT)
            self._receipts[handover] = found[-1] if found else None
        return self._receipts[handover]

    def _all_rejected(self, handover: str) -> bool:
        receipt = self.receipt(handover)
        return receipt is not None and receipt.content["result"] == OutcomeResult.REJECTED

    def _rejected(self, contents: Iterable[dict[str, Any]]) -> dict[tuple[str, int], tuple[str, ...]]:
        """By handover and row, the codes with which a receipt rejects it."""
        rows: dict[str, list[int]] = {}
        for content in contents:
            if content["kind"] == Kind.INTENT and "handover" in content:
                rows.setdefault(content["handover"], []).append(content["row"])
        found = {}
        for handover, numbers in rows.items():
            sql = _REJECTED.format(_marks(numbers))
            for row, reasons in self.connection.execute(sql, (handover, *numbers)).all():
                found[handover, row] = tuple(str(each.get("code", "")) for each in orjson.loads(reasons))
        return found

    def _ended(self, intents: Sequence[tuple[int, str]]) -> dict[str, _Ended]:
        """The last word on each of some intents, given by index and id."""
        if not intents:
            return {}
        outcomes = self._outcomes(intents)
        doubtful = [each for _, each in intents if _result_of(outcomes.get(each)) in {None, OutcomeResult.UNKNOWN}]
        states: dict[str, str] = {}
        if doubtful:
            states.update(self.connection.execute(_STATE.format(_marks(doubtful)), doubtful).all())
        return {each: self._last_word(each, outcomes.get(each), states.get(each)) for _, each in intents}

    def _last_word(self, disclosure: str, outcome: Entry | None, state: str | None) -> _Ended:
        result = _result_of(outcome)
        if result is None:
            return _Ended(None, None, None if state is None else DisclosureResult(state))
        if result != OutcomeResult.UNKNOWN or state is not None:
            return _Ended(outcome, None, DisclosureResult(result))
        settled = [each for each in self.about(disclosure, Kind.CONTROL) if each.content["act"] == SETTLE]
        if not settled:  # the control lies in a file
            return _Ended(outcome)
        return _Ended(outcome, settled[-1], DisclosureResult(settled[-1].content["result"]))

    def _outcomes(self, intents: Sequence[tuple[int, str]]) -> dict[str, Entry]:
        """By the id of its intent, each outcome that stands in the database. Most stand soon after their intents."""
        found: dict[str, Entry] = {}
        wanted = {each for _, each in intents}
        near = sorted({(index // BLOCK) + after for index, _ in intents if index for after in (0, 1)})
        self._look(found, wanted, near)
        if missing := wanted - found.keys():
            terms = [f"request:{each}" for each in missing]
            sql = f"SELECT DISTINCT block FROM terms WHERE term IN ({_marks(terms)}) ORDER BY block"  # noqa: S608
            far = [row[0] for row in self.connection.execute(sql, terms).all()]
            self._look(found, missing, [block for block in far if block not in near])
        if missing := wanted - found.keys():
            end = indexed(integrated(self.connection)[0])
            self._look_between(found, missing, [(end, 2**62)])
        return found

    def _look(self, found: dict[str, Entry], wanted: set[str], blocks: Sequence[int]) -> None:
        runs: list[tuple[int, int]] = []
        for block in blocks:
            if runs and runs[-1][1] == block * BLOCK:
                runs[-1] = (runs[-1][0], (block + 1) * BLOCK)
            else:
                runs.append((block * BLOCK, (block + 1) * BLOCK))
        for at in range(0, len(runs), _RANGES):
            self._look_between(found, wanted, runs[at : at + _RANGES])

    def _look_between(self, found: dict[str, Entry], wanted: set[str], ranges: Sequence[tuple[int, int]]) -> None:
        ids = sorted(wanted - found.keys())
        if not ids:
            return
        between = " OR ".join(["idx >= ? AND idx < ?"] * len(ranges))
        sql = (
            f"SELECT idx, leaf, body, request FROM entries WHERE ({between}) AND kind = 'outcome' "  # noqa: S608 - marks
            f"AND request IN ({_marks(ids)})"
        )
        for *row, request in self.connection.execute(sql, (*chain.from_iterable(ranges), *ids)).all():
            found[request] = as_entry(tuple(row))

    def about(self, disclosure: str, *kinds: Kind) -> list[Entry]:
        """Entries of these kinds that refer to a disclosure, a handover or a recall, in order."""
        return [*self._referring(disclosure, kinds, ("of", "intent", "disclosure", "handover"), f"of:{disclosure}")]

    def of_recall(self, recall: str) -> list[Entry]:
        """Entries that belong to a recall: that somebody asked, notices, receipts; in order."""
        kinds = (Kind.RECALL, Kind.INTENT, Kind.REFUSAL, Kind.RECEIPT)
        return [*self._referring(recall, kinds, ("recall",), f"recall:{recall}")]

    def _referring(self, to: str, kinds: Sequence[Kind], names: Sequence[str], term: str) -> Iterator[Entry]:
        size = catalogued(self.connection).size
        ranges = [(row[0] * BLOCK, (row[0] + 1) * BLOCK) for row in self.connection.execute(_ABOUT, (term,)).all()]
        sql = (
            "SELECT idx, leaf, body FROM entries WHERE idx >= ? AND idx < ? "  # noqa: S608 - marks only
            f"AND kind IN ({_marks(kinds)}) ORDER BY idx"
        )
        said = [kind.value for kind in kinds]
        for low, high in [*((low, min(high, size)) for low, high in ranges), (size, size + _TAIL)]:
            for row in self.connection.execute(sql, (low, high, *said)).all():
                entry = as_entry(row)
                if any(entry.content.get(name) == to for name in names):
                    yield entry


def _result_of(outcome: Entry | None) -> str | None:
    return None if outcome is None else str(outcome.content["result"])
