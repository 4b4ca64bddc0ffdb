"""Whether this gate can serve: the ledger can be written, the clock is sane, keys work, checkpoints are fresh."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime

from qaqpa import metrics
from qaqpa.errors import QaqpaError
from qaqpa.gateway import Gateway
from qaqpa.handover.figures import Figures, figures
from qaqpa.ledger.awaited import standing
from qaqpa.ledger.checkpoints import oldest_unsigned
from qaqpa.model.words import timestamp
from qaqpa.recall.records import counts
from qaqpa.store import Connection

_PROBE = ("INSERT INTO meta (name, value) VALUES (?, '')", "DELETE FROM meta WHERE name = ?")
"""Writes, and leaves nothing: SQLite does not write a value over itself at all."""
_TREE = "SELECT size, last_time FROM tree WHERE id = 1"
_OPEN = "SELECT state, count(*) FROM unsettled GROUP BY state"
_BELIEVED_S = 1.0
"""An answer serves so long: asking often costs the ledger nothing."""
_PATIENCE_S = 2.0
"""Whoever asks is not kept waiting longer, whatever the database does."""
_LATE_S = 30.0
"""How long beyond its interval entries may wait for a checkpoint."""
_OVERDUE_S = 900.0
"""How long beyond its time a job may still stand there: its recipient may be slow to say even that."""
OK = "ok"


def _probe(connection: Connection) -> None:
    name = f"probe {secrets.token_hex(8)}"
    for statement in _PROBE:
        connection.execute(statement, (name,))


class Health:
    """Of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._checks: dict[str, str] = {}
        self._at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self.stopping = False

    async def checks(self) -> dict[str, str]:
        """By name: `ok`, or what is wrong."""
        if self.stopping:
            return {"service": "is stopping; what is under way is finished"}
        if self._looking is not None or time.monotonic() - self._at > _BELIEVED_S:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
            looking = self._looking  # one look at a time, for everybody who asks meanwhile
            await asyncio.wait({looking}, timeout=_PATIENCE_S)
            if not looking.done():
                return {"ledger": f"the database has not answered for {_PATIENCE_S:g} s"}
        return self._checks

    async def close(self) -> None:
        """Say no to whoever asks from now on."""
        self.stopping = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        try:
            self._checks = {
                "ledger": await self._ledger(),
                "clock": await self._clock(),
                "keys": self._keys(),
                "checkpoint": await self._checkpoint(),
                "upkeep": self._upkeep(),
                "jobs": await self._jobs(),
            }
        finally:
            self._at, self._looking = time.monotonic(), None

    async def _ledger(self) -> str:
        closed = self._gateway.ledger.closed_by
        if closed is not None:
            return str(closed)
        try:
            await self._gateway.store.write(_probe)
        except QaqpaError as error:
            return str(error)
        return OK

    async def _clock(self) -> str:
        try:
            row = await self._gateway.store.read(lambda connection: connection.execute(_TREE).one())
            last = datetime.fromisoformat(row[1]) if row[1] else datetime.min.replace(tzinfo=UTC)
        except (QaqpaError, LookupError, ValueError):
            return "the ledger does not say when its last entry was made: run `qaqpa ledger verify`"
        behind = (last - self._gateway.ledger.clock()).total_seconds()
        tolerance = self._gateway.setup.config.gateway.ledger.clock_tolerance_s
        if behind <= tolerance:
            return OK
        return f"the clock is {behind:.0f} s behind the ledger's last entry: set it right"

    def _keys(self) -> str:
        try:
            self._gateway.ledger.keyring.blind_request("health", "health")
        except QaqpaError as error:
            return str(error)
        return OK

    async def _checkpoint(self) -> str:
        try:
            age = await self.checkpoint_age_s()
        except (QaqpaError, LookupError, ValueError):
            return "the ledger's checkpoints cannot be read: run `qaqpa ledger verify`"
        every_s = self._gateway.setup.config.gateway.ledger.checkpoint_every_ms / 1000
        if age <= every_s + _LATE_S:
            return OK
        return f"entries have waited {age:.0f} s for a checkpoint: look at the file outside the database and the log"

    def _upkeep(self) -> str:
        upkeep = self._gateway.upkeep
        if upkeep is None or upkeep.failing_since is None:
            return OK
        if (self._gateway.ledger.clock() - upkeep.failing_since).total_seconds() <= _LATE_S:
            return OK  # it tries again at every turn
        return "checkpoints or recovery have failed for a while: the log says why"

    async def _jobs(self) -> str:
        failing_since = self._gateway.jobs.failing_since
        if failing_since is not None and time.monotonic() - failing_since > _LATE_S:
            return "jobs cannot be run, so answers that come later are not fetched: the log says why"
        try:
            until = (await self._gateway.store.read(standing)).until
        except (QaqpaError, LookupError, ValueError):
            return "what waits for its answer cannot be read: run `qaqpa ledger verify`"
        if until is None or (self._gateway.ledger.clock() - until).total_seconds() <= _OVERDUE_S:
            return OK
        return f"no gateway runs jobs: an answer should have been given up at {timestamp(until)}"

    async def checkpoint_age_s(self) -> float:
        """For how long the oldest entry without a checkpoint has stood; 0 when every entry has one."""

        since = await self._gateway.store.read(oldest_unsigned)
        return 0.0 if since is None else max(0.0, (self._gateway.ledger.clock() - since).total_seconds())

    async def measure(self) -> None:
        """Bring the gauges up to date, for whoever scrapes."""
        gateway = self._gateway
        for recipient in gateway.policy.recipients:
            breaker = gateway.transport.breaker_state(recipient)
            if breaker is not None:
                metrics.BREAKER.labels(recipient).set(breaker.value != "closed")
        try:
            rows = await gateway.store.read(lambda connection: connection.execute(_OPEN).all())
            size = await gateway.store.read(lambda connection: connection.execute(_TREE).one()[0])
            age = await self.checkpoint_age_s()
            jobs = await gateway.store.read(standing)
            recalls = await gateway.store.read(counts)
            handovers = await gateway.store.read(figures)
            alerts, untold = await gateway.alerts.counts(), await gateway.alerts.untold()
        except (QaqpaError, LookupError, ValueError):
            return  # what cannot be read keeps its last value; readiness says why
        found = {str(row[0]): int(row[1]) for row in rows}
        for state in ("open", "unknown"):
            metrics.OPEN_INTENTS.labels(state).set(found.get(state, 0))
        metrics.ENTRIES.set(size)
        self._of_handovers(handovers)
        for recall_state, count in recalls.items():
            metrics.RECALLS.labels(recall_state.value).set(count)
        for rule, count in alerts.items():
            metrics.ALERTS.labels(rule.value).set(count)
        metrics.UNTOLD.set(untold)
        metrics.JOBS.set(jobs.awaiting)
        oldest = gateway.ledger.clock() if jobs.since is None else jobs.since
        metrics.JOB_AGE.set(max(0.0, (gateway.ledger.clock() - oldest).total_seconds()))
        metrics.CHECKPOINT_AGE.set(age)

    def _of_handovers(self, found: Figures) -> None:
        now = self._gateway.ledger.clock()
        for state, count in found.counts.items():
            metrics.HANDOVERS.labels(state.value).set(count)
        for state, rows in found.rows.items():
            metrics.HANDOVER_ROWS.labels(state.value).set(rows)
        metrics.HANDOVER_AGE.set(max(0.0, (now - (found.oldest or now)).total_seconds()))
        metrics.HELD_UP.set(found.held_up)
        metrics.RECEIPTS_LATE.set(found.late)
