"""The online service for a test: in this process, or as a server in a process of its own."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import resource
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from fastapi import FastAPI

from harness import PEOPLE, House, consent_document
from qaqpa.gateway import Gateway
from qaqpa.service import tokens as api_tokens
from qaqpa.service.app import make_app

PERSON = PEOPLE[0]


_drawn = api_tokens._drawn


@functools.cache
def _of_caller(_name: str) -> tuple[str, bytes]:
    """The same secret in every house of this process: its slow hash takes longer than most tests."""
    return _drawn()


async def tokens_for(house: House) -> dict[str, str]:
    """A token of each caller, made as `qaqpa token make` does."""
    made = {}
    async with house.gateway() as gateway:
        for name in gateway.setup.config.callers:
            with patch.object(api_tokens, "_drawn", functools.partial(_of_caller, name)):
                _, made[name] = await api_tokens.make_for(
                    gateway, name, caller="compliance", person="A", reason="tests", lifetime=timedelta(days=1)
                )
    return made


@dataclass
class Calls:
    """Requests to a service, wherever it runs."""

    house: House
    tokens: Mapping[str, str]
    client: httpx.AsyncClient

    async def ask(
        self,
        method: str,
        path: str,
        caller: str | None = "loan-scoring",
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """One request of `caller`; None shows no token."""
        sent = dict(headers or {})
        if caller is not None:
            sent.setdefault("authorization", f"Bearer {self.tokens[caller]}")
        if key is not None:
            sent["idempotency-key"] = key
        return await self.client.request(method, path, headers=sent, **more)

    async def disclose(self, document: Mapping[str, Any], key: str | None = None, **more: Any) -> httpx.Response:
        """A disclosure; under a key of its own, unless one is given."""
        return await self.ask("POST", "/v1/disclosures", key=key or secrets.token_hex(8), json=document, **more)

    async def consent(self, person: Any = PERSON, **changes: Any) -> httpx.Response:
        """Record a consent as scoring does."""
        answer = await self.ask("POST", "/v1/consents", json=consent_document(person, self.house.clock(), **changes))
        assert answer.status_code == 201, answer.text
        return answer


@dataclass
class Desk(Calls):
    """In this process."""

    app: FastAPI

    @property
    def gateway(self) -> Gateway:
        gateway: Gateway = self.app.state.desk.gateway
        return gateway


@asynccontextmanager
async def at_desk(house: House, tokens: Mapping[str, str], *, address: str = "192.0.2.7") -> AsyncIterator[Desk]:
    """The application with its lifespan run; requests seem to come from `address`."""
    app = make_app(house.setup(), clock=house.clock)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://gate.test") as client:
            yield Desk(house, tokens, client, app)


@dataclass
class Served(Calls):
    """A server in a process of its own."""

    port: int
    process: asyncio.subprocess.Process
    said: list[bytes]
    """What it wrote to its standard error."""

    async def stop(self, number: int = signal.SIGTERM, within_s: float = 40) -> int:
        """Ask it to stop; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), within_s)

    @property
    def workers(self) -> list[int]:
        """Its processes that serve."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children]

    @property
    def spawned(self) -> list[int]:
        """Its worker processes where there are several; beside them runs one that only cleans up."""
        return [worker for worker in self.workers if "spawn_main" in _of_process(worker, "cmdline")]

    @property
    def metrics_folder(self) -> Path:
        """Where its worker processes, where there are several, keep their metrics."""
        lines = _of_process(self.spawned[0], "environ").split("\0")
        return Path(next(line for line in lines if line.startswith("PROMETHEUS_MULTIPROC_DIR=")).partition("=")[2])

    @property
    def log(self) -> str:
        return b"".join(self.said).decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged; everything that it says on standard error is a line of its log."""
        return [json.loads(line) for line in self.said]


def _of_process(process: int, what: str) -> str:
    try:
        return Path(f"/proc/{process}/{what}").read_text()
    except OSError:
        return ""  # it ended meanwhile


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def limit_files(soft: int) -> None:
    """Let this process have so many open files, until it asks for more."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@asynccontextmanager
async def served(
    house: House,
    tokens: Mapping[str, str],
    *arguments: str,
    files: int | None = None,
    tls: ssl.SSLContext | None = None,
    port: int | None = None,
) -> AsyncIterator[Served]:
    """`qaqpa serve` until the block ends; it is ready when the block begins.

    It begins with a soft limit of `files`; it is asked with `tls`, where it has a certificate.
    """
    port = port or free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "qaqpa", "serve", "--listen", f"127.0.0.1:{port}", *arguments,
        env=os.environ | house.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        preexec_fn=None if files is None else lambda: limit_files(files),
    )  # fmt: skip
    said: list[bytes] = []

    async def listen() -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            said.append(line)

    listening = asyncio.create_task(listen())
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    try:
        async with httpx.AsyncClient(
            base_url=f"http{'s' if tls else ''}://127.0.0.1:{port}",
            timeout=60,
            limits=limits,
            trust_env=False,
            verify=tls or False,
        ) as client:
            made = Served(house, tokens, client, port, process, said)
            await ready(made)
            yield made
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 40)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: itself and its workers, nobody else
            await process.wait()
        await listening


async def ready(server: Served) -> None:
    """Wait until it says that it can serve."""
    async with asyncio.timeout(50):
        while True:
            assert server.process.returncode is None, server.log
            with suppress(httpx.TransportError):
                if (await server.client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
