"""Sample answers of the State credit bureau in each form, and short ways to write and read with its adapter."""

from __future__ import annotations

import base64
from datetime import date
from typing import Any

from pydantic import SecretStr

from qaqpa.model.disclosure import Extract, Reply, Report
from qaqpa.model.vocabulary import FieldPath
from qaqpa.testing.contract import EXCHANGE
from qaqpa.testing.people import people
from qaqpa_adapters.state_credit_bureau import StateCreditBureau, StateCreditBureauSettings

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
REPORTS = "http://report.chdb.scb.kz"
REGISTERS = "http://data.gbd.chdb.scb.kz/"
XOP = "http://www.w3.org/2004/08/xop/include"
USER_ID = "6f1f7c1e-0000-4000-8000-00000000abcd"
SETTINGS = StateCreditBureauSettings(
    client_id=SecretStr("lender"),
    password=SecretStr("p:ә<&>"),
    user_id=SecretStr(USER_ID),
    report_type="extendedReport",
)
PERSON = people(1, today=date(2026, 11, 23))[0]
IIN = PERSON.iin
BUREAU = StateCreditBureau(SETTINGS)


def soap(inside: str) -> bytes:
    head = f'<?xml version="1.0" encoding="UTF-8"?><S:Envelope xmlns:S="{SOAP}">'
    return f"{head}<S:Body>{inside}</S:Body></S:Envelope>".encode()


CONTRACT = (
    "<contract><contractCode>CC-1</contractCode><agreementNumber>Д-100/26</agreementNumber><phase>existing</phase>"
    "<fundingType>Микрокредит</fundingType><creditPurpose>Потребительские цели</creditPurpose>"
    "<contractStatus>Просрочен</contractStatus><subjectRole>Заёмщик</subjectRole>"
    "<creditor>МФО &quot;Тест&quot;</creditor><currency>KZT</currency><startDate>2026-01-05</startDate>"
    "<endDate>31.12.2026</endDate>"
    "<realPaymentDate>2026-11-01</realPaymentDate><lastUpdate>2026-11-20</lastUpdate>"
    "<totalAmount>200 000.00</totalAmount>"
    "<outstandingAmount>150000,50</outstandingAmount><overdueAmount>12000.25</overdueAmount>"
    "<overdueDays>35</overdueDays><maxOverdueDays>61</maxOverdueDays><fine>10</fine><penalty>0.5</penalty></contract>"
)
REPORT = (
    "<creditReport><reportId>7700112233</reportId><reportDate>2026-11-20T09:05:07+05:00</reportDate>"
    f"<subject><iin>{IIN}</iin><lastName>Құдайбергенов</lastName><firstName>Дәурен</firstName>"
    "<middleName>Жәнібекұлы</middleName><birthDate>1989-07-23</birthDate>"
    "<classification>Физическое лицо</classification><negativeStatus>Взыскание</negativeStatus></subject>"
    "<summary><activeContracts>1</activeContracts><closedContracts>3</closedContracts>"
    "<outstandingAmount>150000.50</outstandingAmount><overdueAmount>12000.25</overdueAmount>"
    f"<maxOverdueDays>61</maxOverdueDays></summary><contracts>{CONTRACT}</contracts>"
    "<requests><days30>1</days30><days90>2</days90><days180>4</days180><days360>5</days360></requests></creditReport>"
)


def report_in(result: str) -> bytes:
    return soap(
        f'<ns2:requestXmlCreditReportResponse xmlns:ns2="{REPORTS}"><return>{result}</return>'
        "</ns2:requestXmlCreditReportResponse>"
    )


def report_attached(document: bytes = REPORT.encode(), href: str = "cid:report%40scb") -> Reply:
    include = f'<xop:Include xmlns:xop="{XOP}" href="{href}"/>'
    return packaged(report_in(include), ("report@scb", document))


def packaged(root: bytes, *attached: tuple[str, bytes], **change: str) -> Reply:
    """A package as the bureau's server writes it; `change` puts other parameters into its Content-Type."""
    boundary, start = "uuid:5f2d6a1c-77aa", "root.message@cxf.apache.org"
    parts = [('application/xop+xml; charset=UTF-8; type="text/xml"', start, root)]
    parts += [("application/octet-stream", name, content) for name, content in attached]
    body = b"".join(
        f"\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: binary\r\n"
        f"Content-ID: <{name}>\r\n\r\n".encode()
        + content
        for kind, name, content in parts
    )
    parameters = {"type": "application/xop+xml", "boundary": boundary, "start": f"<{start}>", "start-info": "text/xml"}
    text = "".join(f'; {name}="{value}"' for name, value in (parameters | change).items())
    return Reply(200, body + f"\r\n--{boundary}--".encode(), f"multipart/related{text}")


def pension_in(data: str) -> bytes:
    return soap(
        f'<ns2:getPensionInfoResponse xmlns:ns2="{REGISTERS}"><return><responseData><data>{data}</data></responseData>'
        "</return></ns2:getPensionInfoResponse>"
    )


def deduction(day: str, amount: str) -> str:
    """One contribution; the employer's number has a wrong check digit, so it is nobody's."""
    return (
        f"<deductionsDetailed><bin>050140001236</bin><date>{day}</date><name>ТОО «Пример»</name>"
        f"<amount>{amount}</amount></deductionsDetailed>"
    )


PENSION = (
    "<responseCode>FOUND</responseCode><requestNumber>0198c5a0-0000-7000-8000-000000000001</requestNumber>"
    f"<requestIin>{IIN}</requestIin><responseDate>2026-11-20T09:05:07+05:00</responseDate>"
    f"<responseNumber>GC-770088</responseNumber>{deduction('2026-10-05', '25000.00')}"
    f"{deduction('2026-09-04', '24500,5')}"
)
PLAIN = "text/xml; charset=UTF-8"
GOOD = {
    "credit_report": Reply(200, report_in(REPORT), PLAIN),
    "contributions": Reply(200, pension_in(PENSION), PLAIN),
}
PACKAGED = {"credit_report": report_attached(), "contributions": packaged(pension_in(PENSION))}
FORMS = {
    "as elements": GOOD["credit_report"],
    "as text": Reply(200, report_in(REPORT.replace("<", "&lt;")), PLAIN),
    "as base64": Reply(200, report_in(base64.encodebytes(REPORT.encode()).decode()), PLAIN),
    "attached": report_attached(),
    "as elements in a package": packaged(report_in(REPORT)),
}


def extract(iin: Any = IIN, *, consent: bool = True) -> Extract:
    return Extract({"identity": {"iin": iin}}, (FieldPath("identity.iin"),), withheld=(), consent_confirmed=consent)


def read(operation: str, reply: Reply) -> Report:
    return BUREAU.decode(operation, reply, EXCHANGE)
