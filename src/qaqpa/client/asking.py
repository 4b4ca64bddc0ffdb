"""One gate asked over HTTP; see the package for what callers need to know."""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from types import TracebackType
from typing import ClassVar, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from qaqpa import errors
from qaqpa.client.answers import Awaited, Consent, Decision, Disclosed, Json, Problem
from qaqpa.client.failures import Awaiting, GateError, Unavailable, kind_of

TokenSource = Callable[[], Awaitable[str]]
"""Gives the token to use now; asked before each attempt, so it should remember one while it is good."""
Answer = TypeVar("Answer", bound=BaseModel)

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_MEANWHILE = frozenset({errors.RequestInFlight.code, errors.DecisionOutdated.code})
"""Conflicts that pass."""
_WAITING_HELPS_NOT = frozenset(
    kind.code
    for kind in (
        errors.NotConfigured, errors.AddressRefused, errors.PeerRefused, errors.SchemaMismatch, errors.ClockSetBack,
        errors.LedgerRolledBack, errors.KeyringError, errors.TooManyAttempts,
    )
)  # fmt: skip
"""Somebody has to mend these."""


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


@dataclass(frozen=True, slots=True)
class _Failure:
    """What an attempt failed with, and whether another may be made."""

    error: GateError
    again: bool
    retry_after_s: float | None = None


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
        last = _Failure(waits, again=True)
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
            if not isinstance(found, _Failure):
                return found
            passes = isinstance(found.error, Awaiting | Unavailable) and found.error.code not in _WAITING_HELPS_NOT
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
    ) -> Answer:
        headers = dict(self._headers)
        content = None
        if document is not None:
            content = _encoded(document)
            headers["content-type"] = "application/json"
        if key is not None:
            headers["idempotency-key"] = key
        ends = time.monotonic() + self._patience.deadline_s
        failure = _Failure(_unreachable("the deadline passed"), again=False)
        for attempt in range(self._patience.attempts):
            left = ends - time.monotonic()
            if left <= 0:
                break
            found = await self._attempt(model, method, path, content, headers, left, repeatable=repeatable)
            if not isinstance(found, _Failure):
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
        content: bytes | None,
        headers: Mapping[str, str],
        left_s: float,
        *,
        repeatable: bool,
    ) -> Answer | _Failure:
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
            return _read(model, answer, repeatable=repeatable)
        return _Failure(_unreachable(lost), again=repeatable or not arrived)


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


def _unreachable(how: str) -> Unavailable:
    error = Unavailable(f"no answer from the gate ({how}): ask again with the same idempotency_key")
    error.code = "unreachable"
    return error


def _read(model: type[Answer], answer: httpx.Response, *, repeatable: bool) -> Answer | _Failure:
    """The answer, or what it says was wrong."""
    if answer.status_code == httpx.codes.ACCEPTED and model is Disclosed:
        with suppress(ValidationError):
            waits = Awaiting("the recipient answers later: ask for the answer of this disclosure")
            waits.disclosure = Awaited.model_validate_json(answer.content).disclosure
            waits.code, waits.status = errors.AnswerAwaited.code, answer.status_code
            return _Failure(waits, again=False)
    if answer.is_success:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError:
            pass
        error = Unavailable("the answer is not of the form that this client knows: look at its version and the url")
        error.code, error.status = "unreadable", answer.status_code
        return _Failure(error, again=False)
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        problem = None
    if problem is None:  # a proxy's answer, or no gate at all
        error = Unavailable(f"HTTP {answer.status_code} from something that is not the gate: look at the url")
        error.code, error.status = "unreadable", answer.status_code
        return _Failure(error, again=repeatable and answer.status_code in {502, 503, 504}, retry_after_s=_after(answer))
    failed = kind_of(problem.code, answer.status_code)(problem.detail or problem.code)
    failed.code, failed.status, failed.disclosure = problem.code, answer.status_code, problem.disclosure
    failed.reasons, failed.problems, failed.their_code = problem.reasons, problem.problems, problem.their_code
    return _Failure(failed, _passes(answer, problem.code, repeatable=repeatable), _after(answer))


def _passes(answer: httpx.Response, code: str, *, repeatable: bool) -> bool:
    """Whether the gate says that asking again will do."""
    if code in _WAITING_HELPS_NOT or _after(answer) is None:
        return False
    if answer.status_code == httpx.codes.CONFLICT:
        return code in _MEANWHILE
    return answer.status_code == httpx.codes.TOO_MANY_REQUESTS or (
        answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and repeatable
    )


def _after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) <= 6 else None
