"""The shapes of answers, as OpenAPI tells them. Requests are the gateway's own models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from qaqpa.model.consent import ConsentTerms
from qaqpa.model.identifiers import OUR_ID, Iin, Slug
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.model.vocabulary import Report
from qaqpa.model.words import Day, Flag

Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[str, StringConstraints(pattern=f"^{OUR_ID}$")]
ContractNumber = Annotated[str, StringConstraints(pattern=r"^[!-~\u0400-\u04ff]{1,100}$")]
OpenText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""Stands in the ledger in the open: no number of a person in it."""


class Shape(BaseModel):
    """Of a request or an answer: just its fields, and as they were made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GuardAnswer(Shape):
    """What one guard said."""

    guard: str
    clause: str
    result: Literal["permit", "deny", "gap"]
    message: str
    instrument: str | None = None
    findings: list[str] = []
    missing: list[str] = []


class DecisionAnswer(Shape):
    """A decision with every guard's result."""

    result: Literal["permit", "deny", "gap"]
    at: Moment
    caller: str
    recipient: str
    operation: str
    purpose: str
    policy: str | None
    ground: Literal["consent", "service", "legal_protection"] | None
    clauses: list[str]
    fields: list[str]
    consent: str | None
    guards: list[GuardAnswer]
    reasons: list[GuardAnswer]
    notes: list[GuardAnswer]


class Places(Shape):
    """Indexes of the two entries."""

    intent: int
    outcome: int


class DisclosureAnswer(Shape):
    """A disclosure that was delivered, with its report."""

    disclosure: str
    decision: DecisionAnswer
    sent: list[str]
    withheld: list[str]
    report: Report
    cut: list[str]
    reused: bool
    ledger: Places


class AwaitingAnswer(Shape):
    """A disclosure that was sent and whose recipient answers later: ask for it at its address."""

    disclosure: str
    status: Literal["awaiting"]


class ConsentAnswer(Shape):
    """A consent on record; who gave it is not said."""

    consent: str
    status: Literal["active", "expired", "withdrawal_pending", "withdrawn"]
    terms: ConsentTerms
    withdrawal_asked_at: Moment | None
    withdrawn_at: Moment | None


class Problem(BaseModel):
    """Why a request was not done (RFC 9457)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    title: str
    status: int
    detail: str
    code: str
    disclosure: str | None = None
    refusal: str | None = None
    decision: DecisionAnswer | None = None
    reasons: list[GuardAnswer] = []
    problems: list[str] = []
    their_code: str | None = None


class WithdrawalRequest(Shape):
    """A withdrawal (7.1(3))."""

    duties_met: Flag
    """Whether every duty under the contract is met; until then the withdrawal is pending."""


class HandoverQuery(Shape):
    """What is ordered with a register: names of the configuration, and choices."""

    recipient: Slug
    operation: Slug
    purpose: Slug
    strict: Literal["true", "false"] = "false"
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    follows: Id | None = None


class CountQuery(Shape):
    """How many of a list."""

    count: Annotated[int, Field(ge=1, le=1_000)] | None = None


class PageQuery(CountQuery):
    """Which part of a list."""

    after: Annotated[int, Field(ge=0, lt=2**31)] = 0


HandoverWord = Literal[
    "queued", "deciding", "packaged", "sending", "sent", "acknowledged", "rejected", "unknown", "cancelled"
]
RowWord = Literal["permit", "deny", "gap", "malformed", "duplicate", "suppressed", "rejected"]


class BriefHandover(Shape):
    """A handover in a list."""

    handover: str
    state: HandoverWord
    caller: str
    recipient: str
    operation: str
    purpose: str
    since: Moment
    changed: Moment


class PaceAnswer(Shape):
    """How far it has come in what it does now; bytes are of the register, or of the package once it is being sent."""

    rows: int
    bytes: int
    of_bytes: int
    rows_per_s: float | None
    bytes_per_s: float | None
    eta_s: float | None
    """Until this state is over; null where that cannot be told."""


class DocumentAnswer(Shape):
    """A document that goes along."""

    kind: str
    type: str
    bytes: int


class PackageAnswer(Shape):
    """What is sent."""

    name: str
    rows: int
    bytes: int
    sha256: Hash
    key: str
    """Of the recipient's, to which it is sealed."""
    manifest_sha256: Hash


class AlikeAnswer(Shape):
    """How alike de-identified rows are (k-anonymity), before and after they were made coarser."""

    rows: int
    k_wanted: int
    steps_for_all: int
    k_before: int
    k_after: int
    classes_before: int
    classes_after: int
    generalised: int
    suppressed: int


class ReceiptAnswer(Shape):
    """What the recipient acknowledged."""

    result: Literal["accepted", "partial", "rejected"]
    rejected: int
    signed: bool
    destruction_due: str | None


class WaitsAnswer(Shape):
    """Why it does not go on now; it is tried again."""

    code: str
    failed: int
    """Times in a row."""


class ReportAnswer(Shape):
    """The change of creditor, as one bureau is told of it; reported once `state` is acknowledged."""

    recipient: str
    handover: str | None
    """That tells it, where one was handed in."""
    state: HandoverWord | None
    contracts: int | None


class HandoverAnswer(BriefHandover):
    """A handover as it stands."""

    strict: bool
    priority: int
    code: str | None
    progress: PaceAnswer
    rows: dict[RowWord, int]
    documents: list[DocumentAnswer]
    package: PackageAnswer | None
    batch: str | None
    """What a bureau calls it; null before it took the document, and of a handover that goes as a package."""
    alike: AlikeAnswer | None
    receipt: ReceiptAnswer | None
    waits: WaitsAnswer | None
    held_up_by: int | None
    problems: list[str]
    follows: str | None
    """The assignment whose change of creditor it reports to a bureau."""
    reports: list[ReportAnswer]
    """Of an assignment that left: what each bureau is to be told of it."""


class HandoversAnswer(Shape):
    """The newest first."""

    handovers: list[BriefHandover]


class RowReason(Shape):
    """One reason why a row stayed behind."""

    code: str
    message: str
    clause: str | None = None
    column: str | None = None
    """Its heading in the register."""
    missing: list[str] = []
    """Paths of the facts or fields that a decision waits for."""


class RowAnswer(Shape):
    """A row that did not go, or that the recipient rejected."""

    row: int
    """Its line in the register, the heading's being 1."""
    result: RowWord
    reasons: list[RowReason]


class RowsAnswer(Shape):
    """A page of rows, in their order."""

    rows: list[RowAnswer]
    next_after: int | None
    """`after` of the next page; null on the last one."""


class ReceiptTaken(Shape):
    """A receipt that was believed."""

    handover: str
    state: Literal["acknowledged", "rejected"]
    result: Literal["accepted", "partial", "rejected"]
    rejected: int


class ErasureRequest(Shape):
    """A person whose key is to be deleted (7.1(3))."""

    iin: Iin
    person: OpenText
    reason: OpenText
    duties_met: Flag
    instrument: OpenText | None = None


class ErasureAnswer(Shape):
    """Pending until the keys of `epoch` are destroyed (`qaqpa keys rotate`)."""

    subject: str
    entry: int
    state: Literal["pending"]
    epoch: int


class AliveAnswer(Shape):
    """This process answers."""

    alive: Literal[True]


class RecallConfirmation(Shape):
    """Who lets a recall go, and what its notice needs."""

    person: OpenText
    due_on: Day | None = None
    """Last day for destroying; else as the recipient's configuration says."""
    contract: ContractNumber | None = None
    """Only where the recipient must be told it (`way` is `message`); kept sealed until the notice has left."""
    by_letter: Flag = False
    """The recipient was written to by you; only the books are kept here."""


class RecallRequest(RecallConfirmation):
    """What is asked back, and why."""

    of: Id
    """A disclosure, a row of a handover, or a whole handover."""
    reason: RecallReason


class RecallReceiptAnswer(Shape):
    """What the recipient said of it."""

    result: Literal["accepted", "destroyed", "partial", "rejected"]
    signed: bool
    code: str | None


class RecallAnswer(Shape):
    """A recall as it stands; nothing of what was disclosed is said."""

    recall: Id
    of: Id
    scope: RecallScope
    handover: Id | None
    recipient: str
    reason: RecallReason
    state: RecallState
    way: Literal["package", "message", "letter"]
    due_on: str
    since: Moment
    changed: Moment
    asked_by: str | None
    person: str | None
    code: str | None
    notice: Id | None
    disclosures: int | None
    receipt: RecallReceiptAnswer | None


class RecallsAnswer(Shape):
    """Recalls that are neither confirmed nor cancelled, the most urgent first."""

    recalls: list[RecallAnswer]


class ReadyAnswer(Shape):
    """Whether this gate can serve, and what is wrong."""

    ready: bool
    checks: dict[str, str]
