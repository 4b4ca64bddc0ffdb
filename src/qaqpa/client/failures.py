"""What a caller catches: a small tree of its own, made from the gate's codes."""

from __future__ import annotations

from qaqpa import errors
from qaqpa.client.answers import Reason


class GateError(Exception):
    """The root. `code` is stable (qaqpa.errors lists them); `unreachable` and `unreadable` are the client's own."""

    code: str = "error"
    status: int | None = None
    """HTTP status, None when no answer came."""
    reasons: tuple[Reason, ...] = ()
    problems: tuple[str, ...] = ()
    """Paths of the request that are wrong, and why; never a value."""
    disclosure: str | None = None
    """The disclosure that was begun, where one was."""
    their_code: str | None = None
    """The third party's own code."""
    idempotency_key: str | None = None
    """Ask again with it, and nothing is disclosed twice."""


class Blocked(GateError):
    """The decision does not permit; nothing left, and the refusal stands in the ledger."""


class Denied(Blocked):
    """A guard says no."""


class Gap(Blocked):
    """What is needed to decide is missing."""


class Awaiting(GateError):
    """No failure: it was disclosed, and the recipient answers later. `Client.disclosure` gets the answer then."""


class Refused(GateError):
    """The gate does not take the request."""


class NotAuthenticated(Refused):
    """The token is missing, unknown, expired or revoked."""


class NotAllowed(Refused):
    """The caller's roles do not include this."""


class ThirdPartyFailed(GateError):
    """The third party, or the way to it."""


class NotSent(ThirdPartyFailed):
    """Surely nothing left."""


class Rejected(ThirdPartyFailed):
    """The third party answered no."""


class Unsettled(ThirdPartyFailed):
    """It left, or may have, and nobody knows what came of it."""


class Unavailable(GateError):
    """The gate does not answer, or cannot use its ledger."""


_KINDS: tuple[tuple[type[errors.QaqpaError], type[GateError]], ...] = (
    (errors.Denied, Denied),
    (errors.Gap, Gap),
    (errors.NotAuthenticated, NotAuthenticated),
    (errors.TooManyAttempts, NotAuthenticated),
    (errors.NotAllowed, NotAllowed),
    (errors.RequestInFlight, Unavailable),
    (errors.NotConfigured, Unavailable),
    (errors.ConfigError, Unavailable),
    (errors.DecisionOutdated, Unavailable),
    (errors.UsageError, Refused),
    (errors.NotSent, NotSent),
    (errors.Rejected, Rejected),
    (errors.Unsettled, Unsettled),
    (errors.WrongSubject, Unsettled),
    (errors.ThirdPartyError, ThirdPartyFailed),
    (errors.StoreError, Unavailable),
)


def kind_of(code: str, status: int) -> type[GateError]:
    """The kind that stands for a code of the gate's."""
    known = errors.BY_CODE.get(code)
    for theirs, ours in _KINDS:
        if known is not None and issubclass(known, theirs):
            return ours
    return Unavailable if status >= 500 else Refused
