"""Alerts told to another system: signed, over TLS, once each, until it accepts; and with nobody's name in them."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from harness import PEOPLE, House, both_engines, eventually
from hook import SECRET, Hook
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.alerts.webhook import headers, signing_key
from qaqpa.errors import NotConfigured
from qaqpa.gateway import Gateway
from qaqpa.gateway.alerting import Alerting

BURST = Finding(Rule.REFUSALS, "caller:loan-scoring", "h", {"count": 21, "limit": 20, "minutes": 10})


@pytest.fixture
def hook(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hook:
    """Told when a test says so, unless that test is about who does by itself."""

    async def by_hand(_: Alerting) -> None:
        pass

    if "by_itself" not in request.node.name:
        monkeypatch.setattr(Alerting, "_tell_on", by_hand)
    return Hook()


async def waits(gateway: Gateway) -> int:
    return await gateway.alerts.untold()


def test_the_signature_of_the_specification() -> None:
    # The example of Standard Webhooks' own libraries.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = headers(
        [key], "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), b'{"test": 2432232314}'
    )
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "whsec_" + base64.b64encode(b"x" * 23).decode()])
def test_a_secret_that_is_none(secret: str) -> None:
    with pytest.raises(NotConfigured, match="whsec_") as caught:
        signing_key(secret)
    assert secret == "" or secret not in str(caught.value).replace("whsec_ and", "")


@both_engines
async def test_an_alert_and_its_acknowledgement_are_told_once(house: House, hook: Hook) -> None:
    async with hook.serving(house), house.gateway() as gateway:
        (alert,) = await gateway.alerts.raise_now(BURST)
        await gateway.alerts.tell()
        assert await gateway.alerts.raise_now(BURST) == [] and await gateway.alerts.tell() == 0
        await gateway.alerts.acknowledge("compliance", alert.id, person="Jane Doe", reason="a test of ours")
        await gateway.alerts.tell()
        assert await waits(gateway) == 0
    assert [each["type"] for each in hook.taken] == ["alert.raised", "alert.acknowledged"]
    assert hook.forged == 0 and len(set(hook.ids)) == 2
    data = hook.taken[0]["data"]
    assert (data["rule"], data["caller"], data["figures"]) == ("refusals", "loan-scoring", dict(BURST.figures))
    assert data["url"].endswith(f"/console/alerts/{alert.id}")
    assert hook.taken[1]["data"]["state"] == "acknowledged"
    assert b"Jane" not in b"".join(hook.bodies) and b"a test" not in b"".join(hook.bodies)


@pytest.mark.promise(2)
async def test_no_body_names_anybody(house: House, hook: Hook) -> None:
    subject = "01a3f2c4-random-id"
    findings = [
        Finding(Rule.SUBJECT, f"subject:{subject}", "4", {"count": 4, "subject": subject}),
        Finding(Rule.VOLUME, "looks:person:Jane Doe", "h", {"count": 900, "person": "Jane Doe"}),
        Finding(Rule.NIGHT, "caller:compliance", "2026-11-23", {"count": 1, "night": "2026-11-23"}),
    ]
    async with hook.serving(house), house.gateway() as gateway:
        for finding in findings:
            await gateway.alerts.raise_now(finding)
        await gateway.alerts.tell()
        assert await waits(gateway) == 0
    said = b"".join(hook.bodies)
    assert len(hook.taken) == 3 and b"Jane" not in said and subject.encode() not in said
    assert not any(person.iin.encode() in said for person in PEOPLE)
    assert hook.taken[1]["data"]["measure"] == "looks"


@both_engines
async def test_what_is_not_accepted_is_told_again_with_the_same_id_and_body(house: House, hook: Hook) -> None:
    hook.status = 503
    async with hook.serving(house):
        async with house.gateway() as gateway:
            await gateway.alerts.raise_now(BURST)
            assert await gateway.alerts.tell() == 0
            assert await gateway.alerts.tell() == 0 and len(hook.ids) == 1, "not at once again"
        house.clock.offset += timedelta(minutes=5)
        async with house.gateway() as gateway:  # another process, later
            assert await gateway.alerts.tell() == 0
            hook.status = 200
            house.clock.offset += timedelta(minutes=10)
            assert await gateway.alerts.tell() == 1
            assert await gateway.alerts.tell() == 0 and await waits(gateway) == 0
    assert len(hook.ids) == 3 and len(set(hook.ids)) == 1 and len(set(hook.bodies)) == 1


async def test_what_is_too_old_is_given_up_and_shown(house: House, hook: Hook) -> None:
    hook.status = 500
    async with hook.serving(house), house.gateway() as gateway:
        (alert,) = await gateway.alerts.raise_now(BURST)
        await gateway.alerts.tell()
        house.clock.offset += timedelta(days=3, minutes=1)
        await gateway.alerts.tell()
        _, told = await gateway.alerts.find("compliance", alert.id)
        assert [(each.state, each.tries) for each in told] == [("too_old", 2)]
        assert await waits(gateway) == 0
        hook.status = 200
        house.clock.offset += timedelta(days=1)
        assert await gateway.alerts.tell() == 0


@both_engines
async def test_two_gateways_tell_each_message_once(house: House, hook: Hook) -> None:
    async with hook.serving(house), house.gateway() as one, house.gateway() as other:
        for number in range(5):
            await one.alerts.raise_now(Finding(Rule.REFUSALS, f"caller:c{number}", "h", {"count": number}))
        done = await asyncio.gather(one.alerts.tell(), other.alerts.tell(), one.alerts.tell())
        assert sum(done) == 5 and await waits(one) == 0
    assert sorted(hook.ids) == sorted(set(hook.ids)) and len(hook.taken) == 5


async def test_a_secret_is_changed_without_a_gap(house: House, hook: Hook) -> None:
    async with hook.serving(house, "HOOK_OLD", "HOOK_SECRET"), house.gateway() as gateway:
        await gateway.alerts.raise_now(BURST)
        assert await gateway.alerts.tell() == 1
    assert hook.forged == 0


async def test_whoever_does_not_prove_who_it_is_gets_nothing(house: House, hook: Hook) -> None:
    async with hook.serving(house):
        trustme.CA().cert_pem.write_to_path(str(house.home / "hook-ca.pem"))
        async with house.gateway() as gateway:
            await gateway.alerts.raise_now(BURST)
            assert await gateway.alerts.tell() == 0 and await waits(gateway) == 1
    assert hook.ids == []


async def test_a_loopback_address_that_nobody_allowed(house: House, hook: Hook) -> None:
    async with hook.serving(house):
        house.edit("gateway.toml", ('private_networks = ["127.0.0.0/8"]\n', ""))
        with pytest.raises(NotConfigured, match="private"):
            async with house.gateway():
                pass


async def test_a_secret_never_stands_in_the_configuration(house: House, hook: Hook) -> None:
    async with hook.serving(house):
        house.edit("gateway.toml", ('"env:HOOK_SECRET"', json.dumps(SECRET)))
        ran = await house.cli("check")
    assert ran.code == 2 and "a secret is never written here" in ran.err and SECRET not in ran.err + ran.out


async def test_a_running_gateway_tells_by_itself(house: House, hook: Hook) -> None:
    async with hook.serving(house), house.gateway() as gateway:
        await gateway.alerts.raise_now(BURST)
        await eventually(lambda: bool(hook.taken))
    assert hook.taken[0]["type"] == "alert.raised"
