"""Jobs of one gateway: begun from what the store says is to be done, gone on with after a crash, by one process each.

What is to be done stands in a table of the gateway's own store (the outbox), written in the transaction that made it
necessary; so no job is lost or begun for nothing. The engine's books only say how far each has come: lost, they are
made anew. On SQLite one process of all runs the jobs, the one that holds a lock; when it dies another takes it. On
PostgreSQL every process runs those that it finds first, and those of processes that died.

This module knows ids, and nothing of what a job is about.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from qaqpa import log

if TYPE_CHECKING:
    from qaqpa.jobs.engine import Engine

_log = log.get("jobs")
Plain = str | int | float | None
Result = TypeVar("Result", bound=Plain)

LOOK_EVERY_S = 1.0
"""How often a gateway looks for jobs that others left."""
TIDY_EVERY_S = 5.0
"""How often jobs of the dead are taken over, and the books of what is over removed."""
GRACE_S = 2.0
"""A gateway that begins no job of its own runs others' only after it has been open for so long; commands end before."""


class Run(Protocol):
    """What a workflow does its work with."""

    async def step(self, name: str, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do `work` once: its result, an id, word or number, is noted. It may be cut off anywhere, and begun again."""

    async def sleep(self, seconds: float) -> None:
        """Wait, whoever dies meanwhile."""


Workflow = Callable[[Run, str], Awaitable[None]]
"""A job's steps, in an order that depends on nothing but their results; it must raise nothing."""
Outbox = Callable[[], Awaitable[list[str]]]
"""Ids of the jobs of one kind that are not over."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the books are kept."""

    url: str
    """`sqlite:///...` or `postgresql://...`."""
    lock: Path | None
    """The file that one process of all locks; None where several may run jobs."""


class Jobs:
    """One gateway's."""

    def __init__(
        self,
        place: Place,
        number: Callable[[], int],
        lives: Callable[[int], Awaitable[bool]],
        kinds: Mapping[str, tuple[Workflow, Outbox]],
    ) -> None:
        """`number` is that of this gateway; `lives` says whether another one does. Kinds are plain words."""
        self._place = place
        self._number = number
        self._lives = lives
        self._kinds = dict(kinds)
        self._engine: Engine | None = None
        self._lock: int | None = None
        self._begun: set[str] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tidied_at = float("-inf")
        self._opened_at = time.monotonic()
        self.failing_since: float | None = None
        """Since when (monotonic) this gateway could not run jobs though it should; None while all is well."""

    @property
    def runs(self) -> bool:
        """Whether jobs run in this process."""
        return self._engine is not None

    def open(self) -> None:
        """Look after jobs from now on. Nothing is launched before there is one."""
        self._opened_at = time.monotonic()
        self._task = asyncio.create_task(self._look_after())

    async def close(self) -> None:
        """Stop; others, or the next start, go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._stop()

    def wake(self) -> None:
        """There is a job of this gateway's own: look now."""
        self._opened_at = float("-inf")
        self._woken.set()

    async def _look_after(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - without jobs no answer is fetched; tried again at every turn
                if self.failing_since is None:
                    self.failing_since = time.monotonic()
                    _log.error("jobs do not run", error_type=type(error).__name__, code=getattr(error, "code", None))
            else:
                self.failing_since = None
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):  # wait_for loses a cancellation that comes with the event
                    await self._woken.wait()
            self._woken.clear()

    async def _look(self) -> None:
        waiting = {kind: await outbox() for kind, (_, outbox) in self._kinds.items()}
        jobs = {job for ids in waiting.values() for job in ids}
        self._begun &= jobs
        if self._engine is None and (not jobs or not await self._launched()):
            return
        engine = self._engine
        if engine is None:
            return
        for kind, ids in waiting.items():
            for job in ids:
                if job not in self._begun:
                    await asyncio.to_thread(engine.start, kind, job)
                    self._begun.add(job)
        if time.monotonic() - self._tidied_at >= TIDY_EVERY_S:
            await self._tidy(engine)
            self._tidied_at = time.monotonic()

    async def _tidy(self, engine: Engine) -> None:
        others = await asyncio.to_thread(engine.executors) - {self._name}
        dead = [name for name in sorted(others) if not await self._lives(int(name.rpartition("-")[2]))]
        if dead:
            await asyncio.to_thread(engine.take_over, dead)
        # One that is over while the outbox still holds it is begun anew: the outbox is what counts.
        self._begun -= set(await asyncio.to_thread(engine.forget_ended))

    @property
    def _name(self) -> str:
        return f"gateway-{self._number()}"

    # --- who runs them -----------------------------------------------------------------------------

    async def _launched(self) -> bool:
        """Whether jobs run here from now on: they have to, and nobody else does."""
        if time.monotonic() - self._opened_at < GRACE_S or not self._take_lock():
            return False
        workflows = {kind: workflow for kind, (workflow, _) in self._kinds.items()}
        loop = asyncio.get_running_loop()

        def launch() -> Engine | None:
            from qaqpa.jobs import engine  # noqa: PLC0415 - most of a second, and most processes run no job

            if not engine.hold(self._place.url):
                return None
            try:
                return engine.Engine(self._place.url, self._name, workflows, loop)
            except BaseException:
                engine.let_go()
                raise

        launching = asyncio.ensure_future(asyncio.to_thread(launch))
        try:
            self._engine = await asyncio.shield(launching)
        except asyncio.CancelledError:
            with suppress(Exception):  # what it failed with does not matter any more
                self._engine = await launching
            raise
        finally:
            if self._engine is None:
                self._release_lock()
        return self._engine is not None

    def _take_lock(self) -> bool:
        if self._place.lock is None or self._lock is not None:
            return True
        descriptor = os.open(self._place.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _stop(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            from qaqpa.jobs.engine import let_go  # noqa: PLC0415

            try:
                await asyncio.to_thread(engine.close)
            finally:
                let_go()
        self._release_lock()
