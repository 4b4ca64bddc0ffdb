"""From the text of a cell to the value of a field, in the form in which a request holds it as JSON.

Sums are decimal text, days ISO 8601, phones E.164, an IIN twelve digits. Each parser takes text that is not empty, and
returns the value, or None where it says "nothing" (a lone dash), or raises `Wrong` with the code of the problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from qaqpa.model.identifiers import check_bin, check_iban, check_phone, iin_warnings
from qaqpa.model.vocabulary import VOCABULARY, Phase, Residency, Sex
from qaqpa.tables.headings import FACTS
from qaqpa.tables.problems import Wrong
from qaqpa.tables.text import EDGES, NOTHING, SUSPECT, bare_of, text

Value = str | int | bool
Parser = Callable[[str], Value | None]
Chosen = TypeVar("Chosen")

# --- numbers of persons ---------------------------------------------------------------------------------------

_SHORTENED = re.compile(r"\d(?:[.,]\d+)?[eE]\+?1[01]")
_FEWEST_DIGITS = 9
"""Of an IIN whose zeros were lost: 000101… of the first of January 2000 lost three."""


def iin(cell: str) -> str | None:
    """Twelve digits. Zeros that a spreadsheet took from its front are put back where check digit and date prove it."""
    if len(cell) == 12 and cell.isascii() and cell.isdigit() and _is_iin(cell):
        return cell
    bare = bare_of(cell)
    if not bare:
        return None
    if _SHORTENED.fullmatch(bare):
        raise Wrong("iin_shortened")
    digits = bare.removesuffix(".0")
    if digits.isascii() and digits.isdigit() and _FEWEST_DIGITS <= len(digits) <= 12:
        whole = digits.zfill(12)
        if whole[4] in "456" and len(digits) == 12:
            raise Wrong("iin_is_bin")
        # A number with a digit forgotten passes the check digit once in eleven: the date must be one as well.
        if _is_iin(whole) and (len(digits) == 12 or not iin_warnings(whole)):
            return whole
    raise Wrong("iin_wrong")


def _is_iin(twelve: str) -> bool:
    """As `identifiers.check_iin`, unrolled: it runs for every row."""
    a, b, c, d, e, f, g, h, i, j, k, last = twelve.encode()
    if 52 <= e <= 54:  # 4 to 6: a BIN
        return False
    # 48 is the code of "0"; the weights of both sums add up to 66, a multiple of 11, so it falls out.
    rest = (a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k) % 11
    if rest == 10:
        rest = (3 * a + 4 * b + 5 * c + 6 * d + 7 * e + 8 * f + 9 * g + 10 * h + 11 * i + j + 2 * k) % 11
    return rest == last - 48


def bin_number(cell: str) -> str | None:
    """Twelve digits of a legal person; zeros lost from its front are put back where the check digit proves it."""
    bare = bare_of(cell).removesuffix(".0")
    try:
        return check_bin(bare.zfill(12) if len(bare) >= _FEWEST_DIGITS else bare) if bare else None
    except ValueError:
        raise Wrong("bin_wrong") from None


def account(cell: str) -> str | None:
    """A Kazakh IBAN, compact."""
    bare = bare_of(cell)
    try:
        return check_iban(bare) if bare else None
    except ValueError:
        raise Wrong("account_wrong") from None


_E164 = re.compile(r"\+7[67][0-9]{9}")
_WRITTEN = re.compile(r"(?:\+7|7|8)[ -]?\(?([67][0-9]{2})\)?[ -]?([0-9]{3})[ -]?([0-9]{2})[ -]?([0-9]{2})", re.ASCII)
_MOBILE = re.compile(r"(?:\+?7|8)?([67][0-9]{9})")
_PUNCTUATION = str.maketrans("", "", " ()-.\xa0\t'‑–")
_PHONE = re.compile(r"\+?[0-9]{5,15}")


def phone(cell: str) -> str | None:
    """One number in E.164. Forms of +7, 8 and ten digits are read here; whatever else phonenumbers reads."""
    if _E164.fullmatch(cell):
        return cell
    found = _WRITTEN.fullmatch(cell)
    if found is not None:
        return "+7" + "".join(found.groups())
    bare = cell.translate(_PUNCTUATION).removesuffix(".0")
    found = _MOBILE.fullmatch(bare)
    if found is not None:
        return f"+7{found[1]}"
    if not bare or NOTHING.fullmatch(bare):
        return None
    # An extension, letters or a second number would be dropped in silence.
    if not _PHONE.fullmatch(bare):
        raise Wrong("phone_malformed")
    try:
        return check_phone(bare)
    except ValueError:
        raise Wrong("phone_malformed") from None


_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\.[^@\s.\x00-\x1f\x7f]+")


def email(cell: str) -> str | None:
    """An address of at most 254 characters, of the form that the vocabulary asks for."""
    bare = EDGES.sub("", cell)
    if not bare or NOTHING.fullmatch(bare):
        return None
    if len(bare) > 254 or not _EMAIL.fullmatch(bare) or bare[0] in SUSPECT or "," in bare or ";" in bare:
        raise Wrong("email_malformed")
    return bare


_SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256(cell: str) -> str | None:
    """64 hexadecimal characters in lower case."""
    bare = bare_of(cell).lower()
    if bare and not _SHA256.fullmatch(bare):
        raise Wrong("sha256_malformed")
    return bare or None


# --- sums and numbers -----------------------------------------------------------------------------------------

_PLAIN = re.compile(r"(?:0|[1-9][0-9]{0,15})(?:[.,][0-9]{1,2})?")
_SPACED = re.compile(r"[1-9][0-9]{0,2}(?:[ \xa0\u202f][0-9]{3}){1,4}(?:[.,][0-9]{1,2})?")
_POINTED = str.maketrans(",", ".", " \xa0\u202f")
_CURRENCY = re.compile(r"(?:₸|тенге|теңге|тг\.?|kzt)$", re.IGNORECASE)
_SUM = re.compile(r"(-?)0*([0-9]{1,16})(?:[.,]([0-9]+))?")
_GROUPED = re.compile(r"(-?)([0-9]{1,3}(?:([.,'’])[0-9]{3})+)(?:(?!\3)[.,]([0-9]{1,2}))?")


def money(cell: str) -> str | None:
    """A sum in tenge as decimal text with a point: `12 500,50 тг` is `12500.50`. Never negative."""
    if _PLAIN.fullmatch(cell):
        return cell.replace(",", ".")
    if _SPACED.fullmatch(cell):
        return cell.translate(_POINTED)
    bare = _CURRENCY.sub("", bare_of(cell).replace("−", "-"))
    if not bare:
        return None
    found = _SUM.fullmatch(bare)
    if found is None:
        return _grouped(bare)
    sign, whole, part = found.groups()
    if part is not None and len(part) > 2:
        part = _two_decimals(bare, part)
    amount = f"{whole}.{part}" if part else whole
    if sign and amount.strip("0."):
        raise Wrong("amount_negative")
    return amount


def _two_decimals(bare: str, part: str) -> str:
    if part[2:].strip("0") == "" and len(part) != 3:
        return part[:2]
    # Three digits may be thousands or thousandths.
    raise Wrong("amount_ambiguous" if len(part) == 3 and not bare.lstrip("-").startswith("0") else "amount_fractions")


def _grouped(bare: str) -> str:
    found = _GROUPED.fullmatch(bare)
    if found is None:
        raise Wrong("amount_unreadable")
    sign, grouped, mark, part = found.groups()
    if part is None and grouped.count(mark) == 1 and mark in ".,":
        raise Wrong("amount_ambiguous")
    if sign:
        raise Wrong("amount_negative")
    whole = grouped.replace(mark, "").lstrip("0") or "0"
    if len(whole) > 16:
        raise Wrong("amount_unreadable")
    return f"{whole}.{part}" if part else whole


_RATE = re.compile(r"0*([0-9]{1,6})(?:[.,]([0-9]{1,6}))?%?")


def rate(cell: str) -> str | None:
    """Per cent a year, with at most six decimals."""
    bare = bare_of(cell)
    if not bare:
        return None
    found = _RATE.fullmatch(bare)
    if found is None:
        raise Wrong("rate_unreadable")
    return f"{found[1]}.{found[2]}" if found[2] else found[1]


_COUNT = re.compile(r"[0-9]{1,9}")


def count(cell: str) -> int | None:
    """A whole number from 0 to 999,999,999."""
    if not _COUNT.fullmatch(cell):
        cell = bare_of(cell).removesuffix(".0").removesuffix(",0")
        if not cell:
            return None
        if not _COUNT.fullmatch(cell):
            raise Wrong("number_unreadable")
    return int(cell)


# --- choices --------------------------------------------------------------------------------------------------

_SEXES = {
    **dict.fromkeys(("м", "муж", "мужской", "мужчина", "е", "ер", "еркек", "m", "male"), Sex.MALE.value),
    **dict.fromkeys(("ж", "жен", "женский", "женщина", "ә", "әйел", "f", "female"), Sex.FEMALE.value),
}
_FLAGS = {
    **dict.fromkeys(("да", "иә", "ия", "yes", "true", "истина", "ақиқат", "1"), True),
    **dict.fromkeys(("нет", "жоқ", "no", "false", "ложь", "жалған", "0"), False),
}
_CURRENCIES = {"тг": "KZT", "тенге": "KZT", "теңге": "KZT", "₸": "KZT", "рубль": "RUB", "руб": "RUB"}


def sex(cell: str) -> str | None:
    """`male` or `female`."""
    return _chosen(cell, _SEXES)


def flag(cell: str) -> bool | None:
    """Yes or no."""
    return _chosen(cell, _FLAGS)


_PHASES = {
    **dict.fromkeys(("open", "открыт", "действует", "ашық"), "open"),
    **dict.fromkeys(("repaid", "погашен", "өтелген"), "repaid"),
    **dict.fromkeys(("repaid_early", "погашен досрочно", "мерзімінен бұрын өтелген"), "repaid_early"),
    **dict.fromkeys(("creditor_changed", "смена кредитора", "уступлен", "кредитор ауысты"), "creditor_changed"),
}
_RESIDENCIES = {
    "resident": "resident", "резидент": "resident", "non_resident": "non_resident", "non-resident": "non_resident",
    "нерезидент": "non_resident", "бейрезидент": "non_resident",
}  # fmt: skip


def phase(cell: str) -> str | None:
    """Where a contract stands in its life."""
    return _chosen(cell, _PHASES)


def residency(cell: str) -> str | None:
    """Where the person counts as resident."""
    return _chosen(cell, _RESIDENCIES)


def _matching(pattern: str) -> Parser:
    form = re.compile(pattern)

    def matched(cell: str) -> str | None:
        found = text(cell)
        if found is not None and not form.fullmatch(found):
            raise Wrong("choice_unknown")
        return found

    return matched


def _chosen(cell: str, among: Mapping[str, Chosen]) -> Chosen | None:
    bare = bare_of(cell).casefold().rstrip(".")
    if not bare:
        return None
    if bare not in among:
        raise Wrong("choice_unknown")
    return among[bare]


def currency(cell: str) -> str | None:
    """Three capital letters (ISO 4217)."""
    bare = bare_of(cell)
    if not bare:
        return None
    code = _CURRENCIES.get(bare.casefold().rstrip("."), bare.upper())
    if not re.fullmatch(r"[A-Z]{3}", code):
        raise Wrong("currency_unknown")
    return code


# --- days and times -------------------------------------------------------------------------------------------

_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ]0?0:00(?::00(?:\.0+)?)?)?", re.ASCII)
_LOCAL = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:\s*г\.?|[ ]0?0:00(?::00)?)?", re.ASCII)
FUTURE = frozenset({"contract.matures_on", "identity.document.expires_on", "employment.salary_date"})
"""Days that may lie ahead: maturity, a document's expiry, the next pay."""


def days(today: date, *, ahead: bool) -> Parser:
    """A parser of days; those after `today` are wrong unless `ahead`. `31.12.2025` and `2025-12-31` are read."""
    last = date.max if ahead else today

    def day(cell: str) -> str | None:
        found = _ISO.fullmatch(cell)
        if found is not None:
            year, month, number = found.groups()
        else:
            bare = EDGES.sub("", cell).removeprefix("'")
            if not bare or NOTHING.fullmatch(bare):
                return None
            found = _LOCAL.fullmatch(bare) or _ISO.fullmatch(bare)
            if found is None:
                raise Wrong("date_unreadable")
            if found.re is _ISO:
                year, month, number = found.groups()
            else:
                number, mark, month, year = found.groups()
                if mark == "/" and int(number) <= 12 and number != month:
                    raise Wrong("date_ambiguous")
        try:
            made = date(int(year), int(month), int(number))
        except ValueError:
            raise Wrong("date_impossible") from None
        if made > last:
            raise Wrong("date_in_future")
        if made.year < 1900:
            raise Wrong("date_too_old")
        return made.isoformat()

    return day


_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)?", re.ASCII)


def times(today: date) -> Parser:
    """A parser of times in ISO 8601, after none of which `today` ends anywhere on earth."""
    last = today + timedelta(days=1)

    def moment(cell: str) -> str | None:
        bare = EDGES.sub("", cell)
        if not bare or NOTHING.fullmatch(bare):
            return None
        if not _MOMENT.fullmatch(bare):
            raise Wrong("time_unreadable")
        try:
            made = datetime.fromisoformat(bare.upper())
        except ValueError:
            raise Wrong("time_unreadable") from None
        if made.date() > last:
            raise Wrong("date_in_future")
        if made.year < 1900:
            raise Wrong("date_too_old")
        return made.isoformat().replace("+00:00", "Z")

    return moment


# --- which field has which ------------------------------------------------------------------------------------

_BY_PATH: Mapping[str, Parser] = {
    "identity.iin": iin,
    "contact.email": email,
    "contact.mobile": phone,
    "contact.home_phone": phone,
    "contact.work_phone": phone,
    "related.mobile": phone,
    "bank.account": account,
    "employment.employer_bin": bin_number,
    "contract.currency": currency,
    "identity.citizenship": _matching(r"[A-Z]{2}"),
    "contact.registered_kato": _matching(r"[0-9]{9}"),
    "contact.residence_kato": _matching(r"[0-9]{9}"),
    "contract.rate": rate,
    "contract.effective_rate": rate,
    "offer.text_sha256": sha256,
}
_BY_TYPE: Mapping[type, Parser] = {
    str: text, int: count, Decimal: money, Sex: sex, Phase: phase, Residency: residency, bool: flag,
}  # fmt: skip
_FACT_TYPES = {"number": str, "days_overdue": int, "breach_notified_on": date, "cession": str}
TYPES: Mapping[str, type] = {
    **{str(path): field.type for path, field in VOCABULARY.items()},
    **{path: _FACT_TYPES.get(path.rpartition(".")[2], bool) for path in FACTS},
}
"""Type of every field and fact."""
_REPEATED = frozenset({date, int, bool, Sex, Phase, Residency})


def parser_of(path: str, today: date) -> tuple[Parser, bool]:
    """The parser of a field, and whether its values repeat so much that they are worth remembering."""
    kind = TYPES[path]
    repeats = kind in _REPEATED or path in ("contract.currency", "contract.rate", "contract.effective_rate")
    if kind is date:
        return days(today, ahead=path in FUTURE), repeats
    if kind is datetime:
        return times(today), repeats
    return _BY_PATH.get(path) or _BY_TYPE[kind], repeats
