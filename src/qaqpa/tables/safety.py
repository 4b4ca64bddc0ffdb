"""Cells that a spreadsheet would run are written so that it does not (OWASP, "CSV Injection").

A spreadsheet runs what begins with `=`, `+`, `-`, `@`, a tab or a line break; some look past quotes and spaces, and
take full-width forms for the plain ones. Two forms begin so and are no formula: a phone (`+` and 5 to 15 digits) and a
plain negative number. They pass, or neither could be used.
"""

from __future__ import annotations

import re

_PASSES = r"(?:\+[0-9]{5,15}|-[0-9]{1,18}(?:[.,][0-9]{1,6})?)"
_BEFORE = r"[\s\"'`’‘“”«\u200b-\u200f\u2060\ufeff\xad\x00-\x1f]*"
_SIGN = r"[=+\-@＝＋－＠﹦﹢﹣﹫−]"
_RUNS = re.compile(rf"(?!{_PASSES}$){_BEFORE}{_SIGN}|[\t\r\n]")
_SIGNED = re.compile(rf"{_BEFORE}{_SIGN}")
_RUNS_LATER = re.compile(rf"[,;|](?={_BEFORE}{_SIGN})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SUSPECT = frozenset(" =+-@＝＋－＠﹦﹢﹣﹫−\"'`’‘“”«")
"""First characters that ask for a closer look; whatever else does so is not printable."""


surely_inert = re.compile(r"(?:[^\W_][\w ./:()№-]*)?").fullmatch
"""A match says that `inert` would change nothing: most cells need no closer look."""


_LATER = rf"(?={_BEFORE}{_SIGN})"
_ASKS = re.compile(rf"\x1f(?![^\W_]|\x1f|\Z|\+[0-9]{{5,15}}(?:\x1f|\Z))|,{_LATER}|;{_LATER}|\|{_LATER}")
"""In a row, its cells parted by \\x1f: what asks for a closer look. Each alternative begins with one character,
which is what makes the search quick.
"""


def surely_inert_row(cells: list[str]) -> bool:
    """The same for a whole row, in which a phone may stand but first: one question in place of one for each cell."""
    return not _ASKS.search("\x1f" + "\x1f".join(cells)) and "".join(cells).isprintable() and cells[0][:1] != "+"


def runs(text: str) -> bool:
    """Whether a spreadsheet may take `text` for a formula."""
    return _RUNS.match(text) is not None


def inert(text: str, *, first: bool = False) -> str:
    """`text` so that no spreadsheet runs it from a CSV: an apostrophe stands before what would run.

    Who opens the file with another delimiter than it was written with gets cells that begin after a delimiter inside a
    text, and cells that go on into the next one. So an apostrophe stands there as well, and a phone or a negative
    number is let pass neither there nor as the `first` cell of a row. Control characters become a space.
    """
    if text.isprintable() and text[:1] not in _SUSPECT and not _RUNS_LATER.search(text):
        return text
    held = _SIGNED.match(text) if first else _RUNS.match(text)
    plain = _RUNS_LATER.sub(r"\g<0>'", _CONTROL.sub(" ", text))
    return f"'{plain}" if held else plain
