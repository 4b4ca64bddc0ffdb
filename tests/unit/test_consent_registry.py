"""The consent registry: each change is one entry in the same transaction, and no entry tells who consented."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from books import Intruder
from harness import PEOPLE, House, both_engines, consent_document, give_consent
from qaqpa.errors import InvalidRequest, NotAllowed, NotFound, QaqpaError, StoreUnavailable
from qaqpa.gateway import Gateway
from qaqpa.model.consent import Consent, ConsentRequest, ConsentStatus
from qaqpa.model.identifiers import ConsentId
from qaqpa.model.request import parse

pytestmark = both_engines
ANNA, BOLAT = PEOPLE[0], PEOPLE[1]
CALLER = "loan-scoring"
MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def gateway(house: House) -> AsyncIterator[Gateway]:
    async with house.gateway() as opened:
        yield opened


def kinds(house: House, gateway: Gateway) -> list[str]:
    """Kinds of the entries, without the policy entry that comes before the first."""
    return [entry["kind"] for entry in house.entries(gateway) if entry["kind"] != "policy"]


def table(gateway: Gateway) -> list[tuple[Any, ...]]:
    with gateway.store.snapshot() as connection:
        return connection.execute("SELECT * FROM consents ORDER BY id").all()


async def withdraw(gateway: Gateway, consent: Consent, *, duties_met: bool) -> Consent:
    return await gateway.withdraw_consent(CALLER, consent.id, duties_met=duties_met)


# --- recording -------------------------------------------------------------------------------------


async def test_what_is_recorded_is_what_is_got(house: House, gateway: Gateway) -> None:
    recorded = await give_consent(house, gateway, ANNA)
    got = await gateway.consents.get(recorded.id)
    assert got == recorded
    assert got.status(house.clock()) is ConsentStatus.ACTIVE
    assert await gateway.consents.of_subject(got.subject) == (got,)


async def test_a_persons_consents_are_theirs_alone(house: House, gateway: Gateway) -> None:
    first, second = [await give_consent(house, gateway, ANNA) for _ in range(2)]
    other = await give_consent(house, gateway, BOLAT)
    assert first.subject == second.subject != other.subject
    assert {each.id for each in await gateway.consents.of_subject(first.subject)} == {first.id, second.id}


@pytest.mark.parametrize(
    ("ahead", "recorded"),
    [
        pytest.param(timedelta(minutes=4, seconds=59), True, id="a clock a little ahead of ours"),
        pytest.param(timedelta(minutes=5, seconds=30), False, id="in the future"),
    ],
)
async def test_a_consent_of_the_future_is_not_recorded(
    house: House, gateway: Gateway, ahead: timedelta, recorded: bool
) -> None:
    before = kinds(house, gateway)
    given_at = (house.clock() + ahead).isoformat()
    if recorded:
        await give_consent(house, gateway, ANNA, given_at=given_at)
    else:
        with pytest.raises(InvalidRequest, match="given_at: lies in the future"):
            await give_consent(house, gateway, ANNA, given_at=given_at)
    assert kinds(house, gateway) == before + ["consent"] * recorded


@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=-1)], ids=["at once", "before"])
async def test_a_consent_that_ends_before_it_begins_is_not_recorded(
    house: House, gateway: Gateway, later: timedelta
) -> None:
    given_at = house.clock() - timedelta(days=1)
    with pytest.raises(InvalidRequest, match="expires_at: lies before given_at"):
        await give_consent(
            house, gateway, ANNA, given_at=given_at.isoformat(), expires_at=(given_at + later).isoformat()
        )
    assert table(gateway) == []


async def test_only_who_may_keeps_consents(house: House, gateway: Gateway) -> None:
    consent = await give_consent(house, gateway, ANNA)
    request = parse(ConsentRequest, consent_document(ANNA, house.clock()))
    for caller in ("collections", "marketing"):
        with pytest.raises(NotAllowed):
            await gateway.record_consent(caller, request)
        with pytest.raises(NotAllowed):
            await gateway.withdraw_consent(caller, consent.id, duties_met=True)
    assert kinds(house, gateway) == ["consent"]


@pytest.mark.parametrize("consent_id", [MISSING, "", "' OR 1=1 --"])
async def test_an_unknown_consent_is_not_found(house: House, gateway: Gateway, consent_id: str) -> None:
    with pytest.raises(NotFound):
        await gateway.consents.get(consent_id)
    with pytest.raises(NotFound):
        await gateway.withdraw_consent(CALLER, consent_id, duties_met=True)
    assert kinds(house, gateway) == []


# --- withdrawing -----------------------------------------------------------------------------------


async def test_a_withdrawal_is_pending_until_the_duties_are_met(house: House, gateway: Gateway) -> None:
    consent = await give_consent(house, gateway, ANNA)
    pending = await withdraw(gateway, consent, duties_met=False)
    assert pending.status(house.clock()) is ConsentStatus.WITHDRAWAL_PENDING
    assert pending.withdrawn_at is None
    assert pending.withdrawal_asked_at is not None

    house.clock.offset += timedelta(hours=1)
    effective = await withdraw(gateway, consent, duties_met=True)
    assert effective.status(house.clock()) is ConsentStatus.WITHDRAWN
    assert effective.withdrawal_asked_at == pending.withdrawal_asked_at, "when it was asked for stays on record"
    assert effective.withdrawn_at is not None
    assert effective.withdrawn_at > pending.withdrawal_asked_at
    assert await gateway.consents.get(consent.id) == effective
    states = [entry["state"] for entry in house.entries(gateway, "withdrawal")]
    assert states == ["withdrawal_pending", "withdrawn"]


async def test_saying_the_same_twice_enters_nothing(house: House, gateway: Gateway) -> None:
    consent = await give_consent(house, gateway, ANNA)
    for duties_met, entered in ((False, 1), (False, 1), (True, 2), (True, 2), (False, 2)):
        before = (await gateway.consents.get(consent.id), len(house.entries(gateway, "withdrawal")))
        after = await withdraw(gateway, consent, duties_met=duties_met)
        assert len(house.entries(gateway, "withdrawal")) == entered
        assert (after == before[0]) is (before[1] == entered)
    house.verified(gateway)


@pytest.mark.parametrize("duties_met", [True, False])
async def test_many_at_once_say_it_once(house: House, gateway: Gateway, duties_met: bool) -> None:
    consent = await give_consent(house, gateway, ANNA)
    answers = await asyncio.gather(*(withdraw(gateway, consent, duties_met=duties_met) for _ in range(12)))
    assert len(set(answers)) == 1
    assert len(house.entries(gateway, "withdrawal")) == 1


async def test_every_history_of_three_steps_ends_as_the_policy_says(house: House, gateway: Gateway) -> None:
    """7.1(3), modelled in four lines beside the registry."""
    histories = list(itertools.product(("ask", "withdraw", "expire"), repeat=3))
    consents = {}
    ends = house.clock() + timedelta(hours=1)
    for history in histories:
        consents[history] = await give_consent(house, gateway, ANNA, expires_at=ends.isoformat())
    asked, withdrawn = set(), set()
    for step in range(3):
        expired = {history for history in histories if "expire" in history[: step + 1]}
        for history in histories:
            if history[step] != "expire":
                await withdraw(gateway, consents[history], duties_met=history[step] == "withdraw")
                (withdrawn if history[step] == "withdraw" else asked).add(history)
            got = await gateway.consents.get(consents[history].id)
            now = ends if history in expired else ends - timedelta(microseconds=1)
            expected = (
                "withdrawn" if history in withdrawn
                else "expired" if history in expired
                else "withdrawal_pending" if history in asked
                else "active"
            )  # fmt: skip
            assert got.status(now) == expected, history[: step + 1]
    house.verified(gateway)


# --- one transaction -------------------------------------------------------------------------------


async def test_a_change_and_its_entry_are_one(house: House, gateway: Gateway) -> None:
    consent = await give_consent(house, gateway, ANNA)
    await withdraw(gateway, consent, duties_met=True)
    assert kinds(house, gateway) == ["consent", "withdrawal"]
    for entry in house.entries(gateway)[1:]:
        assert (entry["consent"], entry["subject"], entry["caller"]) == (consent.id, consent.subject, CALLER)


@pytest.mark.parametrize("when", ["before the entry", "after the entry"])
@pytest.mark.parametrize("act", ["record", "ask", "withdraw"])
async def test_if_the_entry_fails_nothing_changed(
    house: House, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, act: str, when: str
) -> None:
    consent = await give_consent(house, gateway, ANNA)
    before = (table(gateway), house.entries(gateway))
    append = gateway.ledger.append

    def fail(connection: Any, draft: Any) -> int:
        if when == "after the entry":
            append(connection, draft)
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(gateway.ledger, "append", fail)
        with pytest.raises(StoreUnavailable):
            if act == "record":
                await give_consent(house, gateway, ANNA)
            else:
                await withdraw(gateway, consent, duties_met=act == "withdraw")
    assert (table(gateway), house.entries(gateway)) == before

    await give_consent(house, gateway, ANNA)
    assert len(house.entries(gateway)) == len(before[1]) + 1
    house.verified(gateway)


async def test_if_the_row_fails_nothing_is_entered_and_others_in_the_group_are(
    house: House, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = await give_consent(house, gateway, ANNA)
    ids = iter([taken.id, *(ConsentId(f"00000000-0000-7000-8000-{number:012}") for number in range(5))])
    monkeypatch.setattr("qaqpa.consent.registry.uuid7", lambda: next(ids))
    done = await asyncio.gather(*(give_consent(house, gateway, ANNA) for _ in range(6)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["Consent"] * 5 + ["StoreUnavailable"]
    assert kinds(house, gateway) == ["consent"] * 6
    assert len(table(gateway)) == 6
    house.verified(gateway)


async def test_while_the_clock_is_set_back_no_consent_changes(house: House, gateway: Gateway) -> None:
    consent = await give_consent(house, gateway, ANNA)
    before = (table(gateway), house.entries(gateway))
    house.clock.offset -= timedelta(hours=1)
    for work in (give_consent(house, gateway, ANNA), withdraw(gateway, consent, duties_met=True)):
        with pytest.raises(QaqpaError, match="clock"):
            await work
    assert (table(gateway), house.entries(gateway)) == before


# --- what it tells ---------------------------------------------------------------------------------


TABLES = ("entries", "terms", "tree", "subjects", "subject_keys", "consents", "unsettled", "idempotency", "meta")


def on_disk(house: House, url: str) -> bytes:
    """Everything that the database keeps; SQLite's free pages and log too."""
    files = b"".join(path.read_bytes() for path in sorted(house.home.glob("qaqpa.db*")))
    rows = [row for table in TABLES for row in Intruder(url, house.home).rows(f"SELECT * FROM {table}")]
    values = [value for row in rows for value in row]
    return files + b"\n".join(each if isinstance(each, bytes) else str(each).encode() for each in values)


async def test_nothing_in_the_database_tells_who_consented_or_how(
    house: House, gateway: Gateway, store_url: str
) -> None:
    evidence = {"method": "otp", "reference": "otp-canary-77", "sha256": "ab12" * 16}
    consent = await give_consent(house, gateway, ANNA, contract="MK-canary-5", evidence=evidence)
    await withdraw(gateway, consent, duties_met=False)
    await withdraw(gateway, consent, duties_met=True)
    written = on_disk(house, store_url)
    assert consent.id.encode() in written, "the search looks at the right bytes"
    for secret in (ANNA.iin, "MK-canary-5", "otp-canary-77", "ab12" * 16):
        assert secret.encode() not in written
    subject = await gateway.ledger.subjects.by_id(consent.subject)
    opened = subject.open(house.entries(gateway, "consent")[0])
    assert (opened["iin"], opened["contract"], opened["evidence"]["reference"]) == (
        ANNA.iin,
        "MK-canary-5",
        "otp-canary-77",
    )


FREE_TEXT: dict[str, dict[str, Any]] = {
    "the operator's name": {"operator": {"name": f"ТОО, {ANNA.iin}", "bin": "230340000017"}},
    "the policy's version": {"policy": f"2025-01 {ANNA.iin}"},
    "a made-up purpose": {"purposes": ["application_review", f"iin-{ANNA.iin}"]},
    "a made-up third party": {"third_parties": ["credit_bureau", f"iin-{ANNA.iin}"]},
}


@pytest.mark.parametrize("changes", FREE_TEXT.values(), ids=FREE_TEXT.keys())
async def test_no_text_that_a_caller_makes_up_stands_in_the_ledger(
    house: House, gateway: Gateway, store_url: str, changes: dict[str, Any]
) -> None:
    """A leaf lives for ever: what a caller writes may be refused or sealed, but not entered in clear."""
    try:
        await give_consent(house, gateway, ANNA, **changes)
    except InvalidRequest as error:
        assert ANNA.iin not in str(error)
    assert ANNA.iin.encode() not in on_disk(house, store_url)


async def test_a_time_is_kept_to_the_instant_in_any_zone(house: House, gateway: Gateway) -> None:
    given_at = datetime.fromisoformat("2026-01-05T03:04:05.678901+05:00")
    consent = await give_consent(house, gateway, ANNA, given_at=given_at.isoformat(), expires_at=None)
    assert (await gateway.consents.get(consent.id)).terms.given_at == given_at
