"""DBOS, held by the reins: one engine in a process, without telemetry, administration or sentences in the log.

DBOS keeps one instance for the whole process, so whoever wants to run jobs takes `hold` first. Its steps run where our
code lives, on the event loop of the gateway; DBOS's own threads keep the books.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from dbos import DBOS, SetWorkflowID

from qaqpa.errors import NotPossible
from qaqpa.jobs.plain import PlainSerializer

Plain = str | int | float | None
Step = TypeVar("Step", bound=Plain)
Steps = Callable[["Stepping", str], Awaitable[None]]

_guard = threading.Lock()
_held: list[str] = []
SCHEMA = "qaqpa_jobs"
"""On PostgreSQL."""
_VERSION = "1"
"""Raised when a workflow's steps change their order: what older ones began is then not gone on with by newer code."""
_OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_POOL = 4
"""Connections to PostgreSQL."""
_AT_ONCE = 1_000


def hold(url: str) -> bool:
    """Whether the engine of this process is ours now; False where another gateway runs the same jobs with it.

    Raises NotPossible where another one runs the jobs of another database.
    """
    with _guard:
        if not _held:
            _held.append(url)
            return True
        if _held == [url]:
            return False
    raise NotPossible(
        ["jobs: another gateway of this process runs those of another database; use a process of its own"]
    )


def let_go() -> None:
    """Of the engine."""
    with _guard:
        _held.clear()


class Stepping:
    """What a workflow does its work with."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def step(self, name: str, work: Callable[[], Awaitable[Step]]) -> Step:
        """Run `work` on the gateway's loop and note its result; after a crash a noted one is not run again."""

        async def there() -> Step:
            async def awaited() -> Step:
                return await work()

            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(awaited(), self._loop))

        return await DBOS.run_step_async({"name": name}, there)

    async def sleep(self, seconds: float) -> None:
        """Wait; after a crash only for what is left."""
        await DBOS.sleep_async(seconds)


class Engine:
    """DBOS while it is launched. Every method blocks, and none may be called on an event loop."""

    def __init__(
        self, url: str, executor: str, workflows: Mapping[str, Steps], loop: asyncio.AbstractEventLoop
    ) -> None:
        """`executor` names this gateway among those that run jobs. Raises what the database raises."""
        _quiet()
        if url.startswith("sqlite"):
            _make_private(Path(url.removeprefix("sqlite:///")))
        self._dbos = DBOS(
            config={
                "name": "qaqpa",
                "system_database_url": url,
                "dbos_system_schema": SCHEMA,
                "sys_db_pool_size": _POOL,
                "use_listen_notify": False,
                "application_version": _VERSION,
                "executor_id": executor,
                "serializer": PlainSerializer(),
                "enable_otlp": False,
                "log_level": "ERROR",
            }
        )
        self._started = {name: _workflow(name, steps, Stepping(loop)) for name, steps in workflows.items()}
        try:
            DBOS.launch()
        except BaseException:
            self.close()
            raise

    def start(self, kind: str, job: str) -> None:
        """Begin a job, unless it was begun before, by whomever."""

        async def begin() -> None:
            with SetWorkflowID(job):
                await DBOS.start_workflow_async(self._started[kind], job)

        # On its own loop: begun from a thread, each job would hold a thread for as long as it waits, and would be
        # noted as failed, not as cut off, when this process stops.
        loop = self._dbos._background_event_loop.target_loop()
        if loop is None:
            raise RuntimeError("the engine of jobs is not launched")
        asyncio.run_coroutine_threadsafe(begin(), loop).result()

    def executors(self) -> set[str]:
        """Of jobs that are under way."""
        return {str(each.executor_id) for each in DBOS.list_workflows(status="PENDING", load_input=False)}

    def take_over(self, dead: list[str]) -> None:
        """Go on with the jobs of executors that do not live any more."""
        DBOS._recover_pending_workflows(dead)

    def forget_ended(self) -> list[str]:
        """Remove the books of jobs that are over; returns their ids."""
        ended = DBOS.list_workflows(status=_OVER, load_input=False, load_output=False, limit=_AT_ONCE)
        over = [each.workflow_id for each in ended]
        if over:
            DBOS.delete_workflows(over)
        return over

    def close(self) -> None:
        """Stop; what is under way is gone on with by whoever launches next."""
        DBOS.destroy(destroy_registry=True)


def _workflow(name: str, steps: Steps, stepping: Stepping) -> Callable[[str], Coroutine[Any, Any, str]]:
    # Taken up as often as processes die: a job ends when its work does.
    @DBOS.workflow(name=name, max_recovery_attempts=None)
    async def run(job: str) -> str:
        await steps(stepping, job)
        return "over"

    return run


def _make_private(path: Path) -> None:
    """The database of jobs belongs to its owner alone; SQLite gives its side files the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _quiet() -> None:
    """Its log goes where those of all libraries go; without a handler it would write to the console."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
