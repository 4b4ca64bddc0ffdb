"""Fixtures that every test may use."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chromium import MISSING
from harness import House, built
from qaqpa.seal import rsa_signer
from qaqpa.service import tokens as api_tokens
from servers import Server, in_memory

# Gateways are opened by the thousand, and what takes longest of it gives the same again: the stand-ins' keys and their
# configuration are those of the process, and a token's slow hash is made of the same secret.
rsa_signer._private_key = functools.cache(rsa_signer._private_key)
api_tokens._slow_hash = functools.cache(api_tokens._slow_hash)
load = sys.modules["qaqpa.config.load"]  # a function goes by the name of its module
_read = load._document


@functools.cache
def _kept(text: str) -> bytes:
    return pickle.dumps(_read(text))


load._document = lambda text: pickle.loads(_kept(text))

if (_memory := in_memory()) is not None:
    # Every ledger of the tests waits for its commits; in memory that takes no time, and is asked for all the same.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_memory))


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_url: str) -> AsyncIterator[House]:
    """An installation with its third parties, also under the environment that commands read."""
    async with built(tmp_path, store_url) as made:
        for key, value in made.environ.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("QAQPA_HOME", str(made.home))
        monkeypatch.setenv("QAQPA_CONFIG", str(made.config))
        monkeypatch.setenv("COLUMNS", "200")
        yield made


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """Which database: SQLite, unless the test asks for both (`both_engines`)."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def store_url(engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own; a relative SQLite file, or one of the server's, which goes after the test."""
    if engine == "sqlite":
        yield "sqlite:///qaqpa.db"
        return
    server: Server = request.getfixturevalue("postgres")
    url = server.database()
    yield url
    server.drop(url)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server; stopped at the end. Its folder is none of pytest's, which removes those of earlier runs."""
    folder = Path(tempfile.mkdtemp(prefix="qaqpa-pg-", dir=in_memory()))
    server = Server(folder)
    yield server
    server.end()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first: begun last, every other worker would wait for it."""
    longest = ("test_readme.py", "torture", "browser", "test_openapi.py")
    order = {name: number for number, name in enumerate(longest)}
    items.sort(key=lambda item: min(order.get(each, len(longest)) for each in (item.path.name, item.path.parent.name)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What this machine cannot test, in a line each."""
    for text in MISSING:
        terminalreporter.write_line(f"Not tested here: {text}.")
