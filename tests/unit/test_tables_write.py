"""Registers as recipients get them: nothing in them runs, and what was written is read back the same."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from qaqpa.errors import NotPossible
from qaqpa.tables import HEADINGS, Kind, Layout, Result, kind_of_name, read, write_results, writer, writing
from qaqpa.tables.safety import inert, runs, surely_inert
from qaqpa.testing.people import people

TODAY = date(2026, 11, 23)
PEOPLE = people(5, today=TODAY)
COLUMNS = (
    "identity.iin", "identity.last_name", "identity.birth_date", "contact.mobile", "contract.number",
    "contract.total_due", "contract.days_overdue", "facts.contract.duties_met",
)  # fmt: skip


def rows() -> list[dict[str, object]]:
    made = []
    for person in PEOPLE:
        row: dict[str, object] = {"facts.contract.duties_met": False}
        for path in COLUMNS[:-1]:
            group, _, name = path.partition(".")
            row[path] = person.data[group][name]
        made.append(row)
    return made


def written(kind: Kind, rows: list[Any], columns: tuple[str, ...] = COLUMNS, **options: Any) -> bytes:
    sink = io.BytesIO()
    made = writer(kind, columns, sink, **options)
    for row in rows:
        made.write(row)
    made.close()
    return sink.getvalue()


def back(content: bytes) -> list[Mapping[str, object]]:
    found = list(read(io.BytesIO(content), Layout(today=TODAY, required=())))
    assert not any(row.problems for row in found)
    return [row.values for row in found]


def sheets(content: bytes) -> dict[str, list[list[Any]]]:
    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


OPTIONS: list[tuple[Kind, dict[str, Any]]] = [
    (Kind.JSONL, {}),
    (Kind.XLSX, {"language": "kk"}),
    *((Kind.CSV, {"delimiter": mark}) for mark in ";,\t|"),
    (Kind.CSV, {"language": "en", "encoding": "utf-8"}),
    (Kind.CSV, {"decimal": ","}),
    (Kind.CSV, {"decimal": ",", "delimiter": ","}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_what_is_written_is_read_back_the_same(kind: Kind, options: dict[str, Any]) -> None:
    def plain(found: Mapping[str, object]) -> dict[str, object]:
        # A spreadsheet's number forgets that ten tenge were 10.00.
        return {path: Decimal(str(value)) if path == "contract.total_due" else value for path, value in found.items()}

    expected = [plain(row) for row in rows()]
    assert [plain(row) for row in back(written(kind, rows(), **options))] == expected
    in_order = [[row.get(path) for path in COLUMNS] for row in rows()]
    assert written(kind, in_order, **options) == written(kind, rows(), **options) or kind is Kind.XLSX


def test_a_csv_in_windows_1251_refuses_letters_that_it_has_not() -> None:
    columns = ("identity.iin", "identity.last_name")
    content = written(Kind.CSV, [["1", "Фёдоров"]], columns, encoding="windows-1251")
    assert content == "ИИН;Фамилия\r\n1;Фёдоров\r\n".encode("cp1251")
    with pytest.raises(NotPossible, match="row 3, Фамилия: holds letters that windows-1251 has not") as raised:
        written(Kind.CSV, [["1", "А"], ["1", "Сәрсенбаев"]], columns, encoding="windows-1251")
    assert "Сәрсенбаев" not in str(raised.value)


def test_the_mark_of_utf_8_stands_once() -> None:
    content = written(Kind.CSV, [["1", "я" * 400]] * 500, ("identity.iin", "identity.last_name"))
    assert content.startswith(b"\xef\xbb\xbf")
    assert content.count(b"\xef\xbb\xbf") == 1
    assert content.count(b"\r\n") == 501


def test_a_row_that_does_not_fit_the_columns_is_refused() -> None:
    for kind in (Kind.CSV, Kind.XLSX, Kind.JSONL):
        made = writer(kind, COLUMNS, io.BytesIO())
        with pytest.raises(ValueError, match=r"no column is there for contract\.amount"):
            made.write({"contract.amount": "1"})
        with pytest.raises(ValueError, match="must have 8 cells"):
            made.write(["1"])
        with pytest.raises(ValueError, match="must have 8 cells"):
            made.write("12345678")


@pytest.mark.parametrize(
    ("kind", "columns", "options", "said"),
    [
        (Kind.CSV, (), {}, "columns, each once"),
        (Kind.CSV, ("identity.iin", "identity.iin"), {}, "columns, each once"),
        (Kind.CSV, ("row",), {}, "no heading is known for row"),
        (Kind.CSV, ("identity.iin",), {"delimiter": "x"}, "delimiters are"),
        (Kind.CSV, ("identity.iin",), {"encoding": "koi8-r"}, "encodings"),
        (Kind.CSV, ("identity.iin",), {"decimal": ";"}, "decimal marks"),
        (Kind.PARQUET, ("identity.iin",), {}, "CSV, XLSX or JSONL"),
    ],
)
def test_settings_that_there_are_none_of(
    kind: Kind, columns: tuple[str, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        writer(kind, columns, io.BytesIO(), **options)


def test_columns_outside_the_vocabulary_have_the_headings_they_are_given() -> None:
    headings = {"row": "№", "identity.iin": "Код"}
    content = written(Kind.CSV, [[1, "2"]], ("row", "identity.iin"), headings=headings, encoding="utf-8")
    assert content.decode() == "№;Код\r\n1;2\r\n"


# --- nothing runs --------------------------------------------------------------------------------------------

RUNS = [
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "'=1", '"=1', "«=1", "＝1", "＋1", "－1", "＠x",
    "\ufeff=1", "\u200b=1", "=cmd|' /C calc'!A0", "+cmd", "-cmd", "+77011234567+1", "+", "-", "--1",
    "+7 701 123 45 67", "\x00=1", "−1",
]  # fmt: skip
PASSES = [
    "+77011234567", "-5", "-12500.50", "-12,5", "12", "Иванов", "ул. Абая, 5-7", "a=b", "МК-2401-000001", ""
]  # fmt: skip


@pytest.mark.parametrize("text", RUNS)
def test_what_would_run_stands_behind_an_apostrophe(text: str) -> None:
    assert runs(text)
    assert re.fullmatch(r"'[^\x00-\x1f]*", inert(text))


@pytest.mark.parametrize("text", PASSES)
def test_phones_and_numbers_stay_usable(text: str) -> None:
    assert not runs(text)
    assert inert(text) == text


DANGER = re.compile(r"""[\s"«\ufeff\u200b]*[=+\-@＝＋－＠]""")
"""What runs; an apostrophe before the sign keeps it from that."""
USABLE = re.compile(r"""[\s"«\ufeff\u200b]*(\+[0-9]{5,15}|-[0-9]{1,18}([.,][0-9]{1,6})?)[\s"]*(\t.*)?""", re.DOTALL)
"""A number, or one and a tab and more: two numbers without a sign between them are no formula."""
HOSTILE = st.text(st.sampled_from("=+-@＝＋\t\r\n ;,|\"'7a1|!я\ufeff\x00"), max_size=14) | st.sampled_from(
    RUNS + PASSES
)


@settings(max_examples=300)
@given(st.lists(HOSTILE, min_size=2, max_size=3), st.sampled_from(";,\t|"), st.sampled_from(";,\t|"))
def test_no_cell_of_a_csv_runs_whatever_the_delimiter_it_is_opened_with(
    texts: list[str], delimiter: str, opened: str
) -> None:
    columns = ("identity.last_name", "bank.bank_name", "device.page")[: len(texts)]
    content = written(Kind.CSV, [texts, texts], columns, delimiter=delimiter)
    line = content.decode("utf-8-sig").split("\r\n", 1)[1]
    for row in csv.reader(io.StringIO(line, newline=""), delimiter=opened):
        for cell in row:
            assert opened != delimiter or "\n" not in cell
            assert not DANGER.match(cell) or USABLE.fullmatch(cell)


@given(HOSTILE | st.text(max_size=12))
def test_what_surely_does_not_run_is_never_changed(text: str) -> None:
    if surely_inert(text):
        assert inert(text) == inert(text, first=True) == text


def test_a_number_that_could_run_on_into_the_next_cell_is_held() -> None:
    """A comma file that is opened by semicolons gives one cell a row: `-5,1+cmd|...` is a formula there."""
    content = written(Kind.CSV, [["-5", "1+cmd|'/C calc'!A0"]], ("identity.last_name", "bank.bank_name"), delimiter=",")
    assert content.decode().splitlines()[1].startswith("'-5,")
    assert inert("кв. 5; +77011234567") == "кв. 5;' +77011234567"


@given(HOSTILE)
def test_no_cell_of_an_xlsx_is_a_formula_or_a_link(text: str) -> None:
    content = written(Kind.XLSX, [[text, text]], ("identity.last_name", "contract.total_due"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        sheet = archive.read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in sheet
    assert b"<f " not in sheet
    assert b"hyperlink" not in sheet
    assert not any("external" in name.lower() for name in names)


def test_text_that_would_run_stays_text_when_it_is_edited() -> None:
    content = written(Kind.XLSX, [["=1+1"]], ("identity.last_name",))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert b'quotePrefix="1"' in archive.read("xl/styles.xml")
    assert sheets(content)["Sheet1"][1] == ["=1+1"]


# --- XLSX ----------------------------------------------------------------------------------------------------


def test_an_xlsx_holds_text_as_text_and_numbers_as_numbers() -> None:
    long = "1234567890123456.78"
    content = written(Kind.XLSX, [[PEOPLE[0].iin, "2025-12-31", "1500.50", 7], [None, "", long, None]], (
        "identity.iin", "contract.signed_on", "contract.amount", "contract.days_overdue",
    ))  # fmt: skip
    assert sheets(content)["Sheet1"] == [
        ["ИИН", "Дата договора", "Сумма займа", "Дней просрочки"],
        [PEOPLE[0].iin, date(2025, 12, 31), 1500.5, 7],
        ["", "", long, ""],
    ]


def test_nothing_is_put_on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("plaintext would stand on a disk")

    for name in ("mkstemp", "NamedTemporaryFile", "TemporaryFile", "mkdtemp", "SpooledTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert len(back(written(Kind.XLSX, rows()))) == len(PEOPLE)
    write_results(io.BytesIO(), [Result(2, "И***", "ok")])


def test_an_xlsx_that_memory_could_not_hold_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "XLSX_CELLS", 24)
    made = writer(Kind.XLSX, COLUMNS, io.BytesIO())
    for row in rows()[:3]:
        made.write(row)
    with pytest.raises(NotPossible, match="an XLSX of 8 columns holds at most 3 rows: write it as CSV or JSONL"):
        made.write(rows()[3])
    monkeypatch.setattr(writing, "XLSX_ROWS", 2)
    with pytest.raises(NotPossible, match="at most 2 rows"):
        write_results(io.BytesIO(), [Result(at, "И***", "ok") for at in range(3)])
    with pytest.raises(NotPossible, match="longer than an XLSX holds"):
        written(Kind.XLSX, [["x" * 40_000]], ("identity.last_name",))


# --- results of a dry run ------------------------------------------------------------------------------------

RESULTS = [
    Result(2, "С*** (ЖСН …1234)", "Передаётся"),
    Result(3, "И***", "Блокируется", ("56-V 9-2: заёмщик не уведомлён", "62-VI 4: нет условия о коллекторе")),
    Result(4, "=cmd()", "Блокируется", ("62-VI 4: нет условия о коллекторе",)),
    Result(5, "П***", "Ошибка в строке", ("ИИН: ищите опечатку", "ИИН: ищите опечатку")),
]


def test_results_say_each_row_and_how_often_each_reason_stands() -> None:
    sink = io.BytesIO()
    write_results(sink, iter(RESULTS))
    found = sheets(sink.getvalue())
    assert list(found) == ["Строки", "Итоги"]
    assert found["Строки"][0] == ["Строка", "Субъект", "Результат", "Причины"]
    assert found["Строки"][2] == [3, "И***", "Блокируется", "\n".join(RESULTS[1].reasons)]
    assert [row for row in found["Итоги"] if row[0]] == [
        ["Результат", "Строк"],
        ["Блокируется", 2],
        ["Ошибка в строке", 1],
        ["Передаётся", 1],
        ["Всего", 4],
        ["Причина", "Строк"],
        ["62-VI 4: нет условия о коллекторе", 2],
        ["56-V 9-2: заёмщик не уведомлён", 1],
        ["ИИН: ищите опечатку", 1],
    ]


@pytest.mark.parametrize(("language", "names"), [("kk", ["Жолдар", "Қорытынды"]), ("en", ["Rows", "Summary"])])
def test_results_are_made_for_people(language: Any, names: list[str]) -> None:
    sink = io.BytesIO()
    write_results(sink, RESULTS, language=language)
    content = sink.getvalue()
    assert list(sheets(content)) == names
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert '<autoFilter ref="A1:D5"/>' in sheet
    assert 'state="frozen"' in sheet
    assert '<pane ySplit="1"' in sheet
    assert sheet.count("<col ") == 4


def test_no_results_are_a_workbook_too() -> None:
    sink = io.BytesIO()
    write_results(sink, [])
    assert sheets(sink.getvalue())["Итоги"][1] == ["Всего", 0]


def test_jsonl_is_one_object_a_row_by_path() -> None:
    content = written(
        Kind.JSONL, [{"identity.iin": "1", "contract.total_due": Decimal("1.10"), "contract.number": None}]
    )
    assert content == b'{"identity.iin":"1","contract.total_due":"1.10"}\n'
    assert json.loads(content) == {"identity.iin": "1", "contract.total_due": "1.10"}
    assert kind_of_name("out.jsonl") is Kind.JSONL
    assert set(COLUMNS) <= set(HEADINGS)


def test_heavy_readers_are_imported_only_when_their_files_come() -> None:
    asked = (
        "import sys, qaqpa.tables; print([m for m in ('pyarrow', 'xlsxwriter', 'python_calamine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
