"""The breach file (5.5): a draft of the notice to the authority, drawn from the ledger for a period."""

from __future__ import annotations

from datetime import datetime, timedelta

import orjson
from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.page import Page
from qaqpa.console.visit import Visit, link
from qaqpa.errors import InvalidRequest
from qaqpa.report.breach import Breach, Scope
from qaqpa.report.notice import plain_breach
from qaqpa.translation import N_

_APPROVERS = (ConsoleRole.APPROVER,)


def _moment(visit: Visit, name: str, default: datetime) -> datetime:
    """A time by the operator's clock, as browsers send it. Raises InvalidRequest."""
    text = visit.asked(name)
    if not text:
        return default
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest([f"{name}: write a day and an hour: 2026-01-31T09:30"]) from None
    zone = visit.gateway.policy.operator.time_zone
    if not 2000 <= found.year < 9999:
        raise InvalidRequest([f"{name}: lies outside the years 2000 to 9998"])
    return found.replace(tzinfo=zone) if found.tzinfo is None else found


def _scope(visit: Visit) -> Scope:
    now = visit.gateway.ledger.clock()
    until = _moment(visit, "until", now + timedelta(minutes=1))  # forms say no seconds
    return Scope(
        _moment(visit, "since", until - timedelta(days=1)), until, visit.asked("caller") or None,
        visit.asked("recipient") or None, visit.asked("alert") or None,
    )  # fmt: skip


def _local(visit: Visit, at: datetime) -> str:
    return f"{at.astimezone(visit.gateway.policy.operator.time_zone):%Y-%m-%dT%H:%M}"


def _said(visit: Visit, scope: Scope) -> dict[str, str]:
    """The scope, as the form says it."""
    names = {"caller": scope.caller, "recipient": scope.recipient, "alert": scope.alert}
    times = {"since": _local(visit, scope.since), "until": _local(visit, scope.until)}
    return times | {name: value for name, value in names.items() if value}


async def ask(visit: Visit) -> Response:
    """For which period and whom."""
    policy, scope = visit.gateway.policy, _scope(visit)
    language = visit.language
    callers = sorted((key, each.name.in_language(language)) for key, each in policy.callers.items())
    recipients = sorted((key, each.name.in_language(language)) for key, each in policy.recipients.items())
    choices = [("caller", N_("Who asked"), callers), ("recipient", N_("To whom"), recipients)]
    return visit.page("breach.html", said=_said(visit, scope), choices=choices)


async def _drawn(visit: Visit) -> Breach:
    return await visit.gateway.reporting.breach(visit.caller, _scope(visit))


async def show(visit: Visit) -> Response:
    """The draft, to be read and printed."""
    found = await _drawn(visit)
    said = _said(visit, found.scope)
    ways = {kind: link(f"/breach/notice.{kind}", **said) for kind in ("pdf", "json")}
    told = visit.gateway.reporting.notice(found, visit.language)
    return visit.page("breach_notice.html", told=told, ways=ways, again=link("/breach", **said))


async def as_pdf(visit: Visit) -> Response:
    """The draft as a document."""
    reporting = visit.gateway.reporting
    told = reporting.notice(await _drawn(visit), visit.language)
    headers = {"content-disposition": 'attachment; filename="breach-notice-draft.pdf"'}
    return Response(await reporting.pdf(told), media_type="application/pdf", headers=headers)


async def as_json(visit: Visit) -> Response:
    """The draft for programs."""
    headers = {"content-disposition": 'attachment; filename="breach-notice-draft.json"'}
    body = orjson.dumps(plain_breach(await _drawn(visit)), option=orjson.OPT_INDENT_2)
    return Response(body, media_type="application/json", headers=headers)


PAGES = (
    Page("GET", "/breach", ask, _APPROVERS),
    Page("GET", "/breach/notice", show, _APPROVERS),
    Page("GET", "/breach/notice.pdf", as_pdf, _APPROVERS),
    Page("GET", "/breach/notice.json", as_json, _APPROVERS),
)
