"""API tokens: made once, shown once, kept as a slow hash; expiring and revocable.

qaqpa_<id: 16 hex>_<secret: 43 characters of base64url, 256 random bits>
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from qaqpa.errors import NotAuthenticated, NotFound
from qaqpa.gateway import Gateway
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Store

_TEXT = re.compile(r"qaqpa_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_ADD = "INSERT INTO tokens (id, caller, salt, hash, made, expires) VALUES (?, ?, ?, ?, ?, ?)"
_FIND = "SELECT caller, salt, hash, expires, revoked FROM tokens WHERE id = ?"
_LIST = "SELECT id, caller, made, expires, revoked FROM tokens ORDER BY made"
_REVOKE = "UPDATE tokens SET revoked = ? WHERE id = ? AND revoked IS NULL"

HOT_S = 5.0
"""For so long a token that was checked is believed without asking the database: a revocation takes effect within it."""
_HOT_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token."""

    id: str
    caller: str
    made: str
    expires: str
    revoked: str | None


def _slow_hash(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


def listed(connection: Connection) -> list[Token]:
    """Every token that was ever made."""
    return [Token(*row) for row in connection.execute(_LIST).all()]


@dataclass(slots=True)
class _Hot:
    caller: str
    expires: str
    believed_until: float


class Tokens:
    """Checks tokens; a slow hash the first time, microseconds afterwards."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = secrets.token_bytes(32)
        self._hot: dict[bytes, _Hot] = {}
        self._hashing: dict[bytes, asyncio.Future[bytes]] = {}

    def _known(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(), "sha256")  # the text itself is not kept

    def knows(self, text: str) -> bool:
        """Whether this token was found right before; it may have been revoked since."""
        return self._known(text) in self._hot

    async def caller(self, text: str, now: datetime) -> str:
        """Whose token it is. Raises NotAuthenticated."""
        known = self._known(text)
        hot = self._hot.get(known)
        if hot is not None and hot.believed_until > time.monotonic():
            return self._unexpired(hot.caller, hot.expires, now)
        match = _TEXT.fullmatch(text)
        if match is None:
            raise NotAuthenticated("this is no token of `qaqpa token make`")
        row = await self._store.read(lambda connection: connection.execute(_FIND, (match[1],)).first())
        if row is None or row[4] is not None:
            self._hot.pop(known, None)
            raise NotAuthenticated("the token is unknown, or it was revoked")
        caller, expires = str(row[0]), str(row[3])
        self._unexpired(caller, expires, now)
        if hot is None:
            found = await self._hashed(known, match[2], bytes(row[1]))
            if not hmac.compare_digest(found, bytes(row[2])):
                raise NotAuthenticated("the token is unknown, or it was revoked")
        if len(self._hot) >= _HOT_AT_MOST:
            self._hot.clear()
        self._hot[known] = _Hot(caller, expires, time.monotonic() + HOT_S)
        return caller

    async def _hashed(self, known: bytes, secret: str, salt: bytes) -> bytes:
        """The slow hash; of a thousand requests that come with one token, the first makes it for all."""
        if known not in self._hashing:
            work = asyncio.ensure_future(asyncio.to_thread(_slow_hash, secret, salt))
            self._hashing[known] = work
            work.add_done_callback(lambda _: self._hashing.pop(known, None))
        return await asyncio.shield(self._hashing[known])

    @staticmethod
    def _unexpired(caller: str, expires: str, now: datetime) -> str:
        if timestamp(now) >= expires:
            raise NotAuthenticated("the token has expired: make a new one (`qaqpa token make`)")
        return caller


async def make_for(
    gateway: Gateway, of: str, *, caller: str, person: str, reason: str, lifetime: timedelta
) -> tuple[str, str]:
    """Make a token for a caller; its id and its text. Raises NotFound, NotAllowed, InvalidRequest."""
    if of not in gateway.setup.config.callers:
        raise NotFound(f"{of} does not stand in callers.toml, so a token of it would prove nothing")
    token, secret, salt = secrets.token_hex(8), secrets.token_urlsafe(32), secrets.token_bytes(16)
    now = gateway.ledger.clock()
    row = (token, of, salt, _slow_hash(secret, salt), timestamp(now), timestamp(now + lifetime))

    def also(connection: Connection) -> None:
        connection.execute(_ADD, row)

    await gateway.control("make_token", caller=caller, person=person, reason=reason, also=also, token=token, of=of)
    return token, f"qaqpa_{token}_{secret}"


async def revoke_for(gateway: Gateway, token: str, *, caller: str, person: str, reason: str) -> None:
    """Revoke a token. Raises NotFound, NotAllowed, InvalidRequest."""

    def also(connection: Connection) -> None:
        if not connection.execute_many(_REVOKE, [(timestamp(gateway.ledger.clock()), token)]):
            raise NotFound("there is no such token, or it was revoked before: `qaqpa token list` shows them")

    await gateway.control("revoke_token", caller=caller, person=person, reason=reason, also=also, token=token)
