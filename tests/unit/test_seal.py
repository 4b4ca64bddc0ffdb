"""Seals: read back by two other implementations, made only to a key that serves, and only from an intent."""

from __future__ import annotations

import base64
import json
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwe as joserfc_jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from jwcrypto import jwe as jwcrypto_jwe
from jwcrypto import jwk as jwcrypto_jwk

from qaqpa.config.seals import JweSeal, TlsOnlySeal
from qaqpa.errors import NotConfigured
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.disclosure import Intent, Message, Sealed
from qaqpa.model.identifiers import CallerId, DisclosureId, RecipientId, SubjectId
from qaqpa.model.words import SealKind, Words
from qaqpa.seal import RecipientKey, load_key, seal

MESSAGE = Message("<иин>900101300017</иин>".encode(), "text/xml; charset=utf-8", "report", {"SOAPAction": "GetReport"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1"}, private=True)
X25519 = OKPKey.generate_key("X25519", {"kid": "okp-1"}, private=True)
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"}, private=True)
PAIRS: dict[str, tuple[str, Key]] = {
    "ECDH-ES P-256": ("ECDH-ES", EC),
    "ECDH-ES X25519": ("ECDH-ES", X25519),
    "RSA-OAEP-256": ("RSA-OAEP-256", RSA),
}
MODULUS_1024 = base64.urlsafe_b64encode(b"\xc1" + bytes(126) + b"\x01").decode().rstrip("=")
ZERO = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")


def decided(*results: Result) -> Decision:
    asked = Asked(CallerId("c"), RecipientId("r"), "o", "p")
    words = Words(ru="р", kk="к", en="e")
    return Decision(asked, datetime.now(UTC), tuple(GuardResult("g", "1.1", words, each) for each in results))


INTENT = Intent(DisclosureId("d-1"), 0, SubjectId("s"), decided(Result.PERMIT), MESSAGE)


def public(key: Key, **changes: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), **changes}


def loaded(folder: Path, alg: str, content: Any) -> RecipientKey | None:
    path = folder / "key.jwk"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return load_key(JweSeal(kind=SealKind.JWE, alg=alg, key="key.jwk"), str(path), datetime.now(UTC))


@pytest.mark.parametrize(("alg", "key"), PAIRS.values(), ids=PAIRS.keys())
def test_two_other_implementations_read_what_was_sealed(tmp_path: Path, alg: str, key: Key) -> None:
    sealed = seal(INTENT, loaded(tmp_path, alg, public(key)), idempotent=False)

    read = joserfc_jwe.decrypt_compact(sealed.body, key, algorithms=[alg, "A256GCM"])
    assert read.plaintext == MESSAGE.body
    second = jwcrypto_jwe.JWE(algs=[alg, "A256GCM"])
    second.deserialize(sealed.body.decode(), jwcrypto_jwk.JWK(**key.as_dict(private=True)))
    assert second.payload == MESSAGE.body


@pytest.mark.parametrize(("alg", "key"), PAIRS.values(), ids=PAIRS.keys())
def test_the_header_pins_the_algorithm_and_never_compresses(tmp_path: Path, alg: str, key: Key) -> None:
    sealed = seal(INTENT, loaded(tmp_path, alg, public(key)), idempotent=True)
    assert sealed.body.count(b".") == 4
    first = sealed.body.split(b".")[0]
    header = json.loads(base64.urlsafe_b64decode(first + b"=" * (-len(first) % 4)))
    assert header.pop("epk", None) if alg == "ECDH-ES" else "epk" not in header
    assert header == {"alg": alg, "enc": "A256GCM", "kid": key.kid, "cty": MESSAGE.content_type}
    assert sealed.content_type == "application/jose"
    assert (sealed.kind, sealed.headers, sealed.idempotent) == (SealKind.JWE, MESSAGE.headers, True)
    assert b"900101300017" not in sealed.body


@pytest.mark.parametrize(("alg", "key"), PAIRS.values(), ids=PAIRS.keys())
def test_no_two_seals_of_one_message_are_alike(tmp_path: Path, alg: str, key: Key) -> None:
    to = loaded(tmp_path, alg, public(key))
    bodies = [seal(INTENT, to, idempotent=False).body.split(b".") for _ in range(10)]
    assert len({body[2] for body in bodies}) == len({body[3] for body in bodies}) == 10


def test_a_changed_seal_does_not_open(tmp_path: Path) -> None:
    body = seal(INTENT, loaded(tmp_path, "ECDH-ES", public(EC)), idempotent=False).body
    parts = body.split(b".")
    for at in (2, 3, 4):
        raw = bytearray(base64.urlsafe_b64decode(parts[at] + b"=" * (-len(parts[at]) % 4)))
        raw[0] ^= 1
        changed = [*parts[:at], base64.urlsafe_b64encode(raw).rstrip(b"="), *parts[at + 1 :]]
        with pytest.raises(JoseError):
            joserfc_jwe.decrypt_compact(b".".join(changed), EC, algorithms=["ECDH-ES", "A256GCM"])


def test_a_key_without_an_id_is_named_by_its_thumbprint(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256")
    to = loaded(tmp_path, "ECDH-ES", public(key))
    assert to is not None and to.kid == key.thumbprint()


REFUSED: dict[str, tuple[str, Any]] = {
    "a private EC key": ("ECDH-ES", EC.as_dict(private=True)),
    "a private X25519 key": ("ECDH-ES", X25519.as_dict(private=True)),
    "a private RSA key": ("RSA-OAEP-256", RSA.as_dict(private=True)),
    "an RSA key for ECDH-ES": ("ECDH-ES", public(RSA)),
    "an EC key for RSA": ("RSA-OAEP-256", public(EC)),
    "an X25519 key for RSA": ("RSA-OAEP-256", public(X25519)),
    "a symmetric key": ("ECDH-ES", OctKey.generate_key(256).as_dict()),
    "an RSA key of 1024 bits": ("RSA-OAEP-256", {"kty": "RSA", "e": "AQAB", "n": MODULUS_1024}),
    "P-384": ("ECDH-ES", public(ECKey.generate_key("P-384"))),
    "P-521": ("ECDH-ES", public(ECKey.generate_key("P-521"))),
    "secp256k1": ("ECDH-ES", public(ECKey.generate_key("secp256k1"))),
    "Ed25519, which only signs": ("ECDH-ES", public(OKPKey.generate_key("Ed25519"))),
    "X448": ("ECDH-ES", public(OKPKey.generate_key("X448"))),
    "a point that is not on the curve": ("ECDH-ES", public(EC, y=ZERO)),
    "an X25519 point of small order": ("ECDH-ES", public(X25519, x=ZERO)),
    "an X25519 point that is too short": ("ECDH-ES", public(X25519, x="AQAB")),
    "an RSA exponent of 1": ("RSA-OAEP-256", public(RSA, e="AQ")),
    "an RSA modulus that is even": (
        "RSA-OAEP-256",
        public(RSA, n=base64.urlsafe_b64encode(b"\xff" + bytes(255)).decode().rstrip("=")),
    ),
    "a key that its owner made for signatures": ("ECDH-ES", public(EC, use="sig")),
    "a key whose operations are others": ("ECDH-ES", public(EC, key_ops=["verify"])),
    "a key that its owner made for another algorithm": ("ECDH-ES", public(EC, alg="ES256")),
    "a set of keys": ("ECDH-ES", {"keys": [public(EC)]}),
    "a list": ("ECDH-ES", [public(EC)]),
    "no kty": ("ECDH-ES", {"crv": "P-256"}),
    "a kty that is a list": ("ECDH-ES", {"kty": []}),
    "a PEM": ("ECDH-ES", b"-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"),
    "nothing": ("ECDH-ES", b""),
    "noise": ("ECDH-ES", bytes(range(256))),
    "brackets without end": ("ECDH-ES", b"[" * 100_000),
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize(("alg", "content"), REFUSED.values(), ids=REFUSED.keys())
def test_a_key_that_does_not_serve_is_refused_when_it_is_loaded(tmp_path: Path, alg: str, content: Any) -> None:
    # Later would be too late: an intent would be in the ledger, and no outcome.
    with pytest.raises(NotConfigured, match=r"^seal\.key: ") as refused:
        loaded(tmp_path, alg, content)
    assert EC.as_dict(private=True)["d"] not in str(refused.value)


def test_a_missing_key_file_is_not_configured(tmp_path: Path) -> None:
    config = JweSeal(kind=SealKind.JWE, alg="ECDH-ES", key="x")
    for path in (tmp_path / "nowhere.jwk", tmp_path):
        with pytest.raises(NotConfigured, match="cannot be read"):
            load_key(config, str(path), datetime.now(UTC))


def test_tls_only_leaves_the_message_as_it_is() -> None:
    assert load_key(TlsOnlySeal(kind=SealKind.TLS_ONLY, reason="they publish no key"), "", datetime.now(UTC)) is None
    sealed = seal(INTENT, None, idempotent=True)
    assert (sealed.kind, sealed.body, sealed.content_type) == (SealKind.TLS_ONLY, MESSAGE.body, MESSAGE.content_type)
    assert (sealed.intent, sealed.headers, sealed.idempotent) == (INTENT, MESSAGE.headers, True)


# --- only from an intent ---------------------------------------------------------------------------

BLOCKING = {
    "a deny": (Result.DENY,),
    "a gap": (Result.GAP,),
    "a deny among permits": (Result.PERMIT, Result.DENY, Result.PERMIT),
    "no guard": (),
}


@pytest.mark.promise(3)
@pytest.mark.parametrize("results", BLOCKING.values(), ids=BLOCKING.keys())
def test_nothing_makes_a_sealed_from_a_decision_that_does_not_permit(results: tuple[Result, ...]) -> None:
    decision = decided(*results)
    with pytest.raises(TypeError, match="permitting"):
        Intent(DisclosureId("d"), 0, SubjectId("s"), decision, MESSAGE)
    with pytest.raises(TypeError, match="permitting"):
        replace(INTENT, decision=decision)
    with pytest.raises(FrozenInstanceError):
        INTENT.decision = decision  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        INTENT.decision.guards = ()  # type: ignore[misc]


class Forged:
    """Something with the attributes of an intent."""

    id, index, subject, message = "d", 0, "s", MESSAGE
    decision = decided(Result.DENY)


@pytest.mark.promise(3)
@pytest.mark.parametrize("forged", [Forged(), None, decided(Result.PERMIT)], ids=["look-alike", "none", "decision"])
def test_a_sealed_is_made_from_an_intent_and_from_nothing_that_looks_like_one(forged: Any) -> None:
    with pytest.raises(TypeError):
        Sealed(forged, SealKind.TLS_ONLY, b"", "text/plain")
    with pytest.raises((TypeError, AttributeError)):
        seal(forged, None, idempotent=False)
