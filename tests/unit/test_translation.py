"""Texts in three languages: nothing that is said lacks a translation, and none lost a value on its way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir

from harness import ROOT
from qaqpa.translation import LOCALE, translator
from qaqpa.translation import read as read_catalogue

CALLS = {
    "N_": None, "gettext": None, "_": None, "t": None, "_t": None, "ngettext": (1, 2), "counted": (1, 2),
    "pgettext": ((1, "c"), 2),
}  # fmt: skip
FOLDERS = {"report": ROOT / "src/qaqpa/report"}
"""What each domain's texts stand in."""
CONSOLE = "console"
"""Its texts stand in templates too; tests of the console try them."""
VALUE = re.compile(r"%\((\w+)\)s")
OTHERS = ("ru", "kk")


def said(folder: Path) -> dict[tuple[str | None, str], str | None]:
    """Every text of the code with its context, and its plural."""
    found: dict[tuple[str | None, str], str | None] = {}
    for _, _, text, _, context in extract_from_dir(folder, [("**.py", "python")], {}, CALLS):
        one, many = text if isinstance(text, tuple) else (text, None)
        found[context, one] = many
    return found


def messages(catalogue: Catalog) -> Iterator[Message]:
    return (message for message in catalogue if message.id)


def forms(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ())


def first(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def test_every_catalogue_belongs_to_a_domain_that_is_tried_here() -> None:
    assert {path.stem for path in LOCALE.rglob("*.po")} - {CONSOLE} == FOLDERS.keys()


@pytest.mark.parametrize("domain", FOLDERS)
@pytest.mark.parametrize("language", OTHERS)
def test_nothing_that_is_said_lacks_a_translation(domain: str, language: str) -> None:
    catalogue = read_catalogue(domain, language)  # type: ignore[arg-type]
    known = {(message.context, first(message)) for message in messages(catalogue)}
    wanted = said(FOLDERS[domain]).keys()
    assert len(wanted) > 100, "texts are found"
    assert wanted - known == set(), "not translated"
    assert known - wanted == set(), "said nowhere any more"
    for message in messages(catalogue):
        assert not message.fuzzy, message.id
        assert all(form.strip() for form in forms(message)), message.id
        if not isinstance(message.id, str):
            assert len(forms(message)) == catalogue.num_plurals, message.id


@pytest.mark.parametrize("domain", FOLDERS)
@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_holds_the_values_of_its_text_and_is_none_of_it(domain: str, language: str) -> None:
    for message in messages(read_catalogue(domain, language)):  # type: ignore[arg-type]
        for form in forms(message):
            assert set(VALUE.findall(form)) == set(VALUE.findall(first(message))), message.id
            assert form.count("%") == len(VALUE.findall(form)), "nothing else is filled in"
            has_letters = re.search("[а-яёәіңғүұқөһ]", form, re.IGNORECASE)
            technical = re.fullmatch(r"(JWE|age|CMS|OpenPGP|No\.|%).*", first(message))
            assert has_letters or technical, f"{message.id!r} is not translated"


def test_words_dates_and_numbers_are_those_of_the_language() -> None:
    at = datetime(2026, 5, 3, 4, 5, tzinfo=UTC)
    told = {
        language: (
            (t := translator("report", language)).gettext("delivered"),
            t.gettext("once, %(at)s", at="X"),
            [t.counted("%(count)s day", "%(count)s days", count) for count in (1, 3, 5, 1_000_000)],
            t.day(date(2026, 5, 3)), t.month(date(2026, 5, 1)), t.moment(at, UTC), t.number(Decimal("1234.5")),
        )
        for language in ("ru", "kk", "en")
    }  # fmt: skip
    assert told["ru"] == (
        "доставлено", "один раз, X", ["1 день", "3 дня", "5 дней", "1\xa0000\xa0000 дней"], "3 мая 2026\u202fг.",
        "май 2026", "3 мая 2026, 04:05", "1\xa0234,5",
    )  # fmt: skip
    assert told["kk"] == (
        "жеткізілді", "бір рет, X", ["1 күн", "3 күн", "5 күн", "1\xa0000\xa0000 күн"], "2026\u202fж. 3 мамыр",
        "Мамыр 2026", "2026 ж. 3 мам., 04:05", "1\xa0234,5",
    )  # fmt: skip
    assert told["en"] == (
        "delivered", "once, X", ["1 day", "3 days", "5 days", "1,000,000 days"], "3 May 2026", "May 2026",
        "3 May 2026, 04:05", "1,234.5",
    )  # fmt: skip


def test_a_text_that_no_catalogue_knows_is_said_as_it_stands() -> None:
    for language in ("ru", "kk", "en"):
        t = translator("report", language)
        assert t.gettext("100 % unknown to all") == "100 % unknown to all"
        assert t.pgettext("elsewhere", "delivered") == "delivered", "another context is another text"
        assert t.ngettext("%(count)s ox", "%(count)s oxen", 2, count=2) == "2 oxen"
