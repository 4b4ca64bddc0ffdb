"""When a package may leave: in its recipient's hours, after those of higher priority, so many a day."""

from __future__ import annotations

from datetime import datetime, timedelta

from qaqpa.config.packages import Packages
from qaqpa.handover import records
from qaqpa.handover.batches import BatchTerms
from qaqpa.handover.packer import Packer
from qaqpa.handover.records import Handover
from qaqpa.model.handover import HandoverState
from qaqpa.model.words import timestamp

LOOK_AGAIN_S = 5.0
"""While another one goes first."""
LONGEST_REST_S = 600.0


async def turn_comes_in(packer: Packer, handover: Handover) -> float:
    """Seconds until it may be tried: the window is closed, another one goes first, or the day's number is full."""
    if wait := until_open(packer, handover.order.recipient):
        return min(wait, LONGEST_REST_S)
    terms, store, now = packer.partner(handover.order.recipient).terms, packer.ledger.store, packer.ledger.clock()
    others = await store.read(
        lambda connection: records.in_states(connection, HandoverState.PACKAGED, HandoverState.SENDING)
    )
    rank = _rank(handover)
    before = any(
        each.order.recipient == handover.order.recipient and (each.state is HandoverState.SENDING or _rank(each) < rank)
        for each in others
        if each.id != handover.id
    )
    if before:
        return LOOK_AGAIN_S
    if terms.per_day is not None:
        since = timestamp(now - timedelta(days=1))
        sent = await store.read(lambda c: records.sent_since(c, handover.order.recipient, since))
        if sent >= terms.per_day:
            return LONGEST_REST_S
    return 0


def _rank(handover: Handover) -> tuple[int, datetime, str]:
    return -handover.order.priority, handover.since, handover.id


def until_open(packer: Packer, recipient: str) -> float:
    """Seconds until a window of `recipient` is open, by the operator's clock; 0 while one is."""
    zone = packer.policy.operator.time_zone
    return _until_open(packer.partner(recipient).terms, packer.ledger.clock().astimezone(zone))


def _until_open(terms: Packages | BatchTerms, now: datetime) -> float:
    waits = []
    for window in terms.windows:
        opens = datetime.combine(now.date(), window.opens, now.tzinfo)
        closes = datetime.combine(now.date(), window.closes, now.tzinfo)
        if opens <= now < closes:
            return 0
        waits.append(((opens if now < opens else opens + timedelta(days=1)) - now).total_seconds())
    return min(waits, default=0)
