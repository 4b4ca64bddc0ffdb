"""Ledgers of a given size, written as the ledger writes them but without waiting for the disk at each entry."""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qaqpa.keys import Keyring
from qaqpa.ledger.entries import Draft, Kind
from qaqpa.ledger.integrate import integrate
from qaqpa.ledger.subjects import Subject
from qaqpa.model.canonical import canonical
from qaqpa.model.identifiers import SubjectId, uuid7
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, EntryRow, Store, store_at

CHUNK = 8_192
PER_SUBJECT = 20
"""Entries about one person, unless told otherwise."""
FIELDS = [f"identity.field_{number}" for number in range(6)]


def intent(number: int, subject: str, at: datetime, rng: random.Random) -> Draft:
    """An intent of a usual size (about 900 bytes)."""
    public = {
        "format": 1, "kind": "intent", "id": uuid7(), "time": timestamp(at), "caller": "loan-scoring",
        "recipient": "first-credit-bureau" if number % 50 else "demo-collector", "operation": "credit_report",
        "purpose": "application_review", "policy": "2025-01", "ground": "consent", "clauses": ["1.1(10)", "2.3(1)"],
        "guards": ["consent_covers", "agreement_in_force", "jurisdiction", "not_suspended"], "notes": [],
        "consent": uuid7(), "fields": FIELDS, "withheld": ["contact.mobile", "employment.salary"], "seal": "tls_only",
        "endpoint": "report", "subject": subject,
    }  # fmt: skip
    sealed = base64.b64encode(rng.randbytes(190)).decode()
    return Draft(Kind.INTENT, str(public["id"]), SubjectId(subject), public, canonical({**public, "sealed": sealed}))


def outcome(of: Draft, at: datetime, rng: random.Random) -> Draft:
    """Its outcome."""
    public = {
        "format": 1, "kind": "outcome", "id": uuid7(), "time": timestamp(at), "intent": of.request,
        "result": "delivered", "code": "ok", "status": 200, "returned": ["report.existing_contracts"], "cut": [],
        "subject": of.subject,
    }  # fmt: skip
    sealed = base64.b64encode(rng.randbytes(190)).decode()
    return Draft(Kind.OUTCOME, of.request, of.subject, public, canonical({**public, "sealed": sealed}))


def rows(count: int, keys: Callable[[int], str], per_subject: int) -> Iterator[EntryRow]:
    """Intents and outcomes in turn."""
    rng = random.Random(1)
    began = datetime.now(UTC) - timedelta(seconds=count / 100)
    people = max(1, count // per_subject)
    for number in range(count // 2):
        at = began + timedelta(milliseconds=20 * number)
        asked = intent(number, keys(number % people), at, rng)  # the same person comes again much later
        for draft in (asked, outcome(asked, at + timedelta(milliseconds=9), rng)):
            yield draft.row()


def fill(connection: Connection, keyring: Keyring, count: int, per_subject: int) -> None:
    """A ledger of `count` entries with its subjects, in the transaction of `connection`."""
    subjects: dict[int, str] = {}
    made: list[tuple[Subject, str]] = []

    def subject(number: int) -> str:
        if number not in subjects:
            new = Subject(SubjectId(os.urandom(16).hex()), os.urandom(32))
            subjects[number] = new.id
            made.append((new, f"{number:012d}"))
        return subjects[number]

    chunk: list[EntryRow] = []
    for row in rows(count, subject, per_subject):
        chunk.append(row)
        if len(chunk) == CHUNK:
            connection.append(chunk, chunk[-2][6], moved_back=False)
            chunk = []
            add_subjects(connection, keyring, made)
            made.clear()
    if chunk:
        connection.append(chunk, chunk[-2][6], moved_back=False)
    add_subjects(connection, keyring, made)


def add_subjects(connection: Connection, keyring: Keyring, made: list[tuple[Subject, str]]) -> None:
    """Persons with their keys."""
    connection.execute_many(
        "INSERT INTO subjects (blind, subject, iin) VALUES (?, ?, ?)",
        [(keyring.blind(iin), subject.id, subject.seal_iin(iin)) for subject, iin in made],
    )
    connection.execute_many(
        "INSERT INTO subject_keys (subject, epoch, wrapped) VALUES (?, ?, ?)",
        [(subject.id, keyring.epoch, keyring.wrap(subject.id, subject.key)) for subject, _ in made],
    )


@contextmanager
def ledger_of(count: int, url: str, home: Path, keyring: Keyring, *, per_subject: int = PER_SUBJECT) -> Iterator[Store]:
    """A store with a ledger of that size, its tree grown."""
    store = store_at(url, home)
    store.engine.prepare()
    connection = store.engine.connect(patient=True)
    connection.begin("alone")
    meta = (("keyring", keyring.id), ("epoch", str(keyring.epoch)))
    connection.execute_many("INSERT INTO meta (name, value) VALUES (?, ?)", meta)
    fill(connection, keyring, count, per_subject)
    while integrate(connection):
        pass
    connection.commit()
    connection.close()
    yield store
