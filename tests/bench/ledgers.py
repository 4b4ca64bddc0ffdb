"""Ledgers of a given size: the rows that the ledger writes, without waiting for the disk at each entry.

Bodies that differ in ids, persons, times and sealed parts alone are printed from one canonical body each, and
PostgreSQL gets them by COPY; tree, index and catalogue grow by the product's own hand. tests/bench/test_ledgers.py
holds the rows against those that the product appends, and verifies the whole.
"""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from qaqpa.keys import Keyring
from qaqpa.ledger.catalogue import catalogue
from qaqpa.ledger.entries import FORMAT
from qaqpa.ledger.integrate import integrate
from qaqpa.ledger.subjects import Subject
from qaqpa.model.canonical import canonical
from qaqpa.model.identifiers import SubjectId, uuid7
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, EntryRow, Store, store_at
from qaqpa.tlog.merkle import leaf_hash

CHUNK = 8_192
ZONE = 5
"""Of the operator, in hours east of UTC."""
PER_SUBJECT = 20
"""Entries about one person, unless told otherwise."""
SPAN = timedelta(days=365)
"""From the first entry to the last."""
FIELDS = [f"identity.field_{number}" for number in range(6)]
TOGETHER = 64
"""Chunks and batches of one transaction."""
_NEVER_WAITING = {
    "sqlite": ("PRAGMA synchronous = OFF", "PRAGMA cache_size = -524288"),
    "postgresql": ("SET synchronous_commit = off",),
}
"""For the connection that fills, and for no other."""
ENTRY_COLUMNS = "idx, month, request, kind, subject, caller, recipient, time, leaf, body"


def intent(number: int) -> dict[str, Any]:
    """An intent of a usual size (about 900 bytes); what differs from one to the next is named in its place."""
    return {
        "format": FORMAT, "kind": "intent", "id": "%(id)s", "time": "%(time)s", "caller": "loan-scoring",
        "recipient": "first-credit-bureau" if number % 50 else "demo-collector", "operation": "credit_report",
        "purpose": "application_review" if number % 3 else "legal_duty", "policy": "2025-01",
        "ground": "consent" if number % 7 else "service",
        "clauses": ["1.1(10)", "2.3(1)"],
        "guards": ["consent_covers", "agreement_in_force", "jurisdiction", "not_suspended"], "notes": [],
        "consent": "%(consent)s", "fields": FIELDS[: 3 + number % 4],
        "withheld": ["contact.mobile", "employment.salary"], "seal": "tls_only",
        "endpoint": "report", "subject": "%(subject)s", "sealed": "%(sealed)s",
    }  # fmt: skip


def outcome(result: str) -> dict[str, Any]:
    """Its outcome."""
    return {
        "format": FORMAT, "kind": "outcome", "id": "%(id)s", "time": "%(time)s", "intent": "%(intent)s",
        "result": result, "code": "ok", "status": 200,
        "returned": ["report.existing_contracts"], "cut": [],
        "subject": "%(subject)s", "sealed": "%(sealed)s",
    }  # fmt: skip


def rows(count: int, subjects: Callable[[int], str], per_subject: int) -> Iterator[EntryRow]:
    """Intents and outcomes in turn."""
    rng = random.Random(1)
    began = datetime.now(UTC) - SPAN
    people = max(1, count // per_subject)
    outcomes = {each: canonical(outcome(each)).decode() for each in ("delivered", "rejected")}
    intents: dict[tuple[bool, bool, bool, int], tuple[str, str, str]] = {}
    for number in range(count // 2):
        at = began + SPAN * (2 * number / count)
        alike = (number % 50 == 0, number % 3 == 0, number % 7 == 0, number % 4)
        if alike not in intents:
            said = intent(number)
            intents[alike] = (canonical(said).decode(), said["caller"], said["recipient"])
        text, caller, recipient = intents[alike]
        subject = subjects(number % people)  # the same person comes again much later
        disclosure = uuid7()
        values = {"id": disclosure, "consent": uuid7(), "subject": subject}
        yield _row(text, values, at, rng, ("intent", disclosure, subject, caller, recipient))
        text = outcomes["delivered" if rng.random() < 0.995 else "rejected"]
        values = {"id": uuid7(), "intent": disclosure, "subject": subject}
        yield _row(text, values, at + timedelta(milliseconds=9), rng, ("outcome", disclosure, subject, None, None))


def _row(
    text: str,
    values: dict[str, str],
    at: datetime,
    rng: random.Random,
    columns: tuple[str, str, str, str | None, str | None],
) -> EntryRow:
    time = timestamp(at)
    sealed = base64.b64encode(rng.randbytes(190)).decode()
    body = (text % {**values, "time": time, "sealed": sealed}).encode()
    kind, request, subject, caller, recipient = columns
    month = int(time[:4] + time[5:7])
    return month, request, kind, subject, caller, recipient, time, leaf_hash(body), body


def fill(connection: Connection, keyring: Keyring, count: int, per_subject: int) -> None:
    """A ledger of `count` entries with its subjects."""
    subjects: dict[int, str] = {}
    made: list[tuple[Subject, str]] = []

    def subject(number: int) -> str:
        if number not in subjects:
            new = Subject(SubjectId(os.urandom(16).hex()), os.urandom(32))
            subjects[number] = new.id
            made.append((new, f"{number:012d}"))
        return subjects[number]

    written, every = 0, rows(count, subject, per_subject)
    while chunk := list(islice(every, CHUNK)):
        append(connection, chunk, written)
        add_subjects(connection, keyring, made)
        made.clear()
        written += len(chunk)
        if written % (TOGETHER * CHUNK) == 0:
            _go_on(connection)


def append(connection: Connection, chunk: Sequence[EntryRow], first: int) -> None:
    """What `Connection.append` leaves behind, by the quickest way that each engine has."""
    last_time = max(row[6] for row in chunk if row[2] == "intent")
    if connection.dialect == "sqlite":
        connection.append(chunk, last_time, moved_back=False)
        return
    for month in {row[0] for row in chunk}:
        connection.make_month(month)
    copy(connection, f"entries ({ENTRY_COLUMNS})", ((first + at, *row) for at, row in enumerate(chunk)))
    connection.execute("UPDATE tree SET size = ?, last_time = ? WHERE id = 1", (first + len(chunk), last_time))


def copy(connection: Connection, into: str, values: Iterable[Sequence[Any]]) -> None:
    """Rows by PostgreSQL's COPY; no text of ours holds a tab, a line's end or a backslash."""
    text = "".join("\t".join(map(_copied, row)) + "\n" for row in values)
    with connection._raw.cursor().copy(f"COPY {into} FROM STDIN") as going:  # type: ignore[attr-defined]
        going.write(text)


def _copied(value: Any) -> str:
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    return r"\N" if value is None else str(value)


def add_subjects(connection: Connection, keyring: Keyring, made: list[tuple[Subject, str]]) -> None:
    """Persons with their keys."""
    found = [(keyring.blind(iin), subject.id, subject.seal_iin(iin)) for subject, iin in made]
    keys = [(subject.id, keyring.epoch, keyring.wrap(subject.id, subject.key)) for subject, _ in made]
    if connection.dialect == "postgresql":
        copy(connection, "subjects (blind, subject, iin)", found)
        copy(connection, "subject_keys (subject, epoch, wrapped)", keys)
        return
    connection.execute_many("INSERT INTO subjects (blind, subject, iin) VALUES (?, ?, ?)", found)
    connection.execute_many("INSERT INTO subject_keys (subject, epoch, wrapped) VALUES (?, ?, ?)", keys)


def _go_on(connection: Connection, *, analyze: bool = False) -> None:
    connection.commit()
    if analyze:  # as the server does by itself some time after so much was written
        connection.execute("ANALYZE")
    connection.begin("alone")


def _grown(connection: Connection, more: Callable[[], int]) -> None:
    """Everything that there is to do, some batches in a transaction."""
    batches = 0
    while more():
        batches += 1
        if batches % TOGETHER == 0:
            _go_on(connection)


@contextmanager
def ledger_of(count: int, url: str, home: Path, keyring: Keyring, *, per_subject: int = PER_SUBJECT) -> Iterator[Store]:
    """A store with a ledger of that size, its tree and its catalogue grown."""
    store = store_at(url, home)
    store.engine.prepare()
    connection = store.engine.connect(patient=True)
    for each in _NEVER_WAITING[connection.dialect]:
        connection.execute(each).all() if each.startswith("PRAGMA") else connection.execute(each)
    connection.begin("alone")
    meta = (("keyring", keyring.id), ("epoch", str(keyring.epoch)))
    connection.execute_many("INSERT INTO meta (name, value) VALUES (?, ?)", meta)
    fill(connection, keyring, count, per_subject)
    analyze = connection.dialect == "postgresql"
    _go_on(connection, analyze=analyze)
    _grown(connection, lambda: integrate(connection))
    _go_on(connection, analyze=analyze)
    _grown(connection, lambda: catalogue(connection, ZONE))
    if connection.dialect == "postgresql":
        connection.execute("SET synchronous_commit = on")
    connection.commit()
    connection.close()
    yield store
