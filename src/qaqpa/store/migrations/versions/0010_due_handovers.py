"""Handovers by what is due of them, so that nobody reads all that ever went: the day that a receipt names for their
destruction, whether somebody was reminded, of which operation they are and which one they follow.
"""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_AT_ONCE = 1_000


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    for name in ("operation", "follows", "destroy_by", "reminded"):
        op.add_column("handovers", sa.Column(name, sa.Text))
    _fill()
    left = "state IN ('sent', 'acknowledged', 'rejected', 'unknown')"
    _index("handovers_kept", ["recipient", "since"], f"reminded IS NULL AND {left}")
    _index("handovers_promised", ["destroy_by"], f"destroy_by IS NOT NULL AND reminded IS NULL AND {left}")
    _index("handovers_follows", ["follows"], "follows IS NOT NULL")
    op.create_index("handovers_operation", "handovers", ["operation", "since", "id"])
    op.create_index("handovers_changed", "handovers", ["recipient", "changed"])


def _index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "handovers", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _fill() -> None:
    """What orders and receipts say, as they are kept."""
    connection = op.get_bind()
    read = sa.text("SELECT id, ordered, figures FROM handovers WHERE id > :last ORDER BY id LIMIT :count")
    write = sa.text("UPDATE handovers SET operation = :operation, destroy_by = :destroy_by WHERE id = :id")
    last = ""
    while rows := connection.execute(read, {"last": last, "count": _AT_ONCE}).all():
        last = rows[-1][0]
        connection.execute(write, [_said(*row) for row in rows])


def _said(name: str, ordered: str, figures: str) -> dict[str, Any]:
    receipt = orjson.loads(figures).get("receipt") or {}
    return {
        "id": name,
        "operation": orjson.loads(ordered)["operation"],
        "destroy_by": receipt.get("destruction_due"),
    }
