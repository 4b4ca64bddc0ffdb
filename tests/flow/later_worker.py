"""A gateway that asks about people whose answers come later, to be killed: python later_worker.py CONFIG HOME IIN..."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from qaqpa.errors import AnswerAwaited
from qaqpa.gateway import Gateway, load_setup
from qaqpa.model.request import DisclosureRequest, parse


async def main(config: Path, home: Path, people: list[str]) -> None:
    """One after the other, each once; then it says when jobs run here, and goes on until it is killed."""
    parent = os.getppid()
    async with Gateway.open(load_setup(config, home=home)) as gateway:
        for iin in people:
            document = {
                "recipient": "pension-center", "operation": "contributions", "purpose": "application_review",
                "data": {"identity": {"iin": iin}},
            }  # fmt: skip
            try:
                await gateway.disclose("loan-scoring", parse(DisclosureRequest, document))
            except AnswerAwaited as waits:
                say(str(waits.disclosure))
        while not gateway.jobs.runs:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        say("runs")
        while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells that a parent is gone
            await asyncio.sleep(1)
        os._exit(1)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
