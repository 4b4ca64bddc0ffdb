"""Packages and channels for tests: files of random bytes, which is what a sealed package looks like."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import random
from pathlib import Path
from typing import Any

from qaqpa.config.base import HttpsChannel
from qaqpa.config.packages import SftpChannel
from qaqpa.model.handover import PackageIntent, SealedPackage
from qaqpa.model.identifiers import HandoverId, RecipientId, uuid7
from qaqpa.model.words import SealKind
from qaqpa.testing.sftp_recipient import SftpRecipient
from qaqpa.testing.upload_recipient import UploadRecipient
from qaqpa.transport.https import Addresses, Https
from qaqpa.transport.sftp import Sftp
from qaqpa.transport.ssh import ssh_access
from qaqpa.transport.uploads import Uploads

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def package(folder: Path, size: int = 100_000, *, handover: str | None = None) -> SealedPackage:
    """A sealed package of so many bytes, as its intent says."""
    handover = handover or uuid7()
    content = random.Random(handover).randbytes(size)
    path = folder / f"{handover}.age"
    path.write_bytes(content)
    return again(path, handover, content)


def again(path: Path, handover: str, content: bytes) -> SealedPackage:
    """The package in a file that is there, as another process finds it."""
    intent = PackageIntent(
        HandoverId(handover),
        7,
        RecipientId("demo-collector"),
        SealKind.JWE,
        hashlib.sha256(content).hexdigest(),
        len(content),
    )
    return SealedPackage(intent, path, f"{handover}.csv.age")


def sftp(
    server: Any, *, networks: Any = LOOPBACK, rate: float | None = None, folder: str | None = None, **config: Any
) -> Sftp:
    """A channel to a server that has `port`, `user`, `inbox`, `host_key` and `client_key`."""
    values = {
        "kind": "sftp", "host": "localhost", "port": str(server.port), "user": server.user, "key": "env:KEY",
        "host_key": server.host_key, "folder": folder or str(server.inbox),
        "connect_timeout_s": 5.0, "answer_timeout_s": 5.0,
    }  # fmt: skip
    channel = SftpChannel.model_validate(values | config)
    key = server.client_key

    def resolve(value: str, what: str) -> str:
        return key if value == "env:KEY" else value.removeprefix("env:")

    return Sftp(channel, ssh_access(channel, networks, resolve, Path("/")), bytes_per_second=rate)


async def nothing() -> None:
    """Ready."""


def uploads(server: UploadRecipient, *, networks: Any = LOOPBACK, rate: float | None = None, **config: Any) -> Uploads:
    """A channel to the stand-in that takes packages by HTTPS."""
    urls = {"packages": f"{server.url}/packages", "receipts": f"{server.url}/receipts"}
    values = {"kind": "https", "endpoints": urls, "ca": str(server.ca_file), "answer_timeout_s": 5.0}
    channel = HttpsChannel.model_validate(values | config)
    wire = Https(channel, Addresses(urls, networks, str(server.ca_file), None))
    return Uploads(wire, has_receipts=True, bytes_per_second=rate)


class Moves(list[int]):
    """Collects what `moved` is told, and lets a test wait for a number of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.came = asyncio.Event()
        self.wanted = 1

    def __call__(self, total: int) -> None:
        self.append(total)
        if total >= self.wanted:
            self.came.set()


def to(server: Any, **config: Any) -> Sftp:
    """A channel; the stand-in's folder is `/inbox`, whatever its place on this disk."""
    folder = "/inbox" if isinstance(server, SftpRecipient) else None
    return sftp(server, **({"folder": folder} | config))


def stands(recipient: Any) -> dict[str, bytes]:
    """Everything in the recipient's folder, hidden or not."""
    return {path.name: path.read_bytes() for path in recipient.inbox.iterdir()}


def exactly(sent: SealedPackage) -> dict[str, bytes]:
    """What stands there when it has the package and nothing else."""
    return {sent.name: sent.path.read_bytes()}
