"""Where law's facts are looked up: the operator's own loan system, asked by contract numbers in batches.

It is the system of record: what it answers counts, and where it differs from what a caller states nothing leaves.
Numbers of contracts go to the operator's own network only, through `transport`, and nothing beside them. What it does
not answer, or answers in another form, is a gap, and never a permit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from qaqpa import log
from qaqpa.errors import ThirdPartyError
from qaqpa.model.request import ContractFacts, DisclosureRequest
from qaqpa.policy import Checked, Route, compared
from qaqpa.transport.https import Https

ENDPOINT = "contracts"
_ATTEMPTS = 2
"""It is only asked, so it may be asked again: a kept connection may have died meanwhile."""
_log = log.get("facts")

Recorded = Mapping[str, ContractFacts]
"""Facts of record by contract number; a number that is absent is unknown to the system of record."""


class FactsSource(Protocol):
    """A system of record."""

    async def ask(self, numbers: Iterable[str]) -> Recorded | None:
        """What is on record of these contracts; None where that cannot be known now. Raises nothing."""

    async def close(self) -> None:
        """Let go of connections."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    contracts: dict[str, ContractFacts]


class HttpFacts:
    """`POST {"contracts": [number, …]}` → `{"contracts": {number: facts}}`, facts as a caller states them."""

    def __init__(self, channel: Https, batch: int) -> None:
        """`batch` numbers go in one question at most."""
        self._channel = channel
        self._batch = batch

    async def close(self) -> None:
        """Let go of connections."""
        await self._channel.close()

    async def ask(self, numbers: Iterable[str]) -> Recorded | None:
        """As `FactsSource`. All or nothing: half an answer would decide half of a handover on hearsay."""
        wanted = list(dict.fromkeys(numbers))
        found: dict[str, ContractFacts] = {}
        for first in range(0, len(wanted), self._batch):
            batch = wanted[first : first + self._batch]
            answer = await self._asked(batch)
            if answer is None:
                return None
            found.update((number, answer[number]) for number in batch if number in answer)
        return found

    async def _asked(self, batch: list[str]) -> Recorded | None:
        body = orjson.dumps({"contracts": batch})
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                reply = await self._channel.post(ENDPOINT, body, "application/json")
                if reply.status == 200:
                    return _Answer.model_validate(orjson.loads(reply.body)).contracts
                why = f"HTTP {reply.status}"
            except ThirdPartyError as error:
                why = error.code
            except (orjson.JSONDecodeError, ValidationError):
                why = "an answer of another form"  # what it says may be personal
            _log.warning("the facts source did not answer", result=why, attempt=attempt, count=len(batch))
        return None


async def looked_up(
    source: FactsSource, route: Route | None, request: DisclosureRequest
) -> tuple[ContractFacts, Checked | None]:
    """The contract's facts that count, held against `source` where the route asks of a contract."""
    stated = request.facts.contract
    if route is None or not route.asks_of_contract:
        return stated, None
    number = None if request.data.contract is None else request.data.contract.number
    named = stated.number or number
    return compared(stated, number, None if named is None else await source.ask((named,)))
