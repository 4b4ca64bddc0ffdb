"""One package, one session of SFTP (draft-ietf-secsh-filexfer-02, version 3): brought, compared, then given its name.

Only the package's own name, made of a UUID, is ever put into a path. It is compared *before* it takes its final name,
because a recipient may collect at once what stands there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from contextlib import suppress
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

import asyncssh
from asyncssh import FXF_CREAT, FXF_EXCL, FXF_READ, FXF_WRITE

from qaqpa.config.packages import SftpChannel
from qaqpa.errors import (
    FolderRefused,
    NotSent,
    PackageChanged,
    PackageDiffers,
    PackageRefused,
    PlacingDoubtful,
    RecipientFull,
    UploadBroken,
)
from qaqpa.model.handover import SealedPackage
from qaqpa.transport.packages import Mark, Moved, Pace, Ready, Stage, read_mark, uncancelled, write_mark
from qaqpa.transport.sftp_requests import (
    BROKEN,
    FOREIGN,
    block_of,
    digest_of_beginning,
    drop,
    is_regular,
    opened_at,
    read_at,
    refusing,
    suppress_status,
    within,
)

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

_UNDER_WAY = 8 * 2**20
"""Bytes that may be written and not yet confirmed."""
_CLEAN_UP_S = 3.0
_FULL = (
    "the recipient could not store the whole package: its disk is full or our quota there is reached; ask it for room. "
    "What was there is removed"
)


class Visit:
    """One session about one package."""

    def __init__(
        self, session: asyncssh.SFTPClient, config: SftpChannel, package: SealedPackage, name: str, pace: Pace
    ) -> None:
        self._session = session
        self._silence_s = config.answer_timeout_s
        self._read_back_up_to = config.read_back_up_to
        self._package = package
        self._pace = pace
        folder = PurePosixPath(config.folder)
        self._final = str(folder / name).encode()
        self._part = str(folder / f".{name}.part").encode()

    # --- looking -----------------------------------------------------------------------------------

    async def _look(self, path: bytes) -> asyncssh.SFTPAttrs | None:
        try:
            return await within(self._silence_s, self._session.lstat(path))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None

    async def arrived(self) -> bool | None:
        """As `PackageChannel.arrived`. Raises PackageDiffers."""
        mark = read_mark(self._package)
        stage = mark.stage if mark is not None else None
        there = await self._look(self._final)
        if there is None:
            if stage is Stage.PLACED:
                return True  # collected
            if stage is Stage.PLACING and await self._look(self._part) is None:
                return None  # renamed and collected, or removed
            return False
        return True if stage is Stage.PLACED else await self._is_ours(there)

    async def _is_ours(self, there: asyncssh.SFTPAttrs) -> bool | None:
        """Whether what stands under the final name is our file; None where we may not read it.

        Raises PackageDiffers when it is another one.
        """
        size = self._package.intent.size
        same = is_regular(there) and there.size in {None, size}
        if same and size <= self._read_back_up_to:
            try:
                file = await self._open(self._final, FXF_READ)
            except asyncssh.SFTPPermissionDenied:
                return None
            same = await self._hashed(file, 0, size, hashlib.sha256()) == self._package.intent.sha256
            await self._let_go(file)
        if not same:
            raise PackageDiffers(
                "under the package's name another file stands at the recipient; it is not overwritten. Ask the "
                "recipient what it is and have it moved away"
            )
        return True

    # --- sending -----------------------------------------------------------------------------------

    async def deliver(self, moved: Moved, ready: Ready) -> None:
        """As `PackageChannel.deliver`."""
        try:
            arrived = await self.arrived()
        except FOREIGN:
            raise UploadBroken("the recipient's server did not say what it has; nothing was sent now") from None
        if arrived is None:
            raise PlacingDoubtful(
                "the package may have taken its name and have been collected: ask the recipient; it is not sent again"
            )
        if arrived:
            write_mark(self._package, Mark(Stage.PLACED))
            moved(self._package.intent.size)
            await self._clean_up()
            return
        self._not_placed()
        try:
            await self._bring(moved)
            await ready()
        except UploadBroken:
            raise  # what is there is resumed
        except (asyncio.CancelledError, NotSent):
            await uncancelled(self._clean_up())
            raise
        await uncancelled(self._place())

    async def discard(self) -> bool | None:
        """As `PackageChannel.discard`."""
        stands = await self.arrived()
        if stands is False:
            self._not_placed()
        if stands is not None:  # in doubt, what is there is evidence
            await self.remove_part()
        return stands

    def _not_placed(self) -> None:
        """An earlier try that was about to place it surely did not: forget that, before the temporary file may go."""
        mark = read_mark(self._package)
        if mark is not None and mark.stage is Stage.PLACING:
            write_mark(self._package, Mark(Stage.BEGUN))

    async def _clean_up(self) -> None:
        """Remove the temporary file, as far as the recipient lets us; what remains is resumed or discarded later."""
        with suppress(*FOREIGN):
            async with asyncio.timeout(_CLEAN_UP_S):
                await self.remove_part()

    async def remove_part(self) -> None:
        """Remove the temporary file if there is one."""
        with suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            await within(self._silence_s, self._session.remove(self._part))

    async def _bring(self, moved: Moved) -> None:
        """All bytes are there under the temporary name, durable and compared."""
        try:
            file, start, digest = await self._begin()
            try:
                moved(start)
                await self._send(file, start, digest.copy(), moved)
                await self._compare(file, start, digest)
            except BaseException as error:
                if not isinstance(error, BROKEN):  # then nobody would answer
                    await uncancelled(self._let_go(file))
                raise
        except BROKEN:
            raise UploadBroken("the connection broke before the package was whole there; it can be resumed") from None

    async def _let_go(self, file: asyncssh.SFTPClientFile) -> None:
        with suppress(*FOREIGN):
            await within(_CLEAN_UP_S, file.close())

    async def _begin(self) -> tuple[asyncssh.SFTPClientFile, int, Digest]:
        """The temporary file, how many bytes of the package it holds, and their digest."""
        with refusing(PackageRefused, "the recipient's server does not say what is in its folder; nothing was sent"):
            there = await self._look(self._part)
        if there is not None and not is_regular(there):
            raise PackageRefused(
                "where the package would come under a temporary name stands no plain file (a link, a folder); have the "
                "recipient find out who put it there"
            )
        reading = FXF_READ if self._read_back_up_to else 0
        if there is None:
            return await self._made(FXF_WRITE | FXF_CREAT | FXF_EXCL | reading), 0, hashlib.sha256()
        # Never removed to begin anew, but written over: should somebody else be writing the same package at this time,
        # one file gets the same bytes twice, and what either of us renames is that file, whole.
        with refusing(PackageRefused, "what a broken upload left cannot be written; have the recipient remove it"):
            file = await self._open(self._part, FXF_WRITE | reading)
            size = there.size or 0
            if size > self._package.intent.size:
                await within(self._silence_s, file.truncate(self._package.intent.size))
        begun = await self._begun(file, size)
        return file, *(begun or (0, hashlib.sha256()))

    async def _made(self, access: int) -> asyncssh.SFTPClientFile:
        """The temporary file, new."""
        try:
            return await self._open(self._part, access)
        except BROKEN:
            raise
        except (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded):
            raise RecipientFull(_FULL) from None
        except asyncssh.SFTPFailure:
            for name in (self._part, self._final):
                if await self._look(name) is not None:
                    raise UploadBroken("the same package is being uploaded from elsewhere; look again later") from None
            raise PackageRefused("the recipient's server lets no file be made in its folder") from None
        except asyncssh.SFTPError:
            raise FolderRefused(
                "the recipient's folder for packages is missing, or we may not write there: compare "
                "packages.channel.folder with what was agreed"
            ) from None

    async def _begun(self, file: asyncssh.SFTPClientFile, size: int) -> tuple[int, Digest] | None:
        """How much of the package a broken upload left, and its digest; None when what is there is not how it begins.

        Its size proves nothing: writes may have come out of order, so it is read.
        """
        if not (self._read_back_up_to and 0 < size <= self._package.intent.size):
            return None
        ours = await asyncio.to_thread(digest_of_beginning, self._package.path, size)
        with suppress_status():
            if await self._hashed(file, 0, size, hashlib.sha256()) == ours.hexdigest():
                return size, ours
        return None

    async def _open(self, path: bytes, access: int) -> asyncssh.SFTPClientFile:
        # Without a block size each call is one request: asyncssh's own splitting leaves tasks behind when cancelled.
        opening = self._session.open(path, access, encoding=None, block_size=cast(int, None))
        return await within(self._silence_s, opening)

    async def _send(self, file: asyncssh.SFTPClientFile, start: int, digest: Digest, moved: Moved) -> None:
        """Write the rest of the package, many blocks at once; `digest` is of what is there already."""
        offset, block = start, self._pace.block(block_of(self._session))
        under_way: deque[tuple[asyncio.Task[int], int]] = deque()
        source = opened_at(self._package.path, start)
        try:
            with refusing(RecipientFull, _FULL):
                while True:
                    data = source.read(block)
                    if data:
                        await self._pace.before(len(data))
                        digest.update(data)
                        task = asyncio.create_task(file.write(data, offset))
                        offset += len(data)
                        under_way.append((task, offset))
                    while under_way and (not data or len(under_way) * block >= _UNDER_WAY or under_way[0][0].done()):
                        oldest, end = under_way.popleft()
                        await within(self._silence_s, oldest)
                        moved(end)
                    if not data:
                        break
        finally:
            source.close()
            await drop(task for task, _ in under_way)
        if digest.hexdigest() != self._package.intent.sha256:
            raise PackageChanged("the sealed package changed while it was sent; it was not placed")

    async def _compare(self, file: asyncssh.SFTPClientFile, start: int, digest: Digest) -> None:
        """The temporary file is durable and is ours; `digest` is of its first `start` bytes, read already."""
        size = self._package.intent.size
        with refusing(RecipientFull, _FULL), suppress(asyncssh.SFTPOpUnsupported):
            await within(self._silence_s, file.fsync())
        with refusing(
            PackageRefused, "the recipient's server does not tell the size of what it has; it was not placed"
        ):
            there = await within(self._silence_s, file.stat())
        same = there.size == size
        if same and size <= self._read_back_up_to:
            with refusing(
                PackageRefused,
                "the package cannot be read back at the recipient, so it was not placed: ask it for the right to read, "
                "or set packages.channel.read_back_up_to = 0",
            ):
                same = await self._hashed(file, start, size, digest) == self._package.intent.sha256
        with refusing(RecipientFull, _FULL):
            await within(self._silence_s, file.close())
        if not same:
            raise PackageRefused("what the recipient's server says it stored is not what was sent; it was not placed")

    async def _hashed(self, file: asyncssh.SFTPClientFile, start: int, end: int, digest: Digest) -> str:
        """The digest, gone on with over bytes `start` to `end` as they are there."""
        block = block_of(self._session)
        under_way: deque[tuple[asyncio.Task[bytes], int]] = deque()
        offsets = iter(range(start, end, block))
        try:
            while True:
                for offset in islice(offsets, max(1, _UNDER_WAY // block) - len(under_way)):
                    wanted = min(block, end - offset)
                    under_way.append((asyncio.create_task(read_at(file, offset, wanted)), wanted))
                if not under_way:
                    return digest.hexdigest()
                oldest, wanted = under_way.popleft()
                data = await within(self._silence_s, oldest)
                if len(data) != wanted:
                    return ""
                digest.update(data)
        finally:
            await drop(task for task, _ in under_way)

    # --- placing -----------------------------------------------------------------------------------

    async def _place(self) -> None:
        """Give it its final name. From here on no cancelling helps."""
        await asyncio.to_thread(write_mark, self._package, Mark(Stage.PLACING))
        try:
            await self._rename()
        except BROKEN:
            raise PlacingDoubtful(
                "the connection broke while the package took its final name; whether it is there is asked before "
                "anything is sent again"
            ) from None
        await asyncio.to_thread(write_mark, self._package, Mark(Stage.PLACED))

    async def _rename(self) -> None:
        try:
            # Version 3's own rename never overwrites (§6.5; OpenSSH links, then removes): two cannot both place it.
            await within(self._silence_s, self._session.rename(self._part, self._final))
        except BROKEN:
            raise
        except asyncssh.SFTPError:
            await self._rename_otherwise()
        with suppress(*FOREIGN):
            there = await self._look(self._final)
            if there is not None and there.size not in {None, self._package.intent.size}:
                raise PackageDiffers(
                    "the recipient's server stored another size than was compared before; ask the recipient what it has"
                )

    async def _rename_otherwise(self) -> None:
        """The plain rename was refused: because somebody was faster, or because this server only knows another one."""
        there = await self._look(self._final)
        if there is not None:
            if await self._is_ours(there) is None:
                raise PlacingDoubtful("under the package's name stands a file that we may not read: ask the recipient")
            await self._clean_up()
            return
        try:
            await within(self._silence_s, self._session.posix_rename(self._part, self._final))
        except BROKEN:
            raise
        except asyncssh.SFTPError:
            if await self._look(self._part) is None:
                raise PlacingDoubtful("somebody else placed or removed the package: ask the recipient") from None
            await asyncio.to_thread(write_mark, self._package, Mark(Stage.BEGUN))
            await self._clean_up()
            raise PackageRefused(
                "the recipient's server does not let the package take its final name; ask it for the right to rename"
            ) from None
