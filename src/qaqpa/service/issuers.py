"""Access tokens of an OAuth 2 authorization server (RFC 6749 §4.4, JWT of RFC 9068), checked against its keys.

The keys (JWKS, RFC 7517) are fetched when needed and kept; while the issuer does not answer, known keys serve for a
while longer, and then its tokens are refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from qaqpa import log
from qaqpa.config.models import CallerConfig, IssuerConfig
from qaqpa.errors import NotAuthenticated, QaqpaError
from qaqpa.transport.https import Https

_log = log.get("issuers")
ENDPOINT = "jwks"
_LEEWAY_S = 30
_AGAIN_S = 10.0
"""Between two fetches that an unknown key id asks for."""
_LARGEST = 8_192
_HOT_S = 60.0
"""For so long a token that was checked is believed without looking at its signature again."""
_HOT_AT_MOST = 10_000


@dataclass(slots=True)
class _Keys:
    set: KeySet | None = None
    body: bytes = b""
    """As they came."""
    fetched: float = float("-inf")
    tried: float = float("-inf")


@dataclass(frozen=True, slots=True)
class _Hot:
    caller: str
    expires: int
    believed_until: float


@dataclass(slots=True)
class Issuer:
    """One issuer's tokens."""

    name: str
    config: IssuerConfig
    line: Https
    clients: Mapping[str, str]
    """Caller by client id."""
    _keys: _Keys = field(default_factory=_Keys)
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refreshing: asyncio.Task[None] | None = None
    _hot: dict[bytes, _Hot] = field(default_factory=dict)

    async def close(self) -> None:
        """Ask it for nothing any more."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await self.line.close()

    async def caller(self, text: str, now: datetime) -> str:
        """Whose token it is. Raises NotAuthenticated."""
        seconds = int(now.timestamp())
        known = _digest(text)
        keys = await self._current()
        hot = self._hot.get(known)
        if hot is not None and hot.expires > seconds and hot.believed_until > time.monotonic():
            return hot.caller
        self._hot.pop(known, None)
        token = self._decoded(text, keys) or self._decoded(text, await self._fetched_again())
        if token is None:
            raise NotAuthenticated("the access token is not signed by the issuer's keys")
        caller, expires = self._claimed(token.header, token.claims, seconds)
        if len(self._hot) >= _HOT_AT_MOST:
            self._hot.clear()
        self._hot[known] = _Hot(caller, expires, time.monotonic() + _HOT_S)
        return caller

    def _decoded(self, text: str, keys: KeySet) -> jwt.Token | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that EdDSA has a newer name; the operator chose it
                return jwt.decode(text, keys, algorithms=list(self.config.algorithms))
        except Exception:  # noqa: BLE001 - whatever a hostile token does to the library, it proves nothing
            return None

    def _claimed(self, header: Mapping[str, Any], claims: dict[str, Any], now: int) -> tuple[str, int]:
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
        expires, begins = _time(claims.get("exp")), _time(claims.get("nbf", claims.get("iat", 0)))
        if claims.get("iss") != self.config.issuer or self.config.audience not in audiences:
            raise NotAuthenticated("the access token is of another issuer, or for somebody else")
        if str(header.get("typ", "at+jwt")).lower().removeprefix("application/") not in {"at+jwt", "jwt"}:
            raise NotAuthenticated("this is no access token (its type is another one)")
        if expires is None or begins is None or expires <= now - _LEEWAY_S or begins > now + _LEEWAY_S:
            raise NotAuthenticated("the access token has expired, or is not valid yet")
        client = claims.get("client_id", claims.get("azp", claims.get("sub")))
        caller = self.clients.get(client) if isinstance(client, str) else None
        if caller is None:
            raise NotAuthenticated("the access token's client stands in no caller's `clients` in callers.toml")
        return caller, expires

    async def _current(self) -> KeySet:
        if self._serving() is None:
            async with self._fetching:
                if self._serving() is None:
                    await self._fetch()
        elif self._is_due() and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh())  # known keys serve: nobody waits for the issuer
        return self._required()

    def _serving(self) -> KeySet | None:
        """Keys that are not too old."""
        age_s = time.monotonic() - self._keys.fetched
        return self._keys.set if age_s <= self.config.keys_fresh_s + self.config.keys_stale_s else None

    def _required(self) -> KeySet:
        keys = self._serving()
        if keys is None:
            raise NotAuthenticated("the issuer's keys cannot be had, so its tokens cannot be checked")
        return keys

    def _is_due(self) -> bool:
        now = time.monotonic()
        return now - self._keys.fetched > self.config.keys_fresh_s and now - self._keys.tried >= _AGAIN_S

    async def _refresh(self) -> None:
        async with self._fetching:
            await self._fetch()

    async def _fetched_again(self) -> KeySet:
        """The issuer may have changed its keys; asked at most every few seconds, whatever comes in."""
        await self._refresh()
        return self._required()

    async def _fetch(self) -> None:
        if time.monotonic() - self._keys.tried < _AGAIN_S:
            return
        self._keys.tried = time.monotonic()
        try:
            reply = await self.line.get(ENDPOINT)
            if reply.status != 200 or len(reply.body) > 2**20:
                raise NotAuthenticated(f"the issuer answered with HTTP {reply.status}")
            if reply.body != self._keys.body:
                self._keys.set = KeySet.import_key_set(orjson.loads(reply.body))
                self._keys.body = reply.body
                self._hot.clear()  # the key of a token that was believed may be gone
            self._keys.fetched = time.monotonic()
        except (QaqpaError, JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("issuer's keys not fetched", issuer=self.name, error_type=type(error).__name__)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _time(value: object) -> int | None:
    """Seconds since 1970, where it is such a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**40:
        return int(value)
    return None


def clients_of(callers: Mapping[str, CallerConfig], issuer: str) -> dict[str, str]:
    """Caller by client id at this issuer."""
    return {known.clients[issuer]: name for name, known in callers.items() if issuer in known.clients}


def looks_like_jwt(text: str) -> bool:
    """Three parts, of a length that one has."""
    return text.count(".") == 2 and len(text) <= _LARGEST
