"""What departments ask for: which register is to be handed over, to whom and why."""

from __future__ import annotations

from dataclasses import dataclass

from qaqpa.handover.manifest import Member
from qaqpa.model.decision import Asked
from qaqpa.model.identifiers import CallerId, RecipientId


@dataclass(frozen=True, slots=True)
class Document:
    """A document that goes with a register."""

    kind: str
    type: str
    """Told from its content: pdf, png, jpeg."""
    bytes: int
    sha256: str

    def member(self, number: int) -> Member:
        """In the package; nothing of the name that it came with."""
        name = f"documents/{number}-{self.kind}.{self.type}"
        return Member(name, self.bytes, self.sha256, {"kind": self.kind, "type": self.type})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be handed over: names of the configuration and choices, nothing of a register."""

    caller: str
    recipient: str
    operation: str
    purpose: str
    format: str | None = None
    """What the register claims to be: csv, xlsx, jsonl, parquet; else told from its content."""
    encoding: str | None = None
    strict: bool = False
    """One row that may not go holds up all."""
    priority: int = 0
    """Of two that wait for the same recipient the higher goes first."""
    bytes: int = 0
    """Of the register."""
    documents: tuple[Document, ...] = ()
    follows: str | None = None
    """The assignment whose change of creditor it reports (1.1(21))."""

    @property
    def asked(self) -> Asked:
        """In the terms in which routes are found."""
        return Asked(CallerId(self.caller), RecipientId(self.recipient), self.operation, self.purpose)
