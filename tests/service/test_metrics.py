"""Metrics of several worker processes: what one that ended said of itself goes, what it counted stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from desk import PERSON, served
from harness import House, request_document

pytestmark = pytest.mark.timeout(180)
WORKER = """
import sys
from qaqpa import metrics
metrics.BREAKER.labels(sys.argv[1]).set(1)
metrics.OPEN_INTENTS.labels("open").set(3)
metrics.REFUSED.labels("wrong").inc()
print("ready", flush=True)
sys.stdin.read()
"""
SCRAPE = "import sys; from qaqpa import metrics; sys.stdout.buffer.write(metrics.exposition())"


def scraped(folder: Path) -> str:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", SCRAPE], env=environment, capture_output=True, check=True, text=True
    ).stdout


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_gauges_of_a_process_that_ended_go_and_its_counts_stay(tmp_path: Path, end: str) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, name], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in ("one", "two")
    ]
    try:
        assert all(worker.stdout is not None and worker.stdout.readline() == b"ready\n" for worker in workers)
        both = scraped(tmp_path)
        assert 'qaqpa_breaker_open{recipient="one"} 1.0' in both and 'recipient="two"} 1.0' in both
        assert 'qaqpa_refused_callers_total{why="wrong"} 2.0' in both
        if end == "killed":
            workers[0].kill()
            os.waitid(os.P_PID, workers[0].pid, os.WEXITED | os.WNOWAIT)  # dead, and not even reaped
            left = scraped(tmp_path)
            assert 'recipient="one"' not in left
        workers[0].communicate()
        for _ in range(2):
            left = scraped(tmp_path)
            assert 'recipient="one"' not in left, "a breaker of a process that is no more is not open"
            assert 'recipient="two"} 1.0' in left
            assert 'qaqpa_refused_callers_total{why="wrong"} 2.0' in left
    finally:
        for worker in workers:
            worker.communicate()
    assert "recipient=" not in scraped(tmp_path)


def gauges(folder: Path) -> set[int]:
    """Processes of which live gauges are kept."""
    return {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*.db")}


def test_gauges_of_a_process_that_was_killed_before_it_did_anything_go_too(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    code = "import sys; from qaqpa import metrics; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starting:
        assert starting.stdout is not None and starting.stdout.readline() == b"ready\n"
        scraped(tmp_path)
        assert starting.pid in gauges(tmp_path), "it lives"
        starting.kill()
    scraped(tmp_path)
    assert starting.pid not in gauges(tmp_path)


async def test_a_killed_worker_is_replaced_and_its_gauges_go(house: House, tokens: dict[str, str]) -> None:
    async with served(house, tokens, "--workers", "2") as server:
        await server.consent()
        assert (await server.disclose(request_document(PERSON))).status_code == 200
        first = server.spawned
        assert len(first) == 2
        folder = server.metrics_folder
        async with asyncio.timeout(20):
            while gauges(folder) != set(first):
                await server.client.get("/metrics")
                await asyncio.sleep(0.02)
        os.kill(first[0], signal.SIGKILL)
        async with asyncio.timeout(30):
            while first[0] in server.spawned or len(server.spawned) < 2:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
            text = ""
            while gauges(folder) != set(server.spawned) or not text:
                with suppress(httpx.TransportError):  # of the one that was killed
                    text = (await server.client.get("/metrics")).text
                await asyncio.sleep(0.02)
        line = 'caller="loan-scoring",operation="credit_report",outcome="delivered",purpose="application_review"'
        assert f'{line},recipient="first-credit-bureau"}} 1.0' in text, "what it may have counted stays"
        assert 'qaqpa_open_intents{state="open"} 0.0' in text
        assert (await server.disclose(request_document(PERSON))).status_code == 200
        worse = [(line["event"], line["level"]) for line in server.lines if line["level"] != "info"]
        assert worse in ([(f"Unexpected exit from worker-{number}", "error")] for number in (1, 2))
