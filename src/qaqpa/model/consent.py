"""A consent as 94-V art. 8(4) asks for it, and whether it covers a route (policy 2.3(1), 6.1, 7.1(3))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from qaqpa.model.identifiers import Bin, ConsentId, Iin, Slug, SubjectId
from qaqpa.model.vocabulary import FieldPath, Text, expand
from qaqpa.model.words import Flag, Words, ZonedMoment


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConsentingPerson(_Part):
    """Whose consent it is."""

    iin: Iin


class StatedOperator(_Part):
    """To whom the consent was given: 94-V art. 8(4) asks for name and BIN."""

    name: Text
    bin: Bin


class EvidenceMethod(StrEnum):
    """How the consent was given, provably (94-V art. 8(1))."""

    OFFER = "offer"
    OTP = "otp"
    KDP = "kdp"
    """The state service for access control to personal data."""
    PAPER = "paper"


class KdpToken(_Part):
    """What the state service for access control gave for the consent: calls for the state's data carry it."""

    token: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,8192}$"), Field(repr=False)]
    public_key: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e\n]{1,8192}$"), Field(repr=False)]


class Evidence(_Part):
    """What proves the consent; kept sealed."""

    method: EvidenceMethod
    reference: Text
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    kdp: KdpToken | None = None
    """The token itself, where a route passes it; `reference` may be any word by which the operator finds it again."""

    @model_validator(mode="after")
    def _token_of_the_service(self) -> Evidence:
        if self.kdp is not None and self.method is not EvidenceMethod.KDP:
            raise ValueError("kdp goes with method kdp, and with no other")
        return self


def _in_vocabulary(fields: tuple[str, ...]) -> tuple[str, ...]:
    for number, name in enumerate(fields):
        try:
            expand([name])
        except KeyError:
            raise ValueError(f"entry {number + 1} is no field or group of the vocabulary") from None
    return fields


Names = Annotated[tuple[Slug, ...], Field(min_length=1)]
FieldNames = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_in_vocabulary)]


class _Agreed(_Part):
    given_at: ZonedMoment
    expires_at: ZonedMoment | None = None
    purposes: Names
    third_parties: Names
    """Kinds of recipient or ids of named ones."""
    cross_border: Flag
    publication: Flag
    fields: FieldNames
    """Paths of the vocabulary or top-level groups."""
    policy: Text
    """Version of the policy that the subject accepted."""


class ConsentTerms(_Agreed):
    """What was agreed to; nothing in it tells who agreed, and every text in it is a name that the policy knows."""

    operator_bin: Bin
    evidence: EvidenceMethod | None = None
    """How it was given; None in records made before this was part of the terms."""
    kdp_token: Flag | None = None
    """The token of the state service is on record, sealed; None where none is, and in records made before this."""

    @property
    def paths(self) -> frozenset[FieldPath]:
        """Every field that the consent names, groups spelt out."""
        return expand(self.fields)


class ConsentRequest(_Agreed):
    """A consent as a caller hands it in."""

    operator: StatedOperator
    subject: ConsentingPerson
    contract: Text | None = None
    """Number of the contract whose duties hold back a withdrawal (7.1(3))."""
    evidence: Evidence

    @property
    def terms(self) -> ConsentTerms:
        """The part that does not identify the person."""
        return ConsentTerms(
            operator_bin=self.operator.bin,
            evidence=self.evidence.method,
            kdp_token=True if self.evidence.kdp is not None else None,
            **{name: getattr(self, name) for name in _Agreed.model_fields},
        )


class ConsentStatus(StrEnum):
    """The life of a consent."""

    ACTIVE = "active"
    EXPIRED = "expired"
    WITHDRAWAL_PENDING = "withdrawal_pending"
    """7.1(3): asked for while duties under the contract are open; still in force until they are met."""
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent on record."""

    id: ConsentId
    subject: SubjectId
    terms: ConsentTerms
    withdrawal_asked_at: datetime | None = None
    withdrawn_at: datetime | None = None

    def status(self, now: datetime) -> ConsentStatus:
        """Its status at `now` (aware)."""
        if self.withdrawn_at is not None:
            return ConsentStatus.WITHDRAWN
        if self.terms.expires_at is not None and self.terms.expires_at <= now:
            return ConsentStatus.EXPIRED
        if self.withdrawal_asked_at is not None:
            return ConsentStatus.WITHDRAWAL_PENDING
        return ConsentStatus.ACTIVE


class Uncovered(StrEnum):
    """Why a consent does not cover a route."""

    ABSENT = "consent_absent"
    NOT_YET_GIVEN = "consent_not_yet_given"
    EXPIRED = "consent_expired"
    WITHDRAWN = "consent_withdrawn"
    OTHER_OPERATOR = "consent_for_other_operator"
    OTHER_PURPOSE = "consent_for_other_purpose"
    OTHER_RECIPIENT = "consent_for_other_recipient"
    NO_CROSS_BORDER = "consent_without_cross_border"
    FIELD_MISSING = "consent_without_field"


UNCOVERED_WORDS: Mapping[Uncovered, Words] = {
    Uncovered.ABSENT: Words(
        en="No consent of this person is on record; record one before asking.",
        ru="Согласие этого лица не зарегистрировано; сначала внесите его.",
        kk="Бұл тұлғаның келісімі тіркелмеген; алдымен оны енгізіңіз.",
    ),
    Uncovered.NOT_YET_GIVEN: Words(
        en="The consent begins later than now.",
        ru="Согласие начинает действовать позже текущего момента.",
        kk="Келісім қазіргі сәттен кейін басталады.",
    ),
    Uncovered.EXPIRED: Words(
        en="The consent has expired; ask the person for a new one.",
        ru="Срок согласия истёк; получите новое.",
        kk="Келісімнің мерзімі өтті; жаңасын алыңыз.",
    ),
    Uncovered.WITHDRAWN: Words(
        en="The person has withdrawn the consent (7.1(3)).",
        ru="Лицо отозвало согласие (7.1(3)).",
        kk="Тұлға келісімін қайтарып алды (7.1(3)).",
    ),
    Uncovered.OTHER_OPERATOR: Words(
        en="The consent was given to another operator (BIN differs).",
        ru="Согласие дано другому оператору (БИН не совпадает).",
        kk="Келісім басқа операторға берілген (БСН сәйкес емес).",
    ),
    Uncovered.OTHER_PURPOSE: Words(
        en="The consent does not name this purpose.",
        ru="В согласии нет этой цели.",
        kk="Келісімде бұл мақсат жоқ.",
    ),
    Uncovered.OTHER_RECIPIENT: Words(
        en="The consent names neither this recipient nor its kind.",
        ru="В согласии нет ни этого получателя, ни его вида.",
        kk="Келісімде бұл алушы да, оның түрі де жоқ.",
    ),
    Uncovered.NO_CROSS_BORDER: Words(
        en="The recipient is abroad and the consent does not allow crossing the border (3.4(5)).",
        ru="Получатель за границей, а согласие не допускает трансграничной передачи (3.4(5)).",
        kk="Алушы шетелде, ал келісім трансшекаралық беруге жол бермейді (3.4(5)).",
    ),
    Uncovered.FIELD_MISSING: Words(
        en="The consent does not list every field that this route passes.",
        ru="В согласии перечислены не все поля, передаваемые по этому маршруту.",
        kk="Келісімде осы бағыт бойынша берілетін барлық өріс көрсетілмеген.",
    ),
}


@dataclass(frozen=True, slots=True)
class Need:
    """What a consent must cover."""

    purpose: str
    recipient: str
    recipient_kind: str
    abroad: bool
    operator_bin: str
    fields: frozenset[FieldPath]


def uncovered(consent: Consent, need: Need, now: datetime, *, duties_met: bool | None) -> tuple[Uncovered, ...]:
    """Every reason why `consent` does not cover `need` at `now`; empty when it does.

    `duties_met` is what the caller states of the contract, None where nothing is stated.
    """
    terms = consent.terms
    status = consent.status(now)
    # 7.1(3): a pending withdrawal takes effect as soon as the contract's duties are met.
    withdrawn = status is ConsentStatus.WITHDRAWN or (status is ConsentStatus.WITHDRAWAL_PENDING and duties_met is True)
    checks = (
        (Uncovered.WITHDRAWN, withdrawn),
        (Uncovered.EXPIRED, status is ConsentStatus.EXPIRED),
        (Uncovered.NOT_YET_GIVEN, terms.given_at > now),
        (Uncovered.OTHER_OPERATOR, terms.operator_bin != need.operator_bin),
        (Uncovered.OTHER_PURPOSE, need.purpose not in terms.purposes),
        (Uncovered.OTHER_RECIPIENT, not {need.recipient, need.recipient_kind} & set(terms.third_parties)),
        (Uncovered.NO_CROSS_BORDER, need.abroad and not terms.cross_border),
        (Uncovered.FIELD_MISSING, not need.fields <= terms.paths),
    )
    return tuple(reason for reason, fails in checks if fails)


def choose(
    consents: tuple[Consent, ...], need: Need, now: datetime, *, duties_met: bool | None
) -> tuple[Consent | None, tuple[Uncovered, ...]]:
    """The newest covering consent, or None and why the nearest one falls short."""
    if not consents:
        return None, (Uncovered.ABSENT,)
    newest_first = sorted(consents, key=lambda c: (c.terms.given_at, c.id), reverse=True)
    reasons = [(consent, uncovered(consent, need, now, duties_met=duties_met)) for consent in newest_first]
    for consent, why in reasons:
        if not why:
            return consent, ()
    return None, min((why for _, why in reasons), key=len)
