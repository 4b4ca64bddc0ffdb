"""Who asks: an API token or an access token of a configured issuer, in `Authorization: Bearer` (RFC 6750)."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from qaqpa import log, metrics
from qaqpa.config.models import CallerConfig
from qaqpa.errors import NotAuthenticated, TooManyAttempts
from qaqpa.service.issuers import Issuer, looks_like_jwt
from qaqpa.service.tokens import Tokens

_log = log.get("callers")
_LONGEST = 8_192
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750 §2.1."""


@dataclass(slots=True)
class _Attempts:
    """Refused attempts from one address: a bucket that empties with time."""

    level: float
    at: float


class Burst:
    """After a burst of refused attempts an address waits, before anything is looked up for it.

    Behind a proxy all callers have one address, so a token that was found right before need not wait.
    """

    ATTEMPTS = 20
    PER_S = 0.5
    _REMEMBERED = 10_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, _Attempts] = OrderedDict()

    def _level(self, address: str) -> float:
        seen = self._seen.get(address)
        return 0.0 if seen is None else max(0.0, seen.level - (self._clock() - seen.at) * self.PER_S)

    def require_few(self, address: str) -> None:
        """Raises TooManyAttempts."""
        if self._seen and self._level(address) >= self.ATTEMPTS:
            raise TooManyAttempts("refused too often: wait a minute, and look at the token")

    def refused(self, address: str) -> None:
        """One more."""
        self._seen[address] = _Attempts(self._level(address) + 1, self._clock())
        self._seen.move_to_end(address)
        if len(self._seen) > self._REMEMBERED:
            self._seen.popitem(last=False)


class Callers:
    """Says which caller of callers.toml a request is from."""

    def __init__(
        self,
        callers: Mapping[str, CallerConfig],
        tokens: Tokens,
        issuers: Sequence[Issuer],
        clock: Callable[[], datetime],
    ) -> None:
        self._callers = callers
        self._tokens = tokens
        self._issuers = issuers
        self._clock = clock
        self.burst = Burst()

    async def caller(self, authorization: str | None, address: str) -> str:
        """The caller. Raises NotAuthenticated, TooManyAttempts."""
        try:
            if not self._knows(authorization):
                self.burst.require_few(address)
            return await self._known(authorization)
        except NotAuthenticated as error:
            self.burst.refused(address)
            metrics.REFUSED.labels("none" if authorization is None else "wrong").inc()
            _log.warning("caller refused", code=error.code, host=address)
            raise
        except TooManyAttempts:
            metrics.REFUSED.labels("too_many").inc()
            raise

    async def _known(self, authorization: str | None) -> str:
        found = await self._found(authorization)
        if found not in self._callers:
            raise NotAuthenticated("the token's caller does not stand in callers.toml any more")
        return found

    def _knows(self, authorization: str | None) -> bool:
        text = _token(authorization)
        return text is not None and (self._tokens.knows(text) or any(each.knows(text) for each in self._issuers))

    async def _found(self, authorization: str | None) -> str:
        if authorization is None:
            raise NotAuthenticated("say who asks: Authorization: Bearer TOKEN (`qaqpa token make` makes one)")
        text, now = _token(authorization), self._clock()
        if text is None:
            raise NotAuthenticated("Authorization must be `Bearer` and one token")
        if text.startswith("qaqpa_"):
            return await self._tokens.caller(text, now)
        if not self._issuers or not looks_like_jwt(text):
            raise NotAuthenticated("the token is of no kind that this gate knows")
        failure: NotAuthenticated | None = None
        for issuer in self._issuers:
            try:
                return await issuer.caller(text, now)
            except NotAuthenticated as error:
                failure = error
        raise failure or NotAuthenticated("no issuer is configured")


def _token(authorization: str | None) -> str | None:
    """The token of a header, where it has the form of one."""
    scheme, _, text = (authorization or "").partition(" ")
    text = text.strip()
    return text if scheme.lower() == "bearer" and len(text) <= _LONGEST and _TOKEN.fullmatch(text) else None
