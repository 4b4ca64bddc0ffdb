"""SmartBridge's asynchronous channel: a request that is taken now and answered later, and the questions for its answer.

    sendMessage → messageId …  getMessages · getMessageStatus … sendDeliveryNotification

Inner elements have no namespace. What is asked later holds ids and times only; of what is answered to a question, which
may hold messages for other requests of ours, only the one that answers ours is taken out. It never opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from lxml import etree

from qaqpa.adapter import Heard
from qaqpa.errors import RequestRefused, SigningFailed
from qaqpa.model.disclosure import Reply
from qaqpa_adapters.pension_center.wire import CENTER, alone, plain
from qaqpa_adapters.soap import children, envelope, leaf, to_bytes

CHANNEL = "http://bip.bee.kz/AsyncChannel/v10/Types"
ANSWER_TYPE = "application/xml"
"""Of one message, taken out of what was answered."""
NEVER_COMES = frozenset({"NOT_DELIVERED", "DELIVERY_STOPPED"})
"""States of a request after which no answer comes; ON_DELIVERY and DELIVERED say that one may."""
AT_ONCE = "50"
"""Messages asked for at once. They are asked for by the request that they answer, so that there should be one."""


# --- writing ---------------------------------------------------------------------------------------


def request(info: Mapping[str, str], sender: Mapping[str, str], data: Mapping[str, str]) -> bytes:
    """sendMessage with its parts in their order, without signatures."""
    root, _, body = envelope({"typ": CHANNEL})
    asked = etree.SubElement(etree.SubElement(body, f"{{{CHANNEL}}}sendMessage"), "request")
    head = etree.SubElement(asked, "messageInfo")
    _leaves(head, info)
    _leaves(etree.SubElement(head, "sender"), sender)
    _leaves(etree.SubElement(etree.SubElement(asked, "messageData"), "data"), data)
    return to_bytes(root)


def fetch(exchange: str, service: str, sender: Mapping[str, str], at: str) -> bytes:
    """getMessages: what was answered to the request of this id."""
    root, asked = _question("getMessages")
    _leaves(asked, {"correlationId": exchange, "requestDate": at, "serviceId": service})
    _leaves(etree.SubElement(asked, "sender"), sender)
    _leaves(asked, {"amount": AT_ONCE})
    return to_bytes(root)


def status(exchange: str, sender: Mapping[str, str], at: str) -> bytes:
    """getMessageStatus: what became of the request of this id."""
    root, asked = _question("getMessageStatus")
    _leaves(asked, {"messageId": exchange, "requestDate": at})
    _leaves(etree.SubElement(asked, "sender"), sender)
    return to_bytes(root)


def confirm(receipt: str, service: str, sender: Mapping[str, str], at: str) -> bytes:
    """sendDeliveryNotification: their message of this id came and need not come again."""
    root, asked = _question("sendDeliveryNotification")
    note = etree.SubElement(asked, "notification")
    _leaves(note, {"messageId": receipt, "serviceId": service, "notificationDate": at})
    came = {"receiveStatus": "MESSAGE_ACCEPTED", "statusDate": at, "resendMessage": "NOT_RESEND"}
    _leaves(etree.SubElement(note, "deliveryStatus"), came)
    _leaves(asked, {"requestDate": at})
    _leaves(etree.SubElement(asked, "sender"), sender)
    return to_bytes(root)


def _question(name: str) -> tuple[etree._Element, etree._Element]:
    root, _, body = envelope({"typ": CHANNEL})
    return root, etree.SubElement(etree.SubElement(body, f"{{{CHANNEL}}}{name}"), "request")


def _leaves(parent: etree._Element, values: Mapping[str, str]) -> None:
    for name, text in values.items():
        leaf(parent, name, text)


def holds_data(message: bytes) -> bool:
    """Whether this message of ours is the request, whose data is signed beside the body."""
    return etree.fromstring(message).find(f"*/{{{CHANNEL}}}sendMessage") is not None


def inner(message: bytes) -> bytes:
    """The `data` of our own request, as the document that is signed."""
    return alone(_our_data(etree.fromstring(message)))


def with_inner(message: bytes, signed: bytes) -> bytes:
    """The request with the signed document in the place of its `data`."""
    root = etree.fromstring(message)
    old = _our_data(root)
    parent = old.getparent()
    if parent is None:
        raise SigningFailed("the message has no place for what was signed; nothing was sent")
    parent.replace(old, etree.fromstring(signed, etree.XMLParser(resolve_entities=False, no_network=True)))
    return to_bytes(root)


def _our_data(root: etree._Element) -> etree._Element:
    found = root.find(f"*/{{{CHANNEL}}}sendMessage/request/messageData/data")
    if found is None:
        raise SigningFailed("the message holds no data to be signed; nothing was sent")
    return found


# --- reading ---------------------------------------------------------------------------------------


def taken(reply: Reply) -> Heard:
    """That the request was taken. Raises Rejected for a fault, AnswerUnreadable."""
    CENTER.needed_value(_response(reply, "sendMessage"), "messageId")
    return Heard()


def fetched(reply: Reply, exchange: str) -> Heard:
    """The answer to the request of this id, if it is there, as a document of its own.

    A message that was put there twice has two receipts. Raises Rejected, AnswerUnreadable.
    """
    ours = [each for each in _messages(_response(reply, "getMessages")) if _answers(each, exchange)]
    if not ours:
        return Heard()
    receipts = tuple(CENTER.needed_value(each, "messageInfo", "messageId") for each in ours)
    return Heard(answer=Reply(200, alone(ours[0]), ANSWER_TYPE), receipts=receipts)


def became(reply: Reply) -> Heard:
    """What became of a request. Raises Rejected, AnswerUnreadable."""
    state = CENTER.needed_value(_response(reply, "getMessageStatus"), "messageState")
    if state not in NEVER_COMES:
        return Heard()
    return Heard(
        refused=RequestRefused(
            "SmartBridge could not deliver the request, and no answer will come: ask its support why, and ask again",
            their_code=state,
        )
    )


def confirmed(reply: Reply) -> Heard:
    """That the confirmation was taken. Raises Rejected, AnswerUnreadable."""
    _response(reply, "sendDeliveryNotification")
    return Heard()


def answered(answer: bytes) -> etree._Element:
    """The data in one message that `fetched` took out. Raises AnswerUnreadable, also where what is signed in it answers
    another request than the message around it says.
    """
    message = CENTER.parse(answer)
    data = CENTER.need(message, "messageData", "data")
    said = CENTER.needed_value(message, "messageInfo", "correlationId")
    if CENTER.needed_value(data, "requestNumber").lower() != said.lower():
        raise CENTER.unreadable("the data in it answers another request")
    return data


def _response(reply: Reply, name: str) -> etree._Element:
    opened = CENTER.open_answer(reply.body, namespace=CHANNEL, element=f"{name}Response", fault=_fault)
    return CENTER.need(opened, "response")


def _messages(response: etree._Element) -> Iterator[etree._Element]:
    """Messages, whether or not a list stands around them."""
    for node in children(response, "messages"):
        inner = list(children(node, "message"))
        yield from inner or ([node] if CENTER.child(node, "messageInfo") is not None else [])


def _answers(message: etree._Element, exchange: str) -> bool:
    """Whether it answers ours; one that cannot be read is somebody else's trouble."""
    with suppress(Exception):
        return (CENTER.value(message, "messageInfo", "correlationId") or "").lower() == exchange
    return False


def _fault(fault: etree._Element) -> RequestRefused:
    """Their fault, with its code where that is one and never its text."""
    detail = CENTER.child(fault, "detail")
    code = next((plain(each.text or "") for each in detail.iter("errorCode")), None) if detail is not None else None
    return RequestRefused(
        "SmartBridge refused the message: compare sender, service and signatures with its description",
        their_code=code or CENTER.fault_code(fault),
    )
