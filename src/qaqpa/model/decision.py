"""A decision and its parts: every guard's result, not only the first failure. The zero value is deny."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from qaqpa.model.identifiers import CallerId, ConsentId, RecipientId
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import Ground, Words


class Result(StrEnum):
    """Of a guard or of a decision."""

    DENY = "deny"
    GAP = "gap"
    """What is needed to decide is missing: it blocks too, but the caller can mend it."""
    PERMIT = "permit"


@dataclass(frozen=True, slots=True)
class GuardResult:
    """What one guard says of one request."""

    guard: str
    clause: str
    message: Words
    """Why it blocks; where it permits, what was found."""
    result: Result = Result.DENY
    instrument: str | None = None
    """Law behind the clause, e.g. `94-V art. 8(2)`."""
    missing: tuple[str, ...] = ()
    """Facts or fields that a gap waits for."""
    findings: tuple[str, ...] = ()
    """Stable codes of what a blocking guard found, e.g. `consent_expired`."""
    note: bool = False
    """The message of a permitting guard is worth saying to the caller."""


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """A guard that blocks, by its names alone."""

    guard: str
    clause: str
    result: Result


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a draft policy would have decided on the same facts, where that differs. Names only, no personal value."""

    config: str
    """SHA-256 over the draft's files."""
    result: Result
    reasons: tuple[Reason, ...] = ()
    """Guards of the draft that block."""
    added: tuple[FieldPath, ...] = ()
    """Fields that would leave and do not."""
    removed: tuple[FieldPath, ...] = ()
    """Fields that leave and would not."""
    changed: tuple[FieldPath, ...] = ()
    """Fields that would leave in another form."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which route was asked for. Names not known to the configuration are recorded as `unknown`."""

    caller: CallerId
    recipient: RecipientId
    operation: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Permit, deny or gap, with every reason, the clauses and the policy version in force."""

    asked: Asked
    at: datetime
    guards: tuple[GuardResult, ...]
    clauses: tuple[str, ...] = ()
    ground: Ground | None = None
    policy: str | None = None
    """Version of the policy in force at `at`; None when none is."""
    fields: tuple[FieldPath, ...] = ()
    consent: ConsentId | None = None
    """The consent that covers the route, where its ground is consent."""
    shadow: Shadow | None = None
    """What a draft would have decided, where there is one and it differs. Nothing but the ledger looks at it."""

    @property
    def result(self) -> Result:
        """Permit only if there are guards and all permit; one deny outweighs any gap."""
        if self.permits:
            return Result.PERMIT
        results = {guard.result for guard in self.guards}
        # What is no result at all is no permit.
        return Result.GAP if results and results <= {Result.GAP, Result.PERMIT} else Result.DENY

    @property
    def permits(self) -> bool:
        """Whether data may leave: an empty set of guards has checked nothing."""
        return bool(self.guards) and all(guard.result is Result.PERMIT for guard in self.guards)

    @property
    def reasons(self) -> tuple[GuardResult, ...]:
        """The guards that block."""
        return tuple(guard for guard in self.guards if guard.result is not Result.PERMIT)

    @property
    def blocking(self) -> tuple[Reason, ...]:
        """The same by name, each once, in order."""
        return tuple(sorted({Reason(guard.guard, guard.clause, guard.result) for guard in self.reasons}))

    @property
    def notes(self) -> tuple[GuardResult, ...]:
        """Permitting guards that have something to say, e.g. a withdrawal that is pending."""
        return tuple(guard for guard in self.guards if guard.result is Result.PERMIT and guard.note)
