"""One page: its address, the roles that may ask for it, and what answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.visit import Visit, read_fields

EVERYBODY = tuple(ConsoleRole)
READERS = (ConsoleRole.REVIEWER, ConsoleRole.INVESTIGATOR, ConsoleRole.APPROVER, ConsoleRole.ADMINISTRATOR)
"""Who sees what the ledger says, with identities masked."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page."""

    method: Literal["GET", "POST"]
    path: str
    """Below /console, as Starlette writes it."""
    answer: Callable[[Visit], Awaitable[Response]]
    roles: tuple[ConsoleRole, ...]
    """One of these is needed."""
    read: Callable[[Visit], Awaitable[None]] = read_fields
    """How its form is read."""
