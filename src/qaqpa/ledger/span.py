"""Legal days, as times of entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

from qaqpa.model.words import timestamp

NEVER = "9999-99"
"""Later than any time."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which entries: of the legal days from `since` to `until`, both included; without end where None."""

    since: date | None = None
    until: date | None = None

    def said(self) -> dict[str, str | int]:
        """What is set, by name."""
        days = {"since": self.since, "until": self.until}
        return {name: day.isoformat() for name, day in days.items() if day is not None}

    def times(self, zone: timezone) -> tuple[str, str]:
        """The first time of an entry that is meant, and the first that is not any more."""
        begin = "" if self.since is None else _midnight(self.since, zone) or ""
        after = None if self.until is None or self.until == date.max else self.until + timedelta(days=1)
        return begin, (after and _midnight(after, zone)) or NEVER

    def reaches_into(self, month: int, zone: timezone) -> bool:
        """Whether entries of a month (202611, of UTC) may be meant."""
        begin, end = self.times(zone)
        first = f"{month // 100:04}-{month % 100:02}"
        return first < end and begin < f"{first}-99"


ALWAYS = Span()
"""Without beginning or end."""


def _midnight(day: date, zone: timezone) -> str | None:
    """When `day` begins; None for the first and last days of the calendar, which do not begin in UTC."""
    try:
        return timestamp(datetime.combine(day, time(), zone))
    except OverflowError:
        return None
