"""A stand-in of the First Credit Bureau: its report, score, debt-burden and upload services over SOAP 1.1.

It checks calls as the bureau does, by itself and without any of the adapter's code, and counts and bills what it
answers. It must be asked about synthetic persons only; whoever has a valid IIN has an invented credit history here.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import ClassVar

from lxml import etree

from qaqpa.testing.sandbox import NETWORKS, Answer, Arrival
from qaqpa_adapters.first_credit_bureau.sandbox_report import SEED, debt_burden, root, score
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
from qaqpa_adapters.upload_sandbox import DICTIONARIES, Batch, Pump, UploadingBureau, Verdict

_HEADER_PARTS = frozenset({"Culture", "Password", "SecurityToken", "UserId", "UserName", "Version"})
_HEADER_NEEDED = frozenset({"Culture", "Password", "UserName"})
"""What clients of the bureau send; the other three may be left out."""
_ALMATY = timezone(timedelta(hours=5))
_IIN_DOCUMENT = "14"


class _Service(BureauService):
    """One of the services."""

    cultures: ClassVar[frozenset[str]] = frozenset({"ru-RU", "kk-KZ", "en-US"})
    login, culture, unknown, no_report = "-1000", "-1", "-1", "-1"
    """The codes for these four. The bureau's public papers give -1000 and -1017; -1 stands for the rest."""

    def answer(self, *children: etree._Element) -> etree._Element:
        """The element in the SOAP body."""
        return node(self.q(f"{self.operation}Response"), *children)

    @property
    def actions(self) -> frozenset[str]:
        """What a SOAPAction may say."""
        return frozenset({self.namespace + self.operation})

    @abstractmethod
    def refusal(self, code: str, text: str) -> etree._Element:
        """The body that says no."""


class _Report(_Service):
    path = "/WebService2.0/Service.asmx"
    namespace = "http://ws.creditinfo.com/"
    operation = "GetReport"
    login, culture, unknown, no_report = "1104", "1103", "1102", "1108"
    report_codes = frozenset({"2", "4", "6", "7", "13"})

    def iin(self, call: etree._Element) -> str | None:
        return call.findtext(f"{self.q('doc')}/keyValue/idNumber")

    def check(self, call: etree._Element, iin: str | None) -> str:
        report_id = call.find(self.q("reportId"))
        if report_id is not None and not (report_id.text or "").strip().isdigit():
            raise RefusedError(None, "reportId is not a number", status=500)
        asked = call.find(f"{self.q('doc')}/keyValue")  # without a namespace, unlike everything around it
        if asked is None:
            raise RefusedError("1101", "no doc/keyValue")
        code = asked.findtext("reportImportCode") or ""
        if code not in self.report_codes:
            raise RefusedError("1105", "unknown reportImportCode")
        if asked.findtext("idNumberType") != _IIN_DOCUMENT:
            raise RefusedError("1107", "idNumberType is not 14")
        need_iin(iin, "1107")
        if asked.findtext("ConsentConfirmed") != "1":
            raise RefusedError("1106", "consent is not confirmed")
        return code

    def refusal(self, code: str, text: str) -> etree._Element:
        said = node("CigResultError", node("Errmessage", text=text, code=code))
        return self.answer(node(self.q("GetReportResult"), said))

    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        found = node(
            "CigResult",
            node("DateTime", text=_now().isoformat(timespec="seconds")),
            node("ReferenceId", text=str(sequence)),
            node("ServiceName", text=self.operation),
            node("ResultCode", text="0"),
            node("UsageIdentity", text=f"SB{sequence}"),
            node("Result", root(iin, queries=queries, report_code=question.detail)),
            Version="2.0",
        )
        return self.answer(node(self.q("GetReportResult"), found))


class _Score(_Service):
    path = "/ScoreService/ScoreService"
    namespace = "http://score.ws.creditinfo.com/"
    operation = "Score"

    def _attributes(self, call: etree._Element) -> dict[str, str]:
        pairs = call.iterfind(self.q("attributes"))
        return {p.findtext(self.q("name")) or "": p.findtext(self.q("value")) or "" for p in pairs}

    def iin(self, call: etree._Element) -> str | None:
        return self._attributes(call).get("IIN")

    def check(self, call: etree._Element, iin: str | None) -> str:
        if not call.findtext(self.q("ScoreCard")):
            raise RefusedError("-1", "no ScoreCard")
        need_iin(iin, "-1")
        if self._attributes(call).get("ConsentConfirmed") != "1":
            raise RefusedError("-1017", "consent is not confirmed")
        return ""

    def refusal(self, code: str, text: str) -> etree._Element:
        return self.answer(self._return(ErrorCode=code, ErrorString=text))

    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        points, grade = score(iin)
        said = self._return(
            IdQuery=str(sequence),
            ErrorCode="0",
            ErrorString="Выполнено успешно",
            Score=f"{points}.0",  # a whole number, written like this
            RiskGrade=grade,
        )
        return self.answer(said)

    def _return(self, **parts: str) -> etree._Element:
        return node(self.q("return"), *(node(self.q(name), text=text) for name, text in parts.items()))


class _DebtBurden(_Service):
    path = "/Kdn2Service/KdnService"
    namespace = "http://kdn2.ws.creditinfo.com/"
    operation = "StorekdnReqV2"
    cultures = frozenset({"RU"})

    def iin(self, call: etree._Element) -> str | None:
        return call.findtext(f"{self.q('applicationReq')}/{self.q('IIN')}")

    def check(self, call: etree._Element, iin: str | None) -> str:
        asked = call.find(self.q("applicationReq"))
        if asked is None:
            raise RefusedError("-1", "no applicationReq")
        need_iin(iin, "-1")
        for name in ("Lastname", "Firstname"):
            if not asked.findtext(self.q(name)):
                raise RefusedError("-1", f"no {name}")
        try:
            datetime.strptime(asked.findtext(self.q("Birthdate")) or "", "%Y-%m-%d").replace(tzinfo=_ALMATY)
        except ValueError:
            raise RefusedError("-1", "Birthdate is not yyyy-MM-dd") from None
        if asked.findtext(self.q("consentConfirmed")) != "1":
            raise RefusedError("-1017", "consent is not confirmed")
        return ""

    def answer(self, *children: etree._Element) -> etree._Element:
        return node(self.q("kdnReqResponse"), node(self.q("return"), *children))

    def refusal(self, code: str, text: str) -> etree._Element:
        return self.answer(*self._parts(errorCode=code, errorMessage=text))

    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        ratio, debt, income = debt_burden(iin)
        today = _now().date().isoformat()
        report = self._parts(
            RequestId=str(sequence),
            dateApplication=today,
            IIN=iin,
            kdn_score=str(ratio),
            debt=str(debt),
            income=str(income),
        )
        rest = self._parts(ReportDate=today, Id=str(sequence), errorCode="0", errorMessage="")
        return self.answer(node(self.q("applicationReport"), *report), *rest)

    def _parts(self, **parts: str) -> Iterator[etree._Element]:
        return (node(self.q(name), text=text) for name, text in parts.items())


class _Upload(_Service):
    path = "/DataPumpService/DataPumpService"
    namespace = "https://ws.creditinfo.com"
    operation = "UploadZippedData2"
    login, culture = "1104", "1103"
    schema_id = "3"

    @property
    def operations(self) -> tuple[str, ...]:
        return (self.operation, "GetBatchStatus3")

    @property
    def actions(self) -> frozenset[str]:
        return frozenset(f"{self.namespace}/{name}" for name in self.operations)

    def iin(self, call: etree._Element) -> str | None:
        return None

    def check(self, call: etree._Element, iin: str | None) -> str:
        if call.tag != self.q(self.operation):
            return call.findtext(self.q("batchId")) or ""
        if call.findtext(self.q("schemaId")) != self.schema_id:
            raise RefusedError("1107", "unknown schemaId")
        return call.findtext(self.q("zippedXML")) or ""

    def refusal(self, code: str, text: str) -> etree._Element:
        return self.refused(self.operation, code, text)

    def refused(self, operation: str, code: str, text: str) -> etree._Element:
        """The answer to one of the two that says no."""
        return self.said(operation, node("CigResultError", node("Errmessage", text=text, code=code)))

    def said(self, operation: str, content: etree._Element) -> etree._Element:
        """The answer to one of the two."""
        return node(self.q(f"{operation}Response"), node(self.q(f"{operation}Result"), content))

    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        raise AssertionError("a batch is answered by the pump")

    def state(self, operation: str, batch: Batch, pump: Pump) -> etree._Element:
        """What is said of a batch."""
        steps = [("519", "Ожидает импорта"), ("520", "Импорт в зеркальную базу"), ("524", "Импорт в живую базу")]
        code, name = steps[min(max(batch.asked - 1, 0) * len(steps) // max(pump.patience, 1), len(steps) - 1)]
        remarks: list[etree._Element] = []
        if pump.is_done(batch):
            code, name = _VERDICTS[batch.verdict]
            remarks = [
                node(
                    "Message",
                    node("Description", text="Замечание к контракту"),
                    node("Values", text=f"ContractCode={said.contract.code}; {said.contract.position}"),
                    GroupId=said.group,
                    GroupName="",
                    TypeId=said.kind,
                    TypeName="",
                )
                for said in batch.remarks
            ]
        held = node(
            "Batch", *remarks, Id=batch.id, Inserted=_now().isoformat(), SchemaId="3", StatusId=code, StatusName=name
        )
        return self.said(
            operation,
            node("CigResult", node("ServiceName", text=operation), node("Result", held), Version="1"),
        )


_VERDICTS = {
    Verdict.BAD_XML: ("527", "Пакет не соответствует схеме"),
    Verdict.TOO_MANY_ERRORS: ("525", "Слишком много ошибок"),
    Verdict.WARNINGS: ("532", "Принят с замечаниями"),
    Verdict.ACCEPTED: ("533", "Принят"),
}
_REPORT, _SCORE, _DEBT_BURDEN, _UPLOAD = _Report(), _Score(), _DebtBurden(), _Upload()
_SERVICES: dict[str, _Service] = {service.path: service for service in (_REPORT, _SCORE, _DEBT_BURDEN, _UPLOAD)}


class FirstCreditBureauSandbox(UploadingBureau[_Service]):
    """The bureau."""

    paths = tuple(_SERVICES)
    services = _SERVICES
    seed = SEED
    uploads = _UPLOAD
    asks = _UPLOAD.operations[1]
    refused = "1107"

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's configuration refers to."""
        return {
            "QAQPA_FCB_REPORT_URL": f"{self.url}{_REPORT.path}",
            "QAQPA_FCB_SCORE_URL": f"{self.url}{_SCORE.path}",
            "QAQPA_FCB_DEBT_BURDEN_URL": f"{self.url}{_DEBT_BURDEN.path}",
            "QAQPA_FCB_UPLOAD_URL": f"{self.url}{_UPLOAD.path}",
            "QAQPA_FCB_SCHEMA_ID": _UPLOAD.schema_id,
            "QAQPA_FCB_DICTIONARIES": json.dumps(DICTIONARIES),
            "QAQPA_FCB_CA": str(self.ca_file),
            "QAQPA_FCB_NETWORKS": NETWORKS,
            "QAQPA_FCB_USER": self.user,
            "QAQPA_FCB_PASSWORD": self.password,
        }

    def answer(self, examination: Question, *, about: str | None) -> Answer:
        """A SOAP envelope; what is refused by HTTP itself gets a line of text."""
        service, iin = self.service(examination.path), examination.iin or ""
        if examination.status == 500:
            return faulty(examination.text)
        if examination.status != 200:
            return Answer(examination.status, examination.text.encode(), "text/plain; charset=utf-8")
        if service is _UPLOAD and examination.code is not None:
            operation = examination.operation or _UPLOAD.operation
            return written(200, _UPLOAD.refused(operation, examination.code, examination.text))
        if examination.code is not None and (about == iin or examination.problem is not None):
            return written(200, service.refusal(examination.code, examination.text))
        if service is _UPLOAD:
            return written(200, _UPLOAD.state(examination.operation or "", self.batch(examination), self.pump))
        queries, sequence = self.queries[iin], 200_000_000 + self.billed
        return written(200, service.result(about or iin, examination, queries=queries, sequence=sequence))

    def admit(self, arrival: Arrival) -> etree._Element:
        """SOAP 1.1 §6.1.1: the SOAPAction says what is asked."""
        envelope = super().admit(arrival)
        service = self.service(arrival.path)
        if arrival.headers.get("soapaction", "").strip().strip('"') not in service.actions:
            raise RefusedError(None, "the SOAPAction is not recognised", status=500)
        return envelope

    def check_header(self, service: _Service, envelope: etree._Element) -> None:
        """CigWsHeader with the login."""
        header = envelope.find(f"{{{SOAP}}}Header/{service.q('CigWsHeader')}")
        parts = Counter() if header is None else Counter(str(part.tag) for part in header)
        needed, known = ({service.q(name) for name in names} for names in (_HEADER_NEEDED, _HEADER_PARTS))
        if header is None or not needed <= parts.keys() <= known or parts.total() > len(parts):
            raise RefusedError(service.login, "CigWsHeader is missing, not whole, or not theirs")
        given = (header.findtext(service.q("UserName")) or "", header.findtext(service.q("Password")) or "")
        for one, other in zip(given, (self.user, self.password), strict=True):
            if not same(one, other):
                raise RefusedError(service.login, "login refused")
        if header.findtext(service.q("Culture")) not in service.cultures:
            raise RefusedError(service.culture, "unknown culture")


def _now() -> datetime:
    return datetime.now(_ALMATY)
