"""Who is signed in, and what each role may do."""

from __future__ import annotations

from dataclasses import dataclass

from qaqpa.config.models import ConsoleRole
from qaqpa.model.actors import Actor


@dataclass(frozen=True)
class Person(Actor):
    """A person who is signed in."""

    roles: frozenset[ConsoleRole]
    session: str
    """The session's id, which opens nothing."""

    def may(self, *roles: ConsoleRole) -> bool:
        """Whether the person has one of these roles."""
        return not self.roles.isdisjoint(roles)
