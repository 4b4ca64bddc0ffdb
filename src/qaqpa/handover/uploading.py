"""The turns of a handover that goes to a bureau as one document: handed over once, and asked after until it is told of.

Whether a bureau has a document it cannot be asked; so what was attempted and cut off is unknown, and never sent again.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from qaqpa.errors import InvalidRequest, NotSent, Rejected, ThirdPartyError
from qaqpa.handover import records
from qaqpa.handover.records import Handover
from qaqpa.handover.waiting import LOOK_AGAIN_S
from qaqpa.model.decision import Decision
from qaqpa.model.handover import HandoverState
from qaqpa.model.words import OutcomeResult
from qaqpa.policy import BulkDecider

if TYPE_CHECKING:
    from qaqpa.handover.flow import HandoverFlow

OVER = -1.0
_ASK_S, _FIRST_ASK_S, _EIGHTH = 60.0, 2.0, 8
"""Between two questions: an eighth of the time that has passed, within these."""


def _as_decided(flow: HandoverFlow, handover: Handover) -> Decision:
    """What followed from no row when the package was intended: the exchanges of one batch rest on it."""
    at = datetime.fromisoformat(handover.figures["intended_at"])
    route, asked = flow.packer.route(handover), handover.order.asked
    return BulkDecider(flow.packer.policy, route, asked, now=at, suspended=False).package()


async def send(flow: HandoverFlow, handover: Handover) -> float:
    """Hand a document to a bureau, once."""
    if handover.figures.get("attempted"):  # by a process that was killed before it could say what came of it
        return await flow.ended(handover, OutcomeResult.UNKNOWN, "interrupted", HandoverState.UNKNOWN)
    code = "cancelled" if handover.figures.get("cancel") else await flow.why_outdated(handover)
    if code is not None:
        return await flow.ended(handover, OutcomeResult.NOT_SENT, code, HandoverState.CANCELLED)
    decision = _as_decided(flow, handover)
    # Read before it is noted as attempted: a file that cannot be read now makes nothing unknown.
    document = await flow.batches.document(handover)
    # Noted beside whatever a person has noted meanwhile: a cancellation at this very moment is not written over.
    await flow.ledger.store.write(lambda connection: records.note(connection, handover.id, attempted=True))
    handover = await flow.load(handover.id)
    if not handover.figures.get("attempted"):
        return 0
    if handover.figures.get("cancel"):
        return await flow.ended(handover, OutcomeResult.NOT_SENT, "cancelled", HandoverState.CANCELLED)
    try:
        batch = await flow.batches.upload(handover, document, decision)
    except (NotSent, InvalidRequest) as error:
        return await flow.ended(handover, OutcomeResult.NOT_SENT, error.code, HandoverState.CANCELLED)
    except Rejected as error:
        return await flow.ended(handover, OutcomeResult.REJECTED, error.code, HandoverState.REJECTED)
    except ThirdPartyError as error:
        return await flow.ended(handover, OutcomeResult.UNKNOWN, error.code, HandoverState.UNKNOWN)
    await flow.ended(handover, OutcomeResult.DELIVERED, "ok", HandoverState.SENT, batch=batch)
    return LOOK_AGAIN_S


async def ask(flow: HandoverFlow, handover: Handover) -> float:
    """What became of the batch, as the bureau tells it."""
    answered = await flow.batches.ask(handover, _as_decided(flow, handover))
    if answered is None:
        waited = (flow.ledger.clock() - handover.changed).total_seconds()
        return min(_ASK_S, max(_FIRST_ASK_S, waited / _EIGHTH))
    flow.packer.tidy(await flow.receipts.batch(handover, answered))
    return OVER
