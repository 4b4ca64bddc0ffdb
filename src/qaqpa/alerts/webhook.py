"""What another system of the operator's is told of alerts (Standard Webhooks 1.0), once each, until it is accepted.

A message is written in the transaction of what it tells. It holds names of the configuration, numbers and times: no
person, neither subject nor staff, not even a subject's random id.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from qaqpa.alerts.findings import Rule
from qaqpa.alerts.records import Alert
from qaqpa.errors import NotConfigured
from qaqpa.model.identifiers import uuid7
from qaqpa.model.words import timestamp
from qaqpa.store import Connection

RAISED, ACKNOWLEDGED = "alert.raised", "alert.acknowledged"
CONTENT_TYPE = "application/json"
PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64
"""Bytes of a secret (Standard Webhooks: between 24 and 64)."""
_WAITS = tuple(timedelta(seconds=each) for each in (10, 60, 300, 1_800, 7_200, 18_000))
"""Between two tries; the last one again and again."""
LEASE = timedelta(minutes=2)
"""For so long the gateway that tries a message has it alone."""
_TOLD = ("count", "limit", "usual", "hour", "night", "minutes", "hours", "ends", "seconds", "code", "index")
_ADD = (
    "INSERT INTO alert_messages (id, alert, type, body, made, next, tries, state) "
    "VALUES (?, ?, ?, ?, ?, ?, 0, 'waiting')"
)
_DUE = (
    "SELECT id, body, made, next, tries FROM alert_messages WHERE state = 'waiting' AND next <= ? ORDER BY next LIMIT ?"
)
_CLAIM = (
    "UPDATE alert_messages SET next = ?, tries = tries + 1 WHERE id = ? AND next = ? AND state = 'waiting' RETURNING id"
)
_END = "UPDATE alert_messages SET state = ?, next = ? WHERE id = ?"
_AGAIN = "UPDATE alert_messages SET next = ? WHERE id = ? AND state = 'waiting'"
_OF_ALERT = "SELECT type, made, tries, state, next FROM alert_messages WHERE alert = ? ORDER BY made"
_WAITING = "SELECT count(*) FROM alert_messages WHERE state = 'waiting'"


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is due."""

    id: str
    body: bytes
    made: datetime
    next: str
    tries: int


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a message."""

    type: str
    made: str
    tries: int
    state: str
    """`waiting`, `accepted` or `too_old`."""
    next: str
    """Of one that waits: when it is tried again; else when that was decided."""


def signing_key(secret: str) -> bytes:
    """The bytes of a secret as Standard Webhooks writes it. Raises NotConfigured."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise NotConfigured(
            f"alerts.webhook.secrets: a secret is {PREFIX} and base64 of {_SHORTEST} to {_LONGEST} random bytes"
        )
    return key


def signature(keys: Sequence[bytes], message: str, seconds: int, body: bytes) -> str:
    """`webhook-signature`: one `v1,…` for each key, so that a key can be changed without a gap."""
    signed = f"{message}.{seconds}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)


def headers(keys: Sequence[bytes], message: str, at: datetime, body: bytes) -> dict[str, str]:
    """What goes with a message that is sent at `at`; its id is the same with every try."""
    seconds = int(at.timestamp())
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature(keys, message, seconds, body),
    }


def said(alert: Alert, type_: str, at: datetime, console: str) -> bytes:
    """The body of a message."""
    data = {
        "id": alert.id, "rule": alert.rule.value, "severity": alert.severity.value, "state": alert.state.value,
        "since": alert.since, "last": alert.last,
        **{kind: name for kind in ("caller", "recipient", "witness") if (name := alert.name(kind)) is not None},
        "figures": {name: value for name, value in alert.figures.items() if name in _TOLD},
        "url": f"{console}/console/alerts/{alert.id}",
    }  # fmt: skip
    if alert.rule is Rule.VOLUME:
        data["measure"] = alert.about.partition(":")[0]
    return orjson.dumps({"type": type_, "timestamp": timestamp(at), "data": data})


def add(connection: Connection, alert: Alert, type_: str, now: datetime, console: str) -> None:
    """A message to be sent, in the transaction of what it tells."""
    at = timestamp(now)
    connection.execute(_ADD, (f"msg_{uuid7()}", alert.id, type_, said(alert, type_, now, console).decode(), at, at))


def due(connection: Connection, now: datetime, limit: int) -> list[Message]:
    """What should be sent now, the longest due first."""
    rows = connection.execute(_DUE, (timestamp(now), limit)).all()
    return [Message(row[0], row[1].encode(), datetime.fromisoformat(row[2]), row[3], int(row[4])) for row in rows]


def claim(connection: Connection, message: Message, now: datetime) -> bool:
    """Take a message for one try; False where another gateway did."""
    return connection.execute(_CLAIM, (timestamp(now + LEASE), message.id, message.next)).first() is not None


def accepted(connection: Connection, message: Message, now: datetime) -> None:
    """It is told."""
    connection.execute(_END, ("accepted", timestamp(now), message.id))


def failed(connection: Connection, message: Message, now: datetime, give_up: timedelta) -> bool:
    """It was not accepted; whether it is tried again."""
    if now - message.made >= give_up:
        connection.execute(_END, ("too_old", timestamp(now), message.id))
        return False
    connection.execute(_AGAIN, (timestamp(now + _WAITS[min(message.tries, len(_WAITS) - 1)]), message.id))
    return True


def told(connection: Connection, alert: str) -> list[Told]:
    """What became of the messages about an alert."""
    return [Told(*row) for row in connection.execute(_OF_ALERT, (alert,)).all()]


def waiting(connection: Connection) -> int:
    """How many are not accepted yet."""
    return int(connection.execute(_WAITING).scalar())
