"""The tables. Only `entries` and `tree` are the ledger; the rest are side tables that erasure may empty."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

entries = Table(
    "entries",
    metadata,
    Column("idx", Integer, primary_key=True, autoincrement=False),
    # The disclosure, consent or act that the entry belongs to; with the kind it is unique, so nothing is said twice.
    Column("request", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text),
    Column("body", LargeBinary, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Index("entries_request_kind", "request", "kind", unique=True),
    Index("entries_subject", "subject"),
)

tree = Table(
    "tree",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("last_time", Text, nullable=False),
)

subjects = Table(
    "subjects",
    metadata,
    Column("blind", LargeBinary, primary_key=True),
    Column("subject", Text, nullable=False, unique=True),
)

subject_keys = Table(
    "subject_keys",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
)

consents = Table(
    "consents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("withdrawal_asked_at", Text),
    Column("withdrawn_at", Text),
    Index("consents_subject", "subject"),
)

suspensions = Table(
    "suspensions",
    metadata,
    Column("recipient", Text, primary_key=True),
    Column("since", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("disclosure", Text, nullable=False),
    Index("idempotency_disclosure", "disclosure"),
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
