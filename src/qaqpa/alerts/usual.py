"""Whether an hour is unusual: counts of one name by hour, held against the same hour of earlier days.

The statistic is the median of the last ten counts of that hour of the day, on days of the same kind (Monday to Friday,
or Saturday and Sunday, in the operator's zone). An hour is unusual that holds more than `times` that median, and more
than the floor. With fewer than five such days known there is no median yet: then it takes `times` the floor. A median
is not moved by the few unusual hours among the ten, as a mean would be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from statistics import median
from typing import Any

KNOWN = 10
"""Counts that are remembered of each hour of the day."""
ENOUGH = 5
"""From how many on their median is believed."""
_FILL_AT_MOST = timedelta(days=14)
_SATURDAY = 5
_HOUR = timedelta(hours=1)


def slot(hour: datetime, zone: timezone) -> str:
    """Which hours are held against each other."""
    local = hour.astimezone(zone)
    return f"{'off' if local.weekday() >= _SATURDAY else 'work'} {local.hour:02d}"


@dataclass(slots=True)
class Series:
    """Counts of one name by hour."""

    hour: datetime
    """The one that is counted now; UTC."""
    count: int = 0
    known: dict[str, list[int]] = field(default_factory=dict)

    def add(self, hour: datetime, count: int, zone: timezone) -> None:
        """Count in an hour; one that is over is remembered, and hours without anything are zeros."""
        # A clock may stand a little behind: what comes late counts in the hour that is counted now.
        while self.hour < hour:
            if hour - self.hour > _FILL_AT_MOST:
                self.hour = hour - _FILL_AT_MOST
            counts = self.known.setdefault(slot(self.hour, zone), [])
            counts.append(self.count)
            del counts[:-KNOWN]
            self.hour, self.count = self.hour + _HOUR, 0
        self.count += count

    def usual(self, zone: timezone) -> float | None:
        """The median of what this hour held before; None while too few days are known."""
        counts = self.known.get(slot(self.hour, zone), [])
        return float(median(counts)) if len(counts) >= ENOUGH else None

    def limit(self, zone: timezone, times: float, floor: int) -> float:
        """What an hour may hold."""
        usual = self.usual(zone)
        return times * floor if usual is None else max(float(floor), times * usual)

    def as_json(self) -> dict[str, Any]:
        """What is remembered of it."""
        return {"hour": self.hour.isoformat(), "count": self.count, "known": self.known}


def series_of(value: dict[str, Any] | None, hour: datetime) -> Series:
    """What was remembered, or a new one that begins with `hour`."""
    if value is None:
        return Series(hour)
    known = {str(name): [int(each) for each in counts] for name, counts in value["known"].items()}
    return Series(datetime.fromisoformat(value["hour"]).astimezone(UTC), int(value["count"]), known)
