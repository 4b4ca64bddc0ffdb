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
from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

from qaqpa.tables.kind import Line, refused
from qaqpa.tables.limits import Limits

_CHUNK = 2**20
_KEPT = 512
"""Bytes of a chunk that are searched again with the next, for what stands across their border."""
_MEBIBYTE = 2**20
_PLACE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]{1,20})(\d{1,20})["']""")
"""Where a cell says that it stands."""
_NO_PLACE = re.compile(rb"""<(?:\w+:)?c(?:\s+(?!r\s*=)[\w:]+\s*=\s*(?:"[^"<]{0,100}"|'[^'<]{0,100}'))*\s*/?>""")
_SHARED = re.compile(rb"""\st\s*=\s*["']s["']""")
_SHARED_AT = re.compile(rb"""\st\s*=\s*["']s["'][^>]{0,200}>\s*<(?:\w+:)?v>\s*(\d{1,9})\s*<""")
_TEXT = re.compile(rb"<(?:\w+:)?si[\s>/]")
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
    # RuntimeError: a packing that zipfile does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
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
    if any(name.endswith(".bin") and "vba" in name for name in names):
        raise refused("holds macros: save it as XLSX without them")
    left = limits.unpacked
    search = _Search(limits)
    for part in parts:
        _refuse_part(part, left, limits)
        left -= search.read(archive, part)
    search.refuse_repeated_text(archive, parts)


def _refuse_part(part: zipfile.ZipInfo, left: int, limits: Limits) -> None:
    if part.flag_bits & 1:
        raise refused("has a password: save it without one")
    if part.filename.startswith(("/", "\\")) or ".." in part.filename or ":" in part.filename:
        raise refused("has a part inside whose name leads elsewhere")
    if part.file_size > left:
        raise refused(f"is larger than {limits.unpacked} bytes once unpacked")
    if part.file_size > _MEBIBYTE and part.file_size > limits.ratio * max(part.compress_size, 1):
        raise refused(f"has a part inside that unpacks to more than {limits.ratio} times its size")


def _is_sheet(part: zipfile.ZipInfo) -> bool:
    name = part.filename.lower()
    return name.startswith("xl/worksheets/") and name.endswith(".xml")


def _is_texts(part: zipfile.ZipInfo) -> bool:
    return part.filename.lower() == "xl/sharedstrings.xml"


class _Search:
    """What the parts of the archive say of themselves, as they pass by."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.shared = 0
        """Cells that hold a text of the common list, each of which the reader copies."""
        self.texts = array("Q")
        """Where each text of the common list begins, and where the last one ends."""

    def read(self, archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> int:
        """Unpack it to nowhere, and return its size. zipfile checks size and CRC against what the archive says."""
        name = part.filename.lower()
        rows = columns = 1
        size, tail = 0, b""
        with archive.open(part) as unpacked:
            while chunk := unpacked.read(_CHUNK):
                if size == 0:
                    self._refuse_head(name, chunk[:_KEPT])
                piece = tail + chunk
                if _is_sheet(part):
                    rows, columns = self._look(piece, rows, columns)
                    self.shared += len(_SHARED.findall(piece))
                elif _is_texts(part):
                    self._note_texts(piece, size - len(tail))
                size += len(chunk)
                tail = chunk[-_KEPT:]
        if _is_texts(part):
            self.texts.append(size)
        return size

    def _note_texts(self, piece: bytes, offset: int) -> None:
        """Where each text of the common list begins; one on the border of two pieces is met twice."""
        last = self.texts[-1] if self.texts else -1
        self.texts.extend(at for at in (offset + found.start() for found in _TEXT.finditer(piece)) if at > last)

    def _length(self, at: int) -> int:
        """Bytes of text `at`, with its tags."""
        return self.texts[at + 1] - self.texts[at] if at + 1 < len(self.texts) else 0

    @staticmethod
    def _refuse_head(name: str, head: bytes) -> None:
        if head.startswith((b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")):
            raise refused("has another archive inside: remove what is embedded in it")
        if name.endswith((".xml", ".rels")) and (b"<!" in head.replace(b"<!--", b"") or b"\x00" in head):
            raise refused("has XML inside that no spreadsheet writes")

    def _look(self, piece: bytes, rows: int, columns: int) -> tuple[int, int]:
        """The furthest row and column of the sheet so far. RegisterRefused for what the reader must not meet."""
        if _ESCAPED.search(piece) or b"<!DOCTYPE" in piece or b"\x00" in piece or _NO_PLACE.search(piece):
            raise refused("has XML inside that no spreadsheet writes: save it anew")
        places = _PLACE.findall(piece)
        rows = max(rows, *(int(digits) for digits in {digits for _, digits in places}), 1)
        columns = max(columns, *(_column(letters) for letters in {letters for letters, _ in places}), 1)
        if rows > _LAST_ROW or columns > self.limits.columns:
            raise refused(f"has cells beyond column {self.limits.columns} or row {_LAST_ROW}: delete what stands there")
        if rows * columns > self.limits.cells:
            raise refused(f"has more than {self.limits.cells} cells: save it as CSV, which may be of any length")
        for pattern, said in ((_FAULT, "holds an error"), (_NOT_COMPUTED, "holds a formula that was never computed")):
            found = pattern.search(piece)
            if found is not None:
                names = _CELL_NAME.findall(piece, max(0, found.start() - _KEPT), found.end())
                where = f"cell {names[-1].decode()}" if names else "a cell"
                raise refused(f"{where} {said}: open it, mend it and save it anew")
        return rows, columns

    def refuse_repeated_text(self, archive: zipfile.ZipFile, parts: list[zipfile.ZipInfo]) -> None:
        """RegisterRefused if the texts of all cells are too long once each cell has its copy: one long text and a
        million references to it are a small file.
        """
        left = self.limits.unpacked
        longest = max((after - at for at, after in pairwise(self.texts)), default=0)
        if self.shared * longest <= left:
            return
        for part in filter(_is_sheet, parts):
            with archive.open(part) as unpacked:
                while chunk := unpacked.read(_CHUNK):
                    # References across a border are not counted: two of a mebibyte.
                    for at in map(int, _SHARED_AT.findall(chunk)):
                        left -= self._length(at)
            if left < 0:
                raise refused(f"holds texts of more than {self.limits.unpacked} bytes: save it as CSV")


def _column(letters: bytes) -> int:
    """1 for A, 28 for AB."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number
