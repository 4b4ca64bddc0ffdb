"""How often and how much a recipient is asked: a token bucket, a bound on what runs at once, a circuit breaker.

All three refuse before anything is sent. They hold within one process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

from qaqpa.config.recipients import Breaker as BreakerConfig
from qaqpa.config.recipients import Limits as LimitsConfig
from qaqpa.errors import CircuitOpen, RateLimited

Monotonic = Callable[[], float]


class BreakerState(StrEnum):
    """closed: all pass. open: none pass. half_open: one passes, to try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens after `failures` in a row; after `open_s` lets one try through."""

    def __init__(self, recipient: str, config: BreakerConfig, clock: Monotonic = time.monotonic) -> None:
        self._recipient = recipient
        self._config = config
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._trying = False

    @property
    def state(self) -> BreakerState:
        """Its state now."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        waited = self._clock() - self._opened_at
        return BreakerState.HALF_OPEN if waited >= self._config.open_s else BreakerState.OPEN

    def enter(self) -> bool:
        """Pass, and say whether this is the one try of a half-open breaker. Raises CircuitOpen."""
        state = self.state
        if state is BreakerState.OPEN or (state is BreakerState.HALF_OPEN and self._trying):
            raise CircuitOpen(
                f"{self._recipient} failed {self._config.failures} times in a row and is left alone for "
                f"{self._config.open_s:.0f} s; ask again later"
            )
        if state is BreakerState.HALF_OPEN:
            self._trying = True
            return True
        return False

    def succeeded(self) -> None:
        """The recipient answered, whatever it said."""
        self._failures, self._opened_at, self._trying = 0, None, False

    def failed(self, *, was_try: bool) -> None:
        """The recipient could not be reached, was too slow or broke."""
        self._failures += 1
        if was_try or (self._failures >= self._config.failures and self._opened_at is None):
            self._opened_at = self._clock()
        self.left(was_try=was_try)

    def left(self, *, was_try: bool) -> None:
        """The attempt ended; only the one that tries may let the next one try."""
        if was_try:
            self._trying = False


class Limits:
    """The recipient's turnstile."""

    def __init__(self, recipient: str, config: LimitsConfig, clock: Monotonic = time.monotonic) -> None:
        self._recipient = recipient
        self._config = config
        self._clock = clock
        self._tokens = float(config.burst)
        self._filled_at = clock()
        self._slots = asyncio.Semaphore(config.concurrent)

    def _take(self) -> float:
        """Take a token and return how long to wait for it, in seconds; RateLimited when that is too long."""
        if self._config.per_second is None:
            return 0.0
        now = self._clock()
        gained = (now - self._filled_at) * self._config.per_second
        self._tokens = min(float(self._config.burst), self._tokens + gained)
        self._filled_at = now
        wait = max(0.0, (1.0 - self._tokens) / self._config.per_second)
        if wait > self._config.wait_s:
            raise RateLimited(
                f"{self._recipient} is asked at most {self._config.per_second:g} times a second; ask again later"
            )
        self._tokens -= 1.0
        return wait

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, at most `wait_s`. Raises RateLimited."""
        wait = self._take()
        if wait:
            await asyncio.sleep(wait)
        if self._slots.locked():
            await self._slot(max(self._config.wait_s - wait, 0.001))
        else:
            await self._slots.acquire()  # at once
        try:
            yield
        finally:
            self._slots.release()

    async def _slot(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._slots.acquire()
        except TimeoutError:
            raise RateLimited(
                f"{self._recipient} is being asked {self._config.concurrent} things at once already; ask again later"
            ) from None
