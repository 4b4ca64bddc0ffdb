"""What people who review disclosures look at: lists, figures, one disclosure's story. Each look is an entry first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial

from qaqpa.config.models import Role
from qaqpa.gateway.compliance import EnterLook, Require
from qaqpa.gateway.stories import HandoverStory, RecallStory, handover_story, recall_story
from qaqpa.handover import records
from qaqpa.handover.records import Handover
from qaqpa.ledger import Ledger
from qaqpa.ledger.disclosures import Context, Page, Query, entry_context, search
from qaqpa.ledger.figures import Figure, Overview, Period, What, counted, overview
from qaqpa.ledger.waiting import Standing, standing
from qaqpa.model.handover import HandoverState
from qaqpa.model.open_text import check_open_text
from qaqpa.model.recall import RecallState
from qaqpa.recall import records as recalls
from qaqpa.store import Connection

_IDS = {
    "subject": (
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM subject_keys WHERE subject = ?) "
        "OR EXISTS (SELECT 1 FROM erasures WHERE subject = ?)"
    ),
    "handover": (
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM handovers WHERE id = ?) "
        "OR EXISTS (SELECT 1 FROM terms WHERE term = 'handover:' || ?)"
    ),
}
"""Whether there is one with such an id."""


def _unknown(connection: Connection, query: Query) -> list[str]:
    """Ids in a query that nobody and nothing has."""
    asked = {name: value for name in _IDS if (value := getattr(query, name)) is not None}
    return [name for name, value in asked.items() if connection.execute(_IDS[name], (value, value)).first() is None]


_FILE_PAGE = 500
"""Disclosures that are read together for a file."""


class Reviewing:
    """A gateway's disclosures, for people; who asks needs the role `review`."""

    def __init__(self, ledger: Ledger, require: Require, enter_look: EnterLook) -> None:
        self._ledger = ledger
        self._require = require
        self._enter_look = enter_look

    async def search(self, caller: str, query: Query, count: int, *, iin: str | None = None) -> Page:
        """Disclosures that fit, about one person where an IIN is given. Raises NotAllowed, InvalidRequest.

        That somebody looked is entered with what was asked, and never with the IIN: with the random id that it has in
        the ledger, or `unknown` for a person who is not in it.
        """
        self._require(caller, Role.REVIEW)
        if iin is not None:
            subject = await self._ledger.subjects.find(iin)
            query = replace(query, subject="unknown" if subject is None else subject.id)
        if not await self._looked(caller, "search", query, count=count):
            return Page((), None)
        return await self._ledger.store.read(lambda connection: search(connection, query, count))

    async def _looked(self, caller: str, act: str, query: Query, **more: int) -> bool:
        """Enter the look; whether there is everything of which the query gives the id. Raises InvalidRequest."""
        said = {**query.said(), **more}
        check_open_text(**{name: str(text) for name, text in said.items() if name not in _IDS})
        # Only ids that exist are entered: anything may have been typed as one.
        unknown = await self._ledger.store.read(lambda connection: _unknown(connection, query))
        await self._enter_look(caller, act, {**said, **dict.fromkeys(unknown, "unknown")})
        return not unknown

    async def overview(self, caller: str, period: Period) -> Overview:
        """The figures of a period. Raises NotAllowed."""
        self._require(caller, Role.REVIEW)
        await self._enter_look(caller, "overview", period.said())
        return await self._ledger.store.read(lambda connection: overview(connection, period))

    async def counted(
        self, caller: str, what: What, period: Period, by: Sequence[str], **only: str
    ) -> tuple[Figure, ...]:
        """Sums of one kind (see `figures.counted`). Raises NotAllowed."""
        self._require(caller, Role.REVIEW)
        await self._enter_look(caller, "counted", {**period.said(), "what": what.value})
        return await self._ledger.store.read(lambda connection: counted(connection, what, period, by, **only))

    async def subject_of(self, caller: str, iin: str) -> str | None:
        """The random id under which this person stands; None where the ledger knows nobody. Raises NotAllowed."""
        self._require(caller, Role.REVIEW)
        subject = await self._ledger.subjects.find(iin)
        found = None if subject is None else str(subject.id)
        await self._enter_look(caller, "person", {"subject": found or "unknown"})
        return found

    async def every(self, caller: str, query: Query) -> AsyncIterator[Page]:
        """All that fit, by pages, for a file; that somebody takes it is entered first. Raises NotAllowed."""
        self._require(caller, Role.REVIEW)
        known = await self._looked(caller, "list_file", query)
        return self._pages(query, known=known)

    async def _pages(self, query: Query, *, known: bool) -> AsyncIterator[Page]:
        before: int | None = query.before
        while known:
            # No transaction lasts from one page to the next, however slowly they are taken.
            further = replace(query, before=before)
            page = await self._ledger.store.read_aside(partial(search, query=further, count=_FILE_PAGE))
            yield page
            if (before := page.before) is None:
                return

    async def handovers(
        self, caller: str, count: int, state: HandoverState | None = None, before: str | None = None
    ) -> list[Handover]:
        """Handovers, the newest first, older than the one that is `before`. Raises NotAllowed, NotFound."""
        self._require(caller, Role.REVIEW)
        said: dict[str, str | int] = {"count": count} if state is None else {"count": count, "state": state.value}
        await self._enter_look(caller, "handovers", said)
        return await self._ledger.store.read(lambda connection: records.page(connection, count, state, before))

    async def handover(self, caller: str, handover: str) -> HandoverStory:
        """A handover with all that belongs to it. Raises NotAllowed, NotFound."""
        self._require(caller, Role.REVIEW)
        found = await self._ledger.store.read(lambda connection: handover_story(connection, handover))
        await self._enter_look(caller, "handover", {"handover": found.handover.id})
        return found

    async def recall(self, caller: str, recall: str) -> RecallStory:
        """A recall with all that belongs to it. Raises NotAllowed, NotFound."""
        self._require(caller, Role.REVIEW)
        found = await self._ledger.store.read(lambda connection: recall_story(connection, recall))
        await self._enter_look(caller, "recall", {"recall": found.recall.id})
        return found

    async def standing(self, caller: str) -> Standing:
        """What waits for somebody, and how the ledger is. Raises NotAllowed."""
        self._require(caller, Role.REVIEW)
        return await self._ledger.store.read(standing)

    async def recalls(self, caller: str, *states: RecallState) -> dict[RecallState, int]:
        """How many recalls are in each of these states: numbers alone, so no look. Raises NotAllowed."""
        self._require(caller, Role.REVIEW)
        return await self._ledger.store.read(lambda connection: recalls.counts(connection, states))

    async def disclosure(self, caller: str, index: int) -> Context:
        """One entry with what belongs to it. Raises NotAllowed, NotFound."""
        self._require(caller, Role.REVIEW)
        found = await self._ledger.store.read(lambda connection: entry_context(connection, index))
        await self._enter_look(caller, "disclosure", {"index": index})
        return found
