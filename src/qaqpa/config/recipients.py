"""The shape of config/recipients/<id>.toml. Unknown keys are refused; every default is the narrow one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    StringConstraints,
    model_validator,
)

from qaqpa.config.base import ClauseId, File, HttpsChannel, Number, Seconds, Secret, Section, Span, Text, Whole
from qaqpa.config.packages import Packages
from qaqpa.config.seals import SealConfig
from qaqpa.model.identifiers import Bin, Slug
from qaqpa.model.words import Flag, Ground, Words


class Agreement(Section):
    """The agreement with the recipient (2.3(4)); it must bind to confidentiality (4.2)."""

    number: Text
    signed_on: date
    expires_on: date | None = None
    """The last day on which it is in force."""
    confidentiality: Literal[True]


class Limits(Section):
    """What the recipient may be asked at most."""

    per_second: Annotated[Number, Field(gt=0)] | None = None
    burst: Annotated[Whole, Field(ge=1)] = 1
    concurrent: Annotated[Whole, Field(ge=1, le=1000)] = 16
    wait_s: Annotated[Number, Field(ge=0, le=60)] = 2.0
    """How long a disclosure waits for its turn before it is given up as not sent."""


class Breaker(Section):
    """When the recipient is left alone."""

    failures: Annotated[Whole, Field(ge=1)] = 5
    """In a row."""
    open_s: Seconds = 30.0


class Retry(Section):
    """How often a message is tried that surely did not leave, or that the adapter declares idempotent."""

    attempts: Annotated[Whole, Field(ge=1, le=10)] = 3
    first_wait_s: Seconds = 0.1
    longest_wait_s: Seconds = 2.0


class Later(Section):
    """Where answers come later: how a job asks for them, and when it gives up."""

    first_s: Seconds = 2.0
    """After which it asks for the first time; the longer it waits, the more seldom it asks."""
    every_s: Seconds = 60.0
    """The longest wait between two questions."""
    give_up: Span = timedelta(days=1)
    """After which the disclosure is concluded as unknown, for a person to settle."""


class RsaSigner(Section):
    """Messages are signed by an RSA key in this process; files are PEM."""

    kind: Literal["rsa"]
    key: Secret
    """File of the private key."""
    password: Secret | None = None
    """What the key in that file is encrypted with."""
    certificate: Secret
    """File of our certificate."""
    trusted: Secret
    """File of the certificates whose signatures are believed; no authority stands in for them."""


class SidecarSigner(Section):
    """Messages are signed by the operator's own signing service of NCANode's shape: for GOST."""

    kind: Literal["sidecar"]
    channel: HttpsChannel
    """How it is reached; its endpoints are `wsse_sign`, `wsse_verify`, `xml_sign`, `xml_verify`."""
    key: Secret
    """File of the PKCS#12 container that it signs with; its bytes go to it with every message."""
    password: Secret
    """Of the container."""
    alias: Secret | None = None
    """Of the key in the container, where it holds several."""
    trusted: Secret
    """File (PEM) of the certificates whose signatures are believed."""

    @model_validator(mode="after")
    def _its_addresses(self) -> SidecarSigner:
        missing = sorted(SIDECAR_ENDPOINTS - self.channel.endpoints.keys())
        if missing:
            raise ValueError(f"channel.endpoints lacks {', '.join(missing)}")
        if not self.channel.private_networks:
            # Messages go to it before they are entered, so it has to be the operator's own.
            raise ValueError("channel.private_networks must name the operator's own network that the sidecar stands in")
        return self


SIDECAR_ENDPOINTS = frozenset({"wsse_sign", "wsse_verify", "xml_sign", "xml_verify"})


class FieldRule(Section):
    """A field that a route passes, as it is or transformed."""

    path: Text
    transform: Annotated[
        Literal["mask", "year_of", "age_band", "region_of", "bucket", "pseudonym"] | None, Field(alias="as")
    ] = None
    size: Annotated[Whole, Field(gt=0)] | None = None
    """Width of a bucket in the field's unit; years of an age band."""

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _size_where_needed(self) -> FieldRule:
        if (self.size is not None) != (self.transform in {"bucket", "age_band"}):
            raise ValueError('size goes with as = "bucket" and as = "age_band", and with nothing else')
        return self


class CessionConfig(Section):
    """An agreement of cession with the recipient: before it is signed nobody's identity goes to a buyer."""

    number: Text
    """As callers state it (`contract.cession`)."""
    signed_on: date


class RouteConfig(Section):
    """caller + this recipient + operation + purpose → ground, clauses, fields, guards, what is returned."""

    caller: Slug
    operation: Slug
    purpose: Slug
    ground: Ground
    service: Text | None = None
    """Which service needs it, where the ground is `service`."""
    instrument: Text | None = None
    """The law or internal document that sets the purpose, where the purpose is 1.1(24)."""
    clauses: Annotated[tuple[ClauseId, ...], Field(min_length=1)]
    fields: Annotated[tuple[FieldRule, ...], Field(min_length=1)]
    guards: tuple[Slug, ...] = ()
    returns: tuple[Text, ...] = ()
    kdp: Flag = False
    """The consent's КДП token travels in the call."""
    reuse_for: Span | None = None
    """For so long a report serves the same caller and purpose again, without a new disclosure."""
    k: Annotated[Whole, Field(ge=2, le=1000)] | None = None
    """Where rows go de-identified: as many rows at least must share their quasi-identifiers."""
    quasi: tuple[Text, ...] = ()
    """The fields that together may point at one person, in the order in which they are generalised."""


class RecallConfig(Section):
    """How the recipient is asked to stop and destroy, and for how long it may keep what left for one person alone."""

    due: Span = timedelta(days=10)
    """From asking to the last day on which it must be destroyed."""
    automatic: Flag = False
    """Recalls that Qaqpa proposes by itself go without a person's confirmation."""
    keep_for: Span | None = None
    """After which it must have destroyed what left for one person alone, and owes the act of it; for whole registers
    see `packages.keep_for`."""
    remind: Span = timedelta(days=30)
    """So long before that somebody is reminded."""


class RecipientFile(File):
    """config/recipients/<id>.toml"""

    id: Slug
    kind: Slug
    name: Words
    bin: Bin | None = None
    address: Text | None = None
    """Its postal address, as people are told to whom their data went (7.1(1))."""
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    """ISO 3166-1 alpha-2 of the state whose law binds it."""
    legal_form: Slug | None = None
    """What it is under law, e.g. `bank`, `collection_agency`: guards of cession ask (56-V art. 9-1)."""
    state_majority: Flag | None = None
    """The state holds the majority of its shares (56-V art. 9-1)."""
    affiliated: Flag | None = None
    """It is an affiliate of the operator (62-VI art. 4)."""
    adapter: Slug
    agreement: Agreement | None = None
    cessions: tuple[CessionConfig, ...] = ()
    """Agreements of cession with it."""
    channel: HttpsChannel
    seal: Annotated[SealConfig, Field(discriminator="kind")]
    packages: Packages | None = None
    """How whole registers go to it; without it none do."""
    signer: Annotated[RsaSigner | SidecarSigner, Field(discriminator="kind")] | None = None
    limits: Limits = Limits()
    breaker: Breaker = Breaker()
    retry: Retry = Retry()
    later: Later = Later()
    recall: RecallConfig = RecallConfig()
    settings: Mapping[str, str | int | bool | Mapping[str, str]] = {}
    """What the adapter asks for."""
    routes: tuple[RouteConfig, ...] = ()

    @property
    def longest_s(self) -> float:
        """Seconds that one try takes at most, the wait for its turn included."""
        return self.limits.wait_s + self.channel.connect_timeout_s + self.channel.answer_timeout_s
