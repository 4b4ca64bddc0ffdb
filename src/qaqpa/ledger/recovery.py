"""What nobody knows the end of: intents cut off by a crash become `unknown`, and stay listed until a person settles
them. Their data may have left.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from qaqpa.errors import InvalidRequest, NotFound, NotPossible, StoreError
from qaqpa.ledger import entries, handovers, recalls
from qaqpa.ledger.agreed import Act, Agreed
from qaqpa.ledger.appending import Appended
from qaqpa.ledger.awaited import waiting
from qaqpa.ledger.entries import SETTLE, Kind
from qaqpa.ledger.ledger import Ledger
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.subjects import Subject
from qaqpa.model.identifiers import is_our_id
from qaqpa.model.words import OutcomeResult, timestamp
from qaqpa.store import Connection

_UNSETTLED = "SELECT disclosure, subject, recipient, gateway, state, since FROM unsettled ORDER BY since, disclosure"
_ONE = "SELECT state, recipient FROM unsettled WHERE disclosure = ?"
_FREE_KEY = "DELETE FROM idempotency WHERE disclosure = ?"
_NOT_AWAITED = "DELETE FROM awaited WHERE disclosure = ?"


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A disclosure of which nobody knows what came of it."""

    disclosure: str
    subject: str
    recipient: str
    gateway: int
    state: str
    """`open`: no outcome yet; `unknown`: nobody knows, and a person must settle it; `awaited`, where it was looked up:
    open, and its answer comes later.
    """
    since: str
    intent: int | None = None
    """Index of its intent, where it was looked up; None where that lies in a file."""


def unsettled(connection: Connection) -> list[Unsettled]:
    """Every one, oldest first."""
    return [Unsettled(*row) for row in connection.execute(_UNSETTLED).all()]


def located(connection: Connection) -> list[Unsettled]:
    """Every one, oldest first, each with the index of its intent, and whether its answer is awaited."""
    awaited = waiting(connection)
    return [
        replace(
            each,
            intent=next((entry.index for entry in entries_of(connection, request=each.disclosure)), None),
            state="awaited" if each.state == "open" and each.disclosure in awaited else each.state,
        )
        for each in unsettled(connection)
    ]


async def recover(ledger: Ledger) -> int:
    """Conclude as `unknown` what gateways left open that no longer live; returns how many.

    Not what is awaited, nor handovers: their jobs live longer than a gateway, and conclude them themselves.
    """
    await _finish_own(ledger)
    left, awaited = await ledger.store.read(lambda connection: (unsettled(connection), waiting(connection)))
    # Nor a handover, which is about nobody alone: its job goes on with it.
    found = [each for each in left if each.state == "open" and each.subject and each.disclosure not in awaited]
    owners = {each.gateway for each in found} - {ledger.gateway}
    dead = {number for number in owners if not await asyncio.to_thread(ledger.store.engine.lives, number)}
    recovered = 0
    for each in found:
        if each.gateway in dead and await _conclude(ledger, each.disclosure, each.subject, OutcomeResult.UNKNOWN):
            recovered += 1
    return recovered


async def _finish_own(ledger: Ledger) -> None:
    """What this process knows and could not enter."""
    for disclosure, enter in list(ledger.unrecorded.items()):
        try:
            await enter()
        except (StoreError, NotFound):
            if await _state(ledger, disclosure) == "open":
                raise
        ledger.unrecorded.pop(disclosure, None)
        ledger.under_way.pop(disclosure, None)
    for disclosure, subject in list(ledger.unconfirmed.items()):
        # The one case in which a disclosure without an answer surely was not sent: its own process knows.
        if await _state(ledger, disclosure) == "open":
            await _conclude(ledger, disclosure, subject.id, OutcomeResult.NOT_SENT, subject)
        ledger.unconfirmed.pop(disclosure, None)


async def _state(ledger: Ledger, disclosure: str) -> str | None:
    row = await ledger.store.read(lambda connection: connection.execute(_ONE, (disclosure,)).first())
    return None if row is None else str(row[0])


async def _conclude(
    ledger: Ledger, disclosure: str, subject: str, result: OutcomeResult, known: Subject | None = None
) -> bool:
    """Whether the outcome is entered; another gateway may have been faster."""
    public = entries.interrupted(disclosure, subject, result, at=ledger.clock())
    draft = ledger.draft(Kind.OUTCOME, disclosure, public, known or await ledger.subjects.by_id(subject), {})

    def unit(connection: Connection) -> bool:
        row = connection.execute(_ONE, (disclosure,)).first()
        if row is None or row[0] != "open":
            return False
        if result is OutcomeResult.NOT_SENT:
            connection.execute(_FREE_KEY, (disclosure,))
        connection.execute(_NOT_AWAITED, (disclosure,))
        ledger.append(connection, draft)
        return True

    return await ledger.store.write(unit, alone=True)


def require_unknown(connection: Connection, disclosure: str) -> str:
    """The recipient of a disclosure that waits to be settled. Raises NotFound, NotPossible."""
    row = connection.execute(_ONE, (disclosure,)).first() if is_our_id(disclosure) else None
    if row is None:
        raise NotFound("no disclosure with this id is unsettled: `qaqpa ledger open` lists those that are")
    if row[0] != "unknown":
        raise NotPossible(["disclosure: is under way in a running gateway; wait for its outcome"])
    return str(row[1])


async def settle(ledger: Ledger, agreed: Agreed, *, caller: str) -> int:
    """Two persons say what came of a disclosure; returns the entry's index.

    Raises NotAllowed for what was agreed of another act, NotFound where nothing is to be settled, InvalidRequest for
    `unknown`, NotPossible for one that is under way or where it is done.
    """
    what = agreed.require(Act.SETTLE)
    disclosure, result = what["disclosure"], OutcomeResult(what["result"])
    if result is OutcomeResult.UNKNOWN:
        raise InvalidRequest(["result: delivered, rejected or not_sent; unknown settles nothing"])
    await recover(ledger)

    def unit(connection: Connection) -> Appended:
        agreed.use_up(connection)
        recipient = require_unknown(connection, disclosure)
        if result is OutcomeResult.NOT_SENT:  # nothing was disclosed, so the key may be used again
            connection.execute(_FREE_KEY, (disclosure,))
        handovers.settled(connection, disclosure, result, timestamp(ledger.clock()))
        recalls.settled(connection, disclosure, result, timestamp(ledger.clock()))
        public = entries.control(
            SETTLE, recipient, caller, agreed.persons, agreed.reason, at=ledger.clock(), intent=disclosure,
            result=result.value, approval=agreed.approval,
        )  # fmt: skip
        return ledger.append(connection, ledger.draft(Kind.CONTROL, str(public["id"]), public))

    return (await ledger.store.write(unit, alone=True)).index
