"""Recalls as the rest of the gate sees them: ask for one, look, confirm, cancel, take what the recipient says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from qaqpa import log
from qaqpa.errors import (
    DecisionOutdated,
    InvalidRequest,
    NotAllowed,
    NotFound,
    NotPossible,
    ReceiptMalformed,
    ReceiptRefused,
    ReceiptTooEarly,
)
from qaqpa.ledger import Ledger
from qaqpa.ledger.agreed import Act, Agreed
from qaqpa.ledger.entries import Kind, Public
from qaqpa.ledger.recalls import destruction, enter, recall_entry
from qaqpa.ledger.subjects import Subject
from qaqpa.model.disclosure import Json
from qaqpa.model.recall import LETTER, WAITING, RecallReason, RecallScope, RecallState
from qaqpa.recall import records
from qaqpa.recall.asking import Asking, asking_for
from qaqpa.recall.flow import RecallFlow
from qaqpa.recall.proposals import Proposer
from qaqpa.recall.records import Recalled
from qaqpa.recall.sources import NEVER_LEFT, Left, left, may_be_asked_back
from qaqpa.receipts import RecallAnswer, ReceiptKey, claimed_package, read_recall_receipt
from qaqpa.store import Connection

_log = log.get("recall")
_COME_DUE = 0x5245_4341_4C4C
"""Lock of whoever looks for what came due."""
_OBEYABLE = frozenset({RecallState.SENT, RecallState.LATE})
_ANSWERED = {RecallAnswer.DESTROYED: RecallState.CONFIRMED, RecallAnswer.PARTIAL: RecallState.REFUSED,
             RecallAnswer.REJECTED: RecallState.REFUSED}  # fmt: skip


class Recalls:
    """One gateway's."""

    def __init__(self, flow: RecallFlow, proposer: Proposer, keys: dict[str, ReceiptKey | None]) -> None:
        """`keys` are what receipts are signed with, by recipient; None where its configuration says why not."""
        self.flow = flow
        self.proposer = proposer
        self._keys = keys
        self._store = flow.ledger.store

    @property
    def _ledger(self) -> Ledger:
        return self.flow.ledger

    # --- looking -----------------------------------------------------------------------------------

    async def find(self, recall: str) -> Recalled:
        """A recall as it stands. Raises NotFound."""
        return await self._store.read(lambda connection: records.find(connection, recall))

    async def listed(self, states: Sequence[RecallState], limit: int, after: str | None = None) -> list[Recalled]:
        """Those in some states, the most urgent first, that follow the recall `after`. Raises NotFound for it."""

        def query(connection: Connection) -> list[Recalled]:
            last = None if after is None else records.find(connection, after)
            return records.in_states(connection, states, limit, last)

        return await self._store.read(query)

    async def scope(self, target: str) -> RecallScope:
        """Whether this is one person's disclosure, a row, or a whole handover. Raises NotFound, NotPossible."""
        return (await self._store.read(lambda connection: left(connection, target))).scope

    def way(self, recall: Recalled) -> str:
        """How the recipient is asked: `package`, `message`, or `letter` where the gate can send nothing."""
        chosen = recall.figures.get("way")
        if chosen is not None:
            return str(chosen)
        if self.flow.by_package(recall):
            return "package"
        route = self.flow.route(recall)
        return LETTER if route is None or recall.scope is RecallScope.HANDOVER else "message"

    # --- asking ------------------------------------------------------------------------------------

    async def start(self, target: str, reason: RecallReason, asking: Asking) -> Recalled:
        """Ask for a recall of a disclosure or a row of a handover; a job sends the notice.

        Raises NotAllowed for a whole handover, NotFound, NotPossible where nothing left or it is recalled already,
        InvalidRequest.
        """
        found = await self._store.read(lambda connection: left(connection, target))
        _require_one(found.scope)
        return await self._ask(self._made(found, reason, asking), asking, is_new=True)

    async def start_handover(self, agreed: Agreed, caller: str) -> Recalled:
        """Ask for the recall of a whole handover, to which two persons agreed; serves what was proposed of it.

        Raises NotAllowed for what was agreed of another act, else as `start`.
        """
        what = agreed.require(Act.RECALL_HANDOVER)
        asking = asking_for(what, caller, agreed.persons)
        return await self._ask(await self._made_whole(what, asking), asking, agreed, is_new=True)

    async def confirm(self, recall: str, asking: Asking) -> Recalled:
        """Let a proposal, a reminder or one that was blocked go. Raises NotAllowed for that of a whole handover,
        NotFound, NotPossible, InvalidRequest.
        """
        found = await self.find(recall)
        _require_one(found.scope)
        return await self._let_go(found, asking)

    async def _let_go(self, found: Recalled, asking: Asking) -> Recalled:
        if found.state not in WAITING:
            raise NotPossible([f"recall: is {found.state.value}, so there is nothing to confirm"])
        with suppress(NotFound):  # its month was moved to a file since it was proposed from the ledger
            self._require_left(await self._store.read(lambda connection: left(connection, found.target)))
        due_on = asking.due_on or self.proposer.due_again(found)
        return await self._ask(replace(found, due_on=due_on), asking, is_new=False)

    async def require_startable(self, what: Mapping[str, str]) -> None:
        """Raises what `start_handover` would of that, as things stand."""
        asking = asking_for(what, None, None)
        made = await self._made_whole(what, asking)
        self._require_in_time(made)
        self._way_asked(made, asking)
        await self._store.read(lambda connection: _others(connection, made))

    async def _made_whole(self, what: Mapping[str, str], asking: Asking) -> Recalled:
        """One of a whole handover; it leaves the recipient the time that was proposed, where nobody says otherwise."""

        def query(connection: Connection) -> tuple[Left, list[Recalled]]:
            found = left(connection, what["handover"])
            return found, [each for each in records.of(connection, found.id, None) if each.state in WAITING]

        found, proposed = await self._store.read(query)
        if found.scope is not RecallScope.HANDOVER:
            raise NotFound("there is no handover with this id")
        made = self._made(found, RecallReason(what["reason"]), asking)
        if asking.due_on is not None:
            return made
        return replace(
            made, due_on=max([made.due_on, *(each.due_on for each in proposed if each.reason is made.reason)])
        )

    def _made(self, found: Left, reason: RecallReason, asking: Asking) -> Recalled:
        self._require_left(found)
        due_on = asking.due_on or self.proposer.due(found.asked.recipient)
        return self.proposer.made(found, reason, RecallState.PROPOSED, due_on)

    def _require_in_time(self, recall: Recalled) -> None:
        if recall.due_on < self.proposer.today():
            raise InvalidRequest(["due_on: lies in the past"])

    def _way_asked(self, recall: Recalled, asking: Asking) -> str:
        return LETTER if asking.by_letter else self._way_of_ours(recall)

    def _way_of_ours(self, recall: Recalled) -> str:
        """How the gate asks. Raises NotPossible where only a person can, by letter."""
        way = self.way(recall)
        if way == LETTER:
            raise NotPossible(
                [f"{recall.recipient}: no route takes a recall of this; write to it, and say so with --by-letter"]
            )
        return way

    def _require_left(self, found: Left) -> None:
        if found.result is NEVER_LEFT:
            raise NotPossible(["of: surely nothing of it left, so there is nothing to destroy"])
        if found.result is None:
            raise NotPossible(["of: is under way; wait for its outcome (`qaqpa ledger open`)"])
        if not may_be_asked_back(self.flow.policy, found):
            raise NotPossible(["of: holds nobody's data: it is a notice of recall, or rows without a name"])

    async def _ask(self, recall: Recalled, asking: Asking, agreed: Agreed | None = None, *, is_new: bool) -> Recalled:
        """Enter who asks, and let the job begin: one transaction, in which nobody else asks for the same."""
        self._require_in_time(recall)
        subject = await self._subject(recall)
        way = self._way_asked(recall, asking)
        sealed = None
        if way == "message":
            sealed = await self._contract(recall, subject, asking)
        figures = {**recall.figures, "asked_by": asking.caller, "person": asking.person, "code": None}
        figures.pop("tried_since", None)
        if way == LETTER:
            figures["way"] = LETTER
        state = RecallState.SENT if way == LETTER else RecallState.ASKED
        after = replace(recall, state=state, figures=figures, sealed=sealed, notice=None)
        now = self._ledger.clock()
        public = recall_entry(
            recall.id, of=recall.target, scope=recall.scope, handover=recall.handover, recipient=recall.recipient,
            reason=recall.reason, due_on=recall.due_on, caller=asking.caller, person=asking.person,
            subject=None if subject is None else subject.id, at=now,
            approval=None if agreed is None else agreed.approval,
        )  # fmt: skip

        def move(connection: Connection) -> None:
            if agreed is not None:
                agreed.use_up(connection)
            others = _others(connection, recall)
            if is_new:
                records.add(connection, replace(after, changed=now))
                self._withdraw_others(connection, others, recall.id)
            else:
                records.move(connection, recall, after, now)

        try:
            await enter(self._ledger, Kind.RECALL, public, move, subject)
        except DecisionOutdated:
            raise NotPossible(["recall: was changed meanwhile; look at it again"]) from None
        _log.info("recall asked", recall=recall.id, recipient=recall.recipient, code=recall.reason.value)
        return replace(after, changed=now)

    def _withdraw_others(self, connection: Connection, others: Sequence[Recalled], instead: str) -> None:
        """Proposals of the same are served by this one."""
        for each in others:
            if each.state in WAITING:
                figures = {**each.figures, "code": "another", "instead": instead}
                cancelled = replace(each, state=RecallState.CANCELLED, figures=figures, sealed=None)
                records.move(connection, each, cancelled, self._ledger.clock())

    async def _subject(self, recall: Recalled) -> Subject | None:
        """Whom it is about; None for a handover, and for somebody who was erased."""
        if recall.subject is None:
            return None
        try:
            return await self._ledger.subjects.by_id(recall.subject)
        except NotFound:
            return None

    async def _contract(self, recall: Recalled, subject: Subject | None, asking: Asking) -> bytes | None:
        """The contract's number, sealed while the notice waits."""
        if subject is None:
            raise NotPossible(
                ["of: its person was erased, so no message is entered about them: write to it, and say --by-letter"]
            )
        number = asking.contract
        if number is None:
            number = await self.flow.contract(replace(recall, sealed=None))
        if not 0 < len(number) <= 100 or not number.isprintable():
            raise InvalidRequest(["contract: is no number of a contract"])
        return subject.seal_job(recall.id, number.encode())

    # --- afterwards --------------------------------------------------------------------------------

    async def cancel(self, recall: str, *, caller: str, person: str) -> Recalled:
        """Ask no more. Raises NotFound, NotPossible once a notice left or may have."""
        found = await self.find(recall)
        if found.state not in WAITING | {RecallState.ASKED}:
            raise NotPossible([f"recall: is {found.state.value}, so it cannot be taken back: tell the recipient"])
        figures = {**found.figures, "cancelled_by": caller, "cancelled_for": person}
        after = replace(found, state=RecallState.CANCELLED, figures=figures, sealed=None)
        try:
            return await self._store.write(
                lambda connection: records.move(connection, found, after, self._ledger.clock())
            )
        except DecisionOutdated:
            raise NotPossible(["recall: is being sent by now"]) from None

    async def acknowledge(self, recall: str, *, destroyed: bool, act: str, caller: str, person: str) -> Recalled:
        """A person has seen the act of destruction, or the recipient's refusal. Raises NotFound, NotPossible."""
        found = await self.find(recall)
        self._require_sent(found)
        answer = RecallAnswer.DESTROYED if destroyed else RecallAnswer.REJECTED
        public = destruction(
            found.id, found.recipient, result=answer.value, code=None, sha256=None, signed=False,
            caller=caller, person=person, act=act, at=self._ledger.clock(),
        )  # fmt: skip
        return await self._answered(found, answer, public, {"result": answer.value, "signed": False, "sha256": None})

    async def receipt(self, recipient: str, data: bytes) -> Recalled:
        """A receipt that came from `recipient`; the same one again changes nothing.

        Raises a kind of ReceiptRefused, NotFound for one that is about no recall of theirs.
        """
        notice = claimed_package(data)
        found = await self._store.read(lambda connection: records.by_notice(connection, notice))
        if found is None or found.recipient != recipient:
            raise NotFound("the receipt is for no recall that this recipient was sent")
        if recipient not in self._keys:
            raise ReceiptMalformed("no key of this recipient's is configured; look at its act, and acknowledge that")
        package = found.figures.get("package", {})
        receipt = read_recall_receipt(
            data, self._keys[recipient], notice=notice, sha256=package.get("sha256"),
            rows=int(found.figures.get("disclosures", 1)),
        )  # fmt: skip
        noted = found.figures.get("receipt", {})
        if noted.get("sha256") == receipt.digest:
            return found
        if found.state in {RecallState.SENDING, RecallState.UNKNOWN}:
            raise ReceiptTooEarly(f"the notice is still {found.state.value}; the receipt is looked at again")
        if found.state not in _OBEYABLE:
            raise ReceiptMalformed(f"the recall is {found.state.value}: a receipt for it says nothing new")
        code = receipt.kept[0].code if receipt.kept else None
        public = destruction(
            found.id, recipient, result=receipt.result.value, code=code, sha256=receipt.digest,
            signed=receipt.is_signed, caller=None, person=None, act=None, at=self._ledger.clock(),
        )  # fmt: skip
        told = {
            "result": receipt.result.value, "signed": receipt.is_signed, "sha256": receipt.digest, "code": code,
            "kept": len(receipt.kept),
        }  # fmt: skip
        return await self._answered(found, receipt.result, public, told)

    async def _answered(
        self, found: Recalled, answer: RecallAnswer, public: Public, told: Mapping[str, Json]
    ) -> Recalled:
        state = _ANSWERED.get(answer, found.state)
        after = replace(found, state=state, figures={**found.figures, "receipt": told})
        now = self._ledger.clock()

        def move(connection: Connection) -> None:
            records.move(connection, found, after, now)

        try:
            await enter(self._ledger, Kind.RECEIPT, public, move)
        except DecisionOutdated:
            raise NotPossible(["recall: was changed meanwhile; look at it again"]) from None
        if state is RecallState.CONFIRMED:
            self.flow.remove(found)
        level = _log.warning if state is RecallState.REFUSED else _log.info
        level("recall answered", recall=found.id, recipient=found.recipient, result=answer.value)
        return replace(after, changed=now)

    @staticmethod
    def _require_sent(found: Recalled) -> None:
        if found.state not in _OBEYABLE | {RecallState.REFUSED}:
            raise NotPossible([f"recall: is {found.state.value}, so nothing can be acknowledged"])

    async def of_notices(self, recipient: str, data: bytes) -> bool:
        """Take a receipt that was found among those of packages, if it is about a notice; whether it is.

        Raises a kind of ReceiptRefused.
        """
        notice = claimed_package(data)
        if await self._store.read(lambda connection: records.by_notice(connection, notice)) is None:
            return False
        try:
            await self.receipt(recipient, data)
        except NotFound as error:
            raise ReceiptRefused(str(error)) from None
        return True

    # --- by itself ---------------------------------------------------------------------------------

    async def come_due(self) -> None:
        """What time alone brings: reminders, proposals, lateness."""

        def unit(connection: Connection) -> list[Recalled]:
            if not connection.try_lock(_COME_DUE):
                return []  # another gateway is at it
            self.proposer.retention(connection)
            return self.proposer.come_due(connection)

        for recall in await self._store.write(unit, long=True):
            _log.error("recall late", recall=recall.id, recipient=recall.recipient, code=recall.reason.value)

    async def automatic(self) -> list[Recalled]:
        """Proposals that the configuration lets go by themselves."""
        return await self._store.read(self.proposer.automatic)

    async def let_go(self) -> None:
        """Ask for those; one that needs a person waits for one, and is not tried again."""
        for recall in await self.automatic():
            try:
                await self._let_go(recall, Asking(caller=None, person=None))
            except (NotPossible, InvalidRequest, NotFound) as error:
                await self._hold(recall, error.code)

    async def _hold(self, recall: Recalled, code: str) -> None:
        """It cannot go by itself: a person is needed, once."""
        _log.warning("recall needs a person", recall=recall.id, recipient=recall.recipient, code=code)
        after = replace(recall, figures={**recall.figures, "held": code})
        try:
            await self._store.write(lambda connection: records.move(connection, recall, after, self._ledger.clock()))
        except DecisionOutdated:
            return


def _require_one(scope: RecallScope) -> None:
    if scope is RecallScope.HANDOVER:
        raise NotAllowed("to ask a whole handover back takes two persons: ask for it, and let another agree")


def _others(connection: Connection, recall: Recalled) -> list[Recalled]:
    """Recalls of the same. Raises NotPossible where one of them is under way, or obeyed."""
    others = records.of(connection, recall.target, recall.handover)
    standing = records.standing_against(each for each in others if each.id != recall.id)
    if standing is not None:
        raise NotPossible([f"of: is recalled already: recall {standing.id} is {standing.state.value}"])
    return others
