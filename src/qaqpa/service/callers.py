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
    """Refused attempts by address. After a burst of them whatever is refused is told to wait.

    Nothing else is kept waiting: behind a proxy all callers may have one address, so a token is looked up whatever was
    refused before, and a good one is never told to wait for others. That costs little, because a wrong one meets no
    slow hash (see `qaqpa.service.tokens`).
    """

    ATTEMPTS = 20
    PER_S = 0.5
    _REMEMBERED = 10_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, _Attempts] = OrderedDict()

    def refused(self, address: str) -> bool:
        """One more; whether it was one too many."""
        seen, now = self._seen.get(address), self._clock()
        level = 0.0 if seen is None else max(0.0, seen.level - (now - seen.at) * self.PER_S)
        if level + 1 > self.ATTEMPTS:
            return True  # not counted, so that time empties it whoever goes on
        self._seen[address] = _Attempts(level + 1, now)
        self._seen.move_to_end(address)
        if len(self._seen) > self._REMEMBERED:
            self._seen.popitem(last=False)
        return False


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
        """The caller. Raises NotAuthenticated, or TooManyAttempts in its place after a burst."""
        try:
            return await self._known(authorization)
        except NotAuthenticated as error:
            if self.burst.refused(address):
                metrics.REFUSED.labels("too_many").inc()  # without a line each: whoever floods must not fill the log
                raise TooManyAttempts(
                    "this was refused, as too much before it from your address: look at the token, and wait a minute"
                ) from None
            metrics.REFUSED.labels("none" if authorization is None else "wrong").inc()
            _log.warning("caller refused", code=error.code, host=address)
            raise

    async def _known(self, authorization: str | None) -> str:
        found = await self._found(authorization)
        if found not in self._callers:
            raise NotAuthenticated("the token's caller does not stand in callers.toml any more")
        return found

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
