"""The flow of a handover, from a register to a receipt, in the order that the policy demands.

    take in · [read · decide · intend each row · minimise · write · seal] · intend the package · send · receipt

A register with one row that must not be in it is a breach, and one sent twice or half is a dispute: so every row is
decided and in the ledger on its own, the package goes as one, and it is in the ledger before a byte of it leaves. Each
turn may be cut off anywhere, by a kill too, and is begun again from what the database says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from qaqpa import log
from qaqpa.config.packages import Packages
from qaqpa.errors import (
    DecisionOutdated,
    NotPossible,
    NotSent,
    PackageChanged,
    QaqpaError,
    RegisterRefused,
    StoreError,
    StoreUnavailable,
    ThirdPartyError,
)
from qaqpa.handover import records
from qaqpa.handover.deciding import HeldUp
from qaqpa.handover.packer import Packer
from qaqpa.handover.receiving import Receipts
from qaqpa.handover.records import Handover
from qaqpa.handover.standing import consents_in, consents_stand, why_not
from qaqpa.handover.sweep import Sweep
from qaqpa.jobs import Run
from qaqpa.ledger import Ledger
from qaqpa.ledger.handovers import cancel_rows, conclude_package, entered_chunks, intend_package, moved
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import FINAL, HandoverState, PackageIntent, RowResult, SealedPackage
from qaqpa.model.identifiers import HandoverId, RecipientId
from qaqpa.model.words import OutcomeResult, timestamp
from qaqpa.store import Connection
from qaqpa.transport.packages import PackageTransport, Stage, read_mark

_log = log.get("handover")
KIND = "handover"
"""Of its jobs."""
OVER = -1.0
"""What a turn answers when nothing is left to do."""
REGISTER = "register"
_LOOK_AGAIN_S = 5.0
_RECEIPT_S = 60.0
"""Between two looks for a receipt, at most."""
_PART_OF_AGE = 0.02
"""Of the time for which a receipt is awaited: so long is the next rest."""
TURNS = 500
"""After which a job ends and is begun anew, so that its books stay short however long a receipt is awaited."""
_FIRST_REST_S, _LONGEST_REST_S = 2.0, 600.0
"""After a failure; twice as long after each."""
GIVE_UP = timedelta(days=2)
"""After which a package that could not be sent is given up: surely not sent, and a person orders it anew."""


@dataclass(frozen=True, slots=True)
class HandoverFlow:
    """What the flow works with."""

    packer: Packer
    transport: PackageTransport
    receipts: Receipts
    sweep: Sweep
    enter_policy: Callable[[bool], Awaitable[None]]
    """Enters the policy and configuration that are acted on, unless that was done; `True`: although it was."""
    seen: Callable[[HandoverId, HandoverState], None] = lambda _id, _state: None
    """Told of each change."""
    failures: dict[str, int] = field(default_factory=dict)
    """How often in a row a turn of a handover failed, in this process."""
    outdated: set[str] = field(default_factory=set)
    """Handovers whose last turn met a change."""

    @property
    def ledger(self) -> Ledger:
        """Where rows and packages are intended."""
        return self.packer.ledger

    async def outbox(self) -> list[str]:
        """Handovers that a job has something to do for, and whose files are on this machine."""
        await self.sweep.if_due()
        found = await self.ledger.store.read(records.worked_on)
        return [each for each in found if (self.packer.folder / each).is_dir()]

    # --- the job -----------------------------------------------------------------------------------

    async def work(self, run: Run, handover: str) -> None:
        """The job of one handover: turns, and rests between them."""
        for _ in range(TURNS):
            rest = await run.step("turn", lambda: self._turn(HandoverId(handover)))
            if rest < 0:
                return
            if rest:
                await run.sleep(rest)

    async def _turn(self, handover: HandoverId) -> float:
        """One turn: seconds to rest before the next, or OVER. Raises nothing that a later turn could mend."""
        try:
            # Nothing is entered under a configuration that the ledger does not name; another process may have its own.
            await self.enter_policy(handover in self.outdated)
            self.outdated.discard(handover)
            now = await self._load(handover)
            rest = await self._step(now)
        except QaqpaError as error:
            if isinstance(error, DecisionOutdated):
                self.outdated.add(handover)
            failed = self.failures[handover] = self.failures.get(handover, 0) + 1
            _log.warning("handover waits", handover=handover, code=error.code, failed=failed)
            return float(min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** min(failed - 1, 20)))
        except Exception as error:  # noqa: BLE001 - a defect of ours must not end the job: a person looks, a restart goes on
            _log.error("handover failed", handover=handover, error_type=type(error).__name__)
            return _LONGEST_REST_S
        self.failures.pop(handover, None)
        return rest

    async def _step(self, handover: Handover) -> float:
        match handover.state:
            case HandoverState.QUEUED:
                await self._to(handover, HandoverState.DECIDING)
                return 0
            case HandoverState.DECIDING:
                with self.packer.alone(handover):
                    now = await self._load(handover.id)  # another one may just have let go
                    return await self._decide(now) if now.state is handover.state else 0
            case HandoverState.PACKAGED:
                return await self._packaged(handover)
            case HandoverState.SENDING:
                return await self._send(handover)
            case HandoverState.SENT:
                return await self._await_receipt(handover)
            case state:
                if state in FINAL:
                    self.packer.tidy(handover)
                return OVER

    async def _load(self, handover: HandoverId) -> Handover:
        return await self.ledger.store.read(lambda connection: records.find(connection, handover))

    async def _to(self, handover: Handover, state: HandoverState, **figures: Json) -> Handover:
        """Move on. Raises DecisionOutdated where somebody (a cancellation) was faster."""
        changed = replace(handover, state=state, figures={**handover.figures, **figures})
        await self.ledger.store.write(lambda connection: self._moved(connection, handover, changed))
        self.seen(handover.id, state)
        return changed

    def _moved(self, connection: Connection, before: Handover, after: Handover) -> None:
        moved(connection, before.id, before.state, after.state, after.figures, timestamp(self.ledger.clock()))
        if after.state is HandoverState.PACKAGED:  # nobody needs to read the register again
            records.forget_key(connection, before.id)

    # --- decide and pack ---------------------------------------------------------------------------

    async def _decide(self, handover: Handover) -> float:
        """Every row, and the package of those that may go. What cannot be read or must not go ends the handover."""
        try:
            if handover.order.strict and not handover.figures.get("screened"):
                # Decided twice: first dry, so that one bad row leaves no trace of the others.
                if blocked := await self.packer.blocked(handover):
                    return await self.cancel(handover, "strict", held_up_by=blocked)
                handover = await self._to(handover, HandoverState.DECIDING, screened=True)
            packed = await self.packer.pack(handover)
        except (RegisterRefused, NotPossible) as error:
            # Not possible: what is to go cannot be written in the recipient's layout, today or tomorrow.
            return await self.cancel(handover, error.code, problems=list(error.problems))
        except HeldUp as held:
            return await self.cancel(handover, held.code, **held.figures)
        self.packer.tidy(await self._to(handover, HandoverState.PACKAGED, **packed.figures))
        return 0

    # --- send --------------------------------------------------------------------------------------

    async def _packaged(self, handover: Handover) -> float:
        """Wait for the recipient's window and turn; then the ledger first."""
        self.packer.tidy(handover)  # a kill may have come between
        if (code := await self._outdated(handover)) is not None:
            return await self.cancel(handover, code)
        rest = await self._turn_comes_in(handover)
        if rest:
            return rest
        route, config = self.packer.route(handover), self.packer.partner(handover).config
        policy: dict[str, Json] = {
            "policy": self.packer.policy.version_on(self.packer.policy.day(self.ledger.clock())),
            "ground": route.ground.value,
            "clauses": list(route.clauses),
        }
        at = timestamp(self.ledger.clock())
        after = replace(handover, state=HandoverState.SENDING, figures={**handover.figures, "intended_at": at})
        holds = self.packer.still_holds(handover)
        await intend_package(
            self.ledger, handover.id, handover.order.asked, policy,
            seal=config.seal.kind, rows=handover.figures["rows"], package=dict(handover.figures["package"]),
            still_holds=lambda connection: holds(connection) and self._consents_stand(connection, handover),
            move=lambda connection: self._moved(connection, handover, after),
        )  # fmt: skip
        self.seen(handover.id, HandoverState.SENDING)
        return 0

    def _consents_stand(self, connection: Connection, handover: Handover) -> bool:
        consents = consents_in(entered_chunks(connection, handover.id))
        return consents_stand(connection, consents, self.ledger.clock())

    async def _outdated(self, handover: Handover) -> str | None:
        """Why the package may not leave any more, as a code; None if it may."""
        packer, now = self.packer, self.ledger.clock()
        if not await self.ledger.store.read(lambda connection: self._consents_stand(connection, handover)):
            return "consent_ended"
        route = packer.policy.find(handover.order.asked)
        if route is None:
            return "changed_meanwhile"
        return why_not(handover, route, packer.policy, packer.config, now)

    async def _send(self, handover: Handover) -> float:
        """Bring the package there. In doubt nothing is sent again: the recipient's machine is asked first."""
        package = self.sealed(handover)
        code = "cancelled" if handover.figures.get("cancel") else await self._outdated(handover)
        if code is not None:
            return await self._given_up(handover, package, code)
        if wait := self._until_open(handover):  # a try that failed is not made good at night
            return min(wait, _LONGEST_REST_S)
        sending = asyncio.ensure_future(self.transport.deliver(package, lambda _bytes: None))
        watching = asyncio.ensure_future(self._wanted(handover.id, sending))
        try:
            await sending
        except asyncio.CancelledError:
            if not (sending.cancelled() and (await self._load(handover.id)).figures.get("cancel")):
                raise
            return await self._given_up(handover, package, "cancelled")
        except PackageChanged as error:
            return await self._given_up(handover, package, error.code)
        except ThirdPartyError as error:
            if self.ledger.clock() - handover.changed > GIVE_UP:
                return await self._given_up(handover, package, error.code)
            arrived = False if isinstance(error, NotSent) else await self.transport.arrived(package)
            if arrived is None:
                return await self._ended(handover, OutcomeResult.UNKNOWN, error.code, HandoverState.UNKNOWN)
            if not arrived:
                raise
        finally:
            watching.cancel()
            sending.cancel()
        await self._ended(handover, OutcomeResult.DELIVERED, "ok", HandoverState.SENT)
        return _LOOK_AGAIN_S

    async def _wanted(self, handover: HandoverId, sending: asyncio.Future[None]) -> None:
        """Stops the sending when a person, in whatever process, cancels it."""
        while not sending.done():
            await asyncio.sleep(1)
            with suppress(StoreError):
                if (await self._load(handover)).figures.get("cancel"):
                    sending.cancel()
                    return

    async def _given_up(self, handover: Handover, package: SealedPackage, code: str) -> float:
        """It is not to be sent any more. An earlier try may have brought it there all the same, or perhaps so."""
        try:
            arrived = await self.transport.discard(package)
        except ThirdPartyError:
            arrived = await asyncio.to_thread(_perhaps, package)
        if arrived:
            return await self._ended(handover, OutcomeResult.DELIVERED, "ok", HandoverState.SENT)
        if arrived is None:
            return await self._ended(handover, OutcomeResult.UNKNOWN, code, HandoverState.UNKNOWN)
        return await self._ended(handover, OutcomeResult.NOT_SENT, code, HandoverState.CANCELLED)

    def sealed(self, handover: Handover) -> SealedPackage:
        """The package, with the intent to send it that stands in the ledger. Raises StoreUnavailable, NotConfigured."""
        if not self.packer.folder_of(handover).is_dir():
            raise StoreUnavailable(
                "the package of this handover is not on this machine: let the gateway that made it run, or share the "
                "folder handovers of the home"
            )
        figures, recipient = handover.figures["package"], RecipientId(handover.order.recipient)
        seal = self.packer.partner(handover).config.seal.kind
        intent = PackageIntent(handover.id, -1, recipient, seal, figures["sha256"], figures["bytes"])
        path = self.packer.package_path(handover)
        return SealedPackage(intent, path, path.name)

    def _until_open(self, handover: Handover) -> float:
        zone = self.packer.policy.operator.time_zone
        return until_open(self.packer.partner(handover).config, self.ledger.clock().astimezone(zone))

    async def _turn_comes_in(self, handover: Handover) -> float:
        """Seconds until it may be tried: the window is closed, another one goes first, or the day's number is full."""
        config, now = self.packer.partner(handover).config, self.ledger.clock()
        if wait := self._until_open(handover):
            return min(wait, _LONGEST_REST_S)
        others = await self.ledger.store.read(
            lambda connection: records.in_states(connection, HandoverState.PACKAGED, HandoverState.SENDING)
        )
        rank = _rank(handover)
        first = any(
            each.order.recipient == handover.order.recipient
            and (each.state is HandoverState.SENDING or _rank(each) < rank)
            for each in others
            if each.id != handover.id
        )
        if first:
            return _LOOK_AGAIN_S
        if config.per_day is not None:
            since = timestamp(now - timedelta(days=1))
            sent = await self.ledger.store.read(lambda c: records.sent_since(c, handover.order.recipient, since))
            if sent >= config.per_day:
                return _LONGEST_REST_S
        return 0

    # --- after it left -----------------------------------------------------------------------------

    async def _await_receipt(self, handover: Handover) -> float:
        """Look for receipts; a late one is told of once."""
        await self.receipts.look(handover.order.recipient)
        current = await self._load(handover.id)
        if current.state is not HandoverState.SENT:
            return 0
        now = self.ledger.clock()
        due = handover.changed + self.packer.partner(handover).config.receipts.due
        if now > due and not handover.figures.get("receipt_late"):
            _log.warning("receipt late", handover=handover.id, recipient=handover.order.recipient)
            await self._to(current, HandoverState.SENT, receipt_late=True)
        waited = (now - handover.changed).total_seconds()
        return float(min(_RECEIPT_S, max(_LOOK_AGAIN_S, waited * _PART_OF_AGE)))

    # --- the end -----------------------------------------------------------------------------------

    async def _ended(
        self, handover: Handover, result: OutcomeResult, code: str, state: HandoverState, **figures: Json
    ) -> float:
        """Conclude every row of a package that was intended, and move on."""
        if result is not OutcomeResult.NOT_SENT:
            figures["left_at"] = timestamp(self.ledger.clock())
        after = replace(handover, state=state, figures={**handover.figures, "code": code, **figures})
        await conclude_package(
            self.ledger, handover.id, result, code, handover.figures["rows"],
            lambda connection: self._moved(connection, handover, after),
        )  # fmt: skip
        self.seen(handover.id, state)
        self.packer.tidy(after)
        return OVER if state in {HandoverState.CANCELLED, HandoverState.UNKNOWN} else 0

    async def cancel(self, handover: Handover, code: str, **figures: Json) -> float:
        """End a handover of which nothing was sent: its rows that stand in the ledger are concluded as not sent.

        Unknown where our own marks say that a package of it left: the database is an old one that was restored.
        Raises DecisionOutdated where it has moved on meanwhile.
        """
        result, state = OutcomeResult.NOT_SENT, HandoverState.CANCELLED
        if self.packer.was_begun(handover):
            rows = await self.ledger.store.read(lambda connection: records.counts(connection, handover.id))
            if rows[RowResult.PERMIT]:
                result, state = OutcomeResult.UNKNOWN, HandoverState.UNKNOWN
        after = replace(handover, state=state, figures={**handover.figures, "code": code, **figures})

        def move(connection: Connection) -> None:
            self._moved(connection, handover, after)
            records.forget_key(connection, handover.id)

        await cancel_rows(self.ledger, handover.id, result, code, move)
        self.seen(handover.id, state)
        self.packer.tidy(after)
        return OVER


def _perhaps(package: SealedPackage) -> bool | None:
    """Whether it stands at its recipient, by our own marks alone; None where they do not tell."""
    mark = read_mark(package)
    if mark is None:
        return False if package.path.exists() else None  # our files are gone, and perhaps the mark among them
    return {Stage.BEGUN: False, Stage.PLACED: True}.get(mark.stage)


def _rank(handover: Handover) -> tuple[int, datetime, str]:
    return -handover.order.priority, handover.since, handover.id


def until_open(config: Packages, now: datetime) -> float:
    """Seconds from `now`, by the operator's clock, until a window of the recipient is open; 0 while one is."""
    if not config.windows:
        return 0
    waits = []
    for window in config.windows:
        opens = datetime.combine(now.date(), window.opens, now.tzinfo)
        closes = datetime.combine(now.date(), window.closes, now.tzinfo)
        if opens <= now < closes:
            return 0
        waits.append(((opens if now < opens else opens + timedelta(days=1)) - now).total_seconds())
    return min(waits)
