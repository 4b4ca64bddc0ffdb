"""Recalls of one gateway: made ready, and who may do what with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from qaqpa.config.models import Role
from qaqpa.errors import NotFound, NotPossible
from qaqpa.gateway.flow import Recalling
from qaqpa.gateway.packages import Prepared, Require
from qaqpa.gateway.setup import Setup
from qaqpa.handover.flow import HandoverFlow
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.agreed import Agreed
from qaqpa.ledger.subjects import iin_of
from qaqpa.model.identifiers import DisclosureId
from qaqpa.model.open_text import check_open_text
from qaqpa.model.recall import WAITING, RecallReason, RecallScope, RecallState
from qaqpa.model.request import DisclosureRequest, parse
from qaqpa.recall.asking import Asking
from qaqpa.recall.flow import FOLDER, RecallFlow
from qaqpa.recall.notice import Message
from qaqpa.recall.proposals import Proposer
from qaqpa.recall.recalls import Recalls
from qaqpa.recall.records import Recalled

LISTED = tuple(state for state in RecallState if state not in {RecallState.CANCELLED, RecallState.CONFIRMED})
"""What somebody may still have to see to."""


class Disclose(Protocol):
    """The flow of disclosures, with what makes it a notice."""

    async def __call__(self, caller: str, request: DisclosureRequest, notice: Recalling) -> object: ...


def make_recalls(
    setup: Setup,
    ledger: Ledger,
    handovers: HandoverFlow,
    *,
    proposer: Proposer,
    still_holds: Callable[[str], StillHolds],
    disclose: Disclose,
) -> Recalls:
    """How recipients are asked to stop and destroy; their receipts lie among those of packages."""

    async def send(message: Message) -> None:
        subject = await ledger.subjects.by_id(message.subject)
        iin = await ledger.store.read(lambda connection: iin_of(connection, subject))
        asked = message.asked
        request = parse(
            DisclosureRequest,
            {
                "recipient": asked.recipient, "operation": asked.operation, "purpose": asked.purpose,
                "data": {"identity": {"iin": iin}, "contract": {"number": message.contract}},
            },
        )  # fmt: skip
        await disclose(asked.caller, request, Recalling(DisclosureId(message.notice), message.recall, message.begin))

    receipts = handovers.receipts
    flow = RecallFlow(
        handovers.packer, handovers.transport, handovers.receipts.look, still_holds, send, setup.home / FOLDER
    )
    return Recalls(flow, proposer, dict(receipts.keys))


class Recaller:
    """Who may do what with recalls, at one gateway."""

    def __init__(
        self,
        recalls: Recalls,
        require: Require,
        prepared: Prepared,
        wake: Callable[[], None],
        enter_look: Callable[[str, str, dict[str, str | int]], Awaitable[None]],
    ) -> None:
        self.recalls = recalls
        self._require = require
        self._prepared = prepared
        self._wake = wake
        self._enter_look = enter_look

    # --- looking -----------------------------------------------------------------------------------

    async def listed(
        self, caller: str, states: Sequence[RecallState] = LISTED, limit: int = 500, after: str | None = None
    ) -> list[Recalled]:
        """The most urgent first, as they stand today; from the recall `after` on. A person's look is an entry."""
        self._require(caller, Role.REVIEW, Role.OPERATE)
        await self.recalls.come_due()
        await self._enter_look(caller, "recalls", {})
        return await self.recalls.listed(states, limit, after)

    async def find(self, caller: str, recall: str) -> Recalled:
        """A recall as it stands. Raises NotFound."""
        self._require(caller, Role.REVIEW, Role.OPERATE)
        found = await self.recalls.find(recall)
        await self._enter_look(caller, "recall", {"recall": found.id})
        return found

    def way(self, recall: Recalled) -> str:
        """How the recipient is asked: `package`, `message` or `letter`."""
        return self.recalls.way(recall)

    # --- acting ------------------------------------------------------------------------------------

    async def start(self, caller: str, target: str, reason: RecallReason, asking: Asking) -> Recalled:
        """Ask for a recall of one disclosure or row; a job sends the notice.

        Raises NotAllowed, also for a whole handover, which takes two persons; NotFound, NotPossible, InvalidRequest.
        """
        asking = self._asking(caller, asking)
        return await self._begun(lambda: self.recalls.start(target, reason, asking))

    async def require_startable(self, caller: str, what: Mapping[str, str]) -> None:
        """Raises what `start_handover` would of that, as things stand."""
        self._require(caller, Role.OPERATE)
        await self.recalls.require_startable(what)

    async def start_handover(self, caller: str, agreed: Agreed) -> Recalled:
        """Ask for the recall of a whole handover, to which two persons agreed. Raises as `start`."""
        self._require(caller, Role.OPERATE)
        return await self._begun(lambda: self.recalls.start_handover(agreed, caller))

    async def takes_two(self, caller: str, target: str) -> bool:
        """Whether the recall of this takes two persons: that of a whole handover. Raises NotAllowed, NotFound,
        NotPossible.
        """
        self._require(caller, Role.OPERATE)
        return await self.recalls.scope(target) is RecallScope.HANDOVER

    async def waiting(self, caller: str, recall: str) -> Recalled:
        """One that somebody wants to confirm. Raises NotAllowed, NotFound, NotPossible."""
        self._require(caller, Role.OPERATE)
        found = await self.recalls.find(recall)
        if found.state not in WAITING:
            raise NotPossible([f"recall: is {found.state.value}, so there is nothing to confirm"])
        return found

    async def confirm(self, caller: str, recall: str, asking: Asking) -> Recalled:
        """Let a proposal of one disclosure or row go. Raises as `start`."""
        asking = self._asking(caller, asking)
        return await self._begun(lambda: self.recalls.confirm(recall, asking))

    async def _begun(self, work: Callable[[], Awaitable[Recalled]]) -> Recalled:
        asked: Recalled = await self._prepared(work)  # type: ignore[arg-type]
        self._wake()
        return asked

    async def cancel(self, caller: str, recall: str, *, person: str) -> Recalled:
        """Ask no more, where nothing left. Raises NotAllowed, NotFound, NotPossible."""
        self._require(caller, Role.OPERATE)
        check_open_text(person=person)
        return await self.recalls.cancel(recall, caller=caller, person=person)

    async def acknowledge(self, caller: str, recall: str, *, destroyed: bool, act: str, person: str) -> Recalled:
        """A person has seen the act of destruction, or a refusal. Raises NotAllowed, NotFound, NotPossible."""
        self._require(caller, Role.OPERATE)
        check_open_text(act=act, person=person)
        acknowledged: Recalled = await self._prepared(
            lambda: self.recalls.acknowledge(recall, destroyed=destroyed, act=act, caller=caller, person=person)
        )
        return acknowledged

    async def receipt(self, caller: str, recall: str, data: bytes) -> Recalled:
        """A receipt that came by another way. Raises NotAllowed, a kind of ReceiptRefused, NotFound."""
        self._require(caller, Role.OPERATE)
        found = await self.recalls.find(recall)
        taken: Recalled = await self._prepared(lambda: self.recalls.receipt(found.recipient, data))
        if taken.id != found.id:
            raise NotFound(f"that was the receipt of another recall, {taken.id}; it was entered there")
        return taken

    def _asking(self, caller: str, asking: Asking) -> Asking:
        self._require(caller, Role.OPERATE)
        check_open_text(person=asking.person or "")
        return replace(asking, caller=caller)

    # --- by itself ---------------------------------------------------------------------------------

    async def keep(self) -> None:
        """What time alone brings, and what the configuration lets go by itself."""
        await self.recalls.come_due()
        if await self.recalls.automatic():
            await self._prepared(self.recalls.let_go)
            self._wake()
