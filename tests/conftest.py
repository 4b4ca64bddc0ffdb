"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness import House, built


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """An installation with its third parties, also under the environment that commands read."""
    async with built(tmp_path) as made:
        for key, value in made.environ.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("QAQPA_HOME", str(made.home))
        monkeypatch.setenv("QAQPA_CONFIG", str(made.config))
        monkeypatch.setenv("COLUMNS", "200")
        yield made
