"""Answers kept as evidence: what a third party signed, as it came, for whoever must show it later.

Sealed under the subject's key and written with the outcome entry; gone with the subject. What is opened is held against
the digest in that entry, so a row that was changed or moved proves nothing.
"""

from __future__ import annotations

import hmac

from qaqpa.errors import KeyringError, NotFound
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.ledger import Ledger
from qaqpa.ledger.read import entries_of

_FIND = "SELECT subject, sealed FROM evidence WHERE disclosure = ?"


async def answer_of(ledger: Ledger, disclosure: str) -> bytes:
    """The answer to `disclosure`, byte for byte.

    Raises NotFound where none is kept or the person was erased, KeyringError where it is not what the ledger says.
    """
    row = await ledger.store.read(lambda connection: connection.execute(_FIND, (disclosure,)).first())
    if row is None:
        raise NotFound("no answer to this disclosure is kept as evidence")
    subject = await ledger.subjects.by_id(str(row[0]))
    answer = subject.open_evidence(disclosure, bytes(row[1]))
    with ledger.store.snapshot() as connection:
        outcomes = [
            entry.content
            for entry in entries_of(connection, subject=subject.id, kind=Kind.OUTCOME)
            if entry.content["intent"] == disclosure
        ]
    received = [str(subject.open(outcome)["received"]) for outcome in outcomes]
    if not any(hmac.compare_digest(subject.digest(answer), each) for each in received):
        raise KeyringError("the answer kept as evidence is not the one that the ledger says came: it was changed")
    return answer
