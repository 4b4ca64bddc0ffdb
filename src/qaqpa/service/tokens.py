"""API tokens: made once, shown once, kept as a slow hash; expiring and revocable.

qaqpa_<id: 16 hex>_<secret: 43 characters of base64url, 256 random bits>

The id is the beginning of SHA-256 over the secret. So a guess is told from a token at once, and no slow hash is made
for it, whoever knows the id; of the secret it tells nothing that could be searched for (192 of its bits stay unknown).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
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
_HASHES_AT_ONCE = 2
"""Slow hashes; each takes a core for its time and 16 MiB."""
_READS_AT_ONCE = 2
"""Of tokens that were not found right before: whoever makes up tokens keeps the ledger's readers from nobody."""
_NO_SUCH_TOKEN = "the token is unknown, or it was revoked"  # noqa: S105 - a sentence


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token."""

    id: str
    caller: str
    made: str
    expires: str
    revoked: str | None


def id_of(secret: str) -> str:
    """The id of the token with this secret."""
    return hashlib.sha256(b"qaqpa/token/1\0" + secret.encode()).hexdigest()[:16]


def _drawn() -> tuple[str, bytes]:
    """A secret, and the salt of its slow hash."""
    return secrets.token_urlsafe(32), secrets.token_bytes(16)


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
        self._reading = asyncio.Semaphore(_READS_AT_ONCE)
        # Its own, so that nobody else's work waits for slow hashes.
        self._threads = ThreadPoolExecutor(_HASHES_AT_ONCE, "qaqpa-tokens")

    def close(self) -> None:
        """Make no slow hash any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def caller(self, text: str, now: datetime) -> str:
        """Whose token it is. Raises NotAuthenticated."""
        known = hmac.digest(self._key, text.encode(), "sha256")  # the text itself is not kept
        try:
            return await self._caller(known, text, now)
        except NotAuthenticated:
            self._hot.pop(known, None)
            raise

    async def _caller(self, known: bytes, text: str, now: datetime) -> str:
        hot = self._hot.get(known)
        if hot is not None and hot.believed_until > time.monotonic():
            self._require_unexpired(hot.expires, now)
            return hot.caller
        match = _TEXT.fullmatch(text)
        if match is None:
            raise NotAuthenticated("this is no token of `qaqpa token make`")
        token, secret = match.groups()
        if id_of(secret) != token:  # a guess, and never a token that was made
            raise NotAuthenticated(_NO_SUCH_TOKEN)
        async with nullcontext() if hot is not None else self._reading:
            row = await self._store.read(lambda connection: connection.execute(_FIND, (token,)).first())
        if row is None or row[4] is not None:
            raise NotAuthenticated(_NO_SUCH_TOKEN)
        caller, expires = str(row[0]), str(row[3])
        self._require_unexpired(expires, now)
        if hot is None and not hmac.compare_digest(await self._hashed(known, secret, bytes(row[1])), bytes(row[2])):
            raise NotAuthenticated(_NO_SUCH_TOKEN)
        if len(self._hot) >= _HOT_AT_MOST:
            self._hot.clear()
        self._hot[known] = _Hot(caller, expires, time.monotonic() + HOT_S)
        return caller

    async def _hashed(self, known: bytes, secret: str, salt: bytes) -> bytes:
        """The slow hash; of a thousand requests that come with one token, the first makes it for all."""
        if known not in self._hashing:
            work = asyncio.get_running_loop().run_in_executor(self._threads, _slow_hash, secret, salt)
            self._hashing[known] = work
            work.add_done_callback(lambda _: self._hashing.pop(known, None))
        return await asyncio.shield(self._hashing[known])

    @staticmethod
    def _require_unexpired(expires: str, now: datetime) -> None:
        if timestamp(now) >= expires:
            raise NotAuthenticated("the token has expired: make a new one (`qaqpa token make`)")


async def make_for(
    gateway: Gateway, of: str, *, caller: str, person: str, reason: str, lifetime: timedelta
) -> tuple[str, str]:
    """Make a token for a caller; its id and its text. Raises NotFound, NotAllowed, InvalidRequest."""
    if of not in gateway.setup.config.callers:
        raise NotFound(f"{of} does not stand in callers.toml, so a token of it would prove nothing")
    secret, salt = _drawn()
    token = id_of(secret)
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
