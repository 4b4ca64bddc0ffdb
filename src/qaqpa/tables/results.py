"""What came of a dry run, as a workbook for people: each row with its result and reasons, and how often each stands."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from qaqpa.model.words import Language, Words
from qaqpa.tables.safety import runs
from qaqpa.tables.writing import Sink, refuse_size, workbook


class Result(NamedTuple):
    """What came of one row. `subject` is masked by the caller; no value of a person is written otherwise."""

    row: int
    """As in the register that was handed in."""
    subject: str
    result: str
    """In words, such as "passes" or "blocked"."""
    reasons: Sequence[str] = ()


_SHEETS = (
    Words(ru="Строки", kk="Жолдар", en="Rows"),
    Words(ru="Итоги", kk="Қорытынды", en="Summary"),
)
_HEADINGS = (
    (Words(ru="Строка", kk="Жол", en="Row"), 9),
    (Words(ru="Субъект", kk="Субъект", en="Subject"), 24),
    (Words(ru="Результат", kk="Нәтиже", en="Result"), 18),
    (Words(ru="Причины", kk="Себептер", en="Reasons"), 90),
)
_RESULT = Words(ru="Результат", kk="Нәтиже", en="Result")
_REASON = Words(ru="Причина", kk="Себеп", en="Reason")
_ROWS = Words(ru="Строк", kk="Жол саны", en="Rows")
_ALL = Words(ru="Всего", kk="Барлығы", en="All")


def write_results(sink: Sink, results: Iterable[Result], *, language: Language = "ru") -> None:
    """Write the workbook to `sink`: a sheet of rows (heading frozen, filters on), and a sheet of counts.

    A row with several reasons counts under each of them. NotPossible beyond `writing.XLSX_ROWS`.
    """
    stream = io.BytesIO()
    book = workbook(stream)
    made = _Sheets(book, language)
    for result in results:
        made.add(result)
    made.finish()
    book.close()
    sink.write(stream.getvalue())


class _Sheets:
    def __init__(self, book: Any, language: Language) -> None:
        self._language: Language = language
        self._head = book.add_format({"bold": True, "bg_color": "#DDE6EE", "bottom": 1, "valign": "top"})
        self._wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        self._wrapped_quoted = book.add_format({"text_wrap": True, "valign": "top", "quote_prefix": True})
        self._top = book.add_format({"valign": "top"})
        self._bold = book.add_format({"bold": True, "top": 1})
        self._rows, self._summary = (book.add_worksheet(name.in_language(language)) for name in _SHEETS)
        self._count = 0
        self._by_result: Counter[str] = Counter()
        self._by_reason: Counter[str] = Counter()
        for at, (name, width) in enumerate(_HEADINGS):
            self._rows.set_column(at, at, width)
            self._rows.write_string(0, at, name.in_language(language), self._head)
        self._rows.freeze_panes(1, 0)

    def add(self, result: Result) -> None:
        self._count += 1
        refuse_size(self._count, len(_HEADINGS))
        self._by_result[result.result] += 1
        self._by_reason.update(dict.fromkeys(result.reasons, 1))
        self._rows.write_number(self._count, 0, result.row, self._top)
        for at, text in enumerate((result.subject, result.result, "\n".join(result.reasons)), start=1):
            self._text(self._rows, self._count, at, text)

    def _text(self, sheet: Any, row: int, at: int, text: str) -> None:
        # 32,767 characters are the most of a cell: reasons beyond are not shown there, but counted.
        sheet.write_string(row, at, text[:32_000], self._wrapped_quoted if runs(text) else self._wrapped)

    def finish(self) -> None:
        self._rows.autofilter(0, 0, self._count, len(_HEADINGS) - 1)
        self._rows.repeat_rows(0)
        for sheet in (self._rows, self._summary):
            sheet.set_landscape()
            sheet.fit_to_pages(1, 0)
        self._summary.set_column(0, 0, 100)
        self._summary.set_column(1, 1, 12)
        self._summary.freeze_panes(1, 0)
        row = self._block(0, _RESULT, self._by_result)
        self._summary.write_string(row, 0, _ALL.in_language(self._language), self._bold)
        self._summary.write_number(row, 1, self._count, self._bold)
        self._block(row + 2, _REASON, self._by_reason)

    def _block(self, row: int, name: Words, counts: Counter[str]) -> int:
        """Write one table of counts, the most frequent first; the row after it."""
        self._summary.write_string(row, 0, name.in_language(self._language), self._head)
        self._summary.write_string(row, 1, _ROWS.in_language(self._language), self._head)
        for at, (text, count) in enumerate(sorted(counts.items(), key=lambda one: (-one[1], one[0])), start=row + 1):
            self._text(self._summary, at, 0, text)
            self._summary.write_number(at, 1, count, self._top)
        return row + 1 + len(counts)
