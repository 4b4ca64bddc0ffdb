"""Who signed the last checkpoint: the ledger's key, witnesses of the configuration and how late each was, others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from qaqpa.console.visit import Visit
from qaqpa.errors import NotFound, VerificationFailed
from qaqpa.gateway.witnesses import witness_key
from qaqpa.ledger.checkpoints import opened
from qaqpa.tlog.notes import Checkpoint, Note, VerifierKey


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What one witness of the configuration says of a checkpoint."""

    name: str
    at: datetime | None
    """When it cosigned; None where it has not."""
    is_valid: bool = True

    def late_s(self, signed: str) -> int:
        """Seconds from the checkpoint's own signature, at the time `signed`, to this one; 0 where clocks differ."""
        at = datetime.fromisoformat(signed) if self.at is None else self.at
        return max(0, round((at - datetime.fromisoformat(signed)).total_seconds()))


@dataclass(frozen=True, slots=True)
class Signed:
    """The last checkpoint."""

    checkpoint: Checkpoint
    text: str
    witnesses: tuple[Witnessed, ...]
    others: tuple[str, ...]
    """Names of whoever else signed; no key of theirs is configured."""


async def last_signed(visit: Visit) -> Signed | None:
    """The last checkpoint; None before the first. Raises VerificationFailed where it is not ours."""
    try:
        data = await visit.gateway.compliance.checkpoint(visit.caller)
    except NotFound:
        return None
    key = visit.gateway.setup.log_key
    note, checkpoint = opened(data, key)
    keys = [witness_key(each.vkey) for each in visit.gateway.setup.config.gateway.ledger.witnesses]
    known = [key, *keys]
    others = [each.name for each in note.signatures if not any(each.is_by(one) for one in known)]
    return Signed(checkpoint, data.decode(), tuple(witnessed(note, each) for each in keys), tuple(others))


def witnessed(note: Note, key: VerifierKey) -> Witnessed:
    """What the witness with this key says of a checkpoint."""
    if not note.is_signed_by(key):
        return Witnessed(key.name, None)
    try:
        at = note.verify(key)
    except VerificationFailed:
        return Witnessed(key.name, None, is_valid=False)
    return Witnessed(key.name, None if at is None else datetime.fromtimestamp(at, UTC))
