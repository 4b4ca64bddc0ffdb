"""The pulse of work on a handover: noted every second while it lasts, so that whoever looks, in whatever process, can
tell how fast it goes; time in which nobody worked on it, in a queue, before a window or dead, is none of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from qaqpa.model.disclosure import Json
from qaqpa.model.handover import HandoverState
from qaqpa.model.words import timestamp

RUN = "run"
"""In the figures of a handover."""
EVERY_S = 1.0
_STILL = timedelta(seconds=10)
"""So old may the last beat be while it is still worked on: a database may be slow to take one."""
_SHORTEST_S = 0.05
"""Of less no rate is told."""


@dataclass(frozen=True, slots=True)
class Done:
    """How far it is."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of work: in which state, since when and from how far on, and when somebody last said so."""

    state: HandoverState
    since: datetime
    at: datetime
    begun: Done

    def plain(self) -> dict[str, Json]:
        """As it is noted."""
        return {
            "state": self.state.value, "since": timestamp(self.since), "at": timestamp(self.at),
            "rows": self.begun.rows, "bytes": self.begun.bytes,
        }  # fmt: skip

    @classmethod
    def of(cls, figures: Mapping[str, Json]) -> Stretch | None:
        """What is noted; None where nothing is."""
        noted = figures.get(RUN)
        if noted is None:
            return None
        since, at = (datetime.fromisoformat(noted[name]) for name in ("since", "at"))
        return cls(HandoverState(noted["state"]), since, at, Done(noted["rows"], noted["bytes"]))

    def seconds(self, now: datetime) -> float | None:
        """For how long it has been worked on; None where nobody works on it now, or not long enough to tell."""
        if now - self.at > _STILL:
            return None
        worked = (max(now, self.at) - self.since).total_seconds()
        return worked if worked >= _SHORTEST_S else None


@asynccontextmanager
async def beating(
    state: HandoverState,
    clock: Callable[[], datetime],
    done: Callable[[], Awaitable[Done]],
    note: Callable[[Stretch, Done], Awaitable[None]],
    *,
    anew: bool,
) -> AsyncIterator[None]:
    """Note a run as long as the block lasts. Where it is not begun `anew`, what an earlier run had done is passed
    first, in no time or in much: then it is counted from the first sign of something new.
    """

    async def beat() -> None:
        found, counts = await done(), anew
        now = clock()
        run = Stretch(state, now, now, found)
        while True:
            await note(run, found)
            await asyncio.sleep(EVERY_S)
            found, now = await done(), clock()
            if not counts and found != run.begun:
                run, counts = Stretch(state, now, now, found), True
            run = replace(run, at=now) if counts else Stretch(state, now, now, run.begun)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
