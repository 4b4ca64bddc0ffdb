"""What a caller asks: a disclosure of one subject's data to one recipient for one purpose."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from qaqpa.errors import InvalidRequest
from qaqpa.model.identifiers import Iin, Slug
from qaqpa.model.vocabulary import Count, Identity, PersonalData, Text
from qaqpa.model.words import Day, Flag

LARGEST = 8 * 2**20
"""Bytes of a request; one person's data is a few thousand."""
_SAID = {"extra_forbidden": "unknown field", "missing": "is missing"}
_TOLD_AT_ONCE = 100
"""Problems of one request; a hostile one has as many as it likes."""
Model = TypeVar("Model", bound=BaseModel)


class ContractFacts(BaseModel):
    """What the caller states of the contract; recorded as stated by that caller, never guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Text | None = None
    days_overdue: Count | None = None
    breach_notified_on: Day | None = None
    """56-V art. 9-2: the borrower is told within 10 days of delay."""
    settlement_steps_done: Flag | None = None
    restructuring_pending: Flag | None = None
    collector_clause: Flag | None = None
    """62-VI art. 4: the loan agreement provides for a collector."""
    secured_by_home: Flag | None = None
    """56-V art. 9-1: the loan is an individual's and secured by a home."""
    remedies_exhausted: Flag | None = None
    """Every way to recover the debt that law wants tried before an assignment to a collection agency was tried."""
    suit_filed: Flag | None = None
    """62-VI art. 6(5): a suit or a notary's writ on this debt is pending."""
    cession: Text | None = None
    """Number of the agreement of cession by which the claim is assigned; it stands among the buyer's `cessions`."""
    duties_met: Flag | None = None
    """7.1(3): every duty under the contract is met."""


class Facts(BaseModel):
    """Facts that a caller may state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: ContractFacts = ContractFacts()


class SubjectIdentity(Identity):
    """Identity with the one field that every request needs: who it is about."""

    iin: Iin


class SubjectData(PersonalData):
    """Personal data handed in by a caller."""

    identity: SubjectIdentity


class DisclosureRequest(BaseModel):
    """One request; unknown keys are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipient: Slug
    operation: Slug
    purpose: Slug
    data: SubjectData
    consent: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")] | None = None
    facts: Facts = Facts()

    @cached_property
    def plain(self) -> dict[str, Any]:
        """All that it holds, as JSON values; what is not given is left out."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def iin(self) -> str:
        """Who it is about."""
        return self.data.identity.iin

    @property
    def stated(self) -> dict[str, Any]:
        """What the caller states beside the data, as JSON values; sealed in the entry, so that a decision can be
        replayed.
        """
        return {**self.plain["facts"], "consent": self.consent}


def readable_path(location: tuple[int | str, ...]) -> str:
    """A path for people. A key that the caller made up may itself be personal, so only plain words are shown."""
    return ".".join(
        str(part) if isinstance(part, int) or (part.isidentifier() and not any(c.isdigit() for c in part)) else "?"
        for part in location
    )


def _read_json(document: bytes | str) -> Any:
    """One JSON value. Python's own reader is used because it can see a key that stands twice."""
    if len(document) > LARGEST:
        raise InvalidRequest([f"request: is longer than {LARGEST // 2**20} MiB"])
    try:
        text = document.decode() if isinstance(document, bytes) else document
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=Decimal)
    except InvalidRequest:
        raise
    except (ValueError, RecursionError):
        raise InvalidRequest(["request: is not JSON in UTF-8"]) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        double = next(name for name, count in counts.items() if count > 1)
        raise InvalidRequest([f"{readable_path((double,))}: stands twice; which one counts cannot be known"])
    return made


def _no_constant(_name: str) -> Any:
    raise ValueError("NaN and infinities are no JSON")


def parse(model: type[Model], document: bytes | str | dict[str, Any]) -> Model:
    """Read `document` (JSON or a mapping) as `model`; InvalidRequest names every wrong path, never a value."""
    try:
        return model.model_validate(document if isinstance(document, dict) else _read_json(document))
    except ValidationError as error:
        problems = [
            f"{readable_path(found['loc']) or 'request'}: "
            + (_SAID.get(found["type"]) or found["msg"].removeprefix("Value error, "))
            for found in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        more = len(problems) - _TOLD_AT_ONCE
        raise InvalidRequest(problems[:_TOLD_AT_ONCE] + ([f"request: {more} more"] if more > 0 else [])) from None
