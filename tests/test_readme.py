"""What README tells people to type works, in its order, on a fresh folder."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from harness import ROOT, run_cli

README = (ROOT / "README.md").read_text()
SHELL = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
BIN = Path(sys.executable).parent


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder as a newcomer has it, with the stand-ins running."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    with subprocess.Popen(
        [str(BIN / "qaqpa"), "sandbox"], cwd=tmp_path, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C ends this" not in said:
            assert select.select([process.stdout], [], [], 30)[0], f"no word from the sandbox after: {said}"
            said += os.read(process.stdout.fileno(), 65536).decode()
            assert process.poll() is None
        try:
            yield tmp_path
        finally:
            process.terminate()


@pytest.fixture
def port(folder: Path) -> int:
    """Where the service listens in place of 8480, which may be taken on a machine of developers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found: int = taken.getsockname()[1]
    with (folder / "config" / "gateway.toml").open("a") as file:
        file.write(f'\n[service]\nlisten = "127.0.0.1:{found}"\n')
    return found


def bash(script: str, folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run it as somebody types it; what it leaves running ends with it."""
    begin = "set -eu\ntrap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT\n"
    script = begin + script.replace(". .venv/bin/activate\n", "").replace(":8480", f":{port}")
    return subprocess.run(["bash", "-c", script], cwd=folder, env=environment(), capture_output=True, text=True)


def environment() -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("QAQPA_")}
    return clean | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}


@pytest.mark.timeout(400)
def test_the_tours_work_as_written(folder: Path, port: int) -> None:
    assert len(SHELL) == 9
    done = bash("".join(SHELL), folder, port)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in (
        "permit",
        "receipt",
        "verified",
        "suspended",
        "resumed",
        "No problems",
        "existing_contracts",
        "acknowledged",
        "Who received your data",
        "erase a person",
        "erased subject",
    ):
        assert word in done.stdout, word
    assert '"sent":["identity.iin"]' in done.stdout  # what curl was answered


def test_the_python_of_the_readme_works(folder: Path, port: int) -> None:
    over_http, inside = PYTHON
    ask = (
        "import asyncio, json\nfrom pathlib import Path\n"
        "document = json.loads(Path('var/sandbox/examples/request.json').read_text())\n"
        "print(json.dumps([asyncio.run(ask(document)), asyncio.run(ask_the_service(document))]))\n"
    )
    (folder / "ask.py").write_text(over_http.replace(":8480", f":{port}") + inside + ask)
    (service,) = (block for block in SHELL if "qaqpa serve" in block)
    script = ". var/sandbox/env\nqaqpa keys init >&2\n"
    script += "qaqpa consent record var/sandbox/examples/consent.json --caller loan-scoring >&2\n{\n"
    done = bash(script + service + "} >&2\npython ask.py", folder, port)
    assert done.returncode == 0, done.stderr
    for report in orjson.loads(done.stdout):
        assert report.keys() >= {"existing_contracts", "outstanding"}


@pytest.mark.parametrize(
    "command", ["", "demo", "check", "doctor", "disclose", "decide", "migrate", "sandbox", "consent", "consent record",
                "consent show", "consent withdraw", "ledger", "ledger show", "ledger verify", "ledger prove",
                "ledger export", "ledger checkpoint", "ledger open", "ledger settle", "ledger evidence",
                "ledger archive",
                "ledger accept-clock", "ledger witness", "approval", "approval list", "approval show",
                "approval agree", "approval refuse", "approval carry-out", "subject", "subject erase", "subject report",
                "backup", "restore", "recipient",
                "recipient list", "recipient suspend", "recipient resume", "keys", "keys init", "keys show",
                "keys rotate", "handover", "handover check", "handover send", "handover wait", "handover list",
                "handover show", "handover rows", "handover manifest", "handover verify", "handover key",
                "handover cancel", "handover receipt", "handover states", "recall", "recall start",
                "recall confirm", "recall list", "recall show", "recall cancel", "recall acknowledge",
                "policy", "policy diff", "policy show", "policy transfers",
                "serve", "token", "token make", "token list", "token revoke"],
)  # fmt: skip
def test_every_command_helps(command: str) -> None:
    done = run_cli(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Usage: qaqpa")


@pytest.mark.parametrize("start", [[str(BIN / "qaqpa")], [sys.executable, "-m", "qaqpa"]], ids=["script", "module"])
def test_it_helps_as_a_process_of_its_own(start: list[str]) -> None:
    done = subprocess.run([*start, "ledger", "show", "--help"], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: qaqpa ledger show")
