"""Entries and disclosures, searched for: `POST /v1/disclosures/search`. An IIN stands in the body, never elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import Field, StringConstraints

from qaqpa.errors import InvalidRequest
from qaqpa.ledger.disclosures import DisclosureResult, Listed, Query
from qaqpa.ledger.read import Entry, Wanted
from qaqpa.model.identifiers import Iin, Slug
from qaqpa.model.words import Day, Flag
from qaqpa.service.desk import Desk, desk
from qaqpa.service.exchange import json_answer
from qaqpa.service.schemas import Hash, Id, Shape

_ClauseId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.()-]{0,39}$")]
_Path = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=100)]
_Subject = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
_DISCLOSED = (
    "since", "until", "operation", "purpose", "ground", "clause", "field", "reason", "handover", "subject", "result",
    "rejected_row",
)  # fmt: skip


class SearchRequest(Shape):
    """Which entries; all that are given must fit. An IIN stands here and never in an address.

    Where `disclosures` is true, or anything from `since` on is given, disclosures are answered, each with what came of
    it: intents (rows of handovers each), refusals, reports that served again.
    """

    iin: Iin | None = None
    recipient: Slug | None = None
    caller: Slug | None = None
    kind: Slug | None = None
    """Of any entry; not together with what asks for disclosures."""
    before: Annotated[int, Field(strict=True, ge=0, lt=2**53)] | None = None
    """Only indexes below this one: the way to the next page."""
    count: Annotated[int, Field(strict=True, ge=1, le=500)] = 50
    disclosures: Flag = False
    since: Day | None = None
    """Of these legal days in the operator's zone, both included."""
    until: Day | None = None
    operation: Slug | None = None
    purpose: Slug | None = None
    ground: Slug | None = None
    clause: _ClauseId | None = None
    """A clause that the decision cites."""
    field: _Path | None = None
    """A path that left."""
    reason: Slug | None = None
    """A guard for which it was refused."""
    handover: Id | None = None
    subject: _Subject | None = None
    """The random id of a person; not together with `iin`."""
    result: DisclosureResult | None = None
    """What the outcome says, or the person who settled it; each disclosure has one."""
    rejected_row: Literal[True] | None = None
    """Only rows that arrived and that the recipient's receipt rejects."""

    def query(self) -> Query | None:
        """Which disclosures; None where entries of any kind are asked for. Raises InvalidRequest."""
        given = {name: value for name in _DISCLOSED if (value := getattr(self, name)) is not None}
        if not given and not self.disclosures:
            return None
        wrong = []
        if self.kind is not None:
            wrong.append("kind: is of entries; disclosures are intents, refusals and reports that served again")
        if self.iin is not None and self.subject is not None:
            wrong.append("subject: goes without iin, which says the same")
        if self.since is not None and self.until is not None and self.since > self.until:
            wrong.append("until: lies before since")
        if wrong:
            raise InvalidRequest(wrong)
        return Query(recipient=self.recipient, caller=self.caller, before=self.before, **given)


class EntryAnswer(Shape):
    """One entry: its body as it is hashed, and what it says."""

    index: int
    leaf: Hash
    entry: dict[str, Any]


class ListedAnswer(EntryAnswer):
    """A disclosure with what came of it."""

    result: DisclosureResult | None
    """null where its outcome lies in a file."""
    outcome: EntryAnswer | None
    """Of a row of a handover, that of its package."""
    settlement: EntryAnswer | None
    """By which a person said what came of an unknown one."""
    rejected: list[str] | None
    """Codes with which the recipient's receipt rejects this row, which arrived; empty where it rejects the whole
    package, null where it rejects nothing."""


class EntriesAnswer(Shape):
    """A page of entries, the latest first."""

    entries: list[ListedAnswer | EntryAnswer]
    next_before: int | None
    """`before` of the next page; null on the last one."""
    whole: bool | None = None
    """Of disclosures: false where so many entries were looked through that the page ends early; `before` goes on."""
    behind: int | None = None
    """Of disclosures: how many of the last entries are not in the catalogue yet."""
    in_files: list[str] | None = None
    """Of disclosures: files of months that the search reaches into; what they hold is not listed."""


def entry_answer(entry: Entry) -> dict[str, Any]:
    """As EntryAnswer says."""
    return {"index": entry.index, "leaf": entry.leaf.hex(), "entry": entry.content}


def listed_answer(listed: Listed) -> dict[str, Any]:
    """As ListedAnswer says."""
    return {
        **entry_answer(listed.entry),
        "result": listed.result,
        "outcome": None if listed.outcome is None else entry_answer(listed.outcome),
        "settlement": None if listed.settlement is None else entry_answer(listed.settlement),
        "rejected": None if listed.rejected is None else list(listed.rejected),
    }


async def search(request: Request) -> Response:
    """Entries or disclosures that fit, the latest first. A person's look is itself an entry."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, SearchRequest)
    query = asked.query()
    if query is not None:
        return await _disclosures(at, caller, asked, query)
    found = await at.gateway.compliance.search(
        caller,
        asked.count,
        Wanted(recipient=asked.recipient, caller=asked.caller, kind=asked.kind, before=asked.before),
        iin=asked.iin,
    )
    entries = [entry_answer(entry) for entry in reversed(found)]
    more = len(found) == asked.count and found[0].index > 0
    return json_answer({"entries": entries, "next_before": found[0].index if more else None})


async def _disclosures(at: Desk, caller: str, asked: SearchRequest, query: Query) -> Response:
    page = await at.gateway.reviewing.search(caller, query, asked.count, iin=asked.iin)
    return json_answer(
        {
            "entries": [listed_answer(each) for each in page.listed],
            "next_before": page.before,
            "whole": page.is_whole,
            "behind": page.behind,
            "in_files": list(page.in_files),
        }
    )
