"""A stand-in of the State credit bureau: its credit report, and the pension data that it passes on, over SOAP 1.1.

It checks calls as the bureau does, by itself and without any of the adapter's code, counts and bills what it answers,
and answers in each form that the bureau's service may use. It must be asked about synthetic persons only; whoever has a
valid IIN has an invented history here. Where its papers are not public it does what `report` assumes.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from lxml import etree

from qaqpa.testing.sandbox import NETWORKS, Answer, Arrival, Examination, Sandbox
from qaqpa_adapters.soap_sandbox import SOAP, RefusedError, need_iin, node, opened, written
from qaqpa_adapters.state_credit_bureau.sandbox_report import (
    chance,
    credit_report,
    no_pension_data,
    pension_data,
)

_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_XOP = "http://www.w3.org/2004/08/xop/include"
_PERSON = "personCreditReportParams"


class Form(StrEnum):
    """How an answer is packed. The content is the same."""

    INLINE = "inline"
    """The document's elements stand in the SOAP answer."""
    BASE64 = "base64"
    """The report stands as base64 text in the SOAP answer."""
    XOP = "xop"
    """An MTOM package; the report is a part of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Examination):
    """A call as the bureau understood it."""

    path: str
    status: int = 200
    code: str | None = None
    """The bureau's own code for what is wrong, or for a person it does not know."""
    text: str = ""
    number: str = ""
    """The requestNumber, where the call has one."""


class _Service(ABC):
    """One of the two services."""

    path: ClassVar[str]
    namespace: ClassVar[str]
    operation: ClassVar[str]

    @abstractmethod
    def iin(self, call: etree._Element) -> str | None:
        """Who the call names, for the log, however wrong the rest of it."""

    @abstractmethod
    def check(self, call: etree._Element, iin: str | None) -> str:
        """Raise RefusedError unless the call is in order; returns the requestNumber, where there is one."""

    @abstractmethod
    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        """The document that answers."""


class _Report(_Service):
    path = "/report"
    namespace = "http://report.chdb.scb.kz"
    operation = "requestXmlCreditReport"

    def iin(self, call: etree._Element) -> str | None:
        return call.findtext("reportRequest/reportParams/iin")

    def check(self, call: etree._Element, iin: str | None) -> str:
        parameters = call.find("reportRequest/reportParams")
        if parameters is None:
            raise RefusedError("INVALID_PARAMS", "no reportRequest/reportParams")
        if not self._is_person(parameters):
            raise RefusedError("INVALID_PARAMS", f"reportParams is no {_PERSON} of the service's namespace")
        wanted = call.find("reportRequest/generationParams")
        if wanted is None or not wanted.findtext("language") or not wanted.findtext("reportType"):
            raise RefusedError("INVALID_PARAMS", "generationParams are not whole")
        if wanted.findtext("outputFormats") != "XML":
            raise RefusedError("INVALID_PARAMS", "outputFormats is not XML")
        if parameters.findtext("new") not in {"true", "false"}:
            raise RefusedError("INVALID_PARAMS", "new is neither true nor false")
        need_iin(iin, "INVALID_PARAMS")
        if parameters.findtext("consentConfirmed") != "true":
            raise RefusedError("CONSENT_REQUIRED", "consent is not confirmed")
        return ""

    def _is_person(self, parameters: etree._Element) -> bool:
        prefix, _, name = (parameters.get(_XSI_TYPE) or "").rpartition(":")
        return name == _PERSON and parameters.nsmap.get(prefix or None) == self.namespace

    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        return credit_report(iin, queries=queries, number=sequence)


class _Pension(_Service):
    path = "/pension"
    namespace = "http://data.gbd.chdb.scb.kz/"
    operation = "getPensionInfo"

    def iin(self, call: etree._Element) -> str | None:
        return call.findtext("iin")

    def check(self, call: etree._Element, iin: str | None) -> str:
        if call.findtext("requestType") != "DEDUCTION_6":
            raise RefusedError("INVALID_PARAMS", "requestType is not DEDUCTION_6")
        number = call.findtext("requestNumber") or ""
        try:
            uuid.UUID(number)
        except ValueError:
            raise RefusedError("INVALID_PARAMS", "requestNumber is no UUID") from None
        need_iin(iin, "INVALID_PARAMS")
        return number

    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        if question.code is not None:
            return node("responseData", no_pension_data(iin, request=question.number))
        return node("responseData", pension_data(iin, request=question.number, number=sequence))


_REPORT, _PENSION = _Report(), _Pension()
_SERVICES: dict[str, _Service] = {service.path: service for service in (_REPORT, _PENSION)}


class StateCreditBureauSandbox(Sandbox[Question]):
    """The bureau."""

    paths = tuple(_SERVICES)

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        log: Path | None = None,
        delay: float = 0.5,
        client_id: str = "qaqpa-sandbox",
        password: str | None = None,
        unknown_share: float = 0.05,
        no_report_share: float = 0.025,
        form: Form | None = None,
    ) -> None:
        """As Sandbox; a random password if None. The two shares say for how many of all IINs nothing is known.

        `form` packs every answer alike; if None it goes by the IIN, a third in each form.
        """
        super().__init__(port=port, directory=directory, log=log, delay=delay)
        self.client_id = client_id
        self.password = secrets.token_urlsafe(24) if password is None else password
        self.user_id = str(uuid.uuid4())
        self.form = form
        self.billed = 0
        """Answers given that the bureau would put on the invoice; never a refusal."""
        self.queries: Counter[str] = Counter()
        """Accepted calls by IIN."""
        self._unknown_below = unknown_share
        self._no_report_below = unknown_share + no_report_share

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's configuration refers to."""
        return {
            "QAQPA_SCB_REPORT_URL": f"{self.url}{_REPORT.path}",
            "QAQPA_SCB_PENSION_URL": f"{self.url}{_PENSION.path}",
            "QAQPA_SCB_CA": str(self.ca_file),
            "QAQPA_SCB_NETWORKS": NETWORKS,
            "QAQPA_SCB_CLIENT_ID": self.client_id,
            "QAQPA_SCB_PASSWORD": self.password,
            "QAQPA_SCB_USER_ID": self.user_id,
        }

    def examine(self, arrival: Arrival) -> Question:
        """Check the call as the bureau does: login, form, user, parameters, person, consent."""
        service = _SERVICES[arrival.path]
        operation: str | None = None
        iin: str | None = None
        try:
            self._check_login(arrival.headers.get("authorization", ""))
            envelope = opened(arrival)
            call = _call(service, envelope)
            operation, iin = service.operation, service.iin(call)
            self._check_user(envelope)
            number = service.check(call, iin)
        except RefusedError as no:
            return Question(
                operation=operation,
                iin=iin,
                problem=no.problem if no.code is None else f"{no.code}: {no.problem}",
                path=arrival.path,
                status=no.status,
                code=no.code,
                text=no.problem,
            )
        code, text = self._whereabouts(iin or "")
        return Question(operation=operation, iin=iin, path=arrival.path, code=code, text=text, number=number)

    def act(self, examination: Question) -> None:
        """Count the query, and bill it if there is something to give."""
        self.queries[examination.iin or ""] += 1
        self.billed += examination.code is None

    def answer(self, examination: Question, *, about: str | None) -> Answer:
        """A SOAP envelope, perhaps in a package; what is refused by HTTP itself gets a line of text."""
        service, iin = _SERVICES[examination.path], examination.iin or ""
        if examination.status not in {200, 500}:
            return Answer(examination.status, examination.text.encode(), "text/plain; charset=utf-8")
        is_wrong = examination.problem is not None
        # The pension centre says in its own data that it knows nothing.
        is_unknown = examination.code is not None and service is not _PENSION and about == iin
        if is_wrong or is_unknown:
            return _fault(examination)
        asked = self.queries[iin]
        result = service.result(about or iin, examination, queries=asked, sequence=300_000_000 + self.billed)
        return _packed(service, result, self._form_for(iin))

    def knows(self, iin: str) -> bool:
        """Whether the person is known and has a report."""
        return chance(iin) >= self._no_report_below

    def _form_for(self, iin: str) -> Form:
        return self.form or list(Form)[int(chance(iin) * 1000) % len(Form)]

    def _whereabouts(self, iin: str) -> tuple[str | None, str]:
        place = chance(iin)
        if place < self._unknown_below:
            return "SUBJECT_NOT_FOUND", "Субъект не найден"
        if place < self._no_report_below:
            return "REPORT_NOT_FOUND", "Отчёт отсутствует"
        return None, ""

    def _check_login(self, given: str) -> None:
        wanted = base64.b64encode(f"{self.client_id}:{self.password}".encode())
        if not hmac.compare_digest(given.encode(), b"Basic " + wanted):
            raise RefusedError(None, "login refused", status=401)

    def _check_user(self, envelope: etree._Element) -> None:
        users = envelope.findall(f"{{{SOAP}}}Header/userId")  # without a namespace
        if len(users) != 1:
            raise RefusedError("USER_NOT_FOUND", "no userId in the SOAP header, or more than one")
        if not hmac.compare_digest((users[0].text or "").encode(), self.user_id.encode()):
            raise RefusedError("USER_NOT_FOUND", "userId refused")


def _call(service: _Service, envelope: etree._Element) -> etree._Element:
    body = envelope.find(f"{{{SOAP}}}Body")
    if body is None or len(body) != 1 or body[0].tag != f"{{{service.namespace}}}{service.operation}":
        raise RefusedError(
            None, f"the body does not hold one {service.operation} of this service's namespace", status=500
        )
    return body[0]


def _fault(examination: Question) -> Answer:
    parts = [node("faultcode", text="soap:Client"), node("faultstring", text=examination.text)]
    if examination.code is not None:
        parts.append(node("detail", node("code", text=examination.code)))
    return written(500, node(f"{{{SOAP}}}Fault", *parts))


# --- packing ---------------------------------------------------------------------------------------


def _packed(service: _Service, result: etree._Element, form: Form) -> Answer:
    response, holder = f"{{{service.namespace}}}{service.operation}Response", node("return")
    attached: dict[str, bytes] = {}
    if service is _PENSION or form is Form.INLINE:
        holder.append(result)
    else:
        document = etree.tostring(result, xml_declaration=True, encoding="UTF-8")
        if form is Form.BASE64:
            holder.text = base64.b64encode(document).decode()
        else:
            attached["report@scb.kz.invalid"] = document
            holder.append(node(f"{{{_XOP}}}Include", href="cid:report%40scb.kz.invalid"))
    plain = written(200, node(response, holder))
    return plain if form is not Form.XOP else _package(plain.body, attached)


def _package(root: bytes, attached: dict[str, bytes]) -> Answer:
    """An MTOM package as Apache CXF, which answers for the bureau, writes it."""
    boundary, start = f"uuid:{uuid.uuid4()}", "root.message@cxf.apache.org"
    parts = [('application/xop+xml; charset=UTF-8; type="text/xml"', start, root)]
    parts += [("application/octet-stream", name, content) for name, content in attached.items()]
    body = b"".join(
        f"\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: binary\r\n"
        f"Content-ID: <{name}>\r\n\r\n".encode()
        + content
        for kind, name, content in parts
    )
    kind = (
        f'multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="<{start}>"; '
        'start-info="text/xml"'
    )
    return Answer(200, body + f"\r\n--{boundary}--".encode(), kind)
