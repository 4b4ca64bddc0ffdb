"""A handover from CSV to a sealed package, every row decided, minimised and in the ledger; beside it a bare loop that
reads, writes and encrypts the same rows without any check.

Each size runs in a process of its own, so that its peak memory is its own. The file is made before, by another one.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness import TODAY
from qaqpa import memory
from qaqpa.gateway import Gateway, load_setup
from qaqpa.keys import Keyring
from qaqpa.model.handover import HandoverState
from qaqpa.seal import PackageWriter
from qaqpa.tables import HEADINGS
from qaqpa.testing.people import iin_for, people
from qaqpa.testing.registers import cell
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import FACTS, FIELDS, order, row

ROOT = Path(__file__).parent.parent.parent
GOAL_ROWS, GOAL_MIB = 8_000, 250
_KINDS = 2_000
"""People of whom the others are variations."""


def write_register(path: Path, count: int) -> None:
    """So many debtors, each another person with another contract."""
    kinds = [row(person) for person in people(_KINDS, today=TODAY)]
    ids = _iins()
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, delimiter=";")
        paths = [*FIELDS, *FACTS]
        out.writerow([HEADINGS[each].ru for each in paths])
        for number in range(count):
            line = kinds[number % _KINDS]
            iin = next(ids)
            mobile = f"+7701{number:07d}"
            line = line | {"identity.iin": iin, "contract.number": f"МК-{number:09d}", "contact.mobile": mobile}
            line["identity.birth_date"] = _birth(iin)
            out.writerow([cell(line.get(each)) for each in paths])


def _birth(iin: str) -> str:
    return f"19{iin[:2]}-{iin[2:4]}-{iin[4:6]}"


def _iins() -> Iterator[str]:
    """Different IINs, in no order that an index would like."""
    rng = random.Random(5)
    days = [TODAY.replace(year=1960, month=1, day=1) + timedelta(days=at) for at in range(14_000)]
    rng.shuffle(days)
    for serial in range(9_999):
        for day in days:
            if (iin := iin_for(day, male=True, serial=serial)) is not None:
                yield iin


def measure(register: Path, home: Path) -> dict[str, Any]:
    """Rows a second and peak memory of one handover, in this process."""
    return asyncio.run(_measured(register, home))


async def _measured(register: Path, home: Path) -> dict[str, Any]:
    async with SftpRecipient(directory=home / "agency") as recipient:
        environ = {**os.environ, **recipient.environment, "QAQPA_PASSPHRASE": "a passphrase of the bench"}
        setup = load_setup(ROOT / "config", home=home, environ=environ)
        Keyring.create(setup.keyring_path, setup.unlock, cost=2**10).close()
        async with Gateway.open(setup) as gateway:
            flow = gateway.handovers.flow
            began, cpu = time.perf_counter(), time.process_time()
            taken = await gateway.handovers.order(order(), _pieces(register))
            took_in, apart = time.perf_counter() - began, 0.0
            while True:
                apart = max(apart, *map(_peak_mib, _workers()), 0.0)
                found = (await gateway.handovers.find("collections", taken.id)).handover
                if found.state not in {HandoverState.QUEUED, HandoverState.DECIDING}:
                    break
                await asyncio.sleep(0.25)
            packed = time.perf_counter() - began
            peak = _peak_mib()
            cpu = time.process_time() - cpu + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
            assert found.state in {HandoverState.PACKAGED, HandoverState.SENDING, HandoverState.SENT}, found.figures
            path = flow.packer.package_path(found)
            bare = await asyncio.to_thread(_bare, register, path.with_name("bare"), flow, found)
    count = found.figures["rows"]
    return {
        "rows": count, "seconds": packed, "take_in_s": took_in, "rows_per_s": count / packed, "cpu_s": cpu,
        "peak_mib": peak, "worker_mib": apart, "bare_rows_per_s": count / bare,
    }  # fmt: skip


def _peak_mib(process: str = "self") -> float:
    """The most memory that a process has had at a time; what getrusage says of a child began at its parent's. 0 where
    that cannot be told.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return int(next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), 0)) / 1024


def _workers() -> list[str]:
    """Processes that pack for this one."""
    children = Path("/proc/self/task").glob("*/children")
    return [child for path in children for child in path.read_text().split()]


def _bare(register: Path, path: Path, flow: Any, handover: Any) -> float:
    """Read, write, encrypt: the same columns of the same rows, and nothing else."""
    from qaqpa.model.handover import HandoverIntent

    partner = flow.packer.partners["demo-collector"]
    columns = [each.field for each in partner.config.register_.columns]
    began = time.perf_counter()
    with (
        register.open(encoding="utf-8", newline="") as file,
        PackageWriter(HandoverIntent(handover.id, handover.order.recipient), partner.key, path) as writer,
    ):
        rows = csv.reader(file, delimiter=";")
        heading = next(rows)
        known = {HEADINGS[each].ru: each for each in (*FIELDS, *FACTS)}
        kept = [at for at, name in enumerate(heading) if known[name] in columns]
        text = io.StringIO()
        out = csv.writer(text, delimiter=";")
        for line in rows:
            out.writerow([line[at] for at in kept])
            if text.tell() > 65_536:
                writer.write(text.getvalue().encode())
                text.seek(0)
                text.truncate()
        writer.write(text.getvalue().encode())
    took = time.perf_counter() - began
    path.unlink()
    return took


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(2**18):
            yield piece


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that a gateway's home would be on."""
    with tempfile.TemporaryDirectory(prefix="qaqpa-bench-", dir=ROOT / "build") as made:
        yield Path(made)


def handover_rows(sizes: tuple[int, ...] = (10_000, 100_000)) -> list[dict[str, Any]]:
    """What the benchmark prints; a million rows with QAQPA_BENCH_ROWS=10000,100000,1000000."""
    if text := os.environ.get("QAQPA_BENCH_ROWS"):
        sizes = tuple(int(each) for each in text.split(","))
    rows: list[dict[str, Any]] = []
    costs: list[float] = []
    (ROOT / "build").mkdir(exist_ok=True)
    for size in sizes:
        found = _alone(__file__, size)
        last = size == max(sizes)
        name = "handover_rows_per_s" if last else f"handover_rows_per_s_{size}"
        bare = found["bare_rows_per_s"]
        costs.append(found["cpu_s"] / found["rows"])
        rows += [
            {"name": name, "value": round(found["rows_per_s"]), "unit": f"rows/s at {size}", "goal": GOAL_ROWS,
             "baseline": f"bare {bare:.0f}/s, {found['rows_per_s'] / bare:.2f} of it"},
            {"name": "handover_peak_mib" if last else f"handover_peak_mib_{size}", "value": round(found["peak_mib"]),
             "unit": f"MiB at {size}", "goal": GOAL_MIB, "baseline": f"packing apart: {found['worker_mib']:.0f}"},
        ]  # fmt: skip
    if len(sizes) > 1:
        growth = {"value": round(costs[-1] / costs[0], 2), "unit": f"processor time of a row, {sizes[-1]}/{sizes[0]}"}
        rows.append({"name": "handover_cost_growth", **growth, "goal": 1.0, "baseline": None})
    stages = _alone(str(Path(__file__).with_name("stages.py")), _STAGED_ROWS)
    return rows + [
        {"name": f"handover_{stage}_us", "value": round(us, 1), "unit": "us a row, one thread", "goal": None,
         "baseline": None}
        for stage, us in stages.items()
    ]  # fmt: skip


_STAGED_ROWS = 20_000


def _alone(program: str, size: int) -> Any:
    """What a program finds on a register of this size, in a process of its own."""
    with scratch() as folder:
        write_register(folder / "register.csv", size)
        done = subprocess.run(
            [sys.executable, program, str(folder / "register.csv"), str(folder)], check=True, capture_output=True
        )
        return orjson.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    memory.settle()  # as the command line does
    sys.stdout.write(orjson.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]))).decode())
