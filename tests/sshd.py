"""The real OpenSSH server, unprivileged on a free port, with its own keys and configuration in a temporary folder."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
WITHOUT_IT = "needs openssh-server"

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
LogLevel ERROR
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp {options}
"""


@dataclass(frozen=True)
class OpenSsh:
    """It runs; packages come into `inbox`."""

    port: int
    user: str
    inbox: Path
    host_key: str
    client_key: str
    """PEM."""


@asynccontextmanager
async def openssh(folder: Path, *, inbox: Path | None = None, options: str = "") -> AsyncIterator[OpenSsh]:
    """Serve while the context lasts."""
    made = _prepared(folder, inbox or folder / "inbox", options)
    command = [str(SSHD), "-D", "-e", "-f", str(folder / "config")]
    server = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    try:
        await _answers(made.port)
        yield made
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


def _prepared(folder: Path, inbox: Path, options: str) -> OpenSsh:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # its privilege separation wants it
    host, client = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    folder.mkdir(parents=True, exist_ok=True)
    inbox.mkdir(exist_ok=True)
    host.write_private_key(folder / "host_key")
    (folder / "host_key").chmod(0o600)
    client.write_public_key(folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(_CONFIG.format(port=port, folder=folder, options=options))
    return OpenSsh(
        port, getpass.getuser(), inbox, host.export_public_key().decode().strip(), client.export_private_key().decode()
    )


async def _answers(port: int) -> None:
    for _ in range(500):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        assert (await reader.readline()).startswith(b"SSH-2.0-OpenSSH")
        writer.close()
        await writer.wait_closed()
        return
    raise AssertionError("sshd does not listen")
