"""A verification that somebody runs: remembered with what it found, and an alert where it fails."""

from __future__ import annotations

import json

import pytest

from books import Intruder
from desk import at_desk
from harness import House, both_engines, grown
from hook import Hook
from qaqpa.alerts.findings import Rule
from qaqpa.ledger.verifications import Verification, VerificationResult, last_verification
from qaqpa.store import store_at
from visitor import signed_in


def last(url: str, house: House) -> Verification | None:
    with store_at(url, house.home).snapshot() as connection:
        return last_verification(connection)


async def spoilt(house: House, url: str) -> None:
    """A ledger whose entry 2 is not what was signed."""
    async with house.gateway() as gateway:
        await grown(house, gateway, 2)
    Intruder(url, house.home).run("UPDATE entries SET caller = 'x' WHERE idx = 2")


@both_engines
async def test_what_a_verification_found_is_remembered(house: House, store_url: str) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, 2)
    assert last(store_url, house) is None
    ran = await house.cli("ledger", "verify", "--person", "A. Officer", "--json")
    assert (ran.code, ran.json["remembered"]) == (0, True)
    found = last(store_url, house)
    assert found is not None
    assert (found.person, found.result, found.size) == ("A. Officer", VerificationResult.VERIFIED, ran.json["size"])
    assert (await house.cli("ledger", "verify")).code == 0, "what is remembered is not held against the entries"
    again = last(store_url, house)
    assert again is not None and again.time >= found.time and again.person, "the user of this machine"
    refused = await house.cli("ledger", "verify", "--person", "900101300017")
    assert refused.code == 2 and last(store_url, house) == again, "an IIN is nobody's name"


@both_engines
async def test_one_that_fails_raises_the_alert_everywhere(house: House, store_url: str) -> None:
    hook = Hook()
    async with hook.serving(house):
        await spoilt(house, store_url)
        ran = await house.cli("ledger", "verify", "--json")
        assert (ran.code, ran.json["verified"], ran.json["remembered"]) == (6, False, True)
        found = last(store_url, house)
        assert found is not None and (found.result, found.first_bad) == (VerificationResult.FAILED, 2)
        assert (await house.cli("ledger", "verify")).code == 6, "told once, however often it is run"
        async with at_desk(house, {}) as desk, signed_in(desk, "Anna") as anna:
            alerts = desk.gateway.alerts
            (alert,) = [each for each in await alerts.listed("compliance") if each.rule is Rule.VERIFICATION]
            assert (alert.about, alert.figures["index"]) == ("entries", 2)
            assert "Verification failed" in (await anna.get("/alerts")).text
            assert (await alerts.counts())[Rule.VERIFICATION] == 1
            metrics = (await desk.client.get("/metrics")).text
            assert 'qaqpa_alerts{rule="verification"} 1.0' in metrics
            await alerts.tell()
        told = [json.loads(body)["data"]["rule"] for body in hook.bodies]
        assert told.count("verification") == 1


@both_engines
async def test_whoever_cannot_write_verifies_all_the_same(
    house: House, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, 2)
    if "postgresql" in store_url:
        intruder = Intruder(store_url, house.home)
        name = intruder.value("SELECT current_database()")
        intruder.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    else:
        house.edit("gateway.toml", ("sqlite:///qaqpa.db", "sqlite:///file:qaqpa.db?mode=ro&uri=true"))
    ran = await house.cli("ledger", "verify", "--json")
    assert (ran.code, ran.json["verified"], ran.json["remembered"]) == (0, True, False)
    assert "not remembered" in ran.err
