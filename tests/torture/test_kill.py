"""kill -9 at random instants during the demonstration's run: what the third parties received stays a subset of what
the ledger says, byte for byte, and the ledger verifies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from harness import ROOT
from qaqpa.demo import AT_ONCE, BY_TLS_ALONE, SANDBOXES, passphrase, received, unaccounted
from qaqpa.gateway import Gateway, load_setup
from qaqpa.ledger.verify import Verified, verify

ROUNDS = int(os.environ.get("QAQPA_KILLS", "6"))
SEED = int(os.environ.get("QAQPA_SEED", str(time.time_ns())))


async def demo(home: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "qaqpa", "demo", "--people", "60", "--debtors", "0", "--home", str(home), "--json",
        cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def until_asked(home: Path, process: asyncio.subprocess.Process) -> float:
    """When the first request of this run has reached the third party (it keeps the logs of all runs)."""
    log = home / "sandbox" / "first-credit-bureau" / "calls.jsonl"
    before = log.stat().st_size if log.exists() else 0
    while process.returncode is None and not (log.exists() and log.stat().st_size > before):  # noqa: ASYNC110 - a file of another process
        await asyncio.sleep(0.005)  # a file, not an event
    return time.monotonic()


async def examined(home: Path) -> Verified:
    """The ledger, which must verify and account for everything that the third parties received."""
    setup = load_setup(ROOT / "config", home=home, environ={"QAQPA_PASSPHRASE": passphrase(home)})
    async with Gateway.open(setup) as gateway:
        with gateway.store.snapshot() as connection:
            found = verify(connection, key=gateway.setup.log_key)
        # A request whose body had not wholly arrived when the gateway died cannot be compared by its digest.
        calls = {name: received(home, name) for name in SANDBOXES}
        whole = [call for name in BY_TLS_ALONE for call in calls[name] if call["problem"] != "the request broke off"]
        assert await unaccounted(gateway, whole) == 0
        assert sum(len(each) for each in calls.values()) <= found.kinds.get("intent", 0)
    return found


@pytest.mark.promise(1)
async def test_what_was_received_is_in_the_ledger_whenever_the_gateway_is_killed(tmp_path: Path) -> None:
    print(f"seed {SEED}, {ROUNDS} kills")  # noqa: T201 - to run a failure again
    rng = random.Random(SEED)
    killed_at_work = 0
    size_before = 0
    for _ in range(ROUNDS):
        process = await demo(tmp_path)
        await until_asked(tmp_path, process)
        await asyncio.sleep(rng.uniform(0.0, 0.9))
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            killed_at_work += 1
        await process.wait()
        await asyncio.sleep(0.3)  # the stand-ins finish reading what was on its way, and end

        found = await examined(tmp_path)
        # What was cut off is `unknown` once a gateway has opened; at most as many as were under way, for each kill.
        assert found.open_intents == ()
        assert len(found.unknown) <= AT_ONCE * killed_at_work
        assert found.size >= size_before
        size_before = found.size
    assert killed_at_work >= ROUNDS // 2, "the kills came too late to show anything"

    # After all that, it still works and still verifies.
    process = await demo(tmp_path)
    assert await process.wait() == 0
    await examined(tmp_path)
