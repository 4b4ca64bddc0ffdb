"""First Credit Bureau's wire: SOAP 1.1 messages written, answers opened, and their leaves read as values.

XML is built and read by lxml only, never from strings. Reading is hardened: a document type, an entity, a size or depth
beyond reason, any shape that is not theirs is AnswerUnreadable. It never opens a connection, and no message of an error
here holds anything that stood in an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from lxml import etree

from qaqpa.errors import AnswerUnreadable, RequestRefused

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
REPORTS = "http://ws.creditinfo.com/"
SCORES = "http://score.ws.creditinfo.com/"
DEBTS = "http://kdn2.ws.creditinfo.com/"

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes. The longest extended reports are a few hundred kilobytes; libxml2 itself stops at a depth of 256."""

_IIN_TYPE = "14"
"""Their dictionary of identification types: 14 is the IIN."""

_CONTENT = Mapping[str, str]
_ABSENT = frozenset({"", "-", "–", "—", "_"})
_CURRENCY = re.compile(r"\s?([A-Z]{3})$")
_AMOUNT = re.compile(r"-?(?:[0-9]{1,3}(?: [0-9]{3}){1,5}|[0-9]{1,18})(?:\.[0-9]{1,20}|,[0-9]{1,2})?(?:E[0-9]{1,2})?")
_RATIO = re.compile(r"-?[0-9]{1,9}(?:[.,][0-9]{1,20})?(?:E-?[0-9]{1,2})?")
_DAY_FIRST = re.compile(r"^([0-9]{2})\.([0-9]{2})\.([0-9]{4})")
_SHORT_HOUR = re.compile(r"(?<=^.{10} )(?=[0-9]:)")
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})([T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_FAULT = re.compile(r"[A-Za-z.]{1,40}")


def unreadable(what: str) -> AnswerUnreadable:
    """The error for an answer that is not of their format; `what` is a word of ours, never of the answer."""
    return AnswerUnreadable(
        f"First Credit Bureau's answer cannot be read ({what}): settle it with the bureau before asking again, "
        "because every request is billed"
    )


# --- writing ---------------------------------------------------------------------------------------


def get_report(header: _CONTENT, *, report_code: int, iin: str, consent: bool) -> bytes:
    """GetReport(reportId, doc). The report is chosen by `reportImportCode` in doc, so reportId is 0."""
    envelope, request = _envelope(REPORTS, header, "GetReport")
    _leaf(request, f"{{{REPORTS}}}reportId", "0")
    doc = etree.SubElement(request, f"{{{REPORTS}}}doc")
    # doc is `any` in their description; what stands in it has no namespace.
    key = etree.SubElement(doc, "keyValue")
    _leaf(key, "reportImportCode", str(report_code))
    _leaf(key, "idNumber", iin)
    _leaf(key, "idNumberType", _IIN_TYPE)
    _leaf(key, "ConsentConfirmed", "1" if consent else "0")
    return _bytes(envelope)


def score(header: _CONTENT, *, score_card: str, iin: str, consent: bool) -> bytes:
    """Score(ScoreCard, attributes*)."""
    envelope, request = _envelope(SCORES, header, "Score")
    _leaf(request, f"{{{SCORES}}}ScoreCard", score_card)
    for name, value in (("ConsentConfirmed", "1" if consent else "0"), ("IIN", iin)):
        attribute = etree.SubElement(request, f"{{{SCORES}}}attributes")
        _leaf(attribute, f"{{{SCORES}}}name", name)
        _leaf(attribute, f"{{{SCORES}}}value", value)
    return _bytes(envelope)


def debt_burden(header: _CONTENT, *, person: _CONTENT, consent: bool) -> bytes:
    """StorekdnReqV2(applicationReq); `person` holds their element names in their order, absent ones left out."""
    envelope, request = _envelope(DEBTS, header, "StorekdnReqV2")
    application = etree.SubElement(request, f"{{{DEBTS}}}applicationReq")
    for name, value in person.items():
        _leaf(application, f"{{{DEBTS}}}{name}", value)
    _leaf(application, f"{{{DEBTS}}}consentConfirmed", "1" if consent else "0")
    return _bytes(envelope)


def _envelope(namespace: str, header: _CONTENT, operation: str) -> tuple[etree._Element, etree._Element]:
    """An envelope with their header, and the still empty element of the operation in its body."""
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP, "ws": namespace})
    head = etree.SubElement(etree.SubElement(envelope, f"{{{SOAP}}}Header"), f"{{{namespace}}}CigWsHeader")
    for name, value in header.items():
        _leaf(head, f"{{{namespace}}}{name}", value)
    body = etree.SubElement(envelope, f"{{{SOAP}}}Body")
    return envelope, etree.SubElement(body, f"{{{namespace}}}{operation}")


def _leaf(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(parent, tag).text = text


def _bytes(envelope: etree._Element) -> bytes:
    return etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")


# --- opening an answer -----------------------------------------------------------------------------


def open_answer(answer: bytes, *, namespace: str, element: str) -> etree._Element:
    """The answer's `element` in `namespace`; a SOAP fault is RequestRefused, anything else AnswerUnreadable."""
    body = _body(answer)
    if len(body) != 1:
        raise unreadable("not one element in the SOAP body")
    if body[0].tag == f"{{{SOAP}}}Fault":
        raise _fault(body[0])
    if body[0].tag != f"{{{namespace}}}{element}":
        raise unreadable(f"no {element} in the SOAP body")
    return body[0]


def _body(answer: bytes) -> etree._Element:
    envelope = _parse(answer)
    if envelope.tag != f"{{{SOAP}}}Envelope":
        raise unreadable("no SOAP envelope")
    bodies = envelope.findall(f"{{{SOAP}}}Body")
    if len(bodies) != 1:
        raise unreadable("not one SOAP body")
    return bodies[0]


def _parse(answer: bytes) -> etree._Element:
    if len(answer) > MAX_ANSWER:
        raise unreadable("too large")
    # Before the parser sees it: SOAP 1.1 §3 forbids a document type, and UTF-16 or UTF-32 (NUL bytes) would hide one.
    if b"<!DOCTYPE" in answer or b"\x00" in answer:
        raise unreadable("a document type or NUL bytes")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    root: etree._Element | None = None
    # The parser's own message quotes the document, so it is not even kept as a context.
    with suppress(etree.LxmlError, ValueError):
        root = etree.fromstring(answer, parser)
    if root is None:
        raise unreadable("not well-formed XML")
    # An encoding that hides the letters of DOCTYPE (UTF-7, EBCDIC) is caught here.
    if root.getroottree().docinfo.internalDTD is not None:
        raise unreadable("a document type or NUL bytes")
    return root


def _fault(fault: etree._Element) -> RequestRefused:
    """Their SOAP fault, with the local name of its code and never its text."""
    code = (value(fault, "faultcode") or "").rpartition(":")[2]
    return RequestRefused(
        "First Credit Bureau refused the message with a SOAP fault: compare the recipient's settings "
        "with the bureau's description of the service",
        their_code=code if _FAULT.fullmatch(code) else None,
    )


# --- reading leaves --------------------------------------------------------------------------------


def local_name(node: etree._Element) -> str:
    """The name without its namespace: their answers are not of one mind about namespaces inside a result."""
    return str(node.tag).rpartition("}")[2]


def children(node: etree._Element | None, name: str) -> Iterator[etree._Element]:
    """Children of this name, in order; none of an absent node."""
    if node is not None:
        yield from (child for child in node if local_name(child) == name)


def child(node: etree._Element | None, *names: str) -> etree._Element | None:
    """The node under `names`, one below the other; None when absent, AnswerUnreadable when it stands there twice."""
    for name in names:
        found = list(children(node, name))
        if len(found) > 1:
            raise unreadable(f"more than one {name}")
        node = found[0] if found else None
    return node


def need(node: etree._Element | None, *names: str) -> etree._Element:
    """As `child`, but AnswerUnreadable when absent."""
    found = child(node, *names)
    if found is None:
        raise unreadable(f"no {names[-1]}")
    return found


def own_value(node: etree._Element | None) -> str | None:
    """What a leaf says: `@value` of their empty elements, or its text; None when empty or a dash."""
    if node is None:
        return None
    raw = node.get("value")
    if raw is None and len(node) == 0:
        raw = node.text
    found = " ".join((raw or "").split())
    return None if found in _ABSENT else found


def value(node: etree._Element | None, *names: str) -> str | None:
    """What the leaf under `names` says."""
    return own_value(child(node, *names))


def needed_value(node: etree._Element | None, *names: str) -> str:
    """As `value`, but AnswerUnreadable when absent or empty."""
    found = value(node, *names)
    if found is None:
        raise unreadable(f"no {names[-1]}")
    return found


def money(text: str | None) -> Decimal | None:
    """A sum: spaces between thousands, dot or comma, perhaps a currency behind; rounded to two places.

    A comma before three digits may be either thousands or decimals, so it is refused rather than guessed.
    """
    if text is None or text in _ABSENT:
        return None
    plain = _CURRENCY.sub("", " ".join(text.split()))
    if not _AMOUNT.fullmatch(plain):
        raise unreadable("a sum that is not a number")
    return Decimal(plain.replace(" ", "").replace(",", ".")).quantize(Decimal("0.01"), ROUND_HALF_UP)


def currency(text: str | None) -> str | None:
    """The currency behind a sum, where one stands."""
    found = _CURRENCY.search(text or "")
    return found[1] if found else None


def ratio(text: str) -> Decimal:
    """A number with decimals behind a dot or a comma."""
    if not _RATIO.fullmatch(text):
        raise unreadable("a ratio that is not a number")
    return Decimal(text.replace(",", "."))


def integer(text: str | None) -> int | None:
    """A whole number; they write some of them as `73.0`."""
    number = money(text)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise unreadable("a fraction where a whole number belongs")
    return int(number)


def moment(text: str | None) -> datetime | None:
    """A time in dd.mm.yyyy or ISO form. Where they give no zone none is made up."""
    if text is None or text in _ABSENT:
        return None
    iso = _SHORT_HOUR.sub("0", _DAY_FIRST.sub(r"\3-\2-\1", text))
    found = _ISO.fullmatch(iso)
    if not found:
        raise unreadable("a date of neither form")
    if iso.startswith("0001-01-01"):  # .NET's empty date
        return None
    with suppress(ValueError):
        return datetime.fromisoformat(iso if found[2] else found[1])
    raise unreadable("a date that does not exist")


def day(text: str | None) -> date | None:
    """A date in dd.mm.yyyy or ISO form; a time behind it is dropped."""
    found = moment(text)
    return None if found is None else found.date()
