"""A handover or a recall with all that belongs to it, as the ledger and the books beside it tell: read in one view."""

from __future__ import annotations

from dataclasses import dataclass

from qaqpa.handover import records as handovers
from qaqpa.handover.handovers import Standing
from qaqpa.handover.records import Handover
from qaqpa.ledger.came import Came
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import Entry, entries_of
from qaqpa.model.handover import Finding, RowResult
from qaqpa.recall import records as recalls
from qaqpa.recall.records import Recalled
from qaqpa.store import Connection

_RECALLS = 100
_REJECTED = 50


@dataclass(frozen=True, slots=True)
class HandoverStory:
    """A handover, what became of its rows, and what followed."""

    standing: Standing
    alike: tuple[tuple[Finding, int], ...]
    """Rows that stayed behind or came back, by reason: the first of them, and how many."""
    rejected: tuple[Finding, ...]
    """The first of those that the recipient did not take."""
    recalls: tuple[Recalled, ...]
    """Of it and of its rows, the first hundred."""
    entries: tuple[Entry, ...]
    """Of the package: its intent, outcome, receipt, and what a person said of it; in order."""

    @property
    def handover(self) -> Handover:
        """As it stands."""
        return self.standing.handover


@dataclass(frozen=True, slots=True)
class RecallStory:
    """A recall, and what belongs to it."""

    recall: Recalled
    entries: tuple[Entry, ...]
    """That somebody asked, notices, receipts; in order."""
    target: Entry | None
    """The intent of what is recalled; None where that lies in a file."""


def handover_story(connection: Connection, handover: str) -> HandoverStory:
    """Raises NotFound."""
    found = handovers.find(connection, handover)
    standing = Standing(found, handovers.progress(connection, handover), handovers.counts(connection, handover))
    came = Came(connection)
    package, ended, receipt = _intent(connection, handover), came.package(handover), came.receipt(handover)
    entries = (package, ended.outcome, ended.settlement, receipt)
    return HandoverStory(
        standing,
        tuple(handovers.alike(connection, handover)),
        tuple(handovers.findings(connection, handover, limit=_REJECTED, result=RowResult.REJECTED)),
        tuple(recalls.of_handover(connection, handover, _RECALLS)),
        tuple(sorted((each for each in entries if each is not None), key=lambda each: each.index)),
    )


def recall_story(connection: Connection, recall: str) -> RecallStory:
    """Raises NotFound."""
    found = recalls.find(connection, recall)
    came = Came(connection)
    told = {each.index: each for each in came.of_recall(recall)}
    if found.notice is not None and (outcome := came.package(found.notice).outcome) is not None:
        told[outcome.index] = outcome
    return RecallStory(found, tuple(told[index] for index in sorted(told)), _intent(connection, found.target))


def _intent(connection: Connection, request: str) -> Entry | None:
    return next(entries_of(connection, kind=Kind.INTENT.value, request=request), None)
