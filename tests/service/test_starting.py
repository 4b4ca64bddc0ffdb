"""`qaqpa serve` begins and ends: beside stand-ins as `make serve` runs it, and not at all where a port is taken."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from desk import free_port, served
from harness import ROOT, House

pytestmark = pytest.mark.timeout(180)


def of_group(group: int) -> list[int]:
    """Processes of a process group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
async def test_the_trial_serves_what_it_prints_and_leaves_nothing_behind(tmp_path: Path, how: str) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QAQPA_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "qaqpa", "serve", "--sandbox", "--listen", f"127.0.0.1:{port}",
        cwd=tmp_path, env=environment | {"TMPDIR": str(temporary), "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(60):
            while "serving" not in said:
                line = await process.stdout.readline()
                assert line, (await process.communicate())[1].decode()
                said += line.decode()
            tokens = dict(re.findall(r"^  ([a-z-]+) +(qaqpa_\w+_[\w-]+)$", said, re.MULTILINE))
            assert tokens.keys() == {"loan-scoring", "collections", "compliance"}
            # Each line to try is done as it stands, with the address, headers and file that it names.
            lines = re.findall(r"^  curl -s (http://\S+)(.*) -d @(\S+)$", said, re.MULTILINE)
            assert [url.rpartition("/")[2] for url, _, _ in lines] == ["consents", "disclosures"]
            async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
                while True:
                    try:
                        ready = await client.get(f"http://127.0.0.1:{port}/readyz")
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
                        continue
                    assert ready.status_code == 200, ready.text
                    break
                for url, rest, file in lines:
                    headers = dict(re.findall(r'-H "([\w-]+): ([^"]+)"', rest))
                    headers["Authorization"] = headers["Authorization"].replace("$TOKEN", tokens["loan-scoring"])
                    answer = await client.post(url, headers=headers, content=(tmp_path / file).read_bytes())
                    assert answer.status_code in {200, 201}, answer.text
                [(url, rest, file)] = re.findall(r"^  curl -si '(\S+)'(.*) --data-binary @(\S+)$", said, re.MULTILINE)
                headers = dict(re.findall(r'-H "([\w-]+): ([^"]+)"', rest))
                headers["Authorization"] = f"Bearer {tokens['collections']}"
                taken = await client.post(url, headers=headers, content=(tmp_path / file).read_bytes())
                assert taken.status_code == 202, taken.text
            assert answer.json()["report"], "the stand-in answered"
            calls = (tmp_path / "var/sandbox/first-credit-bureau/calls.jsonl").read_text().splitlines()
            assert len(calls) == 1 and json.loads(calls[0])
            assert len(of_group(process.pid)) >= 3, "itself, a worker and the stand-ins"
            if how == "Ctrl-C":  # a terminal tells the whole group
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal(signal.SIGTERM)
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # its own group: itself and what it started
            await process.wait()
    assert process.returncode == 0, errors.decode()
    assert "defect" not in errors.decode() and "Traceback" not in errors.decode()
    async with asyncio.timeout(5):
        while of_group(process.pid):  # noqa: ASYNC110 - other processes have no event for us
            await asyncio.sleep(0.05)
    assert is_free(port)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("sandbox", [False, True])
async def test_where_a_port_is_taken_it_says_so_and_starts_nothing(house: House, sandbox: bool) -> None:
    # A socket that shares its port, as the server's own does: a second one would get half of the requests.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        more = ("--sandbox",) if sandbox else ()
        ran = await house.cli("serve", "--listen", where, *more)
    assert (ran.code, ran.out) == (2, ""), ran
    assert f"{where} cannot be listened on: something listens there already" in ran.err
    assert not (house.home / "sandbox").exists()


@pytest.mark.parametrize(
    ("where", "sentence"),
    [("192.0.2.1:8480", "no such address"), ("example.org:80", "HOST:PORT"), ("127.0.0.1:0", "HOST:PORT"),
     ("127.0.0.1:99999", "HOST:PORT"), ("8480", "HOST:PORT"), ("127.0.0.1:٣", "HOST:PORT")],
)  # fmt: skip
async def test_an_address_that_cannot_be_is_said(house: House, where: str, sentence: str) -> None:
    ran = await house.cli("serve", "--listen", where)
    assert ran.code == 2 and sentence in ran.err, ran


async def test_the_environment_says_from_which_level_on_it_logs(
    house: House, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QAQPA_LOG", "chatty")
    ran = await house.cli("serve")
    assert ran.code == 2 and "QAQPA_LOG" in ran.err and "debug, info, warning, error" in ran.err
    monkeypatch.setenv("QAQPA_LOG", "warning")
    async with served(house, tokens) as server:
        assert (await server.ask("GET", "/v1/ledger/checkpoint", "collections")).status_code == 403
        assert await server.stop() == 0
    assert [(line["event"], line["caller"]) for line in server.lines] == [("caller may not", "collections")]
