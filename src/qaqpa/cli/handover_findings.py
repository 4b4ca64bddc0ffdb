"""What `qaqpa doctor` says of handovers: which wait for somebody, which cannot go on, and what to do next."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from qaqpa.cli.findings import Finding, look, ok, wrong
from qaqpa.errors import VerificationFailed
from qaqpa.gateway import Setup
from qaqpa.handover.creditors import bureaus, owed
from qaqpa.handover.figures import NOT_SENT, open_ones
from qaqpa.handover.pulse import Stretch
from qaqpa.handover.records import Handover
from qaqpa.model.handover import HandoverState
from qaqpa.model.words import timestamp
from qaqpa.store import Connection

ABOUT = "handovers"
_HANGS = timedelta(minutes=10)
_OVERDUE = timedelta(days=2)
"""So long a package may wait for a window, as over a weekend."""
_MIB = 2**20
_SPARE = 256 * _MIB
"""Beside what registers that wait take: their packages are written while they still lie there."""
_REGISTER = frozenset({HandoverState.QUEUED, HandoverState.DECIDING})
_PACKAGE = frozenset({HandoverState.PACKAGED, HandoverState.SENDING})


def of_handovers(made: Setup, connection: Connection, now: datetime) -> Iterator[Finding]:
    """Every finding about them."""
    found = open_ones(connection)
    folder = made.home / "handovers"
    told = [
        *_held_up(found),
        *_left_alone(found, now),
        *_unknown(found),
        *_late(made, found, now),
        *_gone(found, folder, one_machine=connection.dialect == "sqlite"),
        *_room(found, folder),
        *_creditors(made, connection),
    ]
    yield from told
    if told:
        return
    waiting = [each for each in found if each.state in NOT_SENT]
    awaited = sum(each.state is HandoverState.SENT for each in found)
    said = f"{len(waiting)} under way, the oldest since {timestamp(waiting[0].since)}" if waiting else "none waits"
    yield ok(ABOUT, f"{said}; {awaited} receipts are awaited" if awaited else said)


def _held_up(found: Iterable[Handover]) -> Iterator[Finding]:
    """By recipient and code, so that a recipient that is down is one line."""
    alike: dict[tuple[str, str], list[Handover]] = {}
    for each in found:
        if waits := each.figures.get("waits"):
            alike.setdefault((each.order.recipient, str(waits["code"])), []).append(each)
    for (recipient, code), few in sorted(alike.items()):
        said = f"{_count(few)} to {recipient} cannot go on ({code}), {few[0].id} first"
        if code == VerificationFailed.code:
            yield wrong(ABOUT, f"{said}: what is noted of its rows is not what the ledger has; `qaqpa ledger verify`")
        else:
            yield look(ABOUT, f"{said}; tried again by itself: mend the cause, or `qaqpa handover cancel {few[0].id}`")


def _left_alone(found: Iterable[Handover], now: datetime) -> Iterator[Finding]:
    idle = [each for each in found if each.state in _REGISTER and _untouched(each, now)]
    if idle:
        yield wrong(
            ABOUT, f"{_count(idle)} waits since {timestamp(idle[0].since)} and nobody works on it: no gateway runs "
            f"jobs; start `qaqpa serve`, or `qaqpa handover wait {idle[0].id}`"
        )  # fmt: skip
    overdue = [each for each in found if each.state in _PACKAGE and now - each.changed > _OVERDUE]
    if overdue := [each for each in overdue if not each.figures.get("waits")]:
        yield look(
            ABOUT, f"the package of {_count(overdue)} has waited since {timestamp(overdue[0].changed)}: look at the "
            f"recipient's windows and per_day, or `qaqpa handover cancel {overdue[0].id}`"
        )  # fmt: skip


def _untouched(handover: Handover, now: datetime) -> bool:
    """Whether nobody has worked on it for a while; one that cannot go on is another matter."""
    work = Stretch.of(handover.figures)
    last = handover.changed if work is None else max(work.at, handover.changed)
    return not handover.figures.get("waits") and now - last > _HANGS


def _unknown(found: Iterable[Handover]) -> Iterator[Finding]:
    if unknown := [each for each in found if each.state is HandoverState.UNKNOWN]:
        first = unknown[0]
        yield look(
            ABOUT, f"the package of {_count(unknown)} may have arrived: ask {first.order.recipient} for {first.id}, "
            f"then `qaqpa ledger settle {first.id}`"
        )  # fmt: skip


def _late(made: Setup, found: Iterable[Handover], now: datetime) -> Iterator[Finding]:
    late = Counter[str]()
    since: dict[str, datetime] = {}
    for each in found:
        due = _receipt_due(made, each.order.recipient)
        if each.state is HandoverState.SENT and due is not None and now - _left(each) > due:
            late[each.order.recipient] += 1
            since[each.order.recipient] = min(_left(each), since.get(each.order.recipient, now))
    for recipient, count in sorted(late.items()):
        yield look(
            ABOUT, f"{recipient} has not acknowledged {count}, sent since {timestamp(since[recipient])}: ask it; a "
            f"receipt that came by another way: `qaqpa handover receipt FILE --from {recipient}`"
        )  # fmt: skip


def _left(handover: Handover) -> datetime:
    at = handover.figures.get("left_at")
    return handover.changed if at is None else datetime.fromisoformat(at)


def _receipt_due(made: Setup, recipient: str) -> timedelta | None:
    config = made.config.recipients.get(recipient)
    if config is None:
        return None
    return config.later.give_up if config.packages is None else config.packages.receipts.due


def _gone(found: Iterable[Handover], folder: Path, *, one_machine: bool) -> Iterator[Finding]:
    """Of several machines each has its own files, unless they share the folder."""
    gone = [each for each in found if not _has_files(each, folder / each.id)]
    if gone:
        said = f"the files of {_count(gone)} ({gone[0].id} first) are not under {folder}"
        after = f"; where they are lost, `qaqpa handover cancel {gone[0].id}` and hand the register in again"
        if one_machine:
            yield wrong(ABOUT, f"{said}: put them back{after}")
        else:
            yield look(ABOUT, f"{said}: let the machine that took them in run, or share the folder{after}")


def _has_files(handover: Handover, folder: Path) -> bool:
    if handover.state in _REGISTER:
        return (folder / "register").exists()
    if handover.state in _PACKAGE:  # under its own name, or a document for a bureau
        return (folder / "document").exists() or any(folder.glob(f"{handover.id}.zip.*"))
    return True


def _room(found: Iterable[Handover], folder: Path) -> Iterator[Finding]:
    needed = sum(each.order.bytes for each in found if each.state in _REGISTER)
    if not needed or not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE:
        yield wrong(
            ABOUT, f"registers of {needed // _MIB} MiB wait to be packed and {free // _MIB} MiB are free where "
            f"{folder} lies: make room, or none of them is packed"
        )  # fmt: skip


def _creditors(made: Setup, connection: Connection) -> Iterator[Finding]:
    """After a cession bureaus are to be told of the new creditor (1.1(21))."""
    for each in owed(connection, bureaus(made.policy)):
        name = each.assignment.id
        yield look(
            ABOUT, f"the change of creditor of {each.rows} contracts (assignment {name}) is still to be reported to "
            f"{' and '.join(each.untold)} (1.1(21)): `qaqpa handover show {name}`"
        )  # fmt: skip


def _count(found: Sequence[Handover]) -> str:
    return "one" if len(found) == 1 else str(len(found))
