"""Send a sealed message to its recipient: turnstile, breaker, attempts. One door for every channel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from qaqpa import log, metrics
from qaqpa.config.recipients import Retry
from qaqpa.errors import (
    AddressRefused,
    CircuitOpen,
    FolderRefused,
    LoginRefused,
    NotConfigured,
    NotSent,
    PackageChanged,
    PackageRefused,
    PeerRefused,
    RateLimited,
    RecipientSuspended,
    StoreError,
    ThirdPartyError,
    Unsettled,
)
from qaqpa.model.disclosure import Reply, Sealed
from qaqpa.transport.limits import Breaker, BreakerState, Limits

_log = log.get("transport")
_SERVER_ERROR = 500
_NOT_BY_WAITING = (
    CircuitOpen, RateLimited, RecipientSuspended, PeerRefused, AddressRefused, LoginRefused, FolderRefused,
    PackageRefused, PackageChanged,
)  # fmt: skip
"""Waiting changes nothing, or is not ours to do."""


class Channel(Protocol):
    """One way to one recipient."""

    async def send(self, sealed: Sealed) -> Reply:
        """Send once. Raises a kind of NotSent or Unsettled."""

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Line:
    """A recipient's channel with what guards it."""

    channel: Channel
    limits: Limits
    breaker: Breaker
    retry: Retry


def may_retry(error: BaseException, *, idempotent: bool) -> bool:
    """Whether a message may be tried again: it surely did not leave, or a repeated one counts as one."""
    if isinstance(error, _NOT_BY_WAITING):
        return False
    return isinstance(error, NotSent) or (idempotent and isinstance(error, Unsettled))


class Transport:
    """Lines by recipient. Nothing else in Qaqpa can reach a third party."""

    def __init__(self, lines: Mapping[str, Line], *, is_suspended: Callable[[str], Awaitable[bool]]) -> None:
        self._lines = lines
        self._is_suspended = is_suspended

    def require(self, recipient: str) -> None:
        """Raises NotConfigured when there is no line to `recipient`."""
        if recipient not in self._lines:
            raise NotConfigured(f"{recipient}: its channel is not configured; `qaqpa check` says what is missing")

    def breaker_state(self, recipient: str) -> BreakerState | None:
        """The breaker's state; None where there is no line."""
        line = self._lines.get(recipient)
        return None if line is None else line.breaker.state

    @metrics.timed_async("send")
    async def send(self, sealed: Sealed) -> Reply:
        """Send and return the answer, whatever its status. Raises ThirdPartyError.

        If one attempt may have left, the error is a kind of Unsettled even when a later attempt surely did not.
        """
        recipient = sealed.intent.decision.asked.recipient
        line = self._lines[recipient]
        try:
            return await self._attempt(line, sealed)
        except ThirdPartyError as error:
            failed = error
        return await self._again(line, sealed, failed)

    async def _again(self, line: Line, sealed: Sealed, first: ThirdPartyError) -> Reply:
        """The attempts after the first one failed, as far as there may be any."""
        recipient = sealed.intent.decision.asked.recipient
        doubt: Unsettled | None = None
        failed: ThirdPartyError | None = first

        def log_retry(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            code = error.code if isinstance(error, ThirdPartyError) else None
            _log.warning("retry", recipient=recipient, intent=sealed.intent.id, attempt=state.attempt_number, code=code)

        attempts = AsyncRetrying(
            stop=stop_after_attempt(line.retry.attempts),
            wait=wait_random_exponential(multiplier=line.retry.first_wait_s, max=line.retry.longest_wait_s),
            retry=retry_if_exception(lambda error: may_retry(error, idempotent=sealed.idempotent)),
            before_sleep=log_retry,
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    try:
                        if failed is not None:
                            error, failed = failed, None
                            raise error
                        return await self._attempt(line, sealed)
                    except Unsettled as error:
                        doubt = error
                        raise
        except NotSent as error:
            if doubt is not None:
                raise doubt from error
            raise
        raise AssertionError("unreachable: every attempt returns or raises")

    async def _attempt(self, line: Line, sealed: Sealed) -> Reply:
        was_try, asked = line.breaker.enter(), False
        try:
            async with line.limits.turn():
                await self._not_suspended(sealed.intent.decision.asked.recipient)
                asked = True
                reply = await line.channel.send(sealed)
        except BaseException as error:
            # Only what the recipient did counts: neither its limits, nor a database of ours that cannot be asked.
            if asked and isinstance(error, ThirdPartyError):
                line.breaker.failed(was_try=was_try)
            else:
                line.breaker.left(was_try=was_try)
            raise
        # A server error counts as a failure until somebody has read it and says otherwise (`answered`): so a reply that
        # nobody comes to read leaves nothing hanging, the try of a half-open breaker included.
        if reply.status >= _SERVER_ERROR:
            line.breaker.failed(was_try=was_try)
        else:
            line.breaker.succeeded()
        return reply

    def answered(self, recipient: str, reply: Reply) -> None:
        """Its reply was read and is a proper answer, whatever its status: SOAP 1.1 refuses with HTTP 500 (§6.2)."""
        if reply.status >= _SERVER_ERROR:
            self._lines[recipient].breaker.succeeded()

    async def _not_suspended(self, recipient: str) -> None:
        """5.5: asked at the door itself, because a message may have waited long for its turn or its next attempt."""
        try:
            suspended = await self._is_suspended(recipient)
        except StoreError:
            raise NotSent("whether the recipient is suspended cannot be known now; nothing was sent") from None
        if suspended:
            raise RecipientSuspended("the recipient was suspended meanwhile; nothing was sent")

    async def close(self) -> None:
        """Close every channel."""
        for line in self._lines.values():
            await line.channel.close()
