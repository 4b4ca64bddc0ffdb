"""Servers that packages are sent to by SFTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qaqpa.testing.sftp_recipient import SftpRecipient
from sshd import SSHD, WITHOUT_IT, OpenSsh, openssh


@pytest.fixture
async def standin(tmp_path: Path) -> AsyncIterator[SftpRecipient]:
    """Ours, with its faults."""
    async with SftpRecipient(directory=tmp_path / "recipient", log=tmp_path / "calls.jsonl") as running:
        yield running


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    """OpenSSH's own."""
    if SSHD is None:
        pytest.skip(WITHOUT_IT)
    async with openssh(tmp_path / "sshd") as running:
        yield running


@pytest.fixture(params=["standin", "real"])
def server(request: pytest.FixtureRequest) -> Any:
    """Each of both."""
    return request.getfixturevalue(request.param)
