"""SmartBridge's asynchronous channel as the stand-in plays it: requests wait, answers lie ready until confirmed.

It is written apart from `async_wire`, by which the adapter writes and reads, so that a mistake there is not made twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum

from lxml import etree

ASYNC_TYPES = "http://bip.bee.kz/AsyncChannel/v10/Types"
_ALMATY = timezone(timedelta(hours=5))
OPERATIONS = ("sendMessage", "getMessages", "getMessageStatus", "sendDeliveryNotification")


class Delivery(StrEnum):
    """What becomes of requests."""

    ANSWERED = "answered"
    NEVER = "never"
    """They are delivered, and no answer comes."""
    NOT_DELIVERED = "not_delivered"
    STOPPED = "stopped"
    TWICE = "twice"
    """The same answer lies ready twice, under two ids."""
    WRONG_SUBJECT = "wrong_subject"
    """The answer is about somebody else."""
    WRONG_REQUEST = "wrong_request"
    """The message says that it answers this request; what is signed in it answers another one."""


_STATES = {Delivery.NOT_DELIVERED: "NOT_DELIVERED", Delivery.STOPPED: "DELIVERY_STOPPED"}


@dataclass(slots=True)
class Waiting:
    """A request that was taken."""

    iin: str
    number: str
    delivery: Delivery
    after_s: float
    taken_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call on this channel asks."""

    operation: str
    message_id: str = ""
    """Of the request; of our own message where it is confirmed."""
    iin: str | None = None
    number: str = ""


class AsyncChannel:
    """Requests and the answers to them. `statement` makes the signed data about a person, or somebody else's."""

    def __init__(self, statement: Callable[[str, str, bool], etree._Element]) -> None:
        self._statement = statement
        self.delivery = Delivery.ANSWERED
        """What becomes of the requests that come from now on."""
        self.answers_after_s = 0.0
        """After which requests are answered that come from now on."""
        self.sends_everything = True
        """getMessages gives every message for the sender, whichever it asks for, as a slack implementation would."""
        self.taken: list[str] = []
        """Requests that came, in order."""
        self.waiting: dict[str, Waiting] = {}
        self.ready: dict[str, tuple[str, etree._Element]] = {}
        """Answers that were not confirmed, by their own id, each with the request that it answers."""
        self.confirmed: list[str] = []
        """Requests whose answers were confirmed, in order."""

    def examine(self, body: etree._Element) -> Asked:
        """What is asked. Raises LookupError."""
        operation = next(name for name in OPERATIONS if body.find(f"{{{ASYNC_TYPES}}}{name}") is not None)
        request = body.find(f"{{{ASYNC_TYPES}}}{operation}/request")
        if request is None:
            raise LookupError(operation)
        where = {
            "sendMessage": "messageInfo/messageId", "getMessages": "correlationId", "getMessageStatus": "messageId",
            "sendDeliveryNotification": "notification/messageId",
        }  # fmt: skip
        data = request.find("messageData/data")
        if (data is None) == (operation == "sendMessage"):
            raise LookupError("messageData")
        iin = None if data is None else data.findtext("requestIin")
        number = "" if data is None else data.findtext("requestNumber") or ""
        return Asked(operation, request.findtext(where[operation]) or "", iin, number)

    def act(self, asked: Asked) -> None:
        """Take a request, or forget an answer that was confirmed."""
        if asked.operation == "sendMessage":
            self.taken.append(asked.message_id)
            self.waiting[asked.message_id] = Waiting(asked.iin or "", asked.number, self.delivery, self.answers_after_s)
        elif asked.operation == "sendDeliveryNotification" and asked.message_id in self.ready:
            self.confirmed.append(self.ready.pop(asked.message_id)[0])

    def answer(self, asked: Asked) -> etree._Element:
        """What the SOAP body holds."""
        root = etree.Element(f"{{{ASYNC_TYPES}}}{asked.operation}Response", nsmap={"ns2": ASYNC_TYPES})
        response = etree.SubElement(root, "response")
        now = datetime.now(_ALMATY).isoformat(timespec="milliseconds")
        if asked.operation == "sendMessage":
            _add(response, messageId=asked.message_id, correlationId=asked.message_id, responseDate=now)
        elif asked.operation == "getMessageStatus":
            self._say_state(response, asked.message_id, now)
        elif asked.operation == "getMessages":
            self._bring_about()
            _add(response, responseDate=now)
            for receipt, (correlation, data) in self.ready.items():
                if self.sends_everything or correlation == asked.message_id:
                    response.append(_message(receipt, correlation, data, now))
        else:
            _add(response, responseDate=now)
        _add(response, sessionId=str(uuid.uuid4()))
        return root

    def _say_state(self, response: etree._Element, message_id: str, now: str) -> None:
        found = self.waiting.get(message_id)
        state = "NOT_FOUND" if found is None else _STATES.get(found.delivery, "DELIVERED")
        _add(response, messageState=state)
        status = etree.SubElement(response, "status")
        _add(status, code="SCSS001", message="")
        _add(response, responseDate=now)

    def _bring_about(self) -> None:
        """Answers that are due lie ready from now on."""
        for message_id, found in list(self.waiting.items()):
            due = time.monotonic() >= found.taken_at + found.after_s
            if not due or found.delivery is Delivery.NEVER or found.delivery in _STATES:
                continue
            del self.waiting[message_id]
            number = str(uuid.uuid4()) if found.delivery is Delivery.WRONG_REQUEST else found.number
            data = self._statement(found.iin, number, found.delivery is Delivery.WRONG_SUBJECT)
            for _ in range(2 if found.delivery is Delivery.TWICE else 1):
                self.ready[str(uuid.uuid4())] = (message_id, data)


def _message(receipt: str, correlation: str, data: etree._Element, now: str) -> etree._Element:
    message = etree.Element("messages")
    info = etree.SubElement(message, "messageInfo")
    _add(info, messageId=receipt, correlationId=correlation, messageType="RESPONSE", messageDate=now)
    holder = etree.SubElement(message, "messageData")
    holder.append(etree.fromstring(etree.tostring(data)))
    return message


def _add(parent: etree._Element, **values: str) -> None:
    for name, text in values.items():
        etree.SubElement(parent, name).text = text
