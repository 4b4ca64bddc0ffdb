"""Packages by SFTP where the recipient fails or tricks; what OpenSSH's own server can be made to do, with it too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from delivering import Moves, exactly, nothing, package, stands, to
from qaqpa.config.packages import SftpChannel
from qaqpa.errors import (
    FolderRefused,
    PackageChanged,
    PackageDiffers,
    PackageRefused,
    PlacingDoubtful,
    RecipientFull,
    StoreUnavailable,
    UploadBroken,
)
from qaqpa.model.handover import SealedPackage
from qaqpa.model.identifiers import uuid7
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.sftp_recipient import SftpRecipient
from sshd import SSHD, WITHOUT_IT, openssh

SIZE = 3_000_000


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
        pytest.skip("this machine mounts nothing")
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


async def test_a_doubt_that_was_cleared_does_not_come_back(standin: SftpRecipient, tmp_path: Path) -> None:
    sent = package(tmp_path)
    standin.fail_next(PackageFault.DROP_BEFORE_RENAME)
    with pytest.raises(PlacingDoubtful):
        await to(standin).deliver(sent, Moves(), nothing)
    assert await to(standin).discard(sent) is False
    assert stands(standin) == {}
    assert await to(standin).arrived(sent) is False
    await to(standin).deliver(sent, Moves(), nothing)
    assert stands(standin) == exactly(sent)


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


async def test_a_file_that_cannot_be_read_now_is_no_reason_to_give_up(standin: SftpRecipient, tmp_path: Path) -> None:
    """Only what is gone or changed is: a disk that is away comes back."""
    sent = package(tmp_path)
    folder, behind = tmp_path / "folder", sent.path / "file"
    folder.mkdir()
    for path in (folder, behind):
        unreadable = SealedPackage(sent.intent, path, sent.name)
        with pytest.raises(StoreUnavailable, match="cannot be read now"):
            await to(standin).deliver(unreadable, Moves(), nothing)
    assert standin.connections == 0
