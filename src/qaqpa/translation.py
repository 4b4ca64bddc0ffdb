"""Texts for people in Russian, Kazakh and English: gettext catalogues, one for each domain and language.

English stands in the code and is what is looked up; `locale/<language>/LC_MESSAGES/<domain>.po` say the same in the
other two. What a catalogue lacks is said in English, and fails a test. Dates and numbers are written as the language
writes them. Holds no text itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from gettext import c2py
from pathlib import Path
from typing import get_args

from babel.dates import format_date, format_datetime
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from qaqpa.model.words import Language

LOCALE = Path(__file__).parent / "locale"
SOURCE: Language = "en"
"""The language of the texts in the code."""
LANGUAGES: tuple[Language, ...] = get_args(Language)

_Key = tuple[str | None, str]
"""Context and text."""


def N_(text: str) -> str:  # noqa: N802 - gettext's own name, which its tools look for
    """Marks a text that is looked up elsewhere, so that it is found when catalogues are made."""
    return text


@dataclass(frozen=True, slots=True)
class Translator:
    """One domain in one language. Its `gettext`, `ngettext` and `pgettext` fit Jinja's `install_gettext_callables`."""

    domain: str
    language: Language
    _texts: Mapping[_Key, tuple[str, ...]]
    _plural: Callable[[int], int]

    def gettext(self, text: str, /, **values: object) -> str:
        """`text` in this language; `%(name)s` in it are filled where values are given."""
        return self.pgettext(None, text, **values)

    def pgettext(self, context: str | None, text: str, /, **values: object) -> str:
        """The same for a text that means several things, told apart by `context`."""
        found = self._texts.get((context, text), (text,))[0] or text
        return found % values if values else found

    def ngettext(self, one: str, many: str, count: int, /, **values: object) -> str:
        """The form that goes with `count`, which stands in it as `%(count)s` where values are given."""
        forms = self._texts.get((None, one))
        chosen = self._plural(count)
        found = (one if count == 1 else many) if forms is None or chosen >= len(forms) else forms[chosen]
        return found % values if values else found

    def counted(self, one: str, many: str, count: int, /, **values: object) -> str:
        """`ngettext` with `%(count)s` filled in as this language writes numbers."""
        return self.ngettext(one, many, count, count=self.number(count), **values)

    def day(self, value: date) -> str:
        """3 November 2026."""
        pattern = "d MMMM y" if self.language == "en" else "long"
        return format_date(value, pattern, locale=self.language)

    def short_day(self, value: date) -> str:
        """3 Nov 2026."""
        return format_date(value, "d MMM y" if self.language == "en" else "medium", locale=self.language)

    def day_and_month(self, value: date) -> str:
        """3 Nov."""
        return _day_and_month(value, self.language)

    def month(self, value: date) -> str:
        """November 2026."""
        return format_date(value, "LLLL y", locale=self.language)

    def moment(self, value: datetime, zone: tzinfo, *, seconds: bool = False) -> str:
        """3 Nov 2026, 09:05, by the clock of `zone`; 09:05:59 with seconds."""
        pattern = ("y 'ж'. d MMM, HH:mm" if self.language == "kk" else "d MMM y, HH:mm") + ":ss" * seconds
        return format_datetime(value.astimezone(zone), pattern, locale=self.language)

    def number(self, value: int | Decimal) -> str:
        """1 234 567."""
        return _number(value, self.language)


# A page of a year's figures writes the same numbers and days again and again.
@lru_cache(maxsize=4_096, typed=True)
def _number(value: int | Decimal, language: Language) -> str:
    return format_decimal(value, locale=language)


@lru_cache(maxsize=4_096)
def _day_and_month(value: date, language: Language) -> str:
    return format_date(value, "d MMM", locale=language)


_TAGS: Mapping[str, Language] = {"ru": "ru", "kk": "kk", "kz": "kk", "en": "en"}
_LONGEST_HEADER = 200


def accepted_language(header: str, default: Language) -> Language:
    """Of the three, the one that an Accept-Language header likes best (RFC 9110 §12.5.4)."""
    best, found = 0.0, default
    for part in header[:_LONGEST_HEADER].split(","):
        tag, _, weight = part.strip().partition(";q=")
        known = _TAGS.get(tag.split("-")[0].lower())
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if known is not None and best < quality <= 1.0:
            best, found = quality, known
    return found


@lru_cache
def translator(domain: str, language: Language) -> Translator:
    """The texts of `domain` in `language`; read once."""
    if language == SOURCE:
        return Translator(domain, language, {}, lambda count: int(count != 1))
    catalogue = read(domain, language)
    texts = {key: forms for key, forms in _forms(catalogue) if all(forms)}
    return Translator(domain, language, texts, c2py(catalogue.plural_expr))


def read(domain: str, language: Language) -> Catalog:
    """The catalogue as it lies in its file."""
    with (LOCALE / language / "LC_MESSAGES" / f"{domain}.po").open("rb") as file:
        return read_po(file, locale=language, domain=domain, abort_invalid=True)


def _forms(catalogue: Catalog) -> Iterator[tuple[_Key, tuple[str, ...]]]:
    for message in catalogue:
        if message.id and not message.fuzzy:
            text = message.id if isinstance(message.id, str) else message.id[0]
            forms = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
            yield (message.context, text), forms
