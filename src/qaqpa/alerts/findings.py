"""What a rule finds: which rule, about what, with which figures. The same cause is told once while it is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Figure = str | int | float


class Rule(StrEnum):
    """What is looked for."""

    VOLUME = "volume"
    """Far more of one caller, recipient or person than is usual at that hour."""
    REFUSALS = "refusals"
    """A burst of refusals."""
    SUBJECT = "subject"
    """Many look up one subject."""
    NIGHT = "night"
    """Somebody works who should be asleep."""
    CHECKPOINT = "checkpoint"
    """Entries wait too long for a signed checkpoint."""
    VERIFICATION = "verification"
    """An entry, or the database as a whole, is not what was signed."""
    UPKEEP = "upkeep"
    """Checkpoints, recovery or jobs fail."""
    WITNESS = "witness"
    """A witness does not cosign."""
    EXPIRY = "expiry"
    """An agreement or a recipient's key is about to end."""
    BREAK_GLASS = "break_glass"
    """A link let somebody into the console beside the OpenID provider."""


class Severity(StrEnum):
    """How soon a person must look."""

    URGENT = "urgent"
    WARNING = "warning"


_URGENT = frozenset({Rule.VERIFICATION, Rule.CHECKPOINT, Rule.UPKEEP, Rule.BREAK_GLASS})
SEVERITY = {rule: Severity.URGENT if rule in _URGENT else Severity.WARNING for rule in Rule}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule found."""

    rule: Rule
    about: str
    """What it is about, in names: `caller:loan-scoring`, `witness:…`. With the rule it is the cause."""
    episode: str = ""
    """When of the same episode, it is not told again even after somebody acknowledged it; empty for a condition, which
    ends when it is not seen for a while."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    adds: bool = False
    """`count` is what came since the last look, not all."""

    @property
    def cause(self) -> str:
        """By which it is known again."""
        return f"{self.rule.value}:{self.about}"
