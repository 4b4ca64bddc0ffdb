"""What people do with the ledger: look, settle, erase, rotate keys. Each look and each act is itself an entry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qaqpa.config.models import Role
from qaqpa.errors import InvalidRequest, NotAllowed, NotFound
from qaqpa.gateway.replay import Found, Tally, replay_ledger
from qaqpa.gateway.setup import Drafted, Setup
from qaqpa.ledger import Ledger, entries
from qaqpa.ledger.agreed import Agreed
from qaqpa.ledger.archive import Archived, Bodies, archive
from qaqpa.ledger.backup import BackedUp, back_up
from qaqpa.ledger.catalogue import catalogue_more
from qaqpa.ledger.checkpoints import latest_note, opened, proof_of
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.erasure import Erased, erase, require_erasable
from qaqpa.ledger.evidence import answer_of
from qaqpa.ledger.export import Exported, export
from qaqpa.ledger.integrate import integrate_all, read_tile
from qaqpa.ledger.lately import Lately, lately
from qaqpa.ledger.read import ALL, Entry, Wanted, entry_at, index_at, latest
from qaqpa.ledger.recovery import Unsettled, located, require_unknown, settle
from qaqpa.ledger.rotation import Progress, Rotated, rotate
from qaqpa.ledger.shadows import Shadows, shadows
from qaqpa.ledger.span import ALWAYS, Span
from qaqpa.ledger.subjects import iin_of
from qaqpa.model.open_text import check_open_text
from qaqpa.model.words import timestamp
from qaqpa.store import Connection
from qaqpa.tlog.merkle import HASH_SIZE
from qaqpa.tlog.tiles import TILE, parse_tile_path

Result = TypeVar("Result")
_person: ContextVar[str | None] = ContextVar("qaqpa_person", default=None)


@contextmanager
def acting(person: str) -> Iterator[None]:
    """Whatever is looked at meanwhile, `person` looks at: one of several who act as one caller (the console's)."""
    token = _person.set(person)
    try:
        yield
    finally:
        _person.reset(token)


def check_loss_can_be_entered(setup: Setup, caller: str, *, person: str, reason: str) -> None:
    """Asked before a database is filled, because the loss is entered after. Raises NotAllowed, InvalidRequest."""
    known = setup.config.callers.get(caller)
    if known is None:
        raise NotAllowed("this caller does not stand in callers.toml")
    if Role.OPERATE not in known.roles:
        raise NotAllowed(f"caller {caller} lacks the role {Role.OPERATE.value}; roles stand in callers.toml")
    check_open_text(person=person, reason=reason)


class Require(Protocol):
    """Raises NotAllowed unless the caller has one of the roles."""

    def __call__(self, caller: str, *roles: Role) -> None: ...


class Prepare(Protocol):
    """Runs work that enters something."""

    def __call__(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Awaitable[Result]: ...


class EnterLook(Protocol):
    """Enters that somebody looked, where that is a person."""

    def __call__(self, caller: str, act: str, selection: dict[str, str | int]) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Suspension:
    """Why a recipient gets nothing."""

    recipient: str
    since: str
    person: str
    reason: str


class Compliance:
    """A gateway's ledger, for people."""

    def __init__(
        self,
        setup: Setup,
        ledger: Ledger,
        require: Require,
        prepared: Prepare,
        erased: Callable[[Connection, str], None],
    ) -> None:
        """`erased` is told whom an erasure is about, in its transaction."""
        self._erased = erased
        self._setup = setup
        self._callers = setup.config.callers
        self._ledger = ledger
        self._store = ledger.store
        self._key = setup.log_key
        self._require = require
        self._prepared = prepared

    # --- looking ---------------------------------------------------------------------------------

    async def entries(self, caller: str, count: int, wanted: Wanted = ALL, days: Span = ALWAYS) -> list[Entry]:
        """The last `count` entries that are wanted, of these days, oldest first. Raises InvalidRequest."""
        self._require(caller, Role.REVIEW)
        names = {"recipient": wanted.recipient, "caller": wanted.caller, "kind": wanted.kind}
        check_open_text(**{name: text for name, text in names.items() if text is not None})
        await self._looked(caller, "list", {**wanted.said(), **days.said(), "count": count})
        begin, end = days.times(self._setup.policy.operator.time_zone)

        def query(connection: Connection) -> list[Entry]:
            within = wanted
            if days.since is not None:
                within = replace(within, first=index_at(connection, begin))
            if days.until is not None:
                last = index_at(connection, end)
                within = replace(within, before=last if wanted.before is None else min(last, wanted.before))
            return latest(connection, count, within)

        return await self._store.read(query)

    async def entry(self, caller: str, index: int) -> Entry:
        """One entry. Raises NotAllowed, NotFound."""
        self._require(caller, Role.REVIEW)
        found = await self._store.read(lambda connection: entry_at(connection, index))
        await self._looked(caller, "show", {"index": index})
        return found

    async def search(self, caller: str, count: int, wanted: Wanted, *, iin: str | None) -> list[Entry]:
        """As `entries`, about one person where an IIN is given; nobody knows a person who is not in the ledger."""
        self._require(caller, Role.REVIEW)
        if iin is not None:
            subject = await self._ledger.subjects.find(iin)
            if subject is None:
                await self._looked(caller, "list", {**wanted.said(), "count": count, "subject": "unknown"})
                return []
            wanted = replace(wanted, subject=subject.id)
        return await self.entries(caller, count, wanted)

    def require_reader(self, caller: str) -> None:
        """Whoever reads anything of the ledger, hashes too: how many disclosures there are is told by them.

        Hashes name nobody, so that somebody looked at them is not entered. Raises NotAllowed.
        """
        self._require(caller, Role.REVIEW)

    async def proof(self, caller: str, index: int) -> bytes:
        """Proof of an entry under the last checkpoint (C2SP tlog-proof). Raises NotAllowed, NotFound."""
        self.require_reader(caller)
        return await self._store.read(lambda connection: proof_of(connection, self._key, index))

    async def checkpoint(self, caller: str) -> bytes:
        """The last checkpoint. Raises NotAllowed, NotFound."""
        self.require_reader(caller)
        note = await self._store.read(latest_note)
        if note is None:
            raise NotFound("the ledger has no checkpoint yet")
        return note

    async def tile(self, caller: str, path: str) -> bytes:
        """A tile under the last checkpoint, by its C2SP path (`0/x001/067.p/8`). Raises NotAllowed, NotFound."""
        self.require_reader(caller)

        def query(connection: Connection) -> bytes:
            note = latest_note(connection)
            size = 0 if note is None else opened(note, self._key)[1].size
            place = parse_tile_path(path)
            if place is not None:
                level, number, width = place
                stands = (size >> (8 * level)) - number * TILE
                if 0 < width <= min(stands, TILE):
                    return read_tile(connection)(level, number)[: width * HASH_SIZE]
            raise NotFound("there is no such tile under the last checkpoint")

        return await self._store.read(query)

    async def export(self, caller: str, folder: Path, progress: Progress, archived: Bodies | None = None) -> Exported:
        """Write the whole ledger to a folder that verifies by itself."""
        await self._looked(caller, "export", {})
        return await export(self._store, self._key, folder, progress, archived)

    async def evidence(self, caller: str, disclosure: str) -> bytes:
        """The answer to a disclosure that is kept as evidence, as it came. Raises NotFound, KeyringError."""
        self._require(caller, Role.REVIEW)
        answer = await answer_of(self._ledger, disclosure)
        # Only what exists is entered by name: anything may have been typed as an id.
        await self._looked(caller, "evidence", {"disclosure": disclosure})
        return answer

    async def back_up(self, caller: str, path: Path, progress: Progress) -> BackedUp:
        """Write the whole ledger to a new file, and verify it. Who operates may, and who reviews."""
        self._require(caller, Role.OPERATE, Role.REVIEW)
        await self.enter_look(caller, "backup", {})
        await integrate_all(self._store)  # the next checkpoint is over that look, and the copy must reach it
        return await asyncio.to_thread(back_up, self._store, path, progress)

    async def identity(self, caller: str, subject: str, *, reason: str) -> str:
        """The IIN of a person, for whom somebody gives a reason; that, and who looked, is an entry first.

        Raises NotAllowed, NotFound, InvalidRequest, KeyringError.
        """
        self._require(caller, Role.REVIEW)
        check_open_text(reason=reason)
        iin = await self._iin(subject)
        await self.enter_look(caller, "identity", {"subject": subject, "reason": reason})
        return iin

    async def unsettled(self, caller: str) -> list[Unsettled]:
        """Disclosures of which nobody knows what came of them."""
        await self._looked(caller, "open", {})
        return await self._store.read(located)

    async def replay(
        self,
        caller: str,
        drafted: Drafted,
        span: Span,
        progress: Progress,
        tell: Callable[[Found], None],
        archived: Bodies | None = None,
    ) -> Tally:
        """Decide recorded decisions once more under a draft; `tell` gets each whose outcome changes, in order.

        Months that were moved to files are read through `archived`. Raises ConfigError for a draft with problems,
        VerificationFailed for a file that is not what was moved.
        """
        await self._looked(caller, "replay", {"draft": drafted.digest, **span.said()})
        return await asyncio.to_thread(
            replay_ledger, self._ledger, self._setup, drafted, span, progress, tell, archived
        )

    async def lately(self, caller: str, recipient: str, count: int) -> list[Lately]:
        """The last that happened with a recipient, the latest first, with what came of each disclosure."""
        wanted = Wanted(recipient=recipient)
        await self._looked(caller, "list", {**wanted.said(), "count": count})
        return await self._store.read(lambda connection: lately(connection, count, wanted))

    async def policies(self, caller: str, count: int = 100) -> list[Entry]:
        """The last policies and configurations that decisions were made from, oldest first."""
        return await self.entries(caller, count, Wanted(kind=Kind.POLICY.value))

    async def shadows(self, caller: str, before: int | None = None) -> Shadows:
        """Decisions on which a draft differed, among those of one stretch of the ledger that ends before `before`."""
        await self._looked(caller, "shadows", {} if before is None else {"before": before})
        return await self._store.read(lambda connection: shadows(connection, before))

    async def _looked(self, caller: str, act: str, selection: dict[str, str | int]) -> None:
        self._require(caller, Role.REVIEW)
        await self.enter_look(caller, act, selection)

    async def enter_look(self, caller: str, act: str, selection: dict[str, str | int]) -> None:
        """A person's look is an entry, before anything is shown; a service's is not."""
        if self._callers[caller].kind == "person":
            public = entries.review(caller, act, selection, person=_person.get(), at=self._ledger.clock())
            await self._prepared(lambda: self._ledger.record(Kind.REVIEW, public))

    # --- acting ----------------------------------------------------------------------------------

    async def require_settleable(self, caller: str, disclosure: str) -> None:
        """Raises what `settle` would, as things stand."""
        self._require(caller, Role.OPERATE)
        await self._store.read(lambda connection: require_unknown(connection, disclosure))

    async def settle(self, caller: str, agreed: Agreed) -> int:
        """Say what came of a disclosure that ended unknown; returns the entry's index."""
        self._require(caller, Role.OPERATE)
        return await self._prepared(lambda: settle(self._ledger, agreed, caller=caller))

    async def require_erasable(self, caller: str, subject: str, *, duties_met: bool, instrument: str | None) -> None:
        """Raises what `erase` would, as things stand."""
        self._require(caller, Role.OPERATE)
        await self._store.read(
            lambda connection: require_erasable(connection, subject, duties_met=duties_met, instrument=instrument)
        )

    async def known_as(self, caller: str, iin: str) -> str:
        """The random id under which somebody stands who is to be erased. Raises NotFound."""
        self._require(caller, Role.OPERATE)
        subject = await self._ledger.subjects.find(iin)
        if subject is None:
            raise NotFound("the ledger knows nobody with this IIN")
        return str(subject.id)

    async def erase(self, caller: str, agreed: Agreed) -> Erased:
        """Erase a person; pending until `rotate_keys` (7.1(3)). Raises ErasureRefused, NotFound, NotPossible."""
        self._require(caller, Role.OPERATE)
        return await self._prepared(lambda: erase(self._ledger, agreed, caller=caller, also=self._erased))

    async def _iin(self, subject: str) -> str:
        key = await self._ledger.subjects.by_id(subject)
        return await self._store.read(lambda connection: iin_of(connection, key))

    async def archive(self, caller: str, month: int, folder: Path, *, person: str, reason: str) -> Archived:
        """Move the bodies of a month that is over to a file."""
        self._require(caller, Role.OPERATE)
        check_open_text(person=person, reason=reason)
        await catalogue_more(self._store, self._setup.config.gateway.operator.utc_offset_hours)
        return await self._prepared(
            lambda: archive(self._ledger, month, folder, caller=caller, person=person, reason=reason)
        )

    async def rotate_keys(self, caller: str, *, person: str, reason: str, progress: Progress) -> Rotated:
        """A new epoch of keys; erasures so far take effect."""
        self._require(caller, Role.OPERATE)
        check_open_text(person=person, reason=reason)
        return await self._prepared(
            lambda: rotate(self._ledger, caller=caller, person=person, reason=reason, progress=progress)
        )

    async def accept_clock(self, caller: str, *, person: str, reason: str) -> None:
        """Go on from the clock as it is now, though the ledger's last entry is later (a clock that had run ahead)."""
        self._require(caller, Role.OPERATE)
        check_open_text(person=person, reason=reason)
        last = await self._store.read(lambda c: c.execute("SELECT last_time FROM tree WHERE id = 1").scalar())
        now = self._ledger.clock()
        if timestamp(now) >= str(last):
            raise InvalidRequest(["clock: is not behind the ledger's last entry, so there is nothing to accept"])
        public = entries.control(entries.ACCEPT_CLOCK, "", caller, person, reason, at=now)
        await self._prepared(lambda: self._ledger.record(Kind.CONTROL, public))
