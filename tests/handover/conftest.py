"""Fixtures of handovers that are driven turn by turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness import House
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import agency
from turning import bare


@pytest.fixture
def home(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> House:
    """An installation without third parties; a chunk is three rows."""
    monkeypatch.setattr("qaqpa.handover.deciding.CHUNK", 3)
    house = bare(tmp_path, store_url)
    for name, value in house.environ.items():
        monkeypatch.setenv(name, value)
    return house


@pytest.fixture
async def collector(home: House, tmp_path: Path) -> AsyncIterator[SftpRecipient]:
    async with agency(home, tmp_path / "agency") as recipient:
        yield recipient
