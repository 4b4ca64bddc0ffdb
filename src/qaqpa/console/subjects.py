"""People whom the ledger is about: found by an IIN that is posted, shown by a random id, named only for a reason."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.page import READERS, Page
from qaqpa.console.visit import Visit
from qaqpa.errors import InvalidRequest
from qaqpa.model.identifiers import check_iin
from qaqpa.report.subject import SubjectReport
from qaqpa.report.telling import tell
from qaqpa.report.typeset import pdf


async def ask(visit: Visit) -> Response:
    """Whom to look for."""
    return visit.page("people.html")


async def find(visit: Visit) -> Response:
    """The person whose IIN is posted: it never stands in an address."""
    try:
        iin = check_iin(visit.posted("iin"))
    except ValueError:
        raise InvalidRequest(["iin: is no IIN: twelve digits, the last of which checks the others"]) from None
    subject = await visit.gateway.reviewing.subject_of(visit.caller, iin)
    return visit.page("nobody.html") if subject is None else visit.to(f"/people/{subject}")


async def _report(visit: Visit) -> SubjectReport:
    return await visit.gateway.reporting.report_of(visit.caller, visit.in_path("subject"))


async def show(visit: Visit) -> Response:
    """Everything about one person (7.1(1)), without who it is."""
    report = await _report(visit)
    told = tell(report, visit.language, visit.gateway.policy.operator.time_zone)
    return visit.page("person.html", report=report, told=told, iin=None, reason="")


async def unmask(visit: Visit) -> Response:
    """Who it is, for a reason that is entered with the name of whoever asked."""
    subject = visit.in_path("subject")
    iin = await visit.gateway.compliance.identity(visit.caller, subject, reason=visit.posted("reason"))
    report = await _report(visit)
    told = tell(report, visit.language, visit.gateway.policy.operator.time_zone)
    return visit.page("person.html", report=report, told=told, iin=iin, reason=visit.posted("reason"))


async def _named(visit: Visit) -> SubjectReport:
    """The report with the whole IIN where a reason is posted, which is entered; else with its last digits."""
    if visit.request.method != "POST":
        return await _report(visit)
    subject = visit.in_path("subject")
    iin = await visit.gateway.compliance.identity(visit.caller, subject, reason=visit.posted("reason"))
    return replace(await _report(visit), about=iin)


async def as_pdf(visit: Visit) -> Response:
    """The report as a document for the person."""
    told = tell(await _named(visit), visit.language, visit.gateway.policy.operator.time_zone)
    headers = {"content-disposition": 'attachment; filename="report.pdf"'}
    return Response(await visit.in_thread(pdf, told), media_type="application/pdf", headers=headers)


async def as_json(visit: Visit) -> Response:
    """The report for programs."""
    headers = {"content-disposition": 'attachment; filename="report.json"'}
    body = await visit.gateway.reporting.json(await _named(visit), visit.language)
    return Response(body, media_type="application/json", headers=headers)


PAGES = (
    Page("GET", "/people", ask, READERS),
    Page("POST", "/people", find, READERS),
    Page("GET", "/people/{subject}", show, READERS),
    Page("POST", "/people/{subject}/identity", unmask, (ConsoleRole.INVESTIGATOR,)),
    Page("GET", "/people/{subject}/report.pdf", as_pdf, READERS),
    Page("GET", "/people/{subject}/report.json", as_json, READERS),
    Page("POST", "/people/{subject}/report.pdf", as_pdf, (ConsoleRole.INVESTIGATOR,)),
    Page("POST", "/people/{subject}/report.json", as_json, (ConsoleRole.INVESTIGATOR,)),
)
