"""The catalogue: by what disclosures are found beyond their columns, and how many there are of each kind.

Ledgers that stand already are catalogued in the background, when a gateway opens.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    op.create_table(
        "catalogued",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("zone", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO catalogued (id, size, zone) VALUES (1, 0, 0)")
    op.create_table(
        "uncatalogued",
        sa.Column("month", sa.Integer, primary_key=True, autoincrement=False),
        sqlite_strict=True,
    )
    op.create_table(
        "counts",
        sa.Column("what", BYTEWISE, primary_key=True),
        sa.Column("day", BYTEWISE, primary_key=True),
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("n", NUMBER, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table(
        "concluding",
        sa.Column("disclosure", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("fields", sa.Text, primary_key=True),
        sa.Column("block", NUMBER),
        sa.Column("n", NUMBER, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
