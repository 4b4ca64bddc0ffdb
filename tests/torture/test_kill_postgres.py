"""kill -9 at random instants among three gateways on one PostgreSQL: what the third parties received stays a subset of
what the ledger says, byte for byte; indexes have no gap; what was cut off is known; the ledger verifies."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from harness import ROOT
from qaqpa.demo import BY_TLS_ALONE, SANDBOXES, consents_for, received, stands, unaccounted
from qaqpa.gateway import Gateway, Setup, load_setup
from qaqpa.keys.keyring import Keyring
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.consent import ConsentRequest
from qaqpa.model.request import parse
from qaqpa.testing.people import people
from servers import Server

KILLS = int(os.environ.get("QAQPA_KILLS", "6"))
SEED = int(os.environ.get("QAQPA_SEED", str(time.time_ns())))
GATEWAYS = 3
WORKER = Path(__file__).parent / "worker.py"


async def start(setup: Setup, config: Path) -> asyncio.subprocess.Process:
    """A gateway in a process of its own, open."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), str(config), str(setup.home), env={**os.environ, **setup.environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"open\n"
    return process


async def examined(setup: Setup, calls: dict[str, list[dict[str, object]]]) -> Verified:
    """Open once more, so that what was cut off is concluded, and hold the ledger against what arrived."""
    async with Gateway.open(setup) as gateway:
        whole = [call for name in BY_TLS_ALONE for call in calls[name] if call["problem"] != "the request broke off"]
        assert await unaccounted(gateway, whole) == 0
    with gateway.store.snapshot() as connection:
        return verify(connection, key=setup.log_key, kept=[setup.checkpoint_path.read_bytes()])


@pytest.mark.promise(1)
@pytest.mark.timeout(900)
async def test_three_gateways_killed_in_turn_lose_and_hide_nothing(tmp_path: Path, postgres: Server) -> None:
    print(f"seed {SEED}, {KILLS} kills")  # noqa: T201 - to run a failure again
    rng = random.Random(SEED)
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    gateway_file = config / "gateway.toml"
    gateway_file.write_text(gateway_file.read_text().replace("sqlite:///qaqpa.db", postgres.database()))
    with stands(config, tmp_path, *SANDBOXES) as third_parties:
        setup = load_setup(config, home=tmp_path, environ=third_parties.environment)
        Keyring.create(setup.keyring_path, setup.unlock, cost=2).close()
        async with Gateway.open(setup) as gateway:
            now = gateway.ledger.clock()
            operator = {"name": gateway.policy.operator.name, "bin": gateway.policy.operator.bin}
            for person in people(20, today=now.date()):
                for document in consents_for(person, "good", operator=operator, now=now):
                    await gateway.record_consent("loan-scoring", parse(ConsentRequest, document))
        running = [await start(setup, config) for _ in range(GATEWAYS)]
        try:
            for _ in range(KILLS):
                await asyncio.sleep(rng.uniform(0.1, 1.2))
                victim = rng.randrange(GATEWAYS)
                running[victim].send_signal(signal.SIGKILL)
                await running[victim].wait()
                running[victim] = await start(setup, config)
        finally:
            for process in running:
                process.send_signal(signal.SIGKILL)
                await process.wait()
        await asyncio.sleep(0.5)  # the stand-ins finish reading what was on its way

        calls = {name: received(tmp_path, name) for name in SANDBOXES}
        found = await examined(setup, calls)
    arrived = sum(map(len, calls.values()))
    assert arrived > 10 * KILLS, "too little was under way to show anything"
    assert arrived <= found.kinds["intent"]
    assert found.open_intents == ()
    assert found.kinds["intent"] == found.kinds["outcome"]
    assert found.in_tree == found.size, "the tree did not catch up"
