"""Fixtures that every test may use."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness import House, built
from servers import Server


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
def store_url(engine: str, request: pytest.FixtureRequest) -> str:
    """An empty database of its own; a relative SQLite file, or one of the server's."""
    if engine == "sqlite":
        return "sqlite:///qaqpa.db"
    server: Server = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server; stopped at the end. Its folder is none of pytest's, which removes those of earlier runs."""
    folder = Path(tempfile.mkdtemp(prefix="qaqpa-pg-"))
    server = Server(folder)
    yield server
    server.server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
