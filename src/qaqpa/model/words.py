"""Sentences in the three languages, times as callers write them, and the small enumerations of the design's words."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Strict, StringConstraints

Language = Literal["ru", "kk", "en"]
Sentence = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Words(BaseModel):
    """One sentence in Russian, Kazakh and English; all three are demanded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ru: Sentence
    kk: Sentence
    en: Sentence

    def in_language(self, language: Language) -> str:
        """The sentence in `language`."""
        return str(getattr(self, language))


@lru_cache
def joined(parts: tuple[Words, ...]) -> Words:
    """Several sentences as one."""
    return Words(
        ru=" ".join(part.ru for part in parts),
        kk=" ".join(part.kk for part in parts),
        en=" ".join(part.en for part in parts),
    )


_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)?")


def _day(value: Any) -> Any:
    # Without this, 0 and "0" would be read as seconds since 1970, and a wrong birth date would leave.
    if isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value)):
        return value
    raise ValueError("write the day as text: 2026-01-31")


def _moment(value: Any) -> Any:
    if isinstance(value, datetime) or (isinstance(value, str) and _MOMENT.fullmatch(value)):
        return value
    raise ValueError("write the time as text: 2026-01-31T09:30:00+05:00")


def _of_these_ages(value: datetime) -> datetime:
    if not 1900 <= value.year < 9999:  # beyond, a time has no equal in every zone
        raise ValueError("lies outside the years 1900 to 9998")
    return value


Day = Annotated[date, BeforeValidator(_day)]
"""A day; never a number."""
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_of_these_ages)]
"""A time; never a number."""
ZonedMoment = Annotated[AwareDatetime, BeforeValidator(_moment), AfterValidator(_of_these_ages)]
"""A time that says its zone."""
Flag = Annotated[bool, Strict()]
"""True or false; neither 1 nor "yes"."""


class Ground(StrEnum):
    """Why a transfer is allowed at all (policy 2.3)."""

    CONSENT = "consent"
    """2.3(1): the subject consented."""
    SERVICE = "service"
    """2.3(2): a service that the subject uses needs it."""
    LEGAL_PROTECTION = "legal_protection"
    """2.3(3): the subject is in breach and the operator protects its rights under law."""


GROUND_CLAUSE = {Ground.CONSENT: "2.3(1)", Ground.SERVICE: "2.3(2)", Ground.LEGAL_PROTECTION: "2.3(3)"}


class SealKind(StrEnum):
    """How an extract is encrypted to its recipient."""

    JWE = "jwe"
    """RFC 7516 compact, algorithm pinned per recipient, A256GCM, never `zip`."""
    AGE = "age"
    """age-encryption.org/v1, X25519."""
    CMS = "cms"
    """RFC 5083 AuthEnvelopedData, AES-256-GCM, algorithm pinned per recipient."""
    OPENPGP = "openpgp"
    """RFC 9580, key pinned by its fingerprint."""
    TLS_ONLY = "tls_only"
    """The recipient accepts nothing else; its configuration says why."""


class OutcomeResult(StrEnum):
    """What came of an intent."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    """The recipient has it and answered no."""
    NOT_SENT = "not_sent"
    """Surely nothing left."""
    UNKNOWN = "unknown"
    """It left, or may have; shown to people until settled."""


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, the only form of time in the ledger."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
