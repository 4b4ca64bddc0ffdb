"""The values that travel through the flow, in the order in which one is made from another.

`Extract` (by minimise) → `Message` (by an adapter) → `Intent` (by the ledger, from a permitting decision)
→ `Sealed` (by seal, from an intent) → `Reply` (by transport) → `Report` (by the adapter). An `Intent`
cannot be made from a decision that does not permit, and transport takes nothing but a `Sealed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from qaqpa.model.consent import KdpToken
from qaqpa.model.decision import Decision
from qaqpa.model.identifiers import DisclosureId, SubjectId
from qaqpa.model.recall import Recall
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import OutcomeResult, SealKind

Json = Any
"""str, int, bool, None, and lists and mappings of them; money and dates are strings."""


@dataclass(frozen=True, slots=True)
class Extract:
    """The minimised data: what the route's clause allows and nothing else (policy 3.2)."""

    data: Mapping[str, Json] = field(repr=False)
    """Nested groups of the vocabulary."""
    fields: tuple[FieldPath, ...]
    """Paths that are in it, sorted."""
    withheld: tuple[FieldPath, ...]
    """Paths that the caller handed in and the route does not pass, sorted."""
    consent_confirmed: bool
    """A covering consent was found and checked for this very disclosure; never a constant."""
    kdp: KdpToken | None = field(default=None, repr=False)
    """The covering consent's КДП token: only where the route passes it, to an operation that declares it."""

    def get(self, path: str) -> Json:
        """The value at a dotted path, None when absent."""
        node: Json = self.data
        for part in path.split("."):
            # A plain dictionary first: `isinstance` with an abstract class is slow, and rows come in millions.
            node = node.get(part) if type(node) is dict or isinstance(node, Mapping) else None
        return node


@dataclass(frozen=True, slots=True)
class Exchange:
    """What names one exchange, for formats that number and date their messages; both stand in the ledger too."""

    id: DisclosureId
    at: datetime
    """UTC."""
    recall: Recall | None = None
    """What is recalled, where the operation recalls."""


@dataclass(frozen=True, slots=True)
class Message:
    """One exchange in the third party's own format. `endpoint` is a name that the recipient's channel maps to a URL."""

    body: bytes = field(repr=False)
    content_type: str
    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Intent:
    """A disclosure that is durable in the ledger and may now be sent, once."""

    id: DisclosureId
    index: int
    subject: SubjectId
    decision: Decision
    message: Message
    is_follow_up: bool = False
    """The message is a later one of the dialogue, which no message before it stands for."""

    def __post_init__(self) -> None:
        if not self.decision.permits:
            raise TypeError("an intent is made only from a permitting decision")

    def following(self, message: Message) -> Intent:
        """This intent with a later message of the same dialogue: a question for the answer, which holds no data."""
        return replace(self, message=message, is_follow_up=True)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What may go on the wire: made by seal from an intent, and from nothing else."""

    intent: Intent
    kind: SealKind
    body: bytes = field(repr=False)
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    idempotent: bool = False
    """The adapter declares that the third party treats a repeated message as one."""

    def __post_init__(self) -> None:
        if not isinstance(self.intent, Intent):
            raise TypeError("what is sealed is made only from an intent")


@dataclass(frozen=True, slots=True)
class Reply:
    """The third party's answer, whole, within the size allowed."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What the answer says, in our vocabulary."""

    data: Mapping[str, Json] = field(repr=False)
    """What stands under `report` of the vocabulary."""
    about: str | None = field(default=None, repr=False)
    """IIN that the answer is about, where the format tells; the flow compares it with the one asked."""
    reference: str | None = field(default=None, repr=False)
    """The third party's own number of the exchange, kept sealed in the ledger."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a disclosure ended."""

    result: OutcomeResult
    code: str
    """`ok`, or the code of the error that the caller gets."""
    reply: Reply | None = None
    reference: str | None = field(default=None, repr=False)
    their_code: str | None = None
    returned: tuple[FieldPath, ...] = ()
    cut: tuple[FieldPath, ...] = ()
    """Paths that came back and the route does not return."""
    keeps_answer: bool = False
    """The answer is evidence: its bytes are kept, sealed, with the entry."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What the caller gets. It holds nothing of what was sent but names, so it can be kept and given again."""

    id: DisclosureId
    decision: Decision
    sent: tuple[FieldPath, ...]
    """Fields that left, sorted."""
    withheld: tuple[FieldPath, ...]
    """Fields that the caller handed in and the route does not pass, sorted."""
    report: Mapping[str, Json] = field(repr=False)
    returned: tuple[FieldPath, ...]
    cut: tuple[FieldPath, ...]
    """Fields that came back and the route does not return."""
    intent_index: int
    outcome_index: int
    """Of the outcome entry; of the `reused` entry where an earlier report served."""
    wire_ms: float
    """Time from handing the sealed message to transport until the whole answer was there, in milliseconds."""
    reused: bool = False
    """Nothing left: a report that was disclosed before served again."""
