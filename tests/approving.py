"""What takes two persons, for tests: who they are, what was done, an approval that is cut off."""

from __future__ import annotations

from typing import Any

from harness import PEOPLE, House, grown
from qaqpa.gateway import Gateway
from qaqpa.gateway.approvals import Approval, Approvals, Done
from qaqpa.model.actors import API, SHELL, called

CALLER = "compliance"
ANNA, BORIS = called("Anna Kim", SHELL), called("Boris", API)
ALIKE = {
    "capitals": "ANNA KIM", "Cyrillic letters": "Аnnа Кim", "word order": "Kim Anna", "spaces": " Anna   Kim",
    "other words": "Anna K-im",
}  # fmt: skip
"""Her name as others may write it."""


async def subject(house: House, gateway: Gateway) -> str:
    """Somebody of whom the ledger knows."""
    await grown(house, gateway)
    found = await gateway.ledger.subjects.find(PEOPLE[0].iin)
    assert found is not None
    return str(found.id)


def entered(house: House, gateway: Gateway, *acts: str) -> list[dict[str, Any]]:
    return [each for each in house.entries(gateway, "control") if each["act"] in acts]


def untouched(house: House, gateway: Gateway) -> bool:
    """Whether no act that takes two was done."""
    return not (
        house.entries(gateway, "erasure") or entered(house, gateway, "settle") or house.entries(gateway, "recall")
    )


class Killed(BaseException):
    """The process ends here."""


class CutOff(Approvals):
    """Dies when it was agreed to, before anything is done."""

    async def _carry_out(self, caller: str, found: Approval) -> tuple[Approval, Done]:
        raise Killed


def cut_off(gateway: Gateway) -> Approvals:
    return CutOff(gateway.ledger, gateway._require, gateway.control, gateway.compliance, gateway.recalls)
