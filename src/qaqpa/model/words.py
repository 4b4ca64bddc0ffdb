"""Sentences in the three languages, and the small enumerations of the design's words."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

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
