"""What both bureaus' uploads share: the settings, the rows, the finished document, remarks brought back to their rows.

Built on `records` and `records_check`. It never opens a connection, and keeps nothing between calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, Field

from qaqpa.adapter import BatchRows, Operation, operation
from qaqpa.errors import InvalidRequest
from qaqpa.model.batch import Remark
from qaqpa.model.disclosure import Exchange, Extract
from qaqpa_adapters import records, records_check
from qaqpa_adapters.dictionaries import Dictionaries, GivenDictionaries, configured

CONTRACT_UPLOAD = "contract_upload"

UPLOAD: Operation = operation(
    CONTRACT_UPLOAD, endpoint="upload", needs=records.NEEDS, uses=records.USES, idempotent=False, batch=True
)
"""Contracts handed over. What they do with a repeated batch no public paper says, so it is never repeated unasked."""

_WORD = re.compile(r"[^\s;,|\"'<>()\[\]{}]+")
_PLAIN = re.compile(r"(?!.*[0-9]{7})([0-9A-Z_.]{1,60}|[a-z][0-9A-Za-z]*(\.[0-9A-Za-z_]+){1,5})")
"""A number, a word in capitals or a dotted key: neither a name, nor a number as long as an IIN, nor a contract's."""
_MOST_WORDS = 40


class UploadSettings(BaseModel):
    """What `[settings]` of a bureau may hold for uploads, beside the rest; needed only where contracts are uploaded."""

    dictionaries: GivenDictionaries = None
    """The bureau's dictionaries as a JSON document: see `dictionaries.Dictionaries`."""
    batch_rows: Annotated[int, Field(ge=1, le=20_000)] = 5_000
    """The most contracts in one upload."""


class Uploads:
    """The half of a `BatchAdapter` that is the same for every bureau."""

    _settings: UploadSettings

    def batch_limit(self, _operation: str) -> int:
        """As the settings say."""
        return self._settings.batch_rows

    def batch_head(self, _operation: str, _exchange: Exchange) -> bytes:
        """Raises NotConfigured without the dictionaries."""
        configured(self._settings.dictionaries)
        return records.HEAD

    def batch_row(self, _operation: str, row: int, extract: Extract, exchange: Exchange) -> bytes:
        """One Contract. Raises InvalidRequest and NotConfigured."""
        return records.contract(row, extract, exchange, configured(self._settings.dictionaries))

    def batch_codes(self, _operation: str, extract: Extract) -> tuple[str, ...]:
        """The contract's code, where it has one, and its number. Raises InvalidRequest."""
        return records.codes_of(extract)

    def batch_tail(self, _operation: str) -> bytes:
        """The end of Records."""
        return records.TAIL

    def packed(self, document: bytes, exchange: Exchange) -> bytes:
        """The document in a ZIP, once nothing is wrong with it. Raises InvalidRequest."""
        found = records_check.faults(document, most=self._settings.batch_rows)
        if found:
            raise InvalidRequest(
                [f"contract {each.position}: {each.what}" if each.position else each.what for each in found]
            )
        return records_check.packed(document, name=f"{exchange.id}.xml", at=exchange.at)


def only_as_batch(name: str) -> InvalidRequest:
    """The error for an operation of many rows that is asked for with one person's data."""
    return InvalidRequest([f"operation: {name} goes as a batch; hand in a register of contracts"])


def row_named_in(text: str | None, rows: BatchRows) -> int | None:
    """The one row whose code stands in a remark, as the whole of it or as a word of it; None where none or two do."""
    if text is None:
        return None
    whole = rows.known_as(text.strip())
    if whole is not None:
        return whole
    words = [word for found in _WORD.findall(text)[:_MOST_WORDS] for word in {found, found.rpartition("=")[2]}]
    found = {row for word in words if (row := rows.known_as(word)) is not None}
    return found.pop() if len(found) == 1 else None


def plain_code(*parts: str | None) -> str:
    """A code of theirs that may be shown; `unnamed` for what is no code and might tell of a person."""
    code = ".".join(part for part in parts if part)
    return code if _PLAIN.fullmatch(code) else "unnamed"


def split_by_kind(
    remarks: Iterable[tuple[str | None, Remark]], dictionaries: Dictionaries | None
) -> tuple[tuple[Remark, ...], tuple[Remark, ...]]:
    """Rejections and warnings, by the type that each remark has."""
    known = {} if dictionaries is None else dictionaries.message_type
    rejections: list[Remark] = []
    warnings: list[Remark] = []
    for kind, remark in remarks:
        (warnings if known.get(kind or "") == "warning" else rejections).append(remark)
    return tuple(rejections), tuple(warnings)
