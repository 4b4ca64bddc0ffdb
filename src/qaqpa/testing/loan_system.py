"""A stand-in of the operator's loan system: it answers what is on record of contracts, and counts how it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qaqpa.testing.sandbox import NETWORKS, Answer, Arrival, Examination, Sandbox

PATH = "/contracts"
LARGEST = 500
"""Contracts that one question may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Examination):
    """Which contracts it is asked about."""

    numbers: tuple[str, ...] = ()


class LoanSystemSandbox(Sandbox[Question]):
    """`POST /contracts {"contracts": [number, …]}` → `{"contracts": {number: facts}}`; unknown numbers are left out."""

    paths = (PATH,)

    def __init__(
        self,
        contracts: Mapping[str, Mapping[str, Any]],
        *,
        port: int = 0,
        directory: Path | None = None,
        log: Path | None = None,
        delay: float = 0.5,
    ) -> None:
        """`contracts` are facts as a caller states them, by number; they may be changed while it runs."""
        super().__init__(port=port, directory=directory, log=log, delay=delay)
        self.contracts = dict(contracts)
        self.questions: list[tuple[str, ...]] = []
        """What it was asked, in order."""

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's `[facts]` refers to."""
        return {
            "QAQPA_FACTS_URL": f"{self.url}{PATH}",
            "QAQPA_FACTS_CA": str(self.ca_file),
            "QAQPA_FACTS_NETWORKS": NETWORKS,
        }

    def examine(self, arrival: Arrival) -> Question:
        """Read the question."""
        try:
            asked = orjson.loads(arrival.body)
            numbers = tuple(asked["contracts"])
        except (ValueError, KeyError, TypeError):
            return Question(operation="contracts", problem="the question is not understood")
        wrong = asked.keys() != {"contracts"} or not all(isinstance(number, str) for number in numbers)
        if wrong or not 0 < len(numbers) <= LARGEST:
            return Question(operation="contracts", problem=f"1 to {LARGEST} contract numbers are asked about at once")
        return Question(operation="contracts", numbers=numbers)

    def act(self, examination: Question) -> None:
        """Count."""
        self.questions.append(examination.numbers)

    def answer(self, examination: Question, *, about: str | None) -> Answer:
        """What is on record."""
        if examination.problem is not None:
            return Answer(400, orjson.dumps({"error": "question"}), "application/json")
        known = {number: self.contracts[number] for number in examination.numbers if number in self.contracts}
        return Answer(200, orjson.dumps({"contracts": known}), "application/json")
