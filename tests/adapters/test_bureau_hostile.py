"""First Credit Bureau: refusals become errors of ours, and hostile or broken answers do no harm."""

from __future__ import annotations

import time

import pytest
from bureau_answers import (
    ANSWERS,
    DEBT_ANSWER,
    IIN,
    NAMES,
    REPORT_ANSWER,
    SCORE_ANSWER,
    leaf,
    read,
    report_answer,
    soap,
)

from qaqpa.errors import (
    AnswerUnreadable,
    ConsentRefused,
    CredentialsRefused,
    ManySubjects,
    NoReport,
    Rejected,
    RequestRefused,
    RightsRefused,
    SubjectNotFound,
)
from qaqpa_adapters.first_credit_bureau.report import REPORT_ERRORS, SCORE_ERRORS
from qaqpa_adapters.first_credit_bureau.wire import MAX_ANSWER

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


def fault(code: str = "s:Server", detail: str = "") -> bytes:
    inside = f"<faultcode>{code}</faultcode><faultstring>{IIN} сломан</faultstring>{detail}"
    return soap(f"<S:Fault>{inside}</S:Fault>")


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
        ("score", fault(detail="<detail><code>7</code></detail>"), 500, RequestRefused, "Server"),
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


@pytest.mark.parametrize(
    "body",
    [b"", SCORE_ANSWER, b"<html/>", fault(), fault("s:Server.Busy"), fault(detail="<detail>at line 7</detail>")],
    ids=["empty", "an answer", "a page", "a fault of theirs", "a kind of it", "one that only says where it broke"],
)
def test_a_server_error_that_refuses_nothing_is_unsettled(body: bytes) -> None:
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
