"""Documents that are printed: whatever stands in their texts is printed, and never read as markup."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness import House
from qaqpa.errors import NotPossible
from qaqpa.model.words import Language, Words
from qaqpa.report import typeset
from qaqpa.report.document import Column, Document, Facts, Section, Table, Text, shown
from qaqpa.report.named import Asker, Drawn, Operator, Party, Purpose
from qaqpa.report.plain import plain_report
from qaqpa.report.saying import Saying
from qaqpa.report.subject import Came, Disclosures, Form, Single, SubjectReport
from qaqpa.report.telling import PRINTED, tell
from qaqpa.report.typeset import pdf, pictures
from reports import NOBODY, PERSON, lived, pages_of, text_of, with_terms

NOW = datetime(2026, 11, 3, 9, 5, tzinfo=UTC)
LANGUAGES: tuple[Language, ...] = ("ru", "kk", "en")
HOSTILE = {
    "code": '#panic("run")',
    "function": "#let x = 1 #x",
    "file": '#read("/etc/passwd")',
    "package": '#import "@preview/x:0.1.0"',
    "closing": '"] #panic() [',
    "raw": "``` #panic() ```",
    "mathematics": "$ sum_(i=0)^n i $",
    "strong": "*strong* _weak_ ~ -- ---",
    "label": "@nowhere <here> \\ // gone /* gone */",
    "heading": "= Heading",
    "html": "<script>alert(1)</script>",
    "braces": "{} {{ x }} %(name)s {0}",
    "json": '\\u0000", "title": "other',
}


def document(*texts: str, **changes: Any) -> Document:
    """One that holds the texts wherever one can stand."""
    columns = tuple(Column(text, 1, is_code=at % 2 == 1) for at, text in enumerate(texts))
    blocks = (
        *(Text(text, tone) for text in texts for tone in ("plain", "muted", "strong")),
        Facts(tuple((text, (text, text)) for text in texts)),
        Table(columns, (texts, texts)),
    )
    made = Document(
        language="ru", title=texts[0], subtitle=texts[0], operator=texts[0], drawn_at=NOW,
        head=Facts(tuple((text, text) for text in texts)), foot=texts[0],
        sections=(Section(texts[0], blocks, (Section(texts[-1], blocks),)),),
    )  # fmt: skip
    return replace(made, **changes)


def squeezed(text: str) -> str:
    return re.sub(r"[\s\u200b]+", "", text)


@pytest.mark.parametrize("name", HOSTILE)
def test_markup_in_a_text_is_printed_as_it_stands(name: str, tmp_path: Path) -> None:
    told = squeezed(text_of(pdf(document(HOSTILE[name])), tmp_path))
    assert told.count(squeezed(HOSTILE[name])) >= 10, told[:500]


def test_a_text_cannot_break_out_of_the_data_that_it_is(tmp_path: Path) -> None:
    made = document(*HOSTILE.values(), title="The title", is_wide=True)
    assert json.loads(typeset._data(made))["title"] == "The title"
    assert "Thetitle" in squeezed(text_of(pdf(made), tmp_path))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("abc\u202edef", "abcdef"),
        ("a\u200bb\u2066c\x00d\x1be", "abcde"),
        ("two\n\n lines\t", "two lines"),
        ("Қазақ ӘІҢҒҮҰҚӨҺ", "Қазақ ӘІҢҒҮҰҚӨҺ"),
        ("e\u0301", "e\u0301"),
    ],
)
def test_what_is_not_seen_is_not_shown(text: str, seen: str) -> None:
    assert shown(text) == seen


def test_a_word_that_fits_on_no_line_is_broken(tmp_path: Path) -> None:
    told = text_of(pdf(document("Ш" * 400)), tmp_path)
    assert told.count("Ш") > 4_000, "all of it is there"
    assert max(len(line.replace("\u200b", "").strip()) for line in told.splitlines()) < 90
    digest = "0123456789abcdef" * 4
    assert digest in text_of(pdf(document("x", head=Facts((("Root", digest),)))), tmp_path)


def test_the_letters_of_all_three_languages_are_in_the_font_that_comes_along(tmp_path: Path) -> None:
    letters = "АаӘәБбВвГгҒғДдЕеЁёЖжЗзИиЙйКкҚқЛлМмНнҢңОоӨөПпРрСсТтУуҰұҮүФфХхҺһЦцЧчШшЩщЪъЫыІіЬьЭэЮюЯя№«»—…•₸"
    assert squeezed(text_of(pdf(document(letters)), tmp_path)).count(letters) >= 10


def test_a_document_is_tagged_dated_and_the_same_each_time() -> None:
    made = document("A text")
    first = pdf(made)
    assert first == pdf(made)
    assert b"pdfuaid:part" in first, "PDF/UA-1"
    assert b"20261103090500" in first or b"2026-11-03T09:05:00" in first
    assert pictures(made)[0].startswith(b"\x89PNG")


def test_one_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typeset, "_LARGEST", 100)
    with pytest.raises(NotPossible, match="JSON"):
        pdf(document("A text"))


CALLER = Asker("loan-scoring", Words(ru="Скоринг", kk="Скоринг", en="Scoring"), "service")

# --- of reports --------------------------------------------------------------------------------------


def made_report(
    count: int, name: str = "Бюро", address: str = "Алматы", returned: tuple[str, ...] = ()
) -> SubjectReport:
    """One about so many disclosures."""
    form = Form(CALLER, None, None, (), ("identity.iin",), (), None)
    singles = tuple(
        Single(
            id=f"{at:08d}-0000-7000-8000-000000000000", index=at, at=NOW - timedelta(hours=at), form=0,
            result=Came.DELIVERED, code="ok", returned=returned, policy="2025-01", consent=None, handover=None,
            turned_back=False, kept_until=None,
        )
        for at in range(count)
    )  # fmt: skip
    group = Disclosures(
        recipient=Party("bureau", "credit_bureau", Words(ru=name, kk=name, en=name), None, "KZ", address),
        operation="credit_report", purpose=Purpose("application_review"), count=count,
        first=NOW - timedelta(hours=count - 1), last=NOW, results=((Came.DELIVERED, count),), forms=(form,),
        singles=singles,
    )  # fmt: skip
    return SubjectReport(
        Operator("ТОО «Пример»", "230340000017"), Drawn(NOW, 100, "2025-01", None), "••••••••0017", "0" * 32,
        disclosures=(group,),
    )  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_of_recipients_are_harmless_in_every_form(language: Language, tmp_path: Path) -> None:
    hostile = '#panic("x") <script>\u202e' + "Ю" * 200
    report = made_report(2, hostile, hostile, ("report.score", "#panic()"))
    made = tell(report, language, UTC)
    assert "\u202e" not in str(made.plain())
    assert '#panic("x")<script>' in squeezed(text_of(pdf(made), tmp_path))
    told = plain_report(report, Saying(language, UTC))
    assert told["names"]["recipients"]["bureau"]["name"] == hostile, "JSON says what the configuration says"


def test_a_printed_report_lists_the_latest_and_counts_the_others(tmp_path: Path) -> None:
    made = tell(made_report(1_000), "en", UTC)
    printed = text_of(pdf(made), tmp_path)
    assert len(re.findall(r"\d{8}-0000-7000-8000-0{12}", printed)) == PRINTED
    assert "1,000 times" in printed and "960" in printed
    assert pages_of(pdf(made), tmp_path) <= 4
    whole = plain_report(made_report(1_000), Saying("en", UTC))
    assert len(whole["disclosures"][0]["singles"]) == 1_000


def test_a_long_table_goes_on_under_its_heading_on_each_page(tmp_path: Path) -> None:
    made = tell(made_report(200), "en", UTC, printed=200)
    pages = text_of(pdf(made), tmp_path).split("\f")
    with_rows = [page for page in pages if "-0000-7000-8000-" in page]
    assert len(with_rows) >= 4
    assert all("Kept until" in page for page in with_rows)
    numbers = [re.findall(r"(\d+) ?/ ?(\d+)\s*$", page.rstrip()) for page in pages if page.strip()]
    assert [found[-1] for found in numbers] == [(str(at), str(len(numbers))) for at in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_printed_report_says_what_the_report_holds(house: House, language: Language, tmp_path: Path) -> None:
    async with with_terms(house).gateway() as gateway:
        consent = await lived(house, gateway)
        await asyncio.sleep(1.2)  # for a checkpoint
        report = await gateway.reporting.subject_report("compliance", PERSON.iin)
        made = gateway.reporting.document(report, language)
        printed = squeezed(text_of(await gateway.reporting.pdf(made), tmp_path))
        say = Saying(language, UTC)
        for group in report.disclosures:
            for text in (say.party(group.recipient), say.operation(group.operation), *(s.id for s in group.singles)):
                assert squeezed(text) in printed, text
            assert all(squeezed(say.field(path)) in printed for path in group.forms[0].fields)
        for text in (consent.id, "otp-1", "2025-01", "94-V", "7.1(1)", "230340000017", PERSON.iin[-4:]):
            assert squeezed(text) in printed, text
        checkpoint = report.drawn.checkpoint
        assert checkpoint is not None and checkpoint.root in printed
        assert PERSON.iin not in printed and PERSON.data["identity"]["last_name"] not in printed
        nothing = await gateway.reporting.subject_report("compliance", NOBODY.iin)
        told = text_of(await gateway.reporting.pdf(gateway.reporting.document(nothing, language)), tmp_path)
        assert squeezed(say.words.gettext("Nothing is held")) in squeezed(told)
        assert pages_of(await gateway.reporting.pdf(gateway.reporting.document(nothing, language)), tmp_path) == 1


@pytest.mark.parametrize("language", LANGUAGES)
async def test_each_name_of_the_json_report_is_told_once_in_its_language(house: House, language: Language) -> None:
    async with with_terms(house).gateway() as gateway:
        await lived(house, gateway)
        report = await gateway.reporting.subject_report("compliance", PERSON.iin)
        told = orjson.loads(await gateway.reporting.json(report, language))
        names = told["names"]
        fields = {path for group in told["disclosures"] for form in group["forms"] for path in form["fields"]}
        fields |= {path for group in told["disclosures"] for each in group["singles"] for path in each["returned"]}
        assert fields <= names["fields"].keys() and all(names["fields"].values())
        clauses = {clause for group in told["disclosures"] for form in group["forms"] for clause in form["clauses"]}
        assert clauses <= names["clauses"].keys() and all(names["clauses"][each] for each in clauses)
        assert {group["recipient"] for group in told["disclosures"]} <= names["recipients"].keys()
        assert names["fields"]["identity.iin"] == {"ru": "ИИН", "kk": "ЖСН", "en": "IIN"}[language]
        assert (told["format"], told["language"], told["empty"]) == (1, language, False)
