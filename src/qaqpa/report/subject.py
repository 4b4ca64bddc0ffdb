"""The report to one person: what 7.1(1) and 94-V art. 24 give them to know, as one frozen value.

Codes and names, no text: `qaqpa.report.telling` says it in a language. Names of fields, never their values: the ledger
does not hold those.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from qaqpa.model.consent import ConsentStatus, EvidenceMethod
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.model.words import Ground, Words
from qaqpa.report.named import Asker, Clause, Drawn, Operator, Party, Purpose


class FactsFrom(StrEnum):
    """Whence the facts of the contract came on which a decision rested."""

    STATED = "stated"
    """The caller stated them."""
    RECORD = "record"
    """The organisation's own system of record."""


class Came(StrEnum):
    """What came of a disclosure; the first four as `OutcomeResult` has them."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"
    UNDER_WAY = "under_way"
    """It has no outcome yet."""
    IN_FILE = "in_file"
    """It has one, whose month was moved to a file: something may have left."""


@dataclass(frozen=True, slots=True)
class ConsentTold:
    """A consent on record (94-V art. 8(4)), whatever became of it."""

    id: str
    status: ConsentStatus
    given_at: datetime
    expires_at: datetime | None
    withdrawal_asked_at: datetime | None
    withdrawn_at: datetime | None
    purposes: tuple[Purpose, ...]
    third_parties: tuple[Party | str, ...]
    """Recipients by name, or a kind of recipient."""
    fields: tuple[str, ...]
    """Paths of the vocabulary, or groups of it."""
    cross_border: bool
    publication: bool
    policy: str
    """Version of the policy that was accepted."""
    method: EvidenceMethod | None
    reference: str | None
    """By which the organisation finds the evidence; None where it lies sealed in a file or was erased."""
    contract: str | None
    """Number of the contract whose duties hold a withdrawal back (7.1(3))."""


@dataclass(frozen=True, slots=True)
class Form:
    """What disclosures have in common that were alike: who asked, on which ground, which fields left."""

    caller: Asker
    ground: Ground | None
    ground_clause: Clause | None
    clauses: tuple[Clause, ...]
    fields: tuple[str, ...]
    withheld: tuple[str, ...]
    facts: FactsFrom | None
    """None where no fact of the contract counted, or nobody can read it any more."""


@dataclass(frozen=True, slots=True)
class Single:
    """One disclosure."""

    id: str
    index: int
    """Of its intent in the ledger."""
    at: datetime
    form: int
    """Number of its form among those of its group."""
    result: Came
    code: str | None
    returned: tuple[str, ...]
    """Fields that came back, and went to whoever asked."""
    policy: str | None
    consent: str | None
    handover: str | None
    """The package that it was part of."""
    turned_back: bool
    """The recipient took the package and rejected this row."""
    kept_until: date | None
    """The day by which the recipient must have destroyed it; None where no term is agreed or nothing left."""


@dataclass(frozen=True, slots=True)
class Disclosures:
    """Disclosures to one recipient by one operation for one purpose."""

    recipient: Party
    operation: str
    purpose: Purpose
    count: int
    first: datetime
    last: datetime
    results: tuple[tuple[Came, int], ...]
    """How often each occurs."""
    forms: tuple[Form, ...]
    singles: tuple[Single, ...]
    """The latest LISTED at most, the latest first."""

    @property
    def unlisted(self) -> int:
        """Earlier ones, which are counted alone."""
        return self.count - len(self.singles)

    @property
    def left(self) -> int:
        """Those of which something left, or may have."""
        return self.count - dict(self.results).get(Came.NOT_SENT, 0)


@dataclass(frozen=True, slots=True)
class Why:
    """One reason of a refusal."""

    guard: str
    clause: Clause
    is_gap: bool
    """Something was missing; else it was forbidden."""
    expects: Words | None
    """What should have held; None for law's own conditions, of which the clause tells."""
    instrument: str | None


@dataclass(frozen=True, slots=True)
class Refusals:
    """Transfers that were asked for and refused for the same reasons: nothing left."""

    recipient: Party
    operation: str
    purpose: Purpose
    caller: Asker
    why: tuple[Why, ...]
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Reuses:
    """Reports of earlier disclosures that served again: nothing left."""

    recipient: Party
    operation: str
    purpose: Purpose
    caller: Asker
    count: int
    first: datetime
    last: datetime
    disclosures: tuple[str, ...]
    """Whose reports they were; the latest LISTED at most."""


@dataclass(frozen=True, slots=True)
class RecallTold:
    """A recipient was asked to stop and destroy (5.5)."""

    id: str
    of: str
    """The disclosure, or the package that it was part of."""
    scope: RecallScope
    recipient: Party
    reason: RecallReason
    state: RecallState
    asked_at: datetime
    changed_at: datetime
    due_on: date


@dataclass(frozen=True, slots=True)
class Held:
    """What of the person this gate itself keeps beside the ledger, sealed under their key."""

    answers: int = 0
    """Answers of recipients, kept for whoever asked."""
    answers_until: datetime | None = None
    """When the last of them goes."""
    evidence: int = 0
    """Signed answers, kept as evidence."""
    awaited: int = 0
    """Disclosures whose answer is still to come."""


@dataclass(frozen=True, slots=True)
class ErasureTold:
    """The person was erased (7.1(3))."""

    at: datetime
    index: int
    in_effect: bool
    """False until the keys are rotated: back-ups still hold theirs."""
    instrument: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A month whose entries were moved to a file, where there are, or may be, some about the person."""

    month: date
    """Its first day."""
    file: str


@dataclass(frozen=True, slots=True)
class SubjectReport:
    """Everything that the ledger knows about one person, and nothing about anybody else."""

    operator: Operator
    drawn: Drawn
    about: str | None
    """Of whom it was asked: an IIN all but hidden, as the one who asked gave it; None where a subject was."""
    subject: str | None
    """The random id under which the entries stand; None where nobody is known."""
    consents: tuple[ConsentTold, ...] = ()
    disclosures: tuple[Disclosures, ...] = ()
    refusals: tuple[Refusals, ...] = ()
    reuses: tuple[Reuses, ...] = ()
    recalls: tuple[RecallTold, ...] = ()
    held: Held = Held()
    erasure: ErasureTold | None = None
    moved: tuple[Moved, ...] = ()
    rights: tuple[Clause, ...] = ()
    """What the policy says that a person may ask for (7.1)."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        told = (self.consents, self.disclosures, self.refusals, self.reuses, self.recalls, self.moved)
        return not any(told) and self.held == Held() and self.erasure is None
