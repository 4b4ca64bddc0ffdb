"""CMS AuthEnvelopedData (RFC 5083, 5084): AES-256-GCM, its key by RSA-OAEP with SHA-256 or by ECDH on P-256.

The structures are asn1crypto's, the cryptography is `cryptography`'s. The content stands in BER of indefinite length,
so that it is written as it comes; `openssl cms -decrypt` reads it.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from asn1crypto import algos, cms, core, keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import PublicKeyAlgorithmOID

from qaqpa.config.seals import CmsSeal
from qaqpa.errors import NotConfigured
from qaqpa.model.words import SealKind
from qaqpa.seal.keys import SMALLEST_RSA, Sealing, Sink, read_key

ECDH_SHA256 = "1.3.132.1.11.1"
"""dhSinglePass-stdDH-sha256kdf-scheme (RFC 5753, 7.1.4)."""
AES256_WRAP = "2.16.840.1.101.3.4.1.45"
LONGEST = 2**36 - 32
"""Bytes that one key and nonce of GCM may encrypt (NIST SP 800-38D, 5.2.1.1)."""
_END = b"\x00\x00"
_OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)


@dataclass(frozen=True, slots=True)
class CmsKey:
    """A `PackageKey` from an X.509 certificate."""

    certificate: x509.Certificate = field(repr=False)
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = field(repr=False)
    kind: ClassVar[SealKind] = SealKind.CMS
    media_type: ClassVar[str] = "application/cms"

    @property
    def kid(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return self.certificate.fingerprint(SHA256()).hex()

    @property
    def expires_at(self) -> datetime:
        """When the certificate does, in UTC."""
        return self.certificate.not_valid_after_utc

    def encrypt(self, content: bytes, content_type: str) -> bytes:
        """As `RecipientKey`; binary."""
        out = io.BytesIO()
        sealing = self.into(out)
        sealing.write(content)
        sealing.finish()
        return out.getvalue()

    def into(self, file: Sink) -> Sealing:
        """As `PackageKey`; at most `LONGEST` bytes of content."""
        key = os.urandom(32)
        named = asn1_x509.Certificate.load(self.certificate.public_bytes(Encoding.DER))
        rid = cms.IssuerAndSerialNumber({"issuer": named.issuer, "serial_number": named.serial_number})
        if isinstance(self.key, rsa.RSAPublicKey):
            return _Cms(file, key, _transported(self.key, key, rid))
        return _Cms(file, key, _agreed(self.key, key, rid))


class _Cms:
    """A `Sealing`."""

    def __init__(self, file: Sink, key: bytes, recipient: cms.RecipientInfo) -> None:
        nonce = os.urandom(12)
        self._file, self._size = file, 0
        self._gcm = Cipher(algorithms.AES256(key), modes.GCM(nonce)).encryptor()
        version, content_type = cms.CMSVersion("v0").dump(), core.ObjectIdentifier("1.2.840.113549.1.7.1").dump()
        outer = core.ObjectIdentifier("1.2.840.113549.1.9.16.1.23").dump()
        # RFC 5084, 3.2: GCMParameters. The content is plain data, so there are no attributes to authenticate.
        gcm = _sequence(core.ObjectIdentifier("2.16.840.1.101.3.4.1.46"), _Parameters({"nonce": nonce, "length": 16}))
        # SEQUENCE, [0], SEQUENCE, then SEQUENCE and [0], all of them of indefinite length.
        file.write(b"\x30\x80" + outer + b"\xa0\x80\x30\x80" + version + cms.RecipientInfos([recipient]).dump())
        file.write(b"\x30\x80" + content_type + gcm + b"\xa0\x80")

    def write(self, block: bytes) -> None:
        """As `Sealing`. Raises OSError where the content grows too long for one message."""
        self._size += len(block)
        if self._size > LONGEST:
            raise OSError(None, "CMS with GCM ends at 64 GiB: divide the handover, or agree on age")
        if block:
            sealed = self._gcm.update(block)
            self._file.write(core.OctetString(sealed).dump())

    def finish(self) -> None:
        """As `Sealing`."""
        self._gcm.finalize()
        # [0] and the SEQUENCE around it end, the tag follows, and the other three end.
        self._file.write(_END * 2 + core.OctetString(self._gcm.tag).dump() + _END * 3)

    def cancel(self) -> None:
        """As `Sealing`."""


class _Parameters(core.Sequence):  # type: ignore[misc]  # asn1crypto tells no types
    """GCMParameters (RFC 5084, 3.2)."""

    _fields: ClassVar[Any] = [("nonce", core.OctetString), ("length", core.Integer)]


def _sequence(*parts: core.Asn1Value) -> bytes:
    """The DER of a SEQUENCE of them."""
    content = b"".join(part.dump() for part in parts)
    made: bytes = core.Sequence(contents=content).dump()
    return made


def _transported(to: rsa.RSAPublicKey, key: bytes, rid: cms.IssuerAndSerialNumber) -> cms.RecipientInfo:
    """KeyTransRecipientInfo with RSAES-OAEP (RFC 3560): SHA-256, also in the mask."""
    sha256 = {"algorithm": "sha256"}
    oaep = algos.RSAESOAEPParams({
        "hash_algorithm": sha256, "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": sha256},
    })  # fmt: skip
    return cms.RecipientInfo("ktri", cms.KeyTransRecipientInfo({
        "version": "v0",
        "rid": cms.RecipientIdentifier("issuer_and_serial_number", rid),
        "key_encryption_algorithm": {"algorithm": "rsaes_oaep", "parameters": oaep},
        "encrypted_key": to.encrypt(key, _OAEP),
    }))  # fmt: skip


def _agreed(to: ec.EllipticCurvePublicKey, key: bytes, rid: cms.IssuerAndSerialNumber) -> cms.RecipientInfo:
    """KeyAgreeRecipientInfo, ephemeral-static (RFC 5753, 3.1): a key for each message, AES-256 key wrap."""
    ours = ec.generate_private_key(to.curve)
    wrap = cms.KeyEncryptionAlgorithm({"algorithm": AES256_WRAP})
    # RFC 5753, 7.2: what the key is for, and how many bits it has.
    info = _SharedInfo({"key_info": wrap, "supp_pub_info": (256).to_bytes(4)}).dump()
    kek = X963KDF(SHA256(), 32, info).derive(ours.exchange(ec.ECDH(), to))
    public = ours.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return cms.RecipientInfo("kari", cms.KeyAgreeRecipientInfo({
        "version": "v3",
        "originator": cms.OriginatorIdentifierOrKey("originator_key", keys.PublicKeyInfo.load(public)),
        "key_encryption_algorithm": {"algorithm": ECDH_SHA256, "parameters": wrap},
        "recipient_encrypted_keys": [{
            "rid": cms.KeyAgreementRecipientIdentifier("issuer_and_serial_number", rid),
            "encrypted_key": aes_key_wrap(kek, key),
        }],
    }))  # fmt: skip


class _SharedInfo(core.Sequence):  # type: ignore[misc]
    """ECC-CMS-SharedInfo (RFC 5753, 7.2)."""

    _fields: ClassVar[Any] = [
        ("key_info", cms.KeyEncryptionAlgorithm),
        ("supp_pub_info", core.OctetString, {"explicit": 2}),
    ]


def load_cms(config: CmsSeal, path: str, now: datetime) -> CmsKey:
    """The key in the certificate (PEM) at `path`, in force at `now`. No authority vouches for it: the file pins it.

    Raises NotConfigured with what is wrong.
    """
    content = read_key(path)
    if b"PRIVATE KEY-----" in content:
        raise NotConfigured(f"seal.key: {path} holds a private key; ask the recipient for the certificate only")
    try:
        (certificate,) = x509.load_pem_x509_certificates(content)
        loaded = CmsKey(certificate, _fitting(certificate, config.alg, path))
    except (ValueError, UnsupportedAlgorithm):
        raise NotConfigured(f"seal.key: {path} is not one certificate (X.509) in PEM") from None
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= ends:
        raise NotConfigured(f"seal.key: {path} expired on {ends:%Y-%m-%d}: get the recipient's new certificate")
    if now < begins:
        raise NotConfigured(f"seal.key: {path} begins on {begins:%Y-%m-%d} only: use the certificate in force")
    try:
        # Tried once now, so that a key that cannot encrypt stops the recipient and not a disclosure half-way.
        loaded.encrypt(b"", "text/plain")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise NotConfigured(f"seal.key: {path} cannot be encrypted to: ask the recipient for another") from None
    return loaded


def _fitting(
    certificate: x509.Certificate, alg: Literal["ECDH-ES", "RSA-OAEP-256"], path: str
) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    """Its key, if it is of the kind, the strength and the use for `alg`. Raises NotConfigured, ValueError."""
    key, usage = certificate.public_key(), _usage(certificate)
    if alg == "RSA-OAEP-256":
        # A key of the kind RSASSA-PSS loads as RSA too, and only signs.
        kind = certificate.public_key_algorithm_oid
        if not isinstance(key, rsa.RSAPublicKey) or kind != PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5:
            raise NotConfigured(f"seal.key: {path} does not fit RSA-OAEP-256 (its key is not RSA)")
        if key.key_size < SMALLEST_RSA:
            raise NotConfigured(f"seal.key: {path} is an RSA key of less than {SMALLEST_RSA} bits")
        serves = usage is None or usage.key_encipherment
    else:
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise NotConfigured(f"seal.key: {path} does not fit ECDH-ES (its key is not on P-256)")
        serves = usage is None or usage.key_agreement
    if not serves:
        raise NotConfigured(f"seal.key: {path} is a certificate for another use (its keyUsage forbids encryption)")
    return key


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """What the key is for (RFC 5280, 4.2.1.3); None where the certificate says nothing."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
