"""Registers as text: CSV of any common dialect, and JSON objects, one a line. Both are streamed, with bounded lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Generator, Iterator
from decimal import Decimal
from typing import Any, BinaryIO

from qaqpa.errors import RegisterRefused
from qaqpa.tables.kind import Cell, Line, refused
from qaqpa.tables.limits import Limits

DELIMITERS = ";,\t|"
_LINES_A_ROW = 200
"""A row of more lines than this is a quote that was never closed."""


class _Lines:
    """Lines of a file in one encoding, each of bounded length. The file stays the caller's: it is never closed."""

    def __init__(self, file: BinaryIO, limits: Limits, codec: str) -> None:
        file.seek(0)
        self._file = file
        self._text = io.TextIOWrapper(file, encoding=codec, newline="", errors="strict")
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

    def detach(self) -> None:
        """Let go of the file, unless its owner closed it meanwhile."""
        if not self._file.closed:
            self._text.detach()


def delimiter_of(file: BinaryIO, limits: Limits, codec: str, known: Callable[[str], bool]) -> str:
    """The delimiter under which most cells of the heading are `known`, and then the most cells.

    A first line `sep=;` says it, as spreadsheets write it. Where the heading cannot be read
    under any, that is told when it is read.
    """
    found = []
    for mark in DELIMITERS:
        rows = csv_lines(file, limits, codec, mark)
        try:
            heading = next((line.cells for line in rows if any(line.cells)), [])
        except RegisterRefused:
            heading = []
        finally:
            rows.close()
        found.append((sum(known(str(cell)) for cell in heading), len(heading), mark))
    said = _said(file, limits, codec)
    return said or max(found, key=lambda one: one[:2])[2]


def _said(file: BinaryIO, limits: Limits, codec: str) -> str | None:
    lines = _Lines(file, limits, codec)
    try:
        first = next(iter(lines), "").strip("\r\n \"'").lower()
    finally:
        lines.detach()
    return first[4] if _says(first) else None


def _says(line: str) -> bool:
    return line.lower().startswith("sep=") and len(line) == 5


def csv_lines(file: BinaryIO, limits: Limits, codec: str, mark: str) -> Generator[Line, None, None]:
    """Rows of a CSV file, the heading's first. Raises RegisterRefused with the row that cannot be read."""
    lines = _Lines(file, limits, codec)
    number = 0
    try:
        for cells in csv.reader(lines, delimiter=mark, strict=True):
            number += 1
            lines.row, lines.since = number + 1, 0
            if number == 1 and _says(mark.join(cells)):
                number = 0  # a spreadsheet takes this line for itself, and counts from the next
                continue
            yield Line(number, cells)  # type: ignore[arg-type]  # list[str] is read only
    except csv.Error as error:
        said = "has a cell that is too long" if "field limit" in str(error) else "has quotes that do not match"
        raise refused(f"{said}, or the file was cut", number + 1) from None
    finally:
        lines.detach()


class _NoObject(ValueError):
    """A line of a JSONL register that is no flat object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _NoObject  # a name stands twice: which one counts cannot be known
    return made


def _no_constant(_name: str) -> Any:
    raise _NoObject  # NaN and infinities are no JSON


_DEPTH = 4
"""Of the vocabulary, with `data` around it."""
_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=Decimal, parse_constant=_no_constant)


def _flatten(value: dict[str, Any], prefix: str, into: dict[str, Cell], depth: int) -> None:
    for name, part in value.items():
        kind = type(part)
        if kind is dict:
            if depth == 0:
                raise _NoObject
            _flatten(part, f"{prefix}{name}.", into, depth - 1)
        elif kind is list or prefix + name in into:
            raise _NoObject
        else:
            into[prefix + name] = part


def jsonl_lines(file: BinaryIO, limits: Limits, codec: str) -> Iterator[Line]:
    """Objects of a JSONL file, nested ones by dotted path. A line that is none is `faulty`, and not the end."""
    lines = _Lines(file, limits, codec)
    number = 0
    try:
        for line in lines:
            number += 1
            lines.row, lines.since = number + 1, 0
            if line.strip():
                yield _object(number, line, limits)
    finally:
        lines.detach()


def _object(number: int, line: str, limits: Limits) -> Line:
    cells: dict[str, Cell] = {}
    try:
        value = _DECODER.decode(line.strip())
        if type(value) is not dict:
            raise _NoObject
        _flatten(value, "", cells, _DEPTH)
    # Beside what is no JSON: numbers of thousands of digits, and nesting without end.
    except (ValueError, ArithmeticError, RecursionError):
        return Line(number, [], faulty=True)
    if len(cells) > limits.columns:
        return Line(number, [], faulty=True)
    return Line(number, list(cells.values()), names=tuple(cells))
