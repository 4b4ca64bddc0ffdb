"""The register of transfers (GDPR Art. 30, 94-V art. 25): every route, what it rests on, and how often it was used."""

from __future__ import annotations

from starlette.responses import Response

from qaqpa.console.overview import day_asked
from qaqpa.console.page import READERS, Page
from qaqpa.console.visit import Visit, link
from qaqpa.errors import InvalidRequest
from qaqpa.ledger.span import Span
from qaqpa.report.transfers import TransferRegister

_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def _span_asked(visit: Visit) -> Span:
    """The days that are asked for; else the current year."""
    today = visit.gateway.policy.day(visit.gateway.ledger.clock())
    since, until = day_asked(visit, "since"), day_asked(visit, "until")
    if since is None and until is None and "since" not in visit.request.query_params:
        since = today.replace(month=1, day=1)
    if since is not None and until is not None and until < since:
        raise InvalidRequest(["until: lies before since"])
    return Span(since, until)


async def _register(visit: Visit) -> TransferRegister:
    return await visit.gateway.reporting.transfers(visit.caller, _span_asked(visit))


def _address(path: str, span: Span) -> str:
    # A beginning that is left open is said, too: else it would be the year's.
    address = link(path, since=span.since, until=span.until)
    return address if span.since else f"{address}{'&' if '?' in address else '?'}since="


async def show(visit: Visit) -> Response:
    """The register as a page."""
    register = await _register(visit)
    return visit.page(
        "register.html",
        told=visit.gateway.reporting.register(register, visit.language),
        span=register.span,
        pdf=_address("/register/transfers.pdf", register.span),
        xlsx=_address("/register/transfers.xlsx", register.span),
    )


async def as_pdf(visit: Visit) -> Response:
    """The same, set on wide pages."""
    reporting = visit.gateway.reporting
    told = reporting.register(await _register(visit), visit.language)
    headers = {"content-disposition": 'attachment; filename="transfers.pdf"'}
    return Response(await reporting.pdf(told), media_type="application/pdf", headers=headers)


async def as_xlsx(visit: Visit) -> Response:
    """The same as a workbook: routes, fields, and what the register is."""
    book = await visit.gateway.reporting.workbook(await _register(visit), visit.language)
    headers = {"content-disposition": 'attachment; filename="transfers.xlsx"'}
    return Response(book, media_type=_XLSX, headers=headers)


PAGES = (
    Page("GET", "/register", show, READERS),
    Page("GET", "/register/transfers.pdf", as_pdf, READERS),
    Page("GET", "/register/transfers.xlsx", as_xlsx, READERS),
)
