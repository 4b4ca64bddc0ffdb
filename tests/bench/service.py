"""The online service beside a bare pass-through of the same bytes on the same stack, over real sockets and TLS.

Four processes: the load (this one), the server under test (granian), the third party. Each server is asked in turn, in
the same run, three times; ratios are of the medians.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import orjson
from online import PERSON, captured, fast_third_party, without_rate_limit

from harness import House, built, give_consent, handover_document, request_document
from qaqpa.service import tokens
from servers import Server

Row = dict[str, object]
SECONDS = float(os.environ.get("QAQPA_BENCH_SECONDS", "3"))
ROUNDS = 3


class Load:
    """Requests over kept connections, as little as a client can do."""

    def __init__(self, port: int, path: str, token: str, body: bytes) -> None:
        self._port = port
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nidempotency-key: "
        ).encode()
        self._body = b"\r\n\r\n" + body
        self._number = 0

    async def run(self, connections: int, seconds: float) -> tuple[float, list[float]]:
        """Requests a second, and how long each took in milliseconds."""
        taken: list[float] = []
        ends = time.perf_counter() + seconds
        started = time.perf_counter()
        await asyncio.gather(*(self._ask(ends, taken) for _ in range(connections)))
        return len(taken) / (time.perf_counter() - started), taken

    async def _ask(self, ends: float, taken: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while (started := time.perf_counter()) < ends:
            self._number += 1
            writer.write(self._head + b"%d-%d" % (os.getpid(), self._number) + self._body)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server answered {head[:200]!r}")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            taken.append((time.perf_counter() - started) * 1000)
        writer.close()


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def running(*command: str, port: int, environ: dict[str, str]) -> AsyncIterator[int]:
    """A server process, once it answers."""
    # Its log, a line for each disclosure, is written as in service and read by nobody.
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environ}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    writer.close()
                    break
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def compared(loads: dict[str, Load], connections: int) -> dict[str, tuple[float, float]]:
    """For each, the median throughput and the median latency of all rounds, asked in turn."""
    paces: dict[str, list[float]] = {name: [] for name in loads}
    times: dict[str, list[float]] = {name: [] for name in loads}
    for load in loads.values():
        await load.run(connections, 0.5)
    for _ in range(ROUNDS):
        for name, load in loads.items():
            pace, taken = await load.run(connections, SECONDS)
            paces[name].append(pace)
            times[name] += taken
    return {name: (statistics.median(paces[name]), statistics.median(times[name])) for name in loads}


async def token_for(house: House, caller: str) -> str:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        return (
            await tokens.make_for(
                gateway, caller, caller="compliance", person="bench", reason="bench", lifetime=timedelta(days=1)
            )
        )[1]


async def service_rows() -> list[Row]:
    """The three online ratios, and the others beside them."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(folder / "pg")
        try:
            for engine, url in (("sqlite", None), ("postgresql", server.database())):
                (folder / engine).mkdir()
                rows += await _engine_rows(folder / engine, engine, url)
        finally:
            server.server.cleanup()
    return rows


async def _engine_rows(folder: Path, engine: str, url: str | None) -> list[Row]:
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(built(folder, url))
        seen = await captured(house)
        third = await stack.enter_async_context(fast_third_party(folder, seen))
        house.environ |= {
            "QAQPA_FCB_SCORE_URL": f"{third}/score", "QAQPA_COLLECTOR_URL": f"{third}/handover",
            "QAQPA_FCB_CA": str(folder / "ca.pem"), "QAQPA_COLLECTOR_CA": str(folder / "ca.pem"),
        }  # fmt: skip
        for recipient in ("first-credit-bureau", "demo-collector"):
            without_rate_limit(house, recipient)
        scoring, collections = await token_for(house, "loan-scoring"), await token_for(house, "collections")
        kinds: dict[str, tuple[str, bytes, bytes]] = {
            "": (collections, orjson.dumps(handover_document(PERSON)), seen["handover"][0].body),
            "_unsealed": (scoring, orjson.dumps(request_document(PERSON, operation="score")), seen["score"][0].body),
        }
        rows: list[Row] = []
        for workers in (1, 2):
            async with servers_of(house, third, folder, workers) as ports:
                for suffix, (token, document, sent) in kinds.items():
                    path = "/handover" if not suffix else "/score"
                    loads = {
                        "qaqpa": Load(ports["qaqpa"], "/v1/disclosures", token, document),
                        "aiohttp": Load(ports["aiohttp"], path, token, sent),
                        "httpx": Load(ports["httpx"], path, token, sent),
                    }
                    name = suffix if engine == "sqlite" else f"{suffix}_{engine}"
                    many = await compared(loads, 32)
                    if workers == 1:
                        rows += _rows(name, many, await compared(loads, 1))
                    elif not suffix:
                        rows.append(_row("online_vs_same_stack_2_workers" + name, many, "aiohttp"))
        return rows


@asynccontextmanager
async def servers_of(house: House, third: str, folder: Path, workers: int) -> AsyncIterator[dict[str, int]]:
    """The gate and both bare pass-throughs, each with as many processes; their ports."""
    ports = {name: free_port() for name in ("qaqpa", "aiohttp", "httpx")}
    serve = ("-m", "qaqpa", "serve", "--config", str(house.config), "--home", str(house.home))
    listen = ("--listen", f"127.0.0.1:{ports['qaqpa']}", "--workers", str(workers))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            running(sys.executable, *serve, *listen, port=ports["qaqpa"], environ=house.environ)
        )
        for name in ("aiohttp", "httpx"):
            bare = str(Path(__file__).parent / "pass_through.py")
            environ = {"BARE_URL": third, "BARE_CA": str(folder / "ca.pem"), "BARE_STACK": name}
            environ["BARE_WORKERS"], port = str(workers), ports[name]
            await stack.enter_async_context(running(sys.executable, bare, str(port), port=port, environ=environ))
        yield ports


def _row(name: str, many: dict[str, tuple[float, float]], base: str) -> Row:
    ours, bare = many["qaqpa"][0], many[base][0]
    unit = f"ratio; {ours:.0f}/s, 32 connections"
    return {"name": name, "value": round(ours / bare, 3), "unit": unit, "goal": None, "baseline": round(bare, 3)}


def _rows(suffix: str, many: dict[str, tuple[float, float]], one: dict[str, tuple[float, float]]) -> list[Row]:
    is_goal = not suffix
    ours, same, plain = many["qaqpa"][0], many["aiohttp"][0], many["httpx"][0]

    def make(name: str, value: float, unit: str, goal: float | None, base: float) -> Row:
        return {
            "name": name + suffix, "value": round(value, 3), "unit": unit, "goal": goal if is_goal else None,
            "baseline": round(base, 3),
        }  # fmt: skip

    return [
        make("online_vs_same_stack", ours / same, f"ratio; {ours:.0f}/s, 32 connections", 0.5, same),
        make("online_vs_httpx", ours / plain, "ratio", 3.0, plain),
        make("online_added_ms_p50", one["qaqpa"][1] - one["aiohttp"][1], "ms, 1 connection", 1.0, one["aiohttp"][1]),
        make("online_vs_same_stack_1", one["qaqpa"][0] / one["aiohttp"][0], "ratio, 1 connection", None,
             one["aiohttp"][0]),
    ]  # fmt: skip


if __name__ == "__main__":
    for each in asyncio.run(service_rows()):
        print(each)  # noqa: T201
