"""A gateway that looks: at its own ledger, at itself; each cause once, whoever looks and however often."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
import trustme

from books import Intruder
from harness import PEOPLE, House, both_engines, eventually, grown, request, request_document
from qaqpa.alerts import memory, summary, watch
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.alerts.records import Alert, AlertState
from qaqpa.alerts.summary import Asking
from qaqpa.errors import Blocked, LedgerRolledBack, NotAllowed, NotFound, NotPossible
from qaqpa.gateway import Gateway
from qaqpa.ledger.read import Wanted
from qaqpa.store import Connection
from qaqpa.witness import create_key

ANCHOR = 'checkpoint_late = "5m"'
AWAKE = ANCHOR, f"{ANCHOR}\nnight = {{ begins = 0, ends = 0 }}"
ASLEEP = ANCHOR, f"{ANCHOR}\nnight = {{ begins = 0, ends = 23 }}"
NARROW = (
    AWAKE,
    (ANCHOR, f"{ANCHOR}\nvolume = {{ times = 1.5, floor = 1 }}"),
    (ANCHOR, f"{ANCHOR}\nrefusals = {{ count = 3 }}\nsubject = {{ askers = 2 }}"),
)


async def refused(gateway: Gateway, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Blocked):
            await gateway.disclose("loan-scoring", request(request_document(PEOPLE[3])))


def told(alerts: list[Alert]) -> set[tuple[Rule, str]]:
    return {(alert.rule, alert.about) for alert in alerts}


@both_engines
async def test_a_burst_of_refusals_is_told_once(house: House) -> None:
    house.edit("gateway.toml", *NARROW)
    async with house.gateway() as gateway:
        await refused(gateway, 2)
        assert await gateway.alerts.look() == []
        await refused(gateway, 1)
        (alert,) = await gateway.alerts.look()
        assert (alert.rule, alert.name("caller"), alert.figures["count"]) == (Rule.REFUSALS, "loan-scoring", 3)
        await refused(gateway, 4)
        assert await gateway.alerts.look() == []
        found, _ = await gateway.alerts.find("compliance", alert.id)
        assert (found.figures["count"], found.state) == (7, AlertState.OPEN), "an open one grows with what goes on"
        await gateway.alerts.acknowledge("compliance", alert.id, person="A", reason="a wrong setting")
        await refused(gateway, 1)
        again = await gateway.alerts.look()
        assert again == [] or again[0].episode != alert.episode, "the same hour is not told again"
        house.verified(gateway)


@both_engines
async def test_volume_and_subjects_of_one_ledger(house: House) -> None:
    house.edit("gateway.toml", *NARROW)
    async with house.gateway() as gateway:
        await grown(house, gateway, 3)
        assert told(await gateway.alerts.look()) == {
            (Rule.VOLUME, "alone:caller:loan-scoring"),
            (Rule.VOLUME, "alone:recipient:first-credit-bureau"),
        }
        iin = PEOPLE[0].iin
        await gateway.compliance.search("compliance", 5, Wanted(), iin=iin)
        (alert,) = await gateway.alerts.look()
        subject = await gateway.ledger.subjects.find(iin)
        assert subject is not None
        assert (alert.rule, alert.name("subject")) == (Rule.SUBJECT, subject.id)


async def test_a_look_by_an_entrys_number_is_a_look_at_its_subject(house: House) -> None:
    house.edit("gateway.toml", *NARROW)
    async with house.gateway() as gateway:
        await grown(house, gateway)
        intent = next(n for n, each in enumerate(house.entries(gateway)) if each["kind"] == "intent")
        await gateway.compliance.entry("compliance", intent)
        assert Rule.SUBJECT in {alert.rule for alert in await gateway.alerts.look()}


async def test_people_who_should_be_asleep(house: House) -> None:
    house.edit("gateway.toml", ASLEEP)
    house.clock.offset = timedelta(0)
    async with house.gateway() as gateway:
        zone = gateway.setup.config.gateway.operator.time_zone
        if house.clock().astimezone(zone).hour == 23:
            house.clock.offset = timedelta(hours=2)
        await grown(house, gateway)
        assert await gateway.alerts.look() == [], "a service may work at night"
        await gateway.compliance.entries("compliance", 3)
        (alert,) = await gateway.alerts.look()
        assert (alert.rule, alert.about, alert.figures["count"]) == (Rule.NIGHT, "caller:compliance", 1)
        await gateway.compliance.entries("compliance", 3)
        assert await gateway.alerts.look() == []
        found, _ = await gateway.alerts.find("compliance", alert.id)
        assert found.figures["count"] == 2


@both_engines
async def test_two_gateways_look_at_each_entry_once(house: House) -> None:
    house.edit("gateway.toml", *NARROW)
    async with house.gateway() as one, house.gateway() as other:
        await refused(one, 5)
        looks = await asyncio.gather(*(each.alerts.look() for each in (one, other, one, other)))
        assert sum(map(len, looks)) == 1
        found = await one.alerts.listed("compliance")
        assert [alert.figures["count"] for alert in found] == [5]


async def test_a_gateway_that_was_overtaken_keeps_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.edit("gateway.toml", *NARROW)
    real = watch.sum_up
    async with house.gateway() as one, house.gateway() as other:
        await refused(one, 5)

        def slow(connection: Connection, first: int, end: int) -> summary.Summary:
            found = real(connection, first, end)
            monkeypatch.setattr(watch, "sum_up", real)
            asyncio.run_coroutine_threadsafe(other.alerts.look(), loop).result(10)
            return found

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(watch, "sum_up", slow)
        assert await one.alerts.look() == []
        assert [alert.figures["count"] for alert in await one.alerts.listed("compliance")] == [5]


async def test_a_long_backlog_is_judged_in_stretches(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STRETCH", 3)
    house.edit("gateway.toml", *NARROW)
    async with house.gateway() as gateway:
        await refused(gateway, 10)
        (alert,) = await gateway.alerts.look()
        found, _ = await gateway.alerts.find("compliance", alert.id)
        assert found.figures["count"] == 10


async def test_the_first_look_goes_back_a_bounded_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BEGIN_BACK", 4)
    house.edit("gateway.toml", *NARROW)
    async with house.gateway() as gateway:
        await refused(gateway, 10)
        await gateway.alerts.look()
        (alert,) = await gateway.alerts.listed("compliance")
        assert alert.figures["count"] == 4


# --- the gate itself -------------------------------------------------------------------------------


async def test_a_checkpoint_that_is_late_and_comes_again(house: House) -> None:
    house.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 3600000"), AWAKE)
    async with house.gateway() as gateway:
        await grown(house, gateway)
        assert await gateway.alerts.look() == []
        house.clock.offset += timedelta(minutes=6)
        (alert,) = await gateway.alerts.look()
        assert alert.rule is Rule.CHECKPOINT and alert.figures["seconds"] >= 360
        assert await gateway.alerts.look() == []
        await gateway.alerts.acknowledge("compliance", alert.id, person="A", reason="the disk was full")
        assert await gateway.alerts.look() == [], "it goes on, and somebody knows"
        house.clock.offset += timedelta(hours=2)
        (again,) = await gateway.alerts.look()
        assert again.id != alert.id


async def test_upkeep_jobs_and_a_ledger_that_was_exchanged(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
        assert gateway.upkeep is not None
        gateway.upkeep.failing_since = house.clock() - timedelta(minutes=10)
        gateway.jobs.failing_since = time.monotonic() - 1_000
        gateway.ledger.closed_by = LedgerRolledBack("somebody exchanged it")
        assert {(alert.rule, alert.about) for alert in await gateway.alerts.look()} >= {
            (Rule.UPKEEP, "upkeep"),
            (Rule.VERIFICATION, "database"),
        }
        gateway.ledger.closed_by = gateway.upkeep.failing_since = gateway.jobs.failing_since = None


async def test_an_agreement_that_ends_is_told_once(house: House) -> None:
    house.edit("gateway.toml", AWAKE)
    async with house.gateway() as gateway:
        end = gateway.policy.recipients["demo-collector"].agreement
        assert end is not None and end.expires_on is not None
        left = end.expires_on - gateway.policy.day(house.clock())
    house.clock.offset += left - timedelta(days=20)
    async with house.gateway() as gateway:
        found = [each for each in await gateway.alerts.look() if each.about == "agreement:demo-collector"]
        assert [(alert.rule, alert.figures["ends"]) for alert in found] == [(Rule.EXPIRY, end.expires_on.isoformat())]
        await gateway.alerts.acknowledge("compliance", found[0].id, person="A", reason="a new one is being signed")
    house.clock.offset += timedelta(days=3)
    async with house.gateway() as gateway:
        assert [each for each in await gateway.alerts.look() if each.about == "agreement:demo-collector"] == []


@pytest.mark.parametrize(
    ("statement", "index", "count"),
    [
        ("UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'loan', 'LOAN') AS BLOB) WHERE idx = 2", 2, 1),
        ("UPDATE entries SET leaf = zeroblob(32) WHERE idx = 1", 1, 1),
        ("DELETE FROM entries WHERE idx IN (2, 3)", 2, 2),
        ("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE level = 0", 0, 5),
    ],
    ids=["a body", "a leaf", "entries gone", "a tile"],
)
async def test_the_patrol_finds(house: House, statement: str, index: int, count: int) -> None:
    house.edit("gateway.toml", AWAKE)
    async with house.gateway() as gateway:
        await grown(house, gateway, 1)
        await gateway.upkeep.checkpointed()  # type: ignore[union-attr]
        assert await gateway.alerts.look() == []
        Intruder(gateway.setup.store_url, house.home).run(statement)
        (alert,) = await gateway.alerts.look()
        assert (alert.rule, alert.figures["index"]) == (Rule.VERIFICATION, index)
        assert alert.figures["count"] == count or count == 5
        assert await gateway.alerts.look() == []


# --- people ----------------------------------------------------------------------------------------


async def test_who_may_look_and_acknowledge(house: House) -> None:
    house.edit("gateway.toml", AWAKE)
    async with house.gateway() as gateway:
        (alert,) = await gateway.alerts.raise_now(Finding(Rule.REFUSALS, "caller:x", "h"))
        for work in (
            gateway.alerts.listed("loan-scoring"),
            gateway.alerts.find("loan-scoring", alert.id),
            gateway.alerts.acknowledge("loan-scoring", alert.id, person="A", reason="b"),
        ):
            with pytest.raises(NotAllowed):
                await work
        with pytest.raises(NotFound):
            await gateway.alerts.acknowledge("compliance", "none", person="A", reason="b")
        await gateway.alerts.acknowledge("compliance", alert.id, person="A", reason="b")
        with pytest.raises(NotPossible):
            await gateway.alerts.acknowledge("compliance", alert.id, person="B", reason="c")
        assert len([e for e in house.entries(gateway, "control") if e["act"] == "acknowledge_alert"]) == 1


# --- what is remembered is bounded -----------------------------------------------------------------


@both_engines
async def test_of_pairs_the_oldest_go_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PAIRS_AT_MOST", 10)
    async with house.gateway() as gateway:
        now = house.clock()
        many = [Asking(f"s{number}", "caller:a", now - timedelta(minutes=100 - number)) for number in range(30)]
        day = timedelta(days=1)
        await gateway.store.write(lambda c: memory.asked(c, many, now, day, 2))
        left = await gateway.store.read(lambda c: c.execute("SELECT subject FROM alert_askers ORDER BY time").all())
        assert [row[0] for row in left] == [f"s{number}" for number in range(20, 30)]
        counts = await gateway.store.write(lambda c: memory.asked(c, [Asking("s29", "person:b", now)], now, day, 2))
        assert counts == [("s29", 2)]
        late = now + timedelta(days=2)
        assert await gateway.store.write(lambda c: memory.asked(c, [], late, day, 2)) == []
        assert await gateway.store.read(lambda c: c.execute("SELECT count(*) FROM alert_askers").scalar()) == 0


async def test_one_who_asks_for_many_is_one_alert(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SUBJECTS_AT_ONCE", 2)
    house.edit("gateway.toml", *NARROW, ("floor = 1", "floor = 1000"))
    async with house.gateway() as gateway:
        await grown(house, gateway, 4)
        for person in PEOPLE[:4]:
            await gateway.compliance.search("compliance", 5, Wanted(), iin=person.iin)
        assert told(await gateway.alerts.look()) == {(Rule.SUBJECT, "many")}


async def test_a_witness_that_is_silent(house: House) -> None:
    vkey = create_key(house.home / "witness.pem", "witness.example/1")
    trustme.CA().cert_pem.write_to_path(str(house.home / "witness-ca.pem"))
    house.edit("gateway.toml", AWAKE, ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 50"))
    path = house.config / "gateway.toml"
    path.write_text(
        path.read_text() + f'[[ledger.witnesses]]\nvkey = "{vkey}"\n[ledger.witnesses.channel]\nkind = "https"\n'
        'ca = "witness-ca.pem"\nprivate_networks = ["127.0.0.0/8"]\nconnect_timeout_s = 1\n'
        '[ledger.witnesses.channel.endpoints]\nwitness = "https://127.0.0.1:9/add-checkpoint"\n'
    )
    async with house.gateway() as gateway:
        upkeep = gateway.upkeep
        assert upkeep is not None
        await grown(house, gateway)
        await eventually(lambda: upkeep.silent_witnesses() != {})
        assert Rule.WITNESS not in {alert.rule for alert in await gateway.alerts.look()}, "it may be silent for a while"
        house.clock.offset += timedelta(hours=2)
        found = [alert for alert in await gateway.alerts.look() if alert.rule is Rule.WITNESS]
        assert [(alert.name("witness"), alert.figures["seconds"] >= 7_000) for alert in found] == [
            ("witness.example/1", True)
        ]
