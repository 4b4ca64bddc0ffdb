"""Registers in XLSX: searched for traps first, then read by calamine, which holds the whole sheet in memory.

calamine makes a dense table of a sheet: two cells in opposite corners are enough to end the process, which no `except`
sees. So every part is unpacked once beforehand, in chunks and to nowhere: sizes are counted rather than believed, and
the corners of the first sheet are read from its own cells. It never runs a formula; it reads what was last computed,
and refuses a sheet in which that is an error or missing, since both would read as an empty cell.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from qaqpa.tables.kind import Line, refused
from qaqpa.tables.limits import Limits

_CHUNK = 2**20
_KEPT = 512
"""Bytes of a chunk that are searched again with the next, for what stands across their border."""
_MEBIBYTE = 2**20
_ROW = re.compile(rb"""<(?:\w+:)?row\b[^>]{0,200}?\sr\s*=\s*["'](\d{1,20})["']""")
_COLUMN = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]{2,20})\d""")
_CELL_ROW = re.compile(rb"""\sr\s*=\s*["'][A-Za-z]{1,20}(\d{7,20})["']""")
_ESCAPED = re.compile(rb"""\sr\s*=\s*["'][^"']{0,40}&""")
_FAULT = re.compile(rb"""<(?:\w+:)?c\b[^>]{0,200}?\st\s*=\s*["']e["']""")
_NOT_COMPUTED = re.compile(rb"""(?:</(?:\w+:)?f>|<(?:\w+:)?f\b[^>]{0,200}/>)\s*(?:<(?:\w+:)?v\s*/>\s*)?</(?:\w+:)?c>""")
_CELL_NAME = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3}\d{1,7})["']""")
_LAST_ROW = 1_048_576
"""Of a sheet in XLSX."""


def xlsx_lines(file: BinaryIO, limits: Limits) -> Iterator[Line]:
    """Rows of the only visible sheet with anything in it. Raises RegisterRefused for whatever else.

    Numbers come as `float`, dates as `date` or `datetime`, empty cells as None.
    """
    _search(file, limits)
    # Lazily: most callers of this package never meet a spreadsheet.
    from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum  # noqa: PLC0415

    try:
        with CalamineWorkbook.from_filelike(file) as book:
            visible = [s.name for s in book.sheets_metadata if s.visible is SheetVisibleEnum.Visible]
            sheets = [sheet for sheet in map(book.get_sheet_by_name, visible) if sheet.end is not None]
            if len(sheets) != 1:
                raise refused(f"has {len(sheets)} visible sheets that hold anything: leave one")
            for number, cells in enumerate(sheets[0].iter_rows(), start=1):
                yield Line(number, [None if cell == "" else cell for cell in cells])
    except CalamineError:
        # Its own message may repeat a value.
        raise refused("cannot be read as XLSX: save it anew") from None
    finally:
        file.seek(0)


def _search(file: BinaryIO, limits: Limits) -> None:
    """Refuse an archive that is none, or that would not fit once it is unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            _search_parts(archive, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        raise refused("is cut or damaged: it is no whole XLSX") from None
    finally:
        file.seek(0)


def _search_parts(archive: zipfile.ZipFile, limits: Limits) -> None:
    parts = archive.infolist()
    if len(parts) > limits.members:
        raise refused(f"has more than {limits.members} parts inside")
    names = {part.filename.lower() for part in parts}
    if len(names) != len(parts):
        raise refused("has two parts of one name inside")
    if not {"[content_types].xml", "xl/workbook.xml"} <= names:
        raise refused("is an archive and no XLSX: hand over the register itself")
    left = limits.unpacked
    for part in parts:
        if part.flag_bits & 1:
            raise refused("has a password: save it without one")
        if part.filename.startswith(("/", "\\")) or ".." in part.filename or ":" in part.filename:
            raise refused("has a part inside whose name leads elsewhere")
        if part.file_size > left:
            raise refused(f"is larger than {limits.unpacked} bytes once unpacked")
        if part.file_size > _MEBIBYTE and part.file_size > limits.ratio * max(part.compress_size, 1):
            raise refused(f"has a part inside that unpacks to more than {limits.ratio} times its size")
        left -= _Sheet(limits).read(archive, part)


class _Sheet:
    """What one part of the archive says of itself, as it passes by."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.rows = 1
        self.columns = 26

    def read(self, archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> int:
        """Unpack it to nowhere, and return its size. zipfile checks size and CRC against what the archive says."""
        name = part.filename.lower()
        sheet = name.startswith("xl/worksheets/") and name.endswith(".xml")
        size, tail = 0, b""
        with archive.open(part) as unpacked:
            while chunk := unpacked.read(_CHUNK):
                if size == 0:
                    self._refuse_head(name, chunk[:_KEPT])
                size += len(chunk)
                if sheet:
                    self._look(tail + chunk)
                    tail = chunk[-_KEPT:]
        return size

    @staticmethod
    def _refuse_head(name: str, head: bytes) -> None:
        if head.startswith((b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")):
            raise refused("has another archive inside: remove what is embedded in it")
        if name.endswith((".xml", ".rels")) and (b"<!" in head.replace(b"<!--", b"") or b"\x00" in head):
            raise refused("has XML inside that no spreadsheet writes")

    def _look(self, piece: bytes) -> None:
        if _ESCAPED.search(piece) or b"<!DOCTYPE" in piece or b"\x00" in piece:
            raise refused("has XML inside that no spreadsheet writes")
        self.rows = max(self.rows, *map(int, _ROW.findall(piece)), *map(int, _CELL_ROW.findall(piece)), 1)
        self.columns = max(self.columns, *(_column(name) for name in set(_COLUMN.findall(piece))), 1)
        if self.rows > _LAST_ROW or self.columns > self.limits.columns + 26:
            raise refused(f"has cells beyond column {self.limits.columns} or row {_LAST_ROW}")
        if self.rows * self.columns > self.limits.cells * 2 and self.columns > 26:
            raise refused(self._too_large())
        for pattern, said in ((_FAULT, "holds an error"), (_NOT_COMPUTED, "holds a formula that was never computed")):
            found = pattern.search(piece)
            if found is not None:
                names = _CELL_NAME.findall(piece, max(0, found.start() - _KEPT), found.end())
                where = f"cell {names[-1].decode()}" if names else "a cell"
                raise refused(f"{where} {said}: open it, mend it and save it anew")

    def _too_large(self) -> str:
        return f"has more than {self.limits.cells} cells: save it as CSV, which may be of any length"


def _column(letters: bytes) -> int:
    """1 for A, 28 for AB."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number
