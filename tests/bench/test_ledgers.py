"""The ledgers of the benchmarks are such as the product writes: row by row, table by table, and they verify."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import ledgers
import orjson
import pytest

from harness import PEOPLE, House, both_engines, give_consent, request, request_document
from qaqpa.keys import Keyring
from qaqpa.ledger.entries import Draft, Kind
from qaqpa.ledger.verify import verify
from qaqpa.model.canonical import canonical
from qaqpa.model.identifiers import SubjectId
from qaqpa.store import Connection, EntryRow
from qaqpa.store.schema import metadata

COUNT = 2 * ledgers.CHUNK + 600
SAMPLE = 2_000


def appended(row: EntryRow) -> EntryRow:
    """The row that the product makes of what the body says."""
    said = orjson.loads(row[8])
    kind = Kind(said["kind"])
    request = said["intent"] if kind is Kind.OUTCOME else said["id"]
    return Draft(kind, request, SubjectId(said["subject"]), said, canonical(said)).row()


def test_each_row_is_the_products_own() -> None:
    rows = list(ledgers.rows(SAMPLE, lambda number: f"{number:032x}", 20))
    assert len(rows) == SAMPLE and len({row[8] for row in rows}) == SAMPLE
    assert [appended(row) for row in rows] == rows


@both_engines
def test_a_whole_ledger_verifies_and_is_what_appending_makes(
    store_url: str, tmp_path: Path, engine: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[EntryRow] = []
    rows = ledgers.rows

    def noted(*asked: object) -> list[EntryRow]:
        made.extend(rows(*asked))  # type: ignore[arg-type]
        return made

    monkeypatch.setattr(ledgers, "rows", lambda *asked: iter(noted(*asked)))
    monkeypatch.setattr(ledgers, "TOGETHER", 2)
    with closing(Keyring.create(tmp_path / "k.json")) as keyring:
        with ledgers.ledger_of(COUNT, store_url, tmp_path, keyring) as store, store.snapshot() as connection:
            found = verify(connection)
            assert (found.size, found.in_tree, found.unread) == (COUNT, COUNT, 0)
            bulk = tables(connection)
        other = "sqlite:///other.db" if engine == "sqlite" else request.getfixturevalue("postgres").database()
        monkeypatch.setattr(ledgers, "rows", lambda *_: iter(made))
        monkeypatch.setattr(ledgers, "append", as_the_product)
        with ledgers.ledger_of(COUNT, other, tmp_path, keyring) as store, store.snapshot() as connection:
            assert tables(connection) == bulk


def as_the_product(connection: Connection, chunk: list[EntryRow], _first: int) -> None:
    connection.append(chunk, max(row[6] for row in chunk if row[2] == "intent"), moved_back=False)


def tables(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Everything that stands there."""
    return {
        table.name: sorted(connection.execute(f"SELECT * FROM {table.name}").all(), key=repr)
        for table in metadata.sorted_tables
        if table.name not in {"subjects", "subject_keys"}  # of the persons who were made
    }


async def test_intents_and_outcomes_say_what_real_ones_say(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PEOPLE[0])
        await gateway.disclose("loan-scoring", request(request_document(PEOPLE[0])))
        real = {each["kind"]: each for each in house.entries(gateway)}
    for kind, of_bench in (("intent", ledgers.intent(1)), ("outcome", ledgers.outcome("delivered"))):
        assert of_bench.keys() == real[kind].keys()
        assert {name: type(value) for name, value in of_bench.items()} == {
            name: type(value) for name, value in real[kind].items()
        }
