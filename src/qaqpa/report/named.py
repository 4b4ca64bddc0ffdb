"""Names of the configuration with what they say, as reports show them; a name that it knows no more stays a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from qaqpa.model.words import GROUND_CLAUSE, Ground, Words
from qaqpa.policy import Policy


@dataclass(frozen=True, slots=True)
class Operator:
    """The organisation that answers (94-V art. 25)."""

    name: str
    bin: str


@dataclass(frozen=True, slots=True)
class Party:
    """A recipient. Of one that left the configuration nothing but its id is known."""

    id: str
    kind: str | None = None
    name: Words | None = None
    bin: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    address: str | None = None
    """None also where the configuration does not say it."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause of the policy, with our summary of it."""

    id: str
    says: Words | None = None


@dataclass(frozen=True, slots=True)
class Purpose:
    """A purpose of 1.1."""

    name: str
    clause: Clause | None = None


@dataclass(frozen=True, slots=True)
class Asker:
    """The internal service or person that asked."""

    id: str
    name: Words | None = None
    kind: str | None = None
    """`service` or `person`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The signed root under which a report was drawn (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: str
    """SHA-256, in hexadecimal."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Drawn:
    """When a report was drawn, and over how much."""

    at: datetime
    entries: int
    """That the ledger held."""
    policy: str | None
    """Version of the policy in force that day (9.2)."""
    checkpoint: Checkpoint | None
    """The last one that was signed by then; None before the first."""


class Names:
    """Looks names up; the same name is one object, however often it occurs."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.operator = Operator(policy.operator.name, policy.operator.bin)
        self._parties: dict[str, Party] = {}
        self._clauses: dict[str, Clause] = {}

    def party(self, recipient: str) -> Party:
        """A recipient by its id."""
        if recipient not in self._parties:
            self._parties[recipient] = self._party(recipient)
        return self._parties[recipient]

    def _party(self, recipient: str) -> Party:
        known = self.policy.recipients.get(recipient)
        if known is None:
            return Party(recipient)
        return Party(known.id, known.kind, known.name, known.bin, known.country, known.address)

    def clause(self, clause: str) -> Clause:
        """A clause by its id."""
        if clause not in self._clauses:
            self._clauses[clause] = Clause(clause, self.policy.clauses.get(clause))
        return self._clauses[clause]

    def clauses(self, clauses: Iterable[str]) -> tuple[Clause, ...]:
        """Several, in their order."""
        return tuple(self.clause(each) for each in clauses)

    def rights(self) -> tuple[Clause, ...]:
        """What a person may ask for (7.1)."""
        return self.clauses(each for each in self.policy.clauses if each.startswith("7.1("))

    def ground(self, ground: str | None) -> tuple[Ground | None, Clause | None]:
        """A ground (2.3), and its clause."""
        if ground is None:
            return None, None
        found = Ground(ground)
        return found, self.clause(GROUND_CLAUSE[found])

    def purpose(self, purpose: str) -> Purpose:
        """A purpose by its name."""
        clause = self.policy.purposes.get(purpose)
        return Purpose(purpose, None if clause is None else self.clause(clause))

    def asker(self, caller: str) -> Asker:
        """A caller by its name."""
        known = self.policy.callers.get(caller)
        return Asker(caller) if known is None else Asker(caller, known.name, known.kind)
