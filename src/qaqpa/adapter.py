"""The contract of an adapter: a codec between our vocabulary and one third party's format, without I/O.

An adapter declares its operations, turns an extract into a message and a reply into a report. It never sees more
than the extract and opens no connection; where its format wants signatures inside, a `Signer` is handed to it. It is
found through the entry-point group `qaqpa.adapters`, made with the `[settings]` of its recipient, and held to the
contract test-suite in `qaqpa.testing.contract`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from qaqpa.errors import Rejected
from qaqpa.model.batch import BatchStatus
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa.model.vocabulary import VOCABULARY, FieldPath

GROUP = "qaqpa.adapters"


@dataclass(frozen=True, slots=True)
class Operation:
    """What an adapter can ask of its third party."""

    name: str
    endpoint: str
    """Name of the address that the recipient's channel must give."""
    needs: frozenset[FieldPath]
    """Fields without which the message cannot be made."""
    uses: frozenset[FieldPath]
    """Fields that it can carry; a superset of `needs`. A route may pass no other (3.2: nothing excessive)."""
    returns: frozenset[FieldPath]
    """Fields of `report` that an answer may hold."""
    idempotent: bool
    """The third party treats a repeated message as one: only then may a message that perhaps left be sent again."""
    signed: bool = False
    """Its messages are signed and the signatures of its answers are checked: the adapter is a `SigningAdapter`."""
    kdp: bool = False
    """Its messages can carry the consent's КДП token (94-V art. 8(1)); a route decides whether they do."""
    keeps_answer: bool = False
    """The answer's bytes are evidence (a signed statement of the third party's) and are kept, sealed."""
    later_endpoint: str | None = None
    """Name of the address where its answer comes later, if the recipient's settings say so: the adapter is then a
    `LaterAdapter`. None where every answer comes at once."""
    package: bool = False
    """It may go as a row of a package; the layout of the register is the recipient's configuration."""
    package_only: bool = False
    """It goes as a row of a package and never alone: `encode` refuses it. Only so can a field be a pseudonym, because
    the key for that is the package's."""
    deidentified: bool = False
    """Its rows are to be nobody's: a route must say how alike they are, and can pass no name. Only in packages."""
    recalls: bool = False
    """It asks the third party to stop and destroy, and discloses nothing new: `encode` finds what is recalled in the
    exchange (`Exchange.recall`)."""
    batch: bool = False
    """It goes as one document of many rows, and never for one person alone: the adapter is a `BatchAdapter`."""

    def __post_init__(self) -> None:
        if (self.package_only and not self.package) or (self.deidentified and not self.package_only):
            raise TypeError(
                f"operation {self.name}: what goes in packages only goes in a package, as do rows of nobody"
            )
        unknown = (self.needs | self.uses | self.returns) - VOCABULARY.keys()
        if unknown or not self.needs <= self.uses:
            raise TypeError(f"operation {self.name}: not in the vocabulary, or needed but not used: {sorted(unknown)}")


class Adapter(Protocol):
    """One third party's format."""

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    """What `[settings]` of a recipient that uses it must hold; unknown keys are refused."""
    operations: ClassVar[Mapping[str, Operation]]

    def __init__(self, settings: Any) -> None:
        """`settings` is an instance of `Settings`, its secrets resolved."""

    def encode(self, operation: str, extract: Extract, exchange: Exchange, /) -> Message:
        """The message for `operation`; pure, so the same exchange gives the same message.

        Raises InvalidRequest when a value cannot be written in their format.
        """

    def decode(self, operation: str, reply: Reply, exchange: Exchange, /) -> Report:
        """What the reply says; `exchange` is the one that the message was encoded with.

        Raises Rejected (or a kind of it) or AnswerUnreadable; never anything else. Where the format says which request
        is answered, an answer to another one is WrongExchange, a kind of AnswerUnreadable: an old answer, however well
        signed, must not pass for one to this request. A Rejected made of a server error (HTTP 5xx) counts as an answer,
        anything else made of one as a failure of the third party.
        """


class SignedPart(StrEnum):
    """Which part of a document a signature is over."""

    ROOT = "root"
    """XMLDSig enveloped in the document's root, over the whole document."""
    BODY = "body"
    """WS-Security in the header of a SOAP 1.1 envelope, over its body."""


class Signer(Protocol):
    """Signs with the operator's key and verifies against pinned certificates; where the key lives is its own affair."""

    async def enveloped(self, xml: bytes) -> bytes:
        """The document with a signature as the last child of its root. Raises SigningFailed."""

    async def wsse(self, soap: bytes) -> bytes:
        """The SOAP 1.1 envelope with a WS-Security signature over its body. Raises SigningFailed."""

    async def verify(self, xml: bytes, part: SignedPart) -> None:
        """Returns when one pinned certificate signed all of that part, which is then the only one of its kind.

        Raises SignatureRefused for anything else, and Unsettled when it cannot be found out.
        """


@runtime_checkable
class SigningAdapter(Protocol):
    """What an adapter with signed operations has beside the rest; the signer's connections are none of its own."""

    async def sign(self, operation: str, message: Message, signer: Signer) -> Message:
        """What `encode` made, signed as their format wants it. Raises SigningFailed."""

    async def check(self, operation: str, reply: Reply, signer: Signer, exchange: Exchange, /) -> None:
        """Returns when what `decode` reads of the reply is signed by the third party, or the reply is a refusal.

        `exchange` as for `decode`. Raises what `decode` raises, SignatureRefused and Unsettled.
        """


class Step(StrEnum):
    """A step of a dialogue whose answer comes later."""

    REQUEST = "request"
    """The disclosure itself: what `encode` writes. Its reply says only that it was taken."""
    FETCH = "fetch"
    """Is the answer there?"""
    STATUS = "status"
    """What became of the request?"""
    CONFIRM = "confirm"
    """The answer came."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a third party replied to a step. With none of these it said nothing new, and is asked again."""

    answer: Reply | None = None
    """This exchange's own answer, and nothing of anybody else's: what `check` and `decode` take."""
    receipts: tuple[str, ...] = ()
    """The third party's ids of it, by which it is confirmed."""
    refused: Rejected | None = None
    """The request was refused or given up for good: no answer will come."""


@runtime_checkable
class LaterAdapter(Protocol):
    """What an adapter has beside the rest where an answer may come later. Pure, like the rest."""

    def later(self, operation: str) -> bool:
        """Whether, with these settings, the answer to `operation` comes later."""

    def follow_up(self, operation: str, step: Step, exchange: Exchange, receipt: str = "") -> Message:
        """The message of a step after the first. It is made of ids and times: there is nobody's data to put in it."""

    def hear(self, operation: str, step: Step, reply: Reply, exchange: Exchange) -> Heard:
        """What the reply to a step says. Messages for others that stand in it are left alone.

        Raises Rejected (or a kind of it) or AnswerUnreadable where the step itself failed, which says nothing of the
        request; never anything else.
        """

    async def check_heard(self, operation: str, reply: Reply, signer: Signer) -> None:
        """Returns when the reply in which an answer was heard is signed as a whole, where their format wants that.

        Raises SignatureRefused and Unsettled.
        """


class BatchRows(Protocol):
    """Which row of the caller's a remark of theirs is about. What it is made of is the caller's own affair."""

    def at(self, position: int) -> int | None:
        """The row that stands at this position of the document, the first being 1; None when none does."""

    def known_as(self, code: str) -> int | None:
        """The row that has this among its `batch_codes`; None when none has. It is personal: looked up, not kept."""


@runtime_checkable
class BatchAdapter(Protocol):
    """What an adapter has beside the rest for operations that go as a batch. Pure, like the rest.

    The document is head, rows and tail, one after the other. Nothing that is raised here says a value.
    """

    def batch_limit(self, operation: str) -> int:
        """The most rows that one document may hold; a longer register goes as several batches."""

    def batch_head(self, operation: str, exchange: Exchange) -> bytes:
        """How the document begins. Raises NotConfigured where the third party's own papers are not in the settings."""

    def batch_row(self, operation: str, row: int, extract: Extract, exchange: Exchange) -> bytes:
        """One row of the document; `row` is the caller's number of it and stands in no more than errors.

        Raises InvalidRequest, which names the row and the field, when a value is missing or cannot be written.
        """

    def batch_codes(self, operation: str, extract: Extract) -> tuple[str, ...]:
        """What they may call this row in remarks: a contract's code, its number. Personal. Raises InvalidRequest."""

    def batch_tail(self, operation: str) -> bytes:
        """How the document ends."""

    def upload(self, operation: str, document: bytes, exchange: Exchange) -> Message:
        """The message that hands the whole document over; the same exchange gives the same message.

        The document is held against its schema and its limits first. Raises InvalidRequest, which names the position
        of the row and the element, and NotConfigured.
        """

    def uploaded(self, operation: str, reply: Reply, exchange: Exchange) -> str:
        """Their id of the batch that they took. Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else."""

    def ask_status(self, operation: str, batch: str, exchange: Exchange) -> Message:
        """The question what became of a batch; `batch` is what `uploaded` said, or `more` of the last status."""

    def status(self, operation: str, reply: Reply, batch: str, rows: BatchRows) -> BatchStatus:
        """What they say of the batch; `batch` as it was asked with.

        Raises Rejected (or a kind of it) where they refuse the question, which says nothing of the batch; WrongExchange
        for what they say of another batch; AnswerUnreadable; never anything else.
        """


def signs(adapter: type[Adapter]) -> bool:
    """Whether any of its operations is signed."""
    return any(each.signed for each in adapter.operations.values())


def _answers_later(adapter: type[Adapter]) -> bool:
    return any(each.later_endpoint is not None for each in adapter.operations.values())


def _batches(adapter: type[Adapter]) -> bool:
    return any(each.batch for each in adapter.operations.values())


def operation(
    name: str,
    *,
    endpoint: str,
    needs: Iterable[str],
    uses: Iterable[str] = (),
    returns: Iterable[str] = (),
    idempotent: bool = False,
    signed: bool = False,
    kdp: bool = False,
    keeps_answer: bool = False,
    later_endpoint: str | None = None,
    package: bool = False,
    package_only: bool = False,
    deidentified: bool = False,
    recalls: bool = False,
    batch: bool = False,
) -> Operation:
    """An operation from plain paths; `uses` adds to `needs`."""
    needed = frozenset(FieldPath(path) for path in needs)
    return Operation(
        name=name,
        endpoint=endpoint,
        needs=needed,
        uses=needed | {FieldPath(path) for path in uses},
        returns=frozenset(FieldPath(path) for path in returns),
        idempotent=idempotent,
        signed=signed,
        kdp=kdp,
        keeps_answer=keeps_answer,
        later_endpoint=later_endpoint,
        package=package or package_only or deidentified,
        package_only=package_only or deidentified,
        deidentified=deidentified,
        recalls=recalls,
        batch=batch,
    )


@cache
def installed() -> EntryPoints:
    """Adapters that this process can load. Read once: it is a walk over every installed package."""
    return entry_points(group=GROUP)


def find(names: Iterable[str]) -> tuple[dict[str, type[Adapter]], dict[str, str]]:
    """Adapters by name, and for each name that cannot be used the reason. Only the named ones are loaded."""
    found: dict[str, type[Adapter]] = {}
    failed: dict[str, str] = {}
    for name in sorted(set(names)):
        points = list(installed().select(name=name))
        targets = {point.value for point in points}
        if not points:
            known = ", ".join(sorted({point.name for point in installed()})) or "none"
            failed[name] = f"no adapter of this name is installed (installed: {known})"
        elif len(targets) > 1:
            failed[name] = f"{len(targets)} installed packages offer an adapter of this name; remove one"
        else:
            loaded = points[0].load()
            wanted = ("Settings", "operations", "encode", "decode")
            if getattr(loaded, "name", None) != name or not all(hasattr(loaded, part) for part in wanted):
                failed[name] = f"{points[0].value} is not an adapter named {name} (see qaqpa.adapter)"
            elif signs(loaded) and not issubclass(loaded, SigningAdapter):
                failed[name] = f"{points[0].value} has signed operations and no sign and check (see qaqpa.adapter)"
            elif _answers_later(loaded) and not issubclass(loaded, LaterAdapter):
                failed[name] = f"{points[0].value} has answers that come later and no follow_up (see qaqpa.adapter)"
            elif _batches(loaded) and not issubclass(loaded, BatchAdapter):
                failed[name] = f"{points[0].value} has operations that go as a batch and no upload (see qaqpa.adapter)"
            else:
                found[name] = loaded
    return found, failed
