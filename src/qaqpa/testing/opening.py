"""The recipient's side of every seal: makes a pair of keys, and opens what was sealed to it. For stand-ins and tests.

Private keys stay in memory unless a test asks for their file. Nothing of the product's own sealing is used here, so
that a mistake there is not undone by the same one here.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyrage
from asn1crypto import cms, core
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.x509.oid import NameOID
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from pysequoia import CipherSuite, Profile, Tsk, decrypt

from qaqpa.model.words import SealKind

_AES256_GCM = "2.16.840.1.101.3.4.1.46"


class CannotOpen(ValueError):
    """Not sealed to this key, changed, or cut off. What was opened until then must not be believed."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A recipient's keys for one kind of seal."""

    seal: Mapping[str, str]
    """What `[seal]` of the recipient's configuration says, without `key`."""
    public: bytes
    """What stands in the file of `seal.key`."""
    private: bytes = field(repr=False)
    """The private key as this kind's own tool reads it (jose, age, openssl, gpg)."""
    suffix: str
    """That files of such public keys have."""
    _open: Callable[[BinaryIO, BinaryIO], None] = field(repr=False)

    @property
    def kind(self) -> SealKind:
        """Of the seal."""
        return SealKind(self.seal["kind"])

    def open(self, sealed: bytes) -> bytes:
        """The content of a message or a package. Raises CannotOpen."""
        out = io.BytesIO()
        self._open(io.BytesIO(sealed), out)
        return out.getvalue()

    def open_file(self, sealed: BinaryIO, out: BinaryIO) -> None:
        """The content of a package, written to `out`, which is good only if this returns. Raises CannotOpen.

        `age` and `cms` need a few blocks of memory, `openpgp` and `jwe` the whole package.
        """
        self._open(sealed, out)


def make_pair(kind: SealKind, alg: str | None = None, *, days: int = 365) -> Pair:
    """A fresh pair; `alg` as in the configuration (ECDH-ES unless told), `days` for which it is in force from now."""
    makers: dict[SealKind, Callable[[], Pair]] = {
        SealKind.JWE: _jwe,
        SealKind.AGE: _age,
        SealKind.CMS: lambda: _cms(alg or "ECDH-ES", dt.timedelta(days=days)),
        SealKind.OPENPGP: lambda: _openpgp(dt.timedelta(days=days)),
    }
    return makers[kind]()


# --- JWE -------------------------------------------------------------------------------------------


def _jwe() -> Pair:
    key = ECKey.generate_key("P-256", parameters={"use": "enc"}, private=True)

    def opened(sealed: BinaryIO, out: BinaryIO) -> None:
        try:
            token = jwe.decrypt_compact(sealed.read(), key, algorithms=["ECDH-ES", "A256GCM"])
        except (JoseError, InvalidTag, ValueError, TypeError, AssertionError, KeyError):
            raise CannotOpen("this JWE cannot be opened") from None
        out.write(token.plaintext or b"")

    public, private = (json.dumps(key.as_dict(private=each)).encode() for each in (False, True))
    return Pair({"kind": SealKind.JWE, "alg": "ECDH-ES"}, public, private, ".jwk.json", opened)


# --- age -------------------------------------------------------------------------------------------


def _age() -> Pair:
    identity = pyrage.x25519.Identity.generate()

    def opened(sealed: BinaryIO, out: BinaryIO) -> None:
        try:
            pyrage.decrypt_io(sealed, out, [identity])
        except (pyrage.DecryptError, OSError):
            raise CannotOpen("this age file cannot be opened") from None

    public, private = f"{identity.to_public()}\n".encode(), f"{identity}\n".encode()
    return Pair({"kind": SealKind.AGE}, public, private, ".age.pub", opened)


# --- CMS -------------------------------------------------------------------------------------------


def _cms(alg: str, life: dt.timedelta) -> Pair:
    key = rsa.generate_private_key(65537, 2048) if alg == "RSA-OAEP-256" else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stand-in of a recipient")])
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(hours=1) + life)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    def opened(sealed: BinaryIO, out: BinaryIO) -> None:
        try:
            _cms_content(sealed, key, out)
        except (InvalidTag, keywrap.InvalidUnwrap, ValueError, KeyError, TypeError, struct.error):
            raise CannotOpen("this CMS message cannot be opened") from None

    public = certificate.public_bytes(serialization.Encoding.PEM)
    return Pair({"kind": SealKind.CMS, "alg": alg}, public, private, ".pem", opened)


def _cms_content(file: BinaryIO, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, out: BinaryIO) -> None:
    """AuthEnvelopedData of indefinite length, block by block; the last step checks the tag (RFC 5083, 2.1)."""
    _expect(_tlv(file), 0x30, None)
    _expect(_tlv(file), 0x06, cms.ContentType("authenticated_enveloped_data").contents)
    for tag in (0xA0, 0x30):
        _expect(_tlv(file), tag, None)
    _expect(_tlv(file), 0x02, b"\x00")
    tag, recipients = _tlv(file)
    _expect(_tlv(file), 0x30, None)
    _expect(_tlv(file), 0x06, cms.ContentType("data").contents)
    _, algorithm = _tlv(file)
    named = core.Sequence.load(_der(0x30, algorithm))
    if named[0].dotted != _AES256_GCM:
        raise ValueError("another algorithm than agreed")
    nonce = named[1][0].native
    content_key = _content_key(cms.RecipientInfos.load(_der(tag, recipients))[0], key)
    gcm = Cipher(algorithms.AES256(content_key), modes.GCM(nonce)).decryptor()
    _expect(_tlv(file), 0xA0, None)
    while (part := _tlv(file)) != (0x00, b""):
        if part[0] != 0x04 or part[1] is None:
            raise ValueError("not a part of the content")
        out.write(gcm.update(part[1]))
    _expect(_tlv(file), 0x00, b"")
    _, mac = _tlv(file)
    gcm.finalize_with_tag(mac or b"")
    for _ in range(3):
        _expect(_tlv(file), 0x00, b"")


def _content_key(info: Any, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    chosen = info.chosen
    if isinstance(key, rsa.RSAPrivateKey):
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        return key.decrypt(chosen["encrypted_key"].native, oaep)
    theirs = serialization.load_der_public_key(chosen["originator"].chosen.untag().dump())
    if not isinstance(theirs, ec.EllipticCurvePublicKey):
        raise TypeError("not a key of this curve")
    # ECC-CMS-SharedInfo (RFC 5753, 7.2): id-aes256-wrap, 256 bits.
    info_der = bytes.fromhex("3015300b060960864801650304012da206040400000100")
    kek = X963KDF(hashes.SHA256(), 32, info_der).derive(key.exchange(ec.ECDH(), theirs))
    return keywrap.aes_key_unwrap(kek, chosen["recipient_encrypted_keys"][0]["encrypted_key"].native)


def _tlv(file: BinaryIO) -> tuple[int, bytes | None]:
    """The next tag and its content; None where that has no length of its own (X.690, 8.1.3.6)."""
    tag, length = struct.unpack("BB", file.read(2))
    if length == 0x80:
        return tag, None
    if length > 0x80:
        length = int.from_bytes(file.read(length - 0x80))
    content = file.read(length)
    if len(content) != length:
        raise ValueError("cut off")
    return tag, content


def _der(tag: int, content: bytes | None) -> bytes:
    content = content or b""
    size = len(content).to_bytes(4)
    return bytes([tag, 0x84]) + size + content


def _expect(found: tuple[int, bytes | None], tag: int, content: bytes | None) -> None:
    if found != (tag, content):
        raise ValueError("not the structure agreed")


# --- OpenPGP ---------------------------------------------------------------------------------------


def _openpgp(life: dt.timedelta) -> Pair:
    key = Tsk.generate(
        user_id="Stand-in of a recipient",
        profile=Profile.RFC4880,
        cipher_suite=CipherSuite.Cv25519,
        validity_seconds=int(life.total_seconds()),
    )
    certificate = key.extract_certificate()

    def opened(sealed: BinaryIO, out: BinaryIO) -> None:
        try:
            out.write(decrypt(sealed.read(), key.decryptor()).bytes or b"")
        except Exception:  # noqa: BLE001 - the binding has no errors of its own
            raise CannotOpen("this OpenPGP message cannot be opened") from None

    seal = {"kind": SealKind.OPENPGP, "fingerprint": certificate.fingerprint.upper()}
    return Pair(seal, bytes(certificate), bytes(key), ".pgp", opened)
