"""The door for packages: who may pass, what opens the breaker, and what a receipt of the stand-ins is worth."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Container
from datetime import date
from pathlib import Path

import pytest

from delivering import Moves, package, sftp
from harness import ROOT
from qaqpa.config.recipients import Breaker as BreakerConfig
from qaqpa.errors import (
    CircuitOpen,
    NotConfigured,
    NotSent,
    PackageChanged,
    PlacingDoubtful,
    ReceiptDigestWrong,
    ReceiptMalformed,
    ReceiptOfAnother,
    ReceiptRefused,
    ReceiptRowTwice,
    ReceiptRowUnknown,
    ReceiptSignerUnknown,
    ReceiptTooLarge,
    ReceiptUnsigned,
    RecipientSuspended,
    StoreUnavailable,
    UploadBroken,
)
from qaqpa.model.handover import SealedPackage
from qaqpa.receipts import ReceiptResult, RejectedRow, load_receipt_key, read_receipt
from qaqpa.testing.packages import ReceiptFault
from qaqpa.testing.sftp_recipient import SftpRecipient
from qaqpa.transport.limits import Breaker, BreakerState
from qaqpa.transport.packages import Moved, PackageLine, PackageTransport, Ready
from qaqpa.transport.transport import may_retry

RECIPIENT = "demo-collector"


class Scripted:
    """A channel that does what it is told."""

    def __init__(self, *outcomes: BaseException | None) -> None:
        self.outcomes = list(outcomes)
        self.asked = 0

    async def deliver(self, package: SealedPackage, moved: Moved, ready: Ready) -> None:
        self.asked += 1
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome
        moved(0)
        await ready()

    async def arrived(self, package: SealedPackage) -> bool | None:
        return None

    async def discard(self, package: SealedPackage) -> bool | None:
        return None

    async def receipts(self, known: Container[str]) -> list[tuple[str, bytes]]:
        return []

    async def close(self) -> None: ...


class Suspensions:
    """Answers in turn whether the recipient is suspended; the last answer stays."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)

    async def __call__(self, recipient: str) -> bool:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def door(channel: Scripted, suspended: Suspensions | None = None) -> PackageTransport:
    line = PackageLine(channel, Breaker(RECIPIENT, BreakerConfig(failures=2, open_s=60.0)))
    return PackageTransport({RECIPIENT: line}, is_suspended=suspended or Suspensions(False))


async def test_a_suspended_recipient_is_not_even_asked(tmp_path: Path) -> None:
    channel = Scripted(None)
    with pytest.raises(RecipientSuspended):
        await door(channel, Suspensions(True)).deliver(package(tmp_path), Moves())
    assert channel.asked == 0


async def test_one_that_is_suspended_while_bytes_travel_does_not_get_the_package(tmp_path: Path) -> None:
    made = door(Scripted(None), Suspensions(False, True))
    with pytest.raises(RecipientSuspended):
        await made.deliver(package(tmp_path), Moves())
    assert made.breaker_state(RECIPIENT) is BreakerState.CLOSED


async def test_where_nobody_knows_whether_it_is_suspended_nothing_is_sent(tmp_path: Path) -> None:
    channel = Scripted(None)
    with pytest.raises(NotSent):
        await door(channel, Suspensions(StoreUnavailable("gone"))).deliver(package(tmp_path), Moves())
    assert channel.asked == 0


async def test_what_the_recipient_fails_opens_the_breaker(tmp_path: Path) -> None:
    channel = Scripted(UploadBroken("x"), PlacingDoubtful("x"), None)
    made, sent = door(channel), package(tmp_path)
    for failed in (UploadBroken, PlacingDoubtful):
        with pytest.raises(failed):
            await made.deliver(sent, Moves())
    assert made.breaker_state(RECIPIENT) is BreakerState.OPEN
    with pytest.raises(CircuitOpen):
        await made.deliver(sent, Moves())
    with pytest.raises(CircuitOpen):
        await made.receipts(RECIPIENT, ())
    assert channel.asked == 2


async def test_what_we_fail_does_not(tmp_path: Path) -> None:
    made, sent = (
        door(Scripted(PackageChanged("x"), StoreUnavailable("x"), PackageChanged("x"), None)),
        package(tmp_path),
    )
    for _ in range(3):
        with pytest.raises((PackageChanged, StoreUnavailable)):
            await made.deliver(sent, Moves())
    await made.deliver(sent, Moves())
    assert made.breaker_state(RECIPIENT) is BreakerState.CLOSED


async def test_without_a_line_it_is_not_configured(tmp_path: Path) -> None:
    made = PackageTransport({}, is_suspended=Suspensions(False))
    with pytest.raises(NotConfigured, match=r"\[packages\]"):
        await made.deliver(package(tmp_path), Moves())
    with pytest.raises(NotConfigured):
        made.require(RECIPIENT)
    assert made.breaker_state(RECIPIENT) is None


def test_a_changed_host_key_is_never_tried_again() -> None:
    from qaqpa.errors import FolderRefused, HostKeyChanged, LoginRefused, PackageRefused, RecipientFull

    for never in (HostKeyChanged, LoginRefused, FolderRefused, PackageRefused, PackageChanged, PlacingDoubtful):
        assert not may_retry(never("x"), idempotent=False), never
    for later in (UploadBroken, RecipientFull):
        assert may_retry(later("x"), idempotent=False), later


def test_asyncssh_is_imported_by_transport_and_stand_ins_alone() -> None:
    importers = {
        path.relative_to(ROOT / "src/qaqpa").as_posix()
        for path in (ROOT / "src").rglob("*.py")
        if re.search(r"^(import|from) asyncssh\b", path.read_text(), re.MULTILINE)
    }
    assert importers == {
        "transport/ssh.py", "transport/sftp.py", "transport/sftp_requests.py", "transport/sftp_upload.py",
        "testing/sftp_recipient.py",
    }  # fmt: skip


# --- from one end to the other ---------------------------------------------------------------------


@pytest.fixture
async def recipient(tmp_path: Path) -> AsyncIterator[SftpRecipient]:
    async with SftpRecipient(directory=tmp_path / "recipient") as running:
        yield running


async def delivered(recipient: SftpRecipient, sent: SealedPackage) -> PackageTransport:
    channel = sftp(recipient, folder="/inbox", receipts="/outbox")
    made = PackageTransport(
        {RECIPIENT: PackageLine(channel, Breaker(RECIPIENT, BreakerConfig()))}, is_suspended=Suspensions(False)
    )
    await made.deliver(sent, Moves())
    assert await made.arrived(sent) is True
    return made


@pytest.mark.parametrize("zipped", [False, True])
async def test_a_package_is_acknowledged_with_rejected_rows(
    recipient: SftpRecipient, tmp_path: Path, zipped: bool
) -> None:
    sent = package(tmp_path)
    made = await delivered(recipient, sent)
    recipient.acknowledge(sent.name, reject={7: "unknown_debtor"}, destruction_due=date(2027, 1, 1), zipped=zipped)
    ((name, data),) = await made.receipts(RECIPIENT, ())
    receipt = read_receipt(
        data, load_receipt_key(recipient.receipt_key_file), package=sent.intent.handover,
        sha256=sent.intent.sha256, rows=10,
    )  # fmt: skip
    assert (receipt.result, receipt.is_signed) == (ReceiptResult.PARTIAL, True)
    assert receipt.rows == (RejectedRow(7, "unknown_debtor"),)
    assert await made.receipts(RECIPIENT, {name}) == []
    await made.close()


REFUSED: dict[ReceiptFault, type[ReceiptRefused]] = {
    ReceiptFault.ANOTHER_PACKAGE: ReceiptOfAnother,
    ReceiptFault.ANOTHER_FILE: ReceiptDigestWrong,
    ReceiptFault.STRANGER: ReceiptSignerUnknown,
    ReceiptFault.UNSIGNED: ReceiptUnsigned,
    ReceiptFault.ROW_NEVER_SENT: ReceiptRowUnknown,
    ReceiptFault.ROW_TWICE: ReceiptRowTwice,
    ReceiptFault.FREE_TEXT: ReceiptMalformed,
    ReceiptFault.ZIP_BOMB: ReceiptTooLarge,
    ReceiptFault.GARBAGE: ReceiptUnsigned,
}


async def test_every_bad_receipt_of_the_stand_in_is_refused(recipient: SftpRecipient, tmp_path: Path) -> None:
    assert set(REFUSED) == set(ReceiptFault) - {ReceiptFault.NONE}
    sent = package(tmp_path)
    made = await delivered(recipient, sent)
    key = load_receipt_key(recipient.receipt_key_file)
    seen: set[str] = set()
    for fault, refused in REFUSED.items():
        recipient.acknowledge(sent.name, fault=fault)
        ((name, data),) = await made.receipts(RECIPIENT, seen)
        seen.add(name)
        with pytest.raises(ReceiptRefused) as told:
            read_receipt(data, key, package=sent.intent.handover, sha256=sent.intent.sha256, rows=10)
        assert type(told.value) is refused, fault
    await made.close()


async def test_a_stand_in_opens_what_it_gets_if_it_can(tmp_path: Path) -> None:
    def opener(path: Path) -> int:
        return path.stat().st_size

    sent = package(tmp_path)
    async with SftpRecipient(directory=tmp_path / "recipient", open_package=opener) as recipient:
        await delivered(recipient, sent)
        assert recipient.opened == {sent.name: sent.intent.size}
        assert recipient.packages == [recipient.inbox / sent.name]
