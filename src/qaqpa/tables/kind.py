"""What kind of file a register is, told by its content: a name is only a claim, and often a wrong one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import PurePath
from typing import BinaryIO

from qaqpa.errors import RegisterRefused
from qaqpa.tables.limits import Limits

Cell = str | int | float | bool | Decimal | date | datetime | time | timedelta | None


class Kind(StrEnum):
    """Formats that a register is read from, and (but for Parquet) written in."""

    CSV = "csv"
    XLSX = "xlsx"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(slots=True)
class Line:
    """A line of a register as it stands in the file: its row number, counted from 1, and its cells."""

    number: int
    cells: list[Cell]
    names: tuple[str, ...] | None = None
    """Names of the cells, where each line names its own (JSONL)."""
    faulty: bool = False
    """Whether it cannot be read, though those after it can."""


_SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0", "is an old XLS or a workbook with a password: save it as XLSX without one"),
    (b"%PDF", "is a PDF: export the register as XLSX or CSV"),
    (b"\x1f\x8b", "is packed with gzip: unpack it first"),
    (b"Rar!", "is a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "is a 7-Zip archive: unpack it first"),
    (b"PK\x05\x06", "is an empty archive"),
    (b"\xff\xfe", "is text in UTF-16: save it as CSV in UTF-8"),
    (b"\xfe\xff", "is text in UTF-16: save it as CSV in UTF-8"),
)
_HEAD = 4096


def refused(message: str, row: int | None = None) -> RegisterRefused:
    """The error for a register refused as a whole, with the row where that is known."""
    return RegisterRefused([f"row {row}: {message}" if row is not None else f"register: {message}"])


def size_of(file: BinaryIO) -> int:
    """Bytes of a seekable file, which is left at its start."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def kind_of(file: BinaryIO, limits: Limits) -> Kind:
    """The kind of a seekable file, which is left at its start. Raises RegisterRefused for all but the four kinds."""
    size = size_of(file)
    if size > limits.size:
        raise refused(f"is larger than {limits.size} bytes")
    head = file.read(_HEAD)
    file.seek(0)
    for sign, said in _SIGNS:
        if head.startswith(sign):
            raise refused(said)
    if head.startswith(b"PK\x03\x04"):
        return Kind.XLSX
    if head.startswith(b"PAR1"):
        return Kind.PARQUET
    if b"\x00" in head:
        raise refused("is neither text nor XLSX nor Parquet")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise refused("is empty")
    if text.startswith(b"<"):
        raise refused("is a web page or XML, whatever its name says: save it as XLSX or CSV")
    if text.startswith(b"["):
        raise refused("is a JSON array: write one object a line (JSONL)")
    return Kind.JSONL if text.startswith(b"{") else Kind.CSV


_NAMED = {
    ".csv": Kind.CSV, ".txt": Kind.CSV, ".tsv": Kind.CSV, ".xlsx": Kind.XLSX, ".jsonl": Kind.JSONL,
    ".ndjson": Kind.JSONL, ".parquet": Kind.PARQUET,
}  # fmt: skip


def kind_of_name(name: str) -> Kind:
    """The kind that a file's name claims. RegisterRefused if a register has no such ending."""
    suffix = PurePath(name).suffix.lower()
    if suffix not in _NAMED:
        raise refused(f"its name must end in one of: {', '.join(_NAMED)}")
    return _NAMED[suffix]
