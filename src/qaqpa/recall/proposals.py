"""Recalls that nobody had to think of: a withdrawal took effect, a person was erased, the time to keep data is over.

Each is proposed in the transaction of what makes it necessary, or found again at every look, so that none is lost. A
proposal asks nobody for anything: a person confirms it, or the recipient's configuration lets it go by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import orjson

from qaqpa import log
from qaqpa.config.recipients import RecallConfig, RecipientFile
from qaqpa.errors import DecisionOutdated
from qaqpa.handover import records as handovers
from qaqpa.handover.records import Handover
from qaqpa.model.identifiers import HandoverId, uuid7
from qaqpa.model.recall import WAITING, RecallReason, RecallState
from qaqpa.policy import Policy
from qaqpa.recall import records
from qaqpa.recall.records import Recalled
from qaqpa.recall.sources import Left, destruction_due, may_be_asked_back, of_entry, of_handover, of_subject
from qaqpa.store import Connection

_log = log.get("recall")
_SEEN = "SELECT seen FROM retention WHERE recipient = ?"
_SEE = (
    "INSERT INTO retention (recipient, seen) VALUES (?, ?) ON CONFLICT (recipient) DO UPDATE SET seen = excluded.seen"
)
_NEXT = "SELECT idx, recipient, kind, time, body FROM entries WHERE idx > ? ORDER BY idx LIMIT ?"
_FIRST = "SELECT time FROM entries WHERE idx > ? ORDER BY idx LIMIT 1"
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Proposer:
    """Proposes recalls, inside transactions of others."""

    policy: Policy
    clock: Callable[[], datetime]

    def config(self, recipient: str) -> RecallConfig:
        """How that recipient is asked; the default for one that is not configured any more."""
        known = self.policy.recipients.get(recipient)
        return RecallConfig() if known is None else known.recall

    def today(self) -> date:
        """The operator's day."""
        return self.policy.day(self.clock())

    def due(self, recipient: str) -> date:
        """The last day for a recall that is asked for today."""
        return self.policy.day(self.clock() + self.config(recipient).due)

    def made(self, found: Left, reason: RecallReason, state: RecallState, due_on: date) -> Recalled:
        """A recall of that, not kept yet."""
        now, asked = self.clock(), found.asked
        return Recalled(
            id=uuid7(), target=found.id, scope=found.scope, handover=found.handover, subject=found.subject,
            caller=asked.caller, recipient=asked.recipient, purpose=asked.purpose, reason=reason, state=state,
            since=now, changed=now, due_on=due_on,
        )  # fmt: skip

    # --- in the transaction of a withdrawal or an erasure ------------------------------------------

    def withdrawn(self, connection: Connection, consent: str, subject: str) -> None:
        """What rested on that consent."""
        self._propose(connection, of_subject(connection, subject, consent), RecallReason.WITHDRAWAL)

    def erased(self, connection: Connection, subject: str) -> None:
        """Whatever left about that person."""
        self._propose(connection, of_subject(connection, subject), RecallReason.ERASURE)

    def _propose(self, connection: Connection, found: Iterable[Left], reason: RecallReason) -> None:
        proposed = 0
        for each in list(found):
            if not may_be_asked_back(self.policy, each):
                continue
            others = records.of(connection, each.id, each.handover)
            if any(_covers(other) for other in others):
                continue
            due_on = self.due(each.asked.recipient)
            records.add(connection, self.made(each, reason, RecallState.PROPOSED, due_on))
            proposed += 1
        if proposed:
            _log.info("recalls proposed", count=proposed, code=reason.value)

    # --- the time to keep data is over -------------------------------------------------------------

    def retention(self, connection: Connection) -> int:
        """Remind of what must soon be destroyed; returns of how many things."""
        found = [*self._handovers(connection), *self._alone(connection)]
        today = self.today()
        for each, due_on in found:
            state = RecallState.PROPOSED if due_on <= today else RecallState.UPCOMING
            records.add(connection, self.made(each, RecallReason.RETENTION, state, due_on))
            _log.warning("retention ends", recipient=each.asked.recipient, disclosure=each.id, result=state.value)
        return len(found)

    def _handovers(self, connection: Connection) -> Iterator[tuple[Left, date]]:
        for handover in self._perhaps_due(connection).values():
            due_on = destruction_due(self.policy, handover)
            if due_on is None or self.policy.day(self.clock() + self.config(handover.order.recipient).remind) < due_on:
                continue
            found, others = of_handover(handover), records.of(connection, handover.id, None)
            is_asked = may_be_asked_back(self.policy, found) and not _known(others)
            # One that is under way for another reason may still be refused: then this one is to be told of again.
            if is_asked or not others or any(_is_settled(each) for each in others):
                handovers.reminded(connection, handover.id, self.today())
            if is_asked:
                yield found, due_on

    def _perhaps_due(self, connection: Connection) -> Mapping[HandoverId, Handover]:
        """Handovers that are old enough, or whose receipt says so; hardly any that is not due."""
        now, recipients = self.clock(), self.policy.recipients.values()
        old = {
            each.id: now + each.recall.remind - each.packages.keep_for + timedelta(days=1)
            for each in recipients
            if each.packages is not None and each.packages.keep_for is not None
        }
        longest = max((each.recall.remind for each in recipients), default=timedelta())
        until = self.policy.day(now + max(longest, RecallConfig().remind))
        return handovers.to_be_destroyed(connection, old, until)

    def _alone(self, connection: Connection) -> Iterator[tuple[Left, date]]:
        for recipient in self.policy.recipients.values():
            keep_for = recipient.recall.keep_for
            if keep_for is not None:
                yield from self._of_age(connection, recipient, keep_for)

    def _of_age(
        self, connection: Connection, recipient: RecipientFile, keep_for: timedelta
    ) -> Iterator[tuple[Left, date]]:
        """Disclosures that come of age, each once: they are looked through in their order, from where it was left."""
        before = self.clock() - max(timedelta(), keep_for - recipient.recall.remind)
        found = connection.execute(_SEEN, (recipient.id,)).scalar()
        seen = last = -1 if found is None else int(found)
        first = connection.execute(_FIRST, (seen,)).scalar()
        if first is None or datetime.fromisoformat(first) > before:  # nothing came of age since the last look
            return
        for index, to, kind, time, body in connection.execute(_NEXT, (seen, _AT_ONCE)).all():
            if datetime.fromisoformat(time) > before:
                break
            last = index
            if (to, kind) != (recipient.id, "intent"):
                continue
            left = of_entry(connection, orjson.loads(bytes(body)))
            if (
                left is not None
                and may_be_asked_back(self.policy, left)
                and not _known(records.of(connection, left.id, None))
            ):
                yield left, self.policy.day(left.at + keep_for)
        if last > seen:
            connection.execute(_SEE, (recipient.id, last))

    def come_due(self, connection: Connection) -> list[Recalled]:
        """Reminders whose day has come are proposals now; what was not obeyed in time is late, and returned."""
        today, now, late = self.today(), self.clock(), []
        reached = [
            *records.due(connection, RecallState.UPCOMING, today),
            *records.due(connection, RecallState.SENT, today - timedelta(days=1)),
        ]
        for recall in reached:
            state = RecallState.PROPOSED if recall.state is RecallState.UPCOMING else RecallState.LATE
            try:
                records.move(connection, recall, replace(recall, state=state), now)
            except DecisionOutdated:
                continue  # somebody, or the recipient's receipt, was faster
            if state is RecallState.LATE:
                late.append(recall)
        return late

    def due_again(self, recall: Recalled) -> date:
        """The last day for a recall that a person confirms today: it leaves the recipient its time."""
        return max(recall.due_on, self.due(recall.recipient))

    def automatic(self, connection: Connection) -> list[Recalled]:
        """Proposals that the configuration lets go by themselves."""
        if not any(each.recall.automatic for each in self.policy.recipients.values()):
            return []
        return [
            recall
            for recall in records.in_states(connection, (RecallState.PROPOSED,))
            if self.config(recall.recipient).automatic and not recall.figures.get("held")
        ]


def _covers(recall: Recalled) -> bool:
    """Whether nothing needs to be proposed beside this one: a reminder alone does not ask for enough."""
    return recall.state not in {RecallState.UPCOMING, RecallState.CANCELLED, RecallState.REFUSED}


def _is_settled(recall: Recalled) -> bool:
    """Whether nothing that comes of it makes a reminder necessary."""
    return recall.reason is RecallReason.RETENTION or recall.state is RecallState.CONFIRMED


def _known(found: Iterable[Recalled]) -> bool:
    """Whether somebody was told already."""
    return any(each.reason is RecallReason.RETENTION or each.state in WAITING or _covers(each) for each in found)
