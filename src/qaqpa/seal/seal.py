"""The one function that makes a `Sealed`, and only from an `Intent`: so nothing goes out that the ledger lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from qaqpa.config.recipients import JweSeal, TlsOnlySeal
from qaqpa.errors import NotConfigured
from qaqpa.model.disclosure import Intent, Sealed
from qaqpa.model.words import SealKind

ENC: Literal["A256GCM"] = "A256GCM"
_SMALLEST_RSA = 2048
_IMPORT: dict[str, Callable[[Any], ECKey | OKPKey | RSAKey]] = {
    "EC": ECKey.import_key,
    "OKP": OKPKey.import_key,
    "RSA": RSAKey.import_key,
}
_CURVES = {"P-256", "X25519"}


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """A recipient's public key with the algorithm that its configuration pins."""

    alg: str
    kid: str
    key: ECKey | OKPKey | RSAKey = field(repr=False)


def load_key(config: JweSeal | TlsOnlySeal, path: str) -> RecipientKey | None:
    """The public key in the JWK file at `path`; None for `tls_only`. Raises NotConfigured with what is wrong."""
    if isinstance(config, TlsOnlySeal):
        return None
    try:
        jwk = json.loads(Path(path).read_bytes())
        key = _IMPORT[jwk["kty"]](jwk)
    except OSError as error:
        raise NotConfigured(f"seal.key: {path} cannot be read: {error.strerror}") from None
    except (JoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NotConfigured(f"seal.key: {path} is not a public key as JWK (RFC 7517)") from None
    if key.is_private:
        raise NotConfigured(f"seal.key: {path} holds a private key; ask the recipient for the public one only")
    wanted = RSAKey if config.alg == "RSA-OAEP-256" else (ECKey, OKPKey)
    if not isinstance(key, wanted) or (isinstance(key, ECKey | OKPKey) and key.curve_name not in _CURVES):
        raise NotConfigured(f"seal.key: {path} does not fit {config.alg} (P-256, X25519 or RSA)")
    if isinstance(key, RSAKey) and key.raw_value.key_size < _SMALLEST_RSA:
        raise NotConfigured(f"seal.key: {path} is an RSA key of less than {_SMALLEST_RSA} bits")
    if key.alg not in {None, config.alg}:
        raise NotConfigured(f"seal.key: {path} is a key for {key.alg}, but seal.alg is {config.alg}")
    loaded = RecipientKey(config.alg, key.kid or key.thumbprint(), key)
    try:
        # Tried once now, so that a key that cannot encrypt stops the recipient and not a disclosure half-way.
        _encrypt(loaded, b"", "text/plain")
    except (JoseError, ValueError, TypeError):
        raise NotConfigured(f"seal.key: {path} cannot be encrypted to (its use, key_ops or value forbid it)") from None
    return loaded


def _encrypt(key: RecipientKey, content: bytes, content_type: str) -> bytes:
    header = {"alg": key.alg, "enc": ENC, "kid": key.kid, "cty": content_type}
    return jwe.encrypt_compact(header, content, key.key, algorithms=[key.alg, ENC]).encode()


def seal(intent: Intent, key: RecipientKey | None, *, idempotent: bool) -> Sealed:
    """Encrypt the intent's message to `key`, or leave it to TLS where the configuration says so (`key` is None).

    JWE compact (RFC 7516) with the pinned algorithm and A256GCM; never `zip`, which leaks what it compresses.
    """
    message = intent.message
    if key is None:
        return Sealed(
            intent,
            SealKind.TLS_ONLY,
            message.body,
            message.content_type,
            message.headers,
            idempotent=idempotent,
        )
    token = _encrypt(key, message.body, message.content_type)
    return Sealed(intent, SealKind.JWE, token, "application/jose", message.headers, idempotent=idempotent)
