"""The shape of each configuration file. Unknown keys are refused; every default is the narrow one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta, timezone
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from qaqpa.config.alerts import AlertsConfig
from qaqpa.config.base import (
    ClauseId,
    File,
    HttpsChannel,
    Number,
    Seconds,
    Secret,
    Section,
    Sha256,
    Span,
    Text,
    TrustedNetwork,
    Value,
    Whole,
)
from qaqpa.config.recipients import RecipientFile
from qaqpa.model.identifiers import Bin, Slug
from qaqpa.model.naming import skeleton
from qaqpa.model.words import Language, Words

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


class IssuerConfig(Section):
    """An OAuth 2 authorization server (RFC 6749 §4.4) whose access tokens are JWT (RFC 9068)."""

    issuer: Text
    """The `iss` of its tokens."""
    audience: Text
    """The `aud` that a token for this gate must name."""
    channel: HttpsChannel
    """Where its keys are; the one endpoint is named `jwks`."""
    algorithms: Annotated[tuple[Literal["RS256", "PS256", "ES256", "Ed25519", "EdDSA"], ...], Field(min_length=1)] = (
        "RS256",
    )
    keys_fresh_s: Annotated[Number, Field(ge=10, le=86_400)] = 600.0
    """After which its keys are fetched again."""
    keys_stale_s: Annotated[Number, Field(ge=0, le=86_400)] = 3_600.0
    """How much longer known keys serve while the issuer does not answer; then its tokens are refused."""


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


class ServiceConfig(Section):
    """`qaqpa serve`, and what every gateway does for its callers."""

    listen: Text = "127.0.0.1:8480"
    """Host and port."""
    certificate: Value | None = None
    """PEM file of the service's own certificate chain; without one it speaks plain HTTP, for a proxy on the machine."""
    key: Value | None = None
    """PEM file of its private key."""
    client_ca: Value | None = None
    """PEM file of the authorities whose certificates callers must show, where they must."""
    trusted_proxies: tuple[TrustedNetwork, ...] = ()
    """Proxies whose X-Forwarded-For says whose address a request comes from."""
    workers: Annotated[Whole, Field(ge=1, le=64)] = 1
    """Processes."""
    largest_request_bytes: Annotated[Whole, Field(ge=1024, le=8 * 2**20)] = 256 * 1024
    request_timeout_s: Seconds = 10.0
    """In which a whole request must have come."""
    shutdown_timeout_s: Seconds = 30.0
    """How long a stop waits for what is under way."""
    answers_kept_for: Span = timedelta(days=1)
    """How long the first answer to an Idempotency-Key is given again; sealed under the person's key."""
    issuers: Mapping[Slug, IssuerConfig] = {}
    """Who makes tokens (JWT) for callers."""


class ConsoleRole(StrEnum):
    """What a person may do in the console."""

    REVIEWER = "reviewer"
    """See every disclosure, with identities masked; export lists, draw reports."""
    INVESTIGATOR = "investigator"
    """See whom a disclosure is about, giving a reason each time."""
    APPROVER = "approver"
    """Ask for, and agree to, what takes two persons."""
    ADMINISTRATOR = "administrator"
    """Suspend and resume recipients, end other people's sessions."""


def _public_url(text: str) -> str:
    parts = re.fullmatch(r"(https?)://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?", text)
    if parts is None:
        raise ValueError("write the address that browsers use, without a path: https://gate.mfo.example")
    if parts[1] == "http" and parts[2] not in {"127.0.0.1", "localhost", "[::1]"}:
        raise ValueError("people sign in over https, or on the machine itself (http://127.0.0.1:8480)")
    return text


class OpenIdConfig(Section):
    """The OpenID Connect provider at which people sign in (OpenID Connect Core 1.0, code flow with PKCE)."""

    issuer: Text
    """The `iss` of its ID tokens."""
    authorization_url: Value
    """Where browsers are sent to sign in."""
    client_id: Text
    client_secret: Secret
    channel: HttpsChannel
    """How the provider is reached; its endpoints are named `token` and `jwks`."""
    algorithms: Annotated[tuple[Literal["RS256", "PS256", "ES256", "Ed25519", "EdDSA"], ...], Field(min_length=1)] = (
        "RS256",
    )
    scopes: tuple[Text, ...] = ("openid", "profile")
    roles_claim: Text = "groups"
    """The claim of an ID token that lists a person's groups."""
    roles: Annotated[Mapping[ConsoleRole, tuple[Text, ...]], Field(min_length=1)]
    """Groups that have each role; who is in none of them may not sign in."""
    recheck: Annotated[Span, Field(ge=timedelta(minutes=1))] = timedelta(minutes=15)
    """For so long what the provider said of somebody's groups is good; browsers go there anew in passing."""
    break_glass: bool = False
    """Whether links of `qaqpa console login` sign people in as well, for when the provider cannot."""

    @model_validator(mode="after")
    def _reachable(self) -> OpenIdConfig:
        if missing := {"token", "jwks"} - set(self.channel.endpoints):
            raise ValueError(f"channel.endpoints lacks {', '.join(sorted(missing))}")
        return self


class ConsoleConfig(Section):
    """The web console of `qaqpa serve`, under /console/."""

    caller: Slug = "compliance"
    """As which person of callers.toml its people act; none of them may do more than that caller."""
    url: Annotated[Text, AfterValidator(_public_url)] = "http://127.0.0.1:8480"
    """Where browsers find it: scheme, host and port, without a path."""
    idle: Span = timedelta(minutes=30)
    """After so long without a page a session ends."""
    longest: Span = timedelta(hours=8)
    """After so long a session ends in any case."""
    openid: OpenIdConfig | None = None
    """Without one, people sign in by a link that `qaqpa console login` prints."""
    people: Mapping[Text, tuple[ConsoleRole, ...]] = {}
    """Whom links may be made for, and their roles at most; where nobody stands here, for anybody."""

    @field_validator("people")
    @classmethod
    def _told_apart(cls, people: Mapping[str, tuple[ConsoleRole, ...]]) -> Mapping[str, tuple[ConsoleRole, ...]]:
        seen: dict[str, str] = {}
        for name in people:
            other = seen.setdefault(skeleton(name), name)
            if other != name:
                raise ValueError(f"{name} and {other} would be taken for one person: write more of their names")
        return people

    @property
    def takes_links(self) -> bool:
        """Whether people may sign in by links."""
        return self.openid is None or self.openid.break_glass

    def link_roles(self, person: str) -> frozenset[ConsoleRole]:
        """Roles that a link may give to `person`, as things stand."""
        if not self.takes_links:
            return frozenset()
        return frozenset(self.people.get(person, ()) if self.people else ConsoleRole)


class DraftConfig(Section):
    """A policy that is not in force yet."""

    draft: Text | None = None
    """Its folder, which holds `policy/` and `recipients/` whole; a relative path begins in this configuration's."""


class FactsConfig(Section):
    """The operator's own loan system, where facts of contracts are looked up."""

    channel: HttpsChannel
    """How it is reached; its one endpoint is named `contracts`."""
    batch: Annotated[Whole, Field(ge=1, le=500)] = 500
    """Contracts in one question at most."""

    @model_validator(mode="after")
    def _the_operators_own(self) -> FactsConfig:
        if "contracts" not in self.channel.endpoints:
            raise ValueError("channel.endpoints lacks contracts")
        if not self.channel.private_networks:
            # Contract numbers go to it before anything is entered, so it has to be the operator's own.
            raise ValueError("channel.private_networks must name the operator's own network that the loan system is in")
        return self


class GatewayFile(File):
    """config/gateway.toml"""

    operator: OperatorConfig
    store: StoreConfig
    keys: KeysConfig
    ledger: LedgerConfig
    service: ServiceConfig = ServiceConfig()
    console: ConsoleConfig = ConsoleConfig()
    policy: DraftConfig = DraftConfig()
    facts: FactsConfig | None = None
    alerts: AlertsConfig = AlertsConfig()
    language: Language = "ru"
    """In which sentences for people are said where nobody asks for another."""


# --- callers.toml ----------------------------------------------------------------------------------


class Role(StrEnum):
    """What a caller may do."""

    DISCLOSE = "disclose"
    CONSENTS = "consents"
    REVIEW = "review"
    OPERATE = "operate"
    ACKNOWLEDGE = "acknowledge"
    """Hand in receipts of one recipient's packages, and nothing else: for the recipient itself."""


class CallerConfig(Section):
    """An internal service or person."""

    kind: Literal["service", "person"]
    name: Words
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    clients: Mapping[Slug, Text] = {}
    """Its client id at an issuer, where it comes with JWT."""
    recipient: Slug | None = None
    """Which recipient it is, where its role is `acknowledge`."""

    @model_validator(mode="after")
    def _acknowledges_alone(self) -> CallerConfig:
        if (Role.ACKNOWLEDGE in self.roles) != (self.recipient is not None):
            raise ValueError("the role acknowledge and the recipient whose receipts are handed in go together")
        if self.recipient is not None and len(self.roles) > 1:
            raise ValueError("acknowledge is the role of a recipient, which gets no other role")
        return self


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
    kept: Text | None = None
    """Folder that holds `policy/` and `recipients/` as they were under this version, to tell later ones from it; a
    relative path begins in this configuration's."""


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
