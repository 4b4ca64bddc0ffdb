"""The ledger: an intent only for a permitted disclosure, one outcome, no gap, no repetition, no changed past."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness import PEOPLE, Clock, House, give_consent, handover_document, request, request_document
from qaqpa.errors import ClockSetBack, Denied, DuplicateRequest, QaqpaError, StoreError, VerificationFailed
from qaqpa.ledger import Keyring, Ledger
from qaqpa.ledger.canonical import canonical
from qaqpa.ledger.entries import Kind, control
from qaqpa.ledger.merkle import leaf_hash
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.disclosure import Extract, Intent, Message, Outcome
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.model.words import OutcomeResult, SealKind, Words
from qaqpa.store import SqliteStore
from qaqpa.store.sqlite import parse_url

PERSON = PEOPLE[0]
ASKED = Asked(CallerId("scoring"), RecipientId("bureau"), "report", "review")
EXTRACT = Extract({}, (), (), consent_confirmed=True)
MESSAGE = Message(b"body", "text/xml", "report")
OK = Outcome(OutcomeResult.DELIVERED, "ok")


def decided(*results: Result, asked: Asked = ASKED) -> Decision:
    words = Words(ru="р", kk="к", en="e")
    return Decision(asked, datetime.now(UTC), tuple(GuardResult("g", "1.1", words, result) for result in results))


PERMIT = decided(Result.PERMIT)


@dataclass
class Book:
    """A ledger on a store of its own, without a gateway."""

    path: Path
    ledger: Ledger
    clock: Clock

    async def intend(self, decision: Decision = PERMIT, *, key: str | None = None, iin: str = PERSON.iin) -> Intent:
        return await self.ledger.intend(
            decision, EXTRACT, MESSAGE, iin, seal=SealKind.TLS_ONLY, stated={}, idempotency_key=key,
            still_holds=lambda _connection: True,
        )  # fmt: skip

    async def control(self, number: int = 0) -> int | None:
        return await self.ledger.record(Kind.CONTROL, control("a", "r", "c", "p", f"reason {number}", at=self.clock()))

    def verified(self) -> Verified:
        with self.ledger.store.snapshot() as connection:
            return verify(connection)

    def contents(self, kind: str | None = None) -> list[dict[str, Any]]:
        with self.ledger.store.snapshot() as connection:
            return [entry.content for entry in entries_of(connection, kind=kind)]

    def sql(self, statement: str, *values: Any) -> None:
        """What somebody with the database file may do."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            assert connection.execute(statement, values).rowcount, "the attack changed nothing"

    def body(self, index: int) -> bytes:
        with closing(sqlite3.connect(self.path)) as connection:
            return bytes(connection.execute("SELECT body FROM entries WHERE idx = ?", (index,)).fetchone()[0])


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    store, clock = SqliteStore(parse_url("sqlite:///l.db", tmp_path)), Clock()
    ledger = Ledger(store, Keyring.create(tmp_path / "k.json"), clock, clock_tolerance_s=5)
    try:
        store.open(ledger)
        yield Book(tmp_path / "l.db", ledger, clock)
    finally:
        store.close()


# --- intents and outcomes --------------------------------------------------------------------------

BLOCKING = {
    "a deny": (Result.DENY,),
    "a gap": (Result.GAP,),
    "one deny among permits": (Result.PERMIT, Result.DENY, Result.PERMIT),
    "no guard at all": (),
}


@pytest.mark.parametrize("results", BLOCKING.values(), ids=BLOCKING.keys())
async def test_no_intent_is_made_or_entered_for_a_decision_that_does_not_permit(
    book: Book, results: tuple[Result, ...]
) -> None:
    with pytest.raises(TypeError):
        await book.intend(decided(*results))
    assert book.contents() == [], "an intent is in the ledger although nothing may leave"


async def test_200_intents_at_once_are_gapless_and_in_the_order_of_their_indexes(book: Book) -> None:
    people = [PEOPLE[number % 5].iin for number in range(200)]
    intents = await asyncio.gather(*(book.intend(iin=iin) for iin in people))
    assert sorted(intent.index for intent in intents) == list(range(200))
    ids = {intent.index: intent.id for intent in intents}
    assert [entry["id"] for entry in book.contents("intent")] == [ids[index] for index in range(200)]
    assert len({intent.subject for intent in intents}) == 5
    verified = book.verified()
    assert (verified.size, set(verified.open_intents)) == (200, {intent.id for intent in intents})


async def test_the_first_outcome_stands(book: Book) -> None:
    intent = await book.intend()
    assert await book.ledger.conclude(intent, OK) == 1
    with pytest.raises(StoreError):
        await book.ledger.conclude(intent, Outcome(OutcomeResult.NOT_SENT, "not_sent"))
    assert [entry["result"] for entry in book.contents("outcome")] == ["delivered"]
    assert book.verified().open_intents == ()


async def test_of_two_outcomes_at_once_one_is_entered_and_neighbours_are_unharmed(book: Book) -> None:
    intent, other = await book.intend(), await book.intend()
    work = (book.ledger.conclude(each, OK) for each in (intent, intent, other))
    results = await asyncio.gather(*work, return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["StoreUnavailable", "int", "int"]
    assert len(book.contents("outcome")) == 2
    book.verified()


async def test_open_intents_are_listed_until_they_are_concluded(book: Book) -> None:
    first, second = await book.intend(), await book.intend()
    assert book.verified().open_intents == (first.id, second.id)
    await book.ledger.conclude(first, OK)
    assert book.verified().open_intents == (second.id,)


# --- Idempotency-Key -------------------------------------------------------------------------------


@pytest.mark.promise(6)
async def test_the_same_key_of_the_same_caller_names_the_first_disclosure(book: Book) -> None:
    first = await book.intend(key="k-1")
    with pytest.raises(DuplicateRequest, match=first.id) as refused:
        await book.intend(key="k-1")
    assert refused.value.disclosure == first.id
    elsewhere = replace(ASKED, caller=CallerId("collections"))
    await book.intend(key="k-2")
    await book.intend(decided(Result.PERMIT, asked=elsewhere), key="k-1")
    assert len(book.contents("intent")) == 3


@pytest.mark.promise(6)
async def test_of_50_tasks_with_one_key_one_makes_an_intent(book: Book) -> None:
    results = await asyncio.gather(*(book.intend(key="k") for _ in range(50)), return_exceptions=True)
    made = [each for each in results if isinstance(each, Intent)]
    refused = [each for each in results if isinstance(each, DuplicateRequest)]
    assert (len(made), len(refused)) == (1, 49)
    assert {each.disclosure for each in refused} == {made[0].id}
    assert [entry["id"] for entry in book.contents()] == [made[0].id]


@pytest.mark.promise(6)
async def test_a_gateway_that_was_opened_again_still_knows_the_key(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        made = await gateway.disclose("loan-scoring", request(request_document(PERSON)), idempotency_key="k")
    async with house.gateway() as gateway:
        with pytest.raises(DuplicateRequest, match=made.id) as refused:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)), idempotency_key="k")
        assert refused.value.disclosure == made.id
        assert len(house.entries(gateway, "intent")) == len(house.fcb.calls) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "\ud800"], ids=["empty", "too long", "no text"])
async def test_a_key_that_is_none_is_refused_with_an_error_of_ours(house: House, key: str) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        with pytest.raises(QaqpaError):
            await gateway.disclose("loan-scoring", request(request_document(PERSON)), idempotency_key=key)
    assert house.fcb.calls == []


# --- the clock -------------------------------------------------------------------------------------


async def test_while_the_clock_is_set_back_nothing_is_authorised_but_outcomes_are_still_told(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        intent = await Book(house.home / "qaqpa.db", gateway.ledger, house.clock).intend()
        house.clock.offset = -timedelta(seconds=60)
        with pytest.raises(ClockSetBack, match="s behind"):
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        with pytest.raises(ClockSetBack):
            await give_consent(house, gateway, PERSON, given_at=(house.clock() - timedelta(days=2)).isoformat())
        with pytest.raises(ClockSetBack):
            await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
        await gateway.ledger.conclude(intent, OK)
        kinds = [entry["kind"] for entry in house.entries(gateway)]
        assert kinds == ["policy", "consent", "intent", "outcome"]
        assert len(await gateway.consents.of_subject(consent.subject)) == 1
        assert (await gateway.consents.get(consent.id)).withdrawn_at is None
        house.verified(gateway)
    assert house.fcb.calls == []


@pytest.mark.parametrize(("behind", "accepted"), [(0, True), (4.9, True), (5.2, False), (3600, False)])
async def test_a_clock_within_the_tolerance_is_trusted(book: Book, behind: float, accepted: bool) -> None:
    now = datetime.now(UTC)
    book.ledger._clock = lambda: now
    await book.intend()
    book.ledger._clock = lambda: now - timedelta(seconds=behind)
    if accepted:
        await book.intend()
    else:
        with pytest.raises(ClockSetBack):
            await book.intend()


async def test_the_policy_is_entered_once_for_each_configuration_in_use(book: Book) -> None:
    for digest in ("a", "a", "b", "b", "a"):
        await book.ledger.record_policy([{"id": "2025-01"}], digest)
    assert [entry["config"] for entry in book.contents("policy")] == ["a", "b", "a"]


# --- a changed past --------------------------------------------------------------------------------


@pytest.fixture
async def written(book: Book) -> Book:
    """Seven entries: 0 policy, 1 and 2 intents, 3 their first outcome, 4 to 6 controls."""
    await book.ledger.record_policy([], "digest")
    intents = [await book.intend(), await book.intend()]
    await book.ledger.conclude(intents[0], OK)
    for number in range(3):
        await book.control(number)
    assert book.verified().size == 7
    return book


def bad_index(book: Book) -> int | None:
    with pytest.raises(VerificationFailed) as failed:
        book.verified()
    return failed.value.index


def flipped(body: bytes) -> Iterator[bytes]:
    for at in range(len(body)):
        yield body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


@pytest.mark.parametrize("with_leaf", [False, True], ids=["alone", "with a leaf hash that fits"])
async def test_every_byte_of_a_body_counts(written: Book, with_leaf: bool) -> None:
    body = written.body(3)
    for changed in flipped(body):
        leaf = leaf_hash(changed if with_leaf else body)
        written.sql("UPDATE entries SET body = ?, leaf = ? WHERE idx = 3", changed, leaf)
        assert bad_index(written) in ({3, None} if with_leaf else {3})
    written.sql("UPDATE entries SET body = ?, leaf = ? WHERE idx = 3", body, leaf_hash(body))
    written.verified()


BODIES = {
    "a number": b"5",
    "a list": b"[]",
    "brackets nested as deep as the reader goes": b'{"a":' + b"[" * 1020 + b"]" * 1020 + b"}",
    "a kind that is a list": canonical({"kind": []}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_is_no_entry_is_said_to_be_wrong(written: Book, body: bytes) -> None:
    written.sql("UPDATE entries SET body = ?, leaf = ? WHERE idx = 3", body, leaf_hash(body))
    assert bad_index(written) == 3


SWAP = "UPDATE entries SET idx = CASE idx WHEN 4 THEN -1 ELSE 4 END WHERE idx IN (4, 5)"
# What is done to the database, and the first index that must be found wrong (None: only the root tells).
TAMPERING: dict[str, tuple[tuple[str, ...], int | None]] = {
    "two entries swapped": ((SWAP, "UPDATE entries SET idx = 5 WHERE idx = -1"), None),
    "the first deleted": (("DELETE FROM entries WHERE idx = 0",), 0),
    "one in the middle deleted": (("DELETE FROM entries WHERE idx = 4",), 4),
    "the last deleted": (("DELETE FROM entries WHERE idx = 6",), 6),
    "the middle deleted and the gap closed": (
        ("DELETE FROM entries WHERE idx = 4", "UPDATE entries SET idx = idx - 1 WHERE idx > 4"), 6,
    ),
    "the last repeated": (
        ("INSERT INTO entries SELECT 7, request || '2', kind, subject, body, leaf FROM entries WHERE idx = 6",), 7,
    ),
    "an outcome repeated": (
        ("INSERT INTO entries SELECT 7, request || '2', kind, subject, body, leaf FROM entries WHERE idx = 3",), 7,
    ),
    "the table emptied": (("DELETE FROM entries",), 0),
    "the table cut to three": (("DELETE FROM entries WHERE idx >= 3",), 3),
    "the tree forgotten": (("DELETE FROM tree",), 0),
    "the column request of an intent": (("UPDATE entries SET request = 'x' WHERE idx = 1",), 1),
    "the column request of an outcome": (("UPDATE entries SET request = 'x' WHERE idx = 3",), 3),
    "the column request of a policy entry": (("UPDATE entries SET request = 'x' WHERE idx = 0",), 0),
    "the column request of a control": (("UPDATE entries SET request = 'x' WHERE idx = 5",), 5),
    "the column kind": (("UPDATE entries SET kind = 'review' WHERE idx = 5",), 5),
    "the column subject": (("UPDATE entries SET subject = 'x' WHERE idx = 2",), 2),
    "the column leaf": (("UPDATE entries SET leaf = zeroblob(32) WHERE idx = 2",), 2),
    "the column body as text": (("UPDATE entries SET body = CAST(body AS TEXT) WHERE idx = 2",), 2),
    "the tree's size made larger": (("UPDATE tree SET size = 8",), 7),
    "the tree's size made smaller": (("UPDATE tree SET size = 6",), 6),
    "the tree's size made negative": (("UPDATE tree SET size = -1",), 0),
    "the tree's size made a word": (("UPDATE tree SET size = 'seven'",), None),
    "the tree's root": (("UPDATE tree SET root = zeroblob(32)",), None),
    "the tree's frontier": (("UPDATE tree SET frontier = zeroblob(96)",), None),
    "the tree's last time": (("UPDATE tree SET last_time = '2020-01-01T00:00:00.000Z'",), None),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "index"), TAMPERING.values(), ids=TAMPERING.keys())
async def test_tampering_is_found(written: Book, statements: tuple[str, ...], index: int | None) -> None:
    for each in statements:
        written.sql(each)
    assert bad_index(written) == index


TREES = ["size = 8", "size = -1", "size = 'x'", "frontier = x''", "frontier = 'x'", "last_time = 'soon'"]


@pytest.mark.parametrize("change", TREES)
async def test_nothing_is_appended_to_a_damaged_tree(written: Book, change: str) -> None:
    written.sql(f"UPDATE tree SET {change}")
    with pytest.raises(StoreError):
        await written.intend()
    assert len(written.contents()) == 7


# --- what stands in a leaf -------------------------------------------------------------------------


def leaves_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves_of(inner)
    elif len(str(value)) > 4:  # a shorter one ("14", "true") stands everywhere
        yield str(value)


def forms(value: str) -> Iterator[bytes]:
    """A value and its plain digests, as they might be written."""
    digest = hashlib.sha256(value.encode()).digest()
    yield from (value.encode(), digest, digest.hex().encode(), base64.b64encode(digest))
    yield from (base64.b64encode(value.encode()), base64.urlsafe_b64encode(digest))


@pytest.mark.promise(2)
async def test_no_leaf_holds_a_personal_value_or_its_digest_or_what_an_iin_could_be_guessed_from(house: House) -> None:
    handover, scoring = handover_document(PERSON), request_document(PERSON)
    async with house.gateway() as gateway:
        with pytest.raises(Denied):
            await gateway.disclose("loan-scoring", request(scoring))
        given = await give_consent(house, gateway, PERSON, contract="MK-CANARY", policy="2025-01")
        await gateway.disclose("loan-scoring", request(scoring), idempotency_key=f"key-{PERSON.iin}")
        await gateway.disclose("collections", request(handover))
        await gateway.withdraw_consent("loan-scoring", given.id, duties_met=True)
        with gateway.store.snapshot() as connection:
            bodies = b"\n".join(entry.body for entry in entries_of(connection))
        keyring: Keyring = gateway.ledger._keyring
        assert set(house.verified(gateway).kinds) >= {"intent", "outcome", "refusal", "consent", "withdrawal"}
    personal = {*leaves_of(PERSON.data), "MK-CANARY", "otp-1", f"key-{PERSON.iin}", PERSON.iin}
    found = [value for value in personal for form in forms(value) if form in bodies]
    assert found == []
    # An HMAC under a key of the keyring would let its holder try every IIN, erasure or not.
    for digest in (keyring.blind(PERSON.iin), keyring.blind_request("loan-scoring", f"key-{PERSON.iin}")):
        assert digest.hex().encode() not in bodies and base64.b64encode(digest) not in bodies


CANARY = "ivanov-ivan"
WRITTEN_BY_CALLERS: list[dict[str, Any]] = [
    {"policy": CANARY},
    {"operator": {"name": CANARY, "bin": "230340000017"}},
    {"purposes": ["application_review", CANARY]},
    {"third_parties": ["credit_bureau", CANARY]},
]


@pytest.mark.promise(2)
@pytest.mark.parametrize("change", WRITTEN_BY_CALLERS, ids=lambda change: next(iter(change)))
async def test_what_a_caller_writes_into_a_consent_does_not_stand_in_the_open(
    house: House, change: dict[str, Any]
) -> None:
    async with house.gateway() as gateway:
        with suppress(QaqpaError):
            await give_consent(house, gateway, PERSON, **change)
        assert CANARY not in str(house.entries(gateway))
