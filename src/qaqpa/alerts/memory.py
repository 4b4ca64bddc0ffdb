"""What rules remember between two looks, and who asked about whom of late. Rows, few and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from qaqpa.alerts.summary import Asking
from qaqpa.model.words import timestamp
from qaqpa.store import Connection

SEEN = "seen"
"""Up to which entry the rules have looked."""
PATROL = "patrol"
"""Up to which entry the patrol has come."""
PAIRS_AT_MOST = 200_000
"""Of subjects and those who asked about them; the oldest are forgotten first."""
_GET = "SELECT value FROM alert_memory WHERE name = ?"
_PUT = "INSERT INTO alert_memory (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_MOVE = "UPDATE alert_memory SET value = ? WHERE name = ? AND value = ? RETURNING name"
_BEGIN = "INSERT INTO alert_memory (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING RETURNING name"
_ASKED = (
    "INSERT INTO alert_askers (subject, asker, time) VALUES (?, ?, ?) "
    "ON CONFLICT (subject, asker) DO UPDATE SET time = excluded.time"
)
_FORGET = "DELETE FROM alert_askers WHERE time < ?"
_HOW_MANY = "SELECT count(*) FROM alert_askers"
_OLDEST = "SELECT time FROM alert_askers ORDER BY time LIMIT 1 OFFSET ?"
_MANY = "SELECT subject, count(*) FROM alert_askers GROUP BY subject HAVING count(*) >= ?"


def load(connection: Connection, name: str) -> Any:
    """What is remembered under a name; None where nothing is."""
    value = connection.execute(_GET, (name,)).scalar()
    return None if value is None else orjson.loads(value)


def save(connection: Connection, values: Mapping[str, Any]) -> None:
    """Remember."""
    rows = [(name, orjson.dumps(value).decode()) for name, value in values.items()]
    connection.execute_many(_PUT, rows)


def move(connection: Connection, name: str, old: int | None, new: int) -> bool:
    """Set a mark from where it was found; False where another gateway was faster."""
    if old is None:
        return connection.execute(_BEGIN, (name, str(new))).first() is not None
    return connection.execute(_MOVE, (str(new), name, str(old))).first() is not None


def asked(
    connection: Connection, askings: Iterable[Asking], now: datetime, within: timedelta, at_least: int
) -> list[tuple[str, int]]:
    """Note who asked about whom; those of these subjects about whom at least so many asked of late, each with how
    many."""
    since = timestamp(now - within)
    rows = [(each.subject, each.asker, timestamp(each.at)) for each in askings if now - each.at <= within]
    connection.execute(_FORGET, (since,))
    if not rows:
        return []
    connection.execute_many(_ASKED, rows)
    over = int(connection.execute(_HOW_MANY).scalar()) - PAIRS_AT_MOST
    if over > 0:
        connection.execute(_FORGET, (connection.execute(_OLDEST, (over,)).scalar(),))
    subjects = {subject for subject, _, _ in rows}
    many = connection.execute(_MANY, (at_least,)).all()
    return sorted((str(subject), int(count)) for subject, count in many if subject in subjects)
