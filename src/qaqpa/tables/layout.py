"""Which column of a register holds which field: worked out once from its heading, then applied to a million rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from qaqpa.model.words import Language
from qaqpa.tables.headings import HEADINGS, READABLE, path_of, same
from qaqpa.tables.kind import Cell, refused
from qaqpa.tables.problems import Problem, Wrong, problem
from qaqpa.tables.text import diagnosis, text_of
from qaqpa.tables.values import Parser, Value, parser_of

_REMEMBERED = 20_000
"""Values of one column that are remembered at a time; every day of fifty years is fewer."""
_LONGEST_REMEMBERED = 40
_SHOWN = 60
_TOTAL = "contract.total_due"
_PARTS = tuple(
    f"contract.{name}"
    for name in ("principal", "overdue_principal", "interest", "overdue_interest", "penalty", "expenses")
)
_EXACT_BELOW = 1e12
"""Sums of doubles below this are right to a hundredth of a tiyn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a register is read.

    `synonyms` are further headings and the paths that they stand for; they win over the built-in ones. ValueError if
    one leads to no field that a register may bring, or two say different things.
    """

    today: date
    """After it no day may lie, but for those of `values.FUTURE`."""
    language: Language = "ru"
    """Of headings that are asked for, and of problems."""
    required: tuple[str, ...] = ("identity.iin",)
    """Paths without which a register, and a row, is of no use."""
    synonyms: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made: dict[str, str] = {}
        for heading, path in self.synonyms.items():
            if path not in READABLE:
                raise ValueError(f"the heading {heading!r} stands for {path!r}, which no register may bring")
            if not same(heading) or made.setdefault(same(heading), path) != path:
                raise ValueError(f"the heading {heading!r} is empty or stands for two fields")
        unknown = sorted(set(self.required) - READABLE)
        if unknown:
            raise ValueError(f"a register cannot bring {', '.join(unknown)}")
        object.__setattr__(self, "synonyms", made)

    def path_of(self, heading: str) -> str | None:
        """The path of the column so headed, or None."""
        return path_of(heading, self.synonyms)

    def heading_of(self, path: str) -> str:
        """The heading of `path` in the department's language."""
        return HEADINGS[path].in_language(self.language)


class Row(NamedTuple):
    """One row of a register. Where it has problems, `values` are those that could be read."""

    number: int
    """As a spreadsheet shows it: the heading is row 1."""
    values: dict[str, Value]
    """By path, in the form that a request holds as JSON; what is empty is left out."""
    problems: tuple[Problem, ...]


class _Known(dict[str, Value | None]):
    """Values of one column by their text: a hit costs one look-up, and no call."""

    def __init__(self, parse: Parser) -> None:
        super().__init__({"": None})
        self.parse = parse

    def __missing__(self, cell: str) -> Value | None:
        value = self.parse(cell)
        if len(cell) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED:
                self.clear()
                self[""] = None
            self[cell] = value
        return value


class Parsers:
    """Parsers of one register, kept while it is read, so that nobody's values outlive it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._parsers: dict[str, Parser] = {}
        self._known: dict[str, _Known] = {}

    def add_to(self, plan: Plan, index: int, path: str, heading: str) -> None:
        """Make column `index` of `plan` one of `path`."""
        if path not in self._parsers:
            parse, repeats = parser_of(path, self.layout.today)
            self._parsers[path] = parse
            if repeats:
                self._known[path] = _Known(parse)
        if path in self._known:
            plan.known.append((index, path, self._known[path], heading))
        else:
            plan.parsed.append((index, path, self._parsers[path], heading))


class Plan:
    """What is done with each row under one heading."""

    def __init__(self, headings: Sequence[str], parsers: Parsers, row: int = 1) -> None:
        """RegisterRefused, naming `row`, if two columns hold one field, or a required one is held by none."""
        layout = parsers.layout
        self.language = layout.language
        self.width = len(headings)
        self.unknown: tuple[str, ...] = ()
        """Headings of columns that are not read; in place of one that may be a value, the column's number."""
        self.known: list[tuple[int, str, _Known, str]] = []
        self.parsed: list[tuple[int, str, Parser, str]] = []
        taken: dict[str, str] = {}
        unknown = []
        for index, heading in enumerate(headings):
            path = layout.path_of(heading)
            if path is None:
                if heading.strip():
                    unknown.append(_shown(heading, index))
                continue
            if path in taken:
                raise refused(f"the columns {taken[path]!r} and {heading.strip()!r} both hold {path}: leave one", row)
            taken[path] = heading.strip()
            parsers.add_to(self, index, path, taken[path])
        self.unknown = tuple(unknown)
        self.paths = frozenset(taken)
        self.required = tuple((path, taken.get(path) or layout.heading_of(path)) for path in layout.required)
        self._needed = frozenset(layout.required)
        self._adds_up = self.paths.issuperset((_TOTAL, *_PARTS))
        self._total = taken.get(_TOTAL, "")

    def demand_columns(self, row: int) -> None:
        """RegisterRefused if the heading in `row` lacks a required column."""
        lacking = [repr(heading) for path, heading in self.required if path not in self.paths]
        if not self.paths:
            # What stands there may be somebody's data rather than a heading: none of it is shown.
            raise refused(
                f"no heading is known: the first row must name the columns, such as {', '.join(lacking)}", row
            )
        if lacking:
            raise refused(f"these columns are missing: {', '.join(lacking)}", row)

    def texts(self, cells: Sequence[Cell]) -> tuple[list[str], list[tuple[int, str]]]:
        """Cells as text, and which of them could not become any."""
        made, wrong = [], []
        for index, cell in enumerate(cells):
            try:
                made.append(text_of(cell))
            except Wrong as found:
                made.append("")
                wrong.append((index, found.code))
        return made, wrong

    def row(self, number: int, cells: Sequence[str], wrong: Sequence[tuple[int, str]] = ()) -> Row:
        """Read, and check, one row of as many cells as the heading."""
        values: dict[str, Value] = {}
        problems: list[Problem] = []
        for index, path, known, heading in self.known:
            try:
                value = known[cells[index]]
            except Wrong as found:
                self._add(problems, heading, found.code, cells[index])
            else:
                if value is not None:
                    values[path] = value
        for index, path, parse, heading in self.parsed:
            cell = cells[index]
            if cell:
                try:
                    value = parse(cell)
                except Wrong as found:
                    self._add(problems, heading, found.code, cell)
                else:
                    if value is not None:
                        values[path] = value
        if wrong:
            self._add_wrong(problems, wrong)
        if self._adds_up and not problems:
            self._add_up(values, problems)
        if not self._needed <= values.keys():
            told = {found.column for found in problems}
            problems += [
                problem(heading, "missing_value", self.language)
                for path, heading in self.required
                if path not in values and heading not in told
            ]
        return Row(number, values, tuple(problems))

    def _add(self, problems: list[Problem], heading: str, code: str, cell: str) -> None:
        problems.append(problem(heading, diagnosis(cell, code), self.language))

    def _add_wrong(self, problems: list[Problem], wrong: Sequence[tuple[int, str]]) -> None:
        headings = {index: heading for index, _, _, heading in (*self.known, *self.parsed)}
        problems += [problem(headings[at], code, self.language) for at, code in wrong if at in headings]

    def _add_up(self, values: dict[str, Value], problems: list[Problem]) -> None:
        try:
            total = float(values[_TOTAL])
            parts = sum([float(values[path]) for path in _PARTS])
        except KeyError:
            return  # a part that is not said is not nought
        if -0.004 < total - parts < 0.004 and total < _EXACT_BELOW:
            return
        if Decimal(str(values[_TOTAL])) != sum(Decimal(str(values[path])) for path in _PARTS):
            problems.append(problem(self._total, "sum_differs", self.language))


def _shown(heading: str, index: int) -> str:
    """A heading that is not known, unless it looks like a value: where the first row is data, all of it is."""
    name = heading.strip()
    if len(name) > _SHOWN or not name.isprintable() or "@" in name or re.search(r"\d\D?\d\D?\d\D?\d\D?\d", name):
        return f"column {index + 1}"
    return name
