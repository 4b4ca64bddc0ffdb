"""What a caller asks: a disclosure of one subject's data to one recipient for one purpose."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from qaqpa.errors import InvalidRequest
from qaqpa.model.identifiers import Iin, Slug
from qaqpa.model.vocabulary import Count, Identity, PersonalData, Text

Model = TypeVar("Model", bound=BaseModel)


class ContractFacts(BaseModel):
    """What the caller states of the contract; recorded as stated by that caller, never guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Text | None = None
    days_overdue: Count | None = None
    breach_notified_on: date | None = None
    """56-V art. 9-2: the borrower is told within 10 days of delay."""
    settlement_steps_done: bool | None = None
    restructuring_pending: bool | None = None
    collector_clause: bool | None = None
    """62-VI art. 4: the loan agreement provides for a collector."""
    secured_by_home: bool | None = None
    duties_met: bool | None = None
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

    @property
    def iin(self) -> str:
        """Who it is about."""
        return self.data.identity.iin


def readable_path(location: tuple[int | str, ...]) -> str:
    """A path for people. A key that the caller made up may itself be personal, so only plain words are shown."""
    return ".".join(
        str(part) if isinstance(part, int) or (part.isidentifier() and not any(c.isdigit() for c in part)) else "?"
        for part in location
    )


def parse(model: type[Model], document: bytes | str | dict[str, Any]) -> Model:
    """Read `document` (JSON or a mapping) as `model`; InvalidRequest names every wrong path, never a value."""
    try:
        if isinstance(document, dict):
            return model.model_validate(document)
        return model.model_validate_json(document)
    except ValidationError as error:
        problems = [
            f"{readable_path(found['loc']) or 'request'}: "
            + ("unknown field" if found["type"] == "extra_forbidden" else found["msg"].removeprefix("Value error, "))
            for found in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise InvalidRequest(problems) from None
