"""A bureau that never finishes: each gap is shorter than a read time-out, yet the whole wait is limited."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import pytest
from aiohttp import web

from harness import PEOPLE, House, give_consent, request, request_document
from qaqpa import errors
from qaqpa.errors import ThirdPartyError
from qaqpa.testing.certificates import CertificateAuthority

PERSON = PEOPLE[0]
FCB = "recipients/first-credit-bureau.toml"
GAP_S = 0.2
CONNECT_S, ANSWER_S = 1, 1
GIVEN_UP_WITHIN_S = 4
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def drip_body(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/xml; charset=utf-8"})
    with contextlib.suppress(ConnectionError):  # the client had enough
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(GAP_S)
    return response


async def never_answer(request: web.Request) -> web.StreamResponse:
    await request.read()
    while request.transport is not None:  # noqa: ASYNC110 - aiohttp has no event for this
        await asyncio.sleep(GAP_S)
    return web.Response()


async def drip_head(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(GAP_S)


async def drip_interim(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(GAP_S)


async def listen_only(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(1024):
        pass


@asynccontextmanager
async def aiohttp_server(handler: Handler, authority: CertificateAuthority) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/report", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.context())
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(talk: Talk, authority: CertificateAuthority | None) -> AsyncIterator[int]:
    """A server below HTTP; without an authority also below TLS."""
    talks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            talks.discard(task)
            if isinstance(writer.transport, asyncio.WriteTransport):
                writer.transport.abort()

    context = authority.context() if authority is not None else None
    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@pytest.fixture
def authority(house: House, tmp_path: Path) -> CertificateAuthority:
    """The one whose certificates the house now takes for the bureau's."""
    made = CertificateAuthority()
    file = tmp_path / "drip-ca.pem"
    file.write_bytes(made.certificate)
    house.environ["QAQPA_FCB_CA"] = str(file)
    house.edit(
        FCB,
        ("connect_timeout_s = 3", f"connect_timeout_s = {CONNECT_S}"),
        ("answer_timeout_s = 10", f"answer_timeout_s = {ANSWER_S}"),
    )
    return made


async def given_up(house: House, port: int) -> tuple[ThirdPartyError, float]:
    """Ask the server on `port`: the error, and after how long it came. The outcome and its code are in the ledger."""
    house.environ["QAQPA_FCB_REPORT_URL"] = f"https://localhost:{port}/report"
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        started = perf_counter()
        with pytest.raises(ThirdPartyError) as raised:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        took = perf_counter() - started
        error = raised.value
        [outcome] = house.entries(gateway, "outcome")
        expected = "not_sent" if isinstance(error, errors.NotSent) else "unknown"
        assert (outcome["result"], outcome["code"]) == (expected, error.code)
        assert outcome["intent"] == error.disclosure
        assert house.fcb.connections == 0
        house.verified(gateway)
    return error, took


@pytest.mark.parametrize("handler", [drip_body, never_answer])
async def test_an_answer_without_end_is_given_up(
    house: House, authority: CertificateAuthority, handler: Handler
) -> None:
    arrived = 0

    async def counted(asked: web.Request) -> web.StreamResponse:
        nonlocal arrived
        arrived += 1
        return await handler(asked)

    async with aiohttp_server(counted, authority) as port:
        error, took = await given_up(house, port)
    assert type(error) is errors.AnswerTimeout
    assert ANSWER_S * 0.9 < took < GIVEN_UP_WITHIN_S
    assert arrived == 1  # a query is billed: it is not asked again


@pytest.mark.parametrize("talk", [drip_head, drip_interim, listen_only])
async def test_an_answer_that_never_begins_is_given_up(
    house: House, authority: CertificateAuthority, talk: Talk
) -> None:
    async with raw_server(talk, authority) as port:
        error, took = await given_up(house, port)
    assert type(error) is errors.AnswerTimeout
    assert ANSWER_S * 0.9 < took < GIVEN_UP_WITHIN_S


async def test_a_peer_that_accepts_and_never_shakes_hands_got_nothing(
    house: House, authority: CertificateAuthority
) -> None:
    house.edit(FCB, ("attempts = 3", "attempts = 1"))
    async with raw_server(listen_only, None) as port:
        error, took = await given_up(house, port)
    assert type(error) is errors.ConnectFailed
    assert took < GIVEN_UP_WITHIN_S
