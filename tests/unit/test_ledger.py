"""The ledger: an intent only for a permitted disclosure, one outcome, no gap, no repetition."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from books import ASKED, OK, Book, book_at, decided, intend
from harness import PEOPLE, House, both_engines, give_consent, handover_document, request, request_document
from qaqpa.errors import ClockSetBack, Denied, DuplicateRequest, KeyringError, QaqpaError, StoreError
from qaqpa.ledger.read import entries_of
from qaqpa.model.decision import Result
from qaqpa.model.disclosure import Intent, Outcome
from qaqpa.model.identifiers import CallerId
from qaqpa.model.words import OutcomeResult

pytestmark = both_engines
PERSON = PEOPLE[0]


@pytest.fixture
def book(tmp_path: Path, store_url: str) -> Iterator[Book]:
    with book_at(store_url, tmp_path) as made:
        yield made


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
    await book.ledger.record_policy([], "digest")
    people = [PEOPLE[number % 5].iin for number in range(200)]
    intents = await asyncio.gather(*(book.intend(iin=iin) for iin in people))
    assert sorted(intent.index for intent in intents) == list(range(1, 201))
    ids = {intent.index: intent.id for intent in intents}
    assert [entry["id"] for entry in book.contents("intent")] == [ids[index] for index in range(1, 201)]
    assert len({intent.subject for intent in intents}) == 5
    verified = book.verified()
    assert (verified.size, set(verified.open_intents)) == (201, {intent.id for intent in intents})


async def test_the_first_outcome_stands(book: Book) -> None:
    await book.ledger.record_policy([], "digest")
    intent = await book.intend()
    assert await book.ledger.conclude(intent, OK) == 2
    with pytest.raises(StoreError):
        await book.ledger.conclude(intent, Outcome(OutcomeResult.NOT_SENT, "not_sent"))
    assert [entry["result"] for entry in book.contents("outcome")] == ["delivered"]
    assert book.verified().open_intents == ()


async def test_of_two_outcomes_at_once_one_is_entered_and_neighbours_are_unharmed(book: Book) -> None:
    await book.ledger.record_policy([], "digest")
    intent, other = await book.intend(), await book.intend()
    work = (book.ledger.conclude(each, OK) for each in (intent, intent, other))
    results = await asyncio.gather(*work, return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["StoreUnavailable", "int", "int"]
    assert len(book.contents("outcome")) == 2
    book.verified()


async def test_the_outcome_may_be_said_by_another_process_than_the_intent(
    book: Book, store_url: str, tmp_path: Path
) -> None:
    await book.ledger.record_policy([], "digest")
    intent = await book.intend()
    with book_at(store_url, tmp_path) as other:
        assert await other.ledger.conclude(intent, OK) == 2
    assert book.verified().open_intents == ()


async def test_open_intents_are_listed_until_they_are_concluded(book: Book) -> None:
    await book.ledger.record_policy([], "digest")
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
        again = await gateway.disclose("loan-scoring", request(request_document(PERSON)), idempotency_key="k")
        assert again == made
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
        intent = await intend(gateway.ledger)
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
    book.ledger.clock = lambda: now
    await book.intend()
    book.ledger.clock = lambda: now - timedelta(seconds=behind)
    if accepted:
        await book.intend()
    else:
        with pytest.raises(ClockSetBack):
            await book.intend()


async def test_the_policy_is_entered_once_for_each_configuration_in_use(book: Book) -> None:
    for digest in ("a", "a", "b", "b", "a"):
        await book.ledger.record_policy([{"id": "2025-01"}], digest)
    assert [entry["config"] for entry in book.contents("policy")] == ["a", "b", "a"]


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
        keyring = gateway.ledger.keyring
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


# --- keyring and database --------------------------------------------------------------------------


async def test_a_keyring_of_another_database_is_refused(book: Book, store_url: str, tmp_path: Path) -> None:
    await book.ledger.record_policy([], "digest")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    url = f"sqlite:///{tmp_path / 'qaqpa.db'}" if book.intruder.is_sqlite else store_url
    with pytest.raises(KeyringError, match="belongs to another database"), book_at(url, elsewhere):
        pass
    book.intruder.change("DELETE FROM meta WHERE name = 'keyring'")
    await book.intend()
    with pytest.raises(KeyringError, match="does not say whose keyring"), book_at(store_url, tmp_path):
        pass


# --- a damaged counter -----------------------------------------------------------------------------

DAMAGED = {
    "a smaller size": "UPDATE tree SET size = 2",
    "a last time that is none": "UPDATE tree SET last_time = 'soon'",
    "no row": "DELETE FROM tree",
}


@pytest.mark.parametrize("attack", DAMAGED.values(), ids=DAMAGED.keys())
async def test_nothing_is_appended_by_a_damaged_counter(book: Book, attack: str) -> None:
    for number in range(4):
        await book.control(number)
    book.intruder.change(attack)
    with pytest.raises(StoreError):
        await book.intend()
    assert len(book.contents()) == 4
