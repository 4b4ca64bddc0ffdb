"""Alerts of one gateway (5.5): looks once a minute, tells another system by webhook, and answers people.

It runs beside upkeep, so that neither a slow look nor a slow webhook holds a checkpoint up. A ledger that was exchanged
under the gateway takes no entry any more; alerts are raised all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from qaqpa import log
from qaqpa.alerts import records, webhook
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.alerts.records import Alert, AlertState
from qaqpa.alerts.watch import Watch
from qaqpa.alerts.webhook import Message, Told
from qaqpa.config.alerts import WebhookConfig
from qaqpa.config.models import Role
from qaqpa.errors import NotConfigured, QaqpaError, ThirdPartyFault, VerificationFailed
from qaqpa.gateway.addresses import addresses
from qaqpa.gateway.compliance import Require
from qaqpa.gateway.setup import Setup, recipient_key
from qaqpa.gateway.upkeep import Upkeep
from qaqpa.ledger import Ledger
from qaqpa.ledger.checkpoints import oldest_unsigned
from qaqpa.ledger.ledger import Clock
from qaqpa.store import Connection, Store
from qaqpa.transport.https import Https

_log = log.get("alerts")
EVERY_S = 60.0
"""Between two looks."""
TELL_EVERY_S = 10.0
"""Between two looks for messages that are due."""
EXPIRY_EVERY_S = 3_600.0
"""How often keys and agreements are looked at."""
_MESSAGES_AT_ONCE = 20


class Control(Protocol):
    """Enters an operator's act upon the gate, with the change that it makes."""

    async def __call__(
        self,
        act: str,
        *,
        caller: str,
        person: str,
        reason: str,
        also: Callable[[Connection], None],
        **more: str | int,
    ) -> None: ...


def watch_of(setup: Setup, store: Store, clock: Clock) -> Watch:
    """The rules of a configuration on a store."""
    gateway, callers = setup.config.gateway, setup.config.callers
    people = frozenset(name for name, each in callers.items() if each.kind == "person")
    return Watch(store, gateway.alerts, gateway.operator.time_zone, people, clock, gateway.console.url)


class Alerting:
    """One gateway's. Raises NotConfigured for a webhook that cannot be told."""

    def __init__(
        self,
        setup: Setup,
        ledger: Ledger,
        require: Require,
        enter_look: Callable[[str, str, dict[str, str | int]], Awaitable[None]],
        control: Control,
        jobs_failing_since: Callable[[], float | None],
    ) -> None:
        self._setup = setup
        self._ledger = ledger
        self._store = ledger.store
        self._config = setup.config.gateway.alerts
        self._require = require
        self._enter_look = enter_look
        self._control = control
        self._jobs_failing_since = jobs_failing_since
        self._console = setup.config.gateway.console.url
        self._watch = watch_of(setup, ledger.store, ledger.clock)
        self._line: Https | None = None
        self._keys: tuple[bytes, ...] = ()
        self._upkeep: Upkeep | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()
        self._expiring: list[Finding] = []
        self._expiry_looked_at = float("-inf")

    # --- by itself -------------------------------------------------------------------------------

    def start(self, upkeep: Upkeep) -> None:
        """Look from now on, a minute from now for the first time. Raises NotConfigured."""
        self._upkeep = upkeep
        if self._config.webhook is not None:
            self._line, self._keys = _webhook(self._setup, self._config.webhook)
            self._tasks.append(asyncio.create_task(self._tell_on()))
        self._tasks.append(asyncio.create_task(self._look_on()))

    async def close(self) -> None:
        """No more looks; what waits to be told is told by another gateway, or after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._line is not None:
            await self._line.close()

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._tried(self.look)

    async def _tell_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TELL_EVERY_S):
                    await self._woken.wait()
            self._woken.clear()
            await self._tried(self.tell)

    async def _tried(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except QaqpaError as error:
            _log.error("alerts failed", code=error.code)
        except Exception as error:  # noqa: BLE001 - without it nobody would be told any more
            _log.error("alerts failed", error_type=type(error).__name__)

    async def look(self) -> list[Alert]:
        """One look; the alerts that are new. Raises StoreError."""
        late = await self.of_checkpoint()
        standing = [*self.of_gate(), *([] if late is None else [late]), *await self.of_expiry()]
        raised = await self._watch.look(standing)
        if raised:
            self._woken.set()
        return raised

    async def raise_now(self, finding: Finding) -> list[Alert]:
        """An alert of something found elsewhere: a verification that a person asked for, and that failed."""
        raised = await self._watch.keep([finding])
        self._woken.set()
        return raised

    async def of_books(self, found: VerificationFailed) -> None:
        """What stands beside the ledger is not what it says, met by work that goes on; told once, never raised."""
        with suppress(QaqpaError):
            if found.index is None:
                await self.raise_now(Finding(Rule.VERIFICATION, "database", figures={"code": found.code}))
            else:
                figures = {"index": found.index, "count": 1}
                await self.raise_now(Finding(Rule.VERIFICATION, "entries", str(found.index), figures))

    async def of_checkpoint(self) -> Finding | None:
        """Entries that wait too long for a checkpoint."""
        since = await self._store.read(oldest_unsigned)
        if since is None or (waited := self._ledger.clock() - since) <= self._config.checkpoint_late:
            return None
        return Finding(Rule.CHECKPOINT, "checkpoint", figures={"seconds": int(waited.total_seconds())})

    def of_gate(self) -> Iterator[Finding]:
        """Upkeep, jobs and witnesses of this process, and a database that was exchanged under it."""
        config, now = self._config, self._ledger.clock()
        if (closed := self._ledger.closed_by) is not None:
            yield Finding(Rule.VERIFICATION, "database", figures={"code": closed.code})
        upkeep = self._upkeep
        if upkeep is not None:
            failing = upkeep.failing_since
            if failing is not None and now - failing > config.upkeep_failing:
                yield Finding(Rule.UPKEEP, "upkeep", figures={"seconds": int((now - failing).total_seconds())})
            for witness, since in upkeep.silent_witnesses().items():
                if now - since > config.witness_silent:
                    seconds = int((now - since).total_seconds())
                    yield Finding(Rule.WITNESS, f"witness:{witness}", figures={"seconds": seconds})
        jobs = self._jobs_failing_since()
        if jobs is not None and time.monotonic() - jobs > config.upkeep_failing.total_seconds():
            yield Finding(Rule.UPKEEP, "jobs", figures={"seconds": int(time.monotonic() - jobs)})

    async def of_expiry(self) -> Sequence[Finding]:
        """Agreements and keys that are about to end; files are read once an hour."""
        if time.monotonic() - self._expiry_looked_at >= EXPIRY_EVERY_S:
            self._expiring = await asyncio.to_thread(lambda: list(self._ends()))
            self._expiry_looked_at = time.monotonic()
        return self._expiring

    def _ends(self) -> Iterator[Finding]:
        now, within = self._ledger.clock(), self._config.expiry
        today = self._setup.policy.day(now)
        for recipient in self._setup.config.recipients.values():
            agreement = recipient.agreement
            if agreement is not None and agreement.expires_on is not None and agreement.expires_on - today <= within:
                yield _ending(f"agreement:{recipient.id}", agreement.expires_on.isoformat())
            with suppress(NotConfigured):  # what it lacks, or that it has ended, sending says
                key = recipient_key(self._setup, recipient, now)
                if key is not None and key.expires_at is not None and key.expires_at - now <= within:
                    yield _ending(f"key:{recipient.id}", key.expires_at.date().isoformat())

    # --- telling ---------------------------------------------------------------------------------

    async def tell(self) -> int:
        """Send what is due; how many messages were accepted. Each try is one gateway's alone."""
        if self._line is None or self._config.webhook is None:
            return 0
        accepted = 0
        now = self._ledger.clock()
        for message in await self._store.read(lambda connection: webhook.due(connection, now, _MESSAGES_AT_ONCE)):
            accepted += await self._tell(self._line, message, self._config.webhook.give_up)
        return accepted

    async def _tell(self, line: Https, message: Message, give_up: timedelta) -> bool:
        now = self._ledger.clock()
        if not await self._store.write(lambda connection: webhook.claim(connection, message, now)):
            return False
        try:
            sent = webhook.headers(self._keys, message.id, self._ledger.clock(), message.body)
            reply = await line.post("webhook", message.body, webhook.CONTENT_TYPE, sent)
            if not 200 <= reply.status < 300:
                raise ThirdPartyFault(f"the webhook answered HTTP {reply.status}")
        except QaqpaError as error:
            _log.warning("alert not told", code=error.code)
            await self._store.write(lambda c: webhook.failed(c, message, self._ledger.clock(), give_up))
            return False
        await self._store.write(lambda connection: webhook.accepted(connection, message, self._ledger.clock()))
        return True

    # --- people ----------------------------------------------------------------------------------

    async def listed(
        self,
        caller: str,
        *,
        states: Sequence[AlertState] = (AlertState.OPEN,),
        rule: Rule | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[Alert]:
        """The latest first. A person's look is an entry."""
        self._require(caller, Role.REVIEW, Role.OPERATE)
        await self._enter_look(caller, "alerts", {})
        return await self._store.read(
            lambda connection: records.listed(connection, states=states, rule=rule, before=before, limit=limit)
        )

    async def find(self, caller: str, alert: str) -> tuple[Alert, list[Told]]:
        """An alert, and what became of the messages about it. Raises NotFound."""
        self._require(caller, Role.REVIEW, Role.OPERATE)
        found = await self._store.read(lambda connection: records.find(connection, alert))
        await self._enter_look(caller, "alert", {"alert": found.id})
        return found, await self._store.read(lambda connection: webhook.told(connection, found.id))

    async def acknowledge(self, caller: str, alert: str, *, person: str, reason: str) -> Alert:
        """Somebody has seen to it, and says what it was; an entry says so. Raises NotFound, NotPossible, NotAllowed."""
        found = await self._store.read(lambda connection: records.find(connection, alert))
        now = self._ledger.clock()

        def also(connection: Connection) -> None:
            done = records.acknowledge(connection, found.id, person=person, reason=reason, now=now)
            if self._config.webhook is not None:
                webhook.add(connection, done, webhook.ACKNOWLEDGED, now, self._console)

        await self._control(
            "acknowledge_alert", caller=caller, person=person, reason=reason, also=also, alert=found.id,
            rule=found.rule.value,
        )  # fmt: skip
        self._woken.set()
        return await self._store.read(lambda connection: records.find(connection, found.id))

    async def counts(self) -> Mapping[Rule, int]:
        """Open ones by rule; numbers alone, so no look."""
        return await self._store.read(records.open_by_rule)

    async def untold(self) -> int:
        """Messages that nobody has accepted yet."""
        return await self._store.read(webhook.waiting)


def _ending(about: str, day: str) -> Finding:
    return Finding(Rule.EXPIRY, about, episode=day, figures={"ends": day})


def _webhook(setup: Setup, config: WebhookConfig) -> tuple[Https, tuple[bytes, ...]]:
    """The way to whoever is told of alerts, and the keys that messages are signed with. Raises NotConfigured."""
    keys = tuple(webhook.signing_key(setup.resolve(each, "alerts.webhook.secrets")) for each in config.secrets)
    return Https(config.channel, addresses(setup, config.channel)), keys
