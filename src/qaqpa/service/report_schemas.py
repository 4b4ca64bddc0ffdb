"""The shapes of a subject report, as OpenAPI tells them; `qaqpa.report.plain` makes it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from qaqpa.model.consent import ConsentStatus, EvidenceMethod
from qaqpa.model.identifiers import Iin
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.model.words import Ground, Language
from qaqpa.report.subject import Came, FactsFrom
from qaqpa.service.schemas import Hash, Id, Moment


class Shape(BaseModel):
    """Nothing but what it says."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SubjectReportRequest(Shape):
    """Whom it is about. An IIN stands here and never in an address."""

    iin: Iin


class OperatorTold(Shape):
    """Who answers for it."""

    name: str
    bin: str


class CheckpointTold(Shape):
    """The last signed root."""

    origin: str
    size: int
    root: Hash
    at: Moment


class DrawnTold(Shape):
    """When it was drawn, over how many entries."""

    at: Moment
    entries: int
    policy: str | None
    checkpoint: CheckpointTold | None


class EvidenceTold(Shape):
    """How a consent was given."""

    method: EvidenceMethod | None
    reference: str | None


class ConsentTold(Shape):
    """A consent, whatever became of it."""

    consent: str
    status: ConsentStatus
    given_at: Moment
    expires_at: Moment | None
    withdrawal_asked_at: Moment | None
    withdrawn_at: Moment | None
    purposes: list[str]
    third_parties: list[str]
    """Recipients, or kinds of recipient."""
    fields: list[str]
    cross_border: bool
    publication: bool
    policy: str
    evidence: EvidenceTold
    contract: str | None


class FormTold(Shape):
    """What disclosures that were alike have in common."""

    caller: str
    ground: Ground | None
    clauses: list[str]
    fields: list[str]
    withheld: list[str]
    facts: FactsFrom | None


class SingleTold(Shape):
    """One disclosure."""

    disclosure: str
    entry: int
    at: Moment
    form: int
    """Number of its form, from 0."""
    result: Came
    code: str | None
    returned: list[str]
    policy: str | None
    consent: str | None
    handover: str | None
    turned_back: bool
    kept_until: str | None


class _AskedTold(Shape):
    recipient: str
    operation: str
    purpose: str
    count: int
    first: Moment
    last: Moment


class DisclosuresTold(_AskedTold):
    """Disclosures to one recipient by one operation for one purpose; the latest are listed."""

    results: dict[Came, int]
    forms: list[FormTold]
    singles: list[SingleTold]
    unlisted: int


class ReasonTold(Shape):
    """Why a transfer was refused."""

    guard: str
    clause: str
    result: Literal["deny", "gap"]
    expects: str | None
    instrument: str | None


class RefusalsTold(_AskedTold):
    """Transfers refused for the same reasons: nothing left."""

    caller: str
    reasons: list[ReasonTold]


class ReusesTold(_AskedTold):
    """Earlier reports that served again: nothing left."""

    caller: str
    disclosures: list[str]


class RecallTold(Shape):
    """A recipient was asked to destroy."""

    recall: Id
    of: Id
    scope: RecallScope
    recipient: str
    reason: RecallReason
    state: RecallState
    asked_at: Moment
    changed_at: Moment
    due_on: str


class HeldTold(Shape):
    """What this gate keeps beside the ledger, sealed under the person's key."""

    answers: int
    answers_until: Moment | None
    evidence: int
    awaited: int


class ErasureTold(Shape):
    """The person was erased."""

    at: Moment
    entry: int
    in_effect: bool
    instrument: str | None


class MovedTold(Shape):
    """A month in a file that holds entries about the person, or may."""

    month: str
    file: str


class RecipientTold(Shape):
    """Who received something; null where the configuration does not say."""

    name: str | None
    kind: str | None
    bin: str | None
    country: str | None
    address: str | None


class CallerTold(Shape):
    """Who asked."""

    name: str | None
    kind: Literal["service", "person"] | None


class NamesTold(Shape):
    """What the names of the report say in its language."""

    recipients: dict[str, RecipientTold]
    kinds: dict[str, str]
    callers: dict[str, CallerTold]
    purposes: dict[str, str | None]
    """The clause of each."""
    clauses: dict[str, str | None]
    operations: dict[str, str]
    fields: dict[str, str]


class SubjectReportAnswer(Shape):
    """Everything that the ledger knows about one person."""

    format: Literal[1]
    language: Language
    operator: OperatorTold
    drawn: DrawnTold
    about: str | None
    subject: str | None
    empty: bool
    consents: list[ConsentTold]
    disclosures: list[DisclosuresTold]
    refusals: list[RefusalsTold]
    reuses: list[ReusesTold]
    recalls: list[RecallTold]
    held: HeldTold
    erasure: ErasureTold | None
    moved: list[MovedTold]
    rights: list[str]
    names: NamesTold
