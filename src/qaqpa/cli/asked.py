"""What a command says that has asked for what takes two persons: what, until when, and what somebody else runs next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from rich.markup import escape

from qaqpa.cli.render import out, print_json
from qaqpa.gateway import Gateway
from qaqpa.gateway.answers import Answer, approval_answer
from qaqpa.gateway.approvals import Approval
from qaqpa.ledger.agreed import Act

WORDS = {
    Act.ERASE: "erase a person",
    Act.FORCE_ERASURE: "erase a person by force of an instrument",
    Act.RECALL_HANDOVER: "recall a whole handover",
    Act.SETTLE: "settle a disclosure of unknown end",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An approval with what JSON tells of it."""

    approval: Approval
    answer: Answer


def told(gateway: Gateway, approval: Approval) -> Told:
    """As things stand now."""
    return Told(approval, approval_answer(approval, gateway.ledger.clock()))


def what(approval: Approval) -> str:
    """The act in words, and what it is told."""
    said = ", ".join(f"{name} {value}" for name, value in sorted(approval.what.items()))
    return f"{WORDS[approval.act]}: {said}"


def say_asked(asked: Told, caller: str, *, as_json: bool) -> None:
    """Nothing is done yet."""
    if as_json:
        print_json(asked.answer)
        return
    found = asked.approval
    out.print(f"[yellow]asked[/] {found.id}: {escape(what(found))}", soft_wrap=True)
    out.print(
        f"nothing is done yet: another person than {escape(found.asked_by.name)} agrees until {found.expires}, in the "
        "console, or with:",
        soft_wrap=True,
    )
    agree = f"qaqpa approval agree {found.id} --caller {shlex.quote(caller)} --person … --reason …"
    out.print(f"  {escape(agree)}", soft_wrap=True)
