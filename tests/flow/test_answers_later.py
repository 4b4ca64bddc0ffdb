"""Answers that come later: one disclosure, one intent, one outcome, whatever happens between."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from books import Intruder
from harness import (
    PEOPLE,
    House,
    answering_later,
    both_engines,
    erase_as_two,
    give_consent,
    kdp_consent,
    pension_document,
    request,
)
from qaqpa.errors import (
    AnswerAwaited,
    AnswerOverdue,
    AnswerUnreadable,
    ErasureRefused,
    NotFound,
    NotSent,
    QaqpaError,
    RequestRefused,
    SignatureRefused,
    WrongSubject,
)
from qaqpa.gateway import Gateway
from qaqpa.ledger.awaited import jobs
from qaqpa.ledger.evidence import answer_of
from qaqpa.ledger.recovery import recover, unsettled
from qaqpa.model.disclosure import Disclosure
from qaqpa.testing.faults import Fault
from qaqpa_adapters.pension_center.sandbox import Signing
from qaqpa_adapters.pension_center.sandbox_async import Delivery

PERSON, OTHER = PEOPLE[:2]


@pytest.fixture
def later(house: House) -> House:
    """A house whose pension centre answers later, and is asked often."""
    return answering_later(house)


async def begin(gateway: Gateway, person: Any = PERSON, **how: Any) -> str:
    with pytest.raises(AnswerAwaited) as waits:
        await gateway.disclose("loan-scoring", request(pension_document(person)), **how)
    assert waits.value.disclosure is not None
    return waits.value.disclosure


async def answer(gateway: Gateway, disclosure: str) -> Disclosure:
    async with asyncio.timeout(30):
        while True:
            try:
                return await gateway.answer("loan-scoring", disclosure)
            except AnswerAwaited:
                await asyncio.sleep(0.05)


async def consented(house: House, gateway: Gateway, *people: Any) -> None:
    for person in people or (PERSON,):
        await give_consent(house, gateway, person, **kdp_consent())


async def over(gateway: Gateway) -> None:
    """Wait until no job is left."""
    async with asyncio.timeout(30):
        while await gateway.store.read(jobs):  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.05)


def asked(house: House, operation: str) -> int:
    return sum(call.operation == operation and call.accepted for call in house.ppc.calls)


@both_engines
async def test_an_answer_that_comes_later_is_one_disclosure(later: House) -> None:
    channel = later.ppc.async_channel
    channel.answers_after_s = 0.5
    async with later.gateway() as gateway:
        await consented(later, gateway, PERSON, OTHER)
        one = await begin(gateway, PERSON, idempotency_key="k-1")
        two = await begin(gateway, OTHER)
        assert await begin(gateway, PERSON, idempotency_key="k-1") == one, "the same key waits with it"
        with pytest.raises(NotFound):
            await gateway.answer("collections", one)
        assert await recover(gateway.ledger) == 0
        first, second = await answer(gateway, one), await answer(gateway, two)
        assert first.report != second.report and len(first.report["contributions"]) == 6
        assert {name for row in first.report["contributions"] for name in row} == {"paid_on", "amount"}
        again = await gateway.disclose("loan-scoring", request(pension_document(PERSON)), idempotency_key="k-1")
        assert again == first == await gateway.answer("loan-scoring", one)
        await over(gateway)
        intents, outcomes = later.entries(gateway, "intent"), later.entries(gateway, "outcome")
        assert sorted(each["id"] for each in intents) == sorted([one, two]) == sorted(e["intent"] for e in outcomes)
        assert {each["result"] for each in outcomes} == {"delivered"}
        signed = await answer_of(gateway.ledger, one)
        assert PERSON.iin.encode() in signed and OTHER.iin.encode() not in signed, "of no other request's answer"
        later.verified(gateway)
    assert (asked(later, "sendMessage"), asked(later, "sendDeliveryNotification")) == (2, 2)
    assert sorted(channel.confirmed) == sorted([one, two])
    questions = [call for call in later.ppc.calls if call.operation != "sendMessage"]
    assert {call.iin for call in questions} == {None} and all(call.accepted for call in questions)


ENDS: dict[str, tuple[dict[str, Any], type[QaqpaError], str, int]] = {
    "it is not delivered": ({"delivery": Delivery.NOT_DELIVERED}, RequestRefused, "rejected", 0),
    "its delivery is stopped": ({"delivery": Delivery.STOPPED}, RequestRefused, "rejected", 0),
    "about somebody else": ({"delivery": Delivery.WRONG_SUBJECT}, WrongSubject, "delivered", 1),
    "to another request": ({"delivery": Delivery.WRONG_REQUEST}, AnswerUnreadable, "unknown", 0),
    "unsigned": ({"signing": Signing.UNSIGNED}, SignatureRefused, "unknown", 0),
    "its data unsigned": ({"signing": Signing.DATA_UNSIGNED}, SignatureRefused, "unknown", 0),
    "its body unsigned": ({"signing": Signing.BODY_UNSIGNED}, SignatureRefused, "unknown", 0),
    "changed": ({"signing": Signing.CHANGED}, SignatureRefused, "unknown", 0),
}


async def test_what_else_may_come_of_it(later: House) -> None:
    async with later.gateway() as gateway:
        await consented(later, gateway)
        for name, (knobs, kind, result, confirmations) in ENDS.items():
            channel = later.ppc.async_channel
            channel.delivery, later.ppc.signing = Delivery.ANSWERED, Signing.GOOD
            channel.ready.clear()
            for knob, value in knobs.items():
                setattr(channel if knob == "delivery" else later.ppc, knob, value)
            before = asked(later, "sendDeliveryNotification")
            disclosure = await begin(gateway, PERSON)
            with pytest.raises(QaqpaError) as ended:
                await answer(gateway, disclosure)
            assert (name, type(ended.value), ended.value.disclosure) == (name, kind, disclosure)
            await over(gateway)
            [outcome] = [each for each in later.entries(gateway, "outcome") if each["intent"] == disclosure]
            assert (name, outcome["result"]) == (name, result)
            assert (name, asked(later, "sendDeliveryNotification") - before) == (name, confirmations)
        later.ppc.signing, channel.delivery = Signing.GOOD, Delivery.TWICE
        channel.ready.clear()
        assert (await answer(gateway, await begin(gateway, PERSON))).report["contributions"]
        await over(gateway)
        assert channel.ready == {}, "both copies are confirmed"
        later.verified(gateway)


async def test_it_is_sent_once_whatever_the_third_party_does(later: House) -> None:
    async with later.gateway() as gateway:
        await consented(later, gateway)
        for fault in (Fault.CUT_CONNECTION, Fault.GARBAGE, Fault.TRUNCATED):
            later.ppc.fail_next(fault)
            disclosure = await begin(gateway, PERSON)  # it arrived, and nobody could say so
            later.ppc.fail_next(Fault.SERVER_ERROR, 2)
            later.ppc.fail_next(Fault.CUT_CONNECTION)
            assert (await answer(gateway, disclosure)).report["contributions"]
        await over(gateway)
        assert asked(later, "sendMessage") == 3
        later.ppc.fail_next(Fault.EXPIRED_CERTIFICATE)
        await gateway.transport.close()
        later.ppc.password = "another"  # the request itself is refused: there is nothing to wait for
        with pytest.raises((RequestRefused, NotSent)):
            await gateway.disclose("loan-scoring", request(pension_document(PERSON)))
        assert await gateway.store.read(unsettled) == []
        await over(gateway)


async def test_it_is_given_up_in_time_and_then_a_person_settles_it(later: House) -> None:
    later.ppc.async_channel.delivery = Delivery.NEVER
    async with later.gateway() as gateway:
        await consented(later, gateway)
        disclosure = await begin(gateway, PERSON, idempotency_key="k")
        await asyncio.sleep(0.5)
        assert [each.state for each in await gateway.store.read(unsettled)] == ["open"]
        with pytest.raises(ErasureRefused):
            await erase_as_two(
                gateway, "compliance", PERSON.iin, person="A. B.", reason="asked", duties_met=True, instrument=None
            )
        later.clock.offset = timedelta(days=1, seconds=1)
        with pytest.raises(AnswerOverdue):
            await answer(gateway, disclosure)
        [outcome] = later.entries(gateway, "outcome")
        assert (outcome["result"], outcome["code"]) == ("unknown", "answer_overdue")
        assert [each.state for each in await gateway.store.read(unsettled)] == ["unknown"]
        await over(gateway)
    assert asked(later, "sendMessage") == 1


# --- nothing of a person in its books ---------------------------------------------------------------


@pytest.mark.promise(2)
@pytest.mark.promise(5)
@both_engines
async def test_nothing_of_a_person_stands_in_the_books_of_jobs(
    later: House, engine: str, store_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    channel = later.ppc.async_channel
    channel.answers_after_s = 0.3
    async with later.gateway() as gateway:
        await consented(later, gateway, *PEOPLE)
        begun = [await begin(gateway, person, idempotency_key=f"key-{person.iin}") for person in PEOPLE[:4]]
        channel.delivery = Delivery.WRONG_SUBJECT
        begun += [await begin(gateway, person) for person in PEOPLE[4:6]]
        channel.delivery = Delivery.NEVER
        waits = await begin(gateway, PEOPLE[6])
        later.ppc.fail_next(Fault.GARBAGE, 3)
        for disclosure in begun:
            try:
                assert (await answer(gateway, disclosure)).report["contributions"]
            except WrongSubject:
                assert disclosure in begun[4:]
        books = written(later, engine, store_url)
        assert all(each.encode() in books for each in [*begun, waits]), "ids are what stands there"
        sealed = gateway.store.engine.path.read_bytes() if engine == "sqlite" else b""  # type: ignore[attr-defined]
        for person in PEOPLE:
            for value in (person.iin, *(str(each) for each in person.data["identity"].values() if len(str(each)) > 5)):
                assert value.encode() not in books + sealed
        assert b"contributions" not in books and b"loan-scoring" not in books
    if engine == "sqlite":
        made = [path for path in later.home.iterdir() if "-jobs" in path.name]
        assert sorted(path.name for path in made) == ["qaqpa.db-jobs.db", "qaqpa.db-jobs.lock"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
        with closing(sqlite3.connect(later.home / "qaqpa.db-jobs.db")) as found:
            states = dict(found.execute("SELECT workflow_uuid, status FROM workflow_status").fetchall())
        assert states[waits] == "PENDING", "cut off, and not failed"
    async with later.gateway() as gateway:  # what waited goes on, and the person can be erased when it is over
        async with asyncio.timeout(20):  # one that was answered may still have to be confirmed
            while await gateway.store.read(jobs) != [waits]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        later.clock.offset = timedelta(days=2)
        gateway.jobs.wake()
        with pytest.raises(AnswerOverdue):
            await answer(gateway, waits)
        erased = await erase_as_two(
            gateway, "compliance", PEOPLE[0].iin, person="A. B.", reason="asked", duties_met=True, instrument=None
        )
        with pytest.raises(NotFound):
            await gateway.answer("loan-scoring", begun[0])
        assert erased.subject
        later.verified(gateway)
    assert capfd.readouterr().err == ""


def written(house: House, engine: str, store_url: str) -> bytes:
    """Everything that stands in the books of jobs."""
    if engine == "sqlite":
        return b"".join(path.read_bytes() for path in house.home.glob("*-jobs*"))
    intruder = Intruder(store_url, house.home)
    names = intruder.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'qaqpa_jobs'")
    assert len(names) > 3
    rows = [intruder.rows(f'SELECT t::text FROM qaqpa_jobs."{name}" t') for (name,) in names]
    return "".join(str(row[0]) for table in rows for row in table).encode()


def test_what_is_not_plain_is_refused_before_it_is_written() -> None:
    from qaqpa.jobs.plain import PlainSerializer

    plain = PlainSerializer()
    for good in (None, 3, 2.5, 1_790_000_000.25, "over", "019b0000-0000-7000-8000-000000000000"):
        assert plain.deserialize(plain.serialize(good)) == good
    assert "900101300017" not in plain.serialize(ValueError("900101300017"))
    for bad in (
        "900101300017",
        900101300017,
        "Ерлан Ахметов",
        "+77011234567",
        {"iin": 1},
        b"x",
        [["KZ86125KZT5004100100"]],
    ):
        with pytest.raises(TypeError) as refused:
            plain.serialize(bad)
        assert "900101" not in str(refused.value)


# --- other processes --------------------------------------------------------------------------------


@asynccontextmanager
async def another(house: House, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway in a process of its own, killed at the end."""
    worker = Path(__file__).with_name("later_worker.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(worker), str(house.config), str(house.home), *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()


@pytest.mark.promise(1)
@pytest.mark.promise(6)
@both_engines
async def test_when_one_process_dies_another_goes_on(later: House, engine: str) -> None:
    channel = later.ppc.async_channel
    channel.answers_after_s = 6.0
    async with later.gateway() as gateway:
        await consented(later, gateway, PERSON, OTHER)
    async with another(later, OTHER.iin) as process:
        theirs = await said(process)
        assert await said(process) == "runs"
        async with later.gateway() as gateway:
            channel.answers_after_s = 0.5
            mine = await begin(gateway, PERSON)
            assert (await answer(gateway, mine)).id == mine
            assert gateway.jobs.runs is (engine == "postgresql"), "on SQLite one process of all runs the jobs"
            process.send_signal(signal.SIGKILL)
            assert (await answer(gateway, theirs)).id == theirs
            await over(gateway)
            assert gateway.jobs.runs and gateway.jobs.failing_since is None
            assert sorted(each["intent"] for each in later.entries(gateway, "outcome")) == sorted([mine, theirs])
            later.verified(gateway)
    assert sorted(channel.taken) == sorted([mine, theirs]) == sorted(channel.confirmed)


@pytest.mark.promise(1)
@pytest.mark.promise(6)
@both_engines
async def test_killed_at_any_instant_it_is_sent_once_and_its_answer_is_here(later: House) -> None:
    channel = later.ppc.async_channel
    channel.answers_after_s = 0.2
    kills = int(os.environ.get("QAQPA_KILLS", "3"))
    async with later.gateway() as gateway:
        await consented(later, gateway, *PEOPLE)
    for number in range(kills):
        async with another(later, *(person.iin for person in PEOPLE)) as process:
            before = len(channel.taken)
            await said(process)
            async with asyncio.timeout(60):
                while len(channel.taken) < before + 2:  # noqa: ASYNC110 - the stand-in keeps a list, not an event
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.13 * number)
            process.send_signal(signal.SIGKILL)
            await process.wait()
    async with later.gateway() as gateway:
        async with asyncio.timeout(60):
            while len(channel.confirmed) < len(channel.taken):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        later.clock.offset = timedelta(days=2)  # what was cut off before it was sent is given up
        await over(gateway)
        outcomes = {each["intent"]: each["result"] for each in later.entries(gateway, "outcome")}
        assert outcomes.keys() == {each["id"] for each in later.entries(gateway, "intent")}
        assert len(outcomes) == len(later.entries(gateway, "outcome"))
        delivered = {disclosure for disclosure, result in outcomes.items() if result == "delivered"}
        assert delivered == set(channel.taken) == set(channel.confirmed)
        assert len(channel.taken) == len(set(channel.taken)) == len(channel.confirmed), "each once"
        assert set(outcomes.values()) <= {"delivered", "unknown"}
        for disclosure in delivered:
            assert b"deductionsDetailed" in await answer_of(gateway.ledger, disclosure)
        later.verified(gateway)


@both_engines
async def test_while_an_answer_is_awaited_the_same_question_is_not_sent_again(later: House) -> None:
    later.edit("recipients/pension-center.toml", ('ground = "consent"', 'reuse_for = "24h"\nground = "consent"'))
    later.ppc.async_channel.answers_after_s = 0.3
    async with later.gateway() as gateway:
        await consented(later, gateway)
        one = await begin(gateway, idempotency_key="k-1")
        assert await begin(gateway, idempotency_key="k-2") == one, "the other's answer serves"
        first = await answer(gateway, one)
        again = await gateway.disclose("loan-scoring", request(pension_document(PERSON)), idempotency_key="k-2")
        assert again.reused and (again.id, again.report) == (one, first.report)
        await over(gateway)
        later.verified(gateway)
    assert asked(later, "sendMessage") == 1
