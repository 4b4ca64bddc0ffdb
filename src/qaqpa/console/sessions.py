"""Sessions and sign-in links, kept in the store as digests of secrets that only a browser holds.

What a session may do is looked up with every page, so that a role which the configuration takes away is gone at once.
What the OpenID provider said is good for a while; then the browser has to be sent there anew.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from qaqpa.alerts.findings import Finding, Rule
from qaqpa.config.models import ConsoleConfig, ConsoleRole
from qaqpa.console.people import Person
from qaqpa.errors import InvalidRequest, NotAllowed, NotAuthenticated, NotFound
from qaqpa.gateway import Gateway
from qaqpa.gateway.shell import system_user
from qaqpa.model.actors import LINK
from qaqpa.model.naming import skeleton
from qaqpa.model.open_text import check_open_text
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Row

LINK_LIVES = timedelta(minutes=10)
_NOTED_EVERY = timedelta(minutes=1)
"""A session's last page is noted at most so often: pages should not wait for the disk."""
_ADD_LINK = "INSERT INTO console_links (digest, person, roles, expires, used) VALUES (?, ?, ?, ?, NULL)"
_USE_LINK = (
    "UPDATE console_links SET used = ? WHERE digest = ? AND used IS NULL AND expires > ? RETURNING person, roles"
)
_OLD_LINKS = "DELETE FROM console_links WHERE expires < ?"
_ADD = (
    "INSERT INTO console_sessions (digest, id, person, issuer, sub, roles, made, seen, expires, ended) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"
)
_COLUMNS = "id, person, issuer, sub, roles, made, seen, expires, ended"
_FIND = f"SELECT {_COLUMNS} FROM console_sessions WHERE digest = ?"  # noqa: S608 - constants only
_OPEN = f"SELECT {_COLUMNS} FROM console_sessions WHERE ended IS NULL AND expires > ? ORDER BY made"  # noqa: S608
_SEEN = "UPDATE console_sessions SET seen = ? WHERE digest = ? AND seen < ?"
_RENEW = "UPDATE console_sessions SET person = ?, roles = ?, seen = ? WHERE digest = ? AND ended IS NULL"
_END = "UPDATE console_sessions SET ended = ? WHERE id = ? AND ended IS NULL"
_OLD = "DELETE FROM console_sessions WHERE expires < ?"
_LONGEST_SECRET = 64
_NO_SESSION = "there is no such session, or it has ended"


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of a session."""

    id: str
    person: str
    issuer: str
    sub: str
    roles: frozenset[ConsoleRole]
    made: str
    seen: str
    expires: str


@dataclass(frozen=True, slots=True)
class Present:
    """A session that lasts, as it is shown."""

    person: Person
    is_fresh: bool
    """Otherwise the provider should be asked before a page is shown; until it is too late, that is no must."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A session as it is kept."""

    id: str
    person: str
    account: tuple[str, str]
    groups: tuple[str, ...]
    said_at: str
    made: str
    seen: str
    expires: str
    ended: bool


def _said(groups: Iterable[str], at: datetime) -> str:
    return orjson.dumps({"groups": list(groups), "at": timestamp(at)}).decode()


def _row(row: Row) -> _Row:
    id_, person, issuer, sub, said, made, seen, expires, ended = row
    told = orjson.loads(said)
    return _Row(id_, person, (issuer, sub), tuple(told["groups"]), told["at"], made, seen, expires, ended is not None)


def _digest(secret: str) -> bytes:
    # Secrets have 256 random bits, so a quick hash is as good as a slow one.
    return hashlib.sha256(b"qaqpa/console/1\0" + secret.encode()).digest()


def form_token(secret: str) -> str:
    """What every form of a session carries: made of the cookie, and of no use without it."""
    return urlsafe_b64encode(hmac.digest(secret.encode(), b"qaqpa/console/form", "sha256")).decode()


class Sessions:
    """The sessions of one console."""

    def __init__(self, gateway: Gateway, config: ConsoleConfig, clock: Callable[[], datetime]) -> None:
        self._gateway = gateway
        self._store = gateway.store
        self._config = config
        self._clock = clock

    # --- signing in ------------------------------------------------------------------------------

    async def use_link(self, secret: str) -> str:
        """Begin a session by a link, which is used up; the session's secret. Raises NotAuthenticated."""
        now = timestamp(self._clock())

        def unit(connection: Connection) -> Row | None:
            return connection.execute(_USE_LINK, (now, _digest(secret[:_LONGEST_SECRET]), now)).first()

        row = await self._store.write(unit)
        if row is None:
            raise NotAuthenticated("this link was used before, has expired, or was never made")
        if not self._config.link_roles(str(row[0])):
            raise NotAuthenticated("links do not sign this person in any more: the configuration was changed")
        return await self._begin(str(row[0]), LINK, skeleton(str(row[0])), str(row[1]).split())

    async def begin(self, person: str, issuer: str, sub: str, groups: Iterable[str], had: str = "") -> str:
        """Begin a session of somebody who proved at `issuer` to be `sub`; its secret. A session that the browser `had`
        goes on if it is theirs, and ends if it is another's, or if they have no role any more.

        Raises NotAuthenticated; InvalidRequest for a name that cannot stand in the ledger in the open.
        """
        groups, now = sorted(set(groups)), self._clock()
        check_open_text(person=person)
        before = await self._row(had)
        has_role = bool(self._roles(person, issuer, groups))
        lasts = before is not None and has_role and before.account == (issuer, sub) and not self._is_over(before)
        if before is not None and lasts:
            renewed = (person, _said(groups, now), timestamp(now), _digest(had))
            if await self._store.write(lambda connection: connection.execute_many(_RENEW, [renewed])) == 1:
                return had
        await self.drop(had)
        if not has_role:
            raise NotAuthenticated("you are in no group that has a role here (console.openid.roles)")
        return await self._begin(person, issuer, sub, groups)

    async def _begin(self, person: str, issuer: str, sub: str, said: Iterable[str]) -> str:
        secret, now = secrets.token_urlsafe(32), self._clock()
        row = (
            _digest(secret), secrets.token_hex(8), person, issuer, sub, _said(said, now),
            timestamp(now), timestamp(now), timestamp(now + self._config.longest),
        )  # fmt: skip

        def unit(connection: Connection) -> None:
            connection.execute(_OLD, (timestamp(now - timedelta(days=30)),))
            connection.execute(_ADD, row)

        await self._store.write(unit)
        return secret

    # --- being signed in -------------------------------------------------------------------------

    async def find(self, secret: str) -> Present | None:
        """Whose session this is, as long as it lasts; notes that it is in use."""
        row, now = await self._row(secret), self._clock()
        if row is None or self._is_over(row):
            return None
        issuer, sub = row.account
        roles, age = self._roles(row.person, issuer, row.groups), self._age(row)
        openid = self._config.openid
        bound = None if issuer == LINK or openid is None else openid.recheck
        if not roles or (bound is not None and age >= bound):
            return None
        if timestamp(now - _NOTED_EVERY) >= row.seen:
            noted = (timestamp(now), _digest(secret[:_LONGEST_SECRET]), timestamp(now))
            await self._store.write(lambda connection: connection.execute(_SEEN, noted))
        return Present(Person(row.person, issuer, sub, roles, row.id), bound is None or age < bound / 2)

    async def _row(self, secret: str) -> _Row | None:
        if not secret:
            return None
        digest = _digest(secret[:_LONGEST_SECRET])
        row = await self._store.read(lambda connection: connection.execute(_FIND, (digest,)).first())
        return None if row is None else _row(row)

    def _is_over(self, row: _Row) -> bool:
        now = self._clock()
        return row.ended or timestamp(now) >= row.expires or timestamp(now - self._config.idle) >= row.seen

    def _age(self, row: _Row) -> timedelta:
        """How long ago the provider said the groups."""
        return self._clock() - datetime.fromisoformat(row.said_at)

    def _roles(self, person: str, issuer: str, groups: Iterable[str]) -> frozenset[ConsoleRole]:
        said = set(groups)
        if issuer == LINK:
            return frozenset(role for role in self._config.link_roles(person) if role.value in said)
        openid = self._config.openid
        if openid is None or openid.issuer != issuer:
            return frozenset()
        return frozenset(role for role, names in openid.roles.items() if not said.isdisjoint(names))

    async def open_ones(self) -> list[Session]:
        """Every session that has not ended."""
        now = self._clock()
        rows = await self._store.read(lambda connection: connection.execute(_OPEN, (timestamp(now),)).all())
        found = []
        for row in map(_row, rows):
            if not self._is_over(row):
                issuer, sub = row.account
                roles = self._roles(row.person, issuer, row.groups)
                found.append(Session(row.id, row.person, issuer, sub, roles, row.made, row.seen, row.expires))
        return found

    async def drop(self, secret: str) -> None:
        """End the session that this opens, if there is one."""
        row = await self._row(secret)
        if row is not None:
            ended = (timestamp(self._clock()), row.id)
            await self._store.write(lambda connection: connection.execute(_END, ended))

    async def end(self, session: str) -> None:
        """End a session. Raises NotFound."""
        ended = (timestamp(self._clock()), session)
        if not await self._store.write(lambda connection: connection.execute_many(_END, [ended])):
            raise NotFound(_NO_SESSION)

    async def revoke(self, session: str, *, caller: str, person: str, reason: str) -> None:
        """End somebody's session by an act that is entered. Raises NotFound, NotAllowed, InvalidRequest."""
        ended = (timestamp(self._clock()), session)

        def also(connection: Connection) -> None:
            if not connection.execute_many(_END, [ended]):
                raise NotFound(_NO_SESSION)

        await self._gateway.control(
            "end_session", caller=caller, person=person, reason=reason, also=also, session=session
        )


async def make_link(
    gateway: Gateway, roles: Iterable[ConsoleRole], *, caller: str, person: str, reason: str
) -> tuple[str, datetime]:
    """A one-time link's secret for `person`, and until when it serves. Making it is an entry, which names the operating
    system's user who did; where people sign in at a provider it is an alert as well.

    Raises NotAllowed, InvalidRequest.
    """
    config = gateway.setup.config.gateway.console
    secret, now = secrets.token_urlsafe(32), gateway.ledger.clock()
    expires, asked = now + LINK_LIVES, frozenset(roles)
    said = " ".join(sorted(role.value for role in asked))
    _require_link(config, person, asked)
    check_open_text(signs_in=person)

    def also(connection: Connection) -> None:
        connection.execute(_OLD_LINKS, (timestamp(now - timedelta(days=30)),))
        connection.execute(_ADD_LINK, (_digest(secret), person, said, timestamp(expires)))

    await gateway.control(
        "console_link" if config.openid is None else "break_glass_link",
        caller=caller, person=system_user(), reason=reason, also=also, signs_in=person, roles=said,
    )  # fmt: skip
    if config.openid is not None:
        await gateway.alerts.raise_now(Finding(Rule.BREAK_GLASS, "console", timestamp(now)))
    return secret, expires


def _require_link(config: ConsoleConfig, person: str, roles: frozenset[ConsoleRole]) -> None:
    if not config.takes_links:
        raise NotAllowed(
            "people sign in at the OpenID provider here: give them a group there (console.openid.roles). If it fails "
            "them, console.openid.break_glass lets links in, and each is an alert"
        )
    if not roles:
        raise InvalidRequest(["role: name one"])
    if missing := roles - config.link_roles(person):
        lacks = ", ".join(sorted(role.value for role in missing))
        raise NotAllowed(f"console.people does not name this person with {lacks}, letter by letter")
