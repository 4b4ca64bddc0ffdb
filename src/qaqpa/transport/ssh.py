"""SSH to one recipient: its addresses checked, its host key pinned, our key alone logs in, nothing taken from here.

No known_hosts, no agent, no configuration of OpenSSH, no password, no compression (what is sent is ciphertext), only
algorithms that are not known to be weak.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from qaqpa.config.packages import SftpChannel
from qaqpa.errors import (
    AddressRefused,
    ConnectFailed,
    HostKeyChanged,
    LoginRefused,
    NotConfigured,
    PackageRefused,
    PeerRefused,
)
from qaqpa.transport.peer import HOST_NAME, AddressForbidden, CheckedResolver, Network, is_address

# Its INFO tells every host and path; its warnings are raised here as errors anyway.
logging.getLogger("asyncssh").setLevel(logging.ERROR)

# GCM first: asyncssh is fastest with it. No chacha20-poly1305 and no CBC: with a peer that lacks strict key exchange
# they fall to the prefix truncation of CVE-2023-48795.
_CIPHERS = "aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr"
_MACS = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"
_KEY_EXCHANGES = (
    "mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
    "ecdh-sha2-nistp521,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256"
)
_SIGNATURES = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),  # RFC 8332; never SHA-1
}
"""What a key of each kind may sign with."""
_SMALLEST_RSA = 2048
_KEEPALIVE_S = 15
_GOODBYE_S = 2.0
_PORT = re.compile(r"[1-9][0-9]{0,4}")

Resolve = Callable[[str, str], str]
"""The value of a reference, and what it is needed for; as `qaqpa.config.references.resolve`."""


@dataclass(frozen=True, slots=True)
class SshAccess:
    """A channel's configuration with every reference read."""

    host: str
    port: int
    user: str
    key: asyncssh.SSHKey = field(repr=False)
    host_keys: tuple[asyncssh.SSHKey, ...]
    networks: tuple[Network, ...]


def _text(value: str, what: str, home: Path, begins: tuple[str, ...]) -> str:
    """The key itself where it is one, else what is in the file that it names."""
    if value.lstrip().startswith(begins):
        return value
    try:
        return (home / value).read_text()
    except (OSError, UnicodeDecodeError, ValueError):
        raise NotConfigured(f"{what}: neither a key nor a readable file of one") from None


def _strong(key: asyncssh.SSHKey, what: str) -> asyncssh.SSHKey:
    if key.get_algorithm() not in _SIGNATURES:
        raise NotConfigured(f"{what}: a key of kind {key.get_algorithm()}; use Ed25519, ECDSA or RSA")
    if key.get_algorithm() == "ssh-rsa" and getattr(key.pyca_key, "key_size", 0) < _SMALLEST_RSA:
        raise NotConfigured(f"{what}: an RSA key of less than {_SMALLEST_RSA} bits")
    return key


def _host_keys(text: str) -> tuple[asyncssh.SSHKey, ...]:
    what = "packages.channel.host_key"
    lines = [line.strip() for line in text.splitlines()]
    try:
        found = tuple(asyncssh.import_public_key(line) for line in lines if line and not line.startswith("#"))
    except (asyncssh.KeyImportError, ValueError):
        found = ()
    if not found:
        raise NotConfigured(f"{what}: write the host's public key as `ssh-ed25519 AAAA...`, without a host name")
    return tuple(_strong(key, what) for key in found)


def ssh_access(channel: SftpChannel, networks: tuple[Network, ...], resolve: Resolve, home: Path) -> SshAccess:
    """Read keys and address. Raises NotConfigured, which names what to mend and repeats no value."""
    host, port = resolve(channel.host, "packages.channel.host").lower(), resolve(channel.port, "packages.channel.port")
    if HOST_NAME.fullmatch(host) is None and not is_address(host):
        raise NotConfigured("packages.channel.host must be a plain host name or an address")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise NotConfigured("packages.channel.port must be a number up to 65535")
    what = "packages.channel.key"
    password = None
    if channel.key_password is not None:
        password = resolve(channel.key_password, "packages.channel.key_password")
    try:
        key = asyncssh.import_private_key(_text(resolve(channel.key, what), what, home, ("-----BEGIN",)), password)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        if password is not None or "assphrase" in str(error):
            raise NotConfigured(f"{what}: packages.channel.key_password does not open it") from None
        raise NotConfigured(f"{what}: not a private key in OpenSSH's format or PEM") from None
    named = resolve(channel.host_key, "packages.channel.host_key")
    pinned = _host_keys(_text(named, "packages.channel.host_key", home, ("ssh-", "ecdsa-")))
    user = resolve(channel.user, "packages.channel.user")
    return SshAccess(host, int(port), user, _strong(key, what), pinned, networks)


def _options(access: SshAccess, within_s: float) -> asyncssh.SSHClientConnectionOptions:
    # Of the pinned kinds if the server has one; else of any, so that a host that now has another kind of key is told
    # from one that hung up.
    pinned = [each for key in access.host_keys for each in _SIGNATURES[key.get_algorithm()]]
    known = [each for group in _SIGNATURES.values() for each in group]
    try:
        return asyncssh.SSHClientConnectionOptions(
            config=None,
            username=access.user,
            known_hosts=(list(access.host_keys), [], []),
            server_host_key_algs=list(dict.fromkeys(pinned + known)),
            x509_trusted_certs=None,
            client_keys=[access.key],
            client_certs=[],
            agent_path=None,
            agent_identities=None,
            agent_forwarding=False,
            pkcs11_provider=None,
            preferred_auth="publickey",
            disable_trivial_auth=True,  # a server that takes anybody proves nothing about who we are to it
            host_based_auth=False,
            kbdint_auth=False,
            password_auth=False,
            password=None,
            gss_host=None,
            proxy_command=None,
            canonicalize_hostname=False,
            kex_algs=_KEY_EXCHANGES,
            encryption_algs=_CIPHERS,
            mac_algs=_MACS,
            compression_algs=["none"],
            signature_algs=known,
            login_timeout=within_s,
            connect_timeout=within_s,
            keepalive_interval=_KEEPALIVE_S,
            client_version="qaqpa",
        )
    except ValueError as error:
        if "username" in str(error):  # asyncssh asks who we are on this machine, though nobody is told
            raise NotConfigured("this process's user has no name here: set LOGNAME for SFTP") from None
        raise


async def _connected(access: SshAccess) -> socket.socket:
    """A TCP connection to one of the host's addresses, every one of which is checked. Raises OSError."""
    loop = asyncio.get_running_loop()
    refused: OSError = OSError("the name has no address")
    for each in await CheckedResolver(access.networks).resolve(access.host, access.port):
        opened = socket.socket(each["family"], socket.SOCK_STREAM)
        opened.setblocking(False)
        try:
            await loop.sock_connect(opened, (each["host"], access.port))
        except OSError as error:
            opened.close()
            refused = error
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    raise refused


async def _logged_in(access: SshAccess, within_s: float) -> asyncssh.SSHClientConnection:
    opened = await _connected(access)
    try:
        # The host is named here for messages only: no name is looked up again, and no configuration read.
        return await asyncssh.connect(
            access.host, access.port, sock=opened, config=None, tunnel=None, options=_options(access, within_s)
        )
    except BaseException:
        opened.close()
        raise


@asynccontextmanager
async def sftp_session(access: SshAccess, within_s: float) -> AsyncIterator[asyncssh.SFTPClient]:
    """A session of SFTP version 3, open within so many seconds. Paths in it are bytes.

    Raises a kind of NotSent; what goes wrong later comes as asyncssh raises it.
    """
    connection: asyncssh.SSHClientConnection | None = None
    try:
        try:
            async with asyncio.timeout(within_s):
                connection = await _logged_in(access, within_s)
                session = await connection.start_sftp_client(path_encoding=None)
        except AddressForbidden:
            raise AddressRefused(
                "the recipient's name points to a private, loopback or reserved address that "
                "packages.channel.private_networks does not list; nothing was sent"
            ) from None
        except asyncssh.HostKeyNotVerifiable:
            raise HostKeyChanged(
                "the server showed another host key than packages.channel.host_key; nothing was sent. Ask the "
                "recipient, by another way than this server, whether it changed its key"
            ) from None
        except asyncssh.KeyExchangeFailed:
            raise PeerRefused(
                "the server offers no algorithm that is taken (see `qaqpa.transport.ssh`); nothing was sent"
            ) from None
        except asyncssh.PermissionDenied:
            raise LoginRefused(
                "the server did not let us in: have the recipient enter our public key for packages.channel.user"
            ) from None
        except (asyncssh.ChannelOpenError, asyncssh.SFTPError):
            raise PackageRefused("the server let us in and offers no SFTP; nothing was sent") from None
        except TimeoutError:
            raise ConnectFailed("no connection could be made in time; nothing was sent") from None
        except (OSError, EOFError, asyncssh.Error):
            raise ConnectFailed("no connection could be made; nothing was sent") from None
        yield session
    finally:
        if connection is not None:
            await _hang_up(connection)


async def _hang_up(connection: asyncssh.SSHClientConnection) -> None:
    """Say goodbye, and cut the line when nobody answers."""
    connection.close()
    try:
        async with asyncio.timeout(_GOODBYE_S):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()
