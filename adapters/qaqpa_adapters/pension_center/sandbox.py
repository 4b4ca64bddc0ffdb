"""A stand-in of the pension payment centre behind SmartBridge, by its synchronous channel and its asynchronous one.

It checks sender, service and both signatures of every call, answers with both of its own, and makes the keys and
certificates of both sides on the spot. It must be asked about synthetic persons only; whoever has a valid IIN has
invented contributions here.
"""

from __future__ import annotations

import copy
import hmac
import random
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path

from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.errors import SignatureRefused
from qaqpa.model.identifiers import check_digit, check_iin
from qaqpa.seal.rsa_signer import RsaSigner
from qaqpa.seal.xml_signature import (
    parse,
)
from qaqpa.testing.sandbox import NETWORKS, Answer, Arrival, Examination, Sandbox, another_iin
from qaqpa.testing.signing import key_pair
from qaqpa_adapters.pension_center.sandbox_async import ASYNC_TYPES, Asked, AsyncChannel

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_TYPES = "http://bip.bee.kz/SyncChannel/v10/Types"
_XML = "text/xml; charset=utf-8"
_PATH = "/bip-sync-wss-gost/"
_ASYNC_PATH = "/bip-async-wss-gost/"
_ALMATY = timezone(timedelta(hours=5))
_CUT_OFF = date(2026, 10, 20)
_EMPLOYERS = ("ТОО «Пример Сервис»", "АО «Образец»", "ЖШС «Үлгі»", "ИП Примеров", "ГКП «Выдуманная школа № 7»")
_MONTHS = 6


class Signing(StrEnum):
    """How its answers are signed."""

    GOOD = "good"
    OTHER_KEY = "other_key"
    """By somebody else."""
    CHANGED = "changed"
    """An amount is changed after signing."""
    DATA_UNSIGNED = "data_unsigned"
    BODY_UNSIGNED = "body_unsigned"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Examination):
    """A call as SmartBridge understood it."""

    code: str = ""
    """Of the fault; made up but for its form, since no public paper lists them."""
    message_id: str = ""
    request_number: str = ""
    later: Asked | None = None
    """What was asked on the asynchronous channel."""


class _RefusedError(Exception):
    def __init__(self, code: str, problem: str) -> None:
        self.code, self.problem = code, problem
        super().__init__(problem)


class PensionCenterSandbox(Sandbox[Question]):
    """SmartBridge with the centre behind it."""

    paths = (_PATH, _ASYNC_PATH)

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        log: Path | None = None,
        delay: float = 0.5,
        password: str | None = None,
        unknown_share: float = 0.05,
    ) -> None:
        """As Sandbox; a random password if None. `unknown_share` of all IINs have no contributions."""
        super().__init__(port=port, directory=directory, log=log, delay=delay)
        self.sender = "qaqpa-sandbox"
        self.password = secrets.token_urlsafe(24) if password is None else password
        self.service_id = "GCVP_SANDBOX"
        self.route_id = "GCVP"
        self.signing = Signing.GOOD
        self.wants_token = False
        """Every call must carry a КДП token and the key that it is checked with."""
        self.answered = 0
        """Answers with contributions."""
        self.operator = key_pair("operator")
        self.own = key_pair("pension centre")
        self._unknown_below = unknown_share
        self.async_channel = AsyncChannel(self._later_statement)
        """Requests that are answered later."""

    def write_files(self, directory: Path) -> None:
        """Also what a gateway signs with, and the certificate that answers are signed with."""
        super().write_files(directory)
        self.operator.write(directory, "operator")
        (directory / "center.pem").write_bytes(self.own.certificate_pem)

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's configuration refers to."""
        return {
            "QAQPA_PPC_URL": f"{self.url}{_PATH}",
            "QAQPA_PPC_ASYNC_URL": f"{self.url}{_ASYNC_PATH}",
            "QAQPA_PPC_CA": str(self.ca_file),
            "QAQPA_PPC_NETWORKS": NETWORKS,
            "QAQPA_PPC_SENDER": self.sender,
            "QAQPA_PPC_PASSWORD": self.password,
            "QAQPA_PPC_SERVICE_ID": self.service_id,
            "QAQPA_PPC_ROUTE_ID": self.route_id,
            "QAQPA_PPC_SIGNING_KEY": str(self._file("operator-key.pem")),
            "QAQPA_PPC_SIGNING_CERTIFICATE": str(self._file("operator.pem")),
            "QAQPA_PPC_TRUSTED": str(self._file("center.pem")),
        }

    def examine(self, arrival: Arrival) -> Question:
        """Check form, signatures, login, service and person."""
        if arrival.path == _ASYNC_PATH:
            return self._examine_async(arrival)
        iin: str | None = None
        message_id = number = ""
        try:
            request, data = _request(arrival)
            iin, number = data.findtext("requestIin"), data.findtext("requestNumber") or ""
            message_id = request.findtext("requestInfo/messageId") or ""
            self._check(arrival.body, request, data)
            check_iin(iin or "")
        except _RefusedError as no:
            problem, code = no.problem, no.code
        except ValueError:
            problem, code = "not an IIN", "SCSE006"
        else:
            return Question(operation="SendMessage", iin=iin, message_id=message_id, request_number=number)
        return Question(operation="SendMessage", iin=iin, problem=problem, code=code)

    def _check(self, body: bytes, request: etree._Element, data: etree._Element) -> None:
        ours = self.own.signer(self.operator)
        try:
            ours.require(body, SignedPart.BODY)
            alone = copy.deepcopy(data)  # without the namespaces of what stands around it
            ours.require(etree.tostring(alone, with_tail=False), SignedPart.ROOT)
        except SignatureRefused:
            raise _RefusedError("SCSE005", "a signature is missing or wrong") from None
        self._require_login(request.find("requestInfo/sender"))
        if request.findtext("requestInfo/serviceId") != self.service_id:
            raise _RefusedError("SCSE004", "no such service")
        if request.findtext("requestInfo/routeId") != self.route_id:
            raise _RefusedError("SCSE004", "no such route")
        if self.wants_token and not (data.findtext("kdpToken") and data.findtext("publicKey")):
            raise _RefusedError("SCSE007", "no КДП token")
        try:
            uuid.UUID(request.findtext("requestInfo/messageId") or "")
            datetime.fromisoformat(request.findtext("requestInfo/messageDate") or "")
        except ValueError:
            raise _RefusedError("SCSE002", "messageId or messageDate is not one") from None

    def _require_login(self, sender: etree._Element | None) -> None:
        for name, known in (("senderId", self.sender), ("password", self.password)):
            given = "" if sender is None else sender.findtext(name) or ""
            if not hmac.compare_digest(given.encode(), known.encode()):
                raise _RefusedError("SCSE003", "sender or password refused")

    def _examine_async(self, arrival: Arrival) -> Question:
        asked = Asked("unknown")
        try:
            body = _body(arrival)
            asked = self.async_channel.examine(body)
            ours = self.own.signer(self.operator)
            ours.require(arrival.body, SignedPart.BODY)
            if asked.operation == "sendMessage":
                data = body.find(f"{{{ASYNC_TYPES}}}sendMessage/request/messageData/data")
                assert data is not None  # noqa: S101 - looked at above
                ours.require(etree.tostring(data, with_tail=False), SignedPart.ROOT)
                check_iin(asked.iin or "")
            self._require_login(body.find(".//sender"))
            uuid.UUID(asked.message_id)
        except _RefusedError as no:
            problem, code = no.problem, no.code
        except SignatureRefused:
            problem, code = "a signature is missing or wrong", "SCSE005"
        except (LookupError, StopIteration, ValueError):
            problem, code = "not of the form agreed", "SCSE002"
        else:
            return Question(operation=asked.operation, iin=asked.iin, later=asked)
        return Question(operation=asked.operation, iin=asked.iin, problem=problem, code=code)

    def act(self, examination: Question) -> None:
        """Count it, or take it to be answered later."""
        if examination.later is not None:
            self.async_channel.act(examination.later)
            return
        self.answered += self.knows(examination.iin or "")

    def knows(self, iin: str) -> bool:
        """Whether the person has contributions."""
        return random.Random(f"{iin}/known").random() >= self._unknown_below  # noqa: S311 - made to be repeated

    def answer(self, examination: Question, *, about: str | None) -> Answer:
        """A signed answer, or a fault, which is not signed."""
        if examination.problem is not None:
            return _fault(examination.code, examination.problem)
        if examination.later is not None:
            return Answer(200, self._enveloped(self.async_channel.answer(examination.later)), _XML)
        now = datetime.now(_ALMATY).isoformat(timespec="milliseconds")
        iin = examination.iin or ""
        data = self._statement(iin, about or iin, examination.request_number)
        return Answer(200, self._signed(data, examination, now), _XML)

    def _statement(self, iin: str, about: str, number: str) -> etree._Element:
        """What the centre says of a person, signed by it."""
        data = etree.Element("data")
        for name, text in (
            ("responseCode", "FOUND" if self.knows(iin) else "NOT_FOUND"),
            ("requestNumber", number),
            ("requestIin", about),
            ("responseDate", datetime.now(_ALMATY).isoformat(timespec="milliseconds")),
            ("responseNumber", f"{700_000 + self.answered}"),
        ):
            etree.SubElement(data, name).text = text
        if self.knows(iin):
            data.extend(_contributions(about))
        if self.signing in {Signing.DATA_UNSIGNED, Signing.UNSIGNED}:
            return data
        return etree.fromstring(self._signer().sign(etree.tostring(data), SignedPart.ROOT))

    def _later_statement(self, iin: str, number: str, wrong: bool) -> etree._Element:
        self.answered += self.knows(iin)
        return self._statement(iin, another_iin(iin) if wrong else iin, number)

    def _signer(self) -> RsaSigner:
        return (key_pair("somebody else") if self.signing is Signing.OTHER_KEY else self.own).signer()

    def _enveloped(self, content: etree._Element) -> bytes:
        envelope = etree.Element(f"{{{_SOAP}}}Envelope", nsmap={"S": _SOAP})
        etree.SubElement(envelope, f"{{{_SOAP}}}Header")
        etree.SubElement(envelope, f"{{{_SOAP}}}Body").append(content)
        return self._sealed_off(etree.tostring(envelope, xml_declaration=True, encoding="UTF-8"), self._signer())

    def _signed(self, data: etree._Element, question: Question, now: str) -> bytes:
        envelope = etree.Element(f"{{{_SOAP}}}Envelope", nsmap={"S": _SOAP})
        etree.SubElement(envelope, f"{{{_SOAP}}}Header")
        body = etree.SubElement(envelope, f"{{{_SOAP}}}Body")
        sent = etree.SubElement(body, f"{{{_TYPES}}}SendMessageResponse", nsmap={"ns2": _TYPES})
        response = etree.SubElement(sent, "response")
        info = etree.SubElement(response, "responseInfo")
        etree.SubElement(info, "messageId").text = str(uuid.uuid4())
        etree.SubElement(info, "correlationId").text = question.message_id
        etree.SubElement(info, "responseDate").text = now
        status = etree.SubElement(info, "status")
        etree.SubElement(status, "code").text = "SCSS001"
        etree.SubElement(status, "message").text = "Message has been processed successfully"
        etree.SubElement(info, "sessionId").text = str(uuid.uuid4())
        etree.SubElement(response, "responseData").append(data)
        return self._sealed_off(etree.tostring(envelope, xml_declaration=True, encoding="UTF-8"), self._signer())

    def _sealed_off(self, envelope: bytes, signer: RsaSigner) -> bytes:
        """Sign the body, or spoil what was to be signed."""
        if self.signing not in {Signing.BODY_UNSIGNED, Signing.UNSIGNED}:
            envelope = signer.sign(envelope, SignedPart.BODY)
        if self.signing is Signing.CHANGED:
            envelope = re.sub(rb"<amount>\d", b"<amount>9", envelope, count=1)
        return envelope


def _body(arrival: Arrival) -> etree._Element:
    """The SOAP body of a call."""
    if arrival.media_type != "text/xml":
        raise _RefusedError("SCSE001", "SOAP 1.1 is text/xml")
    try:
        root = parse(arrival.body)
    except SignatureRefused:
        raise _RefusedError("SCSE001", "not well-formed XML, or more than that") from None
    body = root.find(f"{{{_SOAP}}}Body")
    if body is None:
        raise _RefusedError("SCSE002", "no SOAP body")
    return body


def _request(arrival: Arrival) -> tuple[etree._Element, etree._Element]:
    """The request and its data."""
    found = _body(arrival).findall(f"{{{_TYPES}}}SendMessage/request")
    if len(found) != 1:
        raise _RefusedError("SCSE002", "not one SendMessage")
    data = found[0].findall("requestData/data")
    if len(data) != 1:
        raise _RefusedError("SCSE002", "not one requestData/data")
    return found[0], data[0]


def _contributions(iin: str) -> list[etree._Element]:
    """Six months, of one employer or two, each a tenth of a salary."""
    made = random.Random(f"{iin}/contributions")  # noqa: S311 - made to be repeated
    salary, rows = made.randrange(120_000, 900_000), []
    employer = made.choice(_EMPLOYERS)
    for month in range(_MONTHS):
        row = etree.Element("deductionsDetailed")
        if made.random() < 0.1:
            employer = made.choice(_EMPLOYERS)
        day = _CUT_OFF - timedelta(days=30 * month + made.randrange(10))
        for name, text in (
            ("bin", _bin(employer)),
            ("date", day.isoformat()),
            ("name", employer),
            ("amount", f"{salary / 10 * made.uniform(0.9, 1.1):.2f}"),
        ):
            etree.SubElement(row, name).text = text
        rows.append(row)
    return rows


def _bin(employer: str) -> str:
    made = random.Random(employer)  # noqa: S311 - made to be repeated
    while True:
        eleven = f"{made.randrange(10, 24):02d}{made.randrange(1, 13):02d}40{made.randrange(100_000):05d}"
        digit = check_digit(eleven)
        if digit is not None:
            return f"{eleven}{digit}"


def _fault(code: str, problem: str) -> Answer:
    envelope = etree.Element(f"{{{_SOAP}}}Envelope", nsmap={"S": _SOAP})
    fault = etree.SubElement(etree.SubElement(envelope, f"{{{_SOAP}}}Body"), f"{{{_SOAP}}}Fault")
    etree.SubElement(fault, "faultcode").text = "S:Server"
    etree.SubElement(fault, "faultstring").text = problem
    detail = etree.SubElement(etree.SubElement(fault, "detail"), f"{{{_TYPES}}}SendMessageFault1_SendMessageFault")
    for name, text in (
        ("errorCode", code),
        ("errorMessage", problem),
        ("errorDate", datetime.now(_ALMATY).isoformat(timespec="milliseconds")),
        ("sessionId", str(uuid.uuid4())),
    ):
        etree.SubElement(detail, name).text = text
    return Answer(500, etree.tostring(envelope, xml_declaration=True, encoding="UTF-8"), _XML)
