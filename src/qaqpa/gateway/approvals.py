"""What takes two persons: one asks, another agrees, and only then it is done. Each step is an entry of its own.

What was asked for in one place (the console, a shell, a caller's program) is agreed to in any. An approval that was
agreed to and whose doing was cut off stays `agreed`, and is carried out by hand, once, whoever tries.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

import orjson

from qaqpa.config.models import Role
from qaqpa.errors import InvalidRequest, NotAllowed, NotFound, NotPossible, QaqpaError, StoreError
from qaqpa.gateway.alerting import Control
from qaqpa.gateway.compliance import Compliance, Require
from qaqpa.gateway.recalls import Recaller
from qaqpa.ledger import Ledger
from qaqpa.ledger.agreed import AGREE, ASK_APPROVAL, REFUSE_APPROVAL, Act, Agreed, digest, written
from qaqpa.ledger.erasure import Erased
from qaqpa.model.actors import Actor
from qaqpa.model.identifiers import is_our_id, uuid7
from qaqpa.model.naming import skeleton
from qaqpa.model.open_text import check_open_text
from qaqpa.model.recall import LETTER, RecallReason
from qaqpa.model.words import OutcomeResult, timestamp
from qaqpa.recall.records import Recalled
from qaqpa.store import Connection, Row

LIVES = timedelta(days=7)
"""After which nobody can agree any more: what somebody wanted a week ago may be wrong by now."""
LAPSED = "lapsed"
"""In place of a state, where nobody decided in time."""
_COLUMNS = "id, act, what, reason, asked_by, asked_at, expires, state, decided_by, decided_at, code"
_LIST = f"SELECT {_COLUMNS} FROM approvals WHERE id < ? ORDER BY id DESC LIMIT ?"  # noqa: S608 - constants only
_WAITING = (
    f"SELECT {_COLUMNS} FROM approvals WHERE id < ? AND (state = 'agreed' OR (state = 'asked' AND expires > ?)) "  # noqa: S608 - the same
    "ORDER BY id DESC LIMIT ?"
)
_AFTER_ALL = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Greater than any id (UUIDv7: they grow with time)."""
_HOW_MANY = "SELECT count(*) FROM approvals WHERE state = 'agreed' OR (state = 'asked' AND expires > ?)"
_FIND = f"SELECT {_COLUMNS} FROM approvals WHERE id = ?"  # noqa: S608 - the same
_ADD = (
    "INSERT INTO approvals (id, act, what, reason, asked_by, asked_at, expires, state) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, 'asked')"
)
_AGREE = (
    "UPDATE approvals SET state = 'agreed', decided_by = ?, decided_at = ? WHERE id = ? AND state = 'asked' "
    "AND expires > ?"
)
_REFUSE = (
    "UPDATE approvals SET state = 'refused', decided_by = ?, decided_at = ? WHERE id = ? "
    "AND (state = 'agreed' OR (state = 'asked' AND expires > ?))"
)
_FAILED = "UPDATE approvals SET state = 'failed', code = ? WHERE id = ? AND state = 'agreed'"

_DECIDED = "was decided meanwhile"
_STANDS = {
    "asked": "nobody else has agreed to it",
    LAPSED: "nobody agreed to it in time; ask anew",
    "agreed": "is agreed to; carry it out, or refuse it",
    "refused": "was refused; ask anew",
    "done": "is done",
    "failed": "could not be done; ask anew",
}
"""Why no more can be done with it."""

Done: TypeAlias = Erased | Recalled | int
"""What came of an act: who was erased, the recall, or the index of the entry that settles."""


class State(StrEnum):
    """How far an approval came."""

    ASKED = "asked"
    AGREED = "agreed"
    REFUSED = "refused"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Approval:
    """Something that was asked for."""

    id: str
    act: Act
    what: Mapping[str, str]
    reason: str
    asked_by: Actor
    asked_at: str
    expires: str
    state: State
    decided_by: Actor | None
    decided_at: str | None
    code: str | None
    """Why it failed."""

    def has_lapsed(self, now: datetime) -> bool:
        """Whether nobody decided in time, so that nobody can any more."""
        return self.state is State.ASKED and self.expires <= timestamp(now)

    def stands(self, now: datetime) -> str:
        """Its state, or that it has lapsed."""
        return LAPSED if self.has_lapsed(now) else self.state.value


def _person(text: str) -> Actor:
    return Actor.of_kept(orjson.loads(text))


def _text(person: Actor) -> str:
    return orjson.dumps(person.kept).decode()


def _approval(row: Row) -> Approval:
    id_, act, what, reason, asked_by, asked_at, expires, state, decided_by, decided_at, code = row
    decided = None if decided_by is None else _person(decided_by)
    return Approval(
        id_, Act(act), orjson.loads(what), reason, _person(asked_by), asked_at, expires, State(state), decided,
        decided_at, code,
    )  # fmt: skip


class Approvals:
    """The approvals of one gateway."""

    def __init__(
        self, ledger: Ledger, require: Require, control: Control, compliance: Compliance, recalls: Recaller
    ) -> None:
        self._store = ledger.store
        self._clock = ledger.clock
        self._require = require
        self._control = control
        self._compliance = compliance
        self._recalls = recalls
        self._doers: Mapping[Act, Callable[[str, Agreed], Awaitable[Done]]] = {
            Act.ERASE: compliance.erase,
            Act.FORCE_ERASURE: compliance.erase,
            Act.RECALL_HANDOVER: recalls.start_handover,
            Act.SETTLE: compliance.settle,
        }

    # --- looking: ids and codes only, so that a look is no entry -----------------------------------

    def require_looker(self, caller: str) -> None:
        """Raises NotAllowed to whoever may not look."""
        self._require(caller, Role.REVIEW, Role.OPERATE)

    async def listed(
        self, caller: str, limit: int = 50, before: str | None = None, *, waiting: bool = False
    ) -> list[Approval]:
        """The latest first, those asked for before the approval `before`; all, or those that wait for somebody."""
        self.require_looker(caller)
        end, now = before or _AFTER_ALL, timestamp(self._clock())
        query, given = (_WAITING, (end, now, limit)) if waiting else (_LIST, (end, limit))
        rows = await self._store.read(lambda connection: connection.execute(query, given).all())
        return [_approval(row) for row in rows]

    async def waiting(self, caller: str) -> int:
        """How many wait for somebody."""
        self.require_looker(caller)
        now = timestamp(self._clock())
        return int(await self._store.read(lambda connection: connection.execute(_HOW_MANY, (now,)).scalar()))

    async def find(self, caller: str, approval: str) -> Approval:
        """One of them. Raises NotFound."""
        self.require_looker(caller)
        row = None
        if is_our_id(approval):
            row = await self._store.read(lambda connection: connection.execute(_FIND, (approval,)).first())
        if row is None:
            raise NotFound("nothing with this id was asked for (`qaqpa approval list`)")
        return _approval(row)

    # --- asking ------------------------------------------------------------------------------------

    async def ask(self, caller: str, person: Actor, act: Act, what: Mapping[str, str], reason: str) -> Approval:
        """Ask for it. Raises NotAllowed, InvalidRequest, and as the act would if it were done now."""
        self._require(caller, Role.OPERATE)
        _require_right(act, what)
        said = {name: value for name, value in what.items() if name == "instrument"}
        check_open_text(person=person.name, reason=reason, **said)
        if not skeleton(person.name):
            raise InvalidRequest(["person: must have a letter"])
        await self._require_possible(caller, act, what)
        approval, now = uuid7(), self._clock()
        row = (
            approval, act.value, written(what), reason, _text(person), timestamp(now), timestamp(now + LIVES),
        )  # fmt: skip

        def also(connection: Connection) -> None:
            connection.execute(_ADD, row)

        await self._enter(ASK_APPROVAL, caller, person, reason, approval, also, of=act.value, what_sha256=digest(what))
        return await self.find(caller, approval)

    async def ask_erasure(
        self, caller: str, person: Actor, iin: str, *, duties_met: bool, instrument: str | None, reason: str
    ) -> Approval:
        """Ask for the erasure of the person with this IIN; by force where an `instrument` demands it.

        Raises ErasureRefused where duties are open and no instrument is named, else as `ask`.
        """
        subject = await self._compliance.known_as(caller, iin)
        await self._compliance.require_erasable(caller, subject, duties_met=duties_met, instrument=instrument)
        if instrument is None:
            return await self.ask(caller, person, Act.ERASE, {"subject": subject}, reason)
        what = {"subject": subject, "instrument": instrument}
        return await self.ask(caller, person, Act.FORCE_ERASURE, what, reason)

    async def ask_recall(
        self, caller: str, person: Actor, handover: str, reason: RecallReason, *, due_on: date | None, by_letter: bool
    ) -> Approval:
        """Ask for the recall of a whole handover. Raises as `ask`."""
        what = {"handover": handover, "reason": reason.value}
        what |= {} if due_on is None else {"due_on": due_on.isoformat()}
        what |= {"way": LETTER} if by_letter else {}
        return await self.ask(caller, person, Act.RECALL_HANDOVER, what, reason.value)

    async def _require_possible(self, caller: str, act: Act, what: Mapping[str, str]) -> None:
        """What is asked for is entered for ever, so it must be of something that there is."""
        match act:
            case Act.ERASE | Act.FORCE_ERASURE:
                await self._compliance.require_erasable(
                    caller, what["subject"], duties_met=True, instrument=what.get("instrument")
                )
            case Act.RECALL_HANDOVER:
                await self._recalls.require_startable(caller, what)
            case Act.SETTLE:
                await self._compliance.require_settleable(caller, what["disclosure"])

    # --- deciding ----------------------------------------------------------------------------------

    async def agree(self, caller: str, person: Actor, approval: str, *, reason: str) -> tuple[Approval, Done]:
        """Agree, and have it done. Raises NotAllowed to whoever asked, NotPossible, and as the act."""
        found = await self._decidable(caller, approval)
        if person.is_same_as(found.asked_by):
            raise NotAllowed("this takes two persons: whoever asked for it cannot agree to it as well")
        await self._enter(AGREE, caller, person, reason, approval, self._decided(_AGREE, person, found))
        return await self._carry_out(caller, await self.find(caller, approval))

    async def refuse(self, caller: str, person: Actor, approval: str, *, reason: str) -> Approval:
        """Refuse; whoever asked may take it back so, and also what was agreed to and cut off. Raises NotAllowed,
        NotPossible.
        """
        refused = self._decided(_REFUSE, person, await self._decidable(caller, approval))
        await self._enter(REFUSE_APPROVAL, caller, person, reason, approval, refused)
        return await self.find(caller, approval)

    async def carry_out(self, caller: str, approval: str) -> tuple[Approval, Done]:
        """Do what was agreed to and cut off. Raises NotPossible for what is done, or not agreed to within LIVES, and
        as the act.
        """
        found = await self._decidable(caller, approval)
        if found.state is not State.AGREED:
            raise NotPossible([f"approval: {_STANDS[found.stands(self._clock())]}"])
        if str(found.decided_at) <= timestamp(self._clock() - LIVES):
            raise NotPossible(["approval: was agreed to too long ago; refuse it, and ask anew"])
        return await self._carry_out(caller, found)

    async def _decidable(self, caller: str, approval: str) -> Approval:
        self._require(caller, Role.OPERATE)
        return await self.find(caller, approval)

    def _decided(self, statement: str, person: Actor, found: Approval) -> Callable[[Connection], None]:
        now = timestamp(self._clock())
        if not skeleton(person.name):
            raise InvalidRequest(["person: must have a letter"])

        def also(connection: Connection) -> None:
            if connection.execute_many(statement, [(_text(person), now, found.id, now)]) != 1:
                stands = found.stands(self._clock())
                raise NotPossible([f"approval: {_DECIDED if stands == State.ASKED else _STANDS[stands]}"])

        return also

    async def _carry_out(self, caller: str, found: Approval) -> tuple[Approval, Done]:
        assert found.decided_by is not None  # noqa: S101 - whoever agrees is noted with it
        agreed = Agreed(found.id, found.act, found.what, found.reason, found.asked_by, found.decided_by)
        try:
            done = await self._doers[found.act](caller, agreed)
        except StoreError:  # which says nothing against the act: it can be carried out later
            raise
        except QaqpaError as error:
            failed = (error.code, found.id)
            await self._store.write(lambda connection: connection.execute(_FAILED, failed))
            raise
        return await self.find(caller, found.id), done

    async def _enter(
        self,
        act: str,
        caller: str,
        person: Actor,
        reason: str,
        approval: str,
        also: Callable[[Connection], None],
        **more: str,
    ) -> None:
        if person.system_user is not None:
            more["system_user"] = person.system_user
        await self._control(
            act, caller=caller, person=person.entered, reason=reason, also=also, approval=approval, **more
        )


WHAT: Mapping[Act, frozenset[str]] = {
    Act.ERASE: frozenset({"subject"}),
    Act.FORCE_ERASURE: frozenset({"subject", "instrument"}),
    Act.RECALL_HANDOVER: frozenset({"handover", "reason"}),
    Act.SETTLE: frozenset({"disclosure", "result"}),
}
"""What each act is told."""
BESIDE: Mapping[Act, frozenset[str]] = {Act.RECALL_HANDOVER: frozenset({"due_on", "way"})}
"""What it may be told beside that."""


def _require_right(act: Act, what: Mapping[str, str]) -> None:
    if not WHAT[act] <= set(what) <= WHAT[act] | BESIDE.get(act, frozenset()):
        raise InvalidRequest([f"{act}: takes {', '.join(sorted(WHAT[act]))}"])
    settled = set(OutcomeResult) - {OutcomeResult.UNKNOWN}
    if act is Act.SETTLE and what["result"] not in settled:
        raise InvalidRequest([f"result: is one of {', '.join(sorted(settled))}"])
    if act is Act.RECALL_HANDOVER and what["reason"] not in set(RecallReason):
        raise InvalidRequest([f"reason: is one of {', '.join(RecallReason)}"])
    if what.get("way", LETTER) != LETTER:
        raise InvalidRequest([f"way: is {LETTER}, or left out"])
