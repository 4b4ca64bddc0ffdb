"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness import House, built
from servers import Server, in_memory

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
    """The tours of the README take longest: begun last, every other worker would wait for them."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
