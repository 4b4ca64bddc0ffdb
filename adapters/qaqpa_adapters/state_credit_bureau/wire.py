"""State credit bureau's wire: its SOAP messages written. Its answers are read in `report`.

Shapes seen in public clients of the bureau. Only the operation's own element is in the bureau's namespace; what stands
in it, and the header `userId`, have none. `xsi:type` is a qualified name, so it carries the prefix.
It never opens a connection.
"""

from __future__ import annotations

from lxml import etree

from qaqpa_adapters.soap import ThirdParty, envelope, leaf, to_bytes

REPORTS = "http://report.chdb.scb.kz"
REGISTERS = "http://data.gbd.chdb.scb.kz/"
"""State databases, the pension centre's among them, which the bureau passes on."""

BUREAU = ThirdParty(
    name="State credit bureau",
    unsettled="settle it with the bureau before asking again, because every request may be billed",
    login="client id and password",
)

DEDUCTIONS = "DEDUCTION_6"
"""Their name for the pension contributions of the last six months."""

_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def credit_report(*, user_id: str, language: str, report_type: str, new: bool, iin: str, consent: bool) -> bytes:
    """requestXmlCreditReport(reportRequest). `new` asks for a report made now rather than one kept."""
    root, body = envelope_of({"rep": REPORTS, "xsi": _XSI}, user_id)
    request = etree.SubElement(etree.SubElement(body, f"{{{REPORTS}}}requestXmlCreditReport"), "reportRequest")
    generation = etree.SubElement(request, "generationParams")
    leaf(generation, "language", language)
    leaf(generation, "outputFormats", "XML")
    leaf(generation, "reportType", report_type)
    parameters = etree.SubElement(request, "reportParams", {f"{{{_XSI}}}type": "rep:personCreditReportParams"})
    leaf(parameters, "iin", iin)
    leaf(parameters, "new", _boolean(new))
    leaf(parameters, "consentConfirmed", _boolean(consent))
    return to_bytes(root)


def pension_info(*, user_id: str, iin: str, number: str) -> bytes:
    """getPensionInfo(iin, requestType, requestNumber). It has no place for consent: that is proved by us alone."""
    root, body = envelope_of({"data": REGISTERS}, user_id)
    request = etree.SubElement(body, f"{{{REGISTERS}}}getPensionInfo")
    leaf(request, "iin", iin)
    leaf(request, "requestType", DEDUCTIONS)
    leaf(request, "requestNumber", number)
    return to_bytes(root)


def envelope_of(prefixes: dict[str, str], user_id: str) -> tuple[etree._Element, etree._Element]:
    """An envelope with their header, and its still empty body."""
    root, header, body = envelope(prefixes)
    leaf(header, "userId", user_id)
    return root, body


def _boolean(value: bool) -> str:
    return "true" if value else "false"
