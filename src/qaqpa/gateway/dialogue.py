"""Disclosures whose answer comes later: sent once, then asked for until it is there, and concluded once.

    begin (in the flow)   send · heard that it was taken                       → AnswerAwaited
    turn  (in a job)      fetch · status · (check and) decode · conclude · confirm   → how long to rest

The intent that was made before the data left carries the whole dialogue: each question for the answer is a message of
the same intent, through the same door, and holds ids and times only. A turn may be cut off anywhere and be begun again,
by another process too: what has been asked is asked again, what was entered is not entered twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NoReturn

from qaqpa import log, metrics
from qaqpa.adapter import Adapter, Heard, LaterAdapter, Operation, Signer, Step
from qaqpa.config.recipients import Later, RecipientFile
from qaqpa.errors import (
    AnswerAwaited,
    AnswerOverdue,
    AnswerUnreadable,
    NotFound,
    NotSent,
    QaqpaError,
    Rejected,
    SignatureRefused,
    StoreError,
    ThirdPartyError,
    WrongSubject,
)
from qaqpa.gateway.flow import delivered, own_failure, read_answer, result_of, sign_message
from qaqpa.gateway.remembered import Remembered
from qaqpa.jobs import Run
from qaqpa.ledger import Ledger
from qaqpa.ledger.awaited import Awaited, Resumed, State, forget, over, resume, to_confirm
from qaqpa.minimise import cut_report
from qaqpa.model.canonical import canonical
from qaqpa.model.decision import Decision
from qaqpa.model.disclosure import Disclosure, Exchange, Extract, Intent, Outcome, Reply
from qaqpa.model.vocabulary import FieldPath
from qaqpa.policy import Policy, Route
from qaqpa.seal import RecipientKey, seal
from qaqpa.transport import Transport

_log = log.get("dialogue")
KIND = "answer"
"""Of its jobs."""
CONFIRM_WITHIN = timedelta(minutes=10)
"""After which a third party that does not take the confirmation is left with what it has; the answer is here."""
_EIGHTH = 8
"""The longer an answer has not come, the more seldom it is asked for: after an eighth of the time that has passed."""


def failed(error: ThirdPartyError, reply: Reply | None) -> Outcome:
    """The outcome of a disclosure that ended with `error`."""
    their_code = error.their_code if isinstance(error, Rejected) else None
    return Outcome(result_of(error), error.code, reply, their_code=their_code)


@dataclass(frozen=True, slots=True)
class _Speaker:
    """One recipient's side of a dialogue."""

    adapter: LaterAdapter
    codec: Adapter
    operation: Operation
    signer: Signer | None
    key: RecipientKey | None
    later: Later


@dataclass(frozen=True, slots=True)
class Dialogues:
    """What dialogues are held with."""

    policy: Policy
    ledger: Ledger
    transport: Transport
    adapters: Mapping[str, Adapter]
    keys: Mapping[str, RecipientKey | None]
    signers: Mapping[str, Signer]
    recipients: Mapping[str, RecipientFile]
    """How long and how often each is asked."""
    remembered: Remembered

    def awaited(
        self, route: Route, decision: Decision, extract: Extract, iin: str, exchange: Exchange
    ) -> Awaited | None:
        """What a job will need, where the answer to this operation comes later; None where it comes at once."""
        speaker = self._speaker(decision.asked.recipient, route.operation.name)
        if speaker is None:
            return None
        again = canonical(extract.data).decode() if route.reuse_for is not None else None
        until = exchange.at + speaker.later.give_up
        returns = tuple(sorted(route.returns))
        return Awaited(decision, extract.fields, extract.withheld, returns, iin, exchange.at, until, again)

    # --- in the flow -------------------------------------------------------------------------------

    async def begin(self, intent: Intent, awaited: Awaited) -> NoReturn:
        """Send the disclosure itself, once and never again.

        Raises AnswerAwaited, also where nobody knows whether it was taken: its job will find out. Raises NotSent and
        Rejected, concluded; StoreUnavailable where that could not be entered.
        """
        asked = awaited.decision.asked
        speaker = self._speaker(asked.recipient, asked.operation)
        if speaker is None:
            raise TypeError("this operation's answer does not come later")
        waits = AnswerAwaited("the recipient has the request and answers later: ask for the answer of this disclosure")
        waits.disclosure = intent.id
        try:
            reply = await self.transport.send(seal(intent, speaker.key, idempotent=False))
            heard = speaker.adapter.hear(asked.operation, Step.REQUEST, reply, Exchange(intent.id, awaited.at))
            self.transport.answered(asked.recipient, reply)
            refused: NotSent | Rejected | None = heard.refused
        except NotSent as error:
            refused = error
        except Exception as error:  # noqa: BLE001 - whatever happened, it left or may have: its job will find out
            refused = None
            kind = type(error).__name__
            _log.info("not known whether it was taken", error_type=kind, disclosure=intent.id)
        try:
            if refused is None:
                raise waits
            refused.disclosure = intent.id
            outcome, told = failed(refused, None), refused
            try:
                await self._enter(intent, awaited, outcome, told, ())
            except StoreError as error:
                otherwise = "its job asks for an answer until it gives up"
                raise self.ledger.not_entered(
                    intent, outcome, lambda: self._enter(intent, awaited, outcome, told, ()), otherwise
                ) from error
            raise refused
        finally:
            self.ledger.under_way.pop(intent.id, None)

    # --- in a job ----------------------------------------------------------------------------------

    async def fetch(self, run: Run, disclosure: str) -> None:
        """The job of one disclosure: turns, and rests between them."""
        rest = await run.step("rest", lambda: self._first_rest(disclosure))
        while rest:
            await run.sleep(rest)
            rest = await run.step("turn", lambda: self.turn(disclosure))

    async def turn(self, disclosure: str) -> float:
        """Ask once, and do what follows; returns seconds to rest before the next turn, 0 when the job is over."""
        try:
            return await self._turn(disclosure)
        except NotFound:  # concluded, or erased, meanwhile
            return 0.0
        except ThirdPartyError as error:
            _log.info("not fetched yet", code=error.code, disclosure=disclosure)
        except QaqpaError as error:
            _log.warning("not fetched yet", code=error.code, disclosure=disclosure)
        except Exception as error:  # noqa: BLE001 - what it says may hold the person's data; the next turn may go well
            _log.error("not fetched yet", error_type=type(error).__name__, disclosure=disclosure)
        return 5.0

    async def _first_rest(self, disclosure: str) -> float:
        try:
            resumed = await resume(self.ledger, disclosure)
        except QaqpaError:
            return 5.0
        return 0.0 if resumed is None else self._rest(resumed.awaited)

    async def _turn(self, disclosure: str) -> float:
        if self.ledger.closed_by is not None:
            raise self.ledger.closed_by  # nothing is entered in a database that was exchanged, so nothing is asked
        resumed = await resume(self.ledger, disclosure)
        if resumed is None:
            return 0.0
        awaited, asked = resumed.awaited, resumed.awaited.decision.asked
        speaker = self._speaker(asked.recipient, asked.operation)
        if resumed.state is State.CONFIRMING:
            return await self._confirm(resumed, speaker)
        if speaker is not None:
            try:
                if await self._ask(resumed, speaker):
                    after = await resume(self.ledger, disclosure)
                    return 0.0 if after is None else await self._confirm(after, speaker)
            except ThirdPartyError as error:
                _log.info("not fetched yet", code=error.code, disclosure=disclosure)
        if self.ledger.clock() >= awaited.until:
            overdue = AnswerOverdue("the recipient did not answer in time: ask it what it has received, then settle")
            await self._end(resumed.intent, awaited, overdue, None)
            return 0.0
        return self._rest(awaited)

    async def _ask(self, resumed: Resumed, speaker: _Speaker) -> bool:
        """Whether the disclosure is concluded now. Raises ThirdPartyError where nothing new could be heard."""
        heard, reply = await self._said(resumed, speaker, Step.FETCH)
        if heard.answer is not None:
            await self._conclude(resumed, speaker, heard, heard.answer, reply)
            return True
        heard, _ = await self._said(resumed, speaker, Step.STATUS)
        if heard.refused is not None:
            await self._end(resumed.intent, resumed.awaited, heard.refused, None)
            return True
        return False

    async def _said(self, resumed: Resumed, speaker: _Speaker, step: Step, receipt: str = "") -> tuple[Heard, Reply]:
        """One question and what was heard. A repeated one counts as one, so it may be sent again."""
        operation = speaker.operation
        exchange = Exchange(resumed.intent.id, self.ledger.clock())
        message = speaker.adapter.follow_up(operation.name, step, exchange, receipt)
        if operation.signed:
            message = await sign_message(speaker.codec, operation, message, speaker.signer)
        sealed = seal(resumed.intent.following(message), speaker.key, idempotent=True)
        reply = await self.transport.send(sealed)
        try:
            heard = speaker.adapter.hear(operation.name, step, reply, exchange)
        except Rejected:
            self.transport.answered(resumed.awaited.decision.asked.recipient, reply)
            raise
        self.transport.answered(resumed.awaited.decision.asked.recipient, reply)
        return heard, reply

    async def _conclude(self, resumed: Resumed, speaker: _Speaker, heard: Heard, answer: Reply, reply: Reply) -> None:
        """The answer is here: check, decode, cut, enter. An answer that is not believed is not confirmed either.

        Raises Unsettled where it cannot be found out now whether its signatures hold.
        """
        intent, awaited, operation = resumed.intent, resumed.awaited, speaker.operation
        try:
            if operation.signed:
                await _check(speaker, reply)
            exchange = Exchange(intent.id, awaited.at)
            report = await read_answer(speaker.codec, operation, answer, speaker.signer, exchange, awaited.iin)
            found, returned, cut = cut_report(report.data, self._returns(awaited))
        except (Rejected, WrongSubject) as error:
            await self._end(intent, awaited, error, answer, receipts=heard.receipts)
        except AnswerUnreadable as error:
            await self._end(intent, awaited, error, answer)
        except ThirdPartyError:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter's own; what it says may hold the person's data
            await self._end(intent, awaited, own_failure(error), answer)
        else:
            wire_ms = (self.ledger.clock() - awaited.at).total_seconds() * 1000
            done = Disclosure(
                intent.id, awaited.decision, awaited.sent, awaited.withheld, found, returned, cut, intent.index, -1,
                wire_ms,
            )  # fmt: skip
            outcome = delivered(operation, answer, report, returned, cut)
            await self._enter(intent, awaited, outcome, done, heard.receipts)
            self._count(awaited, outcome)

    async def _end(
        self,
        intent: Intent,
        awaited: Awaited,
        error: ThirdPartyError,
        reply: Reply | None,
        *,
        receipts: tuple[str, ...] = (),
    ) -> None:
        """Conclude with what went wrong."""
        outcome = failed(error, reply)
        await self._enter(intent, awaited, outcome, error, receipts)
        self._count(awaited, outcome)

    async def _enter(
        self,
        intent: Intent,
        awaited: Awaited,
        outcome: Outcome,
        told: Disclosure | ThirdPartyError,
        receipts: tuple[str, ...],
    ) -> None:
        """The outcome, what the caller will be told, and what is left to do, in one transaction."""
        now = self.ledger.clock()
        change = over(intent.id)
        if receipts:
            change = to_confirm(intent.id, replace(awaited, receipts=receipts, until=now + CONFIRM_WITHIN))
        kept = self.remembered.later(told, awaited, self._route(awaited), now)
        await self.ledger.enter_outcome(intent, outcome, kept, also=change)
        _log.info("concluded", disclosure=intent.id, outcome=outcome.result.value, code=outcome.code)

    async def _confirm(self, resumed: Resumed, speaker: _Speaker | None) -> float:
        """Say that the answer came. It is here and entered: who does not want to hear that is not told for ever."""
        disclosure, given_up = resumed.intent.id, self.ledger.clock() >= resumed.awaited.until
        try:
            for receipt in resumed.awaited.receipts if speaker is not None else ():
                assert speaker is not None  # noqa: S101 - said in the line before
                await self._said(resumed, speaker, Step.CONFIRM, receipt)
        except ThirdPartyError as error:
            _log.warning("not confirmed", code=error.code, disclosure=disclosure)
            if not given_up:
                return self._rest(resumed.awaited)
        await self.ledger.store.write(lambda connection: forget(connection, disclosure))
        return 0.0

    # --- what it takes -----------------------------------------------------------------------------

    def _speaker(self, recipient: str, name: str) -> _Speaker | None:
        """The recipient's side; None where it is not configured any more, or answers at once."""
        codec = self.adapters.get(recipient)
        adapter: object = codec
        if codec is None or not isinstance(adapter, LaterAdapter):
            return None
        if name not in codec.operations or not adapter.later(name):
            return None
        signer = self.signers.get(recipient)
        return _Speaker(
            adapter, codec, codec.operations[name], signer, self.keys[recipient], self.recipients[recipient].later
        )

    def _count(self, awaited: Awaited, outcome: Outcome) -> None:
        asked = self.policy.known(awaited.decision.asked)
        route = (asked.caller, asked.recipient, asked.operation, asked.purpose)
        metrics.DISCLOSURES.labels(*route, outcome.result.value).inc()

    def _route(self, awaited: Awaited) -> Route | None:
        return self.policy.find(awaited.decision.asked)

    def _returns(self, awaited: Awaited) -> frozenset[FieldPath]:
        """What the route returned when it was asked, and still does (3.2)."""
        route = self._route(awaited)
        return frozenset() if route is None else route.returns & frozenset(awaited.returns)

    def _rest(self, awaited: Awaited) -> float:
        known = self.recipients.get(awaited.decision.asked.recipient)
        later = Later() if known is None else known.later
        passed = (self.ledger.clock() - awaited.at).total_seconds()
        return round(min(max(later.first_s, passed / _EIGHTH), later.every_s), 3)


async def _check(speaker: _Speaker, reply: Reply) -> None:
    if speaker.signer is None:
        raise SignatureRefused("there is no signer to check the answer with; nothing of it is believed")
    await speaker.adapter.check_heard(speaker.operation.name, reply, speaker.signer)
