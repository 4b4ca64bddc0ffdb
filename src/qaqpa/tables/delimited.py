"""Registers as text: CSV of any common dialect, and JSON objects, one a line. Both are streamed, with bounded lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, BinaryIO

from qaqpa.tables.encoding import encoding_of
from qaqpa.tables.kind import Cell, Line, refused
from qaqpa.tables.limits import Limits

DELIMITERS = ";,\t|"
_LOOKED_AT = 50
"""Rows from which the delimiter is told."""
_LINES_A_ROW = 200
"""A row of more lines than this is a quote that was never closed."""


def _text(file: BinaryIO, limits: Limits, encoding: str | None) -> io.TextIOWrapper:
    codec = encoding_of(file, encoding)
    # Not closed by us: the file is the caller's, so the wrapper is detached when reading ends.
    return io.TextIOWrapper(file, encoding=codec, newline="", errors="strict")


class _Lines:
    """Lines of a text, each of bounded length."""

    def __init__(self, text: io.TextIOWrapper, limits: Limits) -> None:
        self._text = text
        self._longest = limits.line
        self.row = 1
        """The row that is being read."""
        self.since = 0
        """Lines taken since the last row was whole."""

    def __iter__(self) -> Iterator[str]:
        read, longest = self._text.readline, self._longest
        while line := read(longest + 1):
            if len(line) > longest:
                raise refused(f"is longer than {longest} characters", self.row)
            self.since += 1
            if self.since > _LINES_A_ROW:
                raise refused("a quote is opened and not closed", self.row)
            yield line


def delimiter_of(file: BinaryIO, limits: Limits, encoding: str | None) -> str:
    """The delimiter under which the first rows have equally many cells, the most of them; `file` is left at its start.

    A first line `sep=;` says it, as spreadsheets write it. RegisterRefused where two fit equally well.
    """
    text = _text(file, limits, encoding)
    try:
        lines = list(islice(_Lines(text, limits), _LOOKED_AT))
    finally:
        text.detach()
        file.seek(0)
    first = lines[0].strip() if lines else ""
    if first.lower().startswith("sep=") and len(first) == 5:
        return first[4]
    fits = sorted(((_fit(lines, mark), mark) for mark in DELIMITERS), reverse=True)
    best = fits[0]
    if best[0][1] < 2:
        return ";"  # one column
    if best[0] == fits[1][0]:
        raise refused("two delimiters fit it equally well: say which one it is")
    return best[1]


def _fit(lines: list[str], mark: str) -> tuple[float, int]:
    """Which part of the rows has as many cells as the first, and how many these are."""
    rows = []
    try:
        # The last row may have been cut off by looking at so many lines only.
        rows.extend(len(row) for row in csv.reader(lines, delimiter=mark, strict=True) if row)
    except csv.Error:
        pass
    if not rows or rows[0] < 2:
        return 0.0, 0
    return rows.count(rows[0]) / len(rows), rows[0]


def csv_lines(file: BinaryIO, limits: Limits, encoding: str | None = None, delimiter: str | None = None) -> Iterator[Line]:
    """Rows of a CSV file, the heading's first. Raises RegisterRefused with the row that cannot be read."""
    mark = delimiter or delimiter_of(file, limits, encoding)
    text = _text(file, limits, encoding)
    lines = _Lines(text, limits)
    number = 0
    try:
        for cells in csv.reader(lines, delimiter=mark, strict=True):
            number += 1
            lines.row, lines.since = number + 1, 0
            if number == 1 and len(cells) <= 2 and cells and cells[0].lower().startswith("sep="):
                continue
            yield Line(number, cells)  # type: ignore[arg-type]  # list[str] is read only
    except csv.Error as error:
        said = "has a cell that is too long" if "field limit" in str(error) else "has quotes that do not match"
        raise refused(f"{said}, or the file was cut", number + 1) from None
    finally:
        text.detach()
        file.seek(0)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in it; which one counts cannot be known")
    return made


def _no_constant(_name: str) -> Any:
    raise ValueError("it is not JSON: NaN and infinities are no numbers of it")


def _flat(value: dict[str, Any], prefix: str, into: dict[str, Cell], depth: int) -> None:
    for name, part in value.items():
        if type(part) is dict:
            if depth == 0:
                raise ValueError("it is nested deeper than the vocabulary is")
            _flat(part, f"{prefix}{name}.", into, depth - 1)
        elif type(part) is list:
            raise ValueError("it holds a list, which a register has no column for")
        else:
            path = prefix + name
            if path in into:
                raise ValueError("a name stands twice in it; which one counts cannot be known")
            into[path] = part


_DEPTH = 4
_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=Decimal, parse_constant=_no_constant)


def jsonl_lines(file: BinaryIO, limits: Limits, encoding: str | None = None) -> Iterator[Line]:
    """Objects of a JSONL file, nested ones by dotted path. A line that is no object is a `fault`, not the end."""
    text = _text(file, limits, encoding)
    lines = _Lines(text, limits)
    number = 0
    try:
        for line in lines:
            number += 1
            lines.row, lines.since = number + 1, 0
            if not line.strip():
                continue
            yield _object(number, line, limits)
    finally:
        text.detach()
        file.seek(0)


def _object(number: int, line: str, limits: Limits) -> Line:
    try:
        value = _DECODER.decode(line.strip())
        if type(value) is not dict:
            raise ValueError("it is not an object")  # noqa: TRY004 - a fault of the file, not of the program
        cells: dict[str, Cell] = {}
        _flat(value, "", cells, _DEPTH)
    except json.JSONDecodeError:
        return Line(number, [], fault="it is not JSON")
    except RecursionError:
        return Line(number, [], fault="it is nested deeper than the vocabulary is")
    except ValueError as error:
        # Python's own message on a number of too many digits repeats nothing of it, but it is not ours to show.
        ours = str(error) if str(error).startswith(("it ", "a name")) else "it is not JSON"
        return Line(number, [], fault=ours)
    if len(cells) > limits.columns:
        return Line(number, [], fault=f"it has more than {limits.columns} names")
    return Line(number, list(cells.values()), names=tuple(cells))
