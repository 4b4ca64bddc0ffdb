"""First Credit Bureau: what we write has their shapes, and what they answer is read whole."""

from __future__ import annotations

from typing import Any

import pytest
from bureau_answers import (
    ANSWERS,
    BUREAU,
    DEBT_ANSWER,
    IIN,
    NAMES,
    PERSON,
    REPORT_ANSWER,
    SCORE_ANSWER,
    SETTINGS,
    contract,
    extract,
    leaf,
    read,
    report_answer,
    written,
)
from lxml import etree
from pydantic import SecretStr, ValidationError

from qaqpa.adapter import find
from qaqpa.errors import (
    AnswerUnreadable,
    InvalidRequest,
)
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.testing.contract import EXCHANGE
from qaqpa_adapters.first_credit_bureau import FirstCreditBureau, FirstCreditBureauSettings

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
    message = BUREAU.encode(operation, extract(), EXCHANGE)
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
        BUREAU.encode("debt_burden", extract(**changed), EXCHANGE)
    assert "1989" not in str(caught.value)


def test_an_unknown_operation_is_refused_in_both_directions() -> None:
    with pytest.raises(InvalidRequest):
        BUREAU.encode("contributions", extract(), EXCHANGE)
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
