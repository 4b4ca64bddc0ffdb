# long: the shapes of all configuration files, to be read beside each other
"""The shape of each configuration file. Unknown keys are refused; every default is the narrow one."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta, timezone
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    model_validator,
)

from qaqpa.config.references import is_reference
from qaqpa.model.identifiers import Bin, Slug
from qaqpa.model.words import Ground, Language, SealKind, Words

Text = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
# Strict: TOML has numbers and truth values of its own, so `true` is no number here.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=0, le=600)]
ClauseId = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+(\(\d+\))?$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


Value = Text
"""A literal, or a reference (`env:`, `file:`, `credential:`) that is read when the gateway opens."""


def _secret(text: str) -> str:
    if not is_reference(text):
        raise ValueError("a secret is never written here: refer to it as env:, file: or credential:")
    return text


Secret = Annotated[str, AfterValidator(_secret)]
"""A reference to something secret."""


class Section(BaseModel):
    """A table of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _version(value: object) -> int:
    if type(value) is not int or value != 1:
        raise ValueError("must be 1, the only format of this file so far")
    return 1


class File(Section):
    """A whole configuration file."""

    version: Annotated[int, BeforeValidator(_version)]


# --- gateway.toml ----------------------------------------------------------------------------------


class OperatorConfig(Section):
    """The organisation whose gate this is."""

    name: Text
    bin: Bin
    utc_offset_hours: Annotated[Whole, Field(ge=-12, le=14)] = 5
    """Legal days begin at midnight there; Kazakhstan is UTC+5 since 2024-03-01."""

    @property
    def time_zone(self) -> timezone:
        """The zone in which dates of law and agreements are read."""
        return timezone(timedelta(hours=self.utc_offset_hours))


class StoreConfig(Section):
    """Where the ledger lives."""

    url: Value


def _network(text: str) -> str:
    if not text.startswith("env:"):
        ipaddress.ip_network(text)
    return text


def _pin(text: str) -> str:
    try:
        digest = base64.b64decode(text.removeprefix("sha256/"), validate=True)
    except binascii.Error:
        digest = b""
    if not text.startswith("sha256/") or len(digest) != 32:
        raise ValueError("a key pin is sha256/ and the base64 of SHA-256 over the SubjectPublicKeyInfo")
    return text


class HttpsChannel(Section):
    """How the recipient is reached. Host, port and path are pinned; nothing is followed elsewhere."""

    kind: Literal["https"]
    endpoints: Annotated[Mapping[Slug, Value], Field(min_length=1)]
    """Address by the endpoint names of the adapter."""
    ca: Value
    """PEM file of the authorities to trust. Never the machine's own: what those are, the environment can change."""
    key_pins: tuple[Annotated[str, AfterValidator(_pin)], ...] = ()
    client_certificate: Value | None = None
    """PEM file: certificate chain and key."""
    private_networks: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    """Networks beside the public ones that its addresses may lie in (a leased line); `env:` when unset adds none."""
    connect_timeout_s: Seconds = 3.0
    answer_timeout_s: Seconds = 10.0
    """The longest silence; this and the time to connect together bound the whole exchange."""
    max_answer_bytes: Annotated[Whole, Field(gt=0, le=2**30)] = 4 * 2**20


class Pkcs11Config(Section):
    """A hardware security module that keeps the keys instead of the keyring's file."""

    module: Value
    """The manufacturer's PKCS#11 library."""
    token: Text
    """Label of the token."""
    pin: Secret


class KeysConfig(Section):
    """Where the keys live."""

    keyring: Value
    """The keyring's file: what is public of it, and without an HSM the keys."""
    passphrase: Secret | None = None
    """What the keys in the file are encrypted with; always a reference."""
    pkcs11: Pkcs11Config | None = None

    @model_validator(mode="after")
    def _one_protection(self) -> KeysConfig:
        if self.passphrase is not None and self.pkcs11 is not None:
            raise ValueError("keys in an HSM have no passphrase: give passphrase or pkcs11, not both")
        return self


def _origin(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*\.[a-z]+(/[A-Za-z0-9._/-]+)?", text):
        raise ValueError("an origin is a host name of yours with a path, without a scheme: mfo.example/disclosures")
    return text


class WitnessConfig(Section):
    """Somebody outside who cosigns checkpoints (C2SP tlog-witness)."""

    vkey: Text
    """The witness's verifier key: name+hash+base64."""
    channel: HttpsChannel
    """How it is reached; its one endpoint is named `witness`."""


class LedgerConfig(Section):
    """How the ledger is kept."""

    origin: Annotated[Text, AfterValidator(_origin)]
    """The log's name in its checkpoints, unique in the world and never changed (C2SP tlog-checkpoint)."""
    checkpoint: Value = "checkpoint.txt"
    """The file outside the database that keeps the last checkpoint."""
    checkpoint_every_ms: Annotated[Whole, Field(ge=10, le=3_600_000)] = 1_000
    """While the tree grows, a checkpoint is made at most so often."""
    witnesses: tuple[WitnessConfig, ...] = ()
    clock_tolerance_s: Annotated[Number, Field(ge=0, le=300)] = 30.0
    """How far the clock may stand behind the last entry before nothing leaves any more."""


class GatewayFile(File):
    """config/gateway.toml"""

    operator: OperatorConfig
    store: StoreConfig
    keys: KeysConfig
    ledger: LedgerConfig
    language: Language = "ru"
    """In which sentences for people are said where nobody asks for another."""


# --- callers.toml ----------------------------------------------------------------------------------


class Role(StrEnum):
    """What a caller may do."""

    DISCLOSE = "disclose"
    CONSENTS = "consents"
    REVIEW = "review"
    OPERATE = "operate"


class CallerConfig(Section):
    """An internal service or person."""

    kind: Literal["service", "person"]
    name: Words
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]


class CallersFile(File):
    """config/callers.toml"""

    callers: Mapping[Slug, CallerConfig]


# --- policy/ ---------------------------------------------------------------------------------------


class PolicyVersion(Section):
    """One version of the policy; in force from its publication until the next one (9.2)."""

    id: Text
    effective: Annotated[date, Field(alias="from")]
    sha256: Sha256
    """Of the official document, as published."""
    title: Words


class PolicyFile(File):
    """config/policy/policy.toml"""

    versions: Annotated[tuple[PolicyVersion, ...], Field(min_length=1)]


class ClauseConfig(Words):
    """Our summary of a clause; 1.1(n) also gives its purpose a name."""

    purpose: Slug | None = None


class ClausesFile(File):
    """config/policy/clauses.toml"""

    clauses: Mapping[ClauseId, ClauseConfig]


class GuardConfig(Section):
    """A named condition in CEL."""

    when: Text
    clause: ClauseId
    instrument: Text | None = None
    effective: Annotated[date | None, Field(alias="from")] = None
    until: date | None = None
    """The last day on which it holds."""
    expect: Words
    otherwise: Words


class GuardsFile(File):
    """config/policy/guards.toml"""

    guards: Mapping[Slug, GuardConfig]


# --- recipients/<id>.toml --------------------------------------------------------------------------


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


class JweSeal(Section):
    """JWE compact to the recipient's public key."""

    kind: Literal[SealKind.JWE]
    alg: Literal["ECDH-ES", "RSA-OAEP-256"]
    key: Value
    """File of the public key as JWK."""


class TlsOnlySeal(Section):
    """No encryption beside TLS."""

    kind: Literal[SealKind.TLS_ONLY]
    reason: Text
    """Why the recipient accepts nothing else."""


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


class RecipientFile(File):
    """config/recipients/<id>.toml"""

    id: Slug
    kind: Slug
    name: Words
    bin: Bin | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    """ISO 3166-1 alpha-2 of the state whose law binds it."""
    adapter: Slug
    agreement: Agreement | None = None
    channel: HttpsChannel
    seal: Annotated[JweSeal | TlsOnlySeal, Field(discriminator="kind")]
    signer: Annotated[RsaSigner | SidecarSigner, Field(discriminator="kind")] | None = None
    limits: Limits = Limits()
    breaker: Breaker = Breaker()
    retry: Retry = Retry()
    settings: Mapping[str, str | int | bool] = {}
    """What the adapter asks for."""
    routes: tuple[RouteConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the operator configured, structurally right; `policy.compile_policy` checks its meaning."""

    gateway: GatewayFile
    callers: Mapping[str, CallerConfig]
    versions: tuple[PolicyVersion, ...]
    clauses: Mapping[str, ClauseConfig]
    guards: Mapping[str, GuardConfig]
    recipients: Mapping[str, RecipientFile]
    digest: str
    """SHA-256 over every file, by name."""
    unread: frozenset[str] = frozenset()
    """Files that could not be read: nothing is said about names that they would define."""
