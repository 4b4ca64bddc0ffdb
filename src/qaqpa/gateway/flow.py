"""The flow: one disclosure from request to outcome, in the order that the policy demands.

    route · decide · minimise · encode (and sign) · intend · seal · send · (check and) decode · conclude

A lawyer should be able to follow `disclose` line by line. It holds no rule of its own: rules stand in
`policy` and the configuration, and each step's type is made only by the step before.

It raises Denied, Gap, DecisionOutdated, RequestInFlight (another disclosure of the same report is under way), NotSent
(nothing left), Unsettled (unknown), Rejected, WrongSubject (it left, and the answer serves nobody), AnswerAwaited (it
left, and the answer comes later), StoreError (nothing left, unless it names a disclosure).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from time import perf_counter
from typing import TYPE_CHECKING, NoReturn, Protocol

from qaqpa import metrics
from qaqpa.adapter import Adapter, Operation, Signer, SigningAdapter
from qaqpa.errors import (
    AnswerUnreadable,
    Denied,
    Gap,
    InvalidRequest,
    NotSent,
    QaqpaError,
    Rejected,
    RequestRefused,
    SignatureRefused,
    SigningFailed,
    ThirdPartyError,
    ThirdPartyFault,
    Unsettled,
    WrongSubject,
)
from qaqpa.gateway.remembered import Memo, Remembered
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.answers import Once
from qaqpa.ledger.subjects import Person
from qaqpa.minimise import Context, cut_report, minimise, present
from qaqpa.model.consent import KdpToken
from qaqpa.model.decision import Asked, Decision, Result
from qaqpa.model.disclosure import Disclosure, Exchange, Extract, Intent, Json, Message, Outcome, Reply, Report
from qaqpa.model.identifiers import CallerId, DisclosureId, RecipientId, uuid7
from qaqpa.model.recall import Recall
from qaqpa.model.request import DisclosureRequest
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import OutcomeResult
from qaqpa.policy import Facts, Policy, Route, decide
from qaqpa.policy.law import token_on_record
from qaqpa.seal import RecipientKey, require_valid, seal
from qaqpa.store import Connection
from qaqpa.transport import Transport

if TYPE_CHECKING:
    from qaqpa.gateway.dialogue import Dialogues


class FactsSource(Protocol):
    """Gathers what a decision needs to know."""

    async def __call__(
        self, asked: Asked, request: DisclosureRequest, person: Person, handed_in: frozenset[FieldPath]
    ) -> Facts:
        """Facts about `request` and `person`, at this moment; `handed_in` are the fields that it holds."""


@dataclass(frozen=True, slots=True)
class Recalling:
    """What makes a disclosure a notice of recall."""

    id: DisclosureId
    recall: Recall
    begin: Callable[[Connection], None]
    """In the transaction of its intent: this recall leaves now, and never again under this id. Raises to undo it."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What the flow works with."""

    policy: Policy
    facts: FactsSource
    ledger: Ledger
    transport: Transport
    adapters: Mapping[str, Adapter]
    """By recipient."""
    keys: Mapping[str, RecipientKey | None]
    """By recipient; None where its seal is TLS alone."""
    signers: Mapping[str, Signer]
    """By recipient, where its format wants signatures."""
    remembered: Remembered
    """What was answered before."""
    still_holds: Callable[[Decision], StillHolds]
    """Whether, in the transaction of the intent, what a decision rested on is as it was."""
    kdp_token: Callable[[str], Awaitable[KdpToken | None]]
    """The КДП token that was recorded with a consent."""
    dialogues: Dialogues
    """Disclosures whose answer comes later."""
    shadow: Callable[[Decision, Route | None, Facts], Decision]
    """Notes on a decision what a draft of the policy would have decided; changes nothing else and never fails."""

    async def disclose(
        self, caller: CallerId, request: DisclosureRequest, once: Once | None = None, notice: Recalling | None = None
    ) -> Disclosure:
        """Disclose what `request` asks, if the policy permits. Raises as told at the top of this module."""
        # Which clause lets this caller ask this? 3.4(2): if none, the decision below is deny.
        asked = request_asks(caller, request)
        route = self.policy.find(asked)
        data = request.plain["data"]
        person = await self.ledger.subjects.person(request.iin)
        facts = await self.facts(asked, request, person, present(data))

        # Every guard of law and of the operator. Not permitted: the refusal is entered and nothing leaves.
        decision = self.shadow(decide(self.policy, route, facts), route, facts)
        if route is None or not decision.permits:
            await self._refuse(decision, request, person, facts)
        self._require_ready(asked.recipient, facts.now)

        # 3.2: only what the purpose needs, in the recipient's own format.
        token = await self._kdp_token(route, decision, request, person, facts)
        extract = minimised(data, route, decision, self.policy.day(facts.now), token)
        holds = holding(self.still_holds(decision), notice)
        # Paid for once, disclosed once: where the route says so, a fresh report serves the same purpose again.
        memo = self.remembered.about(route, decision, extract, person, once, request.stated)
        if (known := await memo.reuse(holds)) is not None:
            return known
        operation, adapter, signer = route.operation, self.adapters[asked.recipient], self.signers.get(asked.recipient)
        exchange = exchange_at(facts.now, notice)
        message = await write_message(adapter, operation, extract, exchange, signer)

        # Where the answer comes later, what it takes to fetch it is durable with the intent, and a job fetches it.
        later = self.dialogues.awaited(route, decision, extract, request.iin, exchange)

        # The ledger first. From here on the disclosure exists, whatever happens.
        intent = await self.ledger.intend(
            exchange.id, decision, extract, message, person, seal=route.recipient.seal.kind,
            stated=stated(request, facts), still_holds=holds, once=once, question=memo.question, later=later,
        )  # fmt: skip
        if later is not None:
            await self.dialogues.begin(intent, later)
        reply: Reply | None = None
        try:
            sealed, sent_at = seal(intent, self.keys[asked.recipient], idempotent=operation.idempotent), perf_counter()
            reply = await self.transport.send(sealed)
            wire_ms = (perf_counter() - sent_at) * 1000
            report = await read_answer(adapter, operation, reply, signer, exchange, request.iin)
            # 3.2 again: the caller gets from the answer what its purpose needs.
            answer, returned, cut = cut_report(report.data, route.returns)
        except ThirdPartyError as error:
            await self._fail(intent, reply, error, memo)
            raise
        except Exception as error:
            failure = own_failure(error)
            await self._fail(intent, reply, failure, memo)
            raise failure from error
        outcome = delivered(operation, reply, report, returned, cut)
        done = Disclosure(
            intent.id, decision, extract.fields, extract.withheld, answer, returned, cut, intent.index, -1, wire_ms
        )
        return replace(done, outcome_index=await self.ledger.conclude(intent, outcome, memo.of(done)))

    def _require_ready(self, recipient: RecipientId, now: datetime) -> None:
        """Raises NotConfigured: no line to the recipient, or its key is not in force."""
        self.transport.require(recipient)
        require_valid(self.keys[recipient], now)

    async def _refuse(self, decision: Decision, request: DisclosureRequest, person: Person, facts: Facts) -> NoReturn:
        known = self.policy.known(decision.asked)
        said = {**stated(request, facts), "handed_in": sorted(facts.present)}
        refusal = await self.ledger.refuse(decision, known, person, stated=said)
        raise (Gap if decision.result is Result.GAP else Denied)(decision, refusal=refusal)

    async def _kdp_token(
        self, route: Route, decision: Decision, request: DisclosureRequest, person: Person, facts: Facts
    ) -> KdpToken | None:
        """The consent's КДП token, where the route passes it. A gap where its month was moved to a file."""
        if not route.kdp or decision.consent is None:
            return None
        token = await self.kdp_token(decision.consent)
        if token is None:
            without = replace(decision, guards=(*decision.guards, token_on_record(on_record=False)))
            await self._refuse(without, request, person, facts)
        return token

    async def _fail(self, intent: Intent, reply: Reply | None, error: ThirdPartyError, memo: Memo) -> None:
        error.disclosure = intent.id
        their_code = None
        if isinstance(error, Rejected):
            their_code = error.their_code
            if reply is not None:
                self.transport.answered(intent.decision.asked.recipient, reply)
        await self.ledger.conclude(
            intent, Outcome(result_of(error), error.code, reply, their_code=their_code), memo.of(error)
        )


def exchange_at(now: datetime, notice: Recalling | None) -> Exchange:
    """What names the exchange that begins now."""
    return Exchange(DisclosureId(uuid7()), now) if notice is None else Exchange(notice.id, now, notice.recall)


def holding(besides: StillHolds, notice: Recalling | None) -> StillHolds:
    """`besides`, and the beginning of the notice where it is one."""
    if notice is None:
        return besides

    def holds(connection: Connection) -> bool:
        if not besides(connection):
            return False
        notice.begin(connection)
        return True

    return holds


def stated(request: DisclosureRequest, facts: Facts) -> dict[str, Json]:
    """What the decision rests on beside the data, sealed in the entry so that it can be replayed: the facts as the
    caller states them or, where a system of record was asked, as they counted, and what was stated otherwise.
    """
    said = request.stated
    if facts.checked is None:
        return said
    counted = facts.contract.model_dump(mode="json", exclude_none=True)
    otherwise = {name: value for name, value in said.get("contract", {}).items() if counted.get(name) != value}
    checked = {"found": facts.checked.found.value, "differing": list(facts.checked.differing), "stated": otherwise}
    return {**said, "contract": counted, "checked": checked}


def minimised(
    data: Mapping[str, Json], route: Route, decision: Decision, day: date, kdp: KdpToken | None = None
) -> Extract:
    """What the route passes; the consent is confirmed only where one was found and checked.

    Raises InvalidRequest for an operation that does not go alone.
    """
    if route.operation.package_only:
        raise InvalidRequest([f"operation: {route.operation.name} goes in a handover only, never for one person"])
    confirmed = decision.consent is not None
    return minimise(data, route.fields, consent_confirmed=confirmed, context=Context(day), kdp=kdp)


@metrics.timed_async("encode")
async def write_message(
    adapter: Adapter, operation: Operation, extract: Extract, exchange: Exchange, signer: Signer | None
) -> Message:
    """The message as it will leave: in the recipient's format, and signed where that wants it.

    Raises InvalidRequest, also for an adapter that fails in another way, and SigningFailed.
    """
    try:
        message = adapter.encode(operation.name, extract, exchange)
    except QaqpaError:
        raise
    except Exception as error:  # noqa: BLE001 - what an adapter's own exception says may hold the person's data
        kind = type(error).__name__
        raise InvalidRequest([f"data: the adapter {adapter.name} cannot write it ({kind}); nothing was sent"]) from None
    return await sign_message(adapter, operation, message, signer) if operation.signed else message


async def sign_message(adapter: Adapter, operation: Operation, message: Message, signer: Signer | None) -> Message:
    """The message with its signatures. Raises SigningFailed and no other error."""
    if signer is None or not isinstance(adapter, SigningAdapter):
        raise SigningFailed(f"{adapter.name} signs {operation.name} and there is no signer; nothing was sent")
    try:
        return await adapter.sign(operation.name, message, signer)
    except SigningFailed:
        raise
    except Exception as error:  # noqa: BLE001 - what it says may hold the person's data
        kind = type(error).__name__
        raise SigningFailed(f"the message could not be signed ({kind}); nothing was sent") from None


def delivered(
    operation: Operation, reply: Reply, report: Report, returned: tuple[FieldPath, ...], cut: tuple[FieldPath, ...]
) -> Outcome:
    """The outcome of a disclosure that served; its answer is kept where it is evidence."""
    kept = operation.keeps_answer
    return Outcome(OutcomeResult.DELIVERED, "ok", reply, report.reference, None, returned, cut, kept)


def own_failure(error: Exception) -> Unsettled:
    """A fault of our own after the intent: what came of the disclosure is unknown, and an intent needs its outcome."""
    return Unsettled(f"the gateway itself failed ({type(error).__name__}); the operator must look at it")


def request_asks(caller: CallerId, request: DisclosureRequest) -> Asked:
    """What is asked, in the terms in which routes are found."""
    return Asked(caller, RecipientId(request.recipient), request.operation, request.purpose)


@metrics.timed_async("decode")
async def read_answer(
    adapter: Adapter, operation: Operation, reply: Reply, signer: Signer | None, exchange: Exchange, iin: str
) -> Report:
    """The report in `reply`, its signatures checked first where the operation wants them.

    An answer about another person is kept from the caller (WrongSubject), one to another request is not believed
    (WrongExchange).
    """
    if 300 <= reply.status < 400:
        raise RequestRefused("the recipient answered with a redirect, which is never followed; correct its address")
    try:
        if operation.signed:
            if signer is None or not isinstance(adapter, SigningAdapter):
                raise SignatureRefused("there is no signer to check the answer with; nothing of it is believed")
            await adapter.check(operation.name, reply, signer, exchange)
        report = adapter.decode(operation.name, reply, exchange)
    except AnswerUnreadable:
        if reply.status >= 500:
            raise ThirdPartyFault(f"the recipient answered with HTTP {reply.status}") from None
        raise
    if report.about is not None and report.about != iin:
        raise WrongSubject("the answer is about another person; it was kept back, and the recipient must be told")
    return report


def result_of(error: ThirdPartyError) -> OutcomeResult:
    """What the ledger says of a disclosure that ended with `error`; in doubt, unknown."""
    if isinstance(error, NotSent):
        return OutcomeResult.NOT_SENT
    if isinstance(error, Rejected):
        return OutcomeResult.REJECTED
    if isinstance(error, WrongSubject):
        return OutcomeResult.DELIVERED
    return OutcomeResult.UNKNOWN
