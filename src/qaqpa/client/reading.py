"""What an answer of the gate says, or why there is none; and whether asking again may help."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from qaqpa import errors
from qaqpa.client.answers import Awaited, Disclosed, Problem
from qaqpa.client.failures import Awaiting, GateError, Unavailable, kind_of

Answer = TypeVar("Answer", bound=BaseModel)

_MEANWHILE = frozenset({errors.RequestInFlight.code, errors.DecisionOutdated.code})
"""Conflicts that pass."""
WAITING_HELPS_NOT = frozenset(
    kind.code
    for kind in (
        errors.NotConfigured, errors.AddressRefused, errors.PeerRefused, errors.SchemaMismatch, errors.ClockSetBack,
        errors.LedgerRolledBack, errors.KeyringError, errors.TooManyAttempts,
    )
)  # fmt: skip
"""Somebody has to mend these."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What an attempt failed with, and whether another may be made."""

    error: GateError
    again: bool
    retry_after_s: float | None = None


def unreachable(how: str) -> Unavailable:
    """No answer came."""
    error = Unavailable(f"no answer from the gate ({how}): ask again with the same idempotency_key")
    error.code = "unreachable"
    return error


def read(model: type[Answer], answer: httpx.Response, *, repeatable: bool) -> Answer | Failure:
    """The answer, or what it says was wrong."""
    if answer.status_code == httpx.codes.ACCEPTED and model is Disclosed:
        with suppress(ValidationError):
            waits = Awaiting("the recipient answers later: ask for the answer of this disclosure")
            waits.disclosure = Awaited.model_validate_json(answer.content).disclosure
            waits.code, waits.status = errors.AnswerAwaited.code, answer.status_code
            return Failure(waits, again=False)
    if answer.is_success:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError:
            pass
        error = Unavailable("the answer is not of the form that this client knows: look at its version and the url")
        error.code, error.status = "unreadable", answer.status_code
        return Failure(error, again=False)
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        problem = None
    if problem is None:  # a proxy's answer, or no gate at all
        error = Unavailable(f"HTTP {answer.status_code} from something that is not the gate: look at the url")
        error.code, error.status = "unreadable", answer.status_code
        return Failure(error, again=repeatable and answer.status_code in {502, 503, 504}, retry_after_s=_after(answer))
    failed = kind_of(problem.code, answer.status_code)(problem.detail or problem.code)
    failed.code, failed.status, failed.disclosure = problem.code, answer.status_code, problem.disclosure
    failed.reasons, failed.problems, failed.their_code = problem.reasons, problem.problems, problem.their_code
    return Failure(failed, _passes(answer, problem.code, repeatable=repeatable), _after(answer))


def _passes(answer: httpx.Response, code: str, *, repeatable: bool) -> bool:
    """Whether the gate says that asking again will do."""
    if code in WAITING_HELPS_NOT or _after(answer) is None:
        return False
    if answer.status_code == httpx.codes.CONFLICT:
        return code in _MEANWHILE
    return answer.status_code == httpx.codes.TOO_MANY_REQUESTS or (
        answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and repeatable
    )


def _after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) <= 6 else None
