"""From cells to values: what is read, what is repaired, and what is told of. Synthetic numbers only."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import ROOT
from qaqpa.model.identifiers import check_digit, check_iin, check_phone
from qaqpa.model.request import DisclosureRequest
from qaqpa.tables.headings import READABLE
from qaqpa.tables.problems import MESSAGES, Wrong
from qaqpa.tables.text import diagnosis, text_of
from qaqpa.tables.values import iin, parser_of
from qaqpa.testing.people import people

TODAY = date(2026, 11, 23)
PERSON = people(1, today=TODAY)[0]


def read(path: str, cell: object) -> object:
    """The value, or the code of the problem after a `!`."""
    try:
        text = text_of(cell)
        return parser_of(path, TODAY)[0](text) if text else None
    except Wrong as wrong:
        return "!" + (diagnosis(cell, wrong.code) if isinstance(cell, str) else wrong.code)


DAY, MATURITY, SUM, NAME = "contract.signed_on", "contract.matures_on", "contract.amount", "identity.last_name"
FLAG, PHONE, DAYS, RATE = "facts.contract.duties_met", "contact.mobile", "contract.days_overdue", "contract.rate"
CASES: list[tuple[str, object, object]] = [
    (DAY, "2025-12-31", "2025-12-31"),
    (DAY, "31.12.2025", "2025-12-31"),
    (DAY, "1.2.2025", "2025-02-01"),
    (DAY, " 31.12.2025 г.", "2025-12-31"),
    (DAY, "31-12-2025", "2025-12-31"),
    (DAY, "31/12/2025", "2025-12-31"),
    (DAY, "11/12/2025", "!date_ambiguous"),
    (DAY, "31.12.2025 0:00:00", "2025-12-31"),
    (DAY, "2025-12-31 00:00:00", "2025-12-31"),
    (DAY, "2025-12-31 09:00:00", "!date_unreadable"),
    (DAY, date(2025, 12, 31), "2025-12-31"),
    (DAY, datetime(2025, 12, 31), "2025-12-31"),  # noqa: DTZ001 - as a spreadsheet holds it
    (DAY, 45000.0, "!date_unreadable"),
    (DAY, "30.02.2025", "!date_impossible"),
    (DAY, "29.02.2024", "2024-02-29"),
    (DAY, "23.11.2026", "2026-11-23"),
    (DAY, "24.11.2026", "!date_in_future"),
    (MATURITY, "24.11.2036", "2036-11-24"),
    ("identity.document.expires_on", "2036-11-24", "2036-11-24"),
    (DAY, "31.12.25", "!date_unreadable"),
    (DAY, "31.12.1825", "!date_too_old"),
    (DAY, "—", None),
    (SUM, "12500.50", "12500.50"),
    (SUM, "12500,5", "12500.5"),
    (SUM, "12 500,50", "12500.50"),
    (SUM, "1\xa0234\u202f567,89 тг.", "1234567.89"),
    (SUM, "1,234,567.89", "1234567.89"),
    (SUM, "1.234.567,89", "1234567.89"),
    (SUM, "1,234.56", "1234.56"),
    (SUM, "1,234", "!amount_ambiguous"),
    (SUM, "1.234", "!amount_ambiguous"),
    (SUM, "0.005", "!amount_fractions"),
    (SUM, "12.3456", "!amount_fractions"),
    (SUM, "12.3400", "12.34"),
    (SUM, "007", "7"),
    (SUM, "-5", "!amount_negative"),
    (SUM, "−5,00", "!amount_negative"),
    (SUM, "-0.00", "0.00"),
    (SUM, "1e5", "!amount_unreadable"),
    (SUM, "сто", "!amount_unreadable"),
    (SUM, "1" * 17, "!amount_unreadable"),
    (SUM, 12500.5, "12500.5"),
    (SUM, 0.1 + 0.2, "0.3"),
    (SUM, 12500.0, "12500"),
    (SUM, Decimal("1E+3"), "1000"),
    (SUM, 1e300, "!number_imprecise"),
    (SUM, float("nan"), "!number_imprecise"),
    (SUM, 10**400, "!number_imprecise"),
    (SUM, "-", None),
    (SUM, "=1+1", "!formula"),
    (SUM, "#Н/Д", "!spreadsheet_error"),
    (RATE, "46,5%", "46.5"),
    (RATE, "-1", "!rate_unreadable"),
    (DAYS, "15", 15),
    (DAYS, 15.0, 15),
    (DAYS, "15.0", 15),
    (DAYS, "15.5", "!number_unreadable"),
    (DAYS, "-1", "!number_unreadable"),
    (DAYS, "٣", "!number_unreadable"),
    (FLAG, "Да", True),
    (FLAG, "ЖОҚ", False),
    (FLAG, True, True),
    (FLAG, 0, False),
    (FLAG, "может быть", "!choice_unknown"),
    ("identity.sex", "Ж", "female"),
    ("identity.sex", "еркек", "male"),
    ("contract.currency", "тенге", "KZT"),
    ("contract.currency", "kzt", "KZT"),
    ("contract.currency", "K1", "!currency_unknown"),
    (PHONE, "+77011234567", "+77011234567"),
    (PHONE, "8 (701) 123-45-67", "+77011234567"),
    (PHONE, "7011234567", "+77011234567"),
    (PHONE, 77011234567.0, "+77011234567"),
    (PHONE, "'87011234567", "+77011234567"),
    (PHONE, "+49 30 901820", "+4930901820"),
    (PHONE, "+77011234567, +77017654321", "!phone_malformed"),
    (PHONE, "+77011234567 доб. 5", "!phone_malformed"),
    (PHONE, "12345", "!phone_malformed"),
    (PHONE, "+7701", "!phone_malformed"),
    ("contact.email", "a.b@example.com", "a.b@example.com"),
    ("contact.email", "a@example", "!email_malformed"),
    ("contact.email", "a@example.com; b@example.com", "!email_malformed"),
    ("contact.email", "=a@example.com", "!formula"),
    ("offer.text_sha256", "AB" * 32, "ab" * 32),
    ("offer.text_sha256", "ab", "!sha256_malformed"),
    ("offer.sent_at", "2026-01-31T09:30:00+05:00", "2026-01-31T09:30:00+05:00"),
    ("offer.sent_at", datetime(2026, 1, 31, 9, 30, tzinfo=UTC), "2026-01-31T09:30:00Z"),
    ("offer.sent_at", "2026-01-31T25:30", "!time_unreadable"),
    ("offer.sent_at", "2027-01-31T05:30", "!date_in_future"),
    ("employment.employer_bin", "1", "!bin_wrong"),
    ("bank.account", "KZ00", "!account_wrong"),
    (NAME, "Сәрсенбаев", "Сәрсенбаев"),
    (NAME, "  Иванов\xa0", "Иванов"),
    (NAME, "\ufeffИванов", "Иванов"),
    (NAME, " ", None),
    (NAME, "—", None),
    (NAME, 12.0, "12"),
    (NAME, time(1), "!time_unreadable"),
    (NAME, "Ива\nнов", "!control_character"),
    (NAME, "Ива\x00нов", "!control_character"),
    (NAME, "Ива\u2028нов", "!control_character"),
    (NAME, "я" * 501, "!too_long"),
    (NAME, "=HYPERLINK(1)", "!formula"),
    (NAME, "@SUM(1)", "!formula"),
    (NAME, "+cmd|' /C calc'!A0", "!formula"),
    (NAME, "-2+3+cmd|'/C calc'!A0", "!formula"),
    (NAME, "＝1+1", "!formula"),
    (NAME, "'\"=1+1", "!formula"),
    (NAME, "\t=1+1", "!formula"),
    (NAME, "\ufeff=1+1", "!formula"),
    (NAME, "#REF!", "!spreadsheet_error"),
    ("contact.residence_address", "+7 (701) 123-45-67", "+7 (701) 123-45-67"),
    ("contact.residence_address", 'ул. Абая, "Дом быта", 5', 'ул. Абая, "Дом быта", 5'),
]


@pytest.mark.parametrize(("path", "cell", "expected"), CASES, ids=[f"{p}-{i}" for i, (p, _, _) in enumerate(CASES)])
def test_a_cell_becomes(path: str, cell: object, expected: object) -> None:
    found = read(path, cell)
    assert (found, type(found)) == (expected, type(expected))


def _leaves(node: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in node.items():
        inner = value[0] if isinstance(value, list) else value
        found.update(_leaves(inner, f"{prefix}{name}.") if isinstance(inner, dict) else {f"{prefix}{name}": inner})
    return found


def test_every_field_is_read_in_the_form_that_a_request_holds() -> None:
    """What a parser makes of each field of a person is what pydantic makes of it, as JSON."""
    request = DisclosureRequest.model_validate(
        {"recipient": "r", "operation": "o", "purpose": "p", "data": {**PERSON.data}}
    )
    leaves = _leaves(request.plain["data"])
    seen = set()
    for path, value in leaves.items():
        if path in READABLE:
            assert read(path, str(value)) == value, path
            seen.add(path)
    not_people = {path for path in READABLE if path.startswith("facts.")}
    assert seen == READABLE - not_people


# --- the IIN -------------------------------------------------------------------------------------------------


def _number(eleven: str) -> str | None:
    digit = check_digit(eleven)
    return None if digit is None else f"{eleven}{digit}"


IINS = st.tuples(
    st.dates(date(1950, 1, 1), date(2009, 12, 31)), st.integers(0, 1), st.integers(0, 9999)
).map(lambda t: _number(f"{t[0]:%y%m%d}{(3 if t[0].year < 2000 else 5) + t[1]}{t[2]:04d}")).filter(bool)  # fmt: skip


@given(st.from_regex(r"[0-9]{12}", fullmatch=True) | IINS)
def test_the_check_of_an_iin_is_the_models(number: str) -> None:
    try:
        expected: object = check_iin(number)
    except ValueError:
        expected = "!iin_is_bin" if number[4] in "456" else "!iin_wrong"
    assert read("identity.iin", number) == expected


@given(IINS)
def test_zeros_that_a_spreadsheet_took_are_put_back(number: str) -> None:
    bare = str(int(number))
    assert read("identity.iin", bare) == number
    assert read("identity.iin", float(number)) == number
    assert read("identity.iin", int(number)) == number
    assert read("identity.iin", f"'{number[:6]} {number[6:]}") == number


@given(IINS, st.integers(0, 11))
def test_a_forgotten_digit_is_never_made_up(number: str, at: int) -> None:
    short = number[:at] + number[at + 1 :]
    try:
        found = iin(short)
    except Wrong as wrong:
        assert wrong.code == "iin_wrong"
    else:
        assert found == "0" + short
        assert check_iin(found)
        assert "00" < found[2:4] <= "12"


def test_a_shortened_iin_is_told_of() -> None:
    assert read("identity.iin", "9.00101E+11") == "!iin_shortened"
    assert read("identity.iin", "9,00101E+11") == "!iin_shortened"


PHONES = st.from_regex(r"(\+7|7|8|)7(0[0-25-8]|47|7[1-8])[0-9]{7}", fullmatch=True)
MARKS = st.sampled_from(["", " ", "-", " (", ") "])


@given(PHONES, st.lists(MARKS, min_size=12, max_size=12))
def test_phones_that_are_read_by_hand_are_read_as_by_the_model(number: str, marks: list[str]) -> None:
    assert read(PHONE, number) == check_phone(number)
    head = 2 if number.startswith("+") else 0
    rest = number[head:]
    written = number[:head] + "".join(mark + digit for mark, digit in zip(marks, rest, strict=False))
    assert read(PHONE, written) == check_phone(number)


@given(st.decimals(min_value=0, max_value=10**15, places=2))
def test_sums_keep_their_value_however_they_are_written(amount: Decimal) -> None:
    for written in (f"{amount:f}", f"{amount:f}".replace(".", ","), f"{amount:,f}", f"{amount:,f}".replace(",", " ")):
        found = read(SUM, written)
        assert isinstance(found, str)
        assert Decimal(found) == amount


@given(st.text(max_size=40), st.sampled_from(sorted(READABLE)))
def test_any_text_is_read_or_told_of(cell: str, path: str) -> None:
    try:
        found = parser_of(path, TODAY)[0](cell) if cell else None
    except Wrong as wrong:
        assert diagnosis(cell, wrong.code) in MESSAGES
    else:
        assert found is None or isinstance(found, str | int)


@given(st.text(max_size=60))
def test_no_text_that_is_read_runs_or_controls(cell: str) -> None:
    try:
        found = parser_of(NAME, TODAY)[0](cell) if cell else None
    except Wrong:
        return
    if found is not None:
        assert isinstance(found, str)
        assert not found.startswith(("=", "@", "＝", "＠", "\t", "\r"))
        assert not any(ord(char) < 32 or ord(char) == 127 for char in found)
        assert 0 < len(found) <= 500


def test_every_message_is_in_three_languages_and_names_no_other_placeholder() -> None:
    for code, words in MESSAGES.items():
        for sentence in (words.ru, words.kk, words.en):
            assert ("{row}" in sentence) == (code == "duplicate_subject")
            assert sentence.count("{") <= 1


def test_the_documentation_names_every_code() -> None:
    text = (ROOT / "docs/registers.md").read_text()
    assert set(MESSAGES) <= set(re.findall(r"`([a-z0-9_]+)`", text))
