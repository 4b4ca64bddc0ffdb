"""From the first released schema to this one with what stands in it, on either engine; anything else is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from merkle_by_definition import Frontier
from sqlalchemy import Connection, NullPool, create_engine

from books import OK, Intruder, book_at
from harness import PASSPHRASE, PEOPLE, House, both_engines, give_consent, request, request_document
from qaqpa.errors import SchemaMismatch, VerificationFailed
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Unlock
from qaqpa.ledger import entries
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.recovery import recover, unsettled
from qaqpa.ledger.subjects import Subject
from qaqpa.model.identifiers import SubjectId, uuid7
from qaqpa.model.words import timestamp
from qaqpa.store import store_at
from qaqpa.store.migrate import HEAD, _config
from qaqpa.store.schema import metadata
from qaqpa.tlog.merkle import leaf_hash

pytestmark = both_engines
NOW = datetime.now(UTC) - timedelta(days=70)
DELIVERED, UNKNOWN, OPEN = sorted(uuid7() for _ in range(3))


@pytest.fixture
def empty_url(engine: str, store_url: str, tmp_path: Path) -> str:
    """A database without any table."""
    if engine == "postgresql":
        Intruder(store_url, tmp_path).run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return store_url


KEY = b"k" * 32
"""Of the one person."""


def with_alembic(url: str, home: Path, work: Any) -> Any:
    """Do something on a connection of Alembic's kind."""
    name = "postgresql+psycopg" + url.removeprefix("postgresql") if "postgres" in url else f"sqlite:///{home}/qaqpa.db"
    engine = create_engine(name, poolclass=NullPool)
    with engine.begin() as connection:
        return work(connection)


def make_0001(url: str, home: Path) -> None:
    with_alembic(url, home, lambda connection: command.upgrade(_config(connection), "0001"))


@dataclass
class Old:
    """A ledger as the first version wrote it: its statements, its tree."""

    intruder: Intruder
    keyring: Keyring
    frontier: Frontier = field(default_factory=Frontier)
    last_time: str = ""
    subject: str = "ab" * 16

    def enter(self, kind: Kind, request: str, public: dict[str, Any], subject: str | None = None) -> None:
        body = orjson.dumps(public, option=orjson.OPT_SORT_KEYS)
        index, leaf = self.frontier.size, leaf_hash(body)
        self.frontier.append(leaf)
        values = (index, request, kind.value, subject, body, leaf)
        add = "INSERT INTO entries (idx, request, kind, subject, body, leaf) VALUES (?, ?, ?, ?, ?, ?)"
        self.intruder.change(add, *values)
        if kind in entries.AUTHORISING:
            self.last_time = max(self.last_time, public["time"])

    def intend(self, disclosure: str, at: datetime) -> None:
        head = {"format": 1, "kind": "intent", "id": disclosure, "time": timestamp(at), "caller": "loan-scoring"}
        asked = {"recipient": "first-credit-bureau", "operation": "credit_report", "purpose": "application_review"}
        public = head | asked | {"subject": self.subject, "consent": None, "seal": "tls_only", "fields": []}
        sealed = Subject(SubjectId(self.subject), KEY).seal(public, {"iin": PEOPLE[0].iin})
        self.enter(Kind.INTENT, disclosure, public | {"sealed": sealed}, self.subject)

    def conclude(self, disclosure: str, result: str, at: datetime) -> None:
        public = {
            "format": 1, "kind": "outcome", "id": uuid7(), "time": timestamp(at), "intent": disclosure,
            "result": result, "code": "ok", "subject": self.subject, "sealed": "AQ==",
        }  # fmt: skip
        self.enter(Kind.OUTCOME, disclosure, public, self.subject)

    def write(self) -> None:
        """Policy, then one delivered, one unknown, one open, in three months; a suspension; keys and idempotency."""
        policy = entries.policy([], "digest", at=NOW)
        self.enter(Kind.POLICY, policy["id"], policy)
        for at, (name, result) in enumerate(((DELIVERED, "delivered"), (UNKNOWN, "unknown"), (OPEN, None))):
            moment = NOW + timedelta(days=31 * at)
            self.intend(name, moment)
            if result is not None:
                self.conclude(name, result, moment + timedelta(seconds=1))
        control = entries.control("suspend", "demo-collector", "c", "p", "r", at=NOW + timedelta(days=69))
        self.enter(Kind.CONTROL, control["id"], control)
        change, keyring = self.intruder.change, self.keyring
        change("INSERT INTO suspensions VALUES ('demo-collector', ?, 'p', 'r')", control["time"])
        change("INSERT INTO subjects (blind, subject) VALUES (?, ?)", keyring.blind(PEOPLE[0].iin), self.subject)
        wrapped = keyring.wrap(self.subject, KEY)
        change("INSERT INTO subject_keys VALUES (?, ?, ?)", self.subject, keyring.epoch, wrapped)
        change("INSERT INTO meta VALUES ('keyring', ?)", keyring.id)
        change("INSERT INTO meta VALUES ('config', 'digest')")
        change("INSERT INTO idempotency VALUES (?, ?)", keyring.blind_request("loan-scoring", "k"), DELIVERED)
        tree = (self.frontier.size, self.frontier.to_bytes(), self.frontier.root(), self.last_time)
        change("INSERT INTO tree (id, size, frontier, root, last_time) VALUES (1, ?, ?, ?, ?)", *tree)


@pytest.fixture
def old(empty_url: str, tmp_path: Path) -> Iterator[Old]:
    make_0001(empty_url, tmp_path)
    with closing(Keyring.create(tmp_path / "k.json")) as keyring:
        made = Old(Intruder(empty_url, tmp_path), keyring)
        made.write()
        yield made


# --- the first schema ------------------------------------------------------------------------------


async def test_the_first_schema_is_refused_until_it_is_migrated_and_then_goes_on(
    old: Old, store_url: str, tmp_path: Path
) -> None:
    before = old.intruder.rows("SELECT idx, body FROM entries ORDER BY idx")
    with pytest.raises(SchemaMismatch, match="`qaqpa migrate`"), book_at(store_url, tmp_path):
        pass
    assert store_at(store_url, tmp_path).migrate() == HEAD
    assert old.intruder.rows("SELECT idx, body FROM entries ORDER BY idx") == before
    with book_at(store_url, tmp_path) as book:
        note = await book.sign()
        found = book.verified(kept=[note])
        assert (found.size, found.in_tree, found.root) == (7, 7, old.frontier.root())
        assert (found.open_intents, found.unknown) == ((OPEN,), (UNKNOWN,))
        assert (await book.ledger.subjects.find(PEOPLE[0].iin)) is not None, "a person keeps id and key"
        assert await recover(book.ledger) == 1, "whoever made the open intent is gone"
        intent = await book.intend()
        assert intent.index == 8
        await book.ledger.conclude(intent, OK)
        await book.sign()
        found = book.verified(kept=[note])
        assert (found.size, found.unknown) == (10, (UNKNOWN, OPEN))


def test_columns_and_months_come_from_the_bodies(old: Old, store_url: str, tmp_path: Path) -> None:
    store_at(store_url, tmp_path).migrate()
    columns = "request, kind, subject, caller, recipient, time, month, leaf, body"
    for *found, leaf, body in old.intruder.rows(f"SELECT {columns} FROM entries ORDER BY idx"):
        said = orjson.loads(bytes(body))
        month = int(said["time"][:4] + said["time"][5:7])
        names = [said.get(name) for name in ("kind", "subject", "caller", "recipient", "time")]
        assert found == [said.get("intent", said["id"]), *names, month]
        assert bytes(leaf) == leaf_hash(bytes(body))
    assert old.intruder.value("SELECT count(DISTINCT month) FROM entries") == 3
    states = "SELECT disclosure, subject, recipient, gateway, state, since FROM unsettled ORDER BY disclosure"
    assert old.intruder.rows(states) == [
        (UNKNOWN, old.subject, "first-credit-bureau", 0, "unknown", timestamp(NOW + timedelta(days=31))),
        (OPEN, old.subject, "first-credit-bureau", 0, "open", timestamp(NOW + timedelta(days=62))),
    ]


async def test_an_empty_old_database_is_migrated(empty_url: str, tmp_path: Path) -> None:
    make_0001(empty_url, tmp_path)
    assert store_at(empty_url, tmp_path).migrate() == HEAD
    with book_at(empty_url, tmp_path) as book:
        assert await book.control() == 0
        await book.sign()
        assert book.verified().size == 1


async def test_a_long_old_ledger_is_migrated_whole(old: Old, store_url: str, tmp_path: Path) -> None:
    """More entries than are moved at once."""
    template = orjson.loads(bytes(old.intruder.value("SELECT body FROM entries WHERE idx = 0")))
    with old.intruder.connected() as connection:
        add = "INSERT INTO entries (idx, request, kind, subject, body, leaf) VALUES (?, ?, 'policy', NULL, ?, ?)"
        for _ in range(2_500):
            entry = uuid7()
            body = orjson.dumps(template | {"id": entry}, option=orjson.OPT_SORT_KEYS)
            values = (old.frontier.size, entry, body, leaf_hash(body))
            connection.execute(add if old.intruder.is_sqlite else add.replace("?", "%s"), values)
            old.frontier.append(leaf_hash(body))
    tree = (old.frontier.size, old.frontier.to_bytes(), old.frontier.root())
    old.intruder.change("UPDATE tree SET size = ?, frontier = ?, root = ?", *tree)
    store_at(store_url, tmp_path).migrate()
    with book_at(store_url, tmp_path) as book:
        await book.grow()
        found = book.verified()
        assert (found.size, found.root) == (2_507, old.frontier.root())


@pytest.mark.parametrize("in_files", [False, True])
def test_routes_are_counted_anew_unless_months_lie_in_files(empty_url: str, tmp_path: Path, in_files: bool) -> None:
    with_alembic(empty_url, tmp_path, lambda connection: command.upgrade(_config(connection), "0008"))
    intruder = Intruder(empty_url, tmp_path)
    add = "INSERT INTO consents (id, subject, terms) VALUES (?, 's', ?)"
    intruder.change(add, "a", '{"expires_at":"2027-01-01T00:00:00+05:00"}')
    intruder.change(add, "b", '{"purposes":[]}')
    intruder.run(
        "INSERT INTO concluding VALUES ('d', '2026-01-01', 'c', 'r', 'p', '[]', 0, 1)",
        "INSERT INTO counts VALUES ('intent', '2026-01-01', 'c', 'r', 'p', 'consent', 1)",
        "INSERT INTO terms (term, block) VALUES ('day:2026-01-01', 0), ('kind:intent', 0)",
        "UPDATE catalogued SET size = 7, zone = 5",
    )
    if in_files:
        intruder.run("INSERT INTO archives VALUES (202601, 0, 6, 7, 'x', 'f')")
    assert store_at(empty_url, tmp_path).migrate() == HEAD
    ends = intruder.rows("SELECT id, expires_at FROM consents ORDER BY id")
    assert ends == [("a", "2026-12-31T19:00:00.000Z"), ("b", None)]
    assert intruder.rows("SELECT size, zone, routes FROM catalogued") == [(7, 5, 0) if in_files else (0, 5, 1)]
    kept = [("d", "2026-01-01", "c", "r", "p", "", "[]", 0, 1)] if in_files else []
    assert intruder.rows("SELECT * FROM concluding") == kept
    assert intruder.value("SELECT count(*) FROM counts") == int(in_files)
    terms = [row[0] for row in intruder.rows("SELECT term FROM terms ORDER BY term")]
    assert terms == (["day:2026-01-01", "kind:intent"] if in_files else ["kind:intent"])


def test_what_is_due_of_handovers_is_told_from_what_is_kept(empty_url: str, tmp_path: Path) -> None:
    with_alembic(empty_url, tmp_path, lambda connection: command.upgrade(_config(connection), "0009"))
    intruder = Intruder(empty_url, tmp_path)
    add = (
        "INSERT INTO handovers (id, caller, recipient, state, since, changed, ordered, figures) "
        "VALUES (?, 'c', 'r', 'acknowledged', 's', 's', ?, ?)"
    )
    intruder.change(add, "a", '{"operation":"assignment"}', '{"receipt":{"destruction_due":"2027-01-31"}}')
    intruder.change(add, "b", '{"operation":"handover"}', '{"receipt":{"destruction_due":null}}')
    intruder.change(add, "c", '{"operation":"handover"}', "{}")
    assert store_at(empty_url, tmp_path).migrate() == HEAD
    assert intruder.rows("SELECT id, operation, follows, destroy_by, reminded FROM handovers ORDER BY id") == [
        ("a", "assignment", None, "2027-01-31", None), ("b", "handover", None, None, None),
        ("c", "handover", None, None, None),
    ]  # fmt: skip


TAMPERED = {
    "another root": ("UPDATE tree SET root = ?", bytes(32)),
    "a leaf changed": ("UPDATE entries SET leaf = ? WHERE idx = 2", bytes(32)),
    "an entry removed": ("DELETE FROM entries WHERE idx = ?", 6),
    "one in the middle removed": ("DELETE FROM entries WHERE idx = ?", 0),
    "the tree forgotten": ("DELETE FROM tree WHERE id = ?", 1),
}


@pytest.mark.parametrize(("attack", "value"), TAMPERED.values(), ids=TAMPERED.keys())
def test_an_old_ledger_that_does_not_verify_is_refused_and_left_as_it_is(
    old: Old, store_url: str, tmp_path: Path, attack: str, value: Any
) -> None:
    old.intruder.change(attack, value)
    before = old.intruder.rows("SELECT * FROM entries ORDER BY idx")
    with pytest.raises(SchemaMismatch, match="does not verify"):
        store_at(store_url, tmp_path).migrate()
    assert old.intruder.rows("SELECT * FROM entries ORDER BY idx") == before
    assert old.intruder.value("SELECT version_num FROM alembic_version") == "0001"


def test_an_old_body_that_was_changed_is_found_after_the_migration_at_the_latest(
    old: Old, store_url: str, tmp_path: Path
) -> None:
    body = bytes(old.intruder.value("SELECT body FROM entries WHERE idx = 1"))
    old.intruder.change("UPDATE entries SET body = ? WHERE idx = 1", body.replace(b"application", b"exploration"))
    try:
        store_at(store_url, tmp_path).migrate()
    except SchemaMismatch as refused:
        assert "does not verify" in str(refused)
        return
    with book_at(store_url, tmp_path) as book, pytest.raises(VerificationFailed) as raised:
        book.verified()
    assert raised.value.index == 1


# --- the schema ------------------------------------------------------------------------------------


def test_the_migrations_make_exactly_the_tables_of_the_schema(store_url: str, tmp_path: Path) -> None:
    with closing(store_at(store_url, tmp_path)) as store:
        store.open()

    def compare(connection: Connection) -> tuple[list[Any], str | None]:
        # PostgreSQL wants the month in the key of the partitioned table; Alembic does not compare keys.
        options = {"compare_type": True, "include_name": lambda name, *_: not str(name).startswith("entries_2")}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, metadata), context.get_current_revision()

    assert with_alembic(store_url, tmp_path, compare) == ([], HEAD)
    assert ScriptDirectory.from_config(_config()).get_heads() == [HEAD], "what is known without Alembic is its own"


def test_a_migrated_database_has_the_tables_and_indexes_of_a_new_one(
    old: Old, store_url: str, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    store_at(store_url, tmp_path).migrate()
    if engine == "sqlite":
        query = "SELECT type, name, tbl_name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
        fresh = Intruder("sqlite:///fresh.db", tmp_path)
    else:
        query = (
            "SELECT 'index', indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public' "
            "AND left(tablename, 8) <> 'entries_' UNION SELECT 'column', table_name || '.' || column_name, "
            "data_type || is_nullable FROM information_schema.columns WHERE table_schema = 'public' "
            "AND left(table_name, 8) <> 'entries_' ORDER BY 1, 2"
        )
        fresh = Intruder(request.getfixturevalue("postgres").database(), tmp_path)
    with closing(store_at(fresh.url, tmp_path)) as store:
        store.open()
    assert old.intruder.rows(query) == fresh.rows(query)


OTHERS = {
    "a newer revision": (("UPDATE alembic_version SET version_num = '9999'",), "9999.*install the newer"),
    "no revision beside tables": (("DELETE FROM alembic_version",), "not Qaqpa's"),
    "two revisions": (("INSERT INTO alembic_version VALUES ('0000')",), "does not know"),
    "tables of somebody else": (("DROP TABLE alembic_version", "CREATE TABLE theirs (id INTEGER)"), "not Qaqpa's"),
}


@pytest.mark.parametrize(("statements", "said"), OTHERS.values(), ids=OTHERS.keys())
def test_another_schema_is_refused_and_left_as_it_is(
    store_url: str, tmp_path: Path, statements: tuple[str, ...], said: str
) -> None:
    store, intruder = store_at(store_url, tmp_path), Intruder(store_url, tmp_path)
    with closing(store):
        store.open()
    intruder.run(*statements)
    tables = with_alembic(store_url, tmp_path, _tables)
    with closing(store), pytest.raises(SchemaMismatch, match=said):
        store.open()
    with pytest.raises(SchemaMismatch, match=said):
        store.migrate()
    assert with_alembic(store_url, tmp_path, _tables) == tables


def _tables(connection: Connection) -> list[tuple[Any, ...]]:
    sqlite = connection.dialect.name == "sqlite"
    query = "SELECT name, sql FROM sqlite_schema" if sqlite else "SELECT tablename, tableowner FROM pg_tables"
    return sorted(tuple(map(str, row)) for row in connection.exec_driver_sql(query))


async def test_migrate_on_the_command_line(house: House, store_url: str) -> None:
    async with house.gateway():
        pass
    ran = await house.cli("migrate")
    assert (ran.code, f"the schema is at {HEAD}" in ran.out + ran.err) == (0, True)
    Intruder(store_url, house.home).run("UPDATE alembic_version SET version_num = '9999'")
    ran = await house.cli("migrate")
    assert ran.code == 5 and "9999" in ran.err


async def test_a_gateway_goes_on_from_an_old_database(house: House, engine: str, store_url: str) -> None:
    if engine == "postgresql":
        Intruder(store_url, house.home).run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    make_0001(store_url, house.home)
    with closing(Keyring.load(house.home / "keyring.json", Unlock(PASSPHRASE))) as keyring:
        Old(Intruder(store_url, house.home), keyring).write()
    ran = await house.cli("migrate")
    assert ran.code == 0, ran.err
    async with house.gateway() as gateway:
        left = await gateway.store.read(unsettled)
        assert {each.disclosure: each.state for each in left} == {UNKNOWN: "unknown", OPEN: "unknown"}
        await give_consent(house, gateway, PEOPLE[0])
        await gateway.disclose("loan-scoring", request(request_document(PEOPLE[0])))
        found = house.verified(gateway)
        assert (found.open_intents, set(found.unknown)) == ((), {UNKNOWN, OPEN})
    ran = await house.cli("ledger", "verify", "--json")
    assert (ran.code, ran.json["verified"]) == (0, True)
