"""Alerts, what their rules remember, and the messages that tell of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("standing", sa.Text, unique=True),
        sa.Column("episode", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False),
        sa.Column("last", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("person", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("acknowledged", sa.Text),
        sqlite_strict=True,
    )
    op.create_index("alerts_cause", "alerts", ["cause", "since"])
    op.create_index("alerts_state", "alerts", ["state", "id"])
    op.create_table(
        "alert_memory",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "alert_askers",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("asker", sa.Text, primary_key=True),
        sa.Column("time", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("alert_askers_time", "alert_askers", ["time"])
    op.create_table(
        "alert_messages",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("alert", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("made", sa.Text, nullable=False),
        sa.Column("next", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("alert_messages_state", "alert_messages", ["state", "next"])
    op.create_index("alert_messages_alert", "alert_messages", ["alert"])
