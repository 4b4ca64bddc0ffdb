"""`qaqpa handover check`: what would be decided of each row of a register. Nothing is entered, kept or sent."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape

from qaqpa import files
from qaqpa.cli.render import out, speech, table
from qaqpa.errors import InvalidRequest
from qaqpa.gateway import Gateway
from qaqpa.gateway.handover_answers import RESULTS, Tally, reason_lines
from qaqpa.handover.deciding import Told
from qaqpa.handover.orders import Order
from qaqpa.model.handover import RowResult
from qaqpa.model.words import Words
from qaqpa.tables import Result, Row, write_results
from qaqpa.tables.safety import inert
from qaqpa.tables.writing import XLSX_ROWS

COLOURS = {RowResult.PERMIT: "green", RowResult.GAP: "yellow", RowResult.MALFORMED: "yellow"}
_HEADINGS = (
    Words(ru="Строка", kk="Жол", en="Row"),
    Words(ru="Субъект", kk="Субъект", en="Subject"),
    Words(ru="Результат", kk="Нәтиже", en="Result"),
    Words(ru="Причины", kk="Себептер", en="Reasons"),
)


def print_reasons(tally: Tally) -> None:
    """Rows by result and reason, for people."""
    made = table("rows", "result", "reason")
    for (result, reason), count in tally.sorted:
        colour = COLOURS.get(result, "red")
        made.add_row(f"{count:,}", f"[{colour}]{RESULTS[result].in_language(speech.language)}[/]", escape(reason))
    out.print(made)


def subject_of(row: Row) -> str:
    """Enough to find the person in the department's own file, and too little to know them by."""
    values = row.values
    initials = [f"{str(values[path])[:1]}." for path in ("identity.last_name", "identity.first_name") if path in values]
    iin = str(values.get("identity.iin", ""))
    return " ".join([*initials, f"…{iin[-4:]}" if iin else ""]).strip()


async def checked(gateway: Gateway, order: Order, path: Path, to: Path | None) -> tuple[Tally, Told, Path | None]:
    """Decide the register dry; results go to `to`, or beside it as CSV where an XLSX would not hold them.

    Returns the counts, what is known of the register, and the file that was written.
    """
    guards, told, tally = gateway.setup.config.guards, Told(), Tally(speech.language)
    if to is not None and any(_is_same(path, each) for each in (to, to.with_suffix(".csv"))):
        raise InvalidRequest([f"--out {to}: would be written over the register; give another name"])
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidRequest([f"{path} cannot be read: {error.strerror}"]) from None
    with closing(file), Results(to) as results:
        async for chunk, judged in gateway.handovers.dry_run(order, file, told):
            found = {each.number: each for each in judged.findings}
            for row in chunk.rows:
                finding = found.get(row.number)
                if finding is None:
                    tally.results[RowResult.PERMIT] += 1
                    results.add(row, RowResult.PERMIT, ())
                    continue
                lines = reason_lines(finding, guards, speech.language)
                tally.add(finding, lines)
                results.add(row, finding.result, lines)
        written = results.finish()
    return tally, told, written


def _is_same(register: Path, written: Path) -> bool:
    return register.exists() and written.exists() and register.samefile(written)


class Results:
    """Rows with what came of them, for the department: a workbook, or a CSV where there are too many rows for one.

    It appears whole or not at all, and for its owner alone.
    """

    def __init__(self, to: Path | None) -> None:
        if to is not None and to.suffix.lower() not in {".xlsx", ".csv"}:
            raise InvalidRequest([f"--out {to}: give a name that ends in .xlsx or .csv"])
        if to is not None and not to.parent.is_dir():  # said before a million rows are decided
            raise InvalidRequest([f"--out {to}: there is no folder {to.parent}"])
        self._to = to
        self._held: list[Result] = []
        self._csv: io.TextIOWrapper | None = None

    def add(self, row: Row, result: RowResult, reasons: Sequence[str]) -> None:
        """One more row."""
        self.put(Result(row.number, subject_of(row), RESULTS[result].in_language(speech.language), tuple(reasons)))

    def put(self, result: Result) -> None:
        """One more row."""
        if self._to is None:
            return
        if self._csv is None and (self._to.suffix.lower() == ".csv" or len(self._held) == XLSX_ROWS):
            self._begin(self._to.with_suffix(".csv"))
        if self._csv is None:
            self._held.append(result)
        else:
            self._line(result)

    def _begin(self, to: Path) -> None:
        """A CSV, with what was held for a workbook."""
        self._to = to
        self._csv = io.TextIOWrapper(_created(self._part), "utf-8-sig", newline="")
        self._lines([words.in_language(speech.language) for words in _HEADINGS])
        for each in self._held:
            self._line(each)
        self._held.clear()

    def _line(self, result: Result) -> None:
        self._lines([str(result.row), inert(result.subject), inert(result.result), inert(" / ".join(result.reasons))])

    def _lines(self, cells: Sequence[str]) -> None:
        csv.writer(self._csv, delimiter=";", lineterminator="\r\n").writerow(cells)  # type: ignore[arg-type]

    @property
    def _part(self) -> Path:
        assert self._to is not None  # noqa: S101 - nothing is written without a name
        return self._to.with_name(f".{self._to.name}.part")

    def finish(self) -> Path | None:
        """The file that was written. Raises InvalidRequest where it cannot be."""
        if self._to is None:
            return None
        if self._csv is None and self._to.suffix.lower() == ".csv":
            self._begin(self._to)  # there was no row, and it is a CSV all the same
        if self._csv is not None:
            self._csv.close()
            self._part.replace(self._to)
            return self._to
        made = io.BytesIO()
        write_results(made, self._held, language=speech.language)
        try:
            files.replace(self._to, made.getvalue())
        except OSError as error:
            raise InvalidRequest([f"--out {self._to} cannot be written: {error.strerror}"]) from None
        return self._to

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        if self._csv is not None:
            self._csv.close()
            self._part.unlink(missing_ok=True)


def _created(path: Path) -> io.BufferedWriter:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise InvalidRequest([f"--out {path.parent} cannot be written to: {error.strerror}"]) from None
    return os.fdopen(descriptor, "wb")


def alike_lines(alike: Mapping[str, Any]) -> Iterator[str]:
    """How alike de-identified rows are, for people."""
    yield (
        f"k-anonymity: each form of a row is shared by at least {alike['k_after']} rows (wanted: {alike['k_wanted']}; "
        f"as the route passes them: {alike['k_before']}), in {alike['classes_after']:,} classes"
    )
    yield f"  made coarser for that: {alike['generalised']:,} rows; left out: {alike['suppressed']:,}"


def print_check(tally: Tally, told: Told, written: Path | None) -> None:
    """The summary for people."""
    total, goes = sum(tally.results.values()), tally.results[RowResult.PERMIT]
    out.print(f"[bold]{total:,} rows[/] ({told.kind}): [green]{goes:,} may go[/], {tally.held:,} stay behind")
    if tally.held:
        print_reasons(tally)
    if told.alike is not None:
        for line in alike_lines(asdict(told.alike)):
            out.print(line, soft_wrap=True)
    if told.unknown:
        out.print(f"columns that are not read: {escape(', '.join(told.unknown))}", soft_wrap=True)
    if written is not None:
        out.print(f"each row: {escape(str(written))}", soft_wrap=True)
    elif tally.held:
        out.print("--out results.xlsx writes each row with its reasons, for the department")
    out.print("Nothing was entered, kept or sent.")
