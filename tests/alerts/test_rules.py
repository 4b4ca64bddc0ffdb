"""Rules on what is new in the ledger: what is unusual, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from qaqpa.alerts.findings import Finding, Rule
from qaqpa.alerts.rules import Memory, Surroundings, judge, judge_askers, night_of
from qaqpa.alerts.summary import Group, Look, Summary
from qaqpa.alerts.usual import ENOUGH, KNOWN, Series, series_of, slot
from qaqpa.config.alerts import AlertsConfig, NightConfig

ALMATY = timezone(timedelta(hours=5))
NOON = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
"""A Monday; twelve o'clock in the operator's zone."""


def memory(**values: Any) -> Memory:
    return Memory(values.get)


def around(now: datetime = NOON + timedelta(minutes=59), **config: Any) -> Surroundings:
    return Surroundings(AlertsConfig.model_validate(config), ALMATY, frozenset({"compliance"}), now)


def group(
    at: datetime, count: int, kind: str = "intent", caller: str | None = "loan-scoring", *, is_row: bool = False
) -> Group:
    return Group(at, kind, caller, "first-credit-bureau", is_row, count)


def summary(*groups: Group, looks: tuple[Look, ...] = ()) -> Summary:
    return Summary(0, sum(each.count for each in groups), groups, looks, ())


def learned(counts: list[int], remembered: Memory, hour: datetime = NOON) -> None:
    """Earlier days of the same kind with so many at noon."""
    days: list[datetime] = []
    day = hour
    while len(days) < len(counts):
        day -= timedelta(days=1)
        if day.astimezone(ALMATY).weekday() < 5:
            days.insert(0, day)
    for day, count in zip(days, counts, strict=True):
        judge(summary(group(day, count)), remembered, around(now=day))


def found(rule: Rule, findings: list[Finding]) -> dict[str, Finding]:
    return {each.about: each for each in findings if each.rule is rule}


# --- volume ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usual", "now", "is_unusual"),
    [
        ([50] * 10, 160, True),
        ([50] * 10, 149, False),
        ([10] * 10, 90, False),  # far more than usual, and still below the floor
        ([10] * 10, 101, True),
        ([400] * 10, 1_100, False),
        ([400] * 10, 1_201, True),
        ([400] * 9 + [90_000], 1_201, True),  # one wild day does not move the median
        ([], 299, False),  # nothing is known yet: three times the floor
        ([], 301, True),
        ([50] * (ENOUGH - 1), 250, False),  # too few days to believe
    ],
)
def test_an_hour_is_held_against_the_median_of_such_hours(usual: list[int], now: int, is_unusual: bool) -> None:
    remembered = memory()
    learned(usual, remembered)
    findings = found(Rule.VOLUME, judge(summary(group(NOON, now)), remembered, around()))
    assert (findings.keys() == {"alone:caller:loan-scoring", "alone:recipient:first-credit-bureau"}) is is_unusual
    assert bool(findings) is is_unusual


def test_an_hour_is_counted_over_several_looks() -> None:
    remembered = memory()
    for minute in range(30):
        at = NOON + timedelta(minutes=minute)
        assert (judge(summary(group(at, 11)), remembered, around()) != []) is (11 * (minute + 1) > 300)


def test_what_is_remembered_is_bounded_and_survives_as_json() -> None:
    series = Series(NOON)
    for hour in range(24 * 60):
        series.add(NOON + timedelta(hours=hour), hour, ALMATY)
    assert len(series.known) == 48 and all(len(counts) == KNOWN for counts in series.known.values())
    assert series_of(series.as_json(), NOON) == series


def test_hours_without_anything_are_zeros() -> None:
    series = Series(NOON)
    series.add(NOON, 900, ALMATY)
    series.add(NOON + timedelta(days=14), 1, ALMATY)
    assert series.known["work 12"] == [900, *[0] * 9]
    assert series.usual(ALMATY) == 0
    assert slot(NOON + timedelta(days=5), ALMATY) == "off 12"


def test_a_long_silence_is_bridged_in_bounded_time() -> None:
    series = Series(NOON - timedelta(days=3_000), 7)
    series.add(NOON, 1, ALMATY)
    assert series.hour == NOON and series.count == 1


def test_rows_of_handovers_have_a_floor_of_their_own() -> None:
    rows = judge(summary(group(NOON, 14_000, is_row=True)), memory(), around())
    assert rows == []
    rows = judge(summary(group(NOON, 15_001, is_row=True)), memory(), around())
    assert found(Rule.VOLUME, rows).keys() == {"rows:caller:loan-scoring", "rows:recipient:first-credit-bureau"}


def test_what_one_person_looks_at_is_counted() -> None:
    looks = tuple(Look(NOON, "compliance", person, None) for person in ["A. Nosy"] * 601 + ["B. Calm"] * 3)
    findings = found(Rule.VOLUME, judge(summary(looks=looks), memory(), around()))
    assert findings.keys() == {"looks:person:A. Nosy"}


def test_old_entries_are_learned_from_and_raise_nothing() -> None:
    remembered = memory()
    old = summary(
        group(NOON, 9_999), group(NOON, 500, "refusal"), group(NOON - timedelta(hours=12), 3, "review", "compliance")
    )
    assert judge(old, remembered, around(now=NOON + timedelta(days=3))) == []
    assert remembered.values["series alone caller:loan-scoring"]["count"] == 9_999


# --- refusals --------------------------------------------------------------------------------------


def test_refusals_are_a_burst_only_within_the_time() -> None:
    slow = [group(NOON + timedelta(minutes=6 * each), 9, "refusal") for each in range(9)]
    assert judge(summary(*slow), memory(), around()) == []
    remembered = memory()
    assert judge(summary(group(NOON, 19, "refusal")), remembered, around()) == []
    (burst,) = judge(summary(group(NOON + timedelta(minutes=9), 1, "refusal")), remembered, around())
    assert (burst.rule, burst.about, burst.figures["count"]) == (Rule.REFUSALS, "caller:loan-scoring", 20)
    assert judge(summary(group(NOON + timedelta(minutes=19), 1, "refusal")), remembered, around()) == []


def test_rows_that_a_register_refuses_are_no_burst() -> None:
    assert judge(summary(group(NOON, 4_000, "refusal", is_row=True)), memory(), around()) == []


# --- night -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hour", "begins", "ends", "night"),
    [
        (21, 22, 6, None),
        (22, 22, 6, "2026-11-23"),
        (3, 22, 6, "2026-11-22"),
        (6, 22, 6, None),
        (2, 1, 5, "2026-11-23"),
        (0, 1, 5, None),
        (3, 0, 0, None),
    ],
)
def test_a_night_is_of_the_day_on_which_it_began(hour: int, begins: int, ends: int, night: str | None) -> None:
    at = datetime(2026, 11, 23, hour, 30, tzinfo=ALMATY)
    assert night_of(at, NightConfig(begins=begins, ends=ends), ALMATY) == night


def test_people_should_be_asleep_and_services_only_where_named() -> None:
    night = datetime(2026, 11, 23, 2, 0, tzinfo=ALMATY)
    groups = [group(night, 4, "review", "compliance"), group(night, 90, "intent", "collections")]
    now = night + timedelta(minutes=5)
    assert found(Rule.NIGHT, judge(summary(*groups), memory(), around(now=now))).keys() == {"caller:compliance"}
    named = judge(summary(*groups), memory(), around(now=now, night={"callers": ["collections"]}))
    assert {about: each.figures["count"] for about, each in found(Rule.NIGHT, named).items()} == {
        "caller:compliance": 4, "caller:collections": 90,
    }  # fmt: skip


def test_a_subject_that_many_ask_for() -> None:
    findings = list(judge_askers([("one", 3), ("other", 4)], around()))
    assert [(each.about, each.figures["count"]) for each in findings] == [("subject:other", 4)]
