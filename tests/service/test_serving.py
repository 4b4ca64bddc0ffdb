"""`qaqpa serve` itself: slow callers, callers who leave, a thousand at once, full disks, several processes, a stop."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import time
from contextlib import suppress

import httpx
import pytest

from desk import PERSON, Served, served
from harness import PEOPLE, House, both_engines, eventually, request_document
from qaqpa.testing.faults import Fault

pytestmark = pytest.mark.timeout(180)
BODY = json.dumps(request_document(PERSON)).encode()


def outcomes(house: House, gateway: object) -> list[str]:
    return [entry["result"] for entry in house.entries(gateway, "outcome")]  # type: ignore[arg-type]


def head(server: Served, *more: str, length: int = len(BODY), caller: str = "loan-scoring") -> bytes:
    """The head of a disclosure."""
    lines = (
        "POST /v1/disclosures HTTP/1.1", "Host: gate.test", f"Authorization: Bearer {server.tokens[caller]}",
        "Content-Type: application/json", f"Content-Length: {length}", *more,
    )  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def connected(server: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port)


async def answer_of(reader: asyncio.StreamReader, within_s: float) -> bytes:
    """What comes until the connection ends, or the time does."""
    said = b""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(within_s):
            while piece := await reader.read(65_536):
                said += piece
    return said


async def test_slow_callers_and_callers_who_go_away_hold_nobody_up(house: House, tokens: dict[str, str]) -> None:
    house.edit("gateway.toml", ("[ledger]", "[service]\nrequest_timeout_s = 1\n\n[ledger]"))
    async with served(house, tokens) as server:
        await server.consent()
        # A body that stops half-way, one that drips, and a head that never ends.
        halves = [await connected(server) for _ in range(20)]
        for number, (_, writer) in enumerate(halves):
            writer.write(head(server, f"Idempotency-Key: slow-{number}") + BODY[: len(BODY) // 2])
        silent = [await connected(server) for _ in range(20)]
        heads = [await connected(server) for _ in range(20)]
        for _, writer in heads:
            writer.write(b"POST /v1/disclosures HTTP/1.1\r\nHost: gate.test\r\nX-Slow: ")
        started = time.perf_counter()
        assert (await server.disclose(request_document(PERSON))).status_code == 200
        assert time.perf_counter() - started < 3, "others are served meanwhile"
        for reader, writer in halves:
            said = await answer_of(reader, 5) if reader is halves[0][0] else await reader.read(12)
            assert said.startswith(b"HTTP/1.1 408") or said == b"", said[:80]
            writer.close()
        for reader, writer in heads:
            said = await answer_of(reader, 5)
            assert b" 200" not in said and reader.at_eof(), "a head that never ends is ended"
            writer.close()
        for reader, writer in silent:
            assert await answer_of(reader, 5) == b"" and reader.at_eof(), "a connection that sends nothing is ended"
            writer.close()
        # Somebody hangs up in the middle of the request: nothing was asked, and it is no defect of ours.
        for _ in range(5):
            _, writer = await connected(server)
            writer.write(head(server, "Idempotency-Key: cut") + BODY[:20])
            await writer.drain()
            writer.transport.abort()
        await asyncio.sleep(0.3)
        # Somebody hangs up while the third party thinks: the disclosure is concluded all the same.
        house.fcb.fault, house.fcb.delay, calls = Fault.SLOW, 1.0, len(house.fcb.calls)
        _, writer = await connected(server)
        writer.write(head(server, "Idempotency-Key: gone") + BODY)
        await house.reached(house.fcb, calls + 1)
        writer.transport.abort()
        house.fcb.fault = Fault.NONE
        async with house.gateway() as gateway:
            await eventually(lambda: outcomes(house, gateway) == ["delivered"] * 2)
            first = await server.disclose(request_document(PERSON), "gone")
            assert first.status_code == 200 and len(house.fcb.calls) == calls + 1
            assert house.verified(gateway).open_intents == ()
        assert "defect" not in server.log and PERSON.iin not in server.log


async def test_a_thousand_connections_are_served(house: House, tokens: dict[str, str]) -> None:
    async with served(house, tokens, files=256) as server:
        await server.consent()
        shown = f"Authorization: Bearer {tokens['compliance']}"
        asked = f"GET /v1/ledger/entries/0/proof HTTP/1.1\r\nHost: gate.test\r\n{shown}\r\n\r\n".encode()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4_096)), hard))
        await asyncio.sleep(1.2)  # for a checkpoint
        started = time.perf_counter()
        all_of_them = await asyncio.gather(*(connected(server) for _ in range(1_000)))
        for _, writer in all_of_them:
            writer.write(asked)
        statuses = await asyncio.gather(*(reader.readline() for reader, _ in all_of_them))
        assert set(statuses) == {b"HTTP/1.1 200 OK\r\n"}
        assert time.perf_counter() - started < 30
        assert (await server.client.get("/readyz")).status_code == 200, "and one more, while they stay"
        for _, writer in all_of_them:
            writer.transport.abort()


@pytest.mark.promise(6)
@both_engines
async def test_a_key_holds_across_processes_and_restarts(house: House, tokens: dict[str, str]) -> None:
    house.fcb.fault = Fault.SLOW
    async with served(house, tokens, "--workers", "2") as server:
        await server.consent()
        both = await asyncio.gather(*(server.disclose(request_document(PERSON), "k") for _ in range(12)))
        assert {answer.status_code for answer in both} <= {200, 409}
        done = await server.disclose(request_document(PERSON), "k")
        assert done.status_code == 200, done.text
        # Metrics are those of both processes, whichever answers.
        counted = [(await server.client.get("/metrics")).text for _ in range(4)]
        line = 'caller="loan-scoring",operation="credit_report",outcome="delivered",purpose="application_review"'
        assert all(f'{line},recipient="first-credit-bureau"}} 1.0' in text for text in counted)
        assert await server.stop() == 0
    async with served(house, tokens) as server:
        again = await server.disclose(request_document(PERSON), "k")
        assert (again.status_code, again.json()) == (200, done.json())
        other = await server.disclose(request_document(PEOPLE[1]), "k")
        assert other.status_code == 422
    assert len(house.fcb.calls) == 1
    async with house.gateway() as gateway:
        assert house.verified(gateway).kinds["intent"] == 1


@pytest.mark.promise(1)
async def test_a_full_disk_is_said_and_passes(house: House, tokens: dict[str, str]) -> None:
    async with served(house, tokens) as server:
        await server.consent()
        for worker in server.workers:  # no file may grow any more
            resource.prlimit(worker, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        answer = await server.disclose(request_document(PERSON))
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), answer.text
        await asyncio.sleep(1.1)
        ready = await server.client.get("/readyz")
        assert ready.status_code == 503 and "database" in ready.json()["checks"]["ledger"]
        assert (await server.client.get("/healthz")).status_code == 200
        assert house.fcb.connections == 0
        for worker in server.workers:
            resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await asyncio.sleep(1.1)
        assert (await server.client.get("/readyz")).status_code == 200
        assert (await server.disclose(request_document(PERSON))).status_code == 200


@pytest.mark.promise(1)
async def test_a_stop_finishes_what_is_under_way(house: House, tokens: dict[str, str]) -> None:
    house.fcb.fault, house.fcb.delay = Fault.SLOW, 2.0
    async with served(house, tokens) as server:
        await server.consent()
        under_way = asyncio.create_task(server.disclose(request_document(PERSON), "k"))
        await house.reached(house.fcb)
        stopped = asyncio.create_task(server.stop(signal.SIGTERM))
        await asyncio.sleep(0.5)
        with suppress(httpx.TransportError):
            assert (await server.client.get("/readyz")).status_code == 503, "nobody new is sent here"
        done = await under_way
        assert done.status_code == 200, done.text
        assert await stopped == 0
        assert [(line["event"], line["level"]) for line in server.lines] == [("serving", "info"), ("disclosed", "info")]
    async with house.gateway() as gateway:
        assert outcomes(house, gateway) == ["delivered"]
        found = house.verified(gateway)
        assert found.in_tree == found.size, "a last checkpoint was made"


@pytest.mark.promise(1)
async def test_a_stop_waits_as_long_as_configured_and_what_was_cut_off_is_unknown(
    house: House, tokens: dict[str, str]
) -> None:
    house.edit("gateway.toml", ("[ledger]", "[service]\nshutdown_timeout_s = 1\n\n[ledger]"))
    house.fcb.fault = Fault.HANG_AFTER_ACCEPTING
    async with served(house, tokens) as server:
        await server.consent()
        under_way = asyncio.create_task(server.disclose(request_document(PERSON), "k"))
        await house.reached(house.fcb)
        started = time.perf_counter()
        await server.stop(signal.SIGTERM)
        assert time.perf_counter() - started < 8
        with suppress(httpx.TransportError):
            assert (await under_way).status_code >= 500
    async with house.gateway() as gateway:
        await eventually(lambda: outcomes(house, gateway) == ["unknown"])
        house.verified(gateway)
