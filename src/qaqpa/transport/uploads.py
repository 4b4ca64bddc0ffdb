"""Packages by HTTPS: resumable uploads of draft-ietf-httpbis-resumable-upload, with a digest (RFC 9530).

`POST` creates an upload (`Upload-Complete: ?0`, `Upload-Length`, `Repr-Digest`; `Idempotency-Key`: the handover's id,
so that a creation said twice finds the same upload), `HEAD` tells its `Upload-Offset`, `PATCH` appends, and only the
last, small `PATCH` says `Upload-Complete: ?1`: nothing counts before it. The recipient then confirms size and digest.
Through the same line as every message over HTTPS: pinned host, its authorities, our certificate, nothing followed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qaqpa.errors import (
    AnswerUnreadable,
    LoginRefused,
    NotSent,
    PackageDiffers,
    PackageRefused,
    PlacingDoubtful,
    RecipientFull,
    ThirdPartyError,
    Unsettled,
    UploadBroken,
)
from qaqpa.model.handover import SealedPackage
from qaqpa.transport.https import Heard, Https
from qaqpa.transport.packages import (
    LARGEST_RECEIPT,
    MOST_AT_ONCE,
    Mark,
    Moved,
    Pace,
    Ready,
    Stage,
    alone,
    check_file,
    check_name,
    is_receipt_name,
    mark_path,
    read_mark,
    uncancelled,
    write_mark,
)

PACKAGES = "packages"
"""The endpoint at which uploads are created."""
RECEIPTS = "receipts"
"""The endpoint that lists receipts, `{"receipts": [name, ...]}`, and under which each is fetched by its name; may be
absent."""
_PIECE = 2**20
_LAST = 64 * 1024
_BLOCK = 256 * 1024
_TRIES = 3
_CLEAN_UP_S = 5.0
_OK, _CREATED, _NO_CONTENT, _MULTIPLE, _CONFLICT, _SERVER_ERROR = 200, 201, 204, 300, 409, 500
_NOT_OURS, _GONE, _FULL = frozenset({401, 403}), frozenset({404, 410}), frozenset({413, 507})
_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):\s*(?:$|,)")
_WHOLE = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class _State:
    """What the recipient says of an upload."""

    offset: int
    is_complete: bool
    digest: str | None
    """`Repr-Digest` in base64."""


def _state(heard: Heard) -> _State | None:
    """None where the answer does not tell."""
    offset = heard.headers.get("upload-offset", "")
    if not _WHOLE.fullmatch(offset):
        return None
    digest = _DIGEST.search(heard.headers.get("repr-digest", ""))
    return _State(int(offset), heard.headers.get("upload-complete") == "?1", digest and digest[1])


def _is_good(heard: Heard) -> bool:
    return _OK <= heard.status < _MULTIPLE


class Uploads:
    """The channel for packages to one recipient."""

    def __init__(self, wire: Https, *, has_receipts: bool = False, bytes_per_second: float | None = None) -> None:
        """`wire` has the endpoint `packages`, and `receipts` where there are any to fetch."""
        self._wire = wire
        self._has_receipts = has_receipts
        self._rate = bytes_per_second

    async def deliver(self, package: SealedPackage, moved: Moved, ready: Ready) -> None:
        """As `PackageChannel`."""
        check_name(package)
        async with alone(package):
            await check_file(package)
            mark = read_mark(package)
            if mark is not None and mark.stage is Stage.PLACED:
                moved(package.intent.size)
                return
            await _Upload(self._wire, package, Pace(self._rate)).deliver(moved, ready)

    async def arrived(self, package: SealedPackage) -> bool | None:
        """As `PackageChannel`. Where nothing is remembered of an upload, none was begun from here."""
        check_name(package)
        async with alone(package):
            return await _Upload(self._wire, package, Pace(None)).arrived()

    async def discard(self, package: SealedPackage) -> bool | None:
        """As `PackageChannel`."""
        check_name(package)
        async with alone(package):
            upload = _Upload(self._wire, package, Pace(None))
            stands = await upload.arrived()
            if stands is False:
                await upload.remove()
            return stands

    async def receipts(self, known: Container[str]) -> list[tuple[str, bytes]]:
        """As `PackageChannel`."""
        if not self._has_receipts:
            return []
        found: list[tuple[str, bytes]] = []
        size = 0
        for name in self._names(await self._fetched("", None)):
            if name not in known:
                content = await self._fetched(name, LARGEST_RECEIPT)
                found.append((name, content))
                size += len(content)
            if size > MOST_AT_ONCE:
                break
        return found

    async def close(self) -> None:
        """Close idle connections."""
        await self._wire.close()

    @staticmethod
    def _names(listing: bytes) -> list[str]:
        try:
            names = json.loads(listing)["receipts"]
            return sorted({name for name in names if isinstance(name, str) and is_receipt_name(name)})
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AnswerUnreadable('the list of receipts is not {"receipts": [name, ...]}') from None

    async def _fetched(self, name: str, largest: int | None) -> bytes:
        place = ""
        if name:
            place = self._wire.under(RECEIPTS, name)
        heard = await self._wire.talk("GET", RECEIPTS, place, headers={}, largest=largest)
        if heard.status in _NOT_OURS:
            raise LoginRefused("the recipient does not let us fetch receipts: have it enter our certificate")
        if heard.status != _OK:
            raise AnswerUnreadable(f"receipts could not be fetched (HTTP {heard.status}); they are looked for again")
        return heard.body


class _Upload:
    """One package and its upload."""

    def __init__(self, wire: Https, package: SealedPackage, pace: Pace) -> None:
        self._wire = wire
        self._package = package
        self._pace = pace
        self._size = package.intent.size
        self._digest = base64.b64encode(bytes.fromhex(package.intent.sha256)).decode()
        self._where = ""

    # --- looking -----------------------------------------------------------------------------------

    async def arrived(self) -> bool | None:
        """As `PackageChannel.arrived`."""
        mark = read_mark(self._package)
        if mark is None or mark.stage is Stage.PLACED:
            return mark is not None
        self._where = mark.where
        try:
            state = await self._look()
        except Unsettled:
            raise UploadBroken("the recipient did not say what it has; nothing was sent now") from None
        if state is None:
            return None if mark.stage is Stage.PLACING else False
        return self._confirmed(state) if state.is_complete else False

    async def _look(self) -> _State | None:
        """The upload's state; None when there is none any more."""
        heard = await self._wire.talk("HEAD", PACKAGES, self._where, headers={})
        if heard.status in _GONE:
            return None
        state = _state(heard)
        if not _is_good(heard) or state is None or state.offset > self._size:
            raise UploadBroken(
                f"the recipient does not say how much it has (HTTP {heard.status}); nothing was sent now"
            )
        return state

    def _confirmed(self, state: _State) -> bool:
        """True: the recipient has exactly our file. Raises PackageDiffers, or PlacingDoubtful when it does not say."""
        if state.offset == self._size and state.digest is None:
            raise PlacingDoubtful("the recipient has the package and does not confirm its SHA-256: ask it")
        if (state.offset, state.digest) != (self._size, self._digest):
            raise PackageDiffers("the recipient confirms another file than was sent: ask it what it has")
        return True

    # --- sending -----------------------------------------------------------------------------------

    async def deliver(self, moved: Moved, ready: Ready) -> None:
        """As `PackageChannel.deliver`."""
        arrived = await self.arrived()
        if arrived is None:
            raise PlacingDoubtful("the recipient knows nothing of an upload that may have been whole: ask it")
        if arrived:
            write_mark(self._package, Mark(Stage.PLACED, self._where))
            moved(self._size)
            return
        try:
            offset = await self._bring(moved)
            await ready()
        except UploadBroken:
            raise  # what is there is resumed
        except (asyncio.CancelledError, NotSent):
            await uncancelled(self._clean_up())
            raise
        if offset is not None:
            await uncancelled(self._finish(offset))
        write_mark(self._package, Mark(Stage.PLACED, self._where))
        moved(self._size)

    async def _bring(self, moved: Moved) -> int | None:
        """All but the end is there. Returns where the end begins; None when the recipient has it all already, though we
        remember nothing of it."""
        for _ in range(_TRIES):
            try:
                offset = await self._begun()
                if offset is None:
                    return None
                moved(offset)
                while self._size - offset > _LAST:
                    offset = await self._append(offset, min(_PIECE, self._size - offset - _LAST))
                    moved(offset)
            except _Mismatch:
                continue  # what we believe about the offset is wrong: ask again
            except Unsettled:
                raise UploadBroken(
                    "the connection broke before the package was whole there; it can be resumed"
                ) from None
            return offset
        raise UploadBroken("the recipient keeps changing how much it has of the package; try again later")

    async def _begun(self) -> int | None:
        """How much of the upload is there; created where there is none. None when it is whole."""
        state = await self._look() if self._where else None
        if state is None:
            self._where = await self._created()
            await asyncio.to_thread(write_mark, self._package, Mark(Stage.BEGUN, self._where))
            state = await self._look()
        if state is None:
            raise PackageRefused("the recipient does not keep to resumable uploads: what it created is not there")
        return None if state.is_complete and self._confirmed(state) else state.offset

    async def _created(self) -> str:
        headers = {
            "content-type": "application/octet-stream",
            "content-disposition": f'attachment; filename="{self._package.name}"',
            "upload-complete": "?0",
            "upload-length": str(self._size),
            "repr-digest": f"sha-256=:{self._digest}:",
            "idempotency-key": self._package.intent.handover,
        }
        heard = await self._wire.talk("POST", PACKAGES, headers=headers)
        self._require_good(heard, UploadBroken)
        try:
            location = heard.headers["location"]
            if not location:
                raise ValueError("no address")  # noqa: TRY301 - as when there is none
            return self._wire.beside(PACKAGES, location)
        except (KeyError, ValueError):
            raise PackageRefused(
                "the recipient created no upload on its own host (Location); nothing was sent and no other host asked"
            ) from None

    async def _append(self, offset: int, size: int) -> int:
        """Append a piece that is not the last. Returns how much is there."""
        heard = await self._patch(offset, size, {"upload-complete": "?0"})
        self._require_good(heard, UploadBroken)
        state = _state(heard)
        if state is not None and state.offset != offset + size:
            raise _Mismatch
        return offset + size

    async def _patch(self, offset: int, size: int, headers: Mapping[str, str]) -> Heard:
        said = {
            "content-type": "application/partial-upload",
            "content-length": str(size),
            "upload-offset": str(offset),
            **headers,
        }
        blocks = _blocks(self._package.path, offset, size, self._pace)
        return await self._wire.talk("PATCH", PACKAGES, self._where, headers=said, blocks=blocks, size=size)

    def _require_good(self, heard: Heard, when_broken: type[ThirdPartyError]) -> None:
        status = heard.status
        if _is_good(heard):
            return
        if status in _NOT_OURS:
            raise LoginRefused(f"the recipient does not let us upload (HTTP {status}): have it enter our certificate")
        if status in _FULL:
            raise RecipientFull(f"the recipient has no room for the package (HTTP {status}); ask it for room")
        if status == _CONFLICT:
            raise _Mismatch
        if status >= _SERVER_ERROR or status in _GONE:
            raise when_broken(
                f"the recipient's server failed (HTTP {status}) before the package was whole; try again later"
            )
        raise PackageRefused(f"the recipient does not take the package (HTTP {status}); nothing was followed elsewhere")

    # --- the end -----------------------------------------------------------------------------------

    async def _finish(self, offset: int) -> None:
        """Send the end, with which the package counts. From here on no cancelling helps."""
        await asyncio.to_thread(write_mark, self._package, Mark(Stage.PLACING, self._where))
        last = {"upload-complete": "?1", "repr-digest": f"sha-256=:{self._digest}:"}
        try:
            heard = await self._patch(offset, self._size - offset, last)
        except NotSent:
            await asyncio.to_thread(write_mark, self._package, Mark(Stage.BEGUN, self._where))
            raise
        except Unsettled:
            raise PlacingDoubtful(_DOUBT) from None
        try:
            self._require_good(heard, PlacingDoubtful)
        except _Mismatch:
            pass  # asked below
        except NotSent:
            await asyncio.to_thread(write_mark, self._package, Mark(Stage.BEGUN, self._where))
            await self._clean_up()
            raise
        await self._confirm(heard)

    async def _confirm(self, heard: Heard) -> None:
        """Size and digest, from the answer to the last piece or asked for."""
        state = _state(heard)
        if state is None or not state.is_complete or state.digest is None:
            try:
                state = await self._look()
            except ThirdPartyError:
                raise PlacingDoubtful(_DOUBT) from None
        if state is None:
            raise PlacingDoubtful(_DOUBT)
        if not state.is_complete:
            await asyncio.to_thread(write_mark, self._package, Mark(Stage.BEGUN, self._where))
            raise UploadBroken("the recipient did not take the last piece; it can be resumed")
        self._confirmed(state)

    async def remove(self) -> None:
        """Have the recipient forget an upload that is not whole, if there is one."""
        if self._where:
            await self._wire.talk("DELETE", PACKAGES, self._where, headers={})
            mark_path(self._package).unlink(missing_ok=True)

    async def _clean_up(self) -> None:
        with suppress(ThirdPartyError, TimeoutError, OSError):
            async with asyncio.timeout(_CLEAN_UP_S):
                await self.remove()


class _Mismatch(Exception):
    """The recipient has another part of the package than we believed (409)."""


_DOUBT = "nobody knows whether the recipient took the last piece; that is asked before anything is sent again"


async def _blocks(path: Path, offset: int, size: int, pace: Pace) -> AsyncIterator[bytes]:
    """Bytes of the file, a block at a time."""
    with path.open("rb") as file:
        file.seek(offset)
        left, largest = size, pace.block(_BLOCK)
        while left and (data := file.read(min(left, largest))):
            await pace.before(len(data))
            left -= len(data)
            yield data
