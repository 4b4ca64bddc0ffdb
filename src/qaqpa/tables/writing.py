"""Registers for recipients: rows to CSV, XLSX or JSONL, in memory and into a sink. Nothing is put on a disk, but for an
XLSX of what is nobody's, where a folder is given.

A sink is any object with `write(bytes)`; it stays open. No cell is written so that a spreadsheet would run it.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol

import orjson

from qaqpa.errors import NotPossible
from qaqpa.model.words import Language
from qaqpa.tables.headings import HEADINGS
from qaqpa.tables.kind import Kind
from qaqpa.tables.safety import inert, runs, surely_inert, surely_inert_row
from qaqpa.tables.values import TYPES

XLSX_ROWS = 100_000
XLSX_CELLS = 1_000_000
"""Most of an XLSX, whichever comes first. XlsxWriter holds about 350 bytes a cell while it closes the file; its mode of
constant memory keeps rows in temporary files, and nobody's data stands on a disk unsealed.
"""
ENCODINGS = {"utf-8": "utf-8", "utf-8-sig": "utf-8-sig", "windows-1251": "cp1251"}
"""In which a CSV may be written, and what Python calls them. Spreadsheets know UTF-8 by the mark of `utf-8-sig`."""
DELIMITERS = ";,\t|"
_HELD = 2**16
"""Characters that are gathered before the sink is called."""
_PIECE = 2**20
"""Bytes of an XLSX that the sink is given at once."""
_WIDTHS = {date: 12, Decimal: 15, int: 10}
_MOST_DIGITS = 15
"""That a spreadsheet keeps of a number."""

Record = Mapping[str, object] | Sequence[object]


class Sink(Protocol):
    """Where a register goes: a file, a seal, a connection."""

    def write(self, data: bytes, /) -> object:
        """Take `data`, all of it."""


class Writer(Protocol):
    """What `writer` returns."""

    def write(self, row: Record) -> None:
        """Add a row: values by path, or in the order of the columns; None and what is left out are empty cells.

        ValueError if it holds a path that has no column, or not as many cells as there are columns.
        """

    def close(self) -> None:
        """Finish the file. Only then is it whole; the sink stays open."""

    def abandon(self) -> None:
        """Let go of what is kept for a file that nobody finishes; nothing after `close`."""


def writer(
    kind: Kind,
    columns: Sequence[str],
    sink: Sink,
    *,
    language: Language = "ru",
    headings: Mapping[str, str] | None = None,
    delimiter: str = ";",
    encoding: str = "utf-8-sig",
    decimal: str = ".",
    folder: Path | None = None,
) -> Writer:
    """A writer of one register.

    In `folder` an XLSX keeps its rows until it is closed, and hardly any memory: only for what holds nobody's data.

    `columns` are paths; their headings are those of `language`, or of `headings`, which must hold those of columns
    outside the vocabulary. `delimiter`, `encoding` and the `decimal` mark are of CSV alone. JSONL has one object a row,
    by path. ValueError for a setting that there is none of, Parquet, or a column without heading or given twice.
    """
    if not columns or len(set(columns)) != len(columns):
        raise ValueError("a register needs columns, each once")
    if delimiter not in tuple(DELIMITERS) or encoding not in ENCODINGS or decimal not in (".", ","):
        raise ValueError(f"delimiters are {DELIMITERS!r}, encodings {', '.join(ENCODINGS)}, decimal marks . and ,")
    named = headings or {}
    lacking = [path for path in columns if path not in named and path not in HEADINGS]
    if lacking:
        raise ValueError(f"no heading is known for {', '.join(lacking)}: give one in headings")
    line = [named.get(path) or HEADINGS[path].in_language(language) for path in columns]
    if kind is Kind.JSONL:
        return _Jsonl(columns, sink)
    if kind is Kind.CSV:
        return _Csv(columns, line, sink, delimiter, encoding, decimal)
    if kind is Kind.XLSX:
        return _Xlsx(columns, line, sink, folder)
    raise ValueError("registers are written as CSV, XLSX or JSONL")


def plain(value: object) -> str:
    """A value as text: empty for None, ISO 8601 for a day, yes and no as true and false."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


class _Columns:
    """Rows in the order of the columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._known = frozenset(columns)

    def in_order(self, row: Record) -> list[object]:
        if isinstance(row, Mapping):
            if not row.keys() <= self._known:
                # What has no column would be lost in silence. The names are paths, and nobody's.
                raise ValueError(f"no column is there for {', '.join(sorted(row.keys() - self._known))}")
            get = row.get
            return [get(path) for path in self._columns]
        if isinstance(row, str | bytes) or len(row) != len(self._columns):
            raise ValueError(f"the row must have {len(self._columns)} cells")
        return list(row)

    def types(self) -> list[type | None]:
        """What each column holds; None outside the vocabulary."""
        return [TYPES.get(path) for path in self._columns]


class _Jsonl:
    """One object a row, by path, without what is empty. Sums stay text: a double would round them."""

    def __init__(self, columns: Sequence[str], sink: Sink) -> None:
        self._columns = _Columns(columns)
        self._paths = tuple(columns)
        self._sink = sink

    def write(self, row: Record) -> None:
        cells = zip(self._paths, self._columns.in_order(row), strict=True)
        kept = {path: str(cell) if isinstance(cell, Decimal) else cell for path, cell in cells if cell is not None}
        self._sink.write(orjson.dumps(kept) + b"\n")

    def close(self) -> None:
        """Every line is whole already."""

    def abandon(self) -> None:
        """Nothing is kept."""


class _Csv:
    """RFC 4180 with the delimiter asked for; every cell that could be misread is quoted."""

    def __init__(
        self, columns: Sequence[str], line: Sequence[str], sink: Sink, delimiter: str, encoding: str, decimal: str
    ) -> None:
        self._columns = _Columns(columns)
        self._line = line
        self._sink = sink
        self._encoding = encoding
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, delimiter=delimiter, lineterminator="\r\n")
        self._sums = [at for at, kind in enumerate(self._columns.types()) if kind is Decimal] if decimal == "," else []
        self._number = 0
        self._sent = False
        self._add([inert(name) for name in line])

    def write(self, row: Record) -> None:
        cells = [cell if type(cell) is str else plain(cell) for cell in self._columns.in_order(row)]
        if not surely_inert_row(cells):
            for at, cell in enumerate(cells):
                if not surely_inert(cell):
                    cells[at] = inert(cell, first=at == 0)
        for at in self._sums:
            cells[at] = cells[at].replace(".", ",")
        self._add(cells)

    def _add(self, cells: list[str]) -> None:
        self._number += 1
        if self._encoding == "windows-1251":
            self._demand_letters(cells)
        self._writer.writerow(cells)
        if self._text.tell() >= _HELD:
            self._send()

    def _demand_letters(self, cells: list[str]) -> None:
        for name, cell in zip(self._line, cells, strict=True):
            try:
                cell.encode("cp1251")
            except UnicodeEncodeError:
                raise NotPossible(
                    [f"row {self._number}, {name}: holds letters that windows-1251 has not: write it in utf-8-sig"]
                ) from None

    def _send(self) -> None:
        # The mark of UTF-8 stands once, at the very start.
        codec = "utf-8" if self._sent and self._encoding == "utf-8-sig" else ENCODINGS[self._encoding]
        self._sink.write(self._text.getvalue().encode(codec))
        self._sent = True
        self._text.seek(0)
        self._text.truncate()

    def close(self) -> None:
        if self._text.tell():
            self._send()

    def abandon(self) -> None:
        self._text.close()


def workbook(stream: IO[bytes], folder: Path | None = None) -> Any:
    """An XlsxWriter workbook that runs, links and guesses nothing, and keeps everything in memory; or in `folder`, and
    then rows are written in their order.
    """
    import xlsxwriter  # noqa: PLC0415 - most callers never write a spreadsheet

    kept = {"in_memory": True} if folder is None else {"constant_memory": True, "tmpdir": str(folder)}
    return xlsxwriter.Workbook(
        stream,
        {
            **kept,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "nan_inf_to_errors": False,
        },
    )


def refuse_size(rows: int, columns: int) -> None:
    """NotPossible for more rows or cells than an XLSX is written with."""
    if rows > XLSX_ROWS or rows * columns > XLSX_CELLS:
        most = min(XLSX_ROWS, XLSX_CELLS // columns)
        raise NotPossible([f"an XLSX of {columns} columns holds at most {most} rows: write it as CSV or JSONL"])


class _Xlsx:
    """Text as text, sums and days as such, so that a recipient can add and sort. Beyond 15 digits a sum is text."""

    def __init__(self, columns: Sequence[str], line: Sequence[str], sink: Sink, folder: Path | None) -> None:
        self._columns = _Columns(columns)
        self._width = len(line)
        self._sink = sink
        self._stream = io.BytesIO() if folder is None else tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - `close`
        self._book = workbook(self._stream, folder)
        self._sheet = self._book.add_worksheet()
        self._formats = {
            Decimal: self._book.add_format({"num_format": "#,##0.00"}),
            date: self._book.add_format({"num_format": "dd.mm.yyyy"}),
        }
        # In Excel this keeps text text even when somebody edits the cell.
        self._quoted = self._book.add_format({"quote_prefix": True})
        self._types = self._columns.types()
        bold = self._book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
        for at, name in enumerate(line):
            self._sheet.write_string(0, at, name, bold)
            self._sheet.set_column(at, at, max(_WIDTHS.get(self._types[at] or str, 22), min(len(name) + 2, 30)))
        self._sheet.freeze_panes(1, 0)
        self._number = 1

    def write(self, row: Record) -> None:
        cells = self._columns.in_order(row)
        refuse_size(self._number, self._width)
        for at, (cell, kind) in enumerate(zip(cells, self._types, strict=True)):
            if cell is not None and cell != "":
                self._write_cell(at, cell, kind)
        self._number += 1

    def _write_cell(self, at: int, cell: object, kind: type | None) -> None:
        row, sheet = self._number, self._sheet
        if isinstance(cell, bool):
            sheet.write_boolean(row, at, cell)
        elif kind is Decimal and _fits(cell):
            sheet.write_number(row, at, float(plain(cell)), self._formats[Decimal])
        elif kind is int and isinstance(cell, int):
            sheet.write_number(row, at, cell)
        elif kind is date and (day := _day(cell)) is not None:
            sheet.write_datetime(row, at, day, self._formats[date])
        else:
            text = plain(cell)
            if sheet.write_string(row, at, text, self._quoted if runs(text) else None) != 0:
                raise NotPossible([f"row {row + 1}: a text is longer than an XLSX holds: write it as CSV or JSONL"])

    def close(self) -> None:
        self._sheet.autofilter(0, 0, max(self._number - 1, 0), self._width - 1)
        self._book.close()
        self._stream.seek(0)
        while data := self._stream.read(_PIECE):
            self._sink.write(data)
        self.abandon()

    def abandon(self) -> None:
        self._stream.close()
        if (rows := self._sheet.row_data_fh) is not None:  # where they are kept in a folder
            rows.close()


def _fits(cell: object) -> bool:
    try:
        number = Decimal(plain(cell))
    except ArithmeticError:
        return False
    return number.is_finite() and len(number.as_tuple().digits) <= _MOST_DIGITS


def _day(cell: object) -> date | None:
    try:
        day = cell if isinstance(cell, date) else date.fromisoformat(str(cell))
    except ValueError:
        return None
    return day if day.year >= 1900 else None
