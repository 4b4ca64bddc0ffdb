"""`POST /v1/subject-reports`: JSON or PDF, in the caller's language, to those who review."""

from __future__ import annotations

from pathlib import Path

import pytest

from desk import Desk
from harness import PEOPLE, both_engines
from qaqpa.service.report_schemas import SubjectReportAnswer
from reports import lived, text_of

PERSON = PEOPLE[0]
ASKED = {"iin": PERSON.iin}


@both_engines
async def test_a_report_comes_in_the_shape_that_the_document_says(desk: Desk) -> None:
    await lived(desk.house, desk.gateway)
    answer = await desk.ask("POST", "/v1/subject-reports", "compliance", json=ASKED, headers={"accept-language": "kk"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    told = SubjectReportAnswer.model_validate_json(answer.content)
    assert [(each.operation, each.count) for each in told.disclosures] == [
        ("credit_report", 4), ("score", 1), ("handover", 1),
    ]  # fmt: skip
    assert told.names.fields["identity.iin"] == "ЖСН"
    assert PERSON.iin not in answer.text
    looks = desk.house.entries(desk.gateway, "review")
    assert [each["act"] for each in looks] == ["report"] and PERSON.iin not in str(looks)


async def test_nobody_knows_the_person(desk: Desk) -> None:
    told = (await desk.ask("POST", "/v1/subject-reports", "compliance", json=ASKED)).json()
    assert (told["empty"], told["subject"], told["disclosures"]) == (True, None, [])
    SubjectReportAnswer.model_validate(told)


@pytest.mark.parametrize(
    ("accept", "is_pdf"),
    [
        ("application/pdf", True),
        ("application/json;q=0.5, application/pdf", True),
        ("application/pdf;q=0.5, application/json", False),
        ("application/pdf, application/json", False),
        ("APPLICATION/PDF", True),
        ("application/pdf;q=0", False),
        ("application/pdf;q=x", False),
        ("*/*", False),
        ("text/html", False),
        ("", False),
    ],
)
async def test_a_pdf_comes_where_it_is_preferred(desk: Desk, accept: str, is_pdf: bool, tmp_path: Path) -> None:
    await lived(desk.house, desk.gateway)
    answer = await desk.ask(
        "POST", "/v1/subject-reports", "compliance", json=ASKED,
        headers={"accept": accept, "accept-language": "ru"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    if is_pdf:
        assert answer.headers["content-type"] == "application/pdf"
        assert "Отчёт о персональных данных" in text_of(answer.content, tmp_path)
    else:
        assert answer.json()["format"] == 1


@pytest.mark.parametrize("body", [{}, {"iin": "123"}, {"iin": PERSON.iin, "more": 1}, {"iin": "900101300018"}, []])
async def test_what_names_no_person_is_refused_without_a_look(desk: Desk, body: object) -> None:
    answer = await desk.ask("POST", "/v1/subject-reports", "compliance", json=body)
    assert answer.status_code == 400, answer.text
    assert desk.house.entries(desk.gateway, "review") == []
