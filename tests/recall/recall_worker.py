"""A gateway that recalls what it is told, to be killed: python recall_worker.py CONFIG HOME ID..."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from qaqpa.gateway import Gateway, load_setup
from qaqpa.model.actors import SHELL, called
from qaqpa.model.recall import RecallReason
from qaqpa.recall.asking import Asking
from qaqpa.recall.records import Recalled


async def recalled(gateway: Gateway, target: str) -> Recalled:
    """By one person, or by two where it is a whole handover."""
    if not await gateway.recalls.takes_two("compliance", target):
        asking = Asking(caller=None, person="A. Compliance")
        return await gateway.recalls.start("compliance", target, RecallReason.ERROR, asking)
    one, other = called("A. Compliance", SHELL), called("Second Person", SHELL)
    approval = await gateway.approvals.ask_recall(
        "compliance", one, target, RecallReason.ERROR, due_on=None, by_letter=False
    )
    _, done = await gateway.approvals.agree("compliance", other, approval.id, reason="seen")
    assert isinstance(done, Recalled)
    return done


async def main(config: Path, home: Path, targets: list[str]) -> None:
    """One after the other, each once; then it goes on until it is killed."""
    parent = os.getppid()
    async with Gateway.open(load_setup(config, home=home)) as gateway:
        for target in targets:
            asked = await recalled(gateway, target)
            sys.stdout.write(f"{asked.id}\n")
            sys.stdout.flush()
        while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells that a parent is gone
            await asyncio.sleep(1)
        os._exit(1)


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
