"""A gateway that recalls what it is told, to be killed: python recall_worker.py CONFIG HOME ID..."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from qaqpa.gateway import Gateway, load_setup
from qaqpa.model.recall import RecallReason
from qaqpa.recall.recalls import Asking


async def main(config: Path, home: Path, targets: list[str]) -> None:
    """One after the other, each once; then it goes on until it is killed."""
    parent = os.getppid()
    async with Gateway.open(load_setup(config, home=home)) as gateway:
        for target in targets:
            asking = Asking(caller=None, person="A. Compliance")
            asked = await gateway.recalls.start("compliance", target, RecallReason.ERROR, asking)
            sys.stdout.write(f"{asked.id}\n")
            sys.stdout.flush()
        while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells that a parent is gone
            await asyncio.sleep(1)
        os._exit(1)


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
