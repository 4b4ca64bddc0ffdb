"""With which exit code commands on a handover end: why it stands where it stands, and whether it was cancelled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from qaqpa.cli.handover_watch import cancelled_exit_code, exit_code
from qaqpa.handover.handovers import Standing
from qaqpa.handover.orders import Order
from qaqpa.handover.records import Handover, Progress
from qaqpa.model.handover import HandoverState
from qaqpa.model.identifiers import HandoverId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANCELLED = {
    "strict": 1, "nothing_permitted": 1, "too_few_alike": 1, "cancelled": 1, "consent_ended": 1, "agreement_ended": 1,
    "law_changed": 1, "changed_meanwhile": 2, "register_refused": 2, "not_possible": 2, "request_invalid": 2,
    "connect_failed": 4, "package_changed": 4, "interrupted": 4,
}  # fmt: skip
"""Why nothing of it was sent."""


def standing(state: HandoverState, **figures: Any) -> Standing:
    order = Order(caller="collections", recipient="demo-collector", operation="handover", purpose="debt_collection")
    return Standing(Handover(HandoverId("x"), order, state, NOW, NOW, figures), Progress(0, 0), {})


@pytest.mark.parametrize(("code", "ends"), CANCELLED.items())
def test_what_was_not_sent_ends_with_why(code: str, ends: int) -> None:
    assert exit_code(standing(HandoverState.CANCELLED, code=code)) == ends


@pytest.mark.parametrize(("waits", "ends"), [(None, 0), ("connect_failed", 4), ("store_unavailable", 5)])
def test_what_waits_ends_with_what_it_waits_for(waits: str | None, ends: int) -> None:
    figures = {} if waits is None else {"waits": {"code": waits, "failed": 3}}
    assert exit_code(standing(HandoverState.PACKAGED, **figures)) == ends


@pytest.mark.parametrize("state", HandoverState)
def test_only_what_is_cancelled_was_cancelled(state: HandoverState) -> None:
    ends = cancelled_exit_code(standing(state, code="cancelled"))
    doubtful = {HandoverState.SENDING, HandoverState.UNKNOWN}
    assert ends == (0 if state is HandoverState.CANCELLED else 4 if state in doubtful else 2)
