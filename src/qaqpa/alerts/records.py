"""Alerts as they are kept: one row each, and at most one of a cause that is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson

from qaqpa.alerts.findings import SEVERITY, Finding, Rule, Severity
from qaqpa.errors import NotFound, NotPossible
from qaqpa.model.identifiers import uuid7
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Row

QUIET = timedelta(hours=1)
"""A condition that was acknowledged and is not seen for so long is over: seen again, it is another alert."""
SAME_EPISODE = timedelta(days=8)
"""For so long an episode that was acknowledged is not told again."""
_SEEN_AGAIN = timedelta(minutes=10)
"""An alert that stands unchanged is written at most so often."""
_COLUMNS = "id, rule, about, episode, state, since, last, figures, person, reason, acknowledged"
_OF_CAUSE = f"SELECT {_COLUMNS} FROM alerts WHERE cause = ? ORDER BY since DESC LIMIT 1"  # noqa: S608 - constants only
_ADD = (
    "INSERT INTO alerts (id, rule, about, cause, standing, episode, state, since, last, figures) "
    "VALUES (?, ?, ?, ?, ?, ?, 'open', ?, ?, ?) ON CONFLICT (standing) DO NOTHING RETURNING id"
)
_SEE = "UPDATE alerts SET last = ?, figures = ? WHERE id = ?"
_ONE = f"SELECT {_COLUMNS} FROM alerts WHERE id = ?"  # noqa: S608
_CLOSE = (
    "UPDATE alerts SET state = 'acknowledged', standing = NULL, person = ?, reason = ?, acknowledged = ? "
    "WHERE id = ? AND state = 'open' RETURNING id"
)
_OPEN = "SELECT rule, count(*) FROM alerts WHERE state = 'open' GROUP BY rule"


class AlertState(StrEnum):
    """Whether somebody has seen to it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert."""

    id: str
    rule: Rule
    about: str
    episode: str
    state: AlertState
    since: str
    last: str
    """When it was last seen."""
    figures: Mapping[str, Any]
    person: str | None
    reason: str | None
    acknowledged: str | None

    @property
    def severity(self) -> Severity:
        """How soon a person must look."""
        return SEVERITY[self.rule]

    def name(self, kind: str) -> str | None:
        """What it is about, where that is a `caller`, `recipient`, `person`, `subject`, `witness` or `index`."""
        of_kind, _, name = self.about.removeprefix("alone:").removeprefix("rows:").removeprefix("looks:").partition(":")
        return name if of_kind == kind and name else None


def _alert(row: Row) -> Alert:
    id_, rule, about, episode, state, since, last, figures, person, reason, acknowledged = row
    return Alert(
        id_, Rule(rule), about, episode, AlertState(state), since, last, orjson.loads(figures), person, reason,
        acknowledged,
    )  # fmt: skip


def note(connection: Connection, finding: Finding, now: datetime) -> Alert | None:
    """Keep what was found; the alert where it is a new one."""
    row = connection.execute(_OF_CAUSE, (finding.cause,)).first()
    known = None if row is None else _alert(row)
    if known is not None and _is_same(known, finding, now):
        _see(connection, known, finding, now)
        return None
    id_, at = uuid7(), timestamp(now)
    added = connection.execute(
        _ADD,
        (
            id_, finding.rule.value, finding.about, finding.cause, finding.cause, finding.episode, at, at,
            orjson.dumps(dict(finding.figures)).decode(),
        ),
    ).first()  # fmt: skip
    return None if added is None else find(connection, id_)


def _is_same(known: Alert, finding: Finding, now: datetime) -> bool:
    if known.state is AlertState.OPEN:
        return True
    if finding.episode:
        return known.episode == finding.episode and known.last >= timestamp(now - SAME_EPISODE)
    return known.last >= timestamp(now - QUIET)


def _see(connection: Connection, known: Alert, finding: Finding, now: datetime) -> None:
    figures = dict(finding.figures)
    if finding.adds and isinstance(figures.get("count"), int):
        figures["count"] = int(figures["count"]) + int(known.figures.get("count", 0))
    changed = {**known.figures, **figures}
    if changed != dict(known.figures) or known.last < timestamp(now - _SEEN_AGAIN):
        connection.execute(_SEE, (timestamp(now), orjson.dumps(changed).decode(), known.id))


def find(connection: Connection, alert: str) -> Alert:
    """An alert by its id. Raises NotFound."""
    row = connection.execute(_ONE, (alert,)).first()
    if row is None:
        raise NotFound("there is no such alert; `qaqpa alert list` shows those that are open")
    return _alert(row)


def listed(
    connection: Connection,
    *,
    states: Sequence[AlertState] = tuple(AlertState),
    rule: Rule | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Alert]:
    """The latest first; `before` is the id of the last one seen, the way to the next page."""
    marks = ", ".join("?" * len(states))
    asked: list[Any] = [*states]
    more = ""
    if rule is not None:
        more, asked = f"{more} AND rule = ?", [*asked, rule.value]
    if before is not None:  # ids are UUIDv7: they grow with time
        more, asked = f"{more} AND id < ?", [*asked, before]
    sql = f"SELECT {_COLUMNS} FROM alerts WHERE state IN ({marks}){more} ORDER BY id DESC LIMIT ?"  # noqa: S608 - constants only
    return [_alert(row) for row in connection.execute(sql, [*asked, limit]).all()]


def open_by_rule(connection: Connection) -> dict[Rule, int]:
    """How many are open, by rule; every rule is named."""
    found = {str(rule): int(count) for rule, count in connection.execute(_OPEN).all()}
    return {rule: found.get(rule.value, 0) for rule in Rule}


def acknowledge(connection: Connection, alert: str, *, person: str, reason: str, now: datetime) -> Alert:
    """Somebody has seen to it. Raises NotFound, NotPossible where somebody did before."""
    find(connection, alert)
    if connection.execute(_CLOSE, (person, reason, timestamp(now), alert)).first() is None:
        raise NotPossible(["alert: was acknowledged before"])
    return find(connection, alert)
