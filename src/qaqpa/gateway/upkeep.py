"""What a gateway does beside disclosing: grow the tree and the catalogue, sign checkpoints, ask witnesses, finish what
was cut off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

from qaqpa import log
from qaqpa.errors import LedgerRolledBack, QaqpaError, StoreUnavailable
from qaqpa.gateway.witnesses import Witnesses
from qaqpa.ledger import Ledger
from qaqpa.ledger.answers import forget_expired
from qaqpa.ledger.backup import enter_loss
from qaqpa.ledger.catalogue import catalogue_more
from qaqpa.ledger.checkpoints import Checkpoints, latest_note
from qaqpa.ledger.integrate import integrate_all
from qaqpa.ledger.recovery import recover
from qaqpa.tlog.notes import Note

_log = log.get("upkeep")
RECOVER_EVERY_S = 10.0
"""How often a running gateway looks for disclosures that another one, now dead, left open."""
KEEP_EVERY_S = 60.0
"""How often it looks for what came due."""
ASK_AGAIN_S = 10.0
"""After which a witness that did not cosign is asked again."""


class Upkeep:
    """One gateway's; several gateways of one ledger do it in turn."""

    def __init__(
        self,
        ledger: Ledger,
        checkpoints: Checkpoints,
        witnesses: Witnesses,
        *,
        every_s: float,
        zone: int,
        keep: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`zone` is the operator's, in hours east of UTC. `keep` is what time alone makes necessary beside the ledger:
        it is done every minute, not at once.
        """
        self._keep = keep
        self._kept_at = time.monotonic()
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._witnesses = witnesses
        self._every_s = every_s
        self._zone = zone
        self.last_checkpoint_at: datetime | None = None
        """When a checkpoint over all that stood was last made, or found to be there already."""
        self.failing_since: datetime | None = None
        """Since when no turn has done all its work; None while all is well. A turn that hangs does not fail: then
        `last_checkpoint_at` grows old."""
        self._recovered_at = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._to_cosign: Note | None = None
        self._stopping = False
        self._woken = asyncio.Event()
        """There is another checkpoint to cosign, or this is over."""

    async def start(self) -> None:
        """Compare with the checkpoint outside, finish what was cut off, and go on in the background.

        Raises LedgerRolledBack, and StoreError where the ledger cannot be read or written.
        """
        await self._checkpoints.start()
        await enter_loss(self._ledger)
        await recover(self._ledger)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """A last checkpoint, and no more."""
        self._stopping = True
        self._woken.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await self._once()
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._witnesses.close()

    def silent_witnesses(self) -> dict[str, datetime]:
        """Those that do not cosign, by name, and since when."""
        return self._witnesses.silent()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._once()

    async def _ask(self) -> None:
        while (note := self._to_cosign) is not None:
            self._to_cosign = None
            self._woken.clear()
            if await self._witnesses.ask(note) or self._stopping:
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), ASK_AGAIN_S)
            if not self._woken.is_set():
                self._to_cosign = note

    async def _once(self) -> None:
        """Neither holds the other up, and what fails is tried again at the next turn; entries stay durable."""
        works = (self._checkpoint, self._recover, self._catalogue, self._look_after)
        done = [await self._tried(each) for each in works]
        if all(done):
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = self._ledger.clock()

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except LedgerRolledBack as error:
            # The database was exchanged under a running gateway: from now on it sends nothing either.
            self._ledger.closed_by = error
            _log.error("ledger rolled back", code=error.code)
        except QaqpaError as error:
            _log.error("upkeep failed", code=error.code)
        except Exception as error:  # noqa: BLE001 - without upkeep nothing is signed, recovered or compared any more
            _log.error("upkeep failed", error_type=type(error).__name__)
        else:
            return True
        return False

    async def _checkpoint(self) -> None:
        note = await self._checkpoints.make()
        self.last_checkpoint_at = self._ledger.clock()
        if note is not None:
            self._to_cosign = note
            self._woken.set()
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())  # a slow witness holds nothing up

    async def checkpointed(self) -> bytes:
        """A signed checkpoint over every entry that stands now. Raises StoreError."""
        await integrate_all(self._ledger.store)
        await self._checkpoint()
        note = await self._ledger.store.read(latest_note)
        if note is None:
            raise StoreUnavailable("the ledger has no checkpoint, though it has entries: run `qaqpa ledger verify`")
        return note

    async def _catalogue(self) -> None:
        if self._ledger.closed_by is None:
            await catalogue_more(self._ledger.store, self._zone)

    async def _look_after(self) -> None:
        if self._keep is None or self._stopping or self._ledger.closed_by is not None:
            return
        if time.monotonic() - self._kept_at >= KEEP_EVERY_S:
            self._kept_at = time.monotonic()
            await self._keep()

    async def _recover(self) -> None:
        if self._ledger.closed_by is not None:  # nothing is entered in a database that was exchanged
            return
        if time.monotonic() - self._recovered_at >= RECOVER_EVERY_S or self._ledger.has_unfinished:
            await recover(self._ledger)
            now = self._ledger.clock()
            await self._ledger.store.write(lambda connection: forget_expired(connection, now), long=True)
            self._recovered_at = time.monotonic()


async def checkpointed(upkeep: Upkeep | None) -> bytes:
    """A signed checkpoint over every entry that stands now. Raises StoreError."""
    if upkeep is None:
        raise StoreUnavailable("the gateway is not open")
    return await upkeep.checkpointed()
