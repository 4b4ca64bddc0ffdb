"""Recalls: asking recipients to stop and destroy."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    op.create_table(
        "recalls",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("notice", sa.Text),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("handover", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False),
        sa.Column("changed", sa.Text, nullable=False),
        sa.Column("due_on", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sqlite_strict=True,
    )
    op.create_index("recalls_state", "recalls", ["state"])
    op.create_index("recalls_target", "recalls", ["target"])
    op.create_index("recalls_subject", "recalls", ["subject"])
    op.create_index("recalls_notice", "recalls", ["notice"])
    op.create_table(
        "retention",
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("seen", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sqlite_strict=True,
    )
