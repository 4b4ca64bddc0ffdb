"""kill -9 at every step of a handover, from the register to the receipt: one package at the recipient, every row once
in the ledger, nothing on disk that names anybody, nothing left behind.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import handover_life
import pytest

from harness import TODAY, House, both_engines
from qaqpa.ledger.handovers import entered_chunks
from qaqpa.model.handover import HandoverState, row_id
from qaqpa.model.identifiers import HandoverId
from qaqpa.testing.people import people
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import agency, as_csv, manifest_in, opened, register_in, row
from turning import bare, examined, in_order, results, standing, still, taken_in

KILLS = int(os.environ.get("QAQPA_KILLS", "0"))
"""At random instants, beside those of each point; also, each point on both databases."""
SEED = int(os.environ.get("QAQPA_SEED", str(time.time_ns())))
ROWS = 130
_ON_BOTH = ("in the transaction of rows", "rows entered, not written", "intended", "it has its name", "concluded")
_BESIDE = ("before the first rows are entered", "in the transaction of rows", "rows entered, not written")
_SENT = (HandoverState.SENT.value,)
LIVES = Path(handover_life.__file__)


@pytest.fixture
async def lives() -> AsyncIterator[Process]:
    """Where lives are forked off."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(LIVES), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(LIVES.parents[1])},
    )  # fmt: skip
    yield process
    process.kill()
    await process.wait()


def debtors(seed: int = 1) -> list[dict[str, Any]]:
    """A register in which something is wrong, with words that stand nowhere else."""
    lines = [
        row(person, last_name="Канарейкина", email=f"kanarie{at}@example.kz", registered_address="ул. Канареечная, 7")
        | {"contract.number": f"KANARIE-{seed}-{at}"}
        for at, person in enumerate(people(ROWS, seed=seed, today=TODAY))
    ]
    lines[3]["facts.contract.settlement_steps_done"] = False
    lines[50]["facts.contract.breach_notified_on"] = None
    lines[90]["identity.iin"] = "900101300124"  # a wrong check digit
    lines[120] = dict(lines[5])
    return lines


def canaries(lines: Iterable[dict[str, Any]]) -> list[bytes]:
    """What must stand nowhere, as any program of ours may write it."""
    words = ["Канаре", "KANARIE", "kanarie", *[line["identity.iin"] for line in list(lines)[:120:40]]]
    return [word.encode(codec) for word in words for codec in ("utf-8", "cp1251", "utf-16-le")] + [
        word.encode("unicode_escape") for word in words
    ]


def named_in(folders: Iterable[Path], words: list[bytes]) -> list[str]:
    """Files that hold one of the words."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                found += [f"{path.name}: {word!r}" for word in words if word in content]
    return found


def disclosures(package: zipfile.ZipFile) -> list[str]:
    """The ids that a package says its rows have."""
    text = package.read("disclosures.csv").decode()
    return [each["disclosure"] for each in csv.DictReader(io.StringIO(text))]


class Torture:
    """A house, its processes, and what is looked at after each of them."""

    def __init__(
        self, house: House, recipient: SftpRecipient, folder: Path, words: list[bytes], server: Process
    ) -> None:
        self.house, self.recipient, self.words, self.server = house, recipient, words, server
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.folders = [house.home, self.temporary]
        house.environ["TMPDIR"] = str(self.temporary)

    async def life(
        self,
        point: str | None,
        *until: str,
        register: Path | None = None,
        killed_after: float | None = None,
        beside: bool = False,
    ) -> int:
        """One process; how it ended."""
        asked = {
            "config": str(self.house.config), "home": str(self.house.home), "environ": self.house.environ,
            "log": str(self.temporary / "log"), "until": until, "point": point,
            "beside": beside,
            "register": None if register is None else str(register),
        }  # fmt: skip
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(asked).encode() + b"\n")
        child = int(await self.server.stdout.readline())
        ending = asyncio.ensure_future(self.server.stdout.readline())
        done, _ = await asyncio.wait([ending], timeout=killed_after or 30)
        if not done:
            os.kill(child, signal.SIGKILL)
        ended = int(await ending)
        assert done or killed_after, f"{point}: it neither died nor came to an end"
        assert named_in(self.folders, self.words) == [], point
        return ended

    async def looked(self) -> None:
        """After a kill: what stands is true, as far as it goes."""
        async with still(self.house) as gateway:
            self.house.verified(gateway)
            intents = [entry["id"] for entry in self.house.entries(gateway, "intent")]
            assert len(intents) == len(set(intents))
            for path in self.recipient.packages:
                assert path.name.partition(".")[0] in intents
                assert set(disclosures(opened(self.recipient, path.name))) <= set(intents)
        assert max(Counter(path.name for path in self.recipient.packages).values(), default=1) == 1

    async def examined(self, name: HandoverId, lines: list[dict[str, Any]]) -> None:
        """At the end of one handover: all of it."""
        async with still(self.house) as gateway:
            outcomes = examined(self.house, gateway, self.recipient)
            assert outcomes[name]["result"] == "delivered"
            with gateway.store.snapshot() as connection:
                entered = entered_chunks(connection, name)
                findings = connection.execute(
                    "SELECT row, result FROM handover_findings WHERE handover = ? AND result <> 'rejected'", (name,)
                ).all()
            told = dict(findings)
            assert sum(len(each.results) for each in entered) == len(lines)
            assert results(gateway, name) == {"PERMIT": ROWS - 4, "DENY": 1, "GAP": 1, "MALFORMED": 1, "DUPLICATE": 1}
            assert told == {5: "deny", 52: "gap", 92: "malformed", 122: "duplicate"}
            intents = [entry["id"] for entry in self.house.entries(gateway, "intent") if entry.get("handover") == name]
            assert intents == [row_id(name, at + 2) for at in range(ROWS) if at + 2 not in told]
            package = opened(self.recipient, f"{name}.zip.age")
            assert disclosures(package) == intents
            assert manifest_in(package)["rows"] == {"handed_in": ROWS, "go": len(intents)}
            going = [line["identity.iin"] for at, line in enumerate(lines) if at + 2 not in told]
            assert [line["ИИН"] for line in register_in(package)] == going
            assert (await standing(gateway, name)).state is HandoverState.ACKNOWLEDGED
            folder = self.house.home / f"export-{name}"
            await gateway.compliance.export("compliance", folder, lambda _done, _all: None)
        checked = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-I", "-S", str(folder / "verify.py"), str(folder)], capture_output=True
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.promise(1)
@pytest.mark.timeout(120 + 10 * KILLS)
@both_engines
async def test_killed_at_every_step_it_arrives_once_and_whole(
    tmp_path: Path, store_url: str, engine: str, request: pytest.FixtureRequest, lives: Process
) -> None:
    print(f"seed {SEED}")  # noqa: T201 - to run a failure again
    lines, house = debtors(), bare(tmp_path, store_url)
    async with agency(house, tmp_path / "agency") as recipient:
        torture = Torture(house, recipient, tmp_path, canaries(lines), lives)
        register = tmp_path / "register.csv"
        register.write_bytes(as_csv(lines))
        brief = engine == "postgresql" and not KILLS
        if not brief:
            for point in handover_life.AT_THE_DOOR:
                assert await torture.life(point, register=register) < 0, point
        async with still(house) as gateway:
            for found in await gateway.handovers.latest("compliance"):
                await gateway.handovers.cancel("compliance", found.id)
            name = await taken_in(gateway, lines=lines)
        for point in _ON_BOTH if brief else handover_life.POINTS:
            assert await torture.life(point, *_SENT) < 0, f"never came to: {point}"
            await torture.looked()
        assert await torture.life(None, *_SENT) == 0
        recipient.acknowledge(f"{name}.zip.age", reject={2: "unknown_debtor"})
        for point in () if brief else handover_life.OF_THE_RECEIPT:
            assert await torture.life(point) < 0, f"never came to: {point}"
            await torture.looked()
        house.clock.offset = timedelta(days=2)  # what was never taken in is swept
        async with still(house) as gateway:
            await gateway.handovers.flow.outbox()
            in_order(house, gateway)
        house.clock.offset = timedelta(0)
        assert await torture.life(None) == 0
        await torture.examined(name, lines)
        assert [call.what for call in recipient.calls].count("place") == 1
        if engine == "postgresql":
            server = request.getfixturevalue("postgres")
            assert named_in([server.folder], torture.words) == []


@pytest.mark.promise(1)
async def test_killed_while_a_process_of_its_own_packs(tmp_path: Path, lives: Process) -> None:
    lines, house = debtors(), bare(tmp_path)
    async with agency(house, tmp_path / "agency") as recipient:
        torture = Torture(house, recipient, tmp_path, canaries(lines), lives)
        async with still(house) as gateway:
            name = await taken_in(gateway, lines=lines)
        for point in _BESIDE:
            assert await torture.life(point, *_SENT, beside=True) < 0, f"never came to: {point}"
            await torture.looked()
        assert await torture.life(None, *_SENT, beside=True) == 0
        recipient.acknowledge(f"{name}.zip.age", reject={2: "unknown_debtor"})
        assert await torture.life(None) == 0
        await torture.examined(name, lines)


@pytest.mark.promise(1)
@pytest.mark.timeout(120 + 10 * KILLS)
@both_engines
async def test_killed_at_random_instants(tmp_path: Path, store_url: str, lives: Process) -> None:
    kills = KILLS or 3
    print(f"seed {SEED}, {kills} kills")  # noqa: T201 - to run a failure again
    rng, house = random.Random(SEED), bare(tmp_path, store_url)
    registers = [debtors(seed) for seed in range(max(kills // 5, 1))]
    async with agency(house, tmp_path / "agency") as recipient:
        torture = Torture(house, recipient, tmp_path, canaries(registers[0]), lives)
        names = []
        for number in range(kills):
            if number % 5 == 0 and len(names) < len(registers):
                async with still(house) as gateway:
                    names.append(await taken_in(gateway, lines=registers[len(names)]))
            await torture.life(None, *_SENT, killed_after=rng.uniform(0.2, 1.6), beside=rng.random() < 0.3)
            await torture.looked()
            for path in recipient.packages:
                if rng.random() < 0.3:
                    recipient.acknowledge(path.name)
        assert await torture.life(None, *_SENT) == 0
        for name in names:
            recipient.acknowledge(f"{name}.zip.age")
        assert await torture.life(None) == 0
        for name, lines in zip(names, registers, strict=True):
            await torture.examined(name, lines)
