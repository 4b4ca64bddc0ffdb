"""One gate asked over HTTP; see the package for what callers need to know."""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from types import TracebackType
from typing import ClassVar, Literal, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from qaqpa.client.answers import Consent, Decision, Disclosed, Handover, HandoverRows, Json
from qaqpa.client.failures import Awaiting, Unavailable
from qaqpa.client.reading import WAITING_HELPS_NOT, Failure, read, unreachable
from qaqpa.client.registers import Register, body_of, media_type

Content = bytes | AsyncIterator[bytes] | None
TokenSource = Callable[[], Awaitable[str]]
"""Gives the token to use now; asked before each attempt, so it should remember one while it is good."""
Answer = TypeVar("Answer", bound=BaseModel)

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often one request is tried."""

    attempts: int = 8
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    answer_timeout_s: float = 30.0
    """For one attempt; a bureau may take ten seconds and more."""
    deadline_s: float = 60.0
    """For all of them with the waits between. A Retry-After that goes beyond it is not waited for."""

    def wait_s(self, attempt: int, retry_after_s: float | None) -> float:
        """How long to wait after the attempt of this number, with jitter so that callers do not come in step."""
        jitter = random.random()  # noqa: S311 - nobody gains from guessing it
        if retry_after_s is not None:
            return retry_after_s + jitter * max(0.1, retry_after_s / 4)
        longest: float = min(self.longest_wait_s, self.first_wait_s * 2.0**attempt)
        return longest * (0.5 + jitter / 2)


class Client:
    """One gate. Safe for many tasks of one event loop; open one at the start and share it."""

    OPEN: ClassVar[str] = "the client is not open: use `async with Client(...) as gate`"

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_source: TokenSource | None = None,
        ca: str | PathLike[str] | None = None,
        certificate: tuple[str, str] | None = None,
        language: Literal["ru", "kk", "en"] | None = None,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`ca` is a PEM file of the authorities that sign the gate's certificate; `certificate` a PEM file of ours and
        one of its key, where the gate asks for it. Raises ValueError.
        """
        if (token is None) == (token_source is None):
            raise ValueError("give a token (`qaqpa token make`) or a token_source, and not both")
        at = httpx.URL(url)
        if at.scheme not in {"http", "https"} or not at.host:
            raise ValueError("url must be https://HOST:PORT")
        if at.scheme == "http" and at.host not in _LOOPBACK:
            raise ValueError("plain HTTP carries a token and a person's data in the open: use https://")
        self._url = at
        self._token, self._token_source = token, token_source
        self._ca, self._certificate, self._transport = ca, certificate, transport
        self._patience = patience or Patience()
        self._headers = {"accept": "application/json, application/problem+json"}
        if language is not None:
            self._headers["accept-language"] = language
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Client:
        verify: ssl.SSLContext | bool = False  # no TLS is spoken with this machine itself
        if self._url.scheme == "https":
            verify = ssl.create_default_context(cafile=self._ca)
            if self._certificate is not None:
                verify.load_cert_chain(*self._certificate)
        self._http = httpx.AsyncClient(
            base_url=self._url, verify=verify, transport=self._transport, trust_env=False, follow_redirects=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    # --- what can be asked -----------------------------------------------------------------------

    async def disclose(
        self,
        *,
        recipient: str,
        operation: str,
        purpose: str,
        data: Mapping[str, Json],
        consent: str | None = None,
        facts: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
        wait_s: float | None = None,
    ) -> Disclosed:
        """One person's data to one recipient for one purpose. Without a key one is made; every retry uses the same.

        Give a key of your own (the number of the application, say) where the process may be restarted in between.
        Where the recipient answers later, its answer is waited for until `wait_s` seconds after the call (the deadline
        of the patience where None; 0 does not wait), also over a gate that does not answer meanwhile. Then the last
        thing that it said is raised, Awaiting or Unavailable; Awaiting too where the token_source fails meanwhile.
        Every error of the gate says the key, and once the gate has said it the disclosure.
        """
        key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        document = _asked(recipient, operation, purpose, data, consent, facts)
        ends = time.monotonic() + (self._patience.deadline_s if wait_s is None else wait_s)
        try:
            return await self._ask(Disclosed, "POST", "/v1/disclosures", document, key=key)
        except Awaiting as error:
            waits = error
        return await self._awaited(waits, ends)

    async def _awaited(self, waits: Awaiting, ends: float) -> Disclosed:
        """The answer that comes later, asked for until `ends`; while the gate does not answer, too."""
        path = _place(waits.disclosure or "")
        last = Failure(waits, again=True)
        for attempt in itertools.count():
            wait = self._patience.wait_s(min(attempt, 16), last.retry_after_s)
            left = ends - time.monotonic() - wait
            if not last.again or left <= 0:
                break
            await asyncio.sleep(wait)
            try:
                found = await self._attempt(Disclosed, "GET", path, None, self._headers, left, repeatable=True)
            except Exception as error:  # the token_source's: it must not take along what is known of the disclosure
                raise waits from error
            if not isinstance(found, Failure):
                return found
            passes = isinstance(found.error, Awaiting | Unavailable) and found.error.code not in WAITING_HELPS_NOT
            last = replace(found, again=passes)
        last.error.idempotency_key, last.error.disclosure = waits.idempotency_key, waits.disclosure
        raise last.error

    async def disclosure(self, disclosure: str) -> Disclosed:
        """What a disclosure of this caller's was answered. Raises Awaiting while its recipient has not answered, and
        the error that it ended with."""
        return await self._ask(Disclosed, "GET", _place(disclosure))

    async def decide(
        self,
        *,
        recipient: str,
        operation: str,
        purpose: str,
        data: Mapping[str, Json],
        consent: str | None = None,
        facts: Mapping[str, Json] | None = None,
    ) -> Decision:
        """What would be decided; nothing is sent. A deny or a gap is an answer here and no error."""
        document = _asked(recipient, operation, purpose, data, consent, facts)
        return await self._ask(Decision, "POST", "/v1/decisions", document)

    async def record_consent(self, terms: Mapping[str, Json]) -> Consent:
        """Record a consent (94-V art. 8(4)). Tried again only while it surely did not arrive: there is no key."""
        return await self._ask(Consent, "POST", "/v1/consents", terms, repeatable=False)

    async def consent(self, consent: str) -> Consent:
        """A consent on record."""
        return await self._ask(Consent, "GET", f"/v1/consents/{quote(consent, safe='')}")

    async def withdraw_consent(self, consent: str, *, duties_met: bool) -> Consent:
        """Withdraw; pending while duties under the contract are open (7.1(3))."""
        path = f"/v1/consents/{quote(consent, safe='')}/withdrawal"
        return await self._ask(Consent, "POST", path, {"duties_met": duties_met})

    # --- handovers -------------------------------------------------------------------------------

    async def hand_over(
        self,
        register: Register,
        *,
        recipient: str,
        operation: str,
        purpose: str,
        kind: Literal["csv", "jsonl", "xlsx"] | None = None,
        encoding: Literal["utf-8", "windows-1251", "kz-1048"] | None = None,
        strict: bool = False,
        priority: int = 0,
        follows: str | None = None,
        idempotency_key: str | None = None,
        deadline_s: float = 3_600.0,
    ) -> Handover:
        """Hand a whole register over: a file by its path, or bytes. It is taken in when this returns; ask `handover`.

        `kind` is told from the file's name where it is not said. Contracts that tell a bureau of the change of creditor
        after an assignment name that one in `follows`. Without a key one is made; give one of your own (the register's
        number, say) where the process may be restarted in between. Raises ValueError, OSError.
        """
        key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        query = {"recipient": recipient, "operation": operation, "purpose": purpose, "priority": str(priority)}
        query["strict"] = "true" if strict else "false"
        if follows is not None:
            query["follows"] = follows
        return await self._ask(
            Handover, "POST", f"/v1/handovers?{urlencode(query)}", key=key, deadline_s=deadline_s,
            body=(media_type(register, kind, encoding), lambda: body_of(register)),
        )  # fmt: skip

    async def handover(self, handover: str) -> Handover:
        """Where a handover stands, and how fast it goes."""
        return await self._ask(Handover, "GET", f"/v1/handovers/{quote(handover, safe='')}")

    async def handover_rows(self, handover: str, *, after: int = 0) -> HandoverRows:
        """Rows that did not go or were rejected, a thousand at a time: `after` is `next_after` of the page before."""
        return await self._ask(HandoverRows, "GET", f"/v1/handovers/{quote(handover, safe='')}/rows?after={after:d}")

    async def cancel(self, handover: str) -> Handover:
        """Cancel a handover that is not sent. One that is being sent is stopped if it still can be: look again."""
        return await self._ask(Handover, "POST", f"/v1/handovers/{quote(handover, safe='')}/cancel")

    # --- asking ----------------------------------------------------------------------------------

    async def _ask(
        self,
        model: type[Answer],
        method: str,
        path: str,
        document: Mapping[str, Json] | None = None,
        *,
        key: str | None = None,
        repeatable: bool = True,
        body: tuple[str, Callable[[], Content]] | None = None,
        deadline_s: float | None = None,
    ) -> Answer:
        """`body` is a media type, and what makes the content anew for each attempt."""
        headers = dict(self._headers)
        make: Callable[[], Content] = lambda: None  # noqa: E731
        if document is not None:
            encoded = _encoded(document)
            body = ("application/json", lambda: encoded)
        if body is not None:
            headers["content-type"], make = body
        if key is not None:
            headers["idempotency-key"] = key
        ends = time.monotonic() + (self._patience.deadline_s if deadline_s is None else deadline_s)
        failure = Failure(unreachable("the deadline passed"), again=False)
        for attempt in range(self._patience.attempts):
            left = ends - time.monotonic()
            if left <= 0:
                break
            found = await self._attempt(model, method, path, make(), headers, left, repeatable=repeatable)
            if not isinstance(found, Failure):
                return found
            failure = found
            wait = self._patience.wait_s(attempt, found.retry_after_s)
            if not found.again or attempt + 1 == self._patience.attempts or wait >= ends - time.monotonic():
                break
            await asyncio.sleep(wait)
        failure.error.idempotency_key = key
        raise failure.error

    async def _attempt(
        self,
        model: type[Answer],
        method: str,
        path: str,
        content: Content,
        headers: Mapping[str, str],
        left_s: float,
        *,
        repeatable: bool,
    ) -> Answer | Failure:
        if self._http is None:
            raise RuntimeError(self.OPEN)
        token = self._token if self._token_source is None else await self._token_source()
        request = self._http.build_request(
            method, path, content=content, headers={**headers, "authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(min(self._patience.answer_timeout_s, left_s), connect=min(5.0, left_s)),
        )  # fmt: skip
        # What httpx raises holds the whole request: only its kind is kept, and nothing is chained to it.
        try:
            async with asyncio.timeout(left_s):
                answer = await self._http.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            lost, arrived = type(error).__name__, False
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            lost, arrived = type(error).__name__, True
        else:
            return read(model, answer, repeatable=repeatable)
        return Failure(unreachable(lost), again=repeatable or not arrived)


def _place(disclosure: str) -> str:
    return f"/v1/disclosures/{quote(disclosure, safe='')}"


def _asked(
    recipient: str,
    operation: str,
    purpose: str,
    data: Mapping[str, Json],
    consent: str | None,
    facts: Mapping[str, Json] | None,
) -> dict[str, Json]:
    document: dict[str, Json] = {"recipient": recipient, "operation": operation, "purpose": purpose, "data": data}
    if consent is not None:
        document["consent"] = consent
    if facts is not None:
        document["facts"] = facts
    return document


def _encoded(document: Mapping[str, Json]) -> bytes:
    """JSON; decimals as text, dates in ISO 8601, models of pydantic as they are. Raises ValueError."""
    try:
        return to_json(dict(document))
    except PydanticSerializationError:
        pass
    raise ValueError("the request holds a value that JSON cannot carry")
