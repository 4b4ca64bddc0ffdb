"""Tiles and checkpoints beside the entries; bodies by month; what is unsettled; keys by epoch; what is kept sealed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

from qaqpa.errors import SchemaMismatch

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BATCH = 1_000
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
EMPTY_ROOT = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def upgrade() -> None:
    """A ledger only grows: there is no downgrade."""
    postgres = op.get_bind().dialect.name == "postgresql"
    op.rename_table("entries", "entries_0001")
    op.drop_index("entries_request_kind", "entries_0001")
    op.drop_index("entries_subject", "entries_0001")
    op.rename_table("tree", "tree_0001")
    if postgres:
        op.execute("ALTER INDEX entries_pkey RENAME TO entries_0001_pkey")
        op.execute("ALTER INDEX tree_pkey RENAME TO tree_0001_pkey")
        op.execute(
            "CREATE TABLE entries (idx BIGINT NOT NULL, month INTEGER NOT NULL, request TEXT NOT NULL, "
            "kind TEXT NOT NULL, subject TEXT, caller TEXT, recipient TEXT, time TEXT NOT NULL, leaf BYTEA NOT NULL, "
            "body BYTEA NOT NULL, PRIMARY KEY (idx, month)) PARTITION BY LIST (month)"
        )
    else:
        op.create_table(
            "entries",
            sa.Column("idx", NUMBER, primary_key=True, autoincrement=False),
            sa.Column("month", sa.Integer, nullable=False),
            sa.Column("request", sa.Text, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("subject", sa.Text),
            sa.Column("caller", sa.Text),
            sa.Column("recipient", sa.Text),
            sa.Column("time", sa.Text, nullable=False),
            sa.Column("leaf", sa.LargeBinary, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
        )
    op.create_table(
        "terms",
        sa.Column("term", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), primary_key=True),
        sa.Column("block", NUMBER, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tree",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("last_time", sa.Text, nullable=False),
    )
    op.create_table(
        "integrated",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "tiles",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("time", sa.Text, nullable=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "archives",
        sa.Column("month", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", NUMBER, nullable=False),
        sa.Column("last", NUMBER, nullable=False),
        sa.Column("entries", NUMBER, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
    )
    op.create_table(
        "unsettled",
        sa.Column("disclosure", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("gateway", NUMBER, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False),
    )
    op.create_index("unsettled_subject", "unsettled", ["subject"])
    op.add_column("subjects", sa.Column("iin", sa.LargeBinary))
    op.add_column("idempotency", sa.Column("request", sa.Text))
    op.create_table(
        "answers",
        sa.Column("disclosure", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("extract", sa.Text, nullable=False),
        sa.Column("time", sa.Text, nullable=False),
        sa.Column("kept_until", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("answers_subject", "answers", ["subject", "route"])
    op.create_index("answers_kept_until", "answers", ["kept_until"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("made", sa.Text, nullable=False),
        sa.Column("expires", sa.Text, nullable=False),
        sa.Column("revoked", sa.Text),
    )
    op.create_index("subject_keys_epoch", "subject_keys", ["epoch"])
    op.create_table(
        "evidence",
        sa.Column("disclosure", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("evidence_subject", "evidence", ["subject"])
    op.create_table(
        "erasures",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
    )
    if not postgres:
        _make_strict()
    _move(postgres=postgres)
    # Without the epoch of the keys nobody who stands there already would be found.
    op.execute(
        "INSERT INTO meta (name, value) SELECT 'epoch', CAST(latest AS TEXT) "
        "FROM (SELECT max(epoch) AS latest FROM subject_keys) keys WHERE latest IS NOT NULL"
    )
    op.drop_table("entries_0001")
    op.drop_table("tree_0001")


def _make_strict() -> None:
    """Every table once more, in the same order of columns, as one that holds values of its columns' types only."""
    connection = op.get_bind()
    tables = connection.execute(
        sa.text(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'alembic%' "
            "AND name NOT LIKE '%_0001' AND name NOT LIKE 'sqlite%'"
        )
    ).all()
    for name, sql in tables:
        made = sql.rstrip()
        indexes = connection.execute(
            sa.text("SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = :name AND sql IS NOT NULL"),
            {"name": name},
        ).all()
        op.rename_table(name, f"{name}_loose")
        op.execute(f"{made}{',' if made.endswith('ROWID') else ''} STRICT")
        try:
            op.execute(f"INSERT INTO {name} SELECT * FROM {name}_loose")  # noqa: S608 - names of the schema
        except sa.exc.IntegrityError:
            raise SchemaMismatch(
                f"the table {name} holds values that do not fit its columns: somebody else wrote there; restore a "
                "back-up of the older version, and migrate then"
            ) from None
        op.drop_table(f"{name}_loose")
        for (index,) in indexes:
            op.execute(index)


def _move(*, postgres: bool) -> None:
    """What stands in the ledger already goes where it now belongs; the tree is grown anew when the ledger opens."""
    connection = op.get_bind()
    size, root, last_time = 0, EMPTY_ROOT, ""
    if (tree := connection.execute(sa.text("SELECT size, root, last_time FROM tree_0001")).first()) is not None:
        size, root, last_time = tree
    connection.execute(
        sa.text("INSERT INTO tree VALUES (1, :size, :last_time)"), {"size": size, "last_time": last_time}
    )
    connection.execute(sa.text("INSERT INTO integrated VALUES (1, 0, :root)"), {"root": EMPTY_ROOT})
    months: set[int] = set()
    frontier: list[tuple[int, bytes]] = []
    unsettled: dict[str, dict[str, Any]] = {}
    for batch in _batches(connection):
        for row in batch:
            if postgres and row["month"] not in months:
                connection.execute(
                    sa.text(
                        f"CREATE TABLE entries_{row['month']:d} PARTITION OF entries FOR VALUES IN ({row['month']:d})"
                    )
                )
            months.add(row["month"])
            _follow(unsettled, row)
            _grow(frontier, row["leaf"])
        connection.execute(
            sa.text(
                "INSERT INTO entries (idx, month, request, kind, subject, caller, recipient, time, leaf, body) "
                "VALUES (:idx, :month, :request, :kind, :subject, :caller, :recipient, :time, :leaf, :body)"
            ),
            batch,
        )
    if _root(frontier) != root:
        raise SchemaMismatch(
            "the ledger does not verify: run `qaqpa ledger verify` of the older version, and migrate then"
        )
    if unsettled:
        connection.execute(
            sa.text("INSERT INTO unsettled VALUES (:disclosure, :subject, :recipient, 0, :state, :since)"),
            list(unsettled.values()),
        )


def _batches(connection: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    after = -1
    while True:
        rows = connection.execute(
            sa.text(
                "SELECT idx, request, kind, subject, body, leaf FROM entries_0001 WHERE idx > :after "
                "ORDER BY idx LIMIT :batch"
            ),
            {"after": after, "batch": BATCH},
        ).all()
        if not rows:
            return
        after = rows[-1].idx
        yield [
            {
                "idx": row.idx, "request": row.request, "kind": row.kind, "subject": row.subject,
                "caller": said.get("caller"), "recipient": said.get("recipient") or None, "time": said["time"],
                "month": int(said["time"][:4] + said["time"][5:7]), "body": bytes(row.body), "leaf": bytes(row.leaf),
                "result": said.get("result"),
            }
            for row, said in ((row, orjson.loads(bytes(row.body))) for row in rows)
        ]  # fmt: skip


def _follow(unsettled: dict[str, dict[str, Any]], row: dict[str, Any]) -> None:
    if row["kind"] == "intent":
        unsettled[row["request"]] = {
            "disclosure": row["request"], "subject": row["subject"], "recipient": row["recipient"],
            "state": "open", "since": row["time"],
        }  # fmt: skip
    elif row["kind"] == "outcome" and row["result"] == "unknown":
        unsettled[row["request"]]["state"] = "unknown"
    elif row["kind"] == "outcome":
        unsettled.pop(row["request"], None)


def _grow(frontier: list[tuple[int, bytes]], leaf: bytes) -> None:
    """Add a leaf to the complete subtrees of the tree so far, each with its height."""
    height = 0
    while frontier and frontier[-1][0] == height:
        leaf = hashlib.sha256(b"\x01" + frontier.pop()[1] + leaf).digest()
        height += 1
    frontier.append((height, leaf))


def _root(frontier: list[tuple[int, bytes]]) -> bytes:
    """The tree's root, to be compared with the one that the older version kept."""
    if not frontier:
        return EMPTY_ROOT
    root = frontier[-1][1]
    for _, subtree in reversed(frontier[:-1]):
        root = hashlib.sha256(b"\x01" + subtree + root).digest()
    return root
