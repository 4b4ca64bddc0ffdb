"""Handovers: how far each came, what went and what stayed behind, the receipt; cancelling, and asking them back."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

from babel.dates import format_timedelta
from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.files import KINDS
from qaqpa.console.names import CAME, HANDOVER_STATES, RECALL_MARKS, RECALL_SCOPES, RECEIPTS, WHY
from qaqpa.console.overview import name_of
from qaqpa.console.page import READERS, Page
from qaqpa.console.rowsheets import rows_of
from qaqpa.console.telling import Teller, purpose_of, saying
from qaqpa.console.visit import Visit, link
from qaqpa.errors import InvalidRequest, NotFound, NotPossible
from qaqpa.gateway.handover_answers import RESULTS as ROW_RESULTS
from qaqpa.gateway.handover_answers import Tally, pace, reason_lines
from qaqpa.gateway.stories import HandoverStory
from qaqpa.handover.records import Handover
from qaqpa.model.handover import FINAL, Finding, HandoverState, RowResult
from qaqpa.model.recall import RecallReason
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection

_COUNT = 50
_ROWS = 100
_TOO_LATE = FINAL | {HandoverState.SENT, HandoverState.UNKNOWN}
_MAY_BE_THERE = frozenset(
    {HandoverState.SENT, HandoverState.ACKNOWLEDGED, HandoverState.REJECTED, HandoverState.UNKNOWN}
)
_WORKED_ON = frozenset(HandoverState) - _TOO_LATE
SETTLED = tuple(each for each in OutcomeResult if each is not OutcomeResult.UNKNOWN)
"""What a person may say of what ended unknown."""


async def list_handovers(visit: Visit) -> Response:
    """A page of them, the latest first."""
    state = _state_asked(visit)
    found = await visit.gateway.reviewing.handovers(visit.caller, _COUNT + 1, state, visit.asked("before") or None)
    shown = found[:_COUNT]
    say = saying(visit)
    return visit.page(
        "handovers.html",
        handovers=[(each, *_names(visit, each), say.operation(each.order.operation)) for each in shown],
        state=state,
        further=link("/handovers", state=state, before=shown[-1].id) if len(found) > _COUNT else None,
        newest=link("/handovers", state=state) if visit.asked("before") else None,
        STATES=HANDOVER_STATES,
        WORKED_ON=_WORKED_ON | {HandoverState.SENT},
    )


def _state_asked(visit: Visit) -> HandoverState | None:
    text = visit.asked("state")
    if text and text not in set(HandoverState):
        raise InvalidRequest([f"state: is one of {', '.join(HandoverState)}"])
    return HandoverState(text) if text else None


def _names(visit: Visit, handover: Handover) -> tuple[str, str]:
    order = handover.order
    return name_of(visit, "caller", order.caller), name_of(visit, "recipient", order.recipient)


# --- one -------------------------------------------------------------------------------------------


async def show(visit: Visit) -> Response:
    """One of them with all that belongs to it."""
    story = await visit.gateway.reviewing.handover(visit.caller, visit.in_path("handover"))
    handover, teller = story.handover, Teller(visit)
    caller, recipient = _names(visit, handover)
    now = pace(story.standing, visit.gateway.ledger.clock())
    return visit.page(
        "handover.html",
        story=story,
        handover=handover,
        figures=handover.figures,
        caller=caller,
        recipient=recipient,
        operation=teller.say.operation(handover.order.operation),
        purpose=purpose_of(visit, handover.order.purpose),
        pace=now,
        left_for=None if now.eta_s is None else _in_words(visit, now.eta_s),
        package_name=visit.gateway.handovers.package_name(handover),
        counts=_counts(story),
        reports=[
            (each, name_of(visit, "recipient", each.recipient))
            for each in await visit.gateway.handovers.reports(visit.caller, handover)
        ],
        reasons=_reasons(visit, story),
        rejected=[(each.number, _codes(each)) for each in story.rejected],
        entries=[(each, teller.what(each.content)) for each in story.entries],
        recalls=[(each, teller.say.state(each.state), teller.say.reason(each.reason)) for each in story.recalls],
        is_worked_on=handover.state in _WORKED_ON,
        may_cancel=handover.state not in _TOO_LATE,
        may_be_there=handover.state in _MAY_BE_THERE,
        recall_reasons=[(each, teller.say.reason(each)) for each in RecallReason],
        settled=[(each, CAME[each][0]) for each in SETTLED],  # type: ignore[index]
        STATES=HANDOVER_STATES,
        WHY=WHY,
        RECEIPTS=RECEIPTS,
        RECALL_MARKS=RECALL_MARKS,
        RECALL_SCOPES=RECALL_SCOPES,
        ROW_RESULTS=ROW_RESULTS,
        RowResult=RowResult,
    )


def _in_words(visit: Visit, seconds: float) -> str:
    return str(format_timedelta(timedelta(seconds=max(seconds, 1)), locale=visit.language, threshold=2))


def _counts(story: HandoverStory) -> list[tuple[RowResult, int]]:
    """Rows by what became of them, also those that came back."""
    counts = Counter(dict(story.standing.counts))
    for first, rows in story.alike:
        if first.result is RowResult.REJECTED:
            counts[RowResult.REJECTED] += rows
    return [(each, counts[each]) for each in RowResult if counts[each]]


def _reasons(visit: Visit, story: HandoverStory) -> list[tuple[RowResult, str, int, str]]:
    """Why rows stayed behind or came back, the most frequent reason first, each with the address of its rows."""
    tally, guards, path = (
        Tally(visit.language),
        visit.gateway.setup.config.guards,
        f"/handovers/{story.handover.id}/rows",
    )
    addresses: dict[tuple[RowResult, str], str] = {}
    for first, rows in story.alike:
        lines = tally.add(first, reason_lines(first, guards, visit.language), rows)
        for said, line in zip(first.reasons, lines, strict=True):
            only = {name: said.get(name) for name in ("code", "column")}
            addresses[first.result, line] = link(path, result=first.result.name.lower(), **only)
    return [(result, line, rows, addresses[result, line]) for (result, line), rows in tally.sorted]


def _codes(finding: Finding) -> list[str]:
    return [str(each["code"]) for each in finding.reasons]


# --- its rows --------------------------------------------------------------------------------------


async def rows(visit: Visit) -> Response:
    """Rows that stayed behind or came back, by pages."""
    name, after, result = visit.in_path("handover"), visit.asked("after") or "0", _result_asked(visit)
    reason = {name: text for name in ("code", "column") if (text := visit.asked(name))}
    if not after.isdecimal() or len(after) > 9:
        raise InvalidRequest(["after: is the number of a row"])
    found = await visit.gateway.handovers.findings(
        visit.caller,
        name,
        after=int(after),
        limit=_ROWS + 1,
        result=result,
        reason=reason if "code" in reason else None,
    )
    shown, path = found[:_ROWS], f"/handovers/{name}/rows"
    chosen = None if result is None else result.name.lower()
    guards = visit.gateway.setup.config.guards
    return visit.page(
        "handover_rows.html",
        name=name,
        rows=[(each, reason_lines(each, guards, visit.language)) for each in shown],
        result=chosen,
        results=[each for each in RowResult if each is not RowResult.PERMIT],
        further=link(path, result=chosen, **reason, after=shown[-1].number) if len(found) > _ROWS else None,
        first=link(path, result=chosen, **reason) if int(after) else None,
        every=link(path, result=chosen) if reason else None,
        ROW_RESULTS=ROW_RESULTS,
        KINDS=KINDS,
    )


def _result_asked(visit: Visit) -> RowResult | None:
    text = visit.asked("result")
    known = {each.name.lower(): each for each in RowResult}
    if text and text not in known:
        raise InvalidRequest([f"result: is one of {', '.join(known)}"])
    return known[text] if text else None


async def rows_file(visit: Visit) -> Response:
    """All of them as a file for the department."""
    name, kind = visit.in_path("handover"), visit.in_path("kind")
    if kind not in KINDS:
        raise NotFound(f"rows come as {', '.join(KINDS)}")

    async def begin() -> AsyncIterator[list[Finding]]:
        await visit.gateway.handovers.find(visit.caller, name)
        return visit.gateway.handovers.every_finding(visit.caller, name, again=True)

    sheet = rows_of(name, visit.gateway.setup.config.guards, visit.language)
    return await visit.house.files.answer(visit.person.session, visit.language, kind, sheet, begin)


# --- its files -------------------------------------------------------------------------------------


async def manifest(visit: Visit) -> Response:
    """The manifest, byte for byte as it is signed."""
    name = visit.in_path("handover")
    content = await visit.gateway.handovers.manifest(visit.caller, name)
    return _attached(content, f"manifest-{name}.json", "application/json")


async def signature(visit: Visit) -> Response:
    """The signed note over it (C2SP signed-note)."""
    name = visit.in_path("handover")
    content = await visit.gateway.handovers.signature(visit.caller, name)
    return _attached(content, f"manifest-{name}.sig", "text/plain; charset=utf-8")


def _attached(content: bytes, name: str, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


# --- acting ----------------------------------------------------------------------------------------


async def cancel(visit: Visit) -> Response:
    """Send it no more, where that can still be; that somebody wanted it is entered first."""
    name, reason = visit.in_path("handover"), visit.posted("reason")
    found = (await visit.gateway.handovers.find(visit.caller, name)).handover
    if found.state in _TOO_LATE:
        raise NotPossible([f"handover: is {found.state.value}, so it cannot be cancelled; recall it instead"])

    def nothing_else(_connection: Connection) -> None:
        """Its job changes what it works on, not this entry."""

    await visit.gateway.control(
        "cancel_handover", caller=visit.caller, person=visit.person.entered, reason=reason, also=nothing_else,
        handover=found.id,
    )  # fmt: skip
    await visit.gateway.handovers.cancel(visit.caller, name)
    return visit.to(f"/handovers/{name}")


PAGES = (
    Page("GET", "/handovers", list_handovers, READERS),
    Page("GET", "/handovers/{handover}", show, READERS),
    Page("GET", "/handovers/{handover}/rows", rows, READERS),
    Page("GET", "/handovers/{handover}/rows.{kind}", rows_file, READERS),
    Page("GET", "/handovers/{handover}/manifest", manifest, READERS),
    Page("GET", "/handovers/{handover}/signature", signature, READERS),
    Page("POST", "/handovers/{handover}/cancel", cancel, (ConsoleRole.ADMINISTRATOR,)),
)
