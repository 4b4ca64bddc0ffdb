"""Where the time of a handover goes: each stage alone, chunk by chunk, in processor time of its own thread.

Run by `tests/bench`, in a process of its own; the sum is what one core would need if nothing overlapped.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parent.parent))

from qaqpa.gateway import Gateway, load_setup
from qaqpa.handover.deciding import CHUNK
from qaqpa.handover.judge import IIN
from qaqpa.handover.package import PackageBuilder
from qaqpa.handover.records import Handover
from qaqpa.keys import Keyring
from qaqpa.ledger.handovers import RowEntries
from qaqpa.ledger.integrate import integrate
from qaqpa.model.handover import HandoverIntent, HandoverState
from qaqpa.model.identifiers import HandoverId, uuid7
from qaqpa.model.words import timestamp
from qaqpa.store import Connection
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import order

ROOT = Path(__file__).parent.parent.parent
STAGES = ("read", "screen", "look_up", "judge", "new_subjects", "entries", "leaves", "append", "tree", "package")
_WARM = 3


class Clock:
    """Processor time of the thread at hand, by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Time one chunk of a stage."""
        began = time.thread_time()
        yield
        self.spent[stage].append(time.thread_time() - began)

    def us_per_row(self) -> dict[str, float]:
        """The median over chunks, without the first ones."""
        return {stage: statistics.median(self.spent[stage][_WARM:]) / CHUNK * 1e6 for stage in STAGES}


async def staged(register: Path, home: Path, chunks: int = 40) -> dict[str, float]:
    """Microseconds of each stage for one row."""
    async with SftpRecipient(directory=home / "agency") as recipient:
        environ = {**os.environ, **recipient.environment, "QAQPA_PASSPHRASE": "a passphrase of the bench"}
        setup = load_setup(ROOT / "config", home=home, environ=environ)
        Keyring.create(setup.keyring_path, setup.unlock, cost=2**10).close()
        async with Gateway.open(setup) as gateway:
            await gateway._enter_policy()
            clock = Clock()
            with register.open("rb") as file:
                await _decide(gateway, file, home, clock, chunks)
            return clock.us_per_row()


async def _decide(gateway: Gateway, file: Any, home: Path, clock: Clock, chunks: int) -> None:
    packer, now = gateway.handovers.flow.packer, gateway.ledger.clock()
    handover = Handover(HandoverId(uuid7()), order(), HandoverState.DECIDING, now, now, {})
    deciding = packer.deciding(handover, trial=True)
    partner: Any = packer.partners["demo-collector"]
    rows_of, judge = deciding.register(file), await deciding.judge()
    made = RowEntries(gateway.ledger, handover.id, partner.config.seal.kind)
    intent, path = HandoverIntent(handover.id, "demo-collector"), home / "package"
    ledger, fields = gateway.ledger, deciding.route.fields
    with PackageBuilder(intent, partner.key, path, partner.config, fields, handover.since) as builder:
        for _ in range(chunks):
            with clock.of("read"):
                rows = list(islice(rows_of, CHUNK))
            with clock.of("screen"):
                screened = [judge.screen(row) for row in rows]
            assert not any(screened), "the register of the bench has no bad row"
            with clock.of("look_up"):
                people = await ledger.subjects.people([str(row.values[IIN]) for row in rows])
                known = await deciding.known(people, [])
            with clock.of("judge"):
                judged = judge.judge(rows, {}, known)
            with clock.of("new_subjects"):
                subjects, new = ledger.subjects.made_for(people[row.iin] for row in judged.decided)
            moment = timestamp(ledger.clock())
            with clock.of("entries"):
                drafts = [made.intent(row, subjects[row.iin], moment) for row in judged.decided]
            with clock.of("leaves"):
                assert all(draft.row() for draft in drafts)

            def unit(connection: Connection, new: Any = new, drafts: Any = drafts) -> None:
                with clock.of("append"):
                    ledger.subjects.add_all(connection, new)
                    for draft in drafts:
                        ledger.append(connection, draft)

            def grow(connection: Connection) -> None:
                with clock.of("tree"):
                    integrate(connection)

            await ledger.store.write(unit, long=True)
            await ledger.store.write(grow, long=True)
            with clock.of("package"):
                builder.add(judged.going)


if __name__ == "__main__":
    sys.stdout.write(orjson.dumps(asyncio.run(staged(Path(sys.argv[1]), Path(sys.argv[2])))).decode())
