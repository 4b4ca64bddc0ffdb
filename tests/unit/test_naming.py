"""Names as they are compared, and characters that nobody sees."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from qaqpa.errors import InvalidRequest
from qaqpa.model.naming import is_unseen, may_be_one, skeleton
from qaqpa.model.open_text import check_open_text

ONE_PERSON = {
    "a missing space": ("И. Петров", "И.Петров"),
    "no space at all": ("Anna-Maria", "AnnaMaria"),
    "other capitals": ("И. Петров", "и. ПЕТРОВ"),
    "word order": ("И. Петров", "Петров И."),
    "ё and е": ("Пётр Королёв", "Петр Королев"),
    "ё of two code points": ("Пётр", "Пе\u0308тр"),
    "an accent": ("Анна", "А\u0301нна"),
    "Kazakh letters": ("Қанат Ұлы Өмірбек", "Канат Улы Омірбек"),
    "Cyrillic for Latin": ("Anna Hope", "Аnnа Норе"),
    "Greek capitals": ("Anna Nikk", "ΑNΝΑ ΝΙΚΚ"),
    "Greek small letters": ("Vova Popov", "νονa ρορον"),
    "Greek for Cyrillic": ("Анна Попов", "Αнна Пοπов".replace("π", "п")),
    "a capital I for an l": ("Alla Kim", "AIIa Kim"),
    "a one for an l": ("Alla Kim", "A1la Kim"),
    "a palochka": ("Alla Kim", "A\u04cfl\u0430 Kim"),
    "a large palochka": ("Ivan Kim", "\u04c0van Kim"),
    "a wide letter": ("Anna", "Ａｎｎａ"),
    "a zero": ("Oleg", "0leg"),
    "another dash": ("Anna-Maria", "Anna\u2011Maria"),
    "a no-break space": ("Anna Kim", "Anna\u00a0Kim"),
    "an unseen space": ("И.Петров", "И.Пет\u200bров"),
    "a soft hyphen": ("И. Петров", "И. Пет\u00adров"),
    "a word joiner": ("И. Петров", "И. \u2060Петров"),
    "a variation selector": ("И. Петров", "И. Петров\ufe0f"),
    "an override": ("И. Петров", "\u202eИ. Петров"),
}


@pytest.mark.parametrize(("one", "other"), ONE_PERSON.values(), ids=ONE_PERSON)
def test_one_person_has_one_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)
    assert may_be_one(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Нур-Али Сеит", "Нурали Сеит"),
        ("Нурали Сеит", "Сеит Нур Али"),
        ("O'Neil Ann", "Ann ONeil"),
        ("Anna Kim", "KimAnna"),
        ("Anna Kim", "Anna K im"),
        ("Anna Kim", "k i m a n n a"),
        ("Anna Maria Kim", "MariaKim An-na"),
        ("Юлия Ким", "Ю лия К. им"),
        ("!", "—"),
    ],
)
def test_one_person_is_not_two_by_other_words(one: str, other: str) -> None:
    assert may_be_one(one, other) and may_be_one(other, one)


def test_names_that_take_too_long_to_tell_apart_are_one_persons() -> None:
    assert not may_be_one("ab a cd", "ba a dc")
    assert may_be_one(" ".join(["ab", "a"] * 30 + ["cd"]), " ".join(["ba", "a"] * 30 + ["dc"]))


def test_people_whose_names_have_the_same_letters_are_two() -> None:
    for one, other in (
        ("Иван Петров", "Пётр Иванов"),
        ("Асан Нурланов", "Нурлан Асанов"),
        ("Марина Ким", "Ирамна Ким"),
    ):
        assert not may_be_one(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("И. Петров", "И. Петрова"), ("Anna", "Boris"), ("Иван Петров", "Пётр Иванов"), ("А. Ким", "Б. Ким")],
)
def test_two_people_have_two(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)
    assert not may_be_one(one, other)


UNSEEN = [
    "\u200b", "\u200d", "\u00ad", "\u2060", "\ufe0f", "\u202e", "\u2066", "\u061c", "\ufeff", "\u2028", "\u034f",
    "\u3164", "\u115f", "\u180b", "\u180e", "\U000e0101", "\U000e0041", "\U000e0fff", "\u2065", "\x00", "\x7f",
    "\x85", "\n", "\t", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("letter", UNSEEN, ids=lambda letter: f"U+{ord(letter):04X}")
@pytest.mark.parametrize("what", ["person", "reason", "instrument"])
def test_what_nobody_sees_does_not_stand_in_the_open(letter: str, what: str) -> None:
    for text in (f"И. Пет{letter}ров", f"{letter}Anna", f"Anna{letter}"):
        with pytest.raises(InvalidRequest, match=f"{what}: 1 to 200 visible"):
            check_open_text(**{what: text})


def test_every_formatting_character_is_unseen_and_what_people_write_is_not() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    assert not [each for each in every if unicodedata.category(each) == "Cf" and not is_unseen(each)]
    for text in ("И. Петров", "Әлия Қ.", "O’Brien, «head» – № 5, §7.1(3)", "Ünal\u00a0B.", "Пе\u0308тр"):
        check_open_text(person=text, reason=text, instrument=text)
