"""Shapes of what takes two persons, as OpenAPI tells them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qaqpa.ledger.agreed import Act
from qaqpa.service.schemas import ErasureAnswer, Id, Moment, OpenText, RecallAnswer, Shape


class ApprovalsQuery(Shape):
    """Which of them."""

    waiting: Literal["true", "false"] = "false"
    count: Annotated[int, Field(ge=1, le=1_000)] = 50
    before: Id | None = None


class ApprovalDecision(Shape):
    """Who agrees or refuses, and why."""

    person: OpenText
    reason: OpenText


class ActorAnswer(Shape):
    """A person, and by whose word."""

    person: str
    issuer: str
    """Of the OpenID provider, or `link`, `shell`, `api`: of those the name alone is known."""
    account: str | None
    """Beside the name in entries, of whoever signed in at a provider."""
    system_user: str | None
    """At a shell, by the operating system."""


class LinksAnswer(Shape):
    """Where it can be looked at, and what can be done with it as it stands."""

    self: str
    agree: str | None = None
    refuse: str | None = None
    carry_out: str | None = None


class ApprovalAnswer(Shape):
    """Something that takes two persons, as it stands: names of people who act, ids and codes, nobody's data."""

    approval: Id
    act: Act
    what: dict[str, str]
    reason: str
    state: Literal["asked", "lapsed", "agreed", "refused", "done", "failed"]
    asked_by: ActorAnswer
    asked_at: Moment
    expires: Moment
    """Nobody can agree any more after that."""
    decided_by: ActorAnswer | None
    decided_at: Moment | None
    code: str | None
    """Why it failed."""
    links: LinksAnswer


class SettlementAnswer(Shape):
    """The entry that says what came of a disclosure."""

    entry: int


class CarriedOutAnswer(ApprovalAnswer):
    """One that was agreed to and done, with what came of it."""

    done: ErasureAnswer | RecallAnswer | SettlementAnswer


class ApprovalsAnswer(Shape):
    """The latest first."""

    approvals: list[ApprovalAnswer]
    next_before: Id | None
    """`before` of the next page; null on the last one."""
