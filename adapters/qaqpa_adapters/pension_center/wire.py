"""The pension payment centre's wire: messages of SmartBridge's synchronous channel written, and its answers read.

Built on `qaqpa_adapters.soap`, which is hardened against hostile answers; here stand this channel's own shapes. What is
read of an answer stands in one place only, the one that the signatures are checked over. It never opens a connection.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lxml import etree

from qaqpa.errors import NoReport, Rejected, RequestRefused, SigningFailed
from qaqpa.model import vocabulary
from qaqpa.model.consent import KdpToken
from qaqpa.model.disclosure import Exchange, Report
from qaqpa_adapters.soap import ThirdParty, children, envelope, leaf, to_bytes

CHANNEL = "http://bip.bee.kz/SyncChannel/v10/Types"
FAULT = "SendMessageFault1_SendMessageFault"
SUCCESS = "SCSS001"
FOUND = "FOUND"
NONE_FOUND = frozenset({"NOT_FOUND", "NOTFOUND", "NO_DATA"})
"""Words for a person without contributions; only FOUND is known for certain, others are refused with their code."""

CENTER = ThirdParty(
    name="Pension payment centre",
    unsettled="settle it with the centre and SmartBridge's support before asking again",
    login="sender and its password",
)

_CODE = re.compile(r"[A-Z][A-Z_]{0,30}[0-9]{0,6}")


# --- writing ---------------------------------------------------------------------------------------


def send_message(
    info: Mapping[str, str], sender: Mapping[str, str], properties: Mapping[str, str], data: Mapping[str, str]
) -> bytes:
    """SendMessage with its parts in their order, without signatures; the inner elements have no namespace."""
    root, _, body = envelope({"typ": CHANNEL})
    request = etree.SubElement(etree.SubElement(body, f"{{{CHANNEL}}}SendMessage"), "request")
    head = etree.SubElement(request, "requestInfo")
    for name, text in info.items():
        leaf(head, name, text)
    who = etree.SubElement(head, "sender")
    for name, text in sender.items():
        leaf(who, name, text)
    for key, value in properties.items():
        pair = etree.SubElement(head, "properties")
        leaf(pair, "key", key)
        leaf(pair, "value", value)
    asked = etree.SubElement(etree.SubElement(request, "requestData"), "data")
    for name, text in data.items():
        leaf(asked, name, text)
    return to_bytes(root)


def kdp(token: KdpToken) -> dict[str, str]:
    """What calls for the state's data carry of a КДП consent, behind the rest of `data`.

    The names are known; that they stand there is what clients of other services on the bus do.
    """
    return {"kdpToken": token.token, "publicKey": token.public_key}


def date_time(at: datetime) -> str:
    """A moment as xs:dateTime in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def inner(message: bytes) -> bytes:
    """The `data` of our own message, as the document that is signed."""
    return alone(_our_data(etree.fromstring(message)))


def with_inner(message: bytes, signed: bytes) -> bytes:
    """The message with the signed document in the place of its `data`."""
    root = etree.fromstring(message)
    old = _our_data(root)
    parent = old.getparent()
    if parent is None:
        raise SigningFailed("the message has no place for what was signed; nothing was sent")
    parent.replace(old, etree.fromstring(signed, etree.XMLParser(resolve_entities=False, no_network=True)))
    return to_bytes(root)


def _our_data(root: etree._Element) -> etree._Element:
    found = root.find(f"*/{{{CHANNEL}}}SendMessage/request/requestData/data")
    if found is None:
        raise SigningFailed("the message holds no data to be signed; nothing was sent")
    return found


def alone(data: etree._Element) -> bytes:
    """`data` as a document of its own, without namespaces of what stood around it.

    Those that it declares itself stay, used or not: a signature that is canonicalised inclusively is over them too.
    """
    document = copy.deepcopy(data)
    document.tail = None
    return etree.tostring(document, encoding="UTF-8")


# --- reading ---------------------------------------------------------------------------------------


def answered(answer: bytes, exchange: Exchange) -> etree._Element:
    """The answer's `data`. Raises Rejected for a fault or another status than success, AnswerUnreadable."""
    opened = CENTER.open_answer(answer, namespace=CHANNEL, element="SendMessageResponse", fault=_fault)
    response = CENTER.need(opened, "response")
    # SmartBridge's own word for which message is answered. Not every service behind it fills it in, and a body that is
    # not signed can be changed on its way: what binds the answer is the number in its signed data.
    correlation = CENTER.value(response, "responseInfo", "correlationId")
    if correlation is not None:
        CENTER.answers(correlation, exchange)
    code = CENTER.needed_value(response, "responseInfo", "status", "code")
    if code != SUCCESS:
        raise Rejected(
            "SmartBridge did not pass the message on: look its code up in SmartBridge's description, and ask again",
            their_code=plain(code),
        )
    return CENTER.need(response, "responseData", "data")


def contributions(data: etree._Element, exchange: Exchange) -> Report:
    """What the centre says of a person's contributions. Raises NoReport where it knows of none."""
    CENTER.answers(CENTER.needed_value(data, "requestNumber"), exchange)
    iin = CENTER.needed_value(data, "requestIin")
    code = CENTER.needed_value(data, "responseCode")
    if code in NONE_FOUND:
        raise NoReport(
            "The pension payment centre knows of no contributions for this person: decide without them",
            their_code=plain(code),
        )
    if code != FOUND:
        raise Rejected(
            "The pension payment centre answered with a code that is not in our table: look it up in its description",
            their_code=plain(code),
        )
    reference = CENTER.value(data, "responseNumber")
    found: dict[str, Any] = {
        "reference": reference,
        "issued_at": CENTER.moment(CENTER.value(data, "responseDate")),
        "contributions": [_contribution(node) for node in children(data, "deductionsDetailed") if len(node)] or None,
    }
    checked = vocabulary.Report.model_validate(found)
    return Report(data=checked.model_dump(mode="json", exclude_none=True), about=iin, reference=reference)


def _contribution(node: etree._Element) -> dict[str, Any]:
    return {
        "paid_on": CENTER.day(CENTER.needed_value(node, "date")),
        "amount": CENTER.money(CENTER.needed_value(node, "amount")),
        "employer": CENTER.value(node, "name"),
        "employer_bin": CENTER.value(node, "bin"),
    }


def _fault(fault: etree._Element) -> RequestRefused:
    """Their fault, with its code where that is one and never its text."""
    detail = CENTER.child(fault, "detail", FAULT)
    if detail is None:
        return CENTER.fault(fault)
    return RequestRefused(
        "SmartBridge refused the message: compare sender, service, route and signatures with its description",
        their_code=plain(CENTER.value(detail, "errorCode") or "") or CENTER.fault_code(fault),
    )


def plain(code: str) -> str | None:
    """A code that surely tells of no person."""
    return code if _CODE.fullmatch(code) else None
