"""Names of people as they are compared: one person is never two by a way of writing."""

from __future__ import annotations

import re
import unicodedata

_ALIKE = (
    "aаαә", "bвβь", "cсϲ", "dԁ", "eеεє", "gɡ", "hнһηnңνvѵ", "il1іιıӏǀ", "jјϳ", "kкκқ", "mмμ", "oоοөσ0",
    "pрρ", "qԛ", "rгғ", "sѕ", "tтτ", "uυyуγүұ", "wԝω", "xхχҳ", "zζ", "з3",
)  # fmt: skip
"""Letters of which some form is taken for another's, or stands for it: Latin, Cyrillic, Greek and digits.

Capitals and small letters are one, so that what is alike in either is alike: Greek nu is N when large, v when small.
"""
_FIRST = str.maketrans({letter: alike[0] for alike in _ALIKE for letter in alike[1:]})


def skeleton(name: str) -> str:
    """What is left of a name without its capitals, accents (ё), look-alike letters, spaces, punctuation and order.

    It takes more people for one than there are, and never tells what a name alone cannot: that two names are of one
    person who goes by both. Names that are parted into other words have others: `may_be_one` holds those together.
    """
    return "".join(_words(name))


def may_be_one(one: str, other: str) -> bool:
    """Whether both names, their words in some order, read alike: `Nur-Ali Kim` and `Kim Nurali`, `K im` and `Kim`."""
    words, others = _words(one), _words(other)
    if words == others or sorted("".join(words)) != sorted("".join(others)):
        return words == others
    return _Reading().is_alike(words, others, "")


def _words(name: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    bare = "".join(letter for letter in plain if not is_unseen(letter) and not unicodedata.combining(letter))
    return sorted(re.findall(r"[^\W_]+", bare.casefold().translate(_FIRST)))


class _Reading:
    """Whether words in some order read as others in some; names that take too long to tell are taken for one."""

    def __init__(self) -> None:
        self._left = 10_000

    def is_alike(self, words: list[str], others: list[str], begun: str) -> bool:
        """Whether `begun` and then the words read as the others."""
        self._left -= 1
        if self._left < 0 or (not begun and not words and not others):
            return True
        if not begun:
            return any(self.is_alike(_without(words, word), others, word) for word in dict.fromkeys(words))
        return any(
            self.is_alike(words, _without(others, word), begun[len(word) :])
            if begun.startswith(word)
            else self.is_alike(_without(others, word), words, word[len(begun) :])
            for word in dict.fromkeys(others)
            if begun.startswith(word) or word.startswith(begun)
        )


def _without(words: list[str], word: str) -> list[str]:
    at = words.index(word)
    return [*words[:at], *words[at + 1 :]]


class Named(str):
    """A person's name as it is entered, with the account that it is of: names change, and are others' too."""

    __slots__ = ("account",)
    account: str | None

    def __new__(cls, name: str, account: str | None) -> Named:
        named = super().__new__(cls, name)
        named.account = account
        return named


def who(person: str | None) -> dict[str, str | None]:
    """A person as an entry names them: with the account, where there is one."""
    account = person.account if isinstance(person, Named) else None
    return {"person": None if person is None else str(person)} | ({} if account is None else {"account": account})


_UNSEEN = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)))
)


def is_unseen(letter: str) -> bool:
    """Whether it formats, breaks lines or is shown as nothing (Default_Ignorable_Code_Point of UAX 44)."""
    return (
        unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        or letter in _UNSEEN
        or 0xE0000 <= ord(letter) <= 0xE0FFF  # tags and further selectors, the unassigned among them too
        or 0xFFF0 <= ord(letter) <= 0xFFF8
        or letter == "\u2065"
    )
