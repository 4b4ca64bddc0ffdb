"""Single requests of SFTP (draft-ietf-secsh-filexfer-02): how long they may take, what their failures are called."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import asyncssh

from qaqpa.errors import ThirdPartyError

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

Result = TypeVar("Result")

BLOCK = 256 * 1024
SAFE_BLOCK = 32 * 1024
"""What every server must take (§3)."""
BROKEN = (
    asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.SFTPBadMessage, asyncssh.DisconnectError,
    asyncssh.ChannelOpenError, OSError, EOFError,
)  # fmt: skip
"""The way is broken, rather than the server answering no. (TimeoutError is an OSError.)"""
FOREIGN = (*BROKEN, asyncssh.SFTPError, asyncssh.Error)
"""All that asyncssh raises."""


async def within(seconds: float, answer: Awaitable[Result]) -> Result:
    """The answer to one request; silence is a TimeoutError."""
    async with asyncio.timeout(seconds):
        return await answer


def is_regular(attrs: asyncssh.SFTPAttrs) -> bool:
    """Whether it is a file, rather than a link or folder; a server that does not tell is believed."""
    return attrs.type in {asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN}


@contextmanager
def refusing(kind: type[ThirdPartyError], message: str) -> Iterator[None]:
    """The server's no, by our name for it; a broken way passes."""
    try:
        yield
    except BROKEN:
        raise
    except asyncssh.SFTPError:
        raise kind(message) from None


@contextmanager
def suppress_status() -> Iterator[None]:
    """The server's no does not matter; a broken way does."""
    try:
        yield
    except BROKEN:
        raise
    except asyncssh.SFTPError:
        return


def block_of(session: asyncssh.SFTPClient) -> int:
    """The size of one request, in bytes, that the server takes."""
    return min(session.limits.max_write_len or SAFE_BLOCK, session.limits.max_read_len or SAFE_BLOCK, BLOCK)


async def read_at(file: asyncssh.SFTPClientFile, offset: int, size: int) -> bytes:
    """So many bytes, or fewer at the end of the file; a server may answer with less than it was asked for."""
    found = b""
    while len(found) < size:
        more: bytes = await file.read(size - len(found), offset + len(found))
        if not more:
            break
        found += more
    return found


async def drop(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Nobody waits for these any more."""
    dropped = list(tasks)
    for task in dropped:
        task.cancel()
    await asyncio.gather(*dropped, return_exceptions=True)


def opened_at(path: Path, offset: int) -> BinaryIO:
    """Our file, from there on."""
    file = path.open("rb")
    file.seek(offset)
    return file


def digest_of_beginning(path: Path, size: int) -> Digest:
    """SHA-256 over so many bytes of our file, to go on with."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left and (data := file.read(min(left, BLOCK))):
            digest.update(data)
            left -= len(data)
    return digest
