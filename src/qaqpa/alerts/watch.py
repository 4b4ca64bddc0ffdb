"""One look: what is new in the ledger is summed up and judged, once over all gateways, and what was found is kept.

A look reads at most a bounded stretch of entries, whatever the size of the ledger. It is another gateway's if that one
has moved the mark meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial

from qaqpa import log
from qaqpa.alerts import memory, webhook
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.alerts.patrol import patrol
from qaqpa.alerts.records import Alert, note
from qaqpa.alerts.rules import Memory, Surroundings, judge, judge_askers
from qaqpa.alerts.summary import Asking, Summary, sum_up
from qaqpa.config.alerts import AlertsConfig
from qaqpa.ledger.read import size_of
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Store

_log = log.get("alerts")
STRETCH = 20_000
"""Entries that are summed up at once."""
LONGEST_S = 5.0
"""After which a look goes on another time."""
BEGIN_BACK = 100_000
"""Entries that the first look of all goes back, to learn what is usual."""
SUBJECTS_AT_ONCE = 20
"""More subjects than these are one alert: it is one who asks for many."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A stretch with what was found in it."""

    seen: int | None
    end: int
    is_last: bool
    findings: tuple[Finding, ...]
    askings: tuple[Asking, ...]
    learned: Memory


class Watch:
    """The rules of one gateway's configuration on its store."""

    def __init__(
        self,
        store: Store,
        config: AlertsConfig,
        zone: timezone,
        people: frozenset[str],
        clock: Callable[[], datetime],
        console: str,
    ) -> None:
        """`people` are the callers that are persons, `console` the address that messages point to."""
        self._store = store
        self._config = config
        self._zone = zone
        self._people = people
        self._clock = clock
        self._console = console

    def _around(self) -> Surroundings:
        return Surroundings(self._config, self._zone, self._people, self._clock())

    async def look(self, standing: Sequence[Finding] = ()) -> list[Alert]:
        """Judge what is new, keep that and what is `standing`; the alerts that are new. Raises StoreError."""
        raised = await self.keep(standing) if standing else []
        until = time.monotonic() + LONGEST_S
        while time.monotonic() < until:
            judged = await asyncio.to_thread(self._judge)
            if judged is None:
                break
            raised += await self._store.write(partial(self._kept, judged), long=True)
            if judged.is_last:
                break
        if self._config.patrol_per_minute:
            raised += await self.keep(await self._patrol())
        return raised

    async def keep(self, findings: Iterable[Finding]) -> list[Alert]:
        """Keep what was found; the alerts that are new. Raises StoreError."""
        found = list(findings)
        if not found:
            return []
        return await self._store.write(lambda connection: self.noted(connection, found), long=True)

    def _judge(self) -> _Judged | None:
        with self._store.snapshot() as connection:
            seen, size = memory.load(connection, memory.SEEN), size_of(connection)
            first = max(0, size - BEGIN_BACK) if seen is None else int(seen)
            if first >= size:
                return None
            end = min(size, first + STRETCH)
            summary: Summary = sum_up(connection, first, end)
            learned = Memory(lambda name: memory.load(connection, name))
            found = judge(summary, learned, self._around())
        return _Judged(seen, end, end == size, tuple(found), summary.askings, learned)

    def _kept(self, judged: _Judged, connection: Connection) -> list[Alert]:
        if not memory.move(connection, memory.SEEN, judged.seen, judged.end):
            return []  # another gateway looked
        memory.save(connection, judged.learned.values)
        around = self._around()
        subject = self._config.subject
        counts = memory.asked(connection, judged.askings, around.now, subject.within, subject.askers)
        asked = list(judge_askers(counts, around))
        if len(asked) > SUBJECTS_AT_ONCE:
            hour = timestamp(around.now.replace(minute=0, second=0, microsecond=0))
            limit = subject.askers
            asked = [Finding(Rule.SUBJECT, "many", episode=hour, figures={"count": len(asked), "limit": limit})]
        return self.noted(connection, [*judged.findings, *asked])

    def noted(self, connection: Connection, findings: Iterable[Finding]) -> list[Alert]:
        """Keep what was found, with what another system is told of it; the alerts that are new."""
        now, raised = self._clock(), []
        for finding in findings:
            alert = note(connection, finding, now)
            if alert is not None:
                _log.warning("alert", code=alert.rule.value)
                if self._config.webhook is not None:
                    webhook.add(connection, alert, webhook.RAISED, now, self._console)
                raised.append(alert)
        return raised

    async def _patrol(self) -> list[Finding]:
        def walk() -> tuple[int | None, int, list[Finding]]:
            with self._store.snapshot() as connection:
                mark = memory.load(connection, memory.PATROL)
                end, found = patrol(connection, int(mark or 0), self._config.patrol_per_minute)
            return mark, end, found

        mark, end, found = await asyncio.to_thread(walk)
        if mark != end:
            await self._store.write(lambda connection: memory.move(connection, memory.PATROL, mark, end))
        return found
