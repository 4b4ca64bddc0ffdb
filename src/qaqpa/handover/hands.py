"""Who assembles: a thread of this process, or for large registers a process of its own beside it.

One interpreter runs one line of Python at a time. Where reading, deciding and writing have one to themselves, the
gateway's has the ledger alone, and twice as many rows go in the same time. The worker gets its configuration, the
register's key and the recipient's public one through a pipe; it knows no other key, no database and no network.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

from qaqpa import errors, log
from qaqpa.errors import InvalidRequest, QaqpaError, StoreUnavailable
from qaqpa.handover.assembler import Assembler
from qaqpa.handover.worker import HEAD, Brief, Failure

T = TypeVar("T")
_log = log.get("handover")

_REGISTERS = ThreadPoolExecutor(1, "qaqpa-registers")
"""The one thread in which registers are read, decided and written. Several would wait for each other in Python, and
each would hold memory of its own. What it is asked takes milliseconds, so that handovers and dry runs take turns.
"""
_WORKER = "from qaqpa.handover.worker import main; main()"
"""Not run as a module: its classes would be others than those that are sent."""
_TOLD = frozenset({
    "PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "OPENSSL_CONF",
    "OPENSSL_MODULES",
})  # fmt: skip
"""Of the environment: nothing that opens a key or names a third party."""
_PATIENCE_S = 5.0
"""For a worker to end by itself."""


async def in_thread(work: Callable[..., T], *told: object) -> T:
    """What `work` returns, done in the thread of registers."""
    return await asyncio.get_running_loop().run_in_executor(_REGISTERS, work, *told)


class Hands(Protocol):
    """Does what an `Assembler` does, in the order in which it is called, each call beside the caller."""

    def call(self, method: str, *told: object) -> asyncio.Future[Any]:
        """Call a method of the assembler; what it returns or raises comes with the future."""


class InThread:
    """An assembler in the thread of registers."""

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler

    def call(self, method: str, *told: object) -> asyncio.Future[Any]:
        """As `Hands`."""
        return asyncio.get_running_loop().run_in_executor(_REGISTERS, getattr(self._assembler, method), *told)


class _Beside:
    """One in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise TypeError("a worker is spoken to through pipes")
        self._into, self._out = process.stdin, process.stdout
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._has_ended = False

    def call(self, method: str, *told: object) -> asyncio.Future[Any]:
        """As `Hands`. Answers come in the order of the calls."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._has_ended:
            answer.set_exception(_ended())
            return answer
        self._asked.append(answer)
        self.send((method, told))
        return answer

    def send(self, told: object) -> None:
        frame = pickle.dumps(told, protocol=5)
        with suppress(ConnectionError):  # whoever hears tells of it
            self._into.write(HEAD.pack(len(frame)) + frame)

    async def hear(self) -> None:
        """Give each caller its answer, until the worker ends."""
        try:
            while True:
                (size,) = HEAD.unpack(await self._out.readexactly(HEAD.size))
                # Our own code wrote it. Who could change what it writes reads registers here just as well.
                said = pickle.loads(await self._out.readexactly(size))  # noqa: S301
                answer = self._asked.popleft()
                if answer.done():  # nobody waits any more
                    continue
                if isinstance(said, Failure):
                    answer.set_exception(_error(said))
                else:
                    answer.set_result(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:  # also where an answer could not be read: nobody may wait for what will not come
            self._has_ended = True
            for answer in self._asked:
                if not answer.done():
                    answer.set_exception(_ended())


def _ended() -> StoreUnavailable:
    return StoreUnavailable("the process that packs has ended; the handover goes on anew")


def _error(failure: Failure) -> Exception:
    kind = getattr(errors, failure.kind, None)
    if not isinstance(kind, type) or not issubclass(kind, QaqpaError):
        _log.error("the process that packs failed", error_type=failure.kind)
        return RuntimeError(f"the process that packs failed: {failure.kind}")
    return kind(list(failure.said)) if issubclass(kind, InvalidRequest) else kind(*failure.said)


@asynccontextmanager
async def beside(brief: Brief) -> AsyncIterator[Hands]:
    """A worker for one handover; it ends with the block, or with this process, and leaves nothing half behind.

    Raises StoreUnavailable where none can be had.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", _WORKER, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
            env={name: value for name, value in os.environ.items() if name in _TOLD},
        )  # fmt: skip
    except OSError as error:
        raise StoreUnavailable(f"no process can be had to pack a large register: {error.strerror}") from None
    hands = _Beside(process)
    hears = asyncio.create_task(hands.hear())
    try:
        hands.send(brief)
        yield hands
    finally:
        hands._into.close()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await process.wait()
        finally:
            with suppress(ProcessLookupError):
                if process.returncode is None:
                    process.kill()
            hears.cancel()
            await asyncio.gather(hears, process.wait(), return_exceptions=True)
