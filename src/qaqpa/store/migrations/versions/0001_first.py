"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    op.create_table(
        "entries",
        sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
    )
    op.create_index("entries_request_kind", "entries", ["request", "kind"], unique=True)
    op.create_index("entries_subject", "entries", ["subject"])
    op.create_table(
        "tree",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("last_time", sa.Text, nullable=False),
    )
    op.create_table(
        "subjects",
        sa.Column("blind", sa.LargeBinary, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "subject_keys",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "consents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("withdrawal_asked_at", sa.Text),
        sa.Column("withdrawn_at", sa.Text),
    )
    op.create_index("consents_subject", "consents", ["subject"])
    op.create_table(
        "suspensions",
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("since", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "idempotency",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("disclosure", sa.Text, nullable=False),
    )
    op.create_index("idempotency_disclosure", "idempotency", ["disclosure"])
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
