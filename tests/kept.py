"""Handovers as the books keep them, put there without a register that went: for what looks at the books alone."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import orjson

from harness import House
from qaqpa.gateway import Gateway
from qaqpa.model.handover import HandoverState
from qaqpa.model.identifiers import uuid7
from qaqpa.model.words import timestamp
from registers import order

_ADD = (
    "INSERT INTO handovers "
    "(id, caller, recipient, state, since, changed, ordered, figures, operation, follows, destroy_by) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


async def add(
    house: House, gateway: Gateway, ago: timedelta, state: HandoverState, promised: str | None = None, **asked: Any
) -> str:
    """One of a single row that was taken in, and went, so long ago; its receipt `promised` to destroy it by a day."""
    made, name, since = order(**asked), uuid7(), timestamp(house.clock() - ago)
    receipt = {"receipt": {"destruction_due": promised, "rejected": 0, "result": "accepted", "signed": True}}
    figures = {"intended_at": since, "rows": 1, **(receipt if promised else {})}
    values = (
        name, made.caller, made.recipient, state.value, since, since, orjson.dumps(asdict(made)).decode(),
        orjson.dumps(figures).decode(), made.operation, made.follows, promised,
    )  # fmt: skip
    await gateway.store.write(lambda connection: connection.execute_many(_ADD, [values]))
    return name
