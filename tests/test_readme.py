"""What README tells people to type works, in its order, on a fresh folder."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from harness import ROOT

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


def environment() -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("QAQPA_")}
    return clean | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}


def test_the_tours_work_as_written(folder: Path) -> None:
    assert len(SHELL) == 6
    script = "set -eu\n" + "".join(SHELL).replace(". .venv/bin/activate\n", "")
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("permit", "receipt", "verified", "suspended", "resumed", "No problems", "existing_contracts"):
        assert word in done.stdout, word


def test_the_python_of_the_readme_works(folder: Path) -> None:
    (code,) = PYTHON
    ask = (
        "import asyncio, json\nfrom pathlib import Path\n"
        "document = json.loads(Path('var/sandbox/examples/request.json').read_text())\n"
        "print(json.dumps(asyncio.run(ask(document))))\n"
    )
    (folder / "ask.py").write_text(code + ask)
    script = ". var/sandbox/env\nqaqpa keys init >&2\n"
    script += "qaqpa consent record var/sandbox/examples/consent.json --caller loan-scoring >&2\npython ask.py"
    done = subprocess.run(["bash", "-ec", script], cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout).keys() >= {"existing_contracts", "outstanding"}


@pytest.mark.parametrize(
    "command", ["", "demo", "check", "disclose", "decide", "migrate", "sandbox", "consent", "consent record",
                "consent show", "consent withdraw", "ledger", "ledger show", "ledger verify", "ledger prove",
                "ledger export", "ledger checkpoint", "ledger open", "ledger settle", "ledger evidence",
                "ledger archive",
                "ledger accept-clock", "ledger witness", "subject", "subject erase", "backup", "restore", "recipient",
                "recipient list", "recipient suspend", "recipient resume", "keys", "keys init", "keys show",
                "keys rotate", "policy", "policy diff"],
)  # fmt: skip
def test_every_command_helps(command: str) -> None:
    done = subprocess.run(
        [str(BIN / "qaqpa"), *command.split(), "--help"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: qaqpa")
