"""What the gate answers, as callers read it: members that are not known yet are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Json = Any


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # a newer gate may say more


class Reason(_Shape):
    """What one guard said: its name, its clause of the policy, and the sentence for people."""

    guard: str
    clause: str
    result: Literal["permit", "deny", "gap"]
    message: str
    instrument: str | None = None
    findings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class Decision(_Shape):
    """Permit, deny or gap, with every guard."""

    result: Literal["permit", "deny", "gap"]
    at: str
    policy: str | None = None
    ground: str | None = None
    clauses: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    consent: str | None = None
    guards: tuple[Reason, ...] = ()
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Reason, ...] = ()

    @property
    def permits(self) -> bool:
        """Whether data may leave."""
        return self.result == "permit"


class Places(_Shape):
    """Indexes of the two entries of the ledger."""

    intent: int
    outcome: int


class Disclosed(_Shape):
    """A disclosure that was delivered. Money in the report is text, dates are ISO 8601."""

    disclosure: str
    decision: Decision
    sent: tuple[str, ...]
    withheld: tuple[str, ...]
    report: Mapping[str, Json] = Field(repr=False)
    cut: tuple[str, ...]
    reused: bool
    """Nothing left: an earlier report served again."""
    ledger: Places


class Awaited(_Shape):
    """A disclosure whose recipient answers later."""

    disclosure: str
    status: Literal["awaiting"]


class Consent(_Shape):
    """A consent on record; who gave it is not said."""

    consent: str
    status: Literal["active", "expired", "withdrawal_pending", "withdrawn"]
    terms: Mapping[str, Json] = Field(repr=False)
    withdrawal_asked_at: str | None = None
    withdrawn_at: str | None = None


class Progress(_Shape):
    """How far a handover has come in what it does now. Bytes are of the register, or of the package being sent."""

    rows: int
    bytes: int
    of_bytes: int
    rows_per_s: float | None = None
    bytes_per_s: float | None = None
    eta_s: float | None = None


class Handover(_Shape):
    """A handover as it stands."""

    handover: str
    state: str
    """queued, deciding, packaged, sending, sent, acknowledged, rejected, unknown, cancelled."""
    recipient: str
    operation: str
    purpose: str
    code: str | None = None
    """Why it ended."""
    progress: Progress
    rows: Mapping[str, int]
    """By what became of them: permit, deny, gap, malformed, duplicate, suppressed."""
    package: Mapping[str, Json] | None = None
    batch: str | None = None
    """What a bureau calls it; ask them by this."""
    alike: Mapping[str, Json] | None = None
    receipt: Mapping[str, Json] | None = None
    waits: Mapping[str, Json] | None = None
    """Why it does not go on now; it is tried again."""
    held_up_by: int | None = None
    """With `strict`: rows that may not go."""
    problems: tuple[str, ...] = ()
    """Of the register as a whole."""
    follows: str | None = None
    """The assignment whose change of creditor it reports."""
    reports: tuple[Mapping[str, Json], ...] = ()
    """Of an assignment that left: what each bureau is to be told of it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing follows without a person."""
        return self.state in {"acknowledged", "rejected", "unknown", "cancelled"}


class RowReason(_Shape):
    """One reason why a row stayed behind."""

    code: str
    message: str
    clause: str | None = None
    column: str | None = None
    missing: tuple[str, ...] = ()


class HandoverRow(_Shape):
    """A row that did not go, or that the recipient rejected: its line in the register, the heading's being 1."""

    row: int
    result: str
    reasons: tuple[RowReason, ...]


class HandoverRows(_Shape):
    """A page of rows."""

    rows: tuple[HandoverRow, ...]
    next_after: int | None = None
    """None on the last page."""


class Problem(_Shape):
    """RFC 9457, with the gate's own members."""

    code: str
    detail: str = ""
    disclosure: str | None = None
    reasons: tuple[Reason, ...] = ()
    problems: tuple[str, ...] = ()
    their_code: str | None = None
