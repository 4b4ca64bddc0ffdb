"""A verification of the whole ledger, by whoever can read it; what it found is remembered where that one may write.

It opens no gateway: a ledger that does not verify may let none open, and whoever verifies needs no key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from qaqpa.alerts.findings import Finding, Rule
from qaqpa.errors import StoreUnavailable, VerificationFailed
from qaqpa.gateway.alerting import watch_of
from qaqpa.gateway.setup import Setup
from qaqpa.ledger.archive import Bodies
from qaqpa.ledger.read import size_of
from qaqpa.ledger.verifications import Verification, VerificationResult, remember
from qaqpa.ledger.verify import Progress, Verified, verify
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Store

Check = Callable[[], Iterable[bytes]]
"""Checkpoints that stand outside the database. Raises VerificationFailed for one that is none."""


@dataclass(frozen=True, slots=True)
class Run:
    """One verification."""

    found: Verified | VerificationFailed
    is_remembered: bool
    """False where the database could not be written from here."""


def verify_and_remember(
    setup: Setup, store: Store, person: str, kept: Check, archived: Bodies | None, progress: Progress
) -> Run:
    """Verify all, and remember that `person` did; one that fails raises the alert `verification`.

    Raises StoreUnavailable where the ledger cannot be read.
    """
    started = time.monotonic()
    found: Verified | VerificationFailed
    size = _size(store)
    with store.snapshot() as connection:
        try:
            found = verify(connection, progress, key=setup.log_key, kept=kept(), archived=archived)
        except VerificationFailed as error:
            found = error
    seconds, now = round(time.monotonic() - started), datetime.now(UTC)
    if isinstance(found, VerificationFailed):
        told = Verification(timestamp(now), person, VerificationResult.FAILED, size, seconds, found.index)
    else:
        result = VerificationResult.PARTLY if found.unread else VerificationResult.VERIFIED
        told = Verification(timestamp(now), person, result, found.size, seconds)

    def unit(connection: Connection) -> None:
        remember(connection, told)
        if told.result is VerificationResult.FAILED:
            watch_of(setup, store, lambda: now).noted(connection, [_finding(told)])

    try:
        store.write_once(unit)
    except StoreUnavailable:
        return Run(found, is_remembered=False)
    return Run(found, is_remembered=True)


def _size(store: Store) -> int:
    """Entries that are said to be there; 0 where that cannot be read: verifying says what is wrong."""
    with suppress(StoreUnavailable), store.snapshot() as connection:
        size: object = size_of(connection)
        if isinstance(size, int):
            return size
    return 0


def _finding(failed: Verification) -> Finding:
    """The same cause as the patrol's where an entry is known, so that it is told once."""
    if failed.first_bad is None:
        return Finding(Rule.VERIFICATION, "database", figures={"code": VerificationFailed.code})
    return Finding(
        Rule.VERIFICATION, "entries", episode=str(failed.first_bad), figures={"index": failed.first_bad, "count": 1}
    )
