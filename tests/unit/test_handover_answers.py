"""What is said of rows and of the pace of a handover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness import ROOT
from qaqpa.cli.handover_watch import exit_code
from qaqpa.gateway import load_setup
from qaqpa.gateway.handover_answers import finding_answer, pace, sentence
from qaqpa.handover.handovers import Standing
from qaqpa.handover.orders import Order
from qaqpa.handover.pulse import Done, Stretch
from qaqpa.handover.records import Handover, Progress
from qaqpa.model.consent import Uncovered
from qaqpa.model.handover import Finding, HandoverState, RowResult
from qaqpa.model.identifiers import HandoverId
from qaqpa.policy import law
from qaqpa.tables import MESSAGES

GUARDS = load_setup(ROOT / "config", home=ROOT, environ={}).config.guards
NOW = datetime(2026, 1, 1, tzinfo=UTC)

# What the judge notes of a row that is held back, for each guard there is.
REASONS: dict[str, dict[str, Any]] = {
    **{name: {"code": name, "clause": "2.3(3)", "result": "deny"} for name in {**law.GUARDS, **GUARDS}},
    "lacks a fact": {"code": "borrower_notified", "result": "gap", "missing": ["contract.breach_notified_on"]},
    "lacks a field": {"code": "fields_present", "result": "gap", "missing": ["identity.iin"]},
    "a guard that errs": {"code": "borrower_notified", "result": "gap"},
    "record silent": {"code": "facts_agree", "result": "gap", "findings": ["contract_unreachable"]},
    "record differs": {"code": "facts_agree", "result": "deny", "findings": ["contract.days_overdue"]},
    **{each: {"code": "consent_covers", "result": "deny", "findings": [each.value]} for each in Uncovered},
    **{f"cell {code}": {"code": code, "column": "ИИН", "message": "1 2"} for code in MESSAGES},
    "alike": {"code": "too_few_alike"},
}
NO_WORDS_OF_ITS_OWN = {"consent_covers", "fields_present", "facts_agree"}
"""Always with findings or what is missing."""


@pytest.mark.parametrize("case", sorted(REASONS.keys() - NO_WORDS_OF_ITS_OWN))
def test_every_reason_is_said_in_three_languages(case: str) -> None:
    reason = REASONS[case]
    finding = Finding(2, RowResult.DENY, (reason,))
    said = {sentence(finding, reason, GUARDS, language) for language in ("ru", "kk", "en")}
    assert len(said) == 3 and reason["code"] not in said and not any("{" in each for each in said)


def test_a_duplicate_names_the_row_it_repeats_and_a_recipients_code_is_theirs() -> None:
    twice = Finding(9, RowResult.DUPLICATE, ({"code": "duplicate_subject", "column": "", "message": "строке 42"},))
    assert finding_answer(twice, GUARDS, "en")["reasons"] == [
        {"code": "duplicate_subject", "message": "This person stands already in row 42"}
    ]
    theirs = Finding(9, RowResult.REJECTED, ({"code": "borrower_notified"},))
    assert finding_answer(theirs, GUARDS, "en")["reasons"][0]["message"] == "The recipient's code: borrower_notified"
    unknown = Finding(9, RowResult.DENY, ({"code": "guard_of_the_past"},))
    assert finding_answer(unknown, GUARDS, "ru")["reasons"][0]["message"] == "guard_of_the_past"


def test_what_is_missing_is_named_by_its_heading() -> None:
    lacks = Finding(9, RowResult.GAP, (REASONS["lacks a fact"],))
    [reason] = finding_answer(lacks, GUARDS, "ru")["reasons"]
    assert "Дата уведомления о просрочке" in reason["message"] and "contract." not in reason["message"]
    assert reason["missing"] == ["contract.breach_notified_on"]


def standing(state: HandoverState, progress: Progress, **figures: Any) -> Standing:
    order = Order(caller="a", recipient="b", operation="c", purpose="d", bytes=1_000)
    return Standing(Handover(HandoverId("x"), order, state, NOW, NOW, figures), progress, {})


def run(state: HandoverState, since: datetime, at: datetime, rows: int = 0, read: int = 0) -> Any:
    return Stretch(state, since, at, Done(rows, read)).plain()


def test_the_pace_is_of_what_is_done_now() -> None:
    later = NOW + timedelta(seconds=2)
    worked = run(HandoverState.DECIDING, NOW, later)
    deciding = pace(standing(HandoverState.DECIDING, Progress(1, 50, 250), run=worked), later)
    assert (deciding.rows_per_s, deciding.bytes_per_s, deciding.eta_s) == (25.0, 125.0, 6.0)
    whole = pace(standing(HandoverState.DECIDING, Progress(1, 50, 5_000), run=worked), later)
    assert (whole.bytes, whole.eta_s) == (1_000, None), "a spreadsheet is read before its first row"
    sent = {"package": {"bytes": 400}, "uploaded": 100, "run": run(HandoverState.SENDING, NOW, later)}
    sending = pace(standing(HandoverState.SENDING, Progress(2, 60, 1_000), **sent), later)
    assert (sending.bytes, sending.of_bytes, sending.eta_s, sending.rows_per_s) == (100, 400, 6.0, None)
    queued = pace(standing(HandoverState.QUEUED, Progress(0, 0)), later)
    assert (queued.bytes, queued.of_bytes, queued.eta_s) == (0, 1_000, None)


def test_time_in_which_nobody_worked_is_not_counted() -> None:
    """It was taken in hours ago, 50 rows were decided by a process that was killed, and this one began 4 s ago."""
    began = NOW + timedelta(hours=7)
    now = began + timedelta(seconds=4)
    again = run(HandoverState.DECIDING, began, now - timedelta(seconds=1), rows=50, read=250)
    found = pace(standing(HandoverState.DECIDING, Progress(3, 90, 450), run=again), now)
    assert (found.rows_per_s, found.bytes_per_s, found.eta_s) == (10.0, 50.0, 11.0)
    unmoved = pace(standing(HandoverState.DECIDING, Progress(1, 50, 250), run=again), now)
    dead = pace(standing(HandoverState.DECIDING, Progress(3, 90, 450), run=again), now + timedelta(minutes=1))
    earlier = pace(standing(HandoverState.SENDING, Progress(3, 90, 450), run=again, package={"bytes": 4}), now)
    for each in (unmoved, dead, earlier):
        assert (each.rows_per_s, each.bytes_per_s, each.eta_s) == (None, None, None)
    assert dead.rows == 90, "how far it is, is told all the same"


@pytest.mark.parametrize(
    ("code", "ends_with"),
    [
        ("strict", 1), ("nothing_permitted", 1), ("too_few_alike", 1), ("consent_ended", 1), ("agreement_ended", 1),
        ("law_changed", 1), ("cancelled", 1), ("register_refused", 2), ("changed_meanwhile", 2), ("not_possible", 2),
        ("login_refused", 4), ("package_changed", 4),
    ],
)  # fmt: skip
def test_a_cancelled_one_ends_with_whose_matter_it_is(code: str, ends_with: int) -> None:
    """4 is the recipient's failure: what law or a person stopped is none."""
    order = Order(caller="collections", recipient="demo-collector", operation="handover", purpose="debt_collection")
    handover = Handover(HandoverId("x"), order, HandoverState.CANCELLED, NOW, NOW, {"code": code})
    assert exit_code(Standing(handover, Progress(0, 0), {})) == ends_with
