"""What the console lacked: when consents end, verifications, routes in the counts, recalls by handover.

The catalogue is made anew in the background, so that the counts hold routes; where months lie in files, whose entries
cannot be read again, it stays as it was, and what is told of routes is counted from the entries.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_AT_ONCE = 10_000
_TERMS = (
    "operation", "purpose", "ground", "clause", "field", "handover", "reason", "day", "result", "of", "recall",
)  # fmt: skip


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    op.create_index("recalls_handover", "recalls", ["handover"])
    op.drop_index("recalls_state", "recalls")
    op.create_index("recalls_state", "recalls", ["state", "due_on", "since", "id"])
    op.drop_index("handovers_state", "handovers")
    op.create_index("handovers_state", "handovers", ["state", "since", "id"])
    op.create_index("handovers_since", "handovers", ["since", "id"])
    op.create_table(
        "verifications",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("time", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("seconds", NUMBER, nullable=False),
        sa.Column("first_bad", NUMBER),
        sqlite_strict=True,
    )
    _consents()
    _catalogue()


def _consents() -> None:
    """When each ends, as its terms say, in UTC."""
    op.add_column("consents", sa.Column("expires_at", sa.Text))
    connection = op.get_bind()
    read = sa.text("SELECT id, terms FROM consents WHERE id > :last ORDER BY id LIMIT :count")
    last = ""
    while rows := connection.execute(read, {"last": last, "count": _AT_ONCE}).all():
        last = rows[-1][0]
        ending = [{"id": id_, "at": at} for id_, terms in rows if (at := _end(terms)) is not None]
        if ending:
            connection.execute(sa.text("UPDATE consents SET expires_at = :at WHERE id = :id"), ending)
    stands = sa.text("withdrawn_at IS NULL")
    op.create_index("consents_expires", "consents", ["expires_at", "id"], sqlite_where=stands, postgresql_where=stands)


def _end(terms: str) -> str | None:
    at = orjson.loads(terms).get("expires_at")
    if at is None:
        return None
    moment = datetime.fromisoformat(at).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _catalogue() -> None:
    connection = op.get_bind()
    size, zone = connection.execute(sa.text("SELECT size, zone FROM catalogued WHERE id = 1")).one()
    in_files = connection.execute(sa.text("SELECT 1 FROM archives LIMIT 1")).first() is not None
    waiting: list[Any] = []
    if in_files:
        waiting = [dict(row) for row in connection.execute(sa.text("SELECT * FROM concluding")).mappings()]
    else:
        size = 0
        for name in _TERMS:
            connection.execute(
                sa.text("DELETE FROM terms WHERE term >= :first AND term < :after"),
                {"first": f"{name}:", "after": f"{name};"},
            )
        connection.execute(sa.text("DELETE FROM counts"))
    op.drop_table("catalogued")
    op.create_table(
        "catalogued",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("zone", sa.Integer, nullable=False),
        sa.Column("routes", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    connection.execute(
        sa.text("INSERT INTO catalogued (id, size, zone, routes) VALUES (1, :size, :zone, :routes)"),
        {"size": size, "zone": zone, "routes": 0 if in_files else 1},
    )
    op.drop_table("concluding")
    concluding = op.create_table(
        "concluding",
        sa.Column("disclosure", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, primary_key=True),
        sa.Column("fields", sa.Text, primary_key=True),
        sa.Column("block", NUMBER),
        sa.Column("n", NUMBER, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    if waiting:
        connection.execute(sa.insert(concluding), [each | {"operation": ""} for each in waiting])
