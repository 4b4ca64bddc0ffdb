"""Cells as text, and what is wrong with text whatever field it stands in: formulas, control characters, length."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from qaqpa.tables.problems import Wrong


def text_of(cell: Any) -> str:
    """A `Cell` as text, so that one parser serves every kind of file. Wrong if a number was not kept exactly."""
    kind = type(cell)
    if kind is str:
        return str(cell)
    if cell is None:
        return ""
    if kind is float:
        return _float(cell)
    if kind is Decimal:
        if not cell.is_finite() or abs(cell.adjusted()) > 30:
            raise Wrong("number_imprecise")
        return f"{cell:f}"
    if kind is datetime:
        # A spreadsheet's day is a time at midnight; a time with a zone keeps it.
        whole = cell.time() == time() and cell.tzinfo is None
        return str((cell.date() if whole else cell).isoformat())
    if kind is date:
        return str(cell.isoformat())
    if kind is bool:
        return "true" if cell else "false"
    if kind is int:
        if abs(cell) > 10**30:
            raise Wrong("number_imprecise")
        return str(cell)
    raise Wrong("time_unreadable" if kind in (time, timedelta) else "unreadable_line")


def _float(number: float) -> str:
    # Excel keeps 15 digits and shows no more: 0.1 + 0.2 is 0.3 there, and so it is here.
    if not abs(number) < 10**15:
        raise Wrong("number_imprecise")
    if number == int(number):
        return str(int(number))
    return f"{Decimal(f'{number:.15g}'):f}"


SUSPECT = frozenset("=+-@#'\"`’＝＋－＠−–—﹦﹢﹣﹫ ")
"""First characters that ask for a closer look."""
INVISIBLE = " \t\r\n\xa0\u1680\u2000-\u200f\u202a-\u202f\u205f-\u2064\u3000\ufeff\xad"
EDGES = re.compile(f"^[{INVISIBLE}]+|[{INVISIBLE}]+$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
NOTHING = re.compile(r"[-–—−]+")
_RUNS = re.compile(f"[{INVISIBLE}'\"`’]*(?:[=@＝＠﹦﹫]|[+\\-＋－−﹢﹣](?![0-9 ().,+-]*$))")
_PLUS_AND_WORDS = re.compile(r"\+[0-9][^=|!@]*доб[^=|!@]*|\+[0-9][0-9 ()+;,/.-]*", re.IGNORECASE)
"""Two phones, or one with an extension: wrong as a phone, and no formula."""
_ERROR = re.compile(
    r"#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!|Н/Д|ССЫЛКА!|ЗНАЧ!|ИМЯ\?|ДЕЛ/0!|ЧИСЛО!|ПУСТО!)"
)
_LONGEST_TEXT = 500
"""Characters of a text (the vocabulary's own bound)."""


def diagnosis(cell: str, code: str) -> str:
    """A better code than a parser's, where the cell is wrong under every parser."""
    if _RUNS.match(cell) and not NOTHING.fullmatch(cell) and not _PLUS_AND_WORDS.fullmatch(cell):
        return "formula"
    if _ERROR.match(cell):
        return "spreadsheet_error"
    if len(cell) > _LONGEST_TEXT:
        return "too_long"
    return "control_character" if _CONTROL.search(EDGES.sub("", cell)) else code


def text(cell: str) -> str | None:
    """Text without space at its ends. No formula, no control character, at most 500 characters."""
    # Beyond ASCII, isprintable is false for every control character, and for a few that are none.
    if cell.isprintable() and len(cell) <= _LONGEST_TEXT and cell[0] not in SUSPECT and cell[-1] != " ":
        return cell
    bare = EDGES.sub("", cell)
    if not bare or NOTHING.fullmatch(bare):
        return None
    code = diagnosis(bare, "")
    if code:
        raise Wrong(code)
    return bare


def bare_of(cell: str) -> str:
    """`cell` without any space, and without the apostrophe by which spreadsheets mark text; empty for a lone dash."""
    bare = re.sub(f"[{INVISIBLE}]", "", cell).removeprefix("'")
    return "" if NOTHING.fullmatch(bare) else bare
