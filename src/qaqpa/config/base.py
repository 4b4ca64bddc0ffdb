"""What configuration files are made of: texts, numbers, references, sections, and the HTTPS channel."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
)

from qaqpa.config.references import is_reference
from qaqpa.model.identifiers import Slug

Text = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
# Strict: TOML has numbers and truth values of its own, so `true` is no number here.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=0, le=600)]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _span(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d{0,4}[mhd]", value):
        raise ValueError("a span of time is a whole number of minutes, hours or days: 30m, 24h, 10d")
    return timedelta(**{_UNITS[value[-1]]: int(value[:-1])})


Span = Annotated[timedelta, BeforeValidator(_span)]
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


def _network(text: str) -> str:
    if not text.startswith("env:"):
        ipaddress.ip_network(text)
    return text


def _trusted(text: str) -> str:
    if ipaddress.ip_network(text).prefixlen == 0:
        raise ValueError("this is every address there is: name those of your proxies")
    return text


TrustedNetwork = Annotated[str, AfterValidator(_trusted)]
"""Addresses whose word is taken: `10.1.2.3` or `10.1.2.0/24`."""


def _pin(text: str) -> str:
    try:
        digest = base64.b64decode(text.removeprefix("sha256/"), validate=True)
    except binascii.Error:
        digest = b""
    if not text.startswith("sha256/") or len(digest) != 32:
        raise ValueError("a key pin is sha256/ and the base64 of SHA-256 over the SubjectPublicKeyInfo")
    return text


NetworkText = Annotated[str, AfterValidator(_network)]
"""A network, `10.0.0.0/8`, or `env:` of several with commas between."""


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
    private_networks: tuple[NetworkText, ...] = ()
    """Networks beside the public ones that its addresses may lie in (a leased line); `env:` when unset adds none."""
    connect_timeout_s: Seconds = 3.0
    answer_timeout_s: Seconds = 10.0
    """The longest silence; this and the time to connect together bound the whole exchange."""
    max_answer_bytes: Annotated[Whole, Field(gt=0, le=2**30)] = 4 * 2**20
