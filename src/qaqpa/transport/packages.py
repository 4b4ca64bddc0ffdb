"""How a whole sealed file goes to its recipient, and how receipts are fetched: the door for packages.

A package has two names at the recipient, a temporary one while bytes come and its final one once it is whole and
compared; only the final one counts. Beside our own file a *mark* remembers, through a kill, whether it was ever about
to take that name: so a package that perhaps arrived is never sent again by itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qaqpa import files, metrics
from qaqpa.errors import (
    NotConfigured,
    NotSent,
    PackageChanged,
    RecipientSuspended,
    StoreError,
    StoreUnavailable,
    ThirdPartyError,
)
from qaqpa.model.handover import SealedPackage
from qaqpa.transport.limits import Breaker, BreakerState

NAME = re.compile(r"[0-9a-f-]{36}\.[a-z0-9.]+")
"""Of a package at its recipient: the handover's id and kinds of file; so no path, whatever was in a register."""
RECEIPT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
LARGEST_RECEIPT = 32 * 2**20
"""Bytes of one receipt file; of a larger one just so much is fetched that its reader sees that it is too large."""
MOST_AT_ONCE = 64 * 2**20
"""Bytes of all receipts that one call fetches (the last may go beyond); the next call goes on."""
_UNFINISHED = (".part", ".tmp", ".filepart", ".partial")
_LOOK_AGAIN_S = 0.1

Result = TypeVar("Result")
Moved = Callable[[int], None]
"""Told how many bytes are at the recipient: once before any byte leaves, and then as they arrive."""
Ready = Callable[[], Awaitable[None]]
"""Asked at the last moment before the package takes its final name; raises a kind of NotSent if it may not."""


class PackageChannel(Protocol):
    """One way for packages to one recipient."""

    async def deliver(self, package: SealedPackage, moved: Moved, ready: Ready) -> None:
        """Return once exactly this file is at the recipient under its final name; resumes what an earlier try left.

        Raises a kind of NotSent when surely nothing is there under that name and nothing will be (bytes of
        ciphertext may be there under a temporary one), or of Unsettled. Cancelled before that name is asked for, it
        removes what it had sent, as far as it can, and CancelledError says that nothing stands there by this call;
        cancelled later it is too late, and it returns or raises as if it were not.
        """

    async def arrived(self, package: SealedPackage) -> bool | None:
        """Whether exactly this file came to stand there under its final name (it may have been collected since).

        None where that cannot be known. Sends nothing, and waits while somebody is sending it. Raises a kind of NotSent
        when nobody could be asked, and PackageDiffers.
        """

    async def discard(self, package: SealedPackage) -> bool | None:
        """Remove what a broken or cancelled upload left under the temporary name; then as `arrived`."""

    async def receipts(self, known: Container[str]) -> list[tuple[str, bytes]]:
        """Names and bytes of files that are not `known`, at most about MOST_AT_ONCE bytes; none where no place for them
        is configured. The names are theirs and safe as file names. Raises ThirdPartyError."""

    async def close(self) -> None:
        """Let go of connections."""


# --- our own side ----------------------------------------------------------------------------------


class Stage(StrEnum):
    """How far a package has come, as we know it without asking."""

    BEGUN = "begun"
    """Bytes of it may be there, under no final name."""
    PLACING = "placing"
    """It was about to take its final name."""
    PLACED = "placed"
    """It stood there, compared."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is remembered beside the package's file; where the upload is, for a channel that gives it an address."""

    stage: Stage
    where: str = ""


def mark_path(package: SealedPackage) -> Path:
    """The file of its mark. It may go when the package's own file goes, and not before."""
    return package.path.with_name(f"{package.path.name}.mark")


def read_mark(package: SealedPackage) -> Mark | None:
    """The mark; None when nothing was begun. Raises StoreUnavailable."""
    try:
        stage, _, where = mark_path(package).read_text().partition("\n")
        return Mark(Stage(stage), where)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise StoreUnavailable(f"{mark_path(package)} cannot be read, so whether it may be sent is not known") from None


def write_mark(package: SealedPackage, mark: Mark) -> None:
    """Durable when it returns. Raises StoreUnavailable; then nothing more may be sent."""
    try:
        files.replace(mark_path(package), f"{mark.stage}\n{mark.where}".encode())
    except OSError as error:
        raise StoreUnavailable(f"{mark_path(package)} cannot be written ({error.strerror}); nothing was sent") from None


def check_name(package: SealedPackage) -> str:
    """The package's name, if it is one and its handover's. Raises ValueError: whoever made it has an error."""
    if NAME.fullmatch(package.name) is None or not package.name.startswith(f"{package.intent.handover}."):
        raise ValueError("a package is named by its handover's id and its kind: <id>.csv.age")
    return package.name


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


async def check_file(package: SealedPackage) -> None:
    """Raises PackageChanged unless our file is, byte for byte, the one that the ledger intended; StoreUnavailable."""
    try:
        found = await asyncio.to_thread(_digest, package.path)
    except OSError as error:
        raise _unreadable(error) from None
    if found != (package.intent.sha256, package.intent.size):
        raise PackageChanged("the sealed package is not the one that the ledger intended; nothing was sent")


def _unreadable(error: OSError) -> PackageChanged | StoreUnavailable:
    """One that is gone will not come back; whatever else hinders us (files open, a disk that is away) may pass."""
    if isinstance(error, FileNotFoundError):
        return PackageChanged("the sealed package is gone; nothing was sent")
    return StoreUnavailable(f"the sealed package cannot be read now: {error.strerror}; nothing was sent")


@asynccontextmanager
async def alone(package: SealedPackage) -> AsyncIterator[None]:
    """One process, and one task in it, works on a package at a time; the others wait. A kill lets go.

    A lock of the kernel on the package's own file; so it holds among all that share that file.
    """
    try:
        descriptor = os.open(package.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(error) from None
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOOK_AGAIN_S)
        yield
    finally:
        os.close(descriptor)


async def uncancelled(work: Coroutine[Any, Any, Result]) -> Result:
    """Do `work` to its end although we are cancelled meanwhile, and then go on as if nobody had: it must be bounded."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None:
                current.uncancel()
        except Exception:  # noqa: BLE001 - raised below
            break
    return task.result()


def is_receipt_name(name: str) -> bool:
    """Whether a file of theirs may be a receipt: a plain name, and not one that is still being written."""
    return RECEIPT_NAME.fullmatch(name) is not None and not name.lower().endswith(_UNFINISHED)


class Pace:
    """Keeps sending below a number of bytes in a second."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0

    def block(self, largest: int) -> int:
        """The size of a block, in bytes: so much that at least four of them go in a second."""
        return largest if self._rate is None else max(1024, min(largest, int(self._rate / 4)))

    async def before(self, size: int) -> None:
        """Wait until `size` bytes may leave."""
        if self._rate is None:
            return
        now = asyncio.get_running_loop().time()
        wait = self._free_at - now
        self._free_at = max(now, self._free_at) + size / self._rate
        if wait > 0:
            await asyncio.sleep(wait)


# --- the door --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PackageLine:
    """A recipient's channel for packages with what guards it."""

    channel: PackageChannel
    breaker: Breaker


class PackageTransport:
    """Lines for packages by recipient; nothing else can bring a package to a third party. No attempt is repeated here:
    a whole upload takes long, so when to try again is for the job that knows the recipient's windows."""

    def __init__(self, lines: Mapping[str, PackageLine], *, is_suspended: Callable[[str], Awaitable[bool]]) -> None:
        self._lines = lines
        self._is_suspended = is_suspended

    def require(self, recipient: str) -> None:
        """Raises NotConfigured when there is no line to `recipient`."""
        if recipient not in self._lines:
            raise NotConfigured(f"{recipient}: [packages] is not configured; `qaqpa check` says what is missing")

    def breaker_state(self, recipient: str) -> BreakerState | None:
        """The breaker's state; None where there is no line."""
        line = self._lines.get(recipient)
        return None if line is None else line.breaker.state

    @metrics.timed_async("deliver")
    async def deliver(self, package: SealedPackage, moved: Moved) -> None:
        """As the channel's; a suspended recipient gets nothing: asked before the first byte and the last step."""

        async def ready() -> None:
            await self._not_suspended(package.intent.recipient)

        await ready()
        await self._guarded(
            package.intent.recipient, lambda channel: channel.deliver(package, moved, ready), ours=(RecipientSuspended,)
        )

    async def arrived(self, package: SealedPackage) -> bool | None:
        """As the channel's."""
        return await self._guarded(package.intent.recipient, lambda channel: channel.arrived(package))

    async def discard(self, package: SealedPackage) -> bool | None:
        """As the channel's."""
        return await self._guarded(package.intent.recipient, lambda channel: channel.discard(package))

    async def receipts(self, recipient: str, known: Container[str]) -> list[tuple[str, bytes]]:
        """As the channel's."""
        return await self._guarded(recipient, lambda channel: channel.receipts(known))

    async def _guarded(
        self,
        recipient: str,
        act: Callable[[PackageChannel], Awaitable[Result]],
        ours: tuple[type[ThirdPartyError], ...] = (),
    ) -> Result:
        self.require(recipient)
        line = self._lines[recipient]
        was_try = line.breaker.enter()
        try:
            result = await act(line.channel)
        except BaseException as error:
            # Only what the recipient did counts, not a file of ours that changed.
            if isinstance(error, ThirdPartyError) and not isinstance(error, (PackageChanged, *ours)):
                line.breaker.failed(was_try=was_try)
            else:
                line.breaker.left(was_try=was_try)
            raise
        line.breaker.succeeded()
        return result

    async def _not_suspended(self, recipient: str) -> None:
        """5.5: asked at the door itself, because an upload may take hours."""
        try:
            suspended = await self._is_suspended(recipient)
        except StoreError:
            raise NotSent("whether the recipient is suspended cannot be known now; nothing was placed") from None
        if suspended:
            raise RecipientSuspended("the recipient was suspended; the package was not placed there")

    async def close(self) -> None:
        """Close every channel."""
        for line in self._lines.values():
            await line.channel.close()
