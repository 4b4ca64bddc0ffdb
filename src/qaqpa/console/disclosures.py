"""Disclosures: found by what their entries say, listed by pages, written to files; and one of them told in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from qaqpa.console.files import KINDS
from qaqpa.console.names import CAME, ENTRIES, GROUNDS, GUARDS_OF_LAW
from qaqpa.console.overview import day_asked, name_of
from qaqpa.console.page import READERS, Page
from qaqpa.console.sheets import Tell, as_it_stands, sheet_of
from qaqpa.console.telling import Teller, saying
from qaqpa.console.visit import ROOT, Visit, link, require_subject_id
from qaqpa.errors import InvalidRequest
from qaqpa.ledger.disclosures import LISTED_KINDS, DisclosureResult, Listed, Query
from qaqpa.model.decision import Result
from qaqpa.model.identifiers import is_our_id
from qaqpa.model.open_text import check_open_text
from qaqpa.tables import HEADINGS
from qaqpa.translation import N_

COUNT = 50
_IDS = ("handover", "subject")
"""Of forms of ours: their digits are nobody's number."""
_TEXTS = (
    "kind", "caller", "recipient", "operation", "purpose", "ground", "clause", "field", "reason", *_IDS,
)  # fmt: skip


def query_asked(visit: Visit) -> Query:
    """What the address asks for. Raises InvalidRequest."""
    texts = {name: visit.asked(name)[:200] or None for name in _TEXTS}
    result, before = visit.asked("result"), visit.asked("before")
    if (subject := texts["subject"]) is not None:
        require_subject_id(subject)
    if (handover := texts["handover"]) is not None and not is_our_id(handover):
        raise InvalidRequest(["handover: is the id of a handover"])
    if result and result not in set(DisclosureResult):
        raise InvalidRequest([f"result: is one of {', '.join(DisclosureResult)}"])
    if texts["kind"] is not None and texts["kind"] not in LISTED_KINDS:
        raise InvalidRequest([f"kind: is one of {', '.join(LISTED_KINDS)}"])
    if before and not (before.isdecimal() and len(before) <= 18):
        raise InvalidRequest(["before: is the number of an entry"])
    return Query(
        since=day_asked(visit, "since"),
        until=day_asked(visit, "until"),
        result=DisclosureResult(result) if result else None,
        rejected_row=True if visit.asked("rejected_row") else None,
        before=int(before) if before else None,
        **texts,
    )


def address(query: Query, path: str = "/disclosures", **more: Any) -> str:
    """The address of a list."""
    said = {each.name: getattr(query, each.name) for each in fields_of(Query)} | more
    said["result"] = None if query.result is None else query.result.value
    said["rejected_row"] = 1 if query.rejected_row else None
    return link(path, **said)


async def list_disclosures(visit: Visit) -> Response:
    """A page of them, the latest first."""
    query = query_asked(visit)
    found = await visit.gateway.reviewing.search(visit.caller, query, COUNT)
    return visit.page(
        "disclosures.html",
        query=query,
        found=found,
        further=None if found.before is None else address(replace(query, before=found.before)),
        newest=None if query.before is None else address(replace(query, before=None)),
        export=address(replace(query, before=None), "/disclosures/export"),
        KINDS=KINDS,
        choices=_choices(visit, query),
        recipients=visit.gateway.policy.recipients,
        callers=visit.gateway.policy.callers,
        saved=await visit.house.saved.of(visit.person),
        here_asked=address(replace(query, before=None)),
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the search's lists."""

    name: str
    label: str
    """To be translated."""
    options: list[tuple[str, str]]
    """Values, and how each is called in the reader's language."""
    chosen: str


def _choices(visit: Visit, query: Query) -> list[Choice]:
    policy, words, routes = visit.gateway.policy, visit.house.looks.words(visit.language), visit.gateway.policy.routes
    fields = {path for route in routes.values() for path in route.fields}
    known: dict[str, tuple[str, dict[str, str]]] = {
        "kind": (N_("What"), {name: words.gettext(ENTRIES[name]) for name in LISTED_KINDS}),
        "recipient": (N_("Recipient"), {name: name_of(visit, "recipient", name) for name in policy.recipients}),
        "caller": (N_("Caller"), {name: name_of(visit, "caller", name) for name in policy.callers}),
        "purpose": (
            N_("Purpose"),
            {name: f"{name_of(visit, 'purpose', name)} ({clause})" for name, clause in policy.purposes.items()},
        ),
        "operation": (
            N_("Operation"),
            {name: saying(visit).operation(name) for name in sorted({asked.operation for asked in routes})},
        ),
        "ground": (N_("Ground"), {name: words.gettext(text) for name, text in GROUNDS.items()}),
        "clause": (N_("Clause"), {name: name for name in policy.clauses}),
        "field": (
            N_("Field that left"),
            {path: f"{HEADINGS[path].in_language(visit.language)} ({path})" for path in fields},
        ),
        "reason": (N_("Refused for a guard"), _guards(visit)),
        "result": (N_("Result"), {each.value: words.gettext(text) for each, (text, _) in CAME.items()}),
    }
    made = []
    for name, (label, names) in known.items():
        chosen = str(getattr(query, name) or "")
        others = {} if chosen in names or not chosen else {chosen: chosen}
        options = sorted((names | others).items(), key=lambda each: each[1])
        made.append(Choice(name, label, options, chosen))
    return made


def _guards(visit: Visit) -> dict[str, str]:
    """Guards of law and of the configuration: what each demands."""
    teller = Teller(visit)
    return {name: teller.guard(name) for name in (*GUARDS_OF_LAW, *visit.gateway.setup.config.guards)}


async def save(visit: Visit) -> Response:
    """Keep a search under a name."""
    path, _, said = visit.posted("address").partition("?")
    if path != link("/disclosures"):
        raise InvalidRequest(["address: is no list of disclosures"])
    there = Request({**visit.request.scope, "query_string": said.encode()})
    query = replace(query_asked(replace(visit, request=there)), before=None)
    check_open_text(**{name: str(text) for name, text in query.said().items() if name not in _IDS})
    found = address(query)  # made anew, so that nothing is kept which is no part of a search
    await visit.house.saved.add(visit.person, visit.posted("name")[:60], found)
    return visit.to(found.removeprefix(ROOT))


async def forget(visit: Visit) -> Response:
    """Remove a saved search."""
    await visit.house.saved.remove(visit.person, visit.posted("name"))
    return visit.to("/disclosures")


async def export(visit: Visit) -> Response:
    """The whole list as a file. That somebody took it is entered, so it is posted: no other site has it taken."""
    kind, query = visit.posted("format"), replace(query_asked(visit), before=None)
    if kind not in KINDS:
        raise InvalidRequest([f"format: is one of {', '.join(KINDS)}"])

    async def begin() -> AsyncIterator[Iterable[Listed]]:
        pages = await visit.gateway.reviewing.every(visit.caller, query)
        return (page.listed async for page in pages)

    # What people read tells values in words; JSONL, which programs read, as the ledger has them.
    sheet = sheet_of(as_it_stands if kind == "jsonl" else _teller(visit))
    return await visit.house.files.answer(visit.person.session, visit.language, kind, sheet, begin)


def _teller(visit: Visit) -> Tell:
    teller, words = Teller(visit), visit.house.looks.words(visit.language)
    known: dict[str, Mapping[Any, str]] = {
        "result": {name: text for name, (text, _) in CAME.items()}, "ground": GROUNDS,
    }  # fmt: skip

    def tell(column: str, value: str) -> str:
        if column in {"caller", "recipient", "purpose"}:
            return name_of(visit, column, value)
        if column in {"fields", "withheld"}:
            return HEADINGS[value].in_language(visit.language) if value in HEADINGS else value
        if column in set(Result):
            return teller.guard(value, column)
        if column == "operation":
            return teller.say.operation(value)
        return words.gettext(known[column][value]) if value in known.get(column, ()) else value

    return tell


PAGES = (
    Page("GET", "/disclosures", list_disclosures, READERS),
    Page("POST", "/disclosures/export", export, READERS),
    Page("POST", "/disclosures/save", save, READERS),
    Page("POST", "/disclosures/forget", forget, READERS),
)
