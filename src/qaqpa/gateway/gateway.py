# long: all that callers inside the process see, in one place; what it does stands in the modules beside it
"""The gateway as callers inside the process see it: open it, ask it, close it.

async with Gateway.open(load_setup(Path("config"), home=Path("var"))) as gateway:
    disclosure = await gateway.disclose("loan-scoring", request)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, closing
from datetime import UTC, datetime
from typing import Any, TypeVar

from qaqpa import log, metrics
from qaqpa.config.models import Role
from qaqpa.consent import Consents
from qaqpa.errors import (
    AnswerAwaited,
    Blocked,
    DecisionOutdated,
    DuplicateRequest,
    InvalidRequest,
    NotAllowed,
    NotConfigured,
    NotFound,
    QaqpaError,
    RequestInFlight,
    ThirdPartyError,
)
from qaqpa.gateway.alerting import Alerting
from qaqpa.gateway.approvals import Approvals
from qaqpa.gateway.compliance import Compliance, Suspension
from qaqpa.gateway.consent_review import ConsentReview
from qaqpa.gateway.facts import looked_up
from qaqpa.gateway.flow import Flow, Recalling, request_asks, result_of
from qaqpa.gateway.packages import IDEMPOTENCY_KEY, Handing, make_handovers
from qaqpa.gateway.recalls import Recaller, make_recalls
from qaqpa.gateway.remembered import Remembered
from qaqpa.gateway.reporting import Reporting
from qaqpa.gateway.reviewing import Reviewing
from qaqpa.gateway.setup import Equipped, Setup, equip, make_dialogues, make_facts, make_jobs, make_upkeep
from qaqpa.gateway.shadow import ShadowPolicy
from qaqpa.gateway.sidecar import Sidecar
from qaqpa.gateway.standing import standing, standing_recipient
from qaqpa.gateway.upkeep import Upkeep, checkpointed
from qaqpa.keys import Keyring
from qaqpa.ledger import Ledger, entries
from qaqpa.ledger.answers import Once
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.subjects import Person
from qaqpa.minimise import present
from qaqpa.model.consent import Consent, ConsentRequest
from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Disclosure
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.model.open_text import check_open_text
from qaqpa.model.request import DisclosureRequest
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import timestamp
from qaqpa.policy import Facts, check_terms, decide
from qaqpa.recall.proposals import Proposer
from qaqpa.store import Connection, Store, store_at
from qaqpa.transport import Transport

Result = TypeVar("Result")
_log = log.get("gateway")

_SUSPENDED = "SELECT 1 FROM suspensions WHERE recipient = ?"
_DECISIONS = 3


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


class Gateway:
    """One process's door. Made by `open`; safe for many tasks of one event loop."""

    def __init__(self, setup: Setup, store: Store, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self.setup = setup
        self.policy = setup.policy
        self.ledger = ledger
        self.store = store
        self.consents = Consents(ledger, clock)
        self._clock = clock
        self.unready: dict[str, str] = {}
        """Recipients that cannot be sent to, and why."""
        self.unready_for_packages: dict[str, str] = {}
        """The same of recipients that take packages."""
        equipped: dict[str, Equipped] = {}
        for recipient in setup.config.recipients.values():
            try:
                equipped[recipient.id] = equip(setup, recipient, clock)
            except NotConfigured as error:
                self.unready[recipient.id] = str(error)
        self.transport = Transport(
            {name: each.line for name, each in equipped.items()}, is_suspended=self._is_suspended
        )
        self.remembered = Remembered(ledger, setup.config.gateway.service.answers_kept_for)
        self.shadow = ShadowPolicy(setup.draft)
        self.dialogues = make_dialogues(setup, ledger, self.transport, equipped, self.remembered)
        self.flow = Flow(
            policy=self.policy,
            facts=self._facts,
            ledger=ledger,
            transport=self.transport,
            adapters={name: each.adapter for name, each in equipped.items()},
            keys={name: each.key for name, each in equipped.items()},
            signers={name: each.signer for name, each in equipped.items() if each.signer is not None},
            remembered=self.remembered,
            still_holds=standing(setup.config.digest),
            kdp_token=self.consents.kdp_token,
            dialogues=self.dialogues,
            shadow=self.shadow,
        )
        proposer = Proposer(self.policy, clock)
        self._withdrawn = proposer.withdrawn
        self.compliance = Compliance(setup, ledger, self._require, self._prepared, proposer.erased)
        self.reviewing = Reviewing(ledger, self._require, self.compliance.enter_look)
        self.reporting = Reporting(setup, ledger, self._require, self.compliance.enter_look)
        self.consent_review = ConsentReview(
            self.consents, ledger, self.policy, self._require, self.compliance.enter_look
        )
        self._running: set[asyncio.Task[Any]] = set()
        self._policy_entered = False
        self.facts = make_facts(setup)
        """The system of record of contracts, where there is one."""
        self.upkeep: Upkeep | None = None
        """What keeps the ledger beside the flow, once this gateway is open."""
        self.alerts = Alerting(
            setup, ledger, self._require, self.compliance.enter_look, self.control, lambda: self.jobs.failing_since
        )
        handovers, handover_flow = make_handovers(
            setup, ledger,
            is_suspended=self._is_suspended, still_holds=standing_recipient(setup.config.digest),
            checkpoint=lambda: checkpointed(self.upkeep), facts=self.facts, enter_policy=self._enter_policy,
            alarm=self.alerts.of_books, equipped=equipped, online=self.transport, unready=self.unready_for_packages,
        )  # fmt: skip
        self.packages = handover_flow.transport
        recalls = make_recalls(
            setup, ledger, handover_flow,
            proposer=proposer, still_holds=standing_recipient(setup.config.digest), disclose=self._notify,
        )  # fmt: skip
        handover_flow.receipts.others.append(recalls.of_notices)
        self.jobs = make_jobs(ledger, self.dialogues, handover_flow, recalls.flow)
        callers = setup.config.callers
        self.handovers = Handing(
            handovers, self._require, self._prepared, self.jobs.wake, self.compliance.enter_look,
            {name: each.recipient for name, each in callers.items() if each.recipient is not None},
        )  # fmt: skip
        self.recalls = Recaller(recalls, self._require, self._prepared, self.jobs.wake, self.compliance.enter_look)
        self.approvals = Approvals(ledger, self._require, self.control, self.compliance, self.recalls)

    @classmethod
    @asynccontextmanager
    async def open(cls, setup: Setup, *, clock: Callable[[], datetime] = utc_now) -> AsyncIterator[Gateway]:
        """Open store, ledger and channels. Raises StoreError, NotConfigured."""
        with ExitStack() as stack:
            keyring = stack.enter_context(closing(Keyring.load(setup.keyring_path, setup.unlock)))
            store = stack.enter_context(closing(store_at(setup.store_url, setup.home)))
            tolerance = setup.config.gateway.ledger.clock_tolerance_s
            ledger = stack.enter_context(closing(Ledger(store, keyring, clock, clock_tolerance_s=tolerance)))
            store.open(ledger)
            ledger.open()
            gateway = cls(setup, store, ledger, clock)
            upkeep = gateway.upkeep = make_upkeep(setup, ledger, gateway.recalls.keep)
            try:
                await upkeep.start()
                gateway.jobs.open()
                gateway.alerts.start(upkeep)
                yield gateway
            finally:
                await gateway._drain()
                await gateway.alerts.close()
                await gateway.jobs.close()
                await gateway.transport.close()
                await gateway.packages.close()
                if gateway.facts is not None:
                    await gateway.facts.close()
                for signer in gateway.flow.signers.values():
                    if isinstance(signer, Sidecar):
                        await signer.close()
                await upkeep.stop()

    # --- disclosures -----------------------------------------------------------------------------

    async def disclose(
        self, caller: str, request: DisclosureRequest, *, idempotency_key: str | None = None
    ) -> Disclosure:
        """One disclosure, whole (see `Flow.disclose`). It goes on to its outcome even if the caller goes away.

        The same Idempotency-Key of the same caller gets the first answer again and nothing is sent again; raises
        KeyReused when it comes with another request, RequestInFlight while the first has no outcome.
        """
        self._require_if_known(caller, Role.DISCLOSE)
        if idempotency_key is not None and not IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise InvalidRequest(["Idempotency-Key: must be 1 to 255 printable ASCII characters"])
        return await self._unbroken(self._logged(CallerId(caller), request, idempotency_key))

    async def answer(self, caller: str, disclosure: str) -> Disclosure:
        """What this caller's disclosure was answered, for as long as that is kept (see `Remembered.of_disclosure`).

        A person's look at it is entered (`answer`).
        """
        self._require(caller, Role.DISCLOSE)
        return await self.remembered.of_disclosure(caller, disclosure, self.compliance.enter_look)

    async def decide(self, caller: str, request: DisclosureRequest) -> Decision:
        """What would be decided; nothing is sent and nothing is entered."""
        self._require_if_known(caller, Role.DISCLOSE)
        asked = request_asks(CallerId(caller), request)
        handed_in = present(request.plain["data"])
        person = await self.ledger.subjects.person(request.iin)
        return decide(self.policy, self.policy.find(asked), await self._facts(asked, request, person, handed_in))

    async def _logged(self, caller: CallerId, request: DisclosureRequest, key: str | None) -> Disclosure:
        await self._enter_policy()
        try:
            with metrics.stage("whole"):
                disclosure = await self._once(caller, request, key)
        except AnswerAwaited as waits:
            self.jobs.wake()
            _log.info("answer awaited", disclosure=waits.disclosure)
            raise
        except QaqpaError as error:
            _log.info("not disclosed", code=error.code, disclosure=error.disclosure)
            raise
        _log.info("disclosed", disclosure=disclosure.id, recipient=disclosure.decision.asked.recipient)
        return disclosure

    async def _once(self, caller: CallerId, request: DisclosureRequest, key: str | None) -> Disclosure:
        if key is None:
            return await self._decided_anew(caller, request, None)
        once = self.remembered.once(caller, request, key)
        first = await self.remembered.first(once, request.iin)
        if first is not None:
            return first
        try:
            return await self._decided_anew(caller, request, once)
        except DuplicateRequest:  # another task or process was faster with the same key
            first = await self.remembered.first(once, request.iin)
            if first is None:
                raise
            return first

    async def _decided_anew(self, caller: CallerId, request: DisclosureRequest, once: Once | None) -> Disclosure:
        """Decide again when a consent was withdrawn or a recipient suspended meanwhile: now that is the reason; and
        when the same report has come for another request: now it serves this one too.
        """
        known = self.policy.recipients.get(RecipientId(request.recipient))
        until = asyncio.get_running_loop().time() + (0 if known is None else known.longest_s)
        outdated = 0
        while True:
            try:
                return await self._counted(caller, request, once)
            except DecisionOutdated:
                outdated += 1
                if outdated == _DECISIONS:
                    raise
                _log.info("decided anew", caller=caller)
                self._policy_entered = False
                await self._enter_policy()
            except RequestInFlight as twin:
                await self.remembered.concluded(twin, until)

    async def _notify(self, caller: str, request: DisclosureRequest, notice: Recalling) -> Disclosure:
        """A notice of recall, whole; its job goes on until its outcome is entered, whoever stops the job."""
        await self._enter_policy()
        try:
            return await self._unbroken(self._counted(CallerId(caller), request, None, notice))
        except DecisionOutdated:
            self._policy_entered = False
            raise

    async def _counted(
        self, caller: CallerId, request: DisclosureRequest, once: Once | None, notice: Recalling | None = None
    ) -> Disclosure:
        asked = self.policy.known(request_asks(caller, request))  # a made-up name is no label
        route = (asked.caller, asked.recipient, asked.operation, asked.purpose)
        try:
            done = await self.flow.disclose(caller, request, once, notice)
        except Blocked as error:
            metrics.DECISIONS.labels(*route, error.decision.result.value).inc()
            raise
        except AnswerAwaited:
            metrics.DECISIONS.labels(*route, "permit").inc()
            raise
        except ThirdPartyError as error:
            metrics.DECISIONS.labels(*route, "permit").inc()
            metrics.DISCLOSURES.labels(*route, result_of(error).value).inc()
            raise
        metrics.DECISIONS.labels(*route, "permit").inc()
        metrics.DISCLOSURES.labels(*route, "reused" if done.reused else "delivered").inc()
        return done

    async def _unbroken(self, work: Coroutine[Any, Any, Result]) -> Result:
        # An intent that is durable must be concluded: cancelling the caller must not cancel the work.
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _prepared(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Work that enters something: the policy first, and whole even if the caller goes away."""
        await self._enter_policy()
        return await self._unbroken(work())

    async def _drain(self) -> None:
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _facts(
        self, asked: Asked, request: DisclosureRequest, person: Person, handed_in: frozenset[FieldPath]
    ) -> Facts:
        contract, checked = request.facts.contract, None
        if self.facts is not None:
            contract, checked = await looked_up(self.facts, self.policy.find(asked), request)
        subject = person.known
        consents = () if subject is None else await self.consents.of_subject(subject.id)
        if request.consent is not None:
            consents = tuple(consent for consent in consents if consent.id == request.consent)
        return Facts(
            now=self._clock(),
            asked=asked,
            present=handed_in,
            contract=contract,
            consents=consents,
            suspended=await self._is_suspended(asked.recipient),
            checked=checked,
        )

    async def _enter_policy(self, again: bool = False) -> None:
        """Before the first entry of this gateway: which policy and configuration it acts on. Dry runs enter nothing."""
        if again or not self._policy_entered:
            versions = [
                {"id": version.id, "from": version.effective.isoformat(), "sha256": version.sha256}
                for version in self.setup.config.versions
            ]
            await self.ledger.record_policy(versions, self.setup.config.digest)
            self._policy_entered = True

    def _require_if_known(self, caller: str, role: Role) -> None:
        """A known caller without the role is stopped here; one that is unknown meets default deny in the decision."""
        if caller in self.setup.config.callers:
            self._require(caller, role)

    def _require(self, caller: str, *roles: Role) -> None:
        """Raises NotAllowed unless `caller` is known and has one of `roles`."""
        known = self.setup.config.callers.get(caller)
        if known is None:
            raise NotAllowed("this caller does not stand in callers.toml")
        if not set(roles) & set(known.roles):
            wanted = " or ".join(role.value for role in roles)
            raise NotAllowed(f"caller {caller} lacks the role {wanted}; roles stand in callers.toml")

    # --- consents --------------------------------------------------------------------------------

    async def record_consent(self, caller: str, request: ConsentRequest) -> Consent:
        """Record a consent, durable with its entry when this returns. Raises InvalidRequest for names nobody knows."""
        self._require(caller, Role.CONSENTS)
        if problems := check_terms(self.policy, request):
            raise InvalidRequest(problems)
        await self._enter_policy()
        return await self._unbroken(self.consents.record(request, caller=caller))

    async def consent(self, caller: str, consent_id: str) -> Consent:
        """A consent on record, without who gave it. Raises NotFound."""
        self._require(caller, Role.CONSENTS, Role.REVIEW)
        found = await self.consents.get(consent_id)
        await self.compliance.enter_look(caller, "consent", {"consent": found.id})
        return found

    async def withdraw_consent(self, caller: str, consent_id: str, *, duties_met: bool) -> Consent:
        """Withdraw, or note a pending withdrawal (7.1(3))."""
        self._require(caller, Role.CONSENTS)
        await self._enter_policy()
        withdrawal = self.consents.withdraw(consent_id, duties_met=duties_met, caller=caller, also=self._withdrawn)
        return await self._unbroken(withdrawal)

    # --- recipients ------------------------------------------------------------------------------

    async def _is_suspended(self, recipient: str) -> bool:
        return await self.store.read(lambda c: c.execute(_SUSPENDED, (recipient,)).first()) is not None

    async def suspensions(self) -> dict[str, Suspension]:
        """Suspended recipients."""
        query = "SELECT recipient, since, person, reason FROM suspensions"
        rows = await self.store.read(lambda connection: connection.execute(query).all())
        return {row[0]: Suspension(row[0], row[1], row[2], row[3]) for row in rows}

    async def suspend(self, caller: str, recipient: str, *, person: str, reason: str) -> None:
        """Send nothing to `recipient` from now on (5.5). Raises NotAllowed, NotFound, InvalidRequest."""
        await self._control(caller, "suspend", recipient, person, reason)

    async def resume(self, caller: str, recipient: str, *, person: str, reason: str) -> None:
        """Send to `recipient` again. Raises NotAllowed, NotFound, InvalidRequest."""
        await self._control(caller, "resume", recipient, person, reason)

    async def control(
        self,
        act: str,
        *,
        caller: str,
        person: str,
        reason: str,
        also: Callable[[Connection], None],
        **more: str | int,
    ) -> None:
        """Enter an operator's act upon the gate itself, with the change that it makes to other tables."""
        self._require(caller, Role.OPERATE)
        check_open_text(person=person, reason=reason)
        await self._enter_policy()
        public = entries.control(act, "", caller, person, reason, at=self._clock(), **more)
        await self._unbroken(self.ledger.record(Kind.CONTROL, public, also=also))

    async def _control(self, caller: str, act: str, recipient: str, person: str, reason: str) -> None:
        self._require(caller, Role.OPERATE)
        check_open_text(person=person, reason=reason)
        if recipient not in self.policy.recipients:
            known = ", ".join(sorted(self.policy.recipients))
            raise NotFound(f"there is no recipient {recipient} (there are: {known})")
        now = self._clock()

        def also(connection: Connection) -> None:
            connection.execute("DELETE FROM suspensions WHERE recipient = ?", (recipient,))
            if act == "suspend":
                connection.execute(
                    "INSERT INTO suspensions (recipient, since, person, reason) VALUES (?, ?, ?, ?)",
                    (recipient, timestamp(now), person, reason),
                )

        await self._enter_policy()
        public = entries.control(act, recipient, caller, person, reason, at=now)
        await self._unbroken(self.ledger.record(Kind.CONTROL, public, also=also))
