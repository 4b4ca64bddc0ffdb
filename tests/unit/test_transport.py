"""The door: what is written to the wire, what each failure is called, and when a message may be tried again."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import certifi
import httpx
import pytest
import respx

from qaqpa import errors
from qaqpa.config.base import HttpsChannel
from qaqpa.config.recipients import Breaker as BreakerConfig
from qaqpa.config.recipients import Limits as LimitsConfig
from qaqpa.config.recipients import Retry
from qaqpa.errors import (
    AddressRefused,
    AnswerTimeout,
    AnswerTooLarge,
    CircuitOpen,
    ConnectFailed,
    ConnectionLost,
    NotConfigured,
    NotSent,
    PeerRefused,
    QaqpaError,
    RateLimited,
    ThirdPartyError,
    Unsettled,
)
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.disclosure import Intent, Message, Reply, Sealed
from qaqpa.model.identifiers import CallerId, DisclosureId, RecipientId, SubjectId
from qaqpa.model.words import SealKind, Words
from qaqpa.transport import Transport
from qaqpa.transport.https import Addresses, Https
from qaqpa.transport.limits import Breaker, BreakerState, Limits
from qaqpa.transport.transport import Line, may_retry

URL = "https://bureau.kz/report?v=1"
OK = Reply(200, b"ok")


def sealed(
    *, idempotent: bool = False, follow_up: bool = False, body: bytes = b"\x00body\xff", **headers: str
) -> Sealed:
    asked = Asked(CallerId("c"), RecipientId("bureau"), "o", "p")
    permit = GuardResult("g", "1.1", Words(ru="р", kk="к", en="e"), Result.PERMIT)
    intent = Intent(
        DisclosureId("0198-1"), 0, SubjectId("s"), Decision(asked, datetime.now(UTC), (permit,)),
        Message(b"", "text/plain", "report"),
    )  # fmt: skip
    intent = intent.following(intent.message) if follow_up else intent
    return Sealed(intent, SealKind.TLS_ONLY, body, "text/xml; charset=utf-8", headers, idempotent=idempotent)


def https(transport: httpx.AsyncBaseTransport, **config: Any) -> Https:
    channel = HttpsChannel(kind="https", endpoints={"report": URL}, ca=certifi.where(), **config)
    return Https(channel, Addresses({"report": URL}, (), certifi.where(), None), transport=transport)


@pytest.fixture
def router() -> respx.MockRouter:
    return respx.MockRouter(using=None, assert_all_called=False)


@pytest.fixture
async def channel(router: respx.MockRouter) -> AsyncIterator[Https]:
    async def handler(request: httpx.Request) -> httpx.Response:
        answer = await router.async_handler(request)  # its body is read already; a wire's is not

        async def body() -> AsyncIterator[bytes]:
            yield answer.content

        return httpx.Response(answer.status_code, headers=answer.headers, content=body())

    made = https(httpx.MockTransport(handler), max_answer_bytes=100)
    yield made
    await made.close()


# --- what is written -------------------------------------------------------------------------------


async def test_what_was_sealed_is_sent_as_it_is(router: respx.MockRouter, channel: Https) -> None:
    route = router.post(URL).respond(201, content=b"<a/>", headers={"content-type": "text/xml"})
    assert await channel.send(sealed(SOAPAction='"Get"')) == Reply(201, b"<a/>", "text/xml")
    sent = route.calls.last.request
    assert (sent.method, str(sent.url), sent.content) == ("POST", URL, b"\x00body\xff")
    assert dict(sent.headers) == {
        "host": "bureau.kz", "accept": "*/*", "accept-encoding": "identity",
        "user-agent": "qaqpa", "content-type": "text/xml; charset=utf-8", "soapaction": '"Get"', "content-length": "6",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("idempotent", "follow_up", "key"), [(True, False, "0198-1"), (False, False, None), (True, True, None)]
)
async def test_only_an_idempotent_message_carries_its_key_and_no_later_one_of_its_dialogue(
    router: respx.MockRouter, channel: Https, idempotent: bool, follow_up: bool, key: str | None
) -> None:
    route = router.post(URL).respond(200)
    await channel.send(sealed(idempotent=idempotent, follow_up=follow_up))
    assert route.calls.last.request.headers.get("idempotency-key") == key


async def test_a_header_of_the_message_does_not_double_the_content_type(
    router: respx.MockRouter, channel: Https
) -> None:
    route = router.post(URL).respond(200)
    await channel.send(sealed(**{"Content-Type": "text/plain"}))
    assert route.calls.last.request.headers.get_list("content-type") == ["text/xml; charset=utf-8"]


async def test_a_cookie_that_came_with_one_answer_does_not_join_the_next_person_to_it(
    router: respx.MockRouter, channel: Https
) -> None:
    route = router.post(URL).respond(200, headers={"set-cookie": "visitor=1; Path=/; Secure"})
    for _ in range(2):
        await channel.send(sealed())
    assert "cookie" not in route.calls.last.request.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_handed_back_and_not_followed(
    router: respx.MockRouter, channel: Https, status: int
) -> None:
    router.post(URL).respond(status, headers={"location": "https://elsewhere.kz/"})
    elsewhere = router.route(host="elsewhere.kz").respond(200)
    assert (await channel.send(sealed())).status == status
    assert not elsewhere.called


@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False), (100_000, False)])
async def test_an_answer_has_a_largest_size(router: respx.MockRouter, channel: Https, size: int, fits: bool) -> None:
    router.post(URL).respond(200, content=b"x" * size)
    if fits:
        assert len((await channel.send(sealed())).body) == size
    else:
        with pytest.raises(AnswerTooLarge, match=r"max_answer_bytes \(100\)"):
            await channel.send(sealed())


# --- what failures are called ----------------------------------------------------------------------


class Raising(httpx.AsyncBaseTransport):
    """A wire that fails before there is an answer, or half-way through it."""

    def __init__(self, error: BaseException, *, half_way: bool = False) -> None:
        self.error, self.half_way = error, half_way

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.half_way:
            raise self.error

        async def half() -> AsyncIterator[bytes]:
            yield b"half"
            raise self.error

        return httpx.Response(200, content=half())


def tree(root: type[BaseException]) -> Iterator[type[BaseException]]:
    yield root
    for each in root.__subclasses__():
        yield from tree(each)


HTTPX = [each for _, each in inspect.getmembers(httpx, inspect.isclass) if issubclass(each, Exception)]
AIOHTTP = list(tree(aiohttp.ClientError))
FOREIGN = sorted({*HTTPX, *AIOHTTP, OSError, ConnectionResetError, TimeoutError}, key=str)


async def called(error: BaseException, *, half_way: bool) -> type[BaseException]:
    channel = https(Raising(error, half_way=half_way))
    try:
        await channel.send(sealed())
    except Exception as said:  # noqa: BLE001 - whatever it is, it is what the test asks about
        return type(said)
    finally:
        await channel.close()
    raise AssertionError("nothing was said")


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda each: f"{each.__module__.split('.')[0]}.{each.__name__}")
async def test_every_exception_of_the_libraries_is_mapped(foreign: type[BaseException]) -> None:
    assert issubclass(await called(foreign.__new__(foreign), half_way=False), ThirdPartyError)


async def test_once_an_answer_has_begun_nothing_is_called_not_sent() -> None:
    said = {each: await called(each.__new__(each), half_way=True) for each in FOREIGN}
    assert {each.__name__: name for each, name in said.items() if not issubclass(name, Unsettled)} == {}


def test_the_trees_that_are_walked_are_not_empty() -> None:
    assert {httpx.InvalidURL, httpx.ReadError, httpx.StreamClosed} < set(HTTPX) and len(AIOHTTP) > 15


AFTER_WRITING = [
    httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError,
    httpx.DecodingError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.SocketTimeoutError,
]  # fmt: skip


@pytest.mark.parametrize("foreign", AFTER_WRITING, ids=lambda each: each.__name__)
async def test_what_can_only_happen_after_writing_is_never_called_not_sent(foreign: type[BaseException]) -> None:
    assert issubclass(await called(foreign.__new__(foreign), half_way=False), Unsettled)


def test_every_third_party_error_says_whether_it_left() -> None:
    for error in tree(ThirdPartyError):
        assert error is ThirdPartyError or error.__module__ == errors.__name__
        assert not issubclass(error, NotSent) or not issubclass(error, Unsettled)


# --- when it may be tried again --------------------------------------------------------------------

RETRY = {
    ConnectFailed: (True, True),
    NotSent: (True, True),
    CircuitOpen: (False, False),
    RateLimited: (False, False),
    PeerRefused: (False, False),
    AddressRefused: (False, False),
    Unsettled: (False, True),
    AnswerTimeout: (False, True),
    ConnectionLost: (False, True),
    errors.Rejected: (False, False),
    errors.WrongSubject: (False, False),
    NotConfigured: (False, False),
    errors.StoreUnavailable: (False, False),
    ValueError: (False, False),
    asyncio.CancelledError: (False, False),
}


@pytest.mark.parametrize(("error", "may"), RETRY.items(), ids=lambda each: getattr(each, "__name__", None))
def test_only_what_surely_did_not_leave_or_counts_once_is_tried_again(
    error: type[BaseException], may: tuple[bool, bool]
) -> None:
    assert (may_retry(error("x"), idempotent=False), may_retry(error("x"), idempotent=True)) == may


class Scripted:
    """A channel that does as it is told, then answers."""

    def __init__(self, *script: BaseException | Reply) -> None:
        self.script, self.sent = list(script), 0

    async def send(self, sealed: Sealed) -> Reply:
        self.sent += 1
        step = self.script.pop(0) if self.script else OK
        if isinstance(step, BaseException):
            raise step
        return step

    async def close(self) -> None:
        self.sent = -1


class Ticking:
    """A monotonic clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def never(_recipient: str) -> bool:
    return False


def transport(
    channel: Scripted, *, clock: Ticking | None = None, attempts: int = 3, failures: int = 99, **limits: Any
) -> Transport:
    ticking = clock or Ticking()
    line = Line(
        channel,
        Limits("bureau", LimitsConfig(**limits), ticking),
        Breaker("bureau", BreakerConfig(failures=failures, open_s=30), ticking),
        Retry(attempts=attempts, first_wait_s=0.001, longest_wait_s=0.001),
    )
    return Transport({"bureau": line}, is_suspended=never)


def lost() -> ConnectionLost:
    return ConnectionLost("x")


def away() -> ConnectFailed:
    return ConnectFailed("x")


# script, idempotent → what comes of it, how often it was sent
SENDING: dict[str, tuple[list[BaseException | Reply], bool, Any, int]] = {
    "an answer at once": ([OK], False, OK, 1),
    "not sent twice, then an answer": ([away(), away(), OK], False, OK, 3),
    "not sent three times": ([away(), away(), away(), OK], False, ConnectFailed, 3),
    "doubt is not tried again": ([lost(), OK], False, ConnectionLost, 1),
    "doubt after not sent is not tried again": ([away(), lost(), OK], False, ConnectionLost, 2),
    "doubt is tried again where repeating counts once": ([lost(), lost(), OK], True, OK, 3),
    "doubt wins over a later not sent": ([lost(), away(), away()], True, ConnectionLost, 3),
    "doubt wins over a later refusal of the peer": ([lost(), PeerRefused("x"), OK], True, ConnectionLost, 2),
    "doubt wins over not sent before and after": ([away(), AnswerTimeout("x"), away()], True, AnswerTimeout, 3),
    "a wrong peer is not tried again": ([PeerRefused("x"), OK], True, PeerRefused, 1),
    "a wrong address is not tried again": ([AddressRefused("x"), OK], True, AddressRefused, 1),
    "a server error is an answer": ([Reply(500, b""), OK], True, Reply(500, b""), 1),
    "something else is not tried again": ([ValueError("x"), OK], True, ValueError, 1),
    "a cancellation passes": ([asyncio.CancelledError(), OK], True, asyncio.CancelledError, 1),
}


@pytest.mark.parametrize(("script", "idempotent", "end", "sent"), SENDING.values(), ids=SENDING.keys())
async def test_attempts(script: list[BaseException | Reply], idempotent: bool, end: Any, sent: int) -> None:
    channel = Scripted(*script)
    sending = transport(channel).send(sealed(idempotent=idempotent))
    if isinstance(end, Reply):
        assert await sending == end
    else:
        with pytest.raises(end):
            await sending
    assert channel.sent == sent


async def test_one_attempt_means_one() -> None:
    channel = Scripted(away(), OK)
    with pytest.raises(ConnectFailed):
        await transport(channel, attempts=1).send(sealed())
    assert channel.sent == 1


async def test_the_breaker_opens_and_then_lets_one_try_through() -> None:
    clock, channel = Ticking(), Scripted(*[lost() for _ in range(3)])
    door = transport(channel, clock=clock, failures=3)
    for _ in range(3):
        assert door.breaker_state("bureau") is BreakerState.CLOSED
        with pytest.raises(ConnectionLost):
            await door.send(sealed())
    assert door.breaker_state("bureau") is BreakerState.OPEN
    with pytest.raises(CircuitOpen, match="ask again later"):
        await door.send(sealed())
    assert channel.sent == 3
    clock.now += 30
    assert door.breaker_state("bureau") is BreakerState.HALF_OPEN
    results = await asyncio.gather(door.send(sealed()), door.send(sealed()))
    assert (results, door.breaker_state("bureau")) == ([OK, OK], BreakerState.CLOSED)


async def test_a_breaker_that_opens_between_attempts_does_not_hide_a_doubt() -> None:
    channel = Scripted(lost(), lost())
    with pytest.raises(ConnectionLost):
        await transport(channel, failures=1).send(sealed(idempotent=True))
    assert channel.sent == 1


async def test_server_errors_open_the_breaker_and_other_answers_close_it() -> None:
    channel = Scripted(Reply(503, b""), Reply(404, b""), Reply(503, b""), Reply(500, b""))
    door = transport(channel, failures=2)
    states = []
    for _ in range(4):
        await door.send(sealed())
        states.append(door.breaker_state("bureau"))
    assert states == [BreakerState.CLOSED] * 3 + [BreakerState.OPEN]


async def test_the_rate_limit_refuses_before_anything_is_sent_and_is_no_failure_of_the_recipient() -> None:
    clock, channel = Ticking(), Scripted()
    door = transport(channel, clock=clock, failures=1, per_second=2, burst=1, wait_s=0)
    await door.send(sealed())
    with pytest.raises(RateLimited):
        await door.send(sealed())
    assert (channel.sent, door.breaker_state("bureau")) == (1, BreakerState.CLOSED)
    clock.now += 0.5
    await door.send(sealed())
    assert channel.sent == 2


async def test_a_recipient_without_a_line_is_not_configured() -> None:
    door = transport(Scripted())
    door.require("bureau")
    assert door.breaker_state("elsewhere") is None
    with pytest.raises(NotConfigured, match="qaqpa check"):
        door.require("elsewhere")
    assert issubclass(NotConfigured, QaqpaError)
