"""Rules on what is new in the ledger: volume, bursts of refusals, activity at night, one subject asked for by many.

Pure: what they remember is handed in and out, and is bounded by the number of names that the configuration holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from qaqpa.alerts.findings import Finding, Rule
from qaqpa.alerts.summary import Summary
from qaqpa.alerts.usual import series_of
from qaqpa.config.alerts import AlertsConfig, NightConfig
from qaqpa.ledger.entries import Kind
from qaqpa.model.words import timestamp

OLD = timedelta(days=1)
"""What is older is learned from, and raises nothing."""
SERIES = "series "
REFUSED = "refused "
_OUT = frozenset({Kind.INTENT.value, Kind.REUSED.value})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What rules know beside the entries."""

    config: AlertsConfig
    zone: timezone
    people: frozenset[str]
    """Callers that are persons."""
    now: datetime


@dataclass(slots=True)
class Memory:
    """Names and what is remembered under each; reads through, and knows what changed."""

    load: Callable[[str], Any]
    values: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """What stands there; None where nothing does."""
        if name not in self.values:
            self.values[name] = self.load(name)
        return self.values[name]

    def put(self, name: str, value: Any) -> None:
        """Remember something."""
        self.values[name] = value


def judge(summary: Summary, memory: Memory, around: Surroundings) -> list[Finding]:
    """What these rules find in what is new."""
    return [
        *_volume(summary, memory, around),
        *_refusals(summary, memory, around),
        *_night(summary, around),
    ]


# --- volume ----------------------------------------------------------------------------------------


def _hours(summary: Summary) -> dict[tuple[str, str], dict[datetime, int]]:
    """By measure and name: counts by hour. Measures: `alone`, `rows` and `looks`."""
    found: dict[tuple[str, str], dict[datetime, int]] = {}

    def count(measure: str, about: str, at: datetime, number: int) -> None:
        hours = found.setdefault((measure, about), {})
        hour = at.replace(minute=0, second=0, microsecond=0)
        hours[hour] = hours.get(hour, 0) + number

    for group in summary.groups:
        if group.kind in _OUT:
            measure = "rows" if group.is_row else "alone"
            for about in (f"caller:{group.caller}", f"recipient:{group.recipient}"):
                count(measure, about, group.minute, group.count)
    for look in summary.looks:
        count("looks", f"person:{look.person}", look.at, 1)
    return found


def _volume(summary: Summary, memory: Memory, around: Surroundings) -> Iterator[Finding]:
    config = around.config.volume
    floors = {"alone": config.floor, "rows": config.rows_floor, "looks": config.looks_floor}
    for (measure, about), hours in _hours(summary).items():
        name = f"{SERIES}{measure} {about}"
        series = series_of(memory.get(name), min(hours))
        for hour in sorted(hours):
            series.add(hour, hours[hour], around.zone)
            limit = series.limit(around.zone, config.times, floors[measure])
            if series.count > limit and around.now - hour < OLD:
                usual = series.usual(around.zone)
                yield Finding(
                    Rule.VOLUME, f"{measure}:{about}", episode=timestamp(series.hour),
                    figures={
                        "count": series.count, "limit": limit, "hour": timestamp(series.hour),
                        **({} if usual is None else {"usual": usual}),
                    },
                )  # fmt: skip
        memory.put(name, series.as_json())


# --- refusals --------------------------------------------------------------------------------------


def _refusals(summary: Summary, memory: Memory, around: Surroundings) -> Iterator[Finding]:
    """Of one caller; rows that a handover's register refuses are that handover's own tale."""
    config = around.config.refusals
    fresh: dict[str, dict[datetime, int]] = {}
    for group in summary.groups:
        if group.kind == Kind.REFUSAL and not group.is_row:
            minutes = fresh.setdefault(group.caller or "unknown", {})
            minutes[group.minute] = minutes.get(group.minute, 0) + group.count
    for caller, minutes in fresh.items():
        name = f"{REFUSED}{caller}"
        known = {datetime.fromisoformat(at): int(count) for at, count in (memory.get(name) or {}).items()}
        for minute, count in sorted(minutes.items()):
            known[minute] = known.get(minute, 0) + count
            known = {at: each for at, each in known.items() if minute - config.within < at <= minute}
            total = sum(known.values())
            if total >= config.count and around.now - minute < OLD:
                yield Finding(
                    Rule.REFUSALS, f"caller:{caller}", episode=f"{minute:%Y-%m-%dT%H}",
                    figures={
                        "count": total, "limit": config.count, "minutes": int(config.within.total_seconds() // 60),
                    },
                )  # fmt: skip
        memory.put(name, {at.isoformat(): count for at, count in known.items()})


# --- night -----------------------------------------------------------------------------------------


def night_of(at: datetime, config: NightConfig, zone: timezone) -> str | None:
    """The day on which the night began that `at` lies in; None by day."""
    local = at.astimezone(zone)
    begins, ends, hour = config.begins, config.ends, local.hour
    if begins <= ends:
        return local.date().isoformat() if begins <= hour < ends else None
    if hour >= begins:
        return local.date().isoformat()
    return (local.date() - timedelta(days=1)).isoformat() if hour < ends else None


def _night(summary: Summary, around: Surroundings) -> Iterator[Finding]:
    config = around.config.night
    watched = around.people | set(config.callers)
    found: dict[tuple[str, str], int] = {}
    for group in summary.groups:
        night = night_of(group.minute, config, around.zone)
        if group.caller in watched and night is not None and around.now - group.minute < OLD:
            key = (f"caller:{group.caller}", night)
            found[key] = found.get(key, 0) + group.count
    for (about, night), count in found.items():
        yield Finding(Rule.NIGHT, about, episode=night, figures={"count": count, "night": night}, adds=True)


# --- one subject, many askers ----------------------------------------------------------------------


def judge_askers(counts: Iterable[tuple[str, int]], around: Surroundings) -> Iterator[Finding]:
    """Subjects with the number of those who asked about each within the time that counts."""
    config = around.config.subject
    for subject, askers in counts:
        if askers >= config.askers:
            yield Finding(
                Rule.SUBJECT, f"subject:{subject}", episode=str(askers),
                figures={
                    "count": askers, "limit": config.askers, "hours": round(config.within.total_seconds() / 3600, 1),
                },
            )  # fmt: skip
