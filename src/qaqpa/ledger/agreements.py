"""That two persons stand behind every act that takes two, as the entries tell it: one asked for just this, another
agreed, and then it was done, once. The table of approvals is held against the same, so that a row of it which was made
up or changed is seen. Reads no sealed part, needs no key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.agreed import AGREE, ASK_APPROVAL, REFUSE_APPROVAL, Act, digest
from qaqpa.ledger.entries import SETTLE, Kind
from qaqpa.model.actors import PARTED, Actor, accounts
from qaqpa.model.naming import may_be_one
from qaqpa.model.recall import LETTER, RecallScope
from qaqpa.store import Connection

KINDS = frozenset({Kind.CONTROL, Kind.ERASURE, Kind.RECALL})
"""Of entries of acts that take two persons, and of what they rest on; others are of these kinds too."""
_TABLE = "SELECT id, act, what, reason, asked_by, state, decided_by FROM approvals ORDER BY id"

_Person = tuple[str, str | None]
"""The name and the account that an entry tells."""


@dataclass(slots=True)
class _Asked:
    """An approval, as far as the entries tell of it."""

    act: str
    digest: str
    reason: str
    asked_by: _Person
    decided_by: _Person | None = None
    state: str = "asked"
    """`asked`, `agreed`, `refused` or `done`."""

    def is_by_one(self, person: _Person) -> bool:
        """As far as entries tell: accounts of one provider are told apart by the account, others by the name."""
        (name, account), (asking, of) = person, self.asked_by
        return account == of if account is not None and of is not None else may_be_one(name, asking)


@dataclass(slots=True)
class Agreements:
    """Who asked for what, who agreed, and what was done."""

    _of: dict[str, _Asked] = field(default_factory=dict)

    def see(self, index: int, entry: Mapping[str, Any], *, whole: bool) -> None:
        """Take in an entry; where the past is not `whole`, what it rests on may lie in a file.

        Raises VerificationFailed.
        """
        taking_two = _act_of(entry)
        step = entry.get("act") if entry["kind"] == Kind.CONTROL else None
        if taking_two is None and step not in {ASK_APPROVAL, AGREE, REFUSE_APPROVAL}:
            return
        if not self._of and "approval" not in entry:
            return  # from before these acts took two persons, and so before anybody was ever asked for
        approval, person = str(entry.get("approval")), (str(entry["person"]), entry.get("account"))
        if step == ASK_APPROVAL:
            _require(approval not in self._of, index, "asks for what was asked for before it")
            self._of[approval] = _Asked(entry["of"], entry["what_sha256"], entry["reason"], person)
            return
        found = self._of.get(approval)
        if found is None:
            _require(not whole, index, "rests on what nobody asked for before it: it takes two persons")
        elif taking_two is not None:
            self._do(index, entry, found, taking_two, whole=whole)
        elif step == REFUSE_APPROVAL:
            _require(found.state in {"asked", "agreed"}, index, "refuses what was refused or done before it")
            found.state, found.decided_by = "refused", person
        else:
            _require(found.state == "asked", index, "agrees to what was decided before it")
            _require(not found.is_by_one(person), index, "agrees to what the same person asked for")
            found.state, found.decided_by = "agreed", person

    @staticmethod
    def _do(index: int, entry: Mapping[str, Any], found: _Asked, act: Act, *, whole: bool) -> None:
        is_this = found.act == act and found.digest in map(digest, _readings(entry, act))
        _require(is_this, index, "does another thing than what two persons agreed to")
        if found.state == "asked" and not whole:  # the agreeing may lie in a file
            found.state = "done"
            return
        _require(found.state == "agreed", index, "does what nobody else agreed to before it, or what was done")
        (asking, one), (agreeing, other) = found.asked_by, found.decided_by or ("", None)
        named = (f"{asking}{PARTED}{agreeing}", accounts(one, other))
        _require((entry["person"], entry.get("account")) == named, index, "names others than the two who agreed")
        is_why = act is Act.RECALL_HANDOVER or entry["reason"] == found.reason  # that of a recall is a code, in `what`
        _require(is_why, index, "gives another reason than who asked for it")
        found.state = "done"

    def compare(self, connection: Connection) -> None:
        """With the table of approvals. Raises VerificationFailed."""
        left = dict(self._of)
        for approval, act, what, reason, asked_by, state, decided_by in connection.stream(_TABLE):
            found = left.pop(approval, None)
            if found is None:
                raise VerificationFailed(f"approval {approval} is one that nobody asked for: no entry tells of it")
            decided = None if decided_by is None else _person(decided_by)
            told = (act, sha256(what.encode()).hexdigest(), reason, _person(asked_by), decided)
            # One that could not be carried out after all is agreed to, as entries go: that it failed is no entry.
            is_so = found.state == ("agreed" if state == "failed" else state)
            if not is_so or told != (found.act, found.digest, found.reason, found.asked_by, found.decided_by):
                raise VerificationFailed(f"approval {approval} is not what the entries tell of it")
        if left:
            raise VerificationFailed(f"approval {min(left)} is missing, of which entries tell")


def _act_of(entry: Mapping[str, Any]) -> Act | None:
    """The act of this entry, where it is one that takes two persons."""
    kind = entry["kind"]
    if kind == Kind.ERASURE:
        return Act.ERASE if entry["instrument"] is None else Act.FORCE_ERASURE
    if kind == Kind.RECALL and entry["scope"] == RecallScope.HANDOVER and entry["caller"] is not None:
        return Act.RECALL_HANDOVER  # without a caller the configuration lets it go (`recall.automatic`), and no person
    return Act.SETTLE if kind == Kind.CONTROL and entry["act"] == SETTLE else None


def _readings(entry: Mapping[str, Any], act: Act) -> Iterator[Mapping[str, str]]:
    """What may have been asked for, so that this was done."""
    if act is Act.ERASE:
        yield {"subject": entry["subject"]}
    elif act is Act.FORCE_ERASURE:
        yield {"subject": entry["subject"], "instrument": entry["instrument"]}
    elif act is Act.SETTLE:
        yield {"disclosure": entry["intent"], "result": entry["result"]}
    else:  # until when follows from the configuration unless somebody says it; the way stands in no entry of the act
        for way in ({}, {"way": LETTER}):
            for due in ({}, {"due_on": entry["due_on"]}):
                yield {"handover": entry["of"], "reason": entry["reason"], **way, **due}


def _person(kept: str) -> _Person:
    actor = Actor.of_kept(orjson.loads(kept))
    return actor.name, actor.account


def _require(holds: bool, index: int, otherwise: str) -> None:
    if not holds:
        raise VerificationFailed(f"entry {index} {otherwise}", index=index)
