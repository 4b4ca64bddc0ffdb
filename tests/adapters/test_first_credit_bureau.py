"""First Credit Bureau: what we write has their shapes, what they answer is read whole, hostile answers do no harm."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import pytest
from lxml import etree
from pydantic import SecretStr, ValidationError

from qaqpa.adapter import find
from qaqpa.errors import (
    AnswerUnreadable,
    ConsentRefused,
    CredentialsRefused,
    InvalidRequest,
    ManySubjects,
    NoReport,
    Rejected,
    RequestRefused,
    RightsRefused,
    SubjectNotFound,
)
from qaqpa.model.disclosure import Extract, Reply, Report
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.testing.people import people
from qaqpa_adapters.first_credit_bureau import FirstCreditBureau, FirstCreditBureauSettings
from qaqpa_adapters.first_credit_bureau.report import REPORT_ERRORS, SCORE_ERRORS
from qaqpa_adapters.first_credit_bureau.wire import MAX_ANSWER

NAMES = {
    "s": "http://schemas.xmlsoap.org/soap/envelope/",
    "r": "http://ws.creditinfo.com/",
    "c": "http://score.ws.creditinfo.com/",
    "k": "http://kdn2.ws.creditinfo.com/",
}
SETTINGS = FirstCreditBureauSettings(user_name=SecretStr("lender"), password=SecretStr('p<&>"w'))
PERSON = people(1, today=date(2026, 11, 23))[0]
IIN = PERSON.iin


def soap(inside: str) -> bytes:
    head = f'<?xml version="1.0" encoding="UTF-8"?><S:Envelope xmlns:S="{NAMES["s"]}">'
    return f"{head}<S:Body>{inside}</S:Body></S:Envelope>".encode()


def report_answer(root: str, head: str = "") -> bytes:
    return soap(
        f'<GetReportResponse xmlns="{NAMES["r"]}"><GetReportResult><CigResult xmlns="" Version="2">{head}'
        f"<Result><Root>{root}</Root></Result></CigResult></GetReportResult></GetReportResponse>"
    )


def leaf(name: str, value: object) -> str:
    return f'<{name} id="1" title="Заголовок" value="{value}"/>'


def contract(number: str, **leaves: object) -> str:
    inside = "".join(leaf(*item) for item in leaves.items())
    return f"<Contract ContractTypeCode='x'>{leaf('AgreementNumber', number)}{inside}</Contract>"


HEADER = (
    leaf("FIUniqueNumberID", "FI-1")
    + f"<IIN>{IIN}</IIN>"
    + leaf("DateOfBirth", "23.07.1989")
    + leaf("Gender", "Мужской")
    + leaf("Surname", "Құдайбергенов")
    + leaf("Name", "Дәурен")
    + leaf("FathersName", "Жәнібекұлы")
    + leaf("MatrialStatus", "Женат")
)
SUMMARY = (
    '<ExistingContracts title="Действующие">'
    '<SubjectRole title="Заёмщик"><NumberOfContracts value="1"/><TotalOutstandingDebt value="150 000,50"/>'
    '<TotalDebtOverdue value="12 000.25 KZT"/></SubjectRole>'
    '<SubjectRole title="Гарант"><NumberOfContracts value="1"/><TotalOutstandingDebt value="1000"/>'
    '<TotalDebtOverdue value="-"/></SubjectRole></ExistingContracts>'
    '<TerminatedContracts><SubjectRole><NumberOfContracts value="3"/></SubjectRole></TerminatedContracts>'
)
CALENDAR = (
    '<PaymentsCalendar><Year title="2026"><Payment number="1" value="35" overdue="12 000,25" fine="10" penalty="0.5"/>'
    '<Payment number="2" value="-" overdue="" fine="" penalty=""/></Year></PaymentsCalendar>'
)
EXISTING = contract(
    "Д-100/26",
    CodeOfContract="CC-1",
    TypeOfFounding="Микрокредит",
    PurposeOfCredit="Потребительские цели",
    ContractStatus="Просрочен",
    SubjectRole="Заёмщик",
    FinancialInstitution="МФО &quot;Тест&quot;",
    CurrencyCode="KZT",
    DateOfCreditStart="05.01.2026",
    DateOfCreditEnd="2026-12-31T00:00:00",
    LastUpdate="20.11.2026 9:05:07",
    TotalAmount="200 000.00",
    OutstandingAmount="150000,50",
    OverdueAmount="12000.25",
    NumberOfOverdueInstalments="35",
    NumberOfOverdueInstalmentsMax="61",
    Fine="10",
    Penalty="0,5",
).replace(
    "</Contract>",
    f'<Collateral><TypeOfGuarantee value="Авто"/><ValueOfGuarantee value="500000"/></Collateral>{CALENDAR}</Contract>',
)
ROOT = (
    f"<Header>{HEADER}</Header><SubjectDetails>{leaf('CellularPhone', '+77010000001')}</SubjectDetails>"
    f"<SubjectsAddress><Address title='Место жительства'>{leaf('City', 'Алматы')}{leaf('Street', 'Абая 1')}"
    f"{leaf('HomePhone', '-')}</Address><Address value='г. Астана, Тұран 2'/></SubjectsAddress>"
    f"<IdentificationDocuments><Document rank='1'>{leaf('Name', 'Удостоверение личности')}"
    f"{leaf('Number', '091963043')}{leaf('DateOfIssuance', '01.02.2020')}</Document></IdentificationDocuments>"
    f"<ClassificationOfBorrower>{leaf('BorrowerClassification', 'Физическое лицо')}{leaf('Citizenship', 'Казахстан')}"
    "</ClassificationOfBorrower><NegativeData><NegativeStatus><NegativeStatusOfClient>"
    f"{leaf('NegativeStatusOfClient', 'Розыск')}</NegativeStatusOfClient><NegativeStatusOfContract>"
    f"{leaf('NegativeStatusOfContract', 'Взыскание')}{leaf('RegistrationDate', '01.01.2026')}"
    f"</NegativeStatusOfContract></NegativeStatus></NegativeData><SummaryInformation>{SUMMARY}</SummaryInformation>"
    f"<ExistingContracts>{EXISTING}</ExistingContracts><TerminatedContracts>"
    f"{contract('Д-7', DateOfRealRepayment='2024-03-01', TotalAmount='90 000 USD', NumberOfOverdueInstalmentsMax=5)}"
    "</TerminatedContracts><InterconnectedSubjects/><NumberOfQueries>"
    + "".join(leaf(f"Days{days}", n) for n, days in enumerate((30, 90, 120, 180, 360), start=1))
    + "</NumberOfQueries><PublicSources/><Footer/>"
)
REPORT_ANSWER = report_answer(
    ROOT, leaf("DateTime", "20.11.2026 09:05:07") + "<ReferenceId>8800553535</ReferenceId><ResultCode>0</ResultCode>"
)
SCORE_ANSWER = soap(
    f'<ScoreResponse xmlns="{NAMES["c"]}"><return><IdQuery>36190001</IdQuery><ErrorCode>0</ErrorCode>'
    "<ErrorString>Выполнено успешно</ErrorString><Score>673.0</Score><RiskGrade>B1</RiskGrade></return></ScoreResponse>"
)
DEBT_ANSWER = soap(
    f'<k:kdnReqResponse xmlns:k="{NAMES["k"]}"><k:return><k:applicationReport><k:RequestId>1001</k:RequestId>'
    f"<k:dateApplication>2026-11-20</k:dateApplication><k:IIN>{IIN}</k:IIN><k:kdn_score>0,4512</k:kdn_score>"
    "<k:debt>112800.004</k:debt><k:income>2.5E5</k:income></k:applicationReport>"
    "<k:ReportDate>2026-11-20T09:05:07+05:00</k:ReportDate><k:Id>70010002</k:Id><k:errorCode>0</k:errorCode></k:return>"
    "</k:kdnReqResponse>"
)
ANSWERS = {"credit_report": REPORT_ANSWER, "score": SCORE_ANSWER, "debt_burden": DEBT_ANSWER}

BUREAU = FirstCreditBureau(SETTINGS)


def extract(*, consent: bool = True, **changed: Any) -> Extract:
    names = ("iin", "last_name", "first_name", "middle_name", "birth_date")
    identity = {name: PERSON.data["identity"][name] for name in names} | changed
    present = {name: value for name, value in identity.items() if value is not None}
    return Extract({"identity": present}, (), withheld=(), consent_confirmed=consent)


def written(operation: str, found: Extract | None = None, settings: FirstCreditBureauSettings = SETTINGS) -> Any:
    return etree.fromstring(FirstCreditBureau(settings).encode(operation, found or extract()).body)


def read(operation: str, body: bytes, status: int = 200) -> Report:
    return BUREAU.decode(operation, Reply(status, body, "text/xml"))


# --- what we write ---------------------------------------------------------------------------------


def shape(node: Any) -> list[tuple[str, str]]:
    return [(child.tag, child.text) for child in node]


def test_a_credit_report_is_asked_for_with_key_values_without_a_namespace() -> None:
    envelope = written("credit_report")
    (request,) = envelope.xpath("/s:Envelope/s:Body/r:GetReport", namespaces=NAMES)
    assert [etree.QName(child).localname for child in request] == ["reportId", "doc"]
    assert envelope.xpath("string(//r:GetReport/r:reportId)", namespaces=NAMES) == "0"
    (key,) = envelope.xpath("//r:doc/*", namespaces=NAMES)
    assert key.tag == "keyValue"
    assert shape(key) == [
        ("reportImportCode", "4"),
        ("idNumber", IIN),
        ("idNumberType", "14"),
        ("ConsentConfirmed", "1"),
    ]


def test_a_score_is_asked_for_with_named_attributes() -> None:
    (request,) = written("score").xpath("/s:Envelope/s:Body/c:Score", namespaces=NAMES)
    assert request.xpath("string(c:ScoreCard)", namespaces=NAMES) == SETTINGS.score_card
    pairs = [
        tuple(part.xpath(f"string(c:{name})", namespaces=NAMES) for name in ("name", "value"))
        for part in request.xpath("c:attributes", namespaces=NAMES)
    ]
    assert pairs == [("ConsentConfirmed", "1"), ("IIN", IIN)]


def test_a_debt_burden_is_asked_for_with_the_person_in_their_order() -> None:
    (request,) = written("debt_burden").xpath("/s:Envelope/s:Body/k:StorekdnReqV2/k:applicationReq", namespaces=NAMES)
    identity = PERSON.data["identity"]
    assert shape(request) == [
        (f"{{{NAMES['k']}}}{name}", text)
        for name, text in (
            ("IIN", IIN),
            ("Lastname", identity["last_name"]),
            ("Firstname", identity["first_name"]),
            ("Middlename", identity["middle_name"]),
            ("Birthdate", identity["birth_date"]),
            ("consentConfirmed", "1"),
        )
    ]
    assert not written("debt_burden", extract(middle_name=None)).xpath("//k:Middlename", namespaces=NAMES)


@pytest.mark.parametrize(
    ("operation", "where"),
    [
        ("credit_report", "//ConsentConfirmed"),
        ("score", "//c:attributes[c:name='ConsentConfirmed']/c:value"),
        ("debt_burden", "//k:consentConfirmed"),
    ],
)
def test_consent_is_what_the_gate_verified(operation: str, where: str) -> None:
    for consent, text in ((True, "1"), (False, "0")):
        assert written(operation, extract(consent=consent)).xpath(f"string({where})", namespaces=NAMES) == text


@pytest.mark.parametrize(
    ("operation", "prefix", "action", "culture"),
    [
        ("credit_report", "r", "http://ws.creditinfo.com/GetReport", "ru-RU"),
        ("score", "c", "http://score.ws.creditinfo.com/Score", "ru-RU"),
        ("debt_burden", "k", "http://kdn2.ws.creditinfo.com/StorekdnReqV2", "RU"),
    ],
)
def test_the_header_holds_the_login_in_their_order(operation: str, prefix: str, action: str, culture: str) -> None:
    message = BUREAU.encode(operation, extract())
    assert message.content_type == "text/xml; charset=utf-8"
    assert dict(message.headers) == {"SOAPAction": f'"{action}"'}
    settings = SETTINGS.model_copy(update={"security_token": SecretStr("t"), "user_id": "7", "version": "2"})
    (header,) = written(operation, settings=settings).xpath(
        f"/s:Envelope/s:Header/{prefix}:CigWsHeader", namespaces=NAMES
    )
    assert shape(header) == [
        (f"{{{NAMES[prefix]}}}{name}", text)
        for name, text in (
            ("Culture", culture),
            ("Password", 'p<&>"w'),
            ("SecurityToken", "t"),
            ("UserId", "7"),
            ("UserName", "lender"),
            ("Version", "2"),
        )
    ]


def test_parts_of_the_header_that_are_not_configured_stand_empty() -> None:
    (header,) = written("score").xpath("//c:CigWsHeader", namespaces=NAMES)
    assert [child.text or "" for child in header] == ["ru-RU", 'p<&>"w', "", "", "lender", ""]


def test_secrets_do_not_show_and_unknown_settings_are_refused() -> None:
    assert "lender" not in repr(SETTINGS)
    for wrong in ({"user": "x"}, {"report_code": 5}):
        with pytest.raises(ValidationError):
            FirstCreditBureauSettings.model_validate({"user_name": "u", "password": "p"} | wrong)


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"iin": None}, "identity.iin"),
        ({"last_name": ""}, "identity.last_name"),
        ({"first_name": "А\x00"}, "identity.first_name"),
        ({"middle_name": 7}, "identity.middle_name"),
        ({"birth_date": "23.07.1989"}, "identity.birth_date"),
        ({"last_name": "А\ud800"}, "identity.last_name"),
    ],
)
def test_what_cannot_be_written_is_an_invalid_request(changed: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest, match=path) as caught:
        BUREAU.encode("debt_burden", extract(**changed))
    assert "1989" not in str(caught.value)


def test_an_unknown_operation_is_refused_in_both_directions() -> None:
    with pytest.raises(InvalidRequest):
        BUREAU.encode("contributions", extract())
    with pytest.raises(AnswerUnreadable):
        read("contributions", REPORT_ANSWER)


def test_nothing_is_declared_idempotent_because_every_request_is_billed() -> None:
    assert not any(operation.idempotent for operation in BUREAU.operations.values())
    assert find(["first_credit_bureau"])[0].get("first_credit_bureau") in (FirstCreditBureau, None)


# --- what they answer ------------------------------------------------------------------------------


def test_a_whole_credit_report_is_read() -> None:
    report = read("credit_report", REPORT_ANSWER)
    assert (report.about, report.reference) == (IIN, "8800553535")
    contracts = report.data["contracts"]
    assert {key: value for key, value in report.data.items() if key not in ("contracts", "subject")} == {
        "reference": "8800553535",
        "issued_at": "2026-11-20T09:05:07",
        "classification": "Физическое лицо",
        "negative": "Розыск; Взыскание",
        "existing_contracts": 2,
        "terminated_contracts": 3,
        "outstanding": "151000.50",
        "overdue": "12000.25",
        "max_days_overdue": 61,
        "queries_30_days": 1,
        "queries_90_days": 2,
        "queries_120_days": 3,
        "queries_180_days": 4,
        "queries_360_days": 5,
    }
    assert report.data["subject"] == {
        "iin": IIN,
        "last_name": "Құдайбергенов",
        "first_name": "Дәурен",
        "middle_name": "Жәнібекұлы",
        "birth_date": "1989-07-23",
        "sex": "Мужской",
        "marital_status": "Женат",
        "citizenship": "Казахстан",
        "phones": ["+77010000001"],
        "addresses": ["Алматы, Абая 1", "г. Астана, Тұран 2"],
        "documents": ["Удостоверение личности, 091963043, 01.02.2020"],
    }
    assert contracts[0] == {
        "code": "CC-1",
        "number": "Д-100/26",
        "phase": "existing",
        "funding": "Микрокредит",
        "purpose": "Потребительские цели",
        "status": "Просрочен",
        "role": "Заёмщик",
        "institution": 'МФО "Тест"',
        "collateral": "Авто, 500000",
        "currency": "KZT",
        "started_on": "2026-01-05",
        "ends_on": "2026-12-31",
        "updated_on": "2026-11-20",
        "amount": "200000.00",
        "outstanding": "150000.50",
        "overdue": "12000.25",
        "days_overdue": 35,
        "max_days_overdue": 61,
        "fine": "10.00",
        "penalty": "0.50",
        "payments": [
            {"year": 2026, "month": 1, "overdue_days": "35", "overdue": "12000.25", "fine": "10.00", "penalty": "0.50"},
            {"year": 2026, "month": 2, "overdue_days": "-"},
        ],
    }
    assert contracts[1] == {
        "number": "Д-7",
        "phase": "terminated",
        "currency": "USD",
        "repaid_on": "2024-03-01",
        "amount": "90000.00",
        "max_days_overdue": 5,
    }


def test_the_whole_report_fills_every_field_that_is_declared() -> None:
    def paths(node: Any, prefix: str) -> set[str]:
        if isinstance(node, dict):
            return set().union(*(paths(value, f"{prefix}.{key}") for key, value in node.items()))
        if isinstance(node, list) and node and isinstance(node[0], dict):
            return set().union(*(paths(item, prefix) for item in node))
        return {prefix}

    for operation, answer in ANSWERS.items():
        declared = BUREAU.operations[operation].returns
        assert paths(read(operation, answer).data, "report") == declared <= VOCABULARY.keys()


def test_a_thin_report_leaves_out_what_is_not_there() -> None:
    report = read("credit_report", report_answer(f"<Header>{leaf('IIN', IIN)}</Header><ExistingContracts/>"))
    assert report.data == {"subject": {"iin": IIN}}
    assert report.reference is None


def test_a_summary_without_sections_is_read_too() -> None:
    totals = {"NumberOfExistingContracts": 2, "NumberOfTerminatedContracts": 0, "TotalOutstandingDebt": "5 000"}
    inside = "".join(leaf(*item) for item in totals.items()) + leaf("TotalDebtOverdue", "0,00")
    root = f"<Header>{leaf('IIN', IIN)}</Header><SummaryInformation>{inside}</SummaryInformation>"
    data = dict(read("credit_report", report_answer(root)).data)
    del data["subject"]
    assert data == {"existing_contracts": 2, "terminated_contracts": 0, "outstanding": "5000.00", "overdue": "0.00"}


def test_a_score_is_read() -> None:
    report = read("score", SCORE_ANSWER)
    assert report.data == {"reference": "36190001", "score": 673, "risk_grade": "B1"}
    assert (report.about, report.reference) == (None, "36190001")


def test_a_debt_burden_is_read() -> None:
    report = read("debt_burden", DEBT_ANSWER)
    assert report.data == {
        "reference": "70010002",
        "issued_at": "2026-11-20T09:05:07+05:00",
        "debt_burden": "0.4512",
        "monthly_debt": "112800.00",
        "monthly_income": "250000.00",
    }
    assert (report.about, report.reference) == (IIN, "70010002")


def header_with(**leaves: str) -> bytes:
    return report_answer(f"<Header>{leaf('IIN', IIN)}{''.join(leaf(*item) for item in leaves.items())}</Header>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("05.01.1990", "1990-01-05"),
        ("05.01.1990 00:00:00", "1990-01-05"),
        ("05.01.1990 0:00:00", "1990-01-05"),
        ("1990-01-05", "1990-01-05"),
        ("1990-01-05T00:00:00.000+06:00", "1990-01-05"),
        ("1990-01-05+06:00", "1990-01-05"),
        ("1990-01-05Z", "1990-01-05"),
        ("0001-01-01T00:00:00", None),
        ("-", None),
        ("", None),
    ],
)
def test_dates_are_read_in_both_forms(text: str, expected: str | None) -> None:
    assert read("credit_report", header_with(DateOfBirth=text)).data["subject"].get("birth_date") == expected


@pytest.mark.parametrize("text", ["31.02.1990", "1990-13-01", "5 января 1990", "90-01-05", "1990-W01-1", "٠٥.٠١.١٩٩٠"])
def test_a_date_of_neither_form_is_unreadable(text: str) -> None:
    with pytest.raises(AnswerUnreadable):
        read("credit_report", header_with(DateOfBirth=text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1234", "1234.00"),
        ("1 234 567,8", "1234567.80"),
        ("1\u00a0234.56", "1234.56"),
        ("1234.56 KZT", "1234.56"),
        ("-5", "-5.00"),
        ("1234.565", "1234.57"),
        ("0.0E0", "0.00"),
        ("_", None),
    ],
)
def test_sums_are_read_as_they_write_them(text: str, expected: str | None) -> None:
    root = f"<Header>{leaf('IIN', IIN)}</Header><ExistingContracts>{contract('1', Fine=text)}</ExistingContracts>"
    assert read("credit_report", report_answer(root)).data["contracts"][0].get("fine") == expected


@pytest.mark.parametrize(
    "text", ["много", "1,234", "1.234,5", "NaN", "Infinity", "9E99", "9" * 19, "١٢", "12 34", "0x10"]
)
def test_a_sum_that_is_no_number_is_unreadable_rather_than_guessed(text: str) -> None:
    root = f"<Header>{leaf('IIN', IIN)}</Header><ExistingContracts>{contract('1', Fine=text)}</ExistingContracts>"
    with pytest.raises(AnswerUnreadable):
        read("credit_report", report_answer(root))


# --- what they refuse ------------------------------------------------------------------------------


def report_error(code: str) -> bytes:
    return soap(
        f'<r:GetReportResponse xmlns:r="{NAMES["r"]}"><r:GetReportResult><CigResultError>'
        f'<Errmessage code="{code}">Субъект {IIN} не найден</Errmessage>'
        "</CigResultError></r:GetReportResult></r:GetReportResponse>"
    )


def score_error(code: str) -> bytes:
    return SCORE_ANSWER.replace(b"<ErrorCode>0<", f"<ErrorCode>{code}<".encode())


def debt_error(code: str) -> bytes:
    return DEBT_ANSWER.replace(b"errorCode>0<", f"errorCode>{code}<".encode())


def fault(code: str = "s:Server") -> bytes:
    return soap(f"<S:Fault><faultcode>{code}</faultcode><faultstring>{IIN} сломан</faultstring></S:Fault>")


@pytest.mark.parametrize(
    ("operation", "body", "status", "kind", "their_code"),
    [
        ("credit_report", report_error("1101"), 200, Rejected, "1101"),
        ("credit_report", report_error("1102"), 200, SubjectNotFound, "1102"),
        ("credit_report", report_error("1103"), 200, RequestRefused, "1103"),
        ("credit_report", report_error("1104"), 200, CredentialsRefused, "1104"),
        ("credit_report", report_error("1105"), 200, RequestRefused, "1105"),
        ("credit_report", report_error("1106"), 200, RightsRefused, "1106"),
        ("credit_report", report_error("1107"), 200, RequestRefused, "1107"),
        ("credit_report", report_error("1108"), 200, NoReport, "1108"),
        ("credit_report", report_error("1112"), 200, ManySubjects, "1112"),
        ("credit_report", report_error("1116"), 200, Rejected, "1116"),
        ("credit_report", report_error(IIN), 200, Rejected, None),
        ("score", score_error("-1000"), 200, CredentialsRefused, "-1000"),
        ("score", score_error("-1017"), 200, ConsentRefused, "-1017"),
        ("score", score_error("5"), 200, Rejected, "5"),
        ("debt_burden", debt_error("-3"), 200, Rejected, "-3"),
        ("score", fault(), 500, RequestRefused, "Server"),
        ("score", fault("S:Client.Auth"), 200, RequestRefused, "Client.Auth"),
        ("score", fault(f"S:{IIN}"), 500, RequestRefused, None),
        ("score", b"", 401, CredentialsRefused, "http-401"),
        ("score", b"", 403, RightsRefused, "http-403"),
        ("score", SCORE_ANSWER, 302, RequestRefused, "http-302"),
        ("score", b"", 404, RequestRefused, "http-404"),
    ],
)
def test_their_refusals_become_ours(
    operation: str, body: bytes, status: int, kind: type[Rejected], their_code: str | None
) -> None:
    with pytest.raises(Rejected) as caught:
        read(operation, body, status)
    assert type(caught.value) is kind
    assert caught.value.their_code == their_code
    assert IIN not in str(caught.value)


def test_every_code_in_the_tables_says_something_of_its_own() -> None:
    sentences = [sentence for _, sentence in (*REPORT_ERRORS.values(), *SCORE_ERRORS.values())]
    assert len(set(sentences)) == len(sentences)


# --- what is hostile or broken ---------------------------------------------------------------------


def test_a_server_error_without_a_fault_is_unsettled() -> None:
    for body in (b"", SCORE_ANSWER, b"<html/>"):
        with pytest.raises(AnswerUnreadable):
            read("score", body, 503)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
DOCTYPES = {
    "plain": ("<!DOCTYPE S:Envelope>", "B1"),
    "external subset": ('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">', "B1"),
    "external entity": ('<!DOCTYPE x [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>', "&l11;"),
    "parameter entity": ('<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]>', "B1"),
    "billion laughs": (f'<!DOCTYPE x [<!ENTITY l0 "lol">{LAUGHS}]>', "&l11;"),
    "billion laughs in an attribute": (f'<!DOCTYPE x [<!ENTITY l0 "lol">{LAUGHS}]>', "<a value='&l11;'/>"),
}


@pytest.mark.parametrize("name", DOCTYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"])
def test_any_document_type_in_any_encoding_is_unreadable(name: str, encoding: str) -> None:
    doctype, grade = DOCTYPES[name]
    text = SCORE_ANSWER.decode().partition("?>")[2].replace("Выполнено успешно", "ok").replace("B1", grade)
    body = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}{text}'.encode(encoding)
    began = time.monotonic()
    with pytest.raises(AnswerUnreadable) as caught:
        read("score", body)
    assert time.monotonic() - began < 1
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "body",
    [
        SCORE_ANSWER.replace(b"B1", b"x" * 20_000_000),
        SCORE_ANSWER.replace(b"B1", b"x" * 11_000_000),
        SCORE_ANSWER.replace(b"B1", b"<a>" * 300 + b"</a>" * 300),
        b"<a>" * 1_000_000,
        SCORE_ANSWER.replace(b"B1", b"&l11;"),
        SCORE_ANSWER.replace(b"B1", b"\xff\xfe"),
        SCORE_ANSWER.replace(b"B1", b"x" * 501),
        SCORE_ANSWER.replace(b"B1", b"\x7f"),
    ],
    ids=["20 MB", "text of 11 MB", "300 deep", "a million deep", "unknown entity", "not UTF-8", "long", "control"],
)
def test_what_is_beyond_reason_is_unreadable_and_quickly(body: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(AnswerUnreadable) as caught:
        read("score", body)
    assert time.monotonic() - began < 1
    assert caught.value.__context__ is None


def test_the_size_is_looked_at_before_parsing() -> None:
    with pytest.raises(AnswerUnreadable, match="too large"):
        read("score", SCORE_ANSWER + b" " * MAX_ANSWER)


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("credit_report", "GetReportResult>", "GetReportsResult>"),
        ("credit_report", f"<IIN>{IIN}</IIN>", ""),
        ("credit_report", f"<IIN>{IIN}</IIN>", f"<IIN>{IIN}</IIN><IIN>000000000000</IIN>"),
        ("credit_report", f"<IIN>{IIN}</IIN>", "<IIN/>"),
        ("credit_report", 'number="1"', 'number="13"'),
        ("credit_report", 'number="1"', ""),
        ("credit_report", 'Instalments id="1" title="Заголовок" value="35"', 'Instalments value="35.5"'),
        ("credit_report", "http://ws.creditinfo.com/", "http://ws.creditinfo.org/"),
        ("credit_report", "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"),
        ("score", "<Score>673.0</Score>", ""),
        ("score", "<Score>673.0</Score>", "<Score>673.5</Score>"),
        ("score", "<Score>673.0</Score>", "<Score>нет</Score>"),
        ("score", "<ErrorCode>0</ErrorCode>", ""),
        ("score", "ScoreResponse", "ScoresResponse"),
        ("debt_burden", "kdn_score>0,4512<", "kdn_score><"),
        ("debt_burden", "kdn_score>0,4512<", "kdn_score>45%<"),
        ("debt_burden", f"IIN>{IIN}<", "IIN><"),
        ("debt_burden", "applicationReport", "otherReport"),
        ("debt_burden", "2026-11-20T09:05:07+05:00", "вчера"),
    ],
)  # fmt: skip
def test_an_answer_of_another_shape_is_unreadable(operation: str, old: str, new: str) -> None:
    good = ANSWERS[operation].decode()
    assert old in good
    changed = good.replace(old, new)
    for tag in ("GetReportResult",):
        changed = (
            changed.replace(f"</{tag}>", f"</{tag.replace('Report', 'Reports')}>") if "Reports" in new else changed
        )
    with pytest.raises(AnswerUnreadable) as caught:
        read(operation, good.replace(old, new).encode())
    assert IIN not in f"{caught.value!r}"


def test_an_error_beside_a_result_wins() -> None:
    both = REPORT_ANSWER.replace(
        b"</CigResult>", b'</CigResult><CigResultError><Errmessage code="1108"/></CigResultError>'
    )
    with pytest.raises(NoReport):
        read("credit_report", both)


def test_two_answers_in_one_are_unreadable() -> None:
    one = SCORE_ANSWER.decode().partition("<S:Body>")[2].partition("</S:Body>")[0]
    with pytest.raises(AnswerUnreadable):
        read("score", soap(one + one))


def test_a_long_list_of_negative_statuses_is_cut_to_the_vocabulary() -> None:
    many = "".join(leaf("NegativeStatusOfContract", f"Статус {number:04d}") for number in range(200))
    report = read(
        "credit_report", report_answer(f"<Header>{leaf('IIN', IIN)}</Header><NegativeData>{many}</NegativeData>")
    )
    assert len(report.data["negative"]) == 500
    assert report.data["negative"].endswith("…")
