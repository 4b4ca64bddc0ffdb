"""That two persons stand behind every act that takes two, as the entries tell it: one asked for just this, another
agreed, and then it was done, once. The table of approvals is held against the same, so that nobody who can write to
the database makes an approval of what nobody agreed to. Reads no sealed part, needs no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.agreed import Act, written
from qaqpa.ledger.entries import AGREE, ASK_APPROVAL, REFUSE_APPROVAL, SETTLE, Kind
from qaqpa.model.actors import PARTED
from qaqpa.model.naming import may_be_one
from qaqpa.model.recall import RecallScope
from qaqpa.store import Connection

TAKES_TWO = frozenset({Kind.CONTROL, Kind.ERASURE, Kind.RECALL})
"""Kinds of entry among which acts that take two persons are, and what they rest on."""
_DUE_ON, _WAY = "due_on", "way"
_TABLE = "SELECT id, act, what, asked_by, state, decided_by FROM approvals ORDER BY id"


@dataclass(slots=True)
class _Asked:
    """An approval, as far as the entries tell of it."""

    act: str
    what: Mapping[str, str]
    person: str
    account: str | None
    decided_by: str = ""
    state: str = "asked"
    """`asked`, `agreed`, `refused` or `done`."""

    def is_same_person(self, person: str, account: str | None) -> bool:
        """As far as entries tell: accounts of one provider are told apart by the account, others by the name."""
        if self.account is not None and account is not None:
            return self.account == account
        return may_be_one(self.person, person)


@dataclass(slots=True)
class Agreements:
    """Who asked for what, who agreed, and what was done."""

    _of: dict[str, _Asked] = field(default_factory=dict)

    def see(self, index: int, entry: Mapping[str, Any], *, whole: bool) -> None:
        """Take in an entry; where the past is not `whole`, what it rests on may lie in a file.

        Raises VerificationFailed.
        """
        done = _done(entry)
        act = entry.get("act") if entry["kind"] == Kind.CONTROL else None
        if done is None and act not in {ASK_APPROVAL, AGREE, REFUSE_APPROVAL}:
            return
        approval, person, account = str(entry.get("approval")), str(entry["person"]), entry.get("account")
        if act == ASK_APPROVAL:
            self._of[approval] = _Asked(str(entry["of"]), entry["what"], person, account)
            return
        found = self._of.get(approval)
        if found is None:
            if whole:
                raise _wrong(index, "rests on what nobody asked for before it: it takes two persons")
        elif done is not None:
            self._do(index, found, done, person)
        elif act == REFUSE_APPROVAL:
            _require(found.state in {"asked", "agreed"}, index, "refuses what was refused or done before it")
            found.state, found.decided_by = "refused", person
        else:
            _require(found.state == "asked", index, "agrees to what was decided before it")
            _require(not found.is_same_person(person, account), index, "agrees to what the same person asked for")
            found.state, found.decided_by = "agreed", person

    @staticmethod
    def _do(index: int, found: _Asked, done: tuple[str, Mapping[str, str]], person: str) -> None:
        act, what = done
        _require(found.state == "agreed", index, "does what nobody else agreed to before it, or what was done")
        _require(
            found.act == act and _is_of(what, found.what), index, "does another thing than what two persons agreed to"
        )
        _require(person == f"{found.person}{PARTED}{found.decided_by}", index, "names others than the two who agreed")
        found.state = "done"

    def compare(self, connection: Connection) -> None:
        """With the table of approvals. Raises VerificationFailed."""
        left = dict(self._of)
        for approval, act, what, asked_by, state, decided_by in connection.stream(_TABLE):
            found = left.pop(approval, None)
            if found is None:
                raise VerificationFailed(f"approval {approval} is one that nobody asked for: no entry tells of it")
            # One that could not be carried out after all is agreed to, as entries go, and says so itself.
            stands = "agreed" if state == "failed" else state
            told = (act, what, _name(asked_by), stands, "" if decided_by is None else _name(decided_by))
            if told != (found.act, written(found.what), found.person, found.state, found.decided_by):
                raise VerificationFailed(f"approval {approval} is not what the entries tell of it")
        if left:
            raise VerificationFailed(f"approval {min(left)} is missing, of which entries tell")


def _done(entry: Mapping[str, Any]) -> tuple[str, Mapping[str, str]] | None:
    """The act that takes two persons, and of what, where this entry is of one."""
    kind = entry["kind"]
    if kind == Kind.ERASURE:
        instrument = entry["instrument"]
        if instrument is None:
            return Act.ERASE, {"subject": entry["subject"]}
        return Act.FORCE_ERASURE, {"subject": entry["subject"], "instrument": instrument}
    by_configuration = entry["caller"] is None  # `recall.automatic`: then it rests on no person at all
    if kind == Kind.RECALL and entry["scope"] == RecallScope.HANDOVER and not by_configuration:
        told = {"handover": entry["of"], "reason": entry["reason"], _DUE_ON: entry[_DUE_ON]}
        return Act.RECALL_HANDOVER, told
    if kind == Kind.CONTROL and entry["act"] == SETTLE:
        return Act.SETTLE, {"disclosure": entry["intent"], "result": entry["result"]}
    return None


def _is_of(done: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    """By when is asked for or follows from the configuration; the way stands in no entry of the act."""
    given = asked.keys() - {_WAY}
    return given | {_DUE_ON} == done.keys() | {_DUE_ON} and all(done[name] == asked[name] for name in given)


def _name(person: str) -> str:
    return str(orjson.loads(person)["name"])


def _require(holds: bool, index: int, what: str) -> None:
    if not holds:
        raise _wrong(index, what)


def _wrong(index: int, what: str) -> VerificationFailed:
    return VerificationFailed(f"entry {index} {what}", index=index)
