"""JWE compact (RFC 7516) with a pinned algorithm and A256GCM; never `zip`, which leaks what it compresses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from qaqpa.config.seals import JweSeal
from qaqpa.errors import NotConfigured
from qaqpa.model.words import SealKind
from qaqpa.seal.keys import SMALLEST_RSA, read_key

ENC: Literal["A256GCM"] = "A256GCM"
_IMPORT: dict[str, Callable[[Any], ECKey | OKPKey | RSAKey]] = {
    "EC": ECKey.import_key,
    "OKP": OKPKey.import_key,
    "RSA": RSAKey.import_key,
}
_CURVES = {"P-256", "X25519"}


@dataclass(frozen=True, slots=True)
class JweKey:
    """A `RecipientKey` from a JWK."""

    alg: str
    kid: str
    key: ECKey | OKPKey | RSAKey = field(repr=False)
    kind: ClassVar[SealKind] = SealKind.JWE
    media_type: ClassVar[str] = "application/jose"
    expires_at: ClassVar[datetime | None] = None

    def encrypt(self, content: bytes, content_type: str) -> bytes:
        """As `RecipientKey`; the type goes into the header as `cty`."""
        header = {"alg": self.alg, "enc": ENC, "kid": self.kid, "cty": content_type}
        return jwe.encrypt_compact(header, content, self.key, algorithms=[self.alg, ENC]).encode()


def load_jwe(config: JweSeal, path: str) -> JweKey:
    """The public key in the JWK file (RFC 7517) at `path`. Raises NotConfigured with what is wrong."""
    content = read_key(path)
    try:
        jwk = json.loads(content)
        key = _IMPORT[jwk["kty"]](jwk)
    except (JoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NotConfigured(f"seal.key: {path} is not a public key as JWK (RFC 7517)") from None
    if key.is_private:
        raise NotConfigured(f"seal.key: {path} holds a private key; ask the recipient for the public one only")
    wanted = RSAKey if config.alg == "RSA-OAEP-256" else (ECKey, OKPKey)
    if not isinstance(key, wanted) or (isinstance(key, ECKey | OKPKey) and key.curve_name not in _CURVES):
        raise NotConfigured(f"seal.key: {path} does not fit {config.alg} (P-256, X25519 or RSA)")
    if isinstance(key, RSAKey) and key.raw_value.key_size < SMALLEST_RSA:
        raise NotConfigured(f"seal.key: {path} is an RSA key of less than {SMALLEST_RSA} bits")
    if key.alg not in {None, config.alg}:
        raise NotConfigured(f"seal.key: {path} is a key for {key.alg}, but seal.alg is {config.alg}")
    loaded = JweKey(config.alg, key.kid or key.thumbprint(), key)
    try:
        # Tried once now, so that a key that cannot encrypt stops the recipient and not a disclosure half-way.
        loaded.encrypt(b"", "text/plain")
    except (JoseError, ValueError, TypeError):
        raise NotConfigured(f"seal.key: {path} cannot be encrypted to (its use, key_ops or value forbid it)") from None
    return loaded
