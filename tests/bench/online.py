"""What the gateway adds to one disclosure, over a bare pass-through of the same bytes on the same HTTP stack."""

from __future__ import annotations

import asyncio
import base64
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from harness import PEOPLE, House, built, give_consent, handover_document, request, request_document
from qaqpa.gateway import Gateway
from qaqpa.model.disclosure import Reply, Sealed
from qaqpa.transport import Transport

PERSON = PEOPLE[0]
ROUNDS, WARM_UP = 1_000, 100
Work = Callable[[], Awaitable[object]]
Row = dict[str, object]


async def captured(house: House) -> dict[str, tuple[Sealed, Reply]]:
    """What one disclosure of each kind sends and gets, from the real stand-ins."""
    seen: dict[str, tuple[Sealed, Reply]] = {}
    send = Transport.send

    async def listen(self: Transport, sealed: Sealed) -> Reply:
        reply = await send(self, sealed)
        seen[sealed.intent.message.endpoint] = (sealed, reply)
        return reply

    Transport.send = listen  # type: ignore[method-assign]
    try:
        async with house.gateway() as gateway:
            await give_consent(house, gateway, PERSON)
            for operation in ("score", "credit_report"):
                await gateway.disclose("loan-scoring", request(request_document(PERSON, operation=operation)))
            await gateway.disclose("collections", request(handover_document(PERSON)))
    finally:
        Transport.send = send  # type: ignore[method-assign]
    return seen


@asynccontextmanager
async def fast_third_party(folder: Path, seen: dict[str, tuple[Sealed, Reply]]) -> AsyncIterator[str]:
    """A process that answers as the stand-ins did, only faster."""
    answers = {
        f"/{name}": {"body": base64.b64encode(reply.body).decode(), "kind": reply.content_type}
        for name, (_, reply) in seen.items()
    }
    (folder / "answers.json").write_bytes(orjson.dumps(answers))
    script = str(Path(__file__).parent / "third_party.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, str(folder), str(folder / "answers.json"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    port = orjson.loads(await process.stdout.readline())["port"]
    try:
        yield f"https://localhost:{port}"
    finally:
        process.stdin.close()
        await process.wait()


def bare_client(ca: Path) -> httpx.AsyncClient:
    """The same stack without any check."""
    context = ssl.create_default_context(cafile=str(ca))

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0), auto_decompress=False)

    return httpx.AsyncClient(transport=AiohttpTransport(client=session), trust_env=False)


async def alternately(bare: Work, gated: Work) -> tuple[list[float], list[float]]:
    """Milliseconds of each, taken in turn."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + WARM_UP):
        for times, work in zip(taken, (bare, gated), strict=True):
            started = time.perf_counter()
            await work()
            if number >= WARM_UP:
                times.append((time.perf_counter() - started) * 1000)
    return taken


async def online_added() -> list[Row]:
    """One connection, one at a time, two durable ledger entries for each disclosure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with built(folder) as house:
            seen = await captured(house)
            async with fast_third_party(folder, seen) as url:
                for variable, path in (
                    ("QAQPA_FCB_REPORT_URL", "report"),
                    ("QAQPA_FCB_SCORE_URL", "score"),
                    ("QAQPA_COLLECTOR_URL", "handover"),
                ):
                    house.environ[variable] = f"{url}/{path}"
                house.environ |= {"QAQPA_FCB_CA": str(folder / "ca.pem"), "QAQPA_COLLECTOR_CA": str(folder / "ca.pem")}
                for recipient in ("first-credit-bureau", "demo-collector"):
                    without_rate_limit(house, recipient)
                async with house.gateway() as gateway, bare_client(folder / "ca.pem") as client:
                    return [
                        await _row("online_added_ms_p50", gateway, client, url, seen, "score"),
                        await _row("online_added_ms_p50_sealed", gateway, client, url, seen, "handover"),
                        await _row("online_added_ms_p50_whole_report", gateway, client, url, seen, "report"),
                    ]


def without_rate_limit(house: House, recipient: str) -> None:
    path = house.config / "recipients" / f"{recipient}.toml"
    kept = (line for line in path.read_text().splitlines() if not line.startswith(("per_second", "burst")))
    path.write_text("\n".join(kept))


async def _row(
    name: str, gateway: Gateway, client: httpx.AsyncClient, url: str, seen: dict[str, Any], endpoint: str
) -> Row:
    sealed, _ = seen[endpoint]
    caller = sealed.intent.decision.asked.caller
    operation = sealed.intent.decision.asked.operation
    asked = handover_document(PERSON) if endpoint == "handover" else request_document(PERSON, operation=operation)
    body = orjson.dumps(asked)

    async def bare() -> None:
        async with client.stream(
            "POST", f"{url}/{endpoint}", content=sealed.body, headers={"content-type": sealed.content_type}
        ) as response:
            await response.aread()

    async def gated() -> None:
        await gateway.disclose(caller, request(orjson.loads(body)))

    bare_ms, gated_ms = await alternately(bare, gated)
    low, high = statistics.median(bare_ms), statistics.median(gated_ms)
    return {
        "name": name,
        "value": round(high - low, 3),
        "unit": "ms",
        "goal": 1.0,
        "baseline": round(low, 3),
    }
