"""Handovers: many disclosures in one package."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    op.create_table(
        "handovers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False),
        sa.Column("changed", sa.Text, nullable=False),
        sa.Column("ordered", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer),
        sa.Column("wrapped", sa.LargeBinary),
        sa.Column("once", sa.LargeBinary, unique=True),
        sa.Column("body", sa.LargeBinary),
        sqlite_strict=True,
    )
    op.create_index("handovers_state", "handovers", ["state"])
    op.create_table(
        "handover_chunks",
        sa.Column("handover", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("results", sa.LargeBinary, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "handover_findings",
        sa.Column("handover", sa.Text, primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("result", sa.Text, primary_key=True),
        sa.Column("reasons", sa.Text, nullable=False),
        sqlite_strict=True,
    )
