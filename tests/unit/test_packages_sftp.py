"""Packages by SFTP: to the stand-in, and what can be had from it to OpenSSH's own server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from delivering import Moves, again, nothing, package, sftp
from harness import ROOT
from qaqpa.config.packages import SftpChannel
from qaqpa.errors import (
    AddressRefused,
    ConnectFailed,
    FolderRefused,
    HostKeyChanged,
    LoginRefused,
    NotConfigured,
    PackageChanged,
    PackageDiffers,
    PackageRefused,
    PlacingDoubtful,
    RecipientFull,
    RecipientSuspended,
    UploadBroken,
)
from qaqpa.model.handover import SealedPackage
from qaqpa.model.identifiers import uuid7
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.sftp_recipient import SftpRecipient
from qaqpa.transport.packages import Mark, Stage, mark_path, read_mark, write_mark
from qaqpa.transport.ssh import ssh_access
from sshd import SSHD, WITHOUT_IT, OpenSsh, openssh

SIZE = 3_000_000


@pytest.fixture
async def standin(tmp_path: Path) -> AsyncIterator[SftpRecipient]:
    async with SftpRecipient(directory=tmp_path / "recipient", log=tmp_path / "calls.jsonl") as running:
        yield running


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    if SSHD is None:
        pytest.skip(WITHOUT_IT)
    async with openssh(tmp_path / "sshd") as running:
        yield running


@pytest.fixture(params=["standin", "real"])
def server(request: pytest.FixtureRequest) -> Any:
    """Each of both."""
    return request.getfixturevalue(request.param)


def to(server: Any, **config: Any) -> Any:
    """A channel; the stand-in's folder is `/inbox`, whatever its place on this disk."""
    folder = "/inbox" if isinstance(server, SftpRecipient) else None
    return sftp(server, **({"folder": folder} | config))


def stands(server: Any) -> dict[str, bytes]:
    """Everything in the recipient's folder, hidden or not."""
    return {path.name: path.read_bytes() for path in server.inbox.iterdir()}


def exactly(sent: SealedPackage) -> dict[str, bytes]:
    return {sent.name: sent.path.read_bytes()}


# --- the good way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, SIZE])
async def test_a_package_comes_whole_under_its_final_name_alone(server: Any, tmp_path: Path, size: int) -> None:
    sent, moves = package(tmp_path, size), Moves()
    channel = to(server)
    assert await channel.arrived(sent) is False
    await channel.deliver(sent, moves, nothing)
    assert stands(server) == exactly(sent)
    assert (moves[0], moves[-1]) == (0, size)
    assert moves == sorted(moves)
    assert await channel.arrived(sent) is True
    assert read_mark(sent) == Mark(Stage.PLACED)


@pytest.mark.parametrize("read_back_up_to", [0, 1000, 2**30])
async def test_it_is_read_back_as_far_as_configured(
    standin: SftpRecipient, tmp_path: Path, read_back_up_to: int
) -> None:
    standin.fault = PackageFault.CORRUPTS
    sent = package(tmp_path)
    channel = to(standin, read_back_up_to=read_back_up_to)
    if read_back_up_to < sent.intent.size:
        await channel.deliver(sent, Moves(), nothing)
        assert stands(standin) != exactly(sent), "the size alone tells nothing about the content"
    else:
        with pytest.raises(PackageRefused):
            await channel.deliver(sent, Moves(), nothing)
        assert stands(standin) == {}


async def test_bytes_per_second_are_kept_to(standin: SftpRecipient, tmp_path: Path) -> None:
    loop, sent = asyncio.get_running_loop(), package(tmp_path, 60_000)
    began = loop.time()
    await to(standin, rate=100_000.0).deliver(sent, Moves(), nothing)
    assert 0.3 < loop.time() - began < 3
    assert stands(standin) == exactly(sent)


async def test_delivered_twice_it_travels_once(standin: SftpRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path)
    for _ in range(2):
        await to(standin).deliver(sent, Moves(), nothing)
    assert standin.stored == sent.intent.size
    assert [call.what for call in standin.calls].count("place") == 1


async def test_what_was_collected_at_once_has_arrived(server: Any, tmp_path: Path) -> None:
    sent, channel = package(tmp_path), to(server)
    await channel.deliver(sent, Moves(), nothing)
    (server.inbox / sent.name).unlink()
    assert await channel.arrived(sent) is True
    await channel.deliver(sent, Moves(), nothing)
    assert stands(server) == {}, "it is not sent again"


async def test_what_stands_there_though_nothing_is_remembered_is_not_sent_again(server: Any, tmp_path: Path) -> None:
    sent = package(tmp_path)
    (server.inbox / sent.name).write_bytes(sent.path.read_bytes())
    moves = Moves()
    await to(server).deliver(sent, moves, nothing)
    assert moves == [sent.intent.size]
    assert stands(server) == exactly(sent)


# --- resuming --------------------------------------------------------------------------------------


async def test_a_dropped_upload_goes_on_where_it_was(standin: SftpRecipient, tmp_path: Path) -> None:
    sent, moves = package(tmp_path, SIZE), Moves()
    standin.after = SIZE // 2
    standin.fail_next(PackageFault.DROP)
    with pytest.raises(UploadBroken):
        await to(standin).deliver(sent, moves, nothing)
    first = standin.stored
    assert 0 < first <= SIZE // 2
    assert list(stands(standin)) == [f".{sent.name}.part"]
    assert await to(standin).arrived(sent) is False
    moves = Moves()
    await to(standin).deliver(sent, moves, nothing)
    assert stands(standin) == exactly(sent)
    assert moves[0] == first
    assert standin.stored == SIZE, "no byte travelled twice"


async def test_what_is_there_and_is_not_ours_is_begun_anew(server: Any, tmp_path: Path) -> None:
    sent, moves = package(tmp_path, SIZE), Moves()
    begun = bytearray(sent.path.read_bytes()[: SIZE // 2])
    begun[1000] ^= 1  # a hole, or another's
    (server.inbox / f".{sent.name}.part").write_bytes(begun)
    await to(server).deliver(sent, moves, nothing)
    assert stands(server) == exactly(sent)
    assert moves[0] == 0


@pytest.mark.parametrize("more", [0, 1000])
async def test_a_part_that_is_whole_or_longer_ends_well(server: Any, tmp_path: Path, more: int) -> None:
    sent = package(tmp_path)
    (server.inbox / f".{sent.name}.part").write_bytes(sent.path.read_bytes() + bytes(more))
    await to(server).deliver(sent, Moves(), nothing)
    assert stands(server) == exactly(sent)


async def test_where_nothing_may_be_read_an_upload_begins_anew(standin: SftpRecipient, tmp_path: Path) -> None:
    sent, moves = package(tmp_path), Moves()
    (standin.inbox / f".{sent.name}.part").write_bytes(sent.path.read_bytes()[:50_000])
    await to(standin, read_back_up_to=0).deliver(sent, moves, nothing)
    assert moves[0] == 0
    assert stands(standin) == exactly(sent)


WORKER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from delivering import again, nothing, sftp
from types import SimpleNamespace

def moved(total):
    print(total, flush=True)

async def main():
    path, server = Path({path!r}), SimpleNamespace(**{server!r})
    sent = again(path, {handover!r}, path.read_bytes())
    await sftp(server, folder=server.inbox, rate={rate!r}).deliver(sent, moved, nothing)

asyncio.run(main())
"""


async def worker(server: OpenSsh, sent: SealedPackage, rate: float | None) -> asyncio.subprocess.Process:
    known = {name: str(getattr(server, name)) for name in ("user", "inbox", "host_key", "client_key")}
    code = WORKER.format(
        tests=str(ROOT / "tests"), path=str(sent.path), handover=sent.intent.handover,
        server=known | {"port": server.port}, rate=rate,
    )  # fmt: skip
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)


async def lines_until(process: asyncio.subprocess.Process, enough: int) -> None:
    assert process.stdout is not None
    while int(await process.stdout.readline()) < enough:
        pass


async def test_a_process_that_is_killed_leaves_what_another_resumes(real: OpenSsh, tmp_path: Path) -> None:
    sent = package(tmp_path, SIZE)
    killed = await worker(real, sent, rate=1_500_000.0)
    await lines_until(killed, SIZE // 4)
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    (part,) = stands(real).values()
    assert SIZE // 4 <= len(part) < SIZE
    moves = Moves()
    await to(real).deliver(sent, moves, nothing)
    assert stands(real) == exactly(sent)
    assert moves[0] >= SIZE // 4, "it went on where the killed one was"


async def test_two_uploaders_bring_one_package(real: OpenSsh, tmp_path: Path) -> None:
    sent = package(tmp_path, SIZE)
    other = await worker(real, sent, rate=6_000_000.0)
    await lines_until(other, 1)
    moves = Moves()
    await asyncio.gather(*(to(real).deliver(sent, moves, nothing) for _ in range(2)))
    assert await other.wait() == 0
    assert stands(real) == exactly(sent)
    assert moves == [SIZE, SIZE], "those who waited for their turn found it there"


async def test_two_machines_that_share_nothing_bring_one_package(server: Any, tmp_path: Path) -> None:
    handover, content = uuid7(), os.urandom(SIZE)
    copies = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "package.age"
        path.write_bytes(content)
        copies.append(again(path, handover, content))
    ended = await asyncio.gather(
        *(to(server).deliver(each, Moves(), nothing) for each in copies), return_exceptions=True
    )
    assert all(each is None or isinstance(each, (UploadBroken, PlacingDoubtful)) for each in ended), ended
    assert ended.count(None) >= 1
    assert stands(server) == exactly(copies[0])


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


# --- the recipient fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, SIZE // 2])
async def test_a_full_disk_is_said_so_and_left_clean(standin: SftpRecipient, tmp_path: Path, after: int) -> None:
    sent = package(tmp_path, SIZE)
    standin.after = after
    standin.fail_next(PackageFault.DISK_FULL)
    with pytest.raises(RecipientFull, match="room"):
        await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == {}
    await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == exactly(sent)


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mount.returncode != 0:
        pytest.skip("needs root, and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_a_real_full_disk_is_said_so_and_left_clean(tmp_path: Path) -> None:
    if SSHD is None:
        pytest.skip(WITHOUT_IT)
    with mounted(tmp_path / "small") as small:
        async with openssh(tmp_path / "sshd", inbox=small) as real:
            with pytest.raises(RecipientFull):
                await to(real).deliver(package(tmp_path, SIZE), Moves(), nothing)
            assert stands(real) == {}
            fits = package(tmp_path, 500_000)
            await to(real).deliver(fits, Moves(), nothing)
            assert stands(real) == exactly(fits)


async def test_a_folder_that_is_missing_is_named(server: Any, tmp_path: Path) -> None:
    with pytest.raises(FolderRefused, match=r"packages\.channel\.folder"):
        await to(server, folder=f"{server.inbox}/nowhere").deliver(package(tmp_path), Moves(), nothing)


async def test_a_size_that_is_wrong_is_not_placed(standin: SftpRecipient, tmp_path: Path) -> None:
    standin.fault = PackageFault.LIES_ABOUT_SIZE
    with pytest.raises(PackageRefused):
        await to(standin).deliver(package(tmp_path), Moves(), nothing)
    assert stands(standin) == {}


async def test_a_server_that_hangs_is_given_up_and_resumed(standin: SftpRecipient, tmp_path: Path) -> None:
    standin.fail_next(PackageFault.HANGS)
    sent = package(tmp_path)
    with pytest.raises(UploadBroken):
        await to(standin, answer_timeout_s=0.3).deliver(sent, Moves(), nothing)
    await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == exactly(sent)


async def test_a_final_name_that_is_refused_leaves_nothing(standin: SftpRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path)
    standin.fail_next(PackageFault.RENAME_FAILS)
    with pytest.raises(PackageRefused, match="right to rename"):
        await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == {}
    assert await to(standin).arrived(sent) is False, "it surely does not stand there"


async def test_a_line_cut_before_the_name_was_given_ends_with_one_package(
    standin: SftpRecipient, tmp_path: Path
) -> None:
    sent = package(tmp_path)
    standin.fail_next(PackageFault.DROP_BEFORE_RENAME)
    with pytest.raises(PlacingDoubtful):
        await to(standin).deliver(sent, Moves(), nothing)
    assert await to(standin).arrived(sent) is False, "its temporary file is still there, so it was not renamed"
    await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == exactly(sent)
    assert standin.stored == sent.intent.size


async def test_a_line_cut_after_the_name_was_given_ends_with_one_package(
    standin: SftpRecipient, tmp_path: Path
) -> None:
    sent = package(tmp_path)
    standin.fail_next(PackageFault.DROP_AFTER_RENAME)
    with pytest.raises(PlacingDoubtful):
        await to(standin).deliver(sent, Moves(), nothing)
    assert await to(standin).arrived(sent) is True
    await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == exactly(sent)
    assert standin.stored == sent.intent.size


async def test_in_doubt_and_gone_it_is_never_sent_again(standin: SftpRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path)
    standin.fail_next(PackageFault.DROP_AFTER_RENAME)
    with pytest.raises(PlacingDoubtful):
        await to(standin).deliver(sent, Moves(), nothing)
    (standin.inbox / sent.name).unlink()  # collected, perhaps
    assert await to(standin).arrived(sent) is None
    assert await to(standin).discard(sent) is None
    with pytest.raises(PlacingDoubtful, match="ask the recipient"):
        await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == {}


async def test_somebody_faster_who_placed_the_same_is_fine(standin: SftpRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path)

    async def somebody_places_it() -> None:
        (standin.inbox / sent.name).write_bytes(sent.path.read_bytes())

    await to(standin).deliver(sent, Moves(), somebody_places_it)
    assert stands(standin) == exactly(sent)


async def test_somebody_faster_who_placed_another_is_not_overwritten(server: Any, tmp_path: Path) -> None:
    sent = package(tmp_path)

    async def somebody_places_another() -> None:
        (server.inbox / sent.name).write_bytes(bytes(sent.intent.size))

    with pytest.raises(PackageDiffers):
        await to(server).deliver(sent, Moves(), somebody_places_another)
    assert stands(server)[sent.name] == bytes(sent.intent.size)
    with pytest.raises(PackageDiffers):
        await to(server).deliver(sent, Moves(), nothing)


# --- tricks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["{name}", ".{name}.part"])
async def test_a_link_in_the_way_is_not_followed(server: Any, tmp_path: Path, place: str) -> None:
    sent = package(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"theirs")
    (server.inbox / place.format(name=sent.name)).symlink_to(elsewhere)
    with pytest.raises((PackageRefused, PackageDiffers)):
        await to(server).deliver(sent, Moves(), nothing)
    assert elsewhere.read_bytes() == b"theirs"


@pytest.mark.parametrize(
    "name",
    [
        "../{id}.age",
        "{id}/../../x.age",
        "/etc/{id}.age",
        "{id}.age/x",
        "{id}",
        "{ID}.age",
        "x{id}.age",
        "{id}.a\nge",
        "",
    ],
)
async def test_no_name_leads_out_of_the_folder(standin: SftpRecipient, tmp_path: Path, name: str) -> None:
    sent = package(tmp_path)
    handover = sent.intent.handover
    tricked = SealedPackage(sent.intent, sent.path, name.format(id=handover, ID=handover.upper()))
    for ask in (to(standin).arrived(tricked), to(standin).deliver(tricked, Moves(), nothing)):
        with pytest.raises(ValueError, match="handover's id"):
            await ask
    assert standin.connections == 0


async def test_the_name_of_another_handover_is_refused(standin: SftpRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path)
    with pytest.raises(ValueError, match="handover's id"):
        await to(standin).deliver(SealedPackage(sent.intent, sent.path, f"{uuid7()}.age"), Moves(), nothing)


def test_a_configured_folder_never_leads_up() -> None:
    values = {"kind": "sftp", "host": "h", "user": "u", "key": "env:K", "host_key": "k"}
    for folder in ("../x", "/in/../..", ".."):
        with pytest.raises(ValueError, match=r"\.\."):
            SftpChannel.model_validate(values | {"folder": folder})
    assert SftpChannel.model_validate(values | {"folder": "/in/a..b"}).folder == "/in/a..b"


async def test_a_file_that_is_not_the_intended_one_never_leaves(standin: SftpRecipient, tmp_path: Path) -> None:
    for spoil in (b"", b"x", None):
        sent = package(tmp_path)
        content = sent.path.read_bytes()
        if spoil is None:
            sent.path.unlink()
        else:
            sent.path.write_bytes((spoil or content[:1]) + content[1:] + spoil)
            if spoil == b"":
                sent.path.write_bytes(content[:-1])
        with pytest.raises(PackageChanged):
            await to(standin).deliver(sent, Moves(), nothing)
    assert standin.connections == 0


# --- cancelling ------------------------------------------------------------------------------------


async def test_cancelled_while_sending_it_takes_back_what_it_sent(server: Any, tmp_path: Path) -> None:
    sent, moves = package(tmp_path, SIZE), Moves()
    task = asyncio.create_task(to(server, rate=1_500_000.0).deliver(sent, moves, nothing))
    await moves.came.wait()
    assert len(stands(server)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stands(server) == {}
    assert await to(server).arrived(sent) is False


async def test_cancelled_while_the_server_hangs_it_ends_and_leaves_no_package(
    standin: SftpRecipient, tmp_path: Path
) -> None:
    standin.fail_next(PackageFault.HANGS)
    sent, moves = package(tmp_path), Moves()
    moves.wanted = 0
    task = asyncio.create_task(to(standin).deliver(sent, moves, nothing))
    await moves.came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)
    assert sent.name not in stands(standin)
    assert await to(standin).discard(sent) is False
    assert stands(standin) == {}


async def test_cancelled_when_it_takes_its_name_it_is_too_late(standin: SftpRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path)
    task = asyncio.current_task()
    assert task is not None

    async def cancelled_now() -> None:
        asyncio.get_running_loop().call_soon(task.cancel)

    await to(standin).deliver(sent, Moves(), cancelled_now)
    assert task.cancelling() == 0
    assert stands(standin) == exactly(sent), "it returned, so it stands there"


async def test_a_recipient_suspended_meanwhile_gets_nothing(standin: SftpRecipient, tmp_path: Path) -> None:
    async def suspended() -> None:
        raise RecipientSuspended("suspended")

    with pytest.raises(RecipientSuspended):
        await to(standin).deliver(package(tmp_path), Moves(), suspended)
    assert stands(standin) == {}


async def test_discard_takes_back_a_part_and_says_whether_the_package_stands(server: Any, tmp_path: Path) -> None:
    sent = package(tmp_path)
    (server.inbox / f".{sent.name}.part").write_bytes(b"begun")
    assert await to(server).discard(sent) is False
    assert stands(server) == {}
    await to(server).deliver(sent, Moves(), nothing)
    assert await to(server).discard(sent) is True
    assert stands(server) == exactly(sent)


# --- receipts --------------------------------------------------------------------------------------


async def test_new_receipts_are_fetched_and_nothing_else(server: Any, tmp_path: Path) -> None:
    outbox = server.inbox.parent / "outbox"
    outbox.mkdir(exist_ok=True)
    (outbox / "a.json").write_bytes(b"one")
    (outbox / "b.json").write_bytes(b"")
    (outbox / "known.json").write_bytes(b"seen before")
    for name in (".hidden", "c.json.part", "d.TMP", "with space", "новый.json"):
        (outbox / name).write_bytes(b"not yet, or not a name")
    (tmp_path / "secret").write_bytes(b"theirs")
    (outbox / "link.json").symlink_to(tmp_path / "secret")
    (outbox / "folder").mkdir()
    folder = "/outbox" if isinstance(server, SftpRecipient) else str(outbox)
    assert await to(server, receipts=folder).receipts({"known.json"}) == [("a.json", b"one"), ("b.json", b"")]


async def test_a_receipt_that_is_too_large_is_cut(standin: SftpRecipient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qaqpa.transport.sftp.LARGEST_RECEIPT", 1000)
    (standin.outbox / "huge").write_bytes(bytes(5000))
    assert await to(standin, receipts="/outbox").receipts(()) == [("huge", bytes(1001))]


async def test_one_call_fetches_so_much_and_the_next_goes_on(
    standin: SftpRecipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.transport.sftp.MOST_AT_ONCE", 1500)
    for name in "abc":
        (standin.outbox / name).write_bytes(bytes(1000))
    channel = to(standin, receipts="/outbox")
    first = await channel.receipts(())
    assert [name for name, _ in first] == ["a", "b"]
    assert [name for name, _ in await channel.receipts({"a", "b"})] == ["c"]


async def test_without_a_folder_for_receipts_nobody_is_asked(standin: SftpRecipient) -> None:
    assert await to(standin).receipts(()) == []
    assert standin.connections == 0


async def test_a_missing_folder_for_receipts_is_said(server: Any) -> None:
    with pytest.raises(FolderRefused):
        await to(server, receipts="/nowhere/at/all").receipts(())


# --- configuration ---------------------------------------------------------------------------------

GOOD_KEY = asyncssh.generate_private_key("ssh-ed25519")
LOCKED = GOOD_KEY.export_private_key(passphrase="right", rounds=1).decode()
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
