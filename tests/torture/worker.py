"""A gateway that discloses without end, to be killed: python worker.py CONFIG HOME."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from qaqpa.demo import handovers_for, requests_for
from qaqpa.errors import QaqpaError
from qaqpa.gateway import Gateway, load_setup
from qaqpa.model.request import DisclosureRequest, parse
from qaqpa.testing.people import people

AT_ONCE = 4


async def main(config: Path, home: Path) -> None:
    """Four disclosures at once, for ever."""
    async with Gateway.open(load_setup(config, home=home)) as gateway:
        applicants = people(20, today=gateway.ledger.clock().date())
        sys.stdout.write("open\n")
        sys.stdout.flush()

        async def work(first: int) -> None:
            number = first
            while True:
                person = applicants[number % len(applicants)]
                asked = ("collections", handovers_for(0, person, gateway.ledger.clock().date()))
                if number % 3:
                    asked = ("loan-scoring", next(requests_for(person, "good")))
                try:
                    await gateway.disclose(asked[0], parse(DisclosureRequest, asked[1]))
                except QaqpaError as error:
                    sys.stderr.write(f"{error.code}\n")
                number += AT_ONCE

        await asyncio.gather(*(work(number) for number in range(AT_ONCE)), end_with(os.getppid()))


async def end_with(parent: int) -> None:
    """A test that was killed leaves nothing running behind."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells that a parent is gone
        await asyncio.sleep(1)
    os._exit(1)


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
