"""SFTP: who is at the other end, who lets us in, and what may be configured."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from delivering import Moves, exactly, nothing, package, stands, to
from qaqpa.config.packages import SftpChannel
from qaqpa.errors import (
    AddressRefused,
    ConnectFailed,
    HostKeyChanged,
    LoginRefused,
    NotConfigured,
)
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.sftp_recipient import SftpRecipient
from qaqpa.transport.packages import Mark, Stage, mark_path, read_mark, write_mark
from qaqpa.transport.ssh import ssh_access

# --- who is there ----------------------------------------------------------------------------------


async def test_another_host_key_than_the_pinned_is_refused(server: Any, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(HostKeyChanged, match="host_key"):
        await to(server, host_key=other).deliver(package(tmp_path), Moves(), nothing)
    assert stands(server) == {}


async def test_a_host_that_changes_its_key_is_refused_until_the_new_one_is_pinned(
    standin: SftpRecipient, tmp_path: Path
) -> None:
    await standin.stop()
    standin.fault = PackageFault.CHANGED_HOST_KEY
    await standin.start()
    with pytest.raises(HostKeyChanged):
        await to(standin).deliver(package(tmp_path), Moves(), nothing)
    assert [call.what for call in standin.calls] == [], "our key was not even shown"


async def test_a_host_that_has_no_key_of_the_pinned_kind_is_refused(server: Any, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    with pytest.raises(HostKeyChanged):
        await to(server, host_key=other).deliver(package(tmp_path), Moves(), nothing)


async def test_one_of_two_pinned_keys_is_enough(server: Any, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / "keys").write_text(f"# the old and the new\n{other}{server.host_key}\n")
    sent = package(tmp_path)
    await to(server, host_key=str(tmp_path / "keys")).deliver(sent, Moves(), nothing)
    assert stands(server) == exactly(sent)


async def test_another_key_of_ours_is_not_let_in(server: Any, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "key").write_bytes(other.export_private_key())
    with pytest.raises(LoginRefused, match="public key"):
        await to(server, key=f"env:{tmp_path / 'key'}").deliver(package(tmp_path), Moves(), nothing)
    assert stands(server) == {}


async def test_nobody_is_let_in(standin: SftpRecipient, tmp_path: Path) -> None:
    standin.fault = PackageFault.REFUSE_LOGIN
    with pytest.raises(LoginRefused):
        await to(standin).deliver(package(tmp_path), Moves(), nothing)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_an_inner_address_is_refused_unless_it_is_listed(
    standin: SftpRecipient, tmp_path: Path, host: str
) -> None:
    with pytest.raises(AddressRefused, match="private_networks"):
        await to(standin, host=host, networks=()).deliver(package(tmp_path), Moves(), nothing)
    assert standin.connections == 0


async def test_nothing_of_this_machine_is_believed(
    standin: SftpRecipient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known_hosts, a configuration and an agent lie ready that would let it through, or elsewhere."""
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    (home / "known_hosts").write_text(f"[localhost]:{standin.port} {standin.host_key}\n")
    (home / "config").write_text("Host *\n  ProxyCommand false\n  StrictHostKeyChecking no\n  Port 1\n  User nobody\n")
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    with pytest.raises(HostKeyChanged):
        await to(standin, host_key=other).deliver(package(tmp_path), Moves(), nothing)
    sent = package(tmp_path)
    await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == exactly(sent)


async def test_nobody_listening_is_not_sent(standin: SftpRecipient, tmp_path: Path) -> None:
    channel = to(standin)
    await standin.stop()
    with pytest.raises(ConnectFailed):
        await channel.deliver(package(tmp_path), Moves(), nothing)


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, standin: SftpRecipient) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with listener:
        port = str(listener.sockets[0].getsockname()[1])
        with pytest.raises(ConnectFailed, match="in time"):
            await to(standin, port=port, connect_timeout_s=0.3).deliver(package(tmp_path), Moves(), nothing)


# --- configuration ---------------------------------------------------------------------------------

GOOD_KEY = asyncssh.generate_private_key("ssh-ed25519")
LOCKED = GOOD_KEY.export_private_key(passphrase="right", rounds=50).decode()
PUBLIC = GOOD_KEY.export_public_key().decode()
SMALL = asyncssh.generate_private_key("ssh-rsa", key_size=1024)


def access(**config: Any) -> Any:
    values = {"kind": "sftp", "host": "sftp.example.kz", "user": "u", "key": "env:KEY", "host_key": PUBLIC} | config
    secrets = {"env:KEY": GOOD_KEY.export_private_key().decode(), "env:LOCKED": LOCKED, "env:WRONG": "wrong",
               "env:RIGHT": "right", "env:SMALL": SMALL.export_private_key().decode(), "env:PUBLIC": PUBLIC,
               "env:NOWHERE": "no/such/file"}  # fmt: skip
    channel = SftpChannel.model_validate(values)
    return ssh_access(channel, (), lambda value, what: secrets.get(value, value), Path("/nowhere"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"host": "user@host"}, "host"),
        ({"host": "127.1"}, "host"),
        ({"host": "-oProxyCommand=x"}, "host"),
        ({"port": "70000"}, "port"),
        ({"port": "x"}, "port"),
        ({"key": "env:LOCKED"}, "key_password"),
        ({"key": "env:LOCKED", "key_password": "env:WRONG"}, "key_password"),
        ({"key": "env:PUBLIC"}, "key"),
        ({"key": "env:NOWHERE"}, "key"),
        ({"key": "env:SMALL"}, "2048"),
        ({"host_key": SMALL.export_public_key().decode()}, "2048"),
        ({"host_key": "ssh-ed25519 AAAA"}, "host_key"),
        ({"host_key": "no/such/file"}, "host_key"),
    ],
)
def test_what_cannot_serve_is_not_configured(config: dict[str, Any], said: str) -> None:
    with pytest.raises(NotConfigured, match=said) as refused:
        access(**config)
    assert "wrong" not in str(refused.value)
    assert "PRIVATE" not in str(refused.value)


def test_a_key_with_its_password_serves() -> None:
    made = access(key="env:LOCKED", key_password="env:RIGHT", host="SFTP.Example.KZ")
    assert (made.host, made.port) == ("sftp.example.kz", 22)
    assert "PRIVATE" not in repr(made)


def test_a_mark_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    from qaqpa.errors import StoreUnavailable

    sent = package(tmp_path)
    write_mark(sent, Mark(Stage.PLACING, "https://x/1"))
    assert read_mark(sent) == Mark(Stage.PLACING, "https://x/1")
    mark_path(sent).write_text("nonsense")
    with pytest.raises(StoreUnavailable):
        read_mark(sent)
    with suppress(FileNotFoundError):
        mark_path(sent).unlink()
    assert read_mark(sent) is None
