"""A handover's values: `HandoverIntent` (by the ledger) → `SealedPackage` (by seal, from such an intent; whole)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qaqpa.model.identifiers import HandoverId, RecipientId
from qaqpa.model.words import SealKind


@dataclass(frozen=True, slots=True)
class HandoverIntent:
    """A handover that is durable in the ledger, so that its package may be written. The ledger may know more of it."""

    id: HandoverId
    recipient: RecipientId


@dataclass(frozen=True, slots=True)
class SealedPackage:
    """A sealed file that is whole and durable: what a handover sends."""

    intent: HandoverIntent
    path: Path
    kind: SealKind
    kid: str
    """What names the recipient's key that opens it."""
    content_type: str
    size: int
    """Bytes, sealed."""
    sha256: str
    """Of the sealed bytes, in hex; it says nothing of the content."""

    def __post_init__(self) -> None:
        if not isinstance(self.intent, HandoverIntent):
            raise TypeError("a package is made only from a handover's intent")
