"""How the console's pages read the database: no statement reads through a table that grows with the business."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from desk import at_desk
from harness import built
from pages import Walk
from qaqpa.store.connection import Rows
from qaqpa.store.sqlite import SqliteConnection
from scene import played
from visitor import signed_in

GROWS = (
    "entries", "terms", "tiles", "checkpoints", "consents", "subjects", "subject_keys", "erasures", "evidence",
    "idempotency", "answers", "handovers", "handover_chunks", "handover_findings", "recalls", "alerts",
    "alert_messages",
)  # fmt: skip
SCANNED = re.compile(rf"SCAN ({'|'.join(GROWS)}|[a-z])\b")
PAGED = ("entries", "consents", "handovers", "recalls")
"""Of these one page is listed at a time."""
SORTED = "USE TEMP B-TREE FOR ORDER BY"


def reads_through(sql: str, plan: list[str]) -> bool:
    """Whether it looks at every row of a table that grows, or sorts them: a LIMIT ends a scan in the order of an index
    or a key, where nothing is left out on the way.
    """
    is_scan = any(SCANNED.match(step) for step in plan)
    ends = "LIMIT" in sql and "WHERE" not in sql and SORTED not in plan
    is_page = "LIMIT" in sql and " OR " not in sql and any(f" FROM {table} " in sql for table in PAGED)
    return (is_scan and not ends) or (is_page and SORTED in plan)


class Statements:
    """Every statement that pages run, with values that it ran with."""

    def __init__(self) -> None:
        self.ran: dict[str, Sequence[Any]] = {}


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statements]:
    found, execute = Statements(), SqliteConnection.execute

    def noting(self: SqliteConnection, sql: str, values: Sequence[Any] = ()) -> Rows:
        found.ran.setdefault(sql, values)
        return execute(self, sql, values)

    monkeypatch.setattr(SqliteConnection, "execute", noting)
    yield found


async def test_no_page_reads_through_a_large_table(tmp_path: Path, statements: Statements) -> None:
    async with built(tmp_path) as house, played(house, tmp_path / "agency") as scene, at_desk(house, {}) as desk:
        statements.ran.clear()
        async with signed_in(desk, "Anna") as visitor:
            walk = await Walk(visitor).over("/", *(f"/entries/{index}" for index in scene.entries.values()))
            assert len(walk.answers) > 60
        ran = {sql: values for sql, values in statements.ran.items() if sql.startswith("SELECT")}
        assert len(ran) > 60
        with desk.gateway.store.snapshot() as connection:
            wrong = []
            for sql, values in ran.items():
                plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).all()]
                if reads_through(sql, plan):
                    wrong.append(f"{sql}\n    {plan}")
    assert not wrong, "\n".join(wrong)
