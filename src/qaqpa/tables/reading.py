"""A register as rows: the kind told, the heading understood, each row read and checked. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from qaqpa.tables.delimited import csv_lines, delimiter_of, jsonl_lines
from qaqpa.tables.encoding import encoding_of
from qaqpa.tables.kind import Cell, Kind, Line, kind_of, refused
from qaqpa.tables.layout import Layout, Parsers, Plan, Row
from qaqpa.tables.limits import DEFAULT, Limits
from qaqpa.tables.parquet import parquet_lines
from qaqpa.tables.problems import problem
from qaqpa.tables.spreadsheet import xlsx_lines

_PLANS = 64
"""Sets of names in one JSONL register whose plans are kept at a time; a program writes a few."""
_UNKNOWN = 200
"""Unknown names of one JSONL register that are told of."""


class Register(Iterator[Row]):
    """The rows of one register, to be taken once."""

    def __init__(self, kind: Kind, rows: Iterator[Row], unknown: dict[str, None]) -> None:
        self.kind = kind
        """What the file is by its content."""
        self._rows = rows
        self._unknown = unknown

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def __next__(self) -> Row:
        return next(self._rows)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Headings of columns that are not read, as they stand in the file; of JSONL, those met until now.

        One that may be a value rather than a heading is told by its place only (`column 3`).
        """
        return tuple(self._unknown)


def read(
    file: BinaryIO, layout: Layout, limits: Limits = DEFAULT, kind: Kind | None = None, encoding: str | None = None
) -> Register:
    """The rows of `file`, which must be seekable, stays open, and is read as the rows are taken.

    `kind` is what the file claims to be (`kind_of_name`), `encoding` one of `encoding.NAMED`; both are told from its
    content where they are not said. Raises RegisterRefused, here or at a later row: another kind than was claimed, no
    known encoding, a heading that lacks a required column or holds a field twice, a limit passed, a file that is cut.
    """
    told = kind_of(file, limits)
    if kind is not None and kind is not told:
        raise refused(f"its name says {kind.value}, and it is {told.value}: name it by what it is")
    if told is Kind.JSONL:
        unknown: dict[str, None] = {}
        lines = jsonl_lines(file, limits, encoding_of(file, encoding))
        return Register(told, _bounded(_objects(lines, layout, unknown), limits), unknown)
    lines = _lines(file, layout, limits, told, encoding)
    heading = next((line for line in lines if any(_is_full(cell) for cell in line.cells)), None)
    if heading is None:
        raise refused("is empty")
    plan = Plan(_names(heading.cells, limits), Parsers(layout))
    plan.demand_columns(heading.number)
    rows = _texts(lines, plan) if told is Kind.CSV else _cells(lines, plan)
    return Register(told, _bounded(rows, limits), dict.fromkeys(plan.unknown))


def _lines(file: BinaryIO, layout: Layout, limits: Limits, kind: Kind, encoding: str | None) -> Iterator[Line]:
    if kind is Kind.XLSX:
        return xlsx_lines(file, limits)
    if kind is Kind.PARQUET:
        return parquet_lines(file, limits)
    codec = encoding_of(file, encoding)
    mark = delimiter_of(file, limits, codec, lambda heading: layout.path_of(heading) is not None)
    return csv_lines(file, limits, codec, mark)


def _is_full(cell: Cell) -> bool:
    return cell is not None and bool(str(cell).strip())


def _names(cells: Sequence[Cell], limits: Limits) -> list[str]:
    names = ["" if cell is None else str(cell) for cell in cells]
    while names and not names[-1].strip():
        names.pop()
    if len(names) > limits.columns:
        raise refused(f"has more than {limits.columns} columns")
    return names


def _bounded(rows: Iterator[Row], limits: Limits) -> Iterator[Row]:
    left = limits.rows
    for row in rows:
        left -= 1
        if left < 0:
            raise refused(f"has more than {limits.rows} rows: hand it over in parts")
        yield row


def _misfit(number: int, plan: Plan) -> Row:
    # Which cell belongs to which column cannot be known, so none is read.
    return Row(number, {}, (problem("", "wrong_number_of_cells", plan.language),))


def _texts(lines: Iterator[Line], plan: Plan) -> Iterator[Row]:
    width, row = plan.width, plan.row
    for line in lines:
        cells: list[str] = line.cells  # type: ignore[assignment]  # of CSV
        if len(cells) != width:
            if not any(cells) or cells == [" "]:
                continue
            if len(cells) < width or any(cells[width:]):
                yield _misfit(line.number, plan)
                continue
        made = row(line.number, cells)
        if not made.values and not any(cell.strip() for cell in cells):
            continue
        yield made


def _cells(lines: Iterator[Line], plan: Plan) -> Iterator[Row]:
    width = plan.width
    for line in lines:
        cells = line.cells
        if not any(_is_full(cell) for cell in cells):
            continue
        if any(_is_full(cell) for cell in cells[width:]):
            yield _misfit(line.number, plan)
            continue
        texts, wrong = plan.texts(cells[:width])
        yield plan.row(line.number, texts + [""] * (width - len(texts)), wrong)


def _objects(lines: Iterator[Line], layout: Layout, unknown: dict[str, None]) -> Iterator[Row]:
    parsers = Parsers(layout)
    plans: dict[tuple[str, ...], Plan] = {}
    for line in lines:
        if line.faulty or line.names is None:
            yield Row(line.number, {}, (problem("", "unreadable_line", layout.language),))
            continue
        plan = plans.get(line.names)
        if plan is None:
            if len(plans) >= _PLANS:
                plans.clear()
            plan = plans[line.names] = Plan(line.names, parsers, line.number)
            unknown.update(dict.fromkeys(plan.unknown[: max(_UNKNOWN - len(unknown), 0)]))
        texts, wrong = plan.texts(line.cells)
        yield plan.row(line.number, texts, wrong)
