"""A ledger without a gateway, and the hand of somebody who can write to its database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from harness import PEOPLE, Clock, lay_database
from qaqpa.errors import VerificationFailed
from qaqpa.keys import Keyring
from qaqpa.ledger import Ledger
from qaqpa.ledger.answers import Once
from qaqpa.ledger.catalogue import catalogue
from qaqpa.ledger.checkpoints import Checkpoints
from qaqpa.ledger.entries import Kind, control
from qaqpa.ledger.integrate import integrate
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.disclosure import Extract, Intent, Message, Outcome
from qaqpa.model.identifiers import CallerId, DisclosureId, RecipientId, uuid7
from qaqpa.model.words import OutcomeResult, SealKind, Words
from qaqpa.store import Store, store_at

ZONE = 5
ORIGIN = "mfo.example/tests"
ASKED = Asked(CallerId("scoring"), RecipientId("bureau"), "report", "review")
EXTRACT = Extract({}, (), (), consent_confirmed=True)
MESSAGE = Message(b"body", "text/xml", "report")
OK = Outcome(OutcomeResult.DELIVERED, "ok")


def decided(*results: Result, asked: Asked = ASKED) -> Decision:
    words = Words(ru="р", kk="к", en="e")
    return Decision(asked, datetime.now(UTC), tuple(GuardResult("g", "1.1", words, result) for result in results))


PERMIT = decided(Result.PERMIT)


def once(ledger: Ledger, key: str, decision: Decision = PERMIT) -> Once:
    return Once(ledger.keyring.blind_request(decision.asked.caller, key), b"request")


async def intend(
    ledger: Ledger, decision: Decision = PERMIT, *, key: str | None = None, iin: str = PEOPLE[0].iin, holds: Any = None
) -> Intent:
    person = await ledger.subjects.person(iin)
    return await ledger.intend(
        DisclosureId(uuid7()), decision, EXTRACT, MESSAGE, person, seal=SealKind.TLS_ONLY, stated={},
        once=None if key is None else once(ledger, key, decision),
        still_holds=holds or (lambda _connection: True),
    )  # fmt: skip


@dataclass(frozen=True)
class Intruder:
    """Somebody who reads and writes the database without us."""

    url: str
    home: Path

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """The driver's own connection; what was done is committed at the end."""
        if self.is_sqlite:
            with closing(sqlite3.connect(self.home / self.url.removeprefix("sqlite:///"))) as file, file:
                yield file
        else:
            with psycopg.connect(self.url) as session:
                yield session

    def run(self, *statements: str) -> None:
        """Statements in one transaction."""
        with self.connected() as connection:
            for statement in statements:
                connection.execute(statement)

    def change(self, statement: str, *values: Any) -> int:
        """Run one statement that must change something; returns how many rows it did."""
        with self.connected() as connection:
            changed: int = connection.execute(self._translated(statement), values or ()).rowcount
        assert changed, "the attack changed nothing"
        return changed

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connected() as connection:
            return [tuple(row) for row in connection.execute(self._translated(query), values or ()).fetchall()]

    def value(self, query: str, *values: Any) -> Any:
        return self.rows(query, *values)[0][0]

    def _translated(self, statement: str) -> str:
        return statement if self.is_sqlite else statement.replace("?", "%s")


@dataclass
class Book:
    """A ledger on a store of its own, without a gateway."""

    store: Store
    ledger: Ledger
    checkpoints: Checkpoints
    clock: Clock
    intruder: Intruder

    async def intend(self, decision: Decision = PERMIT, **named: Any) -> Intent:
        return await intend(self.ledger, decision, **named)

    async def control(self, number: int = 0) -> int:
        return await self.ledger.record(Kind.CONTROL, control("a", "r", "c", "p", f"reason {number}", at=self.clock()))

    async def grow(self) -> None:
        """Let tree and catalogue catch up."""
        while await self.store.write(integrate):
            pass
        while await self.store.write(lambda connection: catalogue(connection, ZONE)):
            pass

    async def sign(self) -> bytes:
        """A checkpoint over every entry."""
        note = await self.checkpoints.make()
        assert note is not None
        return note.to_bytes()

    def verified(self, *, kept: Iterable[bytes] = ()) -> Verified:
        with self.store.snapshot() as connection:
            return verify(connection, key=self.checkpoints.key, kept=kept)

    def contents(self, kind: str | None = None) -> list[dict[str, Any]]:
        with self.store.snapshot() as connection:
            return [entry.content for entry in entries_of(connection, kind=kind)]


@contextmanager
def book_at(url: str, home: Path) -> Iterator[Book]:
    """A ledger at `url`; several at one address share the keyring in `home` and nothing else."""
    lay_database(url, home)
    keyring_path, clock = home / "k.json", Clock()
    keyring = Keyring.load(keyring_path) if keyring_path.exists() else Keyring.create(keyring_path)
    with ExitStack() as stack:
        stack.enter_context(closing(keyring))
        store = stack.enter_context(closing(store_at(url, home)))
        ledger = stack.enter_context(closing(Ledger(store, keyring, clock, clock_tolerance_s=5)))
        store.open(ledger)
        ledger.open()
        checkpoints = Checkpoints(store, keyring, ORIGIN, home / "checkpoint.txt", clock)
        yield Book(store, ledger, checkpoints, clock, Intruder(url, home))


# --- a ledger to attack ----------------------------------------------------------------------------

SIZE = 8


async def write_early(book: Book) -> bytes:
    """Five entries and the checkpoint over them: 0 policy, 1 and 2 intents, 3 and 4 outcomes, the latter unknown."""
    await book.ledger.record_policy([], "digest")
    intents = [await book.intend(), await book.intend()]
    await book.ledger.conclude(intents[0], OK)
    await book.ledger.conclude(intents[1], Outcome(OutcomeResult.UNKNOWN, "answer_timeout"))
    return await book.sign()


async def write_late(book: Book, early: bytes) -> None:
    """SIZE entries: after the early ones two controls, 5 and 6, and an open intent about somebody else, 7."""
    await book.control(5)
    await book.control(6)
    await book.intend(iin=PEOPLE[1].iin)
    book.clock.offset += timedelta(hours=1)  # another hour, so that both checkpoints stay
    await book.sign()
    found = book.verified(kept=[early])
    assert (found.size, found.in_tree, found.checkpoints) == (SIZE, SIZE, 3)
    assert (len(found.open_intents), len(found.unknown)) == (1, 1)


def failed(book: Book, *, kept: Iterable[bytes] = ()) -> VerificationFailed:
    """How the ledger fails to verify."""
    with pytest.raises(VerificationFailed) as raised:
        book.verified(kept=kept)
    return raised.value
