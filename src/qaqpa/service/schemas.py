"""The shapes of answers, as OpenAPI tells them. Requests are the gateway's own models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from qaqpa.model.consent import ConsentTerms
from qaqpa.model.identifiers import Iin, Slug
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.model.vocabulary import Report
from qaqpa.model.words import Day, Flag

Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
ContractNumber = Annotated[str, StringConstraints(pattern=r"^[!-~\u0400-\u04ff]{1,100}$")]
OpenText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""Stands in the ledger in the open: no number of a person in it."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GuardAnswer(_Shape):
    """What one guard said."""

    guard: str
    clause: str
    result: Literal["permit", "deny", "gap"]
    message: str
    instrument: str | None = None
    findings: list[str] = []
    missing: list[str] = []


class DecisionAnswer(_Shape):
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


class Places(_Shape):
    """Indexes of the two entries."""

    intent: int
    outcome: int


class DisclosureAnswer(_Shape):
    """A disclosure that was delivered, with its report."""

    disclosure: str
    decision: DecisionAnswer
    sent: list[str]
    withheld: list[str]
    report: Report
    cut: list[str]
    reused: bool
    ledger: Places


class AwaitingAnswer(_Shape):
    """A disclosure that was sent and whose recipient answers later: ask for it at its address."""

    disclosure: str
    status: Literal["awaiting"]


class ConsentAnswer(_Shape):
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


class WithdrawalRequest(_Shape):
    """A withdrawal (7.1(3))."""

    duties_met: Flag
    """Whether every duty under the contract is met; until then the withdrawal is pending."""


class SearchRequest(_Shape):
    """Which entries; all that are given must fit. An IIN stands here and never in an address."""

    iin: Iin | None = None
    recipient: Slug | None = None
    caller: Slug | None = None
    kind: Slug | None = None
    before: Annotated[int, Field(strict=True, ge=0, lt=2**53)] | None = None
    """Only indexes below this one: the way to the next page."""
    count: Annotated[int, Field(strict=True, ge=1, le=500)] = 50


class HandoverQuery(_Shape):
    """What is ordered with a register: names of the configuration, and choices."""

    recipient: Slug
    operation: Slug
    purpose: Slug
    strict: Literal["true", "false"] = "false"
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class CountQuery(_Shape):
    """How many of a list."""

    count: Annotated[int, Field(ge=1, le=1_000)] | None = None


class PageQuery(CountQuery):
    """Which part of a list."""

    after: Annotated[int, Field(ge=0, lt=2**31)] = 0


HandoverWord = Literal[
    "queued", "deciding", "packaged", "sending", "sent", "acknowledged", "rejected", "unknown", "cancelled"
]
RowWord = Literal["permit", "deny", "gap", "malformed", "duplicate", "suppressed", "rejected"]


class BriefHandover(_Shape):
    """A handover in a list."""

    handover: str
    state: HandoverWord
    caller: str
    recipient: str
    operation: str
    purpose: str
    since: Moment
    changed: Moment


class PaceAnswer(_Shape):
    """How far it has come in what it does now; bytes are of the register, or of the package once it is being sent."""

    rows: int
    bytes: int
    of_bytes: int
    rows_per_s: float | None
    bytes_per_s: float | None
    eta_s: float | None
    """Until this state is over; null where that cannot be told."""


class DocumentAnswer(_Shape):
    """A document that goes along."""

    kind: str
    type: str
    bytes: int


class PackageAnswer(_Shape):
    """What is sent."""

    name: str
    rows: int
    bytes: int
    sha256: Hash
    key: str
    """Of the recipient's, to which it is sealed."""
    manifest_sha256: Hash


class AlikeAnswer(_Shape):
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


class ReceiptAnswer(_Shape):
    """What the recipient acknowledged."""

    result: Literal["accepted", "partial", "rejected"]
    rejected: int
    signed: bool
    destruction_due: str | None


class WaitsAnswer(_Shape):
    """Why it does not go on now; it is tried again."""

    code: str
    failed: int
    """Times in a row."""


class HandoverAnswer(BriefHandover):
    """A handover as it stands."""

    strict: bool
    priority: int
    code: str | None
    progress: PaceAnswer
    rows: dict[RowWord, int]
    documents: list[DocumentAnswer]
    package: PackageAnswer | None
    alike: AlikeAnswer | None
    receipt: ReceiptAnswer | None
    waits: WaitsAnswer | None
    held_up_by: int | None
    problems: list[str]


class HandoversAnswer(_Shape):
    """The newest first."""

    handovers: list[BriefHandover]


class RowReason(_Shape):
    """One reason why a row stayed behind."""

    code: str
    message: str
    clause: str | None = None
    column: str | None = None
    """Its heading in the register."""
    missing: list[str] = []
    """Paths of the facts or fields that a decision waits for."""


class RowAnswer(_Shape):
    """A row that did not go, or that the recipient rejected."""

    row: int
    """Its line in the register, the heading's being 1."""
    result: RowWord
    reasons: list[RowReason]


class RowsAnswer(_Shape):
    """A page of rows, in their order."""

    rows: list[RowAnswer]
    next_after: int | None
    """`after` of the next page; null on the last one."""


class ReceiptTaken(_Shape):
    """A receipt that was believed."""

    handover: str
    state: Literal["acknowledged", "rejected"]
    result: Literal["accepted", "partial", "rejected"]
    rejected: int


class EntryAnswer(_Shape):
    """One entry: its body as it is hashed, and what it says."""

    index: int
    leaf: Hash
    entry: dict[str, Any]


class EntriesAnswer(_Shape):
    """A page of entries, the latest first."""

    entries: list[EntryAnswer]
    next_before: int | None
    """`before` of the next page; null on the last one."""


class ErasureRequest(_Shape):
    """A person whose key is to be deleted (7.1(3))."""

    iin: Iin
    person: OpenText
    reason: OpenText
    duties_met: Flag
    instrument: OpenText | None = None


class ErasureAnswer(_Shape):
    """Pending until the keys of `epoch` are destroyed (`qaqpa keys rotate`)."""

    subject: str
    entry: int
    state: Literal["pending"]
    epoch: int


class AliveAnswer(_Shape):
    """This process answers."""

    alive: Literal[True]


class RecallConfirmation(_Shape):
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


class RecallReceiptAnswer(_Shape):
    """What the recipient said of it."""

    result: Literal["accepted", "destroyed", "partial", "rejected"]
    signed: bool
    code: str | None


class RecallAnswer(_Shape):
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


class RecallsAnswer(_Shape):
    """Recalls that are neither confirmed nor cancelled, the most urgent first."""

    recalls: list[RecallAnswer]


class ReadyAnswer(_Shape):
    """Whether this gate can serve, and what is wrong."""

    ready: bool
    checks: dict[str, str]
