"""Until when the authority must have been told of a breach (94-V: within one business day)."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone

_SATURDAY = 5


def business_day_after(known_at: datetime, zone: timezone) -> datetime:
    """The end of one business day from then: the same hour of the next working day, Monday to Friday; what comes to
    be known on a day off counts from the beginning of the next working day. Public holidays are not left out, so it is
    never too late.
    """
    local = known_at.astimezone(zone)
    if local.weekday() >= _SATURDAY:
        local = datetime.combine(_working(local + timedelta(days=1)).date(), time(), zone)
    return _working(local + timedelta(days=1))


def _working(day: datetime) -> datetime:
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return day
