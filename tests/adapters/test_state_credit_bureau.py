"""State credit bureau: what is written for it, byte for byte, and what its answers are read as."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from lxml import etree
from pydantic import SecretStr, ValidationError
from state_bureau_answers import (
    BUREAU,
    CONTRACT,
    FORMS,
    GOOD,
    IIN,
    PACKAGED,
    PENSION,
    PERSON,
    PLAIN,
    REPORT,
    SETTINGS,
    USER_ID,
    deduction,
    extract,
    packaged,
    pension_in,
    read,
    report_in,
    soap,
)

from qaqpa.adapter import find
from qaqpa.errors import (
    AnswerUnreadable,
    ConsentRefused,
    CredentialsRefused,
    InvalidRequest,
    NoReport,
    Rejected,
    RequestRefused,
    RightsRefused,
    SubjectNotFound,
)
from qaqpa.model.disclosure import Reply
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.testing.contract import EXCHANGE
from qaqpa_adapters.state_credit_bureau import StateCreditBureau, StateCreditBureauSettings
from qaqpa_adapters.state_credit_bureau.report import FAULTS

# --- what is written -------------------------------------------------------------------------------

HEAD = "<?xml version='1.0' encoding='UTF-8'?>\n<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\""


def test_a_credit_report_is_asked_for_in_their_words() -> None:
    message = BUREAU.encode("credit_report", extract(), EXCHANGE)
    assert message.body.decode() == (
        f'{HEAD} xmlns:rep="http://report.chdb.scb.kz" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<soap:Header><userId>{USER_ID}</userId></soap:Header><soap:Body><rep:requestXmlCreditReport><reportRequest>"
        "<generationParams><language>ru</language><outputFormats>XML</outputFormats>"
        "<reportType>extendedReport</reportType></generationParams>"
        f'<reportParams xsi:type="rep:personCreditReportParams"><iin>{IIN}</iin><new>true</new>'
        "<consentConfirmed>true</consentConfirmed></reportParams></reportRequest></rep:requestXmlCreditReport>"
        "</soap:Body></soap:Envelope>"
    )
    assert (message.endpoint, message.content_type) == ("report", "text/xml; charset=utf-8")


def test_contributions_are_asked_for_under_the_number_of_the_exchange() -> None:
    message = BUREAU.encode("contributions", extract(), EXCHANGE)
    assert message.body.decode() == (
        f'{HEAD} xmlns:data="http://data.gbd.chdb.scb.kz/"><soap:Header><userId>{USER_ID}</userId></soap:Header>'
        f"<soap:Body><data:getPensionInfo><iin>{IIN}</iin><requestType>DEDUCTION_6</requestType>"
        f"<requestNumber>{EXCHANGE.id}</requestNumber></data:getPensionInfo></soap:Body></soap:Envelope>"
    )
    assert message.endpoint == "pension"


@pytest.mark.parametrize(("confirmed", "said"), [(True, "true"), (False, "false")])
def test_consent_is_confirmed_only_when_it_was_checked(confirmed: bool, said: str) -> None:
    body = BUREAU.encode("credit_report", extract(consent=confirmed), EXCHANGE).body
    assert etree.fromstring(body).findtext(".//consentConfirmed") == said


@pytest.mark.parametrize("operation", GOOD)
def test_the_login_stands_in_the_header_as_http_basic_has_it(operation: str) -> None:
    message = BUREAU.encode(operation, extract(), EXCHANGE)
    kind, _, token = message.headers["Authorization"].partition(" ")
    assert (kind, base64.b64decode(token).decode()) == ("Basic", "lender:p:ә<&>")
    assert message.headers.keys() == {"Authorization", "SOAPAction"}
    assert "lender" not in message.body.decode()
    assert token not in repr(message)


def test_secrets_do_not_show_and_unknown_settings_are_refused() -> None:
    assert "lender" not in repr(SETTINGS)
    assert USER_ID not in repr(SETTINGS)
    good = {"client_id": "c", "password": "p", "user_id": "u", "report_type": "standardReport"}
    StateCreditBureauSettings.model_validate(good)
    for wrong in ({"user": "x"}, {"report_type": "a b"}, {"report_type": ""}, {"language": "<"}, {"client_id": "a:b"}):
        with pytest.raises(ValidationError):
            StateCreditBureauSettings.model_validate(good | wrong)


def test_what_the_settings_say_is_written() -> None:
    other = SETTINGS.model_copy(
        update={"language": "kk", "new": False, "report_type": "other", "user_id": SecretStr("<u&>")}
    )
    asked = etree.fromstring(StateCreditBureau(other).encode("credit_report", extract(), EXCHANGE).body)
    found = [asked.findtext(f".//{name}") for name in ("language", "new", "reportType", "userId")]
    assert found == ["kk", "false", "other", "<u&>"]


@pytest.mark.parametrize("iin", [None, "", "9\x00", 7, "\ud800"])
def test_what_cannot_be_written_is_an_invalid_request(iin: Any) -> None:
    for operation in GOOD:
        with pytest.raises(InvalidRequest, match=r"identity\.iin"):
            BUREAU.encode(operation, extract(iin), EXCHANGE)


@pytest.mark.promise(2)
@pytest.mark.parametrize("operation", GOOD)
def test_nothing_beyond_the_iin_is_written_whatever_the_extract_holds(operation: str) -> None:
    whole = extract()
    whole = type(whole)(PERSON.data, whole.fields, (), whole.consent_confirmed)
    assert BUREAU.encode(operation, whole, EXCHANGE) == BUREAU.encode(operation, extract(), EXCHANGE)


def test_an_unknown_operation_is_refused_in_both_directions() -> None:
    with pytest.raises(InvalidRequest):
        BUREAU.encode("score", extract(), EXCHANGE)
    with pytest.raises(AnswerUnreadable):
        read("score", GOOD["credit_report"])


def test_it_is_found_by_its_name_and_nothing_is_declared_idempotent() -> None:
    assert find(["state_credit_bureau"]) == ({"state_credit_bureau": StateCreditBureau}, {})
    assert not any(operation.idempotent for operation in BUREAU.operations.values())


# --- what they answer ------------------------------------------------------------------------------

WHOLE = {
    "reference": "7700112233",
    "issued_at": "2026-11-20T09:05:07+05:00",
    "classification": "Физическое лицо",
    "negative": "Взыскание",
    "existing_contracts": 1,
    "terminated_contracts": 3,
    "outstanding": "150000.50",
    "overdue": "12000.25",
    "max_days_overdue": 61,
    "queries_30_days": 1,
    "queries_90_days": 2,
    "queries_180_days": 4,
    "queries_360_days": 5,
    "subject": {
        "iin": IIN,
        "last_name": "Құдайбергенов",
        "first_name": "Дәурен",
        "middle_name": "Жәнібекұлы",
        "birth_date": "1989-07-23",
    },
    "contracts": [
        {
            "code": "CC-1",
            "number": "Д-100/26",
            "phase": "existing",
            "funding": "Микрокредит",
            "purpose": "Потребительские цели",
            "status": "Просрочен",
            "role": "Заёмщик",
            "institution": 'МФО "Тест"',
            "currency": "KZT",
            "started_on": "2026-01-05",
            "ends_on": "2026-12-31",
            "repaid_on": "2026-11-01",
            "updated_on": "2026-11-20",
            "amount": "200000.00",
            "outstanding": "150000.50",
            "overdue": "12000.25",
            "days_overdue": 35,
            "max_days_overdue": 61,
            "fine": "10.00",
            "penalty": "0.50",
        }
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_credit_report_is_read_in_every_form(form: str) -> None:
    report = read("credit_report", FORMS[form])
    assert (report.about, report.reference) == (IIN, "7700112233")
    assert report.data == WHOLE


@pytest.mark.parametrize("reply", [GOOD["contributions"], PACKAGED["contributions"]], ids=["plain", "packaged"])
def test_contributions_are_read(reply: Reply) -> None:
    report = read("contributions", reply)
    assert (report.about, report.reference) == (IIN, "GC-770088")
    employer = {"employer": "ТОО «Пример»", "employer_bin": "050140001236"}
    assert report.data == {
        "reference": "GC-770088",
        "issued_at": "2026-11-20T09:05:07+05:00",
        "contributions": [
            {"paid_on": "2026-10-05", "amount": "25000.00", **employer},
            {"paid_on": "2026-09-04", "amount": "24500.50", **employer},
        ],
    }


@pytest.mark.parametrize(
    "head",
    [
        '<?xml version="1.0" encoding="windows-1251"?>',
        "<?xml version='1.0' encoding='UTF-16' standalone='yes'?>\n",
        "\ufeff",
    ],
    ids=["written for windows-1251", "written for UTF-16", "a mark in front"],
)
def test_a_report_as_text_is_read_in_the_encoding_that_it_now_has(head: str) -> None:
    text = (head + REPORT).replace("<", "&lt;")
    assert read("credit_report", Reply(200, report_in(text), PLAIN)).data == WHOLE


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2026-10-04T19:00:00.000Z", "2026-10-05"),
        ("2023-10-04T18:00:00Z", "2023-10-05"),
        ("1989-07-22T17:00:00Z", "1989-07-23"),
        ("2026-10-05T00:00:00Z", "2026-10-05"),
        ("2026-10-05T17:30:00Z", "2026-10-05"),
        ("2026-10-05T20:30:00Z", "2026-10-06"),
        ("2026-10-05T23:59:59+05:00", "2026-10-05"),
        ("2026-10-05T00:00:00+0600", "2026-10-05"),
        ("2026-10-05+06:00", "2026-10-05"),
        ("2026-10-05Z", "2026-10-05"),
    ],
)
def test_a_day_is_the_one_that_it_is_in_kazakhstan(written: str, day: str) -> None:
    said = pension_in(PENSION.replace("2026-10-05", written))
    assert read("contributions", Reply(200, said, PLAIN)).data["contributions"][0]["paid_on"] == day


NIL = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"'


def test_what_is_nil_is_not_there() -> None:
    rows = f"<deductionsDetailed {NIL}/><deductionsDetailed/>{deduction('2026-10-05', '1')}"
    said = pension_in(PENSION.partition("<deductionsDetailed>")[0] + rows)
    assert [row["amount"] for row in read("contributions", Reply(200, said, PLAIN)).data["contributions"]] == ["1.00"]
    nothing = REPORT.replace(CONTRACT, f"<contract {NIL}/>").replace("<negativeStatus>", f"<negativeStatus {NIL}>")
    report = read("credit_report", Reply(200, report_in(nothing), PLAIN))
    assert not {"contracts", "negative"} & report.data.keys()


def test_pension_data_may_stand_in_an_element_of_their_register() -> None:
    head = "<n:Pension xmlns:n='urn:n'><responseInfo><status><code>SCSS001</code></status></responseInfo><responseData>"
    within = pension_in(PENSION).replace(b"<responseData>", head.encode())
    within = within.replace(b"</responseData>", b"</responseData></n:Pension>")
    assert read("contributions", Reply(200, within, PLAIN)) == read("contributions", GOOD["contributions"])
    with pytest.raises(Rejected) as refused:
        read("contributions", Reply(200, within.replace(b"SCSS001", b"SCSE017"), PLAIN))
    assert refused.value.their_code == "SCSE017"


def test_the_samples_fill_every_field_that_is_declared() -> None:
    def paths(node: Any, prefix: str) -> set[str]:
        if isinstance(node, dict):
            return set().union(*(paths(value, f"{prefix}.{key}") for key, value in node.items()))
        if isinstance(node, list):
            return set().union(*(paths(item, prefix) for item in node))
        return {prefix}

    for operation, answer in GOOD.items():
        declared = BUREAU.operations[operation].returns
        assert paths(read(operation, answer).data, "report") == declared <= VOCABULARY.keys()


def test_a_thin_report_leaves_out_what_is_not_there() -> None:
    thin = report_in(f"<r><subject><iin>{IIN}</iin><lastName>-</lastName></subject><contracts/></r>")
    report = read("credit_report", Reply(200, thin, PLAIN))
    assert (report.data, report.reference) == ({"subject": {"iin": IIN}}, None)


# --- what they refuse ------------------------------------------------------------------------------


def fault(code: str = "soap:Client", detail: str = "") -> bytes:
    inside = f"<detail>{detail}</detail>" if detail else ""
    return soap(f"<S:Fault><faultcode>{code}</faultcode><faultstring>{IIN} Қате</faultstring>{inside}</S:Fault>")


def code(name: str) -> bytes:
    return fault(detail=f"<code>{name}</code><text>{IIN}</text>")


def answered(word: str) -> bytes:
    return pension_in(PENSION.replace("FOUND", word, 1))


@pytest.mark.parametrize(
    ("operation", "body", "status", "kind", "their_code"),
    [
        ("credit_report", code("USER_NOT_FOUND"), 500, CredentialsRefused, "USER_NOT_FOUND"),
        ("credit_report", code("ACCESS_DENIED"), 500, RightsRefused, "ACCESS_DENIED"),
        ("credit_report", code("CONSENT_REQUIRED"), 500, ConsentRefused, "CONSENT_REQUIRED"),
        ("credit_report", code("SUBJECT_NOT_FOUND"), 500, SubjectNotFound, "SUBJECT_NOT_FOUND"),
        ("credit_report", code("REPORT_NOT_FOUND"), 200, NoReport, "REPORT_NOT_FOUND"),
        ("contributions", code("INVALID_PARAMS"), 500, RequestRefused, "INVALID_PARAMS"),
        ("contributions", code(IIN), 500, RequestRefused, "Client"),
        ("contributions", fault(), 500, RequestRefused, "Client"),
        ("contributions", fault(f"S:{IIN}"), 500, RequestRefused, None),
        ("contributions", answered("NOT_FOUND"), 200, NoReport, "NOT_FOUND"),
        ("contributions", answered("ERROR"), 200, Rejected, "ERROR"),
        ("contributions", answered(IIN), 200, Rejected, None),
        ("credit_report", b"", 401, CredentialsRefused, "http-401"),
        ("credit_report", b"", 403, RightsRefused, "http-403"),
        ("contributions", b"", 404, RequestRefused, "http-404"),
        ("contributions", b"", 302, RequestRefused, "http-302"),
    ],
)
def test_their_refusals_become_ours(
    operation: str, body: bytes, status: int, kind: type[Rejected], their_code: str | None
) -> None:
    for reply in (Reply(status, body, PLAIN), Reply(status, packaged(body).body, packaged(body).content_type)):
        with pytest.raises(Rejected) as caught:
            read(operation, reply)
        assert type(caught.value) is kind
        assert caught.value.their_code == their_code
        assert IIN not in str(caught.value)


def test_every_code_in_the_table_says_something_of_its_own() -> None:
    assert len({sentence for _, sentence in FAULTS.values()}) == len(FAULTS)
