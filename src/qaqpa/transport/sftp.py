"""Packages by SFTP: a session for each call, about one package or about the recipient's receipts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import cast

import asyncssh
from asyncssh import FXF_READ

from qaqpa.config.packages import SftpChannel
from qaqpa.errors import ConnectFailed, FolderRefused
from qaqpa.model.handover import SealedPackage
from qaqpa.transport.packages import (
    LARGEST_RECEIPT,
    MOST_AT_ONCE,
    Moved,
    Pace,
    Ready,
    Stage,
    alone,
    check_file,
    check_name,
    is_receipt_name,
    read_mark,
)
from qaqpa.transport.sftp_requests import BLOCK, FOREIGN, is_regular, within
from qaqpa.transport.sftp_upload import Visit
from qaqpa.transport.ssh import SshAccess, sftp_session

_MOST_NAMES = 100_000
"""Looked at in the folder of receipts."""


class Sftp:
    """The channel for packages to one recipient. Each call opens a session of its own."""

    def __init__(self, config: SftpChannel, access: SshAccess, *, bytes_per_second: float | None = None) -> None:
        self._config = config
        self._access = access
        self._rate = bytes_per_second

    async def deliver(self, package: SealedPackage, moved: Moved, ready: Ready) -> None:
        """As `PackageChannel`."""
        name = check_name(package)
        async with alone(package):
            await check_file(package)
            mark = read_mark(package)
            if mark is not None and mark.stage is Stage.PLACED:
                moved(package.intent.size)
                return
            async with sftp_session(self._access, self._config.connect_timeout_s) as session:
                visit = Visit(session, self._config, package, name, Pace(self._rate))
                await visit.deliver(moved, ready)

    async def arrived(self, package: SealedPackage) -> bool | None:
        """As `PackageChannel`."""
        async with alone(package), self._visit(package) as visit, _asking():
            return await visit.arrived()

    async def discard(self, package: SealedPackage) -> bool | None:
        """As `PackageChannel`."""
        async with alone(package), self._visit(package) as visit, _asking():
            return await visit.discard()

    async def receipts(self, known: Container[str]) -> list[tuple[str, bytes]]:
        """As `PackageChannel`; in `receipts` of the configuration."""
        folder = self._config.receipts
        if folder is None:
            return []
        async with sftp_session(self._access, self._config.connect_timeout_s) as session, _asking():
            return await _Shelf(session, PurePosixPath(folder), self._config.answer_timeout_s).new(known)

    async def close(self) -> None:
        """Nothing is kept open between calls."""

    @asynccontextmanager
    async def _visit(self, package: SealedPackage) -> AsyncIterator[Visit]:
        name = check_name(package)
        async with sftp_session(self._access, self._config.connect_timeout_s) as session:
            yield Visit(session, self._config, package, name, Pace(self._rate))


@asynccontextmanager
async def _asking() -> AsyncIterator[None]:
    """Foreign errors of what sends nothing: nobody could be asked."""
    try:
        yield
    except asyncssh.SFTPPermissionDenied:
        raise FolderRefused("the recipient does not let us read in its folder; ask it for that right") from None
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        raise FolderRefused("the recipient's folder is missing; nothing was sent") from None
    except FOREIGN:
        raise ConnectFailed("the recipient's server did not answer; nothing was sent") from None


class _Shelf:
    """The folder in which the recipient leaves receipts."""

    def __init__(self, session: asyncssh.SFTPClient, folder: PurePosixPath, silence_s: float) -> None:
        self._session = session
        self._folder = folder
        self._silence_s = silence_s

    async def new(self, known: Container[str]) -> list[tuple[str, bytes]]:
        """Receipts that are not known, by name."""
        found: list[tuple[str, bytes]] = []
        size = 0
        for name in await self._names(known):
            content = await self._content(name)
            if content is not None:
                found.append((name, content))
                size += len(content)
            if size > MOST_AT_ONCE:
                break
        return found

    async def _names(self, known: Container[str]) -> list[str]:
        names = []
        listing = self._session.scandir(str(self._folder).encode())
        for _ in range(_MOST_NAMES):
            try:
                entry = await within(self._silence_s, anext(listing))
            except StopAsyncIteration:
                break
            raw = entry.filename
            name = raw.decode("ascii", "replace") if isinstance(raw, bytes) else raw
            if is_receipt_name(name) and name not in known and is_regular(entry.attrs):
                names.append(name)
        return sorted(names)

    async def _content(self, name: str) -> bytes | None:
        """At most one byte more than the largest; None while it is being written, or is gone."""
        path = str(self._folder / name).encode()
        try:
            file = await within(
                self._silence_s, self._session.open(path, FXF_READ, encoding=None, block_size=cast(int, None))
            )
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None
        content = bytearray()
        while len(content) <= LARGEST_RECEIPT:
            wanted = min(BLOCK, LARGEST_RECEIPT + 1 - len(content))
            data: bytes = await within(self._silence_s, file.read(wanted, len(content)))
            if not data:
                break
            content += data
        there = await within(self._silence_s, file.stat())
        await within(self._silence_s, file.close())
        if len(content) <= LARGEST_RECEIPT and there.size not in {None, len(content)}:
            return None
        return bytes(content)
