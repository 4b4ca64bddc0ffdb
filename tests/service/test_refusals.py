"""Refused attempts: slowed down after a burst, counted and logged; nobody with a good token is refused for them."""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import httpx
import orjson
import pytest

from desk import PERSON, Desk, at_desk
from harness import House, both_engines, request_document
from qaqpa import log, metrics
from qaqpa.service import tokens as api_tokens
from qaqpa.service.addresses import Addresses
from qaqpa.service.callers import Burst

LOOK = "/v1/ledger/checkpoint"
BURST = [401] * Burst.ATTEMPTS


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure(level=logging.INFO, stream=stream)
    yield stream
    log.configure()


@pytest.fixture
def slow_hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets of which one was made."""
    made, slow = [], api_tokens._slow_hash

    def counted(secret: str, salt: bytes) -> bytes:
        made.append(secret)
        return slow(secret, salt)

    monkeypatch.setattr(api_tokens, "_slow_hash", counted)
    return made


def of(id_: str | None = None) -> str:
    """A token that nobody made: of this id, or of the one that its secret gives it."""
    secret = secrets.token_urlsafe(32)
    return f"qaqpa_{id_ or api_tokens.id_of(secret)}_{secret}"


async def shown(desk: Desk, token: str, **headers: str) -> httpx.Response:
    return await desk.client.get(LOOK, headers={"authorization": f"Bearer {token}", **headers})


def statuses(answers: list[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


def refused(why: str) -> float:
    return metrics.REGISTRY.get_sample_value("qaqpa_refused_callers_total", {"why": why}) or 0.0


# --- a burst ---------------------------------------------------------------------------------------


async def test_after_a_burst_an_address_is_told_to_wait_and_a_good_token_is_not(
    house: House, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    monkeypatch.setattr(Burst, "PER_S", 0.0)
    before = {why: refused(why) for why in ("wrong", "too_many", "none")}
    async with at_desk(house, tokens) as desk:
        told = [await shown(desk, "qaqpa_wrong") for _ in range(60)]
        assert statuses(told) == BURST + [429] * 40
        assert told[-1].json()["code"] == "too_many_attempts" and int(told[-1].headers["retry-after"]) > 0
        # All have one address, as behind a proxy, and no token was shown before, as after a restart.
        assert (await desk.ask("GET", LOOK, "compliance")).status_code == 200
        assert (await desk.ask("GET", LOOK, "collections")).status_code == 403
        assert (await desk.ask("GET", LOOK, None)).status_code == 429
        monkeypatch.setattr(Burst, "PER_S", 1_000.0)
        assert (await desk.ask("GET", LOOK, None)).status_code == 401
    assert {why: refused(why) - count for why, count in before.items()} == {"wrong": 20, "too_many": 41, "none": 1}
    lines = [orjson.loads(line) for line in logged.getvalue().splitlines()]
    assert [line["host"] for line in lines if line["event"] == "caller refused"] == ["192.0.2.7"] * 21


@both_engines
async def test_guesses_at_once_meet_no_slow_hash_and_hold_up_no_good_token(
    house: House, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch, slow_hashes: list[str]
) -> None:
    monkeypatch.setattr(Burst, "PER_S", 0.0)
    id_ = tokens["compliance"].split("_")[1]
    async with at_desk(house, tokens) as desk:
        guesses = [of(id_) for _ in range(300)] + [of() for _ in range(100)] + [of("0" * 16) for _ in range(100)]
        asked = [asyncio.create_task(shown(desk, guess)) for guess in guesses]
        await asyncio.sleep(0)
        started = time.perf_counter()
        assert (await desk.ask("GET", LOOK, "compliance")).status_code == 200
        assert time.perf_counter() - started < 5
        told = Counter(statuses(await asyncio.gather(*asked)))
    assert told == {401: Burst.ATTEMPTS, 429: len(guesses) - Burst.ATTEMPTS}
    assert slow_hashes == [tokens["compliance"].split("_", 2)[2]], "one, of the token that was made"


async def test_two_slow_hashes_run_at_once_and_nobody_else_waits_for_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most = 0, 0
    begun, slow = threading.Event(), api_tokens._slow_hash

    def counted(secret: str, salt: bytes) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        begun.set()
        try:
            return slow(secret, salt)
        finally:
            at_once -= 1

    many = [
        (
            await api_tokens.make_for(
                desk.gateway, "compliance", caller="compliance", person="A", reason="many", lifetime=timedelta(days=1)
            )
        )[1]
        for _ in range(8)
    ]
    monkeypatch.setattr(api_tokens, "_slow_hash", counted)
    asked = [asyncio.create_task(shown(desk, token)) for token in many]
    async with asyncio.timeout(5):
        await asyncio.to_thread(begun.wait)  # in a thread of everybody else's
    assert statuses(await asyncio.gather(*asked)) == [200] * 8
    assert most <= 2


async def test_a_token_that_ends_while_it_is_hot_is_refused_as_any_other(
    house: House, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Burst, "PER_S", 0.0)
    async with at_desk(house, tokens) as desk:
        assert (await desk.ask("GET", LOOK, "compliance")).status_code == 200
        house.clock.offset = timedelta(days=1, minutes=1)
        assert statuses([await desk.ask("GET", LOOK, "compliance") for _ in range(30)]) == BURST + [429] * 10
        assert desk.app.state.desk.callers._tokens._hot == {}
        _, new = await api_tokens.make_for(
            desk.gateway, "compliance", caller="compliance", person="A", reason="new", lifetime=timedelta(days=1)
        )
        assert (await shown(desk, new)).status_code == 200


def test_a_burst_forgets_addresses_and_time_empties_it() -> None:
    now = [0.0]
    burst = Burst(lambda: now[0])
    for number in range(20_000):
        assert not burst.refused(f"192.0.2.{number}")
    assert len(burst._seen) <= 10_000
    assert [burst.refused("a") for _ in range(25)] == [False] * 20 + [True] * 5
    assert not burst.refused("b")
    now[0] = 2.0
    assert [burst.refused("a") for _ in range(2)] == [False, True], "one in two seconds, however many came meanwhile"
    now[0] = 60.0
    assert [burst.refused("a") for _ in range(21)] == [False] * 20 + [True]


# --- roles -----------------------------------------------------------------------------------------


async def test_who_may_not_is_counted_and_logged(desk: Desk, logged: io.StringIO) -> None:
    before = refused("role")
    assert (await desk.ask("GET", "/v1/ledger/entries/17", "collections")).status_code == 403
    answer = await desk.ask("POST", "/v1/disclosures", "compliance", key="k", json=request_document(PERSON))
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    denied = await desk.disclose(request_document(PERSON))
    assert (denied.status_code, denied.json()["code"]) == (403, "denied"), "this stands in the ledger"
    assert refused("role") == before + 2
    lines = [orjson.loads(line) for line in logged.getvalue().splitlines()]
    told = [(line["caller"], line["path"], line["level"]) for line in lines if line["event"] == "caller may not"]
    assert told == [
        ("collections", "/v1/ledger/entries/{index}", "warning"),
        ("compliance", "/v1/disclosures", "warning"),
    ]
    assert PERSON.iin not in logged.getvalue()


# --- whose address ---------------------------------------------------------------------------------

PROXIES = ("127.0.0.1", "10.1.0.0/16", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),  # nobody's proxy: anybody may write this
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),  # what stands further left, the caller wrote
        ("127.0.0.1", ["203.0.113.9", " 198.51.100.1 , 10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:127.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1, _hidden"], "127.0.0.1"),
        ("127.0.0.1", ["fe80::1%900101300123"], "fe80::1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        (None, ["198.51.100.1"], "unknown"),
        ("testclient", ["198.51.100.1"], "unknown"),
    ],
)
def test_the_address_is_what_trusted_proxies_say(peer: str | None, forwarded: list[str], address: str) -> None:
    assert Addresses(PROXIES).of(peer, forwarded) == address


def test_without_trusted_proxies_the_address_is_the_connections() -> None:
    assert Addresses(()).of("127.0.0.1", ["198.51.100.1"]) == "127.0.0.1"


async def test_behind_a_trusted_proxy_one_callers_burst_is_its_own(
    house: House, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Burst, "PER_S", 0.0)
    house.edit("gateway.toml", ("[ledger]", '[service]\ntrusted_proxies = ["192.0.2.0/28"]\n\n[ledger]'))
    async with at_desk(house, tokens) as desk:
        noisy = {"x-forwarded-for": "203.0.113.9, 198.51.100.1"}
        told = [await shown(desk, "qaqpa_wrong", **noisy) for _ in range(30)]
        assert statuses(told) == BURST + [429] * 10
        other = await shown(desk, "qaqpa_wrong", **{"x-forwarded-for": "198.51.100.1, 198.51.100.2"})
        assert other.status_code == 401


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.1.2.3/8", "proxy.example", "env:PROXY", ""])
async def test_a_trusted_proxy_is_an_address_or_a_network_of_them(house: House, network: str) -> None:
    house.edit("gateway.toml", ("[ledger]", f'[service]\ntrusted_proxies = ["{network}"]\n\n[ledger]'))
    ran = await house.cli("check")
    assert ran.code == 2 and "gateway.toml" in ran.err + ran.out and "trusted_proxies" in ran.err + ran.out
