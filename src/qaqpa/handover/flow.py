"""The flow of a handover, from a register to a receipt, in the order that the policy demands.

    take in · [read · decide · intend each row · minimise · write · seal] · intend the package · send · receipt

A register with one row that must not be in it is a breach, and one sent twice or half is a dispute: so every row is
decided and in the ledger on its own, the package goes as one, and it is in the ledger before a byte of it leaves. Each
turn may be cut off anywhere, by a kill too, and is begun again from what the database says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from qaqpa import log
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
    VerificationFailed,
)
from qaqpa.handover import records, uploading
from qaqpa.handover.batches import Batches
from qaqpa.handover.deciding import HeldUp
from qaqpa.handover.packer import Packer
from qaqpa.handover.pulse import Done, Stretch, beating
from qaqpa.handover.receiving import Receipts
from qaqpa.handover.records import Handover
from qaqpa.handover.standing import consents_in, consents_stand, perhaps_there, why_not
from qaqpa.handover.sweep import Sweep
from qaqpa.handover.waiting import LONGEST_REST_S, LOOK_AGAIN_S, turn_comes_in, until_open
from qaqpa.jobs import Run
from qaqpa.ledger import Ledger
from qaqpa.ledger.entered import cancel_rows
from qaqpa.ledger.handovers import conclude_package, entered_chunks, intend_package, moved
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import FINAL, HandoverState, PackageIntent, RowResult, SealedPackage
from qaqpa.model.identifiers import HandoverId, RecipientId
from qaqpa.model.words import OutcomeResult, timestamp
from qaqpa.store import Connection
from qaqpa.transport.packages import PackageTransport

_log = log.get("handover")
KIND = "handover"
"""Of its jobs."""
OVER = -1.0
"""What a turn answers when nothing is left to do."""
REGISTER = "register"
_RECEIPT_S = 60.0
"""Between two looks for a receipt, at most."""
_PART_OF_AGE = 0.02
"""Of the time for which a receipt is awaited: so long is the next rest."""
TURNS = 500
"""After which a job ends and is begun anew, so that its books stay short however long a receipt is awaited."""
_LOOKED_EVERY_S = 1.0
"""Whether it is to be cancelled, while an upload lasts."""
_FIRST_REST_S = 2.0
"""After a failure; twice as long after each."""
GIVE_UP = timedelta(days=2)
"""After which a package that could not be sent is given up: surely not sent, and a person orders it anew."""


@dataclass(frozen=True, slots=True)
class HandoverFlow:
    """What the flow works with."""

    packer: Packer
    transport: PackageTransport
    receipts: Receipts
    batches: Batches
    sweep: Sweep
    enter_policy: Callable[[bool], Awaitable[None]]
    """Enters the policy and configuration that are acted on, unless that was done; `True`: although it was."""
    alarm: Callable[[VerificationFailed], Awaitable[None]]
    """Told where what is noted of a handover is not what the ledger has."""
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
        """Handovers that a job has something to do for: whose files are on this machine, or are given up for lost."""
        await self.sweep.if_due()
        before = self.ledger.clock() - GIVE_UP
        found, old = await self.ledger.store.read(lambda c: (records.worked_on(c), records.given_up(c, before)))
        return [each for each in found if each in old or (self.packer.folder / each).is_dir()]

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
            now = await self.load(handover)
            rest = await self._step(now)
        except QaqpaError as error:
            if isinstance(error, DecisionOutdated):
                self.outdated.add(handover)
            failed = self.failures[handover] = self.failures.get(handover, 0) + 1
            _log.warning("handover waits", handover=handover, code=error.code, failed=failed)
            if isinstance(error, VerificationFailed):
                await self.alarm(error)
            await self._noted(handover, waits={"code": error.code, "failed": failed})
            return float(min(LONGEST_REST_S, _FIRST_REST_S * 2 ** min(failed - 1, 20)))
        except Exception as error:  # noqa: BLE001 - a defect of ours must not end the job: a person looks, a restart goes on
            _log.error("handover failed", handover=handover, error_type=type(error).__name__)
            return LONGEST_REST_S
        self.failures.pop(handover, None)
        if now.figures.get("waits"):
            await self._noted(handover, waits=None)
        return rest

    async def _noted(self, handover: HandoverId, **figures: Json) -> None:
        with suppress(QaqpaError):  # for people who look: nothing rests on it
            await self.ledger.store.write(lambda connection: records.note(connection, handover, **figures))

    async def _step(self, handover: Handover) -> float:
        match handover.state:
            case HandoverState.QUEUED:
                await self._to(handover, HandoverState.DECIDING)
                return 0
            case HandoverState.DECIDING:
                with self.packer.alone(handover):
                    now = await self.load(handover.id)  # another one may just have let go
                    return await self._decide(now) if now.state is handover.state else 0
            case HandoverState.PACKAGED:
                return await self._packaged(handover)
            case HandoverState.SENDING if not self.packer.folder_of(handover).is_dir():
                return await self._lost(handover)
            case HandoverState.SENDING:
                return await self._send(handover)
            case HandoverState.SENT:
                return await self._await_receipt(handover)
            case state:
                if state in FINAL:
                    self.packer.tidy(handover)
                return OVER

    async def load(self, handover: HandoverId) -> Handover:
        return await self.ledger.store.read(lambda connection: records.find(connection, handover))

    async def _to(self, handover: Handover, state: HandoverState, **figures: Json) -> Handover:
        """Move on. Raises DecisionOutdated where somebody (a cancellation) was faster."""
        changed = replace(handover, state=state, figures={**handover.figures, **figures})
        await self.ledger.store.write(lambda connection: self._moved(connection, handover, changed))
        self.seen(handover.id, state)
        return changed

    def _moved(self, connection: Connection, before: Handover, after: Handover) -> None:
        moved(connection, before.id, before.state, after.state, after.figures, timestamp(self.ledger.clock()))
        # Once the package is whole nobody needs to read the register again; a bureau's answer is found by it.
        asked_later = after.order.recipient in self.batches.bureaus
        if after.state in FINAL or (after.state is HandoverState.PACKAGED and not asked_later):
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
            begun = await self._decided(handover.id)
            async with self._pulse(handover, lambda: self._decided(handover.id), anew=begun == Done(0, 0)):
                packed = await self.packer.pack(handover)
        except (RegisterRefused, NotPossible) as error:
            # Not possible: what is to go cannot be written in the recipient's layout, today or tomorrow.
            return await self.cancel(handover, error.code, problems=list(error.problems))
        except HeldUp as held:
            return await self.cancel(handover, held.code, **held.figures)
        self.packer.tidy(await self._to(handover, HandoverState.PACKAGED, **packed.figures))
        return 0

    async def _decided(self, handover: HandoverId) -> Done:
        found = await self.ledger.store.read(lambda connection: records.progress(connection, handover))
        return Done(found.rows, found.read)

    def _pulse(
        self, handover: Handover, done: Callable[[], Awaitable[Done]], *, anew: bool
    ) -> AbstractAsyncContextManager[None]:
        """Notes that it is worked on, and how far an upload is."""

        async def note(run: Stretch, found: Done) -> None:
            uploaded = {"uploaded": found.bytes} if run.state is HandoverState.SENDING else {}
            await self._noted(handover.id, run=run.plain(), **uploaded)

        return beating(handover.state, self.ledger.clock, done, note, anew=anew)

    # --- send --------------------------------------------------------------------------------------

    async def _packaged(self, handover: Handover) -> float:
        """Wait for the recipient's window and turn; then the ledger first."""
        self.packer.tidy(handover)  # a kill may have come between
        if (code := await self.why_outdated(handover)) is not None:
            return await self.cancel(handover, code)
        rest = await turn_comes_in(self.packer, handover)
        if rest:
            return rest
        route, terms = self.packer.route(handover), self.packer.partner(handover.order.recipient).terms
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
            seal=terms.seal.kind, rows=handover.figures["rows"], package=dict(handover.figures["package"]),
            still_holds=lambda connection: holds(connection) and self._consents_stand(connection, handover),
            move=lambda connection: self._moved(connection, handover, after),
        )  # fmt: skip
        self.seen(handover.id, HandoverState.SENDING)
        return 0

    def _consents_stand(self, connection: Connection, handover: Handover) -> bool:
        consents = consents_in(entered_chunks(connection, handover.id))
        return consents_stand(connection, consents, self.ledger.clock())

    async def why_outdated(self, handover: Handover) -> str | None:
        """Why the package may not leave any more, as a code; None if it may."""
        packer, now = self.packer, self.ledger.clock()
        if not await self.ledger.store.read(lambda connection: self._consents_stand(connection, handover)):
            return "consent_ended"
        route = packer.policy.find(handover.order.asked)
        if route is None:
            return "changed_meanwhile"
        return why_not(handover, route, packer.policy, packer.digest, now)

    async def _send(self, handover: Handover) -> float:
        """Bring the package there. In doubt nothing is sent again: the recipient's machine is asked first."""
        if handover.order.recipient in self.batches.bureaus:
            return await uploading.send(self, handover)
        package = self.sealed(handover)
        code = "cancelled" if handover.figures.get("cancel") else await self.why_outdated(handover)
        if code is not None:
            return await self._given_up(handover, package, code)
        if wait := until_open(self.packer, handover.order.recipient):  # a try that failed is not made good at night
            return min(wait, LONGEST_REST_S)
        uploaded = [0]

        async def sent() -> Done:
            return Done(0, uploaded[0])

        sending = asyncio.ensure_future(self.transport.deliver(package, lambda there: uploaded.__setitem__(0, there)))
        watching = asyncio.ensure_future(self._wanted(handover.id, sending))
        try:
            async with self._pulse(handover, sent, anew=not handover.figures.get("uploaded")):
                await sending
        except asyncio.CancelledError:
            if not (sending.cancelled() and (await self.load(handover.id)).figures.get("cancel")):
                raise
            return await self._given_up(handover, package, "cancelled")
        except PackageChanged as error:
            return await self._given_up(handover, package, error.code)
        except ThirdPartyError as error:
            if self.ledger.clock() - handover.changed > GIVE_UP:
                return await self._given_up(handover, package, error.code)
            arrived = False if isinstance(error, NotSent) else await self.transport.arrived(package)
            if arrived is None:
                return await self.ended(handover, OutcomeResult.UNKNOWN, error.code, HandoverState.UNKNOWN)
            if not arrived:
                raise
        finally:
            watching.cancel()
            sending.cancel()
        await self.ended(handover, OutcomeResult.DELIVERED, "ok", HandoverState.SENT)
        return LOOK_AGAIN_S

    async def _wanted(self, handover: HandoverId, sending: asyncio.Future[None]) -> None:
        """Stops the sending when a person, in whatever process, cancels it."""
        while not sending.done():
            await asyncio.sleep(_LOOKED_EVERY_S)
            with suppress(StoreError):
                if (await self.load(handover)).figures.get("cancel"):
                    sending.cancel()
                    return

    async def _given_up(self, handover: Handover, package: SealedPackage, code: str) -> float:
        """It is not to be sent any more. An earlier try may have brought it there all the same, or perhaps so."""
        try:
            arrived = await self.transport.discard(package)
        except (ThirdPartyError, StoreUnavailable):  # nobody can be asked, or not with this file
            arrived = await asyncio.to_thread(perhaps_there, package)
        if arrived:
            return await self.ended(handover, OutcomeResult.DELIVERED, "ok", HandoverState.SENT)
        if arrived is None:
            return await self.ended(handover, OutcomeResult.UNKNOWN, code, HandoverState.UNKNOWN)
        return await self.ended(handover, OutcomeResult.NOT_SENT, code, HandoverState.CANCELLED)

    async def _lost(self, handover: Handover) -> float:
        """Its files are elsewhere, or nowhere: whether it arrived cannot be asked from here, only given up as unknown.

        Else it would stand for ever before everything else that its recipient is to get.
        """
        if handover.figures.get("cancel") or self.ledger.clock() - handover.changed > GIVE_UP:
            return await self.ended(handover, OutcomeResult.UNKNOWN, "files_lost", HandoverState.UNKNOWN)
        raise StoreUnavailable(
            "the package of this handover is not on this machine: let the gateway that made it run, or share the "
            "folder handovers of the home; `qaqpa handover cancel` gives it up"
        )

    def sealed(self, handover: Handover) -> SealedPackage:
        """The package, with the intent to send it that stands in the ledger. Raises NotConfigured."""
        figures, recipient = handover.figures["package"], RecipientId(handover.order.recipient)
        seal = self.packer.partner(handover.order.recipient).terms.seal.kind
        intent = PackageIntent(handover.id, -1, recipient, seal, figures["sha256"], figures["bytes"])
        path = self.packer.package_path(handover)
        return SealedPackage(intent, path, path.name)

    # --- after it left -----------------------------------------------------------------------------

    async def _await_receipt(self, handover: Handover) -> float:
        """Look for receipts; a late one is told of once."""
        if handover.order.recipient in self.batches.bureaus:
            return await uploading.ask(self, handover)
        await self.receipts.look(handover.order.recipient)
        current = await self.load(handover.id)
        if current.state is not HandoverState.SENT:
            return 0
        now = self.ledger.clock()
        due = handover.changed + self.packer.partner(handover.order.recipient).terms.receipts.due
        if now > due and not handover.figures.get("receipt_late"):
            _log.warning("receipt late", handover=handover.id, recipient=handover.order.recipient)
            await self._to(current, HandoverState.SENT, receipt_late=True)
        waited = (now - handover.changed).total_seconds()
        return float(min(_RECEIPT_S, max(LOOK_AGAIN_S, waited * _PART_OF_AGE)))

    # --- the end -----------------------------------------------------------------------------------

    async def ended(
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
