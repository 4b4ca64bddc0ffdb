"""The path of `/v1/subject-reports`: everything about one person, for whoever may review (7.1(1))."""

from __future__ import annotations

from fastapi import Request, Response

from qaqpa.model.words import Language
from qaqpa.service.desk import desk
from qaqpa.service.exchange import JSON, KEPT_APART
from qaqpa.service.report_schemas import SubjectReportRequest

PDF = "application/pdf"


async def subject_report(request: Request) -> Response:
    """Everything about a person, as JSON, or as PDF where `Accept` prefers it. A person's look is itself an entry."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, SubjectReportRequest)
    reporting = at.gateway.reporting
    report = await reporting.subject_report(caller, asked.iin)
    language: Language = at.language(request)
    if _prefers_pdf(request.headers.getlist("accept")):
        headers = {**KEPT_APART, "content-disposition": 'attachment; filename="subject-report.pdf"'}
        return Response(await reporting.pdf(reporting.document(report, language)), headers=headers, media_type=PDF)
    return Response(await reporting.json(report, language), headers=KEPT_APART, media_type=JSON)


def _prefers_pdf(accept: list[str]) -> bool:
    """Whether PDF is named, and JSON not with the same weight or more (RFC 9110 §12.5.1)."""
    weights = {PDF: 0.0, JSON: 0.0}
    for part in ",".join(accept)[:1_000].split(","):
        kind, *parameters = (each.strip() for each in part.lower().split(";"))
        given = next((each.removeprefix("q=") for each in parameters if each.startswith("q=")), "1")
        try:
            weight = float(given)
        except ValueError:
            continue
        if kind in weights:
            weights[kind] = max(weights[kind], weight)
    return weights[PDF] > weights[JSON]
