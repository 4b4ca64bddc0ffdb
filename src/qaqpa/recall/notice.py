"""A notice of recall: which disclosures to stop and destroy. As a package it names ids that the recipient has already.

It is a ZIP with `recall.csv` (handover, row of its package, disclosure) and a signed manifest that says why and until
when. No field of anybody's data stands in it, so it can be sent for somebody who was erased here, too.
Recipients that take no packages get a `Message` in their own format.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from qaqpa.handover.manifest import NAME, SIGNATURE, Member
from qaqpa.model.decision import Asked
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import HandoverIntent, Package
from qaqpa.model.identifiers import HandoverId, RecipientId
from qaqpa.model.recall import Recall
from qaqpa.seal import PackageKey, PackageWriter
from qaqpa.store import Connection

LIST = "recall.csv"
_HELD = 2**18
_DATE = (1980, 1, 1, 0, 0, 0)
"""Of members: what is the same is written the same."""


def write_notice(
    notice: str,
    recipient: str,
    key: PackageKey,
    path: Path,
    named: Iterable[tuple[str, int | None, str]],
    manifest: Callable[[Mapping[str, Json], Member, Sequence[Member]], tuple[bytes, bytes]],
) -> tuple[Package, int]:
    """Write the sealed notice, durable when this returns; gives it and how many disclosures it names.

    `named` are handover, row and disclosure; `manifest` makes the manifest and its signature of what is to be said of
    the list. Raises StoreUnavailable.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with PackageWriter(HandoverIntent(HandoverId(notice), RecipientId(recipient)), key, path) as sealed:
        with zipfile.ZipFile(_Into(sealed), "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open(_info(LIST), "w", force_zip64=True) as file:
                member, count = _write_list(file, named)
            document, note = manifest({"disclosures": count}, member, ())
            for name, data in ((NAME, document), (SIGNATURE, note)):
                archive.writestr(_info(name), data)
        return sealed.close(), count


class _Into:
    """What `zipfile` writes to: it cannot go back, because what was written is sealed."""

    def __init__(self, sealed: PackageWriter) -> None:
        self._sealed = sealed

    def write(self, data: bytes, /) -> int:
        self._sealed.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Whoever sealed closes."""


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    return info


def _write_list(file: IO[bytes], named: Iterable[tuple[str, int | None, str]]) -> tuple[Member, int]:
    digest, size, count = hashlib.sha256(), 0, 0
    held = bytearray(b"handover,row,disclosure\r\n")
    for handover, row, disclosure in named:
        held += f"{handover},{'' if row is None else row},{disclosure}\r\n".encode()
        count += 1
        if len(held) >= _HELD:
            size += _flush(file, digest, held)
    size += _flush(file, digest, held)
    return Member(LIST, size, digest.hexdigest(), {"rows": count}), count


def _flush(file: IO[bytes], digest: hashlib._Hash, held: bytearray) -> int:
    block = bytes(held)
    held.clear()
    digest.update(block)
    return file.write(block)


@dataclass(frozen=True, slots=True)
class Message:
    """A notice that goes in the recipient's own format: about whom, which contract, and how the ledger begins it."""

    asked: Asked
    notice: str
    """Id of its intent."""
    subject: str
    contract: str = field(repr=False)
    recall: Recall
    begin: Callable[[Connection], None]
    """In the transaction of the intent; raises to undo it."""


class SendMessage(Protocol):
    """The flow of disclosures, for a notice."""

    async def __call__(self, message: Message) -> None:
        """Decide, intend, seal, send, conclude. Raises as `Flow.disclose`, NotFound for somebody who was erased."""
