"""First Credit Bureau's wire: its SOAP messages written, and its answers opened and read.

Built on `qaqpa_adapters.soap`, which is hardened against hostile answers; here stand this bureau's own shapes. It never
opens a connection.
"""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree

from qaqpa_adapters.soap import (
    MAX_ANSWER,
    ThirdParty,
    children,
    currency,
    envelope,
    leaf,
    local_name,
    own_value,
    to_bytes,
)

__all__ = [
    "BUREAU",
    "DEBTS",
    "MAX_ANSWER",
    "REPORTS",
    "SCORES",
    "child",
    "children",
    "currency",
    "day",
    "debt_burden",
    "envelope_of",
    "get_report",
    "integer",
    "local_name",
    "moment",
    "money",
    "need",
    "needed_value",
    "open_answer",
    "own_value",
    "ratio",
    "score",
    "unreadable",
    "value",
]

REPORTS = "http://ws.creditinfo.com/"
SCORES = "http://score.ws.creditinfo.com/"
DEBTS = "http://kdn2.ws.creditinfo.com/"

BUREAU = ThirdParty(
    name="First Credit Bureau",
    unsettled="settle it with the bureau before asking again, because every request is billed",
)

open_answer, unreadable = BUREAU.open_answer, BUREAU.unreadable
child, need, value, needed_value = BUREAU.child, BUREAU.need, BUREAU.value, BUREAU.needed_value
money, ratio, integer, moment, day = BUREAU.money, BUREAU.ratio, BUREAU.integer, BUREAU.moment, BUREAU.day

_IIN_TYPE = "14"
"""Their dictionary of identification types: 14 is the IIN."""

_CONTENT = Mapping[str, str]


# --- writing ---------------------------------------------------------------------------------------


def get_report(header: _CONTENT, *, report_code: int, iin: str, consent: bool) -> bytes:
    """GetReport(reportId, doc). The report is chosen by `reportImportCode` in doc, so reportId is 0."""
    root, request = envelope_of(REPORTS, header, "GetReport")
    leaf(request, f"{{{REPORTS}}}reportId", "0")
    doc = etree.SubElement(request, f"{{{REPORTS}}}doc")
    # doc is `any` in their description; what stands in it has no namespace.
    key = etree.SubElement(doc, "keyValue")
    leaf(key, "reportImportCode", str(report_code))
    leaf(key, "idNumber", iin)
    leaf(key, "idNumberType", _IIN_TYPE)
    leaf(key, "ConsentConfirmed", "1" if consent else "0")
    return to_bytes(root)


def score(header: _CONTENT, *, score_card: str, iin: str, consent: bool) -> bytes:
    """Score(ScoreCard, attributes*)."""
    root, request = envelope_of(SCORES, header, "Score")
    leaf(request, f"{{{SCORES}}}ScoreCard", score_card)
    for name, value in (("ConsentConfirmed", "1" if consent else "0"), ("IIN", iin)):
        attribute = etree.SubElement(request, f"{{{SCORES}}}attributes")
        leaf(attribute, f"{{{SCORES}}}name", name)
        leaf(attribute, f"{{{SCORES}}}value", value)
    return to_bytes(root)


def debt_burden(header: _CONTENT, *, person: _CONTENT, consent: bool) -> bytes:
    """StorekdnReqV2(applicationReq); `person` holds their element names in their order, absent ones left out."""
    root, request = envelope_of(DEBTS, header, "StorekdnReqV2")
    application = etree.SubElement(request, f"{{{DEBTS}}}applicationReq")
    for name, value in person.items():
        leaf(application, f"{{{DEBTS}}}{name}", value)
    leaf(application, f"{{{DEBTS}}}consentConfirmed", "1" if consent else "0")
    return to_bytes(root)


def envelope_of(namespace: str, header: _CONTENT, operation: str) -> tuple[etree._Element, etree._Element]:
    """An envelope with their header, and the still empty element of the operation in its body."""
    root, head, body = envelope({"ws": namespace})
    theirs = etree.SubElement(head, f"{{{namespace}}}CigWsHeader")
    for name, value in header.items():
        leaf(theirs, f"{{{namespace}}}{name}", value)
    return root, etree.SubElement(body, f"{{{namespace}}}{operation}")
