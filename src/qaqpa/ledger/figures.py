"""Figures over the ledger from rolled-up counts: as fast at ten million entries as at ten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from qaqpa.ledger.catalogue import catalogued
from qaqpa.ledger.read import size_of
from qaqpa.store import Connection

_COLUMNS = frozenset({"day", "caller", "recipient", "purpose", "name"})
_REFUSED = frozenset({"deny", "gap"})


class What(StrEnum):
    """What is counted; in brackets, what `name` is. Days are legal days in the operator's zone."""

    INTENT = "intent"
    """Disclosures that were permitted, rows of handovers each (ground)."""
    RESULT = "result"
    """What came of them, on the day of the intent (delivered, rejected, not_sent, unknown): those that have none yet
    are open. What a receipt says of a row does not count here."""
    REFUSAL = "refusal"
    """(deny or gap)"""
    REASON = "reason"
    """Refusals by each guard that failed (guard): one refusal may have several."""
    FIELD = "field"
    """Disclosures with which a field left, may have left or is leaving (path)."""
    ROUTE = "route"
    """Disclosures that left, may have left or are leaving (operation)."""
    KEPT = "kept"
    """Those that surely were not sent (operation)."""
    REUSED = "reused"
    """Reports that served again (ground)."""
    CONSENT = "consent"
    """(method of the evidence)"""
    WITHDRAWAL = "withdrawal"
    """(state)"""
    RECEIPT = "receipt"
    """Receipts for packages and recalls (result)."""
    REJECTED_ROW = "rejected_row"
    """Remarks of receipts upon single rows, on the receipt's day."""
    RECALL = "recall"
    """(reason)"""
    ERASURE = "erasure"
    REVIEW = "review"
    """Looks of people (act)."""
    CONTROL = "control"
    """(act)"""
    POLICY = "policy"


_OTHERS = (
    What.CONSENT, What.WITHDRAWAL, What.RECEIPT, What.REJECTED_ROW, What.RECALL, What.ERASURE, What.REVIEW,
    What.CONTROL, What.POLICY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """Legal days, both included; without end where None."""

    since: date | None = None
    until: date | None = None

    def said(self) -> dict[str, str | int]:
        """What is set, by name."""
        days = {"since": self.since, "until": self.until}
        return {name: day.isoformat() for name, day in days.items() if day is not None}


@dataclass(frozen=True, slots=True)
class Figure:
    """How many; what it was not asked by is empty."""

    n: int
    day: str = ""
    caller: str = ""
    recipient: str = ""
    purpose: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures of a period."""

    period: Period
    by_day: tuple[Figure, ...]
    """By day, recipient and result (`name`: delivered, rejected, not_sent, unknown, open, deny, gap, reused)."""
    flow: tuple[Figure, ...]
    """Intents by caller, purpose and recipient."""
    reasons: tuple[Figure, ...]
    """Refusals by guard (`name`), most first."""
    fields: tuple[Figure, ...]
    """Disclosures by field that left (`name`) and recipient, most first."""
    others: tuple[tuple[What, Figure], ...]
    """Everything else that is counted, by `name`: consents, withdrawals, receipts, recalls, looks, acts."""
    behind: int
    """How many of the last entries are not counted yet: a moment after they are appended they are."""


def counted(connection: Connection, what: What, period: Period, by: Sequence[str], **only: str) -> tuple[Figure, ...]:
    """Sums of one kind `by` columns (day, caller, recipient, purpose, name), most first; of `only` these values.

    Raises ValueError for a column that is none of these.
    """
    if unknown := {*by, *only} - _COLUMNS:
        raise ValueError(f"counts have no {', '.join(sorted(unknown))}")
    days = (str(period.since or date.min), str(period.until or date.max))
    fits = "".join(f" AND {name} = ?" for name in only)
    chosen = "".join(f", {name}" for name in by)
    sql = f"SELECT sum(n){chosen} FROM counts WHERE what = ? AND day >= ? AND day <= ?{fits}"  # noqa: S608 - columns
    sql += f" GROUP BY {chosen[2:]}" if by else ""
    rows = connection.execute(sql, (what.value, *days, *only.values())).all()
    figures = [Figure(int(n), **dict(zip(by, values, strict=True))) for n, *values in rows if n]
    return tuple(sorted(figures, key=lambda each: (-each.n, each.day, each.name, each.recipient)))


def last_days(connection: Connection, what: What, period: Period, by: Sequence[str]) -> dict[tuple[str, ...], date]:
    """The last day of each that is counted, `by` columns as for `counted`."""
    chosen = ", ".join(by)
    days = (str(period.since or date.min), str(period.until or date.max))
    sql = f"SELECT max(day), {chosen} FROM counts WHERE what = ? AND day >= ? AND day <= ? GROUP BY {chosen}"  # noqa: S608
    rows = connection.execute(sql, (what.value, *days)).all()
    return {tuple(values): date.fromisoformat(day) for day, *values in rows}


def overview(connection: Connection, period: Period) -> Overview:
    """All that an overview shows. Raises StoreUnavailable where nobody knows how far the catalogue came."""
    others = [(what, figure) for what in _OTHERS for figure in counted(connection, what, period, ("name",))]
    return Overview(
        period,
        by_day=_by_day(connection, period),
        flow=counted(connection, What.INTENT, period, ("caller", "purpose", "recipient")),
        reasons=counted(connection, What.REASON, period, ("name",)),
        fields=counted(connection, What.FIELD, period, ("name", "recipient")),
        others=tuple(others),
        behind=size_of(connection) - catalogued(connection).size,
    )


def _by_day(connection: Connection, period: Period) -> tuple[Figure, ...]:
    by = ("day", "recipient", "name")
    figures = [*counted(connection, What.RESULT, period, by), *counted(connection, What.REFUSAL, period, by)]
    intents = counted(connection, What.INTENT, period, by[:2])
    still_open = Counter({(each.day, each.recipient): each.n for each in intents})
    for each in figures:
        if each.name not in _REFUSED:
            still_open[each.day, each.recipient] -= each.n
    figures += [Figure(n, day=day, recipient=recipient, name="open") for (day, recipient), n in still_open.items() if n]
    reused = counted(connection, What.REUSED, period, by[:2])
    figures += [replace(each, name="reused") for each in reused]
    return tuple(sorted(figures, key=lambda each: (each.day, each.recipient, each.name)))
