"""Packages by resumable HTTPS uploads, to the stand-in over real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from delivering import Moves, exactly, nothing, package, stands, uploads
from qaqpa.errors import (
    AddressRefused,
    AnswerUnreadable,
    ConnectFailed,
    LoginRefused,
    NotSent,
    PackageChanged,
    PackageDiffers,
    PackageRefused,
    PeerRefused,
    PlacingDoubtful,
    RecipientFull,
    RecipientSuspended,
    UploadBroken,
)
from qaqpa.model.handover import SealedPackage
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.upload_recipient import UploadRecipient
from qaqpa.transport.packages import Stage, mark_path, read_mark

SIZE = 300_000
LAST = 64 * 1024


@pytest.fixture
async def recipient(tmp_path: Path) -> AsyncIterator[UploadRecipient]:
    async with UploadRecipient(directory=tmp_path / "recipient", log=tmp_path / "calls.jsonl") as running:
        yield running


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small file takes several."""
    monkeypatch.setattr("qaqpa.transport.uploads._PIECE", 100_000)
    monkeypatch.setattr("qaqpa.transport.https._SLOWEST", 200_000)


async def deliver(recipient: UploadRecipient, sent: SealedPackage, ready: Any = nothing, **config: Any) -> Moves:
    moves, channel = Moves(), uploads(recipient, **config)
    try:
        await channel.deliver(sent, moves, ready)
    finally:
        await channel.close()
    return moves


async def arrived(recipient: UploadRecipient, sent: SealedPackage) -> bool | None:
    channel = uploads(recipient)
    try:
        return await channel.arrived(sent)
    finally:
        await channel.close()


@pytest.mark.parametrize("size", [0, 1, LAST, LAST + 1, SIZE])
async def test_a_package_comes_whole_and_is_confirmed(recipient: UploadRecipient, tmp_path: Path, size: int) -> None:
    sent = package(tmp_path, size)
    assert await arrived(recipient, sent) is False
    moves = await deliver(recipient, sent)
    assert stands(recipient) == exactly(sent)
    assert (moves[0], moves[-1]) == (0, size)
    assert await arrived(recipient, sent) is True


async def test_delivered_twice_it_travels_once(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path, SIZE)
    await deliver(recipient, sent)
    mark_path(sent).unlink()  # even though nothing is remembered: the Idempotency-Key finds it
    await deliver(recipient, sent)
    assert recipient.stored == SIZE
    assert [call.what for call in recipient.calls].count("place") == 1


async def test_a_dropped_upload_goes_on_where_it_was(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path, SIZE)
    recipient.after = 30_000
    # creating, asking, the first piece, the second
    for fault in (PackageFault.NONE, PackageFault.NONE, PackageFault.NONE, PackageFault.DROP):
        recipient.fail_next(fault)
    with pytest.raises(UploadBroken):
        await deliver(recipient, sent)
    first = recipient.stored
    assert 100_000 <= first <= 130_000
    assert await arrived(recipient, sent) is False
    moves = await deliver(recipient, sent)
    assert moves[0] == first
    assert stands(recipient) == exactly(sent)
    assert recipient.stored == SIZE, "no byte travelled twice"


async def test_a_recipient_that_has_another_part_than_it_said_is_asked_again(
    recipient: UploadRecipient, tmp_path: Path
) -> None:
    sent = package(tmp_path, SIZE)
    part = recipient.inbox / f".{sent.name}.part"
    channel, moves = uploads(recipient), Moves()

    def moved(total: int) -> None:
        moves(total)
        if len(moves) == 1:
            part.write_bytes(sent.path.read_bytes()[:1000])  # what an earlier request still brought

    await channel.deliver(sent, moved, nothing)
    await channel.close()
    assert moves[1] == 1000
    assert stands(recipient) == exactly(sent)


async def test_bytes_per_second_are_kept_to(recipient: UploadRecipient, tmp_path: Path) -> None:
    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    sent = package(tmp_path, 60_000)
    await deliver(recipient, sent, rate=100_000.0)
    assert 0.3 < loop.time() - began < 5


# fault, what is raised, what is left there, whether it arrived
FAULTS: dict[PackageFault, tuple[type[Exception], list[str], bool | None]] = {
    PackageFault.REFUSE_LOGIN: (LoginRefused, [], False),
    PackageFault.REDIRECTS: (PackageRefused, [], False),
    PackageFault.ELSEWHERE: (PackageRefused, [], False),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_upload_that_is_not_created_sends_nothing(
    recipient: UploadRecipient, tmp_path: Path, fault: PackageFault
) -> None:
    sent = package(tmp_path, SIZE)
    raised, left, came = FAULTS[fault]
    recipient.fault = fault
    with pytest.raises(raised):
        await deliver(recipient, sent)
    assert (sorted(stands(recipient)), recipient.stored) == (left, 0)
    assert await arrived(recipient, sent) is came


async def test_no_location_leads_to_another_host(recipient: UploadRecipient) -> None:
    wire = uploads(recipient)._wire
    for location in (
        "https://evil.invalid/x", "http://localhost/x", "//evil.invalid/x", "https://u@localhost/x",
        f"{recipient.url}/x#y", "https://localhost:1/x",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="address"):
            wire.beside("packages", location)
    for location in ("\\\\evil.invalid\\x", "https:\\\\evil.invalid", "x:y@evil.invalid"):
        with suppress(ValueError):
            assert wire.beside("packages", location).startswith(f"{recipient.url}/"), location
    assert wire.beside("packages", "/packages/1") == f"{recipient.url}/packages/1"


async def test_a_full_disk_is_said_so_and_left_clean(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path, SIZE)
    recipient.after, recipient.fault = 150_000, PackageFault.DISK_FULL
    with pytest.raises(RecipientFull, match="room"):
        await deliver(recipient, sent)
    assert stands(recipient) == {}
    recipient.fault = PackageFault.NONE
    await deliver(recipient, sent)
    assert stands(recipient) == exactly(sent)


async def test_a_server_that_hangs_is_given_up_and_resumed(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path, SIZE)
    recipient.fault = PackageFault.HANGS
    with pytest.raises(UploadBroken):
        await deliver(recipient, sent, connect_timeout_s=0.2, answer_timeout_s=0.2)
    recipient.fault = PackageFault.NONE
    await deliver(recipient, sent)
    assert stands(recipient) == exactly(sent)


async def test_a_slow_recipient_that_takes_bytes_is_not_given_up(recipient: UploadRecipient, tmp_path: Path) -> None:
    """Each piece takes longer than silence may last; the machine took all of it from us at once."""
    sent = package(tmp_path, 100_000 + LAST)
    recipient.fault, recipient.delay = PackageFault.SLOW, 0.3
    await deliver(recipient, sent, connect_timeout_s=0.2, answer_timeout_s=0.2)
    assert stands(recipient) == exactly(sent)


async def test_a_last_piece_that_is_refused_leaves_nothing(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path, SIZE)
    recipient.fault = PackageFault.RENAME_FAILS
    with pytest.raises(PackageRefused):
        await deliver(recipient, sent)
    assert stands(recipient) == {}
    assert await arrived(recipient, sent) is False


@pytest.mark.parametrize("fault", [PackageFault.DROP_BEFORE_RENAME, PackageFault.DROP_AFTER_RENAME])
async def test_a_line_cut_at_the_end_ends_with_one_package(
    recipient: UploadRecipient, tmp_path: Path, fault: PackageFault
) -> None:
    sent = package(tmp_path, SIZE)
    recipient.fault = fault
    with pytest.raises(PlacingDoubtful):
        await deliver(recipient, sent)
    recipient.fault = PackageFault.NONE
    assert await arrived(recipient, sent) is (fault is PackageFault.DROP_AFTER_RENAME)
    await deliver(recipient, sent)
    assert stands(recipient) == exactly(sent)
    assert recipient.stored == SIZE


async def test_in_doubt_and_forgotten_it_is_never_sent_again(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path, SIZE)
    recipient.fault = PackageFault.DROP_AFTER_RENAME
    with pytest.raises(PlacingDoubtful):
        await deliver(recipient, sent)
    recipient.fault = PackageFault.NONE
    recipient._uploads.clear()
    assert await arrived(recipient, sent) is None
    with pytest.raises(PlacingDoubtful, match="ask it"):
        await deliver(recipient, sent)
    assert recipient.stored == SIZE


async def test_an_upload_that_is_forgotten_before_its_end_is_created_again(
    recipient: UploadRecipient, tmp_path: Path
) -> None:
    sent = package(tmp_path, SIZE)
    recipient.after, recipient.fault = 100, PackageFault.DROP
    with pytest.raises(UploadBroken):
        await deliver(recipient, sent)
    recipient.fault = PackageFault.NONE
    recipient._uploads.clear()
    recipient._by_key.clear()
    (recipient.inbox / f".{sent.name}.part").unlink(missing_ok=True)
    await deliver(recipient, sent)
    assert stands(recipient) == exactly(sent)


@pytest.mark.parametrize("fault", [PackageFault.LIES_ABOUT_SIZE, PackageFault.CORRUPTS])
async def test_another_size_or_digest_is_not_taken_for_ours(
    recipient: UploadRecipient, tmp_path: Path, fault: PackageFault
) -> None:
    sent = package(tmp_path, SIZE)
    recipient.fault = fault
    with pytest.raises(PackageDiffers):
        await deliver(recipient, sent)
    mark = read_mark(sent)
    assert mark is not None
    assert mark.stage is Stage.PLACING


async def test_a_certificate_of_another_host_is_refused(recipient: UploadRecipient, tmp_path: Path) -> None:
    await recipient.stop()
    recipient.fault = PackageFault.CHANGED_HOST_KEY
    await recipient.start()
    with pytest.raises(PeerRefused):
        await deliver(recipient, package(tmp_path))
    assert recipient.calls == []


async def test_an_inner_address_is_refused_unless_it_is_listed(recipient: UploadRecipient, tmp_path: Path) -> None:
    with pytest.raises(AddressRefused):
        await deliver(recipient, package(tmp_path), networks=())
    assert recipient.calls == []


async def test_nobody_listening_is_not_sent(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent, channel = package(tmp_path), uploads(recipient)
    await recipient.stop()
    with pytest.raises(ConnectFailed):
        await channel.deliver(sent, Moves(), nothing)
    await channel.close()


async def test_a_file_that_is_not_the_intended_one_never_leaves(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path)
    sent.path.write_bytes(sent.path.read_bytes() + b"x")
    with pytest.raises(PackageChanged):
        await deliver(recipient, sent)
    assert recipient.calls == []


async def test_cancelled_while_sending_it_takes_back_what_it_sent(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent, moves, channel = package(tmp_path, SIZE), Moves(), uploads(recipient, rate=300_000.0)
    task = asyncio.create_task(channel.deliver(sent, moves, nothing))
    await moves.came.wait()
    assert len(stands(recipient)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await channel.close()
    assert stands(recipient) == {}
    assert await arrived(recipient, sent) is False


async def test_cancelled_with_the_last_piece_it_is_too_late(recipient: UploadRecipient, tmp_path: Path) -> None:
    sent, task = package(tmp_path, SIZE), asyncio.current_task()
    assert task is not None

    async def cancelled_now() -> None:
        asyncio.get_running_loop().call_soon(task.cancel)

    await deliver(recipient, sent, cancelled_now)
    assert task.cancelling() == 0
    assert stands(recipient) == exactly(sent), "it returned, so it stands there"


async def test_a_recipient_suspended_meanwhile_gets_nothing(recipient: UploadRecipient, tmp_path: Path) -> None:
    async def suspended() -> None:
        raise RecipientSuspended("suspended")

    with pytest.raises(NotSent):
        await deliver(recipient, package(tmp_path, SIZE), suspended)
    assert stands(recipient) == {}


async def test_discard_takes_back_a_part_and_says_whether_the_package_stands(
    recipient: UploadRecipient, tmp_path: Path
) -> None:
    sent, channel = package(tmp_path, SIZE), uploads(recipient)
    recipient.after, recipient.fault = 50_000, PackageFault.DROP
    with pytest.raises(UploadBroken):
        await channel.deliver(sent, Moves(), nothing)
    recipient.fault = PackageFault.NONE
    assert await channel.discard(sent) is False
    assert stands(recipient) == {}
    await channel.deliver(sent, Moves(), nothing)
    assert await channel.discard(sent) is True
    await channel.close()
    assert stands(recipient) == exactly(sent)


async def test_new_receipts_are_fetched(recipient: UploadRecipient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qaqpa.transport.uploads.LARGEST_RECEIPT", 1000)
    for name, content in {
        "a.json": b"one",
        "b.json": b"two",
        "huge": bytes(5000),
        "with space": b"",
        "x.part": b"",
    }.items():
        (recipient.outbox / name).write_bytes(content)
    channel = uploads(recipient)
    assert await channel.receipts({"b.json"}) == [("a.json", b"one"), ("huge", bytes(1001))]
    await channel.close()


@pytest.mark.parametrize("said", [b"[]", b"{", b'{"receipts": 1}', b'{"names": []}', b"[" * 100_000])
def test_a_list_of_receipts_that_is_none_is_unreadable(said: bytes) -> None:
    from qaqpa.transport.uploads import Uploads

    with pytest.raises(AnswerUnreadable):
        Uploads._names(said)


def test_names_that_are_no_file_names_are_left_out() -> None:
    from qaqpa.transport.uploads import Uploads

    assert Uploads._names(b'{"receipts": ["../x", "/x", ".x", "a", 1, null, "a/b", "a"]}') == ["a"]
