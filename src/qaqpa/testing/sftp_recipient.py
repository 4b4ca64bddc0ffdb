"""A stand-in of a recipient that takes packages by SFTP: asyncssh's server over a real socket, faults on demand."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import asyncssh

from qaqpa.model.words import SealKind
from qaqpa.testing.opening import make_pair
from qaqpa.testing.packages import PackageFault, PackageRecipient
from qaqpa.testing.sandbox import NETWORKS

USER = "qaqpa"


STANDS = {"demo-collector": "QAQPA_COLLECTOR", "demo-cession-buyer": "QAQPA_BUYER"}
"""Recipients of the shipped configuration that take packages by SFTP, with how names of their variables begin."""


class SftpRecipient(PackageRecipient):
    """Listens on 127.0.0.1; its folders are `/inbox` and `/outbox`. `client_key` is what it lets in."""

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        log: Path | None = None,
        delay: float = 0.5,
        variables: str = STANDS["demo-collector"],
        **more: object,
    ) -> None:
        """As `PackageRecipient`; keys are made. `variables` is how names in `environment` begin."""
        super().__init__(port=port, directory=directory, log=log, delay=delay, **more)  # type: ignore[arg-type]
        self._variables = variables
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._other_key = asyncssh.generate_private_key("ssh-ed25519")
        self._client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.pair = make_pair(SealKind.AGE)
        """What packages are sealed to."""

    @property
    def user(self) -> str:
        """Who may log in."""
        return USER

    @property
    def host_key(self) -> str:
        """The host's public key, as in known_hosts without a name."""
        return self._host_key.export_public_key().decode().strip()

    @property
    def client_key(self) -> str:
        """The private key that may log in, PEM."""
        return self._client_key.export_private_key().decode()

    @property
    def url(self) -> str:
        """`sftp://localhost:PORT`."""
        return f"sftp://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What `[packages.channel]` of a gateway's configuration refers to."""
        found = {
            "SFTP_HOST": "localhost",
            "SFTP_PORT": str(self.port),
            "SFTP_USER": USER,
            "SFTP_KEY": str(self.folder / "client_key"),
            "SFTP_HOST_KEY": self.host_key,
            "SFTP_NETWORKS": NETWORKS,
            "RECEIPT_KEY": str(self.receipt_key_file),
            "AGE_KEY": str(self.folder / "age.pub"),
        }
        return {f"{self._variables}_{name}": value for name, value in found.items()}

    async def _listen(self, folder: Path, stack: AsyncExitStack) -> int:
        key = folder / "client_key"
        key.touch(mode=0o600)
        key.write_text(self.client_key)
        (folder / "age.pub").write_bytes(self.pair.public)
        open_connections: set[asyncssh.SSHServerConnection] = set()
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            self._port,
            config=None,
            server_factory=lambda: _Door(self, open_connections),
            server_host_keys=[self._other_key if self.fault is PackageFault.CHANGED_HOST_KEY else self._host_key],
            sftp_factory=lambda chan: _Files(chan, self, folder),
            allow_scp=False,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            keepalive_interval=0,
        )

        async def close() -> None:
            acceptor.close()
            for connection in list(open_connections):
                connection.abort()
            await acceptor.wait_closed()

        stack.push_async_callback(close)
        return int(acceptor.get_port())

    def is_let_in(self, key: asyncssh.SSHKey) -> bool:
        """Whether this key may log in."""
        ours = self._client_key.convert_to_public()
        return self.fault is not PackageFault.REFUSE_LOGIN and key.public_data == ours.public_data


class _Door(asyncssh.SSHServer):
    """Who is let in: one key."""

    def __init__(self, recipient: SftpRecipient, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._recipient = recipient
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._recipient.connections += 1
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        good = username == USER and self._recipient.is_let_in(key)
        self._recipient.note("login" if good else "login: refused", "")
        return good


class _Files(asyncssh.SFTPServer):
    """Its files, as one session sees them."""

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes], recipient: SftpRecipient, folder: Path) -> None:
        super().__init__(chan, chroot=os.fsencode(folder))
        self._recipient = recipient
        self._fault = recipient._take_fault()
        self._written = 0

    def _cut(self) -> None:
        self.connection.abort()

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        recipient = self._recipient
        match self._fault:
            case PackageFault.DISK_FULL if offset + len(data) > recipient.after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            case PackageFault.DROP if self._written + len(data) > recipient.after:
                self._cut()
                raise ConnectionAbortedError
            case PackageFault.SLOW:
                await asyncio.sleep(recipient.delay)
            case PackageFault.HANGS:
                await self.connection.wait_closed()
                raise ConnectionAbortedError
            case PackageFault.CORRUPTS if offset == 0:
                data = bytes([data[0] ^ 1]) + data[1:]
        self._written += len(data)
        recipient.stored += len(data)
        return cast(int, super().write(file_obj, offset, data))

    async def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        attrs = await self.convert_attrs(super().fstat(file_obj))
        if self._fault is PackageFault.LIES_ABOUT_SIZE and attrs.size:
            attrs.size -= 1
        return attrs

    def remove(self, path: bytes) -> None:
        super().remove(path)
        self._recipient.note("remove", Path(os.fsdecode(path)).name)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._before_rename()
        super().rename(oldpath, newpath)
        self._after_rename(newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._before_rename()
        super().posix_rename(oldpath, newpath)
        self._after_rename(newpath)

    def _before_rename(self) -> None:
        if self._fault is PackageFault.RENAME_FAILS:
            raise asyncssh.SFTPPermissionDenied("no")
        if self._fault is PackageFault.DROP_BEFORE_RENAME:
            self._cut()
            raise ConnectionAbortedError

    def _after_rename(self, newpath: bytes) -> None:
        self._recipient.placed(Path(os.fsdecode(newpath)).name)
        if self._fault is PackageFault.DROP_AFTER_RENAME:
            self._cut()
