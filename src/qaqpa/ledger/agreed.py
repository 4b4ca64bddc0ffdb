"""What two persons agreed on, as the acts that take two persons take it: without one nothing can do such an act.

Only approvals make one (qaqpa.gateway.approvals; a test of the house holds that), and the act itself uses it up in its
own transaction, so that it is done once, whoever tries, and is noted as done exactly if it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

import orjson

from qaqpa.errors import NotAllowed, NotPossible
from qaqpa.model.actors import Actor, both
from qaqpa.model.naming import Named
from qaqpa.store import Connection

ASK_APPROVAL = "ask_approval"
"""The act by which a person asks for what takes two; the entry tells `of` which act, and holds the digest of what it is
told (`what_sha256`).
"""
AGREE = "agree"
"""The act by which another one agrees."""
REFUSE_APPROVAL = "refuse_approval"
"""The act by which somebody refuses it, or takes it back."""

_USE_UP = "UPDATE approvals SET state = 'done' WHERE id = ? AND state = 'agreed' AND act = ? AND what = ?"


class Act(StrEnum):
    """What takes two persons."""

    ERASE = "erase"
    """Erase a person (7.1(3))."""
    FORCE_ERASURE = "force_erasure"
    """The same although duties are open, because an instrument demands it."""
    RECALL_HANDOVER = "recall_handover"
    """Ask a recipient to destroy every row of a handover (5.5)."""
    SETTLE = "settle"
    """Say what came of a disclosure of unknown end."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """That one person asked for an act, of this and with this, and another agreed."""

    approval: str
    """Its id."""
    act: Act
    what: Mapping[str, str]
    """What it is done to, and with what: names, ids and codes, never a personal value."""
    reason: str
    asked_by: Actor
    agreed_by: Actor

    @property
    def persons(self) -> Named:
        """Both, as the act's entry names them."""
        return both(self.asked_by, self.agreed_by)

    def require(self, *acts: Act) -> Mapping[str, str]:
        """What was agreed on. Raises NotAllowed where it was none of these acts."""
        if self.act not in acts:
            raise NotAllowed(f"approval {self.approval} is for another act ({self.act.value})")
        return self.what

    def use_up(self, connection: Connection) -> None:
        """In the act's own transaction. Raises NotPossible unless it stands agreed, of this, and nobody did it yet."""
        if connection.execute_many(_USE_UP, [(self.approval, self.act.value, written(self.what))]) != 1:
            raise NotPossible(["approval: nobody else has agreed to it, or it is done"])


def digest(what: Mapping[str, str]) -> str:
    """Of what an act is told, as the entry of asking holds it: it may name an instrument, which stands nowhere for ever
    unless two persons agree.
    """
    return sha256(written(what).encode()).hexdigest()


def written(what: Mapping[str, str]) -> str:
    """What an act is told, as the table of approvals holds it."""
    return orjson.dumps(dict(what), option=orjson.OPT_SORT_KEYS).decode()
