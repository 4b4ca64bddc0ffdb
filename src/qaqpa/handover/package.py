"""The package of a handover: a ZIP with the register in the recipient's layout, documents and a signed manifest, sealed
as it is written. No plaintext touches a disk, and no more than one row and a buffer of it is in memory.

Not for XLSX, whose register is held until it is whole, within the limits of `tables.writing`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from qaqpa.config.packages import Packages
from qaqpa.handover.manifest import NAME, SIGNATURE, Member
from qaqpa.minimise import Cut
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import HandoverIntent, row_id
from qaqpa.model.vocabulary import FieldPath
from qaqpa.seal import PackageKey, PackageWriter
from qaqpa.tables import Kind, writer

IDS = "disclosures.csv"
ROW, DISCLOSURE = "row", "disclosure"
"""Columns of a register beside fields: the line, counted from 1 without the heading, and the disclosure's id."""
_HELD = 2**18
_LEVEL = 1
"""Of compression: registers shrink to a third, and more would cost more time than it saves bytes."""


class _Counted:
    """A member of the ZIP, counted and digested."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._held = bytearray()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._held += data
        if len(self._held) >= _HELD:
            self.flush()
        return len(data)

    def flush(self) -> None:
        block = bytes(self._held)
        self._held.clear()
        self._digest.update(block)
        self.size += len(block)
        self._file.write(block)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class _Unseekable:
    """What `zipfile` writes to: it must not go back, because what was written is sealed."""

    def __init__(self, sealed: PackageWriter) -> None:
        self._sealed = sealed
        self.is_wanted = True

    def write(self, data: bytes, /) -> int:
        if self.is_wanted:
            self._sealed.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Whoever sealed closes."""


class PackageBuilder:
    """Writes one package: rows in their order, then `enclose` what goes with them, then `finish`.

    Only rows whose intents are durable may be added; the caller enters them first. Leaving the block without `finish`
    removes the file.
    """

    def __init__(
        self,
        intent: HandoverIntent,
        key: PackageKey,
        path: Path,
        config: Packages,
        fields: Iterable[FieldPath],
        at: datetime,
    ) -> None:
        """`fields` are those of the route: a column of another one is left out. `at` dates the members."""
        self._intent = intent
        self._sealed = PackageWriter(intent, key, path)
        self._below = _Unseekable(self._sealed)
        self._zip = zipfile.ZipFile(self._below, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self._date = (at.year, at.month, at.day, at.hour, at.minute, at.second)
        layout = config.register_
        known = set(fields) | {ROW, DISCLOSURE}
        self.columns = tuple(column for column in layout.columns if column.field in known)
        self._extra = [at for at, column in enumerate(self.columns) if column.field in {ROW, DISCLOSURE}]
        self.register = f"register.{layout.format}"
        self._open = self._zip.open(self._info(self.register), "w", force_zip64=True)
        self._counted = _Counted(self._open)
        self._writer = writer(
            Kind(layout.format),
            [column.field for column in self.columns],
            self._counted,
            headings={column.field: column.heading for column in self.columns},
            delimiter=layout.delimiter,
            encoding=layout.encoding,
        )
        self.rows = 0

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, self._date)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        return info

    def add(self, rows: Iterable[tuple[int, Cut]]) -> None:
        """Rows that are in the ledger: the line of each in the register that was handed in, and what leaves of it."""
        write, fields = self._writer.write, [column.field for column in self.columns]
        for number, cut in rows:
            line = list(map(cut.values.get, fields))
            self.rows += 1
            for at in self._extra:
                line[at] = self.rows if self.columns[at].field == ROW else row_id(self._intent.id, number)
            write(line)

    def enclose(
        self, numbers: Iterable[int], documents: Sequence[tuple[Member, Iterable[bytes]]]
    ) -> tuple[Member, list[Member]]:
        """No row follows: the register as it is in the package, and the other members, for the manifest.

        `numbers` are the lines of the rows that go, as in `add`.
        """
        self._writer.close()
        self._counted.flush()
        self._open.close()
        columns: Json = [{"heading": each.heading, "field": each.field} for each in self.columns]
        register = Member(
            self.register, self._counted.size, self._counted.sha256, {"rows": self.rows, "columns": columns}
        )
        return register, [self._ids(numbers), *(self._document(member, pieces) for member, pieces in documents)]

    def finish(self, *said: bytes) -> dict[str, Json]:
        """Close the package, which is durable when this returns: its digest and size, whose key it is sealed with, and
        the digest of its manifest. `said` are the manifest and its signature.
        """
        for name, data in zip((NAME, SIGNATURE), said, strict=True):
            self._zip.writestr(self._info(name), data)
        self._zip.close()
        package = self._sealed.close()
        manifest = hashlib.sha256(said[0]).hexdigest()
        return {"sha256": package.sha256, "bytes": package.size, "kid": package.kid, "manifest": manifest}

    def _ids(self, numbers: Iterable[int]) -> Member:
        """Which disclosure each line of the register is."""
        handover = self._intent.id
        with self._zip.open(self._info(IDS), "w", force_zip64=True) as file:
            counted = _Counted(file)
            counted.write(b"row,disclosure\r\n")
            for row, number in enumerate(numbers, start=1):
                counted.write(b"%d,%s\r\n" % (row, row_id(handover, number).encode()))
            counted.flush()
        return Member(IDS, counted.size, counted.sha256)

    def _document(self, member: Member, pieces: Iterable[bytes]) -> Member:
        with self._zip.open(self._info(member.file), "w", force_zip64=True) as file:
            for piece in pieces:
                file.write(piece)
        return member

    def abort(self) -> None:
        """Leave nothing behind; after `finish` it does nothing."""
        self._below.is_wanted = False
        self._sealed.abort()
        self._open.close()
        self._zip.close()

    def __enter__(self) -> PackageBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()
