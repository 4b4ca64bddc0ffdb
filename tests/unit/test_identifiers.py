"""Identifiers: what a check digit notices and what it cannot, and that no message repeats the number."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from qaqpa.errors import InvalidRequest
from qaqpa.model.consent import ConsentingPerson
from qaqpa.model.identifiers import (
    Slug,
    check_bin,
    check_digit,
    check_iban,
    check_iin,
    check_phone,
    iin_warnings,
    uuid7,
)
from qaqpa.model.request import parse

PERSONS_ELEVEN = st.from_regex(r"[0-9]{4}[0-3][0-9]{6}", fullmatch=True)
FIRMS_ELEVEN = st.from_regex(r"[0-9]{4}[4-6][0-9]{6}", fullmatch=True)
FIRST, SECOND = tuple(range(1, 12)), (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2)
LAST_SERIAL_DIGIT = 10
"""Its first weight is 11, which is nothing modulo 11."""


def remainder(eleven: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(eleven, weights, strict=True)) % 11


# --- check digits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eleven", "digit"),
    [
        pytest.param("95010130012", 5, id="first weights suffice"),
        pytest.param("00000000000", 0, id="nothing but noughts"),
        pytest.param("95010130070", 7, id="first weights give 10, the second 7"),
        pytest.param("95010130072", 0, id="first weights give 10, the second 0"),
        pytest.param("95010130077", None, id="both weights give 10: never issued"),
        pytest.param("05010150019", None, id="never issued in this century either"),
        pytest.param("23034000001", 7, id="a legal person's"),
    ],
)
def test_the_check_digit_of_known_numbers(eleven: str, digit: int | None) -> None:
    assert check_digit(eleven) == digit


def test_the_second_weights_are_used_only_when_the_first_give_ten() -> None:
    eleven = "95010130070"
    assert remainder(eleven, FIRST) == 10
    assert remainder(eleven, SECOND) == 7
    assert check_iin(eleven + "7") == "950101300707"
    with pytest.raises(ValueError, match="check digit"):
        check_iin(eleven + "0")


@given(PERSONS_ELEVEN)
def test_an_iin_with_its_check_digit_is_returned_as_it_is(eleven: str) -> None:
    digit = check_digit(eleven)
    assume(digit is not None)
    assert check_iin(f"{eleven}{digit}") == f"{eleven}{digit}"


@given(PERSONS_ELEVEN, st.sampled_from("0123456789"))
def test_any_other_check_digit_is_refused(eleven: str, digit: str) -> None:
    assume(digit != str(check_digit(eleven)))
    with pytest.raises(ValueError, match="check digit"):
        check_iin(eleven + digit)


@given(PERSONS_ELEVEN, st.integers(0, 9).filter(lambda place: place != 4), st.integers(1, 9))
def test_one_wrong_digit_among_the_first_ten_is_noticed_while_the_first_weights_decide(
    eleven: str, place: int, added: int
) -> None:
    wrong = eleven[:place] + str((int(eleven[place]) + added) % 10) + eleven[place + 1 :]
    assume(remainder(eleven, FIRST) != 10 and remainder(wrong, FIRST) != 10)
    with pytest.raises(ValueError, match="check digit"):
        check_iin(f"{wrong}{check_digit(eleven)}")


def test_what_the_scheme_cannot_notice_is_known() -> None:
    """So nobody may rely on a check digit to tell two persons apart: the reply's IIN is compared whole."""
    eleven = "95010130012"
    neighbours = {check_digit(eleven[:LAST_SERIAL_DIGIT] + last) for last in "0123456789"}
    assert neighbours == {5}, "the last digit of the serial number has weight 11, so any error in it passes"
    # One error can also lead from numbers that the first weights decide to numbers that the second decide.
    assert check_iin("700991392691")
    assert check_iin("700991392641")


@pytest.mark.parametrize("number", ["950101300770", "950101300779"])
def test_a_number_that_is_never_issued_is_refused_whatever_its_check_digit(number: str) -> None:
    assert check_digit(number[:11]) is None
    with pytest.raises(ValueError, match="check digit"):
        check_iin(number)


# --- IIN and BIN -----------------------------------------------------------------------------------

IIN, BIN = "950101300125", "230340000017"


@pytest.mark.parametrize("kind", "456")
def test_the_fifth_digit_tells_a_legal_person_from_a_person(kind: str) -> None:
    eleven = f"9501{kind}000001"
    number = f"{eleven}{check_digit(eleven)}"
    assert check_bin(number) == number
    with pytest.raises(ValueError, match="this is a BIN"):
        check_iin(number)


def test_a_persons_number_is_no_firms() -> None:
    with pytest.raises(ValueError, match="this is an IIN"):
        check_bin(IIN)


@given(FIRMS_ELEVEN)
def test_a_bin_with_its_check_digit_is_returned_as_it_is(eleven: str) -> None:
    digit = check_digit(eleven)
    assume(digit is not None)
    assert check_bin(f"{eleven}{digit}") == f"{eleven}{digit}"


NOT_NUMBERS = {
    "empty": "",
    "eleven digits": IIN[:11],
    "thirteen digits": IIN + "0",
    "letters": "95010130012O",
    "spaces inside": "950101 300125",
    "a sign": "+95010130012",
    "Arabic digits": "٩٥٠١٠١٣٠٠١٢٥",
    "full-width digits": "９５０１０１３００１２５",
    "superscripts": "95010130012²",
    "a line break after it": IIN + "\n",
}


@pytest.mark.parametrize("check", [check_iin, check_bin])
@pytest.mark.parametrize("text", NOT_NUMBERS.values(), ids=NOT_NUMBERS.keys())
def test_anything_but_twelve_plain_digits_is_refused(check: Callable[[str], str], text: str) -> None:
    with pytest.raises(ValueError, match=r"must be 12 digits"):
        check(text)


def _sentences(check: Callable[[str], object]) -> Iterator[str]:
    """What is said of texts that have nothing in common with any other."""
    for text in ("", "\x00", "\x00" * 12, "\x00" * 20, "000000000000", "KZ000000000000000000", "+70000000000"):
        try:
            check(text)
        except ValueError as error:
            yield str(error)


@given(st.text(max_size=14))
def test_no_text_makes_the_checks_fail_in_another_way(text: str) -> None:
    for check in (check_iin, check_bin, check_iban, check_phone):
        try:
            check(text)
        except ValueError as error:
            # A piece of a sentence that is said of other texts too ("chec") tells nothing of this one.
            assert len(text) < 4 or text not in str(error) or any(text in said for said in _sentences(check))


@pytest.mark.parametrize(
    ("eleven", "warning"),
    [
        pytest.param("95010130001", (), id="a man of the 20th century"),
        pytest.param("05022950001", ("the birth date in it does not exist",), id="29 February of a common year"),
        pytest.param("04022950001", (), id="29 February of a leap year"),
        pytest.param("00022930001", ("the birth date in it does not exist",), id="29 February 1900"),
        pytest.param("00022950001", (), id="29 February 2000"),
        pytest.param("95130130001", ("the birth date in it does not exist",), id="a thirteenth month"),
        pytest.param("95010030001", ("the birth date in it does not exist",), id="day nought"),
        pytest.param("95010170001", ("the century and sex digit is not 1-6",), id="sex digit 7"),
        pytest.param("95010100001", ("the century and sex digit is not 1-6",), id="sex digit 0"),
    ],
)
def test_what_is_odd_about_an_iin_is_a_warning_and_no_error(eleven: str, warning: tuple[str, ...]) -> None:
    iin = check_iin(f"{eleven}{check_digit(eleven)}")
    assert iin_warnings(iin) == warning


@pytest.mark.parametrize(
    ("check", "number"),
    [
        pytest.param(check_iin, "950101300126", id="IIN, wrong check digit"),
        pytest.param(check_iin, BIN, id="BIN for an IIN"),
        pytest.param(check_iin, "9501013001255", id="IIN with a digit too many"),
        pytest.param(check_bin, "230340000018", id="BIN, wrong check digit"),
        pytest.param(check_bin, IIN, id="IIN for a BIN"),
        pytest.param(check_iban, "KZ00125KZT5004100100", id="IBAN, wrong check digits"),
        pytest.param(check_iban, "DE89370400440532013000", id="IBAN of another country"),
        pytest.param(check_phone, "+7701123456", id="phone, a digit short"),
    ],
)
def test_an_error_never_repeats_the_number(check: Callable[[str], str], number: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        check(number)
    digits = re.sub(r"\D", "", number)
    assert digits not in str(caught.value)
    assert digits[4:] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_nor_does_the_error_of_a_whole_document() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(ConsentingPerson, {"iin": "950101300126"})
    assert str(caught.value) == "iin: IIN has a wrong check digit: look for a typing error"


# --- accounts and phones ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("KZ86125KZT5004100100", "KZ86125KZT5004100100"),
        ("KZ86 125K ZT50 0410 0100", "KZ86125KZT5004100100"),
        ("kz86125kzt5004100100", "KZ86125KZT5004100100"),
    ],
)
def test_an_account_is_kept_in_compact_form(text: str, account: str) -> None:
    assert check_iban(text) == account


@pytest.mark.parametrize("text", ["", "KZ", "KZ00125KZT5004100100", "KZ86125KZT500410010", "DE89370400440532013000"])
def test_what_is_no_kazakh_account_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="IBAN"):
        check_iban(text)


PHONES = {
    "mobile with +7": ("+77011234567", "+77011234567"),
    "mobile with 8": ("87011234567", "+77011234567"),
    "mobile with 7": ("77011234567", "+77011234567"),
    "mobile without either": ("7011234567", "+77011234567"),
    "mobile as people write it": ("8 (701) 123-45-67", "+77011234567"),
    "landline in Almaty": ("8 727 250 10 10", "+77272501010"),
    "landline in Astana": ("+7 (7172) 12-34-56", "+77172123456"),
    "landline in a small town": ("8 72839 2 12 34", "+77283921234"),
    "landline with an extension": ("+7 727 250 10 10 ext. 5", "+77272501010"),
    "free call": ("8 800 080 80 80", "+78000808080"),
    "Russian, of the same country code": ("+79161234567", "+79161234567"),
    "of another country": ("+998901234567", "+998901234567"),
}


@pytest.mark.parametrize(("text", "phone"), PHONES.values(), ids=PHONES.keys())
def test_a_phone_is_kept_in_e164(text: str, phone: str) -> None:
    assert check_phone(text) == phone
    assert check_phone(phone) == phone


@given(st.from_regex(r"7(1|2)[0-9]{8}", fullmatch=True))
def test_a_landline_of_kazakhstan_is_never_refused(number: str) -> None:
    assert check_phone(f"8{number}") == check_phone(f"+7{number}") == f"+7{number}"


NOT_PHONES = ["", "abc", "12", "123456", "+7701123456", "+770112345678", "1-800-FLOWERS", "+", "+7", "0" * 300]


@pytest.mark.parametrize("text", NOT_PHONES)
def test_what_cannot_be_a_phone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it as \+7 and ten digits"):
        check_phone(text)


@pytest.mark.parametrize("text", ["2501010", "250-10-10", "1234567"])
def test_a_number_without_its_area_code_is_refused_rather_than_made_into_another(text: str) -> None:
    # +72501010 is nobody's number: it has three digits too few to be E.164 of any country with code 7.
    with pytest.raises(ValueError, match=r"write it as \+7 and ten digits"):
        check_phone(text)


# --- names and ids of our own ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["loan-scoring", "credit_report", "a", "x1", "a1-b2_c3", "a" * 64])
def test_a_name_of_ours(text: str) -> None:
    assert TypeAdapter(Slug).validate_python(text) == text


@pytest.mark.parametrize("text", ["", "A", "1a", "-a", "a-", "a--b", "a b", "a.b", "à", "a\n", "a/../b", "a" * 65])
def test_no_name_of_ours(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Slug).validate_python(text)


def test_an_id_is_a_uuid_of_version_7_and_the_standards_variant() -> None:
    for _ in range(200):
        parsed = uuid.UUID(text := uuid7())
        assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, text)


def test_an_id_begins_with_its_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    stamped = uuid.UUID(uuid7()).int >> 80
    assert before <= stamped <= time.time_ns() // 1_000_000


def test_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    made = []
    for step in range(50):
        monkeypatch.setattr(time, "time_ns", lambda step=step: now + step * 250)
        made.append(uuid7())
    assert made == sorted(made)


def test_ids_of_one_instant_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_760_000_000_000_000_000)
    made = {uuid7() for _ in range(5_000)}
    assert len(made) == 5_000
    assert len({text[:18] for text in made}) == 1
