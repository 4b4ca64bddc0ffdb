"""Registers as departments bring them: kinds, dialects, headings, rows, duplicates, memory."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qaqpa.errors import RegisterRefused
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.tables import FACTS, HEADINGS, READABLE, Kind, Layout, Limits, Row, kind_of_name, read
from qaqpa.tables.headings import same
from qaqpa.tables.values import FUTURE
from qaqpa.testing.people import people

TODAY = date(2026, 11, 23)
PEOPLE = people(6, today=TODAY)
LAYOUT = Layout(today=TODAY)
DEBT = (
    "identity.iin", "identity.last_name", "identity.first_name", "identity.middle_name", "identity.birth_date",
    "contact.mobile", "contact.registered_address", "contract.number", "contract.signed_on", "contract.matures_on",
    "contract.amount", "contract.currency", "contract.principal", "contract.overdue_principal", "contract.interest",
    "contract.overdue_interest", "contract.penalty", "contract.expenses", "contract.total_due", "contract.days_overdue",
)  # fmt: skip


def values_of(number: int, paths: Sequence[str] = DEBT) -> dict[str, object]:
    """What a request would hold of one synthetic debtor, by path."""
    found = {}
    for path in paths:
        node: object = PEOPLE[number].data
        for part in path.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            found[path] = node
    return found


def register(
    rows: Iterable[Sequence[object]], headings: Sequence[str], codec: str = "utf-8", **dialect: object
) -> bytes:
    text = io.StringIO(newline="")
    made = csv.writer(text, **{"delimiter": ";", **dialect})  # type: ignore[arg-type]
    made.writerow(headings)
    made.writerows(rows)
    return text.getvalue().encode(codec)


def debtors(language: str = "ru", codec: str = "utf-8", **dialect: object) -> bytes:
    rows = [[values_of(at).get(path, "") for path in DEBT] for at in range(len(PEOPLE))]
    return register(rows, [getattr(HEADINGS[path], language) for path in DEBT], codec, **dialect)


def rows_of(content: bytes, layout: Layout = LAYOUT, **options: object) -> list[Row]:
    return list(read(io.BytesIO(content), layout, **options))  # type: ignore[arg-type]


def one(cells: dict[str, object], layout: Layout = LAYOUT) -> Row:
    """The row of a register of one person, with `cells` by heading."""
    cells = {"ИИН": PEOPLE[0].iin, **cells}
    return rows_of(register([list(cells.values())], list(cells)), layout)[0]


def codes(row: Row) -> list[tuple[str, str]]:
    return [(problem.column, problem.code) for problem in row.problems]


EXPECTED = [Row(at + 2, values_of(at), ()) for at in range(len(PEOPLE))]


def jsonl(*, nested: bool) -> bytes:
    lines = []
    for at in range(len(PEOPLE)):
        made: dict[str, object] = {}
        for path, value in values_of(at).items():
            node = made
            *groups, name = path.split(".") if nested else [path]
            for group in groups:
                node = node.setdefault(group, {})  # type: ignore[assignment]
            node[name] = value
        lines.append(json.dumps({"data": made} if nested else made, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


def parquet() -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    table = {HEADINGS[path].ru: [values_of(at).get(path) for at in range(len(PEOPLE))] for path in DEBT}
    for name in ("Дата рождения", "Дата договора"):
        table[name] = [date.fromisoformat(str(day)) for day in table[name]]
    out = io.BytesIO()
    write_table(pyarrow.table(table), out)
    return out.getvalue()


@pytest.mark.parametrize("language", ["ru", "kk", "en"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig"])
def test_a_register_is_read_in_each_language(language: str, codec: str) -> None:
    assert rows_of(debtors(language, codec)) == EXPECTED


def test_values_do_not_depend_on_the_kind() -> None:
    assert rows_of(parquet()) == EXPECTED
    for nested in (False, True):
        assert [row._replace(number=row.number + 1) for row in rows_of(jsonl(nested=nested))] == EXPECTED


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)


@settings(max_examples=150)
@given(
    cells=st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=5),
    delimiter=st.sampled_from(";,\t|"),
    ends=st.sampled_from(["\r\n", "\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    codec=st.sampled_from(["utf-8", "utf-8-sig"]),
    told=st.booleans(),
)
def test_whatever_the_dialect_the_same_cells_are_read(
    cells: list[list[str]], delimiter: str, ends: str, quoting: int, codec: str, told: bool
) -> None:
    dialect = {"delimiter": delimiter, "lineterminator": ends, "quoting": quoting}
    headings = ["ИИН", "Фамилия", "Моё, своё; и | ещё"]
    content = register(cells, headings, codec, **dialect)
    if told:
        mark = b"\xef\xbb\xbf" if codec == "utf-8-sig" else b""
        content = mark + f"sep={delimiter}{ends}".encode() + content.removeprefix(mark)
    plain = register(cells, headings)
    loose = Layout(today=TODAY, required=())
    assert rows_of(content, loose) == rows_of(plain, loose)
    assert [row.number for row in rows_of(content, loose)] == [
        at for at, row in enumerate(cells, start=2) if any(cell.strip() for cell in row)
    ]
    for row in rows_of(content, loose):
        name = cells[row.number - 2][1]
        if name.isalpha() and name.isascii():
            assert row.values["identity.last_name"] == name


def test_cyrillic_in_the_encodings_of_old() -> None:
    headings = ["ИИН", "Фамилия"]
    russian = register([[PEOPLE[0].iin, "Фёдоров"]], headings, "cp1251")
    assert rows_of(russian)[0].values["identity.last_name"] == "Фёдоров"
    kazakh = register([[PEOPLE[0].iin, "Сәрсенбаев"]], headings, "kz1048")
    # Read as Windows-1251 these bytes would be other letters, so nobody guesses.
    with pytest.raises(RegisterRefused, match=r"row 2: .*name its encoding \(kz-1048"):
        rows_of(kazakh)
    assert rows_of(kazakh, encoding="kz-1048")[0].values["identity.last_name"] == "Сәрсенбаев"
    with pytest.raises(RegisterRefused, match="neither UTF-8 nor Windows-1251"):
        rows_of(register([[PEOPLE[0].iin, "Петров Иван"]] * 9, headings, "koi8-r"))
    with pytest.raises(RegisterRefused, match="row 3: is not in utf-8 as was said"):
        rows_of(register([[PEOPLE[0].iin, "x"]], ["IIN", "Last name"]) + b"\xff\n", encoding="utf-8")


# --- headings ------------------------------------------------------------------------------------------------


def test_every_field_and_fact_has_a_heading_and_none_stands_for_two() -> None:
    assert set(HEADINGS) == {*VOCABULARY, *FACTS}
    assert {path for path in HEADINGS if not path.startswith("report.")} == READABLE
    assert READABLE >= FUTURE
    for language in ("ru", "kk", "en"):
        names = [same(getattr(words, language)) for words in HEADINGS.values()]
        assert len(set(names)) == len(names)
    for path in READABLE:
        for name in (path, HEADINGS[path].ru, HEADINGS[path].kk, HEADINGS[path].en):
            assert LAYOUT.path_of(name) == path


@pytest.mark.parametrize(
    "heading",
    ["Счёт", "счет", " СЧЕТ ", "«Счёт»", "№ счёта", "Номер счета:", "bank.account", "data.bank.account", "IBAN"],
)
def test_headings_are_compared_without_regard_to_looks(heading: str) -> None:
    assert LAYOUT.path_of(heading) == "bank.account"


@pytest.mark.parametrize("heading", ["Сумма займа, тг", "Сумма займа (в тенге)", "Сумма займа, KZT"])
def test_a_unit_changes_no_heading(heading: str) -> None:
    assert LAYOUT.path_of(heading) == "contract.amount"


def test_synonyms_of_a_recipient_win() -> None:
    layout = Layout(today=TODAY, synonyms={"Код клиента": "identity.iin", "Телефон": "contact.home_phone"})
    content = register([[PEOPLE[0].iin, "+77172123456"]], ["код  клиента", "телефон"])
    assert rows_of(content, layout)[0].values == {"identity.iin": PEOPLE[0].iin, "contact.home_phone": "+77172123456"}


@pytest.mark.parametrize(
    "synonyms",
    [{"x": "identity.nothing"}, {"x": "report.score"},
     {"--": "identity.iin"}, {"Ё": "bank.account", "е": "identity.iin"}]
)  # fmt: skip
def test_synonyms_that_lead_nowhere_are_refused(synonyms: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="heading"):
        Layout(today=TODAY, synonyms=synonyms)


def test_unknown_columns_are_told_of_and_never_read() -> None:
    found = read(
        io.BytesIO(register([[PEOPLE[0].iin, "x", "y", "z"]], ["ИИН", "Кредитный балл", "", "report.score"])), LAYOUT
    )
    assert found.unknown == ("Кредитный балл", "report.score")
    assert next(found).values == {"identity.iin": PEOPLE[0].iin}


def test_a_value_in_place_of_a_heading_is_never_shown() -> None:
    person = values_of(0)
    headings = ["ИИН", PEOPLE[1].iin, "a@example.com", str(person["contact.mobile"])]
    found = read(io.BytesIO(register([[PEOPLE[0].iin, "", "", ""]], headings)), LAYOUT)
    assert found.unknown == ("column 2", "column 3", "column 4")
    with pytest.raises(RegisterRefused, match=r"no heading is known.*such as 'ИИН'") as raised:
        rows_of(register([], [str(cell) for cell in person.values()]))
    assert PEOPLE[0].iin not in str(raised.value)


@pytest.mark.parametrize(("language", "said"), [("ru", "'Дней просрочки'"), ("kk", "'Мерзімі өткен күндер саны'")])
def test_a_missing_column_is_named_in_the_departments_language(language: str, said: str) -> None:
    layout = Layout(today=TODAY, language=language, required=("identity.iin", "contract.days_overdue"))  # type: ignore[arg-type]
    with pytest.raises(RegisterRefused, match=f"row 1: these columns are missing: {said}"):
        rows_of(register([], ["ЖСН", "Тегі"]), layout)


def test_one_field_in_two_columns_is_refused() -> None:
    with pytest.raises(RegisterRefused, match=r"'ИИН' and 'ЖСН' both hold identity.iin"):
        rows_of(register([], ["ИИН", "ЖСН"]))
    with pytest.raises(RegisterRefused, match=r"row 1: .*both hold"):
        rows_of('{"identity.iin": "1", "ЖСН": "3"}'.encode())


# --- rows ----------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_row_is_told_with_its_column_and_never_a_value() -> None:
    row = one({"Фамилия": "=cmd()", "Дата рождения": "31.02.1990", "Моб. телефон": "1", "Имя": "Ирина"})
    assert set(codes(row)) == {
        ("Фамилия", "formula"),
        ("Дата рождения", "date_impossible"),
        ("Моб. телефон", "phone_malformed"),
    }
    assert row.values == {"identity.iin": PEOPLE[0].iin, "identity.first_name": "Ирина"}
    for problem in row.problems:
        assert not {"cmd", "31.02.1990"} & set(problem.message.split())
    said = one({"Имя": "@x"}, Layout(today=TODAY, language="en")).problems[0]
    assert said.message == "The cell holds a formula: leave only its value"


def test_a_required_value_that_is_missing_is_told_of_once() -> None:
    layout = Layout(today=TODAY, required=("identity.iin", "identity.last_name"))
    assert codes(one({"Фамилия": "-"}, layout)) == [("Фамилия", "missing_value")]
    assert codes(one({"Фамилия": "=1"}, layout)) == [("Фамилия", "formula")]


PARTS = {
    "Основной долг": "0.10", "Просроченный основной долг": "0.20", "Вознаграждение": "1",
    "Просроченное вознаграждение": "2", "Неустойка": "3", "Расходы": "4",
}  # fmt: skip
TOTAL = "Общая задолженность"
DIFFERS = [(TOTAL, "sum_differs")]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({TOTAL: "10.30"}, []),
        ({TOTAL: "10,3"}, []),
        ({TOTAL: "10.31"}, DIFFERS),
        ({TOTAL: "10.29", "Расходы": "4.01"}, DIFFERS),
        ({TOTAL: "11", "Расходы": ""}, []),
        ({TOTAL: ""}, []),
        ({TOTAL: "11", "Расходы": "-1"}, [("Расходы", "amount_negative")]),
        ({TOTAL: "1000000000000010.30", "Расходы": "1000000000000004"}, []),
        ({TOTAL: "1000000000000010.31", "Расходы": "1000000000000004"}, DIFFERS),
    ],
)  # fmt: skip
def test_parts_that_are_all_there_add_up(cells: dict[str, object], found: list[tuple[str, str]]) -> None:
    assert codes(one({**PARTS, **cells})) == found


def test_rows_are_counted_as_a_spreadsheet_shows_them() -> None:
    iin = PEOPLE[0].iin
    content = f'ИИН;Фамилия\r\n\r\n{iin};А\r\n;\r\n{iin};"Б\r\nВ"\r\n{iin}\r\n{iin};Г;\r\n{iin};Г;Д\r\n'.encode()
    rows = rows_of(content)
    assert [(row.number, codes(row)) for row in rows] == [
        (3, []),
        (5, [("Фамилия", "control_character")]),
        (6, [("", "wrong_number_of_cells")]),
        (7, []),
        (8, [("", "wrong_number_of_cells")]),
    ]
    assert rows[4].values == {}, "which cell belongs to which column cannot be known"


def test_lines_of_jsonl_that_cannot_be_read_do_not_end_it() -> None:
    iin = PEOPLE[0].iin
    lines = [
        f'{{"identity": {{"iin": "{iin}", "last_name": "А"}}, "facts": {{"contract": {{"duties_met": false}}}}}}',
        "not json",
        "[1]",
        f'{{"identity.iin": "{iin}", "identity.iin": "{iin}"}}',
        f'{{"identity.iin": "{iin}", "identity": {{"iin": "{iin}"}}}}',
        f'{{"identity.iin": "{iin}", "related": [{{"role": "x"}}]}}',
        f'{{"identity.iin": "{iin}", "contract.amount": NaN}}',
        '{"a":' * 5000 + "1" + "}" * 5000,
        f'{{"identity.iin": {iin.lstrip("0")}, "contract.amount": 1.10, "contract.days_overdue": 5, "x": 1}}',
        f'{{"identity.iin": "{iin}", "contract.amount": 1e999999999}}',
        '{"contract.amount": 1}',
    ]
    found = read(io.BytesIO("\n".join(lines).encode()), LAYOUT)
    rows = list(found)
    assert [row.number for row in rows] == list(range(1, 12))
    assert [codes(row) for row in rows] == [
        [], *[[("", "unreadable_line")]] * 7, [], [("contract.amount", "number_imprecise")], [("ИИН", "missing_value")]
    ]  # fmt: skip
    assert rows[0].values == {"identity.iin": iin, "identity.last_name": "А", "facts.contract.duties_met": False}
    assert rows[8].values == {"identity.iin": iin, "contract.amount": "1.10", "contract.days_overdue": 5}
    assert found.unknown == ("x",)


# --- kinds ---------------------------------------------------------------------------------------------------


def test_a_name_that_claims_another_kind_is_refused() -> None:
    assert [kind_of_name(name) for name in ("a.CSV", "b.txt", "c.xlsx", "d.ndjson", "e.parquet")] == [
        Kind.CSV, Kind.CSV, Kind.XLSX, Kind.JSONL, Kind.PARQUET
    ]  # fmt: skip
    with pytest.raises(RegisterRefused, match="its name must end"):
        kind_of_name("register.xls")
    for content, kind, said in (
        (jsonl(nested=True), Kind.CSV, "jsonl"),
        (parquet(), Kind.XLSX, "parquet"),
        (debtors(), Kind.JSONL, "csv"),
    ):
        with pytest.raises(RegisterRefused, match=f"its name says {kind.value}, and it is {said}"):
            rows_of(content, kind=kind)
        assert rows_of(content, kind=Kind(said))


def table(columns: dict[str, list[object]]) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    out = io.BytesIO()
    write_table(pyarrow.table(columns), out)
    return out.getvalue()


def test_parquet_of_another_shape_is_refused() -> None:
    with pytest.raises(RegisterRefused, match="nested columns"):
        rows_of(table({"identity": [{"iin": PEOPLE[0].iin}]}))
    with pytest.raises(RegisterRefused, match="more than 1 rows"):
        rows_of(table({"identity.iin": [PEOPLE[0].iin] * 2}), limits=Limits(rows=1))
    with pytest.raises(RegisterRefused, match="missing: 'ИИН'"):
        rows_of(table({"identity.last_name": ["А"]}))
    assert codes(rows_of(table({"identity.iin": [PEOPLE[0].iin], "identity.last_name": [b"x"]}))[0]) == [
        ("identity.last_name", "unreadable_line")
    ]


def test_without_the_extra_parquet_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    content = parquet()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RegisterRefused, match=r"pip install 'qaqpa\[parquet\]'"):
        rows_of(content)


# --- limits --------------------------------------------------------------------------------------------------


def test_what_is_not_read_to_its_end_leaves_the_file_to_its_owner() -> None:
    file = io.BytesIO(debtors())
    rows = read(file, LAYOUT)
    next(rows)
    file.close()
    del rows  # warnings are errors: nothing may be raised here


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(rows=5), "more than 5 rows"),
        (Limits(columns=19), "more than 19 columns"),
        (Limits(size=100), "larger than 100 bytes"),
    ],
)
def test_limits_hold(limits: Limits, said: str) -> None:
    with pytest.raises(RegisterRefused, match=said):
        rows_of(debtors(), limits=limits)
