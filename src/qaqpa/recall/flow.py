"""The flow of a recall, from somebody's asking to a notice that the recipient has, in the order that policy demands.

    route · decide · (write and seal) · intend · send · conclude · wait for the receipt

A notice goes as a package of ids wherever the recipient takes packages; else as a message in the recipient's own
format, which names the contract, and is then a disclosure like any other. Each turn may be cut off anywhere, by a kill
too, and is begun again from what the database says; nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from qaqpa import log
from qaqpa.errors import (
    Blocked,
    InvalidRequest,
    NotConfigured,
    NotFound,
    NotSent,
    PackageChanged,
    QaqpaError,
    Rejected,
    StoreUnavailable,
    ThirdPartyError,
)
from qaqpa.handover.manifest import Member, manifest, signature
from qaqpa.handover.packer import ENDINGS, Packer, Partner
from qaqpa.handover.standing import perhaps_there
from qaqpa.handover.waiting import until_open
from qaqpa.jobs import Run
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.handovers import entered_chunks
from qaqpa.ledger.recalls import enter, intend_notice, notice_intent, notice_outcome, refuse_notice
from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import PackageIntent, SealedPackage
from qaqpa.model.identifiers import CallerId, HandoverId, RecipientId, uuid7
from qaqpa.model.recall import Recall, RecallScope, RecallState
from qaqpa.model.request import ContractFacts
from qaqpa.model.words import OutcomeResult, timestamp
from qaqpa.policy import Facts, Policy, Route, decide
from qaqpa.recall import records
from qaqpa.recall.notice import Message, SendMessage, write_notice
from qaqpa.recall.records import Recalled
from qaqpa.recall.sources import Left, named, outcome, route_back, stated_contract
from qaqpa.seal import require_valid
from qaqpa.store import Connection
from qaqpa.transport.packages import PackageTransport

_log = log.get("recall")
KIND = "recall"
"""Of its jobs."""
OVER = -1.0
FOLDER = "recalls"
_LOOK_AGAIN_S = 5.0
_FIRST_REST_S, _LONGEST_REST_S = 2.0, 600.0
_RECEIPT_S, _EIGHTH = 60.0, 8
"""Between two looks for a receipt: an eighth of the time that has passed, at most so long."""
_AGAIN_S = 1.0
"""A recipient's receipts are looked for so often at most, however many recalls wait for one."""
GIVE_UP = timedelta(days=2)
"""After which a notice that could not be sent is given up: surely not sent, and a person lets it go anew."""
_AFTER = {
    OutcomeResult.DELIVERED: RecallState.SENT,
    OutcomeResult.REJECTED: RecallState.REFUSED,
    OutcomeResult.NOT_SENT: RecallState.BLOCKED,
    OutcomeResult.UNKNOWN: RecallState.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class RecallFlow:
    """What the flow works with."""

    packer: Packer
    """Which recipients take packages, how they are sealed and signed."""
    transport: PackageTransport
    look: Callable[[str], Awaitable[int]]
    """Fetches the receipts of a recipient."""
    still_holds: Callable[[str], StillHolds]
    """Whether, in the transaction of an intent, configuration and recipient are as they were."""
    send_message: SendMessage
    folder: Path
    """Where notices lie, sealed: a folder for each."""
    failures: dict[str, int] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)
    """When, by this process's clock, a recipient's receipts were last looked for."""

    @property
    def ledger(self) -> Ledger:
        """Where notices are intended."""
        return self.packer.ledger

    @property
    def policy(self) -> Policy:
        """What decides about them."""
        return self.packer.policy

    async def outbox(self) -> list[str]:
        """Recalls that a job has something to do for."""
        return await self.ledger.store.read(records.worked_on)

    def route(self, recall: Recalled) -> Route | None:
        """The route of its notice; None where the recipient can be asked by letter only."""
        asked = Asked(CallerId(recall.caller), RecipientId(recall.recipient), "", recall.purpose)
        return route_back(self.policy, Left(recall.target, recall.scope, None, None, asked, recall.since, None, None))

    def by_package(self, recall: Recalled) -> bool:
        """Whether its notice is a package of ids."""
        route = self.route(recall)
        return route is not None and route.operation.package and recall.recipient in self.packer.partners

    # --- the job -----------------------------------------------------------------------------------

    async def work(self, run: Run, recall: str) -> None:
        """The job of one recall: turns, and rests between them."""
        while (rest := await run.step("turn", lambda: self.turn(recall))) >= 0:
            if rest:
                await run.sleep(rest)

    async def turn(self, name: str) -> float:
        """One turn: seconds to rest before the next, or OVER. Raises nothing that a later turn could mend."""
        try:
            recall = await self._load(name)
            rest = await self._step(recall)
        except NotFound:
            return OVER
        except QaqpaError as error:
            failed = self.failures[name] = self.failures.get(name, 0) + 1
            _log.warning("recall waits", recall=name, code=error.code)
            return float(min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** min(failed - 1, 20)))
        except Exception as error:  # noqa: BLE001 - a defect of ours must not end the job: a restart goes on
            _log.error("recall failed", recall=name, error_type=type(error).__name__)
            return _LONGEST_REST_S
        self.failures.pop(name, None)
        return rest

    async def _step(self, recall: Recalled) -> float:
        packaged = "package" in recall.figures
        match recall.state:
            case RecallState.ASKED:
                return await (self._write(recall) if self.by_package(recall) else self._send_message(recall))
            case RecallState.SENDING:
                return await (self._send(recall) if packaged else self._followed(recall))
            case RecallState.SENT | RecallState.LATE if packaged:
                return await self._await_receipt(recall)
            case _:
                return OVER

    async def _load(self, recall: str) -> Recalled:
        return await self.ledger.store.read(lambda connection: records.find(connection, recall))

    async def _to(self, recall: Recalled, state: RecallState, **figures: Json) -> Recalled:
        """Move on. Raises DecisionOutdated where somebody (a cancellation) was faster."""
        after = self._after(recall, state, **figures)
        now = self.ledger.clock()
        return await self.ledger.store.write(lambda connection: records.move(connection, recall, after, now))

    @staticmethod
    def _after(recall: Recalled, state: RecallState, **figures: Json) -> Recalled:
        # Whatever comes of it, the contract's number has served.
        sealed = recall.sealed if state is RecallState.ASKED else None
        return replace(recall, state=state, sealed=sealed, figures={**recall.figures, **figures})

    # --- as a package of ids -----------------------------------------------------------------------

    async def _write(self, recall: Recalled) -> float:
        """Decide, write and seal the notice, and intend it: the ledger first."""
        route, now = self.route(recall), self.ledger.clock()
        partner = self._partner(recall.recipient)
        if route is None:
            await self._to(recall, RecallState.BLOCKED, code="no_route")
            return OVER
        if wait := until_open(self.packer, recall.recipient):
            return min(wait, _LONGEST_REST_S)
        decision = await self._decided(route)
        if not decision.permits:
            after = self._after(recall, RecallState.BLOCKED, code=decision.result.value)
            move = self._mover(recall, after)
            await refuse_notice(self.ledger, decision, self.policy.known(decision.asked), recall.id, move)
            _log.warning("recall blocked", recall=recall.id, recipient=recall.recipient, code=decision.result.value)
            return OVER
        require_valid(partner.key, now)
        notice = uuid7()
        path = self._path(recall, notice)
        whole = HandoverId(recall.target if recall.handover is None else recall.handover)
        entered = await self.ledger.store.read(lambda connection: entered_chunks(connection, whole))
        rows = named(entered, recall.scope, recall.target, recall.handover)
        checkpoint = await self.packer.checkpoint()

        def made(figures: Mapping[str, Json], register: Member, others: Sequence[Member]) -> tuple[bytes, bytes]:
            head = {**self._head(recall, route, decision, notice), **figures}
            content = manifest(head, register, others, checkpoint)
            return content, signature(HandoverId(notice), content, self.packer.key, self.ledger.keyring.sign)

        package, count = await asyncio.to_thread(write_notice, notice, recall.recipient, partner.key, path, rows, made)
        figures: dict[str, Json] = {"sha256": package.sha256, "bytes": package.size, "kid": package.kid}
        public = notice_intent(
            notice, recall.id, decision,
            seal=partner.config.seal.kind, disclosures=count, package=figures, at=self.ledger.clock(),
        )  # fmt: skip
        after = replace(
            self._after(recall, RecallState.SENDING, package=figures, disclosures=count, code=None), notice=notice
        )
        await intend_notice(
            self.ledger, public, still_holds=self.still_holds(recall.recipient), move=self._mover(recall, after)
        )
        for other in path.parent.iterdir():  # of attempts that came to nothing
            if not other.name.startswith(notice):
                other.unlink(missing_ok=True)
        return 0

    def _partner(self, recipient: str) -> Partner:
        """Raises NotConfigured where it takes no packages."""
        found = self.packer.partners.get(recipient)
        if not isinstance(found, Partner):
            raise NotConfigured(f"{recipient}: takes no packages; its [packages] is not configured")
        return found

    def _mover(self, before: Recalled, after: Recalled) -> Callable[[Connection], None]:
        def move(connection: Connection) -> None:
            records.move(connection, before, after, self.ledger.clock())

        return move

    async def _decided(self, route: Route) -> Decision:
        """What policy says of a notice that names ids alone: it holds no field, so it lacks none (3.2)."""
        recipient = RecipientId(route.recipient.id)
        asked = Asked(CallerId(route.caller), recipient, route.operation.name, route.purpose)
        suspended = await self.packer.is_suspended(recipient)
        facts = Facts(self.ledger.clock(), asked, route.operation.needs, ContractFacts(), suspended=suspended)
        return decide(self.policy, route, facts)

    def _head(self, recall: Recalled, route: Route, decision: Decision, notice: str) -> dict[str, Json]:
        operator, agreement = self.policy.operator, route.recipient.agreement
        return {
            "notice": notice,
            "recall": recall.id,
            "operator": {"name": operator.name, "bin": operator.bin},
            "recipient": recall.recipient,
            "operation": route.operation.name,
            "purpose": route.purpose,
            "ground": route.ground.value,
            "clauses": list(route.clauses),
            "policy": decision.policy,
            "agreement": None if agreement is None else agreement.number,
            "of": recall.target,
            "scope": recall.scope.value,
            "reason": recall.reason.value,
            "due_on": recall.due_on.isoformat(),
            "verifier_key": str(self.packer.key),
        }

    def _path(self, recall: Recalled, notice: str) -> Path:
        seal = self._partner(recall.recipient).config.seal.kind
        return self.folder / recall.id / f"{notice}.zip.{ENDINGS[seal]}"

    def remove(self, recall: Recalled) -> None:
        """Its notice; what is said of it stays in the database and in the ledger."""
        shutil.rmtree(self.folder / recall.id, ignore_errors=True)

    def _package(self, recall: Recalled) -> SealedPackage:
        """The notice, with the intent to send it that stands in the ledger."""
        if recall.notice is None:
            raise TypeError("a notice that is sent has an id")
        figures, recipient = recall.figures["package"], RecipientId(recall.recipient)
        seal = self._partner(recipient).config.seal.kind
        intent = PackageIntent(HandoverId(recall.notice), -1, recipient, seal, figures["sha256"], figures["bytes"])
        path = self._path(recall, recall.notice)
        return SealedPackage(intent, path, path.name)

    async def _send(self, recall: Recalled) -> float:
        """Bring the notice there. In doubt nothing is sent again: the recipient's machine is asked first."""
        package = self._package(recall)
        if not package.path.exists():
            # Written on another machine, which may have sent it: nobody here can say that it did not leave.
            if self.ledger.clock() - recall.changed > GIVE_UP:
                return await self._concluded(recall, OutcomeResult.UNKNOWN, "elsewhere")
            return _RECEIPT_S
        if wait := until_open(self.packer, recall.recipient):  # a try that failed is not made good at night
            return min(wait, _LONGEST_REST_S)
        try:
            await self.transport.deliver(package, lambda _bytes: None)
        except PackageChanged as error:
            return await self._given_up(recall, package, error.code)
        except ThirdPartyError as error:
            if self.ledger.clock() - recall.changed > GIVE_UP:
                return await self._given_up(recall, package, error.code)
            arrived = False if isinstance(error, NotSent) else await self.transport.arrived(package)
            if arrived is None:
                return await self._concluded(recall, OutcomeResult.UNKNOWN, error.code)
            if not arrived:
                raise
        return await self._concluded(recall, OutcomeResult.DELIVERED, "ok")

    async def _given_up(self, recall: Recalled, package: SealedPackage, code: str) -> float:
        """It is not to be sent any more. An earlier try may have brought it there all the same, or perhaps so."""
        try:
            arrived = await self.transport.discard(package)
        except (ThirdPartyError, StoreUnavailable):  # nobody can be asked, or not with this file
            arrived = await asyncio.to_thread(perhaps_there, package)
        results = {True: OutcomeResult.DELIVERED, None: OutcomeResult.UNKNOWN, False: OutcomeResult.NOT_SENT}
        return await self._concluded(recall, results[arrived], "ok" if arrived else code)

    async def _concluded(self, recall: Recalled, result: OutcomeResult, code: str) -> float:
        after = self._after(recall, _AFTER[result], code=code)
        public = notice_outcome(str(recall.notice), recall.id, result, code, at=self.ledger.clock())
        await enter(self.ledger, Kind.OUTCOME, public, self._mover(recall, after))
        _log.info("recall notice", recall=recall.id, recipient=recall.recipient, outcome=result.value)
        if after.state is RecallState.BLOCKED:
            self.remove(recall)
        return 0 if after.state is RecallState.SENT else OVER

    async def _await_receipt(self, recall: Recalled) -> float:
        now = time.monotonic()
        if now - self.looked.get(recall.recipient, float("-inf")) >= _AGAIN_S:
            self.looked[recall.recipient] = now
            await self.look(recall.recipient)
        passed = (self.ledger.clock() - recall.changed).total_seconds()
        longest = _RECEIPT_S if recall.state is RecallState.SENT else _LONGEST_REST_S
        return min(longest, max(_AGAIN_S, passed / _EIGHTH))

    # --- as a message that names the contract ------------------------------------------------------

    async def _send_message(self, recall: Recalled) -> float:
        """One disclosure through the one door, under a new id that this recall keeps from its intent on."""
        route, notice = self.route(recall), uuid7()
        if route is None or recall.subject is None or recall.scope is RecallScope.HANDOVER:
            await self._to(recall, RecallState.BLOCKED, code="by_letter_only")
            return OVER
        tried_since = recall.figures.get("tried_since") or timestamp(recall.changed)
        after = self._after(recall, RecallState.SENDING, code=None, tried_since=tried_since)
        after = replace(after, notice=notice)
        try:
            message = Message(
                Asked(CallerId(route.caller), RecipientId(recall.recipient), route.operation.name, route.purpose),
                notice,
                recall.subject,
                await self.contract(recall),
                Recall(recall.target, recall.reason, recall.due_on),
                self._mover(recall, after),
            )
            await self.send_message(message)
        except (Blocked, InvalidRequest, NotFound) as error:
            await self._to(recall, RecallState.BLOCKED, code=error.code)
            _log.warning("recall blocked", recall=recall.id, recipient=recall.recipient, code=error.code)
            return OVER
        except NotSent as error:
            if error.disclosure is None:  # before its intent
                raise
            return await self._not_sent(recall, after, error, tried_since)
        except Rejected as error:
            return await self._said(after, OutcomeResult.REJECTED, error.code)
        except ThirdPartyError as error:
            return await self._said(after, OutcomeResult.UNKNOWN, error.code)
        return await self._said(after, OutcomeResult.DELIVERED, "ok")

    async def contract(self, recall: Recalled) -> str:
        """The number that the notice must name. Raises NotFound for somebody who was erased, InvalidRequest."""
        if recall.subject is None:
            raise NotFound("this recall is about nobody alone")
        subject = await self.ledger.subjects.by_id(recall.subject)
        if recall.sealed is not None:
            return subject.open_job(recall.id, recall.sealed).decode()
        stated = await self.ledger.store.read(lambda connection: stated_contract(connection, subject, recall.target))
        if stated is not None:
            return stated
        raise InvalidRequest(["contract: the ledger does not keep its number; give the one that was disclosed"])

    async def _not_sent(self, recall: Recalled, begun: Recalled, error: NotSent, tried_since: str) -> float:
        """It waits and goes again, with a new intent, until it is given up, counted from the first try."""
        now = self.ledger.clock()
        if now - datetime.fromisoformat(tried_since) > GIVE_UP:
            return await self._said(begun, OutcomeResult.NOT_SENT, error.code)
        waits = replace(recall, figures={**recall.figures, "tried_since": tried_since})
        await self.ledger.store.write(lambda connection: records.move(connection, begun, waits, now))
        raise error

    async def _said(self, recall: Recalled, result: OutcomeResult, code: str) -> float:
        await self._to(recall, _AFTER[result], code=code)
        _log.info("recall notice", recall=recall.id, recipient=recall.recipient, outcome=result.value)
        return OVER

    async def _followed(self, recall: Recalled) -> float:
        """A message that a process which died had begun: the ledger says what came of it, sooner or later."""
        found = await self.ledger.store.read(lambda connection: outcome(connection, str(recall.notice)))
        if found is None:
            return _LOOK_AGAIN_S  # whoever recovers the ledger concludes it as unknown
        return await self._said(recall, found, "interrupted")
