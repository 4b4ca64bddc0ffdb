"""Packages by SFTP: the good way, resuming, cancelling, receipts; to the stand-in and to OpenSSH's own server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from delivering import Moves, again, exactly, nothing, package, stands, to
from harness import ROOT
from qaqpa.errors import (
    FolderRefused,
    PackageRefused,
    RecipientSuspended,
    UploadBroken,
)
from qaqpa.model.handover import SealedPackage
from qaqpa.model.identifiers import uuid7
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.sftp_recipient import SftpRecipient
from qaqpa.transport.packages import Mark, Stage, read_mark
from sshd import OpenSsh

SIZE = 3_000_000


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


async def test_when_the_uploading_process_is_killed_those_who_waited_resume_and_bring_one_package(
    real: OpenSsh, tmp_path: Path
) -> None:
    sent = package(tmp_path, SIZE)
    killed = await worker(real, sent, rate=1_500_000.0)
    await lines_until(killed, 1)
    moves = [Moves(), Moves()]
    waiting = [asyncio.create_task(to(real).deliver(sent, each, nothing)) for each in moves]
    await lines_until(killed, SIZE // 4)
    assert moves == [[], []], "one at a time"
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    (part,) = stands(real).values()
    assert SIZE // 4 <= len(part) < SIZE
    await asyncio.gather(*waiting)
    assert stands(real) == exactly(sent)
    first, last = sorted(moves, key=len, reverse=True)
    assert SIZE // 4 <= first[0] < SIZE, "it went on where the killed one was"
    assert last == [SIZE], "it found the package there"


async def test_two_uploaders_bring_one_package(server: Any, tmp_path: Path) -> None:
    sent, moves = package(tmp_path, SIZE), [Moves(), Moves()]
    await asyncio.gather(*(to(server).deliver(sent, each, nothing) for each in moves))
    assert stands(server) == exactly(sent)
    assert [SIZE] in moves, "the one that waited for its turn found it there"


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
    assert all(each is None or isinstance(each, UploadBroken) for each in ended), ended
    assert ended.count(None) >= 1
    assert stands(server) == exactly(copies[0])


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
