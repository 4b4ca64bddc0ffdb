"""Answers that are evidence, sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    op.create_table(
        "evidence",
        sa.Column("disclosure", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("evidence_subject", "evidence", ["subject"])
