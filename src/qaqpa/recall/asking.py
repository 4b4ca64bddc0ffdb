"""Who asks for a recall, and what its notice needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from qaqpa.errors import InvalidRequest
from qaqpa.model.recall import LETTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks for a recall, and what the notice needs."""

    caller: str | None
    """None where the configuration lets it go by itself."""
    person: str | None
    due_on: date | None = None
    """Else as the recipient's configuration says."""
    contract: str | None = None
    """The contract's number, where the recipient is told it."""
    by_letter: bool = False
    """A person writes to the recipient; only the books are kept here."""


def asking_for(what: Mapping[str, str], caller: str | None, person: str | None) -> Asking:
    """Who asks for what is told of the recall of a handover. Raises InvalidRequest."""
    try:
        due_on = date.fromisoformat(what["due_on"]) if "due_on" in what else None
    except ValueError:
        due_on = None
    if "due_on" in what and (due_on is None or due_on.isoformat() != what["due_on"]):  # the form that entries have
        raise InvalidRequest(["due_on: write the day as 2026-01-31"])
    return Asking(caller=caller, person=person, due_on=due_on, by_letter=what.get("way") == LETTER)
