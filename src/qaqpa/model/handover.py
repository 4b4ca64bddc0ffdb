"""A handover: many disclosures in one package, decided row by row and sent as one.

Rows are intended in the ledger one by one, each with an id of its own; the package that holds them is intended once
more, with its digest, before it may leave; one outcome concludes them all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import NamedTuple

from qaqpa.model.decision import Decision
from qaqpa.model.disclosure import Json
from qaqpa.model.identifiers import DisclosureId, HandoverId, RecipientId
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import SealKind


class HandoverState(StrEnum):
    """Where a handover stands."""

    QUEUED = "queued"
    """Its register is here, encrypted; nothing is decided yet."""
    DECIDING = "deciding"
    """Row by row: decided, entered in the ledger, minimised, written into the package."""
    PACKAGED = "packaged"
    """The package is whole and sealed; it waits for its recipient's window and turn."""
    SENDING = "sending"
    """The package is intended in the ledger; bytes of it may have left."""
    SENT = "sent"
    """The recipient's machine has the whole package, compared by size and digest."""
    ACKNOWLEDGED = "acknowledged"
    """The recipient's receipt came; it may reject single rows."""
    REJECTED = "rejected"
    """The recipient's receipt rejects the package as a whole."""
    UNKNOWN = "unknown"
    """Nobody knows whether it arrived; it is never sent again without a person."""
    CANCELLED = "cancelled"
    """Nothing of it was sent, and nothing will be."""


FINAL = frozenset({HandoverState.ACKNOWLEDGED, HandoverState.REJECTED, HandoverState.CANCELLED})
"""States that nothing follows. `unknown` is left by a person who found out."""


class RowResult(IntEnum):
    """What became of one row of a register."""

    PERMIT = 0
    DENY = 1
    GAP = 2
    MALFORMED = 3
    """Its cells could not be read, or contradict each other: nobody decided about it."""
    DUPLICATE = 4
    """Its person stands in an earlier row."""
    SUPPRESSED = 5
    """Too few others look like it, so that it would tell whom it is about."""
    REJECTED = 6
    """The recipient did not take it."""


@dataclass(frozen=True, slots=True)
class HandoverIntent:
    """A handover whose rows are entered in the ledger as they are decided, so that its package may be written."""

    id: HandoverId
    recipient: RecipientId


@dataclass(frozen=True, slots=True)
class Package:
    """A file of ciphertext that is whole and durable. Made by seal alone; it may not leave yet."""

    intent: HandoverIntent
    path: Path
    kind: SealKind
    kid: str
    """What names the recipient's key that opens it."""
    content_type: str
    size: int
    """Bytes, sealed."""
    sha256: str
    """Of the sealed bytes, in hexadecimal; it says nothing of the content."""

    def __post_init__(self) -> None:
        if not isinstance(self.intent, HandoverIntent):
            raise TypeError("a package is made only from a handover's intent")


@dataclass(frozen=True, slots=True)
class PackageIntent:
    """The intent to send one package: durable in the ledger, after the intents of all its rows. Made by it alone."""

    handover: HandoverId
    index: int
    """Of its entry."""
    recipient: RecipientId
    seal: SealKind
    sha256: str
    """Of the sealed package, in hexadecimal."""
    size: int
    """Bytes of the sealed package."""


@dataclass(frozen=True, slots=True)
class SealedPackage:
    """A package that may go on the wire: a file of ciphertext, and the intent to send exactly that."""

    intent: PackageIntent
    path: Path
    name: str
    """Of the file at the recipient, made of the handover's id: the same on every attempt."""

    def __post_init__(self) -> None:
        if not isinstance(self.intent, PackageIntent):
            raise TypeError("a package is sent only from its intent")


class DecidedRow(NamedTuple):
    """A row of a register about somebody, decided."""

    number: int
    """Its line in the register, the heading's being 1."""
    iin: str
    decision: Decision
    stated: bytes
    """The facts that came with it, as canonical JSON: kept sealed."""
    fields: tuple[FieldPath, ...] = ()
    withheld: tuple[FieldPath, ...] = ()
    record: bytes = b""
    """What of it leaves, as JSON by path: the digest of this is kept sealed."""

    def __repr__(self) -> str:
        return f"DecidedRow({self.number})"  # what is of a person stays out of every log

    @property
    def goes(self) -> bool:
        """Whether something of it leaves; only a row whose decision permits makes an intent."""
        return bool(self.record)


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that does not go, or that the recipient rejected, and why: names and codes, never a value."""

    number: int
    result: RowResult
    reasons: tuple[Mapping[str, Json], ...]


def row_id(handover: HandoverId, row: int) -> DisclosureId:
    """The id of a row's disclosure (UUIDv7): the moment of its handover, the row, and 42 bits made of both.

    Whoever knows handover and row knows it again, after any crash; rows stand in their order.
    """
    tail = int.from_bytes(hashlib.blake2b(row.to_bytes(4), key=handover.encode(), digest_size=6).digest()) >> 6
    low = 0x2 << 62 | (row & 0xFFFFF) << 42 | tail
    return DisclosureId(f"{handover[:13]}-7{row >> 20:03x}-{low >> 48:04x}-{low & 0xFFFF_FFFF_FFFF:012x}")
