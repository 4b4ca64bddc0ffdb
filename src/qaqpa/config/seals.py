"""The shape of `[seal]`: how what leaves is encrypted to its recipient."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from qaqpa.config.base import Section, Text, Value
from qaqpa.model.words import SealKind


class JweSeal(Section):
    """JWE compact to the recipient's public key."""

    kind: Literal[SealKind.JWE]
    alg: Literal["ECDH-ES", "RSA-OAEP-256"]
    key: Value
    """File of the public key as JWK."""


class AgeSeal(Section):
    """age to the recipient's X25519 key."""

    kind: Literal[SealKind.AGE]
    key: Value
    """File of the public key: one line `age1…`."""


class CmsSeal(Section):
    """CMS AuthEnvelopedData, AES-256-GCM, to the key in the recipient's certificate."""

    kind: Literal[SealKind.CMS]
    alg: Literal["ECDH-ES", "RSA-OAEP-256"]
    """How the content's key is encrypted; ECDH is on P-256."""
    key: Value
    """File of the recipient's certificate (X.509, PEM)."""


class OpenPgpSeal(Section):
    """OpenPGP to the encryption keys of the recipient's certificate."""

    kind: Literal[SealKind.OPENPGP]
    fingerprint: Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$")]
    """Of the primary key, without blanks: it pins the key, and with it the algorithms."""
    key: Value
    """File of the recipient's certificate (public key), armoured or not."""


class TlsOnlySeal(Section):
    """No encryption beside TLS."""

    kind: Literal[SealKind.TLS_ONLY]
    reason: Text
    """Why the recipient accepts nothing else."""


SealConfig = JweSeal | AgeSeal | CmsSeal | OpenPgpSeal | TlsOnlySeal
PackageSeal = AgeSeal | CmsSeal | OpenPgpSeal
"""Those that a package can be written with, in bounded memory."""
