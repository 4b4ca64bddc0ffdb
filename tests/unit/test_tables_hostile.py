"""Registers that were made to harm, and those that were cut or misnamed on their way."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from datetime import date

import pytest
import xlsxwriter

from qaqpa.errors import RegisterRefused
from qaqpa.tables import Kind, Layout, Limits, Row, read
from qaqpa.testing.people import people

TODAY = date(2026, 11, 23)
PERSON = people(1, today=TODAY)[0]
LAYOUT = Layout(today=TODAY)
HEAD = "ИИН;Фамилия\n".encode()
LINE = f"{PERSON.iin};Сәрсенбаев\n".encode()


def rows_of(content: bytes, limits: Limits | None = None, **options: object) -> list[Row]:
    return list(read(io.BytesIO(content), LAYOUT, limits or Limits(), **options))  # type: ignore[arg-type]


def xlsx(fill: Callable[[xlsxwriter.Workbook], None]) -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    fill(book)
    book.close()
    return out.getvalue()


def sheet(cells: Mapping[str, object]) -> bytes:
    """A workbook of one sheet with these cells; `=…` is a formula."""

    def fill(book: xlsxwriter.Workbook) -> None:
        page = book.add_worksheet()
        for place, cell in cells.items():
            page.write(place, cell)

    return xlsx(fill)


GOOD = {"A1": "ИИН", "B1": "Фамилия", "A2": PERSON.iin, "B2": "Сәрсенбаев"}


def changed(content: bytes, parts: Mapping[str, Callable[[bytes], bytes]], *more: tuple[str, bytes]) -> bytes:
    """The archive with parts made anew, and `more` of them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, parts.get(name, bytes)(old.read(name)))
        for name, body in more:
            new.writestr(name, body)
    return out.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
ROWS = b"</sheetData>"


def with_rows(rows: bytes, cells: Mapping[str, object] = GOOD) -> bytes:
    return changed(sheet(cells), {SHEET: lambda xml: xml.replace(ROWS, rows + ROWS)})


def row(cells: bytes) -> Callable[[], bytes]:
    """A workbook with a third row of these cells."""
    return lambda: with_rows(b'<row r="3">' + cells + b"</row>")


def many_parts() -> bytes:
    return changed(sheet(GOOD), {}, *((f"xl/{at}.xml", b"") for at in range(300)))


def other_archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("register.csv", HEAD + LINE)
    return out.getvalue()


def entity() -> bytes:
    """A document type of its own, with an entity."""
    return changed(
        sheet(GOOD),
        {SHEET: lambda xml: xml.replace(b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet', 1)},
    )


def test_the_good_workbook_is_read() -> None:
    expected = [Row(2, {"identity.iin": PERSON.iin, "identity.last_name": "Сәрсенбаев"}, ())]
    assert rows_of(sheet(GOOD)) == expected
    assert rows_of(with_rows(b"")) == expected


def test_a_workbook_as_departments_save_it() -> None:
    """A margin above and to the left, numbers for text, real dates, a computed formula, a hidden sheet."""

    def fill(book: xlsxwriter.Workbook) -> None:
        page, hidden = book.add_worksheet(), book.add_worksheet()
        hidden.write("A1", "secret")
        hidden.hide()
        day = book.add_format({"num_format": "dd.mm.yyyy"})
        for at, name in enumerate(("ИИН", "Дата договора", "Сумма займа", "Дней просрочки", "Моб. телефон"), start=1):
            page.write_string(2, at, name)
        page.write_number(3, 1, int(PERSON.iin))
        page.write_datetime(3, 2, date(2025, 12, 31), day)
        page.write_formula(3, 3, "=100000+50000.5", None, 150000.5)
        page.write_number(3, 4, 15)
        page.write_number(3, 5, 77011234567)
        page.write_string(5, 1, PERSON.iin)
        page.write_string(5, 3, "=1+1")

    first, second = rows_of(xlsx(fill))
    assert first == Row(
        4,
        {
            "contract.signed_on": "2025-12-31",
            "contract.days_overdue": 15,
            "identity.iin": PERSON.iin,
            "contract.amount": "150000.5",
            "contact.mobile": "+77011234567",
        },
        (),
    )
    assert (second.number, [problem.code for problem in second.problems]) == (6, ["formula"])


def bomb() -> bytes:
    return changed(sheet(GOOD), {"docProps/app.xml": lambda xml: xml + b" " * 2**24})


def shared_text_bomb() -> bytes:
    """One text of 30,000 characters, and thirty thousand cells that say "that one"."""
    cells = {**GOOD, "B3": "я" * 30_000}
    rows = b"".join(b'<row r="%d"><c r="A%d" t="s"><v>4</v></c></row>' % (at, at) for at in range(4, 30_004))
    return with_rows(rows, cells)


def with_part(name: str, body: bytes) -> bytes:
    return changed(sheet(GOOD), {}, (name, body))


def lying() -> bytes:
    """The archive says a size that is not the part's."""
    content = bytearray(sheet(GOOD))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = (10).to_bytes(4, "little")
    return bytes(content)


def encrypted() -> bytes:
    content = bytearray(sheet(GOOD))
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    return bytes(content)


def doubled() -> bytes:
    out = io.BytesIO(sheet(GOOD))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(out, "a") as archive:
        archive.writestr(SHEET, b"<x/>")
    return out.getvalue()


WORKBOOKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a part that unpacks to a thousand times its size": (bomb, "200 times its size"),
    "two cells in opposite corners": (row(b'<c r="Z1048576"><v>1</v></c>'), "more than 3000000 cells"),
    "rows that lie about their number": (row(b'<c r="Z1000000"><v>1</v></c>'), "more than 3000000 cells"),
    "a cell far to the right": (row(b'<c r="XFD3"><v>1</v></c>'), "beyond column 200"),
    "a cell beyond every sheet": (row(b'<c r="A99999999"><v>1</v></c>'), "beyond column 200"),
    "a cell whose place is escaped": (row(b'<c r="&#65;9"><v>1</v></c>'), "no spreadsheet writes"),
    "cells without a place": (row(b"<c><v>1</v></c>"), "no spreadsheet writes"),
    "one text in many cells": (shared_text_bomb, "texts of more than"),
    "an entity": (entity, "no spreadsheet writes"),
    "an archive inside": (lambda: with_part("xl/embeddings/a.bin", sheet(GOOD)), "another archive inside"),
    "a part that leads elsewhere": (lambda: with_part("../../etc/x", b""), "leads elsewhere"),
    "macros": (lambda: with_part("xl/vbaProject.bin", b"\xd0"), "macros"),
    "many parts": (many_parts, "more than 200 parts"),
    "two parts of one name": (doubled, "two parts of one name"),
    "a size that is a lie": (lying, "cut or damaged"),
    "a password": (encrypted, "password"),
    "a workbook cut in half": (lambda: sheet(GOOD)[:3000], "cut or damaged"),
    "a workbook without its end": (lambda: sheet(GOOD)[:-30], "cut or damaged"),
    "a sheet that is no XML": (lambda: changed(sheet(GOOD), {SHEET: lambda xml: xml[:-40]}), "cannot be read as XLSX"),
    "another archive": (other_archive, "is an archive and no XLSX"),
    "a formula that was never computed": (row(b'<c r="B3"><f>1+1</f></c>'), "cell B3 holds a formula that was never"),
    "an error": (row(b'<c r="B3" t="e"><f>1/0</f><v>#DIV/0!</v></c>'), "cell B3 holds an error"),
    "no sheet with anything in it": (lambda: sheet({}), "0 visible sheets"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), WORKBOOKS.values(), ids=WORKBOOKS.keys())
def test_a_hostile_workbook_is_refused_in_little_memory(make: Callable[[], bytes], said: str) -> None:
    content = make()
    tracemalloc.start()
    try:
        with pytest.raises(RegisterRefused, match=said):
            rows_of(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * 2**20


def test_texts_of_the_common_list_are_measured() -> None:
    """Many cells with one long text pass where all of them together are not too long."""
    cells = {**GOOD, "C1": "Имя", "C2": "я" * 400}
    rows = b"".join(
        b'<row r="%d"><c r="A%d" t="s"><v>2</v></c><c r="C%d" t="s"><v>5</v></c></row>' % (at, at, at)
        for at in range(3, 1003)
    )
    assert len(rows_of(with_rows(rows, cells), Limits(unpacked=2**20))) == 1001
    with pytest.raises(RegisterRefused, match="texts of more than 800000 bytes"):
        rows_of(with_rows(rows, cells), Limits(unpacked=800_000))


TEXTS: dict[str, tuple[bytes, str]] = {
    "a line of ten megabytes": (HEAD + b"x" * 10 * 2**20, "row 2: is longer than 800600"),
    "a heading of ten megabytes": (b"x" * 10 * 2**20, "row 1: is longer than"),
    "a cell beyond what csv reads": (HEAD + b'"' + b"x" * 200_000 + b'";\n', "row 2: has a cell that is too long"),
    "a quote that is never closed": (HEAD + b'"' + LINE * 50, "row 2: has quotes that do not match"),
    "a quote that is never closed in a long file": (HEAD + b'"' + LINE * 5000, "row 2: a quote is opened"),
    "a quote closed in the middle": (HEAD + b'"a"b;c\n', "row 2: has quotes that do not match"),
    "nothing": (b"", "is empty"),
    "nothing but lines": (b"\n\n\n", "is empty"),
    "empty cells": (b";;\n;;\n", "no heading is known"),
    "bytes": (b"a\x00\x01\x02", "neither text nor XLSX"),
    "UTF-16": ("ИИН".encode("utf-16"), "UTF-16"),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + b"\x00" * 600, "old XLS"),
    "a PDF": (b"%PDF-1.7", "is a PDF"),
    "a web page": (b"<html>", "web page"),
    "gzip": (b"\x1f\x8b\x08", "gzip"),
    "a JSON array": (b'[{"identity.iin": 1}]', "JSON array"),
    "UTF-8 that was cut": (HEAD + "Ж".encode()[:1], "row 2: is not UTF-8, as the rows before it are"),
    "a mark of UTF-8 and no UTF-8": (b"\xef\xbb\xbf" + HEAD + b"\xff\xff\n", "row 2: says that it is UTF-8 and is not"),
    "Parquet that was cut": (b"PAR1" + b"\x00" * 100, "cannot be read as Parquet"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), TEXTS.values(), ids=TEXTS.keys())
def test_a_hostile_text_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(RegisterRefused, match=said) as raised:
        rows_of(content)
    assert PERSON.iin not in str(raised.value)
    assert raised.value.__cause__ is None


def test_nul_bytes_further_on_are_a_problem_of_their_row() -> None:
    found = rows_of(HEAD + LINE * 300 + b"\x00;\x00\n" + LINE)
    assert [row.number for row in found if row.problems] == [302]
    assert {problem.code for problem in found[300].problems} == {"control_character"}


def test_a_workbook_named_csv_says_so() -> None:
    with pytest.raises(RegisterRefused, match="its name says csv, and it is xlsx"):
        rows_of(sheet(GOOD), kind=Kind.CSV)


def test_a_problem_never_repeats_a_value() -> None:
    secret = "9876543210"
    row = rows_of(
        f"ИИН;Фамилия;Имя;Дата рождения;Сумма займа\n{secret};={secret};{secret}\x01;{secret};{secret}x\n".encode()
    )[0]
    assert len(row.problems) == 5
    assert secret not in repr(row)
