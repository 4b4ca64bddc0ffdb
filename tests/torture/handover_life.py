"""Lives of processes that work on handovers, each ended by a kill at a named instant: python handover_life.py

Each is forked off this one, which has imported everything, so that a life takes as long as its work. A line of JSON on
the standard input asks for one; its number comes back, and how it ended.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbos import Queue

import qaqpa.jobs.engine  # noqa: F401 - most of the time that a start takes
from qaqpa.gateway import Gateway, load_setup
from qaqpa.handover import deciding, flow, handovers, packer, receiving, records
from qaqpa.handover.package import PackageBuilder
from qaqpa.handover.packer import Packer
from qaqpa.ledger.appending import Appending
from qaqpa.model.handover import FINAL
from qaqpa.seal import PackageWriter
from qaqpa.transport.sftp_upload import Visit
from registers import order, pieces

CHUNK = 40
"""Rows of one transaction, in these lives."""
QUICK: dict[str, Any] = Queue.__init__.__kwdefaults__
"""How often the engine looks for what the dead left: a second else, in each of these lives."""
BEFORE, AFTER = False, True
Point = tuple[Any, str, bool, int]
"""Whose function, its name, whether it has run already, at which call."""
POINTS: dict[str, Point] = {
    "before the first rows are entered": (deciding, "enter_chunk", BEFORE, 1),
    "in the transaction of rows": (Appending, "flush", AFTER, -1),
    "rows entered, not written": (deciding, "enter_chunk", AFTER, 1),
    "in the middle of writing": (PackageBuilder, "add", AFTER, 3),
    "all rows written": (PackageBuilder, "finish", BEFORE, 1),
    "the package whole, nobody knows": (PackageWriter, "close", AFTER, 1),
    "packaged, not tidied": (Packer, "tidy", BEFORE, 1),
    "before the package is intended": (flow, "intend_package", BEFORE, 1),
    "intended": (flow, "intend_package", AFTER, 1),
    "the upload begun": (Visit, "_send", BEFORE, 1),
    "all bytes there": (Visit, "_compare", BEFORE, 1),
    "before it takes its name": (Visit, "_rename", BEFORE, 1),
    "it has its name": (Visit, "_rename", AFTER, 1),
    "arrived, not concluded": (flow, "conclude_package", BEFORE, 1),
    "concluded": (flow, "conclude_package", AFTER, 1),
}
OF_THE_RECEIPT: dict[str, Point] = {
    "a receipt fetched": (receiving, "enter", BEFORE, 1),
    "a receipt entered, not kept": (receiving, "enter", AFTER, 1),
    "acknowledged, not tidied": (Packer, "tidy", BEFORE, 1),
}
AT_THE_DOOR: dict[str, Point] = {
    "taken in, nobody knows": (records, "add", BEFORE, 1),
    "taken in, nobody was told": (handovers.Handovers, "take_in", AFTER, 1),
}
ALL = POINTS | OF_THE_RECEIPT | AT_THE_DOOR


def killing(point: Point) -> None:
    """Put the knife there."""
    owner, name, after, nth = point
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def kill(args: tuple[Any, ...]) -> None:
        nonlocal calls
        # Of transactions only one with many rows counts.
        calls += nth > 0 or len(args[0].entries) > CHUNK // 2
        if calls == max(nth, 1):
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(real)
    def sync(*args: Any, **named: Any) -> Any:
        if not after:
            kill(args)
        result = real(*args, **named)
        if after:
            kill(args)
        return result

    @functools.wraps(real)
    async def waiting(*args: Any, **named: Any) -> Any:
        if not after:
            kill(args)
        result = await real(*args, **named)
        if after:
            kill(args)
        return result

    setattr(owner, name, waiting if inspect.iscoroutinefunction(real) else sync)


def live(asked: dict[str, Any]) -> None:
    """Work until all handovers are in one of the states `until`, or take one register in, or until the knife falls."""
    environ: dict[str, str] = asked["environ"]
    os.environ.update(environ)
    tempfile.tempdir = environ["TMPDIR"]
    log = Path(asked["log"]).open("a")  # noqa: SIM115 - for as long as this process lives
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    deciding.CHUNK = CHUNK
    if asked["beside"]:
        packer.LARGE = 0
    flow.LOOK_AGAIN_S = 0.05
    QUICK["polling_interval_sec"] = 0.02
    if asked["point"] is not None:
        killing(ALL[asked["point"]])
    asyncio.run(_live(asked, environ))


async def _live(asked: dict[str, Any], environ: dict[str, str]) -> None:
    parent, home = os.getppid(), Path(asked["home"])
    register = b"" if asked["register"] is None else Path(asked["register"]).read_bytes()  # noqa: ASYNC240 - small
    setup = load_setup(Path(asked["config"]), home=home, environ=environ)
    async with Gateway.open(setup) as gateway:
        if asked["register"] is not None:
            await gateway.handovers.order(order(), pieces(register, 4_096))
            return
        gateway.jobs.wake()
        enough = {state.value for state in FINAL} | set(asked["until"])
        while os.getppid() == parent:  # a test that was killed leaves nothing running behind
            states = {each.state for each in await gateway.handovers.latest("compliance")}
            tidy = asked["until"] or not any(home.glob("handovers/*/*.mark"))  # noqa: ASYNC240 - a few files
            if states and states <= enough and tidy:
                return
            await asyncio.sleep(0.02)


def serve() -> None:
    """Fork a life for each line."""
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            try:
                live(json.loads(line))
                os._exit(0)
            except BaseException:  # noqa: BLE001 - of the child
                traceback.print_exc()
                os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
