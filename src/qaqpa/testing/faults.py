"""What a third party may do wrong, and how each fault looks on the wire.

A fault spoils an answer on its way out; it never changes what the sandbox knows or has counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

_HUGE = 50 * 1024 * 1024
_CHUNK = 64 * 1024
_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a0 "lol">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
    + b"]><lolz>&a9;</lolz>"
)


class Fault(StrEnum):
    """What the third party does wrong. Unless said otherwise the call is acted upon: counted, and billed."""

    NONE = "none"
    HANG_BEFORE_ACCEPTING = "hang_before_accepting"
    """Never answers, and the request is not acted upon."""
    HANG_AFTER_ACCEPTING = "hang_after_accepting"
    """Acts, then never answers."""
    SLOW = "slow"
    """The true answer, after `delay` seconds."""
    SERVER_ERROR = "server_error"
    """HTTP 500 with an HTML page; not acted upon."""
    TRUNCATED = "truncated"
    """Half of the true answer, in an HTTP message that is correct for that half."""
    CUT_CONNECTION = "cut_connection"
    """Half of what Content-Length promises, then the TCP connection is aborted."""
    WRONG_SUBJECT = "wrong_subject"
    """A true answer about another person."""
    STALE = "stale"
    """The true answer that was given to the first call about the person; the true one where this is the first."""
    ENTITY_BOMB = "entity_bomb"
    """XML whose entities grow to gigabytes (billion laughs)."""
    HUGE = "huge"
    """50 MB, streamed."""
    REDIRECT = "redirect"
    """307 to `/redirected` on this sandbox, which logs whoever follows; not acted upon."""
    EXPIRED_CERTIFICATE = "expired_certificate"
    """The TLS handshake shows a certificate that expired."""
    WRONG_HOST_CERTIFICATE = "wrong_host_certificate"
    """The TLS handshake shows a certificate of another host."""
    GARBAGE = "garbage"
    """Bytes that look random."""


IN_HANDSHAKE = frozenset({Fault.EXPIRED_CERTIFICATE, Fault.WRONG_HOST_CERTIFICATE})
NOT_ACTED_UPON = frozenset({Fault.HANG_BEFORE_ACCEPTING, Fault.SERVER_ERROR, Fault.REDIRECT})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes = field(repr=False)
    content_type: str

    def response(self) -> web.Response:
        """It as aiohttp sends it."""
        return web.Response(status=self.status, body=self.body, headers={"Content-Type": self.content_type})


SERVER_ERROR = Answer(
    500,
    b"<!DOCTYPE html><html><head><title>Runtime Error</title></head>"
    b"<body><h1>Server Error in '/' Application.</h1></body></html>",
    "text/html; charset=utf-8",
)


async def deliver(request: web.Request, fault: Fault, true: Answer) -> web.StreamResponse:
    """Send the true answer, spoilt as `fault` says."""
    half = true.body[: len(true.body) // 2]
    match fault:
        case Fault.CUT_CONNECTION:
            response = await _stream(request, true, [half], promised=len(true.body) + 1)
            abort_connection(request)
            return response
        case Fault.HUGE:
            return await _stream(request, true, [b" " * _CHUNK] * (_HUGE // _CHUNK), promised=_HUGE)
        case Fault.TRUNCATED:
            true = Answer(true.status, half, true.content_type)
        case Fault.ENTITY_BOMB:
            true = Answer(200, _BOMB, "text/xml; charset=utf-8")
        case Fault.GARBAGE:
            noise = random.Random(7).randbytes(2048)  # noqa: S311 - noise, not a secret
            true = Answer(200, noise, true.content_type)
    return true.response()


async def _stream(request: web.Request, true: Answer, chunks: Iterable[bytes], *, promised: int) -> web.StreamResponse:
    response = web.StreamResponse(status=true.status, headers={"Content-Type": true.content_type})
    response.content_length = promised
    with contextlib.suppress(ConnectionError):  # the client had enough
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
    return response


def abort_connection(request: web.Request) -> None:
    """Cut the TCP connection without a TLS farewell."""
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.abort()
