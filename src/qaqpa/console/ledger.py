"""The ledger itself: its last checkpoint and who signed it, every entry by kind and day, what nobody knows the end of,
and how anybody can verify it."""

from __future__ import annotations

from starlette.responses import Response

from qaqpa.console.handovers import SETTLED
from qaqpa.console.names import CAME, ENTRIES, UNSETTLED
from qaqpa.console.overview import day_asked, name_of
from qaqpa.console.page import READERS, Page
from qaqpa.console.signed import last_signed
from qaqpa.console.telling import Teller
from qaqpa.console.visit import Visit, link
from qaqpa.errors import InvalidRequest
from qaqpa.handover.manifest import packages_key
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import Wanted
from qaqpa.ledger.span import Span

_COUNT = 50
_UNSETTLED_SHOWN = 200


async def show(visit: Visit) -> Response:
    """How it stands."""
    gateway = visit.gateway
    standing = await gateway.reviewing.standing(visit.caller)
    found = await gateway.compliance.unsettled(visit.caller)
    key = gateway.setup.log_key
    # What a person can do something about comes first.
    found.sort(key=lambda each: (each.state != "unknown", each.since))
    return visit.page(
        "ledger.html",
        standing=standing,
        signed=await last_signed(visit),
        unsettled=[(each, name_of(visit, "recipient", each.recipient)) for each in found[:_UNSETTLED_SHOWN]],
        unsettled_more=max(0, len(found) - _UNSETTLED_SHOWN),
        settled=[(each, CAME[each][0]) for each in SETTLED],  # type: ignore[index]
        key=key,
        packages_key=packages_key(gateway.setup.config.gateway.ledger.origin, key.public),
        caller=visit.caller,
        kinds=list(ENTRIES.items()),
        UNSETTLED=UNSETTLED,
    )


async def checkpoint(visit: Visit) -> Response:
    """The note as a file: whoever keeps it can hold it against the ledger later."""
    data = await visit.gateway.compliance.checkpoint(visit.caller)
    headers = {"content-disposition": 'attachment; filename="checkpoint.txt"'}
    return Response(data, media_type="text/plain; charset=utf-8", headers=headers)


# --- entries ---------------------------------------------------------------------------------------


async def list_entries(visit: Visit) -> Response:
    """Entries of every kind, the latest first."""
    kind, before = _kind_asked(visit), visit.asked("before")
    if before and not (before.isdecimal() and len(before) <= 18):
        raise InvalidRequest(["before: is the number of an entry"])
    days = Span(day_asked(visit, "since"), day_asked(visit, "until"))
    wanted = Wanted(kind=None if kind is None else kind.value, before=int(before) if before else None)
    found = await visit.gateway.compliance.entries(visit.caller, _COUNT + 1, wanted, days)
    shown, teller = found[:0:-1] if len(found) > _COUNT else found[::-1], Teller(visit)

    def at(**more: int) -> str:
        return link("/ledger/entries", kind=kind, since=days.since, until=days.until, **more)

    return visit.page(
        "ledger_entries.html",
        entries=[(each, teller.who(each.content), teller.what(each.content)) for each in shown],
        kind=kind,
        days=days,
        further=at(before=shown[-1].index) if len(found) > _COUNT else None,
        newest=at() if before else None,
    )


def _kind_asked(visit: Visit) -> Kind | None:
    text = visit.asked("kind")
    if text and text not in set(Kind):
        raise InvalidRequest([f"kind: is one of {', '.join(Kind)}"])
    return Kind(text) if text else None


PAGES = (
    Page("GET", "/ledger", show, READERS),
    Page("GET", "/ledger/checkpoint", checkpoint, READERS),
    Page("GET", "/ledger/entries", list_entries, READERS),
)
