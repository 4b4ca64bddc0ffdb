"""HTTPS to one recipient: its addresses pinned, its peer proved, nothing followed, nothing taken from the environment.

Whether a message surely did not leave is never inferred from the class of an exception: httpx-aiohttp reports a server
that hung up after the request was written as a connect time-out. A trace notes when a connection was handed to
the request; before that nothing was written, after that everything is doubtful.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from qaqpa.config.base import HttpsChannel
from qaqpa.errors import (
    AddressRefused,
    AnswerTimeout,
    AnswerTooLarge,
    ConnectFailed,
    ConnectionLost,
    NotConfigured,
    PeerRefused,
    ThirdPartyError,
)
from qaqpa.model.disclosure import Reply, Sealed
from qaqpa.transport.peer import HOST_NAME, AddressForbidden, CheckedResolver, Network, is_address, tls_context

USER_AGENT = "qaqpa"
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": USER_AGENT}
_FOREIGN = (
    httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, aiohttp.ClientError, OSError,
    TimeoutError, ValueError,
)  # fmt: skip
_SLOWEST = 16 * 1024
"""Bytes in a second: a way that is slower for long is given up."""
_KEEPALIVE_S = 4.0  # shorter than servers keep theirs, so that a request is not written into a closing connection


@dataclass(slots=True)
class _Wire:
    """What one attempt has done to the wire."""

    has_connection: bool = False


_wire: ContextVar[_Wire] = ContextVar("qaqpa_wire")


async def _connection_ready(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: object) -> None:
    wire = _wire.get(None)
    if wire is not None:
        wire.has_connection = True


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_connection_ready)
    trace.on_connection_reuseconn.append(_connection_ready)
    return trace


@dataclass(frozen=True, slots=True)
class Addresses:
    """A channel's configuration with every reference read."""

    endpoints: Mapping[str, str]
    networks: tuple[Network, ...]
    ca: str
    client_certificate: str | None


def pinned_url(name: str, text: str, resolver: CheckedResolver) -> httpx.URL:
    """The URL of an endpoint. Raises NotConfigured for anything but https to a host that may be asked."""
    try:
        parts = urlsplit(text)
        url = httpx.URL(text)
        port = parts.port  # ValueError when it is none
    except (ValueError, httpx.InvalidURL):
        parts, url, port = urlsplit(""), httpx.URL(""), None
    host = parts.hostname or ""
    named = HOST_NAME.fullmatch(host) is not None and host == url.host
    if parts.scheme != "https" or "@" in parts.netloc or parts.fragment or port == 0 or not (named or is_address(host)):
        raise NotConfigured(
            f"channel.endpoints.{name} must be https://host[:port]/path with a plain host name, no user and no fragment"
        )
    if not named:
        # An address instead of a name is never resolved, so it is checked here, once.
        try:
            resolver.check(host)
        except AddressForbidden:
            raise NotConfigured(
                f"channel.endpoints.{name} is a private or loopback address that channel.private_networks does not list"
            ) from None
    return url


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer with its header fields, whose names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    """At most one byte more than the largest allowed."""


async def _watched(blocks: AsyncIterator[bytes], deadline: asyncio.Timeout, limit_s: float) -> AsyncIterator[bytes]:
    """The blocks; each that is asked for shows that the one before was taken."""
    loop = asyncio.get_running_loop()
    async for block in blocks:
        deadline.reschedule(loop.time() + limit_s)
        yield block


async def _beginning(response: httpx.Response, largest: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > largest:
            break
    return bytes(body[: largest + 1])


class Https:
    """The channel to one recipient."""

    def __init__(
        self, config: HttpsChannel, addresses: Addresses, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """`transport` replaces the wire in tests (a mock); everything else is the same."""
        self._config = config
        self._resolver = CheckedResolver(addresses.networks)
        self._urls = {name: pinned_url(name, url, self._resolver) for name, url in addresses.endpoints.items()}
        self._tls = tls_context(addresses.ca, config.key_pins, addresses.client_certificate)
        self._replaced = transport
        self._wire: httpx.AsyncBaseTransport | None = None
        times = httpx.Timeout(
            connect=config.connect_timeout_s,
            read=config.answer_timeout_s,
            write=config.answer_timeout_s,
            pool=None,  # limits above decide how many run at once
        )
        self._extensions = {"timeout": times.as_dict()}

    def _open(self) -> httpx.AsyncBaseTransport:
        """httpx's transport without its client: nobody is there who could follow a redirect, keep a cookie (it would
        join two people) or look at the environment."""
        if self._wire is None:
            self._wire = self._replaced or AiohttpTransport(client=self._session)
        return self._wire

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, ssl=self._tls, limit=0, keepalive_timeout=_KEEPALIVE_S, use_dns_cache=False
        )
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_trace()],
            auto_decompress=False,
            max_line_size=8190,
        )

    async def close(self) -> None:
        """Close idle connections."""
        if self._wire is not None:
            await self._wire.aclose()
            self._wire = None

    async def send(self, sealed: Sealed) -> Reply:
        """Send once and return the whole answer. Raises a kind of NotSent or Unsettled."""
        headers = {name.lower(): value for name, value in sealed.headers.items()}
        # A follow-up may be repeated too, but is not the same message as the one before it: who answers a key with the
        # first answer would tell for ever that nothing is there yet.
        if sealed.idempotent and not sealed.intent.is_follow_up:
            headers["idempotency-key"] = sealed.intent.id
        return await self._post(sealed.intent.message.endpoint, sealed.body, sealed.content_type, headers)

    async def post(
        self, endpoint: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send what is no disclosure: a checkpoint to a witness, an alert, what the operator's own signing service or
        loan system is asked.

        Raises a kind of NotSent or Unsettled.
        """
        return await self._post(endpoint, body, content_type, dict(headers or {}))

    async def get(self, endpoint: str) -> Reply:
        """Fetch what is public: an issuer's keys. Raises a kind of NotSent or Unsettled."""
        return await self._asked("GET", endpoint, b"", {})

    def beside(self, endpoint: str, location: str) -> str:
        """The address that an answer's Location names, relative to the endpoint. Raises ValueError unless it is on the
        endpoint's own host and port, by https: whoever answers cannot send us elsewhere."""
        pinned = self._urls[endpoint]
        try:
            found = pinned.join(location)
        except httpx.InvalidURL:
            raise ValueError("no address") from None
        same = (found.scheme, found.host, found.port) == (pinned.scheme, pinned.host, pinned.port)
        if not same or found.userinfo or found.fragment:
            raise ValueError("an address on another host")
        return str(found)

    def under(self, endpoint: str, name: str) -> str:
        """The address of `name`, a plain file name, below the endpoint's path."""
        pinned = self._urls[endpoint]
        return str(pinned.copy_with(path=f"{pinned.path.rstrip('/')}/{name}"))

    async def talk(
        self,
        method: str,
        endpoint: str,
        place: str = "",
        *,
        headers: Mapping[str, str],
        blocks: AsyncIterator[bytes] | None = None,
        size: int = 0,
        largest: int | None = None,
    ) -> Heard:
        """One exchange about a package, at `place` (as `beside` gives it) instead of the endpoint itself.

        `blocks` are the body, streamed, `size` bytes in all; the time allowed begins anew with each, and is longer for
        what the machine may have taken from us and not yet sent. Raises a kind of NotSent or Unsettled,
        and ValueError as `beside`.
        """
        url = httpx.URL(self.beside(endpoint, place))
        wire = _Wire()
        token = _wire.set(wire)
        limit_s = self._config.connect_timeout_s + self._config.answer_timeout_s + size / _SLOWEST
        times = self._extensions["timeout"] | {"read": limit_s, "write": limit_s}
        try:
            async with asyncio.timeout(limit_s) as deadline:
                content = b"" if blocks is None else _watched(blocks, deadline, limit_s)
                request = httpx.Request(
                    method, url, headers=_HEADERS | dict(headers), content=content, extensions={"timeout": times}
                )
                response = await self._open().handle_async_request(request)
                try:
                    body = await _beginning(response, largest or self._config.max_answer_bytes)
                    return Heard(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)
                finally:
                    await response.aclose()
        except ThirdPartyError:
            raise
        except _FOREIGN as error:
            raise self._mapped(error, wire) from error
        finally:
            _wire.reset(token)

    async def _post(self, endpoint: str, body: bytes, content_type: str, headers: dict[str, str]) -> Reply:
        return await self._asked("POST", endpoint, body, headers | {"content-type": content_type})

    async def _asked(self, method: str, endpoint: str, body: bytes, headers: dict[str, str]) -> Reply:
        # A replaced wire has no trace, so everything on it is doubtful.
        wire = _Wire(has_connection=self._replaced is not None)
        token = _wire.set(wire)
        limit_s = self._config.connect_timeout_s + self._config.answer_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._exchange(method, endpoint, body, headers)
        except ThirdPartyError:
            raise
        except _FOREIGN as error:
            raise self._mapped(error, wire) from error
        finally:
            _wire.reset(token)

    async def _exchange(self, method: str, endpoint: str, content: bytes, headers: dict[str, str]) -> Reply:
        request = httpx.Request(
            method, self._urls[endpoint], headers=_HEADERS | headers, content=content, extensions=self._extensions
        )
        response = await self._open().handle_async_request(request)
        try:
            _wire.get().has_connection = True
            largest = self._config.max_answer_bytes
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > largest:
                    raise AnswerTooLarge(f"the answer is larger than channel.max_answer_bytes ({largest})")
            return Reply(response.status_code, bytes(body), response.headers.get("content-type", ""))
        finally:
            await response.aclose()

    def _mapped(self, error: BaseException, wire: _Wire) -> ThirdPartyError:
        causes = _causes(error)
        timed_out = any(isinstance(cause, TimeoutError | httpx.TimeoutException) for cause in causes)
        if wire.has_connection:
            # In doubt it left (a response may have been lost on the way back).
            if timed_out and not any(isinstance(cause, aiohttp.ServerDisconnectedError) for cause in causes):
                limit_s = self._config.connect_timeout_s + self._config.answer_timeout_s
                return AnswerTimeout(
                    f"no whole answer: silent for {self._config.answer_timeout_s:g} s, or not done within {limit_s:g} s"
                )
            return ConnectionLost("the connection broke after the message may have been sent")
        if any(isinstance(cause, AddressForbidden) for cause in causes):
            return AddressRefused(
                "the recipient's name points to a private, loopback or reserved address that "
                "channel.private_networks does not list; nothing was sent"
            )
        if any(isinstance(cause, aiohttp.ClientSSLError | ssl.SSLError) for cause in causes):
            return PeerRefused(
                "the peer did not prove that it is the recipient (certificate, host name or key pin); nothing was sent"
            )
        return ConnectFailed("no connection could be made" + (" in time" if timed_out else "") + "; nothing was sent")


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        inner = getattr(following, "os_error", None)
        if isinstance(inner, BaseException):
            found.append(inner)
        following = following.__cause__ or following.__context__
    return found
