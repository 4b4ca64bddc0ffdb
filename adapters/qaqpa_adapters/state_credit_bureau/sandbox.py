"""A stand-in of the State credit bureau: credit reports, uploads, and pension data passed on, over SOAP 1.1.

It checks calls as the bureau does, by itself and without any of the adapter's code, counts and bills what it answers,
and answers in each form that the bureau's service may use. It must be asked about synthetic persons only; whoever has a
valid IIN has an invented history here. Where its papers are not public it does what `report` assumes.
"""

from __future__ import annotations

import base64
import json
import uuid
from enum import StrEnum
from typing import Any

from lxml import etree

from qaqpa.testing.sandbox import NETWORKS, Answer, Arrival
from qaqpa_adapters.soap_sandbox import (
    SOAP,
    BureauService,
    Question,
    RefusedError,
    faulty,
    need_iin,
    node,
    same,
    written,
)
from qaqpa_adapters.state_credit_bureau.sandbox_report import SEED, credit_report, no_pension_data, pension_data
from qaqpa_adapters.upload_sandbox import DICTIONARIES, Batch, Pump, Said, UploadingBureau, Verdict

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


class _Service(BureauService):
    """One of the services."""

    unknown, no_report = "SUBJECT_NOT_FOUND", "REPORT_NOT_FOUND"


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
            return node("responseData", no_pension_data(iin, request=question.detail))
        return node("responseData", pension_data(iin, request=question.detail, number=sequence))


class _Data(_Service):
    path = "/data"
    namespace = "http://data.chdb.scb.kz"
    operation = "uploadFile"
    states = ("Файл получен", "Файл подготовлен к обработке", "Файл находится в процессе обработки")
    processed, failed = "Файл обработан", "Ошибка обработки"
    page = 100

    @property
    def operations(self) -> tuple[str, ...]:
        return (self.operation, "getImportInfo", "getImportDetailInfo")

    def iin(self, call: etree._Element) -> str | None:
        return None

    def check(self, call: etree._Element, iin: str | None) -> str:
        if call.tag != self.q(self.operation):
            if call.findtext("params/language") != "ru":
                raise RefusedError("INVALID_PARAMS", "no language, or one without words of its own")
            first = call.findtext("params/paginationSupportDto/firstResult") or "0"
            return f"{call.findtext('params/packageId') or call.findtext('params/fileId') or ''}@{first}"
        if call.findtext("fileType") not in {"1", "2", "3"}:
            raise RefusedError("INVALID_PARAMS", "fileType is none")
        if not (call.findtext("fileName") or "").endswith(".zip"):
            raise RefusedError("INVALID_PARAMS", "fileName is no ZIP's")
        return call.findtext("file") or ""

    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        raise AssertionError("a batch is answered by the pump")

    def taken(self, batch: Batch) -> etree._Element:
        """uploadFileResponse."""
        return node(self.q("uploadFileResponse"), node("batchPackageId", text=batch.id))

    def state(self, batch: Batch, pump: Pump) -> etree._Element:
        """getImportInfoResponse."""
        done = pump.is_done(batch)
        words = self.states[min(max(batch.asked - 1, 0), len(self.states) - 1)]
        if done:
            is_processed = batch.verdict in {Verdict.ACCEPTED, Verdict.WARNINGS}
            words = self.processed if is_processed else self.failed
        counts = {
            "numberOfContracts": len(batch.contracts),
            "skippedContracts": sum(said.kind == "1" for said in batch.remarks) if done else 0,
            "numberOfErrors": len(batch.remarks) if done else 0,
        }
        file = node(
            "batchFileDtoList",
            node("fileId", text=batch.id),
            node("batchUploadStatus", text=words),
            *(node(name, text=str(count)) for name, count in counts.items()),
            node("batchPackage", node("packageId", text=batch.id)),
        )
        return node(self.q("getImportInfoResponse"), node("filesImportInfo", file, node("count", text="1")))

    def records(self, batch: Batch, first: int) -> etree._Element:
        """getImportDetailInfoResponse."""
        shown = batch.remarks[first : first + self.page]
        count = node("count", text=str(len(batch.remarks)))
        return node(
            self.q("getImportDetailInfoResponse"), node("recordsImportInfo", *(self._record(s) for s in shown), count)
        )

    def _record(self, said: Said) -> etree._Element:
        return node(
            "batchRecordDtoList",
            node("iinBin", text=said.contract.iin),
            node("contractCode", text=said.contract.code),
            node("resultMessage", text=said.group),
            node("numberOfRow", text=str(said.contract.position)),
        )


_REPORT, _PENSION, _DATA = _Report(), _Pension(), _Data()
_SERVICES: dict[str, _Service] = {service.path: service for service in (_REPORT, _PENSION, _DATA)}


class StateCreditBureauSandbox(UploadingBureau[_Service]):
    """The bureau."""

    paths = tuple(_SERVICES)
    services = _SERVICES
    seed = SEED
    uploads = _DATA
    asks = _DATA.operations[1]
    refused = "INVALID_PARAMS"

    def __init__(self, *, form: Form | None = None, **options: Any) -> None:
        """As BureauSandbox. `form` packs every answer alike; if None it goes by the IIN, a third in each form."""
        super().__init__(**options)
        self.user_id = str(uuid.uuid4())
        self.form = form

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's configuration refers to."""
        return {
            "QAQPA_SCB_REPORT_URL": f"{self.url}{_REPORT.path}",
            "QAQPA_SCB_PENSION_URL": f"{self.url}{_PENSION.path}",
            "QAQPA_SCB_UPLOAD_URL": f"{self.url}{_DATA.path}",
            "QAQPA_SCB_DICTIONARIES": json.dumps(
                {
                    **DICTIONARIES,
                    "message_type": {"201": "warning"},
                    "batch_status": dict.fromkeys(_DATA.states, "pending")
                    | {_DATA.processed: "accepted", _DATA.failed: "rejected"},
                }
            ),
            "QAQPA_SCB_CA": str(self.ca_file),
            "QAQPA_SCB_NETWORKS": NETWORKS,
            "QAQPA_SCB_CLIENT_ID": self.user,
            "QAQPA_SCB_PASSWORD": self.password,
            "QAQPA_SCB_USER_ID": self.user_id,
        }

    def answer(self, examination: Question, *, about: str | None) -> Answer:
        """A SOAP envelope, perhaps in a package; what is refused by HTTP itself gets a line of text."""
        service, iin = self.service(examination.path), examination.iin or ""
        if examination.status not in {200, 500}:
            return Answer(examination.status, examination.text.encode(), "text/plain; charset=utf-8")
        is_wrong = examination.problem is not None
        # The pension centre says in its own data that it knows nothing.
        is_unknown = examination.code is not None and service is not _PENSION and about == iin
        if is_wrong or is_unknown:
            return _fault(examination)
        if service is _DATA:
            return self._of_batch(examination)
        asked = self.queries[iin]
        result = service.result(about or iin, examination, queries=asked, sequence=300_000_000 + self.billed)
        return _packed(service, result, self._form_for(iin))

    def _of_batch(self, examination: Question) -> Answer:
        batch = self.batch(examination)
        if examination.operation == _DATA.operation:
            said = _DATA.taken(batch)
        elif examination.operation == self.asks:
            said = _DATA.state(batch, self.pump)
        else:
            said = _DATA.records(batch, int(examination.detail.partition("@")[2]))
        plain = written(200, said)
        return _package(plain.body, {}) if self.form is Form.XOP else plain

    def _form_for(self, iin: str) -> Form:
        return self.form or list(Form)[int(self.chance(iin) * 1000) % len(Form)]

    def admit(self, arrival: Arrival) -> etree._Element:
        """HTTP Basic."""
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if not same(arrival.headers.get("authorization", ""), f"Basic {wanted}"):
            raise RefusedError(None, "login refused", status=401)
        return super().admit(arrival)

    def check_header(self, service: _Service, envelope: etree._Element) -> None:
        """The user in the SOAP header."""
        users = envelope.findall(f"{{{SOAP}}}Header/userId")  # without a namespace
        if len(users) != 1:
            raise RefusedError("USER_NOT_FOUND", "no userId in the SOAP header, or more than one")
        if not same(users[0].text or "", self.user_id):
            raise RefusedError("USER_NOT_FOUND", "userId refused")


def _fault(examination: Question) -> Answer:
    code = examination.code
    return faulty(examination.text, *(() if code is None else (node("detail", node("code", text=code)),)))


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
