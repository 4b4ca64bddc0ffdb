"""Takes away what kills left on disk: registers that nobody works on, files of handovers that are over.

Whoever ends a handover tidies after it; what was cut off between is found here, at the start of a process and now and
then after it.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime, timedelta

from qaqpa.errors import NotFound
from qaqpa.handover import records
from qaqpa.handover.packer import REGISTER, Packer
from qaqpa.model.handover import FINAL
from qaqpa.model.identifiers import HandoverId, is_our_id

EVERY_S = 3600.0
ORPHAN = timedelta(days=1)
"""After which a register that no handover knows was cut off while it was taken in, and is not being taken in now."""


class Sweep:
    """One process's."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._next = float("-inf")
        self._over: set[str] = set()
        """Folders in which nothing will be left to take away; there is one for each handover that was acknowledged."""

    async def if_due(self) -> None:
        """Sweep, unless it was done a short while ago. Raises StoreError."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_S
        folders = await asyncio.to_thread(self._folders)
        self._over &= set(folders)
        for name in folders:
            if name not in self._over:
                await self._one(HandoverId(name))

    def _folders(self) -> list[str]:
        folder = self._packer.folder
        return sorted(each.name for each in folder.iterdir() if is_our_id(each.name)) if folder.is_dir() else []

    async def _one(self, name: HandoverId) -> None:
        try:
            found = await self._packer.ledger.store.read(lambda connection: records.find(connection, name))
        except NotFound:
            await asyncio.to_thread(self._orphan, name)
        else:
            await asyncio.to_thread(self._packer.tidy, found)
            if found.state in FINAL:
                self._over.add(name)

    def _orphan(self, name: HandoverId) -> None:
        """Taken in by a process that was killed, before anybody was told of it: its key was never kept."""
        folder = self._packer.folder / name
        only_registers = all(path.name.startswith(REGISTER) for path in folder.glob("*"))
        if only_registers and self._packer.ledger.clock() - _made_at(name) > ORPHAN:
            shutil.rmtree(folder, ignore_errors=True)


def _made_at(name: HandoverId) -> datetime:
    """The moment in a UUIDv7 (RFC 9562, 5.7)."""
    return datetime.fromtimestamp(int(name[:8] + name[9:13], 16) / 1000, UTC)
